/* transfer.c - see transfer.h. */
#include "format/mime/transfer.h"
#include "format/codec.h"

enum { TEXT_COLUMNS = 78, QP_COLUMNS = 76, BASE64_COLUMNS = 76 };

static const char HEX[] = "0123456789ABCDEF";

const char *transfer_name(enum transfer t)
{
    switch (t) {
    case TRANSFER_7BIT:
        return "7bit";
    case TRANSFER_QP:
        return "quoted-printable";
    case TRANSFER_BASE64:
        return "base64";
    }
    return "?";
}

void crlf_text(struct buf *out, struct slice text)
{
    const char *p = text.p, *end = p + text.n;
    bool has_cr = text.n && memchr(p, '\r', text.n);
    buf_reserve(out, text.n + text.n / 16 + 2);
    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        const char *stop = lf ? lf : end;
        const char *cr = has_cr ? memchr(p, '\r', (size_t)(stop - p)) : NULL;
        if (cr)
            stop = cr;
        buf_add(out, p, (size_t)(stop - p));
        buf_add(out, "\r\n", 2);
        p = stop;
        if (p < end)
            p += p + 1 < end && p[0] == '\r' && p[1] == '\n' ? 2 : 1;
    }
}

/* Must be written as =XX wherever it stands. */
static inline bool is_qp_escaped(unsigned char c)
{
    return c == '=' || (c < ' ' && c != '\t') || c > '~';
}

enum transfer transfer_choose(struct slice text)
{
    bool plain = true;
    size_t escaped = 0, soft = 0;
    for (struct slice rest = text; rest.n;) {
        struct slice line = slice_cut(rest, '\n', &rest);
        size_t here = 0, n = line.n;
        bool other = false;
        if (n && line.p[n - 1] == '\r')
            n--;
        for (size_t i = 0; i < n; i++) {
            unsigned char c = (unsigned char)line.p[i];
            here += is_qp_escaped(c);
            other |= (c < ' ' && c != '\t') || c > '~';
        }
        if (other || n > TEXT_COLUMNS ||
            (n && (line.p[0] == '.' || line.p[n - 1] == ' ' || line.p[n - 1] == '\t')) ||
            slice_starts(line, S("--=_")))
            plain = false;
        escaped += here;
        soft += (n + 2 * here) / QP_COLUMNS;
    }
    if (plain)
        return TRANSFER_7BIT;
    size_t qp = text.n + 2 * escaped + 3 * soft;
    return qp <= codec_base64_size(text.n, BASE64_COLUMNS) ? TRANSFER_QP : TRANSFER_BASE64;
}

/* Bytes of the UTF-8 character that starts with c. */
static inline size_t char_len(unsigned char c)
{
    return c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

void qp_text(struct buf *out, struct slice text)
{
    for (struct slice rest = text; rest.n;) {
        const char *end = rest.p + rest.n;
        struct slice line = slice_cut(rest, '\n', &rest);
        bool ended = line.p + line.n != end;
        if (ended && line.n && line.p[line.n - 1] == '\r')
            line.n--;
        buf_reserve(out, line.n * 4 + 16); /* 3 a byte, and 3 for a soft break every 64 columns at least */
        char *to = out->p + out->n, *start = to;
        for (size_t i = 0; i < line.n;) {
            size_t n = char_len((unsigned char)line.p[i]), wide = 0;
            if (n > line.n - i)
                n = line.n - i;
            for (size_t k = i; k < i + n; k++) {
                unsigned char c = (unsigned char)line.p[k];
                bool blank_at_end = k + 1 == line.n && (c == ' ' || c == '\t');
                wide += is_qp_escaped(c) || blank_at_end ? 3 : 1;
            }
            if ((size_t)(to - start) + wide > QP_COLUMNS - 1) {
                memcpy(to, "=\r\n", 3);
                to += 3;
                start = to;
            }
            for (size_t k = i; k < i + n; k++) {
                unsigned char c = (unsigned char)line.p[k];
                bool blank_at_end = k + 1 == line.n && (c == ' ' || c == '\t');
                if (is_qp_escaped(c) || blank_at_end || (c == '.' && to == start)) {
                    *to++ = '=';
                    *to++ = HEX[c >> 4];
                    *to++ = HEX[c & 15];
                } else {
                    *to++ = (char)c;
                }
            }
            i += n;
        }
        out->n = (size_t)(to - out->p);
        if (ended)
            buf_add(out, "\r\n", 2);
    }
}

void base64_lines(struct buf *out, struct slice data)
{
    if (!data.n)
        return;
    codec_base64(out, data, BASE64_COLUMNS);
    out->n -= 2; /* the last CRLF is the boundary's */
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

bool q_decode(struct buf *out, struct slice in)
{
    for (size_t i = 0; i < in.n; i++) {
        if (in.p[i] != '=') {
            buf_addc(out, in.p[i] == '_' ? ' ' : in.p[i]);
            continue;
        }
        int high = i + 2 < in.n ? hex_value(in.p[i + 1]) : -1;
        int low = i + 2 < in.n ? hex_value(in.p[i + 2]) : -1;
        if (high < 0 || low < 0)
            return false;
        buf_addc(out, (char)(high << 4 | low));
        i += 2;
    }
    return true;
}
