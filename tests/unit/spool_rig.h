/* spool_rig.h - a spool on a virtual loop, and a list of what it replayed; shared by the spool's tests. */
#ifndef HATO_TESTS_UNIT_SPOOL_RIG_H
#define HATO_TESTS_UNIT_SPOOL_RIG_H

#include "platform/spool.h"

struct rig_record {
    enum spool_kind kind;
    struct spool_pos pos;
    struct buf payload;
};

struct rig {
    struct fs *fs;
    struct loop *loop;
    struct work *work;
    struct spool *spool;
    const char *dir;
    uint32_t segment_bytes;
    uint64_t journal_max;
    uint32_t reserve_bytes;
    struct rig_record *v; /* replayed at the last open or scan */
    size_t n;
    struct spool_report report;
    struct buf notices; /* texts, each with a line end */
    int last_code;
    struct err err;
};

/* Open the spool at r->dir ("spool" if NULL) on r->fs. 0 or ERR_*. */
int rig_open(struct rig *r, bool is_virtual);
void rig_close(struct rig *r); /* stop, free; fs stays */
int rig_scan(struct rig *r);
void rig_free(struct rig *r); /* close and free fs and all */

/* Let the loop do what can be done now, and virtual time pass up to ms. */
void rig_run(struct rig *r, int64_t ms);

/* Append text and return its position; abort on failure. */
struct spool_pos rig_put(struct rig *r, enum spool_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* All that was replayed: "n:text" "r:text" "e:text", each followed by a space. */
struct slice rig_text(struct rig *r, struct buf *out);

#endif
