/* answer.c - what answers do to the path they came by: it speeds up or slows down by itself, rules put
 * measures in place, and a source or a sender that is refused as such stops and somebody is told. */
#include "delivery/measure.h"
#include "delivery/presence.h"
#include "delivery/settle.h"

enum { STOP_MS = 3600000, REFUSED_MS = 300000, CONNECT_MS = 60000 };

static void tell(struct deliver *d, const struct measure *m, const struct act_rule *rule)
{
    struct buf b = {0};
    if (!m || !rule)
        return;
    measure_name(&b, m->number);
    notice(d, rule->act.alert ? 2 : 1,
           "measure=%s %s scope=%s isp=%s source=%s about=\"%s\" rule=\"%s\" text=\"%s\"", buf_cstr(&b),
           measure_kind_name(m->kind), act_scope_name(m->scope), m->isp[0] ? m->isp : "-",
           m->source[0] ? m->source : "-", m->what, m->rule, m->why);
    buf_free(&b);
}

/* A stop that needs no rule: nobody would send on. */
static struct measure *stop(struct deliver *d, enum act_scope scope, int64_t for_ms, struct measure_start s)
{
    s.act = (struct act){.kind = ACT_SUSPEND, .scope = scope, .for_ms = for_ms};
    return measure_begin(paths_measures(d->paths), &s);
}

static void notice_answer(struct deliver *d, const char *what, const struct path *p, enum smtp_phase phase,
                          struct slice text)
{
    notice(d, 1, "%s isp=%.*s source=%.*s phase=%s text=\"%.*s\"", what, SLICE_FMT(p->isp->name),
           SLICE_FMT(d->conf.conf->sources[p->source].name), smtp_phase_name(phase), SLICE_FMT(text));
}

static bool is_rate(enum reply_class c)
{
    return c == CLASS_RATE_LIMITED || c == CLASS_TOO_MANY_CONNECTIONS || c == CLASS_BLOCKED ||
           c == CLASS_LOW_REPUTATION;
}

enum asks { ASKS_NOTHING, ASKS_IN_DOUBT, ASKS_PERHAPS, ASKS_FOR_LESS };

/* These say why: it is about us, this mail or this person. */
static bool is_explained(enum reply_class c)
{
    enum class_group g = class_group_of(c);
    return c == CLASS_AUTH_FAILED || c == CLASS_SENDER_REJECTED || c == CLASS_TLS_FAILED ||
           (g == GROUP_CONTENT && c != CLASS_OVER_LIMIT);
}

static bool is_about_person(enum reply_class c)
{
    enum class_group g = class_group_of(c);
    return g == GROUP_INVALID_RECIPIENT || g == GROUP_INACTIVE_OR_FULL || g == GROUP_FILTERED;
}

/* Some receivers limit with any 4xx that comes to hand. Before RCPT it cannot be about the person, and what
 * remains, but for these, is how much they take from us now: if they take any. Others end the session, by 421
 * or without a word, or have no more of them. From RCPT on it may be about the person. */
static enum asks asks_for_less(const struct deliver *d, const struct path *p, const struct verdict *v,
                               enum smtp_phase phase, int code)
{
    int64_t now = loop_wall_ms(d->loop);
    if (is_rate(v->cls))
        return ASKS_FOR_LESS;
    if (!p->backoff || is_explained(v->cls))
        return ASKS_NOTHING;
    bool early = phase == SMTP_PHASE_BANNER || phase == SMTP_PHASE_EHLO || phase == SMTP_PHASE_MAIL;
    bool grey = v->cls == CLASS_GREYLISTED;
    if (early && code / 100 == 4 && !grey && backoff_recent_per_day(p->backoff, now))
        return ASKS_FOR_LESS;
    bool ends = code == 421 || (!code && v->cls == CLASS_NETWORK);
    if (ends && !grey)
        return backoff_is_taking(p->backoff, now) ? ASKS_PERHAPS : ASKS_NOTHING;
    bool of_mail = phase >= SMTP_PHASE_MAIL && code / 100 == 4;
    return of_mail && !is_about_person(v->cls) ? ASKS_IN_DOUBT : ASKS_NOTHING;
}

/* A rule that says what is done speaks for the path, and so does a warm-up that goes back for such answers to
 * mail; without them it finds its way itself. Who is refused at connecting used no permit and would come
 * again at once: neither speaks for that. mail: whose it was; NULL: none was under way. */
static struct measure *back_off(struct deliver *d, const struct verdict *v, enum smtp_phase phase, int code,
                                const struct measure_answer *a, const struct doubt_mail *mail)
{
    struct path *p = a->path;
    enum asks asks = asks_for_less(d, p, v, phase, code);
    if (asks == ASKS_NOTHING || (asks == ASKS_IN_DOUBT && (!mail || v->act.path))) {
        measures_answered(p);
        return NULL;
    }
    if (asks == ASKS_IN_DOUBT) {
        struct measure *m = measures_doubted(p, *mail, a->why, a->message, a->at_ms);
        if (m)
            path_refused(p);
        return m;
    }
    if (!v->act.path || v->act.path->act.kind != ACT_RECONNECT)
        path_refused(p);
    bool of_mail = phase >= SMTP_PHASE_MAIL;
    if ((mail && v->act.path) ||
        (of_mail && warmups_would_retreat(d->warmups, p->source, p->isp->name, v->cls))) {
        measures_answered(p);
        return NULL;
    }
    return measures_refused(p, asks == ASKS_PERHAPS ? BACKOFF_MAY_ASK : BACKOFF_ASKS, a->why, a->message,
                            a->at_ms);
}

static struct measure *count(struct deliver *d, const struct verdict *v, struct measure_answer a)
{
    a.rule = v->delivered ? NULL : v->act.path;
    struct measure *m = measures_answer(paths_measures(d->paths), &a);
    tell(d, m, v->act.path);
    return m;
}

static void source_refused(struct deliver *d, struct path *p, enum smtp_phase phase, struct slice words,
                           struct slice why)
{
    path_refused(p);
    stop(d, ACT_PATH, STOP_MS, (struct measure_start){.path = p, .rule = S("source refused"), .why = why});
    notice_answer(d, "source refused: this path waits for an hour;", p, phase, words);
}

void answer_count(struct outcome *o)
{
    struct deliver *d = o->d;
    struct path *p = o->path;
    const struct verdict *v = &o->v;
    enum smtp_phase phase = o->ev.phase ? (enum smtp_phase)(o->ev.phase - 1) : SMTP_PHASE_CONNECT;
    int64_t begun_ms = o->begun_ms ? loop_now_ms(d->loop) - (loop_wall_ms(d->loop) - o->begun_ms) : 0;
    const struct q_memo *memo = queue_memo(d->queue, o->id, false);
    struct doubt_mail mail = {.domain = (uint64_t)(uintptr_t)o->lane->domain,
                              .again = memo && memo->past.attempts};
    struct measure_answer a = {.path = p,
                               .site = o->site,
                               .campaign = o->lane->campaign,
                               .message = o->id,
                               .begun_ms = begun_ms,
                               .at_ms = o->ev.at_ms,
                               .why = o->ev.text};
    struct measure *m, *learnt = NULL, *stopped = NULL;
    if (v->delivered) {
        path_took(p);
        measures_took(p, mail);
    } else {
        learnt = back_off(d, v, phase, o->ev.code, &a, &mail);
    }
    m = count(d, v, a);
    if (!v->delivered && v->scope == SCOPE_SENDER) {
        stopped = stop(d, ACT_STREAM, STOP_MS,
                       (struct measure_start){.path = p,
                                              .campaign = o->lane->campaign,
                                              .rule = S("sender refused"),
                                              .why = o->ev.text,
                                              .at_ms = o->ev.at_ms});
        notice_answer(d, "sender refused: this stream waits here for an hour;", p, phase, o->ev.text);
    }
    m = m ? m : stopped ? stopped : learnt;
    o->ev.measure = m ? m->number : 0;
}

/* That says nothing by itself: sessions end. But where mail is slowed down already it may be a refusal. */
void answer_closed(struct deliver *d, struct path *p, uint64_t id)
{
    if (!d->draining && p->backoff && p->backoff->state != BACKOFF_FREE)
        measures_refused(p, BACKOFF_MAY_ASK, S("the session was closed at MAIL"), id, 0);
}

void on_refused(void *data, struct session *s, const struct verdict *v, enum smtp_phase phase,
                const struct smtp_reply *reply, const char *text)
{
    struct deliver *d = data;
    const struct session_facts *facts = session_facts(s);
    struct path *p = facts->path;
    struct slice words = reply ? reply->text : slice_cstr(text);
    struct buf why = {0};
    int code = reply ? reply->code : 0;
    if (!reply && phase == SMTP_PHASE_CONNECT && presence_lost(d, facts->source))
        return;
    if (reply && phase < SMTP_PHASE_MAIL) /* what answers mail is counted when it is settled */
        warmups_refused(d->warmups, facts->source, facts->site->isp->name, v->cls);
    buf_printf(&why, "%s: %.*s", smtp_phase_name(phase), SLICE_FMT(words));
    struct measure_answer a = {.path = p, .site = facts->site, .why = buf_slice(&why)};
    const struct measure *m = count(d, v, a);
    if (v->scope == SCOPE_SOURCE) {
        source_refused(d, p, phase, words, buf_slice(&why));
    } else if (p->sessions > 1) {
        path_refused(p); /* one connection too many: those that are open go on */
    } else if (m && !m->factor_ppm) {
        path_refused(p); /* a rule has stopped it */
        measures_answered(p);
    } else if (asks_for_less(d, p, v, phase, code) > ASKS_IN_DOUBT) {
        back_off(d, v, phase, code, &a, NULL);
    } else {
        path_refused(p);
        stop(d, ACT_PATH, REFUSED_MS,
             (struct measure_start){.path = p, .rule = S("refused"), .why = buf_slice(&why)});
        notice_answer(d, "refused: this path waits five minutes;", p, phase, words);
    }
    buf_free(&why);
}

/* Every host of the site was tried in vain. */
static void sweep_site(struct deliver *d, struct site *site, const char *text)
{
    for (struct share *sh = site->shares; sh; sh = sh->next) {
        size_t lanes = 0;
        for (struct lane *lane = sh->ring; lane && (lane != sh->ring || !lanes); lane = lane->next)
            lanes++;
        for (; lanes && sh->ring; lanes--) { /* a sweep may take its lane out of the ring */
            struct lane *lane = sh->ring;
            sh->ring = lane->next;
            sweep_hopeless(d, lane, text);
        }
    }
}

void on_unreachable(void *data, struct session *s, struct flight *f, const struct verdict *v,
                    enum smtp_phase phase, const struct smtp_reply *reply, const char *text)
{
    struct deliver *d = data;
    const struct session_facts *facts = session_facts(s);
    struct site *site = facts->site;
    path_refused(facts->path);
    bool others_work = site->connected > 0;
    /* What took mail until now need not be down. */
    bool perhaps = !v->act.path && facts->path->sessions <= 1 &&
                   asks_for_less(d, facts->path, v, phase, reply ? reply->code : 0) > ASKS_IN_DOUBT;
    if (perhaps)
        site_try_again(site);
    else if (!others_work)
        site_down(site);
    struct measure_answer a = {
        .path = facts->path, .site = site, .at_ms = loop_wall_ms(d->loop), .why = slice_cstr(text)};
    if (f) {
        a.campaign = f->lane->campaign;
        a.message = f->id;
    }
    struct measure *m = count(d, v, a);
    if (perhaps) {
        struct measure *learnt = back_off(d, v, phase, reply ? reply->code : 0, &a, NULL);
        m = m ? m : learnt;
    }
    if (f) {
        struct outcome *o = outcome_of_flight(d, s, f);
        path_return(f->path, f->lane, f->id);
        outcome_take_answer(o, phase, reply, text);
        o->v = *v;
        o->v.charged = false;
        o->v.final = false;
        o->ev.at_ms = a.at_ms;
        o->ev.session = 0;
        o->ev.measure = m ? m->number : 0;
        o->ev.next_due_ms =
            others_work || perhaps ? 0 : o->ev.at_ms + loop_timer_due_ms(&site->timer) - loop_now_ms(d->loop);
        deliver_settle(o);
    }
    if (!others_work)
        sweep_site(d, site, text);
    else if (!perhaps && facts->path->sessions <= 1) /* it is this source that cannot get there */
        stop(d, ACT_PATH, CONNECT_MS,
             (struct measure_start){.path = facts->path, .rule = S("connection failed"), .why = a.why});
}
