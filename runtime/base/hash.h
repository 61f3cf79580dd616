/* hash.h - SipHash-2-4 (Aumasson and Bernstein, 2012), 64 and 128 bits. Keyed, so that nobody who chooses
 * addresses can choose collisions. */
#ifndef HATO_BASE_HASH_H
#define HATO_BASE_HASH_H

#include "base/mem.h"

struct hash_key {
    uint64_t k0, k1;
};
struct hash128 {
    uint64_t lo, hi;
};

uint64_t hash64(struct hash_key key, struct slice data);
struct hash128 hash128(struct hash_key key, struct slice data);

#endif
