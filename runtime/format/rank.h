/* rank.h - how engaged somebody is, as a column of a file says it: a number, or when they last did something.
 */
#ifndef HATO_FORMAT_RANK_H
#define HATO_FORMAT_RANK_H

#include "base/mem.h"

#define RANK_NONE INT64_MIN

/* "0.8", "-3", "1,250"; "2026-07-01", "2026/7/1 10:30", "2026-07-01T10:30:00Z": the larger or later, the
 * larger the rank. Numbers to six decimals; a date may be followed by a time, what stands behind its seconds
 * does not count. RANK_NONE: it is empty, or neither. */
int64_t rank_of(struct slice text);

#endif
