/* soft_count.h - failures that are counted before they mean something: 16 bytes each, in one table.
 *
 * A failure counts once a day and class, however many messages ended with it. A delivery is kept where there
 * is something for it to clear: what lies before it no longer counts once it is old enough to be believed,
 * unless a late bounce takes it back.
 *
 *   hit ──── hit ──── delivered ──── 5 days ──── hit    counts as the first
 *   hit ──── hit ──── delivered ── late bounce          counts as the third
 *
 * Times are UTC in milliseconds, kept to the minute. Days are UTC's. Whoever it is about is a keyed hash. */
#ifndef HATO_DELIVERY_SOFT_COUNT_H
#define HATO_DELIVERY_SOFT_COUNT_H

#include "base/hash.h"
#include "format/reply_class.h"

enum {
    SOFT_COUNT_MOST = 4000000 /* entries: 80 MB; what comes then is not counted, which suppresses nobody */
};

struct soft_count;

struct soft_count *soft_count_new(void);
void soft_count_free(struct soft_count *c); /* NULL is fine */

/* Whether it is new: false where this class counts for that day already, or there is no room. */
bool soft_count_hit(struct soft_count *c, struct hash128 who, enum reply_class cls, int64_t at_ms);
/* Whether a delivery now has something to clear, one day. */
bool soft_count_wants(const struct soft_count *c, struct hash128 who);
void soft_count_delivered(struct soft_count *c, struct hash128 who, int64_t at_ms);
/* A bounce came after all: deliveries since then clear nothing. */
void soft_count_late(struct soft_count *c, struct hash128 who, int64_t since_ms);
/* Nothing ever happened to them. */
void soft_count_forget(struct soft_count *c, struct hash128 who);

struct soft_asked {
    uint64_t classes; /* bits 1 << enum reply_class */
    int64_t now_ms;   /* a failure of now is counted, also if soft_count_hit() was not told yet */
    int64_t since_ms; /* nothing before counts */
    int64_t clear_ms; /* how old a delivery must be */
};
/* On how many days; *first_ms: the earliest failure of them. */
unsigned soft_count_days(const struct soft_count *c, struct hash128 who, const struct soft_asked *asked,
                         int64_t *first_ms);

/* What is older goes. */
void soft_count_expire(struct soft_count *c, int64_t before_ms);
size_t soft_count_entries(const struct soft_count *c);

#endif
