/* warmup.c - see warmup.h. */
#include "format/warmup.h"

enum { DAY_S = 86400, HOUR_MS = 3600000, CLOCK_DAYS = 2 };

const char *warmup_wrong(const struct warmup_curve *c)
{
    int32_t open_s = c->close_s > c->open_s ? c->close_s - c->open_s : c->close_s - c->open_s + DAY_S;
    if (!c->nsteps || c->nsteps > WARMUP_STEPS_MOST)
        return "1 to 400 steps";
    for (size_t i = 0; i < c->nsteps; i++) {
        struct pace_rate rate = {c->steps[i], 0, c->per_day ? (int64_t)open_s * 1000 : HOUR_MS};
        if (!c->steps[i])
            return "steps of at least 1 mail";
        if (pace_wrong(&rate))
            return "steps of at most 10,000 mails a second";
    }
    return NULL;
}

/* --- days --- */

static int64_t opens_ms(const struct warmup_curve *c, const struct tz *tz, int64_t day)
{
    return tz_wall_to_utc(tz, day * DAY_S + c->open_s) * 1000;
}

static int64_t closes_ms(const struct warmup_curve *c, const struct tz *tz, int64_t day)
{
    int64_t of_day = c->close_s > c->open_s ? day : day + 1;
    return tz_wall_to_utc(tz, of_day * DAY_S + c->close_s) * 1000;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static int64_t day_of(const struct warmup_curve *c, const struct tz *tz, int64_t utc_ms)
{
    int64_t utc_s = floor_div(utc_ms, 1000);
    int64_t day = floor_div(utc_s + (tz ? tz_offset(tz, utc_s) : 0) - c->open_s, DAY_S);
    while (opens_ms(c, tz, day) > utc_ms)
        day--;
    while (opens_ms(c, tz, day + 1) <= utc_ms)
        day++;
    return day;
}

static size_t step_at(const struct warmup_curve *c, uint32_t position)
{
    size_t step = position / c->hold;
    return step < c->nsteps ? step : c->nsteps - 1;
}

/* Per hour it is what goes at an even pace while the window is open, the first at its opening. */
static uint32_t quota_of(const struct warmup_curve *c, const struct tz *tz, int64_t day, size_t step)
{
    int64_t open_ms = closes_ms(c, tz, day) - opens_ms(c, tz, day);
    if (open_ms <= 0)
        return 0;
    return c->per_day ? c->steps[step]
                      : (uint32_t)(((int64_t)c->steps[step] * open_ms + HOUR_MS - 1) / HOUR_MS);
}

static bool is_active(const struct warmup_curve *c, const struct tz *tz, const struct warmup_state *s)
{
    uint64_t quota = quota_of(c, tz, s->day, step_at(c, s->position));
    if (s->retreat_day == s->day || !quota)
        return false;
    return c->by_delivered ? s->delivered * 1000ull > c->enough_permille * quota
                           : s->used * 1000ull >= c->enough_permille * quota;
}

/* Active days behind on a later day than the state's. */
static uint32_t position_on(const struct warmup_curve *c, const struct tz *tz, const struct warmup_state *s,
                            int64_t day)
{
    if (s->day == WARMUP_NEVER || day - s->day >= WARMUP_FORGET_DAYS)
        return 0;
    uint32_t position = s->position + is_active(c, tz, s);
    if (day - s->day < WARMUP_IDLE_DAYS)
        return position;
    size_t step = step_at(c, position), back = (size_t)(1 + (day - s->day - WARMUP_IDLE_DAYS) / 7);
    return (uint32_t)(step > back ? step - back : 0) * c->hold;
}

/* A clock that was set back a little goes on with the day it was; a state of a day far ahead was a clock's
 * mistake. */
static bool is_today(const struct warmup_state *s, int64_t day)
{
    return s->day != WARMUP_NEVER && s->day >= day && s->day - day <= CLOCK_DAYS;
}

static uint32_t position_now(const struct warmup_curve *c, const struct tz *tz, const struct warmup_state *s,
                             int64_t day)
{
    if (is_today(s, day) || (s->day != WARMUP_NEVER && s->day > day))
        return s->position;
    return position_on(c, tz, s, day);
}

/* --- looking and changing --- */

void warmup_look(const struct warmup_curve *c, const struct tz *tz, const struct warmup_state *s,
                 int64_t utc_ms, struct warmup_today *out)
{
    int64_t day = day_of(c, tz, utc_ms);
    bool same = is_today(s, day);
    *out = (struct warmup_today){.day = day,
                                 .position = position_now(c, tz, s, day),
                                 .open_ms = opens_ms(c, tz, day),
                                 .close_ms = closes_ms(c, tz, day),
                                 .next_open_ms = opens_ms(c, tz, day + 1),
                                 .used = same ? s->used : 0,
                                 .delivered = same ? s->delivered : 0,
                                 .retreated = same && s->retreat_day == s->day};
    out->step = step_at(c, out->position);
    out->quota = quota_of(c, tz, day, out->step);
    if (out->quota)
        out->pace =
            (struct pace_rate){c->steps[out->step], 0, c->per_day ? out->close_ms - out->open_ms : HOUR_MS};
}

bool warmup_turn(const struct warmup_curve *c, const struct tz *tz, struct warmup_state *s, int64_t utc_ms)
{
    int64_t day = day_of(c, tz, utc_ms);
    if (is_today(s, day))
        return false;
    s->position = position_now(c, tz, s, day);
    s->day = day;
    s->used = s->delivered = 0;
    return true;
}

bool warmup_retreat(const struct warmup_curve *c, const struct tz *tz, struct warmup_state *s, int64_t utc_ms)
{
    warmup_turn(c, tz, s, utc_ms);
    if (s->retreat_day == s->day)
        return false;
    size_t step = step_at(c, s->position);
    s->position = (uint32_t)(step ? step - 1 : 0) * c->hold;
    s->retreat_day = s->day;
    return true;
}

void warmup_set(const struct warmup_curve *c, const struct tz *tz, struct warmup_state *s, int64_t utc_ms,
                uint32_t n)
{
    warmup_turn(c, tz, s, utc_ms);
    s->position = n - 1;
    s->retreat_day = WARMUP_NEVER;
}

int64_t warmup_next_step_ms(const struct warmup_curve *c, const struct tz *tz, const struct warmup_today *t)
{
    if (t->step + 1 == c->nsteps)
        return 0;
    return opens_ms(c, tz, t->day + t->retreated + (int64_t)(c->hold - t->position % c->hold));
}

int64_t warmup_day_ms(const struct warmup_curve *c, const struct tz *tz, int64_t day)
{
    return opens_ms(c, tz, day);
}

void warmup_rate_text(const struct warmup_curve *c, size_t step, struct buf *out)
{
    buf_printf(out, "%u/%s", c->steps[step], c->per_day ? "d" : "h");
}
