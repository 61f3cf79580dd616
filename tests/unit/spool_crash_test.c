/* spool_crash_test.c - the spool is cut short at every step, by kill and by power loss, and must keep its
 * word.
 *
 * One history of records runs through several lives of a spool. Each life appends, waits, seals, rewrites and
 * drops as a seed says and ends when the file layer stops after so many operations. What the next life
 * replays is held against what was promised:
 *   - what was reported durable is there, unless it was being dropped;
 *   - what a finished rewrite or drop removed, or an earlier replay did not have, never comes back;
 *   - nothing is there twice, altered, at another position, or out of order. */
#include "spool_rig.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum state { PENDING, DURABLE, GOING /* being dropped: there or not */, GONE };

struct history_record {
    enum spool_kind kind;
    struct spool_pos pos;
    enum state state;
    bool replaced; /* perhaps */
};

enum { MOST_RECORDS = 4000 };

struct history {
    struct rig rig;
    uint64_t rng;
    struct history_record v[MOST_RECORDS];
    int n;
    struct spool_rewrite rw;
    bool rewriting, dropping;
    bool damaged; /* once there was a hole, even if a rewrite has closed it since */
};

struct life_wait {
    struct spool_wait w;
    struct history *h;
    int upto;
};

static uint64_t roll(struct history *h, uint64_t n)
{
    h->rng ^= h->rng << 13;
    h->rng ^= h->rng >> 7;
    h->rng ^= h->rng << 17;
    return (h->rng * 0x2545f4914f6cdd1du >> 33) % n;
}

static void on_life_wait(struct spool_wait *w, int status)
{
    struct life_wait *x = CONTAINER(w, struct life_wait, w);
    for (int i = 0; !status && i < x->upto; i++)
        if (x->h->v[i].state == PENDING)
            x->h->v[i].state = DURABLE;
    free(x);
}

/* Every third record goes, every fifth becomes shorter. */
static enum spool_keep life_filter(struct spool_rewrite *rw, struct spool_pos pos, struct slice payload,
                                   struct buf *out)
{
    int i = 0;
    for (size_t k = 0; k < payload.n && payload.p[k] >= '0' && payload.p[k] <= '9'; k++)
        i = i * 10 + payload.p[k] - '0';
    if (i % 3 == 0)
        return SPOOL_DROP;
    if (i % 5)
        return SPOOL_KEEP;
    buf_printf(out, "%d ", i);
    return SPOOL_REPLACE;
}

static bool is_touched(struct history *h, int i)
{
    return h->v[i].pos.segment == h->rw.segment && (h->dropping || i % 3 == 0);
}

static void on_life_rewritten(struct spool_rewrite *rw, int rc)
{
    struct history *h = CONTAINER(rw, struct history, rw);
    h->rewriting = false;
    for (int i = 0; !rc && i < h->n; i++)
        if (is_touched(h, i))
            h->v[i].state = GONE;
}

static void begin_rewrite(struct history *h)
{
    if (h->rewriting || !h->n)
        return;
    h->rw = (struct spool_rewrite){.segment = h->v[roll(h, (uint64_t)h->n)].pos.segment,
                                   .filter = life_filter,
                                   .done = on_life_rewritten};
    h->dropping = roll(h, 3) == 0;
    struct history_record before[MOST_RECORDS];
    memcpy(before, h->v, sizeof before);
    for (int i = 0; i < h->n; i++) {
        if (h->v[i].pos.segment == h->rw.segment)
            h->v[i].replaced = true;
        if (is_touched(h, i) && h->v[i].state != GONE)
            h->v[i].state = GOING;
    }
    h->rewriting = true; /* before the call: a virtual pool may be done within it */
    if (h->dropping ? spool_drop(h->rig.spool, &h->rw) : spool_rewrite(h->rig.spool, &h->rw)) {
        memcpy(h->v, before, sizeof before);
        h->rewriting = false;
    }
}

static void append_one(struct history *h)
{
    if (h->n == MOST_RECORDS)
        return;
    struct history_record *rec = &h->v[h->n];
    struct buf b = {0};
    *rec = (struct history_record){.kind = (enum spool_kind)roll(h, SPOOL_KINDS)};
    buf_printf(&b, "%d ", h->n);
    for (uint64_t pad = roll(h, 4) ? roll(h, 30) : roll(h, 700); pad; pad--)
        buf_addc(&b, 'x');
    if (spool_append(h->rig.spool, rec->kind, buf_slice(&b), &rec->pos) == 0)
        h->n++;
    buf_free(&b);
}

/* Some steps; ends by itself when the world has stopped. */
static void live(struct history *h, int steps)
{
    for (int s = 0; s < steps; s++) {
        for (uint64_t i = roll(h, 6); i; i--)
            append_one(h);
        if (roll(h, 3) == 0) {
            struct life_wait *w = mem_zalloc(sizeof *w);
            *w = (struct life_wait){{.fn = on_life_wait}, h, h->n};
            spool_when_durable(h->rig.spool, &w->w);
        }
        if (roll(h, 12) == 0)
            spool_seal(h->rig.spool, (enum spool_kind)roll(h, SPOOL_KINDS));
        if (roll(h, 8) == 0)
            begin_rewrite(h);
        rig_run(&h->rig, (int64_t)(roll(h, 2) ? 0 : roll(h, 30)));
    }
}

/* Hold what was replayed against the history. NULL: all is well. */
static const char *judge(struct history *h, char *text, size_t n)
{
    static bool seen[MOST_RECORDS];
    struct rig *r = &h->rig;
    int last[SPOOL_KINDS] = {-1, -1, -1}, last_of_all = -1;
    bool names_over = false;
    memset(seen, 0, sizeof seen);
    h->damaged |= r->report.damaged_places > 0;
    for (size_t k = 0; k < r->n; k++) {
        struct rig_record *got = &r->v[k];
        int i = atoi(buf_cstr(&got->payload));
        snprintf(text, n, "record %d of %d", i, h->n);
        if (i < 0 || i >= h->n || got->kind != h->v[i].kind)
            return "was never appended";
        struct history_record *want = &h->v[i];
        if (want->state == GONE)
            return "came back";
        if (seen[i])
            return "is there twice";
        seen[i] = true;
        if (got->pos.segment != want->pos.segment || got->pos.offset != want->pos.offset)
            return "has another position";
        if (i <= last[want->kind])
            return "is out of order in its kind";
        if (want->kind == SPOOL_NAMES && names_over)
            return "came after what may speak of it";
        if (want->kind != SPOOL_NAMES && i <= last_of_all && !h->damaged)
            return "is out of order";
        last[want->kind] = i;
        if (want->kind != SPOOL_NAMES) {
            names_over = true;
            last_of_all = i;
        }
        size_t digits = strspn(got->payload.p, "0123456789");
        if (strspn(got->payload.p + digits, " x") + digits != got->payload.n)
            return "is altered";
        struct buf b = {0};
        int rc = spool_read(r->spool, got->pos, &b, NULL);
        bool same = !rc && slice_eq(buf_slice(&b), buf_slice(&got->payload));
        buf_free(&b);
        if (!same)
            return "cannot be read by its position";
    }
    for (int i = 0; i < h->n; i++) {
        snprintf(text, n, "record %d of %d", i, h->n);
        if (!seen[i] && h->v[i].state == DURABLE)
            return "was durable and is lost";
        if (!seen[i])
            h->v[i].state = GONE;
        else if (h->v[i].state == PENDING)
            h->v[i].state = DURABLE; /* replayed: from now on it counts */
        else if (h->v[i].state == GOING)
            h->v[i].state = DURABLE;
    }
    return NULL;
}

enum { LIVES = 4 };

/* One history. stop: after how many operations each life ends (0: none does by itself). */
static bool history(uint64_t seed, bool forgets, long stop, bool sync_fails, long *operations)
{
    struct history *h = mem_zalloc(sizeof *h);
    const char *wrong = NULL;
    char which[64];
    h->rng = seed * 2654435761u + 88172645463325252u;
    h->rig.fs = forgets ? fs_forgetting() : fs_memory();
    h->rig.segment_bytes = 1500;
    for (int life = 0; !wrong && life < LIVES; life++) {
        fs_set_faults(h->rig.fs, &(struct fs_faults){.stop_after = life < LIVES - 1 ? stop : 0,
                                                     .sync_after = sync_fails ? 1 + (int)roll(h, 40) : 0,
                                                     .sync_errno = EIO,
                                                     .sync_times = 1 + (int)roll(h, 3)});
        int rc = rig_open(&h->rig, true);
        if (!rc) {
            wrong = judge(h, which, sizeof which);
            live(h, 30);
            *operations = fs_operations(h->rig.fs);
            rig_close(&h->rig);
        } else if (rc != ERR_CANCELED && rc != ERR_IO) {
            snprintf(which, sizeof which, "open: %d", rc);
            wrong = h->rig.err.text;
        }
        h->rewriting = false;
        if (forgets) {
            fs_set_faults(h->rig.fs, &(struct fs_faults){0});
            fs_power_loss(h->rig.fs, seed + (uint64_t)life);
        }
    }
    if (wrong)
        test_fail(__FILE__, __LINE__, "seed %d stop %ld: %s %s\n%.*s", (int)seed, stop, which, wrong,
                  SLICE_FMT(buf_slice(&h->rig.notices)));
    rig_free(&h->rig);
    free(h);
    return !wrong;
}

TEST(a_kill_at_every_operation_loses_nothing_durable)
{
    long operations = 0, unused;
    CHECK(history(1, false, 0, false, &operations));
    CHECK(operations > 60);
    for (long stop = 1; stop <= operations; stop++)
        CHECK(history(1, false, stop, false, &unused));
}

TEST(power_loss_at_every_operation_loses_nothing_durable)
{
    long operations = 0, unused;
    CHECK(history(2, true, 0, false, &operations));
    for (long stop = 1; stop <= operations; stop++)
        for (uint64_t seed = 0; seed < 5; seed++)
            CHECK(history(2 + seed * 1000, true, stop, false, &unused));
}

TEST(power_loss_and_failing_syncs_at_random_lose_nothing_durable)
{
    long unused;
    for (uint64_t seed = 1; seed <= 1500; seed++)
        CHECK(history(seed, seed % 4 != 0, (long)(seed * 7919 % 150), seed % 2, &unused));
}

#ifdef HATO_FAILPOINTS
/* A child appends on real files and says on a pipe what is durable, until a failpoint kills it. */
struct child {
    struct rig rig;
    struct spool_wait wait;
    struct spool_rewrite rw;
    int next, out, rounds;
};

static void child_round(struct child *c);

static void on_child_durable(struct spool_wait *w, int status)
{
    struct child *c = CONTAINER(w, struct child, wait);
    if (status || write(c->out, &c->next, sizeof c->next) != sizeof c->next)
        _exit(3);
    child_round(c);
}

static enum spool_keep keep_all(struct spool_rewrite *rw, struct spool_pos pos, struct slice payload,
                                struct buf *out)
{
    return SPOOL_KEEP;
}

static void on_child_rewritten(struct spool_rewrite *rw, int rc)
{
}

static void child_round(struct child *c)
{
    if (++c->rounds == 40)
        loop_stop(c->rig.loop);
    for (int i = 0; i < 5; i++)
        rig_put(&c->rig, i % 2 ? SPOOL_EVENTS : SPOOL_RECIPIENTS, "%d", c->next + i);
    c->next += 5;
    spool_when_durable(c->rig.spool, &c->wait);
    if (c->rounds % 8 == 4) {
        c->rw = (struct spool_rewrite){.segment = 1, .filter = keep_all, .done = on_child_rewritten};
        spool_rewrite(c->rig.spool, &c->rw);
    }
}

static void child_main(const char *dir, const char *point, int out)
{
    struct child c = {.out = out, .wait.fn = on_child_durable, .rw.done = on_child_rewritten};
    setenv("HATO_FAILPOINT", point, 1);
    c.rig.fs = fs_real();
    c.rig.dir = dir;
    c.rig.segment_bytes = 400;
    if (rig_open(&c.rig, false))
        _exit(2);
    child_round(&c);
    loop_run(c.rig.loop);
    /* At the end the first segment is dropped: -1 says that its records may be missing. */
    c.rw = (struct spool_rewrite){.segment = 1, .done = on_child_rewritten};
    int gone = -1;
    if (write(out, &gone, sizeof gone) != sizeof gone || spool_drop(c.rig.spool, &c.rw))
        _exit(4);
    rig_run(&c.rig, 200);
    _exit(0);
}

static void failpoint(const char *name, int nth)
{
    struct rig r = {.fs = fs_real()};
    char point[64], dir[300];
    int pipes[2], status, durable = 0, said;
    bool dropping = false;
    snprintf(point, sizeof point, "%s:%d", name, nth);
    snprintf(dir, sizeof dir, "%s/%s-%d", test_dir(), name, nth);
    CHECK_INT(pipe(pipes), 0);
    pid_t pid = fork();
    if (!pid) {
        close(pipes[0]);
        child_main(dir, point, pipes[1]);
    }
    close(pipes[1]);
    while (read(pipes[0], &said, sizeof said) == sizeof said)
        if (said < 0)
            dropping = true;
        else
            durable = said;
    close(pipes[0]);
    CHECK(waitpid(pid, &status, 0) == pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != 9) {
        test_fail(__FILE__, __LINE__, "%s was not passed: status %d", point, status);
        return;
    }
    r.dir = dir;
    CHECK_INT(rig_open(&r, false), 0);
    CHECK_INT(r.report.last_stop, SPOOL_KILLED);
    int at = 0, missing = 0;
    for (size_t i = 0; i < r.n; i++, at++) {
        int value = atoi(buf_cstr(&r.v[i].payload));
        for (; at < value; at++)
            missing += at < durable;
        CHECK_INT(value, at);
    }
    CHECK(at >= durable);
    CHECK(missing == 0 || dropping);
    rig_free(&r);
}

TEST(a_kill_at_every_failpoint_loses_nothing_durable)
{
    static const char *const names[] = {"spool.create.after",   "spool.write.before",  "spool.write.after",
                                        "spool.sync.before",    "spool.sync.between",  "spool.sync.after",
                                        "spool.rewrite.before", "spool.rewrite.named", "spool.rewrite.after",
                                        "spool.drop.after"};
    for (size_t i = 0; i < COUNT(names); i++)
        for (int nth = 1; nth <= (i < 6 ? 5 : 1); nth++)
            failpoint(names[i], nth);
}
#endif
