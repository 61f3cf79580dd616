/* breaker.c - see breaker.h. One table of open addresses for both kinds. */
#include "delivery/breaker.h"
#include "delivery/event.h"
#include "format/text.h"

#include <stdlib.h>

enum { SLOTS_FIRST = 64, RING_FROM = 64, MIX_SHIFT = 32 };
#define MIX UINT64_C(0x9e3779b97f4a7c15)

struct ring {
    struct {
        uint32_t bad, of;
    } step[BREAKER_STEPS];
};

enum state { COUNTING, WARNED, STOPPED };

struct pair {
    uint64_t key; /* 0: empty slot */
    uint32_t bad, of;
    struct ring *ring; /* of complaints: what bad and of are the sums of; NULL: none yet */
    uint32_t step;     /* number of the latest: time ÷ length */
    uint8_t state;
};

struct breakers {
    struct breaker_conf conf;
    struct pair *v;
    size_t n, nslots;
    int64_t step_ms;
};

struct breaker_conf breaker_default(void)
{
    return (struct breaker_conf){
        .of = {[BREAKER_ERRORS] = {500, 30000, 100000}, [BREAKER_COMPLAINTS] = {1000, 1000, 3000}},
        .within_ms = 86400000};
}

struct breakers *breakers_new(const struct breaker_conf *conf)
{
    struct breakers *b = mem_zalloc(sizeof *b);
    int64_t within_ms = conf->within_ms;
    b->conf = *conf;
    b->step_ms = (within_ms > BREAKER_WITHIN_LEAST_MS ? within_ms : BREAKER_WITHIN_LEAST_MS) / BREAKER_STEPS;
    b->nslots = SLOTS_FIRST;
    b->v = mem_zalloc(b->nslots * sizeof *b->v);
    return b;
}

void breakers_free(struct breakers *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < b->nslots; i++)
        free(b->v[i].ring);
    free(b->v);
    free(b);
}

size_t breaker_pairs(const struct breakers *b)
{
    return b->n;
}

/* --- the table --- */

/* who is from 1, so no key is 0. */
static uint64_t key_of(enum breaker_kind kind, uint32_t who, uint32_t isp)
{
    return (uint64_t)kind << 63 | (uint64_t)(who & 0x7fffffff) << 32 | isp;
}

static struct pair *slot_of(struct pair *v, size_t nslots, uint64_t key)
{
    size_t at = (size_t)(key * MIX >> MIX_SHIFT) & (nslots - 1);
    while (v[at].key && v[at].key != key)
        at = (at + 1) & (nslots - 1);
    return &v[at];
}

static struct pair *pair_of(struct breakers *b, uint64_t key)
{
    struct pair *p = slot_of(b->v, b->nslots, key);
    if (p->key)
        return p;
    if (b->n >= BREAKER_MOST)
        return NULL;
    if ((b->n + 1) * 4 > b->nslots * 3) {
        struct pair *v = mem_zalloc(b->nslots * 2 * sizeof *v);
        for (size_t i = 0; i < b->nslots; i++)
            if (b->v[i].key)
                *slot_of(v, b->nslots * 2, b->v[i].key) = b->v[i];
        free(b->v);
        b->v = v;
        b->nslots *= 2;
        p = slot_of(b->v, b->nslots, key);
    }
    p->key = key;
    b->n++;
    return p;
}

/* NULL where nothing counts any more, or there is no room. */
static struct pair *counting(struct breakers *b, uint64_t key)
{
    struct pair *p = pair_of(b, key);
    return p && p->state != STOPPED ? p : NULL;
}

/* --- the time of complaints --- */

static void turn_steps(struct breakers *b, struct pair *p, int64_t at_ms)
{
    uint32_t now = (uint32_t)(at_ms / b->step_ms);
    if (now <= p->step && p->of + p->bad) /* the same, or a clock that was set back */
        return;
    uint32_t passed = p->step ? now - p->step : 0;
    if (!p->ring && passed >= BREAKER_STEPS)
        p->of = 0;
    for (uint32_t i = 1; p->ring && i <= passed && i <= BREAKER_STEPS; i++) {
        size_t old = (p->step + i) % BREAKER_STEPS;
        p->bad -= p->ring->step[old].bad;
        p->of -= p->ring->step[old].of;
        p->ring->step[old].bad = p->ring->step[old].of = 0;
    }
    p->step = now;
}

static void count_step(struct pair *p, bool bad)
{
    if (!p->ring && (bad || p->of >= RING_FROM)) {
        p->ring = mem_zalloc(sizeof *p->ring);
        p->ring->step[p->step % BREAKER_STEPS].of = p->of;
    }
    if (!p->ring)
        return;
    p->ring->step[p->step % BREAKER_STEPS].bad += bad;
    p->ring->step[p->step % BREAKER_STEPS].of += !bad;
}

/* --- events --- */

/* How far it is: 0, WARNED, STOPPED. */
static enum state reached(const struct breaker_bar *bar, const struct pair *p)
{
    uint64_t share = (uint64_t)p->bad * BREAKER_WHOLE;
    if (p->of < bar->least)
        return COUNTING;
    if (bar->stop_ppm && share >= (uint64_t)p->of * bar->stop_ppm)
        return STOPPED;
    return bar->warn_ppm && share >= (uint64_t)p->of * bar->warn_ppm ? WARNED : COUNTING;
}

static size_t judge(struct breakers *b, struct pair *p, enum breaker_kind kind, uint32_t who, uint32_t isp,
                    bool told, struct breaker_finding *out)
{
    enum state now = reached(&b->conf.of[kind], p);
    if (now == STOPPED && !told) /* whoever stops it has to be told */
        now = WARNED;
    if (now <= (enum state)p->state)
        return 0;
    p->state = (uint8_t)now;
    if (!told)
        return 0;
    *out = (struct breaker_finding){
        .kind = kind, .stops = now == STOPPED, .who = who, .isp = isp, .bad = p->bad, .of = p->of};
    return 1;
}

static bool is_hard(const struct rec_event *ev)
{
    enum reply_class cls;
    return ev->type == EVENT_BOUNCED && !class_parse(ev->class_name, &cls) &&
           event_kind(ev, cls) == KIND_HARD;
}

static size_t count_errors(struct breakers *b, const struct rec_event *ev, bool told,
                           struct breaker_finding *out)
{
    bool attempt = event_is_attempt(ev) && ev->session; /* one that came back late has none */
    bool hard = is_hard(ev) && (attempt || event_is_late(ev));
    if (!ev->campaign || (!attempt && !hard))
        return 0;
    struct pair *p = counting(b, key_of(BREAKER_ERRORS, ev->campaign, ev->isp));
    if (!p)
        return 0;
    p->of += attempt;
    p->bad += hard;
    return judge(b, p, BREAKER_ERRORS, ev->campaign, ev->isp, told, out);
}

static size_t count_complaints(struct breakers *b, const struct rec_event *ev, bool told,
                               struct breaker_finding *out)
{
    bool bad = ev->type == EVENT_COMPLAINED;
    if (!ev->stream || (!bad && ev->type != EVENT_DELIVERED))
        return 0;
    struct pair *p = counting(b, key_of(BREAKER_COMPLAINTS, ev->stream, ev->isp));
    if (!p)
        return 0;
    turn_steps(b, p, ev->at_ms);
    count_step(p, bad);
    p->bad += bad;
    p->of += !bad;
    if (reached(&b->conf.of[BREAKER_COMPLAINTS], p) == COUNTING)
        p->state = COUNTING; /* the next day is told of anew */
    return judge(b, p, BREAKER_COMPLAINTS, ev->stream, ev->isp, told, out);
}

size_t breaker_event(struct breakers *b, const struct rec_event *ev, bool told,
                     struct breaker_finding out[BREAKER_KINDS])
{
    if (!ev->isp || ev->flags & REC_FLAG_TEST)
        return 0;
    size_t n = count_errors(b, ev, told, out);
    return n + count_complaints(b, ev, told, out + n);
}

void breaker_stopped(struct breakers *b, enum breaker_kind kind, uint32_t who, uint32_t isp)
{
    struct pair *p = pair_of(b, key_of(kind, who, isp));
    if (p)
        p->state = STOPPED;
}

void breaker_lifted(struct breakers *b, enum breaker_kind kind, uint32_t who, uint32_t isp)
{
    struct pair *p = slot_of(b->v, b->nslots, key_of(kind, who, isp));
    if (!p->key)
        return;
    free(p->ring);
    *p = (struct pair){.key = p->key};
}

void breaker_text(const struct breaker_finding *f, struct buf *out)
{
    static const struct {
        const char *one, *many, *of;
    } words[] = {[BREAKER_ERRORS] = {"hard error", "hard errors", "attempts"},
                 [BREAKER_COMPLAINTS] = {"complaint", "complaints", "delivered"}};
    text_count(out, f->bad);
    buf_printf(out, " %s in ", f->bad == 1 ? words[f->kind].one : words[f->kind].many);
    text_count(out, f->of);
    buf_printf(out, " %s (", words[f->kind].of);
    text_percent(out, f->bad, f->of);
    buf_addc(out, ')');
}
