/* explain.h - what happened to a message and what is next, in sentences for somebody who was woken by it. */
#ifndef HATO_DELIVERY_EXPLAIN_H
#define HATO_DELIVERY_EXPLAIN_H

#include "delivery/event.h"
#include "delivery/reasons.h"
#include "delivery/standing.h"

/* One sentence on what the class says, without a full stop: "the receiver knows no such user". */
const char *explain_class(enum reply_class c);

/* What happened: first line without its time, further lines begin with indent blanks. No line end. */
void explain_event(struct buf *out, const struct rec_event *ev, const struct event_names *n, size_t indent);

/* "waited 3 h 12 min for the limit …", of one stretch of its time; what goes on at now_ms is "has waited". */
void explain_wait(struct buf *out, const struct reason *r, int64_t now_ms);

/* What the journal says of one message. */
struct explain_message {
    struct standing at;
    int64_t accepted_ms;                    /* 0: not known */
    struct slice campaign;                  /* empty: hato.send */
    enum rec_campaign_state campaign_state; /* 0: nothing is recorded */
};
/* The sentence that ends the chain: where it stands and what comes next, with a full stop. */
void explain_message(struct buf *out, const struct explain_message *m, int64_t now_ms);

#endif
