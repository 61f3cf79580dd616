/* compact.c - keeping the journal small, and nothing personal in it for longer than it is needed.
 *
 * Nothing is settled for longer than 20 h without its recipient segment being sealed and rewritten: settled
 * recipients become bare keys (once stays once), the others stay. What a message hook changed, kept in begin
 * records, goes in the same time. Event segments are sealed after a day and go when their youngest event is
 * older than `keep`, but for the events of what is still queued. What is empty then is dropped. */
#include "delivery/deliver_impl.h"
#include "delivery/measure.h"

enum { COMPACT_EVERY_MS = 600000, VALUES_KEPT_MS = 20 * 3600000, EDITS_AGAIN_MS = 3 * 3600000 };
#define EVENTS_AGAIN_MS ((int64_t)86400000) /* one events segment has a day at most */

static enum spool_keep keep_recipient(struct spool_rewrite *rw, struct spool_pos pos, struct slice payload,
                                      struct buf *replacement)
{
    const struct deliver *d = rw->data;
    struct rec r;
    (void)pos;
    if (rec_get(payload, &r) || r.type != REC_RECIPIENT ||
        keyset_has(&d->rewrite_live, (struct hash128){r.recipient.id, 1}))
        return SPOOL_KEEP;
    if (!r.recipient.has_key && r.recipient.id != d->rewrite_last_id)
        return SPOOL_DROP;
    /* The last id is kept also without a key: no id, and so no Message-ID, is given twice. */
    struct rec key = {.type = REC_KEY};
    key.key = (struct rec_key){.id = r.recipient.id, .campaign = r.recipient.campaign};
    if (r.recipient.has_key)
        key.key.key = r.recipient.key;
    rec_put(replacement, &key);
    return SPOOL_REPLACE;
}

static int64_t keep_ms(const struct deliver *d)
{
    return conf_keep_ms(d->conf.conf);
}

static enum spool_keep keep_young(struct deliver *d, int64_t at_ms, int64_t for_ms)
{
    if (loop_wall_ms(d->loop) - at_ms > for_ms)
        return SPOOL_DROP;
    d->rewrite_again = true;
    return SPOOL_KEEP;
}

/* While it holds, what was said of it last must be found again. */
static enum spool_keep keep_measure(struct deliver *d, uint32_t number)
{
    for (const struct measure *m = NULL; (m = measures_next(paths_measures(d->paths), m));) {
        if (m->number != number || !measure_holds(m))
            continue;
        d->rewrite_again = true;
        return SPOOL_KEEP;
    }
    return SPOOL_DROP;
}

/* Of use for as long as events are: no rule counts over more than `keep`. None is younger than its segment's
 * last event, for while hato runs the journal says so every 30 s, and that is one. */
static bool is_of_its_time(enum rec_type type)
{
    return type == REC_SESSION || type == REC_INTERVAL || type == REC_TALLY;
}

/* Events of what is still queued stay, and what campaigns are, and measures that hold. */
static enum spool_keep keep_event(struct spool_rewrite *rw, struct spool_pos pos, struct slice payload,
                                  struct buf *replacement)
{
    struct deliver *d = rw->data;
    struct rec r;
    uint64_t id;
    (void)pos;
    (void)replacement;
    if (rec_get(payload, &r))
        return SPOOL_KEEP;
    if (r.type == REC_BEGIN)
        id = r.begin.id;
    else if (r.type == REC_EVENT)
        id = r.event.id;
    else if (r.type == REC_DUE)
        id = r.due.id;
    else if (r.type == REC_WARMUP) /* one without mail for longer starts anew */
        return keep_young(d, r.warmup.at_ms, WARMUP_FORGET_DAYS * (int64_t)86400000);
    else if (r.type == REC_MEASURE)
        return keep_measure(d, r.measure.number);
    else
        return is_of_its_time(r.type) ? SPOOL_DROP : SPOOL_KEEP;
    if (!keyset_has(&d->rewrite_live, (struct hash128){id, 1}))
        return SPOOL_DROP;
    d->rewrite_again = true;
    return SPOOL_KEEP;
}

/* Edits of a message hook may hold what the recipient's record held: they go when it goes. */
static enum spool_keep keep_without_edits(struct spool_rewrite *rw, struct spool_pos pos,
                                          struct slice payload, struct buf *replacement)
{
    struct deliver *d = rw->data;
    struct rec r;
    (void)pos;
    if (rec_get(payload, &r) || r.type != REC_BEGIN || !r.begin.edits.n)
        return SPOOL_KEEP;
    if (keyset_has(&d->rewrite_live, (struct hash128){r.begin.id, 1})) {
        d->rewrite_again = true;
        return SPOOL_KEEP;
    }
    r.begin.edits = SLICE_NONE;
    rec_put(replacement, &r);
    return SPOOL_REPLACE;
}

static void on_rewritten(struct spool_rewrite *rw, int rc)
{
    struct deliver *d = rw->data;
    struct segment_use *u = segment_use(d, rw->segment, 0);
    if (!rc && rw->filter && !rw->kept && !rw->replaced) {
        rw->filter = NULL; /* nothing is in it now */
        if (!spool_drop(d->spool, rw))
            return;
    }
    d->rewriting = false;
    keyset_free(&d->rewrite_live);
    if (rc) { /* as it was, for the next time */
        u->settled += d->rewrite_was.settled;
        u->first_settled_ms = d->rewrite_was.first_settled_ms;
        u->last_event_ms = d->rewrite_was.last_event_ms;
        u->edits_ms = d->rewrite_was.edits_ms;
        if (rc != ERR_CANCELED)
            notice(d, 1, "compaction of segment %u: %s", rw->segment, err_name(rc));
        return;
    }
    if (rw->filter == keep_without_edits) {
        u->last_event_ms = d->rewrite_was.last_event_ms;
        u->edits_ms = d->rewrite_again ? loop_wall_ms(d->loop) - VALUES_KEPT_MS + EDITS_AGAIN_MS : 0;
    } else if (d->rewrite_again) {
        u->last_event_ms = loop_wall_ms(d->loop) - keep_ms(d) + EVENTS_AGAIN_MS;
    }
    compact_start(d); /* perhaps there is more to do */
}

struct pick {
    struct deliver *d;
    int64_t now;
    struct segment_use *recipients, *events, *edits;
    bool seal[SPOOL_KINDS];
};

/* What is sealed can be rewritten; what is not is sealed when its time comes, so that also little mail leaves
 * nothing behind. */
static void pick_segment(void *data, const struct spool_segment *s)
{
    struct pick *p = data;
    struct segment_use *u = segment_use(p->d, s->sequence, 0);
    if (!u)
        return;
    if (s->kind == SPOOL_RECIPIENTS && u->settled) {
        bool is_late = p->now - u->first_settled_ms > VALUES_KEPT_MS;
        p->seal[s->kind] |= !s->sealed && is_late;
        if (s->sealed && (is_late || !u->live))
            p->recipients = u;
    }
    if (s->kind == SPOOL_EVENTS && u->last_event_ms) {
        p->seal[s->kind] |= !s->sealed && p->now - u->first_event_ms > EVENTS_AGAIN_MS;
        if (s->sealed && p->now - u->last_event_ms > keep_ms(p->d))
            p->events = u;
        bool edits_late = u->edits_ms && p->now - u->edits_ms > VALUES_KEPT_MS;
        p->seal[s->kind] |= !s->sealed && edits_late;
        if (s->sealed && edits_late)
            p->edits = u;
    }
}

static void on_compact_timer(struct loop_timer *t)
{
    compact_start(CONTAINER(t, struct deliver, compact_timer));
}

static void pick_segments(struct pick *p)
{
    p->recipients = p->events = p->edits = NULL;
    spool_segments(p->d->spool, pick_segment, p);
}

void compact_start(struct deliver *d)
{
    struct pick p = {.d = d, .now = loop_wall_ms(d->loop)};
    if (d->rewriting || d->draining)
        return;
    loop_timer_start(d->loop, &d->compact_timer, COMPACT_EVERY_MS, on_compact_timer);
    pick_segments(&p);
    for (int kind = 0; kind < SPOOL_KINDS; kind++)
        if (p.seal[kind])
            spool_seal(d->spool, (enum spool_kind)kind);
    if (p.seal[SPOOL_RECIPIENTS] || p.seal[SPOOL_EVENTS])
        pick_segments(&p);
    /* What a warm-up counted is in begin records: they go when what they came to is safe. */
    if (p.events && warmups_record(d->warmups, p.events->last_event_ms))
        p.events = NULL; /* the next time */
    /* Recipients first: an event must not go before the record of the recipient that it settled. */
    struct segment_use *u = p.recipients ? p.recipients : p.edits ? p.edits : p.events;
    if (!u)
        return;
    uint64_t first = p.recipients ? u->first_id : 1, last = p.recipients ? u->last_id : UINT64_MAX;
    for (uint64_t id = first - 1; (id = queue_next(d->queue, id)) && id <= last;)
        keyset_add(&d->rewrite_live, (struct hash128){id, 1});
    d->rewrite_last_id = d->next_id - 1;
    d->rewrite_again = false;
    d->rewrite_was = *u;
    d->rewrite = (struct spool_rewrite){.segment = u->segment,
                                        .filter = p.recipients ? keep_recipient
                                                  : p.edits    ? keep_without_edits
                                                               : keep_event,
                                        .done = on_rewritten,
                                        .data = d};
    int r = spool_rewrite(d->spool, &d->rewrite);
    if (r) { /* the timer tries again */
        keyset_free(&d->rewrite_live);
        if (r != ERR_AGAIN)
            notice(d, 1, "compaction of segment %u: %s", u->segment, err_name(r));
        return;
    }
    u->settled = 0;
    u->first_settled_ms = u->last_event_ms = u->edits_ms = 0;
    d->rewriting = true;
}
