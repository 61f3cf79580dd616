/* content.h - what a campaign says: templates and files, compiled once and shared by the assembly threads.
 *
 * A content comes from the script (struct conf_content) or from its frozen copy in the state folder. It is
 * immutable but for the list of columns it is bound to, which the loop may add to while threads read. */
#ifndef HATO_DELIVERY_CONTENT_H
#define HATO_DELIVERY_CONTENT_H

#include "delivery/conf.h"
#include "format/liquid.h"
#include "format/mime.h"

struct content;

/* Compile every template of it (HTML with escaping by place) and encode its files. name: the campaign's, for
 * errors. All bytes are copied. */
int content_compile(const struct conf_content *c, struct slice name, struct content **out, struct err *e);
/* Before it is used: a row for which ISO-2022-JP has not every character is a bad one. */
void content_must_map(struct content *c);
void content_free(struct content *c); /* NULL is fine */

/* --- freezing --- */

/* One msgpack value that holds all of it; the same content gives the same bytes. */
void content_freeze(const struct conf_content *c, struct buf *out);
/* The reverse; slices are borrowed from frozen, arrays live in a. ERR_SYNTAX, ERR_VERSION. */
int content_thaw(struct slice frozen, struct arena *a, struct conf_content *out);
/* SHA-256 of frozen bytes in hex: 64 characters and NUL. */
void content_hash(struct slice frozen, char out[65]);
/* What differs between two contents, for people: "text (hello.txt)", "header X-Kind" …; false: nothing does.
 */
bool content_difference(const struct conf_content *was, const struct conf_content *is, struct buf *out);

/* --- values --- */

/* Loop thread: from now on records with this number of columns (their names joined by 0x1f) can be rendered.
 * Adding a number again changes nothing. */
void content_add_columns(struct content *c, uint32_t number, struct slice columns);

/* Would a template print a value that is missing, or a link that is none? cells: one a column, in order; an
 * empty one is missing. ERR_MISSING and others, with a sentence that names template, line and value. */
int content_missing(const struct content *c, uint32_t columns, const struct slice *cells,
                    struct slice address, struct arena *a, struct err *e);
/* The same for values in msgpack, an array with one value a column; and ERR_INVAL for one that would break a
 * line of a header, or is not UTF-8; ERR_UNSUPPORTED for a character that content_must_map() is about. */
int content_missing_values(const struct content *c, uint32_t columns, struct slice values,
                           struct slice address, struct arena *a, struct err *e);

/* --- rendering; any thread --- */

struct content_values {
    struct slice address; /* {{ email }} where no column has that name */
    struct slice token;   /* {{ token }} likewise */
    int64_t now_s;        /* what 'now' is in the date filter */
    int (*offset_at)(void *arg, int64_t unix_s);
    void *offset_arg;
};

/* Everything rendered; slices stay until the next render with the same scratch. Empty: the content has none.
 */
struct content_rendered {
    struct slice subject, preheader, from, reply_to, text, html;
    const struct mime_header *headers; /* in the arena */
    size_t nheaders;
};

struct content_scratch {
    struct buf *out; /* one for each template */
    size_t n;
};
void content_scratch_free(struct content_scratch *s);

/* columns: of the record; 0: none. values: raw msgpack array, or empty. Strict: a missing value is an error
 * unless content says otherwise. */
int content_render(const struct content *c, uint32_t columns, struct slice values,
                   const struct content_values *v, struct content_scratch *s, struct arena *a,
                   struct content_rendered *out, struct err *e);

/* Its files, encoded; they live as long as the content. */
const struct mime_part *content_parts(const struct content *c, size_t *n);

#endif
