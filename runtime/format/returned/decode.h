/* decode.h - bytes of a mail as clean UTF-8: from any charset that iconv knows, from none that was named,
 * from HTML. Inside returned.
 *
 * What is no character becomes '?': a report must be read even where it is damaged. Control characters become
 * blanks, line ends LF. */
#ifndef HATO_FORMAT_RETURNED_DECODE_H
#define HATO_FORMAT_RETURNED_DECODE_H

#include "base/mem.h"

/* At most limit bytes come out. charset: as the mail names it; empty or unknown: UTF-8 if it is valid,
 * ISO-2022-JP if its escapes are there, else the Japanese encoding that fits, else Windows-1252. */
struct slice decode_text(struct slice bytes, struct slice charset, size_t limit, struct arena *a);

/* The text of HTML in UTF-8: no tags, scripts, styles or comments; blocks on lines of their own. */
struct slice decode_html(struct slice html, struct arena *a);

#endif
