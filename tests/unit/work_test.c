/* work_test.c - pools: order, batching, thread-local state, stop; the same on a virtual loop. */
#include "platform/work.h"
#include "base/err.h"
#include "test.h"

#include <pthread.h>
#include <stdlib.h>

struct tally {
    struct loop *loop;
    int left, submitted_again;
    int done_order[1000], ndone;
    int started;
};

struct task {
    struct work_job job;
    struct tally *tally;
    struct work *work;
    int id, again;
    long result;
    int *thread_count; /* the user pointer of the thread that ran it */
};

static void run(struct work_job *job, struct work_thread *thread)
{
    struct task *t = CONTAINER(job, struct task, job);
    t->thread_count = thread->user;
    ++*t->thread_count;
    for (int i = 0; i <= t->id; i++)
        t->result += i;
}

static void done(struct work_job *job)
{
    struct task *t = CONTAINER(job, struct task, job);
    struct tally *y = t->tally;
    if (t->again-- > 0) {
        y->submitted_again++;
        t->result = 0;
        work_submit(t->work, job);
        return;
    }
    y->done_order[y->ndone++] = t->id;
    if (--y->left == 0)
        loop_stop(y->loop);
}

static void *on_start(void *data, int index)
{
    struct tally *y = data;
    __atomic_add_fetch(&y->started, 1, __ATOMIC_SEQ_CST);
    return mem_zalloc(sizeof(int));
}

static void on_stop(void *user)
{
    free(user);
}

static void count_to(bool is_virtual, int threads, int n, int again, struct tally *y, struct task *tasks)
{
    struct loop *loop = is_virtual ? loop_new_virtual(1, 0) : loop_new_real();
    *y = (struct tally){.loop = loop, .left = n};
    struct work *w = work_new(&(struct work_conf){.loop = loop,
                                                  .name = "test",
                                                  .threads = threads,
                                                  .thread_start = on_start,
                                                  .thread_stop = on_stop,
                                                  .data = y});
    for (int i = 0; i < n; i++) {
        tasks[i] = (struct task){{run, done}, y, w, i, again};
        work_submit(w, &tasks[i].job);
    }
    CHECK_INT(work_pending(w), n);
    CHECK_INT(y->ndone, 0); /* done() comes from the loop, never from inside submit */
    loop_run(loop);
    CHECK_INT(work_pending(w), 0);
    CHECK_INT(y->ndone, n);
    CHECK_INT(y->submitted_again, n * again);
    for (int i = 0; i < n; i++)
        CHECK_INT(tasks[i].result, (long)i * (i + 1) / 2);
    work_free(w);
    loop_free(loop);
}

TEST(a_pool_of_one_finishes_jobs_in_order)
{
    struct tally y;
    struct task tasks[500];
    count_to(false, 1, 500, 0, &y, tasks);
    for (int i = 0; i < y.ndone; i++)
        CHECK_INT(y.done_order[i], i);
    CHECK_INT(y.started, 1);
}

TEST(many_threads_do_every_job_once_and_done_may_submit_again)
{
    struct tally y;
    struct task tasks[500];
    count_to(false, 4, 500, 3, &y, tasks);
    CHECK_INT(y.started, 4);
}

TEST(a_virtual_pool_runs_in_order_within_one_instant)
{
    struct tally y;
    struct task tasks[100];
    count_to(true, 4, 100, 2, &y, tasks);
    for (int i = 0; i < y.ndone; i++)
        CHECK_INT(y.done_order[i], i);
    CHECK_INT(y.started, 1);
}

static void done_without_loop(struct work_job *job)
{
    struct task *t = CONTAINER(job, struct task, job);
    t->tally->ndone++;
}

TEST(freeing_a_pool_finishes_what_was_submitted)
{
    for (int v = 0; v < 2; v++) {
        struct loop *loop = v ? loop_new_virtual(1, 0) : loop_new_real();
        struct tally y = {.loop = loop};
        struct task tasks[200];
        struct work *w = work_new(&(struct work_conf){.loop = loop,
                                                      .name = "test",
                                                      .threads = 2,
                                                      .thread_start = on_start,
                                                      .thread_stop = on_stop,
                                                      .data = &y});
        for (int i = 0; i < 200; i++) {
            tasks[i] = (struct task){{run, done_without_loop}, &y, w, i};
            work_submit(w, &tasks[i].job);
        }
        work_free(w);
        CHECK_INT(y.ndone, 200);
        loop_free(loop);
    }
}

/* Jobs that hold a pool of one until all are submitted, so that what waits together is known. */
struct gate {
    struct work_job job;
    pthread_mutex_t lock;
};

static void gate_run(struct work_job *job, struct work_thread *thread)
{
    struct gate *g = CONTAINER(job, struct gate, job);
    pthread_mutex_lock(&g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void gate_done(struct work_job *job)
{
}

static void two(struct work_job *a, struct work_job *b, struct work_thread *thread)
{
    CONTAINER(a, struct task, job)->result = CONTAINER(b, struct task, job)->result = 2;
}

static void other_two(struct work_job *a, struct work_job *b, struct work_thread *thread)
{
    CONTAINER(a, struct task, job)->result = CONTAINER(b, struct task, job)->result = 3;
}

static void run_one(struct work_job *job, struct work_thread *thread)
{
    CONTAINER(job, struct task, job)->result = 1;
}

TEST(jobs_that_like_company_run_two_at_a_time)
{
    /* What each likes: nothing, two, other_two; and how it ran. */
    static const struct {
        int likes;
        long result;
    } cases[] = {{2, 2}, {2, 2}, {2, 1}, {0, 1}, {2, 1}, {3, 3}, {3, 3}, {3, 1}, {2, 2}, {2, 2}, {2, 1}};
    struct loop *loop = loop_new_real();
    struct tally y = {.loop = loop, .left = COUNT(cases)};
    struct task tasks[COUNT(cases)];
    struct gate gate = {{.run = gate_run, .done = gate_done}, PTHREAD_MUTEX_INITIALIZER};
    struct work *w = work_new(&(struct work_conf){.loop = loop,
                                                  .name = "test",
                                                  .threads = 1,
                                                  .thread_start = on_start,
                                                  .thread_stop = on_stop,
                                                  .data = &y});
    pthread_mutex_lock(&gate.lock);
    work_submit(w, &gate.job);
    for (size_t i = 0; i < COUNT(cases); i++) {
        tasks[i] = (struct task){{.run = run_one, .done = done}, &y, w, (int)i, 0};
        tasks[i].job.run_two = cases[i].likes == 2 ? two : cases[i].likes == 3 ? other_two : NULL;
        work_submit(w, &tasks[i].job);
    }
    pthread_mutex_unlock(&gate.lock);
    loop_run(loop);
    CHECK_INT(work_pending(w), 0);
    for (size_t i = 0; i < COUNT(cases); i++) {
        CHECK_INT(y.done_order[i], i);
        CHECK_INT(tasks[i].result, cases[i].result);
    }
    work_free(w);
    loop_free(loop);
}
