/* rank_test.c - columns that say how engaged people are, and the order that follows. */
#include "format/rank.h"
#include "intake_order.h"
#include "test.h"

TEST(the_larger_and_the_later_have_the_higher_rank)
{
    static const char *const rising[][8] = {{"-12.5", "-3", "0", "0.000001", "0.8", "7", "1,250", "1250.5"},
                                            {"1999-12-31", "2026-06-30", "2026-07-01", "2026-07-01 00:01",
                                             "2026/7/1 9:30", "2026-07-01T10:30:00Z", "2026-07-01 10:30:01",
                                             "2026-12-01"}};
    for (size_t k = 0; k < COUNT(rising); k++)
        for (size_t i = 1; i < COUNT(rising[k]); i++)
            CHECK(rank_of(slice_cstr(rising[k][i - 1])) < rank_of(slice_cstr(rising[k][i])));
    CHECK(rank_of(S("2026-07-01")) == rank_of(S(" 2026/07/01 00:00:00 ")));
    CHECK(rank_of(S("5")) == rank_of(S("5.0")));
}

TEST(what_is_neither_number_nor_date_has_no_rank)
{
    static const char *const none[] = {
        "",     " ", "never", "2026-13-01", "2026-00-01",       "2026-07",     "12-7-2026x", "1e5",
        "0x10", "-", ".",     ",5",         "2026-07-01 25:00", "2026-07-01x", "--3"};
    for (size_t i = 0; i < COUNT(none); i++) {
        if (rank_of(slice_cstr(none[i])) != RANK_NONE)
            printf("%s\n", none[i]);
        CHECK(rank_of(slice_cstr(none[i])) == RANK_NONE);
    }
    CHECK(rank_of(S("99999999999999999999999999")) > rank_of(S("1000000000")));
}

TEST(rows_come_by_rank_and_equal_ones_as_they_stood)
{
    struct intake_order *o = intake_order_new();
    static const int64_t ranks[] = {5, RANK_NONE, 9, 5, RANK_NONE, 5};
    static const uint64_t want[] = {3, 1, 4, 6, 2, 5};
    struct intake_held row;
    for (size_t i = 0; i < COUNT(ranks); i++)
        intake_order_add(o, ranks[i], &(struct intake_held){i + 1, S("a@b.test"), S("\x91\xa1x")});
    intake_order_sort(o);
    for (size_t i = 0; i < COUNT(want); i++) {
        CHECK(intake_order_next(o, &row));
        CHECK_INT(row.line, want[i]);
        CHECK_STR(row.address, S("a@b.test"));
        CHECK_STR(row.values, S("\x91\xa1x"));
    }
    CHECK(!intake_order_next(o, &row));
    intake_order_free(o);
    intake_order_free(NULL);
}
