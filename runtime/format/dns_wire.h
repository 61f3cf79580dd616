/* dns_wire.h - DNS messages as bytes (RFC 1035, 2181, 2308, 3596, 6891, 7505): read, written, nothing asked.
 *
 * Names are in presentation form without the dot at the end: "mx.example.jp"; the root is ".". A dot or
 * backslash inside a label is "\." and "\\", a byte that does not print is "\DDD". Letters keep their case
 * (a server must give the question back as it came): compare with slice_ieq(). */
#ifndef HATO_FORMAT_DNS_WIRE_H
#define HATO_FORMAT_DNS_WIRE_H

#include "base/mem.h"
#include "format/ip.h"

enum dns_type {
    DNS_A = 1,
    DNS_NS = 2,
    DNS_CNAME = 5,
    DNS_SOA = 6,
    DNS_PTR = 12,
    DNS_MX = 15,
    DNS_TXT = 16,
    DNS_AAAA = 28,
    DNS_OPT = 41,
    DNS_ANY = 255,
};
enum { DNS_IN = 1 };
enum dns_rcode {
    DNS_NOERROR = 0,
    DNS_FORMERR = 1,
    DNS_SERVFAIL = 2,
    DNS_NXDOMAIN = 3,
    DNS_NOTIMP = 4,
    DNS_REFUSED = 5,
    DNS_BADVERS = 16,
};
enum dns_section { DNS_ANSWER, DNS_AUTHORITY, DNS_ADDITIONAL };
enum { DNS_NAME_MAX = 255, DNS_UDP_MAX = 512, DNS_EDNS_MAX = 1232, DNS_TTL_MAX_S = 0x7fffffff };

struct dns_record {
    enum dns_section section;
    struct slice name;
    uint16_t type, cls;
    uint32_t ttl_s;
    struct ip ip;        /* A, AAAA */
    uint16_t pref;       /* MX */
    struct slice target; /* MX, CNAME, NS, PTR; SOA: the primary server */
    struct slice text;   /* TXT: its strings joined. A type not listed here: the bytes as they are */
    struct slice rname;  /* SOA */
    uint32_t serial, refresh_s, retry_s, expire_s, minimum_s;
};

struct dns_message {
    uint16_t id;
    uint8_t opcode;
    uint16_t rcode; /* with EDNS's upper bits */
    bool response, authoritative, truncated, recursion_desired, recursion_available, authentic, no_check;
    bool asks; /* has its one question; qname, qtype, qclass are set */
    struct slice qname;
    uint16_t qtype, qclass;
    bool edns; /* had, or gets, an OPT record; it is not among v */
    uint8_t edns_version;
    uint16_t edns_bytes;  /* the sender takes UDP messages of this size */
    struct dns_record *v; /* in the order of the message, rising section */
    size_t n;
};

/* Read a whole message; everything in out lives in a (text of unknown types included). A TTL with its top
 * bit set is 0 (RFC 2181 8). Bytes behind the last record are passed over.
 * ERR_SYNTAX: not DNS, or names that point forward or in circles; ERR_UNSUPPORTED: more than one question;
 * ERR_LIMIT: expands to more than a message can honestly hold. */
int dns_parse(struct slice bytes, struct arena *a, struct dns_message *out);

/* Append the message, names compressed. What is longer than max_bytes (at least 512) goes without its
 * records and with the truncation bit (RFC 2181 9). ERR_SYNTAX: a name that cannot be written; ERR_LIMIT:
 * RDATA over 65,535 bytes. out is as it was on error. */
int dns_encode(const struct dns_message *m, size_t max_bytes, struct buf *out);

/* The labels of a name in presentation form, with a dot at the end or without: lengths, bytes, closing zero.
 * ERR_SYNTAX: empty label, unprinted byte, bad escape; ERR_RANGE: label over 63 or name over 255 bytes. */
int dns_name_wire(struct slice name, uint8_t wire[DNS_NAME_MAX], size_t *n);

/* The one spelling a name is looked up by: lower case, no dot at the end, escapes only where needed. Errors
 * as dns_name_wire. The result lives in a. */
int dns_name_fold(struct slice name, struct arena *a, struct slice *out);

/* A name a mail host can have: letters, digits, hyphens and underscores; not an address in four numbers. */
bool dns_name_is_host(struct slice name);

/* How long a NODATA or NXDOMAIN holds: the smaller of the SOA's TTL and its minimum (RFC 2308 5).
 * false: there is no SOA, so nothing is said (and an answer with NS records instead is a referral). */
bool dns_negative_ttl(const struct dns_message *m, uint32_t *ttl_s);

/* 192.0.2.1 → "1.2.0.192.in-addr.arpa"; IPv6 by nibbles under ip6.arpa (RFC 3596 2.5). */
void dns_reverse_name(struct ip ip, struct buf *out);

/* "MX"; "TYPE99" for what has no name here, in static storage only for known ones: hence the buffer. */
const char *dns_type_name(uint16_t type, char spare[12]);

#endif
