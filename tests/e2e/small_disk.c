/* small_disk.c - preloaded into a program: $DISK_FOLDER lies on a disk of as many bytes as the file
 * $DISK_SIZE says.
 *
 * The file is read at every write, so a disk can fill up and get room again while the program runs; where
 * there is no such file the disk has no end. What is used is the sizes of all files in the folder. As on a
 * real disk a write that does not fit whole takes what fits, and the next one finds none left. Only the calls
 * of platform/file_real.c are here. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

static int64_t disk_bytes(void)
{
    const char *path = getenv("DISK_SIZE");
    FILE *f = path ? fopen(path, "re") : NULL;
    long long size;
    if (!f || fscanf(f, "%lld", &size) != 1)
        size = INT64_MAX;
    if (f)
        fclose(f);
    return size;
}

/* How many bytes this file may grow to. */
static int64_t most_bytes(int fd)
{
    const char *folder = getenv("DISK_FOLDER");
    int64_t used_by_others = 0;
    bool is_ours = false;
    struct stat own, st;
    DIR *d = folder ? opendir(folder) : NULL;
    if (!d || fstat(fd, &own)) {
        if (d)
            closedir(d);
        return INT64_MAX;
    }
    for (struct dirent *e; (e = readdir(d));) {
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) || !S_ISREG(st.st_mode))
            continue;
        if (st.st_ino == own.st_ino && st.st_dev == own.st_dev)
            is_ours = true;
        else
            used_by_others += st.st_size;
    }
    closedir(d);
    if (!is_ours)
        return INT64_MAX;
    int64_t left = disk_bytes() - used_by_others;
    return left > own.st_size ? left : own.st_size; /* what it has it keeps */
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t offset)
{
    ssize_t (*real)(int, const void *, size_t, off_t) =
        (ssize_t(*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    pthread_mutex_lock(&one_at_a_time);
    int64_t fits = most_bytes(fd) - offset;
    ssize_t k = -1;
    if (n && fits <= 0)
        errno = ENOSPC;
    else
        k = real(fd, p, fits < (int64_t)n ? (size_t)fits : n, offset);
    int code = errno;
    pthread_mutex_unlock(&one_at_a_time);
    errno = code;
    return k;
}

int posix_fallocate(int fd, off_t offset, off_t n)
{
    int (*real)(int, off_t, off_t) = (int (*)(int, off_t, off_t))dlsym(RTLD_NEXT, "posix_fallocate");
    pthread_mutex_lock(&one_at_a_time);
    int code = offset + n > most_bytes(fd) ? ENOSPC : real(fd, offset, n);
    pthread_mutex_unlock(&one_at_a_time);
    return code;
}

ssize_t pwrite64(int fd, const void *p, size_t n, off64_t offset)
{
    return pwrite(fd, p, n, offset);
}

int posix_fallocate64(int fd, off64_t offset, off64_t n)
{
    return posix_fallocate(fd, offset, n);
}
