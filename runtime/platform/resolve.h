/* resolve.h - where mail for a domain goes: MX, addresses, TXT, PTR, by c-ares or by a world that is made up.
 *
 * One question in flight a name and type, however many ask; answers are cached by their TTL, negative ones by
 * their SOA. No callback ever runs inside the call that asks: not even when the cache knows.
 *
 * The statuses keep apart what must never be mixed up: only NXDOMAIN, NODATA and a null MX are the word of a
 * domain about itself. SERVFAIL, TIMEOUT, REFUSED, LOOP and BAD say that nobody knows now; no person is ever
 * judged by them. */
#ifndef HATO_PLATFORM_RESOLVE_H
#define HATO_PLATFORM_RESOLVE_H

#include "base/err.h"
#include "format/dns_wire.h"
#include "platform/loop.h"

struct resolve;

enum resolve_status {
    RESOLVE_OK,
    RESOLVE_NXDOMAIN, /* the name does not exist */
    RESOLVE_NODATA,   /* the name exists and has no such record */
    RESOLVE_SERVFAIL, /* a server tried and failed (also: it cannot do what we asked, or it referred us on) */
    RESOLVE_TIMEOUT,  /* no server answered, or none could be reached */
    RESOLVE_REFUSED,  /* the servers do not want to answer us */
    RESOLVE_LOOP,     /* CNAMEs in a circle, or more than RESOLVE_MAX_CHAIN of them */
    RESOLVE_BAD,      /* not a DNS name, an answer that cannot be read, or an MX set without a usable host */
};
/* "ok", "nxdomain", "nodata", "servfail", "timeout", "refused", "loop", "bad" */
const char *resolve_status_name(enum resolve_status s);
/* Whether the status is the domain's own word: it will be the same when asked again before its TTL ends. */
static inline bool resolve_is_final(enum resolve_status s)
{
    return s == RESOLVE_OK || s == RESOLVE_NXDOMAIN || s == RESOLVE_NODATA;
}

enum { RESOLVE_MAX_CHAIN = 8, RESOLVE_MAX_HOSTS = 100, RESOLVE_MAX_ADDRS = 64 };

enum mx_kind {
    MX_LISTED,   /* MX records */
    MX_IMPLICIT, /* none, but an address: the domain is its own and only host (RFC 5321 5.1) */
    MX_NULL,     /* the domain takes no mail (RFC 7505): status OK, no hosts */
};
struct mx_host {
    struct slice name; /* folded, without the dot at the end */
    uint16_t pref;
};
/* status OK and kind MX_LISTED or MX_IMPLICIT: at least one host. */
struct mx_set {
    enum resolve_status status;
    enum mx_kind kind;
    const struct mx_host *hosts; /* by preference, then name; no name twice */
    size_t n;
    size_t skipped; /* targets that cannot be mail hosts: addresses, "." among others, bad bytes */
    uint32_t ttl_s; /* what is left of it */
};
struct addr_set {
    enum resolve_status status;
    struct ip v[RESOLVE_MAX_ADDRS]; /* IPv4 first, in the order of the answer */
    size_t n;
    uint32_t ttl_s;
};
struct text_set {
    enum resolve_status status;
    const struct slice *v; /* TXT: a record's strings joined; PTR: names, SOA: the first server's; folded */
    size_t n;
    uint32_t ttl_s;
};

struct resolve_conf {
    const char *servers;  /* "127.0.0.1:5353,[::1]:53"; NULL: the system's */
    int64_t timeout_ms;   /* for one server to answer once; 0: 5000 */
    int tries;            /* rounds through the servers; 0: 2 */
    size_t max_in_flight; /* further questions wait their turn; 0: 256 */
    size_t cache_entries; /* 0: 100,000 */
};
/* servers must be addresses; ERR_INVAL names the one that is not. A real loop only. NULL on error. */
struct resolve *resolve_new(struct loop *l, const struct resolve_conf *conf, struct err *e);

/* Fill m as a recursive server would, given its question: rcode and records; text lives in a or longer.
 * Return false for a server that never answers. */
typedef bool resolve_answer_fn(void *ctx, struct dns_message *m, struct arena *a);
/* Answers come from fn, delay_ms later, in a turn of their own. Any loop. cache_entries: 0 is 100,000. */
struct resolve *resolve_new_static(struct loop *l, resolve_answer_fn *fn, void *ctx, int64_t delay_ms,
                                   size_t cache_entries);

/* Requests still open are dropped without their callback. NULL is fine. Before loop_free(). */
void resolve_free(struct resolve *r);

/* --- asking. A request lives inside its owner; zero-initialised is idle; it must stay where it is until its
 * callback or resolve_cancel(). It is idle again when its callback runs, and may be used or freed there.
 * Sets and what they point to are borrowed until the callback returns. --- */
struct resolve_answer;
struct resolve_job;
struct resolve_req;
typedef void resolve_mx_fn(struct resolve_req *req, const struct mx_set *set);
typedef void resolve_addr_fn(struct resolve_req *req, const struct addr_set *set);
typedef void resolve_text_fn(struct resolve_req *req, const struct text_set *set);

struct resolve_wait {
    struct resolve_wait *next, **prev; /* in its job's list; prev NULL: waits for nothing */
    struct resolve_job *job;
    struct resolve_req *req;
    struct resolve_answer *answer; /* held */
};
struct resolve_req {
    void *data;                       /* the caller's */
    struct resolve *r;                /* NULL: idle */
    struct resolve_req *next, **prev; /* in the list of those whose callback is due */
    uint8_t kind, families;
    uint16_t type;
    struct slice name; /* owned */
    struct resolve_wait wait[3];
    union {
        resolve_mx_fn *mx;
        resolve_addr_fn *addr;
        resolve_text_fn *text;
    } cb;
};

enum { RESOLVE_IP4 = 1, RESOLVE_IP6 = 2 };

void resolve_mx(struct resolve *r, struct slice domain, struct resolve_req *req, resolve_mx_fn *cb);
/* families: RESOLVE_IP4, RESOLVE_IP6 or both. With both, one that fails does not hide the other. */
void resolve_addr(struct resolve *r, struct slice host, int families, struct resolve_req *req,
                  resolve_addr_fn *cb);
void resolve_txt(struct resolve *r, struct slice name, struct resolve_req *req, resolve_text_fn *cb);
void resolve_ptr(struct resolve *r, struct ip ip, struct resolve_req *req, resolve_text_fn *cb);
void resolve_soa(struct resolve *r, struct slice name, struct resolve_req *req, resolve_text_fn *cb);
/* The callback will not run. Nothing happens to an idle request. */
void resolve_cancel(struct resolve_req *req);

/* What the cache knows now, without asking: false is "ask". Sets are borrowed until the caller returns to the
 * loop. */
bool resolve_peek_mx(struct resolve *r, struct slice domain, struct mx_set *out);
bool resolve_peek_addr(struct resolve *r, struct slice host, int families, struct addr_set *out);

struct resolve_stats {
    uint64_t asked; /* questions sent, tries included */
    uint64_t hits, misses;
    size_t cached, in_flight;
};
struct resolve_stats resolve_stats(const struct resolve *r);

#endif
