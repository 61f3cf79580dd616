/* deliver.h - delivery as a whole: what was accepted, what happens to it, and the record of both.
 *
 * One struct deliver owns a state folder. It replays the journal, knows the campaigns of the script and those
 * the journal remembers, takes recipients in (durable before anybody is told), hands them to paths and
 * sessions, and settles them. deliver_settle() in settle.c is the only place where a recipient changes state
 * after its acceptance; the event it writes is the change.
 *
 * A recipient is doubled only where RFC 1047 leaves it open: the process or the connection ended between the
 * last byte of a message and the reply being recorded. That is at most one message for each transaction in
 * flight. */
#ifndef HATO_DELIVERY_DELIVER_H
#define HATO_DELIVERY_DELIVER_H

#include "delivery/content.h"
#include "delivery/session.h"
#include "platform/spool.h"

struct deliver;
struct suppress;
struct outcome;

/* Upward calls. Each may be NULL: then it costs that test and nothing else. */
struct deliver_hooks {
    void *data;
    /* Run the message hook for this recipient; deliver_hook_done() answers, now or later. rec and what it
     * points to are borrowed until then; columns: names joined by 0x1f. */
    void (*message)(void *data, uint64_t id, const struct campaign *c, const struct rec_recipient *rec,
                    struct slice columns);
    /* A reply that is no delivery came, or none. deliver_reply_done(token) answers, now or later; until then
     * the recipient stays CLAIMED. ev is borrowed until then. */
    void (*reply)(void *data, struct outcome *token, const struct rec_event *ev);
    /* Every event, after it was appended. Borrowed for the call. */
    void (*event)(void *data, const struct rec_event *ev);
    /* Something a person should know: level 0 info, 1 warning, 2 error. */
    void (*notice)(void *data, int level, const char *text);
    /* While the state is taken up: whether what waits for this address (addr_dup_key()) may go in this run;
     * else it is held, and free again at the next start. */
    bool (*wants)(void *data, struct slice key);
};

struct deliver_conf {
    struct loop *loop;
    struct fs *fs;
    const char *state;    /* folder */
    struct fs *people_fs; /* where the folder has the suppression list, which is looked at and stays as it is;
                           * NULL: in fs, and it is kept */
    struct net *net;
    struct resolve *resolve;
    const struct conf *conf; /* of the script */
    uint16_t smtp_port;
    bool proves_keys; /* a stream's DKIM keys are looked for in DNS before its mail leaves (keycheck.h) */
    int threads;      /* of assembly; 0: one for each core */
    uint32_t segment_bytes;                      /* 0: the spool's own */
    const char *redirect;                        /* all mail goes to this address, marked as test; NULL: no */
    int (*offset_at)(void *arg, int64_t unix_s); /* hato.tz; any thread; NULL: UTC */
    void *offset_arg;
    const struct tz *zone;           /* hato.tz; NULL: UTC. Lives as long as conf */
    const char *const *content_anew; /* campaigns whose frozen content may be replaced */
    size_t ncontent_anew;
    struct deliver_hooks hooks;
};

/* Open the state folder and take up where it was left. Campaigns of the script are bound to what the journal
 * knows of them; content that differs from what was frozen is an error that names the file. */
int deliver_new(const struct deliver_conf *conf, struct deliver **out, struct err *e);
/* Whether deliver_new() would take this conf on the folder that d has open: keys, templates, rules, and
 * content against what was frozen. Changes nothing. */
int deliver_check(struct deliver *d, const struct deliver_conf *conf, struct err *e);
/* Everything in flight is dropped (and due again at the next start); the journal is synced and closed. */
void deliver_free(struct deliver *d);

/* Let campaigns whose intake is complete and whose time has come begin; sending starts with the next turn. */
void deliver_start(struct deliver *d);
/* Open transactions finish, nothing new begins. */
void deliver_drain(struct deliver *d);
/* Not after all: go on. */
void deliver_undrain(struct deliver *d);

/* --- taking in --- */

struct deliver_accept {
    struct campaign *campaign;  /* a stream's `alone` for hato.send */
    uint32_t columns;           /* deliver_columns() */
    struct slice address;       /* as written */
    const struct addr *addr;    /* the same, parsed */
    struct slice values;        /* raw msgpack array, one value a column */
    struct slice content;       /* hato.send: content_freeze(); else empty */
    struct slice key;           /* duplicate key; empty: none */
    int64_t due_ms, expires_ms; /* UTC; 0: now, never */
    bool test;
    /* On the loop, when it is durable (0) or refused (ERR_FULL, ERR_IO). Never from inside deliver_accept().
     */
    void (*done)(void *data, uint64_t id, int status);
    void *data;
};
/* 0 and *id; ERR_EXISTS: known under this key (*id is 0); ERR_FULL, ERR_IO: not now. */
int deliver_accept(struct deliver *d, const struct deliver_accept *a, uint64_t *id);
/* All that was accepted so far is durable (or was refused) when fn is called. */
void deliver_when_durable(struct deliver *d, struct spool_wait *w);

/* The number under which records name these columns (names joined by 0x1f). */
uint32_t deliver_columns(struct deliver *d, struct slice columns);

struct campaign *deliver_campaign(struct deliver *d,
                                  struct slice name); /* NULL: neither declared nor remembered */
struct campaign *deliver_next_campaign(struct deliver *d, size_t *at);
struct stream *deliver_stream(struct deliver *d, struct slice name);
/* The source of a campaign begins to be read; its reading ended, complete or not. Between the two nothing of
 * the campaign leaves unless it streams, and nothing ever does before it was read to its end once. */
void deliver_intake_begin(struct deliver *d, struct campaign *c);
void deliver_intake_end(struct deliver *d, struct campaign *c, bool complete);

/* Answer of a message hook. edits: raw msgpack (message.h) or empty. error not NULL: hold the message. */
void deliver_hook_done(struct deliver *d, uint64_t id, struct slice edits, const char *error);

/* Answer of a reply hook: cls CLASS_COUNT leaves the class as it was, act NULL what the rules say. */
void deliver_reply_done(struct deliver *d, struct outcome *token, enum reply_class cls,
                        const struct act *act);

/* --- looking --- */

/* Somebody is about to read the journal to know why mail waited: all that is known of it is there after this
 * turn. */
void deliver_say_why(struct deliver *d);

struct deliver_counts {
    size_t queued, ready, in_flight, retry, held, connections;
    /* Since this process started; came_back: bounced after it was delivered. */
    uint64_t accepted, delivered, bounced, expired, suppressed, cancelled, deferred, ambiguous, came_back,
        complained;
};
struct deliver_counts deliver_counts(const struct deliver *d);
/* Every recipient that waits: the isp it would go to (empty: not known yet) and its campaign's name (empty:
 * hato.send), n of them. */
void deliver_waiting(struct deliver *d,
                     void (*fn)(void *data, struct slice isp, struct slice campaign, uint64_t n), void *data);
/* UTC ms when something that waits falls due next: a retry, a probe, the end of a hold. INT64_MAX: nothing
 * waits for a time; 0: something could go now. */
int64_t deliver_next_due_ms(struct deliver *d);
/* A breaker keeps back mail that could go now. out: what, why, and how it is lifted. */
bool deliver_is_broken(struct deliver *d, struct buf *out);
const struct spool_report *deliver_replay_report(const struct deliver *d);
struct queue *deliver_queue(struct deliver *d);
struct spool *deliver_spool(struct deliver *d);
struct suppress *deliver_suppress(struct deliver *d);
/* Whether mail of this campaign would not go to this address. */
bool deliver_suppresses(const struct deliver *d, const struct campaign *c, const struct addr *to);
struct warmups *deliver_warmups(struct deliver *d); /* NULL: the script has none */
/* Words for numbers of records; SLICE_NONE when unknown. */
struct slice deliver_name(const struct deliver *d, enum rec_name_kind kind, uint32_t number);

#endif
