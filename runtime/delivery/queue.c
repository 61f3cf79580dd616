/* queue.c - see queue.h. */
#include "delivery/queue.h"

#include <stdio.h>
#include <stdlib.h>

enum { BLOCK = 4096, MEMO_BLOCK = 256 };

struct block {
    uint32_t live;
    struct q_entry v[BLOCK];
};

struct queue {
    struct loop *loop;
    struct block **blocks; /* blocks[i] holds ids from (first_block + i) * BLOCK */
    uint64_t first_block;
    size_t nblocks, cap_blocks;
    size_t counts[Q_STATES], total;

    struct q_memo **memos; /* by index; freed ones are NULL and their index is on the free list */
    uint32_t nmemos, cap_memos;
    uint32_t *free_memos;
    uint32_t nfree;

    struct lane **lanes;
    uint32_t nlanes, cap_lanes;
    struct map lane_of_key;

    struct heap retry;
    struct loop_timer timer;
    void (*on_due)(void *, uint64_t);
    void *due_data;
    int64_t (*counts_time)(void *, const struct q_entry *, enum q_state, int64_t, int64_t);
    void *clock_data;
};

struct queue *queue_new(struct loop *loop)
{
    struct queue *q = mem_zalloc(sizeof *q);
    struct hash_key hk;
    q->loop = loop;
    q->timer.data = q;
    loop_random_bytes(loop, &hk, sizeof hk);
    map_init(&q->lane_of_key, hk);
    return q;
}

static void free_memo(struct queue *q, uint32_t index)
{
    struct q_memo *m = q->memos[index];
    heap_remove(&q->retry, &m->node);
    standing_free(&m->past);
    free(m->host);
    free(m->held);
    free(m->address);
    if (m->edits.n)
        free((char *)m->edits.p);
    free(m);
    q->memos[index] = NULL;
}

void queue_free(struct queue *q)
{
    if (!q)
        return;
    loop_timer_stop(q->loop, &q->timer);
    for (uint32_t i = 0; i < q->nmemos; i++)
        if (q->memos[i])
            free_memo(q, i);
    for (size_t i = 0; i < q->nblocks; i++)
        free(q->blocks[i]);
    for (uint32_t i = 0; i < q->nlanes; i++) {
        free(q->lanes[i]->host);
        free(q->lanes[i]);
    }
    map_free(&q->lane_of_key);
    heap_free(&q->retry);
    free(q->blocks);
    free(q->memos);
    free(q->free_memos);
    free(q->lanes);
    free(q);
}

void queue_on_due(struct queue *q, void (*on_due)(void *, uint64_t), void *data)
{
    q->on_due = on_due;
    q->due_data = data;
}

void queue_clock(struct queue *q,
                 int64_t (*counts)(void *, const struct q_entry *, enum q_state, int64_t, int64_t),
                 void *data)
{
    q->counts_time = counts;
    q->clock_data = data;
}

/* --- lanes --- */

struct lane *queue_lane(struct queue *q, struct campaign *campaign, struct domain *domain, uint16_t source,
                        const char *host)
{
    char key[sizeof campaign + sizeof domain + sizeof source + 256];
    size_t n = 0, nhost = host ? strlen(host) : 0;
    INVARIANT(nhost < 256);
    memcpy(key, &campaign, sizeof campaign);
    n += sizeof campaign;
    memcpy(key + n, &domain, sizeof domain);
    n += sizeof domain;
    memcpy(key + n, &source, sizeof source);
    n += sizeof source;
    memcpy(key + n, host ? host : "", nhost);
    n += nhost;
    struct lane *lane = map_get(&q->lane_of_key, slice_of(key, n));
    if (lane)
        return lane;
    lane = mem_zalloc(sizeof *lane);
    lane->campaign = campaign;
    lane->domain = domain;
    lane->source = source;
    lane->host = host ? mem_dup(host, nhost) : NULL;
    lane->index = q->nlanes;
    if (q->nlanes == q->cap_lanes) {
        q->cap_lanes = q->cap_lanes ? q->cap_lanes * 2 : 64;
        q->lanes = mem_realloc(q->lanes, q->cap_lanes * sizeof *q->lanes);
    }
    q->lanes[q->nlanes++] = lane;
    map_put(&q->lane_of_key, slice_of(key, n), lane);
    return lane;
}

struct lane *queue_lane_at(struct queue *q, uint32_t index)
{
    INVARIANT(index < q->nlanes);
    return q->lanes[index];
}

uint32_t queue_lanes(const struct queue *q)
{
    return q->nlanes;
}

/* --- entries --- */

/* Links hold the low half of an id. All ids in the queue lie within 2^32 of the first block's. */
static uint64_t whole_id(const struct queue *q, uint32_t low)
{
    uint64_t base = q->first_block * BLOCK;
    uint64_t id = (base & ~(uint64_t)UINT32_MAX) | low;
    return id < base ? id + ((uint64_t)UINT32_MAX + 1) : id;
}

static struct q_entry *slot(const struct queue *q, uint64_t id)
{
    uint64_t b = id / BLOCK;
    if (b < q->first_block || b - q->first_block >= q->nblocks || !q->blocks[b - q->first_block])
        return NULL;
    return &q->blocks[b - q->first_block]->v[id % BLOCK];
}

struct q_entry *queue_get(struct queue *q, uint64_t id)
{
    struct q_entry *e = slot(q, id);
    return e && e->segment ? e : NULL;
}

int queue_add(struct queue *q, uint64_t id, uint32_t segment, uint32_t offset)
{
    uint64_t b = id / BLOCK;
    INVARIANT(id && segment);
    if (!q->nblocks)
        q->first_block = b;
    INVARIANT(b >= q->first_block);
    /* Blocks at the front whose ids are all settled give way. */
    size_t gone = 0;
    while (gone < q->nblocks && !q->blocks[gone])
        gone++;
    if (gone && (gone == q->nblocks || gone >= q->nblocks / 2)) {
        q->nblocks -= gone;
        memmove(q->blocks, q->blocks + gone, q->nblocks * sizeof *q->blocks);
        q->first_block += gone;
        if (!q->nblocks)
            q->first_block = b;
    }
    if (b - q->first_block >= ((uint64_t)1 << 32) / BLOCK - 1)
        return ERR_LIMIT;
    size_t need = (size_t)(b - q->first_block) + 1;
    if (need > q->cap_blocks) {
        q->cap_blocks = need > q->cap_blocks * 2 ? need : q->cap_blocks * 2;
        q->blocks = mem_realloc(q->blocks, q->cap_blocks * sizeof *q->blocks);
    }
    while (q->nblocks < need)
        q->blocks[q->nblocks++] = NULL;
    struct block **at = &q->blocks[b - q->first_block];
    if (!*at)
        *at = mem_zalloc(sizeof **at);
    struct q_entry *e = &(*at)->v[id % BLOCK];
    INVARIANT(!e->segment);
    *e = (struct q_entry){.segment = segment, .offset = offset, .lane = UINT32_MAX};
    (*at)->live++;
    q->total++;
    return 0;
}

static struct q_entry *must(struct queue *q, uint64_t id)
{
    struct q_entry *e = queue_get(q, id);
    INVARIANT(e);
    return e;
}

/* --- the clock --- */

static int64_t counted(const struct queue *q, const struct q_entry *e, enum q_state in, int64_t from_ms,
                       int64_t to_ms)
{
    if (from_ms >= to_ms) /* also where people set the machine's clock back */
        return 0;
    return q->counts_time ? q->counts_time(q->clock_data, e, in, from_ms, to_ms) : to_ms - from_ms;
}

static int64_t not_counted(const struct queue *q, const struct q_entry *e, enum q_state in, int64_t from_ms,
                           int64_t to_ms)
{
    return from_ms < to_ms ? to_ms - from_ms - counted(q, e, in, from_ms, to_ms) : 0;
}

/* Whether mail of a source was shut out while it was in RETRY is known when it is READY: then it has a site.
 */
static int64_t rest_not_counted(const struct queue *q, const struct q_entry *e, const struct q_memo *m)
{
    return not_counted(q, e, Q_RETRY, m->rest_from_ms, m->rest_to_ms);
}

int64_t queue_clock_ms(struct queue *q, uint64_t id)
{
    const struct q_entry *e = must(q, id);
    const struct q_memo *m = queue_memo(q, id, false);
    int64_t now = loop_wall_ms(q->loop);
    if (m && m->past.clock_ms)
        return now - m->past.clock_ms - rest_not_counted(q, e, m) -
               not_counted(q, e, (enum q_state)e->state, m->since_ms, now);
    return e->state == Q_READY ? counted(q, e, Q_READY, (int64_t)e->since_s * 1000, now) : 0;
}

/* The entry leaves its container. */
static void set_clock(struct queue *q, uint64_t id, struct q_entry *e, enum q_state to)
{
    enum q_state from = (enum q_state)e->state;
    struct q_memo *m = queue_memo(q, id, false);
    int64_t now = loop_wall_ms(q->loop);
    if (!(m && m->past.clock_ms)) {
        int64_t shows =
            from == Q_READY && to == Q_CLAIMED ? counted(q, e, from, (int64_t)e->since_s * 1000, now) : 0;
        if (shows > 0)
            queue_memo(q, id, true)->past.clock_ms = now - shows;
    } else if (from == Q_RETRY) {
        m->past.clock_ms += rest_not_counted(q, e, m);
        m->rest_from_ms = m->since_ms;
        m->rest_to_ms = now;
    } else if (from != Q_FREE) {
        m->past.clock_ms += rest_not_counted(q, e, m) + not_counted(q, e, from, m->since_ms, now);
        m->rest_from_ms = m->rest_to_ms = 0;
    }
    if ((m = queue_memo(q, id, false)))
        m->since_ms = now;
}

static void set_state(struct queue *q, uint64_t id, struct q_entry *e, enum q_state to)
{
    static const uint8_t from[Q_STATES] = {
        /* which states may come before: a bit each */
        [Q_FREE] = 1 << Q_CLAIMED | 1 << Q_HELD | 1 << Q_HOOK | 1 << Q_RETRY | 1 << Q_RAW | 1 << Q_READY,
        [Q_RAW] = 1 << Q_FREE | 1 << Q_HOOK,
        [Q_HOOK] = 1 << Q_RAW,
        [Q_READY] = 1 << Q_FREE | 1 << Q_HOOK | 1 << Q_CLAIMED,
        [Q_CLAIMED] = 1 << Q_READY,
        [Q_RETRY] = 1 << Q_CLAIMED | 1 << Q_FREE,
        [Q_HELD] = 1 << Q_HOOK | 1 << Q_CLAIMED | 1 << Q_FREE,
    };
    INVARIANT(from[to] & 1 << e->state);
    set_clock(q, id, e, to);
    if (e->state != Q_FREE)
        q->counts[e->state]--;
    if (to != Q_FREE)
        q->counts[to]++;
    e->state = (uint8_t)to;
}

void queue_remove(struct queue *q, uint64_t id)
{
    struct q_entry *e = must(q, id);
    if (e->state == Q_HOOK)
        q->lanes[e->lane]->hooking--;
    if (e->state != Q_FREE)
        set_state(q, id, e, Q_FREE);
    if (e->memo) {
        free_memo(q, e->memo - 1);
        q->free_memos[q->nfree++] = e->memo - 1;
    }
    *e = (struct q_entry){0};
    q->total--;
    struct block **b = &q->blocks[id / BLOCK - q->first_block];
    if (--(*b)->live == 0) {
        free(*b);
        *b = NULL;
    }
}

void lane_push(struct queue *q, struct lane *lane, uint64_t id, bool raw, bool front)
{
    struct q_entry *e = must(q, id);
    struct q_list *list = raw ? &lane->raw : &lane->ready;
    if (e->state == Q_HOOK)
        q->lanes[e->lane]->hooking--;
    set_state(q, id, e, raw ? Q_RAW : Q_READY);
    e->lane = lane->index;
    if (front) {
        e->next = (uint32_t)list->head;
        list->head = id;
        if (!list->tail)
            list->tail = id;
    } else {
        e->next = 0;
        if (list->tail)
            must(q, list->tail)->next = (uint32_t)id;
        else
            list->head = id;
        list->tail = id;
    }
    list->n++;
}

uint64_t lane_pop(struct queue *q, struct lane *lane, bool raw)
{
    struct q_list *list = raw ? &lane->raw : &lane->ready;
    uint64_t id = list->head;
    if (!id)
        return 0;
    struct q_entry *e = must(q, id);
    if (id == list->tail)
        list->head = list->tail = 0;
    else
        list->head = whole_id(q, e->next);
    list->n--;
    e->next = 0;
    set_state(q, id, e, raw ? Q_HOOK : Q_CLAIMED);
    lane->hooking += raw;
    return id;
}

void lane_turn(struct queue *q, struct lane *lane)
{
    struct q_list *list = &lane->ready;
    if (list->n < 2)
        return;
    struct q_entry *first = must(q, list->head), *last = must(q, list->tail);
    uint64_t id = list->head;
    list->head = whole_id(q, first->next);
    last->next = (uint32_t)id;
    first->next = 0;
    list->tail = id;
}

void lane_take(struct queue *q, struct lane *lane, uint64_t id)
{
    struct q_entry *e = must(q, id), *before = NULL;
    INVARIANT(e->lane == lane->index && (e->state == Q_RAW || e->state == Q_READY));
    struct q_list *list = e->state == Q_RAW ? &lane->raw : &lane->ready;
    uint64_t before_id = 0;
    for (uint64_t at = list->head; at != id; at = whole_id(q, before->next)) {
        INVARIANT(at != list->tail);
        before_id = at;
        before = must(q, at);
    }
    uint64_t next = id == list->tail ? 0 : whole_id(q, e->next);
    if (before)
        before->next = (uint32_t)next;
    else
        list->head = next;
    if (id == list->tail)
        list->tail = before_id;
    list->n--;
    e->next = 0;
    set_state(q, id, e, Q_FREE);
}

/* --- memos and retries --- */

struct q_memo *queue_memo(struct queue *q, uint64_t id, bool make)
{
    struct q_entry *e = must(q, id);
    if (e->memo)
        return q->memos[e->memo - 1];
    if (!make)
        return NULL;
    uint32_t index;
    if (q->nfree) {
        index = q->free_memos[--q->nfree];
    } else {
        if (q->nmemos == q->cap_memos) {
            q->cap_memos = q->cap_memos ? q->cap_memos * 2 : 64;
            q->memos = mem_realloc(q->memos, q->cap_memos * sizeof *q->memos);
            q->free_memos = mem_realloc(q->free_memos, q->cap_memos * sizeof *q->free_memos);
        }
        index = q->nmemos++;
    }
    struct q_memo *m = q->memos[index] = mem_zalloc(sizeof *m);
    m->id = id;
    m->since_ms = loop_wall_ms(q->loop);
    m->source = UINT16_MAX;
    m->edits = SLICE_NONE;
    e->memo = index + 1;
    return m;
}

static void on_timer(struct loop_timer *t);

static void arm(struct queue *q)
{
    struct heap_node *first = heap_min(&q->retry);
    if (!first) {
        loop_timer_stop(q->loop, &q->timer);
        return;
    }
    int64_t delay = first->key - loop_wall_ms(q->loop);
    if (delay > 3600000) /* look again within the hour: people set clocks */
        delay = 3600000;
    loop_timer_start(q->loop, &q->timer, delay, on_timer);
}

static void on_timer(struct loop_timer *t)
{
    struct queue *q = t->data;
    int64_t now = loop_wall_ms(q->loop);
    struct heap_node *first;
    while ((first = heap_min(&q->retry)) && first->key <= now) {
        struct q_memo *m = CONTAINER(first, struct q_memo, node);
        queue_take(q, m->id);
        q->on_due(q->due_data, m->id);
    }
    arm(q);
}

void queue_retry(struct queue *q, uint64_t id, int64_t due_ms)
{
    struct q_memo *m = queue_memo(q, id, true);
    set_state(q, id, must(q, id), Q_RETRY);
    heap_insert(&q->retry, &m->node, due_ms);
    if (heap_min(&q->retry) == &m->node)
        arm(q);
}

void queue_hold(struct queue *q, uint64_t id, const char *why)
{
    struct q_entry *e = must(q, id);
    struct q_memo *m = queue_memo(q, id, true);
    if (e->state == Q_HOOK)
        q->lanes[e->lane]->hooking--;
    set_state(q, id, e, Q_HELD);
    free(m->held);
    m->held = mem_dup(why, strlen(why));
}

void queue_take(struct queue *q, uint64_t id)
{
    struct q_entry *e = must(q, id);
    INVARIANT(e->state == Q_RETRY || e->state == Q_HELD);
    heap_remove(&q->retry, &queue_memo(q, id, true)->node);
    set_state(q, id, e, Q_FREE);
}

/* --- looking --- */

size_t queue_count(const struct queue *q)
{
    return q->total;
}

size_t queue_count_state(const struct queue *q, enum q_state s)
{
    return q->counts[s];
}

int64_t queue_next_due_ms(const struct queue *q)
{
    struct heap_node *first = heap_min(&q->retry);
    return first ? first->key : INT64_MAX;
}

uint64_t queue_next(const struct queue *q, uint64_t after)
{
    uint64_t id = after + 1 > q->first_block * BLOCK ? after + 1 : q->first_block * BLOCK;
    uint64_t end = (q->first_block + q->nblocks) * BLOCK;
    while (id < end) {
        struct block *b = q->blocks[id / BLOCK - q->first_block];
        if (!b)
            id = (id / BLOCK + 1) * BLOCK;
        else if (b->v[id % BLOCK].segment)
            return id;
        else
            id++;
    }
    return 0;
}

static int check_list(const struct queue *q, const struct lane *lane, const struct q_list *list,
                      enum q_state state, size_t *seen, struct err *e)
{
    uint64_t id = list->head;
    for (uint32_t i = 0; i < list->n; i++) {
        struct q_entry *en = slot(q, id);
        if (!en || en->state != state || en->lane != lane->index)
            return err_set(e, ERR_CORRUPT, "lane %u: message %llu is not where its state says", lane->index,
                           (unsigned long long)id);
        if (i + 1 == list->n && id != list->tail)
            return err_set(e, ERR_CORRUPT, "lane %u: the tail is not the last", lane->index);
        id = whole_id(q, en->next);
    }
    *seen += list->n;
    return 0;
}

bool queue_is_sound(const struct queue *q, struct err *e)
{
    size_t ready = 0, raw = 0, hooking = 0, total = 0, counts[Q_STATES] = {0};
    for (uint32_t i = 0; i < q->nlanes; i++) {
        if (check_list(q, q->lanes[i], &q->lanes[i]->ready, Q_READY, &ready, e) ||
            check_list(q, q->lanes[i], &q->lanes[i]->raw, Q_RAW, &raw, e))
            return false;
        hooking += q->lanes[i]->hooking;
    }
    for (uint64_t id = 0; (id = queue_next(q, id)); total++)
        counts[slot(q, id)->state]++;
    if (counts[Q_READY] != ready || counts[Q_RAW] != raw || counts[Q_HOOK] != hooking ||
        counts[Q_RETRY] != q->retry.n || total != q->total) {
        err_set(e, ERR_CORRUPT,
                "containers hold %zu ready, %zu raw, %zu hooking, %zu retries; entries say otherwise", ready,
                raw, hooking, q->retry.n);
        return false;
    }
    for (int s = Q_RAW; s < Q_STATES; s++) {
        if (counts[s] != q->counts[s]) {
            err_set(e, ERR_CORRUPT, "state %d: %zu counted, %zu kept", s, counts[s], q->counts[s]);
            return false;
        }
    }
    return true;
}
