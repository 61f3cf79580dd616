/* doubt.c - see doubt.h. */
#include "format/doubt.h"

enum { HOUR_MS = 3600000, BEFORE_LEAST = DOUBT_RUN / 2, WHOLE = 256, STEP = 8 };
static const uint32_t LAST = (1u << DOUBT_RUN) - 1;

static void tried(struct doubt *d, bool refused)
{
    d->first = (d->first << 1 | refused) & LAST;
    d->seen += d->seen < DOUBT_RUN;
}

void doubt_took(struct doubt *d, struct doubt_mail m, int64_t now_ms)
{
    d->run = 0;
    if (m.again) {
        d->persons -= d->persons / STEP;
        return;
    }
    tried(d, false);
    if (d->domain && d->domain != m.domain)
        d->mixed_ms = now_ms;
    d->domain = m.domain;
    d->took_ms = now_ms;
}

void doubt_refused(struct doubt *d, struct doubt_mail m)
{
    if (m.again) {
        if (!d->run)
            d->persons += (WHOLE - d->persons) / STEP;
        return;
    }
    if (!d->run) {
        d->before = d->seen;
        d->before_refused = (uint8_t)__builtin_popcount(d->first);
        d->run_domain = m.domain;
        d->run_mixed = false;
    }
    d->run++;
    d->run_mixed |= m.domain != d->run_domain;
    tried(d, true);
}

bool doubt_ran_dry(const struct doubt *d, int64_t now_ms)
{
    bool took =
        d->before >= BEFORE_LEAST && d->before_refused * 5 <= d->before * 2 && now_ms - d->took_ms < HOUR_MS;
    bool all = d->run_mixed || (d->run_domain == d->domain && now_ms - d->mixed_ms >= HOUR_MS);
    return d->run >= DOUBT_RUN && took && all;
}

bool doubt_is_of_persons(const struct doubt *d)
{
    return d->persons > WHOLE / 2;
}

bool doubt_is_of_many(const struct doubt *d)
{
    return __builtin_popcount(d->first) * 2 >= DOUBT_RUN;
}
