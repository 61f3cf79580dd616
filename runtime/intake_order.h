/* intake_order.h - rows of a file, held until all were read and then given out by rank: the highest first, of
 * the same rank as they stood in the file. All of them are in memory meanwhile, with some 40 bytes each
 * beside what they say. */
#ifndef HATO_INTAKE_ORDER_H
#define HATO_INTAKE_ORDER_H

#include "base/mem.h"

struct intake_order;

struct intake_held {
    uint64_t line;
    struct slice address, values; /* lent until intake_order_free() */
};

struct intake_order *intake_order_new(void);
void intake_order_add(struct intake_order *o, int64_t rank, const struct intake_held *row); /* copied */
/* No more come. */
void intake_order_sort(struct intake_order *o);
bool intake_order_next(struct intake_order *o, struct intake_held *out);
void intake_order_free(struct intake_order *o); /* NULL is fine */

#endif
