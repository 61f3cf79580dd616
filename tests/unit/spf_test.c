/* spf_test.c - check_host() over DNS that is made up here; pyspf judges thousands more (tests/e2e). */
#include "format/spf.h"
#include "test.h"

/* "TYPE NAME VALUE" lines. FAIL and WAIT are types whose value is the type they are for. */
struct zone {
    struct slice lines;
    struct arena a;
    unsigned asked;
};

static enum spf_dns lookup(void *data, enum dns_type type, struct slice name, struct spf_answer *out)
{
    struct zone *z = data;
    char spare[12];
    struct slice wanted = slice_cstr(dns_type_name((uint16_t)type, spare)), rest = z->lines;
    struct slice *v = arena_zalloc(&z->a, 32 * sizeof *v);
    struct ip *ips = arena_zalloc(&z->a, 32 * sizeof *ips);
    size_t n = 0;
    z->asked++;
    while (rest.n && n < 32) {
        struct slice line = slice_cut(rest, '\n', &rest), value;
        struct slice kind = slice_cut(line, ' ', &value), owner = slice_cut(value, ' ', &value);
        if (!slice_ieq(owner, name))
            continue;
        if (slice_eq(kind, S("FAIL")) && slice_eq(value, wanted))
            return SPF_DNS_FAILED;
        if (slice_eq(kind, S("WAIT")) && slice_eq(value, wanted))
            return SPF_DNS_WAIT;
        if (!slice_eq(kind, wanted))
            continue;
        if (type == DNS_A || type == DNS_AAAA)
            INVARIANT(ip_parse(value, &ips[n]) == 0);
        v[n++] = value;
    }
    *out = (struct spf_answer){.v = v, .ips = ips, .n = n};
    return n ? SPF_DNS_OK : SPF_DNS_VOID;
}

static const char ZONE[] = "A example.test 192.0.2.1\n"
                           "AAAA example.test 2001:db8::1\n"
                           "MX example.test mx1.example.test\n"
                           "MX example.test mx2.example.test\n"
                           "A mx1.example.test 192.0.2.10\n"
                           "A mx2.example.test 192.0.2.11\n"
                           "PTR 192.0.2.3 mta.example.test\n"
                           "PTR 192.0.2.3 liar.example.test\n"
                           "A mta.example.test 192.0.2.3\n"
                           "A liar.example.test 192.0.2.4\n"
                           "TXT spf.test v=spf1 ip4:192.0.2.0/28 -all\n"
                           "TXT none.test hello\n"
                           "TXT two.test v=spf1 -all\n"
                           "TXT two.test v=spf1 ~all\n"
                           "TXT bad.test v=spf1 ip4:nonsense -all\n"
                           "FAIL broken.test TXT\n"
                           "FAIL broken.test A\n"
                           "FAIL broken.test MX\n"
                           "A 3.2.0.192.seen.test 127.0.0.2\n"
                           "A news.example.test 127.0.0.2\n";

static int check(const char *record, const char *ip, bool whole, struct spf_out *out, struct arena *a)
{
    struct zone z = {.lines = slice_cstr(arena_printf(a, "%sTXT example.test %s\n", ZONE, record))};
    struct spf_in in = {.domain = S("example.test"),
                        .sender = S("news@example.test"),
                        .helo = S("mta.example.test"),
                        .whole = whole,
                        .lookup = lookup,
                        .data = &z};
    INVARIANT(ip_parse(slice_cstr(ip), &in.ip) == 0);
    int r = spf_check(&in, a, out);
    if (!r) {
        out->term = arena_copy(a, out->term);
        out->record = arena_copy(a, out->record);
    }
    arena_free(&z.a);
    return r;
}

TEST(mechanisms_and_modifiers_mean_what_they_mean)
{
    static const struct {
        const char *record, *ip;
        enum spf_result want;
        const char *term;
    } rows[] = {
        {"v=spf1 ip4:192.0.2.0/28 -all", "192.0.2.3", SPF_PASS, "ip4:192.0.2.0/28"},
        {"v=spf1 ip4:192.0.2.0/28 -all", "192.0.2.16", SPF_FAIL, "-all"},
        {"V=SPF1 IP4:192.0.2.3 ~ALL", "192.0.2.3", SPF_PASS, "IP4:192.0.2.3"},
        {"v=spf1 ip6:2001:db8::/32 ?all", "2001:db8:9::1", SPF_PASS, "ip6:2001:db8::/32"},
        {"v=spf1 ip4:192.0.2.3 -all", "::ffff:192.0.2.3", SPF_PASS, "ip4:192.0.2.3"},
        {"v=spf1 a -all", "192.0.2.1", SPF_PASS, "a"},
        {"v=spf1 a -all", "2001:db8::1", SPF_PASS, "a"},
        {"v=spf1 a/28 -all", "192.0.2.15", SPF_PASS, "a/28"},
        {"v=spf1 a//64 -all", "2001:db8::77", SPF_PASS, "a//64"},
        {"v=spf1 a:mta.example.test -all", "192.0.2.3", SPF_PASS, "a:mta.example.test"},
        {"v=spf1 mx ~all", "192.0.2.11", SPF_PASS, "mx"},
        {"v=spf1 mx/24 ~all", "192.0.2.200", SPF_PASS, "mx/24"},
        {"v=spf1 mx ~all", "192.0.2.12", SPF_SOFTFAIL, "~all"},
        {"v=spf1 ptr -all", "192.0.2.3", SPF_PASS, "ptr"},
        {"v=spf1 ptr:other.test -all", "192.0.2.3", SPF_FAIL, "-all"},
        {"v=spf1 exists:%{ir}.seen.test -all", "192.0.2.3", SPF_PASS, "exists:%{ir}.seen.test"},
        {"v=spf1 exists:%{l}.%{d} -all", "192.0.2.3", SPF_PASS, "exists:%{l}.%{d}"},
        {"v=spf1 exists:%{p2} -all", "192.0.2.3", SPF_PASS, "exists:%{p2}"},
        {"v=spf1 include:spf.test ~all", "192.0.2.3", SPF_PASS, "include:spf.test"},
        {"v=spf1 include:spf.test ~all", "192.0.2.99", SPF_SOFTFAIL, "~all"},
        {"v=spf1 -include:spf.test ~all", "192.0.2.3", SPF_FAIL, "-include:spf.test"},
        {"v=spf1 redirect=spf.test", "192.0.2.3", SPF_PASS, "ip4:192.0.2.0/28"},
        {"v=spf1 redirect=spf.test", "192.0.2.99", SPF_FAIL, "-all"},
        {"v=spf1 redirect=spf.test ?all", "192.0.2.99", SPF_NEUTRAL, "?all"},
        {"v=spf1", "192.0.2.3", SPF_NEUTRAL, ""},
        {"v=spf1 exp=why.test other=%{i}%% -all", "192.0.2.3", SPF_FAIL, "-all"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct arena a = {0};
        struct spf_out out;
        CHECK_INT(check(rows[i].record, rows[i].ip, false, &out, &a), 0);
        if (out.result != rows[i].want)
            printf("   %s\n", rows[i].record);
        CHECK_STR(slice_cstr(spf_result_name(out.result)), slice_cstr(spf_result_name(rows[i].want)));
        CHECK_STR(out.term, slice_cstr(rows[i].term));
        CHECK_STR(out.record, slice_cstr(rows[i].record));
        arena_free(&a);
    }
}

TEST(what_is_wrong_with_a_record_is_said)
{
    static const struct {
        const char *record;
        enum spf_result want;
        const char *why;
    } rows[] = {
        {"v=spf1 -all ip4:192.0.2.0/33", SPF_PERMERROR, "\"ip4:192.0.2.0/33\" is no term of SPF"},
        {"v=spf1 ipv4:192.0.2.1 -all", SPF_PERMERROR, "\"ipv4:192.0.2.1\" is no term of SPF"},
        {"v=spf1 a/24/64 -all", SPF_PERMERROR, "\"a/24/64\" is no term of SPF"},
        {"v=spf1 a/08 -all", SPF_PERMERROR, "\"a/08\" is no term of SPF"},
        {"v=spf1 exists:%{d0}.test -all", SPF_PERMERROR, "\"exists:%{d0}.test\" is no term of SPF"},
        {"v=spf1 exists:%{c}.test -all", SPF_PERMERROR, "\"exists:%{c}.test\" is no term of SPF"},
        {"v=spf1 a:example.123 -all", SPF_PERMERROR, "\"a:example.123\" is no term of SPF"},
        {"v=spf1 redirect=spf.test redirect=spf.test", SPF_PERMERROR, "redirect= stands twice"},
        {"v=spf1 redirect=test", SPF_PERMERROR, "redirect= wants a domain, not \"test\""},
        {"v=spf1 include:none.test -all", SPF_PERMERROR, "include:none.test: there is no SPF record"},
        {"v=spf1 redirect=none.test", SPF_PERMERROR, "redirect=none.test: there is no SPF record"},
        {"v=spf1 include:two.test -all", SPF_PERMERROR, "two.test has 2 SPF records where one is allowed"},
        {"v=spf1 include:bad.test -all", SPF_PERMERROR, "\"ip4:nonsense\" is no term of SPF"},
        {"v=spf1 include:example.test -all", SPF_PERMERROR, "more than 10 look-ups"},
        {"v=spf1 a:x.test a:y.test a:z.test -all", SPF_PERMERROR, "more than 2 look-ups find nothing"},
        {"v=spf1 a:broken.test -all", SPF_TEMPERROR, "no answer for broken.test"},
        {"v=spf1 mx:broken.test -all", SPF_TEMPERROR, "no answer for the MX of broken.test"},
        {"v=spf1 include:broken.test -all", SPF_TEMPERROR, "no answer for the TXT of broken.test"},
        {"v=spf10 -all", SPF_NONE, "example.test has no SPF record"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct arena a = {0};
        struct spf_out out;
        CHECK_INT(check(rows[i].record, "192.0.2.77", false, &out, &a), 0);
        CHECK_STR(slice_cstr(spf_result_name(out.result)), slice_cstr(spf_result_name(rows[i].want)));
        CHECK_STR(slice_cstr(out.why), slice_cstr(rows[i].why));
        arena_free(&a);
    }
}

TEST(the_whole_record_is_counted_past_what_matches)
{
    struct arena a = {0};
    struct spf_out out;
    const char *record =
        "v=spf1 ip4:192.0.2.3 a mx include:spf.test exists:%{i}.no.test ptr a:x.test a:y.test a:z.test "
        "include:none.test mx:example.test a:mta.example.test -all";
    CHECK_INT(check(record, "192.0.2.3", false, &out, &a), 0);
    CHECK_INT(out.lookups, 0);
    CHECK_INT(out.result, SPF_PASS);
    CHECK_INT(check(record, "192.0.2.3", true, &out, &a), 0);
    CHECK_INT(out.lookups, 11);
    CHECK(out.voids > SPF_VOIDS_MAX);
    arena_free(&a);
}

TEST(an_answer_that_is_not_there_yet_is_waited_for)
{
    struct arena a = {0};
    struct spf_out out = {.lookups = 77};
    struct zone z = {.lines = S("TXT example.test v=spf1 include:later.test -all\nWAIT later.test TXT")};
    struct spf_in in = {.ip = ip_v4(192, 0, 2, 1),
                        .domain = S("example.test"),
                        .sender = SLICE_NONE,
                        .helo = SLICE_NONE,
                        .lookup = lookup,
                        .data = &z};
    CHECK_INT(spf_check(&in, &a, &out), ERR_AGAIN);
    CHECK_INT(out.lookups, 77);
    CHECK_INT(z.asked, 2);
    z.lines = S("TXT example.test v=spf1 include:later.test -all\nTXT later.test v=spf1 +all");
    CHECK_INT(spf_check(&in, &a, &out), 0);
    CHECK_INT(out.result, SPF_PASS);
    arena_free(&z.a);
    arena_free(&a);
}
