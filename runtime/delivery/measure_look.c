/* measure_look.c - measures as they are seen: what each allows now, its words, and its record. */
#include "delivery/measure_impl.h"
#include "base/json.h"
#include "format/text.h"

#include <stdio.h>
#include <stdlib.h>

static const int64_t DAY_US = (int64_t)86400 * 1000000, DAY_MS = (int64_t)86400 * 1000;
enum {
    NUMBER_MOST = 1 << 30,
    RATE_LEAST = 24,
    RATE_TELLING = 60 * 24
}; /* mails a day: the slowest; enough to measure by */

static bool closes(const struct measure *m)
{
    return m->kind == ACT_SUSPEND || m->kind == ACT_PAUSE || m->kind == ACT_NEXT_SOURCE;
}

uint32_t measure_share(const struct measure *m, int64_t wall_ms)
{
    if (wall_ms < m->until_ms)
        return m->factor_ppm;
    if (m->recover_ms <= 0 || wall_ms >= m->until_ms + m->recover_ms)
        return ACT_WHOLE;
    int64_t step = (wall_ms - m->until_ms) * MEASURE_STEPS / m->recover_ms + 1;
    return m->factor_ppm + (uint32_t)((ACT_WHOLE - m->factor_ppm) * step / (MEASURE_STEPS + 1));
}

bool measure_is_closed(const struct measure *m, int64_t wall_ms)
{
    return closes(m) && wall_ms < m->until_ms;
}

int64_t measure_interval_us(const struct measure *m, int64_t wall_ms)
{
    if (m->kind == MEASURE_BACKOFF)
        return m->backoff->per_day && m->backoff->state == BACKOFF_PACED ? DAY_US / m->backoff->per_day : 0;
    bool paced = m->kind == ACT_SLOW || (closes(m) && m->per_day >= RATE_TELLING);
    if (!paced || measure_is_closed(m, wall_ms))
        return 0;
    int64_t base = m->per_day > RATE_TELLING ? m->per_day : RATE_TELLING;
    int64_t rate = base * measure_share(m, wall_ms) / ACT_WHOLE;
    return DAY_US / (rate > RATE_LEAST ? rate : RATE_LEAST);
}

bool measure_holds(const struct measure *m)
{
    if (m->over_ms || m->kind == MEASURE_BACKOFF)
        return !m->over_ms;
    return loop_wall_ms(m->measures->conf.loop) < m->until_ms + m->recover_ms; /* its isp may not be met */
}

bool measure_is_about(const struct measure *m, const struct path *p, const struct site *s,
                      const struct campaign *c)
{
    if (m->scope != ACT_SOURCE && m->at != p->isp)
        return false;
    switch (m->scope) {
    case ACT_PATH:
    case ACT_SOURCE:
        return m->source_index == p->source;
    case ACT_SITE:
        return s && slice_eq(slice_cstr(m->what), s->key);
    case ACT_STREAM:
        return c && c->stream->conf && slice_eq(slice_cstr(m->what), c->stream->conf->domain);
    case ACT_CAMPAIGN:
        return c && slice_eq(slice_cstr(m->what), c->name);
    case ACT_ONE_STREAM:
        return c && slice_eq(slice_cstr(m->what), c->stream->name);
    case ACT_SCOPES:
        break;
    }
    return false;
}

struct measure *measures_next(const struct measures *ms, const struct measure *after)
{
    return after ? after->next : ms->first;
}

const char *measure_kind_name(unsigned kind)
{
    return kind == MEASURE_BACKOFF ? "back-off" : act_kind_name((enum act_kind)kind);
}

void measure_name(struct buf *out, uint32_t number)
{
    buf_printf(out, "M%u", number);
}

static void rate_words(struct buf *out, int64_t per_day)
{
    if (per_day >= (int64_t)24 * 3600)
        buf_printf(out, "at %lld/s", (long long)(per_day / (24 * 3600)));
    else if (per_day >= (int64_t)24 * 2)
        buf_printf(out, "at %lld/h", (long long)(per_day / 24));
    else
        buf_printf(out, "at %lld/d", (long long)per_day);
}

void measure_allows(struct buf *out, const struct measure *m)
{
    int64_t now = loop_wall_ms(m->measures->conf.loop), interval = measure_interval_us(m, now);
    if (m->kind == MEASURE_BACKOFF && m->backoff->state == BACKOFF_SHUT)
        buf_adds(out, now < m->backoff->until_ms ? S("nothing goes") : S("one mail tries"));
    else if (measure_is_closed(m, now))
        buf_adds(out, S("nothing goes"));
    else if (interval)
        rate_words(out, DAY_US / interval);
    else if (m->kind == ACT_FEWER)
        buf_printf(out, "%u connections at most",
                   (unsigned)((uint64_t)m->connections * measure_share(m, now) / ACT_WHOLE > 0
                                  ? (uint64_t)m->connections * measure_share(m, now) / ACT_WHOLE
                                  : 1));
    else
        buf_adds(out, S("one connection to begin with"));
}

static bool has_no_end(const struct measure *m)
{
    return m->until_ms - m->begin_ms >= MEASURE_NO_END_MS;
}

int64_t measure_changes_ms(const struct measure *m)
{
    int64_t now = loop_wall_ms(m->measures->conf.loop);
    if (m->kind == MEASURE_BACKOFF)
        return m->backoff->state == BACKOFF_SHUT && now < m->backoff->until_ms ? m->backoff->until_ms : 0;
    if (has_no_end(m))
        return 0;
    if (now < m->until_ms || m->recover_ms <= 0)
        return m->until_ms;
    return m->until_ms + m->recover_ms;
}

const struct measure *measures_holder(const struct path *p, const struct site *s, const struct campaign *c,
                                      int64_t *until_ms)
{
    const struct measures *ms = p->paths->measures;
    const struct measure *found = NULL;
    int64_t wall = loop_wall_ms(ms->conf.loop), now_us = loop_now_ms(ms->conf.loop) * 1000;
    *until_ms = 0;
    for (int list = 0; list < 2; list++) {
        for (const struct measure *m = list ? ms->of_sources : p->isp->measures; m; m = m->next_there) {
            int64_t until = 0;
            if (!measure_is_about(m, p, s, c))
                continue;
            if (measure_is_closed(m, wall))
                until = has_no_end(m) ? INT64_MAX : m->until_ms;
            else if (m->kind == MEASURE_BACKOFF && wall < m->backoff->until_ms &&
                     m->backoff->state == BACKOFF_SHUT)
                until = m->backoff->until_ms;
            else if (m->next_us > now_us)
                until = wall + (m->next_us - now_us + 999) / 1000;
            else if (m->kind == MEASURE_BACKOFF && !backoff_may_send(m->backoff, wall))
                until = wall; /* one tries */
            if (until > *until_ms) {
                *until_ms = until;
                found = m;
            }
        }
    }
    return found;
}

bool measures_were_closed(const struct measures *ms, const struct path *p, const struct site *s,
                          const struct campaign *c, int64_t at_ms, int64_t *next_ms)
{
    bool closed = false;
    for (const struct measure *m = ms->first; m; m = m->next) {
        int64_t end = m->over_ms && m->over_ms < m->until_ms ? m->over_ms : m->until_ms;
        if (!closes(m) || end <= at_ms || !measure_is_about(m, p, s, c))
            continue;
        int64_t change = m->begin_ms > at_ms ? m->begin_ms : end;
        closed |= m->begin_ms <= at_ms;
        *next_ms = change < *next_ms ? change : *next_ms;
    }
    return closed;
}

static void put(struct buf *out, const char *name, struct slice text)
{
    struct buf safe = {0};
    buf_printf(out, ",\"%s\":", name);
    text_safe(&safe, text);
    if (text.n)
        json_quote(out, buf_slice(&safe));
    else
        buf_adds(out, S("null"));
    buf_free(&safe);
}

static void put_time(struct buf *out, const char *name, int64_t utc_ms)
{
    struct buf text = {0};
    if (utc_ms)
        text_time(&text, utc_ms);
    put(out, name, buf_slice(&text));
    buf_free(&text);
}

void measure_text(struct buf *out, const struct measure *m)
{
    buf_adds(out, S("measure "));
    measure_name(out, m->number);
    buf_printf(out, " (%s, ", measure_kind_name(m->kind));
    measure_allows(out, m);
    buf_printf(out, ") by %s: ", m->rule);
    text_safe(out, slice_cstr(m->why));
}

void measure_json(struct buf *out, const struct measure *m, uint64_t waiting)
{
    struct buf allows = {0};
    struct slice what = slice_cstr(m->what);
    measure_allows(&allows, m);
    buf_printf(out, "{\"measure\":\"%s\",\"name\":\"", measure_kind_name(m->kind));
    measure_name(out, m->number);
    buf_addc(out, '"');
    put(out, "scope", slice_cstr(act_scope_name(m->scope)));
    put(out, "isp", slice_cstr(m->isp));
    put(out, "source", slice_cstr(m->source));
    put(out, "site", m->scope == ACT_SITE ? what : SLICE_NONE);
    put(out, "domain", m->scope == ACT_STREAM ? what : SLICE_NONE);
    put(out, "stream", m->scope == ACT_ONE_STREAM ? what : SLICE_NONE);
    put(out, "campaign", m->scope == ACT_CAMPAIGN ? what : SLICE_NONE);
    put(out, "rule", slice_cstr(m->rule));
    put(out, "why", slice_cstr(m->why));
    put(out, "allows", buf_slice(&allows));
    put_time(out, "since", m->begin_ms);
    put_time(out, "until", measure_changes_ms(m));
    buf_printf(out, ",\"waiting\":%llu}", (unsigned long long)waiting);
    buf_free(&allows);
}

struct measure *measures_find(const struct measures *ms, struct slice name)
{
    struct buf mine = {0};
    struct measure *m = ms->first;
    for (; m; m = m->next) {
        buf_clear(&mine);
        measure_name(&mine, m->number);
        if (measure_holds(m) && slice_ieq(buf_slice(&mine), name))
            break;
    }
    buf_free(&mine);
    return m;
}

int measures_lift(struct measures *ms, struct slice name)
{
    struct measure *m = measures_find(ms, name);
    if (!m)
        return ERR_NOTFOUND;
    m->lifted = true;
    measure_over(m, loop_wall_ms(ms->conf.loop));
    if (ms->conf.changed)
        ms->conf.changed(ms->conf.data, m);
    return 0;
}

/* --- the journal --- */

void measure_record(const struct measure *m, int64_t now_ms, struct rec_measure *out)
{
    *out = (struct rec_measure){.at_ms = now_ms,
                                .number = m->number,
                                .kind = (uint8_t)m->kind,
                                .scope = (uint8_t)m->scope,
                                .begin_ms = m->begin_ms,
                                .until_ms = m->until_ms,
                                .recover_ms = m->recover_ms,
                                .over_ms = m->over_ms,
                                .lifted = m->lifted,
                                .factor_ppm = m->factor_ppm,
                                .per_day = m->per_day,
                                .connections = m->connections,
                                .cause = m->cause,
                                .what = slice_cstr(m->what),
                                .rule = slice_cstr(m->rule),
                                .why = slice_cstr(m->why)};
    if (m->backoff) {
        const struct backoff *b = m->backoff;
        out->state = (uint8_t)b->state;
        out->learnt_per_day = b->per_day;
        out->borne_per_day = b->borne;
        out->shut_until_ms = b->until_ms;
        out->rest_ms = b->rest_ms;
        out->wait_ms = b->wait_ms;
        out->refused_ms = b->refused_ms;
        out->doubtful = b->doubtful;
    }
}

static bool is_sane(const struct rec_measure *r)
{
    bool backs_off = r->kind == MEASURE_BACKOFF;
    return r->number && r->number < NUMBER_MOST && r->kind && r->kind <= MEASURE_BACKOFF &&
           r->scope < ACT_SCOPES && r->factor_ppm <= ACT_WHOLE && r->recover_ms >= 0 &&
           r->recover_ms < 366 * DAY_MS && r->per_day >= 0 && r->per_day < INT64_MAX / ACT_WHOLE &&
           r->until_ms >= 0 && r->until_ms < INT64_MAX / 2 &&
           (!backs_off || (r->state <= BACKOFF_PACED && r->scope == ACT_PATH)) && r->learnt_per_day >= 0 &&
           r->learnt_per_day < INT64_MAX / 1000 && r->borne_per_day >= 0 &&
           r->borne_per_day < INT64_MAX / 1000 && r->rest_ms >= 0 && r->wait_ms >= 0;
}

void measures_restore(struct measures *ms, const struct rec_measure *r, struct slice isp, struct slice source)
{
    int64_t now = loop_wall_ms(ms->conf.loop);
    if (!is_sane(r) || (r->scope != ACT_SOURCE && !isp.n))
        return;
    struct measure *m = map_get(&ms->by_number, slice_of(&r->number, sizeof r->number));
    if (!m)
        m = measure_new(ms, r->number);
    m->kind = r->kind;
    m->scope = (enum act_scope)r->scope;
    m->begin_ms = r->begin_ms;
    m->until_ms = r->until_ms;
    m->recover_ms = r->recover_ms;
    m->over_ms = r->over_ms;
    m->lifted = r->lifted;
    m->factor_ppm = r->factor_ppm;
    m->per_day = r->per_day;
    m->connections = r->connections;
    m->cause = r->cause;
    mem_replace(&m->isp, r->scope == ACT_SOURCE ? SLICE_NONE : isp);
    mem_replace(&m->source, source);
    mem_replace(&m->what, r->what);
    mem_replace(&m->rule, r->rule);
    mem_replace(&m->why, r->why);
    m->source_index = conf_find_source(ms->conf.conf, source);
    if (m->kind == MEASURE_BACKOFF) {
        if (!m->backoff)
            m->backoff = mem_zalloc(sizeof *m->backoff);
        *m->backoff = (struct backoff){.state = (enum backoff_state)r->state,
                                       .per_day = r->learnt_per_day,
                                       .borne = r->borne_per_day,
                                       .until_ms = r->shut_until_ms,
                                       .rest_ms = r->rest_ms,
                                       .wait_ms = r->wait_ms,
                                       .refused_ms = r->refused_ms,
                                       .doubtful = r->doubtful,
                                       .began = true,
                                       .row_ms = r->state == BACKOFF_SHUT ? 0 : r->at_ms,
                                       .step_ms = now};
        if (!m->over_ms && now - r->refused_ms > DAY_MS)
            m->over_ms = r->refused_ms + DAY_MS;
    } else if (!m->over_ms && now >= m->until_ms + m->recover_ms) {
        m->over_ms = m->until_ms + m->recover_ms;
    }
}
