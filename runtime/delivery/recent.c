/* recent.c - see recent.h. */
#include "delivery/recent.h"
#include "base/map.h"

#include <stdlib.h>

struct counter {
    uint64_t all[RECENT_KINDS];
    uint32_t slots[RECENT_SLOTS][RECENT_KINDS];
    int64_t slot; /* the newest that counts: a time divided by RECENT_SLOT_MS */
};

struct recents {
    struct map paths, campaigns; /* two numbers → struct counter */
};

struct recents *recents_new(void)
{
    struct recents *ts = mem_zalloc(sizeof *ts);
    map_init(&ts->paths, (struct hash_key){7, 8}); /* numbers that we gave */
    map_init(&ts->campaigns, (struct hash_key){7, 8});
    return ts;
}

static void counters_free(struct map *m)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(m, &at));)
        free(e->value);
    map_free(m);
}

void recents_free(struct recents *ts)
{
    if (!ts)
        return;
    counters_free(&ts->paths);
    counters_free(&ts->campaigns);
    free(ts);
}

static void count(struct map *m, uint32_t a, uint32_t b, enum recent_kind kind, int64_t at_ms)
{
    const uint32_t key[2] = {a, b};
    struct counter *c = map_get(m, slice_of(key, sizeof key));
    int64_t slot = at_ms / RECENT_SLOT_MS;
    if (!c) {
        c = mem_zalloc(sizeof *c);
        c->slot = slot;
        map_put(m, slice_of(key, sizeof key), c);
    }
    if (slot - c->slot >= RECENT_SLOTS || slot < c->slot - RECENT_SLOTS) { /* people set clocks */
        memset(c->slots, 0, sizeof c->slots);
        c->slot = slot;
    }
    while (c->slot < slot) {
        c->slot++;
        memset(c->slots[c->slot % RECENT_SLOTS], 0, sizeof c->slots[0]);
    }
    c->all[kind]++;
    c->slots[c->slot % RECENT_SLOTS][kind]++;
}

void recents_event(struct recents *ts, const struct rec_event *ev)
{
    enum recent_kind kind;
    switch ((enum rec_event_type)ev->type) {
    case EVENT_DELIVERED:
        kind = RECENT_DELIVERED;
        break;
    case EVENT_DEFERRED:
    case EVENT_AMBIGUOUS:
        kind = RECENT_DEFERRED;
        break;
    case EVENT_BOUNCED:
    case EVENT_EXPIRED:
        kind = RECENT_BOUNCED;
        break;
    default:
        return;
    }
    if (ev->isp)
        count(&ts->paths, ev->isp, ev->source, kind, ev->at_ms);
    count(&ts->campaigns, ev->campaign, ev->campaign ? 0 : ev->stream, kind, ev->at_ms);
}

static struct recent read_counter(const struct map *m, uint32_t a, uint32_t b, int64_t now_ms)
{
    const uint32_t key[2] = {a, b};
    const struct counter *c = map_get(m, slice_of(key, sizeof key));
    struct recent t = {0};
    int64_t now = now_ms / RECENT_SLOT_MS;
    if (!c)
        return t;
    memcpy(t.all, c->all, sizeof t.all);
    for (int64_t s = c->slot - RECENT_SLOTS + 1; s <= c->slot; s++) {
        if (s < 0 || s <= now - RECENT_SLOTS || s > now)
            continue;
        const uint32_t *slot = c->slots[s % RECENT_SLOTS];
        for (int k = 0; k < RECENT_KINDS; k++)
            t.minute[k] += slot[k];
        if (s == now - 1)
            t.per_second = slot[RECENT_DELIVERED] * 1000.0 / RECENT_SLOT_MS;
    }
    return t;
}

struct recent recents_path(const struct recents *ts, uint32_t isp, uint32_t source, int64_t now_ms)
{
    return read_counter(&ts->paths, isp, source, now_ms);
}

struct recent recents_campaign(const struct recents *ts, uint32_t campaign, uint32_t stream, int64_t now_ms)
{
    return read_counter(&ts->campaigns, campaign, campaign ? 0 : stream, now_ms);
}
