/* soft_count_test.c - soft failures: once a day, within a window, cleared by a delivery that holds. */
#include "delivery/soft_count.h"
#include "test.h"

static const int64_t DAY = 86400000, HOUR = 3600000,
                     NOON = 1764000000000 / 86400000 * 86400000 + 12 * 3600000;
static const struct hash128 taro = {7, 1ull << 60}, hanako = {7, 2ull << 60}; /* neighbours in the table */

static const uint64_t full = 1ull << CLASS_MAILBOX_FULL,
                      soft = 1ull << CLASS_MAILBOX_FULL | 1ull << CLASS_NETWORK;

static unsigned days_of(struct soft_count *c, struct hash128 who, uint64_t classes, int64_t now_ms,
                        int64_t within_ms)
{
    struct soft_asked asked = {
        .classes = classes, .now_ms = now_ms, .since_ms = now_ms - within_ms, .clear_ms = 5 * DAY};
    int64_t first;
    return soft_count_days(c, who, &asked, &first);
}

TEST(a_failure_counts_once_a_day)
{
    struct soft_count *c = soft_count_new();
    CHECK_INT(days_of(c, taro, full, NOON, 30 * DAY), 1); /* today's own */
    CHECK(soft_count_hit(c, taro, CLASS_MAILBOX_FULL, NOON));
    CHECK(!soft_count_hit(c, taro, CLASS_MAILBOX_FULL, NOON + HOUR));
    CHECK(soft_count_hit(c, taro, CLASS_NETWORK, NOON + HOUR));
    CHECK_INT(days_of(c, taro, soft, NOON + 2 * HOUR, 30 * DAY), 1);
    CHECK_INT(days_of(c, taro, soft, NOON + 12 * HOUR, 30 * DAY), 2); /* midnight: another day */
    CHECK(soft_count_hit(c, taro, CLASS_MAILBOX_FULL, NOON + DAY));
    CHECK_INT(days_of(c, taro, soft, NOON + 2 * DAY, 30 * DAY), 3);
    CHECK_INT(days_of(c, hanako, soft, NOON + 2 * DAY, 30 * DAY), 1);
    soft_count_free(c);
}

TEST(what_is_outside_the_window_or_of_another_class_does_not_count)
{
    struct soft_count *c = soft_count_new();
    int64_t first;
    soft_count_hit(c, taro, CLASS_MAILBOX_FULL, NOON);
    soft_count_hit(c, taro, CLASS_NETWORK, NOON + DAY);
    soft_count_hit(c, taro, CLASS_MAILBOX_FULL, NOON + 10 * DAY);
    CHECK_INT(days_of(c, taro, full, NOON + 20 * DAY, 30 * DAY), 3);
    CHECK_INT(days_of(c, taro, soft, NOON + 20 * DAY, 30 * DAY), 4);
    CHECK_INT(days_of(c, taro, full, NOON + 20 * DAY, 15 * DAY), 2);
    CHECK_INT(days_of(c, taro, full, NOON + 30 * DAY, 30 * DAY), 3); /* both ends belong to it */
    CHECK_INT(days_of(c, taro, full, NOON + 30 * DAY + 60000, 30 * DAY), 2);
    struct soft_asked asked = {
        .classes = soft, .now_ms = NOON + 20 * DAY, .since_ms = NOON, .clear_ms = 5 * DAY};
    CHECK_INT(soft_count_days(c, taro, &asked, &first), 4);
    CHECK_INT(first, NOON);
    soft_count_free(c);
}

TEST(a_delivery_clears_what_lies_before_it_when_it_has_held_for_five_days)
{
    struct soft_count *c = soft_count_new();
    CHECK(!soft_count_wants(c, taro)); /* nothing to clear: nothing is kept */
    soft_count_hit(c, taro, CLASS_MAILBOX_FULL, NOON);
    soft_count_hit(c, taro, CLASS_MAILBOX_FULL, NOON + DAY);
    CHECK(soft_count_wants(c, taro));
    soft_count_delivered(c, taro, NOON + 2 * DAY);
    CHECK(!soft_count_wants(c, taro)); /* the next delivery clears nothing more */
    CHECK_INT(days_of(c, taro, full, NOON + 7 * DAY - 60000, 30 * DAY), 3);
    CHECK_INT(days_of(c, taro, full, NOON + 7 * DAY, 30 * DAY), 1);
    soft_count_hit(c, taro, CLASS_MAILBOX_FULL, NOON + 3 * DAY);
    CHECK(soft_count_wants(c, taro));
    CHECK_INT(days_of(c, taro, full, NOON + 7 * DAY, 30 * DAY), 2); /* what came behind it counts */
    soft_count_free(c);
}

TEST(a_late_bounce_takes_a_delivery_back)
{
    struct soft_count *c = soft_count_new();
    soft_count_hit(c, taro, CLASS_MAILBOX_FULL, NOON);
    soft_count_delivered(c, taro, NOON + 2 * DAY);
    soft_count_late(c, taro, NOON + 4 * DAY - 5 * DAY);
    soft_count_hit(c, taro, CLASS_MAILBOX_FULL, NOON + 4 * DAY);
    CHECK_INT(days_of(c, taro, full, NOON + 10 * DAY, 30 * DAY), 3);
    soft_count_delivered(c, taro, NOON + 11 * DAY);
    soft_count_late(c, taro, NOON + 12 * DAY); /* too late: the delivery had held by then */
    CHECK_INT(days_of(c, taro, full, NOON + 16 * DAY, 30 * DAY), 1);
    soft_count_free(c);
}

TEST(neighbours_keep_theirs_when_one_is_forgotten_or_grows_old)
{
    struct soft_count *c = soft_count_new();
    for (int i = 0; i < 20; i++) {
        soft_count_hit(c, taro, CLASS_MAILBOX_FULL, NOON + i * DAY);
        soft_count_hit(c, hanako, CLASS_MAILBOX_FULL, NOON + i * DAY);
    }
    soft_count_forget(c, taro);
    CHECK_INT(soft_count_entries(c), 20);
    CHECK_INT(days_of(c, taro, full, NOON + 20 * DAY, 30 * DAY), 1);
    CHECK_INT(days_of(c, hanako, full, NOON + 20 * DAY, 30 * DAY), 21);
    soft_count_expire(c, NOON + 15 * DAY);
    CHECK_INT(soft_count_entries(c), 5);
    CHECK_INT(days_of(c, hanako, full, NOON + 20 * DAY, 30 * DAY), 6);
    soft_count_free(c);
}

TEST(many_people_have_each_their_own_count)
{
    enum { PEOPLE = 50000 };
    struct soft_count *c = soft_count_new();
    struct hash_key key = {1, 2};
    for (int day = 0; day < 3; day++)
        for (uint64_t i = 0; i < PEOPLE; i++)
            if ((int)(i % 4) > day)
                soft_count_hit(c, hash128(key, slice_of(&i, sizeof i)), CLASS_MAILBOX_FULL, NOON + day * DAY);
    for (uint64_t i = 0; i < PEOPLE; i++)
        CHECK_INT(days_of(c, hash128(key, slice_of(&i, sizeof i)), full, NOON + 3 * DAY, 30 * DAY),
                  1 + i % 4);
    CHECK_INT(soft_count_entries(c), PEOPLE * 3 / 2);
    soft_count_free(c);
}
