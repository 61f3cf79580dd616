/* cmd_console.c - hato console: a Lua prompt that looks into the hato that runs. */
#include "cmd.h"
#include "base/json.h"
#include "control.h"
#include "format/text.h"
#include "journal.h"
#include "opts.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ANSWER_MS = 60000 };

struct args {
    const char *state, *expression;
    bool help;
};

static const struct opt options[] = {
    {OPT_STRING, "state", "DIR", "the state folder (default " JOURNAL_STATE_DEFAULT ")",
     offsetof(struct args, state)},
    {OPT_STRING, "eval|e", "EXPR", "run this and end; for programs", offsetof(struct args, expression)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato console [--state DIR] [-e EXPR]\n\n"
    "A Lua prompt in the hato that runs on the folder. It may look at everything and change nothing: each "
    "line\n"
    "runs in a Lua state of its own, for 5 seconds and 16 MB at most, while delivery goes on.\n\n"
    "  status()  queue()  top()  measures()  pauses()   what the commands of these names show, as tables\n"
    "  why \"m17\"                                       what a message waits for\n"
    "  script.NAME  keys(script)                        the script's globals, by value\n"
    "  print(...)                                       and Lua's own assert, ipairs, pairs, math, string, "
    "…\n\n"
    "What a line gives is printed. A line that is not at its end goes on with the next. Ctrl-D ends.";

static const char *state_of(const struct args *a)
{
    return a->state ? a->state : JOURNAL_STATE_DEFAULT;
}

/* What comes back was in part said by receivers: line by line, nothing in it steers the terminal. */
static void print_text(struct slice text)
{
    struct buf out = {0};
    while (text.n) {
        struct slice line = slice_cut(text, '\n', &text);
        text_safe(&out, line);
        buf_addc(&out, '\n');
    }
    fwrite(out.p ? out.p : "", 1, out.n, stdout);
    fflush(stdout);
    buf_free(&out);
}

static int run_text(const struct args *a, struct slice text, struct err *e)
{
    struct control_answer answer = {0};
    struct buf request = {0};
    buf_adds(&request, S("{\"command\":\"console\",\"text\":"));
    json_quote(&request, text);
    buf_addc(&request, '}');
    int r = control_ask(state_of(a), buf_slice(&request), ANSWER_MS, &answer, e);
    if (r == ERR_NOTFOUND)
        err_set(e, r, "no hato runs on %s", state_of(a));
    if (!r)
        print_text(slice_cstr(json_string_value(json_object_get(answer.last, "text"))));
    json_decref(answer.last);
    buf_free(&request);
    return r;
}

/* Until the end of input. A mistake ends nothing. */
static int prompt(const struct args *a, struct err *e)
{
    bool person = isatty(STDIN_FILENO);
    struct buf text = {0};
    char *line = NULL;
    size_t cap = 0;
    int r = run_text(a, S("do end"), e);
    if (r) /* nobody is there */
        return r;
    for (ssize_t n;;) {
        if (person) {
            fputs(text.n ? "   > " : "hato> ", stdout);
            fflush(stdout);
        }
        n = getline(&line, &cap, stdin);
        if (n < 0)
            break;
        buf_add(&text, line, (size_t)n);
        if (!slice_trim(buf_slice(&text)).n) {
            buf_clear(&text);
            continue;
        }
        *e = (struct err){0};
        r = run_text(a, slice_trim(buf_slice(&text)), e);
        if (r == ERR_INVAL && strstr(e->text, "near '<eof>'"))
            continue;
        if (r == ERR_NOTFOUND || r == ERR_EOF)
            break;
        if (r) {
            print_text(slice_cstr(e->text));
            r = 0;
        }
        buf_clear(&text);
    }
    if (person)
        putchar('\n');
    free(line);
    buf_free(&text);
    return r;
}

int cmd_console(int argc, char **argv)
{
    struct args args = {0};
    struct err e = {0};
    int r = opts_parse(argc, argv, options, &args, NULL, &e);
    if (!r && args.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    if (r) {
        fprintf(stderr, "hato console: %s\n", e.text);
        return EXIT_USAGE;
    }
    r = args.expression ? run_text(&args, slice_cstr(args.expression), &e) : prompt(&args, &e);
    if (r)
        fprintf(stderr, "hato console: %s\n", e.text);
    return r ? EXIT_FAILED : EXIT_DONE;
}
