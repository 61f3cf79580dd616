/* text.c - see text.h. */
#include "format/text.h"
#include "format/charset.h"

/* Characters that no terminal shows but that change how it shows the others. */
static bool steers(uint32_t cp)
{
    return cp_is_control(cp) || cp == 0x061c || cp == 0x200e || cp == 0x200f ||
           (cp >= 0x2028 && cp <= 0x202e) || (cp >= 0x2066 && cp <= 0x2069);
}

static void put_escaped(struct buf *out, uint32_t cp)
{
    if (cp == '\n')
        buf_adds(out, S("\\n"));
    else if (cp == '\r')
        buf_adds(out, S("\\r"));
    else if (cp == '\t')
        buf_adds(out, S("\\t"));
    else if (cp < 0x100)
        buf_printf(out, "\\x%02x", (unsigned)cp);
    else
        buf_printf(out, "\\u%04x", (unsigned)cp);
}

void text_safe(struct buf *out, struct slice s)
{
    while (s.n) {
        uint32_t cp;
        int n = utf8_decode(s, &cp);
        if (n <= 0)
            buf_adds(out, S("\xef\xbf\xbd"));
        else if (steers(cp))
            put_escaped(out, cp);
        else
            buf_add(out, s.p, (size_t)n);
        s = slice_of(s.p + (n > 0 ? n : 1), s.n - (size_t)(n > 0 ? n : 1));
    }
}

struct range {
    uint32_t first, last;
};

static bool within(const struct range *r, size_t n, uint32_t cp)
{
    for (size_t i = 0; i < n && r[i].first <= cp; i++)
        if (cp <= r[i].last)
            return true;
    return false;
}

static size_t width_of(uint32_t cp)
{
    static const struct range joined[] = {
        {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x064b, 0x065f}, {0x0e31, 0x0e31},
        {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e}, {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x200b, 0x200d},
        {0x20d0, 0x20ff}, {0x3099, 0x309a}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f}, {0xe0100, 0xe01ef}};
    static const struct range wide[] = {
        {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},   {0x25fd, 0x25fe},
        {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26a1, 0x26a1},   {0x26bd, 0x26be},   {0x2705, 0x2705},
        {0x270a, 0x270b},   {0x2728, 0x2728},   {0x274c, 0x274c},   {0x2753, 0x2755},   {0x2795, 0x2797},
        {0x2b1b, 0x2b1c},   {0x2b50, 0x2b50},   {0x2e80, 0x303e},   {0x3041, 0x3247},   {0x3250, 0x4dbf},
        {0x4e00, 0xa4c6},   {0xa960, 0xa97c},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe10, 0xfe19},
        {0xfe30, 0xfe6b},   {0xff01, 0xff60},   {0xffe0, 0xffe6},   {0x16fe0, 0x18cff}, {0x1b000, 0x1b2ff},
        {0x1f004, 0x1f004}, {0x1f0cf, 0x1f0cf}, {0x1f18e, 0x1f19a}, {0x1f200, 0x1f320}, {0x1f32d, 0x1f64f},
        {0x1f680, 0x1f6ff}, {0x1f7e0, 0x1f7eb}, {0x1f900, 0x1f9ff}, {0x1fa70, 0x1faff}, {0x20000, 0x3fffd}};
    if (cp < 0x300)
        return 1;
    return within(joined, COUNT(joined), cp) ? 0 : within(wide, COUNT(wide), cp) ? 2 : 1;
}

static size_t measure(struct slice s, size_t at_most, size_t *columns)
{
    size_t at = 0;
    *columns = 0;
    while (at < s.n) {
        uint32_t cp = 0;
        int n = utf8_decode(slice_of(s.p + at, s.n - at), &cp);
        size_t w = n > 0 ? width_of(cp) : 1;
        if (w > at_most - *columns)
            break;
        *columns += w;
        at += n > 0 ? (size_t)n : 1;
    }
    return at;
}

size_t text_width(struct slice s)
{
    size_t columns;
    measure(s, SIZE_MAX, &columns);
    return columns;
}

size_t text_fit(struct slice s, size_t columns)
{
    size_t unused;
    return measure(s, columns, &unused);
}

static void blanks(struct buf *out, struct slice s, size_t columns)
{
    for (size_t w = text_width(s); w < columns; w++)
        buf_addc(out, ' ');
}

void text_left(struct buf *out, struct slice s, size_t columns)
{
    buf_adds(out, s);
    blanks(out, s, columns);
}

void text_cell(struct buf *out, struct slice s, size_t columns)
{
    struct buf safe = {0};
    text_safe(&safe, s);
    text_left(out, slice_of(buf_slice(&safe).p, text_fit(buf_slice(&safe), columns)), columns);
    buf_adds(out, S("  "));
    buf_free(&safe);
}

void text_right(struct buf *out, struct slice s, size_t columns)
{
    blanks(out, s, columns);
    buf_adds(out, s);
}

void text_count(struct buf *out, uint64_t n)
{
    char digits[32];
    size_t at = sizeof digits;
    for (int i = 0; i == 0 || n; i++, n /= 10) {
        if (i && i % 3 == 0)
            digits[--at] = ',';
        digits[--at] = (char)('0' + n % 10);
    }
    buf_add(out, digits + at, sizeof digits - at);
}

void text_percent(struct buf *out, uint64_t part, uint64_t whole)
{
    if (!whole) {
        buf_addc(out, '-');
        return;
    }
    unsigned __int128 hundredths = ((unsigned __int128)part * 20000 + whole) / ((unsigned __int128)whole * 2);
    text_count(out, (uint64_t)(hundredths / 100));
    buf_printf(out, ".%02u %%", (unsigned)(hundredths % 100));
}

/* --- times --- */

static void put_digits(char *to, unsigned value, int n)
{
    while (n--) {
        to[n] = (char)('0' + value % 10);
        value /= 10;
    }
}

/* "YYYY-MM-DDTHH:MM:SS.mmmZ" into 24 bytes. Days since 1970 to a date of the Gregorian calendar, counted in
 * years that begin in March so that the leap day is the last. */
static void civil(char *to, int64_t ms)
{
    const int64_t first = -62167219200000, last = 253402300799999;
    ms = ms < first ? first : ms > last ? last : ms;
    int64_t since_0 = ms - first; /* 0000-01-01 */
    unsigned in_day = (unsigned)(since_0 % 86400000);
    int64_t day = since_0 / 86400000 - 60 + 146097; /* since 1 March of the year -400 */
    int64_t era = day / 146097;
    unsigned of_era = (unsigned)(day % 146097);
    unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned month = (5 * of_year + 2) / 153; /* 0: March */
    unsigned day_of_month = of_year - (153 * month + 2) / 5 + 1;
    int64_t year = era * 400 + year_of_era - 400 + (month >= 10);
    memcpy(to, "0000-00-00T00:00:00.000Z", 24);
    put_digits(to, (unsigned)year, 4);
    put_digits(to + 5, month < 10 ? month + 3 : month - 9, 2);
    put_digits(to + 8, day_of_month, 2);
    put_digits(to + 11, in_day / 3600000, 2);
    put_digits(to + 14, in_day / 60000 % 60, 2);
    put_digits(to + 17, in_day / 1000 % 60, 2);
    put_digits(to + 20, in_day % 1000, 3);
}

void text_time(struct buf *out, int64_t utc_ms)
{
    char text[24];
    civil(text, utc_ms);
    buf_add(out, text, sizeof text);
}

void text_time_plain(struct buf *out, int64_t utc_ms)
{
    char text[24];
    civil(text, utc_ms);
    text[10] = ' ';
    buf_add(out, text, 19);
}

void text_time_json(struct buf *out, int64_t utc_ms)
{
    if (!utc_ms) {
        buf_adds(out, S("null"));
        return;
    }
    buf_addc(out, '"');
    text_time(out, utc_ms);
    buf_addc(out, '"');
}
