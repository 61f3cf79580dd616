/* town.c - see town.h. */
#include "town.h"
#include "format/mp.h"

#include <stdio.h>
#include <stdlib.h>

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
    if (t->event)
        t->event(t, ev);
}

static void on_notice(void *data, int level, const char *text)
{
    struct town *t = data;
    t->alerts += level == 2;
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

bool town_open(struct town *t)
{
    struct deliver_conf dc = {
        .loop = t->loop,
        .fs = t->fs,
        .state = "state",
        .net = t->net,
        .resolve = t->resolve,
        .conf = &t->conf,
        .smtp_port = 25,
        .segment_bytes = t->segment_bytes,
        .proves_keys = t->proves_keys,
        .hooks = {.data = t, .message = t->message_hook, .event = on_event, .notice = on_notice}};
    return deliver_new(&dc, &t->d, &t->err) == 0;
}

static void on_transaction(void *data, const struct world_isp *isp, const struct smtp_server_tx *tx)
{
    struct town *t = data;
    if (t->transaction)
        t->transaction(t, isp, tx);
}

bool town_new(struct town *t, const char *world, uint64_t seed)
{
    return town_new_on(t, fs_memory(), world, seed);
}

bool town_new_on(struct town *t, struct fs *fs, const char *world, uint64_t seed)
{
    *t = (struct town){.loop = loop_new_virtual(seed, 1764000000000), .patience_ms = 86400000};
    t->fs = fs;
    t->net = net_new(t->loop);
    if (world_parse(&t->world, "world.lua", slice_cstr(world), &t->err))
        return false;
    t->zone = dns_zone_new(t->world, ip_v4(127, 0, 1, 99));
    t->resolve = resolve_new_static(t->loop, dns_zone_answer, t->zone, 1, 0);
    struct sink_conf sc = {.net = t->net, .world = t->world, .on_transaction = on_transaction, .data = t};
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
    person_conf_default(&t->conf.person);
    t->conf.breaker = breaker_default();
    return town_open(t);
}

void town_close(struct town *t)
{
    loop_timer_stop(t->loop, &t->watch);
    deliver_free(t->d);
    t->d = NULL;
}

void town_crash(struct town *t)
{
    /* The one operation that is left before the world stands still. */
    fs_set_faults(t->fs, &(struct fs_faults){.stop_after = 1});
    fs_unlink(t->fs, "state/nothing", NULL);
    town_close(t);
    fs_set_faults(t->fs, &(struct fs_faults){0});
}

void town_free(struct town *t)
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

static void on_accepted(void *data, uint64_t id, int status)
{
    struct town_person *p = data;
    (void)id;
    p->reported |= !status;
}

size_t town_send(struct town *t, const char *const *domains, size_t ndomains, int n)
{
    return town_send_as(t, S("hello"), domains, ndomains, n);
}

size_t town_send_as(struct town *t, struct slice name, const char *const *domains, size_t ndomains, int n)
{
    struct campaign *c = deliver_campaign(t->d, name);
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
            snprintf(text, sizeof text, "p%d%s@%s", i, t->behind_name ? t->behind_name : "", domains[k]);
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
            struct town_person *p = t->people ? &t->people[(size_t)i * ndomains + k] : NULL;
            if (p) {
                acc.done = on_accepted;
                acc.data = p;
            }
            if (deliver_accept(t->d, &acc, &id) == 0) {
                fresh++;
                if (p) {
                    p->again |= p->reported;
                    p->id = id;
                }
            }
            buf_free(&values);
            buf_free(&key);
        }
    }
    arena_free(&a);
    deliver_intake_end(t->d, c, true);
    return fresh;
}

void town_run(struct town *t)
{
    deliver_start(t->d);
    loop_timer_start(t->loop, &t->watch, 1000, on_watch);
    loop_run(t->loop);
}

static void on_time(struct loop_timer *timer)
{
    loop_stop(CONTAINER(timer, struct town, watch)->loop);
}

void town_run_for(struct town *t, int64_t ms)
{
    deliver_start(t->d);
    loop_timer_start(t->loop, &t->watch, ms, on_time);
    loop_run(t->loop);
}

void town_rest_for(struct town *t, int64_t ms)
{
    loop_timer_start(t->loop, &t->watch, ms, on_time);
    loop_run(t->loop);
}

struct search {
    struct town *t;
    const char *kind, *words;
    size_t found, files;
};

static void search_file(void *data, const char *name)
{
    struct search *s = data;
    struct buf path = {0}, bytes = {0};
    if (strncmp(name, s->kind, strlen(s->kind)))
        return;
    buf_printf(&path, "state/%s", name);
    s->files++;
    if (!fs_read_whole(s->t->fs, buf_cstr(&path), 1u << 30, &bytes, NULL))
        s->found += slice_find(buf_slice(&bytes), slice_cstr(s->words)) >= 0;
    buf_free(&path);
    buf_free(&bytes);
}

size_t town_files_with(struct town *t, const char *kind, const char *words)
{
    struct search s = {t, kind, words, 0, 0};
    fs_list(t->fs, "state", search_file, &s, NULL);
    return s.files ? s.found : SIZE_MAX;
}

bool town_accounted(struct town *t, size_t accepted)
{
    struct deliver_counts c = deliver_counts(t->d);
    struct err e;
    if (!queue_is_sound(deliver_queue(t->d), &e)) {
        fprintf(stderr, "%s\n", e.text);
        return false;
    }
    if (c.delivered + c.bounced + c.expired + c.suppressed + c.queued != accepted) {
        fprintf(stderr, "%zu accepted: %zu delivered, %zu bounced, %zu expired, %zu suppressed, %zu queued\n",
                accepted, (size_t)c.delivered, (size_t)c.bounced, (size_t)c.expired, (size_t)c.suppressed,
                c.queued);
        return false;
    }
    return true;
}

struct buf town_of_receivers(size_t n, const char *more)
{
    struct buf b = {0};
    buf_printf(&b, "return { isps = {");
    for (size_t i = 0; i < n; i++)
        buf_printf(
            &b, "i%zu = { domains = {'d%zu.test'}, mx = {'mx%zu.a.test'}, address = '127.1.%zu.%zu', %s },",
            i, i, i, i / 200, i % 200 + 1, more);
    buf_printf(&b, "} }");
    buf_cstr(&b);
    return b;
}

const char **town_domain_names(size_t n)
{
    const char **names = mem_alloc(n * sizeof *names);
    for (size_t i = 0; i < n; i++) {
        char text[32];
        int length = snprintf(text, sizeof text, "d%zu.test", i);
        names[i] = mem_dup(text, (size_t)length);
    }
    return names;
}

void town_names_free(const char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((char *)names[i]);
    free(names);
}
