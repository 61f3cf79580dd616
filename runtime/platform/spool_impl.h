/* spool_impl.h - what the parts of the spool share: segments and their files. Only spool*.c include this.
 *
 * spool.c appends, syncs and keeps promises 2 to 4; spool_segment.c knows the bytes of a segment and reads
 * single records; spool_life.c opens and closes; spool_replay.c reads whole folders; spool_compact.c writes
 * new generations. */
#ifndef HATO_PLATFORM_SPOOL_IMPL_H
#define HATO_PLATFORM_SPOOL_IMPL_H

#include "platform/spool.h"

#include <pthread.h>

enum { SPOOL_VERSION = 1, SEGMENT_HEADER_BYTES = 48, INDEX_STEP_BYTES = 4096, OPEN_FILES_MOST = 128 };
enum { TAG_RECORD, TAG_EPOCH, TAG_AT };

struct seg_id {
    enum spool_kind kind;
    uint32_t sequence, generation;
};

struct seg_header {
    struct seg_id id;
    uint64_t spool_id, epoch;
};

/* Where to begin looking for a position in a rewritten segment: one entry for some INDEX_STEP_BYTES. */
struct seg_mark {
    uint32_t logical, physical;
};

/* The file of one generation. Readers hold it while they read; whoever lets go last closes it. */
struct seg_file {
    struct seg_id id;
    uint32_t salt;
    int refs;       /* under spool.lock */
    bool pinned;    /* being appended to: not to be closed to save descriptors */
    struct file *f; /* under spool.lock; NULL: not open now */
    uint64_t used;  /* under spool.lock: when last */
    struct seg_mark *marks;
    size_t nmarks, marks_cap;
};

struct seg {
    struct seg_id id;
    uint64_t first_epoch;
    uint64_t end;  /* length of the file when all is written */
    bool sealed;   /* no more appends */
    bool created;  /* the file is there */
    bool named;    /* and its name is synced */
    bool bad;      /* a write or sync failed: needs a new generation */
    bool is_dirty; /* in spool.dirty */
    /* Bytes that are not known to be on disk: tail.p[0] belongs at tail_at, the first `written` are in the
     * file. */
    struct buf tail;
    uint64_t tail_at;
    size_t written;
    struct seg_file *file; /* the pointer under spool.lock */
};

struct sync_item {
    struct seg *seg;
    struct seg_file *file;
    uint64_t upto;
    int rc;
};

struct compaction;

struct spool {
    struct spool_conf conf;
    char *dir;
    struct fs *fs;
    struct file *lock_file;
    uint64_t id;

    pthread_mutex_t lock; /* segs (changed by the loop alone), seg.file, files' refs */
    struct seg **segs;    /* by sequence */
    size_t nsegs;
    int open_files;
    uint64_t tick;

    struct seg *active[SPOOL_KINDS];
    struct seg **dirty; /* segments with a tail, in order of sequence */
    size_t ndirty;
    uint32_t next_sequence;
    uint64_t epoch;
    int last_kind; /* -1: the next append begins a stretch */
    uint64_t bytes;

    uint64_t appended, written, durable; /* counts of records: all, handed to the system, synced */
    struct spool_wait *waits, **last_wait;
    int64_t unsynced_since_ms; /* -1: nothing is */
    int64_t hold_until_ms;     /* after a failure: no new try before */
    bool dir_dirty;            /* a name is not synced */
    bool full;                 /* no recipients are taken */
    bool stuck;                /* events wait in memory for room */
    bool failed;               /* a write or sync failed and what it was about is not safe yet */
    bool has_reserve;          /* the file is there, whole */
    bool stopping;
    bool leaves_run; /* conf.aside: the `run` file of the process before stays */

    struct loop_hook hook;
    struct loop_timer timer, room_timer;
    struct spool_fire *fire;

    bool syncing;
    struct work_job sync_job;
    struct sync_item *items;
    size_t nitems;
    bool sync_dir;
    int dir_rc;
    uint64_t sync_point;
    struct err sync_err;

    struct compaction *compaction;
};

/* --- spool_segment.c --- */
const char *seg_kind_name(enum spool_kind kind);
/* DIR/KIND-SEQUENCE.GENERATION[.tmp], NUL behind it; replaces what is in out. */
const char *seg_path(struct buf *out, const char *dir, struct seg_id id, bool tmp);
bool seg_parse_name(const char *name, struct seg_id *id, bool *tmp);
uint32_t seg_salt(uint64_t spool_id, struct seg_id id);
void seg_header_put(struct buf *out, const struct seg_header *h);
/* ERR_CORRUPT: too short or not a header; ERR_VERSION: a newer one. */
int seg_header_read(struct slice in, struct seg_header *out, uint32_t *version);

struct seg_record {
    struct slice payload;
    struct spool_pos pos;
    uint64_t epoch;
};
/* All records of a segment whose bytes are in memory. */
struct seg_reader {
    struct seg_id id;
    uint32_t salt;
    struct slice all;
    size_t at, whole_end; /* behind the last frame read; behind the last good one */
    uint32_t shift;       /* logical minus physical */
    bool lost;            /* an at frame may be missing: positions are not known */
    bool guessed;         /* epoch is what epoch_after_damage() made of it */
    uint64_t epoch, later_epoch;
    struct seg_file *index; /* gets marks; may be NULL */
    void (*damage)(void *data, struct seg_id id, uint64_t offset, uint64_t length);
    void *data;
    size_t torn_bytes;
};
/* epoch: of the header, or 0 where that is damaged. later_epoch: no record here is later than this. */
void seg_reader_init(struct seg_reader *r, struct seg_id id, uint64_t spool_id, struct slice all,
                     uint64_t epoch, uint64_t later_epoch, bool header_damaged);
int seg_reader_next(struct seg_reader *r, struct seg_record *out); /* 0 or ERR_EOF */
void seg_file_mark(struct seg_file *sf, uint32_t logical, uint32_t physical);

struct seg_file *seg_file_new(struct seg_id id, uint64_t spool_id);           /* one ref */
int seg_file_acquire(struct spool *sp, struct seg_file *sf, struct err *err); /* spool.lock held */
void seg_file_release(struct spool *sp, struct seg_file *sf);                 /* spool.lock held */

/* --- spool_replay.c --- */
struct found_segment {
    struct seg_id id;
    struct seg_header header;
    bool header_damaged, empty;
    uint64_t bytes, whole_bytes;
    struct seg_file *file; /* with its index; only where asked for */
};
struct found {
    struct found_segment *v;
    size_t n;
    uint64_t spool_id, epoch;
    bool has_id_file;
    uint32_t highest;
    char **stale; /* names of files that nothing needs */
    size_t nstale;
};
int found_list(struct fs *fs, const char *dir, struct found *out, struct err *err);
int found_replay(struct fs *fs, const char *dir, struct found *found, bool index, spool_replay_fn fn,
                 spool_notice_fn notice, void *data, void *notice_data, struct spool_report *report,
                 struct err *err);
void found_free(struct found *f);

/* --- spool.c --- */
void spool_notice(struct spool *sp, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void spool_add_seg(struct spool *sp, struct seg *seg); /* in rising sequence */
void spool_remove_seg(struct spool *sp, struct seg *seg);
struct seg *spool_find_seg(const struct spool *sp, uint32_t sequence);
const char *spool_path(struct spool *sp, const char *name, struct buf *path); /* DIR/name, in path */
/* Set the reserve aside; with room to spare only if as much again would fit. */
bool spool_make_reserve(struct spool *sp, bool to_spare);
bool spool_release_reserve(struct spool *sp);                /* true: there was one */
void spool_become_full(struct spool *sp, const char *words); /* until there is room again */
void spool_write_turn(struct spool *sp);
void spool_sync_now(struct spool *sp); /* on this thread; no sync job runs */
void spool_writer_init(struct spool *sp);
void spool_writer_free(struct spool *sp);

/* --- spool_compact.c --- */
/* Begin a new generation of a bad segment. Only where none is running. */
void spool_heal(struct spool *sp, struct seg *seg);
/* What a stopped compaction leaves behind; no job of it runs. */
void spool_compaction_abandon(struct spool *sp);

#endif
