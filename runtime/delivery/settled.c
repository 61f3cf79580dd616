/* settled.c - see settled.h. */
#include "delivery/settled.h"
#include "delivery/deliver_impl.h"

#include <stdlib.h>

/* Of one segment of events. */
struct span {
    uint32_t segment;
    uint64_t lowest, highest;
};

struct settled {
    struct span *v; /* by segment */
    size_t n, cap;
};

struct settled *settled_new(void)
{
    return mem_zalloc(sizeof(struct settled));
}

void settled_free(struct settled *s)
{
    if (!s)
        return;
    free(s->v);
    free(s);
}

/* What is wanted of a message: its end, and what came after that. */
static bool is_wanted(const struct rec_event *ev)
{
    return rec_event_ends(ev->type) || ev->type == EVENT_COMPLAINED;
}

void settled_note(struct settled *s, uint32_t segment, const struct rec_event *ev)
{
    size_t at = s->n;
    if (!is_wanted(ev))
        return;
    while (at && s->v[at - 1].segment > segment)
        at--;
    if (!at || s->v[at - 1].segment != segment) {
        if (s->n == s->cap) {
            s->cap = s->cap ? s->cap * 2 : 16;
            s->v = mem_realloc(s->v, s->cap * sizeof *s->v);
        }
        memmove(s->v + at + 1, s->v + at, (s->n - at) * sizeof *s->v);
        s->v[at] = (struct span){segment, ev->id, ev->id};
        s->n++;
        return;
    }
    struct span *span = &s->v[at - 1];
    if (ev->id < span->lowest)
        span->lowest = ev->id;
    if (ev->id > span->highest)
        span->highest = ev->id;
}

/* --- the search --- */

struct settled_run {
    struct work_job job;
    struct deliver *d;
    struct settled_search *search;
    uint32_t *segments; /* to be read */
    size_t n, at;
    struct arena arena;
    int status;
    struct err err;
};

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = ((const struct settled_message *)b)->id;
    return x < y ? -1 : x > y;
}

static int on_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    struct settled_run *r = data;
    struct rec rec;
    (void)pos;
    if (kind != SPOOL_EVENTS || rec_get(payload, &rec) || rec.type != REC_EVENT || !is_wanted(&rec.event))
        return 0;
    struct rec_event *ev = &rec.event;
    struct settled_message *m = bsearch(&ev->id, r->search->v, r->search->n, sizeof *m, by_id);
    if (!m)
        return 0;
    m->bounced |= ev->type == EVENT_BOUNCED;
    m->complained |= ev->type == EVENT_COMPLAINED;
    if (!rec_event_ends(ev->type) || m->ended) /* a second end is a late bounce */
        return 0;
    m->ended = true;
    m->ev = *ev;
    struct slice *texts[] = {&m->ev.recipient, &m->ev.text, &m->ev.class_name, &m->ev.rule, &m->ev.meta};
    for (size_t i = 0; i < COUNT(texts); i++)
        *texts[i] = arena_copy(&r->arena, *texts[i]);
    return 0;
}

static void search_run(struct work_job *job, struct work_thread *thread)
{
    struct settled_run *r = CONTAINER(job, struct settled_run, job);
    (void)thread;
    if (r->at < r->n)
        r->status = spool_scan_segment(r->d->conf.fs, r->d->conf.state, r->segments[r->at++], on_record, NULL,
                                       r, &r->err);
}

static void search_done(struct work_job *job)
{
    struct settled_run *r = CONTAINER(job, struct settled_run, job);
    if (!r->status && r->at < r->n && !r->d->ending) {
        work_submit(r->d->pool, job);
        return;
    }
    if (!r->status && r->at < r->n)
        r->status = err_set(&r->err, ERR_CANCELED, "hato ends");
    r->search->done(r->search, r->status, &r->err);
    arena_free(&r->arena);
    free(r->segments);
    free(r);
}

static bool has_any(const struct span *span, const struct settled_search *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].id >= span->lowest && s->v[i].id <= span->highest)
            return true;
    return false;
}

void settled_find(struct deliver *d, struct settled_search *s)
{
    const struct settled *all = d->settled;
    struct settled_run *r = mem_zalloc(sizeof *r);
    r->d = d;
    r->search = s;
    r->segments = mem_alloc((all->n + 1) * sizeof *r->segments);
    for (size_t i = 0; i < all->n; i++)
        if (has_any(&all->v[i], s))
            r->segments[r->n++] = all->v[i].segment;
    r->job.run = search_run;
    r->job.done = search_done;
    work_submit(d->pool, &r->job);
}
