/* resolve_serve.h - the sockets of a DNS server, UDP and TCP on one port; what it says is the caller's. */
#ifndef HATO_PLATFORM_RESOLVE_SERVE_H
#define HATO_PLATFORM_RESOLVE_SERVE_H

#include "base/err.h"
#include "format/ip.h"
#include "platform/loop.h"

struct resolve_serve;

/* Append the answer to out, which is empty: at most 65,535 bytes. false: say nothing. */
typedef bool resolve_serve_fn(void *ctx, struct slice query, bool tcp, struct buf *out);

/* A real loop. Port 0: the system chooses one that is free for both. NULL on error, which names the address.
 */
struct resolve_serve *resolve_serve_new(struct loop *l, struct ip_port listen, resolve_serve_fn *fn,
                                        void *ctx, struct err *e);
struct ip_port resolve_serve_at(const struct resolve_serve *s);
void resolve_serve_free(struct resolve_serve *s); /* NULL is fine; before loop_free() */

#endif
