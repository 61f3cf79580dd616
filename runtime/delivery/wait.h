/* wait.h - why mail waits: asked when somebody wants to know, kept nowhere. */
#ifndef HATO_DELIVERY_WAIT_H
#define HATO_DELIVERY_WAIT_H

#include "delivery/deliver.h"
#include "delivery/measure.h"

/* Append why what is ready in this lane does not go now (a clause without a full stop), most lasting reason
 * first. Returns when that ends (UTC ms), 0 where no time is known. */
int64_t wait_of_lane(struct deliver *d, const struct lane *lane, struct buf *out);

/* The same for one message that is queued; in_flight: an attempt runs now. ERR_NOTFOUND: it is not queued. */
int wait_of_message(struct deliver *d, uint64_t id, struct buf *out, int64_t *until_ms, bool *in_flight);

/* What is restricted now, and how many messages that are ready might go if it were not. */
struct wait_measure {
    const struct measure *m; /* borrowed for the call */
    uint64_t waiting;
};
void wait_measures(struct deliver *d, void (*fn)(void *data, const struct wait_measure *m), void *data);

/* Count what is queued, in steps of at most n messages, so that the loop is never away for long. */
struct wait_row {
    struct isp *isp; /* NULL: its domain has not been resolved */
    struct campaign *campaign;
    uint64_t waiting, in_flight, deferred, held;
    int64_t due_ms;          /* of the earliest that is deferred; 0: none */
    const struct lane *lane; /* one in which something is ready; NULL: none */
    char held_why[120];      /* of one that is held */
};
struct wait_count;
struct wait_count *wait_count_new(struct deliver *d);
/* True when all are counted. */
bool wait_count_step(struct wait_count *w, size_t n);
/* In order of first appearance; NULL behind the last. Valid until anything in delivery changes. */
const struct wait_row *wait_count_row(const struct wait_count *w, size_t *at);
void wait_count_free(struct wait_count *w);

/* "4 wait for the limit rate 2/d of source mx1, isp gmail (init.lua:2), next permit in 11 h 59 min": a line
 * for each limit that recipients wait for now, the largest first; those behind the first `most` are summed up
 * in one. Appends nothing where nobody waits. Looks at every lane. */
void wait_limits_text(struct deliver *d, size_t most, struct buf *out);

#endif
