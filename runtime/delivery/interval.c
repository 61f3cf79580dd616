/* interval.c - see interval.h.
 *
 * An interval is known by its cause. It is fresh until it is written for the first time, and ending from its
 * last close until nobody has opened it again for a while; both are lines in order of time, so a tick looks
 * at their fronts only. */
#include "delivery/interval.h"
#include "base/err.h"
#include "base/map.h"

#include <stdlib.h>

struct interval_line {
    struct interval *first, *last;
};

struct interval {
    struct intervals *is;
    struct interval_cause cause; /* its texts are owned */
    struct slice key;            /* owned by the map */
    unsigned open;
    int64_t begin_ms, end_ms;          /* UTC; end_ms 0: open */
    int64_t fresh_since, ending_since; /* loop_now_ms() */
    bool is_fresh, is_written;
    int64_t written_end_ms, written_until_ms;
    struct interval *next_fresh, *prev_fresh, *next_ending, *prev_ending;
};

struct intervals {
    struct intervals_conf conf;
    struct map by_cause;
    struct interval_line fresh, ending;
    struct loop_timer timer, alive;
    struct interval *up;
    struct buf key;
    bool stopped;
};

#define LINE_ADD(line, i, next, prev)                                                                        \
    do {                                                                                                     \
        (i)->prev = (line)->last;                                                                            \
        (i)->next = NULL;                                                                                    \
        if ((line)->last)                                                                                    \
            (line)->last->next = (i);                                                                        \
        else                                                                                                 \
            (line)->first = (i);                                                                             \
        (line)->last = (i);                                                                                  \
    } while (0)
#define LINE_DEL(line, i, next, prev)                                                                        \
    do {                                                                                                     \
        if ((i)->prev)                                                                                       \
            (i)->prev->next = (i)->next;                                                                     \
        else                                                                                                 \
            (line)->first = (i)->next;                                                                       \
        if ((i)->next)                                                                                       \
            (i)->next->prev = (i)->prev;                                                                     \
        else                                                                                                 \
            (line)->last = (i)->prev;                                                                        \
        (i)->next = (i)->prev = NULL;                                                                        \
    } while (0)

struct intervals *intervals_new(const struct intervals_conf *conf)
{
    struct intervals *is = mem_zalloc(sizeof *is);
    struct hash_key hk;
    is->conf = *conf;
    loop_random_bytes(conf->loop, &hk, sizeof hk);
    map_init(&is->by_cause, hk);
    return is;
}

/* --- texts of a cause --- */

enum { TEXTS = 9 };

static void texts_of(struct interval_cause *c, struct slice *out[TEXTS])
{
    struct slice *const all[TEXTS] = {&c->isp,    &c->source, &c->stream, &c->pool, &c->campaign,
                                      &c->domain, &c->mx,     &c->from,   &c->why};
    memcpy(out, all, sizeof all);
}

static void set_text(struct slice *at, struct slice text)
{
    *at = text.n ? slice_of(mem_dup(text.p, text.n), text.n) : SLICE_NONE;
}

static void free_text(struct slice *at)
{
    if (at->n)
        free((char *)at->p);
    *at = SLICE_NONE;
}

static void put_key(struct buf *out, const struct interval_cause *c)
{
    struct interval_cause copy = *c;
    struct slice *texts[TEXTS];
    uint32_t kind = c->kind;
    texts_of(&copy, texts);
    buf_clear(out);
    buf_add(out, &kind, sizeof kind);
    for (int i = 0; i < TEXTS; i++) {
        uint32_t n = (uint32_t)texts[i]->n;
        buf_add(out, &n, sizeof n);
        buf_adds(out, *texts[i]);
    }
}

/* --- life of one --- */

static struct interval *interval_new(struct intervals *is, const struct interval_cause *c)
{
    struct interval *i = mem_zalloc(sizeof *i);
    struct slice *texts[TEXTS];
    i->is = is;
    i->cause = *c;
    texts_of(&i->cause, texts);
    for (int k = 0; k < TEXTS; k++)
        set_text(texts[k], *texts[k]);
    map_put(&is->by_cause, buf_slice(&is->key), i);
    i->key = is->by_cause.v[is->by_cause.n - 1].key;
    return i;
}

static void interval_forget(struct interval *i)
{
    struct intervals *is = i->is;
    struct slice *texts[TEXTS];
    if (i->is_fresh)
        LINE_DEL(&is->fresh, i, next_fresh, prev_fresh);
    texts_of(&i->cause, texts);
    for (int k = 0; k < TEXTS; k++)
        free_text(texts[k]);
    map_del(&is->by_cause, i->key);
    free(i);
}

static void write_as(struct interval *i, int64_t end_ms)
{
    struct intervals *is = i->is;
    if (i->is_fresh)
        LINE_DEL(&is->fresh, i, next_fresh, prev_fresh);
    i->is_fresh = false;
    if (i->is_written && i->written_end_ms == end_ms && i->written_until_ms == i->cause.until_ms)
        return;
    i->is_written = true;
    i->written_end_ms = end_ms;
    i->written_until_ms = i->cause.until_ms;
    is->conf.write(is->conf.data, &i->cause, i->begin_ms, end_ms);
}

static void write_one(struct interval *i)
{
    write_as(i, i->end_ms);
}

/* One whose end is in the journal has come back since: it is said to be open, whether it is or not, until it
 * has lingered out. So it is said three times at most, however often it comes and goes. */
static void write_fresh(struct interval *i)
{
    write_as(i, i->is_written && i->written_end_ms ? 0 : i->end_ms);
}

static void on_timer(struct loop_timer *t);

static void arm(struct intervals *is)
{
    int64_t due = INT64_MAX, now = loop_now_ms(is->conf.loop);
    if (is->fresh.first)
        due = is->fresh.first->fresh_since + INTERVAL_WRITE_MS;
    if (is->ending.first && is->ending.first->ending_since + INTERVAL_LINGER_MS < due)
        due = is->ending.first->ending_since + INTERVAL_LINGER_MS;
    if (due != INT64_MAX && (!loop_timer_active(&is->timer) || loop_timer_due_ms(&is->timer) > due))
        loop_timer_start(is->conf.loop, &is->timer, due > now ? due - now : 0, on_timer);
}

static void freshen(struct interval *i)
{
    struct intervals *is = i->is;
    if (i->is_fresh)
        return;
    i->is_fresh = true;
    i->fresh_since = loop_now_ms(is->conf.loop);
    LINE_ADD(&is->fresh, i, next_fresh, prev_fresh);
    arm(is);
}

static void on_timer(struct loop_timer *t)
{
    struct intervals *is = CONTAINER(t, struct intervals, timer);
    int64_t now = loop_now_ms(is->conf.loop);
    while (is->fresh.first && now - is->fresh.first->fresh_since >= INTERVAL_WRITE_MS)
        write_fresh(is->fresh.first);
    while (is->ending.first && now - is->ending.first->ending_since >= INTERVAL_LINGER_MS) {
        struct interval *i = is->ending.first;
        LINE_DEL(&is->ending, i, next_ending, prev_ending);
        write_one(i);
        interval_forget(i);
    }
    arm(is);
}

static struct interval *take(struct intervals *is, const struct interval_cause *c, int64_t begin_ms)
{
    put_key(&is->key, c);
    struct interval *i = map_get(&is->by_cause, buf_slice(&is->key));
    if (!i) {
        i = interval_new(is, c);
        i->begin_ms = begin_ms;
        freshen(i);
    } else if (!i->open) {
        LINE_DEL(&is->ending, i, next_ending, prev_ending);
        i->end_ms = 0;
        if (i->is_written && i->written_end_ms)
            freshen(i);
    }
    i->open++;
    return i;
}

struct interval *interval_open(struct intervals *is, const struct interval_cause *c)
{
    if (!is || is->stopped)
        return NULL;
    struct interval *i = take(is, c, loop_wall_ms(is->conf.loop));
    if (c->until_ms)
        interval_until(i, c->until_ms);
    return i;
}

void interval_close(struct interval *i)
{
    if (!i || i->is->stopped)
        return;
    struct intervals *is = i->is;
    INVARIANT(i->open);
    if (--i->open)
        return;
    i->end_ms = loop_wall_ms(is->conf.loop);
    if (i->end_ms < i->begin_ms) /* people set clocks */
        i->end_ms = i->begin_ms;
    /* Nobody waited; but what DNS found is said once. */
    if (i->end_ms == i->begin_ms && !i->is_written && i->cause.kind != INTERVAL_DNS) {
        interval_forget(i);
        return;
    }
    i->ending_since = loop_now_ms(is->conf.loop);
    LINE_ADD(&is->ending, i, next_ending, prev_ending);
    arm(is);
}

void interval_until(struct interval *i, int64_t until_ms)
{
    if (!i || i->is->stopped || i->cause.until_ms == until_ms)
        return;
    i->cause.until_ms = until_ms;
    freshen(i);
}

void interval_found(struct interval *i, struct slice isp, struct slice mx)
{
    if (!i || i->is->stopped)
        return;
    INVARIANT(i->cause.kind == INTERVAL_DNS);
    if (slice_eq(i->cause.isp, isp) && slice_eq(i->cause.mx, mx))
        return;
    free_text(&i->cause.isp);
    free_text(&i->cause.mx);
    set_text(&i->cause.isp, isp);
    set_text(&i->cause.mx, mx);
    i->is_written = false; /* another domain's word may have been said before */
    freshen(i);
}

void interval_past(struct intervals *is, const struct interval_cause *c, int64_t begin_ms)
{
    if (!is || is->stopped)
        return;
    struct interval *i = take(is, c, begin_ms);
    if (begin_ms < i->begin_ms) {
        i->begin_ms = begin_ms;
        i->is_written = false;
        freshen(i);
    }
    interval_close(i);
}

/* --- the process --- */

static void on_alive(struct loop_timer *t)
{
    struct intervals *is = CONTAINER(t, struct intervals, alive);
    is->conf.write(is->conf.data, &is->up->cause, is->up->begin_ms, loop_wall_ms(is->conf.loop));
    loop_timer_start(is->conf.loop, t, INTERVAL_ALIVE_MS, on_alive);
}

void intervals_start(struct intervals *is)
{
    if (is->up || is->stopped)
        return;
    struct interval_cause c = interval_cause(INTERVAL_UP);
    is->up = interval_open(is, &c);
    write_one(is->up); /* before anything else of this process: what comes after it was in its time */
    loop_timer_start(is->conf.loop, &is->alive, INTERVAL_ALIVE_MS, on_alive);
}

void intervals_say(struct intervals *is)
{
    size_t at = 0;
    if (is->stopped)
        return;
    for (struct map_entry *e; (e = map_next(&is->by_cause, &at));)
        write_one(e->value);
}

void intervals_stop(struct intervals *is)
{
    size_t at = 0;
    int64_t now = loop_wall_ms(is->conf.loop);
    if (is->stopped)
        return;
    for (struct map_entry *e; (e = map_next(&is->by_cause, &at));) {
        struct interval *i = e->value;
        if (i->open)
            i->end_ms = now > i->begin_ms ? now : i->begin_ms;
        if (i->end_ms > i->begin_ms || i->is_written || i->cause.kind == INTERVAL_DNS)
            write_one(i);
    }
    is->stopped = true;
    loop_timer_stop(is->conf.loop, &is->timer);
    loop_timer_stop(is->conf.loop, &is->alive);
}

void intervals_free(struct intervals *is)
{
    size_t at = 0;
    if (!is)
        return;
    loop_timer_stop(is->conf.loop, &is->timer);
    loop_timer_stop(is->conf.loop, &is->alive);
    for (struct map_entry *e; (e = map_next(&is->by_cause, &at));)
        interval_forget(e->value);
    map_free(&is->by_cause);
    buf_free(&is->key);
    free(is);
}
