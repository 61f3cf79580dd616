/* script.c - see script.h. */
#include "script.h"
#include "test.h"
#include "platform/file.h"
#include "platform/loop.h"

#include <stdlib.h>

static void on_print(void *data, struct slice line)
{
    struct script *s = data;
    buf_adds(&s->out, line);
    buf_addc(&s->out, '\n');
}

static void on_log(void *data, enum vm_level level, struct slice text)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    struct script *s = data;
    buf_printf(&s->log, "%s %.*s\n", names[level], SLICE_FMT(text));
}

static void on_done(void *data, const struct task_result *result)
{
    struct script *s = data;
    s->done = true;
    s->status = result->status;
    buf_adds(&s->error, result->error);
    struct err e;
    if (s->hato && !result->status && api_seal(s->hato, &e)) {
        s->status = e.code;
        buf_adds(&s->error, slice_cstr(e.text));
    }
}

static void begin(struct script *s)
{
    if (s->fs)
        return;
    s->fs = fs_memory();
    struct err e;
    INVARIANT(!fs_mkdir(s->fs, "dir", 0700, &e));
}

void script_file(struct script *s, const char *path, const char *text)
{
    begin(s);
    struct err e;
    if (fs_write_atomic(s->fs, path, slice_cstr(text), 0600, &e)) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
}

static void on_stop(struct loop_timer *timer)
{
    loop_stop(((struct script *)timer->data)->loop);
}

void script_run(struct script *s, const char *text)
{
    begin(s);
    script_file(s, "dir/init.lua", text);
    s->loop = loop_new_virtual(s->seed, 1782864000000); /* 2026-07-01 00:00 UTC */
    s->vm = vm_new(&(struct vm_options){.loop = s->loop,
                                        .fs = s->fs,
                                        .unsafe = s->unsafe,
                                        .reproducible = s->reproducible,
                                        .budget = s->budget,
                                        .print = on_print,
                                        .log = on_log,
                                        .data = s});
    if (s->api) {
        s->conf = conf_new();
        s->hato = api_new(s->vm, s->conf, &s->host, &s->arg, s->arg.name.n ? 1 : 0);
    }
    if (s->prepare)
        s->prepare(s);
    s->stop.data = s;
    loop_timer_start(s->loop, &s->stop, s->run_ms ? s->run_ms : 3600000, on_stop);
    vm_run(s->vm, "dir/init.lua", on_done, s);
    loop_run(s->loop);
    loop_timer_stop(s->loop, &s->stop);
}

void script_end(struct script *s)
{
    api_free(s->hato);
    vm_free(s->vm);
    if (s->cleanup)
        s->cleanup(s);
    conf_free(s->conf);
    loop_free(s->loop);
    fs_free(s->fs);
    buf_free(&s->out);
    buf_free(&s->log);
    buf_free(&s->error);
    *s = (struct script){0};
}

struct buf script_says(struct script *s, const char *text)
{
    script_run(s, text);
    struct buf said = {0};
    buf_adds(&said, buf_slice(&s->out));
    buf_adds(&said, buf_slice(&s->error));
    script_end(s);
    return said;
}
