/* clock_test.c - what a message's time to live counts, and what it does not: a message that is refused at
 * each try, kept back by one thing after the other, with and without a kill in the middle. */
#include "delivery/clock.h"
#include "delivery/deliver_impl.h"
#include "delivery/measure.h"
#include "delivery/steer.h"
#include "format/mp.h"
#include "test.h"
#include "town.h"

#include <stdio.h>
#include <stdlib.h>

enum { SECOND = 1000, MINUTE = 60000, HOUR = 3600000 };

/* Nobody can be reached while the first reply holds; whom the second is about is refused. */
static const char world[] =
    "return { isps = { a = { domains = {'a.test', 'dns.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
    "  replies = { { phase = 'banner', disconnect = true },"
    "              { phase = 'rcpt', to = '^p', reply = '450 4.2.1 not now' } } } },"
    "  dns = { ['dns.test'] = 'servfail' } }";

static const char *const a[] = {"a.test"}, *const dns_test[] = {"dns.test"};
static struct slice a_mx[] = {S("mx.a.test")};
static struct conf_isp isps[] = {{.name = S("a"), .mx = a_mx, .nmx = 1, .place = {S("init.lua"), 3}}};
static const uint32_t steps[] = {60};
static struct conf_warmup warmup = {.isp = 0,
                                    .overflow = CONF_NONE,
                                    .place = {S("init.lua"), 12},
                                    .curve = {.steps = steps, .nsteps = 1, .hold = 1}};

static struct seen {
    int64_t at_ms, due_ms;
    unsigned type, attempt, code;
    char text[64], class_name[32];
} seen[2000];
static size_t nseen;

static void see(struct town *t, const struct rec_event *ev)
{
    (void)t;
    if (ev->type == EVENT_ACCEPTED || nseen == COUNT(seen))
        return;
    struct seen *s = &seen[nseen++];
    *s = (struct seen){ev->at_ms, ev->next_due_ms, ev->type, ev->attempt, ev->code, "", ""};
    snprintf(s->text, sizeof s->text, "%.*s", SLICE_FMT(ev->text));
    snprintf(s->class_name, sizeof s->class_name, "%.*s", SLICE_FMT(ev->class_name));
}

static size_t count_of(unsigned type)
{
    size_t n = 0;
    for (size_t i = 0; i < nseen; i++)
        n += seen[i].type == type;
    return n;
}

static void set_down(struct town *t, bool down)
{
    t->world->isps[0].replies[0].share_ppm = down ? 1000000 : 0;
}

/* configure may be NULL. Tried again after an hour, more or less; given up after three. */
static bool start(struct town *t, void (*configure)(struct conf *c))
{
    nseen = 0;
    isps[0].amounts = (struct conf_amounts){0};
    if (!town_new(t, world, 11))
        return false;
    set_down(t, false);
    town_close(t);
    t->conf.isps = isps;
    t->conf.nisps = 1;
    t->conf.retry = (struct verdict_schedule){{HOUR}, 1, 3 * (int64_t)HOUR};
    if (configure)
        configure(&t->conf);
    t->event = see;
    /* The machine has a name for its boot: a kill is told from a loss of power. */
    return !fs_mkdir(t->fs, "/proc/sys/kernel/random", 0700, &t->err) &&
           !fs_write_atomic(t->fs, "/proc/sys/kernel/random/boot_id", S("one"), 0600, &t->err) &&
           town_open(t);
}

static int64_t clock_of(struct town *t, uint64_t id)
{
    return queue_get(deliver_queue(t->d), id) ? queue_clock_ms(deliver_queue(t->d), id) : -1;
}

static bool is_about(int64_t ms, int64_t want_ms)
{
    bool is = ms > want_ms - 5 * SECOND && ms < want_ms + 5 * SECOND;
    if (!is)
        fprintf(stderr, "it shows %.3f h, not %.3f h\n", (double)ms / HOUR, (double)want_ms / HOUR);
    return is;
}

static bool kill_and_start(struct town *t)
{
    town_crash(t);
    return town_open(t);
}

/* --- what keeps mail back --- */

static void on_steered(void *data, int status, uint64_t touched, uint64_t in_flight)
{
    (void)data;
    (void)status;
    (void)touched;
    (void)in_flight;
}

static bool do_steer(struct town *t, enum steer_verb verb, const char *words)
{
    struct steer_order o = {.verb = verb};
    bool done = !steer_parse(slice_cstr(words), &o.kind, &o.name, &t->err) &&
                !steer(t->d, &o, on_steered, NULL, &t->err);
    town_run_for(t, SECOND);
    return done;
}

static struct measure *suspend_path_from(struct town *t, uint16_t source, int64_t at_ms)
{
    struct isp *isp = paths_isp(t->d->paths, S("a"));
    struct measure_start s = {.act = act_default(ACT_SUSPEND), .rule = S("a rule"), .why = S("why")};
    s.act.scope = ACT_PATH;
    s.act.for_ms = 10 * (int64_t)HOUR;
    s.act.recover_ms = 0;
    s.path = &isp->by_source[source];
    s.at_ms = at_ms;
    return measure_begin(paths_measures(t->d->paths), &s);
}

static bool suspend_path(struct town *t)
{
    return suspend_path_from(t, 0, 0) != NULL;
}

/* hato why finds what an answer began by that. */
TEST(a_measure_begins_at_its_answers_time_however_late_it_is_put_in_place)
{
    struct town t;
    CHECK(start(&t, NULL) && town_send(&t, a, 1, 1) == 1);
    int64_t answered_ms = loop_wall_ms(t.loop) - 7;
    const struct measure *m = suspend_path_from(&t, 0, answered_ms);
    CHECK(m && m->begin_ms == answered_ms && m->until_ms == answered_ms + 10 * (int64_t)HOUR);
    town_free(&t);
}

static const struct {
    const char *pause; /* NULL: a suspension */
} keepers[] = {{"campaign=hello"}, {"stream=news"}, {"domain=a.test"}, {"isp=a"}, {"source=default"},
               {"id=m1"},          {NULL}};

/* Refused at 0; kept back for ten hours from from_ms on; tried then, or when it is due. What its clock shows
 * then is put in *shows, and -1 where it ended. */
static bool keep_back(size_t keeper, int64_t from_ms, bool killed, int64_t *shows)
{
    struct town t;
    const char *words = keepers[keeper].pause;
    bool ok = start(&t, NULL) && town_send(&t, a, 1, 1) == 1;
    if (!ok)
        return false;
    town_run_for(&t, from_ms);
    ok &= count_of(EVENT_DEFERRED) == 1 && (words ? do_steer(&t, STEER_PAUSE, words) : suspend_path(&t));
    town_run_for(&t, 5 * (int64_t)HOUR);
    if (killed)
        ok &= kill_and_start(&t);
    town_run_for(&t, 5 * (int64_t)HOUR);
    ok &= nseen == 1; /* nothing went meanwhile, and nothing ended */
    if (words)
        ok &= do_steer(&t, STEER_RESUME, words);
    if (killed)
        ok &= kill_and_start(&t);
    for (int i = 0; i < 70 && count_of(EVENT_DEFERRED) == 1 && !count_of(EVENT_EXPIRED); i++)
        town_run_for(&t, MINUTE);
    ok &= count_of(EVENT_DEFERRED) == 2 && seen[nseen - 1].attempt == 2;
    *shows = clock_of(&t, 1) - (loop_wall_ms(t.loop) - seen[nseen - 1].at_ms);
    town_free(&t);
    return ok;
}

TEST(time_under_a_pause_or_a_suspension_does_not_count)
{
    static const int64_t from_ms[] = {10 * SECOND, 20 * MINUTE, 50 * MINUTE};
    for (size_t i = 0; i < COUNT(keepers); i++) {
        for (size_t k = 0; k < COUNT(from_ms); k++) {
            for (int killed = 0; killed < 2; killed++) {
                int64_t shows = -1;
                CHECK(keep_back(i, from_ms[k], killed, &shows));
                CHECK(is_about(shows, from_ms[k]));
            }
        }
    }
}

static struct conf_source two_sources[] = {{.name = S("s1"), .ehlo = S("s1.example.jp")},
                                           {.name = S("s2"), .ehlo = S("s2.example.jp")}};

static void from_two_sources(struct conf *c)
{
    c->sources = two_sources;
    c->nsources = 2;
}

TEST(a_suspended_source_stops_the_clock_of_who_can_go_from_no_other)
{
    for (int other = 0; other < 2; other++) {
        struct town t;
        CHECK(start(&t, from_two_sources));
        CHECK_INT(town_send(&t, a, 1, 1), 1);
        town_run_for(&t, 10 * SECOND);
        CHECK_INT(count_of(EVENT_DEFERRED), 1); /* it goes again from where it went */
        uint16_t source = queue_lane_at(t.d->queue, queue_get(t.d->queue, 1)->lane)->source;
        CHECK(source < 2 && suspend_path_from(&t, other ? 1 - source : source, 0));
        town_run_for(&t, 30 * MINUTE);
        CHECK(is_about(clock_of(&t, 1), 10 * SECOND + other * 30 * MINUTE));
        town_free(&t);
    }
}

TEST(in_an_outage_the_clock_goes_on_while_one_source_is_not_suspended)
{
    struct town t;
    CHECK(start(&t, from_two_sources));
    set_down(&t, true);
    CHECK_INT(town_send(&t, a, 1, 20), 20);
    town_run_for(&t, 30 * MINUTE);
    for (uint16_t source = 0; source < 2; source++) {
        CHECK(suspend_path_from(&t, source, 0));
        town_run_for(&t, 20 * MINUTE);
        CHECK(is_about(clock_of(&t, 20), 50 * MINUTE));
    }
    town_free(&t);
}

static void open_till_half_past_four(struct conf *c)
{
    static struct conf_warmup w;
    w = warmup;
    w.curve.open_s = 15 * 3600; /* the town begins at 16:00 */
    w.curve.close_s = 16 * 3600 + 1800;
    c->warmups = &w;
    c->nwarmups = 1;
}

static void once_in_ten_hours(struct conf *c)
{
    isps[0].amounts.rate = (struct pace_rate){.quota = 1, .per_ms = 10 * (int64_t)HOUR};
    c->isps = isps;
}

/* Until there have been n of them, at most so long. */
static bool run_until(struct town *t, unsigned type, size_t n, int64_t most_ms)
{
    for (int64_t ms = 0; ms < most_ms && count_of(type) < n; ms += MINUTE)
        town_run_for(t, MINUTE);
    return count_of(type) == n;
}

/* Refused at 16:00, due when the window is closed or no permit is there: the rest, and no more. */
static void waits_for_leave(void (*configure)(struct conf *), int64_t next_try_ms)
{
    for (int killed = 0; killed < 3; killed++) {
        struct town t;
        CHECK(start(&t, configure));
        int64_t began = loop_wall_ms(t.loop);
        CHECK_INT(town_send(&t, a, 1, 1), 1);
        town_run_for(&t, 2 * (int64_t)HOUR);
        CHECK_INT(count_of(EVENT_DEFERRED), 1);
        if (killed) {
            town_crash(&t);
            if (killed == 2)
                town_rest_for(&t, 3 * (int64_t)HOUR);
            CHECK(town_open(&t));
        }
        CHECK(run_until(&t, EVENT_DEFERRED, 2, 40 * (int64_t)HOUR));
        CHECK(seen[1].at_ms - began > next_try_ms - MINUTE && seen[1].at_ms - began < next_try_ms + MINUTE);
        int64_t rest_ms = seen[0].due_ms - seen[0].at_ms;
        int64_t want = configure == once_in_ten_hours ? rest_ms : 30 * MINUTE;
        CHECK(is_about(clock_of(&t, 1) - (loop_wall_ms(t.loop) - seen[1].at_ms), want));
        town_free(&t);
    }
}

TEST(time_in_the_closed_window_of_a_warm_up_does_not_count)
{
    waits_for_leave(open_till_half_past_four, 23 * (int64_t)HOUR);
}

TEST(time_for_a_permit_does_not_count)
{
    waits_for_leave(once_in_ten_hours, 10 * (int64_t)HOUR);
}

TEST(time_without_a_hato_counts_only_until_the_next_try)
{
    struct town t;
    CHECK(start(&t, NULL));
    CHECK_INT(town_send(&t, a, 1, 1), 1);
    town_run_for(&t, 10 * SECOND);
    town_crash(&t);
    town_rest_for(&t, 50 * (int64_t)HOUR);
    CHECK(town_open(&t));
    town_run_for(&t, 10 * SECOND);
    CHECK_INT(count_of(EVENT_DEFERRED), 2);
    CHECK(is_about(clock_of(&t, 1) - 10 * SECOND, seen[0].due_ms - seen[0].at_ms));
    town_free(&t);
}

static void again_in_ten_minutes(struct conf *c)
{
    c->retry.retry_ms[0] = 10 * MINUTE;
}

/* Of thirty that are due at once one tries; nobody's clock shows more than its own rests. */
TEST(time_under_an_automatic_back_off_does_not_count)
{
    for (int killed = 0; killed < 2; killed++) {
        struct town t;
        size_t waited = 0;
        CHECK(start(&t, again_in_ten_minutes));
        t.world->isps[0].replies[1].answer = (struct world_answer){421, S("421 4.7.28 slow down\r\n")};
        CHECK_INT(town_send(&t, a, 1, 30), 30);
        town_run_for(&t, 6 * (int64_t)HOUR);
        if (killed)
            CHECK(kill_and_start(&t));
        town_run_for(&t, 6 * (int64_t)HOUR);
        CHECK_INT(count_of(EVENT_EXPIRED), 0);
        for (uint64_t id = 1; id <= 30; id++) {
            const struct q_memo *m = queue_memo(deliver_queue(t.d), id, false);
            int64_t shows = clock_of(&t, id);
            CHECK(shows <= (m ? m->past.attempts : 0) * (int64_t)(11 * MINUTE) + SECOND);
            waited += m && shows > 0;
        }
        CHECK(waited > 3);
        town_free(&t);
    }
}

/* --- what counts --- */

TEST(time_in_which_nobody_can_be_reached_counts_also_for_who_waits_behind_the_probe)
{
    static const struct {
        const char *const *domain;
        bool killed;
    } cases[] = {{a, false}, {a, true}, {dns_test, false}, {dns_test, true}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct town t;
        CHECK(start(&t, NULL));
        set_down(&t, true);
        CHECK_INT(town_send(&t, cases[i].domain, 1, 20), 20);
        int64_t began = loop_wall_ms(t.loop);
        town_run_for(&t, 90 * MINUTE);
        CHECK_INT(count_of(EVENT_EXPIRED), 0);
        CHECK(is_about(clock_of(&t, 20), 90 * MINUTE));
        CHECK_INT(count_of(EVENT_DEFERRED), cases[i].domain == a ? 9 : 0); /* one tries every ten minutes */
        if (cases[i].killed)
            CHECK(kill_and_start(&t));
        town_run_for(&t, 80 * MINUTE);
        CHECK_INT(count_of(EVENT_EXPIRED), 0);
        town_run_for(&t, 80 * MINUTE);
        CHECK_INT(count_of(EVENT_EXPIRED), 20);
        for (size_t k = 0; k < nseen; k++)
            CHECK(seen[k].type != EVENT_EXPIRED || seen[k].at_ms - began >= 3 * (int64_t)HOUR);
        CHECK_INT(count_of(EVENT_DEFERRED) > 0, cases[i].domain == a);
        town_free(&t);
    }
}

TEST(an_outage_counts_for_retries_and_a_pause_in_it_does_not)
{
    for (int paused = 0; paused < 2; paused++) {
        struct town t;
        CHECK(start(&t, NULL));
        CHECK_INT(town_send(&t, a, 1, 1), 1);
        town_run_for(&t, 30 * MINUTE);
        set_down(&t, true);
        town_run_for(&t, 60 * MINUTE);
        if (paused) {
            CHECK(do_steer(&t, STEER_PAUSE, "stream=news"));
            town_run_for(&t, 5 * (int64_t)HOUR);
            CHECK(do_steer(&t, STEER_RESUME, "stream=news"));
        }
        CHECK(is_about(clock_of(&t, 1), 90 * MINUTE));
        town_run_for(&t, 80 * MINUTE);
        CHECK_INT(count_of(EVENT_EXPIRED), 0);
        town_run_for(&t, 30 * MINUTE);
        CHECK_INT(count_of(EVENT_EXPIRED), 1);
        town_free(&t);
    }
}

/* --- ends --- */

TEST(the_last_wait_repeats_and_the_end_has_the_last_reply)
{
    struct town t;
    CHECK(start(&t, NULL));
    CHECK_INT(town_send(&t, a, 1, 1), 1);
    town_run_for(&t, 10 * (int64_t)HOUR);
    CHECK_INT(count_of(EVENT_EXPIRED), 1);
    CHECK(nseen >= 4);
    for (size_t i = 1; i < nseen; i++) {
        int64_t wait_ms = seen[i].at_ms - seen[i - 1].at_ms;
        CHECK(wait_ms >= 54 * MINUTE && wait_ms <= 66 * MINUTE + SECOND);
        CHECK_INT(seen[i].attempt, i + 1);
    }
    const struct seen *last = &seen[nseen - 1];
    CHECK_INT(last->type, EVENT_EXPIRED);
    CHECK_INT(last->code, 450);
    CHECK_STR(slice_cstr(last->text), S("450 4.2.1 not now"));
    CHECK(last->at_ms - seen[0].at_ms >= 3 * (int64_t)HOUR);
    CHECK_STR(slice_cstr(last->class_name), slice_cstr(seen[0].class_name));
    town_free(&t);
}

static bool send_one(struct town *t, int64_t expires_ms)
{
    struct arena arena = {0};
    struct addr addr;
    struct buf values = {0};
    struct campaign *c = deliver_campaign(t->d, S("hello"));
    uint64_t id;
    mp_put_array(&values, 1);
    mp_put_str(&values, S("Taro"));
    deliver_intake_begin(t->d, c);
    bool ok = !addr_parse(S("p0@a.test"), &arena, &addr, &t->err) &&
              !deliver_accept(t->d,
                              &(struct deliver_accept){.campaign = c,
                                                       .columns = deliver_columns(t->d, S("name")),
                                                       .address = S("p0@a.test"),
                                                       .addr = &addr,
                                                       .values = buf_slice(&values),
                                                       .content = SLICE_NONE,
                                                       .key = SLICE_NONE,
                                                       .expires_ms = expires_ms},
                              &id);
    deliver_intake_end(t->d, c, true);
    arena_free(&arena);
    buf_free(&values);
    return ok;
}

TEST(expire_is_looked_at_before_every_hand_off)
{
    for (int tried = 0; tried < 2; tried++) {
        struct town t;
        CHECK(start(&t, NULL));
        if (!tried)
            CHECK(do_steer(&t, STEER_PAUSE, "stream=news"));
        CHECK(send_one(&t, loop_wall_ms(t.loop) + 90 * MINUTE));
        town_run_for(&t, 100 * MINUTE);
        CHECK_INT(count_of(EVENT_DEFERRED), tried ? 2 : 0);
        CHECK_INT(count_of(EVENT_EXPIRED), 0);
        if (!tried)
            CHECK(do_steer(&t, STEER_RESUME, "stream=news"));
        town_run_for(&t, 40 * MINUTE);
        const struct seen *last = &seen[nseen - 1];
        CHECK_INT(last->type, EVENT_EXPIRED);
        CHECK_INT(last->code, tried ? 450 : 0);
        CHECK_STR(slice_cstr(last->text),
                  tried ? S("450 4.2.1 not now") : S("its time ended before it was sent"));
        CHECK_STR(slice_cstr(last->class_name), tried ? slice_cstr(seen[0].class_name) : S("expired"));
        CHECK_INT(nseen, tried ? 3 : 1);
        town_free(&t);
    }
}

static struct conf_campaign timed;
static int64_t timed_at_ms, timed_late_ms;

static void at_its_time(struct conf *c)
{
    timed = c->campaigns[0];
    timed.at_ms = timed_at_ms;
    timed.late_ms = timed_late_ms;
    c->campaigns = &timed;
}

/* late bounds the start alone: once it began, a campaign goes on after any rest. */
TEST(a_campaign_that_is_later_than_late_does_not_start)
{
    enum { AT, LATER, TOO_LATE, UNBOUNDED, CASES };
    for (int i = 0; i < CASES; i++) {
        struct town t;
        timed_at_ms = 1764000000000 + HOUR;
        timed_late_ms = i == UNBOUNDED ? INT64_MAX : 6 * (int64_t)HOUR;
        CHECK(start(&t, at_its_time));
        if (i != AT)
            town_rest_for(&t, (i == LATER ? 6 : 8) * (int64_t)HOUR);
        CHECK(send_one(&t, 0));
        town_run_for(&t, 30 * MINUTE);
        struct campaign *c = deliver_campaign(t.d, S("hello"));
        CHECK_INT(c->run, i == AT ? CAMPAIGN_LATER : i == TOO_LATE ? CAMPAIGN_HELD : CAMPAIGN_RUNNING);
        CHECK_INT(nseen, i == LATER || i == UNBOUNDED);
        if (i == TOO_LATE) {
            CHECK_STR(slice_cstr(c->why), S("its time to start is past by more than `late`"));
            CHECK_INT(deliver_counts(t.d).queued, 1);
        }
        if (i == LATER) {
            town_crash(&t);
            town_rest_for(&t, 8 * (int64_t)HOUR);
            CHECK(town_open(&t));
            town_run_for(&t, 30 * MINUTE);
            CHECK_INT(deliver_campaign(t.d, S("hello"))->run, CAMPAIGN_RUNNING);
            CHECK_INT(count_of(EVENT_DEFERRED) + count_of(EVENT_EXPIRED), 2);
        }
        town_free(&t);
    }
}

static struct conf_campaign two_campaigns[2];

static void the_second_in_an_hour(struct conf *c)
{
    two_campaigns[0] = two_campaigns[1] = c->campaigns[0];
    two_campaigns[1].name = S("later");
    two_campaigns[1].at_ms = 1764000000000 + HOUR;
    c->campaigns = two_campaigns;
    c->ncampaigns = 2;
}

TEST(an_outage_counts_for_a_campaign_from_when_it_runs)
{
    struct town t;
    CHECK(start(&t, the_second_in_an_hour));
    set_down(&t, true);
    CHECK_INT(town_send(&t, a, 1, 1), 1);
    CHECK_INT(town_send_as(&t, S("later"), a, 1, 1), 1);
    town_run_for(&t, 90 * MINUTE);
    CHECK(is_about(clock_of(&t, 1), 90 * MINUTE));
    CHECK(is_about(clock_of(&t, 2), 30 * MINUTE));
    town_free(&t);
}
