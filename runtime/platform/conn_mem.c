/* conn_mem.c - connections as pipes in memory, for a virtual loop. Bytes and ends travel as parcels, each
 * taking the net's latency, in the order in which they were sent. A pipe holds what a socket's buffers would
 * hold; a reader that pauses stops the writer. */
#include "platform/conn_impl.h"

#include <stdlib.h>

enum { PIPE_BYTES = 262144, PARCEL_BYTES = 65536 };

enum parcel_kind { PARCEL_DATA, PARCEL_EOF, PARCEL_RESET };
struct parcel {
    struct parcel *next;
    int64_t due_ms;
    enum parcel_kind kind;
    size_t n;
    char bytes[];
};

static void on_due(struct loop_timer *t)
{
    struct conn *c = t->data;
    conn_pump_mem(c);
}

static void schedule(struct conn *c)
{
    struct loop *l = c->net->loop;
    struct parcel *p = c->u.mem.first;
    if (!p)
        return;
    int64_t wait_ms = p->due_ms - loop_now_ms(l);
    if (wait_ms <= 0) {
        conn_later(c, 0);
    } else if (!loop_timer_active(&c->u.mem.timer)) {
        c->u.mem.timer.data = c;
        loop_timer_start(l, &c->u.mem.timer, wait_ms, on_due);
    }
}

static void send_parcel(struct conn *to, enum parcel_kind kind, size_t n, struct parcel **out)
{
    struct parcel *p = mem_alloc(sizeof *p + n);
    *p = (struct parcel){.due_ms = loop_now_ms(to->net->loop) + to->net->latency_ms, .kind = kind, .n = n};
    *(to->u.mem.last ? &to->u.mem.last->next : &to->u.mem.first) = p;
    to->u.mem.last = p;
    to->u.mem.queued += n;
    if (out)
        *out = p;
    schedule(to);
}

static struct parcel *take_parcel(struct conn *c)
{
    struct parcel *p = c->u.mem.first;
    c->u.mem.first = p->next;
    if (!p->next)
        c->u.mem.last = NULL;
    c->u.mem.queued -= p->n;
    return p;
}

/* --- the way --- */

static ssize_t way_write(struct conn *c, const uv_buf_t *bufs, unsigned n, size_t bytes)
{
    struct conn *peer = c->u.mem.peer;
    if (!peer)
        return ERR_RESET;
    size_t room = peer->u.mem.queued < PIPE_BYTES ? PIPE_BYTES - peer->u.mem.queued : 0;
    size_t left = bytes < room ? bytes : room, wrote = left, i = 0, at = 0;
    while (left) {
        struct parcel *p;
        size_t size = left < PARCEL_BYTES ? left : PARCEL_BYTES, filled = 0;
        send_parcel(peer, PARCEL_DATA, size, &p);
        while (filled < size) {
            size_t take = bufs[i].len - at < size - filled ? bufs[i].len - at : size - filled;
            memcpy(p->bytes + filled, bufs[i].base + at, take);
            filled += take;
            at += take;
            if (at == bufs[i].len) {
                i++;
                at = 0;
            }
        }
        left -= size;
    }
    INVARIANT(i <= n);
    peer->u.mem.peer_waits = wrote < bytes;
    return (ssize_t)wrote;
}

static void send_end(struct conn *c, bool reset)
{
    if (c->u.mem.peer && (reset || !c->u.mem.sent_end))
        send_parcel(c->u.mem.peer, reset ? PARCEL_RESET : PARCEL_EOF, 0, NULL);
    c->u.mem.sent_end = true;
}

static size_t way_gone(const struct conn *c)
{
    return 0;
}

static void way_shutdown(struct conn *c)
{
    send_end(c, false);
}

static void way_reading(struct conn *c, bool on)
{
    if (on)
        schedule(c);
}

static void way_close(struct conn *c, bool reset)
{
    send_end(c, reset || c->u.mem.queued > 0); /* as the kernel does: what nobody will read is a reset */
    if (c->u.mem.peer) {
        struct conn *peer = c->u.mem.peer;
        peer->u.mem.peer = NULL;
        c->u.mem.peer = NULL;
        if (c->u.mem.peer_waits) /* it finds out by writing */
            conn_writable(peer, 0, 0);
    }
    while (c->u.mem.first)
        free(take_parcel(c));
    loop_timer_stop(c->net->loop, &c->u.mem.timer);
    conn_later(c, 0);
}

static void on_call(struct loop_timer *t)
{
    conn_pump_mem(t->data);
}

static void way_connect(struct conn *c, const struct ip *local)
{
    struct net *n = c->net;
    if (local)
        c->local.ip = *local;
    else
        c->local.ip = c->remote.ip.family == 4 ? ip_v4(127, 0, 0, 1) : (struct ip){6, {[15] = 1}};
    n->next_port = n->next_port < 49152 ? 49152 : n->next_port + 1;
    c->local.port = n->next_port;
    if (local && !net_has_address(n, local)) {
        conn_say(c, "the address is not on this machine");
        conn_later(c, ERR_INVAL);
        return;
    }
    c->u.mem.calling = true;
    c->u.mem.timer.data = c;
    if (n->latency_ms)
        loop_timer_start(n->loop, &c->u.mem.timer, 2 * n->latency_ms, on_call); /* SYN there, SYN+ACK back */
    else
        conn_later(c, 0);
}

const struct conn_way conn_way_mem = {way_connect, way_write, way_gone, way_shutdown, way_reading, way_close};

/* --- listening --- */

/* A struct ip has no undefined bytes, a struct ip_port may have padding: so a key is built, not borrowed. */
enum { KEY_BYTES = 19 };
static struct slice address_key(const struct ip_port *at, char out[KEY_BYTES])
{
    out[0] = (char)at->ip.family;
    memcpy(out + 1, at->ip.b, 16);
    memcpy(out + 17, &at->port, 2);
    return slice_of(out, KEY_BYTES);
}

static struct listener *find_listener(struct net *n, const struct ip_port *at)
{
    char key[KEY_BYTES];
    struct listener *l = map_get(&n->by_address, address_key(at, key));
    if (l)
        return l;
    struct ip_port any = {.ip = {.family = at->ip.family}, .port = at->port};
    return map_get(&n->by_address, address_key(&any, key));
}

int conn_listen_mem(struct listener *l, struct err *e)
{
    char key[KEY_BYTES], text[IP_PORT_TEXT];
    if (!l->at.port) {
        l->at.port = 1024;
        while (map_get(&l->net->by_address, address_key(&l->at, key)))
            l->at.port++;
    }
    struct slice k = address_key(&l->at, key);
    if (map_get(&l->net->by_address, k))
        return err_set(e, ERR_EXISTS, "listen on %s: address already in use", ip_port_text(&l->at, text).p);
    map_put(&l->net->by_address, k, l);
    return 0;
}

void conn_unlisten_mem(struct listener *l)
{
    char key[KEY_BYTES];
    struct slice k = address_key(&l->at, key);
    if (map_get(&l->net->by_address, k) == l)
        map_del(&l->net->by_address, k);
    listener_gone(l);
}

/* --- arriving --- */

static void arrive_call(struct conn *c)
{
    struct listener *l = find_listener(c->net, &c->remote);
    c->u.mem.calling = false;
    if (!l) {
        conn_say(c, "connection refused");
        conn_opened(c, ERR_REFUSED);
        return;
    }
    if (c->ended) /* it no longer waits */
        return;
    struct conn *s = conn_new(c->net);
    s->local = c->remote;
    s->remote = c->local;
    s->u.mem.peer = c;
    c->u.mem.peer = s;
    conn_accepted(l, s);
    conn_opened(c, 0);
}

void conn_pump_mem(struct conn *c)
{
    if (c->state == CONN_CLOSING) {
        conn_gone(c);
        return;
    }
    if (c->u.mem.calling) {
        /* A task may run before the call's timer. */
        if (!loop_timer_active(&c->u.mem.timer))
            arrive_call(c);
        return;
    }
    while (c->u.mem.first && c->state != CONN_CONNECTING && c->state != CONN_CLOSING) {
        if (c->u.mem.first->due_ms > loop_now_ms(c->net->loop)) {
            schedule(c);
            return;
        }
        if (c->state == CONN_OPEN && c->paused)
            return;
        struct parcel *p = take_parcel(c);
        if (c->u.mem.peer && c->u.mem.peer_waits && c->u.mem.queued <= PIPE_BYTES / 2) {
            c->u.mem.peer_waits = false;
            conn_writable(c->u.mem.peer, 0, 0);
        }
        switch (p->kind) {
        case PARCEL_DATA:
            conn_arrived(c, slice_of(p->bytes, p->n));
            break;
        case PARCEL_EOF:
            conn_read_ended(c, ERR_EOF);
            break;
        case PARCEL_RESET:
            conn_read_ended(c, ERR_RESET);
            break;
        }
        free(p);
    }
}
