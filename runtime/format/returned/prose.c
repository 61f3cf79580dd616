/* prose.c - see finding.h: reports that people are meant to read.
 *
 * Whatever program wrote them, they are made of four things: addresses, what was said about them, the talk
 * between the servers, and the copy of the original mail, with which the report ends. So:
 *
 *   1. cut before the copy: at a line that announces it, or where a mail's header fields begin;
 *   2. rank each address by where it stands. In a RCPT TO, alone at the start of a line, behind a reply code:
 * sure. Behind "to" or "recipient": likely. Elsewhere in a sentence: perhaps. Behind "from" or "contact":
 * never. The best rank that occurs is taken;
 *   3. give each line to the recipients it names, or else to those named last. A list of addresses shares
 * what follows it. What a server says to MAIL or DATA goes to those named after it, until the next command.
 */
#include "format/returned/finding.h"

#include <stdlib.h>

/* --- 1. the copy --- */

/* Words that announce it, beside dashes, a colon or "follows". */
static bool announces_copy(struct slice line)
{
    static const char *const what[] = {"original",
                                       "copy of",
                                       "unsent",
                                       "returned message",
                                       "message header",
                                       "undelivered message",
                                       "header of",
                                       "failed message",
                                       "rejected message",
                                       "your message follows",
                                       "message follows",
                                       "bounced message",
                                       "message text follows",
                                       "returned mail follows"};
    static const char *const mail[] = {"message", "mail", "header", "copy", "text"};
    /* The same in other languages, whole. */
    static const char *const foreign[] = {"元のメール",
                                          "元のメッセージ",
                                          "原文",
                                          "オリジナルメッセージ",
                                          "送信メール内容",
                                          "Исходное сообщение",
                                          "Исходное письмо",
                                          "Ursprüngliche Nachricht",
                                          "Originalnachricht",
                                          "Message d'origine",
                                          "Message original",
                                          "Mensaje original",
                                          "Mensagem original",
                                          "Messaggio originale",
                                          "原始邮件",
                                          "原始郵件",
                                          "원본 메시지",
                                          "원본 메일"};
    struct slice t = slice_trim(line);
    bool dashed = slice_starts(t, S("--")) || slice_starts(t, S("==")) || slice_starts(t, S("**")) ||
                  slice_starts(t, S("__"));
    bool ends =
        t.n && (t.p[t.n - 1] == ':' || slice_ends(t, S("follows.")) || slice_ends(t, S("follow.")) ||
                slice_ends(t, S("follows")) || slice_ends(t, S("following.")) || slice_ends(t, S("---")));

    if (t.n > 140)
        return false;
    for (size_t i = 0; i < COUNT(foreign); i++)
        if ((dashed || ends) && slice_find(t, slice_cstr(foreign[i])) >= 0)
            return true;
    if (!dashed && !ends)
        return false;
    if (ifind(t, "received at") >= 0 || ifind(t, "transcript") >= 0 || ifind(t, "delivery") >= 0)
        return false;
    bool named = false, is_mail = false;
    for (size_t i = 0; i < COUNT(what); i++)
        named |= ifind(t, what[i]) >= 0;
    for (size_t i = 0; i < COUNT(mail); i++)
        is_mail |= ifind(t, mail[i]) >= 0;
    return named && is_mail;
}

/* A name that only a mail's own header has, not a description of the mail. */
static int header_weight(struct slice line)
{
    static const char *const trace[] = {
        "received:", "return-path:",  "dkim-signature:",      "mime-version:", "message-id:",
        "x-mailer:", "delivered-to:", "domainkey-signature:", "arc-seal:"};
    static const char *const plain[] = {
        "from:", "to:",         "date:",        "subject:",    "reply-to:", "sender:",
        "cc:",   "user-agent:", "in-reply-to:", "references:", "x-"};

    for (size_t i = 0; i < COUNT(trace); i++)
        if (slice_istarts(line, slice_cstr(trace[i])))
            return 2;
    for (size_t i = 0; i < COUNT(plain); i++)
        if (slice_istarts(line, slice_cstr(plain[i])))
            return 1;
    return 0;
}

/* At least three header lines on end, one of which describes no mail but belongs to one. */
static bool header_begins(struct slice text)
{
    int fields = 0, weight = 0;

    for (int lines = 0; text.n && lines < 40; lines++) {
        struct slice line = slice_cut(text, '\n', &text);
        if (slice_starts(line, S("> ")))
            line = slice_of(line.p + 2, line.n - 2);
        if (line.n && (line.p[0] == ' ' || line.p[0] == '\t')) {
            if (fields == 0)
                return false;
            continue;
        }
        int w = header_weight(line);
        const char *colon = memchr(line.p, ':', line.n < 60 ? line.n : 60);
        if (!w && (!fields || !colon || memchr(line.p, ' ', (size_t)(colon - line.p))))
            break;
        fields++;
        weight |= w;
    }
    return fields >= 3 && weight & 2;
}

size_t prose_end(struct slice text)
{
    struct slice rest = text;

    while (rest.n) {
        struct slice from = rest, line = slice_cut(rest, '\n', &rest);
        if (announces_copy(line) || (header_weight(line) && header_begins(from)))
            return (size_t)(from.p - text.p);
    }
    return text.n;
}

/* --- 2. addresses --- */

enum rank { RANK_NEVER, RANK_PERHAPS, RANK_LIKELY, RANK_SURE };

struct place {
    struct slice address;
    enum rank rank;
};

static struct slice strip_open(struct slice s)
{
    s = slice_trim(s);
    while (s.n && strchr("<\"'([{*>-#", s.p[s.n - 1])) {
        s.n--;
        s = slice_trim(s);
    }
    return s;
}

/* Does s end with this word, in any case, and no letter before it? */
static bool ends_word(struct slice s, const char *word)
{
    size_t n = strlen(word);

    if (s.n < n || !slice_ieq(slice_of(s.p + s.n - n, n), slice_cstr(word)))
        return false;
    char before = s.n > n ? ascii_lower(s.p[s.n - n - 1]) : ' ';
    return before < 'a' || before > 'z';
}

static bool any_ends_word(struct slice s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ends_word(s, words[i]))
            return true;
    return false;
}

/* Only code, status, dashes and blanks: "550 5.1.1". */
static bool is_reply_lead(struct slice s)
{
    bool digit = false;

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] >= '0' && s.p[i] <= '9')
            digit = true;
        else if (!strchr(" .-:#", s.p[i]))
            return false;
    }
    return digit && s.n >= 3;
}

/* Not people: a report names them to be asked. */
static bool is_role(struct slice address)
{
    static const char *const locals[] = {"postmaster@", "mailer-daemon@", "abuse@",    "support@",
                                         "helpdesk@",   "noreply@",       "no-reply@", "hostmaster@",
                                         "info@",       "help@"};

    for (size_t i = 0; i < COUNT(locals); i++)
        if (slice_istarts(address, slice_cstr(locals[i])))
            return true;
    return false;
}

static enum rank rank_place(struct slice line, struct slice address)
{
    static const char *const never[] = {
        "from",       "sender",    "reply-to", "replyto", "return-path", "contact",
        "message-id", "messageid", "id",       "cc",      "bcc",         "expanded from",
        "mail to",    "body to",   "e-mail",   "email",   "write to",    "差出人",
        "送信者",     "von",       "de",       "by",      "visit",       "http"};
    static const char *const sure[] = {"rcpt to",
                                       "rcpt",
                                       "recipient",
                                       "recipients",
                                       "recipient address",
                                       "original-recipient",
                                       "final-recipient",
                                       "failed recipient",
                                       "userid",
                                       "for recipient",
                                       "user unknown",
                                       "unknown user",
                                       "no such user",
                                       "deliver message to",
                                       "deliver mail to",
                                       "delivering your mail to",
                                       "deliver to",
                                       "宛先",
                                       "送信先",
                                       "あて先",
                                       "destinataire",
                                       "destinatario",
                                       "empfänger",
                                       "получатель",
                                       "收件人",
                                       "받는 사람"};
    static const char *const likely[] = {"to",      "for",     "address",     "addresses", "user",
                                         "mailbox", "account", "an",          "à",         "a",
                                         "para",    "на",      "addressed to"};
    struct slice before = strip_open(slice_of(line.p, (size_t)(address.p - line.p)));
    const char *after_p = address.p + address.n;
    struct slice after = slice_of(after_p, (size_t)(line.p + line.n - after_p));

    if (slice_istarts(slice_trim(line), S(">>> MAIL")))
        return RANK_NEVER;
    if (slice_ends(before, S("mailto:")))
        return RANK_NEVER; /* the same address stands before it */
    struct slice label = before;
    while (label.n && strchr(":;=,. ", label.p[label.n - 1]))
        label.n--;
    if (slice_ends(label, S("rfc822")) || slice_ends(label, S("RFC822")))
        return RANK_LIKELY;
    if (label.n == 0) {
        struct slice next = after;
        while (next.n && strchr(">\"')", next.p[0]))
            next = slice_of(next.p + 1, next.n - 1);
        return slice_starts(next, S(",")) && slice_trim(next).n == 1 ? RANK_PERHAPS
                                                                     : RANK_SURE; /* a greeting */
    }
    if (any_ends_word(label, sure, COUNT(sure)))
        return RANK_SURE;
    if (any_ends_word(label, never, COUNT(never)))
        return RANK_NEVER;
    if (is_reply_lead(label))
        return RANK_SURE;
    if (any_ends_word(label, likely, COUNT(likely))) /* "To:" alone describes the mail that failed */
        return before.n > 3 && before.p[before.n - 1] == ':' ? RANK_SURE : RANK_LIKELY;
    return RANK_PERHAPS;
}

/* --- 3. lines and whom they are about --- */

struct prose {
    struct findings *f;
    struct buf text[RETURNED_RECIPIENTS_MAX], common, pending;
    bool current[RETURNED_RECIPIENTS_MAX];
    bool spoken; /* something was said about the current ones: the next address begins a new list */
    int phase, pending_phase;
    struct slice host;
};

static void say(struct buf *b, struct slice line)
{
    line = slice_trim(line);
    if (!line.n || b->n + line.n > RETURNED_TEXT_MAX)
        return;
    if (b->n)
        buf_addc(b, '\n');
    buf_adds(b, line);
}

static bool is_current(const struct prose *p)
{
    for (size_t i = 0; i < p->f->n; i++)
        if (p->current[i])
            return true;
    return false;
}

static size_t index_of(struct findings *f, struct slice address)
{
    const struct finding *v = findings_of(f, address);
    return v ? (size_t)(v - f->v) : SIZE_MAX;
}

static bool has_words(struct slice s)
{
    size_t letters = 0;

    for (size_t i = 0; i < s.n; i++)
        letters +=
            ((ascii_lower(s.p[i]) >= 'a' && ascii_lower(s.p[i]) <= 'z') || (unsigned char)s.p[i] >= 0x80);
    return letters >= 4;
}

/* ">>> RCPT TO:<a>": the command that was answered. */
static bool command_line(struct prose *p, struct slice line)
{
    struct slice t = slice_trim(line);
    struct slice address;
    size_t at = 0;

    if (!slice_starts(t, S(">>>")))
        return false;
    t = slice_trim(slice_of(t.p + 3, t.n - 3));
    if (slice_istarts(t, S("RCPT"))) {
        memset(p->current, 0, sizeof p->current);
        while (address_next(t, &at, &address)) {
            size_t i = index_of(p->f, address);
            if (i != SIZE_MAX) {
                p->current[i] = true;
                p->f->v[i].phase = SMTP_PHASE_RCPT;
            }
        }
        p->spoken = false;
        p->phase = SMTP_PHASE_RCPT;
        buf_clear(&p->pending);
        return true;
    }
    int phase = phase_find(line);
    if (phase == RETURNED_PHASE_UNKNOWN)
        return false;
    p->phase = p->pending_phase = phase;
    buf_clear(&p->pending);
    return true;
}

static void give_line(struct prose *p, struct slice line)
{
    bool named[RETURNED_RECIPIENTS_MAX] = {false};
    size_t at = 0, names = 0;
    struct slice address, t = slice_trim(line);

    if (command_line(p, line))
        return;
    ptrdiff_t talking = ifind(line, "while talking to ");
    if (talking >= 0) {
        struct slice rest = slice_of(line.p + talking + 17, line.n - (size_t)talking - 17);
        p->host = slice_cut(slice_trim(rest), ':', &rest);
        for (size_t i = 0; i < p->host.n; i++)
            if ((unsigned char)p->host.p[i] <= ' ' || (unsigned char)p->host.p[i] >= 0x7f)
                p->host.n = i;
        while (p->host.n && p->host.p[p->host.n - 1] == '.')
            p->host.n--;
        buf_clear(&p->pending);
        p->phase = p->pending_phase = RETURNED_PHASE_UNKNOWN;
        return;
    }
    while (address_next(line, &at, &address)) {
        size_t i = index_of(p->f, address);
        if (i != SIZE_MAX && !named[i]) {
            named[i] = true;
            names++;
        }
    }
    bool answer = slice_starts(t, S("<<<"));
    if (answer && p->phase != SMTP_PHASE_RCPT && p->pending_phase != RETURNED_PHASE_UNKNOWN) {
        say(&p->pending, line);
        if (names == 0)
            return;
    }
    /* Sendmail 5 writes "550 host (mailer)... reason" above the address it is about. */
    struct reply_clue clue;
    if (!names && p->spoken && t.n > 4 && reply_find(slice_of(t.p, 4), &clue) && clue.code && t.p[3] == ' ' &&
        slice_find(t, S("... ")) >= 0) {
        buf_clear(&p->pending);
        p->pending_phase = RETURNED_PHASE_UNKNOWN;
        say(&p->pending, line);
        return;
    }
    if (names) {
        /* What is left without addresses, brackets and blanks says whether this is a list. */
        bool says = false;
        size_t from = 0;
        at = 0;
        while (address_next(line, &at, &address)) {
            says |= has_words(slice_of(line.p + from, (size_t)(address.p - line.p) - from));
            from = (size_t)(address.p - line.p) + address.n;
        }
        says |= has_words(slice_of(line.p + from, line.n - from));
        if (p->spoken || says)
            memset(p->current, 0, sizeof p->current);
        p->spoken = says;
        for (size_t i = 0; i < p->f->n; i++) {
            if (!named[i])
                continue;
            p->current[i] = true;
            if (p->pending.n) {
                say(&p->text[i], buf_slice(&p->pending));
                p->f->v[i].phase = p->pending_phase;
            }
            say(&p->text[i], line);
            if (p->host.n)
                p->f->v[i].remote_mta = p->host;
        }
        return;
    }
    if (t.n == 0)
        return;
    if (!is_current(p)) {
        say(&p->common, line);
        return;
    }
    for (size_t i = 0; i < p->f->n; i++)
        if (p->current[i])
            say(&p->text[i], line);
    p->spoken |= has_words(line);
}

static void lines_read(struct slice text, struct prose *p)
{
    while (text.n) {
        struct slice line = slice_cut(text, '\n', &text);
        give_line(p, line);
    }
    /* An answer to MAIL or DATA after which nobody was named is about all who have no answer of their own. */
    for (size_t i = 0; i < p->f->n; i++) {
        struct reply_clue clue;
        if (p->pending.n && !(reply_find(buf_slice(&p->text[i]), &clue) && clue.code &&
                              p->f->v[i].phase != RETURNED_PHASE_UNKNOWN)) {
            say(&p->text[i], buf_slice(&p->pending));
            if (p->f->v[i].phase == RETURNED_PHASE_UNKNOWN)
                p->f->v[i].phase = p->pending_phase;
        }
    }
}

/* --- all --- */

static bool among(const struct slice *v, size_t n, struct slice address)
{
    for (size_t i = 0; i < n; i++)
        if (address_same(v[i], address))
            return true;
    return false;
}

static bool listed(struct slice list, struct slice address)
{
    struct slice one;
    size_t at = 0;

    while (address_next(list, &at, &one))
        if (address_same(one, address))
            return true;
    return false;
}

/* Rank every address of the text; the best become recipients. */
static void choose(struct slice text, const struct slice *report_to, size_t nto, struct slice failed,
                   struct findings *f, bool *sure)
{
    enum { PLACES_MAX = 1024 };
    struct place *places = mem_alloc(PLACES_MAX * sizeof *places);
    size_t n = 0;
    enum rank best = RANK_NEVER;
    bool confirmed = false; /* some sure address is also named by the header */

    while (text.n && n < PLACES_MAX) {
        struct slice line = slice_cut(text, '\n', &text), address;
        size_t at = 0;
        while (address_next(line, &at, &address) && n < PLACES_MAX) {
            enum rank r = rank_place(line, address);
            bool own = among(report_to, nto, address), role = is_role(address);
            bool in_failed = listed(failed, address);
            if ((own || role) && !in_failed && (r < RANK_SURE || (own && failed.n)))
                r = RANK_NEVER;
            confirmed |= r == RANK_SURE && in_failed;
            places[n++] = (struct place){address, r};
            if (r > best)
                best = r;
        }
    }
    /* The sender and the helpdesk only where there is nobody else. */
    bool others = false;
    for (size_t i = 0; i < n; i++)
        others |= places[i].rank == best && !is_role(places[i].address) &&
                  !among(report_to, nto, places[i].address);
    *sure = best == RANK_SURE || failed.n;
    f->guessed = best == RANK_PERHAPS && !failed.n;
    if (best < RANK_SURE && failed.n) {
        struct slice address;
        size_t at = 0;
        while (address_next(failed, &at, &address))
            findings_add(f, address);
        best = RANK_SURE;
    }
    for (size_t i = 0; i < n && best > RANK_NEVER; i++) {
        struct slice address = places[i].address;
        if (places[i].rank != best || (confirmed && !listed(failed, address)))
            continue;
        if (others && !listed(failed, address) && (is_role(address) || among(report_to, nto, address)))
            continue;
        findings_add(f, address);
    }
    free(places);
}

void prose_read(struct slice text, const struct slice *report_to, size_t nto, struct slice failed,
                struct arena *a, struct findings *f, bool *sure)
{
    struct prose *p = mem_zalloc(sizeof *p);

    *p = (struct prose){
        .f = f, .phase = RETURNED_PHASE_UNKNOWN, .pending_phase = RETURNED_PHASE_UNKNOWN, .host = SLICE_NONE};
    choose(text, report_to, nto, failed, f, sure);
    lines_read(text, p);
    for (size_t i = 0; i < f->n; i++) {
        f->v[i].text = arena_copy(a, buf_slice(&p->text[i]));
        f->v[i].address = arena_copy(a, f->v[i].address);
        f->v[i].remote_mta = arena_copy(a, f->v[i].remote_mta);
        buf_free(&p->text[i]);
    }
    f->common = arena_copy(a, buf_slice(&p->common));
    /* An answer to nobody above the list of addresses is about all who have none of their own. */
    struct reply_clue clue;
    if (reply_find(f->common, &clue) && clue.code)
        for (size_t i = 0; i < f->n; i++) {
            struct reply_clue own;
            struct slice t = f->v[i].text;
            if (reply_find(t, &own))
                continue;
            f->v[i].text = slice_cstr(
                arena_printf(a, "%.*s%s%.*s", SLICE_FMT(f->common), t.n ? "\n" : "", SLICE_FMT(t)));
        }
    buf_free(&p->common);
    buf_free(&p->pending);
    free(p);
}
