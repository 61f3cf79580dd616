/* file_impl.h - what file.c asks of an implementation. Only file*.c include this.
 *
 * Calls return 0 (or a count) or a negative errno; words, retries and faults are file.c's. */
#ifndef HATO_PLATFORM_FILE_IMPL_H
#define HATO_PLATFORM_FILE_IMPL_H

#include "platform/file.h"

#include <pthread.h>
#include <sys/types.h>

struct file {
    struct fs *fs;
    char *path;
    uint64_t end; /* where the next append goes */
    bool broken;  /* an append could not be taken back */
    int fd;
    struct mem_inode *inode;
    bool holds_lock;
};

struct fs_ops {
    int (*open)(struct file *f, int flags, unsigned mode);
    void (*close)(struct file *f);
    ssize_t (*pread)(struct file *f, void *p, size_t n, uint64_t offset);
    ssize_t (*pwrite)(struct file *f, const void *p, size_t n, uint64_t offset); /* may take less than n */
    int (*sync)(struct file *f);
    int (*truncate)(struct file *f, uint64_t size);
    int (*allocate)(struct file *f, uint64_t size);
    int (*size)(struct file *f, uint64_t *out);
    int (*lock)(struct file *f);                               /* -EWOULDBLOCK: another has it */
    int (*guard)(struct file *f, uint64_t offset, uint64_t n); /* the same */
    int (*rename)(struct fs *fs, const char *from, const char *to);
    int (*unlink)(struct fs *fs, const char *path);
    int (*mkdir)(struct fs *fs, const char *path, unsigned mode);
    int (*sync_dir)(struct fs *fs, const char *path);
    int (*stat)(struct fs *fs, const char *path, struct fs_stat *out);
    int (*list)(struct fs *fs, const char *path, struct buf *names); /* each with its NUL, any order */
    void (*free)(struct fs *fs);
};

struct fs {
    const struct fs_ops *ops;
    pthread_mutex_t faults_lock;
    struct fs_faults faults;
    long operations;
    bool armed; /* read without the lock; set before other threads use the fs */
    char failpoint[64];
    int failpoint_left;
};

void fs_init(struct fs *fs, const struct fs_ops *ops);

#endif
