/* limit_sets_test.c - limits on any tuple, in any company: none is ever exceeded, and everybody gets there.
 */
#include "delivery/deliver_impl.h"
#include "script.h"
#include "test.h"
#include "town.h"

#include <stdlib.h>

enum {
    CAMPAIGNS = 4,
    DOMAINS = 5,
    EACH = 12,
    ALL = CAMPAIGNS * DOMAINS * EACH,
    LIMITS_MOST = 5,
    SETS = 80,
    DELAY_MS = 30
};

/* --- the tuples that a script can say --- */

static const char *const by_words[] = {"stream", "campaign", "source", "pool", "isp", "domain", "mx"};

TEST(every_limit_may_count_by_any_tuple)
{
    struct script s = {.api = true};
    struct buf text = {0};
    buf_printf(&text, "local hato = require 'hato'\n");
    for (unsigned by = 0; by < 1u << COUNT(by_words); by++) {
        buf_printf(&text, "hato.limit { by = {");
        for (size_t i = 0; i < COUNT(by_words); i++)
            if (by & 1u << i)
                buf_printf(&text, "'%s',", by_words[i]);
        buf_printf(&text, "}, rate = '40/s', recipients = '1000/d', burst = 5, connections = 4, "
                          "new_connections = '7/min', per_connection = 9 }\n");
    }
    script_run(&s, buf_cstr(&text));
    CHECK_STR(buf_slice(&s.error), S(""));
    CHECK_INT(s.conf->nlimits, 1u << COUNT(by_words));
    for (unsigned by = 0; by < s.conf->nlimits; by++) {
        const struct conf_limit *l = &s.conf->limits[by];
        CHECK_INT(l->by, by); /* the words stand in the order of their bits */
        CHECK(l->amounts.rate.quota == 40 && l->amounts.rate.per_ms == 1000 && l->amounts.rate.burst == 5);
        CHECK(l->amounts.recipients.quota == 1000 && l->amounts.recipients.per_ms == 86400000);
        CHECK(l->amounts.new_connections.quota == 7 && l->amounts.new_connections.per_ms == 60000);
        CHECK(l->connections == 4 && l->per_connection == 9);
    }
    script_end(&s);
    buf_free(&text);
}

/* --- what arrives --- */

struct arrival {
    int64_t at_ms, end_ms; /* UTC: its MAIL left, its last reply came */
    uint64_t session;
    unsigned source;
    bool taken; /* by the receiver */
};
static struct arrival arrivals[ALL];
static size_t narrived;
static unsigned open_most[4]; /* connections at once: of all, of a source, of an isp, of a source at an isp */

/* p7c2@d3.test */
static size_t number_of(struct slice address)
{
    char text[64];
    unsigned i, c, k;
    snprintf(text, sizeof text, "%.*s", SLICE_FMT(address));
    return sscanf(text, "p%uc%u@d%u.test", &i, &c, &k) == 3 ? (i * CAMPAIGNS + c) * DOMAINS + k : ALL;
}

static unsigned campaign_of(size_t number)
{
    return number / DOMAINS % CAMPAIGNS;
}

static unsigned domain_of(size_t number)
{
    return number % DOMAINS;
}

static void count_open(struct town *t)
{
    unsigned all = 0, of_source[2] = {0};
    size_t at = 0;
    for (struct isp *isp; (isp = paths_next_isp(t->d->paths, &at));) {
        unsigned of_isp = 0;
        for (int i = 0; i < 2; i++) {
            unsigned n = isp->by_source[i].sessions;
            of_isp += n;
            of_source[i] += n;
            all += n;
            open_most[3] = n > open_most[3] ? n : open_most[3];
        }
        open_most[2] = of_isp > open_most[2] ? of_isp : open_most[2];
    }
    for (int i = 0; i < 2; i++)
        open_most[1] = of_source[i] > open_most[1] ? of_source[i] : open_most[1];
    open_most[0] = all > open_most[0] ? all : open_most[0];
}

static void on_transaction(void *data, const struct world_isp *isp, const struct smtp_server_tx *tx)
{
    struct town *t = data;
    size_t number = number_of(tx->rcpts[0].address);
    INVARIANT(number < ALL && !arrivals[number].taken);
    arrivals[number].taken = true;
    count_open(t);
}

static void on_event(struct town *t, const struct rec_event *ev)
{
    if (ev->type != EVENT_DELIVERED)
        return;
    struct arrival *a = &arrivals[number_of(ev->recipient)];
    INVARIANT(a->taken);
    a->at_ms = ev->at_ms - ev->send_ms;
    a->end_ms = ev->at_ms;
    a->source = ev->source;
    a->session = ev->session;
    narrived++;
}

/* --- the town --- */

#define WORLD(more)                                                                                          \
    "return { isps = {"                                                                                      \
    "  one = { domains = {'d0.test', 'd1.test'}, mx = {'mx1.a.test'}, address = '127.0.1.1'" more " },"      \
    "  two = { domains = {'d2.test'}, mx = {'mx2.a.test'}, address = '127.0.1.2'" more " },"                 \
    "  three = { domains = {'d3.test', 'd4.test'}, mx = {'mx.b.test'}, address = '127.0.1.3'" more " } } }"
/* At the one a message is over within a turn or two, at the other every reply takes DELAY_MS. */
static const char prompt[] = WORLD(""), slow[] = WORLD(", delay = '30 ms'");
static int64_t opening_ms; /* the longest that it takes to open a connection */
static const unsigned stream_of[CAMPAIGNS] = {0, 0, 1, 2}, mx_of[DOMAINS] = {0, 0, 1, 2, 2},
                      isp_of[DOMAINS] = {0, 0, 0, 1, 1};
static struct slice a_mx[] = {S("a.test")};
static struct conf_source sources[] = {
    {.name = S("one"), .address = {.family = 4, .b = {127, 0, 0, 11}}, .ehlo = S("one.example.jp")},
    {.name = S("two"), .address = {.family = 4, .b = {127, 0, 0, 12}}, .ehlo = S("two.example.jp")}};
static struct conf_pool_member both[] = {{0, 1}, {1, 2}}, second[] = {{1, 1}};
static struct conf_pool pools[] = {{.name = S("both"), .members = both, .nmembers = 2},
                                   {.name = S("second"), .members = second, .nmembers = 1}};
static const unsigned pool_of[] = {0, 1, CONF_NONE}; /* of a stream */

static bool start(struct town *t, uint64_t seed, struct conf_isp *isp, struct conf_limit *limits, size_t n)
{
    static struct conf_stream streams[3];
    static struct conf_campaign campaigns[CAMPAIGNS];
    static const struct slice names[] = {S("c0"), S("c1"), S("c2"), S("c3")};
    memset(arrivals, 0, sizeof arrivals);
    memset(open_most, 0, sizeof open_most);
    narrived = 0;
    opening_ms = seed % 2 ? 2 : 3 * DELAY_MS;
    if (!town_new(t, seed % 2 ? prompt : slow, seed))
        return false;
    town_close(t);
    for (size_t i = 0; i < COUNT(streams); i++) {
        streams[i] = t->conf.streams[0];
        streams[i].name = names[i];
        streams[i].pool = (uint16_t)pool_of[i];
        streams[i].priority = (enum conf_priority)(seed / 3 % 2 ? i : CONF_BULK);
    }
    for (size_t i = 0; i < CAMPAIGNS; i++) {
        campaigns[i] = t->conf.campaigns[0];
        campaigns[i].name = names[i];
        campaigns[i].stream = (uint16_t)stream_of[i];
    }
    t->conf.streams = streams;
    t->conf.nstreams = COUNT(streams);
    t->conf.campaigns = campaigns;
    t->conf.ncampaigns = CAMPAIGNS;
    t->conf.sources = sources;
    t->conf.nsources = 2;
    t->conf.pools = pools;
    t->conf.npools = 2;
    t->conf.isps = isp;
    t->conf.nisps = 1;
    t->conf.limits = limits;
    t->conf.nlimits = n;
    t->transaction = on_transaction;
    t->event = on_event;
    return town_open(t);
}

/* --- the account --- */

static bool counts_as(unsigned by, size_t number, int64_t *value)
{
    unsigned stream = stream_of[campaign_of(number)], k = domain_of(number);
    if (by & 1 << CONF_BY_POOL && pool_of[stream] == CONF_NONE)
        return false;
    *value = (by & 1 << CONF_BY_STREAM ? stream : 0) +
             (by & 1 << CONF_BY_CAMPAIGN ? 10 * campaign_of(number) : 0) +
             (by & 1 << CONF_BY_SOURCE ? 100 * arrivals[number].source : 0) +
             (by & 1 << CONF_BY_POOL ? 1000 * pool_of[stream] : 0) +
             (by & 1 << CONF_BY_ISP ? 10000 * isp_of[k] : 0) + (by & 1 << CONF_BY_DOMAIN ? 100000 * k : 0) +
             (by & 1 << CONF_BY_MX ? 1000000 * mx_of[k] : 0);
    return true;
}

struct counted {
    int64_t value, at_ms;
};

static int by_value_and_time(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return x->at_ms < y->at_ms ? -1 : x->at_ms > y->at_ms;
}

/* Whether some window of what this rule counts together held more than its quota. sessions: each counts once.
 */
static bool exceeds(const struct pace_rate *rate, unsigned by, bool at_listed, bool sessions)
{
    static struct counted c[ALL];
    size_t n = 0;
    /* A permit counts from when it was taken, which is before the connection was opened unless nobody took
     * one after it; a connection is seen by its first message. */
    int64_t per_ms = rate->per_ms - opening_ms - (sessions ? 20 : 0);
    for (size_t i = 0; i < ALL && rate->quota; i++) {
        bool first = true;
        if ((at_listed && isp_of[domain_of(i)] != 0) || !counts_as(by, i, &c[n].value))
            continue;
        for (size_t k = 0; k < ALL && sessions && first; k++)
            first = arrivals[k].session != arrivals[i].session || arrivals[k].at_ms > arrivals[i].at_ms ||
                    (arrivals[k].at_ms == arrivals[i].at_ms && k >= i);
        c[n].at_ms = arrivals[i].at_ms;
        n += first;
    }
    qsort(c, n, sizeof *c, by_value_and_time);
    for (size_t i = rate->quota; i < n; i++)
        if (c[i].value == c[i - rate->quota].value && c[i].at_ms - c[i - rate->quota].at_ms < per_ms)
            return true;
    return false;
}

struct change {
    int64_t value, at_ms;
    uint64_t session;
    int by; /* -1: it ends */
};

static int by_value_and_moment(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    if (x->value != y->value)
        return x->value < y->value ? -1 : 1;
    return x->at_ms != y->at_ms ? (x->at_ms < y->at_ms ? -1 : 1) : x->by - y->by;
}

/* How many connections at most carried mail of one value at the same moment. */
static unsigned carrying_most(unsigned by)
{
    static struct change c[2 * ALL];
    unsigned most = 0, now = 0;
    size_t n = 0;
    for (size_t i = 0; i < ALL; i++) {
        int64_t value;
        if (!counts_as(by, i, &value))
            continue;
        c[n++] = (struct change){value, arrivals[i].at_ms, arrivals[i].session, 1};
        c[n++] = (struct change){value, arrivals[i].end_ms, arrivals[i].session, -1};
    }
    qsort(c, n, sizeof *c, by_value_and_moment);
    for (size_t i = 0; i < n; i++) {
        int before = 0; /* a second message may have begun on it before the reply to the first came */
        for (size_t k = 0; k < i; k++)
            before += c[k].value == c[i].value && c[k].session == c[i].session ? c[k].by : 0;
        now += before == 0 && c[i].by > 0;
        now -= before == 1 && c[i].by < 0;
        most = now > most ? now : most;
    }
    return most;
}

/* How many of one value at most went over one connection. */
static unsigned carried_most(unsigned by)
{
    unsigned most = 0;
    for (size_t i = 0; i < ALL; i++) {
        int64_t mine, other;
        unsigned n = 0;
        for (size_t k = 0; k < ALL && counts_as(by, i, &mine); k++)
            n += arrivals[k].session == arrivals[i].session && counts_as(by, k, &other) && other == mine;
        most = n > most ? n : most;
    }
    return most;
}

static unsigned open_of(unsigned by)
{
    bool source = by & 1 << CONF_BY_SOURCE, isp = by & 1 << CONF_BY_ISP;
    if (by & ~(1u << CONF_BY_SOURCE | 1u << CONF_BY_ISP))
        return carrying_most(by);
    return open_most[source && isp ? 3 : isp ? 2 : source ? 1 : 0];
}

static struct pace_rate any_rate(struct loop *luck)
{
    static const int64_t periods[] = {1000, 10000, 60000};
    struct pace_rate r = {.quota = 1 + (uint32_t)loop_random_below(luck, 40),
                          .per_ms = periods[loop_random_below(luck, COUNT(periods))]};
    if (loop_random_below(luck, 3) == 0) {
        r.burst = 1 + (uint32_t)loop_random_below(luck, r.quota);
        if (pace_wrong(&r))
            r.burst = 0;
    }
    return r;
}

static struct conf_limit any_limit(struct loop *luck)
{
    struct conf_limit l = {.by = (unsigned)loop_random_below(luck, 1u << COUNT(by_words))};
    switch (loop_random_below(luck, 9)) {
    case 0:
        l.amounts.recipients = any_rate(luck);
        break;
    case 1:
    case 2:
        l.connections = 1 + (uint32_t)loop_random_below(luck, 3);
        break;
    case 3:
        l.by &= 1 << CONF_BY_SOURCE | 1 << CONF_BY_ISP;
        l.connections = 1 + (uint32_t)loop_random_below(luck, 3);
        break;
    case 4:
        l.amounts.new_connections = any_rate(luck);
        break;
    case 5:
        l.per_connection = 1 + (uint32_t)loop_random_below(luck, 5);
        break;
    default:
        l.amounts.rate = any_rate(luck);
    }
    return l;
}

TEST(no_limit_of_any_set_is_ever_exceeded_and_everybody_arrives)
{
    static const char *const domains[DOMAINS] = {"d0.test", "d1.test", "d2.test", "d3.test", "d4.test"};
    static const struct slice names[CAMPAIGNS] = {S("c0"), S("c1"), S("c2"), S("c3")};
    struct loop *luck = loop_new_virtual(7, 0);
    for (uint64_t seed = 1; seed <= SETS; seed++) {
        struct conf_limit limits[LIMITS_MOST];
        size_t n = 1 + (size_t)loop_random_below(luck, LIMITS_MOST);
        struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .connections = 3};
        struct town t;
        if (loop_random_below(luck, 2))
            isp.amounts.rate = any_rate(luck);
        if (loop_random_below(luck, 3) == 0)
            isp.amounts.new_connections = any_rate(luck);
        if (loop_random_below(luck, 3) == 0)
            isp.per_connection = 1 + (uint32_t)loop_random_below(luck, 5);
        for (size_t i = 0; i < n; i++)
            limits[i] = any_limit(luck);
        CHECK(start(&t, seed, &isp, limits, n));
        for (int c = 0; c < CAMPAIGNS; c++) {
            t.behind_name = names[c].p;
            CHECK_INT(town_send_as(&t, names[c], domains, DOMAINS, EACH), DOMAINS * EACH);
        }
        town_run(&t);
        if (narrived != ALL)
            fprintf(stderr, "seed %d: %zu of %d\n", (int)seed, narrived, ALL);
        CHECK_INT(narrived, ALL);
        CHECK(town_accounted(&t, ALL));
        CHECK_INT(t.events[EVENT_DEFERRED], 0);
        unsigned path = 1 << CONF_BY_SOURCE | 1 << CONF_BY_ISP;
        CHECK(!exceeds(&isp.amounts.rate, path, true, false));
        CHECK(!exceeds(&isp.amounts.new_connections, path, true, true));
        for (size_t i = 0; i < n; i++) {
            const struct conf_limit *l = &limits[i];
            /* An urgent message may go first over a connection that was opened for another. */
            bool first_is_whose = !(l->by & ~path) || seed / 3 % 2 == 0;
            bool fine = !exceeds(&l->amounts.rate, l->by, false, false) &&
                        !exceeds(&l->amounts.recipients, l->by, false, false) &&
                        (!first_is_whose || !exceeds(&l->amounts.new_connections, l->by, false, true)) &&
                        (!l->connections || open_of(l->by) <= l->connections) &&
                        (!l->per_connection || carried_most(l->by) <= l->per_connection);
            if (!fine)
                fprintf(stderr, "seed %d: by %x, %u/%lld, %u connections, %u/%lld new, %u on each\n",
                        (int)seed, l->by, l->amounts.rate.quota, (long long)l->amounts.rate.per_ms,
                        l->connections, l->amounts.new_connections.quota,
                        (long long)l->amounts.new_connections.per_ms, l->per_connection);
            CHECK(fine);
        }
        for (size_t i = 0; i < ALL && isp.per_connection; i++) {
            unsigned on_it = 0;
            for (size_t k = 0; k < ALL; k++)
                on_it += arrivals[k].session == arrivals[i].session;
            CHECK(isp_of[domain_of(i)] != 0 || on_it <= isp.per_connection);
        }
        town_free(&t);
    }
    loop_free(luck);
}
