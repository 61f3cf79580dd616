/* log_test.c - log lines stay one line and can be taken apart again. */
#include "platform/log.h"
#include "base/err.h"
#include "test.h"

#include <stdlib.h>

static void count_call(void *data)
{
    ++*(int *)data;
}

TEST(log_lines_carry_time_level_and_room_and_are_one_line)
{
    char *text = NULL;
    size_t n = 0;
    int calls = 0;
    struct loop *loop = loop_new_virtual(1, 1782900000123);
    struct log log = {.loop = loop,
                      .to = open_memstream(&text, &n),
                      .level = LOG_LEVEL_INFO,
                      .before = count_call,
                      .data = &calls};
    log_line(&log, LOG_LEVEL_WARN, "path", "source=%s isp=%s", "mx1", "gmail");
    log_line(&log, LOG_LEVEL_DEBUG, "path", "not wanted");
    log_line(&log, LOG_LEVEL_ERROR, "spool", "text=\"a\nb\x1b[31m\"");
    fclose(log.to);
    CHECK_STR(slice_of(text, n),
              S("2026-07-01T10:00:00.123Z level=warn room=path source=mx1 isp=gmail\n"
                "2026-07-01T10:00:00.123Z level=error room=spool text=\"a\\nb\\x1b[31m\"\n"));
    CHECK_INT(calls, 2);
    free(text);
    log_free(&log);
    loop_free(loop);
}

TEST(log_values_are_quoted_where_a_reader_would_go_wrong)
{
    static const struct {
        struct slice in, want;
    } rows[] = {
        {S("gmail"), S("k=gmail")}, {S("夏"), S("k=夏")},
        {{"", 0}, S("k=\"\"")},     {S("a b"), S("k=\"a b\"")},
        {S("a=b"), S("k=\"a=b\"")}, {S("say \"no\"\\"), S("k=\"say \\\"no\\\"\\\\\"")},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        log_value(&b, "k", rows[i].in);
        CHECK_STR(buf_slice(&b), rows[i].want);
        buf_free(&b);
    }
    struct buf b = {0};
    log_value(&b, "message", S("m1"));
    log_value(&b, "isp", S("gmail"));
    CHECK_STR(buf_slice(&b), S("message=m1 isp=gmail"));
    buf_free(&b);
}

TEST(log_levels_are_read_by_name)
{
    enum log_level level = LOG_LEVEL_INFO;
    CHECK_INT(log_level_parse(S("debug"), &level), 0);
    CHECK_INT(level, LOG_LEVEL_DEBUG);
    CHECK_INT(log_level_parse(S("loud"), &level), ERR_NOTFOUND);
    CHECK_INT(level, LOG_LEVEL_DEBUG);
}
