/* path.c - see path.h: isps, rings, the pull, and when a session is opened. Why something waits is
 * path_wait.c's. */
#include "delivery/path_impl.h"

#include <stdlib.h>

enum { STRIDE = 1 << 20 };

struct paths *paths_new(const struct paths_conf *conf)
{
    struct paths *ps = mem_zalloc(sizeof *ps);
    struct hash_key hk;
    ps->conf = *conf;
    if (!ps->conf.sockets_most)
        ps->conf.sockets_most = 4000;
    if (!ps->conf.source_sockets_most)
        ps->conf.source_sockets_most = 2000;
    ps->source_sockets = mem_zalloc(conf->conf->nsources * sizeof *ps->source_sockets);
    ps->absent = mem_zalloc(conf->conf->nsources * sizeof *ps->absent);
    loop_random_bytes(conf->loop, &hk, sizeof hk);
    map_init(&ps->isps, hk);
    ps->limits = limits_new(&(struct limits_conf){.loop = conf->loop,
                                                  .intervals = conf->intervals,
                                                  .conf = conf->conf,
                                                  .warmups = conf->warmups,
                                                  .data = ps,
                                                  .serve = path_serve});
    ps->measures = measures_new(&(struct measures_conf){.loop = conf->loop,
                                                        .paths = ps,
                                                        .conf = conf->conf,
                                                        .intervals = conf->intervals,
                                                        .data = conf->data,
                                                        .changed = conf->measured,
                                                        .counted = conf->counted});
    return ps;
}

struct limits *paths_limits(struct paths *ps)
{
    return ps->limits;
}

struct measures *paths_measures(struct paths *ps)
{
    return ps->measures;
}

void paths_free(struct paths *ps)
{
    size_t at = 0;
    if (!ps)
        return;
    measures_free(ps->measures);
    for (struct map_entry *e; (e = map_next(&ps->isps, &at));) {
        struct isp *isp = e->value;
        for (struct isp_share *s = isp->shares, *next; s; s = next) {
            next = s->next;
            free(s);
        }
        measures_part(isp);
        for (size_t i = 0; i < ps->conf.conf->nsources; i++)
            free(isp->by_source[i].backoff);
        loop_task_cancel(ps->conf.loop, &isp->task);
        loop_timer_stop(ps->conf.loop, &isp->again);
        path_spills_free(isp);
        free(isp->by_source);
        free((char *)isp->name.p);
        free(isp);
    }
    map_free(&ps->isps);
    limits_free(ps->limits);
    free(ps->source_sockets);
    free(ps->absent);
    free(ps);
}

void site_free_shares(struct site *s)
{
    while (s->shares) {
        struct share *sh = s->shares;
        s->shares = sh->next;
        free(sh);
    }
}

/* --- isps --- */

static bool is_usable(const struct paths *ps, const struct conf_isp *isp, uint16_t source)
{
    return !ps->absent[source] && conf_family_fits(ps->conf.conf, isp, &ps->conf.conf->sources[source]);
}

void paths_set_absent(struct paths *ps, uint16_t source, bool absent)
{
    size_t at = 0;
    ps->absent[source] = absent;
    for (struct isp *isp; (isp = paths_next_isp(ps, &at));) {
        isp->by_source[source].usable = is_usable(ps, isp->conf, source);
        isp_service(isp);
    }
}

bool paths_source_is_absent(const struct paths *ps, uint16_t source)
{
    return ps->absent[source];
}

static struct isp *isp_get(struct paths *ps, struct slice name, const struct conf_isp *conf)
{
    struct isp *isp = map_get(&ps->isps, name);
    if (isp)
        return isp;
    isp = mem_zalloc(sizeof *isp);
    isp->name = slice_of(mem_dup(name.p, name.n), name.n);
    isp->conf = conf;
    isp->paths = ps;
    isp->by_source = mem_zalloc(ps->conf.conf->nsources * sizeof *isp->by_source);
    for (size_t i = 0; i < ps->conf.conf->nsources; i++)
        isp->by_source[i] = (struct path){.isp = isp,
                                          .source = (uint16_t)i,
                                          .ramp = 1,
                                          .usable = is_usable(ps, conf, (uint16_t)i),
                                          .paths = ps};
    isp->pressing = CONF_PRIORITIES;
    map_put(&ps->isps, name, isp);
    measures_meet(ps->measures, isp);
    return isp;
}

void paths_place_site(struct paths *ps, struct site *s, struct slice domain)
{
    const struct conf *c = ps->conf.conf;
    struct slice *hosts = mem_alloc(s->nhosts * sizeof *hosts);
    for (size_t i = 0; i < s->nhosts; i++)
        hosts[i] = s->hosts[i].host->name;
    uint16_t index = conf_match_isp(c, domain, hosts, s->nhosts);
    free(hosts);
    if (index != CONF_NONE)
        s->isp = isp_get(ps, c->isps[index].name, &c->isps[index]);
    else
        s->isp = isp_get(ps, s->hosts[0].host->name, NULL);
}

struct isp *paths_isp(struct paths *ps, struct slice name)
{
    const struct conf *c = ps->conf.conf;
    for (size_t i = 0; i < c->nisps; i++)
        if (slice_eq(c->isps[i].name, name))
            return isp_get(ps, name, &c->isps[i]);
    return isp_get(ps, name, NULL);
}

struct isp *paths_next_isp(struct paths *ps, size_t *at)
{
    struct map_entry *e = map_next(&ps->isps, at);
    return e ? e->value : NULL;
}

/* --- rings of ready lanes and sites --- */

void site_ring_add(struct site *s)
{
    struct isp *isp = s->isp;
    if (s->next_ready)
        return;
    isp->nready++;
    if (!isp->ready) {
        s->next_ready = s->prev_ready = s;
        isp->ready = s;
        return;
    }
    s->next_ready = isp->ready;
    s->prev_ready = isp->ready->prev_ready;
    s->prev_ready->next_ready = s;
    isp->ready->prev_ready = s;
}

static void site_ring_remove(struct site *s)
{
    if (!s->next_ready)
        return;
    s->isp->nready--;
    if (s->next_ready == s) {
        s->isp->ready = NULL;
        isp_waits_no_more(s->isp);
    } else {
        s->next_ready->prev_ready = s->prev_ready;
        s->prev_ready->next_ready = s->next_ready;
        if (s->isp->ready == s)
            s->isp->ready = s->next_ready;
    }
    s->next_ready = s->prev_ready = NULL;
    s->awaited = false;
}

bool share_is_active(const struct share *sh)
{
    return sh->ring && !limit_waits(&sh->wait);
}

bool share_shows(const struct share *sh, const struct path_session *by)
{
    return by ? (sh->ring || sh->aside) && limit_shows(&sh->wait, by->holder) : share_is_active(sh);
}

void site_ring_check(struct site *s)
{
    for (struct share *sh = s->shares; sh; sh = sh->next)
        if (share_is_active(sh))
            return;
    site_ring_remove(s);
}

static struct isp_share *isp_share_of(struct isp *isp, struct campaign *c)
{
    for (struct isp_share *s = isp->shares; s; s = s->next)
        if (s->campaign == c)
            return s;
    struct isp_share *s = mem_zalloc(sizeof *s);
    s->campaign = c;
    s->next = isp->shares;
    isp->shares = s;
    return s;
}

static struct share *share_of(struct site *site, struct campaign *c)
{
    for (struct share *s = site->shares; s; s = s->next)
        if (s->campaign == c)
            return s;
    struct share *s = mem_zalloc(sizeof *s);
    s->site = site;
    s->campaign = c;
    s->at_isp = isp_share_of(site->isp, c);
    s->next = site->shares;
    site->shares = s;
    return s;
}

static void ring_add(struct lane **ring, struct lane *lane)
{
    if (!*ring) {
        lane->next = lane->prev = *ring = lane;
        return;
    }
    lane->next = *ring;
    lane->prev = (*ring)->prev;
    lane->prev->next = lane;
    (*ring)->prev = lane;
}

static void ring_remove(struct lane **ring, struct lane *lane)
{
    lane->next->prev = lane->prev;
    lane->prev->next = lane->next;
    if (*ring == lane)
        *ring = lane->next == lane ? NULL : lane->next;
    lane->next = lane->prev = NULL;
}

void path_attach(struct paths *ps, struct lane *lane)
{
    struct site *site = lane->domain->site;
    if (lane->next || limit_waits(&lane->wait) || !lane->ready.n || !site ||
        lane->campaign->run != CAMPAIGN_RUNNING)
        return;
    struct share *sh = share_of(site, lane->campaign);
    /* Who was away does not get what it did not use. */
    if (!sh->ring && !sh->aside && sh->at_isp->pass < site->isp->pass)
        sh->at_isp->pass = site->isp->pass;
    ring_add(&sh->ring, lane);
    lane->share = sh;
    if (limit_waits(&sh->wait)) {
        /* An idle connection may carry what waits for a new one. */
        if (site->isp->idle && limit_is_of_opening(sh->wait.at)) {
            site_ring_add(site);
            isp_service(site->isp);
        }
        return;
    }
    site_ring_add(site);
    isp_press(site, lane->campaign->stream);
    isp_stand_forward(site->isp, lane->campaign->stream);
    isp_service(site->isp);
}

void lane_ring_remove(struct lane *lane)
{
    struct share *sh = lane->share;
    ring_remove(lane->aside ? &sh->aside : &sh->ring, lane);
    if (!sh->ring)
        limit_leave(&sh->wait);
    lane->share = NULL;
    lane->aside = false;
    site_ring_check(sh->site);
}

void lane_set_aside(struct lane *lane)
{
    struct share *sh = lane->share;
    if (lane->aside)
        return;
    lane_ring_remove(lane);
    lane->share = sh;
    lane->aside = true;
    ring_add(&sh->aside, lane);
}

void path_detach(struct paths *ps, struct lane *lane)
{
    (void)ps;
    limit_leave(&lane->wait);
    if (lane->next)
        lane_ring_remove(lane);
}

/* --- the pull --- */

bool path_is_closed(const struct path *p)
{
    const struct paths_conf *conf = &p->paths->conf;
    return measures_hold_path(p) || (conf->is_paused && conf->is_paused(conf->data, p));
}

/* Whether the lane's next try must go from the source of its first. */
static bool is_bound(const struct isp *isp, const struct lane *lane)
{
    if (lane->source == UINT16_MAX || !isp->by_source[lane->source].usable)
        return false;
    return !isp->measures || !measures_turn_away(&isp->by_source[lane->source]);
}

enum conf_tls path_tls(const struct isp *isp, const struct lane *lane)
{
    const struct conf_stream *stream = lane->campaign->stream->conf;
    enum conf_tls a = isp->conf ? isp->conf->tls : CONF_TLS_UNSET, b = stream ? stream->tls : CONF_TLS_UNSET;
    enum conf_tls strict = a > b ? a : b; /* the enum rises with strictness */
    return strict == CONF_TLS_UNSET ? CONF_TLS_OPPORTUNISTIC : strict;
}

bool lane_fits(const struct path *p, const struct site *s, const struct lane *lane,
               const struct path_session *by)
{
    uint16_t source = p->source;
    if (by && by->tls != path_tls(p->isp, lane))
        return false;
    bool bound = is_bound(p->isp, lane);
    if (bound ? lane->source != source : path_source_index(lane->campaign->stream, source) == SIZE_MAX)
        return false;
    if (!by)
        return true;
    if (lane->host && !slice_eq(slice_cstr(lane->host), by->host->name))
        return false;
    struct limits *ls = p->paths->limits;
    if (!limits_have(ls, LIMIT_CARRIED))
        return true;
    struct limit_who who = path_who_of_mail(p, lane->campaign, s, lane, by);
    return limits_may_carry(ls, &who);
}

static struct lane *find_in(struct path *p, const struct share *sh, struct lane *first,
                            const struct path_session *by)
{
    struct lane *lane = first, *last = first ? first->prev : NULL, *next;
    for (bool end = !first; !end; lane = next) {
        next = lane->next; /* a lane that must wait leaves the ring */
        end = lane == last;
        if ((!by || limit_shows(&lane->wait, by->holder)) && lane_fits(p, sh->site, lane, by) &&
            !lane_lacks(p, sh, lane, by))
            return lane;
    }
    return NULL;
}

static struct lane *find_lane(struct path *p, const struct share *sh, const struct path_session *by)
{
    struct lane *found = by && sh->aside_next ? find_in(p, sh, sh->aside, by) : NULL;
    if (!found)
        found = find_in(p, sh, sh->ring, by);
    return found || !by || sh->aside_next ? found : find_in(p, sh, sh->aside, by);
}

static bool goes_before(const struct share *a, const struct share *b)
{
    enum conf_priority pa = a->campaign->stream->priority, pb = b->campaign->stream->priority;
    return pa != pb ? pa < pb : a->at_isp->pass < b->at_isp->pass;
}

static bool carries(const struct path *p, const struct share *sh)
{
    const struct stream *st = sh->campaign->stream;
    size_t index = path_source_index(st, p->source);
    /* A source that is none of its own: lanes that are bound to one from an earlier script say so themselves.
     */
    return index == SIZE_MAX || path_may_carry(p->isp, st, index);
}

bool path_may_go(const struct path *p, const struct share *sh, const struct path_session *by)
{
    const struct isp *isp = p->isp;
    return share_shows(sh, by) && !(isp->beyond && sh->campaign->stream->unproven) &&
           !measures_hold_mail(isp, sh->campaign) && carries(p, sh);
}

uint64_t path_pull(struct path *p, struct site *s, const struct path_session *by, bool ahead,
                   struct lane **out)
{
    struct limits *ls = p->paths->limits;
    struct share *best = NULL;
    struct lane *lane = NULL;
    if (path_is_closed(p) || measures_hold_site(s) ||
        (ahead && (limits_pace(ls, p->isp->conf) || measures_pace(p))) || path_lacks(p, s))
        return 0;
    for (struct share *sh = s->shares; sh; sh = sh->next) {
        if ((best && !goes_before(sh, best)) || !path_may_go(p, sh, by) || share_lacks(p, sh, by))
            continue;
        struct lane *found = find_lane(p, sh, by);
        if (found) {
            best = sh;
            lane = found;
        }
    }
    if (!best)
        return 0;
    struct stream *st = best->campaign->stream;
    uint64_t id = lane_pop(p->paths->conf.queue, lane, false);
    INVARIANT(id);
    if (limits_have(ls, LIMIT_MESSAGE)) {
        struct limit_who who = path_who_of_mail(p, best->campaign, s, lane, by);
        limits_take(ls, LIMIT_MESSAGE, &who, id);
    }
    measures_take(p, s, best->campaign, id);
    *(lane->aside ? &best->aside : &best->ring) = lane->next;
    best->aside_next = !lane->aside;
    if (s->isp->pass < best->at_isp->pass)
        s->isp->pass = best->at_isp->pass;
    best->at_isp->pass += STRIDE / (st->weight ? st->weight : 1);
    if (lane->source == UINT16_MAX)
        path_took_one(p, best);
    if (!lane->ready.n) {
        limit_leave(&lane->wait);
        lane_ring_remove(lane);
    }
    *out = lane;
    return id;
}

uint64_t path_take_first(struct paths *ps, struct lane *lane)
{
    uint64_t id = lane_pop(ps->conf.queue, lane, false);
    if (!lane->ready.n)
        path_detach(ps, lane);
    return id;
}

/* --- opening sessions --- */

unsigned path_connections_most(const struct path *p)
{
    unsigned most = p->isp->conf && p->isp->conf->connections ? p->isp->conf->connections : PATH_CONNECTIONS;
    return measures_connections(p, most);
}

unsigned path_per_connection(const struct path *p)
{
    unsigned most =
        p->isp->conf && p->isp->conf->per_connection ? p->isp->conf->per_connection : PATH_PER_CONNECTION;
    unsigned least = limits_per_connection(p->paths->limits);
    return least < most ? least : most;
}

unsigned path_connections_now(const struct path *p)
{
    unsigned most = path_connections_most(p);
    return p->ramp < most ? p->ramp : most;
}

bool path_has_room(const struct path *p)
{
    return p->sessions < path_connections_now(p);
}

bool site_takes_session(const struct site *s)
{
    switch (s->state) {
    case SITE_UP:
        return !measures_site_is_full(s, s->opening + s->connected);
    case SITE_PROBE:
        return s->opening + s->connected == 0;
    case SITE_DOWN:
        break;
    }
    return false;
}

/* There is no socket for it now: it is looked at again when one is free. */
static void starve(struct isp *isp)
{
    isp->paths->nstarved += !isp->starved;
    isp->starved = true;
}

/* One of those, in turn. */
static void feed_starved(struct paths *ps)
{
    for (int round = 0; ps->nstarved && round < 2; round++, ps->starved_at = 0)
        for (struct isp *isp; (isp = paths_next_isp(ps, &ps->starved_at));)
            if (isp->starved) {
                isp->starved = false;
                ps->nstarved--;
                isp_service(isp);
                return;
            }
}

/* How a source stands among those that could carry what is ready at a site. */
struct claim {
    enum conf_priority priority; /* of the most urgent of its mail */
    int64_t credit;              /* the most that a stream gives it */
};

static struct claim claim_of(const struct site *s, uint16_t source)
{
    struct claim c = {CONF_PRIORITIES, INT64_MIN};
    for (const struct share *sh = s->shares; sh; sh = sh->next) {
        const struct stream *st = sh->campaign->stream;
        size_t i = share_is_active(sh) ? path_source_index(st, source) : SIZE_MAX;
        if (i == SIZE_MAX)
            continue;
        if (st->priority < c.priority)
            c.priority = st->priority;
        if (st->source_credit[i] + st->source_weight[i] > c.credit)
            c.credit = st->source_credit[i] + st->source_weight[i];
    }
    return c;
}

/* The sources of the site's ready mail, the one with the most urgent first, then the one with most credit. */
static struct path *choose_path(struct isp *isp, struct site *s, struct lane **lane, uint64_t *id)
{
    struct paths *ps = isp->paths;
    size_t n = ps->conf.conf->nsources;
    uint64_t mark = ++ps->searches;
    for (size_t round = 0; round < n; round++) {
        size_t best = SIZE_MAX;
        struct claim of_best = {CONF_PRIORITIES, INT64_MIN};
        for (size_t i = 0; i < n; i++) {
            if (isp->by_source[i].tried == mark)
                continue;
            struct claim c = claim_of(s, (uint16_t)i);
            if (best == SIZE_MAX || c.priority < of_best.priority ||
                (c.priority == of_best.priority && c.credit > of_best.credit)) {
                of_best = c;
                best = i;
            }
        }
        if (best == SIZE_MAX)
            break;
        struct path *p = &isp->by_source[best];
        p->tried = mark;
        if (path_is_closed(p) || !p->usable || limit_waits(&p->wait))
            continue;
        if (!path_has_room(p)) {
            ps->conf.shed(ps->conf.data, p);
            continue;
        }
        if (ps->source_sockets[best] >= ps->conf.source_sockets_most) {
            starve(isp);
            continue;
        }
        if (path_open_lacks(p, s))
            continue;
        *id = path_pull(p, s, NULL, false, lane);
        if (*id)
            return p;
    }
    return NULL;
}

static bool open_one(struct isp *isp, struct site *s)
{
    struct paths *ps = isp->paths;
    struct lane *lane;
    uint64_t id;
    if (ps->conf.wake(ps->conf.data, s))
        return true;
    if (!site_takes_session(s))
        return false;
    if (ps->sockets >= ps->conf.sockets_most) {
        starve(isp);
        return false;
    }
    struct path *p = choose_path(isp, s, &lane, &id);
    if (!p) {
        site_ring_check(s); /* what is here may be an idle connection's only */
        return false;
    }
    if (limits_have(ps->limits, LIMIT_OPENING)) {
        struct limit_who who = path_who_of_mail(p, lane->campaign, s, lane, NULL);
        limits_take(ps->limits, LIMIT_OPENING, &who, 0);
    }
    s->awaited = false;
    p->sessions++;
    ps->sockets++;
    ps->source_sockets[p->source]++;
    ps->conf.open(ps->conf.data, p, s, lane, id);
    return true;
}

static bool isp_has_room(const struct isp *isp)
{
    for (size_t i = 0; i < isp->paths->conf.conf->nsources; i++) {
        const struct path *p = &isp->by_source[i];
        bool may_open = path_has_room(p) && !limit_waits(&p->wait_open);
        if (p->usable && !path_is_closed(p) && !limit_waits(&p->wait) && (may_open || isp->idle))
            return true;
    }
    return false;
}

/* Round the ring, one session for each site in its turn, until a whole round opened none. */
void isp_serve(struct isp *isp)
{
    const struct paths_conf *conf = &isp->paths->conf;
    size_t fruitless = 0;
    if (conf->may_open && !conf->may_open(conf->data))
        return;
    isp_serve_pressing(isp);
    while (isp->ready && fruitless < isp->nready && isp_has_room(isp)) {
        struct site *s = isp->ready;
        isp->ready = s->next_ready;
        fruitless = open_one(isp, s) ? 0 : fruitless + 1;
    }
    isp_waits(isp);
}

static void on_service(struct loop_task *t)
{
    struct isp *isp = CONTAINER(t, struct isp, task);
    isp_serve(isp);
    /* A socket that this one was woken for and had no use for is another's. */
    if (!isp->starved && isp->paths->sockets < isp->paths->conf.sockets_most)
        feed_starved(isp->paths);
}

void isp_service(struct isp *isp)
{
    loop_post(isp->paths->conf.loop, &isp->task, on_service);
}

void path_session_gone(struct path *p)
{
    struct paths *ps = p->paths;
    INVARIANT(p->sessions && ps->sockets && ps->source_sockets[p->source]);
    p->sessions--;
    ps->sockets--;
    ps->source_sockets[p->source]--;
    isp_service(p->isp);
    feed_starved(ps);
}

void path_took(struct path *p)
{
    if (++p->accepted < PATH_RAMP_STEP)
        return;
    p->accepted = 0;
    if (p->ramp < path_connections_most(p)) {
        p->ramp++;
        if (p->isp->ready)
            isp_service(p->isp);
    }
}

void path_refused(struct path *p)
{
    p->ramp = 1;
    p->accepted = 0;
}
