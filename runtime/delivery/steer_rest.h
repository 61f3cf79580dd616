/* steer_rest.h - what steer.h does, to a state folder on which no hato runs: the same words, written into its
 * journal, so that whatever runs next obeys.
 *
 * A campaign, stream or source must be one that the journal knows; a receiver's mail is that which was tried
 * there, or whose domain DNS led there last. Nothing is in flight: an attempt without an end was cut off. */
#ifndef HATO_DELIVERY_STEER_REST_H
#define HATO_DELIVERY_STEER_REST_H

#include "delivery/steer.h"
#include "platform/file.h"

/* Carries out all of n orders or none, and adds to *touched how many messages they are about. Durable when it
 * returns; turns the loop. ERR_NOTFOUND: the folder, or what an order names; ERR_INVAL; ERR_LOCKED: somebody
 * has it, named in e; ERR_FULL, ERR_IO: nothing can be written. */
int steer_rest(struct fs *fs, struct loop *loop, const char *state, const struct steer_order *orders,
               size_t n, uint64_t *touched, struct err *e);

#endif
