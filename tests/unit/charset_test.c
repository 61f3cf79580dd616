/* charset_test.c - UTF-8 strictly, CP932 strictly, and telling them apart. */
#include "format/charset.h"
#include "test.h"

TEST(utf8_prefix_stops_before_the_first_ill_formed_byte)
{
    static const struct {
        const char *in;
        size_t n, want;
    } rows[] = {
        {"", 0, 0},
        {"plain ascii of more than eight bytes", 36, 36},
        {"\xe6\x97\xa5\xe6\x9c\xac", 6, 6},
        {"\xf0\xa0\xae\xb7\xf0\x9f\x98\x80", 8, 8},
        {"\xef\xbf\xbf\xf4\x8f\xbf\xbf", 7, 7},
        {"a\0b", 3, 3},
        {"abc\xc0\x80", 5, 3},      /* overlong NUL */
        {"abc\xe0\x80\xaf", 6, 3},  /* overlong slash */
        {"\xf0\x80\x80\xaf", 4, 0}, /* the same in four */
        {"\xed\xa0\x80", 3, 0},     /* surrogate */
        {"\xed\x9f\xbf\xee\x80\x80", 6, 6},
        {"\xf4\x90\x80\x80", 4, 0}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", 4, 0},
        {"ab\xe6\x97", 4, 2}, /* cut off */
        {"ab\x80", 3, 2},
        {"\xff", 1, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_INT(utf8_prefix(slice_of(rows[i].in, rows[i].n)), rows[i].want);
}

TEST(utf8_encode_and_decode_agree_on_every_character)
{
    for (uint32_t cp = 0; cp <= 0x10ffff; cp++) {
        char c[4];
        uint32_t back = 0;
        if (cp == 0xd800)
            cp = 0xe000;
        size_t n = utf8_encode(cp, c);
        CHECK_INT(utf8_decode(slice_of(c, n), &back), n);
        CHECK_INT(back, cp);
        CHECK_INT(utf8_prefix(slice_of(c, n)), n);
        if (n > 1)
            CHECK_INT(utf8_decode(slice_of(c, n - 1), &back), ERR_SYNTAX);
    }
}

TEST(utf8_fit_cuts_between_characters)
{
    struct slice s = S("a\xe6\x97\xa5\xf0\x9f\x98\x80");
    static const size_t want[] = {0, 1, 1, 1, 4, 4, 4, 4, 8, 8};
    for (size_t i = 0; i < COUNT(want); i++)
        CHECK_INT(utf8_fit(s, i), want[i]);
    CHECK_INT(utf8_count(s), 3);
}

TEST(utf8_line_prefix_stops_at_controls)
{
    CHECK_INT(utf8_line_prefix(S("ok\xe6\x97\xa5")), 5);
    CHECK_INT(utf8_line_prefix(S("a\rb")), 1);
    CHECK_INT(utf8_line_prefix(S("a\tb")), 1);
    CHECK_INT(utf8_line_prefix(S("a\0b")), 1);
    CHECK_INT(utf8_line_prefix(S("a\xc2\x85")), 1); /* NEL */
    CHECK_INT(utf8_line_prefix(S("a\xff")), 1);
}

TEST(cp932_has_the_windows_characters)
{
    struct charset_conv c;
    struct buf out = {0};
    size_t bad_at = 99;
    CHECK_INT(charset_conv_open(&c, NULL), 0);
    /* ① ㈱ 髙 ｱ 表 (trail byte is a backslash) ～ － */
    CHECK_INT(
        charset_from_cp932(&c, S("\x87\x40\x87\x8a\xfb\xfc\xb1\x95\x5c\x81\x60\x81\x7c,a"), &out, &bad_at),
        0);
    CHECK_STR(buf_slice(&out), S("①㈱髙ｱ表～－,a"));
    CHECK_INT(bad_at, 99);
    buf_free(&out);
    charset_conv_close(&c);
}

TEST(cp932_refuses_what_is_no_character_and_says_where)
{
    static const struct {
        const char *in;
        size_t bad_at;
    } rows[] = {
        {"ab\x80", 2},   {"ab\xa0", 2},    {"\x8e\x52\xfd", 2}, {"abc\x8e", 3}, {"\x8e\x20", 0},
        {"\x8e\x7f", 0}, {"x\xf0\x40", 1}, {"ab\x85\x40", 2}, /* an empty row of the table */
        {"\xf9\xfc", 0},
    };
    struct charset_conv c;
    struct buf out = {0};
    CHECK_INT(charset_conv_open(&c, NULL), 0);
    buf_adds(&out, S("kept"));
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t bad_at = 99;
        CHECK_INT(charset_from_cp932(&c, slice_cstr(rows[i].in), &out, &bad_at), ERR_SYNTAX);
        CHECK_INT(bad_at, rows[i].bad_at);
        CHECK_STR(buf_slice(&out), S("kept"));
    }
    buf_free(&out);
    charset_conv_close(&c);
}

TEST(charset_guess_goes_by_the_majority_of_lines)
{
    CHECK_INT(charset_guess(S("email,name\na@b.jp,Taro\n")), CHARSET_ASCII);
    CHECK_INT(charset_guess(S("氏名\n山田\n")), CHARSET_UTF8);
    CHECK_INT(charset_guess(S("\x8e\x81\x96\xbc\n\x8e\x52\x93\x63\n")), CHARSET_CP932);
    CHECK_INT(charset_guess(S("email\na@b.jp,\x8e\x52\x93\x63")), CHARSET_CP932);
    CHECK_INT(charset_guess(S("email\na@b.jp,\xe5\xb1")), CHARSET_UTF8); /* cut off by the window */
    CHECK_INT(charset_guess(S("氏名\n山田\nJos\xe9\n鈴木\n")), CHARSET_UTF8);
    CHECK_INT(charset_guess(S("\x8e\x81\x96\xbc\n山田\n\x8e\x52\x93\x63\n")), CHARSET_CP932);
}

TEST(utf8_taken_for_cp932_is_seen)
{
    CHECK(charset_looks_utf8(S("山田")));
    CHECK(!charset_looks_utf8(S("\x8e\x52\x93\x63")));
    CHECK(!charset_looks_utf8(S("\xc3\xbd"))); /* half-width kana that happen to be valid */
    CHECK(!charset_looks_utf8(S("plain")));
}
