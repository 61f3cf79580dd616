/* pace.h - so many in so much time, one by one: when the next permit is there.
 *
 * While permits are asked for without a pause, permit n (from 0) is there n × interval after the first and
 * not before, and at most one tick of a millisecond later; interval = period / quota, kept as a ratio, so
 * nothing drifts. Who pauses saves nothing up: the next permit is the first of a new row. In no window of the
 * period's length are there ever more permits than the quota, whatever the pauses, bursts and late clocks.
 *
 * No clock: the caller says what time it is, in milliseconds of any clock that does not go back; the past may
 * be negative. */
#ifndef HATO_FORMAT_PACE_H
#define HATO_FORMAT_PACE_H

#include "base/mem.h"

enum { PACE_PER_SECOND_MOST = 10000, PACE_DAYS_MOST = 30 };

/* quota 0: no limit. burst: how many may go at once after a pause; 0 is 1. */
struct pace_rate {
    uint32_t quota, burst;
    int64_t per_ms;
};

struct pace {
    struct pace_rate rate;
    int64_t step_ns, step_rest; /* the interval is step_ns + step_rest / quota */
    int64_t due_ns, due_rest;   /* when the next one of the row is due, in the same form */
    int64_t ahead_ns;           /* how far before that it may go: burst - 1 intervals */
    int64_t *given;             /* owned ring: when the last `window` were given, ns; NULL: not kept */
    uint32_t window, at;        /* no more than `window` in window_ns */
    int64_t window_ns;
    int64_t was_due_ns, was_due_rest, was_given; /* before the last permit: for pace_return() */
    bool returnable;
};

/* NULL, or what is wrong: the end of a sentence that begins "the rate wants". */
const char *pace_wrong(const struct pace_rate *rate);

/* rate: one of which nothing is wrong, quota not 0. */
void pace_init(struct pace *p, const struct pace_rate *rate);
void pace_free(struct pace *p);

/* The first millisecond at which a permit is there; it may be past. */
int64_t pace_due_ms(const struct pace *p);
/* Take it. One that is taken before it was due counts all the same: it was taken by an earlier process, or
 * by people who set the clock. */
void pace_take(struct pace *p, int64_t now_ms);
/* What was taken last was not used: as if it had not been taken. Does nothing after another call. */
void pace_return(struct pace *p);

#endif
