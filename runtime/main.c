/* main.c - the hato program: finds the sub-command and runs it. */
#include "cmd.h"
#include "cpu.h"
#include "base/mem.h"
#include "base/words.h"

#include <stdio.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *does;
    bool signs_many;
} commands[] = {
    {"cancel", cmd_cancel, "end mail on its way: of a campaign, a stream, a receiver, one message"},
    {"check", cmd_check, "look a script over, and what DNS says about its senders"},
    {"classify", cmd_classify, "say what a reply means, and which rule says so"},
    {"console", cmd_console, "a Lua prompt that looks into the hato that runs, and changes nothing"},
    {"events", cmd_events, "print what happened to messages, once or as it comes"},
    {"inbound", cmd_inbound, "take returned mail: bounces that come later, complaints"},
    {"keygen", cmd_keygen, "make a DKIM key and print the record to publish"},
    {"message", cmd_message, "print one person's finished, signed message"},
    {"pause", cmd_pause, "let nothing of a campaign, stream, receiver or source begin"},
    {"queue", cmd_queue, "what is on its way: how many wait, where, and for what"},
    {"reload", cmd_reload, "have a running daemon read its script again, all or nothing"},
    {"render", cmd_render, "render a Liquid template with data from a JSON file"},
    {"report", cmd_report, "count what came of the mail, by receiver and by kind of error"},
    {"resume", cmd_resume, "let what was paused go on"},
    {"retry", cmd_retry, "try now what waits for its next try"},
    {"run", cmd_run, "load a script and deliver what it defines", true},
    {"serve", cmd_serve, "the daemon: load a script and deliver until it is stopped", true},
    {"sim", cmd_sim, "run a script on a virtual clock against simulated receivers", true},
    {"sink", cmd_sink, "receive mail as the receivers of a world would, and keep or forget it"},
    {"suppress", cmd_suppress, "say who gets no mail: add, remove, list, import, export"},
    {"top", cmd_top, "watch what is at work: receivers, paths, campaigns, sources"},
    {"warmup", cmd_warmup, "how far each source has come at each receiver; set it by hand"},
    {"why", cmd_why, "explain what happened to the messages of an address, and what is next"},
    {NULL, NULL, NULL},
};

static void usage(FILE *to)
{
    fprintf(to,
            "hato %s - a Lua-scriptable mail sending runtime\n\nUsage: hato COMMAND [options]; hato COMMAND "
            "--help says the rest\n\n",
            HATO_VERSION);
    for (const struct command *c = commands; c->name; c++)
        fprintf(to, "  %-10s %s\n", c->name, c->does);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    struct slice word = slice_cstr(argv[1]);
    if (slice_eq(word, S("--help")) || slice_eq(word, S("-h")) || slice_eq(word, S("help"))) {
        usage(stdout);
        return EXIT_DONE;
    }
    if (slice_eq(word, S("--version"))) {
        printf("hato %s\n", HATO_VERSION);
        return EXIT_DONE;
    }
    struct slice names[COUNT(commands)] = {{0}};
    size_t n = 0;
    for (const struct command *c = commands; c->name; c++) {
        names[n] = slice_cstr(c->name);
        if (slice_eq(word, names[n++])) {
            if (c->signs_many)
                cpu_prefer_fast_rsa(argv);
            return c->run(argc - 1, argv + 1);
        }
    }
    struct slice near = words_near(word, names, n);
    if (near.n)
        fprintf(stderr, "hato: no command \"%s\"; did you mean %.*s?\n", argv[1], SLICE_FMT(near));
    else
        fprintf(stderr, "hato: no command \"%s\"; hato --help lists them\n", argv[1]);
    return EXIT_USAGE;
}
