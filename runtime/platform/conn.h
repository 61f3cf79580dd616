/* conn.h - stream connections: TCP on a real loop, pipes in memory on a virtual one, one face for both.
 *
 * Callbacks come from the loop alone: never from inside a conn_ or tls call, never from a turn-end hook.
 * Inside any of them every call here is allowed, also conn_close() of this or another connection.
 *
 * The life of a connection:
 *   connecting → on_open(0) → on_data* → on_end(reason) at most once → the owner's conn_close() → on_closed
 * - A failed connect is on_open(error); nothing but on_closed follows it.
 * - on_end(ERR_EOF): the other side will send no more; what we write still goes out. Any other reason: the
 *   connection is dead and what is written is thrown away.
 * - The owner calls conn_close() in every case. After it only on_closed comes, exactly once, from a later
 *   callback; the conn is freed when that returns.
 * - Nothing is written before the turn's end (LOOP_ORDER_CONN), and then with one writev for all of a turn.
 */
#ifndef HATO_PLATFORM_CONN_H
#define HATO_PLATFORM_CONN_H

#include "base/err.h"
#include "format/ip.h"
#include "platform/loop.h"

struct net;
struct conn;
struct listener;
struct tls_info;

struct conn_ops {                                        /* every one may be NULL */
    void (*on_open)(struct conn *c, int status);         /* of conn_connect() alone */
    void (*on_data)(struct conn *c, struct slice bytes); /* plaintext; borrowed until it returns */
    void (*on_end)(struct conn *c, int reason);          /* ERR_EOF, ERR_RESET, ERR_TLS, ERR_IO */
    /* What conn_start_tls_*() came to. After a failure nothing more arrives, not even on_end. */
    void (*on_tls)(struct conn *c, int status, const struct tls_info *info);
    /* What was written outlasted a turn's end (the socket was full) and is now gone. */
    void (*on_drain)(struct conn *c);
    void (*on_closed)(struct conn *c);
};

struct net *net_new(struct loop *loop);
/* Closes what is still open without any callback, except that data written by reference is released. */
void net_free(struct net *n);
struct loop *net_loop(const struct net *n);
/* Memory only: how long bytes travel, one way, in ms. Default 0. */
void net_set_latency(struct net *n, int64_t ms);
/* Whether connections can come from this address: this machine has it. In memory it has every one, but for
 * those that were taken away. */
bool net_has_address(const struct net *n, const struct ip *ip);
/* Memory only. */
void net_take_address(struct net *n, const struct ip *ip, bool away);
/* Connections that failed while they were accepted. For want of a descriptor none fails: libuv sheds those.
 */
uint64_t net_accept_errors(const struct net *n);

/* --- listening --- */
/* on_accept gets an open connection and says conn_set_ops(); one without ops is dropped when it returns. */
typedef void on_accept_fn(struct listener *l, struct conn *c, void *data);
/* Port 0: the system chooses, listener_address() knows. In memory an address of zeroes takes every address of
 * its family. ERR_EXISTS when taken; the text names the address. */
int conn_listen(struct net *n, const struct ip_port *at, on_accept_fn *on_accept, void *data,
                struct listener **out, struct err *e);
const struct ip_port *listener_address(const struct listener *l);
/* A Unix socket at path, mode 0600, for processes of this user and root alone: others are turned away unseen.
 * What was there is replaced: the caller knows (by a lock) that nobody listens. The name goes when the
 * listener is closed. ERR_UNSUPPORTED on a virtual loop. */
int conn_listen_local(struct net *n, const char *path, on_accept_fn *on_accept, void *data,
                      struct listener **out, struct err *e);
/* No more on_accept from now on; connections live on. NULL is fine. */
void listener_close(struct listener *l);

/* --- connecting --- */
/* local: NULL, or the address to come from. Never fails at once: on_open says
 *   ERR_REFUSED (refused, no route), ERR_TIMEOUT, ERR_RESET;
 *   ERR_INVAL: the local address is not ours to use; ERR_LIMIT: out of ports or descriptors; both are faults
 *   of this side, not of the other. conn_error() has the sentence. */
struct conn *conn_connect(struct net *n, const struct ip *local, const struct ip_port *remote,
                          int64_t timeout_ms, const struct conn_ops *ops, void *data);

/* To a Unix socket on a real loop. on_open says ERR_NOTFOUND (no such name) or ERR_REFUSED (nobody listens).
 */
struct conn *conn_connect_local(struct net *n, const char *path, const struct conn_ops *ops, void *data);

/* ops: static, or alive as long as the connection; NULL: no callback ever again. */
void conn_set_ops(struct conn *c, const struct conn_ops *ops, void *data);
void *conn_data(const struct conn *c);
struct loop *conn_loop(const struct conn *c);
const struct ip_port *conn_local(const struct conn *c); /* family 0 until open */
const struct ip_port *conn_remote(const struct conn *c);
/* Why it failed, for people: "connect 192.0.2.1:25: connection refused". Empty while all is well. */
struct slice conn_error(const struct conn *c);

/* --- bytes --- */
/* Copies. */
void conn_write(struct conn *c, struct slice bytes);
/* Does not copy: bytes must stay until release(data) (may be NULL), which comes once they are written or
 * given up, possibly at once and possibly from a turn-end hook, and must not call conn. */
void conn_write_ref(struct conn *c, struct slice bytes, void (*release)(void *data), void *data);
/* Bytes not yet handed to the system. */
size_t conn_pending(const struct conn *c);
/* No on_data until resumed; what comes meanwhile waits with the sender. An end behind unread bytes waits too.
 */
void conn_read_pause(struct conn *c);
void conn_read_resume(struct conn *c);

/* Tell the service manager, in the words of sd_notify(3): one datagram to the socket that it named (a path,
 * or
 * '@' and an abstract name). ERR_IO when it does not take it. */
int conn_notify(const char *socket_name, struct slice words);

enum conn_close_mode {
    CONN_FLUSH, /* write what is pending, say goodbye (close_notify, FIN), wait shortly for the other side's
                   end so that no reset overtakes our last bytes; 10 s at most */
    CONN_DROP,  /* now; pending bytes are lost */
    CONN_ABORT, /* now, with RST */
};
/* A second call may only be harder than the first; a softer one changes nothing. */
void conn_close(struct conn *c, enum conn_close_mode mode);

#endif
