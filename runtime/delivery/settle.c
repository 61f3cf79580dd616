/* settle.c - what becomes of a recipient after an attempt, and of what nobody will ever take.
 *
 * deliver_settle() is the one place where a recipient that was accepted changes state. Everything that leads
 * to it is gathered in a struct outcome, which owns what it points to: a reply hook may keep it waiting, and
 * what never reached a session (a dead domain, a message that expired in its lane) has its record read by a
 * pool thread first, because an event names the recipient and the loop never reads the spool. */
#include "delivery/deliver_impl.h"
#include "delivery/steer.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    SLICE = 256,
    HOOKS_AHEAD = 16,
    HOLD_SOURCE_MS = 3600000,
    HOLD_RATE_MS = 300000,
    HOLD_CONNECT_MS = 60000,
    SPOOL_AGAIN_MS = 1000
};

struct outcome {
    struct deliver *d;
    uint64_t id;
    struct lane *lane;
    struct verdict v;
    struct rec_event ev; /* filled but for type, class and what follows from them */
    struct path *path;   /* NULL: no session */
    struct host *host;   /* where it was tried */
    uint16_t source;
    int64_t date_s;
    int64_t begun_ms; /* UTC; 0: it was not begun */
    struct slice edits;
    struct arena arena;
};

static struct outcome *outcome_new(struct deliver *d, uint64_t id, struct lane *lane)
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
                               .meta = SLICE_NONE};
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

static void take_record(struct outcome *o, const struct rec_recipient *r)
{
    o->ev.recipient = arena_copy(&o->arena, r->address);
    o->ev.accepted_ms = r->accepted_ms;
    o->ev.flags = r->flags;
    put_meta(o, r);
}

static void take_answer(struct outcome *o, enum smtp_phase phase, const struct smtp_reply *reply,
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

static uint32_t isp_number(struct deliver *d, struct isp *isp)
{
    if (!isp->number)
        isp->number = name_number(d, NAME_ISP, isp->name);
    return isp->number;
}

static uint32_t source_number(struct deliver *d, uint16_t source)
{
    return name_number(d, NAME_SOURCE, d->conf.conf->sources[source].name);
}

/* --- the change --- */

static void write_event(struct deliver *d, struct rec_event *ev)
{
    struct rec rec = {.type = REC_EVENT};
    ev->event = d->next_event++;
    rec.event = *ev;
    segment_use_event(d, append_record(d, SPOOL_EVENTS, &rec), ev->at_ms);
    suppress_event(d->suppress, ev, deliver_name(d, NAME_STREAM, ev->stream));
    if (d->conf.hooks.event)
        d->conf.hooks.event(d->conf.hooks.data, ev);
}

static void forget(struct deliver *d, struct outcome *o)
{
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
    const struct rec_event *ev = &o->ev;
    m->class_no = (uint8_t)o->v.cls;
    m->phase = ev->phase;
    m->code = ev->code;
    m->enhanced = (struct smtp_enhanced){ev->enh_class, ev->enh_subject, ev->enh_detail};
    m->replied |= ev->code != 0;
    free(m->text);
    m->text = mem_dup(ev->text.p, ev->text.n);
    if (o->v.charged)
        m->attempts++;
    if (o->date_s)
        m->date_s = o->date_s;
    if (!m->first_ms)
        m->first_ms = o->begun_ms ? o->begun_ms : ev->at_ms;
    if (m->source == UINT16_MAX && o->v.charged)
        m->source = o->source;
    free(m->host);
    m->host = o->v.ambiguous && o->host ? mem_dup(o->host->name.p, o->host->name.n) : NULL;
    if (o->edits.n && !m->edits.n)
        m->edits = slice_of(mem_dup(o->edits.p, o->edits.n), o->edits.n);
}

/* It goes on: back to its lane at once where only the path or sender is to blame, else by the schedule. */
static void defer(struct deliver *d, struct outcome *o)
{
    struct q_memo *m = queue_memo(d->queue, o->id, true);
    struct rec_event *ev = &o->ev;
    remember(o, m);
    ev->type = o->v.ambiguous ? EVENT_AMBIGUOUS : EVENT_DEFERRED;
    ev->attempt = m->attempts;
    ev->date_s = m->date_s;
    ev->charged = o->v.charged;
    if (m->cancelled || m->paused) {
        ev->next_due_ms = m->restore_due_ms = 0;
        steer_takes(d, o->id, o->lane);
    } else if (o->v.charged) {
        ev->next_due_ms =
            ev->at_ms + verdict_retry_ms(&d->conf.conf->retry, m->attempts, loop_random(d->loop));
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

static bool gave_up(struct deliver *d, const struct outcome *o)
{
    const struct q_memo *m = queue_memo(d->queue, o->id, false);
    return m && m->first_ms && o->ev.at_ms - m->first_ms >= d->conf.conf->retry.give_up_ms;
}

static void deliver_settle(struct outcome *o)
{
    struct deliver *d = o->d;
    struct rec_event *ev = &o->ev;
    const struct q_memo *m = queue_memo(d->queue, o->id, false);
    ev->class_name = o->v.delivered ? SLICE_NONE : slice_cstr(class_name(o->v.cls));
    ev->rule = o->v.delivered || !o->v.rule ? SLICE_NONE : slice_cstr(o->v.rule);
    ev->attempt = (m ? m->attempts : 0) + (o->v.charged || o->v.delivered || o->v.final);
    if (o->v.delivered) {
        ev->type = EVENT_DELIVERED;
        d->counts.delivered++;
        o->lane->domain->delivered_ms = ev->at_ms;
    } else if (ev->type == EVENT_SUPPRESSED) {
        ev->class_name = SLICE_NONE; /* nothing was answered */
        ev->attempt = m ? m->attempts : 0;
        d->counts.suppressed++;
    } else if (o->v.final) {
        ev->type = EVENT_BOUNCED;
        d->counts.bounced++;
    } else if (ev->type == EVENT_EXPIRED || gave_up(d, o)) {
        ev->type = EVENT_EXPIRED;
        if (!(m && m->replied) && !ev->code)
            o->v.cls = CLASS_EXPIRED;
        ev->class_name = slice_cstr(class_name(o->v.cls));
        d->counts.expired++;
    } else {
        defer(d, o);
        outcome_free(o);
        return;
    }
    write_event(d, ev);
    forget(d, o);
    outcome_free(o);
}

/* --- suppression --- */

struct outcome *outcome_suppressed(struct deliver *d, struct lane *lane, const struct rec_recipient *r,
                                   const struct addr *to)
{
    struct suppress_hit hit;
    struct buf why = {0};
    if (!suppress_has(d->suppress, to, lane->campaign->stream->name, &hit))
        return NULL;
    struct outcome *o = outcome_new(d, r->id, lane);
    take_record(o, r);
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

static bool is_suppressed(struct deliver *d, const struct flight *f)
{
    const struct rec_recipient *r = &f->message->rec;
    struct arena a = {0};
    struct addr to;
    struct outcome *o = NULL;
    if (!addr_parse(r->address, &a, &to, NULL))
        o = outcome_suppressed(d, f->lane, r, &to);
    arena_free(&a);
    if (!o)
        return false;
    path_return(f->path, f->lane, f->id);
    outcome_settle(o);
    return true;
}

/* --- sessions --- */

static void on_spool_timer(struct loop_timer *t)
{
    struct deliver *d = CONTAINER(t, struct deliver, spool_timer);
    size_t at = 0;
    if (!on_may_begin(d))
        return;
    for (struct isp *isp; (isp = paths_next_isp(d->paths, &at));)
        isp_service(isp);
}

/* An attempt whose begin record cannot be written would be doubled by the next start without anybody knowing.
 */
bool on_may_begin(void *data)
{
    struct deliver *d = data;
    if (d->draining)
        return false;
    if (!spool_status(d->spool))
        return true;
    if (!loop_timer_active(&d->spool_timer))
        loop_timer_start(d->loop, &d->spool_timer, SPOOL_AGAIN_MS, on_spool_timer);
    return false;
}

bool on_prepare(void *data, struct flight *f)
{
    struct deliver *d = data;
    struct q_entry *e = queue_get(d->queue, f->id);
    struct q_memo *m = queue_memo(d->queue, f->id, false);
    struct campaign *c = f->lane->campaign;
    INVARIANT(e->state == Q_CLAIMED);
    hooks_top_up(d, f->lane);
    f->position = spool_pos_pack((struct spool_pos){e->segment, e->offset});
    f->attempt = (m ? m->attempts : 0) + 1;
    f->in = (struct message_in){.id = f->id,
                                .content = c->content,
                                .identity = c->stream->identity,
                                .campaign = c->conf ? c->name : SLICE_NONE,
                                .date_s = m && m->date_s ? m->date_s : loop_wall_ms(d->loop) / 1000,
                                .edits = m ? m->edits : SLICE_NONE,
                                .redirect = slice_cstr(d->conf.redirect)};
    return true;
}

bool on_fit(void *data, struct flight *f)
{
    struct deliver *d = data;
    bool paused = steer_lane_paused(d, f->lane) || steer_path_paused(d, f->path);
    if (steer_takes(d, f->id, f->lane)) {
        path_return(f->path, f->lane, f->id);
        return false;
    }
    if (paused) {
        path_return(f->path, f->lane, f->id);
        lane_push(d->queue, f->lane, f->id, false, true);
        lane_service(d, f->lane);
        return false;
    }
    int64_t expires = f->message->rec.expires_ms;
    if (is_suppressed(d, f))
        return false;
    if (!expires || loop_wall_ms(d->loop) < expires)
        return true;
    struct outcome *o = outcome_new(d, f->id, f->lane);
    const struct q_memo *m = queue_memo(d->queue, f->id, false);
    take_record(o, &f->message->rec);
    o->ev.type = EVENT_EXPIRED;
    o->v.cls = m && m->replied ? (enum reply_class)m->class_no : CLASS_EXPIRED;
    o->ev.text =
        m && m->text ? arena_copy(&o->arena, slice_cstr(m->text)) : S("its time ended before it was sent");
    o->ev.code = m ? m->code : 0;
    o->v.rule = "expire";
    path_return(f->path, f->lane, f->id);
    deliver_settle(o);
    return false;
}

static void record_session(struct deliver *d, struct session *s)
{
    struct session_facts *f = session_facts_mutable(s);
    struct rec rec = {.type = REC_SESSION};
    static const char *const policies[] = {"opportunistic", "none", "opportunistic", "require"};
    /* Once for each segment that has events of it, so that old segments can go. */
    if (f->recorded && f->recorded_segment == d->event_segment)
        return;
    f->recorded = true;
    rec.session = (struct rec_session){.session = f->number,
                                       .at_ms = loop_wall_ms(d->loop),
                                       .source = source_number(d, f->source),
                                       .isp = isp_number(d, f->site->isp),
                                       .local_ip = f->local.ip,
                                       .ip = f->remote.ip,
                                       .port = f->remote.port,
                                       .ehlo = d->conf.conf->sources[f->source].ehlo,
                                       .mx = f->host->name,
                                       .tls_version = f->tls ? f->tls->version : SLICE_NONE,
                                       .tls_cipher = f->tls ? f->tls->cipher : SLICE_NONE,
                                       .tls_policy = slice_cstr(policies[f->tls_use]),
                                       .tls_verified = f->tls && f->tls->verified,
                                       .tls_resumed = f->tls && f->tls->resumed,
                                       .note = slice_cstr(f->note)};
    f->recorded_segment = append_record(d, SPOOL_EVENTS, &rec);
}

void on_begin(void *data, struct session *s, struct flight *f)
{
    struct deliver *d = data;
    const struct session_facts *facts = session_facts(s);
    struct rec rec = {.type = REC_BEGIN};
    record_session(d, s);
    path_begin(f->path, f->lane, f->id);
    rec.begin = (struct rec_begin){.id = f->id,
                                   .at_ms = f->begun_wall_ms,
                                   .date_s = f->in.date_s,
                                   .attempt = f->attempt,
                                   .source = source_number(d, facts->source),
                                   .isp = isp_number(d, facts->site->isp),
                                   .edits = f->in.edits};
    if (limits_have_by(paths_limits(d->paths), CONF_BY_MX))
        rec.begin.mx = name_number(d, NAME_MX, facts->site->key);
    uint32_t segment = append_record(d, SPOOL_EVENTS, &rec);
    if (f->in.edits.n)
        segment_use_edits(d, segment, f->begun_wall_ms);
}

static struct outcome *outcome_of_flight(struct deliver *d, struct session *s, struct flight *f)
{
    struct outcome *o = outcome_new(d, f->id, f->lane);
    const struct session_facts *facts = session_facts(s);
    int64_t now = loop_now_ms(d->loop);
    take_record(o, &f->message->rec);
    o->path = facts->path;
    o->host = facts->host;
    o->source = facts->source;
    o->date_s = f->begun ? f->in.date_s : 0;
    o->edits = arena_copy(&o->arena, f->in.edits);
    o->ev.isp = isp_number(d, facts->site->isp);
    o->ev.source = source_number(d, facts->source);
    o->ev.session = facts->number;
    o->ev.size = f->message->size_bytes;
    o->ev.unmappable = f->message->unmappable;
    o->ev.connect_ms = (uint32_t)facts->connect_ms;
    if (f->begun) {
        o->begun_ms = f->begun_wall_ms;
        o->ev.send_ms = (uint32_t)(now - f->begun_ms);
        if (f->begun_wall_ms > o->ev.accepted_ms)
            o->ev.queued_ms = (uint32_t)(f->begun_wall_ms - o->ev.accepted_ms);
    }
    return o;
}

static void notice_answer(struct deliver *d, const char *what, const struct isp *isp, struct slice source,
                          enum smtp_phase phase, struct slice text)
{
    notice(d, 1, "%s isp=%.*s source=%.*s phase=%s text=\"%.*s\"", what, SLICE_FMT(isp->name),
           SLICE_FMT(source), smtp_phase_name(phase), SLICE_FMT(text));
}

/* A restriction outlives the process: people who restart must not undo what a receiver asked for. */
static void write_measure(struct deliver *d, struct isp *isp, uint32_t source, uint32_t stream,
                          int64_t until_ms, struct slice why)
{
    struct rec rec = {.type = REC_MEASURE};
    rec.measure = (struct rec_measure){.at_ms = loop_wall_ms(d->loop),
                                       .until_ms = until_ms,
                                       .isp = isp_number(d, isp),
                                       .source = source,
                                       .stream = stream,
                                       .why = why};
    append_record(d, SPOOL_EVENTS, &rec);
}

static void hold_path(struct deliver *d, struct path *p, int64_t for_ms, const char *why)
{
    int64_t until_ms = loop_wall_ms(d->loop) + for_ms;
    path_hold(p, until_ms, why);
    write_measure(d, p->isp, source_number(d, p->source), 0, until_ms, slice_cstr(why));
}

static bool is_rate(enum reply_class c)
{
    return c == CLASS_RATE_LIMITED || c == CLASS_TOO_MANY_CONNECTIONS || c == CLASS_BLOCKED ||
           c == CLASS_LOW_REPUTATION;
}

void on_settle(void *data, struct session *s, struct flight *f, const struct verdict *v,
               enum smtp_phase phase, const struct smtp_reply *reply, const char *text, bool other_rcpt)
{
    struct deliver *d = data;
    const struct session_facts *facts = session_facts(s);
    struct outcome *o = outcome_of_flight(d, s, f);
    struct domain *dom = f->lane->domain;
    take_answer(o, phase, reply, text);
    o->v = *v;
    o->ev.raw_rcpt = f->raw_first ? !other_rcpt : other_rcpt;
    if (v->delivered) {
        if (f->message->rcpt_raw.n)
            domain_took(dom, o->ev.raw_rcpt);
        path_took(facts->path);
    } else if (is_rate(v->cls)) {
        path_refused(facts->path);
    }
    if (!v->delivered && v->scope == SCOPE_SENDER) {
        struct stream *stream = f->lane->campaign->stream;
        isp_stop_stream(facts->site->isp, stream, o->ev.at_ms + HOLD_SOURCE_MS, o->ev.text.p);
        write_measure(d, facts->site->isp, 0, stream->number, o->ev.at_ms + HOLD_SOURCE_MS, o->ev.text);
        notice_answer(d, "sender refused: this stream waits here for an hour;", facts->site->isp,
                      d->conf.conf->sources[facts->source].name, phase, o->ev.text);
    }
    if (!v->delivered && v->scope == SCOPE_SOURCE)
        on_refused(d, s, v, phase, reply, text);
    if (d->conf.hooks.reply && !v->delivered) {
        o->ev.type = v->final ? EVENT_BOUNCED : EVENT_DEFERRED;
        o->ev.class_name = slice_cstr(class_name(v->cls));
        d->conf.hooks.reply(d->conf.hooks.data, o, &o->ev);
        return;
    }
    deliver_settle(o);
}

void deliver_reply_done(struct deliver *d, struct outcome *o, enum reply_class cls)
{
    INVARIANT(o->d == d);
    o->ev.type = 0;
    if (cls < (enum reply_class)CLASS_COUNT)
        verdict_override(&o->v, cls, o->ev.code);
    if (cls < (enum reply_class)CLASS_COUNT)
        o->v.rule = "reply hook";
    deliver_settle(o);
}

void on_unfit(void *data, struct flight *f)
{
    struct deliver *d = data;
    struct outcome *o = outcome_new(d, f->id, f->lane);
    if (f->message->rec.id == f->id)
        take_record(o, &f->message->rec);
    o->ev.type = EVENT_HELD;
    o->ev.text = slice_cstr(f->error.text);
    notice(d, 2, "message=m%llu cannot be assembled and is held: %s", (unsigned long long)f->id,
           f->error.text);
    write_event(d, &o->ev);
    queue_hold(d->queue, f->id, f->error.text);
    path_return(f->path, f->lane, f->id);
    outcome_free(o);
}

/* Not charged. What was begun gets its end in the journal all the same: a begin record without one counts as
 * an attempt after a restart. */
void on_back(void *data, struct flight *f)
{
    struct deliver *d = data;
    if (f->begun) {
        struct outcome *o = outcome_new(d, f->id, f->lane);
        struct q_memo *m = queue_memo(d->queue, f->id, true);
        m->date_s = f->in.date_s;
        if (!m->first_ms)
            m->first_ms = f->begun_wall_ms;
        take_record(o, &f->message->rec);
        o->ev.type = EVENT_DEFERRED;
        o->ev.attempt = m->attempts;
        o->ev.text = S("the session ended before its turn");
        o->ev.rule = S("not taken");
        o->ev.date_s = f->in.date_s;
        write_event(d, &o->ev);
        outcome_free(o);
    } else {
        path_return(f->path, f->lane, f->id);
    }
    if (steer_takes(d, f->id, f->lane))
        return;
    lane_push(d->queue, f->lane, f->id, false, true);
    lane_service(d, f->lane);
}

void on_unreachable(void *data, struct session *s, struct flight *f, const struct verdict *v,
                    enum smtp_phase phase, const struct smtp_reply *reply, const char *text)
{
    struct deliver *d = data;
    const struct session_facts *facts = session_facts(s);
    struct site *site = facts->site;
    path_refused(facts->path);
    bool others_work = site->connected > 0;
    if (!others_work)
        site_down(site);
    if (f) {
        struct outcome *o = outcome_of_flight(d, s, f);
        path_return(f->path, f->lane, f->id);
        take_answer(o, phase, reply, text);
        o->v = *v;
        o->v.charged = false;
        o->v.final = false;
        o->ev.session = 0;
        o->ev.next_due_ms =
            others_work ? 0 : o->ev.at_ms + loop_timer_due_ms(&site->timer) - loop_now_ms(d->loop);
        deliver_settle(o);
    }
    if (others_work) {
        if (facts->path->sessions <= 1) /* it is this source that cannot get there */
            hold_path(d, facts->path, HOLD_CONNECT_MS, text);
        return;
    }
    for (struct share *sh = site->shares; sh; sh = sh->next) {
        size_t lanes = 0;
        for (struct lane *lane = sh->ring; lane && (lane != sh->ring || !lanes); lane = lane->next)
            lanes++;
        for (; lanes && sh->ring; lanes--) { /* a sweep may take its lane out of the ring */
            struct lane *lane = sh->ring;
            sh->ring = lane->next;
            sweep_hopeless(d, lane, site->down_since_ms, text);
        }
    }
}

void on_refused(void *data, struct session *s, const struct verdict *v, enum smtp_phase phase,
                const struct smtp_reply *reply, const char *text)
{
    struct deliver *d = data;
    const struct session_facts *facts = session_facts(s);
    struct slice words = reply ? reply->text : slice_cstr(text);
    struct buf why = {0};
    path_refused(facts->path);
    buf_printf(&why, "%s: %.*s", smtp_phase_name(phase), SLICE_FMT(words));
    bool permanent = v->scope == SCOPE_SOURCE && (!reply || reply->code >= 500);
    if (!permanent && facts->path->sessions > 1) {
        /* One connection too many: those that are open go on. */
        buf_free(&why);
        return;
    }
    hold_path(d, facts->path, permanent ? HOLD_SOURCE_MS : HOLD_RATE_MS, buf_cstr(&why));
    notice_answer(d,
                  permanent ? "source refused: this path waits for an hour;"
                            : "refused: this path waits five minutes;",
                  facts->site->isp, d->conf.conf->sources[facts->source].name, phase, words);
    buf_free(&why);
}

/* --- recipients that no session will carry: their records are read first --- */

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
    work_submit(d->pool, &r->job);
    return r;
}

static void settle_dead(struct reading *r)
{
    struct outcome *o = outcome_new(r->d, r->id, r->lane);
    struct verdict_in in = {.cause = r->cause, .phase = SMTP_PHASE_CONNECT, .isp = SLICE_NONE};
    take_record(o, &r->rec.recipient);
    verdict_give(&in, &o->v);
    o->ev.phase = SMTP_PHASE_CONNECT + 1;
    o->ev.text = arena_copy(&o->arena, slice_cstr(r->why));
    deliver_settle(o);
}

static void settle_hopeless(struct reading *r)
{
    struct outcome *o = outcome_new(r->d, r->id, r->lane);
    const struct q_memo *m = queue_memo(r->d->queue, r->id, false);
    take_record(o, &r->rec.recipient);
    o->ev.type = EVENT_EXPIRED;
    o->v.cls = m && m->replied ? (enum reply_class)m->class_no : CLASS_EXPIRED;
    o->v.rule = "give_up";
    o->ev.phase = m && m->phase ? m->phase : SMTP_PHASE_CONNECT + 1;
    o->ev.code = m ? m->code : 0;
    o->ev.text = arena_copy(&o->arena, slice_cstr(m && m->text ? m->text : r->why));
    deliver_settle(o);
}

static void end_cancelled(struct reading *r)
{
    struct outcome *o = outcome_new(r->d, r->id, r->lane);
    const struct q_memo *m = queue_memo(r->d->queue, r->id, false);
    take_record(o, &r->rec.recipient);
    o->ev.type = EVENT_CANCELLED;
    o->ev.attempt = m ? m->attempts : 0;
    o->ev.rule = S("cancelled by hand");
    write_event(r->d, &o->ev);
    forget(r->d, o);
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
        if (lane->campaign->run != CAMPAIGN_RUNNING || steer_lane_paused(d, lane))
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

void sweep_hopeless(struct deliver *d, struct lane *lane, int64_t failing_since_ms, const char *why)
{
    int64_t now = loop_wall_ms(d->loop), give_up = d->conf.conf->retry.give_up_ms;
    if (!failing_since_ms || now - failing_since_ms < give_up || steer_lane_paused(d, lane))
        return;
    while (lane->ready.n && d->readings < SLICE) {
        int64_t since = (int64_t)queue_get(d->queue, lane->ready.head)->since_s * 1000;
        if (now - since < give_up)
            return; /* a lane is in order of time: the rest is younger */
        uint64_t id = path_take_first(d->paths, lane);
        struct reading *r = read_start(d, lane, id, settle_hopeless);
        snprintf(r->why, sizeof r->why, "%s", why);
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
                               .meta = SLICE_NONE};
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
            sweep_hopeless(d, lane, dom->failing_since_ms, dom->why ? dom->why : "");
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
