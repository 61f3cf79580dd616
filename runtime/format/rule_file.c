/* rule_file.c - see rule_file.h. */
#include "format/rule_file.h"

#include <stdlib.h>

/* Written by scripts/embed-file.cmake. */
extern const unsigned char rules_bounces_bytes[];
extern const size_t rules_bounces_size;

struct reader {
    struct arena *arena;
    const char *name, *prefix;
    int line;
    struct err *e;
    bool has_source;
    struct rule_file file;
    size_t cap, samples_cap;
    /* Of the rule that is being read: */
    struct rule_spec rule;
    size_t first; /* its first spec */
    size_t says, nots;
    bool open;
};

static int bad(struct reader *r, int rc, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int bad(struct reader *r, int rc, const char *fmt, ...)
{
    struct buf why = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&why, fmt, ap);
    va_end(ap);
    err_set(r->e, rc, "%s:%d: %s", r->name, r->line, buf_cstr(&why));
    buf_free(&why);
    return rc;
}

static struct slice next_word(struct slice *rest)
{
    struct slice s = slice_trim(*rest), word;
    size_t n = 0;

    while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t')
        n++;
    word = slice_of(s.p, n);
    *rest = slice_trim(slice_of(s.p + n, s.n - n));
    return word;
}

static void add_spec(struct reader *r, bool words, struct slice pattern)
{
    if (r->file.n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 256;
        r->file.specs = mem_realloc(r->file.specs, r->cap * sizeof *r->file.specs);
    }
    r->rule.words = words;
    r->rule.text = pattern;
    r->file.specs[r->file.n++] = r->rule;
}

/* The rule above is whole. */
static int end_rule(struct reader *r)
{
    if (!r->open)
        return 0;
    r->open = false;
    if (!r->says || !r->nots)
        return bad(r, ERR_MISSING, "the rule above has no `%s`", r->says ? "not" : "says");
    if (r->first == r->file.n)
        add_spec(r, false, SLICE_NONE);
    return 0;
}

static int read_code(struct reader *r, struct slice value, struct rule_spec *spec)
{
    struct slice to, from = slice_cut(value, '-', &to);
    uint64_t a, b;

    if (slice_u64(from, &a) || slice_u64(to.n ? to : from, &b) || a < 200 || b > 599 || a > b)
        return bad(r, ERR_INVAL, "code wants 550 or 500-599, not \"%.*s\"", SLICE_FMT(value));
    spec->code_from = (int)a;
    spec->code_to = (int)b;
    return 0;
}

static int read_want(struct reader *r, struct slice word, struct rule_spec *spec)
{
    struct slice value, key = slice_cut(word, '=', &value);
    enum smtp_phase phase;

    if (slice_eq(word, S("retry"))) {
        spec->retry = true;
        return 0;
    }
    if (!value.n)
        return bad(r, ERR_SYNTAX, "\"%.*s\" is no key=value", SLICE_FMT(word));
    if (slice_eq(key, S("isp"))) {
        spec->isp = value;
    } else if (slice_eq(key, S("enhanced"))) {
        spec->enhanced = value;
    } else if (slice_eq(key, S("code"))) {
        return read_code(r, value, spec);
    } else if (slice_eq(key, S("phase"))) {
        if (smtp_phase_parse(value, &phase))
            return bad(r, ERR_INVAL, "no phase \"%.*s\"", SLICE_FMT(value));
        spec->phases |= rule_phase_bits(phase);
    } else {
        return bad(r, ERR_SYNTAX, "unknown key \"%.*s\"", SLICE_FMT(key));
    }
    return 0;
}

static int begin_rule(struct reader *r, struct slice line)
{
    struct rule_spec spec = {.isp = SLICE_NONE, .enhanced = SLICE_NONE, .text = SLICE_NONE};
    struct slice word = next_word(&line), name = next_word(&line);
    int rc = end_rule(r);

    if (rc)
        return rc;
    if (!r->has_source)
        return bad(r, ERR_MISSING, "a rule without a `source` line before it");
    if (class_parse(word, &spec.cls)) {
        struct slice near = class_near(word);
        return bad(r, ERR_INVAL, "no class \"%.*s\"%s%.*s%s", SLICE_FMT(word),
                   near.n ? "; did you mean \"" : "", SLICE_FMT(near), near.n ? "\"?" : "");
    }
    if (!name.n)
        return bad(r, ERR_MISSING, "a rule needs a name behind its class");
    spec.name = slice_cstr(arena_printf(r->arena, "%s%.*s", r->prefix, SLICE_FMT(name)));
    for (size_t i = 0; i < r->file.n; i++)
        if (slice_eq(r->file.specs[i].name, spec.name))
            return bad(r, ERR_EXISTS, "a second rule \"%.*s\"", SLICE_FMT(name));
    while (line.n)
        if ((rc = read_want(r, next_word(&line), &spec)))
            return rc;
    r->rule = spec;
    r->first = r->file.n;
    r->says = r->nots = 0;
    r->open = true;
    return 0;
}

static int read_below(struct reader *r, struct slice line)
{
    struct slice key = next_word(&line);
    bool words = slice_eq(key, S("words")), miss = slice_eq(key, S("not"));

    if (!r->open)
        return bad(r, ERR_SYNTAX, "an indented line belongs to a rule, and none stands above");
    if (!line.n)
        return bad(r, ERR_SYNTAX, "nothing behind \"%.*s\"", SLICE_FMT(key));
    if (words || slice_eq(key, S("text"))) {
        add_spec(r, words, line);
        return 0;
    }
    if (!miss && !slice_eq(key, S("says")))
        return bad(r, ERR_SYNTAX, "\"%.*s\" is none of text, words, says and not", SLICE_FMT(key));
    *(miss ? &r->nots : &r->says) += 1;
    if (r->file.nsamples == r->samples_cap) {
        r->samples_cap = r->samples_cap ? r->samples_cap * 2 : 64;
        r->file.samples = mem_realloc(r->file.samples, r->samples_cap * sizeof *r->file.samples);
    }
    r->file.samples[r->file.nsamples++] = (struct rule_sample){r->first, miss, line, r->line};
    return 0;
}

static int read_line(struct reader *r, struct slice line)
{
    struct slice rest = line;

    if (!slice_trim(line).n || slice_trim(line).p[0] == '#')
        return 0;
    if (line.p[0] == ' ' || line.p[0] == '\t')
        return read_below(r, line);
    if (!slice_eq(next_word(&rest), S("source")))
        return begin_rule(r, line);
    if (!rest.n)
        return bad(r, ERR_SYNTAX, "nothing behind \"source\"");
    r->has_source = true;
    return 0;
}

/* From the growing arrays of the reader into the arena. */
static void keep(struct reader *r, struct rule_file *out)
{
    struct rule_file f = r->file;

    f.specs = arena_zalloc(r->arena, (f.n + 1) * sizeof *f.specs);
    f.samples = arena_zalloc(r->arena, (f.nsamples + 1) * sizeof *f.samples);
    if (f.n)
        memcpy(f.specs, r->file.specs, f.n * sizeof *f.specs);
    if (f.nsamples)
        memcpy(f.samples, r->file.samples, f.nsamples * sizeof *f.samples);
    *out = f;
}

int rule_file_read(struct slice text, const char *name, const char *prefix, struct arena *a,
                   struct rule_file *out, struct err *e)
{
    struct reader r = {.arena = a, .name = name, .prefix = prefix, .e = e};
    int rc = 0;

    while (text.n && !rc) {
        r.line++;
        rc = read_line(&r, slice_cut(text, '\n', &text));
    }
    if (!rc)
        rc = end_rule(&r);
    if (!rc)
        keep(&r, out);
    free(r.file.specs);
    free(r.file.samples);
    return rc;
}

/* --- what ships --- */

struct slice rule_file_shipped(void)
{
    return slice_of(rules_bounces_bytes, rules_bounces_size);
}

int rules_compile_shipped(const struct rule_spec *specs, size_t n, struct rules **out, struct err *e)
{
    struct arena arena = {0};
    struct rule_file file;
    int rc = rule_file_read(rule_file_shipped(), "bounces.rules", "shipped:", &arena, &file, e);

    if (!rc) {
        struct rule_spec *all = arena_alloc(&arena, (n + file.n + 1) * sizeof *all);
        if (n)
            memcpy(all, specs, n * sizeof *all);
        memcpy(all + n, file.specs, file.n * sizeof *all);
        rc = rules_compile(all, n + file.n, out, e);
    }
    arena_free(&arena);
    return rc;
}
