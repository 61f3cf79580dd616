/* resolve.c - questions in flight, the cache, and what answers mean for mail.
 *
 * A request (struct resolve_req) needs up to three answers. An answer comes from the cache or from a job, one
 * for each name and type, which all who need it join. Nothing that is learned takes effect where it is
 * learned: replies and finished requests are put on lists, and one posted task works them off. So c-ares may
 * call back inside a call of ours, and nobody is called back inside a call of his.
 *
 *   resolve_mx() → step() → answer in the cache? hold it : join its job → job: ask, retry, follow CNAME
 *   reply → arrived list → [task] → finish_job(): into the cache, step() its waiters → due list → callbacks
 *
 * 1. A request is idle, waiting (in the lists of its jobs) or due (in r->due); never two of these.
 * 2. An answer is freed with its last holder: the cache, or a request between learning and its callback. */
#include "platform/resolve.h"

#include "platform/resolve_ares.h"
#include "platform/resolve_cache.h"
#include "platform/resolve_chain.h"

#include <stdlib.h>

enum { KIND_MX, KIND_ADDR, KIND_TEXT };

struct resolve_job {
    struct resolve *r;
    struct resolve_job *next; /* waiting its turn, or arrived */
    struct slice key;
    struct resolve_chain chain;
    struct arena arena;
    struct resolve_wait *waits, **last;
    int tries_left;
    size_t server;
    uint32_t given_up; /* servers that answered, and not usefully: a bit each */
    bool edns;
    enum resolve_status failure;
    int rc;
    struct buf reply;
    struct loop_timer timer; /* static: the delay */
};

struct job_list {
    struct resolve_job *first, **last;
};

struct resolve {
    struct loop *loop;
    struct resolve_ares *ares; /* or */
    resolve_answer_fn *fn;
    void *ctx;
    int64_t delay_ms;
    int tries;
    uint32_t no_edns; /* servers that choke on EDNS: a bit each */
    size_t max_in_flight;
    struct resolve_cache cache;
    struct map jobs;
    struct job_list queued, arrived;
    struct resolve_req *due, **due_last;
    struct loop_task task;
    struct arena scratch;
    struct mx_host self; /* an implicit MX's one host */
    struct resolve_stats stats;
    size_t first_server; /* where questions go first: the last that was silent is not it */
    bool delivering, dead;
};

const char *resolve_status_name(enum resolve_status s)
{
    static const char *const names[] = {"ok",      "nxdomain", "nodata", "servfail",
                                        "timeout", "refused",  "loop",   "bad"};
    return (size_t)s < COUNT(names) ? names[s] : "unknown";
}

static void push_job(struct job_list *q, struct resolve_job *j)
{
    j->next = NULL;
    *q->last = j;
    q->last = &j->next;
}

static struct resolve_job *pop_job(struct job_list *q)
{
    struct resolve_job *j = q->first;
    if (j && !(q->first = j->next))
        q->last = &q->first;
    return j;
}

static void on_task(struct loop_task *t);

static void post(struct resolve *r)
{
    loop_post(r->loop, &r->task, on_task);
}

/* --- jobs: asking --- */

static void reply_arrived(struct resolve_job *j, int rc)
{
    j->rc = rc;
    push_job(&j->r->arrived, j);
    post(j->r);
}

static void on_reply(void *arg, int rc, struct slice answer)
{
    struct resolve_job *j = arg;
    buf_clear(&j->reply);
    buf_adds(&j->reply, answer);
    reply_arrived(j, rc);
}

static struct dns_message question(const struct resolve_job *j)
{
    return (struct dns_message){.recursion_desired = true,
                                .asks = true,
                                .qname = j->chain.name,
                                .qtype = j->chain.type,
                                .qclass = DNS_IN};
}

static void on_static_due(struct loop_timer *t)
{
    reply_arrived(t->data, 0);
}

static void ask(struct resolve_job *j)
{
    struct resolve *r = j->r;
    struct buf query = {0};
    r->stats.in_flight++;
    r->stats.asked++;
    if (!r->ares) {
        j->timer.data = j;
        loop_timer_start(r->loop, &j->timer, r->delay_ms, on_static_due);
        return;
    }
    struct dns_message m = question(j);
    m.edns = j->edns = !(r->no_edns >> j->server & 1);
    m.edns_bytes = DNS_EDNS_MAX;
    loop_random_bytes(r->loop, &m.id, sizeof m.id);
    INVARIANT(dns_encode(&m, DNS_UDP_MAX, &query) == 0); /* name was folded, which checks it */
    resolve_ares_ask(r->ares, j->server, buf_slice(&query), on_reply, j);
    buf_free(&query);
}

static size_t server_count(const struct resolve *r)
{
    return r->ares ? resolve_ares_servers(r->ares) : 1;
}

static void begin_round(struct resolve_job *j)
{
    j->tries_left = j->r->tries * (int)server_count(j->r);
    j->given_up = 0;
    j->server = j->r->first_server;
    j->failure = RESOLVE_TIMEOUT;
}

static struct resolve_job *start_job(struct resolve *r, struct slice name, uint16_t type)
{
    struct resolve_job *j = mem_zalloc(sizeof *j);
    char key[RESOLVE_KEY_MAX];
    j->r = r;
    j->last = &j->waits;
    j->key = arena_copy(&j->arena, resolve_key(key, name, type));
    resolve_chain_begin(&j->chain, slice_of(j->key.p + 2, name.n), type);
    map_put(&r->jobs, j->key, j);
    begin_round(j);
    if (r->stats.in_flight < r->max_in_flight)
        ask(j);
    else
        push_job(&r->queued, j);
    return j;
}

static void free_job(struct resolve_job *j)
{
    loop_timer_stop(j->r->loop, &j->timer);
    buf_free(&j->reply);
    arena_free(&j->arena);
    free(j);
}

/* --- jobs: reading --- */

enum reading {
    READ_DONE,  /* *answer is made */
    READ_RETRY, /* this server is no help: j->failure says why */
    READ_MOVED, /* j->chain is at an alias's target, ask for that */
    READ_PLAIN, /* ask the same without EDNS */
};

static enum reading failed(struct resolve_job *j, enum resolve_status status)
{
    /* What a server said outweighs another's silence. */
    if (status != RESOLVE_TIMEOUT) {
        j->failure = status;
        j->given_up |= 1u << j->server;
    } else if (j->server == j->r->first_server) {
        j->r->first_server = (j->server + 1) % server_count(j->r);
    }
    return READ_RETRY;
}

static int64_t expiry(const struct resolve_job *j, uint32_t ttl_s)
{
    return loop_now_ms(j->r->loop) + (int64_t)ttl_s * 1000;
}

static enum reading read_message(struct resolve_job *j, const struct dns_message *m,
                                 struct resolve_answer **answer)
{
    struct resolve *r = j->r;
    struct resolve_found found;
    switch (resolve_chain_read(&j->chain, m, &r->scratch, &j->arena, &found)) {
    case RESOLVE_READ_RETRY:
        return failed(j, found.status);
    case RESOLVE_READ_MOVED:
        return READ_MOVED;
    case RESOLVE_READ_DONE:
        break;
    }
    if (found.status == RESOLVE_OK)
        *answer = resolve_answer_records(j->key, found.rec, found.n, expiry(j, found.ttl_s), &r->scratch);
    else
        *answer = resolve_answer_status(j->key, found.status, expiry(j, found.ttl_s));
    return READ_DONE;
}

static enum reading read_reply(struct resolve_job *j, struct resolve_answer **answer)
{
    struct resolve *r = j->r;
    struct dns_message m = question(j);
    if (j->rc == ERR_TIMEOUT || j->rc == ERR_REFUSED)
        return failed(j, RESOLVE_TIMEOUT);
    if (j->rc)
        return failed(j, RESOLVE_BAD);
    if (!r->ares)
        return r->fn(r->ctx, &m, &r->scratch) ? read_message(j, &m, answer) : failed(j, RESOLVE_TIMEOUT);
    if (dns_parse(buf_slice(&j->reply), &r->scratch, &m) || !m.response)
        return failed(j, RESOLVE_BAD);
    if (j->edns && (m.rcode == DNS_FORMERR || m.rcode == DNS_NOTIMP)) {
        r->no_edns |= 1u << j->server;
        return READ_PLAIN;
    }
    if ((m.rcode == DNS_NOERROR || m.rcode == DNS_NXDOMAIN) &&
        (m.truncated || !m.asks || m.qtype != j->chain.type || !slice_ieq(m.qname, j->chain.name)))
        return failed(j, RESOLVE_BAD);
    return read_message(j, &m, answer);
}

static void join_job(struct resolve_job *j, struct resolve_wait *w)
{
    w->job = j;
    w->next = NULL;
    w->prev = j->last;
    *j->last = w;
    j->last = &w->next;
}

static void leave_job(struct resolve_wait *w)
{
    *w->prev = w->next;
    *(w->next ? &w->next->prev : &w->job->last) = w->prev;
    w->prev = NULL;
}

static void step(struct resolve_req *q);

/* Takes the held answer. */
static void finish_job(struct resolve_job *j, struct resolve_answer *a)
{
    struct resolve_wait *w;
    resolve_cache_put(&j->r->cache, a);
    map_del(&j->r->jobs, j->key);
    while ((w = j->waits)) {
        leave_job(w);
        w->answer = a;
        a->refs++;
        step(w->req);
    }
    resolve_answer_drop(a);
    free_job(j);
}

/* The next server that has not answered uselessly; false when there is none or all tries are used up. */
static bool next_server(struct resolve_job *j)
{
    size_t n = server_count(j->r);
    if (--j->tries_left <= 0)
        return false;
    for (size_t i = 1; i <= n; i++) {
        size_t s = (j->server + i) % n;
        if (!(j->given_up >> s & 1)) {
            j->server = s;
            return true;
        }
    }
    return false;
}

static void work_reply(struct resolve_job *j)
{
    struct resolve_answer *a = NULL;
    j->r->stats.in_flight--;
    enum reading what = read_reply(j, &a);
    arena_reset(&j->r->scratch);
    switch (what) {
    case READ_DONE:
        finish_job(j, a);
        break;
    case READ_RETRY:
        if (next_server(j))
            ask(j);
        else
            finish_job(j, resolve_answer_status(j->key, j->failure, expiry(j, RESOLVE_FAILED_TTL_S)));
        break;
    case READ_MOVED:
        begin_round(j);
        ask(j);
        break;
    case READ_PLAIN:
        ask(j);
        break;
    }
}

/* --- requests --- */

/* Whether q's i-th answer is there; if not, and ask is set, q now waits for it. */
static bool need(struct resolve_req *q, int i, uint16_t type, bool may_ask)
{
    struct resolve_wait *w = &q->wait[i];
    struct resolve *r = q->r;
    char key[RESOLVE_KEY_MAX];
    if (w->answer)
        return true;
    if (w->prev)
        return false;
    struct slice k = resolve_key(key, q->name, type);
    if ((w->answer = resolve_cache_get(&r->cache, k, loop_now_ms(r->loop)))) {
        w->answer->refs++;
        r->stats.hits++;
        return true;
    }
    if (!may_ask)
        return false;
    r->stats.misses++;
    struct resolve_job *j = map_get(&r->jobs, k);
    if (!j)
        j = start_job(r, q->name, type);
    w->req = q;
    join_job(j, w);
    return false;
}

/* Whether all answers that q needs are there. */
static bool complete(struct resolve_req *q, bool may_ask)
{
    bool a, b;
    switch (q->kind) {
    case KIND_MX:
        /* Only NODATA means that there is no MX. After SERVFAIL the address must not be used instead. */
        return need(q, 0, DNS_MX, may_ask) &&
               (q->wait[0].answer->status != RESOLVE_NODATA ||
                (need(q, 1, DNS_A, may_ask) &&
                 (q->wait[1].answer->status == RESOLVE_OK || need(q, 2, DNS_AAAA, may_ask))));
    case KIND_ADDR:
        a = !(q->families & RESOLVE_IP4) || need(q, 0, DNS_A, may_ask);
        b = !(q->families & RESOLVE_IP6) || need(q, 1, DNS_AAAA, may_ask);
        return a && b;
    default:
        return need(q, 0, q->type, may_ask);
    }
}

static void make_due(struct resolve_req *q)
{
    struct resolve *r = q->r;
    q->next = NULL;
    q->prev = r->due_last;
    *r->due_last = q;
    r->due_last = &q->next;
    post(r);
}

static void step(struct resolve_req *q)
{
    if (complete(q, true))
        make_due(q);
}

/* Out of every list. Its answers go to got, held. */
static void make_idle(struct resolve_req *q, struct resolve_answer *got[3])
{
    if (q->prev) {
        *q->prev = q->next;
        *(q->next ? &q->next->prev : &q->r->due_last) = q->prev;
        q->prev = NULL;
    }
    for (int i = 0; i < 3; i++) {
        if (q->wait[i].prev)
            leave_job(&q->wait[i]);
        got[i] = q->wait[i].answer;
        q->wait[i].answer = NULL;
    }
    free((char *)q->name.p);
    q->name = SLICE_NONE;
    q->r = NULL;
}

static void drop_answers(struct resolve_answer *got[3])
{
    for (int i = 0; i < 3; i++)
        resolve_answer_drop(got[i]);
}

static void deliver(struct resolve_req *q)
{
    struct resolve *r = q->r;
    struct resolve_answer *got[3];
    make_idle(q, got);
    switch (q->kind) {
    case KIND_MX: {
        struct mx_set set = resolve_answers_mx(got, loop_now_ms(r->loop), &r->self);
        q->cb.mx(q, &set);
        break;
    }
    case KIND_ADDR: {
        struct addr_set set = resolve_answers_addr(got, loop_now_ms(r->loop));
        q->cb.addr(q, &set);
        break;
    }
    default: {
        struct text_set set = resolve_answers_text(got, loop_now_ms(r->loop));
        q->cb.text(q, &set);
    }
    }
    drop_answers(got);
}

/* A name that is none: no question, no answer, and the result says BAD. */
static void begin(struct resolve *r, struct slice name, struct resolve_req *q)
{
    struct slice folded;
    INVARIANT(!q->r);
    q->r = r;
    q->next = NULL;
    q->prev = NULL;
    memset(q->wait, 0, sizeof q->wait);
    bool good = dns_name_fold(name, &r->scratch, &folded) == 0;
    if (!good)
        folded = SLICE_NONE;
    q->name = slice_of(mem_dup(folded.p, folded.n), folded.n);
    arena_reset(&r->scratch);
    if (good)
        step(q);
    else
        make_due(q);
}

void resolve_mx(struct resolve *r, struct slice domain, struct resolve_req *q, resolve_mx_fn *cb)
{
    q->kind = KIND_MX;
    q->cb.mx = cb;
    begin(r, domain, q);
}

void resolve_addr(struct resolve *r, struct slice host, int families, struct resolve_req *q,
                  resolve_addr_fn *cb)
{
    INVARIANT(families >= RESOLVE_IP4 && families <= (RESOLVE_IP4 | RESOLVE_IP6));
    q->kind = KIND_ADDR;
    q->families = (uint8_t)families;
    q->cb.addr = cb;
    begin(r, host, q);
}

void resolve_txt(struct resolve *r, struct slice name, struct resolve_req *q, resolve_text_fn *cb)
{
    q->kind = KIND_TEXT;
    q->type = DNS_TXT;
    q->cb.text = cb;
    begin(r, name, q);
}

void resolve_soa(struct resolve *r, struct slice name, struct resolve_req *q, resolve_text_fn *cb)
{
    q->kind = KIND_TEXT;
    q->type = DNS_SOA;
    q->cb.text = cb;
    begin(r, name, q);
}

void resolve_ptr(struct resolve *r, struct ip ip, struct resolve_req *q, resolve_text_fn *cb)
{
    struct buf name = {0};
    dns_reverse_name(ip, &name);
    q->kind = KIND_TEXT;
    q->type = DNS_PTR;
    q->cb.text = cb;
    begin(r, buf_slice(&name), q);
    buf_free(&name);
}

void resolve_cancel(struct resolve_req *q)
{
    struct resolve_answer *got[3];
    if (!q->r)
        return;
    make_idle(q, got);
    drop_answers(got);
}

/* The answers are only borrowed from the cache afterwards. */
static bool peek(struct resolve *r, struct slice name, struct resolve_req *q, struct resolve_answer *got[3])
{
    bool there = false;
    q->r = r;
    if (dns_name_fold(name, &r->scratch, &q->name) == 0)
        there = complete(q, false);
    arena_reset(&r->scratch);
    for (int i = 0; i < 3; i++)
        got[i] = q->wait[i].answer;
    drop_answers(got);
    return there;
}

bool resolve_peek_mx(struct resolve *r, struct slice domain, struct mx_set *out)
{
    struct resolve_req q = {.kind = KIND_MX};
    struct resolve_answer *got[3];
    if (!peek(r, domain, &q, got))
        return false;
    *out = resolve_answers_mx(got, loop_now_ms(r->loop), &r->self);
    return true;
}

bool resolve_peek_addr(struct resolve *r, struct slice host, int families, struct addr_set *out)
{
    struct resolve_req q = {.kind = KIND_ADDR, .families = (uint8_t)families};
    struct resolve_answer *got[3];
    if (!peek(r, host, &q, got))
        return false;
    *out = resolve_answers_addr(got, loop_now_ms(r->loop));
    return true;
}

struct resolve_stats resolve_stats(const struct resolve *r)
{
    struct resolve_stats s = r->stats;
    s.cached = r->cache.map.live;
    return s;
}

/* --- life --- */

static void free_now(struct resolve *r)
{
    arena_free(&r->scratch);
    free(r);
}

static void on_task(struct loop_task *t)
{
    struct resolve *r = t->data;
    struct resolve_job *j;
    r->delivering = true;
    while ((j = pop_job(&r->arrived)))
        work_reply(j);
    while (r->stats.in_flight < r->max_in_flight && (j = pop_job(&r->queued)))
        ask(j);
    while (r->due)
        deliver(r->due);
    r->delivering = false;
    if (r->dead && !r->task.queued)
        free_now(r);
}

static struct resolve *resolve_alloc(struct loop *l, size_t cache_entries)
{
    struct resolve *r = mem_zalloc(sizeof *r);
    struct hash_key key;
    loop_random_bytes(l, &key, sizeof key);
    resolve_cache_init(&r->cache, key, cache_entries ? cache_entries : 100000);
    map_init(&r->jobs, key);
    r->loop = l;
    r->task.data = r;
    r->queued.last = &r->queued.first;
    r->arrived.last = &r->arrived.first;
    r->due_last = &r->due;
    return r;
}

struct resolve *resolve_new(struct loop *l, const struct resolve_conf *conf, struct err *e)
{
    int64_t timeout_ms = conf->timeout_ms ? conf->timeout_ms : 5000;
    struct resolve_ares *ares = resolve_ares_new(l, conf->servers, timeout_ms, e);
    if (!ares)
        return NULL;
    struct resolve *r = resolve_alloc(l, conf->cache_entries);
    r->ares = ares;
    r->tries = conf->tries ? conf->tries : 2;
    r->max_in_flight = conf->max_in_flight ? conf->max_in_flight : 256;
    return r;
}

struct resolve *resolve_new_static(struct loop *l, resolve_answer_fn *fn, void *ctx, int64_t delay_ms,
                                   size_t cache_entries)
{
    struct resolve *r = resolve_alloc(l, cache_entries);
    r->fn = fn;
    r->ctx = ctx;
    r->delay_ms = delay_ms;
    r->tries = 1;
    r->max_in_flight = SIZE_MAX;
    return r;
}

void resolve_free(struct resolve *r)
{
    size_t at = 0;
    struct map_entry *entry;
    if (!r)
        return;
    resolve_ares_free(r->ares);
    while (r->due)
        resolve_cancel(r->due);
    while ((entry = map_next(&r->jobs, &at))) {
        struct resolve_job *j = entry->value;
        while (j->waits)
            resolve_cancel(j->waits->req);
        free_job(j);
    }
    resolve_cache_free(&r->cache);
    map_free(&r->jobs);
    r->arrived.first = r->queued.first = NULL;
    r->dead = true; /* the task, if it is on its way or runs right now, frees what is left */
    if (!r->task.queued && !r->delivering)
        free_now(r);
}
