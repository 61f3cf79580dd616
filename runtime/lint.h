/* lint.h - what a script says that is allowed and probably not meant; looked at without sending anything. */
#ifndef HATO_LINT_H
#define HATO_LINT_H

#include "hato.h"

enum lint_level { LINT_NOTE, LINT_WARNING, LINT_ERROR };

struct lint_finding {
    enum lint_level level;
    struct conf_place place; /* file may be empty */
    struct slice text;       /* borrowed for the call */
};
typedef void lint_fn(void *data, const struct lint_finding *f);

/* Streams without what receivers ask for, EHLO names without a dot: what `run` says too when it starts. */
void lint_senders(const struct conf *c, lint_fn *fn, void *data);
/* When the last of those who wait in a campaign would have their turn, by all limits, rates and warm-ups:
 * what `run` says once its people are read, if that is behind `expire`, or late without one. */
void lint_campaign(struct hato *h, const struct campaign *c, lint_fn *fn, void *data);
/* All of it: the conf by itself; keys, people and addresses of this machine. The hato is loaded and opened
 * with its state in memory; its loop turns while people are read. script: its path. */
void lint_script(struct hato *h, const char *script, lint_fn *fn, void *data);

#endif
