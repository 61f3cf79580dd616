/* intake_order.c - see intake_order.h. */
#include "intake_order.h"

#include <stdlib.h>

struct entry {
    int64_t rank;
    size_t at; /* of a struct head in bytes: rises with the file */
};

struct head {
    uint64_t line;
    uint32_t address, values; /* bytes of each, which follow */
};

struct intake_order {
    struct buf bytes;
    struct entry *v;
    size_t n, cap, next;
};

struct intake_order *intake_order_new(void)
{
    return mem_zalloc(sizeof(struct intake_order));
}

void intake_order_add(struct intake_order *o, int64_t rank, const struct intake_held *row)
{
    struct head head = {row->line, (uint32_t)row->address.n, (uint32_t)row->values.n};
    if (o->n == o->cap) {
        o->cap = o->cap ? o->cap * 2 : 1024;
        o->v = mem_realloc(o->v, o->cap * sizeof *o->v);
    }
    o->v[o->n++] = (struct entry){rank, o->bytes.n};
    buf_add(&o->bytes, &head, sizeof head);
    buf_adds(&o->bytes, row->address);
    buf_adds(&o->bytes, row->values);
}

static int by_rank(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank > y->rank ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

void intake_order_sort(struct intake_order *o)
{
    if (o->n)
        qsort(o->v, o->n, sizeof *o->v, by_rank);
}

bool intake_order_next(struct intake_order *o, struct intake_held *out)
{
    struct head head;
    if (o->next == o->n)
        return false;
    const char *p = o->bytes.p + o->v[o->next++].at;
    memcpy(&head, p, sizeof head);
    p += sizeof head;
    *out =
        (struct intake_held){head.line, slice_of(p, head.address), slice_of(p + head.address, head.values)};
    return true;
}

void intake_order_free(struct intake_order *o)
{
    if (!o)
        return;
    buf_free(&o->bytes);
    free(o->v);
    free(o);
}
