/* smtp_command_test.c - command lines as a receiver reads them. */
#include "base/err.h"
#include "format/smtp_command.h"
#include "test.h"

TEST(verbs_are_read_in_any_case_with_blanks_around)
{
    static const struct {
        struct slice line, args;
        enum smtp_verb verb;
    } want[] = {
        {S("EHLO a.test"), S("a.test"), SMTP_VERB_EHLO},
        {S("  helo   a.test \r"), S("a.test"), SMTP_VERB_HELO},
        {S("StartTLS\r"), S(""), SMTP_VERB_STARTTLS},
        {S("MAIL FROM:<a@b> SIZE=1"), S("FROM:<a@b> SIZE=1"), SMTP_VERB_MAIL},
        {S("quit\r"), S(""), SMTP_VERB_QUIT},
        {S("DATAX"), S(""), SMTP_VERB_NONE},
        {S("DAT A"), S("A"), SMTP_VERB_NONE},
        {S("MAIL\tFROM:<>"), S(""), SMTP_VERB_NONE},
        {S(""), S(""), SMTP_VERB_NONE},
    };
    for (size_t i = 0; i < COUNT(want); i++) {
        struct slice args;
        CHECK_INT(smtp_command_read(want[i].line, &args), want[i].verb);
        CHECK_STR(args, want[i].args);
    }
}

TEST(a_path_ends_at_the_bracket_that_is_not_quoted)
{
    static const struct {
        struct slice args, path, params;
        int rc;
    } want[] = {
        {S("FROM:<a@b.test>"), S("a@b.test"), S(""), 0},
        {S("from: <a@b.test>  SIZE=1  BODY=7BIT"), S("a@b.test"), S("SIZE=1  BODY=7BIT"), 0},
        {S("FROM:<>"), S(""), S(""), 0},
        {S("FROM:<\"a>b\"@c.test> X"), S("\"a>b\"@c.test"), S("X"), 0},
        {S("FROM:<\"a\\\">\"@c.test>"), S("\"a\\\">\"@c.test"), S(""), 0},
        {S("FROM:<a@b.test"), S(""), S(""), ERR_SYNTAX},
        {S("FROM:<\"a>@b.test>"), S(""), S(""), ERR_SYNTAX},
        {S("FROM:<\"\\"), S(""), S(""), ERR_SYNTAX},
        {S("FROM:a@b.test"), S(""), S(""), ERR_SYNTAX},
        {S("TO:<a@b.test>"), S(""), S(""), ERR_SYNTAX},
        {S("FROM:"), S(""), S(""), ERR_SYNTAX},
    };
    for (size_t i = 0; i < COUNT(want); i++) {
        struct slice path = SLICE_NONE, params = SLICE_NONE;
        CHECK_INT(smtp_path_read(want[i].args, S("FROM:"), &path, &params), want[i].rc);
        CHECK_STR(path, want[i].path);
        CHECK_STR(params, want[i].params);
    }
}

TEST(parameters_of_mail_are_told_apart)
{
    struct smtp_mail_params p =
        smtp_mail_params_read(S("size=1234 BODY=8BITMIME  RET=HDRS ENVID=x SMTPUTF8"));
    CHECK(p.has_size && p.body && p.dsn && p.smtputf8 && !p.unknown);
    CHECK_INT(p.size_bytes, 1234);
    p = smtp_mail_params_read(S(""));
    CHECK(!p.has_size && !p.body && !p.dsn && !p.smtputf8 && !p.unknown);
    CHECK(smtp_mail_params_read(S("SIZE=12x")).unknown);
    CHECK(smtp_mail_params_read(S("SIZE=")).unknown);
    CHECK(smtp_mail_params_read(S("SIZE=1 AUTH=<>")).unknown);
    CHECK(smtp_mail_params_read(S("BODY=BINARYMIME")).unknown);
}

TEST(a_chunk_says_how_many_bytes_follow_or_nothing_is_known)
{
    uint64_t n = 7;
    bool last = true;
    CHECK_INT(smtp_chunk_read(S("1000"), &n, &last), 0);
    CHECK(n == 1000 && !last);
    CHECK_INT(smtp_chunk_read(S("0  last"), &n, &last), 0);
    CHECK(n == 0 && last);
    CHECK_INT(smtp_chunk_read(S("12 NEXT"), &n, &last), ERR_SYNTAX);
    CHECK_INT(smtp_chunk_read(S("-1"), &n, &last), ERR_SYNTAX);
    CHECK_INT(smtp_chunk_read(S("99999999999999999999"), &n, &last), ERR_SYNTAX);
    CHECK_INT(smtp_chunk_read(S(""), &n, &last), ERR_SYNTAX);
    CHECK(n == 0 && last);
}
