/* iso2022jp.h - ISO-2022-JP (RFC 1468) with what Windows added to JIS X 0208 (CP50221): ① ㈱ 髙, 457 cells in
 * NEC's row 13 and IBM's rows 89 to 92, and half-width kana.
 *
 * The table is our own, since the C library's ISO-2022-JP has none of those. Where JIS X 0208 and Windows
 * name a cell differently (〜 and ～, − and －, ‖ and ∥, ¥ and ￥ …) both names are written as that cell;
 * which of them comes back is the reader's choice, and this reader's is Windows's.
 *
 * What it promises about its output: bytes below 0x80 only; every piece ends in ASCII, and so does every line
 * within it, since CR and LF belong to ASCII. ESC, SO and SI of the text itself count as characters that are
 * not to be had, as they would switch sets. */
#ifndef HATO_FORMAT_ISO2022JP_H
#define HATO_FORMAT_ISO2022JP_H

#include "base/err.h"
#include "base/mem.h"

/* --- making text fit --- */

struct iso2022jp_loss {
    uint32_t n;     /* characters that a reader will not see as they were written */
    uint32_t first; /* the first of them; nothing if n is 0 */
};

/* How far fitting goes:
 *   CP50221 - everything in the repertoire is kept, half-width kana as such (ESC ( I, which RFC 1468 does not
 * have and all readers in use know); anything else becomes 〓. PLAIN   - for the oldest readers: what can be
 * said in ASCII and JIS X 0208 alone is (ｶﾞ→ガ, ①→(1), ㈱→(株), Ⅲ→III, é→e, selectors of shapes and joiners
 * go); a character that no other writing stands for is kept if CP50221 has it (髙), and becomes 〓 if not. */
enum iso2022jp_repertoire { ISO2022JP_CP50221, ISO2022JP_PLAIN };

/* Append text (UTF-8), changed so that iso2022jp_encode() takes all of it, and add to *loss. Kana with a
 * combining mark behind it (か U+3099) becomes one character, which is the same text and no loss. Ill-formed
 * bytes are copied as they are. */
void iso2022jp_fit(struct slice text, enum iso2022jp_repertoire repertoire, struct buf *out,
                   struct iso2022jp_loss *loss);

/* 0 if nothing of text is lost in CP50221, else ERR_UNSUPPORTED with a sentence about the first character
 * that is: `what` has it. */
int iso2022jp_check(struct slice text, const char *what, struct err *e);

/* --- writing --- */

/* Which set is switched to. Zero-initialised is the start of a text: ASCII. */
struct iso2022jp {
    enum { ISO2022JP_ASCII, ISO2022JP_KANJI, ISO2022JP_KANA } set;
};
/* Write cp, with a switch before it if it needs one; bytes written, 0 if the repertoire does not have it. */
size_t iso2022jp_put(struct iso2022jp *s, uint32_t cp, char out[5]);
/* Switch back to ASCII: 3 bytes, or none. */
size_t iso2022jp_end(struct iso2022jp *s, char out[3]);
/* Append all of text, which ends in ASCII. ERR_UNSUPPORTED if a character is not in the repertoire,
 * ERR_SYNTAX if text is not UTF-8; out is then as it was. */
int iso2022jp_encode(struct slice text, struct buf *out);

/* --- reading --- */

/* Append in as UTF-8. Strict: ERR_SYNTAX, *bad_at the offset and out as it was, for a byte above 0x7f, an
 * unknown escape sequence, a cell without a character, a line or text that ends in another set than ASCII or
 * JIS X 0201 Roman. That set (ESC ( J) is read as ASCII but for ¥ and ‾, ESC $ @ (the set of 1978) as JIS X
 * 0208. */
int iso2022jp_decode(struct slice in, struct buf *out, size_t *bad_at);

#endif
