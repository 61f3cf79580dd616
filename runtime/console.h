/* console.h - hato console's other side: expressions that look into a running hato (lua/peek.h), one at a
 * time.
 *
 * Its questions are the control socket's own that change nothing: status(), queue(), top(), measures(),
 * pauses(), and why "m17". */
#ifndef HATO_CONSOLE_H
#define HATO_CONSOLE_H

#include "control.h"
#include "lua/peek.h"

/* Names of the questions; ends with NULL. */
extern const char *const console_questions[];

struct console;

/* handle: of the control socket; asked for what an expression asks for. */
struct console *console_new(struct loop *loop, struct control *control,
                            void (*handle)(void *data, struct control_call *call, const json_t *request),
                            void *data);
/* Ends the call: {"ok":true,"text":"…"}, or why not. */
void console_run(struct console *c, struct vm *script, struct control_call *call, struct slice text);
/* The script goes: what runs is ended. NULL is fine. */
void console_stop(struct console *c);
void console_free(struct console *c); /* before the control socket; NULL is fine */

#endif
