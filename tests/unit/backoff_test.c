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
static void drive(struct backoff *b, enum backoff_sign sign, struct receiver *r, int64_t free_ms,
                  int64_t double_at_ms, int hours, struct row *row)
{
    const struct doubt_mail mail = {.domain = 1};
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
                doubt_took(&b->doubt, mail, now);
                backoff_took(b, now);
            } else {
                row->refused[hour]++;
                if (sign == BACKOFF_DOUBTFUL)
                    doubt_refused(&b->doubt, mail);
                backoff_refused(b, sign, now);
            }
            next = now + (gap > free_ms ? gap : free_ms);
        }
        now = next > now && backoff_may_send(b, next) ? next : now + SECOND;
    }
}

TEST(an_hourly_quota_is_found_kept_and_followed_when_it_doubles)
{
    static const int64_t quotas[] = {60, 100, 240, 480, 960, 3600, 6000};
    for (size_t i = 0; i < COUNT(quotas) * 3; i++) {
        int64_t x = quotas[i / 3];
        struct backoff b = {0};
        struct receiver r;
        struct row row;
        receiver_new(&r, x, HOUR);
        drive(&b, (enum backoff_sign)(i % 3), &r, HOUR / (3 * x), 12 * (int64_t)HOUR, HOURS, &row);
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
        drive(&b, BACKOFF_ASKS, &r, v[i].window_ms / (3 * v[i].quota), 0, HOURS, &row);
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
            CHECK(!backoff_refused(&b, BACKOFF_ASKS, now));
        else
            CHECK(!backoff_took(&b, now));
    }
    CHECK_INT(b.state, BACKOFF_FREE);
    CHECK(backoff_refused(&b, BACKOFF_ASKS, now)); /* those of 83 and 93 are still among the last twenty */
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
        backoff_refused(&b, BACKOFF_ASKS, now);
    for (; now < began + 6 * (int64_t)HOUR; now += SECOND) {
        if (!backoff_may_send(&b, now))
            continue;
        backoff_try(&b);
        CHECK(!backoff_may_send(&b, now)); /* one is under way */
        backoff_untry(&b);
        CHECK(backoff_may_send(&b, now)); /* it never left */
        backoff_try(&b);
        CHECK(backoff_refused(&b, BACKOFF_ASKS, now));
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
            backoff_refused(&b, BACKOFF_ASKS, now);
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
        backoff_refused(&b, BACKOFF_ASKS, now += SECOND);
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
        CHECK(!backoff_refused(&b, BACKOFF_MAY_ASK, now) && !backoff_refused(&b, BACKOFF_MAY_ASK, now));
        now = take(&b, now, 1, rows[i].gap_ms);
        CHECK(!backoff_refused(&b, BACKOFF_MAY_ASK, now) && !backoff_refused(&b, BACKOFF_MAY_ASK, now));
        CHECK(backoff_refused(&b, BACKOFF_MAY_ASK, now));
        CHECK_INT(b.state, BACKOFF_SHUT);
        now = b.until_ms;
        backoff_try(&b);
        CHECK(backoff_refused(&b, BACKOFF_MAY_ASK, now)); /* the one that tries */
        now = b.until_ms;
        backoff_try(&b);
        CHECK(backoff_took(&b, now));
        now = take(&b, now, 30, rows[i].gap_ms);
        for (unsigned n = 1; n <= rows[i].enough; n++) {
            CHECK_INT(b.state, BACKOFF_PACED);
            CHECK_INT(backoff_refused(&b, BACKOFF_MAY_ASK, now), n == rows[i].enough);
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

/* So many first tries, a second between them; how many of them changed something. */
static unsigned doubt(struct backoff *b, int64_t *now, int n, bool taken)
{
    unsigned changes = 0;
    for (int i = 0; i < n; i++, *now += SECOND) {
        struct doubt_mail m = {.domain = 1};
        if (taken) {
            doubt_took(&b->doubt, m, *now);
            changes += backoff_took(b, *now);
        } else {
            doubt_refused(&b->doubt, m);
            changes += backoff_refused(b, BACKOFF_DOUBTFUL, *now);
        }
    }
    return changes;
}

TEST(doubtful_answers_are_a_fault_once_and_a_quota_the_second_time_in_six_hours)
{
    for (int late = 0; late < 2; late++) {
        struct backoff b = {0};
        int64_t now = (int64_t)1800000000 * SECOND;
        for (int time = 0; time < 2; time++) {
            CHECK_INT(doubt(&b, &now, 600, true), 0);
            CHECK_INT(doubt(&b, &now, DOUBT_RUN - 1, false), 0);
            CHECK_INT(b.state, BACKOFF_FREE);
            CHECK_INT(doubt(&b, &now, 1, false), 1);
            CHECK_INT(b.state, BACKOFF_SHUT);
            for (int tries = 0; tries < 8; tries++) { /* whoever tries is enough to go on waiting */
                CHECK(b.wait_ms <= 8 * MINUTE);
                now = b.until_ms;
                CHECK_INT(doubt(&b, &now, 1, false), 1);
            }
            CHECK_INT(b.wait_ms, 8 * MINUTE);
            now = b.until_ms;
            CHECK_INT(doubt(&b, &now, 1, true), 1);
            CHECK_INT(b.state, time && !late ? BACKOFF_PACED : BACKOFF_FREE);
            CHECK_INT(b.doubtful, time && !late);
            now += late ? 6 * (int64_t)HOUR : HOUR;
        }
    }
}

TEST(doubtful_answers_say_nothing_where_others_told_of_the_quota)
{
    struct backoff b = {0};
    int64_t now = (int64_t)1800000000 * SECOND;
    doubt(&b, &now, 600, true);
    for (int i = 0; i < 3; i++)
        backoff_refused(&b, BACKOFF_ASKS, now);
    CHECK_INT(b.state, BACKOFF_SHUT);
    now = b.until_ms;
    backoff_try(&b);
    CHECK_INT(doubt(&b, &now, 1, false), 0);
    CHECK(backoff_may_send(&b, now)); /* the next may try at once */
    doubt(&b, &now, 1, true);
    CHECK_INT(b.state, BACKOFF_PACED);
    for (int i = 0; i < 100; i++)
        CHECK_INT(doubt(&b, &now, 1, i % 2), 0);
    CHECK_INT(doubt(&b, &now, 30, true), 0);
    CHECK_INT(doubt(&b, &now, DOUBT_RUN, false), 1); /* until nobody is taken */
    CHECK(b.doubtful && !b.once);
    now = b.until_ms;
    CHECK_INT(doubt(&b, &now, 1, true), 1);
    CHECK_INT(b.state, BACKOFF_PACED);
}

TEST(an_open_refusal_makes_a_fault_a_quota)
{
    struct backoff b = {0};
    int64_t now = (int64_t)1800000000 * SECOND;
    doubt(&b, &now, 600, true);
    doubt(&b, &now, DOUBT_RUN, false);
    CHECK(b.once);
    now = b.until_ms;
    CHECK(backoff_refused(&b, BACKOFF_ASKS, now));
    now = b.until_ms;
    doubt(&b, &now, 1, true);
    CHECK_INT(b.state, BACKOFF_PACED);
}

TEST(persons_in_trouble_do_not_slow_a_path_that_is_paced_until_they_are_many)
{
    struct backoff b = {.state = BACKOFF_PACED, .doubtful = true, .per_day = 24 * 100, .borne = 24 * 105};
    int64_t now = (int64_t)1800000000 * SECOND;
    for (int i = 0; i < 10; i++) {
        doubt(&b, &now, 1, true);
        doubt_refused(&b.doubt, (struct doubt_mail){.domain = 1, .again = true});
    }
    for (int i = 0; i < 100; i++)
        CHECK_INT(doubt(&b, &now, 1, i % 8), 0);
    CHECK_INT(b.state, BACKOFF_PACED);
    CHECK_INT(b.refused_ms, 0);
    doubt(&b, &now, 20, true);
    CHECK_INT(doubt(&b, &now, DOUBT_RUN / 2 - 1, false), 0);
    CHECK_INT(doubt(&b, &now, 1, false), 1);
}

TEST(who_was_shut_in_an_earlier_process_goes_on_at_the_rate_that_it_knew)
{
    int64_t now = (int64_t)1800000000 * SECOND;
    struct backoff knew = {.state = BACKOFF_SHUT,
                           .per_day = 24 * 100,
                           .borne = 24 * 90,
                           .until_ms = now,
                           .rest_ms = HOUR,
                           .began = true},
                   lower = knew, not = {.state = BACKOFF_SHUT, .until_ms = now, .began = true};
    CHECK(backoff_took(&knew, now));
    CHECK_INT(knew.state, BACKOFF_PACED);
    CHECK_INT(knew.per_day, 24 * 90 * 95 / 100);
    CHECK_INT(knew.row_ms, now);
    lower.per_day = 24 * 50;
    CHECK(backoff_took(&lower, now));
    CHECK_INT(lower.per_day, 24 * 50);
    CHECK(backoff_took(&not, now));
    CHECK_INT(not .state, BACKOFF_FREE);
}

/* --- each rule of what is learnt, by itself --- */

static const int64_t NOW = (int64_t)1800000000 * SECOND;

/* PACED for two hours, in which it took so many an hour; refused and open again. */
static void refused_once(struct backoff *b, int64_t taken_per_hour)
{
    b->state = BACKOFF_PACED;
    b->began = true;
    b->row_ms = NOW - 2 * (int64_t)HOUR;
    b->row_taken = 2 * taken_per_hour;
    backoff_refused(b, BACKOFF_ASKS, NOW);
    backoff_took(b, b->until_ms);
}

TEST(who_is_refused_for_growing_had_borne_the_step_before_by_half_or_a_fifth)
{
    static const struct {
        int64_t knew, taken, before, want; /* mails an hour */
    } rows[] = {{60, 100, 220, 160},       /* not what it knew: half way to the step before */
                {200, 200, 250, 210},      /* the same again: a fifth of the way */
                {50, 50, 60, 50},          /* of so few a refusal is many */
                {200, 200, 150, 200}};     /* the step before was less */
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct backoff b = {.per_day = 24 * rows[i].before,
                            .borne = 24 * rows[i].knew,
                            .step_before = 24 * rows[i].before,
                            .growth = 2,
                            .rest_ms = HOUR / 2};
        refused_once(&b, rows[i].taken);
        CHECK(b.borne >= 24 * (rows[i].want - 2) + 12 && b.borne <= 24 * (rows[i].want + 1) + 12);
        CHECK_INT(b.per_day, b.borne * 95 / 100);
    }
}

TEST(a_rate_found_again_rests_for_twice_as_long_but_not_at_once)
{
    for (int soon = 0; soon < 2; soon++) {
        struct backoff b = {.state = BACKOFF_PACED,
                            .began = true,
                            .per_day = 24 * 3600,
                            .borne = 24 * 3700,
                            .rest_ms = HOUR / 2,
                            .row_ms = NOW - (soon ? 4 * MINUTE : 6 * MINUTE),
                            .row_taken = soon ? 240 : 360};
        backoff_refused(&b, BACKOFF_ASKS, NOW);
        backoff_took(&b, b.until_ms);
        CHECK_INT(b.rest_ms, soon ? HOUR / 2 : HOUR);
        if (soon)
            CHECK_INT(b.per_day, 24 * 3600 * 9 / 10); /* too much again at once */
        else
            CHECK(b.per_day > 24 * 3200);
    }
}

TEST(what_was_under_way_when_it_shut_says_nothing_new)
{
    struct backoff b = {.state = BACKOFF_PACED, .began = true, .per_day = 24 * 60, .row_ms = NOW - HOUR};
    CHECK(backoff_refused(&b, BACKOFF_ASKS, NOW));
    struct backoff was = b;
    CHECK(!backoff_took(&b, b.until_ms - 1));
    CHECK(!backoff_refused(&b, BACKOFF_ASKS, b.until_ms - 1));
    CHECK_INT(b.state, BACKOFF_SHUT);
    CHECK_INT(b.until_ms, was.until_ms);
    CHECK_INT(b.wait_ms, was.wait_ms);
}

/* Five minutes in which the rate was used. */
static void step(struct backoff *b, int64_t *now)
{
    b->step_taken = b->per_day;
    *now += 5 * MINUTE;
    backoff_turn(b, *now);
}

TEST(a_rate_comes_back_by_a_tenth_then_grows_faster_and_faster_until_it_is_free)
{
    for (int doubtful = 0; doubtful < 2; doubtful++) {
        int64_t now = NOW, rate = 24 * 400;
        struct backoff b = {.state = BACKOFF_PACED,
                            .doubtful = doubtful,
                            .per_day = rate,
                            .borne = 24 * 1000,
                            .rest_ms = HOUR / 2,
                            .refused_ms = NOW,
                            .row_ms = NOW - HOUR,
                            .step_ms = NOW};
        for (; rate < 24 * 950; rate = b.per_day) {
            step(&b, &now);
            CHECK_INT(b.per_day, rate + rate / 10 + 1 < 24 * 950 ? rate + rate / 10 + 1 : 24 * 950);
        }
        for (int64_t n = 1; n <= 12; n++, rate = b.per_day) {
            int64_t most = doubtful ? 3 : 10;
            step(&b, &now);
            CHECK_INT(b.per_day, rate + rate * (n < most ? n : most) / 100 + 1);
        }
        for (int n = 0; n < 60 && b.state == BACKOFF_PACED; n++, rate = b.per_day ? b.per_day : rate)
            step(&b, &now);
        CHECK_INT(b.state, BACKOFF_FREE);
        CHECK(rate > 24 * 3600 && rate <= 24 * 4000);
    }
}

TEST(other_answers_let_the_next_try_and_end_what_was_counted)
{
    struct backoff b = {.began = true, .row_ms = NOW};
    for (int i = 0; i < 2; i++)
        CHECK(!backoff_refused(&b, BACKOFF_ASKS, NOW));
    for (int i = 0; i < 19; i++)
        backoff_answered(&b);
    CHECK(!backoff_refused(&b, BACKOFF_ASKS, NOW));
    CHECK(!backoff_refused(&b, BACKOFF_ASKS, NOW));
    CHECK(backoff_refused(&b, BACKOFF_ASKS, NOW));
    backoff_try(&b);
    CHECK(!backoff_may_send(&b, b.until_ms));
    backoff_answered(&b);
    CHECK(backoff_may_send(&b, b.until_ms));
}

TEST(what_people_lift_is_forgotten)
{
    struct backoff b = {0};
    int64_t now = NOW;
    for (int time = 0; time < 2; time++) {
        doubt(&b, &now, 600, true);
        doubt(&b, &now, DOUBT_RUN, false);
        CHECK(b.state == BACKOFF_SHUT && b.once);
        now = b.until_ms;
        doubt(&b, &now, 1, true);
        backoff_forget(&b);
    }
}

TEST(a_part_of_the_last_wait_was_open_already)
{
    struct backoff b = {.state = BACKOFF_SHUT,
                        .began = true,
                        .until_ms = NOW,
                        .wait_ms = 2 * (int64_t)HOUR,
                        .row_ms = NOW - 5 * (int64_t)HOUR / 2,
                        .row_taken = 199};
    CHECK(backoff_took(&b, NOW));
    CHECK_INT(b.borne, 24 * 100);
}
