/* smtp_data.h - a message as DATA carries it (RFC 5321 4.5.2): CRLF line ends, a leading dot doubled, a line
 * of one dot behind it. Both directions, in pieces of any size. */
#ifndef HATO_FORMAT_SMTP_DATA_H
#define HATO_FORMAT_SMTP_DATA_H

#include "base/mem.h"

/* --- out: any bytes to DATA --- */
struct smtp_dot { /* zero-initialised: at the start of a message */
    bool in_line, after_cr;
};
/* Append the next bytes of a message. A CR or LF that stands alone becomes CRLF. At most twice as long. */
void smtp_dot_add(struct smtp_dot *d, struct slice in, struct buf *out);
/* Append what ends it: the CRLF of an unfinished line, and the final dot. */
void smtp_dot_end(struct smtp_dot *d, struct buf *out);

/* --- in: DATA to the message. Only CRLF . CRLF ends it, whatever else looks similar: a receiver that sees an
 * end where others see none can be made to take a second mail out of the first. --- */
struct smtp_undot { /* zero-initialised: at the start of a message */
    int state;
};
/* Take bytes off *in. 1: *piece is the next bytes of the message (never empty; in *in, or static), call
 * again. 0: the message has ended, *in is what follows. ERR_AGAIN: all is used and more is needed. */
int smtp_undot_next(struct smtp_undot *u, struct slice *in, struct slice *piece);

#endif
