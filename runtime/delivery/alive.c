/* alive.c - see alive.h. Linear probing, at most four fifths full; what is old goes when the table is built
 * anew. */
#include "delivery/alive.h"
#include "base/err.h"

#include <stdlib.h>

enum { SLOTS_FEW = 64, SECOND_MS = 1000 };
static const int64_t DAY_MS = 86400000;

struct slot {
    uint64_t hash;
    uint32_t gone_s; /* UTC; 0: it exists */
    uint32_t day;    /* of its last mail; 0: the slot is empty */
};

struct alive {
    struct hash_key key;
    struct slot *v;
    size_t nslots, n;
};

struct alive *alive_new(struct hash_key key)
{
    struct alive *a = mem_zalloc(sizeof *a);
    a->key = key;
    return a;
}

void alive_free(struct alive *a)
{
    if (!a)
        return;
    free(a->v);
    free(a);
}

/* Its slot, or the empty one where it would go. */
static struct slot *find(const struct alive *a, uint64_t hash)
{
    size_t at = (size_t)(((unsigned __int128)hash * a->nslots) >> 64);
    while (a->v[at].day && a->v[at].hash != hash)
        at = at + 1 == a->nslots ? 0 : at + 1;
    return &a->v[at];
}

static struct slot *known(const struct alive *a, struct slice domain)
{
    struct slot *s = a->nslots ? find(a, hash64(a->key, domain)) : NULL;
    return s && s->day ? s : NULL;
}

static uint32_t day_of(int64_t ms)
{
    return ms > DAY_MS ? (uint32_t)(ms / DAY_MS) : 1;
}

static void resize(struct alive *a, size_t nslots, uint32_t since_day)
{
    struct slot *old = a->v;
    size_t nold = a->nslots;
    a->nslots = nslots;
    a->n = 0;
    a->v = mem_zalloc(nslots * sizeof *a->v);
    for (size_t i = 0; i < nold; i++) {
        if (!old[i].day || old[i].day < since_day)
            continue;
        *find(a, old[i].hash) = old[i];
        a->n++;
    }
    free(old);
}

bool alive_took(struct alive *a, struct slice domain, int64_t at_ms)
{
    uint64_t hash = hash64(a->key, domain);
    uint32_t day = day_of(at_ms);
    struct slot *s = known(a, domain);
    if (s && s->day >= day)
        return false;
    if (!s && a->n == ALIVE_MOST)
        return false;
    if (!s && (a->n + 1) * 5 > a->nslots * 4)
        resize(a, a->nslots ? a->nslots + a->nslots / 2 : SLOTS_FEW, 0);
    a->n += !s;
    s = find(a, hash);
    s->hash = hash;
    s->day = day;
    return true;
}

bool alive_is(const struct alive *a, struct slice domain, int64_t now_ms)
{
    const struct slot *s = known(a, domain);
    return s && day_of(now_ms) <= s->day + ALIVE_DAYS;
}

int64_t alive_gone_since_ms(const struct alive *a, struct slice domain)
{
    const struct slot *s = known(a, domain);
    return s ? (int64_t)s->gone_s * SECOND_MS : 0;
}

void alive_set_gone(struct alive *a, struct slice domain, int64_t since_ms)
{
    struct slot *s = known(a, domain);
    if (s)
        s->gone_s = (uint32_t)(since_ms / SECOND_MS);
}

void alive_expire(struct alive *a, int64_t now_ms)
{
    uint32_t today = day_of(now_ms), since = today > ALIVE_DAYS ? today - ALIVE_DAYS : 0;
    size_t stays = 0;
    for (size_t i = 0; i < a->nslots; i++)
        stays += a->v[i].day && a->v[i].day >= since;
    if (stays < a->n)
        resize(a, stays / 2 * 3 + SLOTS_FEW, since);
}

size_t alive_count(const struct alive *a)
{
    return a->n;
}
