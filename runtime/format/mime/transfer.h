/* transfer.h - transfer encodings (RFC 2045 6): which one, and into it. Inside mime. */
#ifndef HATO_FORMAT_MIME_TRANSFER_H
#define HATO_FORMAT_MIME_TRANSFER_H

#include "base/mem.h"

enum transfer { TRANSFER_7BIT, TRANSFER_QP, TRANSFER_BASE64 };
const char *transfer_name(enum transfer t);

/* Append text with every line end (CRLF, CR or LF) as CRLF, one behind the last line too. */
void crlf_text(struct buf *out, struct slice text);

/* How text with CRLF line ends leaves: as 7bit if nothing on the way could take offence at a line (ASCII, at
 * most 78 columns, no control but TAB, no blank at its end, no dot and no boundary at its start), else in the
 * shorter of the two encodings. flowed: blanks at ends are format=flowed's own, which is made for 7bit. */
enum transfer transfer_choose(struct slice text, bool flowed);
/* The same of text that is ISO-2022-JP already: 7bit up to 998 octets a line (RFC 5322 2.1.1; two a kanji and
 * six for escapes make 78 a short line), else base64, since in quoted-printable half of it would be escapes.
 */
enum transfer transfer_choose_iso2022jp(struct slice text, bool flowed);

/* Append text with CRLF line ends in quoted-printable, lines of at most 76 columns. */
void qp_text(struct buf *out, struct slice text);

/* Append data in base64: lines of 76 columns with CRLF between them and none behind the last. */
void base64_lines(struct buf *out, struct slice data);

/* Append what Q-encoded text (RFC 2047 4.2) stands for. False, and out may have been added to: malformed. */
bool q_decode(struct buf *out, struct slice in);

#endif
