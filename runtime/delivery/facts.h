/* facts.h - what DNS says, asked once and remembered: so that what needs many answers can be a plain function
 * that is called again until it has them all.
 *
 *   facts_new(loop, resolve, on_known, me)      on_known: something that was waited for has come, once a turn
 *   f = facts_get(facts, DNS_TXT, name)         f->status is SPF_DNS_WAIT: it is asked for now
 *   facts_free(facts)                           no more on_known */
#ifndef HATO_DELIVERY_FACTS_H
#define HATO_DELIVERY_FACTS_H

#include "format/spf.h"
#include "platform/resolve.h"

struct fact {
    enum spf_dns status;     /* failed: no answer, or none that says anything */
    enum resolve_status why; /* the same in the resolver's words */
    struct spf_answer a;     /* records; lives until facts_free() */
    bool implicit, null_mx;  /* of an MX: no MX but an address; RFC 7505 */
};

struct facts;
typedef void facts_known_fn(void *data);
struct facts *facts_new(struct loop *loop, struct resolve *resolve, facts_known_fn *fn, void *data);
void facts_free(struct facts *f); /* NULL is fine */

/* type: TXT, MX, A, AAAA, SOA, or PTR, for which name is an address as text. The result stays where it is and
 * is filled in later. A name asked for beyond FACTS_MAX of them has failed. */
enum { FACTS_MAX = 5000 };
const struct fact *facts_get(struct facts *f, enum dns_type type, struct slice name);
size_t facts_waiting(const struct facts *f);

/* The same as spf.h's lookup; data: struct facts *. */
spf_lookup_fn facts_spf;

#endif
