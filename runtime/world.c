/* world.c - see world.h: what is asked of a world. How one is read from Lua is in world_load.c. */
#include "world.h"
#include "world_impl.h"

#include <stdio.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { NAME_BYTES = 256 };

/* The form names have in the maps. Empty for what is too long to be one. */
static struct slice fold(struct slice name, char out[NAME_BYTES])
{
    if (name.n && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n >= NAME_BYTES)
        return SLICE_NONE;
    for (size_t i = 0; i < name.n; i++)
        out[i] = ascii_lower(name.p[i]);
    return slice_of(out, name.n);
}

struct slice world_fold(struct world *w, struct slice name)
{
    char folded[NAME_BYTES];
    return arena_copy(&w->arena, fold(name, folded));
}

static struct slice address_key(const struct ip *ip)
{
    _Static_assert(sizeof *ip == 17, "bytes alone, no padding");
    return slice_of(ip, sizeof *ip);
}

/* --- making --- */

struct world *world_new(void)
{
    struct world *w = mem_zalloc(sizeof *w);
    w->lookup = mem_zalloc(sizeof *w->lookup);
    /* The keys are the operator's own: nobody chooses collisions. */
    struct hash_key hk = {0x776f726c64, 0x6d617073};
    map_init(&w->lookup->names, hk);
    map_init(&w->lookup->domains, hk);
    map_init(&w->lookup->hosts, hk);
    map_init(&w->lookup->addresses, hk);
    map_init(&w->lookup->dns, hk);
    return w;
}

static int taken(struct err *e, const struct world_isp *isp, const struct world_isp *other, const char *what,
                 struct slice value)
{
    return err_set(e, ERR_EXISTS, "isps.%.*s: %s %.*s is %.*s's already", SLICE_FMT(isp->name), what,
                   SLICE_FMT(value), SLICE_FMT(other->name));
}

static int index_isp(struct world_lookup *l, struct world_isp *isp, struct err *e)
{
    struct world_isp *other;
    char text[IP_TEXT];
    map_put(&l->names, isp->name, isp);
    for (size_t i = 0; i < isp->n_domains; i++)
        if ((other = map_put(&l->domains, isp->domains[i], isp)))
            return taken(e, isp, other, "domain", isp->domains[i]);
    for (size_t i = 0; i < isp->n_addresses; i++)
        if ((other = map_put(&l->addresses, address_key(&isp->addresses[i]), isp)))
            return taken(e, isp, other, "address", ip_text(&isp->addresses[i], text));
    for (size_t i = 0; i < isp->n_mx; i++) {
        struct world_host *host = arena_zalloc(l->arena, sizeof *host), *before;
        *host = (struct world_host){isp, &isp->mx[i]};
        if ((before = map_put(&l->hosts, isp->mx[i].host, host)))
            return taken(e, isp, before->isp, "mx", isp->mx[i].host);
    }
    if (isp->every_domain && l->every)
        return err_set(e, ERR_EXISTS, "isps.%.*s: every_domain is %.*s's already", SLICE_FMT(isp->name),
                       SLICE_FMT(l->every->name));
    if (isp->every_domain)
        l->every = isp;
    return 0;
}

int world_index(struct world *w, struct err *e)
{
    w->lookup->arena = &w->arena;
    for (size_t i = 0; i < w->n_isps; i++) {
        int r = index_isp(w->lookup, &w->isps[i], e);
        if (r)
            return r;
    }
    for (size_t i = 0; i < w->n_dns; i++)
        if (map_put(&w->lookup->dns, w->dns[i].name, &w->dns[i]))
            return err_set(e, ERR_EXISTS, "dns: %.*s stands there twice", SLICE_FMT(w->dns[i].name));
    return 0;
}

void world_isp_defaults(struct world_isp *isp)
{
    isp->extensions = WORLD_EXT_PIPELINING | WORLD_EXT_CHUNKING | WORLD_EXT_SIZE | WORLD_EXT_STARTTLS |
                      WORLD_EXT_8BITMIME | WORLD_EXT_SMTPUTF8 | WORLD_EXT_ENHANCED;
    isp->over =
        (struct world_reply){.phase = SMTP_PHASE_MAIL,
                             .to = SLICE_NONE,
                             .share_ppm = 1000000,
                             .answer = {421, S("421 4.7.28 too many messages from you, slow down\r\n")}};
}

struct world *world_default(const struct ip *address)
{
    struct world *w = world_new();
    struct world_isp *isp = arena_zalloc(&w->arena, sizeof *isp);
    struct ip *at = arena_alloc(&w->arena, sizeof *at);
    struct world_mx *mx = arena_alloc(&w->arena, sizeof *mx);
    *at = *address;
    *mx = (struct world_mx){S("mx.sink.test"), 10, at, 1};
    world_isp_defaults(isp);
    isp->name = S("sink");
    isp->every_domain = true;
    isp->mx = mx;
    isp->addresses = at;
    isp->n_mx = isp->n_addresses = 1;
    w->isps = isp;
    w->n_isps = 1;
    INVARIANT(world_index(w, NULL) == 0);
    return w;
}

void world_free(struct world *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->n_isps; i++)
        for (size_t k = 0; k < w->isps[i].n_replies; k++)
            pcre2_code_free(w->isps[i].replies[k].to_re);
    map_free(&w->lookup->names);
    map_free(&w->lookup->domains);
    map_free(&w->lookup->hosts);
    map_free(&w->lookup->addresses);
    map_free(&w->lookup->dns);
    free(w->lookup);
    arena_free(&w->arena);
    free(w);
}

/* --- asking --- */

const struct world_isp *world_isp_by_name(const struct world *w, struct slice name)
{
    return map_get(&w->lookup->names, name);
}

const struct world_isp *world_isp_by_domain(const struct world *w, struct slice domain)
{
    char folded[NAME_BYTES];
    struct slice key = fold(domain, folded);
    const struct world_isp *isp = key.n ? map_get(&w->lookup->domains, key) : NULL;
    return isp || !key.n ? isp : w->lookup->every;
}

const struct world_isp *world_isp_by_address(const struct world *w, const struct ip *address)
{
    return map_get(&w->lookup->addresses, address_key(address));
}

const struct world_isp *world_isp_by_mx(const struct world *w, struct slice host, const struct world_mx **mx)
{
    char folded[NAME_BYTES];
    const struct world_host *h = map_get(&w->lookup->hosts, fold(host, folded));
    if (h && mx)
        *mx = h->mx;
    return h ? h->isp : NULL;
}

enum world_dns world_dns_of(const struct world *w, struct slice name)
{
    char folded[NAME_BYTES];
    const struct world_dns_entry *e = map_get(&w->lookup->dns, fold(name, folded));
    return e ? e->what : WORLD_DNS_OK;
}

/* --- deciding --- */

static bool matches(const struct world_reply *r, struct slice to)
{
    if (!r->to_re)
        return true;
    pcre2_match_data *m = pcre2_match_data_create(1, NULL);
    INVARIANT(m);
    int rc = pcre2_match(r->to_re, (PCRE2_SPTR)to.p, to.n, 0, 0, m, NULL);
    pcre2_match_data_free(m);
    return rc >= 0;
}

/* One number gives every row a draw of its own. */
static uint32_t draw_ppm(uint64_t luck, size_t row)
{
    struct hash_key k = {luck, row};
    return (uint32_t)(hash64(k, SLICE_NONE) % 1000000);
}

const struct world_reply *world_reply_for(const struct world_isp *isp, enum smtp_phase phase, struct slice to,
                                          uint64_t luck, int64_t age_ms)
{
    for (size_t i = 0; i < isp->n_replies; i++) {
        const struct world_reply *r = &isp->replies[i];
        bool now = !r->until_ms || (age_ms >= r->from_ms && age_ms < r->until_ms);
        if (r->phase == phase && now && (r->share_ppm >= 1000000 || draw_ppm(luck, i) < r->share_ppm) &&
            matches(r, to))
            return r;
    }
    return NULL;
}

const struct world_rate *world_accept_at(const struct world_isp *isp, int64_t age_ms)
{
    const struct world_rate *at = NULL;
    for (size_t i = 0; i < isp->n_accept && isp->accept[i].from_ms <= age_ms; i++)
        at = &isp->accept[i];
    return at;
}

bool world_is_unknown(const struct world_isp *isp, struct slice address)
{
    char folded[512];
    size_t n = address.n < sizeof folded ? address.n : sizeof folded;
    for (size_t i = 0; i < n; i++)
        folded[i] = ascii_lower(address.p[i]);
    struct hash_key k = {0x756e6b6e, 0x6f776e};
    return isp->unknown_ppm && hash64(k, slice_of(folded, n)) % 1000000 < isp->unknown_ppm;
}
