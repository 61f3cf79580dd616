/* chance.h - a script that chance wrote, its receivers, and what people do with it while it runs. */
#ifndef HATO_TESTS_UNIT_CHANCE_H
#define HATO_TESTS_UNIT_CHANCE_H

#include "delivery/deliver_impl.h"
#include "town.h"

enum { CHANCE_DOMAINS = 6 };
extern const char *const chance_domains[CHANCE_DOMAINS];
extern const char chance_world[];

/* What a script may say, some of it by chance. */
struct chance {
    uint64_t state; /* of chance */
    struct conf_isp isps[2];
    struct conf_source sources[2];
    struct conf_stream streams[2];
    struct conf_campaign campaigns[3];
    struct conf_limit limits[2];
    struct conf_warmup warmup;
    struct rule_spec spec;
    struct act_rule rule;
    struct conf_limit more_limits[5];
    struct conf_pool_member members[2];
    struct conf_pool pool;
};

/* Less than n. */
uint32_t chance_below(struct chance *s, uint32_t n);
/* Into the conf of a town that is closed; s->state is the seed. */
void chance_write(struct chance *s, struct town *t);
/* More of the same, for those who do not ask why mail waited: a pool, priorities, limits of other tuples. */
void chance_write_more(struct chance *s, struct town *t);
/* Somebody pauses something or lets it go on, in a town that is open or closed. */
void chance_steer(struct chance *s, struct town *t);

#endif
