/* facts.c - see facts.h. */
#include "delivery/facts.h"
#include "base/map.h"

#include <stdlib.h>

struct asked {
    struct fact fact;
    struct facts *owner;
    struct resolve_req req;
};

struct facts {
    struct loop *loop;
    struct resolve *resolve;
    facts_known_fn *fn;
    void *data;
    struct map all; /* "TYPE name" → struct asked */
    size_t waiting;
    struct arena arena;
    struct loop_task task;
    struct asked too_many;
};

struct facts *facts_new(struct loop *loop, struct resolve *resolve, facts_known_fn *fn, void *data)
{
    struct facts *f = mem_zalloc(sizeof *f);
    struct hash_key key;
    *f = (struct facts){.loop = loop, .resolve = resolve, .fn = fn, .data = data};
    f->too_many.fact = (struct fact){.status = SPF_DNS_FAILED, .why = RESOLVE_REFUSED};
    loop_random_bytes(loop, &key, sizeof key);
    map_init(&f->all, key);
    return f;
}

void facts_free(struct facts *f)
{
    size_t at = 0;
    if (!f)
        return;
    loop_task_cancel(f->loop, &f->task);
    for (struct map_entry *e; (e = map_next(&f->all, &at));) {
        struct asked *a = e->value;
        resolve_cancel(&a->req);
        free(a);
    }
    map_free(&f->all);
    arena_free(&f->arena);
    free(f);
}

static void on_known(struct loop_task *t)
{
    struct facts *f = CONTAINER(t, struct facts, task);
    f->fn(f->data); /* may free f */
}

static struct fact *learn(struct asked *a, enum resolve_status status)
{
    struct facts *f = a->owner;
    a->fact.why = status;
    a->fact.status = status == RESOLVE_OK       ? SPF_DNS_OK
                     : resolve_is_final(status) ? SPF_DNS_VOID
                                                : SPF_DNS_FAILED;
    f->waiting--;
    loop_post(f->loop, &f->task, on_known);
    return &a->fact;
}

static void keep_texts(struct asked *a, size_t n, struct slice (*at)(const void *set, size_t i),
                       const void *set)
{
    struct slice *v = arena_alloc(&a->owner->arena, (n + 1) * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = arena_copy(&a->owner->arena, at(set, i));
    a->fact.a.v = v;
    a->fact.a.n = n;
}

static struct slice text_at(const void *set, size_t i)
{
    return ((const struct text_set *)set)->v[i];
}

static struct slice host_at(const void *set, size_t i)
{
    return ((const struct mx_set *)set)->hosts[i].name;
}

static void on_text(struct resolve_req *req, const struct text_set *set)
{
    struct asked *a = CONTAINER(req, struct asked, req);
    learn(a, set->status);
    if (set->status == RESOLVE_OK)
        keep_texts(a, set->n, text_at, set);
}

static void on_mx(struct resolve_req *req, const struct mx_set *set)
{
    struct asked *a = CONTAINER(req, struct asked, req);
    struct fact *f = learn(a, set->status);
    if (set->status != RESOLVE_OK)
        return;
    f->implicit = set->kind == MX_IMPLICIT;
    f->null_mx = set->kind == MX_NULL;
    if (set->kind == MX_LISTED)
        keep_texts(a, set->n, host_at, set);
    else
        f->status = SPF_DNS_VOID;
}

static void on_addr(struct resolve_req *req, const struct addr_set *set)
{
    struct asked *a = CONTAINER(req, struct asked, req);
    learn(a, set->status);
    if (set->status != RESOLVE_OK)
        return;
    struct ip *v = arena_alloc(&a->owner->arena, (set->n + 1) * sizeof *v);
    memcpy(v, set->v, set->n * sizeof *v);
    a->fact.a.ips = v;
    a->fact.a.n = set->n;
}

const struct fact *facts_get(struct facts *f, enum dns_type type, struct slice name)
{
    char spare[12];
    char *key = arena_printf(&f->arena, "%s %.*s", dns_type_name((uint16_t)type, spare), SLICE_FMT(name));
    for (char *c = key; *c; c++)
        *c = ascii_lower(*c);
    struct asked *a = map_get(&f->all, slice_cstr(key));
    struct ip ip;
    if (a)
        return &a->fact;
    if (f->all.live >= FACTS_MAX)
        return &f->too_many.fact;
    a = mem_zalloc(sizeof *a);
    *a = (struct asked){.fact = {.status = SPF_DNS_WAIT}, .owner = f};
    map_put(&f->all, slice_cstr(key), a);
    f->waiting++;
    switch (type) {
    case DNS_MX:
        resolve_mx(f->resolve, name, &a->req, on_mx);
        break;
    case DNS_A:
    case DNS_AAAA:
        resolve_addr(f->resolve, name, type == DNS_A ? RESOLVE_IP4 : RESOLVE_IP6, &a->req, on_addr);
        break;
    case DNS_PTR:
        if (ip_parse(name, &ip))
            learn(a, RESOLVE_BAD);
        else
            resolve_ptr(f->resolve, ip, &a->req, on_text);
        break;
    case DNS_SOA:
        resolve_soa(f->resolve, name, &a->req, on_text);
        break;
    case DNS_TXT:
    case DNS_NS:
    case DNS_CNAME:
    case DNS_OPT:
    case DNS_ANY:
        INVARIANT(type == DNS_TXT);
        resolve_txt(f->resolve, name, &a->req, on_text);
        break;
    }
    return &a->fact;
}

size_t facts_waiting(const struct facts *f)
{
    return f->waiting;
}

enum spf_dns facts_spf(void *data, enum dns_type type, struct slice name, struct spf_answer *out)
{
    const struct fact *f = facts_get(data, type, name);
    /* A name that is no DNS name has nothing, for whoever asks. */
    if (f->status == SPF_DNS_FAILED && f->why == RESOLVE_BAD)
        return SPF_DNS_VOID;
    *out = f->a;
    return f->status;
}
