/* timesheet.h - where the time of all messages of a journal went, added up by reason. */
#ifndef HATO_DELIVERY_TIMESHEET_H
#define HATO_DELIVERY_TIMESHEET_H

#include "delivery/chain.h"
#include "platform/file.h"

struct timesheet {
    uint64_t messages;
    int64_t ms[REASON_KINDS]; /* by kind; REASON_NONE: nothing accounts for it */
    uint64_t worst_id;        /* the message that has most of that */
    int64_t worst_ms;
};

/* Reads the folder without its lock, and holds every message of it in memory, some 300 bytes each. now_ms:
 * UTC, where the time of those ends that have no end; running: a hato works on it. */
int timesheet_read(struct fs *fs, const char *state, int64_t now_ms, bool running, struct timesheet *out,
                   struct err *e);
/* "connections 12 min, limit 3 h 12 min": the longest first; no line end. */
void timesheet_text(const struct timesheet *t, struct buf *out);

#endif
