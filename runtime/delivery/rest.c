/* rest.c - see rest.h. */
#include "delivery/rest.h"
#include "base/map.h"
#include "format/addr.h"
#include "format/text.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAPS = 5, WORDS_BYTES = 512 };

struct rest {
    struct rest_conf conf;
    struct map messages;  /* id → struct rest_message, in order of acceptance */
    struct map pauses;    /* "isp=gmail" → struct rest_pause */
    struct map campaigns; /* name → struct rest_campaign */
    struct map domains;   /* name → struct rest_domain */
    size_t lost;          /* domains of which nobody knows where they lead */
    struct map names;     /* kind and name, of streams, sources and isps → number */
    struct conf *script;  /* of none: what measures want to know of it is not there */
    struct measures *measures;
    uint32_t last_campaign;
    uint64_t last_event;
    struct arena kept, scratch;
    struct buf key;
};

static void maps_of(struct rest *rs, struct map *out[MAPS])
{
    struct map *all[MAPS] = {&rs->messages, &rs->pauses, &rs->campaigns, &rs->domains, &rs->names};
    memcpy(out, all, sizeof all);
}

struct rest *rest_new(const struct rest_conf *conf)
{
    struct rest *rs = mem_zalloc(sizeof *rs);
    struct map *all[MAPS];
    struct hash_key hk;
    rs->conf = *conf;
    rs->script = conf_new();
    rs->measures = measures_new(&(struct measures_conf){
        .loop = conf->loop, .conf = rs->script, .data = conf->data, .changed = conf->measured});
    loop_random_bytes(conf->loop, &hk, sizeof hk);
    maps_of(rs, all);
    for (int i = 0; i < MAPS; i++)
        map_init(all[i], hk);
    return rs;
}

static void forget_message(struct rest_message *m)
{
    if (!m)
        return;
    standing_free(&m->at);
    free((char *)m->recipient.p);
    free(m);
}

void rest_free(struct rest *rs)
{
    struct map *all[MAPS];
    size_t at = 0;
    if (!rs)
        return;
    for (struct rest_message *m; (m = rest_next(rs, &at));)
        forget_message(m);
    maps_of(rs, all);
    for (int i = 0; i < MAPS; i++)
        map_free(all[i]);
    measures_free(rs->measures);
    conf_free(rs->script);
    arena_free(&rs->kept);
    arena_free(&rs->scratch);
    buf_free(&rs->key);
    free(rs);
}

/* --- learning --- */

static struct slice name_of(const struct rest *rs, enum rec_name_kind kind, uint32_t number)
{
    return event_name(rs->conf.names, kind, number);
}

static void name_key(struct buf *out, enum rec_name_kind kind, struct slice name)
{
    buf_addc(out, (char)kind);
    buf_adds(out, name);
}

static struct rest_campaign *campaign_of(struct rest *rs, uint32_t number, uint32_t stream)
{
    struct slice name = name_of(rs, NAME_CAMPAIGN, number);
    if (number > rs->last_campaign)
        rs->last_campaign = number;
    if (!name.n)
        return NULL;
    struct rest_campaign *c = map_get(&rs->campaigns, name);
    if (!c) {
        c = arena_zalloc(&rs->kept, sizeof *c);
        map_put(&rs->campaigns, name, c);
    }
    if (number > c->number)
        c->number = number;
    if (stream)
        c->stream = stream;
    return c;
}

static struct rest_domain *domain_of(struct rest *rs, struct slice name)
{
    struct rest_domain *d = map_get(&rs->domains, name);
    if (!d) {
        d = arena_zalloc(&rs->kept, sizeof *d);
        d->name = arena_copy(&rs->kept, name);
        map_put(&rs->domains, name, d);
        rs->lost++;
    }
    return d;
}

static void set_isp(struct rest *rs, struct rest_domain *d, uint32_t isp)
{
    if (!d)
        return;
    rs->lost -= !d->isp;
    d->isp = isp;
}

static void learn_name(struct rest *rs, const struct rec_name *n)
{
    if (n->kind == NAME_CAMPAIGN)
        campaign_of(rs, n->number, 0);
    if (n->kind != NAME_STREAM && n->kind != NAME_SOURCE && n->kind != NAME_ISP)
        return;
    buf_clear(&rs->key);
    name_key(&rs->key, (enum rec_name_kind)n->kind, n->name);
    map_put(&rs->names, buf_slice(&rs->key), (void *)(uintptr_t)n->number);
}

static void learn_recipient(struct rest *rs, const struct rec_recipient *r)
{
    struct rest_message *m = mem_zalloc(sizeof *m);
    struct addr addr;
    *m = (struct rest_message){.id = r->id,
                               .campaign = r->campaign,
                               .stream = r->stream,
                               .pool = r->pool,
                               .from = r->domain,
                               .sender = r->sender,
                               .flags = r->flags,
                               .accepted_ms = r->accepted_ms,
                               .recipient = slice_of(mem_dup(r->address.p, r->address.n), r->address.n)};
    arena_reset(&rs->scratch);
    if (!addr_parse(r->address, &rs->scratch, &addr, NULL))
        m->domain = domain_of(rs, addr.domain_ascii);
    standing_recipient(&m->at, r);
    campaign_of(rs, r->campaign, r->stream);
    forget_message(map_put(&rs->messages, slice_of(&r->id, sizeof r->id), m));
}

/* Where one went, others of its domain go: what DNS said may not have been written when the process was
 * killed. */
static void learn_isp(struct rest *rs, struct rest_message *m, uint32_t isp)
{
    if (!isp)
        return;
    m->isp = isp;
    set_isp(rs, m->domain, isp);
}

/* The same from mail that nobody asked about. */
static void learn_of_others(struct rest *rs, struct slice recipient, uint32_t isp)
{
    struct addr addr;
    if (!isp || !rs->lost)
        return;
    arena_reset(&rs->scratch);
    if (addr_parse(recipient, &rs->scratch, &addr, NULL))
        return;
    struct rest_domain *d = map_get(&rs->domains, addr.domain_ascii);
    if (d && !d->isp)
        set_isp(rs, d, isp);
}

static void learn_event(struct rest *rs, const struct rec_event *ev)
{
    struct rest_message *m = rest_get(rs, ev->id);
    if (ev->event > rs->last_event)
        rs->last_event = ev->event;
    campaign_of(rs, ev->campaign, ev->stream);
    if (!m) {
        learn_of_others(rs, ev->recipient, ev->isp);
        return;
    }
    learn_isp(rs, m, ev->isp);
    if (rec_event_ends(ev->type)) {
        forget_message(map_del(&rs->messages, slice_of(&ev->id, sizeof ev->id)));
        return;
    }
    standing_event(&m->at, ev);
}

static void learn_steer(struct rest *rs, const struct rec_steer *s)
{
    char words[WORDS_BYTES];
    int n = snprintf(words, sizeof words, "%s=%.*s", steer_kind_name((enum steer_kind)s->kind),
                     SLICE_FMT(s->name));
    if (s->kind >= STEER_KINDS || n >= (int)sizeof words)
        return;
    struct slice key = slice_of(words, (size_t)n);
    if (!s->paused) {
        map_del(&rs->pauses, key);
    } else if (!map_get(&rs->pauses, key)) {
        struct rest_pause *p = arena_zalloc(&rs->kept, sizeof *p);
        *p = (struct rest_pause){(enum steer_kind)s->kind, s->at_ms, arena_copy(&rs->kept, s->name)};
        map_put(&rs->pauses, key, p);
    }
}

static void learn_campaign(struct rest *rs, const struct rec_campaign *r)
{
    struct rest_campaign *c = campaign_of(rs, r->campaign, r->stream);
    if (c && (r->state == CAMPAIGN_CANCELLED || r->state == CAMPAIGN_FORGOTTEN))
        c->cancelled = r->state == CAMPAIGN_CANCELLED;
}

void rest_learn(struct rest *rs, const struct rec *r)
{
    struct rest_message *m;
    switch (r->type) {
    case REC_NAME:
        learn_name(rs, &r->name);
        break;
    case REC_RECIPIENT:
        learn_recipient(rs, &r->recipient);
        break;
    case REC_KEY:
        campaign_of(rs, r->key.campaign, 0);
        break;
    case REC_BEGIN:
        if ((m = rest_get(rs, r->begin.id))) {
            learn_isp(rs, m, r->begin.isp);
            standing_begin(&m->at, &r->begin);
        }
        break;
    case REC_EVENT:
        learn_event(rs, &r->event);
        break;
    case REC_CAMPAIGN:
        learn_campaign(rs, &r->campaign);
        break;
    case REC_MEASURE:
        measures_restore(rs->measures, &r->measure, name_of(rs, NAME_ISP, r->measure.isp),
                         name_of(rs, NAME_SOURCE, r->measure.source));
        break;
    case REC_STEER:
        learn_steer(rs, &r->steer);
        break;
    case REC_DUE:
        if ((m = rest_get(rs, r->due.id)))
            standing_due(&m->at, &r->due);
        break;
    case REC_INTERVAL:
        campaign_of(rs, r->interval.campaign, 0);
        if (r->interval.kind == INTERVAL_DNS && r->interval.isp)
            set_isp(rs, domain_of(rs, r->interval.domain), r->interval.isp);
        break;
    case REC_SESSION:
    case REC_WARMUP:
    case REC_TALLY:
        break;
    }
}

/* --- looking --- */

struct rest_message *rest_next(const struct rest *rs, size_t *at)
{
    struct map_entry *e = map_next(&rs->messages, at);
    return e ? e->value : NULL;
}

struct rest_message *rest_get(const struct rest *rs, uint64_t id)
{
    return map_get(&rs->messages, slice_of(&id, sizeof id));
}

uint32_t rest_isp(const struct rest_message *m)
{
    return m->isp || !m->domain ? m->isp : m->domain->isp;
}

const struct rest_pause *rest_pause(const struct rest *rs, enum steer_kind kind, struct slice name)
{
    char words[WORDS_BYTES];
    int n = snprintf(words, sizeof words, "%s=%.*s", steer_kind_name(kind), SLICE_FMT(name));
    return name.n && n < (int)sizeof words ? map_get(&rs->pauses, slice_of(words, (size_t)n)) : NULL;
}

const struct rest_pause *rest_paused(const struct rest *rs, const struct rest_message *m)
{
    char id[32];
    snprintf(id, sizeof id, "m%llu", (unsigned long long)m->id);
    const struct {
        enum steer_kind kind;
        struct slice name;
    } about[] = {{STEER_ID, slice_cstr(id)},
                 {STEER_CAMPAIGN, name_of(rs, NAME_CAMPAIGN, m->campaign)},
                 {STEER_STREAM, name_of(rs, NAME_STREAM, m->stream)},
                 {STEER_DOMAIN, m->domain ? m->domain->name : SLICE_NONE},
                 {STEER_ISP, name_of(rs, NAME_ISP, rest_isp(m))},
                 {STEER_SOURCE, name_of(rs, NAME_SOURCE, m->at.source)}};
    const struct rest_pause *p = NULL;
    for (size_t i = 0; rs->pauses.live && !p && i < COUNT(about); i++)
        p = rest_pause(rs, about[i].kind, about[i].name);
    return p;
}

static bool is_about(const struct rest *rs, const struct measure *x, const struct rest_message *m)
{
    struct slice source = name_of(rs, NAME_SOURCE, m->at.source), what = slice_cstr(x->what);
    if (x->isp[0] && !slice_eq(slice_cstr(x->isp), name_of(rs, NAME_ISP, rest_isp(m))))
        return false;
    switch (x->scope) {
    case ACT_CAMPAIGN:
        return slice_eq(what, name_of(rs, NAME_CAMPAIGN, m->campaign));
    case ACT_ONE_STREAM:
        return slice_eq(what, name_of(rs, NAME_STREAM, m->stream));
    case ACT_STREAM:
        return slice_eq(what, name_of(rs, NAME_DOMAIN, m->from));
    case ACT_PATH:
    case ACT_SOURCE:
        /* From where it would go for the first time only a script says. */
        return source.n && slice_eq(slice_cstr(x->source), source);
    case ACT_SITE:
    case ACT_SCOPES:
        break;
    }
    return false;
}

static bool stops(const struct measure *m)
{
    return measure_holds(m) && !m->factor_ppm && m->kind != MEASURE_BACKOFF;
}

const struct measure *rest_held_by(const struct rest *rs, const struct rest_message *m)
{
    for (const struct measure *x = NULL; (x = measures_next(rs->measures, x));)
        if (stops(x) && is_about(rs, x, m))
            return x;
    return NULL;
}

bool rest_wait(const struct rest *rs, const struct rest_message *m, struct buf *out)
{
    const struct rest_pause *p = rest_paused(rs, m);
    const struct measure *x = p ? NULL : rest_held_by(rs, m);
    if (p) {
        buf_printf(out, "paused by hand: %s=", steer_kind_name(p->kind));
        text_safe(out, p->name);
    } else if (x) {
        measure_text(out, x);
    }
    return p || x;
}

bool rest_source_stopped(const struct rest *rs, const struct rest_message *m, struct buf *out)
{
    struct slice isp = name_of(rs, NAME_ISP, rest_isp(m));
    for (const struct measure *x = NULL; !m->at.source && (x = measures_next(rs->measures, x));) {
        if (!stops(x) || (x->scope != ACT_PATH && x->scope != ACT_SOURCE) ||
            (x->isp[0] && !slice_eq(slice_cstr(x->isp), isp)))
            continue;
        buf_adds(out, S("nothing goes there from source "));
        text_safe(out, slice_cstr(x->source));
        buf_adds(out, S(": "));
        measure_text(out, x);
        return true;
    }
    return false;
}

struct measures *rest_measures(const struct rest *rs)
{
    return rs->measures;
}

const struct rest_campaign *rest_campaign(const struct rest *rs, struct slice name)
{
    return map_get(&rs->campaigns, name);
}

uint32_t rest_number(const struct rest *rs, enum rec_name_kind kind, struct slice name)
{
    struct buf key = {0};
    name_key(&key, kind, name);
    uint32_t number = (uint32_t)(uintptr_t)map_get(&rs->names, buf_slice(&key));
    buf_free(&key);
    return number;
}

uint32_t rest_free_campaign(const struct rest *rs)
{
    return rs->last_campaign + 1;
}

uint64_t rest_free_event(const struct rest *rs)
{
    return rs->last_event + 1;
}
