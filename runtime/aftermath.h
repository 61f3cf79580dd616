/* aftermath.h - what answers put in place: the measure that began with an answer to one of the messages
 * somebody asks about, and whom else that slowed. */
#ifndef HATO_AFTERMATH_H
#define HATO_AFTERMATH_H

#include "story.h"

struct aftermath;

/* The stories are read, and their reasons ended. Reads the journal once more where there is something to
 * count. Borrows both. */
int aftermath_new(const struct stories *ss, struct journal *journal, struct aftermath **out, struct err *e);
void aftermath_free(struct aftermath *a); /* NULL is fine */

/* Lines, indented, of what the answer of this step began; none where it began nothing. */
void aftermath_text(const struct aftermath *a, const struct story *m, size_t step, struct buf *out);
/* Objects with commas between: {"since","why","until","lifted","slowed","campaigns"}, of every step. */
void aftermath_json(const struct aftermath *a, const struct story *m, struct buf *out);

#endif
