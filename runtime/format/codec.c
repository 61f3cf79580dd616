/* codec.c - base64, base32 and hex. */
#include "format/codec.h"

#include "base/err.h"

static const char base64_chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base32_chars[] = "abcdefghijklmnopqrstuvwxyz234567";

size_t codec_base64_size(size_t n, size_t line_len)
{
    size_t chars = n / 3 * 4 + (n % 3 ? 4 : 0);

    if (line_len && chars)
        chars += (chars + line_len - 1) / line_len * 2;
    return chars;
}

/* Attachments pass here whole, so three bytes are taken at a time without a branch between them. */
static char *base64_run(char *o, const unsigned char *p, size_t n)
{
    for (; n >= 3; n -= 3, p += 3, o += 4) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        o[0] = base64_chars[v >> 18];
        o[1] = base64_chars[v >> 12 & 63];
        o[2] = base64_chars[v >> 6 & 63];
        o[3] = base64_chars[v & 63];
    }
    if (n) {
        uint32_t v = (uint32_t)p[0] << 16 | (n == 2 ? (uint32_t)p[1] << 8 : 0);
        o[0] = base64_chars[v >> 18];
        o[1] = base64_chars[v >> 12 & 63];
        o[2] = n == 2 ? base64_chars[v >> 6 & 63] : '=';
        o[3] = '=';
        o += 4;
    }
    return o;
}

void codec_base64(struct buf *out, struct slice in, size_t line_len)
{
    const unsigned char *p = (const unsigned char *)in.p;
    size_t size = codec_base64_size(in.n, line_len), line_bytes = line_len ? line_len / 4 * 3 : in.n;
    char *o;

    INVARIANT(line_len % 4 == 0);
    if (!in.n)
        return;
    buf_reserve(out, size);
    o = out->p + out->n;
    for (size_t left = in.n; left;) {
        size_t take = left < line_bytes ? left : line_bytes;
        o = base64_run(o, p, take);
        if (line_len) {
            *o++ = '\r';
            *o++ = '\n';
        }
        p += take;
        left -= take;
    }
    out->n += size;
    INVARIANT(o == out->p + out->n);
}

/* 0 to 63, or -1. */
static int base64_value(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int codec_unbase64(struct slice in, struct buf *out)
{
    size_t start = out->n, pad = 0;

    if (in.n % 4)
        return ERR_SYNTAX;
    while (pad < 2 && pad < in.n && in.p[in.n - 1 - pad] == '=')
        pad++;
    buf_reserve(out, in.n / 4 * 3 + 1);
    for (size_t i = 0; i < in.n; i += 4) {
        size_t digits = i + 4 == in.n ? 4 - pad : 4;
        uint32_t v = 0;
        for (size_t k = 0; k < 4; k++) {
            int d = k < digits ? base64_value((unsigned char)in.p[i + k]) : 0;
            if (d < 0)
                goto bad;
            v = v << 6 | (uint32_t)d;
        }
        if ((digits == 3 && (v & 0xff)) || (digits == 2 && (v & 0xffff)))
            goto bad;
        for (size_t k = 0; k + 1 < digits; k++)
            out->p[out->n++] = (char)(v >> (16 - 8 * k));
    }
    return 0;
bad:
    out->n = start;
    return ERR_SYNTAX;
}

void codec_base32_lower(struct buf *out, struct slice in)
{
    uint32_t bits = 0;
    unsigned have = 0;

    for (size_t i = 0; i < in.n; i++) {
        bits = bits << 8 | (unsigned char)in.p[i];
        for (have += 8; have >= 5; have -= 5)
            buf_addc(out, base32_chars[bits >> (have - 5) & 31]);
    }
    if (have)
        buf_addc(out, base32_chars[bits << (5 - have) & 31]);
}

int codec_unbase32(struct slice in, struct buf *out)
{
    size_t start = out->n;
    uint32_t bits = 0;
    unsigned have = 0;

    for (size_t i = 0; i < in.n; i++) {
        char c = ascii_lower(in.p[i]);
        uint32_t d;
        if (c >= 'a' && c <= 'z')
            d = (uint32_t)(c - 'a');
        else if (c >= '2' && c <= '7')
            d = (uint32_t)(c - '2') + 26;
        else
            goto bad;
        bits = bits << 5 | d;
        have += 5;
        if (have >= 8) {
            have -= 8;
            buf_addc(out, (char)(bits >> have));
        }
    }
    /* A whole last byte leaves at most four bits, all zero. */
    if (have >= 5 || (bits & ((1u << have) - 1)))
        goto bad;
    return 0;
bad:
    out->n = start;
    return ERR_SYNTAX;
}

void codec_hex(struct buf *out, struct slice in)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < in.n; i++) {
        buf_addc(out, digits[(unsigned char)in.p[i] >> 4]);
        buf_addc(out, digits[in.p[i] & 15]);
    }
}
