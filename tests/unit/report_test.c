/* report_test.c - the end report: its counts, its columns, its JSON. */
#include "delivery/report.h"
#include "format/text.h"
#include "test.h"

#include <jansson.h>

static const struct hash_key hk = {1, 2};

static void feed(struct report *r, unsigned type, const char *cls, uint16_t code, const char *isp, int n)
{
    struct rec_event ev = {
        .type = (uint8_t)type, .code = code, .class_name = slice_cstr(cls), .text = SLICE_NONE};
    for (int i = 0; i < n; i++)
        report_event(r, &ev, slice_cstr(isp), S("夏祭り"));
}

/* The error report of a real campaign: 45,936 sent, 4,594 errors. */
static void golden(struct report *r)
{
    static const struct {
        unsigned type;
        const char *cls;
        uint16_t code;
        int n;
    } rows[] = {
        {EVENT_BOUNCED, "no_such_user", 550, 3200},
        {EVENT_BOUNCED, "moved", 551, 23},
        {EVENT_BOUNCED, "no_such_domain", 0, 170},
        {EVENT_BOUNCED, "not_accepting", 556, 7},
        {EVENT_BOUNCED, "unknown", 554, 48},
        {EVENT_EXPIRED, "network", 0, 300},
        {EVENT_EXPIRED, "expired", 0, 90},
        {EVENT_BOUNCED, "tls_failed", 0, 1},
        {EVENT_BOUNCED, "mailbox_full", 552, 204},
        {EVENT_BOUNCED, "blocked", 550, 50},
        {EVENT_BOUNCED, "spam", 554, 3},
        {EVENT_BOUNCED, "too_large", 552, 52},
        {EVENT_EXPIRED, "greylisted", 451, 70},
        {EVENT_EXPIRED, "unknown", 451, 6},
        {EVENT_BOUNCED, "unknown", 0, 370},
    };
    report_init(r, hk);
    report_accepted(r, S("夏祭り"), 45936);
    for (size_t i = 0; i < COUNT(rows); i++)
        feed(r, rows[i].type, rows[i].cls, rows[i].code, i % 2 ? "docomo" : "gmail", rows[i].n);
    feed(r, EVENT_DELIVERED, "", 250, "gmail", 41342);
}

TEST(report_puts_errors_into_the_nine_categories_people_know)
{
    static const uint64_t want[REPORT_COUNT] = {3223, 177, 48, 391, 204, 53, 52, 76, 370};
    struct report r;
    golden(&r);
    for (int i = 0; i < REPORT_COUNT; i++)
        CHECK_INT(r.errors[i], want[i]);
    CHECK_INT(report_errors(&r), 4594);
    CHECK_INT(r.total.delivered, 41342);
    CHECK_INT(report_unaccounted(&r), 0);
    report_free(&r);
}

TEST(report_text_stands_in_columns_with_japanese_labels)
{
    static const char want[] =
        "errors                                                                   4,594\n"
        "permanent: no such user       永続エラー: ユーザー不明(@の前)            3,223   70.16 %\n"
        "permanent: no such domain     永続エラー: ドメイン不明(@の後)              177    3.85 %\n"
        "permanent: unknown            永続エラー: その他                            48    1.04 %\n"
        "temporary: connection failed  一時エラー: 接続失敗                         391    8.51 %\n"
        "temporary: mailbox full       一時エラー: 受信箱の容量超過                 204    4.44 %\n"
        "temporary: refused            一時エラー: 受信拒否(迷惑メール設定など)      53    1.15 %\n"
        "temporary: too large          一時エラー: サイズ超過                        52    1.13 %\n"
        "temporary: unknown            一時エラー: その他                            76    1.65 %\n"
        "unknown                       不明                                         370    8.05 %\n"
        "\n"
        "45,936 accepted; 41,342 delivered, 4,128 bounced, 466 expired\n"
        "delivery rate 90.00 %\n"
        "took 1 min 12 s, 638 a second\n";
    struct report r;
    struct buf b = {0};
    golden(&r);
    r.elapsed_ms = 72000;
    report_text(&r, &b);
    ptrdiff_t at = slice_find(buf_slice(&b), S("errors "));
    CHECK(at > 0);
    CHECK_STR(slice_of(b.p + at, b.n - (size_t)at), slice_cstr(want));
    CHECK_STR(slice_of(b.p, (size_t)at),
              S("receiver      delivered  bounced  expired  deferred  retries\n"
                "gmail            41,342    3,995      160         0        0\n"
                "docomo                0      133      306         0        0\n"
                "in all           41,342    4,128      466         0        0\n\n"));
    buf_free(&b);
    report_free(&r);
}

TEST(report_lines_end_at_the_same_column_whatever_the_names)
{
    struct report r;
    struct buf b = {0};
    report_init(&r, hk);
    feed(&r, EVENT_DELIVERED, "", 250, "日本の受信者", 7);
    feed(&r, EVENT_DELIVERED, "", 250, "mx\x1b[31m.example", 3);
    feed(&r, EVENT_BOUNCED, "no_such_domain", 0, "", 2);
    feed(&r, EVENT_DELIVERED, "", 250, "a-name-that-is-much-longer-than-any-table-wants.example", 1);
    report_text(&r, &b);
    struct slice rest = buf_slice(&b), line;
    size_t width = text_width(slice_cut(rest, '\n', &rest));
    int lines = 0;
    while ((line = slice_cut(rest, '\n', &rest)).n) {
        CHECK_INT(text_width(line), width);
        lines++;
    }
    CHECK_INT(lines, 5);
    CHECK(slice_find(buf_slice(&b), S("\x1b")) < 0);
    CHECK(slice_find(buf_slice(&b), S("(none found)")) > 0);
    buf_free(&b);
    report_free(&r);
}

TEST(report_sums_up_the_many_small_receivers)
{
    struct report r;
    struct buf b = {0};
    char name[40];
    report_init(&r, hk);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "mx%d.example", i);
        feed(&r, EVENT_DELIVERED, "", 250, name, i < 20 ? 5 : 1);
    }
    report_text(&r, &b);
    CHECK(slice_find(buf_slice(&b), S("980 others")) > 0);
    CHECK(slice_find(buf_slice(&b), S("mx19.example")) > 0);
    CHECK(slice_find(buf_slice(&b), S("mx20.example")) < 0);
    CHECK_INT(r.total.delivered, 1080);
    buf_free(&b);
    report_free(&r);
}

TEST(report_says_what_it_cannot_account_for)
{
    struct report r;
    struct buf b = {0};
    report_init(&r, hk);
    report_accepted(&r, S("c"), 10);
    r.carried = 2;
    feed(&r, EVENT_DELIVERED, "", 250, "gmail", 8);
    report_waiting(&r, S("gmail"), S("c"), 3);
    CHECK_INT(report_unaccounted(&r), 1);
    report_text(&r, &b);
    CHECK(slice_find(buf_slice(&b), S("NOT ACCOUNTED FOR: 1;")) > 0);
    report_waiting(&r, SLICE_NONE, S("c"), 1);
    CHECK_INT(report_unaccounted(&r), 0);
    buf_clear(&b);
    report_text(&r, &b);
    CHECK(slice_find(buf_slice(&b), S("NOT ACCOUNTED")) < 0);
    buf_free(&b);
    report_free(&r);
}

TEST(report_json_has_the_totals_first_and_the_detail_behind)
{
    struct report r;
    struct buf b = {0};
    golden(&r);
    r.elapsed_ms = 72005;
    r.rejected_rows = 12;
    feed(&r, EVENT_AMBIGUOUS, "network", 0, "gmail", 2);
    feed(&r, EVENT_SUPPRESSED, "", 0, "", 0);
    report_json(&r, &b);
    static const char head[] = "{\"accepted\":45936,\"delivered\":41342,\"bounced\":4128,\"expired\":466,"
                               "\"suppressed\":0,\"deferred\":0,\"rejected_rows\":12,\"seconds\":72.005,";
    CHECK(slice_starts(buf_slice(&b), slice_cstr(head)));
    json_t *j = json_loadb(b.p, b.n, 0, NULL);
    CHECK(j != NULL);
    CHECK_INT(json_integer_value(json_object_get(json_object_get(j, "errors"), "permanent_no_such_user")),
              3223);
    CHECK_INT(json_integer_value(json_object_get(json_object_get(j, "classes"), "unknown")), 424);
    json_t *isps = json_object_get(j, "isps");
    CHECK_INT(json_array_size(isps), 2);
    CHECK_STR(slice_cstr(json_string_value(json_object_get(json_array_get(isps, 0), "isp"))), S("gmail"));
    CHECK_INT(json_integer_value(json_object_get(json_array_get(isps, 0), "ambiguous")), 2);
    CHECK_STR(slice_cstr(json_string_value(
                  json_object_get(json_array_get(json_object_get(j, "campaigns"), 0), "campaign"))),
              S("夏祭り"));
    json_decref(j);
    buf_free(&b);
    report_free(&r);
}

TEST(report_tells_what_came_back_from_what_was_delivered)
{
    struct report r;
    struct buf text = {0}, json = {0};
    struct rec_event late = {.type = EVENT_BOUNCED,
                             .phase = REC_PHASE_ASYNC,
                             .code = 550,
                             .recipient = SLICE_NONE,
                             .text = SLICE_NONE,
                             .class_name = S("no_such_user"),
                             .rule = SLICE_NONE,
                             .meta = SLICE_NONE};
    struct rec_event complaint = late;
    complaint.type = EVENT_COMPLAINED;
    complaint.phase = 0;
    report_init(&r, hk);
    report_accepted(&r, S("hello"), 10);
    feed(&r, EVENT_DELIVERED, "", 250, "gmail", 10);
    report_text(&r, &text);
    CHECK(slice_find(buf_slice(&text), S("bounced later")) < 0);
    report_event(&r, &late, S("gmail"), S("hello"));
    report_event(&r, &complaint, S("gmail"), S("hello"));
    buf_clear(&text);
    report_text(&r, &text);
    report_json(&r, &json);
    CHECK_INT(report_unaccounted(&r), 0);
    CHECK_INT(r.errors[REPORT_NO_USER], 1);
    CHECK_INT(report_errors(&r), 1);
    CHECK(slice_find(buf_slice(&text),
                     S("10 delivered, 1 of those delivered bounced later, 1 complaint\n")) >= 0);
    CHECK(slice_find(buf_slice(&text), S("delivery rate 90.00 %")) >= 0);
    CHECK(slice_find(buf_slice(&json), S("\"bounced\":0,")) >= 0);
    CHECK(slice_find(buf_slice(&json), S("\"bounced_later\":1,\"complained\":1")) >= 0);
    buf_free(&text);
    buf_free(&json);
    report_free(&r);
}
