/* suppress.c - see suppress.h.
 *
 * Changes travel to the database in batches, one at a time, in the order in which they came: a batch of
 * events when it is durable in the spool, a batch of people's at once. A batch of events that cannot be
 * written is tried again, and while the journal lives on its reserve it is not even tried: the room that is
 * left is for outcomes. Nothing is lost by that, as its events are in the journal. */
#include "delivery/suppress.h"

#include <stdlib.h>

enum { AGAIN_MS = 10000 };

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
    int status;
    struct err err;
    suppress_done_fn *done; /* of people's */
    void *data;
};

struct suppress {
    struct suppress_conf conf;
    struct suppress_table *table;
    struct suppress_db *db;
    struct work *work;
    struct spool *spool;
    uint64_t cursor; /* what suppress_event() passes over */
    struct batch *first, *last;
    bool first_sent; /* the first waits to be durable, or is at the database */
    struct loop_task task;
    struct loop_timer again;
    bool stopped, failing;
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
    free(b->v);
    free(b);
}

static struct batch *batch_append(struct suppress *s)
{
    struct batch *b = mem_zalloc(sizeof *b);
    b->s = s;
    b->now_ms = now_ms(s);
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
}

static int write_change(struct suppress_db *db, struct suppress_change *c, int64_t now, struct err *e)
{
    struct suppression old;
    bool fresh;
    int rc = suppress_db_get(db, c->s.address, c->s.scope, c->s.name, now, &old, e);
    if (rc && rc != ERR_NOTFOUND)
        return rc;
    c->was = rc ? SUPPRESS_NOT : old.reason;
    c->status = 0;
    if (!c->removes) {
        rc = suppress_db_add(db, &c->s, now, &fresh, e);
        c->status = !rc && !fresh ? ERR_EXISTS : 0;
        return rc;
    }
    if (c->was == SUPPRESS_NOT)
        c->status = ERR_NOTFOUND;
    else if (suppression_is_the_persons(c->was) && !c->on_request)
        c->status = ERR_REFUSED;
    return c->status ? 0 : suppress_db_remove(db, c->s.address, c->s.scope, c->s.name, e);
}

static int write_changes(struct suppress_db *db, struct suppress_change *v, size_t n, int64_t now,
                         uint64_t cursor, struct err *e)
{
    int rc = suppress_db_begin(db, cursor ? DB_ORDERED : DB_SYNCED, e);
    if (rc)
        return rc;
    for (size_t i = 0; !rc && i < n; i++)
        rc = write_change(db, &v[i], now, e);
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
    return write_changes(db, v, n, now, cursor, e);
}

static void batch_run(struct work_job *job, struct work_thread *thread)
{
    struct batch *b = CONTAINER(job, struct batch, job);
    b->status = write_changes(b->s->db, b->v, b->n, b->now_ms, b->cursor, &b->err);
}

/* --- to the database, one after the other --- */

static void send_first(struct suppress *s);

static bool to_table(struct suppress *s, const struct suppress_change *c)
{
    if (c->removes)
        return suppress_table_remove(s->table, c->s.scope, c->s.name, c->s.address);
    return suppress_table_add(s->table, c->s.scope, c->s.name, c->s.address,
                              (struct suppress_weight){c->s.reason, c->s.expires_ms}, now_ms(s));
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
        if (!b->v[i].status)
            to_table(s, &b->v[i]);
    for (const struct batch *later = b->next; !b->status && later; later = later->next)
        for (size_t i = 0; later->cursor && i < later->n; i++)
            to_table(s, &later->v[i]);
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

void suppress_event(struct suppress *s, const struct rec_event *ev, struct slice stream)
{
    struct suppress_change c = {.removes = false};
    struct arena a = {0};
    if (ev->event > s->cursor && suppression_of_event(ev, stream, &a, &c.s)) {
        struct batch *b = s->last;
        if (!b || !b->cursor || (b == s->first && s->first_sent))
            b = batch_append(s);
        batch_add(b, &c);
        b->cursor = ev->event;
        b->durable = !s->spool; /* read back, so it is on the disk */
        to_table(s, &c);
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

bool suppress_has(const struct suppress *s, const struct addr *to, struct slice stream,
                  struct suppress_hit *hit)
{
    struct buf address = {0};
    int64_t now = now_ms(s);
    if (!suppress_table_count(s->table))
        return false;
    suppression_address(&address, to);
    *hit = (struct suppress_hit){
        .scope = SUPPRESS_ALL,
        .reason = suppress_table_get(s->table, SUPPRESS_ALL, SLICE_NONE, buf_slice(&address), now).reason};
    if (hit->reason == SUPPRESS_NOT)
        *hit = (struct suppress_hit){
            .scope = SUPPRESS_STREAM,
            .reason = suppress_table_get(s->table, SUPPRESS_STREAM, stream, buf_slice(&address), now).reason};
    buf_free(&address);
    return hit->reason != SUPPRESS_NOT;
}

void suppress_hit_text(struct buf *out, const struct suppress_hit *hit)
{
    buf_printf(out, "suppressed for %s: %s", hit->scope == SUPPRESS_ALL ? "all mail" : "this stream",
               suppression_reason_text(hit->reason));
}

uint64_t suppress_cursor(const struct suppress *s)
{
    return s->cursor;
}

/* --- life --- */

static int on_row(void *data, const struct suppression *row)
{
    struct suppress *s = data;
    suppress_table_add(s->table, row->scope, row->name, row->address,
                       (struct suppress_weight){row->reason, row->expires_ms}, now_ms(s));
    return 0;
}

static int load(struct suppress *s, struct err *e)
{
    uint64_t n = 0;
    int rc = suppress_db_purge(s->db, now_ms(s), e);
    if (!rc)
        rc = suppress_db_count(s->db, &n, e);
    if (rc)
        return rc;
    suppress_table_reserve(s->table, (size_t)n);
    rc = suppress_db_each(s->db, SLICE_NONE, now_ms(s), on_row, s, e);
    return rc ? rc : suppress_db_cursor(s->db, &s->cursor, e);
}

int suppress_open(const struct suppress_conf *conf, struct suppress **out, struct err *e)
{
    struct suppress *s = mem_zalloc(sizeof *s);
    struct hash_key key;
    s->conf = *conf;
    loop_random_bytes(conf->loop, &key, sizeof key);
    s->table = suppress_table_new(key);
    int rc = suppress_db_open(conf->fs, conf->state, &s->db, e);
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
        int rc = write_changes(s->db, b->v, b->n, b->now_ms, b->cursor, e);
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
            s->failing = write_changes(s->db, b->v, b->n, b->now_ms, b->cursor, &b->err) != 0;
        batch_drop_first(s); /* what was not written is in the journal, for the next start */
    }
    suppress_db_close(s->db);
    suppress_table_free(s->table);
    free(s);
}
