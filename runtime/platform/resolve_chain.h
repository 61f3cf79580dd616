/* resolve_chain.h - what a name comes to, read out of answers: through its aliases to records, or to none.
 * For resolve alone.
 *
 *     resolve_chain_begin(&c, name, DNS_MX);
 *     ask a server for c.name, parse what comes, and resolve_chain_read(&c, &m, scratch, keep, &found)
 *
 * Aliases are RFC 1034 3.6.2's, what may be kept of a negative answer is RFC 2308's. Bounded: more than
 * RESOLVE_MAX_CHAIN aliases are a loop, and no TTL is shorter than seconds or longer than a day. */
#ifndef HATO_PLATFORM_RESOLVE_CHAIN_H
#define HATO_PLATFORM_RESOLVE_CHAIN_H

#include "platform/resolve.h"

/* How long it is kept that a name could not be resolved; also a negative answer without its SOA. */
enum { RESOLVE_FAILED_TTL_S = 30 };

struct resolve_chain {
    struct slice name; /* to ask for now: the end so far */
    uint16_t type;
    int hops;       /* aliases followed */
    uint32_t ttl_s; /* the shortest on the way */
};

enum resolve_reading {
    RESOLVE_READ_DONE,  /* found is all there is to know */
    RESOLVE_READ_RETRY, /* this server is no help: found->status says why */
    RESOLVE_READ_MOVED, /* c->name is an alias's target: ask for that */
};

struct resolve_found {
    enum resolve_status status;
    uint32_t ttl_s;                /* DONE */
    const struct dns_record **rec; /* status OK: of our type, at the end of the chain */
    size_t n;
};

/* name is borrowed as long as the chain is read. */
void resolve_chain_begin(struct resolve_chain *c, struct slice name, uint16_t type);
/* m is an answer to c's question. rec lives in scratch, a new c->name in keep. */
enum resolve_reading resolve_chain_read(struct resolve_chain *c, const struct dns_message *m,
                                        struct arena *scratch, struct arena *keep,
                                        struct resolve_found *found);

#endif
