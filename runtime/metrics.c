/* metrics.c - see metrics.h. */
#include "metrics.h"
#include "delivery/wait.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <stdlib.h>

enum { CONNECTIONS_MOST = 16, TIMEOUT_S = 10, MEMORY_BYTES = 16384 };

struct metrics {
    struct hato *hato;
    struct MHD_Daemon *http;
    struct loop_watch *watch;
    struct loop_timer timer;
    int64_t started_ms;
    struct buf page;
};

/* --- the page --- */

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(struct buf *out, const char *name, const char *type, const char *help, uint64_t n)
{
    head(out, name, type, help);
    buf_printf(out, "%s %" PRIu64 "\n", name, n);
}

static void on_measure(void *data, const struct wait_measure *m)
{
    uint64_t *n = data;
    n[m->m->kind]++;
}

void metrics_page(struct hato *hato, int64_t started_ms, struct buf *out)
{
    struct deliver_counts c = hato_counts(hato);
    struct loop_stats turns = loop_stats(hato_loop(hato));
    uint64_t measures[MEASURE_BACKOFF + 1] = {0};
    const struct {
        const char *name;
        uint64_t n;
    } states[] = {{"waiting", c.queued - c.in_flight - c.retry - c.held},
                  {"in_flight", c.in_flight},
                  {"deferred", c.retry},
                  {"held", c.held}},
      events[] = {
          {"accepted", c.accepted},    {"delivered", c.delivered},   {"bounced", c.bounced},
          {"expired", c.expired},      {"suppressed", c.suppressed}, {"cancelled", c.cancelled},
          {"deferred", c.deferred},    {"ambiguous", c.ambiguous},   {"bounced_after_delivery", c.came_back},
          {"complained", c.complained}};
    head(out, "hato_messages", "gauge", "Messages on their way.");
    for (size_t i = 0; i < COUNT(states); i++)
        buf_printf(out, "hato_messages{state=\"%s\"} %" PRIu64 "\n", states[i].name, states[i].n);
    head(out, "hato_events_total", "counter", "What happened to messages since the start.");
    for (size_t i = 0; i < COUNT(events); i++)
        buf_printf(out, "hato_events_total{type=\"%s\"} %" PRIu64 "\n", events[i].name, events[i].n);
    one(out, "hato_connections", "gauge", "Connections to receivers.", c.connections);
    wait_measures(hato_deliver(hato), on_measure, measures);
    head(out, "hato_measures", "gauge", "What answers of receivers have put in place and is not over.");
    for (unsigned kind = ACT_SLOW; kind <= MEASURE_BACKOFF; kind++)
        if (measures[kind])
            buf_printf(out, "hato_measures{measure=\"%s\"} %" PRIu64 "\n", measure_kind_name(kind),
                       measures[kind]);
    one(out, "hato_journal_bytes", "gauge", "Size of the journal.",
        spool_bytes(deliver_spool(hato_deliver(hato))));
    one(out, "hato_journal_broken", "gauge", "1 while the journal cannot be written and nothing new begins.",
        spool_status(deliver_spool(hato_deliver(hato))) != 0);
    one(out, "hato_loop_turns_total", "counter", "Turns of the loop.", turns.turns);
    one(out, "hato_loop_turns_over_50ms_total", "counter", "Turns that kept sockets waiting.",
        turns.over_50ms);
    one(out, "hato_start_time_seconds", "gauge", "When this process began, UTC.",
        (uint64_t)(started_ms / 1000));
    head(out, "hato_build_info", "gauge", "Which hato this is.");
    buf_printf(out, "hato_build_info{version=\"%s\"} 1\n", HATO_VERSION);
}

/* --- HTTP --- */

static enum MHD_Result answer(struct MHD_Connection *c, unsigned status, struct slice body)
{
    struct MHD_Response *r =
        MHD_create_response_from_buffer(body.n, (void *)(uintptr_t)body.p, MHD_RESPMEM_MUST_COPY);
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    enum MHD_Result done = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return done;
}

static enum MHD_Result on_http(void *data, struct MHD_Connection *c, const char *url, const char *method,
                               const char *version, const char *upload, size_t *nupload, void **state)
{
    struct metrics *m = data;
    struct slice verb = slice_cstr(method);
    (void)version;
    (void)upload;
    (void)state;
    if (*nupload) { /* nobody reads it */
        *nupload = 0;
        return MHD_YES;
    }
    if (!slice_eq(verb, S("GET")) && !slice_eq(verb, S("HEAD")))
        return answer(c, MHD_HTTP_METHOD_NOT_ALLOWED, S("GET /metrics\n"));
    if (!slice_eq(slice_cstr(url), S("/metrics")))
        return answer(c, MHD_HTTP_NOT_FOUND, S("there is /metrics\n"));
    buf_clear(&m->page);
    metrics_page(m->hato, m->started_ms, &m->page);
    return answer(c, MHD_HTTP_OK, buf_slice(&m->page));
}

static void on_timer(struct loop_timer *t);

static void serve(struct metrics *m)
{
    MHD_UNSIGNED_LONG_LONG ms;
    MHD_run(m->http);
    if (MHD_get_timeout(m->http, &ms) == MHD_YES)
        loop_timer_start(hato_loop(m->hato), &m->timer, ms < 60000 ? (int64_t)ms : 60000, on_timer);
    else
        loop_timer_stop(hato_loop(m->hato), &m->timer);
}

static void on_timer(struct loop_timer *t)
{
    serve(CONTAINER(t, struct metrics, timer));
}

static void on_readable(void *data)
{
    serve(data);
}

static bool is_loopback(const struct ip *ip)
{
    static const unsigned char one_v6[16] = {[15] = 1};
    return ip->family == 4 ? ip->b[0] == 127 : memcmp(ip->b, one_v6, 16) == 0;
}

int metrics_new(struct hato *hato, const char *at, struct metrics **out, struct err *e)
{
    struct ip_port where;
    struct sockaddr_storage address;
    if (ip_port_parse(slice_cstr(at), 0, &where) || !where.port)
        return err_set(e, ERR_INVAL, "--metrics wants ADDRESS:PORT, such as 127.0.0.1:9464, not \"%s\"", at);
    if (!is_loopback(&where.ip))
        return err_set(
            e, ERR_INVAL,
            "--metrics %s: others could read that; it takes a loopback address, and a proxy may stand "
            "before it",
            at);
    struct metrics *m = mem_zalloc(sizeof *m);
    m->hato = hato;
    m->started_ms = loop_wall_ms(hato_loop(hato));
    ip_port_to_sockaddr(&where, &address);
    m->http = MHD_start_daemon(MHD_USE_EPOLL | (where.ip.family == 6 ? MHD_USE_IPv6 : 0), where.port, NULL,
                               NULL, on_http, m, MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
                               MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MOST,
                               MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S,
                               MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        m->http ? MHD_get_daemon_info(m->http, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) {
        metrics_free(m);
        return err_set(e, ERR_IO, "--metrics %s cannot be listened on; is the port taken?", at);
    }
    m->watch = loop_watch_new(hato_loop(hato), info->epoll_fd, on_readable, m);
    *out = m;
    return 0;
}

void metrics_free(struct metrics *m)
{
    if (!m)
        return;
    loop_timer_stop(hato_loop(m->hato), &m->timer);
    loop_watch_free(m->watch);
    if (m->http)
        MHD_stop_daemon(m->http);
    buf_free(&m->page);
    free(m);
}
