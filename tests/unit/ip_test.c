/* ip_test.c - addresses and ports as people write them. */
#include "format/ip.h"
#include "base/err.h"
#include "test.h"

TEST(addresses_are_read_and_written_in_their_one_form)
{
    static const struct {
        const char *in, *want; /* want NULL: ERR_SYNTAX */
    } rows[] = {
        {"127.0.1.1", "127.0.1.1"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"::", "::"},
        {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
        {"127.1", NULL},
        {"127.0.0.256", NULL},
        {"1.2.3.4 ", NULL},
        {"", NULL},
        {"[::1]", NULL},
        {"::1%lo", NULL},
        {"1:2:3:4:5:6:7:8:9", NULL},
        {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ip ip;
        char text[IP_TEXT];
        int r = ip_parse(slice_cstr(rows[i].in), &ip);
        CHECK_INT(r, rows[i].want ? 0 : ERR_SYNTAX);
        if (!r)
            CHECK_STR(ip_text(&ip, text), slice_cstr(rows[i].want));
    }
    CHECK_INT(ip_parse(slice_of("1.2.3.4\0", 8), &(struct ip){0}), ERR_SYNTAX);
}

TEST(ports_come_behind_a_colon_or_from_the_default)
{
    static const struct {
        const char *in;
        uint16_t port;
        int status;
        const char *want;
    } rows[] = {
        {"127.0.0.1:25", 0, 0, "127.0.0.1:25"},
        {"[::1]:2525", 25, 0, "[::1]:2525"},
        {"[::1]", 25, 0, "[::1]:25"},
        {"::1", 25, 0, "[::1]:25"},
        {"10.0.0.1", 25, 0, "10.0.0.1:25"},
        {"10.0.0.1:0", 25, 0, "10.0.0.1:0"},
        {"10.0.0.1", 0, ERR_MISSING, NULL},
        {"10.0.0.1:", 25, ERR_SYNTAX, NULL},
        {"10.0.0.1:65536", 25, ERR_RANGE, NULL},
        {"10.0.0.1:+5", 25, ERR_SYNTAX, NULL},
        {"[::1]25", 25, ERR_SYNTAX, NULL},
        {"[::1", 25, ERR_SYNTAX, NULL},
        {"[1.2.3.4]:25", 25, ERR_SYNTAX, NULL},
        {"mx.example.jp:25", 25, ERR_SYNTAX, NULL},
        {":25", 25, ERR_SYNTAX, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct ip_port ip, back;
        struct sockaddr_storage sa;
        char text[IP_PORT_TEXT];
        int r = ip_port_parse(slice_cstr(rows[i].in), rows[i].port, &ip);
        CHECK_INT(r, rows[i].status);
        if (r)
            continue;
        CHECK_STR(ip_port_text(&ip, text), slice_cstr(rows[i].want));
        CHECK(ip_port_to_sockaddr(&ip, &sa) > 0);
        CHECK_INT(ip_port_from_sockaddr((struct sockaddr *)&sa, &back), 0);
        CHECK(ip_port_eq(&ip, &back));
    }
}

TEST(loopback_and_any_are_known_in_both_families)
{
    struct ip a;
    CHECK_INT(ip_parse(S("::1"), &a), 0);
    CHECK(ip_is_loopback(&a) && !ip_is_any(&a));
    CHECK_INT(ip_parse(S("127.9.9.9"), &a), 0);
    CHECK(ip_is_loopback(&a));
    CHECK_INT(ip_parse(S("128.0.0.1"), &a), 0);
    CHECK(!ip_is_loopback(&a));
    CHECK_INT(ip_parse(S("::"), &a), 0);
    CHECK(ip_is_any(&a) && !ip_is_loopback(&a));
    CHECK(!ip_is_any(&(struct ip){0}));
    struct ip v4 = ip_v4(0, 0, 0, 0);
    CHECK(ip_is_any(&v4) && !ip_eq(&v4, &a));
}
