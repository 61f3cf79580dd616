/* dmarc.h - DMARC policy records, whose they are, and alignment (RFC 9989; the form of 7489 without pct, rf,
 * ri).
 *
 *   n = dmarc_walk(domain, names);              ask for the TXT records of "_dmarc." + each of names
 *   dmarc_pick(records, nrecords, &seen[i]);    the one that counts at a name
 *   org = dmarc_org(domain, names, seen, n);    the organizational domain (4.10.2)
 *   at = dmarc_policy(...)                      whose record says what holds for the domain
 *
 * No DNS happens here; records are hostile, and slices borrow from them. */
#ifndef HATO_FORMAT_DMARC_H
#define HATO_FORMAT_DMARC_H

#include "base/mem.h"

enum dmarc_word { DMARC_ABSENT, DMARC_NONE, DMARC_QUARANTINE, DMARC_REJECT };
const char *dmarc_word_name(enum dmarc_word w);

struct dmarc_record {
    enum dmarc_word p;      /* DMARC_NONE where it is malformed or absent and rua is there (4.7) */
    enum dmarc_word sp, np; /* for existing and for other subdomains; absent: as p */
    bool strict_dkim, strict_spf;
    bool test;             /* t=y: one policy weaker is to be applied */
    char psd;              /* 'y', 'n' or 'u' */
    struct slice rua, ruf; /* where reports go; may be empty */
    struct slice wrong;    /* the first tag that is malformed or no longer means anything; empty: none */
};

/* Is the text meant to be a policy record: "v=DMARC1" first. */
bool dmarc_is_record(struct slice text);
/* False: it is none, or says nothing that counts (no policy and nowhere to report). */
bool dmarc_parse(struct slice text, struct dmarc_record *out);

struct dmarc_seen {
    bool found;
    bool several; /* more than one record stands there: none counts */
    struct dmarc_record record;
};
void dmarc_pick(const struct slice *texts, size_t n, struct dmarc_seen *out);

enum { DMARC_WALK_MAX = 8 };
/* The domain and those above it, at most 8 (4.10: more than 7 labels are skipped). Returns how many. */
size_t dmarc_walk(struct slice domain, struct slice names[DMARC_WALK_MAX]);
/* A tail of domain. */
struct slice dmarc_org(struct slice domain, const struct slice *names, const struct dmarc_seen *seen,
                       size_t n);
/* Index of the name whose record holds for the domain, and what that record asks for it; n: none does. */
size_t dmarc_policy(struct slice domain, const struct slice *names, const struct dmarc_seen *seen, size_t n,
                    enum dmarc_word *out);

/* Do two domains agree: the same, or relaxed of the same organizational domain. */
bool dmarc_aligned(bool strict, struct slice a, struct slice a_org, struct slice b, struct slice b_org);

#endif
