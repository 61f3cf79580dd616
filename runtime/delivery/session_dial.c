/* session_dial.c - from a claimed recipient to a host that talks: hosts in their order, their addresses, and
 * what a failed try means for the next. */
#include "delivery/session_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum { CONNECT_MS = 30000, PLAIN_FOR_MS = 3600000 };

static void next_host(struct session *s);
static void next_address(struct session *s);

/* No host would have us: the recipient that the session began with hears of it, the others go back. */
void session_unreachable(struct session *s)
{
    struct sessions *ss = s->ss;
    struct flight *f = s->flights;
    if (f && !f->assembled) {
        s->unreachable = true; /* the event needs the recipient's record: on_assembled() comes back here */
        return;
    }
    session_uncount(s);
    if (f)
        session_unlink_flight(s, f);
    ss->conf.unreachable(ss->conf.data, s, f, &s->last, s->last_phase,
                         s->has_last_reply ? &s->last_reply : NULL, s->last_text);
    if (f)
        flight_free(f);
    session_end(s, CONN_DROP);
}

/* A host that other sessions talk to is not down because it would not have one more. */
static void rest(struct session *s)
{
    if (!s->site->connected)
        host_rest(s->ss->conf.sites, s->facts.host);
}

static void remember(struct session *s, const struct verdict_in *in, const char *text)
{
    verdict_give(in, &s->last);
    s->last_phase = in->phase;
    s->has_last_reply = in->reply != NULL;
    snprintf(s->last_text, sizeof s->last_text, "%s", text);
    if (in->reply) {
        s->last_reply = *in->reply;
        snprintf(s->last_text, sizeof s->last_text, "%.*s", SLICE_FMT(in->reply->text));
        s->last_reply.text = slice_cstr(s->last_text);
        s->last_reply.lines = NULL;
        s->last_reply.nlines = 0;
    }
}

void session_opening_closed(struct session *s, const struct smtp_event *ev)
{
    struct sessions *ss = s->ss;
    struct verdict_in in = session_verdict_in(s, ev);
    struct host *host = s->facts.host;
    char words[sizeof s->last_text];
    snprintf(words, sizeof words, "%.*s", SLICE_FMT(ev->reply ? ev->reply->text : slice_cstr(ev->text)));
    remember(s, &in, words);
    bool tls_failed = in.cause == CAUSE_TLS_FAILED;
    session_drop_conn(s, ev->drop ? CONN_DROP : CONN_FLUSH, NULL);
    if (tls_failed && !s->plain && s->facts.tls_use == CONF_TLS_OPPORTUNISTIC) {
        /* The same host once more, in plain: what was wrong is between its TLS and ours. */
        host->plain_until_ms = loop_now_ms(ss->conf.loop) + PLAIN_FOR_MS;
        s->at_host--;
        next_host(s);
        return;
    }
    if (s->last.try_next_host) {
        rest(s);
        next_host(s);
        return;
    }
    if (s->last.scope == SCOPE_SOURCE || s->last.scope == SCOPE_SENDER || in.cause == CAUSE_REPLY) {
        ss->conf.refused(ss->conf.data, s, &s->last, s->last_phase, s->has_last_reply ? &s->last_reply : NULL,
                         s->last_text);
        session_end(s, CONN_FLUSH);
        return;
    }
    session_unreachable(s);
}

void session_on_open(struct conn *c, int status)
{
    struct session *s = conn_data(c);
    struct sessions *ss = s->ss;
    if (!status) {
        smtp_client_open(s->smtp, loop_now_ms(ss->conf.loop));
        session_pump(s);
        return;
    }
    char text[256];
    snprintf(text, sizeof text, "%.*s", SLICE_FMT(conn_error(c)));
    struct verdict_in in = {.cause = CAUSE_CONNECT_FAILED, .phase = SMTP_PHASE_CONNECT, .isp = SLICE_NONE};
    remember(s, &in, text);
    if (status == ERR_INVAL || status == ERR_LIMIT) {
        /* Our side: the source's address is not here, or we are out of ports. No host is to blame. */
        s->last.scope = SCOPE_SOURCE;
        ss->conf.refused(ss->conf.data, s, &s->last, SMTP_PHASE_CONNECT, NULL, s->last_text);
        session_end(s, CONN_DROP);
        return;
    }
    session_drop_conn(s, CONN_DROP, NULL);
    next_address(s);
}

static void next_address(struct session *s)
{
    struct sessions *ss = s->ss;
    const struct conf_source *source = &ss->conf.conf->sources[s->path->source];
    if (s->at_address == s->naddresses) {
        rest(s);
        next_host(s);
        return;
    }
    struct ip_port remote = {s->addresses[s->at_address++], ss->conf.smtp_port};
    if (slice_find(source->ehlo, S(".")) < 0 && !ip_is_loopback(&remote.ip)) {
        s->last.scope = SCOPE_SOURCE;
        ss->conf.refused(ss->conf.data, s, &s->last, SMTP_PHASE_CONNECT, NULL,
                         "the EHLO name has no dot: such a source sends to loopback only");
        session_end(s, CONN_DROP);
        return;
    }
    /* Whose mail it would be is known while it has one; without one it had better begin again. */
    if (!ip_is_loopback(&remote.ip) &&
        (!s->flights || !ss->conf.may_leave(ss->conf.data, s->path, s->flights))) {
        session_end(s, CONN_DROP);
        return;
    }
    enum conf_tls tls = s->facts.tls_use;
    s->plain = tls == CONF_TLS_OPPORTUNISTIC && s->facts.host->plain_until_ms > loop_now_ms(ss->conf.loop);
    if (s->plain && !s->facts.note[0])
        s->facts.note = "plain: TLS failed here within the hour";
    struct smtp_client_conf conf = {.ehlo = source->ehlo,
                                    .tls = s->plain || tls == CONF_TLS_NONE ? SMTP_TLS_NONE
                                           : tls == CONF_TLS_REQUIRE        ? SMTP_TLS_REQUIRE
                                                                            : SMTP_TLS_OPPORTUNISTIC,
                                    .allow_pipelining = true};
    s->smtp = smtp_client_new(&conf, loop_now_ms(ss->conf.loop));
    s->conn = conn_connect(ss->conf.net, source->address.family ? &source->address : NULL, &remote,
                           CONNECT_MS, &session_ops, s);
}

static void on_addresses(struct resolve_req *req, const struct addr_set *set)
{
    struct session *s = req->data;
    if (set->status != RESOLVE_OK) {
        char text[256];
        struct verdict_in in = {.cause = CAUSE_DNS_FAILED, .phase = SMTP_PHASE_CONNECT, .isp = SLICE_NONE};
        snprintf(text, sizeof text, "address of %.*s: %s", SLICE_FMT(s->facts.host->name),
                 resolve_status_name(set->status));
        remember(s, &in, text);
        rest(s);
        next_host(s);
        return;
    }
    s->naddresses = set->n < ADDRESSES_MOST ? set->n : ADDRESSES_MOST;
    /* Every address of a host is as good as another (RFC 5321 5.1): begin with any. */
    size_t from = loop_random_below(s->ss->conf.loop, set->n);
    for (size_t i = 0; i < s->naddresses; i++)
        s->addresses[i] = set->v[(from + i) % set->n];
    s->at_address = 0;
    next_address(s);
}

static void next_host(struct session *s)
{
    struct sessions *ss = s->ss;
    if (s->at_host >= s->norder || ss->draining) {
        session_unreachable(s);
        return;
    }
    s->facts.host = s->site->hosts[s->order[s->at_host++]].host;
    const struct conf_source *source = &ss->conf.conf->sources[s->path->source];
    int families = source->address.family == 6 ? RESOLVE_IP6 : RESOLVE_IP4;
    s->req.data = s;
    resolve_addr(ss->conf.resolve, s->facts.host->name, families, &s->req, on_addresses);
}

/* After an ambiguous end the next try goes to the host that may have taken it. */
static void pin_host(struct session *s, const char *name)
{
    for (size_t i = 0; i < s->site->nhosts; i++) {
        if (slice_eq(s->site->hosts[i].host->name, slice_cstr(name))) {
            s->order[0] = (uint16_t)i;
            s->norder = 1;
            return;
        }
    }
}

void session_open(struct sessions *ss, struct path *p, struct site *site, struct lane *lane, uint64_t id)
{
    struct session *s = mem_zalloc(sizeof *s);
    int64_t rest_ms;
    s->ss = ss;
    s->path = p;
    s->site = site;
    s->opened_ms = loop_now_ms(ss->conf.loop);
    s->facts = (struct session_facts){
        .source = p->source, .path = p, .site = site, .note = "", .tls_use = path_tls(p->isp, lane)};
    s->next = ss->first;
    if (ss->first)
        ss->first->prev = s;
    ss->first = s;
    ss->count++;
    site->opening++;
    s->counted_opening = true;
    struct verdict_in in = {.cause = CAUSE_CONNECT_FAILED, .phase = SMTP_PHASE_CONNECT, .isp = SLICE_NONE};
    remember(s, &in, "every host is resting after failed connections");
    path_hold_open(p, site, &s->holder);
    if (!session_start_flight(s, lane, id, false)) {
        session_end(s, CONN_DROP);
        return;
    }
    s->norder = site_order(site, s->order, HOSTS_MOST, &rest_ms);
    if (lane->host)
        pin_host(s, lane->host);
    next_host(s);
}
