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
 * What an event does to its recipient is decided in its turn (suppress_judge(), person.h) and stands in its
 * record; whoever applies it, now, at the next start, or for a folder at rest, decides nothing. */
#ifndef HATO_DELIVERY_SUPPRESS_H
#define HATO_DELIVERY_SUPPRESS_H

#include "delivery/person.h"
#include "delivery/suppress_change.h"
#include "delivery/suppress_table.h"
#include "platform/spool.h"

struct suppress;

struct suppress_conf {
    struct loop *loop;
    struct fs *fs;
    const char *state;  /* folder; the caller has its lock */
    struct fs *look_fs; /* not NULL: the list is what the folder has there, and changes to it are lost */
    struct person_conf person;
    const struct acts *acts; /* of the script; may be NULL */
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

/* Before an event is written: what it does to its recipient. rule: about people, of the answer; NULL: what
 * the class gets. Sets ev->person …; its text is borrowed until the next call. */
void suppress_judge(struct suppress *s, const struct act_rule *rule, const struct suppress_names *names,
                    struct rec_event *ev);
/* Every event, in order, in the turn that appended it. */
void suppress_event(struct suppress *s, const struct rec_event *ev, const struct suppress_names *names);

struct suppress_hit {
    enum suppress_reason reason;
    enum suppress_scope scope;
};
/* Whether mail of this stream, to this list (empty: none), may not go to this address. */
bool suppress_has(const struct suppress *s, const struct addr *to, struct slice stream, struct slice list,
                  struct suppress_hit *hit);
/* "suppressed for all mail: hard bounce" */
void suppress_hit_text(struct buf *out, const struct suppress_hit *hit);

/* DNS says that this domain (folded) does not exist. Whether that is a fault of DNS: it took mail lately, and
 * this has not lasted for long. Remembers since when. */
bool suppress_nxdomain_is_fault(struct suppress *s, struct slice domain);
/* DNS knows it. */
void suppress_domain_exists(struct suppress *s, struct slice domain);

/* --- changes by people --- */

/* All of them are synced (status 0, each with its own), or none is (ERR_*, e). v: a copy, borrowed. */
typedef void suppress_done_fn(void *data, int status, const struct suppress_change *v, size_t n,
                              const struct err *e);
/* Copies v and what it points to. done is called on the loop, never from inside. */
void suppress_change(struct suppress *s, const struct suppress_change *v, size_t n, suppress_done_fn *done,
                     void *data);

/* Who asked for changes that are under way is gone: they are made, and nobody is told. */
void suppress_abandon(struct suppress *s);

#endif
