/* hato.h - one hato: loop, files, net, script and delivery, put together. Everything of it hangs from here,
 * so a process may hold several and drop one at any time. `run`, `sim` and `message` are thin above this. */
#ifndef HATO_HATO_H
#define HATO_HATO_H

#include "delivery/deliver.h"
#include "lua/api.h"
#include "lua/hooks.h"
#include "opts.h"
#include "world.h"

struct hato;

struct hato_options {
    const char *script;
    const char *state;           /* folder */
    const char *dns;             /* "HOST:PORT"; NULL: the system's */
    uint16_t smtp_port;          /* 0: 25 */
    const struct opt_list *sets; /* KEY=VALUE; NULL: none */
    const struct opt_list *only; /* addresses: nobody else is sent to; NULL or empty: everybody */
    uint64_t limit;              /* at most so many are taken in; 0: no bound */
    const char *redirect;        /* NULL: none */
    bool memory_state;    /* the state folder is in memory: nothing is left behind (a test, `hato message`) */
    bool looks_at_people; /* with memory_state: the suppression list is that of the folder on disk */
    bool sends_nothing;   /* what the script sends while it loads is accepted and stays (a dry run) */
    /* A simulation: virtual clock, files and pipes in memory, receivers of this world. NULL: the real thing.
     */
    const struct world *world;
    uint64_t seed;
    int64_t start_ms; /* UTC; of a simulation */
    int64_t budget;   /* instructions a task of the script may run; 0: no end */
    /* Upward; each may be NULL. */
    void *data;
    void (*event)(void *data, const struct rec_event *ev);
    void (*notice)(void *data, int level, const char *text); /* level: enum vm_level */
    void (*print)(void *data, struct slice line);            /* what the script prints */
};

/* Loop, net, resolver, script state; nothing of the script runs yet. */
int hato_new(const struct hato_options *o, struct hato **out, struct err *e);
/* Run the script to its end. Turns the loop when the script waits (for a hato.send, a hato.sleep). ERR_INVAL
 * with file:line when it fails. Afterwards the declarations are fixed. */
int hato_load(struct hato *h, struct err *e);
/* Open the state folder: campaigns are bound, what was left is queued. hato_load() does it when the script
 * sends. */
int hato_open(struct hato *h, struct err *e);
void hato_free(struct hato *h);

/* --- another script in its place, all or nothing --- */

/* Read the script file again, beside the one that runs, in a Lua state of its own; done is called once,
 * later: 0, and it could take the place (hato_swap() or hato_next_drop() follow), or why it cannot, and
 * nothing is changed. content: campaigns whose content may differ from what was frozen; copied. ERR_AGAIN:
 * one is being read. Meanwhile nothing is sent by the new script: its hato.send returns nil and the reason.
 */
typedef void hato_next_fn(void *data, int status, const struct err *e);
int hato_next(struct hato *h, const struct opt_list *content, hato_next_fn *done, void *data, struct err *e);
void hato_next_drop(struct hato *h);
/* From outside the loop, nothing in flight, no run: delivery ends and begins again from its journal, as at a
 * start, with the new script. After an error (of the disk: the script was checked) the hato must be freed. */
int hato_swap(struct hato *h, struct err *e);

struct loop *hato_loop(struct hato *h);
struct net *hato_net(struct hato *h);
struct fs *hato_script_fs(struct hato *h); /* of what the script names */
const struct conf *hato_conf(const struct hato *h);
struct api *hato_api(struct hato *h);
struct vm *hato_vm(struct hato *h);                /* of the script */
struct deliver *hato_deliver(struct hato *h);      /* NULL before hato_open() */
struct deliver_counts hato_counts(struct hato *h); /* those since the start: through swaps */
struct resolve *hato_resolve(struct hato *h);
/* Its people are read: say what they should know who sent it (lint_campaign()). */
void hato_look_at(struct hato *h, const struct campaign *c);
/* Whether one more is taken in, by --only and --limit; key: addr_dup_key(). Then say that it was. */
bool hato_wants(const struct hato *h, struct slice key);
void hato_took(struct hato *h);
/* The script has something of its own under way that ends by itself: a task that waits, events for its hook.
 */
bool hato_script_is_busy(const struct hato *h);

#endif
