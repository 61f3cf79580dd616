/* answer_test.c - what answers do to the path they came by: who is refused as such stops for a while and
 * somebody is told; who may be asked for less finds the rate; all others go on. */
#include "delivery/deliver_impl.h"
#include "delivery/measure.h"
#include "test.h"
#include "town.h"

#include <stdio.h>

enum { SECOND = 1000, MINUTE = 60000, HOUR = 3600000 };

static struct conf_source sources[] = {{.name = S("s1"), .ehlo = S("s1.example.jp")},
                                       {.name = S("s2"), .ehlo = S("s2.example.jp")}};
static struct rule_spec spec = {
    .name = S("init.lua:7 rule 1"), .isp = S(""), .enhanced = S(""), .text = S("measure now")};
static struct act_rule act_rule;
static const char *const q = "q.test", *const r = "r.test";

static int64_t first_delivered_ms, refused_ms;
static uint32_t named; /* the measure of the last refusal */

static void see(struct town *t, const struct rec_event *ev)
{
    (void)t;
    if (ev->type == EVENT_DELIVERED && !first_delivered_ms)
        first_delivered_ms = ev->at_ms;
    if (ev->type == EVENT_DEFERRED) {
        refused_ms = ev->at_ms;
        named = ev->measure;
    }
}

/* q.test as said, and r.test that takes everything. "measure now" is of this class. */
static bool start(struct town *t, const char *manners, enum reply_class cls, size_t nsources)
{
    char world[512];
    snprintf(
        world, sizeof world,
        "return { isps = { q = { domains = { 'q.test' }, mx = { 'mx.q.test' }, address = '127.0.1.1', %s },"
        " r = { domains = { 'r.test' }, mx = { 'mx.r.test' }, address = '127.0.1.2' } } }",
        manners);
    first_delivered_ms = refused_ms = named = 0;
    spec.cls = cls;
    act_rule = (struct act_rule){.name = spec.name};
    if (!town_new(t, world, 3))
        return false;
    town_close(t);
    t->conf.sources = sources;
    t->conf.nsources = nsources;
    t->conf.rules = &spec;
    t->conf.nrules = 1;
    t->conf.acts = (struct acts){.of_rules = &act_rule, .nof_rules = 1};
    t->event = see;
    return town_open(t);
}

static const struct measure *first_measure(struct town *t)
{
    return measures_next(paths_measures(t->d->paths), NULL);
}

static bool learnt(struct town *t)
{
    for (const struct measure *m = NULL; (m = measures_next(paths_measures(t->d->paths), m));)
        if (m->kind == MEASURE_BACKOFF)
            return true;
    return false;
}

static bool was_said(const struct town *t, const char *words)
{
    return slice_find(buf_slice(&t->trace), slice_cstr(words)) >= 0;
}

TEST(who_is_refused_as_such_stops_for_a_while_and_somebody_is_told)
{
    static const struct {
        const char *manners, *rule, *said;
        enum act_scope scope;
        int64_t for_ms;
        bool of_mail;
    } cases[] = {
        {"replies = { { phase = 'banner', reply = '554 5.7.0 not you', between = { '0 s', '2 min' } } }",
         "source refused",
         "source refused: this path waits for an hour; isp=mx.q.test source=s1 phase=banner", ACT_PATH, HOUR,
         false},
        {"replies = { { phase = 'ehlo', reply = '550 5.7.0 not you', between = { '0 s', '2 min' } } }",
         "source refused", "source refused: this path waits for an hour; isp=mx.q.test source=s1 phase=ehlo",
         ACT_PATH, HOUR, false},
        {"replies = { { phase = 'ehlo', reply = '450 4.3.0 not now', between = { '0 s', '2 min' } } }",
         "refused",
         "refused: this path waits five minutes; isp=mx.q.test source=s1 phase=ehlo text=\"450 4.3.0 not "
         "now\"",
         ACT_PATH, 5 * MINUTE, false},
        {"replies = { { phase = 'mail', reply = '550 5.7.0 not you', between = { '0 s', '2 min' } } }",
         "sender refused",
         "sender refused: this stream waits here for an hour; isp=mx.q.test source=s1 phase=mail", ACT_STREAM,
         HOUR, true},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct town t;
        CHECK(start(&t, cases[i].manners, CLASS_POLICY, 1));
        town_send(&t, &q, 1, 1);
        town_run_for(&t, 2 * SECOND);
        const struct measure *m = first_measure(&t);
        CHECK(m && m->kind == ACT_SUSPEND && m->scope == cases[i].scope && !m->next);
        CHECK_STR(slice_cstr(m->rule), slice_cstr(cases[i].rule));
        CHECK_INT(m->until_ms - m->begin_ms, cases[i].for_ms);
        CHECK(was_said(&t, cases[i].said));
        CHECK_INT(named, cases[i].of_mail ? m->number : 0);
        town_send(&t, &r, 1, 1); /* others take it meanwhile */
        town_run_for(&t, 2 * SECOND);
        CHECK_INT(t.events[EVENT_DELIVERED], 1);
        int64_t until_ms = m->until_ms;
        first_delivered_ms = 0;
        town_run_for(&t, 70 * MINUTE);
        CHECK_INT(t.events[EVENT_DELIVERED], 2);
        CHECK(first_delivered_ms >= until_ms && first_delivered_ms < until_ms + MINUTE + 2 * SECOND);
        town_free(&t);
    }
}

/* Twenty are taken by a receiver that has taken mail for so long; then everybody is refused in this way. */
static bool asks_after(const char *reply, enum reply_class cls, int64_t takes_ms, int64_t rest_ms)
{
    struct town t;
    char manners[256];
    snprintf(manners, sizeof manners, "replies = { { %s, between = { '%lld s', '5 h' } } }", reply,
             (long long)(takes_ms / SECOND));
    if (!start(&t, manners, cls, 1)) {
        test_fail(__FILE__, __LINE__, "no world: %s", t.err.text);
        return false;
    }
    for (int64_t at = 0; at < takes_ms; at += 30 * SECOND) {
        char name[32];
        snprintf(name, sizeof name, "n%lld", (long long)at);
        t.behind_name = name;
        town_send(&t, &q, 1, 1);
        town_run_for(&t, 30 * SECOND);
    }
    town_run_for(&t, rest_ms + 1);
    t.behind_name = "late";
    town_send(&t, &q, 1, 12);
    town_run_for(&t, 10 * SECOND);
    bool is = learnt(&t);
    town_free(&t);
    return is;
}

static bool asks(const char *reply, enum reply_class cls, int64_t takes_ms)
{
    return asks_after(reply, cls, takes_ms, 0);
}

TEST(before_rcpt_a_4xx_that_does_not_say_why_asks_for_less)
{
    static const struct {
        enum reply_class cls;
        bool asks, also_at_first; /* from a receiver that never took any */
    } cases[] = {{CLASS_SYSTEM, true, false},
                 {CLASS_POLICY, true, false},
                 {CLASS_OVER_LIMIT, true, false},
                 {CLASS_RATE_LIMITED, true, true},
                 {CLASS_TOO_MANY_CONNECTIONS, true, true},
                 {CLASS_BLOCKED, true, true},
                 {CLASS_LOW_REPUTATION, true, true},
                 {CLASS_AUTH_FAILED, false, false},
                 {CLASS_SENDER_REJECTED, false, false},
                 {CLASS_TLS_FAILED, false, false},
                 {CLASS_SPAM, false, false},
                 {CLASS_CONTENT, false, false},
                 {CLASS_GREYLISTED, false, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *mail = "phase = 'mail', reply = '450 4.7.9 measure now'";
        if (asks(mail, cases[i].cls, 5 * MINUTE) != cases[i].asks)
            test_fail(__FILE__, __LINE__, "%s is another", class_name(cases[i].cls));
        if (asks(mail, cases[i].cls, 0) != cases[i].also_at_first)
            test_fail(__FILE__, __LINE__, "%s is another at first", class_name(cases[i].cls));
    }
    CHECK(!asks("phase = 'mail', reply = '550 5.7.9 measure now'", CLASS_SYSTEM, 5 * MINUTE));
    CHECK(!asks_after("phase = 'mail', reply = '450 4.7.9 measure now'", CLASS_SYSTEM, 5 * MINUTE, 2 * HOUR));
}

TEST(a_session_that_is_ended_asks_for_less_where_mail_was_taken_for_ten_minutes)
{
    static const char ended[] = "phase = 'rcpt', reply = '421 4.7.9 measure now'",
                      lost[] = "phase = 'rcpt', disconnect = true";
    CHECK(asks(ended, CLASS_SYSTEM, 15 * MINUTE));
    CHECK(!asks(ended, CLASS_SYSTEM, 5 * MINUTE));
    CHECK(!asks(ended, CLASS_GREYLISTED, 15 * MINUTE));
    CHECK(!asks(ended, CLASS_AUTH_FAILED, 15 * MINUTE));
    CHECK(asks(lost, CLASS_SYSTEM, 15 * MINUTE));
    CHECK(!asks(lost, CLASS_SYSTEM, 5 * MINUTE));
}

TEST(where_a_rule_says_what_is_done_the_path_learns_nothing_by_itself)
{
    for (int speaks = 0; speaks < 3; speaks++) { /* not at all, quietly, aloud */
        struct town t;
        CHECK(start(&t, "replies = { { phase = 'mail', reply = '450 4.7.9 measure now' } }",
                    CLASS_RATE_LIMITED, 1));
        town_close(&t);
        if (speaks) {
            act_rule.act = act_default(ACT_FEWER);
            act_rule.act.alert = speaks == 2;
            act_rule.after = 1;
        }
        CHECK(town_open(&t));
        town_send(&t, &q, 1, 12);
        town_run_for(&t, 10 * SECOND);
        CHECK_INT(learnt(&t), !speaks);
        CHECK_INT(was_said(&t, "notice: measure=M1 fewer scope=path isp=mx.q.test source=s1 about=\"\" "
                               "rule=\"init.lua:7 rule 1\" text=\"450 4.7.9 measure now\""),
                  speaks > 0);
        CHECK_INT(t.alerts > 0, speaks == 2);
        town_free(&t);
    }
}
