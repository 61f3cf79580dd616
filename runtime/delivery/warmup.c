/* warmup.c - see warmup.h. */
#include "delivery/warmup.h"
#include "base/map.h"
#include "base/words.h"

#include <stdlib.h>

enum { MILLION = 1000000, DAYS_MOST = 10000000 };

struct warmups {
    struct warmups_conf conf;
    struct map by_key;
    struct buf key;
};

struct warmups *warmups_new(const struct warmups_conf *conf)
{
    struct hash_key hk;
    if (!conf->conf->nwarmups)
        return NULL;
    struct warmups *ws = mem_zalloc(sizeof *ws);
    ws->conf = *conf;
    loop_random_bytes(conf->loop, &hk, sizeof hk);
    map_init(&ws->by_key, hk);
    return ws;
}

void warmups_free(struct warmups *ws)
{
    size_t at = 0;
    if (!ws)
        return;
    for (struct warmup *w; (w = warmups_next(ws, &at));) {
        pace_free(&w->pace);
        free((char *)w->isp.p);
        free((char *)w->from.p);
        free(w->why);
        free(w);
    }
    map_free(&ws->by_key);
    buf_free(&ws->key);
    free(ws);
}

struct warmup *warmups_next(const struct warmups *ws, size_t *at)
{
    struct map_entry *e = ws ? map_next(&ws->by_key, at) : NULL;
    return e ? e->value : NULL;
}

struct warmup *warmups_get(struct warmups *ws, const struct conf_warmup *conf, struct slice isp,
                           struct slice from)
{
    uint32_t head[2] = {(uint32_t)(conf - ws->conf.conf->warmups), (uint32_t)isp.n};
    buf_clear(&ws->key);
    buf_add(&ws->key, head, sizeof head);
    buf_adds(&ws->key, isp);
    buf_adds(&ws->key, from);
    struct warmup *w = map_get(&ws->by_key, buf_slice(&ws->key));
    if (w)
        return w;
    w = mem_zalloc(sizeof *w);
    *w = (struct warmup){.conf = conf,
                         .isp = slice_of(mem_dup(isp.p, isp.n), isp.n),
                         .from = slice_of(mem_dup(from.p, from.n), from.n),
                         .state = warmup_fresh(),
                         .all = ws,
                         .looked_ms = INT64_MAX,
                         .last_ms = INT64_MIN};
    map_put(&ws->by_key, buf_slice(&ws->key), w);
    return w;
}

const struct tz *warmups_zone(const struct warmups *ws)
{
    return ws->conf.zone;
}

struct warmup *warmups_find(struct warmups *ws, struct slice source, struct slice isp, struct slice from)
{
    const struct conf *c = ws ? ws->conf.conf : NULL;
    uint16_t index = ws && isp.n && from.n ? conf_find_source(c, source) : CONF_NONE;
    if (index == CONF_NONE)
        return NULL;
    uint16_t known = conf_find_isp(c, isp);
    const struct conf_warmup *conf = conf_warmup_of(c, index, known == CONF_NONE ? NULL : &c->isps[known]);
    return conf ? warmups_get(ws, conf, isp, from) : NULL;
}

static bool stream_has(const struct conf *c, const struct conf_stream *s, uint16_t source)
{
    if (s->pool == CONF_NONE)
        return true;
    for (size_t i = 0; i < c->pools[s->pool].nmembers; i++)
        if (c->pools[s->pool].members[i].source == source)
            return true;
    return false;
}

void warmups_make(struct warmups *ws)
{
    const struct conf *c = ws ? ws->conf.conf : NULL;
    for (size_t i = 0; ws && i < c->nwarmups; i++)
        for (size_t k = 0; c->warmups[i].isp != CONF_NONE && k < c->nstreams; k++)
            if (stream_has(c, &c->streams[k], c->warmups[i].source))
                warmups_get(ws, &c->warmups[i], c->isps[c->warmups[i].isp].name, c->streams[k].domain);
}

/* --- what it allows --- */

static int64_t wall(const struct warmup *w)
{
    return loop_wall_ms(w->all->conf.loop);
}

static int64_t now(const struct warmup *w)
{
    return loop_now_ms(w->all->conf.loop);
}

/* The row of permits goes on behind the last one, at the new rate. */
static void set_pace(struct warmup *w, const struct pace_rate *rate)
{
    if (!rate->quota || (w->pace.rate.quota == rate->quota && w->pace.rate.per_ms == rate->per_ms))
        return;
    pace_free(&w->pace);
    pace_init(&w->pace, rate);
    if (w->last_ms != INT64_MIN)
        pace_take(&w->pace, w->last_ms);
}

const struct warmup_today *warmup_today(struct warmup *w)
{
    int64_t utc_ms = wall(w);
    if (utc_ms < w->looked_ms || utc_ms >= w->today.next_open_ms) {
        warmup_look(&w->conf->curve, w->all->conf.zone, &w->state, utc_ms, &w->today);
        w->looked_ms = utc_ms;
        set_pace(w, &w->today.pace);
    }
    return &w->today;
}

static bool is_used_up(const struct warmup *w, const struct warmup_today *t)
{
    bool of_day = w->conf->curve.per_day && t->used + (uint64_t)w->pending >= t->quota;
    return of_day || !t->pace.quota;
}

int64_t warmup_due_ms(struct warmup *w)
{
    const struct warmup_today *t = warmup_today(w);
    int64_t utc_ms = wall(w), to_loop = now(w) - utc_ms, due = INT64_MIN;
    if (!is_used_up(w, t)) {
        due = pace_due_ms(&w->pace);
        if (utc_ms < t->close_ms && due < t->close_ms + to_loop)
            return due;
    }
    int64_t open = t->next_open_ms + to_loop;
    return due > open ? due : open;
}

bool warmups_were_closed(const struct warmups *ws, const struct conf_warmup *conf, int64_t at_ms,
                         int64_t *next_ms)
{
    struct warmup_state any = warmup_fresh();
    struct warmup_today t;
    if (conf->curve.open_s == conf->curve.close_s)
        return false;
    warmup_look(&conf->curve, ws->conf.zone, &any, at_ms, &t);
    int64_t change = at_ms < t.close_ms ? t.close_ms : t.next_open_ms;
    *next_ms = change < *next_ms ? change : *next_ms;
    return at_ms >= t.close_ms;
}

int64_t warmup_permit_ms(struct warmup *w)
{
    int64_t due = warmup_due_ms(w);
    return wall(w) + (due > now(w) ? due - now(w) : 0);
}

void warmup_take(struct warmup *w)
{
    warmup_today(w);
    pace_take(&w->pace, now(w));
    w->last_ms = now(w);
    w->pending++;
}

static void look_again(struct warmup *w)
{
    w->looked_ms = INT64_MAX;
    warmup_today(w);
    if (w->changed)
        w->changed(w->changed_data);
}

/* As warmup_turn(); of millions of mails on one day only the first asks the calendar. */
static bool turn(struct warmup *w, int64_t utc_ms)
{
    struct warmup_today t;
    if (utc_ms >= w->turned_ms && utc_ms < w->turned_until_ms)
        return false;
    bool is_first = warmup_turn(&w->conf->curve, w->all->conf.zone, &w->state, utc_ms);
    warmup_look(&w->conf->curve, w->all->conf.zone, &w->state, utc_ms, &t);
    w->turned_ms = t.open_ms;
    w->turned_until_ms = t.next_open_ms;
    return is_first;
}

static void record(struct warmup *w)
{
    w->recorded_ms = wall(w);
    w->all->conf.record(w->all->conf.data, w);
}

bool warmups_record(struct warmups *ws, int64_t since_ms)
{
    size_t at = 0;
    bool any = false;
    for (struct warmup *w; (w = warmups_next(ws, &at));) {
        if (w->state.day == WARMUP_NEVER || w->recorded_ms > since_ms)
            continue;
        record(w);
        any = true;
    }
    return any;
}

static void settle_pending(struct warmup *w)
{
    if (w->pending) /* its domain may have moved to another receiver meanwhile */
        w->pending--;
}

void warmup_return(struct warmup *w, bool last)
{
    settle_pending(w);
    if (last)
        pace_return(&w->pace);
}

void warmup_begin(struct warmup *w, bool last)
{
    settle_pending(w);
    if (last) {
        pace_return(&w->pace);
        pace_take(&w->pace, now(w));
        w->last_ms = now(w);
    }
    if (turn(w, wall(w))) {
        look_again(w);
        record(w);
    }
    w->state.used++;
    w->today.used = w->state.used;
}

void warmup_spend(struct warmup *w)
{
    warmup_today(w);
    if (w->pace.rate.quota)
        pace_take(&w->pace, now(w));
    w->last_ms = now(w);
}

void warmup_watch(struct warmup *w, void (*fn)(void *data), void *data)
{
    w->changed = fn;
    w->changed_data = data;
}

uint64_t warmup_room(struct warmup *w)
{
    const struct warmup_today *t = warmup_today(w);
    const struct tz *zone = w->all->conf.zone;
    int64_t utc_ms = wall(w), permit_ms = warmup_permit_ms(w), left_ms = t->close_ms - permit_ms;
    if (left_ms > 0) {
        uint64_t by_pace = 1 + (uint64_t)(left_ms - 1) * t->pace.quota / (uint64_t)t->pace.per_ms;
        uint64_t of_day = t->quota > t->used + (uint64_t)w->pending ? t->quota - t->used - w->pending : 0;
        return w->conf->curve.per_day && of_day < by_pace ? of_day : by_pace;
    }
    /* Closed: does it open once more before midnight? */
    int64_t local_s = utc_ms / 1000 + (zone ? tz_offset(zone, utc_ms / 1000) : 0);
    int64_t midnight_s = tz_wall_to_utc(zone, (local_s / 86400 + 1) * 86400);
    if (t->next_open_ms >= midnight_s * 1000)
        return 0;
    struct warmup_today next;
    warmup_look(&w->conf->curve, zone, &w->state, t->next_open_ms, &next);
    return next.quota;
}

void warmup_text(struct warmup *w, struct buf *out)
{
    const struct warmup_today *t = warmup_today(w);
    buf_printf(out, "warm-up %.*s×%.*s (", SLICE_FMT(w->all->conf.conf->sources[w->conf->source].name),
               SLICE_FMT(w->isp));
    warmup_rate_text(&w->conf->curve, t->step, out);
    buf_printf(out, ", day %u)", t->position + 1);
}

/* --- answers --- */

static struct warmup_part *part_at(struct warmup *w, int64_t at_ms)
{
    int64_t number = at_ms / (w->conf->retreat_over_ms / WARMUP_PARTS);
    struct warmup_part *p = &w->parts[number % WARMUP_PARTS];
    if (p->number != number)
        *p = (struct warmup_part){.number = number};
    return p;
}

static void retreat(struct warmup *w, uint64_t hits, uint64_t answers, enum reply_class cls)
{
    const struct warmup_curve *c = &w->conf->curve;
    struct warmups *ws = w->all;
    size_t was = warmup_today(w)->step;
    struct buf why = {0}, text = {0};
    if (!warmup_retreat(c, ws->conf.zone, &w->state, wall(w)))
        return;
    memset(w->parts, 0, sizeof w->parts);
    look_again(w);
    size_t step = warmup_today(w)->step;
    buf_printf(&why, "%llu of %llu answers within ", (unsigned long long)hits, (unsigned long long)answers);
    words_duration_text(&why, w->conf->retreat_over_ms);
    buf_printf(&why, " were %s: ", class_name(cls));
    if (was == step) {
        buf_adds(&why, S("at the first step still, its days begin anew at "));
    } else {
        buf_adds(&why, S("back from "));
        warmup_rate_text(c, was, &why);
        buf_adds(&why, S(" to "));
    }
    warmup_rate_text(c, step, &why);
    free(w->why);
    w->why = mem_dup(why.p, why.n);
    record(w);
    buf_printf(&text, "warm-up source=%.*s isp=%.*s from=%.*s %s (%.*s:%d)",
               SLICE_FMT(ws->conf.conf->sources[w->conf->source].name), SLICE_FMT(w->isp), SLICE_FMT(w->from),
               w->why, SLICE_FMT(w->conf->place.file), w->conf->place.line);
    ws->conf.notice(ws->conf.data, buf_cstr(&text));
    buf_free(&text);
    buf_free(&why);
}

static void answer(struct warmup *w, bool delivered, enum reply_class cls, int64_t at_ms, bool live)
{
    const struct conf_warmup *c = w->conf;
    uint64_t hits = 0, answers = 0;
    if (delivered && w->state.day != WARMUP_NEVER)
        w->today.delivered = ++w->state.delivered;
    if (!c->retreat_classes || at_ms <= 0)
        return;
    struct warmup_part *part = part_at(w, at_ms);
    bool is_hit = !delivered && c->retreat_classes & 1ull << cls;
    part->answers++;
    part->hits += is_hit;
    if (!is_hit || !live)
        return;
    for (size_t i = 0; i < WARMUP_PARTS; i++) {
        if (w->parts[i].number + WARMUP_PARTS <= part->number || w->parts[i].number > part->number)
            continue;
        hits += w->parts[i].hits;
        answers += w->parts[i].answers;
    }
    if (hits >= c->retreat_least && hits * MILLION > answers * c->retreat_above_ppm)
        retreat(w, hits, answers, cls);
}

void warmups_answer(struct warmups *ws, struct slice source, struct slice isp, struct slice from,
                    bool delivered, enum reply_class cls, int64_t at_ms, bool live)
{
    struct warmup *w = warmups_find(ws, source, isp, from);
    if (w)
        answer(w, delivered, cls, at_ms, live);
}

void warmups_refused(struct warmups *ws, uint16_t source, struct slice isp, enum reply_class cls)
{
    size_t at = 0;
    for (struct warmup *w; (w = warmups_next(ws, &at));)
        if (w->conf->source == source && slice_eq(w->isp, isp))
            answer(w, false, cls, wall(w), true);
}

bool warmups_would_retreat(const struct warmups *ws, uint16_t source, struct slice isp, enum reply_class cls)
{
    size_t at = 0;
    for (struct warmup *w; (w = warmups_next(ws, &at));)
        if (w->conf->source == source && slice_eq(w->isp, isp) && w->conf->retreat_classes & 1ull << cls &&
            warmup_today(w)->step > 0 && !warmup_today(w)->retreated)
            return true;
    return false;
}

/* --- by hand, and after a restart --- */

size_t warmups_set(struct warmups *ws, struct slice source, struct slice isp, struct slice from, uint32_t n)
{
    size_t at = 0, touched = 0;
    warmups_make(ws);
    for (struct warmup *w; (w = warmups_next(ws, &at));) {
        if (!slice_eq(ws->conf.conf->sources[w->conf->source].name, source) || !slice_eq(w->isp, isp) ||
            (from.n && !slice_eq(w->from, from)))
            continue;
        warmup_set(&w->conf->curve, ws->conf.zone, &w->state, wall(w), n);
        free(w->why);
        w->why = NULL;
        look_again(w);
        record(w);
        touched++;
    }
    return touched;
}

static bool is_a_day(int64_t day)
{
    return day > -DAYS_MOST && day < DAYS_MOST;
}

void warmup_restore(struct warmup *w, const struct warmup_state *s, struct slice why)
{
    if (s->retreat_day == s->day && s->retreat_day != w->state.retreat_day)
        memset(w->parts, 0, sizeof w->parts);
    w->state = *s;
    if (!is_a_day(s->day) || s->position >= WARMUP_DAY_MOST)
        w->state = warmup_fresh();
    if (!is_a_day(s->retreat_day))
        w->state.retreat_day = WARMUP_NEVER;
    free(w->why);
    w->why = why.n ? mem_dup(why.p, why.n) : NULL;
    w->looked_ms = INT64_MAX;
    w->turned_until_ms = 0;
}

void warmup_count(struct warmup *w, int64_t at_ms, int64_t now_ms)
{
    turn(w, at_ms);
    w->state.used++;
    w->looked_ms = INT64_MAX;
    if (now_ms > w->last_ms)
        w->last_ms = now_ms;
    pace_free(&w->pace); /* made again behind it */
}
