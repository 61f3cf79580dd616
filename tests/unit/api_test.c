/* api_test.c - `hato` as a script sees it: what its tables become, what waits, and how mistakes read. */
#include "script.h"
#include "test.h"
#include "format/mp.h"
#include "platform/file.h"
#include "platform/loop.h"

#include <stdlib.h>

#define HATO "local hato = require 'hato'\n"

static const struct script WITH_API = {.api = true};

static bool ours(struct slice name)
{
    return slice_ieq(name, S("From")) || slice_ieq(name, S("List-Id"));
}

static void files(struct script *s)
{
    script_file(s, "dir/people.csv", "email,name\na@example.jp,A\n");
    script_file(s, "dir/hello.html", "<p>{{ name }}</p>");
    script_file(s, "dir/key.pem", "KEY");
    script_file(s, "dir/flyer.pdf", "%PDF");
    script_file(s, "dir/empty.txt", "");
}

TEST(a_whole_script_becomes_a_conf)
{
    struct script s = {.api = true};
    files(&s);
    script_run(
        &s, HATO
        "local news = hato.stream 'news' {\n"
        "  from = '夏祭り {{ x }} <News@M.例え.jp>', pool = 'bulk', priority = 'urgent', weight = 3, tls = "
        "'require',\n"
        "  dkim = { { domain = 'Example.JP', selector = 's1', key = 'key.pem' } }, bounce = 'b.example.jp',\n"
        "  unsubscribe = { url = 'https://example.jp/{{ token }}', mailto = 'u@example.jp', one_click = true "
        "},\n"
        "}\n"
        "hato.source 'mx1' { address = '203.0.113.7', ehlo = 'mx1.example.jp' }\n"
        "local mx2 = hato.source 'mx2' { address = '2001:db8::8', ehlo = 'mx2.example.jp' }\n"
        "hato.pool 'bulk' { 'mx1', { mx2, weight = 2 } }\n"
        "hato.isp 'gmail' { mx = { 'google.com', '*.example.com' }, connections = 20, per_connection = 50 }\n"
        "hato.isp 'gmail' { tls = 'require', family = 'both', connections = hato.unset }\n"
        "hato.bounces {\n"
        "  { isp = 'gmail', phase = 'data', code = { 500, 599 }, enhanced = '5.7.', text = 'spam|容量',\n"
        "    class = 'spam', retry = true },\n"
        "  { code = 450, class = 'system' },\n"
        "  { class = 'mailbox_full', after = 3, within = '30 days', act = hato.suppress '90 days' },\n"
        "  { isp = 'au', failure = { 'lost', 'connect' }, after = 5, within = '1 min', act = hato.slow() },\n"
        "  { isp = 'gmail', code = 421, class = 'rate_limited', share = 0.2, least = 20, within = '10 min',\n"
        "    act = hato.suspend { scope = 'stream', ['for'] = '4 h', alert = true } },\n"
        "  { kind = 'hard', act = hato.pause { 'isp', 'campaign' } },\n"
        "  retry = { '1 min', '2 h', give_up = '3 days' } }\n"
        "hato.spool { keep = '90 days', journal_max = '20 GB' }\n"
        "hato.breaker { errors = { least = 100, stop = 0.05 }, complaints = { warn = 0.002, within = '12 h' "
        "} }\n"
        "hato.campaign 'hello' {\n"
        "  stream = news, to = hato.csv { 'people.csv', map = { name = '氏名' }, encoding = 'cp932' },\n"
        "  subject = 'Hello {{ name }}', preheader = 'P', html = hato.file 'hello.html', text = 'T',\n"
        "  headers = { ['X-B'] = '2', ['X-A'] = '{{ a }}' }, attach = { 'flyer.pdf' },\n"
        "  inline = { { 'flyer.pdf', cid = 'logo', type = 'image/png', name = 'logo.png' } },\n"
        "  partials = { foot = 'F' }, at = '2026-07-01 10:00', late = '6 h', expire = '3 days',\n"
        "  start = 'streaming', missing = 'empty', log = { 'name' },\n"
        "}\n"
        "print(news, mx2, hato.file 'hello.html', hato.csv 'people.csv', hato.tz)\n");
    CHECK_STR(buf_slice(&s.error), S(""));
    CHECK_STR(buf_slice(&s.out), S("stream \"news\"\tsource \"mx2\"\thello.html\tpeople.csv\tUTC\n"));
    const struct conf *c = s.conf;
    const struct breaker_bar *errors = &c->breaker.of[BREAKER_ERRORS],
                             *complaints = &c->breaker.of[BREAKER_COMPLAINTS];
    CHECK(errors->least == 100 && errors->warn_ppm == 30000 && errors->stop_ppm == 50000);
    CHECK(complaints->least == 1000 && complaints->warn_ppm == 2000 && complaints->stop_ppm == 3000);
    CHECK_INT(c->breaker.within_ms, 12 * 3600000);
    CHECK_INT(c->keep_ms, 90 * 86400000ll);
    CHECK_INT(c->journal_max, 20000000000);
    CHECK_INT(c->nstreams, 1);
    const struct conf_stream *st = &c->streams[0];
    CHECK_STR(st->name, S("news"));
    CHECK_STR(st->place.file, S("dir/init.lua"));
    CHECK_INT(st->place.line, 2);
    CHECK_STR(st->from, S("夏祭り {{ x }} <News@M.例え.jp>"));
    CHECK_STR(st->domain, S("m.xn--r8jz45g.jp"));
    CHECK_INT(st->ndkim, 1);
    CHECK_STR(st->dkim[0].domain, S("example.jp"));
    CHECK_STR(st->dkim[0].key_pem, S("KEY"));
    CHECK_STR(st->bounce, S("b.example.jp"));
    CHECK(st->one_click);
    CHECK_INT(st->pool, 0);
    CHECK_INT(st->priority, CONF_URGENT);
    CHECK_INT(st->weight, 3);
    CHECK_INT(st->tls, CONF_TLS_REQUIRE);
    CHECK_INT(c->nsources, 2);
    CHECK_INT(c->sources[1].address.family, 6);
    CHECK_INT(c->npools, 1);
    CHECK_INT(c->pools[0].nmembers, 2);
    CHECK_INT(c->pools[0].members[0].source, 0);
    CHECK_INT(c->pools[0].members[1].source, 1);
    CHECK_INT(c->pools[0].members[1].weight, 2);
    const struct conf_isp *gmail = &c->isps[conf_find_isp(c, S("gmail"))];
    CHECK_INT(gmail->nmx, 2);
    CHECK_INT(gmail->connections, 0);
    CHECK_INT(gmail->per_connection, 50);
    CHECK_INT(gmail->tls, CONF_TLS_REQUIRE);
    CHECK_INT(gmail->family, CONF_FAMILY_BOTH);
    CHECK_INT(c->nrules, 3);
    CHECK_STR(c->rules[0].name, S("dir/init.lua:12 rule 1"));
    CHECK_STR(c->rules[0].isp, S("gmail"));
    CHECK_STR(c->rules[0].enhanced, S("5.7."));
    CHECK_STR(c->rules[0].text, S("spam|容量"));
    CHECK_INT(c->rules[0].phases, 1u << SMTP_PHASE_DATA | 1u << SMTP_PHASE_EOD);
    CHECK(c->rules[0].code_from == 500 && c->rules[0].code_to == 599);
    CHECK(c->rules[0].cls == CLASS_SPAM && c->rules[0].retry);
    CHECK(c->rules[1].code_from == 450 && c->rules[1].code_to == 450 && !c->rules[1].retry);
    const struct acts *acts = &c->acts;
    CHECK(acts->nof_rules == 3 && acts->nrules == 3);
    CHECK(acts->of_rules[0].act.kind == ACT_NONE && acts->of_rules[1].act.kind == ACT_NONE);
    const struct act_rule *r = &acts->of_rules[2];
    CHECK_STR(r->name, S("dir/init.lua:12 rule 5"));
    CHECK(r->share_ppm == 200000 && r->least == 20 && r->within_ms == 600000);
    CHECK(r->act.kind == ACT_SUSPEND && r->act.scope == ACT_STREAM && r->act.for_ms == 4 * 3600000 &&
          r->act.alert);
    r = &acts->rules[0];
    CHECK(r->classes == 1ull << CLASS_MAILBOX_FULL && r->after == 3 &&
          r->within_ms == 30 * (int64_t)86400000);
    CHECK(r->act.kind == ACT_SUPPRESS && r->act.for_ms == 90 * (int64_t)86400000);
    r = &acts->rules[1];
    CHECK(r->failures == (ACT_LOST_CONNECTION | ACT_REFUSED_CONNECTION) && r->after == 5 &&
          r->act.kind == ACT_SLOW);
    CHECK_STR(r->isp, S("au"));
    CHECK(acts->rules[2].kinds == 1u << KIND_HARD && acts->rules[2].act.scope == ACT_CAMPAIGN);
    CHECK_INT(c->retry.nretry, 2);
    CHECK_INT(c->retry.retry_ms[1], 7200000);
    CHECK_INT(c->retry.give_up_ms, 3 * 86400000);
    CHECK_INT(c->ncampaigns, 1);
    const struct conf_campaign *k = &c->campaigns[0];
    CHECK_INT(k->stream, 0);
    CHECK_INT(k->people, CONF_PEOPLE_CSV);
    CHECK_STR(k->csv_path, S("dir/people.csv"));
    CHECK_STR(k->csv_encoding, S("cp932"));
    CHECK_INT(k->nmap, 1);
    CHECK_STR(k->map[0].column, S("氏名"));
    CHECK_STR(k->content.html, S("<p>{{ name }}</p>"));
    CHECK_STR(k->content.html_path, S("hello.html"));
    CHECK_STR(k->content.text_path, S("(text)"));
    CHECK_INT(k->content.nheaders, 2);
    CHECK_STR(k->content.headers[0].name, S("X-A"));
    CHECK_INT(k->content.nfiles, 2);
    CHECK_STR(k->content.files[0].name, S("flyer.pdf"));
    CHECK_STR(k->content.files[1].cid, S("logo"));
    CHECK_STR(k->content.files[1].data, S("%PDF"));
    CHECK_STR(k->content.partials[0].text, S("F"));
    CHECK_INT(k->at_ms, 1782900000000);
    CHECK_INT(k->late_ms, 6 * 3600000);
    CHECK_INT(k->expire_ms, 3 * 86400000);
    CHECK(k->streaming && k->missing_empty && k->content.missing_empty);
    CHECK_INT(k->nlog, 1);
    script_end(&s);
}

static bool fails(const char *text, const char *want)
{
    struct script s = {.api = true, .host = {.header_is_ours = ours}};
    files(&s);
    size_t n = strlen(text) + 64;
    char *whole = mem_alloc(n);
    snprintf(whole, n, "local hato = require 'hato' %s", text);
    struct buf b = script_says(&s, whole);
    free(whole);
    bool same = slice_eq(buf_slice(&b), slice_cstr(want));
    if (!same)
        test_fail(__FILE__, __LINE__, "%s\n  got  %s\n  want %s", text, buf_cstr(&b), want);
    buf_free(&b);
    return same;
}

TEST(mistakes_in_a_script_are_named_where_they_stand)
{
#define STREAM "hato.stream 'n' { from = 'n@example.jp' }\n"
#define CAMPAIGN                                                                                             \
    STREAM "hato.campaign 'c' { stream = 'n', to = hato.csv 'people.csv', subject = 'S', text = 'T', "
    static const struct {
        const char *script, *want;
    } cases[] = {
        {"hato.campain 'x' {}", "dir/init.lua:1: hato has no campain; did you mean hato.campaign?"},
        {"\nhato.sequence 'x' {}", "dir/init.lua:2: hato.sequence comes with a later version of hato"},
        {"hato.isps = 'some'", "dir/init.lua:1: hato.isps: it wants \"shipped\" or \"none\", not \"some\""},
        {"hato.isps = 1", "dir/init.lua:1: hato.isps: it wants a text, not 1"},
        {"hato.isp 'gmail' { connections = 2 } hato.isps = 'none'",
         "dir/init.lua:1: hato.isps: it stands before the first hato.isp"},
        {"hato.isps = 'none' hato.isp 'gmail' { connections = 2 }",
         "dir/init.lua:1: hato.isp \"gmail\": mx is missing (or domains): which receivers it is about"},
        {"hato.isp 'gmail' { samples = {} }",
         "dir/init.lua:1: hato.isp \"gmail\": unknown option \"samples\"; it "
         "knows mx, domains, provider, connections, per_connection, rate, "
         "burst, recipients, new_connections, tls, family, pipeline"},
        {"hato.send = print", "dir/init.lua:1: hato.send cannot be replaced"},
        {"hato.tzz = 'x'", "dir/init.lua:1: hato has no tzz; did you mean hato.tz?"},
        {"hato.tz = 'Asia/Nowhere'", "dir/init.lua:1: hato.tz: no time zone \"Asia/Nowhere\" on this machine "
                                     "(/usr/share/zoneinfo/Asia/Nowhere); names are such as \"Asia/Tokyo\""},
        {"hato.tz = '../../etc/passwd'", "dir/init.lua:1: hato.tz: it wants the name of a time zone such as "
                                         "\"Asia/Tokyo\", not \"../../etc/passwd\""},
        {"hato.stream {}",
         "dir/init.lua:1: hato.stream wants a name, as in hato.stream \"name\" { … }, not a table"},
        {"hato.stream 'a b' {}",
         "dir/init.lua:1: hato.stream: a name has at most 100 bytes and no blank, quote, "
         "slash or control character: \"a b\""},
        {"hato.stream 'n' {}", "dir/init.lua:1: hato.stream \"n\": from is missing"},
        {"hato.stream('n', { fron = 'x' })",
         "dir/init.lua:1: hato.stream \"n\": unknown option \"fron\"; did you mean \"from\"?"},
        {STREAM "\n" STREAM, "dir/init.lua:3: hato.stream \"n\": declared already at dir/init.lua:1"},
        {"hato.stream 'n' { from = 'n@example.jp', quiet = {} }",
         "dir/init.lua:1: hato.stream \"n\": quiet comes with a later version of hato"},
        {"hato.stream 'n' { from = 'n@example.jp', dkim = { domain = 'example.jp' } }",
         "dir/init.lua:1: hato.stream \"n\": dkim wants a list of 1 to 8 keys: { { domain = …, selector = …, "
         "key = "
         "… } }"},
        {"hato.stream 'n' { from = 'n@example.jp', dkim = { { domain = 'example.jp', selector = 's', key = "
         "'no.pem' } } }",
         "dir/init.lua:1: hato.stream \"n\": dkim[1].key: cannot open dir/no.pem: No such file or directory"},
        {"hato.stream 'n' { from = 'n@example.jp', unsubscribe = { mailto = 'a@b.jp', one_click = true } }",
         "dir/init.lua:1: hato.stream \"n\": unsubscribe.one_click needs a url that begins with https://"},
        {"\nhato.stream 'n' { from = 'n@example.jp', pool = 'bulk' }\nhato.source 'mx1' { address = "
         "'127.0.0.1', ehlo = "
         "'a.b' }\nhato.pool 'bulkk' { 'mx1' }",
         "dir/init.lua:2: hato.stream \"n\": no pool \"bulk\"; did you mean \"bulkk\"?"},
        {"hato.pool 'p' { 'mx1' }", "dir/init.lua:1: hato.pool \"p\": no source \"mx1\""},
        {"hato.pool 'p' {}",
         "dir/init.lua:1: hato.pool \"p\": it has no source; write { \"mx1\", { \"mx2\", weight = 2 } }"},
        {"local n = " STREAM "hato.pool 'p' { n }",
         "dir/init.lua:2: hato.pool \"p\": [1] wants a source, not the stream \"n\""},
        {"hato.source 's' { address = 'localhost', ehlo = 'a.b' }",
         "dir/init.lua:1: hato.source \"s\": address wants an IP address of this machine, such as "
         "\"203.0.113.7\", not "
         "\"localhost\""},
        {"hato.isp 'g' { connections = 5 }",
         "dir/init.lua:1: hato.isp \"g\": mx is missing (or domains): which receivers it is about"},
        {"hato.isp 'g' { mx = 'google.*' }", "dir/init.lua:1: hato.isp \"g\": mx wants names such as "
                                             "\"google.com\" (and all below it) or \"*.example.jp\" "
                                             "(only those below), not \"google.*\""},
        {"hato.isp 'g' { mx = 'google.com', pipeline = true }",
         "dir/init.lua:1: hato.isp \"g\": pipeline comes with a later version of hato"},
        {"hato.isp 'g' { mx = 'google.com', rate = 40 }",
         "dir/init.lua:1: hato.isp \"g\": rate wants a rate with its unit, such as \"40/h\" or \"40/s\", not "
         "40"},
        {"hato.isp 'g' { mx = 'google.com', rate = '10001/s' }",
         "dir/init.lua:1: hato.isp \"g\": rate wants at most 10,000 a second, not \"10001/s\""},
        {"hato.isp 'g' { mx = 'google.com', rate = '1/31 days' }",
         "dir/init.lua:1: hato.isp \"g\": rate wants a period of at most 30 days, not \"1/31 days\""},
        {"hato.isp 'g' { mx = 'google.com', rate = '10/s', burst = 11 }",
         "dir/init.lua:1: hato.isp \"g\": rate with burst = 11 wants a burst that is at most the rate's "
         "number "
         "and at most 1,024, and a number that divides well, such as 1000 or 1440"},
        {"hato.isp 'g' { mx = 'google.com', burst = 5 }",
         "dir/init.lua:1: hato.isp \"g\": burst says how many of a rate may go at once: rate is missing"},
        {"\nhato.limit { rate = '40/s' }", "dir/init.lua:2: hato.limit: by is missing"},
        {"hato.limit { by = { 'isp', 'sorce' }, rate = '40/s' }",
         "dir/init.lua:1: hato.limit: by[2] wants \"stream\", \"campaign\", \"source\", \"pool\", \"isp\", "
         "\"domain\" or \"mx\", not \"sorce\"; did you mean \"source\"?"},
        {"hato.limit { by = 'isp', rate = '40/s' }",
         "dir/init.lua:1: hato.limit: by wants a list, such as { \"source\", \"isp\" }, not \"isp\""},
        {"hato.limit { by = { 'isp' } }",
         "dir/init.lua:1: hato.limit: rate is missing (or recipients, connections, new_connections, "
         "per_connection)"},
        {"hato.limit { by = { 'campaign' }, connections = 0 }",
         "dir/init.lua:1: hato.limit: connections wants a whole number from 1 to 100000, not 0"},
        {"hato.limit { by = { 'isp' }, rte = '40/s' }",
         "dir/init.lua:1: hato.limit: unknown option \"rte\"; did you mean \"rate\"?"},
        {"hato.breaker { errors = { stop = 10 } }",
         "dir/init.lua:1: hato.breaker: errors.stop wants a share such as 0.03, not 10"},
        {"hato.breaker { errors = { warn = 0.2 } }",
         "dir/init.lua:1: hato.breaker: errors.warn is a larger share than stop: it would stop before it "
         "warns"},
        {"hato.breaker { errors = { within = '1 h' } }",
         "dir/init.lua:1: hato.breaker: errors: unknown option \"within\"; it knows least, warn, stop"},
        {"hato.breaker { complaints = { within = '1 s' } }",
         "dir/init.lua:1: hato.breaker: complaints.within is a time from \"1 min\" to \"30 days\""},
        {"hato.spool { keep = '1 h' }",
         "dir/init.lua:1: hato.spool: keep wants a time from \"1 day\" to \"3660 days\", not \"1 h\""},
        {"hato.spool { journal_max = 20 }",
         "dir/init.lua:1: hato.spool: journal_max wants a size such as \"20 "
         "GB\", at least \"64 MB\", not 20"},
        {"hato.spool { journal_max = '1 kB' }",
         "dir/init.lua:1: hato.spool: journal_max wants a size such as "
         "\"20 GB\", at least \"64 MB\", not \"1 kB\""},
        {"hato.spool { kep = '2 days' }", "dir/init.lua:1: hato.spool: unknown option \"kep\"; did you mean "
                                          "\"keep\"?"},
        {"hato.spool { keep = '2 days' }\nhato.limit { by = { 'isp' }, rate = '9/3 days' }",
         "dir/init.lua:1: hato.spool: events are kept for 2 days, and the limit at dir/init.lua:2 counts "
         "over 3 "
         "days: the next start would not know it all"},
        {"hato.spool { keep = '2 days' }\nhato.isp 'x' { mx = 'x.test', recipients = '9/3 days' }",
         "dir/init.lua:1: hato.spool: events are kept for 2 days, and the isp x counts over 3 days: the next "
         "start "
         "would not know it all"},
        {"hato.spool { keep = '2 days' }\nhato.bounces { { class = 'spam', after = 3, within = '9 days', act "
         "= "
         "hato.slow() } }",
         "dir/init.lua:1: hato.spool: events are kept for 2 days, and the rule dir/init.lua:2 rule 1 counts "
         "over 9 "
         "days: the next start would not know it all"},
        {"hato.bounces {\n { class = 'spam', after = 3, within = '60 days', act = hato.slow() } }",
         "the rule dir/init.lua:1 rule 1 counts over 60 days, and events are kept for 30 days: the next "
         "start "
         "would not know it all; hato.spool { keep = \"60 days\" } keeps them as long"},
        {"hato.spool { keep = '2 days' }\nhato.breaker { complaints = { within = '3 days' } }",
         "dir/init.lua:1: hato.spool: events are kept for 2 days, and the breaker of complaints counts over "
         "3 days: "
         "the next start would not know it all"},
        {"hato.breaker { complaints = 0.1 }", "dir/init.lua:1: hato.breaker: complaints wants a table such "
                                              "as { least = 500, warn = 0.03, stop = 0.1 "
                                              "}, or false, not 0.1"},
        {"hato.bounces { { code = 550, clas = 'blocked' } }",
         "dir/init.lua:1: hato.bounces: [1]: unknown option \"clas\"; did you mean \"class\"?"},
        {"hato.bounces { 'blocked' }", "dir/init.lua:1: hato.bounces: [1] wants a rule, { text = \"user "
                                       "unknown\", class = \"no_such_user\" }"},
        {"hato.bounces { { code = 550 } }", "dir/init.lua:1: hato.bounces: [1].class is missing"},
        {"hato.bounces { { code = 550, class = 'blocked' }, { code = 55, class = 'blocked' } }",
         "dir/init.lua:1: hato.bounces: [2].code wants a reply code such as 550, or from and to such as { "
         "500, "
         "599 }, not 55"},
        {"hato.bounces { { code = { 599, 500 }, class = 'blocked' } }",
         "dir/init.lua:1: hato.bounces: [1].code wants a reply code such as 550, or from and to such as { "
         "500, "
         "599 }, not a table"},
        {"hato.bounces { { code = 550, class = 'bloked' } }",
         "dir/init.lua:1: hato.bounces: [1].class \"bloked\" is none; did you mean \"blocked\"?"},
        {"hato.bounces { { code = 550, class = 'delivered' } }",
         "dir/init.lua:1: hato.bounces: [1].class \"delivered\" is none that a refusal can have"},
        {"hato.bounces { { phase = 'dot', class = 'blocked' } }",
         "dir/init.lua:1: hato.bounces: [1].phase wants \"connect\", \"banner\", \"ehlo\", \"starttls\", "
         "\"auth\", \"mail\", \"rcpt\", \"data\", \"eod\" or \"quit\", not \"dot\""},
        {"hato.bounces {\n  { text = 'fine', class = 'blocked' },\n  { text = '(user|box', class = 'blocked' "
         "} }",
         "dir/init.lua:1: hato.bounces: [2].text \"(user|box\": missing closing parenthesis at character "
         "10"},
        {"hato.bounces { { enhanced = '5.7', class = 'blocked' } }",
         "dir/init.lua:1: hato.bounces: [1].enhanced wants a status such as \"4.7.28\", or its beginning "
         "with a "
         "dot such as \"5.7.\", not \"5.7\""},
        {"hato.bounces { { class = 'blocked', after = 3 } }",
         "dir/init.lua:1: hato.bounces: [1].act is missing: a rule with no isp, phase, code, enhanced and "
         "text says what is done about a class"},
        {"hato.bounces { { code = 421, class = 'blocked', least = 3 } }",
         "dir/init.lua:1: hato.bounces: [1].act is missing: what is done when that many have come"},
        {"hato.bounces { { after = 3, act = hato.slow() } }",
         "dir/init.lua:1: hato.bounces: [1].it says nothing about the reply: class, kind, isp, phase, code, "
         "enhanced, text or failure is missing"},
        {"hato.bounces { { code = 550, kind = 'hard', class = 'blocked' } }",
         "dir/init.lua:1: hato.bounces: [1].kind follows from the class: a rule that knows a reply gives it "
         "one class"},
        {"hato.bounces { { code = 550, class = { 'blocked', 'spam' } } }",
         "dir/init.lua:1: hato.bounces: [1].class is a list: a rule that knows a reply gives it one class"},
        {"hato.bounces { { class = 'blocked', retry = true, act = hato.slow() } }",
         "dir/init.lua:1: hato.bounces: [1].retry goes with what a reply is known by: isp, phase, code, "
         "enhanced or text"},
        {"hato.bounces { { class = 'blocked', act = 'slow' } }",
         "dir/init.lua:1: hato.bounces: [1].act wants what hato.slow, suspend, suppress and their like "
         "return, not \"slow\""},
        {"hato.bounces { { class = 'mailbox_full', share = 0.2, within = '1 h', act = hato.suppress '90 "
         "days' } }",
         "dir/init.lua:1: hato.bounces: [1].share and least count a receiver's answers; for a person, after "
         "counts the mails that ended so, within their time"},
        {"hato.bounces { { class = 'mailbox_full', after = 3, within = '1 h', act = hato.ignore() } }",
         "dir/init.lua:1: hato.bounces: [1].act = hato.ignore() counts nothing: it goes without after, "
         "least, share and within"},
        {"hato.bounces { { class = 'blocked', within = '1 h', act = hato.slow() } }",
         "dir/init.lua:1: hato.bounces: [1].within is the time in which something is counted: after, least "
         "or share is missing"},
        {"hato.bounces { { class = 'blocked', share = 0.2, act = hato.slow() } }",
         "dir/init.lua:1: hato.bounces: [1].within is missing: the time in which the share is counted"},
        {"hato.bounces { { class = 'blocked', share = 20, within = '1 h', act = hato.slow() } }",
         "dir/init.lua:1: hato.bounces: [1].share wants a part of all answers, such as 0.2, not 20"},
        {"hato.bounces { { class = 'blocked', least = 3, act = hato.reconnect() } }",
         "dir/init.lua:1: hato.bounces: [1].reconnect is done at each such answer: nothing is counted for "
         "it"},
        {"hato.bounces { { failure = 'lost', code = 421, act = hato.slow() } }",
         "dir/init.lua:1: hato.bounces: [1].failure stands for answers that never came: it goes with isp and "
         "act alone"},
        {"hato.bounces { { failure = 'reset', act = hato.slow() } }",
         "dir/init.lua:1: hato.bounces: [1].failure wants \"connect\", \"lost\", \"timeout\" or \"tls\", not "
         "\"reset\""},
        {"hato.bounces { { kind = 'firm', act = hato.slow() } }",
         "dir/init.lua:1: hato.bounces: [1].kind wants \"hard\", \"soft\" or \"block\", not \"firm\""},
        {"hato.slow { factor = 2 }",
         "dir/init.lua:1: hato.slow: factor wants a part of what it was, from 0.01 to 0.99, not 2"},
        {"hato.slow { scop = 'path' }",
         "dir/init.lua:1: hato.slow: unknown option \"scop\"; did you mean \"scope\"?"},
        {"hato.suspend { ['for'] = '1 ms' }",
         "dir/init.lua:1: hato.suspend: for wants a time from \"1 s\" to \"90 days\", not \"1 ms\""},
        {"hato.suspend { scope = 'isp' }",
         "dir/init.lua:1: hato.suspend: scope wants \"path\", \"site\", \"source\", \"stream\" or "
         "\"campaign\", not \"isp\""},
        {"hato.pause { 'stream' }",
         "dir/init.lua:1: hato.pause: it wants what to pause: { \"stream\", \"isp\" }, { \"campaign\", "
         "\"isp\" }, { \"source\", \"isp\" }, { \"mx\", \"isp\" } or { \"source\" }"},
        {"hato.fewer { scope = 'stream' }", "dir/init.lua:1: hato.fewer: scope wants \"path\", \"site\" or "
                                            "\"source\": one connection carries mail "
                                            "of any stream and campaign"},
        {"hato.suppress '1 s'",
         "dir/init.lua:1: hato.suppress: its argument wants \"forever\" or a time of at least \"1 min\", not "
         "\"1 s\""},
        {"hato.suppress()", "dir/init.lua:1: hato.suppress: its argument wants \"forever\" or a time such as "
                            "\"90 days\", not nil"},
        {"hato.bounces { retry = { 5 } }",
         "dir/init.lua:1: hato.bounces: retry[1] wants a duration with its unit, such "
         "as \"5 s\" or \"5 days\", not 5"},
        {"hato.bounces { retry = { '5 min', give_upp = '2 days' } }",
         "dir/init.lua:1: hato.bounces: retry: unknown option \"give_upp\"; did you mean \"give_up\"?"},
        {"hato.bounces {} hato.bounces {}",
         "dir/init.lua:1: hato.bounces: it is given already; one table holds all of it"},
        {"hato.csv 'no.csv'",
         "dir/init.lua:1: hato.csv: cannot look at dir/no.csv: No such file or directory"},
        {"hato.csv { 'people.csv', mpa = {} }",
         "dir/init.lua:1: hato.csv: unknown option \"mpa\"; did you mean \"map\"?"},
        {"hato.file 'no.html'",
         "dir/init.lua:1: hato.file: cannot open dir/no.html: No such file or directory"},
        {STREAM "hato.campaign 'c' { stream = 'n', to = 'people.csv', subject = 'S', text = 'T' }",
         "dir/init.lua:2: hato.campaign \"c\": to wants hato.csv \"people.csv\" or a function that returns "
         "the next "
         "person, not \"people.csv\""},
        {STREAM "hato.campaign 'c' { stream = 'm', to = hato.csv 'people.csv', subject = 'S', text = 'T' }",
         "dir/init.lua:2: hato.campaign \"c\": no stream \"m\"; did you mean \"n\"?"},
        {STREAM "hato.campaign 'c' { stream = 'n', to = hato.csv 'people.csv', subject = 'S' }",
         "dir/init.lua:2: hato.campaign \"c\": text is missing (or html, or both)"},
        {CAMPAIGN "split = {} }",
         "dir/init.lua:2: hato.campaign \"c\": split comes with a later version of hato"},
        {CAMPAIGN "expire = 3 }",
         "dir/init.lua:2: hato.campaign \"c\": expire wants a duration with its unit, such as "
         "\"3 s\" or \"3 days\", not 3"},
        {CAMPAIGN "at = 'tomorrow' }",
         "dir/init.lua:2: hato.campaign \"c\": at wants a time such as \"2026-07-01 10:00\" "
         "(in hato.tz), not \"tomorrow\""},
        {CAMPAIGN "at = '2026-02-30 10:00' }",
         "dir/init.lua:2: hato.campaign \"c\": at: no calendar has \"2026-02-30 10:00\""},
        {CAMPAIGN "preheader = 'x' }",
         "dir/init.lua:2: hato.campaign \"c\": preheader is for html, and there is none"},
        {CAMPAIGN "from = 'a\\nb' }", "dir/init.lua:2: hato.campaign \"c\": from stands in the header of a "
                                      "mail and cannot hold a line break"},
        {CAMPAIGN "headers = { ['list-id'] = 'x' } }",
         "dir/init.lua:2: hato.campaign \"c\": headers: list-id is hato's own to write"},
        {CAMPAIGN "headers = { ['X A'] = 'x' } }",
         "dir/init.lua:2: hato.campaign \"c\": headers: \"X A\" is no name of a header"},
        {CAMPAIGN "headers = { ['X-A'] = 'x\\r\\nBcc: y' } }",
         "dir/init.lua:2: hato.campaign \"c\": headers.X-A stands in the header of a mail and cannot hold a "
         "line break"},
        {CAMPAIGN "attach = { 'no.pdf' } }",
         "dir/init.lua:2: hato.campaign \"c\": attach[1]: cannot open dir/no.pdf: No such file or directory"},
        {CAMPAIGN "inline = { 'flyer.pdf' } }", "dir/init.lua:2: hato.campaign \"c\": inline[1] wants { cid "
                                                "= \"logo\", \"logo.png\" }, not \"flyer.pdf\""},
        {CAMPAIGN "html = hato.file 'empty.txt' }",
         "dir/init.lua:2: hato.campaign \"c\": html: empty.txt is empty"},
        {CAMPAIGN "missing = 'emty' }",
         "dir/init.lua:2: hato.campaign \"c\": missing wants \"error\" or \"empty\", not "
         "\"emty\"; did you mean \"empty\"?"},
        {"hato.on('mesage', print)",
         "dir/init.lua:1: hato.on: its first argument wants \"message\", \"reply\" or "
         "\"events\", not \"mesage\"; did you mean \"message\"?"},
        {"hato.on('message')", "dir/init.lua:1: hato.on: its second argument wants a function, not nil"},
        {"hato.on('reply', print) hato.on('reply', print)",
         "dir/init.lua:1: hato.on: there is a hook for \"reply\" already; one function takes them all"},
        {"hato.sleep(5)",
         "dir/init.lua:1: hato.sleep: it wants a duration with its unit, such as \"5 s\" or \"5 days\", "
         "not 5"},
        {"hato.every('1 ms', print)", "dir/init.lua:1: hato.every: its first argument wants a duration of "
                                      "\"100 ms\" or more, not \"1 ms\""},
        {STREAM "hato.send { stream = 'n', to = 'a@b.jp', subject = 'S', text = 'T' }",
         "dir/init.lua:2: hato.send: nothing is sent here"},
        {"hato.send { stream = 'n', to = 'a@b.jp', subject = 'S', text = 'T' }",
         "dir/init.lua:1: hato.send: no stream \"n\" is declared above this line"},
        {"hato.json.list 'x'", "dir/init.lua:1: hato.json.list: it wants a table, not \"x\""},
        {"hato.dns.mx 'example.jp'", "dir/init.lua:1: hato.dns.mx: there is no DNS here"},
        {"hato.dns.ptr 'example.jp'",
         "dir/init.lua:1: hato.dns.ptr: it wants an IP address, not \"example.jp\""},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        if (!fails(cases[i].script, cases[i].want))
            return;
}

TEST(a_declaration_after_the_script_was_read_is_an_error)
{
    struct script s = {.api = true, .run_ms = 2500};
    script_run(&s, HATO "hato.every('1 s', function()\n  hato.stream 'x' { from = 'a@b.jp' }\nend)\n");
    CHECK_STR(buf_slice(&s.log), S("error task=\"every at dir/init.lua:2\" error=\"dir/init.lua:3: "
                                   "hato.stream \"x\": too late; declare it "
                                   "before the first hato.send and before the main file ends\"\n"
                                   "error task=\"every at dir/init.lua:2\" error=\"dir/init.lua:3: "
                                   "hato.stream \"x\": too late; declare it "
                                   "before the first hato.send and before the main file ends\"\n"));
    CHECK(!api_is_busy(s.hato)); /* an `every` between two of its turns */
    script_end(&s);
}

TEST(sleep_waits_on_the_loops_clock)
{
    CHECK_SAYS_IN(WITH_API,
                  HATO
                  "local t = os.time()\n"
                  "for _, d in ipairs { '5 s', '2 min', '0' } do hato.sleep(d) print(os.time() - t) end\n"
                  "print(pcall(hato.sleep, '1 s'), os.time() - t)\n",
                  "5\n125\n125\ntrue\t126\n");
    struct script s = {.api = true, .run_ms = 1000};
    script_run(&s, HATO "hato.sleep '1 h'\nprint 'never'\n");
    CHECK(!s.done);
    script_end(&s); /* a sleeper is cancelled and freed */
}

TEST(every_runs_again_does_not_overlap_and_outlives_an_error)
{
    struct script s = {.api = true, .run_ms = 100000};
    script_run(&s, HATO "local t, n = os.time(), 0\n"
                        "hato.every('10 s', function()\n"
                        "  n = n + 1\n"
                        "  print(n, os.time() - t)\n"
                        "  if n == 2 then hato.sleep '25 s' end\n"
                        "  if n == 3 then error 'three' end\n"
                        "end)\n");
    CHECK_STR(buf_slice(&s.out), S("1\t10\n2\t20\n3\t50\n4\t60\n5\t70\n6\t80\n7\t90\n8\t100\n"));
    CHECK_STR(buf_slice(&s.log),
              S("error task=\"every at dir/init.lua:3\" error=\"dir/init.lua:7: three\"\n"));
    script_end(&s);
}

TEST(log_lines_are_key_and_value)
{
    struct script s = {.api = true};
    script_run(&s, HATO "hato.log('it runs', { n = 3, b = 'x y', a = 'q\"\\n\\1', ok = true })\n"
                        "hato.log.debug('plain') hato.log.warn('w') hato.log.error('e', { ['空'] = '値' })\n"
                        "print(pcall(hato.log, 5))\n"
                        "print(pcall(hato.log.info, 'x', { a = {} }))\n"
                        "print(pcall(hato.log.info, 'x', { ['a b'] = 1 }))\n");
    CHECK_STR(buf_slice(&s.log), S("info msg=\"it runs\" a=\"q\\\"\\n\\x01\" b=\"x y\" n=3 ok=true\n"
                                   "debug msg=plain\nwarn msg=w\nerror msg=e 空=値\n"));
    CHECK_STR(buf_slice(&s.out),
              S("false\tdir/init.lua:4: hato.log: it wants a text, not 5\n"
                "false\tdir/init.lua:5: hato.log.info: a wants a text, a number, true or false, not a table\n"
                "false\tdir/init.lua:6: hato.log.info: a field's name has no blank, quote or equals sign: "
                "\"a b\"\n"));
    script_end(&s);
}

TEST(json_goes_both_ways)
{
    CHECK_SAYS_IN(
        WITH_API,
        HATO
        "local j = hato.json\n"
        "print(j.encode { b = 1, a = { 1, 2.5, 'あ\"' }, c = {}, d = j.list(), e = j.null, f = false })\n"
        "local t = j.decode '{\"a\":[1,{\"b\":null}],\"e\":[]}'\n"
        "print(t.a[1], t.a[2].b == j.null, j.encode(t))\n"
        "print(j.decode '[1,')\n"
        "print(j.encode '\\0', j.encode(-3), j.decode '\"x\"')\n"
        "print(pcall(j.encode, { print }))\n"
        "print(pcall(j.encode, 0/0))\n"
        "print(pcall(j.encode, '\\255'))\n"
        "print(pcall(j.encode, { 1, x = 2 }))\n"
        "local loop = {} loop.x = loop\n"
        "print(pcall(j.encode, loop))\n"
        "print(pcall(j.decode, ('['):rep(1000) .. (']'):rep(1000)))\n",
        "{\"a\":[1,2.5,\"あ\\\"\"],\"b\":1,\"c\":{},\"d\":[],\"e\":null,\"f\":false}\n"
        "1\ttrue\t{\"a\":[1,{\"b\":null}],\"e\":[]}\n"
        "nil\tline 1, column 3: ']' expected near end of file\tsyntax\n"
        "\"\\u0000\"\t-3\tx\n"
        "false\tdir/init.lua:8: hato.json.encode: a function has no form in JSON\n"
        "false\tdir/init.lua:9: hato.json.encode: nan has no form in JSON\n"
        "false\tdir/init.lua:10: hato.json.encode: \"\xff\" is not UTF-8\n"
        "false\tdir/init.lua:11: hato.json.encode: a list with names in it\n"
        "false\tdir/init.lua:13: hato.json.encode: tables lie more than 100 deep in each other\n"
        "false\tdir/init.lua:14: hato.json.decode: nested more than 100 deep\n");
}

TEST(arguments_and_time_zone_reach_the_script)
{
    struct script s = {.api = true, .arg = {S("limit"), S("5")}};
    /* A file system in memory has the zones that are put there. */
    struct slice tokyo = test_file("tests/golden/tz/Tokyo");
    script_file(&s, "dir/x", "");
    struct err e;
    CHECK_INT(fs_mkdir(s.fs, "/usr/share/zoneinfo/Asia", 0700, &e), 0);
    CHECK_INT(fs_write_atomic(s.fs, "/usr/share/zoneinfo/Asia/Tokyo", tokyo, 0600, &e), 0);
    script_run(&s, HATO "print(hato.args.limit, hato.args.other, hato.tz)\n"
                        "hato.tz = 'Asia/Tokyo'\n"
                        "print(hato.tz, os.date '%F %T %z', os.date '!%T', os.date('*t').hour)\n"
                        "print(os.time { year = 2026, month = 7, day = 1, hour = 10 })\n"
                        "hato.stream 'n' { from = 'n@example.jp' }\n"
                        "hato.campaign 'c' { stream = 'n', to = function() end, subject = 'S', text = 'T',\n"
                        "  at = '2026-07-01 10:00' }\n");
    CHECK_STR(buf_slice(&s.error), S(""));
    CHECK_STR(buf_slice(&s.out),
              S("5\tnil\tUTC\nAsia/Tokyo\t2026-07-01 09:00:00 +0900\t00:00:00\t9\n1782867600\n"));
    CHECK_INT(s.conf->campaigns[0].at_ms, 1782867600000);
    CHECK_STR(s.conf->tz, S("Asia/Tokyo"));
    CHECK_INT(api_offset_at(s.hato, 1782864000), 9 * 3600);
    script_end(&s);
}

/* --- hato.send --- */

static struct {
    struct task_wait wait;
    int calls, refuse;
    struct buf seen;
} sent;

static int take_send(void *data, const struct api_send *send, struct task_wait wait, struct err *e)
{
    sent.calls++;
    sent.wait = wait;
    if (sent.refuse)
        return err_set(e, sent.refuse, "known under this key");
    buf_printf(&sent.seen, "%d|%.*s|%.*s|%.*s|", send->stream, SLICE_FMT(send->to), SLICE_FMT(send->key),
               SLICE_FMT(send->content.subject));
    for (size_t i = 0; i < send->columns.n; i++)
        buf_addc(&sent.seen, send->columns.p[i] == 0x1f ? ',' : send->columns.p[i]);
    buf_printf(&sent.seen, "|%zu", send->values.n);
    return 0;
}

TEST(send_waits_until_the_mail_is_durable)
{
    sent.calls = sent.refuse = 0;
    sent.seen = (struct buf){0};
    struct script s = {.api = true, .host = {.send = take_send}};
    script_run(&s,
               HATO "local tx = hato.stream 'tx' { from = 'a@example.jp' }\n"
                    "local function send() return hato.send { stream = tx, to = 'b@example.jp', key = 'k',\n"
                    "  subject = '{{ n }}', text = 'T', data = { n = 5, list = { 1, 'x', { y = true } }, b = "
                    "-1.5 } } end\n"
                    "print(send())\nprint(send())\n");
    CHECK(!s.done);
    CHECK_STR(buf_slice(&sent.seen), S("0|b@example.jp|k|{{ n }}|b,list,n|19"));
    api_sent(s.hato, sent.wait, 0, S("id1"), S(""));
    CHECK_INT(sent.calls, 2);
    api_sent(s.hato, sent.wait, ERR_FULL, S(""), S("the disk is full"));
    CHECK(s.done);
    CHECK_STR(buf_slice(&s.error), S(""));
    CHECK_STR(buf_slice(&s.out), S("id1\nnil\tthe disk is full\tfull\n"));
    api_sent(s.hato, sent.wait, 0, S("late"), S(""));
    CHECK_STR(buf_slice(&s.log), S("debug task_slot=0 late completion, nobody waits\n"));
    script_end(&s);
    buf_free(&sent.seen);
}

TEST(a_refused_send_is_nil_and_why)
{
    sent.refuse = ERR_EXISTS;
    struct script s = {.api = true, .host = {.send = take_send}};
    struct buf b = script_says(
        &s, HATO "hato.stream 'tx' { from = 'a@example.jp' }\n"
                 "print(hato.send { stream = 'tx', to = 'b@example.jp', subject = 'S', text = 'T' })\n"
                 "print(pcall(hato.send, { stream = 'tx', to = 'b@example.jp', subject = 'S', text "
                 "= 'T', data = { f = print } }))\n");
    CHECK_STR(buf_slice(&b),
              S("nil\tknown under this key\texists\n"
                "false\tdir/init.lua:4: hato.send: data.f is a function; a value is a text, a number, "
                "true, false, or a table of these\n"));
    buf_free(&b);
    sent.refuse = 0;
}

/* --- hato.dns --- */

/* good.test has one of everything, 127.0.0.1 a name, null.test takes no mail; broken.test fails, no other
 * exists. */
static bool answer(void *ctx, struct dns_message *m, struct arena *a)
{
    static const struct {
        const char *name;
        struct dns_record r;
    } rows[] = {
        {"good.test", {.type = DNS_MX, .pref = 20, .target = {"b.test", 6}}},
        {"good.test", {.type = DNS_MX, .pref = 10, .target = {"a.test", 6}}},
        {"good.test", {.type = DNS_A, .ip = {4, {192, 0, 2, 1}}}},
        {"good.test", {.type = DNS_AAAA, .ip = {6, {0x20, 0x01, 0x0d, 0xb8}}}},
        {"good.test", {.type = DNS_TXT, .text = {"v=spf1 -all", 11}}},
        {"null.test", {.type = DNS_MX, .pref = 0, .target = {".", 1}}},
        {"1.0.0.127.in-addr.arpa", {.type = DNS_PTR, .target = {"localhost", 9}}},
    };
    m->v = arena_zalloc(a, COUNT(rows) * sizeof *m->v);
    m->rcode = slice_eq(m->qname, S("broken.test")) ? DNS_SERVFAIL : DNS_NXDOMAIN;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (!slice_eq(m->qname, slice_cstr(rows[i].name)))
            continue;
        m->rcode = DNS_NOERROR;
        if (rows[i].r.type != m->qtype)
            continue;
        m->v[m->n] = rows[i].r;
        m->v[m->n].name = m->qname;
        m->v[m->n].cls = 1;
        m->v[m->n++].ttl_s = 60;
    }
    return true;
}

static void prepare_dns(struct script *s)
{
    s->host.resolve = resolve_new_static(s->loop, answer, NULL, 5, 0);
    api_set_host(s->hato, &s->host);
}

static void cleanup_dns(struct script *s)
{
    resolve_free(s->host.resolve);
}

TEST(dns_answers_are_tables_and_failures_are_nil_why_and_code)
{
    struct script s = {.api = true, .prepare = prepare_dns, .cleanup = cleanup_dns};
    struct buf b = script_says(
        &s, HATO "local dns = hato.dns\n"
                 "local mx = dns.mx 'good.test'\n"
                 "print(mx.kind, #mx, mx[1].host, mx[1].preference, mx[2].host, dns.mx 'null.test'.kind)\n"
                 "print(dns.a 'good.test'[1], dns.aaaa 'good.test'[1], dns.txt 'good.test'[1])\n"
                 "print(dns.ptr '127.0.0.1'[1])\n"
                 "print(dns.mx 'none.test')\n"
                 "print(dns.a 'broken.test')\n"
                 "print(dns.txt 'null.test')\n");
    CHECK_STR(buf_slice(&b), S("listed\t2\ta.test\t10\tb.test\tnull\n"
                               "192.0.2.1\t2001:db8::\tv=spf1 -all\n"
                               "localhost\n"
                               "nil\tthe name does not exist\tnxdomain\n"
                               "nil\ta name server failed\tservfail\n"
                               "nil\tthe name exists and has no such record\tnodata\n"));
    buf_free(&b);
}

TEST(a_question_that_is_open_when_hato_ends_is_dropped)
{
    struct script s = {.api = true, .prepare = prepare_dns, .cleanup = cleanup_dns, .run_ms = 1};
    script_run(&s, HATO "hato.dns.mx 'good.test'\nprint 'never'\n");
    CHECK(!s.done);
    script_end(&s);
}

TEST(the_api_lives_in_a_reproducible_vm_too)
{
    static const char *const text =
        HATO "hato.stream 'n' { from = 'n@example.jp' }\n"
             "local t = {}\n"
             "for i = 1, 5 do hato.sleep '1 s' t['k' .. math.random(1000)] = os.time() end\n"
             "for k, v in pairs(t) do print(k, v, t) end\n"
             "hato.every('10 min', function() while true do end end)\n";
    struct buf seen[2] = {{0}, {0}};
    for (int i = 0; i < 2; i++) {
        struct script s = {.api = true, .reproducible = true, .budget = 1000000, .seed = 3};
        script_run(&s, text);
        buf_adds(&seen[i], buf_slice(&s.out));
        buf_adds(&seen[i], buf_slice(&s.log));
        buf_adds(&seen[i], buf_slice(&s.error));
        script_end(&s);
    }
    bool same = slice_eq(buf_slice(&seen[0]), buf_slice(&seen[1]));
    bool stopped =
        slice_find(buf_slice(&seen[0]), S("every at dir/init.lua:6 ran 1 million instructions without "
                                          "waiting: an endless loop?")) >= 0;
    buf_free(&seen[0]);
    buf_free(&seen[1]);
    CHECK(same);
    CHECK(stopped);
}

/* --- people from a function --- */

static void on_person(void *data, int status, const struct api_person *p, struct slice error)
{
    struct buf *b = data;
    if (p) {
        buf_printf(b, "%.*s|", SLICE_FMT(p->email));
        for (size_t i = 0; i < p->columns.n; i++)
            buf_addc(b, p->columns.p[i] == 0x1f ? ',' : p->columns.p[i]);
        struct mp m = {p->values};
        struct mp_value v;
        while (!mp_next(&m, &v))
            if (v.kind == MP_STR)
                buf_printf(b, "|%.*s", SLICE_FMT(v.s));
        buf_addc(b, '\n');
    } else {
        buf_printf(b, "%s %.*s\n", err_name(status), SLICE_FMT(error));
    }
}

TEST(an_iterator_gives_people_one_by_one_and_may_wait)
{
    struct script s = {.api = true};
    struct buf got = {0};
    script_run(&s,
               HATO "hato.stream 'n' { from = 'n@example.jp' }\n"
                    "local i = 0\n"
                    "hato.campaign 'c' { stream = 'n', subject = 'S', text = 'T', to = function()\n"
                    "  i = i + 1\n"
                    "  if i == 1 then return { email = 'a@example.jp', name = '山田', n = 3 } end\n"
                    "  if i == 2 then hato.sleep '1 s' return { ['メールアドレス'] = 'b@example.jp' } end\n"
                    "  if i == 3 then return { name = 'nobody' } end\n"
                    "  if i == 4 then return 'x' end\n"
                    "  if i == 5 then error 'broken' end\n"
                    "end }\n");
    for (int i = 0; i < 6; i++) {
        api_next_person(s.hato, 0, on_person, &got);
        loop_run(s.loop);
    }
    CHECK_STR(buf_slice(&got),
              S("a@example.jp|email,n,name|a@example.jp|山田\n"
                "b@example.jp|メールアドレス|b@example.jp\n"
                "syntax error a person: has no email\n"
                "syntax error a person: wants { email = …, name = … }, or nil at the end, not \"x\"\n"
                "invalid value dir/init.lua:10: broken\n"
                "end of input \n"));
    buf_free(&got);
    script_end(&s);
}

TEST(address_columns_are_known_by_their_usual_names)
{
    static const char *const yes[] = {"email",  "Email",          "E-Mail",
                                      " mail ", "メールアドレス", "Email Address"};
    static const char *const no[] = {"", "name", "emails", "アドレス帳"};
    for (size_t i = 0; i < COUNT(yes); i++)
        CHECK(api_is_address_column(slice_cstr(yes[i])));
    for (size_t i = 0; i < COUNT(no); i++)
        CHECK(!api_is_address_column(slice_cstr(no[i])));
}
