/* text_test.c - columns, counts, times, and text that cannot steer a terminal. */
#include "format/text.h"
#include "test.h"

TEST(text_width_counts_columns_not_bytes)
{
    static const struct {
        const char *text;
        size_t width;
    } rows[] = {
        {"", 0},        {"gmail", 5}, {"夏祭り", 6}, {"ｶﾞ", 2}, {"か\u3099", 2}, /* a combining voiced mark */
        {"(@の前)", 7}, {"①", 1},     {"Ａ", 2},     {"é", 1},  {"e\u0301", 1},  {"🎆", 2}, {"\xff", 1},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_INT(text_width(slice_cstr(rows[i].text)), rows[i].width);
}

TEST(text_is_cut_and_filled_by_columns)
{
    struct buf b = {0};
    CHECK_INT(text_fit(S("夏祭り"), 5), 6);
    CHECK_INT(text_fit(S("夏祭り"), 6), 9);
    CHECK_INT(text_fit(S("abc"), 0), 0);
    text_left(&b, S("夏"), 4);
    buf_addc(&b, '|');
    text_right(&b, S("夏"), 4);
    buf_addc(&b, '|');
    text_left(&b, S("夏祭り"), 2);
    CHECK_STR(buf_slice(&b), S("夏  |  夏|夏祭り"));
    buf_free(&b);
}

TEST(a_cell_is_safe_and_exactly_as_wide_as_its_column)
{
    struct buf b = {0};
    text_cell(&b, S("夏祭り"), 5);
    text_cell(&b, S("a\033[2J"), 8);
    text_cell(&b, S(""), 2);
    CHECK_STR(buf_slice(&b), S("夏祭   a\\x1b[2J  "
                               "    "));
    buf_free(&b);
}

TEST(text_that_a_receiver_sent_cannot_steer_the_terminal)
{
    static const struct {
        struct slice in, want;
    } rows[] = {
        {S("550 no\x1b[2J\r\nsuch\tuser"), S("550 no\\x1b[2J\\r\\nsuch\\tuser")},
        {S("\xc2\x9b"
           "31m"),
         S("\\x9b31m")}, /* CSI as one C1 character */
        {S("a\u202eb"), S("a\\u202eb")},
        {S("夏\xff"), S("夏\xef\xbf\xbd")},
        {S("\0"), S("\\x00")},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        text_safe(&b, rows[i].in);
        CHECK_STR(buf_slice(&b), rows[i].want);
        buf_free(&b);
    }
}

TEST(text_counts_and_percents_read_as_people_write_them)
{
    static const struct {
        uint64_t n;
        const char *want;
    } counts[] = {{0, "0"},        {999, "999"},           {1000, "1,000"},
                  {4594, "4,594"}, {1000000, "1,000,000"}, {UINT64_MAX, "18,446,744,073,709,551,615"}};
    static const struct {
        uint64_t part, whole;
        const char *want;
    } percents[] = {{5049, 41342, "12.21 %"},
                    {2022, 41342, "4.89 %"},
                    {2022, 5049, "40.05 %"},
                    {1379, 41342, "3.34 %"},
                    {4594, 45936, "10.00 %"},
                    {1, 1, "100.00 %"},
                    {0, 7, "0.00 %"},
                    {3, 0, "-"},
                    {UINT64_MAX, UINT64_MAX, "100.00 %"}};
    for (size_t i = 0; i < COUNT(counts); i++) {
        struct buf b = {0};
        text_count(&b, counts[i].n);
        CHECK_STR(buf_slice(&b), slice_cstr(counts[i].want));
        buf_free(&b);
    }
    for (size_t i = 0; i < COUNT(percents); i++) {
        struct buf b = {0};
        text_percent(&b, percents[i].part, percents[i].whole);
        CHECK_STR(buf_slice(&b), slice_cstr(percents[i].want));
        buf_free(&b);
    }
}

TEST(text_times_are_utc_with_milliseconds)
{
    static const struct {
        int64_t ms;
        const char *want;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {951782399999, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {1782900000123, "2026-07-01T10:00:00.123Z"},
        {1767225599000, "2025-12-31T23:59:59.000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        text_time(&b, rows[i].ms);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].want));
        buf_free(&b);
    }
    struct buf b = {0};
    text_time_plain(&b, 1782900000123);
    CHECK_STR(buf_slice(&b), S("2026-07-01 10:00:00"));
    buf_free(&b);
}
