/* work.h - threads that do one thing for the loop: assemble messages, sync the spool, talk to the database.
 *
 * A pool of n threads takes jobs first in, first out; a pool of one is therefore in order. run() is called on
 * a thread, done() on the loop, in the order in which jobs finished, many for one wake-up. On a virtual loop
 * there are no threads: run() is called inside work_submit(), done() later in the same virtual instant. */
#ifndef HATO_PLATFORM_WORK_H
#define HATO_PLATFORM_WORK_H

#include "platform/loop.h"

struct work;

/* What a job sees of the thread it runs on. user is the thread's alone: arenas, signing contexts. */
struct work_thread {
    int index; /* 0 .. threads - 1 */
    void *user;
};

/* Lives inside what it works on, which is owned by the pool from work_submit() until done(). */
struct work_job {
    void (*run)(struct work_job *job, struct work_thread *thread);
    void (*done)(struct work_job *job); /* may free the job or submit it again */
    struct work_job *next;              /* the pool's */
    /* NULL, or runs two jobs of the same run_two in less time than one after the other: a thread that comes
     * for one takes the next with it when that is such a one. Each has its done(). */
    void (*run_two)(struct work_job *a, struct work_job *b, struct work_thread *thread);
};

struct work_conf {
    struct loop *loop;
    const char *name; /* of the threads, up to 11 bytes; what people see in top -H */
    int threads;      /* at least 1 */
    /* Both may be NULL. On the thread: before its first job, and after its last. */
    void *(*thread_start)(void *data, int index);
    void (*thread_stop)(void *user);
    void *data;
};

struct work *work_new(const struct work_conf *conf);

/* Loop thread only. */
void work_submit(struct work *w, struct work_job *job);

/* Jobs submitted whose done() was not called yet. Loop thread only. */
size_t work_pending(const struct work *w);
int work_threads(const struct work *w);

/* Every job that was submitted runs and its done() is called, then the threads end. NULL is fine. */
void work_free(struct work *w);

#endif
