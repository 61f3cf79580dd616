/* explain_test.c - hato why: sentences that are true and that somebody can act on. */
#include "delivery/explain.h"
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
