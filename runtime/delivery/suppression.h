/* suppression.h - that somebody gets no mail: where, why, since when and until when.
 *
 * One address has at most one suppression in each scope. Where a second one comes, the weightier stays: an
 * opt-out or complaint before all others, then the one that lasts longer, then the weightier reason; and what
 * stays lasts as long as either. So a bounce never turns an opt-out into something that lifts by itself. */
#ifndef HATO_DELIVERY_SUPPRESSION_H
#define HATO_DELIVERY_SUPPRESSION_H

#include "base/err.h"
#include "format/addr.h"
#include "format/record.h"

enum suppress_scope { SUPPRESS_ALL, SUPPRESS_STREAM, SUPPRESS_LIST, SUPPRESS_SCOPES };

/* Rising weight. Stored by name in the database, by number only in memory. */
enum suppress_reason {
    SUPPRESS_NOT,        /* is none: not suppressed */
    SUPPRESS_QUARANTINE, /* set aside until somebody has looked: that of the outbreak guard keeps nobody from
                          * mail, and has ended (expires) when it begins */
    SUPPRESS_SOFT_BOUNCE,
    SUPPRESS_HARD_BOUNCE,
    SUPPRESS_MANUAL,
    SUPPRESS_OPT_OUT,
    SUPPRESS_COMPLAINT,
    SUPPRESS_REASONS
};

struct suppression {
    struct slice address; /* suppression_address() */
    enum suppress_scope scope;
    struct slice name; /* of the stream or list; empty with SUPPRESS_ALL */
    enum suppress_reason reason;
    int64_t since_ms;       /* UTC */
    int64_t expires_ms;     /* UTC, whole seconds; 0: never */
    int64_t provisional_ms; /* UTC: what happens until then may still take it back; 0: it is certain */
    uint64_t event;         /* number of the event that caused it; 0: none did */
    struct slice isp;       /* name of the receiver whose answer it was; empty: none */
    struct slice evidence;  /* words */
};

/* Append the one spelling of an address: local part in lower case, domain as A-labels. Two addresses with one
 * duplicate key have one spelling, and addr_parse() reads it back. */
void suppression_address(struct buf *out, const struct addr *a);

/* "all", "stream=news", "list=customers" and back. ERR_SYNTAX with a sentence. name is borrowed from text. */
int suppression_scope_parse(struct slice text, enum suppress_scope *scope, struct slice *name, struct err *e);
void suppression_scope_text(struct buf *out, enum suppress_scope scope, struct slice name);
const char *suppression_scope_word(enum suppress_scope scope);              /* "all", "stream", "list" */
int suppression_scope_of_word(struct slice word, enum suppress_scope *out); /* ERR_NOTFOUND */

/* "hard_bounce" …; parse takes hyphens and blanks as well. ERR_NOTFOUND with a sentence. */
const char *suppression_reason_word(enum suppress_reason r);
int suppression_reason_parse(struct slice word, enum suppress_reason *out, struct err *e);
/* For sentences: "hard bounce" */
const char *suppression_reason_text(enum suppress_reason r);

/* Opt-outs and complaints: nobody but the person lifts them. */
static inline bool suppression_is_the_persons(enum suppress_reason r)
{
    return r == SUPPRESS_OPT_OUT || r == SUPPRESS_COMPLAINT;
}

/* Up to a whole second: what the database and the table both can say. 0 stays 0. */
int64_t suppression_expires(int64_t ms);

/* What of a suppression decides which of two stays. */
struct suppress_weight {
    enum suppress_reason reason;
    int64_t expires_ms;
    bool provisional; /* of two that are equal the certain one stays */
};
static inline struct suppress_weight suppression_weight(const struct suppression *s)
{
    return (struct suppress_weight){s->reason, s->expires_ms, s->provisional_ms != 0};
}
/* old has reason SUPPRESS_NOT or has ended by now_ms: the new one stays. Returns whether it does;
 * *expires_ms: the end of what stays. */
bool suppression_weigh(struct suppress_weight old, struct suppress_weight fresh, int64_t now_ms,
                       int64_t *expires_ms);

/* What this event suppresses or sets aside (ev->person; where nobody decided, what its class stands for);
 * false: nobody. Names are those behind the event's numbers. Text is borrowed from ev or copied into a. Mail
 * to a test address says nothing about anybody. */
bool suppression_of_event(const struct rec_event *ev, struct slice stream, struct slice isp, struct arena *a,
                          struct suppression *out);
/* suppression_address() of its recipient, in a; SLICE_NONE: it has none that says anything. */
struct slice suppression_address_of(const struct rec_event *ev, struct arena *a);

/* One sentence without a full stop, its texts safe for a terminal: "suppressed for all mail since 2026-07-01
 * 10:00:00: hard bounce (550 5.1.1 no such user), provisional until …". */
void suppression_text(struct buf *out, const struct suppression *s);
/* One JSON object, no line end. */
void suppression_json(struct buf *out, const struct suppression *s);

#endif
