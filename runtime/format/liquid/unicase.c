/* unicase.c - upper and lower case for the scripts that have it: Latin, Greek, Cyrillic, Armenian and
 * full-width Latin. Simple mappings of the Unicode Character Database, and ß, which becomes SS. No locale. */
#include "format/liquid/internal.h"

static void encode(struct buf *out, uint32_t u)
{
    char bytes[4];
    buf_add(out, bytes, utf8_encode(u, bytes));
}

/* Upper-case first..last; step 1: lower = upper + shift; step 2: pairs, the upper is the one whose distance
 * from first is even and the lower follows it. */
static const struct range {
    uint32_t first, last;
    int32_t shift;
    int step;
} ranges[] = {
    {'A', 'Z', 32, 1},       {0xC0, 0xD6, 32, 1},     {0xD8, 0xDE, 32, 1},     {0x100, 0x12E, 1, 2},
    {0x132, 0x136, 1, 2},    {0x139, 0x147, 1, 2},    {0x14A, 0x176, 1, 2},    {0x178, 0x178, -121, 1},
    {0x179, 0x17D, 1, 2},    {0x1CD, 0x1DB, 1, 2},    {0x1DE, 0x1EE, 1, 2},    {0x1F8, 0x21E, 1, 2},
    {0x222, 0x232, 1, 2},    {0x386, 0x386, 38, 1},   {0x388, 0x38A, 37, 1},   {0x38C, 0x38C, 64, 1},
    {0x38E, 0x38F, 63, 1},   {0x391, 0x3A1, 32, 1},   {0x3A3, 0x3AB, 32, 1},   {0x400, 0x40F, 80, 1},
    {0x410, 0x42F, 32, 1},   {0x460, 0x480, 1, 2},    {0x48A, 0x4BE, 1, 2},    {0x4C1, 0x4CD, 1, 2},
    {0x4D0, 0x52E, 1, 2},    {0x531, 0x556, 48, 1},   {0x1E00, 0x1E94, 1, 2},  {0x1EA0, 0x1EFE, 1, 2},
    {0x2160, 0x216F, 16, 1}, {0x24B6, 0x24CF, 26, 1}, {0xFF21, 0xFF3A, 32, 1},
};

/* Most of the world's characters, kana and kanji among them, lie here and have no case. */
static bool caseless(uint32_t u)
{
    return u > 0x24FF && u < 0xFF00;
}

static uint32_t lower(uint32_t u)
{
    if (caseless(u))
        return u;
    for (size_t i = 0; i < COUNT(ranges); i++) {
        const struct range *r = &ranges[i];
        if (u >= r->first && u <= r->last && (u - r->first) % (uint32_t)r->step == 0)
            return u + (uint32_t)r->shift;
    }
    return u;
}

static uint32_t upper(uint32_t u)
{
    if (caseless(u))
        return u;
    if (u == 0x3C2) /* final sigma */
        return 0x3A3;
    if (u == 0xB5) /* micro sign */
        return 0x39C;
    for (size_t i = 0; i < COUNT(ranges); i++) {
        const struct range *r = &ranges[i];
        uint32_t up = u - (uint32_t)r->shift;
        if (up >= r->first && up <= r->last && (up - r->first) % (uint32_t)r->step == 0)
            return up;
    }
    return u;
}

static void add_upper(struct buf *out, uint32_t u)
{
    if (u == 0xDF)
        buf_adds(out, S("SS"));
    else
        encode(out, upper(u));
}

static void map(struct buf *out, struct slice s, bool up)
{
    size_t n;
    for (size_t i = 0; i < s.n; i += n) {
        unsigned char c = (unsigned char)s.p[i];
        n = 1;
        if (c < 0x80) {
            bool other = up ? c >= 'a' && c <= 'z' : c >= 'A' && c <= 'Z';
            buf_addc(out, (char)(other ? c ^ 32 : c));
            continue;
        }
        uint32_t u;
        int length = utf8_decode(slice_of(s.p + i, s.n - i), &u);
        if (length < 0) { /* a byte that is no UTF-8 stands for itself */
            buf_addc(out, (char)c);
            continue;
        }
        n = (size_t)length;
        if (up)
            add_upper(out, u);
        else
            encode(out, lower(u));
    }
}

void unicase_upper(struct buf *out, struct slice s)
{
    map(out, s, true);
}

void unicase_lower(struct buf *out, struct slice s)
{
    map(out, s, false);
}

void unicase_capital(struct buf *out, struct slice s)
{
    size_t n = value_skip_chars(s, 1);
    map(out, slice_of(s.p, n), true);
    map(out, slice_of(s.p + n, s.n - n), false);
}
