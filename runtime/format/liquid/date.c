/* date.c - the date filter: reads the dates people write, prints them as Ruby's strftime does.
 *
 * A time is seconds since 1970 UTC with an offset; the calendar is the proleptic Gregorian one, computed
 * here. A text without a zone means local time, and the caller says what local is. */
#include "format/liquid/internal.h"

struct moment {
    int64_t unix_s;
    int32_t nanos;
    int offset_s;
};
struct civil {
    int64_t year;
    int month, day, hour, minute, second, weekday, yearday; /* yearday from 0 */
};

enum { DAY_S = 86400 };
static const int64_t YEAR_MOST = 200000; /* years that we calculate with lie within this of zero */

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};
static const char *const weekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool is_leap(int64_t y)
{
    return (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
}

/* Days from 1970-01-01. Years are counted from March, so that the leap day is the last of its year; in such a
 * year month m (0 = March) begins on day (153 m + 2) / 5. */
static int64_t days_of(int64_t y, int month, int day)
{
    y -= month <= 2;
    int64_t era = floor_div(y, 400), of_era = y - era * 400;
    int m = month > 2 ? month - 3 : month + 9;
    int64_t of_year = (153 * m + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static struct civil civil_of(int64_t local_s)
{
    struct civil c;
    int64_t days = floor_div(local_s, DAY_S);
    int s = (int)(local_s - days * DAY_S);
    c.hour = s / 3600;
    c.minute = s / 60 % 60;
    c.second = s % 60;
    c.weekday = (int)((days % 7 + 11) % 7); /* 1970-01-01 was a Thursday */
    int64_t shifted = days + 719468, era = floor_div(shifted, 146097), of_era = shifted - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100);
    int m = (int)((5 * of_year + 2) / 153);
    c.day = (int)(of_year - (153 * m + 2) / 5 + 1);
    c.month = m < 10 ? m + 3 : m - 9;
    c.year = y + era * 400 + (c.month <= 2);
    c.yearday = (int)(days - days_of(c.year, 1, 1));
    return c;
}

static int offset_of(const struct date_zone *zone, int64_t unix_s)
{
    return zone->offset_at ? zone->offset_at(zone->arg, unix_s) : 0;
}

/* --- reading --- */

struct reader {
    struct slice s;
    size_t at;
    int64_t year, month, day, hour, minute, second;
    int32_t nanos;
    int offset_s;
    bool has_year, has_month, has_day, has_time, has_zone, pm, am;
    int64_t number[3];
    int numbers;
};

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool letter(char c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

static char peek(const struct reader *r)
{
    return r->at < r->s.n ? r->s.p[r->at] : 0;
}

/* A run of digits; *n becomes its length. More than nine are more than a date has. */
static int read_number(struct reader *r, int64_t *value, int *n)
{
    *value = 0;
    for (*n = 0; digit(peek(r)); ++*n) {
        if (*n == 9)
            return ERR_SYNTAX;
        *value = *value * 10 + (r->s.p[r->at++] - '0');
    }
    return *n ? 0 : ERR_SYNTAX;
}

/* Behind the hour and at a colon. */
static int read_time(struct reader *r, int64_t hour)
{
    int n;
    r->hour = hour;
    r->has_time = true;
    r->at++;
    int rc = read_number(r, &r->minute, &n);
    if (rc || peek(r) != ':')
        return rc;
    r->at++;
    if ((rc = read_number(r, &r->second, &n)))
        return rc;
    if ((peek(r) == '.' || peek(r) == ',') && r->at + 1 < r->s.n && digit(r->s.p[r->at + 1])) {
        int32_t unit = 100000000;
        for (r->at++; digit(peek(r)); r->at++, unit /= 10)
            r->nanos += (r->s.p[r->at] - '0') * unit;
    }
    return 0;
}

/* +09:00, +0900, +9 behind a time. */
static int read_offset(struct reader *r)
{
    int sign = r->s.p[r->at++] == '-' ? -1 : 1, n;
    int64_t h, m = 0;
    int rc = read_number(r, &h, &n);
    if (rc)
        return rc;
    if (n > 2) {
        m = h % 100;
        h /= 100;
    } else if (peek(r) == ':') {
        r->at++;
        if ((rc = read_number(r, &m, &n)))
            return rc;
    }
    if (h > 23 || m > 59)
        return ERR_SYNTAX;
    r->offset_s = sign * (int)(h * 3600 + m * 60);
    r->has_zone = true;
    return 0;
}

static int name_at(const char *const *names, int n, struct slice word)
{
    for (int i = 0; i < n; i++)
        if (word.n >= 3 && slice_istarts(slice_cstr(names[i]), word))
            return i;
    return -1;
}

static int read_word(struct reader *r)
{
    static const struct {
        struct slice name;
        int hours;
    } zones[] = {{{"utc", 3}, 0},  {{"gmt", 3}, 0},  {{"z", 1}, 0},    {{"est", 3}, -5},
                 {{"edt", 3}, -4}, {{"cst", 3}, -6}, {{"cdt", 3}, -5}, {{"mst", 3}, -7},
                 {{"mdt", 3}, -6}, {{"pst", 3}, -8}, {{"pdt", 3}, -7}, {{"jst", 3}, 9}};
    size_t from = r->at;
    while (letter(peek(r)))
        r->at++;
    struct slice word = slice_of(r->s.p + from, r->at - from);
    int month = name_at(months, 12, word);
    if (month >= 0 || slice_ieq(word, S("sept"))) {
        r->month = month < 0 ? 9 : month + 1;
        r->has_month = true;
        return 0;
    }
    if (name_at(weekdays, 7, word) >= 0)
        return 0;
    if (slice_ieq(word, S("am")) || slice_ieq(word, S("pm"))) {
        r->pm = ascii_lower(word.p[0]) == 'p';
        r->am = !r->pm;
        if (!r->has_time && r->numbers) { /* "10 pm" */
            r->hour = r->number[--r->numbers];
            r->has_time = true;
        }
        return 0;
    }
    if (slice_ieq(word, S("t")) || slice_ieq(word, S("at")) || slice_ieq(word, S("of")) ||
        slice_ieq(word, S("on")))
        return 0;
    for (size_t i = 0; i < COUNT(zones); i++)
        if (r->has_time && slice_ieq(word, zones[i].name)) {
            r->offset_s = zones[i].hours * 3600;
            r->has_zone = true;
            return 0;
        }
    return ERR_SYNTAX;
}

/* 2016-03-14, 2016/03, 14/3/2016, 14.3.2016 */
static int read_joined(struct reader *r, int64_t first, int nfirst)
{
    char sep = peek(r);
    int64_t second, third = 0;
    int n, nthird = 0;
    r->at++;
    if (letter(peek(r))) { /* 14-Mar-2016 */
        r->day = first;
        r->has_day = true;
        int rc = read_word(r);
        if (rc || !r->has_month || peek(r) != sep)
            return rc;
        r->at++;
        rc = read_number(r, &r->year, &n);
        r->has_year = true;
        return rc;
    }
    int rc = read_number(r, &second, &n);
    if (rc)
        return rc;
    if (peek(r) == sep && r->at + 1 < r->s.n && digit(r->s.p[r->at + 1])) {
        r->at++;
        if ((rc = read_number(r, &third, &nthird)))
            return rc;
    }
    bool year_first = nfirst > 2 || nthird <= 2;
    if (!nthird && nfirst <= 2) { /* 3/14: month and day */
        r->month = first;
        r->day = second;
        r->has_month = r->has_day = true;
        return 0;
    }
    r->year = year_first ? first : third;
    r->month = second;
    r->day = year_first ? third : first;
    if ((year_first ? nfirst : nthird) <= 2)
        r->year += r->year < 69 ? 2000 : 1900;
    r->has_year = r->has_month = true;
    r->has_day = nthird > 0;
    return 0;
}

static int read_digits(struct reader *r)
{
    int64_t value;
    int n, rc = read_number(r, &value, &n);
    if (rc)
        return rc;
    char c = peek(r);
    if (c == ':' && !r->has_time && n <= 2)
        return read_time(r, value);
    bool more = r->at + 1 < r->s.n;
    if ((c == '-' || c == '/' || c == '.') && more && !r->has_year && (digit(r->s.p[r->at + 1]) || c == '-'))
        return read_joined(r, value, n);
    if (n == 8 && !r->has_year && (c == 't' || c == 'T')) { /* 20160314T102030 */
        r->year = value / 10000;
        r->month = value / 100 % 100;
        r->day = value % 100;
        r->has_year = r->has_month = r->has_day = true;
        return 0;
    }
    if (n == 6 && r->has_year && !r->has_time) {
        r->hour = value / 10000;
        r->minute = value / 100 % 100;
        r->second = value % 100;
        r->has_time = true;
        return 0;
    }
    if (n > 2 && !r->has_year) {
        r->year = value;
        r->has_year = true;
        return 0;
    }
    static const struct slice endings[] = {{"st", 2}, {"nd", 2}, {"rd", 2}, {"th", 2}};
    for (size_t i = 0; i < COUNT(endings); i++)
        if (slice_istarts(slice_of(r->s.p + r->at, r->s.n - r->at), endings[i]))
            r->at += 2;
    if (r->numbers == 3)
        return ERR_SYNTAX;
    r->number[r->numbers++] = value;
    return 0;
}

static int read_all(struct reader *r)
{
    while (r->at < r->s.n) {
        char c = peek(r);
        int rc = 0;
        if (digit(c))
            rc = read_digits(r);
        else if (letter(c))
            rc = read_word(r);
        else if ((c == '+' || c == '-') && r->has_time && !r->has_zone && r->at + 1 < r->s.n &&
                 digit(r->s.p[r->at + 1]))
            rc = read_offset(r);
        else if (value_is_space(c) || c == ',' || c == '.' || c == '(' || c == ')' || c == '\'')
            r->at++;
        else
            return ERR_SYNTAX;
        if (rc)
            return rc;
    }
    return 0;
}

static int read_text(struct slice s, const struct date_zone *zone, struct moment *out)
{
    struct reader r = {.s = s};
    int rc = s.n > 128 ? ERR_SYNTAX : read_all(&r);
    if (rc)
        return rc;
    for (int i = 0; i < r.numbers; i++) /* loose numbers: a day, then a year */
        if (!r.has_day) {
            r.day = r.number[i];
            r.has_day = true;
        } else if (!r.has_year) {
            r.year = r.number[i] + (r.number[i] < 69 ? 2000 : 1900);
            r.has_year = true;
        }
    if (!r.has_year && !r.has_month && !r.has_day && !r.has_time)
        return ERR_SYNTAX;
    struct civil now = civil_of(zone->now_unix_s + offset_of(zone, zone->now_unix_s));
    bool any_date = r.has_year || r.has_month || r.has_day;
    if (!r.has_year)
        r.year = now.year;
    if (!r.has_month)
        r.month = r.has_year ? 1 : now.month;
    if (!r.has_day)
        r.day = any_date ? 1 : now.day;
    if (r.pm && r.hour < 12)
        r.hour += 12;
    if (r.am && r.hour == 12)
        r.hour = 0;
    if (r.month < 1 || r.month > 12 || r.day < 1 || r.day > 31 || r.hour > 24 || r.minute > 59 ||
        r.second > 60 || r.year > YEAR_MOST)
        return ERR_SYNTAX;
    int64_t local =
        days_of(r.year, (int)r.month, (int)r.day) * DAY_S + r.hour * 3600 + r.minute * 60 + r.second;
    out->nanos = r.nanos;
    if (r.has_zone)
        out->offset_s = r.offset_s;
    else {
        /* The offset that holds at that local time: first guess, then look again. */
        int guess = offset_of(zone, local);
        out->offset_s = offset_of(zone, local - guess);
    }
    out->unix_s = local - out->offset_s;
    return 0;
}

static int moment_of(const struct liquid_value *v, const struct date_zone *zone, struct moment *out)
{
    int64_t unix_s;
    if (v->type == LIQUID_INT)
        unix_s = v->i;
    else if (v->type == LIQUID_STRING) {
        struct slice s = value_slice(v);
        bool digits = s.n > 0;
        for (size_t i = 0; i < s.n; i++)
            digits = digits && digit(s.p[i]);
        if (digits)
            unix_s = value_loose_integer(s);
        else if (slice_ieq(s, S("now")) || slice_ieq(s, S("today")))
            unix_s = zone->now_unix_s;
        else
            return read_text(s, zone, out);
    } else
        return ERR_SYNTAX;
    if (unix_s > YEAR_MOST * 366 * DAY_S || unix_s < -YEAR_MOST * 366 * DAY_S)
        return ERR_SYNTAX;
    *out = (struct moment){unix_s, 0, offset_of(zone, unix_s)};
    return 0;
}

/* --- printing --- */

struct directive {
    char pad; /* '0', ' ', '-' for none, or 0: as the directive has it */
    bool up, swap;
    int width, colons;
};

static void add_padded(struct buf *out, const struct directive *d, struct slice s, char pad, int width)
{
    if (d->pad)
        pad = d->pad;
    if (d->width >= 0)
        width = d->width;
    if (pad != '-')
        for (int i = (int)utf8_count(s); i < width; i++)
            buf_addc(out, pad);
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (d->up && c >= 'a' && c <= 'z')
            c = (char)(c - 32);
        else if (d->swap)
            c = ascii_lower(c);
        buf_addc(out, c);
    }
}

static void add_number(struct buf *out, const struct directive *d, int64_t v, char pad, int width)
{
    char text[32];
    size_t at = sizeof text;
    bool minus = v < 0;
    uint64_t u = minus ? -(uint64_t)v : (uint64_t)v;
    do
        text[--at] = (char)('0' + (int)(u % 10));
    while (u /= 10);
    char fill = d->pad ? d->pad : pad;
    int want = d->width >= 0 ? d->width : width;
    if (minus && fill == '0') {
        buf_addc(out, '-');
        want--;
    } else if (minus)
        text[--at] = '-';
    add_padded(out, &(struct directive){.pad = fill, .width = want}, slice_of(text + at, sizeof text - at),
               fill, want);
}

/* ISO 8601 week and its year. */
static int iso_week(const struct civil *c, int64_t *year)
{
    int monday = (c->weekday + 6) % 7, week = (c->yearday - monday + 10) / 7;
    *year = c->year;
    if (week < 1) {
        --*year;
        int before = c->yearday + (is_leap(*year) ? 366 : 365);
        return (before - monday + 10) / 7;
    }
    if (week == 53 && c->yearday - monday + 3 >= (is_leap(c->year) ? 366 : 365)) {
        ++*year;
        return 1;
    }
    return week;
}

static void add_offset(struct buf *out, const struct directive *d, int offset_s)
{
    int u = offset_s < 0 ? -offset_s : offset_s, h = u / 3600, m = u / 60 % 60, s = u % 60;
    char sign = offset_s < 0 ? '-' : '+';
    if (d->colons == 0)
        buf_printf(out, "%c%02d%02d", sign, h, m);
    else if (d->colons == 1)
        buf_printf(out, "%c%02d:%02d", sign, h, m);
    else
        buf_printf(out, "%c%02d:%02d:%02d", sign, h, m, s);
}

static int format_into(struct buf *out, struct slice f, const struct moment *t, const struct civil *c,
                       size_t most);

static void add_name(struct buf *out, const struct directive *d, const char *name, size_t n)
{
    struct directive upper = *d;
    upper.up |= d->swap;
    upper.swap = false;
    add_padded(out, &upper, slice_of(name, n ? n : strlen(name)), ' ', 0);
}

/* Directives that stand for others; NULL if c is none. */
static const char *composed(char c)
{
    switch (c) {
    case 'D':
    case 'x':
        return "%m/%d/%y";
    case 'F':
        return "%Y-%m-%d";
    case 'T':
    case 'X':
        return "%H:%M:%S";
    case 'R':
        return "%H:%M";
    case 'r':
        return "%I:%M:%S %p";
    case 'c':
        return "%a %b %e %H:%M:%S %Y";
    case 'v':
        return "%e-%^b-%Y";
    case '+':
        return "%a %b %e %H:%M:%S %Z %Y";
    }
    return NULL;
}

static bool add_numeric(struct buf *out, char what, const struct directive *d, const struct moment *t,
                        const struct civil *c)
{
    int64_t year;
    int hour12 = c->hour % 12 ? c->hour % 12 : 12;
    switch (what) {
    case 'Y':
        add_number(out, d, c->year, '0', c->year < 0 ? 5 : 4);
        return true;
    case 'C':
        add_number(out, d, floor_div(c->year, 100), '0', 2);
        return true;
    case 'y':
        add_number(out, d, c->year - floor_div(c->year, 100) * 100, '0', 2);
        return true;
    case 'm':
        add_number(out, d, c->month, '0', 2);
        return true;
    case 'd':
        add_number(out, d, c->day, '0', 2);
        return true;
    case 'e':
        add_number(out, d, c->day, ' ', 2);
        return true;
    case 'j':
        add_number(out, d, c->yearday + 1, '0', 3);
        return true;
    case 'H':
        add_number(out, d, c->hour, '0', 2);
        return true;
    case 'k':
        add_number(out, d, c->hour, ' ', 2);
        return true;
    case 'I':
        add_number(out, d, hour12, '0', 2);
        return true;
    case 'l':
        add_number(out, d, hour12, ' ', 2);
        return true;
    case 'M':
        add_number(out, d, c->minute, '0', 2);
        return true;
    case 'S':
        add_number(out, d, c->second, '0', 2);
        return true;
    case 's':
        add_number(out, d, t->unix_s, '0', 1);
        return true;
    case 'u':
        add_number(out, d, c->weekday ? c->weekday : 7, '0', 1);
        return true;
    case 'w':
        add_number(out, d, c->weekday, '0', 1);
        return true;
    case 'U':
        add_number(out, d, (c->yearday + 7 - c->weekday) / 7, '0', 2);
        return true;
    case 'W':
        add_number(out, d, (c->yearday + 7 - (c->weekday + 6) % 7) / 7, '0', 2);
        return true;
    case 'V':
        add_number(out, d, iso_week(c, &year), '0', 2);
        return true;
    case 'G':
        iso_week(c, &year);
        add_number(out, d, year, '0', 4);
        return true;
    case 'g':
        iso_week(c, &year);
        add_number(out, d, year - floor_div(year, 100) * 100, '0', 2);
        return true;
    }
    return false;
}

static bool compile_text(struct buf *out, char what, const struct directive *d, const struct moment *t,
                         const struct civil *c)
{
    char text[16];
    switch (what) {
    case 'A':
    case 'a':
        add_name(out, d, weekdays[c->weekday], what == 'a' ? 3 : 0);
        return true;
    case 'B':
    case 'b':
    case 'h':
        add_name(out, d, months[c->month - 1], what == 'B' ? 0 : 3);
        return true;
    case 'p':
        add_padded(out, d, c->hour < 12 ? S("AM") : S("PM"), ' ', 0);
        return true;
    case 'P':
        add_padded(out, d, c->hour < 12 ? S("am") : S("pm"), ' ', 0);
        return true;
    case 'z':
        add_offset(out, d, t->offset_s);
        return true;
    case 'Z':
        if (t->offset_s)
            add_offset(out, &(struct directive){.colons = 1}, t->offset_s);
        else
            buf_adds(out, S("UTC"));
        return true;
    case 'L':
    case 'N': {
        int n = d->width > 0 ? d->width : what == 'L' ? 3 : 9;
        for (int i = 0, unit = 100000000; i < 9; i++, unit /= 10)
            text[i] = (char)('0' + t->nanos / unit % 10);
        buf_add(out, text, (size_t)(n < 9 ? n : 9));
        for (int i = 9; i < n; i++)
            buf_addc(out, '0');
        return true;
    }
    case 'n':
        buf_addc(out, '\n');
        return true;
    case 't':
        buf_addc(out, '\t');
        return true;
    case '%':
        buf_addc(out, '%');
        return true;
    }
    return false;
}

static int add_directive(struct buf *out, struct slice f, size_t *at, const struct moment *t,
                         const struct civil *c, size_t most)
{
    struct directive d = {.width = -1};
    size_t i = *at + 1;
    for (; i < f.n && strchr("-0^#_:", f.p[i]) && f.p[i]; i++)
        switch (f.p[i]) {
        case '-':
        case '0':
            d.pad = f.p[i];
            break;
        case '_':
            d.pad = ' ';
            break;
        case '^':
            d.up = true;
            break;
        case '#':
            d.swap = true;
            break;
        case ':':
            d.colons++;
            break;
        }
    for (; i < f.n && digit(f.p[i]); i++) {
        d.width = (d.width < 0 ? 0 : d.width) * 10 + (f.p[i] - '0');
        if (d.width > 1024)
            return ERR_LIMIT;
    }
    if (i < f.n && (f.p[i] == 'E' || f.p[i] == 'O') && i + 1 < f.n)
        i++;
    char what = i < f.n ? f.p[i] : 0;
    const char *other = composed(what);
    if (other) {
        size_t from = out->n;
        int rc = format_into(out, slice_cstr(other), t, c, most);
        if (rc)
            return rc;
        for (size_t k = from; d.up && k < out->n; k++)
            if (out->p[k] >= 'a' && out->p[k] <= 'z')
                out->p[k] = (char)(out->p[k] - 32);
    } else if (!add_numeric(out, what, &d, t, c) && !compile_text(out, what, &d, t, c)) {
        size_t end = i < f.n ? i + 1 : f.n;
        buf_add(out, f.p + *at, end - *at); /* what we do not know stays as written */
    }
    *at = i < f.n ? i : f.n - 1;
    return 0;
}

static int format_into(struct buf *out, struct slice f, const struct moment *t, const struct civil *c,
                       size_t most)
{
    for (size_t i = 0; i < f.n; i++) {
        if (out->n > most)
            return ERR_LIMIT;
        if (f.p[i] != '%') {
            buf_addc(out, f.p[i]);
            continue;
        }
        int rc = add_directive(out, f, &i, t, c, most);
        if (rc)
            return rc;
    }
    return 0;
}

int date_format(const struct liquid_value *v, struct slice format, const struct date_zone *zone,
                struct buf *out, size_t most)
{
    struct moment t = {0};
    int rc = moment_of(v, zone, &t);
    if (rc)
        return rc;
    struct civil c = civil_of(t.unix_s + t.offset_s);
    return format_into(out, format, &t, &c, most);
}
