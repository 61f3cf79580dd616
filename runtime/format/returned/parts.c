/* parts.c - see parts.h. */
#include "format/returned/parts.h"
#include "format/returned/decode.h"

#include <gmime/gmime.h>

void parts_start(void)
{
    g_mime_init();
}

/* --- fields --- */

struct slice fields_get(const struct fields *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (slice_ieq(f->v[i].name, slice_cstr(name)))
            return f->v[i].value;
    return SLICE_NONE;
}

/* A value on one line: clean, folds and runs of blanks as one blank. */
static struct slice one_line(struct slice s, struct arena *a)
{
    struct slice text = decode_text(s, SLICE_NONE, FIELD_BYTES_MAX, a);
    char *p = (char *)text.p; /* ours: decode_text copied it */
    size_t n = 0;

    for (size_t i = 0; i < text.n; i++) {
        char c = p[i] == '\n' || p[i] == '\t' ? ' ' : p[i];
        if (c == ' ' && (n == 0 || p[n - 1] == ' '))
            continue;
        p[n++] = c;
    }
    return slice_trim(slice_of(p, n));
}

/* RFC 2047 where it occurs; GMime wants a C string. */
static struct slice field_value(struct slice raw, struct arena *a)
{
    if (raw.n > FIELD_BYTES_MAX)
        raw.n = FIELD_BYTES_MAX;
    if (slice_find(raw, S("=?")) < 0)
        return one_line(raw, a);
    struct slice unfolded = one_line(raw, a);
    char *text = g_mime_utils_header_decode_text(NULL, arena_copy(a, unfolded).p);
    struct slice r = one_line(slice_cstr(text), a);
    g_free(text);
    return r;
}

static void fields_add(struct fields *f, size_t *cap, struct slice name, struct slice raw, struct arena *a)
{
    if (f->n == MAIL_FIELDS_MAX)
        return;
    if (f->n == *cap) {
        *cap = *cap ? *cap * 2 : 16;
        struct field *v = arena_alloc(a, *cap * sizeof *v);
        if (f->n)
            memcpy(v, f->v, f->n * sizeof *v);
        f->v = v;
    }
    f->v[f->n++] = (struct field){arena_copy(a, name), field_value(raw, a)};
}

/* The name of a field line, or an empty slice. */
static struct slice line_field_name(struct slice line)
{
    size_t n = 0;

    while (n < line.n && n < 77 && line.p[n] > ' ' && line.p[n] < 127 && line.p[n] != ':')
        n++;
    size_t colon = n;
    while (colon < line.n && (line.p[colon] == ' ' || line.p[colon] == '\t'))
        colon++; /* RFC 5322 4.5: blanks before the colon */
    return n && colon < line.n && line.p[colon] == ':' ? slice_of(line.p, n) : SLICE_NONE;
}

size_t fields_read(struct slice text, struct arena *a, struct fields *out)
{
    struct slice rest = text, name = SLICE_NONE, value = SLICE_NONE;
    size_t cap = 0, used = 0;

    *out = (struct fields){0};
    while (rest.n) {
        struct slice line = slice_cut(rest, '\n', &rest);
        struct slice trimmed = slice_trim(line);
        if (trimmed.n == 0)
            break;
        if (line.p[0] == ' ' || line.p[0] == '\t') {
            if (name.n == 0)
                break;
            value.n = (size_t)(line.p + line.n - value.p);
        } else {
            struct slice next = line_field_name(line);
            if (next.n == 0)
                break;
            if (name.n)
                fields_add(out, &cap, name, value, a);
            name = next;
            slice_cut(line, ':', &value);
        }
        used = (size_t)(rest.p - text.p);
    }
    if (name.n)
        fields_add(out, &cap, name, value, a);
    return used;
}

/* --- the tree --- */

struct walk {
    struct arena *a;
    struct mail_parts *out;
};

static void read_head(GMimeHeaderList *list, struct arena *a, struct fields *out)
{
    size_t cap = 0;
    int n = g_mime_header_list_get_count(list);

    for (int i = 0; i < n && i < MAIL_FIELDS_MAX; i++) {
        GMimeHeader *h = g_mime_header_list_get_header_at(list, i);
        fields_add(out, &cap, slice_cstr(g_mime_header_get_name(h)),
                   slice_cstr(g_mime_header_get_raw_value(h)), a);
    }
}

/* The part's bytes without their transfer encoding, at most PART_BYTES_MAX * 2 of them. */
static struct slice content(GMimePart *part, struct arena *a)
{
    GMimeDataWrapper *wrapper = g_mime_part_get_content(part);
    if (!wrapper)
        return SLICE_NONE;
    GMimeStream *source = g_mime_data_wrapper_get_stream(wrapper);
    GMimeContentEncoding encoding = g_mime_data_wrapper_get_encoding(wrapper);
    g_mime_stream_reset(source);
    GMimeStream *stream = g_mime_stream_filter_new(source);
    if (encoding == GMIME_CONTENT_ENCODING_BASE64 || encoding == GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE ||
        encoding == GMIME_CONTENT_ENCODING_UUENCODE) {
        GMimeFilter *filter = g_mime_filter_basic_new(encoding, FALSE);
        g_mime_stream_filter_add(GMIME_STREAM_FILTER(stream), filter);
        g_object_unref(filter);
    }
    struct buf b = {0};
    while (b.n < (size_t)PART_BYTES_MAX * 2) {
        buf_reserve(&b, 8192);
        ssize_t got = g_mime_stream_read(stream, b.p + b.n, 8192);
        if (got <= 0)
            break;
        b.n += (size_t)got;
    }
    g_object_unref(stream);
    struct slice r = arena_copy(a, buf_slice(&b));
    buf_free(&b);
    return r;
}

static bool is_type(GMimeObject *o, const char *type, const char *subtype)
{
    return g_mime_content_type_is_type(g_mime_object_get_content_type(o), type, subtype);
}

static enum part_kind kind_of(GMimeObject *o)
{
    if (is_type(o, "message", "delivery-status") || is_type(o, "message", "global-delivery-status"))
        return PART_STATUS;
    if (is_type(o, "message", "feedback-report"))
        return PART_FEEDBACK;
    if (is_type(o, "message", "disposition-notification"))
        return PART_RECEIPT;
    if (is_type(o, "text", "rfc822-headers") || is_type(o, "message", "global-headers") ||
        is_type(o, "text", "rfc822") || is_type(o, "message", "global"))
        return PART_HEADERS;
    if (is_type(o, "text", "html"))
        return PART_HTML;
    return is_type(o, "text", "*") ? PART_TEXT : PART_OTHER;
}

static void add_leaf(struct walk *w, GMimePart *part, size_t mail)
{
    struct mail_parts *out = w->out;

    if (out->nparts == PARTS_MAX)
        return;
    struct part *p = &out->parts[out->nparts++];
    *p = (struct part){.kind = kind_of(GMIME_OBJECT(part)), .mail = mail, .text = SLICE_NONE};
    if (p->kind == PART_OTHER)
        return;
    const char *charset = g_mime_object_get_content_type_parameter(GMIME_OBJECT(part), "charset");
    p->text = decode_text(content(part, w->a), slice_cstr(charset), PART_BYTES_MAX, w->a);
    if (p->kind == PART_HTML)
        p->text = decode_html(p->text, w->a);
}

static void walk(struct walk *w, GMimeObject *o, size_t mail, unsigned depth);

static size_t add_mail(struct walk *w, GMimeMessage *m, size_t parent, unsigned depth)
{
    struct mail_parts *out = w->out;

    if (out->nmails == MAILS_MAX)
        return MAILS_MAX;
    size_t at = out->nmails++;
    GMimeObject *body = g_mime_message_get_mime_part(m);
    out->mails[at] = (struct mail){.parent = at ? parent : 0, .type = SLICE_NONE};
    read_head(g_mime_object_get_header_list(GMIME_OBJECT(m)), w->a, &out->mails[at].head);
    if (body) {
        char *type = g_mime_content_type_get_mime_type(g_mime_object_get_content_type(body));
        char *lower = g_ascii_strdown(type, -1);
        out->mails[at].type = arena_copy(w->a, slice_cstr(lower));
        g_free(lower);
        g_free(type);
        walk(w, body, at, depth + 1);
    }
    return at;
}

static void walk(struct walk *w, GMimeObject *o, size_t mail, unsigned depth)
{
    if (depth > MAIL_DEPTH_MAX)
        return;
    if (GMIME_IS_MULTIPART(o)) {
        int n = g_mime_multipart_get_count(GMIME_MULTIPART(o));
        for (int i = 0; i < n && w->out->nparts < PARTS_MAX; i++)
            walk(w, g_mime_multipart_get_part(GMIME_MULTIPART(o), i), mail, depth + 1);
    } else if (GMIME_IS_MESSAGE_PART(o)) {
        GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(o));
        if (inner)
            add_mail(w, inner, mail, depth);
    } else if (GMIME_IS_PART(o)) {
        add_leaf(w, GMIME_PART(o), mail);
    }
}

void parts_read(struct slice bytes, struct arena *a, struct mail_parts *out)
{
    *out = (struct mail_parts){0};
    /* An mbox's "From " line, and blank lines that a transport put in front. */
    while (bytes.n && (bytes.p[0] == '\n' || bytes.p[0] == '\r' || slice_starts(bytes, S("From ")) ||
                       slice_starts(bytes, S(">From "))))
        slice_cut(bytes, '\n', &bytes);

    struct walk w = {a, out};
    GMimeStream *stream = g_mime_stream_mem_new_with_buffer(bytes.p, bytes.n);
    GMimeParser *parser = g_mime_parser_new_with_stream(stream);
    g_mime_parser_set_persist_stream(parser, TRUE);
    GMimeMessage *m = g_mime_parser_construct_message(parser, NULL);
    if (m) {
        add_mail(&w, m, 0, 0);
        g_object_unref(m);
    }
    g_object_unref(parser);
    g_object_unref(stream);
    if (out->nmails == 0) { /* not even a header */
        out->nmails = 1;
        out->mails[0] = (struct mail){.type = SLICE_NONE};
    }
    /* A multipart whose boundary never comes: its body is text. */
    bool any = false;
    for (size_t i = 0; i < out->nparts; i++)
        any |= out->parts[i].mail == 0;
    if (!any && out->nmails == 1 && out->nparts < PARTS_MAX) {
        ptrdiff_t at = slice_find(bytes, S("\n\n")), crlf = slice_find(bytes, S("\r\n\r\n"));
        if (crlf >= 0 && (at < 0 || crlf < at))
            at = crlf;
        if (at >= 0)
            out->parts[out->nparts++] =
                (struct part){.kind = PART_TEXT,
                              .text = decode_text(slice_of(bytes.p + at, bytes.n - (size_t)at), SLICE_NONE,
                                                  PART_BYTES_MAX, a)};
    }
}
