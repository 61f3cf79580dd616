/* reply_quote_test.c - replies as returned mail quotes them. */
#include "format/reply_quote.h"
#include "test.h"

TEST(quoted_replies_are_read_for_code_status_and_text)
{
    static const struct {
        const char *quote;
        int code;
        const char *status, *text;
    } cases[] = {
        {"550 5.1.1 No such user", 550, "5.1.1", "550 5.1.1 No such user"},
        {"smtp; 550 5.1.1 No such user", 550, "5.1.1", "550 5.1.1 No such user"},
        {"SMTP;550 #5.1.0 Address rejected.", 550, "5.1.0", "550 #5.1.0 Address rejected."},
        {"X-Postfix; host unknown", 0, "", "host unknown"},
        {"smtp; 550-5.1.1 The account that you\r\n 550-5.1.1 tried to reach does\r\n 550 5.1.1 not exist. "
         "gsmtp",
         550, "5.1.1", "550 5.1.1 The account that you tried to reach does not exist. gsmtp"},
        {"554-No SMTP service 554-Bad DNS PTR resource record. 554 For explanation visit us", 554, "",
         "554 No SMTP service Bad DNS PTR resource record. For explanation visit us"},
        {"550 not 550 times", 550, "", "550 not 550 times"},
        {"smtp; 5.1.0 - Unknown address error 550-'5.2.2 <a@example.jp>... Mailbox Full' (delivery attempts: "
         "0)",
         550, "5.2.2", "550 '5.2.2 <a@example.jp>... Mailbox Full' (delivery attempts: 0)"},
        {"host mx.example.jp[192.0.2.1] said: 550 5.7.1 blocked (in reply to RCPT TO command)", 550, "5.7.1",
         "550 5.7.1 blocked (in reply to RCPT TO command)"},
        {"sorry, no mailbox here by that name. (#5.1.1)", 0, "5.1.1",
         "sorry, no mailbox here by that name. (#5.1.1)"},
        {"after 451 seconds we gave up", 0, "", "after 451 seconds we gave up"},
        {"421", 421, "", "421"},
        {"550 see RFC 5322 2.1.1", 550, "", "550 see RFC 5322 2.1.1"},
        {"250 2.0.0 Ok", 0, "", "250 2.0.0 Ok"},
        {"192.0.2.550 5.6", 0, "", "192.0.2.550 5.6"},
        {"550", 550, "", "550"},
        {"550-", 550, "", "550"},
        {"550 \xff\x01", 550, "", "550 ??"},
        {"", 0, "", ""},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf room = {0}, status = {0};
        struct reply_quote q;
        reply_quote_read(slice_cstr(cases[i].quote), &room, &q);
        if (q.has_enhanced)
            buf_printf(&status, "%u.%u.%u", q.enhanced.cls, q.enhanced.subject, q.enhanced.detail);
        if (q.code != cases[i].code || strcmp(buf_cstr(&status), cases[i].status) ||
            !slice_eq(q.text, slice_cstr(cases[i].text)))
            test_fail(__FILE__, __LINE__, "\"%s\": %d, \"%s\", \"%.*s\"", cases[i].quote, q.code,
                      buf_cstr(&status), SLICE_FMT(q.text));
        buf_free(&room);
        buf_free(&status);
    }
}
