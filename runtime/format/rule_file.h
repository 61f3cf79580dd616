/* rule_file.h - rules written down as text, and the ones that ship with hato (lua/hato/bounces.rules).
 *
 *   # A comment.
 *   source  support.google.com/a/answer/3726730, 2026-11-21
 *
 *   rate_limited  gmail.unusual-rate  isp=gmail code=421 retry
 *       text  unusual rate
 *       says  421 4.7.0 Our system has detected an unusual rate of mail
 *       not   421 4.7.0 Try again later, closing connection
 *
 * A line at the margin begins a rule: class, name, then what it wants: isp=, phase=, code= (550 or 500-599),
 * enhanced=, and the word retry. Below it `text` (or `words`: the same without addresses, host names and
 * links) is a pattern, and more such lines are alternatives to it; each becomes a spec of its own, so that
 * each is looked for only where it can match. `says` is a reply that the rule is for, `not` one that comes
 * near and means something else; each at least once. `source` holds for the rules after it. Why not Lua:
 * readers of returned mail have no VM, and a rule's proof should stand beside the rule. */
#ifndef HATO_FORMAT_RULE_FILE_H
#define HATO_FORMAT_RULE_FILE_H

#include "format/rule.h"

struct rule_sample {
    size_t spec;       /* index of its rule's first spec; more of the same name may follow */
    bool miss;         /* a `not` */
    struct slice text; /* the reply */
    int line;
};

/* What a file holds; slices borrow from its text and from the arena. */
struct rule_file {
    struct rule_spec *specs;
    size_t n;
    struct rule_sample *samples;
    size_t nsamples;
};

/* name stands in front of errors ("bounces.rules:12: ..."); prefix in front of each rule's name. The rules'
 * patterns are not compiled. ERR_SYNTAX, ERR_INVAL, ERR_MISSING with a sentence. */
int rule_file_read(struct slice text, const char *name, const char *prefix, struct arena *a,
                   struct rule_file *out, struct err *e);

/* The file that is linked into the program. */
struct slice rule_file_shipped(void);

/* n specs of a script first, then the shipped ones, whose names begin with "shipped:". */
int rules_compile_shipped(const struct rule_spec *specs, size_t n, struct rules **out, struct err *e);

#endif
