/* chain.h - the life of one message as the journal has it, and what it was doing at every moment of it.
 *
 * Feed a chain the records of its message in the order of the journal; it keeps what it needs. When all of
 * the journal is read, chain_walk() tells its time from acceptance to its end, or to now, stretch by stretch
 * without a gap: what it waited for, that it was taken up, that it was being sent. */
#ifndef HATO_DELIVERY_CHAIN_H
#define HATO_DELIVERY_CHAIN_H

#include "delivery/reasons.h"

struct chain_step {
    enum { CHAIN_BEGIN, CHAIN_EVENT, CHAIN_DUE } type;
    int64_t at_ms, next_due_ms; /* UTC; next_due_ms 0: at once */
    uint32_t claim_ms, isp, source;
    uint32_t measure; /* that an answer began or made stronger; 0: none */
    uint8_t event;    /* enum rec_event_type */
};

struct chain {
    uint64_t id;
    struct slice recipient;                /* owned; empty: not known */
    uint32_t campaign, stream, pool, from; /* from: NAME_DOMAIN of the From address */
    int64_t accepted_ms, due_ms;           /* accepted_ms 0: its record is gone */
    struct chain_step *v;
    size_t n, cap;
    struct reason *paused; /* by people, on its own; end_ms INT64_MAX: still */
    size_t npaused;
};

/* Zero-initialised but for id and recipient (SLICE_NONE). */
void chain_recipient(struct chain *c, const struct rec_recipient *r);
void chain_begin(struct chain *c, const struct rec_begin *b);
void chain_event(struct chain *c, const struct rec_event *ev);
void chain_due(struct chain *c, const struct rec_due *d);
void chain_steer(struct chain *c, const struct rec_steer *s); /* of this message */
void chain_free(struct chain *c);

/* Who it is for reasons.h, as of its step `at` (its attempts say more than DNS did). Borrows from names and
 * reasons; domain is made in scratch. */
void chain_who(const struct chain *c, size_t at, const struct reasons *rs, const struct event_names *names,
               struct arena *scratch, struct reasons_who *out);

/* fn for every stretch; step: the index of the step that ends it, n for what goes on until now_ms. */
void chain_walk(const struct chain *c, const struct reasons *rs, const struct event_names *names,
                int64_t now_ms, void (*fn)(void *data, size_t step, const struct reason *r), void *data);
/* Milliseconds of its life that nothing accounts for. */
int64_t chain_unnamed_ms(const struct chain *c, const struct reasons *rs, const struct event_names *names,
                         int64_t now_ms);

#endif
