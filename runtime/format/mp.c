/* mp.c - see mp.h. Writing is msgpack-c's packer. Reading is a cursor of our own: a start reads ten million
 * records, and the library's reader allocates a tree for each and trusts the lengths in it. */
#include "format/mp.h"
#include "base/err.h"

#include <msgpack.h>

/* --- writing --- */

static int buf_writer(void *data, const char *p, size_t n)
{
    buf_add(data, p, n);
    return 0;
}

static msgpack_packer packer(struct buf *b)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, b, buf_writer);
    return pk;
}

void mp_put_nil(struct buf *b)
{
    msgpack_packer pk = packer(b);
    msgpack_pack_nil(&pk);
}

void mp_put_bool(struct buf *b, bool v)
{
    msgpack_packer pk = packer(b);
    if (v)
        msgpack_pack_true(&pk);
    else
        msgpack_pack_false(&pk);
}

/* Numbers below 128 and texts up to 31 bytes, nearly all there is, need no packer: one byte says which. */
void mp_put_uint(struct buf *b, uint64_t v)
{
    if (v <= 0x7f) {
        buf_addc(b, (char)v);
        return;
    }
    msgpack_packer pk = packer(b);
    msgpack_pack_uint64(&pk, v);
}

void mp_put_int(struct buf *b, int64_t v)
{
    msgpack_packer pk = packer(b);
    msgpack_pack_int64(&pk, v);
}

void mp_put_double(struct buf *b, double v)
{
    msgpack_packer pk = packer(b);
    msgpack_pack_double(&pk, v);
}

void mp_put_str(struct buf *b, struct slice s)
{
    if (s.n <= 31) {
        buf_addc(b, (char)(0xa0 | s.n));
        buf_adds(b, s);
        return;
    }
    msgpack_packer pk = packer(b);
    msgpack_pack_str(&pk, s.n);
    msgpack_pack_str_body(&pk, s.p, s.n);
}

void mp_put_bin(struct buf *b, struct slice s)
{
    msgpack_packer pk = packer(b);
    msgpack_pack_bin(&pk, s.n);
    msgpack_pack_bin_body(&pk, s.p, s.n);
}

void mp_put_array(struct buf *b, uint32_t n)
{
    msgpack_packer pk = packer(b);
    msgpack_pack_array(&pk, n);
}

void mp_put_map(struct buf *b, uint32_t n)
{
    msgpack_packer pk = packer(b);
    msgpack_pack_map(&pk, n);
}

/* --- reading --- */

static int take(struct mp *m, size_t n, const char **p)
{
    if (m->rest.n < n)
        return ERR_SYNTAX;
    *p = m->rest.p;
    m->rest.p += n;
    m->rest.n -= n;
    return 0;
}

static int take_be(struct mp *m, size_t n, uint64_t *out)
{
    const char *p;
    if (take(m, n, &p))
        return ERR_SYNTAX;
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | (unsigned char)p[i];
    *out = v;
    return 0;
}

static int take_bytes(struct mp *m, size_t n, enum mp_kind kind, struct mp_value *out)
{
    const char *p;
    if (take(m, n, &p))
        return ERR_SYNTAX;
    out->kind = kind;
    out->s = slice_of(p, n);
    return 0;
}

static int take_container(struct mp *m, uint64_t n, enum mp_kind kind, struct mp_value *out)
{
    if (n > m->rest.n / (kind == MP_MAP ? 2 : 1))
        return ERR_SYNTAX;
    out->kind = kind;
    out->n = (uint32_t)n;
    return 0;
}

static void set_int(struct mp_value *out, uint64_t bits, unsigned bytes)
{
    int64_t v = bytes == 8 ? (int64_t)bits : (int64_t)(bits << (64 - 8 * bytes)) >> (64 - 8 * bytes);
    if (v < 0) {
        out->kind = MP_INT;
        out->i = v;
    } else {
        out->kind = MP_UINT;
        out->u = (uint64_t)v;
    }
}

int mp_next(struct mp *m, struct mp_value *out)
{
    uint64_t v;
    if (!m->rest.n)
        return ERR_EOF;
    unsigned char c = (unsigned char)*m->rest.p;
    m->rest.p++;
    m->rest.n--;
    *out = (struct mp_value){0};
    if (c <= 0x7f) {
        out->kind = MP_UINT;
        out->u = c;
        return 0;
    }
    if (c >= 0xe0) {
        out->kind = MP_INT;
        out->i = (int64_t)c - 256;
        return 0;
    }
    if (c <= 0x8f)
        return take_container(m, c & 15, MP_MAP, out);
    if (c <= 0x9f)
        return take_container(m, c & 15, MP_ARRAY, out);
    if (c <= 0xbf)
        return take_bytes(m, c & 31, MP_STR, out);
    switch (c) {
    case 0xc0:
        out->kind = MP_NIL;
        return 0;
    case 0xc2:
    case 0xc3:
        out->kind = MP_BOOL;
        out->b = c & 1;
        return 0;
    case 0xc4:
    case 0xc5:
    case 0xc6:
        if (take_be(m, (size_t)1 << (c - 0xc4), &v))
            return ERR_SYNTAX;
        return take_bytes(m, v, MP_BIN, out);
    case 0xcb:
        if (take_be(m, 8, &v))
            return ERR_SYNTAX;
        out->kind = MP_FLOAT;
        memcpy(&out->d, &v, 8);
        return 0;
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf:
        out->kind = MP_UINT;
        return take_be(m, (size_t)1 << (c - 0xcc), &out->u);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3:
        if (take_be(m, (size_t)1 << (c - 0xd0), &v))
            return ERR_SYNTAX;
        set_int(out, v, 1u << (c - 0xd0));
        return 0;
    case 0xd9:
    case 0xda:
    case 0xdb:
        if (take_be(m, (size_t)1 << (c - 0xd9), &v))
            return ERR_SYNTAX;
        return take_bytes(m, v, MP_STR, out);
    case 0xdc:
    case 0xdd:
        if (take_be(m, (size_t)2 << (c - 0xdc), &v))
            return ERR_SYNTAX;
        return take_container(m, v, MP_ARRAY, out);
    case 0xde:
    case 0xdf:
        if (take_be(m, (size_t)2 << (c - 0xde), &v))
            return ERR_SYNTAX;
        return take_container(m, v, MP_MAP, out);
    }
    return ERR_SYNTAX; /* single floats and extensions: hato writes none */
}

static int skip_deep(struct mp *m, int depth)
{
    struct mp_value v;
    int r = mp_next(m, &v);
    if (r)
        return r;
    if (v.kind != MP_ARRAY && v.kind != MP_MAP)
        return 0;
    if (depth == 32)
        return ERR_SYNTAX;
    uint64_t members = (uint64_t)v.n * (v.kind == MP_MAP ? 2 : 1);
    for (uint64_t i = 0; i < members; i++)
        if (skip_deep(m, depth + 1))
            return ERR_SYNTAX;
    return 0;
}

int mp_skip(struct mp *m)
{
    return skip_deep(m, 0);
}

int mp_raw(struct mp *m, struct slice *out)
{
    const char *start = m->rest.p;
    int r = mp_skip(m);
    if (!r)
        *out = slice_of(start, (size_t)(m->rest.p - start));
    return r;
}
