/* life_test.c - whatever happens to mail, no moment of any message's life is without a reason: limits,
 * windows, measures, pauses, faults of receivers and of DNS, stops and crashes, in an order that chance
 * gives. */
#include "chance.h"
#include "delivery/timesheet.h"
#include "test.h"

#include <stdlib.h>

enum { MINUTE = 60000, STEPS = 14, SEEDS = 60 };

static bool step(struct chance *s, struct town *t, int *people)
{
    static const int64_t waits[] = {7, 400, 11000, 5 * MINUTE, 40 * MINUTE};
    switch (chance_below(s, 8)) {
    case 0:
    case 1: {
        char behind[16];
        snprintf(behind, sizeof behind, "b%d", ++*people);
        t->behind_name = behind;
        town_send_as(t, s->campaigns[chance_below(s, 3)].name, chance_domains, CHANCE_DOMAINS,
                     1 + (int)chance_below(s, 12));
        return true;
    }
    case 2:
    case 3:
        chance_steer(s, t);
        return true;
    case 4:
        if (chance_below(s, 2))
            town_close(t);
        else
            town_crash(t);
        town_rest_for(t, waits[chance_below(s, COUNT(waits))]);
        if (chance_below(s, 2))
            chance_steer(s, t);
        return town_open(t);
    default:
        town_run_for(t, waits[chance_below(s, COUNT(waits))]);
        return true;
    }
}

static bool live(uint64_t seed, struct timesheet *sheet)
{
    struct town t;
    struct chance *s = mem_zalloc(sizeof *s);
    struct buf words = {0};
    int people = 0;
    s->state = seed;
    bool fine = town_new(&t, chance_world, seed);
    if (fine) {
        town_close(&t);
        chance_write(s, &t);
        fine = town_open(&t);
    }
    for (int i = 0; fine && i < STEPS; i++)
        fine = step(s, &t, &people);
    if (fine)
        town_run_for(&t, chance_below(s, 3 * 60) * MINUTE + 1);
    if (t.d)
        town_close(&t);
    if (fine)
        fine = timesheet_read(t.fs, "state", loop_wall_ms(t.loop), false, sheet, &t.err) == 0;
    if (!fine)
        fprintf(stderr, "seed %llu: %s\n", (unsigned long long)seed, t.err.text);
    if (fine && sheet->ms[REASON_NONE]) {
        timesheet_text(sheet, &words);
        fprintf(stderr, "seed %llu: m%llu has %lld ms without a reason; %.*s\n", (unsigned long long)seed,
                (unsigned long long)sheet->worst_id, (long long)sheet->worst_ms,
                SLICE_FMT(buf_slice(&words)));
    }
    town_free(&t);
    buf_free(&words);
    free(s);
    return fine;
}

TEST(no_moment_is_without_a_reason_whatever_happens)
{
    static const unsigned must_be[] = {REASON_DOWN,      REASON_TIME,      REASON_ATTEMPT, INTERVAL_PAUSE,
                                       INTERVAL_MEASURE, INTERVAL_LIMIT,   INTERVAL_DNS,   INTERVAL_WARMUP,
                                       INTERVAL_PATH,    INTERVAL_CAMPAIGN};
    struct timesheet all = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct timesheet one = {0};
        CHECK(live(seed, &one));
        for (int k = 0; k < REASON_KINDS; k++)
            all.ms[k] += one.ms[k];
        all.messages += one.messages;
    }
    CHECK_INT(all.ms[REASON_NONE], 0);
    CHECK_INT(all.ms[REASON_TURN], 0); /* a virtual clock knows no such time */
    CHECK(all.messages > 1000);
    for (size_t i = 0; i < COUNT(must_be); i++) /* chance has met each of them */
        CHECK(all.ms[must_be[i]] > 0);
}
