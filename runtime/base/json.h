/* json.h - writing JSON (RFC 8259): the one thing about it that can go wrong. Reading is elsewhere. */
#ifndef HATO_BASE_JSON_H
#define HATO_BASE_JSON_H

#include "base/mem.h"

/* Append text as a JSON string, quotes included. Bytes that are no UTF-8 become U+FFFD, so that the line can
 * be read whatever was put into it. */
void json_quote(struct buf *out, struct slice text);

#endif
