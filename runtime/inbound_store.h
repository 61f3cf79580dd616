/* inbound_store.h - where the findings of returned mail go: to the hato that runs on a state folder, or into
 * the journal of a folder at rest. */
#ifndef HATO_INBOUND_STORE_H
#define HATO_INBOUND_STORE_H

#include "delivery/inbound.h"
#include "format/verp.h"

struct inbound_store;

/* ERR_NOTFOUND: no such folder, or nothing was ever sent from it, so that nothing can come back. */
int inbound_store_open(const char *state, struct inbound_store **out, struct err *e);
void inbound_store_close(struct inbound_store *st); /* NULL is fine */

/* What its return paths are made with. */
const struct verp_key *inbound_store_key(const struct inbound_store *st);

/* 0, and a result for each: durable. After an error (nobody has the folder's lock and answers, a disk that is
 * full) the first of them may be done, if there were many; all may be given again. */
int inbound_store_give(struct inbound_store *st, const struct inbound_mail *v, size_t n,
                       enum inbound_result *results, struct err *e);

/* The process's side of it. Request {"command":"inbound","mails":[…]}: answered with one line a mail,
 * {"result":"taken"}. */
struct control_call;
struct json_t;
void inbound_store_request(struct deliver *d, struct control_call *call, const struct json_t *request);

#endif
