/* act_test.c - what rules want done: which rule speaks for an answer, and the acts that ship with hato. */
#include "delivery/act_file.h"
#include "delivery/conf.h"
#include "delivery/verdict.h"
#include "format/rule_file.h"
#include "test.h"

#include <stdlib.h>

static int read_file(const char *text, struct err *e)
{
    struct arena a = {0};
    struct act_file file;
    int r = act_file_read(slice_cstr(text), "backoff.rules", &a, &file, e);
    arena_free(&a);
    return r;
}

TEST(acts_as_text_say_what_is_wrong_with_them)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"halt a.b\n", "backoff.rules:1: no act \"halt\""},
        {"slow\n", "backoff.rules:1: an act needs what it is about"},
        {"slow a.b\n", "backoff.rules:1: the line above has no `says`"},
        {"slow a.b\n\nslow c.d\n", "backoff.rules:3: the line above has no `says`"},
        {"slow a.b factor=2\n", "backoff.rules:1: factor cannot be \"2\""},
        {"slow a.b scope=isp\n", "backoff.rules:1: scope cannot be \"isp\""},
        {"slow a.b for=soon\n", "backoff.rules:1: for cannot be \"soon\""},
        {"slow a.b after=0\n", "backoff.rules:1: after cannot be \"0\""},
        {"slow a.b speed=1\n", "backoff.rules:1: unknown key \"speed\""},
        {"slow a.b quick\n", "backoff.rules:1: \"quick\" is no key=value"},
        {"slow class:none-such\n", "backoff.rules:1: no \"class:none-such\""},
        {"slow a.b\n  says gmail\n", "backoff.rules:2: below an act stands: says ISP REPLY"},
        {"  says gmail 421 no\n", "backoff.rules:1: below an act stands: says ISP REPLY"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct err e = {0};
        CHECK(read_file(cases[i].text, &e) < 0);
        CHECK_STR(slice_cstr(e.text), slice_cstr(cases[i].want));
    }
    struct err e;
    CHECK_INT(read_file("# fine\nslow failure:lost isp=au after=5 within=1min\n", &e), 0);
}

static bool is_a_rule(const struct rule_file *file, struct slice name)
{
    for (size_t i = 0; i < file->n; i++)
        if (slice_eq(file->specs[i].name, name))
            return true;
    return false;
}

TEST(each_act_that_ships_speaks_for_its_own_replies)
{
    struct conf *conf = conf_new();
    struct arena a = {0};
    struct act_file file;
    struct rule_file names;
    struct rules *rules = NULL;
    struct rule_work *work = rule_work_new();
    struct err e;
    CHECK_INT(act_file_read(act_file_shipped(), "backoff.rules", &a, &file, &e), 0);
    CHECK_INT(rule_file_read(rule_file_shipped(), "bounces.rules", "shipped:", &a, &names, &e), 0);
    CHECK_INT(rules_compile_shipped(NULL, 0, &rules, &e), 0);
    CHECK(file.n > 20 && file.n == conf->acts.nshipped);
    for (size_t i = 0; i < file.n; i++)
        CHECK(!file.rules[i].of.n || is_a_rule(&names, file.rules[i].of));
    for (size_t i = 0; i < file.nsamples; i++) {
        const struct act_sample *s = &file.samples[i];
        struct smtp_reply reply = {.code = atoi(s->text.p), .text = s->text};
        struct slice rest, enhanced;
        struct verdict v;
        slice_cut(s->text, ' ', &rest);
        enhanced = slice_cut(rest, ' ', &rest);
        unsigned x = 0, y = 0, z = 0;
        char copy[32] = "";
        memcpy(copy, enhanced.p, enhanced.n < 31 ? enhanced.n : 31);
        if (sscanf(copy, "%u.%u.%u", &x, &y, &z) == 3) {
            reply.has_enhanced = true;
            reply.enhanced = (struct smtp_enhanced){(uint16_t)x, (uint16_t)y, (uint16_t)z};
        }
        verdict_give(&(struct verdict_in){.cause = CAUSE_REPLY,
                                          .phase = SMTP_PHASE_MAIL,
                                          .reply = &reply,
                                          .isp = s->isp,
                                          .rules = rules,
                                          .work = work,
                                          .acts = &conf->acts},
                     &v);
        if (v.act.path != &conf->acts.shipped[s->rule])
            test_fail(__FILE__, __LINE__, "backoff.rules:%d: is %s by %s, and met %.*s", s->line,
                      class_name(v.cls), v.rule, SLICE_FMT(v.act.path ? v.act.path->name : S("nothing")));
    }
    rules_free(rules);
    rule_work_free(work);
    arena_free(&a);
    conf_free(conf);
}

TEST(the_first_rule_that_fits_speaks_for_the_path_and_another_for_the_person)
{
    struct act_rule of_rules[2] = {{.name = S("r1"), .act = {.kind = ACT_NONE}},
                                   {.name = S("r2"), .act = {.kind = ACT_SLOW}}};
    struct act_rule others[] = {
        {.name = S("r3"), .act = {.kind = ACT_SUSPEND}, .failures = ACT_LOST_CONNECTION, .isp = S("au")},
        {.name = S("r4"), .act = {.kind = ACT_SUPPRESS}, .classes = 1ull << CLASS_NO_SUCH_USER},
        {.name = S("r5"), .act = {.kind = ACT_FEWER}, .kinds = 1u << KIND_HARD},
        {.name = S("r6"), .act = {.kind = ACT_PAUSE}, .classes = 1ull << CLASS_NO_SUCH_USER}};
    struct act_rule shipped[] = {
        {.name = S("s1"), .act = {.kind = ACT_SUSPEND}, .of = S("shipped:x"), .has = S("Block List")},
        {.name = S("s2"), .act = {.kind = ACT_RECONNECT}, .of = S("shipped:x")}};
    struct acts acts = {.of_rules = of_rules,
                        .nof_rules = 2,
                        .rules = others,
                        .nrules = COUNT(others),
                        .shipped = shipped,
                        .nshipped = 2};
    static const struct {
        struct acts_in in;
        const char *path, *person;
    } cases[] = {
        {{.rule = 1, .name = "r2", .cls = CLASS_NO_SUCH_USER, .kind = KIND_HARD}, "r2", "r4"},
        {{.rule = 0, .name = "r1", .cls = CLASS_NO_SUCH_USER, .kind = KIND_HARD}, "r5", "r4"},
        {{.rule = 9, .name = "shipped:x", .text = S("554 on our block list"), .cls = CLASS_BLOCKED},
         "s1",
         NULL},
        {{.rule = 9, .name = "shipped:x", .text = S("554 no"), .cls = CLASS_BLOCKED}, "s2", NULL},
        {{.rule = 9, .name = "shipped:y", .text = S("554 no"), .cls = CLASS_BLOCKED}, NULL, NULL},
        {{.rule = -1, .name = "lost", .failure = ACT_LOST_CONNECTION, .isp = S("au"), .cls = CLASS_NETWORK},
         "r3",
         NULL},
        {{.rule = -1, .name = "lost", .failure = ACT_LOST_CONNECTION, .isp = S("b"), .cls = CLASS_NETWORK},
         NULL,
         NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct acts_found found;
        acts_find(&acts, &cases[i].in, &found);
        CHECK_STR(found.path ? found.path->name : S(""), slice_cstr(cases[i].path ? cases[i].path : ""));
        CHECK_STR(found.person ? found.person->name : S(""),
                  slice_cstr(cases[i].person ? cases[i].person : ""));
    }
}
