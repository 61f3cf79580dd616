/* frame.h - how records lie one behind the other in a file: length, checksum, payload.
 *
 *   word   u32   bits 0-23 payload length, 24-27 tag, 28-31 always 0xA
 *   crc    u32   CRC-32C (RFC 3720 12.1) over salt, word and payload
 *   payload
 *
 * Little-endian. The checksum covers the length, so a frame is right as a whole or not at all, and zeros are
 * never a frame. The salt is the file's: bytes that an older file left on the disk do not pass for frames,
 * nor do bytes that somebody put inside a payload to look like one. */
#ifndef HATO_FORMAT_FRAME_H
#define HATO_FORMAT_FRAME_H

#include "base/mem.h"

enum { FRAME_HEADER_BYTES = 8, FRAME_MOST_BYTES = (1 << 24) - 1, FRAME_TAGS = 16 };

/* CRC-32C of data behind what crc already covers; begin with 0. */
uint32_t crc32c(uint32_t crc, struct slice data);
/* The same without the processor's instruction, for machines without it and for tests. */
uint32_t crc32c_table(uint32_t crc, struct slice data);

/* Append one frame. payload.n <= FRAME_MOST_BYTES, tag < FRAME_TAGS. */
void frame_put(struct buf *out, uint32_t salt, unsigned tag, struct slice payload);

/* Take the frame at the front of *in. 0: *tag and *payload (borrowed from in) are set, *in is behind it.
 * ERR_EOF: in is empty. ERR_AGAIN: the front is a part of a frame, or looks like one. ERR_CORRUPT: it is no
 * frame. In the last two cases *in is as before. */
int frame_next(struct slice *in, uint32_t salt, unsigned *tag, struct slice *payload);

/* After ERR_CORRUPT, or ERR_AGAIN where no more bytes will come: how many bytes to leave out so that a whole
 * frame comes next; in.n if there is none any more. Every place is tried, but a frame over 64 KiB is believed
 * only if three headers, or the end, follow it, and the search reads at most 256 times the input: so it ends
 * on any bytes. */
size_t frame_resync(struct slice in, uint32_t salt);

/* For a reader that has the first bytes of a frame: how long it is with its header. 0: no header. */
size_t frame_length(struct slice in);

#endif
