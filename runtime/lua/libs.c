/* libs.c - see libs.h. */
#include "lua/libs.h"
#include "lua/vm.h"
#include "platform/loop.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* --- time --- */

static int os_clock(lua_State *L)
{
    lua_pushnumber(L, (double)loop_now_ns(vm_of(L)->o.loop) / 1e9);
    return 1;
}

static int64_t zone(struct vm *vm, int64_t utc_s)
{
    return vm->zone ? vm->zone(vm, utc_s) : 0;
}

static int date_field(lua_State *L, const char *name, int otherwise)
{
    lua_getfield(L, 1, name);
    int value = otherwise;
    if (lua_isnumber(L, -1)) {
        double d = lua_tonumber(L, -1);
        if (!(d > -1e8 && d < 1e8))
            vm_fail(L, "os.time: no %s is %s", name, vm_describe(L, -1));
        value = (int)d;
    }
    if (value == INT32_MIN)
        vm_fail(L, "os.time: the table has no %s", name);
    lua_pop(L, 1);
    return value;
}

/* os.time(): now. os.time { year =, month =, day =, … }: that wall-clock time in hato.tz. */
static int os_time(lua_State *L)
{
    struct vm *vm = vm_of(L);
    if (lua_isnoneornil(L, 1)) {
        lua_pushnumber(L, (double)(loop_wall_ms(vm->o.loop) / 1000));
        return 1;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    struct tm tm = {.tm_sec = date_field(L, "sec", 0),
                    .tm_min = date_field(L, "min", 0),
                    .tm_hour = date_field(L, "hour", 12),
                    .tm_mday = date_field(L, "day", INT32_MIN),
                    .tm_mon = date_field(L, "month", INT32_MIN) - 1,
                    .tm_year = date_field(L, "year", INT32_MIN) - 1900};
    int64_t wall = timegm(&tm);
    /* Twice: the first guess may lie on the other side of a change of the clock. */
    int64_t utc = wall - zone(vm, wall);
    utc = wall - zone(vm, utc);
    lua_pushnumber(L, (double)utc);
    return 1;
}

static void set_int(lua_State *L, const char *name, int value)
{
    lua_pushinteger(L, value);
    lua_setfield(L, -2, name);
}

/* os.date(format, time): in hato.tz, or UTC behind "!". */
static int os_date(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const char *format = luaL_optstring(L, 1, "%c");
    int64_t utc = loop_wall_ms(vm->o.loop) / 1000;
    if (!lua_isnoneornil(L, 2)) {
        double d = luaL_checknumber(L, 2);
        if (!(d > -1e11 && d < 1e11))
            vm_fail(L, "os.date: %s is no time", vm_describe(L, 2));
        utc = (int64_t)d;
    }
    int64_t east = *format == '!' ? 0 : zone(vm, utc);
    format += *format == '!';
    time_t seconds = (time_t)(utc + east);
    struct tm tm;
    INVARIANT(gmtime_r(&seconds, &tm));
    if (!strncmp(format, "*t", 2)) {
        lua_createtable(L, 0, 9);
        set_int(L, "sec", tm.tm_sec);
        set_int(L, "min", tm.tm_min);
        set_int(L, "hour", tm.tm_hour);
        set_int(L, "day", tm.tm_mday);
        set_int(L, "month", tm.tm_mon + 1);
        set_int(L, "year", tm.tm_year + 1900);
        set_int(L, "wday", tm.tm_wday + 1);
        set_int(L, "yday", tm.tm_yday + 1);
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "isdst");
        return 1;
    }
    luaL_Buffer out;
    luaL_buffinit(L, &out);
    for (; *format; format++) {
        if (*format != '%' || !format[1]) {
            luaL_addchar(&out, *format);
            continue;
        }
        /* One conversion at a time: strftime says 0 for "too long" and for "empty" alike. */
        char one[3] = {'%', *++format, 0}, text[128];
        if (!strchr("aAbBcCdDeFgGhHIjmMnprRStTuUVwWxXyYzZ%", one[1]))
            vm_fail(L, "os.date: no conversion %%%c", one[1]);
        if (one[1] == 'z' || one[1] == 'Z') {
            int minutes = (int)(east < 0 ? -east : east) / 60;
            snprintf(text, sizeof text, "%c%02d%02d", east < 0 ? '-' : '+', minutes / 60, minutes % 60);
            luaL_addstring(&out, text);
        } else {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            luaL_addlstring(&out, text, strftime(text, sizeof text, one, &tm));
#pragma GCC diagnostic pop
        }
    }
    luaL_pushresult(&out);
    return 1;
}

/* --- chance --- */

static int math_random(lua_State *L)
{
    struct loop *loop = vm_of(L)->o.loop;
    if (lua_gettop(L) == 0) {
        lua_pushnumber(L, (double)(loop_random(loop) >> 11) / 9007199254740992.0);
        return 1;
    }
    bool both = lua_gettop(L) > 1;
    double low = both ? luaL_checknumber(L, 1) : 1, high = luaL_checknumber(L, both ? 2 : 1);
    if (!(low <= high) || low < -9e15 || high > 9e15)
        vm_fail(L, "math.random: there is no whole number from %.14g to %.14g", low, high);
    int64_t from = (int64_t)low, to = (int64_t)high;
    lua_pushnumber(L, (double)(from + (int64_t)loop_random_below(loop, (uint64_t)(to - from) + 1)));
    return 1;
}

/* The loop has the seed; what scripts do by habit changes nothing. */
static int math_randomseed(lua_State *L)
{
    return 0;
}

/* --- text only --- */

/* load and loadstring by way of a mode that refuses bytecode, which can do to memory what it likes. */
static int load_text(lua_State *L)
{
    bool is_function = lua_isfunction(L, 1);
    if (is_function) {
        /* Pieces, until nil or "". */
        luaL_Buffer out;
        lua_settop(L, 2);
        luaL_buffinit(L, &out);
        for (;;) {
            lua_pushvalue(L, 1);
            lua_call(L, 0, 1);
            if (!lua_isstring(L, -1) || lua_objlen(L, -1) == 0) {
                lua_pop(L, 1);
                break;
            }
            luaL_addvalue(&out);
        }
        luaL_pushresult(&out);
        lua_replace(L, 1);
    }
    struct slice text = slice_of(luaL_checkstring(L, 1), lua_objlen(L, 1));
    const char *name = luaL_optstring(L, 2, is_function ? "=(load)" : lua_tostring(L, 1));
    if (luaL_loadbufferx(L, text.p, text.n, name, "t")) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (lua_istable(L, 4)) {
        lua_pushvalue(L, 4);
        lua_setfenv(L, -2);
    }
    return 1;
}

static int print(lua_State *L)
{
    struct vm *vm = vm_of(L);
    int n = lua_gettop(L);
    luaL_Buffer out;
    lua_getglobal(L, "tostring");
    luaL_buffinit(L, &out);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&out, '\t');
        lua_pushvalue(L, n + 1);
        lua_pushvalue(L, i);
        lua_call(L, 1, 1);
        if (!lua_isstring(L, -1))
            vm_fail(L, "print: tostring gave no text");
        luaL_addvalue(&out);
    }
    luaL_pushresult(&out);
    struct slice line = vm_slice(L, -1);
    if (vm->o.print)
        vm->o.print(vm->o.data, line);
    else
        printf("%.*s\n", (int)line.n, line.p);
    return 0;
}

/* --- order (reproducible vms) --- */

/* Smaller first: numbers by value, then strings by bytes. */
static bool key_before(lua_State *L, int a, int b)
{
    bool text_a = lua_type(L, a) == LUA_TSTRING, text_b = lua_type(L, b) == LUA_TSTRING;
    if (text_a != text_b)
        return text_b;
    return text_a ? slice_cmp(vm_slice(L, a), vm_slice(L, b)) < 0 : lua_tonumber(L, a) < lua_tonumber(L, b);
}

static void check_key(lua_State *L, int index, const char *who)
{
    if (lua_type(L, index) != LUA_TSTRING && lua_type(L, index) != LUA_TNUMBER)
        vm_fail(L, "%s: a key that is a %s has no order that is the same in every run", who,
                luaL_typename(L, index));
}

/* next(t, k): the smallest key behind k. Reads the whole table each time; pairs() does not use it. */
static int ordered_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    bool first = lua_isnil(L, 2);
    if (!first)
        check_key(L, 2, "next");
    lua_pushnil(L); /* 3: the best so far */
    for (lua_pushnil(L); lua_next(L, 1);) {
        lua_pop(L, 1);
        check_key(L, 4, "next");
        if ((first || key_before(L, 2, 4)) && (lua_isnil(L, 3) || key_before(L, 4, 3))) {
            lua_pushvalue(L, 4);
            lua_replace(L, 3);
        }
    }
    lua_settop(L, 3);
    if (lua_isnil(L, 3))
        return 1;
    lua_pushvalue(L, 3);
    lua_rawget(L, 1);
    return 2;
}

/* A step over upvalue 1, the sorted keys; upvalue 2 counts. Keys whose value has gone meanwhile are left out.
 */
static int ordered_step(lua_State *L)
{
    int at = (int)lua_tointeger(L, lua_upvalueindex(2));
    for (;;) {
        lua_rawgeti(L, lua_upvalueindex(1), ++at);
        lua_pushinteger(L, at);
        lua_replace(L, lua_upvalueindex(2));
        if (lua_isnil(L, -1))
            return 1;
        lua_pushvalue(L, -1);
        lua_rawget(L, 1);
        if (!lua_isnil(L, -1))
            return 2;
        lua_pop(L, 2);
    }
}

struct key {
    double number;
    struct slice text; /* p NULL: a number */
};

static int compare_keys(const void *pa, const void *pb)
{
    const struct key *a = pa, *b = pb;
    if (!a->text.p || !b->text.p) {
        if (a->text.p || b->text.p)
            return a->text.p ? 1 : -1;
        return a->number < b->number ? -1 : a->number > b->number;
    }
    return slice_cmp(a->text, b->text);
}

static int ordered_pairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    size_t n = 0, i = 0;
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        check_key(L, -2, "pairs");
        n++;
    }
    struct key *keys = lua_newuserdata(L, (n ? n : 1) * sizeof *keys);
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        bool text = lua_type(L, -2) == LUA_TSTRING;
        keys[i++] = (struct key){text ? 0 : lua_tonumber(L, -2), text ? vm_slice(L, -2) : (struct slice){0}};
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    lua_createtable(L, (int)n, 0);
    for (i = 0; i < n; i++) {
        if (keys[i].text.p)
            lua_pushlstring(L, keys[i].text.p, keys[i].text.n);
        else
            lua_pushnumber(L, keys[i].number);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, ordered_step, 2);
    lua_pushvalue(L, 1);
    return 2;
}

/* "table: 7" instead of an address. Upvalue 1: weak table of serial numbers. */
static int serial_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    if (luaL_callmeta(L, 1, "__tostring"))
        return 1;
    int type = lua_type(L, 1);
    if (type != LUA_TTABLE && type != LUA_TFUNCTION && type != LUA_TTHREAD && type != LUA_TUSERDATA) {
        if (type == LUA_TNIL)
            lua_pushliteral(L, "nil");
        else if (type == LUA_TBOOLEAN)
            lua_pushstring(L, lua_toboolean(L, 1) ? "true" : "false");
        else
            lua_tostring(L, 1);
        return 1;
    }
    lua_pushvalue(L, 1);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_isnil(L, -1)) {
        lua_pushnumber(L, (double)++vm_of(L)->serial);
        lua_pushvalue(L, 1);
        lua_pushvalue(L, -2);
        lua_rawset(L, lua_upvalueindex(1));
    }
    lua_pushfstring(L, "%s: %s", luaL_typename(L, 1), lua_tostring(L, -1));
    return 1;
}

/* string.format: %s and %q print what tostring says, never an address. Upvalues: format, tostring. */
static int serial_format(lua_State *L)
{
    int n = lua_gettop(L), arg = 1;
    struct slice format = slice_of(luaL_checkstring(L, 1), lua_objlen(L, 1));
    for (size_t i = 0; i < format.n; i++) {
        if (format.p[i] != '%')
            continue;
        for (i++; i < format.n && strchr("-+ #0123456789.", format.p[i]); i++)
            ;
        if (i == format.n || format.p[i] == '%')
            continue;
        arg++;
        if (format.p[i] == 'p')
            vm_fail(L, "string.format: %%p prints an address, which is another one in every run");
        if (format.p[i] == 's' && arg <= n && lua_type(L, arg) != LUA_TSTRING) {
            lua_pushvalue(L, lua_upvalueindex(2));
            lua_pushvalue(L, arg);
            lua_call(L, 1, 1);
            lua_replace(L, arg);
        }
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, n, 1);
    return 1;
}

/* io.open for reading alone. Upvalue 1: io.open. */
static int read_only_open(lua_State *L)
{
    const char *mode = luaL_optstring(L, 2, "r");
    if (*mode != 'r' || strchr(mode, '+'))
        vm_fail(L, "io.open: nothing is written in a simulation");
    lua_settop(L, 2);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, LUA_MULTRET);
    return lua_gettop(L);
}

static int same_garbage(lua_State *L)
{
    lua_pushinteger(L, 0);
    return 1;
}

/* --- opening --- */

static void open_library(lua_State *L, const char *name, lua_CFunction open)
{
    lua_pushcfunction(L, open);
    lua_pushstring(L, name);
    lua_call(L, 1, 0);
}

/* library.name = the value on top; library "_G" are the globals. */
static void put(lua_State *L, const char *library, const char *name)
{
    lua_getglobal(L, library);
    lua_insert(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

static void put_function(lua_State *L, const char *library, const char *name, lua_CFunction fn)
{
    if (fn)
        lua_pushcfunction(L, fn);
    else
        lua_pushnil(L);
    put(L, library, name);
}

static void hide(lua_State *L, const char *library)
{
    lua_pushnil(L);
    lua_setglobal(L, library);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_pushnil(L);
    lua_setfield(L, -2, library);
    lua_pop(L, 1);
}

static void get(lua_State *L, const char *library, const char *name)
{
    lua_getglobal(L, library);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

static void make_reproducible(lua_State *L)
{
    put_function(L, "_G", "next", ordered_next);
    put_function(L, "_G", "pairs", ordered_pairs);
    put_function(L, "_G", "collectgarbage", same_garbage);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    lua_pushcclosure(L, serial_tostring, 1);
    lua_pushvalue(L, -1);
    put(L, "_G", "tostring");
    get(L, "string", "format");
    lua_insert(L, -2);
    lua_pushcclosure(L, serial_format, 2);
    put(L, "string", "format");
    get(L, "io", "open");
    lua_pushcclosure(L, read_only_open, 1);
    put(L, "io", "open");
    static const char *const writers[][2] = {{"io", "output"},    {"io", "tmpfile"}, {"os", "remove"},
                                             {"os", "rename"},    {"os", "tmpname"}, {"os", "getenv"},
                                             {"table", "foreach"}};
    for (size_t i = 0; i < COUNT(writers); i++)
        put_function(L, writers[i][0], writers[i][1], NULL);
}

void libs_open(struct vm *vm)
{
    static const struct {
        const char *name;
        lua_CFunction open;
    } libraries[] = {{"", luaopen_base},     {"table", luaopen_table}, {"string", luaopen_string},
                     {"math", luaopen_math}, {"bit", luaopen_bit},     {"io", luaopen_io},
                     {"os", luaopen_os},     {"debug", luaopen_debug}, {"jit", luaopen_jit}};
    static const struct {
        const char *library, *name;
        lua_CFunction fn;
    } ours[] = {
        {"os", "time", os_time},
        {"os", "date", os_date},
        {"os", "clock", os_clock},
        {"os", "exit", NULL},
        {"os", "setlocale", NULL},
        {"math", "random", math_random},
        {"math", "randomseed", math_randomseed},
        {"_G", "print", print},
        {"_G", "load", load_text},
        {"_G", "loadstring", load_text},
        {"_G", "loadfile", NULL},
        {"_G", "dofile", NULL},
        {"_G", "newproxy", NULL},
    };
    lua_State *L = vm->L;
    for (size_t i = 0; i < COUNT(libraries); i++)
        open_library(L, libraries[i].name, libraries[i].open);
    for (size_t i = 0; i < COUNT(ours); i++)
        put_function(L, ours[i].library, ours[i].name, ours[i].fn);
    get(L, "debug", "traceback");
    hide(L, "debug"); /* sethook and friends reach under the budget */
    lua_createtable(L, 0, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "traceback");
    lua_setglobal(L, "debug");
    hide(L, "jit"); /* opening it started the compiler; turning that on and off is not the script's */
    if (vm->o.unsafe) {
        open_library(L, "ffi", luaopen_ffi);
    } else {
        put_function(L, "os", "execute", NULL);
        put_function(L, "io", "popen", NULL);
    }
    if (vm->o.reproducible)
        make_reproducible(L);
}
