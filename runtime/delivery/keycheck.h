/* keycheck.h - before mail leaves this machine's loopback its streams' DKIM keys are looked for in DNS, once,
 * and a stream whose key is not the one on disk is held: what it sends would fail everywhere.
 *
 * The look begins with the first connection beyond loopback; until it is over no signed mail goes there (a
 * moment: path.c asks stream.unproven where isp.beyond). A stream that failed gets a measure at every isp
 * that it wants to go to, named, listed and remembered as every measure is, with what to publish; when that
 * ends after ten minutes DNS is asked again. Where DNS gives no answer nobody is judged: the mail goes, and
 * the next connection after ten minutes asks again. A simulation has no DNS of the sender's, and nothing is
 * looked at. */
#ifndef HATO_DELIVERY_KEYCHECK_H
#define HATO_DELIVERY_KEYCHECK_H

#include "delivery/path.h"

struct deliver;
struct keycheck;

struct keycheck *keycheck_new(struct deliver *d);
void keycheck_free(struct keycheck *k); /* while streams and paths are there; NULL is fine */

/* A connection on this path to an address beyond loopback is wanted for the stream's mail. False: not now;
 * the paths are served again when it may. */
bool keycheck_may_leave(struct keycheck *k, struct path *p, const struct stream *st);

#endif
