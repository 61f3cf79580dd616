/* map.h - two open-addressing tables: bytes -> pointer, and a set of 128-bit keyed hashes. */
#ifndef HATO_BASE_MAP_H
#define HATO_BASE_MAP_H

#include "base/hash.h"

/* --- map: bytes -> pointer. Keys are copied; values are the caller's. Iteration is in order of insertion
 * (with deletions closed up), so that nothing seen from outside depends on a hash. --- */
struct map_entry {
    struct slice key; /* owned by the map */
    void *value;
    uint64_t hash;
};
struct map {
    struct map_entry *v; /* dense, in order of insertion; a deleted entry has key.p == NULL */
    size_t n, cap, live;
    uint32_t *slots; /* index + 1 into v */
    size_t nslots;
    struct hash_key hk;
};
void map_init(struct map *m, struct hash_key hk);
void *map_get(const struct map *m, struct slice key); /* NULL: not there */
void *map_put(struct map *m, struct slice key,
              void *value);                     /* value not NULL; returns the one replaced or NULL */
void *map_del(struct map *m, struct slice key); /* returns what was there or NULL */
/* size_t at = 0; while ((e = map_next(m, &at))) ... ; deleting while iterating is allowed, putting is not. */
struct map_entry *map_next(const struct map *m, size_t *at);
void map_free(struct map *m);

/* --- keyset: a set of hash128, 16 bytes a slot, at most 7/8 full. Some 18 to 37 bytes a key. --- */
struct keyset {
    struct hash128 *v; /* {0,0} = empty slot */
    size_t n, nslots;
    bool has_zero;
};
bool keyset_add(struct keyset *s, struct hash128 k); /* true if it is new */
bool keyset_has(const struct keyset *s, struct hash128 k);
bool keyset_del(struct keyset *s, struct hash128 k); /* true if it was there */
/* k will be asked for or added in a moment: begin to fetch its slot. A set of millions is larger than any
 * cache, and each key is a miss that other work can be done under. */
void keyset_prefetch(const struct keyset *s, struct hash128 k);
void keyset_free(struct keyset *s);

#endif
