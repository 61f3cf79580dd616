/* measure_backoff.c - the automatic back-off of a path as a measure: what it learns is told, listed and kept
 * as any other. See measure.h, and format/backoff.h for what it learns from. */
#include "delivery/measure_impl.h"

static struct backoff *backoff_of(struct path *p)
{
    if (!p->backoff)
        p->backoff = mem_zalloc(sizeof *p->backoff);
    return p->backoff;
}

static void learnt(struct path *p)
{
    struct measure *m = p->backoff_measure;
    m->changed_ms = loop_now_ms(p->paths->conf.loop);
    m->next_us = 0; /* at the new pace, from here */
    measure_changed(m);
    measure_arm(m);
}

void measures_took(struct path *p, struct doubt_mail mail)
{
    int64_t wall = loop_wall_ms(p->paths->conf.loop);
    struct measure *m = p->backoff_measure;
    doubt_took(&backoff_of(p)->doubt, mail, wall);
    if (!backoff_took(p->backoff, wall) || !m)
        return;
    if (p->backoff->state == BACKOFF_FREE) {
        measure_over(m, wall);
        measure_changed(m);
    } else {
        learnt(p);
        isp_service(p->isp);
    }
}

void measures_answered(struct path *p)
{
    if (p->backoff)
        backoff_answered(p->backoff);
}

struct measure *measures_doubted(struct path *p, struct doubt_mail mail, struct slice why, uint64_t message,
                                 int64_t at_ms)
{
    doubt_refused(&backoff_of(p)->doubt, mail);
    return measures_refused(p, BACKOFF_DOUBTFUL, why, message, at_ms);
}

struct measure *measures_refused(struct path *p, enum backoff_sign sign, struct slice why, uint64_t message,
                                 int64_t at_ms)
{
    struct measures *ms = p->paths->measures;
    struct measure *m = p->backoff_measure;
    int64_t wall = at_ms ? at_ms : loop_wall_ms(ms->conf.loop);
    if (!backoff_refused(backoff_of(p), sign, wall))
        return NULL;
    bool begins = !m;
    if (begins) {
        m = measure_new(ms, ms->next_number);
        m->kind = MEASURE_BACKOFF;
        m->scope = ACT_PATH;
        m->begin_ms = wall;
        mem_replace(&m->isp, p->isp->name);
        mem_replace(&m->source, ms->conf.conf->sources[p->source].name);
        mem_replace(&m->what, SLICE_NONE);
        mem_replace(&m->rule, S("automatic"));
        m->source_index = p->source;
        m->at = p->isp;
        m->path = p;
        m->backoff = p->backoff;
        p->backoff_measure = m;
    }
    m->cause = message;
    mem_replace(&m->why, why);
    if (begins)
        measure_attach(m);
    learnt(p);
    return m;
}
