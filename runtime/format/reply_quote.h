/* reply_quote.h - a reply as returned mail and people quote it: Diagnostic-Code fields (RFC 3464 2.3.6),
 * "host mx said: 550-5.1.1 No such 550 5.1.1 user", the argument of hato classify. No session's reply: that
 * is smtp_reply.h. */
#ifndef HATO_FORMAT_REPLY_QUOTE_H
#define HATO_FORMAT_REPLY_QUOTE_H

#include "format/smtp_reply.h"

struct reply_quote {
    int code; /* 400 to 599; 0: none is quoted */
    bool has_enhanced;
    struct smtp_enhanced enhanced; /* the one beside the code; without a code the first in the text */
    struct slice text;             /* as smtp_reply.text has it, from the code on; without a code all of it */
};

/* Never fails. out->text lies in room, which is cleared first; valid until it changes. */
void reply_quote_read(struct slice s, struct buf *room, struct reply_quote *out);

#endif
