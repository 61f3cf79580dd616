/* settle.h - what became of a recipient, on its way into the journal: shared by the rooms that find it out.
 */
#ifndef HATO_DELIVERY_SETTLE_H
#define HATO_DELIVERY_SETTLE_H

#include "delivery/deliver_impl.h"

/* Everything that leads to a change of state; owns what it points to. */
struct outcome {
    struct deliver *d;
    uint64_t id;
    struct lane *lane;
    struct verdict v;
    struct rec_event ev; /* filled but for type, class and what follows from them */
    struct path *path;   /* NULL: no session */
    struct site *site;   /* with path */
    struct host *host;   /* where it was tried */
    uint16_t source;
    int64_t date_s;
    int64_t begun_ms; /* UTC; 0: it was not begun */
    struct slice edits;
    struct act_rule hooked; /* what a reply hook wants done */
    struct arena arena;
};

/* The event has the recipient's numbers and the time; the rest is the caller's. Ended by deliver_settle() or
 * outcome_free(). */
struct outcome *outcome_new(struct deliver *d, uint64_t id, struct lane *lane);
/* Address, time of acceptance and logged values, from the recipient's record. */
void outcome_take_record(struct outcome *o, const struct rec_recipient *r);
/* The answer, or where none came (reply NULL) words for why. */
void outcome_take_answer(struct outcome *o, enum smtp_phase phase, const struct smtp_reply *reply,
                         const char *text);
/* --- attempt.c --- */
struct outcome *outcome_of_flight(struct deliver *d, struct session *s, struct flight *f);

/* --- answer.c --- */
/* What the answer does to its path, before it is settled: limits learnt, measures, stops. */
void answer_count(struct outcome *o);
/* Its session was closed before it was taken. */
void answer_closed(struct deliver *d, struct path *p, uint64_t id);

/* --- settle.c --- */
/* The one place where a recipient that was accepted changes state. Frees the outcome. */
void deliver_settle(struct outcome *o);

/* An answer, for the warm-up of its source. live: not from the journal. */
void warmup_event(struct deliver *d, const struct rec_event *ev, bool live);
/* Journal the event, tell who listens. Numbers it. */
void write_event(struct deliver *d, struct rec_event *ev);
/* The same for one that met a rule, which may say what is done about the person; NULL: none. */
void write_event_by(struct deliver *d, struct rec_event *ev, const struct act_rule *person);
/* It is final: out of the queue. */
void outcome_forget(struct outcome *o);

uint32_t isp_number(struct deliver *d, struct isp *isp);
uint32_t source_number(struct deliver *d, uint16_t source);

#endif
