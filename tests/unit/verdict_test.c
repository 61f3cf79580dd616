/* verdict_test.c - what follows from an answer in each phase, and which class published replies get. */
#include "base/err.h"
#include "delivery/verdict.h"
#include "format/rule_file.h"
#include "test.h"

static struct smtp_reply_parser parser;
static struct rules *rules;
static struct rule_work *work;

static struct verdict judge(const char *text, enum smtp_phase phase, struct slice isp)
{
    struct buf line = {0};
    const struct smtp_reply *r = NULL;
    struct verdict v = {.rule = "not a reply"};

    if (!rules) {
        struct err e;
        if (rules_compile_shipped(NULL, 0, &rules, &e)) {
            v.rule = "no rules";
            return v;
        }
        work = rule_work_new();
    }
    buf_adds(&line, slice_cstr(text));
    buf_adds(&line, S("\r\n"));
    struct slice in = buf_slice(&line);
    smtp_reply_reset(&parser);
    if (smtp_reply_next(&parser, &in, &r) == 0)
        verdict_give(&(struct verdict_in){CAUSE_REPLY, phase, r, isp, rules, work}, &v);
    buf_free(&line);
    return v;
}

enum { FINAL = 1, CHARGED = 2, NEXT = 4, OVER = 8, AMBIGUOUS = 16, DELIVERED = 32 };

static int flags_of(const struct verdict *v)
{
    return (v->final ? FINAL : 0) | (v->charged ? CHARGED : 0) | (v->try_next_host ? NEXT : 0) |
           (v->session_over ? OVER : 0) | (v->ambiguous ? AMBIGUOUS : 0) | (v->delivered ? DELIVERED : 0);
}

TEST(verdict_of_a_reply_depends_on_phase_and_code)
{
    static const struct {
        const char *reply;
        enum smtp_phase phase;
        enum verdict_scope scope;
        int flags;
    } cases[] = {
        {"250 2.0.0 queued", SMTP_PHASE_EOD, SCOPE_MESSAGE, DELIVERED | FINAL | CHARGED},
        {"421 closing", SMTP_PHASE_BANNER, SCOPE_SITE, NEXT | OVER},
        {"450 local trouble", SMTP_PHASE_BANNER, SCOPE_SITE, NEXT | OVER},
        {"421 too many connections", SMTP_PHASE_BANNER, SCOPE_SITE, OVER},
        {"421 4.7.0 poor reputation", SMTP_PHASE_BANNER, SCOPE_SITE, OVER},
        {"554 no", SMTP_PHASE_BANNER, SCOPE_SOURCE, OVER},
        {"521 no mail here", SMTP_PHASE_BANNER, SCOPE_SOURCE, OVER},
        {"421 x", SMTP_PHASE_EHLO, SCOPE_SESSION, OVER},
        {"550 bad name", SMTP_PHASE_EHLO, SCOPE_SOURCE, OVER},
        {"454 4.7.0 TLS not available", SMTP_PHASE_STARTTLS, SCOPE_SITE, NEXT | OVER},
        {"554 5.7.0 no", SMTP_PHASE_STARTTLS, SCOPE_SOURCE, OVER},
        {"454 x", SMTP_PHASE_AUTH, SCOPE_SESSION, OVER},
        {"535 5.7.8 no", SMTP_PHASE_AUTH, SCOPE_SOURCE, OVER},
        {"421 x", SMTP_PHASE_MAIL, SCOPE_SESSION, CHARGED | OVER},
        {"451 x", SMTP_PHASE_MAIL, SCOPE_MESSAGE, CHARGED},
        {"550 5.1.8 no such sender", SMTP_PHASE_MAIL, SCOPE_SENDER, 0},
        {"550 5.1.1 odd, but at MAIL", SMTP_PHASE_MAIL, SCOPE_SENDER, 0},
        {"552 5.3.4 too big", SMTP_PHASE_MAIL, SCOPE_MESSAGE, FINAL | CHARGED},
        {"450 4.2.0 greylisted", SMTP_PHASE_RCPT, SCOPE_RECIPIENT, CHARGED},
        {"421 x", SMTP_PHASE_RCPT, SCOPE_SESSION, CHARGED | OVER},
        {"550 5.1.1 x", SMTP_PHASE_RCPT, SCOPE_RECIPIENT, FINAL | CHARGED},
        {"450 5.1.1 the code decides", SMTP_PHASE_RCPT, SCOPE_RECIPIENT, CHARGED},
        {"550 4.2.2 the code decides", SMTP_PHASE_RCPT, SCOPE_RECIPIENT, FINAL | CHARGED},
        {"250 out of step", SMTP_PHASE_DATA, SCOPE_SESSION, CHARGED | OVER},
        {"354 out of step", SMTP_PHASE_RCPT, SCOPE_SESSION, CHARGED | OVER},
        {"354 out of step", SMTP_PHASE_EOD, SCOPE_SESSION, CHARGED | OVER | AMBIGUOUS},
        {"220 out of step", SMTP_PHASE_BANNER, SCOPE_SITE, OVER},
        {"250-taken\r\n550 or not", SMTP_PHASE_EOD, SCOPE_SESSION, CHARGED | OVER | AMBIGUOUS},
        {"550-no\r\n250 or yes", SMTP_PHASE_RCPT, SCOPE_SESSION, CHARGED | OVER},
        {"550-no\r\n554 no", SMTP_PHASE_RCPT, SCOPE_RECIPIENT, FINAL | CHARGED},
        {"451 x", SMTP_PHASE_DATA, SCOPE_MESSAGE, CHARGED},
        {"554 5.6.0 x", SMTP_PHASE_DATA, SCOPE_MESSAGE, FINAL | CHARGED},
        {"421 x", SMTP_PHASE_EOD, SCOPE_SESSION, CHARGED | OVER},
        {"451 x", SMTP_PHASE_EOD, SCOPE_MESSAGE, CHARGED},
        {"550 spam", SMTP_PHASE_EOD, SCOPE_MESSAGE, FINAL | CHARGED},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct verdict v = judge(cases[i].reply, cases[i].phase, SLICE_NONE);
        if (v.scope != cases[i].scope || flags_of(&v) != cases[i].flags) {
            test_fail(__FILE__, __LINE__, "%s at %s: scope %s, flags %d, rule %s", cases[i].reply,
                      smtp_phase_name(cases[i].phase), verdict_scope_name(v.scope), flags_of(&v), v.rule);
            return;
        }
    }
}

TEST(verdict_without_a_reply)
{
    static const struct {
        enum verdict_cause cause;
        enum smtp_phase phase;
        enum verdict_scope scope;
        int flags;
        enum reply_class cls;
        enum class_kind kind;
    } cases[] = {
        {CAUSE_CONNECT_FAILED, SMTP_PHASE_CONNECT, SCOPE_SITE, NEXT | OVER, CLASS_NETWORK, KIND_SOFT},
        {CAUSE_TIMEOUT, SMTP_PHASE_BANNER, SCOPE_SITE, NEXT | OVER, CLASS_NETWORK, KIND_SOFT},
        {CAUSE_LOST, SMTP_PHASE_BANNER, SCOPE_SITE, NEXT | OVER, CLASS_NETWORK, KIND_SOFT},
        {CAUSE_NOT_SMTP, SMTP_PHASE_BANNER, SCOPE_SITE, NEXT | OVER, CLASS_PROTOCOL, KIND_SOFT},
        {CAUSE_TIMEOUT, SMTP_PHASE_EHLO, SCOPE_SESSION, OVER, CLASS_NETWORK, KIND_SOFT},
        {CAUSE_TLS_FAILED, SMTP_PHASE_STARTTLS, SCOPE_SITE, NEXT | OVER, CLASS_TLS_FAILED, KIND_SOFT},
        {CAUSE_LOST, SMTP_PHASE_MAIL, SCOPE_SESSION, CHARGED | OVER, CLASS_NETWORK, KIND_SOFT},
        {CAUSE_LOST, SMTP_PHASE_DATA, SCOPE_SESSION, CHARGED | OVER, CLASS_NETWORK, KIND_SOFT},
        {CAUSE_LOST, SMTP_PHASE_EOD, SCOPE_SESSION, CHARGED | OVER | AMBIGUOUS, CLASS_NETWORK, KIND_SOFT},
        {CAUSE_TIMEOUT, SMTP_PHASE_EOD, SCOPE_SESSION, CHARGED | OVER | AMBIGUOUS, CLASS_NETWORK, KIND_SOFT},
        {CAUSE_NOT_SMTP, SMTP_PHASE_EOD, SCOPE_SESSION, CHARGED | OVER | AMBIGUOUS, CLASS_PROTOCOL,
         KIND_SOFT},
        {CAUSE_OVER_SIZE, SMTP_PHASE_EHLO, SCOPE_MESSAGE, FINAL, CLASS_TOO_LARGE, KIND_SOFT},
        {CAUSE_NO_SMTPUTF8, SMTP_PHASE_EHLO, SCOPE_RECIPIENT, FINAL, CLASS_NOT_RFC, KIND_BLOCK},
        {CAUSE_NXDOMAIN, SMTP_PHASE_CONNECT, SCOPE_RECIPIENT, FINAL, CLASS_NO_SUCH_DOMAIN, KIND_HARD},
        {CAUSE_NO_ADDRESS, SMTP_PHASE_CONNECT, SCOPE_RECIPIENT, FINAL, CLASS_NO_SUCH_DOMAIN, KIND_HARD},
        {CAUSE_NULL_MX, SMTP_PHASE_CONNECT, SCOPE_RECIPIENT, FINAL, CLASS_NOT_ACCEPTING, KIND_HARD},
        {CAUSE_DNS_FAILED, SMTP_PHASE_CONNECT, SCOPE_SITE, 0, CLASS_NETWORK, KIND_SOFT},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct verdict v;
        verdict_give(&(struct verdict_in){cases[i].cause, cases[i].phase, .isp = SLICE_NONE}, &v);
        if (v.scope != cases[i].scope || flags_of(&v) != cases[i].flags || v.cls != cases[i].cls ||
            v.kind != cases[i].kind) {
            test_fail(__FILE__, __LINE__, "case %zu: scope %s, flags %d, class %s", i,
                      verdict_scope_name(v.scope), flags_of(&v), class_name(v.cls));
            return;
        }
    }
}

TEST(verdict_classes_of_common_replies)
{
    static const struct {
        const char *reply;
        enum smtp_phase phase;
        const char *want;
    } cases[] = {
        {"550 5.1.1 <a@example.jp>: Recipient address rejected", SMTP_PHASE_RCPT, "no_such_user"},
        {"550 5.7.1 <a@example.jp>: Recipient address rejected: User unknown", SMTP_PHASE_RCPT,
         "no_such_user"},
        {"550 No such user here", SMTP_PHASE_RCPT, "no_such_user"},
        {"550 Unknown user a@example.jp", SMTP_PHASE_RCPT, "no_such_user"},
        {"550 5.2.1 <a@example.jp>... User Unknown", SMTP_PHASE_RCPT, "no_such_user"},
        {"550 5.1.6 recipient no longer on server", SMTP_PHASE_RCPT, "moved"},
        {"551 not here any more", SMTP_PHASE_RCPT, "moved"},
        {"550 Host unknown", SMTP_PHASE_RCPT, "no_such_domain"},
        {"556 no mail", SMTP_PHASE_RCPT, "not_accepting"},
        {"550 5.1.10 null MX", SMTP_PHASE_RCPT, "not_accepting"},
        {"550 5.2.1 account is disabled", SMTP_PHASE_RCPT, "inactive"},
        {"452 4.2.2 full", SMTP_PHASE_RCPT, "mailbox_full"},
        {"550 the mailbox is full", SMTP_PHASE_RCPT, "mailbox_full"},
        {"552 x", SMTP_PHASE_RCPT, "mailbox_full"},
        {"552 x", SMTP_PHASE_EOD, "too_large"},
        {"552 5.3.4 Message size exceeds fixed limit", SMTP_PHASE_EOD, "too_large"},
        {"550 5.2.0 Message Filtered", SMTP_PHASE_EOD, "filtered"},
        {"554 5.7.1 Client host [192.0.2.1] blocked using zen.example", SMTP_PHASE_RCPT, "blocked"},
        {"550 blocked, see https://www.spamhaus.org/lookup", SMTP_PHASE_EOD, "blocked"},
        {"550 5.7.606 Access denied, banned sending IP", SMTP_PHASE_MAIL, "blocked"},
        {"554 poor reputation", SMTP_PHASE_BANNER, "low_reputation"},
        {"501 5.1.8 Sender address rejected", SMTP_PHASE_MAIL, "sender_rejected"},
        {"450 4.1.8 <x@example.jp>: Sender address rejected: Domain not found", SMTP_PHASE_RCPT,
         "sender_rejected"},
        {"450 4.7.1 IP name lookup failed", SMTP_PHASE_RCPT, "no_ptr"},
        {"550 5.7.25 no PTR", SMTP_PHASE_RCPT, "no_ptr"},
        {"550 5.7.26 unauthenticated", SMTP_PHASE_EOD, "auth_failed"},
        {"550 rejected by DMARC policy", SMTP_PHASE_EOD, "auth_failed"},
        {"421 4.7.0 Try again later, closing connection", SMTP_PHASE_EOD, "rate_limited"},
        {"451 too many messages, slow down", SMTP_PHASE_MAIL, "rate_limited"},
        {"421 too many concurrent SMTP connections", SMTP_PHASE_BANNER, "too_many_connections"},
        {"450 4.2.0 Recipient address rejected: Greylisted", SMTP_PHASE_RCPT, "greylisted"},
        {"451 4.7.1 Greylisting in action, please try again later", SMTP_PHASE_RCPT, "greylisted"},
        {"554 5.7.9 Message not accepted for policy reasons", SMTP_PHASE_EOD, "policy"},
        {"550 Denied by policy", SMTP_PHASE_EOD, "policy"},
        {"530 5.7.0 Authentication required", SMTP_PHASE_MAIL, "security"},
        {"554 5.7.1 <a@example.jp>: Relay access denied", SMTP_PHASE_RCPT, "relaying_denied"},
        {"530 5.7.0 Must issue a STARTTLS command first", SMTP_PHASE_MAIL, "tls_failed"},
        {"550 message looks like spam", SMTP_PHASE_EOD, "spam"},
        {"550 Virus Detected; Content Rejected", SMTP_PHASE_EOD, "virus"},
        {"550 5.7.1 message content rejected", SMTP_PHASE_EOD, "content"},
        {"554 Transaction failed: Duplicate header", SMTP_PHASE_EOD, "not_rfc"},
        {"452 4.5.3 too many recipients", SMTP_PHASE_RCPT, "over_limit"},
        {"451 4.4.1 timed out", SMTP_PHASE_EOD, "network"},
        {"451 Temporary local problem", SMTP_PHASE_RCPT, "system"},
        {"452 4.4.5 Insufficient disk space; try again later", SMTP_PHASE_RCPT, "system_full"},
        {"504 Command parameter not implemented", SMTP_PHASE_RCPT, "protocol"},
        {"550 Requested action not taken: mailbox unavailable", SMTP_PHASE_RCPT, "no_such_user"},
        {"450 Requested action not taken: mailbox unavailable", SMTP_PHASE_RCPT, "unknown"},
        {"552-5.7.0 This message was blocked because its content presents a\r\n552 5.7.0 potential security "
         "issue",
         SMTP_PHASE_EOD, "policy"},
        {"550 spam@example.jp", SMTP_PHASE_RCPT, "unknown"}, /* an address is no complaint */
        {"550 <quota-exceeded@example.jp> refused", SMTP_PHASE_RCPT, "unknown"},
        {"550 unthrottled", SMTP_PHASE_RCPT, "unknown"}, /* only where a word begins */
        {"450", SMTP_PHASE_RCPT, "unknown"},
        {"550", SMTP_PHASE_RCPT, "unknown"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct verdict v = judge(cases[i].reply, cases[i].phase, SLICE_NONE);
        if (strcmp(class_name(v.cls), cases[i].want)) {
            test_fail(__FILE__, __LINE__, "%s: %s by %s, want %s", cases[i].reply, class_name(v.cls), v.rule,
                      cases[i].want);
            return;
        }
    }
}

static bool act_fits(struct slice act, const struct verdict *v, struct slice note)
{
    enum class_group g = class_group_of(v->cls);

    if (slice_eq(act, S("slow")) || slice_eq(act, S("suspend")) || slice_eq(act, S("sender")))
        return g == GROUP_RATE || g == GROUP_REPUTATION_BLOCK;
    if (slice_eq(act, S("connections")))
        return v->cls == CLASS_TOO_MANY_CONNECTIONS;
    if (slice_eq(act, S("reconnect")))
        return g == GROUP_RATE || v->cls == CLASS_TLS_FAILED || v->cls == CLASS_NETWORK;
    if (slice_eq(act, S("auth")))
        return v->cls == CLASS_AUTH_FAILED;
    if (slice_eq(act, S("mend")))
        return v->cls == CLASS_NOT_RFC || v->cls == CLASS_PROTOCOL || v->cls == CLASS_SENDER_REJECTED;
    if (slice_eq(act, S("content")))
        return g == GROUP_CONTENT || v->cls == CLASS_POLICY;
    if (slice_eq(act, S("permanent")))
        return v->kind == KIND_HARD && v->cls == CLASS_NO_SUCH_USER;
    if (slice_eq(act, S("inactive")))
        return v->cls == CLASS_INACTIVE;
    if (slice_eq(act, S("filtered")))
        return v->cls == CLASS_FILTERED;
    if (slice_eq(act, S("recipient")))
        return slice_eq(note, S("mailbox full"))
                   ? v->cls == CLASS_MAILBOX_FULL
                   : v->cls == CLASS_RATE_LIMITED || v->cls == CLASS_OVER_LIMIT || v->cls == CLASS_NETWORK;
    return false;
}

TEST(verdict_takes_published_replies_for_what_they_are)
{
    struct slice rest = test_file("tests/golden/replies/isp-replies.tsv");
    struct buf reply = {0};
    int judged = 0;

    while (rest.n) {
        struct slice line = slice_cut(rest, '\n', &rest), isp, text, phase, act, note;
        if (!line.n || line.p[0] == '#')
            continue;
        isp = slice_cut(line, '\t', &line);
        text = slice_cut(line, '\t', &line);
        phase = slice_cut(line, '\t', &line);
        act = slice_cut(line, '\t', &line);
        note = line;
        if (text.p[0] == '(')
            continue; /* no reply but a way of behaving */
        buf_clear(&reply);
        for (size_t i = 0; i < text.n;) {
            bool gap = slice_starts(slice_of(text.p + i, text.n - i), S("\xe2\x80\xa6"));
            buf_adds(&reply, gap ? S("left out") : slice_of(text.p + i, 1));
            i += gap ? 3 : 1;
        }
        enum smtp_phase at = slice_eq(phase, S("rcpt"))      ? SMTP_PHASE_RCPT
                             : slice_eq(phase, S("connect")) ? SMTP_PHASE_BANNER
                                                             : SMTP_PHASE_EOD;
        struct verdict v = judge(buf_cstr(&reply), at, isp);
        bool tried_again = reply.p[0] == '4' || at == SMTP_PHASE_BANNER || slice_find(note, S("retry")) >= 0;
        if (!act_fits(act, &v, note) || v.final == tried_again) {
            test_fail(__FILE__, __LINE__, "%.*s \"%s\": %s%s by %s, but %.*s", SLICE_FMT(isp),
                      buf_cstr(&reply), class_name(v.cls), v.final ? ", final" : "", v.rule, SLICE_FMT(act));
        }
        judged++;
    }
    CHECK_INT(judged, 101);
    buf_free(&reply);
}

TEST(verdict_a_hook_changes_the_class_and_not_the_end)
{
    struct verdict v = judge("550 5.1.1 S3150", SMTP_PHASE_RCPT, SLICE_NONE);

    CHECK(v.final && v.kind == KIND_HARD);
    verdict_override(&v, CLASS_BLOCKED, 550, SLICE_NONE, NULL);
    CHECK(v.final && v.kind == KIND_BLOCK && v.cls == CLASS_BLOCKED);
    CHECK_STR(slice_cstr(v.rule), S("reply hook"));
}

TEST(verdict_retry_follows_the_schedule_and_repeats_its_last_step)
{
    struct verdict_schedule s;
    static const int64_t minutes[] = {5, 30, 120, 360, 360, 360};

    verdict_schedule_default(&s);
    CHECK_INT(s.give_up_ms, 2LL * 24 * 3600 * 1000);
    for (unsigned i = 0; i < COUNT(minutes); i++) {
        int64_t want = minutes[i] * 60000, low = INT64_MAX, high = 0;
        for (uint64_t k = 0; k < 5000; k++) {
            int64_t got = verdict_retry_ms(&s, i + 1, k * 0x9e3779b97f4a7c15u);
            low = got < low ? got : low;
            high = got > high ? got : high;
        }
        CHECK(low >= want - want / 10 && low < want - want / 12);
        CHECK(high <= want + want / 10 && high > want + want / 12);
    }
    s = (struct verdict_schedule){.retry_ms = {0}, .nretry = 1};
    CHECK_INT(verdict_retry_ms(&s, 1, 12345), 0);
}

TEST(class_names_never_change_and_kinds_follow_the_code)
{
    static const struct {
        const char *name;
        int code;
        const char *kind, *group, *report;
    } cases[] = {
        {"no_such_user", 550, "hard", "invalid_recipient", "permanent: no such user"},
        {"moved", 551, "hard", "invalid_recipient", "permanent: no such user"},
        {"no_such_domain", 0, "hard", "invalid_recipient", "permanent: no such domain"},
        {"not_accepting", 521, "hard", "invalid_recipient", "permanent: no such domain"},
        {"not_accepting", 450, "soft", "invalid_recipient", "permanent: no such domain"},
        {"inactive", 550, "soft", "inactive_or_full", "temporary: unknown"},
        {"mailbox_full", 552, "soft", "inactive_or_full", "temporary: mailbox full"},
        {"filtered", 550, "block", "filtered", "temporary: refused"},
        {"low_reputation", 550, "block", "reputation_block", "temporary: refused"},
        {"too_many_connections", 421, "block", "rate", "temporary: refused"},
        {"security", 550, "block", "policy", "temporary: refused"},
        {"relaying_denied", 550, "soft", "policy", "temporary: refused"},
        {"tls_failed", 454, "soft", "policy", "temporary: connection failed"},
        {"not_rfc", 550, "block", "content", "temporary: refused"},
        {"over_limit", 552, "soft", "content", "temporary: too large"},
        {"network", 0, "soft", "transient_or_system", "temporary: connection failed"},
        {"greylisted", 450, "soft", "transient_or_system", "temporary: unknown"},
        {"expired", 0, "soft", "transient_or_system", "temporary: connection failed"},
        {"unknown", 550, "hard", "unknown", "permanent: unknown"},
        {"unknown", 450, "soft", "unknown", "temporary: unknown"},
        {"unknown", 0, "soft", "unknown", "unknown"},
        {"feedback", 0, "none", "not_a_bounce", "not an error"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        enum reply_class c;
        CHECK_INT(class_parse(slice_cstr(cases[i].name), &c), 0);
        CHECK_STR(slice_cstr(class_name(c)), slice_cstr(cases[i].name));
        CHECK_STR(slice_cstr(class_kind_name(class_kind_of(c, cases[i].code))), slice_cstr(cases[i].kind));
        CHECK_STR(slice_cstr(class_group_name(class_group_of(c))), slice_cstr(cases[i].group));
        CHECK_STR(slice_cstr(report_label_en(class_report_of(c, cases[i].code))),
                  slice_cstr(cases[i].report));
    }
    enum reply_class c = CLASS_SPAM;
    CHECK_INT(class_parse(S("no_such_usr"), &c), ERR_NOTFOUND);
    CHECK_INT(c, CLASS_SPAM);
    CHECK_STR(class_near(S("no_such_usr")), S("no_such_user"));
    for (int i = 0; i < CLASS_COUNT; i++) {
        CHECK_INT(class_parse(slice_cstr(class_name(i)), &c), 0);
        CHECK_INT(c, i);
    }
}
