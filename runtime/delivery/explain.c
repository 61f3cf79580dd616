/* explain.c - see explain.h. */
#include "delivery/explain.h"
#include "base/words.h"
#include "format/text.h"

const char *explain_class(enum reply_class c)
{
    static const char *const sentences[CLASS_COUNT] = {
        [CLASS_UNKNOWN] = "the answer fits no rule; what it means is not known",
        [CLASS_NO_SUCH_USER] = "the receiver knows no such user",
        [CLASS_MOVED] = "the user has moved to another address",
        [CLASS_NO_SUCH_DOMAIN] = "the domain does not exist, or has nothing that takes mail",
        [CLASS_NOT_ACCEPTING] = "the domain says that it takes no mail",
        [CLASS_INACTIVE] = "the mailbox is there but is not in use or is switched off",
        [CLASS_MAILBOX_FULL] = "the mailbox is full",
        [CLASS_FILTERED] = "the person's own filter refused it",
        [CLASS_BLOCKED] = "the receiver has put our address or domain on a block list",
        [CLASS_LOW_REPUTATION] = "the receiver thinks little of our address or domain at the moment",
        [CLASS_SENDER_REJECTED] = "the receiver refuses this sender",
        [CLASS_NO_PTR] = "our address has no name that leads back to it (PTR)",
        [CLASS_AUTH_FAILED] = "SPF, DKIM or DMARC did not pass at the receiver",
        [CLASS_RATE_LIMITED] = "we sent faster than the receiver wants",
        [CLASS_TOO_MANY_CONNECTIONS] = "we had more connections open than the receiver wants",
        [CLASS_POLICY] = "a rule of the receiver's forbids it",
        [CLASS_SECURITY] = "a security rule of the receiver's forbids it",
        [CLASS_RELAYING_DENIED] = "that server does not take mail for the domain; its MX may have moved",
        [CLASS_TLS_FAILED] = "encryption is required and could not be had",
        [CLASS_SPAM] = "the receiver takes it for spam",
        [CLASS_VIRUS] = "the receiver found something harmful in it",
        [CLASS_CONTENT] = "the receiver refuses what it contains",
        [CLASS_NOT_RFC] = "the receiver says that the message breaks a standard",
        [CLASS_TOO_LARGE] = "the message is larger than the receiver takes",
        [CLASS_OVER_LIMIT] = "a limit of the mailbox or the receiver is used up",
        [CLASS_NETWORK] = "the receiver could not be reached, or the connection broke",
        [CLASS_GREYLISTED] = "the receiver asks senders it does not know to come back later",
        [CLASS_SYSTEM] = "the receiver has a fault of its own",
        [CLASS_SYSTEM_FULL] = "the receiver's system is full",
        [CLASS_MAILER] = "the receiver's mail server has a fault of its own",
        [CLASS_PROTOCOL] = "the two servers did not understand each other",
        [CLASS_EXPIRED] = "no answer ever came",
        [CLASS_FEEDBACK] = "it is a complaint, not a bounce",
        [CLASS_AUTO_REPLY] = "it is an automatic reply, not a bounce",
        [CLASS_DELIVERED] = "the receiver took it",
    };
    return (unsigned)c < CLASS_COUNT ? sentences[c] : "the journal is of a later version of hato";
}

/* --- an event --- */

static void put_name(struct buf *out, struct slice name, const char *otherwise)
{
    text_safe(out, name.n ? name : slice_cstr(otherwise));
}

static void put_address(struct buf *out, const struct ip *ip)
{
    char text[IP_TEXT];
    if (ip->family)
        buf_printf(out, " [%s]", ip_text(ip, text).p);
}

static void put_where(struct buf *out, const struct rec_event *ev, const struct event_names *n)
{
    const struct rec_session *s = event_session(n, ev->session);
    struct slice source = event_name(n, NAME_SOURCE, ev->source);
    if (!s && !source.n)
        return;
    buf_adds(out, S(" ("));
    if (s) {
        text_safe(out, s->mx);
        put_address(out, &s->ip);
        buf_adds(out, S(", "));
    }
    buf_adds(out, S("from "));
    put_name(out, source, "a source not named");
    if (s) {
        put_address(out, &s->local_ip);
        buf_adds(out, S(", "));
        put_name(out, s->tls_version, "not encrypted");
    }
    buf_addc(out, ')');
}

static void put_answer(struct buf *out, const struct rec_event *ev)
{
    if (ev->phase && !event_is_late(ev))
        buf_printf(out, " at %s", event_phase(ev));
    buf_adds(out, S(": "));
    if (ev->text.n)
        text_safe(out, ev->text);
    else if (ev->code)
        buf_printf(out, "%u", ev->code);
    else
        buf_adds(out, S("no answer"));
}

static void new_line(struct buf *out, size_t indent)
{
    buf_addc(out, '\n');
    while (indent--)
        buf_addc(out, ' ');
}

static void put_class(struct buf *out, const struct rec_event *ev, size_t indent, bool final)
{
    enum reply_class cls;
    if (!ev->class_name.n)
        return;
    new_line(out, indent);
    text_safe(out, ev->class_name);
    if (class_parse(ev->class_name, &cls) == 0) {
        if (final)
            buf_printf(out, " (%s)", class_kind_name(event_kind(ev, cls)));
        buf_printf(out, ": %s", explain_class(cls));
    }
    if (ev->rule.n) {
        buf_adds(out, S("; rule: "));
        text_safe(out, ev->rule);
    }
}

static void put_next(struct buf *out, const struct rec_event *ev, size_t indent)
{
    new_line(out, indent);
    if (ev->next_due_ms) {
        buf_adds(out, S("next try "));
        text_time_plain(out, ev->next_due_ms);
        buf_adds(out, S(" ("));
        words_duration_text(out, ev->next_due_ms - ev->at_ms);
        buf_adds(out, S(" later)"));
    } else {
        buf_adds(out, S("goes again as soon as it may"));
    }
}

static void put_deferred(struct buf *out, const struct rec_event *ev, const struct event_names *n,
                         size_t indent)
{
    struct slice isp = event_name(n, NAME_ISP, ev->isp);
    if (ev->charged)
        buf_printf(out, "attempt %u put off by ", ev->attempt);
    else
        buf_adds(out, S("could not be offered to "));
    put_name(out, isp, "the receiver");
    put_where(out, ev, n);
    put_answer(out, ev);
    put_class(out, ev, indent, false);
    put_next(out, ev, indent);
    if (!ev->charged)
        buf_adds(out, S("; does not count as an attempt"));
}

void explain_event(struct buf *out, const struct rec_event *ev, const struct event_names *n, size_t indent)
{
    struct slice isp = event_name(n, NAME_ISP, ev->isp),
                 campaign = event_name(n, NAME_CAMPAIGN, ev->campaign);
    switch ((enum rec_event_type)ev->type) {
    case EVENT_ACCEPTED:
        buf_adds(out, S("accepted, stream "));
        put_name(out, event_name(n, NAME_STREAM, ev->stream), "not known");
        buf_adds(out, campaign.n ? S(", campaign ") : S(", hato.send"));
        text_safe(out, campaign);
        if (ev->flags & REC_FLAG_TEST)
            buf_adds(out, S(", a test"));
        return;
    case EVENT_DELIVERED:
        buf_printf(out, "attempt %u: ", ev->attempt);
        put_name(out, isp, "the receiver");
        buf_adds(out, S(" took it"));
        put_where(out, ev, n);
        buf_adds(out, S(": "));
        put_name(out, ev->text, "250");
        return;
    case EVENT_DEFERRED:
        put_deferred(out, ev, n, indent);
        return;
    case EVENT_AMBIGUOUS:
        buf_printf(out, "attempt %u: the connection to ", ev->attempt);
        put_name(out, isp, "the receiver");
        put_where(out, ev, n);
        buf_adds(out, S(" broke off between the last byte and the reply"));
        put_answer(out, ev);
        new_line(out, indent);
        buf_adds(out, S("it may have been taken; if it was, the next try delivers it a second time"));
        put_next(out, ev, indent);
        return;
    case EVENT_BOUNCED:
        if (event_is_late(ev)) {
            put_name(out, isp, "the receiver");
            buf_adds(out, S(" sent it back by mail"));
        } else if (ev->session) {
            buf_printf(out, "attempt %u refused for good by ", ev->attempt);
            put_name(out, isp, "the receiver");
            put_where(out, ev, n);
        } else {
            buf_adds(out, S("ended without an attempt"));
        }
        put_answer(out, ev);
        put_class(out, ev, indent, true);
        return;
    case EVENT_EXPIRED:
        buf_printf(out, "given up after %u attempt%s; last", ev->attempt, ev->attempt == 1 ? "" : "s");
        put_answer(out, ev);
        put_class(out, ev, indent, true);
        return;
    case EVENT_HELD:
    case EVENT_SUPPRESSED:
    case EVENT_CANCELLED:
    case EVENT_COMPLAINED:
    case EVENT_OPENED:
    case EVENT_CLICKED:
    case EVENT_UNSUBSCRIBED:
    case EVENT_CONVERTED:
    case EVENT_REPLIED:
    case EVENT_TYPES:
        break;
    }
    buf_adds(out, rec_event_name(ev->type));
    if (ev->text.n) {
        buf_adds(out, S(": "));
        text_safe(out, ev->text);
    }
    if (ev->rule.n) {
        buf_adds(out, S("; rule: "));
        text_safe(out, ev->rule);
    }
}

/* --- waiting --- */

void explain_wait(struct buf *out, const struct reason *r, int64_t now_ms)
{
    bool goes_on = r->end_ms >= now_ms;
    buf_adds(out, goes_on ? S("has waited ") : S("waited "));
    words_duration_text(out, r->end_ms - r->begin_ms);
    if (r->kind == REASON_NONE) {
        buf_adds(out, S(", and nothing says why: that is a bug of hato, please report it"));
        return;
    }
    buf_addc(out, ' ');
    text_safe(out, r->why);
    if (goes_on && r->until_ms > now_ms) {
        buf_adds(out, S("; until "));
        text_time_plain(out, r->until_ms);
    }
}

/* --- the end of the chain --- */

static void put_due(struct buf *out, int64_t due_ms, int64_t now_ms)
{
    text_time_plain(out, due_ms);
    if (due_ms <= now_ms)
        return;
    buf_adds(out, S(", in "));
    words_duration_text(out, due_ms - now_ms);
}

static void put_waiting(struct buf *out, const struct explain_message *m, int64_t now_ms)
{
    const struct standing *s = &m->at;
    bool campaign = m->campaign.n && !s->tried;
    if (campaign && m->campaign_state == CAMPAIGN_READ) {
        buf_adds(out, S("Waiting: its campaign has been taken in and has not started."));
    } else if (campaign && (m->campaign_state == 0 || m->campaign_state == CAMPAIGN_READING)) {
        buf_adds(out, S("Waiting: its campaign is being taken in, or that was cut off; `hato run` with its "
                        "script goes on with it."));
    } else if (s->due_ms > now_ms) {
        buf_adds(out, s->tried ? S("Waiting: the next try is due ") : S("Waiting for its time: "));
        put_due(out, s->due_ms, now_ms);
        buf_addc(out, '.');
    } else if (!s->tried) {
        buf_adds(out, S("Waiting for its turn: nobody has tried yet. It goes while hato runs, when its "
                        "receiver may be given more."));
    } else {
        buf_adds(out, S("Due"));
        if (s->due_ms) {
            buf_adds(out, S(" since "));
            put_due(out, s->due_ms, now_ms);
        }
        buf_adds(out, S(": it goes while hato runs, when its receiver may be given more."));
        if (!s->charged)
            buf_adds(out, S(" The last obstacle was not about this message."));
    }
}

void explain_message(struct buf *out, const struct explain_message *m, int64_t now_ms)
{
    const struct standing *s = &m->at;
    switch ((enum standing_state)s->state) {
    case STANDING_WAITING:
        put_waiting(out, m, now_ms);
        return;
    case STANDING_IN_FLIGHT:
        buf_adds(out, S("An attempt began "));
        text_time_plain(out, s->begun_ms);
        buf_adds(out, S(" and has no end in the journal: it is under way now, or the process stopped in it. "
                        "In that case the receiver may have taken it, and the next run tries again."));
        return;
    case STANDING_HELD:
        buf_adds(out, S("Held, and not lost: "));
        text_safe(out, slice_cstr(s->text));
        buf_adds(out, S(". When that is mended, the next start of hato tries again."));
        return;
    case STANDING_DELIVERED:
        buf_adds(out, S("Delivered"));
        if (m->accepted_ms && s->last_ms >= m->accepted_ms) {
            buf_addc(out, ' ');
            words_duration_text(out, s->last_ms - m->accepted_ms);
            buf_adds(out, S(" after it was accepted"));
        }
        buf_adds(out, S(". If the person does not see it, ask the receiver with the reply above, and look "
                        "among the spam."));
        return;
    case STANDING_BOUNCED:
        buf_printf(out, "Ended, not delivered: %s. It is not tried again.",
                   explain_class((enum reply_class)s->cls));
        return;
    case STANDING_EXPIRED:
        buf_printf(out,
                   "Ended, not delivered: its time was over after %u attempt%s; %s. It is not tried again.",
                   s->attempts, s->attempts == 1 ? "" : "s", explain_class((enum reply_class)s->cls));
        return;
    case STANDING_SUPPRESSED:
        buf_adds(out, S("Ended, not sent: the address is suppressed."));
        return;
    case STANDING_CANCELLED:
        buf_adds(out, S("Ended, not sent: somebody cancelled it."));
        return;
    }
}
