/* dmarc_test.c - DMARC records, the tree walk and alignment (RFC 9989). */
#include "format/dmarc.h"
#include "test.h"

TEST(records_are_read_and_what_is_odd_in_them_is_named)
{
    static const struct {
        const char *text;
        bool want;
        enum dmarc_word p, sp, np;
        bool strict_dkim, strict_spf, test;
        char psd;
        const char *rua, *wrong;
    } rows[] = {
        {"v=DMARC1; p=reject", true, DMARC_REJECT, 0, 0, false, false, false, 'u', "", ""},
        {"v = DMARC1 ; P = Quarantine ; sp=none; np=reject; adkim=s; aspf=s; t=y; psd=n;", true,
         DMARC_QUARANTINE, DMARC_NONE, DMARC_REJECT, true, true, true, 'n', "", ""},
        {"v=DMARC1;p=none;rua=mailto:d@example.test,mailto:e@example.test!10m;ruf=mailto:f@example.test",
         true, DMARC_NONE, 0, 0, false, false, false, 'u', "mailto:d@example.test,mailto:e@example.test!10m",
         ""},
        {"v=DMARC1; p=rejct; rua=mailto:d@example.test", true, DMARC_NONE, 0, 0, false, false, false, 'u',
         "mailto:d@example.test", "p=rejct"},
        {"v=DMARC1; p=reject; pct=50", true, DMARC_REJECT, 0, 0, false, false, false, 'u', "", "pct=50"},
        {"v=DMARC1; p=reject; rua=d@example.test", true, DMARC_REJECT, 0, 0, false, false, false, 'u', "",
         "rua=d@example.test"},
        {"v=DMARC1; p=reject; x-new=1; broken", true, DMARC_REJECT, 0, 0, false, false, false, 'u', "",
         "broken"},
        {"v=DMARC1; p=rejct", false, 0, 0, 0, 0, 0, 0, 0, "", ""},
        {"v=DMARC1", false, 0, 0, 0, 0, 0, 0, 0, "", ""},
        {"p=reject; v=DMARC1", false, 0, 0, 0, 0, 0, 0, 0, "", ""},
        {"v=DMARC2; p=reject", false, 0, 0, 0, 0, 0, 0, 0, "", ""},
        {"v=dmarc1; p=reject", false, 0, 0, 0, 0, 0, 0, 0, "", ""},
        {"", false, 0, 0, 0, 0, 0, 0, 0, "", ""},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct dmarc_record r;
        bool is = dmarc_parse(slice_cstr(rows[i].text), &r);
        CHECK_INT(is, rows[i].want);
        if (!is)
            continue;
        CHECK(r.p == rows[i].p && r.sp == rows[i].sp && r.np == rows[i].np);
        CHECK(r.strict_dkim == rows[i].strict_dkim && r.strict_spf == rows[i].strict_spf &&
              r.test == rows[i].test);
        CHECK_INT(r.psd, rows[i].psd);
        CHECK_STR(r.rua, slice_cstr(rows[i].rua));
        CHECK_STR(r.wrong, slice_cstr(rows[i].wrong));
    }
    struct slice two[] = {S("hello"), S("v=DMARC1; p=none"), S("v=DMARC1; p=reject")};
    struct dmarc_seen seen;
    dmarc_pick(two, 2, &seen);
    CHECK(seen.found && !seen.several);
    dmarc_pick(two, 3, &seen);
    CHECK(!seen.found && seen.several);
}

TEST(the_walk_asks_at_most_eight_names)
{
    struct slice names[DMARC_WALK_MAX];
    CHECK_INT(dmarc_walk(S("a.mail.example.com"), names), 4);
    CHECK_STR(names[0], S("a.mail.example.com"));
    CHECK_STR(names[3], S("com"));
    CHECK_INT(dmarc_walk(S("a.b.c.d.e.f.g.h.i.j.mail.example.com"), names), 8);
    CHECK_STR(names[0], S("a.b.c.d.e.f.g.h.i.j.mail.example.com"));
    CHECK_STR(names[1], S("g.h.i.j.mail.example.com"));
    CHECK_STR(names[7], S("com"));
    CHECK_INT(dmarc_walk(S("a.b.c.d.e.f.g.h"), names), 8);
    CHECK_STR(names[1], S("b.c.d.e.f.g.h"));
    CHECK_INT(dmarc_walk(S("com."), names), 1);
    CHECK_INT(dmarc_walk(S(""), names), 0);
}

/* records: one for each name of the walk, "" for none. */
static void holds(const char *domain, const char *const *records, const char *org, const char *at,
                  enum dmarc_word want)
{
    struct slice names[DMARC_WALK_MAX];
    struct dmarc_seen seen[DMARC_WALK_MAX];
    enum dmarc_word word = DMARC_ABSENT;
    size_t n = dmarc_walk(slice_cstr(domain), names);
    for (size_t i = 0; i < n; i++) {
        struct slice text = slice_cstr(records[i]);
        dmarc_pick(&text, 1, &seen[i]);
    }
    CHECK_STR(dmarc_org(slice_cstr(domain), names, seen, n), slice_cstr(org));
    size_t found = dmarc_policy(slice_cstr(domain), names, seen, n, &word);
    CHECK_STR(found < n ? names[found] : S("none"), slice_cstr(at));
    CHECK_INT(word, want);
}

TEST(whose_record_holds_is_what_the_walk_says)
{
    holds("m.example.co.jp", (const char *[]){"", "v=DMARC1; p=reject; sp=quarantine", "", ""},
          "example.co.jp", "example.co.jp", DMARC_QUARANTINE);
    holds("m.example.co.jp", (const char *[]){"v=DMARC1; p=none", "v=DMARC1; p=reject", "", ""},
          "example.co.jp", "m.example.co.jp", DMARC_NONE);
    holds("m.example.co.jp", (const char *[]){"v=DMARC1; p=reject; psd=n", "v=DMARC1; p=none", "", ""},
          "m.example.co.jp", "m.example.co.jp", DMARC_REJECT);
    holds("m.example.co.jp", (const char *[]){"", "", "v=DMARC1; p=reject; psd=y", ""}, "example.co.jp",
          "co.jp", DMARC_REJECT);
    holds("m.example.co.jp", (const char *[]){"", "v=DMARC1; p=none", "v=DMARC1; p=reject; psd=y", ""},
          "example.co.jp", "example.co.jp", DMARC_NONE);
    holds("m.example.co.jp", (const char *[]){"", "", "", ""}, "m.example.co.jp", "none", DMARC_ABSENT);
    holds("co.jp", (const char *[]){"v=DMARC1; p=reject; psd=y", ""}, "co.jp", "co.jp", DMARC_REJECT);
}

TEST(alignment_is_of_organizations_unless_strict)
{
    CHECK(dmarc_aligned(false, S("m.example.jp"), S("example.jp"), S("B.example.jp"), S("Example.jp")));
    CHECK(!dmarc_aligned(true, S("m.example.jp"), S("example.jp"), S("b.example.jp"), S("example.jp")));
    CHECK(dmarc_aligned(true, S("m.example.jp"), S("example.jp"), S("M.example.jp"), S("example.jp")));
    CHECK(!dmarc_aligned(false, S("m.example.jp"), S("example.jp"), S("mail.example"), S("mail.example")));
}
