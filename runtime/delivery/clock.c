/* clock.c - see clock.h. */
#include "delivery/clock.h"
#include "delivery/deliver_impl.h"
#include "delivery/measure.h"
#include "delivery/pause.h"

/* Each: whether it kept mail back at at_ms; *next_ms comes down to when that changed. */
static bool source_was_shut(struct deliver *d, const struct lane *lane, uint16_t source, int64_t at_ms,
                            int64_t *next_ms)
{
    const struct site *site = lane->domain->site;
    const struct path *p = &site->isp->by_source[source];
    const struct conf_warmup *w = d->warmups ? conf_warmup_of(d->conf.conf, source, site->isp->conf) : NULL;
    bool shut = measures_were_closed(paths_measures(d->paths), p, site, lane->campaign, at_ms, next_ms);
    shut |= pause_held_path(d, p, at_ms, next_ms);
    shut |= w && warmups_were_closed(d->warmups, w, at_ms, next_ms);
    return shut;
}

static bool was_shut(struct deliver *d, const struct lane *lane, int64_t at_ms, int64_t *next_ms)
{
    const struct stream *st = lane->campaign->stream;
    bool bound = lane->source != UINT16_MAX;
    size_t n = bound ? 1 : st->nsources, shut = 0;
    if (pause_held_lane(d, lane, at_ms, next_ms))
        return true;
    for (size_t i = 0; lane->domain->site && i < n; i++)
        shut += source_was_shut(d, lane, bound ? lane->source : st->sources[i], at_ms, next_ms);
    return n && shut == n;
}

/* How much of this time the lane's mail was not kept back. From one moment at which something begins or ends
 * to the next. */
static int64_t open_ms(struct deliver *d, const struct lane *lane, int64_t from_ms, int64_t to_ms)
{
    int64_t sum = 0;
    for (int64_t at = from_ms, next; at < to_ms; at = next) {
        next = to_ms;
        if (!was_shut(d, lane, at, &next))
            sum += next - at;
        INVARIANT(next > at);
    }
    return sum;
}

static int64_t outage_ms(struct deliver *d, const struct lane *lane, const struct outage *o, int64_t from_ms,
                         int64_t to_ms)
{
    if (!o->from_ms)
        return 0;
    return open_ms(d, lane, most_i64(o->before_from_ms, from_ms), least_i64(o->before_to_ms, to_ms)) +
           open_ms(d, lane, most_i64(o->from_ms, from_ms), o->to_ms ? least_i64(o->to_ms, to_ms) : to_ms);
}

/* While it waits to be sent: only as far as that is because nobody can be reached. */
static int64_t ready_ms(struct deliver *d, const struct lane *lane, int64_t from_ms, int64_t to_ms)
{
    const struct domain *dom = lane->domain;
    if (from_ms < lane->campaign->runs_since_ms)
        from_ms = lane->campaign->runs_since_ms;
    return outage_ms(d, lane, &dom->outage, from_ms, to_ms) +
           (dom->site ? outage_ms(d, lane, &dom->site->outage, from_ms, to_ms) : 0);
}

static int64_t counts(void *data, const struct q_entry *e, enum q_state in, int64_t from_ms, int64_t to_ms)
{
    struct deliver *d = data;
    switch (in) {
    case Q_FREE:
    case Q_CLAIMED:
        return to_ms - from_ms;
    case Q_RETRY:
        return open_ms(d, queue_lane_at(d->queue, e->lane), from_ms, to_ms);
    case Q_READY:
        return ready_ms(d, queue_lane_at(d->queue, e->lane), from_ms, to_ms);
    case Q_RAW:
    case Q_HOOK:
    case Q_HELD:
    case Q_STATES:
        break;
    }
    return 0;
}

void clock_start(struct deliver *d)
{
    queue_clock(d->queue, counts, d);
}

bool clock_is_over(struct deliver *d, uint64_t id)
{
    return queue_clock_ms(d->queue, id) >= d->conf.conf->retry.give_up_ms;
}
