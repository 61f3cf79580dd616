/* returned_test.c - returned mail: one mechanism a test, with mails made here. */
#include "classify_mail.h"
#include "format/returned.h"
#include "format/rule_file.h"
#include "lua/isps.h"
#include "test.h"

struct rig {
    struct rules *rules;
    struct returned_reader *reader;
    struct returned r;
    struct arena names;
    struct isps isps;
};

static void rig_open(struct rig *g)
{
    struct err e = {0};
    *g = (struct rig){0};
    INVARIANT(rules_compile_shipped(NULL, 0, &g->rules, &e) == 0);
    INVARIANT(returned_reader_new(g->rules, &g->reader, &e) == 0);
    INVARIANT(isps_load(&g->names, &g->isps, &e) == 0);
    returned_reader_isps(g->reader, isps_who, &g->isps);
}

static void rig_close(struct rig *g)
{
    returned_free(&g->r);
    returned_reader_free(g->reader);
    rules_free(g->rules);
    arena_free(&g->names);
}

static void feed(struct rig *g, struct slice mail)
{
    struct err e = {0};
    INVARIANT(returned_read(g->reader, mail, &g->r, &e) == 0);
}

/* What the reader makes of a mail, in one line: "format: address action code status phase class kind; ...".
 */
static struct slice summary(struct rig *g, const char *mail, struct buf *out)
{
    buf_clear(out);
    feed(g, slice_cstr(mail));
    buf_printf(out, "%s:", returned_format_name(g->r.format));
    for (size_t i = 0; i < g->r.nrecipients; i++) {
        const struct returned_recipient *to = &g->r.recipients[i];
        buf_printf(out, "%s %.*s %s %d %.*s %s %s %s", i ? ";" : "", SLICE_FMT(to->address),
                   to->action ? returned_action_name(to->action) : "-", to->code, SLICE_FMT(to->status),
                   to->phase < 0 ? "-" : smtp_phase_name((enum smtp_phase)to->phase), class_name(to->cls),
                   class_kind_name(to->kind));
    }
    return buf_slice(out);
}

struct sample {
    const char *mail, *want;
};

static void check_all(const struct sample *v, size_t n)
{
    struct rig g;
    struct buf b = {0};
    rig_open(&g);
    for (size_t i = 0; i < n; i++) {
        struct slice got = summary(&g, v[i].mail, &b);
        if (!slice_eq(got, slice_cstr(v[i].want)))
            test_fail(__FILE__, __LINE__, "sample %zu:\n  got  \"%.*s\"\n  want \"%s\"", i, SLICE_FMT(got),
                      v[i].want);
    }
    buf_free(&b);
    rig_close(&g);
}

#define DAEMON "From: MAILER-DAEMON@mx.example.net\nTo: b-abc@bounce.example.jp\nSubject: Undelivered Mail\n"
#define REPORT                                                                                               \
    DAEMON                                                                                                   \
    "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\n\n"     \
    "--b\nContent-Type: text/plain\n\nIt could not be sent.\n\n--b\nContent-Type: "                          \
    "message/delivery-status\n\n"

TEST(a_delivery_status_is_read_field_by_field)
{
    static const struct sample samples[] = {
        {REPORT
         "Reporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; taro@example.jp\nAction: failed\n"
         "Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 <taro@example.jp>: User unknown\n\n--b--\n",
         "dsn: taro@example.jp failed 550 5.1.1 - no_such_user hard"},
        /* Two recipients, Action first, and a blank line inside the second group. */
        {REPORT
         "Reporting-MTA: dns; mx.example.net\n\nAction: failed\nFinal-Recipient: rfc822; taro@example.jp\n"
         "Diagnostic-Code: smtp; 552 5.2.2 mailbox full\nStatus: 5.2.2\n\nAction: delayed\n\n"
         "Final-Recipient: rfc822; jiro@example.jp\nStatus: 4.4.1\n\n--b--\n",
         "dsn: taro@example.jp failed 552 5.2.2 - mailbox_full soft; jiro@example.jp delayed 0 4.4.1 - "
         "network none"},
        /* No blank line anywhere: the second Final-Recipient begins a group. */
        {REPORT
         "Reporting-MTA: dns; mx.example.net\nFinal-Recipient: rfc822; taro@example.jp\nAction: failed\n"
         "Status: 5.1.1\nFinal-Recipient: rfc822; jiro@example.jp\nAction: failed\nStatus: 5.2.2\n\n--b--\n",
         "dsn: taro@example.jp failed 0 5.1.1 - no_such_user hard; jiro@example.jp failed 0 5.2.2 - "
         "mailbox_full soft"},
        /* Delivered and relayed are no failures, and are nobody's fault. */
        {REPORT "Final-Recipient: rfc822; taro@example.jp\nAction: delivered\nStatus: 2.1.5\n\n"
                "Final-Recipient: rfc822; jiro@example.jp\nAction: relayed\nStatus: 2.1.9\n\n--b--\n",
         "dsn: taro@example.jp delivered 0 2.1.5 - delivered none; jiro@example.jp relayed 0 2.1.9 - "
         "delivered none"},
        /* The server's own status says more than 5.0.0. */
        {REPORT "Final-Recipient: rfc822; taro@example.jp\nAction: failed\nStatus: 5.0.0\n"
                "Diagnostic-Code: smtp; 550 5.1.1 User unknown\n\n--b--\n",
         "dsn: taro@example.jp failed 550 5.1.1 - no_such_user hard"},
        /* What the reporting server files it under, where nothing else is said. */
        {REPORT "Final-Recipient: rfc822; taro@example.jp\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: "
                "smtp;550 sorry\n"
                "X-PowerMTA-BounceCategory: quota-issues\n\n--b--\n",
         "dsn: taro@example.jp failed 550 5.0.0 - mailbox_full soft"},
        /* A subject that speaks of complaints is no structure. */
        {"From: MAILER-DAEMON@x.example\nSubject: Undeliverable: Abuse report\nMIME-Version: "
         "1.0\nContent-Type: multipart/report; "
         "boundary=\"b\"\n\n--b\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; "
         "taro@example.jp\nAction: "
         "failed\nStatus: 5.1.1\n\n--b\nContent-Type: message/rfc822\n\nFrom: a@b.example\nTo: "
         "c@d.example\nSubject: x\n\n--b--\n",
         "dsn: taro@example.jp failed 0 5.1.1 - no_such_user hard"},
        /* A program's words are no reply. */
        {REPORT "Final-Recipient: rfc822; taro@example.jp\nAction: failed\nStatus: 5.3.0\n"
                "Diagnostic-Code: x-unix; unknown mailer error 1\n\n--b--\n",
         "dsn: taro@example.jp failed 0 5.3.0 - mailer soft"},
        /* RFC 6533: UTF-8 as it is, and encoded for a 7-bit way. RFC 3461: xtext that nobody decoded. */
        {REPORT "Final-Recipient: utf-8; \\x{592A}\\x{90CE}@example.jp\nAction: failed\nStatus: 5.1.1\n\n"
                "Final-Recipient: rfc822; taro+2Bnews@example.jp\nAction: failed\nStatus: 5.1.1\n\n--b--\n",
         "dsn: 太郎@example.jp failed 0 5.1.1 - no_such_user hard; taro+news@example.jp failed 0 5.1.1 - "
         "no_such_user hard"},
        /* X.400: the address behind the gateway. */
        {REPORT "Final-Recipient: x400; /RFC-822=taro(a)example.jp/ADMD= /C=jp/\nAction: failed\nStatus: "
                "5.1.1\n\n--b--\n",
         "dsn: taro@example.jp failed 0 5.1.1 - no_such_user hard"},
    };
    check_all(samples, COUNT(samples));
}

TEST(delivery_status_fields_are_found_where_they_do_not_belong)
{
    static const struct sample samples[] = {
        /* In plain text, without any structure. */
        {DAEMON "\nSorry.\n\nReporting-MTA: dns; mx.example.net\n\nFinal-Recipient: rfc822; "
                "taro@example.jp\nAction: failed\n"
                "Status: 5.1.1\n\n",
         "dsn: taro@example.jp failed 0 5.1.1 - no_such_user hard"},
        /* A multipart whose boundary never comes. */
        {DAEMON
         "MIME-Version: 1.0\nContent-Type: multipart/report; boundary=\"never\"\n\nFinal-Recipient: rfc822; "
         "taro@example.jp\nAction: failed\nStatus: 5.1.1\n\n",
         "dsn: taro@example.jp failed 0 5.1.1 - no_such_user hard"},
        /* Inside a mail inside the mail. */
        {DAEMON "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"o\"\n\n--o\nContent-Type: "
                "message/rfc822\n\n" REPORT
                "Final-Recipient: rfc822; taro@example.jp\nAction: failed\nStatus: 5.2.2\n\n--b--\n\n--o--\n",
         "dsn: taro@example.jp failed 0 5.2.2 - mailbox_full soft"},
    };
    check_all(samples, COUNT(samples));
}

TEST(prose_gives_recipients_and_what_was_said_of_each)
{
    static const struct sample samples[] = {
        /* Addresses with their reasons, each its own. */
        {DAEMON "\nThe following addresses failed:\n\n  taro@example.jp\n    SMTP error from remote mail "
                "server after RCPT "
                "TO:<taro@example.jp>:\n    host mx.example.jp [192.0.2.1]: 550 5.1.1 User unknown\n  "
                "jiro@example.jp\n"
                "    host mx.example.jp [192.0.2.1]: 552 5.2.2 Mailbox full\n\n------ This is a copy of the "
                "message ------\n\n"
                "From: x@example.com\nTo: saburo@example.jp\n",
         "text: taro@example.jp failed 550 5.1.1 rcpt no_such_user hard; jiro@example.jp failed 552 5.2.2 - "
         "mailbox_full soft"},
        /* A list, then the talk of the servers: one answer by name, one to DATA for all. */
        {DAEMON "\n   ----- Transcript of session follows -----\n... while talking to mx.example.jp.:\n>>> "
                "RCPT To:<taro@example.jp>\n"
                "<<< 550 5.1.1 <taro@example.jp>... User unknown\n550 <taro@example.jp>... User unknown\n"
                "... while talking to mx.example.net.:\n>>> DATA\n<<< 554 5.7.1 This message is spam\n554 "
                "<jiro@example.net>... "
                "Service unavailable\n\n   ----- Unsent message follows -----\nReceived: by a\nFrom: "
                "b@example.com\n",
         "text: taro@example.jp failed 550 5.1.1 rcpt no_such_user hard; jiro@example.net failed 554 5.7.1 "
         "data spam block"},
        /* A field of the header names who failed; the prose has nothing but a greeting. */
        {DAEMON
         "X-Failed-Recipients: taro@example.jp\n\nDear b-abc@bounce.example.jp,\n\nthe mailbox is full.\n",
         "text: taro@example.jp failed 0  - mailbox_full soft"},
        /* Whom to ask is not who failed. */
        {DAEMON "\nFor help write to postmaster@example.net or contact desk@example.net.\nRecipient: "
                "<taro@example.jp>\n"
                ">>> RCPT TO:<taro@example.jp>\n<<< 550 No such user here\n",
         "text: taro@example.jp failed 550  rcpt no_such_user hard"},
        /* Nobody is named before the copy: it was for whom the copy says. */
        {DAEMON "\nYour mail could not be delivered because its size exceeds the maximum message size.\n\n"
                "--- Original message follows ---\n\nReceived: by a\nFrom: x@example.com\nTo: "
                "taro@example.jp\nSubject: s\n",
         "text: taro@example.jp failed 0  - too_large soft"},
        /* The answer stands above the list of those it is about. */
        {DAEMON "\nCould not be delivered because of\n\n550 5.1.1 User unknown\n\nThe following recipients "
                "were affected:\n"
                "    taro@example.jp\n    jiro@example.jp\n",
         "text: taro@example.jp failed 550 5.1.1 - no_such_user hard; jiro@example.jp failed 550 5.1.1 - "
         "no_such_user hard"},
        /* A warning is not the end. */
        {"From: MAILER-DAEMON@mx.example.net\nSubject: Warning: could not send message for past 4 "
         "hours\n\n<taro@example.jp>: "
         "connect to mx.example.jp[192.0.2.1]: Connection timed out\n",
         "text: taro@example.jp delayed 0  connect network none"},
    };
    check_all(samples, COUNT(samples));
}

TEST(the_phase_tells_a_filter_from_an_unknown_user_and_the_sender_from_the_recipient)
{
    static const struct sample samples[] = {
        {DAEMON "\n<taro@example.jp>: host mx.example.jp[192.0.2.1] said: 550 Unknown user (in reply to end "
                "of DATA command)\n",
         "text: taro@example.jp failed 550  eod filtered block"},
        {DAEMON "\n<taro@example.jp>: host mx.example.jp[192.0.2.1] said: 550 Unknown user (in reply to RCPT "
                "TO command)\n",
         "text: taro@example.jp failed 550  rcpt no_such_user hard"},
        {DAEMON "\n<taro@example.jp>: host mx.example.jp[192.0.2.1] said: 550 Unknown user (in reply to MAIL "
                "FROM command)\n",
         "text: taro@example.jp failed 550  mail sender_rejected block"},
        /* Gmail numbers the steps. */
        {DAEMON "\n     taro@example.jp\n\nThe error that the other server returned was: 550 550 Unknown "
                "user (state 18).\n",
         "text: taro@example.jp failed 550  eod filtered block"},
    };
    check_all(samples, COUNT(samples));
}

TEST(prose_is_read_in_its_charset)
{
    static const struct sample samples[] = {
        /* ISO-2022-JP: メールアドレスが見つかりません */
        {DAEMON "MIME-Version: 1.0\nContent-Type: text/plain; charset=ISO-2022-JP\n\n<taro@example.jp>\n"
                "\x1b$B%a!<%k%\"%I%l%9$,8+$D$+$j$^$;$s\x1b(B\n",
         "text: taro@example.jp failed 0  - no_such_user hard"},
        /* CP932, said, in base64; and the same said to be nothing. */
        {DAEMON "MIME-Version: 1.0\nContent-Type: text/plain; charset=Shift_JIS\nContent-Transfer-Encoding: "
                "base64\n\n"
                "PHRhcm9AZXhhbXBsZS5qcD4KiLaQ5oNBg2iDjINYgqqMqYLCgqmC6ILcgrmC8Qo=\n",
         "text: taro@example.jp failed 0  - no_such_user hard"},
        {DAEMON "\n<taro@example.jp>"
                "\n\203\201\201\133\203\213\203\173\203\142\203\116\203\130\202\252\210\352\224\164\202\305"
                "\202\267\n",
         "text: taro@example.jp failed 0  - mailbox_full soft"},
        /* KOI8-R: пользователь не найден */
        {DAEMON "MIME-Version: 1.0\nContent-Type: text/plain; charset=koi8-r\n\n<taro@example.jp>\n"
                "\xd0\xcf\xcc\xd8\xda\xcf\xd7\xc1\xd4\xc5\xcc\xd8 \xce\xc5 \xce\xc1\xca\xc4\xc5\xce\n",
         "text: taro@example.jp failed 0  - no_such_user hard"},
        /* HTML alone. */
        {DAEMON "MIME-Version: 1.0\nContent-Type: text/html; "
                "charset=utf-8\n\n<html><style>p{x:y}</style><p>&lt;taro@example.jp&gt;:"
                "</p><p>The recipient&#39;s <b>mailbox</b> is full</p></html>\n",
         "text: taro@example.jp failed 0  - mailbox_full soft"},
    };
    check_all(samples, COUNT(samples));
}

TEST(feedback_is_no_bounce)
{
    static const struct sample samples[] = {
        {"From: fbl@example.net\nSubject: Abuse report\nMIME-Version: 1.0\nContent-Type: multipart/report; "
         "report-type=feedback-report; "
         "boundary=\"b\"\n\n--b\nContent-Type: text/plain\n\n550 5.1.1 user unknown\n\n--b\nContent-Type: "
         "message/feedback-report\n\nFeedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: "
         "<taro@example.jp>\nOriginal-Rcpt-To: "
         "<jiro@example.jp>\n\n--b\nContent-Type: message/rfc822\n\nFrom: news@example.com\nTo: "
         "someone@example.jp\n\nx\n--b--\n",
         "arf: taro@example.jp - 0  - feedback none; jiro@example.jp - 0  - feedback none"},
        /* Without the field: whom the original was for. */
        {"From: fbl@example.net\nMIME-Version: 1.0\nContent-Type: multipart/report; "
         "report-type=feedback-report; boundary=\"b\"\n\n"
         "--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nVersion: "
         "0.1\n\n--b\nContent-Type: "
         "message/rfc822\n\nFrom: news@example.com\nTo: taro@example.jp\n\nx\n--b--\n",
         "arf: taro@example.jp - 0  - feedback none"},
        /* Microsoft's programme: only a field in the mail that comes back. */
        {"From: staff@hotmail.com\nSubject: complaint about message from 192.0.2.1\nMIME-Version: "
         "1.0\nContent-Type: "
         "multipart/mixed; boundary=\"b\"\n\n--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: "
         "taro@example.jp\nTo: x@example.jp\nSubject: s\n\nx\n--b--\n",
         "arf: taro@example.jp - 0  - feedback none"},
        /* Fields without a part of their own; and a subject over the mail that somebody complained about. */
        {"From: fbl@example.net\nSubject: x\n\nFeedback-Type: abuse\nUser-Agent: x\nRemoval-Recipient: "
         "taro@example.jp\n",
         "arf: taro@example.jp - 0  - feedback none"},
        {"From: fbl@example.net\nSubject: Email Feedback Report for IP 192.0.2.1\nMIME-Version: "
         "1.0\nContent-Type: "
         "multipart/mixed; boundary=\"b\"\n\n--b\nContent-Type: message/rfc822\n\nFrom: "
         "news@example.com\nTo: "
         "taro@example.jp\n\nx\n--b--\n",
         "arf: taro@example.jp - 0  - feedback none"},
        /* A service's notification in JSON, folded inside a string. */
        {"From: no-reply@sns.amazonaws.com\nSubject: AWS Notification "
         "Message\n\n{\"notificationType\":\"Complaint\",\"complaint\":"
         "{\"complainedRecipients\":[{\"emailAddress\":\"taro@exa!\n "
         "mple.jp\"}],\"complaintFeedbackType\":\"abuse\"},\"mail\":{}}\n",
         "arf: taro@example.jp - 0  - feedback none"},
    };
    check_all(samples, COUNT(samples));
}

TEST(notifications_in_json_are_read_as_what_they_say)
{
    static const struct sample samples[] = {
        {"From: no-reply@sns.amazonaws.com\nSubject: "
         "x\n\n{\"notificationType\":\"Bounce\",\"bounce\":{\"bounceType\":\"Permanent\","
         "\"bouncedRecipients\":[{\"emailAddress\":\"taro@example.jp\",\"action\":\"failed\",\"status\":\"5."
         "1.1\","
         "\"diagnosticCode\":\"smtp; 550 5.1.1 user unknown\"}]},\"mail\":{}}\n",
         "text: taro@example.jp failed 550 5.1.1 - no_such_user hard"},
        {"From: no-reply@sns.amazonaws.com\nSubject: "
         "x\n\n{\"notificationType\":\"Delivery\",\"delivery\":{\"recipients\":"
         "[\"taro@example.jp\"],\"smtpResponse\":\"250 2.6.0 ok\"},\"mail\":{}}\n",
         "text: taro@example.jp delivered 0  - delivered none"},
    };
    check_all(samples, COUNT(samples));
}

TEST(automatic_replies_are_no_bounces_and_people_are_nothing)
{
    static const struct sample samples[] = {
        {"From: Taro <taro@example.jp>\nAuto-Submitted: auto-replied\nSubject: Re: news\n\nThe user is "
         "unknown to the office.\n",
         "auto_reply: taro@example.jp - 0  - auto_reply none"},
        {"From: taro@example.jp\nSubject: Automatic reply: news\n\nI left. My mailbox is full.\n",
         "auto_reply: taro@example.jp - 0  - auto_reply none"},
        {"From: taro@example.jp\nSubject: =?UTF-8?B?6Ieq5YuV6L+U5L+h?=\n\nx\n",
         "auto_reply: taro@example.jp - 0  - auto_reply none"},
        {"From: taro@example.jp\nPrecedence: auto_reply\nSubject: x\n\nx\n",
         "auto_reply: taro@example.jp - 0  - auto_reply none"},
        {"From: taro@example.jp\nSubject: Re: your order\n\nPlease write to jiro@example.jp, my old account "
         "is closed.\n",
         "none:"},
        {"From: taro@example.jp\nSubject: 550 user unknown\n\nWhy did I get 550 5.1.1 for jiro@example.jp?\n",
         "none:"},
        {"From: Taro <taro@example.jp>\nReturn-Path: <taro@example.jp>\nSubject: Re: Undelivered Mail "
         "Returned to Sender\n\nI "
         "got this:\n> <jiro@example.jp>: host mx said: 550 5.1.1 User unknown\n",
         "none:"},
        {"From: shop@example.com\nReturn-Path: <bounces+1@example.com>\nSubject: Delivery report: your "
         "parcel\n\nIt could not be "
         "delivered, the address was unknown. Write to help@example.com\n",
         "none:"},
        {"", "none:"},
    };
    check_all(samples, COUNT(samples));
}

TEST(a_report_tells_of_the_original_and_to_whom_it_came)
{
    struct rig g;
    rig_open(&g);
    feed(
        &g,
        slice_cstr(
            "Delivered-To: b-xyz@bounce.example.jp\n" REPORT
            "Reporting-MTA: dns; mx.example.net\nOriginal-Envelope-Id: m42\n\nFinal-Recipient: rfc822; "
            "taro@example.jp\nOriginal-Recipient: rfc822;alias@example.jp\nAction: failed\nStatus: 5.1.1\n"
            "Remote-MTA: dns; mx.example.jp (192.0.2.1)\n\n--b\nContent-Type: message/rfc822\n\nReturn-Path: "
            "<b-xyz@bounce.example.jp>\nMessage-ID: <1@example.jp>\nFrom: News <news@example.jp>\nTo: "
            "alias@example.jp\nSubject: =?UTF-8?B?5aSP?=\nList-Id: <news.example.jp>\n\nx\n--b--\n"));
    CHECK_INT(g.r.nto, 2);
    CHECK_STR(g.r.to[0], S("b-xyz@bounce.example.jp"));
    CHECK_STR(g.r.to[1], S("b-abc@bounce.example.jp"));
    CHECK_STR(g.r.envelope_id, S("m42"));
    CHECK_STR(g.r.reporting_mta, S("mx.example.net"));
    CHECK_STR(g.r.original.return_path, S("<b-xyz@bounce.example.jp>"));
    CHECK_STR(g.r.original.message_id, S("<1@example.jp>"));
    CHECK_STR(g.r.original.subject, S("夏"));
    CHECK_STR(g.r.original.list_id, S("<news.example.jp>"));
    CHECK_INT(g.r.nrecipients, 1);
    CHECK_STR(g.r.recipients[0].original, S("alias@example.jp"));
    CHECK_STR(g.r.recipients[0].remote_mta, S("mx.example.jp"));
    rig_close(&g);
}

TEST(hostile_mails_cost_little_and_break_nothing)
{
    struct rig g;
    struct buf b = {0};
    rig_open(&g);
    /* Multiparts in multiparts, far deeper than anybody looks. */
    for (int i = 0; i < 3000; i++)
        buf_printf(&b, "Content-Type: multipart/mixed; boundary=\"b%d\"\n\n--b%d\n", i, i);
    feed(&g, buf_slice(&b));
    CHECK_INT(g.r.format, RETURNED_NONE);
    /* Mails in mails. */
    buf_clear(&b);
    for (int i = 0; i < 3000; i++)
        buf_printf(&b, "Content-Type: message/rfc822\n\n");
    feed(&g, buf_slice(&b));
    CHECK_INT(g.r.format, RETURNED_NONE);
    /* More recipients than are kept, of one report. */
    buf_clear(&b);
    buf_printf(&b, "%s", REPORT);
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "Final-Recipient: rfc822; u%d@example.jp\nAction: failed\nStatus: 5.1.1\n\n", i);
    feed(&g, buf_slice(&b));
    CHECK_INT(g.r.nrecipients, RETURNED_RECIPIENTS_MAX);
    /* One header field of half a megabyte, and a NUL. */
    buf_clear(&b);
    buf_printf(&b, "From: MAILER-DAEMON@x.example\nSubject: ");
    for (int i = 0; i < 100000; i++)
        buf_printf(&b, "=?x? ");
    buf_add(&b, "\n\n<a@b.example>: 550\0 no\n", 24);
    feed(&g, buf_slice(&b));
    CHECK(g.r.subject.n <= 4096);
    /* As many bytes as there may be, and one more. */
    struct err e = {0};
    struct slice too_long = {b.p, (size_t)RETURNED_BYTES_MAX + 1};
    CHECK_INT(returned_read(g.reader, too_long, &g.r, &e), ERR_LIMIT);
    CHECK(strstr(e.text, "67108865 bytes"));
    buf_free(&b);
    rig_close(&g);
}

TEST(classify_says_a_mail_in_one_line_of_json)
{
    struct rig g;
    struct buf b = {0};
    rig_open(&g);
    feed(&g, S(DAEMON "\n<taro@example.jp>: 550 a caixa do destinatário está lotada\n"));
    classify_mail_json("a \"b\".eml", &g.r, &b);
    CHECK_STR(buf_slice(&b),
              S("{\"file\":\"a \\\"b\\\".eml\",\"format\":\"text\",\"recipients\":[{\"recipient\":"
                "\"taro@example.jp\",\"action\":\"failed\",\"status\":null,\"code\":550,\"phase\":null,"
                "\"class\":\"mailbox_full\",\"kind\":\"soft\",\"rule\":\"mail:text.full\","
                "\"text\":\"<taro@example.jp>: 550 a caixa do destinatário está lotada\"}]}"));
    buf_clear(&b);
    classify_mail_text("m.eml", &g.r, &b);
    CHECK_STR(buf_slice(&b),
              S("m.eml: text\n  taro@example.jp  failed 550  mailbox_full (soft)  by mail:text.full\n"
                "    <taro@example.jp>: 550 a caixa do destinatário está lotada\n"));
    buf_free(&b);
    rig_close(&g);
}

TEST(every_phrase_takes_its_samples_and_leaves_its_near_misses)
{
    struct slice text = test_file("lua/hato/returned.rules");
    struct rule_work *work = rule_work_new();
    struct arena a = {0};
    struct rule_file file;
    struct rules *rules;
    struct err e = {0};

    CHECK_INT(rule_file_read(text, "returned.rules", "", &a, &file, &e), 0);
    CHECK_INT(rules_compile(file.specs, file.n, &rules, &e), 0);
    CHECK(file.nsamples > 60);
    for (size_t i = 0; i < file.nsamples; i++) {
        const struct rule_sample *s = &file.samples[i];
        struct rule_in in = {.isp = SLICE_NONE, .phase = RULE_PHASE_UNKNOWN, .text = s->text};
        bool found = false;
        for (size_t k = s->spec; k < file.n && slice_eq(file.specs[k].name, file.specs[s->spec].name); k++)
            found |= rules_one_matches(rules, work, k, &in);
        if (found == s->miss)
            test_fail(__FILE__, __LINE__, "returned.rules:%d: %s %.*s", s->line,
                      s->miss ? "is not to match" : "does not match", SLICE_FMT(s->text));
    }
    rules_free(rules);
    rule_work_free(work);
    arena_free(&a);
}
