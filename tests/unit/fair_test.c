/* fair_test.c - shares by weight, and urgent mail first, where no limit makes anybody wait: on connections.
 */
#include "test.h"
#include "town.h"

static char order[30000]; /* the campaign's first letter, from the return path's domain */
static size_t norder;

static void on_transaction(void *data, const struct world_isp *isp, const struct smtp_server_tx *tx)
{
    ptrdiff_t at = slice_find(tx->from, S("@"));
    if (norder < sizeof order)
        order[norder++] = at < 0 ? '?' : tx->from.p[at + 1];
}

static struct conf_stream streams[2];
static struct conf_campaign campaigns[2];

static bool start(struct town *t, uint64_t seed, unsigned connections, struct conf_isp *isp)
{
    static struct slice mx[] = {S("mx.a.test")};
    static const char world[] = "return { isps = { a = { domains = {'a.test', 'b.test', 'c.test'},"
                                " mx = {'mx.a.test'}, address = '127.0.1.1', delay = '5 ms' } } }";
    norder = 0;
    if (!town_new(t, world, seed))
        return false;
    town_close(t);
    for (size_t i = 0; i < 2; i++) {
        streams[i] = t->conf.streams[0];
        streams[i].name = i ? S("y") : S("x");
        streams[i].bounce = i ? S("y.example.jp") : S("x.example.jp");
        streams[i].weight = i ? 1 : 3;
        campaigns[i] = t->conf.campaigns[0];
        campaigns[i].name = streams[i].name;
        campaigns[i].stream = (uint16_t)i;
    }
    *isp = (struct conf_isp){.name = S("a"), .mx = mx, .nmx = 1, .connections = connections};
    t->conf.streams = streams;
    t->conf.campaigns = campaigns;
    t->conf.nstreams = t->conf.ncampaigns = 2;
    t->conf.isps = isp;
    t->conf.nisps = 1;
    t->transaction = on_transaction;
    return true;
}

static size_t count_of(char campaign, size_t to)
{
    size_t n = 0;
    for (size_t i = 0; i < to && i < norder; i++)
        n += order[i] == campaign;
    return n;
}

TEST(weights_three_and_one_get_their_shares_of_ten_thousand_messages_within_two_percent)
{
    static const char *const domains[] = {"a.test", "b.test", "c.test"};
    static const unsigned connections[] = {1, 10};
    for (size_t i = 0; i < COUNT(connections); i++) {
        struct conf_isp isp;
        struct town t;
        CHECK(start(&t, 21 + i, connections[i], &isp));
        CHECK(town_open(&t));
        CHECK_INT(town_send_as(&t, S("x"), domains, 3, 3000), 9000);
        CHECK_INT(town_send_as(&t, S("y"), domains, 3, 3000), 9000);
        town_run(&t);
        CHECK_INT(norder, 18000);
        size_t x = count_of('x', 10000);
        if (x < 7350 || x > 7650)
            fprintf(stderr, "x has %zu of 10000\n", x);
        CHECK(x >= 7350 && x <= 7650);
        town_free(&t);
    }
}

/* What a connection sends now, and what it has made ahead, go before it. */
TEST(urgent_mail_behind_a_hundred_thousand_newsletters_waits_for_two_messages_at_most)
{
    static const char *const domains[] = {"a.test"};
    struct conf_isp isp;
    struct town t;
    CHECK(start(&t, 31, 1, &isp));
    streams[1].priority = CONF_URGENT;
    CHECK(town_open(&t));
    CHECK_INT(town_send_as(&t, S("x"), domains, 1, 100000), 100000);
    town_run_for(&t, 3000);
    size_t before = norder;
    CHECK(before > 50 && count_of('y', before) == 0);
    CHECK_INT(town_send_as(&t, S("y"), domains, 1, 1), 1);
    town_run_for(&t, 1000);
    size_t at = before;
    while (at < norder && order[at] != 'y')
        at++;
    if (at - before > 2)
        fprintf(stderr, "%zu went before it\n", at - before);
    CHECK(at < norder && at - before <= 2);
    town_free(&t);
}
