/* measure_test.c - what answers put in place: the measures of rules, seen from a whole delivery on a virtual
 * clock. */
#include "delivery/deliver_impl.h"
#include "delivery/measure.h"
#include "test.h"
#include "town.h"

#include <stdio.h>
#include <stdlib.h>

enum { MINUTE = 60000, HOUR = 3600000 };

/* --- measures of rules --- */

/* Two receivers; q has two sets of mail hosts. Whoever is called bad… is refused at RCPT, by number. */
#define TWO_RECEIVERS(more)                                                                                  \
    "return { isps = {\n"                                                                                    \
    "  q1 = { domains = { 'q.test' }, mx = { 'mx.q.test' }, address = '127.0.1.1', " more " },\n"            \
    "  q2 = { domains = { 'q2.test' }, mx = { 'mx.q2.test' }, address = '127.0.1.2', " more " },\n"          \
    "  r = { domains = { 'r.test' }, mx = { 'mx.r.test' }, address = '127.0.1.3', " more " } } }"
#define REFUSES "replies = { { phase = 'rcpt', to = '^p0@', reply = '450 4.7.9 measure now' } }"

static struct slice q_mx[] = {S("q.test"), S("q2.test")};
static struct conf_isp q_isp[] = {{.name = S("q"), .mx = q_mx, .nmx = 2, .place = {S("init.lua"), 3}}};
static struct conf_source two_sources[] = {{.name = S("s1"), .ehlo = S("s1.example.jp")},
                                           {.name = S("s2"), .ehlo = S("s2.example.jp")}};
static struct conf_stream two_streams[] = {{.name = S("x"),
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
static struct conf_campaign three_campaigns[3];
static struct rule_spec spec = {.name = S("init.lua:7 rule 1"),
                                .isp = S(""),
                                .enhanced = S(""),
                                .text = S("measure now"),
                                .cls = CLASS_POLICY};
static struct act_rule act_rule;

struct seen {
    uint64_t id;
    int64_t at_ms;
    unsigned type, attempt;
    uint64_t session;
    uint32_t source, isp, campaign, measure;
    int64_t next_due_ms;
    bool first; /* p0 */
};
static struct seen seen[20000];
static size_t nseen;

static void see(struct town *t, const struct rec_event *ev)
{
    (void)t;
    if (nseen == COUNT(seen) || ev->type == EVENT_ACCEPTED)
        return;
    seen[nseen++] = (struct seen){.id = ev->id,
                                  .at_ms = ev->at_ms,
                                  .type = ev->type,
                                  .attempt = ev->attempt,
                                  .session = ev->session,
                                  .source = ev->source,
                                  .isp = ev->isp,
                                  .campaign = ev->campaign,
                                  .measure = ev->measure,
                                  .next_due_ms = ev->next_due_ms,
                                  .first = slice_starts(ev->recipient, S("p0@"))};
}

static bool start(struct town *t, const char *world, struct act act, struct act_rule counts)
{
    nseen = 0;
    act_rule = counts;
    act_rule.name = spec.name;
    act_rule.act = act;
    if (!town_new(t, world, 3))
        return false;
    town_close(t);
    for (size_t i = 0; i < COUNT(three_campaigns); i++) {
        three_campaigns[i] = t->conf.campaigns[0];
        three_campaigns[i].name = i == 0 ? S("x1") : i == 1 ? S("x2") : S("y1");
        three_campaigns[i].stream = i == 2;
    }
    t->conf.streams = two_streams;
    t->conf.nstreams = 2;
    t->conf.campaigns = three_campaigns;
    t->conf.ncampaigns = 3;
    t->conf.sources = two_sources;
    t->conf.nsources = 1;
    t->conf.isps = q_isp;
    t->conf.nisps = 1;
    t->conf.rules = &spec;
    t->conf.nrules = 1;
    t->conf.acts = (struct acts){.of_rules = &act_rule, .nof_rules = 1};
    t->conf.retry.retry_ms[0] = 10 * (int64_t)HOUR; /* who is refused does not come again during a test */
    t->conf.retry.nretry = 1;
    t->event = see;
    return town_open(t);
}

static struct act act_of(enum act_kind kind, enum act_scope scope)
{
    struct act a = act_default(kind);
    a.scope = scope;
    a.for_ms = 5 * MINUTE;
    a.recover_ms = 0;
    return a;
}

static const struct measure *only_measure(struct town *t)
{
    const struct measure *m = NULL, *found = NULL;
    while ((m = measures_next(paths_measures(t->d->paths), m)))
        if (measure_holds(m))
            found = found ? NULL : m;
    return found;
}

/* When the first of this type was seen that is not p0's; campaign 0: of any. */
static int64_t first_at(struct town *t, unsigned type, const char *campaign, const char *isp, int64_t from_ms)
{
    for (size_t i = 0; i < nseen; i++) {
        const struct seen *s = &seen[i];
        struct slice c = deliver_name(t->d, NAME_CAMPAIGN, s->campaign),
                     at = deliver_name(t->d, NAME_ISP, s->isp);
        if (s->type == type && s->at_ms >= from_ms && !s->first &&
            (!campaign || slice_eq(c, slice_cstr(campaign))) && (!isp || slice_eq(at, slice_cstr(isp))))
            return s->at_ms;
    }
    return -1;
}

static int64_t refused_at(void)
{
    for (size_t i = 0; i < nseen; i++)
        if (seen[i].type == EVENT_DEFERRED)
            return seen[i].at_ms;
    return -1;
}

/* p0 alone goes first, so that whatever comes then meets the measure. */
static bool refuse_first(struct town *t, const char *domain)
{
    town_send_as(t, S("x1"), &domain, 1, 1);
    town_run_for(t, 2000);
    return refused_at() > 0;
}

TEST(a_suspension_of_five_minutes_costs_five_minutes_and_no_attempt)
{
    static const char *const q = "q.test", *const q2 = "q2.test", *const r = "r.test";
    struct town t;
    CHECK(start(&t, TWO_RECEIVERS(REFUSES), act_of(ACT_SUSPEND, ACT_PATH), (struct act_rule){.after = 1}));
    CHECK(refuse_first(&t, q));
    int64_t began = refused_at();
    const struct measure *m = only_measure(&t);
    CHECK(m && m->kind == ACT_SUSPEND && m->until_ms == began + 5 * MINUTE && m->number == seen[0].measure);
    CHECK_STR(slice_cstr(m->rule), S("init.lua:7 rule 1"));
    CHECK_STR(slice_cstr(m->why), S("450 4.7.9 measure now"));
    t.behind_name = "b"; /* p0b is nobody's bad one */
    town_send_as(&t, S("x2"), &q, 1, 50);
    town_send_as(&t, S("y1"), &q2, 1, 50);
    town_send_as(&t, S("y1"), &r, 1, 50);
    town_run_for(&t, 10 * MINUTE);
    int64_t there = first_at(&t, EVENT_DELIVERED, NULL, "q", 0);
    CHECK(there >= began + 5 * MINUTE && there < began + 5 * MINUTE + 2000);
    CHECK(first_at(&t, EVENT_DELIVERED, NULL, "mx.r.test", 0) < began + 10000); /* another isp */
    for (size_t i = 0; i < nseen; i++)
        CHECK(seen[i].type != EVENT_DELIVERED || seen[i].first || seen[i].attempt == 1);
    CHECK_INT(t.events[EVENT_DELIVERED], 150);
    town_free(&t);
}

/* Mail of which campaign, to where, goes at once although the measure holds? */
static void scope_holds(enum act_scope scope, const char *const waits[2], const char *const goes[][2],
                        size_t n)
{
    static const char *const q = "q.test", *const q2 = "q2.test", *const r = "r.test";
    struct town t;
    CHECK(start(&t, TWO_RECEIVERS(REFUSES), act_of(ACT_SUSPEND, scope), (struct act_rule){.after = 1}));
    CHECK(refuse_first(&t, q));
    int64_t began = refused_at();
    CHECK(only_measure(&t) && only_measure(&t)->scope == scope);
    t.behind_name = "b"; /* p0b is nobody's bad one */
    for (size_t i = 0; i < COUNT(three_campaigns); i++) {
        town_send_as(&t, three_campaigns[i].name, &q, 1, 2);
        town_send_as(&t, three_campaigns[i].name, &q2, 1, 2);
        town_send_as(&t, three_campaigns[i].name, &r, 1, 2);
    }
    town_run_for(&t, 10 * MINUTE);
    int64_t held = first_at(&t, EVENT_DELIVERED, waits[0], waits[1], 0);
    CHECK(held >= began + 5 * MINUTE && held < began + 5 * MINUTE + 2000);
    for (size_t i = 0; i < n; i++) {
        int64_t at = first_at(&t, EVENT_DELIVERED, goes[i][0], goes[i][1], 0);
        CHECK(at > 0 && at < began + 20000);
    }
    town_free(&t);
}

TEST(a_measure_of_a_source_holds_wherever_it_sends)
{
    static const char *const waits[2] = {"y1", "mx.r.test"};
    scope_holds(ACT_SOURCE, waits, NULL, 0);
}

TEST(a_measure_of_a_path_holds_all_mail_of_that_source_there)
{
    static const char *const waits[2] = {"y1", "q"}, *const goes[][2] = {{"x1", "mx.r.test"}};
    scope_holds(ACT_PATH, waits, goes, 1);
}

TEST(a_measure_of_a_stream_holds_its_domain_at_that_isp_alone)
{
    static const char *const waits[2] = {"x2", "q"};
    static const char *const goes[][2] = {{"y1", "q"}, {"x1", "mx.r.test"}};
    scope_holds(ACT_STREAM, waits, goes, 2);
}

TEST(a_measure_of_a_campaign_holds_it_at_that_isp_alone)
{
    static const char *const waits[2] = {"x1", "q"};
    static const char *const goes[][2] = {{"x2", "q"}, {"y1", "q"}, {"x1", "mx.r.test"}};
    scope_holds(ACT_CAMPAIGN, waits, goes, 3);
}

TEST(a_measure_of_a_site_lets_others_of_the_isp_go)
{
    static const char *const q = "q.test", *const q2 = "q2.test";
    struct town t;
    CHECK(start(&t, TWO_RECEIVERS(REFUSES), act_of(ACT_SUSPEND, ACT_SITE), (struct act_rule){.after = 1}));
    CHECK(refuse_first(&t, q));
    int64_t began = refused_at();
    t.behind_name = "b";
    town_send_as(&t, S("x2"), &q, 1, 2);
    town_send_as(&t, S("y1"), &q2, 1, 2);
    town_run_for(&t, 10 * MINUTE);
    int64_t held = first_at(&t, EVENT_DELIVERED, "x2", NULL, 0),
            other = first_at(&t, EVENT_DELIVERED, "y1", NULL, 0);
    CHECK(held >= began + 5 * MINUTE && held < began + 5 * MINUTE + 2000);
    CHECK(other > 0 && other < began + 20000);
    town_free(&t);
}

/* Mails that were delivered between two times. */
static unsigned delivered_in(int64_t from_ms, int64_t to_ms)
{
    unsigned n = 0;
    for (size_t i = 0; i < nseen; i++)
        n += seen[i].type == EVENT_DELIVERED && seen[i].at_ms >= from_ms && seen[i].at_ms < to_ms;
    return n;
}

TEST(slowing_goes_at_a_part_of_the_rate_and_comes_back_in_steps)
{
    static const char *const q = "q.test";
    struct act act = act_of(ACT_SLOW, ACT_PATH);
    struct town t;
    act.factor_ppm = ACT_WHOLE / 4;
    act.for_ms = 20 * MINUTE;
    act.recover_ms = 50 * MINUTE;
    q_isp[0].amounts.rate = (struct pace_rate){.quota = 3600, .per_ms = HOUR};
    bool up = start(
        &t,
        TWO_RECEIVERS("replies = { { phase = 'rcpt', to = '^p1800@', reply = '450 4.7.9 measure now' } }"),
        act, (struct act_rule){.after = 1});
    if (up) {
        town_send_as(&t, S("x1"), &q, 1, 9000);
        town_run_for(&t, 115 * MINUTE);
    }
    q_isp[0].amounts.rate = (struct pace_rate){0};
    CHECK(up);
    int64_t began = refused_at();
    unsigned before = delivered_in(began - 10 * MINUTE, began);
    CHECK(before >= 598 && before <= 600);
    unsigned slow = delivered_in(began + MINUTE, began + 19 * MINUTE);
    CHECK(slow >= 18 * 14 && slow <= 18 * 15 + 1); /* a quarter of 60 a minute */
    unsigned last = slow / 18;
    for (int step = 0; step < 5; step++) {
        int64_t at = began + (20 + 10 * step) * (int64_t)MINUTE;
        unsigned n = delivered_in(at + MINUTE, at + 9 * MINUTE) / 8;
        CHECK(n >= last + 5 && n <= last + 9); /* an eighth of the rate at each step */
        last = n;
    }
    CHECK(delivered_in(began + 75 * (int64_t)MINUTE, began + 80 * (int64_t)MINUTE) >= 295);
    CHECK(!only_measure(&t));
    town_free(&t);
}

TEST(a_second_slowing_is_slower_still)
{
    static const char *const q = "q.test";
    struct town t;
    q_isp[0].amounts.rate = (struct pace_rate){.quota = 3600, .per_ms = HOUR};
    bool up =
        start(&t,
              TWO_RECEIVERS(
                  "replies = { { phase = 'rcpt', to = '^p(600|700)@', reply = '450 4.7.9 measure now' } }"),
              act_of(ACT_SLOW, ACT_PATH), (struct act_rule){.after = 1});
    if (up) {
        town_send_as(&t, S("x1"), &q, 1, 2000);
        town_run_for(&t, 20 * MINUTE);
    }
    q_isp[0].amounts.rate = (struct pace_rate){0};
    CHECK(up);
    const struct measure *m = measures_next(paths_measures(t.d->paths), NULL);
    CHECK(m && m->kind == ACT_SLOW && m->factor_ppm == ACT_WHOLE / 4 && !m->next);
    town_free(&t);
}

TEST(fewer_connections_are_open_until_they_come_back)
{
    static const char *const q = "q.test";
    struct act act = act_of(ACT_FEWER, ACT_PATH);
    struct town t;
    q_isp[0].connections = 8;
    bool up = start(
        &t,
        TWO_RECEIVERS("delay = '200 ms', "
                      "replies = { { phase = 'rcpt', to = '^p400@', reply = '450 4.7.9 measure now' } }"),
        act, (struct act_rule){.after = 1});
    size_t most = 0, fewer = 0, at_last = 0;
    if (up) {
        town_send_as(&t, S("x1"), &q, 1, 6000);
        while (refused_at() < 0 && t.events[EVENT_DELIVERED] < 1000) {
            town_run_for(&t, 1000);
            most = deliver_counts(t.d).connections > most ? deliver_counts(t.d).connections : most;
        }
        for (int i = 0; i < 200; i++) {
            town_run_for(&t, 1000);
            size_t n = deliver_counts(t.d).connections;
            if (i > 60)
                fewer = n > fewer ? n : fewer;
        }
        town_run_for(&t, 6 * MINUTE);
        at_last = deliver_counts(t.d).connections;
    }
    q_isp[0].connections = 0;
    CHECK(up);
    CHECK_INT(most, 8);
    CHECK_INT(fewer, 4);
    CHECK_INT(at_last, 8);
    town_free(&t);
}

TEST(what_one_source_is_refused_goes_from_the_next)
{
    static const char *const q = "q.test";
    struct town t;
    CHECK(
        start(&t, TWO_RECEIVERS(REFUSES), act_of(ACT_NEXT_SOURCE, ACT_PATH), (struct act_rule){.after = 1}));
    town_close(&t);
    t.conf.nsources = 2;
    CHECK(town_open(&t));
    CHECK(refuse_first(&t, q));
    town_run_for(&t, 20000);
    /* Both refuse it, and both rest; it was not tried a third time. */
    CHECK_INT(nseen, 2);
    CHECK(seen[0].source != seen[1].source && seen[1].at_ms <= seen[0].at_ms + 2000);
    const struct measure *m = measures_next(paths_measures(t.d->paths), NULL);
    CHECK(m && m->kind == ACT_NEXT_SOURCE && m->next && m->next->kind == ACT_NEXT_SOURCE);
    town_free(&t);
}

TEST(a_mail_alone_is_deferred_as_long_as_its_rule_says)
{
    static const char *const q = "q.test";
    struct town t;
    CHECK(start(&t, TWO_RECEIVERS(REFUSES), act_of(ACT_DEFER, ACT_PATH), (struct act_rule){0}));
    CHECK(refuse_first(&t, q));
    CHECK(seen[0].next_due_ms == seen[0].at_ms + 5 * MINUTE);
    CHECK(!measures_next(paths_measures(t.d->paths), NULL));
    town_free(&t);
}

static size_t sessions_seen(void)
{
    size_t n = 0;
    for (size_t i = 0; i < nseen; i++)
        n += i == 0 || seen[i].session != seen[i - 1].session;
    return n;
}

TEST(a_rule_may_ask_for_a_new_connection_and_nothing_else)
{
    static const char *const q = "q.test";
    for (int reconnects = 0; reconnects < 2; reconnects++) {
        struct town t;
        CHECK(start(
            &t,
            TWO_RECEIVERS("replies = { { phase = 'rcpt', to = '^p3@', reply = '450 4.7.9 measure now' } }"),
            act_of(reconnects ? ACT_RECONNECT : ACT_NONE, ACT_PATH), (struct act_rule){0}));
        town_send_as(&t, S("x1"), &q, 1, 8);
        town_run_for(&t, 20000);
        CHECK_INT(nseen, 8);
        CHECK_INT(sessions_seen(), 1 + reconnects);
        CHECK(!measures_next(paths_measures(t.d->paths), NULL));
        town_free(&t);
    }
}

/* Classes that ask for less. */
static bool start_of_rate(struct town *t, const char *replies, enum act_kind kind)
{
    static char world[1024];
    snprintf(world, sizeof world,
             "return { isps = { q1 = { domains = { 'q.test' }, mx = { 'mx.q.test' }, address = '127.0.1.1',\n"
             "  delay = '50 ms', replies = { %s } } } }",
             replies);
    spec.cls = CLASS_RATE_LIMITED;
    bool up = start(t, world, act_of(kind, ACT_PATH), (struct act_rule){0});
    spec.cls = CLASS_POLICY;
    return up;
}

TEST(a_new_connection_is_asked_for_and_the_path_keeps_those_that_it_may_have)
{
    static const char *const q = "q.test";
    for (int reconnects = 0; reconnects < 2; reconnects++) {
        struct town t;
        CHECK(start_of_rate(&t, "{ phase = 'rcpt', to = '^p60@', reply = '450 4.7.9 measure now' }",
                            reconnects ? ACT_RECONNECT : ACT_NONE));
        town_send_as(&t, S("x1"), &q, 1, 61);
        town_run_for(&t, 20000);
        CHECK_INT(t.events[EVENT_DELIVERED], 60);
        size_t at = 0;
        const struct isp *isp = paths_next_isp(t.d->paths, &at);
        CHECK(reconnects ? path_connections_now(isp->by_source) > 5
                         : path_connections_now(isp->by_source) == 1);
        town_free(&t);
    }
}

/* The one that a shut path sends to see whether it is open again. */
TEST(a_new_connection_asked_of_the_one_that_tries_lets_the_next_try)
{
    static const char *const q = "q.test";
    struct town t;
    CHECK(start_of_rate(&t,
                        "{ phase = 'rcpt', to = '^p[012]@', reply = '450 4.7.28 too fast' },\n"
                        "{ phase = 'rcpt', to = '^p4@', reply = '450 4.7.9 measure now' }",
                        ACT_RECONNECT));
    town_send_as(&t, S("x1"), &q, 1, 10);
    town_run_for(&t, 5000);
    CHECK_INT(nseen, 4); /* p3 was under way already */
    CHECK(only_measure(&t) && only_measure(&t)->kind == MEASURE_BACKOFF);
    town_run_for(&t, 5 * MINUTE);
    CHECK_INT(t.events[EVENT_DELIVERED], 6);
    town_free(&t);
}

TEST(who_is_refused_at_connecting_does_not_come_again_at_once_whatever_its_rule_does)
{
    static const char *const q = "q.test";
    for (enum act_kind kind = ACT_NONE; kind < ACT_SUPPRESS; kind++) {
        struct town t;
        CHECK(start_of_rate(&t, "{ phase = 'banner', reply = '421 4.7.9 measure now' }", kind));
        town_send_as(&t, S("x1"), &q, 1, 10);
        town_run_for(&t, MINUTE);
        bool stops = kind == ACT_SUSPEND || kind == ACT_NEXT_SOURCE;
        CHECK_INT(sink_stats(t.sink).connections, stops ? 3 : 5);
        CHECK(!stops || (only_measure(&t) && only_measure(&t)->kind == kind));
        town_free(&t);
    }
}

/* How many of n mails it takes, a refused one after every `each`, until something is measured; 0: never. */
static size_t mails_until_measured(enum act_kind kind, struct act_rule counts, int each, int n)
{
    static const char *const q = "q.test";
    struct town t;
    char world[768], to[32];
    size_t found = 0;
    snprintf(to, sizeof to, each == 10 ? "^p[0-9]*0@" : "^p[0-9]*[05]@");
    snprintf(world, sizeof world,
             "return { isps = { q1 = { domains = { 'q.test' }, mx = { 'mx.q.test' }, address = '127.0.1.1',\n"
             "  replies = { { phase = 'rcpt', to = '%s', reply = '450 4.7.9 measure now' } } } } }",
             to);
    q_isp[0].connections = 1; /* one after the other */
    bool up = start(&t, world, act_of(kind, ACT_PATH), counts);
    if (!up)
        return SIZE_MAX;
    town_send_as(&t, S("x1"), &q, 1, n);
    town_run_for(&t, 4 * MINUTE);
    for (size_t i = 0; i < nseen && !found; i++)
        if (seen[i].measure)
            found = i + 1;
    town_free(&t);
    q_isp[0].connections = 0;
    return found;
}

TEST(nothing_is_measured_on_fewer_hits_than_three_in_twenty)
{
    struct act_rule none = {0};
    CHECK_INT(mails_until_measured(ACT_SUSPEND, none, 10, 300), 0); /* two in twenty, for ever */
    CHECK_INT(mails_until_measured(ACT_SUSPEND, none, 5, 300), 11); /* p0, p5, p10 */
}

TEST(a_rule_says_how_many_and_what_share_in_what_time)
{
    CHECK_INT(mails_until_measured(ACT_SUSPEND, (struct act_rule){.least = 1}, 10, 50), 1);
    CHECK_INT(mails_until_measured(ACT_SUSPEND, (struct act_rule){.after = 5, .within_ms = HOUR}, 5, 300),
              21);
    CHECK_INT(mails_until_measured(ACT_SUSPEND, (struct act_rule){.least = 20, .within_ms = HOUR}, 10, 300),
              191);
    CHECK_INT(mails_until_measured(ACT_SUSPEND,
                                   (struct act_rule){.least = 20, .share_ppm = 150000, .within_ms = HOUR}, 10,
                                   300),
              0); /* a tenth is less than 15 % */
    CHECK_INT(mails_until_measured(ACT_SUSPEND,
                                   (struct act_rule){.least = 20, .share_ppm = 150000, .within_ms = HOUR}, 5,
                                   300),
              96);
}

TEST(no_pause_under_a_hundred_answers_unless_its_rule_says_so)
{
    size_t n = mails_until_measured(ACT_PAUSE, (struct act_rule){0}, 5, 300);
    CHECK(n >= 100 && n <= 105);
    CHECK_INT(mails_until_measured(ACT_PAUSE, (struct act_rule){.least = 2}, 5, 300), 6);
}

TEST(lost_connections_and_unknown_users_are_signals_too)
{
    static const char *const q = "q.test";
    for (int i = 0; i < 2; i++) {
        struct act_rule other = {
            .name = S("init.lua:9 rule 2"), .isp = S("q"), .act = act_of(ACT_SUSPEND, ACT_PATH)};
        struct town t;
        CHECK(
            start(&t,
                  i ? TWO_RECEIVERS(
                          "replies = { { phase = 'rcpt', to = '[05]@', reply = '550 5.1.1 no such user' } }")
                    : TWO_RECEIVERS("replies = { { phase = 'rcpt', to = '[05]@', disconnect = true } }"),
                  act_of(ACT_NONE, ACT_PATH), (struct act_rule){0}));
        town_close(&t);
        if (i) {
            other.classes = 1ull << CLASS_NO_SUCH_USER;
            other.least = 10;
            other.share_ppm = 100000;
            other.within_ms = HOUR;
        } else {
            other.failures = ACT_LOST_CONNECTION;
            other.after = 4;
            other.within_ms = MINUTE;
        }
        t.conf.acts.rules = &other;
        t.conf.acts.nrules = 1;
        CHECK(town_open(&t));
        town_send_as(&t, S("x1"), &q, 1, 300);
        town_run_for(&t, MINUTE);
        const struct measure *m = measures_next(paths_measures(t.d->paths), NULL);
        CHECK(m && m->kind == ACT_SUSPEND);
        CHECK_STR(slice_cstr(m->rule), S("init.lua:9 rule 2"));
        town_free(&t);
    }
}

/* Every measure as people see it. */
static struct buf rows(struct town *t)
{
    struct buf b = {0};
    for (const struct measure *m = NULL; (m = measures_next(paths_measures(t->d->paths), m));) {
        if (!measure_holds(m))
            continue;
        measure_json(&b, m, 0);
        buf_printf(&b, " %lld %u %u %llu\n", (long long)m->per_day, m->connections, m->factor_ppm,
                   (unsigned long long)m->cause);
        if (m->backoff)
            buf_printf(&b, "  %lld %lld %lld %lld\n", (long long)m->backoff->per_day,
                       (long long)m->backoff->borne, (long long)m->backoff->rest_ms,
                       (long long)m->backoff->refused_ms);
    }
    return b;
}

TEST(measures_are_the_same_after_a_crash)
{
    static const char *const q = "q.test";
    static const enum act_scope scopes[] = {ACT_PATH, ACT_SITE, ACT_SOURCE, ACT_STREAM, ACT_CAMPAIGN};
    for (size_t i = 0; i < COUNT(scopes) + 1; i++) {
        bool automatic = i == COUNT(scopes);
        struct act act = act_of(i % 2 ? ACT_SUSPEND : ACT_SLOW, automatic ? ACT_PATH : scopes[i]);
        struct town t;
        act.recover_ms = 20 * MINUTE;
        CHECK(start(&t,
                    automatic ? TWO_RECEIVERS("accept = '60/h', over = '421 4.7.28 unusual rate'")
                              : TWO_RECEIVERS(REFUSES),
                    act, (struct act_rule){.after = 1}));
        if (automatic) {
            town_send_as(&t, S("x1"), &q, 1, 500);
            town_run_for(&t, 3 * HOUR);
        } else {
            CHECK(refuse_first(&t, q));
        }
        struct buf before = rows(&t);
        CHECK(before.n > 0);
        town_crash(&t);
        CHECK(town_open(&t));
        struct buf after = rows(&t);
        CHECK_STR(buf_slice(&after), buf_slice(&before));
        buf_free(&after);
        /* And it does what it says: nothing goes that did not go before. */
        size_t seen_before = nseen;
        t.behind_name = "b";
        town_send_as(&t, S("x1"), &q, 1, 5);
        town_run_for(&t, 20000);
        if (!automatic && act.kind == ACT_SUSPEND)
            CHECK(nseen == seen_before);
        buf_free(&before);
        town_free(&t);
    }
}

TEST(a_measure_holds_through_compaction_and_its_record_goes_after_its_end)
{
    static const char *const q = "q.test";
    enum { DAY = 24 * HOUR };
    struct act act = act_of(ACT_SUSPEND, ACT_PATH);
    struct town t;
    act.for_ms = 5 * (int64_t)DAY;
    CHECK(start(&t, TWO_RECEIVERS(REFUSES), act, (struct act_rule){.after = 1}));
    town_close(&t);
    t.conf.keep_ms = DAY;
    CHECK(town_open(&t));
    CHECK(refuse_first(&t, q));
    town_run_for(&t, 4 * (int64_t)DAY);
    struct buf before = rows(&t);
    town_crash(&t);
    CHECK(town_open(&t));
    struct buf after = rows(&t);
    CHECK(only_measure(&t));
    CHECK_STR(buf_slice(&after), buf_slice(&before));
    town_run_for(&t, 10 * (int64_t)DAY);
    town_close(&t);
    CHECK(town_open(&t));
    const struct measure *first = measures_next(paths_measures(t.d->paths), NULL);
    CHECK(!first || first->number > 1);
    buf_free(&before);
    buf_free(&after);
    town_free(&t);
}

TEST(a_measure_is_lifted_by_its_name_and_stays_lifted)
{
    static const char *const q = "q.test";
    struct town t;
    CHECK(start(&t, TWO_RECEIVERS(REFUSES), act_of(ACT_SUSPEND, ACT_PATH), (struct act_rule){.after = 1}));
    CHECK(refuse_first(&t, q));
    t.behind_name = "b";
    town_send_as(&t, S("x1"), &q, 1, 5);
    town_run_for(&t, 10000);
    CHECK_INT(t.events[EVENT_DELIVERED], 0);
    CHECK_INT(measures_lift(paths_measures(t.d->paths), S("M2")), ERR_NOTFOUND);
    CHECK_INT(measures_lift(paths_measures(t.d->paths), S("m1")), 0);
    CHECK_INT(measures_lift(paths_measures(t.d->paths), S("M1")), ERR_NOTFOUND);
    town_run_for(&t, 5000);
    CHECK_INT(t.events[EVENT_DELIVERED], 5);
    town_crash(&t);
    CHECK(town_open(&t));
    CHECK(!only_measure(&t));
    const struct measure *m = measures_next(paths_measures(t.d->paths), NULL);
    CHECK(m && m->lifted);
    town_free(&t);
}

TEST(time_under_suspension_does_not_count_for_give_up)
{
    static const char *const q = "q.test";
    for (int suspends = 0; suspends < 2; suspends++) {
        struct act act = act_of(suspends ? ACT_SUSPEND : ACT_NONE, ACT_PATH);
        struct town t;
        act.for_ms = 20 * (int64_t)HOUR;
        CHECK(start(&t, TWO_RECEIVERS(REFUSES), act, (struct act_rule){.after = 1}));
        town_close(&t);
        t.conf.retry.give_up_ms = 19 * (int64_t)HOUR;
        CHECK(town_open(&t));
        CHECK(refuse_first(&t, q));
        town_run_for(&t, 35 * (int64_t)HOUR); /* tries at 10 h and 20 h, or at 20 h */
        CHECK_INT(t.events[EVENT_EXPIRED], !suspends);
        town_free(&t);
    }
}

TEST(a_permit_comes_back_from_whoever_took_it_last_and_counts_from_when_it_is_used)
{
    static const char *const q = "q.test";
    struct town t;
    CHECK(start(&t, TWO_RECEIVERS(REFUSES), act_of(ACT_NONE, ACT_PATH), (struct act_rule){0}));
    town_send_as(&t, S("x1"), &q, 1, 2);
    town_run_for(&t, 20000);
    struct path *p = &paths_isp(t.d->paths, S("q"))->by_source[0];
    struct measure_start s = {.act = act_of(ACT_SLOW, ACT_PATH),
                              .path = p,
                              .rule = S("a rule"),
                              .why = S("why"),
                              .per_day = 2 * 86400}; /* half of it: one a second */
    CHECK(measure_begin(paths_measures(t.d->paths), &s) && !measures_hold_path(p));
    measures_take(p, NULL, NULL, 5);
    CHECK(measures_hold_path(p));
    measures_return(p, NULL, NULL, 6);
    CHECK(measures_hold_path(p));
    measures_return(p, NULL, NULL, 5);
    CHECK(!measures_hold_path(p));
    for (uint64_t renewed = 7; renewed <= 8; renewed++) {
        measures_take(p, NULL, NULL, 7);
        town_run_for(&t, 500);
        measures_renew(p, NULL, NULL, renewed);
        town_run_for(&t, 900);
        CHECK(measures_hold_path(p) == (renewed == 7));
        town_run_for(&t, 200);
        CHECK(!measures_hold_path(p));
    }
    town_free(&t);
}
