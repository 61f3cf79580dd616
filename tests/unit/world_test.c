/* world_test.c - simulated receivers: what a world file means, and what is said of a wrong one. */
#include "world.h"
#include "test.h"

static struct world *parse(const char *source, struct err *e)
{
    struct world *w = NULL;
    world_parse(&w, "w.lua", slice_cstr(source), e);
    return w;
}

static const char whole[] =
    "local slow = string.rep('x', 3)\n"
    "return {\n"
    "  isps = {\n"
    "    gmail = { domains = { 'Gmail.Test.', 'googlemail.test' },\n"
    "      mx = { 'mx.gmail.test', '20 MX2.gmail.test' }, address = { '127.0.1.1', '127.0.1.2' },\n"
    "      extensions = { 'pipelining', 'SIZE 35882577' }, connections = 10, per_connection = 50,\n"
    "      delay = '20 ms', greylist = '5 min', unknown = 0.02, bytes_per_second = 1, tls = 'garbage',\n"
    "      accept = '960/h', over = '421 4.7.28 slow down',\n"
    "      replies = {\n"
    "        { phase = 'rcpt', to = '^bad', reply = '550 5.1.1 no\\nreally ' .. slow },\n"
    "        { phase = 'rcpt', to = '^late', delay = '2 s' },\n"
    "        { phase = 'eod', share = 0.25, disconnect = true },\n"
    "        { phase = 'banner', garbage = true } } },\n"
    "    rest = { every_domain = true, address = '127.0.1.9' },\n"
    "  },\n"
    "  dns = { ['A.test'] = 'servfail', ['b.test'] = 'null_mx' },\n"
    "  people = { anything = true },\n"
    "}\n";

TEST(a_world_file_becomes_its_structs)
{
    struct err e = {0};
    struct world *w = parse(whole, &e);
    CHECK_STR(slice_cstr(e.text), S(""));
    CHECK(w != NULL);
    CHECK_INT(w->n_isps, 2);
    const struct world_isp *g = world_isp_by_name(w, S("gmail"));
    CHECK(g && g == world_isp_by_domain(w, S("GMAIL.test")) && g == world_isp_by_domain(w, S("gmail.test.")));
    CHECK_INT(g->n_domains, 2);
    CHECK_INT(g->n_mx, 2);
    CHECK_STR(g->mx[1].host, S("mx2.gmail.test"));
    CHECK_INT(g->mx[1].preference, 20);
    CHECK_INT(g->mx[0].preference, 10);
    CHECK_INT(g->mx[1].n_addresses, 1);
    CHECK(ip_eq(g->mx[1].addresses, &g->addresses[1]));
    CHECK_INT(g->extensions, WORLD_EXT_PIPELINING | WORLD_EXT_SIZE);
    CHECK_INT(g->size_limit, 35882577);
    CHECK_INT(g->connections, 10);
    CHECK_INT(g->per_connection, 50);
    CHECK_INT(g->delay_ms, 20);
    CHECK_INT(g->greylist_ms, 300000);
    CHECK_INT(g->unknown_ppm, 20000);
    CHECK_INT(g->bytes_per_second, 1);
    CHECK_INT(g->tls, WORLD_TLS_GARBAGE);
    CHECK_INT(g->n_accept, 1);
    CHECK_INT(g->accept[0].messages, 960);
    CHECK_INT(g->accept[0].window_ms, 3600000);
    CHECK_INT(g->over.phase, SMTP_PHASE_MAIL);
    CHECK_INT(g->over.answer.code, 421);
    CHECK_STR(g->over.answer.wire, S("421 4.7.28 slow down\r\n"));
    CHECK_INT(g->n_replies, 4);
    CHECK_STR(g->replies[0].answer.wire, S("550-5.1.1 no\r\n550 really xxx\r\n"));

    const struct world_isp *rest = world_isp_by_name(w, S("rest"));
    const struct world_mx *mx = NULL;
    struct ip at = ip_v4(127, 0, 1, 2), nobody = ip_v4(127, 0, 1, 3);
    CHECK(rest && rest == world_isp_by_domain(w, S("anything.test")));
    CHECK_STR(rest->mx[0].host, S("mx.rest"));
    CHECK(world_isp_by_mx(w, S("mx2.GMAIL.test."), &mx) == g && mx == &g->mx[1]);
    CHECK(!world_isp_by_mx(w, S("gmail.test"), NULL));
    CHECK(world_isp_by_address(w, &at) == g && !world_isp_by_address(w, &nobody));
    CHECK_INT(world_dns_of(w, S("a.TEST.")), WORLD_DNS_SERVFAIL);
    CHECK_INT(world_dns_of(w, S("b.test")), WORLD_DNS_NULL_MX);
    CHECK_INT(world_dns_of(w, S("c.test")), WORLD_DNS_OK);
    world_free(w);
}

TEST(the_first_reply_that_matches_wins_and_shares_hold)
{
    struct world *w = parse(whole, NULL);
    const struct world_isp *g = world_isp_by_name(w, S("gmail"));
    CHECK(world_reply_for(g, SMTP_PHASE_RCPT, S("BAD@gmail.test"), 1, 0) == &g->replies[0]);
    CHECK(world_reply_for(g, SMTP_PHASE_RCPT, S("late@gmail.test"), 1, 0) == &g->replies[1]);
    CHECK(!world_reply_for(g, SMTP_PHASE_RCPT, S("a@gmail.test"), 1, 0));
    CHECK(!world_reply_for(g, SMTP_PHASE_DATA, S("bad@gmail.test"), 1, 0));
    CHECK(world_reply_for(g, SMTP_PHASE_BANNER, SLICE_NONE, 1, 0)->garbage);
    int hits = 0, unknown = 0;
    for (uint64_t luck = 0; luck < 20000; luck++) {
        char address[64];
        int n = snprintf(address, sizeof address, "p%llu@gmail.test", (unsigned long long)luck);
        hits += world_reply_for(g, SMTP_PHASE_EOD, SLICE_NONE, luck, 0) == &g->replies[2];
        bool gone = world_is_unknown(g, slice_of(address, (size_t)n));
        address[0] = 'P';
        CHECK(gone == world_is_unknown(g, slice_of(address, (size_t)n)));
        unknown += gone;
    }
    CHECK(hits > 4700 && hits < 5300);     /* a quarter */
    CHECK(unknown > 320 && unknown < 480); /* one in fifty */
    world_free(w);
}

#define ISP(text) "return { isps = { a = { domains = 'a.test', address = '127.0.1.1', " text " } } }"

TEST(what_a_receiver_accepts_may_change_with_time_and_be_said_at_any_phase)
{
    enum { HOUR_MS = 3600000 };
    struct err e = {0};
    struct world *w = parse(ISP("accept = { ['12 h'] = '120/h', ['90 min'] = '5/min', '60/h' },"
                                "over = { phase = 'connect', disconnect = true }"),
                            &e);
    CHECK_STR(slice_cstr(e.text), S(""));
    static const struct {
        int64_t age_ms;
        unsigned messages;
    } rows[] = {{0, 60}, {HOUR_MS, 60}, {3 * HOUR_MS / 2, 5}, {12 * HOUR_MS - 1, 5}, {12 * HOUR_MS, 120}};
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_INT(world_accept_at(&w->isps[0], rows[i].age_ms)->messages, rows[i].messages);
    CHECK_INT(w->isps[0].over.phase, SMTP_PHASE_CONNECT);
    CHECK(w->isps[0].over.disconnect && !w->isps[0].over.answer.code);
    world_free(w);
    w = parse(ISP("accept = { ['1 h'] = '120/h' }, over = '450 later'"), &e); /* any number until then */
    CHECK(w && !world_accept_at(&w->isps[0], HOUR_MS - 1) && world_accept_at(&w->isps[0], HOUR_MS));
    CHECK_INT(w->isps[0].over.phase, SMTP_PHASE_MAIL);
    world_free(w);
}

TEST(without_a_file_every_name_is_the_sink)
{
    struct ip at = ip_v4(127, 0, 0, 1);
    struct world *w = world_default(&at);
    const struct world_isp *isp = world_isp_by_domain(w, S("whatever.example"));
    CHECK(isp && isp == world_isp_by_address(w, &at) && isp->n_replies == 0 && isp->n_accept == 0);
    CHECK(isp->extensions & WORLD_EXT_PIPELINING && isp->extensions & WORLD_EXT_STARTTLS);
    world_free(w);
}

TEST(mistakes_in_a_world_name_the_file_the_key_and_what_would_be_right)
{
    static const struct {
        const char *source, *want;
    } rows[] = {
        {"return {", "w.lua:1: unexpected symbol near '<eof>'"},
        {"return 5", "w.lua: a world returns a table"},
        {"return {}", "w.lua: isps is missing"},
        {"return { isp = {} }", "w.lua: unknown option \"isp\"; did you mean \"isps\"?"},
        {ISP("greylst = '5 min'"), "w.lua: isps.a: unknown option \"greylst\"; did you mean \"greylist\"?"},
        {ISP("connections = 'ten'"),
         "w.lua: isps.a.connections wants a whole number from 1 to 1000000, not \"ten\""},
        {ISP("connections = 0"), "w.lua: isps.a.connections wants a whole number from 1 to 1000000, not 0"},
        {ISP("unknown = 2"), "w.lua: isps.a.unknown wants a share from 0 to 1, not 2"},
        {ISP("delay = 'forever'"),
         "w.lua: isps.a.delay wants a duration of at most one day, not \"forever\""},
        {ISP("accept = '960'"), "w.lua: isps.a.accept wants a rate such as \"960/h\", not \"960\""},
        {ISP("accept = {}"), "w.lua: isps.a.accept is empty"},
        {ISP("accept = { '1/h', '2/h' }"),
         "w.lua: isps.a.accept: at most one rate without a time, and 1000 with one"},
        {ISP("accept = { ['12'] = '2/h' }"),
         "w.lua: isps.a.accept[\"12\"] wants a duration such as \"90 s\", "
         "\"10 min\", \"2 h\" or \"3 days\", not \"12\""},
        {ISP("accept = { ['1 h'] = 2 }"),
         "w.lua: isps.a.accept[\"1 h\"] wants a rate such as \"960/h\", not 2"},
        {ISP("accept = { ['1 h'] = '2/h', ['60 min'] = '3/h' }"),
         "w.lua: isps.a.accept[\"60 min\"]: there are two rates for one time"},
        {ISP("over = '250 fine'"), "w.lua: isps.a.over wants a 4xx or 5xx reply"},
        {ISP("over = { phase = 'mail', reply = '250 fine' }"), "w.lua: isps.a.over wants a 4xx or 5xx reply"},
        {ISP("over = { phase = 'mail' }"), "w.lua: isps.a.over.reply, garbage or disconnect is missing"},
        {ISP("over = { phase = 'quit', disconnect = true }"),
         "w.lua: isps.a.over.phase quit says nothing about messages"},
        {ISP("over = { reply = '450 no' }"), "w.lua: isps.a.over.phase is missing"},
        {ISP("over = 'slow'"),
         "w.lua: isps.a.over wants a reply such as \"550 5.1.1 no such user\", not \"slow\""},
        {ISP("extensions = { 'PIPELINEING' }"),
         "w.lua: isps.a.extensions[1]: no extension \"PIPELINEING\"; did you mean \"PIPELINING\"?"},
        {ISP("extensions = { 'SIZE big' }"),
         "w.lua: isps.a.extensions[1]: \"SIZE big\": SIZE wants a number of bytes"},
        {ISP("mx = { 'x mx.a.test' }"),
         "w.lua: isps.a.mx[1] wants a preference from 0 to 65535 before the name, not \"x\""},
        {ISP("mx = { 'mx..a.test' }"), "w.lua: isps.a.mx[1] wants a DNS name, not \"mx..a.test\""},
        {ISP("tls = 'refused'"),
         "w.lua: isps.a.tls wants \"ok\", \"refuse\", \"garbage\" or \"disconnect\", not "
         "\"refused\"; did you mean \"refuse\"?"},
        {ISP("replies = { { phase = 'rcpt', to = '(' , disconnect = true } }"),
         "w.lua: isps.a.replies[1].to: \"(\" at its byte 1: missing closing parenthesis"},
        {ISP("replies = { { phase = 'rcpt', to = 'x' , disconnect = true }, { phase = 'rctp' } }"),
         "w.lua: isps.a.replies[2].phase wants \"connect\", \"banner\", \"ehlo\", \"starttls\", \"auth\", "
         "\"mail\", \"rcpt\", \"data\", \"eod\" or \"quit\", not \"rctp\"; did you mean \"rcpt\"?"},
        {ISP("replies = { { phase = 'eod' } }"),
         "w.lua: isps.a.replies[1].reply, delay, garbage or disconnect is missing"},
        {ISP("replies = { { phase = 'ehlo', to = 'x', disconnect = true } }"),
         "w.lua: isps.a.replies[1].to: phase ehlo has no recipient"},
        {"return { isps = { a = { address = '127.0.1.1' } } }",
         "w.lua: isps.a.domains is missing; every_domain = true takes all that no other ISP has"},
        {"return { isps = { a = { domains = 'a.test' } } }", "w.lua: isps.a.address is missing"},
        {"return { isps = { a = { domains = 'a.test', address = '127.1' } } }",
         "w.lua: isps.a.address wants an IP address, not \"127.1\""},
        {"return { isps = { a = { domains = 'x.test', address = '127.0.0.1' },"
         " b = { domains = 'X.test', address = '127.0.0.2' } } }",
         "w.lua: isps.b: domain x.test is a's already"},
        {"return { isps = { a = { domains = 'x.test', address = '127.0.0.1' },"
         " b = { domains = 'y.test', address = '127.0.0.1' } } }",
         "w.lua: isps.b: address 127.0.0.1 is a's already"},
        {"return { isps = {}, dns = { ['a.test'] = 'servfall' } }",
         "w.lua: dns.a.test wants \"servfail\", \"nxdomain\", \"nodata\", \"null_mx\", \"implicit_mx\", "
         "\"loop\", \"timeout\", \"refused\" or \"truncated\", not \"servfall\"; did you mean \"servfail\"?"},
        {"while true do end", "w.lua:1: the world takes more than 50000000 steps to describe"},
        {"return require 'ffi'", "w.lua:1: attempt to call global 'require' (a nil value)"},
        {"io.write 'x'", "w.lua:1: attempt to index global 'io' (a nil value)"},
        {"return load '1'", "w.lua:1: attempt to call global 'load' (a nil value)"},
        {"\x1bLJ\x02", "w.lua: this is bytecode; a world is text"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct err e = {0};
        struct world *w = parse(rows[i].source, &e);
        CHECK(w == NULL);
        CHECK_STR(slice_cstr(e.text), slice_cstr(rows[i].want));
    }
}

TEST(a_world_that_is_not_there_is_named)
{
    struct world *w = NULL;
    struct err e = {0};
    CHECK_INT(world_load(&w, "/does/not/exist.lua", &e), ERR_NOTFOUND);
    CHECK(slice_find(slice_cstr(e.text), S("/does/not/exist.lua")) >= 0);
}
