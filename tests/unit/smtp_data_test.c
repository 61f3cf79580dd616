/* smtp_data_test.c - dots doubled, undoubled, in pieces of any size. */
#include "base/err.h"
#include "format/smtp_data.h"
#include "test.h"

TEST(dots_are_doubled_and_line_ends_repaired)
{
    static const struct {
        struct slice in, want;
    } rows[] = {
        {{"", 0}, {".\r\n", 3}},
        {{"a", 1}, {"a\r\n.\r\n", 6}},
        {{"a\r\n", 3}, {"a\r\n.\r\n", 6}},
        {{".", 1}, {"..\r\n.\r\n", 7}},
        {{".\r\n..\n.a\r.", 10}, {"..\r\n...\r\n..a\r\n..\r\n.\r\n", 21}},
        {{"a\r\r\n\nb\r", 7}, {"a\r\n\r\n\r\nb\r\n.\r\n", 13}},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t cut = 0; cut <= rows[i].in.n; cut++) {
            struct smtp_dot d = {0};
            struct buf out = {0};
            smtp_dot_add(&d, slice_of(rows[i].in.p, cut), &out);
            smtp_dot_add(&d, slice_of(rows[i].in.p + cut, rows[i].in.n - cut), &out);
            smtp_dot_end(&d, &out);
            CHECK_STR(buf_slice(&out), rows[i].want);
            buf_free(&out);
        }
}

/* Feeds in chunks of `step`; what is left behind the end goes to *rest. */
static bool undot(struct slice in, size_t step, struct buf *out, struct slice *rest)
{
    struct smtp_undot u = {0};
    for (size_t at = 0; at < in.n;) {
        struct slice part = slice_of(in.p + at, in.n - at < step ? in.n - at : step), piece;
        int rc;
        at += part.n;
        while ((rc = smtp_undot_next(&u, &part, &piece)) == 1)
            buf_adds(out, piece);
        if (rc == 0) {
            *rest = slice_of(part.p, (size_t)(in.p + in.n - part.p));
            return true;
        }
    }
    return false;
}

TEST(only_a_dot_alone_between_two_crlf_ends_a_message)
{
    static const struct {
        struct slice in, want, rest;
        bool ends;
    } rows[] = {
        {{".\r\nMAIL", 7}, {"", 0}, {"MAIL", 4}, true},
        {{"a\r\n.\r\n", 6}, {"a\r\n", 3}, {"", 0}, true},
        {{"..\r\n.\r\n", 7}, {".\r\n", 3}, {"", 0}, true},
        {{".a\r\n.\r\n", 7}, {"a\r\n", 3}, {"", 0}, true},
        {{"a\n.\nb\r\n.\r\n", 10}, {"a\n.\nb\r\n", 7}, {"", 0}, true},
        {{"a\n.\r\nb\r\n.\r\n", 11}, {"a\n.\r\nb\r\n", 8}, {"", 0}, true},
        {{"a\r\n.\nb\r\n.\r\n", 11}, {"a\r\n\nb\r\n", 7}, {"", 0}, true},
        {{"a\r.\r\nb\r\n.\r\n", 11}, {"a\r.\r\nb\r\n", 8}, {"", 0}, true},
        {{"\r\n.\rb\r\n.\r\n", 10}, {"\r\n\rb\r\n", 6}, {"", 0}, true},
        {{"\r\n.\r\r\n.\r\n.", 10}, {"\r\n\r\r\n", 5}, {".", 1}, true},
        {{"a\r\r\n.\r\n", 7}, {"a\r\r\n", 4}, {"", 0}, true},
        {{"a\r\n.\r", 5}, {"a\r\n", 3}, {"", 0}, false},
        {{"a\r\n..", 5}, {"a\r\n.", 4}, {"", 0}, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t step = 1; step <= rows[i].in.n; step++) {
            struct buf out = {0};
            struct slice rest = SLICE_NONE;
            CHECK(undot(rows[i].in, step, &out, &rest) == rows[i].ends);
            CHECK_STR(buf_slice(&out), rows[i].want);
            CHECK_STR(rest, rows[i].rest);
            buf_free(&out);
        }
}

TEST(what_was_dotted_comes_back_as_it_was)
{
    uint64_t r = 1;
    for (int round = 0; round < 5000; round++) {
        static const char *const parts[] = {"\r\n", ".", "a", "\r\n.", "..", "bc"};
        struct buf in = {0}, dotted = {0}, out = {0};
        struct smtp_dot d = {0};
        struct slice rest = SLICE_NONE;
        for (int i = 0; i < 12; i++) {
            r = r * 6364136223846793005u + 1442695040888963407u;
            buf_adds(&in, slice_cstr(parts[(r >> 33) % COUNT(parts)]));
        }
        buf_adds(&in, S("\r\n"));
        smtp_dot_add(&d, buf_slice(&in), &dotted);
        smtp_dot_end(&d, &dotted);
        CHECK(undot(buf_slice(&dotted), 1 + (r >> 40) % 9, &out, &rest));
        CHECK_STR(buf_slice(&out), buf_slice(&in));
        CHECK_INT(rest.n, 0);
        buf_free(&in);
        buf_free(&dotted);
        buf_free(&out);
    }
}
