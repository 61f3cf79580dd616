/* conf_test.c - names find their isp. */
#include "delivery/conf.h"
#include "test.h"

TEST(a_pattern_takes_a_name_and_all_below_it)
{
    static const struct {
        const char *pattern, *name;
        bool want;
    } rows[] = {{"google.com", "google.com", true},
                {"google.com", "ASPMX.L.google.com", true},
                {"google.com", "notgoogle.com", false},
                {"*.vodafone.ne.jp", "t.vodafone.ne.jp", true},
                {"*.vodafone.ne.jp", "vodafone.ne.jp", false},
                {"google.com", "com", false}};
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK(conf_name_matches(slice_cstr(rows[i].pattern), slice_cstr(rows[i].name)) == rows[i].want);
}

TEST(an_mx_match_beats_a_domain_match_and_the_longer_one_wins)
{
    struct slice google[] = {S("google.com")}, special[] = {S("alt4.google.com")}, own[] = {S("example.jp")};
    struct conf_isp isps[] = {{.name = S("gmail"), .mx = google, .nmx = 1},
                              {.name = S("special"), .mx = special, .nmx = 1},
                              {.name = S("example"), .domains = own, .ndomains = 1}};
    struct conf c = {.isps = isps, .nisps = 3};
    struct slice mx[] = {S("alt1.google.com"), S("mx.alt4.google.com")}, other[] = {S("mail.other.test")};
    CHECK_INT(conf_match_isp(&c, S("example.jp"), mx, 2), 1);
    CHECK_INT(conf_match_isp(&c, S("example.jp"), mx, 1), 0);
    CHECK_INT(conf_match_isp(&c, S("example.jp"), other, 1), 2);
    CHECK_INT(conf_match_isp(&c, S("other.test"), other, 1), CONF_NONE);
}
