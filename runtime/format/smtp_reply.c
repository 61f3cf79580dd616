/* smtp_reply.c - see smtp_reply.h. */
#include "format/smtp_reply.h"
#include "base/err.h"
#include "format/charset.h"

#include <stdlib.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    return is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

/* --- text --- */

void smtp_text_clean(struct slice s, struct buf *out)
{
    size_t start = out->n;
    bool space = false;

    buf_reserve(out, s.n);
    while (s.n) {
        uint32_t cp;
        int len = utf8_decode(s, &cp);
        size_t n = len > 0 ? (size_t)len : 1;
        if (strchr(" \t\r\n", s.p[0]) && s.p[0]) {
            space = true;
        } else {
            if (space && out->n > start)
                buf_addc(out, ' ');
            space = false;
            if (len <= 0 || cp_is_control(cp))
                buf_addc(out, '?');
            else
                buf_add(out, s.p, n);
        }
        s = slice_of(s.p + n, s.n - n);
    }
}

/* --- enhanced status codes --- */

static size_t read_number(struct slice s, uint16_t *out)
{
    size_t n = 0;

    *out = 0;
    while (n < s.n && n < 3 && is_digit(s.p[n]))
        *out = (uint16_t)(*out * 10 + (s.p[n++] - '0'));
    return n;
}

int smtp_enhanced_read(struct slice s, struct smtp_enhanced *out, size_t *used)
{
    struct smtp_enhanced e;
    size_t at = s.n && s.p[0] == '#' ? 1 : 0, n;

    /* RFC 3463 2: class 2, 4 or 5; subject and detail of up to three digits. */
    if (at >= s.n || (s.p[at] != '2' && s.p[at] != '4' && s.p[at] != '5'))
        return ERR_SYNTAX;
    e.cls = (uint16_t)(s.p[at++] - '0');
    for (int part = 0; part < 2; part++) {
        if (at >= s.n || s.p[at++] != '.')
            return ERR_SYNTAX;
        n = read_number(slice_of(s.p + at, s.n - at), part ? &e.detail : &e.subject);
        if (n == 0)
            return ERR_SYNTAX;
        at += n;
    }
    /* An address or a version number goes on. */
    if (at < s.n && (is_alnum(s.p[at]) || (s.p[at] == '.' && at + 1 < s.n && is_digit(s.p[at + 1]))))
        return ERR_SYNTAX;
    *out = e;
    *used = at;
    return 0;
}

/* RFC 2034 puts it first; qmail and others write "sorry, ... (#5.7.1)". */
static bool find_enhanced(struct slice line, struct smtp_enhanced *out, size_t *used)
{
    ptrdiff_t hash = slice_find(line, S("(#"));
    size_t n;

    if (smtp_enhanced_read(line, out, used) == 0)
        return true;
    *used = 0;
    return hash >= 0 &&
           smtp_enhanced_read(slice_of(line.p + hash + 1, line.n - (size_t)hash - 1), out, &n) == 0;
}

/* --- replies --- */

bool smtp_reply_begun(const struct smtp_reply_parser *p)
{
    return p->partial.n > 0 || (p->nlines > 0 && !p->done);
}

static void begin(struct smtp_reply_parser *p)
{
    p->reply = (struct smtp_reply){.text = SLICE_NONE};
    buf_clear(&p->cleaned);
    buf_clear(&p->joined);
    p->nlines = p->bytes = 0;
    p->done = false;
}

void smtp_reply_reset(struct smtp_reply_parser *p)
{
    begin(p);
    buf_clear(&p->partial);
    p->error = 0;
}

void smtp_reply_free(struct smtp_reply_parser *p)
{
    buf_free(&p->partial);
    buf_free(&p->cleaned);
    buf_free(&p->joined);
    free(p->lines);
    free(p->ends);
    *p = (struct smtp_reply_parser){0};
}

/* The slices can be made only now that cleaned moves no more. */
static void finish(struct smtp_reply_parser *p)
{
    struct smtp_reply *r = &p->reply;
    struct slice all = buf_slice(&p->cleaned);
    size_t used;

    buf_printf(&p->joined, "%d", r->code);
    for (size_t i = 0; i < p->nlines; i++) {
        size_t from = i ? p->ends[i - 1] : 0;
        struct slice line = slice_of(all.p + from, p->ends[i] - from);
        struct smtp_enhanced e;
        bool found = find_enhanced(line, &e, &used);
        p->lines[i] = line;
        if (found && !r->has_enhanced) {
            r->has_enhanced = true;
            r->enhanced = e;
            r->enhanced_mismatch = e.cls != r->code / 100;
        } else if (found && used && memcmp(&e, &r->enhanced, sizeof e) == 0) {
            /* Each line repeats it; in the joined text it would stand between words that belong together. */
            line = slice_trim(slice_of(line.p + used, line.n - used));
        }
        if (line.n && p->joined.n <= SMTP_REPLY_TEXT_MAX) {
            buf_addc(&p->joined, ' ');
            buf_adds(&p->joined, line);
        }
    }
    r->text = slice_of(p->joined.p, utf8_fit(buf_slice(&p->joined), SMTP_REPLY_TEXT_MAX));
    r->lines = p->lines;
    r->nlines = p->nlines;
    p->done = true;
}

/* One line without its end. 0: the reply is whole. */
static int take_line(struct smtp_reply_parser *p, struct slice line)
{
    bool more;
    int code;

    while (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || !is_digit(line.p[1]) || !is_digit(line.p[2]) ||
        (line.n > 3 && is_digit(line.p[3])))
        return ERR_SYNTAX;
    if (p->nlines == SMTP_REPLY_LINES_MAX)
        return ERR_LIMIT;
    code = (line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0');
    more = line.n > 3 && line.p[3] == '-';
    line = slice_of(line.p + 3 + more, line.n - 3 - more);
    if (p->nlines == 0)
        p->reply.code = code;
    p->reply.code_mismatch |= code / 100 != p->reply.code / 100;
    if (p->nlines == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 16;
        p->lines = mem_realloc(p->lines, p->cap * sizeof *p->lines);
        p->ends = mem_realloc(p->ends, p->cap * sizeof *p->ends);
    }
    smtp_text_clean(line, &p->cleaned);
    p->ends[p->nlines++] = p->cleaned.n;
    if (more)
        return ERR_AGAIN;
    finish(p);
    return 0;
}

int smtp_reply_next(struct smtp_reply_parser *p, struct slice *in, const struct smtp_reply **out)
{
    int rc = p->error;

    if (rc)
        return rc;
    if (p->done)
        begin(p);
    for (;;) {
        const char *lf = in->n ? memchr(in->p, '\n', in->n) : NULL;
        size_t n = lf ? (size_t)(lf - in->p) + 1 : in->n;
        if (p->partial.n + n > SMTP_REPLY_LINE_MAX || p->bytes + n > SMTP_REPLY_BYTES_MAX) {
            rc = ERR_LIMIT;
            break;
        }
        p->bytes += n;
        if (!lf) {
            buf_add(&p->partial, in->p, n);
            *in = slice_of(in->p + n, 0);
            return ERR_AGAIN;
        }
        struct slice line = slice_of(in->p, n - 1);
        *in = slice_of(in->p + n, in->n - n);
        if (p->partial.n) {
            buf_adds(&p->partial, line);
            line = buf_slice(&p->partial);
        }
        rc = take_line(p, line);
        buf_clear(&p->partial);
        if (rc == 0) {
            *out = &p->reply;
            return 0;
        }
        if (rc != ERR_AGAIN)
            break;
    }
    p->error = rc;
    return rc;
}

/* --- EHLO --- */

static void read_auth(struct slice rest, struct smtp_ehlo *out)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {{"PLAIN", SMTP_AUTH_PLAIN},
                 {"LOGIN", SMTP_AUTH_LOGIN},
                 {"CRAM-MD5", SMTP_AUTH_CRAM_MD5},
                 {"XOAUTH2", SMTP_AUTH_XOAUTH2}};

    while (rest.n) {
        struct slice word = slice_cut(rest, ' ', &rest);
        for (size_t i = 0; i < COUNT(known); i++)
            if (slice_ieq(word, slice_cstr(known[i].name)))
                out->auth |= known[i].bit;
    }
}

void smtp_ehlo_read(const struct smtp_reply *r, struct smtp_ehlo *out)
{
    *out = (struct smtp_ehlo){0};
    /* RFC 5321 4.1.1.1: the first line is the greeting. */
    for (size_t i = 1; i < r->nlines; i++) {
        struct slice rest, word = slice_cut(r->lines[i], ' ', &rest);
        if (slice_ieq(word, S("PIPELINING")))
            out->pipelining = true;
        else if (slice_ieq(word, S("CHUNKING")))
            out->chunking = true;
        else if (slice_ieq(word, S("8BITMIME")))
            out->eightbitmime = true;
        else if (slice_ieq(word, S("SMTPUTF8")))
            out->smtputf8 = true;
        else if (slice_ieq(word, S("STARTTLS")))
            out->starttls = true;
        else if (slice_ieq(word, S("ENHANCEDSTATUSCODES")))
            out->enhanced = true;
        else if (slice_ieq(word, S("SIZE"))) {
            out->size_offered = true;
            /* RFC 1870 4: zero, and nothing, mean no fixed limit; so does a number beyond ours. */
            if (slice_u64(slice_trim(rest), &out->size_max))
                out->size_max = 0;
        } else if (slice_ieq(word, S("AUTH"))) {
            read_auth(rest, out);
        } else if (slice_istarts(word, S("AUTH="))) { /* from before RFC 2554, still beside the right one */
            read_auth(slice_of(r->lines[i].p + 5, r->lines[i].n - 5), out);
        }
    }
}
