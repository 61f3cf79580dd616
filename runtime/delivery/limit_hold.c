/* limit_hold.c - what a connection holds of limits, and what it has carried. See limit.h. */
#include "delivery/limit_impl.h"

#include <stdlib.h>

struct limit_held {
    struct limit *at;
    unsigned messages; /* that need it; one that lasts as long as the connection has none */
    bool yields;       /* the connection is about to close for who waits */
};

static bool lasts(const struct limit_held *held)
{
    return !(held->at->rule->scope & LIMIT_HOLD);
}

/* --- permits --- */

static struct limit_held *find(const struct limit_holder *h, const struct limit *l)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->v[i].at == l)
            return &h->v[i];
    return NULL;
}

bool limit_is_held(const struct limit *l, const struct limit_holder *h)
{
    return find(h, l) != NULL;
}

static struct limit_held *hold(struct limit_holder *h, struct limit *l)
{
    struct limit_held *held = find(h, l);
    if (held)
        return held;
    INVARIANT(l->used < l->rule->most);
    l->used++;
    if (h->n == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 4;
        h->v = mem_realloc(h->v, h->cap * sizeof *h->v);
    }
    h->v[h->n] = (struct limit_held){.at = l};
    return &h->v[h->n++];
}

void limits_hold_open(struct limits *ls, const struct limit_who *who, struct limit_holder *h)
{
    for (size_t i = 0; i < ls->nrules && limits_have(ls, LIMIT_OPENING); i++) {
        const struct rule *r = &ls->rules[i];
        if (r->kind == RULE_CONNECTIONS && r->scope & LIMIT_OPENING && limit_rule_applies(ls, r, who))
            hold(h, limit_instance(ls, r, who));
    }
}

void limits_hold(struct limits *ls, const struct limit_who *who, struct limit_holder *h)
{
    for (size_t i = 0; i < ls->nrules && limits_have(ls, LIMIT_HOLD); i++) {
        const struct rule *r = &ls->rules[i];
        if (r->scope & LIMIT_HOLD && limit_rule_applies(ls, r, who))
            hold(h, limit_instance(ls, r, who))->messages++;
    }
}

void limits_let_go(struct limits *ls, const struct limit_who *who, struct limit_holder *h)
{
    for (size_t i = 0; i < ls->nrules && limits_have(ls, LIMIT_HOLD); i++) {
        const struct rule *r = &ls->rules[i];
        if (!(r->scope & LIMIT_HOLD) || !limit_rule_applies(ls, r, who))
            continue;
        struct limit_held *held = find(h, limit_instance(ls, r, who));
        INVARIANT(held && held->messages);
        held->messages--;
    }
}

static void give_back(const struct limit_held *held)
{
    struct limit *l = held->at;
    INVARIANT(l->used && l->yielding >= held->yields);
    l->used--;
    l->yielding -= held->yields;
    limit_arm(l);
}

void limit_holder_settle(struct limit_holder *h)
{
    size_t kept = 0;
    for (size_t i = 0; i < h->n; i++) {
        if (h->v[i].messages || lasts(&h->v[i]))
            h->v[kept++] = h->v[i];
        else
            give_back(&h->v[i]);
    }
    h->n = kept;
}

void limit_holder_end(struct limit_holder *h)
{
    for (size_t i = 0; i < h->n; i++)
        give_back(&h->v[i]);
    free(h->v);
    if (h->carried.nslots)
        map_free(&h->carried);
    *h = (struct limit_holder){0};
}

/* --- who else wants them --- */

/* All its permits are taken, and more than n who are more urgent than this are in line for one. */
static bool is_wanted_by_more(const struct limit *l, enum conf_priority priority, uint32_t n)
{
    if (l->waiting <= n || l->used < l->rule->most)
        return false;
    for (int p = 0; p < (int)priority; p++)
        for (const struct limit_wait *w = l->lines[p].first; w; w = w->next)
            if (!n--)
                return true;
    return false;
}

bool limit_is_wanted(const struct limit *l, enum conf_priority priority)
{
    return is_wanted_by_more(l, priority, 0);
}

bool limit_holder_is_wanted(const struct limit_holder *h, enum conf_priority priority)
{
    for (size_t i = 0; i < h->n; i++)
        if (!lasts(&h->v[i]) && limit_is_wanted(h->v[i].at, priority))
            return true;
    return false;
}

bool limit_holder_yields(struct limit_holder *h, enum conf_priority priority)
{
    bool any = false;
    for (size_t i = 0; i < h->n; i++) {
        struct limit_held *held = &h->v[i];
        if (!lasts(held) || held->yields || !is_wanted_by_more(held->at, priority, held->at->yielding))
            continue;
        held->yields = any = true;
        held->at->yielding++;
    }
    return any;
}

bool limit_shows(const struct limit_wait *w, const struct limit_holder *h)
{
    return !w->at || (h && (limit_is_of_opening(w->at) || limit_is_held(w->at, h)));
}

/* --- messages a connection --- */

uint32_t limits_per_connection(const struct limits *ls)
{
    return ls->per_connection;
}

static uintptr_t carried(const struct limit_holder *h, const struct limit *l)
{
    return h->carried.nslots ? (uintptr_t)map_get(&h->carried, slice_of(&l, sizeof l)) : 0;
}

bool limits_may_carry(struct limits *ls, const struct limit_who *who)
{
    for (size_t i = 0; i < ls->nrules && who->holder && limits_have(ls, LIMIT_CARRIED); i++) {
        const struct rule *r = &ls->rules[i];
        if (r->scope & LIMIT_CARRIED && limit_rule_applies(ls, r, who) &&
            carried(who->holder, limit_instance(ls, r, who)) >= r->most)
            return false;
    }
    return true;
}

void limits_carry(struct limits *ls, const struct limit_who *who, struct limit_holder *h, bool taken)
{
    for (size_t i = 0; i < ls->nrules && limits_have(ls, LIMIT_CARRIED); i++) {
        const struct rule *r = &ls->rules[i];
        if (!(r->scope & LIMIT_CARRIED) || !limit_rule_applies(ls, r, who))
            continue;
        struct limit *l = limit_instance(ls, r, who);
        uintptr_t n = carried(h, l);
        if (!h->carried.nslots)
            map_init(&h->carried, (struct hash_key){0, 0}); /* its keys are our own addresses */
        if (taken)
            map_put(&h->carried, slice_of(&l, sizeof l), (void *)(n + 1));
        else if (n > 1)
            map_put(&h->carried, slice_of(&l, sizeof l), (void *)(n - 1));
        else
            map_del(&h->carried, slice_of(&l, sizeof l));
    }
}
