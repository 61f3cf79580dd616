/* act_file.h - acts written down as text, and those that ship with hato (lua/hato/backoff.rules).
 *
 *   # A comment.
 *   suspend  microsoft.block-list  for=4h after=1 alert
 *       says  outlook  550 5.7.1 … part of their network is on our block list (S3150)
 *
 * A line at the margin is an act and what it is about: a rule of bounces.rules by its name,
 * `class:auth_failed`, or `failure:lost`. Behind it, in any order: scope= (path unless given), factor=, for=,
 * recover=, after=, least=, share=, within= as in hato.bounces, isp=NAME, has=TEXT (found in the reply, no
 * case; in double quotes where it holds spaces), alert. The first line that fits wins. Below it `says`: an
 * isp and a reply that the line is for, at least once where it is about replies. */
#ifndef HATO_DELIVERY_ACT_FILE_H
#define HATO_DELIVERY_ACT_FILE_H

#include "delivery/act.h"

struct act_sample {
    size_t rule; /* index of its rule */
    struct slice isp, text;
    int line;
};
struct act_file {
    struct act_rule *rules;
    size_t n;
    struct act_sample *samples;
    size_t nsamples;
};

/* name stands in front of errors. What is read belongs to the arena and borrows from text. ERR_SYNTAX,
 * ERR_INVAL, ERR_MISSING with a sentence. */
int act_file_read(struct slice text, const char *name, struct arena *a, struct act_file *out, struct err *e);

/* The file that is linked into the program. */
struct slice act_file_shipped(void);

#endif
