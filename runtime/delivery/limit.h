/* limit.h - the limits that a script declares, who has a permit now, and who waits for one.
 *
 * A rule (hato.isp's rate, or a hato.limit) has a limit for each value of what it counts by: `by = { "isp",
 * "campaign" }` is one for each campaign at each isp, made when it is first asked for. Mail that has no value
 * for one of them (hato.send's has no campaign) is not counted by that rule.
 *
 * A message goes when every limit that applies has a permit for it: limits_lacking() says which one has not,
 * limits_take() takes one of each, and nothing is ever taken of some. Whoever lacks one waits at that limit,
 * in line by priority and then by time, and costs nothing until the limit has a permit again: then serve()
 * is called with the first in line, out of it already, and with the next if that one left the permit. While
 * anybody stands in line nobody else is given a permit, unless it is being served.
 *
 * Connections have limits too, of which a limit_holder holds the permits. What counts by source, isp and mx
 * alone is the connection's for as long as it is open. What counts by anything of its mail (stream, campaign,
 * pool, domain) is its while it carries such mail: from when it takes one up until it takes up another, lies
 * idle or is closed; the next of the same keeps it. Nobody waits holding one: a connection that lacks a
 * permit for all that is ready lies idle and lets go. How many new ones there may be in a time counts by the
 * message for which one is opened; who waits for that still goes over a connection that is there
 * (limit_shows()). And so many messages of a kind on one connection: then it takes no more of that kind.
 *
 * All is in memory; what must outlive the process is in the journal anyway (limit_replay.h). Loop thread
 * only. */
#ifndef HATO_DELIVERY_LIMIT_H
#define HATO_DELIVERY_LIMIT_H

#include "base/map.h"
#include "delivery/conf.h"
#include "delivery/interval.h"
#include "platform/loop.h"

struct limits;
struct limit;

/* What a permit is for. v[by] is borrowed, empty: it has none. */
struct limit_who {
    struct slice v[CONF_BYS];
    const struct conf_isp *isp; /* NULL: no table names it */
    enum conf_priority priority;
    const struct limit_holder *holder; /* the connection that would carry it; NULL: a new one */
};

/* How much of who must be known to ask: a path (source and isp) is enough, or it takes a campaign there, or a
 * lane; and when: for each message, for a new connection, or for a message that a connection takes up. */
enum limit_scope {
    LIMIT_OPEN = 1,
    LIMIT_PATH = 2,
    LIMIT_SHARE = 4,
    LIMIT_LANE = 8,
    LIMIT_OPEN_SHARE = 16,
    LIMIT_OPEN_LANE = 32,
    LIMIT_HOLD_SHARE = 64,
    LIMIT_HOLD_LANE = 128,
    LIMIT_CARRIED = 256, /* messages a connection */
    LIMIT_MESSAGE = LIMIT_PATH | LIMIT_SHARE | LIMIT_LANE,
    LIMIT_OPENING = LIMIT_OPEN | LIMIT_OPEN_SHARE | LIMIT_OPEN_LANE,
    LIMIT_HOLD = LIMIT_HOLD_SHARE | LIMIT_HOLD_LANE
};

/* What one connection holds; lives inside its owner, zero-initialised holds nothing. */
struct limit_holder {
    struct limit_held *v;
    size_t n, cap;
    struct map carried; /* limit → how many messages it has carried of that kind */
};

/* Somebody who waits; lives inside its owner, zero-initialised is not waiting. */
enum limit_waiter { LIMIT_WAIT_PATH, LIMIT_WAIT_OPEN, LIMIT_WAIT_SHARE, LIMIT_WAIT_LANE };
struct limit_wait {
    struct limit *at;
    struct limit_wait *next, *prev;
    enum conf_priority priority;
    enum limit_waiter kind;
};

struct warmups;
struct limits_conf {
    struct loop *loop;
    struct intervals *intervals; /* NULL: nobody asks why mail waited */
    const struct conf *conf;
    struct warmups *warmups; /* NULL where the conf has none */
    void *data;
    /* Its turn: it may take permits now, and may wait again. at: where it waited. */
    void (*serve)(void *data, struct limit_wait *w, struct limit *at);
};

struct limits *limits_new(const struct limits_conf *conf);
void limits_free(struct limits *ls);

/* Whether any rule of such a scope is declared; of those that count by this. */
bool limits_have(const struct limits *ls, unsigned scopes);
bool limits_have_by(const struct limits *ls, enum conf_by by);
/* Whether a rate may apply to mail for this isp: then a permit that was taken ahead of time would go stale.
 */
bool limits_pace(const struct limits *ls, const struct conf_isp *isp);

/* Of these scopes the limit that has no permit now; of several the one that is due last. NULL: all have. */
struct limit *limits_lacking(struct limits *ls, unsigned scopes, const struct limit_who *who);
/* The same, but who asks would give back what this message took: NULL also if that is what lacks. */
struct limit *limits_lacking_without(struct limits *ls, unsigned scopes, const struct limit_who *who,
                                     uint64_t id);
/* One permit of each rate that applies. id: of the message, or 0. */
void limits_take(struct limits *ls, unsigned scopes, const struct limit_who *who, uint64_t id);
/* The message never began: permits that nobody has taken after it are there again. */
void limits_return(struct limits *ls, const struct limit_who *who, uint64_t id);
/* The message begins only now, after a connection was opened for it: permits that nobody has taken after it
 * count from now on, so that the receiver sees no more in a window than was meant. */
void limits_renew(struct limits *ls, const struct limit_who *who, uint64_t id);

/* --- what a connection holds (limit_hold.c) --- */

/* It opens: permits of connections that last as long as it does. They are there: limits_lacking() said so. */
void limits_hold_open(struct limits *ls, const struct limit_who *who, struct limit_holder *h);
/* It takes up this message: permits of connections by such mail, one of each that it does not hold. */
void limits_hold(struct limits *ls, const struct limit_who *who, struct limit_holder *h);
/* The message is over. What it held stays until limit_holder_settle(). */
void limits_let_go(struct limits *ls, const struct limit_who *who, struct limit_holder *h);
/* Permits that none of its messages needs go back. */
void limit_holder_settle(struct limit_holder *h);
/* The connection is closed: all go back. */
void limit_holder_end(struct limit_holder *h);
bool limit_is_held(const struct limit *l, const struct limit_holder *h);
/* Somebody more urgent than this waits for a permit that it holds for its mail. */
bool limit_holder_is_wanted(const struct limit_holder *h, enum conf_priority priority);
/* The same of a permit that it holds as long as it is open: the connection must close now. True for as many
 * connections as wait. */
bool limit_holder_yields(struct limit_holder *h, enum conf_priority priority);

/* Messages that any connection may carry in all; UINT32_MAX: no limit says so. */
uint32_t limits_per_connection(const struct limits *ls);
/* Whether who's connection may carry one more of its kind; a new one always. */
bool limits_may_carry(struct limits *ls, const struct limit_who *who);
/* It carries one; taken false: it has given one back that it counted. */
void limits_carry(struct limits *ls, const struct limit_who *who, struct limit_holder *h, bool taken);

/* --- who waits --- */

void limit_wait(struct limit *l, struct limit_wait *w, enum limit_waiter kind, enum conf_priority priority);
void limit_leave(struct limit_wait *w); /* nothing happens if it does not wait */
static inline bool limit_waits(const struct limit_wait *w)
{
    return w->at != NULL;
}

/* Who waits here may be offered to this connection all the same (NULL: to a new one): it lacks nothing of
 * what is waited for. */
bool limit_shows(const struct limit_wait *w, const struct limit_holder *h);

/* loop_now_ms() of the next permit; INT64_MAX: when a connection ends, or is done with such mail. */
int64_t limit_due_ms(const struct limit *l);
/* It is about each message; about new connections alone. Neither: about what a connection carries. */
bool limit_is_of_message(const struct limit *l);
bool limit_is_of_opening(const struct limit *l);
bool limit_counts_by(const struct limit *l, enum conf_by by);
/* Opens what is kept of waiting for it, where somebody does in no line; NULL: nobody asks. */
struct interval *limit_interval(const struct limit *l);
/* The warm-up that it is; NULL: another kind. */
struct warmup *limit_warmup(const struct limit *l);
/* "rate 40/s of isp gmail (init.lua:12)" */
void limit_text(const struct limit *l, struct buf *out);

/* In order of their making: size_t at = 0; */
struct limit *limits_next(const struct limits *ls, size_t *at);
/* How often anybody asked for a permit: what waits asks for none. */
uint64_t limits_asked(const struct limits *ls);

/* --- after a restart --- */

/* How far back the journal matters, ms; 0: no rate is declared. */
int64_t limits_horizon_ms(const struct limits *ls);
/* An earlier process took a permit at this loop_now_ms(), which is past. In order of time. Warm-ups count for
 * themselves. */
void limits_count(struct limits *ls, unsigned scopes, const struct limit_who *who, int64_t at_ms);
/* What the last process took is not all known: each limit, also one not made yet, has given now what it gives
 * at once. */
void limits_count_all(struct limits *ls);

#endif
