/* loop.h - the event loop, the clock and the randomness of one hato: libuv and the machine's, or virtual.
 *
 * A virtual loop owns no descriptor. Its clock stands still while anything can happen at this instant and
 * then jumps to the next timer. Everything that runs on it runs in an order that follows from the seed alone.
 *
 * One turn: callbacks run (timers, then what polling found) → posted tasks, until there are none → turn-end
 * hooks in rising order. The spool writes its records in its hook, connections write their bytes in a later
 * one: so what a turn decided is in the journal's file before any of its bytes reaches a socket. */
#ifndef HATO_PLATFORM_LOOP_H
#define HATO_PLATFORM_LOOP_H

#include "base/heap.h"
#include "base/mem.h"

struct loop;
struct uv_loop_s;

struct loop *loop_new_real(void);
/* wall_ms: UTC at the start, ms since 1970. The monotonic clock starts at 0. */
struct loop *loop_new_virtual(uint64_t seed, int64_t wall_ms);
/* Every timer, wake and hook must be gone before. */
void loop_free(struct loop *l);

/* Run until loop_stop(); a virtual loop also returns when nothing can happen any more. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);
bool loop_is_virtual(const struct loop *l);

/* Milliseconds, monotonic, the same for a whole turn; outside of loop_run() it goes on. */
int64_t loop_now_ms(const struct loop *l);
/* UTC, milliseconds since 1970. May be set back or forward by people: only for what is written or shown, and
 * for what must survive a restart. */
int64_t loop_wall_ms(const struct loop *l);
/* Nanoseconds for measuring; on a virtual loop the virtual clock's. */
int64_t loop_now_ns(const struct loop *l);

/* Not for secrets: shuffles, jitter, shares. */
uint64_t loop_random(struct loop *l);
/* 0 <= result < n, without bias; n > 0. */
uint64_t loop_random_below(struct loop *l, uint64_t n);
/* For keys and tokens: the kernel's on a real loop, from the seed on a virtual one. */
void loop_random_bytes(struct loop *l, void *out, size_t n);

/* --- timers: live inside their owner; zero-initialised is stopped --- */
struct loop_timer {
    struct heap_node node;
    void (*fn)(struct loop_timer *);
    void *data;
};
/* (Re)start: fn runs once, delay_ms from now, never early. */
void loop_timer_start(struct loop *l, struct loop_timer *t, int64_t delay_ms,
                      void (*fn)(struct loop_timer *));
void loop_timer_stop(struct loop *l, struct loop_timer *t);
static inline bool loop_timer_active(const struct loop_timer *t)
{
    return heap_has(&t->node);
}
/* When an active timer fires, on loop_now_ms()'s clock. */
static inline int64_t loop_timer_due_ms(const struct loop_timer *t)
{
    return t->node.key;
}

/* --- tasks: run later in this turn, first in first out; loop thread only; zero-initialised is idle --- */
struct loop_task {
    struct loop_task *next;
    void (*fn)(struct loop_task *);
    void *data;
    bool queued;
};
/* Posting one that is queued already changes nothing. */
void loop_post(struct loop *l, struct loop_task *t, void (*fn)(struct loop_task *));
/* Before its owner goes; costs a walk through the queue. */
void loop_task_cancel(struct loop *l, struct loop_task *t);

/* --- turn-end hooks: for the life of the loop, or until removed --- */
enum { LOOP_ORDER_FIRST = 0, LOOP_ORDER_SPOOL = 10, LOOP_ORDER_CONN = 20, LOOP_ORDER_LAST = 30 };
struct loop_hook {
    struct loop_hook *next;
    int order;
    void (*fn)(struct loop_hook *);
    void *data;
};
/* order, fn and data are set by the caller before. Hooks of one order run in order of insertion. */
void loop_hook_add(struct loop *l, struct loop_hook *h);
void loop_hook_remove(struct loop *l, struct loop_hook *h);

/* --- wakes: the one way from another thread to the loop --- */
struct loop_wake;
struct loop_wake *loop_wake_new(struct loop *l, void (*fn)(void *data), void *data);
/* Any thread. Several sends may be one call of fn. */
void loop_wake_send(struct loop_wake *w);
void loop_wake_free(
    struct loop_wake *w); /* loop thread, no sender left; fn is not called after this; NULL is fine */

/* --- signals (a virtual loop has none: NULL, and nothing happens) --- */
struct loop_signal;
struct loop_signal *loop_signal_new(struct loop *l, int signum, void (*fn)(int signum, void *data),
                                    void *data);
void loop_signal_free(struct loop_signal *s);

/* --- a library's own descriptor: fn when it can be read (a virtual loop has none: NULL, and nothing happens)
 * --- */
struct loop_watch;
struct loop_watch *loop_watch_new(struct loop *l, int fd, void (*fn)(void *data), void *data);
void loop_watch_free(struct loop_watch *w); /* before the descriptor is closed; NULL is fine */

/* How long turns took, not counting the wait for something to happen. */
struct loop_stats {
    uint64_t turns, over_10ms, over_50ms;
    int64_t longest_ns;
};
struct loop_stats loop_stats(const struct loop *l);

/* For conn and resolve alone; NULL on a virtual loop. */
struct uv_loop_s *loop_uv(struct loop *l);

#endif
