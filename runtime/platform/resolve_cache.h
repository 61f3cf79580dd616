/* resolve_cache.h - answers as resolve keeps them, and the table of those still fresh. For resolve alone. */
#ifndef HATO_PLATFORM_RESOLVE_CACHE_H
#define HATO_PLATFORM_RESOLVE_CACHE_H

#include "base/map.h"
#include "platform/resolve.h"

enum { RESOLVE_KEY_MAX = 4 * DNS_NAME_MAX + 2 };

/* Shared: freed with its last holder. One block of memory. */
struct resolve_answer {
    struct resolve_answer *newer, *older; /* in the cache, by last use */
    int refs;
    enum resolve_status status;
    int64_t expires_ms;
    struct slice key, name; /* name is the end of key */
    bool null_mx;
    size_t skipped; /* MX targets that are no hosts */
    size_t n;
    union {
        struct mx_host *hosts; /* by preference, then name */
        struct ip *ips;
        struct slice *texts;
    } v;
};

struct slice resolve_key(char out[RESOLVE_KEY_MAX], struct slice name, uint16_t type);

/* Both return it held once. Records are of the key's type, A, AAAA, MX, TXT or PTR; more than our bounds are
 * left out. scratch is for sorting. An MX set without a usable host has the status BAD. */
struct resolve_answer *resolve_answer_status(struct slice key, enum resolve_status status,
                                             int64_t expires_ms);
struct resolve_answer *resolve_answer_records(struct slice key, const struct dns_record *const *rec, size_t n,
                                              int64_t expires_ms, struct arena *scratch);
void resolve_answer_drop(struct resolve_answer *a); /* NULL is fine */

/* What a request's answers come to. got: MX, A and AAAA of a domain, of which the later are only there when
 * they were needed (self is room for an implicit MX's one host); A and AAAA; or TXT or PTR alone. None at all
 * is BAD. Borrowed from the answers. */
struct mx_set resolve_answers_mx(struct resolve_answer *const got[3], int64_t now_ms, struct mx_host *self);
struct addr_set resolve_answers_addr(struct resolve_answer *const got[3], int64_t now_ms);
struct text_set resolve_answers_text(struct resolve_answer *const got[3], int64_t now_ms);

struct resolve_cache {
    struct map map;
    struct resolve_answer *newest, *oldest;
    size_t max;
};
void resolve_cache_init(struct resolve_cache *c, struct hash_key hk, size_t max);
/* Borrowed; NULL: not known, or no longer. */
struct resolve_answer *resolve_cache_get(struct resolve_cache *c, struct slice key, int64_t now_ms);
/* Replaces what is there; beyond max the one not used for longest goes. */
void resolve_cache_put(struct resolve_cache *c, struct resolve_answer *a);
void resolve_cache_free(struct resolve_cache *c);

#endif
