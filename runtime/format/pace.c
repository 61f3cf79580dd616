/* pace.c - see pace.h.
 *
 * Two conditions. The row: the next permit is due one interval after the one before it was due (not after it
 * was given, or every late tick would slow the whole). The window: the one that is `window` permits back lies
 * `window_ns` back, where window divides the quota and window_ns is the same part of the period; so that
 * catching up after a late tick, and a burst, cannot bring more than the quota into any period.
 *
 * A clock of milliseconds says t for all that happens from t on until t + 1. A permit given at t may
 * therefore be counted at any moment in (t - 1, t], and is counted at the one at which it was due if that
 * lies there: windows of whole milliseconds hold the same permits either way.
 *
 * Slow paces without a burst keep no ring: there one that is late by more than a tick begins a new row. What
 * this loses is a millisecond or two out of a hundred at most. */
#include "format/pace.h"

#include <stdlib.h>

enum {
    TICK_NS = 1000000,
    CATCH_UP_NS = 10 * TICK_NS,
    SLOW_MS = 100,
    RING_MOST = 1024,
    DIVISORS_TRIED = 65536
};
#define LONG_AGO_NS (INT64_MIN / 4)

/* The largest part of the quota that is small enough for a ring and divides period and quota alike; 0: none.
 */
static uint32_t ring_size(const struct pace_rate *rate)
{
    int64_t per_ns = rate->per_ms * TICK_NS;
    uint32_t first = (rate->quota + RING_MOST - 1) / RING_MOST;
    for (uint32_t d = first; d <= rate->quota && d - first < DIVISORS_TRIED; d++)
        if (rate->quota % d == 0 && per_ns % d == 0)
            return rate->quota / d;
    return 0;
}

const char *pace_wrong(const struct pace_rate *rate)
{
    if (!rate->quota || rate->per_ms < 1)
        return "at least 1";
    if (rate->per_ms > (int64_t)PACE_DAYS_MOST * 86400000)
        return "a period of at most 30 days";
    if ((uint64_t)rate->quota * 1000 > (uint64_t)PACE_PER_SECOND_MOST * (uint64_t)rate->per_ms)
        return "at most 10,000 a second";
    if (rate->burst > 1 && rate->burst > ring_size(rate))
        return "a burst that is at most the rate's number and at most 1,024, and a number that divides well, "
               "such as 1000 or 1440";
    return NULL;
}

void pace_init(struct pace *p, const struct pace_rate *rate)
{
    int64_t per_ns = rate->per_ms * TICK_NS, burst = rate->burst ? rate->burst : 1;
    *p = (struct pace){.rate = *rate,
                       .step_ns = per_ns / rate->quota,
                       .step_rest = per_ns % rate->quota,
                       .due_ns = LONG_AGO_NS};
    p->ahead_ns = (burst - 1) * p->step_ns + (burst - 1) * p->step_rest / rate->quota;
    if (burst == 1 && p->step_ns >= (int64_t)SLOW_MS * TICK_NS)
        return;
    p->window = ring_size(rate);
    if (!p->window)
        return;
    p->window_ns = per_ns / (rate->quota / p->window);
    p->given = mem_alloc(p->window * sizeof *p->given);
    for (uint32_t i = 0; i < p->window; i++)
        p->given[i] = LONG_AGO_NS;
}

void pace_free(struct pace *p)
{
    free(p->given);
    *p = (struct pace){0};
}

static int64_t whole_ns(const struct pace *p)
{
    return p->due_ns + (p->due_rest > 0);
}

static int64_t window_open_ns(const struct pace *p)
{
    return p->given ? p->given[p->at] + p->window_ns : LONG_AGO_NS;
}

int64_t pace_due_ms(const struct pace *p)
{
    int64_t row = whole_ns(p) - p->ahead_ns, window = window_open_ns(p), ns = row > window ? row : window;
    return ns > 0 ? (ns + TICK_NS - 1) / TICK_NS : -(-ns / TICK_NS);
}

void pace_take(struct pace *p, int64_t now_ms)
{
    int64_t now = now_ms * TICK_NS, due = whole_ns(p);
    p->was_due_ns = p->due_ns;
    p->was_due_rest = p->due_rest;
    p->returnable = true;
    if (p->given) {
        int64_t at = due < now ? due : now, open = window_open_ns(p);
        if (at <= now - TICK_NS)
            at = now - TICK_NS + 1;
        p->was_given = p->given[p->at];
        p->given[p->at] = at > open ? at : open;
        p->at = (p->at + 1) % p->window;
    }
    if (due <= now - (p->given ? CATCH_UP_NS : TICK_NS)) {
        p->due_ns = now;
        p->due_rest = 0;
    }
    p->due_ns += p->step_ns;
    p->due_rest += p->step_rest;
    if (p->due_rest >= p->rate.quota) {
        p->due_rest -= p->rate.quota;
        p->due_ns++;
    }
}

void pace_return(struct pace *p)
{
    if (!p->returnable)
        return;
    p->returnable = false;
    p->due_ns = p->was_due_ns;
    p->due_rest = p->was_due_rest;
    if (p->given) {
        p->at = (p->at + p->window - 1) % p->window;
        p->given[p->at] = p->was_given;
    }
}
