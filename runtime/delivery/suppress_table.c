/* suppress_table.c - see suppress_table.h.
 *
 * Linear probing in one array, at most four fifths full, grown by half: a table of a million entries never
 * has to be twice as large as it is. An entry's home follows from its hash by multiplication, so the number
 * of slots need be no power of two; removal moves later entries of the run back, so there are no tombstones.
 */
#include "delivery/suppress_table.h"

#include <stdlib.h>

enum { SLOTS_FEW = 64, PROVISIONAL = 0x80 };

struct slot {
    uint64_t lo;
    uint64_t hi;        /* low byte: enum suppress_reason, PROVISIONAL; 0: the slot is empty */
    uint32_t expires_s; /* UTC; 0: never */
} __attribute__((packed));

/* A stream or list that somebody is suppressed for, or was. */
struct scope {
    uint32_t number; /* from 1; 0 is all mail */
    size_t n;
};

struct suppress_table {
    struct hash_key key;
    struct slot *v;
    size_t nslots, n, of_all;
    struct map scopes[SUPPRESS_SCOPES]; /* name → struct scope; of_all counts for SUPPRESS_ALL */
    uint32_t nscopes;
};

struct suppress_table *suppress_table_new(struct hash_key key)
{
    struct suppress_table *t = mem_zalloc(sizeof *t);
    t->key = key;
    for (int i = 0; i < SUPPRESS_SCOPES; i++)
        map_init(&t->scopes[i], key);
    return t;
}

void suppress_table_free(struct suppress_table *t)
{
    if (!t)
        return;
    for (int i = 0; i < SUPPRESS_SCOPES; i++) {
        size_t at = 0;
        for (struct map_entry *e; (e = map_next(&t->scopes[i], &at));)
            free(e->value);
        map_free(&t->scopes[i]);
    }
    free(t->v);
    free(t);
}

/* --- slots --- */

static size_t home(const struct suppress_table *t, const struct slot *s)
{
    return (size_t)(((unsigned __int128)s->lo * t->nslots) >> 64);
}

static size_t after(const struct suppress_table *t, size_t at)
{
    return at + 1 == t->nslots ? 0 : at + 1;
}

static bool is_empty(const struct slot *s)
{
    return !(s->hi & 0xff);
}

/* The slot of this entry, or the empty one where it would go. */
static size_t find(const struct suppress_table *t, const struct slot *s)
{
    size_t at = home(t, s);
    while (!is_empty(&t->v[at]) && (t->v[at].lo != s->lo || (t->v[at].hi ^ s->hi) >> 8))
        at = after(t, at);
    return at;
}

static void resize(struct suppress_table *t, size_t nslots)
{
    struct slot *old = t->v;
    size_t nold = t->nslots;
    t->nslots = nslots;
    t->v = mem_zalloc(t->nslots * sizeof *t->v);
    for (size_t i = 0; i < nold; i++)
        if (!is_empty(&old[i]))
            t->v[find(t, &old[i])] = old[i];
    free(old);
}

static bool has_room(const struct suppress_table *t, size_t n)
{
    return n <= t->nslots / 5 * 4;
}

void suppress_table_reserve(struct suppress_table *t, size_t n)
{
    if (!has_room(t, n))
        resize(t, n / 4 * 5 + SLOTS_FEW);
}

static void empty_slot(struct suppress_table *t, size_t at)
{
    for (size_t next = after(t, at); !is_empty(&t->v[next]); next = after(t, next)) {
        size_t h = home(t, &t->v[next]);
        /* It may move back to `at` unless its home lies behind that. */
        bool stays = at < next ? h > at && h <= next : h > at || h <= next;
        if (stays)
            continue;
        t->v[at] = t->v[next];
        at = next;
    }
    t->v[at] = (struct slot){0};
}

static struct slot slot_of(const struct suppress_table *t, uint32_t scope, struct slice address)
{
    char bytes[sizeof scope + 400];
    size_t n = address.n < 400 ? address.n : 400; /* addr.h knows none that is as long */
    memcpy(bytes, &scope, sizeof scope);
    memcpy(bytes + sizeof scope, address.p, n);
    struct hash128 h = hash128(t->key, slice_of(bytes, sizeof scope + n));
    return (struct slot){.lo = h.lo, .hi = h.hi & ~(uint64_t)0xff};
}

/* --- entries --- */

static struct suppress_weight weight_of(const struct slot *s)
{
    return (struct suppress_weight){(enum suppress_reason)(s->hi & 0x7f), (int64_t)s->expires_s * 1000,
                                    s->hi & PROVISIONAL};
}

static struct scope *scope_get(const struct suppress_table *t, enum suppress_scope scope, struct slice name)
{
    return map_get(&t->scopes[scope], name);
}

bool suppress_table_add(struct suppress_table *t, enum suppress_scope scope, struct slice name,
                        struct slice address, struct suppress_weight w, int64_t now_ms)
{
    struct scope *sc = scope == SUPPRESS_ALL ? NULL : scope_get(t, scope, name);
    if (scope != SUPPRESS_ALL && !sc) {
        sc = mem_zalloc(sizeof *sc);
        sc->number = ++t->nscopes;
        map_put(&t->scopes[scope], name, sc);
    }
    if (!has_room(t, t->n + 1))
        resize(t, t->nslots ? t->nslots + t->nslots / 2 : SLOTS_FEW);
    struct slot s = slot_of(t, sc ? sc->number : 0, address);
    struct slot *at = &t->v[find(t, &s)];
    bool is_new = is_empty(at);
    int64_t expires_ms;
    bool fresh = suppression_weigh(weight_of(at), w, now_ms, &expires_ms);
    struct suppress_weight stays = fresh ? w : weight_of(at);
    s.hi |= (uint64_t)stays.reason | (stays.provisional ? PROVISIONAL : 0);
    int64_t expires_s = expires_ms / 1000;
    s.expires_s = expires_s > UINT32_MAX ? 0 : (uint32_t)expires_s; /* after 2106 is never */
    *at = s;
    if (is_new) {
        t->n++;
        *(sc ? &sc->n : &t->of_all) += 1;
    }
    return fresh;
}

bool suppress_table_remove(struct suppress_table *t, enum suppress_scope scope, struct slice name,
                           struct slice address)
{
    struct scope *sc = scope == SUPPRESS_ALL ? NULL : scope_get(t, scope, name);
    if (!t->n || (scope != SUPPRESS_ALL && !sc))
        return false;
    struct slot s = slot_of(t, sc ? sc->number : 0, address);
    size_t at = find(t, &s);
    if (is_empty(&t->v[at]))
        return false;
    empty_slot(t, at);
    t->n--;
    *(sc ? &sc->n : &t->of_all) -= 1;
    return true;
}

struct hash128 suppress_table_who(const struct suppress_table *t, struct slice address)
{
    struct slot s = slot_of(t, 0, address);
    return (struct hash128){s.lo, s.hi};
}

bool suppress_table_take_back(struct suppress_table *t, struct hash128 who)
{
    if (!t->n)
        return false;
    size_t at = find(t, &(struct slot){.lo = who.lo, .hi = who.hi});
    if (!(t->v[at].hi & PROVISIONAL))
        return false;
    empty_slot(t, at);
    t->n--;
    t->of_all--;
    return true;
}

struct suppress_weight suppress_table_get(const struct suppress_table *t, enum suppress_scope scope,
                                          struct slice name, struct slice address, int64_t now_ms)
{
    const struct suppress_weight none = {SUPPRESS_NOT, 0, false};
    const struct scope *sc = NULL;
    if (scope == SUPPRESS_ALL ? !t->of_all : !(sc = scope_get(t, scope, name)) || !sc->n)
        return none;
    struct slot s = slot_of(t, sc ? sc->number : 0, address);
    const struct slot *at = &t->v[find(t, &s)];
    struct suppress_weight w = weight_of(at);
    return w.expires_ms && w.expires_ms <= now_ms ? none : w;
}

size_t suppress_table_count(const struct suppress_table *t)
{
    return t->n;
}

size_t suppress_table_bytes(const struct suppress_table *t)
{
    return t->nslots * sizeof *t->v;
}
