/* published_impl.h - what published.c and published_mail.c share, and nobody else sees. */
#ifndef HATO_DELIVERY_PUBLISHED_IMPL_H
#define HATO_DELIVERY_PUBLISHED_IMPL_H

#include "delivery/facts.h"
#include "delivery/published.h"

/* Whose a line is. */
struct published_about {
    const char *what;
    uint16_t source, stream;
};

/* A line; valid until the next. Texts are copied. */
struct published_line *published_say(struct published_look *l, enum published_level level,
                                     struct published_about about, struct slice name, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void published_unknown(struct published_look *l, struct published_about about, struct slice name,
                       const struct fact *f);
const struct fact *published_fact(struct published_look *l, enum dns_type type, struct slice name);
struct facts *published_facts(struct published_look *l);
struct arena *published_arena(struct published_look *l);
const struct conf *published_conf_of(const struct published_look *l);

/* SPF of the return path's domain; DMARC of the From domain, and whether signatures and return path agree. */
void published_look_at_spf(struct published_look *l, uint16_t stream, struct slice domain);
void published_look_at_dmarc(struct published_look *l, uint16_t stream, struct slice bounce);

#endif
