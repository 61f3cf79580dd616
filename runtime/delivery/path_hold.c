/* path_hold.c - what the connections of a path hold of limits. */
#include "delivery/path_impl.h"

void path_hold_open(struct path *p, struct site *s, struct limit_holder *h)
{
    struct limits *ls = p->paths->limits;
    if (!limits_have(ls, LIMIT_OPENING))
        return;
    struct limit_who who = path_who_of(p);
    who.v[CONF_BY_MX] = s->key;
    limits_hold_open(ls, &who, h);
}

void path_take_up(struct path *p, struct site *s, struct lane *lane, struct limit_holder *h)
{
    struct limits *ls = p->paths->limits;
    if (!limits_have(ls, LIMIT_HOLD | LIMIT_CARRIED))
        return;
    struct limit_who who = path_who_of_mail(p, lane->campaign, s, lane, NULL);
    limits_hold(ls, &who, h);
    limits_carry(ls, &who, h, true);
    limit_holder_settle(h);
}

void path_put_down(struct path *p, struct site *s, struct lane *lane, struct limit_holder *h, bool more)
{
    struct limits *ls = p->paths->limits;
    if (!limits_have(ls, LIMIT_HOLD))
        return;
    struct limit_who who = path_who_of_mail(p, lane->campaign, s, lane, NULL);
    limits_let_go(ls, &who, h);
    if (more)
        limit_holder_settle(h);
}

void path_uncount(struct path *p, struct site *s, struct lane *lane, struct limit_holder *h)
{
    struct limits *ls = p->paths->limits;
    if (!limits_have(ls, LIMIT_CARRIED))
        return;
    struct limit_who who = path_who_of_mail(p, lane->campaign, s, lane, NULL);
    limits_carry(ls, &who, h, false);
}
