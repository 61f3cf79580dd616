/* rsa_pair.c - see rsa_pair.h.
 *
 * Lanes 0 and 1 are p and q of the first message's key, 2 and 3 those of the second's.
 *
 * Blinding, which OpenSSL uses, is left out: it hides the number that is signed from operations whose time
 * depends on it, and here no operation's does. */
#include "format/rsa_pair.h"
#include "format/rsa_lanes.h"
#include "base/err.h"
#include "base/mem.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

enum { WORDS = 2 * LANES_WORDS, PUBLIC_EXPONENT = 65537 };

/* What is known of a prime; the last two of p (lane 0) only, and 0 in q's lane. */
enum constant {
    MODULUS,     /* n */
    INVERSE,     /* -1 / n mod R */
    ONE,         /* R mod n */
    ENTER_LOW,   /* R^2 mod n: times this, a number is in Montgomery's form */
    ENTER_HIGH,  /* R^2 * 2^1024 mod n: the same for the upper half of a longer number */
    COEFFICIENT, /* R / q mod p */
    OTHER,       /* q */
    CONSTANTS
};

struct rsa_pair_key {
    uint64_t constant[2][CONSTANTS][LANES_WORDS + 1];
    uint64_t exponent[2][LANES_WORDS];
    uint64_t n[WORDS];
};

/* Secret as a whole. */
struct signing {
    struct lanes lanes;
    struct lanes_number enter_low, enter_high, coefficient, other; /* as in enum constant */
    struct lanes_number x, y, z;
    struct lanes_twice result;
    uint64_t exponent[LANES][LANES_WORDS];
    uint64_t words[WORDS];
};

#ifdef __x86_64__

static void start(struct signing *s, const struct rsa_pair_key *const key[2])
{
    struct lanes_number *const to[CONSTANTS] = {
        [MODULUS] = &s->lanes.n,     [INVERSE] = &s->lanes.inverse, [ONE] = &s->lanes.one,
        [ENTER_LOW] = &s->enter_low, [ENTER_HIGH] = &s->enter_high, [COEFFICIENT] = &s->coefficient,
        [OTHER] = &s->other,
    };
    for (int lane = 0; lane < LANES; lane++) {
        const struct rsa_pair_key *k = key[lane / 2];
        for (int c = 0; c < CONSTANTS; c++)
            lanes_put(to[c], lane, k->constant[lane % 2][c], LANES_WORDS + 1);
        memcpy(s->exponent[lane], k->exponent[lane % 2], sizeof s->exponent[lane]);
    }
}

/* out = the number mod n in Montgomery's form, of each message in both of its lanes. */
static void enter(struct signing *s, const uint8_t in[2][RSA_PAIR_BYTES], struct lanes_number *out)
{
    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < WORDS; i++) {
            memcpy(&s->words[i], in[lane / 2] + (WORDS - 1 - i) * 8, 8);
            s->words[i] = __builtin_bswap64(s->words[i]);
        }
        lanes_put(&s->x, lane, s->words, LANES_WORDS);
        lanes_put(&s->y, lane, s->words + LANES_WORDS, LANES_WORDS);
    }
    lanes_multiply(&s->lanes, &s->x, &s->x, &s->enter_low);
    lanes_multiply(&s->lanes, &s->y, &s->y, &s->enter_high);
    lanes_add(out, &s->x, &s->y);
}

/* From m1 mod p and m2 mod q in x to m, in p's lanes (Garner): m2 + q ((m1 - m2) / q mod p). Both factors are
 * below their moduli, so m is between -n and n. */
static void join(struct signing *s, const struct lanes_number *x)
{
    lanes_swap(&s->y, x);
    lanes_subtract(&s->z, x, &s->y);
    lanes_multiply(&s->lanes, &s->z, &s->z, &s->coefficient);
    lanes_product(&s->lanes, &s->result, &s->z, &s->other, &s->y);
}

static void put_result(struct signing *s, const struct rsa_pair_key *key, int lane, uint8_t *out)
{
    uint64_t negative = (uint64_t)lanes_get_twice(&s->result, lane, s->words, WORDS);
    unsigned __int128 sum = 0;
    for (int i = 0; i < WORDS; i++) {
        sum += (unsigned __int128)s->words[i] + (key->n[i] & negative);
        uint64_t word = __builtin_bswap64((uint64_t)sum);
        memcpy(out + (WORDS - 1 - i) * 8, &word, sizeof word);
        sum >>= 64;
    }
}

/* good[i]: all ones where out^e = in mod p and mod q, begun anew from the bytes of both. */
static void check(struct signing *s, const uint8_t in[2][RSA_PAIR_BYTES],
                  const uint8_t out[2][RSA_PAIR_BYTES], uint64_t good[2])
{
    struct lanes_number *power = &s->lanes.table[0], *base = &s->lanes.table[1];
    uint64_t wrong[2] = {0, 0};
    enter(s, out, base);
    *power = *base;
    for (int i = 0; i < 16; i++)
        lanes_square(&s->lanes, power, power);
    lanes_multiply(&s->lanes, power, power, base);
    enter(s, in, &s->z);
    lanes_subtract(&s->z, power, &s->z);
    lanes_leave(&s->lanes, &s->z, &s->z); /* between -n and n: it is 0 mod n only as 0 */
    for (int lane = 0; lane < LANES; lane++) {
        wrong[lane / 2] |= (uint64_t)lanes_get(&s->z, lane, s->words, WORDS);
        for (int i = 0; i < WORDS; i++)
            wrong[lane / 2] |= s->words[i];
    }
    for (int m = 0; m < 2; m++) {
        good[m] = ((wrong[m] | (0 - wrong[m])) >> 63) - 1;
        __asm__("" : "+r"(good[m])); /* clang would see that it is all or nothing, and branch */
    }
}

unsigned rsa_pair_raw(const struct rsa_pair_key *const key[2], const uint8_t in[2][RSA_PAIR_BYTES],
                      uint8_t out[2][RSA_PAIR_BYTES])
{
    struct signing s;
    uint64_t good[2];
    start(&s, key);
    enter(&s, in, &s.z);
    lanes_power(&s.lanes, &s.z, (const uint64_t(*)[LANES_WORDS])s.exponent);
    lanes_leave(&s.lanes, &s.x, &s.z);
    join(&s, &s.x);
    for (int m = 0; m < 2; m++)
        put_result(&s, key[m], 2 * m, out[m]);
    check(&s, in, (const uint8_t(*)[RSA_PAIR_BYTES])out, good);
    for (int m = 0; m < 2; m++)
        for (int i = 0; i < RSA_PAIR_BYTES; i++)
            out[m][i] &= (uint8_t)good[m];
    OPENSSL_cleanse(&s, sizeof s);
    return (unsigned)((good[0] & 1) | (good[1] & 2));
}

#else /* lanes_can_run() is false: there is no key to call this with */

unsigned rsa_pair_raw(const struct rsa_pair_key *const key[2], const uint8_t in[2][RSA_PAIR_BYTES],
                      uint8_t out[2][RSA_PAIR_BYTES])
{
    memset(out, 0, 2 * RSA_PAIR_BYTES);
    return 0;
}

#endif

unsigned rsa_pair_sign(const struct rsa_pair_key *const key[2], const uint8_t digest[2][RSA_PAIR_DIGEST],
                       uint8_t signature[2][RSA_PAIR_BYTES])
{
    /* RFC 8017 9.2: 00 01 ff .. ff 00, then the DER that says SHA-256. */
    static const uint8_t sha256[] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                                     0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    uint8_t em[2][RSA_PAIR_BYTES];
    memset(em, 0xff, sizeof em);
    for (int m = 0; m < 2; m++) {
        uint8_t *tail = em[m] + RSA_PAIR_BYTES - RSA_PAIR_DIGEST - sizeof sha256;
        em[m][0] = 0;
        em[m][1] = 1;
        tail[-1] = 0;
        memcpy(tail, sha256, sizeof sha256);
        memcpy(tail + sizeof sha256, digest[m], RSA_PAIR_DIGEST);
    }
    return rsa_pair_raw(key, (const uint8_t(*)[RSA_PAIR_BYTES])em, signature);
}

/* --- keys --- */

enum part { N, E, P, Q, DP, DQ, QINV, PARTS };

static bool put_words(const BIGNUM *x, uint64_t *words, size_t n)
{
    return BN_bn2lebinpad(x, (unsigned char *)words, (int)(n * sizeof *words)) >= 0;
}

/* The constants of p (lane 0) or q (lane 1), which is n. */
static bool put_prime(struct rsa_pair_key *key, int lane, BIGNUM *const part[PARTS], BN_CTX *ctx)
{
    uint64_t(*to)[LANES_WORDS + 1] = key->constant[lane];
    const BIGNUM *n = part[lane ? Q : P];
    BN_CTX_start(ctx);
    BIGNUM *r = BN_CTX_get(ctx), *x = BN_CTX_get(ctx);
    bool ok = x && BN_set_bit(r, LANES_R_BITS) && put_words(n, to[MODULUS], COUNT(*to)) &&
              BN_mod_inverse(x, n, r, ctx) && BN_sub(x, r, x) && put_words(x, to[INVERSE], COUNT(*to)) &&
              BN_nnmod(r, r, n, ctx) && put_words(r, to[ONE], COUNT(*to)) && BN_mod_sqr(x, r, n, ctx) &&
              put_words(x, to[ENTER_LOW], COUNT(*to)) && BN_mod_lshift(x, x, LANES_BITS, n, ctx) &&
              put_words(x, to[ENTER_HIGH], COUNT(*to)) &&
              put_words(part[lane ? DQ : DP], key->exponent[lane], LANES_WORDS);
    if (ok && lane == 0)
        ok = BN_mod_mul(x, part[QINV], r, n, ctx) && put_words(x, to[COEFFICIENT], COUNT(*to)) &&
             put_words(part[Q], to[OTHER], COUNT(*to));
    BN_CTX_end(ctx);
    return ok;
}

static bool read_parts(const EVP_PKEY *pkey, BIGNUM *part[PARTS])
{
    static const char *const names[PARTS] = {OSSL_PKEY_PARAM_RSA_N,           OSSL_PKEY_PARAM_RSA_E,
                                             OSSL_PKEY_PARAM_RSA_FACTOR1,     OSSL_PKEY_PARAM_RSA_FACTOR2,
                                             OSSL_PKEY_PARAM_RSA_EXPONENT1,   OSSL_PKEY_PARAM_RSA_EXPONENT2,
                                             OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    for (int i = 0; i < PARTS; i++) {
        if (EVP_PKEY_get_bn_param(pkey, names[i], &part[i]) != 1)
            return false;
        BN_set_flags(part[i], BN_FLG_CONSTTIME);
    }
    return BN_num_bits(part[N]) == 2 * LANES_BITS && BN_is_word(part[E], PUBLIC_EXPONENT) &&
           BN_num_bits(part[P]) == LANES_BITS && BN_num_bits(part[Q]) == LANES_BITS;
}

struct rsa_pair_key *rsa_pair_key_new(EVP_PKEY *pkey)
{
    BIGNUM *part[PARTS] = {0};
    struct rsa_pair_key *key = mem_zalloc(sizeof *key);
    BN_CTX *ctx = BN_CTX_secure_new();
    BIGNUM *n = BN_secure_new();
    /* With a third prime p q is not n. */
    bool ok = ctx && n && lanes_can_run() && EVP_PKEY_is_a(pkey, "RSA") && read_parts(pkey, part) &&
              BN_mul(n, part[P], part[Q], ctx) && BN_cmp(n, part[N]) == 0 && put_words(n, key->n, WORDS) &&
              put_prime(key, 0, part, ctx) && put_prime(key, 1, part, ctx);
    if (!ok) {
        rsa_pair_key_free(key);
        key = NULL;
    }
    for (int i = 0; i < PARTS; i++)
        BN_clear_free(part[i]);
    BN_clear_free(n);
    BN_CTX_free(ctx);
    return key;
}

void rsa_pair_key_free(struct rsa_pair_key *key)
{
    if (key)
        OPENSSL_cleanse(key, sizeof *key);
    free(key);
}
