/* limit.c - see limit.h. */
#include "delivery/limit_impl.h"
#include "base/words.h"
#include "delivery/warmup.h"

#include <stdlib.h>

static const char *const by_names[CONF_BYS] = {
    [CONF_BY_STREAM] = "stream", [CONF_BY_CAMPAIGN] = "campaign", [CONF_BY_SOURCE] = "source",
    [CONF_BY_POOL] = "pool",     [CONF_BY_ISP] = "isp",           [CONF_BY_DOMAIN] = "domain",
    [CONF_BY_MX] = "mx",         [CONF_BY_FROM] = "from"};

/* --- rules --- */

enum {
    PATH_BY = 1 << CONF_BY_SOURCE | 1 << CONF_BY_ISP,
    CONNECTION_BY = PATH_BY | 1 << CONF_BY_MX /* the same for all mail of a connection */
};

static enum limit_scope scope_of(const struct rule *r)
{
    bool of_path = !(r->by & ~(unsigned)PATH_BY), of_connection = !(r->by & ~(unsigned)CONNECTION_BY);
    bool of_lane = r->by & 1 << CONF_BY_DOMAIN;
    switch (r->kind) {
    case RULE_CONNECTIONS:
        if (!of_connection)
            return of_lane ? LIMIT_HOLD_LANE : LIMIT_HOLD_SHARE;
        return of_path ? LIMIT_OPEN : LIMIT_OPEN_SHARE;
    case RULE_NEW_CONNECTIONS:
        return of_path ? LIMIT_OPEN : of_lane ? LIMIT_OPEN_LANE : LIMIT_OPEN_SHARE;
    case RULE_PER_CONNECTION:
        return LIMIT_CARRIED;
    case RULE_MESSAGES:
    case RULE_RECIPIENTS:
    case RULE_WARMUP:
        break;
    }
    return of_path ? LIMIT_PATH : of_lane ? LIMIT_LANE : LIMIT_SHARE;
}

static void add_rule(struct limits *ls, struct rule rule)
{
    if (!rule.rate.quota && !rule.most && !rule.warmup)
        return;
    if (rule.kind == RULE_PER_CONNECTION && !(rule.by & ~(unsigned)CONNECTION_BY)) {
        if (rule.most < ls->per_connection)
            ls->per_connection = rule.most;
        return;
    }
    rule.scope = scope_of(&rule);
    ls->rules = mem_realloc(ls->rules, (ls->nrules + 1) * sizeof rule);
    ls->rules[ls->nrules++] = rule;
    ls->scopes |= rule.scope;
    ls->by |= rule.by;
}

static void add_rules(struct limits *ls, const struct conf_amounts *a, struct rule rule)
{
    rule.kind = RULE_MESSAGES;
    rule.rate = a->rate;
    add_rule(ls, rule);
    rule.kind = RULE_RECIPIENTS;
    rule.rate = a->recipients;
    add_rule(ls, rule);
    rule.kind = RULE_NEW_CONNECTIONS;
    rule.rate = a->new_connections;
    add_rule(ls, rule);
}

struct limits *limits_new(const struct limits_conf *conf)
{
    struct limits *ls = mem_zalloc(sizeof *ls);
    struct hash_key hk;
    ls->conf = *conf;
    ls->spent_ms = INT64_MIN;
    ls->per_connection = UINT32_MAX;
    loop_random_bytes(conf->loop, &hk, sizeof hk);
    map_init(&ls->instances, hk);
    for (size_t i = 0; i < conf->conf->nisps; i++) {
        const struct conf_isp *isp = &conf->conf->isps[i];
        /* Its connections at once are the path's, with their ramp. */
        add_rules(ls, &isp->amounts, (struct rule){.by = PATH_BY, .isp = isp, .place = isp->place});
    }
    for (size_t i = 0; i < conf->conf->nlimits; i++) {
        const struct conf_limit *l = &conf->conf->limits[i];
        struct rule rule = {.by = l->by, .place = l->place};
        add_rules(ls, &l->amounts, rule);
        rule.kind = RULE_CONNECTIONS;
        rule.most = l->connections;
        add_rule(ls, rule);
        rule.kind = RULE_PER_CONNECTION;
        rule.most = l->per_connection;
        add_rule(ls, rule);
    }
    for (size_t i = 0; i < conf->conf->nwarmups; i++) {
        const struct conf_warmup *w = &conf->conf->warmups[i];
        add_rule(ls, (struct rule){.kind = RULE_WARMUP,
                                   .by = PATH_BY | 1 << CONF_BY_FROM,
                                   .isp = w->isp == CONF_NONE ? NULL : &conf->conf->isps[w->isp],
                                   .warmup = w,
                                   .place = w->place});
    }
    return ls;
}

void limits_free(struct limits *ls)
{
    size_t at = 0;
    if (!ls)
        return;
    for (struct map_entry *e; (e = map_next(&ls->instances, &at));) {
        struct limit *l = e->value;
        loop_timer_stop(ls->conf.loop, &l->timer);
        pace_free(&l->pace);
        free(l->values);
        free(l);
    }
    map_free(&ls->instances);
    buf_free(&ls->key);
    free(ls->rules);
    free(ls);
}

bool limits_have(const struct limits *ls, unsigned scopes)
{
    return ls->scopes & scopes;
}

bool limits_have_by(const struct limits *ls, enum conf_by by)
{
    return ls->by & 1u << by;
}

bool limits_pace(const struct limits *ls, const struct conf_isp *isp)
{
    if (!limits_have(ls, LIMIT_MESSAGE))
        return false;
    for (size_t i = 0; i < ls->nrules; i++)
        if (ls->rules[i].scope & LIMIT_MESSAGE && (!ls->rules[i].isp || ls->rules[i].isp == isp))
            return true;
    return false;
}

struct limit *limits_next(const struct limits *ls, size_t *at)
{
    struct map_entry *e = map_next(&ls->instances, at);
    return e ? e->value : NULL;
}

uint64_t limits_asked(const struct limits *ls)
{
    return ls->asked;
}

int64_t limits_horizon_ms(const struct limits *ls)
{
    int64_t most = 0;
    for (size_t i = 0; i < ls->nrules; i++)
        if (ls->rules[i].rate.quota && ls->rules[i].rate.per_ms > most)
            most = ls->rules[i].rate.per_ms;
    return most;
}

/* --- limits --- */

/* It is this source's, and the source has none that is nearer to the receiver. */
static bool is_warmed(const struct limits *ls, const struct conf_warmup *w, const struct limit_who *who)
{
    const struct conf *conf = ls->conf.conf;
    return slice_eq(conf->sources[w->source].name, who->v[CONF_BY_SOURCE]) &&
           conf_warmup_of(conf, w->source, who->isp) == w;
}

bool limit_rule_applies(const struct limits *ls, const struct rule *r, const struct limit_who *who)
{
    if (r->isp && r->isp != who->isp)
        return false;
    for (int by = 0; by < CONF_BYS; by++)
        if (r->by & 1u << by && !who->v[by].n)
            return false;
    return !r->warmup || is_warmed(ls, r->warmup, who);
}

static char *values_text(const struct rule *r, const struct limit_who *who)
{
    struct buf b = {0};
    for (int by = 0; by < CONF_BYS; by++)
        if (r->by & 1u << by)
            buf_printf(&b, "%s%s %.*s", b.n ? ", " : "", by_names[by], SLICE_FMT(who->v[by]));
    buf_cstr(&b);
    return b.p;
}

static void spend(struct limit *l, int64_t at_ms)
{
    if (l->warmup)
        warmup_spend(l->warmup);
    if (l->rule->rate.quota)
        for (uint32_t n = l->rule->rate.burst ? l->rule->rate.burst : 1; n; n--)
            pace_take(&l->pace, at_ms);
}

static void on_warmup_changed(void *data);

struct limit *limit_instance(struct limits *ls, const struct rule *r, const struct limit_who *who)
{
    uint32_t index = (uint32_t)(r - ls->rules);
    buf_clear(&ls->key);
    buf_add(&ls->key, &index, sizeof index);
    for (int by = 0; by < CONF_BYS; by++) {
        if (!(r->by & 1u << by))
            continue;
        uint32_t n = (uint32_t)who->v[by].n;
        buf_add(&ls->key, &n, sizeof n);
        buf_adds(&ls->key, who->v[by]);
    }
    struct limit *l = map_get(&ls->instances, buf_slice(&ls->key));
    if (l)
        return l;
    l = mem_zalloc(sizeof *l);
    l->rule = r;
    l->limits = ls;
    l->values = values_text(r, who);
    if (r->rate.quota)
        pace_init(&l->pace, &r->rate);
    if (r->warmup) {
        l->warmup = warmups_get(ls->conf.warmups, r->warmup, who->v[CONF_BY_ISP], who->v[CONF_BY_FROM]);
        warmup_watch(l->warmup, on_warmup_changed, l);
    }
    if (ls->spent_ms != INT64_MIN)
        spend(l, ls->spent_ms);
    map_put(&ls->instances, buf_slice(&ls->key), l);
    l->key = ls->instances.v[ls->instances.n - 1].key;
    return l;
}

int64_t limit_due_ms(const struct limit *l)
{
    if (l->rule->kind == RULE_CONNECTIONS)
        return l->used < l->rule->most ? INT64_MIN : INT64_MAX;
    return l->warmup ? warmup_due_ms(l->warmup) : pace_due_ms(&l->pace);
}

struct warmup *limit_warmup(const struct limit *l)
{
    return l->warmup;
}

bool limit_is_of_message(const struct limit *l)
{
    return l->rule->scope & LIMIT_MESSAGE;
}

bool limit_is_of_opening(const struct limit *l)
{
    return l->rule->scope & LIMIT_OPENING;
}

bool limit_counts_by(const struct limit *l, enum conf_by by)
{
    return l->rule->by & 1u << by;
}

/* What a connection holds it lacks not, unless it ought to let go. */
static bool lacks(const struct limit *l, const struct limit_who *who, int64_t now)
{
    if (l->rule->scope & LIMIT_HOLD && who->holder && limit_is_held(l, who->holder))
        return limit_is_wanted(l, who->priority);
    return limit_due_ms(l) > now || (l->waiting && !l->limits->serving);
}

struct limit *limits_lacking(struct limits *ls, unsigned scopes, const struct limit_who *who)
{
    struct limit *last = NULL;
    int64_t now = loop_now_ms(ls->conf.loop);
    if (!(ls->scopes & scopes))
        return NULL;
    ls->asked++;
    for (size_t i = 0; i < ls->nrules; i++) {
        const struct rule *r = &ls->rules[i];
        if (!(r->scope & scopes) || !limit_rule_applies(ls, r, who))
            continue;
        struct limit *l = limit_instance(ls, r, who);
        if (lacks(l, who, now) && (!last || limit_due_ms(l) > limit_due_ms(last)))
            last = l;
    }
    return last;
}

struct limit *limits_lacking_without(struct limits *ls, unsigned scopes, const struct limit_who *who,
                                     uint64_t id)
{
    struct limit *l = limits_lacking(ls, scopes, who);
    return l && id && l->last_id == id ? NULL : l;
}

void limits_take(struct limits *ls, unsigned scopes, const struct limit_who *who, uint64_t id)
{
    int64_t now = loop_now_ms(ls->conf.loop);
    if (!(ls->scopes & scopes))
        return;
    for (size_t i = 0; i < ls->nrules; i++) {
        const struct rule *r = &ls->rules[i];
        if (!(r->scope & scopes) || r->kind == RULE_CONNECTIONS || !limit_rule_applies(ls, r, who))
            continue;
        struct limit *l = limit_instance(ls, r, who);
        l->last_id = id;
        if (l->warmup)
            warmup_take(l->warmup);
        else
            pace_take(&l->pace, now);
    }
}

void limits_count(struct limits *ls, unsigned scopes, const struct limit_who *who, int64_t at_ms)
{
    for (size_t i = 0; i < ls->nrules; i++) {
        const struct rule *r = &ls->rules[i];
        if (r->rate.quota && r->scope & scopes && limit_rule_applies(ls, r, who))
            pace_take(&limit_instance(ls, r, who)->pace, at_ms);
    }
}

void limits_count_all(struct limits *ls)
{
    size_t at = 0;
    ls->spent_ms = loop_now_ms(ls->conf.loop);
    for (struct limit *l; (l = limits_next(ls, &at));)
        spend(l, ls->spent_ms);
}

/* --- who waits --- */

static void on_due(struct loop_timer *t);

struct interval *limit_interval(const struct limit *l)
{
    struct interval_cause c = interval_cause(INTERVAL_LIMIT);
    struct slice *const keys[CONF_BYS] = {
        [CONF_BY_STREAM] = &c.stream, [CONF_BY_CAMPAIGN] = &c.campaign, [CONF_BY_SOURCE] = &c.source,
        [CONF_BY_POOL] = &c.pool,     [CONF_BY_ISP] = &c.isp,           [CONF_BY_DOMAIN] = &c.domain,
        [CONF_BY_MX] = &c.mx,         [CONF_BY_FROM] = &c.from};
    struct buf words = {0};
    const char *p = l->key.p + sizeof(uint32_t);
    if (!l->limits->conf.intervals)
        return NULL;
    for (int by = 0; by < CONF_BYS; by++) {
        uint32_t n;
        if (!limit_counts_by(l, (enum conf_by)by))
            continue;
        memcpy(&n, p, sizeof n);
        *keys[by] = slice_of(p + sizeof n, n);
        p += sizeof n + n;
    }
    if (l->warmup)
        c.kind = INTERVAL_WARMUP;
    buf_adds(&words, l->warmup ? S("for ") : S("for the limit "));
    limit_text(l, &words);
    c.why = buf_slice(&words);
    struct interval *i = interval_open(l->limits->conf.intervals, &c);
    buf_free(&words);
    return i;
}

static void waits_begin(struct limit *l)
{
    if (!l->waits)
        l->waits = limit_interval(l);
}

/* Who is being served may wait again: it is one wait. */
static void waits_check(struct limit *l)
{
    if (l->waiting || l->limits->serving)
        return;
    interval_close(l->waits);
    l->waits = NULL;
}

void limit_arm(struct limit *l)
{
    struct loop *loop = l->limits->conf.loop;
    int64_t due = limit_due_ms(l), now = loop_now_ms(loop);
    if (!l->waiting || due == INT64_MAX)
        loop_timer_stop(loop, &l->timer);
    else
        loop_timer_start(loop, &l->timer, due > now ? due - now : 0, on_due);
}

/* Who waits, waits for another rate from now on. */
static void on_warmup_changed(void *data)
{
    struct limit *l = data;
    if (l->waits) {
        interval_close(l->waits);
        l->waits = NULL;
        waits_begin(l);
    }
    limit_arm(l);
}

void limit_wait(struct limit *l, struct limit_wait *w, enum limit_waiter kind, enum conf_priority priority)
{
    if (w->at == l && w->priority <= priority)
        return;
    limit_leave(w);
    struct line *line = &l->lines[priority];
    *w = (struct limit_wait){.at = l, .prev = line->last, .priority = priority, .kind = kind};
    if (line->last)
        line->last->next = w;
    else
        line->first = w;
    line->last = w;
    waits_begin(l);
    if (!l->waiting++)
        limit_arm(l);
}

void limit_leave(struct limit_wait *w)
{
    struct limit *l = w->at;
    if (!l)
        return;
    struct line *line = &l->lines[w->priority];
    if (w->prev)
        w->prev->next = w->next;
    else
        line->first = w->next;
    if (w->next)
        w->next->prev = w->prev;
    else
        line->last = w->prev;
    w->at = NULL;
    if (--l->waiting)
        return;
    limit_arm(l);
    waits_check(l);
}

static struct limit_wait *first_in_line(const struct limit *l)
{
    for (int p = 0; p < CONF_PRIORITIES; p++)
        if (l->lines[p].first)
            return l->lines[p].first;
    return NULL;
}

/* Those who wait again while others are served stand behind them: this ends. */
static void on_due(struct loop_timer *t)
{
    struct limit *l = CONTAINER(t, struct limit, timer);
    struct limits *ls = l->limits;
    struct limit_wait *w;
    while (limit_due_ms(l) <= loop_now_ms(ls->conf.loop) && (w = first_in_line(l))) {
        ls->serving = true;
        limit_leave(w);
        ls->conf.serve(ls->conf.data, w, l);
        ls->serving = false;
    }
    limit_arm(l);
    waits_check(l);
}

static void take_back(struct limits *ls, const struct limit_who *who, uint64_t id, bool again)
{
    int64_t now = loop_now_ms(ls->conf.loop);
    if (!(ls->scopes & LIMIT_MESSAGE))
        return;
    for (size_t i = 0; i < ls->nrules; i++) {
        const struct rule *r = &ls->rules[i];
        if (!(r->scope & LIMIT_MESSAGE) || !limit_rule_applies(ls, r, who))
            continue;
        struct limit *l = limit_instance(ls, r, who);
        bool is_last = l->last_id == id;
        if (l->warmup && again)
            warmup_begin(l->warmup, is_last);
        else if (l->warmup)
            warmup_return(l->warmup, is_last);
        if (!is_last)
            continue;
        if (!l->warmup)
            pace_return(&l->pace);
        if (!again)
            l->last_id = 0;
        else if (!l->warmup)
            pace_take(&l->pace, now);
        limit_arm(l);
    }
}

void limits_return(struct limits *ls, const struct limit_who *who, uint64_t id)
{
    take_back(ls, who, id, false);
}

void limits_renew(struct limits *ls, const struct limit_who *who, uint64_t id)
{
    take_back(ls, who, id, true);
}

/* --- in words --- */

static void rate_text(const struct pace_rate *r, struct buf *out)
{
    static const struct {
        int64_t ms;
        const char *word;
    } units[] = {{1000, "s"}, {60000, "min"}, {3600000, "h"}, {86400000, "d"}};
    buf_printf(out, "%u/", r->quota);
    for (size_t i = 0; i < COUNT(units); i++) {
        if (units[i].ms == r->per_ms) {
            buf_printf(out, "%s", units[i].word);
            return;
        }
    }
    words_duration_text(out, r->per_ms);
}

void limit_text(const struct limit *l, struct buf *out)
{
    const struct rule *r = l->rule;
    static const char *const words[] = {"rate", "recipients", "new_connections", "connections",
                                        "per_connection"};
    if (l->warmup) {
        warmup_text(l->warmup, out);
        buf_printf(out, " of %.*s (%.*s:%d)", SLICE_FMT(l->warmup->from), SLICE_FMT(r->place.file),
                   r->place.line);
        return;
    }
    buf_printf(out, "%s ", words[r->kind]);
    if (r->most)
        buf_printf(out, "%u", r->most);
    else
        rate_text(&r->rate, out);
    if (l->values[0])
        buf_printf(out, " of %s", l->values);
    buf_printf(out, " (%.*s:%d)", SLICE_FMT(r->place.file), r->place.line);
}
