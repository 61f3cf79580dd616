/* task_test.c - scripts that wait: spawn, yield, resume, cancel, and the places where waiting is impossible.
 */
#include "script.h"
#include "test.h"
#include "platform/loop.h"

#include <lauxlib.h>
#include <stdlib.h>

/* wait(what): sleeps in a list of waits that the test completes by hand. */
static struct {
    struct task_wait wait[16];
    int n, cancelled;
} waits;

static void on_cancel(void *data)
{
    waits.cancelled++;
}

static int wait_fn(lua_State *L)
{
    struct task_wait w = task_wait_begin(L, "wait");
    waits.wait[waits.n++] = w;
    return task_yield(L, w, on_cancel, NULL);
}

static void complete(struct vm *vm, int i, const char *text)
{
    lua_State *L = task_complete(vm, waits.wait[i]);
    if (!L)
        return;
    lua_pushstring(L, text);
    task_resume(vm, waits.wait[i], 1);
}

static void prepare(struct script *s)
{
    memset(&waits, 0, sizeof waits);
    lua_pushcfunction(s->vm->L, wait_fn);
    lua_setglobal(s->vm->L, "wait");
}

TEST(the_main_file_may_wait_and_gets_the_result)
{
    struct script s = {.prepare = prepare};
    script_run(
        &s,
        "local a = wait()\nlocal ok, b = pcall(wait)\nprint(a, ok, b)\nlocal function w() return wait() end\n"
        "for _, v in ipairs { w(), w() } do print(v) end\n");
    CHECK(!s.done);
    CHECK_INT(task_waiting(s.vm), 1);
    complete(s.vm, 0, "one");
    complete(s.vm, 1, "two");
    CHECK_STR(buf_slice(&s.out), S("one\ttrue\ttwo\n"));
    complete(s.vm, 2, "three");
    complete(s.vm, 3, "four");
    CHECK(s.done);
    CHECK_INT(s.status, 0);
    CHECK_INT(task_waiting(s.vm), 0);
    CHECK_STR(buf_slice(&s.out), S("one\ttrue\ttwo\nthree\nfour\n"));
    script_end(&s);
    CHECK_INT(waits.cancelled, 0);
}

TEST(a_late_completion_is_a_logged_no_op)
{
    struct script s = {.prepare = prepare};
    script_run(&s, "print(wait())\nprint(wait())\n");
    complete(s.vm, 0, "one");
    complete(s.vm, 0, "again");
    CHECK_STR(buf_slice(&s.out), S("one\n"));
    CHECK_STR(buf_slice(&s.log), S("debug task_slot=0 late completion, nobody waits\n"));
    complete(s.vm, 1, "two");
    CHECK_STR(buf_slice(&s.out), S("one\ntwo\n"));
    script_end(&s);
}

static void on_done(void *data, const struct task_result *result);

TEST(the_end_of_the_vm_cancels_what_waits_and_tells_the_owner)
{
    struct script s = {.prepare = prepare};
    script_run(&s, "wait()\nprint 'never'\n");
    task_cancel_all(s.vm);
    CHECK(s.done);
    CHECK_INT(s.status, ERR_CANCELED);
    CHECK_INT(waits.cancelled, 1);
    lua_getglobal(s.vm->L, "print");
    struct buf b = {0};
    task_start(s.vm, "late", 0, on_done, &b);
    CHECK_STR(buf_slice(&b), S("[hato is ending]"));
    buf_free(&b);
    CHECK_STR(buf_slice(&s.out), S(""));
    script_end(&s);
}

static void on_done(void *data, const struct task_result *result)
{
    struct buf *b = data;
    if (result->status)
        buf_printf(b, "[%.*s]", SLICE_FMT(result->error));
    else
        for (int i = -result->n; i < 0; i++)
            buf_printf(b, "[%s]", lua_tostring(result->L, i));
}

TEST(coroutines_are_pooled_and_a_failed_one_is_not_used_again)
{
    struct script s = {.prepare = prepare};
    script_run(&s, "function hook(a, b)\n  if a == 'bad' then error 'no' end\n  return a, wait(), b\nend\n");
    struct buf b = {0};
    lua_State *L = s.vm->L;
    for (int i = 0; i < 3; i++) {
        lua_getglobal(L, "hook");
        lua_pushstring(L, i == 1 ? "bad" : "good");
        lua_pushinteger(L, i);
        task_start(s.vm, "hook", 2, on_done, &b);
    }
    CHECK_INT(waits.n, 2);
    CHECK_INT(waits.wait[0].slot, 0); /* the main file's slot, free again */
    CHECK_INT(waits.wait[1].slot, 1);
    CHECK_STR(buf_slice(&b), S("[dir/init.lua:2: no]"));
    complete(s.vm, 1, "w1");
    complete(s.vm, 0, "w0");
    CHECK_STR(buf_slice(&b), S("[dir/init.lua:2: no][good][w1][2][good][w0][0]"));
    CHECK_INT(lua_gettop(L), 0);
    buf_free(&b);
    script_end(&s);
}

TEST(a_task_without_an_owner_logs_its_failure)
{
    struct script s = {.prepare = prepare};
    script_run(&s, "function hook() error 'no' end\n");
    lua_getglobal(s.vm->L, "hook");
    task_start(s.vm, "a hook", 0, NULL, NULL);
    CHECK_STR(buf_slice(&s.log), S("error task=\"a hook\" error=\"dir/init.lua:1: no\"\n"));
    script_end(&s);
}

/* Trap: no yield across table.sort, gsub callbacks, require; user coroutines would take the yield for theirs.
 */
TEST(waiting_where_nobody_can_wait_is_a_named_error)
{
    struct script s = {.prepare = prepare};
    script_file(&s, "dir/waits.lua", "local x = wait()\nreturn x\n");
    script_run(&s, "print(pcall(table.sort, { 2, 1 }, function() wait() return true end))\n"
                   "print(pcall(string.gsub, 'x', '.', function() wait() end))\n"
                   "print(pcall(require, 'waits'))\n"
                   "print(pcall(coroutine.wrap(function() wait() end)))\n");
    CHECK(s.done);
    CHECK_STR(buf_slice(&s.error), S(""));
    CHECK_STR(buf_slice(&s.out), S("false\tdir/init.lua:1: wait waits, and cannot wait inside table.sort, "
                                   "string.gsub, require or another "
                                   "function that calls back; call it outside\n"
                                   "false\tdir/init.lua:2: wait waits, and cannot wait inside table.sort, "
                                   "string.gsub, require or another "
                                   "function that calls back; call it outside\n"
                                   "false\tdir/waits.lua:1: wait waits, and cannot wait inside table.sort, "
                                   "string.gsub, require or another "
                                   "function that calls back; call it outside\n"
                                   "false\tdir/init.lua:4: wait waits, and cannot wait inside a coroutine of "
                                   "the script's own; call it "
                                   "outside coroutine.wrap\n"));
    script_end(&s);
}

TEST(a_hook_that_must_answer_at_once_cannot_wait)
{
    struct script s = {.prepare = prepare};
    script_run(&s, "function hook(a)\n  if a then wait() end\n  return 7\nend\n");
    struct buf b = {0};
    for (int i = 0; i < 2; i++) {
        lua_getglobal(s.vm->L, "hook");
        lua_pushboolean(s.vm->L, i);
        task_run(s.vm, "reply hook", 1, on_done, &b);
    }
    CHECK_STR(buf_slice(&b), S("[7][dir/init.lua:2: wait waits, and a reply hook has to answer at once]"));
    buf_free(&b);
    script_end(&s);
}

TEST(coroutines_of_the_script_work_beside_tasks)
{
    CHECK_SAYS("local gen = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end)\n"
               "print(gen(), gen(), gen())\n",
               "1\t2\t3\n");
    CHECK_SAYS(
        "local function f()\n  coroutine.yield(1)\nend\nf()\n",
        "coroutine.yield was called outside a coroutine of the script's own; to wait, call hato.sleep\n"
        "    from dir/init.lua:2\n    from dir/init.lua:4");
}

TEST(many_tasks_wait_and_end_in_any_order)
{
    struct script s = {.prepare = prepare};
    script_run(&s, "function hook(a) return a .. wait() end\n");
    struct buf b = {0};
    for (int i = 0; i < 16; i++) {
        lua_getglobal(s.vm->L, "hook");
        lua_pushinteger(s.vm->L, i);
        task_start(s.vm, "hook", 1, on_done, &b);
    }
    CHECK_INT(task_waiting(s.vm), 16);
    for (int i = 0; i < 16; i++)
        complete(s.vm, (i * 7) % 16, "!");
    CHECK_INT(task_waiting(s.vm), 0);
    CHECK_STR(buf_slice(&b), S("[0!][7!][14!][5!][12!][3!][10!][1!][8!][15!][6!][13!][4!][11!][2!][9!]"));
    buf_free(&b);
    script_end(&s);
}
