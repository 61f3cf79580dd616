/* tz.h - time zones: what a clock on the wall shows at an instant, and when it shows it.
 *
 * Reads compiled zone files (TZif, RFC 8536, version 2 and later: what a zoneinfo folder holds). Times are
 * seconds since 1970 UTC; offsets are seconds east. A zone is immutable: any thread may ask. */
#ifndef HATO_FORMAT_TZ_H
#define HATO_FORMAT_TZ_H

#include "base/err.h"
#include "base/mem.h"

struct tz;

/* The file's bytes → a zone, owned: tz_free(). ERR_SYNTAX for bytes that are no zone. */
int tz_parse(struct slice bytes, struct tz **out);
void tz_free(struct tz *tz); /* NULL is fine */

int tz_offset(const struct tz *tz, int64_t utc_s);

struct tz_wall {
    int year, month, day, hour, minute, second; /* month 1 to 12; day from 1 */
};
/* When the wall shows this. A time that the clock leaves out is the first instant behind it; one that it
 * shows twice is the first. tz NULL: UTC. */
int64_t tz_to_utc(const struct tz *tz, const struct tz_wall *wall);
/* The same of seconds since 1970 that are counted on the wall. */
int64_t tz_wall_to_utc(const struct tz *tz, int64_t wall_s);

/* "2026-07-01 10:00", "2026-07-01 10:00:30", "2026-07-01" (00:00). ERR_SYNTAX, or ERR_RANGE for 30 February.
 */
int tz_read_wall(struct slice text, struct tz_wall *out);

#endif
