/* warmup_view.h - warm-ups of a hato that runs, as its control socket shows and sets them.
 *
 *   {"command":"warmup"}                                          one a line, see below
 *   {"command":"warmup","source":"mx1","isp":"gmail","day":3}     {"touched":N} when it is on disk
 *
 * A line: source, isp, from; day, step, steps, rate, per ("hour" or "day"); quota, used, delivered (today);
 * open; next_permit, next_step, next_rate; last_mail, retreat (why it went back last; today: whether that was
 * today), place. */
#ifndef HATO_WARMUP_VIEW_H
#define HATO_WARMUP_VIEW_H

#include "delivery/deliver.h"

#include <jansson.h>

struct control_call;

/* Changes that are not on disk yet; zero-initialised is none. */
struct warmup_sets {
    struct warmup_set *first;
};

void warmup_request(struct deliver *d, const struct conf *conf, struct warmup_sets *sets,
                    struct control_call *call, const json_t *request);
/* Whoever waits is told this, or (why empty) is gone. */
void warmup_sets_drop(struct warmup_sets *sets, int status, struct slice why);

#endif
