/* dns_server.h - the DNS of a simulated world: what it says, and a server that says it.
 *
 * Where the world has nothing for a name it does not exist; the faults of the world's `dns` table come first.
 * Without a world every name is the sink: it is its own MX and has the sink's address. */
#ifndef HATO_DNS_SERVER_H
#define HATO_DNS_SERVER_H

#include "format/dns_wire.h"
#include "platform/loop.h"
#include "world.h"

struct dns_zone;

/* world (borrowed, may be NULL) and the address of names for which it has none. */
struct dns_zone *dns_zone_new(const struct world *world, struct ip address);
void dns_zone_free(struct dns_zone *z);
/* A TXT record, for verifiers that are pointed here. name in any spelling: ERR_SYNTAX, ERR_RANGE. */
int dns_zone_add_text(struct dns_zone *z, struct slice name, struct slice text);

/* Complete m, which has its question, with rcode and records: text lives in a, the zone or the world.
 * m->truncated: over UDP say only that TCP knows. false: stay silent. For resolve_new_static() too (zone is a
 * struct dns_zone). */
bool dns_zone_answer(void *zone, struct dns_message *m, struct arena *a);
/* The same for a query's bytes. false: no answer, as to what is no query. */
bool dns_zone_reply(struct dns_zone *z, struct slice query, bool tcp, struct buf *out);

struct dns_server;

/* Serves UDP and TCP. Port 0: see dns_server_at(). NULL on error. */
struct dns_server *dns_server_new(struct loop *l, struct ip_port listen, const struct world *world,
                                  struct ip default_address, struct err *e);
struct ip_port dns_server_at(const struct dns_server *s);
/* Its zone, to add text to. Borrowed. */
struct dns_zone *dns_server_zone(struct dns_server *s);
/* How many queries came, over UDP and TCP. */
uint64_t dns_server_queries(const struct dns_server *s);
void dns_server_free(struct dns_server *s); /* NULL is fine */

#endif
