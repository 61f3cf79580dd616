/* inbound.c - see inbound.h. Orders that come while a search runs are the next search, all together. */
#include "delivery/inbound.h"
#include "delivery/event.h"
#include "delivery/settle.h"

#include <stdlib.h>

struct order {
    struct inbound_mail *v;
    enum inbound_result *results;
    size_t n;
    inbound_done *done; /* NULL: nobody waits any more */
    void *data;
    struct arena arena;
    struct order *next;
};

struct inbound {
    struct deliver *d;
    struct order *waiting, **last; /* in order */
    struct order *taken;           /* what the search is for; NULL: none runs */
    struct settled_search search;
    struct spool_wait durable;
    struct rule_work *work;
};

const char *inbound_result_name(enum inbound_result r)
{
    static const char *const names[INBOUND_RESULTS] = {"taken", "known", "gone", "early"};
    return (unsigned)r < INBOUND_RESULTS ? names[r] : "?";
}

static void order_free(struct order *o)
{
    arena_free(&o->arena);
    free(o->results);
    free(o->v);
    free(o);
}

static void tell(struct order *o, int status, const struct err *e)
{
    inbound_done *done = o->done;
    o->done = NULL;
    if (done)
        done(o->data, status, o->results, o->n, e);
}

/* --- what becomes of one --- */

/* The script's rules know better than those that ship with hato, which have had their say. Returns what the
 * one that was met does about the person; NULL: nothing of its own. */
static const struct act_rule *apply_rules(struct inbound *in, const struct inbound_mail *m,
                                          struct rec_event *ev)
{
    const struct deliver *d = in->d;
    const struct conf *conf = d->conf.conf;
    struct slice isp = deliver_name(d, NAME_ISP, ev->isp);
    uint16_t known = conf_find_isp(conf, isp);
    struct rule_out found;
    struct acts_found acts;
    if (!conf->nrules)
        return NULL;
    rules_classify(d->rules, in->work,
                   &(struct rule_in){.isp = isp,
                                     .provider = known == CONF_NONE ? SLICE_NONE : conf->isps[known].provider,
                                     .phase = m->phase,
                                     .code = m->code,
                                     .enhanced = m->enhanced.cls ? &m->enhanced : NULL,
                                     .text = m->text},
                   &found);
    if (found.index < 0 || (size_t)found.index >= conf->nrules)
        return NULL;
    ev->class_name = slice_cstr(class_name(found.cls));
    ev->rule = slice_cstr(found.rule);
    acts_find(&conf->acts,
              &(struct acts_in){
                  .rule = found.index, .isp = isp, .cls = found.cls, .kind = event_kind(ev, found.cls)},
              &acts);
    return acts.person;
}

static void write_one(struct inbound *in, const struct inbound_mail *m, const struct settled_message *of)
{
    struct rec_event ev = {.type = EVENT_COMPLAINED,
                           .id = of->id,
                           .at_ms = loop_wall_ms(in->d->loop),
                           .accepted_ms = of->ev.accepted_ms,
                           .campaign = of->ev.campaign,
                           .stream = of->ev.stream,
                           .isp = of->ev.isp,
                           .source = of->ev.source,
                           .pool = of->ev.pool,
                           .flags = of->ev.flags,
                           .recipient = of->ev.recipient,
                           .attempt = of->ev.attempt,
                           .text = m->text,
                           .class_name = SLICE_NONE,
                           .rule = m->rule,
                           .meta = of->ev.meta,
                           .domain = of->ev.domain,
                           .sender = of->ev.sender};
    const struct act_rule *person = NULL;
    if (m->what == INBOUND_BOUNCE) {
        ev.type = EVENT_BOUNCED;
        ev.phase = REC_PHASE_ASYNC;
        ev.code = (uint16_t)m->code;
        ev.enh_class = m->enhanced.cls;
        ev.enh_subject = m->enhanced.subject;
        ev.enh_detail = m->enhanced.detail;
        ev.class_name = slice_cstr(class_name(m->cls));
        person = apply_rules(in, m, &ev);
    }
    write_event_by(in->d, &ev, person);
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = ((const struct settled_message *)a)->id, y = ((const struct settled_message *)b)->id;
    return x < y ? -1 : x > y;
}

static enum inbound_result settle_mail(struct inbound *in, const struct inbound_mail *m)
{
    struct settled_message key = {.id = m->id};
    struct settled_message *of =
        in->search.n ? bsearch(&key, in->search.v, in->search.n, sizeof key, by_id) : NULL;
    if (queue_get(in->d->queue, m->id))
        return INBOUND_EARLY;
    if (!of || !of->ended)
        return INBOUND_GONE;
    bool *had = m->what == INBOUND_BOUNCE ? &of->bounced : &of->complained;
    if (*had)
        return INBOUND_KNOWN;
    *had = true;
    write_one(in, m, of);
    return INBOUND_TAKEN;
}

/* --- orders --- */

static void search_next(struct inbound *in);

static void over(struct inbound *in, int status, const struct err *e)
{
    struct order *o = in->taken;
    in->taken = NULL;
    free(in->search.v);
    in->search.v = NULL;
    while (o) {
        struct order *next = o->next;
        tell(o, status, e);
        order_free(o);
        o = next;
    }
    search_next(in);
}

static void on_durable(struct spool_wait *w, int status)
{
    struct inbound *in = CONTAINER(w, struct inbound, durable);
    struct err e = {0};
    if (status)
        err_set(&e, status, "the journal cannot be written: %s", err_name(status));
    over(in, e.code, &e);
}

static void on_found(struct settled_search *s, int status, const struct err *e)
{
    struct inbound *in = s->data;
    struct err why;
    if (!status && (in->d->ending || spool_status(in->d->spool))) {
        /* What waits for room on the disk is not where the search has looked. */
        status = err_set(&why, ERR_AGAIN, "the journal cannot be written now");
        e = &why;
    }
    if (status) {
        over(in, status, e);
        return;
    }
    for (struct order *o = in->taken; o; o = o->next)
        for (size_t i = 0; i < o->n; i++)
            o->results[i] = settle_mail(in, &o->v[i]);
    spool_when_durable(in->d->spool, &in->durable);
}

static void search_next(struct inbound *in)
{
    size_t n = 0, kept = 0;
    if (in->taken || !in->waiting || in->d->ending)
        return;
    in->taken = in->waiting;
    in->waiting = NULL;
    in->last = &in->waiting;
    for (const struct order *o = in->taken; o; o = o->next)
        n += o->n;
    struct settled_message *v = mem_zalloc((n + 1) * sizeof *v);
    n = 0;
    for (const struct order *o = in->taken; o; o = o->next)
        for (size_t i = 0; i < o->n; i++)
            v[n++].id = o->v[i].id;
    if (n)
        qsort(v, n, sizeof *v, by_id);
    for (size_t i = 0; i < n; i++)
        if (!kept || v[kept - 1].id != v[i].id)
            v[kept++] = v[i];
    in->search = (struct settled_search){.v = v, .n = kept, .done = on_found, .data = in};
    settled_find(in->d, &in->search);
}

void inbound_take(struct deliver *d, const struct inbound_mail *v, size_t n, inbound_done *done, void *data)
{
    struct order *o = mem_zalloc(sizeof *o);
    if (!d->inbound) {
        d->inbound = mem_zalloc(sizeof *d->inbound);
        *d->inbound = (struct inbound){
            .d = d, .last = &d->inbound->waiting, .work = rule_work_new(), .durable.fn = on_durable};
    }
    struct inbound *in = d->inbound;
    *o = (struct order){.n = n, .done = done, .data = data};
    o->v = mem_alloc((n + 1) * sizeof *o->v);
    o->results = mem_zalloc((n + 1) * sizeof *o->results);
    for (size_t i = 0; i < n; i++) {
        o->v[i] = v[i];
        o->v[i].rule = arena_copy(&o->arena, v[i].rule);
        o->v[i].text = arena_copy(&o->arena, v[i].text);
    }
    *in->last = o;
    in->last = &o->next;
    search_next(in);
}

static void each(struct inbound *in, void (*fn)(struct order *o))
{
    struct order *lists[] = {in ? in->taken : NULL, in ? in->waiting : NULL};
    for (size_t i = 0; i < COUNT(lists); i++)
        for (struct order *o = lists[i]; o; o = o->next)
            fn(o);
}

static void forget_asker(struct order *o)
{
    o->done = NULL;
}

static void put_off(struct order *o)
{
    struct err e;
    tell(o, err_set(&e, ERR_AGAIN, "the script was swapped meanwhile; ask again"), &e);
}

void inbound_abandon(struct deliver *d)
{
    each(d->inbound, forget_asker);
}

void inbound_put_off(struct deliver *d)
{
    each(d->inbound, put_off);
}

void inbound_free(struct deliver *d)
{
    struct inbound *in = d->inbound;
    if (!in)
        return;
    INVARIANT(!in->taken); /* the pool's end and the spool's have ended its search */
    while (in->waiting) {
        struct order *o = in->waiting;
        struct err e;
        in->waiting = o->next;
        tell(o, err_set(&e, ERR_CANCELED, "hato ends"), &e);
        order_free(o);
    }
    rule_work_free(in->work);
    free(in);
    d->inbound = NULL;
}
