/* suppress.c - see suppress.h.
 *
 * Changes travel to the database in batches, one at a time, in the order in which they came: a batch of
 * events when it is durable in the spool, a batch of people's at once. A batch of events that cannot be
 * written is tried again, and while the journal lives on its reserve it is not even tried: the room that is
 * left is for outcomes. Nothing is lost by that, as its events are in the journal. */
#include "delivery/suppress.h"
#include "delivery/alive.h"

#include <stdlib.h>

enum { AGAIN_MS = 10000, DAY_MS = 86400000 };

struct batch {
    struct work_job job;
    struct spool_wait wait;
    struct suppress *s;
    struct batch *next;
    struct arena arena;
    struct suppress_change *v;
    size_t n, cap;
    uint64_t cursor; /* number of the last event in it; 0: it is people's */
    int64_t now_ms;
    bool durable;
    bool purges; /* a day has passed */
    int status;
    struct err err;
    struct touched {
        struct slice address;
        bool confirmed;
    } * touched; /* whom a change about many met */
    size_t ntouched, touched_cap;
    suppress_done_fn *done; /* of people's */
    void *data;
};

struct suppress {
    struct suppress_conf conf;
    struct suppress_table *table;
    struct person *person;
    struct alive *alive;
    struct suppress_db *db;
    struct work *work;
    struct spool *spool;
    uint64_t cursor; /* what suppress_event() passes over */
    struct batch *first, *last;
    bool first_sent; /* the first waits to be durable, or is at the database */
    struct loop_task task;
    struct loop_timer again;
    bool stopped, failing;
    int64_t purged_ms;
};

static int64_t now_ms(const struct suppress *s)
{
    return loop_wall_ms(s->conf.loop);
}

static void notice(struct suppress *s, int level, const char *what, const char *why)
{
    struct buf text = {0};
    buf_printf(&text, "suppression: %s%s", what, why);
    if (s->conf.notice)
        s->conf.notice(s->conf.data, level, buf_cstr(&text));
    buf_free(&text);
}

/* --- batches --- */

static void batch_free(struct batch *b)
{
    arena_free(&b->arena);
    free(b->touched);
    free(b->v);
    free(b);
}

static struct batch *batch_append(struct suppress *s)
{
    struct batch *b = mem_zalloc(sizeof *b);
    b->s = s;
    b->now_ms = now_ms(s);
    if (b->now_ms - s->purged_ms >= DAY_MS) {
        s->purged_ms = b->now_ms;
        b->purges = true;
        person_expire(s->person, b->now_ms);
        alive_expire(s->alive, b->now_ms);
    }
    if (s->last)
        s->last->next = b;
    else
        s->first = b;
    s->last = b;
    return b;
}

static void batch_drop_first(struct suppress *s)
{
    struct batch *b = s->first;
    s->first = b->next;
    if (!s->first)
        s->last = NULL;
    s->first_sent = false;
    batch_free(b);
}

static void batch_add(struct batch *b, const struct suppress_change *c)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 8;
        b->v = mem_realloc(b->v, b->cap * sizeof *b->v);
    }
    struct suppress_change *at = &b->v[b->n++];
    *at = *c;
    at->s.address = arena_copy(&b->arena, c->s.address);
    at->s.name = arena_copy(&b->arena, c->s.name);
    at->s.evidence = arena_copy(&b->arena, c->s.evidence);
    at->s.isp = arena_copy(&b->arena, c->s.isp);
}

static void on_touched(void *data, struct slice address, bool confirmed)
{
    struct batch *b = data;
    if (b->ntouched == b->touched_cap) {
        b->touched_cap = b->touched_cap ? b->touched_cap * 2 : 64;
        b->touched = mem_realloc(b->touched, b->touched_cap * sizeof *b->touched);
    }
    b->touched[b->ntouched++] = (struct touched){arena_copy(&b->arena, address), confirmed};
}

static int write_batch(struct batch *b, struct err *e)
{
    b->ntouched = 0;
    int rc = suppress_changes_write(b->s->db, b->v, b->n, b->cursor, b->now_ms, on_touched, b, e);
    /* What has ended is passed over anyway: that it cannot be swept now is no failure of the changes. */
    if (!rc && b->purges && suppress_db_purge(b->s->db, b->now_ms, NULL) == 0)
        b->purges = false;
    return rc;
}

static void batch_run(struct work_job *job, struct work_thread *thread)
{
    struct batch *b = CONTAINER(job, struct batch, job);
    b->status = write_batch(b, &b->err);
}

/* --- to the database, one after the other --- */

static void send_first(struct suppress *s);

static struct hash128 who_of(const struct suppress *s, struct slice address)
{
    return suppress_table_who(s->table, address);
}

static void add_to_table(struct suppress *s, const struct suppression *row)
{
    if (!row->expires_ms || row->expires_ms > now_ms(s))
        suppress_table_add(s->table, row->scope, row->name, row->address, suppression_weight(row), now_ms(s));
}

/* Once more, because what a person changed may have undone it: the table says what the database will. */
static void again_to_table(struct suppress *s, const struct suppress_change *c)
{
    if (c->verb == SUPPRESS_ADD &&
        !(c->s.provisional_ms && person_is_aside(s->person, who_of(s, c->s.address))))
        add_to_table(s, &c->s);
}

static void on_taken_back(void *data, struct hash128 who)
{
    struct suppress *s = data;
    suppress_table_take_back(s->table, who);
}

/* What people changed, when it is synced. */
static void changed_to_table(struct suppress *s, const struct suppress_change *c)
{
    if (c->status)
        return;
    if (c->verb == SUPPRESS_ADD)
        add_to_table(s, &c->s);
    if (c->verb == SUPPRESS_REMOVE) {
        suppress_table_remove(s->table, c->s.scope, c->s.name, c->s.address);
        if (c->s.scope == SUPPRESS_ALL)
            person_forget(s->person, who_of(s, c->s.address));
    }
}

static void touched_to_table(struct suppress *s, const struct touched *t)
{
    enum suppress_reason was =
        suppress_table_get(s->table, SUPPRESS_ALL, SLICE_NONE, t->address, now_ms(s)).reason;
    person_release(s->person, who_of(s, t->address));
    if (t->confirmed)
        suppress_table_add(s->table, SUPPRESS_ALL, SLICE_NONE, t->address,
                           (struct suppress_weight){.reason = SUPPRESS_HARD_BOUNCE}, now_ms(s));
    else if (was == SUPPRESS_QUARANTINE)
        suppress_table_remove(s->table, SUPPRESS_ALL, SLICE_NONE, t->address);
}

static void on_again(struct loop_timer *t);

static void write_later(struct suppress *s, const char *why)
{
    if (!s->failing)
        notice(s, 2, "the database is not written, and tried again: ", why);
    s->failing = true;
    if (!s->stopped)
        loop_timer_start(s->conf.loop, &s->again, AGAIN_MS, on_again);
}

static void write_events(struct suppress *s)
{
    if (spool_is_short(s->spool))
        write_later(s, "the disk is full");
    else
        work_submit(s->work, &s->first->job);
}

static void on_again(struct loop_timer *t)
{
    write_events(CONTAINER(t, struct suppress, again));
}

/* What people change counts when it is synced. Events that came meanwhile are in the table already, and come
 * after it in the database: they count once more, so that both are the same. */
static void on_people_written(struct suppress *s, const struct batch *b)
{
    for (size_t i = 0; !b->status && i < b->n; i++)
        changed_to_table(s, &b->v[i]);
    for (size_t i = 0; !b->status && i < b->ntouched; i++)
        touched_to_table(s, &b->touched[i]);
    for (const struct batch *later = b->next; !b->status && later; later = later->next)
        for (size_t i = 0; later->cursor && i < later->n; i++)
            again_to_table(s, &later->v[i]);
    b->done(b->data, b->status, b->v, b->n, &b->err);
}

static void on_written(struct work_job *job)
{
    struct batch *b = CONTAINER(job, struct batch, job);
    struct suppress *s = b->s;
    if (b->cursor && b->status) {
        write_later(s, b->err.text);
        return;
    }
    if (b->cursor && s->failing) {
        notice(s, 0, "the database is written again", "");
        s->failing = false;
    }
    if (!b->cursor)
        on_people_written(s, b);
    batch_drop_first(s);
    send_first(s);
}

static void on_durable(struct spool_wait *w, int status)
{
    struct batch *b = CONTAINER(w, struct batch, wait);
    struct suppress *s = b->s;
    if (status == ERR_CANCELED)
        return; /* the next start applies it, if it is there then */
    if (status) {
        /* Recipients of that turn found no room. Its events did, and become durable with what comes next. */
        spool_when_durable(s->spool, w);
        return;
    }
    b->durable = true;
    if (!s->stopped)
        write_events(s);
}

static void wait_for(struct batch *b)
{
    b->wait.fn = on_durable;
    spool_when_durable(b->s->spool, &b->wait);
}

static void send_first(struct suppress *s)
{
    struct batch *b = s->first;
    if (!b || s->first_sent || s->stopped)
        return;
    s->first_sent = true;
    b->job.run = batch_run;
    b->job.done = on_written;
    if (b->cursor && !b->durable)
        wait_for(b);
    else if (b->cursor)
        write_events(s);
    else
        work_submit(s->work, &b->job);
}

static void on_task(struct loop_task *t)
{
    send_first(CONTAINER(t, struct suppress, task));
}

/* --- events --- */

static bool may_be_about(const struct suppress *s, const struct rec_event *ev)
{
    return ev->type == EVENT_BOUNCED || ev->type == EVENT_EXPIRED ||
           (ev->type == EVENT_DELIVERED && person_watches(s->person));
}

void suppress_judge(struct suppress *s, const struct act_rule *rule, const struct suppress_names *names,
                    struct rec_event *ev)
{
    struct arena a = {0};
    struct hash128 who;
    struct slice address = may_be_about(s, ev) ? suppression_address_of(ev, &a) : SLICE_NONE;
    if (address.n)
        who = who_of(s, address);
    ev->person = 0;
    ev->person_why = SLICE_NONE;
    person_judge(s->person, address.n ? &who : NULL, rule, names->isp, ev);
    arena_free(&a);
}

static void say_outbreak(struct suppress *s, const struct rec_event *ev, const struct suppress_names *names)
{
    struct buf text = {0};
    buf_printf(&text, "%.*s is out of order, it seems: ", SLICE_FMT(names->isp));
    person_outbreak_text(s->person, ev->isp, &text);
    notice(s, 1, buf_cstr(&text),
           ". Who bounces there is set aside and not suppressed: hato suppress list --quarantine");
    buf_free(&text);
}

/* In the table and the counters, which the database has told of what lies before its cursor. */
static void follow(struct suppress *s, const struct rec_event *ev, const struct suppress_change *v, size_t n)
{
    bool told = ev->event <= s->cursor;
    for (size_t i = 0; i < n; i++) {
        const struct suppress_change *c = &v[i];
        if (c->verb == SUPPRESS_TAKE_BACK)
            person_take_back(s->person, ev->isp, ev->at_ms, told ? NULL : on_taken_back, s);
        else if (c->verb == SUPPRESS_ADD)
            person_uncertain(s->person, who_of(s, c->s.address), ev);
        if (c->verb == SUPPRESS_ADD && !told)
            add_to_table(s, &c->s);
    }
    if (n && v[n - 1].s.address.n && !told)
        person_learn(s->person, who_of(s, v[n - 1].s.address), ev);
}

void suppress_event(struct suppress *s, const struct rec_event *ev, const struct suppress_names *names)
{
    struct suppress_change v[SUPPRESS_EVENT_MOST];
    struct arena a = {0};
    bool read_back = !s->spool;
    if (read_back)
        person_replay(s->person, ev);
    size_t n = suppress_changes_of_person(ev, names, &a, v);
    if (!read_back && ev->person & REC_PERSON_OUTBREAK)
        say_outbreak(s, ev, names);
    follow(s, ev, v, n);
    /* Of a domain's many deliveries the first of a day counts. */
    if (ev->event > s->cursor && suppress_change_of_domain(ev, names, &a, &v[n]))
        n += alive_took(s->alive, v[n].s.address, ev->at_ms);
    if (n && ev->event > s->cursor) {
        struct batch *b = s->last;
        if (!b || !b->cursor || (b == s->first && s->first_sent))
            b = batch_append(s);
        for (size_t i = 0; i < n; i++)
            batch_add(b, &v[i]);
        b->cursor = ev->event;
        b->durable = read_back; /* so it is on the disk */
        if (s->spool && !s->stopped)
            loop_post(s->conf.loop, &s->task, on_task);
    }
    arena_free(&a);
}

void suppress_change(struct suppress *s, const struct suppress_change *v, size_t n, suppress_done_fn *done,
                     void *data)
{
    struct batch *b = batch_append(s);
    for (size_t i = 0; i < n; i++)
        batch_add(b, &v[i]);
    b->done = done;
    b->data = data;
    loop_post(s->conf.loop, &s->task, on_task);
}

static void nobody_waits(void *data, int status, const struct suppress_change *v, size_t n,
                         const struct err *e)
{
}

void suppress_abandon(struct suppress *s)
{
    for (struct batch *b = s->first; b; b = b->next)
        if (!b->cursor)
            b->done = nobody_waits;
}

/* --- asking --- */

bool suppress_has(const struct suppress *s, const struct addr *to, struct slice stream, struct slice list,
                  struct suppress_hit *hit)
{
    const struct slice names[SUPPRESS_SCOPES] = {SLICE_NONE, stream, list};
    struct buf address = {0};
    int64_t now = now_ms(s);
    *hit = (struct suppress_hit){.reason = SUPPRESS_NOT};
    if (!suppress_table_count(s->table))
        return false;
    suppression_address(&address, to);
    for (int scope = 0; scope < SUPPRESS_SCOPES && hit->reason == SUPPRESS_NOT; scope++) {
        hit->scope = (enum suppress_scope)scope;
        if (scope == SUPPRESS_ALL || names[scope].n)
            hit->reason =
                suppress_table_get(s->table, hit->scope, names[scope], buf_slice(&address), now).reason;
    }
    buf_free(&address);
    return hit->reason != SUPPRESS_NOT;
}

void suppress_hit_text(struct buf *out, const struct suppress_hit *hit)
{
    static const char *const where[SUPPRESS_SCOPES] = {"all mail", "this stream", "this list"};
    buf_printf(out, "suppressed for %s: %s", where[hit->scope], suppression_reason_text(hit->reason));
}

/* --- domains --- */

static void set_gone(struct suppress *s, struct slice domain, int64_t since_ms)
{
    struct suppress_change c = {.verb = SUPPRESS_GONE,
                                .s = {.address = domain,
                                      .name = SLICE_NONE,
                                      .since_ms = since_ms,
                                      .isp = SLICE_NONE,
                                      .evidence = SLICE_NONE}};
    alive_set_gone(s->alive, domain, since_ms);
    if (!s->stopped)
        suppress_change(s, &c, 1, nobody_waits, NULL);
}

bool suppress_nxdomain_is_fault(struct suppress *s, struct slice domain)
{
    int64_t now = now_ms(s), since = alive_gone_since_ms(s->alive, domain);
    if (!alive_is(s->alive, domain, now))
        return false;
    if (!since)
        set_gone(s, domain, since = now);
    return now - since < s->conf.person.nxdomain_ms;
}

void suppress_domain_exists(struct suppress *s, struct slice domain)
{
    if (alive_gone_since_ms(s->alive, domain))
        set_gone(s, domain, 0);
}

uint64_t suppress_cursor(const struct suppress *s)
{
    return s->cursor;
}

/* --- life --- */

static int on_row(void *data, const struct suppression *row)
{
    struct suppress *s = data;
    add_to_table(s, row);
    return 0;
}

static int on_aside(void *data, const struct suppression *row)
{
    struct suppress *s = data;
    person_set_aside(s->person, who_of(s, row->address));
    return 0;
}

static int on_soft(void *data, const struct suppress_db_soft *row)
{
    struct suppress *s = data;
    person_counted(s->person, who_of(s, row->address), row->class_name, row->at_ms);
    return 0;
}

static void on_domain(void *data, struct slice domain, int64_t delivered_ms, int64_t gone_since_ms)
{
    struct suppress *s = data;
    alive_took(s->alive, domain, delivered_ms);
    alive_set_gone(s->alive, domain, gone_since_ms);
}

static int load(struct suppress *s, struct err *e)
{
    uint64_t n = 0;
    s->purged_ms = now_ms(s);
    int rc = suppress_db_purge(s->db, s->purged_ms, e);
    if (!rc)
        rc = suppress_db_count(s->db, &n, e);
    if (rc)
        return rc;
    suppress_table_reserve(s->table, (size_t)n);
    rc = suppress_db_each(s->db, SLICE_NONE, now_ms(s), on_row, s, e);
    if (!rc)
        rc = suppress_db_each_quarantined(s->db, SLICE_NONE, now_ms(s), on_aside, s, e);
    if (!rc)
        rc = suppress_db_each_soft(s->db, SLICE_NONE, on_soft, s, e);
    if (!rc)
        rc = suppress_db_each_domain(s->db, on_domain, s, e);
    return rc ? rc : suppress_db_cursor(s->db, &s->cursor, e);
}

int suppress_open(const struct suppress_conf *conf, struct suppress **out, struct err *e)
{
    struct suppress *s = mem_zalloc(sizeof *s);
    struct hash_key key;
    s->conf = *conf;
    loop_random_bytes(conf->loop, &key, sizeof key);
    s->table = suppress_table_new(key);
    s->alive = alive_new(key);
    int rc = person_new(&conf->person, conf->acts, &s->person, e);
    bool looks = !rc && conf->look_fs;
    int looked = looks ? suppress_db_look(conf->look_fs, conf->state, &s->db, e) : ERR_NOTFOUND;
    if (!rc)
        rc = looked == ERR_NOTFOUND ? suppress_db_open(conf->fs, conf->state, &s->db, e) : looked;
    if (!rc)
        rc = load(s, e);
    if (rc) {
        suppress_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

int suppress_start(struct suppress *s, struct spool *spool, struct err *e)
{
    while (s->first && !spool_is_short(spool)) {
        struct batch *b = s->first;
        int rc = write_batch(b, e);
        if (rc)
            return err_prefix(e, "the suppression list cannot be brought up to the journal: ");
        s->cursor = b->cursor;
        batch_drop_first(s);
    }
    s->spool = spool;
    s->work = work_new(&(struct work_conf){.loop = s->conf.loop, .name = "database", .threads = 1});
    send_first(s);
    return 0;
}

void suppress_stop(struct suppress *s)
{
    if (!s)
        return;
    s->stopped = true;
    loop_timer_stop(s->conf.loop, &s->again);
    loop_task_cancel(s->conf.loop, &s->task);
    work_free(s->work);
    s->work = NULL;
    s->failing |= s->spool && spool_is_short(s->spool);
    for (struct batch *b = s->first; b && s->spool; b = b->next)
        if (b->cursor && !b->durable && !(b == s->first && s->first_sent))
            wait_for(b);
}

void suppress_free(struct suppress *s)
{
    if (!s)
        return;
    while (s->first) {
        struct batch *b = s->first;
        if (!b->cursor)
            b->done(b->data, err_set(&b->err, ERR_CANCELED, "hato ends"), b->v, b->n, &b->err);
        else if (!b->durable)
            s->failing = true; /* nor may a later one be: the cursor would pass over this one */
        else if (!s->failing)
            s->failing = write_batch(b, &b->err) != 0;
        batch_drop_first(s); /* what was not written is in the journal, for the next start */
    }
    suppress_db_close(s->db);
    suppress_table_free(s->table);
    person_free(s->person);
    alive_free(s->alive);
    free(s);
}
