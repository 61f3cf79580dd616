/* soft_count.c - see soft_count.h.
 *
 * Linear probing, at most four fifths full. All entries of one person have one home, so they lie in one run:
 * asking for a person walks it from there to the next empty slot. A person has few, so runs stay short. */
#include "delivery/soft_count.h"
#include "base/err.h"

#include <stdlib.h>

enum { SLOTS_FEW = 64, MINUTE_MS = 60000, MINUTES_A_DAY = 1440, DELIVERED = 0xff, DAYS_MOST = 64 };

struct slot {
    uint64_t lo;
    uint32_t hi; /* low byte: enum reply_class + 1, or DELIVERED; 0: the slot is empty */
    uint32_t minute;
};

struct soft_count {
    struct slot *v;
    size_t nslots, n;
};

struct soft_count *soft_count_new(void)
{
    return mem_zalloc(sizeof(struct soft_count));
}

void soft_count_free(struct soft_count *c)
{
    if (!c)
        return;
    free(c->v);
    free(c);
}

/* --- slots --- */

static size_t home(const struct soft_count *c, uint64_t lo)
{
    return (size_t)(((unsigned __int128)lo * c->nslots) >> 64);
}

static size_t after(const struct soft_count *c, size_t at)
{
    return at + 1 == c->nslots ? 0 : at + 1;
}

static unsigned what(const struct slot *s)
{
    return s->hi & 0xff;
}

static bool is_of(const struct slot *s, struct hash128 who)
{
    return s->lo == who.lo && (s->hi ^ (uint32_t)(who.hi >> 32)) >> 8 == 0;
}

/* The next entry of this person at or behind *at; NULL: no more. Begin with *at = home. */
static struct slot *next_of(const struct soft_count *c, struct hash128 who, size_t *at)
{
    for (; what(&c->v[*at]); *at = after(c, *at))
        if (is_of(&c->v[*at], who))
            return &c->v[*at];
    return NULL;
}

static void put(struct soft_count *c, const struct slot *s)
{
    size_t at = home(c, s->lo);
    while (what(&c->v[at]))
        at = after(c, at);
    c->v[at] = *s;
    c->n++;
}

static void resize(struct soft_count *c, size_t nslots, uint32_t before_minute)
{
    struct slot *old = c->v;
    size_t nold = c->nslots;
    c->nslots = nslots;
    c->n = 0;
    c->v = mem_zalloc(nslots * sizeof *c->v);
    for (size_t i = 0; i < nold; i++)
        if (what(&old[i]) && old[i].minute >= before_minute)
            put(c, &old[i]);
    free(old);
}

static void empty(struct soft_count *c, size_t at)
{
    for (size_t next = after(c, at); what(&c->v[next]); next = after(c, next)) {
        size_t h = home(c, c->v[next].lo);
        bool stays = at < next ? h > at && h <= next : h > at || h <= next;
        if (stays)
            continue;
        c->v[at] = c->v[next];
        at = next;
    }
    c->v[at] = (struct slot){0};
    c->n--;
}

static bool add(struct soft_count *c, struct hash128 who, unsigned kind, int64_t at_ms)
{
    if (c->n == SOFT_COUNT_MOST)
        return false;
    if ((c->n + 1) * 5 > c->nslots * 4)
        resize(c, c->nslots ? c->nslots + c->nslots / 2 : SLOTS_FEW, 0);
    put(c, &(struct slot){.lo = who.lo,
                          .hi = ((uint32_t)(who.hi >> 32) & ~0xffu) | kind,
                          .minute = (uint32_t)(at_ms / MINUTE_MS)});
    return true;
}

/* --- a person --- */

bool soft_count_hit(struct soft_count *c, struct hash128 who, enum reply_class cls, int64_t at_ms)
{
    uint32_t day = (uint32_t)(at_ms / MINUTE_MS / MINUTES_A_DAY);
    struct slot *s;
    if (c->nslots)
        for (size_t at = home(c, who.lo); (s = next_of(c, who, &at)); at = after(c, at))
            if (what(s) == (unsigned)cls + 1 && s->minute / MINUTES_A_DAY == day)
                return false;
    return add(c, who, (unsigned)cls + 1, at_ms);
}

/* When the last failure was, and the last delivery; 0: never. */
static void last_of(const struct soft_count *c, struct hash128 who, uint32_t *failed, uint32_t *delivered)
{
    struct slot *s;
    *failed = *delivered = 0;
    if (!c->nslots)
        return;
    for (size_t at = home(c, who.lo); (s = next_of(c, who, &at)); at = after(c, at)) {
        uint32_t *last = what(s) == DELIVERED ? delivered : failed;
        if (s->minute > *last)
            *last = s->minute;
    }
}

bool soft_count_wants(const struct soft_count *c, struct hash128 who)
{
    uint32_t failed, delivered;
    last_of(c, who, &failed, &delivered);
    return failed > delivered || (failed && failed == delivered);
}

void soft_count_delivered(struct soft_count *c, struct hash128 who, int64_t at_ms)
{
    add(c, who, DELIVERED, at_ms);
}

static void drop(struct soft_count *c, struct hash128 who, bool deliveries_alone, uint32_t since)
{
    struct slot *s;
    if (!c->nslots)
        return;
    for (size_t at = home(c, who.lo); (s = next_of(c, who, &at));) {
        if (s->minute >= since && (!deliveries_alone || what(s) == DELIVERED))
            empty(c, at); /* another may have moved here */
        else
            at = after(c, at);
    }
}

void soft_count_late(struct soft_count *c, struct hash128 who, int64_t since_ms)
{
    drop(c, who, true, (uint32_t)(since_ms / MINUTE_MS));
}

void soft_count_forget(struct soft_count *c, struct hash128 who)
{
    drop(c, who, false, 0);
}

unsigned soft_count_days(const struct soft_count *c, struct hash128 who, const struct soft_asked *asked,
                         int64_t *first_ms)
{
    int64_t since = asked->since_ms / MINUTE_MS, now = asked->now_ms / MINUTE_MS;
    int64_t clears = (asked->now_ms - asked->clear_ms) / MINUTE_MS, cleared = -1, first = now;
    uint32_t days[DAYS_MOST] = {(uint32_t)(now / MINUTES_A_DAY)};
    unsigned n = 1;
    struct slot *s;
    if (!c->nslots) {
        *first_ms = asked->now_ms;
        return n;
    }
    for (size_t at = home(c, who.lo); (s = next_of(c, who, &at)); at = after(c, at))
        if (what(s) == DELIVERED && s->minute <= clears && s->minute > cleared)
            cleared = s->minute;
    for (size_t at = home(c, who.lo); (s = next_of(c, who, &at)); at = after(c, at)) {
        unsigned k = 0;
        if (what(s) == DELIVERED || !(asked->classes >> (what(s) - 1) & 1) || s->minute < since ||
            s->minute <= cleared || s->minute > now)
            continue;
        if (s->minute < first)
            first = s->minute;
        while (k < n && days[k] != s->minute / MINUTES_A_DAY)
            k++;
        if (k == n && n < DAYS_MOST)
            days[n++] = s->minute / MINUTES_A_DAY;
    }
    *first_ms = first == now ? asked->now_ms : first * MINUTE_MS;
    return n;
}

/* --- all of them --- */

void soft_count_expire(struct soft_count *c, int64_t before_ms)
{
    size_t stays = 0, nslots;
    uint32_t before = before_ms > 0 ? (uint32_t)(before_ms / MINUTE_MS) : 0;
    for (size_t i = 0; i < c->nslots; i++)
        stays += what(&c->v[i]) && c->v[i].minute >= before;
    nslots = stays / 2 * 3 + SLOTS_FEW;
    if (stays < c->n)
        resize(c, nslots < c->nslots ? nslots : c->nslots, before);
}

size_t soft_count_entries(const struct soft_count *c)
{
    return c->n;
}
