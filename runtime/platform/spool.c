/* spool.c - appending, syncing, telling those who wait. See spool.h for what holds.
 *
 * A segment that is being written to keeps its bytes in memory (seg.tail) until they are synced:
 *
 *      tail_at            tail_at + written              end
 *   ------+---------------------+-------------------------+
 *  on disk| in the file, unsynced | appended in this turn |
 *
 * Only the sync job looks at files on another thread, and only at files it holds; all else here is the
 * loop's. */
#include "platform/spool_impl.h"
#include "format/frame.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* The task that calls waits; on its own, because a posted task cannot be taken back. */
struct spool_fire {
    struct loop_task task;
    struct spool *sp; /* NULL: the spool is gone */
};

enum { RETRY_MS = 1000, EPOCH_FRAME_BYTES = FRAME_HEADER_BYTES + 8 };

void spool_notice(struct spool *sp, int code, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    if (!sp->conf.notice)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    sp->conf.notice(sp->conf.notice_data, code, text);
}

struct seg *spool_find_seg(const struct spool *sp, uint32_t sequence)
{
    size_t low = 0, high = sp->nsegs;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (sp->segs[mid]->id.sequence < sequence)
            low = mid + 1;
        else
            high = mid;
    }
    return low < sp->nsegs && sp->segs[low]->id.sequence == sequence ? sp->segs[low] : NULL;
}

/* Segments come in rising sequence. */
void spool_add_seg(struct spool *sp, struct seg *seg)
{
    pthread_mutex_lock(&sp->lock);
    INVARIANT(!sp->nsegs || sp->segs[sp->nsegs - 1]->id.sequence < seg->id.sequence);
    sp->segs = mem_realloc(sp->segs, (sp->nsegs + 1) * sizeof *sp->segs);
    sp->segs[sp->nsegs++] = seg;
    pthread_mutex_unlock(&sp->lock);
    sp->bytes += seg->end;
}

void spool_remove_seg(struct spool *sp, struct seg *seg)
{
    size_t i = 0;
    pthread_mutex_lock(&sp->lock);
    while (sp->segs[i] != seg)
        i++;
    memmove(sp->segs + i, sp->segs + i + 1, (sp->nsegs - i - 1) * sizeof *sp->segs);
    sp->nsegs--;
    seg_file_release(sp, seg->file);
    pthread_mutex_unlock(&sp->lock);
    INVARIANT(!seg->is_dirty);
    sp->bytes -= seg->end;
    buf_free(&seg->tail);
    free(seg);
}

static void mark_dirty(struct spool *sp, struct seg *seg)
{
    if (seg->is_dirty)
        return;
    seg->is_dirty = true;
    sp->dirty = mem_realloc(sp->dirty, (sp->ndirty + 1) * sizeof *sp->dirty);
    size_t i = sp->ndirty++;
    for (; i && sp->dirty[i - 1]->id.sequence > seg->id.sequence; i--)
        sp->dirty[i] = sp->dirty[i - 1];
    sp->dirty[i] = seg;
}

static void drop_clean(struct spool *sp)
{
    size_t kept = 0;
    for (size_t i = 0; i < sp->ndirty; i++) {
        struct seg *seg = sp->dirty[i];
        if (seg->tail.n || !seg->named || seg->bad) {
            sp->dirty[kept++] = seg;
            continue;
        }
        seg->is_dirty = false;
        if (seg->sealed) {
            buf_free(&seg->tail);
            pthread_mutex_lock(&sp->lock);
            seg->file->pinned = false;
            pthread_mutex_unlock(&sp->lock);
        }
    }
    sp->ndirty = kept;
}

static bool has_bad(const struct spool *sp)
{
    for (size_t i = 0; i < sp->ndirty; i++)
        if (sp->dirty[i]->bad)
            return true;
    return false;
}

/* --- appending --- */

static struct seg *begin_segment(struct spool *sp, enum spool_kind kind)
{
    struct seg *seg = mem_zalloc(sizeof *seg);
    if (sp->active[kind])
        sp->active[kind]->sealed = true;
    seg->id = (struct seg_id){kind, sp->next_sequence++, 0};
    seg->first_epoch = sp->epoch;
    seg_header_put(&seg->tail, &(struct seg_header){seg->id, sp->id, sp->epoch});
    seg->end = seg->tail.n;
    spool_add_seg(sp, seg);
    mark_dirty(sp, seg);
    sp->active[kind] = seg;
    return seg;
}

static void put(struct spool *sp, struct seg *seg, unsigned tag, struct slice payload)
{
    size_t before = seg->tail.n;
    frame_put(&seg->tail, seg_salt(sp->id, seg->id), tag, payload);
    seg->end += seg->tail.n - before;
    sp->bytes += seg->tail.n - before;
}

int spool_append(struct spool *sp, enum spool_kind kind, struct slice payload, struct spool_pos *pos)
{
    size_t need = FRAME_HEADER_BYTES + EPOCH_FRAME_BYTES + payload.n;
    if (payload.n > SPOOL_RECORD_MOST_BYTES)
        return ERR_LIMIT;
    if (kind == SPOOL_RECIPIENTS) {
        if (sp->failed)
            return ERR_IO;
        if (sp->full || (sp->conf.journal_max && sp->bytes + need > sp->conf.journal_max))
            return ERR_FULL;
    }
    bool new_stretch = sp->last_kind != (int)kind;
    if (new_stretch) {
        sp->epoch++;
        sp->last_kind = (int)kind;
    }
    struct seg *seg = sp->active[kind];
    if (!seg || (seg->end + need > sp->conf.segment_bytes && seg->end > SEGMENT_HEADER_BYTES))
        seg = begin_segment(sp, kind);
    else if (new_stretch)
        put(sp, seg, TAG_EPOCH, slice_of(&sp->epoch, sizeof sp->epoch));
    mark_dirty(sp, seg);
    *pos = (struct spool_pos){seg->id.sequence, (uint32_t)seg->end};
    put(sp, seg, TAG_RECORD, payload);
    sp->appended++;
    return 0;
}

void spool_seal(struct spool *sp, enum spool_kind kind)
{
    struct seg *seg = sp->active[kind];
    if (!seg || seg->end == SEGMENT_HEADER_BYTES)
        return;
    seg->sealed = true;
    sp->active[kind] = NULL;
    if (!seg->is_dirty) { /* let drop_clean() do what is done with sealed ones */
        mark_dirty(sp, seg);
        drop_clean(sp);
    }
}

/* --- room on the disk --- */

const char *spool_path(struct spool *sp, const char *name, struct buf *path)
{
    buf_clear(path);
    buf_printf(path, "%s/%s", sp->dir, name);
    return buf_cstr(path);
}

/* Set the reserve aside; with room to spare only if as much again would fit. */
bool spool_make_reserve(struct spool *sp, bool to_spare)
{
    struct buf path = {0};
    struct file *f;
    uint64_t size = sp->conf.reserve_bytes;
    int rc = file_open(sp->fs, spool_path(sp, "reserve", &path), FILE_READ | FILE_WRITE | FILE_CREATE, 0600,
                       &f, NULL);
    if (!rc) {
        rc = file_allocate(f, to_spare ? size * 2 : size, NULL);
        if (!rc && to_spare)
            rc = file_truncate(f, size, NULL);
        else if (rc)
            file_truncate(f, 0, NULL); /* what it did get is worth more to the records */
        file_close(f);
    }
    buf_free(&path);
    sp->has_reserve = !rc;
    return !rc;
}

bool spool_release_reserve(struct spool *sp)
{
    struct buf path = {0};
    bool had = sp->has_reserve && fs_unlink(sp->fs, spool_path(sp, "reserve", &path), NULL) == 0;
    buf_free(&path);
    sp->has_reserve = false;
    return had;
}

static void on_room_timer(struct loop_timer *t)
{
    struct spool *sp = t->data;
    sp->hold_until_ms = 0; /* what waits is tried again at this turn's end */
    if (sp->stuck || sp->failed || !spool_make_reserve(sp, true)) {
        loop_timer_start(sp->conf.loop, t, RETRY_MS, on_room_timer);
        return;
    }
    sp->full = false;
    spool_notice(sp, 0, "%s: there is room again", sp->dir);
}

void spool_become_full(struct spool *sp, const char *words)
{
    sp->hold_until_ms = loop_now_ms(sp->conf.loop) + RETRY_MS;
    if (sp->full)
        return;
    sp->full = true;
    spool_notice(sp, ERR_FULL, "%s", words);
    loop_timer_start(sp->conf.loop, &sp->room_timer, RETRY_MS, on_room_timer);
}

/* --- the turn's end: writing --- */

static void become_bad(struct spool *sp, struct seg *seg, int code, const char *words)
{
    seg->bad = seg->sealed = true;
    if (sp->active[seg->id.kind] == seg)
        sp->active[seg->id.kind] = NULL;
    mark_dirty(sp, seg);
    sp->failed = true;
    if (code == ERR_FULL) { /* some file systems find out when they sync */
        spool_release_reserve(sp);
        spool_become_full(sp, words);
        sp->hold_until_ms = 0; /* there is room for the new file now, perhaps */
        return;
    }
    spool_notice(sp, code, "%s", words);
}

static int create(struct spool *sp, struct seg *seg, struct err *err)
{
    struct buf path = {0};
    struct file *f;
    int rc = file_open(sp->fs, seg_path(&path, sp->dir, seg->id, false),
                       FILE_READ | FILE_WRITE | FILE_CREATE | FILE_EXCL, 0600, &f, err);
    buf_free(&path);
    if (rc)
        return rc;
    struct seg_file *sf = seg_file_new(seg->id, sp->id);
    sf->f = f;
    sf->pinned = true;
    pthread_mutex_lock(&sp->lock);
    seg->file = sf;
    sp->open_files++;
    pthread_mutex_unlock(&sp->lock);
    seg->created = true;
    sp->dir_dirty = true;
    fs_failpoint(sp->fs, "spool.create.after");
    return 0;
}

static int write_tail(struct spool *sp, struct seg *seg, struct err *err)
{
    int rc = seg->created ? 0 : create(sp, seg, err);
    if (rc)
        return rc;
    fs_failpoint(sp->fs, "spool.write.before");
    rc = file_append(seg->file->f, slice_of(seg->tail.p + seg->written, seg->tail.n - seg->written), err);
    fs_failpoint(sp->fs, "spool.write.after");
    if (rc)
        return rc;
    seg->written = seg->tail.n;
    if (sp->unsynced_since_ms < 0)
        sp->unsynced_since_ms = loop_now_ms(sp->conf.loop);
    return 0;
}

static bool has_unwritten_records(const struct seg *seg)
{
    return !seg->bad && seg->tail.n > seg->written && seg->end > SEGMENT_HEADER_BYTES;
}

static void fire(struct spool *sp)
{
    struct spool_wait *ready = NULL, **last = &ready, **at = &sp->waits;
    while (*at) {
        struct spool_wait *w = *at;
        if (w->point > sp->durable && w->point != UINT64_MAX) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        w->next = NULL;
        *last = w;
        last = &w->next;
    }
    sp->last_wait = at;
    for (struct spool_wait *w = ready, *next; w; w = next) {
        next = w->next;
        w->fn(w, w->point == UINT64_MAX ? ERR_FULL : 0);
    }
}

static void on_fire(struct loop_task *task)
{
    struct spool_fire *f = CONTAINER(task, struct spool_fire, task);
    if (!f->sp)
        free(f);
    else if (!f->sp->stopping)
        fire(f->sp);
}

/* The turn's recipients found no room: they are as if never appended, and whoever waits since is told. */
static void withdraw_recipients(struct spool *sp)
{
    size_t left = 0;
    for (size_t i = 0; i < sp->ndirty; i++) {
        struct seg *seg = sp->dirty[left++] = sp->dirty[i];
        if (seg->id.kind != SPOOL_RECIPIENTS || seg->bad)
            continue;
        size_t keep = seg->written;
        if (!keep && !seg->tail_at)
            keep = SEGMENT_HEADER_BYTES;
        seg->end -= seg->tail.n - keep;
        sp->bytes -= seg->tail.n - keep;
        seg->tail.n = keep;
        if (seg->sealed && !seg->created) {
            left--;
            seg->is_dirty = false;
            spool_remove_seg(sp, seg);
        }
    }
    sp->ndirty = left;
    sp->last_kind = -1; /* the epoch frame may have gone with them */
    struct spool_wait **at = &sp->waits;
    while (*at && (*at)->point <= sp->written)
        at = &(*at)->next;
    for (struct spool_wait *w = *at; w; w = w->next)
        w->point = UINT64_MAX; /* fire() knows */
    if (*at)
        loop_post(sp->conf.loop, &sp->fire->task, on_fire);
}

/* False: there was no room. */
static bool write_kind(struct spool *sp, enum spool_kind kind)
{
    for (size_t i = 0; i < sp->ndirty; i++) {
        struct seg *seg = sp->dirty[i];
        struct err err = {0};
        if (seg->id.kind != kind || seg->bad || seg->tail.n == seg->written ||
            seg->end == SEGMENT_HEADER_BYTES)
            continue;
        int rc = write_tail(sp, seg, &err);
        if (rc == ERR_FULL && kind != SPOOL_RECIPIENTS && spool_release_reserve(sp)) {
            spool_become_full(sp, err.text);
            rc = write_tail(sp, seg, &err);
        }
        if (rc == ERR_FULL) {
            spool_become_full(sp, err.text);
            return false;
        }
        if (rc)
            become_bad(sp, seg, rc, err.text);
    }
    return true;
}

void spool_write_turn(struct spool *sp)
{
    bool waiting = sp->full && loop_now_ms(sp->conf.loop) < sp->hold_until_ms && sp->stuck;
    if (!waiting) { /* nothing is written before the names it speaks of */
        bool has_names = write_kind(sp, SPOOL_NAMES);
        if (!has_names || !write_kind(sp, SPOOL_RECIPIENTS))
            withdraw_recipients(sp);
        if (has_names)
            write_kind(sp, SPOOL_EVENTS);
    }
    sp->stuck = false;
    for (size_t i = 0; i < sp->ndirty; i++)
        sp->stuck |= has_unwritten_records(sp->dirty[i]);
    if (!sp->stuck)
        sp->written = sp->appended;
}

/* --- syncing --- */

static void run_sync(struct work_job *job, struct work_thread *thread)
{
    struct spool *sp = CONTAINER(job, struct spool, sync_job);
    fs_failpoint(sp->fs, "spool.sync.before");
    for (size_t i = 0; i < sp->nitems; i++) {
        sp->items[i].rc = file_sync(sp->items[i].file->f, &sp->sync_err);
        fs_failpoint(sp->fs, "spool.sync.between");
    }
    sp->dir_rc = sp->sync_dir ? fs_sync_dir(sp->fs, sp->dir, &sp->sync_err) : 0;
    fs_failpoint(sp->fs, "spool.sync.after");
}

static void settle_item(struct spool *sp, struct sync_item *item)
{
    struct seg *seg = item->seg;
    pthread_mutex_lock(&sp->lock);
    seg_file_release(sp, item->file);
    pthread_mutex_unlock(&sp->lock);
    if (item->rc || (sp->dir_rc && !seg->named)) {
        if (!seg->bad)
            become_bad(sp, seg, item->rc ? item->rc : sp->dir_rc, sp->sync_err.text);
        return;
    }
    if (seg->bad) /* it became so meanwhile; its new generation takes all */
        return;
    size_t n = (size_t)(item->upto - seg->tail_at);
    buf_drop_front(&seg->tail, n);
    seg->written -= n;
    seg->tail_at = item->upto;
    seg->named = true;
}

static void settle_sync(struct spool *sp)
{
    sp->syncing = false;
    for (size_t i = 0; i < sp->nitems; i++)
        settle_item(sp, &sp->items[i]);
    drop_clean(sp);
    if (sp->dir_rc) {
        sp->dir_dirty = true;
        sp->failed = true;
        sp->hold_until_ms = loop_now_ms(sp->conf.loop) + RETRY_MS;
        return;
    }
    if (has_bad(sp))
        return;
    sp->durable = sp->sync_point;
    if (sp->failed) {
        sp->failed = false;
        spool_notice(sp, 0, "%s: what could not be synced is safe in new files", sp->dir);
    }
}

static void on_synced(struct work_job *job)
{
    struct spool *sp = CONTAINER(job, struct spool, sync_job);
    settle_sync(sp);
    if (!sp->stopping)
        fire(sp);
}

static void collect_items(struct spool *sp)
{
    sp->items = mem_realloc(sp->items, (sp->ndirty + 1) * sizeof *sp->items);
    sp->nitems = 0;
    for (int k = 0; k < SPOOL_KINDS; k++)
        for (size_t i = 0; i < sp->ndirty; i++) {
            struct seg *seg = sp->dirty[i];
            if ((int)seg->id.kind != k || seg->bad || !seg->created || (!seg->written && seg->named))
                continue;
            pthread_mutex_lock(&sp->lock);
            int rc = seg_file_acquire(sp, seg->file, NULL); /* pinned: it is open */
            pthread_mutex_unlock(&sp->lock);
            INVARIANT(rc == 0);
            sp->items[sp->nitems++] = (struct sync_item){seg, seg->file, seg->tail_at + seg->written, 0};
        }
    sp->sync_dir = sp->dir_dirty;
    sp->dir_dirty = false;
    sp->sync_point = sp->written;
    sp->unsynced_since_ms = -1;
}

static void start_sync(struct spool *sp)
{
    collect_items(sp);
    sp->syncing = true;
    work_submit(sp->conf.sync, &sp->sync_job);
}

static void on_timer(struct loop_timer *t)
{
    /* The hook at this turn's end sees that time has come. */
}

static void sync_if_due(struct spool *sp)
{
    int64_t now = loop_now_ms(sp->conf.loop), due = now;
    if (sp->syncing || (sp->unsynced_since_ms < 0 && !sp->dir_dirty))
        return;
    if (!sp->waits && sp->unsynced_since_ms >= 0)
        due = sp->unsynced_since_ms + sp->conf.sync_delay_ms;
    if (sp->failed && due < sp->hold_until_ms)
        due = sp->hold_until_ms;
    if (due <= now) {
        loop_timer_stop(sp->conf.loop, &sp->timer);
        start_sync(sp);
    } else if (!loop_timer_active(&sp->timer) || loop_timer_due_ms(&sp->timer) > due) {
        loop_timer_start(sp->conf.loop, &sp->timer, due - now, on_timer);
    }
}

static void heal_if_due(struct spool *sp)
{
    int64_t now = loop_now_ms(sp->conf.loop);
    if (sp->compaction || !has_bad(sp))
        return;
    if (now < sp->hold_until_ms) {
        if (!loop_timer_active(&sp->timer) || loop_timer_due_ms(&sp->timer) > sp->hold_until_ms)
            loop_timer_start(sp->conf.loop, &sp->timer, sp->hold_until_ms - now, on_timer);
        return;
    }
    for (size_t i = 0; i < sp->ndirty; i++)
        if (sp->dirty[i]->bad) {
            spool_heal(sp, sp->dirty[i]);
            return;
        }
}

static void on_turn_end(struct loop_hook *hook)
{
    struct spool *sp = CONTAINER(hook, struct spool, hook);
    if (sp->stopping)
        return;
    spool_write_turn(sp);
    heal_if_due(sp);
    sync_if_due(sp);
}

void spool_when_durable(struct spool *sp, struct spool_wait *w)
{
    w->point = sp->appended;
    w->next = NULL;
    *sp->last_wait = w;
    sp->last_wait = &w->next;
    if (w->point <= sp->durable)
        loop_post(sp->conf.loop, &sp->fire->task, on_fire);
}

bool spool_is_short(const struct spool *sp)
{
    return !sp->has_reserve;
}

int spool_status(const struct spool *sp)
{
    return sp->failed ? ERR_IO : sp->stuck ? ERR_FULL : 0;
}

uint64_t spool_bytes(const struct spool *sp)
{
    return sp->bytes;
}

void spool_segments(struct spool *sp, void (*fn)(void *data, const struct spool_segment *s), void *data)
{
    for (size_t i = 0; i < sp->nsegs; i++) {
        struct seg *seg = sp->segs[i];
        fn(data, &(struct spool_segment){seg->id.kind, seg->id.sequence, seg->id.generation, seg->end,
                                         seg->sealed});
    }
}

void spool_sync_now(struct spool *sp)
{
    collect_items(sp);
    run_sync(&sp->sync_job, NULL);
    settle_sync(sp);
}

void spool_writer_init(struct spool *sp)
{
    sp->last_kind = -1;
    sp->last_wait = &sp->waits;
    sp->unsynced_since_ms = -1;
    sp->hook = (struct loop_hook){.order = LOOP_ORDER_SPOOL, .fn = on_turn_end};
    sp->timer.data = sp->room_timer.data = sp;
    sp->fire = mem_zalloc(sizeof *sp->fire);
    sp->fire->sp = sp;
    sp->sync_job = (struct work_job){.run = run_sync, .done = on_synced};
}

void spool_writer_free(struct spool *sp)
{
    sp->fire->sp = NULL;
    if (!sp->fire->task.queued)
        free(sp->fire);
    free(sp->dirty);
    free(sp->items);
}
