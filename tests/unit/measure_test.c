/* measure_test.c - what answers put in place: the automatic back-off against hidden quotas, and the measures
 * of rules, seen from a whole delivery on a virtual clock. */
#include "delivery/deliver_impl.h"
#include "delivery/measure.h"
#include "test.h"
#include "town.h"

#include <stdio.h>
#include <stdlib.h>

enum { MINUTE = 60000, HOUR = 3600000, HOURS = 40 };

static struct town_hours {
    int64_t start_ms;
    unsigned delivered[HOURS], refused[HOURS];
} hours; /* of the one town that runs */

static void on_event(struct town *t, const struct rec_event *ev)
{
    int64_t h = (ev->at_ms - hours.start_ms) / HOUR;
    (void)t;
    if (h < 0 || h >= HOURS)
        return;
    hours.delivered[h] += ev->type == EVENT_DELIVERED;
    hours.refused[h] += ev->type == EVENT_DEFERRED;
}

static void quota_is_found(unsigned x, const char *over, uint64_t seed)
{
    static const char *const domain = "q.test";
    struct town t;
    char world[512];
    struct slice mx = S("q.test");
    snprintf(world, sizeof world,
             "return { isps = { q = { domains = { 'q.test' }, mx = { 'mx.q.test' }, address = '127.0.1.1',\n"
             "  accept = '%u/h', over = '%s' } } }",
             x, over);
    struct conf_isp isp = {.name = S("q"),
                           .mx = &mx,
                           .nmx = 1,
                           .place = {S("init.lua"), 3},
                           .amounts.rate = {.quota = 3 * x, .per_ms = HOUR}};
    CHECK(town_new(&t, world, seed));
    town_close(&t);
    t.conf.isps = &isp;
    t.conf.nisps = 1;
    CHECK(town_open(&t));
    t.event = on_event;
    hours = (struct town_hours){.start_ms = loop_wall_ms(t.loop)};
    town_send(&t, &domain, 1, (int)(12 * x + 24 * 2 * x + 3 * x));
    town_run_for(&t, 12 * (int64_t)HOUR);
    t.world->isps[0].accept *= 2;
    town_run_for(&t, 12 * (int64_t)HOUR);
    for (int h = 0; h < 24; h++) {
        unsigned most = h < 12 ? x : 2 * x;
        if ((h < 3) || (h >= 12 && h < 18))
            continue;
        CHECK(hours.delivered[h] * 100 >= most * 85 && hours.delivered[h] <= most);
        CHECK(hours.refused[h] * 50 < hours.delivered[h] + hours.refused[h]);
    }
    town_free(&t);
}

TEST(an_hourly_quota_that_nobody_told_is_found_and_followed_60)
{
    quota_is_found(60, "421 4.7.28 unusual rate of mail", 1);
}

TEST(an_hourly_quota_that_nobody_told_is_found_and_followed_960)
{
    quota_is_found(960, "450 4.7.1 please slow down", 2);
}
