/* names.c - the journal's dictionaries: a name is written once, and its number after that. */
#include "delivery/deliver_impl.h"

bool name_is_known(const struct deliver *d, enum rec_name_kind kind, uint32_t number)
{
    const struct names *t = &d->names[kind];
    return number && number <= t->n && t->v[number - 1].p;
}

bool name_reserve(struct deliver *d, enum rec_name_kind kind, uint32_t number)
{
    struct names *t = &d->names[kind];
    if (!number || number > t->n + 1000000)
        return false;
    if (number > t->cap) {
        size_t cap = number > t->cap * 2 ? number : t->cap * 2;
        t->v = mem_realloc(t->v, cap * sizeof *t->v);
        memset(t->v + t->cap, 0, (cap - t->cap) * sizeof *t->v);
        t->cap = cap;
    }
    if (number > t->n)
        t->n = number;
    return true;
}

void name_learn(struct deliver *d, const struct rec_name *n)
{
    if (!n->kind || n->kind >= NAME_KINDS || !name_reserve(d, n->kind, n->number))
        return;
    struct names *t = &d->names[n->kind];
    struct slice *at = &t->v[n->number - 1];
    if (at->p)
        return;
    *at = slice_of(mem_dup(n->name.p, n->name.n), n->name.n);
    map_put(&t->by_name, *at, (void *)(uintptr_t)n->number);
}

uint32_t name_find(const struct deliver *d, enum rec_name_kind kind, struct slice name)
{
    return (uint32_t)(uintptr_t)map_get(&d->names[kind].by_name, name);
}

uint32_t name_number(struct deliver *d, enum rec_name_kind kind, struct slice name)
{
    struct names *t = &d->names[kind];
    void *known = map_get(&t->by_name, name);
    if (known)
        return (uint32_t)(uintptr_t)known;
    struct rec rec = {.type = REC_NAME};
    rec.name = (struct rec_name){.kind = (uint8_t)kind, .number = (uint32_t)t->n + 1, .name = name};
    name_learn(d, &rec.name);
    append_record(d, SPOOL_NAMES, &rec);
    return rec.name.number;
}

struct slice deliver_name(const struct deliver *d, enum rec_name_kind kind, uint32_t number)
{
    return name_is_known(d, kind, number) ? d->names[kind].v[number - 1] : SLICE_NONE;
}

uint32_t deliver_columns(struct deliver *d, struct slice columns)
{
    uint32_t number = name_number(d, NAME_COLUMNS, columns);
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&d->campaigns, &at));) {
        struct campaign *c = e->value;
        if (c->content)
            content_add_columns(c->content, number, columns);
    }
    return number;
}
