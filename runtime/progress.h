/* progress.h - the line that shows how far a run is, on a terminal. */
#ifndef HATO_PROGRESS_H
#define HATO_PROGRESS_H

#include "platform/loop.h"

struct progress_counts {
    uint64_t total;     /* recipients of this run, as far as known; 0: not known */
    uint64_t delivered; /* since the start */
    uint64_t bounced;   /* with expired */
    uint64_t deferred;  /* recipients that wait for another try */
    bool reading;       /* the total still grows */
};

/* What is shown, at most so many columns wide, without line end: whole fields, the least needed go first.
 * rate_tenths: settled recipients a second, times ten; -1: not known yet. Time left: what goes on at this
 * rate; what is deferred is not counted in it. */
void progress_line(struct buf *out, const struct progress_counts *c, int64_t rate_tenths, size_t columns);

struct progress;
/* NULL, which every function takes, where nobody would see it: wanted is false or stderr is no terminal.
 * counts is called when the line is drawn, at most five times a second. */
struct progress *progress_new(struct loop *loop, bool wanted,
                              void (*counts)(void *data, struct progress_counts *out), void *data);
/* Take the line away, before something else is printed; it comes back with the next drawing. */
void progress_erase(struct progress *p);
void progress_free(struct progress *p); /* and erases it */

#endif
