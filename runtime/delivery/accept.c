/* accept.c - taking recipients in: once by key, durable before anybody is told, then into their lanes. */
#include "delivery/deliver_impl.h"

#include <stdlib.h>

/* --- what segments hold --- */

struct segment_use *segment_use(struct deliver *d, uint32_t segment, uint64_t id)
{
    for (size_t i = d->nuse; i-- > 0;)
        if (d->use[i].segment == segment)
            return &d->use[i];
    if (!id)
        return NULL;
    if (d->nuse == d->cap_use) {
        d->cap_use = d->cap_use ? d->cap_use * 2 : 16;
        d->use = mem_realloc(d->use, d->cap_use * sizeof *d->use);
    }
    d->use[d->nuse] = (struct segment_use){.segment = segment, .first_id = id, .last_id = id};
    return &d->use[d->nuse++];
}

void segment_use_event(struct deliver *d, uint32_t segment, int64_t at_ms)
{
    struct segment_use *u = segment_use(d, segment, 1);
    if (!u->first_event_ms)
        u->first_event_ms = at_ms;
    if (at_ms > u->last_event_ms) /* one that is still open is said with the time at which it began */
        u->last_event_ms = at_ms;
}

void segment_use_edits(struct deliver *d, uint32_t segment, int64_t at_ms)
{
    struct segment_use *u = segment_use(d, segment, 1);
    if (!u->edits_ms)
        u->edits_ms = at_ms;
}

/* --- lanes --- */

struct lane *lane_of(struct deliver *d, struct campaign *c, struct domain *dom, uint16_t source,
                     const char *host)
{
    /* The newest lanes of a domain come first, and few campaigns run at once: most are found here. */
    int looks = 4;
    for (struct lane *l = dom->lanes; l && looks--; l = l->of_domain)
        if (l->campaign == c && l->source == source && !l->host && !host)
            return l;
    struct lane *lane = queue_lane(d->queue, c, dom, source, host);
    if (!lane->linked) {
        lane->linked = true;
        lane->of_campaign = c->lanes;
        c->lanes = lane;
        lane->of_domain = dom->lanes;
        dom->lanes = lane;
    }
    return lane;
}

static void enter_lane(struct deliver *d, const struct accepted *a)
{
    struct q_entry *e = queue_get(d->queue, a->id);
    e->since_s = (uint32_t)(loop_wall_ms(d->loop) / 1000);
    a->lane->campaign->queued++;
    if (a->due_ms > loop_wall_ms(d->loop)) {
        e->lane = a->lane->index;
        queue_retry(d->queue, a->id, a->due_ms);
        return;
    }
    lane_push(d->queue, a->lane, a->id, d->conf.hooks.message != NULL, false);
    lane_service(d, a->lane);
}

/* Queued for as long as it takes to say that it ends here: who is suppressed is in no lane. */
static void end_suppressed(struct deliver *d, const struct accepted *a)
{
    a->lane->campaign->queued++;
    if (d->ending)
        outcome_free(a->suppressed); /* the next start comes upon it at its hand-off */
    else
        outcome_settle(a->suppressed);
}

/* --- batches: one for each turn in which something was accepted --- */

static void on_batch_durable(struct spool_wait *w, int status)
{
    struct batch *b = CONTAINER(w, struct batch, wait);
    struct deliver *d = b->d;
    for (size_t i = 0; i < b->n; i++) {
        struct accepted *a = &b->v[i];
        int r = status;
        if (!r)
            r = queue_add(d->queue, a->id, a->segment, a->offset);
        if (!r) {
            struct segment_use *u = segment_use(d, a->segment, a->id);
            u->last_id = a->id;
            u->live++;
            d->counts.accepted++;
            if (a->suppressed)
                end_suppressed(d, a);
            else
                enter_lane(d, a);
        } else {
            if (a->suppressed)
                outcome_free(a->suppressed);
            if (a->has_key)
                keyset_del(&d->keys, a->key);
        }
        if (a->done)
            a->done(a->data, r ? 0 : a->id, r);
    }
    b->n = 0;
    b->next = d->spare_batches;
    d->spare_batches = b;
    if (--d->batches_open)
        return;
    interval_close(d->syncs);
    d->syncs = NULL;
}

static void on_batch_task(struct loop_task *t)
{
    struct deliver *d = CONTAINER(t, struct deliver, batch_task);
    struct batch *b = d->batch;
    d->batch = NULL;
    spool_when_durable(d->spool, &b->wait);
}

static struct batch *current_batch(struct deliver *d)
{
    if (!d->batch) {
        struct batch *b = d->spare_batches;
        if (b)
            d->spare_batches = b->next;
        else
            b = mem_zalloc(sizeof *b);
        b->d = d;
        b->wait.fn = on_batch_durable;
        d->batch = b;
        if (!d->batches_open++) {
            struct interval_cause c = interval_cause(INTERVAL_JOURNAL);
            c.why = S("to be on the disk");
            d->syncs = interval_open(d->intervals, &c);
        }
        loop_post(d->loop, &d->batch_task, on_batch_task);
    }
    if (d->batch->n == d->batch->cap) {
        d->batch->cap = d->batch->cap ? d->batch->cap * 2 : 64;
        d->batch->v = mem_realloc(d->batch->v, d->batch->cap * sizeof *d->batch->v);
    }
    return d->batch;
}

void batch_end(struct deliver *d)
{
    if (!d->batch)
        return;
    loop_task_cancel(d->loop, &d->batch_task);
    on_batch_task(&d->batch_task);
}

void batch_free_all(struct deliver *d)
{
    while (d->spare_batches) {
        struct batch *b = d->spare_batches;
        d->spare_batches = b->next;
        free(b->v);
        free(b);
    }
}

static struct hash128 key_of(const struct deliver *d, uint32_t campaign, uint32_t stream, struct slice key)
{
    /* hato.send's keys are their stream's: campaign 0 and the stream's number in front. */
    char small[512];
    struct buf big = {0};
    uint32_t head[2] = {campaign, campaign ? 0 : stream};
    struct hash128 h;
    if (key.n <= sizeof small - sizeof head) {
        memcpy(small, head, sizeof head);
        memcpy(small + sizeof head, key.p, key.n);
        return hash128(d->secret.dup_key, slice_of(small, sizeof head + key.n));
    }
    buf_add(&big, head, sizeof head);
    buf_adds(&big, key);
    h = hash128(d->secret.dup_key, buf_slice(&big));
    buf_free(&big);
    return h;
}

int deliver_accept(struct deliver *d, const struct deliver_accept *a, uint64_t *id)
{
    struct campaign *c = a->campaign;
    struct rec rec = {.type = REC_RECIPIENT};
    struct rec_recipient *r = &rec.recipient;
    struct spool_pos pos;
    *id = 0;
    *r = (struct rec_recipient){.id = d->next_id,
                                .campaign = c->number,
                                .stream = c->stream->number,
                                .columns = a->columns,
                                .accepted_ms = loop_wall_ms(d->loop),
                                .due_ms = a->due_ms,
                                .expires_ms = a->expires_ms,
                                .flags = (a->test ? REC_FLAG_TEST : 0) | (a->content.n ? REC_FLAG_ALONE : 0),
                                .has_key = a->key.n > 0,
                                .address = a->address,
                                .values = a->values,
                                .content = a->content,
                                .pool = c->stream->pool_number,
                                .domain = c->stream->domain_number,
                                .sender = c->stream->sender_number};
    if (r->has_key) {
        r->key = key_of(d, c->number, c->stream->number, a->key);
        if (keyset_has(&d->keys, r->key))
            return ERR_EXISTS;
    }
    buf_clear(&d->payload);
    rec_put(&d->payload, &rec);
    int rc = spool_append(d->spool, SPOOL_RECIPIENTS, buf_slice(&d->payload), &pos);
    if (rc)
        return rc;
    if (r->has_key)
        keyset_add(&d->keys, r->key);
    struct batch *b = current_batch(d);
    struct lane *lane = lane_of(d, c, sites_domain(d->sites, a->addr->domain_ascii), UINT16_MAX, NULL);
    b->v[b->n++] = (struct accepted){.id = d->next_id,
                                     .segment = pos.segment,
                                     .offset = pos.offset,
                                     .lane = lane,
                                     .suppressed = outcome_suppressed(d, lane, r, a->addr),
                                     .due_ms = a->due_ms,
                                     .has_key = r->has_key,
                                     .key = r->key,
                                     .done = a->done,
                                     .data = a->data};
    *id = d->next_id++;
    return 0;
}

void deliver_when_durable(struct deliver *d, struct spool_wait *w)
{
    spool_when_durable(d->spool, w);
}
