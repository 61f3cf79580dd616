/* rule.c - see rule.h.
 *
 * Hundreds of patterns over a text would cost far more than the text is worth. So what a pattern cannot match
 * without (its needles, rule_needle.h) is looked for first, for all patterns in one pass over the text. Rules
 * whose needles are absent are out; the few others are asked in order. */
#include "format/rule.h"
#include "format/charset.h"
#include "format/rule_needle.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    MATCH_LIMIT = 100000, /* steps of PCRE2 for one pattern on one text; the shipped ones take hundreds */
    DEPTH_LIMIT = 5000,
    HEAP_LIMIT_KIB = 1024,
};

struct enhanced_want {
    uint16_t cls; /* 0: any */
    int subject;  /* -1: any */
    int from, to; /* details; from -1: any */
};

struct rule {
    char *name;
    int isp; /* index into rules.isps; -1: any */
    unsigned phases;
    short code_from, code_to;
    bool has_enhanced, words, retry;
    struct enhanced_want enhanced;
    enum reply_class cls;
    pcre2_code *text; /* NULL: any */
};

struct rules {
    struct rule *v;
    size_t n;
    struct slice *isps; /* each name once; owned */
    size_t nisps;
    struct haystack *in_text, *in_words; /* needles; a bit a rule */
    uint64_t *always;                    /* bits of rules of which no needle is known */
};

struct rule_work {
    pcre2_match_data *match;
    pcre2_match_context *limits;
    struct buf text, words;
    uint64_t *maybe; /* bits of rules that may match */
    size_t cap;      /* of maybe, in words */
};

unsigned rule_phase_bits(enum smtp_phase named)
{
    return 1u << named | (named == SMTP_PHASE_DATA ? 1u << SMTP_PHASE_EOD : 0);
}

/* --- the enhanced status a rule wants --- */

static size_t read_number(struct slice s, int *out)
{
    size_t n = 0;

    *out = 0;
    while (n < s.n && n < 3 && s.p[n] >= '0' && s.p[n] <= '9')
        *out = *out * 10 + (s.p[n++] - '0');
    return n;
}

static int enhanced_bad(struct slice text, struct err *e)
{
    return err_set(
        e, ERR_INVAL,
        "enhanced wants a status such as \"4.7.28\", or its beginning with a dot such as \"5.7.\", not "
        "\"%.*s\"",
        SLICE_FMT(text));
}

static int enhanced_read(struct slice text, struct enhanced_want *out, struct err *e)
{
    struct enhanced_want w = {.subject = -1, .from = -1, .to = -1};
    struct slice s = text;
    size_t n;

    if (s.n < 2 || !strchr("245xX", s.p[0]) || s.p[1] != '.')
        return enhanced_bad(text, e);
    w.cls = s.p[0] == 'x' || s.p[0] == 'X' ? 0 : (uint16_t)(s.p[0] - '0');
    s = slice_of(s.p + 2, s.n - 2);
    if (s.n) {
        n = read_number(s, &w.subject);
        if (!n || n == s.n || s.p[n] != '.')
            return enhanced_bad(text, e);
        s = slice_of(s.p + n + 1, s.n - n - 1);
    }
    if (s.n) {
        if (!(n = read_number(s, &w.from)))
            return enhanced_bad(text, e);
        w.to = w.from;
        s = slice_of(s.p + n, s.n - n);
        if (s.n && s.p[0] == '-') {
            n = read_number(slice_of(s.p + 1, s.n - 1), &w.to);
            s = slice_of(s.p + 1 + n, s.n - 1 - n);
            if (!n || w.to < w.from)
                return enhanced_bad(text, e);
        }
        if (s.n)
            return enhanced_bad(text, e);
    }
    *out = w;
    return 0;
}

static bool enhanced_fits(const struct enhanced_want *w, const struct smtp_enhanced *e)
{
    return (!w->cls || w->cls == e->cls) && (w->subject < 0 || w->subject == e->subject) &&
           (w->from < 0 || (e->detail >= w->from && e->detail <= w->to));
}

/* --- patterns --- */

static int pattern_compile(struct slice text, pcre2_code **out, struct err *e)
{
    int code;
    PCRE2_SIZE at;
    PCRE2_UCHAR why[128];

    if (text.n > RULE_PATTERN_MAX)
        return err_set(e, ERR_LIMIT, "text is a pattern of %zu bytes; at most %d", text.n, RULE_PATTERN_MAX);
    if (!utf8_valid(text))
        return err_set(e, ERR_INVAL, "text is not UTF-8");
    pcre2_code *p = pcre2_compile((PCRE2_SPTR)text.p, text.n,
                                  PCRE2_CASELESS | PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &at, NULL);
    if (!p) {
        if (pcre2_get_error_message(code, why, sizeof why) < 0)
            snprintf((char *)why, sizeof why, "PCRE2 error %d", code);
        return err_set(e, ERR_INVAL, "text \"%.*s\": %s at character %zu", SLICE_FMT(text), (const char *)why,
                       utf8_count(slice_of(text.p, at < text.n ? at : text.n)) + 1);
    }
    *out = p;
    return 0;
}

static bool pattern_found(const pcre2_code *p, struct rule_work *w, struct slice text)
{
    /* Beyond a limit is no match; text is UTF-8 by prepare(). */
    return pcre2_match(p, (PCRE2_SPTR)text.p, text.n, 0, PCRE2_NO_UTF_CHECK, w->match, w->limits) >= 0;
}

/* --- compile --- */

static int isp_index(const struct rules *r, struct slice name)
{
    for (size_t i = 0; i < r->nisps; i++)
        if (slice_eq(r->isps[i], name))
            return (int)i;
    return -1;
}

static int rule_compile(const struct rule_spec *spec, struct rule *out, struct err *e)
{
    struct rule r = {.isp = -1,
                     .phases = spec->phases,
                     .code_from = (short)spec->code_from,
                     .code_to = (short)spec->code_to,
                     .words = spec->words,
                     .retry = spec->retry,
                     .cls = spec->cls};
    int rc;

    if (spec->code_from < 0 || spec->code_to > 999 || spec->code_from > spec->code_to)
        return err_set(e, ERR_INVAL, "code wants a number such as 550, or from and to such as 500 and 599");
    if (spec->enhanced.n) {
        if ((rc = enhanced_read(spec->enhanced, &r.enhanced, e)))
            return rc;
        r.has_enhanced = true;
    }
    if (spec->text.n && (rc = pattern_compile(spec->text, &r.text, e)))
        return rc;
    *out = r;
    return 0;
}

int rule_check(const struct rule_spec *spec, struct err *e)
{
    struct rule r;
    int rc = rule_compile(spec, &r, e);

    if (!rc)
        pcre2_code_free(r.text);
    return rc;
}

static bool enhanced_covers(struct slice a, struct slice b)
{
    struct enhanced_want x, y;
    if (!a.n)
        return true;
    if (!b.n || enhanced_read(a, &x, NULL) || enhanced_read(b, &y, NULL))
        return false;
    return (!x.cls || x.cls == y.cls) && (x.subject < 0 || x.subject == y.subject) &&
           (x.from < 0 || (y.from >= x.from && y.to <= x.to));
}

bool rule_covers(const struct rule_spec *a, const struct rule_spec *b)
{
    return (!a->isp.n || slice_eq(a->isp, b->isp)) &&
           (!a->phases || (b->phases && !(b->phases & ~a->phases))) &&
           (!a->code_from || (b->code_from >= a->code_from && b->code_to <= a->code_to)) &&
           enhanced_covers(a->enhanced, b->enhanced) &&
           (!a->text.n || (slice_eq(a->text, b->text) && a->words == b->words));
}

static void learn_needles(struct rules *r, size_t i, struct slice pattern, struct arena *a)
{
    struct haystack *h = r->v[i].words ? r->in_words : r->in_text;
    struct slice *needles;
    size_t n = pattern.n ? pattern_needles(pattern, a, &needles) : 0;

    for (size_t k = 0; k < n; k++)
        haystack_add(h, needles[k], (uint32_t)i);
    if (!n)
        r->always[i / 64] |= 1ull << i % 64;
}

int rules_compile(const struct rule_spec *specs, size_t n, struct rules **out, struct err *e)
{
    struct arena arena = {0};
    struct rules *r;
    int rc;

    if (n > RULES_MAX)
        return err_set(e, ERR_LIMIT, "%zu rules; at most %d", n, RULES_MAX);
    r = mem_zalloc(sizeof *r);
    r->v = mem_zalloc((n + 1) * sizeof *r->v);
    r->isps = mem_zalloc((n + 1) * sizeof *r->isps);
    r->always = mem_zalloc((n / 64 + 1) * sizeof *r->always);
    r->in_text = haystack_new();
    r->in_words = haystack_new();
    for (; r->n < n; r->n++) {
        const struct rule_spec *s = &specs[r->n];
        struct rule *rule = &r->v[r->n];
        if ((rc = rule_compile(s, rule, e))) {
            err_prefix(e, "%.*s: ", SLICE_FMT(s->name));
            rules_free(r);
            arena_free(&arena);
            return rc;
        }
        rule->name = mem_dup(s->name.p, s->name.n);
        if (s->isp.n && (rule->isp = isp_index(r, s->isp)) < 0) {
            rule->isp = (int)r->nisps;
            r->isps[r->nisps++] = slice_of(mem_dup(s->isp.p, s->isp.n), s->isp.n);
        }
        if (rule->text) /* without executable memory PCRE2 interprets */
            pcre2_jit_compile(rule->text, PCRE2_JIT_COMPLETE);
        learn_needles(r, r->n, s->text, &arena);
    }
    haystack_build(r->in_text);
    haystack_build(r->in_words);
    arena_free(&arena);
    *out = r;
    return 0;
}

void rules_free(struct rules *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->n; i++) {
        free(r->v[i].name);
        pcre2_code_free(r->v[i].text);
    }
    for (size_t i = 0; i < r->nisps; i++)
        free((char *)r->isps[i].p);
    haystack_free(r->in_text);
    haystack_free(r->in_words);
    free(r->always);
    free(r->isps);
    free(r->v);
    free(r);
}

size_t rules_count(const struct rules *r)
{
    return r->n;
}

/* --- classify --- */

struct rule_work *rule_work_new(void)
{
    struct rule_work *w = mem_zalloc(sizeof *w);

    w->match = pcre2_match_data_create(1, NULL);
    w->limits = pcre2_match_context_create(NULL);
    INVARIANT(w->match && w->limits);
    pcre2_set_match_limit(w->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(w->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(w->limits, HEAP_LIMIT_KIB);
    return w;
}

void rule_work_free(struct rule_work *w)
{
    if (!w)
        return;
    pcre2_match_data_free(w->match);
    pcre2_match_context_free(w->limits);
    buf_free(&w->text);
    buf_free(&w->words);
    free(w->maybe);
    free(w);
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

/* mx1.example.jp, [mail.example.com]: but not "5.7.1", "rejected.Please" or "RESOLVER.ADR.RecipNotFound". */
static bool is_host(struct slice w)
{
    size_t label = 0, dots = 0, upper = 0;

    for (size_t i = 0; i < w.n; i++) {
        if (w.p[i] == '.') {
            if (!label)
                return false;
            dots++;
            label = upper = 0;
        } else if (is_alnum(w.p[i]) || w.p[i] == '-' || w.p[i] == '_') {
            label++;
            upper += w.p[i] >= 'A' && w.p[i] <= 'Z';
        } else {
            return false;
        }
    }
    if (!dots || label < 2 || label > 6 || (upper && upper < label))
        return false;
    for (size_t i = w.n - label; i < w.n; i++)
        if (ascii_lower(w.p[i]) < 'a' || ascii_lower(w.p[i]) > 'z')
            return false;
    return true;
}

/* An address, a link or a host. Most words have neither '@' nor '.' and are not asked about. */
static bool is_name(struct slice word)
{
    if (memchr(word.p, '@', word.n))
        return true;
    if (!memchr(word.p, '.', word.n))
        return false;
    if (slice_find(word, S("://")) >= 0)
        return true;
    while (word.n && !is_alnum(word.p[0]))
        word = slice_of(word.p + 1, word.n - 1);
    while (word.n && !is_alnum(word.p[word.n - 1]))
        word.n--;
    return slice_istarts(word, S("www.")) || is_host(word);
}

/* What stands at an address without a blank: "a@example.jp:user", "allowed...a@example.jp", and what has no
 * blanks at all, as Japanese. */
static void keep_glued(struct slice word, struct buf *out)
{
    size_t at = (size_t)((const char *)memchr(word.p, '@', word.n) - word.p), from = at, to = at + 1;

    while (from > 0 && (unsigned char)word.p[from - 1] < 0x80 && !strchr("<(:;,\"'", word.p[from - 1]))
        from--;
    while (to < word.n && (is_alnum(word.p[to]) || word.p[to] == '.' || word.p[to] == '-'))
        to++;
    struct slice head = slice_of(word.p, from), tail = slice_of(word.p + to, word.n - to);
    ptrdiff_t dots = slice_find(slice_of(word.p, at), S("..."));
    if (dots >= 3)
        head.n = (size_t)dots;
    else if (ascii_only(head))
        head.n = 0;
    while (tail.n && !is_alnum(tail.p[0]) && (unsigned char)tail.p[0] < 0x80)
        tail = slice_of(tail.p + 1, tail.n - 1);
    if (tail.n < 3 || memchr(tail.p, '@', tail.n))
        tail.n = 0;
    const struct slice kept[] = {head, tail};
    for (size_t i = 0; i < COUNT(kept); i++) {
        if (kept[i].n && out->n)
            out->p[out->n++] = ' ';
        memcpy(out->p + out->n, kept[i].p, kept[i].n);
        out->n += kept[i].n;
    }
}

/* The text without the words that are names: <spam@example.jp> is no complaint, and "user <a@example.jp>
 * unknown" is an unknown user. */
static void take_names_out(struct slice text, struct buf *out)
{
    buf_clear(out);
    buf_reserve(out, text.n + 1);
    while (text.n) {
        struct slice word = slice_cut(text, ' ', &text);
        if (is_name(word)) {
            if (memchr(word.p, '@', word.n))
                keep_glued(word, out);
            continue;
        }
        if (out->n)
            out->p[out->n++] = ' ';
        memcpy(out->p + out->n, word.p, word.n);
        out->n += word.n;
    }
}

static struct slice prepare(struct rule_work *w, struct slice text)
{
    text.n = utf8_fit(text, RULE_TEXT_MAX);
    if (!utf8_valid(text)) {
        buf_clear(&w->text);
        smtp_text_clean(text, &w->text);
        text = buf_slice(&w->text);
        text.n = utf8_fit(text, RULE_TEXT_MAX);
    }
    take_names_out(text, &w->words);
    return text;
}

/* Indexes into rules.isps; -1: no rule names it. */
struct giver {
    int isp, provider;
};

static struct giver giver_of(const struct rules *r, const struct rule_in *in)
{
    return (struct giver){isp_index(r, in->isp), in->provider.n ? isp_index(r, in->provider) : -1};
}

/* All but the text. */
static bool frame_fits(const struct rule *r, const struct rule_in *in, struct giver giver)
{
    if (r->isp >= 0 && r->isp != giver.isp && r->isp != giver.provider)
        return false;
    if (r->phases && (in->phase < 0 || !(r->phases & 1u << in->phase)))
        return false;
    if (r->code_from && (in->code < r->code_from || in->code > r->code_to))
        return false;
    return !r->has_enhanced || (in->enhanced && enhanced_fits(&r->enhanced, in->enhanced));
}

static bool rule_fits(const struct rule *r, struct rule_work *w, const struct rule_in *in, struct giver giver,
                      struct slice text)
{
    return frame_fits(r, in, giver) &&
           (!r->text || pattern_found(r->text, w, r->words ? buf_slice(&w->words) : text));
}

/* Into w->maybe. */
static void pick_candidates(const struct rules *r, struct rule_work *w, struct slice text)
{
    size_t words = r->n / 64 + 1;

    if (words > w->cap) {
        w->maybe = mem_realloc(w->maybe, words * sizeof *w->maybe);
        w->cap = words;
    }
    memcpy(w->maybe, r->always, words * sizeof *w->maybe);
    if (!haystack_scan(r->in_text, text, w->maybe) ||
        !haystack_scan(r->in_words, buf_slice(&w->words), w->maybe))
        memset(w->maybe, 0xff, words * sizeof *w->maybe);
}

void rules_classify(const struct rules *r, struct rule_work *w, const struct rule_in *in,
                    struct rule_out *out)
{
    struct slice text = prepare(w, in->text);
    struct giver giver = giver_of(r, in);

    pick_candidates(r, w, text);
    *out = (struct rule_out){.cls = CLASS_UNKNOWN, .rule = "none", .index = -1};
    for (size_t at = 0; at * 64 < r->n; at++) {
        for (uint64_t left = w->maybe[at]; left; left &= left - 1) {
            size_t i = at * 64 + (size_t)__builtin_ctzll(left);
            if (i < r->n && rule_fits(&r->v[i], w, in, giver, text)) {
                *out = (struct rule_out){r->v[i].cls, r->v[i].retry, r->v[i].name, (int)i};
                return;
            }
        }
    }
}

bool rules_one_matches(const struct rules *r, struct rule_work *w, size_t index, const struct rule_in *in)
{
    struct slice text = prepare(w, in->text);
    struct giver giver = giver_of(r, in);

    INVARIANT(index < r->n);
    return rule_fits(&r->v[index], w, in, giver, text);
}
