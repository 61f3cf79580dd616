/* limit_replay.h - which permits earlier processes took, from the journal: a limit goes on where it was.
 *
 * Nothing is written for it. A begin record is written at the moment from which a permit counts, and stays as
 * long as the longest period that a limit may have; what it does not say (campaign, domain) its message's
 * place in the queue says, or the message's event where the message is settled and its record gone. A new
 * connection counts by the first message that began on it.
 *
 * After power loss the last begin records may be lost: every limit then starts with as many permits taken as
 * it gives at once. */
#ifndef HATO_DELIVERY_LIMIT_REPLAY_H
#define HATO_DELIVERY_LIMIT_REPLAY_H

#include "delivery/deliver_impl.h"

/* While the journal is replayed. */
struct limit_replay {
    struct deliver *d;
    int64_t since_ms;  /* UTC; what is older counts no more; INT64_MAX: nothing is limited */
    int64_t behind_ms; /* UTC - this = loop_now_ms() */
    struct map begun;  /* message id → its begin record, where only the event says whose it was */
    bool opened;       /* a session's record was the last: the message that begins now is its first */
};

void limit_replay_start(struct limit_replay *lr, struct deliver *d);
/* Each record in its order, before it has changed the queue. */
void limit_replay_begin(struct limit_replay *lr, const struct rec_begin *b);
void limit_replay_event(struct limit_replay *lr, const struct rec_event *ev);
/* Of a session the first record only. */
void limit_replay_session(struct limit_replay *lr, const struct rec_session *s);
void limit_replay_end(struct limit_replay *lr, bool power_was_lost);

#endif
