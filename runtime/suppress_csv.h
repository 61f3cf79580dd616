/* suppress_csv.h - suppression lists as files: CSV as offices and other senders' tools have it.
 *
 * Columns by name: email (or another word for address that hato.csv knows), scope, reason, since, expires,
 * provisional_until, evidence; all but the first may be missing, others are passed over. Times are UTC:
 * "2026-07-01", "2026-07-01 10:00:00", "2026-07-01T10:00:00.123Z". */
#ifndef HATO_SUPPRESS_CSV_H
#define HATO_SUPPRESS_CSV_H

#include "delivery/suppression.h"
#include "opts.h"
#include "platform/file.h"

struct suppress_csv_conf {
    struct fs *fs;
    const char *path;
    const struct opt_list *map; /* "reason=Grund": the header of a column */
    struct suppression
        otherwise; /* what a row says where a column or its cell is not there; expires_ms too */
    int64_t now_ms;
    bool opt_ins; /* opt-ins and no suppressions: since_ms is the column opt_in's, all else `otherwise`'s */
    void *data;
    /* A row; borrowed. Not 0 ends the reading with that code. */
    int (*row)(void *data, const struct suppression *s, struct err *e);
    void (*bad)(void *data, uint64_t line, const char *why);
};
/* ERR_* where the file cannot be read, or has no address column. */
int suppress_csv_read(const struct suppress_csv_conf *conf, struct err *e);

/* A time as its columns have it. ERR_SYNTAX: "name: … is no time such as …". */
int suppress_csv_time(struct slice text, const char *name, int64_t *ms, struct err *e);

/* The header line, and one of a suppression, that suppress_csv_read() reads back. */
void suppress_csv_header(struct buf *out);
void suppress_csv_line(struct buf *out, const struct suppression *s);

#endif
