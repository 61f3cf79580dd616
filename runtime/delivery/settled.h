/* settled.h - messages that have left the queue, found again by their number.
 *
 * What came of a message stays in the journal for `keep` (compact.c), its place there is not remembered: in
 * memory each segment of events has only the lowest and the highest number that ended in it. Numbers are
 * given in order of acceptance, so few segments can have one; those are read, on a pool thread, a segment a
 * job. Many messages are found for the price of one. */
#ifndef HATO_DELIVERY_SETTLED_H
#define HATO_DELIVERY_SETTLED_H

#include "delivery/deliver.h"

struct settled; /* of one struct deliver */

struct settled *settled_new(void);
void settled_free(struct settled *s); /* NULL is fine; nothing is being looked for */

/* An event in this segment: as it is written or replayed, each one. */
void settled_note(struct settled *s, uint32_t segment, const struct rec_event *ev);

struct settled_message {
    uint64_t id;         /* in: whom to look for */
    bool ended;          /* out: its end is known; ev is that */
    bool bounced;        /* out: it bounced, then or later */
    bool complained;     /* out */
    struct rec_event ev; /* out: texts live until done() returns */
};

/* One search at a time. v: in rising order of ids, without repetition; borrowed until done, which is called
 * on the loop, never from inside. What was written in an earlier turn is found. */
struct settled_search {
    struct settled_message *v;
    size_t n;
    void (*done)(struct settled_search *s, int status, const struct err *e);
    void *data;
};
void settled_find(struct deliver *d, struct settled_search *s);

#endif
