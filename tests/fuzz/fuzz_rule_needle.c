/* fuzz_rule_needle.c - any pattern that PCRE2 takes, on any text: where it matches, one of its needles is
 * there, so that the scan lets it through. Input: pattern, newline, text. */
#include "base/err.h"
#include "format/rule_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text, pattern = slice_cut(slice_of(data, size), '\n', &text);
    struct rule_spec spec = {.name = S("r"), .isp = SLICE_NONE, .enhanced = SLICE_NONE, .text = pattern};
    struct rules *rules;
    struct rule_out out;
    struct err e;
    struct arena a = {0};
    struct rule_file file;

    if (pattern.n && rules_compile(&spec, 1, &rules, &e) == 0) {
        struct rule_work *work = rule_work_new();
        struct rule_in in = {.isp = SLICE_NONE, .phase = RULE_PHASE_UNKNOWN, .text = text};
        rules_classify(rules, work, &in, &out);
        INVARIANT((out.index == 0) == rules_one_matches(rules, work, 0, &in));
        rule_work_free(work);
        rules_free(rules);
    }
    /* The same bytes as a file of rules: read or refused with a sentence. */
    if (rule_file_read(slice_of(data, size), "fuzz", "", &a, &file, &e))
        INVARIANT(e.text[0]);
    arena_free(&a);
    return 0;
}
