/* iso2022jp_test.c - ISO-2022-JP with CP50221's characters: what is in it, what stands in for the rest, and
 * that all of it reads back. */
#include "format/charset.h"
#include "format/iso2022jp.h"
#include "test.h"

TEST(text_is_switched_and_always_ends_in_ascii)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"", ""},
        {"plain\r\n", "plain\r\n"},
        {"夏", "\x1b$B2F\x1b(B"},
        {"a夏b", "a\x1b$B2F\x1b(Bb"},
        {"夏\n祭\n", "\x1b$B2F\x1b(B\n\x1b$B:W\x1b(B\n"},
        {"ｶﾞ", "\x1b(I6^\x1b(B"},
        {"夏ｶ夏", "\x1b$B2F\x1b(I6\x1b$B2F\x1b(B"},
        {"①㈱髙﨑Ⅲ", "\x1b$B-!-j|byu-7\x1b(B"},
        {"〜～−－‖∥¥￥‾￣—―", "\x1b$B!A!A!]!]!B!B!o!o!1!1!=!=\x1b(B"},
        {"∪≡√¬￢Å", "\x1b$B\"@\"a\"e\"L\"L\"r\x1b(B"}, /* in row 2, not once more in 13 */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        CHECK_INT(iso2022jp_encode(slice_cstr(rows[i].in), &b), 0);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].want));
        buf_free(&b);
    }
}

TEST(what_is_not_in_the_repertoire_is_refused_whole)
{
    static const char *const rows[] = {"a🎉", "𠮷", "é", "한", "\x1b", "\x0e", "か\xe3\x82\x99", "\xc2\x80"};
    struct buf b = {0};
    buf_adds(&b, S("before"));
    for (size_t i = 0; i < COUNT(rows); i++) {
        CHECK_INT(iso2022jp_encode(slice_cstr(rows[i]), &b), ERR_UNSUPPORTED);
        CHECK_STR(buf_slice(&b), S("before"));
    }
    CHECK_INT(iso2022jp_encode(S("a\xff"), &b), ERR_SYNTAX);
    CHECK_STR(buf_slice(&b), S("before"));
    buf_free(&b);
}

/* Against the C library's CP932, which has the same characters in other bytes. */
TEST(the_table_has_every_character_of_cp932_and_no_other)
{
    struct charset_conv conv;
    CHECK_INT(charset_conv_open(&conv, NULL), 0);
    bool has[0x10000] = {false};
    size_t n = 0, rows_of_windows = 0;
    for (unsigned lead = 0x81; lead <= 0xfc; lead++)
        for (unsigned trail = 0x40; trail <= 0xfc; trail++) {
            char two[2] = {(char)lead, (char)trail};
            struct buf b = {0};
            size_t bad_at;
            uint32_t cp;
            if (!(lead >= 0xa0 && lead <= 0xdf) &&
                charset_from_cp932(&conv, slice_of(two, 2), &b, &bad_at) == 0 &&
                utf8_decode(buf_slice(&b), &cp) > 0) {
                n += !has[cp];
                has[cp] = true;
            }
            buf_free(&b);
        }
    CHECK_INT(n, 7326);
    for (uint32_t cp = 0x80; cp < 0x10000; cp++) {
        struct iso2022jp s = {ISO2022JP_ASCII};
        static const uint32_t other_names[] = {0xa2,   0xa3,   0xac,   0xa5,   0xc5,
                                               0x2014, 0x2016, 0x203e, 0x2212, 0x301c};
        bool other = false;
        char c[5];
        for (size_t i = 0; i < COUNT(other_names); i++)
            other |= cp == other_names[i];
        if (cp >= 0xff61 && cp <= 0xff9f)
            continue;
        bool in = iso2022jp_put(&s, cp, c) > 0;
        if (in != (has[cp] || other))
            fprintf(stderr, "U+%04X\n", (unsigned)cp);
        CHECK(in == (has[cp] || other));
        rows_of_windows += in && (c[3] == 0x2d || c[3] >= 0x79);
    }
    CHECK_INT(rows_of_windows, 457 - 10); /* ten of row 13 and 92 are in row 2 already */
    charset_conv_close(&conv);
}

TEST(every_character_reads_back)
{
    for (uint32_t cp = 0; cp < 0x20000; cp++) {
        if (cp >= 0xd800 && cp < 0xe000)
            continue;
        struct buf b = {0}, back = {0};
        char c[4];
        size_t bad_at;
        if (iso2022jp_encode(slice_of(c, utf8_encode(cp, c)), &b) == 0) {
            CHECK_INT(iso2022jp_decode(buf_slice(&b), &back, &bad_at), 0);
            struct buf again = {0}; /* the same cell, whichever of its names came back */
            CHECK_INT(iso2022jp_encode(buf_slice(&back), &again), 0);
            CHECK_STR(buf_slice(&again), buf_slice(&b));
            buf_free(&again);
        }
        buf_free(&b);
        buf_free(&back);
    }
}

TEST(reading_is_strict)
{
    static const struct {
        const char *in, *want; /* NULL: refused at bad_at */
        size_t bad_at;
    } rows[] = {
        {"", "", 0},
        {"a\\~", "a\\~", 0},
        {"\x1b$@2F\x1b(J\\~x\x1b(Bx", "夏¥‾xx", 0},
        {"x\x1b(J", "x", 0},
        {"\x1b$B2F", NULL, 5},
        {"\x1b(I6", NULL, 4},
        {"\x1b$B2", NULL, 3},
        {"\x1b$B2F\n", NULL, 5},
        {"\x1b$B/!\x1b(B", NULL, 3}, /* row 15 has nothing */
        {"\x1b$B2\x80", NULL, 3},
        {"\x1b$(D2F\x1b(B", NULL, 0},
        {"a\x1b", NULL, 1},
        {"a\xc2\xa5", NULL, 1},
        {"a\x0e", NULL, 1},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        size_t bad_at = 0;
        int want = rows[i].want ? 0 : ERR_SYNTAX;
        CHECK_INT(iso2022jp_decode(slice_cstr(rows[i].in), &b, &bad_at), want);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].want));
        CHECK_INT(bad_at, rows[i].bad_at);
        buf_free(&b);
    }
}

TEST(text_is_made_to_fit_and_losses_are_counted)
{
    static const struct {
        const char *in, *cp50221, *plain;
        unsigned lost_cp50221, lost_plain, first_plain;
    } rows[] = {
        {"夏 plain\r\n", "夏 plain\r\n", "夏 plain\r\n", 0, 0, 0},
        {"①⑳㈱Ⅲ№℡㍻", "①⑳㈱Ⅲ№℡㍻", "(1)(20)(株)IIINo.TEL平成", 0, 7, 0x2460},
        {"髙﨑神", "髙﨑神", "髙﨑神", 0, 0, 0},
        {"～〜－−¥", "～〜－−¥", "～〜－−¥", 0, 0, 0},
        {"ｶﾞｷﾞﾊﾟｳﾞｱﾞｰ｡", "ｶﾞｷﾞﾊﾟｳﾞｱﾞｰ｡", "ガギパヴア゛ー。", 0, 8, 0xff76},
        {"か\xe3\x82\x99は\xe3\x82\x9aウ\xe3\x82\x99", "がぱヴ", "がぱヴ", 0, 0, 0},
        {"あ\xe3\x82\x99", "あ〓", "あ゛", 1, 1, 0x3099},
        {"café – ½ ©\xc2\xa0x", "caf〓 〓 〓 〓〓x", "cafe - 1/2 (C) x", 5, 5, 0xe9},
        {"葛\xf3\xa0\x84\x80㊿", "葛〓〓", "葛(50)", 2, 2, 0xe0100},
        {"𠮷🎉한", "〓〓〓", "〓〓〓", 3, 3, 0x20bb7},
        {"\x1b$B", "〓$B", "〓$B", 1, 1, 0x1b},
        {"a\xff夏", "a\xff夏", "a\xff夏", 0, 0, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        struct iso2022jp_loss loss = {0};
        iso2022jp_fit(slice_cstr(rows[i].in), ISO2022JP_CP50221, &b, &loss);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].cp50221));
        CHECK_INT(loss.n, rows[i].lost_cp50221);
        buf_clear(&b);
        loss = (struct iso2022jp_loss){0};
        iso2022jp_fit(slice_cstr(rows[i].in), ISO2022JP_PLAIN, &b, &loss);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].plain));
        CHECK_INT(loss.n, rows[i].lost_plain);
        CHECK_INT(loss.first, rows[i].first_plain);
        buf_free(&b);
    }
}

TEST(kana_and_its_mark_become_one)
{
    static const char *const voiced[] = {"かが", "ちぢ", "つづ", "てで", "とど", "はば", "ほぼ", "ゝゞ",
                                         "カガ", "チヂ", "ツヅ", "トド", "ホボ", "ヽヾ", "ウヴ"};
    for (size_t i = 0; i < COUNT(voiced); i++) {
        struct buf in = {0}, b = {0};
        struct iso2022jp_loss loss = {0};
        struct slice s = slice_cstr(voiced[i]);
        buf_add(&in, s.p, 3);
        buf_adds(&in, S("\xe3\x82\x99"));
        iso2022jp_fit(buf_slice(&in), ISO2022JP_CP50221, &b, &loss);
        CHECK_STR(buf_slice(&b), slice_of(s.p + 3, 3));
        CHECK_INT(loss.n, 0);
        buf_free(&in);
        buf_free(&b);
    }
    for (uint32_t cp = 0x3041; cp <= 0x30fe; cp++) {
        struct buf in = {0}, b = {0};
        struct iso2022jp_loss loss = {0};
        char c[4];
        buf_add(&in, c, utf8_encode(cp, c));
        buf_adds(&in, S("\xe3\x82\x9a"));
        iso2022jp_fit(buf_slice(&in), ISO2022JP_CP50221, &b, &loss);
        bool h = false;
        for (uint32_t x = 0x306f; x <= 0x307b; x += 3)
            h |= cp == x || cp == x + 0x60;
        if (h)
            CHECK_INT(b.n, 3);
        else
            CHECK(loss.n >= 1);
        buf_free(&in);
        buf_free(&b);
    }
}

TEST(a_missing_character_is_named)
{
    struct err e = {0};
    CHECK_INT(iso2022jp_check(S("髙①ｶﾞ"), "the subject", &e), 0);
    CHECK_INT(iso2022jp_check(S("夏🎉𠮷"), "the subject", &e), ERR_UNSUPPORTED);
    CHECK_STR(slice_cstr(e.text), S("the subject has 🎉 U+1F389, which ISO-2022-JP has not"));
}
