/* hooks.h - hato.on("message" | "reply" | "events"): the moments at which delivery asks a script.
 *
 * A hook that no script defines costs the caller one look: hooks_has(). What a hook is shown comes as a list
 * of fields, the same list that is printed as JSON, so that a script and a log call things by the same names.
 */
#ifndef HATO_LUA_HOOKS_H
#define HATO_LUA_HOOKS_H

#include "base/mem.h"
#include "format/reply_class.h"

struct api;
struct hooks;

enum hook_kind { HOOK_MESSAGE, HOOK_REPLY, HOOK_EVENTS, HOOK_COUNT };
bool hooks_has(const struct api *api, enum hook_kind kind);

enum hook_value { HOOK_TEXT, HOOK_INT, HOOK_BOOL, HOOK_MSGPACK };
struct hook_field {
    const char *name;
    enum hook_value kind;
    struct slice text; /* HOOK_TEXT; HOOK_MSGPACK: one raw value */
    int64_t n;         /* HOOK_INT; HOOK_BOOL: 0 or 1 */
};

/* Run the message hook before the message's first attempt. It may wait; any number may run at once. fields
 * are what msg can be asked for; columns (joined by 0x1f) and values (raw msgpack array) are the person. All
 * borrowed for the call. done is called once, perhaps before this returns: status 0 and edits, raw msgpack
 * [[name, value], …], empty if there are none; ERR_CANCELED when hato ends; else error says where the hook
 * failed, and the message is to be held. */
typedef void hooks_message_fn(void *data, int status, struct slice edits, struct slice error);
void hooks_message(struct api *api, const struct hook_field *fields, size_t n, struct slice columns,
                   struct slice values, hooks_message_fn *done, void *data);

struct act;
/* What the hook returned; neither: nil, or it failed (which is logged), or hato ends: then the rules decide.
 */
struct hooks_answer {
    bool has_class;
    enum reply_class cls;
    const struct act *act; /* borrowed for the call; NULL: none */
};
/* Ask the reply hook what a refusal means. It may wait. done is called once, perhaps before this returns. */
typedef void hooks_reply_fn(void *data, const struct hooks_answer *answer);
void hooks_reply(struct api *api, const struct hook_field *reply, size_t nreply,
                 const struct hook_field *attempt, size_t nattempt, hooks_reply_fn *done, void *data);

/* One event for the events hook. It gets them in batches: one runs at a time and may wait, the next begins
 * when it has ended and this turn is over. At most HOOKS_EVENTS_MAX wait; further ones are dropped for the
 * hook (the journal has them), counted, and logged. */
enum { HOOKS_BATCH_MAX = 1000, HOOKS_EVENTS_MAX = 100000 };
void hooks_event(struct api *api, const struct hook_field *fields, size_t n);

/* --- for api.c --- */
struct hooks *hooks_new(struct api *api);
void hooks_free(struct hooks *h);
size_t hooks_waiting(const struct hooks *h); /* events not yet taken by the hook */

#endif
