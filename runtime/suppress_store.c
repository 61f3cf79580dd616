/* suppress_store.c - see suppress_store.h. */
#include "suppress_store.h"
#include "base/json.h"
#include "control.h"
#include "journal.h"
#include "platform/spool.h"

#include <stdlib.h>

enum { ASK_MS = 30000, REQUEST_MOST = CONTROL_LINE_BYTES - 4096, CHANGES_MOST = 1000, CATCH_UP = 1000 };

struct suppress_store {
    char *state;
    struct fs *fs;
    struct loop *loop;
    struct file *lock;
    struct suppress_db *db; /* NULL: a process has the folder */
    struct err locked;      /* then: which */
};

/* --- at rest: the journal first --- */

struct catch_up {
    struct suppress_store *st;
    struct journal *journal;
    struct arena arena;
    struct suppress_change v[CATCH_UP];
    size_t n;
    uint64_t cursor, last;
    struct err err;
};

static int flush(struct catch_up *c)
{
    int rc =
        c->n ? suppress_change_now(c->st->db, c->v, c->n, c->last, suppress_store_now_ms(c->st), &c->err) : 0;
    c->n = 0;
    arena_reset(&c->arena);
    return rc;
}

static int on_record(void *data, const struct rec *rec)
{
    struct catch_up *c = data;
    const struct rec_event *ev = &rec->event;
    const struct event_names *names = journal_names(c->journal);
    if (rec->type != REC_EVENT || ev->event <= c->cursor)
        return 0;
    size_t n = suppress_changes_of(ev,
                                   &(struct suppress_names){event_name(names, NAME_STREAM, ev->stream),
                                                            event_name(names, NAME_ISP, ev->isp)},
                                   &c->arena, c->v + c->n);
    if (!n)
        return 0;
    for (; n; n--, c->n++) {
        struct suppression *s = &c->v[c->n].s;
        s->name = arena_copy(&c->arena, s->name);
        s->isp = arena_copy(&c->arena, s->isp);
        s->evidence = arena_copy(&c->arena, s->evidence);
    }
    c->last = ev->event;
    return c->n + SUPPRESS_EVENT_MOST > CATCH_UP ? flush(c) : 0;
}

static int catch_up(struct suppress_store *st, const char *command, struct err *e)
{
    struct catch_up *c = mem_zalloc(sizeof *c);
    c->st = st;
    int rc = suppress_db_cursor(st->db, &c->cursor, e);
    if (!rc)
        rc = journal_open(command, st->state, &c->journal, e);
    if (!rc) {
        rc = journal_read(c->journal, on_record, c, e);
        if (rc == ERR_NOTFOUND) /* nothing was ever sent from here */
            rc = 0;
        if (!rc)
            rc = flush(c);
        if (rc && c->err.code)
            *e = c->err;
    }
    journal_close(c->journal);
    arena_free(&c->arena);
    free(c);
    return rc;
}

/* --- life --- */

int suppress_store_open(const char *command, const char *state, struct suppress_store **out, struct err *e)
{
    struct suppress_store *st = mem_zalloc(sizeof *st);
    st->state = mem_dup(state, strlen(state));
    st->fs = fs_real();
    st->loop = loop_new_real();
    int rc = spool_lock(st->fs, st->state, &st->lock, &st->locked);
    if (!rc) {
        rc = suppress_db_open(st->fs, st->state, &st->db, e);
        if (!rc)
            rc = catch_up(st, command, e);
    } else if (rc == ERR_LOCKED) {
        rc = 0;
    } else {
        *e = st->locked;
    }
    if (rc) {
        suppress_store_close(st);
        return rc;
    }
    *out = st;
    return 0;
}

void suppress_store_close(struct suppress_store *st)
{
    if (!st)
        return;
    suppress_db_close(st->db);
    file_close(st->lock);
    loop_free(st->loop);
    fs_free(st->fs);
    free(st->state);
    free(st);
}

int64_t suppress_store_now_ms(const struct suppress_store *st)
{
    return loop_wall_ms(st->loop);
}

/* --- the hato that runs --- */

static void put_member(struct buf *out, const char *name, struct slice text)
{
    buf_printf(out, ",\"%s\":", name);
    json_quote(out, text);
}

/* What people may ask for. */
static const char *const verbs[] = {[SUPPRESS_ADD] = "add",
                                    [SUPPRESS_REMOVE] = "remove",
                                    [SUPPRESS_CONFIRM] = "confirm",
                                    [SUPPRESS_RELEASE] = "release"};

static void put_change(struct buf *out, const struct suppress_change *c)
{
    struct buf scope = {0};
    suppression_scope_text(&scope, c->s.scope, c->s.name);
    buf_adds(out, S("{\"address\":"));
    json_quote(out, c->s.address);
    put_member(out, "scope", buf_slice(&scope));
    buf_printf(out, ",\"verb\":\"%s\"", verbs[c->verb]);
    if (c->verb == SUPPRESS_REMOVE) {
        buf_printf(out, ",\"on_request\":%s,\"opt_in\":%lld}", c->on_request ? "true" : "false",
                   (long long)c->opt_in_ms);
    } else if (c->verb != SUPPRESS_ADD) {
        put_member(out, "isp", c->s.isp);
        buf_addc(out, '}');
    } else {
        put_member(out, "reason", slice_cstr(suppression_reason_word(c->s.reason)));
        put_member(out, "evidence", c->s.evidence);
        buf_printf(out, ",\"since\":%lld,\"expires\":%lld,\"provisional\":%lld}", (long long)c->s.since_ms,
                   (long long)c->s.expires_ms, (long long)c->s.provisional_ms);
    }
    buf_free(&scope);
}

struct answers {
    struct suppress_change *v;
    size_t n, asked;
};

static void on_line(void *data, const json_t *line)
{
    struct answers *a = data;
    const char *was = json_string_value(json_object_get(line, "was"));
    if (a->n == a->asked)
        return;
    struct suppress_change *c = &a->v[a->n++];
    c->status = (int)json_integer_value(json_object_get(line, "status"));
    c->was = SUPPRESS_NOT;
    c->touched = (uint64_t)json_integer_value(json_object_get(line, "touched"));
    if (was)
        suppression_reason_parse(slice_cstr(was), &c->was, NULL); /* "none" is no reason: it was not there */
}

static int ask(struct suppress_store *st, struct slice request, struct answers *a, struct err *e)
{
    struct control_answer answer = {.data = a, .line = on_line};
    int rc = control_ask(st->state, request, ASK_MS, &answer, e);
    if (rc == ERR_NOTFOUND) {
        *e = st->locked;
        rc = e->code;
    } else if (!rc && !json_is_true(json_object_get(answer.last, "ok"))) {
        const char *why = json_string_value(json_object_get(answer.last, "error"));
        rc = err_set(e, ERR_REFUSED, "the hato that runs on %s says: %s", st->state, why ? why : "no");
    } else if (!rc && a->n != a->asked) {
        rc = err_set(e, ERR_SYNTAX, "the hato that runs on %s did not answer for each change", st->state);
    }
    json_decref(answer.last);
    return rc;
}

static int apply_there(struct suppress_store *st, struct suppress_change *v, size_t n, struct err *e)
{
    struct buf request = {0};
    int rc = 0;
    for (size_t from = 0, to; !rc && from < n; from = to) {
        buf_clear(&request);
        buf_adds(&request, S("{\"command\":\"suppress\",\"changes\":["));
        for (to = from; to < n && to - from < CHANGES_MOST; to++) {
            struct buf one = {0};
            put_change(&one, &v[to]);
            bool fits = to == from || request.n + one.n < REQUEST_MOST;
            if (fits && to > from)
                buf_addc(&request, ',');
            if (fits)
                buf_adds(&request, buf_slice(&one));
            buf_free(&one);
            if (!fits)
                break;
        }
        buf_adds(&request, S("]}"));
        rc = ask(st, buf_slice(&request), &(struct answers){.v = v + from, .asked = to - from}, e);
    }
    buf_free(&request);
    return rc;
}

int suppress_store_apply(struct suppress_store *st, struct suppress_change *v, size_t n, struct err *e)
{
    if (!st->db)
        return apply_there(st, v, n, e);
    return suppress_change_now(st->db, v, n, 0, suppress_store_now_ms(st), e);
}

/* --- the other side --- */

static struct slice text_of(const json_t *change, const char *name)
{
    const json_t *s = json_object_get(change, name);
    return slice_of(json_string_value(s), json_string_length(s));
}

static int64_t time_of(const json_t *change, const char *name)
{
    int64_t ms = json_integer_value(json_object_get(change, name));
    return ms < 0 ? 0 : ms;
}

/* The client is hato's own, but what comes over a socket is read like everything else. */
static int read_change(const json_t *change, int64_t now_ms, struct arena *a, struct suppress_change *out,
                       struct err *e)
{
    struct buf address = {0};
    struct addr addr;
    int rc = 0;
    *out = (struct suppress_change){.on_request = json_is_true(json_object_get(change, "on_request")),
                                    .opt_in_ms = time_of(change, "opt_in")};
    struct suppression *s = &out->s;
    s->address = s->evidence = SLICE_NONE;
    s->isp = text_of(change, "isp");
    while (out->verb < COUNT(verbs) && !slice_eq(text_of(change, "verb"), slice_cstr(verbs[out->verb])))
        out->verb++;
    if (out->verb == COUNT(verbs))
        return err_set(e, ERR_INVAL, "no verb \"%.*s\"", SLICE_FMT(text_of(change, "verb")));
    bool about_many = out->verb == SUPPRESS_CONFIRM || out->verb == SUPPRESS_RELEASE;
    if (!about_many || text_of(change, "address").n)
        rc = addr_parse(text_of(change, "address"), a, &addr, e);
    if (!rc)
        rc = suppression_scope_parse(text_of(change, "scope"), &s->scope, &s->name, e);
    if (!rc && out->verb == SUPPRESS_ADD)
        rc = suppression_reason_parse(text_of(change, "reason"), &s->reason, e);
    if (rc)
        return rc;
    if (text_of(change, "address").n) {
        suppression_address(&address, &addr);
        s->address = arena_copy(a, buf_slice(&address));
        buf_free(&address);
    }
    s->evidence = text_of(change, "evidence");
    s->since_ms = time_of(change, "since") ? time_of(change, "since") : now_ms;
    s->expires_ms = suppression_expires(time_of(change, "expires"));
    s->provisional_ms = time_of(change, "provisional");
    return 0;
}

static void on_changed(void *data, int status, const struct suppress_change *v, size_t n, const struct err *e)
{
    struct control_call *call = data;
    struct buf line = {0};
    for (size_t i = 0; !status && i < n; i++) {
        buf_clear(&line);
        buf_printf(&line, "{\"status\":%d,\"was\":\"%s\",\"touched\":%llu}", v[i].status,
                   suppression_reason_word(v[i].was), (unsigned long long)v[i].touched);
        control_line(call, buf_slice(&line));
    }
    control_end(call, status, status ? slice_cstr(e->text) : SLICE_NONE);
    buf_free(&line);
}

void suppress_store_request(struct suppress *s, int64_t now_ms, struct control_call *call,
                            const json_t *request)
{
    const json_t *list = json_object_get(request, "changes");
    size_t n = json_array_size(list);
    struct suppress_change *v = mem_zalloc((n + 1) * sizeof *v);
    struct arena a = {0};
    struct err e;
    int rc = n && n <= CHANGES_MOST
                 ? 0
                 : err_set(&e, ERR_INVAL, "\"changes\" is an array of 1 to %d", CHANGES_MOST);
    for (size_t i = 0; !rc && i < n; i++)
        rc = read_change(json_array_get(list, i), now_ms, &a, &v[i], &e);
    if (rc)
        control_end(call, rc, slice_cstr(e.text));
    else
        suppress_change(s, v, n, on_changed, call);
    arena_free(&a);
    free(v);
}
