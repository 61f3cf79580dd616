/* charset.c - see charset.h. */
#include "format/charset.h"

#include <errno.h>

#define HIGH_BITS 0x8080808080808080u

static inline uint64_t load8(const char *p)
{
    uint64_t w;
    memcpy(&w, p, 8);
    return w;
}

bool ascii_only(struct slice s)
{
    size_t i = 0;
    for (; i + 8 <= s.n; i += 8)
        if (load8(s.p + i) & HIGH_BITS)
            return false;
    for (; i < s.n; i++)
        if (s.p[i] & 0x80)
            return false;
    return true;
}

/* Length of the well-formed sequence at u, which has n > 0 bytes and a lead byte above 0x7f; 0 if there is
 * none. The second byte's range depends on the lead (RFC 3629 section 4): that is what shuts out overlong
 * forms, surrogates and the space above U+10FFFF. */
static inline size_t multibyte_len(const unsigned char *u, size_t n)
{
    unsigned lead = u[0];
    if (lead < 0xc2 || lead > 0xf4)
        return 0;
    if (lead < 0xe0)
        return n >= 2 && (u[1] & 0xc0) == 0x80 ? 2 : 0;
    unsigned low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    unsigned high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (n < 3 || u[1] < low || u[1] > high || (u[2] & 0xc0) != 0x80)
        return 0;
    if (lead < 0xf0)
        return 3;
    return n >= 4 && (u[3] & 0xc0) == 0x80 ? 4 : 0;
}

size_t utf8_prefix(struct slice s)
{
    const unsigned char *u = (const unsigned char *)s.p;
    size_t i = 0;
    while (i < s.n) {
        if (u[i] < 0x80) {
            if (i + 8 <= s.n && !(load8(s.p + i) & HIGH_BITS))
                i += 8;
            else
                i++;
            continue;
        }
        size_t len = multibyte_len(u + i, s.n - i);
        if (!len)
            return i;
        i += len;
    }
    return i;
}

int utf8_decode(struct slice s, uint32_t *cp)
{
    const unsigned char *u = (const unsigned char *)s.p;
    if (!s.n)
        return 0;
    if (u[0] < 0x80) {
        *cp = u[0];
        return 1;
    }
    size_t len = multibyte_len(u, s.n);
    if (!len)
        return ERR_SYNTAX;
    uint32_t v = u[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        v = v << 6 | (u[i] & 0x3f);
    *cp = v;
    return (int)len;
}

size_t utf8_encode(uint32_t cp, char out[4])
{
    INVARIANT(cp <= 0x10ffff && (cp < 0xd800 || cp > 0xdfff));
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, cp >>= 6)
        out[i] = (char)(0x80 | (cp & 0x3f));
    out[0] = (char)(cp | (0xf00u >> len & 0xff));
    return len;
}

size_t utf8_fit(struct slice s, size_t at_most)
{
    if (s.n <= at_most)
        return s.n;
    size_t n = at_most;
    while (n && (s.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

size_t utf8_count(struct slice s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.n; i++)
        count += (s.p[i] & 0xc0) != 0x80;
    return count;
}

size_t utf8_line_prefix(struct slice s)
{
    size_t i = 0;
    while (i < s.n) {
        uint32_t cp;
        int len = utf8_decode(slice_of(s.p + i, s.n - i), &cp);
        if (len < 0 || cp_is_control(cp))
            return i;
        i += (size_t)len;
    }
    return i;
}

const char *charset_name(enum charset cs)
{
    switch (cs) {
    case CHARSET_ASCII:
        return "US-ASCII";
    case CHARSET_UTF8:
        return "UTF-8";
    case CHARSET_CP932:
        return "CP932";
    }
    return "?";
}

/* Whether s is a UTF-8 character that was cut off before its last byte. */
static bool is_cut_off(struct slice s)
{
    unsigned char lead = s.n ? (unsigned char)s.p[0] : 0;
    if (lead < 0xc2 || lead > 0xf4 || s.n >= (lead < 0xe0 ? 2u : lead < 0xf0 ? 3u : 4u))
        return false;
    for (size_t i = 1; i < s.n; i++)
        if ((s.p[i] & 0xc0) != 0x80)
            return false;
    return true;
}

enum charset charset_guess(struct slice window)
{
    size_t utf8_lines = 0, other_lines = 0;
    const char *end = window.p + window.n;
    for (struct slice rest = window; rest.n;) {
        struct slice line = slice_cut(rest, '\n', &rest);
        if (ascii_only(line))
            continue;
        size_t good = utf8_prefix(line);
        bool at_end = line.p + line.n == end;
        if (good == line.n || (at_end && is_cut_off(slice_of(line.p + good, line.n - good))))
            utf8_lines++;
        else
            other_lines++;
    }
    if (!utf8_lines && !other_lines)
        return CHARSET_ASCII;
    return utf8_lines >= other_lines ? CHARSET_UTF8 : CHARSET_CP932;
}

bool charset_looks_utf8(struct slice s)
{
    bool wide = false;
    for (size_t i = 0; i < s.n && !wide; i++)
        wide = (unsigned char)s.p[i] >= 0xe0;
    return wide && utf8_valid(s);
}

int charset_conv_open(struct charset_conv *c, struct err *e)
{
    iconv_t cd = iconv_open("UTF-8", "CP932");
    if (cd == (iconv_t)-1)
        return err_set(e, ERR_UNSUPPORTED,
                       "the C library has no CP932 table (gconv module CP932.so is missing)");
    *c = (struct charset_conv){.cd = cd, .ready = true};
    return 0;
}

/* Offset of the first byte that can be no CP932 character by its position; in.n if there is none. Whether a
 * well-placed pair has a character is left to iconv's table. */
static size_t cp932_shape(struct slice in)
{
    size_t i = 0;
    while (i < in.n) {
        unsigned char a = (unsigned char)in.p[i];
        if (a < 0x80 || (a > 0xa0 && a < 0xe0)) {
            i++;
            continue;
        }
        if (a == 0x80 || a == 0xa0 || a > 0xfc || (a >= 0xf0 && a <= 0xf9) || i + 1 == in.n)
            return i;
        unsigned char b = (unsigned char)in.p[i + 1];
        if (b < 0x40 || b == 0x7f || b > 0xfc)
            return i;
        i += 2;
    }
    return i;
}

int charset_from_cp932(struct charset_conv *c, struct slice in, struct buf *out, size_t *bad_at)
{
    INVARIANT(c->ready);
    size_t at = cp932_shape(in), before = out->n;
    if (at < in.n) {
        *bad_at = at;
        return ERR_SYNTAX;
    }
    iconv(c->cd, NULL, NULL, NULL, NULL);
    char *from = (char *)(uintptr_t)in.p; /* iconv's prototype lacks a const that it keeps */
    size_t left = in.n;
    while (left) {
        buf_reserve(out, left * 3 + 16);
        char *to = out->p + out->n;
        size_t room = out->cap - out->n;
        size_t rc = iconv(c->cd, &from, &left, &to, &room);
        out->n = (size_t)(to - out->p);
        if (rc == (size_t)-1 && errno != E2BIG) {
            *bad_at = (size_t)(from - in.p);
            out->n = before;
            return ERR_SYNTAX;
        }
    }
    return 0;
}

void charset_conv_close(struct charset_conv *c)
{
    if (c->ready)
        iconv_close(c->cd);
    *c = (struct charset_conv){0};
}
