/* spool_compact.c - a new generation of a segment, or its end.
 *
 *   load -> copy -> install -> (done)      rewrite, and heal after a failed sync
 *   remove -> (done)                       drop
 *
 * Each step is a job of its own on the sync thread and handles some 4 MiB, with a sync of its own, so that
 * the syncs that people wait for come in between. Until the new file has its name the old one is untouched.
 */
#include "platform/spool_impl.h"
#include "format/frame.h"

#include <stdlib.h>

enum { SLICE_BYTES = 4 << 20 };
enum phase { LOAD, COPY, INSTALL, REMOVE, END };

struct compaction {
    struct work_job job;
    struct spool *sp;
    struct seg *seg;            /* the loop's; the thread uses the copies below */
    struct spool_rewrite *user; /* NULL: heal, keep all */
    bool empties;               /* a drop that leaves the header */
    enum phase phase;
    int rc;
    struct err err;

    struct seg_id old_id, new_id;
    uint64_t first_epoch;
    struct seg_file *old, *new; /* old: held; new: owned until installed */
    struct buf source;          /* the old generation whole */
    uint64_t on_disk;           /* how much of it comes from the file, ... */
    struct buf tail;            /* ... and the rest of it */

    struct seg_reader reader;
    struct file *out_file;
    struct buf out, replacement, frame;
    uint64_t out_at;   /* bytes in out_file */
    uint32_t shift;    /* logical minus physical, as a reader of the new file has it */
    uint64_t at_frame; /* where the last at frame is */
    uint64_t epoch;
};

/* --- on the sync thread --- */

static int load_step(struct compaction *c)
{
    size_t want = c->on_disk - c->source.n < SLICE_BYTES ? (size_t)(c->on_disk - c->source.n) : SLICE_BYTES;
    size_t got = 0;
    int rc = 0;
    buf_reserve(&c->source, want);
    if (want) /* a segment whose file could not even be made has no old file */
        rc = file_pread(c->old->f, c->source.n, c->source.p + c->source.n, want, &got, &c->err);
    if (rc)
        return rc;
    c->source.n += got;
    if (c->source.n < c->on_disk && got == want)
        return 0;
    if (c->source.n < c->on_disk)
        return err_set(&c->err, ERR_CORRUPT, "%s has become shorter", file_path(c->old->f));
    buf_adds(&c->source, buf_slice(&c->tail));

    struct seg_header header = {c->new_id, c->sp->id, c->first_epoch};
    struct buf path = {0};
    seg_reader_init(&c->reader, c->old_id, c->sp->id, buf_slice(&c->source), c->first_epoch, c->epoch, false);
    c->epoch = c->first_epoch;
    seg_header_put(&c->out, &header);
    rc = file_open(c->sp->fs, seg_path(&path, c->sp->dir, c->new_id, true),
                   FILE_READ | FILE_WRITE | FILE_CREATE | FILE_TRUNC, 0600, &c->out_file, &c->err);
    buf_free(&path);
    c->phase = COPY;
    return rc;
}

static void put_control(struct compaction *c, unsigned tag, const void *value, size_t n)
{
    frame_put(&c->out, c->new->salt, tag, slice_of(value, n));
}

static void put_record(struct compaction *c, const struct seg_record *rec, struct slice payload)
{
    if (rec->epoch != c->epoch) {
        put_control(c, TAG_EPOCH, &rec->epoch, sizeof rec->epoch);
        c->epoch = rec->epoch;
    }
    uint64_t physical = c->out_at + c->out.n;
    if ((uint32_t)physical + c->shift != rec->pos.offset || !c->at_frame ||
        physical - c->at_frame >= INDEX_STEP_BYTES) {
        c->at_frame = physical;
        put_control(c, TAG_AT, &rec->pos.offset, sizeof rec->pos.offset);
        physical = c->out_at + c->out.n;
        c->shift = rec->pos.offset - (uint32_t)physical;
    }
    seg_file_mark(c->new, rec->pos.offset, (uint32_t)physical);
    frame_put(&c->out, c->new->salt, TAG_RECORD, payload);
}

static void filter_record(struct compaction *c, const struct seg_record *rec)
{
    struct spool_rewrite *rw = c->user;
    enum spool_keep keep = SPOOL_KEEP;
    buf_clear(&c->replacement);
    if (c->empties)
        keep = SPOOL_DROP;
    else if (rw)
        keep = rw->filter(rw, rec->pos, rec->payload, &c->replacement);
    switch (keep) {
    case SPOOL_KEEP:
        put_record(c, rec, rec->payload);
        if (rw)
            rw->kept++;
        break;
    case SPOOL_REPLACE:
        INVARIANT(c->replacement.n <= SPOOL_RECORD_MOST_BYTES);
        put_record(c, rec, buf_slice(&c->replacement));
        rw->replaced++;
        break;
    case SPOOL_DROP:
        rw->dropped++;
        break;
    }
}

static int copy_step(struct compaction *c)
{
    size_t begin = c->reader.at;
    struct seg_record rec;
    bool more = true;
    while (more && c->out.n < SLICE_BYTES && c->reader.at - begin < SLICE_BYTES) {
        more = seg_reader_next(&c->reader, &rec) == 0;
        if (more)
            filter_record(c, &rec);
    }
    int rc = file_append(c->out_file, buf_slice(&c->out), &c->err);
    if (!rc)
        rc = file_sync(c->out_file, &c->err);
    c->out_at += c->out.n;
    buf_clear(&c->out);
    if (!more)
        c->phase = INSTALL;
    return rc;
}

static int install_step(struct compaction *c)
{
    struct spool *sp = c->sp;
    struct buf from = {0}, to = {0};
    seg_path(&from, sp->dir, c->new_id, true);
    seg_path(&to, sp->dir, c->new_id, false);
    fs_failpoint(sp->fs, "spool.rewrite.before");
    int rc = fs_rename(sp->fs, from.p, to.p, &c->err);
    if (!rc) {
        fs_failpoint(sp->fs, "spool.rewrite.named");
        rc = fs_sync_dir(sp->fs, sp->dir, &c->err);
    }
    if (rc)
        goto out;
    /* From here on the new generation is the segment, whatever else goes wrong. */
    pthread_mutex_lock(&sp->lock);
    c->new->f = c->out_file;
    c->out_file = NULL;
    sp->open_files++;
    c->seg->file = c->new;
    c->new = NULL;
    seg_file_release(sp, c->old); /* the segment's own hold; c->old is still held by the compaction */
    pthread_mutex_unlock(&sp->lock);
    fs_failpoint(sp->fs, "spool.rewrite.after");
    if (c->old_id.generation != c->new_id.generation)
        rc = fs_unlink(sp->fs, seg_path(&from, sp->dir, c->old_id, false), &c->err);
    if (rc == ERR_NOTFOUND)
        rc = 0;
    if (!rc)
        rc = fs_sync_dir(sp->fs, sp->dir, &c->err);
    c->phase = END;
out:
    buf_free(&from);
    buf_free(&to);
    return rc;
}

static int remove_step(struct compaction *c)
{
    struct buf path = {0};
    int rc = fs_unlink(c->sp->fs, seg_path(&path, c->sp->dir, c->old_id, false), &c->err);
    buf_free(&path);
    fs_failpoint(c->sp->fs, "spool.drop.after");
    if (!rc || rc == ERR_NOTFOUND)
        rc = fs_sync_dir(c->sp->fs, c->sp->dir, &c->err);
    c->phase = END;
    return rc;
}

static void run_step(struct work_job *job, struct work_thread *thread)
{
    struct compaction *c = CONTAINER(job, struct compaction, job);
    switch (c->phase) {
    case LOAD:
        c->rc = load_step(c);
        break;
    case COPY:
        c->rc = copy_step(c);
        break;
    case INSTALL:
        c->rc = install_step(c);
        break;
    case REMOVE:
        c->rc = remove_step(c);
        break;
    case END:
        break;
    }
}

/* --- on the loop --- */

static void free_seg_file(struct seg_file *sf)
{
    if (sf) {
        free(sf->marks);
        free(sf);
    }
}

static void compaction_free(struct compaction *c)
{
    struct spool *sp = c->sp;
    if (c->out_file) {
        struct buf path = {0};
        file_close(c->out_file);
        fs_unlink(sp->fs, seg_path(&path, sp->dir, c->new_id, true), NULL); /* else the next start does it */
        buf_free(&path);
    }
    pthread_mutex_lock(&sp->lock);
    seg_file_release(sp, c->old);
    pthread_mutex_unlock(&sp->lock);
    free_seg_file(c->new);
    buf_free(&c->source);
    buf_free(&c->tail);
    buf_free(&c->out);
    buf_free(&c->replacement);
    sp->compaction = NULL;
    free(c);
}

void spool_compaction_abandon(struct spool *sp)
{
    if (sp->compaction)
        compaction_free(sp->compaction);
}

/* The new generation is there, even if something behind that failed. */
static void adopt(struct compaction *c)
{
    struct spool *sp = c->sp;
    struct seg *seg = c->seg;
    seg->id.generation = c->new_id.generation;
    sp->bytes = sp->bytes - seg->end + c->out_at;
    seg->end = seg->tail_at = c->out_at;
    seg->created = seg->named = true;
    if (!c->user) {
        buf_free(&seg->tail);
        seg->written = 0;
        seg->bad = false;
        sp->dir_dirty = true; /* makes the next sync happen, which then speaks for this segment too */
    }
}

static void heal_failed(struct compaction *c)
{
    struct spool *sp = c->sp;
    if (c->rc == ERR_FULL) {
        spool_release_reserve(sp);
        spool_become_full(sp, c->err.text);
    } else {
        spool_notice(sp, c->rc, "%s", c->err.text);
    }
    sp->hold_until_ms = loop_now_ms(sp->conf.loop) + 1000;
}

static void on_step(struct work_job *job)
{
    struct compaction *c = CONTAINER(job, struct compaction, job);
    struct spool *sp = c->sp;
    if (sp->stopping && c->phase != END)
        return; /* spool_free() does the rest */
    if (!c->rc && c->phase != END) {
        work_submit(sp->conf.sync, &c->job);
        return;
    }
    if (c->phase == END && c->old_id.generation != c->new_id.generation)
        adopt(c);
    struct spool_rewrite *user = c->user;
    int rc = c->rc;
    if (rc && !user)
        heal_failed(c);
    compaction_free(c);
    if (user)
        user->done(user, rc);
}

static struct compaction *begin(struct spool *sp, struct seg *seg, struct spool_rewrite *user)
{
    struct compaction *c = mem_zalloc(sizeof *c);
    c->job = (struct work_job){.run = run_step, .done = on_step};
    c->sp = sp;
    c->seg = seg;
    c->user = user;
    c->old_id = c->new_id = seg->id;
    c->first_epoch = seg->first_epoch;
    c->on_disk = seg->tail_at;
    buf_adds(&c->tail, buf_slice(&seg->tail));
    c->epoch = sp->epoch; /* no later than the next segment of this kind, or now */
    for (size_t i = 0; i < sp->nsegs; i++)
        if (sp->segs[i]->id.kind == seg->id.kind && sp->segs[i]->id.sequence > seg->id.sequence) {
            c->epoch = sp->segs[i]->first_epoch;
            break;
        }
    if (user)
        user->kept = user->dropped = user->replaced = 0;
    sp->compaction = c;
    return c;
}

/* A file that a failed sync has touched may be bad to open; what counts is in the tail then. */
static int hold_old(struct compaction *c)
{
    pthread_mutex_lock(&c->sp->lock);
    int rc = c->seg->file ? seg_file_acquire(c->sp, c->seg->file, &c->err) : 0;
    if (!rc)
        c->old = c->seg->file;
    pthread_mutex_unlock(&c->sp->lock);
    return rc;
}

static void start_rewrite(struct compaction *c)
{
    c->new_id.generation++;
    c->new = seg_file_new(c->new_id, c->sp->id);
    c->phase = LOAD;
    work_submit(c->sp->conf.sync, &c->job);
}

void spool_heal(struct spool *sp, struct seg *seg)
{
    struct compaction *c = begin(sp, seg, NULL);
    int rc = hold_old(c);
    if (rc) {
        c->rc = rc;
        heal_failed(c);
        compaction_free(c);
        return;
    }
    start_rewrite(c);
}

static int check(struct spool *sp, struct spool_rewrite *rw, struct seg **out)
{
    struct seg *seg = spool_find_seg(sp, rw->segment);
    if (sp->compaction || sp->stopping)
        return ERR_AGAIN;
    if (!seg)
        return ERR_NOTFOUND;
    if (!seg->sealed || seg->id.kind == SPOOL_NAMES)
        return ERR_INVAL;
    if (seg->is_dirty) /* what was appended to it is being synced */
        return ERR_AGAIN;
    *out = seg;
    return 0;
}

int spool_rewrite(struct spool *sp, struct spool_rewrite *rw)
{
    struct seg *seg;
    int rc = check(sp, rw, &seg);
    if (rc)
        return rc;
    struct compaction *c = begin(sp, seg, rw);
    rc = hold_old(c);
    if (rc) {
        compaction_free(c);
        return rc;
    }
    start_rewrite(c);
    return 0;
}

int spool_drop(struct spool *sp, struct spool_rewrite *rw)
{
    struct seg *seg;
    int rc = check(sp, rw, &seg);
    if (rc)
        return rc;
    bool higher = false;
    for (size_t i = 0; i < sp->nsegs; i++)
        higher |= sp->segs[i]->id.sequence > seg->id.sequence && sp->segs[i]->named;
    struct compaction *c = begin(sp, seg, rw);
    if (!higher) { /* its number must not be given out again */
        c->empties = true;
        rc = hold_old(c);
        if (rc) {
            compaction_free(c);
            return rc;
        }
        start_rewrite(c);
        return 0;
    }
    c->seg = NULL;
    spool_remove_seg(sp, seg);
    c->phase = REMOVE;
    work_submit(sp->conf.sync, &c->job);
    return 0;
}
