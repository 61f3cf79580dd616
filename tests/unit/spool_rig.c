/* spool_rig.c - see spool_rig.h. */
#include "spool_rig.h"
#include "test.h"

#include <stdlib.h>

static void forget(struct rig *r)
{
    for (size_t i = 0; i < r->n; i++)
        buf_free(&r->v[i].payload);
    free(r->v);
    r->v = NULL;
    r->n = 0;
}

static int on_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    struct rig *r = data;
    if (!(r->n & (r->n - 1)))
        r->v = mem_realloc(r->v, (r->n ? r->n * 2 : 1) * sizeof *r->v);
    struct rig_record *rec = &r->v[r->n++];
    *rec = (struct rig_record){kind, pos, {0}};
    buf_adds(&rec->payload, payload);
    return 0;
}

static void on_notice(void *data, int code, const char *text)
{
    struct rig *r = data;
    r->last_code = code;
    buf_printf(&r->notices, "%s\n", text);
}

int rig_open(struct rig *r, bool is_virtual)
{
    forget(r);
    buf_clear(&r->notices);
    if (!r->dir)
        r->dir = "spool";
    r->loop = is_virtual ? loop_new_virtual(1, 0) : loop_new_real();
    r->work = work_new(&(struct work_conf){.loop = r->loop, .name = "sync", .threads = 1});
    struct spool_conf conf = {.fs = r->fs,
                              .dir = r->dir,
                              .loop = r->loop,
                              .sync = r->work,
                              .segment_bytes = r->segment_bytes,
                              .journal_max = r->journal_max,
                              .reserve_bytes = r->reserve_bytes,
                              .notice = on_notice,
                              .notice_data = r};
    int rc = spool_open(&r->spool, &conf, on_record, r, &r->report, &r->err);
    if (rc) {
        work_free(r->work);
        loop_free(r->loop);
        r->loop = NULL;
    }
    return rc;
}

void rig_close(struct rig *r)
{
    if (!r->loop)
        return;
    spool_stop(r->spool);
    work_free(r->work);
    spool_free(r->spool);
    loop_free(r->loop);
    r->loop = NULL;
}

int rig_scan(struct rig *r)
{
    forget(r);
    return spool_scan(r->fs, r->dir, on_record, on_notice, r, &r->report, &r->err);
}

void rig_free(struct rig *r)
{
    rig_close(r);
    forget(r);
    buf_free(&r->notices);
    fs_free(r->fs);
}

static void on_time(struct loop_timer *t)
{
    loop_stop(t->data);
}

void rig_run(struct rig *r, int64_t ms)
{
    struct loop_timer t = {.data = r->loop};
    loop_timer_start(r->loop, &t, ms, on_time);
    loop_run(r->loop);
    loop_timer_stop(r->loop, &t);
}

struct spool_pos rig_put(struct rig *r, enum spool_kind kind, const char *fmt, ...)
{
    struct buf b = {0};
    struct spool_pos pos = {0, 0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&b, fmt, ap);
    va_end(ap);
    if (spool_append(r->spool, kind, buf_slice(&b), &pos)) {
        fprintf(stderr, "append refused\n");
        abort();
    }
    buf_free(&b);
    return pos;
}

struct slice rig_text(struct rig *r, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < r->n; i++)
        buf_printf(out, "%c:%.*s ", "nre"[r->v[i].kind], SLICE_FMT(buf_slice(&r->v[i].payload)));
    return buf_slice(out);
}
