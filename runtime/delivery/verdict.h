/* verdict.h - what an answer, or none, means: its class, for whom it counts, and what to do next.
 *
 * Two questions are kept apart. Whether the message is tried again is the reply's: 4xx, silence and a lost
 * connection are tried again, 5xx to RCPT, DATA or the message are final, 5xx before that is about the source
 * or the sender and never final for a message. What it says about the person is the class's. */
#ifndef HATO_DELIVERY_VERDICT_H
#define HATO_DELIVERY_VERDICT_H

#include "delivery/act.h"
#include "format/rule.h"
#include "format/smtp_phase.h"
#include "format/smtp_reply.h"

enum verdict_cause {
    CAUSE_REPLY,          /* code and text are set */
    CAUSE_CONNECT_FAILED, /* refused, unreachable, or no answer to SYN */
    CAUSE_TIMEOUT,        /* no reply in the phase's time */
    CAUSE_LOST,           /* the connection ended without a reply */
    CAUSE_NOT_SMTP,       /* bytes that are no reply, or a reply without end */
    CAUSE_TLS_FAILED,     /* the handshake, or TLS is required and not to be had */
    CAUSE_OVER_SIZE,      /* larger than the SIZE that the receiver names; nothing was sent */
    CAUSE_NO_SMTPUTF8,    /* the address needs SMTPUTF8 and the receiver has not got it */
    CAUSE_NXDOMAIN,   /* the domain does not exist, nor has it for 24 h where it delivered within 30 days */
    CAUSE_NO_ADDRESS, /* the domain exists and has neither MX nor address */
    CAUSE_NULL_MX,    /* RFC 7505 */
    CAUSE_DNS_FAILED, /* SERVFAIL, no answer, a loop, MX hosts without address */
};

/* For whom the answer counts, and so what must not go on unchanged. */
enum verdict_scope {
    SCOPE_RECIPIENT,
    SCOPE_MESSAGE,
    SCOPE_SESSION, /* this connection alone */
    SCOPE_SITE,    /* this host of the receiver */
    SCOPE_SOURCE,  /* our address there: the path stops and alerts */
    SCOPE_SENDER,  /* (stream, isp) stops and alerts */
};
const char *verdict_scope_name(enum verdict_scope s); /* "recipient" ... */

struct verdict_in {
    enum verdict_cause cause;
    enum smtp_phase phase;
    const struct smtp_reply *reply; /* with CAUSE_REPLY; else NULL */
    struct slice isp;               /* name; empty if no table has it */
    const struct rules *rules;      /* with CAUSE_REPLY: what gives the class */
    struct rule_work *work;
    const struct acts *acts; /* NULL: nothing is done about anything */
    struct slice provider;   /* of the isp */
};

struct verdict {
    enum reply_class cls;
    enum class_kind kind;
    enum verdict_scope scope;
    bool delivered;
    bool final;     /* the message ends here; never together with try_next_host */
    bool charged;   /* counts as an attempt of the message: it had begun */
    bool ambiguous; /* the message may have been taken (RFC 1047): not again at once, not at another host */
    bool try_next_host; /* now, at the next host of the site */
    bool session_over;
    const char *rule;      /* which rule gave the class; as long as the rules */
    struct acts_found act; /* what is done about it, once as many have come as its rule wants */
};

/* A script's retry schedule. */
enum { RETRY_STEPS_MAX = 32 };
struct verdict_schedule {
    int64_t retry_ms[RETRY_STEPS_MAX]; /* wait before the 2nd, 3rd ... attempt; the last one repeats */
    size_t nretry;                     /* at least 1 */
    int64_t give_up_ms;                /* counted from the first attempt */
};
/* 5 min, 30 min, 2 h, 6 h; give up after 2 days. */
void verdict_schedule_default(struct verdict_schedule *s);

void verdict_give(const struct verdict_in *in, struct verdict *out);

/* A reply hook chose the class: what follows from the reply stays, what follows from the class changes. */
void verdict_override(struct verdict *v, enum reply_class cls, int code, struct slice isp,
                      const struct acts *acts);

/* Wait before the next attempt after `attempts` (at least 1) of them, moved by up to a tenth either way;
 * random: any 64 bits, the same bits give the same wait. */
int64_t verdict_retry_ms(const struct verdict_schedule *s, unsigned attempts, uint64_t random);

#endif
