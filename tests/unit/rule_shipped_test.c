/* rule_shipped_test.c - the rules that ship with hato: each fires for its samples and not for its near
 * misses. */
#include "format/reply_quote.h"
#include "format/rule_file.h"
#include "test.h"

#include <time.h>

/* --- the rules by themselves --- */

static void judge(const struct rules *rules, struct rule_work *work, const struct rule_file *file,
                  const struct rule_sample *sample)
{
    const struct rule_spec *spec = &file->specs[sample->spec];
    struct buf room = {0};
    struct reply_quote q;
    struct rule_out out;

    reply_quote_read(sample->text, &room, &q);
    struct rule_in in = {.isp = spec->isp,
                         .phase = spec->phases ? __builtin_ctz(spec->phases) : RULE_PHASE_UNKNOWN,
                         .code = q.code,
                         .enhanced = q.has_enhanced ? &q.enhanced : NULL,
                         .text = q.text};
    rules_classify(rules, work, &in, &out);
    /* What is looked for first must not hide what would match. */
    for (int i = 0; i < (out.index < 0 ? (int)rules_count(rules) : out.index); i++)
        if (rules_one_matches(rules, work, (size_t)i, &in))
            test_fail(__FILE__, __LINE__, "bounces.rules:%d: \"%.*s\": spec %d matches and was passed over",
                      sample->line, SLICE_FMT(q.text), i);
    if (!sample->miss && !slice_eq(slice_cstr(out.rule), spec->name))
        test_fail(__FILE__, __LINE__, "bounces.rules:%d: \"%.*s\" says %s, by %s, not %.*s", sample->line,
                  SLICE_FMT(q.text), class_name(out.cls), out.rule, SLICE_FMT(spec->name));
    for (size_t i = sample->spec; sample->miss && i < file->n && slice_eq(file->specs[i].name, spec->name);
         i++)
        if (rules_one_matches(rules, work, i, &in))
            test_fail(__FILE__, __LINE__, "bounces.rules:%d: \"%.*s\" is a near miss of %.*s and is matched",
                      sample->line, SLICE_FMT(q.text), SLICE_FMT(spec->name));
    buf_free(&room);
}

TEST(every_shipped_rule_fires_for_its_samples_and_not_for_its_near_misses)
{
    struct arena a = {0};
    struct rule_file file;
    struct rules *rules;
    struct err e;

    int rc = rule_file_read(rule_file_shipped(), "bounces.rules", "", &a, &file, &e);
    if (!rc)
        rc = rules_compile(file.specs, file.n, &rules, &e);
    if (rc) {
        test_fail(__FILE__, __LINE__, "%s", e.text);
        arena_free(&a);
        return;
    }
    struct rule_work *work = rule_work_new();
    for (size_t i = 0; i < file.nsamples; i++)
        judge(rules, work, &file, &file.samples[i]);
    rule_work_free(work);
    rules_free(rules);
    arena_free(&a);
}

/* --- on real mails --- */

struct diagnostic {
    struct slice mail, group, status, phase;
    bool hard;
    struct reply_quote q;
    struct buf room;
};

/* The next line of cases.tsv; room is the caller's to free. */
static bool next_diagnostic(struct slice *rest, struct diagnostic *d)
{
    struct slice line;

    do {
        if (!rest->n)
            return false;
        line = slice_cut(*rest, '\n', rest);
    } while (!line.n || line.p[0] == '#');
    *d = (struct diagnostic){.mail = slice_cut(line, '\t', &line)};
    d->group = slice_cut(line, '\t', &line);
    d->hard = slice_eq(slice_cut(line, '\t', &line), S("hard"));
    d->status = slice_cut(line, '\t', &line);
    d->phase = slice_cut(line, '\t', &line);
    reply_quote_read(line, &d->room, &d->q);
    return true;
}

static void classify(const struct rules *rules, struct rule_work *work, const struct diagnostic *d,
                     struct rule_out *out)
{
    struct smtp_enhanced status;
    enum smtp_phase phase;
    size_t used;
    bool has_status = smtp_enhanced_read(d->status, &status, &used) == 0;

    rules_classify(
        rules, work,
        &(struct rule_in){.isp = SLICE_NONE,
                          .phase = smtp_phase_parse(d->phase, &phase) ? RULE_PHASE_UNKNOWN : (int)phase,
                          .code = d->q.code,
                          .enhanced = d->q.has_enhanced ? &d->q.enhanced
                                      : has_status      ? &status
                                                        : NULL,
                          .text = d->q.text},
        out);
}

TEST(shipped_rules_read_the_diagnostics_of_real_mails)
{
    struct slice rest = test_file("tests/golden/diagnostics/cases.tsv");
    struct rule_work *work = rule_work_new();
    struct rules *rules;
    struct err e;
    int n = 0, groups = 0, hard = 0;
    struct diagnostic d;

    CHECK_INT(rules_compile_shipped(NULL, 0, &rules, &e), 0);
    while (next_diagnostic(&rest, &d)) {
        struct rule_out out;
        classify(rules, work, &d, &out);
        struct slice group = slice_cstr(class_group_name(class_group_of(out.cls)));
        n++;
        groups += slice_eq(group, d.group);
        hard += (class_kind_of(out.cls, d.q.code) == KIND_HARD) == d.hard;
        buf_free(&d.room);
    }
    /* What is missed is told differently by those who labelled it: "5.2.1 User Unknown" as the person's
     * filter. */
    CHECK_INT(n, 80);
    CHECK(groups >= 75);
    CHECK(hard >= 78);
    rules_free(rules);
    rule_work_free(work);
}

/* What receivers, hosts and other handlers of bounces publish, in words that no rule was written for. */
TEST(shipped_rules_read_published_replies)
{
    struct slice rest = test_file("tests/golden/replies/published.tsv");
    struct rule_work *work = rule_work_new();
    struct buf misses = {0};
    struct rules *rules;
    struct err e;
    int n = 0, groups = 0, hard = 0;

    CHECK_INT(rules_compile_shipped(NULL, 0, &rules, &e), 0);
    while (rest.n) {
        struct slice line = slice_cut(rest, '\n', &rest);
        if (!line.n || line.p[0] == '#')
            continue;
        struct diagnostic d = {.group = slice_cut(line, '\t', &line), .status = SLICE_NONE};
        struct rule_out out;
        d.phase = slice_cut(line, '\t', &line);
        reply_quote_read(line, &d.room, &d.q);
        classify(rules, work, &d, &out);
        struct slice group = slice_cstr(class_group_name(class_group_of(out.cls)));
        bool gone = slice_eq(d.group, S("invalid_recipient"));
        n++;
        groups += slice_eq(group, d.group);
        hard += (class_group_of(out.cls) == GROUP_INVALID_RECIPIENT) == gone;
        if (!slice_eq(group, d.group))
            buf_printf(&misses, "   want %.*s: %.*s: %s by %s\n", SLICE_FMT(d.group), SLICE_FMT(line),
                       class_name(out.cls), out.rule);
        buf_free(&d.room);
    }
    bool good = n > 400 && groups * 100 >= n * 93 && hard * 100 >= n * 97;
    if (!good)
        printf("%.*s", (int)misses.n, buf_cstr(&misses));
    printf("   %d published replies: group %.1f %%, gone or not %.1f %%\n", n, 100.0 * groups / n,
           100.0 * hard / n);
    CHECK(good);
    buf_free(&misses);
    rules_free(rules);
    rule_work_free(work);
}

/* A figure to look at; how fast a machine is decides no test. */
TEST(shipped_rules_cost_little)
{
    static const char *const nothing[] = {
        "450 4.9.9 there is no rule for what stands here, whoever looks at it, nor will there ever be one of "
        "that kind",
        "554 a@example.jp mx3.example.jp sends its regards to all of you and asks when the next letter comes "
        "by",
    };
    enum { ROUNDS = 1000, MOST = 200 };
    struct slice rest = test_file("tests/golden/diagnostics/cases.tsv");
    struct diagnostic all[MOST];
    struct rule_work *work = rule_work_new();
    struct rules *rules;
    struct timespec from, to;
    struct rule_out out;
    struct err e;
    size_t n = 0, matched = 0;

    while (n + 1 < MOST && next_diagnostic(&rest, &all[n])) {
        struct slice text = slice_cstr(nothing[n / 2 % COUNT(nothing)]);
        all[n + 1] = (struct diagnostic){.q = {.code = n % 4 ? 450 : 554, .text = text}};
        n += 2;
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    CHECK_INT(rules_compile_shipped(NULL, 0, &rules, &e), 0);
    clock_gettime(CLOCK_MONOTONIC, &to);
    double compiled_ms = (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < n; i++) {
            classify(rules, work, &all[i], &out);
            matched += out.index >= 0;
        }
    clock_gettime(CLOCK_MONOTONIC, &from);
    double s = (double)(from.tv_sec - to.tv_sec) + (double)(from.tv_nsec - to.tv_nsec) / 1e9;
    printf("%zu rules compiled in %.1f ms; a million replies, half of which no rule knows, in %.2f s\n",
           rules_count(rules), compiled_ms, s * 1e6 / (double)(n * ROUNDS));
    CHECK(matched > 0 && matched < n * ROUNDS);
    for (size_t i = 0; i < n; i++)
        buf_free(&all[i].room);
    rules_free(rules);
    rule_work_free(work);
}
