/* resolve_cache.c - answers, what they come to, and the table of those still fresh, from which the least
 * recently used go first. */
#include "platform/resolve_cache.h"

#include <stdlib.h>

enum { ADDRS_PER_FAMILY = RESOLVE_MAX_ADDRS / 2, TEXTS_MAX = 256 };

struct slice resolve_key(char out[RESOLVE_KEY_MAX], struct slice name, uint16_t type)
{
    out[0] = (char)(type >> 8);
    out[1] = (char)type;
    memcpy(out + 2, name.p, name.n);
    return slice_of(out, name.n + 2);
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* --- answers --- */

void resolve_answer_drop(struct resolve_answer *a)
{
    if (a && --a->refs == 0)
        free(a);
}

/* Behind the answer: n items, the key, then room for text at *text. */
static struct resolve_answer *make(struct slice key, enum resolve_status status, int64_t expires_ms, size_t n,
                                   size_t item_bytes, size_t text_bytes, char **text)
{
    struct resolve_answer *a = mem_zalloc(sizeof *a + n * item_bytes + key.n + text_bytes);
    char *key_at = (char *)(a + 1) + n * item_bytes;
    a->refs = 1;
    a->status = status;
    a->expires_ms = expires_ms;
    memcpy(key_at, key.p, key.n);
    a->key = slice_of(key_at, key.n);
    a->name = slice_of(key_at + 2, key.n - 2);
    a->n = n;
    a->v.hosts = (void *)(a + 1);
    *text = key_at + key.n;
    return a;
}

static struct slice put_text(char **at, struct slice s)
{
    memcpy(*at, s.p, s.n);
    *at += s.n;
    return slice_of(*at - s.n, s.n);
}

struct resolve_answer *resolve_answer_status(struct slice key, enum resolve_status status, int64_t expires_ms)
{
    char *text;
    return make(key, status, expires_ms, 0, 0, 0, &text);
}

static int by_name_then_pref(const void *x, const void *y)
{
    const struct mx_host *a = x, *b = y;
    int c = slice_cmp(a->name, b->name);
    return c ? c : (int)a->pref - (int)b->pref;
}

static int by_pref_then_name(const void *x, const void *y)
{
    const struct mx_host *a = x, *b = y;
    return a->pref != b->pref ? (int)a->pref - (int)b->pref : slice_cmp(a->name, b->name);
}

static struct resolve_answer *of_mx(struct slice key, const struct dns_record *const *rec, size_t n,
                                    int64_t expires_ms, struct arena *scratch)
{
    struct mx_host *hosts = arena_alloc(scratch, n * sizeof *hosts);
    size_t found = 0, kept = 0, text_bytes = 0;
    bool null_mx = n == 1 && slice_eq(rec[0]->target, S("."));
    for (size_t i = 0; i < n; i++) {
        struct slice name;
        if (dns_name_is_host(rec[i]->target) && dns_name_fold(rec[i]->target, scratch, &name) == 0)
            hosts[found++] = (struct mx_host){name, rec[i]->pref};
    }
    /* A name twice counts once, at its better preference. */
    qsort(hosts, found, sizeof *hosts, by_name_then_pref);
    for (size_t i = 0; i < found; i++)
        if (!kept || !slice_eq(hosts[kept - 1].name, hosts[i].name))
            hosts[kept++] = hosts[i];
    qsort(hosts, kept, sizeof *hosts, by_pref_then_name);
    kept = min_size(kept, RESOLVE_MAX_HOSTS);
    for (size_t i = 0; i < kept; i++)
        text_bytes += hosts[i].name.n;

    char *text;
    struct resolve_answer *a = make(key, kept || null_mx ? RESOLVE_OK : RESOLVE_BAD, expires_ms, kept,
                                    sizeof *hosts, text_bytes, &text);
    a->null_mx = null_mx;
    a->skipped = null_mx ? 0 : n - found;
    for (size_t i = 0; i < kept; i++)
        a->v.hosts[i] = (struct mx_host){put_text(&text, hosts[i].name), hosts[i].pref};
    return a;
}

static struct resolve_answer *of_addresses(struct slice key, const struct dns_record *const *rec, size_t n,
                                           int64_t expires_ms)
{
    char *text;
    n = min_size(n, ADDRS_PER_FAMILY);
    struct resolve_answer *a = make(key, RESOLVE_OK, expires_ms, n, sizeof *a->v.ips, 0, &text);
    for (size_t i = 0; i < n; i++)
        a->v.ips[i] = rec[i]->ip;
    return a;
}

static struct resolve_answer *of_texts(struct slice key, const struct dns_record *const *rec, size_t n,
                                       int64_t expires_ms, struct arena *scratch)
{
    n = min_size(n, TEXTS_MAX);
    struct slice *v = arena_alloc(scratch, n * sizeof *v);
    size_t text_bytes = 0;
    for (size_t i = 0; i < n; i++) {
        v[i] = rec[i]->text;
        bool is_name = rec[i]->type == DNS_PTR || rec[i]->type == DNS_SOA;
        if (is_name && dns_name_fold(rec[i]->target, scratch, &v[i]))
            v[i] = SLICE_NONE;
        text_bytes += v[i].n;
    }
    char *text;
    struct resolve_answer *a = make(key, RESOLVE_OK, expires_ms, n, sizeof *v, text_bytes, &text);
    for (size_t i = 0; i < n; i++)
        a->v.texts[i] = put_text(&text, v[i]);
    return a;
}

struct resolve_answer *resolve_answer_records(struct slice key, const struct dns_record *const *rec, size_t n,
                                              int64_t expires_ms, struct arena *scratch)
{
    switch (rec[0]->type) {
    case DNS_MX:
        return of_mx(key, rec, n, expires_ms, scratch);
    case DNS_A:
    case DNS_AAAA:
        return of_addresses(key, rec, n, expires_ms);
    default:
        return of_texts(key, rec, n, expires_ms, scratch);
    }
}

/* --- what they come to --- */

static uint32_t ttl_left(const struct resolve_answer *a, int64_t now_ms)
{
    int64_t left_ms = a->expires_ms - now_ms;
    return left_ms > 0 ? (uint32_t)((left_ms + 999) / 1000) : 0;
}

/* Of two answers for one name neither of which is OK: what is known about it. */
static enum resolve_status weigh(enum resolve_status a, enum resolve_status b)
{
    if (!resolve_is_final(a))
        return a;
    if (!resolve_is_final(b))
        return b;
    return a == b ? a : RESOLVE_NODATA;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

struct mx_set resolve_answers_mx(struct resolve_answer *const got[3], int64_t now_ms, struct mx_host *self)
{
    if (!got[0])
        return (struct mx_set){.status = RESOLVE_BAD};
    struct mx_set set = {.status = got[0]->status,
                         .kind = got[0]->null_mx ? MX_NULL : MX_LISTED,
                         .hosts = got[0]->v.hosts,
                         .n = got[0]->n,
                         .skipped = got[0]->skipped,
                         .ttl_s = ttl_left(got[0], now_ms)};
    if (!got[1])
        return set;
    const struct resolve_answer *addr = got[1]->status == RESOLVE_OK ? got[1] : got[2];
    set.ttl_s = min_u32(set.ttl_s, ttl_left(addr, now_ms));
    if (addr->status != RESOLVE_OK) {
        /* The MX answer said that the name exists: at worst it has nothing for us. */
        set.status = weigh(weigh(got[1]->status, got[2]->status), RESOLVE_NODATA);
        return set;
    }
    *self = (struct mx_host){.name = addr->name};
    set.status = RESOLVE_OK;
    set.kind = MX_IMPLICIT;
    set.hosts = self;
    set.n = 1;
    return set;
}

struct addr_set resolve_answers_addr(struct resolve_answer *const got[3], int64_t now_ms)
{
    struct addr_set set = {.status = RESOLVE_BAD};
    const struct resolve_answer *a = got[0], *b = got[1];
    if (!a && !b)
        return set;
    if (!a || !b)
        a = b = a ? a : b;
    set.status =
        a->status == RESOLVE_OK || b->status == RESOLVE_OK ? RESOLVE_OK : weigh(a->status, b->status);
    set.ttl_s = min_u32(ttl_left(a, now_ms), ttl_left(b, now_ms));
    memcpy(set.v, a->v.ips, a->n * sizeof set.v[0]);
    set.n = a->n;
    if (b != a) {
        memcpy(set.v + set.n, b->v.ips, b->n * sizeof set.v[0]);
        set.n += b->n;
    }
    return set;
}

struct text_set resolve_answers_text(struct resolve_answer *const got[3], int64_t now_ms)
{
    if (!got[0])
        return (struct text_set){.status = RESOLVE_BAD};
    return (struct text_set){got[0]->status, got[0]->v.texts, got[0]->n, ttl_left(got[0], now_ms)};
}

/* --- the cache --- */

static void unlink_answer(struct resolve_cache *c, struct resolve_answer *a)
{
    *(a->newer ? &a->newer->older : &c->newest) = a->older;
    *(a->older ? &a->older->newer : &c->oldest) = a->newer;
}

static void link_newest(struct resolve_cache *c, struct resolve_answer *a)
{
    a->newer = NULL;
    a->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = a;
    c->newest = a;
}

static void forget(struct resolve_cache *c, struct resolve_answer *a)
{
    unlink_answer(c, a);
    map_del(&c->map, a->key);
    resolve_answer_drop(a);
}

void resolve_cache_init(struct resolve_cache *c, struct hash_key hk, size_t max)
{
    *c = (struct resolve_cache){.max = max};
    map_init(&c->map, hk);
}

struct resolve_answer *resolve_cache_get(struct resolve_cache *c, struct slice key, int64_t now_ms)
{
    struct resolve_answer *a = map_get(&c->map, key);
    if (!a)
        return NULL;
    if (a->expires_ms <= now_ms) {
        forget(c, a);
        return NULL;
    }
    unlink_answer(c, a);
    link_newest(c, a);
    return a;
}

void resolve_cache_put(struct resolve_cache *c, struct resolve_answer *a)
{
    struct resolve_answer *old = map_get(&c->map, a->key);
    if (old)
        forget(c, old);
    else if (c->oldest && c->map.live >= c->max)
        forget(c, c->oldest);
    map_put(&c->map, a->key, a);
    a->refs++;
    link_newest(c, a);
}

void resolve_cache_free(struct resolve_cache *c)
{
    while (c->oldest)
        forget(c, c->oldest);
    map_free(&c->map);
}
