/* words.h - header fields: folding, encoded words (RFC 2047), parameters (RFC 2231), mailboxes. Inside mime.
 *
 * A field is written left to right; `col` is the column the line has come to. */
#ifndef HATO_FORMAT_MIME_WORDS_H
#define HATO_FORMAT_MIME_WORDS_H

#include "format/mime.h"

enum {
    LINE_SOFT = 78,  /* RFC 5322 2.1.1 */
    LINE_WORDS = 76, /* RFC 2047 2: a line with an encoded word */
    LINE_HARD = 998,
};

struct field {
    struct buf *out;
    size_t col;
    enum mime_charset charset; /* of encoded words; what is written must have been fitted to it */
};

struct field field_begin(struct buf *out, struct slice name, enum mime_charset charset); /* "Name:" */
void field_end(struct field *f);                                                         /* CRLF */

/* A value of one line in valid UTF-8; `what` names it in the error. */
int check_line(struct slice value, const char *what, struct err *e);

/* All of these put a blank before what they write, or a fold. */
void put_text(struct field *f, struct slice text);  /* unstructured */
int put_plain(struct field *f, struct slice ascii); /* folded at its blanks only; ERR_LIMIT: a word > 998 */
void put_mailbox(struct field *f, const struct mailbox *m);
void put_phrase(struct field *f, struct slice name); /* a display name; nothing if empty */
/* Bytes were added to f->out from `at` on, a blank first: fold before them if they do not fit the line. */
void put_behind_name(struct field *f, size_t at);

/* "; name=value", in UTF-8 whatever the field's charset is. */
void put_param(struct field *f, const char *name, struct slice value);
/* Whether put_param() writes value as a quoted-string and not by RFC 2231. */
bool param_is_plain(const char *name, struct slice value);

#endif
