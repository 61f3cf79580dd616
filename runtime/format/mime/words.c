/* words.c - see words.h. */
#include "format/mime/words.h"
#include "format/charset.h"
#include "format/codec.h"
#include "format/mime/transfer.h"

#include <stdio.h>

static const char HEX[] = "0123456789ABCDEF";

struct field field_begin(struct buf *out, struct slice name)
{
    buf_adds(out, name);
    buf_addc(out, ':');
    return (struct field){out, name.n + 1};
}

void field_end(struct field *f)
{
    buf_adds(f->out, S("\r\n"));
}

static void put(struct field *f, struct slice s)
{
    buf_adds(f->out, s);
    f->col += s.n;
}

static void fold(struct field *f)
{
    buf_adds(f->out, S("\r\n "));
    f->col = 1;
}

int check_line(struct slice value, const char *what, struct err *e)
{
    size_t good = utf8_line_prefix(value);
    if (good == value.n)
        return 0;
    unsigned char c = (unsigned char)value.p[good];
    if (c == '\r' || c == '\n')
        return err_set(e, ERR_INVAL, "%s has a line break in it (at byte %zu)", what, good + 1);
    if (utf8_prefix(value) == good)
        return err_set(e, ERR_INVAL, "%s is not valid UTF-8 (at byte %zu)", what, good + 1);
    return err_set(e, ERR_INVAL, "%s has a control character in it (at byte %zu)", what, good + 1);
}

static struct slice trim_spaces(struct slice s)
{
    while (s.n && s.p[0] == ' ')
        s = slice_of(s.p + 1, s.n - 1);
    while (s.n && s.p[s.n - 1] == ' ')
        s.n--;
    return s;
}

/* --- encoded words --- */

/* What Q leaves as it is (RFC 2047 5 (3): safe in a phrase, so safe everywhere). */
static bool q_literal(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '!' ||
           c == '*' || c == '+' || c == '-' || c == '/';
}

static size_t q_len(struct slice s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == ' ' || q_literal((unsigned char)s.p[i]) ? 1 : 3;
    return n;
}

static void put_q(struct field *f, struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        char hex[3] = {'=', HEX[c >> 4], HEX[c & 15]};
        char one = c == ' ' ? '_' : (char)c;
        put(f, c == ' ' || q_literal(c) ? slice_of(&one, 1) : slice_of(hex, 3));
    }
}

/* The most bytes of s, whole characters, whose encoding takes at most `room` columns. */
static size_t fit_word(struct slice s, bool q, size_t room)
{
    if (!q)
        return utf8_fit(s, room / 4 * 3);
    size_t n = 0, used = 0;
    while (n < s.n) {
        uint32_t cp = 0;
        int len = utf8_decode(slice_of(s.p + n, s.n - n), &cp);
        INVARIANT(len > 0);
        used += q_len(slice_of(s.p + n, (size_t)len));
        if (used > room)
            break;
        n += (size_t)len;
    }
    return n;
}

enum { FRAME = 12 /* =?UTF-8?B? and ?= */, WORD_MAX = 75 };

/* Columns for the encoded text of a word that begins at col. */
static size_t room_at(size_t col)
{
    size_t end = col + WORD_MAX < LINE_WORDS ? col + WORD_MAX : LINE_WORDS;
    return col + FRAME < end ? end - col - FRAME : 0;
}

/* Cut n down to whole characters that fill whole groups of three bytes, if there are such. */
static size_t fit_unpadded(struct slice s, size_t n)
{
    for (size_t m = n; m; m = utf8_fit(s, m - 1))
        if (m % 3 == 0)
            return m;
    return n;
}

/* Some readers (GMime 3.2 is one) join neighbouring B words before they decode them, and stop at the padding
 * of the first. So padding stands in the last word only, or else the next word is Q. */
static void put_words(struct field *f, struct slice text)
{
    bool q_is_shorter = q_len(text) <= (text.n + 2) / 3 * 4, q = q_is_shorter;
    if (room_at(f->col + 1) < 12) /* no room for every character: four bytes in Q */
        fold(f);
    else
        put(f, S(" "));
    for (;;) {
        size_t n = fit_word(text, q, room_at(f->col));
        INVARIANT(n > 0);
        if (!q && n < text.n)
            n = fit_unpadded(text, n);
        struct slice now = slice_of(text.p, n);
        text = slice_of(text.p + n, text.n - n);
        put(f, q ? S("=?UTF-8?Q?") : S("=?UTF-8?B?"));
        if (q) {
            put_q(f, now);
        } else {
            codec_base64(f->out, now, 0);
            f->col += (n + 2) / 3 * 4;
        }
        put(f, S("?="));
        if (!text.n)
            return;
        q = q_is_shorter || (!q && n % 3 != 0);
        fold(f);
    }
}

/* --- plain text --- */

int put_plain(struct field *f, struct slice s)
{
    s = trim_spaces(s);
    for (bool first = true; s.n; first = false) {
        size_t n = 0;
        while (n < s.n && s.p[n] == ' ')
            n++;
        while (n < s.n && s.p[n] != ' ')
            n++;
        if (first) {
            put(f, S(" ")); /* never a fold right behind the name: some readers see an empty field */
        } else if (f->col + n > LINE_SOFT) {
            buf_adds(f->out, S("\r\n")); /* the blanks that are there become the fold's */
            f->col = 0;
        }
        put(f, slice_of(s.p, n));
        if (f->col > LINE_HARD)
            return ERR_LIMIT;
        s = slice_of(s.p + n, s.n - n);
    }
    return 0;
}

/* Text that would read as an encoded word, that has no blank to fold at, or that would have to be folded and
 * has blanks in a row, of which some readers make one. */
static bool needs_words(const struct field *f, struct slice s)
{
    size_t run = 0;
    bool folds = f->col + 1 + s.n > LINE_SOFT;
    if (!ascii_only(s) || slice_find(s, S("=?")) >= 0)
        return true;
    for (size_t i = 0; i < s.n; i++) {
        if (folds && i && s.p[i] == ' ' && s.p[i - 1] == ' ')
            return true;
        run = s.p[i] == ' ' ? 0 : run + 1;
        if (run > 900)
            return true;
    }
    return false;
}

void put_text(struct field *f, struct slice text)
{
    text = trim_spaces(text);
    if (needs_words(f, text)) {
        put_words(f, text);
    } else {
        int rc = put_plain(f, text);
        INVARIANT(rc == 0);
    }
}

void put_behind_name(struct field *f, size_t at)
{
    size_t n = f->out->n - at;
    if (f->out->p[at - 1] != ':' && f->col + n > LINE_WORDS) {
        buf_adds(f->out, S("\r\n"));
        memmove(f->out->p + at + 2, f->out->p + at, n);
        memcpy(f->out->p + at, "\r\n", 2);
        f->col = 0;
    }
    f->col += n;
}

static bool is_atom_text(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

void put_phrase(struct field *f, struct slice name)
{
    bool atoms = true;
    name = trim_spaces(name);
    if (!name.n)
        return;
    if (needs_words(f, name) || name.n > 60) {
        put_words(f, name);
        return;
    }
    for (size_t i = 0; i < name.n; i++)
        atoms &= is_atom_text((unsigned char)name.p[i]) || (name.p[i] == ' ' && name.p[i - 1] != ' ');
    put(f, atoms ? S(" ") : S(" \""));
    for (size_t i = 0; i < name.n; i++) {
        if (!atoms && (name.p[i] == '"' || name.p[i] == '\\'))
            put(f, S("\\"));
        put(f, slice_of(name.p + i, 1));
    }
    if (!atoms)
        put(f, S("\""));
}

void put_mailbox(struct field *f, const struct mailbox *m)
{
    put_phrase(f, m->name);
    bool named = f->out->p[f->out->n - 1] != ':';
    size_t at = f->out->n;
    buf_adds(f->out, named ? S(" <") : S(" "));
    addr_smtp(f->out, &m->addr, ADDR_QUOTED);
    if (named)
        buf_addc(f->out, '>');
    put_behind_name(f, at);
}

/* --- parameters --- */

/* RFC 2231 7 attribute-char. */
static bool is_attribute_char(unsigned char c)
{
    return is_atom_text(c) ? !strchr("*'%/?=", c) : c == '.';
}

bool param_is_plain(const char *name, struct slice value)
{
    if (!ascii_only(value) || slice_find(value, S("=?")) >= 0 ||
        strlen(name) + value.n + sizeof " =\"\";" - 1 > LINE_SOFT)
        return false;
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] == '"' || value.p[i] == '\\')
            return false;
    return true;
}

/* One character in the extended form; its length in columns. */
static size_t extended(struct slice c, char out[12])
{
    size_t n = 0;
    for (size_t i = 0; i < c.n; i++) {
        unsigned char u = (unsigned char)c.p[i];
        if (is_attribute_char(u)) {
            out[n++] = (char)u;
        } else {
            out[n++] = '%';
            out[n++] = HEX[u >> 4];
            out[n++] = HEX[u & 15];
        }
    }
    return n;
}

void put_param(struct field *f, const char *name, struct slice value)
{
    char head[64], c[12];
    if (param_is_plain(name, value)) {
        size_t n = (size_t)snprintf(head, sizeof head, "%s=\"", name);
        put(f, S(";"));
        if (f->col + 1 + n + value.n + 1 > LINE_SOFT)
            fold(f);
        else
            put(f, S(" "));
        put(f, slice_of(head, n));
        put(f, value);
        put(f, S("\""));
        return;
    }
    size_t all = 0;
    for (struct slice rest = value; rest.n;) {
        uint32_t cp = 0;
        int len = utf8_decode(rest, &cp);
        INVARIANT(len > 0);
        all += extended(slice_of(rest.p, (size_t)len), c);
        rest = slice_of(rest.p + len, rest.n - (size_t)len);
    }
    bool whole = 1 + strlen(name) + sizeof "*=UTF-8''" - 1 + all < LINE_SOFT;
    for (int segment = 0; segment == 0 || value.n; segment++) {
        size_t n = whole ? (size_t)snprintf(head, sizeof head, "%s*=", name)
                         : (size_t)snprintf(head, sizeof head, "%s*%d*=", name, segment);
        put(f, S(";"));
        fold(f);
        put(f, slice_of(head, n));
        if (segment == 0)
            put(f, S("UTF-8''"));
        while (value.n) {
            uint32_t cp = 0;
            int len = utf8_decode(value, &cp);
            INVARIANT(len > 0);
            n = extended(slice_of(value.p, (size_t)len), c);
            if (f->col + n >= LINE_SOFT)
                break;
            put(f, slice_of(c, n));
            value = slice_of(value.p + len, value.n - (size_t)len);
        }
    }
}

/* --- reading --- */

/* An encoded word at the front of s: its length, and its decoded bytes appended to out; 0 if there is none
 * that we can read. */
static size_t decode_word(struct slice s, struct buf *out)
{
    struct slice rest, charset, encoding, text;
    if (!slice_starts(s, S("=?")))
        return 0;
    charset = slice_cut(slice_of(s.p + 2, s.n - 2), '?', &rest);
    charset = slice_cut(charset, '*', &text); /* RFC 2231 5: a language behind it */
    encoding = slice_cut(rest, '?', &rest);
    ptrdiff_t end = slice_find(rest, S("?="));
    if (end < 0 || encoding.n != 1 || !(slice_ieq(charset, S("utf-8")) || slice_ieq(charset, S("us-ascii"))))
        return 0;
    text = slice_of(rest.p, (size_t)end);
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] <= ' ' || text.p[i] > '~' || text.p[i] == '?')
            return 0;
    size_t before = out->n;
    bool good = false;
    switch (ascii_lower(encoding.p[0])) {
    case 'b':
        good = codec_unbase64(text, out) == 0;
        break;
    case 'q':
        good = q_decode(out, text);
        break;
    }
    if (!good || !utf8_valid(slice_of(out->p + before, out->n - before))) {
        out->n = before;
        return 0;
    }
    return (size_t)(text.p + text.n + 2 - s.p);
}

void mime_word_decode(struct buf *out, struct slice value)
{
    bool after_word = false; /* an encoded word, and only blanks since */
    size_t word_end = 0;     /* where its text ends in out */
    for (size_t i = 0; i < value.n;) {
        size_t at = out->n, n = decode_word(slice_of(value.p + i, value.n - i), out);
        if (n) {
            if (after_word) { /* RFC 2047 6.2: blanks between two of them do not count */
                memmove(out->p + word_end, out->p + at, out->n - at);
                out->n -= at - word_end;
            }
            after_word = true;
            word_end = out->n;
            i += n;
            continue;
        }
        char c = value.p[i++];
        if (c == '\r' || c == '\n')
            continue;
        after_word &= c == ' ' || c == '\t';
        buf_addc(out, c);
    }
}
