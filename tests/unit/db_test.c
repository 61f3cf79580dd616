/* db_test.c - SQLite over every kind of file: what was committed is there, whatever happened to the machine.
 */
#include "test.h"
#include "platform/db.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const STEPS[] = {"CREATE TABLE t (n INTEGER PRIMARY KEY, word TEXT)",
                                    "CREATE INDEX word_of_t ON t (word); ALTER TABLE t ADD more TEXT"};

static const char *path_in(const char *dir, const char *name, struct buf *b)
{
    buf_clear(b);
    buf_printf(b, "%s/%s", dir, name);
    return buf_cstr(b);
}

static int insert(struct db *db, int64_t n, enum db_durability durability, struct err *e)
{
    struct db_stmt *s;
    char word[200];
    int rc = db_begin(db, durability, e);
    if (rc)
        return rc;
    rc = db_prepare(db, "INSERT INTO t (n, word) VALUES (?, ?)", &s, e);
    if (!rc) {
        int len = snprintf(word, sizeof word, "word %0150lld", (long long)n);
        db_bind_int(s, 0, n);
        db_bind_text(s, 1, slice_of(word, (size_t)len));
        rc = db_do(s, e);
        db_finish(s);
    }
    if (!rc)
        return db_commit(db, e);
    db_rollback(db);
    return rc;
}

/* How many rows there are, if they are 1 .. n; -1 where they are not, or the file is not sound. */
static int64_t whole_rows(struct db *db)
{
    struct db_stmt *s;
    struct err e;
    int64_t n = -1;
    if (db_prepare(db, "SELECT count(*), max(n) FROM t", &s, &e))
        return -1;
    if (!db_step(s, &e) && db_int(s, 0) == db_int(s, 1))
        n = db_int(s, 0);
    db_finish(s);
    if (db_prepare(db, "PRAGMA integrity_check", &s, &e))
        return -1;
    if (db_step(s, &e) || !slice_eq(db_text(s, 0), S("ok")))
        n = -1;
    db_finish(s);
    return n;
}

TEST(a_database_in_memory_keeps_what_was_written)
{
    struct fs *fs = fs_memory();
    struct db *db;
    struct db_stmt *s;
    struct err e;
    CHECK_INT(db_open(fs, "x.db", &db, &e), 0);
    CHECK_INT(db_migrate(db, STEPS, 1, &e), 0);
    CHECK_INT(insert(db, 1, DB_SYNCED, &e), 0);
    CHECK_INT(insert(db, 1, DB_SYNCED, &e), ERR_INVAL); /* and nothing of it stays open */
    db_close(db);
    CHECK_INT(db_open(fs, "x.db", &db, &e), 0);
    CHECK_INT(db_migrate(db, STEPS, 2, &e), 0); /* an older one is brought up */
    CHECK_INT(insert(db, 2, DB_ORDERED, &e), 0);
    CHECK_INT(whole_rows(db), 2);
    CHECK_INT(db_prepare(db, "SELECT more, word FROM t WHERE n = ?", &s, &e), 0);
    db_bind_int(s, 0, 2);
    CHECK_INT(db_step(s, &e), 0);
    CHECK(db_is_null(s, 0));
    CHECK_STR(db_text(s, 0), SLICE_NONE);
    CHECK(slice_starts(db_text(s, 1), S("word 0")));
    CHECK_INT(db_step(s, &e), ERR_EOF);
    db_bind_null(s, 0);
    CHECK_INT(db_step(s, &e), ERR_EOF);
    db_finish(s);
    db_close(db);
    fs_free(fs);
}

TEST(a_database_of_a_newer_hato_is_refused)
{
    struct fs *fs = fs_memory();
    struct db *db;
    struct err e;
    CHECK_INT(db_open(fs, "x.db", &db, &e), 0);
    CHECK_INT(db_migrate(db, STEPS, 2, &e), 0);
    CHECK_INT(db_migrate(db, STEPS, 1, &e), ERR_VERSION);
    CHECK_STR(slice_cstr(e.text),
              S("x.db has version 2; this hato knows versions up to 1: run the newer one"));
    db_close(db);
    fs_free(fs);
}

TEST(a_file_that_is_no_database_is_named)
{
    struct fs *fs = fs_memory();
    struct db *db = NULL;
    struct err e;
    CHECK_INT(fs_write_atomic(fs, "x.db",
                              S("This is a letter to my aunt, and it is longer than that header "
                                "by which a database is known. Truly, it is no database."),
                              0600, &e),
              0);
    CHECK_INT(db_open(fs, "x.db", &db, &e), ERR_CORRUPT);
    CHECK_STR(slice_cstr(e.text), S("x.db: file is not a database"));
    CHECK_INT(db_open_copy(fs, "nothing.db", &db, &e), ERR_NOTFOUND);
    fs_free(fs);
}

TEST(a_full_disk_is_an_error_and_no_end)
{
    struct fs *fs = fs_memory();
    struct db *db;
    struct err e;
    int64_t n = 0;
    CHECK_INT(db_open(fs, "x.db", &db, &e), 0);
    CHECK_INT(db_migrate(db, STEPS, 1, &e), 0);
    fs_set_faults(fs, &(struct fs_faults){.capacity = 100000});
    while (n < 10000 && !insert(db, n + 1, DB_ORDERED, &e))
        n++;
    CHECK_INT(e.code, ERR_FULL);
    CHECK(n > 5 && n < 1000);
    fs_set_faults(fs, &(struct fs_faults){0});
    CHECK_INT(whole_rows(db), n);
    CHECK_INT(insert(db, n + 1, DB_SYNCED, &e), 0);
    CHECK_INT(whole_rows(db), n + 1);
    db_close(db);
    fs_free(fs);
}

/* --- power --- */

static uint64_t roll(uint64_t *rng, uint64_t n)
{
    *rng = *rng * 6364136223846793005u + 1442695040888963407u;
    return (*rng >> 33) % n;
}

/* Lives of one database, each ended by the power at some operation of the disk. Returns the rows at the end,
 * or the negative number of the line that says what is wrong. */
static int64_t lives(uint64_t seed)
{
    struct fs *fs = fs_forgetting();
    uint64_t rng = seed;
    int64_t synced = 0, written = 0;
    bool has_table = false;
    for (int life = 0; life < 4; life++) {
        struct db *db = NULL;
        struct err e;
        fs_set_faults(fs, &(struct fs_faults){.stop_after = 1 + (long)roll(&rng, 300)});
        int rc = db_open(fs, "x.db", &db, &e);
        if (rc && rc != ERR_CANCELED)
            return -__LINE__;
        if (!rc)
            rc = db_migrate(db, STEPS, 1, &e);
        if (rc && rc != ERR_CANCELED)
            return -__LINE__;
        has_table |= !rc;
        while (!rc) {
            enum db_durability durability = roll(&rng, 4) ? DB_ORDERED : DB_SYNCED;
            rc = insert(db, written + 1, durability, &e);
            if (rc && rc != ERR_CANCELED)
                return -__LINE__;
            written += !rc;
            if (!rc && durability == DB_SYNCED)
                synced = written;
        }
        db_close(db);
        fs_set_faults(fs, &(struct fs_faults){0});
        fs_power_loss(fs, seed * 16 + (uint64_t)life);
        if (db_open(fs, "x.db", &db, &e))
            return -__LINE__;
        if (db_migrate(db, STEPS, 1, &e))
            return -__LINE__;
        int64_t left = whole_rows(db);
        /* One more than was told may be there: its commit was on its way. */
        if (has_table && (left < synced || left > written + 1))
            return -__LINE__;
        synced = written = left;
        has_table = true;
        db_close(db);
    }
    fs_free(fs);
    return written;
}

TEST(after_a_cut_of_the_power_a_database_has_all_synced_rows_and_no_gap)
{
    int64_t rows = 0;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        int64_t n = lives(seed);
        if (n < 0)
            fprintf(stderr, "seed %llu: line %lld\n", (unsigned long long)seed, (long long)-n);
        CHECK(n >= 0);
        rows += n;
    }
    CHECK(rows > 3000); /* or the power went before anything was written */
}

/* --- other programs --- */

/* What SQLite's own VFS says to a count of the rows; -code where it refuses. */
static int count_as_others_do(const char *path)
{
    sqlite3 *other;
    sqlite3_stmt *s = NULL;
    int n = 0, code = sqlite3_open_v2(path, &other, SQLITE_OPEN_READWRITE, NULL);
    if (!code)
        code = sqlite3_prepare_v2(other, "SELECT count(*) FROM t", -1, &s, NULL);
    if (!code)
        code = sqlite3_step(s);
    if (code == SQLITE_ROW)
        n = sqlite3_column_int(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(other);
    return code == SQLITE_ROW ? n : -code;
}

TEST(other_programs_open_a_database_at_rest_and_are_kept_out_meanwhile)
{
    struct fs *fs = fs_real();
    struct buf path = {0};
    const char *p = path_in(test_dir(), "x.db", &path);
    struct db *db, *copy;
    struct err e;
    CHECK_INT(db_open(fs, p, &db, &e), 0);
    CHECK_INT(db_migrate(db, STEPS, 1, &e), 0);
    CHECK_INT(insert(db, 1, DB_ORDERED, &e), 0);
    CHECK_INT(count_as_others_do(p), -SQLITE_BUSY);
    CHECK_INT(db_open(fs, p, &copy, &e), ERR_LOCKED);
    CHECK(slice_find(slice_cstr(e.text), S("another program has")) >= 0);
    CHECK_INT(db_open_copy(fs, p, &copy, &e), 0); /* who only looks has a copy */
    CHECK_INT(whole_rows(copy), 1);
    CHECK_INT(insert(copy, 2, DB_ORDERED, &e), 0);
    db_close(copy);
    db_close(db);
    CHECK_INT(count_as_others_do(p), 1);
    CHECK_INT(db_open(fs, p, &db, &e), 0);
    CHECK_INT(insert(db, 2, DB_ORDERED, &e), 0);
    db_close(db);
    CHECK_INT(count_as_others_do(p), 2);
    fs_free(fs);
    buf_free(&path);
}

TEST(what_was_committed_before_a_kill_is_there_for_others_and_for_us)
{
    struct buf path = {0};
    const char *p = path_in(test_dir(), "x.db", &path);
    for (int round = 0; round < 2; round++) {
        pid_t pid = fork();
        if (!pid) {
            struct db *db;
            struct err e;
            struct fs *fs = fs_real();
            int bad = db_open(fs, p, &db, &e) || db_migrate(db, STEPS, 1, &e) ||
                      insert(db, 1 + round * 2, DB_ORDERED, &e) || insert(db, 2 + round * 2, DB_SYNCED, &e);
            _exit(bad);
        }
        int status = 1;
        CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
        CHECK_INT(status, 0);
        if (round == 1)
            CHECK_INT(count_as_others_do(p), 4);
    }
    buf_free(&path);
}

TEST(a_copy_is_of_one_moment_however_much_is_written_meanwhile)
{
    struct buf path = {0};
    struct fs *fs = fs_real();
    struct err e;
    struct db *db;
    const char *p = path_in(test_dir(), "x.db", &path);
    int copies = 0;
    CHECK_INT(db_open(fs, p, &db, &e), 0);
    CHECK_INT(db_migrate(db, STEPS, 1, &e), 0);
    CHECK_INT(insert(db, 1, DB_ORDERED, &e), 0);
    db_close(db);
    pid_t pid = fork();
    if (!pid) {
        struct fs *own = fs_real();
        int bad = db_open(own, p, &db, &e);
        for (int64_t n = 2; !bad && n < 6000; n++)
            bad = insert(db, n, DB_ORDERED, &e);
        if (!bad)
            db_close(db);
        _exit(bad);
    }
    CHECK(pid > 0);
    int status = 1;
    int64_t last = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        struct db *copy;
        int rc = db_open_copy(fs, p, &copy, &e);
        if (rc == ERR_AGAIN)
            continue;
        CHECK_INT(rc, 0);
        int64_t n = whole_rows(copy);
        db_close(copy);
        CHECK(n >= last && n >= 1);
        last = n;
        copies++;
    }
    CHECK_INT(status, 0);
    CHECK(copies > 0);
    fs_free(fs);
    buf_free(&path);
}
