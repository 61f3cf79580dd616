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
    metrics_page(h, 0, &page);
    buf_printf(&want, "\n%s\n", line);
    bool found = slice_find(buf_slice(&page), buf_slice(&want)) >= 0;
    buf_free(&page);
    buf_free(&want);
    return found;
}

TEST(a_journal_that_cannot_be_written_is_told_until_it_can)
{
    static const int failures[] = {ENOSPC, EIO};
    for (size_t i = 0; i < COUNT(failures); i++) {
        struct ip everywhere = ip_v4(127, 0, 1, 1);
        struct world *world = world_default(&everywhere);
        struct buf script = {0};
        struct err e = {0};
        struct hato *h = NULL;
        struct fs *fs = fs_real();
        buf_printf(&script, "%s/init.lua", test_dir());
        CHECK_INT(fs_write_atomic(fs, buf_cstr(&script), S("require 'hato'\n"), 0600, &e), 0);
        fs_free(fs);
        CHECK_INT(hato_new(&(struct hato_options){.script = buf_cstr(&script),
                                                  .state = "state",
                                                  .world = world,
                                                  .start_ms = 1764000000000},
                           &h, &e),
                  0);
        CHECK_INT(hato_load(h, &e), 0);
        CHECK_INT(hato_open(h, &e), 0);
        struct deliver *d = hato_deliver(h);
        deliver_start(d);
        pass(hato_loop(h), 1000);
        CHECK(says(h, "hato_journal_broken 0"));
        fs_set_faults(d->conf.fs, &(struct fs_faults){
                                      .append_after = 1, .append_errno = failures[i], .append_times = 1000});
        name_number(d, NAME_ISP, S("any.test"));
        pass(hato_loop(h), 1000);
        CHECK(says(h, "hato_journal_broken 1"));
        fs_set_faults(d->conf.fs, &(struct fs_faults){0});
        pass(hato_loop(h), 60000);
        CHECK(says(h, "hato_journal_broken 0"));
        hato_free(h);
        world_free(world);
        buf_free(&script);
    }
}
