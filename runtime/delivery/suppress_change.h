/* suppress_change.h - one change to the suppression list: what an event asks for, and how the store takes it.
 *
 * People's changes and those of events are the same struct. A running hato hands them to suppress.h, which
 * keeps its table in step; a folder at rest gets them from here. Nothing is decided here that an event's
 * record does not say: the same journal always makes the same changes. */
#ifndef HATO_DELIVERY_SUPPRESS_CHANGE_H
#define HATO_DELIVERY_SUPPRESS_CHANGE_H

#include "delivery/suppress_db.h"

enum suppress_verb {
    SUPPRESS_ADD,
    SUPPRESS_REMOVE,  /* of s address, scope and name count; the person's own only with on_request */
    SUPPRESS_CONFIRM, /* who is in quarantine is suppressed; address, or isp, or neither of them: all */
    SUPPRESS_RELEASE, /* the same, and they are free */
    /* Of events alone: */
    SUPPRESS_COUNT,     /* s.evidence: the class, or "delivered" */
    SUPPRESS_WELL,      /* in quarantine no more */
    SUPPRESS_LATE,      /* deliveries since s.since_ms were none */
    SUPPRESS_TAKE_BACK, /* what is not certain at s.isp */
    SUPPRESS_TOOK,      /* the domain s.address took mail */
    SUPPRESS_GONE,      /* of no event: it does not exist since s.since_ms, or (0) does again */
};
struct suppress_change {
    struct suppression s;
    enum suppress_verb verb;
    bool on_request;   /* the person asked for it: opt-outs and complaints go as well */
    int64_t opt_in_ms; /* not 0: the person confirmed an opt-in then, which lifts an older bounce and nothing
                        * else */
    int status; /* out: 0; add: ERR_EXISTS, one that weighs as much was there; remove, confirm, release:
                 * ERR_NOTFOUND; remove: ERR_REFUSED, only the person lifts it, or (opt_in_ms) it is no
                 * bounce; ERR_RANGE, the bounce is newer than the opt-in */
    enum suppress_reason was; /* out: what was there before */
    uint64_t touched;         /* out: how many people */
};

/* --- of events --- */

/* Names behind an event's numbers. */
struct suppress_names {
    struct slice stream, isp;
    struct slice domain; /* the recipient's, folded; empty: it is taken from the event */
};
enum { SUPPRESS_EVENT_MOST = 6 };
/* What an event does, in this order; returns how many. Text as in suppression_of_event(). */
size_t suppress_changes_of(const struct rec_event *ev, const struct suppress_names *names, struct arena *a,
                           struct suppress_change v[SUPPRESS_EVENT_MOST]);
/* Its two halves: what it does to its recipient (fewer than SUPPRESS_EVENT_MOST), and whether it shows that
 * the domain takes mail. */
size_t suppress_changes_of_person(const struct rec_event *ev, const struct suppress_names *names,
                                  struct arena *a, struct suppress_change v[SUPPRESS_EVENT_MOST]);
bool suppress_change_of_domain(const struct rec_event *ev, const struct suppress_names *names,
                               struct arena *a, struct suppress_change *out);

/* --- to the store --- */

/* Each person whom a SUPPRESS_CONFIRM or SUPPRESS_RELEASE meets; address is borrowed for the call. */
typedef void suppress_touched_fn(void *data, struct slice address, bool confirmed);
/* All of them in one transaction, in their order; sets each status, was and touched. cursor 0: they are
 * people's, and synced when this returns; else they come from events, of which this is the last one's number.
 * touched may be NULL. An error leaves the store as it was. */
int suppress_changes_write(struct suppress_db *db, struct suppress_change *v, size_t n, uint64_t cursor,
                           int64_t now_ms, suppress_touched_fn *touched, void *data, struct err *e);
/* The same for a folder at rest, where no table has to follow. */
int suppress_change_now(struct suppress_db *db, struct suppress_change *v, size_t n, uint64_t cursor,
                        int64_t now_ms, struct err *e);

#endif
