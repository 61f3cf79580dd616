/* api_warmup.c - hato.warmup: how a source grows to what it may send to a receiver. */
#include "lua/api_impl.h"

#include <math.h>
#include <stdio.h>

enum { GROWN_STEPS = 64, FACTOR_MOST = 10 };

/* --- curve --- */

struct grown {
    uint32_t start, most;
    uint32_t factor_milli;
};

static void read_factor(struct conv *c, const struct conv_field *f, void *out)
{
    lua_Number n = lua_tonumber(c->L, -1);
    if (lua_type(c->L, -1) != LUA_TNUMBER || !(n >= 1.001 && n <= FACTOR_MOST))
        conv_wrong(c, f->name, "a number above 1, at most 10", -1);
    ((struct grown *)out)->factor_milli = (uint32_t)floor(n * 1000 + 0.5);
}

/* Until `most`, or the fastest that there is. */
static void grow(struct conv *c, const struct grown *g, struct warmup_curve *curve)
{
    uint32_t *steps = arena_alloc(c->arena, GROWN_STEPS * sizeof *steps);
    struct warmup_curve with = *curve;
    uint64_t micro = (uint64_t)g->start * 1000000;
    with.steps = steps;
    with.nsteps = 0;
    while (with.nsteps < GROWN_STEPS) {
        uint64_t mails = (micro + 500000) / 1000000;
        bool is_last = (g->most && mails >= g->most) || mails > UINT32_MAX / 2;
        steps[with.nsteps++] = is_last && g->most ? g->most : (uint32_t)mails;
        if (warmup_wrong(&with)) {
            with.nsteps--;
            break;
        }
        if (is_last)
            break;
        micro = micro / 1000 * g->factor_milli + micro % 1000 * g->factor_milli / 1000;
    }
    curve->steps = steps;
    curve->nsteps = with.nsteps;
}

static void read_curve(struct conv *c, const struct conv_field *f, void *out)
{
    static const struct conv_word pers[] = {{"hour", 0}, {"day", 1}, {0}};
    struct warmup_curve *curve = &((struct conf_warmup *)out)->curve;
    struct read {
        struct grown grown;
        int per;
    } r = {.per = 0};
    static const struct conv_field fields[] = {
        {"per", CONV_WORD, CONV_AT(struct read, per), .words = pers},
        {"start", CONV_INT, CONV_AT(struct read, grown.start), .least = 1, .most = 100000000},
        {"factor", CONV_OTHER, CONV_AT(struct read, grown.factor_milli), .read = read_factor},
        {"most", CONV_INT, CONV_AT(struct read, grown.most), .least = 1, .most = 864000000},
        {0}};
    int list = lua_gettop(c->L);
    size_t n =
        conv_items(c, f->name, list, "a list of steps, { 60, 120, 240 }, or { start = 60, factor = 2 }");
    size_t before = conv_enter(c, "curve");
    conv_table(c, list, fields, WARMUP_STEPS_MOST, &r);
    conv_leave(c, before);
    curve->per_day = r.per;
    if (n && (r.grown.start || r.grown.factor_milli || r.grown.most))
        conv_fail(c, "curve is a list of steps or { start = …, factor = … }, not both");
    if (!n) {
        if (!r.grown.start || !r.grown.factor_milli)
            conv_fail(c, "curve wants steps, { 60, 120, 240 }, or { start = 60, factor = 2 }");
        grow(c, &r.grown, curve);
        return;
    }
    uint32_t *steps = arena_alloc(c->arena, n * sizeof *steps);
    for (size_t i = 0; i < n; i++) {
        char where[32];
        snprintf(where, sizeof where, "curve[%zu]", i + 1);
        lua_rawgeti(c->L, list, (int)i + 1);
        lua_Number v = lua_tonumber(c->L, -1);
        if (lua_type(c->L, -1) != LUA_TNUMBER || v < 1 || v != floor(v) || v > 864000000)
            conv_wrong(c, where, "how many mails, a whole number", -1);
        steps[i] = (uint32_t)v;
        lua_pop(c->L, 1);
    }
    curve->steps = steps;
    curve->nsteps = n;
}

/* --- the rest --- */

/* "09:00" → seconds of the day; "24:00" too. -1: it is none. */
static int32_t time_of_day(struct slice s)
{
    if (s.n != 5 || s.p[2] != ':')
        return -1;
    uint64_t h, m;
    if (slice_u64(slice_of(s.p, 2), &h) || slice_u64(slice_of(s.p + 3, 2), &m) || m > 59 || h * 60 + m > 1440)
        return -1;
    return (int32_t)(h * 3600 + m * 60);
}

static void read_window(struct conv *c, const struct conv_field *f, void *out)
{
    struct warmup_curve *curve = &((struct conf_warmup *)out)->curve;
    static const char want[] = "two times of the day, { \"09:00\", \"13:00\" }";
    int list = lua_gettop(c->L);
    int32_t times[2];
    if (conv_items(c, f->name, list, want) != 2)
        conv_wrong(c, f->name, want, list);
    for (int i = 0; i < 2; i++) {
        lua_rawgeti(c->L, list, i + 1);
        times[i] = lua_type(c->L, -1) == LUA_TSTRING ? time_of_day(vm_slice(c->L, -1)) : -1;
        lua_pop(c->L, 1);
    }
    if (times[0] < 0 || times[1] < 0 || times[0] == 86400 || times[0] == times[1])
        conv_wrong(c, f->name, want, list);
    curve->open_s = times[0];
    curve->close_s = times[1] == 86400 && !times[0] ? 0 : times[1];
}

static void later(struct conv *c, enum api_name_kind kind, struct slice name)
{
    const struct conf *conf = api_of(c->L)->conf;
    api_name_later(c->L, (struct api_name){.kind = kind,
                                           .name = name,
                                           .place = api_place(c->L),
                                           .who = c->who,
                                           .owner = (uint16_t)conf->nwarmups});
}

static void read_isp(struct conv *c, const struct conv_field *f, void *out)
{
    later(c, NAME_OF_WARMED_ISP, conv_text(c, f->name, -1));
}

static void read_overflow(struct conv *c, const struct conv_field *f, void *out)
{
    if (lua_type(c->L, -1) != LUA_TSTRING || !slice_eq(vm_slice(c->L, -1), S("wait")))
        later(c, NAME_OF_OVERFLOW, api_name_of(c, f->name, lua_gettop(c->L), "pool"));
}

/* A share in (0, 1]. */
static uint32_t read_share(struct conv *c, const char *name, uint32_t whole)
{
    lua_Number n = lua_tonumber(c->L, -1);
    if (lua_type(c->L, -1) != LUA_TNUMBER || !(n * whole >= 1 && n <= 1))
        conv_wrong(c, name, "a share such as 0.02", -1);
    return (uint32_t)floor(n * whole + 0.5);
}

static void read_used(struct conv *c, const struct conv_field *f, void *out)
{
    struct warmup_curve *curve = out;
    curve->enough_permille = read_share(c, f->name, 1000);
}

static void read_delivered(struct conv *c, const struct conv_field *f, void *out)
{
    struct warmup_curve *curve = out;
    curve->enough_permille = read_share(c, f->name, 1000);
    curve->by_delivered = true;
}

static void read_active(struct conv *c, const struct conv_field *f, void *out)
{
    static const struct conv_field fields[] = {
        {"used", CONV_OTHER, .read = read_used}, {"delivered", CONV_OTHER, .read = read_delivered}, {0}};
    struct warmup_curve *curve = &((struct conf_warmup *)out)->curve;
    uint32_t was = curve->enough_permille;
    curve->enough_permille = 0;
    if (!lua_istable(c->L, -1))
        conv_wrong(c, f->name, "{ used = 0.8 } or { delivered = 0.9 }", -1);
    size_t before = conv_enter(c, "%s", f->name);
    conv_table(c, -1, fields, 0, curve);
    conv_leave(c, before);
    if (!curve->enough_permille)
        curve->enough_permille = was;
}

static void read_above(struct conv *c, const struct conv_field *f, void *out)
{
    ((struct conf_warmup *)out)->retreat_above_ppm = read_share(c, f->name, 1000000);
}

static uint64_t class_bit(struct conv *c, int index)
{
    enum reply_class cls;
    struct slice name = conv_text(c, "class", index);
    if (class_parse(name, &cls)) {
        struct slice near = class_near(name);
        conv_fail(c, near.n ? "class \"%.*s\" is none; did you mean \"%.*s\"?" : "class \"%.*s\" is none%.*s",
                  SLICE_FMT(name), SLICE_FMT(near));
    }
    return 1ull << cls;
}

static void read_classes(struct conv *c, const struct conv_field *f, void *out)
{
    struct conf_warmup *w = out;
    int at = lua_gettop(c->L);
    w->retreat_classes = 0;
    if (lua_type(c->L, at) == LUA_TSTRING) {
        w->retreat_classes = class_bit(c, at);
        return;
    }
    size_t n = conv_items(c, f->name, at, "a class such as \"rate_limited\", or a list of them");
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(c->L, at, (int)i + 1);
        w->retreat_classes |= class_bit(c, lua_gettop(c->L));
        lua_pop(c->L, 1);
    }
    if (!n)
        conv_wrong(c, f->name, "a class such as \"rate_limited\", or a list of them", at);
}

/* There is only one way back; who writes it is understood. */
static void read_to(struct conv *c, const struct conv_field *f, void *out)
{
    static const struct conv_word words[] = {{"previous", 0}, {0}};
    conv_word(c, f->name, lua_gettop(c->L), words);
}

static void read_retreat(struct conv *c, const struct conv_field *f, void *out)
{
    static const struct conv_field fields[] = {
        {"class", CONV_OTHER, .read = read_classes},
        {"above", CONV_OTHER, .read = read_above},
        {"least", CONV_INT, CONV_AT(struct conf_warmup, retreat_least), .least = 1, .most = 1000000},
        {"over", CONV_DURATION, CONV_AT(struct conf_warmup, retreat_over_ms)},
        {"to", CONV_OTHER, .read = read_to},
        {0}};
    struct conf_warmup *w = out;
    if (lua_type(c->L, -1) == LUA_TBOOLEAN && !lua_toboolean(c->L, -1)) {
        w->retreat_classes = 0;
        return;
    }
    if (!lua_istable(c->L, -1))
        conv_wrong(c, f->name,
                   "{ class = \"rate_limited\", above = 0.02, least = 3, over = \"1 h\" } or false", -1);
    size_t before = conv_enter(c, "%s", f->name);
    conv_table(c, -1, fields, 0, w);
    if (w->retreat_over_ms < 60000 || w->retreat_over_ms > 7 * 86400000LL)
        conv_fail(c, "over wants 1 minute to 7 days");
    conv_leave(c, before);
}

static int take_warmup(lua_State *L)
{
    static const struct conv_field fields[] = {
        {"isp", CONV_OTHER, .read = read_isp},
        {"curve", CONV_OTHER, .required = true, .read = read_curve},
        {"window", CONV_OTHER, .read = read_window},
        {"hold", CONV_INT, CONV_AT(struct conf_warmup, curve.hold), .least = 1, .most = 365},
        {"active", CONV_OTHER, .read = read_active},
        {"overflow", CONV_OTHER, .read = read_overflow},
        {"retreat", CONV_OTHER, .read = read_retreat},
        {0}};
    struct api *api = api_of(L);
    struct conf *conf = api->conf;
    struct slice source;
    struct conv c = {L, &conf->arena, api_who(L, "hato.warmup", &source)};
    struct conf_warmup w = {.source = CONF_NONE,
                            .isp = CONF_NONE,
                            .overflow = CONF_NONE,
                            .place = api_place(L),
                            .curve = {.hold = 1, .enough_permille = 800},
                            .retreat_classes = 1ull << CLASS_RATE_LIMITED,
                            .retreat_above_ppm = 20000,
                            .retreat_least = 3,
                            .retreat_over_ms = 3600000};
    api_declaring(L, c.who);
    conv_table(&c, 1, fields, 0, &w);
    later(&c, NAME_OF_WARMED, source);
    const char *wrong = warmup_wrong(&w.curve);
    if (wrong)
        conv_fail(&c, "curve wants %s", wrong);
    *(struct conf_warmup *)api_grow(L, &conf->warmups, &conf->nwarmups, &api->cap_warmups, sizeof w, c.who) =
        w;
    return 0;
}

int api_warmup(lua_State *L)
{
    /* A source's handle is as good as its name. */
    if (lua_type(L, 1) == LUA_TUSERDATA) {
        struct conv c = {L, &api_of(L)->conf->arena, "hato.warmup"};
        struct slice name = api_name_of(&c, "it", 1, "source");
        lua_pushlstring(L, name.p, name.n);
        lua_replace(L, 1);
    }
    return api_curried(L, "hato.warmup", take_warmup);
}

int api_check_warmups(const struct conf *c, struct err *e)
{
    for (size_t i = 0; i < c->nwarmups; i++) {
        const struct conf_warmup *w = &c->warmups[i];
        struct slice source = c->sources[w->source].name;
        for (size_t k = 0; k < i; k++)
            if (c->warmups[k].source == w->source && c->warmups[k].isp == w->isp)
                return err_set(e, ERR_INVAL,
                               "%.*s:%d: hato.warmup \"%.*s\": this source is warmed up %s already at "
                               "%.*s:%d",
                               SLICE_FMT(w->place.file), w->place.line, SLICE_FMT(source),
                               w->isp == CONF_NONE ? "for every receiver" : "for this isp",
                               SLICE_FMT(c->warmups[k].place.file), c->warmups[k].place.line);
    }
    return 0;
}
