/* path.h - who may send next: isps, paths (isp × source), fair shares, and the pull.
 *
 * Recipients wait in lanes; a lane with something ready hangs in its campaign's share at its site, the site
 * in the ring of its isp. A path with a free connection pulls: shares by priority, then by the least pass
 * (stride scheduling: a campaign's pass at an isp grows by 1/weight with each message), lanes of a share in
 * turn. The first lane whose source and host fit gives its first recipient, or nothing is taken: what must
 * wait costs nothing meanwhile.
 *
 * Connections of a path: 1, one more for every 10 accepted, up to its limit (10 unless an isp table says
 * otherwise), back to 1 after a refusal. A path that must not send is held with a reason and an end. */
#ifndef HATO_DELIVERY_PATH_H
#define HATO_DELIVERY_PATH_H

#include "delivery/campaign.h"
#include "delivery/queue.h"
#include "delivery/site.h"

enum { PATH_RAMP_STEP = 10, PATH_CONNECTIONS = 10, PATH_PER_CONNECTION = 100 };

struct path {
    struct isp *isp;
    uint16_t source;
    unsigned sessions;     /* opening, talking, idle or closing */
    unsigned ramp;         /* connections allowed now */
    unsigned accepted;     /* since the last step of the ramp */
    bool usable;           /* its address family is one that the isp allows */
    uint64_t tried;        /* mark of the search that looked at it last */
    int64_t held_until_ms; /* UTC; 0: not held */
    char *held_why;
    struct loop_timer timer;
    struct paths *paths;
};

/* A campaign at an isp. */
struct isp_share {
    struct campaign *campaign;
    uint64_t pass;
    struct isp_share *next;
};

/* A stream that an isp refuses as sender. */
struct isp_stop {
    struct stream *stream;
    int64_t until_ms; /* UTC */
    char *why;
    struct loop_timer timer;
    struct isp *isp;
    struct isp_stop *next;
};

struct isp {
    struct slice name; /* owned: of its table, or the domain or first host of the site that is its own isp */
    uint32_t number;   /* of its name in the spool; 0: not used yet */
    const struct conf_isp *conf; /* NULL: no table names it */
    struct paths *paths;
    struct path *by_source; /* one for each source */
    struct isp_share *shares;
    struct isp_stop *stops;
    uint64_t pass;      /* of the share that was served last: newcomers start there */
    struct site *ready; /* ring of sites with ready lanes */
    struct loop_task task;
    struct session *idle_first; /* sessions with nothing to do, at any of its sites; session.c's list */
    unsigned idle;              /* how many */
    bool starved;               /* wanted a socket when there was none */
};

/* A campaign at a site. */
struct share {
    struct site *site;
    struct campaign *campaign;
    struct isp_share *at_isp;
    struct lane *ring; /* the next lane to serve; NULL: none is ready */
    struct share *next;
};

struct paths_conf {
    struct loop *loop;
    struct queue *queue;
    const struct conf *conf;      /* sources and isps; at least one source */
    unsigned sockets_most;        /* in all; 0: 4000 */
    unsigned source_sockets_most; /* a source; 0: 2000 */
    void *data;
    /* Open a session that begins with this recipient, which is CLAIMED. path->sessions already counts it. */
    void (*open)(void *data, struct path *p, struct site *s, struct lane *lane, uint64_t id);
    /* False: no attempt may begin now; isp_service() comes when it may. NULL: always. */
    bool (*may_open)(void *data);
    /* An idle session of the site may have something to do: true if it took something. */
    bool (*wake)(void *data, struct site *s);
    /* Close an idle session of this path, at whatever site: it is in the way of another. */
    void (*shed)(void *data, struct path *p);
};

struct paths *paths_new(const struct paths_conf *conf);
void paths_free(struct paths *ps);
/* The shares at a site, before it goes. */
void site_free_shares(struct site *s);

/* The isp of a new site, by its hosts and the domain that led there. Sets site->isp. */
void paths_place_site(struct paths *ps, struct site *s, struct slice domain);
struct isp *paths_next_isp(struct paths *ps, size_t *at);

/* The lane has ready recipients and its campaign runs: attach it where its domain's site is. Does nothing
 * when it is attached, empty, or its domain has no site. */
void path_attach(struct paths *ps, struct lane *lane);
void path_detach(struct paths *ps, struct lane *lane);

/* What TLS the lane's mail wants here: the stricter of its stream's and its isp's word. */
enum conf_tls path_tls(const struct isp *isp, const struct lane *lane);
/* Claim the lane's first, whoever it is for; 0: none. */
uint64_t path_take_first(struct paths *ps, struct lane *lane);
/* Claim the next recipient for this path at this site. host and tls: of an open session; NULL and
 * CONF_TLS_UNSET for a new one (then the lane may ask for a host). 0: nothing that fits. */
uint64_t path_pull(struct path *p, struct site *s, const struct host *host, enum conf_tls tls,
                   struct lane **lane);

/* Something changed: look soon which sessions of this isp should be opened. */
void isp_service(struct isp *isp);

/* A session of this path is gone. */
void path_session_gone(struct path *p);
void path_took(struct path *p);    /* a message was accepted */
void path_refused(struct path *p); /* too many, too fast, not you: back to one connection */
/* Nothing leaves on this path until then (UTC ms); why is copied. */
void path_hold(struct path *p, int64_t until_ms, const char *why);
/* The isp refuses this stream as sender: its mail waits there until then. */
void isp_stop_stream(struct isp *isp, struct stream *stream, int64_t until_ms, const char *why);

unsigned path_connections_most(const struct path *p);
unsigned path_per_connection(const struct path *p);
/* A hold (stream NULL) or a stop (source CONF_NONE) of an earlier process: it takes effect when mail for this
 * isp comes up. Words are copied. */
void paths_remember(struct paths *ps, struct slice isp, uint16_t source, struct stream *stream,
                    int64_t until_ms, struct slice why);
/* When this lane's mail may go at this isp (UTC ms): 0: now, as far as holds and stops go. */
int64_t path_release_ms(const struct isp *isp, const struct lane *lane);

#endif
