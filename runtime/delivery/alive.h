/* alive.h - which domains took mail lately, 16 bytes each: one that did and is said not to exist is, for a
 * day, more likely a fault of DNS than gone.
 *
 * A domain is its hash; days are UTC's. Its store is the database's (suppress_db.h), which is told once a day
 * and domain. */
#ifndef HATO_DELIVERY_ALIVE_H
#define HATO_DELIVERY_ALIVE_H

#include "base/hash.h"

enum { ALIVE_DAYS = 30, ALIVE_MOST = 2000000 /* domains: 40 MB; more are not remembered */ };

struct alive;

struct alive *alive_new(struct hash_key key);
void alive_free(struct alive *a); /* NULL is fine */

/* It took mail. Whether that is the first of its day. */
bool alive_took(struct alive *a, struct slice domain, int64_t at_ms);
/* It took mail in the last ALIVE_DAYS. */
bool alive_is(const struct alive *a, struct slice domain, int64_t now_ms);
/* Since when DNS says that it does not exist; 0: it does, or nobody knows of it. */
int64_t alive_gone_since_ms(const struct alive *a, struct slice domain);
/* since_ms 0: it exists again. Only for one that took mail. */
void alive_set_gone(struct alive *a, struct slice domain, int64_t since_ms);

/* Those that took nothing for longer go. */
void alive_expire(struct alive *a, int64_t now_ms);
size_t alive_count(const struct alive *a);

#endif
