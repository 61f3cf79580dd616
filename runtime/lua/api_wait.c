/* api_wait.c - hato.sleep and hato.every. */
#include "lua/api_impl.h"

#include <stdio.h>
#include <stdlib.h>

struct sleeper {
    struct loop_timer timer;
    struct vm *vm;
    struct task_wait wait;
};

static void on_slept(struct loop_timer *timer)
{
    struct sleeper *s = timer->data;
    struct vm *vm = s->vm;
    struct task_wait wait = s->wait;
    free(s);
    if (task_complete(vm, wait))
        task_resume(vm, wait, 0);
}

static void on_cancel_sleep(void *data)
{
    struct sleeper *s = data;
    loop_timer_stop(s->vm->o.loop, &s->timer);
    free(s);
}

/* hato.sleep "5 min" */
static int sleep_for(lua_State *L)
{
    struct vm *vm = vm_of(L);
    struct conv c = {L, &vm->api->scratch, "hato.sleep"};
    int64_t ms = conv_duration(&c, "it", 1);
    if (ms == INT64_MAX)
        conv_fail(&c, "forever is too long");
    struct task_wait wait = task_wait_begin(L, "hato.sleep");
    struct sleeper *s = mem_zalloc(sizeof *s);
    s->vm = vm;
    s->wait = wait;
    s->timer.data = s;
    loop_timer_start(vm->o.loop, &s->timer, ms, on_slept);
    return task_yield(L, wait, on_cancel_sleep, s);
}

/* One `every`: its next run is due a period after the last was due; a run that takes longer makes the next
 * ones wait for it and then leaves out those it missed. */
struct every {
    struct loop_timer timer;
    struct api *api;
    struct every *next;
    int64_t period_ms, due_ms;
    int fn;
    char name[64];
};

static void arm(struct every *v);

static void on_ran(void *data, const struct task_result *r)
{
    struct every *v = data;
    if (r->status == ERR_CANCELED)
        return;
    if (r->status)
        vm_log(v->api->vm, VM_ERROR, "task=\"%s\" error=\"%.*s\"", v->name, SLICE_FMT(r->error));
    arm(v);
}

static void on_due(struct loop_timer *timer)
{
    struct every *v = timer->data;
    lua_rawgeti(v->api->vm->L, LUA_REGISTRYINDEX, v->fn);
    task_start(v->api->vm, v->name, 0, on_ran, v);
}

static void arm(struct every *v)
{
    struct loop *loop = v->api->vm->o.loop;
    int64_t now = loop_now_ms(loop);
    v->due_ms += v->period_ms * (1 + (now - v->due_ms) / v->period_ms);
    loop_timer_start(loop, &v->timer, v->due_ms - now, on_due);
}

/* hato.every("1 h", function() … end) */
static int every(lua_State *L)
{
    struct api *api = api_of(L);
    struct conv c = {L, &api->scratch, "hato.every"};
    int64_t ms = conv_duration(&c, "its first argument", 1);
    if (ms < 100 || ms == INT64_MAX)
        conv_fail(&c, "its first argument wants a duration of \"100 ms\" or more, not %s", vm_describe(L, 1));
    if (!lua_isfunction(L, 2))
        conv_wrong(&c, "its second argument", "a function", 2);
    struct conf_place place = api_place(L);
    lua_settop(L, 2);
    struct every *v = mem_zalloc(sizeof *v);
    v->api = api;
    v->period_ms = ms;
    v->fn = luaL_ref(L, LUA_REGISTRYINDEX);
    snprintf(v->name, sizeof v->name, "every at %.*s:%d", (int)(place.file.n < 40 ? place.file.n : 40),
             place.file.p, place.line);
    v->next = api->every;
    api->every = v;
    v->timer.data = v;
    v->due_ms = loop_now_ms(api->vm->o.loop);
    arm(v);
    return 0;
}

void api_every_free(struct api *api)
{
    while (api->every) {
        struct every *v = api->every;
        api->every = v->next;
        loop_timer_stop(api->vm->o.loop, &v->timer);
        luaL_unref(api->vm->L, LUA_REGISTRYINDEX, v->fn);
        free(v);
    }
}

void api_wait_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"sleep", sleep_for}, {"every", every}, {0}};
    luaL_register(L, NULL, functions);
}
