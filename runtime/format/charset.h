/* charset.h - UTF-8 as RFC 3629 has it (no overlong forms, no surrogates, nothing above U+10FFFF), CP932 as
 * Windows writes it (Shift_JIS with the NEC and IBM rows: ① ㈱ 髙), and telling the two apart.
 *
 * Inside hato all text is UTF-8. What comes from outside is converted or refused at its door, whole; nothing
 * is replaced by a question mark on the way. */
#ifndef HATO_FORMAT_CHARSET_H
#define HATO_FORMAT_CHARSET_H

#include "base/err.h"
#include "base/mem.h"

#include <iconv.h>

/* --- UTF-8 --- */
bool ascii_only(struct slice s);
/* Bytes in the longest valid prefix: s.n when all of s is valid. NUL is a valid character here. */
size_t utf8_prefix(struct slice s);
static inline bool utf8_valid(struct slice s)
{
    return utf8_prefix(s) == s.n;
}
/* The character at the front of s: its length (1 to 4), 0 if s is empty, ERR_SYNTAX if it is ill-formed. */
int utf8_decode(struct slice s, uint32_t *cp);
/* cp must be a scalar value (not a surrogate, at most U+10FFFF). Returns the bytes written, 1 to 4. */
size_t utf8_encode(uint32_t cp, char out[4]);
/* The largest n <= at_most at which valid text s can be cut without splitting a character. */
size_t utf8_fit(struct slice s, size_t at_most);
/* Characters in valid text s. */
size_t utf8_count(struct slice s);

/* C0 and C1 controls, TAB, CR, LF and NUL among them. What no header, name or address may hold. */
static inline bool cp_is_control(uint32_t cp)
{
    return cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
}
/* Bytes before the first control character or ill-formed byte: s.n if s is valid UTF-8 of one line. */
size_t utf8_line_prefix(struct slice s);

/* --- telling encodings apart --- */
enum charset {
    CHARSET_ASCII, /* no byte above 0x7f seen: not decided, and so far it does not matter */
    CHARSET_UTF8,
    CHARSET_CP932,
};
const char *charset_name(enum charset cs); /* "UTF-8", "CP932", "US-ASCII" */

/* What the lines of a file's window are written in, by the majority of those that are not plain ASCII; the
 * window may end inside a character. Text in CP932 is almost never valid UTF-8, so the majority is clear; a
 * line that disagrees with it is the reader's bad row. */
enum charset charset_guess(struct slice window);

/* True for bytes that are valid UTF-8 with characters of three bytes or more: as CP932 they would read as
 * rare kanji followed by half-width kana, which is what UTF-8 taken for CP932 looks like, and no text. */
bool charset_looks_utf8(struct slice s);

/* --- CP932 to UTF-8. One descriptor a thread; owned by the caller. --- */
struct charset_conv {
    iconv_t cd;
    bool ready;
};
/* ERR_UNSUPPORTED if the C library lacks the table (Debian: libc6 has it). */
int charset_conv_open(struct charset_conv *c, struct err *e);
/* Append in, converted, to out. Strict: on ERR_SYNTAX *bad_at is the offset of the first byte that is no
 * character, and out is as it was. User-defined characters (F040 to F9FC, 外字) count as none: nobody else
 * has their shapes. */
int charset_from_cp932(struct charset_conv *c, struct slice in, struct buf *out, size_t *bad_at);
void charset_conv_close(struct charset_conv *c);

#endif
