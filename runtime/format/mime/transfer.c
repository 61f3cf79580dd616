/* transfer.c - see transfer.h. */
#include "format/mime/transfer.h"
#include "format/codec.h"

enum { TEXT_COLUMNS = 78, QP_COLUMNS = 76, BASE64_COLUMNS = 76, LINE_LONGEST = 998 };

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

/* What a byte of a line is: itself in quoted-printable, the '=' that is not, or one that is no plain text
 * either (control, 8-bit). Two counters in one number, so that a line is counted in one pass without
 * branches. */
#define AS_IT_IS 0u
#define ESCAPED  1u
#define NO_TEXT  (1u << 16 | 1u)
static const uint32_t kinds[256] = {
    [0 ... 8] = NO_TEXT, ['\t'] = AS_IT_IS, [10 ... 31] = NO_TEXT, ['='] = ESCAPED, [127 ... 255] = NO_TEXT,
};

static inline uint32_t kind_of(char c)
{
    return kinds[(unsigned char)c];
}

/* 0x80 in some byte if any byte of v is below n (at most 0x80) and has no high bit. */
static inline uint64_t any_below(uint64_t v, unsigned n)
{
    return (v - 0x0101010101010101u * n) & ~v & 0x8080808080808080u;
}

/* Whether these eight bytes are AS_IT_IS, and none a tab: what most of a text is made of. */
static inline bool eight_as_they_are(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return !((v & 0x8080808080808080u) | any_below(v, ' ') | any_below(v ^ 0x0101010101010101u * '=', 1) |
             any_below(v ^ 0x0101010101010101u * 127, 1));
}

/* Whether a line of n octets may leave as it is, as far as its length and its ends go. */
static inline bool is_harmless(struct slice line, size_t n, size_t longest, bool flowed)
{
    return n <= longest && !slice_starts(line, S("--=_")) &&
           !(n && (line.p[0] == '.' || (!flowed && line.p[n - 1] == ' ') || line.p[n - 1] == '\t'));
}

enum transfer transfer_choose_iso2022jp(struct slice text, bool flowed)
{
    for (struct slice rest = text; rest.n;) {
        struct slice line = slice_cut(rest, '\n', &rest);
        size_t n = line.n && line.p[line.n - 1] == '\r' ? line.n - 1 : line.n;
        if (!is_harmless(line, n, LINE_LONGEST, flowed))
            return TRANSFER_BASE64;
        for (size_t i = 0; i < n; i++)
            if (kind_of(line.p[i]) == NO_TEXT && line.p[i] != 0x1b)
                return TRANSFER_BASE64;
    }
    return TRANSFER_7BIT;
}

enum transfer transfer_choose(struct slice text, bool flowed)
{
    bool plain = true;
    size_t escaped = 0, soft = 0;
    for (struct slice rest = text; rest.n;) {
        struct slice line = slice_cut(rest, '\n', &rest);
        size_t n = line.n, here = 0, no_text = 0;
        if (n && line.p[n - 1] == '\r')
            n--;
        for (size_t i = 0; i < n;) {
            size_t stop = n - i < 32768 ? n : i + 32768; /* half of the sum cannot run over into the other */
            uint32_t sum = 0;
            while (i < stop) {
                if (stop - i >= 8 && eight_as_they_are(line.p + i)) {
                    i += 8;
                    continue;
                }
                for (size_t end = stop - i < 8 ? stop : i + 8; i < end; i++)
                    sum += kind_of(line.p[i]);
            }
            here += sum & 0xffff;
            no_text += sum >> 16;
        }
        plain = plain && !no_text && is_harmless(line, n, TEXT_COLUMNS, flowed);
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

static inline char *put_escaped(char *to, char c)
{
    *to++ = '=';
    *to++ = HEX[(unsigned char)c >> 4];
    *to++ = HEX[c & 15];
    return to;
}

/* One line without its end, into a buffer with room for it. */
static char *qp_line(char *to, const char *p, size_t n)
{
    const size_t most = QP_COLUMNS - 1; /* the last column is the soft break's */
    size_t room = most;
    for (const char *end = p + n; p < end;) {
        const char *stop = p + room < end ? p + room : end;
        bool dot = room == most && *p == '.';
        char *run = to;
        for (; stop - p >= 8 && !dot && eight_as_they_are(p); p += 8, to += 8)
            memcpy(to, p, 8);
        while (p < stop && kind_of(*p) == AS_IT_IS && !dot)
            *to++ = *p++;
        room -= (size_t)(to - run);
        if (p == end) {
            /* RFC 2045 6.7 (3): a blank may not end a line. */
            if (p[-1] == ' ' || p[-1] == '\t') {
                to--;
                room++;
                if (room < 3) {
                    memcpy(to, "=\r\n", 3);
                    to += 3;
                }
                to = put_escaped(to, p[-1]);
            }
            break;
        }
        size_t len = char_len((unsigned char)*p);
        if (len > (size_t)(end - p))
            len = (size_t)(end - p);
        if (room < (p == stop ? 1 : 3 * len)) {
            memcpy(to, "=\r\n", 3);
            to += 3;
            room = most;
        }
        if (kind_of(*p) == AS_IT_IS && !dot)
            continue;
        for (const char *behind = p + len; p < behind; p++)
            to = put_escaped(to, *p);
        room -= 3 * len;
    }
    return to;
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
        out->n = (size_t)(qp_line(out->p + out->n, line.p, line.n) - out->p);
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
