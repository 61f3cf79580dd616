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
 * Connections have limits too: how many at once, and how many new ones in a time. They count by source and
 * isp, because a connection carries mail of any campaign and domain of its isp.
 *
 * All is in memory; what must outlive the process is in the journal anyway (limit_replay.h). Loop thread
 * only. */
#ifndef HATO_DELIVERY_LIMIT_H
#define HATO_DELIVERY_LIMIT_H

#include "delivery/conf.h"
#include "delivery/interval.h"
#include "platform/loop.h"

struct limits;
struct limit;

/* What a permit is for. v[by] is borrowed, empty: it has none. */
struct limit_who {
    struct slice v[CONF_BYS];
    const struct conf_isp *isp; /* NULL: no table names it */
};

/* How much of who must be known to ask: a path (source and isp) is enough, or it takes a campaign there, or a
 * lane. */
enum limit_scope { LIMIT_OPEN = 1, LIMIT_PATH = 2, LIMIT_SHARE = 4, LIMIT_LANE = 8, LIMIT_MESSAGE = 14 };

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
/* One permit of each that applies. id: of the message, or 0. */
void limits_take(struct limits *ls, unsigned scopes, const struct limit_who *who, uint64_t id);
/* The message never began: permits that nobody has taken after it are there again. */
void limits_return(struct limits *ls, const struct limit_who *who, uint64_t id);
/* The message begins only now, after a connection was opened for it: permits that nobody has taken after it
 * count from now on, so that the receiver sees no more in a window than was meant. */
void limits_renew(struct limits *ls, const struct limit_who *who, uint64_t id);
/* A connection is gone. */
void limits_release(struct limits *ls, const struct limit_who *who);

void limit_wait(struct limit *l, struct limit_wait *w, enum limit_waiter kind, enum conf_priority priority);
void limit_leave(struct limit_wait *w); /* nothing happens if it does not wait */
static inline bool limit_waits(const struct limit_wait *w)
{
    return w->at != NULL;
}

/* loop_now_ms() of the next permit; INT64_MAX: when a connection ends. */
int64_t limit_due_ms(const struct limit *l);
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
