/* progress.c - see progress.h. */
#include "progress.h"
#include "base/words.h"
#include "format/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { DRAW_EVERY_MS = 200, SAMPLES = 25 /* of one drawing each: the rate is that of 5 s */ };

static void add_field(struct buf *out, const struct buf *field, size_t columns)
{
    size_t blanks = out->n ? 3 : 0;
    if (!field->n || text_width(buf_slice(out)) + blanks + text_width(buf_slice(field)) > columns)
        return;
    buf_add(out, "   ", blanks);
    buf_adds(out, buf_slice(field));
}

void progress_line(struct buf *out, const struct progress_counts *c, int64_t rate_tenths, size_t columns)
{
    struct buf field = {0}, line = {0};
    uint64_t ended = c->delivered + c->bounced;
    text_count(&field, c->delivered);
    if (c->total) {
        buf_adds(&field, S(" of "));
        text_count(&field, c->total);
        if (c->reading)
            buf_addc(&field, '+');
    }
    buf_adds(&field, S(" sent"));
    add_field(&line, &field, columns);
    buf_clear(&field);
    if (rate_tenths >= 0) {
        if (rate_tenths >= 100)
            text_count(&field, (uint64_t)(rate_tenths + 5) / 10);
        else
            buf_printf(&field, "%d.%d", (int)(rate_tenths / 10), (int)(rate_tenths % 10));
        buf_adds(&field, S("/s"));
        add_field(&line, &field, columns);
    }
    buf_clear(&field);
    uint64_t apart = ended + c->deferred;
    if (rate_tenths > 0 && c->total > apart && !c->reading) {
        words_duration_text(&field, (int64_t)((c->total - apart) * 10 / (uint64_t)rate_tenths + 1) * 1000);
        buf_adds(&field, S(" left"));
        add_field(&line, &field, columns);
    }
    buf_clear(&field);
    if (c->deferred) {
        buf_adds(&field, S("deferred "));
        text_count(&field, c->deferred);
        add_field(&line, &field, columns);
    }
    buf_clear(&field);
    if (c->bounced) {
        buf_adds(&field, S("bounced "));
        text_count(&field, c->bounced);
        add_field(&line, &field, columns);
    }
    buf_adds(out, buf_slice(&line));
    buf_free(&field);
    buf_free(&line);
}

struct sample {
    int64_t now_ms;
    uint64_t ended;
};

struct progress {
    struct loop *loop;
    struct loop_timer timer;
    void (*counts)(void *data, struct progress_counts *out);
    void *data;
    struct sample samples[SAMPLES]; /* a ring */
    size_t nsamples;                /* ever taken */
    bool drawn;
    struct buf line;
};

static int64_t take_rate(struct progress *p, const struct progress_counts *c)
{
    struct sample now = {loop_now_ms(p->loop), c->delivered + c->bounced};
    size_t oldest = p->nsamples < SAMPLES ? 0 : p->nsamples % SAMPLES;
    struct sample first = p->nsamples ? p->samples[oldest] : now;
    p->samples[p->nsamples++ % SAMPLES] = now;
    int64_t ms = now.now_ms - first.now_ms;
    return ms < 1000 ? -1 : (int64_t)((now.ended - first.ended) * 10000 / (uint64_t)ms);
}

static size_t terminal_columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 2)
        return 79;
    return size.ws_col - 1u; /* the last column would move the cursor on, on some terminals */
}

static void on_draw(struct loop_timer *t)
{
    struct progress *p = CONTAINER(t, struct progress, timer);
    struct progress_counts c = {0};
    p->counts(p->data, &c);
    buf_clear(&p->line);
    buf_adds(&p->line, S("\r"));
    progress_line(&p->line, &c, take_rate(p, &c), terminal_columns());
    buf_adds(&p->line, S("\x1b[K")); /* clear to the end of the line */
    fwrite(p->line.p, 1, p->line.n, stderr);
    fflush(stderr);
    p->drawn = true;
    loop_timer_start(p->loop, &p->timer, DRAW_EVERY_MS, on_draw);
}

struct progress *progress_new(struct loop *loop, bool wanted,
                              void (*counts)(void *data, struct progress_counts *out), void *data)
{
    if (!wanted || !isatty(STDERR_FILENO))
        return NULL;
    struct progress *p = mem_zalloc(sizeof *p);
    p->loop = loop;
    p->counts = counts;
    p->data = data;
    loop_timer_start(loop, &p->timer, DRAW_EVERY_MS, on_draw);
    return p;
}

void progress_erase(struct progress *p)
{
    if (!p || !p->drawn)
        return;
    fputs("\r\x1b[K", stderr);
    fflush(stderr);
    p->drawn = false;
}

void progress_free(struct progress *p)
{
    if (!p)
        return;
    progress_erase(p);
    loop_timer_stop(p->loop, &p->timer);
    buf_free(&p->line);
    free(p);
}
