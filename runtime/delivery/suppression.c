/* suppression.c - see suppression.h. */
#include "delivery/suppression.h"
#include "base/json.h"
#include "base/words.h"
#include "delivery/event.h"
#include "format/text.h"

#define PROVISIONAL_MS ((int64_t)24 * 3600000)

void suppression_address(struct buf *out, const struct addr *a)
{
    struct addr one = *a;
    char small[ADDR_LOCAL_MAX];
    INVARIANT(a->local.n <= sizeof small);
    for (size_t i = 0; i < a->local.n; i++)
        small[i] = ascii_lower(a->local.p[i]);
    one.local = slice_of(small, a->local.n);
    one.domain = a->domain_ascii;
    addr_smtp(out, &one, ADDR_RAW);
}

/* --- words --- */

static const char *const scopes[] = {"all", "stream", "list"};

const char *suppression_scope_word(enum suppress_scope scope)
{
    return scopes[scope];
}

int suppression_scope_of_word(struct slice word, enum suppress_scope *out)
{
    for (int i = 0; i < SUPPRESS_SCOPES; i++) {
        if (slice_eq(word, slice_cstr(scopes[i]))) {
            *out = (enum suppress_scope)i;
            return 0;
        }
    }
    return ERR_NOTFOUND;
}

int suppression_scope_parse(struct slice text, enum suppress_scope *scope, struct slice *name, struct err *e)
{
    struct slice rest, word = slice_cut(slice_trim(text), '=', &rest);
    enum suppress_scope s;
    if (suppression_scope_of_word(word, &s) || (s == SUPPRESS_ALL) != (rest.n == 0))
        return err_set(e, ERR_SYNTAX, "a scope is all, stream=NAME or list=NAME, not \"%.*s\"",
                       SLICE_FMT(text));
    *scope = s;
    *name = rest.n ? rest : SLICE_NONE;
    return 0;
}

void suppression_scope_text(struct buf *out, enum suppress_scope scope, struct slice name)
{
    buf_adds(out, slice_cstr(scopes[scope]));
    if (scope == SUPPRESS_ALL)
        return;
    buf_addc(out, '=');
    buf_adds(out, name);
}

static const struct {
    const char *word, *text;
} reasons[] = {
    [SUPPRESS_NOT] = {"none", "not suppressed"},
    [SUPPRESS_QUARANTINE] = {"quarantine", "in quarantine"},
    [SUPPRESS_SOFT_BOUNCE] = {"soft_bounce", "soft bounces"},
    [SUPPRESS_HARD_BOUNCE] = {"hard_bounce", "hard bounce"},
    [SUPPRESS_MANUAL] = {"manual", "by hand"},
    [SUPPRESS_OPT_OUT] = {"opt_out", "opted out"},
    [SUPPRESS_COMPLAINT] = {"complaint", "complained"},
};

const char *suppression_reason_word(enum suppress_reason r)
{
    return reasons[r].word;
}

const char *suppression_reason_text(enum suppress_reason r)
{
    return reasons[r].text;
}

int suppression_reason_parse(struct slice word, enum suppress_reason *out, struct err *e)
{
    char plain[32];
    struct slice names[SUPPRESS_REASONS];
    size_t n = 0;
    word = slice_trim(word);
    for (; n < word.n && n < sizeof plain; n++)
        plain[n] = word.p[n] == '-' || word.p[n] == ' ' ? '_' : ascii_lower(word.p[n]);
    for (int i = SUPPRESS_NOT + 1; i < SUPPRESS_REASONS; i++) {
        names[i - 1] = slice_cstr(reasons[i].word);
        if (n == word.n && slice_eq(slice_of(plain, n), names[i - 1])) {
            *out = (enum suppress_reason)i;
            return 0;
        }
    }
    struct slice near = words_near(slice_of(plain, n), names, SUPPRESS_REASONS - 1);
    if (near.n)
        return err_set(e, ERR_NOTFOUND, "no reason \"%.*s\"; did you mean %.*s?", SLICE_FMT(word),
                       SLICE_FMT(near));
    return err_set(e, ERR_NOTFOUND,
                   "no reason \"%.*s\": it is one of manual, opt_out, complaint, hard_bounce, soft_bounce",
                   SLICE_FMT(word));
}

/* --- which of two stays --- */

int64_t suppression_expires(int64_t ms)
{
    return (ms + 999) / 1000 * 1000;
}

bool suppression_weigh(struct suppress_weight old, struct suppress_weight fresh, int64_t now_ms,
                       int64_t *expires_ms)
{
    int64_t old_end = old.expires_ms ? old.expires_ms : INT64_MAX;
    int64_t fresh_end = fresh.expires_ms ? fresh.expires_ms : INT64_MAX;
    *expires_ms = fresh.expires_ms;
    if (old.reason == SUPPRESS_NOT || old_end <= now_ms)
        return true;
    if (old_end > fresh_end)
        *expires_ms = old.expires_ms;
    bool old_persons = suppression_is_the_persons(old.reason),
         fresh_persons = suppression_is_the_persons(fresh.reason);
    if (old_persons != fresh_persons)
        return fresh_persons;
    if (old_end != fresh_end)
        return fresh_end > old_end;
    if (fresh.reason != old.reason)
        return fresh.reason > old.reason;
    return old.provisional && !fresh.provisional;
}

/* --- events --- */

struct slice suppression_address_of(const struct rec_event *ev, struct arena *a)
{
    struct addr addr;
    struct buf text = {0};
    if (ev->flags & REC_FLAG_TEST || addr_parse(ev->recipient, a, &addr, NULL))
        return SLICE_NONE;
    suppression_address(&text, &addr);
    struct slice address = arena_copy(a, buf_slice(&text));
    buf_free(&text);
    return address;
}

/* What was answered begins with its codes. */
static struct slice evidence_of(const struct rec_event *ev, struct arena *a)
{
    struct buf text = {0};
    if (ev->type != EVENT_COMPLAINED)
        buf_printf(&text, "%.*s%s", SLICE_FMT(ev->class_name), ev->text.n ? ": " : "");
    buf_adds(&text, ev->text);
    if (ev->person_why.n)
        buf_printf(&text, "%s%.*s", text.n ? "; " : "", SLICE_FMT(ev->person_why));
    struct slice evidence = arena_copy(a, buf_slice(&text));
    buf_free(&text);
    return evidence;
}

bool suppression_of_event(const struct rec_event *ev, struct slice stream, struct slice isp, struct arena *a,
                          struct suppression *out)
{
    struct suppression s = {
        .scope = SUPPRESS_ALL, .name = SLICE_NONE, .since_ms = ev->at_ms, .event = ev->event, .isp = isp};
    enum reply_class cls;
    bool has_class = !class_parse(ev->class_name, &cls);
    bool hard = has_class && event_kind(ev, cls) == KIND_HARD;
    if (ev->person & REC_PERSON_SUPPRESSED) {
        s.reason = hard ? SUPPRESS_HARD_BOUNCE : SUPPRESS_SOFT_BOUNCE;
        s.expires_ms = suppression_expires(ev->person_until_ms);
        s.provisional_ms = ev->person_certain_ms;
    } else if (ev->person & REC_PERSON_QUARANTINED) {
        s.reason = SUPPRESS_QUARANTINE;
        s.expires_ms = suppression_expires(ev->person_until_ms);
    } else if (ev->type == EVENT_BOUNCED && !ev->person && hard) {
        s.reason = SUPPRESS_HARD_BOUNCE;
        s.provisional_ms = ev->at_ms + PROVISIONAL_MS;
    } else if (ev->type == EVENT_COMPLAINED) {
        s.reason = SUPPRESS_COMPLAINT;
    } else if (ev->type == EVENT_UNSUBSCRIBED && stream.n) {
        s.reason = SUPPRESS_OPT_OUT;
        s.scope = SUPPRESS_STREAM;
        s.name = stream;
    }
    if (s.reason == SUPPRESS_NOT || !(s.address = suppression_address_of(ev, a)).n)
        return false;
    s.evidence = evidence_of(ev, a);
    *out = s;
    return true;
}

/* --- for people and programs --- */

void suppression_text(struct buf *out, const struct suppression *s)
{
    bool aside = s->reason == SUPPRESS_QUARANTINE && s->expires_ms;
    buf_adds(out, aside ? S("set aside, and gets mail, for ") : S("suppressed for "));
    if (s->scope == SUPPRESS_ALL) {
        buf_adds(out, S("all mail"));
    } else {
        buf_printf(out, "the %s ", scopes[s->scope]);
        text_safe(out, s->name);
    }
    buf_adds(out, S(" since "));
    text_time_plain(out, s->since_ms);
    buf_printf(out, ": %s", suppression_reason_text(s->reason));
    if (s->evidence.n) {
        buf_adds(out, S(" ("));
        text_safe(out, s->evidence);
        buf_addc(out, ')');
    }
    if (s->provisional_ms) {
        buf_adds(out, S(", provisional until "));
        text_time_plain(out, s->provisional_ms);
    }
    if (s->expires_ms && !aside) {
        buf_adds(out, S(", ends "));
        text_time_plain(out, s->expires_ms);
    }
}

static void put_time(struct buf *out, const char *key, int64_t ms)
{
    buf_printf(out, ",\"%s\":", key);
    text_time_json(out, ms);
}

void suppression_json(struct buf *out, const struct suppression *s)
{
    struct buf scope = {0};
    suppression_scope_text(&scope, s->scope, s->name);
    buf_adds(out, S("{\"address\":"));
    json_quote(out, s->address);
    buf_adds(out, S(",\"scope\":"));
    json_quote(out, buf_slice(&scope));
    buf_printf(out, ",\"reason\":\"%s\"", suppression_reason_word(s->reason));
    put_time(out, "since", s->since_ms);
    put_time(out, "expires", s->expires_ms);
    put_time(out, "provisional_until", s->provisional_ms);
    if (s->event)
        buf_printf(out, ",\"event\":\"e%llu\"", (unsigned long long)s->event);
    else
        buf_adds(out, S(",\"event\":null"));
    buf_adds(out, S(",\"isp\":"));
    if (s->isp.n)
        json_quote(out, s->isp);
    else
        buf_adds(out, S("null"));
    buf_adds(out, S(",\"evidence\":"));
    json_quote(out, s->evidence);
    buf_addc(out, '}');
    buf_free(&scope);
}
