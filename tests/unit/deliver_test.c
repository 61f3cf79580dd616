/* deliver_test.c - delivery on a virtual loop, against the sink's server side over pipes in memory: every
 * recipient accounted for, whatever the receivers do. */
#include "test.h"
#include "town.h"

#include <stdlib.h>

static const char *const a_b[] = {"a.test", "b.test"};

TEST(a_campaign_reaches_receivers_that_take_everything)
{
    struct town t;
    CHECK(
        town_new(&t,
                 "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1' },"
                 "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2',"
                 "      extensions = {'8BITMIME'} } } }",
                 1));
    CHECK_INT(town_send(&t, a_b, 2, 500), 1000);
    CHECK_INT(town_send(&t, a_b, 2, 500), 0);
    town_run(&t);
    if (!town_accounted(&t, 1000) || deliver_counts(t.d).delivered != 1000)
        fprintf(stderr, "%.*s", SLICE_FMT(buf_slice(&t.trace)));
    CHECK(town_accounted(&t, 1000));
    CHECK_INT(deliver_counts(t.d).delivered, 1000);
    CHECK_INT(sink_stats(t.sink).messages, 1000);
    town_free(&t);
}

TEST(greylisting_refusals_and_dead_domains_are_told_apart)
{
    static const char *const domains[] = {"a.test", "b.test", "gone.test", "null.test", "flaky.test"};
    struct town t;
    CHECK(town_new(
        &t,
        "return { isps = {"
        "a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1', greylist = '1 min' },"
        "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2',"
        "      replies = { { phase = 'rcpt', to = '^p1@', reply = '550 5.1.1 no such user' },"
        "                  { phase = 'eod', to = '^p2@', reply = '452 4.2.2 mailbox full' } } } },"
        "dns = { ['null.test'] = 'null_mx', ['flaky.test'] = 'servfail' } }",
        2));
    CHECK_INT(town_send(&t, domains, 5, 20), 100);
    t.patience_ms = 50 * 60000; /* DNS that fails is asked again after 1, 2, 4 … 60 min */
    town_run(&t);
    if (!town_accounted(&t, 100))
        fprintf(stderr, "%.*s", SLICE_FMT(buf_slice(&t.trace)));
    CHECK(town_accounted(&t, 100));
    struct deliver_counts c = deliver_counts(t.d);
    CHECK_INT(c.delivered, 20 + 18);
    CHECK_INT(c.bounced, 1 + 20 + 20);
    CHECK_INT(c.queued, 1 + 20); /* the full mailbox and the domain whose DNS fails */
    CHECK(t.events[EVENT_DEFERRED] >= 20 + 1);
    town_free(&t);
}

TEST(a_restart_takes_up_where_the_journal_ends)
{
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
                   " greylist = '1 min' } } }",
                   3));
    static const char *const a[] = {"a.test"};
    CHECK_INT(town_send(&t, a, 1, 50), 50);
    t.patience_ms = 60000; /* not long enough for the first retry */
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).queued, 50);
    CHECK_INT(deliver_counts(t.d).retry, 50);
    town_close(&t);
    CHECK(town_open(&t));
    CHECK_INT(deliver_counts(t.d).queued, 50);
    CHECK_INT(deliver_counts(t.d).retry, 50);
    CHECK_INT(town_send(&t, a, 1, 60), 10); /* once: only the new ones */
    t.patience_ms = 86400000;
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 60);
    CHECK_INT(sink_stats(t.sink).messages, 60);
    town_close(&t);
    CHECK(town_open(&t));
    CHECK_INT(deliver_counts(t.d).queued, 0);
    CHECK_INT(town_send(&t, a, 1, 60), 0);
    town_free(&t);
}

TEST(a_receiver_that_allows_three_connections_is_not_held_back_by_the_fourth)
{
    static const char *const a[] = {"a.test"};
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
                   " connections = 3, delay = '10 ms' } } }",
                   4));
    CHECK_INT(town_send(&t, a, 1, 2000), 2000);
    t.patience_ms = 0;
    town_run(&t);
    CHECK(town_accounted(&t, 2000));
    CHECK_INT(deliver_counts(t.d).delivered, 2000);
    CHECK(loop_now_ms(t.loop) < 120000); /* one connection alone would take them some 140 s */
    town_free(&t);
}

static void on_hook(void *data, uint64_t id, const struct campaign *c, const struct rec_recipient *rec,
                    struct slice columns)
{
    struct town *t = data;
    struct buf edits = {0};
    (void)c;
    (void)columns;
    message_edits_begin(&edits, 1);
    message_edits_add(&edits, S("X-Hook"), rec->address);
    deliver_hook_done(t->d, id, buf_slice(&edits), id % 10 == 0 ? "init.lua:7: out of luck" : NULL);
    buf_free(&edits);
}

TEST(a_message_hook_runs_for_each_and_holds_those_on_which_it_fails)
{
    static const char *const a[] = {"a.test"};
    struct town t;
    CHECK(town_new(
        &t, "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1' } } }",
        5));
    town_close(&t);
    t.message_hook = on_hook;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a, 1, 200), 200);
    t.patience_ms = 0;
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 180);
    CHECK_INT(deliver_counts(t.d).held, 20);
    CHECK_INT(t.events[EVENT_HELD], 20);
    CHECK(town_accounted(&t, 200));
    town_free(&t);
}

TEST(ipv6_is_for_receivers_that_allow_it)
{
    struct conf_source two[] = {
        {.name = S("four"), .address = ip_v4(127, 0, 0, 1), .ehlo = S("four.example.jp")},
        {.name = S("six"), .address = {.family = 6}, .ehlo = S("six.example.jp")}};
    struct slice a[] = {S("a.test")}, b[] = {S("b.test")};
    struct conf_isp isps[] = {{.name = S("a"), .domains = a, .ndomains = 1, .family = CONF_FAMILY_6},
                              {.name = S("b"), .domains = b, .ndomains = 1}};
    struct conf c = {.sources = two, .nsources = 2, .isps = isps, .nisps = 2};
    struct loop *loop = loop_new_virtual(1, 0);
    struct paths *ps = paths_new(&(struct paths_conf){.loop = loop, .conf = &c});
    struct host host = {.name = S("mx.test")};
    struct site_host hosts[] = {{&host, 10}};
    struct site s = {.hosts = hosts, .nhosts = 1};
    paths_place_site(ps, &s, S("a.test"));
    CHECK(!s.isp->by_source[0].usable && s.isp->by_source[1].usable);
    paths_place_site(ps, &s, S("b.test"));
    CHECK(s.isp->by_source[0].usable && !s.isp->by_source[1].usable);
    paths_free(ps);
    c.nsources = 1; /* with IPv6 alone it goes where nobody forbids it */
    c.sources = two + 1;
    ps = paths_new(&(struct paths_conf){.loop = loop, .conf = &c});
    paths_place_site(ps, &s, S("b.test"));
    CHECK(s.isp->by_source[0].usable);
    paths_free(ps);
    loop_free(loop);
}

TEST(domains_of_two_isps_on_one_set_of_hosts_are_kept_apart)
{
    static const char *const domains[] = {"a.test", "b.test"};
    struct slice b[] = {S("b.test")};
    struct conf_isp isp = {.name = S("strict"), .domains = b, .ndomains = 1, .tls = CONF_TLS_REQUIRE};
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = { shared = { domains = {'a.test', 'b.test'}, mx = {'mx.shared.test'},"
                   " address = '127.0.1.1', extensions = {'8BITMIME'} } } }",
                   6));
    town_close(&t);
    t.conf.isps = &isp;
    t.conf.nisps = 1;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, domains, 2, 20), 40);
    t.patience_ms = 0;
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered,
              20); /* there is no TLS: a.test does without, b.test's isp does not */
    CHECK(town_accounted(&t, 40));
    town_free(&t);
}

TEST(a_path_that_is_held_ends_no_run_while_other_mail_can_go)
{
    static const char *const domains[] = {"a.test", "b.test"};
    struct slice a_mx[] = {S("mx.a.test")};
    struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .connections = 1, .per_connection = 1};
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = {"
                   "a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1', delay = '3 s' },"
                   "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2',"
                   "      replies = { { phase = 'banner', reply = '554 5.7.1 not you' } } } } }",
                   11));
    town_close(&t);
    t.conf.isps = &isp; /* a new connection for each mail: there are moments in which none is in flight */
    t.conf.nisps = 1;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, domains, 2, 40), 80);
    t.patience_ms = 30000;
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 40);
    CHECK(town_accounted(&t, 80));
    town_free(&t);
}
