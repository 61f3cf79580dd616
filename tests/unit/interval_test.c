/* interval_test.c - what is written of causes that come and go: few records, and none too late. */
#include "delivery/interval.h"
#include "test.h"

struct written {
    enum interval_kind kind;
    char isp[32], why[64];
    int64_t begin_ms, end_ms, until_ms;
};

struct rig {
    struct loop *loop;
    struct intervals *is;
    struct written v[64];
    size_t n;
    int64_t start_ms;
};

static void on_write(void *data, const struct interval_cause *c, int64_t begin_ms, int64_t end_ms)
{
    struct rig *r = data;
    if (r->n == COUNT(r->v))
        return;
    struct written *w = &r->v[r->n++];
    *w = (struct written){.kind = c->kind,
                          .begin_ms = begin_ms - r->start_ms,
                          .end_ms = end_ms ? end_ms - r->start_ms : 0,
                          .until_ms = c->until_ms};
    snprintf(w->isp, sizeof w->isp, "%.*s", SLICE_FMT(c->isp));
    snprintf(w->why, sizeof w->why, "%.*s", SLICE_FMT(c->why));
}

static void rig_new(struct rig *r)
{
    r->loop = loop_new_virtual(1, 1764000000000);
    r->start_ms = loop_wall_ms(r->loop);
    r->is = intervals_new(&(struct intervals_conf){r->loop, r, on_write});
}

static void rig_free(struct rig *r)
{
    intervals_free(r->is);
    loop_free(r->loop);
}

static void on_stop(struct loop_timer *t)
{
    loop_stop(t->data);
}

static void pass(struct rig *r, int64_t ms)
{
    struct loop_timer t = {.data = r->loop};
    loop_timer_start(r->loop, &t, ms, on_stop);
    loop_run(r->loop);
}

static struct interval_cause limit_cause(void)
{
    struct interval_cause c = interval_cause(INTERVAL_LIMIT);
    c.isp = S("gmail");
    c.why = S("rate 60/h (init.lua:3)");
    return c;
}

TEST(an_interval_that_lasts_is_written_soon_and_again_when_it_is_over)
{
    struct rig r = {0};
    struct interval_cause limit = limit_cause();
    rig_new(&r);
    struct interval *i = interval_open(r.is, &limit);
    pass(&r, INTERVAL_WRITE_MS - 1);
    CHECK_INT(r.n, 0);
    pass(&r, 1);
    CHECK_INT(r.n, 1);
    CHECK_INT(r.v[0].begin_ms, 0);
    CHECK_INT(r.v[0].end_ms, 0);
    CHECK_STR(slice_cstr(r.v[0].isp), S("gmail"));
    CHECK_STR(slice_cstr(r.v[0].why), S("rate 60/h (init.lua:3)"));
    pass(&r, 5000);
    interval_close(i);
    pass(&r, INTERVAL_LINGER_MS * 2);
    CHECK_INT(r.n, 2);
    CHECK_INT(r.v[1].begin_ms, 0);
    CHECK_INT(r.v[1].end_ms, INTERVAL_WRITE_MS + 5000);
    rig_free(&r);
}

TEST(a_cause_that_comes_and_goes_is_one_interval)
{
    struct rig r = {0};
    struct interval_cause limit = limit_cause();
    rig_new(&r);
    for (int n = 0; n < 1000; n++) {
        struct interval *i = interval_open(r.is, &limit);
        pass(&r, 50);
        interval_close(i);
        pass(&r, 50);
    }
    pass(&r, INTERVAL_LINGER_MS * 2);
    CHECK_INT(r.n, 3); /* over for the moment, there again, over for good */
    CHECK_INT(r.v[2].begin_ms, 0);
    CHECK_INT(r.v[2].end_ms, 99950);
    rig_free(&r);
}

TEST(who_asks_is_told_how_things_stand_now)
{
    struct rig r = {0};
    struct interval_cause limit = limit_cause();
    rig_new(&r);
    struct interval *i = interval_open(r.is, &limit);
    pass(&r, 1000);
    interval_close(i);
    pass(&r, 100);
    intervals_say(r.is); /* it was said to be open, and is not */
    CHECK_INT(r.n, 2);
    CHECK_INT(r.v[1].end_ms, 1000);
    intervals_say(r.is); /* nothing new */
    CHECK_INT(r.n, 2);
    interval_open(r.is, &limit);
    intervals_say(r.is);
    CHECK_INT(r.n, 3);
    CHECK_INT(r.v[2].begin_ms, 0);
    CHECK_INT(r.v[2].end_ms, 0);
    rig_free(&r);
}

TEST(what_ended_and_came_back_is_in_the_journal_as_soon_as_what_began)
{
    struct rig r = {0};
    struct interval_cause limit = limit_cause();
    rig_new(&r);
    struct interval *i = interval_open(r.is, &limit);
    pass(&r, 50);
    interval_close(i);
    pass(&r, INTERVAL_WRITE_MS);
    CHECK_INT(r.n, 1);
    CHECK_INT(r.v[0].end_ms, 50);
    for (int n = 0; n < 100; n++) {
        i = interval_open(r.is, &limit);
        pass(&r, 90);
        interval_close(i);
        pass(&r, 90);
        CHECK_INT(r.n, n < 1 ? 1 : 2);
    }
    CHECK_INT(r.v[1].begin_ms, 0);
    CHECK_INT(r.v[1].end_ms, 0);
    pass(&r, INTERVAL_LINGER_MS);
    CHECK_INT(r.n, 3);
    CHECK_INT(r.v[2].begin_ms, 0);
    CHECK_INT(r.v[2].end_ms, 50 + INTERVAL_WRITE_MS + 100 * 180 - 90);
    rig_free(&r);
}

TEST(an_interval_is_open_until_the_last_who_opened_it_closes_it)
{
    struct rig r = {0};
    struct interval_cause limit = limit_cause();
    rig_new(&r);
    struct interval *a = interval_open(r.is, &limit), *b = interval_open(r.is, &limit);
    CHECK(a == b);
    pass(&r, 300);
    interval_close(a);
    pass(&r, 300);
    interval_close(b);
    pass(&r, INTERVAL_LINGER_MS * 2);
    CHECK_INT(r.v[r.n - 1].end_ms, 600);
    rig_free(&r);
}

TEST(what_nobody_waited_for_is_not_written)
{
    struct rig r = {0};
    struct interval_cause limit = limit_cause();
    rig_new(&r);
    interval_close(interval_open(r.is, &limit));
    pass(&r, INTERVAL_LINGER_MS * 2);
    CHECK_INT(r.n, 0);
    rig_free(&r);
}

TEST(causes_with_other_keys_or_words_are_others)
{
    struct rig r = {0};
    struct interval_cause limit = limit_cause();
    rig_new(&r);
    struct interval_cause other = limit;
    other.source = S("mx1");
    struct interval_cause words = limit;
    words.why = S("rate 30/h (init.lua:3)");
    struct interval *a = interval_open(r.is, &limit), *b = interval_open(r.is, &other),
                    *c = interval_open(r.is, &words);
    CHECK(a != b && b != c && a != c);
    rig_free(&r);
}

TEST(where_dns_leads_is_written_even_if_nobody_waited)
{
    struct rig r = {0};
    rig_new(&r);
    struct interval_cause dns = interval_cause(INTERVAL_DNS);
    dns.domain = S("a.test");
    struct interval *i = interval_open(r.is, &dns);
    interval_found(i, S("isp-a"), S("10 mx.a.test"));
    interval_close(i);
    pass(&r, INTERVAL_LINGER_MS * 2);
    CHECK_INT(r.n, 1);
    CHECK_STR(slice_cstr(r.v[0].isp), S("isp-a"));
    rig_free(&r);
}

TEST(an_end_that_moves_is_written_again)
{
    struct rig r = {0};
    struct interval_cause limit = limit_cause();
    rig_new(&r);
    struct interval_cause c = limit;
    c.until_ms = 1764000600000;
    struct interval *i = interval_open(r.is, &c);
    pass(&r, 1000);
    CHECK_INT(r.n, 1);
    CHECK_INT(r.v[0].until_ms, 1764000600000);
    interval_until(i, 1764001200000);
    pass(&r, 1000);
    CHECK_INT(r.n, 2);
    CHECK_INT(r.v[1].until_ms, 1764001200000);
    CHECK_INT(r.v[1].begin_ms, 0);
    rig_free(&r);
}

TEST(what_is_over_is_written_with_its_own_beginning)
{
    struct rig r = {0};
    struct interval_cause limit = limit_cause();
    rig_new(&r);
    pass(&r, 5000);
    interval_past(r.is, &limit, r.start_ms + 1000);
    pass(&r, INTERVAL_LINGER_MS * 2);
    CHECK_INT(r.v[r.n - 1].begin_ms, 1000);
    CHECK_INT(r.v[r.n - 1].end_ms, 5000);
    rig_free(&r);
}

TEST(the_process_is_said_to_be_there_again_and_again_and_its_end_ends_all)
{
    struct rig r = {0};
    struct interval_cause limit = limit_cause();
    rig_new(&r);
    intervals_start(r.is);
    interval_open(r.is, &limit);
    pass(&r, 3 * INTERVAL_ALIVE_MS + 1000);
    unsigned up = 0;
    for (size_t n = 0; n < r.n; n++)
        up += r.v[n].kind == INTERVAL_UP && r.v[n].begin_ms == 0;
    CHECK_INT(up, 4); /* that it began, and three times that it goes on */
    r.n = 0;
    intervals_stop(r.is);
    CHECK_INT(r.n, 2);
    for (size_t n = 0; n < r.n; n++)
        CHECK_INT(r.v[n].end_ms, 3 * INTERVAL_ALIVE_MS + 1000);
    CHECK(!interval_open(r.is, &limit));
    rig_free(&r);
}
