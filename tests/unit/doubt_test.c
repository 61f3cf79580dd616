/* doubt_test.c - receivers that refuse with the same words for different reasons. */
#include "format/doubt.h"
#include "test.h"

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };
static const int64_t START = (int64_t)1800000000 * SECOND;

static const struct doubt_mail FIRST = {.domain = 7}, AGAIN = {.domain = 7, .again = true},
                               OTHER = {.domain = 8};

/* A mail a second; the time after them. */
static int64_t take(struct doubt *d, struct doubt_mail m, int n, int64_t now)
{
    for (int i = 0; i < n; i++, now += SECOND)
        doubt_took(d, m, now);
    return now;
}

/* Which of n refusals in a row was enough; 0: none. */
static int refuse(struct doubt *d, struct doubt_mail m, int n, int64_t now)
{
    for (int i = 1; i <= n; i++) {
        doubt_refused(d, m);
        if (doubt_ran_dry(d, now))
            return i;
    }
    return 0;
}

TEST(a_path_ran_dry_where_all_were_taken_and_then_nobody)
{
    struct doubt d = {0};
    CHECK_INT(refuse(&d, FIRST, 100, take(&d, FIRST, 30, START)), DOUBT_RUN);
    struct doubt few = {0};
    CHECK_INT(refuse(&few, FIRST, 100, take(&few, FIRST, 10, START)), DOUBT_RUN);
    struct doubt fewer = {0};
    CHECK_INT(refuse(&fewer, FIRST, 100, take(&fewer, FIRST, 9, START)), 0);
}

TEST(greylisting_refuses_first_tries_and_is_no_quota)
{
    struct doubt d = {0};
    int64_t now = START;
    for (int wave = 0; wave < 20; wave++, now += 10 * MINUTE) {
        CHECK_INT(refuse(&d, FIRST, 100, now), 0);
        now = take(&d, AGAIN, 100, now + 5 * MINUTE);
    }
}

TEST(second_tries_that_are_taken_end_a_run_and_those_refused_do_not_make_one)
{
    struct doubt d = {0};
    int64_t now = take(&d, FIRST, 30, START);
    CHECK_INT(refuse(&d, AGAIN, 1000, now), 0); /* persons of whom it was known */
    CHECK_INT(refuse(&d, FIRST, DOUBT_RUN - 1, now), 0);
    doubt_took(&d, AGAIN, now);
    CHECK_INT(refuse(&d, FIRST, 1, now), 0);
}

TEST(a_run_begins_where_at_most_two_of_five_were_refused)
{
    for (int of_five = 2; of_five <= 3; of_five++) {
        struct doubt d = {0};
        int64_t now = START;
        for (int i = 0; i < 60; i++, now += SECOND) {
            if (i % 5 < of_five)
                doubt_refused(&d, FIRST);
            else
                doubt_took(&d, FIRST, now);
        }
        CHECK_INT(refuse(&d, FIRST, 100, now), of_five == 2 ? DOUBT_RUN : 0);
    }
}

TEST(nobody_taken_within_the_hour_is_an_outage)
{
    struct doubt d = {0};
    int64_t now = take(&d, FIRST, 30, START);
    CHECK_INT(refuse(&d, FIRST, 100, now + HOUR), 0);
}

TEST(one_domain_alone_is_refused_for_itself_where_others_have_mail)
{
    struct doubt d = {0};
    int64_t now = take(&d, FIRST, 30, START);
    now = take(&d, OTHER, 1, now);
    struct doubt mixed = d, alone = d, later = d;
    CHECK_INT(refuse(&d, FIRST, 100, now), 0);
    doubt_refused(&mixed, FIRST);
    CHECK_INT(refuse(&mixed, OTHER, 100, now), DOUBT_RUN - 1); /* both */
    take(&alone, OTHER, 1, now + HOUR - 2 * SECOND);
    CHECK_INT(refuse(&alone, OTHER, 100, now + HOUR - SECOND - 1), 0);
    take(&later, OTHER, 1, now + HOUR);
    CHECK_INT(refuse(&later, OTHER, 100, now + HOUR), DOUBT_RUN); /* no other for an hour */
}

TEST(who_is_refused_again_while_others_are_taken_is_in_trouble_himself)
{
    struct doubt d = {0};
    int64_t now = take(&d, FIRST, 30, START);
    for (int i = 0; i < 10; i++) {
        CHECK_INT(doubt_is_of_persons(&d), i >= 6);
        doubt_refused(&d, AGAIN);
        now = take(&d, FIRST, 1, now);
    }
    CHECK(!doubt_is_of_many(&d));
    for (int i = 0; i < DOUBT_RUN / 2; i++) {
        CHECK(!doubt_is_of_many(&d));
        doubt_refused(&d, FIRST);
    }
    CHECK(doubt_is_of_many(&d));
    now = take(&d, AGAIN, 6, now);
    CHECK(!doubt_is_of_persons(&d));
    struct doubt dry = {0}; /* in a run, whoever comes again is refused with all others */
    take(&dry, FIRST, 30, START);
    doubt_refused(&dry, FIRST);
    for (int i = 0; i < 100; i++)
        doubt_refused(&dry, AGAIN);
    CHECK(!doubt_is_of_persons(&dry));
}

TEST(a_domain_that_took_nothing_yet_is_refused_for_itself)
{
    struct doubt d = {0};
    CHECK_INT(refuse(&d, OTHER, 100, take(&d, FIRST, 30, START)), 0);
}
