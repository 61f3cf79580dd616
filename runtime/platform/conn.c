/* conn.c - see conn.h: queues, states and callbacks that TCP and memory have in common. */
#include "platform/conn_impl.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { SEG_BYTES = 17000, SPARE_SEGS = 64 }; /* one TLS record fits */

#define CALL(c, name, ...)                                                                                   \
    do {                                                                                                     \
        if ((c)->ops && (c)->ops->name)                                                                      \
            (c)->ops->name(__VA_ARGS__);                                                                     \
    } while (0)

/* --- segments --- */

static void seg_free(struct net *n, struct seg *s)
{
    if (s->release)
        s->release(s->data);
    if (s->cap == SEG_BYTES && n->n_spare < SPARE_SEGS) {
        s->next = n->spare;
        n->spare = s;
        n->n_spare++;
    } else {
        free(s);
    }
}

static struct seg *seg_new(struct net *n, size_t cap)
{
    struct seg *s = cap ? n->spare : NULL;
    if (s) {
        n->spare = s->next;
        n->n_spare--;
    } else {
        s = mem_alloc(sizeof *s + cap);
    }
    *s = (struct seg){.p = s->own, .cap = cap};
    return s;
}

static void seg_push(struct seg_queue *q, struct seg *s)
{
    if (q->last)
        q->last->next = s;
    else
        q->first = s;
    q->last = s;
    q->bytes += s->n;
}

void seg_copy(struct net *n, struct seg_queue *q, struct slice bytes)
{
    while (bytes.n) {
        struct seg *s = q->last;
        size_t used = s ? (size_t)(s->p - s->own) + s->n : 0;
        if (!s || !s->cap || used == s->cap) {
            seg_push(q, seg_new(n, SEG_BYTES));
            continue;
        }
        size_t take = bytes.n < s->cap - used ? bytes.n : s->cap - used;
        memcpy(s->own + used, bytes.p, take);
        s->n += take;
        q->bytes += take;
        bytes = slice_of(bytes.p + take, bytes.n - take);
    }
}

void seg_drop(struct net *n, struct seg_queue *q, size_t bytes)
{
    INVARIANT(bytes <= q->bytes);
    q->bytes -= bytes;
    while (bytes) {
        struct seg *s = q->first;
        size_t take = bytes < s->n ? bytes : s->n;
        s->p += take;
        s->n -= take;
        bytes -= take;
        if (s->n)
            return;
        q->first = s->next;
        if (!q->first)
            q->last = NULL;
        seg_free(n, s);
    }
}

static void give_up(struct conn *c)
{
    seg_drop(c->net, &c->plain, c->plain.bytes);
    seg_drop(c->net, &c->wire, c->wire.bytes);
}

/* --- states --- */

static void set_state(struct conn *c, enum conn_state to)
{
    static const unsigned allowed[] = {
        [CONN_CONNECTING] = 1 << CONN_OPEN | 1 << CONN_CLOSING,
        [CONN_OPEN] = 1 << CONN_FLUSHING | 1 << CONN_CLOSING,
        [CONN_FLUSHING] = 1 << CONN_LINGERING | 1 << CONN_CLOSING,
        [CONN_LINGERING] = 1 << CONN_CLOSING,
        [CONN_CLOSING] = 0,
    };
    INVARIANT(allowed[c->state] & 1u << to);
    c->state = to;
}

static void close_now(struct conn *c, bool reset)
{
    if (c->state == CONN_CLOSING)
        return;
    set_state(c, CONN_CLOSING);
    loop_timer_stop(c->net->loop, &c->timer);
    c->way->close(c, reset);
    give_up(c);
}

static void on_close_timer(struct loop_timer *t)
{
    close_now(CONTAINER(t, struct conn, timer), false);
}

/* All is written: end our side and wait for theirs. */
static void finish_flush(struct conn *c)
{
    if (c->peer_eof || c->write_failed) {
        close_now(c, false);
        return;
    }
    set_state(c, CONN_LINGERING);
    c->way->shutdown(c);
}

void conn_close(struct conn *c, enum conn_close_mode mode)
{
    if (mode != CONN_FLUSH || c->state == CONN_CONNECTING) {
        close_now(c, mode == CONN_ABORT);
        return;
    }
    if (c->state != CONN_OPEN)
        return;
    set_state(c, CONN_FLUSHING);
    loop_timer_start(c->net->loop, &c->timer, CONN_CLOSE_MS, on_close_timer);
    /* Unread bytes in the kernel would turn our close into a reset, and that may overtake our last words. */
    if (!c->peer_eof)
        c->way->reading(c, true);
    conn_mark_dirty(c);
}

/* --- writing: at the end of the turn --- */

static void free_net_if_last(struct net *n)
{
    if (!n->dead || n->handles || n->kick.queued)
        return;
    tls_net_free(n);
    free(n);
}

static void on_kick(struct loop_task *t)
{
    free_net_if_last(CONTAINER(t, struct net, kick));
}

void conn_mark_dirty(struct conn *c)
{
    struct net *n = c->net;
    if (c->dirty_at || c == n->flushing || n->dead)
        return;
    c->dirty_at = n->dirty_last;
    c->next_dirty = NULL;
    *n->dirty_last = c;
    n->dirty_last = &c->next_dirty;
    loop_post(n->loop, &n->kick, on_kick);
}

static void unmark_dirty(struct conn *c)
{
    if (!c->dirty_at)
        return;
    *c->dirty_at = c->next_dirty;
    if (c->next_dirty)
        c->next_dirty->dirty_at = c->dirty_at;
    else
        c->net->dirty_last = c->dirty_at;
    c->dirty_at = NULL;
}

static void on_write_failed(struct conn *c, int status)
{
    c->write_failed = true;
    give_up(c);
    conn_say(c, "write: %s", err_name(status));
    /* What the other side said before it went may still be unread: let reading find the end behind it. */
    if (c->state == CONN_OPEN && c->paused)
        conn_later(c, status);
}

static void flush(struct conn *c)
{
    if (c->state != CONN_OPEN && c->state != CONN_FLUSHING)
        return;
    while (!c->write_failed) {
        if (c->tls) {
            tls_encrypt(c);
            if (c->state == CONN_FLUSHING && !c->plain.bytes)
                tls_goodbye(c);
        }
        if (!c->wire.bytes)
            break;
        uv_buf_t bufs[CONN_IOVS];
        unsigned n = 0;
        size_t bytes = 0;
        for (struct seg *s = c->wire.first; s && n < CONN_IOVS; s = s->next) {
            bufs[n++] = uv_buf_init((char *)s->p, (unsigned)(s->n < INT32_MAX ? s->n : INT32_MAX));
            bytes += bufs[n - 1].len;
            if (s->n > INT32_MAX)
                break;
        }
        ssize_t wrote = c->way->write(c, bufs, n, bytes);
        if (wrote < 0) {
            on_write_failed(c, (int)wrote);
            break;
        }
        seg_drop(c->net, &c->wire, (size_t)wrote);
        if ((size_t)wrote < bytes) {
            c->blocked = true;
            return;
        }
    }
    if (c->state == CONN_FLUSHING) {
        finish_flush(c);
    } else if (c->blocked && !c->plain.bytes && !c->wire.bytes) {
        c->blocked = false;
        c->drained = true;
        conn_later(c, 0);
    }
}

static void on_turn_end(struct loop_hook *h)
{
    struct net *n = h->data;
    /* Only what is dirty now: what a release function or another hook adds has its own turn. */
    struct conn *last = n->dirty ? CONTAINER(n->dirty_last, struct conn, next_dirty) : NULL;
    while (n->dirty) {
        struct conn *c = n->dirty;
        unmark_dirty(c);
        n->flushing = c; /* what TLS adds now is taken now */
        flush(c);
        n->flushing = NULL;
        if (c == last)
            return;
    }
}

void conn_writable(struct conn *c, size_t bytes, int status)
{
    if (c->state == CONN_CLOSING)
        return;
    seg_drop(c->net, &c->wire, bytes);
    if (status)
        on_write_failed(c, status);
    conn_mark_dirty(c);
}

static struct seg_queue *out_queue(struct conn *c)
{
    if (c->write_failed || c->state > CONN_OPEN || tls_failed(c))
        return NULL;
    conn_mark_dirty(c);
    return c->tls ? &c->plain : &c->wire;
}

void conn_write(struct conn *c, struct slice bytes)
{
    struct seg_queue *q = out_queue(c);
    if (q)
        seg_copy(c->net, q, bytes);
}

void conn_write_ref(struct conn *c, struct slice bytes, void (*release)(void *), void *data)
{
    struct seg_queue *q = bytes.n ? out_queue(c) : NULL;
    if (!q) {
        if (release)
            release(data);
        return;
    }
    struct seg *s = seg_new(c->net, 0);
    s->p = bytes.p;
    s->n = bytes.n;
    s->release = release;
    s->data = data;
    seg_push(q, s);
}

size_t conn_pending(const struct conn *c)
{
    return c->plain.bytes + c->wire.bytes - c->way->gone(c);
}

/* --- reading and ends --- */

void conn_say(struct conn *c, const char *fmt, ...)
{
    if (c->error[0])
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->error, sizeof c->error, fmt, ap);
    va_end(ap);
}

void conn_deliver(struct conn *c, struct slice bytes)
{
    if (c->state == CONN_OPEN && !c->ended)
        CALL(c, on_data, c, bytes);
}

void conn_arrived(struct conn *c, struct slice bytes)
{
    if (c->state != CONN_OPEN || c->ended)
        return; /* closing: read only to be rid of it */
    if (c->tls)
        tls_feed(c, bytes);
    else
        conn_deliver(c, bytes);
}

void conn_ended(struct conn *c, int reason)
{
    if (c->state != CONN_OPEN || c->ended)
        return;
    c->ended = true;
    if (reason != ERR_EOF)
        c->write_failed = true;
    conn_say(c, "%s", err_name(reason));
    CALL(c, on_end, c, reason);
}

static void lost(struct conn *c, int reason)
{
    if (c->state == CONN_OPEN && tls_handshaking(c))
        tls_lost(c, reason);
    else
        conn_ended(c, reason);
}

void conn_read_ended(struct conn *c, int reason)
{
    c->peer_eof = true;
    if (c->state == CONN_LINGERING || (c->state == CONN_FLUSHING && reason != ERR_EOF))
        close_now(c, false);
    else
        lost(c, reason);
}

void conn_read_pause(struct conn *c)
{
    if (c->paused || c->state > CONN_OPEN)
        return;
    c->paused = true;
    if (c->state == CONN_OPEN && !c->peer_eof)
        c->way->reading(c, false);
}

void conn_read_resume(struct conn *c)
{
    if (!c->paused)
        return;
    c->paused = false;
    if (c->state != CONN_OPEN)
        return;
    c->resumed = true;
    conn_later(c, 0);
}

/* --- what may not be told from where it was found --- */

static void free_conn(struct conn *c)
{
    struct net *n = c->net;
    *(c->prev ? &c->prev->next : &n->conns) = c->next;
    if (c->next)
        c->next->prev = c->prev;
    free(c);
    n->handles--;
    free_net_if_last(n);
}

static void on_task(struct loop_task *t)
{
    struct conn *c = CONTAINER(t, struct conn, task);
    int failure = c->failure;
    c->failure = 0;
    if (c->gone) {
        free_conn(c);
        return;
    }
    if (failure) {
        if (tls_failed(c))
            tls_report(c, failure);
        else if (c->state == CONN_CONNECTING)
            conn_opened(c, failure);
        else
            lost(c, failure);
    }
    if (c->drained) {
        c->drained = false;
        if (c->state == CONN_OPEN)
            CALL(c, on_drain, c);
    }
    if (c->resumed && c->state == CONN_OPEN && !c->paused) {
        c->resumed = false;
        if (c->tls)
            tls_feed(c, SLICE_NONE); /* older bytes first */
        if (c->state == CONN_OPEN && !c->paused && !c->peer_eof)
            c->way->reading(c, true);
    }
    if (c->way == &conn_way_mem)
        conn_pump_mem(c);
}

void conn_later(struct conn *c, int reason)
{
    if (!c->failure)
        c->failure = reason;
    loop_post(c->net->loop, &c->task, on_task);
}

/* --- life --- */

struct conn *conn_new(struct net *n)
{
    struct conn *c = mem_zalloc(sizeof *c);
    c->net = n;
    c->way = n->way;
    c->next = n->conns;
    if (c->next)
        c->next->prev = c;
    n->conns = c;
    n->handles++;
    return c;
}

void conn_gone(struct conn *c)
{
    INVARIANT(c->state == CONN_CLOSING);
    CALL(c, on_closed, c);
    c->ops = NULL;
    unmark_dirty(c);
    tls_free(c);
    c->gone = true;
    if (!c->task.queued)
        free_conn(c);
}

static void on_connect_timer(struct loop_timer *t)
{
    struct conn *c = CONTAINER(t, struct conn, timer);
    conn_say(c, "no answer");
    conn_opened(c, ERR_TIMEOUT);
}

struct conn *conn_connect(struct net *n, const struct ip *local, const struct ip_port *remote,
                          int64_t timeout_ms, const struct conn_ops *ops, void *data)
{
    INVARIANT(!n->dead);
    struct conn *c = conn_new(n);
    conn_set_ops(c, ops, data);
    c->remote = *remote;
    loop_timer_start(n->loop, &c->timer, timeout_ms, on_connect_timer);
    n->way->connect(c, local && local->family ? local : NULL);
    return c;
}

struct conn *conn_connect_local(struct net *n, const char *path, const struct conn_ops *ops, void *data)
{
    INVARIANT(!n->dead && n->way == &conn_way_uv);
    struct conn *c = conn_new(n);
    conn_set_ops(c, ops, data);
    c->is_local = true;
    conn_connect_local_uv(c, path);
    return c;
}

void conn_opened(struct conn *c, int status)
{
    if (c->state != CONN_CONNECTING || c->ended)
        return;
    loop_timer_stop(c->net->loop, &c->timer);
    if (status) {
        char text[IP_PORT_TEXT], why[sizeof c->error];
        snprintf(why, sizeof why, "%s", c->error[0] ? c->error : err_name(status));
        snprintf(c->error, sizeof c->error, "connect %s: %.90s",
                 c->is_local ? "to a local socket" : ip_port_text(&c->remote, text).p, why);
        c->ended = c->write_failed = true;
        CALL(c, on_open, c, status);
        return;
    }
    set_state(c, CONN_OPEN);
    CALL(c, on_open, c, 0);
    if (c->state == CONN_OPEN && !c->paused)
        c->way->reading(c, true);
    if (c->state == CONN_OPEN)
        conn_mark_dirty(c);
}

void conn_accepted(struct listener *l, struct conn *c)
{
    set_state(c, CONN_OPEN);
    l->on_accept(l, c, l->data);
    if (c->state != CONN_OPEN)
        return;
    if (!c->ops)
        conn_close(c, CONN_DROP);
    else if (!c->paused)
        c->way->reading(c, true);
}

void conn_set_ops(struct conn *c, const struct conn_ops *ops, void *data)
{
    c->ops = ops;
    c->data = data;
}

void *conn_data(const struct conn *c)
{
    return c->data;
}

struct loop *conn_loop(const struct conn *c)
{
    return c->net->loop;
}

const struct ip_port *conn_local(const struct conn *c)
{
    return &c->local;
}

const struct ip_port *conn_remote(const struct conn *c)
{
    return &c->remote;
}

struct slice conn_error(const struct conn *c)
{
    return slice_cstr(c->error);
}

/* --- listeners and the net --- */

static struct listener *listener_new(struct net *n, on_accept_fn *on_accept, void *data)
{
    struct listener *l = mem_zalloc(sizeof *l);
    l->net = n;
    l->on_accept = on_accept;
    l->data = data;
    l->next = n->listeners;
    if (l->next)
        l->next->prev = l;
    n->listeners = l;
    n->handles++;
    return l;
}

static int listening(struct listener *l, int status, struct listener **out)
{
    if (status)
        listener_close(l);
    else
        *out = l;
    return status;
}

int conn_listen(struct net *n, const struct ip_port *at, on_accept_fn *on_accept, void *data,
                struct listener **out, struct err *e)
{
    struct listener *l = listener_new(n, on_accept, data);
    l->at = *at;
    return listening(l, n->way == &conn_way_mem ? conn_listen_mem(l, e) : conn_listen_uv(l, e), out);
}

int conn_listen_local(struct net *n, const char *path, on_accept_fn *on_accept, void *data,
                      struct listener **out, struct err *e)
{
    if (n->way == &conn_way_mem)
        return err_set(e, ERR_UNSUPPORTED, "listen on %s: no such sockets in a simulation", path);
    struct listener *l = listener_new(n, on_accept, data);
    l->path = mem_dup(path, strlen(path));
    return listening(l, conn_listen_local_uv(l, e), out);
}

const struct ip_port *listener_address(const struct listener *l)
{
    return &l->at;
}

void listener_close(struct listener *l)
{
    if (!l)
        return;
    *(l->prev ? &l->prev->next : &l->net->listeners) = l->next;
    if (l->next)
        l->next->prev = l->prev;
    if (l->net->way == &conn_way_mem)
        conn_unlisten_mem(l);
    else
        conn_unlisten_uv(l);
}

void listener_gone(struct listener *l)
{
    struct net *n = l->net;
    free(l->path);
    free(l);
    n->handles--;
    free_net_if_last(n);
}

struct net *net_new(struct loop *loop)
{
    struct net *n = mem_zalloc(sizeof *n);
    /* libuv writes without MSG_NOSIGNAL: a peer that has gone must be an error of ours, not our end. */
    if (!loop_is_virtual(loop))
        signal(SIGPIPE, SIG_IGN);
    n->loop = loop;
    n->way = loop_is_virtual(loop) ? &conn_way_mem : &conn_way_uv;
    n->dirty_last = &n->dirty;
    n->hook = (struct loop_hook){.order = LOOP_ORDER_CONN, .fn = on_turn_end, .data = n};
    loop_hook_add(loop, &n->hook);
    map_init(&n->by_address, (struct hash_key){0, 0}); /* its keys are our own addresses */
    map_init(&n->away, (struct hash_key){0, 0});
    return n;
}

struct loop *net_loop(const struct net *n)
{
    return n->loop;
}

void net_set_latency(struct net *n, int64_t ms)
{
    n->latency_ms = ms;
}

bool net_has_address(const struct net *n, const struct ip *ip)
{
    return loop_is_virtual(n->loop) ? !map_get(&n->away, slice_of(ip, sizeof *ip)) : conn_uv_has_address(ip);
}

void net_take_address(struct net *n, const struct ip *ip, bool away)
{
    if (away)
        map_put(&n->away, slice_of(ip, sizeof *ip), n);
    else
        map_del(&n->away, slice_of(ip, sizeof *ip));
}

uint64_t net_accept_errors(const struct net *n)
{
    return n->accept_errors;
}

void net_free(struct net *n)
{
    if (!n)
        return;
    loop_hook_remove(n->loop, &n->hook);
    while (n->listeners)
        listener_close(n->listeners);
    for (struct conn *c = n->conns; c; c = c->next) {
        conn_set_ops(c, NULL, NULL);
        unmark_dirty(c);
        close_now(c, false);
    }
    while (n->spare) {
        struct seg *s = n->spare;
        n->spare = s->next;
        free(s);
    }
    n->n_spare = SPARE_SEGS; /* none is kept from now on */
    map_free(&n->by_address);
    map_free(&n->away);
    n->dead = true;
    free_net_if_last(n);
}
