/* api_json.c - hato.json: encode and decode, by Jansson. */
#include "lua/api_impl.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

enum { DEPTH_MOST = 100 };

/* A list by its metatable: what decode made from [], so that an empty one stays one. */
#define LIST "hato.json.list"

/* The root is Lua's to free, since anything below may raise. */
static int guard_gc(lua_State *L)
{
    json_decref(*(json_t **)lua_touserdata(L, 1));
    return 0;
}

static json_t **guard(lua_State *L)
{
    json_t **root = lua_newuserdata(L, sizeof *root);
    *root = NULL;
    if (luaL_newmetatable(L, "hato.json.guard")) {
        lua_pushcfunction(L, guard_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return root;
}

static bool is_list(lua_State *L, int index)
{
    if (lua_objlen(L, index) > 0)
        return true;
    if (!lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, LIST);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same;
}

/* Each value is hung into its parent before its own members are made: nothing is lost when one raises. */
static void build(lua_State *L, int index, int depth, json_t **root, json_t *list, json_t *object,
                  struct slice key)
{
    json_t *v = NULL;
    int type = lua_type(L, index);
    switch (type) {
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, index))
            vm_fail(L, "hato.json.encode: a light userdata has no form in JSON");
        v = json_null();
        break;
    case LUA_TBOOLEAN:
        v = json_boolean(lua_toboolean(L, index));
        break;
    case LUA_TNUMBER: {
        double d = lua_tonumber(L, index);
        if (!isfinite(d))
            vm_fail(L, "hato.json.encode: %s has no form in JSON", vm_describe(L, index));
        v = d == floor(d) && fabs(d) <= 9007199254740992.0 ? json_integer((json_int_t)d) : json_real(d);
        break;
    }
    case LUA_TSTRING: {
        struct slice s = vm_slice(L, index);
        v = json_stringn(s.p, s.n);
        if (!v)
            vm_fail(L, "hato.json.encode: %s is not UTF-8", vm_describe(L, index));
        break;
    }
    case LUA_TTABLE:
        if (depth == DEPTH_MOST)
            vm_fail(L, "hato.json.encode: tables lie more than %d deep in each other", DEPTH_MOST);
        v = is_list(L, index) ? json_array() : json_object();
        break;
    default:
        vm_fail(L, "hato.json.encode: a %s has no form in JSON", luaL_typename(L, index));
    }
    if (list)
        json_array_append_new(list, v);
    else if (object && json_object_setn_new(object, key.p, key.n, v))
        vm_fail(L, "hato.json.encode: a name that is not UTF-8");
    else if (!object)
        *root = v;
    if (type != LUA_TTABLE)
        return;
    luaL_checkstack(L, 8, "tables are nested too deeply");
    int keys_n = vm_sorted_keys(L, index), keys = lua_gettop(L);
    int n = (int)lua_objlen(L, index);
    if (json_is_array(v) && keys_n)
        vm_fail(L, "hato.json.encode: a list with names in it");
    for (int i = 1; i <= (json_is_array(v) ? n : keys_n); i++) {
        if (json_is_array(v)) {
            lua_rawgeti(L, index, i);
            build(L, lua_gettop(L), depth + 1, root, v, NULL, SLICE_NONE);
        } else {
            lua_rawgeti(L, keys, i);
            lua_pushvalue(L, -1);
            lua_rawget(L, index);
            build(L, lua_gettop(L), depth + 1, root, NULL, v, vm_slice(L, -2));
        }
        lua_settop(L, keys);
    }
    lua_settop(L, keys - 1);
}

/* hato.json.encode(value): text. Names come in byte order. */
static int encode(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    json_t **root = guard(L);
    build(L, 1, 0, root, NULL, NULL, SLICE_NONE);
    char *text = json_dumps(*root, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    if (!text)
        vm_fail(L, "hato.json.encode: it cannot be written");
    lua_pushstring(L, text);
    free(text);
    return 1;
}

static void push(lua_State *L, const json_t *v, int depth)
{
    if (depth > DEPTH_MOST || !lua_checkstack(L, 8))
        vm_fail(L, "hato.json.decode: nested more than %d deep", DEPTH_MOST);
    switch (json_typeof(v)) {
    case JSON_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(v));
        break;
    case JSON_INTEGER:
        lua_pushnumber(L, (double)json_integer_value(v));
        break;
    case JSON_REAL:
        lua_pushnumber(L, json_real_value(v));
        break;
    case JSON_STRING:
        lua_pushlstring(L, json_string_value(v), json_string_length(v));
        break;
    case JSON_ARRAY: {
        size_t i;
        json_t *item;
        lua_createtable(L, (int)json_array_size(v), 0);
        luaL_getmetatable(L, LIST);
        lua_setmetatable(L, -2);
        json_array_foreach(v, i, item)
        {
            push(L, item, depth + 1);
            lua_rawseti(L, -2, (int)i + 1);
        }
        break;
    }
    case JSON_OBJECT: {
        void *at = json_object_iter((json_t *)(uintptr_t)v);
        lua_createtable(L, 0, (int)json_object_size(v));
        for (; at; at = json_object_iter_next((json_t *)(uintptr_t)v, at)) {
            lua_pushlstring(L, json_object_iter_key(at), json_object_iter_key_len(at));
            push(L, json_object_iter_value(at), depth + 1);
            lua_rawset(L, -3);
        }
        break;
    }
    }
}

/* hato.json.decode(text): value; or nil, text, "syntax". null is hato.json.null. */
static int decode(lua_State *L)
{
    struct api *api = api_of(L);
    struct conv c = {L, &api->scratch, "hato.json.decode"};
    if (lua_type(L, 1) != LUA_TSTRING)
        conv_wrong(&c, "it", "a text", 1);
    struct slice text = vm_slice(L, 1);
    json_error_t e;
    json_t **root = guard(L);
    *root = json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    if (!*root) {
        lua_pushnil(L);
        lua_pushfstring(L, "line %d, column %d: %s", e.line, e.column, e.text);
        lua_pushliteral(L, "syntax");
        return 3;
    }
    push(L, *root, 0);
    return 1;
}

/* hato.json.list(t): an empty table that encodes as []. */
static int list(lua_State *L)
{
    struct conv c = {L, &api_of(L)->scratch, "hato.json.list"};
    lua_settop(L, 1);
    if (lua_isnil(L, 1))
        lua_newtable(L);
    else if (!lua_istable(L, 1))
        conv_wrong(&c, "it", "a table", 1);
    luaL_getmetatable(L, LIST);
    lua_setmetatable(L, -2);
    return 1;
}

void api_json_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"encode", encode}, {"decode", decode}, {"list", list}, {0}};
    luaL_newmetatable(L, LIST);
    lua_pop(L, 1);
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_setfield(L, -2, "json");
}
