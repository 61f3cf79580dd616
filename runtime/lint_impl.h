/* lint_impl.h - what lint.c and lint_world.c share, and nobody else sees. */
#ifndef HATO_LINT_IMPL_H
#define HATO_LINT_IMPL_H

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
void lint_conf(const struct lint *l);
bool lint_stream_uses(const struct conf *c, const struct conf_stream *s, uint16_t source);
/* "2 h", "3 days"; written into room. */
const char *lint_duration(int64_t ms, char room[32]);

#endif
