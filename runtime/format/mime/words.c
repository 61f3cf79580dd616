/* words.c - see words.h. */
#include "format/mime/words.h"
#include "format/charset.h"
#include "format/codec.h"
#include "format/iso2022jp.h"
#include "format/mime/transfer.h"

#include <stdio.h>

static const char HEX[] = "0123456789ABCDEF";

struct field field_begin(struct buf *out, struct slice name, enum mime_charset charset)
{
    buf_adds(out, name);
    buf_addc(out, ':');
    return (struct field){out, name.n + 1, charset};
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

/* A word to be: text of n bytes, and what it is in the word's charset. */
struct word {
    bool iso2022jp, q;
    size_t n;
    struct slice bytes;
    char own[80];
};

enum { WORD_MAX = 75 };

static struct slice frame(const struct word *w)
{
    if (w->iso2022jp)
        return w->q ? S("=?ISO-2022-JP?Q?") : S("=?ISO-2022-JP?B?");
    return w->q ? S("=?UTF-8?Q?") : S("=?UTF-8?B?");
}

/* Columns for the encoded text of a word that begins at col. */
static size_t room_at(const struct word *w, size_t col)
{
    size_t around = frame(w).n + 2;
    size_t end = col + WORD_MAX < LINE_WORDS ? col + WORD_MAX : LINE_WORDS;
    return col + around < end ? end - col - around : 0;
}

static size_t encoded_len(const struct word *w, struct slice bytes)
{
    return w->q ? q_len(bytes) : (bytes.n + 2) / 3 * 4;
}

/* Some readers (GMime 3.2 is one) join neighbouring B words before they decode them, and stop at the padding
 * of the first. So padding stands in the last word only, or else the next word is Q. */
static bool is_good_end(const struct word *w, size_t nbytes, bool last)
{
    return w->q || last || nbytes % 3 == 0;
}

/* Take as many characters off the front of text as `room` columns hold. */
static void take_utf8(struct word *w, struct slice text, size_t room)
{
    size_t best = 0, n = 0, used = 0;
    if (!w->q)
        n = utf8_fit(text, room / 4 * 3);
    while (w->q && n < text.n) {
        uint32_t cp = 0;
        int len = utf8_decode(slice_of(text.p + n, text.n - n), &cp);
        INVARIANT(len > 0);
        used += q_len(slice_of(text.p + n, (size_t)len));
        if (used > room)
            break;
        n += (size_t)len;
    }
    for (size_t m = n; m && !best; m = utf8_fit(text, m - 1))
        if (is_good_end(w, m, m == text.n))
            best = m;
    w->n = best ? best : n;
    w->bytes = slice_of(text.p, w->n);
}

/* The same; a word begins and ends in ASCII (RFC 1468, and RFC 2047 3). */
static void take_iso2022jp(struct word *w, struct slice text, size_t room)
{
    struct iso2022jp s = {ISO2022JP_ASCII}, good = s;
    size_t used = 0, good_used = 0, n = 0, good_n = 0;
    bool good_is_whole = false;
    while (n < text.n) {
        uint32_t cp = 0;
        int len = utf8_decode(slice_of(text.p + n, text.n - n), &cp);
        INVARIANT(len > 0 && used + 8 <= sizeof w->own);
        size_t more = iso2022jp_put(&s, cp, w->own + used);
        INVARIANT(more > 0);
        struct iso2022jp closed = s;
        size_t end = used + more + iso2022jp_end(&closed, w->own + used + more);
        if (encoded_len(w, slice_of(w->own, end)) > room)
            break;
        used += more;
        n += (size_t)len;
        bool whole = is_good_end(w, end, n == text.n);
        if (whole || !good_is_whole) {
            good = s;
            good_used = used;
            good_n = n;
            good_is_whole = whole;
        }
    }
    w->n = good_n;
    w->bytes = slice_of(w->own, good_used + iso2022jp_end(&good, w->own + good_used));
}

static void put_words(struct field *f, struct slice text)
{
    struct word w = {.iso2022jp = f->charset == MIME_ISO2022JP && !ascii_only(text)};
    bool q_is_shorter = !w.iso2022jp && q_len(text) <= (text.n + 2) / 3 * 4;
    w.q = q_is_shorter;
    if (room_at(&w, f->col + 1) < 12) /* no room for every character: UTF-8's longest in Q, a kanji in B */
        fold(f);
    else
        put(f, S(" "));
    for (;;) {
        if (w.iso2022jp)
            take_iso2022jp(&w, text, room_at(&w, f->col));
        else
            take_utf8(&w, text, room_at(&w, f->col));
        INVARIANT(w.n > 0);
        text = slice_of(text.p + w.n, text.n - w.n);
        put(f, frame(&w));
        if (w.q) {
            put_q(f, w.bytes);
        } else {
            codec_base64(f->out, w.bytes, 0);
            f->col += encoded_len(&w, w.bytes);
        }
        put(f, S("?="));
        if (!text.n)
            return;
        w.q = q_is_shorter || !is_good_end(&w, w.bytes.n, false);
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

/* What lies in out from `at` on becomes UTF-8; false: it is no ISO-2022-JP. */
static bool from_iso2022jp(struct buf *out, size_t at)
{
    struct buf text = {0};
    size_t bad_at;
    bool good = iso2022jp_decode(slice_of(out->p + at, out->n - at), &text, &bad_at) == 0;
    out->n = at;
    buf_adds(out, buf_slice(&text));
    buf_free(&text);
    return good;
}

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
    bool iso2022jp = slice_ieq(charset, S("iso-2022-jp"));
    if (end < 0 || encoding.n != 1 ||
        !(iso2022jp || slice_ieq(charset, S("utf-8")) || slice_ieq(charset, S("us-ascii"))))
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
    if (good && iso2022jp)
        good = from_iso2022jp(out, before);
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
