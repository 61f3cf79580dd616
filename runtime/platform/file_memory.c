/* file_memory.c - files in memory, with or without a memory for what was not synced.
 *
 * There are two worlds: what a program sees, and what the disk holds. Names (map: path -> inode) and bytes
 * exist in both. In fs_memory() only the first counts. In fs_forgetting() each change also goes into a log,
 * of its inode (bytes) or of the fs (names); a sync carries the log over to the disk, and fs_power_loss()
 * carries over a part of it, chosen by a seed, and then shows the disk to the program. Folders are simple:
 * they are on disk at once (fs_mkdir() promises as much). */
#include "platform/file_impl.h"
#include "base/map.h"

#include <errno.h>
#include <stdlib.h>

struct byte_op {
    uint64_t offset;
    struct buf bytes;
    bool truncates; /* to offset */
};

struct mem_inode {
    int refs; /* names in either world, name log, open files */
    bool is_dir;
    bool locked;
    unsigned mode;
    struct buf now, disk;
    struct byte_op *log;
    size_t nlog;
};

struct name_op {
    char *from, *to;         /* from: a name that ends (or NULL); to: one that begins (or NULL) */
    struct mem_inode *inode; /* what to names */
};

struct mem_fs {
    struct fs fs;
    pthread_mutex_t lock;
    bool forgets;
    int open_files;
    struct map now, disk;
    struct name_op *log;
    size_t nlog;
};

static struct mem_fs *of(struct fs *fs)
{
    return CONTAINER(fs, struct mem_fs, fs);
}

/* One spelling for one path: no "./" at the front, no "//", no "/" at the end; "." is the empty name. */
static struct slice normal(const char *path, struct buf *out)
{
    for (const char *p = path; *p;) {
        const char *end = strchrnul(p, '/');
        bool skip = (end == p && p != path) || (end - p == 1 && *p == '.');
        if (!skip)
            buf_add(out, p, (size_t)(end - p));
        if (!*end)
            break;
        if (!skip)
            buf_addc(out, '/');
        p = end + 1;
    }
    while (out->n > 1 && out->p[out->n - 1] == '/')
        out->n--;
    return buf_slice(out);
}

static struct slice folder_of(struct slice path)
{
    while (path.n && path.p[path.n - 1] != '/')
        path.n--;
    if (path.n > 1)
        path.n--;
    return path;
}

static void drop(struct mem_inode *inode)
{
    if (!inode || --inode->refs)
        return;
    for (size_t i = 0; i < inode->nlog; i++)
        buf_free(&inode->log[i].bytes);
    free(inode->log);
    buf_free(&inode->now);
    buf_free(&inode->disk);
    free(inode);
}

static void put_name(struct map *names, struct slice path, struct mem_inode *inode)
{
    inode->refs++;
    drop(map_put(names, path, inode));
}

static void apply_name(struct map *names, const struct name_op *op)
{
    if (op->from)
        drop(map_del(names, slice_cstr(op->from)));
    if (op->to)
        put_name(names, slice_cstr(op->to), op->inode);
}

/* Change a name in the world the program sees, and note it for the disk. */
static void change_name(struct mem_fs *m, struct slice from, struct slice to, struct mem_inode *inode)
{
    struct name_op op = {from.n ? mem_dup(from.p, from.n) : NULL, to.n ? mem_dup(to.p, to.n) : NULL, inode};
    if (inode)
        inode->refs++;
    apply_name(&m->now, &op);
    if (m->forgets) {
        m->log = mem_realloc(m->log, (m->nlog + 1) * sizeof *m->log);
        m->log[m->nlog++] = op;
        return;
    }
    free(op.from);
    free(op.to);
    drop(inode);
}

static bool folder_exists(struct mem_fs *m, struct slice dir)
{
    if (!dir.n || slice_eq(dir, S("/")))
        return true;
    struct mem_inode *inode = map_get(&m->now, dir);
    return inode && inode->is_dir;
}

static void write_bytes(struct buf *b, uint64_t offset, struct slice bytes)
{
    uint64_t end = offset + bytes.n;
    if (end > b->n) {
        buf_reserve(b, (size_t)(end - b->n));
        memset(b->p + b->n, 0, (size_t)(end - b->n));
        b->n = (size_t)end;
    }
    if (bytes.n)
        memcpy(b->p + offset, bytes.p, bytes.n);
}

static void cut_bytes(struct buf *b, uint64_t size)
{
    if (size > b->n)
        write_bytes(b, size, SLICE_NONE);
    b->n = (size_t)size;
}

static void log_bytes(struct mem_fs *m, struct mem_inode *inode, struct byte_op op)
{
    if (!m->forgets) {
        buf_free(&op.bytes);
        return;
    }
    inode->log = mem_realloc(inode->log, (inode->nlog + 1) * sizeof *inode->log);
    inode->log[inode->nlog++] = op;
}

static void apply_bytes(struct buf *disk, const struct byte_op *op)
{
    if (op->truncates)
        cut_bytes(disk, op->offset);
    else
        write_bytes(disk, op->offset, buf_slice(&op->bytes));
}

static void clear_log(struct mem_inode *inode)
{
    for (size_t i = 0; i < inode->nlog; i++)
        buf_free(&inode->log[i].bytes);
    inode->nlog = 0;
}

/* --- one file --- */

static int mem_open(struct file *f, int flags, unsigned mode)
{
    struct mem_fs *m = of(f->fs);
    struct buf b = {0};
    struct slice path = normal(f->path, &b);
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    struct mem_inode *inode = map_get(&m->now, path);
    if (inode && inode->is_dir)
        rc = -EISDIR;
    else if (inode && flags & FILE_EXCL)
        rc = -EEXIST;
    else if (!inode && (!(flags & FILE_CREATE) || !folder_exists(m, folder_of(path))))
        rc = -ENOENT;
    if (rc)
        goto out;
    if (!inode) {
        inode = mem_zalloc(sizeof *inode);
        inode->mode = mode;
        change_name(m, SLICE_NONE, path, inode);
    } else if (flags & FILE_TRUNC) {
        cut_bytes(&inode->now, 0);
        log_bytes(m, inode, (struct byte_op){.truncates = true});
    }
    inode->refs++;
    f->inode = inode;
    m->open_files++;
out:
    pthread_mutex_unlock(&m->lock);
    buf_free(&b);
    return rc;
}

static void mem_close(struct file *f)
{
    struct mem_fs *m = of(f->fs);
    pthread_mutex_lock(&m->lock);
    if (f->holds_lock)
        f->inode->locked = false;
    drop(f->inode);
    m->open_files--;
    pthread_mutex_unlock(&m->lock);
}

static ssize_t mem_pread(struct file *f, void *p, size_t n, uint64_t offset)
{
    struct mem_fs *m = of(f->fs);
    pthread_mutex_lock(&m->lock);
    size_t have = f->inode->now.n;
    size_t left = offset < have ? have - (size_t)offset : 0;
    if (n > left)
        n = left;
    if (n)
        memcpy(p, f->inode->now.p + offset, n);
    pthread_mutex_unlock(&m->lock);
    return (ssize_t)n;
}

static uint64_t bytes_used(struct mem_fs *m)
{
    uint64_t used = 0;
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&m->now, &at));)
        used += ((struct mem_inode *)e->value)->now.n;
    return used;
}

/* How many of n more bytes the disk has room for. */
static size_t room_for(struct mem_fs *m, size_t n)
{
    pthread_mutex_lock(&m->fs.faults_lock);
    uint64_t capacity = m->fs.faults.capacity;
    pthread_mutex_unlock(&m->fs.faults_lock);
    if (!capacity)
        return n;
    uint64_t used = bytes_used(m);
    uint64_t left = used < capacity ? capacity - used : 0;
    return n < left ? n : (size_t)left;
}

static ssize_t mem_pwrite(struct file *f, const void *p, size_t n, uint64_t offset)
{
    struct mem_fs *m = of(f->fs);
    struct byte_op op = {.offset = offset};
    pthread_mutex_lock(&m->lock);
    size_t have = f->inode->now.n;
    size_t grows = offset + n > have ? (size_t)(offset + n - have) : 0;
    size_t lacks = grows ? grows - room_for(m, grows) : 0;
    n = lacks < n ? n - lacks : 0;
    if (n) {
        write_bytes(&f->inode->now, offset, slice_of(p, n));
        if (m->forgets)
            buf_add(&op.bytes, p, n);
        log_bytes(m, f->inode, op);
    }
    pthread_mutex_unlock(&m->lock);
    return n ? (ssize_t)n : -ENOSPC;
}

static int mem_sync(struct file *f)
{
    struct mem_fs *m = of(f->fs);
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < f->inode->nlog; i++)
        apply_bytes(&f->inode->disk, &f->inode->log[i]);
    clear_log(f->inode);
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static int mem_truncate(struct file *f, uint64_t size)
{
    struct mem_fs *m = of(f->fs);
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    size_t have = f->inode->now.n;
    if (size > have && room_for(m, (size_t)size - have) < (size_t)size - have) {
        rc = -ENOSPC;
    } else {
        cut_bytes(&f->inode->now, size);
        log_bytes(m, f->inode, (struct byte_op){.offset = size, .truncates = true});
    }
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static int mem_size(struct file *f, uint64_t *out)
{
    struct mem_fs *m = of(f->fs);
    pthread_mutex_lock(&m->lock);
    *out = f->inode->now.n;
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static int mem_allocate(struct file *f, uint64_t size)
{
    uint64_t have = 0;
    pthread_mutex_lock(&f->fs->faults_lock);
    bool endless = !f->fs->faults.capacity;
    pthread_mutex_unlock(&f->fs->faults_lock);
    if (endless)
        return 0;
    mem_size(f, &have);
    return size > have ? mem_truncate(f, size) : 0;
}

static int mem_guard(struct file *f, uint64_t offset, uint64_t n)
{
    return 0;
}

static int mem_lock(struct file *f)
{
    struct mem_fs *m = of(f->fs);
    pthread_mutex_lock(&m->lock);
    int rc = f->inode->locked ? -EWOULDBLOCK : 0;
    if (!rc)
        f->inode->locked = f->holds_lock = true;
    pthread_mutex_unlock(&m->lock);
    return rc;
}

/* --- names --- */

static int mem_rename(struct fs *fs, const char *from, const char *to)
{
    struct mem_fs *m = of(fs);
    struct buf a = {0}, b = {0};
    struct slice old = normal(from, &a), new = normal(to, &b);
    int rc = -ENOENT;
    pthread_mutex_lock(&m->lock);
    struct mem_inode *inode = map_get(&m->now, old);
    if (inode && inode->is_dir)
        rc = -EISDIR;
    else if (inode && folder_exists(m, folder_of(new))) {
        if (!slice_eq(old, new))
            change_name(m, old, new, inode);
        rc = 0;
    }
    pthread_mutex_unlock(&m->lock);
    buf_free(&a);
    buf_free(&b);
    return rc;
}

static int mem_unlink(struct fs *fs, const char *path)
{
    struct mem_fs *m = of(fs);
    struct buf b = {0};
    struct slice name = normal(path, &b);
    pthread_mutex_lock(&m->lock);
    struct mem_inode *inode = map_get(&m->now, name);
    int rc = !inode ? -ENOENT : inode->is_dir ? -EISDIR : 0;
    if (!rc)
        change_name(m, name, SLICE_NONE, NULL);
    pthread_mutex_unlock(&m->lock);
    buf_free(&b);
    return rc;
}

static int mem_mkdir(struct fs *fs, const char *path, unsigned mode)
{
    struct mem_fs *m = of(fs);
    struct buf b = {0};
    struct slice name = normal(path, &b);
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    if (map_get(&m->now, name) || !name.n)
        rc = -EEXIST;
    else if (!folder_exists(m, folder_of(name)))
        rc = -ENOENT;
    else {
        struct mem_inode *inode = mem_zalloc(sizeof *inode);
        inode->is_dir = true;
        inode->mode = mode;
        put_name(&m->now, name, inode);
        put_name(&m->disk, name, inode);
    }
    pthread_mutex_unlock(&m->lock);
    buf_free(&b);
    return rc;
}

/* Does op concern a name in dir? A rename across folders counts where the name began. */
static bool op_in(const struct name_op *op, struct slice dir)
{
    return slice_eq(folder_of(slice_cstr(op->from ? op->from : op->to)), dir);
}

static void free_op(struct name_op *op)
{
    free(op->from);
    free(op->to);
    drop(op->inode);
}

static int mem_sync_dir(struct fs *fs, const char *path)
{
    struct mem_fs *m = of(fs);
    struct buf b = {0};
    struct slice dir = normal(path, &b);
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    if (!folder_exists(m, dir))
        rc = -ENOENT;
    size_t kept = 0;
    for (size_t i = 0; !rc && i < m->nlog; i++) {
        if (!op_in(&m->log[i], dir)) {
            m->log[kept++] = m->log[i];
            continue;
        }
        apply_name(&m->disk, &m->log[i]);
        free_op(&m->log[i]);
    }
    if (!rc)
        m->nlog = kept;
    pthread_mutex_unlock(&m->lock);
    buf_free(&b);
    return rc;
}

static int mem_stat(struct fs *fs, const char *path, struct fs_stat *out)
{
    struct mem_fs *m = of(fs);
    struct buf b = {0};
    struct slice name = normal(path, &b);
    int rc = 0;
    pthread_mutex_lock(&m->lock);
    struct mem_inode *inode = map_get(&m->now, name);
    if (inode)
        *out = (struct fs_stat){inode->now.n, inode->mode, inode->is_dir};
    else if (folder_exists(m, name))
        *out = (struct fs_stat){0, 0700, true};
    else
        rc = -ENOENT;
    pthread_mutex_unlock(&m->lock);
    buf_free(&b);
    return rc;
}

static int mem_list(struct fs *fs, const char *path, struct buf *names)
{
    struct mem_fs *m = of(fs);
    struct buf b = {0};
    struct slice dir = normal(path, &b);
    size_t at = 0;
    pthread_mutex_lock(&m->lock);
    int rc = folder_exists(m, dir) ? 0 : -ENOENT;
    for (struct map_entry *e; !rc && (e = map_next(&m->now, &at));) {
        if (!slice_eq(folder_of(e->key), dir))
            continue;
        size_t skip = dir.n && !slice_eq(dir, S("/")) ? dir.n + 1 : dir.n;
        buf_add(names, e->key.p + skip, e->key.n - skip);
        buf_addc(names, 0);
    }
    pthread_mutex_unlock(&m->lock);
    buf_free(&b);
    return rc;
}

/* --- power loss --- */

static uint64_t next_random(uint64_t *state) /* splitmix64 (Steele, Lea, Flood 2014) */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* One unsynced change of bytes: whole, not at all, its front, its back, or only its length. */
static void apply_perhaps(struct buf *disk, const struct byte_op *op, uint64_t *rng)
{
    struct byte_op part = *op;
    size_t n = op->bytes.n, at = n ? (size_t)(next_random(rng) % n) : 0;
    switch (next_random(rng) % 5) {
    case 0:
        apply_bytes(disk, op);
        break;
    case 1:
        break;
    case 2:
        part.bytes.n = at;
        apply_bytes(disk, &part);
        break;
    case 3:
        if (op->truncates)
            break;
        write_bytes(disk, op->offset + at, slice_of(op->bytes.p + at, n - at));
        break;
    case 4:
        if (!op->truncates && disk->n < op->offset + n)
            write_bytes(disk, op->offset + n, SLICE_NONE);
        break;
    }
}

static void lose_bytes(struct mem_inode *inode, uint64_t *rng)
{
    /* Most disks lose a tail; some lose at random. */
    size_t whole = inode->nlog ? (size_t)(next_random(rng) % (inode->nlog + 1)) : 0;
    bool in_order = next_random(rng) % 2;
    for (size_t i = 0; i < inode->nlog; i++) {
        if (in_order && i < whole)
            apply_bytes(&inode->disk, &inode->log[i]);
        else if (!in_order || i == whole)
            apply_perhaps(&inode->disk, &inode->log[i], rng);
    }
    clear_log(inode);
    inode->now.n = 0;
    buf_adds(&inode->now, buf_slice(&inode->disk));
    inode->locked = false;
}

void fs_power_loss(struct fs *fs, uint64_t seed)
{
    struct mem_fs *m = of(fs);
    uint64_t rng = seed;
    pthread_mutex_lock(&m->lock);
    INVARIANT(m->forgets && m->open_files == 0);
    for (size_t i = 0; i < m->nlog; i++) {
        if (next_random(&rng) % 2)
            apply_name(&m->disk, &m->log[i]);
        free_op(&m->log[i]);
    }
    m->nlog = 0;
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&m->now, &at));)
        drop(map_del(&m->now, e->key));
    at = 0;
    for (struct map_entry *e; (e = map_next(&m->disk, &at));) {
        lose_bytes(e->value, &rng);
        put_name(&m->now, e->key, e->value);
    }
    pthread_mutex_unlock(&m->lock);
}

/* --- life --- */

static void free_names(struct map *names)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(names, &at));)
        drop(e->value);
    map_free(names);
}

static void mem_free(struct fs *fs)
{
    struct mem_fs *m = of(fs);
    INVARIANT(m->open_files == 0);
    for (size_t i = 0; i < m->nlog; i++)
        free_op(&m->log[i]);
    free(m->log);
    free_names(&m->now);
    free_names(&m->disk);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static const struct fs_ops MEMORY = {
    .open = mem_open,
    .close = mem_close,
    .pread = mem_pread,
    .pwrite = mem_pwrite,
    .sync = mem_sync,
    .truncate = mem_truncate,
    .allocate = mem_allocate,
    .size = mem_size,
    .lock = mem_lock,
    .guard = mem_guard,
    .rename = mem_rename,
    .unlink = mem_unlink,
    .mkdir = mem_mkdir,
    .sync_dir = mem_sync_dir,
    .stat = mem_stat,
    .list = mem_list,
    .free = mem_free,
};

static struct fs *make(bool forgets)
{
    struct mem_fs *m = mem_zalloc(sizeof *m);
    fs_init(&m->fs, &MEMORY);
    pthread_mutex_init(&m->lock, NULL);
    m->forgets = forgets;
    return &m->fs;
}

struct fs *fs_memory(void)
{
    return make(false);
}

struct fs *fs_forgetting(void)
{
    return make(true);
}
