/* deliver.c - see deliver.h. Life, and what joins the rooms; campaigns are campaign.c, the way in is
 * accept.c, the way out attempt.c and unsent.c to settle.c, restart restore.c. */
#include "delivery/keycheck.h"
#include "delivery/breaker_act.h"
#include "delivery/clock.h"
#include "delivery/inbound.h"
#include "delivery/measure.h"
#include "delivery/secret.h"
#include "delivery/presence.h"
#include "delivery/settle.h"
#include "delivery/pause.h"
#include "delivery/steer.h"
#include "format/rule_file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void notice(struct deliver *d, int level, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    if (!d->conf.hooks.notice)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    d->conf.hooks.notice(d->conf.hooks.data, level, text);
}

uint32_t append_record(struct deliver *d, enum spool_kind kind, const struct rec *r)
{
    struct spool_pos pos = {0};
    buf_clear(&d->scratch);
    rec_put(&d->scratch, r);
    /* Events and names are always taken: the spool keeps them until they can be written. */
    INVARIANT(spool_append(d->spool, kind, buf_slice(&d->scratch), &pos) == 0);
    if (kind == SPOOL_EVENTS)
        d->event_segment = pos.segment;
    return pos.segment;
}

/* --- intervals --- */

static uint32_t number_of(struct deliver *d, enum rec_name_kind kind, struct slice name)
{
    return name.n ? name_number(d, kind, name) : 0;
}

static void write_interval(void *data, const struct interval_cause *c, int64_t begin_ms, int64_t end_ms)
{
    struct deliver *d = data;
    struct rec rec = {.type = REC_INTERVAL};
    rec.interval = (struct rec_interval){.kind = (uint8_t)c->kind,
                                         .begin_ms = begin_ms,
                                         .end_ms = end_ms,
                                         .until_ms = c->until_ms,
                                         .isp = number_of(d, NAME_ISP, c->isp),
                                         .source = number_of(d, NAME_SOURCE, c->source),
                                         .stream = number_of(d, NAME_STREAM, c->stream),
                                         .pool = number_of(d, NAME_POOL, c->pool),
                                         .campaign = number_of(d, NAME_CAMPAIGN, c->campaign),
                                         .from = number_of(d, NAME_DOMAIN, c->from),
                                         .domain = c->domain,
                                         .mx = c->mx,
                                         .why = c->why};
    segment_use_event(d, append_record(d, SPOOL_EVENTS, &rec), loop_wall_ms(d->loop));
}

void deliver_say_why(struct deliver *d)
{
    intervals_say(d->intervals);
}

/* --- what may go --- */

void lane_service(struct deliver *d, struct lane *lane)
{
    if (!d->started || d->draining || lane->campaign->run != CAMPAIGN_RUNNING || pause_of_lane(d, lane))
        return;
    hooks_top_up(d, lane);
    if (!lane->ready.n)
        return;
    domain_want(lane->domain);
    switch (lane->domain->state) {
    case DOMAIN_OK:
        path_attach(d->paths, lane);
        break;
    case DOMAIN_DEAD:
        sweep_dead(d, lane->domain);
        break;
    case DOMAIN_NEW:
    case DOMAIN_QUEUED:
    case DOMAIN_ASKING:
    case DOMAIN_WAITING:
        break;
    }
}

void deliver_start(struct deliver *d)
{
    size_t at = 0;
    d->started = true;
    interval_close(d->starts);
    d->starts = NULL;
    for (struct campaign *c; (c = deliver_next_campaign(d, &at));)
        campaign_update(d, c);
    at = 0;
    for (struct map_entry *e; (e = map_next(&d->streams, &at));) {
        struct stream *st = e->value;
        campaign_waits(d, st->alone);
        for (struct lane *lane = st->alone->lanes; lane; lane = lane->of_campaign)
            lane_service(d, lane);
    }
    compact_start(d);
    steer_go_on(d);
}

void deliver_drain(struct deliver *d)
{
    struct interval_cause c = interval_cause(INTERVAL_STOPPING);
    c.why = S("because hato was about to stop");
    d->draining = true;
    if (!d->stops)
        d->stops = interval_open(d->intervals, &c);
    sessions_drain(d->sessions);
}

void deliver_undrain(struct deliver *d)
{
    size_t at = 0;
    d->draining = false;
    interval_close(d->stops);
    d->stops = NULL;
    sessions_undrain(d->sessions);
    for (struct isp *isp; (isp = paths_next_isp(d->paths, &at));)
        isp_service(isp);
    deliver_start(d);
}

/* --- glue for paths and sites --- */

static void on_open(void *data, struct path *p, struct site *s, struct lane *lane, uint64_t id)
{
    struct deliver *d = data;
    domain_want(lane->domain); /* an old answer is asked again while this connection goes by it */
    session_open(d->sessions, p, s, lane, id);
}

static bool on_wake(void *data, struct site *s)
{
    struct deliver *d = data;
    return session_wake(d->sessions, s);
}

static void on_shed(void *data, struct path *p)
{
    struct deliver *d = data;
    session_shed(d->sessions, p);
}

static void on_yield(void *data)
{
    struct deliver *d = data;
    session_yield(d->sessions);
}

static void on_qualify(void *data, struct slice domain, const struct slice *hosts, size_t n, struct buf *key)
{
    struct deliver *d = data;
    const struct conf *conf = d->conf.conf;
    uint16_t index = conf_match_isp(conf, domain, hosts, n);
    if (index != CONF_NONE)
        buf_printf(key, "|%.*s", SLICE_FMT(conf->isps[index].name));
}

static void on_site(void *data, struct site *s, struct slice domain)
{
    struct deliver *d = data;
    const struct outage *o = outage_known(d, INTERVAL_SITE, s->key);
    paths_place_site(d->paths, s, domain);
    if (o)
        s->outage = *o;
}

static void on_probe(void *data, struct site *s)
{
    (void)data;
    isp_service(s->isp);
}

static bool on_is_paused(void *data, const struct path *p)
{
    return pause_of_path(data, p) != NULL;
}

/* A restriction outlives the process: people who restart must not undo what a receiver asked for. */
static void on_measured(void *data, const struct measure *m)
{
    struct deliver *d = data;
    struct rec rec = {.type = REC_MEASURE};
    if (d->ending)
        return;
    measure_record(m, loop_wall_ms(d->loop), &rec.measure);
    rec.measure.isp = m->isp[0] ? name_number(d, NAME_ISP, slice_cstr(m->isp)) : 0;
    breakers_measured(d, &rec.measure);
    rec.measure.source = m->source[0] ? name_number(d, NAME_SOURCE, slice_cstr(m->source)) : 0;
    append_record(d, SPOOL_EVENTS, &rec);
}

static void on_counted(void *data, const struct rec_tally *t, struct slice isp, struct slice source)
{
    struct deliver *d = data;
    struct rec rec = {.type = REC_TALLY};
    if (d->ending)
        return;
    rec.tally = *t;
    rec.tally.isp = isp.n ? name_number(d, NAME_ISP, isp) : 0;
    rec.tally.source = name_number(d, NAME_SOURCE, source);
    append_record(d, SPOOL_EVENTS, &rec);
}

static int on_read(void *data, uint64_t position, struct buf *out, struct err *e)
{
    struct deliver *d = data;
    return spool_read(d->spool, spool_pos_unpack(position), out, e);
}

static void *thread_start(void *data, int index)
{
    (void)data;
    (void)index;
    return message_scratch_new();
}

static void thread_stop(void *user)
{
    message_scratch_free(user);
}

/* --- life --- */

static void on_warmup(void *data, const struct warmup *w)
{
    struct deliver *d = data;
    struct rec rec = {.type = REC_WARMUP};
    rec.warmup = (struct rec_warmup){.at_ms = loop_wall_ms(d->loop),
                                     .source = source_number(d, w->conf->source),
                                     .isp = name_number(d, NAME_ISP, w->isp),
                                     .from = name_number(d, NAME_DOMAIN, w->from),
                                     .day = w->state.day,
                                     .position = w->state.position,
                                     .used = w->state.used,
                                     .delivered = w->state.delivered,
                                     .retreat_day = w->state.retreat_day,
                                     .why = slice_cstr(w->why),
                                     .rate = w->today.pace.quota,
                                     .per_day = w->conf->curve.per_day};
    append_record(d, SPOOL_EVENTS, &rec);
}

static void on_warmup_notice(void *data, const char *text)
{
    notice(data, 1, "%s", text);
}

static bool on_nxdomain(void *data, struct slice domain)
{
    return suppress_nxdomain_is_fault(((struct deliver *)data)->suppress, domain);
}

static void on_exists(void *data, struct slice domain)
{
    suppress_domain_exists(((struct deliver *)data)->suppress, domain);
}

static void make_rooms(struct deliver *d)
{
    struct loop *loop = d->loop;
    d->warmups = warmups_new(&(struct warmups_conf){.loop = loop,
                                                    .conf = d->conf.conf,
                                                    .zone = d->conf.zone,
                                                    .data = d,
                                                    .record = on_warmup,
                                                    .notice = on_warmup_notice});
    d->pool = work_new(&(struct work_conf){.loop = loop,
                                           .name = "assemble",
                                           .threads = d->conf.threads ? d->conf.threads : 2,
                                           .thread_start = thread_start,
                                           .thread_stop = thread_stop});
    d->sync = work_new(&(struct work_conf){.loop = loop, .name = "sync", .threads = 1});
    d->recents = recents_new();
    d->intervals = intervals_new(&(struct intervals_conf){.loop = loop, .data = d, .write = write_interval});
    d->queue = queue_new(loop);
    queue_on_due(d->queue, on_due, d);
    clock_start(d);
    d->sites = sites_new(&(struct sites_conf){.loop = loop,
                                              .intervals = d->intervals,
                                              .resolve = d->conf.resolve,
                                              .data = d,
                                              .on_domain = on_domain,
                                              .qualify = on_qualify,
                                              .on_site = on_site,
                                              .on_probe = on_probe,
                                              .is_fault = on_nxdomain,
                                              .exists = on_exists});
    d->paths = paths_new(&(struct paths_conf){.loop = loop,
                                              .intervals = d->intervals,
                                              .queue = d->queue,
                                              .conf = d->conf.conf,
                                              .warmups = d->warmups,
                                              .data = d,
                                              .measured = on_measured,
                                              .counted = on_counted,
                                              .open = on_open,
                                              .may_open = on_may_begin,
                                              .is_paused = on_is_paused,
                                              .wake = on_wake,
                                              .shed = on_shed,
                                              .yield = on_yield});
    d->sessions = sessions_new(&(struct sessions_conf){.loop = loop,
                                                       .net = d->conf.net,
                                                       .resolve = d->conf.resolve,
                                                       .queue = d->queue,
                                                       .sites = d->sites,
                                                       .paths = d->paths,
                                                       .pool = d->pool,
                                                       .tls = d->tls,
                                                       .conf = d->conf.conf,
                                                       .rules = d->rules,
                                                       .smtp_port = d->conf.smtp_port,
                                                       .data = d,
                                                       .read = on_read,
                                                       .prepare = on_prepare,
                                                       .fit = on_fit,
                                                       .may_begin = on_may_begin,
                                                       .may_leave = on_may_leave,
                                                       .begin = on_begin,
                                                       .settle = on_settle,
                                                       .unfit = on_unfit,
                                                       .back = on_back,
                                                       .unreachable = on_unreachable,
                                                       .refused = on_refused});
}

int deliver_new(const struct deliver_conf *conf, struct deliver **out, struct err *e)
{
    struct deliver *d = mem_zalloc(sizeof *d);
    struct buf dir = {0};
    struct hash_key hk;
    d->conf = *conf;
    d->loop = conf->loop;
    d->next_id = d->next_event = 1;
    d->settled = settled_new();
    d->breakers = breakers_new(&conf->conf->breaker);
    loop_random_bytes(d->loop, &hk, sizeof hk);
    map_init(&d->streams, hk);
    map_init(&d->campaigns, hk);
    map_init(&d->pauses, hk);
    map_init(&d->outages, hk);
    for (int i = 0; i < NAME_KINDS; i++)
        map_init(&d->names[i].by_name, hk);
    INVARIANT(conf->conf->nsources > 0);
    buf_printf(&dir, "%s/content", conf->state);
    int r = spool_lock(conf->fs, conf->state, &d->lock, e);
    if (!r)
        r = fs_mkdir(conf->fs, buf_cstr(&dir), 0700, e);
    buf_free(&dir);
    if (!r)
        r = secret_load(conf->fs, conf->state, d->loop, &d->secret, e);
    if (!r)
        r = tls_client_new(NULL, &d->tls, e);
    if (!r)
        r = rules_compile_shipped(conf->conf->rules, conf->conf->nrules, &d->rules, e);
    if (!r)
        r = suppress_open(&(struct suppress_conf){.loop = d->loop,
                                                  .fs = conf->fs,
                                                  .state = conf->state,
                                                  .look_fs = conf->people_fs,
                                                  .person = conf->conf->person,
                                                  .acts = &conf->conf->acts,
                                                  .data = conf->hooks.data,
                                                  .notice = conf->hooks.notice},
                          &d->suppress, e);
    if (!r) {
        make_rooms(d);
        r = restore(d, e);
    }
    if (!r)
        r = suppress_start(d->suppress, d->spool, e);
    /* A journal that lost its end, or was put back from an older copy: numbers that were applied are not used
     * again. */
    if (!r && d->next_event <= suppress_cursor(d->suppress))
        d->next_event = suppress_cursor(d->suppress) + 1;
    if (!r)
        r = streams_bind(d, e);
    if (!r)
        r = campaigns_bind(d, e);
    if (r) {
        deliver_free(d);
        return r;
    }
    struct interval_cause starting = interval_cause(INTERVAL_STOPPING);
    starting.why = S("for hato to start");
    intervals_start(d->intervals);
    d->starts = interval_open(d->intervals, &starting);
    presence_start(d);
    *out = d;
    return 0;
}

int deliver_check(struct deliver *d, const struct deliver_conf *conf, struct err *e)
{
    const struct conf *script = conf->conf;
    struct rules *rules = NULL;
    int r = rules_compile_shipped(script->rules, script->nrules, &rules, e);
    rules_free(rules);
    for (size_t i = 0; !r && i < script->nstreams; i++) {
        struct identity *identity = NULL;
        r = identity_new(&script->streams[i], &d->secret, &identity, e);
        identity_free(identity);
    }
    for (size_t i = 0; !r && i < script->ncampaigns; i++)
        r = campaign_check(d, conf, &script->campaigns[i], e);
    return r;
}

static void shares_free(struct deliver *d)
{
    size_t at = 0;
    for (struct site *s; (s = sites_next_site(d->sites, &at));)
        site_free_shares(s);
}

void deliver_free(struct deliver *d)
{
    size_t at = 0;
    if (!d)
        return;
    d->draining = d->ending = true;
    loop_timer_stop(d->loop, &d->compact_timer);
    presence_stop(d);
    loop_timer_stop(d->loop, &d->spool_timer);
    batch_end(d);
    steer_stop(d);
    if (d->intervals)
        intervals_stop(d->intervals);
    sessions_stop(d->sessions);
    keycheck_free(d->keycheck);
    suppress_stop(d->suppress);
    if (d->spool)
        spool_stop(d->spool);
    work_free(d->pool);
    work_free(d->sync);
    spool_free(d->spool);
    suppress_free(d->suppress);
    file_close(d->lock);
    sessions_free(d->sessions);
    if (d->sites)
        shares_free(d);
    paths_free(d->paths);
    warmups_free(d->warmups);
    sites_free(d->sites);
    queue_free(d->queue);
    intervals_free(d->intervals);
    recents_free(d->recents);
    tls_client_free(d->tls);
    rules_free(d->rules);
    for (struct map_entry *m; (m = map_next(&d->campaigns, &at));) {
        struct campaign *c = m->value;
        free((char *)c->name.p);
        campaign_free(d, c);
    }
    at = 0;
    for (struct map_entry *m; (m = map_next(&d->streams, &at));) {
        struct stream *st = m->value;
        campaign_free(d, st->alone);
        identity_free(st->identity);
        free(st->sources);
        free(st->source_weight);
        free(st->source_credit);
        free((char *)st->name.p);
        free(st);
    }
    for (int i = 0; i < NAME_KINDS; i++) {
        for (size_t n = 0; n < d->names[i].n; n++)
            free((char *)d->names[i].v[n].p);
        free(d->names[i].v);
        map_free(&d->names[i].by_name);
    }
    batch_free_all(d);
    pause_free(d);
    inbound_free(d);
    settled_free(d->settled);
    breakers_free(d->breakers);
    map_free(&d->streams);
    map_free(&d->campaigns);
    at = 0;
    for (struct map_entry *m; (m = map_next(&d->outages, &at));)
        free(m->value);
    map_free(&d->outages);
    keyset_free(&d->keys);
    keyset_free(&d->rewrite_live);
    free(d->by_number);
    free(d->use);
    buf_free(&d->scratch);
    buf_free(&d->payload);
    free(d);
}

/* --- looking --- */

struct deliver_counts deliver_counts(const struct deliver *d)
{
    struct deliver_counts c = d->counts;
    c.queued = queue_count(d->queue);
    c.ready = queue_count_state(d->queue, Q_READY) + queue_count_state(d->queue, Q_RAW);
    c.in_flight = queue_count_state(d->queue, Q_CLAIMED);
    c.retry = queue_count_state(d->queue, Q_RETRY);
    c.held = queue_count_state(d->queue, Q_HELD);
    c.connections = sessions_count(d->sessions);
    return c;
}

void deliver_waiting(struct deliver *d,
                     void (*fn)(void *data, struct slice isp, struct slice campaign, uint64_t n), void *data)
{
    for (uint64_t id = 0; (id = queue_next(d->queue, id));) {
        const struct lane *lane = queue_lane_at(d->queue, queue_get(d->queue, id)->lane);
        const struct site *site = lane->domain->site;
        fn(data, site ? site->isp->name : SLICE_NONE,
           lane->campaign->number ? lane->campaign->name : SLICE_NONE, 1);
    }
}

/* What is ready waits for something: for DNS, a site that is down, a path that is held, or only for its turn.
 */
int64_t deliver_next_due_ms(struct deliver *d)
{
    enum { SOON_MS = 1000 };
    int64_t now = loop_now_ms(d->loop), wall = loop_wall_ms(d->loop), due = queue_next_due_ms(d->queue);
    size_t at = 0;
    if (queue_count_state(d->queue, Q_CLAIMED) || queue_count_state(d->queue, Q_HOOK) || d->batches_open ||
        d->readings)
        return 0;
    for (struct campaign *c; (c = deliver_next_campaign(d, &at));)
        if (c->run == CAMPAIGN_LATER && c->queued && c->conf->at_ms < due)
            due = c->conf->at_ms;
    at = 0;
    for (struct domain *dom; (dom = sites_next_domain(d->sites, &at));) {
        for (struct lane *lane = dom->lanes; lane; lane = lane->of_domain) {
            if (lane->campaign->run != CAMPAIGN_RUNNING || (!lane->ready.n && !lane->raw.n) ||
                pause_of_lane(d, lane))
                continue;
            int64_t mine = 0;
            if (dom->state == DOMAIN_WAITING)
                mine = wall + loop_timer_due_ms(&dom->timer) - now;
            else if (dom->state == DOMAIN_OK && dom->site->state == SITE_DOWN)
                mine = wall + loop_timer_due_ms(&dom->site->timer) - now;
            else if (dom->state == DOMAIN_OK)
                mine = path_release_ms(dom->site->isp, lane);
            if (!mine)
                return 0;
            if (mine < due)
                due = mine;
            if (due <= wall + SOON_MS) /* as good as now: the rest need not be looked through */
                return due;
        }
    }
    return due;
}

const struct spool_report *deliver_replay_report(const struct deliver *d)
{
    return &d->report;
}

struct queue *deliver_queue(struct deliver *d)
{
    return d->queue;
}

struct spool *deliver_spool(struct deliver *d)
{
    return d->spool;
}

bool deliver_suppresses(const struct deliver *d, const struct campaign *c, const struct addr *to)
{
    struct suppress_hit hit;
    return suppress_has(d->suppress, to, c->stream->name, campaign_list(c), &hit);
}

struct suppress *deliver_suppress(struct deliver *d)
{
    return d->suppress;
}

struct warmups *deliver_warmups(struct deliver *d)
{
    return d->warmups;
}
