/* doubt.h - whether answers that may be about the person are about how much we send, told by who gets them.
 *
 * `451 4.3.0 try later` to RCPT or to the message is what greylisting says, a mailbox in trouble, and many a
 * receiver whose quota is used up. The words do not tell them apart; who is refused, and when, does. Looked
 * at are mails that are tried for the first time:
 *
 *   greylisting            refuses all of them, and takes those that come again
 *   persons in trouble     are so many in a hundred, between others who are taken, and refused again
 *   one domain's mailboxes no other domain is refused
 *   a quota                takes nearly all, of every domain, and from one mail to the next none
 *
 * So the path ran dry when DOUBT_RUN of them in a row were refused, nothing was taken in between (no second
 * try either), at most two of five were refused of the DOUBT_RUN before, somebody was taken within the hour,
 * and more than one domain is refused, or only one had mail in that hour.
 *
 * No clock: times are UTC milliseconds that are passed in; a domain is any number that stands for it. */
#ifndef HATO_FORMAT_DOUBT_H
#define HATO_FORMAT_DOUBT_H

#include "base/mem.h"

enum { DOUBT_RUN = 20 };

/* Whose mail was answered. */
struct doubt_mail {
    uint64_t domain; /* not 0 */
    bool again;      /* it was tried before */
};

/* Zero-initialised knows nothing. */
struct doubt {
    uint32_t first; /* a bit for each of the last first tries, the newest lowest: it was refused */
    uint8_t seen;   /* how many those are */
    uint8_t before, before_refused; /* that, when the run began */
    uint32_t run;                   /* first tries refused since anything was taken */
    uint64_t run_domain;            /* whose the run's first was */
    bool run_mixed;                 /* and another's after it */
    uint64_t domain;                /* whose first try was taken last */
    int64_t mixed_ms;               /* when that was another domain's than the one before; 0: never */
    int64_t took_ms;                /* when that was */
    uint32_t persons; /* of 256 second tries beside others' success, lately: they were refused again */
};

void doubt_took(struct doubt *d, struct doubt_mail m, int64_t now_ms);
void doubt_refused(struct doubt *d, struct doubt_mail m);
/* After a refusal. */
bool doubt_ran_dry(const struct doubt *d, int64_t now_ms);
/* Who is refused is mostly refused again while others are taken: single refusals are about persons, ... */
bool doubt_is_of_persons(const struct doubt *d);
/* ... unless every other first try is refused. */
bool doubt_is_of_many(const struct doubt *d);

#endif
