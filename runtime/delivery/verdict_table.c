/* verdict_table.c - the shipped rules that give a reply its class.
 *
 * In order, the first match wins: what single receivers are known to say; enhanced status codes whose meaning
 * is narrow (RFC 3463, 5248, 7372, 7505); words of the text; status codes that say little; the code with the
 * phase. Words stand behind narrow codes because texts are free and often quote addresses and links, and
 * before wide ones because 5.7.1 is said for anything.
 *
 * A phrase is lower case and matches where a word begins. Words that hold an '@' are taken out of the text
 * first: <spam@example.jp> is no complaint. */
#include "delivery/verdict.h"

#include "base/err.h"

#define ANY_CODE 0, 999

/* --- single receivers --- */

struct isp_rule {
    const char *isp;
    int code;                 /* 0: any */
    uint16_t subject, detail; /* of the enhanced status; 0, 0: any */
    const char *text;         /* anywhere in the whole reply, lower case; empty: any */
    enum reply_class cls;
    bool retry; /* though it is 5xx */
    const char *name;
};
#define ISP(isp, code, subject, detail, text, cls, retry)                                                    \
    {                                                                                                        \
        isp, code, subject, detail, text, cls, retry, isp " \"" text "\""                                    \
    }
#define ISP_STATUS(isp, subject, detail, cls)                                                                \
    {                                                                                                        \
        isp, 0, subject, detail, "", cls, false, isp " status " #subject "." #detail                         \
    }

static const struct isp_rule isp_rules[] = {
    ISP("gmail", 0, 0, 0, "rate limited because it is unauthenticated", CLASS_AUTH_FAILED, false),
    ISP("gmail", 451, 7, 26, "temporary dns failure", CLASS_NETWORK, false),
    ISP("gmail", 0, 0, 0, "at a rate that prevents", CLASS_RATE_LIMITED, true),
    ISP("gmail", 550, 2, 1, "inactive", CLASS_INACTIVE, false),
    ISP("gmail", 0, 2, 2, "inactive", CLASS_INACTIVE, false),
    ISP("gmail", 0, 0, 0, "reputation of the sending", CLASS_LOW_REPUTATION, false),
    ISP("gmail", 0, 0, 0, "content or the links", CLASS_SPAM, false),
    ISP("gmail", 0, 7, 28, "url domains", CLASS_SPAM, false),
    ISP("gmail", 0, 7, 28, "same message-id", CLASS_NOT_RFC, false),
    ISP_STATUS("gmail", 7, 27, CLASS_AUTH_FAILED),
    ISP_STATUS("gmail", 7, 29, CLASS_TLS_FAILED),
    ISP_STATUS("gmail", 7, 30, CLASS_AUTH_FAILED),
    ISP_STATUS("gmail", 7, 32, CLASS_AUTH_FAILED),
    ISP_STATUS("gmail", 7, 40, CLASS_AUTH_FAILED),
    ISP("gmail", 550, 7, 1, "this email has been rate limited", CLASS_RATE_LIMITED, true),
    ISP("gmail", 550, 7, 1, "ipv6 sending guidelines", CLASS_NO_PTR, true),
    ISP("yahoo", 0, 0, 0, "[tss", CLASS_LOW_REPUTATION, false),
    ISP("yahoo", 0, 0, 0, "[ts0", CLASS_RATE_LIMITED, false),
    ISP("yahoo", 0, 0, 0, "[ipts", CLASS_BLOCKED, false),
    ISP("yahoo", 553, 0, 0, "[bl2", CLASS_BLOCKED, false),
    ISP("yahoo", 554, 0, 0, "[ph01]", CLASS_SPAM, false),
    ISP("yahoo", 0, 0, 0, "max message per connection", CLASS_RATE_LIMITED, false),
    ISP("yahoo.co.jp", 421, 0, 0, "vs98", CLASS_RATE_LIMITED, false),
    ISP("yahoo.co.jp", 421, 0, 0, "[tss", CLASS_LOW_REPUTATION, false),
    ISP("yahoo.co.jp", 421, 0, 0, "[ipts", CLASS_BLOCKED, false),
    ISP("yahoo.co.jp", 421, 0, 0, "timeout waiting for command", CLASS_NETWORK, false),
    ISP("microsoft", 0, 0, 0, "exceeded the maximum number of connections", CLASS_TOO_MANY_CONNECTIONS,
        false),
    ISP("microsoft", 421, 0, 0, "rp-001", CLASS_RATE_LIMITED, false),
    ISP("microsoft", 421, 0, 0, "rp-002", CLASS_RATE_LIMITED, false),
    ISP("microsoft", 421, 0, 0, "rp-003", CLASS_TOO_MANY_CONNECTIONS, false),
    ISP("microsoft", 550, 4, 1, "recipient address rejected: access denied", CLASS_NO_SUCH_USER, false),
    ISP("microsoft", 550, 0, 0, "sc-00", CLASS_BLOCKED, false),
    ISP("microsoft", 550, 0, 0, "ou-00", CLASS_BLOCKED, false),
    ISP("apple", 450, 0, 0, "[hcm1]", CLASS_RATE_LIMITED, false),
    ISP("apple", 451, 0, 0, "[bs02]", CLASS_RATE_LIMITED, false),
    ISP("apple", 550, 0, 0, "[cs01]", CLASS_BLOCKED, false),
    ISP("comcast", 421, 0, 0, "rl0000", CLASS_RATE_LIMITED, false),
    ISP("comcast", 554, 0, 0, "bl0000", CLASS_BLOCKED, false),
    ISP("comcast", 554, 0, 0, "es0000", CLASS_BLOCKED, false),
    ISP("free", 421, 0, 0, "too many spams from your ip", CLASS_BLOCKED, false),
    ISP("qq", 550, 0, 0, "frequency limited", CLASS_RATE_LIMITED, true),
    ISP("163", 421, 0, 0, "hl:", CLASS_BLOCKED, false),
    ISP("163", 451, 0, 0, "dt:spm", CLASS_RATE_LIMITED, false),
    ISP("docomo", 552, 0, 0, "too much mail data", CLASS_MAILBOX_FULL, false),
    ISP("au", 550, 0, 0, "550 : user unknown", CLASS_FILTERED,
        false), /* no address in it: the person's own filter */
    ISP("au", 554, 0, 0, "relay access denied", CLASS_NO_SUCH_USER, false), /* an address it cannot read */
    ISP("softbank", 553, 0, 0, "does not exist", CLASS_SENDER_REJECTED, false),
    ISP("jcom", 421, 0, 0, "too many messages for this session", CLASS_RATE_LIMITED, false),
};

/* --- enhanced status codes --- */

struct status_rule {
    uint16_t subject, from, to; /* details from..to */
    enum reply_class cls;
    const char *name;
};
#define STATUS(subject, from, to, cls)                                                                       \
    {                                                                                                        \
        subject, from, to, cls, "status " #subject "." #from                                                 \
    }

static const struct status_rule narrow[] = {
    STATUS(1, 1, 1, CLASS_NO_SUCH_USER),
    STATUS(1, 2, 2, CLASS_NO_SUCH_DOMAIN),
    STATUS(1, 3, 4, CLASS_NO_SUCH_USER), /* syntax; ambiguous */
    STATUS(1, 6, 6, CLASS_MOVED),
    STATUS(1, 7, 8, CLASS_SENDER_REJECTED),
    STATUS(1, 9, 9, CLASS_MAILER),
    STATUS(1, 10, 10, CLASS_NOT_ACCEPTING), /* RFC 7505 */
    STATUS(2, 2, 2, CLASS_MAILBOX_FULL),
    STATUS(2, 3, 3, CLASS_TOO_LARGE),
    STATUS(3, 1, 1, CLASS_SYSTEM_FULL),
    STATUS(3, 4, 4, CLASS_TOO_LARGE),
    STATUS(4, 3, 3, CLASS_SYSTEM),
    STATUS(4, 6, 6, CLASS_NETWORK),
    STATUS(4, 310, 317, CLASS_NETWORK), /* Exchange Online: DNS */
    STATUS(5, 1, 2, CLASS_PROTOCOL),
    STATUS(5, 3, 3, CLASS_OVER_LIMIT), /* too many recipients */
    STATUS(5, 4, 6, CLASS_PROTOCOL),
    STATUS(6, 1, 6, CLASS_CONTENT),
    STATUS(6, 7, 10, CLASS_NOT_RFC), /* RFC 6531 */
    STATUS(7, 3, 7, CLASS_SECURITY),
    STATUS(7, 8, 9, CLASS_SECURITY),
    STATUS(7, 10, 11, CLASS_TLS_FAILED), /* encryption needed, RFC 5248 */
    STATUS(7, 12, 12, CLASS_SECURITY),
    STATUS(7, 13, 13, CLASS_INACTIVE),
    STATUS(7, 14, 14, CLASS_SECURITY),
    STATUS(7, 15, 15, CLASS_POLICY),
    STATUS(7, 16, 16, CLASS_TOO_LARGE),
    STATUS(7, 17, 18, CLASS_MOVED), /* RFC 7293: the mailbox or the domain has another owner */
    STATUS(7, 19, 19, CLASS_POLICY),
    STATUS(7, 20, 24, CLASS_AUTH_FAILED), /* RFC 7372 */
    STATUS(7, 25, 25, CLASS_NO_PTR),
    STATUS(7, 26, 26, CLASS_AUTH_FAILED),
    STATUS(7, 27, 27, CLASS_SENDER_REJECTED), /* RFC 7505: the sender's domain has a null MX */
    STATUS(7, 28, 28, CLASS_RATE_LIMITED),    /* mail flood */
    STATUS(7, 29, 29, CLASS_AUTH_FAILED),     /* RFC 8617 */
    STATUS(7, 30, 30, CLASS_TLS_FAILED),      /* RFC 8689 */
    STATUS(7, 500, 500, CLASS_RATE_LIMITED),  /* three digits: Exchange Online */
    STATUS(7, 501, 514, CLASS_BLOCKED),
    STATUS(7, 515, 515, CLASS_AUTH_FAILED),
    STATUS(7, 606, 649, CLASS_BLOCKED),
    STATUS(7, 650, 651, CLASS_RATE_LIMITED),
    STATUS(7, 652, 652, CLASS_TOO_MANY_CONNECTIONS),
    STATUS(7, 850, 899, CLASS_BLOCKED),
};

static const struct status_rule wide[] = {
    STATUS(1, 0, 0, CLASS_NO_SUCH_USER), STATUS(1, 5, 5, CLASS_UNKNOWN), /* "destination address valid" */
    STATUS(2, 1, 1, CLASS_INACTIVE),     STATUS(2, 4, 4, CLASS_SYSTEM),  STATUS(3, 0, 0, CLASS_SYSTEM),
    STATUS(3, 2, 3, CLASS_SYSTEM),       STATUS(3, 5, 5, CLASS_SYSTEM),  STATUS(4, 0, 2, CLASS_NETWORK),
    STATUS(4, 4, 4, CLASS_NETWORK),      STATUS(4, 5, 5, CLASS_SYSTEM),  STATUS(4, 7, 7, CLASS_NETWORK),
    STATUS(5, 0, 0, CLASS_PROTOCOL),     STATUS(6, 0, 0, CLASS_CONTENT), STATUS(7, 0, 2, CLASS_POLICY),
};

/* --- words --- */

struct text_rule {
    const char *text;
    enum reply_class cls;
    short from, to; /* codes */
    const char *name;
};
#define TEXT(text, cls)                                                                                      \
    {                                                                                                        \
        text, cls, ANY_CODE, "text \"" text "\""                                                             \
    }
#define TEXT5(text, cls)                                                                                     \
    {                                                                                                        \
        text, cls, 500, 599, "text \"" text "\" with 5xx"                                                    \
    }
#define TEXT4(text, cls)                                                                                     \
    {                                                                                                        \
        text, cls, 400, 499, "text \"" text "\" with 4xx"                                                    \
    }

static const struct text_rule texts[] = {
    /* About the sender, though words for the recipient stand in it. */
    TEXT("sender address rejected", CLASS_SENDER_REJECTED), TEXT("sender rejected", CLASS_SENDER_REJECTED),
    TEXT("sender denied", CLASS_SENDER_REJECTED), TEXT("sender verify failed", CLASS_SENDER_REJECTED),
    TEXT("sender domain", CLASS_SENDER_REJECTED), TEXT("domain of sender", CLASS_SENDER_REJECTED),
    TEXT("invalid sender", CLASS_SENDER_REJECTED), TEXT("bad sender", CLASS_SENDER_REJECTED),
    TEXT("greylist", CLASS_GREYLISTED), TEXT("graylist", CLASS_GREYLISTED),
    TEXT("grey-list", CLASS_GREYLISTED), TEXT("grey list", CLASS_GREYLISTED),
    /* Rates and connections. */
    TEXT("too many connections", CLASS_TOO_MANY_CONNECTIONS),
    TEXT("too many concurrent", CLASS_TOO_MANY_CONNECTIONS),
    TEXT("too many sessions", CLASS_TOO_MANY_CONNECTIONS),
    TEXT("maximum number of connections", CLASS_TOO_MANY_CONNECTIONS),
    TEXT("concurrent connections", CLASS_TOO_MANY_CONNECTIONS),
    TEXT("connection limit", CLASS_TOO_MANY_CONNECTIONS),
    TEXT("connection rate limit", CLASS_TOO_MANY_CONNECTIONS),
    TEXT("trop de connexions", CLASS_TOO_MANY_CONNECTIONS), TEXT("too many recipients", CLASS_OVER_LIMIT),
    TEXT("rate limit", CLASS_RATE_LIMITED), TEXT("ratelimit", CLASS_RATE_LIMITED),
    TEXT("rate-limit", CLASS_RATE_LIMITED), TEXT("too many messages", CLASS_RATE_LIMITED),
    TEXT("too many mails", CLASS_RATE_LIMITED), TEXT("too many emails", CLASS_RATE_LIMITED),
    TEXT("too quickly", CLASS_RATE_LIMITED), TEXT("too fast", CLASS_RATE_LIMITED),
    TEXT("throttl", CLASS_RATE_LIMITED), TEXT("frequency limited", CLASS_RATE_LIMITED),
    TEXT("unusual rate", CLASS_RATE_LIMITED), TEXT("at a rate that", CLASS_RATE_LIMITED),
    TEXT("excessive volume", CLASS_RATE_LIMITED), TEXT("unexpected volume", CLASS_RATE_LIMITED),
    TEXT("server busy", CLASS_RATE_LIMITED),
    /* The mailbox. */
    TEXT("mailbox full", CLASS_MAILBOX_FULL), TEXT("mailbox is full", CLASS_MAILBOX_FULL),
    TEXT("over quota", CLASS_MAILBOX_FULL), TEXT("overquota", CLASS_MAILBOX_FULL),
    TEXT("quota exceeded", CLASS_MAILBOX_FULL), TEXT("exceeded quota", CLASS_MAILBOX_FULL),
    TEXT("exceeds quota", CLASS_MAILBOX_FULL), TEXT("out of storage", CLASS_MAILBOX_FULL),
    TEXT("exceeded its quota", CLASS_MAILBOX_FULL), TEXT("insufficient system storage", CLASS_SYSTEM_FULL),
    TEXT("insufficient disk space", CLASS_SYSTEM_FULL), TEXT("no space left", CLASS_SYSTEM_FULL),
    TEXT("disk full", CLASS_SYSTEM_FULL), TEXT("message size exceeds", CLASS_TOO_LARGE),
    TEXT("message too large", CLASS_TOO_LARGE), TEXT("message too big", CLASS_TOO_LARGE),
    TEXT("message file too big", CLASS_TOO_LARGE), TEXT("maximum message size", CLASS_TOO_LARGE),
    TEXT("size limit", CLASS_TOO_LARGE), TEXT("no longer on server", CLASS_MOVED),
    TEXT("user has moved", CLASS_MOVED), TEXT("address has changed", CLASS_MOVED),
    TEXT("inactive", CLASS_INACTIVE), TEXT("is disabled", CLASS_INACTIVE),
    TEXT("account disabled", CLASS_INACTIVE), TEXT("mailbox disabled", CLASS_INACTIVE),
    TEXT("has been disabled", CLASS_INACTIVE), TEXT("account has been suspended", CLASS_INACTIVE),
    TEXT("account suspended", CLASS_INACTIVE), TEXT("account expired", CLASS_INACTIVE),
    TEXT("deactivated", CLASS_INACTIVE), TEXT("user unknown", CLASS_NO_SUCH_USER),
    TEXT("unknown user", CLASS_NO_SUCH_USER), TEXT("no such user", CLASS_NO_SUCH_USER),
    TEXT("no such recipient", CLASS_NO_SUCH_USER), TEXT("no such mailbox", CLASS_NO_SUCH_USER),
    TEXT("no such address", CLASS_NO_SUCH_USER), TEXT("no such person", CLASS_NO_SUCH_USER),
    TEXT("no mailbox here", CLASS_NO_SUCH_USER), TEXT("unknown recipient", CLASS_NO_SUCH_USER),
    TEXT("recipient unknown", CLASS_NO_SUCH_USER), TEXT("unknown mailbox", CLASS_NO_SUCH_USER),
    TEXT("unknown local", CLASS_NO_SUCH_USER), TEXT("unknown address", CLASS_NO_SUCH_USER),
    TEXT("address unknown", CLASS_NO_SUCH_USER), TEXT("invalid recipient", CLASS_NO_SUCH_USER),
    TEXT("invalid mailbox", CLASS_NO_SUCH_USER), TEXT("user not found", CLASS_NO_SUCH_USER),
    TEXT("mailbox not found", CLASS_NO_SUCH_USER), TEXT("recipient not found", CLASS_NO_SUCH_USER),
    TEXT("resolver.adr.recipnotfound", CLASS_NO_SUCH_USER), TEXT("not our customer", CLASS_NO_SUCH_USER),
    TEXT("undeliverable address", CLASS_NO_SUCH_USER),
    TEXT("account that you tried to reach does not exist", CLASS_NO_SUCH_USER),
    TEXT("doesn't have a", CLASS_NO_SUCH_USER), TEXT("is not a known user", CLASS_NO_SUCH_USER),
    TEXT("recipient address rejected: access denied", CLASS_NO_SUCH_USER), /* Exchange Online */
    TEXT("is not a valid mailbox", CLASS_NO_SUCH_USER), TEXT("host unknown", CLASS_NO_SUCH_DOMAIN),
    TEXT("no such domain", CLASS_NO_SUCH_DOMAIN), TEXT("unknown domain", CLASS_NO_SUCH_DOMAIN),
    TEXT("host or domain name not found", CLASS_NO_SUCH_DOMAIN),
    TEXT("no smtp service here", CLASS_NOT_ACCEPTING), TEXT("does not accept mail", CLASS_NOT_ACCEPTING),
    TEXT("not accepting mail", CLASS_NOT_ACCEPTING), TEXT("null mx", CLASS_NOT_ACCEPTING),
    TEXT("relay access denied", CLASS_RELAYING_DENIED), TEXT("relaying denied", CLASS_RELAYING_DENIED),
    TEXT("relay denied", CLASS_RELAYING_DENIED), TEXT("relay not permitted", CLASS_RELAYING_DENIED),
    TEXT("relaying not allowed", CLASS_RELAYING_DENIED), TEXT("unable to relay", CLASS_RELAYING_DENIED),
    TEXT("not permitted to relay", CLASS_RELAYING_DENIED),
    /* The message. */
    TEXT("virus", CLASS_VIRUS), TEXT("malware", CLASS_VIRUS),
    TEXT("its content presents a potential", CLASS_POLICY), TEXT("multiple addresses in from", CLASS_NOT_RFC),
    TEXT("not rfc", CLASS_NOT_RFC), TEXT("rfc 5322", CLASS_NOT_RFC), TEXT("rfc compliant", CLASS_NOT_RFC),
    TEXT("duplicate header", CLASS_NOT_RFC), TEXT("line too long", CLASS_NOT_RFC),
    TEXT("bare lf", CLASS_NOT_RFC), TEXT("bare newline", CLASS_NOT_RFC),
    TEXT("message filtered", CLASS_FILTERED), TEXT("rejected by recipient", CLASS_FILTERED),
    TEXT("recipient has refused", CLASS_FILTERED), TEXT("user does not accept", CLASS_FILTERED),
    /* The source and its name. */
    TEXT("ptr record", CLASS_NO_PTR), TEXT("reverse dns", CLASS_NO_PTR), TEXT("reverse lookup", CLASS_NO_PTR),
    TEXT("reverse hostname", CLASS_NO_PTR), TEXT("find your hostname", CLASS_NO_PTR),
    TEXT("name lookup failed", CLASS_NO_PTR), TEXT("rdns", CLASS_NO_PTR),
    TEXT("mismatches client ip", CLASS_NO_PTR), TEXT("dmarc", CLASS_AUTH_FAILED),
    TEXT("dkim", CLASS_AUTH_FAILED), TEXT("spf", CLASS_AUTH_FAILED),
    TEXT("unauthenticated", CLASS_AUTH_FAILED), TEXT("low reputation", CLASS_LOW_REPUTATION),
    TEXT("poor reputation", CLASS_LOW_REPUTATION), TEXT("bad reputation", CLASS_LOW_REPUTATION),
    TEXT("reputation", CLASS_LOW_REPUTATION), TEXT("spamhaus", CLASS_BLOCKED), TEXT("spamcop", CLASS_BLOCKED),
    TEXT("barracuda", CLASS_BLOCKED), TEXT("dnsbl", CLASS_BLOCKED), TEXT("blocked using", CLASS_BLOCKED),
    TEXT("block list", CLASS_BLOCKED), TEXT("blocklist", CLASS_BLOCKED), TEXT("blacklist", CLASS_BLOCKED),
    TEXT("denylist", CLASS_BLOCKED), TEXT("banned", CLASS_BLOCKED), TEXT("bloquee", CLASS_BLOCKED),
    TEXT("client host rejected", CLASS_BLOCKED), TEXT("service refuse", CLASS_BLOCKED),
    TEXT("spam", CLASS_SPAM), TEXT("unsolicited", CLASS_SPAM), TEXT("junk", CLASS_SPAM),
    TEXT("blocked", CLASS_BLOCKED), TEXT("access denied", CLASS_BLOCKED),
    TEXT("content rejected", CLASS_CONTENT), TEXT("content not accepted", CLASS_CONTENT),
    TEXT("prohibited attachment", CLASS_CONTENT), TEXT("policy", CLASS_POLICY),
    /* The way. */
    TEXT("starttls", CLASS_TLS_FAILED), TEXT("tls required", CLASS_TLS_FAILED),
    TEXT("not using a tls", CLASS_TLS_FAILED), TEXT("authentication required", CLASS_SECURITY),
    TEXT("must authenticate", CLASS_SECURITY), TEXT("command parameter not implemented", CLASS_PROTOCOL),
    TEXT("command not implemented", CLASS_PROTOCOL), TEXT("command not recognized", CLASS_PROTOCOL),
    TEXT("command unrecognized", CLASS_PROTOCOL), TEXT("syntax error", CLASS_PROTOCOL),
    TEXT("sequence of commands", CLASS_PROTOCOL), TEXT("timeout", CLASS_NETWORK),
    TEXT("timed out", CLASS_NETWORK), TEXT("dns failure", CLASS_NETWORK), TEXT("dns error", CLASS_NETWORK),
    TEXT4("try again later", CLASS_RATE_LIMITED), TEXT4("try later", CLASS_RATE_LIMITED),
    TEXT4("essayer plus tard", CLASS_RATE_LIMITED),
    TEXT("resources temporarily unavailable", CLASS_RATE_LIMITED),
    TEXT("temporarily unavailable", CLASS_SYSTEM), TEXT("temporary", CLASS_SYSTEM),
    TEXT("local error", CLASS_SYSTEM), TEXT("internal error", CLASS_SYSTEM),
    TEXT("system error", CLASS_SYSTEM), TEXT("service unavailable", CLASS_SYSTEM),
    TEXT5("mailbox unavailable", CLASS_NO_SUCH_USER), /* the words of RFC 5321 itself, so last */
};

/* --- the code alone --- */

struct code_rule {
    short from, to;
    enum smtp_phase first, last;
    enum reply_class cls;
    const char *name;
};
#define CODE(from, to, first, last, cls)                                                                     \
    {                                                                                                        \
        from, to, SMTP_PHASE_##first, SMTP_PHASE_##last, cls, "code " #from " at " #first                    \
    }

static const struct code_rule codes[] = {
    CODE(551, 551, CONNECT, QUIT, CLASS_MOVED),         /* RFC 5321 4.2.2: user not local */
    CODE(521, 521, CONNECT, QUIT, CLASS_NOT_ACCEPTING), /* RFC 7504 */
    CODE(556, 556, CONNECT, QUIT, CLASS_NOT_ACCEPTING),
    CODE(400, 599, STARTTLS, STARTTLS, CLASS_TLS_FAILED),
    CODE(400, 599, AUTH, AUTH, CLASS_SECURITY),
    CODE(530, 538, CONNECT, QUIT, CLASS_SECURITY), /* RFC 4954 6 */
    CODE(500, 504, CONNECT, QUIT, CLASS_PROTOCOL),
    CODE(455, 455, CONNECT, QUIT, CLASS_PROTOCOL),
    CODE(555, 555, CONNECT, QUIT, CLASS_PROTOCOL),
    CODE(500, 599, CONNECT, EHLO, CLASS_BLOCKED),
    CODE(500, 599, MAIL, MAIL, CLASS_SENDER_REJECTED),
    CODE(452, 452, CONNECT, QUIT, CLASS_SYSTEM_FULL),
    CODE(552, 552, RCPT, RCPT, CLASS_MAILBOX_FULL), /* RFC 5321: exceeded storage allocation */
    CODE(552, 552, DATA, EOD, CLASS_TOO_LARGE),     /* RFC 1870 6.3 */
    CODE(553, 553, RCPT, RCPT, CLASS_NO_SUCH_USER), /* mailbox name not allowed */
    CODE(421, 421, CONNECT, QUIT, CLASS_SYSTEM),
    CODE(451, 451, CONNECT, QUIT, CLASS_SYSTEM),
};

/* --- matching --- */

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (unsigned char)c >= 0x80;
}

/* Where a word begins; a phrase that begins with no word byte may stand anywhere. */
static bool has_phrase(struct slice text, struct slice phrase)
{
    for (size_t at = 0; at < text.n;) {
        ptrdiff_t hit = slice_find(slice_of(text.p + at, text.n - at), phrase);
        if (hit < 0)
            return false;
        at += (size_t)hit;
        if (at == 0 || !is_word_byte(phrase.p[0]) || !is_word_byte(text.p[at - 1]))
            return true;
        at++;
    }
    return false;
}

static struct slice lowered(struct slice s, char *room, size_t size)
{
    size_t n = s.n < size ? s.n : size;

    for (size_t i = 0; i < n; i++)
        room[i] = ascii_lower(s.p[i]);
    return slice_of(room, n);
}

static struct slice without_addresses(struct slice s, char *room)
{
    size_t n = 0;

    while (s.n) {
        struct slice word = slice_cut(s, ' ', &s);
        if (memchr(word.p, '@', word.n))
            continue;
        if (n)
            room[n++] = ' ';
        memcpy(room + n, word.p, word.n);
        n += word.n;
    }
    return slice_of(room, n);
}

static const struct status_rule *by_status(const struct status_rule *rules, size_t n,
                                           const struct smtp_reply *r)
{
    for (size_t i = 0; i < n && r->has_enhanced; i++)
        if (rules[i].subject == r->enhanced.subject && r->enhanced.detail >= rules[i].from &&
            r->enhanced.detail <= rules[i].to)
            return &rules[i];
    return NULL;
}

enum reply_class verdict_classify(const struct verdict_in *in, const char **rule, bool *retry)
{
    const struct smtp_reply *r = in->reply;
    char room[SMTP_REPLY_TEXT_MAX], words_room[SMTP_REPLY_TEXT_MAX];
    struct slice text = lowered(r->text, room, sizeof room), words = without_addresses(text, words_room);
    const struct status_rule *status;

    *retry = false;
    for (size_t i = 0; i < COUNT(isp_rules) && in->isp.n; i++) {
        const struct isp_rule *t = &isp_rules[i];
        if (slice_eq(in->isp, slice_cstr(t->isp)) && (!t->code || t->code == r->code) &&
            (!t->subject ||
             (r->has_enhanced && t->subject == r->enhanced.subject && t->detail == r->enhanced.detail)) &&
            slice_find(text, slice_cstr(t->text)) >= 0) {
            *retry = t->retry;
            *rule = t->name;
            return t->cls;
        }
    }
    if ((status = by_status(narrow, COUNT(narrow), r))) {
        *rule = status->name;
        return status->cls;
    }
    for (size_t i = 0; i < COUNT(texts); i++)
        if (r->code >= texts[i].from && r->code <= texts[i].to &&
            has_phrase(words, slice_cstr(texts[i].text))) {
            *rule = texts[i].name;
            return texts[i].cls;
        }
    if ((status = by_status(wide, COUNT(wide), r))) {
        *rule = status->name;
        return status->cls;
    }
    for (size_t i = 0; i < COUNT(codes); i++)
        if (r->code >= codes[i].from && r->code <= codes[i].to && in->phase >= codes[i].first &&
            in->phase <= codes[i].last) {
            *rule = codes[i].name;
            return codes[i].cls;
        }
    *rule = "none";
    return CLASS_UNKNOWN;
}
