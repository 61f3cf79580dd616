/* settle.c - what becomes of a recipient after an attempt, or of one that nobody will ever take.
 *
 * deliver_settle() is the one place where a recipient that was accepted changes state. Everything that leads
 * to it is gathered in a struct outcome: by attempt.c from what sessions report, by unsent.c for what never
 * reached one. */
#include "delivery/settle.h"
#include "delivery/breaker_act.h"
#include "delivery/clock.h"
#include "delivery/event.h"
#include "delivery/steer.h"
#include "format/mp.h"

#include <stdlib.h>

struct outcome *outcome_new(struct deliver *d, uint64_t id, struct lane *lane)
{
    struct outcome *o = mem_zalloc(sizeof *o);
    const struct campaign *c = lane->campaign;
    o->d = d;
    o->id = id;
    o->lane = lane;
    o->source = UINT16_MAX;
    o->edits = SLICE_NONE;
    o->ev = (struct rec_event){.id = id,
                               .campaign = c->number,
                               .stream = c->stream->number,
                               .pool = c->stream->pool_number,
                               .domain = c->stream->domain_number,
                               .sender = c->stream->sender_number,
                               .at_ms = loop_wall_ms(d->loop),
                               .recipient = SLICE_NONE,
                               .text = SLICE_NONE,
                               .class_name = SLICE_NONE,
                               .rule = SLICE_NONE,
                               .meta = SLICE_NONE,
                               .person_why = SLICE_NONE};
    return o;
}

void outcome_free(struct outcome *o)
{
    arena_free(&o->arena);
    free(o);
}

/* The values that the campaign lists in `log`. */
static void put_meta(struct outcome *o, const struct rec_recipient *r)
{
    const struct conf_campaign *conf = o->lane->campaign->conf;
    struct buf b = {0};
    uint32_t n = 0;
    if (!conf || !conf->nlog || !r->values.n)
        return;
    struct slice rest = deliver_name(o->d, NAME_COLUMNS, r->columns);
    struct mp m = {r->values};
    struct mp_value head;
    if (mp_next(&m, &head) || head.kind != MP_ARRAY)
        return;
    for (uint32_t i = 0; i < head.n && rest.n; i++) {
        struct slice name = slice_cut(rest, 0x1f, &rest), raw;
        if (mp_raw(&m, &raw))
            break;
        for (size_t k = 0; k < conf->nlog; k++) {
            if (!slice_eq(conf->log[k], name))
                continue;
            mp_put_str(&b, name);
            buf_adds(&b, raw);
            n++;
        }
    }
    if (n) {
        struct buf whole = {0};
        mp_put_map(&whole, n);
        buf_adds(&whole, buf_slice(&b));
        o->ev.meta = arena_copy(&o->arena, buf_slice(&whole));
        buf_free(&whole);
    }
    buf_free(&b);
}

void outcome_take_record(struct outcome *o, const struct rec_recipient *r)
{
    o->ev.recipient = arena_copy(&o->arena, r->address);
    o->ev.accepted_ms = r->accepted_ms;
    o->ev.flags = r->flags;
    put_meta(o, r);
}

void outcome_take_answer(struct outcome *o, enum smtp_phase phase, const struct smtp_reply *reply,
                         const char *text)
{
    o->ev.phase = (uint8_t)(phase + 1);
    if (!reply) {
        o->ev.text = arena_copy(&o->arena, slice_cstr(text));
        return;
    }
    o->ev.code = (uint16_t)reply->code;
    if (reply->has_enhanced) {
        o->ev.enh_class = reply->enhanced.cls;
        o->ev.enh_subject = reply->enhanced.subject;
        o->ev.enh_detail = reply->enhanced.detail;
    }
    o->ev.text = arena_copy(&o->arena, reply->text);
}

uint32_t isp_number(struct deliver *d, struct isp *isp)
{
    if (!isp->number)
        isp->number = name_number(d, NAME_ISP, isp->name);
    return isp->number;
}

uint32_t source_number(struct deliver *d, uint16_t source)
{
    return name_number(d, NAME_SOURCE, d->conf.conf->sources[source].name);
}

/* --- the change --- */

void warmup_event(struct deliver *d, const struct rec_event *ev, bool live)
{
    enum reply_class cls = CLASS_UNKNOWN;
    if (!d->warmups || !ev->session || !ev->source)
        return;
    if (ev->type != EVENT_DELIVERED && (!ev->phase || class_parse(ev->class_name, &cls)))
        return;
    warmups_answer(d->warmups, deliver_name(d, NAME_SOURCE, ev->source), deliver_name(d, NAME_ISP, ev->isp),
                   deliver_name(d, NAME_DOMAIN, ev->domain), ev->type == EVENT_DELIVERED, cls, ev->at_ms,
                   live);
}

static void judge(struct deliver *d, struct rec_event *ev, const struct act_rule *rule)
{
    struct suppress_names names = {.isp = deliver_name(d, NAME_ISP, ev->isp)};
    suppress_judge(d->suppress, rule, &names, ev);
}

/* domain: the recipient's, where it is at hand. */
static void journal(struct deliver *d, struct rec_event *ev, struct slice domain)
{
    struct rec rec = {.type = REC_EVENT};
    struct suppress_names names = {deliver_name(d, NAME_STREAM, ev->stream),
                                   deliver_name(d, NAME_ISP, ev->isp), domain};
    ev->event = d->next_event++;
    rec.event = *ev;
    uint32_t segment = append_record(d, SPOOL_EVENTS, &rec);
    segment_use_event(d, segment, ev->at_ms);
    settled_note(d->settled, segment, ev);
    d->counts.came_back += event_is_late(ev);
    d->counts.complained += ev->type == EVENT_COMPLAINED;
    d->counts.cancelled += ev->type == EVENT_CANCELLED;
    breakers_see(d, ev);
    recents_event(d->recents, ev);
    suppress_event(d->suppress, ev, &names);
    warmup_event(d, ev, true);
    if (d->conf.hooks.event)
        d->conf.hooks.event(d->conf.hooks.data, ev);
}

void write_event_by(struct deliver *d, struct rec_event *ev, const struct act_rule *person)
{
    judge(d, ev, person);
    journal(d, ev, SLICE_NONE);
}

void write_event(struct deliver *d, struct rec_event *ev)
{
    write_event_by(d, ev, NULL);
}

void outcome_forget(struct outcome *o)
{
    struct deliver *d = o->d;
    struct q_entry *e = queue_get(d->queue, o->id);
    struct segment_use *u = segment_use(d, e->segment, 0);
    if (u) {
        u->live--;
        if (!u->settled++)
            u->first_settled_ms = o->ev.at_ms;
    }
    o->lane->campaign->queued--;
    queue_remove(d->queue, o->id);
}

static void remember(struct outcome *o, struct q_memo *m)
{
    if (o->begun_ms && !m->past.clock_ms)
        m->past.clock_ms = o->begun_ms;
    standing_event(&m->past, &o->ev);
    if (m->source == UINT16_MAX && o->v.charged)
        m->source = o->source;
    free(m->host);
    m->host = o->v.ambiguous && o->host ? mem_dup(o->host->name.p, o->host->name.n) : NULL;
    if (o->edits.n && !m->edits.n)
        m->edits = slice_of(mem_dup(o->edits.p, o->edits.n), o->edits.n);
}

/* Till the next try: by the schedule, unless a rule says when, or that another source shall try. */
static int64_t next_try_ms(struct deliver *d, const struct outcome *o, struct q_memo *m)
{
    enum { OTHER_SOURCE_MS = 1000 };
    const struct act_rule *rule = o->v.act.path;
    if (rule && rule->act.kind == ACT_DEFER)
        return rule->act.for_ms;
    if (rule && rule->act.kind == ACT_NEXT_SOURCE && o->lane->campaign->stream->nsources > 1 &&
        !o->v.ambiguous) {
        m->source = UINT16_MAX;
        return OTHER_SOURCE_MS;
    }
    return verdict_retry_ms(&d->conf.conf->retry, m->past.attempts, loop_random(d->loop));
}

/* It goes on: back to its lane at once where only the path or sender is to blame, else by the schedule. */
static void defer(struct deliver *d, struct outcome *o)
{
    struct q_memo *m = queue_memo(d->queue, o->id, true);
    struct rec_event *ev = &o->ev;
    ev->type = o->v.ambiguous ? EVENT_AMBIGUOUS : EVENT_DEFERRED;
    ev->attempt = m->past.attempts + o->v.charged;
    ev->date_s = o->date_s ? o->date_s : m->past.date_s;
    ev->clock_ms = m->past.clock_ms;
    ev->charged = o->v.charged;
    remember(o, m);
    if (m->cancelled || m->paused) {
        steer_takes(d, o->id, o->lane);
    } else if (o->v.charged) {
        ev->next_due_ms = ev->at_ms + next_try_ms(d, o, m);
        struct lane *lane = lane_of(d, o->lane->campaign, o->lane->domain, m->source, m->host);
        queue_get(d->queue, o->id)->lane = lane->index;
        queue_retry(d->queue, o->id, ev->next_due_ms);
    } else {
        lane_push(d->queue, o->lane, o->id, false, true);
        lane_service(d, o->lane);
    }
    d->counts.deferred += ev->type == EVENT_DEFERRED;
    d->counts.ambiguous += ev->type == EVENT_AMBIGUOUS;
    write_event(d, ev);
}

void deliver_settle(struct outcome *o)
{
    struct deliver *d = o->d;
    struct rec_event *ev = &o->ev;
    const struct q_memo *m = queue_memo(d->queue, o->id, false);
    ev->class_name = o->v.delivered ? SLICE_NONE : slice_cstr(class_name(o->v.cls));
    ev->rule = o->v.delivered || !o->v.rule ? SLICE_NONE : slice_cstr(o->v.rule);
    ev->attempt = (m ? m->past.attempts : 0) + (o->v.charged || o->v.delivered || o->v.final);
    if (o->v.delivered) {
        ev->type = EVENT_DELIVERED;
        d->counts.delivered++;
    } else if (ev->type == EVENT_SUPPRESSED) {
        ev->class_name = SLICE_NONE; /* nothing was answered */
        ev->attempt = m ? m->past.attempts : 0;
        d->counts.suppressed++;
    } else if (o->v.final) {
        ev->type = EVENT_BOUNCED;
        d->counts.bounced++;
    } else if (ev->type == EVENT_EXPIRED || clock_is_over(d, o->id)) {
        ev->type = EVENT_EXPIRED;
        if (!(m && m->past.replied) && !ev->code) {
            o->v.cls = CLASS_EXPIRED;
            o->v.act.person = NULL;
        }
        ev->class_name = slice_cstr(class_name(o->v.cls));
        d->counts.expired++;
    } else {
        defer(d, o);
        outcome_free(o);
        return;
    }
    judge(d, ev, o->v.act.person);
    journal(d, ev, o->lane->domain->name);
    outcome_forget(o);
    outcome_free(o);
}

/* --- suppression --- */

struct outcome *outcome_suppressed(struct deliver *d, struct lane *lane, const struct rec_recipient *r,
                                   const struct addr *to)
{
    struct suppress_hit hit;
    struct buf why = {0};
    if (!suppress_has(d->suppress, to, lane->campaign->stream->name, campaign_list(lane->campaign), &hit))
        return NULL;
    struct outcome *o = outcome_new(d, r->id, lane);
    outcome_take_record(o, r);
    suppress_hit_text(&why, &hit);
    o->ev.type = EVENT_SUPPRESSED;
    o->ev.text = arena_copy(&o->arena, buf_slice(&why));
    o->v.rule = "suppression";
    buf_free(&why);
    return o;
}

void outcome_settle(struct outcome *o)
{
    o->ev.at_ms = loop_wall_ms(o->d->loop);
    deliver_settle(o);
}
