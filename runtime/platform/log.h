/* log.h - log lines: time, level, room, then key=value, ids first.
 *
 *   2026-07-01T10:00:00.123Z level=warn room=path source=mx1 isp=gmail text="421 4.7.28 too fast"
 *
 * One line a call, whatever is in the values. A struct log belongs to the program that made it. */
#ifndef HATO_PLATFORM_LOG_H
#define HATO_PLATFORM_LOG_H

#include "base/mem.h"
#include "platform/loop.h"

#include <stdio.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

struct log {
    struct loop *loop; /* whose clock dates the lines */
    FILE *to;          /* NULL: stderr */
    enum log_level level;
    void (*before)(void *data); /* before a line is printed (a progress line goes away); may be NULL */
    void *data;
    struct buf scratch;
};

/* "error", "warn", "info", "debug". ERR_NOTFOUND, and *out is untouched. */
int log_level_parse(struct slice name, enum log_level *out);
bool log_wants(const struct log *log, enum log_level level);

/* Print a line if the level is wanted. Values that are not numbers or names of ours are built with
 * log_value(); whatever else comes with the text, control characters come out escaped. */
void log_line(struct log *log, enum log_level level, const char *room, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Append key=value and, unless out is empty, a blank before it. Quoted where a reader would else go wrong. */
void log_value(struct buf *out, const char *key, struct slice value);
void log_free(struct log *log); /* what it holds, not itself */

#endif
