/* fair_test.c - shares by weight, and urgent mail first, where no limit makes anybody wait: on connections.
 */
#include "delivery/path.h"
#include "test.h"
#include "town.h"

static char order[30000]; /* the campaign's first letter, from the return path's domain */
static size_t norder;

static void on_transaction(void *data, const struct world_isp *isp, const struct smtp_server_tx *tx)
{
    ptrdiff_t at = slice_find(tx->from, S("@"));
    if (norder < sizeof order)
        order[norder++] = at < 0 ? '?' : tx->from.p[at + 1];
}

static struct conf_stream streams[2];
static struct conf_campaign campaigns[2];

static bool start_in(struct town *t, const char *world, uint64_t seed, unsigned connections,
                     struct conf_isp *isp)
{
    static struct slice mx[] = {S("mx.a.test")};
    norder = 0;
    if (!town_new(t, world, seed))
        return false;
    town_close(t);
    for (size_t i = 0; i < 2; i++) {
        streams[i] = t->conf.streams[0];
        streams[i].name = i ? S("y") : S("x");
        streams[i].bounce = i ? S("y.example.jp") : S("x.example.jp");
        streams[i].weight = i ? 1 : 3;
        campaigns[i] = t->conf.campaigns[0];
        campaigns[i].name = streams[i].name;
        campaigns[i].stream = (uint16_t)i;
    }
    *isp = (struct conf_isp){.name = S("a"), .mx = mx, .nmx = 1, .connections = connections};
    t->conf.streams = streams;
    t->conf.campaigns = campaigns;
    t->conf.nstreams = t->conf.ncampaigns = 2;
    t->conf.isps = isp;
    t->conf.nisps = 1;
    t->transaction = on_transaction;
    return true;
}

static bool start(struct town *t, uint64_t seed, unsigned connections, struct conf_isp *isp)
{
    static const char world[] = "return { isps = { a = { domains = {'a.test', 'b.test', 'c.test'},"
                                " mx = {'mx.a.test'}, address = '127.0.1.1', delay = '5 ms' } } }";
    return start_in(t, world, seed, connections, isp);
}

static size_t count_of(char campaign, size_t to)
{
    size_t n = 0;
    for (size_t i = 0; i < to && i < norder; i++)
        n += order[i] == campaign;
    return n;
}

TEST(weights_three_and_one_get_their_shares_of_ten_thousand_messages_within_two_percent)
{
    static const char *const domains[] = {"a.test", "b.test", "c.test"};
    static const unsigned connections[] = {1, 10};
    for (size_t i = 0; i < COUNT(connections); i++) {
        struct conf_isp isp;
        struct town t;
        CHECK(start(&t, 21 + i, connections[i], &isp));
        CHECK(town_open(&t));
        CHECK_INT(town_send_as(&t, S("x"), domains, 3, 3000), 9000);
        CHECK_INT(town_send_as(&t, S("y"), domains, 3, 3000), 9000);
        town_run(&t);
        CHECK_INT(norder, 18000);
        size_t x = count_of('x', 10000);
        if (x < 7350 || x > 7650)
            fprintf(stderr, "x has %zu of 10000\n", x);
        CHECK(x >= 7350 && x <= 7650);
        town_free(&t);
    }
}

TEST(a_campaign_that_was_away_does_not_get_what_it_did_not_use)
{
    static const char *const domains[] = {"a.test"};
    struct conf_isp isp;
    struct town t;
    CHECK(start(&t, 23, 1, &isp));
    CHECK(town_open(&t));
    CHECK_INT(town_send_as(&t, S("x"), domains, 1, 600), 600);
    town_run(&t);
    CHECK_INT(norder, 600);
    norder = 0;
    t.behind_name = "more";
    CHECK_INT(town_send_as(&t, S("x"), domains, 1, 400), 400);
    CHECK_INT(town_send_as(&t, S("y"), domains, 1, 400), 400);
    town_run(&t);
    size_t y = count_of('y', 200);
    CHECK(y >= 45 && y <= 55);
    town_free(&t);
}

/* How many reached the receiver between the acceptance of an urgent message and that message, at most, in so
 * many trials at all moments of the others' transactions; SIZE_MAX: one did not arrive within wait_ms. */
static size_t went_before(struct town *t, int trials, int64_t wait_ms)
{
    static const char *const domains[] = {"a.test"};
    size_t most = 0;
    for (int i = 0; i < trials; i++) {
        char name[16];
        town_run_for(t, 1000 + 7 * i % 41);
        norder = 0;
        snprintf(name, sizeof name, "u%d", i);
        t->behind_name = name;
        size_t accepted = town_send_as(t, S("y"), domains, 1, 1);
        t->behind_name = NULL;
        town_run_for(t, wait_ms);
        const char *at = memchr(order, 'y', norder);
        if (accepted != 1 || !at)
            return SIZE_MAX;
        most = (size_t)(at - order) > most ? (size_t)(at - order) : most;
    }
    return most;
}

/* A connection has one message begun: the one that it sends, or where the receiver takes commands ahead
 * (PIPELINING) and all but the answer to that one is over, the next. It goes before; what was only made ahead
 * does not. */
TEST(urgent_mail_behind_a_million_newsletters_waits_for_one_connections_current_message)
{
    static const char *const domains[] = {"a.test"};
    struct conf_isp isp;
    struct town t;
    CHECK(start(&t, 31, 1, &isp));
    streams[1].priority = CONF_URGENT;
    CHECK(town_open(&t));
    CHECK_INT(town_send_as(&t, S("x"), domains, 1, 1000000), 1000000);
    CHECK_INT(went_before(&t, 100, 500), 1);
    CHECK(deliver_counts(t.d).queued > 900000);
    struct sink_stats sunk = sink_stats(t.sink); /* who gives way uses nothing of its connection up */
    CHECK_INT(sunk.connections, (sunk.messages + PATH_PER_CONNECTION - 1) / PATH_PER_CONNECTION);
    town_free(&t);
}

TEST(urgent_mail_takes_the_permit_of_what_waits_for_a_connection)
{
    static const char *const domains[] = {"a.test"};
    struct conf_isp isp;
    struct town t;
    CHECK(start(&t, 32, 1, &isp));
    isp.amounts.rate = (struct pace_rate){1, 0, 86400000};
    streams[1].priority = CONF_URGENT;
    net_set_latency(t.net, 200);
    CHECK(town_open(&t));
    CHECK_INT(town_send_as(&t, S("x"), domains, 1, 10), 10);
    town_run_for(&t, 500); /* the day's permit is taken, the host has not greeted */
    CHECK_INT(sink_stats(t.sink).open, 1);
    CHECK_INT(norder, 0);
    CHECK_INT(town_send_as(&t, S("y"), domains, 1, 1), 1);
    town_run_for(&t, 86000000);
    CHECK_INT(norder, 1);
    CHECK_INT(order[0], 'y');
    town_run_for(&t, 86400000);
    CHECK_INT(norder, 2);
    CHECK(town_accounted(&t, 11));
    town_free(&t);
}

/* Microsoft 365 has a host for each of its customers. */
TEST(urgent_mail_for_another_host_of_the_isp_gets_the_next_connection)
{
    enum { HOSTS = 20 };
    static const char *const bulk[] = {"d0.test", "d1.test", "d2.test", "d3.test", "d4.test"};
    static const char *const urgent[] = {"d17.test", "d3.test", "d4.test"};
    static const unsigned connections[] = {1, 3};
    struct buf world = {0};
    buf_printf(&world, "return { isps = {");
    for (int i = 0; i < HOSTS; i++)
        buf_printf(&world,
                   "i%d = { domains = {'d%d.test'}, mx = {'d%d.mx.a.test'}, address = '127.0.2.%d',"
                   " delay = '5 ms' },",
                   i, i, i, i + 1);
    buf_printf(&world, "} }");
    for (size_t i = 0; i < COUNT(connections); i++) {
        struct slice mx[] = {S("mx.a.test")};
        struct conf_isp isp;
        struct town t;
        CHECK(start_in(&t, buf_cstr(&world), 33, connections[i], &isp));
        isp.mx = mx;
        streams[1].priority = CONF_URGENT;
        CHECK(town_open(&t));
        CHECK_INT(town_send_as(&t, S("x"), bulk, 5, 5000), 25000);
        town_run_for(&t, 10000);
        for (int k = 0; k < 12; k++) {
            char name[16];
            norder = 0;
            snprintf(name, sizeof name, "u%d", k);
            t.behind_name = name;
            uint64_t before = sink_stats(t.sink).connections;
            CHECK_INT(town_send_as(&t, S("y"), &urgent[k % 3], 1, 1), 1);
            t.behind_name = NULL;
            town_run_for(&t, 250 + 3 * k);
            const char *at = memchr(order, 'y', norder);
            CHECK(at);
            CHECK((size_t)(at - order) < 2 * connections[i]);
            /* One ended for it, and bulk mail takes the place back. */
            CHECK(sink_stats(t.sink).connections - before <= 2);
        }
        town_free(&t);
    }
    buf_free(&world);
}

/* The urgent mail's permit is another source's: there it goes, and here bulk mail goes on. */
TEST(what_lacks_a_permit_here_takes_no_place_here)
{
    static const char *const domains[] = {"a.test"};
    struct conf_source sources[] = {
        {.name = S("one"), .address = ip_v4(127, 0, 0, 11), .ehlo = S("one.example.jp")},
        {.name = S("two"), .address = ip_v4(127, 0, 0, 12), .ehlo = S("two.example.jp")}};
    struct conf_pool_member members[] = {{0, 1}, {1, 1}};
    struct conf_pool pool = {.name = S("p"), .members = members, .nmembers = 2};
    struct conf_limit limit = {.by = 1 << CONF_BY_POOL | 1 << CONF_BY_SOURCE, .amounts.rate = {1, 0, 10000}};
    struct conf_isp isp;
    struct town t;
    CHECK(start(&t, 34, 1, &isp));
    streams[1].priority = CONF_URGENT;
    streams[1].pool = 0;
    t.conf.sources = sources;
    t.conf.nsources = 2;
    t.conf.pools = &pool;
    t.conf.npools = 1;
    t.conf.limits = &limit;
    t.conf.nlimits = 1;
    CHECK(town_open(&t));
    CHECK_INT(town_send_as(&t, S("x"), domains, 1, 20000), 20000);
    town_run_for(&t, 1003);
    CHECK_INT(town_send_as(&t, S("y"), domains, 1, 6), 6);
    norder = 0;
    town_run_for(&t, 100);
    CHECK_INT(count_of('y', norder), 2); /* one from each source */
    town_run_for(&t, 9000);
    CHECK_INT(count_of('y', norder), 2);
    CHECK(norder > 600);
    town_run_for(&t, 12000);
    CHECK_INT(count_of('y', norder), 6);
    town_free(&t);
}
