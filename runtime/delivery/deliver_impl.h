/* deliver_impl.h - the insides that the rooms around deliver.c share. */
#ifndef HATO_DELIVERY_DELIVER_IMPL_H
#define HATO_DELIVERY_DELIVER_IMPL_H

#include "delivery/deliver.h"
#include "delivery/interval.h"
#include "delivery/settled.h"
#include "delivery/suppress.h"
#include "delivery/recent.h"
#include "delivery/warmup.h"

/* A dictionary of one kind of name: words ↔ numbers from 1. */
struct names {
    struct slice *v; /* v[number - 1]; owned; p NULL: not known */
    size_t n, cap;
    struct map by_name; /* → number as pointer */
};

/* Accepted in one turn, not durable yet. */
struct accepted {
    uint64_t id;
    uint32_t segment, offset;
    struct lane *lane;
    int64_t due_ms;
    bool has_key;
    struct hash128 key;
    struct outcome *suppressed; /* its end, when it is durable; NULL: it may go */
    void (*done)(void *data, uint64_t id, int status);
    void *data;
};
struct batch {
    struct deliver *d;
    struct accepted *v;
    size_t n, cap;
    struct spool_wait wait;
    struct batch *next; /* free list */
};

/* What a segment holds: for compaction. */
struct segment_use {
    uint32_t segment;
    uint64_t first_id, last_id; /* recipients */
    uint64_t live, settled;     /* recipients; settled: not yet rewritten away */
    int64_t first_settled_ms;
    int64_t first_event_ms, last_event_ms; /* events; 0: no event in it */
    int64_t edits_ms; /* events: of the first begin record with edits of a hook; 0: none */
};

struct deliver {
    struct deliver_conf conf;
    struct loop *loop;
    struct secret secret;
    struct work *pool, *sync;
    struct spool *spool;
    struct queue *queue;
    struct sites *sites;
    struct paths *paths;
    struct sessions *sessions;
    struct suppress *suppress;
    struct warmups *warmups;
    struct intervals *intervals;
    struct recents *recents;
    struct interval *starts, *stops, *syncs, *unwritable, *hooked; /* what all mail may wait for; or NULL */
    struct file *lock;                                             /* of the folder, until the spool has it */
    struct tls_client *tls;
    struct rules *rules;

    struct names names[NAME_KINDS];
    struct map streams, campaigns; /* by name */
    struct map outages;            /* of earlier processes: kind of interval and its key → struct outage */
    struct campaign **by_number;   /* campaigns[number - 1]; NULL: hato.send's or unknown */
    size_t nby_number;
    struct keyset keys;
    uint64_t next_id, next_event;
    struct batch *batch, *spare_batches;
    struct loop_task batch_task;
    size_t batches_open;

    struct segment_use *use;
    size_t nuse, cap_use;
    struct loop_timer compact_timer;
    struct loop_timer presence_timer; /* runs while a source is set aside */
    struct loop_timer spool_timer;    /* runs while the spool lets nothing begin */
    struct spool_rewrite rewrite;
    struct keyset rewrite_live;     /* ids */
    struct segment_use rewrite_was; /* before it began */
    uint64_t rewrite_last_id;
    bool rewriting, rewrite_again; /* again: there are events of what is queued in it */

    struct spool_report report;
    struct deliver_counts counts;
    bool started, draining, replaying;
    bool ending; /* the folder is being left: nothing is settled any more */
    struct buf scratch, payload;
    uint32_t event_segment; /* where the last event went */
    size_t readings;        /* records on their way from a pool thread */
    struct map pauses;      /* steer.c: words → struct pause */
    struct pause *pauses_ended;
    struct steering *steering;
    struct keycheck *keycheck; /* NULL: nothing has wanted to go beyond loopback */
    size_t cancelling;         /* of the readings */
    struct settled *settled;
    struct breakers *breakers;
    struct inbound *inbound; /* NULL: nothing has come back yet */
};

/* --- names.c --- */
uint32_t name_number(struct deliver *d, enum rec_name_kind kind, struct slice name); /* made if need be */
void name_learn(struct deliver *d, const struct rec_name *n);
uint32_t name_find(const struct deliver *d, enum rec_name_kind kind, struct slice name); /* 0: not known */
bool name_is_known(const struct deliver *d, enum rec_name_kind kind, uint32_t number);
/* A record speaks of this number: no new name gets it, also if the one that had it was lost with the power.
 */
bool name_reserve(struct deliver *d, enum rec_name_kind kind, uint32_t number);

/* --- campaign.c --- */
struct stream *stream_get(struct deliver *d, struct slice name, uint32_t number);
struct campaign *campaign_get(struct deliver *d, struct slice name, uint32_t number, struct stream *stream);
struct campaign *campaign_by_number(struct deliver *d, uint32_t campaign, uint32_t stream);
/* Each stream and campaign of the script to what the journal knows of it; frozen content is checked. */
int streams_bind(struct deliver *d, struct err *e);
int campaigns_bind(struct deliver *d, struct err *e);
/* Would campaigns_bind() take this one, under this new configuration? Changes nothing. */
int campaign_check(struct deliver *d, const struct deliver_conf *conf, const struct conf_campaign *cc,
                   struct err *e);
/* Let it run when its people are read and its time has come. */
void campaign_update(struct deliver *d, struct campaign *c);
/* Its state has changed: what its mail waits for is kept. */
void campaign_waits(struct deliver *d, struct campaign *c);
void campaign_free(struct deliver *d, struct campaign *c); /* but for the name */
/* People end this campaign: nothing of it begins, nobody new is taken in. */
void campaign_cancel(struct deliver *d, struct campaign *c);
/* Once nothing of it is queued: at the next start its name begins a new one, to which nobody is known. */
void campaign_forget(struct deliver *d, struct campaign *c);

/* --- deliver.c --- */
/* The lane's recipients may go as far as its campaign and domain let them. */
void lane_service(struct deliver *d, struct lane *lane);
void notice(struct deliver *d, int level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Returns the segment it went to. */
uint32_t append_record(struct deliver *d, enum spool_kind kind, const struct rec *r);

/* --- accept.c --- */
/* NULL if it is not known and id is 0; else made, beginning with this id. */
struct segment_use *segment_use(struct deliver *d, uint32_t segment, uint64_t id);
void segment_use_event(struct deliver *d, uint32_t segment, int64_t at_ms);
void segment_use_edits(struct deliver *d, uint32_t segment, int64_t at_ms);
/* The lane for these; source UINT16_MAX and host NULL for a fresh recipient. */
struct lane *lane_of(struct deliver *d, struct campaign *c, struct domain *dom, uint16_t source,
                     const char *host);
void batch_end(struct deliver *d); /* what was accepted in this turn goes to the disk with the rest */
void batch_free_all(struct deliver *d);

/* --- restore.c --- */
/* When nobody could be reached in the time of earlier processes: a site (INTERVAL_SITE) or DNS
 * (INTERVAL_DNS). NULL: never. */
const struct outage *outage_known(const struct deliver *d, uint8_t kind, struct slice key);
int restore(struct deliver *d, struct err *e);

/* --- compact.c --- */
void compact_start(struct deliver *d);

/* --- settle.c --- */
/* The end of a recipient whom the suppression list names; NULL: it does not. Given to outcome_settle() when
 * the recipient is queued, or to outcome_free(). */
struct outcome *outcome_suppressed(struct deliver *d, struct lane *lane, const struct rec_recipient *r,
                                   const struct addr *to);
void outcome_settle(struct outcome *o);
void outcome_free(struct outcome *o);

/* --- unsent.c --- */
/* Settle what is ready at a dead domain, or what waited too long where nobody answers; in slices. */
void sweep_dead(struct deliver *d, struct domain *dom);
void sweep_hopeless(struct deliver *d, struct lane *lane, const char *why);
/* It ends, in no list (or popped from one), because people said so; its record is read first. */
void settle_cancelled(struct deliver *d, uint64_t id, struct lane *lane);
/* Start message hooks for what is raw in the lane, a few ahead of what is ready. */
void hooks_top_up(struct deliver *d, struct lane *lane);
void on_domain(void *data, struct domain *dom);
void on_due(void *data, uint64_t id);

/* --- attempt.c: callbacks of sessions --- */
bool on_prepare(void *data, struct flight *f);
bool on_may_begin(void *data);
bool on_may_leave(void *data, struct path *p, const struct flight *f);
void on_begin(void *data, struct session *s, struct flight *f);
void on_settle(void *data, struct session *s, struct flight *f, const struct verdict *v,
               enum smtp_phase phase, const struct smtp_reply *reply, const char *text, bool other_rcpt);
bool on_fit(void *data, struct flight *f);
void on_unfit(void *data, struct flight *f);
void on_back(void *data, struct flight *f);
void on_unreachable(void *data, struct session *s, struct flight *f, const struct verdict *v,
                    enum smtp_phase phase, const struct smtp_reply *reply, const char *text);
void on_refused(void *data, struct session *s, const struct verdict *v, enum smtp_phase phase,
                const struct smtp_reply *reply, const char *text);

#endif
