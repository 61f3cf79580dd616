/* resolve_serve.c - a DNS server's sockets. It is made for a world on loopback: TCP connections are few,
 * bounded in number and in time, and an answer that cannot be sent at once over UDP is dropped, as UDP does.
 */
#include "platform/resolve_serve.h"

#include <stdlib.h>
#include <uv.h>

enum { PEERS_MAX = 128, PEER_IDLE_MS = 10000, DATAGRAM_MAX = 4096, PORT_TRIES = 20 };

struct peer {
    struct resolve_serve *s;
    struct peer *next, **prev;
    uv_tcp_t tcp;
    struct buf in, out; /* out: what a write in progress sends */
    char chunk[4096];
    struct loop_timer idle;
    uv_write_t write;
    bool closing;
};

struct resolve_serve {
    struct loop *loop;
    resolve_serve_fn *fn;
    void *ctx;
    struct ip_port at;
    uv_udp_t udp;
    uv_tcp_t tcp;
    struct peer *peers;
    size_t n_peers, open; /* open: handles not yet closed */
    struct buf answer;
    char datagram[DATAGRAM_MAX];
    bool closing;
};

static void release(struct resolve_serve *s)
{
    if (--s->open || !s->closing)
        return;
    buf_free(&s->answer);
    free(s);
}

/* --- UDP --- */

static void on_datagram_room(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
    struct resolve_serve *s = h->data;
    *b = uv_buf_init(s->datagram, sizeof s->datagram);
}

static void on_datagram(uv_udp_t *udp, ssize_t n, const uv_buf_t *b, const struct sockaddr *from,
                        unsigned flags)
{
    struct resolve_serve *s = udp->data;
    if (n <= 0 || !from || (flags & UV_UDP_PARTIAL))
        return;
    buf_clear(&s->answer);
    if (!s->fn(s->ctx, slice_of(b->base, (size_t)n), false, &s->answer))
        return;
    uv_buf_t out = uv_buf_init(s->answer.p, (unsigned)s->answer.n);
    uv_udp_try_send(udp, &out, 1, from);
}

/* --- TCP: two bytes of length in front of each message (RFC 1035 4.2.2) --- */

static void on_peer_closed(uv_handle_t *h)
{
    struct peer *p = h->data;
    struct resolve_serve *s = p->s;
    buf_free(&p->in);
    buf_free(&p->out);
    free(p);
    release(s);
}

static void close_peer(struct peer *p)
{
    if (p->closing)
        return;
    p->closing = true;
    loop_timer_stop(p->s->loop, &p->idle);
    *p->prev = p->next;
    if (p->next)
        p->next->prev = p->prev;
    p->s->n_peers--;
    uv_close((uv_handle_t *)&p->tcp, on_peer_closed);
}

static void on_idle(struct loop_timer *t)
{
    close_peer(t->data);
}

static void read_queries(struct peer *p);

static void on_written(uv_write_t *w, int status)
{
    struct peer *p = w->data;
    buf_clear(&p->out);
    if (status)
        close_peer(p);
    else if (!p->closing)
        read_queries(p);
}

/* One at a time: the next query waits until this answer has gone. */
static void read_queries(struct peer *p)
{
    while (!p->out.n && p->in.n >= 2) {
        size_t n = (size_t)(uint8_t)p->in.p[0] << 8 | (uint8_t)p->in.p[1];
        if (p->in.n - 2 < n)
            return;
        buf_add(&p->out, "\0\0", 2);
        struct buf *answer = &p->s->answer;
        buf_clear(answer);
        bool said = p->s->fn(p->s->ctx, slice_of(p->in.p + 2, n), true, answer) && answer->n <= 0xffff;
        buf_drop_front(&p->in, n + 2);
        if (!said) {
            buf_clear(&p->out);
            continue;
        }
        p->out.p[0] = (char)(answer->n >> 8);
        p->out.p[1] = (char)answer->n;
        buf_add(&p->out, answer->p, answer->n);
        uv_buf_t b = uv_buf_init(p->out.p, (unsigned)p->out.n);
        p->write.data = p;
        if (uv_write(&p->write, (uv_stream_t *)&p->tcp, &b, 1, on_written))
            close_peer(p);
    }
}

static void on_peer_room(uv_handle_t *h, size_t suggested, uv_buf_t *b)
{
    struct peer *p = h->data;
    *b = uv_buf_init(p->chunk, sizeof p->chunk);
}

static void on_peer_bytes(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct peer *p = stream->data;
    if (n < 0 || p->in.n > 4 * 65537u) {
        close_peer(p);
        return;
    }
    buf_add(&p->in, b->base, (size_t)n);
    loop_timer_start(p->s->loop, &p->idle, PEER_IDLE_MS, on_idle);
    read_queries(p);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct resolve_serve *s = listener->data;
    if (status)
        return;
    struct peer *p = mem_zalloc(sizeof *p);
    p->s = s;
    p->tcp.data = p->idle.data = p;
    INVARIANT(uv_tcp_init(loop_uv(s->loop), &p->tcp) == 0);
    s->open++;
    s->n_peers++;
    p->prev = &s->peers;
    p->next = s->peers;
    if (p->next)
        p->next->prev = &p->next;
    s->peers = p;
    if (uv_accept(listener, (uv_stream_t *)&p->tcp) || s->n_peers > PEERS_MAX ||
        uv_read_start((uv_stream_t *)&p->tcp, on_peer_room, on_peer_bytes))
        close_peer(p);
    else
        loop_timer_start(s->loop, &p->idle, PEER_IDLE_MS, on_idle);
}

/* --- life --- */

struct ip_port resolve_serve_at(const struct resolve_serve *s)
{
    return s->at;
}

static void on_closed(uv_handle_t *h)
{
    release(h->data);
}

static void close_listeners(struct resolve_serve *s)
{
    uv_close((uv_handle_t *)&s->udp, on_closed);
    uv_close((uv_handle_t *)&s->tcp, on_closed);
}

/* Both sockets on one port. Returns uv's error; the handles are open either way. */
static int bind_both(struct resolve_serve *s, struct ip_port listen)
{
    struct sockaddr_storage sa;
    int n = sizeof sa, rc;
    uv_udp_init(loop_uv(s->loop), &s->udp);
    uv_tcp_init(loop_uv(s->loop), &s->tcp);
    s->udp.data = s->tcp.data = s;
    s->open += 2;
    ip_port_to_sockaddr(&listen, &sa);
    rc = uv_udp_bind(&s->udp, (struct sockaddr *)&sa, 0);
    if (!rc)
        rc = uv_udp_getsockname(&s->udp, (struct sockaddr *)&sa, &n);
    if (!rc)
        rc = uv_tcp_bind(&s->tcp, (struct sockaddr *)&sa, 0);
    if (!rc)
        rc = uv_listen((uv_stream_t *)&s->tcp, 128, on_connection);
    if (!rc)
        rc = uv_udp_recv_start(&s->udp, on_datagram_room, on_datagram);
    if (!rc)
        ip_port_from_sockaddr((struct sockaddr *)&sa, &s->at);
    return rc;
}

struct resolve_serve *resolve_serve_new(struct loop *l, struct ip_port listen, resolve_serve_fn *fn,
                                        void *ctx, struct err *e)
{
    char text[IP_PORT_TEXT];
    int rc = UV_EADDRINUSE;
    INVARIANT(!loop_is_virtual(l));
    /* The port that the system gives for UDP may be taken for TCP: then another. */
    for (int i = 0; rc == UV_EADDRINUSE && i < (listen.port ? 1 : PORT_TRIES); i++) {
        struct resolve_serve *s = mem_zalloc(sizeof *s);
        s->loop = l;
        s->fn = fn;
        s->ctx = ctx;
        rc = bind_both(s, listen);
        if (!rc)
            return s;
        resolve_serve_free(s);
    }
    err_set(e, err_from_errno(-rc), "DNS on %s: %s", ip_port_text(&listen, text).p, uv_strerror(rc));
    return NULL;
}

void resolve_serve_free(struct resolve_serve *s)
{
    if (!s)
        return;
    s->closing = true;
    while (s->peers)
        close_peer(s->peers);
    close_listeners(s);
}
