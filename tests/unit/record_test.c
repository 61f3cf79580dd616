/* record_test.c - records survive their encoding; bytes that are none are refused. */
#include "base/err.h"
#include "format/mp.h"
#include "format/record.h"
#include "test.h"

TEST(a_record_reads_back_as_it_was_written)
{
    struct rec in = {.type = REC_EVENT};
    in.event = (struct rec_event){.event = 7,
                                  .type = EVENT_DEFERRED,
                                  .id = 1ull << 40,
                                  .at_ms = 1764000000123,
                                  .campaign = 3,
                                  .recipient = S("taro@example.jp"),
                                  .attempt = 2,
                                  .phase = 7,
                                  .code = 451,
                                  .enh_class = 4,
                                  .enh_subject = 7,
                                  .enh_detail = 1,
                                  .text = S("451 4.7.1 greylisted"),
                                  .class_name = S("greylisted"),
                                  .rule = SLICE_NONE,
                                  .next_due_ms = -5,
                                  .charged = true,
                                  .person = REC_PERSON_JUDGED | REC_PERSON_SUPPRESSED,
                                  .person_until_ms = 1764000000124,
                                  .person_certain_ms = 1764000000125,
                                  .person_why = S("rule init.lua:12 rule 3"),
                                  .meta = S("\x81\xa1k\xa1v")};
    struct buf b = {0};
    struct rec out;
    rec_put(&b, &in);
    CHECK_INT(rec_get(buf_slice(&b), &out), 0);
    CHECK(out.type == REC_EVENT && out.event.event == 7 && out.event.id == 1ull << 40 && out.event.charged);
    CHECK_INT(out.event.next_due_ms, -5);
    CHECK_INT(out.event.person, REC_PERSON_JUDGED | REC_PERSON_SUPPRESSED);
    CHECK_INT(out.event.person_until_ms, 1764000000124);
    CHECK_INT(out.event.person_certain_ms, 1764000000125);
    CHECK_STR(out.event.person_why, S("rule init.lua:12 rule 3"));
    CHECK_STR(out.event.recipient, S("taro@example.jp"));
    CHECK_STR(out.event.meta, S("\x81\xa1k\xa1v"));
    CHECK_STR(out.event.rule, S(""));
    struct buf again = {0};
    rec_put(&again, &out);
    CHECK_STR(buf_slice(&again), buf_slice(&b));
    buf_free(&again);
    buf_free(&b);
}

TEST(what_people_did_reads_back)
{
    struct rec in = {.type = REC_STEER}, out;
    struct buf b = {0};
    in.steer = (struct rec_steer){.at_ms = 1764000000123, .kind = 2, .paused = true, .name = S("gmail")};
    rec_put(&b, &in);
    CHECK_INT(rec_get(buf_slice(&b), &out), 0);
    CHECK(out.type == REC_STEER && out.steer.kind == 2 && out.steer.paused);
    CHECK_STR(out.steer.name, S("gmail"));
    buf_clear(&b);
    in = (struct rec){.type = REC_DUE};
    in.due = (struct rec_due){.id = 17, .due_ms = 1764000000123};
    rec_put(&b, &in);
    CHECK_INT(rec_get(buf_slice(&b), &out), 0);
    CHECK(out.type == REC_DUE && out.due.id == 17 && out.due.due_ms == 1764000000123);
    buf_free(&b);
}

TEST(an_interval_reads_back)
{
    struct rec in = {.type = REC_INTERVAL}, out;
    struct buf b = {0};
    in.interval = (struct rec_interval){.kind = 11,
                                        .begin_ms = 1764000000123,
                                        .end_ms = 1764000005123,
                                        .until_ms = 1764000009123,
                                        .isp = 1,
                                        .source = 2,
                                        .stream = 3,
                                        .pool = 4,
                                        .campaign = 5,
                                        .from = 6,
                                        .domain = S("a.test"),
                                        .mx = S("10 mx.a.test"),
                                        .why = S("rate 60/h (init.lua:3)")};
    rec_put(&b, &in);
    CHECK_INT(rec_get(buf_slice(&b), &out), 0);
    CHECK(out.type == REC_INTERVAL && out.interval.kind == 11);
    CHECK_INT(out.interval.begin_ms, 1764000000123);
    CHECK_INT(out.interval.end_ms, 1764000005123);
    CHECK_INT(out.interval.until_ms, 1764000009123);
    CHECK(out.interval.isp == 1 && out.interval.source == 2 && out.interval.stream == 3);
    CHECK(out.interval.pool == 4 && out.interval.campaign == 5 && out.interval.from == 6);
    CHECK_STR(out.interval.domain, S("a.test"));
    CHECK_STR(out.interval.mx, S("10 mx.a.test"));
    CHECK_STR(out.interval.why, S("rate 60/h (init.lua:3)"));
    buf_free(&b);
}

TEST(a_begin_record_is_some_thirty_bytes)
{
    struct rec in = {.type = REC_BEGIN};
    in.begin = (struct rec_begin){.id = 10000000,
                                  .at_ms = 1764000000123,
                                  .date_s = 1764000000,
                                  .attempt = 1,
                                  .source = 1,
                                  .isp = 2,
                                  .edits = SLICE_NONE};
    struct buf b = {0};
    rec_put(&b, &in);
    CHECK(b.n <= 32);
    buf_free(&b);
}

TEST(an_unknown_field_is_passed_over_and_an_unknown_type_is_told)
{
    struct buf b = {0};
    struct rec out;
    mp_put_array(&b, 2);
    mp_put_uint(&b, REC_KEY);
    mp_put_map(&b, 3);
    mp_put_uint(&b, 99);
    mp_put_str(&b, S("from a later version"));
    mp_put_uint(&b, 1);
    mp_put_uint(&b, 12);
    mp_put_uint(&b, 2);
    mp_put_uint(&b, 4);
    CHECK_INT(rec_get(buf_slice(&b), &out), 0);
    CHECK(out.key.id == 12 && out.key.campaign == 4);
    CHECK_INT(rec_get(S("\x92\x63\x80"), &out), ERR_UNSUPPORTED);
    buf_free(&b);
}

TEST(a_field_of_another_kind_or_too_large_is_an_error)
{
    static const struct {
        const char *what;
        struct slice in;
    } rows[] = {{"number for a text", S("\x92\x02\x81\x0b\x05")},
                {"text for a number", S("\x92\x02\x81\x01\xa1x")},
                {"negative for an unsigned number", S("\x92\x02\x81\x01\xff")},
                {"more than 32 bits", S("\x92\x02\x81\x02\xcf\0\0\0\1\0\0\0\0")},
                {"more than 16 bits", S("\x92\x06\x81\x10\xce\0\1\0\0")},
                {"more than 8 bits", S("\x92\x06\x81\x02\xcd\1\0")},
                {"time beyond 63 bits", S("\x92\x02\x81\x05\xcf\xff\0\0\0\0\0\0\0")},
                {"number for yes or no", S("\x92\x02\x81\x09\x01")},
                {"short hash", S("\x92\x02\x81\x0a\xc4\x01x")},
                {"address of 5 bytes", S("\x92\x05\x81\x05\xc4\x05xxxxx")},
                {"text without its bytes", S("\x92\x02\x81\x0b\xa5xxxx")},
                {"bytes behind the end", S("\x92\x02\x81\x01\x05\x05")}};
    struct rec out;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rec_get(rows[i].in, &out) != ERR_SYNTAX)
            printf("%s\n", rows[i].what);
        CHECK_INT(rec_get(rows[i].in, &out), ERR_SYNTAX);
    }
}

TEST(every_cut_of_a_record_is_an_error)
{
    struct rec in = {.type = REC_RECIPIENT}, out;
    in.recipient = (struct rec_recipient){.id = 1,
                                          .campaign = 1,
                                          .has_key = true,
                                          .key = {1, 2},
                                          .address = S("a@b.test"),
                                          .values = S("\x92\xa1x\xc0"),
                                          .content = SLICE_NONE};
    struct buf b = {0};
    rec_put(&b, &in);
    CHECK_INT(rec_get(buf_slice(&b), &out), 0);
    for (size_t n = 0; n < b.n; n++)
        CHECK(rec_get(slice_of(b.p, n), &out) < 0);
    buf_free(&b);
}

TEST(msgpack_lengths_beyond_the_bytes_are_refused)
{
    static const struct {
        struct slice in;
        int want;
    } rows[] = {{S("\xdd\xff\xff\xff\xff"), ERR_SYNTAX},
                {S("\xdb\x00\x00\x00\x05"
                   "abc"),
                 ERR_SYNTAX},
                {S(""), ERR_EOF},
                {S("\xc1"), ERR_SYNTAX},
                {S("\x91\x91\x91"), ERR_SYNTAX},
                {S("\x92\x01\xc0"), 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct mp m = {rows[i].in};
        CHECK_INT(mp_skip(&m), rows[i].want);
    }
    char deep[100];
    memset(deep, 0x91, sizeof deep);
    deep[99] = 1;
    struct mp m = {slice_of(deep, sizeof deep)};
    CHECK_INT(mp_skip(&m), ERR_SYNTAX);
}

TEST(how_far_a_warm_up_has_come_reads_back)
{
    struct rec in = {.type = REC_WARMUP}, out;
    struct buf b = {0}, again = {0};
    in.warmup = (struct rec_warmup){.at_ms = 1764000000123,
                                    .source = 3,
                                    .isp = 4,
                                    .from = 5,
                                    .day = 20454,
                                    .position = 16,
                                    .used = 120,
                                    .delivered = 119,
                                    .retreat_day = INT64_MIN,
                                    .why = S("3 of 9 answers"),
                                    .rate = 720,
                                    .per_day = true};
    rec_put(&b, &in);
    CHECK_INT(rec_get(buf_slice(&b), &out), 0);
    CHECK(out.type == REC_WARMUP && out.warmup.at_ms == 1764000000123);
    CHECK(out.warmup.source == 3 && out.warmup.isp == 4 && out.warmup.from == 5);
    CHECK(out.warmup.day == 20454 && out.warmup.position == 16 && out.warmup.retreat_day == INT64_MIN);
    CHECK(out.warmup.used == 120 && out.warmup.delivered == 119);
    CHECK(out.warmup.rate == 720 && out.warmup.per_day);
    CHECK_STR(out.warmup.why, S("3 of 9 answers"));
    rec_put(&again, &out);
    CHECK_STR(buf_slice(&again), buf_slice(&b));
    buf_free(&again);
    buf_free(&b);
}
