/* api_act.c - hato.slow, suspend, suppress …: what a rule or a reply hook does about an answer. Each returns
 * a value of its own kind, a struct act behind a metatable, which only rules and hooks can read. */
#include "lua/api_impl.h"

#include <stdio.h>

#define ACT_META "hato.act"

static const struct conv_word scope_words[] = {{"path", ACT_PATH},         {"site", ACT_SITE},
                                               {"source", ACT_SOURCE},     {"stream", ACT_STREAM},
                                               {"campaign", ACT_CAMPAIGN}, {0}};

enum { SHORTEST_MS = 1000 };
static const int64_t LONGEST_MS = 90 * (int64_t)86400000;

static int64_t read_time(struct conv *c, const char *name)
{
    int at = lua_gettop(c->L);
    int64_t ms = conv_duration(c, name, at);
    if (ms < SHORTEST_MS || ms > LONGEST_MS)
        conv_wrong(c, name, "a time from \"1 s\" to \"90 days\"", at);
    return ms;
}

static void read_for(struct conv *c, const struct conv_field *f, void *out)
{
    ((struct act *)out)->for_ms = read_time(c, f->name);
}

static void read_recover(struct conv *c, const struct conv_field *f, void *out)
{
    ((struct act *)out)->recover_ms = read_time(c, f->name);
}

static void read_factor(struct conv *c, const struct conv_field *f, void *out)
{
    struct act *a = out;
    int at = lua_gettop(c->L);
    lua_Number n = lua_type(c->L, at) == LUA_TNUMBER ? lua_tonumber(c->L, at) : 0;
    if (!(n >= 0.01 && n <= 0.99))
        conv_wrong(c, f->name, "a part of what it was, from 0.01 to 0.99", at);
    a->factor_ppm = (uint32_t)(n * ACT_WHOLE + 0.5);
}

static void read_scope(struct conv *c, const struct conv_field *f, void *out)
{
    ((struct act *)out)->scope = (enum act_scope)conv_word(c, f->name, -1, scope_words);
}

#define SCOPE                                                                                                \
    {                                                                                                        \
        "scope", CONV_OTHER, .read = read_scope                                                              \
    }
#define FOR                                                                                                  \
    {                                                                                                        \
        "for", CONV_OTHER, .read = read_for                                                                  \
    }
#define RECOVER                                                                                              \
    {                                                                                                        \
        "recover", CONV_OTHER, .read = read_recover                                                          \
    }
#define ALERT                                                                                                \
    {                                                                                                        \
        "alert", CONV_BOOL, CONV_AT(struct act, alert)                                                       \
    }

static const struct conv_field rate_fields[] = {
    {"factor", CONV_OTHER, .read = read_factor}, SCOPE, FOR, RECOVER, ALERT, {0}};
static const struct conv_field suspend_fields[] = {SCOPE, FOR, RECOVER, ALERT, {0}};
static const struct conv_field pause_fields[] = {FOR, RECOVER, ALERT, {0}};
static const struct conv_field for_fields[] = {FOR, ALERT, {0}};
static const struct conv_field alert_fields[] = {ALERT, {0}};

static int push(lua_State *L, struct act a)
{
    *(struct act *)lua_newuserdata(L, sizeof a) = a;
    luaL_getmetatable(L, ACT_META);
    lua_setmetatable(L, -2);
    return 1;
}

static int make(lua_State *L, enum act_kind kind, const char *who, const struct conv_field *fields)
{
    struct conv c = {L, &api_of(L)->scratch, who};
    struct act a = act_default(kind);
    if (!lua_isnoneornil(L, 1))
        conv_table(&c, 1, fields, 0, &a);
    return push(L, a);
}

static int slow(lua_State *L)
{
    return make(L, ACT_SLOW, "hato.slow", rate_fields);
}

/* A connection carries mail of any stream and campaign. */
static int fewer(lua_State *L)
{
    struct conv c = {L, &api_of(L)->scratch, "hato.fewer"};
    struct act a;
    make(L, ACT_FEWER, c.who, rate_fields);
    if (api_act_at(L, lua_gettop(L), &a) && (a.scope == ACT_STREAM || a.scope == ACT_CAMPAIGN))
        conv_fail(&c,
                  "scope wants \"path\", \"site\" or \"source\": one connection carries mail of any stream "
                  "and campaign");
    return 1;
}

static int suspend(lua_State *L)
{
    return make(L, ACT_SUSPEND, "hato.suspend", suspend_fields);
}

static int defer(lua_State *L)
{
    return make(L, ACT_DEFER, "hato.defer", for_fields);
}

static int reconnect(lua_State *L)
{
    return make(L, ACT_RECONNECT, "hato.reconnect", alert_fields);
}

static int next_source(lua_State *L)
{
    return make(L, ACT_NEXT_SOURCE, "hato.next_source", for_fields);
}

static int quarantine(lua_State *L)
{
    return make(L, ACT_QUARANTINE, "hato.quarantine", alert_fields);
}

static int ignore(lua_State *L)
{
    return push(L, (struct act){.kind = ACT_NONE, .ignore = true});
}

/* hato.pause { "stream", "isp" }: what is paused is named by what it is made of. */
static int pause_(lua_State *L)
{
    struct conv c = {L, &api_of(L)->scratch, "hato.pause"};
    struct act a = act_default(ACT_PAUSE);
    static const struct {
        const char *a, *b;
        enum act_scope scope;
    } pairs[] = {{"stream", "isp", ACT_STREAM},
                 {"campaign", "isp", ACT_CAMPAIGN},
                 {"source", "isp", ACT_PATH},
                 {"mx", "isp", ACT_SITE},
                 {"source", NULL, ACT_SOURCE}};
    conv_table(&c, 1, pause_fields, 2, &a);
    size_t n = lua_objlen(L, 1), i = 0;
    struct slice word[2] = {SLICE_NONE, SLICE_NONE};
    for (size_t k = 0; k < n && k < 2; k++) {
        lua_rawgeti(L, 1, (int)k + 1);
        word[k] = conv_text(&c, k ? "[2]" : "[1]", -1);
        lua_pop(L, 1);
    }
    if (slice_eq(word[0], S("isp")) && n == 2) {
        word[0] = word[1];
        word[1] = S("isp");
    }
    while (i < COUNT(pairs) && !(slice_eq(word[0], slice_cstr(pairs[i].a)) &&
                                 slice_eq(word[1], pairs[i].b ? slice_cstr(pairs[i].b) : SLICE_NONE)))
        i++;
    if (i == COUNT(pairs))
        conv_fail(&c, "it wants what to pause: { \"stream\", \"isp\" }, { \"campaign\", \"isp\" }, "
                      "{ \"source\", \"isp\" }, { \"mx\", \"isp\" } or { \"source\" }");
    a.scope = pairs[i].scope;
    return push(L, a);
}

/* hato.suppress "forever", "90 days" */
static int suppress(lua_State *L)
{
    struct conv c = {L, &api_of(L)->scratch, "hato.suppress"};
    struct act a = act_default(ACT_SUPPRESS);
    int64_t ms;
    if (lua_type(L, 1) != LUA_TSTRING)
        conv_wrong(&c, "its argument", "\"forever\" or a time such as \"90 days\"", 1);
    if (!slice_eq(vm_slice(L, 1), S("forever"))) {
        ms = conv_duration(&c, "its argument", 1);
        if (ms < 60000)
            conv_wrong(&c, "its argument", "\"forever\" or a time of at least \"1 min\"", 1);
        a.for_ms = ms;
    }
    return push(L, a);
}

bool api_act_at(lua_State *L, int index, struct act *out)
{
    struct act *a = lua_touserdata(L, index);
    if (!a || !lua_getmetatable(L, index))
        return false;
    luaL_getmetatable(L, ACT_META);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (is)
        *out = *a;
    return is;
}

static int act_tostring(lua_State *L)
{
    struct act a;
    struct buf b = {0};
    char text[96] = "act";
    if (api_act_at(L, 1, &a)) {
        act_text(&b, &a);
        snprintf(text, sizeof text, "act %s", buf_cstr(&b));
        buf_free(&b);
    }
    lua_pushstring(L, text);
    return 1;
}

void api_act_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"slow", slow},
                                         {"fewer", fewer},
                                         {"suspend", suspend},
                                         {"defer", defer},
                                         {"reconnect", reconnect},
                                         {"next_source", next_source},
                                         {"pause", pause_},
                                         {"suppress", suppress},
                                         {"quarantine", quarantine},
                                         {"ignore", ignore},
                                         {0}};
    luaL_newmetatable(L, ACT_META);
    lua_pushcfunction(L, act_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "act");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
    luaL_register(L, NULL, functions);
}
