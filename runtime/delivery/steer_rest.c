/* steer_rest.c - see steer_rest.h. */
#include "delivery/steer_rest.h"
#include "delivery/rest.h"
#include "platform/spool.h"

#include <stdlib.h>

enum { WRITE_MS = 30000 };

struct steering {
    struct loop *loop;
    struct work *sync;
    struct spool *spool;
    struct event_names *names;
    struct rest *rest;
    const struct steer_order *order; /* being carried out */
    uint64_t next_event, touched;
    struct buf scratch;
    int status;
    struct spool_wait wait;
};

static int on_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    struct steering *s = data;
    struct rec r;
    (void)kind;
    (void)pos;
    if (rec_get(payload, &r))
        return 0; /* told of when hato starts */
    event_names_learn(s->names, &r);
    rest_learn(s->rest, &r);
    return 0;
}

/* What is written is learnt: the next order finds it. */
static void append(struct steering *s, enum spool_kind kind, const struct rec *r)
{
    struct spool_pos pos;
    buf_clear(&s->scratch);
    rec_put(&s->scratch, r);
    /* Events and names are always taken: the spool keeps them until they can be written. */
    INVARIANT(spool_append(s->spool, kind, buf_slice(&s->scratch), &pos) == 0);
    event_names_learn(s->names, r);
    rest_learn(s->rest, r);
}

static int64_t now_ms(const struct steering *s)
{
    return loop_wall_ms(s->loop);
}

/* --- which --- */

static int check_order(struct steering *s, const struct steer_order *o, struct err *e)
{
    uint64_t id;
    int r = steer_check(o, e);
    if (r)
        return r;
    switch (o->kind) {
    case STEER_CAMPAIGN:
        if (!rest_campaign(s->rest, o->name))
            return err_set(e, ERR_NOTFOUND, "there is no campaign \"%.*s\" in this folder",
                           SLICE_FMT(o->name));
        break;
    case STEER_STREAM:
        if (!rest_number(s->rest, NAME_STREAM, o->name))
            return err_set(e, ERR_NOTFOUND, "there is no stream \"%.*s\" in this folder", SLICE_FMT(o->name));
        break;
    case STEER_SOURCE:
        if (!rest_number(s->rest, NAME_SOURCE, o->name))
            return err_set(e, ERR_NOTFOUND, "nothing was sent from a source \"%.*s\" in this folder",
                           SLICE_FMT(o->name));
        break;
    case STEER_ID:
        if (event_message_parse(o->name, &id) || !rest_get(s->rest, id))
            return err_set(e, ERR_NOTFOUND, "message %.*s is not on its way", SLICE_FMT(o->name));
        break;
    case STEER_MEASURE:
        if (!measures_find(rest_measures(s->rest), o->name))
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

static bool is_about(const struct steering *s, const struct rest_message *m)
{
    struct slice name = s->order->name;
    uint64_t id;
    switch (s->order->kind) {
    case STEER_CAMPAIGN:
        return slice_eq(name, event_name(s->names, NAME_CAMPAIGN, m->campaign));
    case STEER_STREAM:
        return slice_eq(name, event_name(s->names, NAME_STREAM, m->stream));
    case STEER_DOMAIN:
        return m->domain && slice_eq(name, m->domain->name);
    case STEER_ISP:
        return slice_eq(name, event_name(s->names, NAME_ISP, rest_isp(m)));
    case STEER_SOURCE:
        return slice_eq(name, event_name(s->names, NAME_SOURCE, m->at.source));
    case STEER_ID:
        return !event_message_parse(name, &id) && id == m->id;
    case STEER_MEASURE:
    case STEER_KINDS:
        break;
    }
    return false;
}

/* --- what is done --- */

static void record_pause(struct steering *s, bool paused)
{
    struct rec rec = {.type = REC_STEER};
    rec.steer = (struct rec_steer){
        .at_ms = now_ms(s), .kind = (uint8_t)s->order->kind, .paused = paused, .name = s->order->name};
    append(s, SPOOL_EVENTS, &rec);
}

static void cancel_one(struct steering *s, const struct rest_message *m)
{
    struct rec rec = {.type = REC_EVENT};
    rec.event = (struct rec_event){.event = s->next_event++,
                                   .type = EVENT_CANCELLED,
                                   .id = m->id,
                                   .at_ms = now_ms(s),
                                   .accepted_ms = m->accepted_ms,
                                   .campaign = m->campaign,
                                   .stream = m->stream,
                                   .pool = m->pool,
                                   .domain = m->from,
                                   .sender = m->sender,
                                   .flags = m->flags,
                                   .recipient = m->recipient,
                                   .attempt = m->at.attempts,
                                   .text = SLICE_NONE,
                                   .class_name = SLICE_NONE,
                                   .rule = S("cancelled by hand"),
                                   .meta = SLICE_NONE,
                                   .person_why = SLICE_NONE};
    append(s, SPOOL_EVENTS, &rec); /* m is gone */
}

static void retry_one(struct steering *s, const struct rest_message *m)
{
    struct rec rec = {.type = REC_DUE};
    rec.due = (struct rec_due){.id = m->id, .due_ms = now_ms(s)};
    append(s, SPOOL_EVENTS, &rec);
}

static void write_campaign(struct steering *s, uint32_t number, uint32_t stream,
                           enum rec_campaign_state state)
{
    struct rec rec = {.type = REC_CAMPAIGN};
    rec.campaign = (struct rec_campaign){.campaign = number,
                                         .stream = stream,
                                         .state = (uint8_t)state,
                                         .at_ms = now_ms(s),
                                         .content = SLICE_NONE};
    append(s, SPOOL_EVENTS, &rec);
}

/* Duplicate keys hold the campaign's number: under a new one nobody is known. */
static void forget(struct steering *s)
{
    struct rec rec = {.type = REC_NAME};
    uint32_t stream = rest_campaign(s->rest, s->order->name)->stream;
    rec.name = (struct rec_name){
        .kind = NAME_CAMPAIGN, .number = rest_free_campaign(s->rest), .name = s->order->name};
    append(s, SPOOL_NAMES, &rec);
    write_campaign(s, rec.name.number, stream, CAMPAIGN_FORGOTTEN);
}

static void on_measured(void *data, const struct measure *m)
{
    struct steering *s = data;
    struct rec rec = {.type = REC_MEASURE};
    measure_record(m, now_ms(s), &rec.measure);
    rec.measure.isp = rest_number(s->rest, NAME_ISP, slice_cstr(m->isp));
    rec.measure.source = rest_number(s->rest, NAME_SOURCE, slice_cstr(m->source));
    append(s, SPOOL_EVENTS, &rec);
}

static bool touches(const struct steering *s, const struct rest_message *m)
{
    bool waits = m->at.state == STANDING_HELD || m->at.due_ms > now_ms(s);
    if (s->order->verb != STEER_RETRY)
        return is_about(s, m);
    const struct rest_pause *p = waits && is_about(s, m) ? rest_paused(s->rest, m) : NULL;
    return waits && is_about(s, m) && !(p && p->kind == STEER_ID);
}

static void lift(struct steering *s)
{
    const struct measure *m = measures_find(rest_measures(s->rest), s->order->name);
    size_t at = 0;
    for (const struct rest_message *x; (x = rest_next(s->rest, &at));)
        s->touched += rest_held_by(s->rest, x) == m;
    measures_lift(rest_measures(s->rest), s->order->name);
}

static void carry_out(struct steering *s)
{
    const struct steer_order *o = s->order;
    size_t at = 0;
    if (o->kind == STEER_MEASURE) {
        lift(s);
        return;
    }
    if (o->verb == STEER_CANCEL && o->kind == STEER_CAMPAIGN && !rest_campaign(s->rest, o->name)->cancelled) {
        const struct rest_campaign *c = rest_campaign(s->rest, o->name);
        write_campaign(s, c->number, c->stream, CAMPAIGN_CANCELLED);
    }
    for (const struct rest_message *m; (m = rest_next(s->rest, &at));) {
        if (!touches(s, m))
            continue;
        s->touched++;
        if (o->verb == STEER_CANCEL)
            cancel_one(s, m);
        else if (o->verb == STEER_RETRY)
            retry_one(s, m);
    }
    bool is = rest_pause(s->rest, o->kind, o->name) != NULL;
    if ((o->verb == STEER_PAUSE && !is) || (o->verb == STEER_RESUME && is))
        record_pause(s, !is);
    if (o->forget)
        forget(s);
}

/* --- the folder --- */

static void on_durable(struct spool_wait *w, int status)
{
    struct steering *s = CONTAINER(w, struct steering, wait);
    s->status = status;
    loop_stop(s->loop);
}

static void on_late(struct loop_timer *t)
{
    struct steering *s = t->data;
    loop_stop(s->loop);
}

static int make_durable(struct steering *s, struct err *e)
{
    struct loop_timer late = {.data = s};
    s->status = ERR_AGAIN;
    s->wait.fn = on_durable;
    spool_when_durable(s->spool, &s->wait);
    loop_timer_start(s->loop, &late, WRITE_MS, on_late);
    loop_run(s->loop);
    loop_timer_stop(s->loop, &late);
    if (!s->status)
        return 0;
    int r = spool_status(s->spool) ? spool_status(s->spool) : ERR_IO;
    return err_set(e, r, "the journal cannot be written (%s): nothing may have been changed", err_name(r));
}

static int open_folder(struct steering *s, struct fs *fs, const char *state, struct err *e)
{
    struct fs_stat st;
    int r = fs_stat(fs, state, &st, e);
    if (r == ERR_NOTFOUND)
        return err_set(e, r, "there is no state folder %s", state);
    s->sync = work_new(&(struct work_conf){.loop = s->loop, .name = "sync", .threads = 1});
    s->names = event_names_new(NULL);
    s->rest =
        rest_new(&(struct rest_conf){.loop = s->loop, .names = s->names, .data = s, .measured = on_measured});
    struct spool_conf conf = {.fs = fs, .dir = state, .loop = s->loop, .sync = s->sync, .aside = true};
    return r ? r : spool_open(&s->spool, &conf, on_record, s, NULL, e);
}

static void close_folder(struct steering *s)
{
    if (s->spool)
        spool_stop(s->spool);
    work_free(s->sync);
    spool_free(s->spool);
    rest_free(s->rest);
    event_names_free(s->names);
    buf_free(&s->scratch);
}

int steer_rest(struct fs *fs, struct loop *loop, const char *state, const struct steer_order *orders,
               size_t n, uint64_t *touched, struct err *e)
{
    struct steering s = {.loop = loop};
    int r = open_folder(&s, fs, state, e);
    for (size_t i = 0; !r && i < n; i++)
        r = check_order(&s, &orders[i], e);
    if (!r) {
        s.next_event = rest_free_event(s.rest);
        for (size_t i = 0; i < n; i++) {
            s.order = &orders[i];
            carry_out(&s);
        }
        r = make_durable(&s, e);
    }
    close_folder(&s);
    if (!r)
        *touched += s.touched;
    return r;
}
