/* mp.h - msgpack, a value at a time: written behind a buffer, read by a cursor over borrowed bytes.
 *
 *     struct mp m = {bytes};
 *     struct mp_value v;
 *     while (!(rc = mp_next(&m, &v))) ...      ERR_EOF at the end
 *
 * The cursor never reads past its end and never allocates, whatever the bytes are. Single floats and
 * extension types are refused: hato writes none. */
#ifndef HATO_FORMAT_MP_H
#define HATO_FORMAT_MP_H

#include "base/mem.h"

struct mp {
    struct slice rest;
};
enum mp_kind { MP_NIL, MP_BOOL, MP_INT, MP_UINT, MP_FLOAT, MP_STR, MP_BIN, MP_ARRAY, MP_MAP };
struct mp_value {
    enum mp_kind kind;
    union {
        bool b;
        int64_t i;  /* MP_INT: negative */
        uint64_t u; /* MP_UINT */
        double d;
        struct slice s;
        uint32_t n; /* MP_ARRAY: that many values follow; MP_MAP: that many pairs */
    };
};
/* The next value (a container's head only). ERR_EOF at the end, ERR_SYNTAX when cut, of an unknown kind, or
 * when a container says more members than bytes are left. */
int mp_next(struct mp *m, struct mp_value *out);
/* Pass over one value with all its members; nesting of at most 32. */
int mp_skip(struct mp *m);
/* The bytes of one whole value, borrowed. */
int mp_raw(struct mp *m, struct slice *out);

/* Append one value to b, in the shortest form that msgpack has. Of an array its n values follow, of a map its
 * n pairs. */
void mp_put_nil(struct buf *b);
void mp_put_bool(struct buf *b, bool v);
void mp_put_uint(struct buf *b, uint64_t v);
void mp_put_int(struct buf *b, int64_t v);
void mp_put_double(struct buf *b, double v);
void mp_put_str(struct buf *b, struct slice s);
void mp_put_bin(struct buf *b, struct slice s);
void mp_put_array(struct buf *b, uint32_t n);
void mp_put_map(struct buf *b, uint32_t n);

#endif
