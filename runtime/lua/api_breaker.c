/* api_breaker.c - hato.breaker: from which share of hard errors and of complaints on mail stops by itself. */
#include "lua/api_impl.h"

struct bars {
    struct breaker_bar bar;
    int64_t within_ms;
};

static void read_share(struct conv *c, const struct conv_field *f, void *out)
{
    lua_Number n = lua_type(c->L, -1) == LUA_TNUMBER ? lua_tonumber(c->L, -1) : 0;
    if (!(n >= 0.000001 && n <= 1))
        conv_wrong(c, f->name, "a share such as 0.03", -1);
    struct bars *b = out;
    *(f->name[0] == 'w' ? &b->bar.warn_ppm : &b->bar.stop_ppm) = (uint32_t)(n * BREAKER_WHOLE + 0.5);
}

/* least, warn, stop; and within, where there is a window. */
static const struct conv_field bar_fields[] = {
    {"least", CONV_INT, CONV_AT(struct bars, bar.least), .least = 1, .most = 1000000000},
    {"warn", CONV_OTHER, .read = read_share},
    {"stop", CONV_OTHER, .read = read_share},
    {0},
};
static const struct conv_field window_fields[] = {
    {"least", CONV_INT, CONV_AT(struct bars, bar.least), .least = 1, .most = 1000000000},
    {"warn", CONV_OTHER, .read = read_share},
    {"stop", CONV_OTHER, .read = read_share},
    {"within", CONV_DURATION, CONV_AT(struct bars, within_ms)},
    {0},
};

static void read_bars(struct conv *c, const struct conv_field *f, void *out)
{
    struct breaker_conf *conf = out;
    enum breaker_kind kind = f->name[0] == 'e' ? BREAKER_ERRORS : BREAKER_COMPLAINTS;
    struct bars b = {conf->of[kind], conf->within_ms};
    if (lua_isboolean(c->L, -1) && !lua_toboolean(c->L, -1)) {
        conf->of[kind] = (struct breaker_bar){0};
        return;
    }
    if (!lua_istable(c->L, -1))
        conv_wrong(c, f->name, "a table such as { least = 500, warn = 0.03, stop = 0.1 }, or false", -1);
    size_t before = conv_enter(c, "%s", f->name);
    conv_table(c, -1, kind == BREAKER_ERRORS ? bar_fields : window_fields, 0, &b);
    if (b.bar.warn_ppm > b.bar.stop_ppm)
        conv_fail(c, "warn is a larger share than stop: it would stop before it warns");
    if (b.within_ms < BREAKER_WITHIN_LEAST_MS || b.within_ms > 30 * (int64_t)86400000)
        conv_fail(c, "within is a time from \"1 min\" to \"30 days\"");
    conv_leave(c, before);
    conf->of[kind] = b.bar;
    conf->within_ms = b.within_ms;
}

int api_breaker(lua_State *L)
{
    static const struct conv_field fields[] = {
        {"errors", CONV_OTHER, .read = read_bars}, {"complaints", CONV_OTHER, .read = read_bars}, {0}};
    struct conf *conf = api_of(L)->conf;
    struct conv c = {L, &conf->arena, "hato.breaker"};
    api_declaring(L, c.who);
    conv_table(&c, 1, fields, 0, &conf->breaker);
    return 0;
}
