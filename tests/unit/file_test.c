/* file_test.c - the three kinds of files do the same; the forgetting one forgets what it may and no more. */
#include "platform/file.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct world {
    struct fs *fs;
    char dir[300];
};

/* The same test body on each kind. */
static struct world world_of(int kind)
{
    struct world w = {kind == 0 ? fs_real() : kind == 1 ? fs_memory() : fs_forgetting(), ""};
    snprintf(w.dir, sizeof w.dir, "%s", kind == 0 ? test_dir() : "box");
    return w;
}

static const char *at(struct world *w, const char *name, char *out)
{
    snprintf(out, 600, "%s/%s", w->dir, name);
    return out;
}

static void collect(void *data, const char *name)
{
    buf_printf(data, "%s ", name);
}

TEST(every_kind_of_file_writes_reads_cuts_and_lists)
{
    for (int kind = 0; kind < 3; kind++) {
        struct world w = world_of(kind);
        char p[600], q[600], got[64];
        size_t n;
        uint64_t size;
        struct file *f, *again;
        struct err err = {0};
        struct buf names = {0};
        CHECK_INT(fs_mkdir(w.fs, w.dir, 0700, &err), 0);
        CHECK_INT(fs_mkdir(w.fs, at(&w, "in/ner", p), 0700, &err), 0);
        CHECK_INT(file_open(w.fs, at(&w, "b", p), FILE_READ | FILE_WRITE, 0, &f, &err), ERR_NOTFOUND);
        CHECK_INT(file_open(w.fs, p, FILE_READ | FILE_WRITE | FILE_CREATE | FILE_EXCL, 0600, &f, &err), 0);
        CHECK_INT(file_open(w.fs, p, FILE_WRITE | FILE_CREATE | FILE_EXCL, 0600, &again, &err), ERR_EXISTS);
        CHECK_INT(file_append(f, S("hello "), &err), 0);
        CHECK_INT(file_append(f, S("world"), &err), 0);
        CHECK_INT(file_pwrite(f, 0, S("H"), &err), 0);
        CHECK_INT(file_pread(f, 0, got, sizeof got, &n, &err), 0);
        CHECK_STR(slice_of(got, n), S("Hello world"));
        CHECK_INT(file_truncate(f, 5, &err), 0);
        CHECK_INT(file_append(f, S("!"), &err), 0);
        CHECK_INT(file_size(f, &size, &err), 0);
        CHECK_INT(size, 6);
        CHECK_INT(file_sync(f, &err), 0);
        file_close(f);
        CHECK_INT(fs_rename(w.fs, p, at(&w, "a", q), &err), 0);
        CHECK_INT(fs_write_atomic(w.fs, at(&w, "c", p), S("whole"), 0600, &err), 0);
        CHECK_INT(fs_sync_dir(w.fs, w.dir, &err), 0);
        CHECK_INT(fs_list(w.fs, w.dir, collect, &names, &err), 0);
        CHECK_STR(buf_slice(&names), S("a c in "));
        buf_clear(&names);
        CHECK_INT(fs_read_whole(w.fs, q, 6, &names, &err), 0);
        CHECK_STR(buf_slice(&names), S("Hello!"));
        CHECK_INT(fs_read_whole(w.fs, q, 5, &names, &err), ERR_LIMIT);
        CHECK_STR(buf_slice(&names), S("Hello!"));
        struct fs_stat st;
        CHECK_INT(fs_stat(w.fs, p, &st, &err), 0);
        CHECK(st.size == 5 && st.mode == 0600 && !st.is_dir);
        CHECK_INT(fs_unlink(w.fs, p, &err), 0);
        CHECK_INT(fs_stat(w.fs, p, &st, &err), ERR_NOTFOUND);
        CHECK(slice_find(slice_cstr(err.text), slice_cstr(p)) >= 0);
        CHECK(slice_find(slice_cstr(err.text), S("No such file")) >= 0);
        buf_free(&names);
        fs_free(w.fs);
    }
}

TEST(a_second_lock_names_the_process_that_has_the_first)
{
    for (int kind = 0; kind < 2; kind++) {
        struct world w = world_of(kind);
        char p[600], want[64];
        struct file *first, *second;
        struct err err = {0};
        CHECK_INT(fs_mkdir(w.fs, w.dir, 0700, &err), 0);
        CHECK_INT(fs_lock(w.fs, at(&w, "lock", p), &first, &err), 0);
        CHECK_INT(fs_lock(w.fs, p, &second, &err), ERR_LOCKED);
        snprintf(want, sizeof want, "held by process %ld", (long)getpid());
        CHECK(slice_find(slice_cstr(err.text), slice_cstr(want)) >= 0);
        file_close(first);
        CHECK_INT(fs_lock(w.fs, p, &second, &err), 0);
        file_close(second);
        fs_free(w.fs);
    }
}

TEST(a_failed_append_leaves_the_file_as_it_was)
{
    for (int kind = 0; kind < 3; kind++) {
        struct world w = world_of(kind);
        char p[600];
        struct file *f;
        struct err err = {0};
        uint64_t size;
        CHECK_INT(fs_mkdir(w.fs, w.dir, 0700, &err), 0);
        CHECK_INT(file_open(w.fs, at(&w, "f", p), FILE_WRITE | FILE_CREATE, 0600, &f, &err), 0);
        CHECK_INT(file_append(f, S("kept"), &err), 0);
        fs_set_faults(w.fs,
                      &(struct fs_faults){.append_after = 1, .append_errno = ENOSPC, .append_takes = 3});
        CHECK_INT(file_append(f, S("refused"), &err), ERR_FULL);
        CHECK(slice_find(slice_cstr(err.text), S("No space left")) >= 0);
        CHECK_INT(file_size(f, &size, &err), 0);
        CHECK_INT(size, 4);
        fs_set_faults(w.fs,
                      &(struct fs_faults){.append_after = 1, .append_takes = 3}); /* short, then the rest */
        CHECK_INT(file_append(f, S(" whole"), &err), 0);
        CHECK_INT(file_size(f, &size, &err), 0);
        CHECK_INT(size, 10);
        fs_set_faults(w.fs, &(struct fs_faults){.sync_after = 2, .sync_errno = EIO});
        CHECK_INT(file_sync(f, &err), 0);
        CHECK_INT(file_sync(f, &err), ERR_IO);
        CHECK_INT(file_sync(f, &err), 0);
        file_close(f);
        fs_free(w.fs);
    }
}

TEST(a_disk_in_memory_can_be_full)
{
    struct fs *fs = fs_memory();
    struct file *f;
    struct err err = {0};
    fs_set_faults(fs, &(struct fs_faults){.capacity = 10});
    CHECK_INT(file_open(fs, "f", FILE_WRITE | FILE_CREATE, 0600, &f, &err), 0);
    CHECK_INT(file_append(f, S("12345678"), &err), 0);
    CHECK_INT(file_append(f, S("123"), &err), ERR_FULL);
    CHECK_INT(file_append(f, S("90"), &err), 0);
    CHECK_INT(file_allocate(f, 11, &err), ERR_FULL);
    file_close(f);
    fs_free(fs);
}

TEST(after_the_stop_nothing_changes)
{
    struct fs *fs = fs_memory();
    struct file *f, *g;
    struct err err = {0};
    struct fs_stat st;
    CHECK_INT(file_open(fs, "f", FILE_WRITE | FILE_CREATE, 0600, &f, &err), 0);
    fs_set_faults(fs, &(struct fs_faults){.stop_after = 1});
    CHECK_INT(file_append(f, S("one"), &err), 0);
    CHECK_INT(file_append(f, S("two"), &err), ERR_CANCELED);
    CHECK_INT(fs_unlink(fs, "f", &err), ERR_CANCELED);
    CHECK_INT(file_open(fs, "g", FILE_WRITE | FILE_CREATE, 0600, &g, &err), ERR_CANCELED);
    CHECK_INT(fs_stat(fs, "f", &st, &err), 0);
    CHECK_INT(st.size, 3);
    file_close(f);
    fs_free(fs);
}

/* Synced bytes under a synced name are there after any power loss; unsynced ones are sometimes gone,
 * sometimes there, sometimes torn, and never anything that was not written. */
TEST(power_loss_takes_only_what_was_not_synced)
{
    int seen_gone = 0, seen_whole = 0, seen_torn = 0, seen_zeros = 0, name_gone = 0, name_there = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        struct fs *fs = fs_forgetting();
        struct file *f, *g;
        struct buf b = {0};
        struct fs_stat st;
        CHECK_INT(fs_mkdir(fs, "d", 0700, NULL), 0);
        CHECK_INT(file_open(fs, "d/f", FILE_WRITE | FILE_CREATE, 0600, &f, NULL), 0);
        CHECK_INT(file_append(f, S("synced"), NULL), 0);
        CHECK_INT(file_sync(f, NULL), 0);
        CHECK_INT(fs_sync_dir(fs, "d", NULL), 0);
        CHECK_INT(file_append(f, S("loose"), NULL), 0);
        CHECK_INT(file_open(fs, "d/g", FILE_WRITE | FILE_CREATE, 0600, &g, NULL), 0);
        CHECK_INT(file_append(g, S("bytes without a name"), NULL), 0);
        CHECK_INT(file_sync(g, NULL), 0);
        file_close(f);
        file_close(g);
        fs_power_loss(fs, seed);
        CHECK_INT(fs_read_whole(fs, "d/f", 100, &b, NULL), 0);
        CHECK(slice_starts(buf_slice(&b), S("synced")));
        struct slice rest = slice_of(b.p + 6, b.n - 6);
        CHECK(rest.n <= 5);
        for (size_t i = 0; i < rest.n; i++)
            CHECK(rest.p[i] == "loose"[i] || rest.p[i] == 0);
        seen_gone += rest.n == 0;
        seen_whole += slice_eq(rest, S("loose"));
        seen_torn += rest.n > 0 && rest.n < 5;
        seen_zeros += rest.n == 5 && rest.p[0] == 0;
        if (fs_stat(fs, "d/g", &st, NULL) == 0) {
            CHECK_INT(st.size, 20);
            name_there++;
        } else {
            name_gone++;
        }
        buf_free(&b);
        fs_free(fs);
    }
    CHECK(seen_gone && seen_whole && seen_torn && seen_zeros && name_gone && name_there);
}

TEST(atomic_write_leaves_old_or_new_at_any_stop_and_any_power_loss)
{
    for (long stop = 1; stop < 8; stop++)
        for (uint64_t seed = 0; seed < 50; seed++) {
            struct fs *fs = fs_forgetting();
            struct buf b = {0};
            CHECK_INT(fs_write_atomic(fs, "f", S("old"), 0600, NULL), 0);
            fs_set_faults(fs, &(struct fs_faults){.stop_after = stop});
            int rc = fs_write_atomic(fs, "f", S("new"), 0600, NULL);
            fs_set_faults(fs, &(struct fs_faults){0});
            fs_power_loss(fs, seed);
            CHECK_INT(fs_read_whole(fs, "f", 10, &b, NULL), 0);
            CHECK(slice_eq(buf_slice(&b), S("new")) || (rc && slice_eq(buf_slice(&b), S("old"))));
            buf_free(&b);
            fs_free(fs);
        }
}

#ifdef HATO_FAILPOINTS
TEST(a_failpoint_kills_at_the_nth_passing)
{
    int status;
    pid_t child = fork();
    if (!child) {
        setenv("HATO_FAILPOINT", "here:3", 1);
        struct fs *fs = fs_real();
        fs_failpoint(fs, "here");
        fs_failpoint(fs, "there");
        fs_failpoint(fs, "here");
        fs_failpoint(fs, "here");
        _exit(7);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == 9);
}
#endif
