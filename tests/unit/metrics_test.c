/* metrics_test.c - what Prometheus is told of a hato. */
#include "metrics.h"
#include "delivery/deliver_impl.h"
#include "test.h"

#include <errno.h>

static void on_stop(struct loop_timer *t)
{
    loop_stop(t->data);
}

static void pass(struct loop *loop, int64_t ms)
{
    struct loop_timer t = {.data = loop};
    loop_timer_start(loop, &t, ms, on_stop);
    loop_run(loop);
}

/* The page has this line. */
static bool says(struct hato *h, const char *line)
{
    struct buf page = {0}, want = {0};
    metrics_page(h, 1764000000000, &page);
    buf_printf(&want, "\n%s\n", line);
    bool found = slice_find(buf_slice(&page), buf_slice(&want)) >= 0;
    buf_free(&page);
    buf_free(&want);
    return found;
}

static const char world_text[] =
    "return { isps = { a = { domains = { 'a.test' }, mx = { 'mx.a.test' }, address = '127.0.1.1',\n"
    "  delay = '1 s', replies = { { phase = 'rcpt', to = '^later', reply = '450 4.2.0 later' },\n"
    "                             { phase = 'rcpt', to = '^none', reply = '550 5.1.1 nobody' } } } } }";
static const char script_text[] =
    "local hato = require 'hato'\n"
    "local news = hato.stream 'news' { from = 'News <news@news.test>' }\n"
    "for _, name in ipairs { 'taro', 'hanako', 'later', 'none', 'jiro' } do\n"
    "  assert(hato.send { stream = news, to = name .. '@a.test', subject = 'Hello', text = 'Hi.' })\n"
    "end\n";

struct rig {
    struct buf path; /* of the script */
    struct world *world;
    struct hato *h;
};

static void rig_free(struct rig *r)
{
    hato_free(r->h);
    world_free(r->world);
    buf_free(&r->path);
}

/* A simulation of this script, begun. */
static bool rig_new(struct rig *r, const char *script)
{
    struct err e = {0};
    struct fs *fs = fs_real();
    *r = (struct rig){.h = NULL};
    buf_printf(&r->path, "%s/init.lua", test_dir());
    struct hato_options o = {.script = buf_cstr(&r->path), .state = "state", .start_ms = 1764000000000};
    bool up = fs_write_atomic(fs, o.script, slice_cstr(script), 0600, &e) == 0 &&
              world_parse(&r->world, "world.lua", slice_cstr(world_text), &e) == 0;
    o.world = r->world;
    up = up && hato_new(&o, &r->h, &e) == 0 && hato_load(r->h, &e) == 0 && hato_open(r->h, &e) == 0;
    fs_free(fs);
    if (up)
        deliver_start(hato_deliver(r->h));
    return up;
}

TEST(what_becomes_of_mail_is_counted)
{
    struct rig r;
    struct buf line = {0};
    CHECK(rig_new(&r, script_text));
    pass(hato_loop(r.h), 1500);
    struct deliver_counts c = deliver_counts(hato_deliver(r.h));
    CHECK(c.in_flight >= 1 && c.in_flight < 5 && c.connections == 1);
    buf_printf(&line, "hato_messages{state=\"in_flight\"} %zu", c.in_flight);
    CHECK(says(r.h, buf_cstr(&line)));
    buf_clear(&line);
    buf_printf(&line, "hato_messages{state=\"waiting\"} %zu", 5 - c.in_flight);
    CHECK(says(r.h, buf_cstr(&line)));
    CHECK(says(r.h, "hato_connections 1"));
    pass(hato_loop(r.h), 60000);
    CHECK(says(r.h, "hato_messages{state=\"waiting\"} 0"));
    CHECK(says(r.h, "hato_messages{state=\"in_flight\"} 0"));
    CHECK(says(r.h, "hato_messages{state=\"deferred\"} 1"));
    CHECK(says(r.h, "hato_messages{state=\"held\"} 0"));
    CHECK(says(r.h, "hato_connections 0"));
    CHECK(says(r.h, "hato_events_total{type=\"accepted\"} 5"));
    CHECK(says(r.h, "hato_events_total{type=\"delivered\"} 3"));
    CHECK(says(r.h, "hato_events_total{type=\"bounced\"} 1"));
    CHECK(says(r.h, "hato_events_total{type=\"deferred\"} 1"));
    CHECK(says(r.h, "hato_events_total{type=\"expired\"} 0"));
    CHECK(says(r.h, "hato_start_time_seconds 1764000000"));
    CHECK(says(r.h, "hato_build_info{version=\"" HATO_VERSION "\"} 1"));
    buf_clear(&line);
    buf_printf(&line, "hato_journal_bytes %llu",
               (unsigned long long)spool_bytes(deliver_spool(hato_deliver(r.h))));
    CHECK(says(r.h, buf_cstr(&line)));
    buf_clear(&line);
    buf_printf(&line, "hato_loop_turns_total %llu", (unsigned long long)loop_stats(hato_loop(r.h)).turns);
    CHECK(says(r.h, buf_cstr(&line)));
    buf_free(&line);
    rig_free(&r);
}

TEST(a_journal_that_cannot_be_written_is_told_until_it_can)
{
    static const int failures[] = {ENOSPC, EIO};
    for (size_t i = 0; i < COUNT(failures); i++) {
        struct rig r;
        CHECK(rig_new(&r, "require 'hato'\n"));
        struct deliver *d = hato_deliver(r.h);
        pass(hato_loop(r.h), 1000);
        CHECK(says(r.h, "hato_journal_broken 0"));
        fs_set_faults(d->conf.fs, &(struct fs_faults){
                                      .append_after = 1, .append_errno = failures[i], .append_times = 1000});
        name_number(d, NAME_ISP, S("any.test"));
        pass(hato_loop(r.h), 1000);
        CHECK(says(r.h, "hato_journal_broken 1"));
        fs_set_faults(d->conf.fs, &(struct fs_faults){0});
        pass(hato_loop(r.h), 60000);
        CHECK(says(r.h, "hato_journal_broken 0"));
        rig_free(&r);
    }
}
