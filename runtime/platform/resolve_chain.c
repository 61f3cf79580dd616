/* resolve_chain.c - see resolve_chain.h. */
#include "platform/resolve_chain.h"

enum { TTL_MIN_S = 5, TTL_MAX_S = 86400, TTL_NEGATIVE_MAX_S = 3600 };

static uint32_t clamp_ttl(uint32_t ttl_s, uint32_t max_s)
{
    return ttl_s < TTL_MIN_S ? TTL_MIN_S : ttl_s > max_s ? max_s : ttl_s;
}

void resolve_chain_begin(struct resolve_chain *c, struct slice name, uint16_t type)
{
    *c = (struct resolve_chain){.name = name, .type = type, .ttl_s = TTL_MAX_S};
}

static bool is_at(const struct dns_record *rec, struct slice name, uint16_t type)
{
    return rec->section == DNS_ANSWER && rec->cls == DNS_IN && rec->type == type &&
           slice_ieq(rec->name, name);
}

/* The records of our type at the chain's end; follows CNAMEs in this answer, lowering c->ttl_s. */
static size_t follow(struct resolve_chain *c, const struct dns_message *m, struct slice *name,
                     const struct dns_record **rec)
{
    for (;;) {
        const struct dns_record *alias = NULL;
        size_t n = 0;
        for (size_t i = 0; i < m->n; i++) {
            if (is_at(&m->v[i], *name, c->type))
                rec[n++] = &m->v[i];
            else if (!alias && is_at(&m->v[i], *name, DNS_CNAME))
                alias = &m->v[i];
        }
        for (size_t i = 0; i < n; i++)
            if (rec[i]->ttl_s < c->ttl_s)
                c->ttl_s = rec[i]->ttl_s;
        if (n || !alias || c->hops == RESOLVE_MAX_CHAIN + 1)
            return n;
        if (alias->ttl_s < c->ttl_s)
            c->ttl_s = alias->ttl_s;
        *name = alias->target;
        c->hops++;
    }
}

static bool has_referral(const struct dns_message *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i].section == DNS_AUTHORITY && m->v[i].type == DNS_NS)
            return true;
    return false;
}

static enum resolve_reading retry(struct resolve_found *found, enum resolve_status why)
{
    found->status = why;
    return RESOLVE_READ_RETRY;
}

static enum resolve_reading done(struct resolve_found *found, enum resolve_status status, uint32_t ttl_s)
{
    found->status = status;
    found->ttl_s = ttl_s;
    return RESOLVE_READ_DONE;
}

enum resolve_reading resolve_chain_read(struct resolve_chain *c, const struct dns_message *m,
                                        struct arena *scratch, struct arena *keep,
                                        struct resolve_found *found)
{
    if (m->rcode == DNS_REFUSED)
        return retry(found, RESOLVE_REFUSED);
    if (m->rcode != DNS_NOERROR && m->rcode != DNS_NXDOMAIN)
        return retry(found, RESOLVE_SERVFAIL);

    struct slice end = c->name;
    uint32_t soa_s;
    found->rec = arena_alloc(scratch, (m->n + 1) * sizeof *found->rec);
    found->n = follow(c, m, &end, found->rec);
    if (c->hops > RESOLVE_MAX_CHAIN)
        return done(found, RESOLVE_LOOP, RESOLVE_FAILED_TTL_S);
    if (found->n)
        return done(found, RESOLVE_OK, clamp_ttl(c->ttl_s, TTL_MAX_S));
    /* RFC 2308 2: with an alias the code is about its target; without an SOA nothing may be kept for long. */
    bool has_soa = dns_negative_ttl(m, &soa_s);
    uint32_t negative_s = !has_soa ? RESOLVE_FAILED_TTL_S : soa_s < c->ttl_s ? soa_s : c->ttl_s;
    negative_s = clamp_ttl(negative_s, TTL_NEGATIVE_MAX_S);
    if (m->rcode == DNS_NXDOMAIN)
        return done(found, RESOLVE_NXDOMAIN, negative_s);
    if (has_soa)
        return done(found, RESOLVE_NODATA, negative_s);
    if (!slice_ieq(end, c->name))
        return dns_name_fold(end, keep, &c->name) ? retry(found, RESOLVE_BAD) : RESOLVE_READ_MOVED;
    return has_referral(m) ? retry(found, RESOLVE_SERVFAIL) : done(found, RESOLVE_NODATA, negative_s);
}
