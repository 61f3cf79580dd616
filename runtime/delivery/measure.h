/* measure.h - measures: named restrictions that answers put in place, each with a reason and an end.
 *
 * A measure is about one source at one isp, a set of mail hosts there, a source wherever it sends, a From
 * domain at an isp, or a campaign at an isp (enum act_scope). It begins because a rule's act had enough hits
 * (measures_answer), because a path found its way by itself (measures_refused, backoff.h), or because another
 * room says so (measure_begin). What it allows is a share of what was, and follows from the time alone:
 *
 *     begin ──── factor (0 where nothing goes) ──── until ── 1/6, 2/6 … 5/6 of the way back ── recovered
 *
 * So nothing but its beginning, a stronger second beginning, and its lifting by hand has to be remembered:
 * `changed` is told, and writes a record. The automatic back-off tells of each step it learns.
 *
 * The paths own the room and ask it: whether a path, a site's mail, a campaign's mail may go now, and at what
 * pace. While nothing is restricted at an isp that costs two tests. Waiting is kept as intervals
 * (interval.h). Loop thread only. */
#ifndef HATO_DELIVERY_MEASURE_H
#define HATO_DELIVERY_MEASURE_H

#include "delivery/act.h"
#include "delivery/conf.h"
#include "delivery/interval.h"
#include "format/backoff.h"
#include "format/record.h"

struct measures;
struct path;
struct paths;
struct isp;
struct site;
struct campaign;
struct tally;

/* One more kind than rules can ask for. */
enum { MEASURE_BACKOFF = ACT_KINDS, MEASURE_STEPS = 5 };
/* For so long: until it is lifted by hand. */
#define MEASURE_NO_END_MS ((int64_t)100 * 366 * 86400000)

struct measure {
    uint32_t number; /* from 1; its name is "M12" */
    unsigned kind;   /* enum act_kind, or MEASURE_BACKOFF */
    enum act_scope scope;
    uint32_t factor_ppm;     /* of what was, until it ends; 0: nothing goes */
    char *isp, *source;      /* names; "": of all, or not about one */
    char *what;              /* key of the site, From domain, campaign: by scope; "" */
    char *rule, *why;        /* "init.lua:12 rule 3", "automatic"; the answer */
    uint64_t cause;          /* the message that was answered; 0: none */
    int64_t begin_ms;        /* UTC */
    int64_t until_ms;        /* UTC; of a back-off: 0 */
    int64_t recover_ms;      /* then back in steps */
    int64_t over_ms;         /* UTC of its end, once it is over; 0: it holds */
    bool lifted;             /* by hand */
    int64_t per_day;         /* mails that went in a day when it began; 0: too few to say */
    unsigned connections;    /* at once when it began */
    struct backoff *backoff; /* of MEASURE_BACKOFF: the path's, and its own until the path is met */

    struct path *path; /* met: of a back-off */
    uint16_t source_index;
    int64_t changed_ms; /* loop_now_ms(): what began before says nothing new */
    int64_t next_us;    /* loop time of its next permit */
    int64_t before_us;  /* that, before the last permit */
    uint64_t last_id;   /* who took it */
    struct loop_timer timer;
    struct interval *waits;
    uint64_t counted; /* wait_measures()' */
    struct measures *measures;
    struct isp *at;             /* NULL: all, or not met yet */
    bool attached;              /* in the list below */
    struct measure *next_there; /* at its isp, or of those of sources */
    struct measure *next;       /* all, by number */
};

struct measures_conf {
    struct loop *loop;
    struct paths *paths;
    const struct conf *conf;
    struct intervals *intervals; /* NULL: nobody asks */
    void *data;
    /* It began, became stronger, learnt, or was lifted. NULL: nobody writes it down. */
    void (*changed)(void *data, const struct measure *m);
    /* What a rule has counted, to be kept over the end of the process; isp and source for the record's own.
     * NULL: nobody writes it down. */
    void (*counted)(void *data, const struct rec_tally *r, struct slice isp, struct slice source);
};
struct measures *measures_new(const struct measures_conf *conf);
void measures_free(struct measures *ms); /* before the paths' isps */
/* A new isp: what an earlier process put in place there holds. */
void measures_meet(struct measures *ms, struct isp *isp);
/* An isp goes. */
void measures_part(struct isp *isp);

/* --- may it go --- */
bool measures_hold_path(const struct path *p);
bool measures_hold_site(const struct site *s);
bool measures_hold_mail(const struct isp *isp, const struct campaign *c);
/* Mail that was sent from this source before need not go back to it. */
bool measures_turn_away(const struct path *p);
/* A permit for later would go stale here. */
bool measures_pace(const struct path *p);
unsigned measures_connections(const struct path *p, unsigned most);
bool measures_site_is_full(const struct site *s, unsigned sessions);
/* One message goes; it begins only now; it does not after all. */
void measures_take(struct path *p, const struct site *s, const struct campaign *c, uint64_t id);
void measures_renew(struct path *p, const struct site *s, const struct campaign *c, uint64_t id);
void measures_return(struct path *p, const struct site *s, const struct campaign *c, uint64_t id);
/* Of those that keep such mail back now, the one that does so longest; NULL: none. until_ms: UTC, 0 where it
 * is not known, INT64_MAX where people have to lift it. Site and campaign may be NULL. */
const struct measure *measures_holder(const struct path *p, const struct site *s, const struct campaign *c,
                                      int64_t *until_ms);
/* Whether such mail was kept back altogether at that time (UTC), by one that holds or is over. *next_ms comes
 * down to when that changed, if it is later. */
bool measures_were_closed(const struct measures *ms, const struct path *p, const struct site *s,
                          const struct campaign *c, int64_t at_ms, int64_t *next_ms);

/* --- answers --- */
struct measure_answer {
    struct path *path;
    struct site *site;
    const struct campaign *campaign; /* NULL: no message was under way */
    uint64_t message;                /* 0: the same */
    int64_t begun_ms;                /* loop_now_ms() when the message was begun; 0: now */
    int64_t at_ms;                   /* UTC, as its event has it; 0: now */
    const struct act_rule *rule;     /* that it met; NULL: none */
    struct slice why;
};
/* Count it; the measure that began or became stronger, NULL: none. To be told of every answer. */
struct measure *measures_answer(struct measures *ms, const struct measure_answer *a);
/* The automatic back-off of a path: a mail was taken, was refused in one of the ways that may ask for less,
 * was answered in another way. The measure that this changed, or NULL. */
void measures_took(struct path *p, struct doubt_mail mail);
struct measure *measures_refused(struct path *p, enum backoff_sign sign, struct slice why, uint64_t message,
                                 int64_t at_ms);
/* The same for an answer to mail that may be about the person. */
struct measure *measures_doubted(struct path *p, struct doubt_mail mail, struct slice why, uint64_t message,
                                 int64_t at_ms);
void measures_answered(struct path *p);

struct measure_start {
    struct act act;
    struct path *path;
    const struct site *site;         /* with ACT_SITE */
    const struct campaign *campaign; /* with ACT_STREAM and ACT_CAMPAIGN */
    struct slice rule, why;
    uint64_t message;
    int64_t at_ms;   /* UTC: as the event has it that it follows from; 0: now */
    int64_t per_day; /* 0: as the room knows */
};
/* Begin it, or make the one that is there stronger: what it allows times factor again, or a later end. */
struct measure *measure_begin(struct measures *ms, const struct measure_start *start);

/* --- looking --- */
struct measure *measures_next(const struct measures *ms, const struct measure *after); /* also those over */
bool measure_holds(const struct measure *m);
bool measure_is_about(const struct measure *m, const struct path *p, const struct site *s,
                      const struct campaign *c);
const char *measure_kind_name(unsigned kind); /* "slow" … "back-off" */
/* "M12" */
void measure_name(struct buf *out, uint32_t number);
/* "at 30/h", "nothing goes", "4 connections": what it allows now. */
void measure_allows(struct buf *out, const struct measure *m);
/* When that changes, UTC ms; 0: not known. */
int64_t measure_changes_ms(const struct measure *m);
/* "measure M3 (suspend, nothing goes) by shipped:…: 421 4.7.0 …" */
void measure_text(struct buf *out, const struct measure *m);
/* One object, as `hato queue --measures --json` shows it. */
void measure_json(struct buf *out, const struct measure *m, uint64_t waiting);
/* It ends now. ERR_NOTFOUND. */
int measures_lift(struct measures *ms, struct slice name);
/* One that holds, by its name; NULL: none. */
struct measure *measures_find(const struct measures *ms, struct slice name);

/* --- the journal --- */
void measure_record(const struct measure *m, int64_t now_ms, struct rec_measure *out); /* isp, source: 0 */
/* In the order of the journal, before anything is met. The later replaces the earlier. Without paths (a
 * folder at rest) what was restored can be looked at. */
void measures_restore(struct measures *ms, const struct rec_measure *r, struct slice isp,
                      struct slice source);

/* What rules had counted, the later for the earlier; and each event, which may be an answer that came after
 * it, or mail that a receiver took in the last hour. */
struct measure_names {
    struct slice isp, source, from, campaign;
};
void measures_recall(struct measures *ms, const struct rec_tally *r, struct slice isp, struct slice source);
/* Mail that began: it had a permit of each measure about it. */
void measures_recall_begin(struct measures *ms, struct slice isp, struct slice source, int64_t at_ms);
void measures_recall_event(struct measures *ms, const struct rec_event *ev,
                           const struct measure_names *names);

#endif
