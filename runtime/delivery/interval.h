/* interval.h - why mail waited, kept by cause and never by message.
 *
 * Who makes mail wait (a limit, a measure, a warm-up, a pause, a receiver that is down …) opens an interval
 * when the first has to wait and closes it when none has to any more. An interval says what it is about by
 * keys: mail whose isp, source, stream, campaign … they fit waited for it, if it waited in that time. Joining
 * the two is explain's work, and done when somebody asks.
 *
 *     struct interval_cause c = interval_cause(INTERVAL_MEASURE);
 *     c.isp = …, c.why = …;
 *     m->waits = interval_open(is, &c);
 *     …
 *     interval_close(m->waits);
 *
 * Intervals of the same cause (kind, keys and words) with less than INTERVAL_LINGER_MS between them are one,
 * so a cause that comes and goes writes three records at most in that time however much mail waits for it.
 * One that lasts is in the journal INTERVAL_WRITE_MS after it began or came back, so that it outlives a
 * crash; that the process is there at all is such an interval, said again every INTERVAL_ALIVE_MS. Loop
 * thread only. */
#ifndef HATO_DELIVERY_INTERVAL_H
#define HATO_DELIVERY_INTERVAL_H

#include "platform/loop.h"

enum { INTERVAL_LINGER_MS = 10000, INTERVAL_WRITE_MS = 200, INTERVAL_ALIVE_MS = 30000 };

/* The numbers are in the journal. Where several explain the same time, the one that comes first here does. */
enum interval_kind {
    INTERVAL_UP = 1,   /* the process ran; between two of them hato was not running */
    INTERVAL_PAUSE,    /* people paused it */
    INTERVAL_CAMPAIGN, /* its campaign is being taken in, begins later, is held */
    INTERVAL_STOPPING, /* the process starts, or was told to end */
    INTERVAL_JOURNAL,  /* the journal is being written, or cannot be */
    INTERVAL_HOOK,     /* hooks run, or records are read for them */
    INTERVAL_DNS,      /* it is not known where mail for the domain goes */
    INTERVAL_SITE,     /* no host can be reached */
    INTERVAL_MEASURE,  /* what answers put in place */
    INTERVAL_WARMUP,   /* a warm-up's rate or window, quiet hours */
    INTERVAL_LIMIT,    /* a limit of the script */
    INTERVAL_SOCKETS,  /* the ceiling of open sockets */
    INTERVAL_PATH,     /* all connections that the path may have are in use */
    INTERVAL_KINDS
};

/* An empty key fits all mail. why: words that go on after "waited 3 h 12 min" ("for …", "because …"), with
 * the rule and its file:line where there is one. Borrowed for the call. */
struct interval_cause {
    enum interval_kind kind;
    struct slice isp, source, stream, pool, campaign;
    struct slice domain, mx; /* of the address, in ASCII; key of the site */
    struct slice from;       /* domain of the stream's From address */
    struct slice why;
    int64_t
        until_ms; /* UTC: when it is meant to end; 0: not known. Says nothing about which interval it is */
};
/* All keys and words empty. */
static inline struct interval_cause interval_cause(enum interval_kind kind)
{
    struct slice none = SLICE_NONE;
    return (struct interval_cause){kind, none, none, none, none, none, none, none, none, none, 0};
}

struct intervals;
struct interval;

struct intervals_conf {
    struct loop *loop;
    void *data;
    /* Into the journal: begin_ms and end_ms are UTC, end_ms 0 while it is open. The same begin_ms again
     * replaces what was said of this cause before. */
    void (*write)(void *data, const struct interval_cause *c, int64_t begin_ms, int64_t end_ms);
};

struct intervals *intervals_new(const struct intervals_conf *conf);
/* The process takes up its work: INTERVAL_UP begins. */
void intervals_start(struct intervals *is);
/* Somebody is about to read the journal: how things stand goes into it with this turn. */
void intervals_say(struct intervals *is);
/* All are closed and written; what is opened or closed after this is not. */
void intervals_stop(struct intervals *is);
void intervals_free(struct intervals *is); /* NULL is fine */

/* Begins, or goes on: one may be open several times at once. is NULL: nothing is kept, and it is NULL. */
struct interval *interval_open(struct intervals *is, const struct interval_cause *c);
/* NULL is fine. Not to be used after its last close. */
void interval_close(struct interval *i);
/* It is meant to end then. NULL is fine. */
void interval_until(struct interval *i, int64_t until_ms);
/* INTERVAL_DNS: where mail of the domain goes; the only place that says so of mail that was never tried. */
void interval_found(struct interval *i, struct slice isp, struct slice mx);
/* What is over already: it began at begin_ms (UTC) and ends now. */
void interval_past(struct intervals *is, const struct interval_cause *c, int64_t begin_ms);

#endif
