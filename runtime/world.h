/* world.h - simulated receivers, read from a Lua file: `hato sink --world`, `hato sim --world`.
 *
 * A world is data: who receives for which domains at which addresses, with which manners, and what DNS says
 * wrongly. It keeps no state; counters (connections, accepted in the last hour, greylisted triples) belong to
 * whoever plays the world. Everything is borrowed from the world until world_free(). Text is never NULL.
 *
 *   return {
 *     isps = {
 *       gmail = {
 *         domains = { "gmail.test" },             -- required unless every_domain = true
 *         mx = { "mx.gmail.test", "20 mx2.gmail.test" },   -- preference 10 where none is written
 *         address = "127.0.1.1",                  -- or a list: one for each mx, or all for every mx
 *         extensions = { "PIPELINING", "CHUNKING", "SIZE 35882577", "STARTTLS", "8BITMIME", "SMTPUTF8",
 *                        "ENHANCEDSTATUSCODES", "DSN" },   -- all but DSN when the key is absent
 *         connections = 10,                       -- at once from one source; over it 421 instead of a banner
 *         per_connection = 50,                    -- messages; then 421 to MAIL
 *         delay = "20 ms",                        -- before every reply
 *         bytes_per_second = 1,                   -- how fast it reads
 *         greylist = "5 min",                     -- first sight of (source, from, to) and until then: 451
 *         unknown = 0.02,                         -- share of addresses that get 550 5.1.1, by their hash
 *         accept = "960/h",                       -- messages from one source in any such window; or by time
 *                                                 -- since it began: { "60/h", ["12 h"] = "120/h" }
 *         over = "421 4.7.28 slow down",          -- what MAIL gets beyond that; or at another phase, as a
 *                                                 -- reply below: { phase = "connect", disconnect = true }
 *         tls = "refuse",                         -- ok, refuse (454), garbage or disconnect (after the 220)
 *         replies = { { phase = "rcpt", to = "^bad", share = 0.5, reply = "550 5.1.1 no", delay = "1 s",
 *                       disconnect = true, garbage = true,
 *                       between = { "10 h", "11 h" } } },        -- since it began; the first match wins
 *       } },
 *     dns = { ["a.test"] = "servfail" },          -- see enum world_dns
 *     people = { },                               -- read by the simulation
 *   }
 */
#ifndef HATO_WORLD_H
#define HATO_WORLD_H

#include "base/err.h"
#include "base/mem.h"
#include "format/ip.h"
#include "format/smtp_phase.h"

struct pcre2_real_code_8;

/* One reply as it goes to the wire: every line with its code, CRLF behind each. */
struct world_answer {
    int code; /* 0 = none */
    struct slice wire;
};
#define WORLD_ANSWER(code, words) ((struct world_answer){code, S(#code " " words "\r\n")})

struct world_reply {
    enum smtp_phase phase;
    struct slice to;                 /* PCRE2, caseless, searched in the address; empty = every recipient */
    struct pcre2_real_code_8 *to_re; /* NULL when to is empty */
    uint32_t share_ppm;              /* of 1,000,000 */
    struct world_answer answer;      /* code 0: what it would have said anyway */
    int64_t delay_ms;                /* before it, on top of the ISP's delay */
    int64_t from_ms, until_ms;       /* when: since the receivers began; until_ms 0: always */
    bool garbage;                    /* bytes that are no SMTP reply instead of one */
    bool disconnect; /* after the reply; instead of it when there is neither reply nor garbage */
};

/* So many messages from one source in any window of so long. */
struct world_rate {
    int64_t from_ms; /* from when: since the receivers began */
    uint64_t messages;
    int64_t window_ms;
};

enum {
    WORLD_EXT_PIPELINING = 1,
    WORLD_EXT_CHUNKING = 2,
    WORLD_EXT_SIZE = 4,
    WORLD_EXT_STARTTLS = 8,
    WORLD_EXT_8BITMIME = 16,
    WORLD_EXT_SMTPUTF8 = 32,
    WORLD_EXT_ENHANCED = 64, /* ENHANCEDSTATUSCODES */
    WORLD_EXT_DSN = 128,
};

enum world_tls {
    WORLD_TLS_OK,
    WORLD_TLS_REFUSE,     /* 454 to STARTTLS */
    WORLD_TLS_GARBAGE,    /* 220, then bytes that are no TLS */
    WORLD_TLS_DISCONNECT, /* 220, then the end */
};

struct world_mx {
    struct slice host; /* lower case */
    uint16_t preference;
    const struct ip *addresses;
    size_t n_addresses;
};

struct world_isp {
    struct slice name;
    bool every_domain;     /* receives for every name that no other ISP has */
    struct slice *domains; /* lower case, without a final dot */
    size_t n_domains;
    struct world_mx *mx; /* at least one; mx[0].host is the name in its banner */
    size_t n_mx;
    struct ip *addresses; /* at least one */
    size_t n_addresses;
    unsigned extensions; /* WORLD_EXT_* */
    uint64_t size_limit; /* bytes; 0 = none */
    enum world_tls tls;
    uint32_t connections;      /* 0 = any number */
    uint32_t per_connection;   /* 0 = any number */
    int64_t delay_ms;          /* before every reply */
    uint32_t bytes_per_second; /* 0 = as fast as it can */
    int64_t greylist_ms;       /* 0 = no greylisting */
    uint32_t unknown_ppm;
    struct world_rate *accept; /* by from_ms, which differ; before the first: any number */
    size_t n_accept;
    /* What comes then, at its phase; a session that got past one before MAIL meets it at MAIL. */
    struct world_reply over;
    struct world_reply *replies;
    size_t n_replies;
};

enum world_dns {
    WORLD_DNS_OK,
    WORLD_DNS_SERVFAIL,
    WORLD_DNS_NXDOMAIN,
    WORLD_DNS_NODATA,      /* the name exists and has no record of any type asked for */
    WORLD_DNS_NULL_MX,     /* MX 0 . (RFC 7505) */
    WORLD_DNS_IMPLICIT_MX, /* no MX; A of its ISP's first host */
    WORLD_DNS_LOOP,        /* CNAME to itself by way of another name */
    WORLD_DNS_TIMEOUT,     /* no answer at all */
    WORLD_DNS_REFUSED,
    WORLD_DNS_TRUNCATED, /* TC over UDP: the whole answer comes over TCP only */
};

struct world_dns_entry {
    struct slice name; /* lower case, without a final dot */
    enum world_dns what;
};

struct world {
    struct world_isp *isps; /* in order of name */
    size_t n_isps;
    struct world_dns_entry *dns; /* in order of name */
    size_t n_dns;
    struct world_lookup *lookup;
    struct arena arena;
};

/* Run the file in a Lua state of its own that has no way out (no io, os, require, load; a budget of steps),
 * check every key, type and range. ERR_SYNTAX, ERR_INVAL, ERR_NOTFOUND, ERR_LIMIT; the text names the file
 * and the key, and the near name of an unknown one. `path` is only for the errors when `source` is given. */
int world_load(struct world **out, const char *path, struct err *e);
int world_parse(struct world **out, const char *path, struct slice source, struct err *e);
/* One ISP, "sink", that takes everything for every name at this address. */
struct world *world_default(const struct ip *address);
void world_free(struct world *w);

/* NULL where nobody receives. Names are taken in any case, with or without a final dot. */
const struct world_isp *world_isp_by_name(const struct world *w, struct slice name);
const struct world_isp *world_isp_by_domain(const struct world *w, struct slice domain);
const struct world_isp *world_isp_by_address(const struct world *w, const struct ip *address);
/* *mx (may be NULL) becomes the host's entry. */
const struct world_isp *world_isp_by_mx(const struct world *w, struct slice host, const struct world_mx **mx);
enum world_dns world_dns_of(const struct world *w, struct slice name);

/* The first scripted reply for this phase and recipient (empty where the phase has none) or NULL. luck: any
 * number, drawn anew for each question; it decides the shares. */
const struct world_reply *world_reply_for(const struct world_isp *isp, enum smtp_phase phase, struct slice to,
                                          uint64_t luck, int64_t age_ms);
/* What it accepts at this moment; NULL: any number. */
const struct world_rate *world_accept_at(const struct world_isp *isp, int64_t age_ms);
/* Whether this address is one of the share that does not exist: always the same answer for one address. */
bool world_is_unknown(const struct world_isp *isp, struct slice address);

#endif
