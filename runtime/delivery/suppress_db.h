/* suppress_db.h - the store of suppressions: STATE/hato.db, and all SQL that hato has.
 *
 * Table suppression: one row an address and scope, those in quarantine too. Table soft_bounce: what is
 * counted toward one (soft_count.h). Table domain: which took mail lately (alive.h). Table consumer: how far
 * events have been applied, moved in the transaction that applies them. Times are UTC in milliseconds. One
 * thread at a time (see db.h).
 *
 * Portable but for WITHOUT ROWID and user_version, which are SQLite's. */
#ifndef HATO_DELIVERY_SUPPRESS_DB_H
#define HATO_DELIVERY_SUPPRESS_DB_H

#include "delivery/suppression.h"
#include "platform/db.h"

#define SUPPRESS_DB_FILE "hato.db"

struct suppress_db;

/* In this state folder, whose lock the caller has. */
int suppress_db_open(struct fs *fs, const char *state, struct suppress_db **out, struct err *e);
/* To look only, also while a process has the folder: changes are lost. ERR_NOTFOUND: there is none yet. */
int suppress_db_look(struct fs *fs, const char *state, struct suppress_db **out, struct err *e);
void suppress_db_close(struct suppress_db *db); /* NULL is fine */

/* --- changes: between begin and commit --- */

/* DB_SYNCED for what people change, before they are told that it is done. */
int suppress_db_begin(struct suppress_db *db, enum db_durability durability, struct err *e);
int suppress_db_commit(struct suppress_db *db, struct err *e);
void suppress_db_rollback(struct suppress_db *db);

/* Merged with what is there (suppression_weigh() at now_ms). *fresh: it is new or weighs more. */
int suppress_db_add(struct suppress_db *db, const struct suppression *s, int64_t now_ms, bool *fresh,
                    struct err *e);
/* ERR_NOTFOUND (e unchanged): there is none. */
int suppress_db_remove(struct suppress_db *db, struct slice address, enum suppress_scope scope,
                       struct slice name, struct err *e);
/* Rows that ended by now_ms go; those in quarantine a month later, what was counted after a year. What was
 * provisional until now_ms is certain. */
int suppress_db_purge(struct suppress_db *db, int64_t now_ms, struct err *e);

/* What is not certain at at_ms about people at this isp is taken back: into the outbreak guard's quarantine.
 */
int suppress_db_set_aside(struct suppress_db *db, struct slice isp, int64_t at_ms, struct err *e);
/* Those in quarantine, of this address or (empty) of this isp or (both empty) all: let go, or suppressed as a
 * hard bounce. fn is told of each (may be NULL); borrowed. */
int suppress_db_decide(struct suppress_db *db, struct slice address, struct slice isp, bool confirm,
                       void (*fn)(void *data, struct slice address), void *data, struct err *e);

/* --- what is counted; SUPPRESS_DB_DELIVERED stands for a delivery --- */
#define SUPPRESS_DB_DELIVERED S("delivered")
struct suppress_db_soft {
    struct slice address, class_name;
    int64_t at_ms;
};
int suppress_db_count_soft(struct suppress_db *db, const struct suppress_db_soft *s, struct err *e);
/* The deliveries to this address since then were none. */
int suppress_db_late(struct suppress_db *db, struct slice address, int64_t since_ms, struct err *e);
int suppress_db_forget_soft(struct suppress_db *db, struct slice address, struct err *e);
/* Of this address or (empty) of all, in order of address and time. Not 0 ends it with that code. */
int suppress_db_each_soft(struct suppress_db *db, struct slice address,
                          int (*fn)(void *data, const struct suppress_db_soft *s), void *data, struct err *e);

/* Events with numbers up to this one are applied. */
int suppress_db_cursor(struct suppress_db *db, uint64_t *event, struct err *e);
int suppress_db_set_cursor(struct suppress_db *db, uint64_t event, struct err *e);

/* --- domains (alive.h) --- */
int suppress_db_took(struct suppress_db *db, struct slice domain, int64_t at_ms, struct err *e);
int suppress_db_gone(struct suppress_db *db, struct slice domain, int64_t since_ms,
                     struct err *e); /* 0: no */
int suppress_db_each_domain(struct suppress_db *db,
                            void (*fn)(void *data, struct slice domain, int64_t delivered_ms,
                                       int64_t gone_since_ms),
                            void *data, struct err *e);

/* --- looking --- */

/* ERR_NOTFOUND (e unchanged): there is none that has not ended. Borrowed until the next call. */
int suppress_db_get(struct suppress_db *db, struct slice address, enum suppress_scope scope,
                    struct slice name, int64_t now_ms, struct suppression *out, struct err *e);
/* fn for every row that has not ended, of this address or (empty) of all, in order of address and scope. Not
 * 0 ends it with that code. */
int suppress_db_each(struct suppress_db *db, struct slice address, int64_t now_ms,
                     int (*fn)(void *data, const struct suppression *s), void *data, struct err *e);
/* The same, of those in quarantine: they may have ended. */
int suppress_db_each_quarantined(struct suppress_db *db, struct slice address, int64_t now_ms,
                                 int (*fn)(void *data, const struct suppression *s), void *data,
                                 struct err *e);
int suppress_db_count(struct suppress_db *db, uint64_t *n, struct err *e);

#endif
