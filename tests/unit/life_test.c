/* life_test.c - whatever happens to mail, no moment of any message's life is without a reason: limits,
 * windows, measures, pauses, faults of receivers and of DNS, stops and crashes, in an order that chance
 * gives. */
#include "delivery/deliver_impl.h"
#include "delivery/steer_rest.h"
#include "delivery/timesheet.h"
#include "test.h"
#include "town.h"

#include <stdlib.h>

enum { MINUTE = 60000, STEPS = 14, SEEDS = 60 };

static const char *const domains[] = {"a.test", "b.test", "b2.test", "c.test", "flaky.test", "gone.test"};
static const char world[] =
    "return { isps = {"
    " a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1', delay = '40 ms',"
    "       accept = '600/h', over = '421 4.7.28 unusual rate of mail' },"
    " b = { domains = {'b.test', 'b2.test'}, mx = {'mx.b.test', 'mx2.b.test'},"
    "       address = {'127.0.1.2', '127.0.1.3'}, greylist = '3 min', delay = '20 ms',"
    "       replies = { { phase = 'rcpt', share = 0.05, reply = '450 4.7.9 measure now' },"
    "                   { phase = 'eod', share = 0.03, disconnect = true } } },"
    " c = { domains = {'c.test'}, mx = {'mx.c.test'}, address = '127.0.1.4', delay = '10 ms',"
    "       replies = { { phase = 'banner', share = 0.1, reply = '554 go away' },"
    "                   { phase = 'connect', share = 0.1, disconnect = true },"
    "                   { phase = 'rcpt', share = 0.1, reply = '550 5.1.1 no such user' } } } },"
    "dns = { ['flaky.test'] = 'servfail' } }";

static struct slice a_mx[] = {S("mx.a.test")}, b_mx[] = {S("mx.b.test"), S("mx2.b.test")};
static const uint32_t curve[] = {60, 240, 960};

/* What a script may say, some of it by chance. */
struct script {
    uint64_t state; /* of chance */
    struct conf_isp isps[2];
    struct conf_source sources[2];
    struct conf_stream streams[2];
    struct conf_campaign campaigns[3];
    struct conf_limit limits[2];
    struct conf_warmup warmup;
    struct rule_spec spec;
    struct act_rule rule;
};

static uint32_t below(struct script *s, uint32_t n)
{
    s->state = s->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(s->state >> 33) % n;
}

static void write_script(struct script *s, struct town *t)
{
    static const enum act_kind acts[] = {ACT_SUSPEND, ACT_PAUSE, ACT_SLOW, ACT_FEWER, ACT_DEFER};
    static const char *const names[] = {"x1", "x2", "y1"};
    struct conf_stream stream = t->conf.streams[0];
    struct conf_campaign campaign = t->conf.campaigns[0];
    s->isps[0] = (struct conf_isp){.name = S("a"), .mx = a_mx, .nmx = 1, .place = {S("init.lua"), 3}};
    s->isps[1] = (struct conf_isp){.name = S("b"), .mx = b_mx, .nmx = 2, .place = {S("init.lua"), 4}};
    if (below(s, 2))
        s->isps[0].amounts.rate = (struct pace_rate){600 + below(s, 600), 1, 3600000};
    if (below(s, 2))
        s->isps[1].connections = 1 + below(s, 4);
    for (int i = 0; i < 2; i++) {
        s->sources[i] =
            (struct conf_source){.name = i ? S("s2") : S("s1"), .ehlo = i ? S("s2.test") : S("s1.test")};
        s->streams[i] = stream;
        s->streams[i].name = i ? S("y") : S("x");
    }
    if (below(s, 2)) { /* else both are of one From domain */
        s->streams[1].domain = S("example.org");
        s->streams[1].from = S("y <y@example.org>");
    }
    for (int i = 0; i < 3; i++) {
        s->campaigns[i] = campaign;
        s->campaigns[i].name = slice_cstr(names[i]);
        s->campaigns[i].stream = i == 2;
        s->campaigns[i].place = (struct conf_place){S("init.lua"), 20 + i};
    }
    if (below(s, 3) == 0)
        s->campaigns[2].at_ms = loop_wall_ms(t->loop) + below(s, 90) * MINUTE;
    s->limits[0] = (struct conf_limit){.by = 1 << CONF_BY_CAMPAIGN | 1 << CONF_BY_ISP,
                                       .amounts.rate = {900 + below(s, 900), 1, 3600000},
                                       .place = {S("init.lua"), 30}};
    s->limits[1] = (struct conf_limit){
        .by = 1 << CONF_BY_STREAM, .amounts.rate = {1500, 1, 3600000}, .place = {S("init.lua"), 31}};
    s->warmup =
        (struct conf_warmup){.source = 0,
                             .isp = below(s, 2) ? 1 : CONF_NONE,
                             .overflow = CONF_NONE,
                             .place = {S("init.lua"), 12},
                             .curve = {.steps = curve, .nsteps = 3, .hold = 1, .enough_permille = 800},
                             .retreat_classes = 1ull << CLASS_RATE_LIMITED,
                             .retreat_least = 3,
                             .retreat_above_ppm = 20000,
                             .retreat_over_ms = 3600000};
    s->spec = (struct rule_spec){.name = S("init.lua:7 rule 1"),
                                 .isp = S(""),
                                 .enhanced = S(""),
                                 .text = S("measure now"),
                                 .cls = CLASS_POLICY};
    s->rule = (struct act_rule){.name = s->spec.name,
                                .act = act_default(acts[below(s, COUNT(acts))]),
                                .isp = SLICE_NONE,
                                .of = SLICE_NONE,
                                .has = SLICE_NONE,
                                .after = 2,
                                .least = 1};
    s->rule.act.scope = (enum act_scope)below(s, ACT_ONE_STREAM);
    s->rule.act.for_ms = 10 * MINUTE;
    t->conf.isps = s->isps;
    t->conf.nisps = 2;
    t->conf.sources = s->sources;
    t->conf.nsources = 1 + below(s, 2);
    t->conf.streams = s->streams;
    t->conf.nstreams = 2;
    t->conf.campaigns = s->campaigns;
    t->conf.ncampaigns = 3;
    t->conf.limits = s->limits;
    t->conf.nlimits = below(s, 3);
    t->conf.warmups = &s->warmup;
    t->conf.nwarmups = below(s, 2);
    t->conf.rules = &s->spec;
    t->conf.nrules = 1;
    t->conf.acts = (struct acts){.of_rules = &s->rule, .nof_rules = 1};
}

static void on_steered(void *data, int status, uint64_t touched, uint64_t in_flight)
{
    *(bool *)data = true;
}

static struct steer_order order_by_chance(struct script *s, char word[32])
{
    static const char *const words[] = {"campaign=x1", "stream=y",  "isp=a",    "isp=b", "domain=b2.test",
                                        "source=s1",   "source=s2", "stream=x", "id=m"};
    static const enum steer_verb verbs[] = {STEER_PAUSE, STEER_PAUSE, STEER_RESUME, STEER_RESUME,
                                            STEER_RETRY};
    struct steer_order o = {.verb = verbs[below(s, COUNT(verbs))]};
    uint32_t which = below(s, COUNT(words));
    snprintf(word, 32, which == COUNT(words) - 1 ? "%s%u" : "%s", words[which], 1 + below(s, 60));
    if (steer_parse(slice_cstr(word), &o.kind, &o.name, NULL))
        abort();
    return o;
}

/* What is not known may be refused. */
static void steer_by_chance(struct script *s, struct town *t)
{
    char word[32];
    bool done = false;
    struct steer_order o = order_by_chance(s, word);
    if (t->d && !steer(t->d, &o, on_steered, &done, &t->err))
        for (int i = 0; i < 100 && !done; i++)
            town_run_for(t, 10);
    uint64_t touched;
    if (!t->d)
        steer_rest(t->fs, t->loop, "state", &o, 1, &touched, &t->err);
}

static void on_time(struct loop_timer *timer)
{
    loop_stop(timer->data);
}

static void sleep_ms(struct town *t, int64_t ms)
{
    struct loop_timer timer = {.data = t->loop};
    loop_timer_start(t->loop, &timer, ms, on_time);
    loop_run(t->loop);
}

static bool step(struct script *s, struct town *t, int *people)
{
    static const int64_t waits[] = {7, 400, 11000, 5 * MINUTE, 40 * MINUTE};
    switch (below(s, 8)) {
    case 0:
    case 1: {
        char behind[16];
        snprintf(behind, sizeof behind, "b%d", ++*people);
        t->behind_name = behind;
        town_send_as(t, s->campaigns[below(s, 3)].name, domains, COUNT(domains), 1 + (int)below(s, 12));
        return true;
    }
    case 2:
    case 3:
        steer_by_chance(s, t);
        return true;
    case 4:
        if (below(s, 2))
            town_close(t);
        else
            town_crash(t);
        sleep_ms(t, waits[below(s, COUNT(waits))]);
        if (below(s, 2))
            steer_by_chance(s, t);
        return town_open(t);
    default:
        town_run_for(t, waits[below(s, COUNT(waits))]);
        return true;
    }
}

static bool live(uint64_t seed, struct timesheet *sheet)
{
    struct town t;
    struct script *s = mem_zalloc(sizeof *s);
    struct buf words = {0};
    int people = 0;
    s->state = seed;
    bool fine = town_new(&t, world, seed);
    if (fine) {
        town_close(&t);
        write_script(s, &t);
        fine = town_open(&t);
    }
    for (int i = 0; fine && i < STEPS; i++)
        fine = step(s, &t, &people);
    if (fine)
        town_run_for(&t, below(s, 3 * 60) * MINUTE + 1);
    if (t.d)
        town_close(&t);
    if (fine)
        fine = timesheet_read(t.fs, "state", loop_wall_ms(t.loop), false, sheet, &t.err) == 0;
    if (!fine)
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, t.err.text);
    if (fine && sheet->ms[REASON_NONE]) {
        timesheet_text(sheet, &words);
        fprintf(stderr, "seed %llu: m%llu has %lld ms without a reason; %.*s\n", (unsigned long long)seed,
                (unsigned long long)sheet->worst_id, (long long)sheet->worst_ms,
                SLICE_FMT(buf_slice(&words)));
    }
    town_free(&t);
    buf_free(&words);
    free(s);
    return fine;
}

TEST(no_moment_is_without_a_reason_whatever_happens)
{
    static const unsigned must_be[] = {REASON_DOWN,      REASON_TIME,      REASON_ATTEMPT, INTERVAL_PAUSE,
                                       INTERVAL_MEASURE, INTERVAL_LIMIT,   INTERVAL_DNS,   INTERVAL_WARMUP,
                                       INTERVAL_PATH,    INTERVAL_CAMPAIGN};
    struct timesheet all = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct timesheet one = {0};
        CHECK(live(seed, &one));
        for (int k = 0; k < REASON_KINDS; k++)
            all.ms[k] += one.ms[k];
        all.messages += one.messages;
    }
    CHECK_INT(all.ms[REASON_NONE], 0);
    CHECK_INT(all.ms[REASON_TURN], 0); /* a virtual clock knows no such time */
    CHECK(all.messages > 1000);
    for (size_t i = 0; i < COUNT(must_be); i++) /* chance has met each of them */
        CHECK(all.ms[must_be[i]] > 0);
}
