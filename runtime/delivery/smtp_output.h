/* smtp_output.h - what a sending session has to say: events in order, the bytes of its writes, and how far a
 * body has come. For smtp_client alone.
 *
 * A body whose owner promised that it needs no change goes out as its own pieces, untouched. Any other is
 * doubled its dots (RFC 5321 4.5.2) a chunk at a time, and the next chunk is made only when the events before
 * were taken: so what is kept here stays small however long the mail is. */
#ifndef HATO_DELIVERY_SMTP_OUTPUT_H
#define HATO_DELIVERY_SMTP_OUTPUT_H

#include "delivery/smtp_client.h"
#include "format/smtp_data.h"

/* Events are few at a time: bounded by what one call of the client can add. */
enum { SMTP_OUTPUT_EVENTS = 16 };

struct smtp_output { /* zero-initialised: nothing to say */
    struct smtp_event v[SMTP_OUTPUT_EVENTS];
    size_t at[SMTP_OUTPUT_EVENTS]; /* of a WRITE: where in bytes */
    unsigned first, n;
    struct buf bytes;

    uint64_t queued, written; /* bytes: in WRITE and WRITE_BODY so far; handed to the kernel */
    uint64_t body_end;        /* `queued` behind the last dot */
    int64_t progress_ms;      /* when `written` last grew, or the body began */

    const struct smtp_mail *stuffing; /* whose dots are doubled; NULL: nobody's */
    struct smtp_dot dot;
    size_t piece, offset; /* how far */
};

/* A new event; valid until the next call. */
struct smtp_event *smtp_output_push(struct smtp_output *o, enum smtp_event_type type,
                                    const struct smtp_mail *mail);
/* Append to the newest event if it is a WRITE, else to a new one. */
void smtp_output_put(struct smtp_output *o, struct slice bytes);
/* The oldest event; false: there is none. Its bytes are valid until the next call. */
bool smtp_output_take(struct smtp_output *o, struct smtp_event *ev);

/* A body and what ends it. Both return whether the final dot is in; false: go on with smtp_output_stuff(). */
bool smtp_output_body(struct smtp_output *o, const struct smtp_mail *mail, int64_t now_ms);
bool smtp_output_stuff(struct smtp_output *o);

/* So many bytes in all were handed to the kernel. Returns whether the last of the body was among the new
 * ones. */
bool smtp_output_written(struct smtp_output *o, uint64_t total_bytes, int64_t now_ms);
/* Whether some of the body is not with the kernel, by that count. */
bool smtp_output_body_waits(const struct smtp_output *o);
/* Whether its last byte may be with the kernel. Under TLS the count may be short of it by what encryption
 * adds to the bytes behind; a doubt is decided for "may". */
bool smtp_output_body_may_have_left(const struct smtp_output *o, bool in_tls);

void smtp_output_free(struct smtp_output *o);

#endif
