/* waits.h - who waits for which limit, in words for people. */
#ifndef HATO_DELIVERY_WAITS_H
#define HATO_DELIVERY_WAITS_H

#include "delivery/deliver.h"

/* "4 wait for the limit rate 2/d of source mx1, isp gmail (init.lua:2), next permit in 11 h 59 min": a line
 * for each limit that recipients wait for now, the largest first; those behind the first `most` are summed up
 * in one. Appends nothing where nobody waits. Looks at every lane. */
void waits_text(struct deliver *d, size_t most, struct buf *out);

#endif
