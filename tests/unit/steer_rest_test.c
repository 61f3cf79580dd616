/* steer_rest_test.c - what people tell a folder at rest, and that the next start obeys. */
#include "delivery/steer_rest.h"
#include "platform/spool.h"
#include "test.h"
#include "town.h"

#include <errno.h>

static const char *const a_only[] = {"a.test"};
static const char slow[] =
    "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
    " delay = '500 ms', replies = { { phase = 'rcpt', to = '^p1', reply = '450 4.2.0 later' } } } } }";

static int tell(struct town *t, enum steer_verb verb, const char *word, bool forget, uint64_t *touched)
{
    struct steer_order o = {.verb = verb, .forget = forget};
    *touched = 0;
    if (steer_parse(slice_cstr(word), &o.kind, &o.name, &t->err))
        return ERR_INVAL;
    return steer_rest(t->fs, t->loop, "state", &o, 1, touched, &t->err);
}

static uint64_t waits(struct town *t)
{
    return deliver_counts(t->d).queued;
}

TEST(a_pause_at_rest_is_obeyed_by_the_next_start)
{
    static const char *const words[] = {"campaign=hello", "stream=news", "isp=mx.a.test", "domain=a.test",
                                        "source=default"};
    for (size_t i = 0; i < COUNT(words); i++) {
        struct town t;
        uint64_t touched;
        CHECK(town_new(&t, slow, 20 + i));
        CHECK_INT(town_send(&t, a_only, 1, 60), 60);
        town_run_for(&t, 20000);
        town_crash(&t);
        CHECK_INT(tell(&t, STEER_PAUSE, words[i], false, &touched), 0);
        CHECK(town_open(&t));
        uint64_t left = waits(&t);
        CHECK(left > 12 && left < 60);
        /* From where those go who were never tried only a script says. */
        CHECK(i == 4 ? touched > 0 && touched < left : touched == left);
        town_run_for(&t, 3600000);
        CHECK_INT(waits(&t), left);
        town_close(&t);
        CHECK_INT(tell(&t, STEER_RESUME, words[i], false, &touched), 0);
        CHECK(town_open(&t));
        town_run_for(&t, 240000);
        CHECK(waits(&t) <= 11); /* p1, p10 … p19 are put off */
        town_free(&t);
    }
}

/* Before it has written what DNS said: INTERVAL_WRITE_MS. */
TEST(a_receiver_is_known_at_rest_though_the_process_was_killed_at_once)
{
    static const char quick[] =
        "return { isps = { a = { domains = {'a.test'}, mx = {'mx.a.test'}, address = '127.0.1.1',"
        " delay = '20 ms' } } }";
    struct town t;
    uint64_t touched;
    CHECK(town_new(&t, quick, 33));
    CHECK_INT(town_send(&t, a_only, 1, 60), 60);
    town_run_for(&t, 150);
    town_crash(&t);
    CHECK_INT(tell(&t, STEER_PAUSE, "isp=mx.a.test", false, &touched), 0);
    CHECK(touched > 40);
    CHECK(town_open(&t));
    CHECK_INT(waits(&t), touched);
    town_free(&t);
}

TEST(cancelled_and_due_at_rest)
{
    struct town t;
    uint64_t touched;
    CHECK(town_new(&t, slow, 30));
    CHECK_INT(town_send(&t, a_only, 1, 20), 20);
    town_run_for(&t, 60000);
    CHECK_INT(deliver_counts(t.d).retry, 11);
    town_close(&t);
    CHECK_INT(tell(&t, STEER_RETRY, "isp=mx.a.test", false, &touched), 0);
    CHECK_INT(touched, 11);
    CHECK_INT(tell(&t, STEER_RETRY, "isp=mx.a.test", false, &touched), 0);
    CHECK_INT(touched, 0); /* they are due already */
    CHECK(town_open(&t));
    CHECK_INT(deliver_counts(t.d).retry, 0);
    town_close(&t);
    CHECK_INT(tell(&t, STEER_CANCEL, "campaign=hello", true, &touched), 0);
    CHECK_INT(touched, 11);
    CHECK(town_open(&t));
    CHECK_INT(waits(&t), 0);
    CHECK_INT(town_send(&t, a_only, 1, 20), 20); /* to a campaign that was forgotten everybody is new */
    town_free(&t);
}

TEST(all_orders_are_carried_out_or_none)
{
    struct town t;
    uint64_t touched = 0;
    struct steer_order o[2] = {{STEER_CANCEL, STEER_STREAM, S("news"), false},
                               {STEER_PAUSE, STEER_CAMPAIGN, S("nobody"), false}};
    CHECK(town_new(&t, slow, 31));
    CHECK_INT(town_send(&t, a_only, 1, 5), 5);
    CHECK_INT(steer_rest(t.fs, t.loop, "state", o, 1, &touched, &t.err), ERR_LOCKED);
    town_close(&t);
    CHECK_INT(steer_rest(t.fs, t.loop, "state", o, 2, &touched, &t.err), ERR_NOTFOUND);
    CHECK_STR(slice_cstr(t.err.text), S("there is no campaign \"nobody\" in this folder"));
    CHECK_INT(steer_rest(t.fs, t.loop, "nowhere", o, 1, &touched, &t.err), ERR_NOTFOUND);
    CHECK_INT(touched, 0);
    CHECK(town_open(&t));
    CHECK_INT(waits(&t), 5);
    town_free(&t);
}

TEST(what_cannot_be_made_durable_is_not_said_to_be_done)
{
    struct town t;
    uint64_t touched;
    struct slice full = S("the journal cannot be written (disk full): nothing may have been changed");
    struct slice broken =
        S("the journal cannot be written (input/output error): nothing may have been changed");
    CHECK(town_new(&t, slow, 34));
    CHECK_INT(town_send(&t, a_only, 1, 5), 5);
    town_close(&t);
    fs_set_faults(t.fs, &(struct fs_faults){.append_after = 1, .append_errno = ENOSPC, .append_times = 1000});
    CHECK_INT(tell(&t, STEER_PAUSE, "campaign=hello", false, &touched), ERR_FULL);
    CHECK_STR(slice_cstr(t.err.text), full);
    CHECK_INT(touched, 0);
    /* No sync from the first, the second … on: those of the start, then that of what was told. */
    struct buf said = {0};
    for (int n = 1; n < 20; n++) {
        fs_set_faults(t.fs, &(struct fs_faults){.sync_after = n, .sync_errno = EIO, .sync_times = 1000});
        if (!tell(&t, STEER_PAUSE, "campaign=hello", false, &touched))
            break;
        CHECK_INT(t.err.code, ERR_IO);
        CHECK_INT(touched, 0);
        buf_clear(&said);
        buf_adds(&said, slice_cstr(t.err.text));
    }
    CHECK_STR(buf_slice(&said), broken);
    buf_free(&said);
    fs_set_faults(t.fs, &(struct fs_faults){0});
    CHECK(town_open(&t));
    town_free(&t);
}

static int no_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    return 0;
}

static enum spool_last_stop last_stop(struct town *t)
{
    struct work *sync = work_new(&(struct work_conf){.loop = t->loop, .name = "sync", .threads = 1});
    struct spool_conf conf = {.fs = t->fs, .dir = "state", .loop = t->loop, .sync = sync, .aside = true};
    struct spool_report report = {.last_stop = SPOOL_KILLED};
    struct spool *sp = NULL;
    if (!spool_open(&sp, &conf, no_record, NULL, &report, &t->err))
        spool_stop(sp);
    work_free(sync);
    spool_free(sp);
    return report.last_stop;
}

TEST(how_the_process_before_ended_is_still_known)
{
    struct town t;
    uint64_t touched;
    CHECK(town_new(&t, slow, 32));
    CHECK_INT(town_send(&t, a_only, 1, 5), 5);
    town_run_for(&t, 2600);
    town_close(&t);
    CHECK_INT(tell(&t, STEER_PAUSE, "isp=mx.a.test", false, &touched), 0);
    CHECK_INT(last_stop(&t), SPOOL_CLEAN);
    CHECK(town_open(&t));
    town_crash(&t);
    CHECK_INT(tell(&t, STEER_RESUME, "isp=mx.a.test", false, &touched), 0);
    CHECK_INT(last_stop(&t), SPOOL_POWER_LOSS);
    CHECK_INT(last_stop(&t), SPOOL_POWER_LOSS);
    CHECK(town_open(&t));
    town_close(&t);
    CHECK_INT(last_stop(&t), SPOOL_CLEAN);
    town_free(&t);
}
