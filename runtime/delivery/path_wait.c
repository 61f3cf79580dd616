/* path_wait.c - why something waits: permits it lacks, and whose turn it is when there is one. */
#include "delivery/path_impl.h"

#include <stdlib.h>

enum { AGAIN_MS = 1000 };

/* --- permits --- */

size_t path_source_index(const struct stream *st, uint16_t source)
{
    for (size_t i = 0; i < st->nsources; i++)
        if (st->sources[i] == source)
            return i;
    return SIZE_MAX;
}

struct limit_who path_who_of(const struct path *p)
{
    struct limit_who w = {.isp = p->isp->conf};
    for (int by = 0; by < CONF_BYS; by++)
        w.v[by] = SLICE_NONE;
    w.v[CONF_BY_SOURCE] = p->paths->conf.conf->sources[p->source].name;
    w.v[CONF_BY_ISP] = p->isp->name;
    return w;
}

void path_who(const struct conf *conf, const struct campaign *c, struct limit_who *out)
{
    const struct conf_stream *stream = c->stream->conf;
    out->priority = c->stream->priority;
    out->v[CONF_BY_STREAM] = c->stream->name;
    if (c->number)
        out->v[CONF_BY_CAMPAIGN] = c->name;
    if (stream)
        out->v[CONF_BY_FROM] = stream->domain;
    if (stream && stream->pool != CONF_NONE)
        out->v[CONF_BY_POOL] = conf->pools[stream->pool].name;
}

struct limit_who path_who_of_mail(const struct path *p, const struct campaign *c, const struct site *s,
                                  const struct lane *lane, const struct path_session *by)
{
    struct limit_who w = path_who_of(p);
    path_who(p->paths->conf.conf, c, &w);
    w.holder = by ? by->holder : NULL;
    if (s)
        w.v[CONF_BY_MX] = s->key;
    if (lane)
        w.v[CONF_BY_DOMAIN] = lane->domain->name;
    return w;
}

static void look_no_more(struct isp *isp)
{
    for (size_t i = 0; i < isp->paths->conf.conf->nsources; i++) {
        interval_close(isp->by_source[i].lacks);
        isp->by_source[i].lacks = NULL;
    }
}

static void on_again(struct loop_timer *t)
{
    struct isp *isp = CONTAINER(t, struct isp, again);
    look_no_more(isp);
    isp_service(isp);
}

/* What only this path may carry waits for l, while other sources have a permit and other mail goes. */
static void look_again(struct path *p, const struct limit *l)
{
    struct loop *loop = p->paths->conf.loop;
    struct loop_timer *t = &p->isp->again;
    int64_t now = loop_now_ms(loop), due = limit_due_ms(l);
    if (due <= now)
        due = now + 1;
    else if (due == INT64_MAX) /* who lets go calls those in line only */
        due = now + AGAIN_MS;
    if (!loop_timer_active(t) || loop_timer_due_ms(t) > due)
        loop_timer_start(loop, t, due - now, on_again);
    if (!p->lacks)
        p->lacks = limit_interval(l);
}

/* This path lacks a permit of l for the share's mail (lane NULL) or the lane's. Where no other source has one
 * either, the limit to wait at: the first that is due. NULL: another source has, and this one looks again. */
static struct limit *lacks_everywhere(struct path *p, const struct share *sh, const struct lane *lane,
                                      unsigned scopes, struct limit *l)
{
    struct paths *ps = p->paths;
    const struct stream *st = sh->campaign->stream;
    bool bound = lane && lane->source != UINT16_MAX && p->isp->by_source[lane->source].usable;
    if (bound || !limit_counts_by(l, CONF_BY_SOURCE))
        return l;
    for (size_t i = 0; i < st->nsources; i++) {
        struct path *other = &p->isp->by_source[st->sources[i]];
        if (other == p || !other->usable || measures_hold_path(other) || !path_may_carry(p->isp, st, i))
            continue;
        struct limit_who who = path_who_of_mail(other, sh->campaign, sh->site, lane, NULL);
        struct limit *theirs = limits_lacking(ps->limits, scopes, &who);
        if (!theirs) {
            look_again(p, l);
            return NULL;
        }
        if (limit_due_ms(theirs) < limit_due_ms(l))
            l = theirs;
    }
    return l;
}

/* Who stands in line for l gets a permit only when a connection is closed: an idle one need not stay. */
static void ask_the_idle(const struct path *p, const struct limit *l)
{
    const struct paths_conf *conf = &p->paths->conf;
    if (conf->yield && limit_due_ms(l) == INT64_MAX && limit_is_of_opening(l))
        conf->yield(conf->data);
}

bool lane_lacks(struct path *p, const struct share *sh, struct lane *lane, const struct path_session *by)
{
    struct limits *ls = p->paths->limits;
    unsigned scopes = LIMIT_LANE | LIMIT_HOLD_LANE | (by ? 0 : LIMIT_OPEN_LANE);
    if (!limits_have(ls, scopes))
        return false;
    struct limit_who who = path_who_of_mail(p, sh->campaign, sh->site, lane, by);
    struct limit *l = limits_lacking(ls, scopes, &who);
    if (!l)
        return false;
    l = lacks_everywhere(p, sh, lane, scopes, l);
    if (l) {
        if (limit_is_of_message(l))
            lane_ring_remove(lane);
        else
            lane_set_aside(lane);
        limit_wait(l, &lane->wait, LIMIT_WAIT_LANE, lane->campaign->stream->priority);
    }
    return true;
}

bool share_lacks(struct path *p, struct share *sh, const struct path_session *by)
{
    struct limits *ls = p->paths->limits;
    unsigned scopes = LIMIT_SHARE | LIMIT_HOLD_SHARE | (by ? 0 : LIMIT_OPEN_SHARE);
    if (!limits_have(ls, scopes))
        return false;
    struct limit_who who = path_who_of_mail(p, sh->campaign, sh->site, NULL, by);
    struct limit *l = limits_lacking(ls, scopes, &who);
    if (!l)
        return false;
    l = lacks_everywhere(p, sh, NULL, scopes, l);
    if (l) {
        limit_wait(l, &sh->wait, LIMIT_WAIT_SHARE, sh->campaign->stream->priority);
        ask_the_idle(p, l);
        site_ring_check(sh->site);
        if (limit_warmup(l))
            path_spill_later(p->isp, sh->campaign->stream);
    }
    return true;
}

/* Of the most urgent mail that is ready at this site; CONF_PRIORITIES: none is. */
static enum conf_priority site_urgency(const struct site *s)
{
    enum conf_priority best = CONF_PRIORITIES;
    for (const struct share *sh = s->shares; sh; sh = sh->next)
        if (share_is_active(sh) && sh->campaign->stream->priority < best)
            best = sh->campaign->stream->priority;
    return best;
}

/* It lacks a permit of this scope, and waits for it from here on. */
static bool lacks(struct path *p, const struct site *s, enum limit_scope scope, struct limit_wait *w,
                  enum limit_waiter kind)
{
    struct limits *ls = p->paths->limits;
    if (!limits_have(ls, scope))
        return false;
    enum conf_priority urgency = site_urgency(s);
    if (urgency == CONF_PRIORITIES || limit_waits(w))
        return true;
    struct limit_who who = path_who_of(p);
    struct limit *l = limits_lacking(ls, scope, &who);
    if (l) {
        limit_wait(l, w, kind, urgency);
        ask_the_idle(p, l);
    }
    return l != NULL;
}

bool path_lacks(struct path *p, struct site *s)
{
    return lacks(p, s, LIMIT_PATH, &p->wait, LIMIT_WAIT_PATH);
}

/* Some of what is ready at the site is for this path. */
static bool has_use(const struct path *p, const struct site *s)
{
    for (const struct share *sh = s->shares; sh; sh = sh->next) {
        const struct lane *lane = sh->ring;
        if (!share_is_active(sh))
            continue;
        if (path_source_index(sh->campaign->stream, p->source) != SIZE_MAX)
            return true;
        do { /* those that an earlier script bound to it */
            if (lane->source == p->source)
                return true;
            lane = lane->next;
        } while (lane != sh->ring);
    }
    return false;
}

/* The same for a new connection, also to a site that has one. */
bool path_open_lacks(struct path *p, struct site *s)
{
    if (limits_have(p->paths->limits, LIMIT_OPEN) && !has_use(p, s))
        return true;
    return lacks(p, s, LIMIT_OPEN, &p->wait_open, LIMIT_WAIT_OPEN);
}

void isp_stand_forward(struct isp *isp, const struct stream *st)
{
    for (size_t i = 0; i < st->nsources; i++) {
        struct path *p = &isp->by_source[st->sources[i]];
        if (limit_waits(&p->wait) && st->priority < p->wait.priority)
            limit_wait(p->wait.at, &p->wait, LIMIT_WAIT_PATH, st->priority);
        if (limit_waits(&p->wait_open) && st->priority < p->wait_open.priority)
            limit_wait(p->wait_open.at, &p->wait_open, LIMIT_WAIT_OPEN, st->priority);
    }
}

void path_begin(struct path *p, struct lane *lane, uint64_t id)
{
    measures_renew(p, lane->domain->site, lane->campaign, id);
    if (!limits_have(p->paths->limits, LIMIT_MESSAGE))
        return;
    struct limit_who who = path_who_of_mail(p, lane->campaign, lane->domain->site, lane, NULL);
    limits_renew(p->paths->limits, &who, id);
}

void path_return(struct path *p, struct lane *lane, uint64_t id)
{
    measures_return(p, lane->domain->site, lane->campaign, id);
    if (!limits_have(p->paths->limits, LIMIT_MESSAGE))
        return;
    struct limit_who who = path_who_of_mail(p, lane->campaign, lane->domain->site, lane, NULL);
    limits_return(p->paths->limits, &who, id);
}

/* The share, and those that waited with it at the site: the pull decides between them. */
static struct isp *share_back(struct share *sh, struct limit *at)
{
    struct site *s = sh->site;
    for (struct share *other = s->shares; other; other = other->next)
        if (other->wait.at == at)
            limit_leave(&other->wait);
    if (!sh->ring)
        return s->isp;
    site_ring_add(s);
    isp_press(s, sh->campaign->stream);
    s->isp->ready = s;
    return s->isp;
}

static void attach_again(struct paths *ps, struct lane *lane)
{
    if (lane->aside)
        lane_ring_remove(lane);
    path_attach(ps, lane);
}

static struct isp *lane_back(struct paths *ps, struct lane *lane, struct limit *at)
{
    for (struct lane *other = lane->domain->lanes; other; other = other->of_domain) {
        if (other->wait.at == at) {
            limit_leave(&other->wait);
            attach_again(ps, other);
        }
    }
    attach_again(ps, lane);
    if (!lane->share)
        return NULL;
    lane->share->ring = lane;
    if (share_is_active(lane->share))
        lane->share->site->isp->ready = lane->share->site;
    return lane->share->site->isp;
}

void path_serve(void *data, struct limit_wait *w, struct limit *at)
{
    struct isp *isp = NULL;
    switch (w->kind) {
    case LIMIT_WAIT_PATH:
        isp = CONTAINER(w, struct path, wait)->isp;
        break;
    case LIMIT_WAIT_OPEN:
        isp = CONTAINER(w, struct path, wait_open)->isp;
        break;
    case LIMIT_WAIT_SHARE:
        isp = share_back(CONTAINER(w, struct share, wait), at);
        break;
    case LIMIT_WAIT_LANE:
        isp = lane_back(data, CONTAINER(w, struct lane, wait), at);
        break;
    }
    if (isp)
        isp_serve(isp);
}

/* --- what is kept of waiting --- */

static struct slice source_name_of(const struct path *p)
{
    return p->paths->conf.conf->sources[p->source].name;
}

static struct interval *waits_for_connection(const struct path *p)
{
    struct interval_cause c = interval_cause(INTERVAL_PATH);
    struct buf words = {0};
    buf_printf(&words, "for its turn: every connection from %.*s to %.*s was in use",
               SLICE_FMT(source_name_of(p)), SLICE_FMT(p->isp->name));
    c.isp = p->isp->name;
    c.source = source_name_of(p);
    c.why = buf_slice(&words);
    struct interval *i = interval_open(p->paths->conf.intervals, &c);
    buf_free(&words);
    return i;
}

static void set_full(struct path *p, bool full)
{
    if (full == (p->full != NULL))
        return;
    if (full) {
        p->full = waits_for_connection(p);
        p->isp->nfull++;
    } else {
        interval_close(p->full);
        p->full = NULL;
        p->isp->nfull--;
    }
}

static void set_starved(struct isp *isp, bool starved)
{
    if (starved == (isp->waits != NULL))
        return;
    interval_close(isp->waits);
    isp->waits = NULL;
    if (!starved)
        return;
    struct interval_cause c = interval_cause(INTERVAL_SOCKETS);
    c.isp = isp->name;
    c.why = S("because as many connections were open as there may be in all");
    isp->waits = interval_open(isp->paths->conf.intervals, &c);
}

void isp_waits(struct isp *isp)
{
    if (!isp->paths->conf.intervals || !isp->ready)
        return;
    for (size_t i = 0; i < isp->paths->conf.conf->nsources; i++) {
        struct path *p = &isp->by_source[i];
        set_full(p, p->usable && !path_is_closed(p) && !path_has_room(p));
    }
    set_starved(isp, isp->starved);
}

void isp_waits_no_more(struct isp *isp)
{
    look_no_more(isp);
    if (isp->waits)
        set_starved(isp, false);
    for (size_t i = 0; isp->nfull && i < isp->paths->conf.conf->nsources; i++)
        set_full(&isp->by_source[i], false);
}

/* --- when --- */

/* UTC ms of the permit for which w waits; 0: it waits for none, or only until a connection ends. */
static int64_t permit_ms(const struct loop *loop, const struct limit_wait *w)
{
    int64_t due = w->at ? limit_due_ms(w->at) : INT64_MAX, now = loop_now_ms(loop);
    return due == INT64_MAX ? 0 : loop_wall_ms(loop) + (due > now ? due - now : 0);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static bool may_carry(const struct path *p, const struct lane *lane)
{
    return p->usable &&
           (lane->source == UINT16_MAX || lane->source == p->source ||
            !p->isp->by_source[lane->source].usable || measures_turn_away(&p->isp->by_source[lane->source]));
}

int64_t path_release_ms(const struct isp *isp, const struct lane *lane)
{
    const struct stream *st = lane->campaign->stream;
    const struct loop *loop = isp->paths->conf.loop;
    const struct paths_conf *conf = &isp->paths->conf;
    int64_t first = INT64_MAX, all = permit_ms(loop, &lane->wait);
    bool waits_for_people = true; /* nobody knows when: it is paused, or no source can carry it */
    if (lane->share)
        all = later(all, permit_ms(loop, &lane->share->wait));
    for (size_t i = 0; i < st->nsources; i++) {
        const struct path *p = &isp->by_source[st->sources[i]];
        if (!may_carry(p, lane))
            continue;
        if (conf->is_paused && conf->is_paused(conf->data, p))
            continue;
        waits_for_people = false;
        int64_t mine = 0;
        measures_holder(p, lane->domain->site, lane->campaign, &mine);
        mine = later(mine, permit_ms(loop, &p->wait));
        if (!p->sessions)
            mine = later(mine, permit_ms(loop, &p->wait_open));
        if (mine < first)
            first = mine;
    }
    return waits_for_people ? INT64_MAX : later(first, all);
}

const struct limit *path_waits_for(const struct isp *isp, const struct lane *lane)
{
    const struct stream *st = lane->campaign->stream;
    if (lane->wait.at)
        return lane->wait.at;
    if (lane->share && lane->share->wait.at)
        return lane->share->wait.at;
    for (size_t i = 0; i < st->nsources; i++) {
        const struct path *p = &isp->by_source[st->sources[i]];
        if (may_carry(p, lane) && p->wait.at)
            return p->wait.at;
        if (may_carry(p, lane) && !p->sessions && p->wait_open.at)
            return p->wait_open.at;
    }
    return NULL;
}
