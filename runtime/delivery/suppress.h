/* suppress.h - nobody gets mail who is suppressed: the table that acceptance and hand-off ask, and its store.
 *
 * The table is on the loop; the database behind it is the database thread's. Two ways lead in:
 *  1. Events (a final hard bounce, a complaint, an opt-out). The table has them in the turn of the event. The
 *     database gets them when the event is durable in the spool, together with the number of that event, in
 *     one transaction; so each is applied exactly once, whenever the process or the power ends: a start
 *     applies those events of the journal that lie behind the number.
 *  2. Changes that people make (suppress_change()): committed and synced before they are told.
 * Both are applied in the order in which they came.
 *
 * Not here yet: thresholds over soft bounces, the outbreak guard and its quarantine. What they will need is
 * kept: reason, provisional end, event and evidence of each. */
#ifndef HATO_DELIVERY_SUPPRESS_H
#define HATO_DELIVERY_SUPPRESS_H

#include "delivery/suppress_db.h"
#include "delivery/suppress_table.h"
#include "platform/spool.h"

struct suppress;

struct suppress_conf {
    struct loop *loop;
    struct fs *fs;
    const char *state; /* folder; the caller has its lock */
    void *data;
    void (*notice)(void *data, int level, const char *text); /* as deliver_hooks; may be NULL */
};

/* Open the database and read it into the table. */
int suppress_open(const struct suppress_conf *conf, struct suppress **out, struct err *e);
/* The journal was replayed (each event given to suppress_event()): apply what was new to the database. From
 * now on the database is its own thread's. */
int suppress_start(struct suppress *s, struct spool *spool, struct err *e);
/* The database thread ends. Before spool_free(), which then says what is durable. */
void suppress_stop(struct suppress *s);
/* Writes what became durable, and closes. NULL is fine, for suppress_stop() too. */
void suppress_free(struct suppress *s);

/* The number of the last event that is applied: no event after it may have a number up to this one. */
uint64_t suppress_cursor(const struct suppress *s);

/* Every event, in order, in the turn that appended it. stream: the name behind its number. */
void suppress_event(struct suppress *s, const struct rec_event *ev, struct slice stream);

struct suppress_hit {
    enum suppress_reason reason;
    enum suppress_scope scope;
};
/* Whether mail of this stream may not go to this address. */
bool suppress_has(const struct suppress *s, const struct addr *to, struct slice stream,
                  struct suppress_hit *hit);
/* "suppressed for all mail: hard bounce" */
void suppress_hit_text(struct buf *out, const struct suppress_hit *hit);

/* --- changes by people --- */

struct suppress_change {
    struct suppression s;
    bool removes;    /* address, scope and name count; the person's own only with on_request */
    bool on_request; /* the person asked for it: opt-outs and complaints go as well */
    int status;      /* out: 0; add: ERR_EXISTS, one that weighs as much was there; remove: ERR_NOTFOUND, or
                      * ERR_REFUSED: only the person lifts it */
    enum suppress_reason was; /* out: what was there before */
};
/* All of them are synced (status 0, each with its own), or none is (ERR_*, e). v: a copy, borrowed. */
typedef void suppress_done_fn(void *data, int status, const struct suppress_change *v, size_t n,
                              const struct err *e);
/* Copies v and what it points to. done is called on the loop, never from inside. */
void suppress_change(struct suppress *s, const struct suppress_change *v, size_t n, suppress_done_fn *done,
                     void *data);

/* Who asked for changes that are under way is gone: they are made, and nobody is told. */
void suppress_abandon(struct suppress *s);

/* The same for a folder at rest, in one transaction. Sets each status. cursor 0: people's, synced; else they
 * come from events, of which this is the last one's number. */
int suppress_change_now(struct suppress_db *db, struct suppress_change *v, size_t n, uint64_t cursor,
                        int64_t now_ms, struct err *e);

#endif
