/* build.c - the structure of a mail; see mime.h.
 *
 * An entity writes its header fields where `fields` points: into out->head for the mail itself, into out->own
 * for an entity inside a multipart. headers_done() ends them, and from there on everything goes to out->own.
 * An entity never writes the CRLF in front of the next boundary, which belongs to the boundary (RFC
 * 2046 5.1.1). */
#include "base/hash.h"
#include "format/charset.h"
#include "format/iso2022jp.h"
#include "format/mime.h"
#include "format/mime/fit.h"
#include "format/mime/flowed.h"
#include "format/mime/preheader.h"
#include "format/mime/transfer.h"
#include "format/mime/words.h"

#include <stdio.h>
#include <stdlib.h>

struct builder {
    const struct mime_message *m;
    struct mime_out *out;
    struct buf *fields;
    struct slice html;
    size_t own_done; /* bytes of out->own that are in out->body */
    size_t ninline, nattached;
    int multiparts;
};

/* --- pieces of the body --- */

/* Slices into own are kept with p == NULL until the end: own may still move. */
static void add_piece(struct mime_out *out, struct slice s)
{
    if (!s.n)
        return;
    if (out->nbody == out->cap) {
        out->cap = out->cap ? out->cap * 2 : 8;
        out->body = mem_realloc(out->body, out->cap * sizeof out->body[0]);
    }
    out->body[out->nbody++] = s;
    out->body_bytes += s.n;
}

static void flush_own(struct builder *b)
{
    add_piece(b->out, (struct slice){NULL, b->out->own.n - b->own_done});
    b->own_done = b->out->own.n;
}

static void headers_done(struct builder *b)
{
    if (b->fields == &b->out->own)
        buf_adds(&b->out->own, S("\r\n"));
    b->fields = &b->out->own;
}

/* --- entities --- */

struct boundary {
    char text[48];
};

static struct boundary begin_multipart(struct builder *b, const char *subtype, const char *param)
{
    struct boundary x;
    unsigned char level = (unsigned char)++b->multiparts;
    uint64_t id = hash64((struct hash_key){b->m->boundary_seed, 0x68e2bd5a9a1c7f03u}, slice_of(&level, 1));
    snprintf(x.text, sizeof x.text, "=_%d.%016llx", level, (unsigned long long)id);
    buf_printf(b->fields, "Content-Type: multipart/%s; boundary=\"%s\"%s\r\n", subtype, x.text, param);
    headers_done(b);
    return x;
}

static void next_part(struct builder *b, const struct boundary *x, bool first)
{
    buf_printf(&b->out->own, "%s--%s\r\n", first ? "" : "\r\n", x->text);
}

static void end_multipart(struct builder *b, const struct boundary *x)
{
    buf_printf(&b->out->own, "\r\n--%s--", x->text);
}

static void put_text_part(struct builder *b, const char *subtype, struct slice text)
{
    struct mime_out *out = b->out;
    bool iso2022jp = b->m->charset == MIME_ISO2022JP, flowed = b->m->flowed && strcmp(subtype, "plain") == 0;
    enum transfer how;
    buf_clear(&out->text);
    crlf_text(&out->text, text);
    struct slice lines = buf_slice(&out->text);
    if (flowed) {
        buf_clear(&out->flowed);
        flowed_text(&out->flowed, lines);
        lines = buf_slice(&out->flowed);
    }
    if (iso2022jp) {
        buf_clear(&out->coded);
        INVARIANT(iso2022jp_encode(lines, &out->coded) == 0);
        lines = buf_slice(&out->coded);
        how = transfer_choose_iso2022jp(lines, flowed);
    } else {
        how = transfer_choose(lines, flowed);
    }
    buf_printf(b->fields, "Content-Type: text/%s; charset=%s%s\r\nContent-Transfer-Encoding: %s\r\n", subtype,
               iso2022jp ? "ISO-2022-JP" : "UTF-8", flowed ? "; format=flowed; delsp=yes" : "",
               transfer_name(how));
    headers_done(b);
    switch (how) {
    case TRANSFER_7BIT:
        buf_adds(&out->own, lines);
        break;
    case TRANSFER_QP:
        qp_text(&out->own, lines);
        break;
    case TRANSFER_BASE64:
        base64_lines(&out->own, lines);
        break;
    }
}

/* By the end of its name, where nobody said it: what offices and designers attach. */
static struct slice type_by_name(struct slice filename)
{
    static const char *const types[][2] = {
        {"pdf", "application/pdf"},
        {"png", "image/png"},
        {"jpg", "image/jpeg"},
        {"jpeg", "image/jpeg"},
        {"gif", "image/gif"},
        {"webp", "image/webp"},
        {"svg", "image/svg+xml"},
        {"ics", "text/calendar; charset=UTF-8"},
        {"csv", "text/csv"},
        {"zip", "application/zip"},
        {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
        {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
        {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    };
    const char *dot = filename.n ? memrchr(filename.p, '.', filename.n) : NULL;
    struct slice end = dot ? slice_of(dot + 1, (size_t)(filename.p + filename.n - dot) - 1) : SLICE_NONE;
    for (size_t i = 0; i < COUNT(types); i++)
        if (slice_ieq(end, slice_cstr(types[i][0])))
            return slice_cstr(types[i][1]);
    return S("application/octet-stream");
}

static void put_file(struct builder *b, const struct mime_part *p)
{
    struct buf *h = b->fields;
    struct field f = field_begin(h, S("Content-Type"), MIME_UTF8);
    put_plain(&f, p->content_type.n ? p->content_type : type_by_name(p->filename));
    if (p->filename.n && param_is_plain("name", p->filename))
        put_param(&f, "name", p->filename);
    field_end(&f);
    buf_adds(h, S("Content-Transfer-Encoding: base64\r\n"));
    f = field_begin(h, S("Content-Disposition"), MIME_UTF8);
    put_plain(&f, p->kind == MIME_INLINE ? S("inline") : S("attachment"));
    if (p->filename.n)
        put_param(&f, "filename", p->filename);
    field_end(&f);
    if (p->kind == MIME_INLINE)
        buf_printf(h, "Content-ID: <%.*s>\r\n", SLICE_FMT(p->content_id));
    headers_done(b);
    if (p->encoded) {
        flush_own(b);
        add_piece(b->out, p->data);
    } else {
        base64_lines(&b->out->own, p->data);
    }
}

static void put_files(struct builder *b, const struct boundary *x, enum mime_kind kind)
{
    for (size_t i = 0; i < b->m->nparts; i++)
        if (b->m->parts[i].kind == kind) {
            next_part(b, x, false);
            put_file(b, &b->m->parts[i]);
        }
}

static void put_html(struct builder *b)
{
    if (!b->ninline) {
        put_text_part(b, "html", b->html);
        return;
    }
    struct boundary x = begin_multipart(b, "related", ";\r\n type=\"text/html\""); /* RFC 2387 3.1 */
    next_part(b, &x, true);
    put_text_part(b, "html", b->html);
    put_files(b, &x, MIME_INLINE);
    end_multipart(b, &x);
}

static void put_content(struct builder *b)
{
    if (!b->m->html.n) {
        put_text_part(b, "plain", b->m->text);
    } else if (!b->m->text.n) {
        put_html(b);
    } else {
        struct boundary x = begin_multipart(b, "alternative", "");
        next_part(b, &x, true);
        put_text_part(b, "plain", b->m->text);
        next_part(b, &x, false);
        put_html(b);
        end_multipart(b, &x);
    }
}

static void put_body(struct builder *b)
{
    if (b->nattached) {
        struct boundary x = begin_multipart(b, "mixed", "");
        next_part(b, &x, true);
        put_content(b);
        put_files(b, &x, MIME_ATTACHMENT);
        end_multipart(b, &x);
    } else {
        put_content(b);
    }
    struct buf *own = &b->out->own;
    if (!slice_ends(buf_slice(own), S("\r\n")))
        buf_adds(own, S("\r\n"));
    flush_own(b);
    size_t at = 0;
    for (size_t i = 0; i < b->out->nbody; i++)
        if (!b->out->body[i].p) {
            b->out->body[i].p = own->p + at;
            at += b->out->body[i].n;
        }
}

/* --- checks --- */

static int check_text(struct slice s, const char *what, struct err *e)
{
    size_t good = utf8_prefix(s);
    if (good < s.n)
        return err_set(e, ERR_INVAL, "%s is not valid UTF-8 (at byte %zu)", what, good + 1);
    const char *nul = s.n ? memchr(s.p, 0, s.n) : NULL;
    return nul ? err_set(e, ERR_INVAL, "%s has a NUL in it (at byte %zu)", what, (size_t)(nul - s.p) + 1) : 0;
}

/* RFC 2045 5.1 token characters. */
static size_t token_len(struct slice s)
{
    size_t n = 0;
    while (n < s.n && s.p[n] > ' ' && s.p[n] < 0x7f && !strchr("()<>@,;:\\\"/[]?=", s.p[n]))
        n++;
    return n;
}

static bool is_content_type(struct slice s)
{
    struct slice params, type = slice_trim(slice_cut(s, ';', &params)), subtype;
    type = slice_cut(type, '/', &subtype);
    if (!type.n || token_len(type) != type.n || !subtype.n || token_len(subtype) != subtype.n || s.n > 120)
        return false;
    params = slice_trim(params);
    if (!params.n)
        return !memchr(s.p, ';', s.n);
    if (!slice_istarts(params, S("charset=")))
        return false;
    params = slice_of(params.p + 8, params.n - 8);
    return params.n && token_len(params) == params.n;
}

/* What stands between angle brackets: a Message-ID, a Content-ID, a List-Id. */
static bool is_id(struct slice s, bool at)
{
    size_t ats = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("<>()[]\\\",;:", s.p[i]))
            return false;
        ats += s.p[i] == '@';
    }
    return s.n && s.n <= 250 && (at ? ats == 1 && s.p[0] != '@' && s.p[s.n - 1] != '@' : ats <= 1);
}

static int check_part(const struct mime_part *p, struct err *e)
{
    struct slice name = p->filename.n ? p->filename : S("without a name");
    int rc = check_line(p->filename, "a file name", e);
    if (rc)
        return rc;
    if (name.n > 1024)
        return err_set(e, ERR_INVAL, "a file name is longer than 1,024 octets");
    if (p->content_type.n && !is_content_type(p->content_type))
        return err_set(e, ERR_INVAL, "attachment %.*s: its type must be like \"application/pdf\"",
                       SLICE_FMT(name));
    /* RFC 2046 5: these may not be base64 as a whole. */
    if (slice_istarts(p->content_type, S("multipart/")) || slice_istarts(p->content_type, S("message/")))
        return err_set(e, ERR_INVAL,
                       "attachment %.*s: type %.*s cannot be attached; application/octet-stream can",
                       SLICE_FMT(name), SLICE_FMT(p->content_type));
    if (p->kind == MIME_INLINE && !is_id(p->content_id, false))
        return err_set(e, ERR_INVAL,
                       "inline image %.*s: its content id is missing or has a character it may not",
                       SLICE_FMT(name));
    return 0;
}

static int check_mailbox(const struct mailbox *m, const char *what, struct err *e)
{
    if (!m->addr.local.n || !m->addr.domain_ascii.n)
        return err_set(e, ERR_MISSING, "%s has no address", what);
    int rc = check_line(m->name, what, e);
    rc = rc ? rc : check_line(m->addr.local, what, e);
    return rc ? rc : check_line(m->addr.domain, what, e);
}

/* --- header fields --- */

int mime_put_date(struct buf *out, int64_t unix_s, int utc_offset_min, struct err *e)
{
    static const char DAYS[] = "SunMonTueWedThuFriSat", MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    if (utc_offset_min <= -1440 || utc_offset_min >= 1440)
        return err_set(e, ERR_RANGE, "a UTC offset of %d minutes is a day or more", utc_offset_min);
    if (unix_s < -2208902400 || unix_s > 253402214400) /* a day inside 1900 and 9999 */
        return err_set(e, ERR_RANGE, "a date outside the years 1900 to 9999");
    int64_t local = unix_s + utc_offset_min * 60;
    int64_t day = local / 86400 - (local % 86400 < 0);
    int second = (int)(local - day * 86400), weekday = (int)(((day + 4) % 7 + 7) % 7);
    /* The year is taken to start on 1 March, so that a leap day is its last; 719468 days lie between
     * 0000-03-01 and 1970-01-01. A month m of that year (0 = March) starts at day (153 m + 2) / 5. */
    int64_t days = day + 719468, era = days / 146097;
    int of_era = (int)(days - era * 146097);
    int year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int shifted = (5 * of_year + 2) / 153, mday = of_year - (153 * shifted + 2) / 5 + 1;
    int month = (shifted + 2) % 12;
    int year = (int)(era * 400) + year_of_era + (month < 2);
    int zone = utc_offset_min < 0 ? -utc_offset_min : utc_offset_min;
    buf_printf(out, "%.3s, %02d %.3s %04d %02d:%02d:%02d %c%02d%02d", DAYS + 3 * weekday, mday,
               MONTHS + 3 * month, year, second / 3600, second / 60 % 60, second % 60,
               utc_offset_min < 0 ? '-' : '+', zone / 60, zone % 60);
    return 0;
}

static int check_name(struct slice name, struct err *e)
{
    bool good = name.n > 0 && name.n <= 64;
    for (size_t i = 0; good && i < name.n; i++)
        good = name.p[i] > ' ' && name.p[i] <= '~' && name.p[i] != ':';
    return good ? 0
                : err_set(e, ERR_INVAL, "a header name is empty, too long, or has a character it may not");
}

static int put_unstructured(struct buf *out, enum mime_charset charset, struct slice name, struct slice value,
                            struct err *e)
{
    char what[96];
    int rc = check_name(name, e);
    if (rc)
        return rc;
    snprintf(what, sizeof what, "header %.*s", SLICE_FMT(name));
    rc = check_line(value, what, e);
    if (rc)
        return rc;
    struct field f = field_begin(out, name, charset);
    put_text(&f, value);
    field_end(&f);
    return 0;
}

int mime_put_header(struct buf *out, struct slice name, struct slice value, struct err *e)
{
    return put_unstructured(out, MIME_UTF8, name, value, e);
}

/* A field with a grammar of its own: ASCII, folded at its blanks only. */
static int put_structured(struct buf *out, struct slice name, struct slice value, struct err *e)
{
    char what[96];
    snprintf(what, sizeof what, "header %.*s", SLICE_FMT(name));
    int rc = check_line(value, what, e);
    if (rc)
        return rc;
    if (!ascii_only(value))
        return err_set(e, ERR_INVAL, "%s may have ASCII characters only", what);
    struct field f = field_begin(out, name, MIME_UTF8);
    if (put_plain(&f, value))
        return err_set(e, ERR_INVAL,
                       "%s is longer than a line may be (998 octets) and has no blank to fold at", what);
    field_end(&f);
    return 0;
}

static int put_list_id(struct buf *out, enum mime_charset charset, struct slice value, struct err *e)
{
    struct slice name = SLICE_NONE, id = slice_trim(value);
    const char *angle = id.n ? memrchr(id.p, '<', id.n) : NULL;
    int rc = check_line(value, "header List-Id", e);
    if (rc)
        return rc;
    if (angle && id.p[id.n - 1] == '>') {
        size_t at = (size_t)(angle - id.p);
        name = slice_trim(slice_of(id.p, at));
        id = slice_of(angle + 1, id.n - at - 2);
    }
    if (name.n >= 2 && name.p[0] == '"' && name.p[name.n - 1] == '"')
        name = slice_of(name.p + 1, name.n - 2);
    if (!is_id(id, false) || name.n > ADDR_NAME_MAX)
        return err_set(e, ERR_INVAL,
                       "header List-Id must be like \"news.example.jp\" or \"Name <news.example.jp>\"");
    struct field f = field_begin(out, S("List-Id"), charset);
    put_phrase(&f, name);
    size_t at = out->n;
    buf_printf(out, " <%.*s>", SLICE_FMT(id));
    put_behind_name(&f, at);
    field_end(&f);
    return 0;
}

static void put_mailbox_field(struct buf *out, enum mime_charset charset, struct slice name,
                              const struct mailbox *m)
{
    struct field f = field_begin(out, name, charset);
    put_mailbox(&f, m);
    field_end(&f);
}

static bool is_one_of(struct slice name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (slice_ieq(name, slice_cstr(names[i])))
            return true;
    return false;
}

static int put_extra(struct buf *out, enum mime_charset charset, const struct mime_header *h, struct err *e)
{
    /* Written from their own members, or by who carries the mail, or never sent. */
    static const char *const TAKEN[] = {"From",
                                        "To",
                                        "Reply-To",
                                        "Subject",
                                        "Date",
                                        "Message-ID",
                                        "List-Id",
                                        "Feedback-ID",
                                        "List-Unsubscribe",
                                        "MIME-Version",
                                        "DKIM-Signature",
                                        "List-Unsubscribe-Post",
                                        "Received",
                                        "Return-Path",
                                        "Bcc"};
    static const char *const STRUCTURED[] = {"Cc",           "Sender",     "In-Reply-To",    "References",
                                             "List-Help",    "List-Post",  "List-Subscribe", "List-Owner",
                                             "List-Archive", "Precedence", "Auto-Submitted"};
    int rc = check_name(h->name, e);
    if (rc)
        return rc;
    if (is_one_of(h->name, TAKEN, COUNT(TAKEN)) || slice_istarts(h->name, S("Content-")))
        return err_set(e, ERR_INVAL, "header %.*s cannot be set as an extra header", SLICE_FMT(h->name));
    if (is_one_of(h->name, STRUCTURED, COUNT(STRUCTURED)))
        return put_structured(out, h->name, h->value, e);
    return put_unstructured(out, charset, h->name, h->value, e);
}

static int put_head(const struct mime_message *m, struct buf *out, struct err *e)
{
    int rc;
    put_mailbox_field(out, m->charset, S("From"), &m->from);
    put_mailbox_field(out, m->charset, S("To"), &m->to);
    if (m->reply_to.addr.local.n)
        put_mailbox_field(out, m->charset, S("Reply-To"), &m->reply_to);
    if ((rc = put_unstructured(out, m->charset, S("Subject"), m->subject, e)))
        return rc;
    buf_adds(out, S("Date: "));
    if ((rc = mime_put_date(out, m->date_unix_s, m->utc_offset_min, e)))
        return rc;
    buf_printf(out, "\r\nMessage-ID: <%.*s>\r\n", SLICE_FMT(m->message_id));
    if (m->list_id.n && (rc = put_list_id(out, m->charset, m->list_id, e)))
        return rc;
    if (m->list_unsubscribe.n && (rc = put_structured(out, S("List-Unsubscribe"), m->list_unsubscribe, e)))
        return rc;
    if (m->list_unsubscribe_post)
        buf_adds(out, S("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"));
    if (m->feedback_id.n && (rc = put_structured(out, S("Feedback-ID"), m->feedback_id, e)))
        return rc;
    for (size_t i = 0; i < m->nextra; i++)
        if ((rc = put_extra(out, m->charset, &m->extra[i], e)))
            return rc;
    buf_adds(out, S("MIME-Version: 1.0\r\n"));
    return 0;
}

/* --- the whole --- */

static int check_message(const struct mime_message *m, struct builder *b, struct err *e)
{
    int rc = check_mailbox(&m->from, "From", e);
    rc = rc ? rc : check_mailbox(&m->to, "To", e);
    if (!rc && m->reply_to.addr.local.n)
        rc = check_mailbox(&m->reply_to, "Reply-To", e);
    rc = rc ? rc : check_text(m->text, "the text", e);
    rc = rc ? rc : check_text(m->html, "the HTML", e);
    rc = rc ? rc : check_text(m->preheader, "the preheader", e);
    for (size_t i = 0; i < m->nparts && !rc; i++) {
        rc = check_part(&m->parts[i], e);
        *(m->parts[i].kind == MIME_INLINE ? &b->ninline : &b->nattached) += 1;
    }
    if (rc)
        return rc;
    if (!is_id(m->message_id, true))
        return err_set(e, ERR_INVAL, "the Message-ID must be like left@example.jp");
    if (!m->text.n && !m->html.n)
        return err_set(e, ERR_MISSING, "a message needs text or html");
    if (!m->html.n && (b->ninline || m->preheader.n))
        return err_set(e, ERR_INVAL, "%s without html has no place to stand in",
                       b->ninline ? "an inline image" : "a preheader");
    return 0;
}

int mime_build(const struct mime_message *message, struct mime_out *out, struct err *e)
{
    struct mime_message m;
    struct builder b = {.m = &m, .out = out, .fields = &out->head};
    buf_clear(&out->head);
    buf_clear(&out->own);
    arena_reset(&out->arena);
    out->nbody = 0;
    out->body_bytes = 0;
    int rc = check_message(message, &b, e);
    rc = rc ? rc : fit_charset(message, &out->arena, &m, &out->unmappable, e);
    rc = rc ? rc : put_head(&m, &out->head, e);
    if (rc)
        return rc;
    b.html = m.html;
    if (m.preheader.n) {
        buf_clear(&out->page);
        preheader_insert(&out->page, m.html, m.preheader);
        b.html = buf_slice(&out->page);
    }
    put_body(&b);
    out->charset = m.charset;
    out->needs_smtputf8 = m.from.addr.needs_smtputf8 || m.to.addr.needs_smtputf8 ||
                          (m.reply_to.addr.local.n && m.reply_to.addr.needs_smtputf8);
    return 0;
}

void mime_encode_attachment(struct buf *out, struct slice data)
{
    base64_lines(out, data);
}

void mime_out_free(struct mime_out *out)
{
    buf_free(&out->head);
    buf_free(&out->own);
    buf_free(&out->text);
    buf_free(&out->flowed);
    buf_free(&out->coded);
    buf_free(&out->page);
    arena_free(&out->arena);
    free(out->body);
    *out = (struct mime_out){0};
}
