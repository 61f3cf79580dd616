/* warmup_test.c - warm-ups: curves as they were published, what makes a day count, what takes a step back. */
#include "base/err.h"
#include "format/warmup.h"
#include "test.h"

#include <jansson.h>

enum { HOUR_MS = 3600000, DAY_MS = 86400000 };
#define DAY_0 1767225600000 /* 2026-01-01 00:00 UTC */

static const uint32_t gmail_steps[] = {60, 120, 180, 240, 360, 720, 1080, 1440};

static struct warmup_curve four_hours(const uint32_t *steps, size_t nsteps, uint32_t hold)
{
    return (struct warmup_curve){.steps = steps,
                                 .nsteps = nsteps,
                                 .hold = hold,
                                 .open_s = 3600,
                                 .close_s = 5 * 3600,
                                 .enough_permille = 800};
}

static json_t *published(const char *name)
{
    struct slice file = test_file("tests/golden/warmup/curves.json");
    json_t *all = json_loadb(file.p, file.n, 0, NULL), *one = json_incref(json_object_get(all, name));
    json_decref(all);
    return one;
}

static size_t numbers(const json_t *list, uint32_t *out)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        out[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    return json_array_size(list);
}

/* A day on which this share of its quota is used, and delivered. Returns the quota. */
static uint32_t pass_day(const struct warmup_curve *c, struct warmup_state *s, int day,
                         unsigned used_permille, unsigned delivered_permille)
{
    int64_t noon = DAY_0 + (int64_t)day * DAY_MS + (c->open_s + 60) * 1000ll;
    struct warmup_today t;
    warmup_look(c, NULL, s, noon, &t);
    warmup_turn(c, NULL, s, noon);
    s->used = (uint32_t)((uint64_t)t.quota * used_permille / 1000);
    s->delivered = (uint32_t)((uint64_t)t.quota * delivered_permille / 1000);
    return t.quota;
}

static struct warmup_today look(const struct warmup_curve *c, const struct warmup_state *s, int day)
{
    struct warmup_today t;
    warmup_look(c, NULL, s, DAY_0 + (int64_t)day * DAY_MS + (c->open_s + 60) * 1000ll, &t);
    return t;
}

TEST(the_curve_of_23_days_gives_what_was_published)
{
    json_t *golden = published("gmail_hourly_23_days");
    uint32_t days[64], total = 0;
    size_t n = numbers(json_object_get(golden, "days"), days);
    struct warmup_curve by_step = four_hours(gmail_steps, COUNT(gmail_steps), 3);
    struct warmup_curve by_day = four_hours(days, n, 1);
    struct warmup_state a = warmup_fresh(), b = warmup_fresh();
    CHECK_INT(n, 23);
    for (size_t d = 0; d < n; d++) {
        CHECK_INT(look(&by_step, &a, (int)d).pace.quota, days[d]);
        CHECK_INT(look(&by_step, &a, (int)d).position, d);
        CHECK_INT(pass_day(&by_day, &b, (int)d, 1000, 1000), days[d] * 4);
        total += pass_day(&by_step, &a, (int)d, 1000, 1000);
    }
    CHECK_INT(total, json_integer_value(json_object_get(golden, "total_in_window")));
    CHECK_INT(total, 44640);
    json_decref(golden);
}

TEST(a_curve_that_doubles_goes_back_when_960_is_too_much)
{
    json_t *golden = published("double_every_three_days");
    uint32_t steps[8], step = (uint32_t)json_integer_value(json_object_get(golden, "start"));
    for (size_t i = 0; i < COUNT(steps);
         i++, step *= (uint32_t)json_integer_value(json_object_get(golden, "factor")))
        steps[i] = step;
    struct warmup_curve c =
        four_hours(steps, COUNT(steps), (uint32_t)json_integer_value(json_object_get(golden, "hold_days")));
    struct warmup_state s = warmup_fresh();
    static const uint32_t want[] = {60, 60, 60, 120, 120, 120, 240, 240, 240, 480, 480, 480, 960};
    for (int d = 0; d < (int)COUNT(want); d++) {
        CHECK_INT(look(&c, &s, d).pace.quota, want[d]);
        pass_day(&c, &s, d, 1000, 1000);
    }
    CHECK(warmup_retreat(&c, NULL, &s, DAY_0 + 12 * DAY_MS + 2 * HOUR_MS));
    CHECK_INT(look(&c, &s, 12).pace.quota, 480);
    for (int d = 13; d < 16; d++) { /* its three days begin anew, after the day on which it went back */
        CHECK_INT(look(&c, &s, d).pace.quota, 480);
        pass_day(&c, &s, d, 1000, 1000);
    }
    CHECK_INT(look(&c, &s, 16).pace.quota, 960);
    json_decref(golden);
}

TEST(stages_a_day_advance_only_when_more_than_90_percent_were_delivered)
{
    json_t *golden = published("stages_daily");
    uint32_t stages[64];
    size_t n = numbers(json_object_get(golden, "stages"), stages);
    struct warmup_curve c = {.steps = stages,
                             .nsteps = n,
                             .per_day = true,
                             .hold = 1,
                             .enough_permille = 900,
                             .by_delivered = true};
    struct warmup_state s = warmup_fresh();
    int day = 0;
    CHECK_INT(n, 29);
    CHECK(!warmup_wrong(&c));
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(pass_day(&c, &s, day++, 1000, 900), stages[i]);
        CHECK_INT(look(&c, &s, day).quota, stages[i]); /* 90 % are not more than 90 % */
        CHECK_INT(pass_day(&c, &s, day++, 1000, 950), stages[i]);
    }
    CHECK_INT(look(&c, &s, day).quota, stages[n - 1]); /* and it stays there */
    json_decref(golden);
}

TEST(the_hourly_list_by_days_replays)
{
    json_t *golden = published("hourly_times_1_4");
    uint32_t days[64];
    size_t n = numbers(json_object_get(golden, "days"), days);
    struct warmup_curve c = {.steps = days, .nsteps = n, .hold = 1, .enough_permille = 800};
    struct warmup_state s = warmup_fresh();
    CHECK_INT(n, 15);
    for (int d = 0; d < (int)n; d++)
        CHECK_INT(pass_day(&c, &s, d, 1000, 1000), days[d] * 24);
    json_decref(golden);
}

TEST(a_day_counts_from_80_percent_of_its_quota_on)
{
    struct warmup_curve c = four_hours(gmail_steps, 8, 1);
    struct warmup_state s = warmup_fresh();
    pass_day(&c, &s, 0, 0, 0);
    s.used = 191; /* of 240 */
    CHECK_INT(look(&c, &s, 1).position, 0);
    s.used = 192;
    CHECK_INT(look(&c, &s, 1).position, 1);
    /* Days without mail in between count for nothing, and take nothing. */
    CHECK_INT(look(&c, &s, 13).position, 1);
}

TEST(two_weeks_without_mail_take_a_step_and_each_week_another)
{
    struct warmup_curve c = four_hours(gmail_steps, 8, 3);
    struct warmup_state s = {.day = 20454 /* 2026-01-01 */, .position = 16, .retreat_day = WARMUP_NEVER};
    static const struct {
        int idle;
        uint32_t rate, position;
    } cases[] = {{0, 720, 16}, {1, 720, 16}, {13, 720, 16}, {14, 360, 12}, {20, 360, 12}, {21, 240, 9},
                 {27, 240, 9}, {28, 180, 6}, {29, 180, 6},  {30, 60, 0},   {400, 60, 0}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        CHECK_INT(look(&c, &s, cases[i].idle).pace.quota, cases[i].rate);
        CHECK_INT(look(&c, &s, cases[i].idle).position, cases[i].position);
    }
    /* It is taken once: mail on that day is where the next two weeks count from. */
    pass_day(&c, &s, 15, 100, 100);
    CHECK_INT(look(&c, &s, 16).position, 12);
    CHECK_INT(look(&c, &s, 28).position, 12);
    CHECK_INT(look(&c, &s, 29).position, 9);
    s.position = 1;
    CHECK_INT(look(&c, &s, 44).position, 0); /* there is nothing below the first step */
}

TEST(it_goes_back_once_a_day_and_never_below_the_first_step)
{
    struct warmup_curve c = four_hours(gmail_steps, 8, 3);
    struct warmup_state s = warmup_fresh();
    int64_t at = DAY_0 + 2 * HOUR_MS;
    warmup_set(&c, NULL, &s, at, 8); /* the second of three days at 180/h */
    CHECK(warmup_retreat(&c, NULL, &s, at));
    CHECK(!warmup_retreat(&c, NULL, &s, at + HOUR_MS));
    CHECK_INT(s.position, 3);
    s.used = 1000000;
    CHECK_INT(look(&c, &s, 1).position, 3); /* the day on which it went back does not count */
    CHECK(warmup_retreat(&c, NULL, &s, at + DAY_MS));
    CHECK_INT(s.position, 0);
    CHECK(warmup_retreat(&c, NULL, &s, at + 2 * DAY_MS));
    CHECK_INT(s.position, 0);
}

TEST(people_say_which_day_it_is)
{
    struct warmup_curve c = four_hours(gmail_steps, 8, 3);
    struct warmup_state s = warmup_fresh();
    pass_day(&c, &s, 0, 500, 500);
    warmup_set(&c, NULL, &s, DAY_0 + 2 * HOUR_MS, 10);
    CHECK_INT(look(&c, &s, 0).pace.quota, 240);
    CHECK_INT(look(&c, &s, 0).used, 120); /* what went today went */
    warmup_set(&c, NULL, &s, DAY_0 + 2 * HOUR_MS, 1000);
    CHECK_INT(look(&c, &s, 0).pace.quota, 1440);
    CHECK_INT(warmup_next_step_ms(&c, NULL, &(struct warmup_today){.step = 7}), 0);
}

TEST(the_next_step_is_as_many_active_days_away)
{
    struct warmup_curve c = four_hours(gmail_steps, 8, 3);
    struct warmup_state s = warmup_fresh();
    struct warmup_today t = look(&c, &s, 0);
    CHECK_INT(warmup_next_step_ms(&c, NULL, &t), DAY_0 + 3 * DAY_MS + HOUR_MS);
    pass_day(&c, &s, 0, 1000, 1000);
    t = look(&c, &s, 1);
    CHECK_INT(warmup_next_step_ms(&c, NULL, &t), DAY_0 + 3 * DAY_MS + HOUR_MS);
    warmup_retreat(&c, NULL, &s, DAY_0 + DAY_MS + 2 * HOUR_MS);
    t = look(&c, &s, 1);
    CHECK_INT(warmup_next_step_ms(&c, NULL, &t), DAY_0 + 5 * DAY_MS + HOUR_MS);
}

TEST(a_window_over_midnight_is_of_the_day_on_which_it_opens)
{
    struct warmup_curve c = {.steps = gmail_steps,
                             .nsteps = 8,
                             .hold = 1,
                             .open_s = 22 * 3600,
                             .close_s = 2 * 3600,
                             .enough_permille = 800};
    struct warmup_state s = warmup_fresh();
    struct warmup_today t;
    warmup_look(&c, NULL, &s, DAY_0 + HOUR_MS, &t);
    CHECK_INT(t.open_ms, DAY_0 - 2 * HOUR_MS);
    CHECK_INT(t.close_ms, DAY_0 + 2 * HOUR_MS);
    CHECK_INT(t.next_open_ms, DAY_0 + 22 * HOUR_MS);
    CHECK_INT(t.quota, 240);
    warmup_turn(&c, NULL, &s, DAY_0 + HOUR_MS);
    s.used = 240;
    warmup_look(&c, NULL, &s, DAY_0 + 22 * HOUR_MS - 1, &t);
    CHECK_INT(t.position, 0);
    warmup_look(&c, NULL, &s, DAY_0 + 22 * HOUR_MS, &t);
    CHECK_INT(t.position, 1);
}

static struct tz *zone(const char *path)
{
    struct tz *tz = NULL;
    return tz_parse(test_file(path), &tz) ? NULL : tz;
}

TEST(windows_are_on_the_wall_and_clocks_change)
{
    struct tz *tokyo = zone("tests/golden/tz/Tokyo"), *york = zone("tests/golden/tz/New_York");
    struct warmup_curve c = four_hours(gmail_steps, 8, 1);
    struct warmup_state s = warmup_fresh();
    struct warmup_today t;
    CHECK(tokyo && york);
    warmup_look(&c, tokyo, &s, DAY_0, &t); /* 09:00 there */
    CHECK_INT(t.open_ms, DAY_0 - 8 * HOUR_MS);
    CHECK_INT(t.close_ms, DAY_0 - 4 * HOUR_MS);
    /* 2026-03-08, New York: 02:00 is 03:00, and of 01:00 to 05:00 three hours are left. */
    warmup_look(&c, york, &s, 1772953200000 /* 07:00 UTC */, &t);
    CHECK_INT(t.close_ms - t.open_ms, 3 * HOUR_MS);
    CHECK_INT(t.quota, 180);
    /* A window that the clock leaves out has nothing to give on that day. */
    c.open_s = 2 * 3600;
    c.close_s = 3 * 3600;
    warmup_look(&c, york, &s, 1772953200000, &t);
    CHECK_INT(t.quota, 0);
    CHECK_INT(t.pace.quota, 0);
    warmup_look(&c, york, &s, 1772953200000 + DAY_MS, &t);
    CHECK_INT(t.quota, 60);
    tz_free(tokyo);
    tz_free(york);
}

TEST(a_clock_set_back_a_day_takes_nothing_and_gives_nothing)
{
    struct warmup_curve c = four_hours(gmail_steps, 8, 1);
    struct warmup_state s = warmup_fresh();
    pass_day(&c, &s, 5, 1000, 1000);
    CHECK_INT(look(&c, &s, 4).used, 240);
    CHECK(!warmup_turn(&c, NULL, &s, DAY_0 + 4 * DAY_MS + 2 * HOUR_MS));
    /* A day far ahead was a mistake: today counts, and nothing is lost. */
    s.position = 9;
    s.day += 4000;
    CHECK_INT(look(&c, &s, 6).used, 0);
    CHECK_INT(look(&c, &s, 6).position, 9);
    CHECK(warmup_turn(&c, NULL, &s, DAY_0 + 6 * DAY_MS + 2 * HOUR_MS));
    CHECK_INT(look(&c, &s, 6).position, 9);
}

TEST(curves_that_cannot_be_are_refused)
{
    static const uint32_t none[] = {0}, fast[] = {36000001};
    CHECK(warmup_wrong(&(struct warmup_curve){.hold = 1}));
    CHECK(warmup_wrong(&(struct warmup_curve){.steps = none, .nsteps = 1, .hold = 1}));
    CHECK(warmup_wrong(&(struct warmup_curve){.steps = fast, .nsteps = 1, .hold = 1}));
    CHECK(!warmup_wrong(&(struct warmup_curve){.steps = fast, .nsteps = 1, .hold = 1, .per_day = true}));
    /* 36 million in an hour of the day. */
    CHECK(warmup_wrong(&(struct warmup_curve){
        .steps = fast, .nsteps = 1, .hold = 1, .per_day = true, .open_s = 0, .close_s = 3600}));
}

TEST(what_people_set_may_go_back_again_on_the_same_day)
{
    struct warmup_curve c = four_hours(gmail_steps, 8, 1);
    struct warmup_state s = warmup_fresh();
    int64_t at = DAY_0 + 2 * HOUR_MS;
    warmup_set(&c, NULL, &s, at, 4);
    CHECK(warmup_retreat(&c, NULL, &s, at));
    warmup_set(&c, NULL, &s, at, 4);
    CHECK(!look(&c, &s, 0).retreated);
    s.used = 960;
    CHECK_INT(look(&c, &s, 1).position, 4); /* and the day counts */
    CHECK(warmup_retreat(&c, NULL, &s, at));
    CHECK_INT(s.position, 2);
}

TEST(a_window_of_part_of_an_hour_gives_its_part_begun_ones_too)
{
    static const uint32_t steps[] = {61};
    struct warmup_curve c = {.steps = steps, .nsteps = 1, .hold = 1, .open_s = 0, .close_s = 5400};
    struct warmup_state s = warmup_fresh();
    CHECK_INT(look(&c, &s, 0).quota, 92); /* 91.5: the first goes as it opens */
}

TEST(days_hold_where_the_clock_is_put_back_and_one_without_a_window_is_not_active)
{
    struct tz *york = zone("tests/golden/tz/New_York");
    struct warmup_curve c = {.steps = gmail_steps,
                             .nsteps = 8,
                             .hold = 1,
                             .open_s = 5400, /* 01:30, which comes twice on 2026-11-01 */
                             .close_s = 5 * 3600,
                             .enough_permille = 800};
    struct warmup_state s = warmup_fresh();
    struct warmup_today t;
    int64_t first = 1793511000000; /* 05:30 UTC */
    CHECK(york);
    warmup_look(&c, york, &s, first - 1, &t);
    int64_t before = t.day;
    warmup_look(&c, york, &s, first, &t);
    CHECK_INT(t.day, before + 1);
    CHECK_INT(t.open_ms, first);
    CHECK_INT(t.close_ms - t.open_ms, 9 * HOUR_MS / 2);
    warmup_look(&c, york, &s, first + 45 * 60000, &t); /* 01:15 again */
    CHECK_INT(t.day, before + 1);
    CHECK_INT(t.quota, 270);
    /* 02:00 to 03:00 is left out on 2026-03-08, day 20520. */
    c.open_s = 2 * 3600;
    c.close_s = 3 * 3600;
    s = (struct warmup_state){.day = 20520, .position = 3, .used = 5, .retreat_day = WARMUP_NEVER};
    warmup_look(&c, york, &s, 1772953200000 + DAY_MS, &t);
    CHECK_INT(t.position, 3);
    tz_free(york);
}
