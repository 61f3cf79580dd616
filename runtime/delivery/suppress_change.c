/* suppress_change.c - see suppress_change.h. */
#include "delivery/suppress_change.h"

/* --- of events --- */

static struct suppress_change change_of(const struct rec_event *ev, enum suppress_verb verb,
                                        struct slice address)
{
    return (struct suppress_change){.verb = verb,
                                    .s = {.address = address,
                                          .name = SLICE_NONE,
                                          .since_ms = ev->at_ms,
                                          .event = ev->event,
                                          .isp = SLICE_NONE,
                                          .evidence = SLICE_NONE}};
}

size_t suppress_changes_of_person(const struct rec_event *ev, const struct suppress_names *names,
                                  struct arena *a, struct suppress_change v[SUPPRESS_EVENT_MOST])
{
    const unsigned about = REC_PERSON_COUNTED | REC_PERSON_WELL | REC_PERSON_LATE;
    struct slice address = ev->person & about ? suppression_address_of(ev, a) : SLICE_NONE;
    size_t n = 0;
    if (ev->person & REC_PERSON_OUTBREAK && names->isp.n) {
        v[n] = change_of(ev, SUPPRESS_TAKE_BACK, SLICE_NONE);
        v[n++].s.isp = names->isp;
    }
    if (ev->person & REC_PERSON_LATE && address.n)
        v[n++] = change_of(ev, SUPPRESS_LATE, address);
    if (ev->person & (REC_PERSON_COUNTED | REC_PERSON_WELL) && address.n) {
        v[n] = change_of(ev, SUPPRESS_COUNT, address);
        v[n++].s.evidence = ev->person & REC_PERSON_WELL ? SUPPRESS_DB_DELIVERED : ev->class_name;
    }
    if (ev->person & REC_PERSON_WELL && address.n)
        v[n++] = change_of(ev, SUPPRESS_WELL, address);
    v[n] = change_of(ev, SUPPRESS_ADD, address);
    n += suppression_of_event(ev, names->stream, names->isp, a, &v[n].s);
    INVARIANT(n < SUPPRESS_EVENT_MOST);
    return n;
}

bool suppress_change_of_domain(const struct rec_event *ev, const struct suppress_names *names,
                               struct arena *a, struct suppress_change *out)
{
    struct slice domain = names->domain;
    struct addr addr;
    if (ev->type != EVENT_DELIVERED || ev->flags & REC_FLAG_TEST)
        return false;
    if (!domain.n && !addr_parse(ev->recipient, a, &addr, NULL))
        domain = addr.domain_ascii;
    *out = change_of(ev, SUPPRESS_TOOK, domain);
    return domain.n > 0;
}

size_t suppress_changes_of(const struct rec_event *ev, const struct suppress_names *names, struct arena *a,
                           struct suppress_change v[SUPPRESS_EVENT_MOST])
{
    size_t n = suppress_changes_of_person(ev, names, a, v);
    return n + suppress_change_of_domain(ev, names, a, &v[n]);
}

/* --- to the store --- */

static int may_remove(const struct suppress_change *c, const struct suppression *old)
{
    bool bounce = old->reason == SUPPRESS_SOFT_BOUNCE || old->reason == SUPPRESS_HARD_BOUNCE ||
                  old->reason == SUPPRESS_QUARANTINE;
    if (suppression_is_the_persons(old->reason) && !c->on_request)
        return ERR_REFUSED;
    if (c->opt_in_ms && !bounce)
        return ERR_REFUSED;
    return c->opt_in_ms && c->opt_in_ms <= old->since_ms ? ERR_RANGE : 0;
}

static int write_remove(struct suppress_db *db, struct suppress_change *c, int64_t now, struct err *e)
{
    struct suppression old;
    int rc = suppress_db_get(db, c->s.address, c->s.scope, c->s.name, now, &old, e);
    if (rc && rc != ERR_NOTFOUND)
        return rc;
    c->was = rc ? SUPPRESS_NOT : old.reason;
    c->status = rc ? ERR_NOTFOUND : may_remove(c, &old);
    if (c->status)
        return 0;
    rc = suppress_db_remove(db, c->s.address, c->s.scope, c->s.name, e);
    return !rc && c->s.scope == SUPPRESS_ALL ? suppress_db_forget_soft(db, c->s.address, e) : rc;
}

static int write_add(struct suppress_db *db, struct suppress_change *c, int64_t now, struct err *e)
{
    struct suppression old;
    bool fresh;
    int rc = suppress_db_get(db, c->s.address, c->s.scope, c->s.name, now, &old, e);
    if (rc && rc != ERR_NOTFOUND)
        return rc;
    c->was = rc ? SUPPRESS_NOT : old.reason;
    rc = suppress_db_add(db, &c->s, now, &fresh, e);
    c->status = !rc && !fresh ? ERR_EXISTS : 0;
    return rc;
}

/* Whom a change about many meets. */
struct meeting {
    suppress_touched_fn *fn;
    void *data;
    bool confirms;
    uint64_t count;
};

static void on_met(void *data, struct slice address)
{
    struct meeting *m = data;
    m->count++;
    if (m->fn)
        m->fn(m->data, address, m->confirms);
}

static int write_many(struct suppress_db *db, struct suppress_change *c, struct meeting *m, struct err *e)
{
    m->confirms = c->verb == SUPPRESS_CONFIRM;
    m->count = 0;
    int rc = suppress_db_decide(db, c->s.address, c->s.isp, m->confirms, on_met, m, e);
    c->touched = m->count;
    c->status = m->count ? 0 : ERR_NOTFOUND;
    return rc;
}

static int write_change(struct suppress_db *db, struct suppress_change *c, int64_t now, struct meeting *m,
                        struct err *e)
{
    const struct suppression *s = &c->s;
    c->status = 0;
    switch (c->verb) {
    case SUPPRESS_ADD:
        return write_add(db, c, now, e);
    case SUPPRESS_REMOVE:
        return write_remove(db, c, now, e);
    case SUPPRESS_CONFIRM:
    case SUPPRESS_RELEASE:
        return write_many(db, c, m, e);
    case SUPPRESS_COUNT:
        return suppress_db_count_soft(db,
                                      &(struct suppress_db_soft){.address = s->address,
                                                                 .at_ms = s->since_ms,
                                                                 .class_name = s->evidence},
                                      e);
    case SUPPRESS_WELL:
        return suppress_db_decide(db, s->address, SLICE_NONE, false, NULL, NULL, e);
    case SUPPRESS_LATE:
        return suppress_db_late(db, s->address, s->since_ms, e);
    case SUPPRESS_TAKE_BACK:
        return suppress_db_set_aside(db, s->isp, s->since_ms, e);
    case SUPPRESS_TOOK:
        return suppress_db_took(db, s->address, s->since_ms, e);
    case SUPPRESS_GONE:
        return suppress_db_gone(db, s->address, s->since_ms, e);
    }
    return 0;
}

int suppress_changes_write(struct suppress_db *db, struct suppress_change *v, size_t n, uint64_t cursor,
                           int64_t now, suppress_touched_fn *touched, void *data, struct err *e)
{
    struct meeting m = {touched, data, false, 0};
    int rc = suppress_db_begin(db, cursor ? DB_ORDERED : DB_SYNCED, e);
    if (rc)
        return rc;
    for (size_t i = 0; !rc && i < n; i++)
        rc = write_change(db, &v[i], now, &m, e);
    if (!rc && cursor)
        rc = suppress_db_set_cursor(db, cursor, e);
    if (!rc)
        return suppress_db_commit(db, e);
    suppress_db_rollback(db);
    return rc;
}

int suppress_change_now(struct suppress_db *db, struct suppress_change *v, size_t n, uint64_t cursor,
                        int64_t now, struct err *e)
{
    return suppress_changes_write(db, v, n, cursor, now, NULL, NULL, e);
}
