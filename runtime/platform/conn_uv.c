/* conn_uv.c - connections as TCP sockets under libuv. */
#include "platform/conn_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

/* What an errno of bind or connect says of whom to blame; see conn_connect(). */
static int connect_error(int errnum)
{
    switch (errnum) {
    case EADDRNOTAVAIL: /* of connect: no port left; bind's own is handled where it is called */
    case EADDRINUSE:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
        return ERR_LIMIT;
    case ETIMEDOUT:
        return ERR_TIMEOUT;
    case ECONNRESET:
        return ERR_RESET;
    }
    return ERR_REFUSED; /* refused, no route, filtered: what counts is that this host cannot be reached */
}

static int stream_error(int uv_status)
{
    if (uv_status == UV_EOF)
        return ERR_EOF;
    int r = err_from_errno(-uv_status);
    return r == ERR_RESET || r == ERR_TIMEOUT ? r : ERR_IO;
}

/* --- reading --- */

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf)
{
    struct conn *c = h->data;
    *buf = uv_buf_init(c->net->read_buf, sizeof c->net->read_buf);
}

static void on_read(uv_stream_t *s, ssize_t n, const uv_buf_t *buf)
{
    struct conn *c = s->data;
    if (n > 0) {
        conn_arrived(c, slice_of(buf->base, (size_t)n));
    } else if (n < 0) {
        uv_read_stop(s);
        if (n != UV_EOF)
            conn_say(c, "read: %s", uv_strerror((int)n));
        conn_read_ended(c, stream_error((int)n));
    }
}

static void way_reading(struct conn *c, bool on)
{
    uv_stream_t *s = (uv_stream_t *)&c->u.uv.tcp;
    if (!on) {
        uv_read_stop(s);
        return;
    }
    int r = uv_read_start(s, on_alloc, on_read);
    if (r && r != UV_EALREADY)
        conn_later(c, stream_error(r));
}

/* --- writing --- */

static void on_written(uv_write_t *req, int status)
{
    struct conn *c = req->data;
    size_t bytes = c->u.uv.writing;
    c->u.uv.writing = 0;
    conn_writable(c, bytes, status ? stream_error(status) : 0);
}

static ssize_t way_write(struct conn *c, const uv_buf_t *bufs, unsigned n, size_t bytes)
{
    uv_stream_t *s = (uv_stream_t *)&c->u.uv.tcp;
    if (c->u.uv.writing)
        return 0;
    int wrote = uv_try_write(s, bufs, n);
    if (wrote == UV_EAGAIN)
        wrote = 0;
    if (wrote < 0)
        return stream_error(wrote);
    if ((size_t)wrote == bytes)
        return wrote;
    uv_buf_t rest[CONN_IOVS];
    unsigned left = 0;
    size_t skip = (size_t)wrote;
    for (unsigned i = 0; i < n; i++) {
        if (skip >= bufs[i].len) {
            skip -= bufs[i].len;
            continue;
        }
        rest[left++] = uv_buf_init(bufs[i].base + skip, (unsigned)(bufs[i].len - skip));
        skip = 0;
    }
    c->u.uv.write.data = c;
    int r = uv_write(&c->u.uv.write, s, rest, left, on_written);
    if (r)
        return stream_error(r);
    c->u.uv.writing = bytes - (size_t)wrote;
    return wrote;
}

static size_t way_gone(const struct conn *c)
{
    size_t left = uv_stream_get_write_queue_size((const uv_stream_t *)&c->u.uv.tcp);
    return left < c->u.uv.writing ? c->u.uv.writing - left : 0;
}

static void on_shutdown(uv_shutdown_t *req, int status)
{
    /* A failure means that the other side is gone; reading, or the closing timer, ends it. */
    (void)req;
    (void)status;
}

static void way_shutdown(struct conn *c)
{
    if (uv_shutdown(&c->u.uv.shutdown, (uv_stream_t *)&c->u.uv.tcp, on_shutdown))
        conn_close(c, CONN_DROP);
}

/* --- life --- */

static void on_handle_closed(uv_handle_t *h)
{
    conn_gone(h->data);
}

static void way_close(struct conn *c, bool reset)
{
    /* A handle that is shutting down, or never got a socket, refuses the reset. */
    if (reset && !c->is_local && uv_tcp_close_reset(&c->u.uv.tcp, on_handle_closed) == 0)
        return;
    if (!uv_is_closing((uv_handle_t *)&c->u.uv.tcp))
        uv_close((uv_handle_t *)&c->u.uv.tcp, on_handle_closed);
}

static struct conn *new_handle(struct net *n, struct conn *c)
{
    INVARIANT(uv_tcp_init(loop_uv(n->loop), &c->u.uv.tcp) == 0);
    c->u.uv.tcp.data = c;
    return c;
}

static void read_address(struct conn *c, int (*ask)(const uv_tcp_t *, struct sockaddr *, int *),
                         struct ip_port *out)
{
    struct sockaddr_storage sa;
    int len = sizeof sa;
    if (ask(&c->u.uv.tcp, (struct sockaddr *)&sa, &len) == 0)
        ip_port_from_sockaddr((struct sockaddr *)&sa, out); /* stays as it is for a strange family */
}

static void on_connected(uv_connect_t *req, int status)
{
    struct conn *c = req->data;
    if (status) {
        conn_say(c, "%s", uv_strerror(status));
        conn_opened(c, c->is_local && status == UV_ENOENT ? ERR_NOTFOUND : connect_error(-status));
        return;
    }
    if (!c->is_local)
        read_address(c, uv_tcp_getsockname, &c->local);
    conn_opened(c, 0);
}

static int open_socket(struct conn *c, const struct ip *local)
{
    int fd =
        socket(c->remote.ip.family == 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        conn_say(c, "socket: %s", uv_strerror(-errno));
        return connect_error(errno);
    }
    if (local) {
        struct ip_port from = {.ip = *local};
        struct sockaddr_storage sa;
        char text[IP_TEXT];
        int on = 1;
        /* The port is chosen by connect, where both ends are known: 28,000 connections to each host and not
         * 28,000 in all. A kernel that does not know the option only loses that. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&sa, ip_port_to_sockaddr(&from, &sa))) {
            conn_say(c, "bind %s: %s", ip_text(local, text).p, uv_strerror(-errno));
            close(fd);
            return ERR_INVAL;
        }
    }
    int r = uv_tcp_open(&c->u.uv.tcp, fd);
    if (r) {
        close(fd);
        return connect_error(-r);
    }
    return 0;
}

bool conn_uv_has_address(const struct ip *ip)
{
    struct ip_port at = {.ip = *ip};
    struct sockaddr_storage sa;
    int fd = socket(ip->family == 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno != EAFNOSUPPORT; /* out of descriptors says nothing of addresses */
    int r = bind(fd, (struct sockaddr *)&sa, ip_port_to_sockaddr(&at, &sa));
    bool has = !r || errno != EADDRNOTAVAIL;
    close(fd);
    return has;
}

static void way_connect(struct conn *c, const struct ip *local)
{
    struct sockaddr_storage sa;
    new_handle(c->net, c);
    ip_port_to_sockaddr(&c->remote, &sa);
    int r = open_socket(c, local);
    if (!r) {
        uv_tcp_nodelay(&c->u.uv.tcp,
                       1); /* a turn's bytes leave as one write; waiting for more gains nothing */
        c->u.uv.connect.data = c;
        r = uv_tcp_connect(&c->u.uv.connect, &c->u.uv.tcp, (struct sockaddr *)&sa, on_connected);
        if (r) {
            conn_say(c, "%s", uv_strerror(r));
            r = connect_error(-r);
        }
    }
    if (r)
        conn_later(c, r);
}

const struct conn_way conn_way_uv = {way_connect, way_write, way_gone, way_shutdown, way_reading, way_close};

/* --- listening --- */

static void on_connection(uv_stream_t *s, int status)
{
    struct listener *l = s->data;
    struct net *n = l->net;
    if (status) {
        n->accept_errors++;
        return;
    }
    struct conn *c = new_handle(n, conn_new(n));
    if (uv_accept(s, (uv_stream_t *)&c->u.uv.tcp)) {
        n->accept_errors++;
        conn_close(c, CONN_DROP);
        return;
    }
    uv_tcp_nodelay(&c->u.uv.tcp, 1);
    read_address(c, uv_tcp_getsockname, &c->local);
    read_address(c, uv_tcp_getpeername, &c->remote);
    if (!c->remote.ip.family) /* it came and went */
        conn_close(c, CONN_DROP);
    else
        conn_accepted(l, c);
}

static void on_listener_closed(uv_handle_t *h)
{
    listener_gone(h->data);
}

void conn_unlisten_uv(struct listener *l)
{
    if (l->path && l->pipe.type == UV_NAMED_PIPE && uv_is_active((uv_handle_t *)&l->pipe))
        unlink(l->path);
    uv_close((uv_handle_t *)&l->tcp, on_listener_closed);
}

int conn_listen_uv(struct listener *l, struct err *e)
{
    struct sockaddr_storage sa;
    char text[IP_PORT_TEXT];
    int len = sizeof sa;
    INVARIANT(uv_tcp_init(loop_uv(l->net->loop), &l->tcp) == 0);
    l->tcp.data = l;
    ip_port_to_sockaddr(&l->at, &sa);
    int r = uv_tcp_bind(&l->tcp, (struct sockaddr *)&sa, l->at.ip.family == 6 ? UV_TCP_IPV6ONLY : 0);
    if (!r)
        r = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (!r)
        r = uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&sa, &len);
    if (!r)
        return ip_port_from_sockaddr((struct sockaddr *)&sa, &l->at);
    return err_set(e, r == UV_EADDRINUSE ? ERR_EXISTS : ERR_IO, "listen on %s: %s",
                   ip_port_text(&l->at, text).p, uv_strerror(r));
}

/* --- Unix sockets --- */

/* A name that fits a socket address: path itself, or by its folder's descriptor. The caller closes *dir. */
static int local_name(const char *path, struct sockaddr_un *out, int *dir)
{
    const char *slash = strrchr(path, '/');
    *out = (struct sockaddr_un){.sun_family = AF_UNIX};
    *dir = -1;
    if (strlen(path) < sizeof out->sun_path) {
        memcpy(out->sun_path, path, strlen(path) + 1);
        return 0;
    }
    char *folder = mem_dup(path, slash ? (size_t)(slash - path) : 0);
    *dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = *dir < 0 ? -errno : 0;
    free(folder);
    if (!r && snprintf(out->sun_path, sizeof out->sun_path, "/proc/self/fd/%d%s", *dir, slash) >=
                  (int)sizeof out->sun_path)
        r = -ENAMETOOLONG;
    return r;
}

static void close_folder(int dir)
{
    if (dir >= 0)
        close(dir);
}

void conn_connect_local_uv(struct conn *c, const char *path)
{
    struct sockaddr_un name;
    int dir, r = local_name(path, &name, &dir);
    INVARIANT(uv_pipe_init(loop_uv(c->net->loop), &c->u.uv.pipe, 0) == 0);
    c->u.uv.pipe.data = c;
    c->u.uv.connect.data = c;
    if (r) {
        conn_say(c, "%s", uv_strerror(r));
        conn_later(c, r == -ENOENT ? ERR_NOTFOUND : ERR_REFUSED);
    } else {
        uv_pipe_connect(&c->u.uv.connect, &c->u.uv.pipe, name.sun_path, on_connected);
    }
    close_folder(dir);
}

/* Only who could also read our files: this user, and root. */
static bool is_owner(const uv_pipe_t *pipe)
{
    struct ucred who;
    socklen_t n = sizeof who;
    int fd;
    return uv_fileno((const uv_handle_t *)pipe, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && (who.uid == geteuid() || who.uid == 0);
}

static void on_local_connection(uv_stream_t *s, int status)
{
    struct listener *l = s->data;
    struct net *n = l->net;
    if (status) {
        n->accept_errors++;
        return;
    }
    struct conn *c = conn_new(n);
    c->is_local = true;
    INVARIANT(uv_pipe_init(loop_uv(n->loop), &c->u.uv.pipe, 0) == 0);
    c->u.uv.pipe.data = c;
    if (uv_accept(s, (uv_stream_t *)&c->u.uv.pipe) || !is_owner(&c->u.uv.pipe)) {
        n->accept_errors++;
        conn_close(c, CONN_DROP);
        return;
    }
    conn_accepted(l, c);
}

int conn_listen_local_uv(struct listener *l, struct err *e)
{
    struct sockaddr_un name;
    int dir, fd = -1, r = local_name(l->path, &name, &dir);
    INVARIANT(uv_pipe_init(loop_uv(l->net->loop), &l->pipe, 0) == 0);
    l->pipe.data = l;
    if (!r) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        r = fd < 0 ? -errno : 0;
    }
    unlink(l->path);
    /* The name takes the socket's own mode: at no time may others connect. */
    if (!r && (fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&name, sizeof name)))
        r = -errno;
    close_folder(dir);
    if (!r)
        r = uv_pipe_open(&l->pipe, fd);
    if (r && fd >= 0)
        close(fd);
    if (!r)
        r = uv_listen((uv_stream_t *)&l->pipe, BACKLOG, on_local_connection);
    return r ? err_set(e, err_from_errno(-r), "listen on %s: %s", l->path, uv_strerror(r)) : 0;
}

/* --- the service manager --- */

int conn_notify(const char *socket_name, struct slice words)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = strlen(socket_name);
    if (n >= sizeof to.sun_path)
        return ERR_RANGE;
    memcpy(to.sun_path, socket_name, n);
    if (socket_name[0] == '@')
        to.sun_path[0] = 0;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_from_errno(errno);
    ssize_t sent = sendto(fd, words.p, words.n, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&to,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    int r = sent < 0 ? err_from_errno(errno) : 0;
    close(fd);
    return r;
}
