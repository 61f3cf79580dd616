/* dns_wire_test.c - messages as another program writes them, hostile ones, names. */
#include "base/err.h"
#include "format/codec.h"
#include "format/dns_wire.h"
#include "test.h"

#include <ctype.h>
#include <stdlib.h>

static void unhex(struct slice hex, struct buf *out)
{
    for (size_t i = 0; i + 1 < hex.n; i += 2) {
        char two[3] = {hex.p[i], hex.p[i + 1], 0};
        buf_addc(out, (char)strtol(two, NULL, 16));
    }
}

static const char *rcode_name(uint16_t rcode)
{
    static const char *const names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
    return rcode < COUNT(names) ? names[rcode] : rcode == DNS_BADVERS ? "BADVERS" : "?";
}

static void dump_rdata(const struct dns_record *r, struct buf *out)
{
    char ip[IP_TEXT];
    switch (r->type) {
    case DNS_A:
    case DNS_AAAA:
        buf_printf(out, "%s", ip_text(&r->ip, ip).p);
        break;
    case DNS_MX:
        buf_printf(out, "%d %.*s", r->pref, SLICE_FMT(r->target));
        break;
    case DNS_TXT:
        buf_adds(out, r->text);
        break;
    case DNS_SOA:
        buf_printf(out, "%.*s %.*s %u %u %u %u %u", SLICE_FMT(r->target), SLICE_FMT(r->rname), r->serial,
                   r->refresh_s, r->retry_s, r->expire_s, r->minimum_s);
        break;
    default:
        buf_adds(out, r->target);
    }
}

static void dump(const struct dns_message *m, struct buf *out)
{
    static const char *const sections[] = {"answer", "authority", "additional"};
    char spare[12];
    buf_printf(out, "%d %s%s%s%s%s%s", m->id, rcode_name(m->rcode), m->response ? " qr" : "",
               m->authoritative ? " aa" : "", m->truncated ? " tc" : "", m->recursion_desired ? " rd" : "",
               m->recursion_available ? " ra" : "");
    buf_printf(out, " %.*s %s", SLICE_FMT(m->qname), dns_type_name(m->qtype, spare));
    if (m->edns)
        buf_printf(out, " edns %d", m->edns_bytes);
    buf_addc(out, '\n');
    for (size_t i = 0; i < m->n; i++) {
        const struct dns_record *r = &m->v[i];
        buf_printf(out, "%s %.*s %u %s ", sections[r->section], SLICE_FMT(r->name), r->ttl_s,
                   dns_type_name(r->type, spare));
        dump_rdata(r, out);
        buf_addc(out, '\n');
    }
}

TEST(messages_of_another_program_are_read_and_written_again_to_the_same)
{
    struct slice rest = test_file("tests/golden/dns/messages.txt");
    struct buf bytes = {0}, again = {0}, text = {0};
    int n = 0;
    slice_cut(rest, '\n', &rest);
    while (rest.n) {
        slice_cut(rest, '\n', &rest); /* == title */
        struct slice hex = slice_cut(rest, '\n', &rest);
        ptrdiff_t end = slice_find(rest, S("\n== "));
        struct slice want = slice_of(rest.p, end < 0 ? rest.n : (size_t)end + 1);
        rest = slice_of(rest.p + want.n, rest.n - want.n);

        struct arena a = {0};
        struct dns_message m;
        buf_clear(&bytes);
        buf_clear(&text);
        unhex(hex, &bytes);
        CHECK_INT(dns_parse(buf_slice(&bytes), &a, &m), 0);
        dump(&m, &text);
        CHECK_STR(buf_slice(&text), want);
        buf_clear(&again);
        buf_clear(&text);
        CHECK_INT(dns_encode(&m, 65535, &again), 0);
        CHECK(again.n <= bytes.n); /* ours compresses as well */
        CHECK_INT(dns_parse(buf_slice(&again), &a, &m), 0);
        dump(&m, &text);
        CHECK_STR(buf_slice(&text), want);
        arena_free(&a);
        n++;
    }
    CHECK_INT(n, 11);
    buf_free(&bytes);
    buf_free(&again);
    buf_free(&text);
}

#define HEADER                                                                                               \
    "12348180"                                                                                               \
    "0001"                                                                                                   \
    "0001"                                                                                                   \
    "0000"                                                                                                   \
    "0000"
#define QUESTION                                                                                             \
    "01610474657374"                                                                                         \
    "00"                                                                                                     \
    "000f"                                                                                                   \
    "0001" /* a.test MX IN, at 12 */

TEST(hostile_messages_are_refused)
{
    static const struct {
        const char *what, *hex;
        int want;
    } rows[] = {
        {"empty", "", ERR_SYNTAX},
        {"half a header", "123481800001", ERR_SYNTAX},
        {"two questions",
         "1234818000020000000000000000010001"
         "0000010001",
         ERR_UNSUPPORTED},
        {"no question and no record", "123481800000000000000000", 0},
        {"a question cut off", "12348180000100000000000001610474", ERR_SYNTAX},
        {"a name that points at itself", "123481800001000000000000c00c00010001", ERR_SYNTAX},
        {"a name that points forward", "123481800001000000000000c01000010001000000", ERR_SYNTAX},
        {"a name that points into the header", "123481800001000000000000c00000010001", ERR_SYNTAX},
        {"two pointers in a circle",
         "123481800001000000000000"
         "0161c00e"
         "00010001",
         ERR_SYNTAX},
        {"a label type of old",
         "123481800001000000000000"
         "41610000010001",
         ERR_SYNTAX},
        {"records promised, none there",
         "12348180"
         "0001"
         "ffff"
         "0000"
         "0000" QUESTION,
         ERR_SYNTAX},
        {"an address of three bytes",
         HEADER QUESTION "c00c"
                         "0001"
                         "0001"
                         "0000003c"
                         "0003"
                         "c00002",
         ERR_SYNTAX},
        {"an MX without a name",
         HEADER QUESTION "c00c"
                         "000f"
                         "0001"
                         "0000003c"
                         "0002"
                         "000a",
         ERR_SYNTAX},
        {"an MX whose name leaves its record",
         HEADER QUESTION "c00c"
                         "000f"
                         "0001"
                         "0000003c"
                         "0003"
                         "000a01"
                         "6100",
         ERR_SYNTAX},
        {"an MX with bytes behind its name",
         HEADER QUESTION "c00c"
                         "000f"
                         "0001"
                         "0000003c"
                         "0005"
                         "000ac00c00",
         ERR_SYNTAX},
        {"text whose string leaves its record",
         HEADER QUESTION "c00c"
                         "0010"
                         "0001"
                         "0000003c"
                         "0002"
                         "0561",
         ERR_SYNTAX},
        {"text without a string",
         HEADER QUESTION "c00c"
                         "0010"
                         "0001"
                         "0000003c"
                         "0000",
         ERR_SYNTAX},
        {"a record longer than the message",
         HEADER QUESTION "c00c"
                         "000f"
                         "0001"
                         "0000003c"
                         "00ff"
                         "000a",
         ERR_SYNTAX},
        {"an SOA that lacks its minimum",
         HEADER QUESTION "c00c"
                         "0006"
                         "0001"
                         "0000003c"
                         "0014"
                         "c00cc00c"
                         "00000001"
                         "00000002"
                         "00000003"
                         "00000004",
         ERR_SYNTAX},
        {"a good one",
         HEADER QUESTION "c00c"
                         "000f"
                         "0001"
                         "0000003c"
                         "0004"
                         "000ac00c",
         0},
        {"bytes behind a good one",
         HEADER QUESTION "c00c"
                         "000f"
                         "0001"
                         "0000003c"
                         "0004"
                         "000ac00c"
                         "ffff",
         0},
        {"MX of another class is bytes",
         HEADER QUESTION "c00c"
                         "000f"
                         "0003"
                         "0000003c"
                         "0001"
                         "ff",
         0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct arena a = {0};
        struct buf b = {0};
        struct dns_message m;
        unhex(slice_cstr(rows[i].hex), &b);
        int rc = dns_parse(buf_slice(&b), &a, &m);
        if (rc != rows[i].want)
            test_fail(__FILE__, __LINE__, "%s: got %d, want %d", rows[i].what, rc, rows[i].want);
        arena_free(&a);
        buf_free(&b);
    }
}

/* 64 KB in which thousands of records point at one name of 250 bytes that all print as \DDD. */
TEST(a_compression_bomb_is_found_out_before_it_takes_memory)
{
    struct buf b = {0};
    struct arena a = {0};
    struct dns_message m;
    uint16_t n = 5000;
    unhex(S("123481800001"), &b);
    buf_addc(&b, (char)(n >> 8));
    buf_addc(&b, (char)n);
    unhex(S("00000000"), &b);
    for (int label = 0; label < 4; label++) {
        int len = label < 3 ? 63 : 59;
        buf_addc(&b, (char)len);
        for (int i = 0; i < len; i++)
            buf_addc(&b, (char)0xff);
    }
    unhex(S("00000f0001"), &b);
    for (int i = 0; i < n; i++)
        unhex(S("c00c"
                "0063"
                "0001"
                "00000000"
                "0000"),
              &b);
    CHECK(b.n < 65536);
    CHECK_INT(dns_parse(buf_slice(&b), &a, &m), ERR_LIMIT);
    buf_free(&b);
    arena_free(&a);
}

TEST(a_ttl_with_its_top_bit_is_none_and_negative_ttl_is_the_smaller)
{
    struct buf b = {0};
    struct arena a = {0};
    struct dns_message m;
    uint32_t ttl;
    unhex(S("1234818000010001000000000161047465737400"
            "000f0001"
            "c00c"
            "000f"
            "0001"
            "80000000"
            "0004"
            "000ac00c"),
          &b);
    CHECK_INT(dns_parse(buf_slice(&b), &a, &m), 0);
    CHECK_INT(m.v[0].ttl_s, 0);
    CHECK(!dns_negative_ttl(&m, &ttl));
    struct dns_record soa = {
        .section = DNS_AUTHORITY, .type = DNS_SOA, .cls = DNS_IN, .ttl_s = 900, .minimum_s = 60};
    struct dns_message neg = {.v = &soa, .n = 1};
    CHECK(dns_negative_ttl(&neg, &ttl));
    CHECK_INT(ttl, 60);
    soa.minimum_s = 86400;
    CHECK(dns_negative_ttl(&neg, &ttl));
    CHECK_INT(ttl, 900);
    buf_free(&b);
    arena_free(&a);
}

TEST(what_does_not_fit_goes_truncated_and_keeps_its_question)
{
    struct dns_record rec[40];
    struct arena a = {0};
    struct buf b = {0};
    struct dns_message m = {.response = true,
                            .asks = true,
                            .qname = S("big.test"),
                            .qtype = DNS_TXT,
                            .qclass = DNS_IN,
                            .edns = true,
                            .edns_bytes = 1232,
                            .v = rec,
                            .n = COUNT(rec)},
                       got;
    for (size_t i = 0; i < COUNT(rec); i++)
        rec[i] = (struct dns_record){.name = S("big.test"),
                                     .type = DNS_TXT,
                                     .cls = DNS_IN,
                                     .ttl_s = 1,
                                     .text = S("0123456789012345678901234567890123456789")};
    CHECK_INT(dns_encode(&m, 512, &b), 0);
    CHECK(b.n <= 512);
    CHECK_INT(dns_parse(buf_slice(&b), &a, &got), 0);
    CHECK(got.truncated && got.n == 0 && got.edns && got.asks);
    CHECK_STR(got.qname, S("big.test"));
    buf_clear(&b);
    CHECK_INT(dns_encode(&m, 65535, &b), 0);
    CHECK_INT(dns_parse(buf_slice(&b), &a, &got), 0);
    CHECK(!got.truncated && got.n == COUNT(rec));
    buf_free(&b);
    arena_free(&a);
}

TEST(names_fold_to_one_spelling_or_are_refused)
{
    static const struct {
        const char *in;
        int rc;
        const char *out;
    } rows[] = {
        {"MX.Example.JP.", 0, "mx.example.jp"},
        {".", 0, "."},
        {"a", 0, "a"},
        {"a\\.b.test", 0, "a\\.b.test"},
        {"a\\046b", 0, "a\\.b"},
        {"\\065", 0, "a"},
        {"\\032", 0, "\\032"},
        {"_dmarc.x", 0, "_dmarc.x"},
        {"", ERR_SYNTAX, ""},
        {"..", ERR_SYNTAX, ""},
        {"a..b", ERR_SYNTAX, ""},
        {".a", ERR_SYNTAX, ""},
        {"a b", ERR_SYNTAX, ""},
        {"a\\", ERR_SYNTAX, ""},
        {"a\\25", ERR_SYNTAX, ""},
        {"a\\256", ERR_SYNTAX, ""},
        {"\xe6\x97\xa5", ERR_SYNTAX, ""},
        {"0123456789012345678901234567890123456789012345678901234567890123.a", ERR_RANGE, ""},
        {"012345678901234567890123456789012345678901234567890123456789012.a", 0,
         "012345678901234567890123456789012345678901234567890123456789012.a"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct arena a = {0};
        struct slice out = SLICE_NONE;
        CHECK_INT(dns_name_fold(slice_cstr(rows[i].in), &a, &out), rows[i].rc);
        CHECK_STR(out, slice_cstr(rows[i].out));
        arena_free(&a);
    }
}

TEST(a_name_may_have_255_bytes_and_not_one_more)
{
    struct buf b = {0};
    uint8_t wire[DNS_NAME_MAX];
    size_t n;
    for (int i = 0; i < 126; i++)
        buf_adds(&b, S("a."));
    CHECK_INT(dns_name_wire(buf_slice(&b), wire, &n), 0);
    CHECK_INT(n, 253);
    buf_adds(&b, S("a."));
    CHECK_INT(dns_name_wire(buf_slice(&b), wire, &n), 0);
    CHECK_INT(n, 255);
    buf_adds(&b, S("a"));
    CHECK_INT(dns_name_wire(buf_slice(&b), wire, &n), ERR_RANGE);
    b.n -= 2; /* "...a" of 254, its last label now one byte longer */
    buf_adds(&b, S("b"));
    CHECK_INT(dns_name_wire(buf_slice(&b), wire, &n), ERR_RANGE);
    buf_free(&b);
}

TEST(mail_hosts_are_names_and_never_addresses)
{
    CHECK(dns_name_is_host(S("mx1.example.jp")));
    CHECK(dns_name_is_host(S("a_b-c.test.")));
    CHECK(dns_name_is_host(S("localhost")));
    CHECK(!dns_name_is_host(S("192.0.2.1")));
    CHECK(!dns_name_is_host(S("192.0.2.1.")));
    CHECK(!dns_name_is_host(S("[192.0.2.1]")));
    CHECK(!dns_name_is_host(S(".")));
    CHECK(!dns_name_is_host(S("a\\032b.test")));
}

TEST(reverse_names_are_by_octets_and_by_nibbles)
{
    struct buf b = {0};
    struct ip ip;
    dns_reverse_name(ip_v4(192, 0, 2, 10), &b);
    CHECK_STR(buf_slice(&b), S("10.2.0.192.in-addr.arpa"));
    buf_clear(&b);
    CHECK_INT(ip_parse(S("4321:0:1:2:3:4:567:89ab"), &ip), 0); /* the example of RFC 3596 2.5 */
    dns_reverse_name(ip, &b);
    CHECK_STR(buf_slice(&b), S("b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa"));
    buf_free(&b);
}
