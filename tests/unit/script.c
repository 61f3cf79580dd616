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
    if (s->prepare)
        s->prepare(s);
    vm_run(s->vm, "dir/init.lua", on_done, s);
    loop_run(s->loop);
}

void script_end(struct script *s)
{
    vm_free(s->vm);
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
