/* session.h - one connection to one host, and the messages it carries.
 *
 * A session begins with a recipient that its path has claimed. That one's assembly starts at once, while
 * hosts are looked up and tried in turn. From then on at most two recipients are its: one with the server,
 * one being assembled or waiting behind it. What it has not begun when it ends goes back to its lane as if
 * nothing had been. What it holds of limits of connections is its own until it is closed (limit.h), but an
 * idle one holds none for its mail, and is closed where somebody waits for the rest.
 *
 *   OPENING ── READY ──▶ TALKING ◀──▶ IDLE ── 5 s, limit, shed ──▶ QUITTING ──▶ gone
 *      │  ▲                  └──────── lost, 421 ─────────────────────────────▶ gone
 *      └──┘ next address, next host
 *
 * What answers mean is verdict's; what becomes of a message is settled above, through struct sessions_conf.
 */
#ifndef HATO_DELIVERY_SESSION_H
#define HATO_DELIVERY_SESSION_H

#include "delivery/flight.h"
#include "delivery/path.h"
#include "platform/conn.h"
#include "platform/tls.h"

struct sessions;
struct session;

/* What a session is, for its record and for events. */
struct session_facts {
    uint64_t number; /* of its record; 0: not connected yet */
    uint16_t source;
    struct path *path;
    struct site *site;
    struct host *host;
    struct ip_port local, remote;
    const struct tls_info *tls; /* NULL: plain */
    enum conf_tls tls_use;      /* the policy under which it was opened */
    const char *note;           /* "" or why it is plain */
    int64_t connect_ms;         /* from the first try to READY */
    bool recorded;              /* the owner has written its record */
    uint32_t recorded_segment;  /* the owner's */
};
const struct session_facts *session_facts(const struct session *s);
struct session_facts *session_facts_mutable(struct session *s);

struct sessions_conf {
    struct loop *loop;
    struct net *net;
    struct resolve *resolve;
    struct queue *queue;
    struct sites *sites;
    struct paths *paths;
    struct work *pool; /* its threads' user is a struct message_scratch * */
    struct tls_client *tls;
    const struct conf *conf;
    const struct rules *rules; /* what replies mean */
    uint16_t smtp_port;
    int64_t idle_ms; /* 0: 5 s */
    void *data;
    /* Read the recipient's record into out; any thread. */
    int (*read)(void *data, uint64_t position, struct buf *out, struct err *e);
    /* Fill f->in. false: it must not be sent now; the caller has put the recipient elsewhere. */
    bool (*prepare)(void *data, struct flight *f);
    /* It is assembled: may it still go (it has not expired)? false: it was settled and left CLAIMED. */
    bool (*fit)(void *data, struct flight *f);
    /* May this one's session connect to an address beyond loopback? */
    bool (*may_leave)(void *data, struct path *p, const struct flight *f);
    /* May an attempt begin (is the journal well)? */
    bool (*may_begin)(void *data);
    /* Right before its MAIL FROM. */
    void (*begin)(void *data, struct session *s, struct flight *f);
    /* The attempt is over: v says what it means. reply NULL: there was none, text says what was seen instead.
     * The recipient is CLAIMED and must leave that state here. */
    void (*settle)(void *data, struct session *s, struct flight *f, const struct verdict *v,
                   enum smtp_phase phase, const struct smtp_reply *reply, const char *text, bool other_rcpt);
    /* It could not be assembled: f->error says why. Must leave CLAIMED. */
    void (*unfit)(void *data, struct flight *f);
    /* Offered but not taken, or never offered: back where it came from, uncharged. Must leave CLAIMED. */
    void (*back)(void *data, struct flight *f);
    /* No host of the site could be reached for this recipient. Must leave CLAIMED. */
    void (*unreachable)(void *data, struct session *s, struct flight *f, const struct verdict *v,
                        enum smtp_phase phase, const struct smtp_reply *reply, const char *text);
    /* A refusal that is about the source or a full stop of the path; text is for people. */
    void (*refused)(void *data, struct session *s, const struct verdict *v, enum smtp_phase phase,
                    const struct smtp_reply *reply, const char *text);
};

struct sessions *sessions_new(const struct sessions_conf *conf);
/* Every session is dropped at once. What had begun stays CLAIMED: nobody knows whether it was taken. The rest
 * goes back, some of it only when the pool is done with it. */
void sessions_stop(struct sessions *ss);
void sessions_free(struct sessions *ss); /* after the pool's end */
/* No new claims; sessions end when their open transactions have. */
void sessions_drain(struct sessions *ss);
void sessions_undrain(struct sessions *ss); /* claims again; what has ended stays ended */
/* Ask again whether what is assembled and not yet offered may go. */
void sessions_refit(struct sessions *ss);
size_t sessions_count(const struct sessions *ss);

/* For paths_conf. data: struct sessions *. */
void session_open(struct sessions *ss, struct path *p, struct site *s, struct lane *lane, uint64_t id);
bool session_wake(struct sessions *ss, struct site *s);
void session_shed(struct sessions *ss, struct path *p);
void session_yield(struct sessions *ss);

#endif
