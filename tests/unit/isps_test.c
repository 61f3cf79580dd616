/* isps_test.c - the shipped tables of receivers: what they match, and that no pattern is there for nothing.
 */
#include "lua/isps.h"
#include "format/returned.h"
#include "script.h"
#include "test.h"

#define HATO "local hato = require 'hato'\n"

/* The isp that decides for a mail host, or for a domain whose hosts nobody knows. */
static uint16_t match(const struct isps *s, bool of_mx, struct slice name, struct slice *pattern)
{
    struct slice none = S("mx.unknown.invalid");
    return of_mx ? conf_isp_match(s->v, s->n, S("unknown.invalid"), &name, 1, pattern)
                 : conf_isp_match(s->v, s->n, name, &none, 1, pattern);
}

/* Every sample is its own table's, and every pattern is what decides for one of its table's samples: one that
 * a longer or an earlier pattern always hides has none. */
static void check_patterns(const struct isps *s, size_t at, bool of_mx)
{
    const struct conf_isp *isp = &s->v[at];
    const struct slice *patterns = of_mx ? isp->mx : isp->domains;
    const struct slice *samples = of_mx ? s->samples[at].mx : s->samples[at].domains;
    size_t np = of_mx ? isp->nmx : isp->ndomains, ns = of_mx ? s->samples[at].nmx : s->samples[at].ndomains;
    for (size_t i = 0; i < ns; i++) {
        struct slice pattern;
        uint16_t found = match(s, of_mx, samples[i], &pattern);
        bool own = found == at;
        if (!own)
            printf("   %.*s: sample %.*s is %s's\n", SLICE_FMT(isp->name), SLICE_FMT(samples[i]),
                   found == CONF_NONE ? "nobody" : s->v[found].name.p);
        CHECK(own);
    }
    for (size_t i = 0; i < np; i++) {
        bool fires = false;
        for (size_t j = 0; j < ns && !fires; j++) {
            struct slice pattern;
            fires = match(s, of_mx, samples[j], &pattern) == at && slice_eq(pattern, patterns[i]);
        }
        if (!fires)
            printf("   %.*s: no sample is for %.*s\n", SLICE_FMT(isp->name), SLICE_FMT(patterns[i]));
        CHECK(fires);
    }
}

TEST(every_shipped_pattern_decides_for_a_sample)
{
    struct arena a = {0};
    struct isps s;
    struct err e = {0};
    CHECK_INT(isps_load(&a, &s, &e), 0);
    CHECK(s.n >= 14);
    for (size_t i = 0; i < s.n; i++) {
        check_patterns(&s, i, true);
        check_patterns(&s, i, false);
    }
    arena_free(&a);
}

/* "google.com, googlemail.com (mx)", "163.com, 126.com (mx: netease.com)": each of the names is this isp's.
 */
static void check_names(const struct isps *s, size_t at, struct slice text)
{
    struct slice inside, outside = slice_cut(text, '(', &inside), lists[2] = {outside, SLICE_NONE};
    bool of_mx = slice_starts(inside, S("mx)"));
    if (slice_starts(inside, S("mx:")))
        lists[1] = slice_cut(slice_of(inside.p + 3, inside.n - 3), ')', &inside);
    for (int i = 0; i < 2; i++) {
        for (struct slice rest = lists[i], name, pattern; rest.n;) {
            char below[64];
            name = slice_trim(slice_cut(rest, ',', &rest));
            bool wild = slice_starts(name, S("*."));
            snprintf(below, sizeof below, "%s%.*s", wild ? "a." : "", (int)name.n - 2 * wild,
                     name.p + 2 * wild);
            bool own = match(s, of_mx || i, slice_cstr(below), &pattern) == at;
            if (!own)
                printf("   %s is not %.*s's\n", below, SLICE_FMT(s->v[at].name));
            CHECK(own);
        }
    }
}

/* tests/golden/isp-limits.tsv: the receivers, and what is known of them. */
TEST(every_receiver_of_the_list_has_its_table_and_figures)
{
    struct slice lines = test_file("tests/golden/isp-limits.tsv");
    struct arena a = {0};
    struct isps s;
    struct err e = {0};
    int rows = 0;
    CHECK_INT(isps_load(&a, &s, &e), 0);
    while (lines.n) {
        struct slice line = slice_cut(lines, '\n', &lines), rest = line;
        if (!line.n || line.p[0] == '#')
            continue;
        struct slice name = slice_cut(rest, '\t', &rest);
        struct slice names = slice_cut(rest, '\t', &rest);
        struct slice connections = slice_cut(rest, '\t', &rest), messages = slice_cut(rest, '\t', &rest);
        size_t at = 0;
        while (at < s.n && !slice_eq(s.v[at].name, name))
            at++;
        CHECK(at < s.n);
        const struct conf_isp *isp = &s.v[at];
        check_names(&s, at, names);
        bool paced = slice_find(rest, S("10 mails/s")) >= 0;
        CHECK_INT(isp->amounts.rate.quota, paced ? 10 : 0);
        CHECK_INT(isp->amounts.rate.per_ms, paced ? 1000 : 0);
        uint64_t n = 0;
        CHECK_INT(isp->connections, slice_u64(connections, &n) ? 0 : n);
        if (!slice_u64(messages, &n))
            CHECK_INT(isp->per_connection, n);
        rows++;
    }
    CHECK_INT(rows, 14);
    arena_free(&a);
}

TEST(hosts_and_domains_are_the_isps_people_know)
{
    static const struct {
        const char *domain, *mx, *isp;
    } rows[] = {{"contoso.example", "contoso-example.mail.protection.outlook.com", "microsoft365"},
                {"fabrikam.example", "fabrikam-example.o-v1.mx.microsoft", "microsoft365"},
                {"hotmail.com", "hotmail-com.olc.protection.outlook.com", "outlook"},
                {"example.jp", "ASPMX.L.GOOGLE.COM", "gmail"},
                {"docomo.ne.jp", "mfsmax.docomo.ne.jp", "docomo"},
                {"au.com", "lsean.au.com", "au"},
                {"t.vodafone.ne.jp", "mx.elsewhere.invalid", "softbank"},
                {"vodafone.ne.jp", "mx.elsewhere.invalid", NULL},
                {"i.softbank.jp", "mx.elsewhere.invalid", "softbank"},
                {"yahoo.co.jp", "mx5.mail.yahoo.co.jp", "yahoo.co.jp"},
                {"yahoo.ne.jp", "mx.elsewhere.invalid", "softbank"},
                {"web.de", "mx-ha02.web.de", "gmx"},
                {"cox.net", "mx.elsewhere.invalid", "yahoo"},
                {"comcast.net", "mx-vip1.am0.yahoodns.net", "yahoo"}, /* moved: where the mail goes decides */
                {"126.com", "126mx01.mxmail.netease.com", "163"},
                {"example.jp", "mail.example.jp", NULL}};
    struct arena a = {0};
    struct isps s;
    struct err e = {0};
    CHECK_INT(isps_load(&a, &s, &e), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice mx = slice_cstr(rows[i].mx);
        uint16_t found = conf_isp_match(s.v, s.n, slice_cstr(rows[i].domain), &mx, 1, NULL);
        CHECK_STR(found == CONF_NONE ? S("none") : s.v[found].name,
                  slice_cstr(rows[i].isp ? rows[i].isp : "none"));
    }
    arena_free(&a);
}

static struct slice isp_of(const struct conf *c, const char *domain, const char *host)
{
    struct slice mx = slice_cstr(host);
    uint16_t i = conf_match_isp(c, slice_cstr(domain), &mx, 1);
    return i == CONF_NONE ? S("none") : c->isps[i].name;
}

TEST(a_script_bends_a_shipped_table_key_by_key)
{
    struct script s = {.api = true};
    script_run(&s, HATO "hato.isp 'gmail' { connections = 20 }\n"
                        "hato.isp 'comcast' { per_connection = hato.unset }\n"
                        "hato.isp 'outlook' { mx = hato.unset }\n"
                        "hato.isp 'mine' { mx = 'google.com' }\n" /* as long as gmail's: the script's wins */
                        "hato.isp 'own' { domains = 'docomo.ne.jp' }\n" /* an MX pattern still comes first */
                        "hato.isp 'qq' { provider = hato.unset }\n"
                        "print(hato.isps)\n");
    CHECK_STR(buf_slice(&s.error), S(""));
    CHECK_STR(buf_slice(&s.out), S("shipped\n"));
    const struct conf *c = s.conf;
    const struct conf_isp *gmail = &c->isps[conf_find_isp(c, S("gmail"))];
    CHECK_INT(gmail->connections, 20);
    CHECK_INT(gmail->per_connection, 50);
    CHECK_INT(gmail->nmx, 2);
    CHECK_INT(c->isps[conf_find_isp(c, S("comcast"))].per_connection, 0);
    CHECK_STR(gmail->place.file, S("dir/init.lua"));
    CHECK_STR(isp_of(c, "example.jp", "aspmx.l.google.com"), S("mine"));
    CHECK_STR(isp_of(c, "example.jp", "alt3.aspmx.l.googlemail.com"), S("gmail"));
    CHECK_STR(isp_of(c, "docomo.ne.jp", "mfsmax.docomo.ne.jp"), S("docomo"));
    CHECK_STR(isp_of(c, "docomo.ne.jp", "mx.elsewhere.invalid"), S("own"));
    CHECK_STR(isp_of(c, "hotmail.com", "hotmail-com.olc.protection.outlook.com"),
              S("outlook")); /* by domain */
    CHECK_STR(isp_of(c, "example.com", "hotmail-com.olc.protection.outlook.com"), S("none"));
    CHECK_INT(c->isps[conf_find_isp(c, S("qq"))].provider.n, 0);
    script_end(&s);
}

TEST(shipped_tables_hold_without_a_word_and_not_after_none)
{
    struct script with = {.api = true}, without = {.api = true};
    script_run(&with, HATO);
    CHECK_STR(isp_of(with.conf, "example.jp", "aspmx.l.google.com"), S("gmail"));
    CHECK_STR(with.conf->isps[0].place.file, S("hato/isp/163.lua"));
    script_end(&with);
    script_run(&without, HATO "hato.isps = 'none'\nprint(hato.isps)\nhato.isp 'x' { mx = 'x.test' }\n");
    CHECK_STR(buf_slice(&without.out), S("none\n"));
    CHECK_INT(without.conf->nisps, 1);
    CHECK_STR(isp_of(without.conf, "example.jp", "aspmx.l.google.com"), S("none"));
    script_end(&without);
}

TEST(both_of_microsofts_isps_have_its_rules)
{
    struct arena a = {0};
    struct isps s;
    struct err e = {0};
    struct rule_spec spec = {.name = S("one"),
                             .isp = S("microsoft"),
                             .enhanced = SLICE_NONE,
                             .text = S("S3150"),
                             .cls = CLASS_BLOCKED};
    struct rules *rules;
    struct rule_work *work = rule_work_new();
    static const char *const names[] = {"outlook", "microsoft365", "microsoft", "gmail"};
    CHECK_INT(isps_load(&a, &s, &e), 0);
    CHECK_INT(rules_compile(&spec, 1, &rules, &e), 0);
    for (size_t i = 0; i < COUNT(names); i++) {
        struct rule_out out;
        struct slice name = slice_cstr(names[i]);
        struct rule_in in = {.isp = name,
                             .provider = isps_provider(&s, name),
                             .phase = RULE_PHASE_UNKNOWN,
                             .code = 550,
                             .text = S("550 5.7.1 on our block list (S3150)")};
        rules_classify(rules, work, &in, &out);
        CHECK_INT(out.index, i < 3 ? 0 : -1);
    }
    struct returned_isp who = {SLICE_NONE, SLICE_NONE};
    isps_who(&s, SLICE_NONE, S("live.jp"), &who);
    CHECK_STR(who.isp, S("outlook"));
    CHECK_STR(who.provider, S("microsoft"));
    rules_free(rules);
    rule_work_free(work);
    arena_free(&a);
}
