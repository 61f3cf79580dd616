/* suppress_store.h - where a person's changes to the suppression list go: into the database of a folder at
 * rest, or to the hato that runs on it. */
#ifndef HATO_SUPPRESS_STORE_H
#define HATO_SUPPRESS_STORE_H

#include "delivery/suppress.h"

struct suppress_store;

/* Makes the folder if need be. What the journal of a folder at rest knows and the database does not is
 * applied first, so that a change counts as later than all that happened. ERR_LOCKED: a process has the
 * folder and does not answer; e names it. */
int suppress_store_open(const char *command, const char *state, struct suppress_store **out, struct err *e);
void suppress_store_close(struct suppress_store *st); /* NULL is fine */

int64_t suppress_store_now_ms(const struct suppress_store *st); /* UTC */
/* As suppress_change_now(): synced when it returns 0. After an error the first of them may be done, if there
 * were more than some hundred. */
int suppress_store_apply(struct suppress_store *st, struct suppress_change *v, size_t n, struct err *e);

/* The same list at the process's side. Request {"command":"suppress","changes":[…]}: answered with one line a
 * change, {"status":0,"was":"manual","touched":0}. */
struct control_call;
struct json_t;
void suppress_store_request(struct suppress *s, int64_t now_ms, struct control_call *call,
                            const struct json_t *request);

#endif
