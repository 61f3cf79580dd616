/* unsent.c - recipients that no session carries now: a dead domain's, what waited too long, what people
 * cancelled, and what a message hook must see first. An event names the recipient and the loop never reads
 * the spool, so a pool thread reads its record before. */
#include "delivery/clock.h"
#include "delivery/settle.h"
#include "delivery/pause.h"
#include "delivery/steer.h"

#include <stdio.h>
#include <stdlib.h>

enum { SLICE = 256, HOOKS_AHEAD = 16 };

struct reading {
    struct work_job job;
    struct deliver *d;
    uint64_t id;
    struct lane *lane;
    struct spool_pos pos;
    struct buf payload;
    int status;
    struct err error;
    struct rec rec;
    void (*fn)(struct reading *r); /* must leave the entry in a container or settled */
    enum verdict_cause cause;
    bool is_cancel; /* counted in cancelling */
    char why[128];
};

static void read_run(struct work_job *job, struct work_thread *thread)
{
    struct reading *r = CONTAINER(job, struct reading, job);
    r->status = spool_read(r->d->spool, r->pos, &r->payload, &r->error);
    if (!r->status && (rec_get(buf_slice(&r->payload), &r->rec) || r->rec.type != REC_RECIPIENT))
        r->status = err_set(&r->error, ERR_CORRUPT, "the record cannot be read");
}

/* Records are read, or hooks run: or no more of them. */
static void hooked_check(struct deliver *d)
{
    bool busy = d->readings || queue_count_state(d->queue, Q_HOOK);
    if (busy && !d->hooked) {
        struct interval_cause c = interval_cause(INTERVAL_HOOK);
        c.why = d->conf.hooks.message ? S("for its message hook") : S("for its record to be read");
        d->hooked = interval_open(d->intervals, &c);
    } else if (!busy && d->hooked) {
        interval_close(d->hooked);
        d->hooked = NULL;
    }
}

static void read_done(struct work_job *job)
{
    struct reading *r = CONTAINER(job, struct reading, job);
    struct deliver *d = r->d;
    if (r->status) {
        notice(d, 2, "message=m%llu is held: %s", (unsigned long long)r->id, r->error.text);
        queue_hold(d->queue, r->id, r->error.text);
    } else {
        r->fn(r);
    }
    d->cancelling -= r->is_cancel;
    d->readings--;
    hooked_check(d);
    buf_free(&r->payload);
    free(r);
}

static struct reading *read_start(struct deliver *d, struct lane *lane, uint64_t id,
                                  void (*fn)(struct reading *))
{
    struct reading *r = mem_zalloc(sizeof *r);
    const struct q_entry *e = queue_get(d->queue, id);
    r->job.run = read_run;
    r->job.done = read_done;
    r->d = d;
    r->id = id;
    r->lane = lane;
    r->pos = (struct spool_pos){e->segment, e->offset};
    r->fn = fn;
    d->readings++;
    hooked_check(d);
    work_submit(d->pool, &r->job);
    return r;
}

static void settle_dead(struct reading *r)
{
    struct outcome *o = outcome_new(r->d, r->id, r->lane);
    struct verdict_in in = {
        .cause = r->cause, .phase = SMTP_PHASE_CONNECT, .isp = SLICE_NONE, .acts = &r->d->conf.conf->acts};
    outcome_take_record(o, &r->rec.recipient);
    verdict_give(&in, &o->v);
    o->ev.phase = SMTP_PHASE_CONNECT + 1;
    o->ev.text = arena_copy(&o->arena, slice_cstr(r->why));
    deliver_settle(o);
}

static void settle_hopeless(struct reading *r)
{
    struct outcome *o = outcome_new(r->d, r->id, r->lane);
    const struct q_memo *m = queue_memo(r->d->queue, r->id, false);
    outcome_take_record(o, &r->rec.recipient);
    o->ev.type = EVENT_EXPIRED;
    o->v.cls = m && m->past.replied ? (enum reply_class)m->past.cls : CLASS_EXPIRED;
    o->v.rule = "give_up";
    o->ev.phase = m && m->past.phase ? m->past.phase : SMTP_PHASE_CONNECT + 1;
    o->ev.code = m ? m->past.code : 0;
    o->ev.text = arena_copy(&o->arena, slice_cstr(m && m->past.text ? m->past.text : r->why));
    deliver_settle(o);
}

static void end_cancelled(struct reading *r)
{
    struct outcome *o = outcome_new(r->d, r->id, r->lane);
    const struct q_memo *m = queue_memo(r->d->queue, r->id, false);
    outcome_take_record(o, &r->rec.recipient);
    o->ev.type = EVENT_CANCELLED;
    o->ev.attempt = m ? m->past.attempts : 0;
    o->ev.rule = S("cancelled by hand");
    write_event(r->d, &o->ev);
    outcome_forget(o);
    outcome_free(o);
}

void settle_cancelled(struct deliver *d, uint64_t id, struct lane *lane)
{
    queue_memo(d->queue, id, true)->cancelled = true;
    d->cancelling++;
    read_start(d, lane, id, end_cancelled)->is_cancel = true;
}

void sweep_dead(struct deliver *d, struct domain *dom)
{
    for (struct lane *lane = dom->lanes; lane; lane = lane->of_domain) {
        if (lane->campaign->run != CAMPAIGN_RUNNING || pause_of_lane(d, lane))
            continue;
        path_detach(d->paths, lane);
        while (lane->ready.n && d->readings < SLICE) {
            uint64_t id = lane_pop(d->queue, lane, false);
            struct reading *r = read_start(d, lane, id, settle_dead);
            r->cause = dom->cause;
            snprintf(r->why, sizeof r->why, "%.*s: %s", SLICE_FMT(dom->name), dom->why);
        }
        if (lane->ready.n) {
            /* More than a slice: the rest when these are done. */
            domain_again(dom);
            return;
        }
    }
}

/* Fresh mail is in order of time: behind one whose clock goes on, all do. Retries are not. */
void sweep_hopeless(struct deliver *d, struct lane *lane, const char *why)
{
    if (lane->campaign->run != CAMPAIGN_RUNNING || pause_of_lane(d, lane))
        return;
    for (uint32_t n = lane->ready.n; n && d->readings < SLICE; n--) {
        uint64_t id = lane->ready.head;
        if (clock_is_over(d, id)) {
            path_take_first(d->paths, lane);
            struct reading *r = read_start(d, lane, id, settle_hopeless);
            snprintf(r->why, sizeof r->why, "%s", why);
        } else if (lane->source == UINT16_MAX) {
            return;
        } else {
            lane_turn(d->queue, lane);
        }
    }
}

/* --- message hooks --- */

static void run_hook(struct reading *r)
{
    struct deliver *d = r->d;
    const struct rec_recipient *rec = &r->rec.recipient;
    struct q_memo *m = queue_memo(d->queue, r->id, true);
    free(m->address); /* for the event, should the hook fail */
    m->address = mem_dup(rec->address.p, rec->address.n);
    d->conf.hooks.message(d->conf.hooks.data, r->id, r->lane->campaign, rec,
                          deliver_name(d, NAME_COLUMNS, rec->columns));
}

void hooks_top_up(struct deliver *d, struct lane *lane)
{
    if (!d->conf.hooks.message || d->draining)
        return;
    while (lane->raw.n && lane->ready.n + lane->hooking < HOOKS_AHEAD && d->readings < SLICE)
        read_start(d, lane, lane_pop(d->queue, lane, true), run_hook);
}

void deliver_hook_done(struct deliver *d, uint64_t id, struct slice edits, const char *error)
{
    struct q_entry *e = queue_get(d->queue, id);
    if (!e || e->state != Q_HOOK)
        return; /* a late answer: the message went another way (cancelled) */
    struct lane *lane = queue_lane_at(d->queue, e->lane);
    if (steer_takes(d, id, lane))
        return;
    if (error) {
        struct rec_event ev = {.type = EVENT_HELD,
                               .id = id,
                               .at_ms = loop_wall_ms(d->loop),
                               .campaign = lane->campaign->number,
                               .stream = lane->campaign->stream->number,
                               .recipient = slice_cstr(queue_memo(d->queue, id, true)->address),
                               .text = slice_cstr(error),
                               .class_name = SLICE_NONE,
                               .rule = S("message hook"),
                               .meta = SLICE_NONE,
                               .person_why = SLICE_NONE};
        notice(d, 2, "message=m%llu is held: its message hook failed: %s", (unsigned long long)id, error);
        write_event(d, &ev);
        queue_hold(d->queue, id, error);
    } else {
        if (edits.n) {
            struct q_memo *m = queue_memo(d->queue, id, true);
            m->hooked = true;
            m->edits = slice_of(mem_dup(edits.p, edits.n), edits.n);
        }
        lane_push(d->queue, lane, id, false, false);
    }
    lane_service(d, lane);
    hooked_check(d);
}

/* --- what domains and time say --- */

void on_domain(void *data, struct domain *dom)
{
    struct deliver *d = data;
    for (struct lane *lane = dom->lanes; lane; lane = lane->of_domain) {
        /* A changed MX moves the domain whole. */
        if (lane->share && lane->share->site != dom->site)
            path_detach(d->paths, lane);
        if (dom->state == DOMAIN_WAITING || dom->state == DOMAIN_NEW)
            sweep_hopeless(d, lane, dom->why ? dom->why : "");
        lane_service(d, lane);
    }
}

void on_due(void *data, uint64_t id)
{
    struct deliver *d = data;
    struct q_entry *e = queue_get(d->queue, id);
    struct lane *lane = queue_lane_at(d->queue, e->lane);
    e->since_s = (uint32_t)(loop_wall_ms(d->loop) / 1000);
    lane_push(d->queue, lane, id, false, false);
    lane_service(d, lane);
}
