/* resolve_test.c - what answers mean for mail, the cache, requests that end early; on a virtual loop. */
#include "platform/resolve.h"
#include "format/ip.h"
#include "test.h"

#include <stdlib.h>

/* A zone that answers as a recursive server does. value: an address, a name, "PREF NAME", text; the types
 * DNS_ANY with "servfail", "refused", "silent", "referral" or "nodata" stand for the whole name. A chain's
 * end is left out of an answer where `lazy` is set. */
struct row {
    const char *name;
    uint16_t type;
    const char *value;
    uint32_t ttl_s;
};
struct zone {
    struct loop *loop;
    struct resolve *r;
    const struct row *rows;
    size_t n;
    bool lazy;
    int asked;
    struct buf text; /* what requests were told */
};

static const struct row zone_rows[] = {
    {"listed.test", DNS_MX, "20 b.listed.test", 300},
    {"listed.test", DNS_MX, "10 Z.listed.test", 300},
    {"listed.test", DNS_MX, "10 a.listed.test", 200},
    {"listed.test", DNS_MX, "30 a.listed.test", 300},
    {"null.test", DNS_MX, "0 .", 300},
    {"mixed.test", DNS_MX, "0 .", 300},
    {"mixed.test", DNS_MX, "10 192.0.2.1", 300},
    {"mixed.test", DNS_MX, "10 bad\\032name.test", 300},
    {"mixed.test", DNS_MX, "20 mx.mixed.test", 300},
    {"useless.test", DNS_MX, "10 192.0.2.1", 300},
    {"implicit.test", DNS_A, "192.0.2.7", 300},
    {"implicit6.test", DNS_AAAA, "2001:db8::7", 300},
    {"nothing.test", DNS_TXT, "v=spf1 -all", 300},
    {"alias.test", DNS_CNAME, "listed.test", 100},
    {"alias-gone.test", DNS_CNAME, "gone.test", 100},
    {"alias-empty.test", DNS_CNAME, "nothing.test", 100},
    {"loop.test", DNS_CNAME, "loop2.test", 100},
    {"loop2.test", DNS_CNAME, "loop.test", 100},
    {"c9.test", DNS_CNAME, "c8.test", 100},
    {"c8.test", DNS_CNAME, "c7.test", 100},
    {"c7.test", DNS_CNAME, "c6.test", 100},
    {"c6.test", DNS_CNAME, "c5.test", 100},
    {"c5.test", DNS_CNAME, "c4.test", 100},
    {"c4.test", DNS_CNAME, "c3.test", 100},
    {"c3.test", DNS_CNAME, "c2.test", 100},
    {"c2.test", DNS_CNAME, "c1.test", 100},
    {"c1.test", DNS_CNAME, "listed.test", 100},
    {"broken.test", DNS_ANY, "servfail", 0},
    {"refused.test", DNS_ANY, "refused", 0},
    {"silent.test", DNS_ANY, "silent", 0},
    {"referral.test", DNS_ANY, "referral", 0},
    {"both.test", DNS_A, "192.0.2.1", 300},
    {"both.test", DNS_A, "192.0.2.2", 300},
    {"both.test", DNS_AAAA, "2001:db8::1", 60},
    {"zero.test", DNS_A, "192.0.2.1", 0},
    {"forever.test", DNS_A, "192.0.2.1", DNS_TTL_MAX_S},
    {"key._domainkey.test", DNS_TXT, "v=DKIM1; p=abc", 300},
    {"7.2.0.192.in-addr.arpa", DNS_PTR, "Mail.Implicit.test", 300},
};

static void add(struct dns_message *m, struct slice name, uint16_t type, const char *value, uint32_t ttl_s)
{
    struct slice rest = slice_cstr(value);
    struct dns_record *rec = &m->v[m->n++];
    *rec = (struct dns_record){.name = name, .type = type, .cls = DNS_IN, .ttl_s = ttl_s};
    rec->text = rec->rname = SLICE_NONE;
    if (type == DNS_A || type == DNS_AAAA)
        ip_parse(rest, &rec->ip);
    if (type == DNS_MX)
        rec->pref = (uint16_t)atoi(slice_cut(rest, ' ', &rest).p);
    rec->target = rec->text = rest;
}

static bool answer(void *ctx, struct dns_message *m, struct arena *a)
{
    struct zone *z = ctx;
    struct slice name = m->qname;
    bool exists = false, moved = true;
    z->asked++;
    m->v = arena_zalloc(a, 64 * sizeof *m->v);
    for (int hops = 0; moved && hops < 12; hops++) {
        exists = moved = false;
        for (size_t i = 0; i < z->n; i++) {
            const struct row *row = &z->rows[i];
            if (!slice_ieq(slice_cstr(row->name), name))
                continue;
            exists = true;
            if (row->type == DNS_ANY) {
                if (!strcmp(row->value, "silent"))
                    return false;
                if (!strcmp(row->value, "servfail"))
                    m->rcode = DNS_SERVFAIL;
                if (!strcmp(row->value, "refused"))
                    m->rcode = DNS_REFUSED;
                if (!strcmp(row->value, "referral")) {
                    add(m, name, DNS_NS, "ns.test", 60);
                    m->v[0].section = DNS_AUTHORITY;
                }
                return true;
            }
            if (row->type == m->qtype)
                add(m, name, row->type, row->value, row->ttl_s);
            if (row->type == DNS_CNAME) {
                add(m, name, DNS_CNAME, row->value, row->ttl_s);
                name = slice_cstr(row->value);
                moved = true;
                break;
            }
        }
        if (moved && z->lazy)
            return true;
    }
    if (!exists)
        m->rcode = DNS_NXDOMAIN;
    if (!m->n || m->v[m->n - 1].type != m->qtype) {
        add(m, slice_cstr("test"), DNS_SOA, "ns.test", 900);
        m->v[m->n - 1].section = DNS_AUTHORITY;
        m->v[m->n - 1].minimum_s = 60;
    }
    return true;
}

static void zone_open(struct zone *z)
{
    *z = (struct zone){.loop = loop_new_virtual(1, 0), .rows = zone_rows, .n = COUNT(zone_rows)};
    z->r = resolve_new_static(z->loop, answer, z, 20, 0);
}

static void zone_close(struct zone *z)
{
    resolve_free(z->r);
    loop_free(z->loop);
    buf_free(&z->text);
}

static void told_mx(struct resolve_req *q, const struct mx_set *s)
{
    static const char *const kinds[] = {"listed", "implicit", "null"};
    struct zone *z = q->data;
    buf_printf(&z->text, "%s", resolve_status_name(s->status));
    if (s->status == RESOLVE_OK)
        buf_printf(&z->text, " %s", kinds[s->kind]);
    for (size_t i = 0; i < s->n; i++)
        buf_printf(&z->text, " %d=%.*s", s->hosts[i].pref, SLICE_FMT(s->hosts[i].name));
    if (s->skipped)
        buf_printf(&z->text, " skipped %zu", s->skipped);
    buf_printf(&z->text, " ttl %u\n", s->ttl_s);
}

static void told_addr(struct resolve_req *q, const struct addr_set *s)
{
    struct zone *z = q->data;
    char ip[IP_TEXT];
    buf_printf(&z->text, "%s", resolve_status_name(s->status));
    for (size_t i = 0; i < s->n; i++)
        buf_printf(&z->text, " %s", ip_text(&s->v[i], ip).p);
    buf_printf(&z->text, " ttl %u\n", s->ttl_s);
}

static void told_text(struct resolve_req *q, const struct text_set *s)
{
    struct zone *z = q->data;
    buf_printf(&z->text, "%s", resolve_status_name(s->status));
    for (size_t i = 0; i < s->n; i++)
        buf_printf(&z->text, " \"%.*s\"", SLICE_FMT(s->v[i]));
    buf_printf(&z->text, " ttl %u\n", s->ttl_s);
}

static struct slice ask_mx(struct zone *z, const char *domain)
{
    struct resolve_req q = {.data = z};
    buf_clear(&z->text);
    resolve_mx(z->r, slice_cstr(domain), &q, told_mx);
    loop_run(z->loop);
    return buf_slice(&z->text);
}

static struct slice ask_addr(struct zone *z, const char *host, int families)
{
    struct resolve_req q = {.data = z};
    buf_clear(&z->text);
    resolve_addr(z->r, slice_cstr(host), families, &q, told_addr);
    loop_run(z->loop);
    return buf_slice(&z->text);
}

static const struct {
    const char *domain, *want;
} mx_rows[] = {
    {"listed.test", "ok listed 10=a.listed.test 10=z.listed.test 20=b.listed.test ttl 200\n"},
    {"LISTED.test.", "ok listed 10=a.listed.test 10=z.listed.test 20=b.listed.test ttl 200\n"},
    {"null.test", "ok null ttl 300\n"},
    {"mixed.test", "ok listed 20=mx.mixed.test skipped 3 ttl 300\n"},
    {"useless.test", "bad skipped 1 ttl 300\n"},
    {"implicit.test", "ok implicit 0=implicit.test ttl 60\n"},
    {"implicit6.test", "ok implicit 0=implicit6.test ttl 60\n"},
    {"nothing.test", "nodata ttl 60\n"},
    {"gone.test", "nxdomain ttl 60\n"},
    {"alias.test", "ok listed 10=a.listed.test 10=z.listed.test 20=b.listed.test ttl 100\n"},
    {"alias-gone.test", "nxdomain ttl 60\n"},
    {"alias-empty.test", "nodata ttl 60\n"},
    {"loop.test", "loop ttl 30\n"},
    {"c8.test", "ok listed 10=a.listed.test 10=z.listed.test 20=b.listed.test ttl 100\n"},
    {"c9.test", "loop ttl 30\n"},
    {"broken.test", "servfail ttl 30\n"},
    {"refused.test", "refused ttl 30\n"},
    {"silent.test", "timeout ttl 30\n"},
    {"referral.test", "servfail ttl 30\n"},
    {"no..name", "bad ttl 0\n"},
    {"", "bad ttl 0\n"},
};

TEST(each_way_a_domain_can_answer_has_its_own_status)
{
    for (int lazy = 0; lazy < 2; lazy++) {
        struct zone z;
        zone_open(&z);
        z.lazy = lazy;
        for (size_t i = 0; i < COUNT(mx_rows); i++)
            CHECK_STR(ask_mx(&z, mx_rows[i].domain), slice_cstr(mx_rows[i].want));
        zone_close(&z);
    }
}

TEST(addresses_of_both_families_come_v4_first_and_one_may_fail)
{
    struct zone z;
    zone_open(&z);
    int both = RESOLVE_IP4 | RESOLVE_IP6;
    CHECK_STR(ask_addr(&z, "both.test", both), S("ok 192.0.2.1 192.0.2.2 2001:db8::1 ttl 60\n"));
    CHECK_STR(ask_addr(&z, "both.test", RESOLVE_IP4), S("ok 192.0.2.1 192.0.2.2 ttl 300\n"));
    CHECK_STR(ask_addr(&z, "implicit6.test", both), S("ok 2001:db8::7 ttl 60\n"));
    CHECK_STR(ask_addr(&z, "implicit6.test", RESOLVE_IP4), S("nodata ttl 60\n"));
    CHECK_STR(ask_addr(&z, "gone.test", both), S("nxdomain ttl 60\n"));
    CHECK_STR(ask_addr(&z, "broken.test", both), S("servfail ttl 30\n"));
    zone_close(&z);
}

TEST(text_and_reverse_names_are_found)
{
    struct zone z;
    zone_open(&z);
    struct resolve_req q = {.data = &z};
    resolve_txt(z.r, S("Key._domainkey.test"), &q, told_text);
    loop_run(z.loop);
    resolve_ptr(z.r, ip_v4(192, 0, 2, 7), &q, told_text);
    loop_run(z.loop);
    CHECK_STR(buf_slice(&z.text), S("ok \"v=DKIM1; p=abc\" ttl 300\nok \"mail.implicit.test\" ttl 300\n"));
    zone_close(&z);
}

TEST(many_who_ask_at_once_cost_one_question)
{
    struct zone z;
    zone_open(&z);
    struct resolve_req q[50];
    memset(q, 0, sizeof q);
    for (size_t i = 0; i < COUNT(q); i++) {
        q[i].data = &z;
        resolve_mx(z.r, i % 2 ? S("NULL.test") : S("null.test"), &q[i], told_mx);
    }
    loop_run(z.loop);
    CHECK_INT(z.asked, 1);
    CHECK_INT(z.text.n, (long)(COUNT(q) * strlen("ok null ttl 300\n")));
    CHECK_INT(loop_now_ms(z.loop), 20);
    zone_close(&z);
}

TEST(a_cached_answer_also_comes_after_the_call_that_asks)
{
    struct zone z;
    zone_open(&z);
    ask_mx(&z, "null.test");
    buf_clear(&z.text);
    struct resolve_req q = {.data = &z};
    resolve_mx(z.r, S("null.test"), &q, told_mx);
    CHECK_INT(z.text.n, 0);
    loop_run(z.loop);
    CHECK_STR(buf_slice(&z.text), S("ok null ttl 300\n"));
    CHECK_INT(z.asked, 1);
    zone_close(&z);
}

static void on_pass(struct loop_timer *t)
{
    (void)t;
}

static void pass(struct zone *z, int64_t ms)
{
    struct loop_timer t = {0};
    loop_timer_start(z->loop, &t, ms, on_pass);
    loop_run(z->loop);
}

TEST(answers_live_as_long_as_their_ttl_within_bounds)
{
    static const struct {
        const char *host;
        int64_t seconds;
    } rows[] = {{"both.test", 300}, {"zero.test", 5},    {"forever.test", 86400},
                {"gone.test", 60},  {"broken.test", 30}, {"silent.test", 30}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct zone z;
        zone_open(&z);
        ask_addr(&z, rows[i].host, RESOLVE_IP4);
        pass(&z, rows[i].seconds * 1000 - 1);
        ask_addr(&z, rows[i].host, RESOLVE_IP4);
        CHECK_INT(z.asked, 1);
        pass(&z, 1);
        ask_addr(&z, rows[i].host, RESOLVE_IP4);
        CHECK_INT(z.asked, 2);
        zone_close(&z);
    }
}

TEST(the_cache_keeps_its_size_and_drops_what_was_not_used)
{
    struct zone z;
    zone_open(&z);
    resolve_free(z.r);
    z.r = resolve_new_static(z.loop, answer, &z, 20, 3);
    ask_addr(&z, "both.test", RESOLVE_IP4);
    for (int i = 0; i < 40; i++) {
        char name[32];
        snprintf(name, sizeof name, "gone%d.test", i);
        ask_addr(&z, name, RESOLVE_IP4);
        ask_addr(&z, "both.test", RESOLVE_IP4);
    }
    CHECK_INT(z.asked, 41);
    CHECK_INT((long long)resolve_stats(z.r).cached, 3);
    zone_close(&z);
}

TEST(peeking_asks_nothing_and_sees_what_is_known)
{
    struct zone z;
    struct mx_set mx;
    struct addr_set addr;
    zone_open(&z);
    CHECK(!resolve_peek_mx(z.r, S("implicit.test"), &mx));
    CHECK(!resolve_peek_addr(z.r, S("both.test"), RESOLVE_IP4, &addr));
    CHECK_INT(z.asked, 0);
    ask_mx(&z, "implicit.test");
    ask_addr(&z, "both.test", RESOLVE_IP4);
    CHECK(resolve_peek_mx(z.r, S("Implicit.test."), &mx));
    CHECK_INT(mx.kind, MX_IMPLICIT);
    CHECK_STR(mx.hosts[0].name, S("implicit.test"));
    CHECK(resolve_peek_addr(z.r, S("both.test"), RESOLVE_IP4, &addr));
    CHECK_INT(addr.n, 2);
    CHECK(!resolve_peek_addr(z.r, S("both.test"), RESOLVE_IP4 | RESOLVE_IP6, &addr));
    zone_close(&z);
}

TEST(a_cancelled_request_hears_nothing_and_the_others_do)
{
    struct zone z;
    zone_open(&z);
    struct resolve_req q[4];
    memset(q, 0, sizeof q);
    for (int i = 0; i < 4; i++) {
        q[i].data = &z;
        resolve_mx(z.r, S("null.test"), &q[i], told_mx);
    }
    resolve_cancel(&q[0]);
    resolve_cancel(&q[3]);
    resolve_cancel(&q[3]);
    loop_run(z.loop);
    CHECK_STR(buf_slice(&z.text), S("ok null ttl 300\nok null ttl 300\n"));
    buf_clear(&z.text);
    resolve_mx(z.r, S("null.test"), &q[0], told_mx); /* due at once, from the cache */
    resolve_mx(z.r, S("null.test"), &q[1], told_mx);
    resolve_cancel(&q[1]);
    loop_run(z.loop);
    CHECK_STR(buf_slice(&z.text), S("ok null ttl 300\n"));
    zone_close(&z);
}

static void free_resolver(struct resolve_req *q, const struct mx_set *s)
{
    struct zone *z = q->data;
    buf_printf(&z->text, "freed ");
    resolve_free(z->r);
    z->r = NULL;
}

TEST(a_resolver_can_be_freed_in_a_callback_and_with_questions_open)
{
    struct zone z;
    zone_open(&z);
    struct resolve_req q[4];
    memset(q, 0, sizeof q);
    for (int i = 0; i < 4; i++)
        q[i].data = &z;
    ask_mx(&z, "null.test");
    buf_clear(&z.text);
    resolve_mx(z.r, S("null.test"), &q[0], free_resolver);
    resolve_mx(z.r, S("null.test"), &q[1], told_mx);
    resolve_mx(z.r, S("implicit.test"), &q[2], told_mx);
    resolve_mx(z.r, S("implicit.test"), &q[3], told_mx);
    loop_run(z.loop);
    CHECK_STR(buf_slice(&z.text), S("freed "));
    CHECK(!q[1].r && !q[3].r);
    zone_close(&z);
}

static void ask_again(struct resolve_req *q, const struct mx_set *s)
{
    struct zone *z = q->data;
    told_mx(q, s);
    if (z->asked < 3)
        resolve_mx(z->r, z->asked == 1 ? S("listed.test") : S("gone.test"), q, ask_again);
}

TEST(a_request_may_be_used_again_in_its_own_callback)
{
    struct zone z;
    zone_open(&z);
    struct resolve_req q = {.data = &z};
    resolve_mx(z.r, S("null.test"), &q, ask_again);
    loop_run(z.loop);
    CHECK_STR(buf_slice(&z.text), S("ok null ttl 300\nok listed 10=a.listed.test 10=z.listed.test "
                                    "20=b.listed.test ttl 200\nnxdomain ttl 60\n"));
    zone_close(&z);
}
