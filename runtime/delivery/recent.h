/* recent.h - how much happened in the last minute: for each path and each campaign, for people who watch.
 *
 * In memory, since this process took up the folder; a minute is twelve slots of five seconds. */
#ifndef HATO_DELIVERY_RECENT_H
#define HATO_DELIVERY_RECENT_H

#include "format/record.h"

enum { RECENT_SLOTS = 12, RECENT_SLOT_MS = 5000 };
enum recent_kind { RECENT_DELIVERED, RECENT_DEFERRED, RECENT_BOUNCED, RECENT_KINDS };

struct recents;

/* Of one path or campaign: now, and in all. */
struct recent {
    uint64_t all[RECENT_KINDS], minute[RECENT_KINDS];
    double per_second; /* deliveries, over the last whole slot */
};

struct recents *recents_new(void);
void recents_free(struct recents *ts); /* NULL is fine */
void recents_event(struct recents *ts, const struct rec_event *ev);
/* By the numbers of their names; nothing ever happened: zeros. campaign 0: hato.send's of this stream. */
struct recent recents_path(const struct recents *ts, uint32_t isp, uint32_t source, int64_t now_ms);
struct recent recents_campaign(const struct recents *ts, uint32_t campaign, uint32_t stream, int64_t now_ms);

#endif
