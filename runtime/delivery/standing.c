/* standing.c - see standing.h. */
#include "delivery/standing.h"

#include <stdlib.h>

const char *standing_name(enum standing_state s)
{
    static const char *const names[] = {"waiting", "in_flight", "held",       "delivered",
                                        "bounced", "expired",   "suppressed", "cancelled"};
    return (unsigned)s < COUNT(names) ? names[s] : "?";
}

void standing_recipient(struct standing *s, const struct rec_recipient *r)
{
    s->due_ms = r->due_ms;
}

void standing_begin(struct standing *s, const struct rec_begin *b)
{
    s->state = STANDING_IN_FLIGHT;
    s->begun_ms = b->at_ms;
    s->date_s = b->date_s;
    s->due_ms = 0; /* without an end it is due again */
    if (b->attempt > s->attempts)
        s->attempts = b->attempt;
    if (b->clock_ms)
        s->clock_ms = b->clock_ms;
    else if (!s->clock_ms)
        s->clock_ms = b->at_ms;
    s->source = b->source;
}

void standing_due(struct standing *s, const struct rec_due *d)
{
    s->due_ms = d->due_ms;
    if (s->state == STANDING_HELD) /* people ask for a try at once */
        s->state = STANDING_WAITING;
}

bool standing_is_over(const struct standing *s)
{
    return s->state >= STANDING_DELIVERED;
}

void standing_free(struct standing *s)
{
    free(s->text);
    s->text = NULL;
}

/* -1: the event is of what came after, and moves nothing. */
static int state_after(const struct rec_event *ev)
{
    switch ((enum rec_event_type)ev->type) {
    case EVENT_DEFERRED:
    case EVENT_AMBIGUOUS:
        return STANDING_WAITING;
    case EVENT_HELD:
        return STANDING_HELD;
    case EVENT_DELIVERED:
        return STANDING_DELIVERED;
    case EVENT_BOUNCED:
        return STANDING_BOUNCED;
    case EVENT_EXPIRED:
        return STANDING_EXPIRED;
    case EVENT_SUPPRESSED:
        return STANDING_SUPPRESSED;
    case EVENT_CANCELLED:
        return STANDING_CANCELLED;
    case EVENT_ACCEPTED:
    case EVENT_COMPLAINED:
    case EVENT_OPENED:
    case EVENT_CLICKED:
    case EVENT_UNSUBSCRIBED:
    case EVENT_CONVERTED:
    case EVENT_REPLIED:
    case EVENT_TYPES:
        break;
    }
    return -1;
}

/* Whether it comes again: when, from where, and since when it has been tried. */
static void put_off(struct standing *s, const struct rec_event *ev)
{
    s->attempts = ev->attempt;
    s->due_ms = ev->next_due_ms;
    if (!s->attempts) /* not charged: the next attempt is the first */
        s->source = 0;
    if (ev->date_s)
        s->date_s = ev->date_s;
    if (ev->clock_ms)
        s->clock_ms = ev->clock_ms;
    else if (!s->clock_ms)
        s->clock_ms = ev->at_ms;
}

static void answered(struct standing *s, const struct rec_event *ev)
{
    enum reply_class cls;
    s->replied |= ev->code != 0;
    s->phase = ev->phase;
    s->code = ev->code;
    s->enhanced = (struct smtp_enhanced){ev->enh_class, ev->enh_subject, ev->enh_detail};
    s->cls = class_parse(ev->class_name, &cls) ? CLASS_UNKNOWN : (uint8_t)cls;
    free(s->text);
    s->text = mem_dup(ev->text.p, ev->text.n);
}

void standing_event(struct standing *s, const struct rec_event *ev)
{
    int state = state_after(ev);
    if (state < 0)
        return;
    s->state = (uint8_t)state;
    s->tried = true;
    s->charged = ev->charged;
    s->last_ms = ev->at_ms;
    s->begun_ms = 0;
    if (state == STANDING_WAITING)
        put_off(s, ev);
    else if (state != STANDING_HELD) /* which is no attempt */
        s->attempts = ev->attempt;
    /* What was taken back before anything was answered leaves the last reply as it was. */
    if (ev->phase || state != STANDING_WAITING)
        answered(s, ev);
}
