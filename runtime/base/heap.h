/* heap.h - a binary heap of nodes that live inside their owners. Order: key, then order of insertion, so
 * that equal times come out first in, first out, the same in every run. */
#ifndef HATO_BASE_HEAP_H
#define HATO_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;
    uint64_t seq;
    size_t at; /* index + 1; 0 = in no heap */
};

struct heap {
    struct heap_node **v;
    size_t n, cap;
    uint64_t seq;
};

void heap_insert(struct heap *h, struct heap_node *node, int64_t key); /* node must be in no heap */
struct heap_node *heap_min(const struct heap *h);                      /* borrowed; NULL when empty */
void heap_remove(struct heap *h, struct heap_node *node);              /* nothing happens if it is in none */
void heap_free(struct heap *h);                                        /* the nodes are their owners' */
static inline bool heap_has(const struct heap_node *node)
{
    return node->at != 0;
}

#endif
