/* control.h - the control socket: how other commands talk with the hato that has a state folder.
 *
 * It is STATE/control, mode 0600, for its owner (and root) alone. A client sends one JSON object a line,
 * {"command":"queue", …}, and gets lines back: any number of objects, then one that has "ok". "ok" false
 * comes with "error", a sentence, and "code", an ERR_* number. One request of a client at a time, in order.
 *
 * What comes in is hostile: a line has at most CONTROL_LINE_BYTES, a client that says nothing for
 * CONTROL_IDLE_MS or does not read what it asked for is dropped, and so is one too many. */
#ifndef HATO_CONTROL_H
#define HATO_CONTROL_H

#include "platform/conn.h"

#include <jansson.h>

enum {
    CONTROL_LINE_BYTES = 65536,
    CONTROL_CLIENTS = 64,
    CONTROL_IDLE_MS = 60000,
    CONTROL_PENDING_BYTES = 16 << 20,
};

struct control;
struct control_call; /* one request, until control_end() */

struct control_conf {
    struct net *net;
    void *data;
    /* A request, borrowed for the call. Ends with control_end(), now or later. */
    void (*handle)(void *data, struct control_call *call, const json_t *request);
};

struct control *control_new(const struct control_conf *conf);
/* Listen in this folder, whose lock this process holds. */
int control_open(struct control *c, const char *state, struct err *e);
/* An on_accept_fn; data is the struct control. */
void control_accept(struct listener *l, struct conn *conn, void *data);
/* Closes everything; calls that are under way are dropped (they must not be ended any more). NULL is fine. */
void control_free(struct control *c);

/* A call that no client makes: what handle() answers goes to these; end: a status, and words as of
 * control_end(). To be given to handle() by the caller. */
struct control_call *control_local(struct control *c, void *data, void (*line)(void *data, struct slice json),
                                   void (*end)(void *data, int status, struct slice words));
/* Nobody waits for its answer any more. */
void control_local_drop(struct control_call *call);

/* One line of the answer: a JSON object without its line end. Thrown away when the client has gone. */
void control_line(struct control_call *call, struct slice json);
/* The last: status 0, with more members of its object ("\"touched\":3"; may be empty), or ERR_* and why. */
void control_end(struct control_call *call, int status, struct slice words);

/* --- the other side --- */

struct control_answer {
    void *data;
    void (*line)(void *data, const json_t *line); /* each but the last; may be NULL */
    json_t *last;                                 /* owned by the caller; NULL after an error */
};
/* Ask the hato that has this folder; waits for the answer. ERR_NOTFOUND: none runs there. ERR_TIMEOUT,
 * ERR_EOF: it did not answer. Else what it said. */
int control_ask(const char *state, struct slice request, int64_t timeout_ms, struct control_answer *answer,
                struct err *e);

#endif
