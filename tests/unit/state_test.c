/* state_test.c - state survives exactly: a script, receivers and people by chance, killed at a moment by
 * chance; what is remembered right after the next start is what was known right before the kill.
 *
 * The kill comes when nothing is in flight: what a kill in flight may change is restore_test.c's. HATO_DEEP
 * takes more seeds, from HATO_SEED on. A seed that fails is printed with the lines that
 * differ. */
#include "chance.h"
#include "delivery/measure_impl.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>

enum { MINUTE = 60000, STEPS = 16, KILLS = 4, QUIET_TRIES = 4000, LINES = 20000, PEOPLE = 40 };

struct lines {
    struct buf text;
    char *v[LINES];
    size_t n;
};

static struct slice isps[] = {S("a"), S("b"), S("mx.c.test")};

/* --- what is known --- */

static void put_queue(struct buf *out, struct town *t)
{
    struct queue *q = deliver_queue(t->d);
    for (uint64_t id = 0; (id = queue_next(q, id));) {
        const struct q_memo *m = queue_memo(q, id, false);
        const struct q_entry *e = queue_get(q, id);
        const struct lane *lane = queue_lane_at(q, e->lane);
        bool waits = e->state == Q_READY || e->state == Q_RETRY;
        buf_printf(out, "m%llu of %.*s at %.*s", (unsigned long long)id, SLICE_FMT(lane->campaign->name),
                   SLICE_FMT(lane->domain->name));
        /* Whoever was never answered waits for a receiver that is down: for its site, or until the time at
         * which that is tried again. */
        if (waits && !(m && (m->past.replied || m->past.attempts))) {
            buf_adds(out, S(" waits"));
        } else if (m) {
            const struct standing *p = &m->past;
            buf_printf(
                out,
                " state %d attempts %u date %lld from %u class %u replied %d code %u text \"%s\" host %s "
                "due %lld held %s",
                e->state, p->attempts, (long long)p->date_s, m->source, p->cls, p->replied, p->code,
                p->text ? p->text : "", m->host ? m->host : "any",
                (long long)(e->state == Q_RETRY ? m->node.key : 0), m->held ? m->held : "no");
        }
        buf_addc(out, '\n');
    }
}

static void put_limits(struct buf *out, struct town *t)
{
    struct limits *ls = paths_limits(t->d->paths);
    int64_t now = loop_now_ms(t->loop);
    size_t at = 0;
    for (struct limit *l; (l = limits_next(ls, &at));) {
        int64_t due = limit_due_ms(l);
        /* Warm-ups have lines of their own; connections do not outlive a process. */
        if (due <= now || due == INT64_MAX || limit_warmup(l))
            continue;
        limit_text(l, out);
        buf_printf(out, " due %lld\n", (long long)due);
    }
}

static void put_warmups(struct buf *out, struct town *t)
{
    struct warmups *ws = deliver_warmups(t->d);
    size_t at = 0;
    if (!ws)
        return;
    for (struct warmup *w; (w = warmups_next(ws, &at));) {
        const struct warmup_today *today = warmup_today(w);
        if (today->used)
            buf_printf(out,
                       "warm-up %.*s/%.*s: day %lld position %u used %u delivered %u, permit %lld, why %s\n",
                       SLICE_FMT(w->isp), SLICE_FMT(w->from), (long long)w->state.day, w->state.position,
                       today->used, today->delivered, (long long)warmup_permit_ms(w), w->why ? w->why : "");
    }
}

static void put_measures(struct buf *out, struct town *t)
{
    struct measures *ms = paths_measures(t->d->paths);
    int64_t now_us = loop_now_ms(t->loop) * 1000;
    for (const struct measure *m = NULL; (m = measures_next(ms, m));) {
        measure_json(out, m, 0);
        buf_printf(out, " over %lld, next %lld\n", (long long)m->over_ms,
                   (long long)(m->next_us > now_us && !m->over_ms && m->scope == ACT_PATH ? m->next_us : 0));
    }
}

static void put_tally(struct buf *out, struct town *t, const struct tally *y, struct slice isp)
{
    if (tally_is_stale(y, loop_now_ms(t->loop))) /* forgotten when it is looked at next */
        return;
    buf_printf(out,
               "tally %.*s/%d/%s/%s: %llu answers, recent %x, began %lld, hit %lld, bucket %lld of %lld:",
               SLICE_FMT(isp), y->scope == ACT_PATH || y->scope == ACT_SOURCE ? y->source : -1, y->what,
               y->rule, (unsigned long long)y->answers, y->recent, (long long)y->began_ms,
               (long long)y->hit_ms, (long long)y->bucket_at, (long long)y->bucket_ms);
    for (int i = 0; y->bucket_ms && i < TALLY_BUCKETS; i++)
        buf_printf(out, " %u/%u", y->bucket[i].hits, y->bucket[i].answers);
    buf_addc(out, '\n');
}

static void put_tallies(struct buf *out, struct town *t)
{
    struct measures *ms = paths_measures(t->d->paths);
    for (const struct tally *y = ms->tallies; y; y = y->next)
        put_tally(out, t, y, S("*"));
    for (size_t i = 0; i < COUNT(isps); i++)
        for (const struct tally *y = paths_isp(t->d->paths, isps[i])->tallies; y; y = y->next)
            put_tally(out, t, y, isps[i]);
}

static void put_campaigns(struct buf *out, struct chance *s, struct town *t)
{
    for (size_t i = 0; i < COUNT(s->campaigns); i++) {
        const struct campaign *c = deliver_campaign(t->d, s->campaigns[i].name);
        buf_printf(out, "campaign %.*s: started %d read %d cancelled %d queued %llu\n", SLICE_FMT(c->name),
                   c->started, c->read_once, c->cancelled, (unsigned long long)c->queued);
    }
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&t->d->pauses, &at));)
        buf_printf(out, "pause %.*s\n", SLICE_FMT(e->key));
}

static void put_suppressed(struct buf *out, struct town *t, int people)
{
    struct arena a = {0};
    for (int k = 0; k <= people; k++)
        for (int i = 0; i < 12; i++) {
            char text[64];
            struct addr to;
            struct suppress_hit hit;
            snprintf(text, sizeof text, "p%db%d@c.test", i, k);
            arena_reset(&a);
            if (addr_parse(slice_cstr(text), &a, &to, NULL))
                abort();
            if (!suppress_has(t->d->suppress, &to, S("x"), SLICE_NONE, &hit))
                continue;
            buf_printf(out, "%s: ", text);
            suppress_hit_text(out, &hit);
            buf_addc(out, '\n');
        }
    arena_free(&a);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In order, so that nothing depends on when what was made. */
static struct lines *known(struct chance *s, struct town *t, int people)
{
    struct lines *l = mem_zalloc(sizeof *l);
    struct buf *out = &l->text;
    for (size_t i = 0; i < COUNT(isps); i++)
        paths_isp(t->d->paths, isps[i]); /* all are met */
    put_queue(out, t);
    put_limits(out, t);
    put_warmups(out, t);
    put_measures(out, t);
    put_tallies(out, t);
    put_campaigns(out, s, t);
    put_suppressed(out, t, people);
    buf_cstr(out);
    for (char *p = out->p, *end; l->n < LINES && (end = strchr(p, '\n')); p = end + 1) {
        *end = 0;
        l->v[l->n++] = p;
    }
    qsort(l->v, l->n, sizeof *l->v, compare);
    return l;
}

static void lines_free(struct lines *l)
{
    buf_free(&l->text);
    free(l);
}

/* A permit counts from its claim while its connection opens beside others, and from the message's begin in
 * the journal: then the next is due as much later. */
static bool is_opening(const char *was, const char *is)
{
    enum { OPENING_MS = 2000 };
    const char *a = strstr(was, " due "), *b = strstr(is, " due ");
    if (was[0] == 'm' || !a || !b || a - was != b - is || memcmp(was, is, (size_t)(a - was)))
        return false;
    long long later = strtoll(b + 5, NULL, 10) - strtoll(a + 5, NULL, 10);
    return later > 0 && later <= OPENING_MS;
}

/* How many lines only one of them has. */
static size_t differences(const struct lines *before, const struct lines *after)
{
    size_t i = 0, k = 0, n = 0;
    while (i < before->n || k < after->n) {
        if (i < before->n && k < after->n && is_opening(before->v[i], after->v[k])) {
            i++;
            k++;
            continue;
        }
        int order = i == before->n ? 1 : k == after->n ? -1 : strcmp(before->v[i], after->v[k]);
        if (order < 0)
            fprintf(stderr, "  was: %s\n", before->v[i]);
        if (order > 0)
            fprintf(stderr, "  is:  %s\n", after->v[k]);
        n += order != 0;
        i += order <= 0;
        k += order >= 0;
    }
    return n;
}

/* --- lives --- */

/* Until nothing is in flight; false: there was no such moment. */
static bool wait_for_quiet(struct town *t)
{
    town_run_for(t, 20); /* what was said last is in the journal */
    for (int i = 0; i < QUIET_TRIES; i++) {
        if (!queue_count_state(deliver_queue(t->d), Q_CLAIMED) && !deliver_counts(t->d).in_flight)
            return true;
        town_run_for(t, 1);
    }
    return false;
}

static void go_on(struct chance *s, struct town *t, int *people)
{
    static const int64_t waits[] = {7, 400, 11000, 5 * MINUTE, 40 * MINUTE, 300 * MINUTE};
    for (int i = 0; i < STEPS / KILLS; i++) {
        char behind[16];
        switch (chance_below(s, 4)) {
        case 0:
            if (*people == PEOPLE)
                break;
            snprintf(behind, sizeof behind, "b%d", ++*people);
            t->behind_name = behind;
            town_send_as(t, s->campaigns[chance_below(s, 3)].name, chance_domains, CHANCE_DOMAINS,
                         1 + (int)chance_below(s, 12));
            break;
        case 1:
            chance_steer(s, t);
            break;
        default:
            town_run_for(t, waits[chance_below(s, COUNT(waits))] + chance_below(s, 5000));
            break;
        }
    }
}

/* ERR_AGAIN: nothing could be compared. */
static bool live(uint64_t seed, size_t *compared, size_t *rows)
{
    struct town t;
    struct chance *s = mem_zalloc(sizeof *s);
    int people = 0;
    s->state = seed;
    bool fine = town_new(&t, chance_world, seed);
    if (fine) {
        town_close(&t);
        fine = !fs_mkdir(t.fs, "/proc/sys/kernel/random", 0700, &t.err) &&
               !fs_write_atomic(t.fs, "/proc/sys/kernel/random/boot_id", S("one"), 0600, &t.err);
        chance_write(s, &t);
        chance_write_more(s, &t);
        fine = fine && town_open(&t);
    }
    for (int i = 0; fine && i < KILLS; i++) {
        go_on(s, &t, &people);
        if (!wait_for_quiet(&t))
            continue;
        struct lines *before = known(s, &t, people);
        town_crash(&t);
        fine = town_open(&t);
        if (!fine)
            break;
        struct lines *after = known(s, &t, people);
        size_t different = differences(before, after);
        if (different)
            fprintf(stderr, "HATO_SEED=%llu: %zu lines differ after kill %d\n", (unsigned long long)seed,
                    different, i + 1);
        fine = !different;
        *rows += before->n;
        ++*compared;
        lines_free(before);
        lines_free(after);
    }
    if (!fine)
        fprintf(stderr, "HATO_SEED=%llu: %s\n", (unsigned long long)seed, t.err.text);
    town_free(&t);
    free(s);
    return fine;
}

TEST(whatever_a_script_counts_is_the_same_after_a_kill)
{
    bool deep = getenv("HATO_DEEP") != NULL;
    const char *given = deep ? getenv("HATO_SEED") : NULL;
    uint64_t first = given ? strtoull(given, NULL, 10) : 1, seeds = deep ? 300 : 40;
    size_t compared = 0, rows = 0, failed = 0;
    for (uint64_t seed = first; seed < first + seeds; seed++)
        failed += !live(seed, &compared, &rows);
    CHECK_INT(failed, 0);
    CHECK(compared > seeds * KILLS / 2);
    CHECK(rows > 10 * compared);
}
