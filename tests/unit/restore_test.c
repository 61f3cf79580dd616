/* restore_test.c - the promises of the spool, as delivery keeps them: over a kill, a cut of the power, a full
 * disk and time. */
#include "delivery/deliver_impl.h"
#include "test.h"
#include "town.h"

#include <stdlib.h>

static const char *const a_b[] = {"a.test", "b.test"};

/* --- state survives exactly --- */

struct row {
    enum q_state state;
    uint32_t attempts;
    struct buf text;
};

enum { ROWS = 200 };

static void look(struct town *t, struct row rows[ROWS])
{
    struct queue *q = deliver_queue(t->d);
    for (uint64_t id = 0; (id = queue_next(q, id)) && id < ROWS;) {
        const struct q_memo *m = queue_memo(q, id, false);
        struct row *r = &rows[id];
        const struct standing *p = m ? &m->past : NULL;
        r->state = queue_get(q, id)->state;
        if (!m)
            continue;
        r->attempts = m->past.attempts;
        buf_printf(&r->text,
                   "attempts %u first %lld date %lld source %u class %u replied %d phase %u code %u "
                   "enhanced %u.%u.%u text \"%s\" host %s due %lld edits %zu",
                   p->attempts, (long long)p->clock_ms, (long long)p->date_s, m->source, p->cls, p->replied,
                   p->phase, p->code, p->enhanced.cls, p->enhanced.subject, p->enhanced.detail,
                   p->text ? p->text : "", m->host ? m->host : "any",
                   (long long)(r->state == Q_RETRY ? m->node.key : 0), m->edits.n);
    }
}

/* Rows of what waited that are not as they were. */
static int differences(const struct row before[ROWS], const struct row after[ROWS])
{
    int n = 0;
    for (int i = 0; i < ROWS; i++) {
        const struct row *b = &before[i], *a = &after[i];
        bool same = b->state == Q_CLAIMED
                        ? a->state == Q_READY && a->attempts - b->attempts <= 1
                        : a->state == b->state && slice_eq(buf_slice(&a->text), buf_slice(&b->text));
        if (!same)
            fprintf(stderr, "%d was in %d: %.*s\n%*sis in %d: %.*s\n", i, b->state,
                    SLICE_FMT(buf_slice(&b->text)), 5, "", a->state, SLICE_FMT(buf_slice(&a->text)));
        n += !same;
    }
    return n;
}

static void rows_free(struct row rows[ROWS])
{
    for (int i = 0; i < ROWS; i++)
        buf_free(&rows[i].text);
}

static const char moody[] =
    "return { isps = {"
    "a = { domains = {'a.test'}, mx = {'mx1.a.test', 'mx2.a.test'}, address = {'127.0.1.1', '127.0.1.2'},"
    "      delay = '10 ms', replies = { { phase = 'rcpt', share = 0.5, reply = '450 4.2.1 a moment\\nplease' "
    "},"
    "                  { phase = 'eod', share = 0.2, disconnect = true },"
    "                  { phase = 'eod', share = 0.3, reply = '452 4.2.2 mailbox full' } } },"
    "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.3', greylist = '1 min',"
    "      delay = '10 ms' } } }";

TEST(whoever_waits_waits_after_a_kill_as_before)
{
    static const int64_t moments_ms[] = {120, 900, 61000, 310000, 330000, 2200000};
    struct town t;
    int different = 0;
    size_t waited = 0;
    CHECK(town_new(&t, moody, 4));
    CHECK_INT(town_send(&t, a_b, 2, 80), 160);
    for (size_t i = 0; i < COUNT(moments_ms); i++) {
        struct row before[ROWS] = {{0}}, after[ROWS] = {{0}};
        town_run_for(&t, moments_ms[i]);
        look(&t, before);
        waited += deliver_counts(t.d).retry;
        town_crash(&t);
        CHECK(town_open(&t));
        look(&t, after);
        different += differences(before, after);
        rows_free(before);
        rows_free(after);
    }
    CHECK(waited > 100);
    CHECK_INT(different, 0);
    town_free(&t);
}

/* --- kill and power loss at random moments --- */

enum { EACH = 20, PEOPLE = EACH * 2, LIVES = 4, UNSYNCED_MS = 11 /* a sync starts within 10 ms */ };

struct judge {
    struct town t;
    struct town_person people[PEOPLE];
    int taken[PEOPLE];
    int may_double[PEOPLE]; /* how often the outcome may have been lost */
    int64_t delivered_ms[PEOPLE];
    size_t in_flight, unsynced, ambiguous, lost, doubled, excess, again;
};

static int number_of(struct slice address)
{
    return atoi(address.p + 1) * 2 + (memchr(address.p, 'b', address.n) != NULL);
}

static void judge_transaction(void *data, const struct world_isp *isp, const struct smtp_server_tx *tx)
{
    struct judge *j = CONTAINER((struct town *)data, struct judge, t);
    (void)isp;
    for (size_t i = 0; tx->taken && i < tx->nrcpts; i++)
        j->taken[number_of(tx->rcpts[i].address)]++;
}

static void judge_event(struct town *t, const struct rec_event *ev)
{
    struct judge *j = CONTAINER(t, struct judge, t);
    if (ev->type == EVENT_DELIVERED)
        j->delivered_ms[number_of(ev->recipient)] = ev->at_ms;
    if (ev->type == EVENT_AMBIGUOUS) { /* RFC 1047: the connection broke before the reply */
        j->may_double[number_of(ev->recipient)]++;
        j->ambiguous++;
    }
}

/* Who may get a second mail if the power goes now; without power loss only who is in flight. */
static void judge_end_of_life(struct judge *j, bool power_loss)
{
    for (int i = 0; i < PEOPLE; i++) {
        struct q_entry *e = j->people[i].id ? queue_get(deliver_queue(j->t.d), j->people[i].id) : NULL;
        bool flying = e && e->state == Q_CLAIMED;
        bool fresh = power_loss && loop_wall_ms(j->t.loop) - j->delivered_ms[i] <= UNSYNCED_MS;
        j->in_flight += flying;
        j->unsynced += fresh;
        j->may_double[i] += flying || fresh;
    }
}

static uint64_t roll(uint64_t *rng, uint64_t n)
{
    *rng = *rng * 6364136223846793005u + 1442695040888963407u;
    return (*rng >> 33) % n;
}

static bool judge_seed(struct judge *j, uint64_t seed)
{
    static const char world[] =
        "return { isps = {"
        "a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1', delay = '3 ms',"
        "      extensions = {'PIPELINING'}, replies = { { phase = 'eod', share = 0.05, disconnect = true } } "
        "},"
        "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2', delay = '7 ms',"
        "      replies = { { phase = 'rcpt', share = 0.1, reply = '450 4.2.1 a moment' } } } } }";
    uint64_t rng = seed;
    struct town *t = &j->t;
    if (!town_new_on(t, fs_forgetting(), world, seed))
        return false;
    t->people = j->people;
    t->transaction = judge_transaction;
    t->event = judge_event;
    t->segment_bytes = 2000;
    for (int life = 0; life < LIVES; life++) {
        bool power_loss = roll(&rng, 4) > 0;
        int64_t ms = (int64_t)roll(&rng, roll(&rng, 2) ? 20 : 1500);
        /* The power may go between any two operations, also between a write and its sync. */
        long stop = power_loss && roll(&rng, 2) ? 1 + (long)roll(&rng, ms < 20 ? 10 : 200) : 0;
        fs_set_faults(t->fs, &(struct fs_faults){.stop_after = stop});
        town_send(t, a_b, 2, EACH / (life ? 1 : 2));
        do
            town_run_for(t, 1);
        while (--ms > 0 && (!stop || fs_operations(t->fs) < stop));
        judge_end_of_life(j, power_loss);
        town_crash(t);
        if (power_loss)
            fs_power_loss(t->fs, roll(&rng, UINT32_MAX));
        if (!town_open(t)) {
            fprintf(stderr, "seed %d life %d: %s\n", (int)seed, life, t->err.text);
            return false;
        }
    }
    town_send(t, a_b, 2, EACH);
    town_run(t);
    for (int i = 0; i < PEOPLE; i++) {
        int more = j->taken[i] - 1;
        j->lost += more < 0;
        j->doubled += more > 0 ? (size_t)more : 0;
        j->excess += more > j->may_double[i];
        j->again += j->people[i].again;
        if (more < 0 || more > j->may_double[i] || j->people[i].again)
            fprintf(stderr, "seed %d: person %d got %d mails and may get %d%s\n", (int)seed, i, j->taken[i],
                    j->may_double[i] + 1, j->people[i].again ? "; was accepted twice" : "");
    }
    bool sound = deliver_counts(t->d).queued == 0;
    if (!sound)
        fprintf(stderr, "seed %d: %zu are still queued\n", (int)seed, deliver_counts(t->d).queued);
    return sound;
}

TEST(after_power_loss_nobody_is_lost_and_only_the_unsynced_are_doubled)
{
    size_t in_flight = 0, unsynced = 0, ambiguous = 0, lost = 0, doubled = 0, excess = 0, again = 0;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct judge *j = mem_zalloc(sizeof *j);
        bool well = judge_seed(j, seed);
        in_flight += j->in_flight;
        unsynced += j->unsynced;
        ambiguous += j->ambiguous;
        lost += j->lost;
        doubled += j->doubled;
        excess += j->excess;
        again += j->again;
        town_free(&j->t);
        free(j);
        CHECK(well);
    }
    printf("power loss: lost %zu, doubled %zu, in flight %zu, not yet synced %zu, ambiguous %zu\n", lost,
           doubled, in_flight, unsynced, ambiguous);
    CHECK_INT(lost, 0);
    CHECK_INT(again, 0);
    CHECK_INT(excess, 0);
    CHECK(doubled > 0 && ambiguous > 0 && doubled <= in_flight + unsynced + ambiguous);
}

TEST(what_a_surviving_record_speaks_of_is_never_given_to_another)
{
    struct town t;
    struct spool_pos pos;
    struct buf b = {0};
    struct rec rec = {.type = REC_RECIPIENT};
    CHECK(town_new(&t, moody, 5));
    uint32_t known = deliver_columns(t.d, S("name"));
    rec.recipient = (struct rec_recipient){.id = 70,
                                           .campaign = deliver_campaign(t.d, S("hello"))->number,
                                           .stream = deliver_stream(t.d, S("news"))->number,
                                           .columns = known + 7,
                                           .address = S("p0@a.test"),
                                           .values = SLICE_NONE,
                                           .content = SLICE_NONE};
    rec_put(&b, &rec);
    CHECK_INT(spool_append(deliver_spool(t.d), SPOOL_RECIPIENTS, buf_slice(&b), &pos), 0);
    buf_free(&b);
    town_close(&t);
    CHECK(town_open(&t));
    CHECK_INT(deliver_counts(t.d).queued, 0);
    CHECK_INT(deliver_columns(t.d, S("name")), known);
    CHECK_INT(deliver_columns(t.d, S("other")), known + 8);
    struct town_person people[2] = {{0}};
    t.people = people;
    CHECK_INT(town_send(&t, a_b, 2, 1), 2);
    CHECK_INT(people[0].id, 71);
    CHECK(slice_find(buf_slice(&t.trace), S("1 recipients passed over")) >= 0);
    town_free(&t);
}

/* However a domain is written, and however long the address is, its mail waits in the domain's one lane. */
TEST(every_spelling_of_a_domain_comes_back_to_its_lane)
{
    struct town t;
    struct buf far = {0}, b = {0};
    struct err e;
    size_t lanes[3] = {0};
    CHECK(town_new(&t, moody, 6));
    buf_adds(&far, S("taro@"));
    for (int label = 0; label < 4; label++) {
        for (int i = 0; i < 40; i++)
            buf_adds(&far, S("\xe3\x81\x82"));
        buf_adds(&far, label == 3 ? S(".test") : S("."));
    }
    const struct slice spelled[] = {S("p0@a.test"), S("p1@A.Test"),      S("p2@a.test"),
                                    S("p3@b.test"), S("\"a@b\"@B.TEST"), buf_slice(&far)};
    for (size_t i = 0; i < COUNT(spelled); i++) {
        struct rec rec = {.type = REC_RECIPIENT};
        struct spool_pos pos;
        rec.recipient = (struct rec_recipient){.id = i + 1,
                                               .campaign = deliver_campaign(t.d, S("hello"))->number,
                                               .stream = deliver_stream(t.d, S("news"))->number,
                                               .address = spelled[i],
                                               .values = SLICE_NONE,
                                               .content = SLICE_NONE};
        buf_clear(&b);
        rec_put(&b, &rec);
        CHECK_INT(spool_append(deliver_spool(t.d), SPOOL_RECIPIENTS, buf_slice(&b), &pos), 0);
    }
    town_close(&t);
    CHECK(town_open(&t));
    struct queue *q = deliver_queue(t.d);
    CHECK_INT(queue_count(q), COUNT(spelled));
    for (uint64_t id = 0; (id = queue_next(q, id));) {
        struct slice name = queue_lane_at(q, queue_get(q, id)->lane)->domain->name;
        lanes[slice_eq(name, S("a.test")) ? 0 : slice_eq(name, S("b.test")) ? 1 : 2]++;
    }
    CHECK(lanes[0] == 3 && lanes[1] == 2 && lanes[2] == 1);
    CHECK(queue_is_sound(q, &e));
    buf_free(&far);
    buf_free(&b);
    town_free(&t);
}

/* --- nothing personal stays --- */

enum { HOUR_MS = 3600000, DAY_MS = 24 * HOUR_MS };

static const char p0_of_b_is_full[] =
    "return { isps = {"
    "a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1' },"
    "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2',"
    "      replies = { { phase = 'rcpt', to = '^p0@', reply = '450 4.2.2 full' } } } } }";

TEST(a_day_after_the_end_no_address_is_left_and_once_stays_once)
{
    struct town t;
    CHECK(town_new(&t, p0_of_b_is_full, 6));
    CHECK_INT(town_send(&t, a_b, 2, 30), 60);
    town_run_for(&t, HOUR_MS);
    CHECK_INT(deliver_counts(t.d).queued, 1);
    CHECK_INT(town_files_with(&t, "recipients", "p7@a.test"), 1);
    CHECK_INT(town_files_with(&t, "recipients", "Taro"), 1);
    town_run_for(&t, 23 * HOUR_MS);
    CHECK_INT(town_files_with(&t, "recipients", "p7@a.test"), 0);
    CHECK_INT(town_files_with(&t, "recipients", "p0@b.test"), 1); /* still waits, and needs it */
    town_run_for(&t, 5 * DAY_MS);
    CHECK_INT(deliver_counts(t.d).queued, 0);
    CHECK_INT(town_files_with(&t, "recipients", "p0@b.test"), 0);
    CHECK_INT(town_files_with(&t, "recipients", "Taro"), 0);
    CHECK_INT(town_files_with(&t, "events", "p7@a.test"), 1); /* for 30 days */
    town_crash(&t);
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_b, 2, 31), 2);
    town_run_for(&t, DAY_MS);
    CHECK_INT(sink_stats(t.sink).messages, 59 + 2);
    town_run_for(&t, (int64_t)27 * DAY_MS);
    CHECK_INT(town_files_with(&t, "events", "p7@a.test"), 0);
    CHECK_INT(town_files_with(&t, "recipients", "@a.test"), 0);
    CHECK_INT(town_send(&t, a_b, 2, 31), 0);
    town_close(&t);
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_b, 2, 31), 0);
    CHECK_INT(deliver_counts(t.d).queued, 0);
    town_free(&t);
}

/* --- a full disk --- */

static const char patient[] =
    "return { isps = {"
    "a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1', delay = '10 ms' },"
    "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2', greylist = '1 min' } } }";

TEST(a_full_disk_refuses_new_mail_and_delivers_what_it_has)
{
    enum { DISK_BYTES = 17 << 20, RESERVE_BYTES = 16 << 20 };
    struct town t;
    struct fs *fs = fs_memory();
    fs_set_faults(fs, &(struct fs_faults){.capacity = DISK_BYTES});
    CHECK(town_new_on(&t, fs, patient, 7));
    CHECK_INT(town_send(&t, a_b, 2, 50), 100);
    town_run_for(&t, 5);
    fs_set_faults(fs, &(struct fs_faults){.capacity = RESERVE_BYTES}); /* the reserve and nothing else */
    CHECK_INT(town_send(&t, a_b, 2, 55), 10); /* refused at the turn's end, when they are written */
    town_run_for(&t, 5);
    CHECK_INT(town_send(&t, a_b, 2, 55), 0);
    CHECK(slice_find(buf_slice(&t.trace), S("No space left on device")) >= 0);
    CHECK_INT(deliver_counts(t.d).accepted, 100);
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 100);
    fs_set_faults(fs, &(struct fs_faults){0});
    town_run_for(&t, 60000);
    CHECK_INT(town_send(&t, a_b, 2, 55), 10);
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 110);
    CHECK_INT(sink_stats(t.sink).messages, 110);
    town_free(&t);
}

TEST(nothing_begins_while_its_begin_cannot_be_written)
{
    struct town t;
    CHECK(town_new(&t, patient, 8));
    CHECK_INT(town_send(&t, a_b, 2, 50), 100);
    town_run_for(&t, 30);
    size_t in_flight = deliver_counts(t.d).in_flight;
    uint64_t taken = sink_stats(t.sink).messages;
    fs_set_faults(t.fs, &(struct fs_faults){.capacity = 1});
    town_run_for(&t, 4 * HOUR_MS);
    /* What flew, and what began behind it in the turn that found the disk full. */
    CHECK(sink_stats(t.sink).messages <= taken + in_flight * 2);
    CHECK(town_accounted(&t, 100));
    fs_set_faults(t.fs, &(struct fs_faults){0});
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).delivered, 100);
    CHECK_INT(sink_stats(t.sink).messages, 100);
    town_free(&t);
}

/* --- damage --- */

/* Change one byte of the only file of recipients, n people in it. False: somebody is gone who need not be. */
static bool survives_damage(uint64_t offset, int n, size_t *size_bytes)
{
    static const char path[] = "state/recipients-0000000003.0";
    struct town t;
    struct buf bytes = {0};
    bool well = town_new(&t, patient, 9) && town_send(&t, a_b, 2, n) == (size_t)n * 2;
    town_run_for(&t, 0);
    town_crash(&t);
    well = well && !fs_read_whole(t.fs, path, 1 << 20, &bytes, &t.err) && offset < bytes.n;
    *size_bytes = bytes.n;
    if (well) {
        bytes.p[offset] ^= 0x10;
        well = !fs_write_atomic(t.fs, path, buf_slice(&bytes), 0600, &t.err) && town_open(&t);
    }
    if (well) {
        size_t there = deliver_counts(t.d).queued, costs = offset < 48 ? 0 : 1;
        bool told = slice_find(buf_slice(&t.trace), S("checksum")) >= 0;
        /* The last record may as well have been torn by the end of the process. */
        well = there >= (size_t)n * 2 - costs && (told || deliver_replay_report(t.d)->torn_tails) &&
               town_send(&t, a_b, 2, n) == (size_t)n * 2 - there;
    }
    if (well) {
        town_run(&t);
        well = sink_stats(t.sink).messages == (size_t)n * 2;
    }
    if (!well)
        fprintf(stderr, "offset %d: %s\n%.*s", (int)offset, t.err.text, SLICE_FMT(buf_slice(&t.trace)));
    buf_free(&bytes);
    town_free(&t);
    return well;
}

TEST(a_changed_byte_costs_one_record_which_can_be_taken_in_again)
{
    size_t size_bytes = 48;
    for (uint64_t offset = 8; offset < size_bytes; offset += 5)
        CHECK(survives_damage(offset, 3, &size_bytes));
    CHECK(size_bytes > 300);
}

static void on_hook(void *data, uint64_t id, const struct campaign *c, const struct rec_recipient *rec,
                    struct slice columns)
{
    struct town *t = data;
    struct buf edits = {0};
    (void)c;
    (void)rec;
    (void)columns;
    message_edits_begin(&edits, 1);
    message_edits_add(&edits, S("X-Hook"), S("something personal"));
    deliver_hook_done(t->d, id, buf_slice(&edits), NULL);
    buf_free(&edits);
}

TEST(what_a_hook_wrote_goes_with_the_values_of_its_recipient)
{
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = {"
                   "a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1' },"
                   "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2',"
                   "      replies = { { phase = 'rcpt', to = '^p0@', reply = '450 4.2.2 full' } } } } }",
                   8));
    town_close(&t);
    t.message_hook = on_hook;
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_b, 2, 10), 20);
    town_run_for(&t, HOUR_MS);
    CHECK_INT(deliver_counts(t.d).queued, 1);
    CHECK_INT(town_files_with(&t, "events", "something personal"), 1);
    town_run_for(&t, 22 * HOUR_MS);
    CHECK(town_files_with(&t, "events", "something personal") >= 1); /* one still waits, and needs it */
    town_run_for(&t, 3 * DAY_MS);
    CHECK_INT(deliver_counts(t.d).queued, 0);
    CHECK_INT(town_files_with(&t, "events", "something personal"), 0);
    CHECK_INT(town_files_with(&t, "events", "p7@a.test"), 1); /* events themselves stay for 30 days */
    town_free(&t);
}

/* p0 of b is refused for five days. */
TEST(events_go_when_they_are_older_than_keep_but_those_of_who_waits)
{
    for (int days = 3; days <= 6; days += 3) {
        struct town t;
        CHECK(town_new(&t, p0_of_b_is_full, 6));
        town_close(&t);
        t.conf.retry = (struct verdict_schedule){{18 * HOUR_MS}, 1, 5 * DAY_MS};
        t.conf.keep_ms = days * DAY_MS;
        CHECK(town_open(&t));
        town_send(&t, a_b, 2, 30);
        town_run_for(&t, 4 * DAY_MS + 12 * HOUR_MS);
        CHECK_INT(deliver_counts(t.d).queued, 1);
        CHECK_INT(town_files_with(&t, "events", "p7@a.test"), days > 4);
        CHECK(town_files_with(&t, "events", "p0@b.test") > 3); /* queued: each of its tries */
        town_run_for(&t, 12 * DAY_MS);
        CHECK_INT(town_files_with(&t, "events", "p7@a.test"), 0);
        CHECK_INT(town_files_with(&t, "events", "p0@b.test"), 0);
        town_free(&t);
    }
}

/* His only try was four days ago, in a segment that has been rewritten since. */
TEST(who_waits_stands_after_compaction_and_a_kill_as_before)
{
    struct town t;
    CHECK(town_new(&t, p0_of_b_is_full, 6));
    town_close(&t);
    t.conf.retry = (struct verdict_schedule){{6 * (int64_t)DAY_MS}, 1, 20 * (int64_t)DAY_MS};
    t.conf.keep_ms = DAY_MS;
    t.message_hook = on_hook;
    CHECK(town_open(&t));
    town_send(&t, a_b, 2, 3);
    town_run_for(&t, 4 * DAY_MS);
    CHECK_INT(deliver_counts(t.d).queued, 1);
    CHECK_INT(town_files_with(&t, "events", "p1@a.test"), 0);
    struct q_memo *m = queue_memo(t.d->queue, queue_next(t.d->queue, 0), false);
    int64_t due_ms = (int64_t)m->node.key, date_s = m->past.date_s;
    CHECK(due_ms && date_s && m->past.attempts == 1 && m->past.code == 450 && m->edits.n);
    town_crash(&t);
    CHECK(town_open(&t));
    m = queue_memo(t.d->queue, queue_next(t.d->queue, 0), false);
    CHECK_INT(m->node.key, due_ms);
    CHECK_INT(m->past.date_s, date_s);
    CHECK_INT(m->past.attempts, 1);
    CHECK_INT(m->past.code, 450);
    CHECK_INT(m->source, 0);
    CHECK(slice_find(m->edits, S("something personal")) > 0);
    town_free(&t);
}

/* An interval that is still open is said with the time at which it began. */
TEST(events_stay_for_keep_whatever_was_said_after_them)
{
    struct town t;
    struct rec rec = {.type = REC_INTERVAL};
    CHECK(town_new(&t, patient, 6));
    town_close(&t);
    t.conf.keep_ms = DAY_MS;
    CHECK(town_open(&t));
    rec.interval = (struct rec_interval){.kind = INTERVAL_PAUSE,
                                         .begin_ms = loop_wall_ms(t.loop),
                                         .domain = SLICE_NONE,
                                         .mx = SLICE_NONE,
                                         .why = S("because somebody paused it")};
    town_run_for(&t, 23 * HOUR_MS);
    town_send(&t, a_b, 1, 1);
    town_run_for(&t, 20000);
    CHECK_INT(t.events[EVENT_DELIVERED], 1);
    append_record(t.d, SPOOL_EVENTS, &rec);
    town_run_for(&t, 20);
    town_crash(&t);
    CHECK(town_open(&t));
    town_run_for(&t, 3 * HOUR_MS);
    CHECK_INT(town_files_with(&t, "events", "p0@a.test"), 1);
    town_run_for(&t, 2 * DAY_MS);
    CHECK_INT(town_files_with(&t, "events", "p0@a.test"), 0);
    town_free(&t);
}

TEST(a_journal_at_its_most_refuses_new_mail_and_loses_none)
{
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = { a = { domains = {'a.test', 'b.test'}, mx = {'mx.a.test'}, address = "
                   "'127.0.1.1' } } }",
                   6));
    town_close(&t);
    t.conf.journal_max = 400000;
    t.conf.keep_ms = DAY_MS;
    t.segment_bytes = 20000;
    CHECK(town_open(&t));
    size_t first = town_send(&t, a_b, 2, 5000);
    CHECK(first > 2000 && first < 9000);
    town_run_for(&t, HOUR_MS);
    CHECK_INT(t.events[EVENT_DELIVERED], first);
    CHECK_INT(town_send(&t, a_b, 2, 5000), 0);
    town_crash(&t);
    CHECK(town_open(&t));
    CHECK_INT(town_send(&t, a_b, 2, 5000), 0);
    town_run_for(&t, 4 * DAY_MS); /* all of that is past keep */
    size_t more = town_send(&t, a_b, 2, 5000);
    CHECK(more > 500);
    town_run_for(&t, HOUR_MS);
    CHECK_INT(t.events[EVENT_DELIVERED], first + more);
    town_free(&t);
}

TEST(a_receiver_that_refused_the_source_is_left_alone_after_a_restart_too)
{
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = {"
                   "a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
                   "      replies = { { phase = 'banner', reply = '554 5.7.1 not you' } } },"
                   "b = { domains = {'b.test'}, mx = {'mx.b.test'}, address = '127.0.1.2',"
                   "      replies = { { phase = 'mail', reply = '550 5.7.1 not from you' } } } } }",
                   9));
    CHECK_INT(town_send(&t, a_b, 2, 5), 10);
    town_run_for(&t, 10 * 60000);
    uint64_t before = sink_stats(t.sink).connections;
    CHECK_INT(before, 2);
    town_crash(&t);
    CHECK(town_open(&t));
    town_run_for(&t, 40 * 60000);
    CHECK_INT(sink_stats(t.sink).connections, before);
    town_run_for(&t, 20 * 60000); /* the hour is over: one more try each */
    CHECK_INT(sink_stats(t.sink).connections, before + 2);
    CHECK_INT(deliver_counts(t.d).queued, 10);
    town_free(&t);
}

/* What was asked for at a town whose transactions are told, in order: q in quotes, r raw. */
static struct buf asked_forms;

static void on_old_carrier(void *town, const struct world_isp *isp, const struct smtp_server_tx *tx)
{
    (void)town, (void)isp;
    for (size_t i = 0; i < tx->nrcpts; i++)
        buf_addc(&asked_forms, tx->rcpts[i].address.p[0] == '"' ? 'q' : 'r');
}

TEST(the_form_of_an_old_carriers_address_is_tried_once_and_remembered_after_a_restart)
{
    static const struct {
        const char *refuses, *first, *later;
    } rows[] = {
        {"^\"", "qr", "r"}, /* raw once, in the same session; from then on raw */
        {"^p", "q", "q"},   /* quoted is taken, so raw is never tried */
    };
    static const char *const a[] = {"a.test"};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct town t;
        char world[400];
        snprintf(
            world, sizeof world,
            "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
            " connections = 1, replies = { { phase = 'rcpt', to = '%s', reply = '550 5.1.1 no' } } } } }",
            rows[i].refuses);
        CHECK(town_new(&t, world, 5));
        t.transaction = on_old_carrier;
        t.behind_name = ".";
        buf_clear(&asked_forms);
        CHECK_INT(town_send(&t, a, 1, 1), 1);
        town_run(&t);
        CHECK_STR(buf_slice(&asked_forms), slice_cstr(rows[i].first));
        buf_clear(&asked_forms);
        CHECK_INT(town_send(&t, a, 1, 2), 1);
        town_run(&t);
        CHECK_STR(buf_slice(&asked_forms), slice_cstr(rows[i].later));
        town_close(&t);
        CHECK(town_open(&t));
        buf_clear(&asked_forms);
        CHECK_INT(town_send(&t, a, 1, 3), 1);
        town_run(&t);
        CHECK_STR(buf_slice(&asked_forms), slice_cstr(rows[i].later));
        CHECK_INT(deliver_counts(t.d).bounced, 0);
        CHECK(town_accounted(&t, 1));
        town_free(&t);
    }
    buf_free(&asked_forms);
}

TEST(an_address_that_neither_form_reaches_bounces_with_the_second_answer)
{
    static const char *const a[] = {"a.test"};
    struct town t;
    CHECK(town_new(&t,
                   "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
                   " replies = { { phase = 'rcpt', to = '^\"', reply = '501 5.1.3 syntax' },"
                   "             { phase = 'rcpt', reply = '550 5.1.1 no such user' } } } } }",
                   6));
    t.behind_name = "..x";
    CHECK_INT(town_send(&t, a, 1, 1), 1);
    town_run(&t);
    CHECK_INT(deliver_counts(t.d).bounced, 1);
    CHECK_STR(buf_slice(&t.trace), S("1 bounced 550 no_such_user\n"));
    town_free(&t);
}
