/* session_idle.c - sessions that have nothing to carry: for how long, and who wakes or closes them. */
#include "delivery/session_impl.h"

static void list_add(struct session *s)
{
    struct isp *isp = s->path->isp;
    s->state = SESSION_IDLE;
    s->prev_idle = NULL;
    s->next_idle = isp->idle_first;
    if (isp->idle_first)
        isp->idle_first->prev_idle = s;
    isp->idle_first = s;
    isp->idle++;
}

void session_idle_end(struct session *s)
{
    struct isp *isp = s->path->isp;
    if (s->state != SESSION_IDLE)
        return;
    if (s->prev_idle)
        s->prev_idle->next_idle = s->next_idle;
    else
        isp->idle_first = s->next_idle;
    if (s->next_idle)
        s->next_idle->prev_idle = s->prev_idle;
    isp->idle--;
    loop_timer_stop(s->ss->conf.loop, &s->idle_timer);
    s->state = SESSION_TALKING;
}

static void on_idle_over(struct loop_timer *t)
{
    struct session *s = CONTAINER(t, struct session, idle_timer);
    session_quit(s);
    session_pump(s);
}

void session_idle(struct session *s)
{
    limit_holder_settle(&s->holder);
    list_add(s);
    loop_timer_start(s->ss->conf.loop, &s->idle_timer, s->ss->conf.idle_ms, on_idle_over);
    /* Other hosts of the isp may wait for the place that this one holds: Microsoft 365 has one a customer. */
    if (s->path->isp->ready)
        isp_service(s->path->isp);
}

bool session_wake(struct sessions *ss, struct site *site)
{
    for (struct session *s = site->isp->idle_first, *next; s; s = next) {
        next = s->next_idle;
        if (s->site == site && (!session_pump(s) || s->state != SESSION_IDLE))
            return true;
    }
    return false;
}

void session_shed(struct sessions *ss, struct path *p)
{
    for (struct session *s = p->isp->idle_first; s; s = s->next_idle) {
        if (s->path == p) {
            session_quit(s);
            session_pump(s);
            return;
        }
    }
}

void session_yield(struct sessions *ss)
{
    for (struct session *s = ss->first, *next; s; s = next) {
        next = s->next;
        if (s->state == SESSION_IDLE && s->used && limit_holder_yields(&s->holder, CONF_PRIORITIES)) {
            session_quit(s);
            session_pump(s);
        }
    }
}
