/* api_act_test.c - acts, rules and bars as a script writes them, and what becomes of them. */
#include "lua/api_impl.h"
#include "script.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

#define HATO "local hato = require 'hato'\n"

enum { SECOND = 1000, MINUTE = 60000, HOUR = 3600000 };
#define DAY ((int64_t)24 * HOUR)

/* The conf of a script of this one declaration. False: it failed. */
static bool run(struct script *s, const char *text)
{
    struct buf whole = {0};
    *s = (struct script){.api = true};
    buf_printf(&whole, HATO "%s\n", text);
    script_run(s, buf_cstr(&whole));
    buf_free(&whole);
    if (s->error.n)
        test_fail(__FILE__, __LINE__, "%s\n  %.*s", text, SLICE_FMT(buf_slice(&s->error)));
    return !s->error.n;
}

static bool same_act(const struct act *a, const struct act *b)
{
    return a->kind == b->kind && a->scope == b->scope && a->factor_ppm == b->factor_ppm &&
           a->for_ms == b->for_ms && a->recover_ms == b->recover_ms && a->alert == b->alert &&
           a->ignore == b->ignore;
}

TEST(every_act_of_a_script_is_kept_as_it_was_said)
{
    static const struct {
        const char *text;
        struct act want;
    } cases[] = {
        {"slow { factor = 0.01, scope = 'site', ['for'] = '1 s', recover = '90 days', alert = true }",
         {ACT_SLOW, ACT_SITE, 10000, SECOND, 90 * DAY, true, false}},
        {"fewer { factor = 0.99, scope = 'source' }", {ACT_FEWER, ACT_SOURCE, 990000, 30 * MINUTE, HOUR}},
        {"suspend { scope = 'campaign' }", {ACT_SUSPEND, ACT_CAMPAIGN, ACT_WHOLE, HOUR, 30 * MINUTE}},
        {"suspend { scope = 'stream', recover = '2 s' }",
         {ACT_SUSPEND, ACT_STREAM, ACT_WHOLE, HOUR, 2 * SECOND}},
        {"suspend { scope = 'path', ['for'] = '2 h' }",
         {ACT_SUSPEND, ACT_PATH, ACT_WHOLE, 2 * HOUR, 30 * MINUTE}},
        {"defer { ['for'] = '10 min' }", {ACT_DEFER, ACT_PATH, ACT_WHOLE, 10 * MINUTE}},
        {"reconnect { alert = true }", {ACT_RECONNECT, ACT_PATH, ACT_WHOLE, 0, 0, true, false}},
        {"next_source()", {ACT_NEXT_SOURCE, ACT_PATH, ACT_WHOLE, 15 * MINUTE}},
        {"pause { 'stream', 'isp' }", {ACT_PAUSE, ACT_STREAM, ACT_WHOLE, DAY, HOUR, true, false}},
        {"pause { 'campaign', 'isp', alert = false }", {ACT_PAUSE, ACT_CAMPAIGN, ACT_WHOLE, DAY, HOUR}},
        {"pause { 'isp', 'source' }", {ACT_PAUSE, ACT_PATH, ACT_WHOLE, DAY, HOUR, true, false}},
        {"pause { 'mx', 'isp', ['for'] = '2 h' }",
         {ACT_PAUSE, ACT_SITE, ACT_WHOLE, 2 * HOUR, HOUR, true, false}},
        {"pause { 'source', recover = '3 h' }",
         {ACT_PAUSE, ACT_SOURCE, ACT_WHOLE, DAY, 3 * HOUR, true, false}},
        {"suppress '1 min'", {ACT_SUPPRESS, ACT_PATH, ACT_WHOLE, MINUTE}},
        {"suppress 'forever'", {ACT_SUPPRESS, ACT_PATH, ACT_WHOLE, ACT_FOREVER}},
        {"quarantine()", {ACT_QUARANTINE, ACT_PATH, ACT_WHOLE, ACT_FOREVER}},
        {"ignore()", {.kind = ACT_NONE, .ignore = true}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[256];
        struct script s;
        snprintf(text, sizeof text, "hato.bounces { { class = 'blocked', act = hato.%s } }", cases[i].text);
        if (run(&s, text) &&
            !(s.conf->acts.nrules == 1 && same_act(&s.conf->acts.rules[0].act, &cases[i].want)))
            test_fail(__FILE__, __LINE__, "%s is another", cases[i].text);
        script_end(&s);
    }
    CHECK_SAYS_IN((struct script){.api = true}, HATO "print(hato.slow { factor = 0.25 }, hato.ignore())",
                  "act slow to 25 % for 30 min\tact ignore\n");
}

TEST(a_rule_of_a_script_is_kept_as_it_was_said)
{
    struct script s;
    CHECK(run(
        &s,
        "hato.bounces {\n"
        "  { isp = 'au', class = 'filtered' },\n"
        "  { class = { 'spam', 'virus' }, kind = 'block', act = hato.defer() },\n"
        "  { failure = { 'timeout', 'tls' }, share = 1, least = 7, within = '2 min', act = hato.slow() },\n"
        "  { code = 421, class = 'blocked', after = 2, act = hato.suspend() } }"));
    const struct acts *a = &s.conf->acts;
    CHECK(a->nof_rules == 2 && a->nrules == 2 && s.conf->nrules == 2);
    CHECK(!act_is_given(&a->of_rules[0].act)); /* a receiver alone is known by it already */
    CHECK_STR(a->of_rules[0].isp, S("au"));
    CHECK(a->of_rules[1].act.kind == ACT_SUSPEND && a->of_rules[1].after == 2);
    CHECK_INT(a->rules[0].classes, 1ull << CLASS_SPAM | 1ull << CLASS_VIRUS);
    CHECK_INT(a->rules[0].kinds, 1u << KIND_BLOCK);
    CHECK_INT(a->rules[1].failures, ACT_SILENCE | ACT_TLS);
    CHECK(a->rules[1].share_ppm == ACT_WHOLE && a->rules[1].least == 7 &&
          a->rules[1].within_ms == 2 * MINUTE);
    CHECK_STR(a->rules[1].name, S("dir/init.lua:2 rule 3"));
    script_end(&s);
}

TEST(acts_that_cannot_be_are_refused_with_a_sentence)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"hato.slow { factor = 0 }",
         "hato.slow: factor wants a part of what it was, from 0.01 to 0.99, not 0"},
        {"hato.slow { factor = 0.001 }",
         "hato.slow: factor wants a part of what it was, from 0.01 to 0.99, not 0.001"},
        {"hato.suspend { ['for'] = '91 days' }",
         "hato.suspend: for wants a time from \"1 s\" to \"90 days\", not \"91 days\""},
        {"hato.suspend { recover = '1 ms' }",
         "hato.suspend: recover wants a time from \"1 s\" to \"90 days\", not \"1 ms\""},
        {"hato.fewer { scope = 'campaign' }", "hato.fewer: scope wants \"path\", \"site\" or \"source\": one "
                                              "connection carries mail of any stream and "
                                              "campaign"},
        {"hato.pause { 'source', 'mx' }",
         "hato.pause: it wants what to pause: { \"stream\", \"isp\" }, { \"campaign\", \"isp\" }, "
         "{ \"source\", \"isp\" }, { \"mx\", \"isp\" } or { \"source\" }"},
        {"hato.bounces { { class = 'blocked', least = 3, act = hato.defer() } }",
         "hato.bounces: [1].defer is done at each such answer: nothing is counted for it"},
        {"hato.breaker { complaints = { within = '31 days' } }",
         "hato.breaker: complaints.within is a time from \"1 min\" to \"30 days\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char text[256], want[320];
        snprintf(text, sizeof text, "local hato = require 'hato' %s", cases[i].text);
        snprintf(want, sizeof want, "dir/init.lua:1: %s", cases[i].want);
        CHECK_SAYS_IN((struct script){.api = true}, text, want);
    }
}

TEST(each_breaker_is_set_and_switched_off_by_itself)
{
    const struct breaker_conf usual = breaker_default();
    struct script s;
    CHECK(run(&s, "hato.breaker { errors = false, complaints = { least = 7 } }"));
    const struct breaker_bar *errors = &s.conf->breaker.of[BREAKER_ERRORS],
                             *complaints = &s.conf->breaker.of[BREAKER_COMPLAINTS];
    CHECK(!errors->least && !errors->warn_ppm && !errors->stop_ppm);
    CHECK_INT(complaints->least, 7);
    CHECK_INT(complaints->warn_ppm, usual.of[BREAKER_COMPLAINTS].warn_ppm);
    CHECK_INT(complaints->stop_ppm, usual.of[BREAKER_COMPLAINTS].stop_ppm);
    CHECK_INT(s.conf->breaker.within_ms, usual.within_ms);
    script_end(&s);
    CHECK(run(&s, "hato.breaker { complaints = false, errors = { warn = 0.000001, stop = 1 } }"));
    errors = &s.conf->breaker.of[BREAKER_ERRORS];
    complaints = &s.conf->breaker.of[BREAKER_COMPLAINTS];
    CHECK(!complaints->least && !complaints->warn_ppm && !complaints->stop_ppm);
    CHECK_INT(errors->least, usual.of[BREAKER_ERRORS].least);
    CHECK(errors->warn_ppm == 1 && errors->stop_ppm == BREAKER_WHOLE);
    script_end(&s);
}
