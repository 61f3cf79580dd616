/* guard_test.c - the outbreak guard: when a receiver's "no such user" says something about the receiver. */
#include "delivery/guard.h"
#include "test.h"

static const int64_t DAY = 86400000, START = 1764000000000;
static const struct guard_conf as_shipped = {.attempts = 200, .share_ppm = 200000, .usual_ppm = 50000};

/* n attempts, of which every `each`th is unknown (0: none); how many outbreaks began. */
static int attempts(struct guard *g, uint32_t isp, int n, int each, int64_t at_ms)
{
    int began = 0;
    for (int i = 1; i <= n; i++)
        began += guard_attempt(g, isp, each && i % each == 0, at_ms);
    return began;
}

TEST(more_than_a_fifth_unknown_of_two_hundred_is_an_outbreak)
{
    struct guard *g = guard_new(&as_shipped);
    struct buf text = {0};
    CHECK_INT(attempts(g, 3, 1000, 0, START), 0);
    CHECK_INT(attempts(g, 3, 40, 1, START), 0); /* exactly a fifth */
    CHECK(!guard_outbreak(g, 3));
    CHECK_INT(attempts(g, 3, 1, 1, START), 1);
    CHECK(guard_outbreak(g, 3));
    CHECK(!guard_outbreak(g, 4) && !guard_outbreak(g, 99999));
    CHECK_INT(attempts(g, 3, 10, 1, START), 0); /* it begins once */
    guard_text(g, 3, &text);
    CHECK_STR(buf_slice(&text), S("no such user in 51 of the latest 200 answers"));
    CHECK_INT(attempts(g, 3, 149 + 30, 0, START), 0); /* the window moves on: 21 of them are in it */
    CHECK(guard_outbreak(g, 3));
    CHECK_INT(attempts(g, 3, 1, 0, START), 0); /* half of a fifth, and it is over */
    CHECK(!guard_outbreak(g, 3));
    buf_free(&text);
    guard_free(g);
}

TEST(unknown_people_spread_thinly_are_no_outbreak)
{
    struct guard *g = guard_new(&as_shipped);
    CHECK_INT(attempts(g, 1, 10000, 6, START), 0); /* a sixth */
    CHECK_INT(attempts(g, 2, 10000, 4, START), 1); /* a quarter */
    guard_free(g);
}

TEST(where_many_are_unknown_on_most_days_they_are_unknown)
{
    struct guard *g = guard_new(&as_shipped);
    struct buf text = {0};
    for (int day = 0; day < 3; day++) { /* of so few days nobody knows better */
        attempts(g, 1, 1000, 3, START + day * DAY);
        CHECK(guard_outbreak(g, 1));
    }
    CHECK_INT(attempts(g, 1, 1000, 3, START + 3 * DAY), 0);
    CHECK(!guard_outbreak(g, 1));
    guard_text(g, 1, &text);
    CHECK_STR(buf_slice(&text),
              S("no such user in 67 of the latest 200 answers; on 3 of the 3 days before there "
                "were many"));
    for (int day = 4; day < 8; day++)
        attempts(g, 1, 1000, 0, START + day * DAY);
    CHECK_INT(attempts(g, 1, 200, 1, START + 8 * DAY), 1); /* it has been well for long enough */
    buf_free(&text);
    guard_free(g);
}

TEST(an_outbreak_over_midnight_and_the_day_after_is_still_one)
{
    struct guard *g = guard_new(&as_shipped);
    CHECK_INT(attempts(g, 1, 100, 1, START), 1);
    attempts(g, 1, 100, 1, START + DAY);
    CHECK(guard_outbreak(g, 1));
    for (int day = 0; day < 12; day++)
        attempts(g, 2, 1000, 100, START + day * DAY);
    for (int day = 12; day < 15; day++) {
        attempts(g, 2, 1000, 1, START + day * DAY);
        CHECK(guard_outbreak(g, 2));
    }
    guard_free(g);
}

TEST(days_of_few_attempts_speak_together)
{
    struct guard *g = guard_new(&as_shipped);
    for (int day = 0; day < 9; day++) /* three days of 60 */
        attempts(g, 1, 20, 3, START + day * DAY);
    attempts(g, 1, 1, 0, START + 9 * DAY);
    CHECK_INT(attempts(g, 1, 100, 1, START + 9 * DAY), 0);
    guard_free(g);
}

TEST(without_a_guard_there_is_no_outbreak)
{
    struct guard *g = guard_new(&(struct guard_conf){0});
    CHECK_INT(attempts(g, 1, 1000, 1, START), 0);
    CHECK(!guard_outbreak(g, 1));
    guard_free(g);
}
