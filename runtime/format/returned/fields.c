/* fields.c - see finding.h: delivery status (RFC 3464), feedback reports (RFC 5965), notifications in JSON.
 *
 * A delivery status is groups of fields with blank lines between them. Damaged ones lack the blank lines,
 * have some inside a group, or put Action first. So a group ends where a blank line is followed by a field
 * that the group already has, or where a second recipient begins, and nowhere else. */
#include "format/returned/finding.h"

#include <jansson.h>

/* --- delivery status --- */

enum {
    SEEN_FINAL = 1,
    SEEN_ORIGINAL = 2,
    SEEN_ACTION = 4,
    SEEN_STATUS = 8,
    SEEN_DIAGNOSTIC = 16,
    SEEN_REMOTE = 32
};

struct group {
    struct finding f;
    bool pipe;           /* the final recipient is a program or a file */
    struct slice actual; /* X-Actual-Recipient: what an alias came to */
    unsigned seen;
};

static enum returned_action action_read(struct slice s)
{
    for (int i = ACTION_FAILED; i <= ACTION_EXPANDED; i++) {
        struct slice name = slice_cstr(returned_action_name((enum returned_action)i));
        if (slice_istarts(s, name))
            return (enum returned_action)i;
    }
    if (slice_istarts(s, S("failure")) || slice_istarts(s, S("undeliver")))
        return ACTION_FAILED;
    return ACTION_NONE;
}

/* "dns; mx.example.jp (192.0.2.1)" */
static struct slice mta_name(struct slice value)
{
    struct slice rest, first = slice_cut(value, ';', &rest);

    value = slice_trim(rest.n ? rest : first);
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] == ' ' || value.p[i] == '(' || value.p[i] == ',')
            value.n = i;
    return value;
}

/* "smtp; 550 5.1.1 ..."; the type is a word, and may be missing. */
static void diagnostic_read(struct group *g, struct slice value)
{
    struct slice rest, type = slice_trim(slice_cut(value, ';', &rest));

    if (rest.n && type.n < 32 && !memchr(type.p, ' ', type.n)) {
        g->f.by_program = slice_istarts(type, S("x-unix"));
        value = slice_trim(rest);
    }
    if (value.n > RETURNED_TEXT_MAX)
        value.n = RETURNED_TEXT_MAX;
    g->f.text = value;
}

/* "5.1.1 (no such user)": the comment is all that some reports say. */
static void status_value(struct slice value, struct finding *f)
{
    struct reply_clue clue;
    const char *comment = memchr(value.p, '(', value.n);

    if (comment && !f->text.n)
        f->text = slice_of(comment + 1, value.n - (size_t)(comment - value.p) - 1);

    if (reply_find(value, &clue) && clue.has_enhanced) {
        f->has_enhanced = true;
        f->enhanced = clue.enhanced;
        return;
    }
    size_t used; /* 2.x.y is no failure, but a status */
    f->has_enhanced = smtp_enhanced_read(value, &f->enhanced, &used) == 0;
}

static bool is_pipe(struct slice value)
{
    struct slice rest, type = slice_cut(value, ';', &rest);

    value = slice_trim(rest.n ? rest : type);
    if (value.n && value.p[0] == '/') /* a file; but X.400 writes /C=jp/S=yamada */
        return !memchr(value.p, '=', value.n);
    return value.n && (value.p[0] == '|' || slice_starts(value, S("\"|")));
}

static void group_end(struct group *g, struct findings *out)
{
    struct finding *f = &g->f;

    if (g->seen & (SEEN_FINAL | SEEN_ORIGINAL) ||
        (g->seen & SEEN_ACTION && g->seen & (SEEN_STATUS | SEEN_DIAGNOSTIC))) {
        f->by_program |= g->pipe;
        if (!f->address.n)
            f->address = g->actual.n ? g->actual : f->original;
        if (out->n < RETURNED_RECIPIENTS_MAX)
            out->v[out->n++] = *f;
    }
    *g = (struct group){.f = finding_of_nobody(), .actual = SLICE_NONE};
}

struct status {
    struct arena *a;
    struct findings *out;
    struct returned *report;
    struct group g;
    bool blank; /* since the last field */
    bool any;
};

/* One whole field. Returns false for a name that is none of a delivery status. */
static void status_field(struct status *s, struct slice name, struct slice value)
{
    static const struct {
        const char *name;
        unsigned bit;
    } known[] = {
        {"Final-Recipient", SEEN_FINAL}, {"Original-Recipient", SEEN_ORIGINAL}, {"Action", SEEN_ACTION},
        {"Status", SEEN_STATUS},         {"Diagnostic-Code", SEEN_DIAGNOSTIC},  {"Remote-MTA", SEEN_REMOTE}};
    unsigned bit = 0;

    for (size_t i = 0; i < COUNT(known); i++)
        if (slice_ieq(name, slice_cstr(known[i].name)))
            bit = known[i].bit;
    bool starts = bit & (SEEN_FINAL | SEEN_ORIGINAL | SEEN_ACTION);
    if (bit & s->g.seen && (s->blank || (starts && bit != SEEN_ACTION)))
        group_end(&s->g, s->out);
    s->g.seen |= bit;
    s->any |= bit != 0;
    if (bit)
        s->blank = false;

    struct finding *f = &s->g.f;
    switch (bit) {
    case SEEN_FINAL:
        f->address = address_of_field(value, s->a);
        s->g.pipe |= is_pipe(value);
        break;
    case SEEN_ORIGINAL:
        f->original = address_of_field(value, s->a);
        break;
    case SEEN_ACTION:
        f->action = action_read(value);
        break;
    case SEEN_STATUS:
        status_value(value, f);
        break;
    case SEEN_DIAGNOSTIC:
        diagnostic_read(&s->g, value);
        break;
    case SEEN_REMOTE:
        f->remote_mta = mta_name(value);
        break;
    default:
        if (slice_ieq(name, S("X-Actual-Recipient"))) {
            s->g.actual = address_of_field(value, s->a);
            s->g.pipe |= is_pipe(value);
        } else if (slice_ieq(name, S("X-PowerMTA-BounceCategory"))) {
            f->category = value;
        } else if (slice_ieq(name, S("Original-Envelope-Id")) && !s->report->envelope_id.n)
            s->report->envelope_id = value;
        else if (slice_ieq(name, S("Reporting-MTA")) && !s->report->reporting_mta.n)
            s->report->reporting_mta = mta_name(value);
        else
            return;
        s->any = true;
        s->blank = false;
    }
}

static bool line_is_field(struct slice line, struct slice *name, struct slice *value)
{
    size_t n = 0;

    while (n < line.n && n < 60 &&
           (line.p[n] == '-' || (ascii_lower(line.p[n]) >= 'a' && ascii_lower(line.p[n]) <= 'z') ||
            (line.p[n] >= '0' && line.p[n] <= '9')))
        n++;
    size_t colon = n;
    while (colon < line.n && line.p[colon] == ' ')
        colon++;
    if (n < 3 || colon == line.n || line.p[colon] != ':')
        return false;
    *name = slice_of(line.p, n);
    *value = slice_of(line.p + colon + 1, line.n - colon - 1);
    return true;
}

bool status_read(struct slice text, struct arena *a, struct findings *f, struct returned *out)
{
    struct status s = {.a = a, .out = f, .report = out};
    struct slice name = SLICE_NONE;
    struct buf value = {0};

    group_end(&s.g, f);
    while (text.n) {
        struct slice n, v, line = slice_cut(text, '\n', &text);
        bool folded = line.n && (line.p[0] == ' ' || line.p[0] == '\t');
        if (!folded && line_is_field(line, &n, &v)) {
            if (name.n)
                status_field(&s, name, arena_copy(a, buf_slice(&value)));
            name = n;
            buf_clear(&value);
            buf_adds(&value, slice_trim(v));
        } else if (slice_trim(line).n == 0) {
            if (name.n)
                status_field(&s, name, arena_copy(a, buf_slice(&value)));
            name = SLICE_NONE;
            s.blank = true;
        } else if (name.n && value.n < RETURNED_TEXT_MAX) { /* a fold, or one that lost its blank */
            buf_addc(&value, ' ');
            buf_adds(&value, slice_trim(line));
        }
    }
    if (name.n)
        status_field(&s, name, arena_copy(a, buf_slice(&value)));
    group_end(&s.g, f);
    buf_free(&value);
    return s.any;
}

ptrdiff_t status_find(struct slice text)
{
    struct slice rest = text;
    ptrdiff_t found = -1;
    bool status = false;

    while (rest.n) {
        const char *at = rest.p;
        struct slice name, value, line = slice_cut(rest, '\n', &rest);
        if (!line_is_field(line, &name, &value))
            continue;
        if (slice_ieq(name, S("Final-Recipient")) || slice_ieq(name, S("Original-Recipient")) ||
            slice_ieq(name, S("Reporting-MTA"))) {
            if (found < 0)
                found = at - text.p;
        } else if (slice_ieq(name, S("Action")) || slice_ieq(name, S("Status"))) {
            status |= found >= 0;
        }
    }
    return status ? found : -1;
}

/* --- feedback --- */

static void feedback_recipient(struct slice value, struct arena *a, struct findings *f)
{
    struct slice address = address_of_field(value, a);

    if (address.n)
        findings_add(f, address);
}

void feedback_read(struct slice text, struct arena *a, struct findings *f, struct returned *out)
{
    /* Original-Rcpt-To is RFC 5965's; the others came before it. */
    static const char *const names[] = {"Original-Rcpt-To", "Removal-Recipient", "Original-Recipient",
                                        "X-Recipient"};
    struct fields fields;

    while (text.n && (text.p[0] == '\n' || text.p[0] == ' '))
        text = slice_of(text.p + 1, text.n - 1);
    fields_read(text, a, &fields);
    out->feedback_type = fields_get(&fields, "Feedback-Type");
    if (!out->envelope_id.n)
        out->envelope_id = fields_get(&fields, "Original-Envelope-Id");
    out->reporting_mta = mta_name(fields_get(&fields, "Reporting-MTA"));
    if (!out->original.return_path.n) /* RFC 5965 3.2 */
        out->original.return_path = fields_get(&fields, "Original-Mail-From");
    for (size_t n = 0; n < COUNT(names) && f->n == 0; n++)
        for (size_t i = 0; i < fields.n; i++)
            if (slice_ieq(fields.v[i].name, slice_cstr(names[n])))
                feedback_recipient(fields.v[i].value, a, f);
}

/* --- notifications --- */

static struct slice json_text(const json_t *object, const char *name, struct arena *a)
{
    const char *s = json_string_value(json_object_get(object, name));
    return s ? arena_copy(a, slice_cstr(s)) : SLICE_NONE;
}

static void notified(const json_t *entry, const char *address_name, enum returned_action action,
                     struct arena *a, struct findings *f)
{
    if (f->n == RETURNED_RECIPIENTS_MAX)
        return;
    struct finding v = finding_of_nobody();
    v.action = action;
    struct slice address = json_is_string(entry) ? arena_copy(a, slice_cstr(json_string_value(entry)))
                                                 : json_text(entry, address_name, a);
    v.address = address_of_field(address, a);
    v.text = json_text(entry, "diagnosticCode", a);
    struct slice rest, type = slice_cut(v.text, ';', &rest);
    if (slice_ieq(type, S("smtp")))
        v.text = slice_trim(rest);
    struct slice said = json_text(entry, "action", a);
    if (said.n)
        v.action = action_read(said);
    status_value(json_text(entry, "status", a), &v);
    if (v.address.n)
        f->v[f->n++] = v;
}

/* The object that Amazon SES mails through SNS: notificationType (or eventType), and under its name in lower
 * case the recipients. */
static bool notification_object(const json_t *root, struct arena *a, struct findings *f, struct returned *out)
{
    static const struct {
        const char *type, *part, *list;
        enum returned_action action;
    } types[] = {{"Bounce", "bounce", "bouncedRecipients", ACTION_FAILED},
                 {"Complaint", "complaint", "complainedRecipients", ACTION_NONE},
                 {"Delivery", "delivery", "recipients", ACTION_DELIVERED},
                 {"DeliveryDelay", "deliveryDelay", "delayedRecipients", ACTION_DELAYED}};
    struct slice type = json_text(root, "notificationType", a);

    if (!type.n)
        type = json_text(root, "eventType", a);
    for (size_t i = 0; i < COUNT(types); i++) {
        if (!slice_eq(type, slice_cstr(types[i].type)))
            continue;
        const json_t *part = json_object_get(root, types[i].part), *entry;
        size_t at;
        json_array_foreach(json_object_get(part, types[i].list), at, entry)
            notified(entry, "emailAddress", types[i].action, a, f);
        struct slice response = json_text(part, "smtpResponse", a);
        for (size_t k = 0; k < f->n && response.n; k++)
            f->v[k].text = response;
        /* Where the receiver said nothing the service has its own words: "MailboxFull", "Suppressed". */
        struct slice sub = json_text(part, "bounceSubType", a);
        for (size_t k = 0; k < f->n && sub.n; k++)
            if (!f->v[k].text.n)
                f->v[k].text = slice_cstr(arena_printf(a, "bounceSubType %.*s", SLICE_FMT(sub)));
        if (i == 1) {
            out->feedback_type = json_text(part, "complaintFeedbackType", a);
            if (!out->feedback_type.n)
                out->feedback_type = S("abuse");
        }
        const json_t *mail = json_object_get(root, "mail"), *common = json_object_get(mail, "commonHeaders");
        out->original.return_path = json_text(mail, "source", a);
        out->original.message_id = json_text(common, "messageId", a);
        out->original.subject = json_text(common, "subject", a);
        return true;
    }
    return false;
}

bool notification_read(struct slice text, struct arena *a, struct findings *f, struct returned *out)
{
    struct buf json = {0};
    bool found = false;

    text = slice_trim(text);
    if (!text.n || text.p[0] != '{' ||
        (slice_find(text, S("notificationType")) < 0 && slice_find(text, S("eventType")) < 0))
        return false;
    /* Long lines were folded on the way, with a blank at the front of the rest, inside words and strings. */
    while (text.n) {
        struct slice line = slice_cut(text, '\n', &text);
        if (json.n && line.n && line.p[0] == ' ')
            line = slice_of(line.p + 1, line.n - 1);
        if (line.n && line.p[line.n - 1] == '!')
            line.n--;
        buf_adds(&json, line);
    }
    json_t *root = json_loadb(json.p, json.n, JSON_DISABLE_EOF_CHECK, NULL);
    const char *message = json_string_value(json_object_get(root, "Message"));
    if (message) {
        json_t *inner = json_loads(message, 0, NULL);
        found = notification_object(inner, a, f, out);
        json_decref(inner);
    } else if (root) {
        found = notification_object(root, a, f, out);
    }
    json_decref(root);
    buf_free(&json);
    return found;
}
