/* chain_test.c - no moment of a message's life is without a reason, whatever it went through. */
#include "delivery/chain.h"
#include "delivery/deliver_impl.h"
#include "delivery/steer.h"
#include "delivery/timesheet.h"
#include "test.h"
#include "town.h"

#include <stdlib.h>

static const char *const a_only[] = {"a.test"};
static const char one_isp[] =
    "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
    " delay = '50 ms' } } }";

static struct slice a_mx[] = {S("mx.a.test")};

/* Closes the town's delivery, reads its journal, and says what is without a reason. */
static struct timesheet sheet_of(struct town *t)
{
    struct timesheet sheet;
    struct buf words = {0};
    if (t->d)
        town_close(t);
    if (timesheet_read(t->fs, "state", loop_wall_ms(t->loop), false, &sheet, &t->err))
        sheet.ms[REASON_NONE] = INT64_MAX;
    else
        sheet.ms[REASON_NONE] += sheet.ms[REASON_TURN]; /* a virtual clock knows no such time */
    timesheet_text(&sheet, &words);
    if (sheet.ms[REASON_NONE])
        fprintf(stderr, "m%llu: %lld ms without a reason; %.*s\n", (unsigned long long)sheet.worst_id,
                (long long)sheet.worst_ms, SLICE_FMT(buf_slice(&words)));
    buf_free(&words);
    return sheet;
}

static void on_time(struct loop_timer *timer)
{
    loop_stop(timer->data);
}

/* Also while nothing is open. */
static void wait_for(struct town *t, int64_t ms)
{
    struct loop_timer timer = {.data = t->loop};
    if (t->d)
        deliver_start(t->d);
    loop_timer_start(t->loop, &timer, ms, on_time);
    loop_run(t->loop);
}

TEST(a_wait_for_a_limit_is_named_whole)
{
    struct town t;
    struct conf_isp isp = {
        .name = S("a"), .mx = a_mx, .nmx = 1, .amounts.rate = {60, 1, 3600000}, .place = {S("init.lua"), 3}};
    CHECK(town_new(&t, one_isp, 1));
    town_close(&t);
    t.conf.isps = &isp;
    t.conf.nisps = 1;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 200), 200);
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 200);
    struct timesheet s = sheet_of(&t);
    CHECK_INT(s.messages, 200);
    CHECK_INT(s.ms[REASON_NONE], 0);
    CHECK(s.ms[INTERVAL_LIMIT] > 199ll * 100 * 60000 * 95 / 100);
    town_free(&t);
}

TEST(a_wait_for_a_connection_is_named_whole)
{
    struct town t;
    CHECK(town_new(&t, one_isp, 2));
    CHECK_INT(town_send(&t, a_only, 1, 500), 500);
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 500);
    struct timesheet s = sheet_of(&t);
    CHECK_INT(s.ms[REASON_NONE], 0);
    CHECK(s.ms[INTERVAL_PATH] > 500);
    town_free(&t);
}

TEST(greylisting_and_faults_of_dns_leave_no_gap)
{
    static const char *const domains[] = {"a.test", "gone.test", "null.test", "flaky.test"};
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
                   " greylist = '10 min', delay = '20 ms',"
                   " replies = { { phase = 'eod', to = '^p2@', reply = '452 4.2.2 mailbox full' } } } },"
                   "dns = { ['null.test'] = 'null_mx', ['flaky.test'] = 'servfail' } }",
                   3));
    CHECK_INT(town_send(&t, domains, 4, 20), 80);
    t.patience_ms = 50 * 60000;
    town_run(&t);
    struct timesheet s = sheet_of(&t);
    CHECK_INT(s.messages, 80);
    CHECK_INT(s.ms[REASON_NONE], 0);
    CHECK(s.ms[REASON_TIME] > 19 * 300000);        /* next tries */
    CHECK(s.ms[INTERVAL_DNS] > 20ll * 30 * 60000); /* flaky.test */
    town_free(&t);
}

static void on_steered(void *data, int status, uint64_t touched, uint64_t in_flight)
{
    *(int *)data = status ? status : 1;
}

static bool steer_word(struct town *t, enum steer_verb verb, const char *word)
{
    struct steer_order o = {.verb = verb};
    int done = 0;
    if (steer_parse(slice_cstr(word), &o.kind, &o.name, &t->err) ||
        steer(t->d, &o, on_steered, &done, &t->err))
        return false;
    for (int i = 0; i < 100 && !done; i++)
        wait_for(t, 10);
    return done == 1;
}

TEST(pauses_of_all_kinds_are_named)
{
    static const char *const words[] = {"campaign=hello", "stream=news",    "isp=mx.a.test",
                                        "domain=a.test",  "source=default", "id=m7"};
    for (size_t i = 0; i < COUNT(words); i++) {
        struct town t;
        CHECK(town_new(&t, one_isp, 4 + i));
        CHECK_INT(town_send(&t, a_only, 1, 100), 100);
        wait_for(&t, 70);
        CHECK(steer_word(&t, STEER_PAUSE, words[i]));
        wait_for(&t, 3600000);
        CHECK(steer_word(&t, STEER_RESUME, words[i]));
        town_run(&t);
        CHECK_INT(deliver_counts(t.d).delivered, 100);
        struct timesheet s = sheet_of(&t);
        CHECK_INT(s.ms[REASON_NONE], 0);
        CHECK(s.ms[INTERVAL_PAUSE] >= 3590000);
        town_free(&t);
    }
}

TEST(a_receiver_that_is_down_is_named)
{
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
                   " replies = { { phase = 'connect', share = 0.9, disconnect = true } } } } }",
                   11));
    CHECK_INT(town_send(&t, a_only, 1, 40), 40);
    t.patience_ms = 6 * 3600000;
    town_run(&t);
    struct timesheet s = sheet_of(&t);
    CHECK_INT(s.ms[REASON_NONE], 0);
    CHECK(s.ms[INTERVAL_SITE] + s.ms[INTERVAL_MEASURE] > 60000);
    town_free(&t);
}

TEST(a_receiver_that_refuses_our_source_is_named)
{
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
                   " delay = '20 ms',"
                   " replies = { { phase = 'mail', share = 0.05, reply = '421 4.7.0 not now' },"
                   "             { phase = 'banner', share = 0.3, reply = '554 go away' } } } } }",
                   12));
    CHECK_INT(town_send(&t, a_only, 1, 60), 60);
    town_run(&t);
    struct timesheet s = sheet_of(&t);
    CHECK_INT(s.ms[REASON_NONE], 0);
    CHECK(s.ms[INTERVAL_MEASURE] > 60000);
    town_free(&t);
}

TEST(that_hato_was_not_running_is_a_reason_too)
{
    struct town t;
    struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .amounts.rate = {60, 1, 3600000}};
    CHECK(town_new(&t, one_isp, 13));
    town_close(&t);
    t.conf.isps = &isp;
    t.conf.nisps = 1;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 30), 30);
    wait_for(&t, 600500);
    town_close(&t);
    wait_for(&t, 240000);
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 30), 0);
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 20); /* of this process */
    struct timesheet s = sheet_of(&t);
    CHECK_INT(s.ms[REASON_NONE], 0);
    /* 19 waited when it ended. */
    CHECK(s.ms[REASON_DOWN] >= 18ll * 240000 && s.ms[REASON_DOWN] <= 20ll * 240500);
    town_free(&t);
}

static void crash_after(int64_t after, bool limited)
{
    struct town t;
    struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .amounts.rate = {600, 1, 3600000}};
    CHECK(town_new(&t,
                   "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'},"
                   " address = '127.0.1.1', greylist = '1 min', delay = '40 ms' } } }",
                   (uint64_t)(100 + after)));
    town_close(&t);
    t.conf.isps = &isp;
    t.conf.nisps = limited;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 60), 60);
    wait_for(&t, after);
    town_crash(&t);
    wait_for(&t, 120000);
    CHECK(town_open(&t));
    town_send(&t, a_only, 1, 60);
    town_run(&t);
    struct timesheet s = sheet_of(&t);
    CHECK_INT(s.messages, 60);
    CHECK_INT(s.ms[REASON_NONE], 0);
    CHECK(!limited || after > 5000 || s.ms[REASON_DOWN] > 0); /* those that are left have their next try */
    town_free(&t);
}

TEST(a_crash_leaves_no_gap)
{
    for (int64_t after = 10; after < 100000; after = after * 3 + 7) {
        crash_after(after, false);
        crash_after(after, true);
    }
}

struct late {
    struct loop_timer timer;
    struct town *t;
    uint64_t id;
};

static void on_late(struct loop_timer *timer)
{
    struct late *l = CONTAINER(timer, struct late, timer);
    deliver_hook_done(l->t->d, l->id, SLICE_NONE, l->id % 10 == 3 ? "it failed" : NULL);
    free(l);
}

static void on_hook(void *data, uint64_t id, const struct campaign *c, const struct rec_recipient *rec,
                    struct slice columns)
{
    struct late *l = mem_zalloc(sizeof *l);
    l->t = data;
    l->id = id;
    loop_timer_start(l->t->loop, &l->timer, 700, on_late);
}

TEST(the_time_of_message_hooks_is_named)
{
    struct town t;
    CHECK(town_new(&t, one_isp, 14));
    town_close(&t);
    t.message_hook = on_hook;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 100), 100);
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 90);
    wait_for(&t, 60000);
    struct timesheet s = sheet_of(&t);
    CHECK_INT(s.ms[REASON_NONE], 0);
    CHECK(s.ms[INTERVAL_HOOK] >= 100 * 700);
    CHECK(s.ms[REASON_HELD] >= 10 * 60000);
    town_free(&t);
}

TEST(a_campaign_that_begins_later_is_named)
{
    struct town t;
    struct conf_campaign later;
    CHECK(town_new(&t, one_isp, 15));
    town_close(&t);
    later = t.conf.campaigns[0];
    later.at_ms = loop_wall_ms(t.loop) + 7200000;
    later.place = (struct conf_place){S("init.lua"), 9};
    t.conf.campaigns = &later;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_only, 1, 10), 10);
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 10);
    struct timesheet s = sheet_of(&t);
    CHECK_INT(s.ms[REASON_NONE], 0);
    CHECK(s.ms[INTERVAL_CAMPAIGN] >= 10 * 7199000ll);
    town_free(&t);
}

/* --- by hand --- */

static void learn(struct reasons *rs, struct event_names *names, struct rec rec)
{
    if (rec.type == REC_INTERVAL) {
        struct slice *texts[] = {&rec.interval.domain, &rec.interval.mx, &rec.interval.why};
        for (size_t i = 0; i < COUNT(texts); i++)
            *texts[i] = slice_of(texts[i]->p, texts[i]->n);
    }
    event_names_learn(names, &rec);
    reasons_learn(rs, &rec, names);
}

struct told {
    struct buf out;
};

static void on_told(void *data, size_t step, const struct reason *r)
{
    struct told *t = data;
    buf_printf(&t->out, "%zu %s %lld-%lld %.*s\n", step, reason_kind_name(r->kind),
               (long long)r->begin_ms / 1000, (long long)r->end_ms / 1000, SLICE_FMT(r->why));
}

static void on_kind(void *data, const struct reason *r)
{
    struct buf *out = data;
    buf_printf(out, "%s %lld-%lld\n", reason_kind_name(r->kind), (long long)r->begin_ms,
               (long long)r->end_ms);
}

TEST(less_than_a_second_between_two_waits_is_a_turn_of_the_loop_and_more_is_not)
{
    struct reasons *rs = reasons_new();
    struct event_names *names = event_names_new(NULL);
    struct reasons_who who = {.domain = S("a.test")};
    struct buf told = {0};
    learn(rs, names,
          (struct rec){REC_INTERVAL, .interval = {.kind = INTERVAL_UP, .begin_ms = 1000, .end_ms = 90000}});
    for (int64_t at = 2000; at < 20000; at = at * 2 + 1)
        learn(rs, names,
              (struct rec){REC_INTERVAL, .interval = {.kind = INTERVAL_LIMIT,
                                                      .begin_ms = at,
                                                      .end_ms = at + 1100,
                                                      .why = S("for x")}});
    reasons_end(rs, 90000, true);
    reasons_of(rs, &who, NULL, 0, 2000, 6000, on_kind, &told);
    CHECK_STR(buf_slice(&told), S("limit 2000-3100\nturn 3100-4001\nlimit 4001-5101\nturn 5101-6000\n"));
    buf_clear(&told);
    reasons_of(rs, &who, NULL, 0, 5000, 8003, on_kind, &told);
    CHECK_STR(buf_slice(&told), S("limit 5000-5101\nnone 5101-8003\n"));
    buf_free(&told);
    reasons_free(rs);
    event_names_free(names);
}

TEST(what_nothing_accounts_for_is_told_and_the_stronger_reason_goes_first)
{
    struct reasons *rs = reasons_new();
    struct event_names *names = event_names_new(NULL);
    struct chain c = {.id = 1, .recipient = SLICE_NONE};
    struct told told = {{0}};
    learn(rs, names, (struct rec){REC_NAME, .name = {NAME_ISP, 1, S("a")}});
    learn(rs, names, (struct rec){REC_NAME, .name = {NAME_ISP, 2, S("b")}});
    learn(rs, names, (struct rec){REC_NAME, .name = {NAME_CAMPAIGN, 1, S("hello")}});
    learn(rs, names,
          (struct rec){REC_INTERVAL, .interval = {.kind = INTERVAL_UP, .begin_ms = 1000, .end_ms = 90000}});
    learn(rs, names,
          (struct rec){REC_INTERVAL, .interval = {.kind = INTERVAL_LIMIT,
                                                  .begin_ms = 20000,
                                                  .end_ms = 40000,
                                                  .isp = 1,
                                                  .why = S("for 60/h")}});
    learn(rs, names, /* another receiver's */
          (struct rec){REC_INTERVAL, .interval = {.kind = INTERVAL_LIMIT,
                                                  .begin_ms = 10000,
                                                  .end_ms = 50000,
                                                  .isp = 2,
                                                  .why = S("for 9/h")}});
    learn(rs, names, /* another campaign's */
          (struct rec){REC_INTERVAL, .interval = {.kind = INTERVAL_PAUSE,
                                                  .begin_ms = 10000,
                                                  .end_ms = 50000,
                                                  .campaign = 7,
                                                  .why = S("no")}});
    learn(rs, names,
          (struct rec){REC_INTERVAL, .interval = {.kind = INTERVAL_PAUSE,
                                                  .begin_ms = 25000,
                                                  .end_ms = 30000,
                                                  .campaign = 1,
                                                  .why = S("because of us")}});
    learn(rs, names, (struct rec){REC_NAME, .name = {NAME_CAMPAIGN, 7, S("other")}});
    reasons_end(rs, 200000, false);
    chain_recipient(
        &c, &(struct rec_recipient){.id = 1, .campaign = 1, .accepted_ms = 10000, .address = S("p@a.test")});
    chain_begin(&c, &(struct rec_begin){.id = 1, .at_ms = 50000, .claim_ms = 2000, .isp = 1});
    chain_event(&c, &(struct rec_event){
                        .id = 1, .type = EVENT_DEFERRED, .at_ms = 51000, .next_due_ms = 70000, .isp = 1});
    chain_walk(&c, rs, names, 200000, on_told, &told);
    CHECK_STR(
        buf_slice(&told.out),
        S("0 none 10-20 \n"
          "0 limit 20-25 for 60/h\n"
          "0 pause 25-30 because of us\n"
          "0 limit 30-40 for 60/h\n"
          "0 none 40-48 \n"
          "0 connection 48-50 on the connection that took it up: for that to open, or for the one before it\n"
          "1 attempt 50-51 for its attempt to end\n"
          "2 time 51-70 for the time of its next try\n"
          "2 none 70-89 \n"
          "2 not running 89-200 because hato was not running\n"));
    CHECK_INT(chain_unnamed_ms(&c, rs, names, 200000), 10000 + 8000 + 19800);
    buf_free(&told.out);
    chain_free(&c);
    reasons_free(rs);
    event_names_free(names);
}
