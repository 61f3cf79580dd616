/* judge.h - from what was said to a class: the rules for replies first, then the phrases of whole mails.
 * Inside returned. */
#ifndef HATO_FORMAT_RETURNED_JUDGE_H
#define HATO_FORMAT_RETURNED_JUDGE_H

#include "format/returned/finding.h"

struct judge;
/* rules: borrowed. Errors are rules_compile()'s about the phrases. */
int judge_new(const struct rules *rules, struct judge **out, struct err *e);
void judge_free(struct judge *j);
void judge_isps(struct judge *j, returned_isp_fn *fn, void *data); /* returned_reader_isps() */

/* The class of one failed or delayed recipient. prose: lines about it beside a diagnostic field; common:
 * lines about nobody in particular. Fills code, enhanced, status, phase, text, cls, kind and rule of out. */
void judge_recipient(struct judge *j, const struct finding *f, struct slice prose, struct slice common,
                     struct slice subject, struct arena *a, struct returned_recipient *out);

/* What a subject says of the mail: CLASS_AUTO_REPLY, CLASS_EXPIRED (it is late), CLASS_DELIVERED,
 * CLASS_FEEDBACK, CLASS_MAILER (it is a report of failure), or CLASS_UNKNOWN. */
enum reply_class judge_subject(struct judge *j, struct slice subject);
/* Does any phrase of a failed mail occur in the text? */
bool judge_has_phrase(struct judge *j, struct slice text);

#endif
