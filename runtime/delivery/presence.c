/* presence.c - see presence.h. */
#include "delivery/presence.h"

static bool is_here(const struct deliver *d, uint16_t source)
{
    const struct ip *address = &d->conf.conf->sources[source].address;
    return !address->family || net_has_address(d->conf.net, address);
}

static void on_again(struct loop_timer *t);

static void set_aside(struct deliver *d, uint16_t source)
{
    const struct conf_source *s = &d->conf.conf->sources[source];
    char text[IP_TEXT];
    notice(
        d, 2,
        "source=%.*s is set aside: its address %s is not on this machine (%.*s:%d); its mail waits, or goes "
        "from other sources of its pool; looked for again every %d s",
        SLICE_FMT(s->name), ip_text(&s->address, text).p, SLICE_FMT(s->place.file), s->place.line,
        PRESENCE_AGAIN_MS / 1000);
    paths_set_absent(d->paths, source, true);
    if (!loop_timer_active(&d->presence_timer))
        loop_timer_start(d->loop, &d->presence_timer, PRESENCE_AGAIN_MS, on_again);
}

static void on_again(struct loop_timer *t)
{
    struct deliver *d = CONTAINER(t, struct deliver, presence_timer);
    const struct conf *conf = d->conf.conf;
    bool waits = false;
    for (uint16_t i = 0; i < conf->nsources; i++) {
        char text[IP_TEXT];
        if (!paths_source_is_absent(d->paths, i))
            continue;
        if (!is_here(d, i)) {
            waits = true;
            continue;
        }
        notice(d, 0, "source=%.*s goes on: its address %s is here", SLICE_FMT(conf->sources[i].name),
               ip_text(&conf->sources[i].address, text).p);
        paths_set_absent(d->paths, i, false);
    }
    if (waits)
        loop_timer_start(d->loop, t, PRESENCE_AGAIN_MS, on_again);
}

void presence_start(struct deliver *d)
{
    for (uint16_t i = 0; i < d->conf.conf->nsources; i++)
        if (!is_here(d, i))
            set_aside(d, i);
}

void presence_stop(struct deliver *d)
{
    loop_timer_stop(d->loop, &d->presence_timer);
}

bool presence_lost(struct deliver *d, uint16_t source)
{
    if (is_here(d, source))
        return false;
    if (!paths_source_is_absent(d->paths, source))
        set_aside(d, source);
    return true;
}
