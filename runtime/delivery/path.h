/* path.h - who may send next: isps, paths (isp × source), fair shares, limits, and the pull.
 *
 * Recipients wait in lanes; a lane with something ready hangs in its campaign's share at its site, the site
 * in the ring of its isp. A path with a free connection pulls: shares by priority, then by the least pass
 * (stride scheduling: a campaign's pass at an isp grows by 1/weight with each message), lanes of a share in
 * turn. The first lane whose source and host fit, and for which every limit has a permit now, gives its first
 * recipient, or nothing is taken.
 *
 * What lacks a permit waits at the limit (limit.h) and is out of every ring meanwhile, so it costs nothing:
 * the path where the limit is about all its mail, a campaign's share at a site where it is about that, a lane
 * where it is about a domain. When its turn comes the share and its neighbours at the site are back in the
 * rings, and the pull decides between them by priority and pass as ever.
 *
 * Urgent before normal before bulk: mail goes with the next permit that it needs, and on a connection right
 * behind the message that has begun there. That is one: MAIL of the next goes out ahead of the answer to the
 * one before only when that one has left whole (RFC 2920). What a session holds and has not begun goes back
 * for it (path_is_overtaken), and so does a connection to another host of the isp, if all are in use
 * (path_is_pressed).
 *
 * Connections of a path: 1, one more for every 10 accepted, up to its limit (10 unless an isp table says
 * otherwise), back to 1 after a refusal. What receivers' answers put in place is measure.h's. */
#ifndef HATO_DELIVERY_PATH_H
#define HATO_DELIVERY_PATH_H

#include "delivery/campaign.h"
#include "delivery/limit.h"
#include "delivery/queue.h"
#include "delivery/site.h"

enum { PATH_RAMP_STEP = 10, PATH_CONNECTIONS = 10, PATH_PER_CONNECTION = 100 };

struct path {
    struct isp *isp;
    uint16_t source;
    unsigned sessions;       /* opening, talking, idle or closing */
    unsigned ramp;           /* connections allowed now */
    unsigned accepted;       /* since the last step of the ramp */
    bool usable;             /* its address family is one that the isp allows */
    uint64_t tried;          /* mark of the search that looked at it last */
    struct backoff *backoff; /* owned; what it bears, as far as it knows; NULL: it never had an answer */
    struct measure *backoff_measure; /* while it is slower for that */
    struct limit_wait wait;          /* for a permit for any of its mail */
    struct limit_wait wait_open;     /* for leave to open a connection */
    struct interval *full;           /* while mail waits for one of its connections */
    struct interval *lacks;          /* while mail that only it may carry waits for a permit in no line */
    struct paths *paths;
};

/* A campaign at an isp. */
struct isp_share {
    struct campaign *campaign;
    uint64_t pass;
    struct isp_share *next;
};

struct isp {
    struct slice name; /* owned: of its table, or the domain or first host of the site that is its own isp */
    uint32_t number;   /* of its name in the spool; 0: not used yet */
    const struct conf_isp *conf; /* NULL: no table names it */
    struct paths *paths;
    struct path *by_source; /* one for each source */
    struct isp_share *shares;
    struct measure *measures; /* that hold here */
    struct tally *tallies;    /* of what may become one */
    uint64_t pass;            /* of the share that was served last: newcomers start there */
    struct site *ready;       /* ring of sites with ready lanes that wait for no limit */
    size_t nready;
    struct loop_task task;
    struct loop_timer again; /* to look again: some source lacks a permit that another has */
    struct spill *spills;    /* path_spill.c's */
    struct loop_timer spill_timer;
    struct session *idle_first; /* sessions with nothing to do, at any of its sites; session_idle.c's list */
    unsigned idle;              /* how many */
    bool starved;               /* wanted a socket when there was none */
    bool beyond;                /* it has a host beyond loopback */
    unsigned nfull;             /* paths that are full */
    struct interval *waits;     /* while it is starved */
    /* No mail that presses (path_urgent.c) is less urgent than this; CONF_PRIORITIES: none presses. */
    enum conf_priority pressing;
};

/* A campaign at a site. */
struct share {
    struct site *site;
    struct campaign *campaign;
    struct isp_share *at_isp;
    struct lane *ring;  /* the next lane to serve; NULL: none is ready */
    struct lane *aside; /* those that wait for a connection, which one that is there may yet carry */
    bool aside_next;    /* their turn is next */
    struct limit_wait wait;
    struct share *next;
};

struct paths_conf {
    struct loop *loop;
    struct intervals *intervals; /* NULL: nobody asks why mail waited */
    struct queue *queue;
    const struct conf *conf;      /* sources and isps; at least one source */
    struct warmups *warmups;      /* NULL where the conf has none */
    unsigned sockets_most;        /* in all; 0: 4000 */
    unsigned source_sockets_most; /* a source; 0: 2000 */
    void *data;
    /* A measure began, became stronger, learnt or was lifted. NULL: nobody writes it down. */
    void (*measured)(void *data, const struct measure *m);
    /* What a rule has counted towards one. NULL: the same. */
    void (*counted)(void *data, const struct rec_tally *r, struct slice isp, struct slice source);
    /* Open a session that begins with this recipient, which is CLAIMED. path->sessions already counts it. */
    void (*open)(void *data, struct path *p, struct site *s, struct lane *lane, uint64_t id);
    /* False: no attempt may begin now; isp_service() comes when it may. NULL: always. */
    bool (*may_open)(void *data);
    /* People have paused this path. NULL: never. */
    bool (*is_paused)(void *data, const struct path *p);
    /* An idle session of the site may have something to do: true if it took something. */
    bool (*wake)(void *data, struct site *s);
    /* Close an idle session of this path, at whatever site: it is in the way of another. */
    void (*shed)(void *data, struct path *p);
    /* Close as many idle sessions as somebody waits for who lacks the permit that they hold. */
    void (*yield)(void *data);
};

struct paths *paths_new(const struct paths_conf *conf);
void paths_free(struct paths *ps);
/* The shares at a site, before it goes. */
void site_free_shares(struct site *s);

/* The isp of a new site, by its hosts and the domain that led there. Sets site->isp. */
void paths_place_site(struct paths *ps, struct site *s, struct slice domain);
/* The one of this name; made if it has not come up yet. */
struct isp *paths_isp(struct paths *ps, struct slice name);
struct isp *paths_next_isp(struct paths *ps, size_t *at);

/* The lane has ready recipients and its campaign runs: attach it where its domain's site is. Does nothing
 * when it is attached, empty, or its domain has no site. */
void path_attach(struct paths *ps, struct lane *lane);
void path_detach(struct paths *ps, struct lane *lane);

/* What TLS the lane's mail wants here: the stricter of its stream's and its isp's word. */
enum conf_tls path_tls(const struct isp *isp, const struct lane *lane);
/* Claim the lane's first, whoever it is for; 0: none. */
uint64_t path_take_first(struct paths *ps, struct lane *lane);
/* An open session: what it asks with. */
struct path_session {
    const struct host *host;
    enum conf_tls tls;
    const struct limit_holder *holder;
};
/* Claim the next recipient for this path at this site, with a permit of every limit; those of connections are
 * taken by path_take_up(). by: NULL for a new session (then the lane may ask for a host). ahead: it would
 * wait behind another; a permit is for now, so mail that has a rate is not taken then. 0: nothing that fits.
 */
uint64_t path_pull(struct path *p, struct site *s, const struct path_session *by, bool ahead,
                   struct lane **lane);
/* A session begins: what it holds as long as it is open. */
void path_hold_open(struct path *p, struct site *s, struct limit_holder *h);
/* In the same turn: what was pulled is the session's, and counts there. */
void path_take_up(struct path *p, struct site *s, struct lane *lane, struct limit_holder *h);
/* It is over. more: the session has another; then it keeps only what that one needs. */
void path_put_down(struct path *p, struct site *s, struct lane *lane, struct limit_holder *h, bool more);
/* It was not even begun, and counts not as carried. */
void path_uncount(struct path *p, struct site *s, struct lane *lane, struct limit_holder *h);
/* Whether more urgent mail is ready here, for the same session, than what was pulled from this lane and has
 * not begun: then that goes first. */
bool path_is_overtaken(const struct path *p, const struct site *s, const struct path_session *by,
                       const struct lane *claimed, uint64_t id);
/* Whether the session of s ends now for more urgent mail of another site of its isp than what was pulled from
 * this lane: there is no connection to that site, and there may be none until another ends. True once for
 * each such site. */
bool path_is_pressed(struct path *p, const struct site *s, const struct lane *claimed, uint64_t id);
/* What was pulled begins now. */
void path_begin(struct path *p, struct lane *lane, uint64_t id);
/* What was pulled never began: its permits are there again. */
void path_return(struct path *p, struct lane *lane, uint64_t id);

/* Something changed: look soon which sessions of this isp should be opened. */
void isp_service(struct isp *isp);

/* The address of this source is not on this machine, or is again: nothing leaves from it meanwhile. */
void paths_set_absent(struct paths *ps, uint16_t source, bool absent);
bool paths_source_is_absent(const struct paths *ps, uint16_t source);

/* A session of this path is gone. */
void path_session_gone(struct path *p);
void path_took(struct path *p);    /* a message was accepted */
void path_refused(struct path *p); /* too many, too fast, not you: back to one connection */
unsigned path_connections_most(const struct path *p);
unsigned path_connections_now(const struct path *p); /* as far as the ramp has come */
unsigned path_per_connection(const struct path *p);
/* When this lane's mail may go at this isp (UTC ms): 0: now, as far as measures and limits go. */
int64_t path_release_ms(const struct isp *isp, const struct lane *lane);
/* The limit for which it waits; NULL: none. */
const struct limit *path_waits_for(const struct isp *isp, const struct lane *lane);
struct limits *paths_limits(struct paths *ps);
struct measures *paths_measures(struct paths *ps);
/* What limits may count by, as far as the campaign says it. */
void path_who(const struct conf *conf, const struct campaign *c, struct limit_who *out);

#endif
