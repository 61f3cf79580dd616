/* vm.c - see vm.h. */
#include "lua/vm.h"
#include "lua/shipped.h"
#include "lua/libs.h"
#include "platform/file.h"
#include "platform/loop.h"

#include <lauxlib.h>
#include <luajit.h>
#include <stdio.h>
#include <stdlib.h>

enum { SCRIPT_MOST = 16 << 20, FRAMES_MOST = 8 };

/* hato's own Lua has chunk names that begin so; a script's are "@path". */
#define SHIPPED "=hato:"

struct vm *vm_of(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, "hato.vm");
    struct vm *vm = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return vm;
}

struct slice vm_slice(lua_State *L, int index)
{
    size_t n;
    const char *p = lua_tolstring(L, index, &n);
    return slice_of(p, n);
}

/* --- errors --- */

static bool is_script(const lua_Debug *ar)
{
    return ar->source[0] == '@';
}

struct slice vm_place(lua_State *L, int *line)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (is_script(&ar) && ar.currentline > 0) {
            *line = ar.currentline;
            return slice_cstr(ar.source + 1);
        }
    }
    *line = 0;
    return SLICE_NONE;
}

void vm_fail(lua_State *L, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    int line;
    struct slice file = vm_place(L, &line);
    if (line) {
        lua_pushlstring(L, file.p, file.n);
        lua_pushfstring(L, ":%d: %s", line, text);
        lua_concat(L, 2);
    } else {
        lua_pushstring(L, text);
    }
    lua_error(L);
    abort();
}

void vm_traceback(lua_State *co, struct buf *out)
{
    if (lua_isstring(co, -1))
        buf_adds(out, vm_slice(co, -1));
    else if (luaL_callmeta(co, -1, "__tostring")) {
        buf_adds(out, lua_isstring(co, -1) ? vm_slice(co, -1) : S("an error that is no text"));
        lua_pop(co, 1);
    } else
        buf_printf(out, "a script raised a %s instead of a text", luaL_typename(co, -1));
    lua_Debug ar;
    bool first = true;
    for (int level = 0, shown = 0; shown < FRAMES_MOST && lua_getstack(co, level, &ar); level++) {
        lua_getinfo(co, "Sl", &ar);
        if (!is_script(&ar) || ar.currentline <= 0)
            continue;
        char place[256];
        int n = snprintf(place, sizeof place, "%s:%d", ar.source + 1, ar.currentline);
        bool said =
            first && n < (int)sizeof place && slice_starts(buf_slice(out), slice_of(place, (size_t)n));
        first = false;
        if (said)
            continue;
        buf_printf(out, "\n    from %s", place);
        shown++;
    }
}

const char *vm_describe(lua_State *L, int index)
{
    switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TNONE:
        return lua_pushliteral(L, "nil"), "nil";
    case LUA_TSTRING: {
        struct slice s = vm_slice(L, index);
        if (s.n > 60) {
            for (s.n = 57; s.n && ((unsigned char)s.p[s.n] & 0xc0) == 0x80; s.n--)
                ;
            lua_pushlstring(L, s.p, s.n);
            return lua_pushfstring(L, "\"%s…\"", lua_tostring(L, -1));
        }
        return lua_pushfstring(L, "\"%s\"", s.p);
    }
    case LUA_TNUMBER:
        lua_pushvalue(L, index);
        return lua_tostring(L, -1);
    case LUA_TBOOLEAN:
        return lua_pushstring(L, lua_toboolean(L, index) ? "true" : "false"), lua_tostring(L, -1);
    default:
        return lua_pushfstring(L, "a %s", luaL_typename(L, index));
    }
}

static int compare(const void *a, const void *b)
{
    return slice_cmp(*(const struct slice *)a, *(const struct slice *)b);
}

int vm_sorted_keys(lua_State *L, int index)
{
    if (index < 0 && index > LUA_REGISTRYINDEX)
        index = lua_gettop(L) + index + 1;
    int n = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        n += lua_type(L, -2) == LUA_TSTRING;
    lua_createtable(L, n, 0);
    /* The scratch belongs to Lua, so that an error on the way loses nothing. */
    struct slice *v = lua_newuserdata(L, (size_t)(n ? n : 1) * sizeof *v);
    int i = 0;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        if (lua_type(L, -2) == LUA_TSTRING)
            v[i++] = vm_slice(L, -2);
    qsort(v, (size_t)n, sizeof *v, compare);
    for (i = 0; i < n; i++) {
        lua_pushlstring(L, v[i].p, v[i].n);
        lua_rawseti(L, -3, i + 1);
    }
    lua_pop(L, 1);
    return n;
}

void vm_log(struct vm *vm, enum vm_level level, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    if (vm->o.log)
        vm->o.log(vm->o.data, level, buf_slice(&text));
    else if (level >= VM_INFO)
        fprintf(stderr, "%s\n", buf_cstr(&text));
    buf_free(&text);
}

/* --- loading --- */

void vm_path(struct vm *vm, struct slice path, struct buf *out)
{
    if (!path.n || path.p[0] != '/')
        buf_adds(out, slice_cstr(vm->dir));
    buf_adds(out, path);
}

/* Push the compiled chunk, or an error text. A byte order mark and a #! line are what editors and people put
 * in front of scripts. */
static int compile(lua_State *L, struct slice text, const char *chunk)
{
    if (slice_starts(text, S("\xef\xbb\xbf")))
        text = slice_of(text.p + 3, text.n - 3);
    if (text.n && text.p[0] == '#') {
        const char *eol = memchr(text.p, '\n', text.n);
        text = eol ? slice_of(eol, (size_t)(text.p + text.n - eol)) : SLICE_NONE;
    }
    return luaL_loadbufferx(L, text.p, text.n, chunk, "t");
}

/* Push the compiled file, or an error text. ERR_NOTFOUND, ERR_SYNTAX, or what reading it gave. */
static int compile_file(lua_State *L, struct vm *vm, const char *path)
{
    struct buf text = {0};
    struct err e;
    int r = fs_read_whole(vm->o.fs, path, SCRIPT_MOST, &text, &e);
    if (r) {
        lua_pushstring(L, e.text);
    } else {
        char *chunk = mem_alloc(strlen(path) + 2);
        chunk[0] = '@';
        memcpy(chunk + 1, path, strlen(path) + 1);
        r = compile(L, buf_slice(&text), chunk) ? ERR_SYNTAX : 0;
        free(chunk);
    }
    buf_free(&text);
    return r;
}

static const struct shipped_lua *shipped(const char *name)
{
    char path[96];
    snprintf(path, sizeof path, "%s", name);
    for (char *c = path; *c; c++)
        *c = *c == '.' ? '/' : *c;
    size_t n = strlen(path);
    for (const struct shipped_lua *s = shipped_lua; s->name; s++)
        if (!strncmp(s->name, path, n) && (!strcmp(s->name + n, ".lua") || !strcmp(s->name + n, "/init.lua")))
            return s;
    return NULL;
}

/* hato's own modules get the C functions as their second argument. */
static int load_module(lua_State *L, struct vm *vm, const char *name)
{
    const struct shipped_lua *s = shipped(name);
    if (s) {
        lua_pushfstring(L, SHIPPED "%s", s->name);
        return compile(L, slice_of(s->text, s->n), lua_tostring(L, -1)) ? ERR_SYNTAX : 0;
    }
    const char *slashed = luaL_gsub(L, name, ".", "/");
    const char *forms[] = {lua_pushfstring(L, "%s%s.lua", vm->dir, slashed),
                           lua_pushfstring(L, "%s%s/init.lua", vm->dir, slashed)};
    for (size_t f = 0; f < COUNT(forms); f++) {
        int r = compile_file(L, vm, forms[f]);
        if (r != ERR_NOTFOUND)
            return r;
        lua_pop(L, 1);
    }
    lua_pushfstring(L, "no module \"%s\": it does not come with hato, and there is no %s and no %s", name,
                    forms[0], forms[1]);
    return ERR_NOTFOUND;
}

/* require(name): hato's own modules, then files beside the script. */
static int lua_require(lua_State *L)
{
    struct vm *vm = vm_of(L);
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_getfield(L, LUA_REGISTRYINDEX, "_LOADED");
    lua_getfield(L, 2, name);
    if (lua_toboolean(L, 3)) {
        if (lua_touserdata(L, 3) == (void *)vm)
            vm_fail(L, "module \"%s\" requires itself, straight or through another", name);
        return 1;
    }
    /* A dot is a folder's edge and nothing else: no module lies above the script. */
    if (!*name || *name == '.' || strstr(name, "..") || strpbrk(name, "/\\") || strlen(name) > 90)
        vm_fail(L, "no module \"%s\": a name is words joined by dots", name);
    int r = load_module(L, vm, name);
    if (r == ERR_NOTFOUND)
        vm_fail(L, "%s", lua_tostring(L, -1));
    if (r)
        return lua_error(L);
    lua_pushlightuserdata(L, vm);
    lua_setfield(L, 2, name);
    lua_pushvalue(L, 1);
    if (shipped(name))
        lua_getfield(L, LUA_REGISTRYINDEX, "hato.core");
    else
        lua_pushnil(L);
    /* A module that fails may be required again, and then says the same. */
    if (lua_pcall(L, 2, 1, 0)) {
        lua_pushnil(L);
        lua_setfield(L, 2, name);
        return lua_error(L);
    }
    if (lua_isnil(L, -1)) {
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, name);
    return 1;
}

static int on_panic(lua_State *L)
{
    const char *text = lua_tostring(L, -1);
    fprintf(stderr, "hato: Lua failed outside every script: %s\n", text ? text : "no text");
    abort();
}

struct vm *vm_new(const struct vm_options *o)
{
    struct vm *vm = mem_zalloc(sizeof *vm);
    vm->o = *o;
    vm->dir = mem_dup("", 0);
    vm->script = mem_dup("", 0);
    vm->L = luaL_newstate();
    if (!vm->L) {
        fprintf(stderr, "hato: no memory for a Lua state\n");
        abort();
    }
    lua_atpanic(vm->L, on_panic);
    lua_pushlightuserdata(vm->L, vm);
    lua_setfield(vm->L, LUA_REGISTRYINDEX, "hato.vm");
    lua_newtable(vm->L);
    lua_setfield(vm->L, LUA_REGISTRYINDEX, "hato.core");
    libs_open(vm);
    if (o->budget)
        luaJIT_setmode(vm->L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    lua_pushcfunction(vm->L, lua_require);
    lua_setglobal(vm->L, "require");
    vm->tasks = tasks_new(vm);
    return vm;
}

void vm_free(struct vm *vm)
{
    if (!vm)
        return;
    task_cancel_all(vm);
    tasks_free(vm->tasks);
    lua_close(vm->L);
    free(vm->dir);
    free(vm->script);
    free(vm);
}

void vm_run(struct vm *vm, const char *path, task_done done, void *data)
{
    const char *slash = strrchr(path, '/');
    free(vm->dir);
    free(vm->script);
    vm->dir = mem_dup(path, slash ? (size_t)(slash - path) + 1 : 0);
    vm->script = mem_dup(path, strlen(path));
    int r = compile_file(vm->L, vm, path);
    if (r) {
        struct task_result result = {.status = r == ERR_SYNTAX ? ERR_INVAL : r, .error = vm_slice(vm->L, -1)};
        done(data, &result);
        lua_pop(vm->L, 1);
        return;
    }
    task_start(vm, path, 0, done, data);
}
