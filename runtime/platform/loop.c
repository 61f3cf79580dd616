/* loop.c - see loop.h. */
#include "platform/loop.h"
#include "base/err.h"

#include <stdlib.h>
#include <time.h>
#include <uv.h>

struct loop {
    bool is_virtual, running, stopped;
    uv_loop_t uv;
    uv_timer_t uv_timer;     /* armed for the earliest of our timers */
    uv_prepare_t uv_prepare; /* the end of a turn: right before polling blocks */
    uv_idle_t uv_idle;       /* active while tasks wait: polling must not block */
    int64_t now_ms, wall_ms; /* virtual only */
    struct heap timers;
    struct loop_task *first, **last;
    struct loop_hook *hooks;
    uint64_t rng[4];
    int64_t turn_ns, idle_ns;
    struct loop_stats stats;
};

struct loop_wake {
    struct loop *loop;
    void (*fn)(void *);
    void *data;
    uv_async_t async;
    struct loop_task task; /* a virtual loop's stand-in for async */
    bool dead;
};

struct loop_signal {
    uv_signal_t uv;
    void (*fn)(int, void *);
    void *data;
};

/* --- randomness: xoshiro256** (Blackman and Vigna), seeded by splitmix64 --- */

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static void seed_rng(struct loop *l, uint64_t s)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = s += 0x9e3779b97f4a7c15u;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        l->rng[i] = z ^ (z >> 31);
    }
}

uint64_t loop_random(struct loop *l)
{
    uint64_t *s = l->rng, out = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

uint64_t loop_random_below(struct loop *l, uint64_t n)
{
    INVARIANT(n > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, r;
    do
        r = loop_random(l);
    while (r >= limit);
    return r % n;
}

void loop_random_bytes(struct loop *l, void *out, size_t n)
{
    if (!l->is_virtual) {
        INVARIANT(uv_random(NULL, NULL, out, n, 0, NULL) == 0);
        return;
    }
    for (size_t i = 0; i < n; i += 8) {
        uint64_t r = loop_random(l);
        memcpy((char *)out + i, &r, n - i < 8 ? n - i : 8);
    }
}

/* --- clock --- */

int64_t loop_now_ms(const struct loop *l)
{
    if (l->is_virtual)
        return l->now_ms;
    if (!l->running) /* nothing but this tells libuv that time goes on */
        uv_update_time((uv_loop_t *)&l->uv);
    return (int64_t)uv_now(&l->uv);
}

int64_t loop_now_ns(const struct loop *l)
{
    return l->is_virtual ? l->now_ms * 1000000 : (int64_t)uv_hrtime();
}

int64_t loop_wall_ms(const struct loop *l)
{
    if (l->is_virtual)
        return l->wall_ms + l->now_ms;
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool loop_is_virtual(const struct loop *l)
{
    return l->is_virtual;
}

uv_loop_t *loop_uv(struct loop *l)
{
    return l->is_virtual ? NULL : &l->uv;
}

struct loop_stats loop_stats(const struct loop *l)
{
    return l->stats;
}

/* --- timers --- */

static void on_uv_timer(uv_timer_t *t);

static void arm(struct loop *l)
{
    struct heap_node *first = heap_min(&l->timers);
    if (l->is_virtual)
        return;
    if (!first) {
        uv_timer_stop(&l->uv_timer);
        return;
    }
    int64_t delay = first->key - (int64_t)uv_now(&l->uv);
    uv_timer_start(&l->uv_timer, on_uv_timer, delay > 0 ? (uint64_t)delay : 0, 0);
}

static void run_due_timers(struct loop *l)
{
    int64_t now = loop_now_ms(l);
    struct heap_node *first;
    while ((first = heap_min(&l->timers)) && first->key <= now) {
        struct loop_timer *t = CONTAINER(first, struct loop_timer, node);
        heap_remove(&l->timers, first);
        t->fn(t);
    }
}

static void on_uv_timer(uv_timer_t *t)
{
    struct loop *l = t->data;
    run_due_timers(l);
    arm(l);
}

void loop_timer_start(struct loop *l, struct loop_timer *t, int64_t delay_ms, void (*fn)(struct loop_timer *))
{
    heap_remove(&l->timers, &t->node);
    t->fn = fn;
    int64_t now = loop_now_ms(l);
    if (delay_ms < 0)
        delay_ms = 0;
    heap_insert(&l->timers, &t->node, delay_ms > INT64_MAX - now ? INT64_MAX : now + delay_ms);
    if (heap_min(&l->timers) == &t->node)
        arm(l);
}

void loop_timer_stop(struct loop *l, struct loop_timer *t)
{
    heap_remove(&l->timers,
                &t->node); /* uv_timer may fire once for nothing; that is cheaper than re-arming */
}

/* --- tasks and hooks: the end of a turn --- */

void loop_post(struct loop *l, struct loop_task *t, void (*fn)(struct loop_task *))
{
    if (t->queued)
        return;
    t->queued = true;
    t->fn = fn;
    t->next = NULL;
    *l->last = t;
    l->last = &t->next;
}

void loop_task_cancel(struct loop *l, struct loop_task *t)
{
    if (!t->queued)
        return;
    struct loop_task **at = &l->first;
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    if (l->last == &t->next)
        l->last = at;
    t->queued = false;
}

static void run_tasks(struct loop *l)
{
    while (l->first) {
        struct loop_task *t = l->first;
        l->first = t->next;
        if (!l->first)
            l->last = &l->first;
        t->queued = false;
        t->fn(t);
    }
}

static void end_turn(struct loop *l)
{
    run_tasks(l);
    for (struct loop_hook *h = l->hooks, *next; h; h = next) {
        next = h->next;
        h->fn(h);
    }
}

void loop_hook_add(struct loop *l, struct loop_hook *h)
{
    struct loop_hook **at = &l->hooks;
    while (*at && (*at)->order <= h->order)
        at = &(*at)->next;
    h->next = *at;
    *at = h;
}

void loop_hook_remove(struct loop *l, struct loop_hook *h)
{
    for (struct loop_hook **at = &l->hooks; *at; at = &(*at)->next) {
        if (*at == h) {
            *at = h->next;
            return;
        }
    }
}

static void on_idle(uv_idle_t *i)
{
    (void)i;
}

static void count_turn(struct loop *l)
{
    int64_t now = (int64_t)uv_hrtime(), idle = (int64_t)uv_metrics_idle_time(&l->uv);
    int64_t busy = (now - l->turn_ns) - (idle - l->idle_ns);
    if (l->turn_ns) {
        l->stats.turns++;
        l->stats.over_10ms += busy > 10000000;
        l->stats.over_50ms += busy > 50000000;
        if (busy > l->stats.longest_ns)
            l->stats.longest_ns = busy;
    }
    l->turn_ns = now;
    l->idle_ns = idle;
}

static void on_prepare(uv_prepare_t *p)
{
    struct loop *l = p->data;
    end_turn(l);
    if (l->first)
        uv_idle_start(&l->uv_idle, on_idle);
    else
        uv_idle_stop(&l->uv_idle);
    count_turn(l);
}

/* --- wakes and signals --- */

/* What a handle belongs to is freed when the handle is closed. */
static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

static void on_async(uv_async_t *a)
{
    struct loop_wake *w = a->data;
    w->fn(w->data);
}

static void on_wake_task(struct loop_task *t)
{
    struct loop_wake *w = CONTAINER(t, struct loop_wake, task);
    if (w->dead)
        free(w);
    else
        w->fn(w->data);
}

struct loop_wake *loop_wake_new(struct loop *l, void (*fn)(void *), void *data)
{
    struct loop_wake *w = mem_zalloc(sizeof *w);
    w->loop = l;
    w->fn = fn;
    w->data = data;
    if (!l->is_virtual) {
        INVARIANT(uv_async_init(&l->uv, &w->async, on_async) == 0);
        w->async.data = w;
    }
    return w;
}

void loop_wake_send(struct loop_wake *w)
{
    if (w->loop->is_virtual)
        loop_post(w->loop, &w->task, on_wake_task);
    else
        uv_async_send(&w->async);
}

void loop_wake_free(struct loop_wake *w)
{
    if (!w)
        return;
    if (!w->loop->is_virtual) {
        uv_close((uv_handle_t *)&w->async, on_closed);
        return;
    }
    w->dead = true;
    if (!w->task.queued)
        free(w);
}

static void on_signal(uv_signal_t *u, int signum)
{
    struct loop_signal *s = u->data;
    s->fn(signum, s->data);
}

struct loop_signal *loop_signal_new(struct loop *l, int signum, void (*fn)(int, void *), void *data)
{
    if (l->is_virtual)
        return NULL;
    struct loop_signal *s = mem_zalloc(sizeof *s);
    s->fn = fn;
    s->data = data;
    INVARIANT(uv_signal_init(&l->uv, &s->uv) == 0);
    s->uv.data = s;
    INVARIANT(uv_signal_start(&s->uv, on_signal, signum) == 0);
    return s;
}

void loop_signal_free(struct loop_signal *s)
{
    if (s)
        uv_close((uv_handle_t *)&s->uv, on_closed);
}

struct loop_watch {
    uv_poll_t uv;
    void (*fn)(void *data);
    void *data;
};

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct loop_watch *w = p->data;
    (void)status; /* the library that owns it finds out by reading */
    (void)events;
    w->fn(w->data);
}

struct loop_watch *loop_watch_new(struct loop *l, int fd, void (*fn)(void *), void *data)
{
    if (l->is_virtual)
        return NULL;
    struct loop_watch *w = mem_zalloc(sizeof *w);
    w->fn = fn;
    w->data = data;
    INVARIANT(uv_poll_init(&l->uv, &w->uv, fd) == 0);
    w->uv.data = w;
    INVARIANT(uv_poll_start(&w->uv, UV_READABLE, on_poll) == 0);
    return w;
}

void loop_watch_free(struct loop_watch *w)
{
    if (w)
        uv_close((uv_handle_t *)&w->uv, on_closed);
}

/* --- life --- */

static struct loop *loop_new(void)
{
    struct loop *l = mem_zalloc(sizeof *l);
    l->last = &l->first;
    return l;
}

struct loop *loop_new_real(void)
{
    struct loop *l = loop_new();
    INVARIANT(uv_loop_init(&l->uv) == 0);
    INVARIANT(uv_loop_configure(&l->uv, UV_METRICS_IDLE_TIME) == 0);
    uv_timer_init(&l->uv, &l->uv_timer);
    uv_prepare_init(&l->uv, &l->uv_prepare);
    uv_idle_init(&l->uv, &l->uv_idle);
    l->uv_timer.data = l->uv_prepare.data = l->uv_idle.data = l;
    uv_prepare_start(&l->uv_prepare, on_prepare);
    uint64_t s;
    INVARIANT(uv_random(NULL, NULL, &s, sizeof s, 0, NULL) == 0);
    seed_rng(l, s);
    return l;
}

struct loop *loop_new_virtual(uint64_t seed, int64_t wall_ms)
{
    struct loop *l = loop_new();
    l->is_virtual = true;
    l->wall_ms = wall_ms;
    seed_rng(l, seed);
    return l;
}

static void run_virtual(struct loop *l)
{
    while (!l->stopped) {
        end_turn(l);
        if (l->first || l->stopped)
            continue;
        struct heap_node *next = heap_min(&l->timers);
        if (!next)
            return;
        if (next->key > l->now_ms)
            l->now_ms = next->key;
        l->stats.turns++;
        run_due_timers(l);
    }
}

void loop_run(struct loop *l)
{
    l->stopped = false;
    if (l->is_virtual) {
        run_virtual(l);
        return;
    }
    uv_update_time(&l->uv);
    l->running = true;
    while (!l->stopped)
        uv_run(&l->uv, UV_RUN_ONCE);
    end_turn(l); /* what the last callbacks decided is written too */
    l->running = false;
}

void loop_stop(struct loop *l)
{
    l->stopped = true;
    if (!l->is_virtual)
        uv_stop(&l->uv);
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    run_tasks(l); /* frees wakes that died with a task queued */
    INVARIANT(l->timers.n == 0);
    heap_free(&l->timers);
    if (!l->is_virtual) {
        uv_close((uv_handle_t *)&l->uv_timer, NULL);
        uv_close((uv_handle_t *)&l->uv_prepare, NULL);
        uv_close((uv_handle_t *)&l->uv_idle, NULL);
        /* Everybody's close callbacks run here; a stop that nobody has run into yet ends the first try. */
        while (uv_run(&l->uv, UV_RUN_DEFAULT))
            ;
        INVARIANT(uv_loop_close(&l->uv) == 0);
    }
    free(l);
}
