/* path_urgent.c - what more urgent mail takes from less urgent mail that a connection has claimed.
 *
 * On its own connection the place of what has not begun. Connections are to hosts, though, and their number
 * is the isp's. Where all are in use elsewhere, a site with mail that is more urgent than bulk presses: the
 * next connection is its, and one that only has less urgent mail ends for it behind its current message. */
#include "delivery/path_impl.h"

/* One of its lanes fits, and lacks no permit of its own beside what message id took (0: no message). */
static bool has_mail_in(const struct path *p, const struct share *sh, const struct lane *first,
                        const struct path_session *by, uint64_t id)
{
    struct limits *ls = p->paths->limits;
    unsigned scopes = LIMIT_SHARE | LIMIT_LANE | LIMIT_HOLD | (by ? 0 : LIMIT_OPEN_SHARE | LIMIT_OPEN_LANE);
    const struct lane *lane = first;
    while (lane) {
        if ((!by || limit_shows(&lane->wait, by->holder)) && lane_fits(p, sh->site, lane, by)) {
            struct limit_who who = path_who_of_mail(p, sh->campaign, sh->site, lane, by);
            if (!limits_lacking_without(ls, scopes, &who, id))
                return true;
        }
        lane = lane->next == first ? NULL : lane->next;
    }
    return false;
}

static bool has_mail_for(const struct path *p, const struct share *sh, const struct path_session *by,
                         uint64_t id)
{
    return has_mail_in(p, sh, sh->ring, by, id) || (by && has_mail_in(p, sh, sh->aside, by, id));
}

bool path_is_overtaken(const struct path *p, const struct site *s, const struct path_session *by,
                       const struct lane *claimed, uint64_t id)
{
    enum conf_priority priority = claimed->campaign->stream->priority;
    if (limit_holder_is_wanted(by->holder, priority))
        return true;
    for (const struct share *sh = s->shares; sh; sh = sh->next) {
        if (sh->campaign->stream->priority >= priority || !path_may_go(p, sh, by))
            continue;
        if (has_mail_for(p, sh, by, id))
            return !path_is_closed(p) && !measures_hold_site(s);
    }
    return false;
}

void isp_press(struct site *s, const struct stream *st)
{
    if (st->priority < CONF_BULK && st->priority < s->isp->pressing && !(s->opening + s->connected))
        s->isp->pressing = st->priority;
}

/* The most urgent of its mail that this path could carry over a new connection, if it presses. */
static enum conf_priority pressure(struct path *p, const struct site *s, uint64_t id)
{
    enum conf_priority best = CONF_BULK;
    if (s->opening + s->connected || s->state != SITE_UP || !site_takes_session(s) || !p->usable ||
        path_is_closed(p) || measures_hold_site(s))
        return CONF_BULK;
    for (const struct share *sh = s->shares; sh; sh = sh->next)
        if (sh->campaign->stream->priority < best && path_may_go(p, sh, NULL) &&
            has_mail_for(p, sh, NULL, id))
            best = sh->campaign->stream->priority;
    return best;
}

void isp_serve_pressing(struct isp *isp)
{
    struct site *first = NULL, *s = isp->ready;
    enum conf_priority best = CONF_BULK;
    if (isp->pressing == CONF_PRIORITIES || !s)
        return;
    do {
        for (size_t i = 0; i < isp->paths->conf.conf->nsources; i++) {
            enum conf_priority mine = pressure(&isp->by_source[i], s, 0);
            if (mine < best) {
                best = mine;
                first = s;
            }
        }
        s = s->next_ready;
    } while (s != isp->ready);
    isp->pressing = first ? best : CONF_PRIORITIES;
    if (first)
        isp->ready = first;
}

/* Whether a new connection of this path has to wait until another ends. */
static bool waits_for_an_end(struct path *p)
{
    struct limit_who who = path_who_of(p);
    struct limit *l = limits_lacking(p->paths->limits, LIMIT_OPEN, &who);
    return l ? limit_due_ms(l) == INT64_MAX : !path_has_room(p);
}

bool path_is_pressed(struct path *p, const struct site *s, const struct lane *claimed, uint64_t id)
{
    struct isp *isp = p->isp;
    enum conf_priority priority = claimed->campaign->stream->priority;
    struct site *other = isp->ready;
    if (isp->pressing >= priority || !other || !waits_for_an_end(p))
        return false;
    do {
        if (other != s && !other->awaited && pressure(p, other, id) < priority) {
            other->awaited = true;
            return true;
        }
        other = other->next_ready;
    } while (other != isp->ready);
    return false;
}
