/* pace_test.c - permits come evenly, never early, and no window ever holds more than its quota. */
#include "format/pace.h"
#include "test.h"

#include <stdlib.h>

static uint64_t luck(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static const struct pace_rate rates[] = {{1, 0, 86400000},   {1, 0, 1000},       {7, 0, 1000},
                                         {100, 0, 1000},     {3000, 0, 1000},    {10000, 0, 1000},
                                         {40, 0, 1000},      {1440, 0, 3600000}, {500, 0, 86400000},
                                         {1439, 0, 3600000}, {7919, 0, 1000},    {3, 0, 600000}};

TEST(a_steady_asker_gets_permit_n_at_n_intervals_and_at_most_a_tick_after)
{
    for (size_t i = 0; i < COUNT(rates); i++) {
        struct pace p;
        int64_t per_ns = rates[i].per_ms * 1000000, now = 12345, first = now;
        pace_init(&p, &rates[i]);
        for (int64_t n = 0; n < 30000; n++) {
            int64_t due = pace_due_ms(&p);
            if (due > now)
                now = due;
            pace_take(&p, now);
            /* per_ns × n / quota, in ns, without overflow */
            int64_t q = rates[i].quota, ideal = per_ns / q * n + per_ns % q * n / q;
            int64_t late = (now - first) * 1000000 - ideal;
            if (late < 0 || late >= 1000001) {
                test_fail(__FILE__, __LINE__, "%u in %lld ms: permit %lld is %lld ns after its time",
                          rates[i].quota, (long long)rates[i].per_ms, (long long)n, (long long)late);
                return;
            }
        }
        pace_free(&p);
    }
}

/* Somebody who comes and goes, on a clock that is late: times of all permits. */
static size_t wander(const struct pace_rate *rate, uint64_t seed, int64_t *taken, size_t most)
{
    struct pace p;
    uint64_t state = seed;
    int64_t now = -50000, interval = rate->per_ms / rate->quota + 1;
    size_t n = 0;
    pace_init(&p, rate);
    while (n < most) {
        uint64_t kind = luck(&state) % 16;
        if (kind == 0)
            now += (int64_t)(luck(&state) % (uint64_t)(4 * interval)); /* a pause */
        else if (kind < 6)
            now += (int64_t)(luck(&state) % 16); /* a late turn */
        else if (pace_due_ms(&p) > now)
            now = pace_due_ms(&p);
        bool back = luck(&state) % 8 == 0;
        if (pace_due_ms(&p) <= now) {
            pace_take(&p, now);
            if (back)
                pace_return(&p);
            else
                taken[n++] = now;
        }
    }
    pace_free(&p);
    return n;
}

TEST(no_window_ever_holds_more_than_the_quota)
{
    enum { N = 50000 };
    static int64_t taken[N];
    for (size_t i = 0; i < COUNT(rates); i++) {
        for (uint32_t burst = 0; burst <= 100; burst += 20) {
            for (uint64_t seed = 1; seed <= 4; seed++) {
                struct pace_rate rate = rates[i];
                rate.burst = burst;
                if (pace_wrong(&rate))
                    continue;
                size_t n = wander(&rate, seed * 0x9e3779b97f4a7c15u, taken, N);
                for (size_t k = rate.quota; k < n; k++) {
                    if (taken[k] - taken[k - rate.quota] < rate.per_ms) {
                        test_fail(__FILE__, __LINE__, "%u in %lld ms, burst %u, seed %llu: %u within %lld ms",
                                  rate.quota, (long long)rate.per_ms, burst, (unsigned long long)seed,
                                  rate.quota + 1, (long long)(taken[k] - taken[k - rate.quota]));
                        return;
                    }
                }
            }
        }
    }
}

TEST(who_pauses_saves_nothing_up_unless_a_burst_was_asked_for)
{
    struct pace p;
    pace_init(&p, &(struct pace_rate){40, 0, 1000});
    pace_take(&p, 0);
    CHECK_INT(pace_due_ms(&p), 25);
    pace_take(&p, 5000);
    CHECK_INT(pace_due_ms(&p), 5025);
    pace_free(&p);
    pace_init(&p, &(struct pace_rate){40, 10, 1000});
    for (int i = 0; i < 10; i++) {
        CHECK(pace_due_ms(&p) <= 5000);
        pace_take(&p, 5000);
    }
    CHECK_INT(pace_due_ms(&p), 5025);
    pace_free(&p);
}

TEST(a_burst_of_the_whole_quota_is_followed_by_the_rest_of_the_period)
{
    struct pace p;
    pace_init(&p, &(struct pace_rate){10, 10, 1000});
    for (int i = 0; i < 10; i++)
        pace_take(&p, 0);
    CHECK_INT(pace_due_ms(&p), 1000);
    pace_free(&p);
}

TEST(late_ticks_are_caught_up_with_where_they_would_cost_much)
{
    struct pace p;
    int64_t now = 0;
    int given = 0;
    pace_init(&p, &(struct pace_rate){3000, 0, 1000});
    for (; now < 10000; now += 4) /* a loop whose turns take 4 ms */
        for (; pace_due_ms(&p) <= now; given++)
            pace_take(&p, now);
    CHECK(given > 29500 && given <= 30000);
    pace_free(&p);
}

TEST(what_was_not_used_is_there_again_and_only_once)
{
    struct pace p;
    pace_init(&p, &(struct pace_rate){1, 0, 86400000});
    pace_take(&p, 1000);
    CHECK_INT(pace_due_ms(&p), 86401000);
    pace_return(&p);
    CHECK(pace_due_ms(&p) <= 1000);
    pace_take(&p, 2000);
    pace_return(&p);
    pace_return(&p);
    pace_take(&p, 3000);
    CHECK_INT(pace_due_ms(&p), 86403000);
    pace_free(&p);
}

TEST(permits_of_the_past_count_also_where_they_came_too_fast)
{
    struct pace p;
    pace_init(&p, &(struct pace_rate){10, 10, 1000});
    for (int i = 0; i < 12; i++)
        pace_take(&p, -500);
    for (int i = 0; i < 8; i++) { /* two of the new window are spent */
        CHECK_INT(pace_due_ms(&p), 500);
        pace_take(&p, 500);
    }
    CHECK_INT(pace_due_ms(&p), 1500);
    pace_free(&p);
}

TEST(rates_that_cannot_be_kept_are_refused)
{
    static const struct {
        struct pace_rate rate;
        bool fine;
    } rows[] = {
        {{10000, 0, 1000}, true},         {{10001, 0, 1000}, false},       {{1, 0, 30LL * 86400000}, true},
        {{1, 0, 31LL * 86400000}, false}, {{0, 0, 1000}, false},           {{1440, 720, 3600000}, true},
        {{1440, 721, 3600000}, false},    {{1439, 2, 3600000}, false},     {{20, 20, 1000}, true},
        {{20, 21, 1000}, false},          {{864000000, 0, 86400000}, true}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (!pace_wrong(&rows[i].rate) != rows[i].fine) {
            test_fail(__FILE__, __LINE__, "row %zu", i);
            return;
        }
    }
}
