/* sink.h - receivers to send to: the ISPs of a world as SMTP servers on a net, real or in memory.
 *
 * `hato sink` runs one on loopback, `hato sim` one on the sender's own virtual loop. Everything runs on the
 * loop; what a turn logged is in the file before that turn's replies leave. */
#ifndef HATO_SINK_H
#define HATO_SINK_H

#include "platform/conn.h"
#include "platform/file.h"
#include "platform/tls.h"
#include "smtp_server.h"
#include "world.h"

struct sink;

/* Everything is borrowed until sink_free(); zero is a sink that takes, counts and forgets. */
struct sink_conf {
    struct net *net;
    const struct world *world;
    struct tls_server *tls; /* NULL: STARTTLS is not offered, whatever the world says */
    struct fs *fs;          /* for store and log; may be NULL where there are none */
    const char *store;      /* folder: a file N.eml for each message, the bytes as received; NULL: none */
    const char *log;        /* file: a JSON object on a line for each transaction; NULL: none */
    /* NULL, or told of every transaction's end. */
    void (*on_transaction)(void *data, const struct world_isp *isp, const struct smtp_server_tx *tx);
    /* NULL, or told of each message that could not be stored (it was refused with 451), and of each line of
     * the log that could not be written (log_lost: it is incomplete now). */
    void (*on_failure)(void *data, const struct err *e, bool log_lost);
    void *data;
};

struct sink_stats {
    uint64_t connections, transactions, messages, bytes; /* messages: taken; bytes: theirs */
    size_t open;                                         /* connections now */
};

/* Makes the store's folder, opens the log (and appends to it). */
int sink_new(const struct sink_conf *conf, struct sink **out, struct err *e);
/* Listen for the ISP that has this address; where none has, for the one with every_domain. *bound (may be
 * NULL) is where it listens; port 0: the system's choice. ERR_NOTFOUND when nobody in the world has it. */
int sink_listen(struct sink *s, const struct ip_port *at, struct ip_port *bound, struct err *e);
/* On every address of every ISP. Returns how many or ERR_*. */
int sink_listen_world(struct sink *s, uint16_t port, struct err *e);
struct sink_stats sink_stats(const struct sink *s);
/* Ends every session on the spot; what they had begun is logged. */
void sink_free(struct sink *s);

#endif
