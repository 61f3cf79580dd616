/* addr.h - e-mail addresses: people's (RFC 5321 4.1.2 Mailbox, RFC 6531 for UTF-8) and `Name <address>`
 * (RFC 5322 3.4), as people write them in scripts and CSV files.
 *
 * Accepted beyond the grammar: local parts with leading, trailing or doubled dots, bare or quoted, which
 * Japanese carriers once gave out (a..b@docomo.ne.jp, a.@ezweb.ne.jp). Refused though the grammar has them:
 * comments, domain literals, groups, source routes, domains without a dot, a numeric last label.
 *
 * No accepted value holds a control character, CR, LF or NUL anywhere, so an address can go into an SMTP
 * command or a header as it is. All slices that come out live in the caller's arena. */
#ifndef HATO_FORMAT_ADDR_H
#define HATO_FORMAT_ADDR_H

#include "base/err.h"
#include "base/mem.h"

enum {
    ADDR_LOCAL_MAX = 64,   /* octets, RFC 5321 4.5.3.1.1 */
    ADDR_DOMAIN_MAX = 253, /* octets of the ASCII form: what fits a DNS name of 255 on the wire (RFC 1035) */
    ADDR_LABEL_MAX = 63,
    ADDR_NAME_MAX = 320, /* octets of a display name */
};

struct addr {
    struct slice local;        /* without quotes and backslashes, else as written; at least 1 octet */
    struct slice domain;       /* as written */
    struct slice domain_ascii; /* A-labels in lower case (UTS #46, non-transitional): what DNS is asked */
    bool needs_quoting;        /* local is no dot-atom: quoted in headers, and first so in RCPT */
    bool needs_smtputf8;       /* local has non-ASCII characters (RFC 6531) */
};

struct mailbox {
    struct slice name; /* display name in UTF-8, unquoted; empty: none */
    struct addr addr;
};

/* Parse a bare address: local@domain, blanks around it ignored. ERR_SYNTAX with a sentence that names the
 * address and what is wrong with it. The common case (ASCII dot-atom) costs some 0.1 us. */
int addr_parse(struct slice s, struct arena *a, struct addr *out, struct err *e);

/* Parse `Name <local@domain>`, `"Name, in quotes" <local@domain>` or a bare address. A name that is no phrase
 * of RFC 5322 (`Yamada, Taro <...>`, often the value of a column) is taken as it stands: who writes it quotes
 * it. */
int addr_parse_mailbox(struct slice s, struct arena *a, struct mailbox *out, struct err *e);

/* Append the key under which two addresses are one person: the local part unquoted and in ASCII lower case,
 * '@', domain_ascii. Taro@ = taro@; "a..b"@ = a..b@. */
void addr_dup_key(struct buf *out, const struct addr *a);

/* Append local@domain for MAIL, RCPT and headers (no angle brackets): a non-ASCII domain as A-labels, else
 * everything as written. ADDR_QUOTED puts a local part that needs it in quotes; ADDR_RAW never does, which
 * some old carrier hosts want, and which may be no valid address. A local part that could not be read back
 * raw (blanks, quotes, specials) is quoted all the same. */
enum addr_form { ADDR_QUOTED, ADDR_RAW };
void addr_smtp(struct buf *out, const struct addr *a, enum addr_form form);

#endif
