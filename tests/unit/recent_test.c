/* recent_test.c - what happened in the last minute, and not before. */
#include "delivery/recent.h"
#include "test.h"

static void at(struct recents *ts, int64_t ms, uint8_t type)
{
    recents_event(ts, &(struct rec_event){
                          .type = type, .at_ms = ms, .isp = 1, .source = 2, .campaign = 3, .stream = 4});
}

TEST(a_minute_is_the_last_one)
{
    struct recents *ts = recents_new();
    enum { T = 1000000000 };
    for (int64_t i = 0; i < 120; i++)
        at(ts, T + i * 1000, EVENT_DELIVERED);
    at(ts, T + 119000, EVENT_DEFERRED);
    at(ts, T + 119000, EVENT_AMBIGUOUS);
    at(ts, T + 119000, EVENT_BOUNCED);
    at(ts, T + 119000, EVENT_HELD);
    struct recent t = recents_path(ts, 1, 2, T + 119999);
    CHECK_INT(t.all[RECENT_DELIVERED], 120);
    CHECK_INT(t.minute[RECENT_DELIVERED], 60);
    CHECK_INT(t.minute[RECENT_DEFERRED], 2);
    CHECK_INT(t.minute[RECENT_BOUNCED], 1);
    CHECK(t.per_second == 1.0);
    t = recents_campaign(ts, 3, 4, T + 119999 + 30000);
    CHECK_INT(t.minute[RECENT_DELIVERED], 30);
    CHECK(t.per_second == 0);
    t = recents_path(ts, 1, 2, T + 119999 + 60000);
    CHECK_INT(t.minute[RECENT_DELIVERED], 0);
    t = recents_path(ts, 1, 9, T);
    CHECK_INT(t.all[RECENT_DELIVERED], 0);
    recents_free(ts);
}

TEST(mail_of_its_own_is_counted_by_its_stream)
{
    struct recents *ts = recents_new();
    recents_event(
        ts, &(struct rec_event){.type = EVENT_DELIVERED, .at_ms = 1000, .isp = 1, .source = 2, .stream = 4});
    CHECK_INT(recents_campaign(ts, 0, 4, 1000).all[RECENT_DELIVERED], 1);
    CHECK_INT(recents_campaign(ts, 0, 5, 1000).all[RECENT_DELIVERED], 0);
    recents_free(ts);
}

TEST(a_clock_that_is_set_back_breaks_nothing)
{
    struct recents *ts = recents_new();
    at(ts, 1000000000, EVENT_DELIVERED);
    at(ts, 500000000, EVENT_DELIVERED);
    CHECK_INT(recents_path(ts, 1, 2, 500000000).minute[RECENT_DELIVERED], 1);
    CHECK_INT(recents_path(ts, 1, 2, 500000000).all[RECENT_DELIVERED], 2);
    recents_free(ts);
}
