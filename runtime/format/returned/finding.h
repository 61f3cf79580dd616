/* finding.h - what the readers of fields and of prose hand to returned.c: who failed and what was said of it.
 * Inside returned. */
#ifndef HATO_FORMAT_RETURNED_FINDING_H
#define HATO_FORMAT_RETURNED_FINDING_H

#include "format/returned.h"
#include "format/returned/parts.h"

struct finding {
    struct slice address, original;
    enum returned_action action;
    bool has_enhanced;
    struct smtp_enhanced enhanced;
    int code;
    int phase;
    bool by_program;         /* a program said the text, not a server (Diagnostic-Code: x-unix) */
    struct slice text;       /* of the diagnostic field, or of the lines about this recipient */
    struct slice remote_mta; /* or empty */
    struct slice category;   /* the reporter's own class (X-PowerMTA-BounceCategory), or empty */
};

struct findings {
    struct finding v[RETURNED_RECIPIENTS_MAX];
    size_t n;
    struct slice common; /* prose that is about no recipient in particular */
    bool guessed;        /* the addresses stand in sentences, and only perhaps failed */
};

/* --- clues.c: findings --- */

struct finding finding_of_nobody(void);
/* Who has this address; NULL. */
struct finding *findings_of(struct findings *f, struct slice address);
/* One more, unless somebody has the address or f is full. */
void findings_add(struct findings *f, struct slice address);

/* --- fields.c --- */

/* Per-recipient fields of a delivery status (RFC 3464 2.3), as damaged as they come, added to f; per-message
 * fields into out. Returns whether there were any of either. */
bool status_read(struct slice text, struct arena *a, struct findings *f, struct returned *out);
/* Where such fields begin in plain text: the offset of a line, or -1. */
ptrdiff_t status_find(struct slice text);
/* RFC 5965 3. */
void feedback_read(struct slice text, struct arena *a, struct findings *f, struct returned *out);
/* JSON that a delivery service mails about bounces, complaints and deliveries. False: the text is no such. */
bool notification_read(struct slice text, struct arena *a, struct findings *f, struct returned *out);

/* --- prose.c --- */

/* Addresses in plain text and what is said of them. report_to: to whom the report came, in doubt the sender
 * of the original; failed: those that a header field names as failed. Fills f (empty before) and sets *sure
 * if an address stands where reports put it and not just in a sentence. */
void prose_read(struct slice text, const struct slice *report_to, size_t nto, struct slice failed,
                struct arena *a, struct findings *f, bool *sure);
/* Bytes before the copy of the original mail. */
size_t prose_end(struct slice text);

/* --- clues.c: small things found in lines --- */

/* The next address in s from *at on; *at moves behind it. It lies in s. */
bool address_next(struct slice s, size_t *at, struct slice *address);
/* The address of a field such as "rfc822; <a@example.jp>" or X-Failed-Recipients; SLICE_NONE if none is. */
struct slice address_of_field(struct slice value, struct arena *a);
bool address_same(struct slice a, struct slice b);

struct reply_clue {
    int code; /* 0: none */
    bool has_enhanced;
    struct smtp_enhanced enhanced;
    size_t at; /* where it begins */
};
/* The likeliest SMTP reply in a text; false: neither code nor status. */
bool reply_find(struct slice text, struct reply_clue *out);
/* The command whose answer the text tells of; RETURNED_PHASE_UNKNOWN. */
int phase_find(struct slice text);
/* needle in lower case ASCII, found in any case. */
ptrdiff_t ifind(struct slice s, const char *needle);

#endif
