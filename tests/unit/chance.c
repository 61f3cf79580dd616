/* chance.c - see chance.h. */
#include "chance.h"
#include "delivery/steer_rest.h"

#include <stdio.h>
#include <stdlib.h>

enum { MINUTE = 60000 };

const char *const chance_domains[] = {"a.test", "b.test", "b2.test", "c.test", "flaky.test", "gone.test"};
const char chance_world[] =
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

uint32_t chance_below(struct chance *s, uint32_t n)
{
    s->state = s->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(s->state >> 33) % n;
}

void chance_write(struct chance *s, struct town *t)
{
    static const enum act_kind acts[] = {ACT_SUSPEND, ACT_PAUSE, ACT_SLOW, ACT_FEWER, ACT_DEFER};
    static const char *const names[] = {"x1", "x2", "y1"};
    struct conf_stream stream = t->conf.streams[0];
    struct conf_campaign campaign = t->conf.campaigns[0];
    s->isps[0] = (struct conf_isp){.name = S("a"), .mx = a_mx, .nmx = 1, .place = {S("init.lua"), 3}};
    s->isps[1] = (struct conf_isp){.name = S("b"), .mx = b_mx, .nmx = 2, .place = {S("init.lua"), 4}};
    if (chance_below(s, 2))
        s->isps[0].amounts.rate = (struct pace_rate){600 + chance_below(s, 600), 1, 3600000};
    if (chance_below(s, 2))
        s->isps[1].connections = 1 + chance_below(s, 4);
    for (int i = 0; i < 2; i++) {
        s->sources[i] =
            (struct conf_source){.name = i ? S("s2") : S("s1"), .ehlo = i ? S("s2.test") : S("s1.test")};
        s->streams[i] = stream;
        s->streams[i].name = i ? S("y") : S("x");
    }
    if (chance_below(s, 2)) { /* else both are of one From domain */
        s->streams[1].domain = S("example.org");
        s->streams[1].from = S("y <y@example.org>");
    }
    for (int i = 0; i < 3; i++) {
        s->campaigns[i] = campaign;
        s->campaigns[i].name = slice_cstr(names[i]);
        s->campaigns[i].stream = i == 2;
        s->campaigns[i].place = (struct conf_place){S("init.lua"), 20 + i};
    }
    if (chance_below(s, 3) == 0)
        s->campaigns[2].at_ms = loop_wall_ms(t->loop) + chance_below(s, 90) * MINUTE;
    s->limits[0] = (struct conf_limit){.by = 1 << CONF_BY_CAMPAIGN | 1 << CONF_BY_ISP,
                                       .amounts.rate = {900 + chance_below(s, 900), 1, 3600000},
                                       .place = {S("init.lua"), 30}};
    s->limits[1] = (struct conf_limit){
        .by = 1 << CONF_BY_STREAM, .amounts.rate = {1500, 1, 3600000}, .place = {S("init.lua"), 31}};
    s->warmup =
        (struct conf_warmup){.source = 0,
                             .isp = chance_below(s, 2) ? 1 : CONF_NONE,
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
                                .act = act_default(acts[chance_below(s, COUNT(acts))]),
                                .isp = SLICE_NONE,
                                .of = SLICE_NONE,
                                .has = SLICE_NONE,
                                .after = 2,
                                .least = 1};
    s->rule.act.scope = (enum act_scope)chance_below(s, ACT_ONE_STREAM);
    s->rule.act.for_ms = 10 * MINUTE;
    t->conf.isps = s->isps;
    t->conf.nisps = 2;
    t->conf.sources = s->sources;
    t->conf.nsources = 1 + chance_below(s, 2);
    t->conf.streams = s->streams;
    t->conf.nstreams = 2;
    t->conf.campaigns = s->campaigns;
    t->conf.ncampaigns = 3;
    t->conf.limits = s->limits;
    t->conf.nlimits = chance_below(s, 3);
    t->conf.warmups = &s->warmup;
    t->conf.nwarmups = chance_below(s, 2);
    t->conf.rules = &s->spec;
    t->conf.nrules = 1;
    t->conf.acts = (struct acts){.of_rules = &s->rule, .nof_rules = 1};
}

static void on_steered(void *data, int status, uint64_t touched, uint64_t in_flight)
{
    *(bool *)data = true;
}

static struct steer_order order_by_chance(struct chance *s, char word[32])
{
    static const char *const words[] = {"campaign=x1", "stream=y",  "isp=a",    "isp=b", "domain=b2.test",
                                        "source=s1",   "source=s2", "stream=x", "id=m"};
    static const enum steer_verb verbs[] = {STEER_PAUSE, STEER_PAUSE, STEER_RESUME, STEER_RESUME,
                                            STEER_RETRY};
    struct steer_order o = {.verb = verbs[chance_below(s, COUNT(verbs))]};
    uint32_t which = chance_below(s, COUNT(words));
    snprintf(word, 32, which == COUNT(words) - 1 ? "%s%u" : "%s", words[which], 1 + chance_below(s, 60));
    if (steer_parse(slice_cstr(word), &o.kind, &o.name, NULL))
        abort();
    return o;
}

/* What is not known may be refused. */
void chance_steer(struct chance *s, struct town *t)
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

/* --- what the state's test adds --- */

void chance_write_more(struct chance *s, struct town *t)
{
    static const enum conf_priority priorities[] = {CONF_URGENT, CONF_NORMAL, CONF_BULK};
    static const unsigned tuples[] = {
        1 << CONF_BY_DOMAIN, 1 << CONF_BY_MX | 1 << CONF_BY_SOURCE, 1 << CONF_BY_ISP | 1 << CONF_BY_STREAM,
        1 << CONF_BY_POOL | 1 << CONF_BY_ISP, 1 << CONF_BY_CAMPAIGN | 1 << CONF_BY_DOMAIN};
    s->more_limits[0] = s->limits[0];
    s->more_limits[1] = s->limits[1];
    for (size_t i = 2; i < COUNT(s->more_limits); i++)
        s->more_limits[i] =
            (struct conf_limit){.by = tuples[chance_below(s, COUNT(tuples))],
                                .amounts.rate = {20 + chance_below(s, 400), 1 + chance_below(s, 3),
                                                 chance_below(s, 2) ? 3600000 : 86400000},
                                .place = {S("init.lua"), 40 + (int)i}};
    t->conf.limits = s->more_limits;
    t->conf.nlimits = chance_below(s, COUNT(s->more_limits) + 1);
    s->members[0] = (struct conf_pool_member){0, 1};
    s->members[1] = (struct conf_pool_member){1, 3};
    s->pool = (struct conf_pool){.name = S("p"), .members = s->members, .nmembers = t->conf.nsources};
    t->conf.pools = &s->pool;
    t->conf.npools = 1;
    for (int i = 0; i < 2; i++) {
        s->streams[i].pool = chance_below(s, 2) ? 0 : CONF_NONE;
        s->streams[i].priority = priorities[chance_below(s, COUNT(priorities))];
        s->streams[i].weight = 1 + chance_below(s, 3);
    }
    switch (chance_below(s, 4)) {
    case 0:
        s->rule.after = 3 + chance_below(s, 10);
        s->rule.least = 0;
        s->rule.within_ms = (10 + chance_below(s, 300)) * (int64_t)MINUTE;
        break;
    case 1:
        s->rule.after = 0;
        s->rule.least = 3;
        s->rule.share_ppm = 20000 + chance_below(s, 100000);
        s->rule.within_ms = (10 + chance_below(s, 100)) * (int64_t)MINUTE;
        break;
    case 2:
        s->rule.after = s->rule.least = 0;
        break;
    default:
        break;
    }
}
