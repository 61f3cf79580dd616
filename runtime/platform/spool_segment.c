/* spool_segment.c - the bytes of one segment: its name, its header, its records, the way from a position to
 * them.
 *
 * Positions. A record's position is where its frame began when it was first written. In generation 0 that is
 * where it is. A rewritten segment has gaps; there an at frame says the position of the byte behind it, and
 * is repeated every INDEX_STEP_BYTES, so that damage to one costs no more than that. A reader of single
 * records keeps one entry (position, place) for each step and walks from there. */
#include "platform/spool_impl.h"
#include "format/frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char MAGIC[8] = "hatospol";
static const uint64_t EPOCH_MOST = (uint64_t)1 << 62; /* so that one more is never zero */

const char *seg_kind_name(enum spool_kind kind)
{
    switch (kind) {
    case SPOOL_NAMES:
        return "names";
    case SPOOL_RECIPIENTS:
        return "recipients";
    case SPOOL_EVENTS:
        return "events";
    case SPOOL_KINDS:
        break;
    }
    return "none";
}

const char *seg_path(struct buf *out, const char *dir, struct seg_id id, bool tmp)
{
    buf_clear(out);
    buf_printf(out, "%s/%s-%010" PRIu32 ".%" PRIu32 "%s", dir, seg_kind_name(id.kind), id.sequence,
               id.generation, tmp ? ".tmp" : "");
    return buf_cstr(out);
}

bool seg_parse_name(const char *name, struct seg_id *id, bool *tmp)
{
    struct slice rest, sequence, kind = slice_cut(slice_cstr(name), '-', &rest);
    sequence = slice_cut(rest, '.', &rest);
    struct slice generation = slice_cut(rest, '.', &rest);
    uint64_t s, g;
    if (slice_u64(sequence, &s) || slice_u64(generation, &g) || s > UINT32_MAX || g > UINT32_MAX)
        return false;
    *tmp = slice_eq(rest, S("tmp"));
    if (rest.n && !*tmp)
        return false;
    for (int k = 0; k < SPOOL_KINDS; k++)
        if (slice_eq(kind, slice_cstr(seg_kind_name((enum spool_kind)k)))) {
            *id = (struct seg_id){(enum spool_kind)k, (uint32_t)s, (uint32_t)g};
            return true;
        }
    return false;
}

uint32_t seg_salt(uint64_t spool_id, struct seg_id id)
{
    uint64_t v[3] = {spool_id, (uint64_t)id.kind, (uint64_t)id.sequence << 32 | id.generation};
    return crc32c(0, slice_of(v, sizeof v));
}

/* --- header: magic, version, kind, sequence, generation, spool id, epoch, 4 bytes of zero, CRC. This much
 * has the same place in every version, so that an older program can tell a newer file from a damaged one. ---
 */

void seg_header_put(struct buf *out, const struct seg_header *h)
{
    char bytes[SEGMENT_HEADER_BYTES] = {0};
    uint32_t words[4] = {SPOOL_VERSION, (uint32_t)h->id.kind, h->id.sequence, h->id.generation};
    memcpy(bytes, MAGIC, 8);
    memcpy(bytes + 8, words, 16);
    memcpy(bytes + 24, &h->spool_id, 8);
    memcpy(bytes + 32, &h->epoch, 8);
    uint32_t crc = crc32c(0, slice_of(bytes, SEGMENT_HEADER_BYTES - 4));
    memcpy(bytes + SEGMENT_HEADER_BYTES - 4, &crc, 4);
    buf_add(out, bytes, sizeof bytes);
}

int seg_header_read(struct slice in, struct seg_header *out, uint32_t *version)
{
    uint32_t words[4], crc;
    if (in.n < SEGMENT_HEADER_BYTES || memcmp(in.p, MAGIC, 8) != 0)
        return ERR_CORRUPT;
    memcpy(&crc, in.p + SEGMENT_HEADER_BYTES - 4, 4);
    if (crc32c(0, slice_of(in.p, SEGMENT_HEADER_BYTES - 4)) != crc)
        return ERR_CORRUPT;
    memcpy(words, in.p + 8, 16);
    *version = words[0];
    if (words[0] > SPOOL_VERSION)
        return ERR_VERSION;
    if (words[1] >= SPOOL_KINDS)
        return ERR_CORRUPT;
    out->id = (struct seg_id){(enum spool_kind)words[1], words[2], words[3]};
    memcpy(&out->spool_id, in.p + 24, 8);
    memcpy(&out->epoch, in.p + 32, 8);
    return out->epoch > EPOCH_MOST ? ERR_CORRUPT : 0;
}

/* --- reading all records --- */

void seg_file_mark(struct seg_file *sf, uint32_t logical, uint32_t physical)
{
    if (sf->nmarks && physical - sf->marks[sf->nmarks - 1].physical < INDEX_STEP_BYTES)
        return;
    if (sf->nmarks == sf->marks_cap) {
        sf->marks_cap = sf->marks_cap ? sf->marks_cap * 2 : 16;
        sf->marks = mem_realloc(sf->marks, sf->marks_cap * sizeof *sf->marks);
    }
    sf->marks[sf->nmarks++] = (struct seg_mark){logical, physical};
}

static uint64_t load_u64(struct slice s)
{
    uint64_t v;
    memcpy(&v, s.p, 8);
    return v;
}

/* Which stretch do records behind a bad place belong to? The frame that said so may be gone. An event must
 * not come before what it speaks of: it comes as late as the next epoch frame allows. A name or recipient
 * must not come after what speaks of it: it stays in the last stretch that is known. */
static uint64_t epoch_after_damage(struct seg_reader *r)
{
    if (r->id.kind != SPOOL_EVENTS || r->guessed)
        return r->epoch;
    struct slice in = slice_of(r->all.p + r->at, r->all.n - r->at), payload;
    uint64_t latest = r->later_epoch;
    unsigned tag;
    for (int rc; (rc = frame_next(&in, r->salt, &tag, &payload)) != ERR_EOF;) {
        if (rc) {
            size_t skip = frame_resync(in, r->salt);
            in = slice_of(in.p + skip, in.n - skip);
        } else if (tag == TAG_EPOCH && payload.n == 8 && load_u64(payload) - 1 < EPOCH_MOST) {
            latest = load_u64(payload) - 1;
            break;
        }
    }
    r->guessed = true; /* until the next epoch frame */
    return latest > r->epoch ? latest : r->epoch;
}

void seg_reader_init(struct seg_reader *r, struct seg_id id, uint64_t spool_id, struct slice all,
                     uint64_t epoch, uint64_t later_epoch, bool header_damaged)
{
    *r = (struct seg_reader){.id = id,
                             .salt = seg_salt(spool_id, id),
                             .all = all,
                             .at = all.n < SEGMENT_HEADER_BYTES ? all.n : SEGMENT_HEADER_BYTES,
                             .whole_end = SEGMENT_HEADER_BYTES,
                             .epoch = epoch,
                             .later_epoch = later_epoch,
                             .lost = id.generation > 0};
    if (header_damaged)
        r->epoch = epoch_after_damage(r);
}

static void skip_damage(struct seg_reader *r, size_t n)
{
    if (r->damage)
        r->damage(r->data, r->id, r->at, n);
    r->at += n;
    r->lost = r->id.generation > 0;
    r->epoch = epoch_after_damage(r);
}

int seg_reader_next(struct seg_reader *r, struct seg_record *out)
{
    for (;;) {
        struct slice in = slice_of(r->all.p + r->at, r->all.n - r->at), payload;
        size_t begin = r->at;
        unsigned tag;
        int rc = frame_next(&in, r->salt, &tag, &payload);
        if (rc == ERR_EOF)
            return rc;
        if (rc) {
            size_t skip = frame_resync(in, r->salt);
            if (skip == in.n) { /* nothing whole behind it: a torn tail */
                r->torn_bytes = in.n;
                r->at = r->all.n;
                return ERR_EOF;
            }
            skip_damage(r, skip);
            continue;
        }
        r->at = r->whole_end = r->all.n - in.n;
        if (tag == TAG_EPOCH && payload.n == 8 && load_u64(payload) <= EPOCH_MOST) {
            r->epoch = load_u64(payload);
            r->guessed = false;
        } else if (tag == TAG_AT && payload.n == 4) {
            uint32_t logical;
            memcpy(&logical, payload.p, 4);
            r->shift = logical - (uint32_t)r->at;
            r->lost = false;
        } else if (tag == TAG_RECORD && !r->lost) {
            uint32_t logical = (uint32_t)begin + r->shift;
            if (r->index && r->id.generation)
                seg_file_mark(r->index, logical, (uint32_t)begin);
            *out = (struct seg_record){payload, {r->id.sequence, logical}, r->epoch};
            return 0;
        } else if (r->damage) { /* a record without a position, or a tag of no meaning */
            r->damage(r->data, r->id, begin, r->at - begin);
        }
    }
}

/* --- files that readers share --- */

struct seg_file *seg_file_new(struct seg_id id, uint64_t spool_id)
{
    struct seg_file *sf = mem_zalloc(sizeof *sf);
    sf->id = id;
    sf->salt = seg_salt(spool_id, id);
    sf->refs = 1;
    return sf;
}

/* Close the file that was not used for longest, if one is idle. */
static void close_oldest(struct spool *sp)
{
    struct seg_file *oldest = NULL;
    for (size_t i = 0; i < sp->nsegs; i++) {
        struct seg_file *sf = sp->segs[i]->file;
        if (sf && sf->f && !sf->pinned && sf->refs == 1 && (!oldest || sf->used < oldest->used))
            oldest = sf;
    }
    if (oldest) {
        file_close(oldest->f);
        oldest->f = NULL;
        sp->open_files--;
    }
}

int seg_file_acquire(struct spool *sp, struct seg_file *sf, struct err *err)
{
    if (!sf->f) {
        struct buf path = {0};
        if (sp->open_files >= OPEN_FILES_MOST)
            close_oldest(sp);
        int rc = file_open(sp->fs, seg_path(&path, sp->dir, sf->id, false), FILE_READ | FILE_WRITE, 0, &sf->f,
                           err);
        buf_free(&path);
        if (rc)
            return rc;
        sp->open_files++;
    }
    sf->refs++;
    sf->used = ++sp->tick;
    return 0;
}

void seg_file_release(struct spool *sp, struct seg_file *sf)
{
    if (!sf || --sf->refs)
        return;
    if (sf->f) {
        file_close(sf->f);
        sp->open_files--;
    }
    free(sf->marks);
    free(sf);
}

/* --- reading one record --- */

/* Where to begin walking towards a position: the last mark that is not behind it. */
static bool find_mark(const struct seg_file *sf, uint32_t logical, struct seg_mark *out)
{
    size_t low = 0, high = sf->nmarks;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (sf->marks[mid].logical <= logical)
            low = mid + 1;
        else
            high = mid;
    }
    if (!low)
        return false;
    *out = sf->marks[low - 1];
    return true;
}

/* Make sure that need bytes of the file from physical on are in b; read some more than that. */
static int fill(struct seg_file *sf, uint64_t physical, size_t need, struct buf *b, struct err *err)
{
    enum { FIRST_BYTES = 2048 };
    if (b->n >= need)
        return 0;
    size_t want = need - b->n < FIRST_BYTES ? FIRST_BYTES : need - b->n, got;
    buf_reserve(b, want);
    int rc = file_pread(sf->f, physical + b->n, b->p + b->n, want, &got, err);
    if (rc)
        return rc;
    b->n += got;
    return b->n < need ? ERR_EOF : 0;
}

/* The payload of the record at pos, out of a file that the caller holds; scratch is the caller's. */
static int read_record(struct seg_file *sf, struct spool_pos pos, struct buf *scratch, struct slice *payload,
                       struct err *err)
{
    struct seg_mark at = {pos.offset, pos.offset};
    if (sf->id.generation && !find_mark(sf, pos.offset, &at))
        return ERR_NOTFOUND;
    uint32_t shift = at.logical - at.physical;
    for (size_t skip = 0;;) {
        int rc = fill(sf, at.physical, skip + FRAME_HEADER_BYTES, scratch, err);
        if (rc)
            return rc == ERR_EOF ? ERR_NOTFOUND : rc;
        struct slice in = slice_of(scratch->p + skip, scratch->n - skip);
        uint32_t logical = at.physical + (uint32_t)skip + shift;
        unsigned tag;
        if (!frame_length(in))
            return ERR_CORRUPT;
        rc = fill(sf, at.physical, skip + frame_length(in), scratch, err);
        if (rc)
            return rc == ERR_EOF ? ERR_CORRUPT : rc;
        in = slice_of(scratch->p + skip, scratch->n - skip);
        rc = frame_next(&in, sf->salt, &tag, payload);
        if (rc)
            return rc;
        skip = scratch->n - in.n;
        if (tag == TAG_RECORD && logical == pos.offset)
            return 0;
        if (tag == TAG_RECORD && logical > pos.offset)
            return ERR_NOTFOUND;
        if (!sf->id.generation)
            return ERR_INVAL; /* not where a record begins */
        if (tag == TAG_AT && payload->n == 4) {
            memcpy(&logical, payload->p, 4);
            shift = logical - at.physical - (uint32_t)skip;
        }
    }
}

int spool_read(struct spool *sp, struct spool_pos pos, struct buf *out, struct err *err)
{
    struct seg_file *sf = NULL;
    struct buf scratch = {0};
    struct slice payload;
    pthread_mutex_lock(&sp->lock);
    struct seg *seg = spool_find_seg(sp, pos.segment);
    int rc = seg && seg->file ? seg_file_acquire(sp, seg->file, err) : ERR_NOTFOUND;
    if (!rc)
        sf = seg->file;
    pthread_mutex_unlock(&sp->lock);
    if (!rc)
        rc = read_record(sf, pos, &scratch, &payload, err);
    if (!rc)
        buf_adds(out, payload);
    else if (rc == ERR_NOTFOUND || rc == ERR_CORRUPT || rc == ERR_INVAL)
        err_set(err, rc, "%s: no whole record at %" PRIu32 ":%" PRIu32, sp->dir, pos.segment, pos.offset);
    buf_free(&scratch);
    if (sf) {
        pthread_mutex_lock(&sp->lock);
        seg_file_release(sp, sf);
        pthread_mutex_unlock(&sp->lock);
    }
    return rc;
}
