/* keycheck_test.c - mail that is to leave the machine, and the DKIM keys of its stream in DNS. */
#include "delivery/deliver_impl.h"
#include "delivery/measure.h"
#include "format/dkim.h"
#include "test.h"
#include "town.h"

enum { SECOND = 1000, MINUTE = 60000, HOUR = 3600000, DNS_MS = 300 };

static const char world[] =
    "return { isps = { a = { domains = { 'a.test' }, mx = { 'mx.a.test' }, address = '192.0.2.1',"
    "                        delay = '100 ms' },"
    "                  b = { domains = { 'b.test' }, mx = { 'mx.b.test' }, address = '192.0.2.2' },"
    "                  here = { domains = { 'here.test' }, mx = { 'mx.here.test' }, address = '127.0.1.1' } "
    "} }";
static const char *const a_test[] = {"a.test"}, *const b_test[] = {"b.test"},
                         *const here_test[] = {"here.test"};

/* One stream signs, the other does not; DNS takes DNS_MS. */
struct rig {
    struct town t;
    struct conf_stream streams[2];
    struct conf_campaign campaigns[3];
    struct conf_dkim dkim;
    struct buf record;   /* that is to be published */
    unsigned looks;      /* for it that are over */
    int64_t answered_ms; /* when the last was */
    bool silent;         /* nobody answers */
    int64_t signed_ms;   /* when the first mail of the stream that signs was taken; 0: none was */
    int64_t unsigned_ms; /* of the other */
};
static struct rig r;

static bool answer(void *data, struct dns_message *m, struct arena *a)
{
    if (m->qtype != DNS_TXT)
        return dns_zone_answer(r.t.zone, m, a);
    r.looks++;
    r.answered_ms = loop_now_ms(r.t.loop);
    return !r.silent && dns_zone_answer(r.t.zone, m, a);
}

static void on_event(struct town *t, const struct rec_event *ev)
{
    bool is_signed = slice_eq(deliver_name(t->d, NAME_STREAM, ev->stream), S("signed"));
    int64_t *first = is_signed ? &r.signed_ms : &r.unsigned_ms;
    if (ev->type == EVENT_DELIVERED && !*first)
        *first = loop_now_ms(t->loop);
}

static bool rig_new(void)
{
    struct dkim_key *key = NULL;
    r = (struct rig){.silent = false};
    if (!town_new(&r.t, world, 5))
        return false;
    town_close(&r.t);
    resolve_free(r.t.resolve);
    r.t.resolve = resolve_new_static(r.t.loop, answer, &r, DNS_MS, 0);
    r.dkim = (struct conf_dkim){S("example.jp"), S("s1"), S("s1.pem"),
                                test_file("tests/golden/dkim/rfc8463-rsa.key")};
    if (dkim_key_load(r.dkim.key_pem, &key, &r.t.err) || dkim_record(key, &r.record))
        return false;
    dkim_key_free(key);
    r.streams[0] = r.streams[1] = r.t.conf.streams[0];
    r.streams[0].name = S("signed");
    r.streams[0].dkim = &r.dkim;
    r.streams[0].ndkim = 1;
    r.streams[1].name = S("unsigned");
    for (size_t i = 0; i < COUNT(r.campaigns); i++)
        r.campaigns[i] = r.t.conf.campaigns[0];
    r.campaigns[0].name = S("x1");
    r.campaigns[1].name = S("x2");
    r.campaigns[2].name = S("y1");
    r.campaigns[2].stream = 1;
    r.t.conf.streams = r.streams;
    r.t.conf.nstreams = 2;
    r.t.conf.campaigns = r.campaigns;
    r.t.conf.ncampaigns = 3;
    r.t.proves_keys = true;
    r.t.event = on_event;
    return town_open(&r.t);
}

static void rig_free(void)
{
    buf_free(&r.record);
    town_free(&r.t);
}

static void publish(struct slice record)
{
    dns_zone_add_text(r.t.zone, S("s1._domainkey.example.jp"), record);
}

static size_t delivered(void)
{
    return r.t.events[EVENT_DELIVERED];
}

static const struct measure *held(void)
{
    const struct measure *m = NULL;
    while ((m = measures_next(paths_measures(r.t.d->paths), m)))
        if (measure_holds(m))
            return m;
    return NULL;
}

TEST(a_key_that_is_not_published_is_looked_for_again_after_ten_minutes)
{
    CHECK(rig_new());
    town_send_as(&r.t, S("x1"), a_test, 1, 3);
    town_send_as(&r.t, S("y1"), a_test, 1, 10); /* their connection is open when the answer comes */
    town_run_for(&r.t, 20 * SECOND);
    CHECK_INT(r.looks, 1);
    CHECK_INT(delivered(), 10); /* those that nobody signs */
    CHECK(r.unsigned_ms && !r.signed_ms);
    const struct measure *m = held();
    CHECK(m && m->kind == ACT_SUSPEND && m->scope == ACT_ONE_STREAM);
    CHECK_STR(slice_cstr(m->rule), S("published:dkim"));
    int64_t first_ms = r.answered_ms;
    town_run_for(&r.t, 5 * MINUTE);
    r.t.behind_name = "b"; /* other mail leaves meanwhile: it changes nothing */
    town_send_as(&r.t, S("y1"), a_test, 1, 3);
    town_run_for(&r.t, 4 * MINUTE);
    CHECK_INT(delivered(), 13);
    CHECK_INT(r.looks, 1);
    town_run_for(&r.t, 2 * MINUTE);
    CHECK_INT(r.looks, 2);
    CHECK(r.answered_ms >= first_ms + 10 * MINUTE && r.answered_ms < first_ms + 10 * MINUTE + SECOND);
    CHECK(held() && !r.signed_ms);
    publish(buf_slice(&r.record));
    town_run_for(&r.t, 10 * MINUTE);
    CHECK_INT(r.looks, 3);
    CHECK_INT(delivered(), 16);
    CHECK(!held());
    CHECK_INT(r.t.events[EVENT_DEFERRED], 0);
    rig_free();
}

TEST(a_receiver_that_comes_later_gets_nothing_of_a_held_stream_either)
{
    CHECK(rig_new());
    town_send_as(&r.t, S("x1"), a_test, 1, 1);
    town_run_for(&r.t, MINUTE);
    town_send_as(&r.t, S("x1"), b_test, 1, 3);
    town_send_as(&r.t, S("y1"), b_test, 1, 3);
    town_run_for(&r.t, MINUTE);
    CHECK_INT(delivered(), 3);
    CHECK(r.unsigned_ms && !r.signed_ms);
    CHECK_INT(r.looks, 1);
    const struct measure *m = NULL;
    size_t n = 0;
    while ((m = measures_next(paths_measures(r.t.d->paths), m)))
        n += measure_holds(m);
    CHECK_INT(n, 2); /* one at each */
    rig_free();
}

TEST(what_a_stream_signs_waits_while_its_key_is_looked_for_and_nothing_else_does)
{
    CHECK(rig_new());
    publish(buf_slice(&r.record));
    town_send_as(&r.t, S("x1"), b_test, 1, 3);
    town_send_as(&r.t, S("y1"), b_test, 1, 3);
    town_run_for(&r.t, 2 * SECOND);
    CHECK_INT(delivered(), 6);
    CHECK(r.unsigned_ms < r.answered_ms && r.answered_ms <= r.signed_ms);
    town_run_for(&r.t, HOUR);
    town_send_as(&r.t, S("x2"), b_test, 1, 3);
    town_run_for(&r.t, MINUTE);
    CHECK_INT(delivered(), 9);
    CHECK_INT(r.looks, 1); /* it was there: once is enough */
    rig_free();
}

TEST(mail_that_stays_on_this_machine_needs_no_key)
{
    CHECK(rig_new());
    town_send_as(&r.t, S("x1"), here_test, 1, 3);
    town_run_for(&r.t, MINUTE);
    CHECK_INT(delivered(), 3);
    CHECK_INT(r.looks, 0);
    town_send_as(&r.t, S("x1"), a_test, 1, 1);
    town_run_for(&r.t, 2 * DNS_MS + DNS_MS / 3); /* its MX and its address are known */
    town_send_as(&r.t, S("x2"), here_test, 1, 3);
    town_run_for(&r.t, DNS_MS / 3);
    CHECK_INT(delivered(), 6);
    CHECK_INT(r.looks, 0);
    town_run_for(&r.t, MINUTE);
    CHECK(r.looks == 1 && held());
    r.t.behind_name = "b";
    town_send_as(&r.t, S("x2"), here_test, 1, 3);
    town_run_for(&r.t, MINUTE);
    CHECK_INT(delivered(), 9);
    rig_free();
}

TEST(where_dns_says_nothing_nobody_is_judged_and_who_leaves_ten_minutes_later_asks_again)
{
    CHECK(rig_new());
    r.silent = true;
    town_send_as(&r.t, S("x1"), a_test, 1, 3);
    town_run_for(&r.t, MINUTE);
    CHECK_INT(r.looks, 1);
    CHECK_INT(delivered(), 3);
    r.silent = false;
    publish(S("v=DKIM1; p="));
    town_send_as(&r.t, S("x2"), a_test, 1, 3);
    town_run_for(&r.t, 8 * MINUTE);
    CHECK_INT(r.looks, 1);
    CHECK_INT(delivered(), 6);
    town_run_for(&r.t, 2 * MINUTE);
    r.t.behind_name = "b";
    town_send_as(&r.t, S("x1"), a_test, 1, 3);
    town_run_for(&r.t, MINUTE);
    CHECK_INT(r.looks, 2);
    CHECK_INT(delivered(), 6);
    CHECK(held());
    rig_free();
}

TEST(a_simulation_has_no_keys_of_the_senders_in_its_dns)
{
    CHECK(rig_new());
    town_close(&r.t);
    r.t.proves_keys = false;
    CHECK(town_open(&r.t));
    town_send_as(&r.t, S("x1"), a_test, 1, 3);
    town_run_for(&r.t, MINUTE);
    CHECK_INT(r.looks, 0);
    CHECK_INT(delivered(), 3);
    rig_free();
}
