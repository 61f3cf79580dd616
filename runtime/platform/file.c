/* file.c - the face of the room: words for errors, whole writes, atomic replacement, faults for tests. */
#include "platform/file_impl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void fs_init(struct fs *fs, const struct fs_ops *ops)
{
    fs->ops = ops;
    pthread_mutex_init(&fs->faults_lock, NULL);
}

void fs_free(struct fs *fs)
{
    if (!fs)
        return;
    pthread_mutex_destroy(&fs->faults_lock);
    fs->ops->free(fs);
}

static int fail(struct err *err, int rc, const char *doing, const char *path)
{
    if (rc == -ECANCELED)
        return err_set(err, ERR_CANCELED, "%s %s: stopped by a test", doing, path);
    char words[128];
    const char *text = strerror_r(-rc, words, sizeof words);
    return err_set(err, err_from_errno(-rc), "%s %s: %s", doing, path, text);
}

/* --- faults --- */

void fs_set_faults(struct fs *fs, const struct fs_faults *faults)
{
    pthread_mutex_lock(&fs->faults_lock);
    fs->faults = *faults;
    fs->operations = 0;
    __atomic_store_n(&fs->armed, true, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&fs->faults_lock);
}

long fs_operations(struct fs *fs)
{
    pthread_mutex_lock(&fs->faults_lock);
    long n = fs->operations;
    pthread_mutex_unlock(&fs->faults_lock);
    return n;
}

static bool is_armed(struct fs *fs)
{
    return __atomic_load_n(&fs->armed, __ATOMIC_ACQUIRE);
}

/* Before every operation that changes something: may it still happen? */
static int may_change(struct fs *fs)
{
    int rc = 0;
    if (!is_armed(fs))
        return 0;
    pthread_mutex_lock(&fs->faults_lock);
    fs->operations++;
    if (fs->faults.stop_after && fs->operations > fs->faults.stop_after)
        rc = -ECANCELED;
    pthread_mutex_unlock(&fs->faults_lock);
    return rc;
}

/* Count down *after; while it stands at its end the next *times calls are hit. */
static bool is_hit(int *after, int *times)
{
    if (!*after || --*after)
        return false;
    if (--*times > 0)
        *after = 1;
    return true;
}

static ssize_t write_some(struct file *f, const char *p, size_t n, uint64_t offset)
{
    int rc = may_change(f->fs);
    if (rc)
        return rc;
    if (is_armed(f->fs)) {
        struct fs_faults *faults = &f->fs->faults;
        pthread_mutex_lock(&f->fs->faults_lock);
        bool hit = is_hit(&faults->append_after, &faults->append_times);
        size_t takes = faults->append_takes;
        int errnum = faults->append_errno;
        if (hit && takes && errnum && takes < n) { /* the part now, the error at the next call */
            faults->append_after = 1;
            faults->append_times = 1;
            faults->append_takes = 0;
        }
        pthread_mutex_unlock(&f->fs->faults_lock);
        if (hit && takes && takes < n)
            n = takes;
        else if (hit && errnum)
            return -errnum;
    }
    return f->fs->ops->pwrite(f, p, n, offset);
}

static int write_all(struct file *f, struct slice bytes, uint64_t offset)
{
    while (bytes.n) {
        ssize_t took = write_some(f, bytes.p, bytes.n, offset);
        if (took < 0)
            return (int)took;
        if (took == 0)
            return -EIO;
        bytes.p += took;
        bytes.n -= (size_t)took;
        offset += (uint64_t)took;
    }
    return 0;
}

#ifdef HATO_FAILPOINTS
void fs_failpoint(struct fs *fs, const char *name)
{
    if (!fs->failpoint[0] || strcmp(fs->failpoint, name) != 0)
        return;
    if (__atomic_sub_fetch(&fs->failpoint_left, 1, __ATOMIC_SEQ_CST) == 0)
        kill(getpid(), SIGKILL);
}
#endif

/* --- one file --- */

int file_open(struct fs *fs, const char *path, int flags, unsigned mode, struct file **out, struct err *err)
{
    int rc = flags & (FILE_CREATE | FILE_TRUNC) ? may_change(fs) : 0;
    struct file *f = mem_zalloc(sizeof *f);
    f->fs = fs;
    f->path = mem_dup(path, strlen(path));
    f->fd = -1;
    if (!rc)
        rc = fs->ops->open(f, flags, mode);
    if (!rc && flags & FILE_WRITE) {
        rc = fs->ops->size(f, &f->end);
        if (rc)
            fs->ops->close(f);
    }
    if (rc) {
        rc = fail(err, rc, "cannot open", path);
        free(f->path);
        free(f);
        return rc;
    }
    *out = f;
    return 0;
}

void file_close(struct file *f)
{
    if (!f)
        return;
    f->fs->ops->close(f);
    free(f->path);
    free(f);
}

int file_guard(struct file *f, uint64_t offset, uint64_t n, struct err *err)
{
    int rc = f->fs->ops->guard(f, offset, n);
    if (rc == -EWOULDBLOCK)
        return err_set(err, ERR_LOCKED, "another program has %s open", f->path);
    return rc ? fail(err, rc, "cannot lock", f->path) : 0;
}

const char *file_path(const struct file *f)
{
    return f->path;
}

int file_pread(struct file *f, uint64_t offset, void *p, size_t n, size_t *got, struct err *err)
{
    size_t have = 0;
    while (have < n) {
        ssize_t k = f->fs->ops->pread(f, (char *)p + have, n - have, offset + have);
        if (k < 0)
            return fail(err, (int)k, "cannot read", f->path);
        if (k == 0)
            break;
        have += (size_t)k;
    }
    *got = have;
    return 0;
}

int file_append(struct file *f, struct slice bytes, struct err *err)
{
    if (f->broken)
        return err_set(err, ERR_IO, "%s cannot be written to since an earlier write failed", f->path);
    int rc = write_all(f, bytes, f->end);
    if (!rc) {
        f->end += bytes.n;
        return 0;
    }
    if (rc == -ECANCELED) { /* nothing moves any more, a cut back neither */
        f->broken = true;
        return fail(err, rc, "cannot write to", f->path);
    }
    f->broken = f->fs->ops->truncate(f, f->end) != 0;
    return fail(err, f->broken ? -EIO : rc, "cannot write to", f->path);
}

int file_pwrite(struct file *f, uint64_t offset, struct slice bytes, struct err *err)
{
    int rc = write_all(f, bytes, offset);
    if (rc)
        return fail(err, rc, "cannot write to", f->path);
    if (f->end < offset + bytes.n)
        f->end = offset + bytes.n;
    return 0;
}

int file_sync(struct file *f, struct err *err)
{
    int rc = may_change(f->fs);
    if (!rc && is_armed(f->fs)) {
        struct fs_faults *faults = &f->fs->faults;
        pthread_mutex_lock(&f->fs->faults_lock);
        if (is_hit(&faults->sync_after, &faults->sync_times))
            rc = -faults->sync_errno;
        pthread_mutex_unlock(&f->fs->faults_lock);
    }
    if (!rc)
        rc = f->fs->ops->sync(f);
    return rc ? fail(err, rc, "cannot sync", f->path) : 0;
}

int file_truncate(struct file *f, uint64_t size, struct err *err)
{
    int rc = may_change(f->fs);
    if (!rc)
        rc = f->fs->ops->truncate(f, size);
    if (rc)
        return fail(err, rc, "cannot cut", f->path);
    f->end = size;
    return 0;
}

int file_size(struct file *f, uint64_t *out, struct err *err)
{
    int rc = f->fs->ops->size(f, out);
    return rc ? fail(err, rc, "cannot look at", f->path) : 0;
}

int file_allocate(struct file *f, uint64_t size, struct err *err)
{
    int rc = may_change(f->fs);
    if (!rc)
        rc = f->fs->ops->allocate(f, size);
    return rc ? fail(err, rc, "cannot set room aside for", f->path) : 0;
}

/* --- names --- */

int fs_rename(struct fs *fs, const char *from, const char *to, struct err *err)
{
    int rc = may_change(fs);
    if (!rc)
        rc = fs->ops->rename(fs, from, to);
    return rc ? fail(err, rc, "cannot rename", from) : 0;
}

int fs_unlink(struct fs *fs, const char *path, struct err *err)
{
    int rc = may_change(fs);
    if (!rc)
        rc = fs->ops->unlink(fs, path);
    return rc ? fail(err, rc, "cannot remove", path) : 0;
}

int fs_sync_dir(struct fs *fs, const char *dir, struct err *err)
{
    int rc = may_change(fs);
    if (!rc)
        rc = fs->ops->sync_dir(fs, dir);
    return rc ? fail(err, rc, "cannot sync", dir) : 0;
}

/* "a/b" -> "a", "b" -> ".", "/b" -> "/"; free() it. */
static char *parent_of(const char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n && path[n - 1] != '/')
        n--;
    while (n > 1 && path[n - 1] == '/')
        n--;
    return n ? mem_dup(path, n) : mem_dup(".", 1);
}

int fs_mkdir(struct fs *fs, const char *dir, unsigned mode, struct err *err)
{
    struct fs_stat st;
    if (fs->ops->stat(fs, dir, &st) == 0)
        return st.is_dir ? 0 : err_set(err, ERR_EXISTS, "%s is there and is no folder", dir);
    char *above = parent_of(dir);
    int rc = 0;
    if (strcmp(above, dir) != 0)
        rc = fs_mkdir(fs, above, mode, err);
    if (!rc) {
        int sys = may_change(fs);
        if (!sys)
            sys = fs->ops->mkdir(fs, dir, mode);
        if (sys && sys != -EEXIST)
            rc = fail(err, sys, "cannot make folder", dir);
    }
    if (!rc)
        rc = fs_sync_dir(fs, above, err);
    free(above);
    return rc;
}

int fs_stat(struct fs *fs, const char *path, struct fs_stat *out, struct err *err)
{
    int rc = fs->ops->stat(fs, path, out);
    return rc ? fail(err, rc, "cannot look at", path) : 0;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int fs_list(struct fs *fs, const char *dir, void (*fn)(void *data, const char *name), void *data,
            struct err *err)
{
    struct buf names = {0};
    int rc = fs->ops->list(fs, dir, &names);
    if (rc) {
        buf_free(&names);
        return fail(err, rc, "cannot list", dir);
    }
    size_t n = 0;
    for (size_t i = 0; i < names.n; i++)
        n += !names.p[i];
    char **v = mem_alloc(n * sizeof *v);
    char *at = names.p;
    for (size_t i = 0; i < n; i++, at += strlen(at) + 1)
        v[i] = at;
    qsort(v, n, sizeof *v, by_bytes);
    for (size_t i = 0; i < n; i++)
        fn(data, v[i]);
    free(v);
    buf_free(&names);
    return 0;
}

int fs_lock(struct fs *fs, const char *path, struct file **out, struct err *err)
{
    struct file *f;
    int rc = file_open(fs, path, FILE_READ | FILE_WRITE | FILE_CREATE, 0600, &f, err);
    if (rc)
        return rc;
    rc = fs->ops->lock(f);
    if (rc == -EWOULDBLOCK) {
        char pid[32];
        size_t n = 0;
        if (file_pread(f, 0, pid, sizeof pid - 1, &n, NULL))
            n = 0;
        pid[n] = 0;
        long holder = strtol(pid, NULL, 10);
        file_close(f);
        if (holder > 0)
            return err_set(err, ERR_LOCKED, "%s is held by process %ld", path, holder);
        return err_set(err, ERR_LOCKED, "%s is held by another process", path);
    }
    if (rc) {
        rc = fail(err, rc, "cannot lock", path);
        goto out;
    }
    char pid[32];
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    rc = file_truncate(f, 0, err);
    if (!rc)
        rc = file_append(f, slice_of(pid, (size_t)n), err);
    if (rc == ERR_FULL) /* the name of the holder is a courtesy; the lock is what counts */
        rc = 0;
out:
    if (rc)
        file_close(f);
    else
        *out = f;
    return rc;
}

int fs_read_whole(struct fs *fs, const char *path, size_t most, struct buf *out, struct err *err)
{
    struct file *f;
    uint64_t size;
    size_t before = out->n;
    int rc = file_open(fs, path, FILE_READ, 0, &f, err);
    if (rc)
        return rc;
    rc = file_size(f, &size, err);
    /* A pipe or a file under /proc says 0, and any file may grow: read until the end, wherever it is. */
    for (size_t step = size < most ? (size_t)size + 1 : most + 1; !rc; step = 64 * 1024) {
        size_t got, have = out->n - before;
        if (step > most + 1 - have)
            step = most + 1 - have;
        buf_reserve(out, step);
        rc = file_pread(f, have, out->p + out->n, step, &got, err);
        if (rc)
            break;
        out->n += got;
        if (have + got > most)
            rc = err_set(err, ERR_LIMIT, "%s is longer than %zu bytes", path, most);
        else if (got < step)
            break;
    }
    file_close(f);
    if (rc)
        out->n = before;
    return rc;
}

int fs_write_atomic(struct fs *fs, const char *path, struct slice bytes, unsigned mode, struct err *err)
{
    struct file *f = NULL;
    struct buf tmp = {0};
    char *dir = parent_of(path);
    buf_printf(&tmp, "%s.tmp", path);
    buf_cstr(&tmp);
    int rc = file_open(fs, tmp.p, FILE_WRITE | FILE_CREATE | FILE_TRUNC, mode, &f, err);
    if (rc)
        goto out;
    rc = file_append(f, bytes, err);
    if (!rc)
        rc = file_sync(f, err);
    file_close(f);
    if (!rc)
        rc = fs_rename(fs, tmp.p, path, err);
    if (rc) {
        fs_unlink(fs, tmp.p, NULL); /* the first failure is the one to tell */
        goto out;
    }
    rc = fs_sync_dir(fs, dir, err);
out:
    free(dir);
    buf_free(&tmp);
    return rc;
}
