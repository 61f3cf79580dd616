/* guard.h - the outbreak guard: a receiver that suddenly knows nobody is ill; its people are not gone.
 *
 * For each isp the latest attempts are remembered as bits, whether the answer was "no such user", and beside
 * them which of the last ten days with mail had more of that than is usual. An outbreak is there while the
 * latest have more than an isp ever should, until they have half of that, and most of those days had few.
 * Days count once they are over, so what an outbreak brings does not make it usual while it lasts; an isp of
 * which fewer than three days are known counts as a well one.
 *
 * Everything follows from the events that it is fed, so the journal is its store. */
#ifndef HATO_DELIVERY_GUARD_H
#define HATO_DELIVERY_GUARD_H

#include "base/mem.h"

enum { GUARD_WINDOW_MOST = 1024, GUARD_WHOLE = 1000000 };

struct guard_conf {
    uint32_t attempts;  /* how many are looked at, up to GUARD_WINDOW_MOST; 0: no guard */
    uint32_t share_ppm; /* more of them than this: an outbreak */
    uint32_t usual_ppm; /* ... unless most of the days before had this share, or more */
};

struct guard;

struct guard *guard_new(const struct guard_conf *conf);
void guard_free(struct guard *g); /* NULL is fine */

/* An attempt at this isp (its number) was answered. Whether an outbreak begins with it. */
bool guard_attempt(struct guard *g, uint32_t isp, bool unknown, int64_t at_ms);
bool guard_outbreak(const struct guard *g, uint32_t isp);

/* For people: "no such user in 87 of the latest 200 answers; on 1 of the 10 days before there were many". */
void guard_text(const struct guard *g, uint32_t isp, struct buf *out);

#endif
