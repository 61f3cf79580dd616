/* script_event.h - an event as scripts see it: the fields that hato.on("events") and hato.on("reply") show.
 */
#ifndef HATO_SCRIPT_EVENT_H
#define HATO_SCRIPT_EVENT_H

#include "delivery/deliver.h"
#include "lua/hooks.h"

/* Points into itself: filled where it stands, and not copied. */
struct script_event {
    struct hook_field fields[26]; /* named as in the JSON of events; what is empty or zero is left out */
    size_t n;
    char message[32], enhanced[24];
};

/* Text is borrowed from ev and from d, which knows the names behind its numbers. */
void script_event_fill(struct script_event *s, const struct deliver *d, const struct rec_event *ev);

/* One field of text, by its name; both borrowed. */
struct hook_field script_text(const char *name, struct slice text);
/* "m17", the name of a message wherever people read it. */
void script_message_name(char out[32], uint64_t id);

#endif
