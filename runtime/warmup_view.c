/* warmup_view.c - see warmup_view.h. */
#include "warmup_view.h"
#include "base/json.h"
#include "control.h"
#include "delivery/warmup.h"
#include "format/text.h"
#include "platform/spool.h"

#include <stdlib.h>

struct warmup_set {
    struct spool_wait wait;
    struct warmup_sets *sets; /* NULL: nobody waits for it any more */
    struct control_call *call;
    size_t touched;
    struct warmup_set *next;
};

/* --- looking --- */

static void put_text(struct buf *out, const char *name, struct slice text)
{
    buf_printf(out, "%s\"%s\":", out->n > 1 ? "," : "", name);
    json_quote(out, text);
}

static void put_number(struct buf *out, const char *name, uint64_t n)
{
    buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)n);
}

static void put_time(struct buf *out, const char *name, int64_t utc_ms)
{
    buf_printf(out, ",\"%s\":", name);
    text_time_json(out, utc_ms);
}

static void put_row(struct buf *out, const struct conf *conf, struct warmup *w)
{
    const struct warmup_today *t = warmup_today(w);
    const struct warmup_curve *c = &w->conf->curve;
    const struct tz *zone = warmups_zone(w->all);
    int64_t next_ms = warmup_next_step_ms(c, zone, t), permit_ms = warmup_permit_ms(w);
    struct buf place = {0};
    buf_addc(out, '{');
    put_text(out, "source", conf->sources[w->conf->source].name);
    put_text(out, "isp", w->isp);
    put_text(out, "from", w->from);
    put_number(out, "day", t->position + 1);
    put_number(out, "step", t->step + 1);
    put_number(out, "steps", c->nsteps);
    put_number(out, "rate", c->steps[t->step]);
    put_text(out, "per", c->per_day ? S("day") : S("hour"));
    put_number(out, "quota", t->quota);
    put_number(out, "used", t->used);
    put_number(out, "delivered", t->delivered);
    buf_printf(out, ",\"open\":%s", permit_ms < t->close_ms ? "true" : "false");
    put_time(out, "next_permit", permit_ms);
    put_time(out, "next_step", next_ms);
    if (next_ms)
        put_number(out, "next_rate", c->steps[t->step + 1]);
    else
        buf_adds(out, S(",\"next_rate\":null"));
    put_time(out, "last_mail", w->state.day == WARMUP_NEVER ? 0 : warmup_day_ms(c, zone, w->state.day));
    buf_adds(out, S(",\"retreat\":"));
    if (w->why) {
        buf_addc(out, '{');
        buf_adds(out, S("\"why\":"));
        json_quote(out, slice_cstr(w->why));
        buf_printf(out, ",\"today\":%s}", t->retreated ? "true" : "false");
    } else {
        buf_adds(out, S("null"));
    }
    buf_printf(&place, "%.*s:%d", SLICE_FMT(w->conf->place.file), w->conf->place.line);
    put_text(out, "place", buf_slice(&place));
    buf_addc(out, '}');
    buf_free(&place);
}

static void show(struct deliver *d, const struct conf *conf, struct control_call *call)
{
    struct warmups *ws = deliver_warmups(d);
    struct buf out = {0};
    size_t at = 0;
    warmups_make(ws);
    for (struct warmup *w; (w = warmups_next(ws, &at));) {
        buf_clear(&out);
        put_row(&out, conf, w);
        control_line(call, buf_slice(&out));
    }
    control_end(call, 0, SLICE_NONE);
    buf_free(&out);
}

/* --- setting --- */

static void unlink_set(struct warmup_set *s)
{
    struct warmup_set **at = &s->sets->first;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
}

static void on_durable(struct spool_wait *wait, int status)
{
    struct warmup_set *s = CONTAINER(wait, struct warmup_set, wait);
    struct buf words = {0};
    if (s->sets) {
        unlink_set(s);
        buf_printf(&words, "\"touched\":%zu", s->touched);
        if (status && status != ERR_FULL) /* of recipients that came in the same turn */
            control_end(s->call, status, S("the journal cannot be written: it may not outlive this process"));
        else
            control_end(s->call, 0, buf_slice(&words));
    }
    buf_free(&words);
    free(s);
}

static struct slice member(const json_t *request, const char *name)
{
    return slice_cstr(json_string_value(json_object_get(request, name)));
}

static void set(struct deliver *d, struct warmup_sets *sets, struct control_call *call, const json_t *request)
{
    json_int_t day = json_integer_value(json_object_get(request, "day"));
    struct slice source = member(request, "source"), isp = member(request, "isp"),
                 from = member(request, "from");
    struct buf why = {0};
    if (day < 1 || day > WARMUP_DAY_MOST || !source.n || !isp.n) {
        control_end(call, ERR_INVAL, S("\"source\" and \"isp\" are names, \"day\" is from 1 to 100,000"));
        return;
    }
    size_t touched = warmups_set(deliver_warmups(d), source, isp, from, (uint32_t)day);
    if (!touched) {
        buf_printf(&why, "the script warms up no source \"%.*s\" at \"%.*s\"", SLICE_FMT(source),
                   SLICE_FMT(isp));
        if (from.n)
            buf_printf(&why, " from %.*s", SLICE_FMT(from));
        control_end(call, ERR_NOTFOUND, buf_slice(&why));
        buf_free(&why);
        return;
    }
    struct warmup_set *s = mem_zalloc(sizeof *s);
    *s = (struct warmup_set){
        .wait.fn = on_durable, .sets = sets, .call = call, .touched = touched, .next = sets->first};
    sets->first = s;
    deliver_when_durable(d, &s->wait);
}

void warmup_sets_drop(struct warmup_sets *sets, int status, struct slice why)
{
    for (struct warmup_set *s; (s = sets->first);) {
        sets->first = s->next;
        s->sets = NULL;
        if (why.n)
            control_end(s->call, status, why);
    }
}

void warmup_request(struct deliver *d, const struct conf *conf, struct warmup_sets *sets,
                    struct control_call *call, const json_t *request)
{
    if (json_object_get(request, "day"))
        set(d, sets, call, request);
    else
        show(d, conf, call);
}
