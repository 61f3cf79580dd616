/* ramp_test.c - how many connections there are, and how long they stay: a site's ramp, idleness, the ceiling
 * of sockets; thousands of small receivers at once, and one answer that stops hundreds of them. */
#include "delivery/deliver_impl.h"
#include "test.h"
#include "town.h"

#include <stdio.h>
#include <stdlib.h>

static size_t open_most, early; /* early: more connections at a moment than one and one for ten accepted */
static unsigned sources_of_deliveries[3];

static void on_transaction(void *data, const struct world_isp *isp, const struct smtp_server_tx *tx)
{
    struct town *t = data;
    struct sink_stats s = sink_stats(t->sink);
    (void)isp;
    (void)tx;
    open_most = s.open > open_most ? s.open : open_most;
    early += s.open > 1 + s.messages / PATH_RAMP_STEP;
}

static void on_event(struct town *t, const struct rec_event *ev)
{
    (void)t;
    if (ev->type == EVENT_DELIVERED && ev->source < COUNT(sources_of_deliveries))
        sources_of_deliveries[ev->source]++;
}

static bool start(struct town *t, const char *world, uint64_t seed)
{
    open_most = early = 0;
    memset(sources_of_deliveries, 0, sizeof sources_of_deliveries);
    if (!town_new(t, world, seed))
        return false;
    t->transaction = on_transaction;
    t->event = on_event;
    return true;
}

static const char slow_one[] = "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'},"
                               " address = '127.0.1.1', delay = '20 ms' } } }";
static const char *const a_only[] = {"a.test"};

TEST(a_site_gets_one_connection_more_for_ten_accepted_and_as_many_as_it_may)
{
    static const unsigned listed[] = {0, 4};
    for (size_t i = 0; i < COUNT(listed); i++) {
        struct slice mx[] = {S("mx.a.test")};
        struct conf_isp isp = {.name = S("a"), .mx = mx, .nmx = 1, .connections = listed[i]};
        struct town t;
        CHECK(start(&t, slow_one, 1));
        town_close(&t);
        t.conf.isps = &isp;
        t.conf.nisps = listed[i] ? 1 : 0;
        CHECK(town_open(&t));
        CHECK_INT(town_send(&t, a_only, 1, 2000), 2000);
        town_run(&t);
        CHECK_INT(deliver_counts(t.d).delivered, 2000);
        CHECK_INT(open_most, listed[i] ? listed[i] : PATH_CONNECTIONS);
        CHECK_INT(early, 0);
        town_free(&t);
    }
}

TEST(after_a_refusal_it_begins_with_one_again)
{
    struct conf_source source = {.name = S("one"), .ehlo = S("one.example.jp")};
    struct conf c = {.sources = &source, .nsources = 1};
    struct loop *loop = loop_new_virtual(1, 0);
    struct paths *ps = paths_new(&(struct paths_conf){.loop = loop, .conf = &c});
    struct path *p = &paths_isp(ps, S("a"))->by_source[0];
    for (unsigned i = 0; i < 200; i++) {
        unsigned want = 1 + i / PATH_RAMP_STEP;
        CHECK_INT(path_connections_now(p), want < PATH_CONNECTIONS ? want : PATH_CONNECTIONS);
        path_took(p);
    }
    path_refused(p);
    CHECK_INT(path_connections_now(p), 1);
    for (unsigned i = 0; i < PATH_RAMP_STEP; i++)
        path_took(p);
    CHECK_INT(path_connections_now(p), 2);
    paths_free(ps);
    loop_free(loop);
}

TEST(a_connection_carries_a_hundred_messages_and_stays_five_seconds_for_more)
{
    struct town t;
    CHECK(start(&t, slow_one, 2));
    CHECK_INT(town_send(&t, a_only, 1, 5), 5); /* too few for a second connection */
    town_run_for(&t, 3000);
    CHECK_INT(sink_stats(t.sink).messages, 5);
    CHECK_INT(sink_stats(t.sink).open, 1);
    town_run_for(&t, 4000);
    CHECK_INT(sink_stats(t.sink).open, 0);
    t.behind_name = "more";
    CHECK_INT(town_send(&t, a_only, 1, 995), 995);
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 1000);
    CHECK(sink_stats(t.sink).connections >= 1 + 995 / PATH_PER_CONNECTION);
    CHECK(sink_stats(t.sink).connections <= 1 + 995 / PATH_PER_CONNECTION + PATH_CONNECTIONS);
    town_free(&t);
}

TEST(open_sockets_have_a_ceiling_and_everybody_gets_one_in_turn)
{
    enum { N = 4500 };
    struct conf_source sources[] = {{.name = S("s1"), .ehlo = S("s1.example.jp")},
                                    {.name = S("s2"), .ehlo = S("s2.example.jp")},
                                    {.name = S("s3"), .ehlo = S("s3.example.jp")}};
    struct buf world = town_of_receivers(N, "delay = '2 s'");
    const char **names = town_domain_names(N);
    for (size_t nsources = 1; nsources <= 3; nsources += 2) {
        struct town t;
        CHECK(start(&t, world.p, 3));
        town_close(&t);
        t.conf.sources = sources;
        t.conf.nsources = nsources;
        CHECK(town_open(&t));
        CHECK_INT(town_send(&t, names, N, 1), N);
        town_run(&t);
        CHECK_INT(deliver_counts(t.d).delivered, N);
        CHECK_INT(open_most, nsources == 1 ? 2000 : 4000); /* of a source, and in all */
        town_free(&t);
    }
    town_names_free(names, N);
    buf_free(&world);
}

TEST(ten_thousand_domains_with_one_message_each_are_all_tried_within_a_minute)
{
    enum { N = 10000 };
    struct buf world = town_of_receivers(N, "delay = '50 ms'");
    const char **names = town_domain_names(N);
    struct town t;
    CHECK(start(&t, world.p, 4));
    CHECK_INT(town_send(&t, names, N, 1), N);
    town_run_for(&t, 60000);
    CHECK_INT(sink_stats(t.sink).transactions, N);
    CHECK_INT(deliver_counts(t.d).delivered, N);
    town_free(&t);
    town_names_free(names, N);
    buf_free(&world);
}

TEST(one_answer_stops_four_hundred_hosts_under_one_pattern_at_that_source)
{
    enum { N = 400 };
    static struct rule_spec spec = {.name = S("init.lua:7 rule 1"),
                                    .isp = S(""),
                                    .enhanced = S(""),
                                    .text = S("S3150"),
                                    .cls = CLASS_BLOCKED,
                                    .retry = true};
    struct slice mx[] = {S("a.test")};
    struct conf_isp isp = {.name = S("a"), .mx = mx, .nmx = 1};
    struct conf_source sources[] = {{.name = S("s1"), .ehlo = S("s1.example.jp")},
                                    {.name = S("s2"), .ehlo = S("s2.example.jp")}};
    struct act_rule rule = {.name = spec.name, .after = 1, .act = act_default(ACT_SUSPEND)};
    struct buf world = town_of_receivers(
        N, "replies = { { phase = 'rcpt', to = '^p0@d0', reply = '550 5.7.1 refused (S3150)' } }");
    const char **names = town_domain_names(N);
    struct town t;
    CHECK(start(&t, world.p, 5));
    town_close(&t);
    rule.act.scope = ACT_PATH;
    rule.act.for_ms = 4 * 3600000;
    t.conf.isps = &isp;
    t.conf.nisps = 1;
    t.conf.sources = sources;
    t.conf.nsources = 2;
    t.conf.rules = &spec;
    t.conf.nrules = 1;
    t.conf.acts = (struct acts){.of_rules = &rule, .nof_rules = 1};
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, names, 1, 1), 1);
    town_run_for(&t, 5000);
    CHECK_INT(t.events[EVENT_DEFERRED] + t.events[EVENT_BOUNCED], 1);
    t.behind_name = "more";
    CHECK_INT(town_send(&t, names, N, 4), 4 * N);
    town_run_for(&t, 600000);
    /* All by the other source. */
    CHECK_INT(sources_of_deliveries[1] + sources_of_deliveries[2], 4 * N);
    CHECK(!sources_of_deliveries[1] || !sources_of_deliveries[2]);
    town_free(&t);
    town_names_free(names, N);
    buf_free(&world);
}
