/* journal.h - a state folder as those see it who only look: without its lock, also while a process writes. */
#ifndef HATO_JOURNAL_H
#define HATO_JOURNAL_H

#include "delivery/event.h"
#include "platform/loop.h"

#define JOURNAL_STATE_DEFAULT "./hato-state"

struct journal;

/* state NULL: JOURNAL_STATE_DEFAULT. ERR_NOTFOUND with a sentence if there is no such folder, or nothing in
 * it is a journal. Damage is told on stderr under the name of the command. */
int journal_open(const char *command, const char *state, struct journal **out, struct err *e);
void journal_close(struct journal *j);

/* fn for every record, names and sessions learnt before: the first time of all that is there, after that of
 * what has come since. Not 0 ends the reading with that code. */
int journal_read(struct journal *j, int (*fn)(void *data, const struct rec *r), void *data, struct err *e);

const char *journal_state(const struct journal *j);
const struct event_names *journal_names(const struct journal *j);
const struct secret *journal_secret(const struct journal *j); /* NULL: the folder has none */
struct loop *journal_loop(struct journal *j);

#endif
