/* map.c - see map.h. Linear probing; deletion shifts back, so there are no tombstones in the slots. */
#include "base/map.h"
#include "base/err.h"

#include <stdlib.h>

void map_init(struct map *m, struct hash_key hk)
{
    *m = (struct map){.hk = hk};
}

static size_t find_slot(const struct map *m, struct slice key, uint64_t hash)
{
    size_t mask = m->nslots - 1;
    size_t i = hash & mask;
    for (; m->slots[i]; i = (i + 1) & mask) {
        const struct map_entry *e = &m->v[m->slots[i] - 1];
        if (e->hash == hash && slice_eq(e->key, key))
            break;
    }
    return i;
}

/* Make room for one more: close up deleted entries, grow when half of the slots are taken. */
static void make_room(struct map *m)
{
    if (m->n < m->cap && (m->live + 1) * 2 <= m->nslots)
        return;
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].key.p)
            m->v[n++] = m->v[i];
    m->n = n;
    if (m->n >= m->cap / 2 + 1 || !m->cap) {
        m->cap = m->cap ? m->cap * 2 : 8;
        INVARIANT(m->cap < UINT32_MAX / 2);
        m->v = mem_realloc(m->v, m->cap * sizeof *m->v);
    }
    m->nslots = 16;
    while (m->nslots < m->cap * 2)
        m->nslots *= 2;
    free(m->slots);
    m->slots = mem_zalloc(m->nslots * sizeof *m->slots);
    for (size_t i = 0; i < m->n; i++)
        m->slots[find_slot(m, m->v[i].key, m->v[i].hash)] = (uint32_t)(i + 1);
}

void *map_get(const struct map *m, struct slice key)
{
    if (!m->nslots)
        return NULL;
    size_t slot = find_slot(m, key, hash64(m->hk, key));
    return m->slots[slot] ? m->v[m->slots[slot] - 1].value : NULL;
}

void *map_put(struct map *m, struct slice key, void *value)
{
    INVARIANT(value);
    make_room(m);
    uint64_t hash = hash64(m->hk, key);
    size_t slot = find_slot(m, key, hash);
    if (m->slots[slot]) {
        struct map_entry *e = &m->v[m->slots[slot] - 1];
        void *old = e->value;
        e->value = value;
        return old;
    }
    m->v[m->n] = (struct map_entry){slice_of(mem_dup(key.p, key.n), key.n), value, hash};
    m->slots[slot] = (uint32_t)++m->n;
    m->live++;
    return NULL;
}

void *map_del(struct map *m, struct slice key)
{
    if (!m->nslots)
        return NULL;
    size_t mask = m->nslots - 1;
    size_t hole = find_slot(m, key, hash64(m->hk, key));
    if (!m->slots[hole])
        return NULL;
    struct map_entry *e = &m->v[m->slots[hole] - 1];
    void *old = e->value;
    free((char *)e->key.p);
    *e = (struct map_entry){0};
    m->live--;
    for (size_t i = (hole + 1) & mask; m->slots[i]; i = (i + 1) & mask) {
        size_t home = m->v[m->slots[i] - 1].hash & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = 0;
    return old;
}

struct map_entry *map_next(const struct map *m, size_t *at)
{
    while (*at < m->n) {
        struct map_entry *e = &m->v[(*at)++];
        if (e->key.p)
            return e;
    }
    return NULL;
}

void map_free(struct map *m)
{
    for (size_t i = 0; i < m->n; i++)
        free((char *)m->v[i].key.p);
    free(m->v);
    free(m->slots);
    *m = (struct map){.hk = m->hk};
}

static bool is_zero(struct hash128 k)
{
    return !(k.lo | k.hi);
}

static size_t key_slot(const struct keyset *s, struct hash128 k)
{
    size_t i = k.lo & (s->nslots - 1);
    while (!is_zero(s->v[i]) && (s->v[i].lo != k.lo || s->v[i].hi != k.hi))
        i = (i + 1) & (s->nslots - 1);
    return i;
}

/* Twice the slots, in place: each key's new home is its old one or that many slots behind it. Taken up in
 * rising order from an empty slot on, a key never goes behind where it was (or its twin there), so it never
 * stands in the way of one that is still to be moved; those that had wrapped around to the front go last. */
static void keyset_grow(struct keyset *s)
{
    size_t was = s->nslots, wrapped = 0;
    s->nslots = was ? was * 2 : 64;
    s->v = mem_grow_table(s->v, was * sizeof *s->v, s->nslots * sizeof *s->v);
    while (wrapped < was && !is_zero(s->v[wrapped]))
        wrapped++;
    struct hash128 *front = mem_alloc(wrapped * sizeof *front);
    if (wrapped)
        memcpy(front, s->v, wrapped * sizeof *front);
    for (size_t i = 0; i < wrapped; i++)
        s->v[i] = (struct hash128){0};
    for (size_t i = wrapped; i < was; i++) {
        struct hash128 k = s->v[i];
        s->v[i] = (struct hash128){0};
        if (!is_zero(k))
            s->v[key_slot(s, k)] = k;
    }
    for (size_t i = 0; i < wrapped; i++)
        s->v[key_slot(s, front[i])] = front[i];
    free(front);
}

bool keyset_add(struct keyset *s, struct hash128 k)
{
    if (is_zero(k)) {
        bool fresh = !s->has_zero;
        s->has_zero = true;
        return fresh;
    }
    if ((s->n + 1) * 8 > s->nslots * 7)
        keyset_grow(s);
    size_t i = key_slot(s, k);
    if (!is_zero(s->v[i]))
        return false;
    s->v[i] = k;
    s->n++;
    return true;
}

bool keyset_has(const struct keyset *s, struct hash128 k)
{
    if (is_zero(k))
        return s->has_zero;
    return s->nslots && !is_zero(s->v[key_slot(s, k)]);
}

bool keyset_del(struct keyset *s, struct hash128 k)
{
    if (!keyset_has(s, k))
        return false;
    if (is_zero(k)) {
        s->has_zero = false;
        return true;
    }
    size_t mask = s->nslots - 1;
    size_t hole = key_slot(s, k);
    for (size_t i = (hole + 1) & mask; !is_zero(s->v[i]); i = (i + 1) & mask) {
        size_t home = s->v[i].lo & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            s->v[hole] = s->v[i];
            hole = i;
        }
    }
    s->v[hole] = (struct hash128){0};
    s->n--;
    return true;
}

void keyset_prefetch(const struct keyset *s, struct hash128 k)
{
    if (s->nslots)
        __builtin_prefetch(&s->v[k.lo & (s->nslots - 1)]);
}

void keyset_free(struct keyset *s)
{
    mem_free_table(s->v, s->nslots * sizeof *s->v);
    *s = (struct keyset){0};
}
