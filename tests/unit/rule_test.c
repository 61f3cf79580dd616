/* rule_test.c - rules of every form, and what a pattern cannot match without. */
#include "format/rule_file.h"
#include "format/rule_needle.h"
#include "test.h"

/* --- needles --- */

TEST(needles_of_a_pattern)
{
    static const struct {
        const char *pattern, *want; /* joined by commas; "" : nothing is known */
    } cases[] = {
        {"user unknown", "user unknown"},
        {"this text is longer than the longest", "this text is"},
        {"^550 : User unknown$", "550 : user u"},
        {"user|mailbox", "user,mailbox"},
        {"(?:user|mailbox) (?:is )?unknown", "unknown"},
        {"mail ?box", "mail"},
        {"mailboxes? full", "mailboxe"},
        {"\\[TSS0[45]\\]", "[tss0"},
        {"no+such", "such"},
        {"ab{2,3}cde", "cde"},
        {"ab{0,3}cde", "cde"},
        {"x(?:foo)*yz", "yz"},
        {"(?=foo)bar", "bar"},
        {"(?!foo)bar|(?<=x)quux", "bar,quux"},
        {"容量.{0,9}超過", "容量"},
        {"bloquée?", "bloqu"},
        {"\\bspam\\b", "spam"},
        {"[Uu]ser\\d+ gone", " gone"},
        {"[]a-z]foo", "foo"},
        {".*", ""},
        {"", ""},
        {"a?|foo", ""},
        {"(?:foo)?", ""},
        {"(?x)f o o", ""},
        {"(?i)foo", ""},
        {"\\Qfoo\\E", ""},
        {"f\\x6fo", ""},
        {"foo{,3}", ""},
        {"(foo)\\1", ""},
        {"[[:alpha:]]foo", ""},
        {"(?(?=x)foo|bar)", ""},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena a = {0};
        struct buf got = {0};
        struct slice *v;
        size_t n = pattern_needles(slice_cstr(cases[i].pattern), &a, &v);
        for (size_t k = 0; k < n; k++)
            buf_printf(&got, "%s%.*s", k ? "," : "", SLICE_FMT(v[k]));
        if (strcmp(buf_cstr(&got), cases[i].want))
            test_fail(__FILE__, __LINE__, "%s: got \"%s\", want \"%s\"", cases[i].pattern, buf_cstr(&got),
                      cases[i].want);
        buf_free(&got);
        arena_free(&a);
    }
}

/* --- rules --- */

static struct rule_spec spec_of(const char *name, const char *text)
{
    return (struct rule_spec){.name = slice_cstr(name),
                              .isp = SLICE_NONE,
                              .enhanced = SLICE_NONE,
                              .text = slice_cstr(text),
                              .cls = CLASS_SPAM};
}

static const char *found(const struct rules *r, struct rule_work *w, struct rule_in in)
{
    struct rule_out out;

    rules_classify(r, w, &in, &out);
    return out.rule;
}

TEST(rules_match_when_all_they_name_fits_and_the_first_wins)
{
    struct rule_spec specs[9];
    struct rules *r;
    struct rule_work *w = rule_work_new();
    struct smtp_enhanced e4728 = {4, 7, 28}, e511 = {5, 1, 1}, e57610 = {5, 7, 610};

    for (size_t i = 0; i < COUNT(specs); i++)
        specs[i] = spec_of("", "");
    specs[0].name = S("isp");
    specs[0].isp = S("gmail");
    specs[1].name = S("data");
    specs[1].phases = rule_phase_bits(SMTP_PHASE_DATA);
    specs[2].name = S("range");
    specs[2].code_from = 520, specs[2].code_to = 529;
    specs[3].name = S("whole");
    specs[3].enhanced = S("4.7.28");
    specs[4].name = S("beginning");
    specs[4].enhanced = S("5.1.");
    specs[5].name = S("span");
    specs[5].enhanced = S("x.7.606-649");
    specs[6].name = S("words");
    specs[6].text = S("^550 spam$");
    specs[6].words = true;
    specs[7].name = S("text");
    specs[7].text = S("容量.*超過|Spam@Example");
    specs[8].name = S("both");
    specs[8].text = S("b[ou]th");
    specs[8].code_from = specs[8].code_to = 450;
    struct err e;
    CHECK_INT(rules_compile(specs, COUNT(specs), &r, &e), 0);
    CHECK_INT(rules_count(r), COUNT(specs));

    struct {
        struct rule_in in;
        const char *want;
    } cases[] = {
        {{S("gmail"), -1, 0, NULL, SLICE_NONE}, "isp"},
        {{S("gmx"), -1, 0, NULL, SLICE_NONE}, "none"},
        {{SLICE_NONE, SMTP_PHASE_DATA, 550, NULL, SLICE_NONE}, "data"},
        {{SLICE_NONE, SMTP_PHASE_EOD, 550, NULL, SLICE_NONE}, "data"},
        {{SLICE_NONE, SMTP_PHASE_RCPT, 550, NULL, SLICE_NONE}, "none"},
        {{SLICE_NONE, SMTP_PHASE_RCPT, 520, NULL, SLICE_NONE}, "range"},
        {{SLICE_NONE, SMTP_PHASE_RCPT, 529, NULL, SLICE_NONE}, "range"},
        {{SLICE_NONE, SMTP_PHASE_RCPT, 530, NULL, SLICE_NONE}, "none"},
        {{SLICE_NONE, SMTP_PHASE_RCPT, 421, &e4728, SLICE_NONE}, "whole"},
        {{SLICE_NONE, SMTP_PHASE_RCPT, 550, &e511, SLICE_NONE}, "beginning"},
        {{SLICE_NONE, SMTP_PHASE_RCPT, 550, &e57610, SLICE_NONE}, "span"},
        {{SLICE_NONE, -1, 550, NULL, S("550 <spam@example.jp> SPAM mx1.example.jp")}, "words"},
        {{SLICE_NONE, -1, 550, NULL, S("550 SPAM at MX1")}, "none"},
        {{SLICE_NONE, -1, 550, NULL, S("550 <spam@example.jp> is no complaint")}, "text"},
        {{SLICE_NONE, -1, 550, NULL, S("550 容量を超過しました")}, "text"},
        {{SLICE_NONE, -1, 450, NULL, S("450 BOTH")}, "both"},
        {{SLICE_NONE, -1, 550, NULL, S("550 both")}, "none"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        if (strcmp(found(r, w, cases[i].in), cases[i].want))
            test_fail(__FILE__, __LINE__, "case %zu: %s, want %s", i, found(r, w, cases[i].in),
                      cases[i].want);
    rules_free(r);

    /* Their order is their rank. */
    specs[0] = spec_of("first", "a");
    specs[1] = spec_of("second", "ab");
    CHECK_INT(rules_compile(specs, 2, &r, &e), 0);
    CHECK(!strcmp(found(r, w, (struct rule_in){SLICE_NONE, -1, 550, NULL, S("550 ab")}), "first"));
    rules_free(r);
    CHECK_INT(rules_compile(NULL, 0, &r, &e), 0);
    CHECK(!strcmp(found(r, w, (struct rule_in){SLICE_NONE, -1, 550, NULL, S("550 ab")}), "none"));
    rules_free(r);
    rule_work_free(w);
}

TEST(rules_of_a_script_come_before_the_shipped_ones)
{
    struct rule_spec mine = spec_of("init.lua:12", "user unknown");
    struct rules *r;
    struct rule_work *w = rule_work_new();
    struct err e;

    mine.isp = S("gmail");
    CHECK_INT(rules_compile_shipped(&mine, 1, &r, &e), 0);
    struct rule_in in = {S("gmail"), -1, 550, NULL, S("550 User unknown")};
    CHECK(!strcmp(found(r, w, in), "init.lua:12"));
    in.isp = S("yahoo");
    CHECK(!strcmp(found(r, w, in), "shipped:words.user"));
    rules_free(r);
    rule_work_free(w);
}

TEST(rules_that_are_wrong_say_where)
{
    static const struct {
        const char *text, *enhanced;
        int from, to;
        const char *want;
    } cases[] = {
        {"(user|mailbox", "", 0, 0, "r: text \"(user|mailbox\": missing closing parenthesis at character 14"},
        {"容量[", "", 0, 0, "r: text \"容量[\": missing terminating ] for character class at character 4"},
        {"\xff", "", 0, 0, "r: text is not UTF-8"},
        {"", "5.7", 0, 0,
         "r: enhanced wants a status such as \"4.7.28\", or its beginning with a dot such as \"5.7.\", not "
         "\"5.7\""},
        {"", "3.7.", 0, 0,
         "r: enhanced wants a status such as \"4.7.28\", or its beginning with a dot such as \"5.7.\", not "
         "\"3.7.\""},
        {"", "5.7.1234", 0, 0,
         "r: enhanced wants a status such as \"4.7.28\", or its beginning with a dot such as \"5.7.\", not "
         "\"5.7.1234\""},
        {"", "x.7.9-8", 0, 0,
         "r: enhanced wants a status such as \"4.7.28\", or its beginning with a dot such as \"5.7.\", not "
         "\"x.7.9-8\""},
        {"", "", 550, 500, "r: code wants a number such as 550, or from and to such as 500 and 599"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rule_spec s = spec_of("r", cases[i].text);
        struct rules *r = NULL;
        struct err e = {0};
        s.enhanced = slice_cstr(cases[i].enhanced);
        s.code_from = cases[i].from;
        s.code_to = cases[i].to;
        CHECK(rules_compile(&s, 1, &r, &e) < 0 && !r);
        CHECK_STR(slice_cstr(e.text), slice_cstr(cases[i].want));
        CHECK(rule_check(&s, &e) < 0);
        CHECK_STR(slice_cstr(e.text), slice_cstr(cases[i].want + 3));
    }
}

TEST(rules_bear_hostile_texts)
{
    struct rule_spec specs[3] = {spec_of("costly", "(?:a+)+(?:a+)+$"), spec_of("kay", "kelvin|mass"),
                                 spec_of("end", "the end$")};
    struct rules *r;
    struct rule_work *w = rule_work_new();
    struct buf text = {0};
    struct err e;

    CHECK_INT(rules_compile(specs, COUNT(specs), &r, &e), 0);
    /* A pattern beyond its budget does not match, and the next one is asked. */
    for (int i = 0; i < 500; i++)
        buf_addc(&text, 'a');
    buf_adds(&text, S(" kelvin"));
    CHECK(!strcmp(found(r, w, (struct rule_in){SLICE_NONE, -1, 550, NULL, buf_slice(&text)}), "kay"));
    /* PCRE2 takes these for k and s; so must what looks for needles. */
    CHECK(!strcmp(found(r, w, (struct rule_in){SLICE_NONE, -1, 0, NULL, S("\u212aelvin")}), "kay"));
    CHECK(!strcmp(found(r, w, (struct rule_in){SLICE_NONE, -1, 0, NULL, S("ma\u017fs")}), "kay"));
    CHECK(!strcmp(found(r, w, (struct rule_in){SLICE_NONE, -1, 0, NULL, S("ma\xff\xfess")}), "none"));
    CHECK(!strcmp(found(r, w, (struct rule_in){SLICE_NONE, -1, 0, NULL, S("\xff\xfe ma\u017fs")}), "kay"));
    /* Texts are cut; what stands behind the cut is not seen. */
    buf_clear(&text);
    for (int i = 0; i < RULE_TEXT_MAX; i++)
        buf_addc(&text, 'x');
    buf_adds(&text, S("the end"));
    CHECK(!strcmp(found(r, w, (struct rule_in){SLICE_NONE, -1, 0, NULL, buf_slice(&text)}), "none"));
    buf_drop_front(&text, 7);
    CHECK(!strcmp(found(r, w, (struct rule_in){SLICE_NONE, -1, 0, NULL, buf_slice(&text)}), "end"));
    buf_free(&text);
    rules_free(r);
    rule_work_free(w);
}

/* --- the file --- */

TEST(rule_file_errors_name_the_line)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"spam a\n  text x\n", "f:1: a rule without a `source` line before it"},
        {"source x\nspamm a\n", "f:2: no class \"spamm\"; did you mean \"spam\"?"},
        {"source x\nspam\n", "f:2: a rule needs a name behind its class"},
        {"source x\nspam a b\n", "f:2: \"b\" is no key=value"},
        {"source x\nspam a bb=c\n", "f:2: unknown key \"bb\""},
        {"source x\nspam a phase=dot\n", "f:2: no phase \"dot\""},
        {"source x\nspam a code=55\n", "f:2: code wants 550 or 500-599, not \"55\""},
        {"source x\nspam a\n  text x\n  says y\n", "f:4: the rule above has no `not`"},
        {"source x\nspam a\n  text x\n  not y\n\n\n", "f:6: the rule above has no `says`"},
        {"source x\nspam a\n  says x\n  not y\nspam a\n", "f:5: a second rule \"a\""},
        {"source x\nspam a\n  sais x\n", "f:3: \"sais\" is none of text, words, says and not"},
        {"source x\nspam a\n  text\n", "f:3: nothing behind \"text\""},
        {"source x\n  text x\n", "f:2: an indented line belongs to a rule, and none stands above"},
        {"source\n", "f:1: nothing behind \"source\""},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct arena a = {0};
        struct rule_file f;
        struct err e = {0};
        int rc = rule_file_read(slice_cstr(cases[i].text), "f", "", &a, &f, &e);
        arena_free(&a);
        CHECK(rc < 0);
        CHECK_STR(slice_cstr(e.text), slice_cstr(cases[i].want));
    }
}
