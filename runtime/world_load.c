/* world_load.c - a world from its Lua file; the format is in world.h.
 *
 * The file runs in a state of its own which has table, string, math and bit, and nothing that reads, waits,
 * draws lots or compiles. What it returns is read by option tables, as a script's options are. Every function
 * below world_parse() may raise; what it makes lies in the world's arena, and world_free() finds it. */
#include "world_impl.h"

#include "base/words.h"
#include "lua/conv.h"
#include "lua/vm.h"
#include "platform/file.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum {
    SOURCE_MOST = 4 << 20,
    STEPS = 50000000,
    MX_MOST = 64,
    ISPS_MOST = 10000,
    DELAY_MOST_MS = 86400000,
    RATES_MOST = 1000
};

struct loading {
    struct world *w;
    struct conv c;
    const char *path;
    struct slice source;
};

static struct world *world_of(struct conv *c)
{
    return CONTAINER(c, struct loading, c)->w;
}

/* --- values --- */

/* 0 to 1 → ppm, at offset. */
static void read_share(struct conv *c, const struct conv_field *f, void *out)
{
    double d = lua_tonumber(c->L, -1);
    if (lua_type(c->L, -1) != LUA_TNUMBER || !(d >= 0 && d <= 1))
        conv_wrong(c, f->name, "a share from 0 to 1", -1);
    *(uint32_t *)((char *)out + f->offset) = (uint32_t)(d * 1000000 + 0.5);
}

static void read_delay(struct conv *c, const struct conv_field *f, void *out)
{
    int64_t ms = conv_duration(c, f->name, lua_gettop(c->L));
    if (ms > DELAY_MOST_MS)
        conv_wrong(c, f->name, "a duration of at most one day", -1);
    *(int64_t *)((char *)out + f->offset) = ms;
}

/* A digit of the first three, and RFC 5321 4.2 knows no other. */
static int reply_code(struct slice line)
{
    uint64_t code;
    if (line.n < 3 || slice_u64(slice_of(line.p, 3), &code) || code < 200 || code > 599)
        return 0;
    return line.n == 3 || line.p[3] == ' ' || line.p[3] == '-' ? (int)code : 0;
}

/* "550 5.1.1 no\nsuch user" → 550-5.1.1 no, 550 such user, each with CRLF. A line may bring the code itself.
 */
static void read_answer(struct conv *c, const struct conv_field *f, void *out)
{
    struct slice rest = slice_trim(conv_text(c, f->name, lua_gettop(c->L)));
    int code = reply_code(rest);
    if (!code)
        conv_wrong(c, f->name, "a reply such as \"550 5.1.1 no such user\"", -1);
    char *wire = arena_alloc(c->arena, rest.n * 8 + 8), *at = wire;
    while (rest.n) {
        struct slice line = slice_trim(slice_cut(rest, '\n', &rest));
        if (reply_code(line) == code)
            line = line.n > 4 ? slice_of(line.p + 4, line.n - 4) : SLICE_NONE;
        for (size_t i = 0; i < line.n; i++)
            if ((unsigned char)line.p[i] < 32 && line.p[i] != '\t')
                conv_fail(c, "%s has a control character", f->name);
        at += sprintf(at, "%d%c", code, rest.n ? '-' : ' ');
        memcpy(at, line.p, line.n);
        memcpy(at + line.n, "\r\n", 2);
        at += line.n + 2;
    }
    *(struct world_answer *)((char *)out + f->offset) =
        (struct world_answer){code, slice_of(wire, (size_t)(at - wire))};
}

static void read_pattern(struct conv *c, const struct conv_field *f, void *out)
{
    struct world_reply *r = out;
    int error;
    PCRE2_SIZE at;
    r->to = conv_text(c, f->name, lua_gettop(c->L));
    r->to_re = pcre2_compile((PCRE2_SPTR)r->to.p, r->to.n, PCRE2_CASELESS, &error, &at, NULL);
    if (!r->to_re) {
        PCRE2_UCHAR why[128];
        pcre2_get_error_message(error, why, sizeof why);
        conv_fail(c, "%s: \"%.*s\" at its byte %zu: %s", f->name, SLICE_FMT(r->to), (size_t)at, (char *)why);
    }
}

/* The text at the top, or each of a list of them, in order. */
static void for_each_text(struct conv *c, const char *name, size_t most,
                          void (*one)(struct conv *, const char *name, struct slice text, void *out),
                          void *out)
{
    int index = lua_gettop(c->L);
    if (lua_type(c->L, index) == LUA_TSTRING) {
        one(c, name, conv_text(c, name, index), out);
        return;
    }
    size_t n = conv_items(c, name, index, "a text or a list of texts");
    if (!n || n > most)
        conv_fail(c, "%s wants 1 to %zu entries", name, most);
    for (size_t i = 0; i < n; i++) {
        char item[64];
        snprintf(item, sizeof item, "%s[%zu]", name, i + 1);
        lua_rawgeti(c->L, index, (int)i + 1);
        one(c, item, conv_text(c, item, lua_gettop(c->L)), out);
        lua_pop(c->L, 1);
    }
}

static struct slice host_name(struct conv *c, const char *name, struct slice text)
{
    struct slice host = world_fold(world_of(c), text);
    bool good = host.n && host.n <= 253 && host.p[0] != '.';
    for (size_t i = 0; good && i < host.n; i++) {
        char ch = host.p[i];
        good = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '-' || ch == '_' ||
               (ch == '.' && host.p[i - 1] != '.');
    }
    if (!good)
        conv_fail(c, "%s wants a DNS name, not \"%.*s\"", name, SLICE_FMT(text));
    return host;
}

/* "mx.gmail.test" or "20 mx.gmail.test" */
static void add_mx(struct conv *c, const char *name, struct slice text, void *out)
{
    struct world_isp *isp = out;
    struct slice host, first = slice_cut(text, ' ', &host);
    uint64_t preference = 10;
    if (!host.n)
        host = first;
    else if (slice_u64(first, &preference) || preference > UINT16_MAX)
        conv_fail(c, "%s wants a preference from 0 to 65535 before the name, not \"%.*s\"", name,
                  SLICE_FMT(first));
    isp->mx[isp->n_mx++] =
        (struct world_mx){host_name(c, name, slice_trim(host)), (uint16_t)preference, NULL, 0};
}

static void read_mx(struct conv *c, const struct conv_field *f, void *out)
{
    struct world_isp *isp = out;
    isp->mx = arena_alloc(c->arena, MX_MOST * sizeof *isp->mx);
    for_each_text(c, f->name, MX_MOST, add_mx, isp);
}

static void add_address(struct conv *c, const char *name, struct slice text, void *out)
{
    struct world_isp *isp = out;
    if (ip_parse(text, &isp->addresses[isp->n_addresses]))
        conv_fail(c, "%s wants an IP address, not \"%.*s\"", name, SLICE_FMT(text));
    isp->n_addresses++;
}

static void read_addresses(struct conv *c, const struct conv_field *f, void *out)
{
    struct world_isp *isp = out;
    isp->addresses = arena_alloc(c->arena, MX_MOST * sizeof *isp->addresses);
    for_each_text(c, f->name, MX_MOST, add_address, isp);
}

static void add_extension(struct conv *c, const char *name, struct slice text, void *out)
{
    static const struct {
        const char *word;
        unsigned bit;
    } known[] = {{"PIPELINING", WORLD_EXT_PIPELINING},
                 {"CHUNKING", WORLD_EXT_CHUNKING},
                 {"SIZE", WORLD_EXT_SIZE},
                 {"STARTTLS", WORLD_EXT_STARTTLS},
                 {"8BITMIME", WORLD_EXT_8BITMIME},
                 {"SMTPUTF8", WORLD_EXT_SMTPUTF8},
                 {"ENHANCEDSTATUSCODES", WORLD_EXT_ENHANCED},
                 {"DSN", WORLD_EXT_DSN}};
    struct world_isp *isp = out;
    struct slice value, word = slice_cut(text, ' ', &value), names[COUNT(known)];
    for (size_t i = 0; i < COUNT(known); i++) {
        names[i] = slice_cstr(known[i].word);
        if (!slice_ieq(word, names[i]))
            continue;
        bool sized = known[i].bit == WORLD_EXT_SIZE;
        if (value.n && (!sized || slice_u64(value, &isp->size_limit)))
            conv_fail(c, "%s: \"%.*s\": %s", name, SLICE_FMT(text),
                      sized ? "SIZE wants a number of bytes" : "only SIZE has a value");
        isp->extensions |= known[i].bit;
        return;
    }
    struct slice near = words_near(word, names, COUNT(names));
    if (near.n)
        conv_fail(c, "%s: no extension \"%.*s\"; did you mean \"%.*s\"?", name, SLICE_FMT(word),
                  SLICE_FMT(near));
    conv_fail(c, "%s: no extension \"%.*s\"", name, SLICE_FMT(word));
}

static void read_extensions(struct conv *c, const struct conv_field *f, void *out)
{
    struct world_isp *isp = out;
    isp->extensions = 0;
    if (lua_istable(c->L, -1) && !lua_objlen(c->L, -1)) /* {}: none at all */
        return;
    for_each_text(c, f->name, 32, add_extension, isp);
}

/* --- an ISP --- */

static void read_phase(struct conv *c, const struct conv_field *f, void *out)
{
    struct conv_word words[SMTP_PHASE_COUNT + 1] = {{0}};
    for (int i = 0; i < SMTP_PHASE_COUNT; i++)
        words[i] = (struct conv_word){smtp_phase_name((enum smtp_phase)i), i};
    ((struct world_reply *)out)->phase = (enum smtp_phase)conv_word(c, f->name, lua_gettop(c->L), words);
}

static void read_between(struct conv *c, const struct conv_field *f, void *out)
{
    struct world_reply *r = out;
    int at = lua_gettop(c->L);
    if (!lua_istable(c->L, at) || lua_objlen(c->L, at) != 2)
        conv_wrong(c, f->name, "two times since it began, { \"10 h\", \"11 h\" }", at);
    lua_rawgeti(c->L, at, 1);
    lua_rawgeti(c->L, at, 2);
    r->from_ms = conv_duration(c, f->name, at + 1);
    r->until_ms = conv_duration(c, f->name, at + 2);
    lua_settop(c->L, at);
    if (r->from_ms >= r->until_ms)
        conv_wrong(c, f->name, "a time and a later one, { \"10 h\", \"11 h\" }", at);
}

static const struct conv_field reply_fields[] = {
    {"phase", CONV_OTHER, .required = true, .read = read_phase},
    {"to", CONV_OTHER, .read = read_pattern},
    {"share", CONV_OTHER, CONV_AT(struct world_reply, share_ppm), .read = read_share},
    {"reply", CONV_OTHER, CONV_AT(struct world_reply, answer), .read = read_answer},
    {"delay", CONV_OTHER, CONV_AT(struct world_reply, delay_ms), .read = read_delay},
    {"between", CONV_OTHER, .read = read_between},
    {"garbage", CONV_BOOL, CONV_AT(struct world_reply, garbage)},
    {"disconnect", CONV_BOOL, CONV_AT(struct world_reply, disconnect)},
    {0}};

static void read_replies(struct conv *c, const struct conv_field *f, void *out)
{
    struct world_isp *isp = out;
    int index = lua_gettop(c->L);
    size_t n = conv_items(c, f->name, index, "a list of replies");
    isp->replies = arena_zalloc(c->arena, (n ? n : 1) * sizeof *isp->replies);
    for (size_t i = 0; i < n; i++) {
        struct world_reply *r = &isp->replies[isp->n_replies++];
        *r = (struct world_reply){.share_ppm = 1000000, .to = SLICE_NONE, .answer = {0, SLICE_NONE}};
        size_t before = conv_enter(c, "replies[%zu]", i + 1);
        lua_rawgeti(c->L, index, (int)i + 1);
        conv_table(c, -1, reply_fields, 0, r);
        lua_pop(c->L, 1);
        if (r->to.n && r->phase != SMTP_PHASE_RCPT && r->phase != SMTP_PHASE_DATA &&
            r->phase != SMTP_PHASE_EOD)
            conv_fail(c, "to: phase %s has no recipient", smtp_phase_name(r->phase));
        if (!r->answer.code && !r->garbage && !r->disconnect && !r->delay_ms)
            conv_fail(c, "reply, delay, garbage or disconnect is missing");
        if (r->answer.code && r->garbage)
            conv_fail(c, "garbage: there is a reply already");
        conv_leave(c, before);
    }
}

static const struct conv_word tls_words[] = {{"ok", WORLD_TLS_OK},
                                             {"refuse", WORLD_TLS_REFUSE},
                                             {"garbage", WORLD_TLS_GARBAGE},
                                             {"disconnect", WORLD_TLS_DISCONNECT},
                                             {0}};

/* The rate at the top, from this time on, in its place by time. */
static void add_rate(struct conv *c, const char *name, int64_t from_ms, struct world_isp *isp)
{
    struct world_rate rate = {.from_ms = from_ms};
    int64_t count;
    if (lua_type(c->L, -1) != LUA_TSTRING || words_rate(vm_slice(c->L, -1), &count, &rate.window_ms))
        conv_wrong(c, name, "a rate such as \"960/h\"", -1);
    rate.messages = (uint64_t)count;
    size_t at = isp->n_accept;
    for (; at > 0 && isp->accept[at - 1].from_ms >= from_ms; at--)
        if (isp->accept[at - 1].from_ms == from_ms)
            conv_fail(c, "%s: there are two rates for one time", name);
    memmove(&isp->accept[at + 1], &isp->accept[at], (isp->n_accept - at) * sizeof *isp->accept);
    isp->accept[at] = rate;
    isp->n_accept++;
}

/* "60/h", or { "60/h", ["12 h"] = "120/h" } */
static void read_accept(struct conv *c, const struct conv_field *f, void *out)
{
    lua_State *L = c->L;
    struct world_isp *isp = out;
    int index = lua_gettop(L);
    if (!lua_istable(L, index)) {
        isp->accept = arena_alloc(c->arena, sizeof *isp->accept);
        add_rate(c, f->name, 0, isp);
        return;
    }
    int n = vm_sorted_keys(L, index), keys = lua_gettop(L);
    if (n > RATES_MOST || lua_objlen(L, index) > 1)
        conv_fail(c, "%s: at most one rate without a time, and %d with one", f->name, RATES_MOST);
    isp->accept = arena_alloc(c->arena, (size_t)(n + 1) * sizeof *isp->accept);
    lua_rawgeti(L, index, 1);
    if (!lua_isnil(L, -1))
        add_rate(c, f->name, 0, isp);
    for (int i = 0; i < n; i++) {
        char name[64];
        lua_rawgeti(L, keys, i + 1);
        snprintf(name, sizeof name, "%s[\"%.40s\"]", f->name, lua_tostring(L, -1));
        int64_t from_ms = conv_duration(c, name, lua_gettop(L));
        lua_rawget(L, index);
        add_rate(c, name, from_ms, isp);
        lua_settop(L, keys);
    }
    if (!isp->n_accept)
        conv_fail(c, "%s is empty", f->name);
    lua_settop(L, index);
}

/* A reply to MAIL, or when and how else it says so. */
static void read_over(struct conv *c, const struct conv_field *f, void *out)
{
    static const struct conv_field fields[] = {
        {"phase", CONV_OTHER, .required = true, .read = read_phase},
        {"reply", CONV_OTHER, CONV_AT(struct world_reply, answer), .read = read_answer},
        {"delay", CONV_OTHER, CONV_AT(struct world_reply, delay_ms), .read = read_delay},
        {"garbage", CONV_BOOL, CONV_AT(struct world_reply, garbage)},
        {"disconnect", CONV_BOOL, CONV_AT(struct world_reply, disconnect)},
        {0}};
    static const struct conv_field answer = {.name = "over", .offset = offsetof(struct world_reply, answer)};
    struct world_isp *isp = out;
    struct world_reply *over = &isp->over;
    if (!lua_istable(c->L, -1)) {
        read_answer(c, &answer, over);
    } else {
        *over = (struct world_reply){.share_ppm = 1000000, .to = SLICE_NONE, .answer = {0, SLICE_NONE}};
        size_t before = conv_enter(c, "over");
        conv_table(c, -1, fields, 0, over);
        if (!over->answer.code && !over->garbage && !over->disconnect)
            conv_fail(c, "reply, garbage or disconnect is missing");
        if (over->answer.code && over->garbage)
            conv_fail(c, "garbage: there is a reply already");
        if (over->phase == SMTP_PHASE_STARTTLS || over->phase == SMTP_PHASE_AUTH ||
            over->phase == SMTP_PHASE_QUIT)
            conv_fail(c, "phase %s says nothing about messages", smtp_phase_name(over->phase));
        conv_leave(c, before);
    }
    if (over->answer.code && over->answer.code / 100 != 4 && over->answer.code / 100 != 5)
        conv_fail(c, "over wants a 4xx or 5xx reply");
}

static const struct conv_field isp_fields[] = {
    {"domains", CONV_TEXTS, CONV_AT(struct world_isp, domains),
     .count_at = offsetof(struct world_isp, n_domains)},
    {"every_domain", CONV_BOOL, CONV_AT(struct world_isp, every_domain)},
    {"mx", CONV_OTHER, .read = read_mx},
    {"address", CONV_OTHER, .required = true, .read = read_addresses},
    {"extensions", CONV_OTHER, .read = read_extensions},
    {"tls", CONV_WORD, CONV_AT(struct world_isp, tls), .words = tls_words},
    {"connections", CONV_INT, CONV_AT(struct world_isp, connections), .least = 1, .most = 1000000},
    {"per_connection", CONV_INT, CONV_AT(struct world_isp, per_connection), .least = 1, .most = 1000000},
    {"delay", CONV_OTHER, CONV_AT(struct world_isp, delay_ms), .read = read_delay},
    {"bytes_per_second", CONV_INT, CONV_AT(struct world_isp, bytes_per_second), .least = 1,
     .most = 1000000000},
    {"greylist", CONV_OTHER, CONV_AT(struct world_isp, greylist_ms), .read = read_delay},
    {"unknown", CONV_OTHER, CONV_AT(struct world_isp, unknown_ppm), .read = read_share},
    {"accept", CONV_OTHER, .read = read_accept},
    {"over", CONV_OTHER, .read = read_over},
    {"replies", CONV_OTHER, .read = read_replies},
    {0}};

static void finish_isp(struct conv *c, struct world_isp *isp)
{
    if (!isp->n_domains && !isp->every_domain)
        conv_fail(c, "domains is missing; every_domain = true takes all that no other ISP has");
    for (size_t i = 0; i < isp->n_domains; i++)
        isp->domains[i] = host_name(c, "domains", isp->domains[i]);
    if (!isp->n_mx) {
        char *host =
            arena_printf(c->arena, "mx.%.*s", SLICE_FMT(isp->n_domains ? isp->domains[0] : isp->name));
        isp->mx = arena_alloc(c->arena, sizeof *isp->mx);
        isp->mx[isp->n_mx++] = (struct world_mx){host_name(c, "mx", slice_cstr(host)), 10, NULL, 0};
    }
    bool paired = isp->n_mx > 1 && isp->n_mx == isp->n_addresses;
    for (size_t i = 0; i < isp->n_mx; i++) {
        isp->mx[i].addresses = paired ? &isp->addresses[i] : isp->addresses;
        isp->mx[i].n_addresses = paired ? 1 : isp->n_addresses;
    }
}

/* --- the whole --- */

static void read_isps(struct conv *c, const struct conv_field *f, void *out)
{
    lua_State *L = c->L;
    struct world *w = world_of(c);
    int index = lua_gettop(L);
    conv_items(c, f->name, index, "a table of ISPs by name");
    int n = vm_sorted_keys(L, index), keys = lua_gettop(L);
    if (n > ISPS_MOST)
        conv_fail(c, "%s: at most %d", f->name, ISPS_MOST);
    w->isps = arena_zalloc(c->arena, (size_t)(n ? n : 1) * sizeof *w->isps);
    for (int i = 0; i < n; i++) {
        /* Counted at once, so that world_free() finds what a later error leaves behind. */
        struct world_isp *isp = &w->isps[w->n_isps++];
        world_isp_defaults(isp);
        lua_rawgeti(L, keys, i + 1);
        isp->name = arena_copy(c->arena, vm_slice(L, -1));
        lua_rawget(L, index);
        size_t before = conv_enter(c, "isps.%.*s", SLICE_FMT(isp->name));
        if (!lua_istable(L, -1))
            conv_fail(c, "a table of options is wanted");
        conv_table(c, -1, isp_fields, 0, isp);
        finish_isp(c, isp);
        conv_leave(c, before);
        lua_settop(L, keys);
    }
}

static const struct conv_word dns_words[] = {
    {"servfail", WORLD_DNS_SERVFAIL},       {"nxdomain", WORLD_DNS_NXDOMAIN},
    {"nodata", WORLD_DNS_NODATA},           {"null_mx", WORLD_DNS_NULL_MX},
    {"implicit_mx", WORLD_DNS_IMPLICIT_MX}, {"loop", WORLD_DNS_LOOP},
    {"timeout", WORLD_DNS_TIMEOUT},         {"refused", WORLD_DNS_REFUSED},
    {"truncated", WORLD_DNS_TRUNCATED},     {0}};

static void read_dns(struct conv *c, const struct conv_field *f, void *out)
{
    lua_State *L = c->L;
    struct world *w = world_of(c);
    int index = lua_gettop(L);
    conv_items(c, f->name, index, "a table of faults by name");
    int n = vm_sorted_keys(L, index), keys = lua_gettop(L);
    w->dns = arena_zalloc(c->arena, (size_t)(n ? n : 1) * sizeof *w->dns);
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, keys, i + 1);
        struct slice name = host_name(c, f->name, vm_slice(L, -1));
        lua_rawget(L, index);
        size_t before = conv_enter(c, "dns");
        enum world_dns what = (enum world_dns)conv_word(c, name.p, lua_gettop(L), dns_words);
        conv_leave(c, before);
        w->dns[w->n_dns++] = (struct world_dns_entry){name, what};
        lua_settop(L, keys);
    }
}

/* Whoever simulates people reads them himself. */
static void check_people(struct conv *c, const struct conv_field *f, void *out)
{
    conv_items(c, f->name, lua_gettop(c->L), "a table");
}

static const struct conv_field world_fields[] = {{"isps", CONV_OTHER, .required = true, .read = read_isps},
                                                 {"dns", CONV_OTHER, .read = read_dns},
                                                 {"people", CONV_OTHER, .read = check_people},
                                                 {0}};

static void on_budget(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    vm_fail(L, "the world takes more than %d steps to describe", STEPS);
}

static void open_libraries(lua_State *L)
{
    static const lua_CFunction open[] = {luaopen_base, luaopen_table, luaopen_string, luaopen_math,
                                         luaopen_bit};
    static const char *const closed[] = {"dofile",   "load",   "loadfile", "loadstring",
                                         "require",  "module", "print",    "collectgarbage",
                                         "newproxy", "gcinfo", "coroutine"};
    for (size_t i = 0; i < COUNT(open); i++) {
        lua_pushcfunction(L, open[i]);
        lua_call(L, 0, 0);
    }
    for (size_t i = 0; i < COUNT(closed); i++) {
        lua_pushnil(L);
        lua_setglobal(L, closed[i]);
    }
    lua_getglobal(L, "math");
    lua_pushnil(L);
    lua_setfield(L, -2, "random");
    lua_pushnil(L);
    lua_setfield(L, -2, "randomseed");
    lua_getglobal(L, "string");
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    lua_settop(L, 0);
}

static int load(lua_State *L)
{
    struct loading *l = lua_touserdata(L, 1);
    lua_settop(L, 0);
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    open_libraries(L);
    lua_sethook(L, on_budget, LUA_MASKCOUNT, STEPS);
    lua_pushfstring(L, "@%s", l->path);
    if (l->source.n && l->source.p[0] == 27)
        vm_fail(L, "%s: this is bytecode; a world is text", l->path);
    if (luaL_loadbufferx(L, l->source.p, l->source.n, lua_tostring(L, -1), "t"))
        return lua_error(L);
    lua_call(L, 0, 1);
    if (!lua_istable(L, -1))
        vm_fail(L, "%s: a world returns a table", l->path);
    conv_table(&l->c, -1, world_fields, 0, l->w);
    return 0;
}

int world_parse(struct world **out, const char *path, struct slice source, struct err *e)
{
    lua_State *L = luaL_newstate();
    INVARIANT(L);
    struct loading l = {.w = world_new(), .path = path, .source = source};
    l.c = (struct conv){.L = L, .arena = &l.w->arena, .who = path};
    int r = 0;
    if (lua_cpcall(L, load, &l)) {
        const char *why = lua_tostring(L, -1);
        r = err_set(e, ERR_INVAL, "%s", why ? why : "the world raised something that is no text");
    } else if ((r = world_index(l.w, e))) {
        err_prefix(e, "%s: ", path);
    }
    lua_close(L);
    if (r)
        world_free(l.w);
    else
        *out = l.w;
    return r;
}

int world_load(struct world **out, const char *path, struct err *e)
{
    struct buf source = {0};
    struct fs *fs = fs_real();
    int r = fs_read_whole(fs, path, SOURCE_MOST, &source, e);
    if (!r)
        r = world_parse(out, path, buf_slice(&source), e);
    buf_free(&source);
    fs_free(fs);
    return r;
}
