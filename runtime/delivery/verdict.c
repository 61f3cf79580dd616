/* verdict.c - what follows from an answer. The class comes from the rules (rule.h), the consequences from the
 * cause, the phase and the code alone; the class has a say in two places, both marked. */
#include "delivery/verdict.h"
#include "base/err.h"

enum { MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS };

const char *verdict_scope_name(enum verdict_scope s)
{
    static const char *const names[] = {"recipient", "message", "session", "site", "source", "sender"};
    return (unsigned)s < COUNT(names) ? names[s] : "?";
}

void verdict_schedule_default(struct verdict_schedule *s)
{
    *s = (struct verdict_schedule){
        .retry_ms = {5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS, 6 * HOUR_MS},
        .nretry = 4,
        .give_up_ms = (int64_t)48 * HOUR_MS,
    };
}

int64_t verdict_retry_ms(const struct verdict_schedule *s, unsigned attempts, uint64_t random)
{
    INVARIANT(attempts >= 1 && s->nretry >= 1);
    size_t step = attempts <= s->nretry ? attempts - 1 : s->nretry - 1;
    int64_t wait = s->retry_ms[step], tenth = wait / 10;

    return wait - tenth + (int64_t)(random % (uint64_t)(2 * tenth + 1));
}

/* A greeting of this class is said to all our connections alike: other hosts of the site would say it too. */
static bool is_rate_or_reputation(enum reply_class c)
{
    return class_group_of(c) == GROUP_RATE || class_group_of(c) == GROUP_REPUTATION_BLOCK;
}

static void on_silence(const struct verdict_in *in, struct verdict *v)
{
    v->session_over = true;
    if (in->phase <= SMTP_PHASE_BANNER) {
        v->scope = SCOPE_SITE;
        v->try_next_host = true;
    } else {
        v->scope = SCOPE_SESSION;
        v->charged = in->phase >= SMTP_PHASE_MAIL;
        v->ambiguous = in->phase == SMTP_PHASE_EOD;
    }
}

static void on_4xx(const struct verdict_in *in, struct verdict *v)
{
    v->session_over = in->reply->code == 421 || in->phase < SMTP_PHASE_MAIL;
    switch (in->phase) {
    case SMTP_PHASE_CONNECT:
    case SMTP_PHASE_BANNER:
        v->scope = SCOPE_SITE;
        v->try_next_host = !is_rate_or_reputation(v->cls); /* by class */
        break;
    case SMTP_PHASE_STARTTLS:
        v->scope = SCOPE_SITE;
        v->try_next_host = true;
        break;
    case SMTP_PHASE_EHLO:
    case SMTP_PHASE_AUTH:
    case SMTP_PHASE_QUIT:
        v->scope = SCOPE_SESSION;
        break;
    case SMTP_PHASE_RCPT:
        v->scope = in->reply->code == 421 ? SCOPE_SESSION : SCOPE_RECIPIENT;
        v->charged = true;
        break;
    case SMTP_PHASE_MAIL:
    case SMTP_PHASE_DATA:
    case SMTP_PHASE_EOD:
        v->scope = in->reply->code == 421 ? SCOPE_SESSION : SCOPE_MESSAGE;
        v->charged = true;
        break;
    }
}

static void on_5xx(const struct verdict_in *in, bool retry, struct verdict *v)
{
    switch (in->phase) {
    case SMTP_PHASE_CONNECT:
    case SMTP_PHASE_BANNER:
    case SMTP_PHASE_EHLO:
    case SMTP_PHASE_STARTTLS:
    case SMTP_PHASE_AUTH:
        v->scope = SCOPE_SOURCE;
        v->session_over = true;
        break;
    case SMTP_PHASE_MAIL:
        /* RFC 1870 6.1: MAIL with SIZE is also where a message is refused for its own size. By class. */
        if (v->cls == CLASS_TOO_LARGE) {
            v->scope = SCOPE_MESSAGE;
            v->final = v->charged = true;
        } else {
            v->scope = SCOPE_SENDER;
        }
        break;
    case SMTP_PHASE_RCPT:
        v->scope = SCOPE_RECIPIENT;
        v->final = !retry;
        v->charged = true;
        break;
    case SMTP_PHASE_DATA:
    case SMTP_PHASE_EOD:
        v->scope = SCOPE_MESSAGE;
        v->final = !retry;
        v->charged = true;
        break;
    case SMTP_PHASE_QUIT:
        v->scope = SCOPE_SESSION;
        v->session_over = true;
        break;
    }
}

/* rule: which one gave the class. */
static void on_reply(const struct verdict_in *in, struct verdict *v, int *rule)
{
    const struct smtp_reply *r = in->reply;
    struct rule_out found;
    int code = r->code;

    if (code / 100 == 2 && in->phase == SMTP_PHASE_EOD && !r->code_mismatch) {
        v->cls = CLASS_DELIVERED;
        v->rule = "accepted";
        v->scope = SCOPE_MESSAGE;
        v->delivered = v->final = v->charged = true;
        return;
    }
    if (code < 400 || r->code_mismatch) {
        /* 354 to RCPT, 250 to DATA: the two sides are no longer at the same command. A reply of 250 and 550
         * in one says neither; after the final dot the message may have been taken. */
        v->cls = CLASS_PROTOCOL;
        v->rule = "reply out of step";
        on_silence(in, v);
        v->try_next_host = false;
        return;
    }
    rules_classify(in->rules, in->work,
                   &(struct rule_in){.isp = in->isp,
                                     .provider = in->provider,
                                     .phase = (int)in->phase,
                                     .code = code,
                                     .enhanced = r->has_enhanced ? &r->enhanced : NULL,
                                     .text = r->text},
                   &found);
    v->cls = found.cls;
    v->rule = found.rule;
    *rule = found.index;
    if (in->phase == SMTP_PHASE_STARTTLS) {
        v->cls = CLASS_TLS_FAILED;
        v->rule = "STARTTLS refused";
    }
    if (code < 500)
        on_4xx(in, v);
    else
        on_5xx(in, found.retry, v);
}

/* What DNS or the receiver's offer said before any connection was asked for this message. */
static void on_recipient(struct verdict *v, enum reply_class cls, enum verdict_scope scope, const char *rule)
{
    v->cls = cls;
    v->scope = scope;
    v->rule = rule;
    v->final = true;
}

static unsigned failure_of(enum verdict_cause cause)
{
    switch (cause) {
    case CAUSE_CONNECT_FAILED:
        return ACT_REFUSED_CONNECTION;
    case CAUSE_LOST:
        return ACT_LOST_CONNECTION;
    case CAUSE_TIMEOUT:
        return ACT_SILENCE;
    case CAUSE_TLS_FAILED:
        return ACT_TLS;
    case CAUSE_REPLY:
    case CAUSE_NOT_SMTP:
    case CAUSE_OVER_SIZE:
    case CAUSE_NO_SMTPUTF8:
    case CAUSE_NXDOMAIN:
    case CAUSE_NO_ADDRESS:
    case CAUSE_NULL_MX:
    case CAUSE_DNS_FAILED:
        break;
    }
    return 0;
}

void verdict_give(const struct verdict_in *in, struct verdict *out)
{
    struct verdict v = {.rule = "none"};
    int code = in->cause == CAUSE_REPLY ? in->reply->code : 0, rule = -1;

    switch (in->cause) {
    case CAUSE_REPLY:
        on_reply(in, &v, &rule);
        break;
    case CAUSE_CONNECT_FAILED:
        v.cls = CLASS_NETWORK;
        v.rule = "connection failed";
        v.scope = SCOPE_SITE;
        v.try_next_host = v.session_over = true;
        break;
    case CAUSE_TIMEOUT:
        v.cls = CLASS_NETWORK;
        v.rule = "no answer in time";
        on_silence(in, &v);
        break;
    case CAUSE_LOST:
        v.cls = CLASS_NETWORK;
        v.rule = "connection lost";
        on_silence(in, &v);
        break;
    case CAUSE_NOT_SMTP:
        v.cls = CLASS_PROTOCOL;
        v.rule = "not SMTP";
        on_silence(in, &v);
        break;
    case CAUSE_TLS_FAILED:
        v.cls = CLASS_TLS_FAILED;
        v.rule = "TLS failed";
        v.scope = SCOPE_SITE;
        v.try_next_host = v.session_over = true;
        break;
    case CAUSE_OVER_SIZE:
        on_recipient(&v, CLASS_TOO_LARGE, SCOPE_MESSAGE, "larger than SIZE");
        break;
    case CAUSE_NO_SMTPUTF8:
        on_recipient(&v, CLASS_NOT_RFC, SCOPE_RECIPIENT, "no SMTPUTF8");
        break;
    case CAUSE_NXDOMAIN:
        on_recipient(&v, CLASS_NO_SUCH_DOMAIN, SCOPE_RECIPIENT, "NXDOMAIN");
        break;
    case CAUSE_NO_ADDRESS:
        on_recipient(&v, CLASS_NO_SUCH_DOMAIN, SCOPE_RECIPIENT, "no MX and no address");
        break;
    case CAUSE_NULL_MX:
        on_recipient(&v, CLASS_NOT_ACCEPTING, SCOPE_RECIPIENT, "null MX");
        code = 556; /* RFC 7505 3 */
        break;
    case CAUSE_DNS_FAILED:
        v.cls = CLASS_NETWORK;
        v.rule = "DNS failed";
        v.scope = SCOPE_SITE;
        break;
    }
    v.kind = class_kind_of(v.cls, code);
    if (!v.delivered)
        acts_find(in->acts,
                  &(struct acts_in){.rule = rule,
                                    .name = v.rule,
                                    .text = in->reply ? in->reply->text : SLICE_NONE,
                                    .failure = failure_of(in->cause),
                                    .isp = in->isp,
                                    .provider = in->provider,
                                    .cls = v.cls,
                                    .kind = v.kind},
                  &v.act);
    if (v.act.path && v.act.path->act.kind == ACT_RECONNECT)
        v.session_over = true;
    INVARIANT(!(v.final && v.try_next_host));
    *out = v;
}

void verdict_override(struct verdict *v, enum reply_class cls, int code, struct slice isp,
                      const struct acts *acts)
{
    v->cls = cls;
    v->kind = class_kind_of(cls, code);
    v->rule = "reply hook";
    acts_find(acts,
              &(struct acts_in){
                  .rule = -1, .name = v->rule, .text = SLICE_NONE, .isp = isp, .cls = cls, .kind = v->kind},
              &v->act);
}
