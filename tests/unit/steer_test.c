/* steer_test.c - pause, resume, cancel and retry of mail on its way: whom each word is about, and what became
 * of them. */
#include "delivery/steer.h"
#include "delivery/deliver_impl.h"
#include "delivery/pause.h"
#include "test.h"
#include "town.h"

#include <stdio.h>

enum { EACH = 3, ALL = 4 * EACH, MIN_MS = 60000 };

static struct slice a_mx[] = {S("mx.a.test")}, b_mx[] = {S("mx.b.test")};
static struct conf_isp isps[] = {{.name = S("ia"), .mx = a_mx, .nmx = 1},
                                 {.name = S("ib"), .mx = b_mx, .nmx = 1}};
static struct conf_source sources[] = {{.name = S("mx1"), .ehlo = S("mx1.example.jp")},
                                       {.name = S("mx2"), .ehlo = S("mx2.example.jp")}};
static struct conf_pool_member members[] = {{0, 1}, {1, 1}};
static struct conf_pool pools[] = {{.name = S("p1"), .members = &members[0], .nmembers = 1},
                                   {.name = S("p2"), .members = &members[1], .nmembers = 1}};
static struct conf_stream streams[2];
static struct conf_campaign campaigns[2];
static const char *const domains[] = {"a.test", "b.test"};

#define WORLD(more)                                                                                          \
    "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1'" more " },"     \
    " b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2'" more " } } }"
#define PUTS_OFF WORLD(", replies = { { phase = 'rcpt', reply = '451 4.3.0 later' } }")

static uint64_t cancelled[64];
static size_t ncancelled;

static void on_event(struct town *t, const struct rec_event *ev)
{
    (void)t;
    if (ev->type == EVENT_CANCELLED && ncancelled < COUNT(cancelled))
        cancelled[ncancelled++] = ev->id;
}

/* Campaign x of stream sx goes from mx1, y of sy from mx2. */
static bool start_on(struct town *t, struct fs *fs, const char *world)
{
    ncancelled = 0;
    if (!town_new_on(t, fs, world, 5))
        return false;
    town_close(t);
    for (size_t i = 0; i < 2; i++) {
        streams[i] = t->conf.streams[0];
        streams[i].name = i ? S("sy") : S("sx");
        streams[i].pool = (uint16_t)i;
        campaigns[i] = t->conf.campaigns[0];
        campaigns[i].name = i ? S("y") : S("x");
        campaigns[i].stream = (uint16_t)i;
    }
    t->conf.streams = streams;
    t->conf.campaigns = campaigns;
    t->conf.nstreams = t->conf.ncampaigns = 2;
    t->conf.sources = sources;
    t->conf.nsources = 2;
    t->conf.pools = pools;
    t->conf.npools = 2;
    t->conf.isps = isps;
    t->conf.nisps = 2;
    t->event = on_event;
    return town_open(t);
}

static bool start(struct town *t, const char *world)
{
    return start_on(t, fs_memory(), world);
}

struct said {
    struct town *t;
    bool then_all_stops; /* the disk stands still from the moment on that it is called */
    int status;
    uint64_t touched, in_flight;
    size_t told; /* events of cancelled ones by then */
    bool called;
};

static void on_done(void *data, int status, uint64_t touched, uint64_t in_flight)
{
    struct said *s = data;
    struct town *t = s->t;
    if (s->then_all_stops) {
        fs_set_faults(t->fs, &(struct fs_faults){.stop_after = 1});
        fs_unlink(t->fs, "state/nothing", NULL);
    }
    *s = (struct said){t, false, status, touched, in_flight, t->events[EVENT_CANCELLED], true};
}

static int order(struct town *t, enum steer_verb verb, const char *word, struct said *s)
{
    struct steer_order o = {.verb = verb};
    *s = (struct said){.t = t};
    int r = steer_parse(slice_cstr(word), &o.kind, &o.name, &t->err);
    return r ? r : steer(t->d, &o, on_done, s, &t->err);
}

static bool carried_out(struct town *t, enum steer_verb verb, const char *word, struct said *s)
{
    if (order(t, verb, word, s))
        return false;
    town_run_for(t, 300);
    return s->called && !s->status;
}

/* x is sent first: its people are the lower half of the ids, and each two of them are at a.test and b.test.
 */
static size_t send_both(struct town *t)
{
    return town_send_as(t, S("x"), domains, 2, EACH) + town_send_as(t, S("y"), domains, 2, EACH);
}

static bool is_x(uint64_t id)
{
    return id <= 2 * EACH;
}
static bool is_y(uint64_t id)
{
    return id > 2 * EACH;
}
static bool is_a(uint64_t id)
{
    return id % 2;
}
static bool is_b(uint64_t id)
{
    return id % 2 == 0;
}
static bool is_m3(uint64_t id)
{
    return id == 3;
}

/* Everybody is in one place, the cancelled ones too. */
static bool accounted(struct town *t, size_t n)
{
    struct deliver_counts c = deliver_counts(t->d);
    return c.queued + c.delivered + c.cancelled == n && queue_is_sound(deliver_queue(t->d), &t->err);
}

static const struct {
    const char *word;
    bool (*about)(uint64_t id);
} words[] = {{"campaign=x", is_x},    {"stream=sy", is_y},  {"isp=ia", is_a},
             {"domain=b.test", is_b}, {"source=mx1", is_x}, {"id=m3", is_m3}};

static size_t count_of(bool (*about)(uint64_t id))
{
    size_t n = 0;
    for (uint64_t id = 1; id <= ALL; id++)
        n += about(id);
    return n;
}

TEST(each_word_cancels_those_whom_it_is_about_and_nobody_else)
{
    for (size_t i = 0; i < 2 * COUNT(words); i++) {
        bool deferred = i % 2;
        size_t want = count_of(words[i / 2].about);
        struct town t;
        struct said s;
        CHECK(start(&t, PUTS_OFF));
        if (!deferred) { /* they are ready, and wait */
            CHECK(carried_out(&t, STEER_PAUSE, "isp=ia", &s) && carried_out(&t, STEER_PAUSE, "isp=ib", &s));
        }
        CHECK_INT(send_both(&t), ALL);
        town_run_for(&t, 20000);
        CHECK_INT(t.events[EVENT_DEFERRED], deferred ? ALL : 0);
        CHECK(carried_out(&t, STEER_CANCEL, words[i / 2].word, &s));
        CHECK_INT(s.touched, want);
        CHECK_INT(s.told, want); /* when it is done, and not some time later */
        for (size_t k = 0; k < ncancelled; k++)
            CHECK(words[i / 2].about(cancelled[k]));
        CHECK_INT(deliver_counts(t.d).queued, ALL - want);
        CHECK(accounted(&t, ALL));
        town_free(&t);
    }
}

TEST(each_word_makes_those_due_whom_it_is_about_and_nobody_else)
{
    for (size_t i = 0; i < COUNT(words); i++) {
        size_t want = count_of(words[i].about);
        struct town t;
        struct said s;
        CHECK(start(&t, PUTS_OFF));
        CHECK_INT(send_both(&t), ALL);
        town_run_for(&t, 20000);
        CHECK_INT(t.events[EVENT_DEFERRED], ALL);
        CHECK(carried_out(&t, STEER_RETRY, words[i].word, &s));
        CHECK_INT(s.touched, want);
        town_run_for(&t, 20000);
        CHECK_INT(t.events[EVENT_DEFERRED], ALL + want);
        town_free(&t);
    }
}

TEST(each_word_holds_those_whom_it_is_about_until_it_is_taken_back)
{
    for (size_t i = 0; i < COUNT(words); i++) {
        size_t want = count_of(words[i].about);
        struct town t;
        struct said s;
        CHECK(start(&t, WORLD(", greylist = '1 min'")));
        CHECK_INT(send_both(&t), ALL);
        town_run_for(&t, 20000);
        CHECK_INT(t.events[EVENT_DEFERRED], ALL);
        CHECK(carried_out(&t, STEER_PAUSE, words[i].word, &s));
        CHECK_INT(s.touched, want);
        town_crash(&t); /* it outlives that */
        CHECK(town_open(&t));
        town_run_for(&t, 60 * MIN_MS);
        CHECK_INT(t.events[EVENT_DELIVERED], ALL - want);
        CHECK(carried_out(&t, STEER_RESUME, words[i].word, &s));
        CHECK_INT(s.touched, want);
        town_run_for(&t, 60 * MIN_MS);
        CHECK_INT(t.events[EVENT_DELIVERED], ALL);
        CHECK(accounted(&t, ALL));
        town_free(&t);
    }
}

TEST(a_message_that_is_let_go_keeps_the_time_of_its_next_try)
{
    struct town t;
    struct said s;
    CHECK(start(&t, PUTS_OFF));
    CHECK_INT(send_both(&t), ALL);
    town_run_for(&t, 20000);
    CHECK(carried_out(&t, STEER_PAUSE, "id=m3", &s) && carried_out(&t, STEER_RETRY, "campaign=x", &s));
    town_run_for(&t, 20000);
    CHECK_INT(t.events[EVENT_DEFERRED], ALL + 2 * EACH - 1); /* it is paused on its own, and stays so */
    CHECK_INT(deliver_counts(t.d).held, 1);
    CHECK(carried_out(&t, STEER_RESUME, "id=m3", &s));
    town_run_for(&t, 20000);
    CHECK_INT(t.events[EVENT_DEFERRED], ALL + 2 * EACH - 1);
    CHECK_INT(deliver_counts(t.d).held, 0);
    CHECK_INT(deliver_counts(t.d).retry, ALL);
    town_free(&t);
}

TEST(what_is_in_flight_ends_as_it_ends_and_is_not_tried_again)
{
    static const struct {
        enum steer_verb verb;
        const char *word;
    } rows[] = {{STEER_CANCEL, "campaign=x"}, {STEER_CANCEL, "id=m1"}, {STEER_PAUSE, "id=m1"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct town t;
        struct said s;
        CHECK(
            start(&t, WORLD(", delay = '1 s', replies = { { phase = 'eod', reply = '451 4.3.0 later' } }")));
        CHECK_INT(town_send_as(&t, S("x"), domains, 1, 1), 1);
        town_run_for(&t, 3000);
        CHECK_INT(deliver_counts(t.d).in_flight, 1);
        CHECK(carried_out(&t, rows[i].verb, rows[i].word, &s));
        CHECK_INT(s.touched, 1);
        CHECK_INT(s.in_flight, 1);
        CHECK(carried_out(&t, rows[i].verb, rows[i].word, &s));
        CHECK_INT(s.touched, rows[i].verb == STEER_PAUSE); /* cancelled once is enough */
        town_run_for(&t, 10 * MIN_MS);
        CHECK_INT(t.events[EVENT_CANCELLED], rows[i].verb == STEER_CANCEL);
        CHECK_INT(t.events[EVENT_DEFERRED], 1);
        CHECK_INT(deliver_counts(t.d).held, rows[i].verb == STEER_PAUSE);
        CHECK(accounted(&t, 1));
        town_free(&t);
    }
}

TEST(nothing_new_begins_once_it_is_ordered_and_one_order_is_carried_out_at_a_time)
{
    enum { MANY = 6000 };
    static const struct {
        enum steer_verb verb;
        const char *word;
    } rows[] = {{STEER_CANCEL, "stream=sx"}, {STEER_CANCEL, "campaign=x"}, {STEER_PAUSE, "campaign=x"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct town t;
        struct said s, other;
        CHECK(start(&t, WORLD(", delay = '1 ms'")));
        CHECK_INT(town_send_as(&t, S("x"), domains, 1, MANY), MANY);
        town_run_for(&t, 500);
        struct deliver_counts c = deliver_counts(t.d);
        CHECK(c.delivered > 20 && c.queued > MANY / 2);
        CHECK_INT(order(&t, rows[i].verb, rows[i].word, &s), 0);
        CHECK_INT(order(&t, STEER_RETRY, "isp=ia", &other), ERR_AGAIN);
        town_run_for(&t, 2000);
        CHECK(s.called && !s.status);
        CHECK(deliver_counts(t.d).delivered <= c.delivered + c.in_flight);
        if (rows[i].verb == STEER_CANCEL) {
            CHECK(s.told + s.in_flight >= s.touched);
            CHECK_INT(deliver_counts(t.d).queued, 0);
        }
        CHECK(accounted(&t, MANY));
        town_free(&t);
    }
}

TEST(a_cancelling_that_a_kill_cut_off_goes_on)
{
    enum { MANY = 6000 };
    struct town t;
    struct said s;
    CHECK(start(&t, PUTS_OFF));
    CHECK(carried_out(&t, STEER_PAUSE, "isp=ia", &s));
    CHECK_INT(town_send_as(&t, S("x"), domains, 1, MANY), MANY);
    town_run_for(&t, 1000);
    CHECK_INT(order(&t, STEER_CANCEL, "campaign=x", &s), 0);
    town_run_for(&t, 4);
    CHECK(!s.called && t.events[EVENT_CANCELLED] < MANY);
    town_crash(&t);
    CHECK(town_open(&t));
    town_run_for(&t, 5000);
    CHECK_INT(deliver_counts(t.d).queued, 0);
    CHECK(t.events[EVENT_CANCELLED] >= MANY); /* what the kill took is told again */
    town_free(&t);
}

TEST(what_was_said_to_be_carried_out_outlives_the_power)
{
    for (enum steer_verb verb = STEER_PAUSE; verb <= STEER_RETRY; verb++) {
        struct town t;
        struct said s;
        CHECK(start_on(&t, fs_forgetting(), PUTS_OFF));
        CHECK_INT(send_both(&t), ALL);
        town_run_for(&t, MIN_MS);
        CHECK_INT(deliver_counts(t.d).retry, ALL);
        if (verb == STEER_RESUME)
            CHECK(carried_out(&t, STEER_PAUSE, "campaign=x", &s));
        if (verb == STEER_RETRY) /* who is due stays so */
            CHECK(carried_out(&t, STEER_PAUSE, "source=mx1", &s));
        town_run_for(&t, 1000);
        CHECK_INT(order(&t, verb, "campaign=x", &s), 0);
        s.then_all_stops = true;
        town_run_for(&t, 1000);
        CHECK(s.called && !s.status);
        town_crash(&t);
        fs_power_loss(t.fs, 1 + verb);
        CHECK(town_open(&t));
        struct deliver_counts c = deliver_counts(t.d);
        CHECK_INT(c.queued, verb == STEER_CANCEL ? ALL / 2 : ALL);
        CHECK_INT(c.retry, verb == STEER_CANCEL || verb == STEER_RETRY ? ALL / 2 : ALL);
        CHECK(pause_holds(t.d, STEER_CAMPAIGN, S("x")) == (verb == STEER_PAUSE));
        town_free(&t);
    }
}

TEST(orders_about_what_is_not_there_are_refused_in_words)
{
    struct town t;
    struct said s;
    char name[512];
    static const struct {
        enum steer_verb verb;
        const char *word;
        int code;
        const char *says;
    } rows[] = {
        {STEER_PAUSE, "campaign=z", ERR_NOTFOUND, "there is no campaign \"z\""},
        {STEER_PAUSE, "stream=z", ERR_NOTFOUND, "there is no stream \"z\""},
        {STEER_PAUSE, "source=z", ERR_NOTFOUND, "there is no source \"z\""},
        {STEER_CANCEL, "id=m9", ERR_NOTFOUND, "message m9 is not on its way"},
        {STEER_CANCEL, "id=z", ERR_INVAL, "\"z\" is no message: id=m17"},
        {STEER_PAUSE, "measure=M1", ERR_INVAL, "a measure is lifted: hato resume measure=M1"},
        {STEER_RESUME, "measure=M1", ERR_NOTFOUND,
         "there is no measure \"M1\"; hato queue --measures lists them"},
        {STEER_PAUSE, "ips=gmail", ERR_INVAL, "\"ips=gmail\": did you mean isp=gmail?"},
        {STEER_PAUSE, "isp=", ERR_INVAL,
         "\"isp=\" is not KIND=VALUE with KIND one of campaign, stream, isp, domain, source, id, measure"},
    };
    CHECK(start(&t, WORLD("")));
    for (size_t i = 0; i < COUNT(rows); i++) {
        CHECK_INT(order(&t, rows[i].verb, rows[i].word, &s), rows[i].code);
        CHECK_STR(slice_cstr(t.err.text), slice_cstr(rows[i].says));
    }
    snprintf(name, sizeof name, "isp=%0*d", 401, 0);
    CHECK_INT(order(&t, STEER_PAUSE, name, &s), ERR_INVAL);
    CHECK_STR(slice_cstr(t.err.text), S("that name is too long"));
    CHECK_INT(order(&t, STEER_PAUSE, "isp=nobody-yet", &s), 0); /* mail for it may come */
    town_run_for(&t, 100);
    struct steer_order forgets = {
        .verb = STEER_PAUSE, .kind = STEER_CAMPAIGN, .name = S("x"), .forget = true};
    CHECK_INT(steer_check(&forgets, &t.err), ERR_INVAL);
    town_free(&t);
}
