/* spool_life.c - opening a spool: lock, replay, taking over what an earlier process left; and closing it. */
#include "platform/spool_impl.h"

#include <inttypes.h>
#include <stdlib.h>

/* How did the last process end? Its `run` file is there unless it ended well, and names the boot it ran in.
 */
static enum spool_last_stop look_at_run(struct spool *sp, struct buf *boot)
{
    struct buf path = {0}, was = {0};
    enum spool_last_stop stop = SPOOL_CLEAN;
    if (fs_read_whole(sp->fs, "/proc/sys/kernel/random/boot_id", 100, boot, NULL))
        buf_clear(boot);
    int rc = fs_read_whole(sp->fs, spool_path(sp, "run", &path), 100, &was, NULL);
    if (rc != ERR_NOTFOUND)
        stop = !rc && boot->n && slice_eq(buf_slice(&was), buf_slice(boot)) ? SPOOL_KILLED : SPOOL_POWER_LOSS;
    buf_free(&path);
    buf_free(&was);
    return stop;
}

/* See read_spool_id(). */
static int write_id(struct spool *sp, struct err *err)
{
    struct buf path = {0}, text = {0};
    while (!sp->id)
        loop_random_bytes(sp->conf.loop, &sp->id, sizeof sp->id);
    buf_printf(&text, "hato spool %d %016" PRIx64 "\n", SPOOL_VERSION, sp->id);
    int rc = fs_write_atomic(sp->fs, spool_path(sp, "id", &path), buf_slice(&text), 0600, err);
    buf_free(&path);
    buf_free(&text);
    return rc;
}

static int cut_tail(struct spool *sp, const struct found_segment *s, bool sync, struct err *err)
{
    struct buf path = {0};
    struct file *f;
    int rc = 0;
    if (s->whole_bytes == s->bytes && !sync)
        return 0;
    rc = file_open(sp->fs, seg_path(&path, sp->dir, s->id, false), FILE_READ | FILE_WRITE, 0, &f, err);
    buf_free(&path);
    if (rc)
        return rc;
    if (s->whole_bytes < s->bytes)
        rc = file_truncate(f, s->whole_bytes, err);
    if (!rc)
        rc = file_sync(f, err);
    file_close(f);
    return rc;
}

/* Take over what was found: old files go, torn tails are cut, and what was read is made durable, because from
 * now on it counts as that. */
static int take_over(struct spool *sp, struct found *found, bool clean, struct err *err)
{
    struct buf path = {0};
    int rc = 0;
    for (size_t i = 0; !rc && i < found->nstale; i++)
        rc = fs_unlink(sp->fs, found->stale[i], err);
    for (size_t i = 0; !rc && i < found->n; i++) {
        struct found_segment *s = &found->v[i];
        if (s->empty && (s->header_damaged || s->id.sequence != found->highest)) {
            rc = fs_unlink(sp->fs, seg_path(&path, sp->dir, s->id, false), err);
            continue;
        }
        rc = cut_tail(sp, s, !clean, err);
        if (rc)
            break;
        struct seg *seg = mem_zalloc(sizeof *seg);
        seg->id = s->id;
        seg->first_epoch = s->header.epoch <= sp->epoch ? s->header.epoch : sp->epoch;
        seg->end = seg->tail_at = s->whole_bytes;
        seg->sealed = seg->created = seg->named = true;
        seg->file = s->file;
        s->file = NULL;
        spool_add_seg(sp, seg);
    }
    buf_free(&path);
    return rc ? rc : fs_sync_dir(sp->fs, sp->dir, err);
}

static void free_all(struct spool *sp)
{
    spool_compaction_abandon(sp);
    while (sp->ndirty)
        sp->dirty[--sp->ndirty]->is_dirty = false;
    while (sp->nsegs)
        spool_remove_seg(sp, sp->segs[sp->nsegs - 1]);
    file_close(sp->lock_file);
    pthread_mutex_destroy(&sp->lock);
    spool_writer_free(sp);
    free(sp->segs);
    free(sp->dir);
    free(sp);
}

static struct spool *spool_new(const struct spool_conf *conf)
{
    struct spool *sp = mem_zalloc(sizeof *sp);
    sp->conf = *conf;
    if (!sp->conf.segment_bytes)
        sp->conf.segment_bytes = 64u << 20;
    if (!sp->conf.reserve_bytes)
        sp->conf.reserve_bytes = 16u << 20;
    if (!sp->conf.sync_delay_ms)
        sp->conf.sync_delay_ms = 10;
    INVARIANT(sp->conf.segment_bytes <= 1u << 30);
    sp->fs = conf->fs;
    sp->dir = mem_dup(conf->dir, strlen(conf->dir));
    spool_writer_init(sp);
    pthread_mutex_init(&sp->lock, NULL);
    return sp;
}

int spool_lock(struct fs *fs, const char *dir, struct file **out, struct err *err)
{
    struct buf path = {0};
    buf_printf(&path, "%s/lock", dir);
    int rc = fs_mkdir(fs, dir, 0700, err);
    if (!rc)
        rc = fs_lock(fs, buf_cstr(&path), out, err);
    buf_free(&path);
    return rc;
}

int spool_open(struct spool **out, const struct spool_conf *conf, spool_replay_fn fn, void *data,
               struct spool_report *report, struct err *err)
{
    struct spool *sp = spool_new(conf);
    struct found found = {0};
    struct buf path = {0}, boot = {0};
    struct spool_report unused;
    if (!report)
        report = &unused;
    *report = (struct spool_report){0};
    sp->lock_file = conf->lock;
    int rc = conf->lock ? 0 : spool_lock(sp->fs, sp->dir, &sp->lock_file, err);
    if (rc)
        goto out;
    report->last_stop = look_at_run(sp, &boot);
    rc = found_list(sp->fs, sp->dir, &found, err);
    if (rc)
        goto out;
    rc = found_replay(sp->fs, sp->dir, &found, true, fn, conf->notice, data, conf->notice_data, report, err);
    if (rc)
        goto out;
    sp->id = found.spool_id;
    rc = found.has_id_file ? 0 : write_id(sp, err);
    if (rc == ERR_FULL && found.spool_id) /* the headers have it too */
        rc = 0;
    if (rc)
        goto out;
    sp->epoch = found.epoch + 1;
    sp->next_sequence = found.highest + 1;
    rc = take_over(sp, &found, report->last_stop == SPOOL_CLEAN, err);
    if (rc)
        goto out;
    sp->leaves_run = conf->aside && report->last_stop != SPOOL_CLEAN;
    if (!sp->leaves_run)
        rc = fs_write_atomic(sp->fs, spool_path(sp, "run", &path), buf_slice(&boot), 0600, err);
    if (rc && rc != ERR_FULL)
        goto out;
    rc = 0;
    if (!spool_make_reserve(sp, false))
        spool_become_full(sp, "no room for the reserve: no new mail is taken");
    loop_hook_add(conf->loop, &sp->hook);
out:
    found_free(&found);
    buf_free(&path);
    buf_free(&boot);
    if (rc)
        free_all(sp);
    else
        *out = sp;
    return rc;
}

void spool_stop(struct spool *sp)
{
    if (sp->stopping)
        return;
    spool_write_turn(sp);
    sp->stopping = true;
    loop_timer_stop(sp->conf.loop, &sp->timer);
    loop_timer_stop(sp->conf.loop, &sp->room_timer);
    loop_hook_remove(sp->conf.loop, &sp->hook);
}

void spool_free(struct spool *sp)
{
    if (!sp)
        return;
    struct buf path = {0};
    spool_stop(sp);
    INVARIANT(!sp->syncing); /* the sync pool is freed first */
    spool_sync_now(sp);
    for (struct spool_wait *w; (w = sp->waits);) {
        sp->waits = w->next;
        w->fn(w, w->point <= sp->durable ? 0 : w->point == UINT64_MAX ? ERR_FULL : ERR_CANCELED);
    }
    if (sp->durable == sp->appended && !sp->failed && !sp->leaves_run &&
        fs_unlink(sp->fs, spool_path(sp, "run", &path), NULL) == 0)
        fs_sync_dir(sp->fs, sp->dir, NULL); /* if not, the next start is careful for nothing */
    buf_free(&path);
    free_all(sp);
}
