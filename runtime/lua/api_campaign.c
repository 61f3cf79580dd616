/* api_campaign.c - hato.campaign, hato.send, hato.csv: what is said, to whom, and when. */
#include "lua/api_impl.h"
#include "base/words.h"
#include "format/addr.h"
#include "format/mp.h"
#include "format/tz.h"
#include "platform/file.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILES_MOST = 100, HEADERS_MOST = 100, PARTIALS_MOST = 200 };

/* --- content: the same options for a campaign and for one mail --- */

/* A text that may hold Liquid: never with a line break where it becomes a header. */
static void read_header_text(struct conv *c, const struct conv_field *f, void *out)
{
    struct slice s = conv_text(c, f->name, -1);
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\r' || s.p[i] == '\n' || !s.p[i])
            conv_fail(c, "%s stands in the header of a mail and cannot hold a line break", f->name);
    *(struct slice *)((char *)out + f->offset) = s;
}

static struct conf_content *content_at(const struct conv_field *f, void *out)
{
    return (struct conf_content *)((char *)out + f->offset);
}

/* text and html: a string or a hato.file. */
static void read_body(struct conv *c, const struct conv_field *f, void *out)
{
    struct conf_content *k = content_at(f, out);
    bool html = f->name[0] == 'h';
    struct slice path, data, *text = html ? &k->html : &k->text, *name = html ? &k->html_path : &k->text_path;
    if (api_is_file(c->L, -1, &path, &data)) {
        if (!data.n)
            conv_fail(c, "%s: %.*s is empty", f->name, SLICE_FMT(path));
        *text = arena_copy(c->arena, data);
        *name = arena_copy(c->arena, path);
        return;
    }
    if (lua_type(c->L, -1) != LUA_TSTRING)
        conv_wrong(c, f->name, "a text or hato.file \"path\"", -1);
    *text = conv_text(c, f->name, -1);
    *name = slice_cstr(arena_printf(c->arena, "(%s)", f->name));
}

static void check_header(struct conv *c, struct slice name)
{
    struct api *api = api_of(c->L);
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] <= ' ' || name.p[i] > '~' || name.p[i] == ':')
            conv_fail(c, "headers: \"%.*s\" is no name of a header", SLICE_FMT(name));
    if (!name.n || name.n > 76)
        conv_fail(c, "headers: a name of a header has 1 to 76 characters");
    if (api->host.header_is_ours && api->host.header_is_ours(name))
        conv_fail(c, "headers: %.*s is hato's own to write", SLICE_FMT(name));
}

static void read_headers(struct conv *c, const struct conv_field *f, void *out)
{
    struct conf_content *k = content_at(f, out);
    lua_State *L = c->L;
    int table = lua_gettop(L);
    if (!lua_istable(L, table))
        conv_wrong(c, f->name, "a table such as { [\"X-Kind\"] = \"news\" }", table);
    if (lua_objlen(L, table))
        conv_fail(c, "headers: a value has no name; write { [\"X-Kind\"] = \"news\" }");
    int n = vm_sorted_keys(L, table), keys = lua_gettop(L);
    if (n > HEADERS_MOST)
        conv_fail(c, "headers: at most %d", HEADERS_MOST);
    k->headers = arena_zalloc(c->arena, (size_t)(n ? n : 1) * sizeof *k->headers);
    k->nheaders = (size_t)n;
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, keys, i + 1);
        struct slice name = k->headers[i].name = arena_copy(c->arena, vm_slice(L, -1));
        check_header(c, name);
        if (i && slice_ieq(name, k->headers[i - 1].name))
            conv_fail(c, "headers: %.*s is there twice", SLICE_FMT(name));
        lua_rawget(L, table);
        size_t before = conv_enter(c, "headers");
        read_header_text(c,
                         &(struct conv_field){.name = name.p, .offset = offsetof(struct conf_header, value)},
                         &k->headers[i]);
        conv_leave(c, before);
        lua_pop(L, 1);
    }
}

static const struct conv_field attach_fields[] = {{"name", CONV_TEXT, CONV_AT(struct conf_file, name)},
                                                  {"type", CONV_TEXT, CONV_AT(struct conf_file, type)},
                                                  {0}};
static const struct conv_field inline_fields[] = {
    {"cid", CONV_TEXT, CONV_AT(struct conf_file, cid), .required = true},
    {"name", CONV_TEXT, CONV_AT(struct conf_file, name)},
    {"type", CONV_TEXT, CONV_AT(struct conf_file, type)},
    {0}};

static struct slice base_name(struct slice path)
{
    size_t i = path.n;
    while (i && path.p[i - 1] != '/')
        i--;
    return slice_of(path.p + i, path.n - i);
}

/* attach = { "flyer.pdf", { "map.png", name = "地図.png" } }; inline = { { cid = "logo", "logo.png" } } */
static void read_files(struct conv *c, const struct conv_field *f, void *out)
{
    struct conf_content *k = content_at(f, out);
    lua_State *L = c->L;
    bool is_inline = f->name[0] == 'i';
    const char *want = is_inline ? "a list of images, { { cid = \"logo\", \"logo.png\" } }"
                                 : "a list of paths, { \"flyer.pdf\" }";
    int list = lua_gettop(L);
    size_t n = conv_items(c, f->name, list, want);
    if (k->nfiles + n > FILES_MOST)
        conv_fail(c, "%s: at most %d files", f->name, FILES_MOST);
    if (!n)
        conv_wrong(c, f->name, want, list);
    struct conf_file *v = arena_zalloc(c->arena, (k->nfiles + n) * sizeof *v);
    if (k->nfiles)
        memcpy(v, k->files, k->nfiles * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        struct conf_file *file = &v[k->nfiles + i];
        *file = (struct conf_file){SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE};
        char where[48];
        snprintf(where, sizeof where, "%s[%zu]", f->name, i + 1);
        lua_rawgeti(L, list, (int)i + 1);
        if (lua_istable(L, -1)) {
            size_t before = conv_enter(c, "%s", where);
            conv_table(c, -1, is_inline ? inline_fields : attach_fields, 1, file);
            conv_leave(c, before);
            lua_rawgeti(L, -1, 1);
        } else if (is_inline) {
            conv_wrong(c, where, "{ cid = \"logo\", \"logo.png\" }", -1);
        }
        struct slice path, data;
        if (api_is_file(L, -1, &path, &data)) {
            file->path = arena_copy(c->arena, path);
            file->data = arena_copy(c->arena, data);
        } else {
            file->path = conv_text(c, where, -1);
            file->data = arena_copy(c->arena, api_read_file(c, where, file->path));
        }
        if (!file->name.n)
            file->name = base_name(file->path);
        lua_settop(L, list);
    }
    k->files = v;
    k->nfiles += n;
}

/* partials = { footer = hato.file "footer.html" }: what {% include 'footer' %} and {% render 'footer' %}
 * name. */
static void read_partials(struct conv *c, const struct conv_field *f, void *out)
{
    struct conf_content *k = content_at(f, out);
    lua_State *L = c->L;
    int table = lua_gettop(L);
    if (!lua_istable(L, table) || lua_objlen(L, table))
        conv_wrong(c, f->name, "a table such as { footer = hato.file \"footer.html\" }", table);
    int n = vm_sorted_keys(L, table), keys = lua_gettop(L);
    if (n > PARTIALS_MOST)
        conv_fail(c, "partials: at most %d", PARTIALS_MOST);
    k->partials = arena_zalloc(c->arena, (size_t)(n ? n : 1) * sizeof *k->partials);
    k->npartials = (size_t)n;
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, keys, i + 1);
        struct slice path, data, name = arena_copy(c->arena, vm_slice(L, -1));
        lua_rawget(L, table);
        if (!api_is_file(L, -1, &path, &data)) {
            if (lua_type(L, -1) != LUA_TSTRING)
                conv_fail(c, "partials.%.*s wants a text or hato.file \"path\", not %s", SLICE_FMT(name),
                          vm_describe(L, -1));
            data = vm_slice(L, -1);
        }
        k->partials[i] = (struct conf_partial){name, arena_copy(c->arena, data)};
        lua_pop(L, 1);
    }
}

/* The rows for a struct that holds a conf_content as `content`. */
#define CONTENT_FIELDS(type)                                                                                 \
    {"subject", CONV_OTHER, CONV_AT(type, content.subject), .required = true, .read = read_header_text},     \
        {"preheader", CONV_OTHER, CONV_AT(type, content.preheader), .read = read_header_text},               \
        {"from", CONV_OTHER, CONV_AT(type, content.from), .read = read_header_text},                         \
        {"reply_to", CONV_OTHER, CONV_AT(type, content.reply_to), .read = read_header_text},                 \
        {"text", CONV_OTHER, CONV_AT(type, content), .read = read_body},                                     \
        {"html", CONV_OTHER, CONV_AT(type, content), .read = read_body},                                     \
        {"headers", CONV_OTHER, CONV_AT(type, content), .read = read_headers},                               \
        {"attach", CONV_OTHER, CONV_AT(type, content), .read = read_files},                                  \
        {"inline", CONV_OTHER, CONV_AT(type, content), .read = read_files},                                  \
    {                                                                                                        \
        "partials", CONV_OTHER, CONV_AT(type, content), .read = read_partials                                \
    }

static void check_content(struct conv *c, const struct conf_content *k)
{
    if (!k->text.n && !k->html.n)
        conv_fail(c, "text is missing (or html, or both)");
    if (k->preheader.n && !k->html.n)
        conv_fail(c, "preheader is for html, and there is none");
}

/* --- when --- */

int64_t api_time(struct conv *c, const char *field, int index)
{
    struct tz_wall wall;
    int r = ERR_SYNTAX;
    if (lua_type(c->L, index) == LUA_TSTRING)
        r = tz_read_wall(vm_slice(c->L, index), &wall);
    if (r == ERR_RANGE)
        conv_fail(c, "%s: no calendar has %s", field, vm_describe(c->L, index));
    if (r)
        conv_wrong(c, field, "a time such as \"2026-07-01 10:00\" (in hato.tz)", index);
    return tz_to_utc(api_of(c->L)->tz, &wall) * 1000;
}

static void read_at(struct conv *c, const struct conv_field *f, void *out)
{
    *(int64_t *)((char *)out + f->offset) = api_time(c, f->name, lua_gettop(c->L));
}

static const struct conv_word missing_words[] = {{"error", 0}, {"empty", 1}, {0}};
static void read_missing(struct conv *c, const struct conv_field *f, void *out)
{
    *(bool *)((char *)out + f->offset) = conv_word(c, f->name, lua_gettop(c->L), missing_words);
}

/* --- to --- */

bool api_is_address_column(struct slice name)
{
    static const char *const words[] = {"email",          "e-mail",         "mail",         "email address",
                                        "email_address",  "e-mail address", "mail address", "mailaddress",
                                        "メールアドレス", "メール",         "eメール",      "e-mailアドレス"};
    name = slice_trim(name);
    for (size_t i = 0; i < COUNT(words); i++)
        if (slice_ieq(name, slice_cstr(words[i])))
            return true;
    return false;
}

/* What hato.csv is given. The handle is a userdata whose environment is the table that the script wrote, read
 * once to find mistakes at its own line, and again into the campaign that takes it. */
struct csv_options {
    struct slice path, encoding;
    struct conf_map *map;
    size_t nmap;
};

static const struct conv_word encoding_words[] = {{"utf-8", 0}, {"cp932", 1}, {"shift_jis", 1}, {0}};
static void read_encoding(struct conv *c, const struct conv_field *f, void *out)
{
    ((struct csv_options *)out)->encoding =
        conv_word(c, f->name, lua_gettop(c->L), encoding_words) ? S("cp932") : S("utf-8");
}

static void read_map(struct conv *c, const struct conv_field *f, void *out)
{
    struct csv_options *o = out;
    lua_State *L = c->L;
    int table = lua_gettop(L);
    if (!lua_istable(L, table) || lua_objlen(L, table))
        conv_wrong(c, f->name, "a table such as { name = \"氏名\" }", table);
    int n = vm_sorted_keys(L, table), keys = lua_gettop(L);
    o->map = arena_zalloc(c->arena, (size_t)(n ? n : 1) * sizeof *o->map);
    o->nmap = (size_t)n;
    size_t before = conv_enter(c, "map");
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, keys, i + 1);
        o->map[i].name = arena_copy(c->arena, vm_slice(L, -1));
        lua_rawget(L, table);
        o->map[i].column = conv_text(c, o->map[i].name.p, lua_gettop(L));
        lua_pop(L, 1);
    }
    conv_leave(c, before);
}

static void read_csv(struct conv *c, int table, struct csv_options *out)
{
    static const struct conv_field fields[] = {
        {"map", CONV_OTHER, .read = read_map}, {"encoding", CONV_OTHER, .read = read_encoding}, {0}};
    *out = (struct csv_options){.path = SLICE_NONE, .encoding = SLICE_NONE};
    conv_table(c, table, fields, 1, out);
    lua_rawgeti(c->L, table, 1);
    if (lua_isnil(c->L, -1))
        conv_fail(c, "the path is missing: hato.csv \"people.csv\" or hato.csv { \"people.csv\", map = … }");
    struct slice path = conv_text(c, "the path", lua_gettop(c->L));
    lua_pop(c->L, 1);
    struct api *api = api_of(c->L);
    buf_clear(&api->text);
    vm_path(api->vm, path, &api->text);
    out->path = arena_copy(c->arena, buf_slice(&api->text));
    struct fs_stat st;
    struct err e;
    if (fs_stat(api->vm->o.fs, out->path.p, &st, &e))
        conv_fail(c, "%s", e.text);
}

/* hato.csv "people.csv" or hato.csv { "people.csv", map = …, encoding = … } */
static int csv(lua_State *L)
{
    struct csv_options o;
    struct conv c = {L, &api_of(L)->scratch, "hato.csv"};
    if (lua_type(L, 1) == LUA_TSTRING) {
        lua_createtable(L, 1, 0);
        lua_pushvalue(L, 1);
        lua_rawseti(L, -2, 1);
        lua_replace(L, 1);
    }
    lua_settop(L, 1);
    read_csv(&c, 1, &o);
    lua_newuserdata(L, 1);
    luaL_getmetatable(L, "hato.csv");
    lua_setmetatable(L, -2);
    lua_pushvalue(L, 1);
    lua_setfenv(L, -2);
    return 1;
}

static int csv_tostring(lua_State *L)
{
    luaL_checkudata(L, 1, "hato.csv");
    lua_getfenv(L, 1);
    lua_rawgeti(L, -1, 1);
    return 1;
}

static void read_to(struct conv *c, const struct conv_field *f, void *out)
{
    struct conf_campaign *k = out;
    lua_State *L = c->L;
    int to = lua_gettop(L);
    if (lua_isfunction(L, to)) {
        k->people = CONF_PEOPLE_ITERATOR;
        k->iterator = luaL_ref(L, LUA_REGISTRYINDEX);
        lua_pushnil(L);
        return;
    }
    bool is_csv = false;
    if (lua_isuserdata(L, to) && lua_getmetatable(L, to)) {
        luaL_getmetatable(L, "hato.csv");
        is_csv = lua_rawequal(L, -1, -2);
    }
    if (!is_csv)
        conv_wrong(c, f->name, "hato.csv \"people.csv\" or a function that returns the next person", to);
    lua_getfenv(L, to);
    struct csv_options o;
    read_csv(c, lua_gettop(L), &o);
    k->people = CONF_PEOPLE_CSV;
    k->csv_path = o.path;
    k->csv_encoding = o.encoding;
    k->map = o.map;
    k->nmap = o.nmap;
}

/* --- campaign --- */

static void read_stream(struct conv *c, const struct conv_field *f, void *out)
{
    api_name_later(c->L, (struct api_name){.kind = NAME_OF_STREAM,
                                           .name = api_name_of(c, f->name, lua_gettop(c->L), "stream"),
                                           .place = api_place(c->L),
                                           .who = c->who,
                                           .owner = (uint16_t)api_of(c->L)->conf->ncampaigns});
}

static const struct conv_word start_words[] = {{"complete", 0}, {"streaming", 1}, {0}};
static void read_start(struct conv *c, const struct conv_field *f, void *out)
{
    ((struct conf_campaign *)out)->streaming = conv_word(c, f->name, lua_gettop(c->L), start_words);
}

static void read_order(struct conv *c, const struct conv_field *f, void *out)
{
    static const struct conv_field fields[] = {
        {"by", CONV_TEXT, CONV_AT(struct conf_campaign, order), .required = true}, {0}};
    struct conf_campaign *k = out;
    int at = lua_gettop(c->L);
    k->ordered = true;
    if (lua_type(c->L, at) == LUA_TSTRING && slice_eq(vm_slice(c->L, at), S("engaged")))
        return;
    if (!lua_istable(c->L, at))
        conv_wrong(c, f->name, "\"engaged\", or a column, { by = \"last_opened\" }", at);
    size_t before = conv_enter(c, "%s", f->name);
    conv_table(c, at, fields, 0, k);
    conv_leave(c, before);
}

static const struct conv_field campaign_fields[] = {
    {"stream", CONV_OTHER, .required = true, .read = read_stream},
    {"to", CONV_OTHER, .required = true, .read = read_to},
    CONTENT_FIELDS(struct conf_campaign),
    {"at", CONV_OTHER, CONV_AT(struct conf_campaign, at_ms), .read = read_at},
    {"late", CONV_DURATION, CONV_AT(struct conf_campaign, late_ms)},
    {"expire", CONV_DURATION, CONV_AT(struct conf_campaign, expire_ms)},
    {"start", CONV_OTHER, .read = read_start},
    {"missing", CONV_OTHER, CONV_AT(struct conf_campaign, missing_empty), .read = read_missing},
    {"log", CONV_TEXTS, CONV_AT(struct conf_campaign, log), .count_at = offsetof(struct conf_campaign, nlog)},
    {"list", CONV_TEXT, CONV_AT(struct conf_campaign, list)},
    {"order", CONV_OTHER, .read = read_order},
    {"split", CONV_LATER},
    {"track", CONV_LATER},
    {0}};

static int take_campaign(lua_State *L)
{
    struct api *api = api_of(L);
    struct conf *conf = api->conf;
    struct slice name;
    struct conv c = {L, &conf->arena, api_who(L, "hato.campaign", &name)};
    api_declaring(L, c.who);
    uint16_t first = conf_find_campaign(conf, name);
    if (first != CONF_NONE)
        conv_fail(&c, "declared already at %.*s:%d", SLICE_FMT(conf->campaigns[first].place.file),
                  conf->campaigns[first].place.line);
    struct conf_campaign k = {.name = name,
                              .place = api_place(L),
                              .stream = CONF_NONE,
                              .list = SLICE_NONE,
                              .order = SLICE_NONE,
                              .csv_path = SLICE_NONE,
                              .csv_encoding = SLICE_NONE,
                              .content = conf_content_empty(),
                              .late_ms = INT64_MAX,
                              .expire_ms = INT64_MAX};
    conv_table(&c, 1, campaign_fields, 0, &k);
    check_content(&c, &k.content);
    if (k.ordered && k.people == CONF_PEOPLE_ITERATOR)
        conv_fail(&c, "order is for hato.csv: a function gives its people in the order it likes");
    if (k.ordered && k.streaming)
        conv_fail(&c, "order wants the whole file before anybody is sent to; start = \"streaming\" does not");
    k.content.missing_empty = k.missing_empty;
    *(struct conf_campaign *)api_grow(L, &conf->campaigns, &conf->ncampaigns, &api->cap_campaigns, sizeof k,
                                      c.who) = k;
    return 0;
}

static int campaign(lua_State *L)
{
    return api_curried(L, "hato.campaign", take_campaign);
}

/* --- one mail --- */

struct send_options {
    struct slice stream;
    struct api_send send;
    struct conf_content content;
    bool missing_empty;
    int data; /* stack index of its data; 0: none */
};

static void read_send_stream(struct conv *c, const struct conv_field *f, void *out)
{
    ((struct send_options *)out)->stream = api_name_of(c, f->name, lua_gettop(c->L), "stream");
}

static void read_data(struct conv *c, const struct conv_field *f, void *out)
{
    if (!lua_istable(c->L, -1) || lua_objlen(c->L, -1))
        conv_wrong(c, f->name, "a table such as { name = \"山田\" }", -1);
    ((struct send_options *)out)->data = 1;
}

static const struct conv_field send_fields[] = {
    {"stream", CONV_OTHER, .required = true, .read = read_send_stream},
    {"to", CONV_OTHER, CONV_AT(struct send_options, send.to), .required = true, .read = read_header_text},
    {"data", CONV_OTHER, .read = read_data},
    {"key", CONV_TEXT, CONV_AT(struct send_options, send.key)},
    CONTENT_FIELDS(struct send_options),
    {"at", CONV_OTHER, CONV_AT(struct send_options, send.at_ms), .read = read_at},
    {"expire", CONV_DURATION, CONV_AT(struct send_options, send.expire_ms)},
    {"missing", CONV_OTHER, CONV_AT(struct send_options, missing_empty), .read = read_missing},
    {0}};

/* Columns and values of the table at index, in the order of its keys: the same table, the same bytes. */
static void put_columns(struct conv *c, int index, struct slice *columns, struct slice *values)
{
    lua_State *L = c->L;
    struct buf *b = &api_of(L)->text;
    int n = vm_sorted_keys(L, index), keys = lua_gettop(L);
    if (n > UINT16_MAX)
        conv_fail(c, "more than %d names", UINT16_MAX);
    buf_clear(b);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, keys, i);
        struct slice name = vm_slice(L, -1);
        if (!name.n || memchr(name.p, 0x1f, name.n))
            conv_fail(c, "a name is empty or holds a control character");
        if (i > 1)
            buf_addc(b, 0x1f);
        buf_adds(b, name);
        lua_pop(L, 1);
    }
    *columns = arena_copy(c->arena, buf_slice(b));
    buf_clear(b);
    mp_put_array(b, (uint32_t)n);
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, keys, i);
        lua_pushvalue(L, -1);
        lua_rawget(L, index);
        api_put_value(c, lua_tostring(L, -2), -1, b);
        lua_pop(L, 2);
    }
    *values = arena_copy(c->arena, buf_slice(b));
    lua_pop(L, 1);
}

/* Nothing of ours waits but the script: the host's completion finds nobody, which is fine. */
static void on_cancel_send(void *data)
{
}

static int push_failure(lua_State *L, struct slice why, int status)
{
    static const struct {
        int status;
        const char *code;
    } codes[] = {{ERR_EXISTS, "exists"}, {ERR_FULL, "full"},       {ERR_SYNTAX, "invalid"},
                 {ERR_INVAL, "invalid"}, {ERR_MISSING, "missing"}, {ERR_CANCELED, "canceled"}};
    const char *code = "failed";
    for (size_t i = 0; i < COUNT(codes); i++)
        if (codes[i].status == status)
            code = codes[i].code;
    lua_pushnil(L);
    lua_pushlstring(L, why.p, why.n);
    lua_pushstring(L, code);
    return 3;
}

/* hato.send { … }: id, or nil, why, code. Waits until the mail is durable. */
static int send_one(lua_State *L)
{
    struct api *api = api_of(L);
    struct conv c = {L, &api->scratch, "hato.send"};
    struct task_wait wait = task_wait_begin(L, c.who);
    arena_reset(&api->scratch);
    struct send_options o = {.send = {.to = SLICE_NONE,
                                      .key = SLICE_NONE,
                                      .columns = SLICE_NONE,
                                      .values = SLICE_NONE,
                                      .expire_ms = INT64_MAX},
                             .content = conf_content_empty()};
    lua_settop(L, 1);
    conv_table(&c, 1, send_fields, 0, &o);
    check_content(&c, &o.content);
    if (o.data) {
        lua_getfield(L, 1, "data");
        size_t before = conv_enter(&c, "data");
        put_columns(&c, 2, &o.send.columns, &o.send.values);
        conv_leave(&c, before);
        lua_settop(L, 1);
    }
    o.send.stream = conf_find_stream(api->conf, o.stream);
    if (o.send.stream == CONF_NONE)
        conv_fail(&c, "no stream \"%.*s\" is declared above this line", SLICE_FMT(o.stream));
    o.content.columns = o.send.columns;
    o.content.missing_empty = o.missing_empty;
    o.send.content = o.content;
    o.send.missing_empty = o.missing_empty;
    if (!api->host.send)
        vm_fail(L, "hato.send: nothing is sent here");
    struct err e;
    int r = api->host.send(api->host.data, &o.send, wait, &e);
    if (r)
        return push_failure(L, slice_cstr(e.text), r);
    return task_yield(L, wait, on_cancel_send, NULL);
}

void api_sent(struct api *api, struct task_wait wait, int status, struct slice id, struct slice why)
{
    lua_State *L = task_complete(api->vm, wait);
    if (!L)
        return;
    int n = 1;
    if (status)
        n = push_failure(L, why, status);
    else
        lua_pushlstring(L, id.p, id.n);
    task_resume(api->vm, wait, n);
}

/* --- people from an iterator --- */

struct next_person {
    struct api *api;
    api_person_fn *fn;
    void *data;
};

/* In a task of its own, since it may raise: what the iterator gave → true, email, columns, values; or nil at
 * the end. */
static int convert_person(lua_State *L)
{
    struct conv c = {L, &api_of(L)->scratch, "a person"};
    arena_reset(&api_of(L)->scratch);
    if (lua_isnil(L, 1))
        return 1;
    if (!lua_istable(L, 1))
        conv_fail(&c, "wants { email = …, name = … }, or nil at the end, not %s", vm_describe(L, 1));
    int n = vm_sorted_keys(L, 1);
    struct slice email = SLICE_NONE;
    for (int i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        if (api_is_address_column(vm_slice(L, -1))) {
            lua_rawget(L, 1);
            if (lua_type(L, -1) == LUA_TSTRING)
                email = arena_copy(c.arena, vm_slice(L, -1));
        }
        lua_pop(L, 1);
    }
    if (!email.n)
        conv_fail(&c, "has no email");
    struct slice columns, values;
    put_columns(&c, 1, &columns, &values);
    lua_pushboolean(L, 1);
    lua_pushlstring(L, email.p, email.n);
    lua_pushlstring(L, columns.p, columns.n);
    lua_pushlstring(L, values.p, values.n);
    return 4;
}

static void on_converted(void *data, const struct task_result *r)
{
    struct next_person *next = data;
    if (r->status) {
        next->fn(next->data, r->status == ERR_CANCELED ? ERR_CANCELED : ERR_SYNTAX, NULL, r->error);
    } else if (r->n < 4) {
        next->fn(next->data, ERR_EOF, NULL, SLICE_NONE);
    } else {
        struct api_person p = {vm_slice(r->L, -3), vm_slice(r->L, -2), vm_slice(r->L, -1)};
        next->fn(next->data, 0, &p, SLICE_NONE);
    }
    free(next);
}

static void on_person(void *data, const struct task_result *r)
{
    struct next_person *next = data;
    if (r->status) {
        next->fn(next->data, r->status, NULL, r->error);
        free(next);
        return;
    }
    lua_State *L = next->api->vm->L;
    lua_pushcfunction(L, convert_person);
    if (r->n) {
        lua_pushvalue(r->L, -r->n);
        lua_xmove(r->L, L, 1);
    } else {
        lua_pushnil(L);
    }
    task_run(next->api->vm, "a person", 1, on_converted, next);
}

void api_next_person(struct api *api, uint16_t index, api_person_fn *fn, void *data)
{
    const struct conf_campaign *k = &api->conf->campaigns[index];
    struct next_person *next = mem_alloc(sizeof *next);
    *next = (struct next_person){api, fn, data};
    char name[64];
    snprintf(name, sizeof name, "people of \"%.*s\"", (int)(k->name.n < 40 ? k->name.n : 40), k->name.p);
    lua_rawgeti(api->vm->L, LUA_REGISTRYINDEX, k->iterator);
    task_start(api->vm, name, 0, on_person, next);
}

void api_campaign_open(lua_State *L)
{
    static const luaL_Reg functions[] = {{"campaign", campaign}, {"send", send_one}, {"csv", csv}, {0}};
    luaL_register(L, NULL, functions);
    luaL_newmetatable(L, "hato.csv");
    lua_pushcfunction(L, csv_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pushliteral(L, "none of a script's business");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
