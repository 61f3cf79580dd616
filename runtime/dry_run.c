/* dry_run.c - see dry_run.h. */
#include "dry_run.h"
#include "base/json.h"
#include "format/text.h"

#include <stdio.h>
#include <stdlib.h>

/* A domain that the people name, and what DNS says of it. */
struct place {
    struct dry *dry;
    struct slice domain;
    struct resolve_req req;
    uint64_t people;
    struct slice isp; /* its table's name, or the first MX host, or what is wrong */
    bool trouble;
};

struct group {
    struct slice name;
    uint64_t people, domains;
    bool trouble;
};

struct dry {
    struct dry_run_conf conf;
    struct campaign *campaign;
    struct map places; /* domain → struct place */
    struct map groups; /* isp → struct group */
    size_t asking;
    bool read;
    int status;
    struct err err;
    struct intake_counts counts;
    uint64_t suppressed; /* of the good ones */
    struct intake *intake;
    struct arena arena;
};

static void end_if_done(struct dry *d)
{
    if (d->read && !d->asking)
        loop_stop(hato_loop(d->conf.hato));
}

static void on_mx(struct resolve_req *req, const struct mx_set *set)
{
    struct place *p = req->data;
    struct dry *d = p->dry;
    const struct conf *conf = hato_conf(d->conf.hato);
    struct slice hosts[RESOLVE_MAX_HOSTS];
    d->asking--;
    if (set->status != RESOLVE_OK || set->kind == MX_NULL) {
        p->trouble = true;
        p->isp = slice_cstr(arena_printf(&d->arena, "(%s)",
                                         set->status == RESOLVE_OK ? "takes no mail: null MX"
                                                                   : resolve_status_name(set->status)));
    } else {
        for (size_t i = 0; i < set->n; i++)
            hosts[i] = set->hosts[i].name;
        uint16_t index = conf_match_isp(conf, p->domain, hosts, set->n);
        p->isp = index != CONF_NONE ? conf->isps[index].name : arena_copy(&d->arena, hosts[0]);
    }
    end_if_done(d);
}

static int on_take(void *data, const struct intake_row *row)
{
    struct dry *d = data;
    if (!hato_wants(d->conf.hato, row->key))
        return ERR_CANCELED;
    hato_took(d->conf.hato);
    struct place *p = map_get(&d->places, row->addr->domain_ascii);
    if (!p) {
        p = mem_zalloc(sizeof *p);
        p->dry = d;
        p->domain = arena_copy(&d->arena, row->addr->domain_ascii);
        p->req.data = p;
        map_put(&d->places, p->domain, p);
        d->asking++;
        resolve_mx(hato_resolve(d->conf.hato), p->domain, &p->req, on_mx);
    }
    p->people++;
    d->suppressed += deliver_suppresses(hato_deliver(d->conf.hato), d->campaign, row->addr);
    return 0;
}

static void on_bad(void *data, uint64_t line, struct slice address, const char *why)
{
    struct dry *d = data;
    d->conf.bad_row(d->conf.data, d->campaign, line, address, why);
}

static void on_done(void *data, int status, const struct err *e)
{
    struct dry *d = data;
    d->read = true;
    d->status = status;
    if (status)
        d->err = *e;
    if (d->intake)
        d->counts = intake_counts(d->intake);
    end_if_done(d);
}

static int by_people(const void *a, const void *b)
{
    const struct group *const *x = a, *const *y = b;
    if ((*x)->people != (*y)->people)
        return (*x)->people < (*y)->people ? 1 : -1;
    return slice_cmp((*x)->name, (*y)->name);
}

static void print_groups(struct dry *d)
{
    size_t at = 0, n = 0;
    for (struct map_entry *m; (m = map_next(&d->places, &at));) {
        struct place *p = m->value;
        struct group *g = map_get(&d->groups, p->isp);
        if (!g) {
            g = mem_zalloc(sizeof *g);
            g->name = p->isp;
            g->trouble = p->trouble;
            map_put(&d->groups, p->isp, g);
        }
        g->people += p->people;
        g->domains++;
    }
    struct group **all = mem_alloc((d->groups.live + 1) * sizeof(struct group *));
    at = 0;
    for (struct map_entry *m; (m = map_next(&d->groups, &at));)
        all[n++] = m->value;
    qsort(all, n, sizeof(struct group *), by_people);
    struct buf b = {0};
    if (d->conf.json) {
        buf_adds(&b, S("{\"campaign\":"));
        json_quote(&b, d->campaign->name);
        buf_printf(&b, ",\"rows\":%llu,\"good\":%llu,\"rejected_rows\":%llu",
                   (unsigned long long)d->counts.rows, (unsigned long long)d->counts.fresh,
                   (unsigned long long)d->counts.bad);
        if (d->suppressed)
            buf_printf(&b, ",\"suppressed\":%llu", (unsigned long long)d->suppressed);
        buf_adds(&b, S(",\"isps\":{"));
        for (size_t i = 0; i < n; i++) {
            if (i)
                buf_addc(&b, ',');
            json_quote(&b, all[i]->name);
            buf_printf(&b, ":%llu", (unsigned long long)all[i]->people);
        }
        buf_adds(&b, S("}}\n"));
    } else {
        buf_adds(&b, d->campaign->name);
        buf_adds(&b, S(": "));
        text_count(&b, d->counts.fresh);
        buf_adds(&b, d->counts.fresh == 1 ? S(" person, ") : S(" people, "));
        if (d->suppressed) {
            text_count(&b, d->suppressed);
            buf_adds(&b, S(" of them suppressed, "));
        }
        text_count(&b, d->counts.bad);
        buf_adds(&b,
                 d->counts.bad == 1 ? S(" bad row; nothing is sent\n") : S(" bad rows; nothing is sent\n"));
        for (size_t i = 0; i < n; i++)
            buf_printf(&b, "  %8llu  %.*s%s\n", (unsigned long long)all[i]->people, SLICE_FMT(all[i]->name),
                       all[i]->domains > 1 ? " (several domains)" : "");
    }
    fwrite(b.p, 1, b.n, stdout);
    buf_free(&b);
    free(all);
}

static int one_campaign(const struct dry_run_conf *conf, uint16_t index, struct err *e)
{
    struct dry d = {.conf = *conf};
    struct hash_key hk;
    struct hato *h = conf->hato;
    d.campaign = deliver_campaign(hato_deliver(h), hato_conf(h)->campaigns[index].name);
    loop_random_bytes(hato_loop(h), &hk, sizeof hk);
    map_init(&d.places, hk);
    map_init(&d.groups, hk);
    d.intake = intake_start(&(struct intake_conf){.loop = hato_loop(h),
                                                  .fs = hato_script_fs(h),
                                                  .deliver = hato_deliver(h),
                                                  .campaign = d.campaign,
                                                  .api = hato_api(h),
                                                  .index = index,
                                                  .data = &d,
                                                  .take = on_take,
                                                  .bad = on_bad,
                                                  .done = on_done});
    while (!d.read || d.asking)
        loop_run(hato_loop(h));
    if (d.status)
        *e = d.err;
    else
        print_groups(&d);
    intake_free(d.intake);
    size_t at = 0;
    for (struct map_entry *m; (m = map_next(&d.places, &at));)
        free(m->value);
    at = 0;
    for (struct map_entry *m; (m = map_next(&d.groups, &at));)
        free(m->value);
    map_free(&d.places);
    map_free(&d.groups);
    arena_free(&d.arena);
    return d.status;
}

int dry_run(const struct dry_run_conf *conf, struct err *e)
{
    int r = 0;
    for (size_t i = 0; !r && i < hato_conf(conf->hato)->ncampaigns; i++)
        r = one_campaign(conf, (uint16_t)i, e);
    return r;
}
