/* rank.c - see rank.h. */
#include "format/rank.h"

enum { MILLION = 1000000, YEAR_MOST = 9999 };
#define NUMBER_MOST (INT64_MAX / MILLION / 10)

struct reader {
    struct slice rest;
};

static bool take(struct reader *r, char c)
{
    if (!r->rest.n || r->rest.p[0] != c)
        return false;
    r->rest = slice_of(r->rest.p + 1, r->rest.n - 1);
    return true;
}

/* At most so many digits; -1: there is none. */
static int64_t digits(struct reader *r, size_t most)
{
    int64_t v = 0;
    size_t n = 0;
    while (n < most && n < r->rest.n && r->rest.p[n] >= '0' && r->rest.p[n] <= '9')
        v = v * 10 + (r->rest.p[n++] - '0');
    r->rest = slice_of(r->rest.p + n, r->rest.n - n);
    return n ? v : -1;
}

static int64_t number(struct slice text)
{
    struct reader r = {text};
    bool minus = take(&r, '-');
    int64_t whole = 0, part = 0, scale = MILLION;
    bool any = false;
    while (r.rest.n && r.rest.p[0] != '.') {
        if (any && take(&r, ','))
            continue;
        int64_t d = digits(&r, 1);
        if (d < 0)
            return RANK_NONE;
        any = true;
        whole = whole < NUMBER_MOST ? whole * 10 + d : whole;
    }
    if (take(&r, '.')) {
        while (r.rest.n) {
            int64_t d = digits(&r, 1);
            if (d < 0)
                return RANK_NONE;
            any = true;
            scale /= 10;
            part += d * scale;
        }
    }
    int64_t v = whole * MILLION + part;
    return !any ? RANK_NONE : minus ? -v : v;
}

/* As the digits of the date and time one behind the other: 20260701103000. */
static int64_t date(struct slice text)
{
    struct reader r = {text};
    int64_t v[6] = {0};
    v[0] = digits(&r, 4);
    char between = r.rest.n ? r.rest.p[0] : 0;
    if (v[0] < 1 || v[0] > YEAR_MOST || (between != '-' && between != '/'))
        return RANK_NONE;
    for (int i = 1; i < 3; i++)
        if (!take(&r, between) || (v[i] = digits(&r, 2)) < 1)
            return RANK_NONE;
    if (v[1] > 12 || v[2] > 31)
        return RANK_NONE;
    if (take(&r, ' ') || take(&r, 'T')) {
        v[3] = digits(&r, 2);
        v[4] = take(&r, ':') ? digits(&r, 2) : -1;
        v[5] = take(&r, ':') ? digits(&r, 2) : 0;
        if (v[3] < 0 || v[3] > 24 || v[4] < 0 || v[4] > 59 || v[5] < 0 || v[5] > 60)
            return RANK_NONE;
    } else if (r.rest.n) {
        return RANK_NONE;
    }
    return ((((v[0] * 100 + v[1]) * 100 + v[2]) * 100 + v[3]) * 100 + v[4]) * 100 + v[5];
}

int64_t rank_of(struct slice text)
{
    struct slice s = slice_trim(text);
    int64_t d = date(s);
    return d != RANK_NONE ? d : number(s);
}
