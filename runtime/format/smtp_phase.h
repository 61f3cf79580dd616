/* smtp_phase.h - where an SMTP session stands; events and rules have these words, which never change. */
#ifndef HATO_FORMAT_SMTP_PHASE_H
#define HATO_FORMAT_SMTP_PHASE_H

#include "base/err.h"
#include "base/mem.h"

/* The numbers are stored in the spool: only ever add at the end. */
enum smtp_phase {
    SMTP_PHASE_CONNECT,
    SMTP_PHASE_BANNER,
    SMTP_PHASE_EHLO,
    SMTP_PHASE_STARTTLS,
    SMTP_PHASE_AUTH,
    SMTP_PHASE_MAIL,
    SMTP_PHASE_RCPT,
    SMTP_PHASE_DATA, /* the DATA command */
    SMTP_PHASE_EOD,  /* the final dot or the last BDAT */
    SMTP_PHASE_QUIT,
};
enum { SMTP_PHASE_COUNT = SMTP_PHASE_QUIT + 1 };

/* "connect", "banner" ...; "?" for a number that is no phase. Never NULL. */
static inline const char *smtp_phase_name(enum smtp_phase phase)
{
    static const char *const names[SMTP_PHASE_COUNT] = {"connect", "banner", "ehlo", "starttls", "auth",
                                                        "mail",    "rcpt",   "data", "eod",      "quit"};
    return (unsigned)phase < SMTP_PHASE_COUNT ? names[phase] : "?";
}

/* By name, as written in rules and worlds: lower case. ERR_NOTFOUND. */
static inline int smtp_phase_parse(struct slice name, enum smtp_phase *out)
{
    for (int i = 0; i < SMTP_PHASE_COUNT; i++)
        if (slice_eq(name, slice_cstr(smtp_phase_name((enum smtp_phase)i)))) {
            *out = (enum smtp_phase)i;
            return 0;
        }
    return ERR_NOTFOUND;
}

#endif
