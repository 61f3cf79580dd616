/* quota_test.c - the automatic back-off against receivers with quotas that nobody told, and against those
 * that only look as if they had one, seen from a whole delivery on a virtual clock. */
#include "delivery/deliver_impl.h"
#include "delivery/measure.h"
#include "test.h"
#include "town.h"

#include <stdio.h>
#include <stdlib.h>

enum { MINUTE = 60000, HOUR = 3600000, HOURS = 40 };

static struct town_hours {
    int64_t start_ms;
    unsigned delivered[HOURS], refused[HOURS];
} hours; /* of the one town that runs */

static void on_event(struct town *t, const struct rec_event *ev)
{
    int64_t h = (ev->at_ms - hours.start_ms) / HOUR;
    (void)t;
    if (h < 0 || h >= HOURS)
        return;
    hours.delivered[h] += ev->type == EVENT_DELIVERED;
    hours.refused[h] += ev->type == EVENT_DEFERRED || ev->type == EVENT_AMBIGUOUS;
}

static void quota_is_found(unsigned x, const char *over, uint64_t seed)
{
    static const char *const domain = "q.test";
    struct town t;
    char world[512];
    struct slice mx = S("q.test");
    const char *quote = over[0] == '{' ? "" : "'";
    snprintf(world, sizeof world,
             "return { isps = { q = { domains = { 'q.test' }, mx = { 'mx.q.test' }, address = '127.0.1.1',\n"
             "  accept = { '%u/h', ['12 h'] = '%u/h' }, over = %s%s%s } } }",
             x, 2 * x, quote, over, quote);
    struct conf_isp isp = {.name = S("q"),
                           .mx = &mx,
                           .nmx = 1,
                           .place = {S("init.lua"), 3},
                           .amounts.rate = {.quota = 3 * x, .per_ms = HOUR}};
    CHECK(town_new(&t, world, seed));
    town_close(&t);
    t.conf.isps = &isp;
    t.conf.nisps = 1;
    CHECK(town_open(&t));
    t.event = on_event;
    hours = (struct town_hours){.start_ms = loop_wall_ms(t.loop)};
    town_send(&t, &domain, 1, (int)(12 * x + 24 * 2 * x + 3 * x));
    town_run_for(&t, 24 * (int64_t)HOUR);
    for (int h = 0; h < 24; h++) {
        unsigned most = h < 12 ? x : 2 * x;
        if ((h < 3) || (h >= 12 && h < 18))
            continue;
        CHECK(hours.delivered[h] * 100 >= most * 85 && hours.delivered[h] <= most);
        CHECK(hours.refused[h] * 50 < hours.delivered[h] + hours.refused[h]);
    }
    town_free(&t);
}

TEST(an_hourly_quota_that_nobody_told_is_found_and_followed_60)
{
    quota_is_found(60, "421 4.7.28 unusual rate of mail", 1);
}

TEST(an_hourly_quota_that_nobody_told_is_found_and_followed_960)
{
    quota_is_found(960, "450 4.7.1 please slow down", 2);
}

TEST(an_hourly_quota_that_is_told_by_closed_connections_alone_is_found)
{
    quota_is_found(60, "{ phase = 'connect', disconnect = true }", 3);
    quota_is_found(240, "{ phase = 'eod', disconnect = true }", 4);
}

TEST(an_hourly_quota_that_is_told_by_words_about_nothing_is_found)
{
    quota_is_found(60, "{ phase = 'rcpt', reply = '451 4.3.0 try later' }", 5);
    quota_is_found(240, "{ phase = 'eod', reply = '450 4.2.0 try later' }", 6);
    quota_is_found(480, "{ phase = 'data', reply = '451 4.7.1 please try again later' }", 7);
    quota_is_found(960, "{ phase = 'rcpt', reply = '451 Greylisted, please come again' }", 8);
    quota_is_found(90, "{ phase = 'mail', reply = '450 4.7.1 greylisted' }", 9);
    quota_is_found(90, "{ phase = 'rcpt', reply = '452 4.5.3 too many recipients' }", 10);
}

TEST(a_receiver_that_stays_away_is_given_up_in_time_whatever_it_took_before)
{
    static const char *const domain = "q.test";
    struct slice mx = S("q.test");
    struct conf_isp isp = {
        .name = S("q"), .mx = &mx, .nmx = 1, .amounts.rate = {.quota = 360, .per_ms = HOUR}};
    struct town t;
    CHECK(town_new(
        &t,
        "return { isps = { q = { domains = { 'q.test' }, mx = { 'mx.q.test' }, address = '127.0.1.1',\n"
        "  replies = { { phase = 'connect', disconnect = true, between = { '20 min', '900 h' } },\n"
        "    { phase = 'mail', disconnect = true, between = { '20 min', '900 h' } } } } } }",
        5));
    town_close(&t);
    t.conf.isps = &isp;
    t.conf.nisps = 1;
    t.conf.retry.give_up_ms = 5 * (int64_t)HOUR;
    CHECK(town_open(&t));
    town_send(&t, &domain, 1, 400);
    town_run_for(&t, 5 * (int64_t)HOUR);
    CHECK(t.events[EVENT_DELIVERED] >= 119 && t.events[EVENT_DELIVERED] <= 122);
    CHECK_INT(t.events[EVENT_EXPIRED], 0);
    town_run_for(&t, HOUR);
    CHECK_INT(t.events[EVENT_EXPIRED], 400 - t.events[EVENT_DELIVERED]);
    town_free(&t);
}

/* --- what only looks like a quota --- */

/* A receiver of three domains, a mail a second at most, and so many people at each; for two hours. The script
 * has this rule about "try later"; cls CLASS_UNKNOWN: it has none. */
static bool send_with_rule(struct town *t, enum reply_class cls, struct act act, const char *more, bool three,
                           int people)
{
    static const char *const domains[] = {"a.test", "b.test", "c.test"};
    static struct slice mx = S("q.test");
    static struct conf_isp isp = {
        .name = S("q"), .mx = &mx, .nmx = 1, .amounts.rate = {.quota = 3600, .per_ms = HOUR}};
    static struct rule_spec spec = {
        .name = S("init.lua:7 rule 1"), .isp = S(""), .enhanced = S(""), .text = S("try later")};
    static struct act_rule rule; /* it never has enough */
    char world[512];
    snprintf(world, sizeof world,
             "return { isps = { q = { domains = { 'a.test', 'b.test', 'c.test' }, mx = { 'mx.q.test' },\n"
             "  address = '127.0.1.1', %s } } }",
             more);
    if (!town_new(t, world, 3))
        return false;
    town_close(t);
    t->conf.isps = &isp;
    t->conf.nisps = 1;
    spec.cls = cls;
    rule = (struct act_rule){.name = spec.name, .act = act, .after = 1000000};
    t->conf.rules = &spec;
    t->conf.acts.of_rules = &rule;
    t->conf.nrules = t->conf.acts.nof_rules = cls != CLASS_UNKNOWN;
    if (!town_open(t))
        return false;
    t->event = on_event;
    hours = (struct town_hours){.start_ms = loop_wall_ms(t->loop)};
    town_send(t, domains, three ? 3 : 1, people);
    town_run_for(t, 2 * (int64_t)HOUR);
    return true;
}

static bool send_to(struct town *t, const char *more, bool three, int people)
{
    return send_with_rule(t, CLASS_UNKNOWN, (struct act){0}, more, three, people);
}

static size_t measures_begun(struct town *t)
{
    size_t n = 0;
    for (const struct measure *m = NULL; (m = measures_next(paths_measures(t->d->paths), m));)
        n++;
    return n;
}

TEST(greylisting_is_not_slowed_down_for)
{
    struct town t;
    CHECK(send_to(&t, "greylist = '5 min'", true, 500));
    CHECK_INT(hours.delivered[0], 1500);
    t.behind_name = "b"; /* the next campaign, to others */
    static const char *const domain = "a.test";
    town_send(&t, &domain, 1, 2000);
    town_run_for(&t, 2 * (int64_t)HOUR);
    CHECK_INT(t.events[EVENT_DELIVERED], 3500);
    CHECK_INT(measures_begun(&t), 0);
    town_free(&t);
}

TEST(persons_in_trouble_are_not_slowed_down_for)
{
    static const char *const who[] = {"7@", "(0|13|33|53|73|93)@"}; /* of a hundred: 10 and 15 */
    for (size_t i = 0; i < COUNT(who); i++) {
        struct town t;
        char more[128];
        snprintf(more, sizeof more,
                 "replies = { { phase = 'rcpt', to = '%s', reply = '450 4.2.0 try later' } }", who[i]);
        CHECK(send_to(&t, more, false, 7000));
        CHECK_INT(measures_begun(&t), 0);
        CHECK_INT(t.events[EVENT_DELIVERED] + t.events[EVENT_DEFERRED], 7200); /* at each second an answer */
        town_run_for(&t, 24 * (int64_t)HOUR);                                  /* nobody is left but them */
        CHECK_INT(t.events[EVENT_DELIVERED], i ? 5950 : 6300);
        CHECK_INT(measures_begun(&t), 0);
        town_free(&t);
    }
}

TEST(one_domain_in_trouble_does_not_slow_the_others)
{
    struct town t;
    CHECK(send_to(&t,
                  "replies = { { phase = 'rcpt', to = '@a.test$', reply = '451 4.3.0 try later',"
                  " between = { '10 min', '5 h' } } }",
                  true, 2000));
    CHECK_INT(measures_begun(&t), 0);
    CHECK(t.events[EVENT_DELIVERED] + t.events[EVENT_DEFERRED] >= 7199); /* at each second an answer */
    town_run_for(&t, 24 * (int64_t)HOUR);
    CHECK_INT(t.events[EVENT_DELIVERED], 6000);
    CHECK_INT(measures_begun(&t), 0);
    town_free(&t);
}

TEST(a_flaky_minute_costs_minutes_and_an_hour_of_outage_an_hour)
{
    static const struct {
        const char *until;
        unsigned minutes; /* of delivery in the two hours, at least */
    } rows[] = {{"21 min", 118}, {"70 min", 62}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct town t;
        char more[160];
        snprintf(more, sizeof more,
                 "replies = { { phase = 'eod', to = '.', reply = '451 4.3.0 try later',"
                 " between = { '20 min', '%s' } } }",
                 rows[i].until);
        CHECK(send_to(&t, more, false, 8000));
        CHECK_INT(measures_begun(&t), 1);
        const struct measure *m = measures_next(paths_measures(t.d->paths), NULL);
        CHECK(m->kind == MEASURE_BACKOFF && m->over_ms);
        CHECK_STR(slice_cstr(m->rule), S("automatic"));
        CHECK_STR(slice_cstr(m->why), S("451 4.3.0 try later"));
        CHECK(t.events[EVENT_DELIVERED] >= 60 * rows[i].minutes);
        town_free(&t);
    }
}

TEST(an_answer_that_a_rule_decides_about_is_in_no_doubt)
{
    static const struct {
        enum reply_class cls;
        struct act act;
        bool slows;
    } rows[] = {{CLASS_POLICY, {0}, true}, /* that is only what it is called */
                {CLASS_POLICY, {.kind = ACT_SUSPEND, .for_ms = HOUR}, false},
                {CLASS_POLICY, {.ignore = true}, false},
                {CLASS_MAILBOX_FULL, {0}, false}, /* and here it is the person's */
                {CLASS_AUTH_FAILED, {0}, false},  /* ours, whatever the rate */
                {CLASS_SENDER_REJECTED, {0}, false},
                {CLASS_TLS_FAILED, {0}, false},
                {CLASS_SPAM, {0}, false}, /* this mail's */
                {CLASS_OVER_LIMIT, {0}, true},
                {CLASS_RATE_LIMITED, {0}, true},
                {CLASS_RATE_LIMITED, {.kind = ACT_SUSPEND, .for_ms = HOUR}, false}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct town t;
        CHECK(send_with_rule(&t, rows[i].cls, rows[i].act,
                             "replies = { { phase = 'eod', to = '.', reply = '451 4.3.0 try later',"
                             " between = { '20 min', '21 min' } } }",
                             false, 8000));
        CHECK_INT(measures_begun(&t), rows[i].slows);
        CHECK(rows[i].slows || t.events[EVENT_DEFERRED] >= 59); /* at each second of that minute */
        town_free(&t);
    }
}

TEST(who_waits_for_a_doubtful_answer_waits_for_it_after_a_crash)
{
    struct town t;
    CHECK(send_to(&t,
                  "replies = { { phase = 'eod', to = '.', reply = '451 4.3.0 try later',"
                  " between = { '20 min', '150 min' } } }",
                  false, 8000));
    size_t before = t.events[EVENT_DELIVERED];
    struct backoff b = *measures_next(paths_measures(t.d->paths), NULL)->backoff;
    CHECK(b.state == BACKOFF_SHUT && b.doubtful);
    town_crash(&t);
    CHECK(town_open(&t));
    const struct measure *m = measures_next(paths_measures(t.d->paths), NULL);
    CHECK(measure_holds(m) && m->backoff->state == BACKOFF_SHUT && m->backoff->doubtful);
    CHECK_INT(m->backoff->until_ms, b.until_ms);
    CHECK_INT(m->backoff->wait_ms, b.wait_ms);
    town_run_for(&t, HOUR);
    CHECK(m->over_ms);
    unsigned minutes = (unsigned)(t.events[EVENT_DELIVERED] - before) / 60;
    CHECK(minutes >= 21 && minutes <= 30); /* it opened within eight minutes, and all went as before */
    town_free(&t);
}

TEST(sessions_that_end_slow_a_path_down_only_after_it_took_mail_for_a_while)
{
    static const char *const when[] = {"'1 min', '2 min'", "'20 min', '21 min'"};
    for (size_t i = 0; i < COUNT(when); i++) {
        struct town t;
        char more[160];
        snprintf(more, sizeof more,
                 "replies = { { phase = 'rcpt', to = '.', reply = '421 4.3.0 bye', between = { %s } } }",
                 when[i]);
        CHECK(send_to(&t, more, false, 8000));
        CHECK_INT(measures_begun(&t), i);
        CHECK(i ? t.events[EVENT_DEFERRED] < 12 : t.events[EVENT_DEFERRED] > 40); /* three, and who tried */
        town_free(&t);
    }
}
