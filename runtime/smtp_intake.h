/* smtp_intake.h - what a client sent and nobody has looked at yet, and how fast a slow reader may look.
 *
 *     in = {.bytes_per_second = …, .since_ms = now, .fed = SLICE_NONE}
 *     smtp_intake_feed(&in, bytes, now)             borrowed, until smtp_intake_keep()
 *     s = smtp_intake_look(&in, now)                what may be looked at
 *     smtp_intake_take(&in, n)                      so much of it is used
 *     smtp_intake_keep(&in)                         the rest is copied
 *
 * So a message that is read as fast as it comes is never copied. A reader with a rate counts the bytes that
 * it may have read since it last was idle. */
#ifndef HATO_SMTP_INTAKE_H
#define HATO_SMTP_INTAKE_H

#include "base/mem.h"

struct smtp_intake {
    uint64_t bytes_per_second; /* 0: no bound */
    int64_t since_ms;          /* since when is counted */
    uint64_t taken_bytes;      /* since then */
    struct slice fed;          /* behind the backlog */
    struct buf backlog;
    size_t backlog_used;
};

void smtp_intake_feed(struct smtp_intake *in, struct slice bytes, int64_t now_ms);
/* Bytes that are there, whether or not it is their time. */
size_t smtp_intake_size(const struct smtp_intake *in);
/* The first of them that may be looked at now, in one piece; behind it there may be more. */
struct slice smtp_intake_look(const struct smtp_intake *in, int64_t now_ms);
/* The first line, without its LF. ERR_AGAIN: it has not all come, or may not all be looked at yet. ERR_LIMIT:
 * it has no end within max bytes. */
int smtp_intake_line(struct smtp_intake *in, size_t max, int64_t now_ms, struct slice *line);
void smtp_intake_take(struct smtp_intake *in, size_t n);
void smtp_intake_keep(struct smtp_intake *in);
/* Throw away all there is. */
void smtp_intake_drop(struct smtp_intake *in);
/* When one more byte may be looked at; INT64_MAX: all that are there may be. */
int64_t smtp_intake_due(const struct smtp_intake *in, int64_t now_ms);
void smtp_intake_free(struct smtp_intake *in);

#endif
