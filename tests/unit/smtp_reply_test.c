/* smtp_reply_test.c - replies whole and in bytes, ugly ones, bounds, enhanced status, EHLO. */
#include "base/err.h"
#include "format/smtp_reply.h"
#include "test.h"

static const struct {
    const char *in;
    size_t n; /* 0: a C string */
    int rc, code;
    const char *enhanced, *text;
} cases[] = {
    {"250 2.1.5 Ok\r\n", 0, 0, 250, "2.1.5", "250 2.1.5 Ok"},
    {"250\r\n", 0, 0, 250, "", "250"},
    {"250 \r\n", 0, 0, 250, "", "250"},
    {"250 ok\n", 0, 0, 250, "", "250 ok"},
    {"250 ok\r\r\n", 0, 0, 250, "", "250 ok"},
    {"220mail.example ready\r\n", 0, 0, 220, "", "220 mail.example ready"},
    {"250\tok\r\n", 0, 0, 250, "", "250 ok"},
    {"550-5.1.1 The account that you\r\n550-5.1.1 tried to reach does\r\n550 5.1.1 not exist\r\n", 0, 0, 550,
     "5.1.1", "550 5.1.1 The account that you tried to reach does not exist"},
    {"550-no\r\n550-\r\n550 5.7.1 way\r\n", 0, 0, 550, "5.7.1", "550 no 5.7.1 way"},
    {"250-a\r\n550 b\r\n", 0, 0, 250, "", "250 a b"},
    {"550 #5.1.0 Address rejected.\r\n", 0, 0, 550, "5.1.0", "550 #5.1.0 Address rejected."},
    {"553 sorry, not here (#5.7.1)\r\n", 0, 0, 553, "5.7.1", "553 sorry, not here (#5.7.1)"},
    {"421 5.7.32 not aligned\r\n", 0, 0, 421, "5.7.32", "421 5.7.32 not aligned"},
    {"451 4.7.650 busy\r\n", 0, 0, 451, "4.7.650", "451 4.7.650 busy"},
    {"550 5.1.1.2 is no status\r\n", 0, 0, 550, "", "550 5.1.1.2 is no status"},
    {"550 5.1.1234 x\r\n", 0, 0, 550, "", "550 5.1.1234 x"},
    {"550 1.2.3 x\r\n", 0, 0, 550, "", "550 1.2.3 x"},
    {"421 #4.x.2 Too many\r\n", 0, 0, 421, "", "421 #4.x.2 Too many"},
    {"550 a\0b\x1b[31m\x7f\r\n", 16, 0, 550, "", "550 a?b?[31m?"},
    {"550 \xe3\x81\x82\xe3\x81 \xff \xc2\x85\r\n", 0, 0, 550, "", "550 \xe3\x81\x82?? ? ?"},
    {"550  many \t spaces  \r\n", 0, 0, 550, "", "550 many spaces"},
    {"", 0, ERR_AGAIN, 0, "", ""},
    {"250", 0, ERR_AGAIN, 0, "", ""},
    {"250-a\r\n", 0, ERR_AGAIN, 0, "", ""},
    {"\r\n", 0, ERR_SYNTAX, 0, "", ""},
    {"25\r\n", 0, ERR_SYNTAX, 0, "", ""},
    {"2500 x\r\n", 0, ERR_SYNTAX, 0, "", ""},
    {"150 x\r\n", 0, ERR_SYNTAX, 0, "", ""},
    {"650 x\r\n", 0, ERR_SYNTAX, 0, "", ""},
    {"HTTP/1.1 400 Bad Request\r\n", 0, ERR_SYNTAX, 0, "", ""},
    {"250-a\r\nnonsense\r\n", 0, ERR_SYNTAX, 0, "", ""},
};

static int feed(struct smtp_reply_parser *p, struct slice in, size_t piece, const struct smtp_reply **r)
{
    int rc = ERR_AGAIN;

    for (size_t at = 0; at < in.n && rc == ERR_AGAIN; at += piece) {
        struct slice s = slice_of(in.p + at, in.n - at < piece ? in.n - at : piece);
        rc = smtp_reply_next(p, &s, r);
    }
    return rc;
}

TEST(smtp_reply_reads_good_and_ugly_ones_however_they_are_cut)
{
    struct smtp_reply_parser p = {0};

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice in = cases[i].n ? slice_of(cases[i].in, cases[i].n) : slice_cstr(cases[i].in);
        for (size_t piece = 1; piece <= in.n + 1; piece++) {
            const struct smtp_reply *r = NULL;
            char enhanced[32] = "";
            smtp_reply_reset(&p);
            CHECK_INT(feed(&p, in, piece, &r), cases[i].rc);
            if (cases[i].rc)
                continue;
            CHECK_INT(r->code, cases[i].code);
            CHECK_STR(r->text, slice_cstr(cases[i].text));
            if (r->has_enhanced)
                snprintf(enhanced, sizeof enhanced, "%u.%u.%u", r->enhanced.cls, r->enhanced.subject,
                         r->enhanced.detail);
            CHECK_STR(slice_cstr(enhanced), slice_cstr(cases[i].enhanced));
            CHECK(r->enhanced_mismatch == (r->has_enhanced && r->enhanced.cls != r->code / 100));
        }
    }
    smtp_reply_free(&p);
}

TEST(smtp_reply_tells_pipelined_replies_apart)
{
    struct smtp_reply_parser p = {0};
    const struct smtp_reply *r;
    struct slice in = S("250 a\r\n250-b\r\n550 c\r\n354 go\r\n25");
    static const int codes[] = {250, 250, 354};

    for (size_t i = 0; i < COUNT(codes); i++) {
        CHECK_INT(smtp_reply_next(&p, &in, &r), 0);
        CHECK_INT(r->code, codes[i]);
        CHECK(r->code_mismatch == (i == 1));
        CHECK(!smtp_reply_begun(&p));
    }
    CHECK_INT(smtp_reply_next(&p, &in, &r), ERR_AGAIN);
    CHECK(smtp_reply_begun(&p));
    in = S("0 end\n");
    CHECK_INT(smtp_reply_next(&p, &in, &r), 0);
    CHECK_STR(r->text, S("250 end"));
    smtp_reply_free(&p);
}

TEST(smtp_reply_of_512_lines_is_read_and_an_endless_one_is_not)
{
    struct smtp_reply_parser p = {0};
    const struct smtp_reply *r;
    struct buf in = {0};
    struct slice s;

    for (int i = 0; i < 511; i++)
        buf_adds(&in, S("250-some words of a line\r\n"));
    buf_adds(&in, S("250 end\r\n"));
    s = buf_slice(&in);
    CHECK_INT(smtp_reply_next(&p, &s, &r), 0);
    CHECK_INT(r->nlines, 512);
    CHECK_STR(r->lines[511], S("end"));
    CHECK(r->text.n <= SMTP_REPLY_TEXT_MAX && r->text.n > SMTP_REPLY_TEXT_MAX - 40);

    buf_clear(&in);
    for (int i = 0; i < 1001; i++)
        buf_adds(&in, S("250-\r\n"));
    smtp_reply_reset(&p);
    s = buf_slice(&in);
    CHECK_INT(smtp_reply_next(&p, &s, &r), ERR_LIMIT);
    s = S("250 ok\r\n");
    CHECK_INT(smtp_reply_next(&p, &s, &r), ERR_LIMIT); /* for good */

    buf_clear(&in);
    for (int i = 0; i < 900; i++)
        buf_adds(&in, S("250-"
                        "012345678901234567890123456789012345678901234567890123456789012345678901234567890123"
                        "4567\r\n"));
    smtp_reply_reset(&p);
    s = buf_slice(&in);
    CHECK_INT(smtp_reply_next(&p, &s, &r), ERR_LIMIT);

    buf_clear(&in);
    for (int i = 0; i < 5000; i++)
        buf_adds(&in, S("2"));
    smtp_reply_reset(&p);
    s = buf_slice(&in);
    CHECK_INT(smtp_reply_next(&p, &s, &r), ERR_LIMIT);
    smtp_reply_reset(&p);
    CHECK_INT(feed(&p, buf_slice(&in), 1, &r), ERR_LIMIT);
    smtp_reply_free(&p);
    buf_free(&in);
}

TEST(smtp_reply_text_is_cut_between_characters)
{
    struct smtp_reply_parser p = {0};
    const struct smtp_reply *r;
    struct buf in = {0};
    struct slice s;

    buf_adds(&in, S("550 "));
    for (int i = 0; i < 500; i++)
        buf_adds(&in, S("\xe3\x81\x82"));
    buf_adds(&in, S("\r\n"));
    s = buf_slice(&in);
    CHECK_INT(smtp_reply_next(&p, &s, &r), 0);
    CHECK_INT(r->text.n, 4 + 340 * 3);
    smtp_reply_free(&p);
    buf_free(&in);
}

TEST(smtp_ehlo_reads_keywords)
{
    struct smtp_reply_parser p = {0};
    const struct smtp_reply *r;
    struct smtp_ehlo e;
    struct slice in =
        S("250-mx.example.jp PIPELINING\r\n250-size 35882577\r\n250-8BITMIME\r\n250-STARTTLS\r\n"
          "250-ENHANCEDSTATUSCODES\r\n250-AUTH=LOGIN\r\n250-AUTH PLAIN  XOAUTH2 NTLM\r\n"
          "250-PIPELINING\r\n250-CHUNKING\r\n250-X-SMTPUTF8\r\n250 SMTPUTF8\r\n"
          "250-mx.example.jp\r\n250-SIZE\r\n250 CHUNKINGX\r\n"
          "250-mx\r\n250 SIZE 99999999999999999999999\r\n250 PIPELINING\r\n");

    CHECK_INT(smtp_reply_next(&p, &in, &r), 0);
    smtp_ehlo_read(r, &e);
    CHECK(e.pipelining && e.chunking && e.eightbitmime && e.smtputf8 && e.starttls && e.enhanced &&
          e.size_offered);
    CHECK_INT(e.size_max, 35882577);
    CHECK_INT(e.auth, SMTP_AUTH_LOGIN | SMTP_AUTH_PLAIN | SMTP_AUTH_XOAUTH2);
    CHECK_INT(smtp_reply_next(&p, &in, &r), 0);
    smtp_ehlo_read(r, &e);
    CHECK(!e.pipelining && !e.chunking && e.size_offered);
    CHECK_INT(e.size_max, 0);
    CHECK_INT(smtp_reply_next(&p, &in, &r), 0);
    smtp_ehlo_read(r, &e);
    CHECK_INT(e.size_max, 0);
    CHECK_INT(smtp_reply_next(&p, &in, &r), 0);
    smtp_ehlo_read(r, &e);
    CHECK(!e.pipelining); /* the first line names the host */
    smtp_reply_free(&p);
}
