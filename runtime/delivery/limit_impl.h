/* limit_impl.h - the insides that limit.c and limit_hold.c share. */
#ifndef HATO_DELIVERY_LIMIT_IMPL_H
#define HATO_DELIVERY_LIMIT_IMPL_H

#include "delivery/limit.h"

enum rule_kind {
    RULE_MESSAGES,
    RULE_RECIPIENTS,
    RULE_NEW_CONNECTIONS,
    RULE_CONNECTIONS,
    RULE_PER_CONNECTION,
    RULE_WARMUP
};

struct rule {
    enum rule_kind kind;
    enum limit_scope scope;
    unsigned by;
    const struct conf_isp *isp; /* only there; NULL: everywhere */
    struct pace_rate rate;
    uint32_t most;                    /* RULE_CONNECTIONS, RULE_PER_CONNECTION */
    const struct conf_warmup *warmup; /* RULE_WARMUP */
    struct conf_place place;
};

struct line {
    struct limit_wait *first, *last;
};

struct limit {
    const struct rule *rule;
    struct limits *limits;
    struct pace pace;
    struct warmup *warmup; /* RULE_WARMUP: instead of the pace */
    uint32_t used;         /* RULE_CONNECTIONS */
    uint32_t yielding;     /* RULE_CONNECTIONS: so many that hold a permit are about to close for who waits */
    uint64_t last_id;      /* who took the last permit */
    struct line lines[CONF_PRIORITIES];
    size_t waiting;
    struct loop_timer timer;
    struct interval *waits; /* while anybody does */
    struct slice key;       /* the map's: index of its rule, then each value's length and bytes */
    char *values;           /* "isp gmail, campaign summer"; owned */
};

struct limits {
    struct limits_conf conf;
    struct rule *rules;
    size_t nrules;
    unsigned scopes, by;     /* of all rules */
    uint32_t per_connection; /* the least that holds for all mail */
    struct map instances;
    struct buf key;
    uint64_t asked;
    int64_t spent_ms; /* loop_now_ms() of limits_count_all(); INT64_MIN: never */
    bool serving;
};

/* --- limit.c --- */
/* It is about mail that has a value for all that the rule counts by. */
bool limit_rule_applies(const struct limits *ls, const struct rule *r, const struct limit_who *who);
/* Made if this is the first time that anybody asks. */
struct limit *limit_instance(struct limits *ls, const struct rule *r, const struct limit_who *who);
/* Its next permit is due at another time: those in line are woken then. */
void limit_arm(struct limit *l);

/* --- limit_hold.c --- */
/* All its permits are taken, and somebody more urgent is in line for one. */
bool limit_is_wanted(const struct limit *l, enum conf_priority priority);

#endif
