/* api_bounces.c - hato.bounces: rules that give replies their class, rules that say what is done about them,
 * and when mail is tried again. */
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

/* --- people --- */

static void read_part(struct conv *c, const struct conv_field *f, void *out)
{
    lua_Number n = lua_type(c->L, -1) == LUA_TNUMBER ? lua_tonumber(c->L, -1) : 0;
    if (!(n >= 0.001 && n <= 1))
        conv_wrong(c, f->name, "a part of all answers, such as 0.2", -1);
    *(uint32_t *)((char *)out + f->offset) = (uint32_t)(n * GUARD_WHOLE + 0.5);
}

static void read_guard(struct conv *c, const struct conv_field *f, void *out)
{
    struct guard_conf *guard = &((struct conf *)out)->person.guard;
    static const struct conv_field fields[] = {
        {"attempts", CONV_INT, CONV_AT(struct guard_conf, attempts), .least = 20, .most = GUARD_WINDOW_MOST},
        {"share", CONV_OTHER, CONV_AT(struct guard_conf, share_ppm), .read = read_part},
        {"usual", CONV_OTHER, CONV_AT(struct guard_conf, usual_ppm), .read = read_part},
        {0}};
    int at = lua_gettop(c->L);
    if (lua_isboolean(c->L, at) && !lua_toboolean(c->L, at)) {
        *guard = (struct guard_conf){0};
        return;
    }
    if (!lua_istable(c->L, at))
        conv_wrong(c, f->name, "false, or { share = 0.2, attempts = 200, usual = 0.05 }", at);
    size_t before = conv_enter(c, "guard");
    conv_table(c, at, fields, 0, guard);
    conv_leave(c, before);
}

static void read_span(struct conv *c, const struct conv_field *f, void *out)
{
    int64_t ms = conv_duration(c, f->name, -1);
    if (ms > 366 * 86400000LL)
        conv_wrong(c, f->name, "at most \"366 days\"", -1);
    *(int64_t *)((char *)out + f->offset) = ms;
}

/* --- rules --- */

/* A rule as it is written, of either pass. */
struct written {
    struct rule_spec spec;
    struct act_rule act;
    size_t nclasses;
};

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
    struct rule_spec *rule = &((struct written *)out)->spec;
    rule->phases = rule_phase_bits((enum smtp_phase)conv_word(c, f->name, -1, phase_words));
}

static int code_at(struct conv *c, int index)
{
    lua_Number n = lua_tonumber(c->L, index);
    return lua_type(c->L, index) == LUA_TNUMBER && n >= 200 && n <= 599 && n == (int)n ? (int)n : 0;
}

static void read_code(struct conv *c, const struct conv_field *f, void *out)
{
    struct rule_spec *rule = &((struct written *)out)->spec;
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

/* The class at the top of the stack. */
static enum reply_class class_at(struct conv *c, const char *field)
{
    struct slice name = conv_text(c, field, -1);
    enum reply_class cls;
    if (class_parse(name, &cls)) {
        struct slice near = class_near(name);
        if (near.n)
            conv_fail(c, "class \"%.*s\" is none; did you mean \"%.*s\"?", SLICE_FMT(name), SLICE_FMT(near));
        conv_fail(c, "class \"%.*s\" is none; lua/reference.md lists them", SLICE_FMT(name));
    }
    if (class_group_of(cls) == GROUP_NOT_A_BOUNCE)
        conv_fail(c, "class \"%.*s\" is none that a refusal can have", SLICE_FMT(name));
    return cls;
}

static void read_class(struct conv *c, const struct conv_field *f, void *out)
{
    struct written *w = out;
    int at = lua_gettop(c->L);
    w->nclasses = lua_istable(c->L, at) ? conv_items(c, f->name, at, "a class or a list of them") : 1;
    for (size_t i = 1; i <= w->nclasses; i++) {
        if (lua_istable(c->L, at))
            lua_rawgeti(c->L, at, (int)i);
        w->spec.cls = class_at(c, f->name);
        w->act.classes |= 1ull << w->spec.cls;
        lua_settop(c->L, at);
    }
}

static void read_kind(struct conv *c, const struct conv_field *f, void *out)
{
    static const struct conv_word words[] = {
        {"hard", KIND_HARD}, {"soft", KIND_SOFT}, {"block", KIND_BLOCK}, {0}};
    ((struct written *)out)->act.kinds = 1u << conv_word(c, f->name, -1, words);
}

static void read_failure(struct conv *c, const struct conv_field *f, void *out)
{
    static const struct conv_word words[] = {{"connect", ACT_REFUSED_CONNECTION},
                                             {"lost", ACT_LOST_CONNECTION},
                                             {"timeout", ACT_SILENCE},
                                             {"tls", ACT_TLS},
                                             {0}};
    struct written *w = out;
    int at = lua_gettop(c->L);
    size_t n = lua_istable(c->L, at) ? conv_items(c, f->name, at, "a failure or a list of them") : 1;
    for (size_t i = 1; i <= n; i++) {
        if (lua_istable(c->L, at))
            lua_rawgeti(c->L, at, (int)i);
        w->act.failures |= (unsigned)conv_word(c, f->name, -1, words);
        lua_settop(c->L, at);
    }
}

static void read_share(struct conv *c, const struct conv_field *f, void *out)
{
    int at = lua_gettop(c->L);
    lua_Number n = lua_type(c->L, at) == LUA_TNUMBER ? lua_tonumber(c->L, at) : 0;
    if (!(n >= 0.0001 && n <= 1))
        conv_wrong(c, f->name, "a part of all answers, such as 0.2", at);
    ((struct written *)out)->act.share_ppm = (uint32_t)(n * ACT_WHOLE + 0.5);
}

static void read_act(struct conv *c, const struct conv_field *f, void *out)
{
    int at = lua_gettop(c->L);
    if (!api_act_at(c->L, at, &((struct written *)out)->act.act))
        conv_wrong(c, f->name, "what hato.slow, suspend, suppress and their like return", at);
}

static const struct conv_field rule_fields[] = {
    {"isp", CONV_TEXT, CONV_AT(struct written, spec.isp)},
    {"phase", CONV_OTHER, .read = read_phase},
    {"code", CONV_OTHER, .read = read_code},
    {"enhanced", CONV_TEXT, CONV_AT(struct written, spec.enhanced)},
    {"text", CONV_TEXT, CONV_AT(struct written, spec.text)},
    {"failure", CONV_OTHER, .read = read_failure},
    {"class", CONV_OTHER, .read = read_class},
    {"kind", CONV_OTHER, .read = read_kind},
    {"retry", CONV_BOOL, CONV_AT(struct written, spec.retry)},
    {"act", CONV_OTHER, .read = read_act},
    {"after", CONV_INT, CONV_AT(struct written, act.after), .least = 1, .most = 1000000},
    {"within", CONV_DURATION, CONV_AT(struct written, act.within_ms)},
    {"share", CONV_OTHER, .read = read_share},
    {"least", CONV_INT, CONV_AT(struct written, act.least), .least = 1, .most = 1000000},
    {0},
};

static void check_counts(struct conv *c, const struct act_rule *r)
{
    bool person = act_is_about_person(r->act.kind);
    if (r->act.ignore && (r->after || r->within_ms || r->share_ppm || r->least))
        conv_fail(c, "act = hato.ignore() counts nothing: it goes without after, least, share and within");
    if (!act_is_given(&r->act) && (r->after || r->within_ms || r->share_ppm || r->least))
        conv_fail(c, "act is missing: what is done when that many have come");
    if (person && (r->share_ppm || r->least))
        conv_fail(c, "share and least count a receiver's answers; for a person, after counts the mails that "
                     "ended so, within their time");
    if (r->within_ms && !r->after && !r->share_ppm && !r->least)
        conv_fail(c, "within is the time in which something is counted: after, least or share is missing");
    if (r->share_ppm && !r->within_ms)
        conv_fail(c, "within is missing: the time in which the share is counted");
    bool reconnects = r->act.kind == ACT_RECONNECT || r->act.kind == ACT_DEFER;
    if (reconnects && (r->after || r->share_ppm || r->least))
        conv_fail(c, "%s is done at each such answer: nothing is counted for it", act_kind_name(r->act.kind));
}

static bool knows_reply(const struct rule_spec *s)
{
    return s->phases || s->code_from || s->enhanced.n || s->text.n;
}

static bool is_first_pass(const struct written *w)
{
    return !w->act.failures && (w->spec.isp.n || knows_reply(&w->spec));
}

/* The table on top of the stack. */
static struct written read_rule(struct conv *c, size_t number)
{
    struct conf_place place = api_place(c->L);
    struct written w = {.spec = {.isp = SLICE_NONE, .enhanced = SLICE_NONE, .text = SLICE_NONE},
                        .act = {.isp = SLICE_NONE, .of = SLICE_NONE, .has = SLICE_NONE}};
    struct rule_spec *spec = &w.spec;
    struct err e;

    if (!lua_istable(c->L, -1))
        conv_fail(c, "[%zu] wants a rule, { text = \"user unknown\", class = \"no_such_user\" }", number);
    size_t before = conv_enter(c, "[%zu]", number);
    conv_table(c, -1, rule_fields, 0, &w);
    bool first = is_first_pass(&w);
    if (w.act.failures && (knows_reply(spec) || w.act.classes || w.act.kinds || spec->retry))
        conv_fail(c, "failure stands for answers that never came: it goes with isp and act alone");
    if (first && !w.nclasses)
        conv_fail(c, "class is missing");
    if (first && (w.nclasses > 1 || w.act.kinds))
        conv_fail(c, "%s: a rule that knows a reply gives it one class",
                  w.act.kinds ? "kind follows from the class" : "class is a list");
    if (!first && !w.act.failures && !w.nclasses && !w.act.kinds)
        conv_fail(
            c, "it says nothing about the reply: class, kind, isp, phase, code, enhanced, text or failure is "
               "missing");
    if (!first && !act_is_given(&w.act.act))
        conv_fail(
            c, "act is missing: a rule with no isp, phase, code, enhanced and text says what is done about "
               "a class");
    if (!first && spec->retry)
        conv_fail(c, "retry goes with what a reply is known by: isp, phase, code, enhanced or text");
    check_counts(c, &w.act);
    if (first && rule_check(spec, &e))
        conv_fail(c, "%s", e.text);
    conv_leave(c, before);
    spec->name =
        slice_cstr(arena_printf(c->arena, "%.*s:%d rule %zu", SLICE_FMT(place.file), place.line, number));
    w.act.name = spec->name;
    w.act.isp = spec->isp;
    return w;
}

int api_bounces(lua_State *L)
{
    enum { RULES_MOST = 5000 };
    static const struct conv_field fields[] = {
        {"retry", CONV_OTHER, .read = read_retry},
        {"guard", CONV_OTHER, .read = read_guard},
        {"provisional", CONV_OTHER, CONV_AT(struct conf, person.provisional_ms), .read = read_span},
        {"nxdomain", CONV_OTHER, CONV_AT(struct conf, person.nxdomain_ms), .read = read_span},
        {"clear", CONV_OTHER, CONV_AT(struct conf, person.clear_ms), .read = read_span},
        {0}};
    struct api *api = api_of(L);
    struct conf *conf = api->conf;
    struct conv c = {L, &conf->arena, "hato.bounces"};

    api_declaring(L, c.who);
    if (api->bounces_given)
        conv_fail(&c, "it is given already; one table holds all of it");
    conv_table(&c, 1, fields, RULES_MOST, conf);
    size_t n = lua_objlen(L, 1);
    struct rule_spec *rules = arena_zalloc(c.arena, (n + 1) * sizeof *rules);
    struct act_rule *of_rules = arena_zalloc(c.arena, (n + 1) * sizeof *of_rules);
    struct act_rule *others = arena_zalloc(c.arena, (n + 1) * sizeof *others);
    size_t nfirst = 0, nothers = 0;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        struct written w = read_rule(&c, i + 1);
        if (is_first_pass(&w)) {
            rules[nfirst] = w.spec;
            of_rules[nfirst++] = w.act;
        } else {
            others[nothers++] = w.act;
        }
        lua_settop(L, 1);
    }
    conf->rules = rules;
    conf->nrules = nfirst;
    conf->acts.of_rules = of_rules;
    conf->acts.nof_rules = nfirst;
    conf->acts.rules = others;
    conf->acts.nrules = nothers;
    api->bounces_given = true;
    return 0;
}
