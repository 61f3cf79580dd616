/* dns_server_test.c - the DNS of a world: through the wire, through a resolver on a virtual loop, through
 * real sockets. */
#include "dns_server.h"
#include "platform/resolve.h"
#include "test.h"

#include <stdlib.h>

static const char source[] =
    "return { isps = {\n"
    "  gmail = { domains = { 'gmail.test', 'a.test', 'b.test', 'c.test', 'd.test', 'e.test', 'f.test', "
    "'g.test',\n"
    "                        'h.test', 'i.test' },\n"
    "            mx = { '20 mx2.gmail.test', 'mx1.gmail.test' }, address = { '127.0.1.1', '127.0.1.2' } },\n"
    "  self = { domains = { 'self.test' }, mx = { 'self.test' }, address = { '127.0.1.3' } },\n"
    "}, dns = { ['a.test'] = 'servfail', ['b.test'] = 'null_mx', ['c.test'] = 'implicit_mx',\n"
    "  ['d.test'] = 'loop', ['e.test'] = 'nxdomain', ['f.test'] = 'nodata', ['g.test'] = 'timeout',\n"
    "  ['h.test'] = 'refused', ['i.test'] = 'truncated' } }\n";

struct bench {
    struct loop *loop;
    struct world *world;
    struct dns_zone *zone;
    struct dns_server *server;
    struct resolve *r;
    struct buf text;
};

static void told_mx(struct resolve_req *q, const struct mx_set *s)
{
    static const char *const kinds[] = {"listed", "implicit", "null"};
    struct bench *b = q->data;
    buf_printf(&b->text, "%s", resolve_status_name(s->status));
    if (s->status == RESOLVE_OK)
        buf_printf(&b->text, " %s", kinds[s->kind]);
    for (size_t i = 0; i < s->n; i++)
        buf_printf(&b->text, " %d=%.*s", s->hosts[i].pref, SLICE_FMT(s->hosts[i].name));
    loop_stop(b->loop);
}

static void told_addr(struct resolve_req *q, const struct addr_set *s)
{
    struct bench *b = q->data;
    char ip[IP_TEXT];
    buf_printf(&b->text, "%s", resolve_status_name(s->status));
    for (size_t i = 0; i < s->n; i++)
        buf_printf(&b->text, " %s", ip_text(&s->v[i], ip).p);
    loop_stop(b->loop);
}

static void told_text(struct resolve_req *q, const struct text_set *s)
{
    struct bench *b = q->data;
    buf_printf(&b->text, "%s", resolve_status_name(s->status));
    for (size_t i = 0; i < s->n; i++)
        buf_printf(&b->text, " %.*s", SLICE_FMT(s->v[i]));
    loop_stop(b->loop);
}

static struct slice ask_mx(struct bench *b, const char *name)
{
    struct resolve_req q = {.data = b};
    buf_clear(&b->text);
    resolve_mx(b->r, slice_cstr(name), &q, told_mx);
    loop_run(b->loop);
    return buf_slice(&b->text);
}

static struct slice ask_addr(struct bench *b, const char *name)
{
    struct resolve_req q = {.data = b};
    buf_clear(&b->text);
    resolve_addr(b->r, slice_cstr(name), RESOLVE_IP4, &q, told_addr);
    loop_run(b->loop);
    return buf_slice(&b->text);
}

static struct slice ask_text(struct bench *b, const char *name)
{
    struct resolve_req q = {.data = b};
    buf_clear(&b->text);
    resolve_txt(b->r, slice_cstr(name), &q, told_text);
    loop_run(b->loop);
    return buf_slice(&b->text);
}

static struct slice ask_ptr(struct bench *b, struct ip ip)
{
    struct resolve_req q = {.data = b};
    buf_clear(&b->text);
    resolve_ptr(b->r, ip, &q, told_text);
    loop_run(b->loop);
    return buf_slice(&b->text);
}

static void bench_open(struct bench *b, bool real, bool with_world)
{
    struct err e = {0};
    struct ip_port listen = {.ip = ip_v4(127, 0, 0, 1)};
    char text[IP_PORT_TEXT];
    *b = (struct bench){.loop = real ? loop_new_real() : loop_new_virtual(1, 0)};
    if (with_world && world_parse(&b->world, "world.lua", slice_cstr(source), &e))
        test_fail(__FILE__, __LINE__, "%s", e.text);
    if (!real) {
        b->zone = dns_zone_new(b->world, ip_v4(127, 0, 0, 9));
        b->r = resolve_new_static(b->loop, dns_zone_answer, b->zone, 5, 0);
        return;
    }
    b->server = dns_server_new(b->loop, listen, b->world, ip_v4(127, 0, 0, 9), &e);
    struct ip_port at = dns_server_at(b->server);
    struct resolve_conf conf = {.servers = ip_port_text(&at, text).p, .timeout_ms = 100, .tries = 1};
    b->r = resolve_new(b->loop, &conf, &e);
}

static void bench_close(struct bench *b)
{
    resolve_free(b->r);
    dns_server_free(b->server);
    dns_zone_free(b->zone);
    world_free(b->world);
    loop_free(b->loop);
    buf_free(&b->text);
}

static const struct {
    const char *name, *mx, *address;
} world_rows[] = {
    {"gmail.test", "ok listed 10=mx1.gmail.test 20=mx2.gmail.test", "nodata"},
    {"Gmail.TEST.", "ok listed 10=mx1.gmail.test 20=mx2.gmail.test", "nodata"},
    {"self.test", "ok listed 10=self.test", "ok 127.0.1.3"},
    {"mx1.gmail.test", "ok implicit 0=mx1.gmail.test", "ok 127.0.1.2"},
    {"mx2.gmail.test", "ok implicit 0=mx2.gmail.test", "ok 127.0.1.1"},
    {"a.test", "servfail", "servfail"},
    {"b.test", "ok null", "nodata"},
    {"c.test", "ok implicit 0=c.test", "ok 127.0.1.1"},
    {"d.test", "loop", "loop"},
    {"e.test", "nxdomain", "nxdomain"},
    {"f.test", "nodata", "nodata"},
    {"g.test", "timeout", "timeout"},
    {"h.test", "refused", "refused"},
    {"i.test", "ok listed 10=mx1.gmail.test 20=mx2.gmail.test", "nodata"},
    {"nobody.test", "nxdomain", "nxdomain"},
    {"sub.gmail.test", "nxdomain", "nxdomain"},
};

TEST(a_world_says_the_same_over_sockets_and_in_simulation)
{
    for (int real = 0; real < 2; real++) {
        struct bench b;
        bench_open(&b, real, true);
        for (size_t i = 0; i < COUNT(world_rows); i++) {
            CHECK_STR(ask_mx(&b, world_rows[i].name), slice_cstr(world_rows[i].mx));
            CHECK_STR(ask_addr(&b, world_rows[i].name), slice_cstr(world_rows[i].address));
        }
        CHECK_STR(ask_ptr(&b, ip_v4(127, 0, 1, 2)), S("ok mx1.gmail.test"));
        CHECK_STR(ask_ptr(&b, ip_v4(127, 0, 1, 99)), S("nxdomain"));
        bench_close(&b);
    }
}

TEST(without_a_world_every_name_is_the_sink)
{
    struct bench b;
    bench_open(&b, true, false);
    CHECK_STR(ask_mx(&b, "anything.example"), S("ok listed 10=anything.example"));
    CHECK_STR(ask_addr(&b, "anything.example"), S("ok 127.0.0.9"));
    CHECK_STR(ask_text(&b, "anything.example"), S("nodata"));
    bench_close(&b);
}

TEST(keys_can_be_published_under_any_name)
{
    struct bench b;
    char key[600];
    memset(key, 'k', sizeof key);
    bench_open(&b, true, true);
    struct dns_zone *z = dns_server_zone(b.server);
    CHECK_INT(dns_zone_add_text(z, S("S1._domainkey.Sender.test."), slice_of(key, sizeof key)), 0);
    CHECK_INT(dns_zone_add_text(z, S("gmail.test"), S("v=spf1 -all")), 0);
    CHECK_INT(dns_zone_add_text(z, S("a..b"), S("x")), ERR_SYNTAX);
    CHECK_INT((long long)ask_text(&b, "s1._domainkey.sender.test").n, 603);
    CHECK_STR(ask_text(&b, "gmail.test"), S("ok v=spf1 -all"));
    CHECK_STR(ask_text(&b, "self.test"), S("nodata"));
    CHECK_STR(ask_mx(&b, "s1._domainkey.sender.test"), S("nodata"));
    bench_close(&b);
}

/* --- by the wire --- */

static int reply(struct dns_zone *z, struct dns_message *query, bool tcp, struct arena *a,
                 struct dns_message *got)
{
    struct buf q = {0}, out = {0};
    int rc = dns_encode(query, DNS_UDP_MAX, &q);
    if (!rc && !dns_zone_reply(z, buf_slice(&q), tcp, &out))
        rc = ERR_AGAIN;
    if (!rc && !tcp && out.n > DNS_EDNS_MAX)
        rc = ERR_LIMIT;
    if (!rc)
        rc = dns_parse(buf_slice(&out), a, got);
    buf_free(&q);
    buf_free(&out);
    return rc;
}

TEST(odd_queries_get_the_code_that_says_so_or_silence)
{
    struct dns_zone *z = dns_zone_new(NULL, ip_v4(127, 0, 0, 9));
    struct arena a = {0};
    struct dns_message got,
        q = {.id = 7, .asks = true, .qname = S("MiXed.test"), .qtype = DNS_A, .qclass = DNS_IN};

    CHECK_INT(reply(z, &q, false, &a, &got), 0);
    CHECK(got.id == 7 && got.response && got.authoritative && got.n == 1 && !got.edns);
    CHECK_STR(got.qname, S("MiXed.test"));
    q.edns = true;
    q.edns_bytes = 4096;
    CHECK_INT(reply(z, &q, false, &a, &got), 0);
    CHECK(got.edns && got.edns_bytes == DNS_EDNS_MAX);
    q.edns_version = 1;
    CHECK_INT(reply(z, &q, false, &a, &got), 0);
    CHECK_INT(got.rcode, DNS_BADVERS);
    q.edns = false;
    q.edns_version = 0;
    q.qclass = 3;
    CHECK_INT(reply(z, &q, false, &a, &got), 0);
    CHECK_INT(got.rcode, DNS_REFUSED);
    q.qclass = DNS_IN;
    q.opcode = 5;
    CHECK_INT(reply(z, &q, false, &a, &got), 0);
    CHECK_INT(got.rcode, DNS_NOTIMP);
    q.opcode = 0;
    q.asks = false;
    CHECK_INT(reply(z, &q, false, &a, &got), 0);
    CHECK_INT(got.rcode, DNS_FORMERR);
    q.response = true; /* two servers never talk to each other without end */
    CHECK_INT(reply(z, &q, false, &a, &got), ERR_AGAIN);
    struct buf out = {0};
    CHECK(!dns_zone_reply(z, S("GET / HTTP/1.1"), true, &out));
    buf_free(&out);
    arena_free(&a);
    dns_zone_free(z);
}

TEST(a_long_answer_goes_whole_by_tcp_and_truncated_by_udp)
{
    struct dns_zone *z = dns_zone_new(NULL, ip_v4(127, 0, 0, 9));
    struct arena a = {0};
    struct dns_message got, q = {.asks = true, .qname = S("k.test"), .qtype = DNS_TXT, .qclass = DNS_IN};
    char key[600];
    memset(key, 'k', sizeof key);
    CHECK_INT(dns_zone_add_text(z, S("k.test"), slice_of(key, sizeof key)), 0);
    CHECK_INT(reply(z, &q, false, &a, &got), 0);
    CHECK(got.truncated && got.n == 0);
    CHECK_INT(reply(z, &q, true, &a, &got), 0);
    CHECK(!got.truncated && got.n == 1);
    CHECK_INT((long long)got.v[0].text.n, 600);
    q.edns = true;
    q.edns_bytes = 1232;
    CHECK_INT(reply(z, &q, false, &a, &got), 0);
    CHECK(!got.truncated && got.n == 1);
    arena_free(&a);
    dns_zone_free(z);
}

TEST(an_address_that_is_taken_is_named_in_the_error)
{
    struct loop *l = loop_new_real();
    struct err e = {0};
    struct ip_port listen = {.ip = ip_v4(127, 0, 0, 1)};
    struct dns_server *one = dns_server_new(l, listen, NULL, listen.ip, &e);
    char text[IP_PORT_TEXT];
    listen = dns_server_at(one);
    CHECK(!dns_server_new(l, listen, NULL, listen.ip, &e));
    struct slice at = ip_port_text(&listen, text);
    CHECK(slice_find(slice_cstr(e.text), at) > 0);
    CHECK(slice_find(slice_cstr(e.text), S("address already in use")) > 0);
    dns_server_free(one);
    loop_free(l);
}
