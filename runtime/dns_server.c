/* dns_server.c - the DNS of a simulated world. */
#include "dns_server.h"

#include "base/map.h"
#include "platform/resolve_serve.h"

#include <stdlib.h>

enum { TTL_S = 300, NEGATIVE_S = 60, MX_PREFERENCE = 10, TCP_MAX = 65535, AXFR = 252 };

struct text {
    struct text *next;
    struct slice text;
};

struct dns_zone {
    const struct world *world;
    struct ip address;
    struct map texts; /* folded name → struct text list */
    struct arena names, query;
};

struct dns_server {
    struct dns_zone *zone;
    struct resolve_serve *serve;
    uint64_t queries;
};

/* --- what is there --- */

struct dns_zone *dns_zone_new(const struct world *world, struct ip address)
{
    struct dns_zone *z = mem_zalloc(sizeof *z);
    z->world = world;
    z->address = address;
    map_init(&z->texts, (struct hash_key){0, 0}); /* its keys are the operator's own */
    return z;
}

void dns_zone_free(struct dns_zone *z)
{
    if (!z)
        return;
    map_free(&z->texts);
    arena_free(&z->names);
    arena_free(&z->query);
    free(z);
}

int dns_zone_add_text(struct dns_zone *z, struct slice name, struct slice text)
{
    struct slice key;
    int rc = dns_name_fold(name, &z->names, &key);
    if (rc)
        return rc;
    struct text *t = arena_zalloc(&z->names, sizeof *t);
    t->text = arena_copy(&z->names, text);
    t->next = map_get(&z->texts, key);
    map_put(&z->texts, key, t);
    return 0;
}

/* --- answers --- */

/* An answer while it grows. */
struct say {
    struct dns_zone *z;
    struct dns_message *m;
    struct arena *a;
    struct slice name; /* the question's, folded */
    size_t cap;
    bool exists;
};

static struct dns_record *add(struct say *s, struct slice name, uint16_t type)
{
    struct dns_message *m = s->m;
    if (m->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 8;
        struct dns_record *v = arena_alloc(s->a, s->cap * sizeof *v);
        if (m->n)
            memcpy(v, m->v, m->n * sizeof *v);
        m->v = v;
    }
    m->v[m->n] = (struct dns_record){.name = name,
                                     .type = type,
                                     .cls = DNS_IN,
                                     .ttl_s = TTL_S,
                                     .target = SLICE_NONE,
                                     .text = SLICE_NONE,
                                     .rname = SLICE_NONE};
    return &m->v[m->n++];
}

static void say_mx(struct say *s, uint16_t pref, struct slice host)
{
    s->exists = true;
    if (s->m->qtype != DNS_MX)
        return;
    struct dns_record *r = add(s, s->m->qname, DNS_MX);
    r->pref = pref;
    r->target = host;
}

static void say_address(struct say *s, const struct ip *ip)
{
    uint16_t type = ip->family == 4 ? DNS_A : DNS_AAAA;
    s->exists = true;
    if (s->m->qtype == type && ip->family)
        add(s, s->m->qname, type)->ip = *ip;
}

static void say_texts(struct say *s)
{
    for (const struct text *t = map_get(&s->z->texts, s->name); t; t = t->next) {
        s->exists = true;
        if (s->m->qtype == DNS_TXT)
            add(s, s->m->qname, DNS_TXT)->text = t->text;
    }
}

/* The first host's name for each address that an ISP receives at. */
static void say_reverse(struct say *s, const struct world_isp *isp)
{
    struct buf name = {0};
    for (size_t i = 0; i < isp->n_mx; i++) {
        for (size_t k = 0; k < isp->mx[i].n_addresses; k++) {
            buf_clear(&name);
            dns_reverse_name(isp->mx[i].addresses[k], &name);
            if (!slice_eq(buf_slice(&name), s->name))
                continue;
            s->exists = true;
            if (s->m->qtype == DNS_PTR && !s->m->n)
                add(s, s->m->qname, DNS_PTR)->target = isp->mx[i].host;
        }
    }
    buf_free(&name);
}

static void say_domain(struct say *s)
{
    const struct world *w = s->z->world;
    const struct world_mx *host = NULL;
    const struct world_isp *isp;
    if (!w) {
        say_mx(s, MX_PREFERENCE, s->m->qname);
        say_address(s, &s->z->address);
        return;
    }
    if (slice_ends(s->name, S(".arpa"))) {
        for (size_t i = 0; i < w->n_isps; i++)
            say_reverse(s, &w->isps[i]);
        return;
    }
    if (world_isp_by_mx(w, s->name, &host))
        for (size_t i = 0; i < host->n_addresses; i++)
            say_address(s, &host->addresses[i]);
    if ((isp = world_isp_by_domain(w, s->name)) && !(host && isp->every_domain))
        for (size_t i = 0; i < isp->n_mx; i++)
            say_mx(s, isp->mx[i].preference, isp->mx[i].host);
}

static void say_implicit(struct say *s)
{
    const struct world_isp *isp = world_isp_by_domain(s->z->world, s->name);
    s->exists = true;
    if (!isp)
        say_address(s, &s->z->address);
    for (size_t i = 0; isp && i < isp->mx[0].n_addresses; i++)
        say_address(s, &isp->mx[0].addresses[i]);
}

static struct slice other_of_loop(struct say *s)
{
    return slice_cstr(arena_printf(s->a, "loop.%.*s", SLICE_FMT(s->name)));
}

static void say_loop(struct say *s, struct slice other)
{
    s->exists = true;
    add(s, s->m->qname, DNS_CNAME)->target = other;
    add(s, other, DNS_CNAME)->target = s->m->qname;
}

static bool in_loop(const struct world *w, struct slice name)
{
    return world_dns_of(w, name) == WORLD_DNS_LOOP;
}

static void say_nothing(struct say *s)
{
    struct dns_record *soa = add(s, S("."), DNS_SOA);
    soa->section = DNS_AUTHORITY;
    soa->ttl_s = soa->minimum_s = NEGATIVE_S;
    soa->target = S("localhost");
    soa->rname = S("hostmaster.localhost");
    soa->serial = 1;
    soa->refresh_s = soa->retry_s = soa->expire_s = TTL_S;
    if (!s->exists)
        s->m->rcode = DNS_NXDOMAIN;
}

/* false: silent */
static bool say_by_table(struct say *s)
{
    const struct world *w = s->z->world;
    struct slice behind;
    bool first_is_loop = slice_eq(slice_cut(s->name, '.', &behind), S("loop"));

    if (w && first_is_loop && in_loop(w, behind)) {
        say_loop(s, behind);
        return true;
    }
    switch (w ? world_dns_of(w, s->name) : WORLD_DNS_OK) {
    case WORLD_DNS_TRUNCATED:
        s->m->truncated = true;
        say_domain(s);
        break;
    case WORLD_DNS_OK:
        say_domain(s);
        break;
    case WORLD_DNS_SERVFAIL:
        s->m->rcode = DNS_SERVFAIL;
        break;
    case WORLD_DNS_REFUSED:
        s->m->rcode = DNS_REFUSED;
        break;
    case WORLD_DNS_NXDOMAIN:
        s->m->rcode = DNS_NXDOMAIN;
        break;
    case WORLD_DNS_NODATA:
        s->exists = true;
        break;
    case WORLD_DNS_NULL_MX:
        say_mx(s, 0, S("."));
        break;
    case WORLD_DNS_IMPLICIT_MX:
        say_implicit(s);
        break;
    case WORLD_DNS_LOOP:
        say_loop(s, other_of_loop(s));
        break;
    case WORLD_DNS_TIMEOUT:
        return false;
    }
    return true;
}

bool dns_zone_answer(void *zone, struct dns_message *m, struct arena *a)
{
    struct say s = {.z = zone, .m = m, .a = a};
    m->v = NULL;
    m->n = 0;
    if (dns_name_fold(m->qname, a, &s.name)) {
        m->rcode = DNS_FORMERR;
        return true;
    }
    if (!say_by_table(&s))
        return false;
    if (m->rcode == DNS_NOERROR)
        say_texts(&s);
    if (!m->n && (m->rcode == DNS_NOERROR || m->rcode == DNS_NXDOMAIN))
        say_nothing(&s);
    return true;
}

/* What can be said without looking at the question: DNS_NOERROR is "go on". */
static uint16_t refuse(const struct dns_message *m)
{
    if (m->opcode)
        return DNS_NOTIMP;
    if (!m->asks)
        return DNS_FORMERR;
    if (m->edns && m->edns_version)
        return DNS_BADVERS;
    return m->qclass != DNS_IN || m->qtype == AXFR ? DNS_REFUSED : DNS_NOERROR;
}

static size_t room(const struct dns_message *m, bool tcp)
{
    if (tcp)
        return TCP_MAX;
    if (!m->edns || m->edns_bytes < DNS_UDP_MAX)
        return DNS_UDP_MAX;
    return m->edns_bytes < DNS_EDNS_MAX ? m->edns_bytes : DNS_EDNS_MAX;
}

bool dns_zone_reply(struct dns_zone *z, struct slice query, bool tcp, struct buf *out)
{
    struct dns_message m;
    bool speaks = false;
    arena_reset(&z->query);
    if (dns_parse(query, &z->query, &m) || m.response)
        return false;
    size_t max_bytes = room(&m, tcp);
    m.rcode = refuse(&m);
    m.response = m.authoritative = m.recursion_available = true;
    m.truncated = m.authentic = false;
    m.edns_version = 0;
    m.edns_bytes = DNS_EDNS_MAX;
    m.n = 0;
    speaks = m.rcode != DNS_NOERROR || dns_zone_answer(z, &m, &z->query);
    if (m.truncated && tcp)
        m.truncated = false;
    else if (m.truncated)
        m.n = 0;
    return speaks && dns_encode(&m, max_bytes, out) == 0;
}

/* --- the server --- */

static bool on_query(void *ctx, struct slice query, bool tcp, struct buf *out)
{
    struct dns_server *s = ctx;
    s->queries++;
    return dns_zone_reply(s->zone, query, tcp, out);
}

struct dns_server *dns_server_new(struct loop *l, struct ip_port listen, const struct world *world,
                                  struct ip default_address, struct err *e)
{
    struct dns_server *s = mem_zalloc(sizeof *s);
    s->serve = resolve_serve_new(l, listen, on_query, s, e);
    if (!s->serve) {
        free(s);
        return NULL;
    }
    s->zone = dns_zone_new(world, default_address);
    return s;
}

struct ip_port dns_server_at(const struct dns_server *s)
{
    return resolve_serve_at(s->serve);
}

struct dns_zone *dns_server_zone(struct dns_server *s)
{
    return s->zone;
}

uint64_t dns_server_queries(const struct dns_server *s)
{
    return s->queries;
}

void dns_server_free(struct dns_server *s)
{
    if (!s)
        return;
    resolve_serve_free(s->serve);
    dns_zone_free(s->zone);
    free(s);
}
