/* api_bounces.c - hato.bounces: rules that give replies their class, and when mail is tried again. */
#include "lua/api_impl.h"
#include "format/rule.h"

#include <stdio.h>

static void read_retry(struct conv *c, const struct conv_field *f, void *out)
{
    struct conf *conf = out;
    static const struct conv_field fields[] = {
        {"give_up", CONV_DURATION, CONV_AT(struct conf, retry.give_up_ms)}, {0}};
    int list = lua_gettop(c->L);
    if (!lua_istable(c->L, list))
        conv_wrong(c, f->name, "a list of waits, { \"5 min\", \"30 min\", give_up = \"2 days\" }", list);
    size_t before = conv_enter(c, "retry");
    conv_table(c, list, fields, COUNT(conf->retry.retry_ms), conf);
    conv_leave(c, before);
    size_t n = lua_objlen(c->L, list);
    for (size_t i = 0; i < n; i++) {
        char where[32];
        snprintf(where, sizeof where, "retry[%zu]", i + 1);
        lua_rawgeti(c->L, list, (int)i + 1);
        conf->retry.retry_ms[i] = conv_duration(c, where, -1);
        if (conf->retry.retry_ms[i] < 1000 || conf->retry.retry_ms[i] > 30 * 86400000LL)
            conv_wrong(c, where, "a wait from \"1 s\" to \"30 days\"", -1);
        lua_pop(c->L, 1);
    }
    if (n)
        conf->retry.nretry = n;
}

/* --- rules --- */

static const struct conv_word phase_words[] = {
    {"connect", SMTP_PHASE_CONNECT},
    {"banner", SMTP_PHASE_BANNER},
    {"ehlo", SMTP_PHASE_EHLO},
    {"starttls", SMTP_PHASE_STARTTLS},
    {"auth", SMTP_PHASE_AUTH},
    {"mail", SMTP_PHASE_MAIL},
    {"rcpt", SMTP_PHASE_RCPT},
    {"data", SMTP_PHASE_DATA},
    {"eod", SMTP_PHASE_EOD},
    {"quit", SMTP_PHASE_QUIT},
    {0},
};

static void read_phase(struct conv *c, const struct conv_field *f, void *out)
{
    struct rule_spec *rule = out;
    rule->phases = rule_phase_bits((enum smtp_phase)conv_word(c, f->name, -1, phase_words));
}

static int code_at(struct conv *c, int index)
{
    lua_Number n = lua_tonumber(c->L, index);
    return lua_type(c->L, index) == LUA_TNUMBER && n >= 200 && n <= 599 && n == (int)n ? (int)n : 0;
}

static void read_code(struct conv *c, const struct conv_field *f, void *out)
{
    struct rule_spec *rule = out;
    int at = lua_gettop(c->L);
    if (lua_istable(c->L, at) && lua_objlen(c->L, at) == 2) {
        lua_rawgeti(c->L, at, 1);
        lua_rawgeti(c->L, at, 2);
        rule->code_from = code_at(c, at + 1);
        rule->code_to = code_at(c, at + 2);
        lua_settop(c->L, at);
    } else {
        rule->code_from = rule->code_to = code_at(c, at);
    }
    if (!rule->code_from || !rule->code_to || rule->code_from > rule->code_to)
        conv_wrong(c, f->name, "a reply code such as 550, or from and to such as { 500, 599 }", at);
}

static void read_class(struct conv *c, const struct conv_field *f, void *out)
{
    struct rule_spec *rule = out;
    struct slice name = conv_text(c, f->name, -1);
    if (class_parse(name, &rule->cls)) {
        struct slice near = class_near(name);
        if (near.n)
            conv_fail(c, "class \"%.*s\" is none; did you mean \"%.*s\"?", SLICE_FMT(name), SLICE_FMT(near));
        conv_fail(c, "class \"%.*s\" is none; lua/reference.md lists them", SLICE_FMT(name));
    }
    if (class_group_of(rule->cls) == GROUP_NOT_A_BOUNCE)
        conv_fail(c, "class \"%.*s\" is none that a refusal can have", SLICE_FMT(name));
}

static const struct conv_field rule_fields[] = {
    {"isp", CONV_TEXT, CONV_AT(struct rule_spec, isp)},
    {"phase", CONV_OTHER, .read = read_phase},
    {"code", CONV_OTHER, .read = read_code},
    {"enhanced", CONV_TEXT, CONV_AT(struct rule_spec, enhanced)},
    {"text", CONV_TEXT, CONV_AT(struct rule_spec, text)},
    {"class", CONV_OTHER, .required = true, .read = read_class},
    {"retry", CONV_BOOL, CONV_AT(struct rule_spec, retry)},
    {"act", CONV_LATER},
    {"kind", CONV_LATER},
    {"after", CONV_LATER},
    {"within", CONV_LATER},
    {"share", CONV_LATER},
    {"least", CONV_LATER},
    {0},
};

/* The table on top of the stack. */
static struct rule_spec read_rule(struct conv *c, size_t number)
{
    struct conf_place place = api_place(c->L);
    struct rule_spec rule = {.isp = SLICE_NONE, .enhanced = SLICE_NONE, .text = SLICE_NONE};
    struct err e;

    if (!lua_istable(c->L, -1))
        conv_fail(c, "[%zu] wants a rule, { text = \"user unknown\", class = \"no_such_user\" }", number);
    size_t before = conv_enter(c, "[%zu]", number);
    conv_table(c, -1, rule_fields, 0, &rule);
    if (!rule.isp.n && !rule.phases && !rule.code_from && !rule.enhanced.n && !rule.text.n)
        conv_fail(c, "isp is missing (or phase, code, enhanced or text): what a reply is known by; what "
                     "follows from a class alone comes with a later version of hato");
    if (rule_check(&rule, &e))
        conv_fail(c, "%s", e.text);
    conv_leave(c, before);
    rule.name =
        slice_cstr(arena_printf(c->arena, "%.*s:%d rule %zu", SLICE_FMT(place.file), place.line, number));
    return rule;
}

int api_bounces(lua_State *L)
{
    enum { RULES_MOST = 5000 };
    static const struct conv_field fields[] = {{"retry", CONV_OTHER, .read = read_retry}, {0}};
    struct api *api = api_of(L);
    struct conf *conf = api->conf;
    struct conv c = {L, &conf->arena, "hato.bounces"};

    api_declaring(L, c.who);
    if (api->bounces_given)
        conv_fail(&c, "it is given already; one table holds all of it");
    conv_table(&c, 1, fields, RULES_MOST, conf);
    size_t n = lua_objlen(L, 1);
    struct rule_spec *rules = n ? arena_zalloc(c.arena, n * sizeof *rules) : NULL;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        rules[i] = read_rule(&c, i + 1);
        lua_settop(L, 1);
    }
    conf->rules = rules;
    conf->nrules = n;
    api->bounces_given = true;
    return 0;
}
