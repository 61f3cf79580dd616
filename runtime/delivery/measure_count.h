/* measure_count.h - how many answers of those that count met a rule: when a measure is due.
 *
 * A tally is made by the first hit of a rule in its scope (this source at this isp …), sees every answer
 * there from then on, and goes when its rule has met nothing for long. Without a window it looks at the last
 * 20 answers. What was under way when its measure began says nothing new and is not counted again.
 *
 * It outlives the process: its record is written at each hit, and at each answer that leaves no event or
 * whose event does not say where it came from (of a site); the events behind the record are the other
 * answers. So nothing is written for mail that is taken. Buckets are counted from the first answer: a process
 * that starts later divides time as the one before did. */
#ifndef HATO_DELIVERY_MEASURE_COUNT_H
#define HATO_DELIVERY_MEASURE_COUNT_H

#include "delivery/measure.h"

enum { TALLY_HITS = 3, TALLY_ANSWERS = 20, TALLY_PAUSE_ANSWERS = 100, TALLY_BUCKETS = 12 };

/* Of whom an answer speaks. */
struct tally_who {
    uint16_t source;
    struct slice site, from, campaign; /* key, From domain, name; empty: it has none */
};
struct tally_who tally_who(const struct measure_answer *a);

struct tally {
    const char *rule, *what; /* owned; what: by scope, the site, From domain or campaign; "" */
    enum act_scope scope;
    uint16_t source;
    uint32_t recent; /* a bit for each of the last answers, the newest lowest: it was a hit */
    struct {
        uint32_t hits, answers;
    } bucket[TALLY_BUCKETS];
    int64_t bucket_ms, bucket_at; /* length of one; number of the newest, from began_ms */
    int64_t began_ms, hit_ms;     /* loop_now_ms() of the first answer and the last hit */
    int64_t fresh_ms;             /* what was begun before this is not counted */
    uint64_t answers;             /* since it began */
    uint64_t message;             /* restored: whose event is in it already, and of when (UTC) */
    int64_t message_ms;
    struct tally *next;
};

/* Whether so few hits are enough that nothing need be counted. */
bool tally_is_needless(const struct act_rule *r);
struct tally *tally_new(const struct act_rule *r, const struct tally_who *who, int64_t now_ms);
void tally_free(struct tally *t); /* one */
bool tally_is_about(const struct tally *t, const struct tally_who *who);
/* It counts for this rule; false also where the script has changed what the rule of this name counts. */
bool tally_is_of(const struct tally *t, const struct act_rule *r);
/* Count an answer to what was begun at begun_ms, which met this rule (NULL: none). True: it was a hit, and
 * they are enough. */
bool tally_answer(struct tally *t, const struct act_rule *met, int64_t begun_ms, int64_t now_ms);
/* Its measure began: it counts anew. */
void tally_start_anew(struct tally *t, int64_t now_ms);
bool tally_is_stale(const struct tally *t, int64_t now_ms);
/* Mails a day, as its answers came; 0: too few to say. */
int64_t tally_per_day(const struct tally *t, int64_t now_ms);

/* --- the journal --- */
/* behind_ms: UTC - this = loop_now_ms(). buckets is appended to room, which must outlive out. */
void tally_record(const struct tally *t, int64_t behind_ms, struct buf *room, struct rec_tally *out);
/* NULL: it says nothing that makes sense. source: its index. */
struct tally *tally_restore(const struct rec_tally *r, uint16_t source, int64_t behind_ms);

#endif
