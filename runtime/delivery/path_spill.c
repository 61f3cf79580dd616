/* path_spill.c - which source may carry what: what is above a warm-up's quota spills to the pool that its
 * script names, and pool weights divide the rest among those that could take it now. */
#include "delivery/path_impl.h"
#include "delivery/warmup.h"

#include <stdlib.h>

enum { COUNT_AGAIN_MS = 1000, WEIGHT_MOST = 1000, CREDIT_MOST = 64 };

/* Of a stream at an isp: how much of its mail is more than its own sources can carry today. */
struct spill {
    const struct stream *stream;
    int64_t counted_ms; /* loop_now_ms() */
    uint64_t excess;
    struct spill *next;
};

void path_spills_free(struct isp *isp)
{
    loop_timer_stop(isp->paths->conf.loop, &isp->spill_timer);
    while (isp->spills) {
        struct spill *s = isp->spills;
        isp->spills = s->next;
        free(s);
    }
}

static bool pool_has(const struct conf_pool *pool, uint16_t source)
{
    for (size_t i = 0; i < pool->nmembers; i++)
        if (pool->members[i].source == source)
            return true;
    return false;
}

/* The warm-up of one of the stream's own sources at this isp; NULL: none. */
static const struct conf_warmup *warmup_at(const struct isp *isp, const struct stream *st, size_t i)
{
    const struct path *p = &isp->by_source[st->sources[i]];
    return p->usable ? conf_warmup_of(isp->paths->conf.conf, p->source, isp->conf) : NULL;
}

/* Whether one of its warm-ups here names a pool that has this source. */
static bool is_named(const struct isp *isp, const struct stream *st, uint16_t source)
{
    const struct conf *conf = isp->paths->conf.conf;
    for (size_t i = 0; i < st->nown; i++) {
        const struct conf_warmup *w = warmup_at(isp, st, i);
        if (w && w->overflow != CONF_NONE && pool_has(&conf->pools[w->overflow], source))
            return true;
    }
    return false;
}

static uint64_t room_of(const struct isp *isp, const struct stream *st)
{
    uint64_t room = 0;
    for (size_t i = 0; i < st->nown; i++) {
        const struct conf_warmup *w = warmup_at(isp, st, i);
        if (w)
            room += warmup_room(warmups_get(isp->paths->conf.warmups, w, isp->name, st->conf->domain));
    }
    return room;
}

static uint64_t ready_of(const struct isp *isp, const struct stream *st)
{
    struct queue *q = isp->paths->conf.queue;
    uint64_t n = 0;
    for (uint32_t i = 0; i < queue_lanes(q); i++) {
        const struct lane *lane = queue_lane_at(q, i);
        if (lane->campaign->stream == st && lane->campaign->run == CAMPAIGN_RUNNING &&
            lane->source == UINT16_MAX && lane->domain->site && lane->domain->site->isp == isp)
            n += lane->ready.n;
    }
    return n;
}

static struct spill *spill_of(struct isp *isp, const struct stream *st)
{
    struct loop *loop = isp->paths->conf.loop;
    struct spill *s = isp->spills;
    while (s && s->stream != st)
        s = s->next;
    if (!s) {
        s = mem_zalloc(sizeof *s);
        *s = (struct spill){.stream = st, .counted_ms = INT64_MIN / 2, .next = isp->spills};
        isp->spills = s;
    }
    if (loop_now_ms(loop) - s->counted_ms >= COUNT_AGAIN_MS) {
        uint64_t ready = ready_of(isp, st), room = room_of(isp, st);
        s->excess = ready > room ? ready - room : 0;
        s->counted_ms = loop_now_ms(loop);
    }
    return s;
}

bool path_may_carry(struct isp *isp, const struct stream *st, size_t index)
{
    return index < st->nown ||
           (st->conf && is_named(isp, st, st->sources[index]) && spill_of(isp, st)->excess > 0);
}

/* Shares that wait for a warm-up's next permit look for the pool where there is more now than it can carry.
 */
static void on_spill(struct loop_timer *t)
{
    struct isp *isp = CONTAINER(t, struct isp, spill_timer);
    struct queue *q = isp->paths->conf.queue;
    bool waits = false;
    for (uint32_t i = 0; i < queue_lanes(q); i++) {
        struct share *sh = queue_lane_at(q, i)->share;
        if (!sh || sh->site->isp != isp || !limit_waits(&sh->wait) || !limit_warmup(sh->wait.at))
            continue;
        waits = true;
        if (!spill_of(isp, sh->campaign->stream)->excess)
            continue;
        limit_leave(&sh->wait);
        site_ring_add(sh->site);
    }
    isp_serve(isp);
    if (waits)
        loop_timer_start(isp->paths->conf.loop, t, COUNT_AGAIN_MS, on_spill);
}

void path_spill_later(struct isp *isp, const struct stream *st)
{
    if (st->nsources > st->nown && !loop_timer_active(&isp->spill_timer))
        loop_timer_start(isp->paths->conf.loop, &isp->spill_timer, COUNT_AGAIN_MS, on_spill);
}

/* --- weights --- */

/* Whether this source could have taken the mail that another took. */
static bool could_take(struct path *p, const struct share *sh, const struct stream *st, size_t i)
{
    struct limits *ls = p->paths->limits;
    if (!p->usable || path_is_closed(p) || limit_waits(&p->wait) || !path_has_room(p) ||
        !path_may_carry(p->isp, st, i))
        return false;
    if (!limits_have(ls, LIMIT_SHARE | LIMIT_HOLD_SHARE))
        return true;
    struct limit_who who = path_who_of_mail(p, sh->campaign, sh->site, NULL, NULL);
    return !limits_lacking(ls, LIMIT_SHARE | LIMIT_HOLD_SHARE, &who);
}

static void move_credit(struct stream *st, size_t i, int64_t by)
{
    const int64_t most = (int64_t)CREDIT_MOST * WEIGHT_MOST;
    int64_t v = st->source_credit[i] + by;
    st->source_credit[i] = v > most ? most : v < -most ? -most : v;
}

void path_took_one(struct path *p, const struct share *sh)
{
    struct stream *st = sh->campaign->stream;
    size_t index = path_source_index(st, p->source);
    int64_t whole = 0;
    if (index == SIZE_MAX || st->nsources == 1)
        return;
    if (index >= st->nown)
        spill_of(p->isp, st)->excess -= spill_of(p->isp, st)->excess > 0;
    for (size_t i = 0; i < st->nsources; i++) {
        if (i == index || !could_take(&p->isp->by_source[st->sources[i]], sh, st, i))
            continue;
        move_credit(st, i, st->source_weight[i]);
        whole += st->source_weight[i];
    }
    move_credit(st, index, -whole);
}
