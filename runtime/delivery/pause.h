/* pause.h - what people have paused: each holds until it is resumed, through restarts. Their records are
 * steer.h's. */
#ifndef HATO_DELIVERY_PAUSE_H
#define HATO_DELIVERY_PAUSE_H

#include "delivery/steer.h"

struct pause;

/* NULL, or the words for what is paused: "campaign=hello". Borrowed until it is resumed. */
const char *pause_of_lane(const struct deliver *d, const struct lane *lane);
const char *pause_of_path(const struct deliver *d, const struct path *p);
/* Whether people had paused it at that time (UTC); *next_ms comes down to when that changed. */
bool pause_held_lane(const struct deliver *d, const struct lane *lane, int64_t at_ms, int64_t *next_ms);
bool pause_held_path(const struct deliver *d, const struct path *p, int64_t at_ms, int64_t *next_ms);
/* Every pause, oldest first. fn must not change which there are. */
void pause_list(struct deliver *d,
                void (*fn)(void *data, enum steer_kind kind, struct slice name, int64_t since_ms),
                void *data);

/* --- for steering --- */
bool pause_holds(const struct deliver *d, enum steer_kind kind, struct slice name);
int64_t pause_since_ms(const struct deliver *d, enum steer_kind kind,
                       struct slice name); /* UTC; 0: it is not */
/* passing: only while a cancel is carried out; listed by nobody. */
void pause_put(struct deliver *d, enum steer_kind kind, struct slice name, int64_t since_ms, bool passing);
void pause_del(struct deliver *d, enum steer_kind kind, struct slice name, int64_t end_ms);
void pause_free(struct deliver *d); /* all */

#endif
