/* watch.h - paths and campaigns at work, for people who watch. */
#ifndef HATO_DELIVERY_WATCH_H
#define HATO_DELIVERY_WATCH_H

#include "delivery/deliver.h"
#include "delivery/recent.h"

/* Borrowed for the call. */
struct watch_path {
    struct slice isp, source;
    unsigned connections, allowed, most; /* open; as far as the ramp has come; that it may ever have */
    struct recent recent;
    struct slice why; /* it may not send now, and why; empty: it may */
    int64_t until_ms; /* UTC; 0: not known */
};
/* Each path that did anything or is held up. */
void watch_paths(struct deliver *d, void (*fn)(void *data, const struct watch_path *p), void *data);

struct watch_campaign {
    struct slice name, stream; /* name empty: hato.send's of the stream */
    const char *priority;
    uint32_t weight;
    struct recent recent;
};
/* Each campaign that has mail or did anything. */
void watch_campaigns(struct deliver *d, void (*fn)(void *data, const struct watch_campaign *c), void *data);

#endif
