/* file.h - files: the operating system's, in memory, or in memory and forgetting what was not synced.
 *
 * Everything hato stores goes through a struct fs, so that a simulation leaves the disk alone and a test can
 * cut the power. All functions may be called from any thread; only appends to one file must come from one
 * thread at a time. A failure returns ERR_* and fills err (may be NULL) with the path and the system's words.
 *
 * What is durable: bytes after file_sync(), names after fs_sync_dir(). A file that was created, renamed or
 * unlinked and whose directory was not synced may come back or be gone after power loss. */
#ifndef HATO_PLATFORM_FILE_H
#define HATO_PLATFORM_FILE_H

#include "base/err.h"
#include "base/mem.h"

struct fs;
struct file;

struct fs *fs_real(void);       /* reads HATO_FAILPOINT where failpoints are compiled in */
struct fs *fs_memory(void);     /* what is written is there */
struct fs *fs_forgetting(void); /* and fs_power_loss() takes away what was not synced */
void fs_free(struct fs *fs);    /* every file is closed before */

enum file_flags {
    FILE_READ = 1,
    FILE_WRITE = 2,
    FILE_CREATE = 4, /* with FILE_WRITE: make it if it is not there */
    FILE_EXCL = 8,   /* with FILE_CREATE: ERR_EXISTS if it is */
    FILE_TRUNC = 16, /* with FILE_WRITE: begin empty */
};

/* --- one file --- */

/* The file is owned by the caller until file_close(). mode counts only when the file is made. */
int file_open(struct fs *fs, const char *path, int flags, unsigned mode, struct file **out, struct err *err);
void file_close(struct file *f); /* NULL is allowed; gives up a lock. Syncs nothing */

/* Read up to n bytes at offset. *got is less than n only at the end of the file. */
int file_pread(struct file *f, uint64_t offset, void *p, size_t n, size_t *got, struct err *err);

/* All of the bytes at the end of the file, or an error and the file as long as before. If not even that can
 * be had, this and every later append returns ERR_IO. */
int file_append(struct file *f, struct slice bytes, struct err *err);

/* All of the bytes at offset; on an error some of them may be there. */
int file_pwrite(struct file *f, uint64_t offset, struct slice bytes, struct err *err);

/* fdatasync. After an error what was written since the last sync counts as lost: a second sync that says 0
 * proves nothing (the kernel has thrown the pages' dirty marks away). */
int file_sync(struct file *f, struct err *err);
int file_truncate(struct file *f, uint64_t size, struct err *err);
int file_size(struct file *f, uint64_t *out, struct err *err);

/* Set room aside so that the file can become size bytes long (zeros) without ERR_FULL. */
int file_allocate(struct file *f, uint64_t size, struct err *err);
/* Hold these bytes against programs that ask for POSIX locks, as SQLite's own do, until file_close().
 * ERR_LOCKED: another program has some of them. Files in memory are nobody else's: nothing to do. */
int file_guard(struct file *f, uint64_t offset, uint64_t n, struct err *err);
const char *file_path(const struct file *f); /* borrowed while f is open */

/* --- names --- */

int fs_rename(struct fs *fs, const char *from, const char *to, struct err *err);
int fs_unlink(struct fs *fs, const char *path, struct err *err);
int fs_sync_dir(struct fs *fs, const char *dir, struct err *err);

/* Make dir and what is missing above it, durable when it returns. 0 if it is there already. */
int fs_mkdir(struct fs *fs, const char *dir, unsigned mode, struct err *err);

/* fn for every name in dir but . and .., in byte order. */
int fs_list(struct fs *fs, const char *dir, void (*fn)(void *data, const char *name), void *data,
            struct err *err);

struct fs_stat {
    uint64_t size;
    unsigned mode; /* permission bits */
    bool is_dir;
};
int fs_stat(struct fs *fs, const char *path, struct fs_stat *out, struct err *err);

/* Make path if need be and hold it for this process alone until file_close(). ERR_LOCKED names the process
 * that has it. */
int fs_lock(struct fs *fs, const char *path, struct file **out, struct err *err);

/* Append the file's bytes to out; ERR_LIMIT if there are more than most, and out is as before. */
int fs_read_whole(struct fs *fs, const char *path, size_t most, struct buf *out, struct err *err);

/* The file has either its old bytes or these, whatever happens when; durable when it returns 0. */
int fs_write_atomic(struct fs *fs, const char *path, struct slice bytes, unsigned mode, struct err *err);

/* --- failpoints: HATO_FAILPOINT="name:N" kills the process (SIGKILL) when it passes there the Nth time ---
 */
#ifdef HATO_FAILPOINTS
void fs_failpoint(struct fs *fs, const char *name);
#else
static inline void fs_failpoint(struct fs *fs, const char *name)
{
}
#endif

/* --- for tests --- */

struct fs_faults {
    int append_after;    /* the nth write from now fails (1 is the next); 0: none */
    int append_errno;    /* with this; 0 with append_takes > 0: a short write, and the rest succeeds */
    size_t append_takes; /* bytes that get through before it fails */
    int append_times;    /* how many writes fail in a row; 0 is 1 */
    int sync_after;      /* the nth file_sync() from now fails */
    int sync_errno;
    int sync_times;
    long stop_after;   /* after n changing operations the world stands still: all return ERR_CANCELED */
    uint64_t capacity; /* in memory only: bytes on this disk; 0: no end */
};
void fs_set_faults(struct fs *fs, const struct fs_faults *faults); /* replaces those set before */
long fs_operations(struct fs *fs);                                 /* changing operations since then */

/* What a cut of the power leaves: of every write and every name that was not synced all, nothing, a part, or
 * zeros in its place, later ones perhaps without earlier ones; decided by seed. No file may be open. */
void fs_power_loss(struct fs *fs, uint64_t seed);

#endif
