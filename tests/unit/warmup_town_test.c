/* warmup_town_test.c - warm-ups at work: what leaves keeps pace and window, and no restart gives it twice. */
#include "delivery/deliver_impl.h"
#include "test.h"
#include "town.h"

#include <stdio.h>

enum { TIMES_MOST = 20000, HOUR_MS = 3600000, DAY_MS = 86400000 };
#define TOWN_0 1764000000000      /* 2025-11-24 16:00 UTC */
static int64_t times[TIMES_MOST]; /* UTC */
static char senders[TIMES_MOST];  /* the first letter of the return path's domain */
static size_t ntimes;

static void on_transaction(void *data, const struct world_isp *isp, const struct smtp_server_tx *tx)
{
    struct town *t = data;
    if (ntimes == TIMES_MOST)
        return;
    ptrdiff_t at = slice_find(tx->from, S("@"));
    senders[ntimes] = at < 0 ? 0 : tx->from.p[at + 1];
    times[ntimes++] = loop_wall_ms(t->loop);
}

static size_t most_in(int64_t window_ms)
{
    size_t most = 0;
    for (size_t i = 0, from = 0; i < ntimes; i++) {
        while (times[i] - times[from] >= window_ms)
            from++;
        if (i - from + 1 > most)
            most = i - from + 1;
    }
    return most;
}

static size_t between(int64_t from_ms, int64_t to_ms)
{
    size_t n = 0;
    for (size_t i = 0; i < ntimes; i++)
        n += times[i] >= from_ms && times[i] < to_ms;
    return n;
}

static const char *const a_only[] = {"a.test"};
static struct slice a_mx[] = {S("mx.a.test")};
static struct conf_isp isps[] = {{.name = S("a"), .mx = a_mx, .nmx = 1}};
static const uint32_t steps[] = {60, 120, 240, 480};

#define WORLD(more)                                                                                          \
    "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1'" more " } } }"

static struct conf_warmup warmup_of(uint16_t source)
{
    return (struct conf_warmup){.source = source,
                                .isp = 0,
                                .overflow = CONF_NONE,
                                .place = {S("init.lua"), 12},
                                .curve = {.steps = steps, .nsteps = 4, .hold = 1, .enough_permille = 800},
                                .retreat_classes = 1ull << CLASS_RATE_LIMITED,
                                .retreat_least = 3,
                                .retreat_above_ppm = 20000,
                                .retreat_over_ms = HOUR_MS};
}

static bool start(struct town *t, const char *world, struct conf_warmup *w, size_t n)
{
    ntimes = 0;
    if (!town_new(t, world, 1))
        return false;
    town_close(t);
    t->conf.isps = isps;
    t->conf.nisps = 1;
    t->conf.warmups = w;
    t->conf.nwarmups = n;
    t->transaction = on_transaction;
    return town_open(t);
}

static struct warmup *only(struct town *t)
{
    size_t at = 0;
    return warmups_next(deliver_warmups(t->d), &at);
}

TEST(mail_of_a_warm_up_leaves_one_by_one_in_its_window)
{
    struct conf_warmup w = warmup_of(0);
    struct town t;
    w.curve.open_s = 1 * 3600;
    w.curve.close_s = 5 * 3600;
    CHECK(start(&t, WORLD(""), &w, 1));
    CHECK_INT(town_send(&t, a_only, 1, 3000), 3000);
    town_run_for(&t, 3 * DAY_MS);
    int64_t day = TOWN_0 + 8 * HOUR_MS; /* midnight */
    CHECK_INT(between(TOWN_0, day + 1 * HOUR_MS), 0);
    CHECK_INT(between(day + 1 * HOUR_MS, day + 5 * HOUR_MS), 240);
    CHECK_INT(between(day + 5 * HOUR_MS, day + 25 * HOUR_MS), 0);
    CHECK_INT(between(day + 25 * HOUR_MS, day + 29 * HOUR_MS), 480);
    CHECK_INT(between(day + 49 * HOUR_MS, day + 53 * HOUR_MS), 960);
    CHECK_INT(ntimes, 240 + 480 + 960);
    for (size_t i = 1; i < 240; i++)
        CHECK(times[i] - times[i - 1] >= 60000 && times[i] - times[i - 1] <= 60002);
    CHECK_INT(most_in(HOUR_MS), 240);
    CHECK_INT(only(&t)->pending, 0);
    CHECK(town_accounted(&t, 3000));
    town_free(&t);
}

TEST(every_window_of_an_hour_holds_whenever_mail_comes)
{
    struct conf_warmup w = warmup_of(0);
    struct town t;
    static const uint32_t flat[] = {100};
    w.curve.steps = flat;
    w.curve.nsteps = 1;
    CHECK(start(&t, WORLD(", delay = '70 ms'"), &w, 1));
    size_t sent = 0;
    for (int i = 1; i < 20; i++) { /* now a few, now many, with pauses */
        sent += town_send(&t, a_only, 1, 37 * i);
        town_run_for(&t, 1700000 + i * 7001);
    }
    CHECK_INT(sent, 37 * 19);
    CHECK(most_in(HOUR_MS) <= 100);
    CHECK(ntimes > 500);
    CHECK_INT(only(&t)->state.used, between(TOWN_0 + 8 * HOUR_MS, INT64_MAX));
    town_free(&t);
}

TEST(each_from_domain_and_each_source_warms_up_alone)
{
    struct conf_source sources[] = {{.name = S("mx1"), .ehlo = S("mx1.example.jp")},
                                    {.name = S("mx2"), .ehlo = S("mx2.example.jp")}};
    struct conf_stream streams[] = {{.name = S("x"),
                                     .from = S("x <x@x.example.jp>"),
                                     .domain = S("x.example.jp"),
                                     .bounce = S("x.example.jp"),
                                     .pool = CONF_NONE,
                                     .priority = CONF_BULK,
                                     .weight = 1},
                                    {.name = S("y"),
                                     .from = S("y <y@y.example.jp>"),
                                     .domain = S("y.example.jp"),
                                     .bounce = S("y.example.jp"),
                                     .pool = CONF_NONE,
                                     .priority = CONF_BULK,
                                     .weight = 1}};
    struct conf_warmup w[] = {warmup_of(0), warmup_of(1)};
    struct conf_campaign campaigns[2];
    struct town t;
    ntimes = 0;
    CHECK(town_new(&t, WORLD(""), 1));
    town_close(&t);
    for (size_t i = 0; i < 2; i++) {
        campaigns[i] = t.conf.campaigns[0];
        campaigns[i].name = streams[i].name;
        campaigns[i].stream = (uint16_t)i;
    }
    t.conf.isps = isps;
    t.conf.nisps = 1;
    t.conf.sources = sources;
    t.conf.streams = streams;
    t.conf.campaigns = campaigns;
    t.conf.nsources = t.conf.nstreams = t.conf.ncampaigns = 2;
    t.conf.warmups = w;
    t.conf.nwarmups = 2;
    t.transaction = on_transaction;
    CHECK(town_open(&t));
    CHECK_INT(town_send_as(&t, S("x"), a_only, 1, 500), 500);
    CHECK_INT(town_send_as(&t, S("y"), a_only, 1, 500), 500);
    town_run_for(&t, 2 * HOUR_MS - 1000);
    size_t of_x = 0;
    for (size_t i = 0; i < ntimes; i++)
        of_x += senders[i] == 'x';
    CHECK_INT(ntimes, 4 * 120);
    CHECK_INT(of_x, 2 * 120);
    size_t at = 0, n = 0;
    for (struct warmup *one; (one = warmups_next(deliver_warmups(t.d), &at)); n++)
        CHECK_INT(one->state.used, 120);
    CHECK_INT(n, 4);
    town_free(&t);
}

TEST(what_nobody_named_gets_the_curve_that_is_for_all)
{
    struct conf_warmup w[] = {warmup_of(0), warmup_of(0)};
    static const uint32_t slow[] = {6};
    struct town t;
    w[1].isp = CONF_NONE;
    w[1].curve.steps = slow;
    w[1].curve.nsteps = 1;
    static const char *const both[] = {"a.test", "b.test"};
    CHECK(start(&t,
                "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1' },"
                " b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2' } } }",
                w, 2));
    CHECK_INT(town_send(&t, both, 2, 100), 200);
    town_run_for(&t, HOUR_MS - 1000);
    CHECK_INT(ntimes, 60 + 6);
    town_free(&t);
}

TEST(a_quota_of_the_day_is_spread_over_it_and_ends)
{
    struct conf_warmup w = warmup_of(0);
    static const uint32_t daily[] = {200, 500};
    struct town t;
    w.curve.steps = daily;
    w.curve.nsteps = 2;
    w.curve.per_day = true;
    w.curve.open_s = 16 * 3600; /* now */
    w.curve.close_s = 20 * 3600;
    CHECK(start(&t, WORLD(""), &w, 1));
    CHECK_INT(town_send(&t, a_only, 1, 1000), 1000);
    town_run_for(&t, HOUR_MS - 1000);
    CHECK_INT(ntimes, 50);
    /* People say that it is day 1 still, but set the curve back: what went today stays gone. */
    CHECK_INT(warmups_set(deliver_warmups(t.d), S("default"), S("a"), SLICE_NONE, 2), 1);
    town_run_for(&t, 3 * HOUR_MS);
    CHECK(ntimes > 400 && ntimes <= 500);
    CHECK_INT(between(TOWN_0 + 4 * HOUR_MS, INT64_MAX), 0);
    size_t before = ntimes;
    CHECK_INT(warmups_set(deliver_warmups(t.d), S("default"), S("a"), SLICE_NONE, 1), 1);
    town_run_for(&t, 20 * HOUR_MS);
    CHECK_INT(ntimes, before);
    town_free(&t);
}

static bool same_state(const struct warmup *w, const struct warmup_state *s)
{
    return w->state.day == s->day && w->state.position == s->position && w->state.used == s->used &&
           w->state.delivered == s->delivered && w->state.retreat_day == s->retreat_day;
}

TEST(a_crash_in_the_middle_of_a_day_loses_no_count_and_gives_nothing_twice)
{
    struct conf_warmup w = warmup_of(0);
    struct town t;
    CHECK(
        start(&t, WORLD(", replies = { { phase = 'rcpt', to = '7@', reply = '451 4.7.0 later' } }"), &w, 1));
    CHECK_INT(town_send(&t, a_only, 1, 5000), 5000);
    for (int i = 0; i < 12; i++) {
        town_run_for(&t, 5 * HOUR_MS + 61234 + i * 987654);
        struct warmup_state before = only(&t)->state;
        CHECK(before.used > 0);
        if (i % 2)
            town_crash(&t);
        else
            town_close(&t);
        CHECK(town_open(&t));
        deliver_start(t.d);
        CHECK(same_state(only(&t), &before));
        CHECK_INT(only(&t)->pending, 0);
    }
    CHECK(most_in(HOUR_MS) <= 480);
    for (size_t i = 1; i < ntimes; i++)
        CHECK(times[i] - times[i - 1] >= HOUR_MS / 480);
    /* Downtime is not made up for, and days that were used count: 60, 120, 240 … */
    CHECK_INT(only(&t)->state.position, 2);
    town_free(&t);
}

TEST(one_answer_does_not_take_a_step_back_three_do)
{
    struct conf_warmup w = warmup_of(0);
    struct town t;
    CHECK(start(&t, WORLD(", replies = { { phase = 'rcpt', to = '^p30', reply = '421 4.7.28 too fast' } }"),
                &w, 1));
    CHECK_INT(warmups_set(deliver_warmups(t.d), S("default"), S("a"), S("example.jp"), 2), 1);
    CHECK_INT(town_send(&t, a_only, 1, 100), 100);
    town_run_for(&t, 45 * 60000);
    CHECK_INT(t.events[EVENT_DEFERRED] >= 1, 1);
    CHECK_INT(only(&t)->state.position, 1);
    CHECK(!only(&t)->why);
    town_free(&t);

    CHECK(start(&t,
                WORLD(", replies = { { phase = 'rcpt', to = '^p3[0-4]', reply = '421 4.7.28 too fast' } }"),
                &w, 1));
    CHECK_INT(warmups_set(deliver_warmups(t.d), S("default"), S("a"), S("example.jp"), 2), 1);
    CHECK_INT(town_send(&t, a_only, 1, 100), 100);
    town_run_for(&t, 45 * 60000);
    CHECK_INT(only(&t)->state.position, 0);
    CHECK(only(&t)->why);
    CHECK(slice_find(slice_cstr(only(&t)->why),
                     S("answers within 1 h were rate_limited: back from 120/h to 60/h")) > 0);
    CHECK(slice_find(buf_slice(&t.trace), S("notice: warm-up source=default isp=a from=example.jp 3 of ")) >=
          0);
    CHECK(slice_find(buf_slice(&t.trace), S("(init.lua:12)")) > 0);
    /* Once a day, and it is in the journal with its reason. */
    struct warmup_state before = only(&t)->state;
    town_crash(&t);
    CHECK(town_open(&t));
    CHECK(same_state(only(&t), &before));
    CHECK(only(&t)->why && slice_find(slice_cstr(only(&t)->why), S("back from 120/h to 60/h")) > 0);
    town_free(&t);
}

TEST(many_answers_that_are_a_small_share_take_no_step_back)
{
    struct conf_warmup w = warmup_of(0);
    struct town t;
    w.retreat_above_ppm = 500000;
    CHECK(start(&t, WORLD(", replies = { { phase = 'rcpt', to = '7@', reply = '421 4.7.28 too fast' } }"), &w,
                1));
    CHECK_INT(town_send(&t, a_only, 1, 200), 200);
    town_run_for(&t, 3 * HOUR_MS);
    CHECK(t.events[EVENT_DEFERRED] > 10);
    CHECK(!only(&t)->why);
    town_free(&t);
}

TEST(a_warm_up_that_was_set_by_hand_stays_so_through_a_crash)
{
    struct conf_warmup w = warmup_of(0);
    struct town t;
    CHECK(start(&t, WORLD(""), &w, 1));
    CHECK_INT(warmups_set(deliver_warmups(t.d), S("default"), S("a"), S("other.jp"), 3), 0);
    CHECK_INT(warmups_set(deliver_warmups(t.d), S("default"), S("a"), SLICE_NONE, 3), 1);
    CHECK_INT(town_send(&t, a_only, 1, 1000), 1000);
    town_run_for(&t, HOUR_MS - 1000);
    CHECK_INT(ntimes, 240);
    town_crash(&t);
    CHECK(town_open(&t));
    CHECK_INT(only(&t)->state.position, 2);
    CHECK_INT(only(&t)->state.used, 240);
    town_free(&t);
}

TEST(a_warm_up_goes_on_after_events_are_compacted_away)
{
    struct conf_warmup w = warmup_of(0);
    struct town t;
    CHECK(start(&t, WORLD(""), &w, 1));
    town_close(&t);
    t.conf.keep_ms = DAY_MS;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 3000), 3000);
    town_run_for(&t, 4 * (int64_t)DAY_MS);
    CHECK_INT(town_files_with(&t, "events", "p7@a.test"), 0);
    struct warmup_state before = only(&t)->state;
    CHECK(before.position == 1 && before.used > 1000);
    town_crash(&t);
    CHECK(town_open(&t));
    CHECK_INT(only(&t)->state.day, before.day);
    CHECK_INT(only(&t)->state.position, before.position);
    CHECK_INT(only(&t)->state.used, before.used);
    CHECK_INT(only(&t)->state.delivered, before.delivered);
    town_free(&t);
}

TEST(a_day_that_is_used_up_ends_within_its_window)
{
    struct conf_warmup w = warmup_of(0);
    static const uint32_t daily[] = {200, 500};
    struct town t;
    w.curve.steps = daily;
    w.curve.nsteps = 2;
    w.curve.per_day = true;
    w.curve.open_s = 16 * 3600; /* now */
    w.curve.close_s = 20 * 3600;
    CHECK(start(&t, WORLD(""), &w, 1));
    CHECK_INT(warmups_set(deliver_warmups(t.d), S("default"), S("a"), SLICE_NONE, 2), 1);
    CHECK_INT(town_send(&t, a_only, 1, 1000), 1000);
    town_run_for(&t, 2 * HOUR_MS);
    size_t before = ntimes;
    CHECK(before > 200);
    CHECK_INT(only(&t)->state.delivered, before);
    CHECK_INT(warmups_set(deliver_warmups(t.d), S("default"), S("a"), SLICE_NONE, 1), 1);
    CHECK_INT(warmup_room(only(&t)), 0);
    CHECK_INT(warmup_permit_ms(only(&t)), TOWN_0 + DAY_MS);
    town_run_for(&t, 2 * HOUR_MS);
    CHECK_INT(ntimes, before);
    town_free(&t);
}

TEST(a_permit_that_was_not_used_is_there_again_and_none_is_beyond_the_window)
{
    struct conf_warmup w = warmup_of(0);
    static const uint32_t slow[] = {1};
    struct town t;
    w.curve.steps = slow;
    w.curve.nsteps = 1;
    w.curve.open_s = 16 * 3600; /* now */
    w.curve.close_s = 16 * 3600 + 1800;
    CHECK(start(&t, WORLD(""), &w, 1));
    warmups_make(deliver_warmups(t.d));
    struct warmup *one = warmups_get(deliver_warmups(t.d), &t.conf.warmups[0], S("a"), S("example.jp"));
    int64_t due = warmup_due_ms(one);
    warmup_take(one);
    CHECK_INT(warmup_permit_ms(one), TOWN_0 + DAY_MS); /* an hour from now it is closed */
    warmup_return(one, true);
    CHECK_INT(warmup_due_ms(one), due);
    CHECK_INT(one->pending, 0);
    town_free(&t);
}

TEST(a_greeting_that_refuses_is_an_answer_to_a_warm_up_and_nobody_hammers_at_it)
{
    struct conf_warmup w = warmup_of(0);
    struct town t;
    CHECK(start(&t, WORLD(", accept = '10/h', over = { phase = 'banner', reply = '421 4.7.28 too fast' }"),
                &w, 1));
    CHECK_INT(warmups_set(deliver_warmups(t.d), S("default"), S("a"), SLICE_NONE, 2), 1);
    CHECK_INT(town_send(&t, a_only, 1, 30), 30);
    town_run_for(&t, 20 * 60000);
    CHECK_INT(only(&t)->state.position, 0);
    CHECK(only(&t)->why);
    CHECK(slice_starts(slice_cstr(only(&t)->why),
                       S("3 of 13 answers within 1 h were rate_limited: back from 120/h")));
    CHECK(sink_stats(t.sink).connections < 10 + 12); /* three at once, then after 10 s, 20 s … */
    town_free(&t);
}

/* One mail of this source there was refused for its rate. */
static void refuse(struct town *t, const char *isp)
{
    warmups_answer(deliver_warmups(t->d), S("default"), slice_cstr(isp), S("example.jp"), false,
                   CLASS_RATE_LIMITED, loop_wall_ms(t->loop), true);
}

TEST(answers_older_than_the_window_or_the_last_step_back_do_not_count)
{
    struct conf_warmup w = warmup_of(0);
    struct town t;
    CHECK(start(&t, WORLD(""), &w, 1));
    CHECK_INT(warmups_set(deliver_warmups(t.d), S("default"), S("a"), SLICE_NONE, 4), 1);
    struct warmup *one = only(&t);
    refuse(&t, "a");
    refuse(&t, "a");
    town_run_for(&t, 61 * 60000);
    refuse(&t, "a"); /* where in the ring the second stood, too */
    CHECK_INT(one->state.position, 3);
    town_run_for(&t, 60 * 60000);
    refuse(&t, "a");
    refuse(&t, "a");
    CHECK_INT(one->state.position, 3);
    town_run_for(&t, 5 * HOUR_MS + 50 * 60000); /* ten minutes before midnight */
    for (int i = 0; i < 3; i++)
        refuse(&t, "a");
    CHECK_INT(one->state.position, 2);
    town_run_for(&t, 20 * 60000);
    refuse(&t, "a"); /* a new day, and the first of three */
    refuse(&t, "a");
    CHECK_INT(one->state.position, 2);
    refuse(&t, "a");
    CHECK_INT(one->state.position, 1);
    town_free(&t);
}

TEST(what_a_source_is_refused_at_connecting_is_its_own_and_of_that_isp)
{
    static struct slice b_mx[] = {S("mx.b.test")};
    static struct conf_isp two[] = {{.name = S("a"), .mx = a_mx, .nmx = 1},
                                    {.name = S("b"), .mx = b_mx, .nmx = 1}};
    static struct conf_source sources[] = {{.name = S("default"), .ehlo = S("mx1.example.jp")},
                                           {.name = S("mx2"), .ehlo = S("mx2.example.jp")}};
    struct conf_warmup w[] = {warmup_of(0), warmup_of(1), warmup_of(0)};
    struct town t;
    w[2].isp = 1;
    CHECK(start(&t, WORLD(""), w, 3));
    town_close(&t);
    t.conf.isps = two;
    t.conf.sources = sources;
    t.conf.nisps = t.conf.nsources = 2;
    CHECK(town_open(&t));
    struct warmups *ws = deliver_warmups(t.d);
    CHECK_INT(warmups_set(ws, S("default"), S("a"), SLICE_NONE, 2), 1);
    CHECK_INT(warmups_set(ws, S("mx2"), S("a"), SLICE_NONE, 2), 1);
    CHECK_INT(warmups_set(ws, S("default"), S("b"), SLICE_NONE, 1), 1);
    CHECK(warmups_would_retreat(ws, 0, S("a"), CLASS_RATE_LIMITED));
    CHECK(!warmups_would_retreat(ws, 0, S("a"), CLASS_SYSTEM));
    CHECK(!warmups_would_retreat(ws, 0, S("b"), CLASS_RATE_LIMITED)); /* it is at the first step */
    CHECK(!warmups_would_retreat(ws, 1, S("b"), CLASS_RATE_LIMITED));
    for (int i = 0; i < 3; i++)
        warmups_refused(ws, 0, S("a"), CLASS_RATE_LIMITED);
    CHECK(!warmups_would_retreat(ws, 0, S("a"), CLASS_RATE_LIMITED)); /* it did, today */
    CHECK(warmups_would_retreat(ws, 1, S("a"), CLASS_RATE_LIMITED));
    CHECK_INT(warmups_find(ws, S("default"), S("a"), S("example.jp"))->state.position, 0);
    CHECK_INT(warmups_find(ws, S("mx2"), S("a"), S("example.jp"))->state.position, 1);
    CHECK(!warmups_find(ws, S("mx2"), S("a"), S("example.jp"))->why);
    CHECK(!warmups_find(ws, S("default"), S("b"), S("example.jp"))->why);
    town_free(&t);
}
