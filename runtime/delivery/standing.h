/* standing.h - where one message stands, by its records in the order of the journal.
 *
 * All who want to know it read it here: the start that takes a journal up, what settles a message while it
 * runs, and the commands that tell of one. Feed a zeroed standing the records of its message. */
#ifndef HATO_DELIVERY_STANDING_H
#define HATO_DELIVERY_STANDING_H

#include "format/record.h"
#include "format/reply_class.h"
#include "format/smtp_reply.h"

enum standing_state {
    STANDING_WAITING,   /* nobody has tried yet, or the next try has its time */
    STANDING_IN_FLIGHT, /* an attempt began and has no end: it runs, or the process ended in it */
    STANDING_HELD,
    STANDING_DELIVERED, /* this and what follows: it is over */
    STANDING_BOUNCED,
    STANDING_EXPIRED,
    STANDING_SUPPRESSED,
    STANDING_CANCELLED,
};
const char *standing_name(enum standing_state s); /* "waiting" … */

struct standing {
    uint8_t state;     /* enum standing_state */
    bool tried;        /* it has had an event other than accepted */
    bool charged;      /* the last one counted as an attempt */
    bool replied;      /* a reply ever came */
    uint8_t cls;       /* enum reply_class, of the last reply or of its end */
    uint8_t phase;     /* of the last reply, as in rec_event */
    uint16_t code;     /* of the last reply */
    uint32_t attempts; /* made and charged; one that began and has no end counts */
    uint32_t source;   /* NAME_SOURCE of its attempts, where the next goes from too; 0: any */
    struct smtp_enhanced enhanced;
    int64_t due_ms;   /* UTC; 0: at once, or not known */
    int64_t begun_ms; /* of the attempt in flight */
    int64_t clock_ms; /* its clock (clock.h) shows the time since then; 0: it has not begun */
    int64_t last_ms;  /* of the last event */
    int64_t date_s;   /* Date of the message; 0: not yet given */
    char *text;       /* owned; of the last reply, or why it is held or ended; NULL: none */
};

void standing_recipient(struct standing *s, const struct rec_recipient *r);
void standing_begin(struct standing *s, const struct rec_begin *b);
void standing_event(struct standing *s, const struct rec_event *ev);
void standing_due(struct standing *s, const struct rec_due *d);
bool standing_is_over(const struct standing *s);
void standing_free(struct standing *s); /* its text */

#endif
