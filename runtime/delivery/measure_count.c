/* measure_count.c - see measure_count.h. */
#include "delivery/measure_count.h"
#include "delivery/path.h"

#include <stdlib.h>

enum { HOUR_MS = 3600000, MINUTE_MS = 60000, RATE_ANSWERS = 5 };
static const uint32_t RECENT = (1u << TALLY_ANSWERS) - 1;

/* How many hits a rule wants: not fewer than three unless it says so. */
static uint32_t hits_wanted(const struct act_rule *r)
{
    if (r->least || r->after)
        return r->least > r->after ? r->least : r->after;
    return TALLY_HITS;
}

static bool says_how_many(const struct act_rule *r)
{
    return r->least || r->after;
}

/* Its window, ms; 0: the last 20 answers. */
static int64_t window_ms(const struct act_rule *r)
{
    if (r->within_ms)
        return r->within_ms;
    bool more = hits_wanted(r) > TALLY_ANSWERS || (r->act.kind == ACT_PAUSE && !says_how_many(r));
    return more ? HOUR_MS : 0;
}

bool tally_is_needless(const struct act_rule *r)
{
    return says_how_many(r) && hits_wanted(r) == 1 && !r->share_ppm;
}

struct tally *tally_new(const struct act_rule *r, const struct measure_answer *a, int64_t now_ms)
{
    struct tally *t = mem_zalloc(sizeof *t);
    t->rule = mem_dup(r->name.p, r->name.n);
    t->scope = r->act.scope;
    t->source = a->path->source;
    t->site = a->site;
    t->campaign = a->campaign;
    t->domain = a->campaign && a->campaign->stream->conf ? a->campaign->stream->conf->domain : SLICE_NONE;
    t->bucket_ms = window_ms(r) / TALLY_BUCKETS;
    t->began_ms = t->hit_ms = now_ms;
    t->fresh_ms = INT64_MIN;
    return t;
}

void tally_free(struct tally *t)
{
    free((char *)t->rule);
    free(t);
}

bool tally_is_about(const struct tally *t, const struct measure_answer *a)
{
    switch (t->scope) {
    case ACT_PATH:
    case ACT_SOURCE:
        return t->source == a->path->source;
    case ACT_SITE:
        return t->site == a->site;
    case ACT_STREAM:
        return a->campaign && a->campaign->stream->conf &&
               slice_eq(t->domain, a->campaign->stream->conf->domain);
    case ACT_CAMPAIGN:
        return t->campaign == a->campaign;
    case ACT_SCOPES:
        break;
    }
    return false;
}

static void turn_buckets(struct tally *t, int64_t now_ms)
{
    int64_t at = now_ms / t->bucket_ms, gone = at - t->bucket_at;
    for (int64_t i = 0; i < gone && i < TALLY_BUCKETS; i++)
        t->bucket[(at - i) % TALLY_BUCKETS].hits = t->bucket[(at - i) % TALLY_BUCKETS].answers = 0;
    if (gone > 0)
        t->bucket_at = at;
}

static bool is_enough(const struct tally *t, const struct act_rule *r)
{
    uint64_t hits = 0, answers = 0;
    if (!t->bucket_ms)
        return (uint32_t)__builtin_popcount(t->recent) >= hits_wanted(r);
    for (int i = 0; i < TALLY_BUCKETS; i++) {
        hits += t->bucket[i].hits;
        answers += t->bucket[i].answers;
    }
    if (hits < hits_wanted(r))
        return false;
    if (!says_how_many(r) && answers < (r->act.kind == ACT_PAUSE ? TALLY_PAUSE_ANSWERS : TALLY_ANSWERS))
        return false;
    uint64_t share =
        r->share_ppm || says_how_many(r) ? r->share_ppm : (uint64_t)ACT_WHOLE * TALLY_HITS / TALLY_ANSWERS;
    return hits * ACT_WHOLE >= answers * share;
}

bool tally_answer(struct tally *t, const struct measure_answer *a, int64_t now_ms)
{
    bool hit = a->rule && slice_eq(a->rule->name, slice_cstr(t->rule));
    if ((a->begun_ms ? a->begun_ms : now_ms) < t->fresh_ms)
        return false;
    t->answers++;
    t->recent = (t->recent << 1 | hit) & RECENT;
    if (t->bucket_ms) {
        turn_buckets(t, now_ms);
        t->bucket[t->bucket_at % TALLY_BUCKETS].answers++;
        t->bucket[t->bucket_at % TALLY_BUCKETS].hits += hit;
    }
    if (hit)
        t->hit_ms = now_ms;
    return hit && is_enough(t, a->rule);
}

void tally_start_anew(struct tally *t, int64_t now_ms)
{
    memset(t->bucket, 0, sizeof t->bucket);
    t->recent = 0;
    t->answers = 0;
    t->began_ms = now_ms;
    t->fresh_ms = now_ms;
}

bool tally_is_stale(const struct tally *t, int64_t now_ms)
{
    int64_t keep = t->bucket_ms * TALLY_BUCKETS;
    return now_ms - t->hit_ms > (keep > HOUR_MS ? keep : HOUR_MS);
}

int64_t tally_per_day(const struct tally *t, int64_t now_ms)
{
    int64_t passed = now_ms - t->began_ms;
    if (t->answers < RATE_ANSWERS)
        return 0;
    return (int64_t)t->answers * 24 * HOUR_MS / (passed > MINUTE_MS ? passed : MINUTE_MS);
}
