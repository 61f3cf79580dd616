/* journal_rig.h - a state folder written record by record, and the commands that look at one, run on it. */
#ifndef HATO_TESTS_UNIT_JOURNAL_RIG_H
#define HATO_TESTS_UNIT_JOURNAL_RIG_H

#include "format/record.h"
#include "platform/spool.h"

enum { RIG_WALL_S = 1782986400 }; /* 2026-07-02 10:00:00 UTC */

struct journal_rig {
    char dir[300];
    struct fs *fs;
    struct loop *loop;
    struct work *work;
    struct spool *spool;
    uint64_t next_event;
};

/* A fresh folder with a secret of 32 bytes 7. Aborts where the rig itself fails. */
void journal_rig_open(struct journal_rig *r);
void journal_rig_close(struct journal_rig *r);
/* What was appended reaches the files. */
void journal_rig_turn(struct journal_rig *r);

void journal_rig_put(struct journal_rig *r, enum spool_kind kind, const struct rec *rec);
void journal_rig_name(struct journal_rig *r, enum rec_name_kind kind, uint32_t number, const char *name);
/* Numbers it, and makes text fields that are not set empty. */
void journal_rig_event(struct journal_rig *r, struct rec_event ev);
void journal_rig_accept(struct journal_rig *r, uint64_t id, const char *address);

/* Campaign hello, accepted at 10:00:00: m1 taro@example.jp deferred at 10:00:01 and delivered at 10:00:02,
 * m2 hanako@example.jp bounced at :02, m3 jiro@example.jp held at :03. */
void journal_rig_story(struct journal_rig *r);

/* Run a command on the folder; --state is added unless it is among the words (NULL ends them). What it prints
 * is appended to out, its errors go to stderr. Returns the exit code. */
int journal_rig_run(struct journal_rig *r, int (*cmd)(int argc, char **argv), struct buf *out,
                    const char *word, ...);

#endif
