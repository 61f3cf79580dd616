/* lint_impl.h - what lint.c, lint_world.c and lint_last.c share, and nobody else sees. */
#ifndef HATO_LINT_IMPL_H
#define HATO_LINT_IMPL_H

#include "base/map.h"
#include "lint.h"

struct lint {
    struct hato *hato; /* NULL for lint_senders() */
    const struct conf *conf;
    struct arena *arena;
    int64_t now_ms; /* UTC */
    lint_fn *fn;
    void *data;
};

void lint_say(const struct lint *l, enum lint_level level, const struct conf_place *place, const char *fmt,
              ...) __attribute__((format(printf, 4, 5)));

/* Who a campaign's mail is for. */
struct lint_domain {
    uint16_t isp; /* that its name tells; CONF_NONE */
    uint64_t people;
};
struct lint_crowd {
    struct map domains; /* → struct lint_domain */
    uint64_t *of_isp;   /* people, by index in the conf */
    uint64_t people;
};
void lint_crowd_init(struct lint_crowd *crowd, const struct lint *l);
void lint_crowd_add(struct lint_crowd *crowd, const struct conf *c, struct slice domain, uint64_t people);
/* They are a sample of so many. */
void lint_crowd_scale(struct lint_crowd *crowd, const struct conf *c, uint64_t people);
void lint_crowd_free(struct lint_crowd *crowd);
/* Says when the last of them would have their turn; a note, or a warning where that is behind `expire`, or
 * more than a day away without one. warmups: how warm sources are already; may be NULL. */
void lint_last(const struct lint *l, const struct conf_campaign *k, const struct lint_crowd *crowd,
               struct warmups *warmups);

void lint_conf(const struct lint *l);
bool lint_stream_uses(const struct conf *c, const struct conf_stream *s, uint16_t source);
/* "2 h", "3 days"; written into room. */
const char *lint_duration(int64_t ms, char room[32]);

#endif
