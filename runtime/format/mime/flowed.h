/* flowed.h - text as format=flowed; delsp=yes (RFC 3676). Inside mime. */
#ifndef HATO_FORMAT_MIME_FLOWED_H
#define HATO_FORMAT_MIME_FLOWED_H

#include "base/mem.h"

/* Append UTF-8 text with CRLF line ends, its lines wrapped at 72 columns, two for a kanji. A line is cut
 * behind a blank or beside a wide character, never inside a word or address; what cannot be cut stays long.
 * The soft end is one more blank, which delsp has the reader take away, so that Japanese comes together again
 * without blanks.
 *
 * What a reader puts together is the text that went in, but for blanks at the end of a line, which would make
 * it flow (4.2). Lines that would read as a quotation, "From ", a dot or a boundary get the blank in front
 * that readers take away (4.4); the "-- " before a signature stays as it is (4.3). */
void flowed_text(struct buf *out, struct slice text);

#endif
