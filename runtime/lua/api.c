/* api.c - see api.h: the `hato` table, its handles, and the names looked up at the end. */
#include "lua/api_impl.h"
#include "base/words.h"
#include "format/mp.h"
#include "format/tz.h"
#include "platform/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_MOST = 32 << 20, DEPTH_MOST = 8 };

struct api *api_of(lua_State *L)
{
    struct api *api = vm_of(L)->api;
    INVARIANT(api);
    return api;
}

/* --- declarations --- */

void api_declaring(lua_State *L, const char *who)
{
    if (api_of(L)->sealed)
        vm_fail(L, "%s: too late; declare it before the first hato.send and before the main file ends", who);
}

const char *api_who(lua_State *L, const char *what, struct slice *name)
{
    struct arena *a = &api_of(L)->conf->arena;
    *name = arena_copy(a, vm_slice(L, lua_upvalueindex(1)));
    return arena_printf(a, "%s \"%.*s\"", what, SLICE_FMT(*name));
}

int api_curried(lua_State *L, const char *what, lua_CFunction take)
{
    if (lua_type(L, 1) != LUA_TSTRING || !lua_objlen(L, 1))
        vm_fail(L, "%s wants a name, as in %s \"name\" { … }, not %s", what, what, vm_describe(L, 1));
    struct slice name = vm_slice(L, 1);
    /* Names go into logs, events, file names and commands (campaign=NAME). */
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] <= ' ' || name.p[i] == 0x7f || name.p[i] == '"' || name.p[i] == '/' ||
            name.n > 100)
            vm_fail(L, "%s: a name has at most 100 bytes and no blank, quote, slash or control character: %s",
                    what, vm_describe(L, 1));
    bool whole = !lua_isnoneornil(L, 2);
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, take, 1);
    if (!whole)
        return 1;
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    return 1;
}

struct conf_place api_place(lua_State *L)
{
    int line;
    struct slice file = vm_place(L, &line);
    return (struct conf_place){arena_copy(&api_of(L)->conf->arena, file), line};
}

void *api_grow(lua_State *L, void *array_at, size_t *n, size_t *cap, size_t size, const char *who)
{
    char **array = array_at;
    if (*n >= CONF_NONE - 1)
        vm_fail(L, "%s: there are %zu already, which is as many as there may be", who, *n);
    if (*n == *cap) {
        *cap = *cap ? *cap * 2 : 8;
        char *more = arena_zalloc(&api_of(L)->conf->arena, *cap * size);
        if (*n)
            memcpy(more, *array, *n * size);
        *array = more;
    }
    char *slot = *array + (*n)++ * size;
    memset(slot, 0, size);
    return slot;
}

void api_name_later(lua_State *L, struct api_name name)
{
    struct api *api = api_of(L);
    *(struct api_name *)api_grow(L, &api->names, &api->nnames, &api->cap_names, sizeof name, name.who) = name;
}

/* Every kind is an array of structs that begin with their name. */
struct named {
    const char *kind;
    const void *v;
    size_t n, size;
};

static struct named named_of(const struct conf *c, enum api_name_kind kind)
{
    switch (kind) {
    case NAME_OF_STREAM:
        return (struct named){"stream", c->streams, c->nstreams, sizeof *c->streams};
    case NAME_OF_SOURCE:
    case NAME_OF_WARMED:
        return (struct named){"source", c->sources, c->nsources, sizeof *c->sources};
    case NAME_OF_WARMED_ISP:
        return (struct named){"isp", c->isps, c->nisps, sizeof *c->isps};
    case NAME_OF_POOL:
    case NAME_OF_OVERFLOW:
        break;
    }
    return (struct named){"pool", c->pools, c->npools, sizeof *c->pools};
}

static struct slice name_at(const struct named *all, size_t i)
{
    return *(const struct slice *)((const char *)all->v + i * all->size);
}

static uint16_t find_name(const struct named *all, struct slice name)
{
    for (size_t i = 0; i < all->n; i++)
        if (slice_eq(name_at(all, i), name))
            return (uint16_t)i;
    return CONF_NONE;
}

static int not_found(const struct api_name *name, const struct named *all, struct err *e)
{
    struct slice names[256];
    size_t n = all->n < COUNT(names) ? all->n : COUNT(names);
    char hint[160] = "";
    for (size_t i = 0; i < n; i++)
        names[i] = name_at(all, i);
    struct slice near = words_near(name->name, names, n);
    if (near.n)
        snprintf(hint, sizeof hint, "; did you mean \"%.*s\"?", SLICE_FMT(near));
    return err_set(e, ERR_INVAL, "%.*s:%d: %s: no %s \"%.*s\"%s", SLICE_FMT(name->place.file),
                   name->place.line, name->who, all->kind, SLICE_FMT(name->name), hint);
}

int api_seal(struct api *api, struct err *e)
{
    struct conf *c = api->conf;
    int r = api_isps_ready(api, e);
    if (r)
        return r;
    for (size_t i = 0; i < api->nnames; i++) {
        const struct api_name *name = &api->names[i];
        struct named all = named_of(c, name->kind);
        uint16_t found = find_name(&all, name->name);
        if (found == CONF_NONE)
            return not_found(name, &all, e);
        switch (name->kind) {
        case NAME_OF_STREAM:
            c->campaigns[name->owner].stream = found;
            break;
        case NAME_OF_SOURCE:
            c->pools[name->owner].members[name->member].source = found;
            break;
        case NAME_OF_POOL:
            c->streams[name->owner].pool = found;
            break;
        case NAME_OF_WARMED:
            c->warmups[name->owner].source = found;
            break;
        case NAME_OF_WARMED_ISP:
            c->warmups[name->owner].isp = found;
            break;
        case NAME_OF_OVERFLOW:
            c->warmups[name->owner].overflow = found;
            break;
        }
    }
    api->nnames = 0;
    r = api->sealed ? 0 : api_check_warmups(c, e);
    r = r || api->sealed ? r : api_check_spool(c, e);
    if (!r)
        api->sealed = true;
    return r;
}

/* --- handles --- */

struct handle {
    const char *kind;
    size_t n;
    char name[];
};

static int handle_tostring(lua_State *L)
{
    struct handle *h = luaL_checkudata(L, 1, "hato.handle");
    lua_pushfstring(L, "%s \"%s\"", h->kind, h->name);
    return 1;
}

void api_push_handle(lua_State *L, const char *kind, struct slice name)
{
    struct handle *h = lua_newuserdata(L, sizeof *h + name.n + 1);
    h->kind = kind;
    h->n = name.n;
    memcpy(h->name, name.p, name.n);
    h->name[name.n] = 0;
    luaL_getmetatable(L, "hato.handle");
    lua_setmetatable(L, -2);
}

/* The userdata at index, if its metatable is the one of that name; never raises. */
static void *is_a(lua_State *L, int index, const char *metatable)
{
    void *p = lua_touserdata(L, index);
    if (!p || !lua_getmetatable(L, index))
        return NULL;
    luaL_getmetatable(L, metatable);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    return same ? p : NULL;
}

struct slice api_name_of(struct conv *c, const char *field, int index, const char *kind)
{
    struct handle *h = is_a(c->L, index, "hato.handle");
    if (h && !strcmp(h->kind, kind))
        return arena_copy(c->arena, slice_of(h->name, h->n));
    if (h)
        conv_fail(c, "%s wants a %s, not the %s \"%s\"", field, kind, h->kind, h->name);
    if (lua_type(c->L, index) != LUA_TSTRING) {
        char want[96];
        snprintf(want, sizeof want, "a %s: what hato.%s returned, or its name", kind, kind);
        conv_wrong(c, field, want, index);
    }
    return conv_text(c, field, index);
}

/* --- files --- */

struct file_handle {
    size_t path_n, data_n;
    char bytes[];
};

struct slice api_read_file(struct conv *c, const char *field, struct slice path)
{
    struct api *api = api_of(c->L);
    struct err e;
    buf_clear(&api->text);
    vm_path(api->vm, path, &api->text);
    char *whole = lua_newuserdata(c->L, api->text.n + 1);
    memcpy(whole, buf_cstr(&api->text), api->text.n + 1);
    buf_clear(&api->text);
    if (fs_read_whole(api->vm->o.fs, whole, FILE_MOST, &api->text, &e))
        conv_fail(c, "%s%s%s", field, *field ? ": " : "", e.text);
    lua_pop(c->L, 1);
    lua_pushlstring(c->L, api->text.p ? api->text.p : "", api->text.n);
    if (api->text.cap > 1 << 20)
        buf_free(&api->text);
    return vm_slice(c->L, -1);
}

/* hato.file(path) */
static int file(lua_State *L)
{
    struct conv c = {L, &api_of(L)->scratch, "hato.file"};
    if (lua_type(L, 1) != LUA_TSTRING)
        vm_fail(L, "hato.file wants a path, not %s", vm_describe(L, 1));
    struct slice path = vm_slice(L, 1), data = api_read_file(&c, "", path);
    struct file_handle *f = lua_newuserdata(L, sizeof *f + path.n + data.n);
    f->path_n = path.n;
    f->data_n = data.n;
    memcpy(f->bytes, path.p, path.n);
    memcpy(f->bytes + path.n, data.p, data.n);
    luaL_getmetatable(L, "hato.file");
    lua_setmetatable(L, -2);
    return 1;
}

bool api_is_file(lua_State *L, int index, struct slice *path, struct slice *data)
{
    struct file_handle *f = is_a(L, index, "hato.file");
    if (!f)
        return false;
    *path = slice_of(f->bytes, f->path_n);
    *data = slice_of(f->bytes + f->path_n, f->data_n);
    return true;
}

static int file_tostring(lua_State *L)
{
    struct slice path, data;
    if (!api_is_file(L, 1, &path, &data))
        return luaL_argerror(L, 1, "hato.file expected");
    lua_pushlstring(L, path.p, path.n);
    return 1;
}

/* --- values: Lua ↔ msgpack --- */

static void put_value(struct conv *c, const char *what, int index, struct buf *out, int depth)
{
    lua_State *L = c->L;
    switch (lua_type(L, index)) {
    case LUA_TNIL:
        mp_put_nil(out);
        return;
    case LUA_TBOOLEAN:
        mp_put_bool(out, lua_toboolean(L, index));
        return;
    case LUA_TSTRING:
        mp_put_str(out, vm_slice(L, index));
        return;
    case LUA_TNUMBER: {
        double d = lua_tonumber(L, index);
        if (d == floor(d) && fabs(d) <= 9007199254740992.0) {
            if (d < 0)
                mp_put_int(out, (int64_t)d);
            else
                mp_put_uint(out, (uint64_t)d);
        } else if (isfinite(d)) {
            mp_put_double(out, d);
        } else {
            conv_fail(c, "%s is %s, which no template can print", what, vm_describe(L, index));
        }
        return;
    }
    case LUA_TTABLE:
        break;
    default:
        conv_fail(c, "%s is a %s; a value is a text, a number, true, false, or a table of these", what,
                  luaL_typename(L, index));
    }
    if (depth == DEPTH_MOST)
        conv_fail(c, "%s: tables lie more than %d deep in each other", what, DEPTH_MOST);
    luaL_checkstack(L, 8, "values are nested too deeply");
    int n = (int)lua_objlen(L, index);
    int nkeys = vm_sorted_keys(L, index);
    int keys = lua_gettop(L);
    if (n && nkeys)
        conv_fail(c, "%s is a list with names in it; a value is one or the other", what);
    if (n)
        mp_put_array(out, (uint32_t)n);
    else
        mp_put_map(out, (uint32_t)nkeys);
    for (int i = 1; i <= (n ? n : nkeys); i++) {
        if (n) {
            lua_rawgeti(L, index, i);
        } else {
            lua_rawgeti(L, keys, i);
            mp_put_str(out, vm_slice(L, -1));
            lua_rawget(L, index);
        }
        put_value(c, what, lua_gettop(L), out, depth + 1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

void api_put_value(struct conv *c, const char *what, int index, struct buf *out)
{
    put_value(c, what, index < 0 ? lua_gettop(c->L) + index + 1 : index, out, 0);
}

static bool push_value(lua_State *L, struct mp *m, int depth)
{
    struct mp_value v;
    if (depth > 32 || mp_next(m, &v) || !lua_checkstack(L, 8))
        return false;
    switch (v.kind) {
    case MP_NIL:
        lua_pushnil(L);
        return true;
    case MP_BOOL:
        lua_pushboolean(L, v.b);
        return true;
    case MP_INT:
        lua_pushnumber(L, (double)v.i);
        return true;
    case MP_UINT:
        lua_pushnumber(L, (double)v.u);
        return true;
    case MP_FLOAT:
        lua_pushnumber(L, v.d);
        return true;
    case MP_STR:
    case MP_BIN:
        lua_pushlstring(L, v.s.p, v.s.n);
        return true;
    case MP_ARRAY:
    case MP_MAP:
        break;
    }
    lua_newtable(L);
    for (uint32_t i = 1; i <= v.n; i++) {
        if (v.kind == MP_MAP && !push_value(L, m, depth + 1))
            return false;
        if (!push_value(L, m, depth + 1))
            return false;
        if (v.kind == MP_ARRAY)
            lua_rawseti(L, -2, (int)i);
        else if (lua_type(L, -2) != LUA_TSTRING)
            lua_pop(L, 2); /* ours have only names for keys; nil or NaN could not be one at all */
        else
            lua_rawset(L, -3);
    }
    return true;
}

bool api_push_value(lua_State *L, struct mp *m)
{
    int top = lua_gettop(L);
    bool whole = push_value(L, m, 0);
    if (!whole)
        lua_settop(L, top);
    return whole;
}

/* --- the table --- */

static int set_zone(lua_State *L)
{
    enum { ZONE_MOST = 1 << 20 };
    struct api *api = api_of(L);
    struct conv c = {L, &api->conf->arena, "hato.tz"};
    struct slice name = conv_text(&c, "it", 2);
    for (size_t i = 0; i < name.n; i++) {
        char ch = name.p[i];
        bool good = (ch >= '0' && ch <= '9') || ((ch | 32) >= 'a' && (ch | 32) <= 'z') || ch == '_' ||
                    ch == '-' || ch == '+' || (ch == '/' && i);
        if (!good || name.n > 60)
            conv_wrong(&c, "it", "the name of a time zone such as \"Asia/Tokyo\"", 2);
    }
    struct tz *tz = NULL;
    if (!slice_eq(name, S("UTC"))) {
        char *path = arena_printf(c.arena, "/usr/share/zoneinfo/%.*s", SLICE_FMT(name));
        buf_clear(&api->text);
        struct err e;
        int r = fs_read_whole(api->vm->o.fs, path, ZONE_MOST, &api->text, &e);
        if (r == ERR_NOTFOUND)
            conv_fail(&c, "no time zone \"%.*s\" on this machine (%s); names are such as \"Asia/Tokyo\"",
                      SLICE_FMT(name), path);
        if (r)
            conv_fail(&c, "%s", e.text);
        if (tz_parse(buf_slice(&api->text), &tz))
            conv_fail(&c, "%s is no time zone", path);
    }
    tz_free(api->tz);
    api->tz = tz;
    api->conf->tz = name;
    return 0;
}

/* hato.tz = "Asia/Tokyo": what assignment to the table means. The names are those of api.lua's options. */
static int set_option(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1), *who = lua_pushfstring(L, "hato.%s", name);
    struct conv c = {L, &api_of(L)->conf->arena, who};
    lua_insert(L, 1);
    api_declaring(L, who);
    if (strcmp(name, "isps")) {
        lua_remove(L, 1);
        return set_zone(L);
    }
    api_set_isps(L, conv_text(&c, "it", 3));
    return 0;
}

static int get_option(lua_State *L)
{
    const struct conf *conf = api_of(L)->conf;
    if (!strcmp(luaL_checkstring(L, 1), "isps")) {
        lua_pushstring(L, api_of(L)->isps_none ? "none" : "shipped");
        return 1;
    }
    lua_pushlstring(L, conf->tz.n ? conf->tz.p : "UTC", conf->tz.n ? conf->tz.n : 3);
    return 1;
}

/* fail(text): an error at the script's line, for hato's own Lua. */
static int fail(lua_State *L)
{
    vm_fail(L, "%s", luaL_checkstring(L, 1));
}

/* near(word, names): the name that was probably meant, or nil. */
static int near(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    size_t n = lua_objlen(L, 2);
    struct slice *names = lua_newuserdata(L, (n ? n : 1) * sizeof *names);
    luaL_checkstack(L, (int)n + 4, "too many names");
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (int)i + 1);
        names[i] = slice_of(luaL_checkstring(L, -1), lua_objlen(L, -1));
    }
    struct slice found = words_near(vm_slice(L, 1), names, n);
    if (found.n)
        lua_pushlstring(L, found.p, found.n);
    else
        lua_pushnil(L);
    return 1;
}

static int64_t zone(struct vm *vm, int64_t utc_s)
{
    return vm->api->tz ? tz_offset(vm->api->tz, utc_s) : 0;
}

int api_offset_at(void *arg, int64_t unix_s)
{
    const struct api *api = arg;
    return api->tz ? tz_offset(api->tz, unix_s) : 0;
}

const struct tz *api_zone(const struct api *api)
{
    return api->tz;
}

static void metatable(lua_State *L, const char *name, lua_CFunction to_string)
{
    luaL_newmetatable(L, name);
    lua_pushcfunction(L, to_string);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "none of a script's business");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

struct api *api_new(struct vm *vm, struct conf *conf, const struct api_host *host, const struct api_arg *args,
                    size_t nargs)
{
    struct api *api = mem_zalloc(sizeof *api);
    lua_State *L = vm->L;
    api->vm = vm;
    api->conf = conf;
    api->host = *host;
    vm->api = api;
    vm->zone = zone;
    api->hooks = hooks_new(api);
    metatable(L, "hato.handle", handle_tostring);
    metatable(L, "hato.file", file_tostring);
    lua_getfield(L, LUA_REGISTRYINDEX, "hato.core");
    api_declare_open(L);
    api_campaign_open(L);
    api_wait_open(L);
    api_dns_open(L);
    api_log_open(L);
    api_json_open(L);
    api_hooks_open(L);
    static const luaL_Reg functions[] = {{"file", file},
                                         {"set_option", set_option},
                                         {"get_option", get_option},
                                         {"fail", fail},
                                         {"near", near},
                                         {0}};
    luaL_register(L, NULL, functions);
    lua_createtable(L, 0, (int)nargs);
    for (size_t i = 0; i < nargs; i++) {
        lua_pushlstring(L, args[i].name.p, args[i].name.n);
        lua_pushlstring(L, args[i].value.p, args[i].value.n);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "args");
    lua_pop(L, 1);
    return api;
}

void api_set_host(struct api *api, const struct api_host *host)
{
    api->host = *host;
}

bool api_is_busy(const struct api *api)
{
    return task_waiting(api->vm) || hooks_waiting(api->hooks);
}

void api_free(struct api *api)
{
    if (!api)
        return;
    task_cancel_all(api->vm);
    api_every_free(api);
    hooks_free(api->hooks);
    tz_free(api->tz);
    arena_free(&api->scratch);
    buf_free(&api->text);
    api->vm->api = NULL;
    api->vm->zone = NULL;
    free(api);
}
