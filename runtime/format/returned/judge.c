/* judge.c - see judge.h.
 *
 * Order of trust: a rule that knows the server's words; a phrase; a rule for the status; a phrase in what is
 * said about nobody in particular; a rule for the bare code. */
#include "format/returned/judge.h"
#include "format/charset.h"
#include "format/reply_quote.h"
#include "format/rule_file.h"

#include <stdlib.h>

extern const unsigned char rules_returned_bytes[];
extern const size_t rules_returned_size;

struct judge {
    const struct rules *replies;      /* borrowed */
    struct rules *phrases, *subjects; /* owned */
    struct rule_work *work;
    struct buf text;
    returned_isp_fn *who; /* may be NULL */
    void *who_data;
};

int judge_new(const struct rules *rules, struct judge **out, struct err *e)
{
    struct arena arena = {0};
    struct rule_file file;
    struct judge *j = mem_zalloc(sizeof *j);
    size_t n = 0;
    int rc = rule_file_read(slice_of(rules_returned_bytes, rules_returned_size), "returned.rules",
                            "mail:", &arena, &file, e);

    if (rc)
        goto out;
    /* Those for subjects stand first in the file. */
    while (n < file.n && slice_starts(file.specs[n].name, S("mail:subject.")))
        n++;
    if ((rc = rules_compile(file.specs, n, &j->subjects, e)) ||
        (rc = rules_compile(file.specs + n, file.n - n, &j->phrases, e)))
        goto out;
    j->replies = rules;
    j->work = rule_work_new();
    *out = j;
    j = NULL;
out:
    judge_free(j);
    arena_free(&arena);
    return rc;
}

void judge_free(struct judge *j)
{
    if (!j)
        return;
    rules_free(j->phrases);
    rules_free(j->subjects);
    rule_work_free(j->work);
    buf_free(&j->text);
    free(j);
}

/* --- the receiver --- */

void judge_isps(struct judge *j, returned_isp_fn *fn, void *data)
{
    j->who = fn;
    j->who_data = data;
}

/* The host that refused says more than the address does. */
static struct returned_isp isp_of(const struct judge *j, struct slice host, struct slice address)
{
    struct returned_isp found = {SLICE_NONE, SLICE_NONE};
    struct slice domain = SLICE_NONE;

    slice_cut(address, '@', &domain);
    if (j->who)
        j->who(j->who_data, host, domain, &found);
    return found;
}

/* --- class --- */

struct answer {
    enum reply_class cls;
    const char *rule;
    bool by_text, by_status;
};

static bool ask(struct judge *j, const struct rules *rules, const struct rule_in *in, struct answer *out)
{
    struct rule_out r;

    rules_classify(rules, j->work, in, &r);
    if (r.index < 0)
        return false;
    struct rule_in less = *in;
    less.text = SLICE_NONE;
    /* Rules named loose are what the shipped ones say for want of better. */
    bool by_text = !rules_one_matches(rules, j->work, (size_t)r.index, &less) &&
                   !slice_starts(slice_cstr(r.rule), S("shipped:loose."));
    less.enhanced = NULL;
    bool by_status = !by_text && !rules_one_matches(rules, j->work, (size_t)r.index, &less);
    *out = (struct answer){r.cls, r.rule, by_text, by_status};
    return true;
}

/* Lines joined by blanks, at most RULE_TEXT_MAX bytes; owned by the judge until the next call. */
static struct slice joined(struct judge *j, struct slice one, struct slice two)
{
    buf_clear(&j->text);
    const struct slice texts[] = {one, two};
    for (size_t k = 0; k < COUNT(texts); k++) {
        if (j->text.n && texts[k].n)
            buf_addc(&j->text, ' ');
        for (size_t i = 0; i < texts[k].n; i++)
            buf_addc(&j->text, texts[k].p[i] == '\n' ? ' ' : texts[k].p[i]);
    }
    struct slice s = buf_slice(&j->text);
    s.n = utf8_fit(s, RULE_TEXT_MAX);
    return s;
}

/* A status that says what is meant, not only where: x.1.1, x.2.2, x.3.4, x.7.26, but neither x.7.1 nor x.5.0.
 */
static bool is_precise(const struct smtp_enhanced *e)
{
    return (e->subject == 3 && e->detail == 4) || (e->subject == 7 && e->detail >= 2) ||
           ((e->subject == 1 || e->subject == 2) && e->detail >= 1);
}

static bool is_weak(const struct answer *a)
{
    return slice_starts(slice_cstr(a->rule), S("mail:weak."));
}

static void decide(struct judge *j, const struct finding *f, const struct rule_in *in, bool said,
                   struct slice prose, struct slice common, struct slice subject, struct answer *out)
{
    struct answer reply = {.rule = "none"};
    struct rule_in with = *in;

    bool replied = ask(j, j->replies, in, &reply);
    if (replied && (reply.by_text || (reply.by_status && said && is_precise(in->enhanced)))) {
        *out = reply;
        return;
    }
    /* The reply, the whole text, the other lines about the recipient, what the reporter files it under. */
    const struct slice said_of[] = {in->text, f->text, prose};
    struct answer weak = {.rule = NULL};
    for (size_t i = 0; i < COUNT(said_of) && !weak.rule; i++) {
        with.text = i ? joined(j, said_of[i], SLICE_NONE) : in->text;
        if (!with.text.n)
            continue;
        if (i == 2 && ask(j, j->replies, &with, out) && out->by_text)
            return;
        if (ask(j, j->phrases, &with, out)) {
            if (!is_weak(out))
                return;
            weak = *out;
        }
    }
    with.text = joined(j, f->category.n ? S("bounce category") : SLICE_NONE, f->category);
    if (f->category.n && ask(j, j->phrases, &with, out))
        return;
    if (weak.rule || (replied && reply.by_status)) {
        *out = replied ? reply : weak;
        return;
    }
    with.text = joined(j, common, subject);
    with.code = 0; /* what is said to nobody in particular is no reply */
    with.enhanced = NULL;
    if (!ask(j, j->phrases, &with, out))
        *out = reply;
}

/* Mailboxes that end at a receiver's program say little by rule: what it printed is not a reply. */
static bool program_meant(enum reply_class c)
{
    return c == CLASS_MAILBOX_FULL || c == CLASS_SYSTEM_FULL || c == CLASS_TOO_LARGE || c == CLASS_VIRUS ||
           c == CLASS_SPAM;
}

/* The reply that begins at text[at], without the lines of the transcript that answer something else. */
static struct slice one_reply(struct slice text, size_t at)
{
    struct slice rest = slice_of(text.p + at, text.n - at), code = slice_of(rest.p, 3);
    const char *end = rest.p + rest.n;
    bool talk = slice_ends(slice_trim(slice_of(text.p, at)), S("<<<"));

    slice_cut(rest, '\n', &rest);
    while (rest.n) {
        const char *from = rest.p;
        struct slice line = slice_trim(slice_cut(rest, '\n', &rest));
        struct reply_clue clue;
        bool answer = slice_starts(line, S("<<<"));
        if (answer)
            line = slice_trim(slice_of(line.p + 3, line.n - 3));
        bool has_code = reply_find(slice_of(line.p, line.n < 4 ? line.n : 4), &clue) && clue.code;
        bool other = answer ? !slice_starts(line, code) : has_code && (talk || !slice_starts(line, code));
        if (other || slice_starts(line, S(">>>")) || slice_starts(line, S("-----")) ||
            slice_starts(line, S("... while"))) {
            end = from;
            break;
        }
    }
    return slice_of(text.p + at, (size_t)(end - text.p) - at);
}

static bool says_unknown_user(struct slice reply)
{
    return ifind(reply, "user unknown") >= 0 || ifind(reply, "unknown user") >= 0;
}

static bool from_data_on(int phase)
{
    return phase == SMTP_PHASE_DATA || phase == SMTP_PHASE_EOD;
}

void judge_recipient(struct judge *j, const struct finding *f, struct slice prose, struct slice common,
                     struct slice subject, struct arena *a, struct returned_recipient *out)
{
    struct reply_clue clue, more;
    struct answer answer = {.rule = "none"};
    struct slice text = f->text;

    bool found = reply_find(text, &clue);
    if (!(found && clue.code) && reply_find(prose, &more) && more.code) {
        if (!found || !clue.has_enhanced)
            clue = more;
        clue.code = more.code;
        if (!text.n)
            text = slice_of(prose.p + more.at, prose.n - more.at);
    }
    out->code = f->code ? f->code : clue.code;
    bool has_enhanced = f->has_enhanced;
    out->enhanced = f->enhanced;
    /* What the server said is nearer to the truth than what the reporter made of it, unless it is x.0.0. */
    if (clue.has_enhanced && (!has_enhanced || clue.enhanced.subject || clue.enhanced.detail)) {
        has_enhanced = true;
        out->enhanced = clue.enhanced;
    }
    out->status = has_enhanced ? slice_cstr(arena_printf(a, "%u.%u.%u", out->enhanced.cls,
                                                         out->enhanced.subject, out->enhanced.detail))
                               : SLICE_NONE;
    out->phase = f->phase;
    if (out->phase == RETURNED_PHASE_UNKNOWN)
        out->phase = phase_find(text);
    if (out->phase == RETURNED_PHASE_UNKNOWN)
        out->phase = phase_find(prose);

    /* From the code on, without the codes of further lines. A status alone stands behind the words. */
    struct reply_quote quote;
    struct buf clean = {0};
    bool cut = found && clue.code && clue.at < text.n;
    reply_quote_read(cut ? one_reply(text, clue.at) : text, &clean, &quote);
    struct slice reply = arena_copy(a, quote.text);
    buf_clear(&clean);
    smtp_text_clean(text.n ? text : prose, &clean);
    struct slice said = buf_slice(&clean);
    said.n = utf8_fit(said, RETURNED_TEXT_MAX);
    out->text = arena_copy(a, said);
    buf_free(&clean);

    struct returned_isp isp = isp_of(j, f->remote_mta, f->address);
    struct rule_in in = {.isp = isp.isp,
                         .provider = isp.provider,
                         .phase = out->phase,
                         .code = out->code,
                         .enhanced = has_enhanced ? &out->enhanced : NULL,
                         .text = reply};
    decide(j, f, &in, found && clue.has_enhanced, prose, common, subject, &answer);
    if (f->by_program && !(answer.by_text && program_meant(answer.cls)))
        answer = (struct answer){.cls = CLASS_MAILER, .rule = "mail:by-program"};
    /* What a server has against MAIL is about the sender. */
    if (out->phase == SMTP_PHASE_MAIL && class_group_of(answer.cls) == GROUP_INVALID_RECIPIENT)
        answer = (struct answer){.cls = CLASS_SENDER_REJECTED, .rule = "mail:unknown-sender"};
    /* Who was taken at RCPT exists: an unknown user after DATA is the person's own filter. */
    if (answer.cls == CLASS_NO_SUCH_USER && from_data_on(out->phase) &&
        !(has_enhanced && out->enhanced.subject == 1) && ifind(reply, "recipients") < 0)
        answer = (struct answer){.cls = CLASS_FILTERED, .rule = "mail:unknown-after-data"};
    /* docomo says so after the last dot when the person lets in only certain domains, and not the sender's.
     */
    if (answer.cls == CLASS_FILTERED && out->phase == SMTP_PHASE_EOD && slice_eq(in.isp, S("docomo")) &&
        !(has_enhanced && out->enhanced.subject == 2) && says_unknown_user(reply))
        answer = (struct answer){.cls = CLASS_SENDER_REJECTED, .rule = "mail:docomo-after-data"};
    /* Nor does a reply tell that the person is gone when neither its status nor its command says so: it may
     * be the same filter, and hard is not taken back. */
    if (answer.cls == CLASS_NO_SUCH_USER && out->phase == RETURNED_PHASE_UNKNOWN && out->code / 100 == 5 &&
        !(has_enhanced && (out->enhanced.subject == 1 || out->enhanced.subject == 4)) &&
        says_unknown_user(reply))
        answer = (struct answer){.cls = CLASS_FILTERED, .rule = "mail:unknown-somewhere"};
    /* RFC 3463 3.3: x.2.0 is about a mailbox that is there. */
    if (answer.cls == CLASS_UNKNOWN && has_enhanced && out->enhanced.subject == 2 &&
        out->enhanced.detail == 0)
        answer = (struct answer){.cls = CLASS_FILTERED, .rule = "mail:mailbox-status"};
    /* A domain that does not exist is final; while there is another try its name is only not found. */
    if (answer.cls == CLASS_NO_SUCH_DOMAIN && (f->action == ACTION_DELAYED || out->code / 100 == 4))
        answer = (struct answer){.cls = CLASS_NETWORK, .rule = "mail:domain-not-found-yet"};
    out->cls = answer.cls;
    out->rule = answer.rule;
    int code = out->code;
    if (!code && has_enhanced && out->cls == CLASS_NOT_ACCEPTING)
        code = out->enhanced.cls * 100;
    out->kind = class_kind_of(out->cls, code);
}

enum reply_class judge_subject(struct judge *j, struct slice subject)
{
    struct rule_in in = {.isp = SLICE_NONE, .phase = RULE_PHASE_UNKNOWN, .text = subject};
    struct rule_out out;

    rules_classify(j->subjects, j->work, &in, &out);
    return out.cls;
}

bool judge_has_phrase(struct judge *j, struct slice text)
{
    struct rule_in in = {.isp = SLICE_NONE, .phase = RULE_PHASE_UNKNOWN, .text = joined(j, text, SLICE_NONE)};
    struct rule_out out;

    rules_classify(j->phrases, j->work, &in, &out);
    return out.index >= 0;
}
