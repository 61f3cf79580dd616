/* campaign.h - streams and campaigns as delivery keeps them: what is declared now, and what the spool
 * remembers.
 *
 * A campaign is its name within a state folder. One that is in the spool but not in the script is HELD with
 * the reason: its mail waits, nothing is dropped. Mail of hato.send belongs to the stream's own nameless
 * campaign. */
#ifndef HATO_DELIVERY_CAMPAIGN_H
#define HATO_DELIVERY_CAMPAIGN_H

#include "delivery/conf.h"
#include "platform/loop.h"

struct lane;
struct content;
struct identity;
struct deliver;

struct stream {
    struct slice name;              /* owned by deliver */
    uint32_t number;                /* of its name in the spool */
    const struct conf_stream *conf; /* NULL: in the spool, not in the script */
    enum conf_priority priority;
    uint32_t weight;
    /* That may carry it, with their weights: those of its pool first (nown), then those that take what is
     * above a warm-up's quota. Credit grows by the weight with each mail that a source could have taken; who
     * has most goes first. */
    uint16_t *sources;
    uint32_t *source_weight;
    int64_t *source_credit;
    size_t nsources, nown;
    uint32_t pool_number;                  /* of its pool's name; 0: none declared */
    uint32_t domain_number, sender_number; /* NAME_DOMAIN, NAME_SENDER */
    struct identity *identity;             /* message.h: keys and texts; NULL with conf */
    struct campaign *alone;                /* of hato.send */
    bool unproven;                         /* its keys are being looked for in DNS (keycheck.h) */
};

enum campaign_run {
    CAMPAIGN_HELD,   /* not in the script, or its content does not fit: `why` */
    CAMPAIGN_INTAKE, /* its source is being read, or was cut off: nothing leaves */
    CAMPAIGN_LATER,  /* its time has not come */
    CAMPAIGN_RUNNING,
    CAMPAIGN_STOPPED, /* cancelled */
};

struct campaign {
    struct slice name;
    uint32_t number;
    struct stream *stream;
    const struct conf_campaign *conf; /* NULL: not in the script, or of hato.send */
    enum campaign_run run;
    char *why;                 /* HELD; owned */
    struct content *content;   /* compiled; NULL while HELD and for hato.send */
    struct slice content_hash; /* hex; of what was frozen; owned */
    bool reading;              /* its source is being read by this process */
    bool read_once, cancelled; /* its source was read to the end at some time */
    bool started;
    int64_t runs_since_ms;   /* UTC; 0: since earlier than this process */
    struct lane *lanes;      /* by lane->of_campaign */
    struct interval *waits;  /* while it does not run */
    struct loop_timer timer; /* to its start */
    struct deliver *deliver;
    uint64_t ending;               /* cancelled, and seen to */
    uint64_t queued, known, fresh; /* known and fresh: of this run's intake */
};

/* The list that its mail goes to, by which people may be suppressed; empty: none. */
static inline struct slice campaign_list(const struct campaign *c)
{
    if (c->conf && c->conf->list.n)
        return c->conf->list;
    return c->stream->conf ? c->stream->conf->list : SLICE_NONE;
}

#endif
