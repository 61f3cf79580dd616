/* smtp_reply.h - SMTP replies (RFC 5321 4.2) out of a stream of bytes, enhanced status codes (RFC 3463, 2034)
 * and what an EHLO reply offers.
 *
 * Forgiving where receivers are known to be ugly: LF alone ends a line, "250" needs no text, a reply whose
 * lines name different codes keeps the first and says so. What is not a reply at all, or has no end, is an
 * error: the session is of no more use. */
#ifndef HATO_FORMAT_SMTP_REPLY_H
#define HATO_FORMAT_SMTP_REPLY_H

#include "base/mem.h"

enum {
    SMTP_REPLY_LINE_MAX = 4096,   /* bytes in a line; RFC 5321 4.5.3.1.5 says 512 */
    SMTP_REPLY_LINES_MAX = 1000,  /* in one reply */
    SMTP_REPLY_BYTES_MAX = 65536, /* in one reply */
    SMTP_REPLY_TEXT_MAX = 1024,   /* bytes of smtp_reply.text */
};

struct smtp_enhanced {
    uint16_t cls, subject, detail;
};

struct smtp_reply {
    int code;           /* 200 to 599 */
    bool code_mismatch; /* another line named a code with another first digit: nobody knows what was meant */
    bool has_enhanced;
    bool enhanced_mismatch;        /* its class is not the code's first digit; the code decides try or end */
    struct smtp_enhanced enhanced; /* the first one found */
    struct slice text; /* "550 5.1.1 No such user": the code once, then all lines joined by single spaces;
                          valid UTF-8 without control characters, cut at SMTP_REPLY_TEXT_MAX */
    const struct slice *lines; /* each line's text without code, cleaned alike */
    size_t nlines;
};

/* Zero-initialised is valid. */
struct smtp_reply_parser {
    struct smtp_reply reply;
    struct buf partial; /* a line whose end has not come yet */
    struct buf cleaned; /* texts of the lines, one behind the other */
    struct buf joined;
    struct slice *lines;
    size_t *ends; /* of each line's text in cleaned */
    size_t nlines, cap, bytes;
    int error;
    bool done; /* reply was handed out */
};

/* Take bytes off *in up to the end of one reply. 0: *out is it, borrowed until the next call. ERR_AGAIN: all
 * of *in is used and more is needed. ERR_SYNTAX: not SMTP; ERR_LIMIT: too long; after these two always the
 * same. */
int smtp_reply_next(struct smtp_reply_parser *p, struct slice *in, const struct smtp_reply **out);
/* True between the first byte of a reply and its last. */
bool smtp_reply_begun(const struct smtp_reply_parser *p);
void smtp_reply_reset(struct smtp_reply_parser *p); /* for a new stream; keeps memory */
void smtp_reply_free(struct smtp_reply_parser *p);

/* "5.1.1" at the start of s, also as "#5.1.1". ERR_SYNTAX: none. *used: bytes it takes. */
int smtp_enhanced_read(struct slice s, struct smtp_enhanced *out, size_t *used);

/* Append s as text fit for a log: valid UTF-8, '?' for each byte that is none and for each control character,
 * runs of white space as one space, none at the ends. */
void smtp_text_clean(struct slice s, struct buf *out);

/* --- EHLO --- */
enum { SMTP_AUTH_PLAIN = 1, SMTP_AUTH_LOGIN = 2, SMTP_AUTH_CRAM_MD5 = 4, SMTP_AUTH_XOAUTH2 = 8 };
struct smtp_ehlo {
    bool pipelining, chunking, eightbitmime, smtputf8, starttls, enhanced, size_offered;
    uint64_t size_max; /* bytes; 0: no limit known */
    unsigned auth;     /* SMTP_AUTH_* */
};

/* What the reply to EHLO offers; all false for a reply to HELO. */
void smtp_ehlo_read(const struct smtp_reply *r, struct smtp_ehlo *out);

#endif
