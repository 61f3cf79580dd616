/* task.h - pooled coroutines in which scripts run and wait.
 *
 *   FREE ──start──▶ RUNNING ──end, error──▶ FREE (done is called)
 *                    │   ▲
 *              yield │   │ resume
 *                    ▼   │
 *                   WAITING ──cancel──▶ FREE (done is called with ERR_CANCELED)
 *
 * Each wait has a generation of its own. A completion names the wait it belongs to; when that wait is over
 * (cancelled, or completed before), the completion is a line in the log and nothing else. */
#ifndef HATO_LUA_TASK_H
#define HATO_LUA_TASK_H

#include "base/mem.h"

#include <lua.h>

struct vm;
struct tasks;

/* One wait of one task. Zero is none. */
struct task_wait {
    uint32_t slot, generation;
};

struct task_result {
    int status;   /* 0, ERR_INVAL for a Lua error, ERR_CANCELED */
    lua_State *L; /* with status 0: the n results are on top of this stack */
    int n;
    struct slice error; /* else: for people, with file:line; borrowed during the call */
};
typedef void (*task_done)(void *data, const struct task_result *result);

struct tasks *tasks_new(struct vm *vm);
/* Cancel all that wait; done is called for each. From then on nothing starts. */
void task_cancel_all(struct vm *vm);
void tasks_free(struct tasks *ts); /* after task_cancel_all() */

/* Start the function that lies on vm->L below its nargs arguments (all are taken off). Runs at once, until
 * its first wait. name is for the log ("message hook"), copied. done may be NULL: then a failure is logged.
 */
void task_start(struct vm *vm, const char *name, int nargs, task_done done, void *data);

/* The same for a function that must come to its end at once: whatever waits in it raises an error. */
void task_run(struct vm *vm, const char *name, int nargs, task_done done, void *data);

/* For a C function that waits. First, before anything is begun: raises an error that names `what`
 * ("hato.sleep") when the caller cannot wait here. May raise. */
struct task_wait task_wait_begin(lua_State *L, const char *what);

/* Then, as its last act: `return task_yield(L, w, on_cancel, data)`. on_cancel ends the operation and frees
 * data; it is called instead of a completion, never after one. */
int task_yield(lua_State *L, struct task_wait w, void (*on_cancel)(void *data), void *data);

/* The operation is complete. Returns the stack to push results on, or NULL when nobody waits any more
 * (logged); then `task_resume` with their number, which runs the task until its next wait. Never from inside
 * the C function that waits, before its task_yield: post to the loop for that. */
lua_State *task_complete(struct vm *vm, struct task_wait w);
void task_resume(struct vm *vm, struct task_wait w, int nresults);

/* How many tasks wait now. */
size_t task_waiting(const struct vm *vm);
/* Name of the task that runs now; "" if none does. */
const char *task_running(const struct vm *vm);

#endif
