/* breaker_act.h - what a bar that is crossed (breaker.h) does: a word of warning, or a measure (measure.h)
 * that has no end but that somebody lifts it. Errors stop a campaign at an isp; complaints stop the stream
 * there. */
#ifndef HATO_DELIVERY_BREAKER_ACT_H
#define HATO_DELIVERY_BREAKER_ACT_H

#include "delivery/deliver_impl.h"
#include "delivery/measure.h"

/* Every event: when it is written, when it is replayed. */
void breakers_see(struct deliver *d, const struct rec_event *ev);
void breakers_replay(struct deliver *d, const struct rec_event *ev);
/* Every measure that begins or is lifted; the same for its record. */
void breakers_measured(struct deliver *d, const struct rec_measure *m);

#endif
