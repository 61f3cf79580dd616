/* limit_test.c - what leaves keeps every limit, in turn, and what waits costs nothing. */
#include "test.h"
#include "town.h"

#include <stdlib.h>

enum { TIMES_MOST = 20000 };
static int64_t times[TIMES_MOST];
static size_t ntimes;

static void on_transaction(void *data, const struct world_isp *isp, const struct smtp_server_tx *tx)
{
    struct town *t = data;
    (void)isp;
    (void)tx;
    if (ntimes < TIMES_MOST)
        times[ntimes++] = loop_now_ms(t->loop);
}

/* The most that any window of so many ms held. */
static size_t most_in(int64_t window_ms)
{
    size_t most = 0;
    for (size_t i = 0, from = 0; i < ntimes; i++) {
        while (times[i] - times[from] >= window_ms)
            from++;
        if (i - from + 1 > most)
            most = i - from + 1;
    }
    return most;
}

static const char one_isp[] =
    "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1' } } }";
static const char *const a_only[] = {"a.test"};

static bool start(struct town *t, const char *world, uint64_t seed, struct conf_isp *isps, size_t nisps,
                  struct conf_limit *limits, size_t nlimits)
{
    ntimes = 0;
    if (!town_new(t, world, seed))
        return false;
    town_close(t);
    t->conf.isps = isps;
    t->conf.nisps = nisps;
    t->conf.limits = limits;
    t->conf.nlimits = nlimits;
    t->transaction = on_transaction;
    return town_open(t);
}

static struct slice a_mx[] = {S("mx.a.test")};

TEST(mail_to_a_listed_receiver_keeps_its_rate)
{
    struct conf_isp isp = {.name = S("a"), .mx = a_mx, .nmx = 1, .amounts.rate = {20, 0, 1000}};
    struct town t;
    CHECK(start(&t, one_isp, 1, &isp, 1, NULL, 0));
    CHECK_INT(town_send(&t, a_only, 1, 400), 400);
    t.patience_ms = 5000;
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 400);
    CHECK(town_accounted(&t, 400));
    CHECK_INT(ntimes, 400);
    CHECK_INT(most_in(1000), 20);
    CHECK(times[399] - times[0] <= 399 * 50 + 60); /* and not slower */
    town_free(&t);
}
