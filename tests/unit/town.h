/* town.h - delivery on a virtual loop and the receivers of a world, over pipes in memory. */
#ifndef HATO_TESTS_UNIT_TOWN_H
#define HATO_TESTS_UNIT_TOWN_H

#include "delivery/deliver.h"
#include "dns_server.h"
#include "sink.h"

/* Person i at domain k is number i * ndomains + k. */
struct town_person {
    uint64_t id;   /* of the message that was accepted last */
    bool reported; /* its acceptance was reported */
    bool again;    /* it was accepted once more after that */
};

struct town {
    struct loop *loop;
    struct fs *fs;
    struct net *net;
    struct world *world;
    struct dns_zone *zone;
    struct resolve *resolve;
    struct sink *sink;
    struct conf conf;
    struct deliver *d;
    struct loop_timer watch;
    int64_t patience_ms; /* how long it may wait for something that falls due */
    size_t events[EVENT_TYPES];
    struct buf trace;
    size_t alerts; /* notices that somebody should look at */
    struct err err;
    void (*event)(struct town *t, const struct rec_event *ev); /* also told of every event; may be NULL */
    /* A message hook, of the next town_open(); data is the town. May be NULL. */
    void (*message_hook)(void *data, uint64_t id, const struct campaign *c, const struct rec_recipient *rec,
                         struct slice columns);
    /* Of a receiver; may be NULL. */
    void (*transaction)(void *town, const struct world_isp *isp, const struct smtp_server_tx *tx);
    struct town_person *people; /* by number; NULL: nobody asks */
    const char *behind_name;    /* stands before the @ of everybody; NULL: nothing */
    uint32_t segment_bytes;     /* for the next town_open(); 0: the spool's own */
    bool proves_keys;           /* the same: deliver_conf's */
};

/* A world of n receivers of one domain each, d0.test with mx0.a.test …; more: what else each of them has, or
 * "". The caller's, as are the names of their domains. */
struct buf town_of_receivers(size_t n, const char *more);
const char **town_domain_names(size_t n);
void town_names_free(const char **names, size_t n);

/* On files in memory, or on those of fs, which the town then owns. False: t->err says why. */
bool town_new(struct town *t, const char *world, uint64_t seed);
bool town_new_on(struct town *t, struct fs *fs, const char *world, uint64_t seed);
void town_free(struct town *t);

/* The program's end in good order, and its next start; receivers stay. */
void town_close(struct town *t);
bool town_open(struct town *t);
/* The program's end in the middle of a turn: what it has not written by now is never written. */
void town_crash(struct town *t);

/* n people at each domain, p0, p1 ... Counts those who were new. */
size_t town_send(struct town *t, const char *const *domains, size_t ndomains, int n);
/* The same for a campaign other than "hello". */
size_t town_send_as(struct town *t, struct slice campaign, const char *const *domains, size_t ndomains,
                    int n);
/* Until nothing falls due within patience_ms. */
void town_run(struct town *t);
/* For so long. */
void town_run_for(struct town *t, int64_t ms);

/* Time goes by, whether a hato runs or not. */
void town_rest_for(struct town *t, int64_t ms);

/* How many files of this kind ("recipients", "events") have these words; SIZE_MAX: there is no such file. */
size_t town_files_with(struct town *t, const char *kind, const char *words);

/* Every one of those accepted since the start is in exactly one place. */
bool town_accounted(struct town *t, size_t accepted);

#endif
