/* event.h - events as programs and people read them.
 *
 * A record of an event holds numbers: of names, of its session. struct event_names is the dictionary for
 * them, filled by feeding it every record of the journal in order. What is never written because it follows
 * from other things (Message-ID, VERP return path, kind) is made here, the same each time. */
#ifndef HATO_DELIVERY_EVENT_H
#define HATO_DELIVERY_EVENT_H

#include "delivery/message.h"
#include "format/record.h"

struct event_names;

/* secret: borrowed until event_names_free(); NULL: message ids and VERP addresses are not known. */
struct event_names *event_names_new(const struct secret *secret);
/* It has come to be known. Borrowed alike. */
void event_names_secret(struct event_names *n, const struct secret *secret);
void event_names_free(struct event_names *n);
/* Take what the record tells: names and sessions; nothing of the others. Copies. */
void event_names_learn(struct event_names *n, const struct rec *r);

/* SLICE_NONE for a number that is 0 or not known. Borrowed until event_names_free(). */
struct slice event_name(const struct event_names *n, enum rec_name_kind kind, uint32_t number);
/* NULL: not known (any more: the latest 262,144 are kept). Borrowed until the next event_names_learn(). */
const struct rec_session *event_session(const struct event_names *n, uint64_t session);

/* The event "accepted", which is the recipient's record itself. Borrows from r. */
void event_of_recipient(const struct rec_recipient *r, struct rec_event *out);

/* Append, or nothing where it cannot be known. */
void event_message_id(struct buf *out, const struct event_names *n, const struct rec_event *ev);
void event_envelope_from(struct buf *out, const struct event_names *n, const struct rec_event *ev);
/* "4.7.1", or nothing. */
void event_enhanced(struct buf *out, const struct rec_event *ev);

/* "rcpt" …, "async", "" for none. Never NULL. */
const char *event_phase(const struct rec_event *ev);
/* It came back after the session was over: the message had its end before. */
static inline bool event_is_late(const struct rec_event *ev)
{
    return ev->type == EVENT_BOUNCED && ev->phase == REC_PHASE_ASYNC;
}

/* What an end with this class does to the person; cls: of ev->class_name. */
enum class_kind event_kind(const struct rec_event *ev, enum reply_class cls);
/* What it did to the recipient: "suppressed", "quarantined", "counted" toward it, or "". */
const char *event_person(const struct rec_event *ev);
/* An attempt, or the end of one: has phase, code, class … */
bool event_is_attempt(const struct rec_event *ev);

/* One JSON object, no line end. What is not known is null. Numbers over 2^53 are
 * strings, as many readers of JSON round them. */
void event_json(struct buf *out, const struct rec_event *ev, const struct event_names *n);
/* One line for people, no line end. */
void event_line(struct buf *out, const struct rec_event *ev, const struct event_names *n);

/* "m10423": how a message is called everywhere, and back. ERR_SYNTAX; the m may be left out. */
void event_message_text(struct buf *out, uint64_t id);
int event_message_parse(struct slice text, uint64_t *id);

#endif
