/* site.c - see site.h. */
#include "delivery/site.h"
#include "base/err.h"
#include "delivery/path.h"
#include "platform/tls.h"

#include <stdlib.h>

struct sites {
    struct sites_conf conf;
    struct map domains, sites, hosts;
    struct domain *first, **last; /* QUEUED */
    size_t asking;
    struct loop_task task;
    struct buf scratch;
};

enum { DNS_WAIT_MOST_MS = 3600000 };

static void on_task(struct loop_task *t);

struct sites *sites_new(const struct sites_conf *conf)
{
    struct sites *s = mem_zalloc(sizeof *s);
    struct hash_key hk;
    s->conf = *conf;
    if (!s->conf.max_asking)
        s->conf.max_asking = 200;
    if (!s->conf.host_rest_ms)
        s->conf.host_rest_ms = 10 * 60000;
    if (!s->conf.dns_wait_ms)
        s->conf.dns_wait_ms = 60000;
    s->last = &s->first;
    loop_random_bytes(conf->loop, &hk, sizeof hk);
    map_init(&s->domains, hk);
    map_init(&s->sites, hk);
    map_init(&s->hosts, hk);
    return s;
}

void sites_free(struct sites *s)
{
    size_t at = 0;
    if (!s)
        return;
    for (struct map_entry *e; (e = map_next(&s->domains, &at));) {
        struct domain *d = e->value;
        resolve_cancel(&d->req);
        loop_timer_stop(s->conf.loop, &d->timer);
        free((char *)d->name.p);
        free(d);
    }
    at = 0;
    for (struct map_entry *e; (e = map_next(&s->sites, &at));) {
        struct site *site = e->value;
        loop_timer_stop(s->conf.loop, &site->timer);
        free((char *)site->key.p);
        free(site->hosts);
        free(site);
    }
    at = 0;
    for (struct map_entry *e; (e = map_next(&s->hosts, &at));) {
        struct host *h = e->value;
        tls_session_free(h->tls);
        free((char *)h->name.p);
        free(h);
    }
    loop_task_cancel(s->conf.loop, &s->task);
    map_free(&s->domains);
    map_free(&s->sites);
    map_free(&s->hosts);
    buf_free(&s->scratch);
    free(s);
}

static struct slice own(struct slice s)
{
    return slice_of(mem_dup(s.p, s.n), s.n);
}

struct domain *sites_domain(struct sites *s, struct slice name)
{
    struct domain *d = map_get(&s->domains, name);
    if (d)
        return d;
    d = mem_zalloc(sizeof *d);
    d->name = own(name);
    d->sites = s;
    d->timer.data = d;
    d->req.data = d;
    map_put(&s->domains, name, d);
    return d;
}

static struct host *host_of(struct sites *s, struct slice name)
{
    struct host *h = map_get(&s->hosts, name);
    if (!h) {
        h = mem_zalloc(sizeof *h);
        h->name = own(name);
        map_put(&s->hosts, name, h);
    }
    return h;
}

static struct site *site_of(struct sites *s, const struct mx_set *set, struct slice domain)
{
    buf_clear(&s->scratch);
    for (size_t i = 0; i < set->n; i++) {
        buf_printf(&s->scratch, "%s%u ", i ? "," : "", set->hosts[i].pref);
        buf_adds(&s->scratch, set->hosts[i].name);
    }
    struct slice hosts[RESOLVE_MAX_HOSTS];
    for (size_t i = 0; i < set->n; i++)
        hosts[i] = set->hosts[i].name;
    if (s->conf.qualify)
        s->conf.qualify(s->conf.data, domain, hosts, set->n, &s->scratch);
    struct site *site = map_get(&s->sites, buf_slice(&s->scratch));
    if (site)
        return site;
    site = mem_zalloc(sizeof *site);
    site->key = own(buf_slice(&s->scratch));
    site->sites = s;
    site->nhosts = set->n;
    site->hosts = mem_alloc(set->n * sizeof *site->hosts);
    for (size_t i = 0; i < set->n; i++)
        site->hosts[i] = (struct site_host){host_of(s, set->hosts[i].name), set->hosts[i].pref};
    site->timer.data = site;
    map_put(&s->sites, site->key, site);
    s->conf.on_site(s->conf.data, site, domain);
    return site;
}

/* --- resolution --- */

/* Mail for the domain waits for an answer; failed: for another, because the last said nothing. */
static void domain_waits(struct domain *d, const char *failed)
{
    struct interval_cause c = interval_cause(INTERVAL_DNS);
    struct buf words = {0};
    interval_close(d->waits);
    d->waits = NULL;
    if (!d->sites->conf.intervals)
        return;
    if (failed)
        buf_printf(&words, "because DNS did not say where mail for %.*s goes (%s)", SLICE_FMT(d->name),
                   failed);
    else
        buf_printf(&words, "for DNS to say where mail for %.*s goes", SLICE_FMT(d->name));
    c.domain = d->name;
    c.why = buf_slice(&words);
    if (failed) /* also what tells an outage from a question, in the journal */
        c.until_ms = loop_wall_ms(d->sites->conf.loop) + d->fresh_until_ms - loop_now_ms(d->sites->conf.loop);
    d->waits = interval_open(d->sites->conf.intervals, &c);
    buf_free(&words);
}

static void domain_waits_no_more(struct domain *d)
{
    if (d->site)
        interval_found(d->waits, d->site->isp->name, d->site->key);
    interval_close(d->waits);
    d->waits = NULL;
}

static void on_wait_over(struct loop_timer *t)
{
    struct domain *d = t->data;
    if (d->state == DOMAIN_WAITING)
        d->state = DOMAIN_NEW;
    d->sites->conf.on_domain(d->sites->conf.data, d);
}

void domain_took(struct domain *d, bool raw)
{
    d->took_raw |= raw;
    d->took_quoted |= !raw;
}

void domain_again(struct domain *d)
{
    loop_timer_start(d->sites->conf.loop, &d->timer, 10, on_wait_over);
}

enum { APART_MS = 3600000 };

/* What is no more than an hour apart is kept as one of their lengths together. */
void outage_begin(struct outage *o, int64_t now_ms)
{
    if (o->from_ms && !o->to_ms)
        return;
    if (o->before_from_ms && o->from_ms - o->before_to_ms < APART_MS)
        o->from_ms -= o->before_to_ms - o->before_from_ms;
    *o = (struct outage){now_ms, 0, o->from_ms, o->to_ms};
}

void outage_end(struct outage *o, int64_t now_ms)
{
    if (o->from_ms && !o->to_ms)
        o->to_ms = now_ms;
}

static void set_dead(struct domain *d, enum verdict_cause cause, const struct mx_set *set)
{
    d->state = DOMAIN_DEAD;
    d->cause = cause;
    d->why = cause == CAUSE_NULL_MX ? "null MX" : resolve_status_name(set->status);
    d->site = NULL;
    outage_end(&d->outage, loop_wall_ms(d->sites->conf.loop));
    d->failures = 0;
}

/* Nobody knows now. A domain with an older answer goes on with it for as long as the failure lasts: mail that
 * is on its way is better served by yesterday's MX than by none. */
static void set_waiting(struct domain *d, const struct mx_set *set)
{
    struct sites *s = d->sites;
    int64_t wait = s->conf.dns_wait_ms;
    for (unsigned i = 0; i < d->failures && wait < DNS_WAIT_MOST_MS; i++)
        wait *= 2;
    if (wait > DNS_WAIT_MOST_MS)
        wait = DNS_WAIT_MOST_MS;
    d->failures++;
    d->fresh_until_ms = loop_now_ms(s->conf.loop) + wait;
    if (d->site)
        return;
    outage_begin(&d->outage, loop_wall_ms(s->conf.loop));
    d->state = DOMAIN_WAITING;
    d->cause = CAUSE_DNS_FAILED;
    d->why = resolve_status_name(set->status);
    domain_waits(d, d->why);
    loop_timer_start(s->conf.loop, &d->timer, wait, on_wait_over);
}

static void on_mx(struct resolve_req *req, const struct mx_set *set)
{
    struct domain *d = req->data;
    struct sites *s = d->sites;
    d->asking = false;
    s->asking--;
    d->fresh_until_ms = loop_now_ms(s->conf.loop) + (int64_t)set->ttl_s * 1000;
    switch (set->status) {
    case RESOLVE_OK:
        if (s->conf.exists)
            s->conf.exists(s->conf.data, d->name);
        if (set->kind == MX_NULL) {
            set_dead(d, CAUSE_NULL_MX, set);
            break;
        }
        d->state = DOMAIN_OK;
        d->site = site_of(s, set, d->name);
        outage_end(&d->outage, loop_wall_ms(s->conf.loop));
        d->failures = 0;
        break;
    case RESOLVE_NXDOMAIN:
        if (s->conf.is_fault && s->conf.is_fault(s->conf.data, d->name))
            set_waiting(d, set);
        else
            set_dead(d, CAUSE_NXDOMAIN, set);
        break;
    case RESOLVE_NODATA:
        set_dead(d, CAUSE_NO_ADDRESS, set);
        break;
    case RESOLVE_SERVFAIL:
    case RESOLVE_TIMEOUT:
    case RESOLVE_REFUSED:
    case RESOLVE_LOOP:
    case RESOLVE_BAD:
        set_waiting(d, set);
        break;
    }
    if (d->state != DOMAIN_WAITING)
        domain_waits_no_more(d);
    if (s->first)
        loop_post(s->conf.loop, &s->task, on_task);
    s->conf.on_domain(s->conf.data, d);
}

static void ask(struct domain *d)
{
    d->asking = true;
    d->sites->asking++;
    if (d->state == DOMAIN_QUEUED)
        d->state = DOMAIN_ASKING;
    resolve_mx(d->sites->conf.resolve, d->name, &d->req, on_mx);
}

static void on_task(struct loop_task *t)
{
    struct sites *s = CONTAINER(t, struct sites, task);
    while (s->first && s->asking < s->conf.max_asking) {
        struct domain *d = s->first;
        s->first = d->next_queued;
        if (!s->first)
            s->last = &s->first;
        ask(d);
    }
}

void domain_want(struct domain *d)
{
    struct sites *s = d->sites;
    bool stale = loop_now_ms(s->conf.loop) >= d->fresh_until_ms;
    switch (d->state) {
    case DOMAIN_QUEUED:
    case DOMAIN_ASKING:
    case DOMAIN_WAITING:
        return;
    case DOMAIN_OK:
        if (stale && !d->asking && s->asking < s->conf.max_asking)
            ask(d);
        return;
    case DOMAIN_DEAD:
        if (!stale)
            return;
        break;
    case DOMAIN_NEW:
        break;
    }
    d->state = DOMAIN_QUEUED;
    domain_waits(d, NULL);
    d->next_queued = NULL;
    *s->last = d;
    s->last = &d->next_queued;
    loop_post(s->conf.loop, &s->task, on_task);
}

/* --- hosts and sites --- */

size_t site_order(struct site *s, uint16_t *order, size_t max, int64_t *rest_ms)
{
    struct loop *loop = s->sites->conf.loop;
    int64_t now = loop_now_ms(loop), soonest = INT64_MAX;
    size_t n = 0;
    for (size_t i = 0; i < s->nhosts && n < max; i++) {
        int64_t rest = s->hosts[i].host->rest_until_ms;
        if (rest <= now)
            order[n++] = (uint16_t)i;
        else if (rest - now < soonest)
            soonest = rest - now;
    }
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && s->hosts[order[to]].pref == s->hosts[order[from]].pref;)
            to++;
        for (size_t i = to - 1; i > from; i--) {
            size_t j = from + loop_random_below(loop, i - from + 1);
            uint16_t t = order[i];
            order[i] = order[j];
            order[j] = t;
        }
    }
    *rest_ms = n ? 0 : soonest;
    return n;
}

void host_rest(struct sites *s, struct host *h)
{
    h->rest_until_ms = loop_now_ms(s->conf.loop) + s->conf.host_rest_ms;
}

void site_try_again(struct site *s)
{
    for (size_t i = 0; i < s->nhosts; i++)
        s->hosts[i].host->rest_until_ms = 0;
    outage_begin(&s->outage, loop_wall_ms(s->sites->conf.loop));
}

static void on_down_over(struct loop_timer *t)
{
    struct site *s = t->data;
    s->state = SITE_PROBE;
    s->sites->conf.on_probe(s->sites->conf.data, s);
}

static void site_waits(struct site *s)
{
    struct interval_cause c = interval_cause(INTERVAL_SITE);
    struct buf words = {0};
    buf_printf(&words, "because no host of %.*s could be reached", SLICE_FMT(s->isp->name));
    c.isp = s->isp->name;
    c.mx = s->key;
    c.why = buf_slice(&words);
    s->waits = interval_open(s->sites->conf.intervals, &c);
    buf_free(&words);
}

void site_down(struct site *s)
{
    struct loop *loop = s->sites->conf.loop;
    int64_t now = loop_now_ms(loop), soonest = s->sites->conf.host_rest_ms;
    for (size_t i = 0; i < s->nhosts; i++) {
        int64_t rest = s->hosts[i].host->rest_until_ms - now;
        if (rest < soonest)
            soonest = rest;
    }
    if (soonest < 1000) /* failed without a host to blame: not at once again all the same */
        soonest = 60000;
    outage_begin(&s->outage, loop_wall_ms(loop));
    if (!s->waits && s->sites->conf.intervals)
        site_waits(s);
    s->state = SITE_DOWN;
    loop_timer_start(loop, &s->timer, soonest, on_down_over);
}

void site_up(struct site *s)
{
    loop_timer_stop(s->sites->conf.loop, &s->timer);
    interval_close(s->waits);
    s->waits = NULL;
    s->state = SITE_UP;
    outage_end(&s->outage, loop_wall_ms(s->sites->conf.loop));
}

struct domain *sites_next_domain(struct sites *s, size_t *at)
{
    struct map_entry *e = map_next(&s->domains, at);
    return e ? e->value : NULL;
}

struct site *sites_next_site(struct sites *s, size_t *at)
{
    struct map_entry *e = map_next(&s->sites, at);
    return e ? e->value : NULL;
}
