/* smtp_intake.c - see smtp_intake.h. */
#include "smtp_intake.h"
#include "base/err.h"

static struct slice first(const struct smtp_intake *in)
{
    if (in->backlog.n > in->backlog_used)
        return slice_of(in->backlog.p + in->backlog_used, in->backlog.n - in->backlog_used);
    return in->fed;
}

/* How many bytes a slow reader has read in all since since_ms. */
static uint64_t may_have_read(const struct smtp_intake *in, int64_t now_ms)
{
    return (uint64_t)(now_ms - in->since_ms) * in->bytes_per_second / 1000;
}

static size_t credit(const struct smtp_intake *in, size_t n, int64_t now_ms)
{
    if (!in->bytes_per_second)
        return n;
    uint64_t all = may_have_read(in, now_ms), left = all > in->taken_bytes ? all - in->taken_bytes : 0;
    return left < n ? (size_t)left : n;
}

void smtp_intake_feed(struct smtp_intake *in, struct slice bytes, int64_t now_ms)
{
    smtp_intake_keep(in);
    if (in->bytes_per_second && first(in).n == 0) {
        in->since_ms = now_ms; /* an idle reader saves up nothing */
        in->taken_bytes = 0;
    }
    in->fed = bytes;
}

size_t smtp_intake_size(const struct smtp_intake *in)
{
    return in->backlog.n - in->backlog_used + in->fed.n;
}

struct slice smtp_intake_look(const struct smtp_intake *in, int64_t now_ms)
{
    struct slice s = first(in);
    s.n = credit(in, s.n, now_ms);
    return s;
}

int smtp_intake_line(struct smtp_intake *in, size_t max, int64_t now_ms, struct slice *line)
{
    for (;;) {
        struct slice s = smtp_intake_look(in, now_ms);
        const char *lf = s.n ? memchr(s.p, '\n', s.n < max ? s.n : max) : NULL;
        if (lf) {
            *line = slice_of(s.p, (size_t)(lf - s.p));
            return 0;
        }
        if (s.n >= max)
            return ERR_LIMIT;
        if (in->backlog.n == in->backlog_used || in->fed.n == 0)
            return ERR_AGAIN;
        smtp_intake_keep(in); /* it goes on in what was just fed */
    }
}

void smtp_intake_take(struct smtp_intake *in, size_t n)
{
    in->taken_bytes += n;
    if (in->backlog.n == in->backlog_used) {
        in->fed = slice_of(in->fed.p + n, in->fed.n - n);
        return;
    }
    in->backlog_used += n;
    if (in->backlog_used == in->backlog.n) {
        buf_clear(&in->backlog);
        in->backlog_used = 0;
    }
}

void smtp_intake_keep(struct smtp_intake *in)
{
    if (in->fed.n == 0)
        return;
    if (in->backlog_used) {
        buf_drop_front(&in->backlog, in->backlog_used);
        in->backlog_used = 0;
    }
    buf_adds(&in->backlog, in->fed);
    in->fed = SLICE_NONE;
}

void smtp_intake_drop(struct smtp_intake *in)
{
    in->fed = SLICE_NONE;
    buf_clear(&in->backlog);
    in->backlog_used = 0;
}

int64_t smtp_intake_due(const struct smtp_intake *in, int64_t now_ms)
{
    size_t n = first(in).n;
    if (credit(in, n, now_ms) == n)
        return INT64_MAX;
    uint64_t bps = in->bytes_per_second, next = (may_have_read(in, now_ms) + 1) * 1000;
    return in->since_ms + (int64_t)((next + bps - 1) / bps);
}

void smtp_intake_free(struct smtp_intake *in)
{
    buf_free(&in->backlog);
}
