/* chain.c - see chain.h. */
#include "delivery/chain.h"
#include "format/addr.h"

#include <stdlib.h>

/* --- gathering --- */

static struct chain_step *step_add(struct chain *c)
{
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 4;
        c->v = mem_realloc(c->v, c->cap * sizeof *c->v);
    }
    return &c->v[c->n++];
}

static void know(struct chain *c, struct slice recipient, uint32_t campaign, uint32_t stream, uint32_t pool,
                 uint32_t from, int64_t accepted_ms)
{
    if (!c->recipient.n && recipient.n)
        c->recipient = slice_of(mem_dup(recipient.p, recipient.n), recipient.n);
    if (campaign)
        c->campaign = campaign;
    if (stream)
        c->stream = stream;
    if (pool)
        c->pool = pool;
    if (from)
        c->from = from;
    if (accepted_ms)
        c->accepted_ms = accepted_ms;
}

void chain_recipient(struct chain *c, const struct rec_recipient *r)
{
    know(c, r->address, r->campaign, r->stream, r->pool, r->domain, r->accepted_ms);
    c->due_ms = r->due_ms;
}

void chain_begin(struct chain *c, const struct rec_begin *b)
{
    *step_add(c) = (struct chain_step){
        .type = CHAIN_BEGIN, .at_ms = b->at_ms, .claim_ms = b->claim_ms, .isp = b->isp, .source = b->source};
}

void chain_event(struct chain *c, const struct rec_event *ev)
{
    know(c, ev->recipient, ev->campaign, ev->stream, ev->pool, ev->domain, ev->accepted_ms);
    *step_add(c) = (struct chain_step){.type = CHAIN_EVENT,
                                       .at_ms = ev->at_ms,
                                       .next_due_ms = ev->next_due_ms,
                                       .claim_ms = ev->claim_ms,
                                       .isp = ev->isp,
                                       .source = ev->source,
                                       .measure = ev->measure,
                                       .event = ev->type};
}

/* The record has no time of its own: people ask for a try at once. */
void chain_due(struct chain *c, const struct rec_due *d)
{
    *step_add(c) = (struct chain_step){.type = CHAIN_DUE, .at_ms = d->due_ms, .next_due_ms = d->due_ms};
}

void chain_steer(struct chain *c, const struct rec_steer *s)
{
    struct reason *last = c->npaused ? &c->paused[c->npaused - 1] : NULL;
    if (!s->paused) {
        if (last && last->end_ms == INT64_MAX)
            last->end_ms = s->at_ms;
        return;
    }
    if (last && last->end_ms == INT64_MAX)
        return;
    c->paused = mem_realloc(c->paused, (c->npaused + 1) * sizeof *c->paused);
    c->paused[c->npaused++] =
        (struct reason){INTERVAL_PAUSE, s->at_ms, INT64_MAX, S("because people paused this message"), 0};
}

void chain_free(struct chain *c)
{
    if (c->recipient.n)
        free((char *)c->recipient.p);
    c->recipient = SLICE_NONE;
    free(c->v);
    free(c->paused);
    c->v = NULL;
    c->paused = NULL;
    c->n = c->cap = c->npaused = 0;
}

/* --- who it is --- */

void chain_who(const struct chain *c, size_t at, const struct reasons *rs, const struct event_names *names,
               struct arena *scratch, struct reasons_who *out)
{
    struct addr addr;
    struct slice isp = SLICE_NONE, mx = SLICE_NONE;
    *out = (struct reasons_who){.isp = SLICE_NONE,
                                .mx = SLICE_NONE,
                                .source = SLICE_NONE,
                                .stream = event_name(names, NAME_STREAM, c->stream),
                                .pool = event_name(names, NAME_POOL, c->pool),
                                .campaign = event_name(names, NAME_CAMPAIGN, c->campaign),
                                .domain = SLICE_NONE,
                                .from = event_name(names, NAME_DOMAIN, c->from)};
    if (!addr_parse(c->recipient, scratch, &addr, NULL))
        out->domain = addr.domain_ascii;
    if (out->domain.n && reasons_place(rs, out->domain, &isp, &mx)) {
        out->isp = isp;
        out->mx = mx;
    }
    for (size_t i = at < c->n ? at : c->n; i < c->n; i++) {
        if (!c->v[i].isp && !c->v[i].source)
            continue;
        if (c->v[i].isp)
            out->isp = event_name(names, NAME_ISP, c->v[i].isp);
        out->source = event_name(names, NAME_SOURCE, c->v[i].source);
        return;
    }
    /* A retry goes from where the first attempt did. */
    for (size_t i = at < c->n ? at : c->n; i-- > 0;) {
        if (!c->v[i].source)
            continue;
        out->isp = event_name(names, NAME_ISP, c->v[i].isp);
        out->source = event_name(names, NAME_SOURCE, c->v[i].source);
        return;
    }
}

/* --- its time --- */

struct walk {
    const struct chain *c;
    const struct reasons *rs;
    const struct event_names *names;
    struct arena arena;
    size_t step;
    void (*fn)(void *data, size_t step, const struct reason *r);
    void *data;
};

static void on_reason(void *data, const struct reason *r)
{
    struct walk *w = data;
    w->fn(w->data, w->step, r);
}

static void tell(struct walk *w, unsigned kind, int64_t from_ms, int64_t to_ms, struct slice why)
{
    if (from_ms < to_ms)
        w->fn(w->data, w->step, &(struct reason){kind, from_ms, to_ms, why, 0});
}

/* It could go, and did not. */
static void waited(struct walk *w, int64_t from_ms, int64_t to_ms)
{
    struct reasons_who who;
    if (from_ms >= to_ms)
        return;
    arena_reset(&w->arena);
    chain_who(w->c, w->step, w->rs, w->names, &w->arena, &who);
    reasons_of(w->rs, &who, w->c->paused, w->c->npaused, from_ms, to_ms, on_reason, w);
}

/* From one thing that happened to it to the next, when it was neither sent nor ended. */
static void rested(struct walk *w, int64_t from_ms, int64_t due_ms, int64_t claim_ms, int64_t to_ms,
                   bool tried)
{
    int64_t ready = least_i64(most_i64(from_ms, due_ms), to_ms), taken = most_i64(ready, to_ms - claim_ms);
    tell(w, REASON_TIME, from_ms, ready, tried ? S("for the time of its next try") : S("for its own time"));
    waited(w, ready, taken);
    tell(w, REASON_CLAIM, taken, to_ms,
         S("on the connection that took it up: for that to open, or for the one before it"));
}

void chain_walk(const struct chain *c, const struct reasons *rs, const struct event_names *names,
                int64_t now_ms, void (*fn)(void *data, size_t step, const struct reason *r), void *data)
{
    struct walk w = {.c = c, .rs = rs, .names = names, .fn = fn, .data = data};
    int64_t from = c->accepted_ms, due = c->due_ms;
    enum { RESTS, FLIES, IS_HELD, IS_OVER } state = RESTS;
    bool tried = false;
    for (size_t i = 0; i <= c->n && state != IS_OVER; i++) {
        const struct chain_step *s = i < c->n ? &c->v[i] : NULL;
        int64_t to = s ? s->at_ms : now_ms, cut = reasons_run_end_ms(rs, from);
        w.step = i;
        if (!from && s) /* its acceptance is no longer in the journal */
            from = to;
        if (s && s->type == CHAIN_EVENT && s->event == EVENT_ACCEPTED)
            continue;
        bool goes_on = s && s->type == CHAIN_EVENT; /* in the process in which it began */
        switch (state) {
        case RESTS:
            rested(&w, from, due, s ? s->claim_ms : 0, to, tried);
            break;
        case FLIES:
            cut = goes_on ? to : least_i64(cut, to);
            tell(&w, REASON_ATTEMPT, from, cut, S("for its attempt to end"));
            rested(&w, cut, 0, s ? s->claim_ms : 0, to, tried);
            break;
        case IS_HELD:
            cut = least_i64(cut, to);
            tell(&w, REASON_HELD, from, cut, S("because it was held"));
            rested(&w, cut, 0, s ? s->claim_ms : 0, to, tried);
            break;
        case IS_OVER:
            break;
        }
        if (!s)
            break;
        from = most_i64(from, to);
        due = s->next_due_ms;
        tried |= s->type == CHAIN_BEGIN || s->type == CHAIN_EVENT;
        if (s->type == CHAIN_BEGIN)
            state = FLIES;
        else if (s->type == CHAIN_DUE)
            state = RESTS;
        else if (rec_event_ends(s->event))
            state = IS_OVER;
        else if (s->event == EVENT_HELD)
            state = IS_HELD;
        else
            state = RESTS;
    }
    arena_free(&w.arena);
}

static void on_unnamed(void *data, size_t step, const struct reason *r)
{
    int64_t *sum = data;
    (void)step;
    if (r->kind == REASON_NONE)
        *sum += r->end_ms - r->begin_ms;
}

int64_t chain_unnamed_ms(const struct chain *c, const struct reasons *rs, const struct event_names *names,
                         int64_t now_ms)
{
    int64_t sum = 0;
    chain_walk(c, rs, names, now_ms, on_unnamed, &sum);
    return sum;
}
