/* dkim.h - DKIM signing (RFC 6376; Ed25519: RFC 8463), relaxed/relaxed, always the whole body (no l=).
 *
 * A key is loaded once and shared; a dkim_work belongs to one thread and keeps what OpenSSL would otherwise
 * allocate for each message. Several signatures made in one call share one body hash and, unless one names
 * its own header list, one pass over the header. */
#ifndef HATO_FORMAT_DKIM_H
#define HATO_FORMAT_DKIM_H

#include "base/err.h"
#include "base/mem.h"

/* --- keys --- */
enum dkim_type { DKIM_RSA, DKIM_ED25519 };

/* Immutable after loading, so any number of threads may sign with it. */
struct dkim_key {
    struct evp_pkey_st *pkey;
    struct rsa_pair_key *pair; /* signs two messages at once; NULL: OpenSSL signs each */
    unsigned char *ed25519;    /* libsodium's secret key: the seed, then the public key; NULL for RSA */
    enum dkim_type type;
    int bits;
    bool weak; /* RSA below 2048 bits: signs, but RFC 8301 advises against it and some receivers refuse it */
};

/* RSA (PKCS#1 or PKCS#8) and Ed25519 (PKCS#8) in PEM, unencrypted; or an Ed25519 seed of 32 bytes in base64,
 * as in RFC 8463. ERR_SYNTAX: no key in there; ERR_UNSUPPORTED: a key that DKIM has no use for. */
int dkim_key_load(struct slice text, struct dkim_key **out, struct err *e);
void dkim_key_free(struct dkim_key *key); /* NULL allowed; no dkim_sign may be using it */

/* A new RSA-2048 or Ed25519 private key, PKCS#8 PEM, appended to pem. */
int dkim_key_generate(enum dkim_type type, struct buf *pem, struct err *e);

/* The TXT record for SELECTOR._domainkey.DOMAIN: "v=DKIM1; k=rsa; p=...". */
int dkim_record(const struct dkim_key *key, struct buf *out);

/* A TXT value as zone files write it: quoted strings of at most 255 bytes (RFC 1035 3.3), a space between. */
void dkim_record_quoted(struct slice record, struct buf *out);

/* --- signing --- */
struct dkim_identity {
    const struct dkim_key *key; /* borrowed */
    struct slice domain, selector;
    struct slice auid;    /* i=; empty: left out */
    struct slice headers; /* h= as written, names joined by ':' with single spaces where it may fold; empty:
                             see below */
    int64_t expire_s;     /* x= this long after t=; 0: none */
};

/* What may stand in d= and s=, to be asked when a script loads. ERR_INVAL with words. */
int dkim_identity_check(const struct dkim_identity *id, struct err *e);

struct dkim_work;
struct dkim_work *dkim_work_new(void); /* one a thread */
void dkim_work_free(struct dkim_work *w);

/* Append n finished, folded DKIM-Signature fields to out, ids[0] on top; they go in front of the message.
 * header: whole fields, each ended by CRLF, without the empty line. body: consecutive pieces, CRLF line ends.
 * Covered by default: From, To, Cc, Subject, Date, Message-ID, Reply-To, MIME-Version, Feedback-ID and all
 * Content-* and List-*; of these From, To, Cc, Subject, Date, Reply-To and Content-Type once more than they
 * occur, so that none can be added afterwards (RFC 6376 8.15). ERR_SYNTAX: the header is malformed;
 * ERR_MISSING: no From; ERR_INVAL: an identity is; out is as it was. */
int dkim_sign(struct dkim_work *w, const struct dkim_identity *ids, size_t n, struct slice header,
              const struct slice *body, size_t nbody, int64_t time_s, struct buf *out);

/* Several messages, each as above: the same bytes, for less time where two keys of RSA-2048 can sign together
 * (format/rsa_pair.h). Each has its own result in rc. */
struct dkim_message {
    const struct dkim_identity *ids;
    size_t n;
    struct slice header;
    const struct slice *body;
    size_t nbody;
    int64_t time_s;
    struct buf *out;
    int rc;
};
void dkim_sign_all(struct dkim_work *w, struct dkim_message *messages, size_t n);

/* --- relaxed canonicalisation (RFC 6376 3.4.2, 3.4.4), on its own for tests and for reading signatures ---
 */

/* One field, with or without its CRLF; appends "name:value\r\n". ERR_SYNTAX: no name, or CR or LF that is not
 * part of folding. */
int dkim_canon_field(struct slice field, struct buf *out);

/* Cut the first field, continuation lines and CRLF included, off *rest. ERR_SYNTAX as above. */
int dkim_cut_field(struct slice *rest, struct slice *field, struct slice *name);

/* The body in pieces. Only CRLF ends a line; a lone CR or LF is text. */
struct dkim_body {
    void (*emit)(void *arg, const char *p, size_t n); /* takes the canonical bytes */
    void *arg;
    size_t crlfs;    /* line ends held back: those at the end of the body do not count */
    size_t nstage;   /* bytes in stage */
    bool wsp, cr;    /* held back: white space that may turn out to be trailing, CR that may be a line end */
    bool any;        /* text was seen */
    char stage[256]; /* what had to be rewritten, on its way to emit */
};
void dkim_body_start(struct dkim_body *b, void (*emit)(void *arg, const char *p, size_t n), void *arg);
void dkim_body_add(struct dkim_body *b, struct slice piece);
void dkim_body_end(struct dkim_body *b);

#endif
