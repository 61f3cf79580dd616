/* smtp_server.h - one SMTP session as its receiver, played by an ISP of a world; no socket, no clock, no
 * file.
 *
 *     s = smtp_server_new(&conf, now)
 *     after every input:   while (smtp_server_poll(s, &ev)) ...
 *     then:                a timer at smtp_server_deadline(s), which calls smtp_server_tick();
 *                          reading stops while smtp_server_wants(s) is false
 *
 * What is fed is borrowed until poll says false, so a message passes through without a copy: where nobody
 * wants its bytes, they are only searched for their end. */
#ifndef HATO_SMTP_SERVER_H
#define HATO_SMTP_SERVER_H

#include "smtp_judge.h"

struct smtp_server;

struct smtp_server_conf {
    struct smtp_judge *judge; /* borrowed, outlives the session */
    struct slice hostname;    /* borrowed */
    struct ip peer;
    bool can_tls;    /* there is a certificate; else STARTTLS is not offered */
    bool want_body;  /* BODY and MESSAGE events are wanted */
    int64_t idle_ms; /* silence from the client ends the session; 0: 5 minutes (RFC 5321 4.5.3.2.7) */
};

struct smtp_server_rcpt {
    struct slice address; /* as written, without <> */
    int code;
};

/* One transaction: MAIL until its end, whatever that was. */
struct smtp_server_tx {
    struct slice from;
    const struct smtp_server_rcpt *rcpts; /* all that were asked for, also refused ones */
    size_t nrcpts, naccepted;
    uint64_t size_bytes;         /* of the message, without doubled dots and the final one */
    int codes[SMTP_PHASE_COUNT]; /* what was answered, 0: nothing; banner to starttls are the session's;
                                    rcpt: the last one */
    bool taken;                  /* ours now; its reply was 2xx or was held back by the script */
    bool tls, smtputf8;
};

enum smtp_server_event_type {
    SMTP_SERVER_WRITE,
    SMTP_SERVER_STARTTLS,    /* begin the handshake once all is written; answer with smtp_server_tls() */
    SMTP_SERVER_BODY,        /* the next bytes of the message, dots undoubled */
    SMTP_SERVER_MESSAGE,     /* its end. Will be taken, unless smtp_server_refuse() is called now */
    SMTP_SERVER_TRANSACTION, /* its end, once for each MAIL */
    SMTP_SERVER_CLOSE,       /* close when all is written; the last event */
};

/* Slices and pointers are valid until the next call. */
struct smtp_server_event {
    enum smtp_server_event_type type;
    struct slice bytes;              /* WRITE, BODY */
    const struct smtp_server_tx *tx; /* BODY, MESSAGE, TRANSACTION */
};

struct smtp_server *smtp_server_new(const struct smtp_server_conf *conf, int64_t now_ms);

void smtp_server_feed(struct smtp_server *s, struct slice bytes, int64_t now_ms);
void smtp_server_tls(struct smtp_server *s, int status, int64_t now_ms); /* handshake done: 0 or ERR_* */
void smtp_server_lost(struct smtp_server *s, int64_t now_ms);            /* the client is gone */
void smtp_server_tick(struct smtp_server *s, int64_t now_ms);
/* Right after MESSAGE: it could not be stored, answer 451. */
void smtp_server_refuse(struct smtp_server *s);

bool smtp_server_poll(struct smtp_server *s, struct smtp_server_event *ev);
bool smtp_server_wants(const struct smtp_server *s); /* bytes; false: read no more for now */
int64_t smtp_server_deadline(const struct smtp_server *s);

void smtp_server_free(struct smtp_server *s); /* NULL is fine */

#endif
