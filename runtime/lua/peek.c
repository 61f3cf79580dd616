/* peek.c - see peek.h. */
#include "lua/peek.h"
#include "platform/loop.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdlib.h>

enum { DEPTH_MOST = 4, SHOWN_MOST = 1000, UNYIELDABLE_MOST = 10, TICK_MS = 1 };

struct peek {
    struct peek_conf conf;
    lua_State *L, *co;
    struct loop_timer timer;
    int64_t deadline_ms;
    size_t memory;
    struct buf text, out;
    unsigned stuck; /* steps in which it could not be interrupted */
    bool asking;    /* a question is under way */
    bool in_ask, answered;
    bool over;
};

static void *allocate(void *data, void *p, size_t was, size_t n)
{
    struct peek *k = data;
    if (!n) {
        k->memory -= p ? was : 0;
        free(p);
        return NULL;
    }
    if (n > (p ? was : 0) && k->memory + (n - (p ? was : 0)) > PEEK_MEMORY)
        return NULL;
    void *q = realloc(p, n);
    if (q)
        k->memory += n - (p ? was : 0);
    return q;
}

static struct peek *peek_of(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "peek");
    struct peek *k = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return k;
}

/* --- what it may do to texts: nothing that runs long inside C --- */

/* string.find(s, word [, init]): plain words only, patterns may take for ever. */
static int find_plain(lua_State *L)
{
    size_t n, m;
    const char *s = luaL_checklstring(L, 1, &n), *w = luaL_checklstring(L, 2, &m);
    ptrdiff_t from = luaL_optinteger(L, 3, 1);
    if (from < 1 || (size_t)from > n + 1)
        return 0;
    ptrdiff_t at = slice_find(slice_of(s + from - 1, n - (size_t)from + 1), slice_of(w, m));
    if (at < 0)
        return 0;
    lua_pushinteger(L, at + from);
    lua_pushinteger(L, at + from + (ptrdiff_t)m - 1);
    return 2;
}

/* --- showing values --- */

static void show(lua_State *L, int index, struct buf *out, int depth);

static void show_table(lua_State *L, int index, struct buf *out, int depth)
{
    int shown = 0;
    buf_addc(out, '{');
    for (size_t i = 1; i <= lua_objlen(L, index) && shown < SHOWN_MOST; i++, shown++) {
        buf_adds(out, shown ? S(", ") : S(" "));
        lua_rawgeti(L, index, (int)i);
        show(L, lua_gettop(L), out, depth + 1);
        lua_pop(L, 1);
    }
    int n = vm_sorted_keys(L, index), keys = lua_gettop(L);
    for (int i = 1; i <= n && shown < SHOWN_MOST; i++, shown++) {
        lua_rawgeti(L, keys, i);
        buf_adds(out, shown ? S(", ") : S(" "));
        buf_adds(out, vm_slice(L, -1));
        buf_adds(out, S(" = "));
        lua_rawget(L, index);
        show(L, lua_gettop(L), out, depth + 1);
        lua_pop(L, 1);
    }
    lua_settop(L, keys - 1);
    buf_adds(out, shown >= SHOWN_MOST ? S(", … }") : shown ? S(" }") : S("}"));
}

static void show(lua_State *L, int index, struct buf *out, int depth)
{
    if (out->n > PEEK_OUTPUT || !lua_checkstack(L, 8))
        return;
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        if (depth)
            buf_addc(out, '"');
        buf_adds(out, vm_slice(L, index));
        if (depth)
            buf_addc(out, '"');
        return;
    case LUA_TNUMBER:
        lua_pushvalue(L, index);
        buf_adds(out, vm_slice(L, -1));
        lua_pop(L, 1);
        return;
    case LUA_TBOOLEAN:
        buf_adds(out, lua_toboolean(L, index) ? S("true") : S("false"));
        return;
    case LUA_TTABLE:
        if (depth < DEPTH_MOST)
            show_table(L, index, out, depth);
        else
            buf_adds(out, S("{ … }"));
        return;
    case LUA_TUSERDATA:
        buf_adds(out, S("a table of the script"));
        return;
    default:
        buf_adds(out, slice_cstr(lua_typename(L, lua_type(L, index))));
        return;
    }
}

/* The work in `show` may raise when memory is over: it is called by Lua. */
static int print(lua_State *L)
{
    struct peek *k = peek_of(L);
    int n = lua_gettop(L);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            buf_addc(&k->out, '\t');
        show(L, i, &k->out, 0);
    }
    buf_addc(&k->out, '\n');
    return 0;
}

/* --- the script's values, by raw access: no metamethod, no code of its own ever runs --- */

/* Of a table of the script: where it is held in the script's registry. */
struct remote {
    int ref;
};

static int push_copy(lua_State *L, lua_State *from);

static int remote_gc(lua_State *L)
{
    struct remote *r = luaL_checkudata(L, 1, "remote");
    struct peek *k = peek_of(L);
    if (k->conf.script)
        luaL_unref(k->conf.script->L, LUA_REGISTRYINDEX, r->ref);
    r->ref = LUA_NOREF;
    return 0;
}

/* Takes the value off the top of the script's stack. */
static int push_copy(lua_State *L, lua_State *from)
{
    size_t n;
    const char *p;
    switch (lua_type(from, -1)) {
    case LUA_TSTRING:
        p = lua_tolstring(from, -1, &n);
        lua_pushlstring(L, p, n);
        break;
    case LUA_TNUMBER:
        lua_pushnumber(L, lua_tonumber(from, -1));
        break;
    case LUA_TBOOLEAN:
        lua_pushboolean(L, lua_toboolean(from, -1));
        break;
    case LUA_TTABLE: {
        struct remote *r = lua_newuserdata(L, sizeof *r);
        r->ref = LUA_NOREF;
        luaL_getmetatable(L, "remote");
        lua_setmetatable(L, -2);
        r->ref = luaL_ref(from, LUA_REGISTRYINDEX);
        return 1;
    }
    case LUA_TNIL:
        lua_pushnil(L);
        break;
    default:
        lua_pushfstring(L, "(a %s)", lua_typename(from, lua_type(from, -1)));
        break;
    }
    lua_pop(from, 1);
    return 1;
}

static int remote_index(lua_State *L)
{
    struct remote *r = luaL_checkudata(L, 1, "remote");
    lua_State *from = peek_of(L)->conf.script->L;
    int type = lua_type(L, 2);
    size_t n;
    const char *key = type == LUA_TSTRING ? lua_tolstring(L, 2, &n) : NULL;
    if (type != LUA_TSTRING && type != LUA_TNUMBER)
        return luaL_error(L, "a table of the script is asked by name or number");
    lua_rawgeti(from, LUA_REGISTRYINDEX, r->ref);
    if (key)
        lua_pushlstring(from, key, n);
    else
        lua_pushnumber(from, lua_tonumber(L, 2));
    lua_rawget(from, -2);
    lua_remove(from, -2);
    return push_copy(L, from);
}

static int remote_newindex(lua_State *L)
{
    return luaL_error(L, "this prompt may look, and change nothing");
}

static int remote_len(lua_State *L)
{
    struct remote *r = luaL_checkudata(L, 1, "remote");
    lua_State *from = peek_of(L)->conf.script->L;
    lua_rawgeti(from, LUA_REGISTRYINDEX, r->ref);
    lua_pushinteger(L, (lua_Integer)lua_objlen(from, -1));
    lua_pop(from, 1);
    return 1;
}

/* keys(t): the names in a table of the script, or of the prompt's own. */
static int keys(lua_State *L)
{
    int n = 0;
    if (lua_istable(L, 1)) {
        vm_sorted_keys(L, 1);
        return 1;
    }
    struct remote *r = luaL_checkudata(L, 1, "remote");
    lua_State *from = peek_of(L)->conf.script->L;
    lua_newtable(L);
    lua_rawgeti(from, LUA_REGISTRYINDEX, r->ref);
    for (lua_pushnil(from); lua_next(from, -2); lua_pop(from, 1)) {
        size_t m;
        if (lua_type(from, -2) != LUA_TSTRING || n == SHOWN_MOST)
            continue;
        const char *p = lua_tolstring(from, -2, &m);
        lua_pushlstring(L, p, m);
        lua_rawseti(L, -2, ++n);
    }
    lua_pop(from, 1);
    return 1;
}

/* --- questions --- */

static int question(lua_State *L)
{
    struct peek *k = peek_of(L);
    const char *name = lua_tostring(L, lua_upvalueindex(1));
    size_t n = 0;
    const char *argument = lua_isnoneornil(L, 1) ? "" : luaL_checklstring(L, 1, &n);
    if (L != k->co || !lua_isyieldable(L))
        return luaL_error(L, "%s() is asked outside of functions that call back", name);
    k->asking = true;
    k->in_ask = true;
    k->answered = false;
    struct slice about = slice_of(argument, n);
    lua_settop(L, 1); /* it holds the argument */
    k->conf.ask(k->conf.data, k, name, about);
    k->in_ask = false;
    if (!k->answered)
        return lua_yield(L, 0);
    k->asking = false;
    return lua_gettop(L);
}

static void push_json(lua_State *L, const json_t *j)
{
    const char *name;
    json_t *value;
    size_t i;
    luaL_checkstack(L, 8, "the answer is too deep");
    switch (json_typeof(j)) {
    case JSON_OBJECT:
        lua_newtable(L);
        json_object_foreach((json_t *)j, name, value)
        {
            push_json(L, value);
            lua_setfield(L, -2, name);
        }
        return;
    case JSON_ARRAY:
        lua_newtable(L);
        json_array_foreach(j, i, value)
        {
            push_json(L, value);
            lua_rawseti(L, -2, (int)i + 1);
        }
        return;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(j), json_string_length(j));
        return;
    case JSON_INTEGER:
    case JSON_REAL:
        lua_pushnumber(L, json_number_value(j));
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(j));
        return;
    case JSON_NULL:
        lua_pushnil(L);
        return;
    }
}

static int push_json_safely(lua_State *L)
{
    const json_t *j = lua_touserdata(L, 1);
    lua_settop(L, 0);
    push_json(L, j);
    return 1;
}

/* --- running --- */

static void over(struct peek *k, int status)
{
    k->over = true;
    loop_timer_stop(k->conf.loop, &k->timer);
    k->conf.done(k->conf.data, status, buf_slice(&k->out));
}

static void on_count(lua_State *L, lua_Debug *ar)
{
    struct peek *k = peek_of(L);
    if (L == k->co && lua_isyieldable(L)) {
        if (k->stuck)
            lua_sethook(L, on_count, LUA_MASKCOUNT, PEEK_STEP);
        k->stuck = 0;
        lua_yield(L, 0);
        return;
    }
    if (++k->stuck <= UNYIELDABLE_MOST)
        return;
    /* From now on every instruction raises: no pcall keeps it alive. */
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    luaL_error(L, "this runs too long inside a function that calls back");
}

static int show_results(lua_State *L)
{
    struct peek *k = peek_of(L);
    int n = lua_gettop(L);
    for (int i = 1; i <= n; i++) {
        show(L, i, &k->out, 0);
        buf_addc(&k->out, '\n');
    }
    return 0;
}

static void fail(struct peek *k, struct slice why)
{
    buf_adds(&k->out, why);
    over(k, ERR_INVAL);
}

static void on_step(struct loop_timer *t);

static void go_on(struct peek *k, int nargs)
{
    int status = lua_resume(k->co, nargs);
    if (k->out.n > PEEK_OUTPUT) {
        fail(k, S("… and more than may be printed"));
    } else if (status == LUA_YIELD && k->asking) {
        return; /* peek_answer() comes */
    } else if (status == LUA_YIELD) {
        lua_settop(k->co, 0);
        if (loop_now_ms(k->conf.loop) >= k->deadline_ms)
            fail(k, S("it ran for 5 s and was ended: an endless loop?"));
        else
            loop_timer_start(k->conf.loop, &k->timer, TICK_MS, on_step);
    } else if (status) {
        struct slice why = lua_isstring(k->co, -1) ? vm_slice(k->co, -1) : S("an error that is no text");
        fail(k, why);
    } else {
        int n = lua_gettop(k->co);
        lua_pushcfunction(k->co, show_results);
        lua_insert(k->co, 1);
        if (lua_pcall(k->co, n, 0, 0))
            fail(k, S("the result needs too much memory"));
        else
            over(k, 0);
    }
}

/* The words as an expression, or else as statements. */
static bool compile(struct peek *k)
{
    struct buf b = {0};
    buf_adds(&b, S("return "));
    buf_adds(&b, buf_slice(&k->text));
    int r = luaL_loadbufferx(k->co, b.p, b.n, "=console", "t");
    buf_free(&b);
    if (!r)
        return true;
    /* "1 +" is an expression without its end, and a statement without a beginning. */
    bool cut = slice_find(vm_slice(k->co, -1), S("'<eof>'")) >= 0;
    if (!luaL_loadbufferx(k->co, k->text.p ? k->text.p : "", k->text.n, "=console", "t")) {
        lua_remove(k->co, -2);
        return true;
    }
    fail(k, vm_slice(k->co, cut ? -2 : -1));
    return false;
}

static int open_all(lua_State *L)
{
    static const char *const keep[] = {"assert", "error",    "ipairs",   "next", "pairs",  "pcall",
                                       "select", "tonumber", "tostring", "type", "unpack", "xpcall"};
    static const char *const texts[] = {"byte", "char",    "format", "len",  "lower",
                                        "rep",  "reverse", "sub",    "upper"};
    static const char *const tables[] = {"concat", "maxn"};
    static const luaL_Reg meta[] = {{"__index", remote_index},
                                    {"__newindex", remote_newindex},
                                    {"__len", remote_len},
                                    {"__gc", remote_gc},
                                    {NULL, NULL}};
    struct peek *k = peek_of(L);
    lua_pushcfunction(L, luaopen_base);
    lua_call(L, 0, 0);
    lua_pushcfunction(L, luaopen_string);
    lua_call(L, 0, 0);
    lua_pushcfunction(L, luaopen_table);
    lua_call(L, 0, 0);
    lua_pushcfunction(L, luaopen_math);
    lua_call(L, 0, 0);
    lua_newtable(L); /* all that it sees */
    int env = lua_gettop(L);
    for (size_t i = 0; i < COUNT(keep); i++) {
        lua_getglobal(L, keep[i]);
        lua_setfield(L, env, keep[i]);
    }
    lua_newtable(L);
    lua_getglobal(L, "string");
    for (size_t i = 0; i < COUNT(texts); i++) {
        lua_getfield(L, -1, texts[i]);
        lua_setfield(L, -3, texts[i]);
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, find_plain);
    lua_setfield(L, -2, "find");
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1); /* also ("text"):match() is gone */
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 2);
    lua_setfield(L, env, "string");
    lua_newtable(L);
    lua_getglobal(L, "table");
    for (size_t i = 0; i < COUNT(tables); i++) {
        lua_getfield(L, -1, tables[i]);
        lua_setfield(L, -3, tables[i]);
    }
    lua_pop(L, 1);
    lua_setfield(L, env, "table");
    lua_getglobal(L, "math");
    lua_setfield(L, env, "math");
    lua_pushcfunction(L, print);
    lua_setfield(L, env, "print");
    lua_pushcfunction(L, keys);
    lua_setfield(L, env, "keys");
    luaL_newmetatable(L, "remote");
    for (const luaL_Reg *m = meta; m->name; m++) {
        lua_pushcfunction(L, m->func);
        lua_setfield(L, -2, m->name);
    }
    lua_pushliteral(L, "a table of the script");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    for (size_t i = 0; k->conf.names[i]; i++) {
        lua_pushstring(L, k->conf.names[i]);
        lua_pushcclosure(L, question, 1);
        lua_setfield(L, env, k->conf.names[i]);
    }
    if (k->conf.script) {
        lua_pushvalue(k->conf.script->L, LUA_GLOBALSINDEX);
        push_copy(L, k->conf.script->L);
        lua_setfield(L, env, "script");
    }
    lua_replace(L, LUA_GLOBALSINDEX);
    return 0;
}

static void on_begin(struct loop_timer *t)
{
    struct peek *k = CONTAINER(t, struct peek, timer);
    lua_pushcfunction(k->L, open_all);
    if (lua_pcall(k->L, 0, 0, 0)) {
        fail(k, S("no memory for a prompt"));
        return;
    }
    k->co = lua_newthread(k->L);
    lua_setfield(k->L, LUA_REGISTRYINDEX, "peek.co"); /* holds it */
    lua_sethook(k->co, on_count, LUA_MASKCOUNT, PEEK_STEP);
    if (compile(k))
        go_on(k, 0);
}

static void on_step(struct loop_timer *t)
{
    struct peek *k = CONTAINER(t, struct peek, timer);
    int n = k->asking ? lua_gettop(k->co) : 0;
    k->asking = false;
    go_on(k, n);
}

struct peek *peek_start(const struct peek_conf *conf, struct slice text)
{
    struct peek *k = mem_zalloc(sizeof *k);
    k->conf = *conf;
    k->deadline_ms = loop_now_ms(conf->loop) + PEEK_DEADLINE_MS;
    buf_adds(&k->text, text);
    k->L = lua_newstate(allocate, k);
    INVARIANT(k->L);
    luaJIT_setmode(k->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF); /* else its steps are not counted */
    lua_pushlightuserdata(k->L, k);
    lua_setfield(k->L, LUA_REGISTRYINDEX, "peek");
    loop_timer_start(conf->loop, &k->timer, 0, on_begin);
    return k;
}

/* nil and why, as everywhere in hato's Lua. */
void peek_answer(struct peek *k, json_t *answer, struct slice error)
{
    INVARIANT(k->asking && !k->over);
    lua_State *co = k->co;
    k->answered = true;
    lua_settop(k->L, 0);
    lua_settop(co, 0);
    if (answer) {
        lua_pushcfunction(k->L, push_json_safely);
        lua_pushlightuserdata(k->L, answer);
        if (lua_pcall(k->L, 1, 1, 0)) {
            lua_settop(k->L, 0);
            lua_pushnil(co);
            lua_pushliteral(co, "the answer needs too much memory");
        } else {
            lua_xmove(k->L, co, 1);
        }
    } else {
        lua_pushnil(co);
        lua_pushlstring(co, error.p, error.n);
    }
    json_decref(answer);
    if (!k->in_ask)
        loop_timer_start(k->conf.loop, &k->timer, TICK_MS, on_step);
}

void peek_free(struct peek *k)
{
    if (!k)
        return;
    loop_timer_stop(k->conf.loop, &k->timer);
    lua_close(k->L);
    buf_free(&k->text);
    buf_free(&k->out);
    free(k);
}
