/* task.c - see task.h.
 *
 * A coroutine that ended well is used again, up to IDLE_MOST of them; one that failed or was cancelled has
 * frames on it that nobody will run, and is left to the collector. Slots are never freed while the vm lives,
 * and a slot's generation only grows: so a task_wait from long ago can always be told from a present one. */
#include "lua/task.h"
#include "lua/vm.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

enum { IDLE_MOST = 64 };
enum state { FREE, RUNNING, WAITING };

struct task {
    uint32_t slot, generation;
    enum state state;
    lua_State *L;
    int ref; /* holds L in the registry */
    char name[48];
    const char *what; /* the function it waits in */
    bool at_once;     /* may not wait */
    int64_t used;     /* instructions since the last wait, in steps of the count hook */
    void (*on_cancel)(void *data);
    void *cancel_data;
    task_done done;
    void *done_data;
    struct task *next_free;
};

struct tasks {
    struct vm *vm;
    struct task **v;
    size_t n;
    struct task *free;
    struct task *running;
    size_t waiting, idle;
    bool closing;
};

static void set_state(struct tasks *ts, struct task *t, enum state to)
{
    switch (t->state) {
    case FREE:
        INVARIANT(to == RUNNING);
        break;
    case RUNNING:
        INVARIANT(to == WAITING || to == FREE);
        break;
    case WAITING:
        INVARIANT(to == RUNNING || to == FREE);
        ts->waiting--;
        break;
    }
    if (to == WAITING)
        ts->waiting++;
    t->state = to;
}

/* The count hook: fires every BUDGET_STEP instructions, in whatever coroutine runs (LuaJIT has one for all).
 * With the JIT on it would never fire inside a compiled loop, so a budget turns the JIT off (vm.c). Once the
 * budget is spent every instruction raises: no pcall around the loop keeps it alive. */
enum { BUDGET_STEP = 10000 };
static void on_count(lua_State *L, lua_Debug *ar)
{
    struct vm *vm = vm_of(L);
    struct task *t = vm->tasks->running;
    if (!t)
        return;
    t->used += BUDGET_STEP;
    if (t->used > vm->o.budget) {
        lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
        vm_fail(L, "%s ran %d million instructions without waiting: an endless loop?", t->name,
                (int)(vm->o.budget / 1000000));
    }
}

struct tasks *tasks_new(struct vm *vm)
{
    struct tasks *ts = mem_zalloc(sizeof *ts);
    ts->vm = vm;
    if (vm->o.budget)
        lua_sethook(vm->L, on_count, LUA_MASKCOUNT, BUDGET_STEP);
    return ts;
}

static struct task *take(struct tasks *ts)
{
    struct task *t = ts->free;
    if (t) {
        ts->free = t->next_free;
    } else {
        t = mem_zalloc(sizeof *t);
        t->slot = (uint32_t)ts->n;
        ts->v = mem_realloc(ts->v, (ts->n + 1) * sizeof *ts->v);
        ts->v[ts->n++] = t;
    }
    if (t->L) {
        ts->idle--;
    } else {
        lua_State *L = ts->vm->L;
        t->L = lua_newthread(L);
        t->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    t->generation++;
    t->used = 0;
    return t;
}

/* Tell the owner, then give the slot back: results lie on the coroutine's stack until done returns. */
static void end(struct tasks *ts, struct task *t, struct task_result *result)
{
    task_done done = t->done;
    t->generation++;
    set_state(ts, t, FREE);
    if (done)
        done(t->done_data, result);
    else if (result->status && result->status != ERR_CANCELED)
        vm_log(ts->vm, VM_ERROR, "task=\"%s\" error=\"%.*s\"", t->name, SLICE_FMT(result->error));
    t->done = NULL;
    if (result->status || ts->idle >= IDLE_MOST) {
        luaL_unref(ts->vm->L, LUA_REGISTRYINDEX, t->ref);
        t->L = NULL;
    } else {
        lua_settop(t->L, 0);
        ts->idle++;
    }
    t->next_free = ts->free;
    ts->free = t;
}

static void run(struct tasks *ts, struct task *t, int nargs)
{
    struct task *outer = ts->running;
    ts->running = t;
    t->used = 0;
    int status = lua_resume(t->L, nargs);
    ts->running = outer;
    if (ts->vm->o.budget && t->used > ts->vm->o.budget)
        lua_sethook(ts->vm->L, on_count, LUA_MASKCOUNT, BUDGET_STEP);
    if (status == LUA_YIELD && t->state == WAITING)
        return;
    struct buf text = {0};
    struct task_result result = {.status = 0, .L = t->L};
    if (status == 0) {
        result.n = lua_gettop(t->L);
    } else {
        if (status == LUA_YIELD) {
            lua_settop(t->L, 0);
            lua_pushliteral(t->L, "coroutine.yield was called outside a coroutine of the script's own; to "
                                  "wait, call hato.sleep");
        }
        vm_traceback(t->L, &text);
        result = (struct task_result){.status = ERR_INVAL, .L = NULL, .error = buf_slice(&text)};
    }
    end(ts, t, &result);
    buf_free(&text);
}

static void start(struct vm *vm, const char *name, int nargs, bool at_once, task_done done, void *data)
{
    struct tasks *ts = vm->tasks;
    if (ts->closing) {
        lua_pop(vm->L, nargs + 1);
        if (done)
            done(data, &(struct task_result){.status = ERR_CANCELED, .error = S("hato is ending")});
        return;
    }
    struct task *t = take(ts);
    snprintf(t->name, sizeof t->name, "%s", name);
    t->at_once = at_once;
    t->done = done;
    t->done_data = data;
    set_state(ts, t, RUNNING);
    lua_xmove(vm->L, t->L, nargs + 1);
    run(ts, t, nargs);
}

void task_start(struct vm *vm, const char *name, int nargs, task_done done, void *data)
{
    start(vm, name, nargs, false, done, data);
}

void task_run(struct vm *vm, const char *name, int nargs, task_done done, void *data)
{
    start(vm, name, nargs, true, done, data);
}

struct task_wait task_wait_begin(lua_State *L, const char *what)
{
    struct tasks *ts = vm_of(L)->tasks;
    struct task *t = ts->running;
    if (!t)
        vm_fail(L, "%s waits, and nothing that runs now can wait", what);
    if (L != t->L)
        vm_fail(L,
                "%s waits, and cannot wait inside a coroutine of the script's own; call it outside "
                "coroutine.wrap",
                what);
    if (t->at_once)
        vm_fail(L, "%s waits, and a %s has to answer at once", what, t->name);
    if (!lua_isyieldable(L))
        vm_fail(L,
                "%s waits, and cannot wait inside table.sort, string.gsub, require or another function "
                "that calls back; call it outside",
                what);
    t->what = what;
    return (struct task_wait){t->slot, ++t->generation};
}

static struct task *find(struct tasks *ts, struct task_wait w)
{
    if (w.slot >= ts->n || ts->v[w.slot]->generation != w.generation)
        return NULL;
    return ts->v[w.slot];
}

int task_yield(lua_State *L, struct task_wait w, void (*on_cancel)(void *data), void *data)
{
    struct tasks *ts = vm_of(L)->tasks;
    struct task *t = find(ts, w);
    INVARIANT(t && t == ts->running && t->L == L && on_cancel);
    t->on_cancel = on_cancel;
    t->cancel_data = data;
    set_state(ts, t, WAITING);
    lua_settop(L, 0);
    return lua_yield(L, 0);
}

lua_State *task_complete(struct vm *vm, struct task_wait w)
{
    struct task *t = find(vm->tasks, w);
    if (!t) {
        vm_log(vm, VM_DEBUG, "task_slot=%u late completion, nobody waits", w.slot);
        return NULL;
    }
    INVARIANT(t->state == WAITING);
    return t->L;
}

void task_resume(struct vm *vm, struct task_wait w, int nresults)
{
    struct tasks *ts = vm->tasks;
    struct task *t = find(ts, w);
    INVARIANT(t && t->state == WAITING);
    t->on_cancel = NULL;
    t->generation++;
    set_state(ts, t, RUNNING);
    run(ts, t, nresults);
}

static void cancel(struct tasks *ts, struct task *t)
{
    t->on_cancel(t->cancel_data);
    t->on_cancel = NULL;
    end(ts, t, &(struct task_result){.status = ERR_CANCELED, .error = S("hato is ending")});
}

void task_cancel_all(struct vm *vm)
{
    struct tasks *ts = vm->tasks;
    INVARIANT(!ts->running);
    ts->closing = true;
    for (size_t i = 0; i < ts->n; i++) {
        if (ts->v[i]->state == WAITING)
            cancel(ts, ts->v[i]);
        INVARIANT(ts->v[i]->state == FREE);
    }
}

void tasks_free(struct tasks *ts)
{
    INVARIANT(ts->closing);
    for (size_t i = 0; i < ts->n; i++)
        free(ts->v[i]);
    free(ts->v);
    free(ts);
}

size_t task_waiting(const struct vm *vm)
{
    return vm->tasks->waiting;
}

const char *task_running(const struct vm *vm)
{
    return vm->tasks->running ? vm->tasks->running->name : "";
}
