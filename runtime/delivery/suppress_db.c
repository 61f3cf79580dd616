/* suppress_db.c - see suppress_db.h. */
#include "delivery/suppress_db.h"

#include <stdlib.h>

static const char *const schema[] = {
    /* Words, so that a person who opens the file can read it. */
    "CREATE TABLE suppression ("
    " address TEXT NOT NULL," /* local part in lower case, domain as A-labels */
    " scope TEXT NOT NULL,"   /* all, stream, list */
    " name TEXT NOT NULL,"    /* of the stream or list */
    " reason TEXT NOT NULL,"
    " since INTEGER NOT NULL,"    /* this and the next two: UTC, ms since 1970 */
    " expires INTEGER,"           /* NULL: never */
    " provisional_until INTEGER," /* NULL: it is certain */
    " event INTEGER,"             /* that caused it; NULL: a person did */
    " evidence TEXT NOT NULL,"
    " PRIMARY KEY (address, scope, name)"
    ") WITHOUT ROWID;"
    "CREATE TABLE consumer ("
    " name TEXT NOT NULL PRIMARY KEY,"
    " event INTEGER NOT NULL" /* events up to this number are applied */
    ")",
};

#define COLUMNS "address, scope, name, reason, since, expires, provisional_until, event, evidence"

enum statement { GET, PUT, REMOVE, PURGE, CURSOR, SET_CURSOR, EACH, EACH_OF, COUNT_ROWS, STATEMENTS };

static const char *const sql[STATEMENTS] = {
    [GET] = "SELECT " COLUMNS " FROM suppression WHERE address = ? AND scope = ? AND name = ?",
    [PUT] =
        "INSERT INTO suppression (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (address, scope, name) DO UPDATE SET reason = excluded.reason, since = excluded.since,"
        " expires = excluded.expires, provisional_until = excluded.provisional_until, event = excluded.event,"
        " evidence = excluded.evidence",
    [REMOVE] = "DELETE FROM suppression WHERE address = ? AND scope = ? AND name = ?",
    [PURGE] = "DELETE FROM suppression WHERE expires <= ?",
    [CURSOR] = "SELECT event FROM consumer WHERE name = 'suppression'",
    [SET_CURSOR] = "INSERT INTO consumer (name, event) VALUES ('suppression', ?)"
                   " ON CONFLICT (name) DO UPDATE SET event = excluded.event",
    [EACH] = "SELECT " COLUMNS " FROM suppression WHERE expires IS NULL OR expires > ?"
             " ORDER BY address, scope, name",
    [EACH_OF] = "SELECT " COLUMNS " FROM suppression WHERE (expires IS NULL OR expires > ?) AND address = ?"
                " ORDER BY address, scope, name",
    [COUNT_ROWS] = "SELECT count(*) FROM suppression",
};

struct suppress_db {
    struct db *db;
    struct db_stmt *stmt[STATEMENTS];
};

/* --- life --- */

static int open_in(struct fs *fs, const char *state,
                   int (*open_fn)(struct fs *, const char *, struct db **, struct err *),
                   struct suppress_db **out, struct err *e)
{
    struct suppress_db *db = mem_zalloc(sizeof *db);
    struct buf path = {0};
    buf_printf(&path, "%s/" SUPPRESS_DB_FILE, state);
    int rc = open_fn(fs, buf_cstr(&path), &db->db, e);
    buf_free(&path);
    if (!rc)
        rc = db_migrate(db->db, schema, COUNT(schema), e);
    for (int i = 0; !rc && i < STATEMENTS; i++)
        rc = db_prepare(db->db, sql[i], &db->stmt[i], e);
    if (rc) {
        suppress_db_close(db);
        return rc;
    }
    *out = db;
    return 0;
}

int suppress_db_open(struct fs *fs, const char *state, struct suppress_db **out, struct err *e)
{
    return open_in(fs, state, db_open, out, e);
}

int suppress_db_look(struct fs *fs, const char *state, struct suppress_db **out, struct err *e)
{
    return open_in(fs, state, db_open_copy, out, e);
}

void suppress_db_close(struct suppress_db *db)
{
    if (!db)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        db_finish(db->stmt[i]);
    db_close(db->db);
    free(db);
}

/* --- rows --- */

static void bind_time(struct db_stmt *s, int at, int64_t ms)
{
    if (ms)
        db_bind_int(s, at, ms);
    else
        db_bind_null(s, at);
}

static void bind_key(struct db_stmt *s, struct slice address, enum suppress_scope scope, struct slice name)
{
    db_bind_text(s, 0, address);
    db_bind_text(s, 1, slice_cstr(suppression_scope_word(scope)));
    db_bind_text(s, 2, name);
}

/* A word that this program does not know was put there by a person: it is said, not passed over. */
static int read_row(struct db_stmt *s, struct suppression *out, struct err *e)
{
    struct err why;
    *out = (struct suppression){.address = db_text(s, 0),
                                .name = db_text(s, 2),
                                .since_ms = db_int(s, 4),
                                .expires_ms = suppression_expires(db_int(s, 5)),
                                .provisional_ms = db_int(s, 6),
                                .event = (uint64_t)db_int(s, 7),
                                .evidence = db_text(s, 8)};
    if (suppression_scope_of_word(db_text(s, 1), &out->scope) ||
        suppression_reason_parse(db_text(s, 3), &out->reason, &why))
        return err_set(e, ERR_CORRUPT,
                       SUPPRESS_DB_FILE ": the suppression of %.*s has scope \"%.*s\" and reason \"%.*s\"",
                       SLICE_FMT(db_text(s, 0)), SLICE_FMT(db_text(s, 1)), SLICE_FMT(db_text(s, 3)));
    return 0;
}

int suppress_db_get(struct suppress_db *db, struct slice address, enum suppress_scope scope,
                    struct slice name, int64_t now_ms, struct suppression *out, struct err *e)
{
    struct db_stmt *s = db->stmt[GET];
    db_reset(s);
    bind_key(s, address, scope, name);
    int rc = db_step(s, e);
    if (rc)
        return rc == ERR_EOF ? ERR_NOTFOUND : rc;
    rc = read_row(s, out, e);
    return !rc && out->expires_ms && out->expires_ms <= now_ms ? ERR_NOTFOUND : rc;
}

static int each_row(struct db_stmt *s, int (*fn)(void *data, const struct suppression *row), void *data,
                    struct err *e)
{
    struct suppression row;
    int rc;
    while (!(rc = db_step(s, e))) {
        rc = read_row(s, &row, e);
        if (!rc)
            rc = fn(data, &row);
        if (rc) {
            db_reset(s);
            return rc;
        }
    }
    return rc == ERR_EOF ? 0 : rc;
}

int suppress_db_each(struct suppress_db *db, struct slice address, int64_t now_ms,
                     int (*fn)(void *data, const struct suppression *s), void *data, struct err *e)
{
    struct db_stmt *s = db->stmt[address.n ? EACH_OF : EACH];
    db_bind_int(s, 0, now_ms);
    if (address.n)
        db_bind_text(s, 1, address);
    return each_row(s, fn, data, e);
}

static int one_number(struct db_stmt *s, uint64_t *n, struct err *e)
{
    int rc = db_step(s, e);
    if (rc)
        return rc;
    *n = (uint64_t)db_int(s, 0);
    db_reset(s);
    return 0;
}

int suppress_db_count(struct suppress_db *db, uint64_t *n, struct err *e)
{
    return one_number(db->stmt[COUNT_ROWS], n, e);
}

/* --- changes --- */

int suppress_db_begin(struct suppress_db *db, enum db_durability durability, struct err *e)
{
    db_reset(db->stmt[GET]); /* a reader of ours would keep the transaction's end waiting */
    return db_begin(db->db, durability, e);
}

int suppress_db_commit(struct suppress_db *db, struct err *e)
{
    db_reset(db->stmt[GET]);
    return db_commit(db->db, e);
}

void suppress_db_rollback(struct suppress_db *db)
{
    db_reset(db->stmt[GET]);
    db_rollback(db->db);
}

static int put(struct suppress_db *db, const struct suppression *s, struct err *e)
{
    struct db_stmt *st = db->stmt[PUT];
    bind_key(st, s->address, s->scope, s->name);
    db_bind_text(st, 3, slice_cstr(suppression_reason_word(s->reason)));
    db_bind_int(st, 4, s->since_ms);
    bind_time(st, 5, s->expires_ms);
    bind_time(st, 6, s->provisional_ms);
    bind_time(st, 7, (int64_t)s->event);
    db_bind_text(st, 8, s->evidence);
    return db_do(st, e);
}

int suppress_db_add(struct suppress_db *db, const struct suppression *s, int64_t now_ms, bool *fresh,
                    struct err *e)
{
    struct suppression old = {.reason = SUPPRESS_NOT}, stays;
    int64_t expires_ms;
    int rc = suppress_db_get(db, s->address, s->scope, s->name, now_ms, &old, e);
    if (rc && rc != ERR_NOTFOUND)
        return rc;
    if (rc)
        old.reason = SUPPRESS_NOT;
    *fresh = suppression_weigh((struct suppress_weight){old.reason, old.expires_ms},
                               (struct suppress_weight){s->reason, s->expires_ms}, now_ms, &expires_ms);
    stays = *fresh ? *s : old;
    if (!*fresh && stays.expires_ms == expires_ms)
        return 0;
    stays.expires_ms = expires_ms;
    return put(db, &stays, e);
}

int suppress_db_remove(struct suppress_db *db, struct slice address, enum suppress_scope scope,
                       struct slice name, struct err *e)
{
    struct suppression old;
    int rc = suppress_db_get(db, address, scope, name, INT64_MIN, &old, e);
    if (rc)
        return rc;
    db_reset(db->stmt[GET]);
    bind_key(db->stmt[REMOVE], address, scope, name);
    return db_do(db->stmt[REMOVE], e);
}

int suppress_db_purge(struct suppress_db *db, int64_t now_ms, struct err *e)
{
    db_bind_int(db->stmt[PURGE], 0, now_ms);
    return db_do(db->stmt[PURGE], e);
}

int suppress_db_cursor(struct suppress_db *db, uint64_t *event, struct err *e)
{
    int rc = one_number(db->stmt[CURSOR], event, e);
    if (rc != ERR_EOF)
        return rc;
    *event = 0;
    return 0;
}

int suppress_db_set_cursor(struct suppress_db *db, uint64_t event, struct err *e)
{
    db_bind_int(db->stmt[SET_CURSOR], 0, (int64_t)event);
    return db_do(db->stmt[SET_CURSOR], e);
}
