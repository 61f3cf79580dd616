/* person.h - what the end of a message does to the person: nothing, counted, suppressed, or set aside.
 *
 *   person_judge()   in the turn that writes the event, before it is written: the event carries what was
 * decided person_learn()   once it is written, or read back from the journal: the counters follow
 *
 * Which rule applies: the one that came with the answer (act.h), else the script's about class and kind, else
 * those that ship with hato (lua/hato/people.rules). A rule that wants several counts days on which messages
 * ended so (soft_count.h). A hard bounce is provisional for a day; while the outbreak guard (guard.h) is
 * awake at its isp it is not even that, and when it wakes what is provisional there is taken back.
 *
 * A decision is made once: it stands in the event, and who reads the event needs neither rules nor counters.
 */
#ifndef HATO_DELIVERY_PERSON_H
#define HATO_DELIVERY_PERSON_H

#include "delivery/act.h"
#include "delivery/guard.h"
#include "delivery/soft_count.h"
#include "format/record.h"

struct person_conf {
    struct guard_conf guard;
    int64_t provisional_ms; /* how long a hard bounce may be taken back; 0: never */
    int64_t nxdomain_ms;    /* how long NXDOMAIN is a fault of DNS where mail was taken lately */
    int64_t clear_ms;       /* how long a delivery must hold before it clears what was counted */
};
/* Of a script that says nothing: an outbreak is 20 % in 200 where it is under 5 %; 24 h; 24 h; 5 days. */
void person_conf_default(struct person_conf *conf);

struct person;

/* acts: the script's; borrowed; may be NULL. ERR_*: the shipped rules cannot be read. */
int person_new(const struct person_conf *conf, const struct acts *acts, struct person **out, struct err *e);
void person_free(struct person *p); /* NULL is fine */

/* who: the recipient's key; NULL: it says nothing about anybody (a test), and only the guard looks at it.
 * rule: of the answer; NULL: what the class gets. isp: its name. Sets ev->person …; person_why is borrowed
 * until the next call. False: no attempt and no end, nothing was looked at. */
void person_judge(struct person *p, const struct hash128 *who, const struct act_rule *rule, struct slice isp,
                  struct rec_event *ev);

/* Every event that is read back and was not judged by this process: the guard sees it too. */
void person_replay(struct person *p, const struct rec_event *ev);
/* An event that suppressed somebody: what may be taken back is remembered. */
void person_uncertain(struct person *p, struct hash128 who, const struct rec_event *ev);
/* What an event decided, where the database has not told of it. */
void person_learn(struct person *p, struct hash128 who, const struct rec_event *ev);
/* From the database: it was counted, or (class "delivered") delivered. */
void person_counted(struct person *p, struct hash128 who, struct slice what, int64_t at_ms);
/* From the database: set aside. */
void person_set_aside(struct person *p, struct hash128 who);
bool person_is_aside(const struct person *p, struct hash128 who);
/* Whether a delivery to anybody can mean something: false spares the question. */
bool person_watches(const struct person *p);
void person_release(struct person *p, struct hash128 who); /* set aside no more */
/* Lifted by hand: nothing is held against them, nothing is set aside. */
void person_forget(struct person *p, struct hash128 who);

/* Those at this isp whom a hard bounce suppressed and that is not certain yet: fn for each, and they are
 * provisional no more. fn NULL: the database has told already. */
void person_take_back(struct person *p, uint32_t isp, int64_t now_ms,
                      void (*fn)(void *data, struct hash128 who), void *data);

bool person_outbreak(const struct person *p, uint32_t isp);
void person_outbreak_text(const struct person *p, uint32_t isp, struct buf *out);
/* What is too old to be asked for goes. */
void person_expire(struct person *p, int64_t now_ms);

#endif
