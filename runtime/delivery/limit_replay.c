/* limit_replay.c - see limit_replay.h. */
#include "delivery/limit_replay.h"

#include <stdlib.h>

/* Limits of new connections that count by what the first message says. */
enum { BY_FIRST = LIMIT_OPEN_SHARE | LIMIT_OPEN_LANE };

struct begun {
    struct rec_begin b;
    bool opened;
};

void limit_replay_start(struct limit_replay *lr, struct deliver *d)
{
    int64_t now = loop_wall_ms(d->loop), horizon = limits_horizon_ms(paths_limits(d->paths));
    *lr = (struct limit_replay){
        .d = d, .since_ms = horizon ? now - horizon : INT64_MAX, .behind_ms = now - loop_now_ms(d->loop)};
    map_init(&lr->begun, d->secret.id_key);
}

static struct limit_who who_of(const struct deliver *d, uint32_t source, uint32_t isp, uint32_t mx)
{
    const struct conf *conf = d->conf.conf;
    struct limit_who w = {0};
    for (int by = 0; by < CONF_BYS; by++)
        w.v[by] = SLICE_NONE;
    w.v[CONF_BY_SOURCE] = deliver_name(d, NAME_SOURCE, source);
    w.v[CONF_BY_ISP] = deliver_name(d, NAME_ISP, isp);
    w.v[CONF_BY_MX] = deliver_name(d, NAME_MX, mx);
    for (size_t i = 0; i < conf->nisps; i++)
        if (slice_eq(conf->isps[i].name, w.v[CONF_BY_ISP]))
            w.isp = &conf->isps[i];
    return w;
}

static void count(struct limit_replay *lr, unsigned scopes, const struct limit_who *who, int64_t at_ms)
{
    int64_t now = loop_now_ms(lr->d->loop), at = at_ms - lr->behind_ms;
    limits_count(paths_limits(lr->d->paths), scopes, who, at < now ? at : now); /* people set clocks */
}

static void count_begin(struct limit_replay *lr, const struct rec_begin *b, unsigned scopes,
                        const struct campaign *c, struct slice domain)
{
    struct limit_who who = who_of(lr->d, b->source, b->isp, b->mx);
    if (c)
        path_who(lr->d->conf.conf, c, &who);
    who.v[CONF_BY_DOMAIN] = domain;
    count(lr, scopes, &who, b->at_ms);
}

void limit_replay_begin(struct limit_replay *lr, const struct rec_begin *b)
{
    struct deliver *d = lr->d;
    struct limits *ls = paths_limits(d->paths);
    bool opened = lr->opened;
    lr->opened = false;
    if (b->at_ms < lr->since_ms)
        return;
    const struct q_entry *e = queue_get(d->queue, b->id);
    if (e) {
        const struct lane *lane = queue_lane_at(d->queue, e->lane);
        count_begin(lr, b, LIMIT_MESSAGE | (opened ? BY_FIRST : 0), lane->campaign, lane->domain->name);
        return;
    }
    count_begin(lr, b, LIMIT_PATH, NULL, SLICE_NONE);
    if (!limits_have(ls, LIMIT_SHARE | LIMIT_LANE | (opened ? BY_FIRST : 0)))
        return;
    struct begun *copy = mem_alloc(sizeof *copy);
    *copy = (struct begun){*b, opened};
    copy->b.edits = SLICE_NONE;
    free(map_put(&lr->begun, slice_of(&b->id, sizeof b->id), copy));
}

void limit_replay_event(struct limit_replay *lr, const struct rec_event *ev)
{
    struct begun *b = lr->begun.live ? map_del(&lr->begun, slice_of(&ev->id, sizeof ev->id)) : NULL;
    struct arena a = {0};
    struct addr addr;
    if (!b)
        return;
    bool has_domain = !addr_parse(ev->recipient, &a, &addr, NULL);
    count_begin(lr, &b->b, LIMIT_SHARE | LIMIT_LANE | (b->opened ? BY_FIRST : 0),
                campaign_by_number(lr->d, ev->campaign, ev->stream),
                has_domain ? addr.domain_ascii : SLICE_NONE);
    arena_free(&a);
    free(b);
}

void limit_replay_session(struct limit_replay *lr, const struct rec_session *s)
{
    lr->opened = true;
    if (s->at_ms < lr->since_ms)
        return;
    struct limit_who who = who_of(lr->d, s->source, s->isp, 0);
    count(lr, LIMIT_OPEN, &who, s->at_ms);
}

void limit_replay_end(struct limit_replay *lr, bool power_was_lost)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&lr->begun, &at));)
        free(e->value);
    map_free(&lr->begun);
    if (power_was_lost)
        limits_count_all(paths_limits(lr->d->paths));
}
