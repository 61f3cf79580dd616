/* peek.h - a Lua prompt that may look at everything and change nothing.
 *
 * An expression runs in a Lua state of its own, made for it and thrown away: nothing in it leads to the
 * state of the script, to files or to delivery. What it sees of them are copies: `script` gives the
 * script's globals by raw access, value by value, and each of the names in peek_conf.names is a function that
 * asks the program a question. It has a budget of instructions, of time and of memory, and runs a few
 * thousand instructions a turn of the loop. */
#ifndef HATO_LUA_PEEK_H
#define HATO_LUA_PEEK_H

#include "lua/vm.h"

#include <jansson.h>

enum { PEEK_STEP = 5000, PEEK_DEADLINE_MS = 5000, PEEK_MEMORY = 16 << 20, PEEK_OUTPUT = 1 << 20 };

struct peek;

struct peek_conf {
    struct loop *loop;
    struct vm *script;        /* NULL: there is none to look at */
    const char *const *names; /* of questions; ends with NULL */
    void *data;
    /* A question of the expression: peek_answer() follows, now or later. argument: a text, or empty. */
    void (*ask)(void *data, struct peek *p, const char *name, struct slice argument);
    /* The end, once: 0 and what it printed and gave, or why not. */
    void (*done)(void *data, int status, struct slice text);
};

/* Begins with the next turn. */
struct peek *peek_start(const struct peek_conf *conf, struct slice text);
/* An array or object; NULL: why there is none is in error. */
void peek_answer(struct peek *p, json_t *answer, struct slice error);
/* In any state, and after done(); done() is not called any more. NULL is fine. */
void peek_free(struct peek *p);

#endif
