/* maildir.c - see maildir.h. */
#include "maildir.h"

#include <stdlib.h>

static const char *path_of(struct buf *path, const struct maildir *m, const char *folder, const char *name)
{
    buf_clear(path);
    buf_printf(path, "%s/%s", m->dir, folder);
    if (name)
        buf_printf(path, "/%s", name);
    return buf_cstr(path);
}

int maildir_make(const struct maildir *m, struct err *e)
{
    static const char *const folders[] = {"tmp", "new", "cur"};
    struct buf path = {0};
    int rc = 0;
    for (size_t i = 0; !rc && i < COUNT(folders); i++)
        rc = fs_mkdir(m->fs, path_of(&path, m, folders[i], NULL), 0700, e);
    buf_free(&path);
    return rc;
}

int maildir_open(const struct maildir *m, struct err *e)
{
    struct buf path = {0};
    struct fs_stat st;
    int rc = fs_stat(m->fs, path_of(&path, m, "new", NULL), &st, e);
    buf_free(&path);
    if (rc == ERR_NOTFOUND || (!rc && !st.is_dir))
        return err_set(e, ERR_NOTFOUND, "%s is no Maildir: it has no folder new", m->dir);
    return rc ? rc : maildir_make(m, e);
}

static void on_new(void *data, const char *name)
{
    struct maildir_names *names = data;
    if (name[0] == '.' || names->n == MAILDIR_NAMES_MOST)
        return;
    if (!(names->n & (names->n + 1))) /* at 0, 1, 3, 7 … there is room up to the next of these */
        names->v = mem_realloc(names->v, (names->n + 1) * 2 * sizeof *names->v);
    names->v[names->n++] = mem_dup(name, strlen(name));
}

int maildir_new_names(const struct maildir *m, struct maildir_names *out, struct err *e)
{
    struct buf path = {0};
    *out = (struct maildir_names){0};
    int rc = fs_list(m->fs, path_of(&path, m, "new", NULL), on_new, out, e);
    buf_free(&path);
    return rc;
}

void maildir_names_free(struct maildir_names *names)
{
    for (size_t i = 0; i < names->n; i++)
        free(names->v[i]);
    free(names->v);
    *names = (struct maildir_names){0};
}

int maildir_read(const struct maildir *m, const char *name, size_t most, struct buf *out, struct err *e)
{
    struct buf path = {0};
    struct file *f;
    size_t got = 0;
    uint64_t size;
    int rc = file_open(m->fs, path_of(&path, m, "new", name), FILE_READ, 0, &f, e);
    buf_free(&path);
    if (rc)
        return rc;
    rc = file_size(f, &size, e);
    if (!rc) {
        if (size > most)
            size = most;
        buf_reserve(out, size);
        rc = file_pread(f, 0, out->p + out->n, size, &got, e);
    }
    if (!rc)
        out->n += got;
    file_close(f);
    return rc;
}

int maildir_done(const struct maildir *m, const char *name, bool look, struct err *e)
{
    struct buf from = {0}, to = {0}, seen = {0};
    struct slice rest;
    buf_adds(&seen, slice_cut(slice_cstr(name), ':', &rest));
    buf_adds(&seen, look ? S(":2,FS") : S(":2,S"));
    int rc = fs_rename(m->fs, path_of(&from, m, "new", name), path_of(&to, m, "cur", buf_cstr(&seen)), e);
    buf_free(&from);
    buf_free(&to);
    buf_free(&seen);
    return rc;
}

struct tidying {
    const struct maildir *m;
    int64_t before_s;
    uint64_t look;
    struct err err;
};

static void on_cur(void *data, const char *name)
{
    struct tidying *t = data;
    struct slice flags = SLICE_NONE, rest, when;
    struct buf path = {0};
    struct err why = {0};
    uint64_t came_s;
    slice_cut(slice_cstr(name), ':', &flags);
    if (slice_find(flags, S("F")) >= 0) {
        t->look++;
        return;
    }
    when = slice_cut(slice_cstr(name), '.', &rest);
    if (!slice_eq(flags, S("2,S")) || slice_u64(when, &came_s) || (int64_t)came_s >= t->before_s)
        return;
    int rc = fs_unlink(t->m->fs, path_of(&path, t->m, "cur", name), &why);
    if (rc && rc != ERR_NOTFOUND && !t->err.code)
        t->err = why;
    buf_free(&path);
}

int maildir_tidy(const struct maildir *m, int64_t before_s, uint64_t *look, struct err *e)
{
    struct tidying t = {.m = m, .before_s = before_s};
    struct buf path = {0};
    int rc = fs_list(m->fs, path_of(&path, m, "cur", NULL), on_cur, &t, e);
    buf_free(&path);
    *look = t.look;
    if (!rc && t.err.code && e)
        *e = t.err;
    return rc ? rc : t.err.code;
}

static void on_count(void *data, const char *name)
{
    uint64_t *n = data;
    *n += name[0] != '.';
}

int maildir_count(const struct maildir *m, uint64_t *out, struct err *e)
{
    struct buf path = {0};
    *out = 0;
    int rc = fs_list(m->fs, path_of(&path, m, "new", NULL), on_count, out, e);
    buf_free(&path);
    return rc;
}

int maildir_put(const struct maildir *m, int64_t now_s, const char *unique, struct slice mail, struct err *e)
{
    struct buf from = {0}, to = {0}, name = {0};
    struct file *f = NULL;
    buf_printf(&name, "%lld.%s.hato", (long long)now_s, unique);
    path_of(&from, m, "tmp", buf_cstr(&name));
    path_of(&to, m, "new", buf_cstr(&name));
    int rc = file_open(m->fs, from.p, FILE_WRITE | FILE_CREATE | FILE_EXCL, 0600, &f, e);
    if (rc)
        goto out;
    rc = file_append(f, mail, e);
    if (!rc)
        rc = file_sync(f, e);
    file_close(f);
    if (!rc)
        rc = fs_rename(m->fs, from.p, to.p, e);
    if (rc)
        fs_unlink(m->fs, from.p, NULL); /* the first failure is the one to tell */
    else
        rc = fs_sync_dir(m->fs, path_of(&to, m, "new", NULL), e);
out:
    buf_free(&from);
    buf_free(&to);
    buf_free(&name);
    return rc;
}
