/* flight.h - a claimed recipient on its way through a session, and the message that is made for it.
 *
 * The message is assembled by a pool thread, which has flight and message to itself until then. It outlives
 * its flight while a connection still holds pieces of it, and then goes back to a store for the next one. */
#ifndef HATO_DELIVERY_FLIGHT_H
#define HATO_DELIVERY_FLIGHT_H

#include "delivery/message.h"
#include "delivery/queue.h"
#include "delivery/smtp_client.h"
#include "platform/work.h"

struct flights;
struct session;
struct path;

struct flight {
    uint64_t id;
    struct lane *lane;
    struct session *session; /* NULL: it ended while the message was being assembled */
    struct flight *next;     /* of its session */
    struct path *path;       /* that pulled it */
    uint64_t position;       /* of its record, for read(); set by prepare(), like in */
    struct message_in in;
    struct message *message; /* finished, or being made */
    int status;              /* of assembly */
    struct err error;
    bool assembled, offered, begun;
    bool firm;             /* gives way to nothing more urgent */
    bool raw_first;        /* its domain takes an old carrier's address unquoted: that form is in mail.rcpt */
    unsigned attempt;      /* the number this one has, from 1 */
    int64_t begun_wall_ms; /* UTC */
    int64_t claimed_ms, begun_ms; /* loop_now_ms() */
    struct smtp_mail mail;
    struct work_job job;
    struct flights *flights;
};

struct flights_conf {
    struct work *pool; /* its threads' user is a struct message_scratch * */
    void *data;
    /* Read the recipient's record into out; any thread. */
    int (*read)(void *data, uint64_t position, struct buf *out, struct err *e);
    /* On the loop: f->status says how it went. */
    void (*assembled)(void *data, struct flight *f);
};

struct flights *flights_new(const struct flights_conf *conf);
/* Every flight is gone; messages that connections still hold may come back later. */
void flights_free(struct flights *fs);

struct flight *flight_new(struct flights *fs, struct session *s, struct lane *lane, uint64_t id,
                          int64_t now_ms);
/* Position and in are set: assemble its message; assembled() follows. */
void flight_assemble(struct flight *f);
void flight_free(struct flight *f);
/* One more who needs the message after the flight; flight_message_release(what this returns) when done. */
void *flight_message_hold(struct flight *f);
void flight_message_release(void *held);

#endif
