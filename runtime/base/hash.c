/* hash.c - see hash.h. */
#include "base/hash.h"

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

struct sip {
    uint64_t v0, v1, v2, v3;
};

static void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = ROTL(s->v1, 13) ^ s->v0;
    s->v0 = ROTL(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = ROTL(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = ROTL(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = ROTL(s->v1, 17) ^ s->v2;
    s->v2 = ROTL(s->v2, 32);
}

static uint64_t load_le64(const char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)(unsigned char)p[i] << (8 * i);
    return v;
}

static struct sip sip_absorb(struct hash_key key, struct slice data, bool wide)
{
    struct sip s = {key.k0 ^ 0x736f6d6570736575u, key.k1 ^ 0x646f72616e646f6du, key.k0 ^ 0x6c7967656e657261u,
                    key.k1 ^ 0x7465646279746573u};
    if (wide)
        s.v1 ^= 0xee;
    size_t whole = data.n / 8 * 8;
    for (size_t i = 0; i <= whole; i += 8) {
        uint64_t m;
        if (i < whole)
            memcpy(&m, data.p + i, 8); /* little-endian hosts only: checked at configure time */
        else
            m = load_le64(data.p + whole, data.n - whole) | (uint64_t)data.n << 56;
        s.v3 ^= m;
        sip_round(&s);
        sip_round(&s);
        s.v0 ^= m;
    }
    return s;
}

static uint64_t sip_squeeze(struct sip *s)
{
    for (int i = 0; i < 4; i++)
        sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t hash64(struct hash_key key, struct slice data)
{
    struct sip s = sip_absorb(key, data, false);
    s.v2 ^= 0xff;
    return sip_squeeze(&s);
}

struct hash128 hash128(struct hash_key key, struct slice data)
{
    struct sip s = sip_absorb(key, data, true);
    struct hash128 h;
    s.v2 ^= 0xee;
    h.lo = sip_squeeze(&s);
    s.v1 ^= 0xdd;
    h.hi = sip_squeeze(&s);
    return h;
}
