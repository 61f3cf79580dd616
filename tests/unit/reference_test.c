/* reference_test.c - lua/hato/api.lua is the one source of the reference: it and the program agree, what is
 * made from it is up to date, and each example runs. */
#include "console.h"
#include "script.h"
#include "test.h"
#include "format/dns_wire.h"
#include "platform/loop.h"

#include <stdlib.h>

static bool no_answer(void *ctx, struct dns_message *m, struct arena *a)
{
    m->rcode = DNS_NXDOMAIN;
    return true;
}

struct pending {
    struct loop_task task;
    struct script *s;
    struct task_wait wait;
};

static void on_durable(struct loop_task *task)
{
    struct pending *p = task->data;
    api_sent(p->s->hato, p->wait, 0, S("id"), SLICE_NONE);
    free(p);
}

static int take_send(void *data, const struct api_send *send, struct task_wait wait, struct err *e)
{
    struct pending *p = mem_zalloc(sizeof *p);
    p->s = data;
    p->wait = wait;
    p->task.data = p;
    loop_post(p->s->loop, &p->task, on_durable);
    return 0;
}

static void prepare(struct script *s)
{
    s->host = (struct api_host){
        .data = s, .send = take_send, .resolve = resolve_new_static(s->loop, no_answer, NULL, 5, 0)};
    api_set_host(s->hato, &s->host);
    lua_getfield(s->vm->L, LUA_REGISTRYINDEX, "hato.core");
    lua_setglobal(s->vm->L, "core");
    lua_newtable(s->vm->L);
    for (int i = 0; console_questions[i]; i++) {
        lua_pushstring(s->vm->L, console_questions[i]);
        lua_rawseti(s->vm->L, -2, i + 1);
    }
    lua_setglobal(s->vm->L, "questions");
}

static void cleanup(struct script *s)
{
    resolve_free(s->host.resolve);
}

static void files(struct script *s)
{
    script_file(s, "dir/people.csv", "email,name\na@example.jp,A\n");
    script_file(s, "dir/hello.html", "<p>{{ name }}</p>");
}

TEST(the_reference_and_the_program_agree)
{
    struct script s = {.api = true, .prepare = prepare, .cleanup = cleanup, .run_ms = 5400000};
    files(&s);
    char *text = mem_dup(test_file("tests/lua/reference.lua").p, test_file("tests/lua/reference.lua").n);
    struct buf b = script_says(&s, text);
    free(text);
    CHECK_STR(buf_slice(&b), S(""));
    buf_free(&b);
}

TEST(each_example_of_the_reference_runs)
{
    int n = 0;
    for (int i = 1; i < 200; i++) {
        struct script s = {.api = true, .prepare = prepare, .cleanup = cleanup, .run_ms = 5400000};
        char text[512];
        files(&s);
        snprintf(text, sizeof text,
                 "local hato, f = require 'hato', require 'hato.api'.functions[%d]\n"
                 "if not f then print 'END' return end\n"
                 "assert(load('local hato = ... ' .. f.example, '@example of ' .. f.name))(hato)\n",
                 i);
        script_run(&s, text);
        bool good = s.done && !s.error.n, end = slice_eq(buf_slice(&s.out), S("END\n"));
        if (!good)
            test_fail(__FILE__, __LINE__, "example %d: %s%s", i, s.done ? "" : "did not end ",
                      buf_cstr(&s.error));
        script_end(&s);
        if (!good)
            return;
        if (end)
            break;
        n++;
    }
    CHECK(n > 20);
}

TEST(what_is_made_from_the_reference_is_up_to_date)
{
    CHECK_INT(system("luajit '" TEST_ROOT "/scripts/gen-docs' --check"), 0);
}
