/* warmup.h - the warm-ups of a script at work: one for each source, receiver and From domain.
 *
 * To limit.h a warm-up is one more limit of mail: it has a permit or says when. What it allows follows from
 * its curve and from how much went on which day (format/warmup.h). A permit that was taken is pending until
 * the mail begins, and only mail that begins is counted: the counters are those that the journal gives back
 * after a crash, where a begin record follows every mail that was counted.
 *
 * The state is recorded before the first mail of each day and whenever it changes otherwise (a retreat, by
 * hand); begin records that come later in the journal add to it. So nothing more is written for a mail than
 * the number of its From domain in its begin record.
 *
 * Answers are counted in a window that slides in sixtieths. Too many of a bad kind there, and the warm-up
 * goes one step back. Loop thread only. */
#ifndef HATO_DELIVERY_WARMUP_H
#define HATO_DELIVERY_WARMUP_H

#include "delivery/conf.h"
#include "platform/loop.h"

enum { WARMUP_PARTS = 60 };

struct warmups;

/* Read only outside of warmup.c. */
struct warmup {
    const struct conf_warmup *conf;
    struct slice isp, from; /* owned: name of the receiver, From domain */
    struct warmup_state state;
    char *why; /* of the last retreat; NULL: none, or not known */

    struct warmups *all;
    struct warmup_today today;
    int64_t looked_ms; /* UTC: today is right from here until its end; INT64_MAX: not looked */
    int64_t turned_ms, turned_until_ms; /* UTC: the state is of the day between them */
    struct pace pace;
    int64_t last_ms;     /* loop_now_ms() of the last permit; INT64_MIN: none */
    uint32_t pending;    /* permits taken for mail that has not begun */
    int64_t recorded_ms; /* UTC: when its state was last in the journal; 0: not in this process */
    struct warmup_part {
        int64_t number;
        uint32_t answers, hits;
    } parts[WARMUP_PARTS];
    void (*changed)(void *data);
    void *changed_data;
};

struct warmups_conf {
    struct loop *loop;
    const struct conf *conf;
    const struct tz *zone; /* NULL: UTC */
    void *data;
    /* Its state is to be in the journal, before whatever is written next. */
    void (*record)(void *data, const struct warmup *w);
    void (*notice)(void *data, const char *text); /* it went back */
};

/* NULL where the script warms nothing up: then everything here does nothing and costs that test. */
struct warmups *warmups_new(const struct warmups_conf *conf);
void warmups_free(struct warmups *ws);

/* The one for this receiver and From domain, made if need be. */
struct warmup *warmups_get(struct warmups *ws, const struct conf_warmup *conf, struct slice isp,
                           struct slice from);
/* In order of their making: size_t at = 0; */
struct warmup *warmups_next(const struct warmups *ws, size_t *at);
const struct tz *warmups_zone(const struct warmups *ws); /* NULL: UTC */
/* Make all that can be named without mail, so that people see them. */
void warmups_make(struct warmups *ws);
/* What it allows now, and UTC ms of its next permit. */
const struct warmup_today *warmup_today(struct warmup *w);
int64_t warmup_permit_ms(struct warmup *w);

/* --- for limit.c --- */
int64_t warmup_due_ms(struct warmup *w); /* loop_now_ms() of the next permit */
void warmup_take(struct warmup *w);
/* The mail never began; it begins. last: nobody has taken a permit after it. */
void warmup_return(struct warmup *w, bool last);
void warmup_begin(struct warmup *w, bool last);
/* As if a permit had been taken now: what the last process took is not all known. */
void warmup_spend(struct warmup *w);
/* fn is called when the next permit may be earlier than it was. */
void warmup_watch(struct warmup *w, void (*fn)(void *data), void *data);
/* "warm-up mx1×gmail (60/h, day 2)" */
void warmup_text(struct warmup *w, struct buf *out);

/* Whether its window was closed at that time (UTC); *next_ms comes down to when that changed. */
bool warmups_were_closed(const struct warmups *ws, const struct conf_warmup *conf, int64_t at_ms,
                         int64_t *next_ms);

/* How many mails it could still take today, waiting for each; before its window opens, in that of today. */
uint64_t warmup_room(struct warmup *w);

/* --- answers --- */
/* An answer to mail (at_ms: UTC). live: it may go back for it. */
void warmups_answer(struct warmups *ws, struct slice source, struct slice isp, struct slice from,
                    bool delivered, enum reply_class cls, int64_t at_ms, bool live);
/* The receiver would not talk to this source: an answer to all of its mail. */
void warmups_refused(struct warmups *ws, uint16_t source, struct slice isp, enum reply_class cls);
/* Such answers are what a step back today is for: nothing else need slow this source there. */
bool warmups_would_retreat(const struct warmups *ws, uint16_t source, struct slice isp, enum reply_class cls);

/* --- by hand --- */
/* Today is day n for the pairs of this source and isp; from empty: of every From domain. Returns how many
 * pairs. */
size_t warmups_set(struct warmups *ws, struct slice source, struct slice isp, struct slice from, uint32_t n);

/* What began up to since_ms (UTC) is about to leave the journal: states that have not been recorded since
 * then are now. True: some were. */
bool warmups_record(struct warmups *ws, int64_t since_ms);

/* --- after a restart --- */
/* NULL: the script has no such warm-up any more. */
struct warmup *warmups_find(struct warmups *ws, struct slice source, struct slice isp, struct slice from);
void warmup_restore(struct warmup *w, const struct warmup_state *s, struct slice why);
/* An earlier process began mail at at_ms (UTC), which is now_ms (loop_now_ms()), and past. */
void warmup_count(struct warmup *w, int64_t at_ms, int64_t now_ms);

#endif
