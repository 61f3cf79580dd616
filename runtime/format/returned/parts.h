/* parts.h - a mail taken apart: header fields and leaf parts as UTF-8 text. Inside returned.
 *
 * The one place of hato that knows GMime. Bounds are ours: what lies beyond them is not looked at, and a
 * report has what matters at its front. */
#ifndef HATO_FORMAT_RETURNED_PARTS_H
#define HATO_FORMAT_RETURNED_PARTS_H

#include "base/mem.h"

enum {
    PARTS_MAX = 64,          /* leaves that are kept */
    MAILS_MAX = 8,           /* the mail itself and those it carries */
    MAIL_DEPTH_MAX = 32,     /* multiparts and messages in each other */
    MAIL_FIELDS_MAX = 400,   /* header fields of one mail */
    FIELD_BYTES_MAX = 4096,  /* of one field's value, decoded */
    PART_BYTES_MAX = 131072, /* of one part, decoded */
};

struct field {
    struct slice name, value; /* value: on one line, encoded words decoded (RFC 2047), clean UTF-8 */
};
struct fields {
    struct field *v;
    size_t n;
};

enum part_kind {
    PART_TEXT, /* text/plain, and whatever says it is text and is none of the next */
    PART_HTML,
    PART_STATUS,   /* message/delivery-status, message/global-delivery-status */
    PART_FEEDBACK, /* message/feedback-report */
    PART_RECEIPT,  /* message/disposition-notification: somebody or something saw it (RFC 8098) */
    PART_HEADERS,  /* text/rfc822-headers, message/global-headers: fields, not text */
    PART_OTHER,    /* only that it is there */
};
struct part {
    enum part_kind kind;
    size_t mail;       /* index into mails: whose part it is */
    struct slice text; /* UTF-8, lines end in LF; HTML as text */
};

struct mail {
    struct fields head;
    struct slice type; /* of the whole: "multipart/report"; lower case */
    size_t parent;     /* index of the mail that carries it; its own for the first */
};

struct mail_parts {
    struct mail mails[MAILS_MAX]; /* [0] is the mail itself */
    size_t nmails;
    struct part parts[PARTS_MAX];
    size_t nparts;
};

/* GMime's tables, once for a process: on one thread before the first parts_read(). Never undone. */
void parts_start(void);

/* Take bytes apart; never fails, there may be nothing in it. All that comes out lives in the arena, which
 * must not be used by another thread meanwhile. */
void parts_read(struct slice bytes, struct arena *a, struct mail_parts *out);

/* The first field of that name, any case; SLICE_NONE. */
struct slice fields_get(const struct fields *f, const char *name);
/* "Name: value" lines with their continuations, as far as they look like that. Returns the bytes used. */
size_t fields_read(struct slice text, struct arena *a, struct fields *out);

#endif
