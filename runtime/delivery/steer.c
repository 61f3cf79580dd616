/* steer.c - see steer.h. */
#include "delivery/steer.h"
#include "delivery/deliver_impl.h"
#include "delivery/event.h"
#include "delivery/pause.h"
#include "delivery/wait.h"
#include "base/words.h"

#include <stdio.h>
#include <stdlib.h>

enum { STEP = 2000, READINGS_MOST = 200, TICK_MS = 1 };

struct steering {
    struct deliver *d;
    struct steer_order order;
    char *name;
    uint64_t id; /* of STEER_ID; else the last one seen */
    uint32_t lane;
    enum { AT_IDS, AT_LANES, AT_READINGS, AT_SYNC } stage;
    bool paused_here; /* the passing pause is ours */
    uint64_t touched, in_flight;
    steer_done *done;
    void *data;
    struct loop_timer timer;
    struct spool_wait wait;
};

static const char *const kinds[STEER_KINDS] = {"campaign", "stream", "isp",    "domain",
                                               "source",   "id",     "measure"};

const char *steer_kind_name(enum steer_kind k)
{
    return (unsigned)k < STEER_KINDS ? kinds[k] : "?";
}

int steer_verb_parse(struct slice word, enum steer_verb *out)
{
    static const char *const verbs[] = {"pause", "resume", "cancel", "retry"};
    for (size_t i = 0; i < COUNT(verbs); i++) {
        if (slice_eq(word, slice_cstr(verbs[i]))) {
            *out = (enum steer_verb)i;
            return 0;
        }
    }
    return ERR_NOTFOUND;
}

int steer_parse(struct slice word, enum steer_kind *kind, struct slice *name, struct err *e)
{
    struct slice value, key = slice_cut(word, '=', &value), names[STEER_KINDS];
    for (int i = 0; i < STEER_KINDS; i++) {
        names[i] = slice_cstr(kinds[i]);
        if (slice_eq(key, names[i]) && value.n) {
            *kind = (enum steer_kind)i;
            *name = value;
            return 0;
        }
    }
    struct slice near = words_near(key, names, STEER_KINDS);
    if (near.n && !slice_eq(near, key))
        return err_set(e, ERR_INVAL, "\"%.*s\": did you mean %.*s=%.*s?", SLICE_FMT(word), SLICE_FMT(near),
                       SLICE_FMT(value));
    return err_set(e, ERR_INVAL,
                   "\"%.*s\" is not KIND=VALUE with KIND one of campaign, stream, isp, domain, source, id, "
                   "measure",
                   SLICE_FMT(word));
}

/* --- pauses --- */

/* Pauses have changed: take lanes and paths out of reach, or offer them again. */
static void apply(struct deliver *d)
{
    size_t at = 0;
    for (uint32_t i = 0; i < queue_lanes(d->queue); i++) {
        struct lane *lane = queue_lane_at(d->queue, i);
        if (pause_of_lane(d, lane))
            path_detach(d->paths, lane);
        else
            lane_service(d, lane);
    }
    for (struct isp *isp; (isp = paths_next_isp(d->paths, &at));)
        isp_service(isp);
    sessions_refit(d->sessions);
}

/* A message that was held out of its rest: its clock stood still. */
static void replay_held(struct deliver *d, const struct rec_steer *resumed)
{
    int64_t since_ms = pause_since_ms(d, STEER_ID, resumed->name);
    uint64_t id;
    if (!since_ms || event_message_parse(resumed->name, &id) || !queue_get(d->queue, id))
        return;
    struct q_memo *m = queue_memo(d->queue, id, true);
    int64_t from_ms = most_i64(since_ms, m->since_ms), to_ms = least_i64(resumed->at_ms, m->past.due_ms);
    if (m->past.clock_ms && from_ms < to_ms)
        m->past.clock_ms += to_ms - from_ms;
}

void steer_replay(struct deliver *d, const struct rec_steer *r)
{
    if (r->kind >= STEER_KINDS)
        return;
    if (r->paused) {
        pause_put(d, (enum steer_kind)r->kind, r->name, r->at_ms, false);
        return;
    }
    if (r->kind == STEER_ID)
        replay_held(d, r);
    pause_del(d, (enum steer_kind)r->kind, r->name, r->at_ms);
}

/* --- single messages --- */

static bool is_settling(const struct deliver *d, uint64_t id)
{
    const struct q_memo *m = queue_memo(d->queue, id, false);
    return m && m->cancelled;
}

/* Out of every list; false: an attempt or a hook has it. */
static bool take_out(struct deliver *d, uint64_t id)
{
    struct q_entry *e = queue_get(d->queue, id);
    struct lane *lane = queue_lane_at(d->queue, e->lane);
    switch ((enum q_state)e->state) {
    case Q_RETRY:
    case Q_HELD:
        queue_take(d->queue, id);
        return true;
    case Q_RAW:
    case Q_READY:
        lane_take(d->queue, lane, id);
        if (!lane->ready.n)
            path_detach(d->paths, lane);
        return true;
    case Q_FREE:
    case Q_HOOK:
    case Q_CLAIMED:
    case Q_STATES:
        break;
    }
    return false;
}

static void put_back(struct deliver *d, uint64_t id)
{
    struct q_entry *e = queue_get(d->queue, id);
    struct q_memo *m = queue_memo(d->queue, id, true);
    struct lane *lane = queue_lane_at(d->queue, e->lane);
    if (m->past.due_ms > loop_wall_ms(d->loop)) {
        queue_retry(d->queue, id, m->past.due_ms);
        return;
    }
    lane_push(d->queue, lane, id, d->conf.hooks.message && !m->hooked, false);
    lane_service(d, lane);
}

static void hold_one(struct deliver *d, uint64_t id)
{
    struct q_memo *m = queue_memo(d->queue, id, true);
    if (queue_get(d->queue, id)->state == Q_RETRY)
        m->past.due_ms = m->node.key;
    m->paused = true;
    if (take_out(d, id))
        queue_hold(d->queue, id, "it is paused");
}

bool steer_takes(struct deliver *d, uint64_t id, struct lane *lane)
{
    const struct q_memo *m = queue_memo(d->queue, id, false);
    if (!m || (!m->cancelled && !m->paused))
        return false;
    if (m->cancelled)
        settle_cancelled(d, id, lane);
    else
        queue_hold(d->queue, id, "it is paused");
    return true;
}

/* An earlier process had held it: its rest ended then. */
static void held_since(struct q_memo *m, int64_t since_ms)
{
    if (m->rest_to_ms > since_ms)
        m->rest_to_ms = m->since_ms = most_i64(since_ms, m->rest_from_ms);
}

static void on_pause(void *data, enum steer_kind kind, struct slice name, int64_t since_ms)
{
    struct deliver *d = data;
    uint64_t id;
    if (kind != STEER_ID || event_message_parse(name, &id) || !queue_get(d->queue, id))
        return;
    held_since(queue_memo(d->queue, id, true), since_ms);
    hold_one(d, id);
    held_since(queue_memo(d->queue, id, true), since_ms);
}

void steer_start(struct deliver *d)
{
    pause_list(d, on_pause, d);
}

/* --- carrying out --- */

static bool is_about(const struct steering *s, const struct q_entry *e, const struct lane *lane)
{
    const struct deliver *d = s->d;
    struct slice name = slice_cstr(s->name);
    const struct campaign *c = lane->campaign;
    switch (s->order.kind) {
    case STEER_CAMPAIGN:
        return c->number && slice_eq(c->name, name);
    case STEER_STREAM:
        return slice_eq(c->stream->name, name);
    case STEER_DOMAIN:
        return slice_eq(lane->domain->name, name);
    case STEER_ISP:
        return lane->domain->site && slice_eq(lane->domain->site->isp->name, name);
    case STEER_SOURCE: {
        uint16_t source = lane->source;
        if (source == UINT16_MAX && c->stream->nsources == 1)
            source = c->stream->sources[0];
        return source != UINT16_MAX && slice_eq(d->conf.conf->sources[source].name, name);
    }
    case STEER_ID:
    case STEER_MEASURE:
    case STEER_KINDS:
        break;
    }
    return e != NULL;
}

static void retry_one(struct deliver *d, uint64_t id)
{
    struct q_memo *m = queue_memo(d->queue, id, true);
    struct rec rec = {.type = REC_DUE};
    if (m->paused)
        return;
    rec.due = (struct rec_due){.id = id, .due_ms = loop_wall_ms(d->loop)};
    append_record(d, SPOOL_EVENTS, &rec);
    queue_take(d->queue, id);
    m->past.due_ms = 0;
    put_back(d, id);
}

static void do_one(struct steering *s, uint64_t id, const struct q_entry *e, struct lane *lane)
{
    struct deliver *d = s->d;
    bool waits = e->state == Q_RETRY || e->state == Q_HELD,
         flies = e->state == Q_CLAIMED || e->state == Q_HOOK;
    if (is_settling(d, id))
        return;
    switch (s->order.verb) {
    case STEER_PAUSE:
        if (s->order.kind == STEER_ID)
            hold_one(d, id);
        break;
    case STEER_RESUME: {
        struct q_memo *m = queue_memo(d->queue, id, false);
        if (s->order.kind == STEER_ID && m && m->paused) {
            m->paused = false;
            if (take_out(d, id))
                put_back(d, id);
        }
        break;
    }
    case STEER_RETRY:
        if (!waits)
            return;
        retry_one(d, id);
        break;
    case STEER_CANCEL:
        /* Whole lanes are emptied from their fronts, after this. */
        if (!waits && !flies && s->order.kind != STEER_ID)
            return;
        if (flies)
            queue_memo(d->queue, id, true)->cancelled = true;
        else if (take_out(d, id))
            settle_cancelled(d, id, lane);
        break;
    }
    s->touched++;
    s->in_flight += e->state == Q_CLAIMED;
}

static void on_durable(struct spool_wait *w, int status);

static void next_stage(struct steering *s)
{
    struct deliver *d = s->d;
    if (s->stage == AT_READINGS) {
        s->stage = AT_SYNC;
        if (s->order.forget)
            campaign_forget(d, deliver_campaign(d, s->order.name));
        s->wait.fn = on_durable;
        spool_when_durable(d->spool, &s->wait);
    } else {
        s->stage++;
    }
}

/* Each is one message, or one lane's share of what may be read at once. */
static void step_ids(struct steering *s)
{
    struct deliver *d = s->d;
    for (int i = 0; i < STEP; i++) {
        if (d->readings >= READINGS_MOST)
            return;
        uint64_t id = s->order.kind == STEER_ID ? s->id : queue_next(d->queue, s->id);
        const struct q_entry *e = id ? queue_get(d->queue, id) : NULL;
        s->id = id;
        if (e && e->lane != UINT32_MAX) {
            struct lane *lane = queue_lane_at(d->queue, e->lane);
            if (is_about(s, e, lane))
                do_one(s, id, e, lane);
        }
        if (!id || s->order.kind == STEER_ID) {
            next_stage(s);
            return;
        }
    }
}

static void step_lanes(struct steering *s)
{
    struct deliver *d = s->d;
    bool empties = s->order.verb == STEER_CANCEL && s->order.kind != STEER_ID;
    for (; empties && s->lane < queue_lanes(d->queue); s->lane++) {
        struct lane *lane = queue_lane_at(d->queue, s->lane);
        if (!is_about(s, NULL, lane))
            continue;
        path_detach(d->paths, lane);
        while (lane->ready.n || lane->raw.n) {
            if (d->readings >= READINGS_MOST)
                return;
            uint64_t id = lane_pop(d->queue, lane, !lane->ready.n);
            queue_memo(d->queue, id, true)->cancelled = true;
            settle_cancelled(d, id, lane);
            s->touched++;
        }
    }
    next_stage(s);
}

static void on_step(struct loop_timer *t)
{
    struct steering *s = CONTAINER(t, struct steering, timer);
    if (s->stage == AT_IDS)
        step_ids(s);
    else if (s->stage == AT_LANES)
        step_lanes(s);
    else if (s->stage == AT_READINGS && !s->d->cancelling)
        next_stage(s);
    if (s->stage != AT_SYNC)
        loop_timer_start(s->d->loop, t, TICK_MS, on_step);
}

static void steering_free(struct steering *s)
{
    loop_timer_stop(s->d->loop, &s->timer);
    if (s->paused_here)
        pause_del(s->d, s->order.kind, slice_cstr(s->name), loop_wall_ms(s->d->loop));
    s->d->steering = NULL;
    free(s->name);
    free(s);
}

static void on_durable(struct spool_wait *w, int status)
{
    struct steering *s = CONTAINER(w, struct steering, wait);
    struct deliver *d = s->d;
    steer_done *done = s->done;
    void *data = s->data;
    uint64_t touched = s->touched, in_flight = s->in_flight;
    bool again = s->paused_here;
    if (status == ERR_FULL) /* of recipients that came in the same turn: events are always taken */
        status = 0;
    bool stopped = d->steering != s;
    if (stopped) {
        free(s->name);
        free(s);
        return;
    }
    steering_free(s);
    if (again)
        apply(d);
    done(data, status, touched, in_flight);
}

struct waited {
    const struct measure *m;
    uint64_t n;
};

static void on_measure(void *data, const struct wait_measure *w)
{
    struct waited *x = data;
    if (w->m == x->m)
        x->n = w->waiting;
}

static void lift_measure(struct steering *s)
{
    struct waited w = {measures_find(paths_measures(s->d->paths), s->order.name), 0};
    wait_measures(s->d, on_measure, &w);
    measures_lift(paths_measures(s->d->paths), s->order.name);
    s->touched = w.n;
    s->stage = AT_READINGS; /* there is nothing to look for */
}

int steer_check(const struct steer_order *o, struct err *e)
{
    uint64_t id;
    if (o->kind == STEER_ID && event_message_parse(o->name, &id))
        return err_set(e, ERR_INVAL, "\"%.*s\" is no message: id=m17", SLICE_FMT(o->name));
    if (o->kind == STEER_MEASURE && o->verb != STEER_RESUME)
        return err_set(e, ERR_INVAL, "a measure is lifted: hato resume measure=%.*s", SLICE_FMT(o->name));
    if (o->name.n > 400)
        return err_set(e, ERR_INVAL, "that name is too long");
    if (o->forget && (o->verb != STEER_CANCEL || o->kind != STEER_CAMPAIGN))
        return err_set(e, ERR_INVAL, "--forget goes with cancel campaign=NAME");
    return 0;
}

static int check_order(struct deliver *d, const struct steer_order *o, struct err *e)
{
    uint64_t id = 0;
    int r = steer_check(o, e);
    if (r)
        return r;
    switch (o->kind) {
    case STEER_CAMPAIGN:
        if (!deliver_campaign(d, o->name))
            return err_set(e, ERR_NOTFOUND, "there is no campaign \"%.*s\"", SLICE_FMT(o->name));
        break;
    case STEER_STREAM:
        if (!deliver_stream(d, o->name))
            return err_set(e, ERR_NOTFOUND, "there is no stream \"%.*s\"", SLICE_FMT(o->name));
        break;
    case STEER_SOURCE:
        if (conf_find_source(d->conf.conf, o->name) == CONF_NONE)
            return err_set(e, ERR_NOTFOUND, "there is no source \"%.*s\"", SLICE_FMT(o->name));
        break;
    case STEER_ID:
        if (event_message_parse(o->name, &id) || !queue_get(d->queue, id))
            return err_set(e, ERR_NOTFOUND, "message %.*s is not on its way", SLICE_FMT(o->name));
        break;
    case STEER_MEASURE:
        if (!measures_find(paths_measures(d->paths), o->name))
            return err_set(e, ERR_NOTFOUND, "there is no measure \"%.*s\"; hato queue --measures lists them",
                           SLICE_FMT(o->name));
        break;
    case STEER_ISP: /* mail for it may come */
    case STEER_DOMAIN:
    case STEER_KINDS:
        break;
    }
    return 0;
}

static void record_pause(struct deliver *d, const struct steer_order *o, bool paused)
{
    struct rec rec = {.type = REC_STEER};
    rec.steer = (struct rec_steer){
        .at_ms = loop_wall_ms(d->loop), .kind = (uint8_t)o->kind, .paused = paused, .name = o->name};
    append_record(d, SPOOL_EVENTS, &rec);
}

int steer(struct deliver *d, const struct steer_order *o, steer_done *done, void *data, struct err *e)
{
    if (d->steering)
        return err_set(e, ERR_AGAIN, "another such command is being carried out; ask again in a moment");
    int r = check_order(d, o, e);
    if (r)
        return r;
    struct steering *s = mem_zalloc(sizeof *s);
    *s = (struct steering){.d = d, .order = *o, .done = done, .data = data, .stage = AT_IDS};
    s->name = mem_dup(o->name.p, o->name.n);
    s->order.name = slice_cstr(s->name);
    if (o->kind == STEER_ID)
        event_message_parse(o->name, &s->id);
    d->steering = s;
    switch (o->verb) {
    case STEER_PAUSE:
        if (!pause_holds(d, o->kind, o->name)) {
            pause_put(d, o->kind, o->name, loop_wall_ms(d->loop), false);
            record_pause(d, o, true);
        }
        apply(d);
        break;
    case STEER_RESUME:
        if (o->kind == STEER_MEASURE) {
            lift_measure(s);
            break;
        }
        if (pause_holds(d, o->kind, o->name)) {
            pause_del(d, o->kind, o->name, loop_wall_ms(d->loop));
            record_pause(d, o, false);
        }
        apply(d);
        break;
    case STEER_CANCEL:
        if (o->kind == STEER_CAMPAIGN)
            campaign_cancel(d, deliver_campaign(d, o->name));
        if (o->kind != STEER_ID && !pause_holds(d, o->kind, o->name)) {
            /* Nothing new of it begins meanwhile. */
            pause_put(d, o->kind, o->name, 0, true);
            s->paused_here = true;
            apply(d);
        }
        break;
    case STEER_RETRY:
        break;
    }
    loop_timer_start(d->loop, &s->timer, 0, on_step);
    return 0;
}

static void on_gone_on(void *data, int status, uint64_t touched, uint64_t in_flight)
{
    (void)status;
    (void)touched;
    (void)in_flight;
    steer_go_on(data);
}

void steer_go_on(struct deliver *d)
{
    size_t at = 0;
    for (struct campaign *c; !d->steering && (c = deliver_next_campaign(d, &at));) {
        struct steer_order o = {.verb = STEER_CANCEL, .kind = STEER_CAMPAIGN, .name = c->name};
        if (!c->cancelled || c->queued <= c->ending)
            continue;
        c->ending = c->queued; /* once: what is left then is in flight, or cannot be read */
        steer(d, &o, on_gone_on, d, NULL);
    }
}

void steer_stop(struct deliver *d)
{
    struct steering *s = d->steering;
    if (!s)
        return;
    loop_timer_stop(d->loop, &s->timer);
    d->steering = NULL;
    if (s->stage != AT_SYNC) { /* else on_durable() frees it */
        free(s->name);
        free(s);
    }
}
