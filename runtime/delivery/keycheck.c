/* keycheck.c - see keycheck.h. */
#include "delivery/keycheck.h"
#include "delivery/deliver_impl.h"
#include "delivery/measure.h"
#include "delivery/published.h"

#include <stdlib.h>

enum { AGAIN_MS = 600000 };

struct keycheck {
    struct deliver *d;
    struct published_look *look; /* NULL: none is under way */
    bool done;                   /* one look at least is over */
    int64_t at_ms;               /* of the last, loop_now_ms() */
    bool all_good;
    char **wrong; /* one a stream of the conf: why it is held, or NULL */
};

struct keycheck *keycheck_new(struct deliver *d)
{
    struct keycheck *k = mem_zalloc(sizeof *k);
    k->d = d;
    k->wrong = mem_zalloc((d->conf.conf->nstreams + 1) * sizeof *k->wrong);
    return k;
}

static void forget(struct keycheck *k)
{
    for (size_t i = 0; i < k->d->conf.conf->nstreams; i++) {
        free(k->wrong[i]);
        k->wrong[i] = NULL;
    }
}

void keycheck_free(struct keycheck *k)
{
    if (!k)
        return;
    published_stop(k->look);
    forget(k);
    free(k->wrong);
    free(k);
}

/* What is wrong with the stream's keys waits here, at this isp. */
static void hold(struct keycheck *k, struct path *p, size_t index)
{
    struct deliver *d = k->d;
    const struct stream *st = deliver_stream(d, d->conf.conf->streams[index].name);
    if (measures_hold_mail(p->isp, st->alone))
        return;
    measure_begin(
        paths_measures(d->paths),
        &(struct measure_start){
            .act = {.kind = ACT_SUSPEND, .scope = ACT_ONE_STREAM, .for_ms = AGAIN_MS, .alert = true},
            .path = p,
            .campaign = st->alone,
            .rule = S("published:dkim"),
            .why = slice_cstr(k->wrong[index])});
}

static void hold_all(struct keycheck *k, struct path *p)
{
    for (size_t i = 0; i < k->d->conf.conf->nstreams; i++)
        if (k->wrong[i])
            hold(k, p, i);
}

static void set_unproven(struct keycheck *k, bool unproven)
{
    const struct conf *c = k->d->conf.conf;
    for (size_t i = 0; i < c->nstreams; i++)
        deliver_stream(k->d, c->streams[i].name)->unproven = unproven && c->streams[i].ndkim;
}

static void on_published(void *data, const struct published_line *lines, size_t n)
{
    struct keycheck *k = data;
    struct deliver *d = k->d;
    const struct conf *c = d->conf.conf;
    size_t at = 0;
    forget(k);
    k->done = k->all_good = true;
    for (size_t i = 0; i < n; i++) {
        const struct published_line *l = &lines[i];
        k->all_good &= l->level == PUBLISHED_OK || l->level == PUBLISHED_WARNING;
        if (l->level != PUBLISHED_ERROR || k->wrong[l->stream])
            continue;
        struct buf why = {0};
        buf_printf(&why, "%.*s; publish: %.*s", SLICE_FMT(l->text), SLICE_FMT(l->publish));
        k->wrong[l->stream] = mem_dup(why.p, why.n);
        notice(d, 2, "stream %.*s is held: %s", SLICE_FMT(c->streams[l->stream].name), k->wrong[l->stream]);
        buf_free(&why);
    }
    published_stop(k->look);
    k->look = NULL;
    k->at_ms = loop_now_ms(d->loop);
    set_unproven(k, false);
    for (struct isp *isp; (isp = paths_next_isp(d->paths, &at));) {
        if (isp->beyond)
            hold_all(k, &isp->by_source[0]);
        isp_service(isp);
    }
}

bool keycheck_may_leave(struct keycheck *k, struct path *p, const struct stream *st)
{
    struct deliver *d = k->d;
    if (!d->conf.proves_keys)
        return true;
    p->isp->beyond = true;
    bool old = k->done && !k->all_good && loop_now_ms(d->loop) - k->at_ms >= AGAIN_MS;
    if ((!k->done || old) && !k->look) {
        set_unproven(k, true);
        k->look = published_start(
            &(struct published_conf){
                .loop = d->loop, .resolve = d->conf.resolve, .conf = d->conf.conf, .keys_only = true},
            on_published, k);
    }
    if (k->done && !k->look)
        hold_all(k, p);
    return !st->unproven && !measures_hold_mail(p->isp, st->alone);
}
