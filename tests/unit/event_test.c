/* event_test.c - events joined and printed, from records and from a state folder through the commands. */
#include "delivery/event.h"
#include "cmd.h"
#include "format/mp.h"
#include "format/smtp_phase.h"
#include "journal.h"
#include "journal_rig.h"
#include "test.h"

#include <jansson.h>

static struct secret secret_of(unsigned char fill)
{
    unsigned char bytes[32];
    struct secret s;
    memset(bytes, fill, sizeof bytes);
    secret_from_bytes(bytes, &s);
    return s;
}

static void learn(struct event_names *n, enum rec_name_kind kind, uint32_t number, const char *name)
{
    struct rec r = {.type = REC_NAME};
    r.name = (struct rec_name){.kind = (uint8_t)kind, .number = number, .name = slice_cstr(name)};
    event_names_learn(n, &r);
}

TEST(event_json_joins_names_and_session)
{
    struct secret secret = secret_of(7);
    struct event_names *n = event_names_new(&secret);
    struct buf meta = {0}, b = {0};
    learn(n, NAME_CAMPAIGN, 1, "夏祭り");
    learn(n, NAME_STREAM, 1, "promo");
    learn(n, NAME_ISP, 2, "gmail");
    learn(n, NAME_SOURCE, 1, "mx1");
    learn(n, NAME_POOL, 1, "bulk");
    learn(n, NAME_DOMAIN, 1, "m.example.jp");
    learn(n, NAME_SENDER, 1, "@b.m.example.jp");
    learn(n, NAME_SENDER, 2, "news@m.example.jp");
    struct rec s = {.type = REC_SESSION};
    s.session = (struct rec_session){.session = (1782900000123ull << 20) + 1,
                                     .local_ip = ip_v4(203, 0, 113, 7),
                                     .ip = ip_v4(127, 0, 1, 1),
                                     .ehlo = S("mx1.m.example.jp"),
                                     .mx = S("mx.gmail.test"),
                                     .tls_version = S("TLSv1.3"),
                                     .tls_cipher = S("TLS_AES_256_GCM_SHA384"),
                                     .tls_policy = S("opportunistic"),
                                     .note = SLICE_NONE,
                                     .tls_verified = true};
    event_names_learn(n, &s);
    mp_put_map(&meta, 5);
    mp_put_int(&meta, -1);
    mp_put_int(&meta, INT64_MIN);
    mp_put_str(&meta, S("big"));
    mp_put_uint(&meta, (1ull << 53) + 1);
    mp_put_str(&meta, S("会員"));
    mp_put_str(&meta, S("A\"1"));
    mp_put_str(&meta, S("points"));
    mp_put_int(&meta, -3);
    mp_put_uint(&meta, 7);
    mp_put_double(&meta, 0.1);
    struct rec_event ev = {.event = 17,
                           .type = EVENT_DEFERRED,
                           .id = 10423,
                           .at_ms = 1782900000123,
                           .campaign = 1,
                           .stream = 1,
                           .isp = 2,
                           .source = 1,
                           .pool = 1,
                           .domain = 1,
                           .sender = 1,
                           .flags = REC_FLAG_TEST,
                           .recipient = S("taro@example.jp"),
                           .attempt = 2,
                           .session = s.session.session,
                           .phase = SMTP_PHASE_RCPT + 1,
                           .code = 451,
                           .enh_class = 4,
                           .enh_subject = 7,
                           .enh_detail = 1,
                           .text = S("451 4.7.1 \"later\""),
                           .class_name = S("greylisted"),
                           .rule = S("greylist"),
                           .next_due_ms = 1782900300123,
                           .queued_ms = 5,
                           .connect_ms = 6,
                           .send_ms = 7,
                           .size = 10240,
                           .meta = buf_slice(&meta)};
    event_json(&b, &ev, n);
    struct buf want = {0}, mid = {0}, from = {0};
    message_id_text(&secret, 10423, S("m.example.jp"), &mid);
    verp_make(&secret.verp, 10423, S("b.m.example.jp"), &from);
    buf_printf(&want,
               "{\"id\":\"e17\",\"type\":\"deferred\",\"time\":\"2026-07-01T10:00:00.123Z\",\"message\":"
               "\"m10423\",\"message_id\":\"%s\",\"campaign\":\"夏祭り\",\"stream\":\"promo\",\"recipient\":"
               "\"taro@example.jp\",\"envelope_from\":\"%s\",\"isp\":\"gmail\",\"source\":\"mx1\",\"pool\":"
               "\"bulk\",\"attempt\":2,\"test\":true,\"meta\":{\"-1\":\"-9223372036854775808\",\"big\":"
               "\"9007199254740993\",\"会員\":\"A\\\"1\",\"points\":-3,\"7\":0.1},"
               "\"session\":\"s1869506150528974849\",",
               buf_cstr(&mid), buf_cstr(&from));
    CHECK(b.n > want.n);
    CHECK_STR(slice_of(b.p, want.n), buf_slice(&want));
    json_t *j = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, NULL), *tls = json_object_get(j, "tls");
    CHECK(j != NULL);
    static const struct {
        const char *key, *want;
    } strings[] = {{"local_ip", "203.0.113.7"},
                   {"ehlo", "mx1.m.example.jp"},
                   {"mx", "mx.gmail.test"},
                   {"ip", "127.0.1.1"},
                   {"phase", "rcpt"},
                   {"enhanced", "4.7.1"},
                   {"class", "greylisted"},
                   {"kind", "soft"},
                   {"rule", "greylist"},
                   {"next_due", "2026-07-01T10:05:00.123Z"},
                   {"text", "451 4.7.1 \"later\""}};
    static const struct {
        const char *key;
        int want;
    } numbers[] = {{"code", 451}, {"queued_ms", 5}, {"connect_ms", 6}, {"send_ms", 7}, {"size", 10240}};
    for (size_t i = 0; i < COUNT(strings); i++)
        CHECK_STR(slice_cstr(json_string_value(json_object_get(j, strings[i].key))),
                  slice_cstr(strings[i].want));
    for (size_t i = 0; i < COUNT(numbers); i++)
        CHECK_INT(json_integer_value(json_object_get(j, numbers[i].key)), numbers[i].want);
    CHECK_STR(slice_cstr(json_string_value(json_object_get(tls, "version"))), S("TLSv1.3"));
    CHECK(json_is_true(json_object_get(tls, "verified")));
    CHECK_STR(slice_cstr(json_string_value(json_object_get(tls, "policy"))), S("opportunistic"));
    json_decref(j);
    buf_clear(&b);
    ev.sender = 2;
    event_envelope_from(&b, n, &ev);
    CHECK_STR(buf_slice(&b), S("news@m.example.jp"));
    buf_free(&want);
    buf_free(&mid);
    buf_free(&from);
    buf_free(&meta);
    buf_free(&b);
    event_names_free(n);
}

TEST(event_json_says_null_for_what_it_does_not_know_and_survives_any_bytes)
{
    static const struct {
        struct slice meta;
    } metas[] = {{S("\x81")},                     /* a map cut off */
                 {S("\x81\xc0\x01")},             /* nil as a key */
                 {S("\x91\x91\x91\x91\xc1")},     /* a byte that is no msgpack, deep inside */
                 {S("\xcb\x7f\xf8\0\0\0\0\0\0")}, /* not a number */
                 {S("\xa3\xff\xfe\x01")}};
    struct event_names *n = event_names_new(NULL);
    for (size_t i = 0; i < COUNT(metas); i++) {
        struct buf b = {0};
        struct rec_event ev = {.event = UINT64_MAX,
                               .type = 200,
                               .id = UINT64_MAX,
                               .at_ms = INT64_MIN,
                               .campaign = 9,
                               .domain = UINT32_MAX,
                               .sender = 4,
                               .phase = 255,
                               .recipient = S("a\x01\xff\"@x"),
                               .text = S("\r\n"),
                               .class_name = S("of a later version"),
                               .rule = SLICE_NONE,
                               .meta = metas[i].meta};
        for (unsigned type = 0; type <= EVENT_TYPES; type++) {
            ev.type = (uint8_t)type;
            buf_clear(&b);
            event_json(&b, &ev, n);
            json_t *j = json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
            CHECK(j != NULL);
            CHECK(json_is_null(json_object_get(j, "campaign")));
            CHECK(json_is_null(json_object_get(j, "message_id")));
            CHECK(json_is_null(json_object_get(j, "envelope_from")));
            CHECK(i == 4 || json_is_null(json_object_get(j, "meta")));
            json_decref(j);
            buf_clear(&b);
            event_line(&b, &ev, n);
            CHECK(memchr(b.p, '\n', b.n) == NULL);
        }
        buf_free(&b);
    }
    event_names_free(n);
}

TEST(event_lines_say_what_happened_in_one_look)
{
    struct event_names *n = event_names_new(NULL);
    struct buf b = {0};
    learn(n, NAME_ISP, 1, "gmail");
    learn(n, NAME_SOURCE, 1, "mx1");
    learn(n, NAME_CAMPAIGN, 1, "hello");
    struct rec_event ev = {.event = 1,
                           .type = EVENT_DEFERRED,
                           .id = 3,
                           .at_ms = 1782900000123,
                           .isp = 1,
                           .source = 1,
                           .attempt = 2,
                           .phase = SMTP_PHASE_RCPT + 1,
                           .code = 451,
                           .text = S("451 4.7.1 Greylisted"),
                           .class_name = S("greylisted"),
                           .recipient = S("taro@example.jp"),
                           .rule = SLICE_NONE,
                           .meta = SLICE_NONE,
                           .next_due_ms = 1782900300000};
    event_line(&b, &ev, n);
    CHECK_STR(
        buf_slice(&b),
        S("2026-07-01 10:00:00  deferred    m3         taro@example.jp  gmail from mx1  attempt 2  rcpt: "
          "451 4.7.1 Greylisted  [greylisted]  next 2026-07-01 10:05:00"));
    struct rec_recipient r = {
        .id = 3, .campaign = 1, .accepted_ms = 1782900000123, .address = S("taro@example.jp")};
    event_of_recipient(&r, &ev);
    buf_clear(&b);
    event_line(&b, &ev, n);
    CHECK_STR(buf_slice(&b),
              S("2026-07-01 10:00:00  accepted    m3         taro@example.jp  campaign hello"));
    buf_free(&b);
    event_names_free(n);
}

TEST(event_kind_of_a_null_mx_is_hard)
{
    static const struct {
        const char *cls;
        uint16_t code;
        const char *kind;
    } rows[] = {{"not_accepting", 0, "hard"},  {"not_accepting", 556, "hard"}, {"not_accepting", 450, "soft"},
                {"no_such_user", 550, "hard"}, {"blocked", 550, "block"},      {"unknown", 550, "hard"},
                {"mailbox_full", 452, "soft"}};
    struct event_names *n = event_names_new(NULL);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0}, want = {0};
        struct rec_event ev = {.type = EVENT_BOUNCED,
                               .id = 1,
                               .code = rows[i].code,
                               .class_name = slice_cstr(rows[i].cls),
                               .recipient = SLICE_NONE,
                               .text = SLICE_NONE,
                               .rule = SLICE_NONE,
                               .meta = SLICE_NONE};
        event_json(&b, &ev, n);
        buf_printf(&want, "\"class\":\"%s\",\"kind\":\"%s\"", rows[i].cls, rows[i].kind);
        CHECK(slice_find(buf_slice(&b), buf_slice(&want)) > 0);
        buf_free(&b);
        buf_free(&want);
    }
    event_names_free(n);
}

TEST(event_names_grow_and_the_latest_session_of_a_place_wins)
{
    struct event_names *n = event_names_new(NULL);
    struct rec s = {.type = REC_SESSION};
    learn(n, NAME_ISP, 100000, "late");
    learn(n, NAME_ISP, 100000, "later");
    learn(n, NAME_ISP, UINT32_MAX, "absurd");
    CHECK_STR(event_name(n, NAME_ISP, 100000), S("late"));
    CHECK_STR(event_name(n, NAME_ISP, 99999), SLICE_NONE);
    CHECK_STR(event_name(n, NAME_ISP, UINT32_MAX), SLICE_NONE);
    CHECK_STR(event_name(n, NAME_ISP, 0), SLICE_NONE);
    for (uint64_t i = 1; i <= 2; i++) {
        s.session = (struct rec_session){.session = 5 + (i << 40),
                                         .mx = i == 1 ? S("one") : S("two"),
                                         .ehlo = SLICE_NONE,
                                         .tls_version = SLICE_NONE,
                                         .tls_cipher = SLICE_NONE,
                                         .tls_policy = SLICE_NONE,
                                         .note = SLICE_NONE};
        event_names_learn(n, &s);
    }
    CHECK(event_session(n, 5 + (1ull << 40)) == NULL);
    CHECK_STR(event_session(n, 5 + (2ull << 40))->mx, S("two"));
    CHECK(event_session(n, 0) == NULL);
    struct buf mx = {0};
    for (uint64_t i = 0; i < 300000; i++) {
        buf_clear(&mx);
        buf_printf(&mx, "mx%llu", (unsigned long long)i);
        s.session.session = 1782900000123ull * 1048576 + i;
        s.session.mx = buf_slice(&mx);
        event_names_learn(n, &s);
    }
    for (uint64_t i = 300000 - 262144; i < 300000; i++) {
        buf_clear(&mx);
        buf_printf(&mx, "mx%llu", (unsigned long long)i);
        const struct rec_session *found = event_session(n, 1782900000123ull * 1048576 + i);
        CHECK(found != NULL);
        CHECK_STR(found->mx, buf_slice(&mx));
    }
    CHECK(event_session(n, 1782900000123ull * 1048576) == NULL);
    buf_free(&mx);
    event_names_free(n);
}

TEST(message_numbers_are_read_with_and_without_their_m)
{
    uint64_t id = 0;
    CHECK(event_message_parse(S("m10423"), &id) == 0 && id == 10423);
    CHECK(event_message_parse(S("M7"), &id) == 0 && id == 7);
    CHECK(event_message_parse(S("8"), &id) == 0 && id == 8);
    CHECK(event_message_parse(S("m"), &id) && event_message_parse(S("mm1"), &id) &&
          event_message_parse(S("taro@example.jp"), &id));
}

/* --- through the commands --- */

TEST(events_command_prints_the_journal_as_json_and_filters)
{
    struct journal_rig rig = {0};
    struct buf out = {0};
    journal_rig_open(&rig);
    journal_rig_story(&rig);
    CHECK_INT(journal_rig_run(&rig, cmd_events, &out, "events", "--json", NULL), EXIT_DONE);
    static const char *const types[] = {"accepted",  "accepted", "accepted", "deferred",
                                        "delivered", "bounced",  "held"};
    struct slice rest = buf_slice(&out), line;
    size_t lines = 0;
    while ((line = slice_cut(rest, '\n', &rest)).n) {
        json_t *j = json_loadb(line.p, line.n, 0, NULL);
        CHECK(j != NULL && lines < COUNT(types));
        CHECK_STR(slice_cstr(json_string_value(json_object_get(j, "type"))), slice_cstr(types[lines]));
        CHECK_STR(slice_cstr(json_string_value(json_object_get(j, "campaign"))), S("hello"));
        lines++;
        json_decref(j);
    }
    CHECK_INT(lines, COUNT(types));
    buf_clear(&out);
    CHECK_INT(journal_rig_run(&rig, cmd_events, &out, "events", "--type", "bounced", "held", "--campaign",
                              "hello", NULL),
              EXIT_DONE);
    CHECK_STR(
        buf_slice(&out),
        S("2026-07-02 10:00:02  bounced     m2         hanako@example.jp  gmail from mx1  rcpt: 550 5.1.1 "
          "No such user  [no_such_user]\n"
          "2026-07-02 10:00:03  held        m3         jiro@example.jp a template failed\n"));
    buf_clear(&out);
    CHECK_INT(journal_rig_run(&rig, cmd_events, &out, "events", "--campaign", "other", NULL), EXIT_DONE);
    CHECK_INT(out.n, 0);
    CHECK_INT(journal_rig_run(&rig, cmd_events, &out, "events", "--type", "bonced", NULL), EXIT_USAGE);
    CHECK_INT(journal_rig_run(&rig, cmd_events, &out, "events", "--since", "1 h", NULL), EXIT_DONE);
    buf_free(&out);
    journal_rig_close(&rig);
}

static int count_record(void *data, const struct rec *r)
{
    ++*(int *)data;
    return r->type == REC_EVENT && r->event.type == EVENT_EXPIRED ? 7 : 0;
}

TEST(journal_reads_on_behind_what_it_has_seen)
{
    struct journal_rig rig = {0};
    struct journal *j;
    struct err e = {0};
    int n = 0;
    journal_rig_open(&rig);
    journal_rig_story(&rig);
    CHECK_INT(journal_open("test", rig.dir, &j, &e), 0);
    CHECK_INT(journal_read(j, count_record, &n, &e), 0);
    int all = n;
    CHECK(all > 7);
    CHECK_INT(journal_read(j, count_record, &n, &e), 0);
    CHECK_INT(n, all);
    for (int i = 1; i <= 50; i++) {
        struct rec_event ev = {.type = i == 20 ? EVENT_EXPIRED : EVENT_DEFERRED, .id = 3, .isp = 9};
        if (i == 1)
            journal_rig_name(&rig, NAME_ISP, 9, "new");
        journal_rig_event(&rig, ev);
        if (i % 10 == 0) {
            spool_seal(rig.spool, SPOOL_EVENTS); /* over several segments */
            journal_rig_turn(&rig);
        }
    }
    journal_rig_turn(&rig);
    CHECK_INT(journal_read(j, count_record, &n, &e), 7); /* ended by the reader at the 20th */
    CHECK_INT(n, all + 21);
    CHECK_STR(event_name(journal_names(j), NAME_ISP, 9), S("new"));
    CHECK_INT(journal_read(j, count_record, &n, &e), 0);
    CHECK_INT(n, all + 51);
    CHECK_INT(journal_read(j, count_record, &n, &e), 0);
    CHECK_INT(n, all + 51);
    journal_close(j);
    journal_rig_close(&rig);
}

TEST(report_command_accounts_for_every_message)
{
    struct journal_rig rig = {0};
    struct buf out = {0};
    journal_rig_open(&rig);
    journal_rig_story(&rig);
    CHECK_INT(journal_rig_run(&rig, cmd_report, &out, "report", "hello", "--json", NULL), EXIT_DONE);
    CHECK(slice_starts(buf_slice(&out),
                       S("{\"accepted\":3,\"delivered\":1,\"bounced\":1,\"expired\":0,\"suppressed\":0,"
                         "\"deferred\":1,\"rejected_rows\":0,\"seconds\":3.000,")));
    buf_clear(&out);
    CHECK_INT(journal_rig_run(&rig, cmd_report, &out, "report", NULL), EXIT_DONE);
    CHECK(slice_find(buf_slice(&out), S("3 accepted; 1 delivered, 1 bounced, 1 deferred\n")) > 0);
    CHECK(slice_find(buf_slice(&out), S("NOT ACCOUNTED")) < 0);
    CHECK_INT(journal_rig_run(&rig, cmd_report, &out, "report", "other", NULL), EXIT_FAILED);
    CHECK_INT(journal_rig_run(&rig, cmd_report, &out, "report", "--state", "/nonexistent", NULL),
              EXIT_FAILED);
    buf_free(&out);
    journal_rig_close(&rig);
}
