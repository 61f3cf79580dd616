/* words.c - see words.h. */
#include "base/words.h"
#include "base/err.h"

static const struct {
    const char *word;
    int64_t ms;
} units[] = {
    {"ms", 1},          {"s", 1000},       {"sec", 1000},       {"second", 1000},     {"seconds", 1000},
    {"min", 60000},     {"mins", 60000},   {"minute", 60000},   {"minutes", 60000},   {"m", 60000},
    {"h", 3600000},     {"hour", 3600000}, {"hours", 3600000},  {"d", 86400000},      {"day", 86400000},
    {"days", 86400000}, {"w", 604800000},  {"week", 604800000}, {"weeks", 604800000},
};

/* "30 min" → 30, "min". What slice_u64() says of the digits. */
static int cut_number(struct slice text, uint64_t *number, struct slice *unit)
{
    size_t digits = 0;
    text = slice_trim(text);
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    *unit = slice_trim(slice_of(text.p + digits, text.n - digits));
    return slice_u64(slice_of(text.p, digits), number);
}

int words_duration(struct slice text, int64_t *ms)
{
    text = slice_trim(text);
    if (slice_eq(text, S("forever"))) {
        *ms = INT64_MAX;
        return 0;
    }
    uint64_t number;
    struct slice unit;
    int r = cut_number(text, &number, &unit);
    if (r)
        return r;
    if (!unit.n && !number) {
        *ms = 0;
        return 0;
    }
    for (size_t i = 0; i < COUNT(units); i++) {
        if (!slice_eq(unit, slice_cstr(units[i].word)))
            continue;
        if (number > (uint64_t)(INT64_MAX / 4 / units[i].ms))
            return ERR_RANGE;
        *ms = (int64_t)number * units[i].ms;
        return 0;
    }
    return ERR_SYNTAX;
}

int words_size(struct slice text, uint64_t *bytes)
{
    static const char *const sizes[2][4] = {{"kB", "MB", "GB", "TB"}, {"KiB", "MiB", "GiB", "TiB"}};
    uint64_t number;
    struct slice unit;
    int r = cut_number(text, &number, &unit);
    if (r)
        return r;
    for (int binary = 0; binary < 2; binary++) {
        uint64_t each = 1;
        for (int i = 0; i < 4; i++) {
            each *= binary ? 1024 : 1000;
            if (!slice_eq(unit, slice_cstr(sizes[binary][i])))
                continue;
            if (number > INT64_MAX / each)
                return ERR_RANGE;
            *bytes = number * each;
            return 0;
        }
    }
    return ERR_SYNTAX;
}

int words_rate(struct slice text, int64_t *count, int64_t *per_ms)
{
    struct slice per, number = slice_trim(slice_cut(slice_trim(text), '/', &per));
    per = slice_trim(per);
    uint64_t n;
    int64_t ms;
    int r = slice_u64(number, &n);
    if (r)
        return r;
    if (per.n && (per.p[0] < '0' || per.p[0] > '9')) {
        char one[32] = "1 ";
        if (per.n > sizeof one - 3)
            return ERR_SYNTAX;
        memcpy(one + 2, per.p, per.n);
        r = words_duration(slice_of(one, per.n + 2), &ms);
    } else {
        r = words_duration(per, &ms);
    }
    if (r)
        return r;
    if (!n || n > INT32_MAX || !ms || ms > INT64_MAX / 4)
        return ERR_RANGE;
    *count = (int64_t)n;
    *per_ms = ms;
    return 0;
}

void words_duration_text(struct buf *out, int64_t ms)
{
    static const struct {
        const char *word;
        int64_t ms;
    } steps[] = {{"days", 86400000}, {"h", 3600000}, {"min", 60000}, {"s", 1000}};
    if (ms < 0) {
        buf_addc(out, '-');
        ms = -ms;
    }
    if (ms < 1000) {
        buf_printf(out, "%d ms", (int)ms);
        return;
    }
    /* Two neighbouring units are as exact as anybody reads. */
    size_t i = 0;
    while (ms < steps[i].ms)
        i++;
    int64_t whole = ms / steps[i].ms;
    buf_printf(out, "%lld %s", (long long)whole, i == 0 && whole == 1 ? "day" : steps[i].word);
    if (i + 1 < COUNT(steps)) {
        int64_t part = ms % steps[i].ms / steps[i + 1].ms;
        if (part)
            buf_printf(out, " %lld %s", (long long)part, steps[i + 1].word);
    }
}

/* Insertions, deletions, substitutions and swaps of neighbours (optimal string alignment), without case. */
static size_t edit_distance(struct slice a, struct slice b)
{
    enum { LONGEST = 48 };
    size_t d[LONGEST + 1][LONGEST + 1];
    if (a.n > LONGEST || b.n > LONGEST)
        return LONGEST;
    for (size_t i = 0; i <= a.n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= b.n; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        for (size_t j = 1; j <= b.n; j++) {
            char x = ascii_lower(a.p[i - 1]), y = ascii_lower(b.p[j - 1]);
            size_t best = d[i - 1][j - 1] + (x != y);
            if (d[i - 1][j] + 1 < best)
                best = d[i - 1][j] + 1;
            if (d[i][j - 1] + 1 < best)
                best = d[i][j - 1] + 1;
            if (i > 1 && j > 1 && x == ascii_lower(b.p[j - 2]) && y == ascii_lower(a.p[i - 2]) &&
                d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[a.n][b.n];
}

struct slice words_near(struct slice word, const struct slice *names, size_t n)
{
    size_t limit = word.n / 3 ? word.n / 3 : 1;
    struct slice best = SLICE_NONE;
    for (size_t i = 0; i < n; i++) {
        size_t d = edit_distance(word, names[i]);
        if (d <= limit) {
            best = names[i];
            if (!d)
                break;
            limit = d - 1;
        }
    }
    return best;
}
