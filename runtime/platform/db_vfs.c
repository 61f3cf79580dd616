/* db_vfs.c - SQLite's view of `file`.
 *
 * One connection, exclusive: so there is one lock, taken at the first wish for any and kept until the file is
 * closed. It covers the bytes that SQLite's own VFS for Unix locks (pending, reserved, shared), which is how
 * other programs see it. Without xShmMap SQLite keeps the index of the WAL in its own memory. */
#include "platform/db_impl.h"

#include <stdio.h>
#include <stdlib.h>

enum { LOCK_BYTES_FROM = 0x40000000, LOCK_BYTES = 512 };

struct vfs_file {
    sqlite3_file base; /* first: SQLite sees only this */
    struct db_vfs *vfs;
    struct file *file;
    bool name_unsynced; /* it was made, and its folder has not been synced since */
    bool locked;
};

static struct vfs_file *of(sqlite3_file *f)
{
    return CONTAINER(f, struct vfs_file, base);
}

/* Remember the words, which SQLite's codes cannot carry. */
static int fail(struct db_vfs *v, const struct err *e, int code)
{
    v->failed = *e;
    return e->code == ERR_FULL ? SQLITE_FULL : code;
}

static int sync_folder_of(struct db_vfs *v, const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char *dir =
        slash && slash != path ? mem_dup(path, (size_t)(slash - path)) : mem_dup(slash ? "/" : ".", 1);
    int rc = fs_sync_dir(v->fs, dir, e);
    free(dir);
    return rc;
}

/* --- one file --- */

static int on_close(sqlite3_file *f)
{
    file_close(of(f)->file);
    return SQLITE_OK;
}

static int on_read(sqlite3_file *f, void *p, int n, sqlite3_int64 offset)
{
    size_t got;
    struct err e;
    if (file_pread(of(f)->file, (uint64_t)offset, p, (size_t)n, &got, &e))
        return fail(of(f)->vfs, &e, SQLITE_IOERR_READ);
    if (got == (size_t)n)
        return SQLITE_OK;
    memset((char *)p + got, 0, (size_t)n - got);
    return SQLITE_IOERR_SHORT_READ;
}

static int on_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 offset)
{
    struct err e;
    if (file_pwrite(of(f)->file, (uint64_t)offset, slice_of(p, (size_t)n), &e))
        return fail(of(f)->vfs, &e, SQLITE_IOERR_WRITE);
    return SQLITE_OK;
}

static int on_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct err e;
    return file_truncate(of(f)->file, (uint64_t)size, &e) ? fail(of(f)->vfs, &e, SQLITE_IOERR_TRUNCATE)
                                                          : SQLITE_OK;
}

static int on_sync(sqlite3_file *f, int flags)
{
    struct vfs_file *vf = of(f);
    struct err e;
    int rc = file_sync(vf->file, &e);
    if (!rc && vf->name_unsynced) {
        rc = sync_folder_of(vf->vfs, file_path(vf->file), &e);
        vf->name_unsynced = rc != 0;
    }
    return rc ? fail(vf->vfs, &e, SQLITE_IOERR_FSYNC) : SQLITE_OK;
}

static int on_size(sqlite3_file *f, sqlite3_int64 *out)
{
    uint64_t size;
    struct err e;
    if (file_size(of(f)->file, &size, &e))
        return fail(of(f)->vfs, &e, SQLITE_IOERR_FSTAT);
    *out = (sqlite3_int64)size;
    return SQLITE_OK;
}

static int on_lock(sqlite3_file *f, int level)
{
    struct vfs_file *vf = of(f);
    struct err e;
    if (vf->locked || level == SQLITE_LOCK_NONE)
        return SQLITE_OK;
    int rc = file_guard(vf->file, LOCK_BYTES_FROM, LOCK_BYTES, &e);
    if (rc)
        return fail(vf->vfs, &e, rc == ERR_LOCKED ? SQLITE_BUSY : SQLITE_IOERR_LOCK);
    vf->locked = true;
    return SQLITE_OK;
}

static int on_unlock(sqlite3_file *f, int level)
{
    return SQLITE_OK;
}

/* Asked when a journal was found: whether a live process has it. Nobody but us can have the lock. */
static int on_check_reserved(sqlite3_file *f, int *out)
{
    *out = 0;
    return SQLITE_OK;
}

static int on_control(sqlite3_file *f, int op, void *arg)
{
    return SQLITE_NOTFOUND;
}

static int on_sector_size(sqlite3_file *f)
{
    return 4096;
}

/* As SQLite's own VFS has it by default: a write that the power cuts leaves the bytes beside it alone. */
static int on_characteristics(sqlite3_file *f)
{
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods METHODS = {
    .iVersion = 1, /* no shared memory */
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_reserved,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_characteristics,
};

/* --- names --- */

static struct db_vfs *vfs_of(sqlite3_vfs *v)
{
    return CONTAINER(v, struct db_vfs, vfs);
}

static int on_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
    struct db_vfs *dv = vfs_of(v);
    struct vfs_file *vf = of(f);
    struct fs_stat st;
    struct err e;
    f->pMethods = NULL;
    /* Temporary files are kept in memory (PRAGMA temp_store): only named ones come here. */
    if (!name)
        return SQLITE_CANTOPEN;
    int how = FILE_READ | (flags & SQLITE_OPEN_READWRITE ? FILE_WRITE : 0) |
              (flags & SQLITE_OPEN_CREATE ? FILE_CREATE : 0) |
              (flags & SQLITE_OPEN_EXCLUSIVE ? FILE_EXCL : 0);
    bool is_new = how & FILE_CREATE && fs_stat(dv->fs, name, &st, NULL) == ERR_NOTFOUND;
    vf->vfs = dv;
    vf->name_unsynced = is_new;
    vf->locked = false;
    if (file_open(dv->fs, name, how, 0600, &vf->file, &e))
        return fail(dv, &e, SQLITE_CANTOPEN);
    f->pMethods = &METHODS;
    if (out_flags)
        *out_flags = flags;
    return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
    struct db_vfs *dv = vfs_of(v);
    struct err e;
    int rc = fs_unlink(dv->fs, name, &e);
    if (rc == ERR_NOTFOUND)
        return SQLITE_IOERR_DELETE_NOENT;
    if (!rc && sync_dir)
        rc = sync_folder_of(dv, name, &e);
    return rc ? fail(dv, &e, SQLITE_IOERR_DELETE) : SQLITE_OK;
}

static int on_access(sqlite3_vfs *v, const char *name, int flags, int *out)
{
    struct db_vfs *dv = vfs_of(v);
    struct fs_stat st;
    struct err e;
    int rc = fs_stat(dv->fs, name, &st, &e);
    if (rc && rc != ERR_NOTFOUND)
        return fail(dv, &e, SQLITE_IOERR_ACCESS);
    /* An empty journal is as good as none, and SQLite's own VFS says so too. */
    *out = !rc && (flags != SQLITE_ACCESS_EXISTS || st.size > 0);
    return SQLITE_OK;
}

static int on_full_path(sqlite3_vfs *v, const char *name, int n, char *out)
{
    return snprintf(out, (size_t)n, "%s", name) < n ? SQLITE_OK : SQLITE_CANTOPEN;
}

/* SQLite's randomness and its clock come from its default VFS or from nowhere: no statement of hato's asks
 * for either, and the seed of a simulation stays the only one. */
static int on_randomness(sqlite3_vfs *v, int n, char *out)
{
    memset(out, 0, (size_t)n);
    return n;
}

static int on_sleep(sqlite3_vfs *v, int us)
{
    return 0;
}

static int on_time(sqlite3_vfs *v, double *out)
{
    return SQLITE_ERROR;
}

int db_vfs_init(struct db_vfs *v, struct fs *fs)
{
    *v = (struct db_vfs){.fs = fs};
    snprintf(v->name, sizeof v->name, "hato-%p", (void *)v);
    v->vfs = (sqlite3_vfs){.iVersion = 1,
                           .szOsFile = sizeof(struct vfs_file),
                           .mxPathname = 4096,
                           .zName = v->name,
                           .xOpen = on_open,
                           .xDelete = on_delete,
                           .xAccess = on_access,
                           .xFullPathname = on_full_path,
                           .xRandomness = on_randomness,
                           .xSleep = on_sleep,
                           .xCurrentTime = on_time};
    return sqlite3_vfs_register(&v->vfs, 0);
}

void db_vfs_end(struct db_vfs *v)
{
    sqlite3_vfs_unregister(&v->vfs);
}
