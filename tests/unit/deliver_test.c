/* deliver_test.c - delivery on a virtual loop, against the sink's server side over pipes in memory: every
 * recipient accounted for, whatever the receivers do. */
#include "delivery/deliver.h"
#include "dns_server.h"
#include "sink.h"
#include "test.h"

#include <stdlib.h>

struct town {
    struct loop *loop;
    struct fs *fs;
    struct net *net;
    struct world *world;
    struct dns_zone *zone;
    struct resolve *resolve;
    struct sink *sink;
    struct conf conf;
    struct deliver *d;
    struct loop_timer watch;
    int64_t patience_ms; /* how long it may wait for something that falls due */
    size_t events[EVENT_TYPES];
    size_t sent, settled;
    struct buf trace;
    struct err err;
};

static struct conf_source source = {.name = S("default"), .ehlo = S("mail.example.jp")};
static struct conf_stream stream = {.name = S("news"),
                                    .from = S("Example News <news@example.jp>"),
                                    .domain = S("example.jp"),
                                    .bounce = S("b.example.jp"),
                                    .pool = CONF_NONE,
                                    .priority = CONF_BULK,
                                    .weight = 1};
static struct conf_campaign campaign;

static void on_event(void *data, const struct rec_event *ev)
{
    struct town *t = data;
    t->events[ev->type]++;
    buf_printf(&t->trace, "%llu %.*s %u %.*s\n", (unsigned long long)ev->id,
               SLICE_FMT(rec_event_name(ev->type)), ev->code, SLICE_FMT(ev->class_name));
}

static void on_notice(void *data, int level, const char *text)
{
    struct town *t = data;
    (void)level;
    buf_printf(&t->trace, "notice: %s\n", text);
}

static void on_watch(struct loop_timer *timer)
{
    struct town *t = CONTAINER(timer, struct town, watch);
    int64_t due = deliver_next_due_ms(t->d);
    if (due != 0 && (due == INT64_MAX || due - loop_wall_ms(t->loop) > t->patience_ms)) {
        loop_stop(t->loop);
        return;
    }
    loop_timer_start(t->loop, timer, 1000, on_watch);
}

static bool town_open(struct town *t)
{
    struct deliver_conf dc = {.loop = t->loop,
                              .fs = t->fs,
                              .state = "state",
                              .net = t->net,
                              .resolve = t->resolve,
                              .conf = &t->conf,
                              .smtp_port = 25,
                              .hooks = {.data = t, .event = on_event, .notice = on_notice}};
    return deliver_new(&dc, &t->d, &t->err) == 0;
}

static bool town_new(struct town *t, const char *world, uint64_t seed)
{
    *t = (struct town){.loop = loop_new_virtual(seed, 1764000000000), .patience_ms = 86400000};
    t->fs = fs_memory();
    t->net = net_new(t->loop);
    if (world_parse(&t->world, "world.lua", slice_cstr(world), &t->err))
        return false;
    t->zone = dns_zone_new(t->world, ip_v4(127, 0, 1, 99));
    t->resolve = resolve_new_static(t->loop, dns_zone_answer, t->zone, 1, 0);
    struct sink_conf sc = {.net = t->net, .world = t->world};
    if (sink_new(&sc, &t->sink, &t->err) || sink_listen_world(t->sink, 25, &t->err) < 0)
        return false;
    campaign =
        (struct conf_campaign){.name = S("hello"), .stream = 0, .late_ms = INT64_MAX, .expire_ms = INT64_MAX};
    campaign.content = conf_content_empty();
    campaign.content.subject = S("Hello {{ name }}");
    campaign.content.text = S("Dear {{ name }},\nwelcome.\n");
    campaign.content.text_path = S("(text)");
    t->conf = (struct conf){.script = S("init.lua"),
                            .tz = SLICE_NONE,
                            .streams = &stream,
                            .nstreams = 1,
                            .sources = &source,
                            .nsources = 1,
                            .campaigns = &campaign,
                            .ncampaigns = 1};
    verdict_schedule_default(&t->conf.retry);
    return town_open(t);
}

static void town_close(struct town *t)
{
    loop_timer_stop(t->loop, &t->watch);
    deliver_free(t->d);
    t->d = NULL;
}

static void town_free(struct town *t)
{
    town_close(t);
    sink_free(t->sink);
    resolve_free(t->resolve);
    dns_zone_free(t->zone);
    net_free(t->net);
    world_free(t->world);
    loop_run(t->loop);
    loop_free(t->loop);
    fs_free(t->fs);
    buf_free(&t->trace);
    arena_free(&t->conf.arena);
}

/* n people at each domain; counts those that were new. */
static size_t town_send(struct town *t, const char *const *domains, size_t ndomains, int n)
{
    struct campaign *c = deliver_campaign(t->d, S("hello"));
    struct arena a = {0};
    size_t fresh = 0;
    uint32_t columns = deliver_columns(t->d, S("name"));
    deliver_intake_begin(t->d, c);
    for (int i = 0; i < n; i++) {
        for (size_t k = 0; k < ndomains; k++) {
            struct addr addr;
            char text[128];
            struct buf values = {0}, key = {0};
            uint64_t id;
            snprintf(text, sizeof text, "p%d@%s", i, domains[k]);
            arena_reset(&a);
            if (addr_parse(slice_cstr(text), &a, &addr, &t->err))
                return 0;
            mp_put_array(&values, 1);
            mp_put_str(&values, S("Taro"));
            addr_dup_key(&key, &addr);
            struct deliver_accept acc = {.campaign = c,
                                         .columns = columns,
                                         .address = slice_cstr(text),
                                         .addr = &addr,
                                         .values = buf_slice(&values),
                                         .content = SLICE_NONE,
                                         .key = buf_slice(&key)};
            fresh += deliver_accept(t->d, &acc, &id) == 0;
            buf_free(&values);
            buf_free(&key);
        }
    }
    arena_free(&a);
    deliver_intake_end(t->d, c, true);
    return fresh;
}

static void town_run(struct town *t)
{
    deliver_start(t->d);
    loop_timer_start(t->loop, &t->watch, 1000, on_watch);
    loop_run(t->loop);
}

static bool accounted(struct town *t, size_t accepted)
{
    struct deliver_counts c = deliver_counts(t->d);
    struct err e;
    if (!queue_is_sound(deliver_queue(t->d), &e)) {
        fprintf(stderr, "%s\n", e.text);
        return false;
    }
    if (c.delivered + c.bounced + c.expired + c.queued != accepted) {
        fprintf(stderr, "%zu accepted: %zu delivered, %zu bounced, %zu expired, %zu queued\n", accepted,
                (size_t)c.delivered, (size_t)c.bounced, (size_t)c.expired, c.queued);
        return false;
    }
    return true;
}

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
    if (!accounted(&t, 1000) || deliver_counts(t.d).delivered != 1000)
        fprintf(stderr, "%.*s", SLICE_FMT(buf_slice(&t.trace)));
    CHECK(accounted(&t, 1000));
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
    if (!accounted(&t, 100))
        fprintf(stderr, "%.*s", SLICE_FMT(buf_slice(&t.trace)));
    CHECK(accounted(&t, 100));
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
