/* report.h - what came of it: counts by isp and campaign, errors by class and by the nine lines of the error
 * report. Fed with events as they happen or as they are read back from the journal.
 *
 * A recipient that was accepted, or was waiting from an earlier run, is in exactly one of delivered, bounced,
 * expired, suppressed, cancelled and waiting; report_unaccounted() says whether that came out. */
#ifndef HATO_DELIVERY_REPORT_H
#define HATO_DELIVERY_REPORT_H

#include "base/map.h"
#include "format/reply_class.h"
#include "format/record.h"

/* One line: an isp, a campaign, or all. */
struct report_row {
    struct slice name; /* owned by the report; empty: no isp was found, or hato.send */
    uint64_t accepted; /* not counted by isp: who will get it is not known then */
    uint64_t delivered, bounced, expired, suppressed, cancelled;
    uint64_t waiting;                   /* recipients; "deferred" to people */
    uint64_t deferrals, ambiguous;      /* events: how often a try ended without an end */
    uint64_t bounced_later, complained; /* events of returned mail, after the end */
};

struct report {
    struct report_row total;
    struct map isps, campaigns; /* by name → struct report_row, in order of appearance; "" has no map key */
    struct report_row no_isp, no_campaign;
    uint64_t errors[REPORT_COUNT]; /* of bounced, expired and bounced later */
    uint64_t classes[CLASS_COUNT]; /* the same */
    uint64_t unmappable,
        unmappable_mails; /* delivered: characters that their charset lacked, and mails with such */
    /* The caller's: */
    uint64_t carried;       /* recipients that waited from before what was counted */
    uint64_t known;         /* rows that were accepted before */
    uint64_t rejected_rows; /* of the source: never accepted */
    uint64_t forgotten;     /* settled so long ago that the journal no longer says how */
    int64_t elapsed_ms;
};

void report_init(struct report *r, struct hash_key hk);
void report_free(struct report *r);

/* n recipients were accepted for this campaign. */
void report_accepted(struct report *r, struct slice campaign, uint64_t n);
/* isp and campaign: the names behind the event's numbers; empty: none. Types that say nothing about delivery
 * are passed over. */
void report_event(struct report *r, const struct rec_event *ev, struct slice isp, struct slice campaign);
/* n recipients wait at the end. */
void report_waiting(struct report *r, struct slice isp, struct slice campaign, uint64_t n);

uint64_t report_errors(const struct report *r); /* bounced, expired and bounced later */
/* Accepted and carried, less all that came of them: 0 unless something is not told. */
int64_t report_unaccounted(const struct report *r);

/* The end report, in columns, with its last line end. */
void report_text(const struct report *r, struct buf *out);
/* One JSON object, no line end: the totals that `hato run --json` ends with first, then detail. */
void report_json(const struct report *r, struct buf *out);

#endif
