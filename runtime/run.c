/* run.c - see run.h. */
#include "run.h"

#include <stdlib.h>

/* What may be gone before the next tick is watched more closely. */
enum {
    TICK_MS = 200,
    LOOK_MS = 20,
    LOOK_BELOW = 2000,
    VIRTUAL_TICK_MS = 10000,
    STOP_MS = 10000,
    GOODBYE_MS = 2000
};

struct job {
    struct run *r;
    struct campaign *c;
    struct intake *intake;
    int64_t expires_ms; /* UTC; 0: never */
    bool over, look;    /* look: at who waits, with the next tick */
};

struct run {
    struct run_conf conf;
    struct job *jobs;
    size_t njobs, open;
    struct loop_timer tick, stop_timer;
    int64_t ticked_ms; /* loop_now_ms() of the last whole tick */
    bool stopping, leaving;
    uint64_t rejected;
    int status;
    struct err err;
};

struct run *run_new(const struct run_conf *conf)
{
    struct run *r = mem_zalloc(sizeof *r);
    r->conf = *conf;
    return r;
}

bool run_is_reading(const struct run *r)
{
    return r->open > 0;
}

uint64_t run_rejected(const struct run *r)
{
    return r->rejected;
}

void run_free(struct run *r)
{
    if (!r)
        return;
    struct loop *loop = hato_loop(r->conf.hato);
    loop_timer_stop(loop, &r->tick);
    loop_timer_stop(loop, &r->stop_timer);
    for (size_t i = 0; i < r->njobs; i++)
        intake_free(r->jobs[i].intake);
    free(r->jobs);
    free(r);
}

/* --- people --- */

static int on_take(void *data, const struct intake_row *row)
{
    struct job *j = data;
    struct run *r = j->r;
    uint64_t id;
    if (!hato_wants(r->conf.hato, row->key))
        return ERR_CANCELED;
    struct deliver_accept a = {.campaign = j->c,
                               .columns = row->columns,
                               .address = row->address,
                               .addr = row->addr,
                               .values = row->values,
                               .content = SLICE_NONE,
                               .key = row->key,
                               .expires_ms = j->expires_ms,
                               .test = r->conf.test};
    int rc = deliver_accept(hato_deliver(r->conf.hato), &a, &id);
    if (!rc)
        hato_took(r->conf.hato);
    return rc;
}

static void on_bad(void *data, uint64_t line, struct slice address, const char *why)
{
    struct job *j = data;
    j->r->rejected++;
    if (j->r->conf.bad_row)
        j->r->conf.bad_row(j->r->conf.data, j->c, line, address, why);
}

static void on_intake(void *data, int status, const struct err *e)
{
    struct job *j = data;
    struct run *r = j->r;
    struct intake_counts counts = {0};
    j->over = true;
    r->open--;
    if (j->intake)
        counts = intake_counts(j->intake);
    if (status && !r->status) {
        r->status = status;
        r->err = *e;
        err_prefix(&r->err, "campaign \"%.*s\": ", SLICE_FMT(j->c->name));
    }
    deliver_intake_end(hato_deliver(r->conf.hato), j->c, status == 0);
    if (r->conf.intake)
        r->conf.intake(r->conf.data, j->c, &counts, status, e);
    j->look = status == 0;
}

static void start_job(struct job *j, uint16_t index)
{
    struct run *r = j->r;
    struct hato *h = r->conf.hato;
    const struct conf_campaign *c = j->c->conf;
    int64_t now = loop_wall_ms(hato_loop(h)), from = c->at_ms > now ? c->at_ms : now;
    if (c->expire_ms && c->expire_ms != INT64_MAX)
        j->expires_ms = from + c->expire_ms;
    deliver_intake_begin(hato_deliver(h), j->c);
    struct intake *in = intake_start(&(struct intake_conf){.loop = hato_loop(h),
                                                           .fs = hato_script_fs(h),
                                                           .deliver = hato_deliver(h),
                                                           .campaign = j->c,
                                                           .api = hato_api(h),
                                                           .index = index,
                                                           .data = j,
                                                           .take = on_take,
                                                           .bad = on_bad,
                                                           .done = on_intake});
    j->intake = in;
}

/* --- the end --- */

static void on_stop_over(struct loop_timer *t)
{
    loop_stop(hato_loop(CONTAINER(t, struct run, stop_timer)->conf.hato));
}

void run_stop(struct run *r)
{
    struct loop *loop = hato_loop(r->conf.hato);
    if (r->stopping) { /* asked twice: now */
        loop_stop(loop);
        return;
    }
    r->stopping = true;
    for (size_t i = 0; i < r->njobs; i++) {
        intake_free(r->jobs[i].intake);
        r->jobs[i].intake = NULL;
    }
    r->open = 0;
    deliver_drain(hato_deliver(r->conf.hato));
    loop_timer_start(loop, &r->stop_timer, r->conf.stop_ms ? r->conf.stop_ms : STOP_MS, on_stop_over);
}

static bool is_done(struct run *r)
{
    struct deliver *d = hato_deliver(r->conf.hato);
    struct deliver_counts c = deliver_counts(d);
    if (r->stopping)
        return c.in_flight == 0;
    if (r->conf.end_ms && loop_wall_ms(hato_loop(r->conf.hato)) >= r->conf.end_ms)
        return true;
    if (r->open || hato_script_is_busy(r->conf.hato))
        return false;
    if (r->conf.wait_ms == INT64_MAX)
        return false;
    int64_t due = deliver_next_due_ms(d);
    if (due == 0)
        return false;
    return due == INT64_MAX || due - loop_wall_ms(hato_loop(r->conf.hato)) > r->conf.wait_ms;
}

/* All mail is seen to; open connections get their QUIT (RFC 5321 4.1.1.10) and a moment to answer it. */
static void leave(struct run *r)
{
    struct loop *loop = hato_loop(r->conf.hato);
    r->leaving = true;
    if (loop_is_virtual(loop))
        return;
    if (!r->stopping)
        deliver_drain(hato_deliver(r->conf.hato));
    loop_timer_start(loop, &r->stop_timer, GOODBYE_MS, on_stop_over);
}

static void look_at_jobs(struct run *r)
{
    for (size_t i = 0; i < r->njobs; i++)
        if (r->jobs[i].look) {
            r->jobs[i].look = false;
            hato_look_at(r->conf.hato, r->jobs[i].c);
        }
}

static void on_tick(struct loop_timer *t)
{
    struct run *r = CONTAINER(t, struct run, tick);
    look_at_jobs(r);
    struct loop *loop = hato_loop(r->conf.hato);
    struct deliver_counts c = deliver_counts(hato_deliver(r->conf.hato));
    bool whole = loop_is_virtual(loop) || loop_now_ms(loop) - r->ticked_ms >= TICK_MS;
    if (whole) {
        r->ticked_ms = loop_now_ms(loop);
        if (r->conf.tick)
            r->conf.tick(r->conf.data);
    }
    /* What may come yet is asked a few times a second; that nothing is left is seen at once. */
    if (!r->leaving && (whole || !c.queued) && is_done(r))
        leave(r);
    if (r->leaving && (loop_is_virtual(loop) || !deliver_counts(hato_deliver(r->conf.hato)).connections)) {
        loop_stop(loop);
        return;
    }
    bool ends = r->leaving || r->stopping || (r->conf.wait_ms != INT64_MAX && c.queued < LOOK_BELOW);
    loop_timer_start(loop, t, loop_is_virtual(loop) ? VIRTUAL_TICK_MS : ends ? LOOK_MS : TICK_MS, on_tick);
}

int run_loop(struct run *r, struct err *e)
{
    struct hato *h = r->conf.hato;
    struct deliver *d = hato_deliver(h);
    const struct conf *conf = hato_conf(h);
    r->jobs = mem_zalloc((conf->ncampaigns + 1) * sizeof *r->jobs);
    deliver_start(d);
    for (size_t i = 0; i < conf->ncampaigns; i++) {
        struct campaign *c = deliver_campaign(d, conf->campaigns[i].name);
        if (c->run == CAMPAIGN_STOPPED)
            continue;
        r->jobs[r->njobs] = (struct job){.r = r, .c = c};
        r->open++;
        start_job(&r->jobs[r->njobs++], (uint16_t)i);
    }
    loop_timer_start(hato_loop(h), &r->tick, 0, on_tick);
    loop_run(hato_loop(h));
    if (r->status)
        *e = r->err;
    return r->status;
}
