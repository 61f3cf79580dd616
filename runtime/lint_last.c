/* lint_last.c - see lint.h: when the last of a campaign's people would have their turn.
 *
 * Each limit lets what it counts together go one after the other, and so do an isp's rates and warm-ups at
 * each source; the slowest of them says when the last mail leaves. Who is at which isp is known by domain
 * here, without DNS; a limit by mx counts by domain. What else is sent at the same time, and what receivers
 * refuse, makes it later; so it is the least that people have to expect. */
#include "lint_impl.h"
#include "delivery/queue.h"
#include "delivery/site.h"
#include "delivery/warmup.h"

#include <stdlib.h>

enum { DAY_MS = 86400000, DAYS_MOST = 4000 };

struct last {
    const struct lint *l;
    const struct conf_campaign *k;
    const struct conf_stream *stream;
    struct warmups *warmups;
    const struct tz *tz;
    int64_t from_ms; /* UTC */
    size_t nsources;
    /* The slowest so far. */
    double ms;
    const char *kind;
    const struct conf_isp *isp; /* NULL: it is no isp's rate */
    const struct conf_place *place;
};

static void slower(struct last *x, double ms, const char *kind, const struct conf_isp *isp,
                   const struct conf_place *place)
{
    if (ms <= x->ms)
        return;
    x->ms = ms;
    x->kind = kind;
    x->isp = isp;
    x->place = place;
}

/* Mails a day; 0: as many as come. Each mail has one recipient. */
static double mails_per_day(const struct conf_amounts *a)
{
    double rate = a->rate.quota ? (double)a->rate.quota * DAY_MS / (double)a->rate.per_ms : 0;
    double people =
        a->recipients.quota ? (double)a->recipients.quota * DAY_MS / (double)a->recipients.per_ms : 0;
    return rate && (!people || rate < people) ? rate : people;
}

/* --- limits --- */

/* The most people that a limit counts as one. */
static uint64_t counted_as_one(const struct lint_crowd *crowd, unsigned by)
{
    uint64_t most = 0;
    size_t at = 0;
    if (!(by & (1u << CONF_BY_ISP | 1u << CONF_BY_DOMAIN | 1u << CONF_BY_MX)))
        return crowd->people;
    bool whole_isp = !(by & (1u << CONF_BY_DOMAIN | 1u << CONF_BY_MX));
    for (struct map_entry *e; (e = map_next(&crowd->domains, &at));) {
        const struct lint_domain *d = e->value;
        uint64_t n = whole_isp && d->isp != CONF_NONE ? crowd->of_isp[d->isp] : d->people;
        most = n > most ? n : most;
    }
    return most;
}

static void look_at_limits(struct last *x, const struct lint_crowd *crowd)
{
    const struct conf *c = x->l->conf;
    for (size_t i = 0; i < c->nlimits; i++) {
        const struct conf_limit *limit = &c->limits[i];
        double day = mails_per_day(&limit->amounts);
        if (limit->by & 1u << CONF_BY_SOURCE)
            day *= (double)x->nsources;
        if (day && (x->stream->pool != CONF_NONE || !(limit->by & 1u << CONF_BY_POOL)))
            slower(x, (double)counted_as_one(crowd, limit->by) * DAY_MS / day, "limit", NULL, &limit->place);
    }
}

/* --- isps and warm-ups --- */

static struct warmup_state warmed(const struct last *x, const struct conf_warmup *conf,
                                  const struct conf_isp *isp)
{
    const struct warmup *w = NULL;
    if (isp)
        w = warmups_find(x->warmups, x->l->conf->sources[conf->source].name, isp->name, x->stream->domain);
    return w ? w->state : warmup_fresh();
}

/* How long so many people at an isp (NULL: at a receiver that no table names) take, through all sources
 * together, a day after the other; each warm-up is used up every day. */
static void look_at_isp(struct last *x, const struct conf_isp *isp, uint64_t people)
{
    const struct conf *c = x->l->conf;
    const struct conf_warmup *warmup = NULL;
    struct warmup_state *states = mem_zalloc((c->nsources + 1) * sizeof *states);
    double left = (double)people, rate = isp ? mails_per_day(&isp->amounts) : 0, ms = 0;
    int day = 0;
    for (size_t i = 0; i < c->nsources; i++) {
        const struct conf_warmup *w = conf_warmup_of(c, (uint16_t)i, isp);
        if (!lint_stream_uses(c, x->stream, (uint16_t)i))
            continue;
        if (w && w->overflow == CONF_NONE) {
            states[i] = warmed(x, w, isp);
            warmup = w;
        } else if (!rate)
            goto out; /* as many as come */
    }
    for (; left > 0 && day < DAYS_MOST; day++) {
        int64_t at = x->from_ms + (int64_t)day * DAY_MS;
        double all = 0;
        for (size_t i = 0; i < c->nsources; i++) {
            const struct conf_warmup *w = conf_warmup_of(c, (uint16_t)i, isp);
            struct warmup_today today;
            double takes = rate;
            if (!lint_stream_uses(c, x->stream, (uint16_t)i))
                continue;
            if (w && w->overflow == CONF_NONE) {
                warmup_turn(&w->curve, x->tz, &states[i], at);
                warmup_look(&w->curve, x->tz, &states[i], at, &today);
                takes = rate && rate < today.quota ? rate : today.quota;
                states[i].used = states[i].delivered = (uint32_t)takes;
            }
            all += takes;
        }
        ms = left <= all ? (day + left / all) * DAY_MS : (double)DAYS_MOST * DAY_MS;
        left -= all;
    }
    if (warmup)
        slower(x, ms, "warm-up", NULL, &warmup->place);
    else
        slower(x, ms, "rate of isp", isp, &isp->place);
out:
    free(states);
}

static void look_at_isps(struct last *x, const struct lint_crowd *crowd)
{
    uint64_t unlisted = 0;
    size_t at = 0;
    for (size_t i = 0; i < x->l->conf->nisps; i++)
        if (crowd->of_isp[i])
            look_at_isp(x, &x->l->conf->isps[i], crowd->of_isp[i]);
    for (struct map_entry *e; (e = map_next(&crowd->domains, &at));) {
        const struct lint_domain *d = e->value;
        if (d->isp == CONF_NONE && d->people > unlisted)
            unlisted = d->people;
    }
    if (unlisted)
        look_at_isp(x, NULL, unlisted);
}

/* --- what is said --- */

static void put_bound(struct buf *out, const struct last *x)
{
    buf_printf(out, "the %s", x->kind);
    if (x->isp)
        buf_printf(out, " %.*s", SLICE_FMT(x->isp->name));
    if (x->place->file.n)
        buf_printf(out, " at %.*s:%d", SLICE_FMT(x->place->file), x->place->line);
}

void lint_last(const struct lint *l, const struct conf_campaign *k, const struct lint_crowd *crowd,
               struct warmups *warmups)
{
    struct last x = {.l = l,
                     .k = k,
                     .stream = &l->conf->streams[k->stream],
                     .warmups = warmups,
                     .tz = warmups ? warmups_zone(warmups) : NULL,
                     .from_ms = k->at_ms > l->now_ms ? k->at_ms : l->now_ms};
    struct buf bound = {0};
    char a[32], b[32];
    for (size_t i = 0; i < l->conf->nsources; i++)
        x.nsources += lint_stream_uses(l->conf, x.stream, (uint16_t)i);
    look_at_limits(&x, crowd);
    look_at_isps(&x, crowd);
    if (!x.place)
        return;
    put_bound(&bound, &x);
    int64_t takes = (int64_t)x.ms;
    bool ends = k->expire_ms && k->expire_ms != INT64_MAX;
    if (ends && takes > k->expire_ms)
        lint_say(l, LINT_WARNING, &k->place,
                 "campaign \"%.*s\": under %.*s the last of some %llu people would have their turn after "
                 "%s, and mail expires after %s",
                 SLICE_FMT(k->name), SLICE_FMT(buf_slice(&bound)), (unsigned long long)crowd->people,
                 lint_duration(takes, a), lint_duration(k->expire_ms, b));
    else if (!ends)
        lint_say(l, takes > DAY_MS ? LINT_WARNING : LINT_NOTE, &k->place,
                 "campaign \"%.*s\" never expires: under %.*s the last of some %llu people would have "
                 "their turn after %s%s",
                 SLICE_FMT(k->name), SLICE_FMT(buf_slice(&bound)), (unsigned long long)crowd->people,
                 lint_duration(takes, a),
                 takes > DAY_MS ? "; `expire` says from when on nobody wants it any more" : "");
    buf_free(&bound);
}

/* --- the crowd --- */

void lint_crowd_init(struct lint_crowd *crowd, const struct lint *l)
{
    struct hash_key hk;
    loop_random_bytes(hato_loop(l->hato), &hk, sizeof hk);
    *crowd = (struct lint_crowd){.of_isp = mem_zalloc((l->conf->nisps + 1) * sizeof *crowd->of_isp)};
    map_init(&crowd->domains, hk);
}

void lint_crowd_add(struct lint_crowd *crowd, const struct conf *c, struct slice domain, uint64_t people)
{
    struct lint_domain *d = map_get(&crowd->domains, domain);
    if (!d) {
        d = mem_zalloc(sizeof *d);
        d->isp = conf_match_isp(c, domain, NULL, 0);
        map_put(&crowd->domains, domain, d);
    }
    if (d->isp != CONF_NONE)
        crowd->of_isp[d->isp] += people;
    d->people += people;
    crowd->people += people;
}

void lint_crowd_scale(struct lint_crowd *crowd, const struct conf *c, uint64_t people)
{
    double by = crowd->people ? (double)people / (double)crowd->people : 0;
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&crowd->domains, &at));) {
        struct lint_domain *d = e->value;
        d->people = (uint64_t)((double)d->people * by + 0.5);
    }
    for (size_t i = 0; i < c->nisps; i++)
        crowd->of_isp[i] = (uint64_t)((double)crowd->of_isp[i] * by + 0.5);
    crowd->people = people;
}

void lint_crowd_free(struct lint_crowd *crowd)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&crowd->domains, &at));)
        free(e->value);
    map_free(&crowd->domains);
    free(crowd->of_isp);
}

void lint_campaign(struct hato *h, const struct campaign *campaign, lint_fn *fn, void *data)
{
    struct lint l = {
        .hato = h, .conf = hato_conf(h), .now_ms = loop_wall_ms(hato_loop(h)), .fn = fn, .data = data};
    struct lint_crowd crowd;
    lint_crowd_init(&crowd, &l);
    for (const struct lane *lane = campaign->lanes; lane; lane = lane->of_campaign)
        if (lane->ready.n + lane->raw.n)
            lint_crowd_add(&crowd, l.conf, lane->domain->name, lane->ready.n + lane->raw.n);
    lint_last(&l, campaign->conf, &crowd, deliver_warmups(hato_deliver(h)));
    lint_crowd_free(&crowd);
}
