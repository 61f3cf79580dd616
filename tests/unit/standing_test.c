/* standing_test.c - where a message stands after each record of it. */
#include "delivery/standing.h"
#include "test.h"

static struct rec_event event(uint8_t type, int64_t at_ms)
{
    return (struct rec_event){.type = type,
                              .at_ms = at_ms,
                              .text = SLICE_NONE,
                              .class_name = SLICE_NONE,
                              .recipient = SLICE_NONE,
                              .rule = SLICE_NONE,
                              .meta = SLICE_NONE};
}

TEST(standing_follows_a_message_through_its_attempts)
{
    struct standing s = {0};
    standing_recipient(&s, &(struct rec_recipient){.due_ms = 500});
    CHECK(s.state == STANDING_WAITING && !s.tried && s.due_ms == 500);

    /* An attempt without an end counts, and is due again at once. */
    standing_begin(&s, &(struct rec_begin){.at_ms = 1000, .attempt = 1, .source = 3, .date_s = 1});
    CHECK(s.state == STANDING_IN_FLIGHT && s.attempts == 1 && s.due_ms == 0 && s.begun_ms == 1000);

    struct rec_event put_off = event(EVENT_DEFERRED, 2000);
    put_off.attempt = 1;
    put_off.charged = true;
    put_off.phase = 7;
    put_off.code = 451;
    put_off.enh_class = 4;
    put_off.next_due_ms = 9000;
    put_off.text = S("451 4.7.1 Greylisted");
    put_off.class_name = S("greylisted");
    standing_event(&s, &put_off);
    CHECK(s.state == STANDING_WAITING && s.tried && s.charged && s.replied && s.due_ms == 9000);
    CHECK(s.cls == CLASS_GREYLISTED && s.code == 451 && s.clock_ms == 1000 && s.source == 3);

    /* Taken back before anything was answered: the last reply stays. */
    standing_begin(&s, &(struct rec_begin){.at_ms = 9000, .attempt = 2, .source = 3, .date_s = 1});
    CHECK_INT(s.attempts, 2);
    struct rec_event back = event(EVENT_DEFERRED, 9100);
    back.attempt = 1;
    back.text = S("the session ended before its turn");
    standing_event(&s, &back);
    CHECK(s.attempts == 1 && s.due_ms == 0 && !s.charged && s.code == 451);
    CHECK_STR(slice_cstr(s.text), S("451 4.7.1 Greylisted"));

    struct rec_event held = event(EVENT_HELD, 9200);
    held.text = S("line 3: no name");
    standing_event(&s, &held);
    CHECK(s.state == STANDING_HELD && s.attempts == 1);
    CHECK_STR(slice_cstr(s.text), S("line 3: no name"));
    standing_due(&s, &(struct rec_due){.due_ms = 9300});
    CHECK(s.state == STANDING_WAITING && s.due_ms == 9300);

    /* What comes after the end moves nothing, but a bounce by mail. */
    struct rec_event took = event(EVENT_DELIVERED, 9400);
    took.attempt = 2;
    standing_event(&s, &took);
    CHECK(s.state == STANDING_DELIVERED && standing_is_over(&s) && s.attempts == 2);
    for (uint8_t t = EVENT_COMPLAINED; t <= EVENT_REPLIED; t++) {
        struct rec_event late = event(t, 9500);
        standing_event(&s, &late);
        CHECK(s.state == STANDING_DELIVERED && s.last_ms == 9400);
    }
    struct rec_event returned = event(EVENT_BOUNCED, 9600);
    returned.phase = REC_PHASE_ASYNC;
    returned.class_name = S("no_such_user");
    standing_event(&s, &returned);
    CHECK(s.state == STANDING_BOUNCED && s.cls == CLASS_NO_SUCH_USER);
    standing_free(&s);
}

TEST(an_attempt_that_is_not_charged_binds_to_no_source)
{
    struct standing s = {0};
    standing_begin(&s, &(struct rec_begin){.at_ms = 1000, .attempt = 1, .source = 3});
    struct rec_event ev = event(EVENT_DEFERRED, 1100);
    standing_event(&s, &ev);
    CHECK(s.attempts == 0 && s.source == 0);
    standing_free(&s);
}

TEST(every_end_is_over_and_has_a_name)
{
    for (unsigned t = 1; t < EVENT_TYPES; t++) {
        struct standing s = {0};
        struct rec_event ev = event((uint8_t)t, 1);
        standing_event(&s, &ev);
        CHECK_INT(standing_is_over(&s), rec_event_ends(t));
        if (rec_event_ends(t))
            CHECK_STR(slice_cstr(standing_name((enum standing_state)s.state)), rec_event_name(t));
        standing_free(&s);
    }
}

TEST(the_clock_is_what_its_records_say_and_begins_with_the_first_where_they_do_not)
{
    static const struct {
        int64_t begin_ms, event_ms, want_begin, want_event; /* as the records have it; 0: they do not */
    } rows[] = {{0, 0, 1000, 1000}, {700, 0, 700, 700}, {0, 800, 1000, 800}, {700, 800, 700, 800}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct standing s = {0};
        standing_begin(&s, &(struct rec_begin){.at_ms = 1000, .attempt = 1, .clock_ms = rows[i].begin_ms});
        CHECK_INT(s.clock_ms, rows[i].want_begin);
        standing_event(
            &s, &(struct rec_event){
                    .type = EVENT_DEFERRED, .at_ms = 2000, .attempt = 1, .clock_ms = rows[i].event_ms});
        CHECK_INT(s.clock_ms, rows[i].want_event);
        standing_begin(&s, &(struct rec_begin){.at_ms = 3000, .attempt = 2});
        CHECK_INT(s.clock_ms, rows[i].want_event);
        standing_free(&s);
    }
    struct standing never = {0}; /* nobody could be reached: there was no attempt */
    standing_event(&never, &(struct rec_event){.type = EVENT_DEFERRED, .at_ms = 2000});
    CHECK_INT(never.clock_ms, 2000);
    standing_free(&never);
}
