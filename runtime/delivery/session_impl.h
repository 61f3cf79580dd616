/* session_impl.h - the insides that session.c, session_idle.c and session_dial.c share. */
#ifndef HATO_DELIVERY_SESSION_IMPL_H
#define HATO_DELIVERY_SESSION_IMPL_H

#include "delivery/session.h"

enum { HOSTS_MOST = 10, ADDRESSES_MOST = 4 };

enum session_state { SESSION_OPENING, SESSION_TALKING, SESSION_IDLE, SESSION_QUITTING };

/* A session that ended and whose connection is not closed yet: until then it counts for its path. */
struct closing {
    struct sessions *ss;
    struct path *path;
    struct conn *conn;
    struct limit_holder holder;
    struct closing *next, *prev;
};

struct sessions {
    struct sessions_conf conf;
    struct session *first;
    struct closing *closing;
    size_t count;
    uint64_t next_number;
    bool draining;
    struct flights *flights;
    struct rule_work *rule_work;
};

struct session {
    struct sessions *ss;
    struct session *next, *prev;           /* all */
    struct session *next_idle, *prev_idle; /* of its isp */
    enum session_state state;
    struct path *path;
    struct site *site;
    struct session_facts facts;
    struct flight *flights; /* oldest first */
    unsigned nflights, claimed;
    struct limit_holder holder;
    bool counted_opening, counted_connected;
    bool used;        /* a message began on it: only then it is closed for others who wait */
    bool unreachable; /* no host would have it; only its first message is waited for */

    uint16_t order[HOSTS_MOST]; /* hosts to try */
    size_t norder, at_host;
    struct ip addresses[ADDRESSES_MOST];
    size_t naddresses, at_address;
    struct resolve_req req;
    bool plain; /* this try goes without TLS after a failed handshake */
    char *note;

    struct conn *conn;
    struct smtp_client *smtp;
    uint64_t queued_bytes; /* given to the connection so far */
    struct loop_timer deadline, idle_timer;
    int64_t opened_ms;
    /* What the last failed try of the opening said, for the message's event. */
    struct verdict last;
    enum smtp_phase last_phase;
    struct smtp_reply last_reply;
    bool has_last_reply;
    char last_text[512];
};

extern const struct conn_ops session_ops;

/* --- session.c --- */
/* Do what the client says, and give it more to do, until neither has more. False: it is closed, and with it
 * this try of the session or all of it. */
bool session_pump(struct session *s);
/* The session is gone when it returns; what it carried goes back. */
void session_end(struct session *s, enum conn_close_mode mode);
/* The connection and its client go, the session stays. c: who waits for the close; NULL: nobody. */
void session_drop_conn(struct session *s, enum conn_close_mode mode, struct closing *c);
void session_uncount(struct session *s); /* no longer opening or connected, for its site */
/* A claimed recipient joins; false: it went elsewhere. firm: it gives way to nothing more urgent. */
bool session_start_flight(struct session *s, struct lane *lane, uint64_t id, bool firm);
void session_unlink_flight(struct session *s, struct flight *f);
void session_quit(struct session *s); /* once what is under way is over */
struct verdict_in session_verdict_in(const struct session *s, const struct smtp_event *ev);

/* --- session_idle.c --- */
/* It has nothing to carry: for some seconds it waits for more. */
void session_idle(struct session *s);
void session_idle_end(struct session *s); /* it goes on, or ends; nothing where it is not idle */

/* --- session_dial.c --- */
/* No host would have us: the recipient that the session began with hears of it (when its message is there),
 * the session ends. */
void session_unreachable(struct session *s);
/* The client is closed before it was ready: the next host, a hold of the path, or the end. */
void session_opening_closed(struct session *s, const struct smtp_event *ev);
void session_on_open(struct conn *c, int status);

#endif
