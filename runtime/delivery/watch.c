/* watch.c - see watch.h. */
#include "delivery/watch.h"
#include "delivery/deliver_impl.h"
#include "delivery/measure.h"
#include "delivery/pause.h"
#include "format/text.h"

static bool did_anything(const struct recent *t)
{
    return t->all[RECENT_DELIVERED] || t->all[RECENT_DEFERRED] || t->all[RECENT_BOUNCED];
}

/* Why this path sends nothing now. */
static void path_why(struct deliver *d, const struct path *p, struct buf *out, int64_t *until_ms)
{
    const struct limit *l = p->wait.at ? p->wait.at : p->wait_open.at;
    const struct measure *m = measures_holder(p, NULL, NULL, until_ms);
    const char *paused = pause_of_path(d, p);
    if (paused) {
        buf_printf(out, "paused by hand: %s", paused);
    } else if (m) {
        measure_allows(out, m);
        buf_printf(out, " (%s): ", measure_kind_name(m->kind));
        text_safe(out, slice_cstr(m->why));
    } else if (l) {
        int64_t due = limit_due_ms(l), now = loop_now_ms(d->loop);
        limit_text(l, out);
        *until_ms = due == INT64_MAX ? 0 : loop_wall_ms(d->loop) + (due > now ? due - now : 0);
    } else if (p->full) {
        buf_adds(out, S("every connection is in use"));
    }
}

void watch_paths(struct deliver *d, void (*fn)(void *data, const struct watch_path *p), void *data)
{
    const struct conf *conf = d->conf.conf;
    int64_t now = loop_wall_ms(d->loop);
    struct buf why = {0};
    size_t at = 0;
    for (struct isp *isp; (isp = paths_next_isp(d->paths, &at));) {
        for (size_t i = 0; i < conf->nsources; i++) {
            const struct path *p = &isp->by_source[i];
            struct watch_path w = {.isp = isp->name,
                                   .source = conf->sources[i].name,
                                   .connections = p->sessions,
                                   .allowed = path_connections_now(p),
                                   .most = path_connections_most(p)};
            if (isp->number)
                w.recent = recents_path(d->recents, isp->number, name_number(d, NAME_SOURCE, w.source), now);
            buf_clear(&why);
            path_why(d, p, &why, &w.until_ms);
            w.why = buf_slice(&why);
            if (p->sessions || why.n || did_anything(&w.recent))
                fn(data, &w);
        }
    }
    buf_free(&why);
}

static void tell_campaign(struct deliver *d, const struct campaign *c,
                          void (*fn)(void *data, const struct watch_campaign *c), void *data)
{
    static const char *const priorities[CONF_PRIORITIES] = {"urgent", "normal", "bulk"};
    struct watch_campaign w = {
        .name = c->number ? c->name : SLICE_NONE,
        .stream = c->stream->name,
        .priority = priorities[c->stream->priority],
        .weight = c->stream->weight,
        .recent = recents_campaign(d->recents, c->number, c->stream->number, loop_wall_ms(d->loop))};
    if (c->queued || did_anything(&w.recent))
        fn(data, &w);
}

void watch_campaigns(struct deliver *d, void (*fn)(void *data, const struct watch_campaign *c), void *data)
{
    size_t at = 0;
    for (struct campaign *c; (c = deliver_next_campaign(d, &at));)
        tell_campaign(d, c, fn, data);
    at = 0;
    for (struct map_entry *e; (e = map_next(&d->streams, &at));)
        tell_campaign(d, ((struct stream *)e->value)->alone, fn, data);
}
