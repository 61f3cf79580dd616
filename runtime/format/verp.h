/* verp.h - addresses and Message-IDs that carry the message they belong to: b-BASE32@bounce.domain is its
 * return path, BASE32@domain its Message-ID.
 *
 * base32 holds one byte of kind and key number, the message id in as few bytes as it needs, and 80 bits of
 * HMAC-SHA256 over all of that and the domain. The same message has the same ones at every try. The local
 * part is at most 36 octets of the 64 allowed (RFC 5321 4.5.3.1.1), lower case, and readable after a relay
 * has changed its case. The HMAC keeps others from reporting bounces for mail that did not bounce. Kinds
 * differ in what the HMAC is over: a Message-ID stands in every answer that quotes it, and none can be made a
 * return path. */
#ifndef HATO_FORMAT_VERP_H
#define HATO_FORMAT_VERP_H

#include "base/mem.h"

struct verp_key {
    unsigned number; /* 0 to 15, so that an old key can be told from its successor */
    unsigned char secret[32];
};

/* Append "b-...@domain". domain: ASCII (A-labels). */
void verp_make(const struct verp_key *key, uint64_t message_id, struct slice domain, struct buf *out);

/* ERR_SYNTAX: not such an address. ERR_NOTFOUND: made with a key of another number. ERR_CORRUPT: it looks
 * like one of ours and is not. */
int verp_parse(const struct verp_key *key, struct slice local, struct slice domain, uint64_t *message_id);

/* The same for Message-IDs, without the angle brackets. */
void verp_message_id(const struct verp_key *key, uint64_t message_id, struct slice domain, struct buf *out);
int verp_parse_message_id(const struct verp_key *key, struct slice left, struct slice right,
                          uint64_t *message_id);

#endif
