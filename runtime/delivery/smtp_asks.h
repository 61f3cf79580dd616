/* smtp_asks.h - what a sending session asked and is owed replies to, in order, and how long each may take
 * (RFC 5321 4.5.3.2). For smtp_client alone.
 *
 * A reply always answers the head of the queue (RFC 2920 3.1). Bounded: a mail asks for three things at once,
 * and the next begins only when one reply of the one before is owed. */
#ifndef HATO_DELIVERY_SMTP_ASKS_H
#define HATO_DELIVERY_SMTP_ASKS_H

#include "delivery/smtp_client.h"

enum smtp_ask {
    ASK_BANNER,
    ASK_EHLO,
    ASK_HELO,
    ASK_STARTTLS,
    ASK_RSET,
    ASK_MAIL,
    ASK_RCPT,
    ASK_DATA,
    ASK_EOD,
    ASK_DOT, /* the end of an empty body nobody will get */
    ASK_QUIT,
    ASK_COUNT, /* nothing */
};

enum { ASKS_MAX = 8 };

struct smtp_asks { /* zero-initialised: nothing was asked */
    struct {
        enum smtp_ask what;
        uint64_t after; /* bytes that had come when it was asked */
    } v[ASKS_MAX];
    unsigned first, n;
    int64_t since_ms; /* when the head became it */
};

void smtp_asks_add(struct smtp_asks *q, enum smtp_ask what, uint64_t after, int64_t now_ms);
/* ASK_COUNT: nothing is owed. */
enum smtp_ask smtp_asks_head(const struct smtp_asks *q);
/* The head has its reply. Returns it. */
enum smtp_ask smtp_asks_pop(struct smtp_asks *q, int64_t now_ms);
/* Whether a reply that began at this byte came before its command. */
bool smtp_asks_too_early(const struct smtp_asks *q, uint64_t reply_from);

/* of ASK_COUNT: MAIL, the next thing that would have been asked. */
enum smtp_phase smtp_ask_phase(enum smtp_ask what);
int64_t smtp_ask_limit_ms(const struct smtp_client_conf *conf, enum smtp_ask what);

#endif
