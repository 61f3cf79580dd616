/* inbound_test.c - returned mail and its messages: found again wherever their end stands in the journal,
 * once. */
#include "delivery/inbound.h"
#include "delivery/suppress.h"
#include "format/rule.h"
#include "test.h"
#include "town.h"

#include <stdio.h>

static const char *const domains[] = {"a.test"};
static const char world[] =
    "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
    "  replies = { { phase = 'rcpt', to = '^p7@', reply = '550 5.1.1 no such user' },"
    "              { phase = 'rcpt', to = '^p8@', reply = '450 4.2.0 later' } } } } }";

struct answer {
    struct town *town;
    bool told;
    int status;
    enum inbound_result v[64];
};

static void on_done(void *data, int status, const enum inbound_result *v, size_t n, const struct err *e)
{
    struct answer *a = data;
    (void)e;
    a->told = true;
    a->status = status;
    if (!status)
        memcpy(a->v, v, n * sizeof *v);
}

static struct inbound_mail bounce_of(uint64_t id)
{
    return (struct inbound_mail){.id = id,
                                 .what = INBOUND_BOUNCE,
                                 .phase = RULE_PHASE_UNKNOWN,
                                 .code = 550,
                                 .enhanced = {5, 1, 1},
                                 .cls = CLASS_NO_SUCH_USER,
                                 .rule = S("a rule"),
                                 .text = S("550 5.1.1 unknown")};
}

static struct inbound_mail complaint_of(uint64_t id)
{
    return (struct inbound_mail){.id = id,
                                 .what = INBOUND_COMPLAINT,
                                 .phase = RULE_PHASE_UNKNOWN,
                                 .cls = CLASS_FEEDBACK,
                                 .rule = S("a rule"),
                                 .text = S("abuse")};
}

/* Ids follow the order of acceptance: p0 is 1. Gives the results as letters: t, k, g, e. */
static const char *give(struct town *t, const struct inbound_mail *v, size_t n)
{
    static char letters[65];
    struct answer a = {.town = t};
    inbound_take(t->d, v, n, on_done, &a);
    town_run_for(t, 1000);
    if (!a.told || a.status)
        return "not answered";
    for (size_t i = 0; i < n; i++)
        letters[i] = *inbound_result_name(a.v[i]);
    letters[n] = 0;
    return letters;
}

static bool is_suppressed(struct town *t, const char *address)
{
    struct arena a = {0};
    struct addr addr;
    struct suppress_hit hit;
    bool is = !addr_parse(slice_cstr(address), &a, &addr, NULL) &&
              suppress_has(deliver_suppress(t->d), &addr, S("news"), SLICE_NONE, &hit);
    arena_free(&a);
    return is;
}

static struct rec_event ended, came_back;
static char words[128]; /* class, rule and text of the last */

static void keep(struct rec_event *to, const struct rec_event *ev)
{
    static char bytes[2][256];
    char *room = bytes[to == &came_back];
    *to = *ev;
    if (ev->meta.n <= sizeof bytes[0])
        to->meta = slice_of(memcpy(room, ev->meta.p, ev->meta.n), ev->meta.n);
    snprintf(words, sizeof words, "%.*s|%.*s|%.*s", SLICE_FMT(ev->class_name), SLICE_FMT(ev->rule),
             SLICE_FMT(ev->text));
}

static void on_event(struct town *t, const struct rec_event *ev)
{
    (void)t;
    if (ev->type == EVENT_DELIVERED)
        keep(&ended, ev);
    else if (ev->type == EVENT_BOUNCED || ev->type == EVENT_COMPLAINED)
        keep(&came_back, ev);
}

TEST(what_comes_back_tells_of_its_message_what_its_end_told)
{
    static struct slice columns[] = {S("name")};
    struct conf_campaign campaign;
    struct town t;
    CHECK(town_new(&t, world, 3));
    town_close(&t);
    campaign = t.conf.campaigns[0];
    campaign.log = columns;
    campaign.nlog = 1;
    t.conf.campaigns = &campaign;
    t.event = on_event;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, domains, 1, 1), 1);
    t.patience_ms = 60000;
    town_run(&t);
    CHECK(ended.source && ended.isp && ended.campaign && ended.stream && ended.domain && ended.sender);
    CHECK(slice_find(ended.meta, S("Taro")) > 0);
    for (int i = 0; i < 2; i++) {
        struct inbound_mail v = i ? complaint_of(1) : bounce_of(1);
        v.enhanced.detail = 2;
        v.text = i ? v.text : S("550 5.1.2 unknown");
        CHECK_STR(slice_cstr(give(&t, &v, 1)), S("t"));
        CHECK_INT(came_back.type, i ? EVENT_COMPLAINED : EVENT_BOUNCED);
        CHECK_INT(came_back.accepted_ms, ended.accepted_ms);
        CHECK_INT(came_back.campaign, ended.campaign);
        CHECK_INT(came_back.stream, ended.stream);
        CHECK_INT(came_back.isp, ended.isp);
        CHECK_INT(came_back.source, ended.source);
        CHECK_INT(came_back.pool, ended.pool);
        CHECK_INT(came_back.attempt, ended.attempt);
        CHECK_INT(came_back.domain, ended.domain);
        CHECK_INT(came_back.sender, ended.sender);
        CHECK_STR(came_back.meta, ended.meta);
        CHECK_INT(came_back.flags, ended.flags);
        CHECK_INT(came_back.phase, i ? 0 : REC_PHASE_ASYNC);
        CHECK_INT(came_back.code, i ? 0 : 550);
        CHECK(i || (came_back.enh_class == 5 && came_back.enh_subject == 1 && came_back.enh_detail == 2));
        CHECK_STR(slice_cstr(words), i ? S("|a rule|abuse") : S("no_such_user|a rule|550 5.1.2 unknown"));
    }
    town_free(&t);
}

/* The rule wants all that a late bounce can say; each mail but the first lacks one of these. */
TEST(a_rule_of_the_script_has_the_first_word_on_a_late_bounce)
{
    static struct slice mx[] = {S("mx.a.test")};
    static struct conf_isp isp[] = {
        {.name = S("a"), .mx = mx, .nmx = 1, .provider = S("carrier"), .place = {S("init.lua"), 3}}};
    static const char *const want[] = {
        "filtered|init.lua:7 rule 1|550 5.1.1 unknown", "no_such_user|a rule|550 5.1.1 unknown",
        "no_such_user|a rule|550 5.1.1 unknown", "no_such_user|a rule|550 5.1.1 unknown",
        "no_such_user|a rule|550 5.1.1 not known"};
    struct rule_spec rule = {.name = S("init.lua:7 rule 1"),
                             .isp = S("carrier"),
                             .phases = 1u << SMTP_PHASE_RCPT,
                             .code_from = 550,
                             .code_to = 550,
                             .enhanced = S("5.1.1"),
                             .text = S("unknown"),
                             .cls = CLASS_FILTERED};
    struct act_rule acts[] = {
        {.name = S("init.lua:7 rule 1"), .act = {.kind = ACT_QUARANTINE, .for_ms = ACT_FOREVER}}};
    struct town t;
    CHECK(town_new(&t, world, 3));
    town_close(&t);
    t.conf.isps = isp;
    t.conf.nisps = 1;
    t.conf.rules = &rule;
    t.conf.nrules = 1;
    t.conf.acts = (struct acts){.of_rules = acts, .nof_rules = 1};
    t.event = on_event;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, domains, 1, 5), 5);
    t.patience_ms = 60000;
    town_run(&t);
    for (uint64_t i = 0; i < COUNT(want); i++) {
        struct inbound_mail v = bounce_of(i + 1);
        v.phase = i == 1 ? SMTP_PHASE_EOD : SMTP_PHASE_RCPT;
        v.code = i == 2 ? 551 : 550;
        if (i == 3)
            v.enhanced = (struct smtp_enhanced){5, 1, 2};
        if (i == 4)
            v.text = S("550 5.1.1 not known");
        CHECK_STR(slice_cstr(give(&t, &v, 1)), S("t"));
        CHECK_STR(slice_cstr(words), slice_cstr(want[i]));
    }
    CHECK(is_suppressed(&t, "p0@a.test")); /* what the rule says of the person */
    town_free(&t);
}

TEST(a_message_is_found_in_whichever_segment_it_ended_also_after_a_restart)
{
    struct town t;
    CHECK(town_new(&t, world, 3));
    town_close(&t);
    t.segment_bytes = 16384; /* many segments */
    CHECK(town_open(&t));
    deliver_start(t.d);
    CHECK_INT(town_send(&t, domains, 1, 400), 400);
    t.patience_ms = 60000;
    town_run(&t);
    struct inbound_mail v[] = {bounce_of(1), bounce_of(200), complaint_of(201), bounce_of(400),
                               bounce_of(401)};
    CHECK_STR(slice_cstr(give(&t, v, COUNT(v))), S("ttttg"));
    CHECK(is_suppressed(&t, "p0@a.test") && is_suppressed(&t, "p199@a.test"));
    CHECK(is_suppressed(&t, "p200@a.test") && is_suppressed(&t, "p399@a.test"));
    CHECK(!is_suppressed(&t, "p1@a.test"));
    for (int i = 0; i < 2; i++) {
        if (i)
            town_crash(&t);
        else
            town_close(&t);
        CHECK(town_open(&t));
        CHECK_STR(slice_cstr(give(&t, v, COUNT(v))), S("kkkkg"));
        CHECK(is_suppressed(&t, "p0@a.test") && !is_suppressed(&t, "p1@a.test"));
    }
    struct inbound_mail later[] = {complaint_of(1), bounce_of(201), bounce_of(2)};
    CHECK_STR(slice_cstr(give(&t, later, COUNT(later))), S("ttt")); /* both of one message, and another */
    town_free(&t);
}

TEST(one_event_a_message_however_often_it_comes)
{
    struct town t;
    struct answer a[3] = {{.town = &t}, {.town = &t}, {.town = &t}};
    CHECK(town_new(&t, world, 4));
    CHECK_INT(town_send(&t, domains, 1, 5), 5);
    town_run(&t);
    struct inbound_mail v[] = {bounce_of(3), bounce_of(2), bounce_of(3)};
    for (size_t i = 0; i < COUNT(a); i++) /* the second and third wait for the first, and go together */
        inbound_take(t.d, v, COUNT(v), on_done, &a[i]);
    town_run_for(&t, 1000);
    static const enum inbound_result want[] = {INBOUND_TAKEN, INBOUND_TAKEN, INBOUND_KNOWN};
    for (size_t i = 0; i < COUNT(a); i++) {
        CHECK(a[i].told && !a[i].status);
        for (size_t k = 0; k < COUNT(v); k++)
            CHECK_INT(a[i].v[k], i ? INBOUND_KNOWN : want[k]);
    }
    CHECK_INT(t.events[EVENT_BOUNCED], 2);
    CHECK_INT(deliver_counts(t.d).queued, 0);
    town_free(&t);
}

TEST(what_has_not_ended_waits_and_what_bounced_does_not_bounce_again)
{
    struct town t;
    CHECK(town_new(&t, world, 5));
    CHECK_INT(town_send(&t, domains, 1, 10), 10);
    t.patience_ms = 1000;
    town_run(&t);
    struct inbound_mail v[] = {bounce_of(8), bounce_of(9), complaint_of(9), bounce_of(0),
                               bounce_of(UINT64_MAX)};
    CHECK_STR(slice_cstr(give(&t, v, COUNT(v))), S("keegg"));
    CHECK_INT(deliver_counts(t.d).queued, 1);
    town_free(&t);
}

TEST(a_folder_that_is_left_answers_those_who_wait)
{
    struct town t;
    struct answer a = {.town = &t}, gone = {.town = &t};
    CHECK(town_new(&t, world, 6));
    CHECK_INT(town_send(&t, domains, 1, 3), 3);
    town_run(&t);
    struct inbound_mail v = bounce_of(1);
    inbound_take(t.d, &v, 1, on_done, &gone);
    inbound_abandon(t.d);
    inbound_take(t.d, &v, 1, on_done, &a);
    town_close(&t);
    CHECK(a.told && a.status < 0);
    CHECK(!gone.told);
    CHECK(town_open(&t));
    CHECK_INT(give(&t, &v, 1)[0] == 't' || give(&t, &v, 1)[0] == 'k', 1);
    inbound_take(t.d, &v, 1, on_done, &(struct answer){.town = &t});
    inbound_put_off(t.d);
    town_free(&t);
}
