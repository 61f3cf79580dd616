/* wait.c - see wait.h. */
#include "delivery/wait.h"
#include "base/words.h"
#include "delivery/deliver_impl.h"
#include "delivery/measure.h"
#include "delivery/pause.h"
#include "format/text.h"

#include <stdio.h>
#include <stdlib.h>

/* --- one lane --- */

static int64_t timer_wall_ms(const struct deliver *d, const struct loop_timer *t)
{
    return loop_timer_active(t) ? loop_wall_ms(d->loop) + loop_timer_due_ms(t) - loop_now_ms(d->loop) : 0;
}

static bool wait_of_pause(const char *words, struct buf *out)
{
    if (words)
        buf_printf(out, "paused by hand: %s", words);
    return words != NULL;
}

static bool wait_of_campaign(const struct campaign *c, struct buf *out, int64_t *until_ms)
{
    switch (c->run) {
    case CAMPAIGN_HELD:
        buf_adds(out, S("its campaign is held: "));
        text_safe(out, c->why ? slice_cstr(c->why) : S("its stream is not in the script"));
        return true;
    case CAMPAIGN_INTAKE:
        buf_adds(out, c->reading ? S("its campaign is being taken in")
                                 : S("its campaign was not read to its end yet"));
        return true;
    case CAMPAIGN_LATER:
        buf_adds(out, S("its campaign has not begun"));
        *until_ms = c->conf->at_ms;
        return true;
    case CAMPAIGN_STOPPED:
        buf_adds(out, S("its campaign was cancelled"));
        return true;
    case CAMPAIGN_RUNNING:
        break;
    }
    return false;
}

static bool wait_of_domain(const struct deliver *d, const struct domain *dom, struct buf *out,
                           int64_t *until_ms)
{
    const struct site *site = dom->site;
    switch (dom->state) {
    case DOMAIN_NEW:
    case DOMAIN_QUEUED:
    case DOMAIN_ASKING:
        buf_printf(out, "DNS is being asked where mail for %.*s goes", SLICE_FMT(dom->name));
        return true;
    case DOMAIN_WAITING:
        buf_printf(out, "DNS does not say where mail for %.*s goes (%s); it is asked again",
                   SLICE_FMT(dom->name), dom->why ? dom->why : "no answer");
        *until_ms = timer_wall_ms(d, &dom->timer);
        return true;
    case DOMAIN_DEAD:
        buf_printf(out, "%.*s takes no mail (%s): it is being ended", SLICE_FMT(dom->name),
                   dom->why ? dom->why : "DNS");
        return true;
    case DOMAIN_OK:
        break;
    }
    switch (site->state) {
    case SITE_DOWN:
        buf_printf(out, "no host of %.*s can be reached; one is tried again", SLICE_FMT(site->isp->name));
        *until_ms = timer_wall_ms(d, &site->timer);
        return true;
    case SITE_PROBE:
        buf_printf(out, "no host of %.*s could be reached; one connection is trying",
                   SLICE_FMT(site->isp->name));
        return true;
    case SITE_UP:
        break;
    }
    return false;
}

static bool may_carry(const struct isp *isp, const struct lane *lane, const struct path *p)
{
    bool bound = lane->source != UINT16_MAX && isp->by_source[lane->source].usable;
    return p->usable && (!bound || lane->source == p->source);
}

/* Every path that could carry it is held, or has no connection to spare. */
static bool wait_of_paths(const struct deliver *d, const struct isp *isp, const struct lane *lane,
                          struct buf *out, int64_t *until_ms)
{
    const struct stream *st = lane->campaign->stream;
    const struct measure *held = NULL;
    const struct path *full = NULL, *paused = NULL;
    const struct limit *limit = path_waits_for(isp, lane);
    if (isp->beyond && st->unproven) {
        buf_printf(out, "the DKIM keys of stream %.*s are being looked for in DNS", SLICE_FMT(st->name));
        return true;
    }
    if (limit) {
        int64_t due = limit_due_ms(limit), now = loop_now_ms(d->loop);
        buf_adds(out, due != INT64_MAX             ? S("its turn: ")
                      : limit_is_of_opening(limit) ? S("for a connection to end: ")
                                                   : S("for a connection to be done with such mail: "));
        limit_text(limit, out);
        *until_ms = due == INT64_MAX ? 0 : loop_wall_ms(d->loop) + (due > now ? due - now : 0);
        return true;
    }
    for (size_t i = 0; i < st->nsources; i++) {
        const struct path *p = &isp->by_source[st->sources[i]];
        if (!may_carry(isp, lane, p))
            continue;
        int64_t until;
        const struct measure *m = measures_holder(p, lane->domain->site, lane->campaign, &until);
        if (pause_of_path(d, p)) {
            paused = p;
        } else if (!m) {
            full = p;
        } else if (!held || until < *until_ms) {
            held = m;
            *until_ms = until;
        }
    }
    if (full) {
        *until_ms = 0;
        buf_printf(out, "its turn at %.*s: %u of %u connection%s from %.*s in use", SLICE_FMT(isp->name),
                   full->sessions, path_connections_now(full), path_connections_now(full) == 1 ? "" : "s",
                   SLICE_FMT(d->conf.conf->sources[full->source].name));
        return true;
    }
    if (held) {
        if (*until_ms == INT64_MAX)
            *until_ms = 0;
        measure_text(out, held);
        return true;
    }
    if (paused)
        return wait_of_pause(pause_of_path(d, paused), out);
    for (size_t i = 0; i < st->nown; i++) {
        const struct conf_source *source = &d->conf.conf->sources[st->sources[i]];
        char text[IP_TEXT];
        if (!paths_source_is_absent(d->paths, st->sources[i]))
            continue;
        buf_printf(out, "source %.*s is set aside: its address %s is not on this machine",
                   SLICE_FMT(source->name), ip_text(&source->address, text).p);
        return true;
    }
    buf_printf(out, "no source of stream %.*s fits the address family of %.*s", SLICE_FMT(st->name),
               SLICE_FMT(isp->name));
    return true;
}

int64_t wait_of_lane(struct deliver *d, const struct lane *lane, struct buf *out)
{
    int64_t until_ms = 0;
    if (wait_of_pause(pause_of_lane(d, lane), out) || wait_of_campaign(lane->campaign, out, &until_ms))
        return until_ms;
    if (d->draining) {
        buf_adds(out, S("hato is stopping"));
    } else if (spool_status(d->spool)) {
        buf_adds(out, S("the journal cannot be written: nothing new begins"));
    } else if (!wait_of_domain(d, lane->domain, out, &until_ms)) {
        wait_of_paths(d, lane->domain->site->isp, lane, out, &until_ms);
    }
    return until_ms;
}

int wait_of_message(struct deliver *d, uint64_t id, struct buf *out, int64_t *until_ms, bool *in_flight)
{
    const struct q_entry *e = queue_get(d->queue, id);
    const struct q_memo *m = e ? queue_memo(d->queue, id, false) : NULL;
    *until_ms = 0;
    *in_flight = false;
    if (!e || e->lane == UINT32_MAX)
        return ERR_NOTFOUND;
    const struct lane *lane = queue_lane_at(d->queue, e->lane);
    switch ((enum q_state)e->state) {
    case Q_FREE:
        return ERR_NOTFOUND;
    case Q_CLAIMED:
        *in_flight = true;
        return 0;
    case Q_HELD:
        text_safe(out, slice_cstr(m && m->held ? m->held : "it is held"));
        return 0;
    case Q_RETRY:
        /* What holds its lane then holds it too. */
        if (wait_of_pause(pause_of_lane(d, lane), out) || wait_of_campaign(lane->campaign, out, until_ms))
            return 0;
        buf_adds(out, m->past.attempts ? S("its next try has its time") : S("its time has not come"));
        *until_ms = m->node.key;
        return 0;
    case Q_HOOK:
        buf_adds(out, S("the message hook runs for it"));
        return 0;
    case Q_RAW:
    case Q_READY:
    case Q_STATES:
        break;
    }
    *until_ms = wait_of_lane(d, lane, out);
    return 0;
}

/* --- measures --- */

/* What is ready and might go by this measure's path now if it were not there. */
static void add_waiting(struct deliver *d, const struct lane *lane)
{
    const struct site *site = lane->domain->site;
    const struct stream *st = lane->campaign->stream;
    if (!site || (!lane->ready.n && !lane->raw.n))
        return;
    for (struct measure *m = NULL; (m = measures_next(paths_measures(d->paths), m));) {
        bool about = false;
        if (!measure_holds(m))
            continue;
        for (size_t i = 0; i < st->nsources && !about; i++) {
            const struct path *p = &site->isp->by_source[st->sources[i]];
            about = may_carry(site->isp, lane, p) && measure_is_about(m, p, site, lane->campaign);
        }
        if (about)
            m->counted += lane->ready.n + lane->raw.n;
    }
}

void wait_measures(struct deliver *d, void (*fn)(void *data, const struct wait_measure *m), void *data)
{
    struct measures *ms = paths_measures(d->paths);
    bool any = false;
    for (struct measure *m = NULL; (m = measures_next(ms, m));) {
        m->counted = 0;
        any |= measure_holds(m);
    }
    for (uint32_t i = 0; any && i < queue_lanes(d->queue); i++)
        add_waiting(d, queue_lane_at(d->queue, i));
    for (struct measure *m = NULL; (m = measures_next(ms, m));)
        if (measure_holds(m))
            fn(data, &(struct wait_measure){m, m->counted});
}

/* --- counting --- */

struct wait_count {
    struct deliver *d;
    uint64_t id; /* the last one counted */
    struct map rows;
};

struct wait_count *wait_count_new(struct deliver *d)
{
    struct wait_count *w = mem_zalloc(sizeof *w);
    w->d = d;
    map_init(&w->rows, (struct hash_key){0, 0}); /* its keys are our own addresses */
    return w;
}

static struct wait_row *row_of(struct wait_count *w, const struct lane *lane)
{
    const void *key[2] = {lane->domain->site ? lane->domain->site->isp : NULL, lane->campaign};
    struct wait_row *row = map_get(&w->rows, slice_of(key, sizeof key));
    if (row)
        return row;
    row = mem_zalloc(sizeof *row);
    row->isp = lane->domain->site ? lane->domain->site->isp : NULL;
    row->campaign = lane->campaign;
    map_put(&w->rows, slice_of(key, sizeof key), row);
    return row;
}

bool wait_count_step(struct wait_count *w, size_t n)
{
    struct queue *q = w->d->queue;
    while (n--) {
        w->id = queue_next(q, w->id);
        if (!w->id)
            return true;
        const struct q_entry *e = queue_get(q, w->id);
        const struct q_memo *m = queue_memo(q, w->id, false);
        if (e->lane == UINT32_MAX)
            continue;
        const struct lane *lane = queue_lane_at(q, e->lane);
        struct wait_row *row = row_of(w, lane);
        switch ((enum q_state)e->state) {
        case Q_RAW:
        case Q_READY:
        case Q_HOOK:
        case Q_FREE: /* on its way from one to another */
        case Q_STATES:
            row->waiting++;
            row->lane = lane;
            break;
        case Q_CLAIMED:
            row->in_flight++;
            break;
        case Q_RETRY:
            row->deferred++;
            if (!row->due_ms || m->node.key < row->due_ms)
                row->due_ms = m->node.key;
            break;
        case Q_HELD:
            row->held++;
            if (!row->held_why[0])
                snprintf(row->held_why, sizeof row->held_why, "%s", m && m->held ? m->held : "");
            break;
        }
    }
    return false;
}

const struct wait_row *wait_count_row(const struct wait_count *w, size_t *at)
{
    struct map_entry *e = map_next(&w->rows, at);
    return e ? e->value : NULL;
}

void wait_count_free(struct wait_count *w)
{
    size_t at = 0;
    if (!w)
        return;
    for (struct map_entry *e; (e = map_next(&w->rows, &at));)
        free(e->value);
    map_free(&w->rows);
    free(w);
}

/* --- limits, in words --- */

struct waiting {
    const struct limit *limit;
    uint64_t n;
};

static int by_limit(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct waiting *)a)->limit,
              y = (uintptr_t)((const struct waiting *)b)->limit;
    return x < y ? -1 : x > y;
}

static int by_size(const void *a, const void *b)
{
    const struct waiting *x = a, *y = b;
    if (x->n != y->n)
        return x->n < y->n ? 1 : -1;
    int64_t dx = limit_due_ms(x->limit), dy = limit_due_ms(y->limit);
    return dx < dy ? -1 : dx > dy;
}

/* One entry a limit; returns how many. */
static size_t gather(struct deliver *d, struct waiting **out)
{
    struct waiting *v = NULL;
    size_t n = 0, cap = 0, at = 0, kept = 0;
    for (struct domain *dom; (dom = sites_next_domain(d->sites, &at));) {
        for (struct lane *lane = dom->lanes; dom->site && lane; lane = lane->of_domain) {
            const struct limit *l = lane->ready.n ? path_waits_for(dom->site->isp, lane) : NULL;
            if (!l || lane->campaign->run != CAMPAIGN_RUNNING)
                continue;
            if (n == cap) {
                cap = cap ? cap * 2 : 64;
                v = mem_realloc(v, cap * sizeof *v);
            }
            v[n++] = (struct waiting){l, (uint64_t)lane->ready.n + lane->raw.n};
        }
    }
    if (n)
        qsort(v, n, sizeof *v, by_limit);
    for (size_t i = 0; i < n; i++) {
        if (kept && v[kept - 1].limit == v[i].limit)
            v[kept - 1].n += v[i].n;
        else
            v[kept++] = v[i];
    }
    if (kept)
        qsort(v, kept, sizeof *v, by_size);
    *out = v;
    return kept;
}

static void put_due(const struct deliver *d, const struct limit *l, struct buf *out)
{
    int64_t due = limit_due_ms(l), now = loop_now_ms(d->loop);
    if (due == INT64_MAX) {
        buf_adds(out, limit_is_of_opening(l) ? S(", until a connection ends")
                                             : S(", until a connection is done with such mail"));
    } else if (due > now) {
        buf_adds(out, S(", next permit in "));
        words_duration_text(out, due - now);
    }
}

void wait_limits_text(struct deliver *d, size_t most, struct buf *out)
{
    struct waiting *v = NULL;
    size_t n = gather(d, &v);
    uint64_t rest = 0;
    for (size_t i = 0; i < n; i++) {
        if (i >= most) {
            rest += v[i].n;
            continue;
        }
        text_count(out, v[i].n);
        buf_adds(out, v[i].n == 1 ? S(" waits for the limit ") : S(" wait for the limit "));
        limit_text(v[i].limit, out);
        put_due(d, v[i].limit, out);
        buf_addc(out, '\n');
    }
    if (rest) {
        text_count(out, rest);
        buf_adds(out, rest == 1 ? S(" more waits for ") : S(" more wait for "));
        text_count(out, n - most);
        buf_adds(out, n - most == 1 ? S(" other limit\n") : S(" other limits\n"));
    }
    free(v);
}
