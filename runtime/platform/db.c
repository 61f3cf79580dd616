/* db.c - see db.h. */
#include "platform/db_impl.h"
#include "platform/db.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { COPY_TRIES = 20, WAL_HEADER = 32 };
#define COPY_MOST_BYTES ((size_t)1 << 34)

struct db {
    struct db_vfs vfs;
    sqlite3 *sqlite;
    char *path;
    struct fs *own_fs; /* of a copy */
    enum db_durability durability;
};

struct db_stmt {
    struct db *db;
    sqlite3_stmt *stmt;
};

/* SQLite's code says what kind of failure it was; where a file failed, the file's own words say more. */
static int fail(struct db *db, int code, struct err *err)
{
    const char *words = db->sqlite ? sqlite3_errmsg(db->sqlite) : sqlite3_errstr(code);
    INVARIANT(code != SQLITE_NOMEM); /* as everywhere: the spool makes a restart safe */
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_LOCKED, "%s: another program has it open", db->path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return err_set(err, ERR_CORRUPT, "%s: %s", db->path, words);
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        if (!db->vfs.failed.code)
            return err_set(err, ERR_IO, "%s: %s", db->path, words);
        if (err)
            *err = db->vfs.failed;
        return db->vfs.failed.code;
    case SQLITE_TOOBIG:
        return err_set(err, ERR_LIMIT, "%s: %s", db->path, words);
    default:
        return err_set(err, ERR_INVAL, "%s: %s", db->path, words);
    }
}

int db_run(struct db *db, const char *sql, struct err *err)
{
    int code = sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL);
    return code ? fail(db, code, err) : 0;
}

/* --- life --- */

static int open_with(struct db *db, struct err *err)
{
    int code = db_vfs_init(&db->vfs, db->own_fs ? db->own_fs : db->vfs.fs);
    if (!code)
        code =
            sqlite3_open_v2(db->path, &db->sqlite,
                            SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, db->vfs.name);
    if (code)
        return fail(db, code, err);
    sqlite3_extended_result_codes(db->sqlite, 1);
    /* Exclusive before the WAL is first looked at: only then is no shared memory needed. */
    int rc = db_run(db,
                    "PRAGMA temp_store=MEMORY; PRAGMA locking_mode=EXCLUSIVE; PRAGMA trusted_schema=OFF;"
                    "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-2000",
                    err);
    db->durability = DB_ORDERED;
    return rc;
}

int db_open(struct fs *fs, const char *path, struct db **out, struct err *err)
{
    struct db *db = mem_zalloc(sizeof *db);
    db->path = mem_dup(path, strlen(path));
    db->vfs.fs = fs;
    int rc = open_with(db, err);
    if (rc) {
        db_close(db);
        return rc;
    }
    *out = db;
    return 0;
}

/* The first bytes of the -wal file change when it is begun anew; none where there is no such file. */
static int wal_header(struct fs *fs, const char *path, char header[WAL_HEADER], struct err *err)
{
    struct file *f;
    size_t got = 0;
    memset(header, 0, WAL_HEADER);
    int rc = file_open(fs, path, FILE_READ, 0, &f, err);
    if (rc)
        return rc == ERR_NOTFOUND ? 0 : rc;
    rc = file_pread(f, 0, header, WAL_HEADER, &got, err);
    file_close(f);
    return rc;
}

static int copy_file(struct fs *from, struct fs *to, const char *path, const char *as, struct err *err)
{
    struct buf bytes = {0};
    struct file *f;
    int rc = fs_read_whole(from, path, COPY_MOST_BYTES, &bytes, err);
    if (!rc)
        rc = file_open(to, as, FILE_WRITE | FILE_CREATE | FILE_TRUNC, 0600, &f, err);
    if (!rc) {
        rc = file_pwrite(f, 0, buf_slice(&bytes), err);
        file_close(f);
    }
    buf_free(&bytes);
    return rc;
}

/* A checkpoint copies pages from the -wal file into the database while we read it; but all that it copies is
 * in the -wal file until that is begun anew. So a database read first and a -wal file read after it belong
 * together if the latter is the same one before and after. ERR_AGAIN: it was not. */
static int copy_once(struct fs *from, struct fs *to, const char *path, const char *wal, struct err *err)
{
    char before[WAL_HEADER], after[WAL_HEADER];
    int rc = wal_header(from, wal, before, err);
    if (!rc)
        rc = copy_file(from, to, path, "copy", err);
    if (!rc) {
        rc = copy_file(from, to, wal, "copy-wal", err);
        if (rc == ERR_NOTFOUND)
            rc = 0;
    }
    if (!rc)
        rc = wal_header(from, wal, after, err);
    if (!rc && memcmp(before, after, WAL_HEADER) != 0)
        rc = err_set(err, ERR_AGAIN, "%s changes faster than it can be read", path);
    return rc;
}

int db_open_copy(struct fs *fs, const char *path, struct db **out, struct err *err)
{
    struct db *db = mem_zalloc(sizeof *db);
    struct buf wal = {0};
    int rc = ERR_AGAIN;
    buf_printf(&wal, "%s-wal", path);
    for (int i = 0; i < COPY_TRIES && rc == ERR_AGAIN; i++) {
        fs_free(db->own_fs);
        db->own_fs = fs_memory();
        rc = copy_once(fs, db->own_fs, path, buf_cstr(&wal), err);
    }
    buf_free(&wal);
    db->path = mem_dup("copy", 4);
    if (!rc)
        rc = open_with(db, err);
    if (rc) {
        db_close(db);
        return rc == ERR_NOTFOUND ? rc : err_prefix(err, "a copy of %s: ", path);
    }
    *out = db;
    return 0;
}

void db_close(struct db *db)
{
    if (!db)
        return;
    if (db->sqlite) {
        db_rollback(db);
        INVARIANT(sqlite3_close(db->sqlite) == SQLITE_OK); /* else a statement is left */
    }
    if (db->vfs.name[0])
        db_vfs_end(&db->vfs);
    fs_free(db->own_fs);
    free(db->path);
    free(db);
}

/* --- schema --- */

static int read_version(struct db *db, int64_t *out, struct err *err)
{
    struct db_stmt *s;
    int rc = db_prepare(db, "PRAGMA user_version", &s, err);
    if (rc)
        return rc;
    rc = db_step(s, err);
    if (!rc)
        *out = db_int(s, 0);
    db_finish(s);
    return rc;
}

int db_migrate(struct db *db, const char *const *steps, int nsteps, struct err *err)
{
    int64_t version;
    char sql[64];
    int rc = read_version(db, &version, err);
    if (rc)
        return rc;
    if (version > nsteps || version < 0)
        return err_set(err, ERR_VERSION,
                       "%s has version %lld; this hato knows versions up to %d: run the newer one", db->path,
                       (long long)version, nsteps);
    if (version == nsteps)
        return 0;
    snprintf(sql, sizeof sql, "PRAGMA user_version=%d", nsteps);
    rc = db_begin(db, DB_SYNCED, err);
    for (int64_t i = version; !rc && i < nsteps; i++)
        rc = db_run(db, steps[i], err);
    if (!rc)
        rc = db_run(db, sql, err);
    if (!rc)
        return db_commit(db, err);
    db_rollback(db);
    return rc;
}

/* --- transactions --- */

int db_begin(struct db *db, enum db_durability durability, struct err *err)
{
    int rc = 0;
    if (durability != db->durability)
        rc = db_run(db, durability == DB_SYNCED ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL",
                    err);
    if (rc)
        return rc;
    db->durability = durability;
    return db_run(db, "BEGIN IMMEDIATE", err);
}

int db_commit(struct db *db, struct err *err)
{
    int rc = db_run(db, "COMMIT", err);
    if (rc)
        db_rollback(db);
    return rc;
}

void db_rollback(struct db *db)
{
    /* It fails only where SQLite has rolled back by itself. */
    if (!sqlite3_get_autocommit(db->sqlite))
        db_run(db, "ROLLBACK", NULL);
}

/* --- statements --- */

int db_prepare(struct db *db, const char *sql, struct db_stmt **out, struct err *err)
{
    sqlite3_stmt *stmt;
    int code = sqlite3_prepare_v2(db->sqlite, sql, -1, &stmt, NULL);
    if (code)
        return fail(db, code, err);
    struct db_stmt *s = mem_alloc(sizeof *s);
    *s = (struct db_stmt){db, stmt};
    *out = s;
    return 0;
}

void db_bind_text(struct db_stmt *s, int at, struct slice text)
{
    INVARIANT(text.n <= INT_MAX);
    INVARIANT(sqlite3_bind_text(s->stmt, at + 1, text.p, (int)text.n, SQLITE_TRANSIENT) == SQLITE_OK);
}

void db_bind_int(struct db_stmt *s, int at, int64_t n)
{
    INVARIANT(sqlite3_bind_int64(s->stmt, at + 1, n) == SQLITE_OK);
}

void db_bind_null(struct db_stmt *s, int at)
{
    INVARIANT(sqlite3_bind_null(s->stmt, at + 1) == SQLITE_OK);
}

int db_step(struct db_stmt *s, struct err *err)
{
    int code = sqlite3_step(s->stmt);
    if (code == SQLITE_ROW)
        return 0;
    int rc = code == SQLITE_DONE ? ERR_EOF : fail(s->db, code, err);
    db_reset(s);
    return rc;
}

int db_do(struct db_stmt *s, struct err *err)
{
    int rc = db_step(s, err);
    INVARIANT(rc);
    return rc == ERR_EOF ? 0 : rc;
}

int64_t db_int(struct db_stmt *s, int column)
{
    return sqlite3_column_int64(s->stmt, column);
}

struct slice db_text(struct db_stmt *s, int column)
{
    const unsigned char *text = sqlite3_column_text(s->stmt, column);
    return slice_of(text, (size_t)sqlite3_column_bytes(s->stmt, column));
}

bool db_is_null(struct db_stmt *s, int column)
{
    return sqlite3_column_type(s->stmt, column) == SQLITE_NULL;
}

void db_reset(struct db_stmt *s)
{
    sqlite3_reset(s->stmt); /* says again what db_step() said */
}

void db_finish(struct db_stmt *s)
{
    if (!s)
        return;
    sqlite3_finalize(s->stmt);
    free(s);
}
