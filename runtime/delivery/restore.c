/* restore.c - taking up where the journal ends.
 *
 * Replay rebuilds, record by record: names, duplicate keys, the queue with its attempts and due times,
 * campaigns. An attempt that began and has no outcome counts, and its message is due again: whether it was
 * taken nobody can know. A record that speaks of something unknown was never durable, or is older than what
 * compaction kept; it is passed over. */
#include "delivery/breaker_act.h"
#include "delivery/limit_replay.h"
#include "delivery/measure.h"
#include "delivery/settle.h"
#include "delivery/steer.h"

#include <stdlib.h>

enum { COMING = 16, LANES_FOUND = 1 << 18 };

/* A recipient whose place in the tables is being fetched. */
struct coming {
    struct rec_recipient r; /* address is in text; values and content are not kept */
    struct spool_pos pos;
    struct campaign *campaign;
    struct hash128 lane_key;
    char text[ADDR_LOCAL_MAX + 1 + ADDR_DOMAIN_MAX]; /* nearly all fit */
};

struct found_lane {
    struct hash128 key;
    uint32_t lane; /* index + 1; 0: none */
};

struct replay {
    struct deliver *d;
    int64_t now_ms;   /* UTC, when it began */
    int64_t seen_ms;  /* UTC, of the latest record so far: the process that wrote it ran then */
    struct map hosts; /* session number → host name, for ambiguous ends */
    struct limit_replay limits;
    struct arena arena;
    struct buf key;
    struct coming *coming; /* a ring: see replay_recipient() */
    size_t first_coming, ncoming;
    struct found_lane *lanes; /* LANES_FOUND, in pairs: see fresh_lane() */
    uint64_t unknown, unreadable;
};

static uint16_t source_by_number(const struct deliver *d, uint32_t number)
{
    return conf_find_source(d->conf.conf, deliver_name(d, NAME_SOURCE, number));
}

static void mentions_id(struct deliver *d, uint64_t id)
{
    if (id >= d->next_id)
        d->next_id = id + 1;
}

/* What a record speaks of is never given to anything else, even if the record is passed over. */
static void replay_mentions(struct deliver *d, const struct rec *r)
{
    switch (r->type) {
    case REC_NAME:
        break;
    case REC_RECIPIENT:
        mentions_id(d, r->recipient.id);
        name_reserve(d, NAME_CAMPAIGN, r->recipient.campaign);
        name_reserve(d, NAME_STREAM, r->recipient.stream);
        name_reserve(d, NAME_COLUMNS, r->recipient.columns);
        name_reserve(d, NAME_POOL, r->recipient.pool);
        name_reserve(d, NAME_DOMAIN, r->recipient.domain);
        name_reserve(d, NAME_SENDER, r->recipient.sender);
        break;
    case REC_KEY:
        mentions_id(d, r->key.id);
        name_reserve(d, NAME_CAMPAIGN, r->key.campaign);
        break;
    case REC_BEGIN:
        mentions_id(d, r->begin.id);
        name_reserve(d, NAME_SOURCE, r->begin.source);
        name_reserve(d, NAME_ISP, r->begin.isp);
        name_reserve(d, NAME_MX, r->begin.mx);
        name_reserve(d, NAME_DOMAIN, r->begin.from);
        break;
    case REC_SESSION:
        name_reserve(d, NAME_SOURCE, r->session.source);
        name_reserve(d, NAME_ISP, r->session.isp);
        break;
    case REC_EVENT:
        mentions_id(d, r->event.id);
        name_reserve(d, NAME_CAMPAIGN, r->event.campaign);
        name_reserve(d, NAME_STREAM, r->event.stream);
        name_reserve(d, NAME_POOL, r->event.pool);
        name_reserve(d, NAME_SOURCE, r->event.source);
        name_reserve(d, NAME_ISP, r->event.isp);
        name_reserve(d, NAME_DOMAIN, r->event.domain);
        name_reserve(d, NAME_SENDER, r->event.sender);
        break;
    case REC_CAMPAIGN:
        name_reserve(d, NAME_CAMPAIGN, r->campaign.campaign);
        name_reserve(d, NAME_STREAM, r->campaign.stream);
        break;
    case REC_STEER:
        break;
    case REC_DUE:
        mentions_id(d, r->due.id);
        break;
    case REC_INTERVAL:
        name_reserve(d, NAME_ISP, r->interval.isp);
        name_reserve(d, NAME_SOURCE, r->interval.source);
        name_reserve(d, NAME_STREAM, r->interval.stream);
        name_reserve(d, NAME_POOL, r->interval.pool);
        name_reserve(d, NAME_CAMPAIGN, r->interval.campaign);
        name_reserve(d, NAME_DOMAIN, r->interval.from);
        break;
    case REC_WARMUP:
        name_reserve(d, NAME_SOURCE, r->warmup.source);
        name_reserve(d, NAME_ISP, r->warmup.isp);
        name_reserve(d, NAME_DOMAIN, r->warmup.from);
        break;
    case REC_MEASURE:
        name_reserve(d, NAME_ISP, r->measure.isp);
        name_reserve(d, NAME_SOURCE, r->measure.source);
        break;
    case REC_TALLY:
        name_reserve(d, NAME_ISP, r->tally.isp);
        name_reserve(d, NAME_SOURCE, r->tally.source);
        break;
    }
}

static bool is_wanted(struct replay *rp, struct slice address)
{
    struct deliver *d = rp->d;
    struct addr addr;
    if (!d->conf.hooks.wants)
        return true;
    arena_reset(&rp->arena);
    buf_clear(&rp->key);
    if (addr_parse(address, &rp->arena, &addr, NULL))
        return false;
    addr_dup_key(&rp->key, &addr);
    return d->conf.hooks.wants(d->conf.hooks.data, buf_slice(&rp->key));
}

/* What lanes are found by without their tables: a keyed hash of the domain as written, and the campaign.
 * Equal hashes are the same words. */
static struct hash128 lane_key(const struct deliver *d, const struct campaign *c, struct slice address)
{
    const char *at = memrchr(address.p, '@', address.n);
    size_t n = at ? (size_t)(address.p + address.n - at) : 0;
    struct hash128 key = hash128(d->secret.id_key, slice_of(address.p + address.n - n, n));
    key.hi ^= (uintptr_t)c;
    return key;
}

static struct found_lane *lane_pair(const struct replay *rp, struct hash128 key)
{
    return &rp->lanes[key.lo % (LANES_FOUND / 2) * 2];
}

/* The index of a fresh recipient's lane, plus 1; 0: its address is none. Lanes that were found are kept in
 * pairs; a full pair forgets its older one. */
static uint32_t fresh_lane(struct replay *rp, const struct coming *in)
{
    struct deliver *d = rp->d;
    struct found_lane *pair = lane_pair(rp, in->lane_key);
    struct addr addr;
    for (int i = 0; i < 2; i++)
        if (pair[i].lane && pair[i].key.lo == in->lane_key.lo && pair[i].key.hi == in->lane_key.hi)
            return pair[i].lane;
    arena_reset(&rp->arena);
    if (addr_parse(in->r.address, &rp->arena, &addr, NULL))
        return 0;
    struct domain *dom = sites_domain(d->sites, addr.domain_ascii);
    pair[1] = pair[0];
    pair[0] = (struct found_lane){in->lane_key, lane_of(d, in->campaign, dom, UINT16_MAX, NULL)->index + 1};
    return pair[0].lane;
}

static void take_up(struct replay *rp, const struct coming *in)
{
    struct deliver *d = rp->d;
    const struct rec_recipient *r = &in->r;
    uint32_t lane = fresh_lane(rp, in);
    if (!lane || queue_get(d->queue, r->id) || queue_add(d->queue, r->id, in->pos.segment, in->pos.offset)) {
        rp->unknown++; /* its key is free: nobody was told that it was accepted */
        return;
    }
    if (r->has_key)
        keyset_add(&d->keys, r->key);
    struct segment_use *u = segment_use(d, in->pos.segment, r->id);
    if (r->id < u->first_id)
        u->first_id = r->id;
    if (r->id > u->last_id)
        u->last_id = r->id;
    u->live++;
    struct q_entry *e = queue_get(d->queue, r->id);
    e->lane = lane - 1;
    e->since_s = (uint32_t)((r->due_ms > r->accepted_ms ? r->due_ms : r->accepted_ms) / 1000);
    in->campaign->queued++;
    if (r->due_ms > rp->now_ms)
        standing_recipient(&queue_memo(d->queue, r->id, true)->past, r);
    if (!is_wanted(rp, r->address))
        queue_memo(d->queue, r->id, true)->left_out = true;
}

static void take_up_first(struct replay *rp)
{
    take_up(rp, &rp->coming[rp->first_coming]);
    rp->first_coming = (rp->first_coming + 1) % COMING;
    rp->ncoming--;
}

/* Before any record that may speak of those who are coming. */
static void take_up_all(struct replay *rp)
{
    while (rp->ncoming)
        take_up_first(rp);
}

/* With millions of them every key and lane is a miss of the cache: a recipient is taken up some records
 * later, when both have come. */
static void replay_recipient(struct replay *rp, struct spool_pos pos, const struct rec_recipient *r)
{
    struct deliver *d = rp->d;
    struct campaign *c = campaign_by_number(d, r->campaign, r->stream);
    if (!c || (r->columns && !name_is_known(d, NAME_COLUMNS, r->columns))) {
        rp->unknown++;
        return;
    }
    if (rp->ncoming == COMING)
        take_up_first(rp);
    struct coming *in = &rp->coming[(rp->first_coming + rp->ncoming++) % COMING];
    in->r = *r;
    in->pos = pos;
    in->campaign = c;
    in->lane_key = lane_key(d, c, r->address);
    in->r.values = in->r.content = SLICE_NONE;
    if (r->address.n > sizeof in->text) { /* borrowed for this call */
        take_up_all(rp);
        return;
    }
    memcpy(in->text, r->address.p, r->address.n);
    in->r.address = slice_of(in->text, r->address.n);
    keyset_prefetch(&d->keys, r->key);
    __builtin_prefetch(lane_pair(rp, in->lane_key));
}

static void replay_warmed(struct replay *rp, const struct rec_begin *b)
{
    struct deliver *d = rp->d;
    struct warmup *w = NULL;
    if (b->from)
        w = warmups_find(d->warmups, deliver_name(d, NAME_SOURCE, b->source),
                         deliver_name(d, NAME_ISP, b->isp), deliver_name(d, NAME_DOMAIN, b->from));
    int64_t ago_ms = rp->now_ms - b->at_ms;
    if (w)
        warmup_count(w, b->at_ms, loop_now_ms(d->loop) - (ago_ms > 0 ? ago_ms : 0));
}

static void replay_warmup(struct deliver *d, const struct rec_warmup *r)
{
    struct warmup *w = warmups_find(d->warmups, deliver_name(d, NAME_SOURCE, r->source),
                                    deliver_name(d, NAME_ISP, r->isp), deliver_name(d, NAME_DOMAIN, r->from));
    if (w)
        warmup_restore(w,
                       &(struct warmup_state){.day = r->day,
                                              .position = r->position,
                                              .used = r->used,
                                              .delivered = r->delivered,
                                              .retreat_day = r->retreat_day},
                       r->why);
}

static void replay_begin(struct replay *rp, struct spool_pos pos, const struct rec_begin *b)
{
    struct deliver *d = rp->d;
    limit_replay_begin(&rp->limits, b);
    replay_warmed(rp, b);
    measures_recall_begin(paths_measures(d->paths), deliver_name(d, NAME_ISP, b->isp),
                          deliver_name(d, NAME_SOURCE, b->source), b->at_ms);
    if (b->edits.n)
        segment_use_edits(d, pos.segment, b->at_ms);
    if (!queue_get(d->queue, b->id))
        return;
    struct q_memo *m = queue_memo(d->queue, b->id, true);
    m->hooked = true;
    standing_begin(&m->past, b);
    if (b->edits.n && !m->edits.n)
        m->edits = slice_of(mem_dup(b->edits.p, b->edits.n), b->edits.n);
}

/* Whether it is one of the old carriers' addresses (a..b@, a.@), whose form the domain is known for. */
static bool wants_quotes(struct slice address)
{
    struct arena a = {0};
    struct addr addr;
    /* Most addresses are spared the parser: without two dots or a dot before the @ there is nothing to quote.
     */
    if (slice_find(address, S("..")) < 0 && slice_find(address, S(".@")) < 0 &&
        !slice_starts(address, S(".")) && slice_find(address, S(".\"@")) < 0 &&
        !slice_starts(address, S("\".")))
        return false;
    bool wants = addr_parse(address, &a, &addr, NULL) == 0 && addr.needs_quoting;
    arena_free(&a);
    return wants;
}

static void replay_settled(struct deliver *d, const struct rec_event *ev)
{
    struct q_entry *e = queue_get(d->queue, ev->id);
    struct segment_use *u = segment_use(d, e->segment, 0);
    struct lane *lane = queue_lane_at(d->queue, e->lane);
    if (ev->type == EVENT_DELIVERED && (ev->raw_rcpt || wants_quotes(ev->recipient)))
        domain_took(lane->domain, ev->raw_rcpt);
    lane->campaign->queued--;
    if (u) {
        u->live--;
        if (!u->settled++ || ev->at_ms < u->first_settled_ms)
            u->first_settled_ms = ev->at_ms;
    }
    queue_remove(d->queue, ev->id);
}

static void replay_deferred(struct replay *rp, const struct rec_event *ev)
{
    struct deliver *d = rp->d;
    struct q_memo *m = queue_memo(d->queue, ev->id, true);
    standing_event(&m->past, ev);
    if (!ev->phase)
        return; /* taken back before anything was answered */
    free(m->host);
    m->host = NULL;
    if (ev->type == EVENT_AMBIGUOUS) {
        const char *host = map_get(&rp->hosts, slice_of(&ev->session, sizeof ev->session));
        m->host = host ? mem_dup(host, strlen(host)) : NULL;
    }
}

static void replay_event(struct replay *rp, struct spool_pos pos, const struct rec_event *ev)
{
    struct deliver *d = rp->d;
    limit_replay_event(&rp->limits, ev);
    segment_use_event(d, pos.segment, ev->at_ms);
    if (ev->at_ms > rp->seen_ms)
        rp->seen_ms = ev->at_ms;
    settled_note(d->settled, pos.segment, ev);
    breakers_replay(d, ev);
    if (ev->event >= d->next_event)
        d->next_event = ev->event + 1;
    suppress_event(d->suppress, ev,
                   &(struct suppress_names){deliver_name(d, NAME_STREAM, ev->stream),
                                            deliver_name(d, NAME_ISP, ev->isp)});
    warmup_event(d, ev, false);
    measures_recall_event(paths_measures(d->paths), ev,
                          &(struct measure_names){deliver_name(d, NAME_ISP, ev->isp),
                                                  deliver_name(d, NAME_SOURCE, ev->source),
                                                  deliver_name(d, NAME_DOMAIN, ev->domain),
                                                  deliver_name(d, NAME_CAMPAIGN, ev->campaign)});
    if (!queue_get(d->queue, ev->id))
        return;
    if (rec_event_ends(ev->type))
        replay_settled(d, ev);
    else if (ev->type == EVENT_DEFERRED || ev->type == EVENT_AMBIGUOUS)
        replay_deferred(rp, ev);
    /* EVENT_HELD: a new start tries again, the script may have been mended. */
}

static void replay_campaign(struct replay *rp, const struct rec_campaign *rc)
{
    struct campaign *c = campaign_by_number(rp->d, rc->campaign, rc->stream);
    if (!c)
        return;
    if (rc->content.n) {
        if (c->content_hash.n)
            free((char *)c->content_hash.p);
        c->content_hash = slice_of(mem_dup(rc->content.p, rc->content.n), rc->content.n);
    }
    switch ((enum rec_campaign_state)rc->state) {
    case CAMPAIGN_READING:
    case CAMPAIGN_CONTENT:
        return;
    case CAMPAIGN_READ:
        c->read_once = true;
        return;
    case CAMPAIGN_STARTED:
        c->started = true;
        return;
    case CAMPAIGN_CANCELLED:
        c->cancelled = true;
        return;
    case CAMPAIGN_FORGOTTEN: /* the name begins anew, under the number that this record has */
        c->cancelled = c->read_once = c->started = false;
        if (c->content_hash.n)
            free((char *)c->content_hash.p);
        c->content_hash = SLICE_NONE;
        return;
    }
}

static void replay_measure(struct replay *rp, const struct rec_measure *m)
{
    struct deliver *d = rp->d;
    breakers_measured(d, m);
    measures_restore(paths_measures(d->paths), m, deliver_name(d, NAME_ISP, m->isp),
                     deliver_name(d, NAME_SOURCE, m->source));
}

/* --- outages --- */

static struct buf outage_key(uint8_t kind, struct slice key)
{
    struct buf b = {0};
    buf_addc(&b, (char)kind);
    buf_adds(&b, key);
    return b;
}

const struct outage *outage_known(const struct deliver *d, uint8_t kind, struct slice key)
{
    struct buf b = outage_key(kind, key);
    const struct outage *o = map_get(&d->outages, buf_slice(&b));
    buf_free(&b);
    return o;
}

/* Clocks count it (clock.h), but for what a kill left open: that ended when the process was seen last. */
static void replay_outage(struct replay *rp, const struct rec_interval *r)
{
    bool site = r->kind == INTERVAL_SITE, dns = r->kind == INTERVAL_DNS && r->until_ms;
    if (r->begin_ms > rp->seen_ms || r->end_ms > rp->seen_ms)
        rp->seen_ms = r->end_ms > r->begin_ms ? r->end_ms : r->begin_ms;
    if (!site && !dns)
        return;
    struct buf key = outage_key(r->kind, site ? r->mx : r->domain);
    struct outage *o = map_get(&rp->d->outages, buf_slice(&key));
    if (!o) {
        o = mem_zalloc(sizeof *o);
        map_put(&rp->d->outages, buf_slice(&key), o);
    }
    if (o->from_ms < r->begin_ms) {
        outage_end(o, rp->seen_ms);
        outage_begin(o, r->begin_ms);
    }
    if (o->from_ms == r->begin_ms) /* else it is of an earlier one, and was ended by this */
        o->to_ms = r->end_ms;
    buf_free(&key);
}

static void restore_outages(struct replay *rp)
{
    struct deliver *d = rp->d;
    size_t at = 0;
    for (struct map_entry *m; (m = map_next(&d->outages, &at));)
        outage_end(m->value, rp->seen_ms);
    at = 0;
    for (struct domain *dom; d->outages.live && (dom = sites_next_domain(d->sites, &at));) {
        const struct outage *o = outage_known(d, INTERVAL_DNS, dom->name);
        if (o)
            dom->outage = *o;
    }
}

static int replay_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    struct replay *rp = data;
    struct rec r;
    (void)kind;
    if (rec_get(payload, &r)) {
        rp->unreadable++;
        return 0;
    }
    replay_mentions(rp->d, &r);
    if (r.type != REC_RECIPIENT)
        take_up_all(rp);
    switch (r.type) {
    case REC_NAME:
        name_learn(rp->d, &r.name);
        break;
    case REC_RECIPIENT:
        replay_recipient(rp, pos, &r.recipient);
        break;
    case REC_KEY:
        if (r.key.key.lo || r.key.key.hi)
            keyset_add(&rp->d->keys, r.key.key);
        break;
    case REC_BEGIN:
        replay_begin(rp, pos, &r.begin);
        break;
    case REC_SESSION: {
        struct slice mx = r.session.mx;
        char *old =
            map_put(&rp->hosts, slice_of(&r.session.session, sizeof r.session.session), mem_dup(mx.p, mx.n));
        if (!old)
            limit_replay_session(&rp->limits, &r.session);
        free(old);
        break;
    }
    case REC_EVENT:
        replay_event(rp, pos, &r.event);
        break;
    case REC_CAMPAIGN:
        replay_campaign(rp, &r.campaign);
        break;
    case REC_MEASURE:
        replay_measure(rp, &r.measure);
        break;
    case REC_WARMUP:
        replay_warmup(rp->d, &r.warmup);
        break;
    case REC_TALLY:
        measures_recall(paths_measures(rp->d->paths), &r.tally, deliver_name(rp->d, NAME_ISP, r.tally.isp),
                        deliver_name(rp->d, NAME_SOURCE, r.tally.source));
        break;
    case REC_STEER:
        steer_replay(rp->d, &r.steer);
        break;
    case REC_INTERVAL: /* for those who ask why; its segment grows old by it */
        replay_outage(rp, &r.interval);
        segment_use_event(rp->d, pos.segment, r.interval.end_ms ? r.interval.end_ms : r.interval.begin_ms);
        break;
    case REC_DUE:
        if (queue_get(rp->d->queue, r.due.id))
            standing_due(&queue_memo(rp->d->queue, r.due.id, true)->past, &r.due);
        break;
    }
    return 0;
}

/* Where it was is what the journal says, not where it is put now: it rested until it was due, then waited. */
static void restore_clock(struct q_memo *m, int64_t since_ms, int64_t now_ms, bool rests)
{
    int64_t due_ms = m->past.due_ms < now_ms ? m->past.due_ms : now_ms;
    m->since_ms = since_ms;
    if (!rests && due_ms > since_ms) {
        m->rest_from_ms = since_ms;
        m->rest_to_ms = m->since_ms = due_ms;
    }
}

/* Every recipient that the replay left without a container gets its place. */
static void place_all(struct deliver *d)
{
    int64_t now = loop_wall_ms(d->loop);
    for (uint64_t id = 0; (id = queue_next(d->queue, id));) {
        struct q_entry *e = queue_get(d->queue, id);
        struct q_memo *m = queue_memo(d->queue, id, false);
        struct lane *lane = queue_lane_at(d->queue, e->lane);
        int64_t since_ms = m && m->past.begun_ms ? m->past.begun_ms : m ? m->past.last_ms : 0;
        bool rests = m && m->past.due_ms > now && !m->left_out;
        if (m && m->past.source)
            m->source = source_by_number(d, m->past.source);
        if (m && m->past.attempts && m->source != UINT16_MAX)
            lane = lane_of(d, lane->campaign, lane->domain, m->source, m->host);
        if (m && m->left_out) {
            queue_hold(d->queue, id, "this run is for others");
        } else if (rests) {
            e->lane = lane->index;
            queue_retry(d->queue, id, m->past.due_ms);
        } else {
            bool raw = d->conf.hooks.message && !(m && m->hooked);
            lane_push(d->queue, lane, id, raw, false);
        }
        if (m && m->past.clock_ms)
            restore_clock(m, since_ms, now, rests);
    }
}

static void on_spool_notice(void *data, int code, const char *text)
{
    notice(data, code == 0 ? 0 : 2, "spool: %s", text);
}

int restore(struct deliver *d, struct err *e)
{
    struct replay rp = {.d = d,
                        .now_ms = loop_wall_ms(d->loop),
                        .coming = mem_alloc(COMING * sizeof *rp.coming),
                        .lanes = mem_zalloc(LANES_FOUND * sizeof *rp.lanes)};
    struct spool_conf conf = {.fs = d->conf.fs,
                              .dir = d->conf.state,
                              .loop = d->loop,
                              .sync = d->sync,
                              .lock = d->lock,
                              .segment_bytes = d->conf.segment_bytes,
                              .journal_max = d->conf.conf->journal_max,
                              .notice = on_spool_notice,
                              .notice_data = d};
    map_init(&rp.hosts, d->secret.id_key);
    limit_replay_start(&rp.limits, d);
    d->lock = NULL; /* the spool's now */
    int r = spool_open(&d->spool, &conf, replay_record, &rp, &d->report, e);
    take_up_all(&rp);
    restore_outages(&rp);
    if (!r) {
        if (rp.unreadable)
            notice(d, 2, "spool: %llu records could not be read and were passed over",
                   (unsigned long long)rp.unreadable);
        if (rp.unknown)
            notice(d, d->report.last_stop == SPOOL_POWER_LOSS ? 0 : 2,
                   "spool: %llu recipients passed over: what their records speak of is not there",
                   (unsigned long long)rp.unknown);
        place_all(d);
        steer_start(d);
    }
    size_t at = 0;
    for (struct map_entry *h; (h = map_next(&rp.hosts, &at));)
        free(h->value);
    map_free(&rp.hosts);
    limit_replay_end(&rp.limits, d->report.last_stop == SPOOL_POWER_LOSS);
    free(rp.coming);
    free(rp.lanes);
    arena_free(&rp.arena);
    buf_free(&rp.key);
    return r;
}
