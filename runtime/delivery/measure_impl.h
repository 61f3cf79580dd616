/* measure_impl.h - the insides that the measure_*.c share. */
#ifndef HATO_DELIVERY_MEASURE_IMPL_H
#define HATO_DELIVERY_MEASURE_IMPL_H

#include "delivery/measure_count.h"
#include "delivery/path_impl.h"

struct measures {
    struct measures_conf conf;
    struct measure *first, *last; /* all, by number */
    size_t n;
    struct map by_number;
    uint32_t next_number;
    struct measure *of_sources; /* ACT_SOURCE, that hold */
    struct tally *tallies;      /* of ACT_SOURCE */
    struct map recalled;        /* isp name → struct recalled, until it is met */
};

/* --- measure_recall.c --- */
void measures_recall_init(struct measures *ms);
void measures_recall_free(struct measures *ms);
void measures_recall_meet(struct measures *ms, struct isp *isp);
void tallies_free(struct tally **list);
int64_t measures_behind_ms(const struct measures *ms); /* UTC - this = loop_now_ms() */
/* Into the journal what this one has come to with an answer at now_ms, if its event will not say so. */
void measures_write_tally(struct measures *ms, const struct tally *t, const struct measure_answer *a,
                          int64_t now_ms);

/* --- measure.c --- */
/* In force at its isp, if that is known by now. */
void measure_attach(struct measure *m);
struct measure *measure_new(struct measures *ms, uint32_t number);
void measure_over(struct measure *m, int64_t at_ms);
void measure_changed(struct measure *m);                     /* tell who writes it down */
void measure_arm(struct measure *m);                         /* its timer, to when it allows more */
void measure_not_before(struct measure *m, int64_t next_us); /* loop time of its next permit */

/* --- measure_look.c --- */
bool measure_is_closed(const struct measure *m, int64_t wall_ms); /* nothing goes */
/* Of what was, in millionths, if it lets go any at all. */
uint32_t measure_share(const struct measure *m, int64_t wall_ms);
int64_t measure_interval_us(const struct measure *m, int64_t wall_ms); /* 0: not paced */
#endif
