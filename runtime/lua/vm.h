/* vm.h - one Lua state: loads a script, knows who runs in it, and words its errors.
 *
 * A hato has one. Nothing here is process-wide: two may live in one process and one may be dropped at any
 * time. The state's libraries are described in libs.h, its coroutines in task.h.
 *
 * A function marked "may raise" leaves by longjmp: the caller holds nothing across it that somebody else does
 * not own. */
#ifndef HATO_LUA_VM_H
#define HATO_LUA_VM_H

#include "base/err.h"
#include "base/mem.h"
#include "lua/task.h"

#include <lua.h>

struct loop;
struct fs;
struct api;

enum vm_level { VM_DEBUG, VM_INFO, VM_WARN, VM_ERROR };

struct vm_options {
    struct loop *loop; /* borrowed, outlives the vm */
    struct fs *fs;     /* where scripts and what they name are read; borrowed */
    bool unsafe;       /* the operator allows ffi, os.execute and io.popen */
    bool reproducible; /* sim and test: order and names that depend on the seed alone (libs.h) */
    int64_t budget;    /* instructions a task may run between two waits; 0: no end. Turns the JIT off */
    /* What print() says and what hato.log and failed tasks say; NULL: standard output, standard error. */
    void (*print)(void *data, struct slice line);
    void (*log)(void *data, enum vm_level level, struct slice text);
    void *data;
};

struct vm {
    struct vm_options o;
    lua_State *L;        /* the main thread: never runs a script itself, only starts tasks */
    struct tasks *tasks; /* task.c */
    struct api *api;     /* api.c; NULL where a vm has only the language */
    char *dir;           /* the script's folder, "" or ending in '/'; paths in a script are relative to it */
    char *script;        /* the main file as it was named */
    int64_t (*zone)(struct vm *, int64_t utc_s); /* seconds east of UTC; NULL: UTC */
    uint64_t serial;                             /* of the next table that tostring() names */
};

struct vm *vm_new(const struct vm_options *o); /* options are copied */
void vm_free(struct vm *vm);                   /* cancels every task; NULL is fine */

/* Run the file as a task: it may wait. done is called once, perhaps before this returns: when the file is at
 * its end, or failed (result->error has file:line and what led there). A file that cannot be read or compiled
 * is such a failure too. One file a vm. */
void vm_run(struct vm *vm, const char *path, task_done done, void *data);

struct vm *vm_of(lua_State *L);

/* The nearest line of a script (hato's own Lua and C left out) that led here: "init.lua", 12. line is 0 when
 * there is none. file is borrowed until the next call into Lua. */
struct slice vm_place(lua_State *L, int *line);

/* Raise "init.lua:12: " + text at that place. May raise, always does. */
_Noreturn void vm_fail(lua_State *L, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* For people: the error value on top of co's stack, and below it the script's own frames that led to it. */
void vm_traceback(lua_State *co, struct buf *out);

/* Path as the script wrote it → path to open: relative to the script's folder. */
void vm_path(struct vm *vm, struct slice path, struct buf *out);

void vm_log(struct vm *vm, enum vm_level level, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A slice of the string at index; borrowed while it is on the stack. Only for values that are strings. */
struct slice vm_slice(lua_State *L, int index);

/* Push the value's short name for an error: 12, "text", a table, a function. May raise. */
const char *vm_describe(lua_State *L, int index);

/* Push a sequence of the table's string keys in byte order; returns how many. Other keys are not in it. */
int vm_sorted_keys(lua_State *L, int index);

#endif
