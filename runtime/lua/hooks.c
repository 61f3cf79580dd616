/* hooks.c - see hooks.h. */
#include "lua/hooks.h"
#include "lua/api_impl.h"
#include "format/mp.h"

#include <stdio.h>
#include <stdlib.h>

enum { EDITS_MOST = 50, VALUE_MOST = 998 };

struct hooks {
    struct api *api;
    int fn[HOOK_COUNT]; /* LUA_NOREF: none */
    /* Events that wait: each is a msgpack map in queue, one behind the other. */
    struct buf queue;
    size_t queued, dropped;
    struct loop_task flush;
    bool running, ending;
};

static const struct conv_word kinds[] = {
    {"message", HOOK_MESSAGE}, {"reply", HOOK_REPLY}, {"events", HOOK_EVENTS}, {0}};

bool hooks_has(const struct api *api, enum hook_kind kind)
{
    return api->hooks->fn[kind] != LUA_NOREF;
}

/* hato.on("message", fn) */
static int on(lua_State *L)
{
    struct hooks *h = api_of(L)->hooks;
    struct conv c = {L, &h->api->scratch, "hato.on"};
    api_declaring(L, "hato.on"); /* what was sent before would go without it */
    int kind = conv_word(&c, "its first argument", 1, kinds);
    if (!lua_isfunction(L, 2))
        conv_wrong(&c, "its second argument", "a function", 2);
    if (h->fn[kind] != LUA_NOREF)
        conv_fail(&c, "there is a hook for \"%s\" already; one function takes them all", lua_tostring(L, 1));
    lua_settop(L, 2);
    h->fn[kind] = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void push_fields(lua_State *L, const struct hook_field *f, size_t n)
{
    lua_createtable(L, 0, (int)n);
    for (size_t i = 0; i < n; i++) {
        struct mp m = {f[i].text};
        switch (f[i].kind) {
        case HOOK_TEXT:
            lua_pushlstring(L, f[i].text.p, f[i].text.n);
            break;
        case HOOK_INT:
            lua_pushnumber(L, (double)f[i].n);
            break;
        case HOOK_BOOL:
            lua_pushboolean(L, f[i].n != 0);
            break;
        case HOOK_MSGPACK:
            if (!api_push_value(L, &m))
                continue;
            break;
        }
        lua_setfield(L, -2, f[i].name);
    }
}

/* --- message --- */

/* What a hook changes is kept beside the message, [name, value] by [name, value], in the buffer that its msg
 * holds. A msg outlives its hook when the script keeps it; then it takes no more edits. */
struct message_edits {
    struct buf pairs;
    uint32_t n;
    bool over;
};

struct message_call {
    struct message_edits *edits;
    int msg; /* keeps the msg, and so the edits, alive */
    hooks_message_fn *done;
    void *data;
    struct vm *vm;
};

static int edits_gc(lua_State *L)
{
    buf_free(&((struct message_edits *)lua_touserdata(L, 1))->pairs);
    return 0;
}

/* msg:header(name, value): one header, in place of one of that name that the campaign gives. */
static int msg_header(lua_State *L)
{
    struct api *api = api_of(L);
    struct conv c = {L, &api->scratch, "msg:header"};
    struct message_edits *edits = NULL;
    if (lua_istable(L, 1) && lua_getmetatable(L, 1)) {
        lua_getfield(L, -1, "edits");
        edits = lua_touserdata(L, -1);
        lua_settop(L, 3);
    }
    if (!edits)
        vm_fail(L, "msg:header is called with a colon: msg:header(name, value)");
    if (edits->over)
        vm_fail(L, "msg:header: the hook of this message has ended");
    if (lua_type(L, 2) != LUA_TSTRING)
        conv_wrong(&c, "the name", "a text", 2);
    if (lua_type(L, 3) != LUA_TSTRING && lua_type(L, 3) != LUA_TNUMBER)
        conv_wrong(&c, "the value", "a text", 3);
    struct slice name = vm_slice(L, 2), value = vm_slice(L, 3);
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] == ':')
            conv_fail(&c, "%s is no name of a header", vm_describe(L, 2));
    if (!name.n || name.n > 76)
        conv_fail(&c, "a name of a header has 1 to 76 characters");
    if (api->host.header_is_ours && api->host.header_is_ours(name))
        conv_fail(&c, "%.*s is hato's own to write", SLICE_FMT(name));
    if (value.n > VALUE_MOST)
        conv_fail(&c, "the value of %.*s has %zu bytes; at most %d", SLICE_FMT(name), value.n, VALUE_MOST);
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < ' ' || value.p[i] == 0x7f)
            conv_fail(&c, "the value of %.*s holds a line break or another control character",
                      SLICE_FMT(name));
    if (edits->n == EDITS_MOST)
        conv_fail(&c, "at most %d headers a message", EDITS_MOST);
    edits->n++;
    mp_put_array(&edits->pairs, 2);
    mp_put_str(&edits->pairs, name);
    mp_put_str(&edits->pairs, value);
    return 0;
}

static int msg_assign(lua_State *L)
{
    vm_fail(L, "msg.%s cannot be set; a hook changes headers, with msg:header(name, value)",
            lua_type(L, 2) == LUA_TSTRING ? lua_tostring(L, 2) : "?");
}

static void on_message(void *data, const struct task_result *r)
{
    struct message_call *call = data;
    struct message_edits *edits = call->edits;
    edits->over = true;
    if (r->status) {
        call->done(call->data, r->status, SLICE_NONE, r->error);
    } else {
        struct buf all = {0};
        if (edits->n) {
            mp_put_array(&all, edits->n);
            buf_adds(&all, buf_slice(&edits->pairs));
        }
        call->done(call->data, 0, buf_slice(&all), SLICE_NONE);
        buf_free(&all);
    }
    luaL_unref(call->vm->L, LUA_REGISTRYINDEX, call->msg);
    free(call);
}

void hooks_message(struct api *api, const struct hook_field *fields, size_t n, struct slice columns,
                   struct slice values, hooks_message_fn *done, void *data)
{
    lua_State *L = api->vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, api->hooks->fn[HOOK_MESSAGE]);

    /* msg: an empty table in front of its fields, so that an assignment is noticed. */
    lua_newtable(L);
    lua_createtable(L, 0, 4);
    push_fields(L, fields, n);
    lua_pushcfunction(L, msg_header);
    lua_setfield(L, -2, "header");
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, msg_assign);
    lua_setfield(L, -2, "__newindex");
    struct message_edits *edits = lua_newuserdata(L, sizeof *edits);
    *edits = (struct message_edits){0};
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, edits_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "edits");
    lua_setmetatable(L, -2);

    struct message_call *call = mem_alloc(sizeof *call);
    *call = (struct message_call){.edits = edits, .done = done, .data = data, .vm = api->vm};
    lua_pushvalue(L, -1);
    call->msg = luaL_ref(L, LUA_REGISTRYINDEX);

    /* person */
    lua_newtable(L);
    struct mp m = {values};
    struct mp_value head;
    uint32_t left = 0;
    if (values.n && !mp_next(&m, &head) && head.kind == MP_ARRAY)
        left = head.n;
    while (left-- && columns.n) {
        struct slice name = slice_cut(columns, 0x1f, &columns);
        if (!api_push_value(L, &m))
            break;
        lua_pushlstring(L, name.p, name.n);
        lua_insert(L, -2);
        lua_rawset(L, -3);
    }
    task_start(api->vm, "message hook", 2, on_message, call);
}

/* --- reply --- */

/* The class that is on top of the stack. */
static enum reply_class returned_class(struct conv *c)
{
    lua_State *L = c->L;
    enum reply_class cls;
    struct slice name = lua_type(L, -1) == LUA_TSTRING ? vm_slice(L, -1) : SLICE_NONE;
    if (!name.n)
        conv_wrong(c, "class", "a class such as \"blocked\" or \"mailbox_full\"", -1);
    if (class_parse(name, &cls)) {
        struct slice near = class_near(name);
        if (near.n)
            conv_fail(c, "no class \"%.*s\"; did you mean \"%.*s\"?", SLICE_FMT(name), SLICE_FMT(near));
        conv_fail(c, "no class \"%.*s\"", SLICE_FMT(name));
    }
    if (cls == CLASS_DELIVERED || cls == CLASS_FEEDBACK || cls == CLASS_AUTO_REPLY)
        conv_fail(c, "\"%.*s\" is no class of a refusal", SLICE_FMT(name));
    return cls;
}

/* What the hook returned (1) and how an error names the hook (2) → class number or nil, act or nil. A task of
 * its own, so that a wrong answer is an error like any other. */
static int check_reply(lua_State *L)
{
    struct conv c = {L, &api_of(L)->scratch, lua_tostring(L, 2)};
    struct act act;
    if (!lua_istable(L, 1))
        conv_fail(&c, "may return nil or { class = \"…\", act = … }, not %s", vm_describe(L, 1));
    int n = vm_sorted_keys(L, 1);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, 3, i);
        if (strcmp(lua_tostring(L, -1), "class") && strcmp(lua_tostring(L, -1), "act"))
            conv_fail(&c, "may return nil or { class = \"…\", act = … }; it does not know \"%s\"",
                      lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_getfield(L, 1, "act");
    if (!lua_isnil(L, -1) && !api_act_at(L, lua_gettop(L), &act))
        conv_wrong(&c, "act", "what hato.slow, suspend, suppress and their like return", lua_gettop(L));
    if (!lua_isnil(L, -1) && act.kind == ACT_RECONNECT)
        conv_fail(&c, "act may not be hato.reconnect: the connection has gone on; a rule can ask for it");
    lua_getfield(L, 1, "class");
    if (!lua_isnil(L, -1) || lua_isnil(L, -2)) {
        enum reply_class cls = returned_class(&c);
        lua_pop(L, 1);
        lua_pushinteger(L, cls);
    }
    lua_insert(L, -2);
    return 2;
}

struct reply_call {
    struct vm *vm;
    int fn;
    hooks_reply_fn *done;
    void *data;
};

static void end_reply(struct reply_call *call, const struct task_result *r, const struct hooks_answer *a)
{
    if (r->status && r->status != ERR_CANCELED)
        vm_log(call->vm, VM_ERROR, "task=\"reply hook\" error=\"%.*s\"", SLICE_FMT(r->error));
    call->done(call->data, a);
    free(call);
}

static void on_checked(void *data, const struct task_result *r)
{
    struct hooks_answer a = {0};
    struct act act;
    if (!r->status && !lua_isnil(r->L, -2)) {
        a.has_class = true;
        a.cls = (enum reply_class)lua_tointeger(r->L, -2);
    }
    if (!r->status && api_act_at(r->L, lua_gettop(r->L), &act))
        a.act = &act;
    end_reply(data, r, &a);
}

static void on_reply(void *data, const struct task_result *r)
{
    struct reply_call *call = data;
    lua_State *L = call->vm->L;
    lua_Debug ar;
    if (r->status || !r->n || lua_isnil(r->L, -r->n)) {
        end_reply(call, r, &(struct hooks_answer){0});
        return;
    }
    lua_pushcfunction(L, check_reply);
    lua_pushvalue(r->L, -r->n);
    lua_xmove(r->L, L, 1);
    /* The hook has returned, so its frame cannot name it any more. */
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->fn);
    lua_getinfo(L, ">S", &ar);
    if (ar.source[0] == '@')
        lua_pushfstring(L, "%s:%d: the reply hook", ar.source + 1, ar.linedefined);
    else
        lua_pushliteral(L, "the reply hook");
    task_run(call->vm, "reply hook", 2, on_checked, call);
}

void hooks_reply(struct api *api, const struct hook_field *reply, size_t nreply,
                 const struct hook_field *attempt, size_t nattempt, hooks_reply_fn *done, void *data)
{
    lua_State *L = api->vm->L;
    struct reply_call *call = mem_alloc(sizeof *call);
    *call = (struct reply_call){api->vm, api->hooks->fn[HOOK_REPLY], done, data};
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->fn);
    push_fields(L, reply, nreply);
    push_fields(L, attempt, nattempt);
    task_start(api->vm, "reply hook", 2, on_reply, call);
}

/* --- events --- */

static void flush(struct loop_task *task);

static void on_events(void *data, const struct task_result *r)
{
    struct hooks *h = data;
    h->running = false;
    if (r->status == ERR_CANCELED)
        return;
    if (r->status)
        vm_log(h->api->vm, VM_ERROR, "task=\"events hook\" error=\"%.*s\"", SLICE_FMT(r->error));
    if (h->queued)
        loop_post(h->api->vm->o.loop, &h->flush, flush);
}

static void flush(struct loop_task *task)
{
    struct hooks *h = task->data;
    if (h->ending) {
        hooks_free(h);
        return;
    }
    if (h->running || !h->queued)
        return;
    lua_State *L = h->api->vm->L;
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->fn[HOOK_EVENTS]);
    size_t n = h->queued < HOOKS_BATCH_MAX ? h->queued : HOOKS_BATCH_MAX;
    lua_createtable(L, (int)n, 0);
    struct mp m = {buf_slice(&h->queue)};
    for (size_t i = 1; i <= n; i++) {
        bool whole = api_push_value(L, &m);
        INVARIANT(whole);
        lua_rawseti(L, -2, (int)i);
    }
    buf_drop_front(&h->queue, h->queue.n - m.rest.n);
    h->queued -= n;
    if (h->dropped) {
        vm_log(h->api->vm, VM_WARN,
               "task=\"events hook\" dropped=%zu msg=\"the hook is slower than the mail\"", h->dropped);
        h->dropped = 0;
    }
    h->running = true;
    task_start(h->api->vm, "events hook", 1, on_events, h);
}

void hooks_event(struct api *api, const struct hook_field *f, size_t n)
{
    struct hooks *h = api->hooks;
    if (h->fn[HOOK_EVENTS] == LUA_NOREF)
        return;
    if (h->queued == HOOKS_EVENTS_MAX) {
        h->dropped++;
        return;
    }
    mp_put_map(&h->queue, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        mp_put_str(&h->queue, slice_cstr(f[i].name));
        switch (f[i].kind) {
        case HOOK_TEXT:
            mp_put_str(&h->queue, f[i].text);
            break;
        case HOOK_INT:
            if (f[i].n < 0)
                mp_put_int(&h->queue, f[i].n);
            else
                mp_put_uint(&h->queue, (uint64_t)f[i].n);
            break;
        case HOOK_BOOL:
            mp_put_bool(&h->queue, f[i].n != 0);
            break;
        case HOOK_MSGPACK: {
            struct mp m = {f[i].text};
            struct slice raw;
            if (mp_raw(&m, &raw))
                mp_put_nil(&h->queue);
            else
                buf_adds(&h->queue, raw);
            break;
        }
        }
    }
    h->queued++;
    if (!h->running)
        loop_post(api->vm->o.loop, &h->flush, flush);
}

size_t hooks_waiting(const struct hooks *h)
{
    return h->queued;
}

struct hooks *hooks_new(struct api *api)
{
    struct hooks *h = mem_zalloc(sizeof *h);
    h->api = api;
    h->flush.data = h;
    for (int i = 0; i < HOOK_COUNT; i++)
        h->fn[i] = LUA_NOREF;
    return h;
}

/* A posted task cannot be taken back: then the last run of flush() frees. */
void hooks_free(struct hooks *h)
{
    if (!h->ending)
        buf_free(&h->queue);
    h->ending = true;
    if (!h->flush.queued)
        free(h);
}

void api_hooks_open(lua_State *L)
{
    lua_pushcfunction(L, on);
    lua_setfield(L, -2, "on");
}
