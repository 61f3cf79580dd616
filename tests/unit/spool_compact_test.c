/* spool_compact_test.c - rewriting and dropping segments: positions stay, what is gone is gone, readers
 * notice nothing. */
#include "spool_rig.h"
#include "test.h"

#include <stdlib.h>

struct rewrite {
    struct spool_rewrite rw;
    int calls, rc;
    int keep_every, replace_every;
};

static enum spool_keep filter(struct spool_rewrite *rw, struct spool_pos pos, struct slice payload,
                              struct buf *out)
{
    struct rewrite *x = CONTAINER(rw, struct rewrite, rw);
    uint64_t i;
    INVARIANT(slice_u64(slice_trim(payload), &i) == 0);
    if (x->replace_every && i % (uint64_t)x->replace_every == 0) {
        buf_printf(out, "%d", (int)i);
        return SPOOL_REPLACE;
    }
    return i % (uint64_t)x->keep_every ? SPOOL_DROP : SPOOL_KEEP;
}

static void on_rewritten(struct spool_rewrite *rw, int rc)
{
    struct rewrite *x = CONTAINER(rw, struct rewrite, rw);
    x->calls++;
    x->rc = rc;
}

TEST(a_rewritten_segment_keeps_positions_and_forgets_the_rest)
{
    enum { N = 4000 };
    static struct spool_pos pos[N];
    struct rig r = {.fs = fs_memory()};
    struct rewrite x = {
        .rw = {.segment = 1, .filter = filter, .done = on_rewritten}, .keep_every = 3, .replace_every = 50};
    struct buf got = {0};
    CHECK_INT(rig_open(&r, true), 0);
    for (int i = 0; i < N; i++) {
        pos[i] = rig_put(&r, SPOOL_RECIPIENTS, "%*d", 20 + i % 40, i);
        if (i % 100 == 0)
            rig_put(&r, SPOOL_EVENTS, "%d", i);
    }
    rig_run(&r, 20);
    CHECK_INT(spool_rewrite(r.spool, &x.rw), ERR_INVAL); /* still appended to */
    spool_seal(r.spool, SPOOL_RECIPIENTS);
    uint64_t bytes = spool_bytes(r.spool);
    CHECK_INT(spool_rewrite(r.spool, &x.rw), 0);
    rig_run(&r, 20);
    CHECK_INT(x.calls, 1);
    CHECK_INT(x.rc, 0);
    CHECK_INT(x.rw.kept + x.rw.dropped + x.rw.replaced, N);
    CHECK_INT(x.rw.replaced, N / 50);
    CHECK(spool_bytes(r.spool) < bytes / 2);
    struct fs_stat st;
    CHECK_INT(fs_stat(r.fs, "spool/recipients-0000000001.0", &st, NULL), ERR_NOTFOUND);
    CHECK_INT(fs_stat(r.fs, "spool/recipients-0000000001.1", &st, NULL), 0);
    for (int pass = 0; pass < 3; pass++) { /* now, after a restart, and after a second rewriting */
        for (int i = 0; i < N; i++) {
            buf_clear(&got);
            int rc = spool_read(r.spool, pos[i], &got, &r.err);
            bool there = i % 3 == 0 || i % 50 == 0;
            CHECK_INT(rc, there ? 0 : ERR_NOTFOUND);
            if (there) {
                CHECK_INT(atoi(buf_cstr(&got)), i);
                CHECK_INT(got.n < 20, i % 50 == 0);
            }
        }
        if (pass == 0) {
            rig_close(&r);
            CHECK_INT(rig_open(&r, true), 0);
            size_t at = 0;
            int last = -1;
            for (int i = 0; i < N; i++) {
                if (i % 3 == 0 || i % 50 == 0) {
                    CHECK(at < r.n && r.v[at].kind == SPOOL_RECIPIENTS);
                    CHECK(r.v[at].pos.segment == pos[i].segment && r.v[at].pos.offset == pos[i].offset);
                    last = atoi(buf_cstr(&r.v[at++].payload));
                    CHECK_INT(last, i);
                }
                if (i % 100 == 0) {
                    CHECK(at < r.n && r.v[at].kind == SPOOL_EVENTS);
                    CHECK_INT(atoi(buf_cstr(&r.v[at++].payload)), i);
                }
            }
            CHECK_INT(at, r.n);
        } else if (pass == 1) {
            x.calls = 0;
            CHECK_INT(spool_rewrite(r.spool, &x.rw), 0);
            rig_run(&r, 20);
            CHECK(x.calls == 1 && x.rc == 0 && x.rw.dropped == 0);
        }
    }
    rig_free(&r);
    buf_free(&got);
}

TEST(damage_to_a_rewritten_segment_never_gives_a_wrong_position)
{
    enum { N = 2000 };
    static struct spool_pos pos[N];
    struct rig r = {.fs = fs_memory()};
    struct rewrite x = {.rw = {.segment = 1, .filter = filter, .done = on_rewritten}, .keep_every = 2};
    struct buf file = {0};
    CHECK_INT(rig_open(&r, true), 0);
    for (int i = 0; i < N; i++)
        pos[i] = rig_put(&r, SPOOL_RECIPIENTS, "%10d", i);
    spool_seal(r.spool, SPOOL_RECIPIENTS);
    rig_run(&r, 20);
    CHECK_INT(spool_rewrite(r.spool, &x.rw), 0);
    rig_run(&r, 20);
    rig_close(&r);
    CHECK_INT(fs_read_whole(r.fs, "spool/recipients-0000000001.1", 1 << 20, &file, NULL), 0);
    for (size_t at = 0; at + 1 < file.n; at += 97) {
        file.p[at] ^= 0x55;
        CHECK_INT(fs_write_atomic(r.fs, "spool/recipients-0000000001.1", buf_slice(&file), 0600, NULL), 0);
        file.p[at] ^= 0x55;
        CHECK_INT(rig_open(&r, true), 0);
        CHECK(at < 48 ? r.n == 0 || r.n == N / 2 : r.n >= N / 2 - 200 && r.n < N / 2);
        for (size_t i = 0; i < r.n; i++) {
            int value = atoi(buf_cstr(&r.v[i].payload));
            CHECK(value >= 0 && value < N);
            CHECK(pos[value].offset == r.v[i].pos.offset);
        }
        rig_close(&r);
    }
    rig_free(&r);
    buf_free(&file);
}

static void count_segment(void *data, const struct spool_segment *s)
{
    ++*(int *)data;
}

TEST(a_dropped_segment_is_gone_and_its_number_is_not_used_again)
{
    struct rig r = {.fs = fs_memory()};
    struct rewrite x = {.rw = {.done = on_rewritten}};
    struct buf got = {0};
    struct spool_pos first, second;
    int n = 0;
    CHECK_INT(rig_open(&r, true), 0);
    first = rig_put(&r, SPOOL_RECIPIENTS, "first");
    spool_seal(r.spool, SPOOL_RECIPIENTS);
    second = rig_put(&r, SPOOL_RECIPIENTS, "second");
    spool_seal(r.spool, SPOOL_RECIPIENTS);
    rig_run(&r, 20);
    x.rw.segment = first.segment;
    CHECK_INT(spool_drop(r.spool, &x.rw), 0);
    CHECK_INT(spool_drop(r.spool, &x.rw), ERR_AGAIN);
    rig_run(&r, 20);
    CHECK(x.calls == 1 && x.rc == 0);
    CHECK_INT(spool_read(r.spool, first, &got, &r.err), ERR_NOTFOUND);
    CHECK_INT(spool_read(r.spool, second, &got, &r.err), 0);
    x.rw.segment = second.segment;
    CHECK_INT(spool_drop(r.spool, &x.rw), 0);
    rig_run(&r, 20);
    CHECK(x.calls == 2 && x.rc == 0);
    CHECK_INT(spool_read(r.spool, second, &got, &r.err), ERR_NOTFOUND);
    rig_close(&r);
    CHECK_INT(rig_open(&r, true), 0);
    CHECK_INT(r.n, 0);
    CHECK_INT(rig_put(&r, SPOOL_RECIPIENTS, "third").segment, 3);
    rig_close(&r);
    CHECK_INT(rig_open(&r, true), 0); /* the empty one goes now that there is a higher one */
    spool_segments(r.spool, count_segment, &n);
    CHECK_INT(n, 1);
    rig_free(&r);
    buf_free(&got);
}

TEST(a_rewrite_without_room_leaves_the_segment_as_it_was)
{
    struct rig r = {.fs = fs_memory(), .reserve_bytes = 100};
    struct rewrite x = {.rw = {.segment = 1, .filter = filter, .done = on_rewritten}, .keep_every = 1};
    struct buf got = {0};
    fs_set_faults(r.fs, &(struct fs_faults){.capacity = 8000});
    CHECK_INT(rig_open(&r, true), 0);
    struct spool_pos p = rig_put(&r, SPOOL_RECIPIENTS, "%5000d", 7);
    spool_seal(r.spool, SPOOL_RECIPIENTS);
    rig_run(&r, 20);
    CHECK_INT(spool_rewrite(r.spool, &x.rw), 0);
    rig_run(&r, 20);
    CHECK(x.calls == 1 && x.rc == ERR_FULL);
    CHECK_INT(spool_read(r.spool, p, &got, &r.err), 0);
    struct fs_stat st;
    CHECK_INT(fs_stat(r.fs, "spool/recipients-0000000001.1.tmp", &st, NULL), ERR_NOTFOUND);
    rig_free(&r);
    buf_free(&got);
}

/* --- threads --- */

enum { SHARED_RECORDS = 3000, READS = 4000 };

struct reading {
    struct work_job job;
    struct rig *rig;
    const struct spool_pos *pos;
    int begin, wrong, *left;
};

static void read_many(struct work_job *job, struct work_thread *thread)
{
    struct reading *x = CONTAINER(job, struct reading, job);
    struct buf b = {0};
    for (int k = 0; k < READS; k++) {
        int i = (x->begin + k * 7) % SHARED_RECORDS;
        buf_clear(&b);
        int rc = spool_read(x->rig->spool, x->pos[i], &b, NULL);
        /* Kept ones are there at every moment; dropped ones are or are not. */
        if (rc ? rc != ERR_NOTFOUND || i % 2 == 0 : atoi(buf_cstr(&b)) != i)
            x->wrong++;
    }
    buf_free(&b);
}

static void on_read(struct work_job *job)
{
    struct reading *x = CONTAINER(job, struct reading, job);
    if (--*x->left == 0)
        loop_stop(x->rig->loop);
}

static void on_step(struct loop_timer *t)
{
    struct rig *r = t->data;
    rig_put(r, SPOOL_RECIPIENTS, "1");
    loop_timer_start(r->loop, t, 1, on_step);
}

TEST(readers_on_threads_see_kept_records_while_segments_are_rewritten)
{
    static struct spool_pos pos[SHARED_RECORDS];
    struct rig r = {.fs = fs_real(), .dir = test_dir(), .segment_bytes = 20000};
    struct rewrite x[3] = {{{0}}};
    struct reading readings[6];
    struct loop_timer ticker = {.data = &r};
    int left = (int)COUNT(readings);
    CHECK_INT(rig_open(&r, false), 0);
    for (int i = 0; i < SHARED_RECORDS; i++)
        pos[i] = rig_put(&r, SPOOL_RECIPIENTS, "%d", i);
    rig_run(&r, 50);
    struct work *pool = work_new(&(struct work_conf){.loop = r.loop, .name = "read", .threads = 3});
    for (size_t i = 0; i < COUNT(readings); i++) {
        readings[i] = (struct reading){{read_many, on_read}, &r, pos, (int)i * 511, 0, &left};
        work_submit(pool, &readings[i].job);
    }
    on_step(&ticker);
    for (size_t i = 0; i < COUNT(x); i++) {
        x[i] =
            (struct rewrite){.rw = {.segment = 1, .filter = filter, .done = on_rewritten}, .keep_every = 2};
        while (spool_rewrite(r.spool, &x[i].rw) == ERR_AGAIN)
            rig_run(&r, 2);
        while (!x[i].calls)
            rig_run(&r, 2);
        CHECK_INT(x[i].rc, 0);
    }
    while (left)
        loop_run(r.loop);
    loop_timer_stop(r.loop, &ticker);
    for (size_t i = 0; i < COUNT(readings); i++)
        CHECK_INT(readings[i].wrong, 0);
    work_free(pool);
    rig_free(&r);
}
