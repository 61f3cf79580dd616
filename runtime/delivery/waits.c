/* waits.c - see waits.h. */
#include "delivery/waits.h"
#include "base/words.h"
#include "delivery/deliver_impl.h"
#include "format/text.h"

#include <stdlib.h>

struct waiting {
    const struct limit *limit;
    uint64_t n;
};

static int by_limit(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct waiting *)a)->limit,
              y = (uintptr_t)((const struct waiting *)b)->limit;
    return x < y ? -1 : x > y;
}

static int by_size(const void *a, const void *b)
{
    const struct waiting *x = a, *y = b;
    if (x->n != y->n)
        return x->n < y->n ? 1 : -1;
    int64_t dx = limit_due_ms(x->limit), dy = limit_due_ms(y->limit);
    return dx < dy ? -1 : dx > dy;
}

/* One entry a limit; returns how many. */
static size_t gather(struct deliver *d, struct waiting **out)
{
    struct waiting *v = NULL;
    size_t n = 0, cap = 0, at = 0, kept = 0;
    for (struct domain *dom; (dom = sites_next_domain(d->sites, &at));) {
        for (struct lane *lane = dom->lanes; dom->site && lane; lane = lane->of_domain) {
            const struct limit *l = lane->ready.n ? path_waits_for(dom->site->isp, lane) : NULL;
            if (!l || lane->campaign->run != CAMPAIGN_RUNNING)
                continue;
            if (n == cap) {
                cap = cap ? cap * 2 : 64;
                v = mem_realloc(v, cap * sizeof *v);
            }
            v[n++] = (struct waiting){l, (uint64_t)lane->ready.n + lane->raw.n};
        }
    }
    if (n)
        qsort(v, n, sizeof *v, by_limit);
    for (size_t i = 0; i < n; i++) {
        if (kept && v[kept - 1].limit == v[i].limit)
            v[kept - 1].n += v[i].n;
        else
            v[kept++] = v[i];
    }
    if (kept)
        qsort(v, kept, sizeof *v, by_size);
    *out = v;
    return kept;
}

static void put_due(const struct deliver *d, const struct limit *l, struct buf *out)
{
    int64_t due = limit_due_ms(l), now = loop_now_ms(d->loop);
    if (due == INT64_MAX) {
        buf_adds(out, S(", until a connection ends"));
    } else if (due > now) {
        buf_adds(out, S(", next permit in "));
        words_duration_text(out, due - now);
    }
}

void waits_text(struct deliver *d, size_t most, struct buf *out)
{
    struct waiting *v = NULL;
    size_t n = gather(d, &v);
    uint64_t rest = 0;
    for (size_t i = 0; i < n; i++) {
        if (i >= most) {
            rest += v[i].n;
            continue;
        }
        text_count(out, v[i].n);
        buf_adds(out, v[i].n == 1 ? S(" waits for the limit ") : S(" wait for the limit "));
        limit_text(v[i].limit, out);
        put_due(d, v[i].limit, out);
        buf_addc(out, '\n');
    }
    if (rest) {
        text_count(out, rest);
        buf_adds(out, rest == 1 ? S(" more waits for ") : S(" more wait for "));
        text_count(out, n - most);
        buf_adds(out, n - most == 1 ? S(" other limit\n") : S(" other limits\n"));
    }
    free(v);
}
