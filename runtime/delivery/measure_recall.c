/* measure_recall.c - what earlier processes counted: tallies, and how much mail was taken in the last hour.
 *
 * All is kept by the name of its isp until that is met, and then goes on where it was, as do measures that
 * give permits one by one: each begin record was one. The records of tallies are written here, too, so that
 * both sides of the journal stand in one place. */
#include "delivery/measure_impl.h"

#include <stdlib.h>

enum { HOUR_MS = 3600000 };

struct recalled {
    struct tally *tallies;
    struct backoff *taken; /* one for each source: only what it took */
    int64_t *begun_ms;     /* the same: UTC, when mail began last */
};

int64_t measures_behind_ms(const struct measures *ms)
{
    return loop_wall_ms(ms->conf.loop) - loop_now_ms(ms->conf.loop);
}

void measures_write_tally(struct measures *ms, const struct tally *t, const struct measure_answer *a,
                          int64_t now_ms)
{
    struct rec_tally r;
    struct buf buckets = {0};
    bool hit = a->rule && tally_is_of(t, a->rule);
    if (!ms->conf.counted || (a->message && t->scope != ACT_SITE && !hit))
        return;
    tally_record(t, measures_behind_ms(ms), &buckets, &r);
    r.at_ms = now_ms + measures_behind_ms(ms);
    r.message = a->message;
    ms->conf.counted(ms->conf.data, &r, t->scope == ACT_SOURCE ? SLICE_NONE : a->path->isp->name,
                     ms->conf.conf->sources[t->source].name);
    buf_free(&buckets);
}

void tallies_free(struct tally **list)
{
    while (*list) {
        struct tally *t = *list;
        *list = t->next;
        tally_free(t);
    }
}

/* --- until its isp is met --- */

void measures_recall_init(struct measures *ms)
{
    struct hash_key hk;
    loop_random_bytes(ms->conf.loop, &hk, sizeof hk);
    map_init(&ms->recalled, hk);
}

static void recalled_free(struct recalled *r)
{
    tallies_free(&r->tallies);
    free(r->taken);
    free(r->begun_ms);
    free(r);
}

void measures_recall_free(struct measures *ms)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&ms->recalled, &at));)
        recalled_free(e->value);
    map_free(&ms->recalled);
}

static struct recalled *recalled_of(struct measures *ms, struct slice isp, bool make)
{
    struct recalled *r = map_get(&ms->recalled, isp);
    if (!r && make) {
        r = mem_zalloc(sizeof *r);
        map_put(&ms->recalled, isp, r);
    }
    return r;
}

/* The next permit follows the last, which for all but a path may have been of other mail there: then it is
 * later than it need be, and never too early. */
static void recall_permit(struct measures *ms, struct measure *m, const struct recalled *r)
{
    bool of_source = m->scope == ACT_PATH || m->scope == ACT_SOURCE;
    int64_t last = 0, since = m->kind == MEASURE_BACKOFF ? m->backoff->row_ms : m->begin_ms;
    for (size_t i = 0; i < ms->conf.conf->nsources; i++)
        if ((!of_source || i == m->source_index) && r->begun_ms[i] > last)
            last = r->begun_ms[i];
    int64_t interval_us = last >= since ? measure_interval_us(m, last) : 0;
    if (interval_us)
        measure_not_before(m, (last - measures_behind_ms(ms)) * 1000 + interval_us);
}

void measures_recall_meet(struct measures *ms, struct isp *isp)
{
    struct recalled *r = map_del(&ms->recalled, isp->name);
    if (!r)
        return;
    isp->tallies = r->tallies;
    r->tallies = NULL;
    for (size_t i = 0; r->taken && i < ms->conf.conf->nsources; i++) {
        struct path *p = &isp->by_source[i];
        const struct backoff *taken = &r->taken[i];
        if (!taken->began)
            continue;
        if (!p->backoff) {
            p->backoff = mem_alloc(sizeof *p->backoff);
            *p->backoff = *taken;
        } else { /* its measure's, which says the rest */
            p->backoff->bucket = taken->bucket;
            memcpy(p->backoff->taken, taken->taken, sizeof taken->taken);
        }
    }
    for (struct measure *m = r->begun_ms ? isp->measures : NULL; m; m = m->next_there)
        recall_permit(ms, m, r);
    for (struct measure *m = r->begun_ms ? ms->of_sources : NULL; m; m = m->next_there)
        recall_permit(ms, m, r);
    recalled_free(r);
}

/* --- the journal --- */

static void drop_same(struct tally **list, const struct tally *t)
{
    for (; *list; list = &(*list)->next) {
        struct tally *old = *list;
        if (old->scope != t->scope || old->source != t->source || strcmp(old->rule, t->rule) ||
            strcmp(old->what, t->what))
            continue;
        *list = old->next;
        tally_free(old);
        return;
    }
}

void measures_recall(struct measures *ms, const struct rec_tally *r, struct slice isp, struct slice source)
{
    uint16_t index = conf_find_source(ms->conf.conf, source);
    bool of_source = r->scope == ACT_PATH || r->scope == ACT_SOURCE;
    struct tally *t = tally_restore(r, of_source ? index : 0, measures_behind_ms(ms));
    if (!t)
        return;
    if ((of_source && index == CONF_NONE) || (t->scope != ACT_SOURCE && !isp.n)) {
        tally_free(t);
        return;
    }
    struct tally **list = t->scope == ACT_SOURCE ? &ms->tallies : &recalled_of(ms, isp, true)->tallies;
    drop_same(list, t);
    t->next = *list;
    *list = t;
}

static void count(struct tally *t, const struct rec_event *ev, const struct tally_who *who, int64_t behind_ms)
{
    int64_t at = ev->at_ms - behind_ms;
    if (t->scope == ACT_SITE || !tally_is_about(t, who))
        return;
    if (t->message != ev->id || t->message_ms != ev->at_ms)
        tally_answer(t, NULL, at - ev->send_ms, at);
}

void measures_recall_begin(struct measures *ms, struct slice isp, struct slice source, int64_t at_ms)
{
    uint16_t index = ms->first && isp.n ? conf_find_source(ms->conf.conf, source) : CONF_NONE;
    if (index == CONF_NONE)
        return; /* there is no measure, or nothing of that source goes any more */
    struct recalled *r = recalled_of(ms, isp, true);
    if (!r->begun_ms)
        r->begun_ms = mem_zalloc(ms->conf.conf->nsources * sizeof *r->begun_ms);
    r->begun_ms[index] = at_ms;
}

void measures_recall_event(struct measures *ms, const struct rec_event *ev, const struct measure_names *names)
{
    bool recent = ev->type == EVENT_DELIVERED && loop_wall_ms(ms->conf.loop) - ev->at_ms <= HOUR_MS;
    if (!names->isp.n || !names->source.n || !ev->phase || ev->phase == REC_PHASE_ASYNC)
        return;
    struct recalled *r = recalled_of(ms, names->isp, recent);
    if (!ms->tallies && !r)
        return;
    struct tally_who who = {.source = conf_find_source(ms->conf.conf, names->source),
                            .site = SLICE_NONE,
                            .from = names->from,
                            .campaign = names->campaign};
    int64_t behind = measures_behind_ms(ms);
    for (struct tally *t = ms->tallies; t; t = t->next)
        count(t, ev, &who, behind);
    for (struct tally *t = r ? r->tallies : NULL; t; t = t->next)
        count(t, ev, &who, behind);
    if (!recent || who.source == CONF_NONE)
        return;
    if (!r->taken)
        r->taken = mem_zalloc(ms->conf.conf->nsources * sizeof *r->taken);
    backoff_took(&r->taken[who.source], ev->at_ms);
}
