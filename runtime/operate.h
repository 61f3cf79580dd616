/* operate.h - what people may ask of a hato that runs: the requests that its control socket takes.
 *
 *   {"command":"status"}                        counts, in the last line
 *   {"command":"queue"}                         a row a line: receiver × campaign; totals in the last
 *   {"command":"top"}                           the same, then a row a path and a row a campaign, with "row"
 *   {"command":"measures"}                      what is restricted now, one a line
 *   {"command":"wait","ids":["m1", …]}          why these wait, one a line
 *   {"command":"console","text":"…"}            console.h: what it printed and gave, in the last line
 *   {"command":"explain"}                       the journal is about to be read: what is known goes into it
 *   {"command":"suppress","changes":[…]}        suppress_store.h: what became of each, one a line
 *   {"command":"inbound","mails":[…]}           inbound_store.h: what became of each, one a line
 *   {"command":"pauses"}                        what people have paused, one a line
 *   {"command":"pause","what":["isp=gmail", …]} or resume, cancel (with "forget"), retry: how many were
 * touched
 *   {"command":"warmup", …}                     warmup_view.h: how far each is, or set one
 *   {"command":"reload","content":["hello"]}    where the program can: swap the script */
#ifndef HATO_OPERATE_H
#define HATO_OPERATE_H

#include "control.h"
#include "hato.h"

struct operate;

struct operate_conf {
    struct hato *hato; /* opened; what it has inside may be replaced between _pause() and _resume() */
    const char *state;
    void *data;
    /* Ends with control_end() on the call, now or later. NULL: this program cannot. */
    void (*reload)(void *data, struct control_call *call, const json_t *request);
};

/* Opens the control socket. */
int operate_new(const struct operate_conf *conf, struct operate **out, struct err *e);
/* What is being counted is given up: delivery is about to be replaced. Requests are told to come again until
 * _resume(). */
void operate_pause(struct operate *o);
void operate_resume(struct operate *o);
void operate_free(struct operate *o); /* NULL is fine */

#endif
