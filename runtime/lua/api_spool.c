/* api_spool.c - hato.spool: how long the journal keeps events, and how large it may grow. */
#include "base/words.h"
#include "lua/api_impl.h"

static const int64_t day_ms = 86400000;
enum { KEEP_DAYS_MOST = 3660, JOURNAL_LEAST = 64000000 };

static void read_keep(struct conv *c, const struct conv_field *f, void *out)
{
    int64_t ms = conv_duration(c, f->name, lua_gettop(c->L));
    if (ms < day_ms || ms > KEEP_DAYS_MOST * day_ms)
        conv_wrong(c, f->name, "a time from \"1 day\" to \"3660 days\"", lua_gettop(c->L));
    ((struct conf *)out)->keep_ms = ms;
}

static void read_most(struct conv *c, const struct conv_field *f, void *out)
{
    static const char want[] = "a size such as \"20 GB\", at least \"64 MB\"";
    size_t n = 0;
    uint64_t bytes = 0;
    if (lua_type(c->L, -1) != LUA_TSTRING)
        conv_wrong(c, f->name, want, lua_gettop(c->L));
    const char *text = lua_tolstring(c->L, -1, &n);
    if (words_size(slice_of(text, n), &bytes) || bytes < JOURNAL_LEAST)
        conv_wrong(c, f->name, want, lua_gettop(c->L));
    ((struct conf *)out)->journal_max = bytes;
}

int api_spool(lua_State *L)
{
    static const struct conv_field fields[] = {
        {"keep", CONV_OTHER, .read = read_keep}, {"journal_max", CONV_OTHER, .read = read_most}, {0}};
    struct conf *conf = api_of(L)->conf;
    struct conv c = {L, &conf->arena, "hato.spool"};
    api_declaring(L, c.who);
    conf->spool_place = api_place(L);
    conv_table(&c, 1, fields, 0, conf);
    return 0;
}

/* --- what is counted over a time is counted from events after a start --- */

static int too_short(const struct conf *c, int64_t window_ms, const char *what, struct slice where,
                     struct err *e)
{
    struct buf kept = {0}, wants = {0};
    if (window_ms <= conf_keep_ms(c))
        return 0;
    words_duration_text(&kept, conf_keep_ms(c));
    words_duration_text(&wants, window_ms);
    int r = c->keep_ms
                ? err_set(e, ERR_INVAL,
                          "%.*s:%d: hato.spool: events are kept for %s, and %s %.*s counts over %s: "
                          "the next start would not know it all",
                          SLICE_FMT(c->spool_place.file), c->spool_place.line, buf_cstr(&kept), what,
                          SLICE_FMT(where), buf_cstr(&wants))
                : err_set(e, ERR_INVAL,
                          "%s %.*s counts over %s, and events are kept for %s: the next start would not "
                          "know it all; hato.spool { keep = \"%s\" } keeps them as long",
                          what, SLICE_FMT(where), buf_cstr(&wants), buf_cstr(&kept), buf_cstr(&wants));
    buf_free(&kept);
    buf_free(&wants);
    return r;
}

static int64_t longest(const struct conf_amounts *a)
{
    const struct pace_rate *rates[] = {&a->rate, &a->recipients, &a->new_connections};
    int64_t ms = 0;
    for (size_t i = 0; i < COUNT(rates); i++)
        if (rates[i]->quota && rates[i]->per_ms > ms)
            ms = rates[i]->per_ms;
    return ms;
}

static int check_rules(const struct conf *c, const struct act_rule *rules, size_t n, struct err *e)
{
    int r = 0;
    for (size_t i = 0; i < n && !r; i++)
        if (!act_is_about_person(rules[i].act.kind))
            r = too_short(c, rules[i].within_ms, "the rule", rules[i].name, e);
    return r;
}

int api_check_spool(const struct conf *c, struct err *e)
{
    int r = 0;
    for (size_t i = 0; i < c->nlimits && !r; i++) {
        struct buf where = {0};
        buf_printf(&where, "at %.*s:%d", SLICE_FMT(c->limits[i].place.file), c->limits[i].place.line);
        r = too_short(c, longest(&c->limits[i].amounts), "the limit", buf_slice(&where), e);
        buf_free(&where);
    }
    for (size_t i = 0; i < c->nisps && !r; i++)
        r = too_short(c, longest(&c->isps[i].amounts), "the isp", c->isps[i].name, e);
    if (!r)
        r = check_rules(c, c->acts.of_rules, c->acts.nof_rules, e);
    if (!r)
        r = check_rules(c, c->acts.rules, c->acts.nrules, e);
    return r ? r : too_short(c, c->breaker.within_ms, "the breaker", S("of complaints"), e);
}
