/* limit_test.c - what leaves keeps every limit, in turn, and what waits costs nothing. */
#include "delivery/deliver_impl.h"
#include "delivery/wait.h"
#include "test.h"
#include "town.h"

#include <stdio.h>
#include <stdlib.h>

enum { TIMES_MOST = 20000 };
static int64_t times[TIMES_MOST];
static char senders[TIMES_MOST]; /* the campaign's first letter, from the return path's domain */
static size_t ntimes;
static unsigned hits[2000]; /* by the number in the receiver's name */

static void on_transaction(void *data, const struct world_isp *isp, const struct smtp_server_tx *tx)
{
    struct town *t = data;
    unsigned number = (unsigned)atoi(isp->name.p + 1);
    hits[number < COUNT(hits) ? number : 0]++;
    if (ntimes == TIMES_MOST)
        return;
    ptrdiff_t at = slice_find(tx->from, S("@"));
    senders[ntimes] = at < 0 ? 0 : tx->from.p[at + 1];
    times[ntimes++] = loop_now_ms(t->loop);
}

/* The most that any window of so many ms held. */
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

static const char one_isp[] =
    "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1' } } }";
static const char *const a_only[] = {"a.test"};

static bool start(struct town *t, const char *world, uint64_t seed, struct conf_isp *isps, size_t nisps,
                  struct conf_limit *limits, size_t nlimits)
{
    ntimes = 0;
    memset(hits, 0, sizeof hits);
    if (!town_new(t, world, seed))
        return false;
    town_close(t);
    t->conf.isps = isps;
    t->conf.nisps = nisps;
    t->conf.limits = limits;
    t->conf.nlimits = nlimits;
    t->transaction = on_transaction;
    return town_open(t);
}

static struct slice a_mx[] = {S("mx.a.test")};

/* Two streams, x and y, each with a campaign of its name. */
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
static struct conf_campaign two_campaigns[2];

static bool start_two(struct town *t, const char *world, uint64_t seed, struct conf_limit *limits,
                      size_t nlimits)
{
    ntimes = 0;
    memset(hits, 0, sizeof hits);
    if (!town_new(t, world, seed))
        return false;
    town_close(t);
    for (size_t i = 0; i < 2; i++) {
        two_campaigns[i] = t->conf.campaigns[0];
        two_campaigns[i].name = two_streams[i].name;
        two_campaigns[i].stream = (uint16_t)i;
        two_streams[i].priority = CONF_BULK;
        two_streams[i].weight = 1;
    }
    t->conf.streams = two_streams;
    t->conf.campaigns = two_campaigns;
    t->conf.nstreams = t->conf.ncampaigns = 2;
    t->conf.limits = limits;
    t->conf.nlimits = nlimits;
    t->transaction = on_transaction;
    return town_open(t);
}

static size_t count_of(char sender, size_t from, size_t to)
{
    size_t n = 0;
    for (size_t i = from; i < to && i < ntimes; i++)
        n += senders[i] == sender;
    return n;
}

/* A world of n domains: on one MX host for all, or with one each. */
static struct buf many_domains(size_t n, bool one_mx)
{
    struct buf b = {0};
    buf_printf(&b, "return { isps = { a = { address = '127.0.1.1', domains = {");
    for (size_t i = 0; i < n; i++)
        buf_printf(&b, "'d%zu.test',", i);
    buf_printf(&b, "}, mx = {");
    for (size_t i = 0; i < (one_mx ? 1 : n); i++)
        buf_printf(&b, "'mx%zu.a.test',", i);
    buf_printf(&b, "} } } }");
    buf_cstr(&b);
    return b;
}

TEST(mail_to_a_listed_receiver_keeps_its_rate)
{
    struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .amounts.rate = {20, 0, 1000}};
    struct town t;
    CHECK(start(&t, one_isp, 1, &isp, 1, NULL, 0));
    CHECK_INT(town_send(&t, a_only, 1, 400), 400);
    t.patience_ms = 5000;
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 400);
    CHECK(town_accounted(&t, 400));
    CHECK_INT(ntimes, 400);
    CHECK_INT(most_in(1000), 20);
    CHECK(times[399] - times[0] <= 399 * 50 + 60); /* and not slower */
    town_free(&t);
}

enum {
    BY_ISP = 1 << CONF_BY_ISP,
    BY_SOURCE = 1 << CONF_BY_SOURCE,
    BY_CAMPAIGN = 1 << CONF_BY_CAMPAIGN,
    BY_STREAM = 1 << CONF_BY_STREAM,
    BY_DOMAIN = 1 << CONF_BY_DOMAIN,
    BY_MX = 1 << CONF_BY_MX
};

TEST(domains_on_one_set_of_hosts_obey_one_limit)
{
    enum { N = 383 };
    static const unsigned bys[] = {BY_ISP, BY_MX, BY_SOURCE | BY_ISP, 0, BY_CAMPAIGN};
    struct buf world = many_domains(N, true);
    const char **names = town_domain_names(N);
    for (size_t i = 0; i < COUNT(bys); i++) {
        struct conf_limit limit = {.by = bys[i], .amounts.rate = {20, 0, 1000}};
        struct town t;
        CHECK(start(&t, world.p, i, NULL, 0, &limit, 1));
        CHECK_INT(town_send(&t, names, N, 2), 2 * N);
        t.patience_ms = 5000;
        town_run(&t);
        CHECK(town_accounted(&t, 2 * N));
        CHECK_INT(deliver_counts(t.d).delivered, 2 * N);
        CHECK_INT(most_in(1000), 20);
        CHECK(times[2 * N - 1] - times[0] <= 2 * N * 50 + 500);
        town_free(&t);
    }
    town_names_free(names, N);
    buf_free(&world);
}

TEST(hosts_under_one_pattern_obey_one_limit)
{
    enum { N = 400 };
    struct slice mx[] = {S("a.test")};
    struct conf_isp isp = {.name = S("a"), .mx = mx, .nmx = 1, .amounts.rate = {20, 0, 1000}};
    struct buf b = town_of_receivers(N, "");
    const char **names = town_domain_names(N);
    struct town t;
    CHECK(start(&t, buf_cstr(&b), 1, &isp, 1, NULL, 0));
    CHECK_INT(town_send(&t, names, N, 2), 2 * N);
    t.patience_ms = 5000;
    town_run(&t);
    CHECK(town_accounted(&t, 2 * N));
    CHECK_INT(deliver_counts(t.d).delivered, 2 * N);
    CHECK_INT(most_in(1000), 20);
    CHECK(times[2 * N - 1] - times[0] <= 2 * N * 50 + 2000);
    town_free(&t);
    town_names_free(names, N);
    buf_free(&b);
}

TEST(all_permits_are_taken_together_or_none)
{
    enum { N = 20 };
    struct buf world = many_domains(N, true);
    const char **names = town_domain_names(N);
    /* If what lacks its domain's permit took the isp's, the whole would be slower. */
    struct conf_limit limits[] = {{.by = BY_ISP, .amounts.rate = {20, 0, 1000}},
                                  {.by = BY_DOMAIN, .amounts.rate = {1, 0, 1000}}};
    struct town t;
    CHECK(start(&t, world.p, 3, NULL, 0, limits, 2));
    CHECK_INT(town_send(&t, names, N, 20), 20 * N);
    t.patience_ms = 5000;
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 20 * N);
    CHECK(most_in(1000) <= 20);
    CHECK(times[20 * N - 1] - times[0] <= 21000);
    town_free(&t);
    town_names_free(names, N);
    buf_free(&world);
}

TEST(a_campaign_at_its_own_cap_does_not_hold_up_another)
{
    /* x has a pool, y has none: the limit by pool is about x alone. */
    struct conf_pool_member member = {0, 1};
    struct conf_pool pool = {.name = S("slow"), .members = &member, .nmembers = 1};
    struct conf_limit limit = {.by = 1 << CONF_BY_POOL, .amounts.rate = {1, 0, 1000}};
    struct town t;
    CHECK(start_two(&t, one_isp, 4, &limit, 1));
    town_close(&t);
    t.conf.pools = &pool;
    t.conf.npools = 1;
    two_streams[0].pool = 0;
    CHECK(town_open(&t));
    CHECK_INT(town_send_as(&t, S("x"), a_only, 1, 60), 60);
    CHECK_INT(town_send_as(&t, S("y"), a_only, 1, 1000), 1000);
    town_run_for(&t, 10000);
    CHECK_INT(count_of('y', 0, ntimes), 1000);
    CHECK_INT(count_of('x', 0, ntimes), 10);
    t.patience_ms = 5000;
    town_run(&t);
    CHECK_INT(count_of('x', 0, ntimes), 60);
    CHECK(town_accounted(&t, 1060));
    two_streams[0].pool = CONF_NONE;
    town_free(&t);
}

TEST(shares_hold_under_a_limit)
{
    static const unsigned bys[] = {BY_ISP, BY_MX, 0, BY_DOMAIN};
    for (size_t i = 0; i < COUNT(bys); i++) {
        struct conf_limit limit = {.by = bys[i], .amounts.rate = {50, 0, 1000}};
        struct town t;
        CHECK(start_two(&t, one_isp, 5, &limit, 1));
        town_close(&t);
        two_streams[0].weight = 3;
        CHECK(town_open(&t));
        CHECK_INT(town_send_as(&t, S("x"), a_only, 1, 1000), 1000);
        CHECK_INT(town_send_as(&t, S("y"), a_only, 1, 1000), 1000);
        town_run_for(&t, 20000);
        CHECK_INT(count_of('x', 0, 1000), 750);
        town_free(&t);
    }
}

TEST(what_is_urgent_goes_with_the_next_permit)
{
    static const unsigned bys[] = {BY_ISP, BY_MX, 0, BY_DOMAIN};
    for (size_t i = 0; i < COUNT(bys); i++) {
        struct conf_limit limit = {.by = bys[i], .amounts.rate = {1, 0, 1000}};
        struct town t;
        CHECK(start_two(&t, one_isp, 6, &limit, 1));
        town_close(&t);
        two_streams[1].priority = CONF_URGENT;
        CHECK(town_open(&t));
        CHECK_INT(town_send_as(&t, S("x"), a_only, 1, 100), 100);
        town_run_for(&t, 10500);
        size_t before = ntimes;
        CHECK_INT(town_send_as(&t, S("y"), a_only, 1, 3), 3);
        town_run_for(&t, 3100);
        CHECK_INT(count_of('y', before, before + 3), 3);
        town_free(&t);
    }
}

TEST(what_is_urgent_at_one_receiver_goes_before_what_waits_at_all_others)
{
    enum { N = 30 };
    static const char *const seven[] = {"d7.test"};
    struct conf_limit limit = {.by = 0, .amounts.rate = {1, 0, 1000}};
    struct buf world = town_of_receivers(N, "");
    const char **names = town_domain_names(N);
    struct town t;
    CHECK(start_two(&t, world.p, 19, &limit, 1));
    town_close(&t);
    two_streams[1].priority = CONF_URGENT;
    CHECK(town_open(&t));
    CHECK_INT(town_send_as(&t, S("x"), names, N, 2), 2 * N);
    town_run_for(&t, 10500); /* d7 had its turn, and stands at the end of the line */
    size_t before = ntimes;
    CHECK_INT(town_send_as(&t, S("y"), seven, 1, 2), 2);
    town_run_for(&t, 2100);
    CHECK_INT(count_of('y', before, before + 2), 2);
    town_free(&t);
    town_names_free(names, N);
    buf_free(&world);
}

struct asker {
    struct limits *ls;
    struct limit_who who;
    struct loop_timer timer;
    struct limit_wait wait;
    bool newcomer_had, first_had;
};

static void on_newcomer(struct loop_timer *timer)
{
    struct asker *a = CONTAINER(timer, struct asker, timer);
    a->newcomer_had = !limits_lacking(a->ls, LIMIT_MESSAGE, &a->who);
}

static void on_turn(void *data, struct limit_wait *w, struct limit *at)
{
    struct asker *a = data;
    (void)at;
    a->first_had = w == &a->wait && !limits_lacking(a->ls, LIMIT_MESSAGE, &a->who);
}

TEST(who_comes_while_others_stand_in_line_stands_behind_them)
{
    struct conf_limit limit = {.by = BY_ISP, .amounts.rate = {1, 0, 1000}};
    struct conf c = {.limits = &limit, .nlimits = 1};
    struct loop *loop = loop_new_virtual(1, 0);
    struct asker a = {.first_had = false};
    for (int by = 0; by < CONF_BYS; by++)
        a.who.v[by] = SLICE_NONE;
    a.who.v[CONF_BY_ISP] = S("a");
    a.ls = limits_new(&(struct limits_conf){.loop = loop, .conf = &c, .data = &a, .serve = on_turn});
    CHECK(!limits_lacking(a.ls, LIMIT_MESSAGE, &a.who));
    limits_take(a.ls, LIMIT_MESSAGE, &a.who, 1);
    struct limit *l = limits_lacking(a.ls, LIMIT_MESSAGE, &a.who);
    CHECK(l && limit_due_ms(l) == 1000);
    loop_timer_start(loop, &a.timer, 1000, on_newcomer); /* in the same millisecond, before the limit looks */
    limit_wait(l, &a.wait, LIMIT_WAIT_PATH, CONF_BULK);
    loop_run(loop);
    CHECK(!a.newcomer_had && a.first_had);
    limits_free(a.ls);
    loop_free(loop);
}

TEST(each_source_has_its_rate_and_a_total_holds_over_all)
{
    struct conf_source sources[] = {
        {.name = S("one"), .address = ip_v4(127, 0, 0, 11), .ehlo = S("one.example.jp")},
        {.name = S("two"), .address = ip_v4(127, 0, 0, 12), .ehlo = S("two.example.jp")}};
    struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .amounts.rate = {20, 0, 1000}};
    struct conf_limit total = {.by = BY_ISP, .amounts.rate = {30, 0, 1000}};
    for (size_t nlimits = 0; nlimits < 2; nlimits++) {
        struct town t;
        CHECK(start(&t, one_isp, 7, &isp, 1, &total, nlimits));
        town_close(&t);
        t.conf.sources = sources;
        t.conf.nsources = 2;
        CHECK(town_open(&t));
        CHECK_INT(town_send(&t, a_only, 1, 600), 600);
        t.patience_ms = 5000;
        town_run(&t);
        CHECK_INT(deliver_counts(t.d).delivered, 600);
        int64_t took = times[599] - times[0];
        CHECK(nlimits ? took >= 19900 && took < 21000 : took >= 14900 && took < 16000);
        town_free(&t);
    }
}

TEST(a_source_without_a_permit_passes_its_turn)
{
    /* By campaign and source: what one source lacks, the other may have. */
    struct conf_source sources[] = {
        {.name = S("one"), .address = ip_v4(127, 0, 0, 11), .ehlo = S("one.example.jp")},
        {.name = S("two"), .address = ip_v4(127, 0, 0, 12), .ehlo = S("two.example.jp")}};
    static const unsigned bys[] = {BY_CAMPAIGN | BY_SOURCE, BY_DOMAIN | BY_SOURCE};
    for (size_t i = 0; i < COUNT(bys); i++) {
        struct conf_limit limit = {.by = bys[i], .amounts.rate = {10, 0, 1000}};
        struct town t;
        CHECK(start(&t, one_isp, 8, NULL, 0, &limit, 1));
        town_close(&t);
        t.conf.sources = sources;
        t.conf.nsources = 2;
        CHECK(town_open(&t));
        CHECK_INT(town_send(&t, a_only, 1, 400), 400);
        t.patience_ms = 5000;
        town_run(&t);
        CHECK_INT(deliver_counts(t.d).delivered, 400);
        CHECK(times[399] - times[0] < 21000);
        CHECK(times[399] - times[0] >= 19800);
        town_free(&t);
    }
}

TEST(a_burst_goes_at_once_and_the_window_holds)
{
    struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .amounts.rate = {60, 10, 60000}};
    struct town t;
    CHECK(start(&t, one_isp, 9, &isp, 1, NULL, 0));
    CHECK_INT(town_send(&t, a_only, 1, 130), 130);
    town_run_for(&t, 900);
    CHECK_INT(ntimes, 10);
    t.patience_ms = 60000;
    town_run(&t);
    CHECK_INT(ntimes, 130);
    CHECK(most_in(60000) <= 60);
    town_free(&t);
}

TEST(a_permit_that_was_not_used_is_there_again)
{
    struct slice mx[] = {S("mx.a.test")};
    struct conf_isp isp = {.name = S("a"), .mx = mx, .nmx = 1, .amounts.rate = {1, 0, 86400000}};
    struct town t;
    /* Nobody answers at first: the receiver is at another address than DNS says. */
    CHECK(start(&t,
                "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
                " replies = { { phase = 'banner', share = 1, disconnect = true } } } } }",
                10, &isp, 1, NULL, 0));
    CHECK_INT(town_send(&t, a_only, 1, 1), 1);
    town_run_for(&t, 2 * 3600000);
    CHECK(t.events[EVENT_DEFERRED] >= 2); /* it was tried again long before the day was over */
    town_free(&t);
}

TEST(what_waits_costs_nothing)
{
    enum { N = 20000, SECONDS = 20 };
    static const unsigned bys[] = {BY_ISP, 0, BY_CAMPAIGN, BY_MX, BY_DOMAIN};
    struct buf world = many_domains(N, true);
    const char **names = town_domain_names(N);
    for (size_t i = 0; i < COUNT(bys); i++) {
        bool own = bys[i] & BY_DOMAIN; /* each domain waits at a limit of its own, for a day */
        struct conf_limit limit = {.by = bys[i], .amounts.rate = {own ? 1 : 20, 0, own ? 86400000 : 1000}};
        struct town t;
        CHECK(start(&t, world.p, 11, NULL, 0, &limit, 1));
        t.conf.streams[0].weight = 1;
        CHECK_INT(town_send(&t, names, N, 2), 2 * N);
        town_run_for(&t, own ? 3600000 : 60000); /* names are resolved, the first went, all stand in line */
        uint64_t asked = limits_asked(paths_limits(t.d->paths)), turns = loop_stats(t.loop).turns;
        size_t before = ntimes;
        town_run_for(&t, SECONDS * 1000);
        asked = limits_asked(paths_limits(t.d->paths)) - asked;
        turns = loop_stats(t.loop).turns - turns;
        CHECK_INT(ntimes - before, own ? 0 : 20 * SECONDS);
        CHECK(asked <= (ntimes - before) * 8);
        CHECK(turns <= (ntimes - before) * 40 + 100);
        CHECK(town_accounted(&t, 2 * N));
        town_free(&t);
    }
    town_names_free(names, N);
    buf_free(&world);
}

/* Every limit by its words, and when its next permit is due. */
static struct buf dues(struct town *t)
{
    struct buf b = {0};
    size_t at = 0;
    for (struct limit *l; (l = limits_next(paths_limits(t->d->paths), &at));) {
        limit_text(l, &b);
        buf_printf(&b, " %lld\n", (long long)limit_due_ms(l));
    }
    return b;
}

static int by_line(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

/* The same lines, in any order. */
static bool same_lines(struct slice a, struct slice b)
{
    enum { MOST = 4096 };
    static struct slice lines[2][MOST];
    size_t n[2] = {0};
    struct slice rest[2] = {a, b};
    for (int i = 0; i < 2; i++) {
        while (rest[i].n && n[i] < MOST)
            lines[i][n[i]++] = slice_cut(rest[i], '\n', &rest[i]);
        qsort(lines[i], n[i], sizeof *lines[i], by_line);
    }
    for (size_t k = 0; k < n[0] && k < n[1]; k++)
        if (!slice_eq(lines[0][k], lines[1][k]))
            return false;
    return n[0] == n[1] && n[0] > 0;
}

/* The machine has a name for its present boot: a crash is told from a loss of power. */
static bool boot(struct town *t)
{
    town_close(t);
    if (fs_mkdir(t->fs, "/proc/sys/kernel/random", 0700, &t->err) ||
        fs_write_atomic(t->fs, "/proc/sys/kernel/random/boot_id", S("one"), 0600, &t->err))
        return false;
    return town_open(t);
}

TEST(limits_are_the_same_before_and_after_a_crash)
{
    enum { N = 12 };
    struct buf world = many_domains(N, true);
    const char **names = town_domain_names(N);
    struct slice mx[] = {S("a.test")};
    struct conf_isp isp = {
        .name = S("a"), .mx = mx, .nmx = 1, .amounts.rate = {1440, 0, 3600000}, .place = {S("init.lua"), 3}};
    struct conf_limit limits[] = {
        {.by = 0, .amounts.rate = {1000, 0, 86400000}, .place = {S("init.lua"), 4}},
        {.by = BY_MX, .amounts.rate = {900, 0, 3600000}, .place = {S("init.lua"), 5}},
        {.by = BY_CAMPAIGN, .amounts.rate = {600, 0, 3600000}, .place = {S("init.lua"), 6}},
        {.by = BY_STREAM | BY_DOMAIN, .amounts.rate = {40, 5, 86400000}, .place = {S("init.lua"), 7}}};
    /* In good order; killed; killed when the records of those who have theirs are compacted away. */
    for (int crash = 0; crash < 3; crash++) {
        struct town t;
        CHECK(start(&t, world.p, 12, &isp, 1, limits, COUNT(limits)));
        t.segment_bytes = crash == 2 ? 4096 : 0;
        CHECK(boot(&t));
        CHECK_INT(town_send(&t, names, N, 100), 100 * N);
        town_run_for(&t, 7 * 3600000);
        CHECK(ntimes > 150);
        struct buf before = dues(&t);
        if (crash)
            town_crash(&t);
        else
            town_close(&t);
        CHECK(town_open(&t));
        struct buf after = dues(&t);
        if (!same_lines(buf_slice(&before), buf_slice(&after)))
            fprintf(stderr, "before:\n%.*safter:\n%.*s", SLICE_FMT(buf_slice(&before)),
                    SLICE_FMT(buf_slice(&after)));
        CHECK(same_lines(buf_slice(&before), buf_slice(&after)));
        town_run_for(&t, 7 * 3600000);
        CHECK(most_in(86400000) <= 1000);
        buf_free(&before);
        buf_free(&after);
        town_free(&t);
    }
    town_names_free(names, N);
    buf_free(&world);
}

/* A day's only permit was taken by somebody who has his mail and whose record is gone: only the begin record
 * and the event know. */
TEST(who_is_long_gone_counts_after_a_crash)
{
    static const unsigned bys[] = {BY_ISP, BY_ISP | BY_SOURCE, BY_CAMPAIGN, BY_STREAM, BY_DOMAIN, BY_MX};
    for (size_t i = 0; i < 2 * COUNT(bys); i++) {
        bool connections = i >= COUNT(bys);
        struct pace_rate one_a_day = {1, 0, 86400000};
        struct conf_limit limit = {.by = bys[i % COUNT(bys)]};
        *(connections ? &limit.amounts.new_connections : &limit.amounts.rate) = one_a_day;
        struct town t;
        CHECK(start(&t, one_isp, 12, NULL, 0, &limit, 1));
        CHECK(boot(&t));
        CHECK_INT(town_send(&t, a_only, 1, 1), 1);
        town_run_for(&t, 22 * 3600000);
        CHECK_INT(ntimes, 1);
        CHECK_INT(town_files_with(&t, "recipients", "p0@a.test"), 0);
        town_crash(&t);
        CHECK(town_open(&t));
        CHECK_INT(town_send(&t, a_only, 1, 2), 1);
        town_run_for(&t, 2 * 3600000 - 60000);
        CHECK_INT(ntimes, 1);
        town_run_for(&t, 120000);
        CHECK_INT(ntimes, 2);
        town_free(&t);
    }
}

TEST(a_new_connection_counts_after_a_crash)
{
    struct conf_isp isp = {.name = S("a"),
                           .mx = a_mx,
                           .nmx = 1,
                           .per_connection = 1,
                           .amounts.new_connections = {1, 0, 3600000}};
    struct town t;
    CHECK(start(&t, one_isp, 18, &isp, 1, NULL, 0));
    CHECK(boot(&t));
    CHECK_INT(town_send(&t, a_only, 1, 3), 3);
    town_run_for(&t, 600000);
    CHECK_INT(ntimes, 1);
    town_crash(&t);
    CHECK(town_open(&t));
    town_run_for(&t, 2990000);
    CHECK_INT(ntimes, 1);
    town_run_for(&t, 20000);
    CHECK_INT(ntimes, 2);
    town_free(&t);
}

/* Its record stands in every segment that has events of it. */
TEST(a_connection_counts_once_after_a_crash_whatever_it_carried)
{
    static const unsigned bys[] = {BY_ISP, BY_CAMPAIGN, BY_DOMAIN};
    struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .connections = 1};
    for (size_t i = 0; i < 2 * COUNT(bys); i++) {
        bool gone = i >= COUNT(bys); /* the records of whom it carried */
        struct conf_limit limits[] = {
            {.by = bys[i % COUNT(bys)], .amounts.new_connections = {2, 2, 86400000}},
            {.by = BY_CAMPAIGN, .amounts.rate = {1000, 0, 1000}}}; /* each message is looked at */
        struct town t;
        CHECK(start(&t, one_isp, 18, &isp, 1, limits, 2));
        t.segment_bytes = 4096;
        CHECK(boot(&t));
        CHECK_INT(town_send(&t, a_only, 1, 60), 60);
        town_run_for(&t, gone ? 22 * 3600000 : 600000);
        CHECK_INT(ntimes, 60);
        CHECK_INT(town_files_with(&t, "recipients", "p59@a.test"), !gone);
        town_crash(&t);
        CHECK(town_open(&t));
        CHECK_INT(town_send(&t, a_only, 1, 61), 1);
        town_run_for(&t, 60000);
        CHECK_INT(ntimes, 61); /* the second */
        CHECK_INT(town_send(&t, a_only, 1, 62), 1);
        town_run_for(&t, 3600000);
        CHECK_INT(ntimes, 61);
        town_free(&t);
    }
}

TEST(after_power_loss_every_limit_has_given_what_it_gives_at_once)
{
    struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .amounts.rate = {2, 2, 3600000}};
    struct town t;
    CHECK(start(&t, one_isp, 13, &isp, 1, NULL, 0));
    town_crash(&t);
    CHECK(town_open(&t)); /* what began in the last moment may have been forgotten with the power */
    CHECK_INT(town_send(&t, a_only, 1, 10), 10);
    town_run_for(&t, 3500000);
    CHECK_INT(ntimes, 0);
    town_run_for(&t, 200000);
    CHECK_INT(ntimes, 2);
    town_free(&t);
}

TEST(open_connections_are_counted_together)
{
    /* Two receivers, each may have ten connections; all together not more than three. */
    static const char *const domains[] = {"a.test", "b.test"};
    static const char world[] =
        "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1', delay = "
        "'100 ms' },"
        "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2', delay = '100 ms' } } }";
    struct conf_limit limit = {.by = BY_SOURCE, .connections = 3};
    size_t most = 0;
    struct town t;
    CHECK(start(&t, world, 14, NULL, 0, &limit, 1));
    CHECK_INT(town_send(&t, domains, 2, 300), 600);
    for (int i = 0; i < 600; i++) {
        town_run_for(&t, 100);
        if (sink_stats(t.sink).open > most)
            most = sink_stats(t.sink).open;
    }
    CHECK_INT(most, 3);
    t.patience_ms = 60000;
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 600);
    CHECK(count_of('b', 0, 300) >= 100); /* neither receiver has to wait for the other's end */
    town_free(&t);
}

TEST(new_connections_keep_their_rate)
{
    struct conf_isp isp = {
        .name = S("a"), .mx = a_mx, .nmx = 1, .per_connection = 1, .amounts.new_connections = {2, 0, 1000}};
    struct town t;
    CHECK(start(&t, one_isp, 15, &isp, 1, NULL, 0));
    CHECK_INT(town_send(&t, a_only, 1, 40), 40);
    t.patience_ms = 60000;
    town_run(&t);
    CHECK_INT(ntimes, 40);
    CHECK(most_in(990) <= 2); /* they are seen at the message's end, some milliseconds later */
    CHECK(times[39] - times[0] <= 39 * 500 + 100);
    town_free(&t);
}

TEST(receivers_in_one_line_each_get_their_turn)
{
    enum { N = 2000 };
    static const unsigned bys[] = {0, BY_SOURCE, BY_STREAM};
    struct buf b = town_of_receivers(N, "");
    const char **names = town_domain_names(N);
    for (size_t i = 0; i < COUNT(bys); i++) {
        struct conf_limit limit = {.by = bys[i], .amounts.rate = {20, 0, 1000}};
        struct town t;
        CHECK(start(&t, buf_cstr(&b), 16, NULL, 0, &limit, 1));
        CHECK_INT(town_send(&t, names, N, 3), 3 * N);
        town_run_for(&t, 20000);
        uint64_t asked = limits_asked(paths_limits(t.d->paths));
        size_t before = ntimes;
        town_run_for(&t, N * 50 - 20000 + 2000);
        asked = limits_asked(paths_limits(t.d->paths)) - asked;
        CHECK(asked <= (ntimes - before) * 8);
        CHECK(ntimes > N);
        for (size_t k = 0; k < N; k++) /* all had one before anybody had two */
            CHECK(hits[k] == 1 || hits[k] == 2);
        CHECK_INT(most_in(1000), 20);
        town_free(&t);
    }
    town_names_free(names, N);
    buf_free(&b);
}

TEST(who_waits_is_told_with_the_limit_and_its_line)
{
    struct conf_isp isp = {
        .name = S("a"), .mx = a_mx, .nmx = 1, .amounts.rate = {2, 0, 86400000}, .place = {S("init.lua"), 12}};
    struct buf text = {0};
    struct town t;
    CHECK(start(&t, one_isp, 17, &isp, 1, NULL, 0));
    CHECK_INT(town_send(&t, a_only, 1, 5), 5);
    t.patience_ms = 60000;
    town_run(&t); /* ends: the next falls due in half a day */
    CHECK(loop_now_ms(t.loop) < 60000);
    wait_limits_text(t.d, 5, &text);
    CHECK_STR(buf_slice(&text), S("4 wait for the limit rate 2/d of source default, isp a (init.lua:12), "
                                  "next permit in 11 h 59 min\n"));
    buf_free(&text);
    town_free(&t);
}
