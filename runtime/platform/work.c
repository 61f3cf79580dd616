/* work.c - see work.h.
 *
 * One lock guards two lists, of waiting and of finished jobs; nothing else is shared. A thread that finishes
 * a job wakes the loop only if the list of finished jobs was empty: the loop takes the whole list at once. */
#include "platform/work.h"
#include "base/err.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct job_list {
    struct work_job *first, **last;
};

struct thread {
    pthread_t id;
    struct work *work;
    struct work_thread face;
};

struct work {
    struct loop *loop;
    struct work_conf conf;
    struct loop_wake *wake;
    size_t pending;

    pthread_mutex_t lock;
    pthread_cond_t some;
    struct job_list waiting, finished;
    bool stop;

    int nthreads;
    struct thread threads[];
};

static void list_init(struct job_list *l)
{
    l->first = NULL;
    l->last = &l->first;
}

static void list_add(struct job_list *l, struct work_job *job)
{
    job->next = NULL;
    *l->last = job;
    l->last = &job->next;
}

static struct work_job *list_take(struct job_list *l)
{
    struct work_job *job = l->first;
    if (job) {
        l->first = job->next;
        if (!l->first)
            l->last = &l->first;
    }
    return job;
}

/* Loop: done() for all that finished. done() may submit, and on a virtual loop finish, more: those come with
 * the next wake, so that a job that submits itself again does not hold the turn. */
static void on_wake(void *data)
{
    struct work *w = data;
    struct job_list batch;
    list_init(&batch);
    pthread_mutex_lock(&w->lock);
    if (w->finished.first) {
        batch = w->finished;
        list_init(&w->finished);
    }
    pthread_mutex_unlock(&w->lock);
    for (struct work_job *job = batch.first, *next; job; job = next) {
        next = job->next;
        w->pending--;
        job->done(job);
    }
}

static void finish(struct work *w, struct work_job *job)
{
    pthread_mutex_lock(&w->lock);
    bool first = !w->finished.first;
    list_add(&w->finished, job);
    pthread_mutex_unlock(&w->lock);
    if (first)
        loop_wake_send(w->wake);
}

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct work *w = t->work;
    char name[16];
    snprintf(name, sizeof name, "%.11s-%d", w->conf.name, t->face.index);
    pthread_setname_np(pthread_self(), name);
    if (w->conf.thread_start)
        t->face.user = w->conf.thread_start(w->conf.data, t->face.index);
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (!w->waiting.first && !w->stop)
            pthread_cond_wait(&w->some, &w->lock);
        struct work_job *job = list_take(&w->waiting), *second = w->waiting.first;
        if (second && job->run_two && second->run_two == job->run_two)
            list_take(&w->waiting);
        else
            second = NULL;
        pthread_mutex_unlock(&w->lock);
        if (!job)
            break;
        if (second) {
            job->run_two(job, second, &t->face);
            finish(w, job);
            finish(w, second);
        } else {
            job->run(job, &t->face);
            finish(w, job);
        }
    }
    if (w->conf.thread_stop)
        w->conf.thread_stop(t->face.user);
    return NULL;
}

struct work *work_new(const struct work_conf *conf)
{
    INVARIANT(conf->threads >= 1);
    struct work *w = mem_zalloc(sizeof *w + (size_t)conf->threads * sizeof w->threads[0]);
    w->loop = conf->loop;
    w->conf = *conf;
    w->wake = loop_wake_new(conf->loop, on_wake, w);
    list_init(&w->waiting);
    list_init(&w->finished);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->some, NULL);
    if (loop_is_virtual(w->loop)) {
        w->nthreads = 1;
        w->threads[0].work = w;
        if (conf->thread_start)
            w->threads[0].face.user = conf->thread_start(conf->data, 0);
        return w;
    }
    /* Signals are the loop thread's. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; w->nthreads < conf->threads; w->nthreads++) {
        struct thread *t = &w->threads[w->nthreads];
        t->work = w;
        t->face.index = w->nthreads;
        INVARIANT(pthread_create(&t->id, NULL, thread_main, t) == 0);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return w;
}

void work_submit(struct work *w, struct work_job *job)
{
    w->pending++;
    if (loop_is_virtual(w->loop)) {
        job->run(job, &w->threads[0].face);
        finish(w, job);
        return;
    }
    pthread_mutex_lock(&w->lock);
    list_add(&w->waiting, job);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_signal(&w->some);
}

size_t work_pending(const struct work *w)
{
    return w->pending;
}

int work_threads(const struct work *w)
{
    return w->nthreads;
}

void work_free(struct work *w)
{
    if (!w)
        return;
    if (loop_is_virtual(w->loop)) {
        while (w->pending)
            on_wake(w);
        if (w->conf.thread_stop)
            w->conf.thread_stop(w->threads[0].face.user);
    } else {
        pthread_mutex_lock(&w->lock);
        w->stop = true;
        pthread_mutex_unlock(&w->lock);
        pthread_cond_broadcast(&w->some);
        for (int i = 0; i < w->nthreads; i++)
            pthread_join(w->threads[i].id, NULL);
        on_wake(w);
        INVARIANT(w->pending == 0); /* a done() that submits while the pool is being freed is a mistake */
    }
    loop_wake_free(w->wake);
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->some);
    free(w);
}
