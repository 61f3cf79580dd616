/* smtp_client.h - one SMTP session as its sender: bytes, moments and mails in; one ordered queue of events
 * out.
 *
 * The client touches no socket, clock or file. Its owner moves bytes and does what the events say,
 * in their order:
 *
 *     c = smtp_client_new(&conf, now);          smtp_client_open(c, now) when TCP is up
 *     after every input:                        while (smtp_client_poll(c, &ev)) ...
 *     then:                                     while (smtp_client_room(c)) smtp_client_send(c, mail, now),
 * poll a timer at smtp_client_deadline(c), which calls smtp_client_tick()
 *
 * Each mail sent gets exactly one OUTCOME. CLOSED is the last event, always comes, and the owner closes the
 * connection then. No input does anything after it.
 *
 * The one thing the client cannot see is how far its bytes got: a connection that breaks between the last
 * byte of a body and the reply leaves open whether the mail was taken (RFC 1047). So the owner reports what
 * it handed to the kernel with smtp_client_written(), before it feeds bytes that it read later. */
#ifndef HATO_DELIVERY_SMTP_CLIENT_H
#define HATO_DELIVERY_SMTP_CLIENT_H

#include "format/smtp_phase.h"
#include "format/smtp_reply.h"

struct smtp_client;

enum tls_use {
    SMTP_TLS_NONE,          /* STARTTLS is not asked for */
    SMTP_TLS_OPPORTUNISTIC, /* asked for where offered; if refused, on without it, and READY says so */
    SMTP_TLS_REQUIRE,       /* not offered or refused: CLOSED, phase starttls */
};

struct smtp_client_conf {
    struct slice ehlo; /* our name or address literal; copied */
    enum tls_use tls;
    bool already_tls;      /* the connection is encrypted before the greeting: no STARTTLS */
    bool allow_pipelining; /* use it where offered (RFC 2920) */
    /* How long each may take; 0: what RFC 5321 4.5.3.2 says, which is also the least for eod. */
    int64_t banner_ms, ehlo_ms, starttls_ms, mail_ms, rcpt_ms, data_ms;
    int64_t block_ms; /* no byte of a body got anywhere for so long */
    int64_t eod_ms;   /* from the last byte of the body to the reply */
    int64_t quit_ms;  /* also RSET */
};

/* One recipient, one transaction. The caller's until its OUTCOME, and what it points at with it. */
struct smtp_mail {
    struct slice from;     /* envelope sender without <>; empty: the null sender */
    struct slice rcpt;     /* as written in SMTP, without <> */
    struct slice rcpt_raw; /* another form, tried once in the same session if rcpt gets a 5xx; empty: none */
    const struct slice *body; /* the message in pieces */
    size_t nbody;
    uint64_t size_bytes;  /* for SIZE (RFC 1870) */
    bool body_8bit;       /* needs 8BITMIME */
    bool needs_smtputf8;  /* an address or header that only RFC 6531 allows */
    bool no_leading_dots; /* promise: CRLF line ends, no dot leads a line. The pieces go out untouched */
    void *user;
};

enum smtp_how {
    SMTP_HOW_REPLY,    /* the server said so */
    SMTP_HOW_LOST,     /* the connection ended; err says how */
    SMTP_HOW_TIMEOUT,  /* no answer in time */
    SMTP_HOW_PROTOCOL, /* bytes that are no SMTP, or not now; text says what */
    SMTP_HOW_LOCAL,    /* decided here: the server does not offer what this needs. reply is in its words */
    SMTP_HOW_QUIT,     /* CLOSED only: we were asked to quit, and did */
};

enum smtp_event_type {
    SMTP_EV_WRITE,      /* send bytes */
    SMTP_EV_WRITE_BODY, /* send all pieces of mail->body. They stay until sent, or the connection is gone */
    SMTP_EV_STARTTLS,   /* begin the TLS handshake now; answer with smtp_client_tls() */
    SMTP_EV_READY,      /* mails may be sent; once a session */
    SMTP_EV_BEGIN,      /* before the WRITE that carries the mail's MAIL: the time for its begin record */
    SMTP_EV_OUTCOME,
    SMTP_EV_CLOSED,
};

/* Everything a slice or pointer here refers to is valid until the next call with this client. */
struct smtp_event {
    enum smtp_event_type type;
    struct slice bytes;           /* WRITE */
    const struct smtp_mail *mail; /* WRITE_BODY, BEGIN, OUTCOME: the pointer that was sent */
    bool tls_refused;             /* READY: STARTTLS was offered, but refused when asked for */
    /* OUTCOME and CLOSED */
    enum smtp_how how;
    enum smtp_phase phase;
    const struct smtp_reply *reply; /* with how REPLY and LOCAL, and PROTOCOL where a reply came that fits
                                       nothing; else NULL */
    int err;                        /* with how LOST: ERR_EOF, ERR_RESET, ERR_TLS ...; else 0 */
    const char *text;               /* a few words for how LOST, TIMEOUT and PROTOCOL; else "" */
    /* OUTCOME */
    bool delivered;     /* the server took it: its reply to the final dot was 2xx */
    bool ambiguous;     /* all of it was sent and no usable reply came: it may have been taken */
    bool not_taken;     /* the session ended before this mail's turn: no attempt */
    bool begun;         /* its BEGIN was given */
    bool used_raw_rcpt; /* the answer is to rcpt_raw */
    /* CLOSED */
    bool idle;    /* nothing was under way: no reply was owed to us */
    bool charged; /* an OUTCOME just before says the same of its mail: one cause, count it once */
    bool drop; /* throw away what is not with the kernel yet: it could complete a mail that has its outcome */
    unsigned mails; /* mails whose turn came in this session */
};

struct smtp_client *smtp_client_new(const struct smtp_client_conf *conf, int64_t now_ms);

/* --- inputs. Time never runs backwards. --- */
/* TCP (or implicit TLS) is up: wait for the greeting. */
void smtp_client_open(struct smtp_client *c, int64_t now_ms);
void smtp_client_feed(struct smtp_client *c, struct slice bytes, int64_t now_ms);
void smtp_client_tls(struct smtp_client *c, int status, int64_t now_ms); /* handshake done: 0 or ERR_* */
/* The connection ended (ERR_EOF, ERR_RESET ...). What was fed before still counts. */
void smtp_client_lost(struct smtp_client *c, int reason, int64_t now_ms);
/* So many bytes of all WRITE and WRITE_BODY so far were handed to the kernel (before encryption). Whether a
 * mail is ambiguous hangs on it, so say it before feed, lost and tick. Under TLS what is pending may be
 * counted in encrypted bytes: the client allows for that. Less than last time changes nothing. */
void smtp_client_written(struct smtp_client *c, uint64_t total_bytes, int64_t now_ms);
void smtp_client_tick(struct smtp_client *c, int64_t now_ms);

/* How many mails may be sent now. 1 when ready and idle. While a mail is under way, 1 more where the server
 * offers PIPELINING and this is not the session's first mail: its MAIL, RCPT and DATA then leave behind the
 * last byte of the one before (RFC 2920 3.1). */
int smtp_client_room(const struct smtp_client *c);
/* Room, and what is sent now begins at once. Who asks for this instead can still change its mind until the
 * wire is free: the client holds nothing then. */
bool smtp_client_begins(const struct smtp_client *c);
/* Needs room. Takes the mail until its OUTCOME. */
void smtp_client_send(struct smtp_client *c, const struct smtp_mail *mail, int64_t now_ms);
/* End the session in good manners after the mails under way; one not begun yet is not_taken. */
void smtp_client_quit(struct smtp_client *c, int64_t now_ms);

/* --- output --- */
bool smtp_client_poll(struct smtp_client *c, struct smtp_event *ev); /* false: nothing more now */
int64_t smtp_client_deadline(const struct smtp_client *c);           /* INT64_MAX: none */
/* What the server's last EHLO offered; all false before. */
const struct smtp_ehlo *smtp_client_ehlo(const struct smtp_client *c);

void smtp_client_free(struct smtp_client *c); /* NULL is fine. Mails without OUTCOME are the caller's again */

#endif
