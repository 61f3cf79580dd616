/* mime.h - builds a mail as it leaves on the wire (RFC 5322, 2045 to 2047, 2231, 2387, 2392, 1468, 3676).
 *
 * Promises about what mime_build() makes, whatever the values are:
 *  1. Bytes below 0x80 only (but for the address of a person whose local part is UTF-8, RFC 6532: then
 *     out->needs_smtputf8), lines of at most 998 octets that end in CRLF, no bare CR or LF, no NUL.
 *  2. No body line starts with a dot, so nothing has to be stuffed for DATA: quoted-printable writes =2E,
 *     base64 has no dots, and text that would start a line with one is not sent as 7bit.
 *  3. No line of content can be taken for a boundary: boundaries start with =_, which neither base64 nor
 *     quoted-printable can hold, and text with such a line is not sent as 7bit.
 *  4. A value with CR, LF, NUL or another control character is refused where it would go into a header, so
 *     no value can add a header. Text that is not valid UTF-8 is refused everywhere.
 *  5. No encoded word, RFC 2231 segment or quoted-printable line splits a character; in ISO-2022-JP no word
 * and no line ends in a shifted state.
 *
 * A pure function: the same message gives the same bytes. Text is UTF-8 throughout.
 *
 * Charset: UTF-8, or ISO-2022-JP where that is asked for. Then subjects, names and headers are ISO-2022-JP in
 * B (15 kanji behind `Subject: `, 18 on a continuation), bodies 7bit, or base64 where a line could be taken
 * offence at. A file name is UTF-8 all the same (RFC 2231 says which charset it is in), and so is a message
 * for which MIME_UNMAPPABLE_UTF8 says so: never a mail in two charsets. A charset that the HTML itself names
 * is not touched; the one in Content-Type goes before it.
 *
 * Structure: mixed(alternative(text, related(html, inline...)), attachment...), with no more of it than the
 * message needs.
 *
 * File names: plain quoted-string where they are ASCII, in Content-Type too; RFC 2231 in Content-Disposition
 * alone where they are not. An encoded word in name="..." beside it was the custom for mail clients up to
 * about 2007; RFC 2047 section 5 forbids it, strict parsers report it, and the clients in use in Japan (iOS
 * and Android mail, Gmail, Outlook, Thunderbird, Yahoo!) read RFC 2231. */
#ifndef HATO_FORMAT_MIME_H
#define HATO_FORMAT_MIME_H

#include "base/err.h"
#include "base/mem.h"
#include "format/addr.h"

struct mime_header {
    struct slice name, value;
};

enum mime_charset { MIME_UTF8, MIME_ISO2022JP };

/* What becomes of a message in ISO-2022-JP with characters that its repertoire (iso2022jp.h) does not have.
 */
enum mime_unmappable {
    MIME_UNMAPPABLE_UTF8,  /* the whole message is UTF-8: nothing is lost */
    MIME_UNMAPPABLE_FOLD,  /* what can be written in plain JIS X 0208 is, also where CP50221 would have it:
                              ①→(1) */
    MIME_UNMAPPABLE_GETA,  /* 〓 */
    MIME_UNMAPPABLE_ERROR, /* it is not built */
};

enum mime_kind { MIME_ATTACHMENT, MIME_INLINE };
struct mime_part {
    enum mime_kind kind;
    struct slice content_type; /* type/subtype, and "; charset=..." if wanted; empty: by the end of the
                                  filename, else application/octet-stream */
    struct slice filename;     /* UTF-8; empty: none */
    struct slice content_id;   /* MIME_INLINE: id of `cid:id`, without angle brackets */
    struct slice data;
    bool encoded; /* data was made by mime_encode_attachment() */
};

/* All slices are borrowed until mime_build() returns, but encoded data until the output is used no more. */
struct mime_message {
    struct mailbox from, to, reply_to; /* reply_to.addr.local empty: no Reply-To */
    struct slice subject;              /* blanks around it are taken off, here and in all headers */
    int64_t date_unix_s;
    int utc_offset_min;
    struct slice message_id; /* left@right, without angle brackets */
    struct slice list_id;    /* "news.example.jp" or "Name <news.example.jp>"; empty: none, as the next two */
    struct slice list_unsubscribe; /* "<https://...>, <mailto:...>" */
    struct slice feedback_id;      /* "campaign:customer:type:sender" */
    bool list_unsubscribe_post;    /* RFC 8058 one click */
    const struct mime_header
        *extra; /* unstructured text; Cc, Sender, References and such: ASCII as written */
    size_t nextra;
    struct slice text, html; /* empty: that part is absent; one must be there */
    struct slice preheader;  /* plain text, put hidden at the start of the HTML's body, escaped here */
    const struct mime_part *parts;
    size_t nparts;
    uint64_t boundary_seed;
    enum mime_charset charset;
    enum mime_unmappable unmappable; /* of MIME_ISO2022JP */
    bool flowed; /* the text leaves as format=flowed; delsp=yes (RFC 3676): readers wrap it to their width */
};

/* Zero-initialised is valid; use one per thread again and again. */
struct mime_out {
    struct buf head;    /* header fields, each ended by CRLF. The empty line behind them is NOT in it */
    struct slice *body; /* in order; point into this struct and into shared parts; until the next build */
    size_t nbody;
    uint64_t body_bytes;
    bool needs_smtputf8;
    enum mime_charset charset; /* that it is written in */
    uint32_t unmappable; /* characters that ISO-2022-JP, where it was asked for, could not show as written */

    struct buf own; /* private from here: body bytes of this message alone */
    struct buf text, flowed, coded, page;
    struct arena arena;
    size_t cap;
};

/* 0, or ERR_INVAL / ERR_MISSING / ERR_RANGE with a sentence that names the header or part; ERR_UNSUPPORTED
 * with one that names the character and where it stands (MIME_UNMAPPABLE_ERROR). */
int mime_build(const struct mime_message *m, struct mime_out *out, struct err *e);
void mime_out_free(struct mime_out *out);

/* Append data in base64 as a part's body, once for all messages that carry it. */
void mime_encode_attachment(struct buf *out, struct slice data);

/* Append `name: value CRLF`, value unstructured text: folded, in encoded words if it needs them (B or Q,
 * whichever is shorter). ERR_INVAL for a control character or bad UTF-8 in value, or a bad name. */
int mime_put_header(struct buf *out, struct slice name, struct slice value, struct err *e);

/* Append an RFC 5322 3.3 date-time. ERR_RANGE outside years 1900 to 9999 and offsets of a day. */
int mime_put_date(struct buf *out, int64_t unix_s, int utc_offset_min, struct err *e);

/* Append an unstructured header value with encoded words (RFC 2047) in UTF-8, US-ASCII or ISO-2022-JP decoded
 * and folds undone. Words of other charsets and malformed ones stay as they are. */
void mime_word_decode(struct buf *out, struct slice value);

#endif
