/* act_file.c - see act_file.h. */
#include "delivery/act_file.h"
#include "base/words.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

extern const unsigned char rules_backoff_bytes[];
extern const size_t rules_backoff_size;

struct reader {
    const char *name;
    int line;
    struct arena *arena;
    struct act_file file;
    size_t cap, cap_samples;
    bool open; /* a line at the margin, and no sample yet */
    struct err *e;
};

static int bad(struct reader *r, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int bad(struct reader *r, int code, const char *fmt, ...)
{
    va_list ap;
    char text[256];
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_set(r->e, code, "%s:%d: %s", r->name, r->line, text);
}

/* A word; has="two words" is one, without its quotes. */
static struct slice next_word(struct slice *rest)
{
    struct slice s = slice_trim(*rest);
    size_t n = 0;
    bool quoted = false;
    while (n < s.n && (quoted || (s.p[n] != ' ' && s.p[n] != '\t')))
        quoted ^= s.p[n++] == '"';
    *rest = slice_of(s.p + n, s.n - n);
    return slice_of(s.p, n);
}

static int read_part(struct slice value, uint32_t *out)
{
    struct slice whole, fraction;
    uint64_t n;
    whole = slice_cut(value, '.', &fraction);
    if (!slice_eq(whole, S("0")) || !fraction.n || fraction.n > 4 || slice_u64(fraction, &n) || !n)
        return ERR_INVAL;
    for (size_t i = fraction.n; i < 6; i++)
        n *= 10;
    *out = (uint32_t)n;
    return 0;
}

static int read_count(struct slice value, uint32_t *out)
{
    uint64_t n;
    if (slice_u64(value, &n) || !n || n > 1000000)
        return ERR_INVAL;
    *out = (uint32_t)n;
    return 0;
}

static int read_scope(struct slice value, enum act_scope *out)
{
    for (int i = 0; i < ACT_ONE_STREAM; i++) {
        if (slice_eq(value, slice_cstr(act_scope_name((enum act_scope)i)))) {
            *out = (enum act_scope)i;
            return 0;
        }
    }
    return ERR_INVAL;
}

static struct slice unquoted(struct slice s)
{
    return s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"' ? slice_of(s.p + 1, s.n - 2) : s;
}

static int read_want(struct reader *r, struct slice word, struct act_rule *rule)
{
    struct slice value, key = slice_cut(word, '=', &value);
    int rc = 0;
    if (slice_eq(word, S("alert")))
        rule->act.alert = true;
    else if (!value.n)
        return bad(r, ERR_SYNTAX, "\"%.*s\" is no key=value", SLICE_FMT(word));
    else if (slice_eq(key, S("scope")))
        rc = read_scope(value, &rule->act.scope);
    else if (slice_eq(key, S("factor")))
        rc = read_part(value, &rule->act.factor_ppm);
    else if (slice_eq(key, S("for")))
        rc = words_duration(value, &rule->act.for_ms);
    else if (slice_eq(key, S("recover")))
        rc = words_duration(value, &rule->act.recover_ms);
    else if (slice_eq(key, S("within")))
        rc = words_duration(value, &rule->within_ms);
    else if (slice_eq(key, S("after")))
        rc = read_count(value, &rule->after);
    else if (slice_eq(key, S("least")))
        rc = read_count(value, &rule->least);
    else if (slice_eq(key, S("share")))
        rc = read_part(value, &rule->share_ppm);
    else if (slice_eq(key, S("isp")))
        rule->isp = value;
    else if (slice_eq(key, S("has")))
        rule->has = unquoted(value);
    else
        return bad(r, ERR_SYNTAX, "unknown key \"%.*s\"", SLICE_FMT(key));
    return rc ? bad(r, ERR_INVAL, "%.*s cannot be \"%.*s\"", SLICE_FMT(key), SLICE_FMT(value)) : 0;
}

static int read_about(struct reader *r, struct slice about, struct act_rule *rule)
{
    static const char *const failures[] = {"connect", "lost", "timeout", "tls"};
    struct slice value, key = slice_cut(about, ':', &value);
    enum reply_class cls;
    if (!value.n) {
        rule->of = slice_cstr(arena_printf(r->arena, "shipped:%.*s", SLICE_FMT(about)));
        return 0;
    }
    if (slice_eq(key, S("class")) && !class_parse(value, &cls)) {
        rule->classes = 1ull << cls;
        return 0;
    }
    for (size_t i = 0; i < COUNT(failures) && slice_eq(key, S("failure")); i++)
        if (slice_eq(value, slice_cstr(failures[i])))
            rule->failures = 1u << i;
    return rule->failures ? 0 : bad(r, ERR_INVAL, "no \"%.*s\"", SLICE_FMT(about));
}

static int end_rule(struct reader *r)
{
    if (!r->open || r->file.rules[r->file.n - 1].failures)
        return 0;
    return bad(r, ERR_MISSING, "the line above has no `says`");
}

static int begin_rule(struct reader *r, struct slice line)
{
    struct slice word = next_word(&line), about = next_word(&line);
    int kind = ACT_SLOW, rc = end_rule(r);
    while (kind < ACT_SUPPRESS && !slice_eq(word, slice_cstr(act_kind_name((enum act_kind)kind))))
        kind++;
    if (rc)
        return rc;
    if (kind == ACT_SUPPRESS)
        return bad(r, ERR_INVAL, "no act \"%.*s\"", SLICE_FMT(word));
    struct act_rule rule = {
        .act = act_default((enum act_kind)kind), .isp = SLICE_NONE, .of = SLICE_NONE, .has = SLICE_NONE};
    rule.name = slice_cstr(arena_printf(r->arena, "shipped:%s:%d", r->name, r->line));
    if (!about.n)
        return bad(r, ERR_MISSING, "an act needs what it is about");
    if ((rc = read_about(r, about, &rule)))
        return rc;
    while (slice_trim(line).n)
        if ((rc = read_want(r, next_word(&line), &rule)))
            return rc;
    if (r->file.n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 64;
        r->file.rules = mem_realloc(r->file.rules, r->cap * sizeof *r->file.rules);
    }
    r->file.rules[r->file.n++] = rule;
    r->open = true;
    return 0;
}

static int read_below(struct reader *r, struct slice line)
{
    struct slice key = next_word(&line), isp = next_word(&line);
    if (!r->file.n || !slice_eq(key, S("says")) || !slice_trim(line).n)
        return bad(r, ERR_SYNTAX, "below an act stands: says ISP REPLY");
    if (r->file.nsamples == r->cap_samples) {
        r->cap_samples = r->cap_samples ? r->cap_samples * 2 : 64;
        r->file.samples = mem_realloc(r->file.samples, r->cap_samples * sizeof *r->file.samples);
    }
    r->file.samples[r->file.nsamples++] = (struct act_sample){r->file.n - 1, isp, slice_trim(line), r->line};
    r->open = false;
    return 0;
}

int act_file_read(struct slice text, const char *name, struct arena *a, struct act_file *out, struct err *e)
{
    struct reader r = {.name = name, .arena = a, .e = e};
    int rc = 0;
    while (text.n && !rc) {
        struct slice line = slice_cut(text, '\n', &text), words = slice_trim(line);
        r.line++;
        if (!words.n || words.p[0] == '#')
            continue;
        rc = line.p[0] == ' ' || line.p[0] == '\t' ? read_below(&r, words) : begin_rule(&r, words);
    }
    rc = rc ? rc : end_rule(&r);
    if (!rc) {
        *out = r.file;
        out->rules = arena_alloc(a, (r.file.n + 1) * sizeof *out->rules);
        out->samples = arena_alloc(a, (r.file.nsamples + 1) * sizeof *out->samples);
        if (r.file.n)
            memcpy(out->rules, r.file.rules, r.file.n * sizeof *out->rules);
        if (r.file.nsamples)
            memcpy(out->samples, r.file.samples, r.file.nsamples * sizeof *out->samples);
    }
    free(r.file.rules);
    free(r.file.samples);
    return rc;
}

struct slice act_file_shipped(void)
{
    return slice_of((const char *)rules_backoff_bytes, rules_backoff_size);
}
