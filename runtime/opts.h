/* opts.h - command lines as tables: one table gives parsing, errors with the near name, and --help.
 * One command is one static const struct opt[] ended by a zero row and one usage text. */
#ifndef HATO_OPTS_H
#define HATO_OPTS_H

#include "base/err.h"
#include "base/mem.h"

enum opt_kind {
    OPT_END = 0,
    OPT_FLAG,     /* bool * */
    OPT_STRING,   /* const char **, borrowed from argv */
    OPT_INT,      /* int64_t *, decimal */
    OPT_DURATION, /* int64_t * in ms: "90 s", "10 min", "2 h", "3 days", "500 ms", "forever" (INT64_MAX), "0"
                   */
    OPT_LIST,     /* struct opt_list *: may be given more than once */
    OPT_MANY,     /* struct opt_list *: takes every word up to the next one that begins with -- */
};

struct opt_list {
    const char *v[4096];
    size_t n;
};

struct opt {
    enum opt_kind kind;
    const char *name; /* "state" for --state; a one-letter alias may follow: "help|h" */
    const char *arg;  /* what --help calls its value: "DIR"; NULL for a flag */
    const char *help;
    size_t offset; /* of the target in the command's own struct */
};

/* Parse argv[1..]; words without -- go to `rest` (may be NULL: then they are errors); "--" ends options.
 * --name=value and --name value are the same. ERR_INVAL with a sentence that names the near option. */
int opts_parse(int argc, char **argv, const struct opt *table, void *target, struct opt_list *rest,
               struct err *e);

/* usage is "hato keygen DOMAIN SELECTOR [options]\n\nWhat it does ...". Goes to stdout. */
void opts_help(const char *usage, const struct opt *table);

#endif
