/* conv.c - see conv.h. */
#include "lua/conv.h"
#include "lua/vm.h"
#include "base/words.h"

#include <lauxlib.h>
#include <math.h>
#include <stdio.h>

const char conv_unset = 0;

void conv_fail(struct conv *c, const char *fmt, ...)
{
    char text[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    vm_fail(c->L, "%s: %s%s", c->who, c->path, text);
}

/* About the table itself that is read now, not one of its options: "inner: " instead of "inner.". */
static _Noreturn void fail_here(struct conv *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fail_here(struct conv *c, const char *fmt, ...)
{
    char text[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    int n = (int)strlen(c->path);
    if (n)
        vm_fail(c->L, "%s: %.*s: %s", c->who, n - 1, c->path, text);
    vm_fail(c->L, "%s: %s", c->who, text);
}

void conv_wrong(struct conv *c, const char *name, const char *want, int index)
{
    conv_fail(c, "%s wants %s, not %s", name, want, vm_describe(c->L, index));
}

size_t conv_enter(struct conv *c, const char *fmt, ...)
{
    size_t before = strlen(c->path);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->path + before, sizeof c->path - before, fmt, ap);
    va_end(ap);
    size_t n = strlen(c->path);
    if (n + 1 < sizeof c->path)
        memcpy(c->path + n, ".", 2);
    return before;
}

void conv_leave(struct conv *c, size_t before)
{
    c->path[before] = 0;
}

static int absolute(lua_State *L, int index)
{
    return index < 0 && index > LUA_REGISTRYINDEX ? lua_gettop(L) + index + 1 : index;
}

struct slice conv_text(struct conv *c, const char *name, int index)
{
    if (lua_type(c->L, index) != LUA_TSTRING)
        conv_wrong(c, name, "a text", index);
    struct slice s = vm_slice(c->L, index);
    if (!s.n)
        conv_fail(c, "%s is empty", name);
    return arena_copy(c->arena, s);
}

int64_t conv_duration(struct conv *c, const char *name, int index)
{
    int64_t ms;
    /* Numbers count as strings for Lua, and must not here. */
    if (lua_type(c->L, index) == LUA_TNUMBER) {
        const char *n = vm_describe(c->L, index);
        conv_fail(c, "%s wants a duration with its unit, such as \"%s s\" or \"%s days\", not %s", name, n, n,
                  n);
    }
    if (lua_type(c->L, index) != LUA_TSTRING || words_duration(vm_slice(c->L, index), &ms))
        conv_wrong(c, name, "a duration such as \"90 s\", \"10 min\", \"2 h\" or \"3 days\"", index);
    return ms;
}

struct conv_rate conv_rate(struct conv *c, const char *name, int index)
{
    struct conv_rate rate;
    if (lua_type(c->L, index) == LUA_TNUMBER) {
        const char *n = vm_describe(c->L, index);
        conv_fail(c, "%s wants a rate with its unit, such as \"%s/h\" or \"%s/s\", not %s", name, n, n, n);
    }
    if (lua_type(c->L, index) != LUA_TSTRING || words_rate(vm_slice(c->L, index), &rate.count, &rate.per_ms))
        conv_wrong(c, name, "a rate such as \"500/h\" or \"40/s\"", index);
    return rate;
}

int conv_word(struct conv *c, const char *name, int index, const struct conv_word *words)
{
    struct slice names[32], got = SLICE_NONE, near = SLICE_NONE;
    size_t n = 0;
    if (lua_type(c->L, index) == LUA_TSTRING)
        got = vm_slice(c->L, index);
    for (; words[n].word; n++) {
        INVARIANT(n < COUNT(names));
        names[n] = slice_cstr(words[n].word);
        if (slice_eq(got, names[n]))
            return words[n].value;
    }
    char want[512];
    size_t at = 0;
    for (size_t i = 0; i < n && at < sizeof want; i++)
        at += (size_t)snprintf(want + at, sizeof want - at, "%s\"%s\"",
                               !i          ? ""
                               : i + 1 < n ? ", "
                                           : " or ",
                               words[i].word);
    if (got.n)
        near = words_near(got, names, n);
    if (near.n)
        conv_fail(c, "%s wants %s, not %s; did you mean \"%.*s\"?", name, want, vm_describe(c->L, index),
                  SLICE_FMT(near));
    conv_wrong(c, name, want, index);
}

size_t conv_items(struct conv *c, const char *name, int index, const char *want)
{
    if (lua_type(c->L, index) != LUA_TTABLE)
        conv_wrong(c, name, want, index);
    return lua_objlen(c->L, index);
}

static void read_int(struct conv *c, const struct conv_field *f, int index, void *out)
{
    char want[96] = "a whole number";
    double d = lua_tonumber(c->L, index);
    double least = f->most ? (double)f->least : -9007199254740992.0;
    double most = f->most ? (double)f->most : 9007199254740992.0;
    if (f->most)
        snprintf(want, sizeof want, "a whole number from %lld to %lld", (long long)f->least,
                 (long long)f->most);
    if (lua_type(c->L, index) != LUA_TNUMBER || d != floor(d) || d < least || d > most)
        conv_wrong(c, f->name, want, index);
    if (f->size == 8)
        *(int64_t *)out = (int64_t)d;
    else if (f->size == 4)
        *(uint32_t *)out = (uint32_t)(int64_t)d;
    else
        *(uint16_t *)out = (uint16_t)(int64_t)d;
}

static void read_texts(struct conv *c, const struct conv_field *f, int index, void *target)
{
    struct slice **out = (struct slice **)((char *)target + f->offset);
    size_t *count = (size_t *)((char *)target + f->count_at);
    if (lua_type(c->L, index) == LUA_TSTRING) {
        *out = arena_alloc(c->arena, sizeof **out);
        **out = conv_text(c, f->name, index);
        *count = 1;
        return;
    }
    size_t n = conv_items(c, f->name, index, "a text or a list of texts");
    struct slice *v = arena_alloc(c->arena, (n ? n : 1) * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        char name[96];
        snprintf(name, sizeof name, "%s[%zu]", f->name, i + 1);
        lua_rawgeti(c->L, index, (int)i + 1);
        v[i] = conv_text(c, name, -1);
        lua_pop(c->L, 1);
    }
    *out = v;
    *count = n;
}

static bool is_unset(lua_State *L)
{
    return lua_islightuserdata(L, -1) && lua_touserdata(L, -1) == (const void *)&conv_unset;
}

static void unset(struct conv *c, const struct conv_field *f, void *target)
{
    if (!c->may_unset || !f->size)
        conv_fail(c, "%s has nothing that hato.unset could remove", f->name);
    memset((char *)target + f->offset, 0, f->size);
    if (f->count_at)
        *(size_t *)((char *)target + f->count_at) = 0;
}

/* The value is on top of the stack. */
static void read_value(struct conv *c, const struct conv_field *f, void *target)
{
    lua_State *L = c->L;
    void *out = (char *)target + f->offset;
    int index = lua_gettop(L);
    switch (f->type) {
    case CONV_TEXT:
        *(struct slice *)out = conv_text(c, f->name, index);
        break;
    case CONV_BOOL:
        if (lua_type(L, index) != LUA_TBOOLEAN)
            conv_wrong(c, f->name, "true or false", index);
        *(bool *)out = lua_toboolean(L, index);
        break;
    case CONV_INT:
        read_int(c, f, index, out);
        break;
    case CONV_DURATION:
        *(int64_t *)out = conv_duration(c, f->name, index);
        break;
    case CONV_RATE:
        *(struct conv_rate *)out = conv_rate(c, f->name, index);
        break;
    case CONV_TEXTS:
        read_texts(c, f, index, target);
        break;
    case CONV_WORD:
        *(int *)out = conv_word(c, f->name, index, f->words);
        break;
    case CONV_TABLE: {
        if (lua_type(L, index) != LUA_TTABLE)
            conv_wrong(c, f->name, "a table of options", index);
        size_t before = conv_enter(c, "%s", f->name);
        conv_table(c, index, f->fields, 0, out);
        conv_leave(c, before);
        break;
    }
    case CONV_FUNCTION:
        if (lua_type(L, index) != LUA_TFUNCTION)
            conv_wrong(c, f->name, "a function", index);
        lua_pushvalue(L, index);
        *(int *)out = luaL_ref(L, LUA_REGISTRYINDEX);
        break;
    case CONV_OTHER:
        f->read(c, f, target);
        break;
    case CONV_LATER:
        conv_fail(c, "%s comes with a later version of hato", f->name);
    case CONV_END:
        break;
    }
    lua_settop(L, index);
}

/* Keys that no field has: the first of them in an order that is the same in every run. */
static void check_keys(struct conv *c, int index, const struct conv_field *fields, size_t items)
{
    lua_State *L = c->L;
    struct slice names[64];
    size_t nnames = 0;
    for (const struct conv_field *f = fields; f->name; f++) {
        INVARIANT(nnames < COUNT(names));
        names[nnames++] = slice_cstr(f->name);
    }
    struct slice worst = {0};
    bool other = false;
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            double i = lua_type(L, -2) == LUA_TNUMBER ? lua_tonumber(L, -2) : -1;
            other |= !(i >= 1 && i == floor(i) && i <= (double)items && i <= (double)lua_objlen(L, index));
            continue;
        }
        struct slice key = vm_slice(L, -2);
        bool known = false;
        for (size_t i = 0; i < nnames && !known; i++)
            known = slice_eq(key, names[i]);
        if (!known && (!worst.p || slice_cmp(key, worst) < 0))
            worst = key;
    }
    if (worst.p) {
        struct slice near = words_near(worst, names, nnames);
        if (near.n)
            fail_here(c, "unknown option \"%.*s\"; did you mean \"%.*s\"?", SLICE_FMT(worst),
                      SLICE_FMT(near));
        char all[600];
        size_t at = 0;
        for (size_t i = 0; i < nnames && at < sizeof all; i++)
            at += (size_t)snprintf(all + at, sizeof all - at, "%s%.*s", i ? ", " : "", SLICE_FMT(names[i]));
        fail_here(c, "unknown option \"%.*s\"; it knows %s", SLICE_FMT(worst), nnames ? all : "none");
    }
    if (other && items)
        fail_here(c, "its list has a hole, a key that is no name, or more than %zu items", items);
    if (other)
        fail_here(c, "a value has no name; options are written name = value");
}

void conv_table(struct conv *c, int index, const struct conv_field *fields, size_t items, void *out)
{
    lua_State *L = c->L;
    index = absolute(L, index);
    if (lua_type(L, index) != LUA_TTABLE)
        vm_fail(L, "%s wants a table of options, not %s", c->who, vm_describe(L, index));
    luaL_checkstack(L, 16, "options are nested too deeply");
    check_keys(c, index, fields, items);
    for (const struct conv_field *f = fields; f->name; f++) {
        lua_pushstring(L, f->name);
        lua_rawget(L, index);
        if (is_unset(L))
            unset(c, f, out);
        else if (!lua_isnil(L, -1))
            read_value(c, f, out);
        else if (f->required)
            conv_fail(c, "%s is missing", f->name);
        lua_pop(L, 1);
    }
}
