/* returned.c - see returned.h: puts together what the readers of structure and of prose found.
 *
 * A mail is asked as feedback, as delivery status, as notification, as prose, as automatic reply, in this
 * order. Prose is read beside a delivery status too: it has the command that was answered, and often more of
 * the answer. What the mail carries inside is asked the same way if the mail itself says nothing. */
#include "format/returned.h"
#include "format/returned/decode.h"
#include "format/returned/finding.h"
#include "format/returned/judge.h"
#include "format/returned/parts.h"

#include <stdlib.h>

struct returned_reader {
    struct judge *judge;
    struct mail_parts parts;
    struct findings found, prose;
};

const char *returned_format_name(enum returned_format f)
{
    static const char *const names[] = {"none", "text", "auto_reply", "arf", "dsn"};
    return (unsigned)f < COUNT(names) ? names[f] : "?";
}

const char *returned_action_name(enum returned_action a)
{
    static const char *const names[] = {"", "failed", "delayed", "delivered", "relayed", "expanded"};
    return (unsigned)a < COUNT(names) ? names[a] : "?";
}

int returned_reader_new(const struct rules *rules, struct returned_reader **out, struct err *e)
{
    struct judge *judge;
    int rc = judge_new(rules, &judge, e);

    if (rc)
        return rc;
    parts_start();
    *out = mem_zalloc(sizeof **out);
    (*out)->judge = judge;
    return 0;
}

void returned_reader_isps(struct returned_reader *r, returned_isp_fn *fn, void *data)
{
    judge_isps(r->judge, fn, data);
}

void returned_reader_free(struct returned_reader *r)
{
    if (!r)
        return;
    judge_free(r->judge);
    free(r);
}

void returned_free(struct returned *r)
{
    arena_free(&r->arena);
    *r = (struct returned){0};
}

/* --- what is read of one mail --- */

struct reading {
    struct returned_reader *r;
    struct returned *out;
    struct arena *a;
    size_t mail; /* whose parts */
    const struct fields *head;
    struct fields copy;  /* header of the original, if the mail carries it */
    struct slice notice; /* prose before the copy */
    struct slice status; /* fields of a delivery status that stand in the prose; not in the notice */
    struct slice failed; /* X-Failed-Recipients and the like */
    bool weak;           /* a report by its sender and subject alone */
    bool sure;           /* prose has an address where reports put it */
};

static void add_addresses(struct findings *f, struct slice list)
{
    struct slice address;
    size_t at = 0;

    while (address_next(list, &at, &address))
        findings_add(f, address);
}

static void read_envelope(const struct fields *head, struct returned *out)
{
    static const char *const names[] = {"Delivered-To", "X-Original-To", "Envelope-To", "To"};

    for (size_t n = 0; n < COUNT(names); n++)
        for (size_t i = 0; i < head->n; i++) {
            struct slice address;
            size_t at = 0;
            if (!slice_ieq(head->v[i].name, slice_cstr(names[n])))
                continue;
            while (address_next(head->v[i].value, &at, &address) && out->nto < RETURNED_TO_MAX) {
                bool known = false;
                for (size_t k = 0; k < out->nto; k++)
                    known |= address_same(out->to[k], address);
                if (!known)
                    out->to[out->nto++] = address;
            }
        }
    out->from = fields_get(head, "From");
    out->subject = fields_get(head, "Subject");
}

static void read_original(const struct fields *copy, struct returned *out)
{
    struct returned_original *o = &out->original;
    const struct {
        const char *name;
        struct slice *to;
    } wanted[] = {{"Return-Path", &o->return_path},
                  {"From", &o->from},
                  {"To", &o->to},
                  {"Message-ID", &o->message_id},
                  {"Subject", &o->subject},
                  {"List-Id", &o->list_id},
                  {"List-Unsubscribe", &o->list_unsubscribe}};

    for (size_t i = 0; i < COUNT(wanted); i++)
        if (!wanted[i].to->n)
            *wanted[i].to = fields_get(copy, wanted[i].name);
}

/* The header that begins text, perhaps behind its announcement and blank lines. */
static void find_header(struct slice text, struct arena *a, struct fields *out)
{
    for (int tries = 0; text.n && tries < 20; tries++) {
        size_t used = fields_read(text, a, out);
        if (out->n >= 3)
            return;
        if (used)
            text = slice_of(text.p + used, text.n - used);
        else
            slice_cut(text, '\n', &text);
    }
    *out = (struct fields){0};
}

/* The mail's own text, each part up to the copy of the original; HTML where there is no plain text. */
static void read_notice(struct reading *x)
{
    const struct mail_parts *m = &x->r->parts;
    struct buf b = {0};

    for (int html = 0; html <= 1 && slice_trim(buf_slice(&b)).n == 0; html++)
        for (size_t i = 0; i < m->nparts; i++) {
            const struct part *p = &m->parts[i];
            if (p->mail != x->mail || p->kind != (html ? PART_HTML : PART_TEXT))
                continue;
            size_t end = prose_end(p->text);
            buf_add(&b, p->text.p, end);
            buf_addc(&b, '\n');
            if (!x->copy.n && end < p->text.n)
                find_header(slice_of(p->text.p + end, p->text.n - end), x->a, &x->copy);
        }
    x->notice = arena_copy(x->a, buf_slice(&b));
    buf_free(&b);
    ptrdiff_t at = status_find(x->notice);
    x->status = SLICE_NONE;
    if (at >= 0) {
        x->status = slice_of(x->notice.p + at, x->notice.n - (size_t)at);
        x->notice.n = (size_t)at;
    }
}

static void read_copy(struct reading *x)
{
    const struct mail_parts *m = &x->r->parts;

    for (size_t i = 1; i < m->nmails && !x->copy.n; i++)
        if (m->mails[i].parent == x->mail)
            x->copy = m->mails[i].head;
    for (size_t i = 0; i < m->nparts && !x->copy.n; i++)
        if (m->parts[i].mail == x->mail && m->parts[i].kind == PART_HEADERS)
            find_header(m->parts[i].text, x->a, &x->copy);
}

/* --- who sent it --- */

static bool from_daemon(const struct fields *head)
{
    static const char *const words[] = {
        "mailer-daemon",      "postmaster",     "post_master",  "mail delivery",
        "mail administrator", "mailerdaemon",   "mdaemon",      "system administrator",
        "delivery subsystem", "mail system",    "maildelivery", "mail-daemon",
        "mailsystem",         "smtpgateway",    "bounce",       "delivery system",
        "poostmaster",        "undeliver",      "maildaemon",   "mail-admin",
        "mailadmin",          "email delivery", "ndr@",         "mail server",
        "mailer daemon",      "mail robot"};
    struct slice from = fields_get(head, "From"), path = fields_get(head, "Return-Path");

    for (size_t i = 0; i < COUNT(words); i++)
        if (ifind(from, words[i]) >= 0)
            return true;
    return ifind(path, "mailer-daemon") >= 0;
}

/* RFC 3834 2 and 5, and what was usual before. */
static bool says_automatic(const struct fields *head)
{
    static const char *const names[] = {"X-Autoreply",      "X-Autorespond",         "X-Autoresponder",
                                        "X-Auto-Reply",     "X-AutoReply-From",      "X-Auto-Reply-From",
                                        "X-Mail-Autoreply", "X-Autoreply-From",      "X-Autogenerated-Reply",
                                        "X-Cron-Reply",     "X-FC-MachineGenerated", "X-POST-MessageClass",
                                        "X-Vacation"};
    struct slice automatic = fields_get(head, "Auto-Submitted"), precedence = fields_get(head, "Precedence");

    if (slice_istarts(automatic, S("auto-replied")) || slice_istarts(automatic, S("auto_replied")) ||
        ifind(automatic, "vacation") >= 0)
        return true;
    if (ifind(precedence, "auto") >= 0 || ifind(fields_get(head, "X-Precedence"), "auto") >= 0)
        return true;
    for (size_t i = 0; i < COUNT(names); i++)
        if (fields_get(head, names[i]).n)
            return true;
    return false;
}

/* --- readers, in the order of trust; each says whether the mail is of its kind --- */

static bool as_feedback(struct reading *x)
{
    const struct mail_parts *m = &x->r->parts;
    struct findings *f = &x->r->found;
    bool any = false;

    for (size_t i = 0; i < m->nparts; i++)
        if (m->parts[i].mail == x->mail && m->parts[i].kind == PART_FEEDBACK) {
            feedback_read(m->parts[i].text, x->a, f, x->out);
            any = true;
        }
    /* The fields without a part of their own. */
    for (struct slice rest = x->notice; !any && rest.n;) {
        struct slice from = rest, line = slice_cut(rest, '\n', &rest);
        if (slice_istarts(line, S("Feedback-Type:"))) {
            feedback_read(from, x->a, f, x->out);
            any = true;
        }
    }
    /* What follows is no structure of feedback, so one of delivery status goes before it. */
    for (size_t i = 0; i < m->nparts; i++)
        if (!any && m->parts[i].mail == x->mail && m->parts[i].kind == PART_STATUS)
            return false;
    /* A subject alone, over the mail that somebody complained about. */
    if (!any && x->copy.n && !from_daemon(x->head) &&
        judge_subject(x->r->judge, x->out->subject) == CLASS_FEEDBACK) {
        x->out->feedback_type = S("abuse");
        any = true;
    }
    /* Microsoft's programme sends the mail with a field of its own, and nothing else that is machine-read. */
    struct slice junk = fields_get(&x->copy, "X-HmXmrOriginalRecipient");
    if (!any && junk.n) {
        add_addresses(f, junk);
        any = true;
        x->out->feedback_type = S("abuse");
    }
    if (!any)
        return false;
    if (f->n == 0)
        add_addresses(f, fields_get(&x->copy, "X-HmXmrOriginalRecipient"));
    if (f->n == 0)
        add_addresses(f, fields_get(&x->copy, "To"));
    x->out->format = RETURNED_ARF;
    return true;
}

static bool as_status(struct reading *x)
{
    const struct mail_parts *m = &x->r->parts;
    struct findings *f = &x->r->found;
    bool any = false;

    for (size_t i = 0; i < m->nparts; i++)
        if (m->parts[i].mail == x->mail && m->parts[i].kind == PART_STATUS)
            any |= status_read(m->parts[i].text, x->a, f, x->out);
    if (!any && x->status.n)
        any = status_read(x->status, x->a, f, x->out);
    if (any)
        x->out->format = RETURNED_DSN;
    return any;
}

static bool as_notification(struct reading *x)
{
    if (!notification_read(x->notice, x->a, &x->r->found, x->out))
        return false;
    x->out->format = x->out->feedback_type.n ? RETURNED_ARF : RETURNED_TEXT;
    return true;
}

static bool as_prose(struct reading *x)
{
    struct findings *f = &x->r->found;
    struct judge *j = x->r->judge;
    enum reply_class subject = judge_subject(j, x->out->subject);
    bool daemon = from_daemon(x->head);

    if (subject == CLASS_AUTO_REPLY && !daemon && !x->failed.n)
        return false;
    *f = x->r->prose;
    bool spoken = false, answered = false; /* a phrase; a server's reply */
    for (size_t i = 0; i < f->n; i++) {
        struct reply_clue clue;
        answered |= reply_find(f->v[i].text, &clue) && clue.code;
        spoken |= answered || judge_has_phrase(j, f->v[i].text);
    }
    if (!spoken)
        spoken = judge_has_phrase(j, f->common);
    /* A person may write about a bounce, too: what comes from a return path (RFC 5321 4.5.5: a report has
     * none) is one only with all that belongs to it. */
    bool answer = slice_istarts(x->out->subject, S("re:")) || slice_istarts(x->out->subject, S("fw"));
    bool no_path = slice_eq(fields_get(x->head, "Return-Path"), S("<>"));
    bool reported = subject == CLASS_MAILER || subject == CLASS_EXPIRED;
    bool talk = slice_find(x->notice, S("<<< 5")) >= 0 || slice_find(x->notice, S("<<< 4")) >= 0;
    if (!(x->failed.n || (talk && !answer) ||
          (reported && (daemon || no_path || (spoken && (x->sure || x->copy.n) && !answer))) ||
          (daemon && (spoken || x->sure)) || (no_path && answered && x->sure && !answer)))
        return false;
    x->weak = f->n == 0 && !spoken;
    x->out->format = RETURNED_TEXT;
    return true;
}

static bool as_automatic(struct reading *x)
{
    const struct mail_parts *m = &x->r->parts;
    bool receipt = false;

    for (size_t i = 0; i < m->nparts; i++)
        receipt |= m->parts[i].mail == x->mail && m->parts[i].kind == PART_RECEIPT;
    if (!receipt && !says_automatic(x->head) &&
        judge_subject(x->r->judge, x->out->subject) != CLASS_AUTO_REPLY)
        return false;
    x->r->found.n = 0;
    add_addresses(&x->r->found, x->out->from);
    if (x->r->found.n == 0)
        add_addresses(&x->r->found, fields_get(x->head, "Return-Path"));
    x->out->format = RETURNED_AUTO_REPLY;
    return true;
}

/* --- all of it --- */

static bool read_mail(struct returned_reader *r, size_t mail, struct returned *out, struct reading *x)
{
    *x = (struct reading){
        .r = r, .out = out, .a = &out->arena, .mail = mail, .head = &r->parts.mails[mail].head};
    r->found.n = r->prose.n = 0;
    x->failed = fields_get(x->head, "X-Failed-Recipients");
    read_notice(x);
    read_copy(x);
    prose_read(x->notice, out->to, out->nto, x->failed, x->a, &r->prose, &x->sure);
    return as_feedback(x) || as_status(x) || as_notification(x) || as_prose(x) || as_automatic(x);
}

/* Recipients that the fields do not name as addresses: the prose names them, or the copy. */
static void name_the_nameless(struct reading *x)
{
    struct findings *f = &x->r->found, *prose = &x->r->prose;
    size_t used = 0;

    /* "Write to cats-ctl@example.jp": whom the original went to is nearer than any address of a sentence. */
    if (x->out->format == RETURNED_TEXT && f->guessed && fields_get(&x->copy, "To").n) {
        struct finding said = f->v[0];
        f->n = 0;
        add_addresses(f, fields_get(&x->copy, "To"));
        for (size_t i = 0; i < f->n; i++) {
            struct slice address = f->v[i].address;
            const struct finding *own = findings_of(prose, address);
            f->v[i] = own ? *own : said;
            f->v[i].address = address;
        }
    }
    if (f->n == 0) {
        if (x->sure && x->out->format == RETURNED_DSN)
            *f = *prose;
        if (f->n == 0)
            add_addresses(f, fields_get(&x->copy, "To"));
        if (f->n == 0) {
            f->v[0] = finding_of_nobody();
            f->n = 1;
        }
        /* Somebody without an address: what was said to nobody is about him. */
        if (f->n == 1 && !f->v[0].text.n && x->out->format == RETURNED_TEXT)
            f->v[0].text = prose->common;
    }
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].address.n)
            continue;
        while (used < prose->n && findings_of(f, prose->v[used].address))
            used++;
        if (used < prose->n)
            f->v[i].address = prose->v[used++].address;
        else if (f->n == 1) {
            struct slice address;
            size_t at = 0;
            if (address_next(fields_get(&x->copy, "To"), &at, &address))
                f->v[i].address = address;
        }
    }
}

static bool is_delayed(struct reading *x)
{
    static const char *const words[] = {"warning message only",
                                        "do not need to resend",
                                        "will be retried",
                                        "will keep trying",
                                        "has been delayed",
                                        "is delayed",
                                        "still trying",
                                        "will continue to try",
                                        "not yet been delivered",
                                        "temporary failure report",
                                        "could not be delivered yet",
                                        "no action is required",
                                        "keep trying"};

    if (judge_subject(x->r->judge, x->out->subject) == CLASS_EXPIRED)
        return true;
    for (size_t i = 0; i < COUNT(words); i++)
        if (ifind(x->notice, words[i]) >= 0)
            return true;
    return false;
}

static void conclude(struct reading *x)
{
    struct returned *out = x->out;
    struct findings *f = &x->r->found, *prose = &x->r->prose;
    bool delayed = out->format == RETURNED_TEXT && is_delayed(x);

    name_the_nameless(x);
    out->nrecipients = f->n;
    out->recipients = arena_zalloc(x->a, (f->n + 1) * sizeof *out->recipients);
    for (size_t i = 0; i < f->n; i++) {
        struct returned_recipient *to = &out->recipients[i];
        const struct finding *v = &f->v[i];
        *to = (struct returned_recipient){.address = arena_copy(x->a, v->address),
                                          .original = arena_copy(x->a, v->original),
                                          .action = v->action,
                                          .status = SLICE_NONE,
                                          .phase = v->phase,
                                          .text = SLICE_NONE,
                                          .remote_mta = arena_copy(x->a, v->remote_mta),
                                          .rule = "none"};
        if (out->format == RETURNED_ARF || out->format == RETURNED_AUTO_REPLY) {
            to->cls = out->format == RETURNED_ARF ? CLASS_FEEDBACK : CLASS_AUTO_REPLY;
            to->rule = out->format == RETURNED_ARF ? "mail:feedback" : "mail:automatic";
            continue;
        }
        struct finding *said = findings_of(prose, v->address);
        struct slice own = said && f->v != prose->v ? said->text : SLICE_NONE;
        struct finding with = *v;
        if (with.action == ACTION_NONE && delayed)
            with.action = ACTION_DELAYED;
        if (said && with.phase == RETURNED_PHASE_UNKNOWN)
            with.phase = said->phase;
        if (said && !with.remote_mta.n)
            to->remote_mta = with.remote_mta = said->remote_mta;
        if (own.p == v->text.p)
            own = SLICE_NONE;
        judge_recipient(x->r->judge, &with, own, prose->common, out->subject, x->a, to);
        if (to->action == ACTION_NONE)
            to->action = delayed ? ACTION_DELAYED : to->enhanced.cls == 2 ? ACTION_DELIVERED : ACTION_FAILED;
        if (to->action >= ACTION_DELIVERED) {
            to->cls = CLASS_DELIVERED;
            to->rule = "mail:action";
        }
        if (to->action != ACTION_FAILED)
            to->kind = KIND_NONE;
        if (to->action == ACTION_DELAYED && to->cls == CLASS_UNKNOWN)
            to->cls = CLASS_EXPIRED;
    }
}

int returned_read(struct returned_reader *r, struct slice bytes, struct returned *out, struct err *e)
{
    struct reading x;

    if (bytes.n > RETURNED_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "a mail of %zu bytes; at most %d are read", bytes.n, RETURNED_BYTES_MAX);
    struct arena arena = out->arena;
    arena_reset(&arena);
    *out = (struct returned){
        .arena = arena,
        .from = SLICE_NONE,
        .subject = SLICE_NONE,
        .envelope_id = SLICE_NONE,
        .reporting_mta = SLICE_NONE,
        .feedback_type = SLICE_NONE,
        .original = {SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE, SLICE_NONE}};
    if (bytes.n > RETURNED_LOOK_MAX)
        bytes.n = RETURNED_LOOK_MAX;
    parts_read(bytes, &out->arena, &r->parts);
    read_envelope(&r->parts.mails[0].head, out);

    bool known = read_mail(r, 0, out, &x);
    if ((!known || x.weak) && from_daemon(&r->parts.mails[0].head)) {
        bool inner = false;
        for (size_t i = 1; i < r->parts.nmails && !inner; i++)
            if (r->parts.mails[i].parent == 0)
                inner = read_mail(r, i, out, &x) && !x.weak && out->format != RETURNED_AUTO_REPLY;
        known = inner || (known && read_mail(r, 0, out, &x));
    }
    if (known)
        conclude(&x);
    else
        out->format = RETURNED_NONE;
    read_original(&x.copy, out);
    return 0;
}
