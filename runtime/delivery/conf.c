/* conf.c - see conf.h. */
#include "delivery/conf.h"
#include "delivery/act_file.h"

#include <stdlib.h>

struct conf *conf_new(void)
{
    struct conf *c = mem_zalloc(sizeof *c);
    c->script = c->tz = SLICE_NONE;
    verdict_schedule_default(&c->retry);
    person_conf_default(&c->person);
    c->breaker = breaker_default();
    struct act_file file;
    struct err e;
    INVARIANT(
        !act_file_read(act_file_shipped(), "backoff.rules", &c->arena, &file, &e)); /* a test reads it */
    c->acts.shipped = file.rules;
    c->acts.nshipped = file.n;
    return c;
}

void conf_free(struct conf *c)
{
    if (!c)
        return;
    struct arena a = c->arena;
    arena_free(&a);
    free(c);
}

struct conf_content conf_content_empty(void)
{
    return (struct conf_content){.subject = SLICE_NONE,
                                 .preheader = SLICE_NONE,
                                 .from = SLICE_NONE,
                                 .reply_to = SLICE_NONE,
                                 .text = SLICE_NONE,
                                 .html = SLICE_NONE,
                                 .text_path = SLICE_NONE,
                                 .html_path = SLICE_NONE,
                                 .columns = SLICE_NONE};
}

/* Every kind is an array of structs that begin with their name. */
static uint16_t find(const void *v, size_t n, size_t size, struct slice name)
{
    for (size_t i = 0; i < n; i++)
        if (slice_eq(*(const struct slice *)((const char *)v + i * size), name))
            return (uint16_t)i;
    return CONF_NONE;
}

uint16_t conf_find_stream(const struct conf *c, struct slice name)
{
    return find(c->streams, c->nstreams, sizeof *c->streams, name);
}

uint16_t conf_find_source(const struct conf *c, struct slice name)
{
    return find(c->sources, c->nsources, sizeof *c->sources, name);
}

uint16_t conf_find_pool(const struct conf *c, struct slice name)
{
    return find(c->pools, c->npools, sizeof *c->pools, name);
}

uint16_t conf_find_campaign(const struct conf *c, struct slice name)
{
    return find(c->campaigns, c->ncampaigns, sizeof *c->campaigns, name);
}

uint16_t conf_find_isp(const struct conf *c, struct slice name)
{
    return find(c->isps, c->nisps, sizeof *c->isps, name);
}

const struct conf_warmup *conf_warmup_of(const struct conf *c, uint16_t source, const struct conf_isp *isp)
{
    const struct conf_warmup *all = NULL;
    for (size_t i = 0; i < c->nwarmups; i++) {
        const struct conf_warmup *w = &c->warmups[i];
        if (w->source != source)
            continue;
        if (isp && w->isp != CONF_NONE && &c->isps[w->isp] == isp)
            return w;
        if (w->isp == CONF_NONE)
            all = w;
    }
    return all;
}

bool conf_name_matches(struct slice pattern, struct slice name)
{
    bool only_below = slice_starts(pattern, S("*."));
    if (only_below)
        pattern = slice_of(pattern.p + 2, pattern.n - 2);
    if (name.n == pattern.n)
        return !only_below && slice_ieq(name, pattern);
    return name.n > pattern.n && name.p[name.n - pattern.n - 1] == '.' &&
           slice_ieq(slice_of(name.p + name.n - pattern.n, pattern.n), pattern);
}

/* The pattern that decides so far. */
struct best {
    uint16_t isp;
    bool shipped;
    size_t weight;
    struct slice pattern;
};

/* The longer name is the narrower pattern; "*.a.jp" is narrower than "a.jp" and wider than "x.a.jp". */
static size_t weight_of(struct slice pattern)
{
    return slice_starts(pattern, S("*.")) ? 2 * (pattern.n - 2) + 1 : 2 * pattern.n;
}

static void look(struct best *best, const struct conf_isp *isps, uint16_t at, bool of_mx, struct slice name)
{
    const struct conf_isp *isp = &isps[at];
    const struct slice *v = of_mx ? isp->mx : isp->domains;
    size_t n = of_mx ? isp->nmx : isp->ndomains;
    for (size_t i = 0; i < n; i++) {
        size_t weight = weight_of(v[i]);
        bool better = weight > best->weight || (weight == best->weight && best->shipped && !isp->shipped);
        if (better && conf_name_matches(v[i], name))
            *best = (struct best){at, isp->shipped, weight, v[i]};
    }
}

uint16_t conf_isp_match(const struct conf_isp *isps, size_t n, struct slice domain, const struct slice *mx,
                        size_t nmx, struct slice *pattern)
{
    struct best best = {CONF_NONE, false, 0, SLICE_NONE};
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < nmx; j++)
            look(&best, isps, (uint16_t)i, true, mx[j]);
    bool by_mx = best.isp != CONF_NONE;
    for (size_t i = 0; i < n && !by_mx; i++)
        look(&best, isps, (uint16_t)i, false, domain);
    if (pattern)
        *pattern = best.pattern;
    return best.isp;
}

uint16_t conf_match_isp(const struct conf *c, struct slice domain, const struct slice *mx, size_t nmx)
{
    return conf_isp_match(c->isps, c->nisps, domain, mx, nmx, NULL);
}

bool conf_family_fits(const struct conf *c, const struct conf_isp *isp, const struct conf_source *source)
{
    enum conf_family allowed = isp ? isp->family : CONF_FAMILY_UNSET;
    if (source->address.family != 6)
        return allowed != CONF_FAMILY_6;
    if (allowed != CONF_FAMILY_UNSET)
        return allowed != CONF_FAMILY_4;
    for (size_t i = 0; i < c->nsources; i++)
        if (c->sources[i].address.family != 6)
            return false;
    return true;
}
