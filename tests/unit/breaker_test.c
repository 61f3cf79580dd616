/* breaker_test.c - bars crossed at the right count, windows, what is forgotten and what is not told twice. */
#include "delivery/breaker.h"
#include "test.h"

#define HOUR ((int64_t)3600000)
static const int64_t start = 1782986400000;

struct rig {
    struct breakers *b;
    int64_t at_ms;
    uint32_t flags;
    bool quiet;
    size_t warned, stopped;
    struct breaker_finding last;
};

static void rig_open(struct rig *r, const struct breaker_conf *conf)
{
    struct breaker_conf usual = breaker_default();
    *r = (struct rig){.b = breakers_new(conf ? conf : &usual), .at_ms = start};
}

static void feed(struct rig *r, unsigned type, const char *cls, uint32_t isp, bool late, uint32_t n)
{
    struct rec_event ev = {.type = (uint8_t)type,
                           .at_ms = r->at_ms,
                           .campaign = 7,
                           .stream = 7, /* its number is one of streams */
                           .isp = isp,
                           .flags = r->flags,
                           .session = late ? 0 : 9,
                           .phase = late ? REC_PHASE_ASYNC : 1,
                           .code = 550,
                           .class_name = slice_cstr(cls)};
    struct breaker_finding found[BREAKER_KINDS];
    while (n--) {
        size_t k = breaker_event(r->b, &ev, !r->quiet, found);
        for (size_t i = 0; i < k; i++) {
            r->last = found[i];
            ++*(found[i].stops ? &r->stopped : &r->warned);
        }
    }
}

static void good(struct rig *r, uint32_t n)
{
    feed(r, EVENT_DELIVERED, "", 1, false, n);
}

static void hard(struct rig *r, uint32_t n)
{
    feed(r, EVENT_BOUNCED, "no_such_user", 1, false, n);
}

static void complaints(struct rig *r, uint32_t n)
{
    feed(r, EVENT_COMPLAINED, "", 1, true, n);
}

TEST(breakers_stand_where_it_is_documented)
{
    struct breaker_conf c = breaker_default();
    const struct breaker_bar *errors = &c.of[BREAKER_ERRORS], *complaints = &c.of[BREAKER_COMPLAINTS];
    CHECK_INT(errors->least, 500);
    CHECK_INT(errors->warn_ppm, 30000);
    CHECK_INT(errors->stop_ppm, 100000);
    CHECK_INT(complaints->least, 1000);
    CHECK_INT(complaints->warn_ppm, 1000);
    CHECK_INT(complaints->stop_ppm, 3000);
    CHECK_INT(c.within_ms, 24 * 3600000LL);
}

TEST(hard_errors_warn_at_three_percent_and_stop_at_ten_from_500_attempts_on)
{
    struct rig r;
    struct buf text = {0};
    rig_open(&r, NULL);
    hard(&r, 100);
    good(&r, 399);
    CHECK(!r.warned && !r.stopped); /* 499 */
    good(&r, 1);
    CHECK_INT(r.stopped, 1);
    CHECK(r.last.kind == BREAKER_ERRORS && r.last.who == 7 && r.last.isp == 1);
    breaker_text(&r.last, &text);
    CHECK_STR(buf_slice(&text), S("100 hard errors in 500 attempts (20.00 %)"));
    hard(&r, 100);
    CHECK_INT(r.stopped, 1); /* once */
    breakers_free(r.b);
    rig_open(&r, NULL);
    good(&r, 970);
    hard(&r, 29);
    CHECK_INT(r.warned, 0);
    hard(&r, 1); /* 30 of 1,000 */
    CHECK(r.warned == 1 && !r.stopped);
    hard(&r, 77); /* 107 of 1,077 */
    CHECK(r.warned == 1 && !r.stopped);
    hard(&r, 1);
    CHECK(r.warned == 1 && r.stopped == 1 && r.last.bad == 108 && r.last.of == 1078);
    breakers_free(r.b);
    buf_free(&text);
}

TEST(what_is_no_attempt_and_no_hard_error_moves_no_breaker)
{
    struct rig r;
    rig_open(&r, NULL);
    feed(&r, EVENT_BOUNCED, "mailbox_full", 1, false, 300);
    feed(&r, EVENT_BOUNCED, "blocked", 1, false, 300);
    feed(&r, EVENT_SUPPRESSED, "", 1, false, 300);
    feed(&r, EVENT_BOUNCED, "no_such_user", 0, false, 600); /* no isp was found */
    feed(&r, EVENT_BOUNCED, "no_such_user", 2, false, 59);  /* another one */
    r.flags = REC_FLAG_TEST;
    hard(&r, 600);
    CHECK(!r.warned && !r.stopped);
    CHECK_INT(breaker_pairs(r.b), 2);
    r.flags = 0;
    good(&r, 400); /* 1,000 attempts */
    feed(&r, EVENT_BOUNCED, "no_such_user", 1, true, 99);
    CHECK(r.warned == 1 && !r.stopped);
    feed(&r, EVENT_BOUNCED, "no_such_user", 1, true, 1); /* came back later: no attempt of its own */
    CHECK(r.stopped == 1 && r.last.bad == 100 && r.last.of == 1000);
    breakers_free(r.b);
}

TEST(what_never_met_the_receiver_and_whom_nobody_can_name_does_not_count)
{
    struct rig r;
    struct breaker_finding found[BREAKER_KINDS];
    struct rec_event ev = {.type = EVENT_BOUNCED,
                           .at_ms = start,
                           .campaign = 7,
                           .stream = 7,
                           .isp = 1,
                           .phase = 1,
                           .code = 550,
                           .class_name = S("no_such_domain")};
    rig_open(&r, NULL);
    for (int i = 0; i < 600; i++) /* in no session: DNS said so */
        CHECK_INT(breaker_event(r.b, &ev, true, found), 0);
    ev.session = 9;
    ev.campaign = ev.stream = 0;
    for (int i = 0; i < 1200; i++) {
        ev.type = i % 2 ? EVENT_DELIVERED : EVENT_COMPLAINED;
        CHECK_INT(breaker_event(r.b, &ev, true, found), 0);
    }
    CHECK_INT(breaker_pairs(r.b), 0);
    good(&r, 1000);
    hard(&r, 29);
    CHECK(!r.warned && !r.stopped);
    breakers_free(r.b);
}

TEST(a_stream_that_was_stopped_stays_so_the_next_day)
{
    struct rig r;
    rig_open(&r, NULL);
    good(&r, 1000);
    complaints(&r, 3);
    CHECK_INT(r.stopped, 1);
    r.at_ms += 25 * HOUR;
    good(&r, 1000); /* what was under way, and came late */
    complaints(&r, 5);
    CHECK(r.stopped == 1 && r.warned == 1); /* of the first day */
    breaker_lifted(r.b, BREAKER_COMPLAINTS, 7, 1);
    good(&r, 999);
    complaints(&r, 3);
    CHECK_INT(r.stopped, 1);
    good(&r, 1);
    CHECK_INT(r.stopped, 2);
    breakers_free(r.b);
}

TEST(few_deliveries_are_forgotten_with_their_day_and_many_with_their_hour)
{
    struct rig r;
    rig_open(&r, NULL);
    good(&r, 60);
    r.at_ms += 25 * HOUR;
    good(&r, 940);
    complaints(&r, 3); /* of 940 */
    CHECK(!r.warned && !r.stopped);
    breakers_free(r.b);
    rig_open(&r, NULL);
    good(&r, 100);
    r.at_ms += 12 * HOUR;
    good(&r, 900);
    r.at_ms += 12 * HOUR;
    complaints(&r, 3); /* of 900 */
    CHECK(!r.warned && !r.stopped);
    breakers_free(r.b);
}

TEST(a_finding_says_how_many_of_how_many)
{
    struct breaker_finding f = {.kind = BREAKER_COMPLAINTS, .bad = 1, .of = 1000};
    struct buf text = {0};
    breaker_text(&f, &text);
    CHECK_STR(buf_slice(&text), S("1 complaint in 1,000 delivered (0.10 %)"));
    buf_clear(&text);
    f = (struct breaker_finding){.kind = BREAKER_ERRORS, .bad = 1, .of = 4};
    breaker_text(&f, &text);
    CHECK_STR(buf_slice(&text), S("1 hard error in 4 attempts (25.00 %)"));
    buf_free(&text);
}

TEST(lifted_by_hand_it_begins_at_nothing)
{
    struct rig r;
    rig_open(&r, NULL);
    hard(&r, 500);
    CHECK_INT(r.stopped, 1);
    breaker_lifted(r.b, BREAKER_ERRORS, 7, 1);
    good(&r, 450);
    hard(&r, 49);
    CHECK(r.stopped == 1 && r.warned == 0);
    hard(&r, 1);
    CHECK_INT(r.stopped, 2);
    breaker_lifted(r.b, BREAKER_ERRORS, 8, 1); /* another: nothing */
    hard(&r, 1);
    CHECK_INT(r.stopped, 2);
    breakers_free(r.b);
}

TEST(a_journal_that_is_replayed_tells_nothing_and_leaves_the_same_counts)
{
    struct rig r;
    rig_open(&r, NULL);
    r.quiet = true;
    good(&r, 900);
    hard(&r, 90); /* warned of in its time */
    r.quiet = false;
    hard(&r, 9);
    CHECK(!r.warned && !r.stopped);
    hard(&r, 1); /* 100 of 1,000 */
    CHECK(!r.warned && r.stopped == 1);
    breakers_free(r.b);
    rig_open(&r, NULL);
    r.quiet = true;
    hard(&r, 500);
    r.quiet = false;
    hard(&r, 1); /* the power went before it was written down that it was stopped */
    CHECK_INT(r.stopped, 1);
    breakers_free(r.b);
    rig_open(&r, NULL);
    r.quiet = true;
    hard(&r, 500);
    breaker_stopped(r.b, BREAKER_ERRORS, 7, 1);
    r.quiet = false;
    hard(&r, 1);
    CHECK_INT(r.stopped, 0);
    breakers_free(r.b);
}

TEST(complaints_of_24_hours_count_against_what_was_delivered_in_them)
{
    struct rig r;
    rig_open(&r, NULL);
    good(&r, 999);
    complaints(&r, 3);
    CHECK(!r.warned && !r.stopped);
    good(&r, 1); /* 3 of 1,000 */
    CHECK(r.stopped == 1 && r.last.kind == BREAKER_COMPLAINTS && r.last.who == 7 && r.last.isp == 1);
    breakers_free(r.b);
    rig_open(&r, NULL);
    good(&r, 2000);
    complaints(&r, 1);
    CHECK(!r.warned);
    complaints(&r, 1); /* 0.1 % */
    CHECK(r.warned == 1 && !r.stopped);
    r.at_ms += 25 * HOUR; /* a new day: nothing of it is left */
    good(&r, 1500);
    complaints(&r, 4);
    CHECK(r.warned == 2 && !r.stopped);
    complaints(&r, 1);
    CHECK(r.stopped == 1 && r.last.bad == 5 && r.last.of == 1500);
    breakers_free(r.b);
}

TEST(the_window_of_complaints_moves_by_the_hour)
{
    struct rig r;
    rig_open(&r, NULL);
    good(&r, 1000);
    complaints(&r, 1);
    r.at_ms += 12 * HOUR;
    complaints(&r, 1);
    CHECK(r.warned == 1 && !r.stopped);
    r.at_ms += 12 * HOUR; /* the first hour has gone, with what was delivered in it */
    good(&r, 500);
    complaints(&r, 1);
    CHECK(r.warned == 1 && !r.stopped);
    good(&r, 500); /* 2 of 1,000 */
    CHECK(r.warned == 2 && !r.stopped);
    r.at_ms -= 48 * HOUR; /* a clock that was set back moves nothing */
    good(&r, 1);
    r.at_ms += 48 * HOUR;
    complaints(&r, 1);
    CHECK(!r.stopped);
    complaints(&r, 1); /* 4 of 1,001 */
    CHECK_INT(r.stopped, 1);
    breakers_free(r.b);
}

TEST(bars_are_what_the_script_says)
{
    struct breaker_conf conf = {.of = {[BREAKER_ERRORS] = {10, 0, 500000}, [BREAKER_COMPLAINTS] = {2, 0, 0}},
                                .within_ms = BREAKER_WITHIN_LEAST_MS};
    struct rig r;
    rig_open(&r, &conf);
    good(&r, 5);
    complaints(&r, 100);
    hard(&r, 4);
    CHECK(!r.warned && !r.stopped);
    hard(&r, 1);
    CHECK(!r.warned && r.stopped == 1 && r.last.kind == BREAKER_ERRORS);
    breakers_free(r.b);
    conf.within_ms = 0; /* of a minute all the same */
    conf.of[BREAKER_COMPLAINTS] = (struct breaker_bar){2, 0, 500000};
    rig_open(&r, &conf);
    good(&r, 2);
    complaints(&r, 1);
    CHECK(r.stopped == 1 && r.last.kind == BREAKER_COMPLAINTS);
    breakers_free(r.b);
}

TEST(many_pairs_are_bounded)
{
    struct rig r;
    rig_open(&r, NULL);
    for (uint32_t isp = 1; isp <= BREAKER_MOST / 2 + 10; isp++)
        feed(&r, EVENT_DELIVERED, "", isp, false, 1);
    CHECK_INT(breaker_pairs(r.b), BREAKER_MOST);
    hard(&r, 600); /* one of those that have their place */
    CHECK_INT(r.stopped, 1);
    breakers_free(r.b);
}
