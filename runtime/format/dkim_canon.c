/* dkim_canon.c - relaxed canonicalisation of header fields and bodies.
 *
 * A body that we made ourselves has almost no line that relaxing would change. So lines are looked at, not
 * copied: a span of lines that are already canonical goes to the hash as it lies in the message, and only a
 * line with a tab, a double space or trailing space passes byte by byte through a small stage. */
#include "format/dkim.h"

static bool is_wsp(char c)
{
    return c == ' ' || c == '\t';
}

/* --- header --- */

/* RFC 5322 2.2: a name is printable ASCII but for the colon; 4.5: old mail has white space in front of the
 * colon. Returns the length of the name and where the value begins, or 0. */
static size_t field_name(struct slice field, size_t *value)
{
    size_t n = 0, at;

    while (n < field.n && field.p[n] > ' ' && field.p[n] < 127 && field.p[n] != ':')
        n++;
    for (at = n; at < field.n && is_wsp(field.p[at]);)
        at++;
    if (at == field.n || field.p[at] != ':')
        return 0;
    *value = at + 1;
    return n;
}

int dkim_cut_field(struct slice *rest, struct slice *field, struct slice *name)
{
    size_t at = 0, value, n;

    for (;;) {
        const char *lf = at < rest->n ? memchr(rest->p + at, '\n', rest->n - at) : NULL;
        size_t end = lf ? (size_t)(lf - rest->p) : 0;
        if (!lf || end == at || memchr(rest->p + at, '\r', end - at) != lf - 1)
            return ERR_SYNTAX;
        at = end + 1;
        if (at == rest->n || !is_wsp(rest->p[at]))
            break;
    }
    n = field_name(slice_of(rest->p, at), &value);
    if (!n)
        return ERR_SYNTAX;
    *field = slice_of(rest->p, at);
    *name = slice_of(rest->p, n);
    *rest = slice_of(rest->p + at, rest->n - at);
    return 0;
}

int dkim_canon_field(struct slice field, struct buf *out)
{
    size_t start = out->n, at, n;
    bool wsp = false;

    if (slice_ends(field, S("\r\n")))
        field.n -= 2;
    n = field_name(field, &at);
    if (!n)
        return ERR_SYNTAX;
    buf_reserve(out, field.n + 3);
    for (size_t i = 0; i < n; i++)
        buf_addc(out, ascii_lower(field.p[i]));
    buf_addc(out, ':');
    size_t value = out->n;
    for (size_t i = at; i < field.n; i++) {
        char c = field.p[i];
        if (is_wsp(c)) {
            wsp = true;
        } else if (c == '\r' && i + 2 < field.n && field.p[i + 1] == '\n' && is_wsp(field.p[i + 2])) {
            wsp = true;
            i += 2;
        } else if (c == '\r' || c == '\n') {
            goto bad;
        } else {
            if (wsp && out->n > value)
                buf_addc(out, ' ');
            wsp = false;
            buf_addc(out, c);
        }
    }
    buf_adds(out, S("\r\n"));
    return 0;
bad:
    out->n = start;
    return ERR_SYNTAX;
}

/* --- body --- */

void dkim_body_start(struct dkim_body *b, void (*emit)(void *arg, const char *p, size_t n), void *arg)
{
    b->emit = emit;
    b->arg = arg;
    b->crlfs = b->nstage = 0;
    b->wsp = b->cr = b->any = false;
}

static void stage_flush(struct dkim_body *b)
{
    if (b->nstage)
        b->emit(b->arg, b->stage, b->nstage);
    b->nstage = 0;
}

static void stage_add(struct dkim_body *b, char c)
{
    if (b->nstage == sizeof b->stage)
        stage_flush(b);
    b->stage[b->nstage++] = c;
}

/* Text follows, so the line ends and the white space in front of it count. */
static void held_release(struct dkim_body *b)
{
    b->any = true;
    for (; b->crlfs; b->crlfs--) {
        stage_add(b, '\r');
        stage_add(b, '\n');
    }
    if (b->wsp)
        stage_add(b, ' ');
    b->wsp = false;
}

static void body_byte(struct dkim_body *b, char c)
{
    if (b->cr) {
        b->cr = false;
        if (c == '\n') {
            b->wsp = false;
            b->crlfs++;
            return;
        }
        held_release(b);
        stage_add(b, '\r');
    }
    if (c == '\r') {
        b->cr = true;
    } else if (is_wsp(c)) {
        b->wsp = true;
    } else {
        held_release(b);
        stage_add(b, c);
    }
}

/* 0x80 in each byte of v that is 0; the byte above such a one may be marked too when it is 1. */
static uint64_t zero_bytes(uint64_t v)
{
    return (v - 0x0101010101010101u) & ~v & 0x8080808080808080u;
}

/* True: relaxing leaves this line as it is. May err to false, which only costs the slower way. */
static bool line_is_canonical(const char *p, size_t n)
{
    size_t i = 0;

    if (is_wsp(p[n - 1]))
        return false;
    /* Steps of seven, so that each pair of neighbours is inside one word. */
    for (; i + 8 <= n; i += 7) {
        uint64_t v;
        memcpy(&v, p + i, 8);
        uint64_t space = zero_bytes(v ^ 0x2020202020202020u);
        if ((space & space >> 8) | zero_bytes(v ^ 0x0909090909090909u))
            return false;
    }
    for (; i < n; i++)
        if (p[i] == '\t' || (p[i] == ' ' && p[i + 1] == ' ')) /* the last byte is no space: i + 1 is inside */
            return false;
    return true;
}

/* Hand on [0, text_end), which is canonical and ends with text; behind it, up to end, are only line ends.
 * Returns end. */
static size_t body_emit(struct dkim_body *b, const char *p, size_t text_end, size_t end)
{
    if (text_end) {
        held_release(b);
        stage_flush(b);
        b->emit(b->arg, p, text_end);
    }
    b->crlfs += (end - text_end) / 2;
    return end;
}

/* From the start of a line or behind text: hand on as many whole canonical lines as there are. Returns the
 * bytes used. */
static size_t body_span(struct dkim_body *b, struct slice s)
{
    size_t at = 0, text_end = 0;

    while (at < s.n) {
        const char *lf = memchr(s.p + at, '\n', s.n - at);
        size_t end = lf ? (size_t)(lf - s.p) : 0;
        if (!lf || end == at || lf[-1] != '\r')
            break;
        if (end - 1 > at) {
            if (!line_is_canonical(s.p + at, end - 1 - at))
                break;
            text_end = end - 1;
        }
        at = end + 1;
    }
    return body_emit(b, s.p, text_end, at);
}

enum { SOLID_LEAST = 64 };

/* From the start of a line or behind text, of a piece without white space (an attachment in base64): all of
 * it is canonical, but line ends at its end may be the body's. Returns the bytes used: not a last CR. */
static size_t body_solid(struct dkim_body *b, struct slice s)
{
    size_t end = s.n - (s.p[s.n - 1] == '\r'), text_end = end;

    while (text_end >= 2 && s.p[text_end - 2] == '\r' && s.p[text_end - 1] == '\n')
        text_end -= 2;
    return body_emit(b, s.p, text_end, end);
}

void dkim_body_add(struct dkim_body *b, struct slice piece)
{
    /* Looked for once a piece, not once a line: a hostile body must not cost its square. */
    if (piece.n >= SOLID_LEAST && !b->wsp && !b->cr && !memchr(piece.p, ' ', piece.n) &&
        !memchr(piece.p, '\t', piece.n)) {
        size_t used = body_solid(b, piece);
        piece = slice_of(piece.p + used, piece.n - used);
    }
    while (piece.n) {
        size_t used = b->wsp || b->cr ? 0 : body_span(b, piece);
        piece = slice_of(piece.p + used, piece.n - used);
        /* The rest of a line that is to be changed, or that the next piece goes on with. */
        for (size_t i = 0; i < piece.n;) {
            char c = piece.p[i++];
            bool line_end = b->cr && c == '\n';
            body_byte(b, c);
            if (line_end || i == piece.n) {
                piece = slice_of(piece.p + i, piece.n - i);
                break;
            }
        }
    }
}

void dkim_body_end(struct dkim_body *b)
{
    if (b->cr) {
        held_release(b);
        stage_add(b, '\r');
    }
    /* 3.4.4: no empty lines at the end, and text ends with CRLF; a body of no text is no bytes. */
    if (b->any) {
        stage_add(b, '\r');
        stage_add(b, '\n');
    }
    stage_flush(b);
}
