/* conv_test.c - options tables: what becomes of each type, and the sentence for each mistake. */
#include "script.h"
#include "test.h"
#include "base/words.h"
#include "lua/conv.h"

#include <lauxlib.h>

struct inner {
    struct slice domain;
    int64_t n;
};
struct options {
    struct slice name;
    bool flag;
    uint32_t connections;
    uint16_t small;
    int64_t wait_ms;
    struct conv_rate rate;
    struct slice *mx;
    size_t nmx;
    int tls;
    struct inner inner;
    int fn;
};

static void read_pair(struct conv *c, const struct conv_field *f, void *out)
{
    if (conv_items(c, f->name, -1, "a pair") != 2)
        conv_fail(c, "%s wants two", f->name);
}

static const struct conv_word tls_words[] = {{"none", 1}, {"opportunistic", 2}, {"require", 3}, {0}};
static const struct conv_field inner_fields[] = {
    {"domain", CONV_TEXT, CONV_AT(struct inner, domain), .required = true},
    {"n", CONV_INT, CONV_AT(struct inner, n)},
    {0}};
static const struct conv_field fields[] = {
    {"name", CONV_TEXT, CONV_AT(struct options, name)},
    {"flag", CONV_BOOL, CONV_AT(struct options, flag)},
    {"connections", CONV_INT, CONV_AT(struct options, connections), .least = 1, .most = 1000},
    {"small", CONV_INT, CONV_AT(struct options, small), .least = 0, .most = 65535},
    {"wait", CONV_DURATION, CONV_AT(struct options, wait_ms)},
    {"rate", CONV_RATE, CONV_AT(struct options, rate)},
    {"mx", CONV_TEXTS, CONV_AT(struct options, mx), .count_at = offsetof(struct options, nmx)},
    {"tls", CONV_WORD, CONV_AT(struct options, tls), .words = tls_words},
    {"inner", CONV_TABLE, CONV_AT(struct options, inner), .fields = inner_fields},
    {"fn", CONV_FUNCTION, CONV_AT(struct options, fn)},
    {"pair", CONV_OTHER, .read = read_pair},
    {"warmup", CONV_LATER},
    {0}};

static struct options got;
static struct arena arena;

static int take(lua_State *L)
{
    struct conv c = {L, &arena, "take \"x\""};
    got = (struct options){.connections = 7, .name = S("before")};
    conv_table(&c, 1, fields, 0, &got);
    return 0;
}

static int take_items(lua_State *L)
{
    struct conv c = {L, &arena, "take_items"};
    conv_table(&c, 1, &(struct conv_field){0}, 3, &got);
    return 0;
}

static void prepare(struct script *s)
{
    lua_pushcfunction(s->vm->L, take);
    lua_setglobal(s->vm->L, "take");
    lua_pushcfunction(s->vm->L, take_items);
    lua_setglobal(s->vm->L, "take_items");
}

TEST(an_options_table_becomes_a_struct)
{
    struct script s = {.prepare = prepare};
    script_run(
        &s,
        "take { name = 'n', flag = true, small = 65535, wait = '3 days', rate = '40/s', mx = { 'a', 'b' },\n"
        "       tls = 'require', inner = { domain = 'd', n = -5 }, fn = print, pair = { 1, 2 } }");
    CHECK_STR(buf_slice(&s.error), S(""));
    CHECK_STR(got.name, S("n"));
    CHECK(got.flag);
    CHECK_INT(got.connections, 7);
    CHECK_INT(got.small, 65535);
    CHECK_INT(got.wait_ms, 3 * 86400000);
    CHECK_INT(got.rate.count, 40);
    CHECK_INT(got.rate.per_ms, 1000);
    CHECK_INT(got.nmx, 2);
    CHECK_STR(got.mx[1], S("b"));
    CHECK_INT(got.tls, 3);
    CHECK_STR(got.inner.domain, S("d"));
    CHECK_INT(got.inner.n, -5);
    lua_rawgeti(s.vm->L, LUA_REGISTRYINDEX, got.fn);
    CHECK(lua_isfunction(s.vm->L, -1));
    script_end(&s);
    arena_free(&arena);
}

static bool fails(const char *text, const char *want)
{
    struct script s = {.prepare = prepare};
    struct buf b = script_says(&s, text);
    char whole[512];
    snprintf(whole, sizeof whole, "dir/init.lua:%s", want);
    bool same = slice_eq(buf_slice(&b), slice_cstr(whole));
    if (!same)
        test_fail(__FILE__, __LINE__, "%s\n  got  %s\n  want %s", text, buf_cstr(&b), whole);
    buf_free(&b);
    arena_free(&arena);
    return same;
}

TEST(a_wrong_option_is_named_at_the_callers_line_with_what_would_be_right)
{
    static const struct {
        const char *script, *want;
    } cases[] = {
        {"\n\ntake { nmae = 'x' }", "3: take \"x\": unknown option \"nmae\"; did you mean \"name\"?"},
        {"take { zzzzzz = 1, yyyyyy = 2 }", "1: take \"x\": unknown option \"yyyyyy\"; it knows name, flag, "
                                            "connections, small, wait, rate, mx, tls, "
                                            "inner, fn, pair, warmup"},
        {"take { 'n' }", "1: take \"x\": a value has no name; options are written name = value"},
        {"take 'x'", "1: take \"x\" wants a table of options, not \"x\""},
        {"take()", "1: take \"x\" wants a table of options, not nil"},
        {"take { name = 12 }", "1: take \"x\": name wants a text, not 12"},
        {"take { name = '' }", "1: take \"x\": name is empty"},
        {"take { name = {} }", "1: take \"x\": name wants a text, not a table"},
        {"take { flag = 'yes' }", "1: take \"x\": flag wants true or false, not \"yes\""},
        {"take { connections = 0 }", "1: take \"x\": connections wants a whole number from 1 to 1000, not 0"},
        {"take { connections = 1.5 }",
         "1: take \"x\": connections wants a whole number from 1 to 1000, not 1.5"},
        {"take { connections = '20' }",
         "1: take \"x\": connections wants a whole number from 1 to 1000, not \"20\""},
        {"take { connections = 0/0 }",
         "1: take \"x\": connections wants a whole number from 1 to 1000, not nan"},
        {"take { wait = 3 }",
         "1: take \"x\": wait wants a duration with its unit, such as \"3 s\" or \"3 days\", not 3"},
        {"take { wait = '3' }", "1: take \"x\": wait wants a duration such as \"90 s\", \"10 min\", \"2 h\" "
                                "or \"3 days\", not \"3\""},
        {"take { wait = true }", "1: take \"x\": wait wants a duration such as \"90 s\", \"10 min\", \"2 h\" "
                                 "or \"3 days\", not true"},
        {"take { rate = 500 }",
         "1: take \"x\": rate wants a rate with its unit, such as \"500/h\" or \"500/s\", not 500"},
        {"take { rate = '500' }",
         "1: take \"x\": rate wants a rate such as \"500/h\" or \"40/s\", not \"500\""},
        {"take { mx = { 'a', 2 } }", "1: take \"x\": mx[2] wants a text, not 2"},
        {"take { mx = 2 }", "1: take \"x\": mx wants a text or a list of texts, not 2"},
        {"take { tls = 'requir' }",
         "1: take \"x\": tls wants \"none\", \"opportunistic\" or \"require\", not "
         "\"requir\"; did you mean \"require\"?"},
        {"take { tls = true }",
         "1: take \"x\": tls wants \"none\", \"opportunistic\" or \"require\", not true"},
        {"take { inner = { n = 1 } }", "1: take \"x\": inner.domain is missing"},
        {"take { inner = { domain = 'x', m = 1 } }",
         "1: take \"x\": inner: unknown option \"m\"; did you mean \"n\"?"},
        {"take { inner = 'x' }", "1: take \"x\": inner wants a table of options, not \"x\""},
        {"take { fn = 'x' }", "1: take \"x\": fn wants a function, not \"x\""},
        {"take { pair = { 1 } }", "1: take \"x\": pair wants two"},
        {"take { warmup = {} }", "1: take \"x\": warmup comes with a later version of hato"},
        {"take_items { 1, 2, 3, 4 }",
         "1: take_items: its list has a hole, a key that is no name, or more than 3 items"},
        {"take_items { 1, nil, 3, [9] = 4 }",
         "1: take_items: its list has a hole, a key that is no name, or more than 3 items"},
        {"take_items { [{}] = 1 }",
         "1: take_items: its list has a hole, a key that is no name, or more than 3 items"},
        {"local function opts(t)\n  take(t)\nend\nopts { name = 'x', name2 = 'y' }",
         "2: take \"x\": unknown option \"name2\"; did you mean \"name\"?\n    from dir/init.lua:4"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        if (!fails(cases[i].script, cases[i].want))
            return;
}

TEST(rates_are_read_as_people_say_them)
{
    static const struct {
        const char *text;
        int64_t count, per_ms;
    } good[] = {
        {"500/h", 500, 3600000}, {" 40 / s ", 40, 1000}, {"3/10 min", 3, 600000}, {"1/day", 1, 86400000}};
    for (size_t i = 0; i < COUNT(good); i++) {
        int64_t count = 0, per_ms = 0;
        CHECK_INT(words_rate(slice_cstr(good[i].text), &count, &per_ms), 0);
        CHECK_INT(count, good[i].count);
        CHECK_INT(per_ms, good[i].per_ms);
    }
    static const char *const bad[] = {"",
                                      "5",
                                      "/h",
                                      "5/",
                                      "-5/h",
                                      "5/x",
                                      "0/h",
                                      "5/0",
                                      "5/forever",
                                      "5 h",
                                      "5/hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh",
                                      "99999999999/h"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        int64_t count, per_ms;
        if (!words_rate(slice_cstr(bad[i]), &count, &per_ms)) {
            test_fail(__FILE__, __LINE__, "\"%s\" was read as a rate", bad[i]);
            return;
        }
    }
}
