/* spool.h - the journal: what was accepted and what became of it, on disk before anybody is told.
 *
 * An append-only journal in a folder, in segments of some 64 MiB. A record is bytes (what they mean is
 * format/record's) and of one of three kinds, each with segments of its own: names (a dictionary that the
 * others refer to, never compacted), recipients, events. Names are replayed first, then recipients and events
 * in the order in which they were appended, whichever they are.
 *
 * Layout of the folder: lock, id (a number that goes into all checksums), run (there while a process has it
 * open), reserve (room for the last outcomes on a full disk), and KIND-SEQUENCE.GENERATION, for example
 * events-0000000017.0. A segment is a header of 48 bytes and then frames (format/frame.h) of three tags:
 * record, epoch (the number of the stretch in which only this kind was appended; orders the kinds among each
 * other) and at (the position of what follows; only in a segment that was rewritten).
 *
 * What holds:
 *  1. A position names a record for life: it stays when the segment is rewritten, is never given to
 *     another record, and may be kept inside other records once it is durable, not before.
 *  2. What was appended in a turn is handed to the system by one write a kind at the end of that
 *     turn, before the turn's bytes go to sockets; so the end of the process loses nothing of an
 *     earlier turn.
 *  3. spool_when_durable() calls after the bytes and, for a new segment, its name are synced. A sync
 *     begins at most sync_delay_ms after the first unsynced record, or at once where somebody waits
 *     and none is running.
 *  4. After a failed sync the segment is closed and a new generation of it is written from what is
 *     known to be on disk and a copy in memory; until that has synced nothing is called durable and
 *     spool_status() is ERR_IO. The file that failed is never asked again.
 *  5. A segment has one valid generation at every moment: the highest whose name is there. It gets
 *     its name after its bytes are synced; the lower one goes after that.
 *  6. The segment with the highest number is never removed, only emptied: numbers are not used twice.
 *  7. No process appends to a segment of an earlier one.
 *  8. A torn tail is cut at the last whole record. A bad place in the middle is reported and left
 *     out; what is behind it counts (events behind it as late as their order allows, so that they do
 *     not come before what they speak of).
 *
 * The windows: after kill -9 everything written at a turn's end is there. After power loss everything
 * reported durable is there, and of what came later any part may be, even without what came before it. Two
 * things follow for those who use it. A record may speak of a name that was lost: such a record was never
 * durable, it is to be left out, and no new name may get an id that any record mentions. And an effect that
 * must not come twice needs its record durable first.
 *
 * A full disk or journal_max refuses recipients (ERR_FULL) and takes events: the file `reserve` is given up
 * for them, and made again when there is room. If that does not suffice either, events wait in memory.
 *
 * Failpoints: spool.create.after, spool.write.before, spool.write.after, spool.sync.before,
 * spool.sync.between, spool.sync.after, spool.rewrite.before, spool.rewrite.named, spool.rewrite.after,
 * spool.drop.after. */
#ifndef HATO_PLATFORM_SPOOL_H
#define HATO_PLATFORM_SPOOL_H

#include "platform/file.h"
#include "platform/work.h"

struct spool;

/* In the order of their dependence: events speak of recipients, both of names. */
enum spool_kind { SPOOL_NAMES, SPOOL_RECIPIENTS, SPOOL_EVENTS, SPOOL_KINDS };

struct spool_pos {
    uint32_t segment, offset;
};
static inline uint64_t spool_pos_pack(struct spool_pos p)
{
    return (uint64_t)p.segment << 32 | p.offset;
}
static inline struct spool_pos spool_pos_unpack(uint64_t v)
{
    return (struct spool_pos){(uint32_t)(v >> 32), (uint32_t)v};
}

enum { SPOOL_RECORD_MOST_BYTES = (1 << 24) - 1 };

/* --- reading what is there --- */

/* Called for every record in order; payload is borrowed for the call. Not 0 ends the reading with that code.
 */
typedef int (*spool_replay_fn)(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload);

enum spool_last_stop { SPOOL_CLEAN, SPOOL_KILLED, SPOOL_POWER_LOSS /* or not known which */ };

struct spool_report {
    uint64_t records[SPOOL_KINDS], bytes;
    uint32_t segments;
    uint32_t torn_tails;
    uint64_t torn_bytes;
    uint32_t damaged_places; /* each was told to notice() */
    uint64_t damaged_bytes;
    enum spool_last_stop last_stop;
};

/* code: ERR_CORRUPT (a bad place: file, offset, length), ERR_FULL, ERR_IO, or 0 when trouble is over. */
typedef void (*spool_notice_fn)(void *data, int code, const char *text);

/* Read a spool without the lock, also while a process writes to it. Changes nothing. notice may be NULL. */
int spool_scan(struct fs *fs, const char *dir, spool_replay_fn fn, spool_notice_fn notice, void *data,
               struct spool_report *report, struct err *err);

/* How far a reader has come. Zero: nothing was read. */
struct spool_tail {
    bool begun;
    struct spool_pos last[SPOOL_KINDS]; /* segment 0, offset 0: none of this kind */
};
/* spool_scan() the first time, and after that only what was appended since the last call: names, then
 * recipients, then events, each kind in order. A record is given to fn once; if fn ends the reading, the next
 * call goes on behind that record. */
int spool_scan_on(struct fs *fs, const char *dir, struct spool_tail *tail, spool_replay_fn fn,
                  spool_notice_fn notice, void *data, struct err *err);

/* The records of one segment, as far as it is written; any thread, also of a spool that is open here. Changes
 * nothing. 0 and nothing if there is no such segment. */
int spool_scan_segment(struct fs *fs, const char *dir, uint32_t sequence, spool_replay_fn fn,
                       spool_notice_fn notice, void *data, struct err *err);

/* --- life --- */

struct spool_conf {
    struct fs *fs;
    const char *dir;
    struct loop *loop;
    struct work *sync;      /* a pool of one thread */
    struct file *lock;      /* spool_lock() of dir, the spool's from now on; NULL: it takes it itself */
    uint32_t segment_bytes; /* 0: 64 MiB; at most 1 GiB */
    uint64_t journal_max;   /* bytes, all segments together; 0: no bound */
    uint32_t reserve_bytes; /* room kept for outcomes on a full disk; 0: 16 MiB */
    int sync_delay_ms;      /* 0: 10 */
    bool aside;             /* only a word is added: how the process before ended stays to be found */
    spool_notice_fn notice; /* may be NULL */
    void *notice_data;
};

/* Make dir if need be and hold it for this process, before anything in it is looked at. ERR_LOCKED names the
 * process that has it. file_close() gives it up. */
int spool_lock(struct fs *fs, const char *dir, struct file **out, struct err *err);

/* Lock, replay, cut torn tails. ERR_LOCKED names the process that has the folder, ERR_VERSION the file that
 * is newer than this program. report may be NULL. */
int spool_open(struct spool **out, const struct spool_conf *conf, spool_replay_fn fn, void *data,
               struct spool_report *report, struct err *err);

/* To end: spool_stop(), then work_free() of the sync pool, then spool_free(), which writes and syncs what is
 * left. Waits that are not durable then get ERR_CANCELED. */
void spool_stop(struct spool *sp);
void spool_free(struct spool *sp);

/* --- writing; loop thread --- */

/* Buffered until the turn's end; *pos is known at once. Recipients: ERR_FULL or ERR_IO while none are taken.
 * Events and names are always taken (see spool_status). ERR_LIMIT: longer than SPOOL_RECORD_MOST_BYTES. */
int spool_append(struct spool *sp, enum spool_kind kind, struct slice payload, struct spool_pos *pos);

/* Owned by the spool until fn. */
struct spool_wait {
    void (*fn)(struct spool_wait *w, int status);
    void *data;
    struct spool_wait *next;
    uint64_t point;
};

/* fn is called on the loop, never from inside this call, when all that was appended so far is durable.
 * status: 0; ERR_FULL: recipients appended in this turn found no room, do not exist, and their positions will
 * be used again (names and events of the turn do exist, and become durable later); ERR_CANCELED: the spool
 * was freed before. */
void spool_when_durable(struct spool *sp, struct spool_wait *w);

/* 0, or ERR_FULL (events wait in memory for room) or ERR_IO (a write or sync failed and is being made good):
 * begin no new attempt. A disk on which outcomes can still be written is 0, even if recipients are refused.
 */
int spool_status(const struct spool *sp);

/* The disk is full and the reserve is given up: what room there is is for outcomes, and for nothing else. */
bool spool_is_short(const struct spool *sp);

/* --- reading; any thread --- */

/* Append the payload to out. The record must have been appended in an earlier turn. ERR_NOTFOUND: the segment
 * was dropped, or the record was when the segment was rewritten. */
int spool_read(struct spool *sp, struct spool_pos pos, struct buf *out, struct err *err);

/* --- compaction; loop thread --- */

struct spool_segment {
    enum spool_kind kind;
    uint32_t sequence, generation;
    uint64_t bytes;
    bool sealed; /* no more appends */
};
/* In order of sequence. fn must not append. */
void spool_segments(struct spool *sp, void (*fn)(void *data, const struct spool_segment *s), void *data);
uint64_t spool_bytes(const struct spool *sp);

/* The next append of this kind begins a new segment, so that the present one can be rewritten or dropped. */
void spool_seal(struct spool *sp, enum spool_kind kind);

enum spool_keep { SPOOL_KEEP, SPOOL_DROP, SPOOL_REPLACE };

/* Owned by the spool until done. */
struct spool_rewrite {
    uint32_t segment;
    /* On the sync thread, for every record in order. SPOOL_REPLACE: the record's new payload is what filter
     * appended to *replacement, which is empty before. */
    enum spool_keep (*filter)(struct spool_rewrite *rw, struct spool_pos pos, struct slice payload,
                              struct buf *replacement);
    void (*done)(struct spool_rewrite *rw, int rc);
    void *data;
    uint64_t kept, dropped, replaced; /* set before done */
};
/* Write the segment anew, in slices between syncs. ERR_AGAIN: one is being rewritten; ERR_NOTFOUND;
 * ERR_INVAL: not sealed, or names. Otherwise 0, and done is called unless the spool is stopped before; when
 * it gets 0 the old bytes are gone. */
int spool_rewrite(struct spool *sp, struct spool_rewrite *rw);

/* Remove the segment and all in it (filter is not used). Returns and calls done as spool_rewrite does. The
 * drop is durable when done gets 0; drop recipients before the events that settled them. */
int spool_drop(struct spool *sp, struct spool_rewrite *rw);

#endif
