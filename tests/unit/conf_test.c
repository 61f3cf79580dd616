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

TEST(a_source_goes_where_its_address_family_is_allowed)
{
    struct conf_source v4 = {.address = ip_v4(203, 0, 113, 7)}, any = {.name = S("default")},
                       v6 = {.address = {.family = 6}};
    static const struct {
        enum conf_family allowed;
        bool v4, v6;
    } rows[] = {{CONF_FAMILY_UNSET, true, false},
                {CONF_FAMILY_4, true, false},
                {CONF_FAMILY_6, false, true},
                {CONF_FAMILY_BOTH, true, true}};
    struct conf_source mixed[] = {v6, v4};
    struct conf c = {.sources = mixed, .nsources = 2}, only_v6 = {.sources = mixed, .nsources = 1};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct conf_isp isp = {.family = rows[i].allowed};
        CHECK_INT(conf_family_fits(&c, &isp, &v4), rows[i].v4);
        CHECK_INT(conf_family_fits(&c, &isp, &any), rows[i].v4);
        CHECK_INT(conf_family_fits(&c, &isp, &v6), rows[i].v6);
        /* Where no source is of the other family, what nobody has said is allowed. */
        CHECK_INT(conf_family_fits(&only_v6, &isp, &v6), rows[i].v6 || !i);
    }
    CHECK_INT(conf_family_fits(&c, NULL, &v4), true);
    CHECK_INT(conf_family_fits(&c, NULL, &v6), false);
    CHECK_INT(conf_family_fits(&only_v6, NULL, &v6), true);
}
