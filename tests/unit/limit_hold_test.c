/* limit_hold_test.c - limits of connections by what they carry: who holds a permit, who gets it next. */
#include "delivery/deliver_impl.h"
#include "delivery/wait.h"
#include "test.h"
#include "town.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    BY_CAMPAIGN = 1 << CONF_BY_CAMPAIGN,
    BY_POOL = 1 << CONF_BY_POOL,
    BY_DOMAIN = 1 << CONF_BY_DOMAIN,
    BY_MX = 1 << CONF_BY_MX,
    BY_STREAM = 1 << CONF_BY_STREAM,
    SEEN_MOST = 2000
};

/* What was delivered, in order. A reply takes 100 ms, so a message about 300. */
static struct seen {
    int64_t begin_ms, end_ms; /* UTC */
    uint64_t session;
    char campaign; /* x or y */
    unsigned domain;
} seen[SEEN_MOST];
static size_t nseen;

static void on_event(struct town *t, const struct rec_event *ev)
{
    struct seen *s = &seen[nseen];
    char text[64];
    unsigned person;
    (void)t;
    if (ev->type != EVENT_DELIVERED)
        return;
    snprintf(text, sizeof text, "%.*s", SLICE_FMT(ev->recipient));
    INVARIANT(nseen < SEEN_MOST && sscanf(text, "p%u%c@d%u.test", &person, &s->campaign, &s->domain) == 3);
    s->begin_ms = ev->at_ms - ev->send_ms;
    s->end_ms = ev->at_ms;
    s->session = ev->session;
    nseen++;
}

/* d0 and d1 have one mail host, d2 and d3 one each. */
static const char world[] =
    "return { isps = {"
    "  one = { domains = {'d0.test', 'd1.test'}, mx = {'mx.a.test'}, address = '127.0.1.1', delay = '100 ms' "
    "},"
    "  two = { domains = {'d2.test'}, mx = {'mx.b.test'}, address = '127.0.1.2', delay = '100 ms' },"
    "  three = { domains = {'d3.test'}, mx = {'mx.c.test'}, address = '127.0.1.3', delay = '100 ms' } } }";
static const char *const d0[] = {"d0.test"}, *const d1[] = {"d1.test"}, *const d2[] = {"d2.test"},
                         *const d3[] = {"d3.test"}, *const d01[] = {"d0.test", "d1.test"},
                         *const d02[] = {"d0.test", "d2.test"};
static struct conf_source sources[] = {
    {.name = S("one"), .address = {.family = 4, .b = {127, 0, 0, 11}}, .ehlo = S("one.example.jp")},
    {.name = S("two"), .address = {.family = 4, .b = {127, 0, 0, 12}}, .ehlo = S("two.example.jp")}};
static struct conf_pool_member of_first[] = {{0, 1}}, of_second[] = {{1, 1}};
static struct conf_pool pools[] = {{.name = S("first"), .members = of_first, .nmembers = 1},
                                   {.name = S("second"), .members = of_second, .nmembers = 1}};
static struct slice a_mx[] = {S("mx.a.test")};

/* Campaigns and streams x and y, the streams of these pools. */
static struct conf_stream streams[2];
static bool start(struct town *t, uint16_t pool_x, uint16_t pool_y, struct conf_isp *isp,
                  struct conf_limit *limits, size_t n)
{
    static const struct slice names[] = {S("x"), S("y")};
    static struct conf_campaign campaigns[2];
    nseen = 0;
    if (!town_new(t, world, 5))
        return false;
    town_close(t);
    for (int i = 0; i < 2; i++) {
        streams[i] = t->conf.streams[0];
        streams[i].name = names[i];
        streams[i].pool = i ? pool_y : pool_x;
        streams[i].priority = CONF_BULK;
        campaigns[i] = t->conf.campaigns[0];
        campaigns[i].name = names[i];
        campaigns[i].stream = (uint16_t)i;
    }
    t->conf.streams = streams;
    t->conf.campaigns = campaigns;
    t->conf.nstreams = t->conf.ncampaigns = 2;
    t->conf.sources = sources;
    t->conf.nsources = 2;
    t->conf.pools = pools;
    t->conf.npools = 2;
    t->conf.isps = isp;
    t->conf.nisps = isp ? 1 : 0;
    t->conf.limits = limits;
    t->conf.nlimits = n;
    t->event = on_event;
    return town_open(t);
}

static size_t post(struct town *t, const char *campaign, const char *const *domains, size_t ndomains, int n)
{
    t->behind_name = campaign;
    return town_send_as(t, slice_cstr(campaign), domains, ndomains, n);
}

/* Connections that carried mail at the same moment, at most; campaign 0: of any. */
static unsigned at_once(char campaign)
{
    unsigned most = 0;
    for (size_t i = 0; i < nseen; i++) {
        uint64_t sessions[64];
        unsigned n = 0;
        for (size_t k = 0; k < nseen; k++) {
            const struct seen *s = &seen[k];
            bool counted = s->begin_ms > seen[i].begin_ms || s->end_ms <= seen[i].begin_ms ||
                           (campaign && (s->campaign != campaign || seen[i].campaign != campaign));
            for (unsigned j = 0; j < n; j++)
                counted |= sessions[j] == s->session;
            if (!counted && n < COUNT(sessions))
                sessions[n++] = s->session;
        }
        most = n > most ? n : most;
    }
    return most;
}

static size_t sessions_seen(void)
{
    size_t n = 0;
    for (size_t i = 0; i < nseen; i++) {
        bool first = true;
        for (size_t k = 0; k < i; k++)
            first &= seen[k].session != seen[i].session;
        n += first;
    }
    return n;
}

static int64_t begin_of(char campaign, unsigned domain)
{
    for (size_t i = 0; i < nseen; i++)
        if (seen[i].campaign == campaign && seen[i].domain == domain)
            return seen[i].begin_ms;
    return INT64_MAX;
}

static struct slice any_mx[] = {S("mx.a.test"), S("mx.b.test"), S("mx.c.test")};

TEST(so_many_connections_carry_a_campaign_and_others_carry_another)
{
    struct conf_isp isp = {.name = S("a"), .mx = any_mx, .nmx = 3, .connections = 6};
    for (unsigned most = 1; most <= 2; most++) {
        struct conf_limit limit = {.by = BY_CAMPAIGN, .connections = most};
        struct town t;
        CHECK(start(&t, 0, 0, &isp, &limit, 1));
        CHECK_INT(post(&t, "x", d02, 2, 60) + post(&t, "y", d02, 2, 60), 240);
        town_run(&t);
        CHECK_INT(nseen, 240);
        CHECK_INT(t.events[EVENT_DEFERRED], 0);
        CHECK_INT(at_once('x'), most);
        CHECK_INT(at_once('y'), most);
        CHECK_INT(at_once(0), 2 * most);
        town_free(&t);
    }
}

TEST(the_next_message_of_a_kind_keeps_its_permit)
{
    /* With another receiver in line all the time, none goes over a connection of its own. */
    struct conf_isp isp = {.name = S("a"), .mx = any_mx, .nmx = 3, .per_connection = 20};
    struct conf_limit limits[] = {{.by = BY_CAMPAIGN, .connections = 1}, {.by = BY_DOMAIN, .connections = 1}};
    for (int i = 0; i < 2; i++) {
        struct town t;
        CHECK(start(&t, 0, 0, &isp, &limits[i], 1));
        CHECK_INT(post(&t, "x", d02, 2, 40), 80);
        town_run(&t);
        CHECK_INT(nseen, 80);
        CHECK(sessions_seen() <= 5);
        town_free(&t);
    }
}

TEST(who_waits_for_a_permit_gets_it_when_a_connection_has_had_its_messages)
{
    struct conf_isp isp = {.name = S("a"), .mx = any_mx, .nmx = 3, .per_connection = 10};
    struct conf_limit limit = {.by = BY_CAMPAIGN, .connections = 1};
    struct town t;
    unsigned other = 0;
    CHECK(start(&t, 0, 0, &isp, &limit, 1));
    CHECK_INT(post(&t, "x", d02, 2, 100), 200);
    town_run(&t);
    for (size_t i = 0; i < 20; i++)
        other += seen[i].domain != seen[0].domain;
    CHECK(other >= 9 && other <= 10);
    town_free(&t);
}

TEST(a_connection_with_nothing_more_to_carry_gives_its_permit_back_at_once)
{
    struct conf_limit limit = {.by = BY_CAMPAIGN, .connections = 1};
    struct town t;
    CHECK(start(&t, 0, 0, NULL, &limit, 1));
    CHECK_INT(post(&t, "x", d02, 2, 1), 2);
    town_run(&t);
    CHECK_INT(nseen, 2);
    CHECK(seen[1].begin_ms >= seen[0].end_ms);
    CHECK(seen[1].begin_ms - seen[0].end_ms < 1000); /* idle, it is open for five seconds */
    town_free(&t);
}

TEST(a_connection_carries_other_mail_while_one_kind_has_no_permit)
{
    unsigned of_d0 = 0;
    struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .connections = 2};
    struct conf_limit limit = {.by = BY_CAMPAIGN | BY_DOMAIN, .connections = 1};
    struct town t;
    CHECK(start(&t, 0, 0, &isp, &limit, 1));
    CHECK_INT(post(&t, "x", d0, 1, 60) + post(&t, "x", d1, 1, 60) + post(&t, "y", d1, 1, 60), 180);
    town_run(&t);
    CHECK_INT(nseen, 180);
    CHECK_INT(at_once(0), 2);
    int64_t took = seen[nseen - 1].end_ms - seen[0].begin_ms;
    CHECK(took < 180 * 400 * 6 / 10); /* one connection takes 400 ms for each */
    for (size_t i = 0; i < 60; i++)   /* and each lane had its turn */
        of_d0 += seen[i].domain == 0;
    CHECK(of_d0 >= 15);
    town_free(&t);
}

TEST(more_urgent_mail_has_the_permit_after_the_current_message)
{
    /* Of what a connection carries, of all connections, of those to one host from two sources. */
    static const struct {
        unsigned by, connections, sessions;
        bool other_host;
    } cases[] = {{BY_POOL, 1, 2, true}, {0, 1, 3, true}, {0, 3, 5, true}, {BY_MX, 1, 3, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct conf_limit limit = {.by = cases[i].by, .connections = cases[i].connections};
        struct town t;
        CHECK(start(&t, 0, i == 3, NULL, &limit, 1));
        town_close(&t);
        streams[1].priority = CONF_URGENT;
        CHECK(town_open(&t));
        CHECK_INT(post(&t, "x", d0, 1, 100), 100);
        town_run_for(&t, 10000);
        CHECK(nseen > 5 && nseen < 90);
        int64_t now = loop_wall_ms(t.loop);
        CHECK_INT(post(&t, "y", cases[i].other_host ? d2 : d1, 1, 1), 1);
        town_run_for(&t, 5000);
        /* The current message, perhaps a QUIT, and a new connection. */
        CHECK(begin_of('y', cases[i].other_host ? 2 : 1) - now < 1100);
        town_run(&t);
        CHECK_INT(nseen, 101);
        CHECK(at_once(0) <= cases[i].connections);
        CHECK_INT(sessions_seen(), cases[i].sessions); /* one of several was closed for it */
        CHECK_INT(t.events[EVENT_DEFERRED], 0);
        town_free(&t);
    }
}

static size_t most_open(struct town *t, int64_t ms)
{
    size_t most = 0;
    for (int64_t at = 0; at < ms; at += 20) {
        town_run_for(t, 20);
        most = sink_stats(t->sink).open > most ? sink_stats(t->sink).open : most;
    }
    return most;
}

TEST(open_connections_to_a_host_are_counted_and_idle_ones_make_room)
{
    static const unsigned bys[] = {BY_MX, 0};
    for (size_t i = 0; i < COUNT(bys); i++) {
        struct conf_limit limit = {.by = bys[i], .connections = 1};
        struct town t;
        CHECK(start(&t, 0, 1, NULL, &limit, 1));
        CHECK_INT(post(&t, "x", d0, 1, 10) + post(&t, "y", d0, 1, 10), 20);
        CHECK_INT(most_open(&t, 12000), 1);
        CHECK_INT(nseen, 20);
        int64_t gap = 0;
        for (size_t k = 1; k < nseen; k++)
            gap = seen[k].begin_ms - seen[k - 1].end_ms > gap ? seen[k].begin_ms - seen[k - 1].end_ms : gap;
        CHECK(gap < 1500); /* it was closed because somebody waited */
        town_run_for(&t, 10000);
        int64_t now = loop_wall_ms(t.loop);
        CHECK_INT(post(&t, "x", d0, 1, 11), 1);
        CHECK_INT(most_open(&t, 2000), 1);
        CHECK_INT(post(&t, "y", i ? d2 : d1, 1, 1), 1); /* the other is idle by now */
        CHECK_INT(most_open(&t, 2000), 1);
        CHECK_INT(nseen, 22);
        CHECK(seen[21].begin_ms - now < 3500);
        town_free(&t);
    }
}

TEST(as_many_connections_make_room_as_there_are_in_line)
{
    /* Two carry their last message when two others come; or are idle by then. */
    for (int idle = 0; idle < 2; idle++) {
        struct conf_limit limit = {.by = 0, .connections = 2};
        struct town t;
        CHECK(start(&t, 0, 1, NULL, &limit, 1));
        CHECK_INT(post(&t, "x", d02, 2, 1), 2);
        town_run_for(&t, idle ? 2000 : 600);
        CHECK_INT(sink_stats(t.sink).open, 2);
        CHECK_INT(nseen, idle ? 2 : 0);
        int64_t now = loop_wall_ms(t.loop);
        CHECK_INT(post(&t, "y", d2, 1, 30) + post(&t, "y", d3, 1, 30), 60);
        CHECK_INT(most_open(&t, 30000), 2);
        CHECK_INT(nseen, 62);
        CHECK(begin_of('y', 2) - now < 2500 && begin_of('y', 3) - now < 2500);
        town_free(&t);
    }
}

TEST(an_idle_connection_takes_what_comes_while_other_mail_waits_for_a_new_one)
{
    struct conf_limit limits[] = {{.by = BY_CAMPAIGN, .amounts.new_connections = {1, 0, 3600000}},
                                  {.by = BY_DOMAIN, .per_connection = 1}};
    struct town t;
    CHECK(start(&t, 0, 0, NULL, limits, 2));
    CHECK_INT(post(&t, "x", d0, 1, 2), 2); /* the second is too many for it */
    town_run_for(&t, 3000);
    CHECK_INT(nseen, 1);
    CHECK_INT(post(&t, "x", d1, 1, 1), 1);
    town_run_for(&t, 2000);
    CHECK_INT(nseen, 2);
    CHECK_INT(sessions_seen(), 1);
    town_free(&t);
}

TEST(a_new_connection_is_opened_for_whom_has_leave_and_carries_who_has_not)
{
    static const unsigned bys[] = {BY_CAMPAIGN, BY_STREAM | BY_DOMAIN, BY_POOL | BY_MX | BY_CAMPAIGN};
    for (size_t i = 0; i < COUNT(bys); i++) {
        struct conf_limit limit = {.by = bys[i], .amounts.new_connections = {1, 0, 3600000}};
        struct town t;
        CHECK(start(&t, 0, 0, NULL, &limit, 1));
        CHECK_INT(post(&t, "x", d0, 1, 3), 3);
        town_run_for(&t, 20000); /* gone, and the connection is closed */
        CHECK(nseen == 3 && sessions_seen() == 1);
        CHECK_INT(post(&t, "x", d0, 1, 5), 2);
        town_run_for(&t, 60000);
        CHECK_INT(nseen, 3);
        CHECK_INT(post(&t, "y", d01, 2, 1), 2);
        town_run_for(&t, 20000);
        CHECK_INT(nseen, 7);
        CHECK_INT(post(&t, "x", d0, 1, 6), 1);
        town_run_for(&t, 3400000);
        CHECK_INT(nseen, 7);
        town_run_for(&t, 200000);
        CHECK_INT(nseen, 8);
        CHECK_INT(t.events[EVENT_DEFERRED], 0);
        town_free(&t);
    }
}

TEST(an_idle_connection_takes_what_has_no_leave_for_a_new_one)
{
    struct conf_limit limit = {.by = BY_CAMPAIGN, .amounts.new_connections = {1, 0, 3600000}};
    struct town t;
    CHECK(start(&t, 0, 0, NULL, &limit, 1));
    CHECK_INT(post(&t, "x", d2, 1, 1), 1); /* x has had its connection */
    town_run_for(&t, 20000);
    CHECK_INT(post(&t, "x", d0, 1, 1), 1); /* waits */
    town_run_for(&t, 20000);
    CHECK_INT(nseen, 1);
    CHECK_INT(post(&t, "y", d1, 1, 1), 1);
    town_run_for(&t, 2000);
    CHECK_INT(nseen, 3);
    CHECK_INT(post(&t, "x", d1, 1, 1), 1); /* it is idle now */
    town_run_for(&t, 1000);
    CHECK_INT(nseen, 4);
    town_free(&t);
}

/* Of campaign and domain, the most over one connection. */
static unsigned most_on_one(char campaign, unsigned domain)
{
    unsigned most = 0;
    for (size_t i = 0; i < nseen; i++) {
        unsigned n = 0;
        for (size_t k = 0; k < nseen; k++)
            n += seen[k].session == seen[i].session && (!campaign || seen[k].campaign == campaign) &&
                 (domain == UINT32_MAX || seen[k].domain == domain);
        most = n > most ? n : most;
    }
    return most;
}

TEST(so_many_messages_of_a_kind_go_over_one_connection)
{
    /* By domain it goes on with the other, by what all its mail has it is closed. */
    static const struct {
        unsigned by, of_domain, in_all;
    } cases[] = {{BY_DOMAIN, 3, 6}, {BY_MX, 3, 3}, {0, 3, 3}, {BY_CAMPAIGN | BY_DOMAIN, 3, 6}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .connections = 1};
        struct conf_limit limit = {.by = cases[i].by, .per_connection = 3};
        struct town t;
        CHECK(start(&t, 0, 0, &isp, &limit, 1));
        CHECK_INT(post(&t, "x", d01, 2, 12), 24);
        town_run(&t);
        CHECK_INT(nseen, 24);
        CHECK(most_on_one(0, 0) <= cases[i].of_domain && most_on_one(0, 1) <= cases[i].of_domain);
        CHECK_INT(most_on_one(0, UINT32_MAX), cases[i].in_all);
        CHECK_INT(t.events[EVENT_DEFERRED], 0);
        town_free(&t);
    }
}

TEST(the_least_number_of_messages_a_connection_holds)
{
    struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .per_connection = 4};
    struct conf_limit limits[] = {{.by = 0, .per_connection = 7}, {.by = BY_MX, .per_connection = 3}};
    for (size_t n = 0; n <= 2; n++) {
        struct town t;
        CHECK(start(&t, 0, 0, &isp, limits, n));
        CHECK_INT(post(&t, "x", d0, 1, 30), 30);
        town_run(&t);
        CHECK_INT(most_on_one(0, 0), n == 2 ? 3 : 4);
        town_free(&t);
    }
}

TEST(a_connection_opened_for_a_campaign_counts_after_a_crash)
{
    static const unsigned bys[] = {BY_CAMPAIGN, BY_STREAM | BY_DOMAIN, BY_POOL, BY_MX};
    for (size_t i = 0; i < COUNT(bys); i++) {
        struct conf_limit limit = {.by = bys[i], .amounts.new_connections = {1, 0, 3600000}};
        struct town t;
        CHECK(start(&t, 0, 1, NULL, &limit, 1));
        town_close(&t); /* the machine has a name for its boot: a crash is told from a loss of power */
        CHECK(!fs_mkdir(t.fs, "/proc/sys/kernel/random", 0700, &t.err) &&
              !fs_write_atomic(t.fs, "/proc/sys/kernel/random/boot_id", S("one"), 0600, &t.err));
        CHECK(town_open(&t));
        CHECK_INT(post(&t, "x", d0, 1, 1), 1);
        town_run_for(&t, 600000);
        CHECK_INT(nseen, 1);
        town_crash(&t);
        CHECK(town_open(&t));
        CHECK_INT(post(&t, "x", d0, 1, 2), 1);
        CHECK_INT(post(&t, "y", d3, 1, 1), 1); /* another of all that is counted by */
        town_run_for(&t, 2990000);
        CHECK_INT(nseen, 2);
        CHECK(seen[1].campaign == 'y');
        town_run_for(&t, 20000);
        CHECK_INT(nseen, 3);
        town_free(&t);
    }
}

TEST(who_waits_for_a_connection_to_be_done_is_told_so)
{
    struct conf_limit limits[] = {
        {.by = BY_CAMPAIGN, .connections = 1, .place = {S("init.lua"), 5}},
        {.by = BY_MX, .connections = 1, .place = {S("init.lua"), 6}},
        {.by = BY_CAMPAIGN, .amounts.new_connections = {1, 0, 3600000}, .place = {S("init.lua"), 7}}};
    static const char campaign[] =
        "129 wait for the limit connections 1 of campaign x (init.lua:5), until a connection is done with "
        "such mail\n";
    static const char mx[] =
        "129 wait for the limit connections 1 of mx 10 mx.a.test (init.lua:6), until a connection ends\n";
    static const char leave[] =
        "129 wait for the limit new_connections 1/h of campaign x (init.lua:7), next permit in 59 min 56 s\n";
    static const char *const lists[] = {campaign, mx, leave};
    static const char *const whys[] = {
        "for a connection to be done with such mail: connections 1 of campaign x (init.lua:5)",
        "for a connection to end: connections 1 of mx 10 mx.a.test (init.lua:6)",
        "its turn: new_connections 1/h of campaign x (init.lua:7)"};
    for (size_t i = 0; i < COUNT(limits); i++) {
        struct buf list = {0}, why = {0};
        struct town t;
        bool of_mx = limits[i].by == BY_MX;
        CHECK(start(&t, 0, 1, NULL, &limits[i], 1));
        CHECK_INT(post(&t, "x", d0, 1, 90), 90);
        town_run_for(&t, 2000);
        CHECK_INT(post(&t, of_mx ? "y" : "x", of_mx ? d0 : d2, 1, 50), 50);
        town_run_for(&t, 2000);
        CHECK(nseen > 3 && nseen < 60);
        wait_limits_text(t.d, 1, &list);
        CHECK_STR(slice_of(list.p, list.n), slice_cstr(lists[i]));
        for (uint32_t k = 0; k < queue_lanes(t.d->queue); k++)
            if (queue_lane_at(t.d->queue, k)->ready.n == 50)
                wait_of_lane(t.d, queue_lane_at(t.d->queue, k), &why);
        CHECK_STR(buf_slice(&why), slice_cstr(whys[i]));
        buf_free(&list);
        buf_free(&why);
        town_free(&t);
    }
}
