/* presence.h - sources whose address is on this machine, and those that are set aside until it is.
 *
 * A source without its address would only fail at every receiver. It is told once, its mail goes from other
 * sources of its pool or waits, and its address is looked for again every PRESENCE_AGAIN_MS. */
#ifndef HATO_DELIVERY_PRESENCE_H
#define HATO_DELIVERY_PRESENCE_H

#include "delivery/deliver_impl.h"

enum { PRESENCE_AGAIN_MS = 30000 };

void presence_start(struct deliver *d);
void presence_stop(struct deliver *d);
/* A connection from this source could not even begin. True: its address has gone, and it is set aside. */
bool presence_lost(struct deliver *d, uint16_t source);

#endif
