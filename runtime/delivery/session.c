/* session.c - see session.h: the talk with a host that was reached, and the end. How it is reached is
 * session_dial.c, what becomes of it with nothing to do session_idle.c. */
#include "delivery/session_impl.h"

#include <stdlib.h>

const struct session_facts *session_facts(const struct session *s)
{
    return &s->facts;
}

struct session_facts *session_facts_mutable(struct session *s)
{
    return &s->facts;
}

size_t sessions_count(const struct sessions *ss)
{
    return ss->count;
}

/* --- flights --- */

void session_unlink_flight(struct session *s, struct flight *f)
{
    struct flight **at = &s->flights;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    s->nflights--;
    path_put_down(s->path, s->site, f->lane, &s->holder, s->nflights > 0);
}

static int read_record(void *data, uint64_t position, struct buf *out, struct err *e)
{
    const struct sessions *ss = data;
    return ss->conf.read(ss->conf.data, position, out, e);
}

static void on_assembled(void *data, struct flight *f)
{
    struct sessions *ss = data;
    struct session *s = f->session;
    if (f->status) {
        if (s)
            session_unlink_flight(s, f);
        ss->conf.unfit(ss->conf.data, f);
        flight_free(f);
    } else if (s && !ss->conf.fit(ss->conf.data, f)) {
        session_unlink_flight(s, f);
        flight_free(f);
    } else if (!s) {
        ss->conf.back(ss->conf.data, f);
        flight_free(f);
    }
    if (s && s->unreachable)
        session_unreachable(s);
    else if (s && s->smtp && s->state != SESSION_OPENING)
        session_pump(s);
}

/* A claimed recipient joins the session; false: it went elsewhere. */
bool session_start_flight(struct session *s, struct lane *lane, uint64_t id, bool firm)
{
    struct sessions *ss = s->ss;
    struct flight *f = flight_new(ss->flights, s, lane, id, loop_now_ms(ss->conf.loop));
    f->path = s->path;
    f->firm = firm;
    if (!ss->conf.prepare(ss->conf.data, f)) {
        flight_free(f);
        return false;
    }
    struct flight **at = &s->flights;
    while (*at)
        at = &(*at)->next;
    *at = f;
    s->nflights++;
    s->claimed++;
    path_take_up(s->path, s->site, lane, &s->holder);
    flight_assemble(f);
    return true;
}

/* What was not begun goes back to its lane; what is being assembled follows when it is done. */
static void give_back(struct session *s)
{
    /* The last one first: each goes to the front of its lane. */
    while (s->flights) {
        struct flight *f = s->flights;
        while (f->next)
            f = f->next;
        session_unlink_flight(s, f);
        f->session = NULL;
        if (!f->assembled)
            continue;
        if (!f->begun)
            s->ss->conf.back(s->ss->conf.data, f);
        flight_free(f);
    }
}

/* --- ending --- */

static void closing_end(struct closing *c)
{
    if (c->prev)
        c->prev->next = c->next;
    else
        c->ss->closing = c->next;
    if (c->next)
        c->next->prev = c->prev;
    limit_holder_end(&c->holder);
    path_session_gone(c->path);
    free(c);
}

static void on_closing_closed(struct conn *conn)
{
    closing_end(conn_data(conn));
}

static const struct conn_ops closing_ops = {.on_closed = on_closing_closed};

/* The connection goes; what it was goes with it, but not the session. c: who waits for its close; NULL:
 * nobody. */
void session_drop_conn(struct session *s, enum conn_close_mode mode, struct closing *c)
{
    if (s->conn) {
        if (s->facts.host && conn_tls(s->conn)) {
            struct tls_session *t = conn_take_tls_session(s->conn);
            if (t) {
                tls_session_free(s->facts.host->tls);
                s->facts.host->tls = t;
            }
        }
        conn_set_ops(s->conn, c ? &closing_ops : NULL, c);
        conn_close(s->conn, mode);
        s->conn = NULL;
    }
    smtp_client_free(s->smtp);
    s->smtp = NULL;
    s->queued_bytes = 0;
    s->facts.tls = NULL;
    loop_timer_stop(s->ss->conf.loop, &s->deadline);
}

void session_uncount(struct session *s)
{
    if (s->counted_opening)
        s->site->opening--;
    if (s->counted_connected)
        s->site->connected--;
    s->counted_opening = s->counted_connected = false;
}

void session_end(struct session *s, enum conn_close_mode mode)
{
    struct sessions *ss = s->ss;
    struct closing *c = NULL;
    session_idle_end(s);
    if (s->conn) {
        c = mem_zalloc(sizeof *c);
        *c = (struct closing){.ss = ss, .path = s->path, .conn = s->conn, .next = ss->closing};
        if (ss->closing)
            ss->closing->prev = c;
        ss->closing = c;
    }
    session_drop_conn(s, mode, c);
    resolve_cancel(&s->req);
    give_back(s);
    session_uncount(s);
    if (s->prev)
        s->prev->next = s->next;
    else
        ss->first = s->next;
    if (s->next)
        s->next->prev = s->prev;
    ss->count--;
    if (c) {
        c->holder = s->holder;
    } else {
        limit_holder_end(&s->holder);
        path_session_gone(s->path);
    }
    free(s->note);
    free(s);
}

/* --- timers --- */

static void report_written(struct session *s);

static void on_deadline(struct loop_timer *t)
{
    struct session *s = CONTAINER(t, struct session, deadline);
    report_written(s);
    smtp_client_tick(s->smtp, loop_now_ms(s->ss->conf.loop));
    session_pump(s);
}

/* The timer may be early (a deadline that moved back costs one look), never late. */
static void arm_deadline(struct session *s)
{
    struct loop *loop = s->ss->conf.loop;
    int64_t due = smtp_client_deadline(s->smtp);
    if (due == INT64_MAX)
        return;
    if (loop_timer_active(&s->deadline) && loop_timer_due_ms(&s->deadline) <= due)
        return;
    loop_timer_start(loop, &s->deadline, due - loop_now_ms(loop), on_deadline);
}

void session_quit(struct session *s)
{
    session_idle_end(s);
    s->state = SESSION_QUITTING;
    smtp_client_quit(s->smtp, loop_now_ms(s->ss->conf.loop));
}

/* --- claiming and offering --- */

static bool may_claim(const struct session *s)
{
    const struct sessions *ss = s->ss;
    return (s->state == SESSION_TALKING || s->state == SESSION_IDLE) && !ss->draining &&
           s->claimed < path_per_connection(s->path) && ss->conf.may_begin(ss->conf.data);
}

/* What it asks its path with. */
static struct path_session asks_with(const struct session *s)
{
    return (struct path_session){s->facts.host, s->facts.tls_use, &s->holder};
}

static struct flight *next_to_offer(struct session *s)
{
    for (struct flight *f = s->flights; f; f = f->next)
        if (!f->offered)
            return f->assembled ? f : NULL;
    return NULL;
}

static unsigned not_offered(const struct session *s)
{
    unsigned n = 0;
    for (const struct flight *f = s->flights; f; f = f->next)
        n += !f->offered;
    return n;
}

static void offer(struct session *s, struct flight *f)
{
    const struct message *m = f->message;
    const struct domain *dom = f->lane->domain;
    struct slice rcpt = buf_slice(&m->rcpt), raw = buf_slice(&m->rcpt_raw);
    f->offered = true;
    f->raw_first = raw.n && dom->took_raw && !dom->took_quoted;
    f->mail = (struct smtp_mail){.from = buf_slice(&m->from),
                                 .rcpt = f->raw_first ? raw : rcpt,
                                 .rcpt_raw = f->raw_first       ? rcpt
                                             : dom->took_quoted ? SLICE_NONE
                                                                : raw,
                                 .body = m->wire,
                                 .nbody = m->nwire,
                                 .size_bytes = m->size_bytes,
                                 .needs_smtputf8 = m->needs_smtputf8,
                                 .no_leading_dots = true,
                                 .user = f};
    smtp_client_send(s->smtp, &f->mail, loop_now_ms(s->ss->conf.loop));
}

/* One more for this session; false: there is none. gave: the priority of one that has just given way to it;
 * CONF_PRIORITIES: none has. What is no more urgent after all (a permit was lacking) does not do so again. */
static bool claim(struct session *s, enum conf_priority gave)
{
    struct lane *lane;
    if (!may_claim(s))
        return false;
    struct path_session by = asks_with(s);
    uint64_t id = path_pull(s->path, s->site, &by, s->nflights > 0, &lane);
    if (!id)
        return false;
    session_idle_end(s);
    session_start_flight(s, lane, id, lane->campaign->stream->priority >= gave);
    return true;
}

/* More urgent mail came after it was claimed: it goes back, at the price of making its message once more. */
static bool gives_way(struct session *s, struct flight *f)
{
    if (f->firm)
        return false;
    enum conf_priority priority = f->lane->campaign->stream->priority;
    struct path_session by = asks_with(s);
    bool pressed = path_is_pressed(s->path, s->site, f->lane, f->id) ||
                   (s->used && limit_holder_yields(&s->holder, priority));
    if (!pressed && !path_is_overtaken(s->path, s->site, &by, f->lane, f->id))
        return false;
    session_unlink_flight(s, f);
    path_uncount(s->path, s->site, f->lane, &s->holder);
    s->claimed--;
    s->ss->conf.back(s->ss->conf.data, f);
    flight_free(f);
    if (pressed)
        session_quit(s);
    else
        claim(s, priority);
    return true;
}

/* Give the client what is ready, claim what comes behind it, go idle or quit when there is nothing. True if
 * the client was told something and may have an answer. */
static bool feed_client(struct session *s)
{
    struct flight *f;
    bool told = false;
    if (s->state == SESSION_OPENING || s->state == SESSION_QUITTING)
        return false;
    /* Not before it begins: until then it can give way. */
    while (smtp_client_begins(s->smtp) && (f = next_to_offer(s))) {
        if (!s->ss->conf.may_begin(s->ss->conf.data)) {
            session_quit(s);
            return true;
        }
        if (!s->ss->conf.fit(s->ss->conf.data, f)) { /* it was when it was assembled; not any more */
            session_unlink_flight(s, f);
            flight_free(f);
            continue;
        }
        if (gives_way(s, f)) {
            if (s->state == SESSION_QUITTING)
                return true;
            break;
        }
        offer(s, f);
        told = true;
    }
    while (not_offered(s) == 0 && s->nflights < 2 && claim(s, CONF_PRIORITIES))
        ;
    if (told || s->nflights || s->state == SESSION_IDLE)
        return told;
    if (!may_claim(s) || (s->used && limit_holder_yields(&s->holder, CONF_PRIORITIES))) {
        session_quit(s);
        return true;
    }
    session_idle(s);
    return false;
}

/* --- what the SMTP client says --- */

static enum verdict_cause cause_of(const struct smtp_event *ev)
{
    switch (ev->how) {
    case SMTP_HOW_REPLY:
        return CAUSE_REPLY;
    case SMTP_HOW_LOST:
        return ev->err == ERR_TLS ? CAUSE_TLS_FAILED : CAUSE_LOST;
    case SMTP_HOW_TIMEOUT:
        return CAUSE_TIMEOUT;
    case SMTP_HOW_PROTOCOL:
        return CAUSE_NOT_SMTP;
    case SMTP_HOW_LOCAL:
        if (ev->phase == SMTP_PHASE_STARTTLS)
            return CAUSE_TLS_FAILED;
        return ev->reply && ev->reply->has_enhanced && ev->reply->enhanced.subject == 3 ? CAUSE_OVER_SIZE
                                                                                        : CAUSE_NO_SMTPUTF8;
    case SMTP_HOW_QUIT:
        break;
    }
    return CAUSE_LOST;
}

struct verdict_in session_verdict_in(const struct session *s, const struct smtp_event *ev)
{
    const struct isp *isp = s->path->isp;
    return (struct verdict_in){.cause = cause_of(ev),
                               .phase = ev->phase,
                               .reply = ev->how == SMTP_HOW_REPLY ? ev->reply : NULL,
                               .isp = isp->conf ? isp->name : SLICE_NONE,
                               .provider = isp->conf ? isp->conf->provider : SLICE_NONE,
                               .rules = s->ss->conf.rules,
                               .work = s->ss->rule_work,
                               .acts = &s->ss->conf.conf->acts};
}

static void on_outcome(struct session *s, const struct smtp_event *ev)
{
    struct sessions *ss = s->ss;
    struct flight *f = ev->mail->user;
    session_unlink_flight(s, f);
    if (ev->not_taken) {
        ss->conf.back(ss->conf.data, f);
        flight_free(f);
        return;
    }
    struct verdict_in in = session_verdict_in(s, ev);
    struct verdict v;
    verdict_give(&in, &v);
    if (!in.reply) /* the client knows whether all of it was sent */
        v.ambiguous = ev->ambiguous;
    const struct smtp_reply *reply =
        ev->how == SMTP_HOW_REPLY || ev->how == SMTP_HOW_LOCAL ? ev->reply : NULL;
    ss->conf.settle(ss->conf.data, s, f, &v, ev->phase, reply, ev->text, ev->used_raw_rcpt);
    flight_free(f);
    if (v.session_over && in.reply && s->state == SESSION_TALKING)
        session_quit(s); /* the client goes on after any reply; the two sides may not mean the same by it */
}

static void on_ready(struct session *s, const struct smtp_event *ev)
{
    struct loop *loop = s->ss->conf.loop;
    s->state = SESSION_TALKING;
    s->facts.number = ++s->ss->next_number;
    s->facts.local = *conn_local(s->conn);
    s->facts.remote = *conn_remote(s->conn);
    s->facts.tls = conn_tls(s->conn);
    s->facts.connect_ms = loop_now_ms(loop) - s->opened_ms;
    if (ev->tls_refused)
        s->facts.note = "STARTTLS was refused";
    session_uncount(s);
    s->site->connected++;
    s->counted_connected = true;
    site_up(s->site);
    isp_service(s->path->isp);
}

static void on_closed(struct session *s, const struct smtp_event *ev)
{
    struct sessions *ss = s->ss;
    if (s->state == SESSION_OPENING) {
        session_opening_closed(s, ev);
        return;
    }
    /* An idle session that the peer closes feeds no rule; neither does one that ended with a message's
     * outcome, or that took some and has had enough: a new one tells whether that is about us. */
    if (ev->how == SMTP_HOW_REPLY && !ev->idle && !ev->charged && !ev->mails) {
        struct verdict_in in = session_verdict_in(s, ev);
        struct verdict v;
        verdict_give(&in, &v);
        ss->conf.refused(ss->conf.data, s, &v, ev->phase, ev->reply, ev->text);
    }
    session_end(s, ev->drop ? CONN_DROP : CONN_FLUSH);
}

static void write_body(struct session *s, const struct smtp_mail *mail)
{
    struct flight *f = mail->user;
    for (size_t i = 0; i < mail->nbody; i++) {
        bool last = i + 1 == mail->nbody;
        s->queued_bytes += mail->body[i].n;
        conn_write_ref(s->conn, mail->body[i], last ? flight_message_release : NULL,
                       last ? flight_message_hold(f) : NULL);
    }
}

static void on_begin(struct session *s, struct flight *f)
{
    f->begun = true;
    s->used = true;
    f->begun_ms = loop_now_ms(s->ss->conf.loop);
    f->begun_wall_ms = loop_wall_ms(s->ss->conf.loop);
    s->ss->conf.begin(s->ss->conf.data, s, f);
}

/* Do what the client says, and give it more to do, until neither has more. False: it is closed, and with it
 * this try of the session or all of it. */
bool session_pump(struct session *s)
{
    struct smtp_event ev;
    do {
        while (smtp_client_poll(s->smtp, &ev)) {
            switch (ev.type) {
            case SMTP_EV_WRITE:
                s->queued_bytes += ev.bytes.n;
                conn_write(s->conn, ev.bytes);
                break;
            case SMTP_EV_WRITE_BODY:
                write_body(s, ev.mail);
                break;
            case SMTP_EV_STARTTLS:
                conn_start_tls_client(s->conn, s->ss->conf.tls, s->facts.host->name, s->facts.host->tls);
                break;
            case SMTP_EV_READY:
                on_ready(s, &ev);
                break;
            case SMTP_EV_BEGIN:
                on_begin(s, ev.mail->user);
                break;
            case SMTP_EV_OUTCOME:
                on_outcome(s, &ev);
                break;
            case SMTP_EV_CLOSED:
                on_closed(s, &ev);
                return false;
            }
        }
    } while (feed_client(s));
    arm_deadline(s);
    return true;
}

/* --- what the connection says --- */

static void report_written(struct session *s)
{
    uint64_t pending = conn_pending(s->conn);
    uint64_t written = pending < s->queued_bytes ? s->queued_bytes - pending : 0;
    smtp_client_written(s->smtp, written, loop_now_ms(s->ss->conf.loop));
}

static void on_data(struct conn *c, struct slice bytes)
{
    struct session *s = conn_data(c);
    report_written(s);
    smtp_client_feed(s->smtp, bytes, loop_now_ms(s->ss->conf.loop));
    session_pump(s);
}

static void on_end(struct conn *c, int reason)
{
    struct session *s = conn_data(c);
    report_written(s);
    smtp_client_lost(s->smtp, reason, loop_now_ms(s->ss->conf.loop));
    session_pump(s);
}

static void on_drain(struct conn *c)
{
    struct session *s = conn_data(c);
    report_written(s);
    session_pump(s);
}

static void on_tls(struct conn *c, int status, const struct tls_info *info)
{
    struct session *s = conn_data(c);
    if (status) {
        free(s->note);
        struct buf b = {0};
        buf_printf(&b, "TLS failed: %.*s", SLICE_FMT(info->error));
        s->note = mem_dup(b.p, b.n);
        buf_free(&b);
        s->facts.note = s->note;
    }
    smtp_client_tls(s->smtp, status, loop_now_ms(s->ss->conf.loop));
    session_pump(s);
}

const struct conn_ops session_ops = {
    .on_open = session_on_open, .on_data = on_data, .on_end = on_end, .on_tls = on_tls, .on_drain = on_drain};

/* --- life --- */

struct sessions *sessions_new(const struct sessions_conf *conf)
{
    struct sessions *ss = mem_zalloc(sizeof *ss);
    ss->conf = *conf;
    if (!ss->conf.idle_ms)
        ss->conf.idle_ms = 5000;
    ss->flights = flights_new(&(struct flights_conf){
        .pool = conf->pool, .data = ss, .read = read_record, .assembled = on_assembled});
    ss->rule_work = rule_work_new();
    /* Numbers must differ from those of earlier processes: they begin with the time. */
    ss->next_number = (uint64_t)loop_wall_ms(conf->loop) << 20;
    return ss;
}

void sessions_drain(struct sessions *ss)
{
    ss->draining = true;
    for (struct session *s = ss->first, *next; s; s = next) {
        next = s->next;
        if (s->state == SESSION_OPENING) {
            session_end(s, CONN_DROP);
        } else if (s->state != SESSION_QUITTING) {
            session_quit(s);
            session_pump(s);
        }
    }
}

void sessions_undrain(struct sessions *ss)
{
    ss->draining = false;
}

void sessions_refit(struct sessions *ss)
{
    for (struct session *s = ss->first, *after; s; s = after) {
        bool changed = false;
        after = s->next;
        for (struct flight *f = s->flights, *next; f; f = next) {
            next = f->next;
            if (!f->assembled || f->offered || ss->conf.fit(ss->conf.data, f))
                continue;
            session_unlink_flight(s, f);
            flight_free(f);
            changed = true;
        }
        if (changed && s->smtp && s->state != SESSION_OPENING)
            session_pump(s);
    }
}

void sessions_stop(struct sessions *ss)
{
    if (!ss)
        return;
    ss->draining = true;
    while (ss->first)
        session_end(ss->first, CONN_DROP);
    while (ss->closing) {
        conn_set_ops(ss->closing->conn, NULL, NULL);
        closing_end(ss->closing);
    }
}

void sessions_free(struct sessions *ss)
{
    if (!ss)
        return;
    INVARIANT(!ss->first);
    flights_free(ss->flights);
    rule_work_free(ss->rule_work);
    free(ss);
}
