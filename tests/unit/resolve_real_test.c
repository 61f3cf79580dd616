/* resolve_real_test.c - c-ares under the real loop, against servers on 127.0.0.1 that behave by the name
 * asked for: truncated answers, servers that fail, are silent, choke on EDNS or answer something else. */
#include "platform/resolve.h"
#include "platform/resolve_serve.h"
#include "test.h"

#include <stdlib.h>

struct server {
    struct resolve_serve *serve;
    bool bad;
    int udp, tcp;
};

struct bench {
    struct loop *loop;
    struct server one, two;
    struct resolve *r;
    struct buf text;
    int due;
};

static bool is(const struct dns_message *m, const char *name)
{
    return slice_ieq(m->qname, slice_cstr(name));
}

static bool serve(void *ctx, struct slice query, bool tcp, struct buf *out)
{
    struct server *s = ctx;
    struct arena a = {0};
    struct dns_message m;
    struct dns_record rec[2] = {{.cls = DNS_IN, .ttl_s = 60, .type = DNS_A}};
    char big[3000];
    bool speak = true;
    ++*(tcp ? &s->tcp : &s->udp);
    if (dns_parse(query, &a, &m)) {
        arena_free(&a);
        return false;
    }
    m.response = m.recursion_available = true;
    m.v = rec;
    m.n = 1;
    rec[0].name = m.qname;
    rec[0].ip = ip_v4(192, 0, 2, s->bad ? 66 : 1);
    if (is(&m, "big.test")) {
        memset(big, 'x', sizeof big);
        rec[0].type = DNS_TXT;
        rec[0].text = slice_of(big, sizeof big);
    }
    if (is(&m, "plain.test") && m.edns) {
        m.rcode = DNS_FORMERR;
        m.edns = false;
        m.n = 0;
    }
    if ((is(&m, "old.test") || is(&m, "old2.test")) && m.edns) {
        m.rcode = DNS_NOTIMP;
        m.edns = false;
        m.n = 0;
    }
    if (is(&m, "wrong.test")) {
        m.qname = S("right.test");
        rec[0].name = m.qname;
    }
    if (s->bad && is(&m, "servfail-first.test")) {
        m.rcode = DNS_SERVFAIL;
        m.n = 0;
    }
    if (s->bad && is(&m, "refused-first.test")) {
        m.rcode = DNS_REFUSED;
        m.n = 0;
    }
    if (is(&m, "servfail.test")) {
        m.rcode = DNS_SERVFAIL;
        m.n = 0;
    }
    if (is(&m, "gone.test")) {
        m.rcode = DNS_NXDOMAIN;
        m.n = 0;
    }
    if (is(&m, "silent.test") || (s->bad && is(&m, "silent-first.test")))
        speak = false;
    dns_encode(&m, tcp ? 65535 : DNS_EDNS_MAX, out);
    if (is(&m, "cut.test"))
        out->n -= 6;
    arena_free(&a);
    return speak;
}

static void bench_open(struct bench *b, int servers, int64_t timeout_ms, int tries)
{
    char list[2 * IP_PORT_TEXT + 1], text[IP_PORT_TEXT];
    struct err e = {0};
    *b = (struct bench){.loop = loop_new_real(), .one.bad = servers == 2};
    struct ip_port listen = {.ip = ip_v4(127, 0, 0, 1)};
    b->one.serve = resolve_serve_new(b->loop, listen, serve, &b->one, &e);
    b->two.serve = resolve_serve_new(b->loop, listen, serve, &b->two, &e);
    struct ip_port at = resolve_serve_at(b->one.serve);
    int n = snprintf(list, sizeof list, "%s", ip_port_text(&at, text).p);
    at = resolve_serve_at(b->two.serve);
    if (servers == 2)
        snprintf(list + n, sizeof list - (size_t)n, ",%s", ip_port_text(&at, text).p);
    struct resolve_conf conf = {.servers = list, .timeout_ms = timeout_ms, .tries = tries};
    b->r = resolve_new(b->loop, &conf, &e);
    if (!b->r)
        test_fail(__FILE__, __LINE__, "%s", e.text);
}

static void bench_close(struct bench *b)
{
    resolve_free(b->r);
    resolve_serve_free(b->one.serve);
    resolve_serve_free(b->two.serve);
    loop_free(b->loop);
    buf_free(&b->text);
}

static void told(struct resolve_req *q, const struct addr_set *s)
{
    struct bench *b = q->data;
    char ip[IP_TEXT];
    buf_printf(&b->text, "%s", resolve_status_name(s->status));
    for (size_t i = 0; i < s->n; i++)
        buf_printf(&b->text, " %s", ip_text(&s->v[i], ip).p);
    buf_addc(&b->text, '\n');
    if (!--b->due)
        loop_stop(b->loop);
}

static void told_text(struct resolve_req *q, const struct text_set *s)
{
    struct bench *b = q->data;
    buf_printf(&b->text, "%s %zu bytes\n", resolve_status_name(s->status), s->n ? s->v[0].n : 0);
    if (!--b->due)
        loop_stop(b->loop);
}

static struct slice ask(struct bench *b, const char *name)
{
    struct resolve_req q = {.data = b};
    buf_clear(&b->text);
    b->due = 1;
    resolve_addr(b->r, slice_cstr(name), RESOLVE_IP4, &q, told);
    loop_run(b->loop);
    return buf_slice(&b->text);
}

TEST(a_real_server_is_asked_once_for_many_at_once)
{
    struct bench b;
    bench_open(&b, 1, 2000, 2);
    struct resolve_req q[20];
    memset(q, 0, sizeof q);
    b.due = 20;
    for (int i = 0; i < 20; i++) {
        q[i].data = &b;
        resolve_addr(b.r, S("ok.test"), RESOLVE_IP4, &q[i], told);
    }
    loop_run(b.loop);
    CHECK_INT(b.one.udp, 1);
    CHECK_STR(ask(&b, "OK.test"), S("ok 192.0.2.1\n"));
    CHECK_INT(b.one.udp, 1);
    CHECK_STR(ask(&b, "gone.test"), S("nxdomain\n"));
    CHECK_STR(ask(&b, "gone.test"), S("nxdomain\n"));
    CHECK_INT(b.one.udp, 2);
    bench_close(&b);
}

TEST(more_questions_than_may_be_in_flight_take_turns)
{
    enum { N = 700 };
    struct bench b;
    bench_open(&b, 1, 5000, 2);
    struct resolve_req *q = mem_zalloc(N * sizeof *q);
    b.due = N;
    for (int i = 0; i < N; i++) {
        char name[32];
        int n = snprintf(name, sizeof name, "n%d.test", i);
        q[i].data = &b;
        resolve_addr(b.r, slice_of(name, (size_t)n), RESOLVE_IP4, &q[i], told);
    }
    CHECK_INT((long long)resolve_stats(b.r).in_flight, 256);
    loop_run(b.loop);
    CHECK_INT(b.text.n, (long long)(N * strlen("ok 192.0.2.1\n")));
    free(q);
    bench_close(&b);
}

TEST(a_truncated_answer_is_fetched_over_tcp)
{
    struct bench b;
    bench_open(&b, 1, 2000, 2);
    struct resolve_req q = {.data = &b};
    b.due = 1;
    resolve_txt(b.r, S("big.test"), &q, told_text);
    loop_run(b.loop);
    CHECK_STR(buf_slice(&b.text), S("ok 3000 bytes\n"));
    CHECK_INT(b.one.udp, 1);
    CHECK_INT(b.one.tcp, 1);
    bench_close(&b);
}

TEST(a_server_that_chokes_on_edns_is_asked_without)
{
    struct bench b;
    bench_open(&b, 1, 2000, 1);
    CHECK_STR(ask(&b, "old.test"), S("ok 192.0.2.1\n"));
    CHECK_INT(b.one.udp, 2);
    CHECK_STR(ask(&b, "old2.test"), S("ok 192.0.2.1\n")); /* it is remembered */
    CHECK_INT(b.one.udp, 3);
    bench_close(&b);
    bench_open(&b, 1, 2000, 1);
    CHECK_STR(ask(&b, "plain.test"), S("ok 192.0.2.1\n"));
    CHECK_INT(b.one.udp, 2);
    bench_close(&b);
}

TEST(where_one_server_fails_the_next_is_asked)
{
    struct bench b;
    bench_open(&b, 2, 1000, 1);
    CHECK_STR(ask(&b, "servfail-first.test"), S("ok 192.0.2.1\n"));
    CHECK_STR(ask(&b, "refused-first.test"), S("ok 192.0.2.1\n"));
    CHECK_STR(ask(&b, "ok.test"), S("ok 192.0.2.66\n"));
    CHECK_STR(ask(&b, "silent-first.test"), S("ok 192.0.2.1\n"));
    CHECK_STR(ask(&b, "ok2.test"), S("ok 192.0.2.1\n")); /* the silent one is now asked last */
    bench_close(&b);
}

TEST(each_failure_of_a_real_server_has_its_own_status)
{
    struct bench b;
    bench_open(&b, 1, 20000, 2);
    CHECK_STR(ask(&b, "servfail.test"), S("servfail\n"));
    CHECK_INT(b.one.udp, 1); /* it said so: asking it again would not help */
    CHECK_STR(ask(&b, "cut.test"), S("bad\n"));
    bench_close(&b);
    bench_open(&b, 1, 100, 2);
    CHECK_STR(ask(&b, "silent.test"), S("timeout\n"));
    CHECK_INT(b.one.udp, 2);
    CHECK_STR(ask(&b, "wrong.test"), S("timeout\n")); /* the answer to another question is none */
    resolve_serve_free(b.one.serve);
    b.one.serve = NULL;
    CHECK_STR(ask(&b, "nobody-there.test"), S("timeout\n"));
    bench_close(&b);
}

TEST(a_resolver_may_go_while_real_questions_are_open)
{
    struct bench b;
    bench_open(&b, 1, 2000, 2);
    struct resolve_req q[3];
    memset(q, 0, sizeof q);
    for (int i = 0; i < 3; i++) {
        q[i].data = &b;
        resolve_addr(b.r, i ? S("silent.test") : S("ok.test"), RESOLVE_IP4, &q[i], told);
    }
    bench_close(&b);
    CHECK(!q[0].r && !q[2].r);
}

TEST(servers_that_are_none_are_named_in_the_error)
{
    static const char *const bad[] = {"", "resolver.example", "127.0.0.1:5353,what", "127.0.0.1:99999",
                                      "::1:x"};
    struct loop *l = loop_new_real();
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct err e = {0};
        struct resolve_conf conf = {.servers = bad[i]};
        struct resolve *r = resolve_new(l, &conf, &e);
        if (r)
            test_fail(__FILE__, __LINE__, "%s was taken", bad[i]);
        resolve_free(r);
        CHECK_INT(e.code, ERR_INVAL);
    }
    loop_free(l);
}
