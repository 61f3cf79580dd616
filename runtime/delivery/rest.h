/* rest.h - a journal message by message, for those who look at it or change it while no hato runs: who is on
 * its way, where each stands, what people have paused and what answers have put in place.
 *
 * Feed it every record in order; it takes some 250 bytes a message that has no end. Loop thread only. */
#ifndef HATO_DELIVERY_REST_H
#define HATO_DELIVERY_REST_H

#include "delivery/event.h"
#include "delivery/measure.h"
#include "delivery/standing.h"
#include "delivery/steer.h"

/* Where DNS led a domain last. */
struct rest_domain {
    struct slice name; /* in ASCII */
    uint32_t isp;      /* number of its name; 0: nobody has asked */
};

struct rest_message {
    uint64_t id;
    uint32_t campaign, stream, isp; /* numbers of names; isp 0: nobody has tried it */
    uint32_t pool, from, sender;    /* as in its record, for an event of it */
    uint32_t flags;
    int64_t accepted_ms;
    struct rest_domain *domain; /* NULL: its address has none */
    struct slice recipient;     /* as written */
    struct standing at;
};

struct rest_pause {
    enum steer_kind kind;
    int64_t since_ms;
    struct slice name;
};

struct rest_campaign {
    uint32_t number, stream; /* the latest number that its name has */
    bool cancelled;
};

struct rest_conf {
    struct loop *loop;
    const struct event_names *names; /* learn each record before rest_learn() does */
    void *data;
    void (*measured)(void *data, const struct measure *m); /* one was lifted; NULL: nobody lifts */
};

struct rest;
struct rest *rest_new(const struct rest_conf *conf);
void rest_learn(struct rest *rs, const struct rec *r);
void rest_free(struct rest *rs); /* NULL is fine */

/* In order of acceptance: size_t at = 0; while ((m = rest_next(rs, &at))) ... */
struct rest_message *rest_next(const struct rest *rs, size_t *at);
struct rest_message *rest_get(const struct rest *rs, uint64_t id);
/* Number of its receiver: who was tried last, or where DNS led its domain; 0: not known. */
uint32_t rest_isp(const struct rest_message *m);
/* What people have paused and holds it; NULL: nothing. */
const struct rest_pause *rest_paused(const struct rest *rs, const struct rest_message *m);
/* NULL: people have not paused that. */
const struct rest_pause *rest_pause(const struct rest *rs, enum steer_kind kind, struct slice name);
/* What would keep it back if hato ran: "paused by hand: campaign=hello", "measure M3 …"; false: nothing that
 * the journal knows of. */
bool rest_wait(const struct rest *rs, const struct rest_message *m, struct buf *out);
/* Nobody has tried it, so from which source it would go only a script says; a measure stops one of them at
 * its receiver. */
bool rest_source_stopped(const struct rest *rs, const struct rest_message *m, struct buf *out);
/* A measure that lets nothing of this go; NULL: none that is known to. */
const struct measure *rest_held_by(const struct rest *rs, const struct rest_message *m);

struct measures *rest_measures(const struct rest *rs);
/* NULL: the journal knows no campaign of this name. */
const struct rest_campaign *rest_campaign(const struct rest *rs, struct slice name);
/* The number of a stream, a source or an isp; 0: the journal has no such name. */
uint32_t rest_number(const struct rest *rs, enum rec_name_kind kind, struct slice name);
/* No record mentions this number of a campaign, or of an event, or a higher one. */
uint32_t rest_free_campaign(const struct rest *rs);
uint64_t rest_free_event(const struct rest *rs);

#endif
