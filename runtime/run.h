/* run.h - a script's campaigns from people to the end: what `hato run` and `hato sim` do alike. */
#ifndef HATO_RUN_H
#define HATO_RUN_H

#include "hato.h"
#include "intake.h"

struct run;

struct run_conf {
    struct hato *hato; /* loaded and opened */
    int64_t wait_ms;   /* end when nothing falls due within it; INT64_MAX: never by itself */
    int64_t end_ms;    /* end at this time whatever waits (UTC; a simulation); 0: no such time */
    int64_t stop_ms;   /* how long open transactions may take after run_stop(); 0: 10 s */
    bool test;         /* marked as test */
    void *data;
    void (*bad_row)(void *data, const struct campaign *c, uint64_t line, struct slice address,
                    const char *why);
    /* The people of this campaign are in (or status says why not). */
    void (*intake)(void *data, const struct campaign *c, const struct intake_counts *counts, int status,
                   const struct err *e);
    void (*tick)(void *data); /* a few times a second */
};

struct run *run_new(const struct run_conf *conf);
/* Takes the people in, delivers, and turns the loop until it is done. 0, or ERR_* of the first campaign that
 * could not be taken in (the others are delivered all the same). Once a run. */
int run_loop(struct run *r, struct err *e);
/* From a signal: open transactions finish (stop_ms), then run_loop() returns. */
void run_stop(struct run *r);

bool run_is_reading(const struct run *r);   /* people still come in */
uint64_t run_rejected(const struct run *r); /* bad rows */
void run_free(struct run *r);

#endif
