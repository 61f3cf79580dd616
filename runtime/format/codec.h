/* codec.h - base64, base32 and hex (RFC 4648). Output is appended to a buf; decoding is strict, so that one
 * value has one spelling: no foreign bytes, no missing or superfluous padding, no stray bits at the end. */
#ifndef HATO_FORMAT_CODEC_H
#define HATO_FORMAT_CODEC_H

#include "base/mem.h"

/* Length of n bytes in base64 with codec_base64's folding. */
size_t codec_base64_size(size_t n, size_t line_len);

/* line_len 0: one line and no line end. Otherwise a multiple of 4 (MIME: 76, RFC 2045 6.8): CRLF follows
 * every line_len characters and the last line, so the output is a whole MIME body. Nothing comes of no bytes.
 */
void codec_base64(struct buf *out, struct slice in, size_t line_len);

/* The unfolded alphabet with its padding. ERR_SYNTAX leaves out as it was. */
int codec_unbase64(struct slice in, struct buf *out);

/* a-z2-7 without padding: survives relays that change case. */
void codec_base32_lower(struct buf *out, struct slice in);

/* Either case, no padding. ERR_SYNTAX leaves out as it was. */
int codec_unbase32(struct slice in, struct buf *out);

/* Lower case. */
void codec_hex(struct buf *out, struct slice in);

#endif
