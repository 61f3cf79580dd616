/* rsa_pair_test.c - signatures made two at a time are OpenSSL's to the bit: many messages, keys at the edge,
 * numbers at the edge; and a fault is not let out. */
#include "format/rsa_lanes.h"
#include "format/rsa_pair.h"
#include "test.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

enum { KEYS = 5 };

struct pair_rig {
    EVP_PKEY *pkey[KEYS];
    EVP_PKEY_CTX *sign[KEYS], *raw[KEYS];
    struct rsa_pair_key *key[KEYS];
    BIGNUM *n[KEYS], *p[KEYS], *q[KEYS];
};

/* The key of two primes; d is made for it. change_dp: spoilt on purpose. */
static EVP_PKEY *key_of(const BIGNUM *p, const BIGNUM *q, int change_dp)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *v[8];
    for (int i = 0; i < 8; i++)
        v[i] = BN_new();
    BIGNUM *n = v[0], *e = v[1], *d = v[2], *dp = v[3], *dq = v[4], *qinv = v[5], *p1 = v[6], *q1 = v[7];
    BN_mul(n, p, q, ctx);
    BN_set_word(e, 65537);
    BN_sub(p1, p, BN_value_one());
    BN_sub(q1, q, BN_value_one());
    BN_mul(d, p1, q1, ctx);
    BN_mod_inverse(d, e, d, ctx);
    BN_mod(dp, d, p1, ctx);
    BN_mod(dq, d, q1, ctx);
    BN_mod_inverse(qinv, q, p, ctx);
    BN_add_word(dp, (BN_ULONG)change_dp);
    OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, n);
    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, e);
    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_D, d);
    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_FACTOR1, p);
    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_FACTOR2, q);
    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_EXPONENT1, dp);
    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_EXPONENT2, dq);
    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_COEFFICIENT1, qinv);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
    EVP_PKEY_CTX *make = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_fromdata_init(make);
    EVP_PKEY_fromdata(make, &pkey, EVP_PKEY_KEYPAIR, params);
    EVP_PKEY_CTX_free(make);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(b);
    for (int i = 0; i < 8; i++)
        BN_free(v[i]);
    BN_CTX_free(ctx);
    return pkey;
}

/* The prime next to x, below or above, for which e = 65537 has an inverse. */
static BIGNUM *prime_near(BIGNUM *x, int step, BN_CTX *ctx)
{
    BN_set_bit(x, 0);
    while (BN_check_prime(x, ctx, NULL) != 1 || BN_mod_word(x, 65537) == 1)
        step < 0 ? BN_sub_word(x, 2) : BN_add_word(x, 2);
    return x;
}

static EVP_PKEY_CTX *context(EVP_PKEY *pkey, int padding)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new(pkey, NULL);
    EVP_PKEY_sign_init(c);
    EVP_PKEY_CTX_set_rsa_padding(c, padding);
    if (padding == RSA_PKCS1_PADDING)
        EVP_PKEY_CTX_set_signature_md(c, EVP_sha256());
    return c;
}

/* Three keys as they are made, and two of primes at the ends of where primes of a 2048-bit key may be. */
static void rig_new(struct pair_rig *g)
{
    BN_CTX *ctx = BN_CTX_new();
    for (int i = 0; i < KEYS; i++) {
        BIGNUM *p = BN_new(), *q = BN_new();
        switch (i) {
        case 0: /* the largest two */
            BN_set_bit(p, LANES_BITS);
            BN_sub_word(p, 1);
            prime_near(p, -1, ctx);
            BN_sub(q, p, BN_value_one());
            BN_sub_word(q, 1);
            prime_near(q, -1, ctx);
            break;
        case 1: /* one of the smallest and the largest */
            BN_set_bit(q, LANES_BITS);
            BN_sub_word(q, 1);
            prime_near(q, -1, ctx);
            BN_set_bit(p, LANES_BITS - 1);
            BN_set_bit(p, 20); /* with less, n would have 2047 bits */
            prime_near(p, 1, ctx);
            break;
        default:
            BN_clear_free(p);
            BN_clear_free(q);
            p = q = NULL;
        }
        g->pkey[i] = p ? key_of(p, q, 0) : EVP_RSA_gen(2048);
        g->key[i] = rsa_pair_key_new(g->pkey[i]);
        g->sign[i] = context(g->pkey[i], RSA_PKCS1_PADDING);
        g->raw[i] = context(g->pkey[i], RSA_NO_PADDING);
        g->n[i] = g->p[i] = g->q[i] = NULL;
        EVP_PKEY_get_bn_param(g->pkey[i], OSSL_PKEY_PARAM_RSA_N, &g->n[i]);
        EVP_PKEY_get_bn_param(g->pkey[i], OSSL_PKEY_PARAM_RSA_FACTOR1, &g->p[i]);
        EVP_PKEY_get_bn_param(g->pkey[i], OSSL_PKEY_PARAM_RSA_FACTOR2, &g->q[i]);
        BN_free(p);
        BN_free(q);
    }
    BN_CTX_free(ctx);
}

static void rig_free(struct pair_rig *g)
{
    for (int i = 0; i < KEYS; i++) {
        rsa_pair_key_free(g->key[i]);
        EVP_PKEY_CTX_free(g->sign[i]);
        EVP_PKEY_CTX_free(g->raw[i]);
        EVP_PKEY_free(g->pkey[i]);
        BN_free(g->n[i]);
        BN_free(g->p[i]);
        BN_free(g->q[i]);
    }
}

TEST(pairs_of_signatures_are_openssls_to_the_bit)
{
    struct pair_rig g;
    uint8_t digest[2][RSA_PAIR_DIGEST], got[2][RSA_PAIR_BYTES], want[RSA_PAIR_BYTES];
    uint64_t seed = 1;
    if (!lanes_can_run())
        return;
    rig_new(&g);
    for (int round = 0; round < 500; round++) {
        int k[2] = {round % KEYS, round / KEYS % KEYS};
        const struct rsa_pair_key *const key[2] = {g.key[k[0]], g.key[k[1]]};
        for (size_t i = 0; i < sizeof digest; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            digest[i / RSA_PAIR_DIGEST][i % RSA_PAIR_DIGEST] = (uint8_t)(seed >> 56);
        }
        CHECK_INT(rsa_pair_sign(key, (const uint8_t(*)[RSA_PAIR_DIGEST])digest, got), 3);
        for (int i = 0; i < 2; i++) {
            size_t n = sizeof want;
            CHECK_INT(EVP_PKEY_sign(g.sign[k[i]], want, &n, digest[i], sizeof digest[i]), 1);
            CHECK_INT(memcmp(got[i], want, sizeof want), 0);
        }
    }
    rig_free(&g);
}

TEST(pairs_raise_numbers_at_the_edges)
{
    struct pair_rig g;
    uint8_t in[2][RSA_PAIR_BYTES], got[2][RSA_PAIR_BYTES], want[RSA_PAIR_BYTES];
    BIGNUM *x = BN_new();
    if (!lanes_can_run())
        return;
    rig_new(&g);
    for (int k = 0; k < KEYS; k++) {
        const struct rsa_pair_key *const key[2] = {g.key[k], g.key[(k + 1) % KEYS]};
        for (int edge = 0; edge < 9; edge++) {
            BN_set_word(x, (BN_ULONG)edge); /* 0, 1, 2 */
            if (edge == 3 || edge == 4) {
                BN_sub(x, g.n[k], BN_value_one());
                BN_sub_word(x, (BN_ULONG)(edge - 3));
            } else if (edge == 5 || edge == 6) {
                BN_copy(x, edge == 5 ? g.p[k] : g.q[k]);
            } else if (edge == 7) {
                BN_lshift(x, g.p[k], 1000);
            } else if (edge == 8) {
                BN_sub(x, g.n[k], g.q[k]);
            }
            memset(in[1], 0, sizeof in[1]);
            in[1][RSA_PAIR_BYTES - 1] = 1;
            BN_bn2binpad(x, in[0], sizeof in[0]);
            CHECK_INT(rsa_pair_raw(key, (const uint8_t(*)[RSA_PAIR_BYTES])in, got), 3);
            CHECK_INT(memcmp(got[1], in[1], sizeof in[1]), 0);
            if (edge < 2) { /* OpenSSL does not blind these, and so does not do them */
                CHECK_INT(memcmp(got[0], in[0], sizeof in[0]), 0);
                continue;
            }
            size_t n = sizeof want;
            CHECK_INT(EVP_PKEY_sign(g.raw[k], want, &n, in[0], sizeof in[0]), 1);
            CHECK_INT(memcmp(got[0], want, sizeof want), 0);
        }
    }
    BN_free(x);
    rig_free(&g);
}

TEST(a_signature_that_came_out_wrong_does_not_leave)
{
    static const uint8_t zero[RSA_PAIR_BYTES];
    struct pair_rig g;
    uint8_t digest[2][RSA_PAIR_DIGEST] = {{1}, {2}}, got[2][RSA_PAIR_BYTES], want[RSA_PAIR_BYTES];
    size_t n = sizeof want;
    if (!lanes_can_run())
        return;
    rig_new(&g);
    /* m^dp is wrong mod p and right mod q: what would give the factors away. */
    EVP_PKEY *spoilt = key_of(g.p[2], g.q[2], 2);
    struct rsa_pair_key *wrong = rsa_pair_key_new(spoilt);
    CHECK(wrong);
    CHECK_INT(EVP_PKEY_sign(g.sign[3], want, &n, digest[0], sizeof digest[0]), 1);
    for (int at = 0; at < 2; at++) {
        const struct rsa_pair_key *const key[2] = {at ? g.key[3] : wrong, at ? wrong : g.key[3]};
        memset(digest[1 - at], 1, 1);
        memset(digest[1 - at] + 1, 0, RSA_PAIR_DIGEST - 1);
        CHECK_INT(rsa_pair_sign(key, (const uint8_t(*)[RSA_PAIR_DIGEST])digest, got), at ? 1 : 2);
        CHECK_INT(memcmp(got[at], zero, sizeof zero), 0);
        CHECK_INT(memcmp(got[1 - at], want, sizeof want), 0);
    }
    rsa_pair_key_free(wrong);
    EVP_PKEY_free(spoilt);
    rig_free(&g);
}

TEST(pairs_take_only_keys_of_two_primes_of_1024_bits)
{
    EVP_PKEY *small = EVP_RSA_gen(1024), *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), *three = NULL;
    EVP_PKEY_CTX *make = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    EVP_PKEY_keygen_init(make);
    EVP_PKEY_CTX_set_rsa_keygen_bits(make, 2048);
    EVP_PKEY_CTX_set_rsa_keygen_primes(make, 3);
    EVP_PKEY_generate(make, &three);
    CHECK(small && ed && three);
    CHECK(!rsa_pair_key_new(small));
    CHECK(!rsa_pair_key_new(ed));
    CHECK(!rsa_pair_key_new(three));
    EVP_PKEY_CTX_free(make);
    EVP_PKEY_free(small);
    EVP_PKEY_free(ed);
    EVP_PKEY_free(three);
}
