/* rsa_lanes.h - arithmetic modulo four odd numbers of 1024 bits at once, for rsa_pair.c and its tests.
 *
 * Constant time in all numbers and moduli. x86-64 with AVX2 and FMA only: ask lanes_can_run() first. How the
 * numbers are kept, and why no digit ever overflows, is told in rsa_lanes.c. */
#ifndef HATO_FORMAT_RSA_LANES_H
#define HATO_FORMAT_RSA_LANES_H

#include <stdbool.h>
#include <stdint.h>

enum {
    LANES = 4,
    LANES_BITS = 1024,
    LANES_WORDS = LANES_BITS / 64, /* words of 64 bits, lowest first */
    LANES_DIGITS = 21,
    LANES_R_BITS = 1029, /* R = 2^1029, of Montgomery's form */
};

/* Four numbers, each between -2^1026 and 2^1026; twice: between -2^2050 and 2^2050. */
struct lanes_number {
    double digit[LANES_DIGITS][LANES];
} __attribute__((aligned(32)));

struct lanes_twice {
    double digit[2 * LANES_DIGITS][LANES];
} __attribute__((aligned(32)));

/* What is computed with: the moduli, with what goes with them, and space. Holds secrets: the owner wipes it.
 */
struct lanes {
    struct lanes_number n;       /* below 2^1024, odd */
    struct lanes_number inverse; /* -1 / n mod R */
    struct lanes_number one;     /* R mod n */
    struct lanes_twice t;
    struct lanes_number q, twice, factor, table[16];
    double column[2 * LANES_DIGITS][2][LANES] __attribute__((aligned(32)));
};

bool lanes_can_run(void);

/* One lane from words (up to 2^1029) and back: all digits of in, as words mod 2^(64 nwords) of two's
 * complement. Returns the sign, 0 or -1. */
void lanes_put(struct lanes_number *out, int lane, const uint64_t *words, int nwords);
int64_t lanes_get(const struct lanes_number *in, int lane, uint64_t *words, int nwords);
int64_t lanes_get_twice(const struct lanes_twice *in, int lane, uint64_t *words, int nwords);

/* a + b, a - b: not reduced. a, b and out may be one and the same, here and below. */
void lanes_add(struct lanes_number *out, const struct lanes_number *a, const struct lanes_number *b);
void lanes_subtract(struct lanes_number *out, const struct lanes_number *a, const struct lanes_number *b);

/* a b / R, a a / R, a / R modulo n, of |a| and |b| below 2 n. What comes out is between -0.63 n and 0.63 n.
 */
void lanes_multiply(struct lanes *l, struct lanes_number *out, const struct lanes_number *a,
                    const struct lanes_number *b);
void lanes_square(struct lanes *l, struct lanes_number *out, const struct lanes_number *a);
void lanes_leave(struct lanes *l, struct lanes_number *out, const struct lanes_number *a);

/* x^exponent in Montgomery's form, another exponent in each lane. */
void lanes_power(struct lanes *l, struct lanes_number *x, const uint64_t exponent[LANES][LANES_WORDS]);

/* a b + c. */
void lanes_product(struct lanes *l, struct lanes_twice *out, const struct lanes_number *a,
                   const struct lanes_number *b, const struct lanes_number *c);

/* Lanes 0 and 1, and lanes 2 and 3, change places. */
void lanes_swap(struct lanes_number *out, const struct lanes_number *a);

#endif
