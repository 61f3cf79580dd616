/* measure_count.h - how many answers of those that count met a rule: when a measure is due.
 *
 * A tally is made by the first hit of a rule in its scope (this source at this isp …), sees every answer
 * there from then on, and goes when its rule has met nothing for long. Without a window it looks at the last
 * 20 answers. What was under way when its measure began says nothing new and is not counted again. */
#ifndef HATO_DELIVERY_MEASURE_COUNT_H
#define HATO_DELIVERY_MEASURE_COUNT_H

#include "delivery/measure.h"

enum { TALLY_HITS = 3, TALLY_ANSWERS = 20, TALLY_PAUSE_ANSWERS = 100, TALLY_BUCKETS = 12 };

struct tally {
    const char *rule; /* owned */
    enum act_scope scope;
    uint16_t source;
    const struct site *site;
    const struct campaign *campaign;
    struct slice domain; /* of the stream */
    uint32_t recent;     /* a bit for each of the last answers, the newest lowest: it was a hit */
    struct {
        uint32_t hits, answers;
    } bucket[TALLY_BUCKETS];
    int64_t bucket_ms, bucket_at; /* length of one; number of the newest */
    int64_t began_ms, hit_ms;     /* loop_now_ms() of the first answer and the last hit */
    int64_t fresh_ms;             /* what was begun before this is not counted */
    uint64_t answers;             /* since it began */
    struct tally *next;
};

/* Whether so few hits are enough that nothing need be counted. */
bool tally_is_needless(const struct act_rule *r);
struct tally *tally_new(const struct act_rule *r, const struct measure_answer *a, int64_t now_ms);
void tally_free(struct tally *t); /* one */
bool tally_is_about(const struct tally *t, const struct measure_answer *a);
/* Count an answer. True: it was a hit, and they are enough. */
bool tally_answer(struct tally *t, const struct measure_answer *a, int64_t now_ms);
/* Its measure began: it counts anew. */
void tally_start_anew(struct tally *t, int64_t now_ms);
bool tally_is_stale(const struct tally *t, int64_t now_ms);
/* Mails a day, as its answers came; 0: too few to say. */
int64_t tally_per_day(const struct tally *t, int64_t now_ms);

#endif
