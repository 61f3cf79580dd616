/* act.h - what a rule wants done when an answer meets it: to the path, or to the person.
 *
 *   acts_find(acts, &in, &found)    which rules an answer meets: at most one for the path, one for the person
 *
 * A rule of the first pass (one that gives the class) may carry its act, and so may a rule about a failure
 * that is no reply (refused, lost). Where neither gives one, the rules of the second pass are asked, which
 * know only class and kind; the first that fits wins, apart for what happens to the path and to the person.
 * Rules of a script come before those that ship with hato.
 *
 * An act about a path is counted before it is done (measure.h); one about a person is done when the message
 * has ended (suppress.h). */
#ifndef HATO_DELIVERY_ACT_H
#define HATO_DELIVERY_ACT_H

#include "base/err.h"
#include "format/reply_class.h"

enum act_kind {
    ACT_NONE,
    ACT_SLOW,        /* the rate becomes factor times what it was */
    ACT_FEWER,       /* connections: the same */
    ACT_SUSPEND,     /* nothing goes for a time */
    ACT_DEFER,       /* this message waits for a time, and no other */
    ACT_RECONNECT,   /* this connection ends; nothing else */
    ACT_NEXT_SOURCE, /* the message goes again from another source of its pool, and this path rests */
    ACT_PAUSE,       /* nothing goes until people say so, or its time is over */
    ACT_SUPPRESS,    /* persons: nothing more is sent to this one */
    ACT_QUARANTINE,  /* persons: the same until somebody has looked */
    ACT_KINDS
};

/* What a measure is about: one source at one isp, one set of mail hosts there, one source wherever it sends,
 * one From domain at one isp (all its sources and streams), one campaign at one isp, one stream there. Rules
 * ask for any but the last. */
enum act_scope { ACT_PATH, ACT_SITE, ACT_SOURCE, ACT_STREAM, ACT_CAMPAIGN, ACT_ONE_STREAM, ACT_SCOPES };

enum { ACT_FOREVER = -1, ACT_WHOLE = 1000000 };

struct act {
    enum act_kind kind;
    enum act_scope scope;
    uint32_t factor_ppm; /* ACT_SLOW, ACT_FEWER: of ACT_WHOLE */
    int64_t for_ms;      /* how long; ACT_FOREVER; never 0 where kind needs it */
    int64_t recover_ms;  /* how long the way back takes, step by step; 0: at once */
    bool alert;
    bool ignore; /* ACT_NONE and no rule behind it is asked: neither for the path nor for the person */
};

/* Failures that are no reply: bits of act_rule.failures. */
enum act_failure { ACT_REFUSED_CONNECTION = 1, ACT_LOST_CONNECTION = 2, ACT_SILENCE = 4, ACT_TLS = 8 };

struct act_rule {
    struct slice name; /* "init.lua:12 rule 3", "shipped:microsoft.block-list" */
    struct act act;    /* not act_is_given(): the rule gives none */
    struct slice isp;  /* empty: any; not of a rule that gives the class, which knows it itself */
    struct slice of;   /* shipped: the rule that gave the class; empty: any */
    struct slice has;  /* shipped: what the reply holds, no case; empty: anything */
    unsigned failures; /* not 0: it is about these alone */
    uint64_t classes;  /* second pass: bits 1 << enum reply_class; 0: any */
    unsigned kinds;    /* second pass: bits 1 << enum class_kind; 0: any */
    /* When it is done; 0: not given. */
    uint32_t after;     /* persons: ended messages of one person; paths: hits */
    uint32_t least;     /* paths: hits */
    uint32_t share_ppm; /* paths: hits of answers */
    int64_t within_ms;  /* the window of both */
};

/* All of a conf. */
struct acts {
    const struct act_rule *of_rules; /* one for each rule of the first pass that the script gives, in order */
    size_t nof_rules;
    const struct act_rule *rules; /* about failures, and of the second pass; the script's */
    size_t nrules;
    const struct act_rule *shipped; /* after them: lua/hato/backoff.rules */
    size_t nshipped;
};

struct acts_in {
    int rule;         /* of the first pass, the number rules_classify() gave; -1: none */
    const char *name; /* and its name */
    struct slice text;
    unsigned failure;           /* enum act_failure; 0: a reply came */
    struct slice isp, provider; /* its name; whose it is, which a rule may name too */
    enum reply_class cls;
    enum class_kind kind;
};
struct acts_found {
    const struct act_rule *path, *person; /* NULL: none; as long as the acts */
};
void acts_find(const struct acts *acts, const struct acts_in *in, struct acts_found *out);

static inline bool act_is_given(const struct act *a)
{
    return a->kind != ACT_NONE || a->ignore;
}
static inline bool act_is_about_person(enum act_kind k)
{
    return k == ACT_SUPPRESS || k == ACT_QUARANTINE;
}
const char *act_kind_name(enum act_kind k); /* "slow" … "next_source" … */
const char *
act_scope_name(enum act_scope s); /* "path", "site", "source", "stream", "campaign", "one stream" */

/* What a script means that says no more than the kind. */
struct act act_default(enum act_kind k);
/* "slow to 0.5 for 30 min" */
void act_text(struct buf *out, const struct act *a);

#endif
