/* fuzz_segment.c - any order of records, epochs, positions and garbage as a segment: it is replayed, read by
 * position and rewritten; what a rewrite keeps replays as before. */
#include "base/hash.h"
#include "format/frame.h"
#include "platform/spool_impl.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SPOOL_ID = 7 };

struct seen {
    struct spool_pos *pos;
    size_t n;
    uint64_t hash; /* of all positions and payloads in order */
};

static int on_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    struct seen *s = data;
    s->pos = mem_realloc(s->pos, (s->n + 1) * sizeof *s->pos);
    s->pos[s->n++] = pos;
    struct hash_key key = {s->hash, spool_pos_pack(pos)};
    s->hash = hash64(key, payload);
    return 0;
}

static uint8_t take(struct slice *in)
{
    if (!in->n)
        return 0;
    uint8_t c = (uint8_t)in->p[0];
    *in = slice_of(in->p + 1, in->n - 1);
    return c;
}

static struct slice take_n(struct slice *in, size_t n)
{
    struct slice s = slice_of(in->p, n < in->n ? n : in->n);
    *in = slice_of(in->p + s.n, in->n - s.n);
    return s;
}

/* The input is a list of steps, so that checksums are right without the fuzzer having to guess them. */
static void build(struct slice in, struct seg_id id, struct buf *out)
{
    uint32_t salt = seg_salt(SPOOL_ID, id);
    while (in.n) {
        uint8_t what = take(&in);
        char word[8] = {0};
        struct slice s;
        switch (what % 6) {
        case 0:
        case 1:
            frame_put(out, salt, TAG_RECORD, take_n(&in, what / 6u));
            break;
        case 2:
            s = take_n(&in, 2);
            memcpy(word, s.p, s.n);
            frame_put(out, salt, TAG_EPOCH, slice_of(word, 8));
            break;
        case 3:
            s = take_n(&in, what & 128 ? 4 : 2);
            memcpy(word, s.p, s.n);
            frame_put(out, salt, TAG_AT, slice_of(word, 4));
            break;
        case 4:
            buf_adds(out, take_n(&in, what / 6u));
            break;
        case 5:
            frame_put(out, salt, what / 6u % FRAME_TAGS, take_n(&in, 9));
            break;
        }
    }
}

static enum spool_keep keep(struct spool_rewrite *rw, struct spool_pos pos, struct slice payload,
                            struct buf *out)
{
    return SPOOL_KEEP;
}

static void on_done(struct spool_rewrite *rw, int rc)
{
    INVARIANT(rc == 0);
}

static struct seen replay(struct fs *fs, bool rewrite)
{
    struct seen s = {0};
    struct spool *sp;
    struct err err = {0};
    struct loop *loop = loop_new_virtual(1, 0);
    struct work *work = work_new(&(struct work_conf){.loop = loop, .name = "sync", .threads = 1});
    struct spool_conf conf = {.fs = fs, .dir = "s", .loop = loop, .sync = work};
    struct spool_rewrite rw = {.segment = 1, .filter = keep, .done = on_done};
    struct buf b = {0};
    int rc = spool_open(&sp, &conf, on_record, &s, NULL, &err);
    INVARIANT(rc == 0);
    for (size_t i = 0; i < s.n && i < 1000; i++) {
        rc = spool_read(sp, s.pos[i], &b, &err); /* positions may be nonsense: any answer will do */
        buf_clear(&b);
    }
    if (rewrite) {
        rc = spool_rewrite(sp, &rw);
        loop_run(loop);
    }
    spool_stop(sp);
    work_free(work);
    spool_free(sp);
    loop_free(loop);
    buf_free(&b);
    free(s.pos);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    uint8_t how = take(&in);
    struct seg_id id = {how & 1 ? SPOOL_EVENTS : SPOOL_RECIPIENTS, 1, how >> 1 & 1};
    struct buf file = {0}, path = {0};
    struct fs *fs = fs_memory();
    seg_header_put(&file, &(struct seg_header){id, SPOOL_ID, how >> 3});
    build(in, id, &file);
    INVARIANT(fs_mkdir(fs, "s", 0700, NULL) == 0);
    INVARIANT(fs_write_atomic(fs, seg_path(&path, "s", id, false), buf_slice(&file), 0600, NULL) == 0);
    struct seen first = replay(fs, true), second = replay(fs, false);
    INVARIANT(first.n == second.n && first.hash == second.hash);
    fs_free(fs);
    buf_free(&file);
    buf_free(&path);
    return 0;
}
