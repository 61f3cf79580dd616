/* api.h - `hato`: what a script declares, as a struct conf; and what it asks for while it runs.
 *
 * Declarations (stream, source, pool, isp, bounces, campaign) fill the conf while the main file runs. A name
 * may be used before it is declared, so names are looked up at the end, by api_seal(). Afterwards another
 * declaration is an error; hato.send, hato.on, hato.every, hato.dns and the rest go on working.
 *
 * Hooks are hooks.h's. */
#ifndef HATO_LUA_API_H
#define HATO_LUA_API_H

#include "delivery/conf.h"
#include "format/tz.h"
#include "lua/vm.h"
#include "platform/resolve.h"

/* One hato.send. Borrowed during the call of api_host.send. */
struct api_send {
    uint16_t stream;      /* in conf */
    struct slice to, key; /* key empty: none */
    struct conf_content content;
    struct slice columns;     /* names of the data, joined by 0x1f */
    struct slice values;      /* raw msgpack array, one value a column */
    int64_t at_ms, expire_ms; /* as conf_campaign */
    bool missing_empty;
};

struct api_host {
    void *data;
    /* hato.send: take it in. 0: api_sent() is called later, from the loop, never from inside. Else the send
     * failed for the reason in e (ERR_EXISTS: known under its key). NULL: sending is an error here. */
    int (*send)(void *data, const struct api_send *send, struct task_wait wait, struct err *e);
    struct resolve *resolve;                   /* hato.dns; NULL: an error here */
    bool (*header_is_ours)(struct slice name); /* headers that no script may set; NULL: none */
};

struct api_arg {
    struct slice name, value; /* --set NAME=VALUE */
};

/* After vm_new(), before vm_run(). conf is filled and borrowed until api_free(). args: hato.args; copied. */
struct api *api_new(struct vm *vm, struct conf *conf, const struct api_host *host, const struct api_arg *args,
                    size_t nargs);
/* Before vm_free(); a script may still be waiting. */
void api_free(struct api *api);

/* The host may change while nothing runs: the resolver made after the script was read. */
void api_set_host(struct api *api, const struct api_host *host);

/* No more declarations: look up every name. ERR_INVAL names the place, the name and the near one. To be
 * called when the main file ended, or before, when the first hato.send needs the conf. Again is nothing. */
int api_seal(struct api *api, struct err *e);

/* A message is durable (status 0: id says which) or was refused. A script that no longer waits is no error.
 */
void api_sent(struct api *api, struct task_wait wait, int status, struct slice id, struct slice why);

/* Seconds east of UTC in hato.tz at that time; any thread once the conf is sealed. arg: struct api *. */
int api_offset_at(void *arg, int64_t unix_s);
/* hato.tz itself, as long as the api; NULL: UTC. */
const struct tz *api_zone(const struct api *api);

/* Something of the script is under way and ends by itself: a task that waits, events that its hook has not
 * taken. A hato.every between two of its turns is not: it never ends. */
bool api_is_busy(const struct api *api);

/* --- people from an iterator --- */

struct api_person {
    struct slice email;
    struct slice columns; /* names joined by 0x1f, in byte order, the address among them */
    struct slice values;  /* raw msgpack array, one value a column */
};
/* status 0: person. ERR_EOF: no more. ERR_SYNTAX: this one is a bad row, go on. Else the iterator failed and
 * error says where. All borrowed for the call. */
typedef void api_person_fn(void *data, int status, const struct api_person *person, struct slice error);
/* Ask the campaign's iterator for the next person. It may wait; one question at a time a campaign. fn may be
 * called before this returns. */
void api_next_person(struct api *api, uint16_t campaign, api_person_fn *fn, void *data);

/* Does this column hold the address: email, e-mail, mail, メールアドレス …, in any case. */
bool api_is_address_column(struct slice name);

#endif
