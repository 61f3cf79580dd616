/* progress_test.c - the progress line: what it says, and what it leaves out where there is no room. */
#include "progress.h"
#include "test.h"

TEST(progress_line_shows_what_fits)
{
    static const struct {
        struct progress_counts c;
        int64_t rate_tenths;
        size_t columns;
        const char *want;
    } rows[] = {
        {{.total = 10000, .delivered = 4812, .bounced = 14, .deferred = 120},
         8120,
         79,
         "4,812 of 10,000 sent   812/s   7 s left   deferred 120   bounced 14"},
        {{.total = 10000, .delivered = 4812, .bounced = 14, .deferred = 120},
         8120,
         50,
         "4,812 of 10,000 sent   812/s   7 s left"},
        {{.total = 10000, .delivered = 4812, .bounced = 14, .deferred = 120},
         8120,
         53,
         "4,812 of 10,000 sent   812/s   7 s left   bounced 14"},
        {{.total = 10000, .delivered = 4812}, 8120, 10, "812/s"},
        {{.total = 10000, .delivered = 0}, -1, 79, "0 of 10,000 sent"},
        {{.total = 10000, .delivered = 0}, 0, 79, "0 of 10,000 sent   0.0/s"},
        {{.total = 5000, .delivered = 10, .reading = true}, 33, 79, "10 of 5,000+ sent   3.3/s"},
        {{.delivered = 3}, 20, 79, "3 sent   2.0/s"},
        {{.total = 100, .delivered = 90, .deferred = 10}, 20, 79, "90 of 100 sent   2.0/s   deferred 10"},
        {{.total = 90000, .delivered = 0}, 10, 79, "0 of 90,000 sent   1.0/s   1 day 1 h left"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        progress_line(&b, &rows[i].c, rows[i].rate_tenths, rows[i].columns);
        CHECK_STR(buf_slice(&b), slice_cstr(rows[i].want));
        buf_free(&b);
    }
}

static void no_counts(void *data, struct progress_counts *out)
{
    ++*(int *)data;
}

TEST(progress_that_nobody_wants_is_no_progress)
{
    struct loop *loop = loop_new_virtual(1, 0);
    int calls = 0;
    struct progress *p = progress_new(loop, false, no_counts, &calls);
    CHECK(p == NULL);
    progress_erase(p);
    progress_free(p);
    loop_run(loop);
    CHECK_INT(calls, 0);
    loop_free(loop);
}
