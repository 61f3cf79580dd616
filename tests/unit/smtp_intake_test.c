/* smtp_intake_test.c - input in pieces, and a reader that may not look at all of it yet. */
#include "base/err.h"
#include "smtp_intake.h"
#include "test.h"

TEST(a_line_that_comes_in_pieces_is_one_line)
{
    struct smtp_intake in = {.fed = SLICE_NONE};
    struct slice line;
    CHECK_INT(smtp_intake_line(&in, 100, 0, &line), ERR_AGAIN);
    smtp_intake_feed(&in, S("EH"), 0);
    CHECK_INT(smtp_intake_line(&in, 100, 0, &line), ERR_AGAIN);
    smtp_intake_keep(&in);
    smtp_intake_feed(&in, S("LO a\r\nDA"), 0);
    CHECK_INT(smtp_intake_line(&in, 100, 0, &line), 0);
    CHECK_STR(line, S("EHLO a\r"));
    smtp_intake_take(&in, line.n + 1);
    smtp_intake_feed(&in, S("TA\n"), 0);
    CHECK_INT((long)smtp_intake_size(&in), 5);
    CHECK_INT(smtp_intake_line(&in, 100, 0, &line), 0);
    CHECK_STR(line, S("DATA"));
    smtp_intake_take(&in, line.n + 1);
    CHECK_INT((long)smtp_intake_size(&in), 0);
    smtp_intake_free(&in);
}

TEST(a_line_without_end_is_told_at_its_limit)
{
    struct smtp_intake in = {.fed = SLICE_NONE};
    struct slice line;
    smtp_intake_feed(&in, S("123456789"), 0);
    CHECK_INT(smtp_intake_line(&in, 10, 0, &line), ERR_AGAIN);
    CHECK_INT(smtp_intake_line(&in, 9, 0, &line), ERR_LIMIT);
    smtp_intake_keep(&in);
    smtp_intake_feed(&in, S("0\n"), 0);
    CHECK_INT(smtp_intake_line(&in, 10, 0, &line), ERR_LIMIT);
    CHECK_INT(smtp_intake_line(&in, 11, 0, &line), 0);
    smtp_intake_drop(&in);
    CHECK_INT((long)smtp_intake_size(&in), 0);
    smtp_intake_free(&in);
}

TEST(a_slow_reader_looks_at_its_rate_and_saves_up_nothing)
{
    struct smtp_intake in = {.bytes_per_second = 10, .since_ms = 0, .fed = SLICE_NONE};
    smtp_intake_feed(&in, S("0123456789"), 5000);
    CHECK_STR(smtp_intake_look(&in, 5000), S(""));
    CHECK_INT(smtp_intake_due(&in, 5000), 5100);
    CHECK_STR(smtp_intake_look(&in, 5250), S("01"));
    smtp_intake_take(&in, 2);
    CHECK_INT(smtp_intake_due(&in, 5250), 5300);
    smtp_intake_keep(&in);
    CHECK_STR(smtp_intake_look(&in, 5300), S("2"));
    CHECK_STR(smtp_intake_look(&in, 9000), S("23456789"));
    CHECK(smtp_intake_due(&in, 9000) == INT64_MAX);
    smtp_intake_take(&in, 8);
    smtp_intake_feed(&in, S("ab"), 20000);
    CHECK_STR(smtp_intake_look(&in, 20000), S(""));
    smtp_intake_free(&in);
}
