/* reply_class.h - the one vocabulary for replies, bounces and reports: what went wrong, what a final failure
 * does to the person, and how the report calls it. The names are part of the product and never change. */
#ifndef HATO_FORMAT_REPLY_CLASS_H
#define HATO_FORMAT_REPLY_CLASS_H

#include "base/mem.h"

/* The numbers are stored in the spool: only ever add at the end. */
enum reply_class {
    CLASS_UNKNOWN,
    CLASS_NO_SUCH_USER,
    CLASS_MOVED,
    CLASS_NO_SUCH_DOMAIN,
    CLASS_NOT_ACCEPTING, /* null MX, 521, 556 */
    CLASS_INACTIVE,
    CLASS_MAILBOX_FULL,
    CLASS_FILTERED, /* by the person's own filter */
    CLASS_BLOCKED,
    CLASS_LOW_REPUTATION,
    CLASS_SENDER_REJECTED,
    CLASS_NO_PTR,
    CLASS_AUTH_FAILED,
    CLASS_RATE_LIMITED,
    CLASS_TOO_MANY_CONNECTIONS,
    CLASS_POLICY,
    CLASS_SECURITY,
    CLASS_RELAYING_DENIED, /* usually a domain moved away */
    CLASS_TLS_FAILED,
    CLASS_SPAM,
    CLASS_VIRUS,
    CLASS_CONTENT,
    CLASS_NOT_RFC,
    CLASS_TOO_LARGE,
    CLASS_OVER_LIMIT,
    CLASS_NETWORK,
    CLASS_GREYLISTED,
    CLASS_SYSTEM,
    CLASS_SYSTEM_FULL,
    CLASS_MAILER,
    CLASS_PROTOCOL,
    CLASS_EXPIRED, /* only where no reply ever came */
    CLASS_FEEDBACK,
    CLASS_AUTO_REPLY,
    CLASS_DELIVERED,
};
enum { CLASS_COUNT = CLASS_DELIVERED + 1 };

/* What a final failure does to the person: hard suppresses, soft counts once a message, block does nothing.
 */
enum class_kind { KIND_NONE, KIND_HARD, KIND_SOFT, KIND_BLOCK };

enum class_group {
    GROUP_UNKNOWN,
    GROUP_INVALID_RECIPIENT,
    GROUP_INACTIVE_OR_FULL,
    GROUP_FILTERED,
    GROUP_REPUTATION_BLOCK,
    GROUP_RATE,
    GROUP_POLICY,
    GROUP_CONTENT,
    GROUP_TRANSIENT_OR_SYSTEM,
    GROUP_NOT_A_BOUNCE,
};

/* The nine lines of the error report, in its order. */
enum report_category {
    REPORT_NO_USER,
    REPORT_NO_DOMAIN,
    REPORT_PERMANENT_UNKNOWN,
    REPORT_CONNECTION,
    REPORT_MAILBOX_FULL,
    REPORT_REFUSED,
    REPORT_TOO_LARGE,
    REPORT_TEMPORARY_UNKNOWN,
    REPORT_UNKNOWN,
    REPORT_NOT_AN_ERROR, /* and the tenth value, which is none of them */
};
enum { REPORT_COUNT = REPORT_UNKNOWN + 1 };

/* Names as events, rules and scripts have them, which never change; never NULL ("?" for a number that is
 * none). */
const char *class_name(enum reply_class c);
const char *class_kind_name(enum class_kind k);            /* "none", "hard", "soft", "block" */
const char *class_group_name(enum class_group g);          /* "invalid_recipient" ... */
int class_parse(struct slice name, enum reply_class *out); /* ERR_NOTFOUND */
struct slice class_near(struct slice word);                /* the name probably meant, or SLICE_NONE */

enum class_group class_group_of(enum reply_class c);
/* code: of the reply, 0 if there was none; unknown and not_accepting depend on it (a null MX counts as 5xx:
 * 556). */
enum class_kind class_kind_of(enum reply_class c, int code);
enum report_category class_report_of(enum reply_class c, int code);

const char *report_label_en(enum report_category r); /* "permanent: no such user" */
const char *report_label_ja(enum report_category r);

#endif
