/* text.h - text for people: times, counts, columns, and nothing that could steer their terminal. */
#ifndef HATO_FORMAT_TEXT_H
#define HATO_FORMAT_TEXT_H

#include "base/mem.h"

/* Append s on one line: control characters and marks that turn the reading direction become \n, \t, \x1b,
 * \u202e …; bytes that are no UTF-8 become U+FFFD. What a receiver said goes through this before it is shown.
 */
void text_safe(struct buf *out, struct slice s);

/* Columns on a terminal: 2 for wide East Asian characters (UAX #11: W and F) and pictures, 0 for marks that
 * join the character before them, 1 for the rest. */
size_t text_width(struct slice s);
/* Bytes of the longest beginning of s that is at most so many columns wide. */
size_t text_fit(struct slice s, size_t columns);
/* s and blanks up to so many columns; a wider s is left as it is. */
void text_left(struct buf *out, struct slice s, size_t columns);
void text_right(struct buf *out, struct slice s, size_t columns);
/* A cell of a table: s made safe and exactly so wide, cut or filled, and two blanks. */
void text_cell(struct buf *out, struct slice s, size_t columns);

/* "4,594" */
void text_count(struct buf *out, uint64_t n);
/* "12.21 %", rounded to the nearest; "-" where whole is 0. */
void text_percent(struct buf *out, uint64_t part, uint64_t whole);

/* "2026-07-01T10:00:00.123Z" and "2026-07-01 10:00:00", both UTC; the years 0 to 9999. */
void text_time(struct buf *out, int64_t utc_ms);
void text_time_plain(struct buf *out, int64_t utc_ms);
/* text_time() as a JSON string; null for 0, which is no time. */
void text_time_json(struct buf *out, int64_t utc_ms);

#endif
