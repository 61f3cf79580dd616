/* measure_impl.h - the insides that measure.c and measure_look.c share. */
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
};

/* --- measure.c --- */
/* In force at its isp, if that is known by now. */
void measure_attach(struct measure *m);
struct measure *measure_new(struct measures *ms, uint32_t number);
void measure_over(struct measure *m, int64_t at_ms);

/* --- measure_look.c --- */
bool measure_is_closed(const struct measure *m, int64_t wall_ms); /* nothing goes */
/* Of what was, in millionths, if it lets go any at all. */
uint32_t measure_share(const struct measure *m, int64_t wall_ms);
int64_t measure_interval_us(const struct measure *m, int64_t wall_ms); /* 0: not paced */
#endif
