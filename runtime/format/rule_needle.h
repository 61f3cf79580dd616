/* rule_needle.h - which of many patterns can match a text at all, found in one pass over it.
 *
 * A pattern such as "(?:user|mailbox) (?:is )?unknown" cannot match without "user" or "mailbox": those are
 * its needles. pattern_needles() finds them, a struct haystack holds those of all patterns (Aho and Corasick,
 * Efficient string matching, 1975), and haystack_scan() sets the bit of each pattern that has one in the
 * text. ASCII has no case here; the other direction is what matters: a pattern whose bit stays clear cannot
 * match. */
#ifndef HATO_FORMAT_RULE_NEEDLE_H
#define HATO_FORMAT_RULE_NEEDLE_H

#include "base/mem.h"

enum {
    NEEDLE_MIN = 2, /* bytes; shorter ones are in every text */
    NEEDLE_MAX = 12,
    NEEDLES_MOST = 200, /* of one pattern */
};

/* One of the needles stands in every text that the PCRE2 pattern matches, PCRE2_CASELESS and PCRE2_UTF given.
 * Returns how many, in lower case, in the arena; 0: nothing is known, the pattern must be tried. What it does
 * not understand it takes for unknown. The pattern must be one that PCRE2 compiles. */
size_t pattern_needles(struct slice pattern, struct arena *a, struct slice **out);

struct haystack;
struct haystack *haystack_new(void);
/* Before haystack_build(). bit: of the pattern. */
void haystack_add(struct haystack *h, struct slice needle, uint32_t bit);
void haystack_build(struct haystack *h);
void haystack_free(struct haystack *h); /* may be NULL */

/* Set the bits of all whose needle is in the text. false: the text holds a letter whose lower case is ASCII
 * though it is not (U+017F, U+212A); anything may match. */
bool haystack_scan(const struct haystack *h, struct slice text, uint64_t *bits);

#endif
