/* rsa_lanes_test.c - arithmetic in lanes against OpenSSL's: random moduli and the ones at the edges. */
#include "base/mem.h"
#include "format/rsa_lanes.h"
#include "test.h"

#ifdef __x86_64__

#include <openssl/bn.h>

struct rig {
    struct lanes lanes;
    BN_CTX *ctx;
    BIGNUM *r, *n[LANES], *x, *y;
};

static void put(struct lanes_number *out, int lane, const BIGNUM *x)
{
    uint64_t words[LANES_WORDS + 1];
    BN_bn2lebinpad(x, (unsigned char *)words, sizeof words);
    lanes_put(out, lane, words, COUNT(words));
}

/* A lane mod n. */
static void get(const struct lanes_number *in, int lane, const BIGNUM *n, BIGNUM *out, BN_CTX *ctx)
{
    uint64_t words[LANES_WORDS + 1];
    BIGNUM *wrap = BN_new();
    int64_t sign = lanes_get(in, lane, words, COUNT(words));
    BN_lebin2bn((unsigned char *)words, sizeof words, out);
    if (sign) {
        BN_set_bit(wrap, 8 * (int)sizeof words);
        BN_sub(out, out, wrap);
    }
    BN_nnmod(out, out, n, ctx);
    BN_free(wrap);
}

static void rig_new(struct rig *g)
{
    *g = (struct rig){.ctx = BN_CTX_new(), .r = BN_new(), .x = BN_new(), .y = BN_new()};
    BN_set_bit(g->r, LANES_R_BITS);
    for (int i = 0; i < LANES; i++)
        g->n[i] = BN_new();
}

static void rig_free(struct rig *g)
{
    for (int i = 0; i < LANES; i++)
        BN_free(g->n[i]);
    BN_free(g->r);
    BN_free(g->x);
    BN_free(g->y);
    BN_CTX_free(g->ctx);
}

/* Odd moduli: random ones of any length in some rounds; in others those with the largest and with the fewest
 * digits, and ones whose digits are all at the edge between two. */
static void pick_moduli(struct rig *g, int round)
{
    for (int i = 0; i < LANES; i++) {
        BIGNUM *n = g->n[i];
        BN_zero(n);
        switch ((round + i) % 6) {
        case 0: /* 2^1024 - 1 */
            BN_set_bit(n, LANES_BITS);
            BN_sub_word(n, 1);
            break;
        case 1: /* 2^1023 + 1 */
            BN_set_bit(n, LANES_BITS - 1);
            BN_set_bit(n, 0);
            break;
        case 2: /* every digit is 2^48 or next to it */
            for (int bit = 48; bit < LANES_BITS; bit += 49)
                BN_set_bit(n, bit);
            BN_add_word(n, 1 + 2 * (BN_ULONG)(round % 3));
            break;
        case 3: /* short ones */
            BN_rand(n, 2 + round % 1000, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
            break;
        default:
            BN_rand(n, LANES_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
        }
        put(&g->lanes.n, i, n);
        BN_mod_inverse(g->x, n, g->r, g->ctx);
        BN_sub(g->x, g->r, g->x);
        put(&g->lanes.inverse, i, g->x);
        BN_nnmod(g->x, g->r, n, g->ctx);
        put(&g->lanes.one, i, g->x);
    }
}

static void pick_number(BIGNUM *x, const BIGNUM *n, int round)
{
    switch (round % 5) {
    case 0:
        BN_zero(x);
        break;
    case 1:
        BN_one(x);
        break;
    case 2: /* the most that is allowed */
        BN_lshift1(x, n);
        BN_sub_word(x, 1);
        break;
    default:
        BN_rand_range(x, n);
    }
}

TEST(lanes_multiply_square_and_leave_as_openssl_does)
{
    struct rig g;
    struct lanes_number a, b, product, square, left;
    BIGNUM *x[LANES], *y[LANES], *got = BN_new(), *want = BN_new(), *inverse = BN_new();
    if (!lanes_can_run())
        return;
    rig_new(&g);
    for (int i = 0; i < LANES; i++) {
        x[i] = BN_new();
        y[i] = BN_new();
    }
    for (int round = 0; round < 3000; round++) {
        if (round % 5 == 0)
            pick_moduli(&g, round / 5);
        for (int i = 0; i < LANES; i++) {
            pick_number(x[i], g.n[i], round + i);
            pick_number(y[i], g.n[i], round / 5 + i);
            put(&a, i, x[i]);
            put(&b, i, y[i]);
        }
        lanes_multiply(&g.lanes, &product, &a, &b);
        lanes_square(&g.lanes, &square, &a);
        lanes_leave(&g.lanes, &left, &a);
        for (int i = 0; i < LANES; i++) {
            BN_mod_inverse(inverse, g.r, g.n[i], g.ctx);
            BN_mod_mul(want, x[i], y[i], g.n[i], g.ctx);
            BN_mod_mul(want, want, inverse, g.n[i], g.ctx);
            get(&product, i, g.n[i], got, g.ctx);
            CHECK_INT(BN_cmp(got, want), 0);
            BN_mod_sqr(want, x[i], g.n[i], g.ctx);
            BN_mod_mul(want, want, inverse, g.n[i], g.ctx);
            get(&square, i, g.n[i], got, g.ctx);
            CHECK_INT(BN_cmp(got, want), 0);
            BN_mod_mul(want, x[i], inverse, g.n[i], g.ctx);
            get(&left, i, g.n[i], got, g.ctx);
            CHECK_INT(BN_cmp(got, want), 0);
        }
    }
    for (int i = 0; i < LANES; i++) {
        BN_free(x[i]);
        BN_free(y[i]);
    }
    BN_free(got);
    BN_free(want);
    BN_free(inverse);
    rig_free(&g);
}

TEST(lanes_digits_stay_within_their_bound_at_the_extremes)
{
    struct lanes l;
    struct lanes_number a, b, out;
    if (!lanes_can_run())
        return;
    /* Not numbers mod n, but the largest digits there can be, in all combinations of sign. */
    for (int signs = 0; signs < 16; signs++) {
        for (int i = 0; i < LANES_DIGITS; i++)
            for (int lane = 0; lane < LANES; lane++) {
                double d = i < LANES_DIGITS - 1 ? 0x1p48 + 32 : 0x1p43; /* below 2^1024 */
                a.digit[i][lane] = (signs & 1) ^ (lane & 1 & i) ? -d : d;
                b.digit[i][lane] = (signs >> 1 & 1) ^ (lane >> 1 & i) ? -d : d;
                l.n.digit[i][lane] = signs & 4 ? -d : d;
                l.inverse.digit[i][lane] = signs & 8 ? -0x1p48 - 32 : 0x1p48 + 32;
            }
        for (int square = 0; square < 2; square++) {
            if (square)
                lanes_square(&l, &out, &a);
            else
                lanes_multiply(&l, &out, &a, &b);
            for (int i = 0; i < LANES_DIGITS; i++)
                for (int lane = 0; lane < LANES; lane++) {
                    double d = out.digit[i][lane];
                    CHECK(d >= -0x1p48 - 32 && d <= 0x1p48 + 32);
                    CHECK_INT((int64_t)d == d, 1);
                }
        }
    }
}

TEST(lanes_raise_each_lane_to_its_own_power)
{
    struct rig g;
    struct lanes_number a;
    uint64_t exponent[LANES][LANES_WORDS];
    BIGNUM *x[LANES], *e[LANES], *got = BN_new(), *want = BN_new();
    if (!lanes_can_run())
        return;
    rig_new(&g);
    for (int i = 0; i < LANES; i++) {
        x[i] = BN_new();
        e[i] = BN_new();
    }
    for (int round = 0; round < 30; round++) {
        pick_moduli(&g, round);
        for (int i = 0; i < LANES; i++) {
            BN_rand_range(x[i], g.n[i]);
            BN_rand(e[i], (round + i) % 4 ? LANES_BITS : (round * 37) % 1024, BN_RAND_TOP_ANY,
                    BN_RAND_BOTTOM_ANY);
            BN_bn2lebinpad(e[i], (unsigned char *)exponent[i], sizeof exponent[i]);
            BN_mod_mul(want, x[i], g.r, g.n[i], g.ctx);
            put(&a, i, want);
        }
        lanes_power(&g.lanes, &a, (const uint64_t(*)[LANES_WORDS])exponent);
        lanes_leave(&g.lanes, &a, &a);
        for (int i = 0; i < LANES; i++) {
            BN_mod_exp(want, x[i], e[i], g.n[i], g.ctx);
            get(&a, i, g.n[i], got, g.ctx);
            CHECK_INT(BN_cmp(got, want), 0);
        }
    }
    for (int i = 0; i < LANES; i++) {
        BN_free(x[i]);
        BN_free(e[i]);
    }
    BN_free(got);
    BN_free(want);
    rig_free(&g);
}

#endif
