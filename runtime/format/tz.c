/* tz.c - see tz.h.
 *
 * A file lists the instants at which the offset changed, up to some year, and ends in a rule for all later
 * ones in the notation of POSIX TZ ("EST5EDT,M3.2.0,M11.1.0"; RFC 8536 3.3 and 3.3.1). */
#include "format/tz.h"

#include <stdlib.h>

enum { DAY = 86400, TRANSITIONS_MOST = 20000, OFFSET_MOST = 167 * 3600 };

struct day_rule { /* a day of every year, and a time on it */
    enum { RULE_WEEKDAY, RULE_JULIAN, RULE_DAY } kind;
    int month, week, day; /* JULIAN: day 1 to 365, 29 February never counted; DAY: 0 to 365 */
    int32_t time_s;
};

struct tz {
    size_t n;
    int64_t *at;
    int32_t *offset; /* from at[i] on */
    int32_t first;   /* before at[0] */
    bool has_rule, has_dst;
    int32_t standard, dst;
    struct day_rule start, end;
};

/* Days since 1970-01-01 of a date in the Gregorian calendar. Years start in March, so that the leap day is a
 * year's last; 400 years have 146,097 days. */
static int64_t days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t year_of(int64_t s)
{
    int64_t days = s / DAY - (s % DAY < 0);
    int64_t year = 1970 + days / 366;
    year -= days < 0;
    while (days_of(year + 1, 1, 1) <= days)
        year++;
    while (days_of(year, 1, 1) > days)
        year--;
    return year;
}

/* --- reading --- */

static bool read_number(struct slice *s, int most, int *out)
{
    int v = 0;
    size_t i = 0;
    for (; i < s->n && i < 4 && s->p[i] >= '0' && s->p[i] <= '9'; i++)
        v = v * 10 + (s->p[i] - '0');
    if (!i || v > most)
        return false;
    *s = slice_of(s->p + i, s->n - i);
    *out = v;
    return true;
}

static bool take(struct slice *s, char c)
{
    if (!s->n || s->p[0] != c)
        return false;
    *s = slice_of(s->p + 1, s->n - 1);
    return true;
}

/* [+-]hh[:mm[:ss]] in seconds. */
static bool read_time(struct slice *s, int32_t *out)
{
    bool minus = take(s, '-');
    if (!minus)
        take(s, '+');
    int h, m = 0, sec = 0;
    if (!read_number(s, 167, &h) ||
        (take(s, ':') && (!read_number(s, 59, &m) || (take(s, ':') && !read_number(s, 59, &sec)))))
        return false;
    *out = (h * 3600 + m * 60 + sec) * (minus ? -1 : 1);
    return true;
}

static bool skip_name(struct slice *s)
{
    size_t i = 0;
    if (s->n && s->p[0] == '<') {
        while (i < s->n && s->p[i] != '>')
            i++;
        if (i == s->n)
            return false;
        i++;
    } else {
        while (i < s->n && ((s->p[i] | 32) >= 'a' && (s->p[i] | 32) <= 'z'))
            i++;
        if (i < 3)
            return false;
    }
    *s = slice_of(s->p + i, s->n - i);
    return true;
}

static bool read_day_rule(struct slice *s, struct day_rule *r)
{
    *r = (struct day_rule){.time_s = 2 * 3600};
    if (take(s, 'M')) {
        r->kind = RULE_WEEKDAY;
        if (!read_number(s, 12, &r->month) || !take(s, '.') || !read_number(s, 5, &r->week) ||
            !take(s, '.') || !read_number(s, 6, &r->day) || !r->month || !r->week)
            return false;
    } else {
        r->kind = take(s, 'J') ? RULE_JULIAN : RULE_DAY;
        if (!read_number(s, 365, &r->day) || (r->kind == RULE_JULIAN && !r->day))
            return false;
    }
    return !take(s, '/') || read_time(s, &r->time_s);
}

static bool read_rule(struct slice s, struct tz *tz)
{
    int32_t west;
    if (!skip_name(&s) || !read_time(&s, &west))
        return false;
    tz->has_rule = true;
    tz->standard = -west;
    if (!s.n)
        return true;
    if (!skip_name(&s))
        return false;
    tz->has_dst = true;
    tz->dst = tz->standard + 3600;
    if (s.n && s.p[0] != ',') {
        if (!read_time(&s, &west))
            return false;
        tz->dst = -west;
    }
    return take(&s, ',') && read_day_rule(&s, &tz->start) && take(&s, ',') && read_day_rule(&s, &tz->end) &&
           !s.n;
}

static int64_t big_endian(const char *p, int bytes)
{
    uint64_t v = p[0] & 0x80 ? UINT64_MAX : 0;
    for (int i = 0; i < bytes; i++)
        v = v << 8 | (unsigned char)p[i];
    return (int64_t)v;
}

struct counts {
    size_t isut, isstd, leap, time, type, chars;
};

/* A header of 44 bytes; what follows it with times of so many bytes. */
static bool read_header(struct slice *s, struct counts *c, size_t time_bytes, size_t *body)
{
    if (s->n < 44 || memcmp(s->p, "TZif", 4) || s->p[4] < '2')
        return false;
    size_t *v[] = {&c->isut, &c->isstd, &c->leap, &c->time, &c->type, &c->chars};
    for (size_t i = 0; i < COUNT(v); i++) {
        int64_t n = big_endian(s->p + 20 + i * 4, 4);
        if (n < 0 || n > TRANSITIONS_MOST)
            return false;
        *v[i] = (size_t)n;
    }
    *s = slice_of(s->p + 44, s->n - 44);
    *body =
        c->time * (time_bytes + 1) + c->type * 6 + c->chars + c->leap * (time_bytes + 4) + c->isstd + c->isut;
    return *body <= s->n;
}

int tz_parse(struct slice bytes, struct tz **out)
{
    struct counts c;
    size_t body;
    if (!read_header(&bytes, &c, 4, &body))
        return ERR_SYNTAX;
    bytes = slice_of(bytes.p + body, bytes.n - body);
    if (!read_header(&bytes, &c, 8, &body) || !c.type)
        return ERR_SYNTAX;
    const char *times = bytes.p, *which = times + c.time * 8, *types = which + c.time;
    struct slice footer = slice_of(bytes.p + body, bytes.n - body);
    struct tz *tz = mem_zalloc(sizeof *tz);
    tz->n = c.time;
    tz->at = mem_alloc((c.time + 1) * sizeof *tz->at);
    tz->offset = mem_alloc((c.time + 1) * sizeof *tz->offset);
    tz->first = (int32_t)big_endian(types, 4);
    bool good = tz->first >= -OFFSET_MOST && tz->first <= OFFSET_MOST;
    for (size_t i = 0; i < c.time && good; i++) {
        unsigned char type = (unsigned char)which[i];
        tz->at[i] = big_endian(times + i * 8, 8);
        good = type < c.type && (!i || tz->at[i] > tz->at[i - 1]);
        if (good)
            tz->offset[i] = (int32_t)big_endian(types + type * 6, 4);
        good = good && tz->offset[i] >= -OFFSET_MOST && tz->offset[i] <= OFFSET_MOST;
    }
    struct slice rest, rule;
    if (good && footer.n > 2 && footer.p[0] == '\n') {
        rule = slice_cut(slice_of(footer.p + 1, footer.n - 1), '\n', &rest);
        good = !rule.n || read_rule(rule, tz);
    }
    if (!good) {
        tz_free(tz);
        return ERR_SYNTAX;
    }
    *out = tz;
    return 0;
}

void tz_free(struct tz *tz)
{
    if (!tz)
        return;
    free(tz->at);
    free(tz->offset);
    free(tz);
}

/* --- asking --- */

/* The rule's moment in that year on a wall of standard time 0. */
static int64_t rule_at(const struct day_rule *r, int64_t year)
{
    int64_t day = 0;
    switch (r->kind) {
    case RULE_WEEKDAY: {
        int64_t first = days_of(year, r->month, 1);
        int64_t next = r->month == 12 ? days_of(year + 1, 1, 1) : days_of(year, r->month + 1, 1);
        int weekday = (int)(((first + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
        day = first + (r->day - weekday + 7) % 7 + (r->week - 1) * 7;
        while (day >= next)
            day -= 7;
        break;
    }
    case RULE_JULIAN:
        day = days_of(year, 1, 1) + r->day - 1 + (is_leap(year) && r->day > 59);
        break;
    case RULE_DAY:
        day = days_of(year, 1, 1) + r->day;
        break;
    }
    return day * DAY + r->time_s;
}

static int32_t by_rule(const struct tz *tz, int64_t utc)
{
    if (!tz->has_dst)
        return tz->standard;
    int64_t year = year_of(utc + tz->standard);
    int64_t start = rule_at(&tz->start, year) - tz->standard, end = rule_at(&tz->end, year) - tz->dst;
    bool dst = start < end ? utc >= start && utc < end : utc >= start || utc < end;
    return dst ? tz->dst : tz->standard;
}

int tz_offset(const struct tz *tz, int64_t utc)
{
    if (!tz->n || utc < tz->at[0])
        return tz->n || !tz->has_rule ? tz->first : by_rule(tz, utc);
    if (utc >= tz->at[tz->n - 1] && tz->has_rule)
        return by_rule(tz, utc);
    size_t low = 0, high = tz->n; /* at[low] <= utc < at[high] */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (tz->at[middle] <= utc)
            low = middle;
        else
            high = middle;
    }
    return tz->offset[low];
}

int64_t tz_to_utc(const struct tz *tz, const struct tz_wall *w)
{
    return tz_wall_to_utc(tz, days_of(w->year, w->month, w->day) * DAY + w->hour * 3600 + w->minute * 60 +
                                  w->second);
}

int64_t tz_wall_to_utc(const struct tz *tz, int64_t wall)
{
    if (!tz)
        return wall;
    /* Offsets reach a day at most in practice; the change, if there is one, lies between these two. */
    int64_t low = wall - 2 * DAY, high = wall + 2 * DAY;
    int before = tz_offset(tz, low), after = tz_offset(tz, high);
    if (before == after)
        return wall - before;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (tz_offset(tz, middle) == before)
            low = middle;
        else
            high = middle;
    }
    if (wall - before < high)
        return wall - before;
    return wall - after >= high ? wall - after : high;
}

int tz_read_wall(struct slice text, struct tz_wall *out)
{
    struct slice s = slice_trim(text);
    struct tz_wall w = {0};
    if (!read_number(&s, 9999, &w.year) || !take(&s, '-') || !read_number(&s, 99, &w.month) ||
        !take(&s, '-') || !read_number(&s, 99, &w.day))
        return ERR_SYNTAX;
    if (s.n && ((!take(&s, ' ') && !take(&s, 'T')) || !read_number(&s, 99, &w.hour) || !take(&s, ':') ||
                !read_number(&s, 99, &w.minute) || (take(&s, ':') && !read_number(&s, 99, &w.second)) || s.n))
        return ERR_SYNTAX;
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (w.month < 1 || w.month > 12 || w.day < 1 ||
        w.day > days[w.month - 1] + (w.month == 2 && is_leap(w.year)) || w.hour > 23 || w.minute > 59 ||
        w.second > 59)
        return ERR_RANGE;
    *out = w;
    return 0;
}
