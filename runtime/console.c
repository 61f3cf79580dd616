/* console.c - see console.h. */
#include "console.h"
#include "base/json.h"

#include <stdlib.h>

struct console {
    struct loop *loop;
    struct control *control;
    void (*handle)(void *data, struct control_call *call, const json_t *request);
    void *data;
    struct peek *peek;
    struct control_call *call;  /* who asked */
    struct control_call *asked; /* the question that its expression asks */
    json_t *rows;
};

const char *const console_questions[] = {"status", "queue", "top", "measures", "pauses", "why", NULL};

struct console *console_new(struct loop *loop, struct control *control,
                            void (*handle)(void *data, struct control_call *call, const json_t *request),
                            void *data)
{
    struct console *c = mem_zalloc(sizeof *c);
    *c = (struct console){.loop = loop, .control = control, .handle = handle, .data = data};
    return c;
}

static void on_line(void *data, struct slice json)
{
    struct console *c = data;
    json_array_append_new(c->rows, json_loadb(json.p, json.n, 0, NULL));
}

/* Rows; where there are none, the members of the last line. */
static void on_end(void *data, int status, struct slice words)
{
    struct console *c = data;
    json_t *rows = c->rows;
    c->rows = NULL;
    c->asked = NULL;
    if (status) {
        json_decref(rows);
        peek_answer(c->peek, NULL, words);
        return;
    }
    if (!json_array_size(rows) && words.n) {
        struct buf object = {0};
        buf_addc(&object, '{');
        buf_adds(&object, words);
        buf_addc(&object, '}');
        json_t *members = json_loadb(object.p, object.n, 0, NULL);
        buf_free(&object);
        if (members) {
            json_decref(rows);
            rows = members;
        }
    }
    peek_answer(c->peek, rows, SLICE_NONE);
}

static void on_ask(void *data, struct peek *p, const char *name, struct slice argument)
{
    struct console *c = data;
    bool why = !strcmp(name, "why");
    json_t *request = why ? json_pack("{s:s, s:[s%]}", "command", "wait", "ids", argument.p, argument.n)
                          : json_pack("{s:s}", "command", name);
    (void)p;
    c->rows = json_array();
    if (!request) {
        json_decref(c->rows);
        c->rows = NULL;
        peek_answer(c->peek, NULL, S("that is no text"));
        return;
    }
    c->asked = control_local(c->control, c, on_line, on_end);
    c->handle(c->data, c->asked, request);
    json_decref(request);
}

static void console_end(struct console *c, int status, struct slice words)
{
    struct control_call *call = c->call;
    if (c->asked)
        control_local_drop(c->asked);
    c->asked = NULL;
    json_decref(c->rows);
    c->rows = NULL;
    peek_free(c->peek);
    c->peek = NULL;
    c->call = NULL;
    if (call)
        control_end(call, status, words);
}

static void on_done(void *data, int status, struct slice text)
{
    struct console *c = data;
    struct buf words = {0};
    if (status) {
        buf_adds(&words, text);
    } else {
        buf_adds(&words, S("\"text\":"));
        json_quote(&words, text);
    }
    console_end(c, status, buf_slice(&words));
    buf_free(&words);
}

void console_run(struct console *c, struct vm *script, struct control_call *call, struct slice text)
{
    if (c->call) {
        control_end(call, ERR_AGAIN, S("another expression runs; ask again in a moment"));
        return;
    }
    c->call = call;
    c->peek = peek_start(&(struct peek_conf){.loop = c->loop,
                                             .script = script,
                                             .names = console_questions,
                                             .data = c,
                                             .ask = on_ask,
                                             .done = on_done},
                         text);
}

void console_stop(struct console *c)
{
    if (c && c->call)
        console_end(c, ERR_AGAIN, S("the script was swapped meanwhile; ask again"));
}

void console_free(struct console *c)
{
    if (!c)
        return;
    c->call = NULL; /* the socket ends it */
    console_end(c, 0, SLICE_NONE);
    free(c);
}
