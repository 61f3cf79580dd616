/* rule.h - rules that give a reply its class.
 *
 *   rules_compile_shipped(script_specs, n, &rules, &e)  what a script says, before what ships with hato
 *   rules_classify(rules, work, &in, &out)              the first rule that matches, never none
 *
 * A rule matches when all that it names fits: isp, phase, code, enhanced status, text. The order of the rules
 * is their rank. What the class then means for the message is not decided here: where code and enhanced
 * status disagree the code says whether there is another try, the status has a say in the class only.
 *
 * Compiled rules never change and may be used by any number of threads; each brings a rule_work of its own.
 * Texts are hostile: they are cut at RULE_TEXT_MAX, and a pattern that costs more than its budget does not
 * match. */
#ifndef HATO_FORMAT_RULE_H
#define HATO_FORMAT_RULE_H

#include "base/err.h"
#include "format/reply_class.h"
#include "format/smtp_phase.h"
#include "format/smtp_reply.h"

enum {
    RULE_TEXT_MAX = 2048,    /* bytes of a text that are looked at */
    RULE_PATTERN_MAX = 4096, /* bytes of a pattern */
    RULES_MAX = 10000,
};

/* One rule as it is written. Empty slices and zeros: any. Slices must live until rules_compile() returns. */
struct rule_spec {
    struct slice name;      /* "gmail.unusual-rate", "init.lua:12 rule 3": what events and people are told */
    struct slice isp;       /* as hato.isp names it */
    unsigned phases;        /* bits 1u << enum smtp_phase; rule_phase_bits() */
    int code_from, code_to; /* both ends belong to it */
    struct slice enhanced;  /* "4.7.28" whole, "5.7." a beginning, "x.1.1" of either class, "x.7.606-649" */
    struct slice text;      /* PCRE2, caseless, UTF-8, found anywhere in the text */
    bool words;             /* look at the text without addresses, host names and links */
    enum reply_class cls;
    bool retry; /* try again though it is 5xx */
};

/* What is known of a reply. Nothing known: empty, RULE_PHASE_UNKNOWN, 0, NULL, SLICE_NONE. */
enum { RULE_PHASE_UNKNOWN = -1 };
struct rule_in {
    struct slice isp;
    int phase; /* enum smtp_phase; unknown: no rule that names phases matches */
    int code;
    const struct smtp_enhanced *enhanced;
    struct slice text;     /* smtp_reply.text: code, status and lines joined by spaces */
    struct slice provider; /* a rule's isp may be this name too */
};

struct rule_out {
    enum reply_class cls;
    bool retry;       /* the rule wants a 5xx tried again */
    const char *rule; /* its name, "none" if nothing matched; as long as the rules */
    int index;        /* among the specs as given, the script's first; -1: nothing matched */
};

/* Phases that a rule means when it names this one: data is also eod. */
unsigned rule_phase_bits(enum smtp_phase named);

/* Is it well-formed? ERR_INVAL with a sentence that names the field ("text: missing closing parenthesis at
 * character 7"), ERR_LIMIT for a pattern that is too long or too costly. */
int rule_check(const struct rule_spec *spec, struct err *e);

/* Whatever b matches, a matches too: behind a, b never has its turn. Two good specs; of texts only equal ones
 * are known to cover each other. */
bool rule_covers(const struct rule_spec *a, const struct rule_spec *b);

struct rules;
/* Errors are rule_check()'s behind the rule's name. */
int rules_compile(const struct rule_spec *specs, size_t n, struct rules **out, struct err *e);
void rules_free(struct rules *r); /* may be NULL */
size_t rules_count(const struct rules *r);

struct rule_work;
struct rule_work *rule_work_new(void); /* fits any rules */
void rule_work_free(struct rule_work *w);

/* Never fails: CLASS_UNKNOWN where nothing matches. */
void rules_classify(const struct rules *r, struct rule_work *w, const struct rule_in *in,
                    struct rule_out *out);
/* Does rule number index match, whatever stands before it? For the test of the shipped rules. */
bool rules_one_matches(const struct rules *r, struct rule_work *w, size_t index, const struct rule_in *in);

#endif
