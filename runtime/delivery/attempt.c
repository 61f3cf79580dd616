/* attempt.c - what sessions report: an attempt may begin, begins, is answered, or comes back untried. A reply
 * hook may keep an outcome waiting before it settles. */
#include "delivery/keycheck.h"
#include "delivery/settle.h"
#include "delivery/pause.h"
#include "delivery/steer.h"

enum { SPOOL_AGAIN_MS = 1000 };

static void on_spool_timer(struct loop_timer *t)
{
    struct deliver *d = CONTAINER(t, struct deliver, spool_timer);
    size_t at = 0;
    if (!on_may_begin(d))
        return;
    interval_close(d->unwritable);
    d->unwritable = NULL;
    for (struct isp *isp; (isp = paths_next_isp(d->paths, &at));)
        isp_service(isp);
}

bool on_may_leave(void *data, struct path *p, const struct flight *f)
{
    struct deliver *d = data;
    if (!d->keycheck)
        d->keycheck = keycheck_new(d);
    return keycheck_may_leave(d->keycheck, p, f->lane->campaign->stream);
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
    if (!d->unwritable) {
        struct interval_cause c = interval_cause(INTERVAL_JOURNAL);
        c.why = S("because the journal could not be written");
        d->unwritable = interval_open(d->intervals, &c);
    }
    return false;
}

static uint32_t claim_ms(const struct deliver *d, const struct flight *f)
{
    return (uint32_t)(loop_now_ms(d->loop) - f->claimed_ms);
}

/* It goes back as it came: that it was taken up is over. */
static void gave_back(struct deliver *d, const struct flight *f)
{
    struct interval_cause c = interval_cause(INTERVAL_PATH);
    c.isp = f->path->isp->name;
    c.source = d->conf.conf->sources[f->path->source].name;
    c.why = S("for a connection that had taken it up and gave it back");
    interval_past(d->intervals, &c, loop_wall_ms(d->loop) - claim_ms(d, f));
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
    f->attempt = (m ? m->past.attempts : 0) + 1;
    f->in = (struct message_in){.id = f->id,
                                .content = c->content,
                                .identity = c->stream->identity,
                                .campaign = c->conf ? c->name : SLICE_NONE,
                                .date_s = m && m->past.date_s ? m->past.date_s : loop_wall_ms(d->loop) / 1000,
                                .edits = m ? m->edits : SLICE_NONE,
                                .redirect = slice_cstr(d->conf.redirect)};
    return true;
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
    o->ev.claim_ms = claim_ms(d, f);
    path_return(f->path, f->lane, f->id);
    outcome_settle(o);
    return true;
}

bool on_fit(void *data, struct flight *f)
{
    struct deliver *d = data;
    bool paused = pause_of_lane(d, f->lane) || pause_of_path(d, f->path);
    if (steer_takes(d, f->id, f->lane)) {
        gave_back(d, f);
        path_return(f->path, f->lane, f->id);
        return false;
    }
    if (paused) {
        gave_back(d, f);
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
    outcome_take_record(o, &f->message->rec);
    o->ev.type = EVENT_EXPIRED;
    o->v.cls = m && m->past.replied ? (enum reply_class)m->past.cls : CLASS_EXPIRED;
    o->ev.text = m && m->past.text ? arena_copy(&o->arena, slice_cstr(m->past.text))
                                   : S("its time ended before it was sent");
    o->ev.code = m ? m->past.code : 0;
    o->v.rule = "expire";
    o->ev.claim_ms = claim_ms(d, f);
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
    const struct q_memo *m = queue_memo(d->queue, f->id, false);
    rec.begin = (struct rec_begin){.id = f->id,
                                   .at_ms = f->begun_wall_ms,
                                   .date_s = f->in.date_s,
                                   .attempt = f->attempt,
                                   .claim_ms = claim_ms(d, f),
                                   .source = source_number(d, facts->source),
                                   .isp = isp_number(d, facts->site->isp),
                                   .clock_ms = m ? m->past.clock_ms : 0,
                                   .edits = f->in.edits};
    if (limits_have_by(paths_limits(d->paths), CONF_BY_MX))
        rec.begin.mx = name_number(d, NAME_MX, facts->site->key);
    if (d->warmups && conf_warmup_of(d->conf.conf, facts->source, facts->site->isp->conf))
        rec.begin.from = f->lane->campaign->stream->domain_number;
    uint32_t segment = append_record(d, SPOOL_EVENTS, &rec);
    if (f->in.edits.n)
        segment_use_edits(d, segment, f->begun_wall_ms);
}

struct outcome *outcome_of_flight(struct deliver *d, struct session *s, struct flight *f)
{
    struct outcome *o = outcome_new(d, f->id, f->lane);
    const struct session_facts *facts = session_facts(s);
    int64_t now = loop_now_ms(d->loop);
    outcome_take_record(o, &f->message->rec);
    o->path = facts->path;
    o->site = facts->site;
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
    if (!f->begun)
        o->ev.claim_ms = claim_ms(d, f);
    if (f->begun) {
        o->begun_ms = f->begun_wall_ms;
        o->ev.send_ms = (uint32_t)(now - f->begun_ms);
        if (f->begun_wall_ms > o->ev.accepted_ms)
            o->ev.queued_ms = (uint32_t)(f->begun_wall_ms - o->ev.accepted_ms);
    }
    return o;
}

void on_settle(void *data, struct session *s, struct flight *f, const struct verdict *v,
               enum smtp_phase phase, const struct smtp_reply *reply, const char *text, bool other_rcpt)
{
    struct deliver *d = data;
    struct outcome *o = outcome_of_flight(d, s, f);
    struct domain *dom = f->lane->domain;
    outcome_take_answer(o, phase, reply, text);
    o->v = *v;
    o->ev.raw_rcpt = f->raw_first ? !other_rcpt : other_rcpt;
    if (v->delivered) {
        if (f->message->rcpt_raw.n)
            domain_took(dom, o->ev.raw_rcpt);
    }
    if (d->conf.hooks.reply && !v->delivered) {
        o->ev.type = v->final ? EVENT_BOUNCED : EVENT_DEFERRED;
        o->ev.class_name = slice_cstr(class_name(v->cls));
        d->conf.hooks.reply(d->conf.hooks.data, o, &o->ev);
        return;
    }
    answer_count(o);
    deliver_settle(o);
}

void deliver_reply_done(struct deliver *d, struct outcome *o, enum reply_class cls, const struct act *act)
{
    INVARIANT(o->d == d);
    o->ev.type = 0;
    if (cls < (enum reply_class)CLASS_COUNT)
        verdict_override(&o->v, cls, o->ev.code, deliver_name(d, NAME_ISP, o->ev.isp), &d->conf.conf->acts);
    if (act) {
        /* The script has looked at this very answer: once is enough. */
        o->hooked = (struct act_rule){.name = S("reply hook"),
                                      .act = *act,
                                      .isp = SLICE_NONE,
                                      .of = SLICE_NONE,
                                      .has = SLICE_NONE,
                                      .after = 1,
                                      .least = 1};
        bool person = act_is_about_person(act->kind);
        o->v.act.person = person || act->ignore ? &o->hooked : o->v.act.person;
        o->v.act.path = !person ? &o->hooked : o->v.act.path;
    }
    answer_count(o);
    deliver_settle(o);
}

void on_unfit(void *data, struct flight *f)
{
    struct deliver *d = data;
    struct outcome *o = outcome_new(d, f->id, f->lane);
    if (f->message->rec.id == f->id)
        outcome_take_record(o, &f->message->rec);
    o->ev.type = EVENT_HELD;
    o->ev.text = slice_cstr(f->error.text);
    o->ev.claim_ms = claim_ms(d, f);
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
        m->past.date_s = f->in.date_s;
        if (!m->past.clock_ms)
            m->past.clock_ms = f->begun_wall_ms;
        outcome_take_record(o, &f->message->rec);
        o->ev.type = EVENT_DEFERRED;
        o->ev.attempt = m->past.attempts;
        o->ev.text = S("the session ended before its turn");
        o->ev.rule = S("not taken");
        o->ev.date_s = f->in.date_s;
        o->ev.clock_ms = m->past.clock_ms;
        write_event(d, &o->ev);
        outcome_free(o);
        answer_closed(d, f->path, f->id);
    } else {
        gave_back(d, f);
        path_return(f->path, f->lane, f->id);
    }
    if (steer_takes(d, f->id, f->lane))
        return;
    lane_push(d->queue, f->lane, f->id, false, true);
    lane_service(d, f->lane);
}
