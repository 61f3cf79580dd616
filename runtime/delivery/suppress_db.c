/* suppress_db.c - see suppress_db.h. */
#include "delivery/suppress_db.h"
#include "delivery/alive.h"

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
    "ALTER TABLE suppression ADD COLUMN isp TEXT NOT NULL DEFAULT '';" /* whose answer it was */
    "CREATE TABLE soft_bounce ("
    " address TEXT NOT NULL,"
    " at INTEGER NOT NULL," /* UTC, ms */
    " class TEXT NOT NULL," /* or delivered */
    " PRIMARY KEY (address, at, class)"
    ") WITHOUT ROWID",
    "CREATE TABLE domain ("
    " name TEXT NOT NULL PRIMARY KEY," /* A-labels, lower case */
    " delivered INTEGER NOT NULL,"     /* UTC, ms: about when it took mail last */
    " gone_since INTEGER"              /* NULL: DNS knows it */
    ") WITHOUT ROWID",
};

enum { DAY_MS = 86400000 };

#define COLUMNS "address, scope, name, reason, since, expires, provisional_until, event, evidence, isp"

enum statement {
    GET,
    PUT,
    REMOVE,
    PURGE,
    PURGE_SOFT,
    MAKE_CERTAIN,
    CURSOR,
    SET_CURSOR,
    EACH,
    EACH_OF,
    EACH_ASIDE,
    EACH_ASIDE_OF,
    COUNT_ROWS,
    SET_ASIDE,
    ASIDE,
    CONFIRM,
    RELEASE,
    PUT_SOFT,
    LATE,
    FORGET_SOFT,
    EACH_SOFT,
    EACH_SOFT_OF,
    PUT_DOMAIN,
    SET_GONE,
    EACH_DOMAIN,
    PURGE_DOMAIN,
    STATEMENTS
};

static const char *const sql[STATEMENTS] = {
    [GET] = "SELECT " COLUMNS " FROM suppression WHERE address = ? AND scope = ? AND name = ?",
    [PUT] =
        "INSERT INTO suppression (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (address, scope, name) DO UPDATE SET reason = excluded.reason, since = excluded.since,"
        " expires = excluded.expires, provisional_until = excluded.provisional_until, event = excluded.event,"
        " evidence = excluded.evidence, isp = excluded.isp",
    [REMOVE] = "DELETE FROM suppression WHERE address = ? AND scope = ? AND name = ?",
    [PURGE] = "DELETE FROM suppression WHERE expires <= ? AND (reason <> 'quarantine' OR expires <= ?)",
    [PURGE_SOFT] = "DELETE FROM soft_bounce WHERE at < ?",
    [MAKE_CERTAIN] = "UPDATE suppression SET provisional_until = NULL WHERE provisional_until <= ?",
    [CURSOR] = "SELECT event FROM consumer WHERE name = 'suppression'",
    [SET_CURSOR] = "INSERT INTO consumer (name, event) VALUES ('suppression', ?)"
                   " ON CONFLICT (name) DO UPDATE SET event = excluded.event",
    [EACH] = "SELECT " COLUMNS " FROM suppression WHERE expires IS NULL OR expires > ?"
             " ORDER BY address, scope, name",
    [EACH_OF] = "SELECT " COLUMNS " FROM suppression WHERE (expires IS NULL OR expires > ?) AND address = ?"
                " ORDER BY address, scope, name",
    [EACH_ASIDE] =
        "SELECT " COLUMNS " FROM suppression WHERE reason = 'quarantine' ORDER BY address, scope, name",
    [EACH_ASIDE_OF] = "SELECT " COLUMNS " FROM suppression WHERE reason = 'quarantine' AND address = ?"
                      " ORDER BY address, scope, name",
    [SET_ASIDE] = "UPDATE suppression SET reason = 'quarantine', expires = ?, provisional_until = NULL"
                  " WHERE isp = ? AND scope = 'all' AND reason = 'hard_bounce' AND provisional_until > ?",
    [ASIDE] = "SELECT address FROM suppression WHERE reason = 'quarantine' AND scope = 'all'"
              " AND (? = '' OR address = ?) AND (? = '' OR isp = ?) ORDER BY address",
    [CONFIRM] = "UPDATE suppression SET reason = 'hard_bounce', expires = NULL"
                " WHERE address = ? AND scope = 'all' AND reason = 'quarantine'",
    [RELEASE] = "DELETE FROM suppression WHERE address = ? AND scope = 'all' AND reason = 'quarantine'",
    [PUT_SOFT] = "INSERT INTO soft_bounce (address, at, class) VALUES (?, ?, ?)"
                 " ON CONFLICT (address, at, class) DO NOTHING",
    [LATE] = "DELETE FROM soft_bounce WHERE address = ? AND class = 'delivered' AND at >= ?",
    [FORGET_SOFT] = "DELETE FROM soft_bounce WHERE address = ?",
    [EACH_SOFT] = "SELECT address, at, class FROM soft_bounce ORDER BY address, at, class",
    [EACH_SOFT_OF] = "SELECT address, at, class FROM soft_bounce WHERE address = ? ORDER BY at, class",
    [PUT_DOMAIN] = "INSERT INTO domain (name, delivered) VALUES (?, ?)"
                   " ON CONFLICT (name) DO UPDATE SET delivered = excluded.delivered"
                   " WHERE excluded.delivered > domain.delivered",
    [SET_GONE] = "UPDATE domain SET gone_since = ? WHERE name = ?",
    [EACH_DOMAIN] = "SELECT name, delivered, gone_since FROM domain",
    [PURGE_DOMAIN] = "DELETE FROM domain WHERE delivered < ?",
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
static int read_row(struct db_stmt *s, int64_t now_ms, struct suppression *out, struct err *e)
{
    struct err why;
    *out = (struct suppression){.address = db_text(s, 0),
                                .name = db_text(s, 2),
                                .since_ms = db_int(s, 4),
                                .expires_ms = suppression_expires(db_int(s, 5)),
                                .provisional_ms = db_int(s, 6),
                                .event = (uint64_t)db_int(s, 7),
                                .evidence = db_text(s, 8),
                                .isp = db_text(s, 9)};
    if (out->provisional_ms <= now_ms)
        out->provisional_ms = 0;
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
    rc = read_row(s, now_ms, out, e);
    return !rc && out->expires_ms && out->expires_ms <= now_ms ? ERR_NOTFOUND : rc;
}

static int each_row(struct db_stmt *s, int64_t now_ms, int (*fn)(void *data, const struct suppression *row),
                    void *data, struct err *e)
{
    struct suppression row;
    int rc;
    while (!(rc = db_step(s, e))) {
        rc = read_row(s, now_ms, &row, e);
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
    return each_row(s, now_ms, fn, data, e);
}

int suppress_db_each_quarantined(struct suppress_db *db, struct slice address, int64_t now_ms,
                                 int (*fn)(void *data, const struct suppression *s), void *data,
                                 struct err *e)
{
    struct db_stmt *s = db->stmt[address.n ? EACH_ASIDE_OF : EACH_ASIDE];
    if (address.n)
        db_bind_text(s, 0, address);
    return each_row(s, now_ms, fn, data, e);
}

int suppress_db_each_soft(struct suppress_db *db, struct slice address,
                          int (*fn)(void *data, const struct suppress_db_soft *s), void *data, struct err *e)
{
    struct db_stmt *s = db->stmt[address.n ? EACH_SOFT_OF : EACH_SOFT];
    int rc;
    if (address.n)
        db_bind_text(s, 0, address);
    while (!(rc = db_step(s, e))) {
        rc = fn(data, &(struct suppress_db_soft){
                          .address = db_text(s, 0), .at_ms = db_int(s, 1), .class_name = db_text(s, 2)});
        if (rc) {
            db_reset(s);
            return rc;
        }
    }
    return rc == ERR_EOF ? 0 : rc;
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
    db_bind_text(st, 9, slice_of(s->isp.p, s->isp.n));
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
    *fresh = suppression_weigh(suppression_weight(&old), suppression_weight(s), now_ms, &expires_ms);
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
    db_bind_int(db->stmt[PURGE], 1, now_ms - 30 * (int64_t)DAY_MS);
    db_bind_int(db->stmt[PURGE_SOFT], 0, now_ms - 366 * (int64_t)DAY_MS);
    db_bind_int(db->stmt[MAKE_CERTAIN], 0, now_ms);
    int rc = db_do(db->stmt[PURGE], e);
    if (!rc)
        rc = db_do(db->stmt[PURGE_SOFT], e);
    db_bind_int(db->stmt[PURGE_DOMAIN], 0, now_ms - (ALIVE_DAYS + 1) * (int64_t)DAY_MS);
    if (!rc)
        rc = db_do(db->stmt[PURGE_DOMAIN], e);
    return rc ? rc : db_do(db->stmt[MAKE_CERTAIN], e);
}

int suppress_db_set_aside(struct suppress_db *db, struct slice isp, int64_t at_ms, struct err *e)
{
    struct db_stmt *s = db->stmt[SET_ASIDE];
    db_bind_int(s, 0, at_ms / 1000 * 1000);
    db_bind_text(s, 1, isp);
    db_bind_int(s, 2, at_ms);
    return db_do(s, e);
}

int suppress_db_decide(struct suppress_db *db, struct slice address, struct slice isp, bool confirm,
                       void (*fn)(void *data, struct slice address), void *data, struct err *e)
{
    struct db_stmt *s = db->stmt[ASIDE], *change = db->stmt[confirm ? CONFIRM : RELEASE];
    struct arena a = {0};
    struct slice *found = NULL;
    size_t n = 0, cap = 0;
    int rc;
    db_bind_text(s, 0, address);
    db_bind_text(s, 1, address);
    db_bind_text(s, 2, isp);
    db_bind_text(s, 3, isp);
    while (!(rc = db_step(s, e))) { /* all first: what is being read is not changed meanwhile */
        if (n == cap) {
            cap = cap ? cap * 2 : 64;
            found = mem_realloc(found, cap * sizeof *found);
        }
        found[n++] = arena_copy(&a, db_text(s, 0));
    }
    rc = rc == ERR_EOF ? 0 : rc;
    for (size_t i = 0; !rc && i < n; i++) {
        db_bind_text(change, 0, found[i]);
        rc = db_do(change, e);
        if (!rc && fn)
            fn(data, found[i]);
    }
    free(found);
    arena_free(&a);
    return rc;
}

int suppress_db_took(struct suppress_db *db, struct slice domain, int64_t at_ms, struct err *e)
{
    db_bind_text(db->stmt[PUT_DOMAIN], 0, domain);
    db_bind_int(db->stmt[PUT_DOMAIN], 1, at_ms);
    return db_do(db->stmt[PUT_DOMAIN], e);
}

int suppress_db_gone(struct suppress_db *db, struct slice domain, int64_t since_ms, struct err *e)
{
    bind_time(db->stmt[SET_GONE], 0, since_ms);
    db_bind_text(db->stmt[SET_GONE], 1, domain);
    return db_do(db->stmt[SET_GONE], e);
}

int suppress_db_each_domain(struct suppress_db *db,
                            void (*fn)(void *data, struct slice domain, int64_t delivered_ms,
                                       int64_t gone_since_ms),
                            void *data, struct err *e)
{
    struct db_stmt *s = db->stmt[EACH_DOMAIN];
    int rc;
    while (!(rc = db_step(s, e)))
        fn(data, db_text(s, 0), db_int(s, 1), db_int(s, 2));
    return rc == ERR_EOF ? 0 : rc;
}

int suppress_db_count_soft(struct suppress_db *db, const struct suppress_db_soft *row, struct err *e)
{
    struct db_stmt *s = db->stmt[PUT_SOFT];
    db_bind_text(s, 0, row->address);
    db_bind_int(s, 1, row->at_ms);
    db_bind_text(s, 2, row->class_name);
    return db_do(s, e);
}

int suppress_db_late(struct suppress_db *db, struct slice address, int64_t since_ms, struct err *e)
{
    db_bind_text(db->stmt[LATE], 0, address);
    db_bind_int(db->stmt[LATE], 1, since_ms);
    return db_do(db->stmt[LATE], e);
}

int suppress_db_forget_soft(struct suppress_db *db, struct slice address, struct err *e)
{
    db_bind_text(db->stmt[FORGET_SOFT], 0, address);
    return db_do(db->stmt[FORGET_SOFT], e);
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
