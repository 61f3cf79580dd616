/* warmup.h - warming up: how much a source may send to a receiver today, and what that makes of tomorrow.
 *
 * A curve is a list of steps, each so many mails per hour or per day. A day on which enough of its quota was
 * used is an active day; `hold` of them, and the next step begins. The last step stays. All there is to
 * remember is how many active days lie behind (the position), and what was used on the last day with mail:
 * what idleness takes away again follows from that day, so nothing needs to happen on a day without mail.
 *
 * A day begins when its window opens: a window over midnight is of the day on which it opens. Without a
 * window it is the day of the calendar. Days are numbered from 1970-01-01 on the wall of tz.
 *
 * No clock: the caller says what time it is, in UTC milliseconds. */
#ifndef HATO_FORMAT_WARMUP_H
#define HATO_FORMAT_WARMUP_H

#include "format/pace.h"
#include "format/tz.h"

#define WARMUP_NEVER INT64_MIN

enum { WARMUP_IDLE_DAYS = 14, WARMUP_FORGET_DAYS = 30, WARMUP_STEPS_MOST = 400, WARMUP_DAY_MOST = 100000 };

struct warmup_curve {
    const uint32_t *steps;    /* mails */
    size_t nsteps;            /* at least 1 */
    bool per_day;             /* steps are mails per day; else per hour */
    uint32_t hold;            /* active days a step, at least 1 */
    int32_t open_s, close_s;  /* the window, seconds of the day; the same: all day */
    uint32_t enough_permille; /* of its quota, for a day to count: used, or more than that delivered */
    bool by_delivered;
};

struct warmup_state {
    int64_t day;              /* the last one with mail; WARMUP_NEVER: there was none */
    uint32_t position;        /* active days before it */
    uint32_t used, delivered; /* on it */
    int64_t retreat_day;      /* when it last went back; WARMUP_NEVER */
};

static inline struct warmup_state warmup_fresh(void)
{
    return (struct warmup_state){.day = WARMUP_NEVER, .retreat_day = WARMUP_NEVER};
}

struct warmup_today {
    int64_t day;
    uint32_t position;     /* active days behind; "day N" is this + 1 */
    size_t step;           /* from 0 */
    uint32_t quota;        /* of the whole day */
    struct pace_rate pace; /* within the window; quota 0: the clock leaves the window out today */
    int64_t open_ms, close_ms, next_open_ms; /* UTC; open_ms <= now < next_open_ms */
    uint32_t used, delivered;
    bool retreated; /* this day: it does not count */
};

/* NULL, or what is wrong: the end of a sentence that begins "curve wants". */
const char *warmup_wrong(const struct warmup_curve *c);

/* tz NULL: UTC. */
void warmup_look(const struct warmup_curve *c, const struct tz *tz, const struct warmup_state *s,
                 int64_t utc_ms, struct warmup_today *out);
/* Mail begins: true when it is the day's first, and the state is now of this day, with nothing used yet. */
bool warmup_turn(const struct warmup_curve *c, const struct tz *tz, struct warmup_state *s, int64_t utc_ms);
/* One step back, and its hold begins anew with the next day. False: it went back today already. */
bool warmup_retreat(const struct warmup_curve *c, const struct tz *tz, struct warmup_state *s,
                    int64_t utc_ms);
/* By hand: today is day n (from 1). What was used today stays used. */
void warmup_set(const struct warmup_curve *c, const struct tz *tz, struct warmup_state *s, int64_t utc_ms,
                uint32_t n);

/* When the next step begins at the earliest, UTC ms: if each day from today on is an active one. 0: this is
 * the last step. */
int64_t warmup_next_step_ms(const struct warmup_curve *c, const struct tz *tz, const struct warmup_today *t);

/* UTC ms at which a day's window opens. */
int64_t warmup_day_ms(const struct warmup_curve *c, const struct tz *tz, int64_t day);

/* "60/h", "200/d" */
void warmup_rate_text(const struct warmup_curve *c, size_t step, struct buf *out);

#endif
