/* conf.c - see conf.h. */
#include "delivery/conf.h"

#include <stdlib.h>

struct conf *conf_new(void)
{
    struct conf *c = mem_zalloc(sizeof *c);
    c->script = c->tz = SLICE_NONE;
    verdict_schedule_default(&c->retry);
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

static size_t best_match(const struct slice *patterns, size_t n, struct slice name)
{
    size_t best = 0;
    for (size_t i = 0; i < n; i++)
        if (patterns[i].n > best && conf_name_matches(patterns[i], name))
            best = patterns[i].n;
    return best;
}

uint16_t conf_match_isp(const struct conf *c, struct slice domain, const struct slice *mx, size_t nmx)
{
    size_t best = 0;
    uint16_t found = CONF_NONE;
    for (size_t i = 0; i < c->nisps; i++) {
        for (size_t j = 0; j < nmx; j++) {
            size_t n = best_match(c->isps[i].mx, c->isps[i].nmx, mx[j]);
            if (n > best) {
                best = n;
                found = (uint16_t)i;
            }
        }
    }
    if (found != CONF_NONE)
        return found;
    for (size_t i = 0; i < c->nisps; i++) {
        size_t n = best_match(c->isps[i].domains, c->isps[i].ndomains, domain);
        if (n > best) {
            best = n;
            found = (uint16_t)i;
        }
    }
    return found;
}
