/* act_test.c - what rules want done: which rule speaks for an answer, and the acts that ship with hato. */
#include "delivery/act_file.h"
#include "delivery/conf.h"
#include "delivery/verdict.h"
#include "format/reply_quote.h"
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
        {"slow a.b least=1000001\n", "backoff.rules:1: least cannot be \"1000001\""},
        {"slow a.b share=0.00001\n", "backoff.rules:1: share cannot be \"0.00001\""},
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

TEST(acts_as_text_are_read_to_the_last_word)
{
    static const char text[] =
        "suspend a.b  scope=source for=2h recover=10min after=5 least=7 share=0.25 within=3min isp=au "
        "has=\"Block List\" alert\n"
        "    says au 554 on our block list\n"
        "slow failure:timeout factor=0.05\n"
        "pause class:auth_failed scope=campaign has=SPF\n"
        "    says x 550 5.7.26 no\n"
        "    says y 550 5.7.27 no\n";
    struct arena a = {0};
    struct act_file f;
    struct err e;
    CHECK_INT(act_file_read(slice_cstr(text), "backoff.rules", &a, &f, &e), 0);
    CHECK(f.n == 3 && f.nsamples == 3);
    const struct act_rule *r = &f.rules[0];
    CHECK(r->act.kind == ACT_SUSPEND && r->act.scope == ACT_SOURCE && r->act.alert);
    CHECK(r->act.for_ms == 2 * 3600000 && r->act.recover_ms == 600000 && r->within_ms == 180000);
    CHECK(r->after == 5 && r->least == 7 && r->share_ppm == 250000 && !r->classes && !r->failures);
    CHECK_STR(r->name, S("shipped:backoff.rules:1"));
    CHECK_STR(r->of, S("shipped:a.b"));
    CHECK_STR(r->isp, S("au"));
    CHECK_STR(r->has, S("Block List"));
    r = &f.rules[1];
    CHECK(r->act.kind == ACT_SLOW && r->failures == ACT_SILENCE && r->act.factor_ppm == 50000 && !r->of.n);
    r = &f.rules[2];
    CHECK(r->act.kind == ACT_PAUSE && r->act.scope == ACT_CAMPAIGN &&
          r->classes == 1ull << CLASS_AUTH_FAILED);
    CHECK_STR(r->has, S("SPF"));
    CHECK(f.samples[0].rule == 0 && f.samples[1].rule == 2 && f.samples[2].rule == 2);
    CHECK_STR(f.samples[2].isp, S("y"));
    CHECK_STR(f.samples[2].text, S("550 5.7.27 no"));
    CHECK_INT(f.samples[2].line, 6);
    arena_free(&a);
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

TEST(acts_are_as_documented_where_a_script_says_no_more)
{
    enum { MINUTE = 60000, HOUR = 60 * MINUTE };
    static const int64_t day = 24 * (int64_t)HOUR;
    const struct act want[] = {
        {.kind = ACT_NONE, .factor_ppm = ACT_WHOLE},
        {.kind = ACT_SLOW, .factor_ppm = ACT_WHOLE / 2, .for_ms = 30 * MINUTE, .recover_ms = HOUR},
        {.kind = ACT_FEWER, .factor_ppm = ACT_WHOLE / 2, .for_ms = 30 * MINUTE, .recover_ms = HOUR},
        {.kind = ACT_SUSPEND, .factor_ppm = ACT_WHOLE, .for_ms = HOUR, .recover_ms = 30 * MINUTE},
        {.kind = ACT_DEFER, .factor_ppm = ACT_WHOLE, .for_ms = 30 * MINUTE},
        {.kind = ACT_RECONNECT, .factor_ppm = ACT_WHOLE},
        {.kind = ACT_NEXT_SOURCE, .factor_ppm = ACT_WHOLE, .for_ms = 15 * MINUTE},
        {.kind = ACT_PAUSE,
         .scope = ACT_STREAM,
         .factor_ppm = ACT_WHOLE,
         .for_ms = day,
         .recover_ms = HOUR,
         .alert = true},
        {.kind = ACT_SUPPRESS, .factor_ppm = ACT_WHOLE, .for_ms = ACT_FOREVER},
        {.kind = ACT_QUARANTINE, .factor_ppm = ACT_WHOLE, .for_ms = ACT_FOREVER}};
    CHECK_INT(COUNT(want), ACT_KINDS);
    for (int i = 0; i < ACT_KINDS; i++) {
        const struct act a = act_default((enum act_kind)i), *w = &want[i];
        if (a.kind != w->kind || a.scope != w->scope || a.factor_ppm != w->factor_ppm ||
            a.for_ms != w->for_ms || a.recover_ms != w->recover_ms || a.alert != w->alert || a.ignore)
            test_fail(__FILE__, __LINE__, "%s is another", act_kind_name(w->kind));
    }
}

TEST(an_act_says_what_it_does)
{
    static const struct {
        struct act act;
        const char *want;
    } cases[] = {
        {{.kind = ACT_SLOW, .factor_ppm = 255000, .for_ms = 90 * 60000}, "slow to 26 % for 1 h 30 min"},
        {{.kind = ACT_FEWER, .factor_ppm = 500000, .for_ms = 3600000}, "fewer to 50 % for 1 h"},
        {{.kind = ACT_SUSPEND, .factor_ppm = ACT_WHOLE, .for_ms = 5000}, "suspend for 5 s"},
        {{.kind = ACT_SUPPRESS, .for_ms = ACT_FOREVER}, "suppress"},
        {{.kind = ACT_RECONNECT}, "reconnect"},
        {{.ignore = true}, "ignore"}};
    struct buf b = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&b);
        act_text(&b, &cases[i].act);
        CHECK_STR(buf_slice(&b), slice_cstr(cases[i].want));
    }
    buf_free(&b);
}

/* --- what receivers want, by their own words --- */

static bool is_on_hold(const struct act_rule *r, enum act_scope scope)
{
    return r && (r->act.kind == ACT_SUSPEND || r->act.kind == ACT_PAUSE) && r->act.scope == scope;
}

/* The words of isp-replies.tsv's fourth column. What asks for fewer mails is found by every path itself,
 * which counts answers of these groups. */
static bool does_as_wanted(struct slice act, const struct verdict *v)
{
    const struct act_rule *r = v->act.path;
    enum class_group g = class_group_of(v->cls);
    if (slice_eq(act, S("slow")))
        return !r && (g == GROUP_RATE || g == GROUP_REPUTATION_BLOCK);
    if (slice_eq(act, S("suspend")))
        return is_on_hold(r, ACT_PATH) || is_on_hold(r, ACT_SOURCE);
    if (slice_eq(act, S("connections")))
        return r && r->act.kind == ACT_FEWER;
    if (slice_eq(act, S("reconnect")))
        return r && r->act.kind == ACT_RECONNECT && v->session_over;
    if (slice_eq(act, S("sender")))
        return r && (r->act.kind == ACT_SLOW || r->act.kind == ACT_SUSPEND) && r->act.scope == ACT_STREAM;
    if (slice_eq(act, S("auth")))
        return is_on_hold(r, ACT_STREAM);
    if (slice_eq(act, S("content")) || slice_eq(act, S("mend")))
        return is_on_hold(r, ACT_CAMPAIGN);
    return !r; /* recipient, permanent, inactive, filtered: of this person alone */
}

TEST(what_each_receiver_wants_done_is_done)
{
    struct slice rest = test_file("tests/golden/replies/isp-replies.tsv");
    struct conf *conf = conf_new();
    struct rules *rules = NULL;
    struct rule_work *work = rule_work_new();
    struct err e;
    int judged = 0;
    CHECK_INT(rules_compile_shipped(NULL, 0, &rules, &e), 0);
    while (rest.n) {
        struct slice line = slice_cut(rest, '\n', &rest);
        if (!line.n || line.p[0] == '#')
            continue;
        struct slice isp = slice_cut(line, '\t', &line), text = slice_cut(line, '\t', &line);
        struct slice phase = slice_cut(line, '\t', &line), act = slice_cut(line, '\t', &line);
        if (text.p[0] == '(')
            continue; /* no reply but a way of behaving */
        struct buf room = {0};
        struct reply_quote q;
        struct verdict v;
        reply_quote_read(text, &room, &q);
        struct smtp_reply reply = {
            .code = q.code, .text = q.text, .has_enhanced = q.has_enhanced, .enhanced = q.enhanced};
        verdict_give(&(struct verdict_in){.cause = CAUSE_REPLY,
                                          .phase = slice_eq(phase, S("rcpt"))      ? SMTP_PHASE_RCPT
                                                   : slice_eq(phase, S("connect")) ? SMTP_PHASE_BANNER
                                                                                   : SMTP_PHASE_EOD,
                                          .reply = &reply,
                                          .isp = isp,
                                          .rules = rules,
                                          .work = work,
                                          .acts = &conf->acts},
                     &v);
        if (!does_as_wanted(act, &v))
            test_fail(__FILE__, __LINE__, "%.*s \"%.*s\": %s by %s, %s by %.*s, but %.*s is wanted",
                      SLICE_FMT(isp), SLICE_FMT(text), class_name(v.cls), v.rule,
                      v.act.path ? act_kind_name(v.act.path->act.kind) : "nothing is done",
                      SLICE_FMT(v.act.path ? v.act.path->name : S("no rule")), SLICE_FMT(act));
        judged++;
        buf_free(&room);
    }
    CHECK_INT(judged, 101);
    rules_free(rules);
    rule_work_free(work);
    conf_free(conf);
}

TEST(the_first_rule_that_fits_speaks_for_the_path_and_another_for_the_person)
{
    struct act_rule of_rules[] = {{.name = S("r1"), .act = {.kind = ACT_NONE}},
                                  {.name = S("r2"), .act = {.kind = ACT_SLOW}},
                                  {.name = S("r0"), .act = {.ignore = true}}};
    struct act_rule others[] = {
        {.name = S("r3"), .act = {.kind = ACT_SUSPEND}, .failures = ACT_LOST_CONNECTION, .isp = S("au")},
        {.name = S("r4"), .act = {.kind = ACT_SUPPRESS}, .classes = 1ull << CLASS_NO_SUCH_USER},
        {.name = S("r5"), .act = {.kind = ACT_FEWER}, .kinds = 1u << KIND_HARD},
        {.name = S("r6"), .act = {.kind = ACT_QUARANTINE}, .classes = 1ull << CLASS_NO_SUCH_USER},
        {.name = S("r7"), .act = {.kind = ACT_PAUSE}, .classes = 1ull << CLASS_NO_SUCH_USER},
        {.name = S("r8"), .act = {.kind = ACT_QUARANTINE}, .classes = 1ull << CLASS_MOVED}};
    struct act_rule shipped[] = {
        {.name = S("s1"), .act = {.kind = ACT_SUSPEND}, .of = S("shipped:x"), .has = S("Block List")},
        {.name = S("s2"), .act = {.kind = ACT_RECONNECT}, .of = S("shipped:x")}};
    struct acts acts = {.of_rules = of_rules,
                        .nof_rules = COUNT(of_rules),
                        .rules = others,
                        .nrules = COUNT(others),
                        .shipped = shipped,
                        .nshipped = 2};
    static const struct {
        struct acts_in in;
        const char *path, *person;
    } cases[] = {
        {{.rule = 1, .name = "r2", .cls = CLASS_NO_SUCH_USER, .kind = KIND_HARD}, "r2", "r4"},
        {{.rule = 2, .name = "r0", .cls = CLASS_NO_SUCH_USER, .kind = KIND_HARD}, "r0", "r0"},
        {{.rule = 0, .name = "r1", .cls = CLASS_NO_SUCH_USER, .kind = KIND_HARD}, "r5", "r4"},
        {{.rule = 9, .name = "shipped:x", .text = S("554 on our block list"), .cls = CLASS_BLOCKED},
         "s1",
         NULL},
        {{.rule = 9, .name = "shipped:x", .text = S("554 no"), .cls = CLASS_BLOCKED}, "s2", NULL},
        {{.rule = 0, .name = "r1", .cls = CLASS_MOVED, .kind = KIND_HARD}, "r5", "r8"},
        {{.rule = 1, .name = "r2", .cls = CLASS_MOVED, .kind = KIND_HARD}, "r2", "r8"},
        {{.rule = 0, .name = "r1", .cls = CLASS_NO_SUCH_USER, .kind = KIND_SOFT}, "r7", "r4"},
        {{.rule = 9, .name = "shipped:y", .text = S("554 no"), .cls = CLASS_BLOCKED}, NULL, NULL},
        {{.rule = -1, .name = "lost", .failure = ACT_LOST_CONNECTION, .isp = S("au"), .cls = CLASS_NETWORK},
         "r3",
         NULL},
        {{.rule = -1, .name = "lost", .failure = ACT_LOST_CONNECTION, .isp = S("b"), .cls = CLASS_NETWORK},
         NULL,
         NULL},
        {{.rule = -1,
          .name = "lost",
          .failure = ACT_LOST_CONNECTION,
          .isp = S("b"),
          .provider = S("au"),
          .cls = CLASS_NETWORK},
         "r3",
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
