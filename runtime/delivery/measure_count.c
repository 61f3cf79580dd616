/* measure_count.c - see measure_count.h. */
#include "delivery/measure_count.h"
#include "delivery/path.h"
#include "format/mp.h"

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

struct tally_who tally_who(const struct measure_answer *a)
{
    const struct campaign *c = a->campaign;
    return (struct tally_who){.source = a->path->source,
                              .site = a->site ? a->site->key : SLICE_NONE,
                              .from = c && c->stream->conf ? c->stream->conf->domain : SLICE_NONE,
                              .campaign = c && c->number ? c->name : SLICE_NONE};
}

static struct slice what_of(enum act_scope scope, const struct tally_who *who)
{
    switch (scope) {
    case ACT_SITE:
        return who->site;
    case ACT_STREAM:
        return who->from;
    case ACT_CAMPAIGN:
        return who->campaign;
    case ACT_PATH:
    case ACT_SOURCE:
    case ACT_ONE_STREAM: /* no rule is about it */
    case ACT_SCOPES:
        break;
    }
    return SLICE_NONE;
}

struct tally *tally_new(const struct act_rule *r, const struct tally_who *who, int64_t now_ms)
{
    struct tally *t = mem_zalloc(sizeof *t);
    struct slice what = what_of(r->act.scope, who);
    t->rule = mem_dup(r->name.p, r->name.n);
    t->what = mem_dup(what.p, what.n);
    t->scope = r->act.scope;
    t->source = who->source;
    t->bucket_ms = window_ms(r) / TALLY_BUCKETS;
    t->began_ms = t->hit_ms = now_ms;
    t->fresh_ms = INT64_MIN;
    return t;
}

void tally_free(struct tally *t)
{
    free((char *)t->rule);
    free((char *)t->what);
    free(t);
}

bool tally_is_about(const struct tally *t, const struct tally_who *who)
{
    if (t->scope == ACT_PATH || t->scope == ACT_SOURCE)
        return t->source == who->source;
    return t->what[0] && slice_eq(slice_cstr(t->what), what_of(t->scope, who));
}

bool tally_is_of(const struct tally *t, const struct act_rule *r)
{
    return slice_eq(r->name, slice_cstr(t->rule)) && r->act.scope == t->scope &&
           window_ms(r) / TALLY_BUCKETS == t->bucket_ms;
}

static void turn_buckets(struct tally *t, int64_t now_ms)
{
    int64_t at = (now_ms - t->began_ms) / t->bucket_ms, gone = at - t->bucket_at;
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

bool tally_answer(struct tally *t, const struct act_rule *met, int64_t begun_ms, int64_t now_ms)
{
    bool hit = met && tally_is_of(t, met);
    if (begun_ms < t->fresh_ms)
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
    return hit && is_enough(t, met);
}

void tally_start_anew(struct tally *t, int64_t now_ms)
{
    memset(t->bucket, 0, sizeof t->bucket);
    t->recent = 0;
    t->answers = 0;
    t->bucket_at = 0;
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

/* --- the journal --- */

void tally_record(const struct tally *t, int64_t behind_ms, struct buf *room, struct rec_tally *out)
{
    size_t at = room->n;
    *out = (struct rec_tally){.scope = (uint8_t)t->scope,
                              .what = slice_cstr(t->what),
                              .rule = slice_cstr(t->rule),
                              .recent = t->recent,
                              .answers = t->answers,
                              .began_ms = t->began_ms + behind_ms,
                              .hit_ms = t->hit_ms + behind_ms,
                              .fresh_ms = t->fresh_ms == INT64_MIN ? 0 : t->fresh_ms + behind_ms,
                              .bucket_ms = t->bucket_ms,
                              .bucket_at = t->bucket_at,
                              .buckets = SLICE_NONE};
    if (!t->bucket_ms)
        return;
    mp_put_array(room, 2 * TALLY_BUCKETS);
    for (int i = 0; i < TALLY_BUCKETS; i++) {
        mp_put_uint(room, t->bucket[i].hits);
        mp_put_uint(room, t->bucket[i].answers);
    }
    out->buckets = slice_of(room->p + at, room->n - at);
}

static int get_buckets(struct slice raw, struct tally *t)
{
    struct mp m = {raw};
    struct mp_value v;
    if (mp_next(&m, &v) || v.kind != MP_ARRAY || v.n != 2 * TALLY_BUCKETS)
        return ERR_SYNTAX;
    for (int i = 0; i < 2 * TALLY_BUCKETS; i++) {
        if (mp_next(&m, &v) || v.kind != MP_UINT || v.u > UINT32_MAX)
            return ERR_SYNTAX;
        *(i % 2 ? &t->bucket[i / 2].answers : &t->bucket[i / 2].hits) = (uint32_t)v.u;
    }
    return 0;
}

struct tally *tally_restore(const struct rec_tally *r, uint16_t source, int64_t behind_ms)
{
    const int64_t most_ms = INT64_MAX / 4;
    struct tally *t = mem_zalloc(sizeof *t);
    t->rule = mem_dup(r->rule.p, r->rule.n);
    t->what = mem_dup(r->what.p, r->what.n);
    t->scope = (enum act_scope)r->scope;
    t->source = source;
    t->recent = r->recent & RECENT;
    t->answers = r->answers;
    t->began_ms = r->began_ms - behind_ms;
    t->hit_ms = r->hit_ms - behind_ms;
    t->fresh_ms = r->fresh_ms ? r->fresh_ms - behind_ms : INT64_MIN;
    t->bucket_ms = r->bucket_ms;
    t->bucket_at = r->bucket_at;
    t->message = r->message;
    t->message_ms = r->at_ms;
    bool sane = r->scope < ACT_SCOPES && r->rule.n && r->began_ms > 0 && r->began_ms < most_ms &&
                r->hit_ms >= r->began_ms && r->hit_ms < most_ms && r->fresh_ms >= 0 &&
                r->fresh_ms < most_ms && r->bucket_ms >= 0 && r->bucket_ms < most_ms && r->bucket_at >= 0;
    if (sane && (!r->bucket_ms || !get_buckets(r->buckets, t)))
        return t;
    tally_free(t);
    return NULL;
}
