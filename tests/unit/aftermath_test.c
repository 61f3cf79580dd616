/* aftermath_test.c - hato why: which measure an answer put in place, and whom else it held up. */
#include "cmd.h"
#include "delivery/interval.h"
#include "delivery/measure.h"
#include "journal_rig.h"
#include "test.h"

#include <jansson.h>

#define AT(second) (((int64_t)RIG_WALL_S + (second)) * 1000)
enum { BEGAN_S = 10, OVER_S = 60, CAUSES = 100 };

static void place(struct journal_rig *rig, const char *domain, uint32_t isp, const char *mx)
{
    struct rec rec = {.type = REC_INTERVAL};
    rec.interval = (struct rec_interval){.kind = INTERVAL_DNS,
                                         .begin_ms = AT(0),
                                         .end_ms = AT(1),
                                         .isp = isp,
                                         .domain = slice_cstr(domain),
                                         .mx = slice_cstr(mx),
                                         .why = S("for DNS")};
    journal_rig_put(rig, SPOOL_EVENTS, &rec);
}

static void take_in(struct journal_rig *rig, uint64_t id, const char *address, uint32_t campaign,
                    uint32_t from, int second)
{
    struct rec rec = {.type = REC_RECIPIENT};
    rec.recipient = (struct rec_recipient){.id = id,
                                           .campaign = campaign,
                                           .stream = 1,
                                           .domain = from,
                                           .accepted_ms = AT(second),
                                           .address = slice_cstr(address),
                                           .values = SLICE_NONE,
                                           .content = SLICE_NONE};
    journal_rig_put(rig, SPOOL_RECIPIENTS, &rec);
}

static void answer(struct journal_rig *rig, uint64_t id, unsigned type, int second, uint32_t source,
                   uint32_t measure)
{
    journal_rig_event(rig, (struct rec_event){.type = (uint8_t)type,
                                              .id = id,
                                              .at_ms = AT(second),
                                              .accepted_ms = AT(0),
                                              .campaign = 1,
                                              .stream = 1,
                                              .isp = 1,
                                              .source = source,
                                              .attempt = 1,
                                              .charged = true,
                                              .measure = measure,
                                              .recipient = S("cause@elsewhere.test")});
}

static const struct row {
    struct rec_measure m;
    uint32_t said; /* by the event; 0: the measure's own number */
    int slowed;    /* -1: the answer did not cause it */
} rows[] = {
    {{.scope = ACT_PATH, .isp = 1, .source = 1}, 0, 4},                /* not who went from mx2 */
    {{.scope = ACT_SOURCE, .source = 1}, 0, 5},                        /* the other receiver's too */
    {{.scope = ACT_SITE, .isp = 1, .what = S("mx.gmail.test")}, 0, 4}, /* not the other hosts' */
    {{.scope = ACT_STREAM, .isp = 1, .what = S("m.example.jp")}, 0, 4},
    {{.scope = ACT_CAMPAIGN, .isp = 1, .what = S("hello")}, 0, 4},
    {{.scope = ACT_CAMPAIGN, .isp = 1, .what = S("hello"), .cause = 9}, 999, -1},
    {{.scope = ACT_CAMPAIGN, .isp = 1, .what = S("hello")}, 999, 4}, /* a breaker's, which has no one cause */
    {{.scope = ACT_CAMPAIGN, .isp = 2, .what = S("hello")}, 999, -1},
};

static void write_journal(struct journal_rig *rig)
{
    static const struct {
        enum rec_name_kind kind;
        uint32_t number;
        const char *name;
    } names[] = {
        {NAME_CAMPAIGN, 1, "hello"}, {NAME_CAMPAIGN, 2, "other"},      {NAME_STREAM, 1, "news"},
        {NAME_ISP, 1, "gmail"},      {NAME_ISP, 2, "yahoo"},           {NAME_SOURCE, 1, "mx1"},
        {NAME_SOURCE, 2, "mx2"},     {NAME_DOMAIN, 1, "m.example.jp"}, {NAME_DOMAIN, 2, "n.example.jp"}};
    for (size_t i = 0; i < COUNT(names); i++)
        journal_rig_name(rig, names[i].kind, names[i].number, names[i].name);
    place(rig, "gmail.test", 1, "mx.gmail.test");
    place(rig, "hosted.test", 1, "mx.hosted.test");
    place(rig, "yahoo.test", 2, "mx.yahoo.test");
    take_in(rig, 2, "waits@gmail.test", 1, 1, 0);
    take_in(rig, 3, "other-receiver@yahoo.test", 1, 1, 0);
    take_in(rig, 4, "ended@gmail.test", 1, 1, 0);
    answer(rig, 4, EVENT_DELIVERED, BEGAN_S, 1, 0);
    take_in(rig, 5, "came-later@gmail.test", 1, 1, OVER_S);
    take_in(rig, 6, "other-source@gmail.test", 1, 1, 0);
    take_in(rig, 7, "other-hosts@hosted.test", 1, 1, 0);
    take_in(rig, 8, "other-from@gmail.test", 1, 2, 0);
    take_in(rig, 9, "other-campaign@gmail.test", 2, 1, 0);
    answer(rig, 6, EVENT_DEFERRED, BEGAN_S + (int)COUNT(rows) + 1, 2, 0);
    for (uint32_t i = 0; i < COUNT(rows); i++) {
        struct rec rec = {.type = REC_MEASURE, .measure = rows[i].m};
        struct slice what = rows[i].m.what;
        int64_t begin_ms = AT(BEGAN_S + (int)i);
        rec.measure.number = i + 1;
        rec.measure.kind = ACT_SUSPEND;
        rec.measure.at_ms = rec.measure.begin_ms = begin_ms;
        rec.measure.until_ms = rec.measure.over_ms = AT(OVER_S);
        rec.measure.what = slice_of(what.p, what.n);
        rec.measure.rule = S("init.lua:5 rule 1");
        rec.measure.why = S("421 slow down");
        if (!rows[i].said)
            rec.measure.cause = CAUSES + i;
        take_in(rig, CAUSES + i, "cause@elsewhere.test", 1, 1, 0);
        answer(rig, CAUSES + i, EVENT_DEFERRED, BEGAN_S + (int)i, 1, rows[i].said ? rows[i].said : i + 1);
        journal_rig_put(rig, SPOOL_EVENTS, &rec);
    }
    journal_rig_turn(rig);
}

TEST(why_counts_whom_a_measure_held_up_and_nobody_whom_it_did_not_touch)
{
    struct journal_rig rig = {0};
    struct buf out = {0};
    journal_rig_open(&rig);
    write_journal(&rig);
    for (size_t i = 0; i < COUNT(rows); i++) {
        char id[16];
        snprintf(id, sizeof id, "m%d", CAUSES + (int)i);
        buf_clear(&out);
        CHECK_INT(journal_rig_run(&rig, cmd_why, &out, "why", id, "--json", NULL), EXIT_DONE);
        json_t *story = json_loadb(out.p, out.n, JSON_DISABLE_EOF_CHECK, NULL);
        const json_t *all = json_object_get(story, "measures"), *m = json_array_get(all, 0);
        int slowed = m ? (int)json_integer_value(json_object_get(m, "slowed")) : -1;
        if (slowed != rows[i].slowed)
            printf("   row %zu\n", i);
        CHECK_INT(slowed, rows[i].slowed);
        CHECK_INT(json_array_size(all), m != NULL);
        json_decref(story);
    }
    buf_clear(&out);
    CHECK_INT(journal_rig_run(&rig, cmd_why, &out, "why", "m100", NULL), EXIT_DONE);
    CHECK(slice_find(buf_slice(&out), S("it ended 2026-07-02 10:01:00; 4 other messages waited for it (hello "
                                        "3, other 1)")) > 0);
    buf_free(&out);
    journal_rig_close(&rig);
}
