/* api_isp.c - hato.isp and hato.limit: how much may go where; and the isps that ship with hato (isps.h).
 *
 * The shipped tables are in the conf before the first hato.isp, which so changes them key by key, and at the
 * latest when the conf is sealed; hato.isps = "none" leaves them out. */
#include "lua/api_impl.h"
#include "lua/isps.h"
#include "lua/shipped.h"
#include "format/addr.h"
#include "format/returned.h"

#include <stdio.h>

const struct conv_word api_tls_words[] = {
    {"none", CONF_TLS_NONE}, {"opportunistic", CONF_TLS_OPPORTUNISTIC}, {"require", CONF_TLS_REQUIRE}, {0}};
static const struct conv_word family_words[] = {
    {"ipv4", CONF_FAMILY_4}, {"ipv6", CONF_FAMILY_6}, {"both", CONF_FAMILY_BOTH}, {0}};

/* --- amounts, of an isp or a limit --- */

static void read_pace(struct conv *c, const struct conv_field *f, void *out)
{
    struct pace_rate *p = (struct pace_rate *)((char *)out + f->offset);
    struct conv_rate rate = conv_rate(c, f->name, lua_gettop(c->L));
    p->quota = (uint32_t)rate.count;
    p->per_ms = rate.per_ms;
    const char *wrong = pace_wrong(&(struct pace_rate){p->quota, 0, p->per_ms});
    if (wrong)
        conv_wrong(c, f->name, wrong, lua_gettop(c->L));
}

#define AMOUNTS(type)                                                                                        \
    {"rate", CONV_OTHER, CONV_AT(type, amounts.rate), .read = read_pace},                                    \
        {"burst", CONV_INT, CONV_AT(type, burst), .least = 1, .most = 1024},                                 \
        {"recipients", CONV_OTHER, CONV_AT(type, amounts.recipients), .read = read_pace},                    \
    {                                                                                                        \
        "new_connections", CONV_OTHER, CONV_AT(type, amounts.new_connections), .read = read_pace             \
    }

static void set_burst(struct conv *c, struct pace_rate *p, const char *name, uint32_t burst)
{
    p->burst = p->quota ? burst : 0;
    const char *wrong = p->quota ? pace_wrong(p) : NULL;
    if (wrong)
        conv_fail(c, "%s with burst = %u wants %s", name, burst, wrong);
}

static void set_bursts(struct conv *c, struct conf_amounts *a, uint32_t burst)
{
    if (burst && !a->rate.quota && !a->recipients.quota)
        conv_fail(c, "burst says how many of a rate may go at once: rate is missing");
    set_burst(c, &a->rate, "rate", burst);
    set_burst(c, &a->recipients, "recipients", burst);
}

/* --- isp --- */

/* What a shipped file may say, and a script. */
struct isp_table {
    struct conf_isp isp; /* first: scripts have this alone */
    struct isps_samples samples;
};

#define ISP_FIELDS                                                                                           \
    {"mx", CONV_TEXTS, CONV_AT(struct conf_isp, mx), .count_at = offsetof(struct conf_isp, nmx)},            \
        {"domains", CONV_TEXTS, CONV_AT(struct conf_isp, domains),                                           \
         .count_at = offsetof(struct conf_isp, ndomains)},                                                   \
        {"provider", CONV_TEXT, CONV_AT(struct conf_isp, provider)},                                         \
        {"connections", CONV_INT, CONV_AT(struct conf_isp, connections), .least = 1, .most = 1000},          \
        {"per_connection", CONV_INT, CONV_AT(struct conf_isp, per_connection), .least = 1, .most = 100000},  \
        AMOUNTS(struct conf_isp), {"tls", CONV_WORD, CONV_AT(struct conf_isp, tls), .words = api_tls_words}, \
    {                                                                                                        \
        "family", CONV_WORD, CONV_AT(struct conf_isp, family), .words = family_words                         \
    }

static const struct conv_field isp_fields[] = {ISP_FIELDS, {"pipeline", CONV_LATER}, {0}};

static const struct conv_field sample_fields[] = {{"mx", CONV_TEXTS, CONV_AT(struct isp_table, samples.mx),
                                                   .count_at = offsetof(struct isp_table, samples.nmx)},
                                                  {"domains", CONV_TEXTS,
                                                   CONV_AT(struct isp_table, samples.domains),
                                                   .count_at = offsetof(struct isp_table, samples.ndomains)},
                                                  {0}};
static const struct conv_field shipped_fields[] = {
    ISP_FIELDS, {"samples", CONV_TABLE, .required = true, .fields = sample_fields}, {0}};

static void check_patterns(struct conv *c, const char *field, const struct slice *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct slice name = slice_starts(v[i], S("*.")) ? slice_of(v[i].p + 2, v[i].n - 2) : v[i];
        struct addr a;
        char *address = arena_printf(c->arena, "x@%.*s", SLICE_FMT(name));
        if (addr_parse(slice_cstr(address), c->arena, &a, NULL))
            conv_fail(
                c,
                "%s wants names such as \"google.com\" (and all below it) or \"*.example.jp\" (only those "
                "below), not \"%.*s\"",
                field, SLICE_FMT(v[i]));
    }
}

static void read_isp(struct conv *c, int index, const struct conv_field *fields, struct conf_isp *now)
{
    conv_table(c, index, fields, 0, now);
    check_patterns(c, "mx", now->mx, now->nmx);
    check_patterns(c, "domains", now->domains, now->ndomains);
    if (!now->nmx && !now->ndomains)
        conv_fail(c, "mx is missing (or domains): which receivers it is about");
    set_bursts(c, &now->amounts, now->burst);
}

int api_isps_ready(struct api *api, struct err *e)
{
    struct conf *conf = api->conf;
    struct isps known;
    if (api->isps_ready || api->isps_none)
        return 0;
    int r = isps_load(&conf->arena, &known, e);
    if (r)
        return r;
    INVARIANT(!conf->nisps);
    conf->isps = known.v;
    conf->nisps = api->cap_isps = known.n;
    api->isps_ready = true;
    return 0;
}

/* The same name again changes what is there, key by key; so a script can bend a shipped table. */
static int take_isp(lua_State *L)
{
    struct api *api = api_of(L);
    struct conf *conf = api->conf;
    struct slice name;
    struct err e;
    struct conv c = {L, &conf->arena, api_who(L, "hato.isp", &name), .may_unset = true};
    api_declaring(L, c.who);
    if (api_isps_ready(api, &e))
        conv_fail(&c, "%s", e.text);
    uint16_t i = conf_find_isp(conf, name);
    struct conf_isp now = {.provider = SLICE_NONE};
    if (i != CONF_NONE)
        now = conf->isps[i];
    const struct slice *mx = now.mx, *domains = now.domains;
    now.name = name;
    now.place = api_place(L);
    read_isp(&c, 1, isp_fields, &now);
    if (!now.provider.n)
        now.provider = SLICE_NONE;
    now.shipped = now.shipped && now.mx == mx && now.domains == domains;
    if (i != CONF_NONE)
        conf->isps[i] = now;
    else
        *(struct conf_isp *)api_grow(L, &conf->isps, &conf->nisps, &api->cap_isps, sizeof now, c.who) = now;
    return 0;
}

int api_isp(lua_State *L)
{
    return api_curried(L, "hato.isp", take_isp);
}

void api_set_isps(lua_State *L, struct slice word)
{
    struct api *api = api_of(L);
    struct conv c = {L, &api->conf->arena, "hato.isps"};
    bool none = slice_eq(word, S("none"));
    if (!none && !slice_eq(word, S("shipped")))
        conv_fail(&c, "it wants \"shipped\" or \"none\", not \"%.*s\"", SLICE_FMT(word));
    if (api->isps_ready || api->conf->nisps)
        conv_fail(&c, "it stands before the first hato.isp");
    api->isps_none = none;
}

/* --- those that ship with hato --- */

#define SHIPPED_DIR "hato/isp/"

struct loading {
    struct arena *arena;
    struct isps isps;
};

/* In a protected call of a bare state. */
static int load_shipped(lua_State *L)
{
    struct loading *to = lua_touserdata(L, 1);
    for (const struct shipped_lua *s = shipped_lua; s->name; s++) {
        struct slice file = slice_cstr(s->name);
        if (!slice_starts(file, S(SHIPPED_DIR)))
            continue;
        struct isp_table t = {.isp = {.provider = SLICE_NONE, .shipped = true}};
        struct conv c = {L, to->arena, s->name};
        t.isp.name = slice_of(file.p + strlen(SHIPPED_DIR), file.n - strlen(SHIPPED_DIR) - strlen(".lua"));
        t.isp.place = (struct conf_place){file, 1};
        if (luaL_loadbufferx(L, s->text, s->n, s->name, "t"))
            return lua_error(L);
        lua_call(L, 0, 1);
        read_isp(&c, lua_gettop(L), shipped_fields, &t.isp);
        lua_pop(L, 1);
        to->isps.v[to->isps.n] = t.isp;
        to->isps.samples[to->isps.n++] = t.samples;
    }
    return 0;
}

int isps_load(struct arena *a, struct isps *out, struct err *e)
{
    lua_State *L = luaL_newstate();
    struct loading to = {.arena = a};
    size_t most = 1;
    int r = 0;
    if (!L)
        return err_set(e, ERR_LIMIT, "no memory for a Lua state");
    for (const struct shipped_lua *s = shipped_lua; s->name; s++)
        most++;
    to.isps.v = arena_zalloc(a, most * sizeof *to.isps.v);
    to.isps.samples = arena_zalloc(a, most * sizeof *to.isps.samples);
    if (lua_cpcall(L, load_shipped, &to))
        r = err_set(e, ERR_INVAL, "%s", lua_tostring(L, -1));
    else
        *out = to.isps;
    lua_close(L);
    return r;
}

void isps_who(void *data, struct slice host, struct slice domain, struct returned_isp *out)
{
    const struct isps *s = data;
    uint16_t i = conf_isp_match(s->v, s->n, domain, &host, host.n ? 1 : 0, NULL);
    if (i != CONF_NONE)
        *out = (struct returned_isp){s->v[i].name, s->v[i].provider};
}

struct slice isps_provider(const struct isps *s, struct slice name)
{
    for (size_t i = 0; i < s->n; i++)
        if (slice_eq(s->v[i].name, name))
            return s->v[i].provider;
    return SLICE_NONE;
}

/* --- limit --- */

static void read_by(struct conv *c, const struct conv_field *f, void *out)
{
    static const struct conv_word words[] = {{"stream", CONF_BY_STREAM}, {"campaign", CONF_BY_CAMPAIGN},
                                             {"source", CONF_BY_SOURCE}, {"pool", CONF_BY_POOL},
                                             {"isp", CONF_BY_ISP},       {"domain", CONF_BY_DOMAIN},
                                             {"mx", CONF_BY_MX},         {0}};
    struct conf_limit *l = out;
    int list = lua_gettop(c->L);
    size_t n = conv_items(c, f->name, list, "a list, such as { \"source\", \"isp\" }");
    for (size_t i = 0; i < n; i++) {
        char where[32];
        snprintf(where, sizeof where, "by[%zu]", i + 1);
        lua_rawgeti(c->L, list, (int)i + 1);
        l->by |= 1u << conv_word(c, where, lua_gettop(c->L), words);
        lua_pop(c->L, 1);
    }
}

static const struct conv_field limit_fields[] = {
    {"by", CONV_OTHER, .required = true, .read = read_by},
    AMOUNTS(struct conf_limit),
    {"connections", CONV_INT, CONV_AT(struct conf_limit, connections), .least = 1, .most = 100000},
    {"per_connection", CONV_INT, CONV_AT(struct conf_limit, per_connection), .least = 1, .most = 100000},
    {0}};

int api_limit(lua_State *L)
{
    struct api *api = api_of(L);
    struct conf *conf = api->conf;
    struct conf_limit l = {0};
    struct conv c = {L, &conf->arena, "hato.limit"};
    api_declaring(L, c.who);
    l.place = api_place(L);
    conv_table(&c, 1, limit_fields, 0, &l);
    set_bursts(&c, &l.amounts, l.burst);
    if (!l.amounts.rate.quota && !l.amounts.recipients.quota && !l.amounts.new_connections.quota &&
        !l.connections && !l.per_connection)
        conv_fail(&c, "rate is missing (or recipients, connections, new_connections, per_connection)");
    *(struct conf_limit *)api_grow(L, &conf->limits, &conf->nlimits, &api->cap_limits, sizeof l, c.who) = l;
    return 0;
}
