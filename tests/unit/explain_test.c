/* explain_test.c - hato why: sentences that are true and that somebody can act on. */
#include "delivery/explain.h"
#include "delivery/steer.h"
#include "cmd.h"
#include "format/smtp_phase.h"
#include "journal_rig.h"
#include "test.h"

#include <jansson.h>

TEST(every_class_has_a_sentence)
{
    for (int c = 0; c < CLASS_COUNT; c++)
        CHECK(explain_class((enum reply_class)c) && strlen(explain_class((enum reply_class)c)) > 10);
}

static void say(struct buf *out, struct rec_event ev, const struct event_names *names)
{
    struct slice *texts[] = {&ev.recipient, &ev.text, &ev.class_name, &ev.rule, &ev.meta};
    for (size_t i = 0; i < COUNT(texts); i++)
        *texts[i] = slice_of(texts[i]->p, texts[i]->n);
    buf_clear(out);
    explain_event(out, &ev, names, 2);
}

TEST(each_event_says_what_it_means_for_the_message_and_the_person)
{
    enum { AT = 1000000000, RCPT = SMTP_PHASE_RCPT + 1 };
    static const struct {
        struct rec_event ev;
        const char *says;
    } rows[] = {
        {{.type = EVENT_ACCEPTED, .flags = REC_FLAG_TEST}, "accepted, stream not known, hato.send, a test"},
        {{.type = EVENT_ACCEPTED}, "accepted, stream not known, hato.send"},
        {{.type = EVENT_DEFERRED, .at_ms = AT, .attempt = 2, .charged = true, .phase = RCPT, .code = 451},
         "attempt 2 put off by the receiver at rcpt: 451\n  goes again as soon as it may"},
        {{.type = EVENT_DEFERRED, .at_ms = AT, .next_due_ms = AT + 60000},
         "could not be offered to the receiver: no answer\n  next try 1970-01-12 13:47:40 (1 min later); "
         "does "
         "not "
         "count as an attempt"},
        {{.type = EVENT_AMBIGUOUS, .at_ms = AT, .attempt = 1},
         "attempt 1: the connection to the receiver broke off between the last byte and the reply: no "
         "answer\n  it "
         "may have been taken; if it was, the next try delivers it a second time\n  goes again as soon as it "
         "may"},
        {{.type = EVENT_BOUNCED,
          .session = 7,
          .attempt = 1,
          .phase = RCPT,
          .code = 550,
          .class_name = S("no_such_user"),
          .rule = S("status 5.1.1")},
         "attempt 1 refused for good by the receiver at rcpt: 550\n  no_such_user (hard): the receiver knows "
         "no "
         "such user; rule: status 5.1.1"},
        {{.type = EVENT_BOUNCED,
          .session = 7,
          .attempt = 1,
          .phase = REC_PHASE_ASYNC,
          .text = S("550 full"),
          .class_name = S("mailbox_full")},
         "the receiver sent it back by mail: 550 full\n  mailbox_full (soft): the mailbox is full"},
        {{.type = EVENT_BOUNCED, .class_name = S("no_such_domain")},
         "ended without an attempt: no answer\n  no_such_domain (hard): the domain does not exist, or has "
         "nothing "
         "that takes mail"},
        {{.type = EVENT_EXPIRED, .attempt = 1, .phase = RCPT, .text = S("451 \x1b[2Jlater\xc2\x9b")},
         "given up after 1 attempt; last at rcpt: 451 \\x1b[2Jlater\\x9b"},
        {{.type = EVENT_COMPLAINED, .text = S("abuse"), .rule = S("feedback report")},
         "complained: abuse; rule: feedback report"},
    };
    struct event_names *names = event_names_new(NULL);
    struct buf b = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        say(&b, rows[i].ev, names);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].says));
    }
    buf_free(&b);
    event_names_free(names);
}

TEST(a_wait_says_until_when_and_one_without_a_reason_says_so)
{
    enum { NOW = 1000000000 };
    static const struct {
        struct reason r;
        const char *says;
    } rows[] = {
        {{INTERVAL_LIMIT, NOW - 60000, NOW, S("for the limit"), NOW + 60000},
         "has waited 1 min for the limit; until 1970-01-12 13:47:40"},
        {{INTERVAL_LIMIT, NOW - 60000, NOW, S("for the limit"), NOW}, "has waited 1 min for the limit"},
        {{INTERVAL_LIMIT, NOW - 60000, NOW - 1000, S("for the limit"), NOW + 60000},
         "waited 59 s for the limit"},
        {{REASON_NONE, NOW - 60000, NOW - 1000, {"", 0}, 0},
         "waited 59 s, and nothing says why: that is a bug of hato, please report it"},
    };
    struct buf b = {0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        buf_clear(&b);
        explain_wait(&b, &rows[i].r, NOW);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].says));
    }
    buf_free(&b);
}

TEST(why_says_what_comes_next)
{
    enum { NOW = 1000000000 };
    static const struct {
        struct explain_message m;
        const char *begins;
    } rows[] = {
        {{.at = {.state = STANDING_WAITING, .tried = true, .charged = true, .due_ms = NOW + 252000}},
         "Waiting: the next try is due 1970-01-12 13:50:52, in 4 min 12 s."},
        {{.at = {.state = STANDING_WAITING, .tried = true, .charged = true, .due_ms = NOW - 1}},
         "Due since 1970-01-12 13:46:39: it goes while hato runs"},
        {{.at = {.state = STANDING_WAITING, .tried = true}},
         "Due: it goes while hato runs, when its receiver may be "
         "given more. The last obstacle was not about this message."},
        {{.at = {.state = STANDING_WAITING, .due_ms = NOW + 60000}},
         "Waiting for its time: 1970-01-12 13:47:40, in 1 min."},
        {{.at = {.state = STANDING_WAITING}}, "Waiting for its turn: nobody has tried yet."},
        {{.at = {.state = STANDING_WAITING}, .campaign = S("c"), .campaign_state = CAMPAIGN_READING},
         "Waiting: its campaign is being taken in, or that was cut off; `hato run`"},
        {{.at = {.state = STANDING_WAITING}, .campaign = S("c"), .campaign_state = CAMPAIGN_READ},
         "Waiting: its campaign has been taken in and has not started."},
        {{.at = {.state = STANDING_WAITING}, .campaign = S("c"), .campaign_state = CAMPAIGN_STARTED},
         "Waiting for its turn"},
        {{.at = {.state = STANDING_IN_FLIGHT, .begun_ms = NOW}},
         "An attempt began 1970-01-12 13:46:40 and has no end in the journal: it is under way now, or the "
         "process stopped in it."},
        {{.at = {.state = STANDING_HELD, .text = "line 3:\x1b no name"}},
         "Held, and not lost: line 3:\\x1b no name."},
        {{.at = {.state = STANDING_DELIVERED, .last_ms = NOW + 306000}, .accepted_ms = NOW},
         "Delivered 5 min 6 s after it was accepted."},
        {{.at = {.state = STANDING_DELIVERED, .last_ms = NOW}}, "Delivered. If"},
        {{.at = {.state = STANDING_BOUNCED, .cls = CLASS_NO_SUCH_USER}},
         "Ended, not delivered: the receiver knows no such user. It is not tried again."},
        {{.at = {.state = STANDING_EXPIRED, .cls = CLASS_EXPIRED, .attempts = 1}},
         "Ended, not delivered: its time was over after 1 attempt; no answer ever came."},
        {{.at = {.state = STANDING_SUPPRESSED}}, "Ended, not sent: the address is suppressed."},
        {{.at = {.state = STANDING_CANCELLED}}, "Ended, not sent: somebody cancelled it."},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        struct explain_message m = rows[i].m;
        m.campaign = slice_of(m.campaign.p, m.campaign.n);
        explain_message(&b, &m, NOW);
        struct slice want = slice_cstr(rows[i].begins);
        CHECK_STR(slice_of(b.p, b.n < want.n ? b.n : want.n), want);
        buf_free(&b);
    }
}

TEST(why_tells_the_chain_of_an_address_however_it_is_written)
{
    static const char want[] =
        "m1 to taro@example.jp\n"
        "  2026-07-02 10:00:00  accepted, stream news, campaign hello\n"
        "  2026-07-02 10:00:01  attempt 1 put off by gmail (mx.gmail.test [127.0.1.1], from mx1 "
        "[203.0.113.7], "
        "not encrypted) at rcpt: 451 4.7.1 Greylisted\n"
        "                       greylisted: the receiver asks senders it does not know to come back later; "
        "rule: text \"greylist\"\n"
        "                       next try 2026-07-02 10:00:02 (1 s later)\n"
        "  2026-07-02 10:00:02  attempt 2: gmail took it (mx.gmail.test [127.0.1.1], from mx1 [203.0.113.7], "
        "not encrypted): 250 2.0.0 OK\n"
        "  Delivered 2 s after it was accepted. If the person does not see it, ask the receiver with the "
        "reply "
        "above, and look among the spam.\n";
    struct journal_rig rig = {0};
    struct secret secret;
    unsigned char bytes[32];
    struct buf out = {0}, path = {0}, mid = {0};
    memset(bytes, 7, sizeof bytes);
    secret_from_bytes(bytes, &secret);
    verp_make(&secret.verp, 1, S("b.m.example.jp"), &path);
    buf_addc(&mid, '<');
    message_id_text(&secret, 1, S("m.example.jp"), &mid);
    buf_addc(&mid, '>');
    const char *words[] = {
        "taro@example.jp", "Taro@EXAMPLE.jp", "\"taro\"@example.jp", "<taro@example.jp>", "m1", "1",
        buf_cstr(&path),   buf_cstr(&mid)};
    journal_rig_open(&rig);
    journal_rig_story(&rig);
    for (size_t i = 0; i < COUNT(words); i++) {
        buf_clear(&out);
        CHECK_INT(journal_rig_run(&rig, cmd_why, &out, "why", words[i], NULL), EXIT_DONE);
        CHECK_STR(buf_slice(&out), slice_cstr(want));
    }
    buf_free(&out);
    buf_free(&path);
    buf_free(&mid);
    journal_rig_close(&rig);
}

static void wait_of(struct journal_rig *rig, enum interval_kind kind, int from_ms, int to_ms, const char *why)
{
    struct rec rec = {.type = REC_INTERVAL};
    rec.interval = (struct rec_interval){.kind = (uint8_t)kind,
                                         .begin_ms = (int64_t)RIG_WALL_S * 1000 + from_ms,
                                         .end_ms = (int64_t)RIG_WALL_S * 1000 + to_ms,
                                         .domain = SLICE_NONE,
                                         .mx = SLICE_NONE,
                                         .why = slice_cstr(why)};
    journal_rig_put(rig, SPOOL_EVENTS, &rec);
}

TEST(why_tells_the_waits_that_last_once_and_no_moments)
{
    struct journal_rig rig = {0};
    struct buf out = {0};
    struct rec begin = {.type = REC_BEGIN};
    journal_rig_open(&rig);
    journal_rig_name(&rig, NAME_STREAM, 1, "news");
    journal_rig_name(&rig, NAME_CAMPAIGN, 1, "hello");
    journal_rig_name(&rig, NAME_ISP, 1, "gmail");
    wait_of(&rig, INTERVAL_UP, 0, 100000, "");
    journal_rig_accept(&rig, 1, "taro@example.jp");
    wait_of(&rig, INTERVAL_JOURNAL, 0, 400, "for the journal");
    wait_of(&rig, INTERVAL_LIMIT, 400, 5000, "for the limit");
    wait_of(&rig, INTERVAL_PAUSE, 5000, 5200, "because people paused it");
    wait_of(&rig, INTERVAL_LIMIT, 5200, 9000, "for the limit");
    begin.begin = (struct rec_begin){
        .id = 1, .at_ms = ((int64_t)RIG_WALL_S + 9) * 1000, .attempt = 1, .isp = 1, .edits = SLICE_NONE};
    journal_rig_put(&rig, SPOOL_EVENTS, &begin);
    journal_rig_event(&rig, (struct rec_event){.type = EVENT_DELIVERED,
                                               .id = 1,
                                               .at_ms = ((int64_t)RIG_WALL_S + 12) * 1000,
                                               .accepted_ms = (int64_t)RIG_WALL_S * 1000,
                                               .campaign = 1,
                                               .stream = 1,
                                               .isp = 1,
                                               .attempt = 1,
                                               .recipient = S("taro@example.jp"),
                                               .text = S("250 OK")});
    journal_rig_turn(&rig);
    CHECK_INT(journal_rig_run(&rig, cmd_why, &out, "why", "m1", NULL), EXIT_DONE);
    CHECK_STR(buf_slice(&out), S("m1 to taro@example.jp\n"
                                 "  2026-07-02 10:00:00  accepted, stream news, campaign hello\n"
                                 "  2026-07-02 10:00:00  waited 8 s for the limit\n"
                                 "  2026-07-02 10:00:12  attempt 1: gmail took it: 250 OK\n"
                                 "  Delivered 12 s after it was accepted. If the person does not see it, ask "
                                 "the receiver with the reply above, and look among the spam.\n"));
    buf_free(&out);
    journal_rig_close(&rig);
}

TEST(why_tells_every_message_of_a_person_and_nothing_of_others)
{
    struct journal_rig rig = {0};
    struct buf out = {0};
    journal_rig_open(&rig);
    journal_rig_story(&rig);
    journal_rig_accept(&rig, 4, "HANAKO@example.jp");
    struct rec begin = {.type = REC_BEGIN};
    begin.begin = (struct rec_begin){
        .id = 4, .at_ms = ((int64_t)RIG_WALL_S + 9) * 1000, .attempt = 1, .edits = SLICE_NONE};
    journal_rig_put(&rig, SPOOL_EVENTS, &begin);
    journal_rig_turn(&rig);
    CHECK_INT(journal_rig_run(&rig, cmd_why, &out, "why", "hanako@example.jp", "--json", NULL), EXIT_DONE);
    struct slice second, first = slice_cut(buf_slice(&out), '\n', &second);
    json_t *a = json_loadb(first.p, first.n, 0, NULL), *b = json_loadb(second.p, second.n, 0, NULL);
    CHECK(a && b);
    CHECK_STR(slice_cstr(json_string_value(json_object_get(a, "message"))), S("m2"));
    CHECK_STR(slice_cstr(json_string_value(json_object_get(a, "state"))), S("bounced"));
    CHECK_INT(json_array_size(json_object_get(a, "events")), 2);
    CHECK_STR(slice_cstr(json_string_value(json_object_get(b, "recipient"))), S("HANAKO@example.jp"));
    CHECK_STR(slice_cstr(json_string_value(json_object_get(b, "state"))), S("in_flight"));
    json_decref(a);
    json_decref(b);
    buf_clear(&out);
    CHECK_INT(journal_rig_run(&rig, cmd_why, &out, "why", "m3", NULL), EXIT_DONE);
    CHECK(slice_find(buf_slice(&out), S("Held, and not lost: a template failed. When that is mended")) > 0);
    CHECK_INT(journal_rig_run(&rig, cmd_why, &out, "why", "nobody@example.jp", NULL), EXIT_FAILED);
    CHECK_INT(journal_rig_run(&rig, cmd_why, &out, "why", NULL), EXIT_USAGE);
    buf_free(&out);
    journal_rig_close(&rig);
}

TEST(why_knows_the_receiver_from_mail_of_others_there)
{
    struct journal_rig rig = {0};
    struct buf out = {0};
    struct rec pause = {.type = REC_STEER};
    pause.steer = (struct rec_steer){
        .at_ms = ((int64_t)RIG_WALL_S + 9) * 1000, .kind = STEER_ISP, .paused = true, .name = S("gmail")};
    journal_rig_open(&rig);
    journal_rig_accept(&rig, 4, "saburo@EXAMPLE.jp");
    journal_rig_accept(&rig, 5, "shiro@example.test");
    journal_rig_story(&rig);
    journal_rig_put(&rig, SPOOL_EVENTS, &pause);
    journal_rig_turn(&rig);
    CHECK_INT(journal_rig_run(&rig, cmd_why, &out, "why", "m4", NULL), EXIT_DONE);
    CHECK(slice_find(buf_slice(&out), S("Waiting: paused by hand: isp=gmail.")) > 0);
    buf_clear(&out);
    CHECK_INT(journal_rig_run(&rig, cmd_why, &out, "why", "m5", NULL), EXIT_DONE);
    CHECK(slice_find(buf_slice(&out), S("paused")) < 0);
    buf_free(&out);
    journal_rig_close(&rig);
}
