/* preheader.h - the hidden first line of an HTML mail that inboxes show beside the subject. Inside mime. */
#ifndef HATO_FORMAT_MIME_PREHEADER_H
#define HATO_FORMAT_MIME_PREHEADER_H

#include "base/mem.h"

/* Append html with preheader (plain text) as a hidden block at the start of its body: behind <body ...>;
 * without that tag behind </head>, else behind <html ...> or the doctype, else in front of all. The text is
 * escaped and followed by invisible filler, so that an inbox with room for more does not go on into the page.
 */
void preheader_insert(struct buf *out, struct slice html, struct slice preheader);

#endif
