/* backoff.h - how fast a receiver lets us send, learnt from its answers alone.
 *
 *   FREE    nothing was learnt: as fast as other limits allow
 *   SHUT    refused: nothing goes before a time that doubles with every refusal, then one mail tries
 *   PACED   the rate at which it took mail over the last row, less a twentieth, and from there up again
 *
 * A receiver's quota has a window that nobody tells us. So the rate is never guessed from the refusal: when
 * it takes mail again, what it took since the row began, waiting included, is the rate that it bears; or what
 * it took in the last hour, if that is more. A minute's quota and a day's are found by the same rule.
 *
 * From there the rate grows: back to the last rate borne in steps of a tenth, rest there (an hour at least,
 * twice as long each time the same rate is found again, at most three), then by one hundredth, two, three ...
 * every five minutes, until the next refusal; a rate that is not used does not grow. Four times the last rate
 * without a refusal, or a day, and it is FREE.
 *
 * No measure on fewer than 3 refusals in the last 20 replies; one is enough once it is
 * PACED.
 *
 * Some receivers say nothing: beyond their quota connections fail, break or are told 421. That may as well be
 * a fault, so such answers weigh less: from a receiver that has taken mail for ten minutes, three in a row;
 * once it is PACED two in twenty, or where that would be many of an hour's mails, one.
 *
 * Others say what may be about the person. That it is about the path is told by who is refused (doubt.h); and
 * once is a fault: when the receiver takes mail again it is FREE as before. When that happens again within
 * six hours it is a quota, and such answers weigh as much as those that say nothing. No clock, no floating
 * point: times are UTC milliseconds that are passed in, rates are mails a day.
 */
#ifndef HATO_FORMAT_BACKOFF_H
#define HATO_FORMAT_BACKOFF_H

#include "format/doubt.h"

enum { BACKOFF_HITS = 3, BACKOFF_REPLIES = 20, BACKOFF_BUCKETS = 21 };

enum backoff_state { BACKOFF_FREE, BACKOFF_SHUT, BACKOFF_PACED };
/* What a refusal says: send less; nothing, which may mean this; what may be about the person. */
enum backoff_sign { BACKOFF_ASKS, BACKOFF_MAY_ASK, BACKOFF_DOUBTFUL };

/* Zero-initialised is FREE. Down to wait_ms is what outlives a process. */
struct backoff {
    enum backoff_state state;
    int64_t per_day;     /* PACED: the rate; SHUT: the one before, 0: there was none */
    int64_t borne;       /* mails a day that were borne when it was learnt last; 0: never */
    int64_t until_ms;    /* SHUT: nothing before this */
    int64_t rest_ms;     /* how long the rate rests before it grows above what was borne */
    int64_t refused_ms;  /* the last refusal */
    bool doubtful;       /* not FREE: for answers that may have been about persons */
    int64_t wait_ms;     /* SHUT: how long this time */
    int64_t row_ms;      /* when the row began: its first mail after the receiver opened; 0: not known */
    int64_t row_taken;   /* mails taken since */
    int64_t step_ms;     /* PACED: when the present step began */
    int64_t step_taken;  /* mails taken in it */
    int64_t step_before; /* PACED, grown: the rate before the last step */
    uint32_t growth;     /* hundredths by which the last step grew */
    uint32_t recent;     /* a bit for each of the last replies, the newest lowest: it was a refusal */
    bool trying;         /* SHUT: one mail is under way */
    bool began;          /* row_ms is set */
    bool once;           /* SHUT: it is FREE again when it opens */
    int64_t once_ms;     /* when that was; 0: never */
    struct doubt doubt;
    int64_t bucket;                  /* number of the newest bucket */
    uint32_t taken[BACKOFF_BUCKETS]; /* mails taken in three minutes each, by bucket number: the last hour */
};

/* A mail was taken, or refused. True: state or rate changed. Of mail, doubt is told first. */
bool backoff_took(struct backoff *b, int64_t now_ms);
bool backoff_refused(struct backoff *b, enum backoff_sign sign, int64_t now_ms);
/* It has taken mail for a while, within the hour too: that it takes none now may be its quota. */
bool backoff_is_taking(struct backoff *b, int64_t now_ms);

/* People say that it is over: FREE, and what was counted for that starts anew. */
void backoff_forget(struct backoff *b);

/* PACED: grow if it is time. To be asked now and then, at least every few minutes. True: something changed.
 */
bool backoff_turn(struct backoff *b, int64_t now_ms);

/* SHUT: may the one that tries go now? Whoever is told yes says backoff_try(), and if it never got an answer
 * backoff_untry(). Else true. */
bool backoff_may_send(const struct backoff *b, int64_t now_ms);
void backoff_try(struct backoff *b);
void backoff_untry(struct backoff *b);

/* It was answered in a way that says nothing about its rate: whoever tries is free to try again. */
void backoff_answered(struct backoff *b);

/* PACED: ms between two mails, rounded up; else 0. */
int64_t backoff_interval_ms(const struct backoff *b);
/* Mails a day, as they were taken in the last quarter of an hour, or since the row began; 0: none was. */
int64_t backoff_recent_per_day(const struct backoff *b, int64_t now_ms);

#endif
