/* file_real.c - the operating system's files. */
#include "platform/file_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int real_open(struct file *f, int flags, unsigned mode)
{
    int how = O_CLOEXEC | (flags & FILE_WRITE ? (flags & FILE_READ ? O_RDWR : O_WRONLY) : O_RDONLY);
    if (flags & FILE_CREATE)
        how |= O_CREAT;
    if (flags & FILE_EXCL)
        how |= O_EXCL;
    if (flags & FILE_TRUNC)
        how |= O_TRUNC;
    do
        f->fd = open(f->path, how, (mode_t)mode);
    while (f->fd < 0 && errno == EINTR);
    return f->fd < 0 ? -errno : 0;
}

static void real_close(struct file *f)
{
    close(f->fd); /* nothing is to be had from its result: what must be on disk was synced */
}

/* A pipe or terminal has no offsets; reading it from its start to its end is what offset means there. */
static ssize_t real_pread(struct file *f, void *p, size_t n, uint64_t offset)
{
    ssize_t k;
    do
        k = pread(f->fd, p, n, (off_t)offset);
    while (k < 0 && errno == EINTR);
    if (k < 0 && errno == ESPIPE) {
        do
            k = read(f->fd, p, n);
        while (k < 0 && errno == EINTR);
    }
    return k < 0 ? -errno : k;
}

static ssize_t real_pwrite(struct file *f, const void *p, size_t n, uint64_t offset)
{
    ssize_t k;
    do
        k = pwrite(f->fd, p, n, (off_t)offset);
    while (k < 0 && errno == EINTR);
    return k < 0 ? -errno : k;
}

static int real_sync(struct file *f)
{
    return fdatasync(f->fd) ? -errno : 0;
}

static int real_truncate(struct file *f, uint64_t size)
{
    return ftruncate(f->fd, (off_t)size) ? -errno : 0;
}

static int real_allocate(struct file *f, uint64_t size)
{
    return -posix_fallocate(f->fd, 0, (off_t)size);
}

static int real_size(struct file *f, uint64_t *out)
{
    struct stat st;
    if (fstat(f->fd, &st))
        return -errno;
    *out = (uint64_t)st.st_size;
    return 0;
}

static int real_lock(struct file *f)
{
    return flock(f->fd, LOCK_EX | LOCK_NB) ? -errno : 0;
}

/* The lock is the open file's, not the process's: closing another descriptor of the file does not drop it. */
static int real_guard(struct file *f, uint64_t offset, uint64_t n)
{
    struct flock bytes = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)offset, .l_len = (off_t)n};
    if (!fcntl(f->fd, F_OFD_SETLK, &bytes))
        return 0;
    return errno == EACCES || errno == EAGAIN ? -EWOULDBLOCK : -errno;
}

static int real_rename(struct fs *fs, const char *from, const char *to)
{
    return rename(from, to) ? -errno : 0;
}

static int real_unlink(struct fs *fs, const char *path)
{
    return unlink(path) ? -errno : 0;
}

static int real_mkdir(struct fs *fs, const char *path, unsigned mode)
{
    return mkdir(path, (mode_t)mode) ? -errno : 0;
}

static int real_sync_dir(struct fs *fs, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = fsync(fd) ? -errno : 0;
    close(fd);
    return rc;
}

static int real_stat(struct fs *fs, const char *path, struct fs_stat *out)
{
    struct stat st;
    if (stat(path, &st))
        return -errno;
    *out = (struct fs_stat){(uint64_t)st.st_size, st.st_mode & 07777, S_ISDIR(st.st_mode)};
    return 0;
}

static int real_list(struct fs *fs, const char *path, struct buf *names)
{
    DIR *d = opendir(path);
    if (!d)
        return -errno;
    errno = 0;
    for (struct dirent *e; (e = readdir(d)); errno = 0)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            buf_add(names, e->d_name, strlen(e->d_name) + 1);
    int rc = -errno;
    closedir(d);
    return rc;
}

static void real_free(struct fs *fs)
{
    free(fs);
}

static const struct fs_ops REAL = {
    .open = real_open,
    .close = real_close,
    .pread = real_pread,
    .pwrite = real_pwrite,
    .sync = real_sync,
    .truncate = real_truncate,
    .allocate = real_allocate,
    .size = real_size,
    .lock = real_lock,
    .guard = real_guard,
    .rename = real_rename,
    .unlink = real_unlink,
    .mkdir = real_mkdir,
    .sync_dir = real_sync_dir,
    .stat = real_stat,
    .list = real_list,
    .free = real_free,
};

struct fs *fs_real(void)
{
    struct fs *fs = mem_zalloc(sizeof *fs);
    fs_init(fs, &REAL);
#ifdef HATO_FAILPOINTS
    const char *point = getenv("HATO_FAILPOINT");
    if (point) {
        const char *colon = strchr(point, ':');
        size_t n = colon ? (size_t)(colon - point) : strlen(point);
        if (n < sizeof fs->failpoint) {
            memcpy(fs->failpoint, point, n);
            fs->failpoint_left = colon ? atoi(colon + 1) : 1;
        }
    }
#endif
    return fs;
}
