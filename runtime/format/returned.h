/* returned.h - reads what comes back: the bytes of a mail in, which recipients of which mail failed and why
 * out.
 *
 *   returned_reader_new(rules, &reader, &e)               once
 *   returned_read(reader, bytes, &r, &e)                  one mail; r is zero-initialised or was read before
 *   returned_free(&r); returned_reader_free(reader)
 *
 * Accepted, in this order of trust:
 *   - message/delivery-status (RFC 3464, and RFC 6533 with UTF-8 addresses), also where its fields stand in
 *     plain text, lack their blank lines, or sit in a mail inside the mail;
 *   - message/feedback-report (RFC 5965, 6591 and the older fields), and the reports that only carry the mail
 *     with a field of the receiver's;
 *   - notifications in JSON as delivery services mail them;
 *   - prose: addresses beside what a server answered, SMTP transcripts, phrases in many languages, any
 * charset. What is read ends where the copy of the original mail begins;
 *   - automatic replies (RFC 3834, and the fields and subjects that came before it).
 * Anything else has the format `none` and no recipients. A structure that says nothing gives way to the next
 * in the list, so damage costs precision, never an error.
 *
 * Bounds: RETURNED_BYTES_MAX in, of which RETURNED_LOOK_MAX are looked at (the copy of the original stands at
 * the end); RETURNED_RECIPIENTS_MAX out. Texts that come out are clean UTF-8 on one line. No clock, no I/O.
 */
#ifndef HATO_FORMAT_RETURNED_H
#define HATO_FORMAT_RETURNED_H

#include "base/err.h"
#include "base/mem.h"
#include "format/reply_class.h"
#include "format/rule.h"
#include "format/smtp_phase.h"
#include "format/smtp_reply.h"

enum {
    RETURNED_BYTES_MAX = 64 << 20,
    RETURNED_LOOK_MAX = 512 << 10,
    RETURNED_RECIPIENTS_MAX = 256,
    RETURNED_TEXT_MAX = 2048, /* bytes of a diagnostic text */
    RETURNED_TO_MAX = 8,
};

enum returned_format { RETURNED_NONE, RETURNED_TEXT, RETURNED_AUTO_REPLY, RETURNED_ARF, RETURNED_DSN };
const char *returned_format_name(enum returned_format f); /* "none", "text", "auto_reply", "arf", "dsn" */

/* RFC 3464 2.3.3. Only failed is final. */
enum returned_action {
    ACTION_NONE,
    ACTION_FAILED,
    ACTION_DELAYED,
    ACTION_DELIVERED,
    ACTION_RELAYED,
    ACTION_EXPANDED
};
const char *returned_action_name(enum returned_action a); /* "" for none, "failed" ... */

enum { RETURNED_PHASE_UNKNOWN = -1 };

struct returned_recipient {
    struct slice address;  /* who it was for when it failed; may be empty */
    struct slice original; /* as the sender wrote it (Original-Recipient), where it is said; may be empty */
    enum returned_action action;
    struct slice status;           /* "5.1.1", empty: none was said */
    struct smtp_enhanced enhanced; /* the same as numbers */
    int code;                      /* reply code, 0: none */
    int phase;                     /* enum smtp_phase or RETURNED_PHASE_UNKNOWN */
    struct slice text;             /* what the server, or the notice, said about it */
    struct slice remote_mta;       /* host that said so; may be empty */
    enum reply_class cls;
    enum class_kind kind; /* none where nothing is final yet */
    const char *rule;     /* what gave the class; as long as the reader */
};

/* What is known of the mail that came back, from the copy that the report carries. Empty: not known. */
struct returned_original {
    struct slice return_path, from, to, message_id, subject, list_id, list_unsubscribe;
};

/* Zero-initialised is valid. All slices live until the next returned_read() or returned_free(). */
struct returned {
    enum returned_format format;
    struct returned_recipient *recipients;
    size_t nrecipients;
    /* To whom the report came, most exact first (Delivered-To, X-Original-To, Envelope-To, To): one of them
     * is the return path of the original, with what VERP put into it. */
    struct slice to[RETURNED_TO_MAX];
    size_t nto;
    struct slice from, subject;
    struct slice envelope_id;   /* Original-Envelope-Id (RFC 3461 4.4), or empty */
    struct slice reporting_mta; /* or empty */
    struct slice feedback_type; /* "abuse", "fraud", "opt-out" ... of a feedback report */
    struct returned_original original;
    struct arena arena; /* private */
};

/* One reader a thread, and the first of the process before other threads start (GMime and GLib keep tables of
 * the process). rules: those for replies, asked for what servers said; borrowed while the reader lives. The
 * phrases of whole mails are the reader's own (lua/hato/returned.rules). Errors are rules_compile()'s. */
struct returned_reader;
int returned_reader_new(const struct rules *rules, struct returned_reader **out, struct err *e);
void returned_reader_free(struct returned_reader *r); /* may be NULL */

/* Whose mailboxes a mail host or a recipient's domain has, as rules name them (isps_who() in floor 4 knows);
 * out is empty, host and domain may be. Without it rules for one receiver do not match. */
struct returned_isp {
    struct slice isp, provider;
};
typedef void returned_isp_fn(void *data, struct slice host, struct slice domain, struct returned_isp *out);
void returned_reader_isps(struct returned_reader *r, returned_isp_fn *fn, void *data);

/* ERR_LIMIT: more bytes than RETURNED_BYTES_MAX; *out is as it was. */
int returned_read(struct returned_reader *r, struct slice bytes, struct returned *out, struct err *e);
void returned_free(struct returned *r);

#endif
