/* addr_test.c - addresses of people and `Name <address>`, accepted, refused, and written back. */
#include "format/addr.h"
#include "test.h"

#include <stdlib.h>
#include <time.h>

TEST(addresses_are_taken_apart)
{
    static const struct {
        const char *in, *local, *domain, *ascii, *key, *quoted, *raw;
        bool needs_quoting, needs_smtputf8;
    } rows[] = {
        {"taro@example.jp", "taro", "example.jp", "example.jp", "taro@example.jp", "taro@example.jp",
         "taro@example.jp", 0, 0},
        {" Taro.Yamada+x@Example.JP ", "Taro.Yamada+x", "Example.JP", "example.jp",
         "taro.yamada+x@example.jp", "Taro.Yamada+x@Example.JP", "Taro.Yamada+x@Example.JP", 0, 0},
        {"a..b@docomo.ne.jp", "a..b", "docomo.ne.jp", "docomo.ne.jp", "a..b@docomo.ne.jp",
         "\"a..b\"@docomo.ne.jp", "a..b@docomo.ne.jp", 1, 0},
        {"\"a..b\"@docomo.ne.jp", "a..b", "docomo.ne.jp", "docomo.ne.jp", "a..b@docomo.ne.jp",
         "\"a..b\"@docomo.ne.jp", "a..b@docomo.ne.jp", 1, 0},
        {"a.@ezweb.ne.jp", "a.", "ezweb.ne.jp", "ezweb.ne.jp", "a.@ezweb.ne.jp", "\"a.\"@ezweb.ne.jp",
         "a.@ezweb.ne.jp", 1, 0},
        {".a@ezweb.ne.jp", ".a", "ezweb.ne.jp", "ezweb.ne.jp", ".a@ezweb.ne.jp", "\".a\"@ezweb.ne.jp",
         ".a@ezweb.ne.jp", 1, 0},
        {"\"taro\"@example.jp", "taro", "example.jp", "example.jp", "taro@example.jp", "taro@example.jp",
         "taro@example.jp", 0, 0},
        {"\"a b\\\"c\"@example.jp", "a b\"c", "example.jp", "example.jp", "a b\"c@example.jp",
         "\"a b\\\"c\"@example.jp", "\"a b\\\"c\"@example.jp", 1, 0},
        {"\"a@b\"@example.jp", "a@b", "example.jp", "example.jp", "a@b@example.jp", "\"a@b\"@example.jp",
         "\"a@b\"@example.jp", 1, 0},
        {"taro@日本語.JP", "taro", "日本語.JP", "xn--wgv71a119e.jp", "taro@xn--wgv71a119e.jp",
         "taro@xn--wgv71a119e.jp", "taro@xn--wgv71a119e.jp", 0, 0},
        {"taro@XN--WGV71A119E.jp", "taro", "XN--WGV71A119E.jp", "xn--wgv71a119e.jp", "taro@xn--wgv71a119e.jp",
         "taro@XN--WGV71A119E.jp", "taro@XN--WGV71A119E.jp", 0, 0},
        {"x@stra\xc3\x9f"
         "e.de",
         "x", "straße.de", "xn--strae-oqa.de", "x@xn--strae-oqa.de", "x@xn--strae-oqa.de",
         "x@xn--strae-oqa.de", 0, 0}, /* non-transitional: not strasse */
        {"x@例え。テスト", "x", "例え。テスト", "xn--r8jz45g.xn--zckzah", "x@xn--r8jz45g.xn--zckzah",
         "x@xn--r8jz45g.xn--zckzah", "x@xn--r8jz45g.xn--zckzah", 0, 0},
        {"太郎@example.jp", "太郎", "example.jp", "example.jp", "太郎@example.jp", "太郎@example.jp",
         "太郎@example.jp", 0, 1},
    };
    struct arena a = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct addr got;
        struct err e = {0};
        struct buf b = {0};
        int rc = addr_parse(slice_cstr(rows[i].in), &a, &got, &e);
        CHECK_STR(slice_cstr(e.text), S(""));
        CHECK_INT(rc, 0);
        CHECK_STR(got.local, slice_cstr(rows[i].local));
        CHECK_STR(got.domain, slice_cstr(rows[i].domain));
        CHECK_STR(got.domain_ascii, slice_cstr(rows[i].ascii));
        CHECK_INT(got.needs_quoting, rows[i].needs_quoting);
        CHECK_INT(got.needs_smtputf8, rows[i].needs_smtputf8);
        addr_dup_key(&b, &got);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].key));
        buf_clear(&b);
        addr_smtp(&b, &got, ADDR_QUOTED);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].quoted));
        buf_clear(&b);
        addr_smtp(&b, &got, ADDR_RAW);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].raw));
        buf_free(&b);
    }
    arena_free(&a);
}

#define X16 "abcdefghijklmnop"
#define X64 X16 X16 X16 X16

TEST(bad_addresses_are_refused_with_a_reason)
{
    static const struct {
        const char *in;
        size_t n; /* 0: strlen */
        const char *want;
    } rows[] = {
        {"", 0, "the address is empty"},
        {"foo", 0, "no @ in \"foo\""},
        {"@example.jp", 0, "\"@example.jp\" has nothing before the @"},
        {"\"\"@example.jp", 0, "\"\"\"@example.jp\" has nothing before the @"},
        {"foo@", 0, "nothing stands behind the @"},
        {"a@b@example.jp", 0, "\"a@b@example.jp\" has two @"},
        {"a b@example.jp", 0, "\"a b@example.jp\" has a space in it"},
        {"a(x)@example.jp", 0, "\"a(x)@example.jp\" has a comment in it, which is not supported"},
        {"a,b@example.jp", 0, "\"a,b@example.jp\" has \",\" before the @ outside quotes"},
        {"a@b.jp\r\nRCPT TO:<x@y.jp>", 0, "\"a@b.jp\\x0d\\x0aRCPT TO:<x@y.jp>\" has two @"},
        {"a@b.jp\r\nDATA", 0, "domain \"b.jp\\x0d\\x0aDATA\" has \"\\x0d\" in it"},
        {"a\r\n@b.jp", 0, "\"a\\x0d\\x0a@b.jp\" has a control character in it"},
        {"\"a\nb\"@b.jp", 0, "\"\"a\\x0ab\"@b.jp\" has a control character in it"},
        {"a\0b@c.jp", 8, "\"a\\x00b@c.jp\" has a control character in it"},
        {"a@c.jp\0", 7, "domain \"c.jp\\x00\" has \"\\x00\" in it"},
        {"\"a@b.jp", 0, "\"\"a@b.jp\" has a quote that is not closed"},
        {"\"a\"b@c.jp", 0, "\"\"a\"b@c.jp\" has no @ behind the closing quote"},
        {"a@a_b.jp", 0, "domain \"a_b.jp\" has \"_\" in it"},
        {"a@-b.jp", 0, "domain \"-b.jp\" has a label that starts or ends with a hyphen"},
        {"a@b-.jp", 0, "domain \"b-.jp\" has a label that starts or ends with a hyphen"},
        {"a@b..jp", 0, "domain \"b..jp\" has two dots in a row"},
        {"a@.b.jp", 0, "domain \".b.jp\" starts with a dot"},
        {"a@b.jp.", 0, "domain \"b.jp.\" ends with a dot"},
        {"a@localhost", 0, "domain \"localhost\" has no dot"},
        {"a@192.0.2.1", 0, "domain \"192.0.2.1\" ends in a number, which no domain does"},
        {"a@[192.0.2.1]", 0, "domain \"[192.0.2.1]\" is an address literal; a name is needed"},
        {"a@b c.jp", 0, "domain \"b c.jp\" has a space in it"},
        {"taro＠example.jp", 0, "\"taro＠example.jp\" has a full-width ＠; the ASCII @ is needed"},
        {"taro\xe3\x80\x80@example.jp", 0,
         "\"taro\xe3\x80\x80@example.jp\" has an invisible character (U+3000) before the @"},
        {"a\xff@example.jp", 0, "\"a\\xff@example.jp\" is not valid UTF-8"},
        {"a@b\xe2\x80\x8b.jp", 0,
         "domain \"b\xe2\x80\x8b.jp\" has an invisible or broken character at byte 2"},
        {X64 "q@b.jp", 0, "\"" X64 X16 "...\" has more than 64 octets before the @"},
        {"a@" X64 ".jp", 0, "domain \"" X64 ".jp\" has a label of more than 63 octets"},
        {"Taro <a@b.jp>", 0, "\"Taro <a@b.jp>\" has a space in it"},
    };
    struct arena a = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct addr got = {.local = S("untouched")};
        struct err e = {0};
        struct slice in = rows[i].n ? slice_of(rows[i].in, rows[i].n) : slice_cstr(rows[i].in);
        CHECK_INT(addr_parse(in, &a, &got, &e), ERR_SYNTAX);
        if (i == 31) /* cut after 80 octets */
            CHECK(strstr(e.text, "has more than 64 octets before the @"));
        else
            CHECK_STR(slice_cstr(e.text), slice_cstr(rows[i].want));
        CHECK_STR(got.local, S("untouched"));
    }
    arena_free(&a);
}

TEST(domain_of_254_octets_is_refused)
{
    struct arena a = {0};
    struct buf b = {0};
    struct addr got;
    struct err e = {0};
    buf_adds(&b, S("x@"));
    for (int i = 0; i < 125; i++)
        buf_adds(&b, S("a."));
    buf_adds(&b, S("jp1"));
    CHECK_INT(addr_parse(buf_slice(&b), &a, &got, &e), 0);
    buf_adds(&b, S("x"));
    CHECK_INT(addr_parse(buf_slice(&b), &a, &got, &e), ERR_SYNTAX);
    CHECK(strstr(e.text, "is longer than 253 octets"));
    buf_free(&b);
    arena_free(&a);
}

TEST(mailboxes_have_a_name)
{
    static const struct {
        const char *in, *name, *local;
    } rows[] = {
        {"Example News <news@example.jp>", "Example News", "news"},
        {"夏祭り通信 <news@m.example.jp>", "夏祭り通信", "news"},
        {"\"Yamada, Taro (営業)\" <taro@example.jp>", "Yamada, Taro (営業)", "taro"},
        {"\"a \\\"b\\\" <c>\" <taro@example.jp>", "a \"b\" <c>", "taro"},
        {"J. Smith<j@example.jp>", "J. Smith", "j"},
        {"<j@example.jp>", "", "j"},
        {"j@example.jp", "", "j"},
        {"\"a..b\"@docomo.ne.jp", "", "a..b"},
        {"Taro <\"a<b\"@example.jp>", "Taro", "a<b"},
        {"Yamada, Taro <t@e.jp>", "Yamada, Taro", "t"},
        {"Taro (x) <t@e.jp>", "Taro (x)", "t"},
        {"a@b.jp <t@e.jp>", "a@b.jp", "t"},
        {"O'Brien, \"Pat\" <t@e.jp>", "O'Brien, \"Pat\"", "t"},
        {"6\" <b> \\ <t@e.jp>", "6\" <b> \\", "t"},
    };
    struct arena a = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mailbox got;
        struct err e = {0};
        int rc = addr_parse_mailbox(slice_cstr(rows[i].in), &a, &got, &e);
        CHECK_STR(slice_cstr(e.text), S(""));
        CHECK_INT(rc, 0);
        CHECK_STR(got.name, slice_cstr(rows[i].name));
        CHECK_STR(got.addr.local, slice_cstr(rows[i].local));
    }
    arena_free(&a);
}

TEST(bad_mailboxes_are_refused_with_a_reason)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"Taro <t@e.jp> x", "\"Taro <t@e.jp> x\" does not end with >"},
        {"Taro <t@e.jp", "\"Taro <t@e.jp\" does not end with >"},
        {"Ta\nro <t@e.jp>", "the name in \"Ta\\x0aro <t@e.jp>\" has a control character in it"},
        {"Ta\xffro <t@e.jp>", "the name in \"Ta\\xffro <t@e.jp>\" is not valid UTF-8"},
        {"Taro <>", "the address is empty"},
        {"a, b <t>", "\"a, b <t>\" has \",\" in the name"},
        {"a, \x01 <t@e.jp>", "\"a, \\x01 <t@e.jp>\" has \",\" in the name"},
        {"Taro < t@e.jp>", "\" t@e.jp\" has a space in it"},
    };
    struct arena a = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mailbox got;
        struct err e = {0};
        CHECK_INT(addr_parse_mailbox(slice_cstr(rows[i].in), &a, &got, &e), ERR_SYNTAX);
        CHECK_STR(slice_cstr(e.text), slice_cstr(rows[i].want));
    }
    arena_free(&a);
}

TEST(a_million_plain_addresses_are_parsed)
{
    struct arena a = {0};
    struct buf key = {0};
    struct timespec t0, t1;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
    for (int i = 0; i < 1000000; i++) {
        struct addr got;
        CHECK_INT(addr_parse(S("taro.yamada1234@docomo.ne.jp"), &a, &got, NULL), 0);
        buf_clear(&key);
        addr_dup_key(&key, &got);
        arena_reset(&a);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
    double s = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
    if (getenv("BENCH"))
        printf("addr_parse + dup key: %.0f ns\n", s * 1000);
    buf_free(&key);
    arena_free(&a);
}
