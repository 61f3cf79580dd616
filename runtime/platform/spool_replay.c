/* spool_replay.c - reading a spool's folder whole: which files count, and all records in their one order.
 *
 * Three kinds are three streams, each in order by itself; the stream whose next record has the lowest epoch
 * goes first. One segment of each kind is in memory at a time. */
#include "platform/spool_impl.h"
#include "format/frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- which files there are --- */

struct listing {
    const char *dir;
    struct found *found;
};

static void add_stale(struct found *f, const char *path)
{
    f->stale = mem_realloc(f->stale, (f->nstale + 1) * sizeof *f->stale);
    f->stale[f->nstale++] = mem_dup(path, strlen(path));
}

static void on_name(void *data, const char *name)
{
    struct listing *l = data;
    struct seg_id id;
    bool tmp;
    if (!seg_parse_name(name, &id, &tmp))
        return;
    if (tmp) {
        struct buf path = {0};
        add_stale(l->found, seg_path(&path, l->dir, id, true));
        buf_free(&path);
        return;
    }
    struct found *f = l->found;
    f->v = mem_realloc(f->v, (f->n + 1) * sizeof *f->v);
    f->v[f->n++] = (struct found_segment){.id = id};
}

static int by_sequence(const void *a, const void *b)
{
    const struct found_segment *x = a, *y = b;
    if (x->id.sequence != y->id.sequence)
        return x->id.sequence < y->id.sequence ? -1 : 1;
    return x->id.generation > y->id.generation ? -1 : x->id.generation < y->id.generation;
}

static int read_header(struct fs *fs, const char *path, struct found_segment *s, struct err *err)
{
    char bytes[SEGMENT_HEADER_BYTES];
    struct file *f;
    size_t got = 0;
    uint32_t version = 0;
    int rc = file_open(fs, path, FILE_READ, 0, &f, err);
    if (rc)
        return rc;
    rc = file_size(f, &s->bytes, err);
    if (!rc)
        rc = file_pread(f, 0, bytes, sizeof bytes, &got, err);
    file_close(f);
    if (rc)
        return rc;
    rc = seg_header_read(slice_of(bytes, got), &s->header, &version);
    if (rc == ERR_VERSION)
        return err_set(err, rc,
                       "%s is of format %" PRIu32 ", written by a newer hato; this one knows up to %d", path,
                       version, SPOOL_VERSION);
    s->header_damaged = rc != 0;
    if (!rc && (s->header.id.kind != s->id.kind || s->header.id.sequence != s->id.sequence ||
                s->header.id.generation != s->id.generation))
        return err_set(err, ERR_CORRUPT, "%s holds %s-%010" PRIu32 ".%" PRIu32 ": it was renamed or copied",
                       path, seg_kind_name(s->header.id.kind), s->header.id.sequence,
                       s->header.id.generation);
    return 0;
}

/* The number that all segments of this spool carry; it goes into every checksum. It stands in a file of its
 * own too, so that a segment whose header is lost can be read even if it is the only one. 0: not known. */
static uint64_t read_spool_id(struct fs *fs, const char *dir)
{
    struct buf path = {0}, text = {0};
    unsigned version = 0;
    uint64_t id = 0;
    buf_printf(&path, "%s/id", dir);
    if (fs_read_whole(fs, buf_cstr(&path), 100, &text, NULL) ||
        sscanf(buf_cstr(&text), "hato spool %u %" SCNx64, &version, &id) != 2)
        id = 0;
    buf_free(&path);
    buf_free(&text);
    return id;
}

int found_list(struct fs *fs, const char *dir, struct found *out, struct err *err)
{
    struct listing l = {dir, out};
    struct buf path = {0};
    size_t kept = 0;
    *out = (struct found){.spool_id = read_spool_id(fs, dir)};
    out->has_id_file = out->spool_id != 0;
    int rc = fs_list(fs, dir, on_name, &l, err);
    if (rc)
        return rc;
    if (out->n)
        qsort(out->v, out->n, sizeof *out->v, by_sequence);
    for (size_t i = 0; i < out->n; i++) {
        struct found_segment *s = &out->v[i];
        seg_path(&path, dir, s->id, false);
        /* A higher generation got its name after its bytes were synced: the lower ones are over. */
        if (kept && out->v[kept - 1].id.sequence == s->id.sequence) {
            add_stale(out, path.p);
            continue;
        }
        rc = read_header(fs, path.p, s, err);
        if (rc == ERR_NOTFOUND) /* dropped or rewritten since the listing */
            continue;
        if (rc)
            goto out;
        if (!s->header_damaged) {
            if (out->spool_id && s->header.spool_id != out->spool_id) {
                rc = err_set(err, ERR_CORRUPT, "%s belongs to another spool", path.p);
                goto out;
            }
            out->spool_id = s->header.spool_id;
            if (s->header.epoch > out->epoch)
                out->epoch = s->header.epoch;
        }
        if (s->id.sequence > UINT32_MAX - 1000000 || s->id.generation > UINT32_MAX - 1000000) {
            rc = err_set(err, ERR_LIMIT, "%s: numbers this high are not in use", path.p);
            goto out;
        }
        if (s->id.sequence > out->highest)
            out->highest = s->id.sequence;
        out->v[kept++] = *s;
    }
    out->n = kept;
out:
    buf_free(&path);
    if (rc)
        found_free(out);
    return rc;
}

void found_free(struct found *f)
{
    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].file) {
            free(f->v[i].file->marks);
            free(f->v[i].file);
        }
    for (size_t i = 0; i < f->nstale; i++)
        free(f->stale[i]);
    free(f->stale);
    free(f->v);
    *f = (struct found){0};
}

/* --- all records --- */

struct stream {
    enum spool_kind kind;
    size_t next; /* in found->v: where to look for this kind's next segment */
    struct found_segment *s;
    struct buf bytes;
    struct seg_reader r;
    struct seg_record rec;
    bool has;
};

struct replay {
    struct fs *fs;
    const char *dir;
    struct found *found;
    bool index;
    spool_notice_fn notice;
    void *notice_data;
    struct spool_report *report;
    struct stream streams[SPOOL_KINDS];
};

static void on_damage(void *data, struct seg_id id, uint64_t offset, uint64_t length)
{
    struct replay *p = data;
    p->report->damaged_places++;
    p->report->damaged_bytes += length;
    if (!p->notice)
        return;
    struct buf path = {0}, text = {0};
    buf_printf(&text,
               "%s: %" PRIu64 " bytes at offset %" PRIu64 " do not match their checksum and are left out",
               seg_path(&path, p->dir, id, false), length, offset);
    p->notice(p->notice_data, ERR_CORRUPT, buf_cstr(&text));
    buf_free(&text);
    buf_free(&path);
}

static struct found_segment *next_of_kind(struct replay *p, enum spool_kind kind, size_t *at)
{
    while (*at < p->found->n) {
        struct found_segment *s = &p->found->v[(*at)++];
        if (s->id.kind == kind)
            return s;
    }
    return NULL;
}

static bool all_zero(struct slice b)
{
    for (size_t i = 0; i < b.n; i++)
        if (b.p[i])
            return false;
    return true;
}

/* What a segment that has been read to its end was. */
static void close_segment(struct replay *p, struct stream *st)
{
    struct found_segment *s = st->s;
    if (!s)
        return;
    s->whole_bytes = st->bytes.n - st->r.torn_bytes;
    s->empty =
        st->r.whole_end == SEGMENT_HEADER_BYTES && (!s->header_damaged || all_zero(buf_slice(&st->bytes)));
    if (s->header_damaged && !s->empty) {
        on_damage(p, s->id, 0, SEGMENT_HEADER_BYTES);
        s->whole_bytes = st->bytes.n; /* somebody may still want to look at it */
    } else if (st->r.torn_bytes) {
        p->report->torn_tails++;
        p->report->torn_bytes += st->r.torn_bytes;
    }
    p->report->segments++;
    p->report->bytes += st->bytes.n;
    st->s = NULL;
}

/* The file as it is now. A generation that has just gone is followed by a higher one, or the segment is
 * dropped: then it is read as empty. Only spool_scan can meet either.
 * While a process appends, no more is read than was there at the listing, except of names: those are then
 * younger than what speaks of them. */
static int load(struct replay *p, struct found_segment *s, struct buf *bytes, struct err *err)
{
    struct buf path = {0};
    enum { TRIES = 100 };
    uint32_t generation = s->id.generation;
    int rc = 0;
    buf_clear(bytes);
    for (int i = 0; i < TRIES; i++, s->id.generation++) {
        rc = fs_read_whole(p->fs, seg_path(&path, p->dir, s->id, false), (size_t)2 << 30, bytes, err);
        if (rc != ERR_NOTFOUND || p->index)
            break;
    }
    buf_free(&path);
    if (!rc && !p->index && s->id.kind != SPOOL_NAMES && generation == s->id.generation &&
        bytes->n > s->bytes)
        bytes->n = s->bytes;
    return rc == ERR_NOTFOUND && !p->index ? 0 : rc;
}

static int open_segment(struct replay *p, struct stream *st, struct err *err)
{
    struct found_segment *s = st->s = next_of_kind(p, st->kind, &st->next);
    if (!s)
        return 0;
    int rc = load(p, s, &st->bytes, err);
    if (rc) {
        st->s = NULL;
        return rc;
    }
    if (s->header_damaged &&
        !p->index) { /* its file may have been in the making when the folder was listed */
        uint32_t version;
        struct slice head =
            slice_of(st->bytes.p, st->bytes.n < SEGMENT_HEADER_BYTES ? st->bytes.n : SEGMENT_HEADER_BYTES);
        s->header_damaged = seg_header_read(head, &s->header, &version) != 0;
        if (!s->header_damaged && !p->found->spool_id)
            p->found->spool_id = s->header.spool_id;
    }
    size_t peek = st->next;
    struct found_segment *after = next_of_kind(p, st->kind, &peek);
    uint64_t later = after && !after->header_damaged ? after->header.epoch : UINT64_MAX;
    uint64_t known = s->header_damaged ? st->r.epoch : s->header.epoch;
    seg_reader_init(&st->r, s->id, p->found->spool_id, buf_slice(&st->bytes), known, later,
                    s->header_damaged);
    if (s->header_damaged)
        s->header.epoch = st->r.epoch;
    st->r.damage = on_damage;
    st->r.data = p;
    if (p->index)
        st->r.index = s->file = seg_file_new(s->id, p->found->spool_id);
    return 0;
}

static int advance(struct replay *p, struct stream *st, struct err *err)
{
    st->has = false;
    for (;;) {
        if (st->s && seg_reader_next(&st->r, &st->rec) == 0) {
            st->has = true;
            /* UINT64_MAX stands for "late", not for a number that was written. */
            if (st->rec.epoch > p->found->epoch && st->rec.epoch != UINT64_MAX)
                p->found->epoch = st->rec.epoch;
            return 0;
        }
        close_segment(p, st);
        int rc = open_segment(p, st, err);
        if (rc || !st->s)
            return rc;
    }
}

int found_replay(struct fs *fs, const char *dir, struct found *found, bool index, spool_replay_fn fn,
                 spool_notice_fn notice, void *data, void *notice_data, struct spool_report *report,
                 struct err *err)
{
    struct replay p = {fs, dir, found, index, notice, notice_data, report};
    int rc = 0;
    for (int k = 0; !rc && k < SPOOL_KINDS; k++) {
        p.streams[k].kind = (enum spool_kind)k;
        rc = advance(&p, &p.streams[k], err);
    }
    while (!rc) {
        struct stream *first = NULL;
        for (int k = 0; k < SPOOL_KINDS; k++) {
            struct stream *st = &p.streams[k];
            /* Names before all: where damage hides an epoch, a record would come before what it speaks of. */
            if (st->has && (!first || (first->kind != SPOOL_NAMES && st->rec.epoch < first->rec.epoch)))
                first = st;
        }
        if (!first)
            break;
        report->records[first->kind]++;
        rc = fn(data, first->kind, first->rec.pos, first->rec.payload);
        if (!rc)
            rc = advance(&p, first, err);
    }
    for (int k = 0; k < SPOOL_KINDS; k++)
        buf_free(&p.streams[k].bytes);
    return rc;
}

int spool_scan(struct fs *fs, const char *dir, spool_replay_fn fn, spool_notice_fn notice, void *data,
               struct spool_report *report, struct err *err)
{
    struct found found;
    struct spool_report unused;
    if (!report)
        report = &unused;
    *report = (struct spool_report){0};
    int rc = found_list(fs, dir, &found, err);
    if (rc)
        return rc;
    rc = found_replay(fs, dir, &found, false, fn, notice, data, data, report, err);
    found_free(&found);
    return rc;
}
