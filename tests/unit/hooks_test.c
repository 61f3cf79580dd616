/* hooks_test.c - the moments at which delivery asks a script: what it is shown, what it may answer. */
#include "script.h"
#include "test.h"
#include "format/mp.h"
#include "delivery/act.h"
#include "lua/hooks.h"
#include "platform/loop.h"

#include <stdlib.h>

#define HATO "local hato = require 'hato'\n"

static bool ours(struct slice name)
{
    return slice_ieq(name, S("From"));
}

static const struct api_host HOST = {.header_is_ours = ours};

static void on_message(void *data, int status, struct slice edits, struct slice error)
{
    struct buf *b = data;
    struct mp m = {edits};
    struct mp_value v;
    buf_printf(b, "%d", status);
    while (edits.n && !mp_next(&m, &v))
        if (v.kind == MP_STR)
            buf_printf(b, "|%.*s", SLICE_FMT(v.s));
        else
            buf_printf(b, "|#%u", v.n);
    buf_printf(b, "%.*s\n", SLICE_FMT(error));
}

/* A message to a@example.jp of campaign "hello", for a person with name, n, tags. */
static void run_message(struct script *s, struct buf *out)
{
    struct hook_field fields[] = {{"to", HOOK_TEXT, S("a@example.jp")},
                                  {"campaign", HOOK_TEXT, S("hello")},
                                  {"id", HOOK_INT, SLICE_NONE, 7}};
    struct buf values = {0};
    mp_put_array(&values, 3);
    mp_put_str(&values, S("山田"));
    mp_put_uint(&values, 3);
    mp_put_array(&values, 1);
    mp_put_bool(&values, true);
    hooks_message(s->hato, fields, COUNT(fields), S("name\x1fn\x1ftags"), buf_slice(&values), on_message,
                  out);
    buf_free(&values);
}

TEST(a_hook_that_no_script_sets_is_not_there)
{
    struct script s = {.api = true};
    script_run(&s, HATO "hato.on('reply', function() end)\n");
    CHECK(!hooks_has(s.hato, HOOK_MESSAGE));
    CHECK(hooks_has(s.hato, HOOK_REPLY));
    CHECK(!hooks_has(s.hato, HOOK_EVENTS));
    hooks_event(s.hato, NULL, 0);
    CHECK(!api_is_busy(s.hato));
    script_end(&s);
}

TEST(a_message_hook_sees_message_and_person_and_adds_headers)
{
    struct script s = {.api = true, .host = HOST};
    struct buf got = {0};
    script_run(&s, HATO
               "local count = 0\n"
               "hato.on('message', function(msg, person)\n"
               "  count = count + 1\n"
               "  local n = count\n"
               "  print(msg.to, msg.campaign, msg.id, msg.nothing, person.name, person.n, person.tags[1])\n"
               "  if count == 2 then hato.sleep '1 min' end\n"
               "  if n < 3 then msg:header('X-Count', n) msg:header('X-Name', person.name) end\n"
               "end)\n");
    for (int i = 0; i < 3; i++)
        run_message(&s, &got);
    CHECK_STR(buf_slice(&got), S("0|#2|#2|X-Count|1|#2|X-Name|山田\n0\n"));
    loop_run(s.loop);
    CHECK_STR(buf_slice(&got), S("0|#2|#2|X-Count|1|#2|X-Name|山田\n0\n0|#2|#2|X-Count|2|#2|X-Name|山田\n"));
    CHECK(slice_starts(buf_slice(&s.out), S("a@example.jp\thello\t7\tnil\t山田\t3\ttrue\n")));
    buf_free(&got);
    script_end(&s);
}

TEST(a_message_hook_that_fails_holds_that_message_alone)
{
    static const struct {
        const char *body, *want;
    } cases[] = {
        {"error 'no'", "dir/init.lua:2: no"},
        {"msg:header('From', 'x')", "dir/init.lua:2: msg:header: From is hato's own to write"},
        {"msg:header('X-A', 'a\\r\\nBcc: x@y.jp')",
         "dir/init.lua:2: msg:header: the value of X-A holds a line break or another control character"},
        {"msg:header('X A', 'a')", "dir/init.lua:2: msg:header: \"X A\" is no name of a header"},
        {"msg:header('', 'a')", "dir/init.lua:2: msg:header: a name of a header has 1 to 76 characters"},
        {"msg:header('X-A', nil)", "dir/init.lua:2: msg:header: the value wants a text, not nil"},
        {"msg:header('X-A', ('x'):rep(999))",
         "dir/init.lua:2: msg:header: the value of X-A has 999 bytes; at most 998"},
        {"msg.header('X-A', 'a')",
         "dir/init.lua:2: msg:header is called with a colon: msg:header(name, value)"},
        {"msg.subject = 'x'",
         "dir/init.lua:2: msg.subject cannot be set; a hook changes headers, with msg:header(name, value)"},
        {"for i = 1, 51 do msg:header('X-' .. i, 'a') end",
         "dir/init.lua:2: msg:header: at most 50 headers a message"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct script s = {.api = true, .host = HOST};
        struct buf got = {0};
        char text[256], want[256];
        snprintf(text, sizeof text, HATO "hato.on('message', function(msg, person) %s end)\n", cases[i].body);
        snprintf(want, sizeof want, "%d%s\n", ERR_INVAL, cases[i].want);
        script_run(&s, text);
        run_message(&s, &got);
        bool same = slice_eq(buf_slice(&got), slice_cstr(want));
        if (!same)
            test_fail(__FILE__, __LINE__, "%s\n  got  %s  want %s", cases[i].body, buf_cstr(&got), want);
        buf_free(&got);
        script_end(&s);
        if (!same)
            return;
    }
}

TEST(a_message_that_is_kept_takes_no_edits_after_its_hook)
{
    struct script s = {.api = true, .host = HOST};
    struct buf got = {0};
    script_run(&s, HATO "local kept\n"
                        "hato.on('message', function(msg)\n"
                        "  if kept then kept:header('X-A', 'b') end\n"
                        "  kept = msg\n"
                        "end)\n");
    run_message(&s, &got);
    run_message(&s, &got);
    CHECK_STR(buf_slice(&got), S("0\n-1dir/init.lua:4: msg:header: the hook of this message has ended\n"));
    buf_free(&got);
    script_end(&s);
}

TEST(a_message_hook_that_waits_is_told_when_hato_ends)
{
    struct script s = {.api = true, .host = HOST, .run_ms = 10};
    struct buf got = {0};
    script_run(&s, HATO "hato.on('message', function() hato.sleep '1 h' end)\n");
    run_message(&s, &got);
    script_end(&s);
    CHECK_STR(buf_slice(&got), S("-15hato is ending\n"));
    buf_free(&got);
}

static void on_class(void *data, const struct hooks_answer *a)
{
    *(int *)data = a->has_class ? (int)a->cls : -1;
    if (a->act)
        *(int *)data = 1000 + (int)a->act->kind;
}

TEST(a_reply_hook_says_a_class_or_nothing)
{
    static const struct {
        const char *body;
        int cls; /* -1: none */
        const char *log;
    } cases[] = {
        {"return nil", -1, ""},
        {"if reply.text:find 'S3150' and attempt.attempt == 2 then return { class = 'blocked' } end",
         CLASS_BLOCKED, ""},
        {"return { class = 'mailbox_ful' }", -1,
         "dir/init.lua:2: the reply hook: no class \"mailbox_ful\"; did you mean \"mailbox_full\"?"},
        {"return { class = 'zzz' }", -1, "dir/init.lua:2: the reply hook: no class \"zzz\""},
        {"return { class = 5 }", -1,
         "dir/init.lua:2: the reply hook: class wants a class such as \"blocked\" or \"mailbox_full\", not "
         "5"},
        {"return {}", -1,
         "dir/init.lua:2: the reply hook: class wants a class such as \"blocked\" or \"mailbox_full\", not "
         "nil"},
        {"return 'blocked'", -1,
         "dir/init.lua:2: the reply hook: may return nil or { class = \"…\", act = … }, not \"blocked\""},
        {"return { class = 'blocked', act = 'stop' }", -1,
         "dir/init.lua:2: the reply hook: act wants what hato.slow, suspend, suppress and their like "
         "return, not \"stop\""},
        {"return { class = 'blocked', act = hato.suspend { ['for'] = '4 h', alert = true } }",
         1000 + ACT_SUSPEND, ""},
        {"return { act = hato.suppress 'forever' }", 1000 + ACT_SUPPRESS, ""},
        {"return { class = 'blocked', clas = 1 }", -1,
         "dir/init.lua:2: the reply hook: may return nil or { class = \"…\", act = … }; it does not know "
         "\"clas\""},
        {"return { class = 'delivered' }", -1,
         "dir/init.lua:2: the reply hook: \"delivered\" is no class of a refusal"},
        {"hato.sleep '1 s' return { class = 'spam' }", CLASS_SPAM, ""},
        {"error 'no'", -1, "dir/init.lua:2: no"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct script s = {.api = true};
        char text[512], want[512] = "";
        snprintf(text, sizeof text, HATO "hato.on('reply', function(reply, attempt) %s end)\n",
                 cases[i].body);
        if (cases[i].log[0])
            snprintf(want, sizeof want, "error task=\"reply hook\" error=\"%s\"\n", cases[i].log);
        script_run(&s, text);
        struct hook_field reply[] = {{"code", HOOK_INT, SLICE_NONE, 550},
                                     {"text", HOOK_TEXT, S("550 5.7.1 S3150")}};
        struct hook_field attempt[] = {{"attempt", HOOK_INT, SLICE_NONE, 2}};
        int got = -2;
        hooks_reply(s.hato, reply, 2, attempt, 1, on_class, &got);
        loop_run(s.loop);
        bool same = slice_eq(buf_slice(&s.log), slice_cstr(want)) && got == cases[i].cls;
        if (!same)
            test_fail(__FILE__, __LINE__, "%s\n  got  %d %s\n  want %d %s", cases[i].body, got,
                      buf_cstr(&s.log), cases[i].cls, want);
        script_end(&s);
        if (!same)
            return;
    }
}

TEST(a_reply_hook_that_waits_gives_no_class_when_hato_ends)
{
    struct script s = {.api = true, .run_ms = 10};
    script_run(&s, HATO "hato.on('reply', function() hato.sleep '1 h' return { class = 'spam' } end)\n");
    int got = -2;
    hooks_reply(s.hato, NULL, 0, NULL, 0, on_class, &got);
    CHECK_INT(got, -2);
    script_end(&s);
    CHECK_INT(got, -1);
}

static void add_event(struct script *s, int n)
{
    struct buf meta = {0};
    mp_put_map(&meta, 1);
    mp_put_str(&meta, S("name"));
    mp_put_str(&meta, S("山田"));
    struct hook_field f[] = {{"type", HOOK_TEXT, S("delivered")},
                             {"id", HOOK_INT, SLICE_NONE, n},
                             {"test", HOOK_BOOL, SLICE_NONE, 0},
                             {"meta", HOOK_MSGPACK, buf_slice(&meta)}};
    hooks_event(s->hato, f, COUNT(f));
    buf_free(&meta);
}

TEST(events_come_in_batches_one_at_a_time)
{
    struct script s = {.api = true};
    script_run(&s,
               HATO "local batches = 0\n"
                    "hato.on('events', function(batch)\n"
                    "  batches = batches + 1\n"
                    "  print(batches, #batch, batch[1].type, batch[1].id, batch[#batch].id, batch[1].test,\n"
                    "    batch[1].meta.name)\n"
                    "  if batches == 1 then hato.sleep '1 s' end\n"
                    "  if batches == 2 then error 'no' end\n"
                    "end)\n");
    add_event(&s, 1);
    add_event(&s, 2);
    CHECK(api_is_busy(s.hato));
    loop_timer_start(s.loop, &s.stop, 500, s.stop.fn);
    loop_run(s.loop);
    CHECK_STR(buf_slice(&s.out), S("1\t2\tdelivered\t1\t2\tfalse\t山田\n"));
    for (int i = 3; i < 1010; i++)
        add_event(&s, i);
    loop_timer_start(s.loop, &s.stop, 5000, s.stop.fn);
    loop_run(s.loop);
    CHECK_STR(buf_slice(&s.out), S("1\t2\tdelivered\t1\t2\tfalse\t山田\n"
                                   "2\t1000\tdelivered\t3\t1002\tfalse\t山田\n"
                                   "3\t7\tdelivered\t1003\t1009\tfalse\t山田\n"));
    CHECK_STR(buf_slice(&s.log), S("error task=\"events hook\" error=\"dir/init.lua:8: no\"\n"));
    CHECK(!api_is_busy(s.hato));
    script_end(&s);
}

TEST(a_script_that_is_too_slow_for_events_loses_some_and_is_told)
{
    struct script s = {.api = true};
    script_run(&s, HATO
               "local n = 0\n"
               "hato.on('events', function(batch) n = n + #batch if n == 100000 then print(n) end end)\n");
    for (int i = 0; i < HOOKS_EVENTS_MAX + 5; i++)
        add_event(&s, i);
    loop_timer_start(s.loop, &s.stop, 5000, s.stop.fn);
    loop_run(s.loop);
    CHECK_STR(buf_slice(&s.out), S("100000\n"));
    CHECK_STR(buf_slice(&s.log),
              S("warn task=\"events hook\" dropped=5 msg=\"the hook is slower than the mail\"\n"));
    add_event(&s, 1);
    script_end(&s); /* with a batch posted and not begun */
}
