/* conf.h - what a script declared, as C structs. Floor 4 fills one when a script loads, delivery reads it.
 * Everything lies in conf.arena, is never changed once the script has loaded, and lives until conf_free().
 * Times are milliseconds; names are unique within their kind; indexes point into the arrays beside them. */
#ifndef HATO_DELIVERY_CONF_H
#define HATO_DELIVERY_CONF_H

#include "base/err.h"
#include "base/mem.h"
#include "delivery/breaker.h"
#include "delivery/person.h"
#include "delivery/verdict.h"
#include "format/ip.h"
#include "format/mime.h"
#include "format/pace.h"
#include "format/warmup.h"

enum { CONF_NONE = UINT16_MAX }; /* an index that points nowhere */

/* Where a thing was declared, for errors and explanations: "init.lua:12". */
struct conf_place {
    struct slice file;
    int line;
};

enum conf_tls { CONF_TLS_UNSET, CONF_TLS_NONE, CONF_TLS_OPPORTUNISTIC, CONF_TLS_REQUIRE };
enum conf_priority { CONF_URGENT, CONF_NORMAL, CONF_BULK, CONF_PRIORITIES };
enum conf_family { CONF_FAMILY_UNSET, CONF_FAMILY_4, CONF_FAMILY_6, CONF_FAMILY_BOTH };

struct conf_dkim {
    struct slice domain, selector;
    struct slice key_path; /* as given, for messages */
    struct slice key_pem;  /* the file's bytes */
};

struct conf_stream {
    struct slice name;
    struct conf_place place;
    struct slice from;   /* mailbox, may hold Liquid in its display name */
    struct slice domain; /* of the From address, ASCII lower case */
    struct conf_dkim *dkim;
    size_t ndkim;
    struct slice bounce; /* domain of VERP return paths; empty: the From address */
    struct slice unsubscribe_url, unsubscribe_mailto; /* Liquid; empty: none */
    bool one_click;
    struct slice list_id; /* empty: NAME.DOMAIN */
    struct slice list;    /* by which people may be suppressed; empty: none */
    struct slice reply_to;
    uint16_t pool; /* CONF_NONE: all sources */
    enum conf_priority priority;
    uint32_t weight; /* 1 unless given */
    enum conf_tls tls;
    enum mime_charset charset;
    enum mime_unmappable unmappable; /* of MIME_ISO2022JP */
    bool flowed;
};
/* Whether a character that its charset does not have is a mistake of the script or its data. */
static inline bool conf_stream_must_map(const struct conf_stream *s)
{
    return s->charset == MIME_ISO2022JP && s->unmappable == MIME_UNMAPPABLE_ERROR;
}

struct conf_source {
    struct slice name;
    struct conf_place place;
    struct ip address; /* family 0: whatever the system takes */
    struct slice ehlo;
};

struct conf_pool_member {
    uint16_t source;
    uint32_t weight;
};
struct conf_pool {
    struct slice name;
    struct conf_place place;
    struct conf_pool_member *members;
    size_t nmembers;
};

/* How much may go in what time; a quota of 0: no limit. */
struct conf_amounts {
    struct pace_rate rate;       /* messages */
    struct pace_rate recipients; /* today one a message */
    struct pace_rate new_connections;
};

/* What a limit may count by: one for each value. */
enum conf_by {
    CONF_BY_STREAM,
    CONF_BY_CAMPAIGN,
    CONF_BY_SOURCE,
    CONF_BY_POOL,
    CONF_BY_ISP,
    CONF_BY_DOMAIN,
    CONF_BY_MX,   /* the whole set of a domain's mail hosts */
    CONF_BY_FROM, /* the stream's From domain; of warm-ups alone */
    CONF_BYS
};

struct conf_limit {
    struct conf_place place;
    unsigned by; /* 1 << enum conf_by; 0: one for all */
    struct conf_amounts amounts;
    uint32_t burst;          /* as given; it is in amounts too */
    uint32_t connections;    /* at once; 0: not given */
    uint32_t per_connection; /* messages; 0: not given */
};

struct conf_isp {
    struct slice name;
    struct conf_place place;
    struct slice *mx; /* "google.com" takes it and every name below; "*.vodafone.ne.jp" only below */
    size_t nmx;
    struct slice *domains; /* the same, of the recipient's domain; an mx match beats it */
    size_t ndomains;
    struct slice provider;       /* bounce rules with this isp are for it too ("microsoft"); empty: none */
    uint32_t connections;        /* for each source; 0: not given */
    uint32_t per_connection;     /* messages; 0: not given */
    struct conf_amounts amounts; /* for each source */
    uint32_t burst;              /* as given; it is in amounts too */
    enum conf_tls tls;
    enum conf_family family;
    bool shipped; /* its patterns came with hato: where a script's are as long, those win */
};

/* Warming up a source at a receiver; each From domain counts by itself. */
struct conf_warmup {
    struct conf_place place;
    uint16_t source;
    uint16_t isp;      /* CONF_NONE: every receiver for which this source has no warm-up of its own */
    uint16_t overflow; /* pool for what is above the quota; CONF_NONE: it waits */
    struct warmup_curve curve;
    /* Back a step when, of at least so many answers in this time, a larger share than this has such a class.
     */
    uint64_t retreat_classes; /* bits 1 << enum reply_class; 0: never */
    uint32_t retreat_least;   /* such answers */
    uint32_t retreat_above_ppm;
    int64_t retreat_over_ms;
};

/* A file to attach or to show inline. */
struct conf_file {
    struct slice path, name, type, cid; /* type and cid may be empty */
    struct slice data;
};

struct conf_header {
    struct slice name, value; /* value is Liquid */
};

struct conf_partial {
    struct slice name, text;
};

/* What a message says, before compiling: Liquid and bytes. Frozen in the state folder at first acceptance. */
struct conf_content {
    struct slice subject, preheader, from, reply_to;
    struct slice text, html;           /* empty: none; at least one is given */
    struct slice text_path, html_path; /* for errors; "(text)" where given as a string */
    struct conf_header *headers;
    size_t nheaders;
    struct conf_file *files; /* attachments, then inline images (those have a cid) */
    size_t nfiles;
    struct conf_partial *partials; /* what include and render may name */
    size_t npartials;
    struct slice columns; /* hato.send: names of its data joined by 0x1f */
    bool missing_empty;   /* missing = "empty": print nothing where a value is missing */
};
/* Every slice empty. */
struct conf_content conf_content_empty(void);

struct conf_map {
    struct slice name, column; /* in templates: name; in the file: column */
};

enum conf_people { CONF_PEOPLE_CSV, CONF_PEOPLE_ITERATOR };

struct conf_campaign {
    struct slice name;
    struct conf_place place;
    uint16_t stream;
    struct slice list; /* empty: the stream's */
    enum conf_people people;
    struct slice csv_path;     /* relative to the script already resolved */
    struct slice csv_encoding; /* "utf-8", "cp932" or empty: found out */
    struct conf_map *map;
    size_t nmap;
    int iterator; /* floor 4's reference to a Lua function */
    struct conf_content content;
    int64_t at_ms;      /* UTC; 0: now */
    int64_t late_ms;    /* how late the start may be; INT64_MAX: no bound */
    int64_t expire_ms;  /* a message's wall-clock end after acceptance or `at`; INT64_MAX: none */
    bool streaming;     /* start = "streaming": deliver before the source was read to its end */
    bool missing_empty; /* missing = "empty" */
    bool ordered;       /* by rank (rank.h) of a column, the highest first */
    struct slice order; /* the column, by its name in templates; empty: one that says how engaged they are */
    struct slice *log;  /* columns whose values go into events as meta */
    size_t nlog;
};

struct conf {
    struct arena arena;
    struct slice script; /* path of the main file */
    struct slice tz;
    struct conf_stream *streams;
    size_t nstreams;
    struct conf_source *sources;
    size_t nsources;
    struct conf_pool *pools;
    size_t npools;
    struct conf_isp *isps;
    size_t nisps;
    struct conf_limit *limits;
    size_t nlimits;
    struct conf_warmup *warmups;
    size_t nwarmups;
    struct conf_campaign *campaigns;
    size_t ncampaigns;
    struct verdict_schedule retry; /* hato.bounces { retry = … } */
    struct rule_spec *rules;       /* its rules that know a reply, in order */
    size_t nrules;
    struct acts acts;          /* what is done about answers */
    struct person_conf person; /* and about people */
    struct breaker_conf breaker;
    struct conf_place spool_place; /* of hato.spool */
    int64_t keep_ms;               /* how long events stay in the journal; 0: 30 days */
    uint64_t journal_max;          /* bytes of it from which new mail is refused; 0: no bound */
};

enum { CONF_KEEP_DAYS = 30 };
static inline int64_t conf_keep_ms(const struct conf *c)
{
    return c->keep_ms ? c->keep_ms : (int64_t)CONF_KEEP_DAYS * 86400000;
}

/* Empty, with the default retry schedule: 5 min, 30 min, 2 h, 6 h; give up after 2 days. */
struct conf *conf_new(void);
void conf_free(struct conf *c);

/* Index or CONF_NONE. */
uint16_t conf_find_stream(const struct conf *c, struct slice name);
uint16_t conf_find_source(const struct conf *c, struct slice name);
uint16_t conf_find_pool(const struct conf *c, struct slice name);
uint16_t conf_find_campaign(const struct conf *c, struct slice name);
uint16_t conf_find_isp(const struct conf *c, struct slice name);
/* The warm-up of this source at this isp (NULL: one that no table names). NULL: none. */
const struct conf_warmup *conf_warmup_of(const struct conf *c, uint16_t source, const struct conf_isp *isp);

/* The isp of a site, or CONF_NONE. A pattern of mx that any of the hosts meets decides before any pattern of
 * domains (a company's own domain kept at Google is Google's); within each kind the longest pattern that
 * fits; of two as long, a script's before a shipped one, then the first. pattern: the one that decided; may
 * be NULL. */
uint16_t conf_isp_match(const struct conf_isp *isps, size_t n, struct slice domain, const struct slice *mx,
                        size_t nmx, struct slice *pattern);
uint16_t conf_match_isp(const struct conf *c, struct slice domain, const struct slice *mx, size_t nmx);

/* IPv4 unless the source has an IPv6 address and the isp (NULL: no table) allows it; where no source has
 * IPv4, it is allowed. */
bool conf_family_fits(const struct conf *c, const struct conf_isp *isp, const struct conf_source *source);

/* "google.com" matches itself and any name below it; "*.docomo.ne.jp" only names below. No case. */
bool conf_name_matches(struct slice pattern, struct slice name);

#endif
