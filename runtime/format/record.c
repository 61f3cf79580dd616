/* record.c - see record.h. Writing goes through msgpack-c, reading through a cursor of our own: see mp.h. */
#include "format/record.h"
#include "base/err.h"
#include "format/mp.h"

/* --- field tables --- */

enum field_kind { F_END, F_U8, F_U16, F_U32, F_U64, F_I64, F_BOOL, F_STR, F_RAW, F_HASH, F_IP };

struct field {
    uint8_t number, kind;
    uint16_t offset;
};

#define FIELD(n, k, type, member)                                                                            \
    {                                                                                                        \
        n, k, offsetof(struct type, member)                                                                  \
    }

static const struct field name_fields[] = {
    FIELD(1, F_U8, rec_name, kind), FIELD(2, F_U32, rec_name, number), FIELD(3, F_STR, rec_name, name), {0}};

static const struct field recipient_fields[] = {FIELD(1, F_U64, rec_recipient, id),
                                                FIELD(2, F_U32, rec_recipient, campaign),
                                                FIELD(3, F_U32, rec_recipient, stream),
                                                FIELD(4, F_U32, rec_recipient, columns),
                                                FIELD(5, F_I64, rec_recipient, accepted_ms),
                                                FIELD(6, F_I64, rec_recipient, due_ms),
                                                FIELD(7, F_I64, rec_recipient, expires_ms),
                                                FIELD(8, F_U32, rec_recipient, flags),
                                                FIELD(9, F_BOOL, rec_recipient, has_key),
                                                FIELD(10, F_HASH, rec_recipient, key),
                                                FIELD(11, F_STR, rec_recipient, address),
                                                FIELD(12, F_RAW, rec_recipient, values),
                                                FIELD(13, F_RAW, rec_recipient, content),
                                                FIELD(14, F_U32, rec_recipient, pool),
                                                FIELD(15, F_U32, rec_recipient, domain),
                                                FIELD(16, F_U32, rec_recipient, sender),
                                                {0}};

static const struct field key_fields[] = {
    FIELD(1, F_U64, rec_key, id), FIELD(2, F_U32, rec_key, campaign), FIELD(3, F_HASH, rec_key, key), {0}};

static const struct field begin_fields[] = {
    FIELD(1, F_U64, rec_begin, id),        FIELD(2, F_I64, rec_begin, at_ms),
    FIELD(3, F_I64, rec_begin, date_s),    FIELD(4, F_U32, rec_begin, attempt),
    FIELD(5, F_U32, rec_begin, source),    FIELD(6, F_U32, rec_begin, isp),
    FIELD(7, F_RAW, rec_begin, edits),     FIELD(8, F_U32, rec_begin, mx),
    FIELD(9, F_U32, rec_begin, claim_ms),  FIELD(10, F_U32, rec_begin, from),
    FIELD(11, F_I64, rec_begin, clock_ms), {0}};

static const struct field session_fields[] = {FIELD(1, F_U64, rec_session, session),
                                              FIELD(2, F_I64, rec_session, at_ms),
                                              FIELD(3, F_U32, rec_session, source),
                                              FIELD(4, F_U32, rec_session, isp),
                                              FIELD(5, F_IP, rec_session, local_ip),
                                              FIELD(6, F_IP, rec_session, ip),
                                              FIELD(7, F_U16, rec_session, port),
                                              FIELD(8, F_STR, rec_session, ehlo),
                                              FIELD(9, F_STR, rec_session, mx),
                                              FIELD(10, F_STR, rec_session, tls_version),
                                              FIELD(11, F_STR, rec_session, tls_cipher),
                                              FIELD(12, F_STR, rec_session, tls_policy),
                                              FIELD(13, F_STR, rec_session, note),
                                              FIELD(14, F_BOOL, rec_session, tls_verified),
                                              FIELD(15, F_BOOL, rec_session, tls_resumed),
                                              {0}};

static const struct field event_fields[] = {FIELD(1, F_U64, rec_event, event),
                                            FIELD(2, F_U8, rec_event, type),
                                            FIELD(3, F_U64, rec_event, id),
                                            FIELD(4, F_I64, rec_event, at_ms),
                                            FIELD(5, F_I64, rec_event, accepted_ms),
                                            FIELD(6, F_U32, rec_event, campaign),
                                            FIELD(7, F_U32, rec_event, stream),
                                            FIELD(8, F_U32, rec_event, isp),
                                            FIELD(9, F_U32, rec_event, source),
                                            FIELD(10, F_U32, rec_event, pool),
                                            FIELD(11, F_U32, rec_event, flags),
                                            FIELD(12, F_STR, rec_event, recipient),
                                            FIELD(13, F_U32, rec_event, attempt),
                                            FIELD(14, F_U64, rec_event, session),
                                            FIELD(15, F_U8, rec_event, phase),
                                            FIELD(16, F_U16, rec_event, code),
                                            FIELD(17, F_U16, rec_event, enh_class),
                                            FIELD(18, F_U16, rec_event, enh_subject),
                                            FIELD(19, F_U16, rec_event, enh_detail),
                                            FIELD(20, F_STR, rec_event, text),
                                            FIELD(21, F_STR, rec_event, class_name),
                                            FIELD(22, F_STR, rec_event, rule),
                                            FIELD(23, F_I64, rec_event, next_due_ms),
                                            FIELD(24, F_U32, rec_event, queued_ms),
                                            FIELD(25, F_U32, rec_event, connect_ms),
                                            FIELD(26, F_U32, rec_event, send_ms),
                                            FIELD(27, F_U64, rec_event, size),
                                            FIELD(28, F_I64, rec_event, date_s),
                                            FIELD(29, F_BOOL, rec_event, charged),
                                            FIELD(30, F_BOOL, rec_event, raw_rcpt),
                                            FIELD(31, F_RAW, rec_event, meta),
                                            FIELD(32, F_U32, rec_event, domain),
                                            FIELD(33, F_U32, rec_event, sender),
                                            FIELD(34, F_U32, rec_event, unmappable),
                                            FIELD(35, F_U32, rec_event, claim_ms),
                                            FIELD(36, F_U32, rec_event, measure),
                                            FIELD(40, F_U8, rec_event, person),
                                            FIELD(41, F_I64, rec_event, person_until_ms),
                                            FIELD(42, F_I64, rec_event, person_certain_ms),
                                            FIELD(43, F_STR, rec_event, person_why),
                                            FIELD(44, F_I64, rec_event, clock_ms),
                                            {0}};

static const struct field campaign_fields[] = {
    FIELD(1, F_U32, rec_campaign, campaign), FIELD(2, F_U32, rec_campaign, stream),
    FIELD(3, F_U8, rec_campaign, state),     FIELD(4, F_I64, rec_campaign, at_ms),
    FIELD(5, F_STR, rec_campaign, content),  {0}};

static const struct field measure_fields[] = {FIELD(1, F_I64, rec_measure, at_ms),
                                              FIELD(2, F_I64, rec_measure, until_ms),
                                              FIELD(3, F_U32, rec_measure, isp),
                                              FIELD(4, F_U32, rec_measure, source),
                                              /* 5 was the number of a stream */
                                              FIELD(6, F_STR, rec_measure, why),
                                              FIELD(7, F_U32, rec_measure, number),
                                              FIELD(8, F_U8, rec_measure, kind),
                                              FIELD(9, F_U8, rec_measure, scope),
                                              FIELD(10, F_I64, rec_measure, begin_ms),
                                              FIELD(11, F_I64, rec_measure, recover_ms),
                                              FIELD(12, F_I64, rec_measure, over_ms),
                                              FIELD(13, F_BOOL, rec_measure, lifted),
                                              FIELD(14, F_U32, rec_measure, factor_ppm),
                                              FIELD(15, F_I64, rec_measure, per_day),
                                              FIELD(16, F_U32, rec_measure, connections),
                                              FIELD(17, F_U64, rec_measure, cause),
                                              FIELD(18, F_STR, rec_measure, what),
                                              FIELD(19, F_STR, rec_measure, rule),
                                              FIELD(20, F_U8, rec_measure, state),
                                              FIELD(21, F_I64, rec_measure, learnt_per_day),
                                              FIELD(22, F_I64, rec_measure, borne_per_day),
                                              FIELD(23, F_I64, rec_measure, shut_until_ms),
                                              FIELD(24, F_I64, rec_measure, rest_ms),
                                              FIELD(25, F_I64, rec_measure, wait_ms),
                                              FIELD(26, F_I64, rec_measure, refused_ms),
                                              FIELD(27, F_BOOL, rec_measure, doubtful),
                                              {0}};

static const struct field steer_fields[] = {FIELD(1, F_I64, rec_steer, at_ms),
                                            FIELD(2, F_U8, rec_steer, kind),
                                            FIELD(3, F_BOOL, rec_steer, paused),
                                            FIELD(4, F_STR, rec_steer, name),
                                            {0}};

static const struct field due_fields[] = {
    FIELD(1, F_U64, rec_due, id), FIELD(2, F_I64, rec_due, due_ms), {0}};

static const struct field interval_fields[] = {
    FIELD(1, F_U8, rec_interval, kind),      FIELD(2, F_I64, rec_interval, begin_ms),
    FIELD(3, F_I64, rec_interval, end_ms),   FIELD(4, F_I64, rec_interval, until_ms),
    FIELD(5, F_U32, rec_interval, isp),      FIELD(6, F_U32, rec_interval, source),
    FIELD(7, F_U32, rec_interval, stream),   FIELD(8, F_U32, rec_interval, pool),
    FIELD(9, F_U32, rec_interval, campaign), FIELD(10, F_STR, rec_interval, domain),
    FIELD(11, F_STR, rec_interval, mx),      FIELD(12, F_STR, rec_interval, why),
    FIELD(13, F_U32, rec_interval, from),    {0}};

static const struct field warmup_fields[] = {FIELD(1, F_I64, rec_warmup, at_ms),
                                             FIELD(2, F_U32, rec_warmup, source),
                                             FIELD(3, F_U32, rec_warmup, isp),
                                             FIELD(4, F_U32, rec_warmup, from),
                                             FIELD(5, F_I64, rec_warmup, day),
                                             FIELD(6, F_U32, rec_warmup, position),
                                             FIELD(7, F_U32, rec_warmup, used),
                                             FIELD(8, F_U32, rec_warmup, delivered),
                                             FIELD(9, F_I64, rec_warmup, retreat_day),
                                             FIELD(10, F_STR, rec_warmup, why),
                                             FIELD(11, F_U32, rec_warmup, rate),
                                             FIELD(12, F_BOOL, rec_warmup, per_day),
                                             {0}};

static const struct field tally_fields[] = {
    FIELD(1, F_I64, rec_tally, at_ms),      FIELD(2, F_U64, rec_tally, message),
    FIELD(3, F_U32, rec_tally, isp),        FIELD(4, F_U32, rec_tally, source),
    FIELD(5, F_U8, rec_tally, scope),       FIELD(6, F_STR, rec_tally, what),
    FIELD(7, F_STR, rec_tally, rule),       FIELD(8, F_U32, rec_tally, recent),
    FIELD(9, F_U64, rec_tally, answers),    FIELD(10, F_I64, rec_tally, began_ms),
    FIELD(11, F_I64, rec_tally, hit_ms),    FIELD(12, F_I64, rec_tally, fresh_ms),
    FIELD(13, F_I64, rec_tally, bucket_ms), FIELD(14, F_I64, rec_tally, bucket_at),
    FIELD(15, F_RAW, rec_tally, buckets),   {0}};

static const struct field *const tables[] = {
    [REC_NAME] = name_fields,         [REC_RECIPIENT] = recipient_fields, [REC_KEY] = key_fields,
    [REC_BEGIN] = begin_fields,       [REC_SESSION] = session_fields,     [REC_EVENT] = event_fields,
    [REC_CAMPAIGN] = campaign_fields, [REC_MEASURE] = measure_fields,     [REC_STEER] = steer_fields,
    [REC_DUE] = due_fields,           [REC_INTERVAL] = interval_fields,   [REC_WARMUP] = warmup_fields,
    [REC_TALLY] = tally_fields,
};

struct slice rec_event_name(unsigned type)
{
    static const char *const names[] = {"unknown",      "accepted",   "delivered", "deferred",
                                        "bounced",      "expired",    "ambiguous", "suppressed",
                                        "cancelled",    "complained", "opened",    "clicked",
                                        "unsubscribed", "converted",  "replied",   "held"};
    return slice_cstr(names[type < EVENT_TYPES ? type : 0]);
}

bool rec_event_ends(unsigned type)
{
    switch ((enum rec_event_type)type) {
    case EVENT_DELIVERED:
    case EVENT_BOUNCED:
    case EVENT_EXPIRED:
    case EVENT_SUPPRESSED:
    case EVENT_CANCELLED:
        return true;
    case EVENT_ACCEPTED:
    case EVENT_DEFERRED:
    case EVENT_AMBIGUOUS:
    case EVENT_COMPLAINED:
    case EVENT_OPENED:
    case EVENT_CLICKED:
    case EVENT_UNSUBSCRIBED:
    case EVENT_CONVERTED:
    case EVENT_REPLIED:
    case EVENT_HELD:
    case EVENT_TYPES:
        break;
    }
    return false;
}

static uint64_t load(const struct field *f, const char *at)
{
    switch ((enum field_kind)f->kind) {
    case F_U8:
        return *(const uint8_t *)at;
    case F_U16:
        return *(const uint16_t *)at;
    case F_U32:
        return *(const uint32_t *)at;
    case F_U64:
        return *(const uint64_t *)at;
    case F_I64:
        return (uint64_t) * (const int64_t *)at;
    case F_BOOL:
        return *(const bool *)at;
    case F_STR:
    case F_RAW:
        return ((const struct slice *)at)->n;
    case F_HASH:
        return ((const struct hash128 *)at)->lo | ((const struct hash128 *)at)->hi;
    case F_IP:
        return ((const struct ip *)at)->family;
    case F_END:
        break;
    }
    return 0;
}

static void put_field(struct buf *out, const struct field *f, const char *at)
{
    mp_put_uint(out, f->number);
    switch ((enum field_kind)f->kind) {
    case F_U8:
    case F_U16:
    case F_U32:
    case F_U64:
        mp_put_uint(out, load(f, at));
        break;
    case F_I64:
        mp_put_int(out, *(const int64_t *)at);
        break;
    case F_BOOL:
        mp_put_bool(out, *(const bool *)at);
        break;
    case F_STR:
        mp_put_str(out, *(const struct slice *)at);
        break;
    case F_RAW:
        buf_adds(out, *(const struct slice *)at);
        break;
    case F_HASH:
        mp_put_bin(out, slice_of(at, sizeof(struct hash128)));
        break;
    case F_IP:
        mp_put_bin(out, slice_of(((const struct ip *)at)->b, ((const struct ip *)at)->family == 6 ? 16 : 4));
        break;
    case F_END:
        break;
    }
}

void rec_put(struct buf *out, const struct rec *r)
{
    const char *base = (const char *)&r->name;
    const struct field *table = tables[r->type];
    uint32_t n = 0;
    for (const struct field *f = table; f->kind != F_END; f++)
        n += load(f, base + f->offset) != 0;
    mp_put_array(out, 2);
    mp_put_uint(out, r->type);
    mp_put_map(out, n);
    for (const struct field *f = table; f->kind != F_END; f++)
        if (load(f, base + f->offset))
            put_field(out, f, base + f->offset);
}

/* Small numbers and short strings are nearly all there is: they are read without asking which of all kinds
 * they are. */
static inline int get_uint(struct mp *m, uint64_t *v)
{
    struct mp_value any;
    if (m->rest.n && (unsigned char)*m->rest.p <= 0x7f) {
        *v = (unsigned char)*m->rest.p++;
        m->rest.n--;
        return 0;
    }
    if (mp_next(m, &any) || any.kind != MP_UINT)
        return ERR_SYNTAX;
    *v = any.u;
    return 0;
}

static inline int get_str(struct mp *m, struct slice *out)
{
    struct mp_value any;
    size_t n = m->rest.n ? (unsigned char)*m->rest.p - 0xa0u : SIZE_MAX;
    if (n <= 31 && n < m->rest.n) {
        *out = slice_of(m->rest.p + 1, n);
        m->rest = slice_of(m->rest.p + 1 + n, m->rest.n - 1 - n);
        return 0;
    }
    if (mp_next(m, &any) || any.kind != MP_STR)
        return ERR_SYNTAX;
    *out = any.s;
    return 0;
}

static int get_bin(struct mp *m, const struct field *f, char *at)
{
    struct mp_value any;
    struct ip *ip = (struct ip *)at;
    if (mp_next(m, &any) || any.kind != MP_BIN)
        return ERR_SYNTAX;
    if (f->kind == F_HASH) {
        if (any.s.n != sizeof(struct hash128))
            return ERR_SYNTAX;
        memcpy(at, any.s.p, any.s.n);
        return 0;
    }
    if (any.s.n != 4 && any.s.n != 16)
        return ERR_SYNTAX;
    ip->family = any.s.n == 4 ? 4 : 6;
    memcpy(ip->b, any.s.p, any.s.n);
    return 0;
}

static int get_i64(struct mp *m, int64_t *at)
{
    struct mp_value any;
    if (mp_next(m, &any) || (any.kind != MP_INT && (any.kind != MP_UINT || any.u > INT64_MAX)))
        return ERR_SYNTAX;
    *at = any.kind == MP_INT ? any.i : (int64_t)any.u;
    return 0;
}

static int get_field(struct mp *m, const struct field *f, char *at)
{
    struct mp_value any;
    uint64_t v;
    switch ((enum field_kind)f->kind) {
    case F_U8:
        if (get_uint(m, &v) || v > UINT8_MAX)
            return ERR_SYNTAX;
        *(uint8_t *)at = (uint8_t)v;
        return 0;
    case F_U16:
        if (get_uint(m, &v) || v > UINT16_MAX)
            return ERR_SYNTAX;
        *(uint16_t *)at = (uint16_t)v;
        return 0;
    case F_U32:
        if (get_uint(m, &v) || v > UINT32_MAX)
            return ERR_SYNTAX;
        *(uint32_t *)at = (uint32_t)v;
        return 0;
    case F_U64:
        return get_uint(m, (uint64_t *)at);
    case F_I64:
        return get_i64(m, (int64_t *)at);
    case F_BOOL:
        if (mp_next(m, &any) || any.kind != MP_BOOL)
            return ERR_SYNTAX;
        *(bool *)at = any.b;
        return 0;
    case F_STR:
        return get_str(m, (struct slice *)at);
    case F_RAW:
        return mp_raw(m, (struct slice *)at);
    case F_HASH:
    case F_IP:
        return get_bin(m, f, at);
    case F_END:
        break;
    }
    return ERR_SYNTAX;
}

/* Every text there is, and empty. */
#define NONE                                                                                                 \
    {                                                                                                        \
        "", 0                                                                                                \
    }
static const struct rec blank[] = {
    [REC_NAME] = {REC_NAME, .name = {.name = NONE}},
    [REC_RECIPIENT] = {REC_RECIPIENT, .recipient = {.address = NONE, .values = NONE, .content = NONE}},
    [REC_KEY] = {REC_KEY, .key = {0}},
    [REC_BEGIN] = {REC_BEGIN, .begin = {.edits = NONE}},
    [REC_SESSION] = {REC_SESSION, .session = {.ehlo = NONE,
                                              .mx = NONE,
                                              .tls_version = NONE,
                                              .tls_cipher = NONE,
                                              .tls_policy = NONE,
                                              .note = NONE}},
    [REC_EVENT] = {REC_EVENT, .event = {.recipient = NONE,
                                        .text = NONE,
                                        .class_name = NONE,
                                        .rule = NONE,
                                        .meta = NONE,
                                        .person_why = NONE}},
    [REC_CAMPAIGN] = {REC_CAMPAIGN, .campaign = {.content = NONE}},
    [REC_MEASURE] = {REC_MEASURE, .measure = {.why = NONE, .what = NONE, .rule = NONE}},
    [REC_STEER] = {REC_STEER, .steer = {.name = NONE}},
    [REC_DUE] = {REC_DUE, .due = {0}},
    [REC_INTERVAL] = {REC_INTERVAL, .interval = {.domain = NONE, .mx = NONE, .why = NONE}},
    [REC_WARMUP] = {REC_WARMUP, .warmup = {.why = NONE}},
    [REC_TALLY] = {REC_TALLY, .tally = {.what = NONE, .rule = NONE, .buckets = NONE}},
};
_Static_assert(COUNT(blank) == COUNT(tables), "each type of record has its empty one");

int rec_get(struct slice payload, struct rec *out)
{
    struct mp m = {payload};
    struct mp_value head, type, fields;
    if (mp_next(&m, &head) || head.kind != MP_ARRAY || head.n != 2 || mp_next(&m, &type) ||
        type.kind != MP_UINT)
        return ERR_SYNTAX;
    if (type.u >= COUNT(tables) || !tables[type.u])
        return ERR_UNSUPPORTED;
    if (mp_next(&m, &fields) || fields.kind != MP_MAP)
        return ERR_SYNTAX;
    *out = blank[type.u];
    char *base = (char *)&out->name;
    const struct field *table = tables[type.u];
    const struct field *f =
        table; /* fields come in the order of the table: the search goes on where it was */
    for (uint32_t i = 0; i < fields.n; i++) {
        uint64_t number;
        if (get_uint(&m, &number))
            return ERR_SYNTAX;
        while (f->kind != F_END && f->number != number)
            f++;
        if (f->kind == F_END)
            for (f = table; f->kind != F_END && f->number != number;)
                f++;
        if (f->kind == F_END ? mp_skip(&m) : get_field(&m, f, base + f->offset))
            return ERR_SYNTAX;
        if (f->kind == F_END)
            f = table;
    }
    return m.rest.n ? ERR_SYNTAX : 0;
}
