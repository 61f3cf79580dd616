/* secret.c - see secret.h. */
#include "delivery/secret.h"

enum { SECRET_BYTES = 32 };

static void path_of(struct buf *path, const char *state)
{
    buf_printf(path, "%s/secret", state);
    buf_cstr(path);
}

static int take(struct buf *bytes, const char *path, struct secret *out, struct err *e)
{
    if (bytes->n != SECRET_BYTES)
        return err_set(e, ERR_CORRUPT,
                       "%s has %zu bytes, not %d: put it back from a copy of the state folder", path,
                       bytes->n, SECRET_BYTES);
    secret_from_bytes((const unsigned char *)bytes->p, out);
    explicit_bzero(bytes->p, bytes->n);
    return 0;
}

int secret_read(struct fs *fs, const char *state, struct secret *out, struct err *e)
{
    struct buf path = {0}, bytes = {0};
    path_of(&path, state);
    int r = fs_read_whole(fs, path.p, SECRET_BYTES, &bytes, e);
    if (!r)
        r = take(&bytes, path.p, out, e);
    buf_free(&path);
    buf_free(&bytes);
    return r;
}

int secret_load(struct fs *fs, const char *state, struct loop *loop, struct secret *out, struct err *e)
{
    struct buf path = {0}, bytes = {0};
    unsigned char fresh[SECRET_BYTES];
    struct err why = {0};
    int r = secret_read(fs, state, out, &why);
    if (r != ERR_NOTFOUND) {
        if (r && e)
            *e = why;
        return r;
    }
    path_of(&path, state);
    loop_random_bytes(loop, fresh, sizeof fresh);
    buf_add(&bytes, fresh, sizeof fresh);
    explicit_bzero(fresh, sizeof fresh);
    r = fs_write_atomic(fs, path.p, buf_slice(&bytes), 0600, e);
    if (!r)
        r = take(&bytes, path.p, out, e);
    buf_free(&path);
    buf_free(&bytes);
    return r;
}
