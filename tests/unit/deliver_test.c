/* deliver_test.c - delivery on a virtual loop, against the sink's server side over pipes in memory: every
 * recipient accounted for, whatever the receivers do. */
#include "test.h"
#include "town.h"

#include <stdlib.h>

static const char *const a_b[] = {"a.test", "b.test"};

TEST(a_campaign_reaches_receivers_that_take_everything)
{
    struct town t;
    CHECK(
        town_new(&t,
                 "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1' },"
                 "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2',"
                 "      extensions = {'8BITMIME'} } } }",
                 1));
    CHECK_INT(town_send(&t, a_b, 2, 500), 1000);
    CHECK_INT(town_send(&t, a_b, 2, 500), 0);
    town_run(&t);
    if (!town_accounted(&t, 1000) || deliver_counts(t.d).delivered != 1000)
        fprintf(stderr, "%.*s", SLICE_FMT(buf_slice(&t.trace)));
    CHECK(town_accounted(&t, 1000));
    CHECK_INT(deliver_counts(t.d).delivered, 1000);
    CHECK_INT(sink_stats(t.sink).messages, 1000);
    town_free(&t);
}

TEST(greylisting_refusals_and_dead_domains_are_told_apart)
{
    static const char *const domains[] = {"a.test", "b.test", "gone.test", "null.test", "flaky.test"};
    struct town t;
    CHECK(town_new(
        &t,
        "return { isps = {"
        "a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1', greylist = '1 min' },"
        "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2',"
        "      replies = { { phase = 'rcpt', to = '^p1@', reply = '550 5.1.1 no such user' },"
        "                  { phase = 'eod', to = '^p2@', reply = '452 4.2.2 mailbox full' } } } },"
        "dns = { ['null.test'] = 'null_mx', ['flaky.test'] = 'servfail' } }",
        2));
    CHECK_INT(town_send(&t, domains, 5, 20), 100);
    t.patience_ms = 50 * 60000; /* DNS that fails is asked again after 1, 2, 4 … 60 min */
    town_run(&t);
    if (!town_accounted(&t, 100))
        fprintf(stderr, "%.*s", SLICE_FMT(buf_slice(&t.trace)));
    CHECK(town_accounted(&t, 100));
    struct deliver_counts c = deliver_counts(t.d);
    CHECK_INT(c.delivered, 20 + 18);
    CHECK_INT(c.bounced, 1 + 20 + 20);
    CHECK_INT(c.queued, 1 + 20); /* the full mailbox and the domain whose DNS fails */
    CHECK(t.events[EVENT_DEFERRED] >= 20 + 1);
    town_free(&t);
}

TEST(a_restart_takes_up_where_the_journal_ends)
{
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
                   " greylist = '1 min' } } }",
                   3));
    static const char *const a[] = {"a.test"};
    CHECK_INT(town_send(&t, a, 1, 50), 50);
    t.patience_ms = 60000; /* not long enough for the first retry */
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).queued, 50);
    CHECK_INT(deliver_counts(t.d).retry, 50);
    town_close(&t);
    CHECK(town_open(&t));
    CHECK_INT(deliver_counts(t.d).queued, 50);
    CHECK_INT(deliver_counts(t.d).retry, 50);
    CHECK_INT(town_send(&t, a, 1, 60), 10); /* once: only the new ones */
    t.patience_ms = 86400000;
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 60);
    CHECK_INT(sink_stats(t.sink).messages, 60);
    town_close(&t);
    CHECK(town_open(&t));
    CHECK_INT(deliver_counts(t.d).queued, 0);
    CHECK_INT(town_send(&t, a, 1, 60), 0);
    town_free(&t);
}
