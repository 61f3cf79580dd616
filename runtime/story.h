/* story.h - the messages that somebody asks about, as a journal tells them: each one's chain, its events in
 * words and as JSON, and where it stands. */
#ifndef HATO_STORY_H
#define HATO_STORY_H

#include "base/map.h"
#include "delivery/chain.h"
#include "delivery/explain.h"
#include "delivery/rest.h"
#include "journal.h"

enum { STORY_INDENT = 23 }; /* of an event's further lines */

/* What is printed of an event, behind the waits before it. */
struct story_line {
    size_t step;
    int64_t at_ms;
    size_t from, to; /* in text */
};

struct story {
    struct chain c;
    struct explain_message m;
    struct buf text; /* of events */
    struct story_line *lines;
    size_t nlines, caplines;
    struct buf json; /* events, with commas between */
    struct buf live; /* what the hato that runs says of it; empty: nothing */
    int64_t live_until_ms;
};

struct stories;

/* word: an address however it is written, a message's number (m17), its Message-ID, or the return path that
 * its bounce was sent to. journal is borrowed for as long as the stories are there. */
struct stories *stories_new(struct journal *journal, const char *word);
/* All of the journal, from its beginning; once. */
int stories_read(struct stories *ss, struct err *e);
void stories_free(struct stories *ss); /* NULL is fine */

/* NULL: not asked for, or not in the journal. */
struct story *stories_get(const struct stories *ss, uint64_t id);
/* In order of acceptance: size_t at = 0; while ((s = stories_next(ss, &at))) ... */
struct story *stories_next(const struct stories *ss, size_t *at);
/* What would keep these back if hato ran now. */
const struct rest *stories_rest(const struct stories *ss);
/* What mail waited for, by the same journal. */
struct reasons *stories_reasons(const struct stories *ss);

#endif
