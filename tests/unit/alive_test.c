/* alive_test.c - which domains took mail lately, and what becomes of mail when DNS says they do not exist. */
#include "delivery/alive.h"
#include "delivery/suppress.h"
#include "test.h"
#include "town.h"

static const int64_t DAY = 86400000, START = 1764000000000 / 86400000 * 86400000;

TEST(a_domain_is_alive_for_thirty_days_after_its_last_mail)
{
    struct alive *a = alive_new((struct hash_key){1, 2});
    CHECK(!alive_is(a, S("a.test"), START));
    CHECK(alive_took(a, S("a.test"), START));
    CHECK(!alive_took(a, S("a.test"), START + DAY - 1)); /* once a day is news */
    CHECK(alive_took(a, S("a.test"), START + DAY));
    CHECK(!alive_is(a, S("b.test"), START));
    CHECK(alive_is(a, S("a.test"), START + 31 * DAY));
    CHECK(!alive_is(a, S("a.test"), START + 32 * DAY));
    alive_set_gone(a, S("a.test"), START + 2 * DAY);
    alive_set_gone(a, S("b.test"), START + 2 * DAY); /* nothing is known of it */
    CHECK_INT(alive_gone_since_ms(a, S("a.test")), START + 2 * DAY);
    CHECK_INT(alive_gone_since_ms(a, S("b.test")), 0);
    alive_free(a);
}

TEST(what_took_nothing_for_long_is_forgotten_and_the_others_stay)
{
    enum { N = 5000 };
    struct alive *a = alive_new((struct hash_key){1, 2});
    char text[32];
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof text, "d%d.test", i);
        CHECK(alive_took(a, slice_cstr(text), START + (i % 2 ? 20 * DAY : 0)));
    }
    CHECK_INT(alive_count(a), N);
    alive_expire(a, START + 31 * DAY);
    CHECK_INT(alive_count(a), N / 2);
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof text, "d%d.test", i);
        CHECK(alive_is(a, slice_cstr(text), START + 31 * DAY) == (i % 2 == 1));
    }
    alive_free(a);
}

/* --- delivery --- */

static const char fickle[] =
    "return { isps = { a = { domains = {'a.test', 'b.test'}, mx = {'mx.a.test'}, address = "
    "'127.0.1.1' } }, dns = { ['a.test'] = 'nxdomain', ['b.test'] = 'nxdomain' } }";
static const char *const a_and_b[] = {"a.test", "b.test"};

static void dns_says(struct town *t, enum world_dns a, enum world_dns b)
{
    t->world->dns[0].what = a;
    t->world->dns[1].what = b;
}

/* a.test takes mail; a day later DNS knows neither, over a restart. */
static bool gone_after_mail(struct town *t, uint64_t seed)
{
    if (!town_new(t, fickle, seed))
        return false;
    dns_says(t, WORLD_DNS_OK, WORLD_DNS_OK);
    town_send(t, a_and_b, 1, 5);
    town_run_for(t, 60000);
    town_close(t);
    dns_says(t, WORLD_DNS_NXDOMAIN, WORLD_DNS_NXDOMAIN);
    if (t->events[EVENT_DELIVERED] != 5 || !town_open(t))
        return false;
    town_run_for(t, DAY);
    t->behind_name = "again";
    return town_send(t, a_and_b, 2, 5) == 10;
}

TEST(nxdomain_of_a_domain_that_took_mail_is_a_fault_of_dns_for_a_day)
{
    struct town t;
    CHECK(gone_after_mail(&t, 3));
    town_run_for(&t, 20 * 3600000);
    CHECK_INT(t.events[EVENT_BOUNCED], 5); /* b.test never took any */
    CHECK_INT(deliver_counts(t.d).queued, 5);
    town_crash(&t); /* since when it is gone is remembered */
    CHECK(town_open(&t));
    town_run_for(&t, 3 * 3600000);
    CHECK_INT(t.events[EVENT_BOUNCED], 5);
    town_run_for(&t, 3 * 3600000);
    CHECK_INT(t.events[EVENT_BOUNCED], 10);
    town_free(&t);
}

TEST(a_domain_that_dns_knows_again_gets_its_mail)
{
    struct town t;
    CHECK(gone_after_mail(&t, 4));
    town_run_for(&t, 20 * 3600000);
    dns_says(&t, WORLD_DNS_OK, WORLD_DNS_OK);
    town_run_for(&t, 2 * 3600000);
    CHECK_INT(t.events[EVENT_DELIVERED], 10);
    CHECK_INT(t.events[EVENT_BOUNCED], 5);
    town_free(&t);
}

TEST(how_long_a_domain_may_be_gone_is_the_scripts_to_say)
{
    struct town t;
    CHECK(gone_after_mail(&t, 5));
    town_close(&t);
    t.conf.person.nxdomain_ms = 0;
    CHECK(town_open(&t));
    town_run_for(&t, 3600000);
    CHECK_INT(t.events[EVENT_BOUNCED], 10);
    town_free(&t);
}
