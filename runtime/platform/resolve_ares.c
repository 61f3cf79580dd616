/* resolve_ares.c - c-ares under the loop: one channel a server, sockets polled by libuv.
 *
 * A channel of one server, one try, and no look at response codes: c-ares 1.18 turns SERVFAIL and REFUSED
 * from all servers into "connection refused", and the difference matters to us. Its own timeouts are read by
 * a tick while something is open; ares_timeout() would walk all open questions each time. */
#include "platform/resolve_ares.h"

#include "format/dns_wire.h"

#include <ares.h>
#include <ares_nameser.h>
#include <stdlib.h>
#include <uv.h>

struct server {
    struct resolve_ares *a;
    ares_channel channel;
};

struct watch {
    uv_poll_t poll;
    struct watch *next;
    struct server *server;
    ares_socket_t fd;
};

struct ask {
    struct resolve_ares *a;
    resolve_ares_fn *fn;
    void *arg;
};

struct resolve_ares {
    struct loop *loop;
    struct server servers[RESOLVE_ARES_MAX_SERVERS];
    size_t n, open;
    struct watch *watches;
    struct loop_timer tick;
    int64_t tick_ms;
    bool closing;
};

/* --- sockets --- */

static void on_poll(uv_poll_t *h, int status, int events)
{
    struct watch *w = h->data;
    ares_socket_t fd = w->fd;
    bool both = status < 0; /* c-ares finds out what is wrong by reading */
    ares_process_fd(w->server->channel, both || (events & UV_READABLE) ? fd : ARES_SOCKET_BAD,
                    both || (events & UV_WRITABLE) ? fd : ARES_SOCKET_BAD);
}

static void on_watch_closed(uv_handle_t *h)
{
    free(h->data);
}

static void unwatch(struct watch **at)
{
    struct watch *w = *at;
    *at = w->next;
    uv_poll_stop(&w->poll); /* before c-ares closes the descriptor, which it does next */
    uv_close((uv_handle_t *)&w->poll, on_watch_closed);
}

static void on_sock_state(void *data, ares_socket_t fd, int readable, int writable)
{
    struct server *s = data;
    struct watch **at = &s->a->watches;
    while (*at && (*at)->fd != fd)
        at = &(*at)->next;
    if (!readable && !writable) {
        if (*at)
            unwatch(at);
        return;
    }
    if (!*at) {
        struct watch *w = mem_zalloc(sizeof *w);
        w->server = s;
        w->fd = fd;
        INVARIANT(uv_poll_init_socket(loop_uv(s->a->loop), &w->poll, fd) == 0);
        w->poll.data = w;
        *at = w;
    }
    int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    INVARIANT(uv_poll_start(&(*at)->poll, events, on_poll) == 0);
}

/* --- questions --- */

static void on_tick(struct loop_timer *t)
{
    struct resolve_ares *a = t->data;
    for (size_t i = 0; i < a->n; i++)
        ares_process_fd(a->servers[i].channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    if (a->open)
        loop_timer_start(a->loop, t, a->tick_ms, on_tick);
}

static int rc_of(int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return 0;
    case ARES_ETIMEOUT:
        return ERR_TIMEOUT;
    case ARES_ECONNREFUSED:
        return ERR_REFUSED;
    default:
        return ERR_SYNTAX;
    }
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *bytes, int n)
{
    struct ask *q = arg;
    q->a->open--;
    if (!q->a->closing)
        q->fn(q->arg, rc_of(status), slice_of(bytes, n > 0 ? (size_t)n : 0));
    free(q);
}

void resolve_ares_ask(struct resolve_ares *a, size_t server, struct slice query, resolve_ares_fn *fn,
                      void *arg)
{
    struct ask *q = mem_alloc(sizeof *q);
    *q = (struct ask){.a = a, .fn = fn, .arg = arg};
    a->open++;
    if (!loop_timer_active(&a->tick))
        loop_timer_start(a->loop, &a->tick, a->tick_ms, on_tick);
    ares_send(a->servers[server].channel, (const unsigned char *)query.p, (int)query.n, on_answer, q);
}

size_t resolve_ares_servers(const struct resolve_ares *a)
{
    return a->n;
}

/* --- life --- */

static int add_server(struct resolve_ares *a, struct ares_addr_port_node *node, int64_t timeout_ms,
                      struct err *e)
{
    struct server *s = &a->servers[a->n];
    struct ares_options o = {.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOCHECKRESP | ARES_FLAG_EDNS,
                             .timeout = (int)timeout_ms,
                             .tries = 1,
                             .ednspsz = DNS_EDNS_MAX,
                             .sock_state_cb = on_sock_state,
                             .sock_state_cb_data = s};
    struct ares_addr_port_node one = *node;
    one.next = NULL;
    s->a = a;
    int rc = ares_init_options(&s->channel, &o,
                               ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
                                   ARES_OPT_SOCK_STATE_CB);
    if (rc != ARES_SUCCESS)
        return err_set(e, ERR_IO, "DNS: %s", ares_strerror(rc));
    a->n++;
    rc = ares_set_servers_ports(s->channel, &one);
    return rc == ARES_SUCCESS ? 0 : err_set(e, ERR_IO, "DNS: %s", ares_strerror(rc));
}

static int add_listed(struct resolve_ares *a, struct slice list, int64_t timeout_ms, struct err *e)
{
    int rc = 0;
    do {
        struct slice one = slice_trim(slice_cut(list, ',', &list));
        struct ares_addr_port_node node = {0};
        struct ip_port at;
        if (ip_port_parse(one, NS_DEFAULTPORT, &at))
            return err_set(e, ERR_INVAL,
                           "\"%.*s\" is not a DNS server; say ADDRESS:PORT, such as 127.0.0.1:5353",
                           SLICE_FMT(one));
        node.family = at.ip.family == 4 ? AF_INET : AF_INET6;
        node.udp_port = node.tcp_port = at.port;
        memcpy(&node.addr, at.ip.b, at.ip.family == 4 ? 4 : 16);
        rc = add_server(a, &node, timeout_ms, e);
    } while (!rc && list.n && a->n < RESOLVE_ARES_MAX_SERVERS);
    return rc;
}

/* Those of the system's files, as c-ares reads them. */
static int add_system(struct resolve_ares *a, int64_t timeout_ms, struct err *e)
{
    ares_channel system;
    struct ares_addr_port_node *list = NULL;
    int rc = ares_init(&system), out = 0;
    if (rc != ARES_SUCCESS)
        return err_set(e, ERR_IO, "DNS: %s", ares_strerror(rc));
    rc = ares_get_servers_ports(system, &list);
    if (rc != ARES_SUCCESS || !list)
        out = err_set(e, ERR_IO, "DNS: the system names no server");
    for (struct ares_addr_port_node *s = list; !out && s && a->n < RESOLVE_ARES_MAX_SERVERS; s = s->next)
        out = add_server(a, s, timeout_ms, e);
    if (list)
        ares_free_data(list);
    ares_destroy(system);
    return out;
}

struct resolve_ares *resolve_ares_new(struct loop *l, const char *servers, int64_t timeout_ms, struct err *e)
{
    INVARIANT(!loop_is_virtual(l));
    int rc = ares_library_init(ARES_LIB_INIT_ALL);
    if (rc != ARES_SUCCESS) {
        err_set(e, ERR_IO, "DNS: %s", ares_strerror(rc));
        return NULL;
    }
    struct resolve_ares *a = mem_zalloc(sizeof *a);
    a->loop = l;
    a->tick.data = a;
    a->tick_ms = timeout_ms / 8 < 10 ? 10 : timeout_ms / 8 > 250 ? 250 : timeout_ms / 8;
    rc = servers ? add_listed(a, slice_cstr(servers), timeout_ms, e) : add_system(a, timeout_ms, e);
    if (rc) {
        resolve_ares_free(a);
        return NULL;
    }
    return a;
}

void resolve_ares_free(struct resolve_ares *a)
{
    if (!a)
        return;
    a->closing = true; /* c-ares answers all that is open while it is torn down */
    loop_timer_stop(a->loop, &a->tick);
    for (size_t i = 0; i < a->n; i++)
        ares_destroy(a->servers[i].channel);
    while (a->watches)
        unwatch(&a->watches);
    free(a);
    ares_library_cleanup();
}
