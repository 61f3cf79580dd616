/* guard.c - see guard.h.
 *
 * A day with too few attempts to speak for itself goes on with the next one. An isp has its bits only from
 * its first unknown person on: most never need them. */
#include "delivery/guard.h"
#include "base/err.h"

#include <stdlib.h>

enum { DAYS = 10, DAYS_LEAST = 3, OF_WINDOW = 4 /* a day needs a fourth of it */, DAY_MS = 86400000 };

struct receiver {
    uint64_t *bits; /* a ring of conf.attempts; NULL: no unknown person yet */
    uint32_t n, hits, at;
    uint32_t day; /* UTC's, of today's sums */
    uint32_t today, today_unknown;
    uint16_t days, bad; /* bits, the latest lowest: a day was there, and it had many */
    bool outbreak;
};

struct guard {
    struct guard_conf conf;
    struct receiver *v; /* by the isp's number */
    size_t n;
};

struct guard *guard_new(const struct guard_conf *conf)
{
    struct guard *g = mem_zalloc(sizeof *g);
    INVARIANT(conf->attempts <= GUARD_WINDOW_MOST);
    g->conf = *conf;
    return g;
}

void guard_free(struct guard *g)
{
    if (!g)
        return;
    for (size_t i = 0; i < g->n; i++)
        free(g->v[i].bits);
    free(g->v);
    free(g);
}

static struct receiver *receiver_of(struct guard *g, uint32_t isp)
{
    if (isp >= g->n) {
        size_t n = isp + isp / 2 + 16;
        g->v = mem_realloc(g->v, n * sizeof *g->v);
        memset(g->v + g->n, 0, (n - g->n) * sizeof *g->v);
        g->n = n;
    }
    return &g->v[isp];
}

static void turn_day(const struct guard *g, struct receiver *r, uint32_t day)
{
    if (day <= r->day) /* the same, or a clock that was set back */
        return;
    r->day = day;
    if (r->today < g->conf.attempts / OF_WINDOW || !r->today)
        return;
    bool bad = (uint64_t)r->today_unknown * GUARD_WHOLE >= (uint64_t)r->today * g->conf.usual_ppm;
    r->days = (uint16_t)((r->days << 1 | 1) & ((1 << DAYS) - 1));
    r->bad = (uint16_t)((r->bad << 1 | bad) & ((1 << DAYS) - 1));
    r->today = r->today_unknown = 0;
}

static bool is_usual(const struct receiver *r)
{
    int days = __builtin_popcount(r->days), bad = __builtin_popcount(r->bad);
    return days >= DAYS_LEAST && bad * 2 > days;
}

static void remember(struct guard *g, struct receiver *r, bool unknown)
{
    uint32_t most = g->conf.attempts;
    if (!r->bits && unknown)
        r->bits = mem_zalloc((most + 63) / 64 * sizeof *r->bits);
    if (r->bits) {
        uint64_t *word = &r->bits[r->at / 64], bit = 1ull << r->at % 64;
        r->hits -= r->n == most && *word & bit;
        r->hits += unknown;
        *word = unknown ? *word | bit : *word & ~bit;
    }
    r->at = (r->at + 1) % most;
    r->n += r->n < most;
}

bool guard_attempt(struct guard *g, uint32_t isp, bool unknown, int64_t at_ms)
{
    if (!g->conf.attempts || !isp)
        return false;
    struct receiver *r = receiver_of(g, isp);
    bool was = r->outbreak;
    turn_day(g, r, (uint32_t)(at_ms / DAY_MS));
    r->today++;
    r->today_unknown += unknown;
    remember(g, r, unknown);
    /* More than the share of the whole window, which what is still to come cannot make less. */
    uint64_t most = (uint64_t)g->conf.attempts * g->conf.share_ppm / (was ? 2 : 1);
    r->outbreak = (uint64_t)r->hits * GUARD_WHOLE > most && !is_usual(r);
    return r->outbreak && !was;
}

bool guard_outbreak(const struct guard *g, uint32_t isp)
{
    return isp < g->n && g->v[isp].outbreak;
}

void guard_text(const struct guard *g, uint32_t isp, struct buf *out)
{
    static const struct receiver none;
    const struct receiver *r = isp < g->n ? &g->v[isp] : &none;
    buf_printf(out, "no such user in %u of the latest %u answers", r->hits, r->n);
    if (r->days)
        buf_printf(out, "; on %d of the %d days before there were many", __builtin_popcount(r->bad),
                   __builtin_popcount(r->days));
}
