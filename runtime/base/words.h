/* words.h - small readers of what people type: durations, sizes, and the name that was probably meant. */
#ifndef HATO_BASE_WORDS_H
#define HATO_BASE_WORDS_H

#include "base/mem.h"

/* "90 s", "10 min", "2 h", "3 days", "1 week", "500 ms", "0", "forever" (INT64_MAX) → milliseconds.
 * ERR_SYNTAX when it is none of these (a number without a unit included), ERR_RANGE when too large. */
int words_duration(struct slice text, int64_t *ms);

/* "500 MB", "20 GB", "64 MiB" → bytes: kB, MB, GB, TB are powers of 1,000; KiB, MiB, GiB, TiB of 1,024.
 * ERR_SYNTAX or ERR_RANGE. */
int words_size(struct slice text, uint64_t *bytes);

/* "500/h", "40/s", "3/10 min" → so many per so many milliseconds; both at least 1. ERR_SYNTAX or ERR_RANGE.
 */
int words_rate(struct slice text, int64_t *count, int64_t *per_ms);

/* The inverse of words_duration for people: "3 h 12 min", "45 s", "250 ms", "2 days". */
void words_duration_text(struct buf *out, int64_t ms);

/* Of n names the nearest to word, by edit distance of at most a third of its length (at least 1);
 * names[i] borrowed; SLICE_NONE if none is near. */
struct slice words_near(struct slice word, const struct slice *names, size_t n);

#endif
