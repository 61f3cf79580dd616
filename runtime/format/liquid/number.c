/* number.c - decimal arithmetic as Liquid does it: floats are read as the shortest decimal that names them,
 * calculated with exactly, and rounded to a float once at the end. No libm, no locale-dependent result: the C
 * library only converts between a double and its digits, which it does exactly. */
#include "format/liquid/internal.h"

#include <stdio.h>
#include <stdlib.h>

__extension__ typedef __int128 wide;
__extension__ typedef unsigned __int128 uwide;

/* m * 10^e. m has at most 19 digits when it comes from an operand. */
struct decimal {
    wide m;
    int e;
};

enum { WIDE_DIGITS = 37 }; /* any number of so many digits fits a wide */

static wide power10(int n)
{
    wide p = 1;
    while (n-- > 0)
        p *= 10;
    return p;
}

static int digits_of(wide m)
{
    uwide u = m < 0 ? (uwide)-m : (uwide)m;
    int n = 0;
    for (; u; u /= 10)
        n++;
    return n;
}

/* The shortest digits that read back as f: digits without sign or dot, and the exponent of the first. */
static int shortest(double f, char digits[24], int *exponent)
{
    char text[40];
    for (int precision = 14; precision <= 16; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, f);
        if (strtod(text, NULL) == f)
            break;
    }
    int n = 0;
    const char *p = text[0] == '-' ? text + 1 : text;
    for (; *p && *p != 'e'; p++)
        if (*p >= '0' && *p <= '9')
            digits[n++] = *p;
    *exponent = (int)strtol(p + 1, NULL, 10);
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

size_t float_print(double f, char out[FLOAT_TEXT])
{
    char digits[24];
    int exponent, n = shortest(f, digits, &exponent), at = 0;
    if (f < 0 || (f == 0 && 1 / f < 0))
        out[at++] = '-';
    if (exponent < -4 || exponent >= 16) {
        out[at++] = digits[0];
        out[at++] = '.';
        if (n == 1)
            out[at++] = '0';
        for (int i = 1; i < n; i++)
            out[at++] = digits[i];
        return (size_t)(at + snprintf(out + at, 8, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent)));
    }
    if (exponent < 0) {
        out[at++] = '0';
        out[at++] = '.';
        for (int i = -1; i > exponent; i--)
            out[at++] = '0';
        for (int i = 0; i < n; i++)
            out[at++] = digits[i];
        return (size_t)at;
    }
    for (int i = 0; i <= exponent; i++)
        out[at++] = i < n ? digits[i] : '0';
    out[at++] = '.';
    if (n <= exponent + 1)
        out[at++] = '0';
    for (int i = exponent + 1; i < n; i++)
        out[at++] = digits[i];
    return (size_t)at;
}

static struct decimal decimal_of(const struct liquid_value *v)
{
    if (v->type == LIQUID_INT)
        return (struct decimal){v->i, 0};
    char digits[24];
    int exponent, n = shortest(v->f, digits, &exponent);
    struct decimal d = {0, exponent - n + 1};
    for (int i = 0; i < n; i++)
        d.m = d.m * 10 + (digits[i] - '0');
    if (v->f < 0)
        d.m = -d.m;
    if (!d.m)
        d.e = 0;
    return d;
}

static int decimal_to_float(struct decimal d, struct liquid_value *out)
{
    char text[64];
    size_t at = sizeof text;
    uwide u = d.m < 0 ? (uwide)-d.m : (uwide)d.m;
    at -= (size_t)16;
    snprintf(text + at, 16, "e%d", d.e);
    do {
        text[--at] = (char)('0' + (int)(u % 10));
        u /= 10;
    } while (u);
    if (d.m < 0)
        text[--at] = '-';
    double f = strtod(text + at, NULL);
    if (f - f != 0)
        return ERR_RANGE;
    *out = liquid_float(f);
    return 0;
}

/* Give both the smaller exponent. Where they lie too far apart for a wide, the far digits of the small one
 * cannot reach the result's 17 digits and go, but for a trace that keeps its sign. */
static void align(struct decimal *a, struct decimal *b)
{
    if (!a->m)
        a->e = b->e;
    if (!b->m)
        b->e = a->e;
    struct decimal *high = a->e > b->e ? a : b, *low = high == a ? b : a;
    int room = WIDE_DIGITS - 1 - digits_of(high->m), gap = high->e - low->e;
    int up = gap < room ? gap : room;
    high->m *= power10(up);
    high->e -= up;
    gap -= up;
    if (gap > 0) {
        wide sign = (low->m > 0) - (low->m < 0);
        low->m = gap < WIDE_DIGITS ? low->m / power10(gap) : 0;
        low->m = low->m ? low->m : sign;
        low->e = high->e;
    }
}

int number_compare(const struct liquid_value *a, const struct liquid_value *b)
{
    if (a->type == LIQUID_INT && b->type == LIQUID_INT)
        return (a->i > b->i) - (a->i < b->i);
    if (a->type == LIQUID_FLOAT && b->type == LIQUID_FLOAT)
        return (a->f > b->f) - (a->f < b->f);
    struct decimal x = decimal_of(a), y = decimal_of(b);
    align(&x, &y);
    return (x.m > y.m) - (x.m < y.m);
}

static int int_math(enum math op, int64_t a, int64_t b, struct liquid_value *out)
{
    int64_t r = 0;
    bool over = false;
    switch (op) {
    case MATH_ADD:
        over = __builtin_add_overflow(a, b, &r);
        break;
    case MATH_SUB:
        over = __builtin_sub_overflow(a, b, &r);
        break;
    case MATH_MUL:
        over = __builtin_mul_overflow(a, b, &r);
        break;
    case MATH_DIV:
    case MATH_MOD:
        if (!b)
            return ERR_INVAL;
        if (b == -1) { /* INT64_MIN / -1 is the one quotient that does not fit */
            if (op == MATH_DIV)
                over = __builtin_sub_overflow((int64_t)0, a, &r);
            break;
        }
        /* Towards minus infinity, and the remainder has the sign of b. */
        r = op == MATH_DIV ? a / b : a % b;
        if (a % b != 0 && ((a < 0) != (b < 0)))
            r = op == MATH_DIV ? r - 1 : r + b;
        break;
    }
    if (over)
        return ERR_RANGE;
    *out = liquid_int(r);
    return 0;
}

int number_math(enum math op, const struct liquid_value *a, const struct liquid_value *b,
                struct liquid_value *out)
{
    if (a->type == LIQUID_INT && b->type == LIQUID_INT)
        return int_math(op, a->i, b->i, out);
    struct decimal x = decimal_of(a), y = decimal_of(b);
    switch (op) {
    case MATH_ADD:
    case MATH_SUB:
        align(&x, &y);
        x.m = op == MATH_ADD ? x.m + y.m : x.m - y.m;
        break;
    case MATH_MUL:
        x.m *= y.m;
        x.e += y.e;
        break;
    case MATH_DIV: {
        if (!y.m)
            return ERR_INVAL;
        /* As many digits as fit, and one more that only says "not exact", so that rounding is right. */
        int up = WIDE_DIGITS - 1 - digits_of(x.m);
        wide top = x.m * power10(up), q = top / y.m;
        bool exact = top % y.m == 0;
        x.e = x.m ? x.e - y.e - up : 0;
        if (!exact && q > -power10(WIDE_DIGITS - 1) && q < power10(WIDE_DIGITS - 1)) {
            q = q * 10 + ((x.m < 0) == (y.m < 0) ? 1 : -1);
            x.e--;
        }
        x.m = q;
        break;
    }
    case MATH_MOD: {
        if (!y.m)
            return ERR_INVAL;
        align(&x, &y);
        if (!y.m)
            return ERR_RANGE;
        wide r = x.m % y.m;
        if (r && ((r < 0) != (y.m < 0)))
            r += y.m;
        x.m = r;
        break;
    }
    }
    return decimal_to_float(x, out);
}

/* d rounded to a whole number of 10^to. */
static struct decimal round_to(enum rounding how, struct decimal d, int to)
{
    if (d.e >= to)
        return d;
    int cut = to - d.e;
    wide unit = cut < WIDE_DIGITS ? power10(cut) : 0;
    wide q = unit ? d.m / unit : 0, rest = unit ? d.m % unit : d.m;
    switch (how) {
    case ROUND_HALF_UP: /* away from zero */
        if (unit && (rest < 0 ? -rest : rest) * 2 >= unit)
            q += d.m < 0 ? -1 : 1;
        break;
    case ROUND_FLOOR:
        q -= rest < 0;
        break;
    case ROUND_CEIL:
        q += rest > 0;
        break;
    }
    return (struct decimal){q, to};
}

int number_round(enum rounding how, const struct liquid_value *a, int64_t places, struct liquid_value *out)
{
    if (a->type == LIQUID_INT && places >= 0) {
        *out = *a;
        return 0;
    }
    if (places > 400 || places < -400)
        return ERR_RANGE;
    struct decimal d = round_to(how, decimal_of(a), (int)-places);
    if (places > 0)
        return decimal_to_float(d, out);
    if (!d.m) {
        *out = liquid_int(0);
        return 0;
    }
    if (d.e + digits_of(d.m) > 19)
        return ERR_RANGE;
    wide whole = d.m * power10(d.e);
    if (whole > INT64_MAX || whole < INT64_MIN)
        return ERR_RANGE;
    *out = liquid_int((int64_t)whole);
    return 0;
}

struct liquid_value number_parse(struct slice s)
{
    char text[64];
    size_t n = s.n < sizeof text - 1 ? s.n : sizeof text - 1; /* more digits than a double can tell apart */
    memcpy(text, s.p, n);
    text[n] = 0;
    double f = strtod(text, NULL);
    if (s.n >= sizeof text) {
        char *copy = mem_dup(s.p, s.n);
        f = strtod(copy, NULL);
        free(copy);
    }
    if (f - f != 0)
        f = f < 0 ? -1.7976931348623157e308 : 1.7976931348623157e308;
    return liquid_float(f);
}
