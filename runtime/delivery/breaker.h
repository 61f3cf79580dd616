/* breaker.h - counts that stop mail before a receiver does: hard errors of a campaign, complaints about a
 * stream, each at one isp.
 *
 *   errors      hard errors ÷ attempts of the campaign at this isp, since it began or was let go on by hand.
 *               An error that came back by mail counts too.
 *   complaints  complaints ÷ delivered of the stream at this isp in the last `within`, in 24 steps.
 *
 * From `least` attempts (or deliveries) on a share of `warn` is told once, a share of `stop` stops. What was
 * stopped is not counted on; let go by hand it begins at nothing, so that it is not stopped again by what
 * people have seen already. Tests (REC_FLAG_TEST) do not count.
 *
 * Everything follows from the events that it is fed, so the journal is its store. Of one campaign or stream
 * at one isp 32 bytes are kept; a stream's deliveries have their steps once there were 64 of them, and those
 * before count as if they came then. */
#ifndef HATO_DELIVERY_BREAKER_H
#define HATO_DELIVERY_BREAKER_H

#include "format/record.h"

enum breaker_kind { BREAKER_ERRORS, BREAKER_COMPLAINTS, BREAKER_KINDS };

enum {
    BREAKER_WHOLE = 1000000,
    BREAKER_STEPS = 24,
    BREAKER_WITHIN_LEAST_MS = 60000,
    BREAKER_MOST = 1 << 19 /* pairs; what comes then is not counted */
};

struct breaker_bar {
    uint32_t least;
    uint32_t warn_ppm, stop_ppm; /* of BREAKER_WHOLE; 0: never */
};
struct breaker_conf {
    struct breaker_bar of[BREAKER_KINDS];
    int64_t within_ms; /* of complaints; at least BREAKER_WITHIN_LEAST_MS */
};
/* 500, 3 %, 10 %; 1,000, 0.1 %, 0.3 % in 24 h. */
struct breaker_conf breaker_default(void);

struct breaker_finding {
    enum breaker_kind kind;
    bool stops;   /* else it warns */
    uint32_t who; /* number of the campaign (errors) or the stream (complaints) */
    uint32_t isp; /* its number */
    uint32_t bad, of;
};

struct breakers;
struct breakers *breakers_new(const struct breaker_conf *conf);
void breakers_free(struct breakers *b); /* NULL is fine */

/* Every event, in order. Returns how many findings it makes. While the journal is replayed (told false)
 * nothing is found: what crosses a bar then is warned of no more, and stops with the next event unless
 * breaker_stopped() says that it did. */
size_t breaker_event(struct breakers *b, const struct rec_event *ev, bool told,
                     struct breaker_finding out[BREAKER_KINDS]);
/* It was stopped; it may go on. As it happens, and as the journal is replayed. */
void breaker_stopped(struct breakers *b, enum breaker_kind kind, uint32_t who, uint32_t isp);
void breaker_lifted(struct breakers *b, enum breaker_kind kind, uint32_t who, uint32_t isp);

/* "12 hard errors in 100 attempts (12 %)" */
void breaker_text(const struct breaker_finding *f, struct buf *out);
size_t breaker_pairs(const struct breakers *b);

#endif
