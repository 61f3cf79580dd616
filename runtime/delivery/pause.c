/* pause.c - see pause.h. */
#include "delivery/pause.h"
#include "delivery/deliver_impl.h"

#include <stdio.h>
#include <stdlib.h>

#define ENDED_KEPT_MS ((int64_t)31 * 86400000)

struct pause {
    enum steer_kind kind;
    int64_t since_ms, end_ms; /* UTC; end_ms: of those that are over */
    struct pause *next_ended;
    bool passing; /* only while a cancel is carried out */
    struct interval *waits;
    char words[]; /* "campaign=hello" */
};

static struct pause *pause_get(const struct deliver *d, enum steer_kind kind, struct slice name)
{
    char key[512];
    int n = snprintf(key, sizeof key, "%s=%.*s", steer_kind_name(kind), SLICE_FMT(name));
    return n < (int)sizeof key ? map_get(&d->pauses, slice_of(key, (size_t)n)) : NULL;
}

bool pause_holds(const struct deliver *d, enum steer_kind kind, struct slice name)
{
    return pause_get(d, kind, name) != NULL;
}

int64_t pause_since_ms(const struct deliver *d, enum steer_kind kind, struct slice name)
{
    const struct pause *p = pause_get(d, kind, name);
    return p ? p->since_ms : 0;
}

/* A single message's needs no interval: its record says it all. */
static void pause_waits(struct deliver *d, struct pause *p)
{
    struct interval_cause c = interval_cause(INTERVAL_PAUSE);
    struct slice *const keys[STEER_KINDS] = {[STEER_CAMPAIGN] = &c.campaign,
                                             [STEER_STREAM] = &c.stream,
                                             [STEER_ISP] = &c.isp,
                                             [STEER_DOMAIN] = &c.domain,
                                             [STEER_SOURCE] = &c.source};
    struct buf words = {0};
    if (p->kind == STEER_ID)
        return;
    slice_cut(slice_cstr(p->words), '=', keys[p->kind]);
    if (p->passing)
        buf_printf(&words, "to be ended: people cancelled %s", p->words);
    else
        buf_printf(&words, "because people paused %s", p->words);
    c.why = buf_slice(&words);
    p->waits = interval_open(d->intervals, &c);
    buf_free(&words);
}

void pause_put(struct deliver *d, enum steer_kind kind, struct slice name, int64_t since_ms, bool passing)
{
    char key[512];
    int n = snprintf(key, sizeof key, "%s=%.*s", steer_kind_name(kind), SLICE_FMT(name));
    if (n >= (int)sizeof key || map_get(&d->pauses, slice_of(key, (size_t)n)))
        return;
    struct pause *p = mem_alloc(sizeof *p + (size_t)n + 1);
    *p = (struct pause){.kind = kind, .since_ms = since_ms, .passing = passing};
    memcpy(p->words, key, (size_t)n + 1);
    pause_waits(d, p);
    map_put(&d->pauses, slice_of(key, (size_t)n), p);
}

/* What is over is still asked for by clocks (clock.h), as long as events are kept. */
void pause_del(struct deliver *d, enum steer_kind kind, struct slice name, int64_t end_ms)
{
    struct pause *p = pause_get(d, kind, name), **at = &d->pauses_ended;
    if (!p)
        return;
    interval_close(p->waits);
    map_del(&d->pauses, slice_cstr(p->words));
    if (p->passing || kind == STEER_ID) {
        free(p);
        return;
    }
    p->waits = NULL;
    p->end_ms = end_ms;
    p->next_ended = *at;
    *at = p;
    while (*at && end_ms - (*at)->end_ms < ENDED_KEPT_MS)
        at = &(*at)->next_ended;
    for (struct pause *old; (old = *at);) {
        *at = old->next_ended;
        free(old);
    }
}

static const char *words_of(const struct pause *p)
{
    return p ? p->words : NULL;
}

const char *pause_of_lane(const struct deliver *d, const struct lane *lane)
{
    const struct campaign *c = lane->campaign;
    struct pause *p = NULL;
    if (!d->pauses.live)
        return NULL;
    if (c->number)
        p = pause_get(d, STEER_CAMPAIGN, c->name);
    if (!p)
        p = pause_get(d, STEER_STREAM, c->stream->name);
    if (!p)
        p = pause_get(d, STEER_DOMAIN, lane->domain->name);
    return words_of(p);
}

const char *pause_of_path(const struct deliver *d, const struct path *path)
{
    struct pause *p;
    if (!d->pauses.live)
        return NULL;
    p = pause_get(d, STEER_ISP, path->isp->name);
    return words_of(p ? p : pause_get(d, STEER_SOURCE, d->conf.conf->sources[path->source].name));
}

static bool held_at(const struct pause *p, bool is_over, int64_t at_ms, int64_t *next_ms)
{
    if (!p || (is_over && p->end_ms <= at_ms))
        return false;
    int64_t change = p->since_ms > at_ms ? p->since_ms : is_over ? p->end_ms : *next_ms;
    *next_ms = least_i64(*next_ms, change);
    return p->since_ms <= at_ms;
}

static bool were_paused(const struct deliver *d, const struct slice names[STEER_KINDS], int64_t at_ms,
                        int64_t *next_ms)
{
    bool held = false;
    for (int k = 0; d->pauses.live && k < STEER_KINDS; k++)
        if (names[k].n)
            held |= held_at(pause_get(d, (enum steer_kind)k, names[k]), false, at_ms, next_ms);
    for (const struct pause *p = d->pauses_ended; p; p = p->next_ended) {
        struct slice name;
        slice_cut(slice_cstr(p->words), '=', &name);
        if (names[p->kind].n && slice_eq(names[p->kind], name))
            held |= held_at(p, true, at_ms, next_ms);
    }
    return held;
}

bool pause_held_lane(const struct deliver *d, const struct lane *lane, int64_t at_ms, int64_t *next_ms)
{
    const struct campaign *c = lane->campaign;
    struct slice names[STEER_KINDS] = {[STEER_CAMPAIGN] = c->number ? c->name : SLICE_NONE,
                                       [STEER_STREAM] = c->stream->name,
                                       [STEER_DOMAIN] = lane->domain->name};
    return were_paused(d, names, at_ms, next_ms);
}

bool pause_held_path(const struct deliver *d, const struct path *path, int64_t at_ms, int64_t *next_ms)
{
    struct slice names[STEER_KINDS] = {
        [STEER_ISP] = path->isp->name, [STEER_SOURCE] = d->conf.conf->sources[path->source].name};
    return were_paused(d, names, at_ms, next_ms);
}

void pause_list(struct deliver *d,
                void (*fn)(void *data, enum steer_kind kind, struct slice name, int64_t since_ms), void *data)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&d->pauses, &at));) {
        const struct pause *p = e->value;
        struct slice name;
        slice_cut(slice_cstr(p->words), '=', &name);
        if (!p->passing)
            fn(data, p->kind, name, p->since_ms);
    }
}

void pause_free(struct deliver *d)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&d->pauses, &at));)
        free(e->value);
    map_free(&d->pauses);
    for (struct pause *p; (p = d->pauses_ended);) {
        d->pauses_ended = p->next_ended;
        free(p);
    }
}
