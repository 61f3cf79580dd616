/* spf.h - may this address send for this domain: check_host() of RFC 7208.
 *
 * No DNS happens here. The caller's lookup answers, or says SPF_DNS_WAIT, asks, and calls spf_check() again
 * when it knows: the same record leads to the same questions in the same order, at most some 120 of them
 * (RFC 7208 4.6.4: 10 terms that look something up, 10 hosts each). Everything that comes in is hostile. */
#ifndef HATO_FORMAT_SPF_H
#define HATO_FORMAT_SPF_H

#include "base/err.h"
#include "base/mem.h"
#include "format/dns_wire.h"
#include "format/ip.h"

enum spf_result {
    SPF_NONE,      /* the domain has no record, or is none */
    SPF_NEUTRAL,   /* it says nothing about this address */
    SPF_PASS,      /* may send */
    SPF_FAIL,      /* may not */
    SPF_SOFTFAIL,  /* probably may not */
    SPF_TEMPERROR, /* DNS failed: nobody knows now */
    SPF_PERMERROR  /* the record is wrong, or costs more than the limits */
};
const char *spf_result_name(enum spf_result r); /* "none", "neutral", "pass" ... */

enum {
    SPF_LOOKUPS_MAX = 10, /* RFC 7208 4.6.4: include, a, mx, ptr, exists and redirect */
    SPF_VOIDS_MAX = 2,    /* answers without a record */
    SPF_HOSTS_MAX = 10,   /* of one mx or ptr */
};

enum spf_dns {
    SPF_DNS_OK,     /* at least one record */
    SPF_DNS_VOID,   /* no such name, or no such record */
    SPF_DNS_FAILED, /* no answer, or none that helps */
    SPF_DNS_WAIT,   /* not known yet */
};
struct spf_answer {
    const struct slice *v; /* TXT: records, their strings joined; MX: hosts by preference; PTR: names */
    const struct ip *ips;  /* A, AAAA */
    size_t n;
};
/* type: DNS_TXT, DNS_A, DNS_AAAA, DNS_MX, or DNS_PTR, for which name is an address as text. What out points
 * to must live until spf_check() returns. */
typedef enum spf_dns spf_lookup_fn(void *data, enum dns_type type, struct slice name, struct spf_answer *out);

struct spf_in {
    struct ip ip;
    struct slice domain; /* of MAIL FROM, ASCII */
    struct slice sender; /* local@domain; empty: postmaster@domain */
    struct slice helo;
    /* Let no mechanism match and bear with too many look-ups: what the whole record can cost. */
    bool whole;
    spf_lookup_fn *lookup;
    void *data;
};
struct spf_out {
    enum spf_result result;
    unsigned lookups, voids;
    struct slice record; /* the domain's own; empty: none */
    struct slice
        term; /* what decided ("ip4:192.0.2.0/24", in the record or one that it includes); may be empty */
    const char *why; /* a sentence for none, temperror and permerror; else "" */
};
/* out lives in a. ERR_AGAIN: a lookup said SPF_DNS_WAIT; out is not filled. */
int spf_check(const struct spf_in *in, struct arena *a, struct spf_out *out);

/* Is this TXT record one of SPF's: "v=spf1", then a space or the end. */
bool spf_is_record(struct slice text);

#endif
