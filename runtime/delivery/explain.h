/* explain.h - what happened to a message and what is next, in sentences for somebody who was woken by it. */
#ifndef HATO_DELIVERY_EXPLAIN_H
#define HATO_DELIVERY_EXPLAIN_H

#include "delivery/event.h"
#include "delivery/reasons.h"
#include "format/reply_class.h"

/* One sentence on what the class says, without a full stop: "the receiver knows no such user". */
const char *explain_class(enum reply_class c);

/* What happened: first line without its time, further lines begin with indent blanks. No line end. */
void explain_event(struct buf *out, const struct rec_event *ev, const struct event_names *n, size_t indent);

/* "waited 3 h 12 min for the limit …", of one stretch of its time; what goes on at now_ms is "has waited". */
void explain_wait(struct buf *out, const struct reason *r, int64_t now_ms);

/* Where a message stands. */
enum explain_state {
    EXPLAIN_WAITING,   /* nobody has tried yet, or the next try has its time */
    EXPLAIN_IN_FLIGHT, /* an attempt began and has no end: it runs, or the process ended in it */
    EXPLAIN_HELD,
    EXPLAIN_DELIVERED,
    EXPLAIN_BOUNCED,
    EXPLAIN_EXPIRED,
    EXPLAIN_SUPPRESSED,
    EXPLAIN_CANCELLED,
};
const char *explain_state_name(enum explain_state s); /* "waiting" … */

/* What the journal says of one message. */
struct explain_message {
    enum explain_state state;
    int64_t accepted_ms, due_ms; /* 0: not known, at once */
    bool tried;                  /* it has had an event other than accepted */
    bool charged;                /* the last one counted as an attempt */
    int64_t last_ms;             /* of the last event */
    uint32_t attempts;
    struct slice campaign;                  /* empty: hato.send */
    enum rec_campaign_state campaign_state; /* 0: nothing is recorded */
    struct slice text;                      /* of the last event */
    enum reply_class cls;
    int64_t begun_ms;
};
/* The sentence that ends the chain: where it stands and what comes next, with a full stop. */
void explain_message(struct buf *out, const struct explain_message *m, int64_t now_ms);

#endif
