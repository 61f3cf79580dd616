/* suppress_table.h - who is suppressed, as the loop asks it: some 20 to 36 bytes an entry, a look-up well
 * under a microsecond. It knows reason and end; evidence stays in the database.
 *
 * An entry is a keyed hash of scope and address, cut to 120 bits. That two addresses share one has a chance
 * of one in 10^24 among a million entries. */
#ifndef HATO_DELIVERY_SUPPRESS_TABLE_H
#define HATO_DELIVERY_SUPPRESS_TABLE_H

#include "base/map.h"
#include "delivery/suppression.h"

struct suppress_table;

struct suppress_table *suppress_table_new(struct hash_key key);
void suppress_table_free(struct suppress_table *t);

/* Room for so many in all, so that taking them in moves nothing. */
void suppress_table_reserve(struct suppress_table *t, size_t n);

/* address: suppression_address(). Merged with what is there for it (suppression_weigh()); whether it is new
 * or weighs more. */
bool suppress_table_add(struct suppress_table *t, enum suppress_scope scope, struct slice name,
                        struct slice address, struct suppress_weight w, int64_t now_ms);
/* The key under which a person is suppressed for all mail, and what else is kept of them. */
struct hash128 suppress_table_who(const struct suppress_table *t, struct slice address);
/* Not suppressed for all mail after all, where that was provisional; whether it was. */
bool suppress_table_take_back(struct suppress_table *t, struct hash128 who);
bool suppress_table_remove(struct suppress_table *t, enum suppress_scope scope, struct slice name,
                           struct slice address); /* whether it was there */
/* SUPPRESS_NOT: not suppressed there (any more). */
struct suppress_weight suppress_table_get(const struct suppress_table *t, enum suppress_scope scope,
                                          struct slice name, struct slice address, int64_t now_ms);

size_t suppress_table_count(const struct suppress_table *t); /* with those that have ended */
size_t suppress_table_bytes(const struct suppress_table *t);

#endif
