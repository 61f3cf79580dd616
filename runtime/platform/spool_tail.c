/* spool_tail.c - reading on in a spool that another process writes to.
 *
 * A segment that was never rewritten has its records where their positions say, so reading goes on in the
 * middle of the file. A rewritten one is read whole, and what was seen is passed over. */
#include "platform/spool_impl.h"

#include <inttypes.h>

struct tail_read {
    struct fs *fs;
    const char *dir;
    struct spool_tail *tail;
    spool_replay_fn fn;
    spool_notice_fn notice;
    void *data;
    uint64_t skipped; /* bytes of the present segment that are not in memory */
};

/* A segment's header is longer than nothing: no record is at offset 0. */
static bool is_later(struct spool_pos a, struct spool_pos b)
{
    return spool_pos_pack(a) > spool_pos_pack(b);
}

static int give(struct tail_read *t, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    t->tail->last[kind] = pos;
    return t->fn(t->data, kind, pos, payload);
}

static int on_first_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    return give(data, kind, pos, payload);
}

static void on_first_notice(void *data, int code, const char *text)
{
    struct tail_read *t = data;
    if (t->notice)
        t->notice(t->data, code, text);
}

static void on_damage(void *data, struct seg_id id, uint64_t offset, uint64_t length)
{
    struct tail_read *t = data;
    struct buf path = {0}, text = {0};
    if (!t->notice)
        return;
    buf_printf(&text,
               "%s: %" PRIu64 " bytes at offset %" PRIu64 " do not match their checksum and are left out",
               seg_path(&path, t->dir, id, false), length, offset + t->skipped);
    t->notice(t->data, ERR_CORRUPT, buf_cstr(&text));
    buf_free(&text);
    buf_free(&path);
}

/* Bytes [from, to) of the segment; to 0: its end. A file that has gone (dropped, rewritten) reads as empty:
 * if a higher generation took its place, the next call finds that. */
static int read_bytes(struct tail_read *t, struct seg_id id, uint64_t from, uint64_t to, struct buf *out,
                      struct err *err)
{
    struct buf path = {0};
    struct file *f = NULL;
    size_t got = 0;
    buf_clear(out);
    int rc = file_open(t->fs, seg_path(&path, t->dir, id, false), FILE_READ, 0, &f, err);
    buf_free(&path);
    if (rc)
        return rc == ERR_NOTFOUND ? 0 : rc;
    if (!to)
        rc = file_size(f, &to, err);
    if (!rc && to > from) {
        buf_reserve(out, to - from);
        rc = file_pread(f, from, out->p, to - from, &got, err);
        out->n = rc ? 0 : got;
    }
    file_close(f);
    return rc;
}

static int read_segment(struct tail_read *t, const struct found *found, const struct found_segment *s,
                        struct buf *bytes, struct err *err)
{
    enum spool_kind kind = s->id.kind;
    struct spool_pos last = t->tail->last[kind];
    struct seg_reader r;
    struct seg_record rec;
    t->skipped = 0;
    if (s->id.generation == 0 && last.segment == s->id.sequence && last.offset > SEGMENT_HEADER_BYTES)
        t->skipped = last.offset;
    /* No further than at the listing, so that every name an event speaks of has been read before it. */
    int rc = read_bytes(t, s->id, t->skipped, kind == SPOOL_NAMES ? 0 : s->bytes, bytes, err);
    if (rc)
        return rc;
    seg_reader_init(&r, s->id, found->spool_id, buf_slice(bytes), 0, UINT64_MAX, false);
    r.damage = on_damage;
    r.data = t;
    if (t->skipped) {
        r.at = r.whole_end = 0;
        r.shift = (uint32_t)t->skipped;
    }
    while (!rc && seg_reader_next(&r, &rec) == 0)
        if (is_later(rec.pos, last))
            rc = give(t, kind, rec.pos, rec.payload);
    return rc;
}

int spool_scan_on(struct fs *fs, const char *dir, struct spool_tail *tail, spool_replay_fn fn,
                  spool_notice_fn notice, void *data, struct err *err)
{
    struct tail_read t = {fs, dir, tail, fn, notice, data, 0};
    struct found found;
    struct buf bytes = {0};
    if (!tail->begun) {
        tail->begun = true;
        return spool_scan(fs, dir, on_first_record, on_first_notice, &t, NULL, err);
    }
    int rc = found_list(fs, dir, &found, err);
    if (rc)
        return rc;
    for (int kind = 0; kind < SPOOL_KINDS && !rc; kind++)
        for (size_t i = 0; i < found.n && !rc; i++)
            if ((int)found.v[i].id.kind == kind && found.v[i].id.sequence >= tail->last[kind].segment)
                rc = read_segment(&t, &found, &found.v[i], &bytes, err);
    buf_free(&bytes);
    found_free(&found);
    return rc;
}

int spool_scan_segment(struct fs *fs, const char *dir, uint32_t sequence, spool_replay_fn fn,
                       spool_notice_fn notice, void *data, struct err *err)
{
    struct spool_tail tail = {.begun = true};
    struct tail_read t = {fs, dir, &tail, fn, notice, data, 0};
    struct found found;
    struct buf bytes = {0};
    int rc = found_list(fs, dir, &found, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < found.n && !rc; i++)
        if (found.v[i].id.sequence == sequence)
            rc = read_segment(&t, &found, &found.v[i], &bytes, err);
    buf_free(&bytes);
    found_free(&found);
    return rc;
}
