/* journal.c - see journal.h. */
#include "journal.h"
#include "delivery/secret.h"
#include "platform/file.h"
#include "platform/spool.h"

#include <stdio.h>
#include <stdlib.h>

struct journal {
    const char *command;
    char *state;
    struct fs *fs;
    struct loop *loop;
    struct secret secret;
    bool has_secret;
    struct event_names *names;
    struct spool_tail tail;
    uint64_t unreadable;
    int (*fn)(void *data, const struct rec *r);
    void *data;
};

static int read_secret(struct journal *j, struct err *e)
{
    int rc = secret_read(j->fs, j->state, &j->secret, e);
    j->has_secret = rc == 0;
    return rc == ERR_NOTFOUND || rc == ERR_CORRUPT ? 0 : rc; /* the rest can be told without */
}

int journal_open(const char *command, const char *state, struct journal **out, struct err *e)
{
    struct journal *j = mem_zalloc(sizeof *j);
    struct fs_stat st;
    j->command = command;
    j->state = mem_dup(state ? state : JOURNAL_STATE_DEFAULT, strlen(state ? state : JOURNAL_STATE_DEFAULT));
    j->fs = fs_real();
    j->loop = loop_new_real();
    int rc = fs_stat(j->fs, j->state, &st, e);
    if (!rc && !st.is_dir)
        rc = err_set(e, ERR_INVAL, "%s is not a folder", j->state);
    if (rc == ERR_NOTFOUND)
        err_set(e, rc, "there is no state folder %s here; --state DIR names another", j->state);
    if (!rc)
        rc = read_secret(j, e);
    if (rc) {
        journal_close(j);
        return rc;
    }
    j->names = event_names_new(j->has_secret ? &j->secret : NULL);
    *out = j;
    return 0;
}

void journal_close(struct journal *j)
{
    if (!j)
        return;
    if (j->unreadable)
        fprintf(stderr, "hato %s: %llu records could not be read and are left out\n", j->command,
                (unsigned long long)j->unreadable);
    event_names_free(j->names);
    loop_free(j->loop);
    fs_free(j->fs);
    explicit_bzero(&j->secret, sizeof j->secret);
    free(j->state);
    free(j);
}

static int on_record(void *data, enum spool_kind kind, struct spool_pos pos, struct slice payload)
{
    struct journal *j = data;
    struct rec r;
    if (rec_get(payload, &r)) {
        j->unreadable++;
        return 0;
    }
    event_names_learn(j->names, &r);
    return j->fn(j->data, &r);
}

static void on_notice(void *data, int code, const char *text)
{
    struct journal *j = data;
    fprintf(stderr, "hato %s: %s\n", j->command, text);
}

int journal_read(struct journal *j, int (*fn)(void *data, const struct rec *r), void *data, struct err *e)
{
    j->fn = fn;
    j->data = data;
    if (!j->has_secret) { /* a folder that is being made */
        int rc = read_secret(j, e);
        if (rc)
            return rc;
        event_names_secret(j->names, j->has_secret ? &j->secret : NULL);
    }
    return spool_scan_on(j->fs, j->state, &j->tail, on_record, on_notice, j, e);
}

const char *journal_state(const struct journal *j)
{
    return j->state;
}

const struct event_names *journal_names(const struct journal *j)
{
    return j->names;
}

const struct secret *journal_secret(const struct journal *j)
{
    return j->has_secret ? &j->secret : NULL;
}

struct loop *journal_loop(struct journal *j)
{
    return j->loop;
}
