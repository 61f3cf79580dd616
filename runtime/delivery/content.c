/* content.c - see content.h. */
#include "delivery/content.h"
#include "format/charset.h"
#include "format/iso2022jp.h"
#include "format/mp.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { FROZEN_VERSION = 1, DEPTH_MOST = 16 };

/* Where a slot's value comes from, if from no column. */
enum { FROM_NOWHERE = UINT16_MAX, FROM_ADDRESS = UINT16_MAX - 1, FROM_TOKEN = UINT16_MAX - 2 };

/* The order of a content's templates; headers come behind. */
enum { T_SUBJECT, T_PREHEADER, T_FROM, T_REPLY_TO, T_TEXT, T_HTML, T_FIXED };

struct template
{
    struct liquid *program; /* NULL: none */
    struct slice header;    /* name, behind T_FIXED */
};

/* The columns of one kind of record: which column each slot of each template is. */
struct binding {
    uint32_t number;
    uint32_t ncolumns;
    uint16_t **slots; /* one array a template */
    struct binding *next;
};

struct content {
    struct template *templates;
    size_t n;
    _Atomic(struct binding *) bindings; /* newest first; never taken off */
    struct binding *bare;               /* of records without columns */
    struct mime_part *parts;
    size_t nparts;
    struct buf *encoded;
    bool missing_empty, must_map;
    struct arena arena;
};

/* --- compiling --- */

static int find_partial(void *arg, struct slice name, struct slice *source)
{
    const struct conf_content *c = arg;
    for (size_t i = 0; i < c->npartials; i++) {
        if (slice_eq(c->partials[i].name, name)) {
            *source = c->partials[i].text;
            return 0;
        }
    }
    return ERR_NOTFOUND;
}

static int compile_one(const struct conf_content *c, struct slice source, struct slice name,
                       enum liquid_escape escape, struct template *t, struct err *e)
{
    char text[256];
    if (!source.n)
        return 0;
    snprintf(text, sizeof text, "%.*s", SLICE_FMT(name));
    struct slice names[256];
    size_t n = 0;
    for (; n < c->npartials && n < COUNT(names); n++)
        names[n] = c->partials[n].name;
    struct liquid_options o = {.name = text,
                               .escape = escape,
                               .resolve = find_partial,
                               .arg = (void *)c,
                               .partials = names,
                               .npartials = n};
    return liquid_compile(source, &o, &t->program, e);
}

static struct binding *binding_new(const struct content *c, uint32_t number, struct slice columns)
{
    struct binding *b = mem_zalloc(sizeof *b);
    b->number = number;
    b->slots = mem_zalloc(c->n * sizeof *b->slots);
    struct slice names[1000];
    for (struct slice rest = columns; rest.n && b->ncolumns < COUNT(names);)
        names[b->ncolumns++] = slice_cut(rest, 0x1f, &rest);
    for (size_t t = 0; t < c->n; t++) {
        size_t n = c->templates[t].program ? liquid_slots(c->templates[t].program) : 0;
        b->slots[t] = mem_alloc((n + 1) * sizeof **b->slots);
        for (size_t i = 0; i < n; i++) {
            struct slice name = liquid_slot_name(c->templates[t].program, i);
            uint16_t from = FROM_NOWHERE;
            if (slice_eq(name, S("email")))
                from = FROM_ADDRESS;
            else if (slice_eq(name, S("token")))
                from = FROM_TOKEN;
            for (uint32_t k = 0; k < b->ncolumns; k++) {
                if (slice_eq(names[k], name)) {
                    from = (uint16_t)k;
                    break;
                }
            }
            b->slots[t][i] = from;
        }
    }
    return b;
}

static void binding_free(const struct content *c, struct binding *b)
{
    for (size_t t = 0; t < c->n; t++)
        free(b->slots[t]);
    free(b->slots);
    free(b);
}

static void encode_files(struct content *c, const struct conf_content *conf)
{
    c->nparts = conf->nfiles;
    c->parts = mem_zalloc((conf->nfiles + 1) * sizeof *c->parts);
    c->encoded = mem_zalloc((conf->nfiles + 1) * sizeof *c->encoded);
    for (size_t i = 0; i < conf->nfiles; i++) {
        const struct conf_file *f = &conf->files[i];
        mime_encode_attachment(&c->encoded[i], f->data);
        c->parts[i] = (struct mime_part){.kind = f->cid.n ? MIME_INLINE : MIME_ATTACHMENT,
                                         .content_type = arena_copy(&c->arena, f->type),
                                         .filename = arena_copy(&c->arena, f->name),
                                         .content_id = arena_copy(&c->arena, f->cid),
                                         .data = buf_slice(&c->encoded[i]),
                                         .encoded = true};
    }
}

int content_compile(const struct conf_content *conf, struct slice name, struct content **out, struct err *e)
{
    struct content *c = mem_zalloc(sizeof *c);
    const struct {
        struct slice source, name;
        enum liquid_escape escape;
    } fixed[T_FIXED] = {
        [T_SUBJECT] = {conf->subject, S("subject"), LIQUID_ESCAPE_NONE},
        [T_PREHEADER] = {conf->preheader, S("preheader"), LIQUID_ESCAPE_NONE},
        [T_FROM] = {conf->from, S("from"), LIQUID_ESCAPE_NONE},
        [T_REPLY_TO] = {conf->reply_to, S("reply_to"), LIQUID_ESCAPE_NONE},
        [T_TEXT] = {conf->text, conf->text_path, LIQUID_ESCAPE_NONE},
        [T_HTML] = {conf->html, conf->html_path, LIQUID_ESCAPE_HTML},
    };
    int r = 0;
    c->missing_empty = conf->missing_empty;
    c->n = T_FIXED + conf->nheaders;
    c->templates = mem_zalloc(c->n * sizeof *c->templates);
    for (size_t i = 0; !r && i < T_FIXED; i++)
        r = compile_one(conf, fixed[i].source, fixed[i].name, fixed[i].escape, &c->templates[i], e);
    c->templates[T_SUBJECT].header = S("subject");
    c->templates[T_FROM].header = S("from");
    c->templates[T_REPLY_TO].header = S("reply_to");
    for (size_t i = 0; !r && i < conf->nheaders; i++) {
        struct template *t = &c->templates[T_FIXED + i];
        t->header = arena_copy(&c->arena, conf->headers[i].name);
        r = compile_one(conf, conf->headers[i].value, t->header, LIQUID_ESCAPE_NONE, t, e);
    }
    if (r) {
        err_prefix(e, "%.*s: ", SLICE_FMT(name));
        content_free(c);
        return r;
    }
    encode_files(c, conf);
    c->bare = binding_new(c, 0, SLICE_NONE);
    *out = c;
    return 0;
}

void content_must_map(struct content *c)
{
    c->must_map = true;
}

void content_free(struct content *c)
{
    if (!c)
        return;
    for (struct binding *b = atomic_load(&c->bindings), *next; b; b = next) {
        next = b->next;
        binding_free(c, b);
    }
    if (c->bare)
        binding_free(c, c->bare);
    for (size_t i = 0; i < c->n; i++)
        liquid_free(c->templates[i].program);
    for (size_t i = 0; i < c->nparts; i++)
        buf_free(&c->encoded[i]);
    free(c->templates);
    free(c->parts);
    free(c->encoded);
    arena_free(&c->arena);
    free(c);
}

const struct mime_part *content_parts(const struct content *c, size_t *n)
{
    *n = c->nparts;
    return c->parts;
}

/* --- freezing --- */

void content_freeze(const struct conf_content *c, struct buf *out)
{
    mp_put_array(out, 14);
    mp_put_uint(out, FROZEN_VERSION);
    mp_put_str(out, c->subject);
    mp_put_str(out, c->preheader);
    mp_put_str(out, c->from);
    mp_put_str(out, c->reply_to);
    mp_put_str(out, c->text);
    mp_put_str(out, c->html);
    mp_put_str(out, c->text_path);
    mp_put_str(out, c->html_path);
    mp_put_array(out, (uint32_t)c->nheaders);
    for (size_t i = 0; i < c->nheaders; i++) {
        mp_put_array(out, 2);
        mp_put_str(out, c->headers[i].name);
        mp_put_str(out, c->headers[i].value);
    }
    mp_put_array(out, (uint32_t)c->nfiles);
    for (size_t i = 0; i < c->nfiles; i++) {
        mp_put_array(out, 5);
        mp_put_str(out, c->files[i].path);
        mp_put_str(out, c->files[i].name);
        mp_put_str(out, c->files[i].type);
        mp_put_str(out, c->files[i].cid);
        mp_put_bin(out, c->files[i].data);
    }
    mp_put_array(out, (uint32_t)c->npartials);
    for (size_t i = 0; i < c->npartials; i++) {
        mp_put_array(out, 2);
        mp_put_str(out, c->partials[i].name);
        mp_put_str(out, c->partials[i].text);
    }
    mp_put_str(out, c->columns);
    mp_put_bool(out, c->missing_empty);
}

static int get_str(struct mp *m, struct slice *out)
{
    struct mp_value v;
    if (mp_next(m, &v) || (v.kind != MP_STR && v.kind != MP_BIN))
        return ERR_SYNTAX;
    *out = v.s;
    return 0;
}

static int get_array(struct mp *m, uint32_t want, uint32_t *n)
{
    struct mp_value v;
    if (mp_next(m, &v) || v.kind != MP_ARRAY || (want && v.n != want))
        return ERR_SYNTAX;
    if (n)
        *n = v.n;
    return 0;
}

static int get_strs(struct mp *m, struct slice *const *out, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (get_str(m, out[i]))
            return ERR_SYNTAX;
    return 0;
}

int content_thaw(struct slice frozen, struct arena *a, struct conf_content *out)
{
    struct mp m = {frozen};
    struct mp_value v;
    struct conf_content c = conf_content_empty();
    uint32_t n;
    if (get_array(&m, 0, &n) || mp_next(&m, &v) || v.kind != MP_UINT)
        return ERR_SYNTAX;
    if (v.u != FROZEN_VERSION)
        return ERR_VERSION;
    struct slice *const fixed[] = {&c.subject, &c.preheader, &c.from,      &c.reply_to,
                                   &c.text,    &c.html,      &c.text_path, &c.html_path};
    if (n != 14 || get_strs(&m, fixed, COUNT(fixed)) || get_array(&m, 0, &n))
        return ERR_SYNTAX;
    c.nheaders = n;
    c.headers = arena_alloc(a, n * sizeof *c.headers);
    for (size_t i = 0; i < c.nheaders; i++) {
        struct slice *const pair[] = {&c.headers[i].name, &c.headers[i].value};
        if (get_array(&m, 2, NULL) || get_strs(&m, pair, 2))
            return ERR_SYNTAX;
    }
    if (get_array(&m, 0, &n))
        return ERR_SYNTAX;
    c.nfiles = n;
    c.files = arena_alloc(a, n * sizeof *c.files);
    for (size_t i = 0; i < c.nfiles; i++) {
        struct conf_file *f = &c.files[i];
        struct slice *const all[] = {&f->path, &f->name, &f->type, &f->cid, &f->data};
        if (get_array(&m, 5, NULL) || get_strs(&m, all, 5))
            return ERR_SYNTAX;
    }
    if (get_array(&m, 0, &n))
        return ERR_SYNTAX;
    c.npartials = n;
    c.partials = arena_alloc(a, n * sizeof *c.partials);
    for (size_t i = 0; i < c.npartials; i++) {
        struct slice *const pair[] = {&c.partials[i].name, &c.partials[i].text};
        if (get_array(&m, 2, NULL) || get_strs(&m, pair, 2))
            return ERR_SYNTAX;
    }
    if (get_str(&m, &c.columns) || mp_next(&m, &v) || v.kind != MP_BOOL || m.rest.n)
        return ERR_SYNTAX;
    c.missing_empty = v.b;
    *out = c;
    return 0;
}

void content_hash(struct slice frozen, char out[65])
{
    unsigned char digest[32];
    unsigned n = 0;
    INVARIANT(EVP_Digest(frozen.p, frozen.n, digest, &n, EVP_sha256(), NULL) == 1 && n == 32);
    for (unsigned i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

bool content_difference(const struct conf_content *was, const struct conf_content *is, struct buf *out)
{
    const struct {
        const char *what;
        struct slice was, is, path;
    } rows[] = {{"subject", was->subject, is->subject, SLICE_NONE},
                {"preheader", was->preheader, is->preheader, SLICE_NONE},
                {"from", was->from, is->from, SLICE_NONE},
                {"reply_to", was->reply_to, is->reply_to, SLICE_NONE},
                {"text", was->text, is->text, is->text_path},
                {"html", was->html, is->html, is->html_path}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (slice_eq(rows[i].was, rows[i].is))
            continue;
        buf_printf(out, "%s", rows[i].what);
        if (rows[i].path.n)
            buf_printf(out, " (%.*s)", SLICE_FMT(rows[i].path));
        return true;
    }
    if (was->missing_empty != is->missing_empty) {
        buf_adds(out, S("missing"));
        return true;
    }
    for (size_t i = 0; i < was->nheaders || i < is->nheaders; i++) {
        const struct conf_header *a = i < was->nheaders ? &was->headers[i] : NULL;
        const struct conf_header *b = i < is->nheaders ? &is->headers[i] : NULL;
        if (a && b && slice_eq(a->name, b->name) && slice_eq(a->value, b->value))
            continue;
        buf_printf(out, "header %.*s", SLICE_FMT((b ? b : a)->name));
        return true;
    }
    for (size_t i = 0; i < was->nfiles || i < is->nfiles; i++) {
        const struct conf_file *a = i < was->nfiles ? &was->files[i] : NULL;
        const struct conf_file *b = i < is->nfiles ? &is->files[i] : NULL;
        if (a && b && slice_eq(a->name, b->name) && slice_eq(a->type, b->type) && slice_eq(a->cid, b->cid) &&
            slice_eq(a->data, b->data))
            continue;
        buf_printf(out, "file %.*s", SLICE_FMT((b ? b : a)->path));
        return true;
    }
    for (size_t i = 0; i < was->npartials || i < is->npartials; i++) {
        const struct conf_partial *a = i < was->npartials ? &was->partials[i] : NULL;
        const struct conf_partial *b = i < is->npartials ? &is->partials[i] : NULL;
        if (a && b && slice_eq(a->name, b->name) && slice_eq(a->text, b->text))
            continue;
        buf_printf(out, "partial %.*s", SLICE_FMT((b ? b : a)->name));
        return true;
    }
    return false;
}

/* --- values --- */

void content_add_columns(struct content *c, uint32_t number, struct slice columns)
{
    if (!number)
        return;
    for (struct binding *b = atomic_load(&c->bindings); b; b = b->next)
        if (b->number == number)
            return;
    struct binding *b = binding_new(c, number, columns);
    b->next = atomic_load(&c->bindings);
    atomic_store(&c->bindings, b); /* whoever sees it sees all of it */
}

static const struct binding *binding_of(const struct content *c, uint32_t number)
{
    if (!number)
        return c->bare;
    for (struct binding *b = atomic_load(&((struct content *)c)->bindings); b; b = b->next)
        if (b->number == number)
            return b;
    return NULL;
}

static int to_value(struct mp *m, struct arena *a, int depth, struct liquid_value *out)
{
    struct mp_value v;
    if (mp_next(m, &v) || depth > DEPTH_MOST)
        return ERR_SYNTAX;
    switch (v.kind) {
    case MP_NIL:
        *out = liquid_nil();
        return 0;
    case MP_BOOL:
        *out = liquid_bool(v.b);
        return 0;
    case MP_INT:
        *out = liquid_int(v.i);
        return 0;
    case MP_UINT:
        *out = liquid_int(v.u > INT64_MAX ? INT64_MAX : (int64_t)v.u);
        return 0;
    case MP_FLOAT:
        *out = liquid_float(v.d);
        return 0;
    case MP_STR:
    case MP_BIN:
        *out = v.s.n ? liquid_string(v.s) : liquid_nil(); /* an empty cell says nothing */
        return 0;
    case MP_ARRAY: {
        struct liquid_value *items = arena_alloc(a, (v.n + 1) * sizeof *items);
        for (uint32_t i = 0; i < v.n; i++)
            if (to_value(m, a, depth + 1, &items[i]))
                return ERR_SYNTAX;
        *out = (struct liquid_value){.type = LIQUID_ARRAY, .n = v.n, .items = items};
        return 0;
    }
    case MP_MAP: {
        struct liquid_pair *pairs = arena_alloc(a, (v.n + 1) * sizeof *pairs);
        for (uint32_t i = 0; i < v.n; i++)
            if (to_value(m, a, depth + 1, &pairs[i].key) || pairs[i].key.type != LIQUID_STRING ||
                to_value(m, a, depth + 1, &pairs[i].value))
                return ERR_SYNTAX;
        *out = (struct liquid_value){.type = LIQUID_MAP, .n = v.n, .pairs = pairs};
        return 0;
    }
    }
    return ERR_SYNTAX;
}

static int to_cells(struct slice values, uint32_t ncolumns, struct arena *a, struct liquid_value **out)
{
    struct liquid_value *cells = arena_alloc(a, (ncolumns + 1) * sizeof *cells);
    struct mp m = {values};
    struct mp_value head = {.n = 0};
    if (values.n && (mp_next(&m, &head) || head.kind != MP_ARRAY))
        return ERR_SYNTAX;
    for (uint32_t i = 0; i < ncolumns; i++) {
        cells[i] = liquid_nil();
        if (i < head.n && to_value(&m, a, 0, &cells[i]))
            return ERR_SYNTAX;
    }
    *out = cells;
    return 0;
}

/* The slots of template t. */
static struct liquid_value *fill(const struct content *c, const struct binding *b, size_t t,
                                 const struct liquid_value *cells, const struct content_values *v,
                                 struct arena *a)
{
    size_t n = liquid_slots(c->templates[t].program);
    struct liquid_value *slots = arena_alloc(a, (n + 1) * sizeof *slots);
    for (size_t i = 0; i < n; i++) {
        uint16_t from = b->slots[t][i];
        if (from < b->ncolumns)
            slots[i] = cells[from];
        else if (from == FROM_ADDRESS)
            slots[i] = liquid_string(v->address);
        else if (from == FROM_TOKEN)
            slots[i] = liquid_string(v->token);
        else
            slots[i] = liquid_nil();
    }
    return slots;
}

static struct liquid_input input_of(const struct content *c, const struct liquid_value *slots,
                                    const struct content_values *v)
{
    return (struct liquid_input){.slots = slots,
                                 .missing = c->missing_empty ? LIQUID_MISSING_EMPTY : LIQUID_MISSING_ERROR,
                                 .now_unix_s = v->now_s,
                                 .offset_at = v->offset_at,
                                 .offset_arg = v->offset_arg};
}

static int missing(const struct content *c, const struct binding *b, const struct liquid_value *cells,
                   struct slice address, struct arena *a, struct err *e)
{
    struct content_values v = {.address = address, .token = S("token")};
    for (size_t t = 0; t < c->n; t++) {
        if (!c->templates[t].program)
            continue;
        struct liquid_input in = input_of(c, fill(c, b, t, cells, &v, a), &v);
        int r = liquid_missing(c->templates[t].program, &in, a, e);
        if (r)
            return r;
    }
    return 0;
}

int content_missing(const struct content *c, uint32_t columns, const struct slice *cells,
                    struct slice address, struct arena *a, struct err *e)
{
    const struct binding *b = binding_of(c, columns);
    INVARIANT(b);
    if (c->missing_empty)
        return 0;
    struct liquid_value *values = arena_alloc(a, (b->ncolumns + 1) * sizeof *values);
    for (uint32_t i = 0; i < b->ncolumns; i++)
        values[i] = cells[i].n ? liquid_string(cells[i]) : liquid_nil();
    return missing(c, b, values, address, a, e);
}

/* Whether a value may break a line of a header, or is no text at all. */
static int look_at_text(const struct binding *b, const struct liquid_value *cells, bool *suspicious,
                        struct err *e)
{
    for (uint32_t i = 0; i < b->ncolumns; i++) {
        if (cells[i].type == LIQUID_ARRAY || cells[i].type == LIQUID_MAP)
            *suspicious = true;
        if (cells[i].type != LIQUID_STRING)
            continue;
        struct slice text = slice_of(cells[i].s, cells[i].n);
        if (utf8_line_prefix(text) == text.n)
            continue;
        *suspicious = true;
        size_t good = utf8_prefix(text);
        if (good < text.n)
            return err_set(e, ERR_INVAL, "a value is not valid UTF-8: its byte %zu is 0x%02x", good + 1,
                           (unsigned char)text.p[good]);
    }
    return 0;
}

/* A header is one line. What would break it is found here, since a mail that was accepted cannot be mended.
 */
static int check_headers(const struct content *c, const struct binding *b, const struct liquid_value *cells,
                         struct slice address, struct arena *a, struct err *e)
{
    struct content_values v = {.address = address, .token = S("token")};
    struct buf out = {0};
    bool suspicious = false;
    int r = look_at_text(b, cells, &suspicious, e);
    for (size_t t = 0; !r && suspicious && t < c->n; t++) {
        bool header = t == T_SUBJECT || t == T_FROM || t == T_REPLY_TO || t >= T_FIXED;
        if (!header || !c->templates[t].program)
            continue;
        struct liquid_input in = input_of(c, fill(c, b, t, cells, &v, a), &v);
        buf_clear(&out);
        r = liquid_render(c->templates[t].program, &in, a, &out, e);
        size_t good = utf8_line_prefix(buf_slice(&out));
        if (!r && good < out.n)
            r = err_set(e, ERR_INVAL,
                        "%.*s would have a line break or another control character in it (at byte %zu)",
                        SLICE_FMT(c->templates[t].header), good + 1);
    }
    buf_free(&out);
    return r;
}

static int check_mappable(const struct content *c, const struct binding *b, const struct liquid_value *cells,
                          struct slice address, struct arena *a, struct err *e)
{
    struct content_values v = {.address = address, .token = S("-")};
    struct buf out = {0};
    int r = 0;
    for (size_t t = 0; !r && t < c->n; t++) {
        static const char *const names[T_FIXED] = {
            [T_SUBJECT] = "the subject", [T_PREHEADER] = "the preheader", [T_FROM] = "from",
            [T_REPLY_TO] = "reply_to",   [T_TEXT] = "the text",           [T_HTML] = "the HTML"};
        char what[96];
        if (!c->templates[t].program)
            continue;
        snprintf(what, sizeof what, "header %.*s", SLICE_FMT(c->templates[t].header));
        struct liquid_input in = input_of(c, fill(c, b, t, cells, &v, a), &v);
        buf_clear(&out);
        r = liquid_render(c->templates[t].program, &in, a, &out, e);
        r = r ? r : iso2022jp_check(buf_slice(&out), t < T_FIXED ? names[t] : what, e);
    }
    buf_free(&out);
    return r;
}

int content_missing_values(const struct content *c, uint32_t columns, struct slice values,
                           struct slice address, struct arena *a, struct err *e)
{
    const struct binding *b = binding_of(c, columns);
    struct liquid_value *cells;
    INVARIANT(b);
    if (to_cells(values, b->ncolumns, a, &cells))
        return err_set(e, ERR_SYNTAX, "the values cannot be read");
    int r = c->missing_empty ? 0 : missing(c, b, cells, address, a, e);
    r = r ? r : check_headers(c, b, cells, address, a, e);
    return !r && c->must_map ? check_mappable(c, b, cells, address, a, e) : r;
}

/* --- rendering --- */

void content_scratch_free(struct content_scratch *s)
{
    for (size_t i = 0; i < s->n; i++)
        buf_free(&s->out[i]);
    free(s->out);
    *s = (struct content_scratch){0};
}

int content_render(const struct content *c, uint32_t columns, struct slice values,
                   const struct content_values *v, struct content_scratch *s, struct arena *a,
                   struct content_rendered *out, struct err *e)
{
    const struct binding *b = binding_of(c, columns);
    struct liquid_value *cells;
    if (!b)
        return err_set(e, ERR_NOTFOUND, "the names of columns %u are not known", columns);
    if (to_cells(values, b->ncolumns, a, &cells))
        return err_set(e, ERR_SYNTAX, "the values cannot be read");
    if (s->n < c->n) {
        s->out = mem_realloc(s->out, c->n * sizeof *s->out);
        memset(s->out + s->n, 0, (c->n - s->n) * sizeof *s->out);
        s->n = c->n;
    }
    struct mime_header *headers = arena_alloc(a, (c->n - T_FIXED + 1) * sizeof *headers);
    for (size_t t = 0; t < c->n; t++) {
        buf_clear(&s->out[t]);
        if (!c->templates[t].program)
            continue;
        struct liquid_input in = input_of(c, fill(c, b, t, cells, v, a), v);
        int r = liquid_render(c->templates[t].program, &in, a, &s->out[t], e);
        if (r)
            return r;
    }
    for (size_t t = T_FIXED; t < c->n; t++)
        headers[t - T_FIXED] = (struct mime_header){c->templates[t].header, buf_slice(&s->out[t])};
    *out = (struct content_rendered){.subject = buf_slice(&s->out[T_SUBJECT]),
                                     .preheader = buf_slice(&s->out[T_PREHEADER]),
                                     .from = buf_slice(&s->out[T_FROM]),
                                     .reply_to = buf_slice(&s->out[T_REPLY_TO]),
                                     .text = buf_slice(&s->out[T_TEXT]),
                                     .html = buf_slice(&s->out[T_HTML]),
                                     .headers = headers,
                                     .nheaders = c->n - T_FIXED};
    return 0;
}
