/* flight.c - see flight.h. */
#include "delivery/flight.h"

#include <stdlib.h>

enum { SPARE_MESSAGES = 64 };

/* A message and who needs it: its flight, and connections that have not written all of it. */
struct held_message {
    struct message m;
    unsigned refs;
    struct flights *flights;
    struct held_message *next;
};

struct flights {
    struct flights_conf conf;
    size_t count;
    struct held_message *spare;
    size_t nspare, out; /* out: messages that somebody holds */
    bool ended;
};

struct flights *flights_new(const struct flights_conf *conf)
{
    struct flights *fs = mem_zalloc(sizeof *fs);
    fs->conf = *conf;
    return fs;
}

void flights_free(struct flights *fs)
{
    if (!fs)
        return;
    INVARIANT(!fs->count);
    while (fs->spare) {
        struct held_message *h = fs->spare;
        fs->spare = h->next;
        message_free(&h->m);
        free(h);
    }
    fs->ended = true;
    if (!fs->out)
        free(fs);
}

static struct held_message *message_take(struct flights *fs)
{
    struct held_message *h = fs->spare;
    if (h) {
        fs->spare = h->next;
        fs->nspare--;
    } else {
        h = mem_zalloc(sizeof *h);
        h->flights = fs;
    }
    h->refs = 1;
    fs->out++;
    return h;
}

void flight_message_release(void *held)
{
    struct held_message *h = held;
    struct flights *fs = h->flights;
    if (--h->refs)
        return;
    fs->out--;
    if (!fs->ended && fs->nspare < SPARE_MESSAGES) {
        message_clear(&h->m);
        h->next = fs->spare;
        fs->spare = h;
        fs->nspare++;
        return;
    }
    message_free(&h->m);
    free(h);
    if (fs->ended && !fs->out)
        free(fs);
}

void *flight_message_hold(struct flight *f)
{
    struct held_message *h = CONTAINER(f->message, struct held_message, m);
    h->refs++;
    return h;
}

/* On a pool thread. The loop touches neither flight nor message meanwhile. */
static void run(struct work_job *job, struct work_thread *thread)
{
    struct flight *f = CONTAINER(job, struct flight, job);
    const struct flights_conf *conf = &f->flights->conf;
    f->status = conf->read(conf->data, f->position, &f->message->payload, &f->error);
    if (!f->status)
        f->status = message_assemble(&f->in, thread->user, f->message, &f->error);
}

static void run_two(struct work_job *a, struct work_job *b, struct work_thread *thread)
{
    struct flight *f[2] = {CONTAINER(a, struct flight, job), CONTAINER(b, struct flight, job)};
    struct message_making two[2];
    for (int i = 0; i < 2; i++) {
        const struct flights_conf *conf = &f[i]->flights->conf;
        int r = conf->read(conf->data, f[i]->position, &f[i]->message->payload, &f[i]->error);
        two[i] = (struct message_making){&f[i]->in, f[i]->message, &f[i]->error, r};
    }
    message_assemble_two(two, thread->user);
    for (int i = 0; i < 2; i++)
        f[i]->status = two[i].rc;
}

static void done(struct work_job *job)
{
    struct flight *f = CONTAINER(job, struct flight, job);
    f->assembled = true;
    f->flights->conf.assembled(f->flights->conf.data, f);
}

struct flight *flight_new(struct flights *fs, struct session *s, struct lane *lane, uint64_t id,
                          int64_t now_ms)
{
    struct flight *f = mem_zalloc(sizeof *f);
    f->id = id;
    f->lane = lane;
    f->session = s;
    f->flights = fs;
    f->message = &message_take(fs)->m;
    f->claimed_ms = now_ms;
    f->job.run = run;
    f->job.done = done;
    fs->count++;
    return f;
}

void flight_assemble(struct flight *f)
{
    f->job.run_two = identity_signs_two(f->in.identity) ? run_two : NULL;
    work_submit(f->flights->conf.pool, &f->job);
}

void flight_free(struct flight *f)
{
    f->flights->count--;
    flight_message_release(CONTAINER(f->message, struct held_message, m));
    free(f);
}
