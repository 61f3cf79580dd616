/* inbound.h - what came back by mail becomes an event of the message it speaks of.
 *
 * Who the mail is about was found out before, by its token (format/returned_token.h), and is not doubted
 * here. A message gets `bounced` with the phase async once, and not if it bounced in its session;
 * `complained` once. The same mail twice, or handed over again after a crash, is thereby one event: the
 * journal itself says what a message had already. Nothing of the message's own state changes: it had its end
 * before. One that has not (its last try broke off, and was taken after all) has to wait for its end.
 *
 * A late bounce gets its class by the script's rules first, as a reply would; else the class that the reader
 * of the mail gave it. The suppression list hears of it like of any event. */
#ifndef HATO_DELIVERY_INBOUND_H
#define HATO_DELIVERY_INBOUND_H

#include "delivery/deliver.h"
#include "format/smtp_reply.h"

enum inbound_what { INBOUND_BOUNCE, INBOUND_COMPLAINT };

struct inbound_mail {
    uint64_t id; /* of the message */
    enum inbound_what what;
    int phase;                     /* enum smtp_phase or RULE_PHASE_UNKNOWN: where the server said it */
    int code;                      /* 0: none */
    struct smtp_enhanced enhanced; /* cls 0: none */
    enum reply_class cls;
    struct slice rule, text;
};

enum inbound_result {
    INBOUND_TAKEN, /* an event was written, and is durable */
    INBOUND_KNOWN, /* the message had this already */
    INBOUND_GONE,  /* nothing is known of it (any more) */
    INBOUND_EARLY, /* it is still on its way: later */
    INBOUND_RESULTS
};
const char *inbound_result_name(enum inbound_result r); /* "taken", "known", "gone", "early" */

/* status 0, and a result for each; or ERR_*, e says why, and nothing is known to be written: ask again. On
 * the loop, never from inside. */
typedef void inbound_done(void *data, int status, const enum inbound_result *v, size_t n,
                          const struct err *e);
/* Copies v and its texts. */
void inbound_take(struct deliver *d, const struct inbound_mail *v, size_t n, inbound_done *done, void *data);
/* Who asked is gone: what is under way is finished, and nobody is told. */
void inbound_abandon(struct deliver *d);
/* Who asked is told ERR_AGAIN, now; what is under way is finished. */
void inbound_put_off(struct deliver *d);

/* --- for deliver.c: after the pool and the spool have ended --- */
void inbound_free(struct deliver *d);

#endif
