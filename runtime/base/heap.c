/* heap.c - see heap.h. */
#include "base/heap.h"
#include "base/err.h"
#include "base/mem.h"

#include <stdlib.h>

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    return a->key != b->key ? a->key < b->key : a->seq < b->seq;
}

static void place(struct heap *h, size_t i, struct heap_node *node)
{
    h->v[i] = node;
    node->at = i + 1;
}

static void sift_up(struct heap *h, size_t i)
{
    struct heap_node *node = h->v[i];
    while (i && before(node, h->v[(i - 1) / 2])) {
        place(h, i, h->v[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    place(h, i, node);
}

static void sift_down(struct heap *h, size_t i)
{
    struct heap_node *node = h->v[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && before(h->v[child + 1], h->v[child]))
            child++;
        if (!before(h->v[child], node))
            break;
        place(h, i, h->v[child]);
        i = child;
    }
    place(h, i, node);
}

void heap_insert(struct heap *h, struct heap_node *node, int64_t key)
{
    INVARIANT(node->at == 0);
    if (h->n == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 16;
        h->v = mem_realloc(h->v, h->cap * sizeof *h->v);
    }
    node->key = key;
    node->seq = h->seq++;
    place(h, h->n, node);
    h->n++;
    sift_up(h, h->n - 1);
}

struct heap_node *heap_min(const struct heap *h)
{
    return h->n ? h->v[0] : NULL;
}

void heap_remove(struct heap *h, struct heap_node *node)
{
    if (!node->at)
        return;
    size_t i = node->at - 1;
    INVARIANT(i < h->n && h->v[i] == node);
    node->at = 0;
    h->n--;
    if (i == h->n)
        return;
    place(h, i, h->v[h->n]);
    if (i && before(h->v[i], h->v[(i - 1) / 2]))
        sift_up(h, i);
    else
        sift_down(h, i);
}

void heap_free(struct heap *h)
{
    free(h->v);
    *h = (struct heap){0};
}
