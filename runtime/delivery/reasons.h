/* reasons.h - what a journal says mail waited for: every interval of it, and those that one message met.
 *
 * Feed it every record of the journal, then reasons_end(); after that ask. What nothing accounts for is told
 * as such, and is a bug of hato. Times are UTC, in milliseconds. */
#ifndef HATO_DELIVERY_REASONS_H
#define HATO_DELIVERY_REASONS_H

#include "delivery/event.h"
#include "delivery/interval.h"

/* Kinds that no interval in the journal has. */
enum {
    REASON_NONE = 0,              /* nothing accounts for it */
    REASON_DOWN = INTERVAL_KINDS, /* hato was not running */
    REASON_TIME,                  /* it had its own time: a first or a next try */
    REASON_CLAIM,                 /* a connection had taken it up */
    REASON_ATTEMPT,               /* it was being sent */
    REASON_HELD,                  /* on its own */
    REASON_TURN, /* less than REASONS_TURN_MS that nothing else accounts for: hato was at other work */
    REASON_KINDS
};
/* "limit", "dns" …; null's name is "none". */
const char *reason_kind_name(unsigned kind);

/* One wait had ended, and the loop had not come to what was next. A virtual clock knows no such time. */
enum { REASONS_TURN_MS = 1000 };

struct reasons;
struct reasons *reasons_new(void);
void reasons_learn(struct reasons *rs, const struct rec *r, const struct event_names *names);
/* All is learnt. now_ms: when somebody asks; running: a hato is at work on this journal. */
void reasons_end(struct reasons *rs, int64_t now_ms, bool running);
void reasons_free(struct reasons *rs);

/* What is known of a message. isp, mx and source are empty where they are not; the others are what they are.
 */
struct reasons_who {
    struct slice isp, mx, source, stream, pool, campaign, domain, from;
};
/* isp and mx of the domain, as DNS said last; false: it never did. */
bool reasons_place(const struct reasons *rs, struct slice domain, struct slice *isp, struct slice *mx);

struct reason {
    unsigned kind;
    int64_t begin_ms, end_ms;
    struct slice why; /* as in interval.h; borrowed until reasons_free() */
    int64_t until_ms; /* the end that was meant; 0: not known */
};
/* Tell [from_ms, to_ms) piece by piece, in order and without a gap. What is older than the first interval of
 * the journal is left out: nobody kept reasons then, or they are gone. own: more of the message's own. */
void reasons_of(const struct reasons *rs, const struct reasons_who *who, const struct reason *own,
                size_t nown, int64_t from_ms, int64_t to_ms, void (*fn)(void *data, const struct reason *r),
                void *data);

/* When the process that ran at this time ended; INT64_MAX: it still runs, or nobody knows. */
int64_t reasons_run_end_ms(const struct reasons *rs, int64_t at_ms);

#endif
