/* returned_token.h - which of our messages a returned mail speaks of: by a token that only we can have made.
 *
 * Anybody can write anything into a mail; what is believed is the HMAC of verp.h. It stands in two places:
 *  1. the address that the mail was sent to, which is the return path of the message: as the transport says
 *     (the envelope), else as the fields Delivered-To, X-Original-To, Envelope-To, To repeat it;
 *  2. Return-Path or Message-ID of the original, where a delivery status or a feedback report returns it.
 *     Reports of complaints go to an address of the receiver's choice, so for them this is the only one.
 * In prose and in mail of people only the first counts: who answers a mail quotes it, and sends that to
 * somebody else. A mail that is sent to a token's address is about that token, whatever it returns. */
#ifndef HATO_FORMAT_RETURNED_TOKEN_H
#define HATO_FORMAT_RETURNED_TOKEN_H

#include "format/returned.h"
#include "format/verp.h"

enum returned_token {
    RETURNED_TOKEN_NONE,   /* nothing in it looks like one of ours */
    RETURNED_TOKEN_FORGED, /* something does, and is not (or was made with another key) */
    RETURNED_TOKEN_HOLDS
};

/* envelope_to: whom the transport says it was for; empty: it says nothing. *id is set with _HOLDS. */
enum returned_token returned_token(const struct verp_key *key, struct slice envelope_to,
                                   const struct returned *r, uint64_t *id);

#endif
