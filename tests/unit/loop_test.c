/* loop_test.c - order of a turn, virtual time, wakes from threads. */
#include "platform/loop.h"
#include "test.h"

#include <pthread.h>
#include <stdlib.h>

struct trace {
    struct loop *loop;
    struct buf text;
    struct loop_timer t[4];
    struct loop_task task;
    struct loop_hook first, last;
    int turns;
};

static void note_timer(struct loop_timer *t)
{
    struct trace *tr = t->data;
    buf_printf(&tr->text, "t%d@%lld ", (int)(t - tr->t), (long long)loop_now_ms(tr->loop));
}

static void note_task(struct loop_task *t)
{
    struct trace *tr = t->data;
    buf_printf(&tr->text, "task ");
}

static void note_first(struct loop_hook *h)
{
    struct trace *tr = h->data;
    if (tr->turns++ < 1)
        buf_printf(&tr->text, "spool ");
}

static void note_last(struct loop_hook *h)
{
    struct trace *tr = h->data;
    if (tr->turns < 2)
        buf_printf(&tr->text, "conn ");
}

TEST(a_turn_runs_tasks_then_hooks_then_the_clock_jumps)
{
    struct trace tr = {.loop = loop_new_virtual(1, 1000)};
    tr.first = (struct loop_hook){.order = LOOP_ORDER_SPOOL, .fn = note_first, .data = &tr};
    tr.last = (struct loop_hook){.order = LOOP_ORDER_CONN, .fn = note_last, .data = &tr};
    loop_hook_add(tr.loop, &tr.last);
    loop_hook_add(tr.loop, &tr.first);
    tr.task.data = &tr;
    for (int i = 0; i < 4; i++)
        tr.t[i].data = &tr;
    loop_timer_start(tr.loop, &tr.t[0], 50, note_timer);
    loop_timer_start(tr.loop, &tr.t[1], 10, note_timer);
    loop_timer_start(tr.loop, &tr.t[2], 50, note_timer);
    loop_timer_start(tr.loop, &tr.t[3], 20, note_timer);
    loop_timer_stop(tr.loop, &tr.t[3]);
    loop_post(tr.loop, &tr.task, note_task);
    loop_post(tr.loop, &tr.task, note_task);
    loop_run(tr.loop);
    CHECK_STR(buf_slice(&tr.text), S("task spool conn t1@10 t0@50 t2@50 "));
    CHECK_INT(loop_wall_ms(tr.loop), 1050);
    buf_free(&tr.text);
    loop_free(tr.loop);
}

TEST(a_virtual_loop_with_one_seed_gives_one_row_of_numbers)
{
    uint64_t a[16], b[16];
    for (int run = 0; run < 2; run++) {
        struct loop *l = loop_new_virtual(42, 0);
        for (int i = 0; i < 16; i++)
            (run ? b : a)[i] = loop_random_below(l, 1000);
        loop_free(l);
    }
    CHECK(memcmp(a, b, sizeof a) == 0);
}

static void on_timer_stop(struct loop_timer *t)
{
    loop_stop(t->data);
}

TEST(a_real_timer_is_never_early)
{
    struct loop *other = loop_new_real();
    int64_t before = loop_now_ns(other); /* a timer counts from its loop's turn, which begins after this */
    struct loop *l = loop_new_real();
    struct loop_timer t = {.data = l};
    loop_timer_start(l, &t, 30, on_timer_stop);
    loop_run(l);
    CHECK(loop_now_ns(l) - before >= 29000000); /* uv's clock is whole milliseconds, cut off */
    loop_free(l);
    loop_free(other);
}

/* A start may take long, and the wall clock goes on meanwhile. */
TEST(outside_of_a_run_the_clock_goes_on)
{
    struct loop *l = loop_new_real();
    int64_t now = loop_now_ms(l);
    struct timespec rest = {0, 50000000};
    nanosleep(&rest, NULL);
    CHECK(loop_now_ms(l) - now >= 49);
    loop_free(l);
}

struct waker {
    struct loop *loop;
    struct loop_wake *wake;
    int woken;
};

static void on_wake(void *data)
{
    struct waker *w = data;
    w->woken++;
    loop_stop(w->loop);
}

static void *send_wakes(void *data)
{
    struct waker *w = data;
    for (int i = 0; i < 1000; i++)
        loop_wake_send(w->wake);
    return NULL;
}

TEST(wakes_from_a_thread_reach_the_loop)
{
    struct waker w = {.loop = loop_new_real()};
    w.wake = loop_wake_new(w.loop, on_wake, &w);
    pthread_t th;
    pthread_create(&th, NULL, send_wakes, &w);
    loop_run(w.loop);
    pthread_join(th, NULL);
    CHECK(w.woken >= 1);
    loop_wake_free(w.wake);
    loop_free(w.loop);
}

TEST(a_real_loop_that_was_stopped_and_never_ran_can_be_freed)
{
    struct loop *l = loop_new_real();
    struct loop_wake *w = loop_wake_new(l, NULL, NULL);
    loop_stop(l);
    loop_wake_free(w);
    loop_free(l);
}

static void burn_60ms(struct loop_timer *t)
{
    struct loop *l = t->data;
    for (int64_t end = loop_now_ns(l) + 60000000; loop_now_ns(l) < end;)
        ;
}

static void stop_loop(struct loop_timer *t)
{
    loop_stop(t->data);
}

TEST(a_turns_time_is_what_it_worked_not_what_it_waited)
{
    struct loop *l = loop_new_real();
    struct loop_timer burn = {.data = l}, stop = {.data = l};
    loop_timer_start(l, &burn, 10, burn_60ms);
    loop_timer_start(l, &stop, 1500, stop_loop);
    loop_run(l);
    struct loop_stats s = loop_stats(l);
    CHECK(s.over_10ms >= 1 && s.over_50ms >= 1);
    CHECK(s.longest_ns >= 60000000 && s.longest_ns < 1000000000);
    loop_free(l);
}
