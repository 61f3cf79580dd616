/* recall_test.c - what rules count towards a measure goes on over a kill as if there had been none. */
#include "delivery/deliver_impl.h"
#include "delivery/measure_impl.h"
#include "delivery/steer.h"
#include "format/mp.h"
#include "test.h"
#include "town.h"

#include <stdlib.h>

enum { MINUTE = 60000, HOUR = 3600000 };

static struct slice q_mx[] = {S("q.test"), S("q2.test")};
static struct conf_isp q_isp[] = {{.name = S("q"), .mx = q_mx, .nmx = 2, .place = {S("init.lua"), 3}}};
static struct conf_source sources[] = {{.name = S("s1"), .ehlo = S("s1.example.jp")},
                                       {.name = S("s2"), .ehlo = S("s2.example.jp")}};
static struct rule_spec spec = {.name = S("init.lua:7 rule 1"),
                                .isp = S(""),
                                .enhanced = S(""),
                                .text = S("measure now"),
                                .cls = CLASS_POLICY};
static struct act_rule act_rule;
static const char *const domains[] = {"q.test", "q2.test", "r.test"};

/* A third of all RCPT, every tenth greeting. r has no table. */
#define MOODS                                                                                                \
    "delay = '50 ms', replies = { { phase = 'rcpt', share = 0.3, reply = '450 4.7.9 measure now' },"         \
    "                             { phase = 'eod', share = 0.1, reply = '452 4.2.2 mailbox full' },"         \
    "                             { phase = 'banner', share = 0.1, reply = '421 4.7.9 measure now' } }"
static const char moody[] =
    "return { isps = {"
    "  q1 = { domains = { 'q.test' }, mx = { 'mx.q.test' }, address = '127.0.1.1', " MOODS " },"
    "  q2 = { domains = { 'q2.test' }, mx = { 'mx.q2.test' }, address = '127.0.1.2', " MOODS " },"
    "  r = { domains = { 'r.test' }, mx = { 'mx.r.test' }, address = '127.0.1.3', " MOODS " } } }";

static bool start(struct town *t, const char *world, struct act act, struct act_rule counts)
{
    act_rule = counts;
    act_rule.name = spec.name;
    act_rule.act = act;
    if (!town_new(t, world, 3))
        return false;
    town_close(t);
    t->conf.sources = sources;
    t->conf.nsources = 2;
    t->conf.isps = q_isp;
    t->conf.nisps = 1;
    t->conf.rules = &spec;
    t->conf.nrules = 1;
    t->conf.acts = (struct acts){.of_rules = &act_rule, .nof_rules = 1};
    return town_open(t);
}

static void put_tally(struct buf *out, const struct tally *t, struct slice isp)
{
    buf_printf(
        out, "%.*s/%d/%s/%s: %llu answers, recent %x, began %lld, hit %lld, fresh %lld, bucket %lld of %lld:",
        SLICE_FMT(isp), t->scope == ACT_PATH || t->scope == ACT_SOURCE ? t->source : -1, t->what, t->rule,
        (unsigned long long)t->answers, t->recent, (long long)t->began_ms, (long long)t->hit_ms,
        (long long)t->fresh_ms, (long long)t->bucket_at, (long long)t->bucket_ms);
    for (int i = 0; t->bucket_ms && i < TALLY_BUCKETS; i++)
        buf_printf(out, " %u/%u", t->bucket[i].hits, t->bucket[i].answers);
    buf_addc(out, '\n');
}

/* Isps by name; one tally a line, and how much mail each source has got off lately. */
static struct buf tallies(struct town *t)
{
    static const char *const isps[] = {"q", "r.test"};
    struct measures *ms = paths_measures(t->d->paths);
    struct buf b = {0};
    for (size_t i = 0; i < COUNT(isps); i++) {
        size_t at = 0;
        struct isp *found = NULL;
        for (struct isp *isp; (isp = paths_next_isp(t->d->paths, &at));)
            found = slice_eq(isp->name, slice_cstr(isps[i])) ? isp : found;
        if (!found)
            found = paths_isp(t->d->paths, slice_cstr(isps[i]));
        for (const struct tally *y = found->tallies; y; y = y->next)
            put_tally(&b, y, slice_cstr(isps[i]));
        for (size_t k = 0; k < t->conf.nsources; k++)
            if (found->by_source[k].backoff)
                buf_printf(
                    &b, "%s/%zu took %lld a day\n", isps[i], k,
                    (long long)backoff_recent_per_day(found->by_source[k].backoff, loop_wall_ms(t->loop)));
    }
    for (const struct tally *y = ms->tallies; y; y = y->next)
        put_tally(&b, y, S("*"));
    buf_cstr(&b);
    return b;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Lines in order, for tallies stand in none. */
static void sort_lines(struct buf *b)
{
    char *lines[64], *copy = mem_dup(b->p, b->n);
    size_t n = 0;
    for (char *p = copy, *end; n < COUNT(lines) && (end = strchr(p, '\n')); p = end + 1) {
        *end = 0;
        lines[n++] = p;
    }
    qsort(lines, n, sizeof *lines, compare);
    buf_clear(b);
    for (size_t i = 0; i < n; i++)
        buf_printf(b, "%s\n", lines[i]);
    free(copy);
}

TEST(what_rules_counted_is_the_same_after_a_kill)
{
    static const struct act_rule counts[] = {{.after = 40},
                                             {.after = 30, .within_ms = HOUR},
                                             {.share_ppm = 500000, .least = 20, .within_ms = 10 * MINUTE},
                                             {.after = 0}};
    static const int64_t moments_ms[] = {400, 3000, 61000, 310000, 900000};
    size_t seen = 0;
    for (int scope = 0; scope < ACT_ONE_STREAM; scope++) /* no rule asks for that */
        for (size_t i = 0; i < COUNT(counts); i++) {
            struct act act = {
                .kind = ACT_SLOW, .scope = (enum act_scope)scope, .factor_ppm = 500000, .for_ms = 2 * MINUTE};
            struct town t;
            CHECK(start(&t, moody, act, counts[i]));
            town_send(&t, domains, 3, 150);
            for (size_t k = 0; k < COUNT(moments_ms); k++) {
                town_run_for(&t, moments_ms[k]);
                struct buf before = tallies(&t);
                town_crash(&t);
                CHECK(town_open(&t));
                struct buf after = tallies(&t);
                sort_lines(&before);
                sort_lines(&after);
                seen += before.n > 0;
                CHECK_STR(buf_slice(&after), buf_slice(&before));
                buf_free(&before);
                buf_free(&after);
            }
            town_free(&t);
        }
    CHECK(seen > ACT_ONE_STREAM * COUNT(counts) * COUNT(moments_ms) * 3 / 4);
}

TEST(a_measure_is_due_with_the_hit_that_comes_after_a_kill)
{
    /* p0 is refused, at each try: every ten minutes or so. */
    static const char world[] =
        "return { isps = { q1 = { domains = { 'q.test' }, mx = { 'mx.q.test' }, address = '127.0.1.1',"
        "  replies = { { phase = 'rcpt', to = '^p0@', reply = '450 4.7.9 measure now' } } } } }";
    struct act act = {.kind = ACT_SUSPEND, .scope = ACT_PATH, .for_ms = HOUR};
    struct town t;
    CHECK(start(&t, world, act, (struct act_rule){.after = 3, .within_ms = 2 * HOUR}));
    t.conf.retry = (struct verdict_schedule){{10 * MINUTE}, 1, 3 * (int64_t)HOUR};
    town_close(&t);
    t.conf.nsources = 1;
    CHECK(town_open(&t));
    town_send(&t, domains, 1, 20);
    for (int hit = 1; hit <= 3; hit++) {
        CHECK(!measures_next(paths_measures(t.d->paths), NULL));
        for (int i = 0; i < 120 && (int)t.events[EVENT_DEFERRED] < hit; i++)
            town_run_for(&t, MINUTE);
        if (hit < 3) {
            town_crash(&t);
            CHECK(town_open(&t));
        }
    }
    const struct measure *m = measures_next(paths_measures(t.d->paths), NULL);
    CHECK(m && measure_holds(m));
    CHECK_INT(m->number, 1);
    CHECK_INT(m->cause, 1);
    CHECK_STR(slice_cstr(m->rule), spec.name);
    CHECK_STR(slice_cstr(m->why), S("450 4.7.9 measure now"));
    CHECK_INT(m->until_ms - m->begin_ms, HOUR);
    CHECK_INT(t.events[EVENT_DEFERRED], 3);
    town_free(&t);
}

static void on_steered(void *data, int status, uint64_t touched, uint64_t in_flight)
{
    *(bool *)data = !status;
}

static bool told(struct town *t, enum steer_verb verb)
{
    struct steer_order o = {.verb = verb, .kind = STEER_CAMPAIGN, .name = S("hello")};
    bool done = false;
    if (steer(t->d, &o, on_steered, &done, &t->err))
        return false;
    town_run_for(t, 1000);
    return done;
}

/* A greeting is refused in the middle of a day whose last event is older than `keep` a day later. */
TEST(what_rules_counted_stays_through_compaction_as_long_as_it_counts)
{
    static const char world[] =
        "return { isps = { q1 = { domains = { 'q.test' }, mx = { 'mx.q.test' }, address = '127.0.1.1' },"
        "  q2 = { domains = { 'q2.test' }, mx = { 'mx.q2.test' }, address = '127.0.1.2',"
        "  replies = { { phase = 'banner', reply = '421 4.7.9 measure now' } } } } }";
    struct act act = {.kind = ACT_SUSPEND, .scope = ACT_PATH, .for_ms = HOUR};
    for (int days = 1; days <= 3; days += 2) {
        struct town t;
        CHECK(start(&t, world, act, (struct act_rule){.after = 2, .within_ms = 24 * (int64_t)HOUR}));
        town_close(&t);
        t.conf.nsources = 1;
        t.conf.keep_ms = 24 * (int64_t)HOUR;
        CHECK(town_open(&t));
        CHECK_INT(town_send(&t, &domains[0], 1, 1), 1);
        town_run_for(&t, 12 * HOUR);
        CHECK_INT(t.events[EVENT_DELIVERED], 1);
        CHECK_INT(town_send(&t, &domains[1], 1, 1), 1);
        town_run_for(&t, MINUTE);
        CHECK(told(&t, STEER_PAUSE));
        town_run_for(&t, 15 * HOUR);
        town_run_for(&t, (days - 1) * 24 * HOUR);
        CHECK_INT(town_files_with(&t, "events", "p0@q.test"), days == 1);
        struct buf before = tallies(&t);
        town_crash(&t);
        CHECK(town_open(&t));
        struct buf after = tallies(&t);
        struct slice rest, counted = slice_cut(buf_slice(&before), '\n', &rest);
        CHECK(slice_find(counted, S("1 answers")) > 0);
        CHECK_STR(slice_cut(buf_slice(&after), '\n', &rest), days == 1 ? counted : S(""));
        CHECK(told(&t, STEER_RESUME));
        const struct measure *m = measures_next(paths_measures(t.d->paths), NULL);
        while (m && !measure_holds(m))
            m = measures_next(paths_measures(t.d->paths), m);
        CHECK(days > 1 || (m && slice_eq(slice_cstr(m->rule), spec.name))); /* by the second */
        buf_free(&before);
        buf_free(&after);
        town_free(&t);
    }
}

TEST(a_tally_that_begins_anew_forgets_as_fast_as_one_that_is_new)
{
    enum { WINDOW = 12 * MINUTE };
    struct act_rule rule = {.name = S("r"), .act = act_default(ACT_SUSPEND), .after = 3, .within_ms = WINDOW};
    struct tally_who who = {.site = SLICE_NONE, .from = SLICE_NONE, .campaign = SLICE_NONE};
    struct tally *t = tally_new(&rule, &who, 0);
    CHECK(!tally_answer(t, &rule, 0, 0));
    CHECK(!tally_answer(t, &rule, 0, 10 * MINUTE));
    CHECK(tally_answer(t, &rule, 0, 11 * MINUTE));
    tally_start_anew(t, 11 * MINUTE);
    for (int64_t at = 12 * MINUTE; at < 100 * MINUTE; at += WINDOW / 2)
        CHECK(!tally_answer(t, &rule, at, at)); /* never more than two in a window */
    tally_free(t);
}

/* The script may be another one when hato starts again. */
TEST(what_a_rule_of_another_kind_counted_is_not_its_own)
{
    struct act_rule was = {.name = S("r"), .act = act_default(ACT_SUSPEND), .after = 3, .within_ms = HOUR};
    struct tally_who who = {.site = SLICE_NONE, .from = SLICE_NONE, .campaign = SLICE_NONE};
    struct tally *t = tally_new(&was, &who, 0);
    struct act_rule longer = was, wider = was, same = was;
    longer.within_ms = 2 * HOUR;
    wider.act.scope = ACT_SOURCE;
    same.after = 2;
    CHECK(tally_is_of(t, &same));
    CHECK(!tally_is_of(t, &longer));
    CHECK(!tally_is_of(t, &wider));
    tally_free(t);
}

TEST(a_tally_reads_back_and_one_that_makes_no_sense_is_none)
{
    struct act_rule rule = {.name = S("r"), .act = act_default(ACT_SUSPEND), .after = 3, .within_ms = HOUR};
    struct tally_who who = {.site = SLICE_NONE, .from = SLICE_NONE, .campaign = SLICE_NONE};
    struct tally *t = tally_new(&rule, &who, 1000);
    struct rec rec = {.type = REC_TALLY}, back;
    struct buf room = {0}, bytes = {0};
    tally_answer(t, &rule, 1000, 1000);
    tally_answer(t, NULL, 20 * MINUTE, 20 * MINUTE);
    tally_record(t, 1764000000000, &room, &rec.tally);
    rec.tally.message = 7;
    rec.tally.at_ms = 1764000000000 + 1000;
    rec_put(&bytes, &rec);
    CHECK_INT(rec_get(buf_slice(&bytes), &back), 0);
    struct tally *again = tally_restore(&back.tally, 0, 1764000000000 - 5);
    CHECK(again);
    CHECK_INT(again->began_ms, 1005);
    CHECK_INT(again->hit_ms, 1005);
    CHECK_INT(again->answers, 2);
    CHECK_INT(again->recent, 2);
    CHECK_INT(again->bucket_at, 3);
    CHECK_INT(again->bucket[0].hits, 1);
    CHECK_INT(again->bucket[3].answers, 1);
    CHECK_INT(again->message, 7);
    tally_free(again);
    struct rec_tally wrong[] = {back.tally, back.tally, back.tally, back.tally};
    wrong[0].scope = ACT_SCOPES;
    wrong[1].hit_ms = wrong[1].began_ms - 1;
    wrong[2].buckets = S("\x91\x01");
    wrong[3].bucket_at = -1;
    for (size_t i = 0; i < COUNT(wrong); i++)
        CHECK(!tally_restore(&wrong[i], 0, 0));
    tally_free(t);
    buf_free(&room);
    buf_free(&bytes);
}
