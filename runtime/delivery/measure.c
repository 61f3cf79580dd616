/* measure.c - see measure.h: beginning and ending, asking whether mail may go, counting answers. */
#include "delivery/measure_impl.h"
#include "format/text.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEPT = 2000, TURN_MS = 60000, LATE_US = 2000, FACTOR_LEAST = ACT_WHOLE / 1000 };
static const int64_t KEPT_MS = 3 * (int64_t)86400000;

/* --- life --- */

struct measures *measures_new(const struct measures_conf *conf)
{
    struct measures *ms = mem_zalloc(sizeof *ms);
    ms->conf = *conf;
    ms->next_number = 1;
    map_init(&ms->by_number, (struct hash_key){0, 0}); /* numbers that we gave */
    measures_recall_init(ms);
    return ms;
}

static void measure_free(struct measure *m)
{
    loop_timer_stop(m->measures->conf.loop, &m->timer);
    interval_close(m->waits);
    if (!m->path)
        free(m->backoff);
    free(m->isp);
    free(m->source);
    free(m->what);
    free(m->rule);
    free(m->why);
    free(m);
}

void measures_free(struct measures *ms)
{
    if (!ms)
        return;
    while (ms->first) {
        struct measure *m = ms->first;
        ms->first = m->next;
        measure_free(m);
    }
    tallies_free(&ms->tallies);
    measures_recall_free(ms);
    map_free(&ms->by_number);
    free(ms);
}

void measures_part(struct isp *isp)
{
    tallies_free(&isp->tallies);
}

/* What was long ago is forgotten, oldest first, when there are many. */
static void prune(struct measures *ms)
{
    int64_t now = loop_wall_ms(ms->conf.loop);
    while (ms->n > KEPT && ms->first && ms->first->over_ms && now - ms->first->over_ms > KEPT_MS) {
        struct measure *m = ms->first;
        ms->first = m->next;
        if (!ms->first)
            ms->last = NULL;
        ms->n--;
        map_del(&ms->by_number, slice_of(&m->number, sizeof m->number));
        measure_free(m);
    }
}

struct measure *measure_new(struct measures *ms, uint32_t number)
{
    prune(ms);
    struct measure *m = mem_zalloc(sizeof *m);
    m->measures = ms;
    m->number = number;
    if (ms->next_number <= number)
        ms->next_number = number + 1;
    map_put(&ms->by_number, slice_of(&m->number, sizeof m->number), m);
    m->source_index = CONF_NONE;
    m->changed_ms = INT64_MIN;
    if (ms->last)
        ms->last->next = m;
    else
        ms->first = m;
    ms->last = m;
    ms->n++;
    return m;
}

static void serve(struct measure *m)
{
    size_t at = 0;
    if (m->at) {
        isp_service(m->at);
        return;
    }
    for (struct isp *isp; (isp = paths_next_isp(m->measures->conf.paths, &at));)
        isp_service(isp);
}

void measure_changed(struct measure *m)
{
    if (m->measures->conf.changed)
        m->measures->conf.changed(m->measures->conf.data, m);
}

/* What is kept of why mail waited. */
static void open_interval(struct measure *m)
{
    struct interval_cause c = interval_cause(INTERVAL_MEASURE);
    struct buf words = {0};
    buf_adds(&words, S("for measure "));
    measure_name(&words, m->number);
    buf_printf(&words, " (%s) by %s: ", measure_kind_name(m->kind), m->rule);
    text_safe(&words, slice_cstr(m->why));
    c.isp = slice_cstr(m->isp);
    c.source = slice_cstr(m->source);
    if (m->scope == ACT_SITE)
        c.mx = slice_cstr(m->what);
    if (m->scope == ACT_CAMPAIGN)
        c.campaign = slice_cstr(m->what);
    if (m->scope == ACT_STREAM)
        c.from = slice_cstr(m->what);
    if (m->scope == ACT_ONE_STREAM)
        c.stream = slice_cstr(m->what);
    c.why = buf_slice(&words);
    c.until_ms = m->until_ms;
    interval_close(m->waits);
    m->waits = interval_open(m->measures->conf.intervals, &c);
    buf_free(&words);
}

static void on_timer(struct loop_timer *t);

/* To the next moment at which it allows more. */
void measure_arm(struct measure *m)
{
    struct loop *loop = m->measures->conf.loop;
    int64_t wall = loop_wall_ms(loop), now_us = loop_now_ms(loop) * 1000, due = INT64_MAX;
    if (m->kind == MEASURE_BACKOFF) {
        if (m->backoff->state == BACKOFF_SHUT && wall < m->backoff->until_ms)
            due = m->backoff->until_ms - wall;
        else if (m->backoff->state == BACKOFF_PACED)
            due = TURN_MS;
    } else {
        due = m->until_ms - wall;
        if (due <= 0 && m->recover_ms > 0) {
            int64_t step = (wall - m->until_ms) * MEASURE_STEPS / m->recover_ms + 1;
            due = m->until_ms + (m->recover_ms * step + MEASURE_STEPS - 1) / MEASURE_STEPS - wall;
        }
    }
    if (m->next_us > now_us && (m->next_us - now_us + 999) / 1000 < due)
        due = (m->next_us - now_us + 999) / 1000;
    if (due == INT64_MAX)
        loop_timer_stop(loop, &m->timer);
    else
        loop_timer_start(loop, &m->timer, due > 0 ? due : 0, on_timer);
}

void measure_not_before(struct measure *m, int64_t next_us)
{
    if (next_us <= m->next_us)
        return;
    m->next_us = next_us;
    measure_arm(m);
}

static struct measure **list_of(struct measure *m)
{
    return m->scope == ACT_SOURCE ? &m->measures->of_sources : &m->at->measures;
}

void measure_over(struct measure *m, int64_t at_ms)
{
    m->over_ms = at_ms;
    if (m->kind == MEASURE_BACKOFF && m->path) {
        /* The path keeps what it counted; the measure needs what it said at its end no more. */
        struct backoff *mine = mem_alloc(sizeof *mine);
        *mine = *m->backoff;
        if (m->lifted)
            backoff_forget(m->backoff);
        m->path->backoff_measure = NULL;
        m->path = NULL;
        m->backoff = mine;
    }
    loop_timer_stop(m->measures->conf.loop, &m->timer);
    interval_close(m->waits);
    m->waits = NULL;
    if (!m->attached)
        return;
    m->attached = false;
    struct measure **at = list_of(m);
    while (*at && *at != m)
        at = &(*at)->next_there;
    if (*at)
        *at = m->next_there;
    m->next_there = NULL;
    serve(m);
}

static void on_timer(struct loop_timer *t)
{
    struct measure *m = CONTAINER(t, struct measure, timer);
    int64_t wall = loop_wall_ms(m->measures->conf.loop);
    if (m->kind == MEASURE_BACKOFF) {
        if (backoff_turn(m->backoff, wall)) {
            if (m->backoff->state == BACKOFF_FREE)
                measure_over(m, wall);
            measure_changed(m);
        }
    } else if (wall >= m->until_ms + m->recover_ms) {
        measure_over(m, wall);
    }
    if (m->over_ms)
        return;
    measure_arm(m);
    serve(m);
}

void measure_attach(struct measure *m)
{
    if (m->over_ms || m->attached)
        return;
    m->attached = true;
    struct measure **list = list_of(m);
    m->next_there = *list;
    *list = m;
    open_interval(m);
    measure_arm(m);
}

void measures_meet(struct measures *ms, struct isp *isp)
{
    for (struct measure *m = ms->first; m; m = m->next) {
        if (m->scope == ACT_SOURCE)
            measure_attach(m);
        if (m->scope == ACT_SOURCE || m->at || !slice_eq(slice_cstr(m->isp), isp->name))
            continue;
        m->at = isp;
        if (m->over_ms)
            continue;
        if (m->kind == MEASURE_BACKOFF) {
            struct path *p = m->source_index == CONF_NONE ? NULL : &isp->by_source[m->source_index];
            if (!p || p->backoff)
                continue;
            p->backoff = m->backoff;
            p->backoff_measure = m;
            m->path = p;
        }
        measure_attach(m);
    }
    measures_recall_meet(ms, isp);
}

/* --- beginning --- */

static struct slice what_of(const struct measure_start *s)
{
    switch (s->act.scope) {
    case ACT_SITE:
        return s->site->key;
    case ACT_STREAM:
        return s->campaign->stream->conf->domain;
    case ACT_CAMPAIGN:
        return s->campaign->name;
    case ACT_ONE_STREAM:
        return s->campaign->stream->name;
    case ACT_PATH:
    case ACT_SOURCE:
    case ACT_SCOPES:
        break;
    }
    return SLICE_NONE;
}

static bool fits_scope(const struct measure_start *s)
{
    switch (s->act.scope) {
    case ACT_SITE:
        return s->site != NULL;
    case ACT_STREAM:
        return s->campaign && s->campaign->stream->conf;
    case ACT_CAMPAIGN:
        return s->campaign && s->campaign->number;
    case ACT_ONE_STREAM:
        return s->campaign != NULL;
    case ACT_PATH:
    case ACT_SOURCE:
        return true;
    case ACT_SCOPES:
        break;
    }
    return false;
}

static struct measure *standing(struct measures *ms, const struct measure_start *s)
{
    struct measure *m = s->act.scope == ACT_SOURCE ? ms->of_sources : s->path->isp->measures;
    for (; m; m = m->next_there)
        if (m->kind == (unsigned)s->act.kind && m->scope == s->act.scope &&
            measure_is_about(m, s->path, s->site, s->campaign))
            return m;
    return NULL;
}

/* Mails a day that go there now. */
static int64_t present_per_day(const struct measures *ms, const struct measure_start *s)
{
    int64_t sum = 0, now = loop_wall_ms(ms->conf.loop);
    size_t at = 0;
    if (s->per_day)
        return s->per_day;
    if (s->act.scope == ACT_PATH)
        return s->path->backoff ? backoff_recent_per_day(s->path->backoff, now) : 0;
    for (struct isp *isp; (isp = paths_next_isp(ms->conf.paths, &at));) {
        if (s->act.scope != ACT_SOURCE && isp != s->path->isp)
            continue;
        for (size_t i = 0; i < ms->conf.conf->nsources; i++)
            if (isp->by_source[i].backoff && (s->act.scope != ACT_SOURCE || i == s->path->source))
                sum += backoff_recent_per_day(isp->by_source[i].backoff, now);
    }
    return sum;
}

struct measure *measure_begin(struct measures *ms, const struct measure_start *s)
{
    int64_t wall = s->at_ms ? s->at_ms : loop_wall_ms(ms->conf.loop), until = wall + s->act.for_ms;
    if (!fits_scope(s) || s->act.for_ms <= 0)
        return NULL;
    bool closing = s->act.kind != ACT_SLOW && s->act.kind != ACT_FEWER;
    uint32_t factor = closing ? 0 : s->act.factor_ppm;
    struct measure *m = standing(ms, s);
    bool fresh = !m;
    if (fresh) {
        m = measure_new(ms, ms->next_number);
        m->kind = s->act.kind;
        m->scope = s->act.scope;
        m->begin_ms = wall;
        mem_replace(&m->isp, m->scope == ACT_SOURCE ? SLICE_NONE : s->path->isp->name);
        bool of_source = m->scope == ACT_PATH || m->scope == ACT_SOURCE;
        mem_replace(&m->source, of_source ? ms->conf.conf->sources[s->path->source].name : SLICE_NONE);
        mem_replace(&m->what, what_of(s));
        m->source_index = of_source ? s->path->source : CONF_NONE;
        m->at = m->scope == ACT_SOURCE ? NULL : s->path->isp;
        m->per_day = present_per_day(ms, s);
        m->connections = path_connections_now(s->path);
        m->factor_ppm = factor;
    } else if (!closing) {
        uint64_t less = (uint64_t)measure_share(m, wall) * factor / ACT_WHOLE;
        m->factor_ppm = less > FACTOR_LEAST ? (uint32_t)less : FACTOR_LEAST;
    }
    if (until > m->until_ms)
        m->until_ms = until;
    m->recover_ms = s->act.recover_ms;
    m->cause = s->message;
    m->changed_ms = loop_now_ms(ms->conf.loop);
    mem_replace(&m->rule, s->rule);
    mem_replace(&m->why, s->why);
    if (fresh) {
        measure_attach(m);
    } else {
        open_interval(m);
        measure_arm(m);
    }
    measure_changed(m);
    return m;
}

/* --- may it go --- */

static bool holds_back(const struct measure *m, int64_t wall_ms, int64_t now_us)
{
    if (m->next_us >= now_us + 1000 || measure_is_closed(m, wall_ms))
        return true;
    return m->kind == MEASURE_BACKOFF && !backoff_may_send(m->backoff, wall_ms);
}

static bool any_holds(const struct measures *ms, const struct measure *m, const struct path *p,
                      const struct site *s, const struct campaign *c)
{
    int64_t wall = loop_wall_ms(ms->conf.loop), now_us = loop_now_ms(ms->conf.loop) * 1000;
    for (; m; m = m->next_there)
        if (measure_is_about(m, p, s, c) && holds_back(m, wall, now_us))
            return true;
    return false;
}

bool measures_hold_path(const struct path *p)
{
    const struct measures *ms = p->paths->measures;
    if (!p->isp->measures && !ms->of_sources)
        return false;
    return any_holds(ms, p->isp->measures, p, NULL, NULL) || any_holds(ms, ms->of_sources, p, NULL, NULL);
}

bool measures_hold_site(const struct site *s)
{
    const struct isp *isp = s->isp;
    bool any = false;
    for (const struct measure *m = isp->measures; m && !any; m = m->next_there)
        any = m->scope == ACT_SITE;
    if (!any)
        return false;
    int64_t wall = loop_wall_ms(isp->paths->conf.loop), now_us = loop_now_ms(isp->paths->conf.loop) * 1000;
    for (const struct measure *m = isp->measures; m; m = m->next_there)
        if (m->scope == ACT_SITE && slice_eq(slice_cstr(m->what), s->key) && holds_back(m, wall, now_us))
            return true;
    return false;
}

bool measures_hold_mail(const struct isp *isp, const struct campaign *c)
{
    int64_t wall = 0, now_us = 0;
    for (const struct measure *m = isp->measures; m; m = m->next_there) {
        if (m->scope != ACT_STREAM && m->scope != ACT_CAMPAIGN && m->scope != ACT_ONE_STREAM)
            continue;
        if (!wall) {
            wall = loop_wall_ms(isp->paths->conf.loop);
            now_us = loop_now_ms(isp->paths->conf.loop) * 1000;
        }
        if (measure_is_about(m, &isp->by_source[0], NULL, c) && holds_back(m, wall, now_us))
            return true;
    }
    return false;
}

bool measures_turn_away(const struct path *p)
{
    for (const struct measure *m = p->isp->measures; m; m = m->next_there)
        if (m->kind == ACT_NEXT_SOURCE && measure_is_about(m, p, NULL, NULL))
            return true;
    return false;
}

bool measures_pace(const struct path *p)
{
    int64_t wall = loop_wall_ms(p->paths->conf.loop);
    for (int list = 0; list < 2; list++)
        for (const struct measure *m = list ? p->paths->measures->of_sources : p->isp->measures; m;
             m = m->next_there)
            if (m->kind == MEASURE_BACKOFF || measure_interval_us(m, wall))
                return true;
    return false;
}

static unsigned fewer(const struct measure *m, unsigned most)
{
    int64_t wall = loop_wall_ms(m->measures->conf.loop);
    uint64_t n = (uint64_t)m->connections * measure_share(m, wall) / ACT_WHOLE;
    n = n ? n : 1;
    return n < most ? (unsigned)n : most;
}

unsigned measures_connections(const struct path *p, unsigned most)
{
    for (int list = 0; list < 2; list++)
        for (const struct measure *m = list ? p->paths->measures->of_sources : p->isp->measures; m;
             m = m->next_there)
            if (m->kind == ACT_FEWER && measure_is_about(m, p, NULL, NULL))
                most = fewer(m, most);
    return most;
}

bool measures_site_is_full(const struct site *s, unsigned sessions)
{
    for (const struct measure *m = s->isp->measures; m; m = m->next_there)
        if (m->kind == ACT_FEWER && m->scope == ACT_SITE && slice_eq(slice_cstr(m->what), s->key) &&
            sessions >= fewer(m, UINT32_MAX))
            return true;
    return false;
}

enum turn { TURN_TAKE, TURN_RENEW, TURN_RETURN };

static void turn(struct measure *m, enum turn what, uint64_t id, int64_t wall_ms, int64_t now_us)
{
    int64_t interval = measure_interval_us(m, wall_ms);
    switch (what) {
    case TURN_TAKE:
        m->last_id = id;
        m->before_us = m->next_us;
        if (interval)
            m->next_us = (m->next_us > now_us - LATE_US ? m->next_us : now_us) + interval;
        if (m->kind == MEASURE_BACKOFF)
            backoff_try(m->backoff);
        break;
    case TURN_RENEW:
        if (m->last_id == id && interval && m->next_us < now_us + interval)
            m->next_us = now_us + interval;
        break;
    case TURN_RETURN:
        if (m->last_id == id)
            m->next_us = m->before_us;
        if (m->last_id == id && m->kind == MEASURE_BACKOFF)
            backoff_untry(m->backoff);
        break;
    }
    if (m->next_us > now_us)
        measure_arm(m);
}

static void turn_all(struct path *p, const struct site *s, const struct campaign *c, uint64_t id,
                     enum turn what)
{
    struct measures *ms = p->paths->measures;
    if (!p->isp->measures && !ms->of_sources)
        return;
    int64_t wall = loop_wall_ms(ms->conf.loop), now_us = loop_now_ms(ms->conf.loop) * 1000;
    for (int list = 0; list < 2; list++)
        for (struct measure *m = list ? ms->of_sources : p->isp->measures; m; m = m->next_there)
            if (measure_is_about(m, p, s, c))
                turn(m, what, id, wall, now_us);
}

void measures_take(struct path *p, const struct site *s, const struct campaign *c, uint64_t id)
{
    turn_all(p, s, c, id, TURN_TAKE);
}

void measures_renew(struct path *p, const struct site *s, const struct campaign *c, uint64_t id)
{
    turn_all(p, s, c, id, TURN_RENEW);
}

void measures_return(struct path *p, const struct site *s, const struct campaign *c, uint64_t id)
{
    turn_all(p, s, c, id, TURN_RETURN);
}

/* --- answers --- */

/* loop_now_ms() of the answer. */
static int64_t answered_ms(const struct measures *ms, const struct measure_answer *a)
{
    int64_t now = loop_now_ms(ms->conf.loop), at = a->at_ms - measures_behind_ms(ms);
    return a->at_ms && at < now ? at : now;
}

static struct measure *due(struct measures *ms, const struct measure_answer *a, struct tally *t)
{
    int64_t now = answered_ms(ms, a);
    struct measure_start s = {.act = a->rule->act,
                              .path = a->path,
                              .site = a->site,
                              .campaign = a->campaign,
                              .rule = a->rule->name,
                              .why = a->why,
                              .message = a->message,
                              .at_ms = a->at_ms};
    if (t && s.act.scope != ACT_PATH)
        s.per_day = tally_per_day(t, now);
    if (t)
        tally_start_anew(t, now);
    return measure_begin(ms, &s);
}

static struct measure *count_in(struct measures *ms, struct tally *t, const struct measure_answer *a)
{
    int64_t now = answered_ms(ms, a);
    struct measure *begun = NULL;
    if (tally_answer(t, a->rule, a->begun_ms ? a->begun_ms : now, now))
        begun = due(ms, a, t);
    measures_write_tally(ms, t, a, now);
    return begun;
}

static struct measure *count(struct measures *ms, struct tally **list, const struct measure_answer *a,
                             bool *known)
{
    struct measure *begun = NULL;
    struct tally_who who = tally_who(a);
    int64_t now = loop_now_ms(ms->conf.loop);
    while (*list) {
        struct tally *t = *list;
        if (tally_is_stale(t, now)) {
            *list = t->next;
            tally_free(t);
            continue;
        }
        if (tally_is_about(t, &who)) {
            *known |= a->rule && tally_is_of(t, a->rule);
            struct measure *m = count_in(ms, t, a);
            begun = m ? m : begun;
        }
        list = &t->next;
    }
    return begun;
}

static bool is_counted(const struct act_rule *r)
{
    switch (r->act.kind) {
    case ACT_SLOW:
    case ACT_FEWER:
    case ACT_SUSPEND:
    case ACT_PAUSE:
    case ACT_NEXT_SOURCE:
        return true;
    case ACT_NONE:
    case ACT_DEFER:
    case ACT_RECONNECT:
    case ACT_SUPPRESS:
    case ACT_QUARANTINE:
    case ACT_KINDS:
        break;
    }
    return false;
}

/* What began before the measure that stands says nothing that it does not say already. */
static bool is_old(struct measures *ms, const struct measure_answer *a)
{
    struct measure_start s = {.act = a->rule->act, .path = a->path, .site = a->site, .campaign = a->campaign};
    const struct measure *m = fits_scope(&s) ? standing(ms, &s) : NULL;
    return m && a->begun_ms && a->begun_ms < m->changed_ms;
}

struct measure *measures_answer(struct measures *ms, const struct measure_answer *a)
{
    struct isp *isp = a->path->isp;
    bool known = false;
    struct measure *m = isp->tallies ? count(ms, &isp->tallies, a, &known) : NULL, *other = NULL;
    if (ms->tallies)
        other = count(ms, &ms->tallies, a, &known);
    m = m ? m : other;
    if (!a->rule || known || !is_counted(a->rule))
        return m;
    if (tally_is_needless(a->rule))
        return is_old(ms, a) ? m : due(ms, a, NULL);
    struct measure_start s = {.act = a->rule->act, .path = a->path, .site = a->site, .campaign = a->campaign};
    if (!fits_scope(&s))
        return m;
    struct tally_who who = tally_who(a);
    struct tally *t = tally_new(a->rule, &who, answered_ms(ms, a));
    struct tally **list = a->rule->act.scope == ACT_SOURCE ? &ms->tallies : &isp->tallies;
    t->next = *list;
    *list = t;
    other = count_in(ms, t, a);
    return other ? other : m;
}
