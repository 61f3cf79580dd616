/* queue.h - every recipient that was accepted and is not settled, each in exactly one container.
 *
 * A message's id is a number from 1, given in order of acceptance. What the queue keeps of it in memory is
 * one struct q_entry (28 bytes) in a block of 4,096 ids that is freed when the last of them is settled:
 * scheduling, and where the record lies in the spool; no address, no values. What an attempt leaves behind
 * (its number, the Date, the last reply, the edits of a hook) is a struct q_memo, made only for those that
 * need one.
 *
 * Containers and the moves between them (q_set_state() checks each):
 *
 *     RAW ──hook──▶ HOOK ──▶ READY ──claim──▶ CLAIMED ──▶ settled (the entry is gone)
 *      a lane's      │       a lane's   ▲        │ │
 *      raw list      ▼       ready list │        │ └──▶ RETRY (heap, by due time) ──▶ READY of another lane
 *                   HELD ───────────────┘        └──▶ READY (not charged: taken back)
 *
 * Lanes are campaign × domain; a retry waits in a lane of its own that is bound to the source of the first
 * attempt, and to a host after an ambiguous end. Loop thread only. */
#ifndef HATO_DELIVERY_QUEUE_H
#define HATO_DELIVERY_QUEUE_H

#include "base/err.h"
#include "base/heap.h"
#include "base/map.h"
#include "delivery/limit.h"
#include "delivery/standing.h"
#include "platform/loop.h"

enum q_state { Q_FREE, Q_RAW, Q_HOOK, Q_READY, Q_CLAIMED, Q_RETRY, Q_HELD, Q_STATES };

struct q_entry {
    uint32_t segment, offset; /* of the recipient's record in the spool */
    uint32_t next;            /* low half of the next id in its list; 0: last */
    uint32_t lane;            /* index of its lane */
    uint32_t memo;            /* index + 1; 0: none */
    uint32_t since_s;         /* UTC seconds since when it could be sent */
    uint8_t state;            /* enum q_state */
};

struct q_memo {
    struct heap_node node; /* while RETRY; key: due time, UTC ms */
    uint64_t id;
    struct standing past; /* as of its last deferral, and what the journal says while that is replayed */
    int64_t since_ms;     /* UTC: in its container since then */
    int64_t rest_from_ms, rest_to_ms; /* its last RETRY, as long as the clock has not been set for it; or 0 */
    uint16_t source;                  /* of the first attempt; UINT16_MAX: none */
    char *host;                       /* after an ambiguous end: the only host for the next try; NULL: any */
    struct slice edits;               /* owned; what the message hook changed; n 0: nothing */
    bool hooked;                      /* the message hook ran */
    bool cancelled;                   /* by people, while it was in flight: it has no next try */
    bool paused;   /* by people, on its own: it is HELD, or will be when its attempt has ended */
    bool left_out; /* while the journal is replayed: this run is not for it */
    char *held;    /* why it is held; NULL: it is not */
    char *address; /* while its message hook runs; NULL: not kept */
};

struct lane;
struct q_list {
    uint64_t head, tail; /* ids; 0: empty */
    uint32_t n;
};

/* Owned by the queue; the links are path.c's. */
struct lane {
    uint32_t index;
    struct campaign *campaign;
    struct domain *domain;
    uint16_t source; /* UINT16_MAX: any of the pool */
    char *host;      /* NULL: any of the site */
    struct q_list ready, raw;
    uint32_t hooking;         /* entries in HOOK */
    struct lane *next, *prev; /* ring of its share at its site; NULL: not attached */
    struct share *share;
    struct limit_wait wait;               /* for a permit of its own */
    bool aside;                           /* attached in its share's aside, where it waits */
    struct lane *of_campaign, *of_domain; /* lists through all lanes of either */
    bool linked;                          /* it is in both */
};

struct queue;
struct queue *queue_new(struct loop *loop);
void queue_free(struct queue *q);

/* on_due(data, id): the entry's retry time has come; it was taken out of RETRY and must be put in a lane. */
void queue_on_due(struct queue *q, void (*on_due)(void *data, uint64_t id), void *data);

/* counts(data, e, in, from_ms, to_ms): how much of the time that the entry spent in this container its clock
 * is to count (clock.h). The clock is set when the entry leaves it; in READY it may begin. NULL: all. */
void queue_clock(struct queue *q,
                 int64_t (*counts)(void *data, const struct q_entry *e, enum q_state in, int64_t from_ms,
                                   int64_t to_ms),
                 void *data);
/* What the entry's clock shows now. */
int64_t queue_clock_ms(struct queue *q, uint64_t id);

/* The lane for this key, made if need be. host may be NULL. */
struct lane *queue_lane(struct queue *q, struct campaign *campaign, struct domain *domain, uint16_t source,
                        const char *host);
struct lane *queue_lane_at(struct queue *q, uint32_t index);
uint32_t queue_lanes(const struct queue *q); /* indexes are below this */

/* A new recipient; its id is larger than every id before. In no container yet: lane_push() comes next.
 * ERR_LIMIT when four thousand million ids would lie between it and the oldest one. */
int queue_add(struct queue *q, uint64_t id, uint32_t segment, uint32_t offset);
/* NULL if it is not (or no longer) queued. Valid until queue_add() or queue_remove(). */
struct q_entry *queue_get(struct queue *q, uint64_t id);
/* Settled: forget it. It must be CLAIMED, HELD, HOOK or in no container. */
void queue_remove(struct queue *q, uint64_t id);

/* Into a lane's list: raw waits for the message hook, ready for a path. front: taken back, goes first. */
void lane_push(struct queue *q, struct lane *lane, uint64_t id, bool raw, bool front);
/* The first of the ready (→ CLAIMED) or raw (→ HOOK) list; 0 when it is empty. */
uint64_t lane_pop(struct queue *q, struct lane *lane, bool raw);

/* The first of the ready goes to their end. */
void lane_turn(struct queue *q, struct lane *lane);

/* Out of the lane's lists wherever it is there, into no container; walks through the list. */
void lane_take(struct queue *q, struct lane *lane, uint64_t id);

/* Into RETRY until due_ms (UTC). */
void queue_retry(struct queue *q, uint64_t id, int64_t due_ms);
/* Out of every path's reach until somebody looks; why is copied. */
void queue_hold(struct queue *q, uint64_t id, const char *why);
/* Out of HELD or RETRY, into no container. */
void queue_take(struct queue *q, uint64_t id);

/* The memo of an entry; with make, a new one if there is none. Valid until queue_remove(). */
struct q_memo *queue_memo(struct queue *q, uint64_t id, bool make);

size_t queue_count(const struct queue *q);                       /* of all */
size_t queue_count_state(const struct queue *q, enum q_state s); /* of one container */
/* UTC ms of the earliest retry; INT64_MAX: none. */
int64_t queue_next_due_ms(const struct queue *q);
/* Ids in rising order: uint64_t id = 0; while ((id = queue_next(q, id))) ... */
uint64_t queue_next(const struct queue *q, uint64_t after);

/* Every entry is in exactly the container that its state says, every count is right: for tests; O(n). */
bool queue_is_sound(const struct queue *q, struct err *e);

#endif
