/* queue_test.c - each recipient in exactly one container, whatever happens in whatever order. */
#include "delivery/queue.h"
#include "test.h"

#include <stdlib.h>

struct due_log {
    struct queue *q;
    struct lane *lane;
    uint64_t ids[16];
    int n;
};

static void on_due(void *data, uint64_t id)
{
    struct due_log *log = data;
    log->ids[log->n++] = id;
    lane_push(log->q, log->lane, id, false, false);
}

TEST(a_lane_gives_in_order_and_takes_back_in_front)
{
    struct loop *loop = loop_new_virtual(1, 0);
    struct queue *q = queue_new(loop);
    struct lane *lane = queue_lane(q, NULL, NULL, 0, NULL);
    CHECK(queue_lane(q, NULL, NULL, 0, NULL) == lane && queue_lane(q, NULL, NULL, 0, "mx1") != lane);
    for (uint64_t id = 1; id <= 3; id++) {
        CHECK_INT(queue_add(q, id, 1, (uint32_t)id), 0);
        lane_push(q, lane, id, false, false);
    }
    CHECK_INT(lane_pop(q, lane, false), 1);
    lane_push(q, lane, 1, false, true);
    for (uint64_t id = 1; id <= 3; id++) {
        CHECK_INT(lane_pop(q, lane, false), id);
        queue_remove(q, id);
    }
    CHECK_INT(lane_pop(q, lane, false), 0);
    CHECK_INT(queue_count(q), 0);
    queue_free(q);
    loop_free(loop);
}

TEST(retries_come_due_in_order_of_time)
{
    struct loop *loop = loop_new_virtual(1, 1000000);
    struct queue *q = queue_new(loop);
    struct due_log log = {.q = q, .lane = queue_lane(q, NULL, NULL, 3, NULL)};
    queue_on_due(q, on_due, &log);
    static const int64_t due[] = {1005000, 1001000, 9000000};
    for (uint64_t id = 1; id <= 3; id++) {
        CHECK_INT(queue_add(q, id, 1, 0), 0);
        queue_retry(q, id, due[id - 1]);
    }
    CHECK_INT(queue_next_due_ms(q), 1001000);
    loop_run(loop);
    CHECK(log.n == 3 && log.ids[0] == 2 && log.ids[1] == 1 && log.ids[2] == 3);
    CHECK_INT(loop_wall_ms(loop), 9000000);
    CHECK(queue_is_sound(q, NULL));
    queue_free(q);
    loop_free(loop);
}

TEST(links_hold_across_the_boundary_of_four_thousand_million)
{
    struct loop *loop = loop_new_virtual(1, 0);
    struct queue *q = queue_new(loop);
    struct lane *lane = queue_lane(q, NULL, NULL, 0, NULL);
    uint64_t start = ((uint64_t)1 << 32) - 5;
    for (uint64_t id = start; id < start + 10; id++) {
        CHECK_INT(queue_add(q, id, 1, 0), 0);
        lane_push(q, lane, id, false, false);
    }
    for (uint64_t id = start; id < start + 10; id++)
        CHECK_INT(lane_pop(q, lane, false), id);
    CHECK_INT(queue_add(q, start + ((uint64_t)1 << 32), 1, 0), ERR_LIMIT);
    queue_free(q);
    loop_free(loop);
}

TEST(random_moves_leave_every_recipient_in_one_place)
{
    struct loop *loop = loop_new_virtual(7, 0);
    struct queue *q = queue_new(loop);
    struct due_log log = {.q = q};
    struct lane *lanes[8];
    uint64_t next = 1, claimed[64];
    int nclaimed = 0;
    struct err e;
    queue_on_due(q, on_due, &log);
    for (int i = 0; i < 8; i++)
        lanes[i] = queue_lane(q, NULL, NULL, (uint16_t)i, NULL);
    for (int step = 0; step < 40000; step++) {
        struct lane *lane = lanes[loop_random_below(loop, 8)];
        uint64_t id;
        switch (loop_random_below(loop, 6)) {
        case 0:
        case 1:
            CHECK_INT(queue_add(q, next, 1, 0), 0);
            lane_push(q, lane, next++, loop_random_below(loop, 2), false);
            break;
        case 2:
            if (nclaimed < 64 && (id = lane_pop(q, lane, false)))
                claimed[nclaimed++] = id;
            break;
        case 3:
            if ((id = lane_pop(q, lane, true))) {
                if (loop_random_below(loop, 8))
                    lane_push(q, lane, id, false, true);
                else
                    queue_hold(q, id, "hook failed");
            }
            break;
        case 4:
            if (nclaimed) {
                id = claimed[--nclaimed];
                if (loop_random_below(loop, 2))
                    queue_remove(q, id);
                else
                    queue_retry(q, id, 1000 + (int64_t)loop_random_below(loop, 1000));
            }
            break;
        case 5:
            if (nclaimed)
                lane_push(q, lane, claimed[--nclaimed], false, true);
            break;
        }
        if (step % 1000 == 0 && !queue_is_sound(q, &e)) {
            test_fail(__FILE__, __LINE__, "step %d: %s", step, e.text);
            return;
        }
    }
    CHECK(queue_is_sound(q, &e));
    queue_free(q);
    loop_free(loop);
}

TEST(lane_take_takes_from_anywhere_and_leaves_the_order)
{
    static const uint64_t orders[][4] = {{1, 2, 3, 4}, {4, 3, 2, 1}, {2, 4, 1, 3}, {3, 1, 4, 2}};
    for (size_t o = 0; o < COUNT(orders); o++) {
        struct loop *loop = loop_new_virtual(1, 0);
        struct queue *q = queue_new(loop);
        struct lane *lane = queue_lane(q, NULL, NULL, 0, NULL);
        for (uint64_t id = 1; id <= 5; id++) {
            CHECK_INT(queue_add(q, id, 1, (uint32_t)id), 0);
            lane_push(q, lane, id, o % 2, false);
        }
        for (size_t i = 0; i < 4; i++) {
            lane_take(q, lane, orders[o][i]);
            queue_hold(q, orders[o][i], "paused");
            CHECK(queue_is_sound(q, NULL));
        }
        queue_take(q, 1);
        lane_push(q, lane, 1, o % 2, false);
        CHECK_INT(lane_pop(q, lane, o % 2), 5);
        CHECK_INT(lane_pop(q, lane, o % 2), 1);
        CHECK_INT(lane_pop(q, lane, o % 2), 0);
        queue_free(q);
        loop_free(loop);
    }
}
