/* message.h - how one message is put together and signed.
 *
 * Assembly is a pure function of (content, recipient's record, identity, Date, edits): the
 * same in production, simulation and `hato message`, the same on a retry. */
#ifndef HATO_DELIVERY_MESSAGE_H
#define HATO_DELIVERY_MESSAGE_H

#include "delivery/conf.h"
#include "format/addr.h"
#include "format/dkim.h"
#include "format/mime.h"
#include "format/record.h"
#include "format/verp.h"

/* --- identity: a stream's side of every message --- */

/* 32 random bytes, kept 0600 in the state folder: what message ids, tokens and duplicate keys are made with.
 */
struct secret {
    struct hash_key dup_key, id_key;
    struct verp_key verp;
};
void secret_from_bytes(const unsigned char bytes[32], struct secret *out);

struct content;

struct identity {
    const struct conf_stream *conf; /* borrowed */
    const struct secret *secret;    /* borrowed */
    struct dkim_key **keys;
    struct dkim_identity *dkim;
    size_t ndkim;
    struct content *unsubscribe; /* its templates; NULL: none */
    struct slice feedback_tail;  /* ":STREAM:KIND:DOMAIN" */
    struct slice list_id;
    int (*offset_at)(void *arg, int64_t unix_s); /* seconds east of UTC; any thread; NULL: UTC */
    void *offset_arg;
};
/* Loads the keys. ERR_* naming stream and file. */
int identity_new(const struct conf_stream *conf, const struct secret *secret, struct identity **out,
                 struct err *e);
void identity_free(struct identity *i);

/* --- assembly --- */

/* What a thread keeps between messages. */
struct message_scratch;
struct message_scratch *message_scratch_new(void);
void message_scratch_free(struct message_scratch *s);

/* A finished message; reuse it (message_clear) for the next. */
struct message {
    struct buf payload;       /* the recipient's record as it was read */
    struct rec_recipient rec; /* borrowed from payload */
    struct buf head;          /* signatures, header, empty line */
    struct mime_out mime;
    struct slice *wire; /* head, then body pieces: what leaves */
    size_t nwire, cap_wire;
    uint64_t size_bytes;
    struct buf from, rcpt, rcpt_raw; /* envelope, SMTP form */
    bool needs_smtputf8;
    uint32_t unmappable;     /* characters that its stream's charset could not show as written */
    struct slice message_id; /* in arena */
    struct content *own;     /* hato.send: compiled for this message alone */
    struct arena arena;
};
void message_clear(struct message *m);
void message_free(struct message *m);

struct message_in {
    uint64_t id;
    const struct content *content; /* NULL: the record has its own (hato.send) */
    const struct identity *identity;
    struct slice campaign; /* name; empty for hato.send */
    int64_t date_s;
    struct slice edits;    /* of the message hook */
    struct slice redirect; /* the only recipient there is (a test run); empty: none */
};

/* m->payload holds the record. ERR_MISSING, ERR_INVAL … with a sentence: nothing is sent. */
int message_assemble(const struct message_in *in, struct message_scratch *s, struct message *m,
                     struct err *e);

/* Two messages, each as above, with its own result in rc: the same bytes, signed together where
 * identity_signs_two() is true of both. One whose rc is not 0 beforehand is left out. */
struct message_making {
    const struct message_in *in;
    struct message *m;
    struct err *e;
    int rc;
};
void message_assemble_two(struct message_making two[2], struct message_scratch *s);
bool identity_signs_two(const struct identity *i);

/* "<base32@domain>" without the brackets, for events; the same for every try. */
void message_id_text(const struct secret *s, uint64_t id, struct slice domain, struct buf *out);

/* Edits of a message hook: [[name, value], …]. */
void message_edits_begin(struct buf *out, uint32_t n);
void message_edits_add(struct buf *out, struct slice name, struct slice value);
/* Headers that a hook or script must not set: what hato itself is answerable for. */
bool message_header_is_ours(struct slice name);

#endif
