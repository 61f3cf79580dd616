/* measure_look_test.c - measures as they are seen: what each allows when, who is kept back by it, its words,
 * and what of it outlives a process. */
#include "delivery/measure_impl.h"
#include "test.h"

#include <stdlib.h>

enum { MINUTE = 60000, HOUR = 3600000, SOURCES = 2 };
static const int64_t DAY = 24 * (int64_t)HOUR;
static const int64_t START = 1782986400000; /* 2026-07-02T10:00:00Z */

static int changes;

static void on_changed(void *data, const struct measure *m)
{
    (void)data;
    (void)m;
    changes++;
}

/* No delivery: the room, an isp with two sources, and measures that were there in an earlier process. */
struct rig {
    struct loop *loop;
    struct conf conf;
    struct conf_source sources[SOURCES];
    struct paths paths;
    struct isp isp;
    struct path by_source[SOURCES];
    struct measures *ms;
};

static void rig_open(struct rig *r)
{
    *r = (struct rig){.loop = loop_new_virtual(1, START)};
    r->sources[0].name = S("s1");
    r->sources[1].name = S("s2");
    r->conf = (struct conf){.sources = r->sources, .nsources = SOURCES};
    r->ms = measures_new(&(struct measures_conf){.loop = r->loop, .conf = &r->conf, .changed = on_changed});
    r->paths = (struct paths){.measures = r->ms};
    r->isp = (struct isp){.name = S("q"), .by_source = r->by_source};
    for (uint16_t i = 0; i < SOURCES; i++)
        r->by_source[i] = (struct path){.isp = &r->isp, .source = i, .paths = &r->paths};
    changes = 0;
}

static void rig_close(struct rig *r)
{
    measures_free(r->ms);
    loop_free(r->loop);
}

/* Began a minute ago, for one more hour. */
static struct rec_measure record(uint32_t number, unsigned kind, enum act_scope scope)
{
    return (struct rec_measure){.at_ms = START,
                                .number = number,
                                .kind = (uint8_t)kind,
                                .scope = (uint8_t)scope,
                                .begin_ms = START - MINUTE,
                                .until_ms = START + HOUR,
                                .factor_ppm = kind == ACT_SLOW || kind == ACT_FEWER ? ACT_WHOLE / 2 : 0,
                                .what = S(""),
                                .rule = S("init.lua:7 rule 1"),
                                .why = S("421 slow down")};
}

static struct measure *put(struct rig *r, struct rec_measure rec)
{
    bool of_source = rec.scope == ACT_PATH || rec.scope == ACT_SOURCE;
    measures_restore(r->ms, &rec, S("q"), of_source ? S("s1") : SLICE_NONE);
    return map_get(&r->ms->by_number, slice_of(&rec.number, sizeof rec.number));
}

static size_t count(const struct rig *r)
{
    size_t n = 0;
    for (const struct measure *m = NULL; (m = measures_next(r->ms, m));)
        n++;
    return n;
}

TEST(what_is_left_of_a_rate_comes_back_in_five_steps)
{
    static const struct {
        int64_t recover_ms, at_ms;
        uint32_t want_ppm;
    } cases[] = {{500, 0, 400000},       {500, 999, 400000},  {500, 1000, 500000}, {500, 1099, 500000},
                 {500, 1100, 600000},    {500, 1400, 900000}, {500, 1499, 900000}, {500, 1500, ACT_WHOLE},
                 {500, 9000, ACT_WHOLE}, {0, 999, 400000},    {0, 1000, ACT_WHOLE}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct measure m = {
            .kind = ACT_SLOW, .factor_ppm = 400000, .until_ms = 1000, .recover_ms = cases[i].recover_ms};
        CHECK_INT(measure_share(&m, cases[i].at_ms), cases[i].want_ppm);
    }
}

TEST(mails_go_at_a_distance_that_follows_from_the_rate_before)
{
    enum { SECOND_US = 1000000 };
    static struct backoff shut = {.state = BACKOFF_SHUT, .per_day = 2400},
                          paced = {.state = BACKOFF_PACED, .per_day = 2400},
                          unknown = {.state = BACKOFF_PACED};
    static const struct {
        unsigned kind;
        uint32_t factor_ppm;
        int64_t per_day, at_ms, want_us;
        struct backoff *backoff;
    } cases[] = {
        {ACT_SLOW, 500000, 14400, 0, 12 * SECOND_US, NULL},
        {ACT_SLOW, 500000, 0, 0, 120 * SECOND_US, NULL}, /* too few to measure: half of one a minute */
        {ACT_SLOW, 500000, 1439, 0, 120 * SECOND_US, NULL},
        {ACT_SLOW, 10000, 1440, 0, (int64_t)3600 * SECOND_US, NULL}, /* no slower than one an hour */
        {ACT_SLOW, 500000, 14400, 9000, 6 * SECOND_US, NULL},
        {ACT_SUSPEND, 0, 14400, 0, 0, NULL}, /* nothing goes: there is no distance */
        {ACT_SUSPEND, 0, 14400, 1200, 12 * SECOND_US, NULL},
        {ACT_PAUSE, 0, 1440, 1200, 120 * SECOND_US, NULL},
        {ACT_SUSPEND, 0, 1439, 1200, 0, NULL},
        {ACT_FEWER, 500000, 14400, 0, 0, NULL},
        {MEASURE_BACKOFF, 0, 0, 0, 36 * SECOND_US, &paced},
        {MEASURE_BACKOFF, 0, 0, 0, 0, &shut},
        {MEASURE_BACKOFF, 0, 0, 0, 0, &unknown},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct measure m = {.kind = cases[i].kind,
                            .factor_ppm = cases[i].factor_ppm,
                            .per_day = cases[i].per_day,
                            .until_ms = 1000,
                            .recover_ms = 500,
                            .backoff = cases[i].backoff};
        CHECK_INT(measure_interval_us(&m, cases[i].at_ms), cases[i].want_us);
    }
}

/* What a measure allows now and when that changes, in ms from now; 0: nobody knows. */
struct words {
    struct rec_measure rec;
    const char *allows;
    int64_t changes_ms;
};

static bool says(struct rig *r, const struct words *w)
{
    struct buf got = {0};
    const struct measure *m = put(r, w->rec);
    measure_allows(&got, m);
    int64_t at_ms = measure_changes_ms(m), want_ms = w->changes_ms ? START + w->changes_ms : 0;
    bool right = slice_eq(buf_slice(&got), slice_cstr(w->allows)) && at_ms == want_ms;
    if (!right)
        test_fail(__FILE__, __LINE__, "M%u: got \"%s\" until %lld, want \"%s\" until %lld", w->rec.number,
                  buf_cstr(&got), (long long)at_ms, w->allows, (long long)want_ms);
    buf_free(&got);
    return right;
}

TEST(a_measure_says_what_it_allows_and_when_that_changes)
{
    struct rig r;
    rig_open(&r);
    struct words w[] = {
        {record(1, ACT_SUSPEND, ACT_PATH), "nothing goes", HOUR},
        {record(2, ACT_PAUSE, ACT_PATH), "nothing goes", 0},
        {record(3, ACT_SUSPEND, ACT_PATH), "one connection to begin with", 20 * MINUTE},
        {record(4, ACT_SUSPEND, ACT_PATH), "at 120/h", 20 * MINUTE},
        {record(5, ACT_SLOW, ACT_PATH), "at 2/s", HOUR},
        {record(6, ACT_SLOW, ACT_PATH), "at 30/h", HOUR},
        {record(7, ACT_SLOW, ACT_PATH), "at 24/d", HOUR},
        {record(8, ACT_FEWER, ACT_PATH), "4 connections at most", HOUR},
        {record(9, ACT_FEWER, ACT_PATH), "1 connections at most", HOUR},
        {record(10, MEASURE_BACKOFF, ACT_PATH), "nothing goes", MINUTE},
        {record(11, MEASURE_BACKOFF, ACT_PATH), "one mail tries", 0},
        {record(12, MEASURE_BACKOFF, ACT_PATH), "at 60/h", 0},
        {record(13, ACT_NEXT_SOURCE, ACT_PATH), "nothing goes", HOUR},
    };
    w[0].rec.recover_ms = 30 * MINUTE; /* its end is the next change, not the end of the way back */
    w[1].rec.until_ms = w[1].rec.begin_ms + MEASURE_NO_END_MS;
    w[2].rec.until_ms = w[3].rec.until_ms = START - 10 * MINUTE; /* over, and a third of the way back */
    w[2].rec.recover_ms = w[3].rec.recover_ms = 30 * MINUTE;
    w[3].rec.per_day = 24 * 240; /* 2 of the 5 steps: 3/6 */
    w[3].rec.until_ms = START - 14 * MINUTE;
    w[3].changes_ms = 16 * MINUTE;
    w[4].rec.per_day = 86400 * 4;
    w[5].rec.per_day = 24 * 60;
    w[6].rec.factor_ppm = 1000;
    w[7].rec.connections = 9;
    w[8].rec.connections = 1;
    w[9].rec.state = BACKOFF_SHUT;
    w[9].rec.shut_until_ms = START + MINUTE;
    w[10].rec.state = BACKOFF_SHUT;
    w[10].rec.shut_until_ms = START;
    w[11].rec.state = BACKOFF_PACED;
    w[11].rec.learnt_per_day = 24 * 60;
    for (size_t i = 9; i < 12; i++)
        w[i].rec.refused_ms = START;
    for (size_t i = 0; i < COUNT(w); i++)
        if (!says(&r, &w[i]))
            break;
    rig_close(&r);
}

TEST(a_measure_is_about_the_mail_of_its_scope_and_no_other)
{
    struct rig r;
    rig_open(&r);
    struct isp other = {.name = S("r")};
    struct path elsewhere = {.isp = &other, .source = 0, .paths = &r.paths};
    struct site mx = {.key = S("10 mx.q.test")}, mx2 = {.key = S("10 mx2.q.test")};
    struct conf_stream news = {.domain = S("m.example.jp")}, side = {.domain = S("n.example.jp")};
    struct stream a = {.name = S("a"), .conf = &news}, b = {.name = S("b"), .conf = &side},
                  gone = {.name = S("gone")};
    struct campaign one = {.name = S("one"), .stream = &a}, two = {.name = S("two"), .stream = &b},
                    old = {.name = S("old"), .stream = &gone};
    static const struct slice what[ACT_SCOPES] = {[ACT_SITE] = S("10 mx.q.test"),
                                                  [ACT_STREAM] = S("m.example.jp"),
                                                  [ACT_CAMPAIGN] = S("one"),
                                                  [ACT_ONE_STREAM] = S("a")};
    for (unsigned scope = 0; scope < ACT_SCOPES; scope++) {
        struct rec_measure rec = record(scope + 1, ACT_SUSPEND, (enum act_scope)scope);
        rec.what = what[scope].n ? what[scope] : S("");
        struct measure *m = put(&r, rec);
        m->at = scope == ACT_SOURCE ? NULL : &r.isp;
        bool of_source = scope == ACT_PATH || scope == ACT_SOURCE, of_site = scope == ACT_SITE;
        CHECK(measure_is_about(m, &r.by_source[0], &mx, &one));
        CHECK_INT(measure_is_about(m, &r.by_source[1], &mx, &one), !of_source);
        CHECK_INT(measure_is_about(m, &elsewhere, &mx, &one), scope == ACT_SOURCE);
        CHECK_INT(measure_is_about(m, &r.by_source[0], &mx2, &one), !of_site);
        CHECK_INT(measure_is_about(m, &r.by_source[0], &mx, &two), of_source || of_site);
        CHECK_INT(measure_is_about(m, &r.by_source[0], &mx, &old), of_source || of_site);
        CHECK_INT(measure_is_about(m, &r.by_source[0], NULL, NULL), of_source);
    }
    rig_close(&r);
}

TEST(of_those_that_keep_mail_back_the_one_that_does_so_longest_is_named)
{
    static const unsigned kinds[] = {ACT_SUSPEND, ACT_SUSPEND, MEASURE_BACKOFF, ACT_SLOW};
    struct rig r;
    struct measure *m[COUNT(kinds)], *of_source;
    int64_t until;
    rig_open(&r);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct rec_measure rec = record((uint32_t)i + 1, kinds[i], ACT_PATH);
        rec.until_ms = START + (i == 1 ? 20 : 10) * MINUTE;
        rec.state = BACKOFF_SHUT;
        rec.shut_until_ms = START + 30 * MINUTE;
        rec.refused_ms = START;
        m[i] = put(&r, rec);
        m[i]->at = &r.isp;
    }
    struct rec_measure rec = record(9, ACT_SUSPEND, ACT_SOURCE);
    rec.until_ms = START + 50 * MINUTE;
    of_source = put(&r, rec);
    m[3]->next_us = (loop_now_ms(r.loop) + 40 * MINUTE) * 1000 - 999; /* its next permit */
    const struct path *p = &r.by_source[0];
    CHECK(!measures_holder(p, NULL, NULL, &until) && !until);
    for (size_t first = 0; first < 2; first++) { /* in whichever order they stand */
        r.isp.measures = m[first];
        m[first]->next_there = m[!first];
        m[!first]->next_there = NULL;
        CHECK(measures_holder(p, NULL, NULL, &until) == m[1]);
        CHECK_INT(until, START + 20 * MINUTE);
    }
    m[0]->next_there = m[2];
    CHECK(measures_holder(p, NULL, NULL, &until) == m[2]);
    CHECK_INT(until, START + 30 * MINUTE);
    m[2]->next_there = m[3];
    CHECK(measures_holder(p, NULL, NULL, &until) == m[3]);
    CHECK_INT(until, START + 40 * MINUTE);
    r.ms->of_sources = of_source;
    CHECK(measures_holder(p, NULL, NULL, &until) == of_source);
    CHECK_INT(until, START + 50 * MINUTE);
    m[0]->until_ms = m[0]->begin_ms + MEASURE_NO_END_MS; /* people have to lift it */
    CHECK(measures_holder(p, NULL, NULL, &until) == m[0] && until == INT64_MAX);
    CHECK(!measures_holder(&r.by_source[1], NULL, NULL, &until) && !until); /* it is about another */
    r.ms->of_sources = NULL;
    r.isp.measures = m[2];
    m[2]->next_there = NULL;
    m[2]->backoff->until_ms = START; /* it is open for one, and that one is under way */
    CHECK(!measures_holder(p, NULL, NULL, &until));
    backoff_try(m[2]->backoff);
    CHECK(measures_holder(p, NULL, NULL, &until) == m[2] && until == START);
    rig_close(&r);
}

TEST(what_was_closed_in_the_past_is_known_from_one_change_to_the_next)
{
    struct rig r;
    rig_open(&r);
    struct path *p = &r.by_source[0];
    struct measure *m = put(&r, record(1, ACT_SUSPEND, ACT_PATH)), /* 100 … 200 */
        *lifted = put(&r, record(2, ACT_SUSPEND, ACT_PATH)),       /* 300 … 350, where it was lifted */
            *slow = put(&r, record(3, ACT_SLOW, ACT_PATH));
    m->at = lifted->at = slow->at = &r.isp;
    m->begin_ms = 100;
    m->until_ms = 200;
    lifted->begin_ms = 300;
    lifted->until_ms = 400;
    lifted->over_ms = 350;
    slow->begin_ms = 0;
    slow->until_ms = 1000;
    static const struct {
        int64_t at_ms, before_ms;
        bool closed;
        int64_t next_ms;
    } cases[] = {{0, 1000, false, 100},   {0, 50, false, 50},     {0, 100, false, 100},
                 {100, 1000, true, 200},  {199, 1000, true, 200}, {150, 170, true, 170},
                 {200, 1000, false, 300}, {300, 1000, true, 350}, {350, 1000, false, 1000}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t next = cases[i].before_ms;
        CHECK_INT(measures_were_closed(r.ms, p, NULL, NULL, cases[i].at_ms, &next), cases[i].closed);
        CHECK_INT(next, cases[i].next_ms);
    }
    int64_t next = 1000;
    CHECK(!measures_were_closed(r.ms, &r.by_source[1], NULL, NULL, 150, &next) && next == 1000);
    rig_close(&r);
}

TEST(people_and_programs_see_the_same_of_a_measure)
{
    static const struct {
        enum act_scope scope;
        const char *want;
    } cases[] = {
        {ACT_PATH, "\"scope\":\"path\",\"isp\":\"q\",\"source\":\"s1\",\"site\":null,\"domain\":null,"
                   "\"stream\":null,\"campaign\":null,"},
        {ACT_SITE, "\"scope\":\"site\",\"isp\":\"q\",\"source\":null,\"site\":\"it\",\"domain\":null,"
                   "\"stream\":null,\"campaign\":null,"},
        {ACT_SOURCE, "\"scope\":\"source\",\"isp\":null,\"source\":\"s1\",\"site\":null,\"domain\":null,"
                     "\"stream\":null,\"campaign\":null,"},
        {ACT_STREAM, "\"scope\":\"stream\",\"isp\":\"q\",\"source\":null,\"site\":null,\"domain\":\"it\","
                     "\"stream\":null,\"campaign\":null,"},
        {ACT_CAMPAIGN, "\"scope\":\"campaign\",\"isp\":\"q\",\"source\":null,\"site\":null,\"domain\":null,"
                       "\"stream\":null,\"campaign\":\"it\","},
        {ACT_ONE_STREAM, "\"scope\":\"one stream\",\"isp\":\"q\",\"source\":null,\"site\":null,"
                         "\"domain\":null,\"stream\":\"it\",\"campaign\":null,"},
    };
    struct rig r;
    struct buf got = {0}, want = {0};
    rig_open(&r);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rec_measure rec = record((uint32_t)i + 1, ACT_SUSPEND, cases[i].scope);
        rec.what = cases[i].scope == ACT_PATH || cases[i].scope == ACT_SOURCE ? S("") : S("it");
        buf_clear(&got);
        buf_clear(&want);
        measure_json(&got, put(&r, rec), 7);
        buf_printf(
            &want,
            "{\"measure\":\"suspend\",\"name\":\"M%zu\",%s\"rule\":\"init.lua:7 rule 1\","
            "\"why\":\"421 slow down\",\"allows\":\"nothing goes\",\"since\":\"2026-07-02T09:59:00.000Z\","
            "\"until\":\"2026-07-02T11:00:00.000Z\",\"waiting\":7}",
            i + 1, cases[i].want);
        CHECK_STR(buf_slice(&got), buf_slice(&want));
    }
    buf_clear(&got);
    measure_text(&got, measures_find(r.ms, S("M1")));
    CHECK_STR(buf_slice(&got), S("measure M1 (suspend, nothing goes) by init.lua:7 rule 1: 421 slow down"));
    buf_free(&got);
    buf_free(&want);
    rig_close(&r);
}

TEST(a_measure_holds_until_it_has_recovered_and_can_be_lifted_until_then)
{
    struct rig r;
    rig_open(&r);
    struct rec_measure rec = record(1, ACT_SUSPEND, ACT_PATH);
    rec.until_ms = START + 1000;
    rec.recover_ms = 2000;
    struct measure *m = put(&r, rec);
    CHECK(measure_holds(m) && measures_find(r.ms, S("m1")) == m);
    m->until_ms = START - 1000;
    CHECK(measure_holds(m));
    m->until_ms = START - 2000;
    CHECK(!measure_holds(m) && !measures_find(r.ms, S("M1")));
    CHECK_INT(measures_lift(r.ms, S("M1")), ERR_NOTFOUND);
    CHECK_INT(changes, 0);
    m->until_ms = START + 1000;
    CHECK_INT(measures_lift(r.ms, S("M1")), 0);
    CHECK(m->lifted && m->over_ms == START && changes == 1 && !measure_holds(m));
    CHECK_INT(measures_lift(r.ms, S("M1")), ERR_NOTFOUND);
    rig_close(&r);
}

/* --- over the end of a process --- */

static bool same(const struct rec_measure *a, const struct rec_measure *b)
{
    return a->number == b->number && a->kind == b->kind && a->scope == b->scope &&
           a->begin_ms == b->begin_ms && a->until_ms == b->until_ms && a->recover_ms == b->recover_ms &&
           a->over_ms == b->over_ms && a->lifted == b->lifted && a->factor_ppm == b->factor_ppm &&
           a->per_day == b->per_day && a->connections == b->connections && a->cause == b->cause &&
           slice_eq(a->what, b->what) && slice_eq(a->rule, b->rule) && slice_eq(a->why, b->why) &&
           a->state == b->state && a->learnt_per_day == b->learnt_per_day &&
           a->borne_per_day == b->borne_per_day && a->shut_until_ms == b->shut_until_ms &&
           a->rest_ms == b->rest_ms && a->wait_ms == b->wait_ms && a->refused_ms == b->refused_ms &&
           a->doubtful == b->doubtful && a->at_ms == b->at_ms;
}

TEST(a_measure_reads_back_as_it_was_written)
{
    struct rig r;
    rig_open(&r);
    struct rec_measure recs[] = {record(3, ACT_SLOW, ACT_CAMPAIGN), record(4, MEASURE_BACKOFF, ACT_PATH),
                                 record(5, MEASURE_BACKOFF, ACT_PATH)};
    recs[0].what = S("x1");
    recs[0].recover_ms = 20 * MINUTE;
    recs[0].over_ms = START - 1;
    recs[0].lifted = true;
    recs[0].per_day = 777;
    recs[0].connections = 6;
    recs[0].cause = 99;
    for (int i = 1; i < 3; i++) {
        recs[i].state = (uint8_t)(i == 1 ? BACKOFF_PACED : BACKOFF_SHUT);
        recs[i].learnt_per_day = 1440;
        recs[i].borne_per_day = 1500;
        recs[i].shut_until_ms = START + 17;
        recs[i].rest_ms = HOUR;
        recs[i].wait_ms = 2 * MINUTE;
        recs[i].refused_ms = START - HOUR;
        recs[i].doubtful = true;
    }
    for (size_t i = 0; i < COUNT(recs); i++) {
        struct rec_measure again;
        const struct measure *m = put(&r, recs[i]);
        measure_record(m, recs[i].at_ms, &again);
        if (!same(&again, &recs[i]))
            test_fail(__FILE__, __LINE__, "M%u is another", recs[i].number);
        CHECK_STR(slice_cstr(m->isp), S("q"));
        CHECK_STR(slice_cstr(m->source), i ? S("s1") : S(""));
        CHECK_INT(m->source_index, i ? 0 : CONF_NONE);
    }
    /* A row goes on where it was; one that is shut begins anew when it opens. */
    const struct backoff *paced = measures_find(r.ms, S("M4"))->backoff,
                         *shut = measures_find(r.ms, S("M5"))->backoff;
    CHECK(paced->began && paced->row_ms == START && paced->step_ms == START);
    CHECK(shut->began && !shut->row_ms);
    struct rec_measure source = record(6, ACT_SUSPEND, ACT_SOURCE);
    CHECK_STR(slice_cstr(put(&r, source)->isp), S("")); /* it is about all */
    rig_close(&r);
}

TEST(the_later_record_of_a_measure_replaces_the_earlier)
{
    struct rig r;
    rig_open(&r);
    struct rec_measure rec = record(7, ACT_SUSPEND, ACT_PATH);
    put(&r, rec);
    rec.until_ms = START + 2 * HOUR;
    rec.why = S("550 S3150");
    const struct measure *m = put(&r, rec);
    CHECK_INT(count(&r), 1);
    CHECK_INT(m->until_ms, START + 2 * HOUR);
    CHECK_STR(slice_cstr(m->why), S("550 S3150"));
    CHECK_INT(r.ms->next_number, 8);
    rig_close(&r);
}

TEST(what_came_to_its_end_between_two_processes_is_over_since_then)
{
    struct rig r;
    rig_open(&r);
    struct rec_measure rec = record(1, ACT_SUSPEND, ACT_PATH), learnt = record(2, MEASURE_BACKOFF, ACT_PATH);
    rec.until_ms = START - 3000;
    rec.recover_ms = 2000;
    CHECK_INT(put(&r, rec)->over_ms, START - 1000);
    rec.number = 3;
    rec.recover_ms = 3001;
    CHECK_INT(put(&r, rec)->over_ms, 0);
    learnt.state = BACKOFF_PACED;
    learnt.refused_ms = START - DAY - 1; /* a day without a refusal */
    CHECK_INT(put(&r, learnt)->over_ms, START - 1);
    learnt.number = 4;
    learnt.refused_ms = START - DAY;
    CHECK_INT(put(&r, learnt)->over_ms, 0);
    learnt.number = 5;
    learnt.refused_ms = START - 2 * DAY;
    learnt.over_ms = START - 5; /* it had its end */
    CHECK_INT(put(&r, learnt)->over_ms, START - 5);
    rig_close(&r);
}

TEST(a_measure_that_makes_no_sense_is_none)
{
    struct rig r;
    rig_open(&r);
    struct rec_measure good = record(1, ACT_SLOW, ACT_PATH), bad[18],
                       learnt = record(1, MEASURE_BACKOFF, ACT_PATH);
    learnt.state = BACKOFF_PACED;
    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = i < 10 ? good : learnt;
    bad[0].number = 0;
    bad[1].number = 1 << 30;
    bad[2].kind = 0;
    bad[3].kind = MEASURE_BACKOFF + 1;
    bad[4].scope = ACT_SCOPES;
    bad[5].factor_ppm = ACT_WHOLE + 1;
    bad[6].recover_ms = -1;
    bad[7].recover_ms = 366 * DAY;
    bad[8].per_day = -1;
    bad[9].per_day = INT64_MAX / ACT_WHOLE;
    bad[10].until_ms = -1;
    bad[11].until_ms = INT64_MAX / 2;
    bad[12].state = BACKOFF_PACED + 1;
    bad[13].scope = ACT_SITE;
    bad[14].learnt_per_day = -1;
    bad[15].borne_per_day = INT64_MAX / 1000;
    bad[16].rest_ms = -1;
    bad[17].wait_ms = -1;
    for (size_t i = 0; i < COUNT(bad); i++) {
        measures_restore(r.ms, &bad[i], S("q"), S("s1"));
        if (count(&r))
            test_fail(__FILE__, __LINE__, "record %zu was taken", i);
    }
    measures_restore(r.ms, &good, SLICE_NONE, S("s1")); /* an isp that is not known any more */
    CHECK_INT(count(&r), 0);
    good.scope = ACT_SOURCE;
    measures_restore(r.ms, &good, SLICE_NONE, S("s1"));
    CHECK_INT(count(&r), 1);
    rig_close(&r);
}
