/* site.h - where a domain's mail goes: domains, the sites behind their MX sets, the hosts of a site.
 *
 * A site is one MX set (names and preferences) of one isp; every domain that has both hangs under it. A
 * domain is resolved when its turn comes; while it has an answer, an expired one is asked again in the
 * background and a changed MX moves the domain whole. What DNS cannot say now is never an answer about a
 * person: the domain waits and is asked again.
 *
 *   NEW ──ask──▶ QUEUED ─▶ ASKING ─▶ OK (site)          ─expired─▶ ASKING, still usable
 *                  ▲          ├────▶ DEAD (the domain's own word: no such domain, null MX, no address)
 *                  └─ timer ──┴────▶ WAITING (SERVFAIL, timeout …)
 *
 *   site: UP ─ no host can be reached ─▶ DOWN ─ timer ─▶ PROBE ─ connected ─▶ UP
 *                                          ▲───────── failed ──┘   one session, the rest wait */
#ifndef HATO_DELIVERY_SITE_H
#define HATO_DELIVERY_SITE_H

#include "base/map.h"
#include "delivery/interval.h"
#include "delivery/verdict.h"
#include "platform/resolve.h"

struct sites;
struct site;
struct lane;
struct tls_session;

/* When nobody could be reached: now or the last time, and the time before that. UTC. */
struct outage {
    int64_t from_ms, to_ms;               /* from_ms 0: never; to_ms 0: it lasts */
    int64_t before_from_ms, before_to_ms; /* 0: there was none */
};
void outage_begin(struct outage *o, int64_t now_ms); /* nothing where one lasts */
void outage_end(struct outage *o, int64_t now_ms);   /* nothing where none does */

enum domain_state { DOMAIN_NEW, DOMAIN_QUEUED, DOMAIN_ASKING, DOMAIN_OK, DOMAIN_DEAD, DOMAIN_WAITING };

struct domain {
    struct slice name; /* ASCII, lower case; owned */
    enum domain_state state;
    bool asking;              /* a question is under way (also in OK, when refreshing) */
    struct site *site;        /* OK */
    enum verdict_cause cause; /* DEAD, WAITING */
    const char *why;          /* DEAD, WAITING: "nxdomain", "servfail" …; static */
    int64_t fresh_until_ms;   /* loop_now_ms(): OK and DEAD hold until then */
    struct outage outage;     /* DNS did not say where its mail goes, and no earlier answer is left */
    unsigned failures;
    struct loop_timer timer;
    struct resolve_req req;
    struct sites *sites;
    struct domain *next_queued;
    struct interval *waits;     /* for DNS */
    struct lane *lanes;         /* by lane->of_domain */
    bool took_quoted, took_raw; /* which form of an old carrier's address was accepted: domain_took() */
};

struct host {
    struct slice name;     /* owned */
    int64_t rest_until_ms; /* loop_now_ms(): after a failed connect */
    int64_t
        plain_until_ms; /* loop_now_ms(): a handshake failed; until then without TLS where that is allowed */
    struct tls_session *tls; /* owned: for resumption */
};

struct site_host {
    struct host *host;
    uint16_t pref;
};

enum site_state { SITE_UP, SITE_DOWN, SITE_PROBE };

struct site {
    struct slice key; /* "10 mx1.example.jp,20 mx2.example.jp"; owned */
    struct sites *sites;
    struct site_host *hosts; /* by preference, then name */
    size_t nhosts;
    enum site_state state;
    struct outage outage;
    struct interval *waits; /* while it is not up */
    struct loop_timer timer;
    /* path.c's */
    struct isp *isp;
    struct share *shares;                 /* campaigns with ready lanes here */
    struct site *next_ready, *prev_ready; /* ring of its isp's sites with ready lanes; NULL: not in it */
    unsigned opening;                     /* sessions that have not connected yet */
    unsigned connected;
    bool awaited; /* a connection to another site of its isp ends for its more urgent mail */
};

struct sites_conf {
    struct loop *loop;
    struct intervals *intervals; /* NULL: nobody asks why mail waited */
    struct resolve *resolve;
    size_t max_asking;    /* questions under way at once; 0: 200 */
    int64_t host_rest_ms; /* 0: 10 min */
    int64_t dns_wait_ms;  /* first wait after a failure of DNS, doubled to an hour; 0: 1 min */
    void *data;
    void (*on_domain)(void *data, struct domain *d); /* its state or its site changed */
    /* Append what sets this domain apart from others with the same hosts: the isp that a table gives it by
     * its name. */
    void (*qualify)(void *data, struct slice domain, const struct slice *hosts, size_t n, struct buf *key);
    /* New: give it an isp. domain: the one that led there. */
    void (*on_site)(void *data, struct site *s, struct slice domain);
    void (*on_probe)(void *data, struct site *s); /* DOWN → PROBE */
    /* NXDOMAIN: whether that is a fault of DNS, so that the domain waits (NULL: it never is); and it has an
     * answer (may be NULL). */
    bool (*is_fault)(void *data, struct slice domain);
    void (*exists)(void *data, struct slice domain);
};

struct sites *sites_new(const struct sites_conf *conf);
void sites_free(struct sites *s);

/* name: folded (addr.domain_ascii). Made if need be, NEW. */
struct domain *sites_domain(struct sites *s, struct slice name);
/* Somebody has mail for it: resolve it if it is not known, refresh it if its answer is old. */
void domain_want(struct domain *d);

/* on_domain once more, shortly: there was too much to do for one turn. */
void domain_again(struct domain *d);
/* It accepted mail to an address that wants quotes, in them or raw. From then on a domain that ever took one
 * in quotes gets only those, and one that took raw ones alone gets them raw first. */
void domain_took(struct domain *d, bool raw);

/* Indexes into site->hosts in the order in which to try them: by preference, equals shuffled, resting ones
 * left out. Returns how many (at most max); 0: all rest, *rest_ms says for how much longer. */
size_t site_order(struct site *s, uint16_t *order, size_t max, int64_t *rest_ms);
/* A host could not be reached or did not speak: it rests. */
void host_rest(struct sites *s, struct host *h);

/* That was not their fault: they may be tried at once. An outage begins all the same. */
void site_try_again(struct site *s);

/* No host could be reached: DOWN until the first one's rest is over. Its outage begins with the first
 * failure. */
void site_down(struct site *s);
void site_up(struct site *s);

/* Iterate in order of first use: size_t at = 0; */
struct domain *sites_next_domain(struct sites *s, size_t *at);
struct site *sites_next_site(struct sites *s, size_t *at);

#endif
