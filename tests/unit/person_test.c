/* person_test.c - which ends of messages say something about a person, and what they say. */
#include "delivery/person.h"
#include "delivery/event.h"
#include "test.h"

static const int64_t HOUR = 3600000, DAY = 24 * 3600000,
                     NOON = 1764000000000 / 86400000 * 86400000 + 12 * 3600000;
enum { ISP = 3 };

/* Of a script. */
static const struct act_rule rules[] = {
    {.name = {"init.lua:3 rule 1", 17},
     .act = {.kind = ACT_SUPPRESS, .for_ms = 9 * 86400000LL},
     .classes = 1ull << CLASS_EXPIRED},
    {.name = {"init.lua:4 rule 2", 17}, .act = {.ignore = true}, .classes = 1ull << CLASS_INACTIVE},
    {.name = {"init.lua:5 rule 3", 17},
     .act = {.kind = ACT_QUARANTINE, .for_ms = ACT_FOREVER},
     .kinds = 1u << KIND_HARD}};
static const struct acts script = {.rules = rules, .nrules = COUNT(rules)};

struct rig {
    struct person *person;
    uint64_t next;
};

static struct rig rig_of(const struct acts *acts)
{
    struct person_conf conf;
    struct rig r = {.next = 0};
    struct err e;
    person_conf_default(&conf);
    int rc = person_new(&conf, acts, &r.person, &e);
    INVARIANT(!rc);
    return r;
}

static unsigned ends_for(struct rig *r, struct hash128 who, int64_t at_ms, const char *class_name)
{
    struct rec_event ev = {.type = EVENT_BOUNCED,
                           .at_ms = at_ms,
                           .isp = ISP,
                           .session = 1,
                           .code = 550,
                           .class_name = slice_cstr(class_name),
                           .text = SLICE_NONE,
                           .person_why = SLICE_NONE};
    person_judge(r->person, &who, NULL, S("mx.a.test"), &ev);
    person_learn(r->person, who, &ev);
    return ev.person;
}

/* One answered attempt, of another person each time. Returns what was decided. */
static unsigned ends(struct rig *r, enum rec_event_type type, const char *class_name, int code,
                     unsigned flags)
{
    struct hash128 who = {++r->next * 0x9e3779b97f4a7c15u, r->next << 40};
    struct rec_event ev = {.type = type,
                           .id = r->next,
                           .at_ms = NOON + (int64_t)r->next * 1000,
                           .isp = ISP,
                           .session = 1,
                           .charged = true,
                           .code = (uint16_t)code,
                           .flags = (uint8_t)flags,
                           .class_name = slice_cstr(class_name),
                           .text = SLICE_NONE,
                           .person_why = SLICE_NONE};
    person_judge(r->person, flags & REC_FLAG_TEST ? NULL : &who, NULL, S("mx.a.test"), &ev);
    person_learn(r->person, who, &ev);
    return ev.person;
}

TEST(people_are_judged_by_the_figures_that_are_documented)
{
    struct person_conf c;
    person_conf_default(&c);
    CHECK_INT(c.guard.attempts, 200);
    CHECK_INT(c.guard.share_ppm, 200000);
    CHECK_INT(c.guard.usual_ppm, 50000);
    CHECK_INT(c.provisional_ms, 24 * HOUR);
    CHECK_INT(c.nxdomain_ms, 24 * HOUR);
    CHECK_INT(c.clear_ms, 5 * DAY);
}

TEST(only_unknown_people_that_mail_was_sent_to_wake_the_guard)
{
    struct rig r = rig_of(NULL);
    for (int i = 0; i < 150; i++) {
        ends(&r, EVENT_BOUNCED, "blocked", 550, 0);                  /* says nothing about anybody */
        ends(&r, EVENT_BOUNCED, "moved", 551, 0);                    /* nor that nobody is there */
        ends(&r, EVENT_BOUNCED, "no_such_user", 550, REC_FLAG_TEST); /* sent to those who try it out */
    }
    CHECK(!person_outbreak(r.person, ISP));
    CHECK(ends(&r, EVENT_BOUNCED, "no_such_user", 550, 0) & REC_PERSON_SUPPRESSED);
    for (int i = 0; i < 39; i++)
        CHECK(ends(&r, EVENT_BOUNCED, "no_such_user", 550, 0) & REC_PERSON_SUPPRESSED);
    unsigned woke = ends(&r, EVENT_BOUNCED, "no_such_user", 550, 0);
    CHECK(woke & REC_PERSON_OUTBREAK && woke & REC_PERSON_QUARANTINED && !(woke & REC_PERSON_SUPPRESSED));
    person_free(r.person);
}

TEST(a_block_counts_for_nothing_and_a_soft_failure_for_one_day)
{
    struct rig r = rig_of(NULL);
    CHECK_INT(ends(&r, EVENT_BOUNCED, "filtered", 550, 0), REC_PERSON_JUDGED);
    CHECK_INT(ends(&r, EVENT_BOUNCED, "spam", 554, 0), REC_PERSON_JUDGED);
    CHECK_INT(ends(&r, EVENT_BOUNCED, "inactive", 550, 0), REC_PERSON_JUDGED | REC_PERSON_COUNTED);
    CHECK_INT(ends(&r, EVENT_EXPIRED, "network", 0, 0), REC_PERSON_JUDGED | REC_PERSON_COUNTED);
    CHECK_INT(ends(&r, EVENT_DEFERRED, "mailbox_full", 452, 0), 0); /* an attempt, and no end */
    person_free(r.person);
}

TEST(what_the_script_says_of_a_class_comes_before_what_ships)
{
    struct rig r = rig_of(&script);
    CHECK(ends(&r, EVENT_EXPIRED, "expired", 0, 0) & REC_PERSON_SUPPRESSED);
    CHECK(ends(&r, EVENT_BOUNCED, "no_such_user", 550, 0) & REC_PERSON_QUARANTINED);
    CHECK_INT(ends(&r, EVENT_BOUNCED, "inactive", 550, 0), REC_PERSON_JUDGED);
    CHECK_INT(ends(&r, EVENT_EXPIRED, "mailbox_full", 452, 0), REC_PERSON_JUDGED | REC_PERSON_COUNTED);
    person_free(r.person);
}

TEST(who_is_lifted_by_hand_begins_anew_and_what_is_a_year_old_is_forgotten)
{
    struct rig r = rig_of(NULL);
    const struct hash128 taro = {7, 1ull << 40}, hanako = {8, 2ull << 40};
    for (int day = 0; day < 2; day++) {
        ends_for(&r, taro, NOON + day * DAY, "mailbox_full");
        ends_for(&r, hanako, NOON + day * DAY, "mailbox_full");
    }
    person_forget(r.person, taro);
    CHECK(!(ends_for(&r, taro, NOON + 2 * DAY, "mailbox_full") & REC_PERSON_SUPPRESSED));
    CHECK(ends_for(&r, hanako, NOON + 2 * DAY, "mailbox_full") & REC_PERSON_SUPPRESSED);
    CHECK(person_watches(r.person));
    person_expire(r.person, NOON + 369 * DAY);
    CHECK(!person_watches(r.person));
    person_free(r.person);
}

static void count_one(void *data, struct hash128 who)
{
    ++*(int *)data;
}

TEST(a_new_process_knows_from_the_journal_who_may_be_taken_back_and_what_was_answered)
{
    struct rig r = rig_of(NULL);
    const struct hash128 taro = {7, 1ull << 40};
    struct rec_event ev = {.type = EVENT_BOUNCED,
                           .at_ms = NOON,
                           .isp = ISP,
                           .session = 1,
                           .class_name = S("no_such_user"),
                           .person = REC_PERSON_JUDGED | REC_PERSON_SUPPRESSED,
                           .person_certain_ms = NOON + DAY};
    int n = 0;
    person_uncertain(r.person, taro, &ev);
    person_take_back(r.person, ISP + 1, NOON + 2 * HOUR, count_one, &n); /* an outbreak elsewhere */
    CHECK_INT(n, 0);
    person_take_back(r.person, ISP, NOON + 2 * HOUR, count_one, &n);
    CHECK_INT(n, 1);
    CHECK(person_is_aside(r.person, taro));
    person_uncertain(r.person, taro, &ev);
    person_take_back(r.person, ISP, NOON + DAY, count_one, &n); /* it is certain by now */
    CHECK_INT(n, 1);
    for (int i = 0; i < 41; i++)
        person_replay(r.person, &ev);
    CHECK(person_outbreak(r.person, ISP));
    person_free(r.person);
}

TEST(a_late_bounce_takes_back_the_delivery_before_it)
{
    struct rig r = rig_of(NULL);
    const struct hash128 taro = {7, 1ull << 40};
    struct rec_event well = {.type = EVENT_DELIVERED,
                             .at_ms = NOON + 2 * DAY,
                             .isp = ISP,
                             .session = 1,
                             .class_name = SLICE_NONE,
                             .person_why = SLICE_NONE};
    struct rec_event late = {.type = EVENT_BOUNCED,
                             .phase = REC_PHASE_ASYNC,
                             .at_ms = NOON + 3 * DAY,
                             .isp = ISP,
                             .class_name = S("filtered"),
                             .person_why = SLICE_NONE};
    for (int day = 0; day < 2; day++)
        ends_for(&r, taro, NOON + day * DAY, "mailbox_full");
    person_judge(r.person, &taro, NULL, S("mx.a.test"), &well);
    CHECK(well.person & REC_PERSON_WELL);
    person_learn(r.person, taro, &well);
    person_judge(r.person, &taro, NULL, S("mx.a.test"), &late);
    CHECK(late.person & REC_PERSON_LATE);
    person_learn(r.person, taro, &late);
    /* Without it the two before would have been cleared by now. */
    CHECK(ends_for(&r, taro, NOON + 9 * DAY, "mailbox_full") & REC_PERSON_SUPPRESSED);
    person_free(r.person);
}
