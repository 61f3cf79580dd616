/* rsa_lanes.c - see rsa_lanes.h.
 *
 * Numbers are 21 digits of base B = 2^49, each a whole number in a double, signed, |digit| <= 2^48 + 2^5; a
 * vector holds one digit of four numbers. The product of two digits has 97 bits; a fused multiply-add gives
 * it exactly in two parts (Dekker's error-free product; modular powers by it: Emmart, Zheng and Weems, Faster
 * Modular Exponentiation Using Double Precision Floating Point Arithmetic on the GPU). Here the high parts
 * are summed by the multiply-add itself:
 *
 *     h' = a * b + h       rounded
 *     l  = l + (a * b + (h - h'))
 *
 * h starts at a constant C near 1.5 * 2^101, where doubles are multiples of 2^49: h' - h is a multiple of
 * 2^49 near a * b, so h - h' and the rounding error a * b + (h - h') are exact. Four operations a product,
 * none of them an integer one, in the default rounding (to nearest).
 *
 * Bounds. A product of digits is at most 2^96 (1 + 2^-42). Say 1 for 2^96 in h and for 2^48 in l.
 * - A general column: at most 12 products go into one h (then sum_flush() takes it away and it starts again),
 *   C = 48: 32 < h < 64, so h stays between 2^101 and 2^102, each error is at most half of 2^49, which is 1,
 *   and a column of 21 products has |l| <= 21.
 * - A column of a square has at most 11 products, most of them of a doubled digit, of together 21: C = 54
 *   keeps h > 32. From 64 on doubles are multiples of 2^50 and an error may be 2; the first four products
 *   cannot reach that, so |l| <= 4 + 2 * 7 = 18.
 * - What a column hands to the next is (h - C) / 2^49, at most 10.5 in the measure of l. carries() adds it:
 *   21 + 10 in column 20, 20 + 10.5 + 1 (a digit that is added) in column 21, less elsewhere: below 32, which
 *   is 2^53, so exact. That is rounded to a multiple of B, at most 16 B; the rest, at most 2^48, and the 16
 * of the column below are a digit again. No carry travels further, and no column waits for another.
 *
 * Reduction is Montgomery's with R = B^21 = 2^1029, all digits at once: q = (t mod R) * (-1/n mod R) mod R,
 * then (t + q n) / R. The low 21 columns of t + q n are a multiple of R, and which one is seen from columns
 * 20 and 19 alone. As |q| <= R/2 (1 + 2^-42), |result| < n/2 (1 + 2^-42) + |t|/R: with |t| <= 4 n^2 and n <
 * 2^1024 that is below 0.63 n, and nothing has to be subtracted until the very end.
 *
 * Time. Multiply-add, addition and blend take the same time for all numbers but subnormal ones, and none
 * arises: every value is a whole number, or one near C. */
#include "format/rsa_lanes.h"

#ifdef __x86_64__

#include <immintrin.h>
#include <string.h>

enum { DIGITS = LANES_DIGITS, DIGIT_BITS = 49, WINDOW = 4 };

typedef __m256d vec;

/* Compilers make this fast as it stands only in few and small functions: code for each use of its own would
 * not fit into what a processor keeps decoded, which is worth a third of the time. */
#define VECTOR __attribute__((target("avx2,fma")))
#define INNER  static inline __attribute__((always_inline)) VECTOR
#define SHARED static __attribute__((noinline)) VECTOR

#define TO_NEXT      0x1p-49
#define C_PRODUCT    0x1.8p101
#define C_SQUARE     0x1.bp101
#define C_ROUND      0x1.8p101 /* a number added to it is rounded to a multiple of 2^49 */
#define SPLAT(x)     _mm256_set1_pd(x)
#define FMA(a, b, c) _mm256_fmadd_pd(a, b, c)
#define ADD(a, b)    _mm256_add_pd(a, b)
#define SUB(a, b)    _mm256_sub_pd(a, b)

bool lanes_can_run(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* --- products --- */

/* A finished column: whole is what the next takes. */
struct column {
    vec whole, low;
};

/* Four neighbouring columns being summed. */
struct sum {
    vec h[4], l[4], whole[4];
};

/* Compilers would put the additions off until there are no registers left, and would load digits long before
 * their turn. This far and no further: x is known, and digits are in memory. */
#define PIN(x) __asm__ volatile("" : "+x"(x) : : "memory")

INNER void sum_first(struct sum *s, int r, double c, vec a, const vec *b)
{
    s->h[r] = FMA(a, *b, SPLAT(c));
    PIN(s->h[r]);
    s->l[r] = FMA(a, *b, SUB(SPLAT(c), s->h[r]));
    PIN(s->l[r]);
    s->whole[r] = SPLAT(-c * TO_NEXT);
}

INNER void sum_add(struct sum *s, int r, vec a, const vec *b)
{
    vec h = FMA(a, *b, s->h[r]);
    PIN(h);
    s->l[r] = ADD(s->l[r], FMA(a, *b, SUB(s->h[r], h)));
    PIN(s->l[r]);
    s->h[r] = h;
}

/* One digit of a, in columns from .. to - 1: times b[from] .. */
INNER void sum_row(struct sum *s, int from, int to, vec a, const vec *b)
{
#pragma GCC unroll 4
    for (int r = from; r < to; r++)
        sum_add(s, r, a, b + r);
}

INNER void sum_two_rows(struct sum *s, const vec *a, const vec *b)
{
    sum_row(s, 0, 4, a[0], b);
    sum_row(s, 0, 4, a[1], b - 1);
}

INNER void sum_first_row(struct sum *s, double c, vec a, const vec *b)
{
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++)
        sum_first(s, r, c, a, b + r);
}

/* Rows a[0] .. a[3] of the columns in which b ends: b[0] is its lowest digit. */
INNER void sum_low_end(struct sum *s, const vec *a, const vec *b)
{
    sum_first_row(s, C_PRODUCT, a[0], b);
#pragma GCC unroll 4
    for (int i = 1; i < 4; i++)
        sum_row(s, i, 4, a[i], b - i);
}

/* The same where b[0] is its highest digit. */
INNER void sum_high_end(struct sum *s, double c, const vec *a, const vec *b)
{
    sum_first_row(s, c, a[3], b - 3);
#pragma GCC unroll 4
    for (int i = 0; i < 3; i++)
        sum_row(s, 0, i + 1, a[i], b - i);
}

INNER void sum_flush(struct sum *s)
{
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        s->whole[r] = ADD(FMA(s->h[r], SPLAT(TO_NEXT), s->whole[r]), SPLAT(-C_PRODUCT * TO_NEXT));
        s->h[r] = SPLAT(C_PRODUCT);
    }
}

INNER void sum_end(const struct sum *s, struct column *out)
{
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        out[r].whole = FMA(s->h[r], SPLAT(TO_NEXT), s->whole[r]);
        out[r].low = s->l[r];
    }
}

/* The four sums are parts of one column. */
INNER struct column sum_one(const struct sum *s)
{
    struct column part[4];
    sum_end(s, part);
    return (struct column){ADD(ADD(part[0].whole, part[1].whole), ADD(part[2].whole, part[3].whole)),
                           ADD(ADD(part[0].low, part[1].low), ADD(part[2].low, part[3].low))};
}

/* Column 20, the middle one: every digit of a. */
INNER struct column middle_column(const vec *a, const vec *b)
{
    struct sum s;
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++)
        sum_first(&s, r, C_PRODUCT, a[r], b + 20 - r);
    for (int i = 4; i < 20; i += 4)
#pragma GCC unroll 4
        for (int r = 0; r < 4; r++)
            sum_add(&s, r, a[i + r], b + 20 - i - r);
    sum_add(&s, 0, a[20], b);
    return sum_one(&s);
}

/* Columns 0 .. 20 of a * b. */
SHARED void low_columns(const vec *a, const vec *b, struct column *out)
{
    for (int k = 0; k < 20; k += 4) {
        struct sum s;
        sum_low_end(&s, a + k, b);
        for (int i = 0; i < k; i += 2) {
            sum_two_rows(&s, a + i, b + k - i);
            if (i == 6)
                sum_flush(&s);
        }
        sum_end(&s, out + k);
    }
    out[20] = middle_column(a, b);
}

/* Columns 21 .. 40 of a * b, to out[0] and on. */
SHARED void high_columns(const vec *a, const vec *b, struct column *out)
{
    for (int k = 21; k < 41; k += 4) {
        struct sum s;
        sum_high_end(&s, C_PRODUCT, a + k - 20, b + 20);
        for (int i = k - 16; i < DIGITS; i += 2) {
            sum_two_rows(&s, a + i, b + k - i);
            if (i == 11)
                sum_flush(&s);
        }
        sum_end(&s, out + k - 21);
    }
}

/* All 41 columns of a * a; twice: a doubled. Each pair of digits once. */
SHARED void square_columns(const vec *a, const vec *twice, struct column *out)
{
    struct sum s;
    for (int k = 0; k < 20; k += 4) {
        int m = k / 2;
        sum_first(&s, 0, C_SQUARE, a[m], a + m);
#pragma GCC unroll 4
        for (int r = 1; r < 4; r++)
            sum_first(&s, r, C_SQUARE, twice[m], a + m + r);
        sum_add(&s, 2, a[m + 1], a + m + 1);
        sum_add(&s, 3, twice[m + 1], a + m + 2);
        for (int i = 0; i < m; i += 2)
            sum_two_rows(&s, twice + i, a + k - i);
        sum_end(&s, out + k);
    }
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++)
        sum_first(&s, r, C_PRODUCT, twice[r], a + 20 - r);
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++)
        sum_add(&s, r, twice[4 + r], a + 16 - r);
#pragma GCC unroll 4
    for (int r = 0; r < 2; r++)
        sum_add(&s, r, twice[8 + r], a + 12 - r);
    sum_add(&s, 2, a[10], a + 10);
    out[20] = sum_one(&s);
    for (int k = 21; k < 37; k += 4) {
        int m = (k + 1) / 2;
        sum_high_end(&s, C_SQUARE, twice + k - 20, a + 20);
        sum_add(&s, 1, a[m], a + m);
        sum_add(&s, 2, twice[m], a + m + 1);
        sum_add(&s, 3, twice[m], a + m + 2);
        sum_add(&s, 3, a[m + 1], a + m + 1);
        for (int i = k - 16; i < m; i += 2)
            sum_two_rows(&s, twice + i, a + k - i);
        sum_end(&s, out + k);
    }
#pragma GCC unroll 4
    for (int r = 0; r < 3; r++)
        sum_first(&s, r, C_SQUARE, twice[17 + r], a + 20);
    sum_first(&s, 3, C_SQUARE, a[20], a + 20);
    sum_add(&s, 0, twice[18], a + 19);
    sum_add(&s, 1, a[19], a + 19);
    sum_end(&s, out + 37);
}

/* --- digits --- */

/* From the column below: what its h held, and what its l was too large by. */
struct carry {
    vec whole, round;
};

INNER vec round_to_base(vec x)
{
    return SUB(ADD(x, SPLAT(C_ROUND)), SPLAT(C_ROUND));
}

INNER vec carry_out(struct carry c)
{
    return FMA(c.round, SPLAT(TO_NEXT), c.whole);
}

/* n columns to digits; with add, plus the digits there. *c comes into the lowest, and goes out of the
 * highest. */
INNER void carries(const struct column *in, int n, const vec *add, struct carry *c, vec *out)
{
    struct carry below = *c;
#pragma GCC unroll 4
    for (int i = 0; i < n; i++) {
        vec low = ADD(in[i].low, below.whole);
        if (add)
            low = ADD(low, add[i]);
        vec round = round_to_base(low);
        out[i] = FMA(below.round, SPLAT(TO_NEXT), SUB(low, round));
        below = (struct carry){in[i].whole, round};
    }
    *c = below;
}

/* Sums and differences of digits are made digits again. */
INNER void settle(vec *x)
{
    vec below = _mm256_setzero_pd();
    for (int i = 0; i < DIGITS - 1; i++) {
        vec round = round_to_base(x[i]);
        x[i] = FMA(below, SPLAT(TO_NEXT), SUB(x[i], round));
        below = round;
    }
    x[DIGITS - 1] = FMA(below, SPLAT(TO_NEXT), x[DIGITS - 1]);
}

/* A number's vectors, lowest digit first. */
#define V(number)  ((vec *)(number)->digit)
#define CV(number) ((const vec *)(number)->digit)

VECTOR void lanes_add(struct lanes_number *out, const struct lanes_number *a, const struct lanes_number *b)
{
    for (int i = 0; i < DIGITS; i++)
        V(out)[i] = ADD(CV(a)[i], CV(b)[i]);
    settle(V(out));
}

VECTOR void lanes_subtract(struct lanes_number *out, const struct lanes_number *a,
                           const struct lanes_number *b)
{
    for (int i = 0; i < DIGITS; i++)
        V(out)[i] = SUB(CV(a)[i], CV(b)[i]);
    settle(V(out));
}

VECTOR void lanes_swap(struct lanes_number *out, const struct lanes_number *a)
{
    for (int i = 0; i < DIGITS; i++)
        V(out)[i] = _mm256_permute_pd(CV(a)[i], 5);
}

/* --- arithmetic mod n --- */

/* out = l->t / R mod n. */
SHARED void reduce(struct lanes *l, vec *out)
{
    struct column *column = (struct column *)l->column;
    const vec *n = CV(&l->n);
    vec *q = V(&l->q), *t = V(&l->t);
    struct carry c = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    low_columns(t, CV(&l->inverse), column);
    carries(column, DIGITS, NULL, &c, q);
    /* Columns 0 .. 20 of t + q n make c R. Of column 19 only the high part is as large as half of that. */
    vec even = SPLAT(C_PRODUCT), odd = SPLAT(C_PRODUCT);
    for (int i = 0; i < 20; i += 2) {
        even = FMA(q[i], n[19 - i], even);
        odd = FMA(q[i + 1], n[18 - i], odd);
    }
    vec whole = FMA(even, SPLAT(TO_NEXT), FMA(odd, SPLAT(TO_NEXT), SPLAT(-2 * C_PRODUCT * TO_NEXT)));
    struct column middle = middle_column(q, n);
    c = (struct carry){middle.whole, round_to_base(ADD(ADD(middle.low, t[20]), whole))};
    high_columns(q, n, column);
    carries(column, 20, t + DIGITS, &c, out);
    out[20] = ADD(t[41], carry_out(c));
}

SHARED void columns_to_t(struct lanes *l)
{
    struct carry c = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    carries((struct column *)l->column, 41, NULL, &c, V(&l->t));
    V(&l->t)[41] = carry_out(c);
}

VECTOR void lanes_multiply(struct lanes *l, struct lanes_number *out, const struct lanes_number *a,
                           const struct lanes_number *b)
{
    low_columns(CV(a), CV(b), (struct column *)l->column);
    high_columns(CV(a), CV(b), (struct column *)l->column + DIGITS);
    columns_to_t(l);
    reduce(l, V(out));
}

VECTOR void lanes_square(struct lanes *l, struct lanes_number *out, const struct lanes_number *a)
{
    for (int i = 0; i < DIGITS; i++)
        V(&l->twice)[i] = ADD(CV(a)[i], CV(a)[i]);
    square_columns(CV(a), CV(&l->twice), (struct column *)l->column);
    columns_to_t(l);
    reduce(l, V(out));
}

VECTOR void lanes_leave(struct lanes *l, struct lanes_number *out, const struct lanes_number *a)
{
    memset(&l->t, 0, sizeof l->t);
    memcpy(&l->t, a, sizeof *a);
    reduce(l, V(out));
}

VECTOR void lanes_product(struct lanes *l, struct lanes_twice *out, const struct lanes_number *a,
                          const struct lanes_number *b, const struct lanes_number *c)
{
    struct column *column = (struct column *)l->column;
    struct carry carry = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    low_columns(CV(a), CV(b), column);
    high_columns(CV(a), CV(b), column + DIGITS);
    carries(column, DIGITS, CV(c), &carry, V(out));
    carries(column + DIGITS, 20, NULL, &carry, V(out) + DIGITS);
    V(out)[41] = carry_out(carry);
}

/* l->factor = l->table[index], another index in each lane; every entry is read. */
SHARED void pick(struct lanes *l, __m256i index)
{
    vec bit[WINDOW], x[1 << (WINDOW - 1)];
    for (int i = 0; i < WINDOW; i++) /* to the place of the sign, which is what a blend looks at */
        bit[i] = _mm256_castsi256_pd(_mm256_sll_epi64(index, _mm_cvtsi32_si128(63 - i)));
    for (int i = 0; i < DIGITS; i++) {
#pragma GCC unroll 8
        for (int e = 0; e < 8; e++)
            x[e] = _mm256_blendv_pd(CV(&l->table[2 * e])[i], CV(&l->table[2 * e + 1])[i], bit[0]);
#pragma GCC unroll 4
        for (int e = 0; e < 4; e++)
            x[e] = _mm256_blendv_pd(x[2 * e], x[2 * e + 1], bit[1]);
#pragma GCC unroll 2
        for (int e = 0; e < 2; e++)
            x[e] = _mm256_blendv_pd(x[2 * e], x[2 * e + 1], bit[2]);
        V(&l->factor)[i] = _mm256_blendv_pd(x[0], x[1], bit[3]);
    }
}

VECTOR void lanes_power(struct lanes *l, struct lanes_number *x, const uint64_t exponent[LANES][LANES_WORDS])
{
    l->table[0] = l->one;
    l->table[1] = *x;
    for (int i = 2; i < 1 << WINDOW; i += 2) {
        lanes_square(l, &l->table[i], &l->table[i / 2]);
        lanes_multiply(l, &l->table[i + 1], &l->table[i], &l->table[1]);
    }
    *x = l->one;
    for (int at = LANES_BITS - WINDOW; at >= 0; at -= WINDOW) {
        long long index[LANES];
        for (int lane = 0; lane < LANES; lane++)
            index[lane] = (long long)(exponent[lane][at / 64] >> at % 64);
        pick(l, _mm256_loadu_si256((const __m256i *)index));
        for (int i = 0; i < WINDOW; i++)
            lanes_square(l, x, x);
        lanes_multiply(l, x, x, &l->factor);
    }
}

/* --- numbers --- */

void lanes_put(struct lanes_number *out, int lane, const uint64_t *words, int nwords)
{
    int64_t carry = 0;
    for (int i = 0; i < DIGITS; i++) {
        int at = i * DIGIT_BITS / 64, shift = i * DIGIT_BITS % 64;
        uint64_t x = at < nwords ? words[at] >> shift : 0;
        if (shift > 64 - DIGIT_BITS && at + 1 < nwords)
            x |= words[at + 1] << (64 - shift);
        int64_t digit = (int64_t)(x & ((1ull << DIGIT_BITS) - 1)) + carry;
        carry = i < DIGITS - 1 ? (digit + (1ll << (DIGIT_BITS - 1))) >> DIGIT_BITS : 0;
        out->digit[i][lane] = (double)(digit - carry * (1ll << DIGIT_BITS));
    }
}

static int64_t get(const double (*digits)[LANES], int n, int lane, uint64_t *words, int nwords)
{
    int64_t carry = 0;
    memset(words, 0, (size_t)nwords * sizeof *words);
    for (int i = 0; i < n; i++) {
        int at = i * DIGIT_BITS / 64, shift = i * DIGIT_BITS % 64;
        int64_t sum = (int64_t)digits[i][lane] + carry;
        carry = sum >> DIGIT_BITS;
        uint64_t digit = (uint64_t)sum & ((1ull << DIGIT_BITS) - 1);
        if (at < nwords)
            words[at] |= digit << shift;
        if (shift > 64 - DIGIT_BITS && at + 1 < nwords)
            words[at + 1] |= digit >> (64 - shift);
    }
    for (int at = n * DIGIT_BITS / 64, shift = n * DIGIT_BITS % 64; at < nwords; at++, shift = 0)
        words[at] |= (uint64_t)carry << shift;
    return carry;
}

int64_t lanes_get(const struct lanes_number *in, int lane, uint64_t *words, int nwords)
{
    return get(in->digit, DIGITS, lane, words, nwords);
}

int64_t lanes_get_twice(const struct lanes_twice *in, int lane, uint64_t *words, int nwords)
{
    return get(in->digit, 2 * DIGITS, lane, words, nwords);
}

#else

bool lanes_can_run(void)
{
    return false;
}

#endif
