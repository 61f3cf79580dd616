/* breaker_act.c - see breaker_act.h. */
#include "delivery/breaker_act.h"
#include "delivery/wait.h"

static const struct slice rule_of[BREAKER_KINDS] = {
    [BREAKER_ERRORS] = {"breaker: hard errors", 20}, [BREAKER_COMPLAINTS] = {"breaker: complaints", 19}};

/* A campaign of this stream's. */
static const struct campaign *campaign_of(struct deliver *d, const struct breaker_finding *f)
{
    struct slice stream;
    if (f->kind == BREAKER_ERRORS)
        return campaign_by_number(d, f->who, 0);
    stream = deliver_name(d, NAME_STREAM, f->who);
    const struct stream *st = stream.n ? deliver_stream(d, stream) : NULL;
    return st ? st->alone : NULL;
}

static void stop(struct deliver *d, const struct breaker_finding *f, struct slice isp_name, struct slice why,
                 int64_t at_ms)
{
    const struct campaign *c = campaign_of(d, f);
    struct isp *isp = paths_isp(d->paths, isp_name);
    struct measure_start s = {.act = {.kind = ACT_PAUSE,
                                      .scope = f->kind == BREAKER_ERRORS ? ACT_CAMPAIGN : ACT_ONE_STREAM,
                                      .for_ms = MEASURE_NO_END_MS,
                                      .alert = true},
                              .path = &isp->by_source[0],
                              .campaign = c,
                              .rule = rule_of[f->kind],
                              .why = why,
                              .at_ms = at_ms};
    struct measure *m = c ? measure_begin(paths_measures(d->paths), &s) : NULL;
    struct buf name = {0};
    if (!m) /* of a script that has it no more: nothing of it goes anyway */
        return;
    measure_name(&name, m->number);
    notice(d, 2, "breaker stops %s=\"%s\" isp=%s: %.*s; `hato resume measure=%s` lets it go on",
           f->kind == BREAKER_ERRORS ? "campaign" : "stream", m->what, m->isp, SLICE_FMT(why),
           buf_cstr(&name));
    buf_free(&name);
}

void breakers_see(struct deliver *d, const struct rec_event *ev)
{
    struct breaker_finding found[BREAKER_KINDS];
    size_t n = breaker_event(d->breakers, ev, true, found);
    for (size_t i = 0; i < n; i++) {
        const struct breaker_finding *f = &found[i];
        bool errors = f->kind == BREAKER_ERRORS;
        struct slice isp = deliver_name(d, NAME_ISP, f->isp),
                     who = deliver_name(d, errors ? NAME_CAMPAIGN : NAME_STREAM, f->who);
        struct buf why = {0};
        breaker_text(f, &why);
        if (f->stops)
            stop(d, f, isp, buf_slice(&why), ev->at_ms);
        else
            notice(d, 1, "breaker warns %s=\"%.*s\" isp=%.*s: %.*s", errors ? "campaign" : "stream",
                   SLICE_FMT(who), SLICE_FMT(isp), SLICE_FMT(buf_slice(&why)));
        buf_free(&why);
    }
}

void breakers_replay(struct deliver *d, const struct rec_event *ev)
{
    struct breaker_finding found[BREAKER_KINDS];
    breaker_event(d->breakers, ev, false, found);
}

static void measured(struct deliver *d, enum breaker_kind kind, enum rec_name_kind of, struct slice name,
                     const struct rec_measure *m)
{
    uint32_t who = name_find(d, of, name);
    if (who && m->lifted)
        breaker_lifted(d->breakers, kind, who, m->isp);
    else if (who)
        breaker_stopped(d->breakers, kind, who, m->isp);
}

void breakers_measured(struct deliver *d, const struct rec_measure *m)
{
    if (slice_eq(m->rule, rule_of[BREAKER_ERRORS]))
        measured(d, BREAKER_ERRORS, NAME_CAMPAIGN, m->what, m);
    else if (slice_eq(m->rule, rule_of[BREAKER_COMPLAINTS]))
        measured(d, BREAKER_COMPLAINTS, NAME_STREAM, m->what, m);
}

struct search {
    struct buf *out;
    bool any;
};

static void on_measure(void *data, const struct wait_measure *w)
{
    struct search *s = data;
    struct slice rule = slice_cstr(w->m->rule);
    if (!w->waiting || (!slice_eq(rule, rule_of[0]) && !slice_eq(rule, rule_of[1])))
        return;
    if (s->any)
        buf_adds(s->out, S("; "));
    s->any = true;
    buf_printf(s->out,
               "%s at %s was stopped by %s, and %llu mail%s unsent: `hato resume measure=", w->m->what,
               w->m->isp, w->m->why, (unsigned long long)w->waiting, w->waiting == 1 ? " is" : "s are");
    measure_name(s->out, w->m->number);
    buf_addc(s->out, '`');
}

bool deliver_is_broken(struct deliver *d, struct buf *out)
{
    struct search s = {.out = out};
    wait_measures(d, on_measure, &s);
    return s.any;
}
