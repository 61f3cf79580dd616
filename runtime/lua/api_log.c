/* api_log.c - hato.log: a line of key=value. */
#include "lua/api_impl.h"

/* A value as it stands in a log line: bare where nothing in it could be taken for something else. */
static void put_logged(struct buf *out, struct slice s)
{
    bool bare = s.n > 0;
    for (size_t i = 0; i < s.n && bare; i++)
        bare = (unsigned char)s.p[i] > ' ' && s.p[i] != '"' && s.p[i] != '=' && s.p[i] != 0x7f;
    if (bare) {
        buf_adds(out, s);
        return;
    }
    buf_addc(out, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else if (c == '\n')
            buf_adds(out, S("\\n"));
        else if (c < ' ' || c == 0x7f)
            buf_printf(out, "\\x%02x", c);
        else
            buf_addc(out, (char)c);
    }
    buf_addc(out, '"');
}

/* log(text, fields): text first, then the fields by name. Numbers, booleans and texts are values. */
static int write_log(lua_State *L, enum vm_level level, const char *what)
{
    struct api *api = api_of(L);
    struct conv c = {L, &api->scratch, what};
    if (lua_type(L, 1) != LUA_TSTRING)
        conv_wrong(&c, "it", "a text", 1);
    if (!lua_isnoneornil(L, 2) && !lua_istable(L, 2))
        conv_wrong(&c, "its second argument", "a table of fields", 2);
    lua_settop(L, 2);
    int n = lua_istable(L, 2) ? vm_sorted_keys(L, 2) : 0;
    struct buf *line = &api->text;
    buf_clear(line);
    buf_adds(line, S("msg="));
    put_logged(line, vm_slice(L, 1));
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, 3, i);
        struct slice name = vm_slice(L, -1);
        for (size_t j = 0; j < name.n; j++)
            if ((unsigned char)name.p[j] <= ' ' || name.p[j] == '=' || name.p[j] == '"' || name.p[j] == 0x7f)
                conv_fail(&c, "a field's name has no blank, quote or equals sign: %s", vm_describe(L, -1));
        buf_addc(line, ' ');
        buf_adds(line, name);
        buf_addc(line, '=');
        lua_pushvalue(L, -1);
        lua_rawget(L, 2);
        int type = lua_type(L, -1);
        if (type == LUA_TBOOLEAN)
            buf_adds(line, lua_toboolean(L, -1) ? S("true") : S("false"));
        else if (type == LUA_TNUMBER || type == LUA_TSTRING)
            put_logged(line, vm_slice(L, -1));
        else
            conv_wrong(&c, lua_tostring(L, -2), "a text, a number, true or false", -1);
        lua_pop(L, 2);
    }
    vm_log(api->vm, level, "%.*s", (int)line->n, line->p);
    return 0;
}

static int log_debug(lua_State *L)
{
    return write_log(L, VM_DEBUG, "hato.log.debug");
}

static int log_info(lua_State *L)
{
    return write_log(L, VM_INFO, "hato.log.info");
}

static int log_warn(lua_State *L)
{
    return write_log(L, VM_WARN, "hato.log.warn");
}

static int log_error(lua_State *L)
{
    return write_log(L, VM_ERROR, "hato.log.error");
}

static int log_call(lua_State *L)
{
    lua_remove(L, 1); /* the table that is called */
    return write_log(L, VM_INFO, "hato.log");
}

void api_log_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"debug", log_debug}, {"info", log_info}, {"warn", log_warn}, {"error", log_error}, {0}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, log_call);
    lua_setfield(L, -2, "__call");
    lua_setmetatable(L, -2);
    lua_setfield(L, -2, "log");
}
