/* db.h - one SQLite database, its files reached through `file`: real, in memory, or forgetting.
 *
 * Used by one thread at a time: the database thread, and the loop's while a process starts and ends. Results
 * and parameters are slices and 64-bit integers; statements belong to who prepared them. SQL is the callers'.
 *
 * WAL with locking_mode=EXCLUSIVE: one process and one connection write, so there is no shared memory and no
 * -shm file. What follows:
 *  1. At rest (db_close) everything is in the one file, and any program of SQLite's may open it. After a kill
 *     there is a -wal file beside it, which they take up as well.
 *  2. While it is open, every other program is told "database is locked" (file_guard() on SQLite's lock
 *     bytes). Letting readers in would need the shared memory, that is mmap and locks outside of `file`, for
 *     what db_open_copy() does without: it looks at a copy, consistent as of some commit, and disturbs
 * nobody.
 *  3. DB_SYNCED commits survive the loss of power. DB_ORDERED ones survive the end of the process, and after
 *     power loss those that are left are the first ones: a database is never torn. */
#ifndef HATO_PLATFORM_DB_H
#define HATO_PLATFORM_DB_H

#include "platform/file.h"

struct db;
struct db_stmt;

/* Made if it is not there. ERR_LOCKED: another program has it open; ERR_CORRUPT: no database. */
int db_open(struct fs *fs, const char *path, struct db **out, struct err *err);
/* A copy in memory, also while a process writes to it. Changes to it are lost. ERR_NOTFOUND: there is none.
 */
int db_open_copy(struct fs *fs, const char *path, struct db **out, struct err *err);
/* Moves what is in the -wal file into the database, where the disk lets it. NULL is fine. */
void db_close(struct db *db);

/* Statements without parameters and results, with ; between them. */
int db_run(struct db *db, const char *sql, struct err *err);

/* The schema: steps[i] leads from version i (PRAGMA user_version) to i + 1, all in one transaction.
 * ERR_VERSION: the file is of a newer program than this one. */
int db_migrate(struct db *db, const char *const *steps, int nsteps, struct err *err);

/* --- transactions --- */
enum db_durability { DB_ORDERED, DB_SYNCED };
int db_begin(struct db *db, enum db_durability durability, struct err *err);
/* After an error nothing of the transaction is there. */
int db_commit(struct db *db, struct err *err);
void db_rollback(struct db *db); /* nothing happens where none is open */

/* --- statements; parameters and columns are counted from 0 --- */
int db_prepare(struct db *db, const char *sql, struct db_stmt **out, struct err *err);
void db_bind_text(struct db_stmt *s, int at, struct slice text); /* copied */
void db_bind_int(struct db_stmt *s, int at, int64_t n);
void db_bind_null(struct db_stmt *s, int at);
/* 0: a row is there; ERR_EOF: no more, and the statement is ready to be used again. */
int db_step(struct db_stmt *s, struct err *err);
/* Of the row; text is borrowed until the next call on s. NULL reads as 0 and as empty. */
int64_t db_int(struct db_stmt *s, int column);
struct slice db_text(struct db_stmt *s, int column);
bool db_is_null(struct db_stmt *s, int column);
void db_reset(struct db_stmt *s);  /* before its rows have ended */
void db_finish(struct db_stmt *s); /* NULL is fine */

/* Step a statement that has no rows. */
int db_do(struct db_stmt *s, struct err *err);

#endif
