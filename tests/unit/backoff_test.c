/* backoff_test.c - senders that learn, against receivers with quotas that nobody told them. */
#include "format/backoff.h"
#include "test.h"

#include <stdlib.h>

enum { HOURS = 36, SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

/* Takes `quota` mails in any window; the times of the last ones. */
struct receiver {
    int64_t quota, window_ms;
    int64_t *times;
    size_t n, first, cap;
};

static void receiver_new(struct receiver *r, int64_t quota, int64_t window_ms)
{
    *r = (struct receiver){.quota = quota, .window_ms = window_ms, .cap = (size_t)quota * 4 + 1};
    r->times = mem_alloc(r->cap * sizeof *r->times);
}

static bool receiver_takes(struct receiver *r, int64_t now)
{
    while (r->n && r->times[r->first] <= now - r->window_ms) {
        r->first = (r->first + 1) % r->cap;
        r->n--;
    }
    if ((int64_t)r->n >= r->quota)
        return false;
    r->times[(r->first + r->n++) % r->cap] = now;
    return true;
}

struct row {
    int64_t taken[HOURS], refused[HOURS];
};

/* Mail is always there, and would go every free_ms. Times begin far from 0, as they do. */
static void drive(struct backoff *b, struct receiver *r, int64_t free_ms, int64_t double_at_ms, int hours,
                  struct row *row)
{
    int64_t start = (int64_t)1800000000 * SECOND + 12345, now = start, next = now;
    *row = (struct row){0};
    while (now < start + (int64_t)hours * HOUR) {
        backoff_turn(b, now);
        if (now >= next && backoff_may_send(b, now)) {
            int64_t hour = (now - start) / HOUR, gap = backoff_interval_ms(b);
            backoff_try(b);
            if (double_at_ms && now >= start + double_at_ms) {
                r->quota *= 2;
                double_at_ms = 0;
            }
            if (receiver_takes(r, now)) {
                row->taken[hour]++;
                backoff_took(b, now);
            } else {
                row->refused[hour]++;
                backoff_refused(b, false, now);
            }
            next = now + (gap > free_ms ? gap : free_ms);
        }
        now = next > now && backoff_may_send(b, next) ? next : now + SECOND;
    }
}

TEST(an_hourly_quota_is_found_kept_and_followed_when_it_doubles)
{
    static const int64_t quotas[] = {60, 240, 960, 6000};
    for (size_t i = 0; i < COUNT(quotas); i++) {
        int64_t x = quotas[i];
        struct backoff b = {0};
        struct receiver r;
        struct row row;
        receiver_new(&r, x, HOUR);
        drive(&b, &r, HOUR / (3 * x), 12 * (int64_t)HOUR, HOURS, &row);
        for (int h = 3; h < HOURS; h++) {
            int64_t most = h < 12 ? x : 2 * x;
            if (h >= 12 && h < 18)
                continue; /* it has to find out that there is more */
            CHECK(row.taken[h] * 100 >= most * 85 && row.taken[h] <= most);
            CHECK(row.refused[h] * 50 < row.taken[h] || row.refused[h] <= 2); /* of 60, one is 1.7 % */
        }
        free(r.times);
    }
}

TEST(a_quota_by_the_minute_or_by_six_hours_is_found_as_well)
{
    static const struct {
        int64_t quota, window_ms;
    } v[] = {{10, MINUTE}, {100, MINUTE}, {30, 10 * SECOND}, {600, 6 * HOUR}};
    for (size_t i = 0; i < COUNT(v); i++) {
        struct backoff b = {0};
        struct receiver r;
        struct row row;
        int64_t taken = 0, refused = 0, most = v[i].quota * 24 * HOUR / v[i].window_ms;
        receiver_new(&r, v[i].quota, v[i].window_ms);
        drive(&b, &r, v[i].window_ms / (3 * v[i].quota), 0, HOURS, &row);
        for (int h = 12; h < HOURS; h++) {
            taken += row.taken[h];
            refused += row.refused[h];
        }
        CHECK(taken * 100 >= most * 80 && taken <= most + v[i].quota);
        CHECK(refused * 25 < taken);
        free(r.times);
    }
}

TEST(two_refusals_in_twenty_change_nothing_and_the_third_shuts)
{
    struct backoff b = {0};
    int64_t now = (int64_t)1800000000 * SECOND;
    for (int i = 0; i < 100; i++, now += SECOND) {
        if (i % 10 == 3)
            CHECK(!backoff_refused(&b, false, now));
        else
            CHECK(!backoff_took(&b, now));
    }
    CHECK_INT(b.state, BACKOFF_FREE);
    CHECK(backoff_refused(&b, false, now)); /* those of 83 and 93 are still among the last twenty */
    CHECK_INT(b.state, BACKOFF_SHUT);
    CHECK(!backoff_may_send(&b, now + 9 * SECOND));
    CHECK(backoff_may_send(&b, now + 10 * SECOND));
}

TEST(a_receiver_that_is_shut_is_tried_by_one_mail_at_growing_distances)
{
    struct backoff b = {0};
    int64_t now = (int64_t)1800000000 * SECOND, began = now;
    unsigned tries = 0;
    for (int i = 0; i < 3; i++)
        backoff_refused(&b, false, now);
    for (; now < began + 6 * (int64_t)HOUR; now += SECOND) {
        if (!backoff_may_send(&b, now))
            continue;
        backoff_try(&b);
        CHECK(!backoff_may_send(&b, now)); /* one is under way */
        backoff_untry(&b);
        CHECK(backoff_may_send(&b, now)); /* it never left */
        backoff_try(&b);
        CHECK(backoff_refused(&b, false, now));
        tries++;
    }
    CHECK_INT(tries, 7 + (6 * 3600 - 1270) / 900); /* 10 s, 20 s … 640 s, then every quarter of an hour */
}

TEST(an_hour_of_outage_costs_an_hour)
{
    struct backoff b = {0};
    int64_t start = (int64_t)1800000000 * SECOND, now = start, taken[6] = {0}, next = now;
    for (; now < start + 6 * (int64_t)HOUR; now += 100) {
        backoff_turn(&b, now);
        if (now < next || !backoff_may_send(&b, now))
            continue;
        int64_t hour = (now - start) / HOUR, gap = backoff_interval_ms(&b);
        backoff_try(&b);
        if (hour == 2) {
            backoff_refused(&b, false, now);
        } else {
            backoff_took(&b, now);
            taken[hour]++;
        }
        next = now + (gap > SECOND ? gap : SECOND);
    }
    CHECK_INT(taken[1], 3600);
    CHECK(taken[5] > 3400);
}

TEST(a_rate_that_is_not_used_does_not_grow_and_is_forgotten_after_a_day)
{
    struct backoff b = {0};
    int64_t now = (int64_t)1800000000 * SECOND;
    for (int i = 0; i < 200; i++)
        backoff_took(&b, now += SECOND);
    for (int i = 0; i < 3; i++)
        backoff_refused(&b, false, now += SECOND);
    now += 10 * SECOND;
    CHECK(backoff_took(&b, now));
    CHECK_INT(b.state, BACKOFF_PACED);
    int64_t rate = b.per_day;
    for (int i = 0; i < 23 * 60; i++, now += MINUTE)
        CHECK(!backoff_turn(&b, now));
    CHECK_INT(b.per_day, rate);
    now += HOUR;
    CHECK(backoff_turn(&b, now));
    CHECK_INT(b.state, BACKOFF_FREE);
    CHECK_INT(backoff_interval_ms(&b), 0);
}

/* A mail every `gap_ms`, so many of them. */
static int64_t take(struct backoff *b, int64_t now, int n, int64_t gap_ms)
{
    for (int i = 0; i < n; i++)
        backoff_took(b, now += gap_ms);
    return now;
}

TEST(answers_that_say_nothing_count_where_mail_was_taken_and_weigh_less)
{
    static const struct {
        int64_t gap_ms; /* between mails */
        unsigned enough;
    } rows[] = {{MINUTE, 1}, {SECOND, 2}}; /* at 60/h one is many of an hour's mails */
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct backoff b = {0};
        int64_t now =
            take(&b, (int64_t)1800000000 * SECOND, (int)(9 * MINUTE / rows[i].gap_ms), rows[i].gap_ms);
        CHECK(!backoff_is_taking(&b, now)); /* not for long enough */
        now = take(&b, now, (int)(2 * MINUTE / rows[i].gap_ms), rows[i].gap_ms);
        CHECK(backoff_is_taking(&b, now));
        /* Three in a row. */
        CHECK(!backoff_refused(&b, true, now) && !backoff_refused(&b, true, now));
        now = take(&b, now, 1, rows[i].gap_ms);
        CHECK(!backoff_refused(&b, true, now) && !backoff_refused(&b, true, now));
        CHECK(backoff_refused(&b, true, now));
        CHECK_INT(b.state, BACKOFF_SHUT);
        now = b.until_ms;
        backoff_try(&b);
        CHECK(backoff_refused(&b, true, now)); /* the one that tries */
        now = b.until_ms;
        backoff_try(&b);
        CHECK(backoff_took(&b, now));
        now = take(&b, now, 30, rows[i].gap_ms);
        for (unsigned n = 1; n <= rows[i].enough; n++) {
            CHECK_INT(b.state, BACKOFF_PACED);
            CHECK_INT(backoff_refused(&b, true, now), n == rows[i].enough);
            if (n < rows[i].enough)
                now = take(&b, now, 10, rows[i].gap_ms);
        }
        CHECK_INT(b.state, BACKOFF_SHUT);
        CHECK(backoff_is_taking(&b, now + HOUR / 2));
        CHECK(!backoff_is_taking(&b, now + 2 * HOUR)); /* that is no quota any more */
    }
    struct backoff idle = {0};
    int64_t now = take(&idle, (int64_t)1800000000 * SECOND, 20 * 60, SECOND);
    CHECK(!backoff_is_taking(&idle, now + HOUR));
}
