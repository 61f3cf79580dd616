/* conn_impl.h - what conn.c, its two ways (conn_uv.c, conn_mem.c) and tls.c know of each other; nobody else
 * includes it.
 *
 *   conn_write → plain queue (only with TLS) → tls_encrypt → wire queue → way->write → socket or pipe
 *   socket or pipe → conn_arrived → tls_feed (only with TLS) → conn_deliver → on_data
 *
 * Invariants
 * 1. A conn is freed by conn_gone(), from a close callback or a task, and nowhere else. So every function may
 * go on using it after a callback, once it has looked at state again.
 * 2. No callback but on_closed runs in a state behind CONN_OPEN.
 * 3. What way->write() left unwritten stays in `wire`, in place, until conn_writable(): uv reads it there. */
#ifndef HATO_PLATFORM_CONN_IMPL_H
#define HATO_PLATFORM_CONN_IMPL_H

#include "base/map.h"
#include "platform/conn.h"
#include "platform/tls.h"

#include <uv.h>

enum { CONN_READ_BYTES = 65536, CONN_IOVS = 64, CONN_CLOSE_MS = 10000 };

/*             connected                 conn_close(FLUSH)           all written
 *  CONNECTING ──────────► OPEN ───────────────────────────► FLUSHING ──────────► LINGERING, our FIN is sent
 *      │ conn_close        │ conn_close(DROP, ABORT)            │ failed, 10 s       │ their end, 10 s
 *      └───────────────────┴────────────────────────────────────┴────────────────────┴──► CLOSING */
enum conn_state { CONN_CONNECTING, CONN_OPEN, CONN_FLUSHING, CONN_LINGERING, CONN_CLOSING };

/* Bytes on their way out, in memory of its own or by reference. */
struct seg {
    struct seg *next;
    const char *p; /* what is left of it */
    size_t n;
    void (*release)(void *);
    void *data;
    size_t cap; /* of own[]; 0 = by reference */
    char own[];
};
struct seg_queue {
    struct seg *first, *last;
    size_t bytes;
};

struct conn_way {
    /* Ends in conn_opened(), later. */
    void (*connect)(struct conn *c, const struct ip *local);
    /* Takes what goes now. Returns the number of bytes, or ERR_*. Fewer than all: conn_writable() follows. */
    ssize_t (*write)(struct conn *c, const uv_buf_t *bufs, unsigned n, size_t bytes);
    /* Of the bytes that write() left behind: how many are with the system before conn_writable() says so. */
    size_t (*gone)(const struct conn *c);
    /* FIN behind all that was written. */
    void (*shutdown)(struct conn *c);
    void (*reading)(struct conn *c, bool on);
    /* Ends in conn_gone(), later. The queues' bytes are not read any more. */
    void (*close)(struct conn *c, bool reset);
};

struct parcel; /* conn_mem.c: bytes or an end, travelling to a conn */
struct tls;

struct conn {
    struct net *net;
    const struct conn_way *way;
    const struct conn_ops *ops; /* NULL: nobody is told anything */
    void *data;
    enum conn_state state;
    bool ended;        /* a failed open, on_end or a failed on_tls was reported or is about to be */
    bool peer_eof;     /* nothing more comes from the socket or pipe */
    bool write_failed; /* writes are thrown away */
    bool paused;
    bool blocked;  /* bytes outlasted a turn's end */
    bool drained;  /* for the task: on_drain is due */
    bool resumed;  /* for the task: TLS may hold bytes that were not wanted */
    bool gone;     /* for the task: free it */
    bool is_local; /* a Unix socket */
    int failure;   /* for the task: see conn_later() */
    struct ip_port local, remote;
    char error[160];
    struct seg_queue plain, wire;
    struct tls *tls;
    struct loop_timer timer; /* connecting; later closing */
    struct loop_task task;
    struct conn **dirty_at, *next_dirty; /* dirty_at NULL: in no list */
    struct conn *prev, *next;            /* all of the net's */
    union {
        struct {
            union { /* streams both */
                uv_tcp_t tcp;
                uv_pipe_t pipe; /* is_local */
            };
            uv_connect_t connect;
            uv_shutdown_t shutdown;
            uv_write_t write;
            size_t writing; /* bytes of wire that uv_write has */
        } uv;
        struct {
            struct conn *peer; /* NULL once that side has closed */
            struct parcel *first, *last;
            size_t queued;           /* bytes in them */
            struct loop_timer timer; /* the first one's arrival */
            bool peer_waits;         /* for room here */
            bool sent_end;
            bool calling; /* connect is on its way */
        } mem;
    } u;
};

struct listener {
    struct net *net;
    struct ip_port at;
    on_accept_fn *on_accept;
    void *data;
    struct listener *prev, *next;
    char *path; /* of a Unix socket, owned; NULL: TCP */
    union {
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    };
};

struct net {
    struct loop *loop;
    const struct conn_way *way;
    struct loop_hook hook;
    struct loop_task kick; /* queued while something is dirty: so a turn's end comes */
    struct conn *dirty, **dirty_last;
    struct conn *flushing; /* the one whose turn it is in the hook */
    struct conn *conns;
    struct listener *listeners;
    struct seg *spare; /* empty segments of the usual size */
    size_t n_spare;
    size_t handles; /* conns and listeners not yet freed */
    bool dead;
    uint64_t accept_errors;
    int64_t latency_ms;
    struct map by_address; /* conn_mem.c: struct ip_port → listener */
    uint16_t next_port;
    struct map away;                 /* conn_mem.c: addresses that this machine has not */
    void *bio_method;                /* tls.c's */
    char read_buf[CONN_READ_BYTES];  /* shared: a slice of it lives until on_data returns */
    char plain_buf[CONN_READ_BYTES]; /* the same for what was decrypted */
};

extern const struct conn_way conn_way_uv, conn_way_mem;
bool conn_uv_has_address(const struct ip *ip);

/* --- conn.c, for the ways --- */
struct conn *conn_new(struct net *n);
void conn_accepted(struct listener *l, struct conn *c);
void conn_opened(struct conn *c, int status);
void conn_arrived(struct conn *c, struct slice bytes);
void conn_read_ended(struct conn *c, int reason); /* ERR_EOF or a failure */
/* `bytes` that write() had left behind are gone; status ERR_*: they failed. */
void conn_writable(struct conn *c, size_t bytes, int status);
void conn_gone(struct conn *c);
void listener_gone(struct listener *l);

/* --- conn.c, for tls.c too --- */
void conn_deliver(struct conn *c, struct slice bytes);
void conn_ended(struct conn *c, int reason);
void conn_later(struct conn *c, int failure); /* have the conn's task run; failure may be 0 */
void conn_mark_dirty(struct conn *c);
/* The first failure's words stay: a later one is only its echo. */
void conn_say(struct conn *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void seg_copy(struct net *n, struct seg_queue *q, struct slice bytes);
void seg_drop(struct net *n, struct seg_queue *q, size_t bytes);

/* --- conn_uv.c, conn_mem.c, for conn.c --- */
int conn_listen_uv(struct listener *l, struct err *e);
int conn_listen_local_uv(struct listener *l, struct err *e);
void conn_connect_local_uv(struct conn *c, const char *path);
void conn_unlisten_uv(struct listener *l);
int conn_listen_mem(struct listener *l, struct err *e);
void conn_unlisten_mem(struct listener *l);
void conn_pump_mem(struct conn *c); /* from the conn's task */

/* --- tls.c, for conn.c --- */
void tls_feed(struct conn *c, struct slice cipher);
void tls_encrypt(struct conn *c); /* plain → wire, a bounded piece */
void tls_goodbye(struct conn *c); /* close_notify, once */
bool tls_handshaking(const struct conn *c);
bool tls_failed(const struct conn *c);
void tls_lost(struct conn *c, int reason); /* the connection ended under the handshake */
void tls_report(struct conn *c, int status);
void tls_free(struct conn *c);
void tls_net_free(struct net *n);

#endif
