/* record.h - what the spool's records say: structs ↔ msgpack. Framing and checksum are frame.h's.
 *
 * A record is a msgpack array [type, {field number: value, …}]. A field that is zero or empty is not written;
 * a field number that a reader does not know is passed over, so fields can be added without a new format. The
 * field tables in record.c are the format: numbers are never used again for something else. */
#ifndef HATO_FORMAT_RECORD_H
#define HATO_FORMAT_RECORD_H

#include "base/hash.h"
#include "base/mem.h"
#include "format/ip.h"

enum rec_type {
    REC_NAME = 1,      /* names file: a number for a word that later records use */
    REC_RECIPIENT = 2, /* recipients: one accepted message */
    REC_KEY = 3,     /* recipients: what is left of a settled one after compaction, so that once stays once */
    REC_BEGIN = 4,   /* events: an attempt is about to send MAIL FROM */
    REC_SESSION = 5, /* events: a connection that later events refer to */
    REC_EVENT = 6,   /* events: what happened; also the change of state */
    REC_CAMPAIGN = 7,  /* events: a campaign's own state */
    REC_MEASURE = 8,   /* events: a restriction that an answer put in place, until it ends */
    REC_STEER = 9,     /* events: people paused something, or let it go on */
    REC_DUE = 10,      /* events: people moved the time of a message's next try */
    REC_INTERVAL = 11, /* events: from when to when mail waited, and for what */
    REC_WARMUP = 12, /* events: how far a warm-up has come, on its first mail of a day, and when it changed */
    REC_TALLY = 13,  /* events: what a rule has counted towards a measure, at each hit */
};

enum rec_name_kind {
    NAME_CAMPAIGN = 1,
    NAME_STREAM,
    NAME_POOL,
    NAME_SOURCE,
    NAME_ISP,
    NAME_COLUMNS,
    NAME_DOMAIN,
    NAME_SENDER,
    NAME_MX,
    NAME_KINDS
};
struct rec_name {
    uint8_t kind;
    uint32_t number;   /* from 1, dense within its kind */
    struct slice name; /* NAME_COLUMNS: column names joined by 0x1f; NAME_DOMAIN: right side of Message-IDs;
                          NAME_SENDER: a From address, or "@" and the domain of VERP return paths;
                          NAME_MX: the hosts of a site */
};

enum { REC_FLAG_TEST = 1, REC_FLAG_ALONE = 2 /* hato.send: no campaign behind it */ };
struct rec_recipient {
    uint64_t id;
    uint32_t campaign, stream, columns; /* name numbers; campaign 0: hato.send */
    int64_t accepted_ms;                /* UTC */
    int64_t due_ms, expires_ms;         /* UTC; 0: at once, never */
    uint32_t flags;
    bool has_key;
    struct hash128 key;            /* (campaign, duplicate key), keyed */
    struct slice address;          /* as written */
    struct slice values;           /* raw msgpack array, one value a column */
    struct slice content;          /* REC_FLAG_ALONE: raw msgpack map, see message.h */
    uint32_t pool, domain, sender; /* as in rec_event: what the accepted event needs */
};

struct rec_key {
    uint64_t id;
    uint32_t campaign;
    struct hash128 key;
};

struct rec_begin {
    uint64_t id;
    int64_t at_ms;
    int64_t date_s;   /* Date of the message: the first attempt's time */
    uint32_t attempt; /* from 1 */
    uint32_t source, isp;
    struct slice edits; /* raw msgpack: what a message hook changed */
    uint32_t mx;        /* NAME_MX, where a limit counts by it; else 0 */
    uint32_t claim_ms;  /* how long before this a connection took it up */
    uint32_t from;      /* NAME_DOMAIN of the From address, where a warm-up counts it; else 0 */
    int64_t clock_ms;   /* UTC: its clock (delivery/clock.h) shows the time since then; 0: since at_ms */
};

struct rec_session {
    uint64_t session;
    int64_t at_ms;
    uint32_t source, isp;
    struct ip local_ip, ip;
    uint16_t port;
    struct slice ehlo, mx, tls_version, tls_cipher, tls_policy, note;
    bool tls_verified, tls_resumed;
};

/* What an event's type says; rec_event_name() has the words. Numbers never change. */
enum rec_event_type {
    EVENT_ACCEPTED = 1,
    EVENT_DELIVERED,
    EVENT_DEFERRED,
    EVENT_BOUNCED,
    EVENT_EXPIRED,
    EVENT_AMBIGUOUS,
    EVENT_SUPPRESSED,
    EVENT_CANCELLED,
    EVENT_COMPLAINED,
    EVENT_OPENED,
    EVENT_CLICKED,
    EVENT_UNSUBSCRIBED,
    EVENT_CONVERTED,
    EVENT_REPLIED,
    EVENT_HELD, /* a hook or a missing campaign holds the message; nothing was lost */
    EVENT_TYPES
};
/* "accepted" …; "unknown" for a number without a name. */
struct slice rec_event_name(unsigned type);
/* Delivered, bounced, expired, suppressed, cancelled: the message is queued no more. */
bool rec_event_ends(unsigned type);

/* rec_event.phase of what a returned mail said, after the session was over. */
enum { REC_PHASE_ASYNC = 255 };

enum {
    REC_PERSON_JUDGED = 1,
    REC_PERSON_COUNTED = 2, /* toward a rule that wants more than one */
    REC_PERSON_SUPPRESSED = 4,
    REC_PERSON_QUARANTINED = 8,
    REC_PERSON_WELL = 16,     /* delivered, where failures were counted before, or a quarantine was */
    REC_PERSON_LATE = 32,     /* the delivery before it was none: a late bounce */
    REC_PERSON_OUTBREAK = 64, /* one at its isp begins with it: what is not certain there is taken back */
};
struct rec_event {
    uint64_t event; /* number of the event, from 1, dense */
    uint8_t type;
    uint64_t id; /* of the message */
    int64_t at_ms, accepted_ms;
    uint32_t campaign, stream, isp, source, pool;
    uint32_t flags;
    struct slice recipient;
    uint32_t attempt;
    uint64_t session;
    uint8_t phase;                                     /* enum smtp_phase + 1, or REC_PHASE_ASYNC; 0: none */
    uint16_t code, enh_class, enh_subject, enh_detail; /* enh_class 0: no enhanced status code */
    struct slice text, class_name, rule;
    int64_t next_due_ms;
    uint32_t queued_ms, connect_ms, send_ms;
    uint64_t size;
    int64_t date_s;    /* on deferred: the Date to keep */
    int64_t clock_ms;  /* on deferred: UTC, from when its clock counts (delivery/clock.h) */
    bool charged;      /* counts as an attempt of the message */
    bool raw_rcpt;     /* an old carrier's address was taken unquoted */
    struct slice meta; /* raw msgpack map of the campaign's log columns */
    uint32_t domain,
        sender;          /* NAME_DOMAIN, NAME_SENDER: with the id they give Message-ID and envelope sender */
    uint32_t unmappable; /* characters of the message that its charset could not show as written */
    uint32_t claim_ms;   /* where nothing was begun: how long before this a connection took it up */
    uint32_t measure;    /* number of the one that this answer put in place or made stronger */
    /* What it does to the recipient, decided when it was written: */
    uint8_t person;            /* bits REC_PERSON_*; 0: nobody decided */
    int64_t person_until_ms;   /* suppressed, quarantined: UTC; 0: without end */
    int64_t person_certain_ms; /* suppressed: UTC, from when on nothing takes it back; 0: at once */
    struct slice person_why;   /* suppressed, quarantined: the rule, and what was counted */
};

enum rec_campaign_state {
    CAMPAIGN_READING = 1,
    CAMPAIGN_READ,
    CAMPAIGN_STARTED,
    CAMPAIGN_CANCELLED,
    CAMPAIGN_FORGOTTEN,
    CAMPAIGN_CONTENT /* people replaced its content on purpose */
};
struct rec_campaign {
    uint32_t campaign, stream;
    uint8_t state;
    int64_t at_ms;
    struct slice content; /* hex of the frozen content's hash: the name of its file */
};

/* A measure (delivery/measure.h): each change says all of it again. */
struct rec_measure {
    int64_t at_ms, until_ms;
    uint32_t isp, source; /* 0: of all; not about one */
    struct slice why;
    uint32_t number;
    uint8_t kind, scope; /* enum act_kind and one more; enum act_scope */
    int64_t begin_ms, recover_ms, over_ms;
    bool lifted;
    uint32_t factor_ppm;
    int64_t per_day;
    uint32_t connections;
    uint64_t cause; /* message */
    struct slice what, rule;
    /* What an automatic back-off has learnt: backoff.h. */
    uint8_t state;
    int64_t learnt_per_day, borne_per_day, shut_until_ms, rest_ms, wait_ms, refused_ms;
    bool doubtful;
};

struct rec_steer {
    int64_t at_ms;
    uint8_t kind; /* enum steer_kind */
    bool paused;  /* false: it goes on */
    struct slice name;
};

struct rec_due {
    uint64_t id;
    int64_t due_ms;
};

/* interval.h. The same kind, keys and begin_ms again replace what was said before. */
struct rec_interval {
    uint8_t kind;                                 /* enum interval_kind */
    int64_t begin_ms, end_ms, until_ms;           /* UTC; end_ms 0: open; until_ms 0: not known */
    uint32_t isp, source, stream, pool, campaign; /* 0: any */
    struct slice domain, mx, why;
    uint32_t from; /* NAME_DOMAIN of the From address; 0: any */
};

/* struct warmup_state, before any begin record that comes later. */
struct rec_warmup {
    int64_t at_ms;
    uint32_t source, isp, from; /* from: NAME_DOMAIN */
    int64_t day;
    uint32_t position, used, delivered;
    int64_t retreat_day;
    struct slice why; /* of the last retreat; empty: none */
    uint32_t rate;    /* for who reads it without the script: mails per hour or day */
    bool per_day;
};

/* A tally (delivery/measure_count.h). Events that come later, of answers that were no hits, add to it. */
struct rec_tally {
    int64_t at_ms;        /* UTC, of the answer that was counted last */
    uint64_t message;     /* that was answered; its event comes later, and is in here. 0: none */
    uint32_t isp, source; /* 0: of all; not about one */
    uint8_t scope;        /* enum act_scope */
    struct slice what, rule;
    uint32_t recent;
    uint64_t answers;
    int64_t began_ms, hit_ms, fresh_ms; /* UTC; fresh_ms 0: not set */
    int64_t bucket_ms, bucket_at;
    struct slice buckets; /* raw msgpack array: hits, answers, hits … */
};

struct rec {
    enum rec_type type;
    union {
        struct rec_name name;
        struct rec_recipient recipient;
        struct rec_key key;
        struct rec_begin begin;
        struct rec_session session;
        struct rec_event event;
        struct rec_campaign campaign;
        struct rec_measure measure;
        struct rec_steer steer;
        struct rec_due due;
        struct rec_interval interval;
        struct rec_warmup warmup;
        struct rec_tally tally;
    };
};

/* Append the payload of one record to out. */
void rec_put(struct buf *out, const struct rec *r);
/* Read one payload; slices are borrowed from it. ERR_SYNTAX for bytes that are not such a record,
 * ERR_UNSUPPORTED for a record type of a later version; *out may be half filled then. */
int rec_get(struct slice payload, struct rec *out);

#endif
