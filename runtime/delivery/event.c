/* event.c - see event.h. The JSON is written directly, field by field: a journal of a million events is read
 * and printed while somebody waits for it. */
#include "delivery/event.h"
#include "base/json.h"
#include "format/reply_class.h"
#include "format/mp.h"
#include "format/smtp_phase.h"
#include "format/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { SESSIONS_FEW = 1 << 6, SESSIONS_MOST = 1 << 18, NAMES_MOST = 16 << 20, DEPTH_MOST = 32 };

struct table {
    struct slice *v; /* v[number - 1]; owned; p == NULL: not known */
    size_t cap;
};

/* Session numbers of one process follow each other, so the latest ones have places of their own. */
struct event_names {
    const struct secret *secret;
    struct table tables[NAME_KINDS];
    struct rec_session **sessions; /* [number % session_places]; owned, its texts behind it */
    size_t session_places, nsessions;
};

struct event_names *event_names_new(const struct secret *secret)
{
    struct event_names *n = mem_zalloc(sizeof *n);
    n->secret = secret;
    n->session_places = SESSIONS_FEW;
    n->sessions = mem_zalloc(n->session_places * sizeof *n->sessions);
    return n;
}

void event_names_secret(struct event_names *n, const struct secret *secret)
{
    n->secret = secret;
}

void event_names_free(struct event_names *n)
{
    if (!n)
        return;
    for (int k = 0; k < NAME_KINDS; k++) {
        for (size_t i = 0; i < n->tables[k].cap; i++)
            free((char *)n->tables[k].v[i].p);
        free(n->tables[k].v);
    }
    for (size_t i = 0; i < n->session_places; i++)
        free(n->sessions[i]);
    free(n->sessions);
    free(n);
}

static void learn_name(struct event_names *n, const struct rec_name *r)
{
    if (!r->kind || r->kind >= NAME_KINDS || !r->number || r->number > NAMES_MOST)
        return;
    struct table *t = &n->tables[r->kind];
    if (r->number > t->cap) {
        size_t cap = r->number > t->cap * 2 ? r->number : t->cap * 2;
        t->v = mem_realloc(t->v, cap * sizeof *t->v);
        memset(t->v + t->cap, 0, (cap - t->cap) * sizeof *t->v);
        t->cap = cap;
    }
    struct slice *at = &t->v[r->number - 1];
    if (!at->p) /* a number is given once */
        *at = slice_of(mem_dup(r->name.p, r->name.n), r->name.n);
}

static struct slice keep_text(char **at, struct slice s)
{
    struct slice kept = slice_of(*at, s.n);
    if (s.n) /* memcpy wants a place even for nothing */
        memcpy(*at, s.p, s.n);
    *at += s.n;
    return kept;
}

/* Twice as many places: who shares one now has one of two then, so nobody is in another's way. */
static void more_places(struct event_names *n)
{
    size_t places = n->session_places * 2;
    struct rec_session **v = mem_zalloc(places * sizeof *v);
    for (size_t i = 0; i < n->session_places; i++)
        if (n->sessions[i])
            v[n->sessions[i]->session % places] = n->sessions[i];
    free(n->sessions);
    n->sessions = v;
    n->session_places = places;
}

static void learn_session(struct event_names *n, const struct rec_session *r)
{
    size_t texts = r->ehlo.n + r->mx.n + r->tls_version.n + r->tls_cipher.n + r->tls_policy.n + r->note.n;
    struct rec_session *s = mem_alloc(sizeof *s + texts);
    char *text = (char *)(s + 1);
    *s = *r;
    s->ehlo = keep_text(&text, r->ehlo);
    s->mx = keep_text(&text, r->mx);
    s->tls_version = keep_text(&text, r->tls_version);
    s->tls_cipher = keep_text(&text, r->tls_cipher);
    s->tls_policy = keep_text(&text, r->tls_policy);
    s->note = keep_text(&text, r->note);
    if (n->nsessions * 2 >= n->session_places && n->session_places < SESSIONS_MOST)
        more_places(n);
    struct rec_session **at = &n->sessions[r->session % n->session_places];
    n->nsessions += *at == NULL;
    free(*at);
    *at = s;
}

void event_names_learn(struct event_names *n, const struct rec *r)
{
    if (r->type == REC_NAME)
        learn_name(n, &r->name);
    else if (r->type == REC_SESSION)
        learn_session(n, &r->session);
}

struct slice event_name(const struct event_names *n, enum rec_name_kind kind, uint32_t number)
{
    const struct table *t = &n->tables[kind];
    return number && number <= t->cap && t->v[number - 1].p ? t->v[number - 1] : SLICE_NONE;
}

const struct rec_session *event_session(const struct event_names *n, uint64_t session)
{
    const struct rec_session *s = n->sessions[session % n->session_places];
    return session && s && s->session == session ? s : NULL;
}

/* --- what follows from a record --- */

void event_of_recipient(const struct rec_recipient *r, struct rec_event *out)
{
    *out = (struct rec_event){.type = EVENT_ACCEPTED,
                              .id = r->id,
                              .at_ms = r->accepted_ms,
                              .accepted_ms = r->accepted_ms,
                              .campaign = r->campaign,
                              .stream = r->stream,
                              .pool = r->pool,
                              .domain = r->domain,
                              .sender = r->sender,
                              .flags = r->flags,
                              .recipient = r->address,
                              .text = SLICE_NONE,
                              .class_name = SLICE_NONE,
                              .rule = SLICE_NONE,
                              .next_due_ms = r->due_ms,
                              .meta = SLICE_NONE,
                              .person_why = SLICE_NONE};
}

void event_message_id(struct buf *out, const struct event_names *n, const struct rec_event *ev)
{
    struct slice domain = event_name(n, NAME_DOMAIN, ev->domain);
    if (n->secret && domain.n)
        message_id_text(n->secret, ev->id, domain, out);
}

void event_envelope_from(struct buf *out, const struct event_names *n, const struct rec_event *ev)
{
    struct slice sender = event_name(n, NAME_SENDER, ev->sender);
    if (!sender.n || sender.p[0] != '@')
        buf_adds(out, sender);
    else if (n->secret && sender.n - 1 <= 253)
        verp_make(&n->secret->verp, ev->id, slice_of(sender.p + 1, sender.n - 1), out);
}

void event_enhanced(struct buf *out, const struct rec_event *ev)
{
    if (ev->enh_class)
        buf_printf(out, "%u.%u.%u", ev->enh_class, ev->enh_subject, ev->enh_detail);
}

const char *event_phase(const struct rec_event *ev)
{
    if (ev->phase == REC_PHASE_ASYNC)
        return "async";
    return ev->phase && ev->phase <= SMTP_PHASE_COUNT ? smtp_phase_name((enum smtp_phase)(ev->phase - 1))
                                                      : "";
}

enum class_kind event_kind(const struct rec_event *ev, enum reply_class cls)
{
    /* Without a reply a domain takes no mail because its null MX says so (RFC 7505), which counts as 556. */
    return class_kind_of(cls, cls == CLASS_NOT_ACCEPTING && !ev->code ? 556 : ev->code);
}

const char *event_person(const struct rec_event *ev)
{
    if (ev->person & REC_PERSON_SUPPRESSED)
        return "suppressed";
    if (ev->person & REC_PERSON_QUARANTINED)
        return "quarantined";
    return ev->person & REC_PERSON_COUNTED ? "counted" : "";
}

bool event_is_attempt(const struct rec_event *ev)
{
    switch ((enum rec_event_type)ev->type) {
    case EVENT_DELIVERED:
    case EVENT_DEFERRED:
    case EVENT_BOUNCED:
    case EVENT_EXPIRED:
    case EVENT_AMBIGUOUS:
        return true;
    case EVENT_ACCEPTED:
    case EVENT_SUPPRESSED:
    case EVENT_CANCELLED:
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

void event_message_text(struct buf *out, uint64_t id)
{
    buf_printf(out, "m%llu", (unsigned long long)id);
}

int event_message_parse(struct slice text, uint64_t *id)
{
    bool m = text.n && ascii_lower(text.p[0]) == 'm';
    return slice_u64(slice_of(text.p + m, text.n - m), id);
}

/* --- JSON --- */

#define KEY(out, name) buf_adds(out, S(",\"" name "\":"))

/* What a reader with doubles still has exactly. */
#define EXACT_MOST ((uint64_t)1 << 53)

static void put_digits(struct buf *out, uint64_t n)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    buf_add(out, digits + at, sizeof digits - at);
}

static void put_integer(struct buf *out, bool minus, uint64_t n)
{
    const char *quote = n > EXACT_MOST ? "\"" : "";
    buf_adds(out, slice_cstr(quote));
    if (minus)
        buf_addc(out, '-');
    put_digits(out, n);
    buf_adds(out, slice_cstr(quote));
}

static void put_measure(struct buf *out, uint32_t number)
{
    if (number)
        buf_printf(out, "\"M%u\"", number);
    else
        buf_adds(out, S("null"));
}

static void put_number(struct buf *out, uint64_t n)
{
    put_integer(out, false, n);
}

static void put_id(struct buf *out, char letter, uint64_t n)
{
    buf_addc(out, '"');
    buf_addc(out, letter);
    put_digits(out, n);
    buf_addc(out, '"');
}

static void put_bool(struct buf *out, bool v)
{
    buf_adds(out, v ? S("true") : S("false"));
}

static void put_text(struct buf *out, struct slice s)
{
    if (s.n)
        json_quote(out, s);
    else
        buf_adds(out, S("null"));
}

static void put_double(struct buf *out, double d)
{
    char text[40];
    if (!isfinite(d)) { /* JSON has no word for it */
        buf_adds(out, S("null"));
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    buf_adds(out, slice_cstr(text));
}

/* ERR_* where the bytes are no msgpack: what was appended is then no JSON. */
static int put_msgpack(struct buf *out, struct mp *m, bool is_key, int depth)
{
    struct mp_value v;
    if (depth == DEPTH_MOST || mp_next(m, &v))
        return ERR_SYNTAX;
    if (is_key && v.kind != MP_STR && v.kind != MP_BIN) {
        if (v.kind != MP_UINT && v.kind != MP_INT) /* nothing else is a key in JSON */
            return ERR_SYNTAX;
        buf_adds(out, v.kind == MP_INT ? S("\"-") : S("\""));
        put_digits(out, v.kind == MP_INT ? (uint64_t)0 - (uint64_t)v.i : v.u);
        buf_addc(out, '"');
        return 0;
    }
    switch (v.kind) {
    case MP_NIL:
        buf_adds(out, S("null"));
        break;
    case MP_BOOL:
        put_bool(out, v.b);
        break;
    case MP_INT:
        put_integer(out, true, (uint64_t)0 - (uint64_t)v.i);
        break;
    case MP_UINT:
        put_number(out, v.u);
        break;
    case MP_FLOAT:
        put_double(out, v.d);
        break;
    case MP_STR:
    case MP_BIN:
        json_quote(out, v.s);
        break;
    case MP_ARRAY:
        buf_addc(out, '[');
        for (uint32_t i = 0; i < v.n; i++) {
            if (i)
                buf_addc(out, ',');
            if (put_msgpack(out, m, false, depth + 1))
                return ERR_SYNTAX;
        }
        buf_addc(out, ']');
        break;
    case MP_MAP:
        buf_addc(out, '{');
        for (uint32_t i = 0; i < v.n; i++) {
            if (i)
                buf_addc(out, ',');
            if (put_msgpack(out, m, true, depth + 1))
                return ERR_SYNTAX;
            buf_addc(out, ':');
            if (put_msgpack(out, m, false, depth + 1))
                return ERR_SYNTAX;
        }
        buf_addc(out, '}');
        break;
    }
    return 0;
}

static void put_meta(struct buf *out, struct slice meta)
{
    struct mp m = {meta};
    size_t before = out->n;
    if (meta.n && put_msgpack(out, &m, false, 0) == 0)
        return;
    out->n = before;
    buf_adds(out, S("null"));
}

static void put_ip(struct buf *out, const struct ip *ip)
{
    char text[IP_TEXT];
    if (!ip || !ip->family) {
        buf_adds(out, S("null"));
        return;
    }
    buf_addc(out, '"');
    buf_adds(out, ip_text(ip, text));
    buf_addc(out, '"');
}

static void put_tls(struct buf *out, const struct rec_session *s)
{
    if (!s) {
        buf_adds(out, S("null"));
        return;
    }
    buf_adds(out, S("{\"version\":"));
    put_text(out, s->tls_version);
    KEY(out, "cipher");
    put_text(out, s->tls_cipher);
    KEY(out, "verified");
    put_bool(out, s->tls_verified);
    KEY(out, "policy");
    put_text(out, s->tls_policy);
    if (s->note.n) {
        KEY(out, "note");
        json_quote(out, s->note);
    }
    buf_addc(out, '}');
}

static void put_session(struct buf *out, const struct rec_event *ev, const struct rec_session *s)
{
    KEY(out, "session");
    if (ev->session)
        put_id(out, 's', ev->session);
    else
        buf_adds(out, S("null"));
    KEY(out, "local_ip");
    put_ip(out, s ? &s->local_ip : NULL);
    KEY(out, "ehlo");
    put_text(out, s ? s->ehlo : SLICE_NONE);
    KEY(out, "mx");
    put_text(out, s ? s->mx : SLICE_NONE);
    KEY(out, "ip");
    put_ip(out, s ? &s->ip : NULL);
    KEY(out, "tls");
    put_tls(out, s);
}

/* What was done to the person; nothing where nothing was. */
static void put_person(struct buf *out, const struct rec_event *ev)
{
    const char *done = event_person(ev);
    if (!*done)
        return;
    KEY(out, "person");
    put_text(out, slice_cstr(done));
    if (ev->person & REC_PERSON_SUPPRESSED) {
        KEY(out, "person_until");
        text_time_json(out, ev->person_until_ms);
    }
    KEY(out, "person_why");
    put_text(out, ev->person_why);
}

static void put_attempt(struct buf *out, const struct rec_event *ev)
{
    enum reply_class cls;
    bool has_class = class_parse(ev->class_name, &cls) == 0;
    KEY(out, "phase");
    put_text(out, slice_cstr(event_phase(ev)));
    KEY(out, "code");
    if (ev->code)
        put_number(out, ev->code);
    else
        buf_adds(out, S("null"));
    KEY(out, "enhanced");
    if (ev->enh_class) {
        buf_addc(out, '"');
        event_enhanced(out, ev);
        buf_addc(out, '"');
    } else {
        buf_adds(out, S("null"));
    }
    KEY(out, "text");
    put_text(out, ev->text);
    KEY(out, "class");
    put_text(out, ev->class_name);
    KEY(out, "kind");
    put_text(out, has_class ? slice_cstr(class_kind_name(event_kind(ev, cls))) : SLICE_NONE);
    KEY(out, "rule");
    put_text(out, ev->rule);
    KEY(out, "measure");
    put_measure(out, ev->measure);
    KEY(out, "next_due");
    text_time_json(out, ev->next_due_ms);
    KEY(out, "queued_ms");
    put_number(out, ev->queued_ms);
    KEY(out, "connect_ms");
    put_number(out, ev->connect_ms);
    KEY(out, "send_ms");
    put_number(out, ev->send_ms);
    KEY(out, "size");
    put_number(out, ev->size);
    if (ev->unmappable) {
        KEY(out, "unmappable");
        put_number(out, ev->unmappable);
    }
    put_person(out, ev);
}

void event_json(struct buf *out, const struct rec_event *ev, const struct event_names *n)
{
    struct buf made = {0};
    buf_adds(out, S("{\"id\":"));
    /* Acceptance is no event record and has no number of its own: the message's. */
    put_id(out, ev->event ? 'e' : 'a', ev->event ? ev->event : ev->id);
    KEY(out, "type");
    json_quote(out, rec_event_name(ev->type));
    KEY(out, "time");
    text_time_json(out, ev->at_ms);
    KEY(out, "message");
    put_id(out, 'm', ev->id);
    KEY(out, "message_id");
    event_message_id(&made, n, ev);
    put_text(out, buf_slice(&made));
    KEY(out, "campaign");
    put_text(out, event_name(n, NAME_CAMPAIGN, ev->campaign));
    KEY(out, "stream");
    put_text(out, event_name(n, NAME_STREAM, ev->stream));
    KEY(out, "recipient");
    put_text(out, ev->recipient);
    KEY(out, "envelope_from");
    buf_clear(&made);
    event_envelope_from(&made, n, ev);
    put_text(out, buf_slice(&made));
    buf_free(&made);
    KEY(out, "isp");
    put_text(out, event_name(n, NAME_ISP, ev->isp));
    KEY(out, "source");
    put_text(out, event_name(n, NAME_SOURCE, ev->source));
    KEY(out, "pool");
    put_text(out, event_name(n, NAME_POOL, ev->pool));
    KEY(out, "attempt");
    put_number(out, ev->attempt);
    KEY(out, "test");
    put_bool(out, ev->flags & REC_FLAG_TEST);
    KEY(out, "meta");
    put_meta(out, ev->meta);
    if (event_is_attempt(ev)) {
        put_session(out, ev, event_session(n, ev->session));
        put_attempt(out, ev);
    } else if (ev->text.n || ev->rule.n) {
        KEY(out, "text");
        put_text(out, ev->text);
        KEY(out, "rule");
        put_text(out, ev->rule);
    }
    buf_addc(out, '}');
}

/* --- a line for people --- */

void event_line(struct buf *out, const struct rec_event *ev, const struct event_names *n)
{
    struct buf word = {0};
    struct slice isp = event_name(n, NAME_ISP, ev->isp), source = event_name(n, NAME_SOURCE, ev->source),
                 campaign = event_name(n, NAME_CAMPAIGN, ev->campaign);
    text_time_plain(out, ev->at_ms);
    buf_adds(out, S("  "));
    text_left(out, rec_event_name(ev->type), 10);
    buf_adds(out, S("  "));
    event_message_text(&word, ev->id);
    text_left(out, buf_slice(&word), 9);
    buf_free(&word);
    buf_adds(out, S("  "));
    text_safe(out, ev->recipient.n ? ev->recipient : S("(recipient not recorded)"));
    if (ev->type == EVENT_ACCEPTED && campaign.n) {
        buf_adds(out, S("  campaign "));
        text_safe(out, campaign);
    }
    if (isp.n) {
        buf_adds(out, S("  "));
        text_safe(out, isp);
    }
    if (source.n) {
        buf_adds(out, S(" from "));
        text_safe(out, source);
    }
    if (ev->attempt > 1)
        buf_printf(out, "  attempt %u", ev->attempt);
    if (ev->phase && ev->type != EVENT_DELIVERED)
        buf_printf(out, "  %s:", event_phase(ev));
    if (ev->text.n) { /* a reply's begins with its code */
        buf_addc(out, ' ');
        text_safe(out, ev->text);
    } else if (ev->code) {
        buf_printf(out, " %u", ev->code);
    }
    if (ev->class_name.n) {
        buf_adds(out, S("  ["));
        text_safe(out, ev->class_name);
        buf_addc(out, ']');
    }
    if (ev->unmappable)
        buf_printf(out, "  (%u not in ISO-2022-JP)", ev->unmappable);
    if (event_is_attempt(ev) && ev->next_due_ms) {
        buf_adds(out, S("  next "));
        text_time_plain(out, ev->next_due_ms);
    }
}
