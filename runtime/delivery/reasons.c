/* reasons.c - see reasons.h. */
#include "delivery/reasons.h"
#include "base/map.h"

#include <stdlib.h>

struct known {
    enum interval_kind kind;
    int64_t begin_ms, end_ms, until_ms;
    struct reasons_who who; /* empty: any */
    struct slice why;
    size_t run; /* index of the process that wrote it, plus 1 */
};

/* A process that worked on this journal. */
struct run {
    int64_t begin_ms, end_ms;
};

struct place {
    struct slice isp, mx;
};

struct reasons {
    struct known *v;
    size_t n, cap;
    struct run *runs;
    size_t nruns;
    struct map by_key;  /* of an interval → index + 1: what is said again replaces */
    struct map places;  /* domain → struct place */
    struct arena arena; /* texts */
    struct buf key;
    int64_t now_ms;
};

const char *reason_kind_name(unsigned kind)
{
    static const char *const names[REASON_KINDS] = {[REASON_NONE] = "none",
                                                    [INTERVAL_UP] = "up",
                                                    [INTERVAL_PAUSE] = "pause",
                                                    [INTERVAL_CAMPAIGN] = "campaign",
                                                    [INTERVAL_STOPPING] = "start or stop",
                                                    [INTERVAL_JOURNAL] = "journal",
                                                    [INTERVAL_HOOK] = "hook",
                                                    [INTERVAL_DNS] = "dns",
                                                    [INTERVAL_SITE] = "site",
                                                    [INTERVAL_MEASURE] = "measure",
                                                    [INTERVAL_WARMUP] = "warmup",
                                                    [INTERVAL_LIMIT] = "limit",
                                                    [INTERVAL_SOCKETS] = "sockets",
                                                    [INTERVAL_PATH] = "connections",
                                                    [REASON_DOWN] = "not running",
                                                    [REASON_TIME] = "time",
                                                    [REASON_CLAIM] = "connection",
                                                    [REASON_ATTEMPT] = "attempt",
                                                    [REASON_HELD] = "held",
                                                    [REASON_TURN] = "turn"};
    return kind < REASON_KINDS && names[kind] ? names[kind] : "of a later version";
}

struct reasons *reasons_new(void)
{
    struct reasons *rs = mem_zalloc(sizeof *rs);
    /* Keys come from our own journal; an order that chance gives would be seen nowhere. */
    map_init(&rs->by_key, (struct hash_key){1, 2});
    map_init(&rs->places, (struct hash_key){1, 2});
    return rs;
}

void reasons_free(struct reasons *rs)
{
    if (!rs)
        return;
    map_free(&rs->by_key);
    map_free(&rs->places);
    arena_free(&rs->arena);
    buf_free(&rs->key);
    free(rs->runs);
    free(rs->v);
    free(rs);
}

/* --- learning --- */

/* The last process did something then. */
static void lived(struct reasons *rs, int64_t at_ms)
{
    struct run *last = rs->nruns ? &rs->runs[rs->nruns - 1] : NULL;
    /* What came long after its last sign of life was written by others, while it was away. */
    if (last && at_ms > last->end_ms && at_ms <= last->end_ms + INTERVAL_ALIVE_MS + 1000)
        last->end_ms = at_ms;
}

static void learn_up(struct reasons *rs, const struct rec_interval *i)
{
    struct run *last = rs->nruns ? &rs->runs[rs->nruns - 1] : NULL;
    int64_t end = i->end_ms ? i->end_ms : i->begin_ms;
    if (last && last->begin_ms == i->begin_ms) {
        if (end > last->end_ms)
            last->end_ms = end;
        return;
    }
    rs->runs = mem_realloc(rs->runs, (rs->nruns + 1) * sizeof *rs->runs);
    rs->runs[rs->nruns++] = (struct run){i->begin_ms, end};
}

static void put_key(struct buf *out, const struct rec_interval *i)
{
    const uint64_t head[] = {i->kind, (uint64_t)i->begin_ms, i->isp, i->source, i->stream,
                             i->pool, i->campaign,           i->from};
    /* Where DNS leads is not known from the beginning. */
    size_t n = i->kind == INTERVAL_DNS ? 2 : COUNT(head);
    buf_clear(out);
    buf_add(out, head, n * sizeof *head);
    buf_adds(out, i->domain);
    buf_addc(out, '\0');
    if (i->kind != INTERVAL_DNS)
        buf_adds(out, i->mx);
    buf_addc(out, '\0');
    buf_adds(out, i->why);
}

static void learn_place(struct reasons *rs, struct slice domain, struct slice isp, struct slice mx)
{
    struct place *p = map_get(&rs->places, domain);
    if (!p) {
        p = arena_zalloc(&rs->arena, sizeof *p);
        map_put(&rs->places, domain, p);
    }
    if (!p->isp.p || !slice_eq(p->isp, isp))
        p->isp = arena_copy(&rs->arena, isp);
    if (!p->mx.p || !slice_eq(p->mx, mx))
        p->mx = arena_copy(&rs->arena, mx);
}

/* A name that is not known is no word of any message. */
static struct slice key_text(struct reasons *rs, const struct event_names *names, enum rec_name_kind kind,
                             uint32_t number)
{
    struct slice name = event_name(names, kind, number);
    return number && !name.n ? S("\n") : arena_copy(&rs->arena, name);
}

static void learn_interval(struct reasons *rs, const struct rec_interval *i, const struct event_names *names)
{
    put_key(&rs->key, i);
    size_t at = (size_t)(uintptr_t)map_get(&rs->by_key, buf_slice(&rs->key));
    struct slice isp = event_name(names, NAME_ISP, i->isp);
    if (i->kind == INTERVAL_DNS && isp.n)
        learn_place(rs, i->domain, isp, i->mx);
    if (!at) {
        if (rs->n == rs->cap) {
            rs->cap = rs->cap ? rs->cap * 2 : 256;
            rs->v = mem_realloc(rs->v, rs->cap * sizeof *rs->v);
        }
        at = ++rs->n;
        map_put(&rs->by_key, buf_slice(&rs->key), (void *)(uintptr_t)at);
        rs->v[at - 1] = (struct known){.kind = (enum interval_kind)i->kind,
                                       .begin_ms = i->begin_ms,
                                       .who = {.isp = key_text(rs, names, NAME_ISP, i->isp),
                                               .mx = arena_copy(&rs->arena, i->mx),
                                               .source = key_text(rs, names, NAME_SOURCE, i->source),
                                               .stream = key_text(rs, names, NAME_STREAM, i->stream),
                                               .pool = key_text(rs, names, NAME_POOL, i->pool),
                                               .campaign = key_text(rs, names, NAME_CAMPAIGN, i->campaign),
                                               .domain = arena_copy(&rs->arena, i->domain),
                                               .from = key_text(rs, names, NAME_DOMAIN, i->from)},
                                       .why = arena_copy(&rs->arena, i->why)};
    }
    struct known *k = &rs->v[at - 1];
    k->end_ms = i->end_ms;
    k->until_ms = i->until_ms;
    k->run = rs->nruns;
}

void reasons_learn(struct reasons *rs, const struct rec *r, const struct event_names *names)
{
    switch (r->type) {
    case REC_INTERVAL:
        if (r->interval.kind == INTERVAL_UP)
            learn_up(rs, &r->interval);
        else
            learn_interval(rs, &r->interval, names);
        lived(rs, r->interval.end_ms ? r->interval.end_ms : r->interval.begin_ms);
        break;
    case REC_BEGIN:
        lived(rs, r->begin.at_ms);
        break;
    case REC_EVENT:
        lived(rs, r->event.at_ms);
        break;
    case REC_SESSION:
        lived(rs, r->session.at_ms);
        break;
    case REC_NAME:
    case REC_RECIPIENT:
    case REC_KEY:
    case REC_CAMPAIGN:
    case REC_MEASURE:
    case REC_STEER:
    case REC_DUE:
        break;
    default: /* of rooms that say nothing of time */
        break;
    }
}

void reasons_end(struct reasons *rs, int64_t now_ms, bool running)
{
    rs->now_ms = now_ms;
    if (running && rs->nruns)
        rs->runs[rs->nruns - 1].end_ms = now_ms;
    for (size_t i = 0; i < rs->n; i++) {
        struct known *k = &rs->v[i];
        if (!k->end_ms)
            k->end_ms = k->run ? rs->runs[k->run - 1].end_ms : now_ms;
    }
    /* How it was between two processes; a little of what the first of them did last may not have reached the
     * journal. That explains only what nothing else does. */
    for (size_t i = 0; i < rs->nruns; i++) {
        if (i + 1 == rs->nruns && running)
            break;
        if (rs->n == rs->cap) {
            rs->cap = rs->cap ? rs->cap * 2 : 256;
            rs->v = mem_realloc(rs->v, rs->cap * sizeof *rs->v);
        }
        struct known *down = &rs->v[rs->n++];
        *down = (struct known){.kind = (enum interval_kind)REASON_DOWN,
                               .begin_ms = rs->runs[i].end_ms - INTERVAL_WRITE_MS,
                               .end_ms = i + 1 < rs->nruns ? rs->runs[i + 1].begin_ms : now_ms,
                               .why = S("because hato was not running")};
        down->who = (struct reasons_who){SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE,
                                         SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE};
    }
}

int64_t reasons_run_end_ms(const struct reasons *rs, int64_t at_ms)
{
    for (size_t i = rs->nruns; i-- > 0;)
        if (rs->runs[i].begin_ms <= at_ms)
            return rs->runs[i].end_ms < rs->now_ms ? rs->runs[i].end_ms : INT64_MAX;
    return INT64_MAX;
}

bool reasons_place(const struct reasons *rs, struct slice domain, struct slice *isp, struct slice *mx)
{
    const struct place *p = map_get(&rs->places, domain);
    if (!p)
        return false;
    *isp = p->isp;
    *mx = p->mx;
    return true;
}

/* --- joining --- */

/* A key of an interval fits a word of the message; what is not known of it fits nothing, or anything. */
static bool fits_known(struct slice key, struct slice word)
{
    return !key.n || slice_eq(key, word);
}

static bool fits_or_unknown(struct slice key, struct slice word)
{
    return !word.n || fits_known(key, word);
}

static bool fits(const struct known *k, const struct reasons_who *who)
{
    const struct reasons_who *w = &k->who;
    if (k->kind == INTERVAL_CAMPAIGN)
        return slice_eq(w->campaign, who->campaign) && fits_known(w->stream, who->stream);
    if (k->kind == INTERVAL_DNS) /* its isp is an answer */
        return slice_eq(w->domain, who->domain);
    return fits_known(w->isp, who->isp) && fits_or_unknown(w->mx, who->mx) &&
           fits_known(w->stream, who->stream) && fits_known(w->pool, who->pool) &&
           fits_known(w->campaign, who->campaign) && fits_known(w->domain, who->domain) &&
           fits_known(w->from, who->from);
}

struct piece {
    struct reason r;
    unsigned rank; /* the lowest explains */
};

static int by_rank(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    int64_t lx = x->r.end_ms - x->r.begin_ms, ly = y->r.end_ms - y->r.begin_ms;
    if (lx != ly)
        return lx > ly ? -1 : 1;
    return x->r.begin_ms < y->r.begin_ms ? -1 : x->r.begin_ms > y->r.begin_ms;
}

struct cover {
    struct reason *v; /* in order of time */
    size_t n, cap;
};

static void cover_insert(struct cover *c, size_t at, struct reason r)
{
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->v = mem_realloc(c->v, c->cap * sizeof *c->v);
    }
    memmove(c->v + at + 1, c->v + at, (c->n - at) * sizeof *c->v);
    c->v[at] = r;
    c->n++;
}

/* Take r for what of it nothing explains yet. */
static void cover_by(struct cover *c, const struct reason *r)
{
    for (size_t i = 0; i < c->n && c->v[i].begin_ms < r->end_ms; i++) {
        struct reason gap = c->v[i], mine = *r;
        if (gap.kind != REASON_NONE || gap.end_ms <= r->begin_ms)
            continue;
        if (mine.begin_ms < gap.begin_ms)
            mine.begin_ms = gap.begin_ms;
        if (mine.end_ms > gap.end_ms)
            mine.end_ms = gap.end_ms;
        c->v[i] = mine;
        if (mine.begin_ms > gap.begin_ms) {
            struct reason before = gap;
            before.end_ms = mine.begin_ms;
            cover_insert(c, i++, before);
        }
        if (mine.end_ms < gap.end_ms) {
            struct reason after = gap;
            after.begin_ms = mine.end_ms;
            cover_insert(c, ++i, after);
        }
    }
}

void reasons_of(const struct reasons *rs, const struct reasons_who *who, const struct reason *own,
                size_t nown, int64_t from_ms, int64_t to_ms, void (*fn)(void *data, const struct reason *r),
                void *data)
{
    struct piece *pieces = NULL;
    size_t n = 0, cap = 0;
    struct cover c = {0};
    if (!rs->nruns)
        return;
    if (from_ms < rs->runs[0].begin_ms)
        from_ms = rs->runs[0].begin_ms;
    if (from_ms >= to_ms)
        return;
    for (size_t i = 0; i < rs->n + nown; i++) {
        const struct known *k = i < rs->n ? &rs->v[i] : NULL;
        struct piece p = {0};
        if (k) {
            if (k->begin_ms >= to_ms || k->end_ms <= from_ms || !fits(k, who))
                continue;
            p.r = (struct reason){k->kind, k->begin_ms, k->end_ms, k->why, k->until_ms};
            p.rank = (unsigned)k->kind * 2 + !fits_or_unknown(k->who.source, who->source);
        } else {
            p.r = own[i - rs->n];
        }
        if (n == cap) {
            cap = cap ? cap * 2 : 16;
            pieces = mem_realloc(pieces, cap * sizeof *pieces);
        }
        pieces[n++] = p;
    }
    if (n)
        qsort(pieces, n, sizeof *pieces, by_rank);
    cover_insert(&c, 0, (struct reason){REASON_NONE, from_ms, to_ms, SLICE_NONE, 0});
    for (size_t i = 0; i < n; i++)
        cover_by(&c, &pieces[i].r);
    for (size_t i = 0; i < c.n; i++) {
        struct reason *r = &c.v[i];
        if (r->kind == REASON_NONE && r->end_ms - r->begin_ms < REASONS_TURN_MS) {
            r->kind = REASON_TURN;
            r->why = S("for hato to come to it, which was at other work");
        }
        fn(data, r);
    }
    free(pieces);
    free(c.v);
}
