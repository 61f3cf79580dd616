/* api_declare.c - hato.stream, source, pool: tables that become structs of the conf. */
#include "lua/api_impl.h"
#include "format/addr.h"
#include "platform/file.h"

#include <stdio.h>

static const struct conv_word priority_words[] = {
    {"urgent", CONF_URGENT}, {"normal", CONF_NORMAL}, {"bulk", CONF_BULK}, {0}};

static const struct conv_word charset_words[] = {{"utf-8", MIME_UTF8}, {"iso-2022-jp", MIME_ISO2022JP}, {0}};
static const struct conv_word unmappable_words[] = {{"utf-8", MIME_UNMAPPABLE_UTF8},
                                                    {"fold", MIME_UNMAPPABLE_FOLD},
                                                    {"geta", MIME_UNMAPPABLE_GETA},
                                                    {"error", MIME_UNMAPPABLE_ERROR},
                                                    {0}};

static struct conv begin(lua_State *L, const char *what, struct slice *name)
{
    struct conv c = {L, &api_of(L)->conf->arena, api_who(L, what, name)};
    api_declaring(L, c.who);
    return c;
}

static _Noreturn void twice(struct conv *c, const struct conf_place *first)
{
    conv_fail(c, "declared already at %.*s:%d", SLICE_FMT(first->file), first->line);
}

/* --- stream --- */

static void read_from(struct conv *c, const struct conv_field *f, void *out)
{
    struct conf_stream *s = out;
    struct err e;
    s->from = conv_text(c, f->name, -1);
    /* The display name may hold Liquid, so only what stands in the last < > is an address. */
    struct slice address = s->from;
    if (address.p[address.n - 1] == '>')
        for (size_t i = address.n; i-- > 0;)
            if (s->from.p[i] == '<') {
                address = slice_of(s->from.p + i + 1, s->from.n - i - 2);
                break;
            }
    struct addr a;
    if (addr_parse(address, c->arena, &a, &e))
        conv_fail(c, "from wants an address such as \"Name <news@example.jp>\": %s", e.text);
    s->domain = a.domain_ascii;
}

static void read_domain(struct conv *c, const struct conv_field *f, void *out)
{
    struct slice text = conv_text(c, f->name, -1);
    char *address = arena_printf(c->arena, "x@%.*s", SLICE_FMT(text));
    struct addr a;
    if (addr_parse(slice_cstr(address), c->arena, &a, NULL))
        conv_wrong(c, f->name, "a domain such as \"b.example.jp\"", -1);
    *(struct slice *)((char *)out + f->offset) = a.domain_ascii;
}

static const struct conv_field dkim_fields[] = {
    {"domain", CONV_OTHER, CONV_AT(struct conf_dkim, domain), .required = true, .read = read_domain},
    {"selector", CONV_TEXT, CONV_AT(struct conf_dkim, selector), .required = true},
    {"key", CONV_TEXT, CONV_AT(struct conf_dkim, key_path), .required = true},
    {0}};

static void read_dkim(struct conv *c, const struct conv_field *f, void *out)
{
    enum { KEYS_MOST = 8 };
    struct conf_stream *s = out;
    int list = lua_gettop(c->L);
    size_t n = conv_items(c, f->name, list, "a list of keys, { { domain = …, selector = …, key = … } }");
    if (!n || n > KEYS_MOST)
        conv_fail(c, "dkim wants a list of 1 to %d keys: { { domain = …, selector = …, key = … } }",
                  KEYS_MOST);
    s->dkim = arena_zalloc(c->arena, n * sizeof *s->dkim);
    s->ndkim = n;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(c->L, list, (int)i + 1);
        if (!lua_istable(c->L, -1))
            conv_fail(c, "dkim[%zu] wants { domain = …, selector = …, key = … }", i + 1);
        size_t before = conv_enter(c, "dkim[%zu]", i + 1);
        conv_table(c, -1, dkim_fields, 0, &s->dkim[i]);
        s->dkim[i].key_pem = arena_copy(c->arena, api_read_file(c, "key", s->dkim[i].key_path));
        lua_pop(c->L, 2);
        conv_leave(c, before);
    }
}

static const struct conv_field unsubscribe_fields[] = {
    {"url", CONV_TEXT, CONV_AT(struct conf_stream, unsubscribe_url)},
    {"mailto", CONV_TEXT, CONV_AT(struct conf_stream, unsubscribe_mailto)},
    {"one_click", CONV_BOOL, CONV_AT(struct conf_stream, one_click)},
    {0}};

static void read_unsubscribe(struct conv *c, const struct conv_field *f, void *out)
{
    struct conf_stream *s = out;
    if (!lua_istable(c->L, -1))
        conv_wrong(c, f->name, "a table of options", -1);
    size_t before = conv_enter(c, "%s", f->name);
    conv_table(c, -1, unsubscribe_fields, 0, s);
    if (!s->unsubscribe_url.n && !s->unsubscribe_mailto.n)
        conv_fail(c, "url is missing (or mailto)");
    /* RFC 8058 3.1: one-click is a POST to an HTTPS URI. */
    if (s->one_click && !slice_istarts(s->unsubscribe_url, S("https://")))
        conv_fail(c, "one_click needs a url that begins with https://");
    conv_leave(c, before);
}

static void read_pool_name(struct conv *c, const struct conv_field *f, void *out)
{
    const struct conf *conf = api_of(c->L)->conf;
    api_name_later(c->L, (struct api_name){.kind = NAME_OF_POOL,
                                           .name = api_name_of(c, f->name, lua_gettop(c->L), "pool"),
                                           .place = api_place(c->L),
                                           .who = c->who,
                                           .owner = (uint16_t)conf->nstreams});
}

static const struct conv_field stream_fields[] = {
    {"from", CONV_OTHER, .required = true, .read = read_from},
    {"dkim", CONV_OTHER, .read = read_dkim},
    {"bounce", CONV_OTHER, CONV_AT(struct conf_stream, bounce), .read = read_domain},
    {"unsubscribe", CONV_OTHER, .read = read_unsubscribe},
    {"list_id", CONV_TEXT, CONV_AT(struct conf_stream, list_id)},
    {"list", CONV_TEXT, CONV_AT(struct conf_stream, list)},
    {"reply_to", CONV_TEXT, CONV_AT(struct conf_stream, reply_to)},
    {"pool", CONV_OTHER, .read = read_pool_name},
    {"priority", CONV_WORD, CONV_AT(struct conf_stream, priority), .words = priority_words},
    {"weight", CONV_INT, CONV_AT(struct conf_stream, weight), .least = 1, .most = 1000},
    {"tls", CONV_WORD, CONV_AT(struct conf_stream, tls), .words = api_tls_words},
    {"quiet", CONV_LATER},
    {"cap", CONV_LATER},
    {"law", CONV_LATER},
    {"charset", CONV_WORD, CONV_AT(struct conf_stream, charset), .words = charset_words},
    {"unmappable", CONV_WORD, CONV_AT(struct conf_stream, unmappable), .words = unmappable_words},
    {"flowed", CONV_BOOL, CONV_AT(struct conf_stream, flowed)},
    {0}};

static int take_stream(lua_State *L)
{
    struct api *api = api_of(L);
    struct conf *conf = api->conf;
    struct conf_stream s = {.pool = CONF_NONE, .priority = CONF_BULK, .weight = 1};
    s.from = s.domain = s.bounce = s.unsubscribe_url = s.unsubscribe_mailto = s.list_id = s.list =
        s.reply_to = SLICE_NONE;
    struct conv c = begin(L, "hato.stream", &s.name);
    uint16_t first = conf_find_stream(conf, s.name);
    if (first != CONF_NONE)
        twice(&c, &conf->streams[first].place);
    s.place = api_place(L);
    conv_table(&c, 1, stream_fields, 0, &s);
    if (s.unmappable != MIME_UNMAPPABLE_UTF8 && s.charset == MIME_UTF8)
        conv_fail(&c, "unmappable is for charset = \"iso-2022-jp\": UTF-8 has every character");
    *(struct conf_stream *)api_grow(L, &conf->streams, &conf->nstreams, &api->cap_streams, sizeof s, c.who) =
        s;
    api_push_handle(L, "stream", s.name);
    return 1;
}

static int stream(lua_State *L)
{
    return api_curried(L, "hato.stream", take_stream);
}

/* --- source --- */

static void read_address(struct conv *c, const struct conv_field *f, void *out)
{
    struct conf_source *s = out;
    if (lua_type(c->L, -1) != LUA_TSTRING || ip_parse(vm_slice(c->L, -1), &s->address))
        conv_wrong(c, f->name, "an IP address of this machine, such as \"203.0.113.7\"", -1);
}

static const struct conv_field source_fields[] = {
    {"address", CONV_OTHER, .required = true, .read = read_address},
    {"ehlo", CONV_OTHER, CONV_AT(struct conf_source, ehlo), .required = true, .read = read_domain},
    {0}};

static int take_source(lua_State *L)
{
    struct api *api = api_of(L);
    struct conf *conf = api->conf;
    struct conf_source s = {.ehlo = SLICE_NONE};
    struct conv c = begin(L, "hato.source", &s.name);
    uint16_t first = conf_find_source(conf, s.name);
    if (first != CONF_NONE)
        twice(&c, &conf->sources[first].place);
    s.place = api_place(L);
    conv_table(&c, 1, source_fields, 0, &s);
    *(struct conf_source *)api_grow(L, &conf->sources, &conf->nsources, &api->cap_sources, sizeof s, c.who) =
        s;
    api_push_handle(L, "source", s.name);
    return 1;
}

static int source(lua_State *L)
{
    return api_curried(L, "hato.source", take_source);
}

/* --- pool --- */

static const struct conv_field member_fields[] = {
    {"weight", CONV_INT, CONV_AT(struct conf_pool_member, weight), .least = 1, .most = 1000}, {0}};

static int take_pool(lua_State *L)
{
    struct api *api = api_of(L);
    struct conf *conf = api->conf;
    struct conf_pool p = {0};
    struct conv c = begin(L, "hato.pool", &p.name);
    uint16_t first = conf_find_pool(conf, p.name);
    if (first != CONF_NONE)
        twice(&c, &conf->pools[first].place);
    p.place = api_place(L);
    static const struct conv_field none[] = {{0}};
    conv_table(&c, 1, none, 1000, NULL);
    p.nmembers = lua_objlen(L, 1);
    if (!p.nmembers)
        conv_fail(&c, "it has no source; write { \"mx1\", { \"mx2\", weight = 2 } }");
    p.members = arena_zalloc(c.arena, p.nmembers * sizeof *p.members);
    for (size_t i = 0; i < p.nmembers; i++) {
        char where[32];
        snprintf(where, sizeof where, "[%zu]", i + 1);
        p.members[i] = (struct conf_pool_member){CONF_NONE, 1};
        lua_rawgeti(L, 1, (int)i + 1);
        if (lua_istable(L, -1)) {
            size_t before = conv_enter(&c, "%s", where);
            conv_table(&c, -1, member_fields, 1, &p.members[i]);
            conv_leave(&c, before);
            lua_rawgeti(L, -1, 1);
        }
        api_name_later(L, (struct api_name){.kind = NAME_OF_SOURCE,
                                            .name = api_name_of(&c, where, lua_gettop(L), "source"),
                                            .place = p.place,
                                            .who = c.who,
                                            .owner = (uint16_t)conf->npools,
                                            .member = (uint16_t)i});
        lua_settop(L, 1);
    }
    *(struct conf_pool *)api_grow(L, &conf->pools, &conf->npools, &api->cap_pools, sizeof p, c.who) = p;
    api_push_handle(L, "pool", p.name);
    return 1;
}

static int pool(lua_State *L)
{
    return api_curried(L, "hato.pool", take_pool);
}

void api_declare_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"stream", stream},       {"source", source},
                                         {"pool", pool},           {"isp", api_isp},
                                         {"limit", api_limit},     {"warmup", api_warmup},
                                         {"bounces", api_bounces}, {"breaker", api_breaker},
                                         {"spool", api_spool},     {0}};
    luaL_register(L, NULL, functions);
    api_act_open(L);
    lua_pushlightuserdata(L, (void *)&conv_unset);
    lua_setfield(L, -2, "unset");
}
