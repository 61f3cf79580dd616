/* csv_test.c - CSV as offices export it: what is read, what is a bad row, and at which line. */
#include "format/csv.h"
#include "test.h"

#include <stdlib.h>
#include <time.h>

/* Reads all of `in`, fed in pieces of `step` bytes, into one text: "line:cell|cell;" a row, "line!reason;" a
 * bad one, "=reason" where the file cannot be read. The header comes first as "columns;". */
static struct slice read_all(struct slice in, size_t step, struct buf *out)
{
    struct csv c;
    struct csv_row row;
    struct err e = {0};
    bool header = false;
    csv_init(&c);
    for (;;) {
        int rc = csv_next(&c, &row, &e);
        if (c.columns && !header) {
            for (size_t i = 0; i < c.ncolumns; i++)
                buf_printf(out, "%s%.*s", i ? "|" : "", SLICE_FMT(c.columns[i]));
            buf_addc(out, ';');
            header = true;
        }
        if (rc == ERR_AGAIN) {
            size_t n = in.n < step ? in.n : step;
            if (n)
                csv_feed(&c, slice_of(in.p, n));
            else
                csv_end(&c);
            in = slice_of(in.p + n, in.n - n);
        } else if (rc == 0) {
            for (size_t i = 0; i < row.n; i++) {
                if (i == 0)
                    buf_printf(out, "%d:", (int)row.line);
                buf_printf(out, "%s%.*s", i ? "|" : "", SLICE_FMT(row.cells[i]));
            }
            buf_addc(out, ';');
        } else if (rc == ERR_SYNTAX) {
            buf_printf(out, "%d!%s;", (int)row.line, e.text);
        } else {
            if (rc != ERR_EOF)
                buf_printf(out, "=%s", e.text);
            break;
        }
    }
    csv_free(&c);
    return buf_slice(out);
}

TEST(csv_is_read_as_offices_write_it)
{
    static const struct {
        const char *in, *want;
    } rows[] = {
        {"email,name\na@b.jp,Taro\nc@d.jp,Jiro\n", "email|name;2:a@b.jp|Taro;3:c@d.jp|Jiro;"},
        {"email,name\r\na@b.jp,Taro\r\n", "email|name;2:a@b.jp|Taro;"},
        {"email,name\ra@b.jp,Taro\r", "email|name;2:a@b.jp|Taro;"},
        {"email,name\na@b.jp,Taro", "email|name;2:a@b.jp|Taro;"},
        {"\xef\xbb\xbf"
         "メールアドレス,氏名\na@b.jp,山田\n",
         "メールアドレス|氏名;2:a@b.jp|山田;"},
        {"\xef\xbb\xbf\"メール\",b\n1,2\n", "メール|b;2:1|2;"},
        {" a , b\n 1, 2\n", "a|b;2: 1| 2;"},
        {"a,b\n\n\r\n1,2\n\n", "a|b;4:1|2;"},
        {"\n\na,b\n1,2\n", "a|b;4:1|2;"},
        {"a\tb;c\n1\t2,3\n", "a|b;c;2:1|2,3;"},
        {"a;b\n1;2,3\n", "a|b;2:1|2,3;"},
        {"\"a,x\";b\n1;2\n", "a,x|b;2:1|2;"},
        {"a\n1\n2\n", "a;2:1;3:2;"},
        {"a,b\n\"x, y\",\"say \"\"hi\"\"\"\n\"\",\"\"\"\"\n", "a|b;2:x, y|say \"hi\";3:|\";"},
        {"a,b\n\"one\r\ntwo\nthree\rfour\",2\n5,6\n", "a|b;2:one\r\ntwo\nthree\rfour|2;6:5|6;"},
        {"\"a\nb\",c\n1,2\n", "a\nb|c;3:1|2;"},
        {"a,b,\n1,2,\n,,\n", "a|b|;2:1|2|;3:||;"},
        {"a,b\n1,2\n\x1a", "a|b;2:1|2;"},
        /* メール,氏名 / a@b.jp,髙橋① / c@d.jp,表 (a trail byte is a backslash) in CP932 */
        {"\x83\x81\x81[\x83\x8b,\x8e\x81\x96\xbc\r\na@b.jp,\xfb\xfc\x8b\xb4\x87\x40\r\nc@d.jp,"
         "\"\x95\x5c\"\r\n",
         "メール|氏名;2:a@b.jp|髙橋①;3:c@d.jp|表;"},
    };
    static const size_t steps[] = {1, 2, 3, 1000};
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t k = 0; k < COUNT(steps); k++) {
            struct buf out = {0};
            CHECK_STR(read_all(slice_cstr(rows[i].in), steps[k], &out), slice_cstr(rows[i].want));
            buf_free(&out);
        }
}

TEST(a_bad_row_has_its_line_and_reason_and_the_next_is_read)
{
    static const struct {
        struct slice in;
        const char *want;
    } rows[] = {
        {S("a,b\n1\n1,2,3\n4,5\n"),
         "a|b;2!1 cell where the header has 2;3!3 cells where the header has 2;4:4|5;"},
        {S("a,b\n1,2\"x\n4,5\n"), "a|b;2!a quote in the middle of cell 2;3:4|5;"},
        {S("a,b\n\"1\"x,2\n4,5\n"), "a|b;2!text behind the closing quote of cell 1;3:4|5;"},
        {S("a,b\n1,\"2\n4,5\n"), "a|b;2!the quote that opens cell 2 is never closed;3:4|5;"},
        {S("a,b\n1,\"2\n4,5"), "a|b;2!the quote that opens cell 2 is never closed;3:4|5;"},
        {S("a,b\n1,\"2\n4,\"5\"\n6,7\n"), "a|b;2!text behind the closing quote of cell 2;3:4|5;4:6|7;"},
        {S("a,b\n1,x\0y\n4,5\n"), "a|b;2!a NUL byte;3:4|5;"},
        {S("氏名,b\n山田,2\nJos\xe9,2\n4,5\n"),
         "氏名|b;2:山田|2;3!byte 4 is not valid UTF-8, which the file is in;4:4|5;"},
        {S("\xef\xbb\xbf"
           "a,b\n\x8e\x52\x93\x63,2\n\x8e\x52\x93\x63,2\n4,5\n"),
         "a|b;2!byte 1 is not valid UTF-8, which the file is in;3!byte 1 is not valid UTF-8, which the file "
         "is "
         "in;4:4|5;"},
        /* 山田 in CP932, in UTF-8, and a broken pair */
        {S("\x8e\x81\x96\xbc,b\n\x8e\x52\x93\x63,2\n山田,2\nx,\x8e\n4,5\n"),
         "氏名|b;2:山田|2;3!the row is UTF-8, the file CP932 (Shift_JIS);4!byte 3 is not valid CP932 "
         "(Shift_JIS), "
         "which the file is in;5:4|5;"},
        /* lines inside the quotes of a bad row are not taken for rows */
        {S("氏名,b\n\"\xff\nx@y.jp,1\n\",2\n4,5\n"),
         "氏名|b;2!byte 2 is not valid UTF-8, which the file is in;5:4|5;"},
        {S(""), "=the file is empty; its first line must name the columns"},
        {S("\n\n"), "=the file is empty; its first line must name the columns"},
        {S("\xff\xfe"
           "a\0,\0b\0"),
         "=the file is UTF-16; save it as \"CSV UTF-8\""},
        {S("a,\"b\n1,2\n"), "=the header line is bad: the quote that opens cell 2 is never closed"},
    };
    static const size_t steps[] = {1, 3, 1000};
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t k = 0; k < COUNT(steps); k++) {
            struct buf out = {0};
            CHECK_STR(read_all(rows[i].in, steps[k], &out), slice_cstr(rows[i].want));
            buf_free(&out);
        }
}

TEST(the_encoding_is_decided_where_the_first_character_outside_ascii_stands)
{
    struct buf in = {0}, out = {0};
    buf_adds(&in, S("email,name\n"));
    for (int i = 0; i < 20000; i++)
        buf_printf(&in, "p%d@example.jp,Taro\n", i);
    buf_adds(&in, S("x@example.jp,\x8e\x52\x93\x63\n"));
    struct slice got = read_all(buf_slice(&in), 65536, &out);
    CHECK(slice_ends(got, S(";20002:x@example.jp|山田;")));
    buf_free(&in);
    buf_free(&out);
}

TEST(a_quote_never_closed_costs_one_row)
{
    struct buf in = {0}, out = {0};
    buf_adds(&in, S("email,name\nbad@example.jp,\"Taro\n"));
    for (int i = 0; i < 200000; i++)
        buf_printf(&in, "p%d@example.jp,Taro\n", i);
    struct slice got = read_all(buf_slice(&in), 65536, &out);
    CHECK(slice_starts(got, S("email|name;2!the quote that opens cell 2 is not closed within 1000 "
                              "lines;3:p0@example.jp|Taro;4:p1@")));
    CHECK(slice_ends(got, S(";200002:p199999@example.jp|Taro;")));
    buf_clear(&in);
    buf_clear(&out);
    buf_adds(&in, S("a,b\n\"1,2\n"));
    for (int i = 0; i < 3000; i++)
        buf_adds(&in,
                 S("3,long long long long long long long long long long long long long long long long\n"));
    got = read_all(buf_slice(&in), 100000, &out);
    CHECK(slice_starts(got, S("a|b;2!the quote that opens cell 1 is not closed within 64 KiB;3:3|long")));
    buf_free(&in);
    buf_free(&out);
}

TEST(cells_rows_and_columns_are_bounded_and_memory_with_them)
{
    struct buf in = {0}, out = {0};
    char *x = mem_alloc(CSV_CELL_MAX + 1);
    memset(x, 'x', CSV_CELL_MAX + 1);
    buf_adds(&in, S("a,b\n"));
    buf_add(&in, x, CSV_CELL_MAX + 1);
    buf_adds(&in, S(",1\n2,"));
    buf_add(&in, x, CSV_CELL_MAX);
    buf_adds(&in, S("\n"));
    for (int i = 0; i < 1001; i++)
        buf_adds(&in, S(","));
    buf_adds(&in, S("\n5,6\n"));
    struct slice got = read_all(buf_slice(&in), 10000, &out);
    CHECK(slice_starts(got, S("a|b;2!cell 1 is longer than 64 KiB;3:2|xxx")));
    CHECK(slice_ends(got, S("x;4!more than 1000 cells;5:5|6;")));

    /* A line of 40 MB does not pile up in the window. */
    struct csv c;
    struct csv_row row;
    struct err e = {0};
    csv_init(&c);
    csv_feed(&c, S("a,b\n"));
    for (int i = 0, bad = 0; i < 640; i++) {
        csv_feed(&c, slice_of(x, CSV_CELL_MAX));
        int rc;
        while ((rc = csv_next(&c, &row, &e)) == ERR_SYNTAX) {
            CHECK_STR(slice_cstr(e.text), S("the row is longer than 1024 KiB"));
            CHECK_INT(row.line, 2);
            CHECK_INT(++bad, 1);
        }
        CHECK_INT(rc, ERR_AGAIN);
        CHECK(c.in.cap <= 4 * CSV_ROW_MAX);
    }
    csv_feed(&c, S("\n5,6\n"));
    CHECK_INT(csv_next(&c, &row, &e), 0);
    CHECK_INT(row.line, 3);
    CHECK_STR(row.cells[1], S("6"));
    csv_free(&c);
    free(x);
    buf_free(&in);
    buf_free(&out);
}

/* The mark is 150 MB/s; a test may run beside others and with sanitizers, so it asks for a tenth. */
TEST(csv_reads_many_rows)
{
    static const char *const ends[] = {"@example.jp,Taro Yamada,Tokyo,2024-01-01,12345\n",
                                       "@example.jp,山田太郎,東京都渋谷区,2024-01-01,12345\n",
                                       "@example.jp,\"Taro Yamada\",\"Tokyo\",\"2024-01-01\",\"1\"\n"};
    for (size_t kind = 0; kind < COUNT(ends); kind++) {
        struct buf in = {0};
        buf_adds(&in, S("email,name,city,date,n\n"));
        for (int i = 0; i < 100000; i++)
            buf_printf(&in, "taro%d%s", i, ends[kind]);
        struct timespec t0, t1;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
        struct csv c;
        struct csv_row row;
        struct err e = {0};
        csv_init(&c);
        size_t at = 0, rows = 0;
        for (;;) {
            int rc = csv_next(&c, &row, &e);
            if (rc == 0) {
                rows++;
            } else if (rc == ERR_AGAIN) {
                size_t n = in.n - at < 262144 ? in.n - at : 262144;
                if (n)
                    csv_feed(&c, slice_of(in.p + at, n));
                else
                    csv_end(&c);
                at += n;
            } else {
                CHECK_INT(rc, ERR_EOF);
                break;
            }
        }
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
        double s = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
        CHECK_INT(rows, 100000);
        if (getenv("BENCH"))
            printf("csv: %.0f MB/s\n", (double)in.n / s / 1e6);
        csv_free(&c);
        buf_free(&in);
    }
}
