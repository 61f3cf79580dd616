/* steer.h - what people do to mail on its way: pause, resume, cancel, retry.
 *
 * A pause is a record of its own and holds until it is resumed, through restarts. Nothing of what is paused
 * begins any more; what is open ends. Cancelling settles: each message gets its event. A retry moves due
 * times, a record each. All of it is durable when done is called.
 *
 * What is in flight cannot be called back. It ends as it ends; cancelled, it has no next try. */
#ifndef HATO_DELIVERY_STEER_H
#define HATO_DELIVERY_STEER_H

#include "delivery/deliver.h"

enum steer_verb { STEER_PAUSE, STEER_RESUME, STEER_CANCEL, STEER_RETRY };
enum steer_kind {
    STEER_CAMPAIGN,
    STEER_STREAM,
    STEER_ISP,
    STEER_DOMAIN,
    STEER_SOURCE,
    STEER_ID,
    STEER_MEASURE, /* can be resumed only: it is lifted */
    STEER_KINDS
};

struct steer_order {
    enum steer_verb verb;
    enum steer_kind kind;
    struct slice name; /* "m17" for an id */
    bool forget;       /* with STEER_CANCEL of a campaign: its people may be sent to again */
};

/* touched: messages on their way that it is about. in_flight: of these. Once, later. */
typedef void steer_done(void *data, int status, uint64_t touched, uint64_t in_flight);

/* One at a time: ERR_AGAIN while another is being carried out. ERR_NOTFOUND, and e says what is not known;
 * ERR_INVAL. Works in steps, so that the loop is never away for long. */
int steer(struct deliver *d, const struct steer_order *o, steer_done *done, void *data, struct err *e);

/* What can be said of an order without knowing of any mail. ERR_INVAL. */
int steer_check(const struct steer_order *o, struct err *e);

/* "campaign=hello" → kind and name. ERR_INVAL names what is allowed. */
int steer_parse(struct slice word, enum steer_kind *kind, struct slice *name, struct err *e);
const char *steer_kind_name(enum steer_kind k);
/* "pause" …; ERR_NOTFOUND. */
int steer_verb_parse(struct slice word, enum steer_verb *out);

/* --- for the other rooms of delivery --- */
/* A record of a pause is replayed. */
void steer_replay(struct deliver *d, const struct rec_steer *r);
/* Everybody has a container: apply what was replayed to single messages. */
void steer_start(struct deliver *d);
/* A message that an attempt gave back, or a hook: true if it was cancelled or paused meanwhile and has gone
 * elsewhere. It is in no list. */
bool steer_takes(struct deliver *d, uint64_t id, struct lane *lane);
/* Delivery starts: what a cancel that was cut off has left over. */
void steer_go_on(struct deliver *d);
/* No more done(). */
void steer_stop(struct deliver *d);

#endif
