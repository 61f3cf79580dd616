/* smtp_judge.c - connections, rates and greylisting of one simulated receiver. */
#include "smtp_judge.h"

#include <stdlib.h>

/* The rate is exact in every window: of the last messages from a source the moments are kept in a ring, as
 * far back as the longest window goes, and one more may come only when fewer than `messages` are younger than
 * the window. Messages under way hold places, so that sessions side by side cannot overrun it together. */
struct judge_source {
    struct ip ip;
    uint32_t connections;
    uint64_t reserved;
    int64_t *taken_at; /* ring of taken_cap moments, the oldest at first */
    size_t first, ntaken, cap;
};

struct smtp_judge {
    const struct world_isp *isp;
    uint64_t (*luck)(void *data);
    void *data;
    struct map sources; /* struct ip -> struct judge_source */
    struct map seen;    /* hash of (source, from, to) -> moment of first sight */
    struct hash_key key;
    int64_t began_ms, longest_ms; /* longest_ms: of the windows that there will be */
};

struct smtp_judge *smtp_judge_new(const struct world_isp *isp, uint64_t (*luck)(void *data), void *data)
{
    struct smtp_judge *j = mem_zalloc(sizeof *j);
    *j = (struct smtp_judge){.isp = isp, .luck = luck, .data = data};
    j->key = (struct hash_key){luck(data), luck(data)};
    for (size_t i = 0; i < isp->n_accept; i++)
        if (isp->accept[i].window_ms > j->longest_ms)
            j->longest_ms = isp->accept[i].window_ms;
    map_init(&j->sources, j->key);
    map_init(&j->seen, j->key);
    return j;
}

void smtp_judge_free(struct smtp_judge *j)
{
    if (!j)
        return;
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&j->sources, &at));) {
        struct judge_source *s = e->value;
        free(s->taken_at);
        free(s);
    }
    at = 0;
    for (struct map_entry *e; (e = map_next(&j->seen, &at));)
        free(e->value);
    map_free(&j->sources);
    map_free(&j->seen);
    free(j);
}

const struct world_isp *smtp_judge_isp(const struct smtp_judge *j)
{
    return j->isp;
}

struct judge_source *smtp_judge_connect(struct smtp_judge *j, const struct ip *peer)
{
    struct slice key = slice_of(peer, sizeof *peer);
    struct judge_source *s = map_get(&j->sources, key);
    if (!s) {
        s = mem_zalloc(sizeof *s);
        s->ip = *peer;
        map_put(&j->sources, key, s);
    }
    if (j->isp->connections && s->connections >= j->isp->connections)
        return NULL;
    s->connections++;
    return s;
}

void smtp_judge_disconnect(struct judge_source *s)
{
    INVARIANT(s->connections > 0);
    s->connections--;
}

void smtp_judge_begin(struct smtp_judge *j, int64_t now_ms)
{
    j->began_ms = now_ms;
}

const struct world_reply *smtp_judge_script(struct smtp_judge *j, enum smtp_phase phase, struct slice to,
                                            int64_t now_ms)
{
    if (j->isp->n_replies == 0)
        return NULL;
    return world_reply_for(j->isp, phase, to, j->luck(j->data), now_ms - j->began_ms);
}

bool smtp_judge_is_full(struct smtp_judge *j, struct judge_source *s, int64_t now_ms)
{
    const struct world_rate *rate = world_accept_at(j->isp, now_ms - j->began_ms);
    while (s->ntaken && s->taken_at[s->first] <= now_ms - j->longest_ms) {
        s->first = (s->first + 1) % s->cap;
        s->ntaken--;
    }
    if (!rate || s->ntaken + s->reserved < rate->messages)
        return false;
    if (s->reserved >= rate->messages)
        return true;
    /* The one whose place it would take. */
    size_t oldest = s->ntaken - (size_t)(rate->messages - s->reserved);
    return s->taken_at[(s->first + oldest) % s->cap] > now_ms - rate->window_ms;
}

bool smtp_judge_reserve(struct smtp_judge *j, struct judge_source *s, int64_t now_ms)
{
    if (smtp_judge_is_full(j, s, now_ms))
        return false;
    s->reserved++;
    return true;
}

void smtp_judge_release(struct judge_source *s)
{
    INVARIANT(s->reserved > 0);
    s->reserved--;
}

void smtp_judge_taken(struct smtp_judge *j, struct judge_source *s, int64_t now_ms)
{
    if (!j->isp->n_accept)
        return;
    if (s->ntaken == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        int64_t *grown = mem_alloc(cap * sizeof *grown);
        for (size_t i = 0; i < s->ntaken; i++)
            grown[i] = s->taken_at[(s->first + i) % s->cap];
        free(s->taken_at);
        s->taken_at = grown;
        s->first = 0;
        s->cap = cap;
    }
    s->taken_at[(s->first + s->ntaken++) % s->cap] = now_ms;
}

struct world_answer smtp_judge_rcpt(struct smtp_judge *j, const struct judge_source *s, struct slice from,
                                    struct slice to, int64_t now_ms)
{
    const struct world_answer ok = WORLD_ANSWER(250, "2.1.5 recipient ok");
    if (world_is_unknown(j->isp, to))
        return WORLD_ANSWER(550, "5.1.1 user unknown");
    if (!j->isp->greylist_ms)
        return ok;
    struct buf triple = {0};
    buf_add(&triple, &s->ip, sizeof s->ip);
    buf_adds(&triple, from);
    buf_addc(&triple, '\0');
    buf_adds(&triple, to);
    struct hash128 h = hash128(j->key, buf_slice(&triple));
    buf_free(&triple);
    int64_t *first = map_get(&j->seen, slice_of(&h, sizeof h));
    if (!first) {
        first = mem_alloc(sizeof *first);
        *first = now_ms;
        map_put(&j->seen, slice_of(&h, sizeof h), first);
    }
    return now_ms - *first < j->isp->greylist_ms ? WORLD_ANSWER(451, "4.7.1 greylisted, come back later")
                                                 : ok;
}
