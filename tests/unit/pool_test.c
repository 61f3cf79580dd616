/* pool_test.c - which source a mail leaves from: weights, permits, absence, overflow, and retries. */
#include "delivery/deliver_impl.h"
#include "delivery/wait.h"
#include "test.h"
#include "town.h"

#include <stdio.h>
#include <stdlib.h>

enum { HOUR_MS = 3600000, DAY_MS = 86400000, SOURCES = 3 };

static struct conf_source sources[SOURCES];
static struct conf_pool_member members[SOURCES], spare_members[1];
static struct conf_pool pools[2];
static struct conf_stream stream;
static struct slice a_mx[] = {S("mx.a.test")};
static struct conf_isp isps[] = {{.name = S("a"), .mx = a_mx, .nmx = 1}};
static const char *const a_only[] = {"a.test"};
static const char *const b_only[] = {"b.test"};

static size_t took[SOURCES];        /* deliveries by source */
static size_t tried[2000][SOURCES]; /* attempts of a message by source */

static void on_event(struct town *t, const struct rec_event *ev)
{
    uint16_t source = conf_find_source(&t->conf, deliver_name(t->d, NAME_SOURCE, ev->source));
    if (!ev->session || source >= SOURCES)
        return;
    took[source] += ev->type == EVENT_DELIVERED;
    if (ev->id < COUNT(tried))
        tried[ev->id][source]++;
}

#define WORLD(a)                                                                                             \
    "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1'" a " },"        \
    " b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2' } } }"

/* mx1 and mx2 in the stream's pool with these weights; mx3 is in the pool "spare". */
static bool prepare(struct town *t, const char *world, uint32_t weight1, uint32_t weight2)
{
    memset(took, 0, sizeof took);
    memset(tried, 0, sizeof tried);
    if (!town_new(t, world, 1))
        return false;
    town_close(t);
    static const struct slice names[] = {S("mx1"), S("mx2"), S("mx3")};
    for (size_t i = 0; i < SOURCES; i++)
        sources[i] = (struct conf_source){.name = names[i],
                                          .place = {S("init.lua"), 3 + (int)i},
                                          .ehlo = S("mx.example.jp"),
                                          .address = ip_v4(203, 0, 113, (uint8_t)(7 + i))};
    members[0] = (struct conf_pool_member){0, weight1};
    members[1] = (struct conf_pool_member){1, weight2};
    spare_members[0] = (struct conf_pool_member){2, 1};
    pools[0] = (struct conf_pool){.name = S("bulk"), .members = members, .nmembers = weight2 ? 2 : 1};
    pools[1] = (struct conf_pool){.name = S("spare"), .members = spare_members, .nmembers = 1};
    stream = t->conf.streams[0];
    stream.pool = 0;
    t->conf.streams = &stream;
    t->conf.sources = sources;
    t->conf.nsources = SOURCES;
    t->conf.pools = pools;
    t->conf.npools = 2;
    t->conf.isps = isps;
    t->conf.nisps = 1;
    t->event = on_event;
    return true;
}

TEST(weights_divide_what_single_mails_need)
{
    struct buf world = {0};
    const char *names[300];
    struct town t;
    buf_printf(&world, "return { isps = {");
    for (int i = 0; i < 300; i++) {
        char name[32];
        int n = snprintf(name, sizeof name, "d%d.test", i);
        names[i] = mem_dup(name, (size_t)n);
        buf_printf(&world, "i%d = { domains = {'d%d.test'}, mx = {'mx%d.test'}, address = '127.1.%d.%d' },",
                   i, i, i, i / 200, i % 200 + 1);
    }
    buf_printf(&world, "} }");
    for (uint32_t one = 1; one <= 500; one += 499) { /* the largest weight is 1000 */
        CHECK(prepare(&t, buf_cstr(&world), one, 2 * one));
        CHECK(town_open(&t));
        CHECK_INT(town_send(&t, names, 300, 1), 300);
        town_run(&t);
        CHECK_INT(took[0] + took[1], 300);
        CHECK(took[0] >= 98 && took[0] <= 102);
        town_free(&t);
    }
    for (int i = 0; i < 300; i++)
        free((char *)names[i]);
    buf_free(&world);
}

TEST(a_member_without_a_permit_passes_its_turn_and_is_owed_nothing)
{
    struct conf_limit limit = {.by = 1 << CONF_BY_SOURCE | 1 << CONF_BY_ISP | 1 << CONF_BY_CAMPAIGN,
                               .amounts.rate = {100, 0, 1000}};
    struct conf_warmup w = {.source = 0, .isp = 0, .overflow = CONF_NONE, .retreat_over_ms = HOUR_MS};
    static const uint32_t one[] = {1};
    w.curve =
        (struct warmup_curve){.steps = one, .nsteps = 1, .hold = 1, .per_day = true, .enough_permille = 800};
    struct town t;
    CHECK(prepare(&t, WORLD(""), 1, 1));
    t.conf.warmups = &w;
    t.conf.nwarmups = 1;
    t.conf.limits = &limit;
    t.conf.nlimits = 1;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 400), 400);
    town_run_for(&t, 60000);
    CHECK_INT(took[0], 1); /* all that its warm-up gives */
    CHECK_INT(took[1], 399);
    for (int i = 0; i < 40; i++) { /* what could not be taken there is not taken elsewhere instead */
        static const char *const at[] = {"b.test"};
        t.behind_name = NULL;
        CHECK_INT(town_send(&t, at, 1, 5 * (i + 1)), 5);
        town_run_for(&t, 20000);
    }
    CHECK_INT(took[0] + took[1], 600);
    CHECK(took[0] >= 80 && took[0] <= 120);
    town_free(&t);
}

TEST(a_retry_leaves_from_the_source_of_the_first_attempt)
{
    struct town t;
    CHECK(prepare(&t, WORLD(", greylist = '20 min'"), 1, 1));
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 40), 40);
    town_run(&t);
    CHECK_INT(took[0] + took[1], 40);
    CHECK(took[0] > 5 && took[1] > 5);
    for (size_t id = 1; id <= 40; id++) {
        CHECK(tried[id][0] == 0 || tried[id][1] == 0);
        CHECK(tried[id][0] + tried[id][1] >= 2);
    }
    town_free(&t);
}

TEST(a_retry_goes_from_another_source_where_its_own_has_gone)
{
    struct town t;
    CHECK(prepare(&t, WORLD(", greylist = '20 min'"), 1, 1));
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 40), 40);
    town_run_for(&t, 60000);
    CHECK_INT(t.events[EVENT_DEFERRED], 40);
    net_take_address(t.net, &sources[0].address, true);
    town_run(&t);
    CHECK_INT(took[0], 0);
    CHECK_INT(took[1], 40);
    CHECK(slice_find(buf_slice(&t.trace),
                     S("notice: source=mx1 is set aside: its address 203.0.113.7 is not on "
                       "this machine (init.lua:3)")) > 0);
    CHECK(town_accounted(&t, 40));
    town_free(&t);
}

TEST(a_source_whose_address_is_not_here_is_set_aside_until_it_is)
{
    struct town t;
    struct buf why = {0};
    CHECK(prepare(&t, WORLD(""), 1, 0));
    net_take_address(t.net, &sources[0].address, true);
    CHECK(town_open(&t));
    CHECK(slice_find(buf_slice(&t.trace), S("source=mx1 is set aside")) > 0);
    CHECK(slice_find(buf_slice(&t.trace), S("source=mx2 is set aside")) < 0);
    CHECK_INT(town_send(&t, b_only, 1, 10), 10);
    town_run_for(&t, 10 * 60000);
    CHECK_INT(took[0] + took[1] + took[2], 0);
    CHECK_INT(deliver_next_due_ms(t.d), INT64_MAX); /* nobody knows when */
    wait_of_lane(t.d, queue_lane_at(deliver_queue(t.d), 0), &why);
    CHECK_STR(buf_slice(&why), S("source mx1 is set aside: its address 203.0.113.7 is not on this machine"));
    buf_free(&why);
    net_take_address(t.net, &sources[0].address, false);
    town_run_for(&t, 31000);
    CHECK_INT(took[0], 10);
    CHECK(slice_find(buf_slice(&t.trace), S("source=mx1 goes on: its address 203.0.113.7 is here")) > 0);
    town_free(&t);
}

static struct conf_warmup warmup_that_spills(void)
{
    static const uint32_t steps[] = {60, 120};
    return (struct conf_warmup){.source = 0,
                                .isp = 0,
                                .overflow = 1,
                                .retreat_over_ms = HOUR_MS,
                                .curve = {.steps = steps,
                                          .nsteps = 2,
                                          .hold = 1,
                                          .open_s = 17 * 3600,
                                          .close_s = 21 * 3600,
                                          .enough_permille = 800}};
}

TEST(what_is_above_the_quota_leaves_from_the_pool_and_the_rest_waits)
{
    struct conf_warmup w = warmup_that_spills();
    struct town t;
    CHECK(prepare(&t, WORLD(""), 1, 0));
    t.conf.warmups = &w;
    t.conf.nwarmups = 1;
    CHECK(town_open(&t)); /* at 16:00; the window opens at 17:00 */
    CHECK_INT(town_send(&t, a_only, 1, 1000), 1000);
    town_run_for(&t, 30 * 60000);
    CHECK_INT(took[2], 1000 - 240); /* all but what the source can carry in today's window */
    CHECK_INT(took[0], 0);
    town_run_for(&t, 5 * HOUR_MS);
    CHECK_INT(took[0], 240);
    CHECK_INT(took[2], 760);
    /* After the window nothing waits for the next day. */
    CHECK_INT(town_send(&t, a_only, 1, 1200), 200);
    town_run_for(&t, HOUR_MS);
    CHECK_INT(took[2], 960);
    CHECK(town_accounted(&t, 1200));
    town_free(&t);
}

TEST(mail_that_comes_while_others_wait_spills_too_and_other_receivers_do_not)
{
    struct conf_warmup w = warmup_that_spills();
    struct town t;
    CHECK(prepare(&t, WORLD(""), 1, 0));
    t.conf.warmups = &w;
    t.conf.nwarmups = 1;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 100), 100);
    CHECK_INT(town_send(&t, b_only, 1, 50), 50);
    town_run_for(&t, 2 * 60000);
    CHECK_INT(took[2], 0); /* 100 it can carry itself */
    CHECK_INT(took[0], 50);
    CHECK_INT(town_send(&t, a_only, 1, 400), 300);
    town_run_for(&t, 2 * 60000);
    CHECK_INT(took[2], 160);
    CHECK_INT(took[0], 50);
    town_free(&t);
}

TEST(without_a_pool_for_it_what_is_above_the_quota_waits)
{
    struct conf_warmup w = warmup_that_spills();
    struct town t;
    w.overflow = CONF_NONE;
    CHECK(prepare(&t, WORLD(""), 1, 0));
    t.conf.warmups = &w;
    t.conf.nwarmups = 1;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 300), 300);
    town_run_for(&t, 6 * HOUR_MS);
    CHECK_INT(took[0], 240);
    CHECK_INT(took[2], 0);
    town_free(&t);
}
