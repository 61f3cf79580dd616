/* clues.c - see finding.h. */
#include "format/returned/finding.h"
#include "format/charset.h"

ptrdiff_t ifind(struct slice s, const char *needle)
{
    size_t n = strlen(needle);

    for (size_t i = 0; i + n <= s.n; i++) {
        size_t k = 0;
        while (k < n && ascii_lower(s.p[i + k]) == needle[k])
            k++;
        if (k == n)
            return (ptrdiff_t)i;
    }
    return -1;
}

/* --- findings --- */

struct finding finding_of_nobody(void)
{
    return (struct finding){.address = SLICE_NONE,
                            .original = SLICE_NONE,
                            .text = SLICE_NONE,
                            .remote_mta = SLICE_NONE,
                            .category = SLICE_NONE,
                            .phase = RETURNED_PHASE_UNKNOWN};
}

struct finding *findings_of(struct findings *f, struct slice address)
{
    for (size_t i = 0; i < f->n; i++)
        if (address_same(f->v[i].address, address))
            return &f->v[i];
    return NULL;
}

void findings_add(struct findings *f, struct slice address)
{
    if (f->n == RETURNED_RECIPIENTS_MAX || findings_of(f, address))
        return;
    f->v[f->n] = finding_of_nobody();
    f->v[f->n++].address = address;
}

/* --- addresses --- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

/* RFC 5322 atext and the dot; '/' and '|' stand before addresses in pipes and paths more often than in them.
 */
static bool is_local(char c)
{
    return is_alnum(c) || (c && strchr(".!#$%&*+-=?^_{}~/", c));
}

static bool is_domain(char c)
{
    return is_alnum(c) || c == '.' || c == '-';
}

bool address_next(struct slice s, size_t *at, struct slice *address)
{
    for (size_t i = *at; i < s.n; i++) {
        if (s.p[i] != '@')
            continue;
        size_t from = i, to = i + 1;
        bool angle = false;
        if (from > 1 && s.p[from - 1] == '"') { /* "john doe"@example.jp */
            size_t q = from - 1;
            while (q > 0 && from - q < 66 && s.p[q - 1] != '"' && s.p[q - 1] != '\n')
                q--;
            if (q > 0 && s.p[q - 1] == '"' && q < from - 1)
                from = q - 1;
        } else {
            while (from > *at && (is_local(s.p[from - 1]) || (unsigned char)s.p[from - 1] >= 0x80))
                from--;
            angle = from > 0 && (s.p[from - 1] == '<' || s.p[from - 1] == ':');
            if (!angle) { /* UTF-8 is of the address between brackets only: text may touch it from either side
                           */
                size_t plain = i;
                while (plain > from && is_local(s.p[plain - 1]))
                    plain--;
                from = plain;
            }
            while (from < i && (s.p[from] == '/' || (s.p[from] == '=' && s.p[from + 1] != '?')))
                from++; /* a path or RCPT= before it; =?utf-8?b?...?= is somebody's name */
        }
        while (to < s.n && (is_domain(s.p[to]) || (angle && (unsigned char)s.p[to] >= 0x80)))
            to++;
        while (to > i + 1 && (s.p[to - 1] == '.' || s.p[to - 1] == '-'))
            to--;
        if (from == i || to == i + 1 || i - from > 128 || to - i > 254 || !memchr(s.p + i, '.', to - i) ||
            s.p[i + 1] == '.')
            continue;
        *address = slice_of(s.p + from, to - from);
        *at = to;
        return true;
    }
    *at = s.n;
    return false;
}

bool address_same(struct slice a, struct slice b)
{
    return a.n && slice_ieq(a, b);
}

static int hex_digit(char c)
{
    c = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What was encoded for transport: \x{3042} (RFC 6533 3) for any character, and of RFC 3461's xtext +2B and
 * +3D, which stand for the characters that xtext itself has to encode. Other "+20" may be a tag of the
 * person's own. A mail gateway to X.400 writes user(a)domain. */
static struct slice unwrap(struct slice s, struct arena *a)
{
    struct buf b = {0};

    for (size_t i = 0; i < s.n;) {
        if (s.p[i] == '\\' && i + 4 < s.n && ascii_lower(s.p[i + 1]) == 'x' && s.p[i + 2] == '{') {
            uint32_t cp = 0;
            size_t k = i + 3;
            while (k < s.n && k < i + 9 && hex_digit(s.p[k]) >= 0)
                cp = cp * 16 + (uint32_t)hex_digit(s.p[k++]);
            if (k < s.n && s.p[k] == '}' && cp > 0x20 && cp <= 0x10ffff && !cp_is_control(cp) &&
                (cp < 0xd800 || cp >= 0xe000)) {
                char bytes[4];
                buf_add(&b, bytes, utf8_encode(cp, bytes));
                i = k + 1;
                continue;
            }
        }
        if (slice_istarts(slice_of(s.p + i, s.n - i), S("+2B")) ||
            slice_istarts(slice_of(s.p + i, s.n - i), S("+3D"))) {
            buf_addc(&b, ascii_lower(s.p[i + 2]) == 'b' ? '+' : '=');
            i += 3;
        } else if (slice_istarts(slice_of(s.p + i, s.n - i), S("(a)"))) {
            buf_addc(&b, '@');
            i += 3;
        } else {
            buf_addc(&b, s.p[i++]);
        }
    }
    struct slice r = arena_copy(a, buf_slice(&b));
    buf_free(&b);
    return r;
}

struct slice address_of_field(struct slice value, struct arena *a)
{
    struct slice rest, type = slice_cut(value, ';', &rest), address;
    size_t at = 0;
    bool typed = rest.n && type.n < 32 && !memchr(type.p, '@', type.n);

    value = unwrap(typed ? slice_trim(rest) : slice_trim(value), a);
    ptrdiff_t x400 = ifind(value, "rfc-822=");
    if (x400 >= 0)
        at = (size_t)x400 + 8;
    /* With nothing around it the whole field is the address, UTF-8 too. */
    if (value.n && value.p[0] != '<' && !memchr(value.p, ' ', value.n) && x400 < 0 && !ascii_only(value)) {
        char *angle = arena_printf(a, "<%.*s>", SLICE_FMT(value));
        value = slice_cstr(angle);
    }
    return address_next(value, &at, &address) ? address : SLICE_NONE;
}

/* --- replies --- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "5.1.1", not a piece of an IP address, a date or a version. */
static size_t status_at(struct slice s, size_t i, struct smtp_enhanced *out)
{
    size_t used;
    struct slice rest = slice_of(s.p + i, s.n - i);

    if (rest.n < 5 || !strchr("245", rest.p[0]) || !rest.p[0] || rest.p[1] != '.')
        return 0;
    if (i > 0 && (is_alnum(s.p[i - 1]) || s.p[i - 1] == '.' || s.p[i - 1] == '/' || s.p[i - 1] == '_'))
        return 0;
    if (smtp_enhanced_read(rest, out, &used))
        return 0;
    if (used < rest.n &&
        (is_alnum(rest.p[used]) || (rest.p[used] == '.' && used + 1 < rest.n && is_digit(rest.p[used + 1]))))
        return 0;
    return used;
}

/* How much text before position i looks as if a reply followed. */
static int lead_score(struct slice s, size_t i)
{
    while (i > 0 && (s.p[i - 1] == ' ' || s.p[i - 1] == '\t'))
        i--;
    if (i == 0 || s.p[i - 1] == '\n')
        return 3;
    struct slice before = slice_of(s.p, i);
    if (slice_ends(before, S("<<<"))) /* sendmail sums up below what the server answered */
        return 8;
    if (slice_ends(before, S("said:")) || slice_ends(before, S("reply:")) ||
        slice_ends(before, S("response:")))
        return 4;
    switch (s.p[i - 1]) {
    case ':':
    case '#':
    case '\'':
    case '"':
    case '(':
    case '>':
    case '[':
    case ';':
        return 2;
    default:
        return slice_ends(before, S("ode")) ? 3 : 0; /* "code", "ResponseCode" */
    }
}

bool reply_find(struct slice s, struct reply_clue *out)
{
    int best = 0;
    struct reply_clue lone = {0};
    bool lone_found = false;

    *out = (struct reply_clue){0};
    for (size_t i = 0; i + 3 <= s.n; i++) {
        char c = s.p[i];
        struct smtp_enhanced enhanced;
        if (c != '4' && c != '5' && c != '2')
            continue;
        if (!lone_found && c != '2' && status_at(s, i, &enhanced)) {
            lone = (struct reply_clue){.has_enhanced = true, .enhanced = enhanced, .at = i};
            lone_found = true;
        }
        if (c == '2' || !is_digit(s.p[i + 1]) || s.p[i + 1] > '7' || !is_digit(s.p[i + 2]))
            continue;
        if (i > 0 && (is_alnum(s.p[i - 1]) || strchr("./-_@,=", s.p[i - 1])))
            continue;
        if (i + 3 < s.n && (is_alnum(s.p[i + 3]) || strchr("./_@%", s.p[i + 3])) && s.p[i + 3])
            continue;
        int score = lead_score(s, i) + (i + 3 < s.n && s.p[i + 3] == '-');
        size_t next = i + 3;
        while (next < s.n && next < i + 16 && (strchr(" -:#([<,'\"", s.p[next]) && s.p[next]))
            next++;
        struct reply_clue clue = {.code = (s.p[i] - '0') * 100 + (s.p[i + 1] - '0') * 10 + (s.p[i + 2] - '0'),
                                  .at = i};
        if (next < s.n && status_at(s, next, &clue.enhanced)) {
            clue.has_enhanced = true;
            score += 3;
        }
        if (score > best) {
            best = score;
            *out = clue;
        }
    }
    if (best == 0) {
        *out = lone;
        return lone_found;
    }
    if (!out->has_enhanced && lone_found) {
        out->has_enhanced = true;
        out->enhanced = lone.enhanced;
    }
    return true;
}

/* --- phases --- */

int phase_find(struct slice s)
{
    /* What comes after these words names the command... */
    static const char *const leads[] = {
        "in reply to ", "in response to ", " after ",    "response to the ", "like our ", ">>> ",
        "smtp command", "during ",         "following ", "command: ",        "state ",    " server for "};
    /* ... and these are the commands. Longest first where one begins another. */
    static const struct {
        const char *word;
        enum smtp_phase phase;
    } commands[] = {
        {"pipelined rcpt to", SMTP_PHASE_RCPT},
        {"pipelined mail from", SMTP_PHASE_MAIL},
        {"pipelined end of data", SMTP_PHASE_EOD},
        {"pipelined data", SMTP_PHASE_DATA},
        {"end of data", SMTP_PHASE_EOD},
        {"final data", SMTP_PHASE_EOD},
        {"message data", SMTP_PHASE_EOD},
        {"sending data", SMTP_PHASE_EOD},
        {"i sent the message", SMTP_PHASE_EOD},
        {"sending message", SMTP_PHASE_EOD},
        {"text command", SMTP_PHASE_EOD},
        {"end of message", SMTP_PHASE_EOD},
        {"final .", SMTP_PHASE_EOD},
        {"dot", SMTP_PHASE_EOD},
        {"bdat", SMTP_PHASE_EOD},
        {"rcpt", SMTP_PHASE_RCPT},
        {"mail from", SMTP_PHASE_MAIL},
        {"mail command", SMTP_PHASE_MAIL},
        {"data", SMTP_PHASE_DATA},
        {"ehlo", SMTP_PHASE_EHLO},
        {"helo", SMTP_PHASE_EHLO},
        {"starttls", SMTP_PHASE_STARTTLS},
        {"initial connection", SMTP_PHASE_BANNER},
        {"banner", SMTP_PHASE_BANNER},
        {"greeting", SMTP_PHASE_BANNER},
        {"auth", SMTP_PHASE_AUTH},
        {"connect", SMTP_PHASE_CONNECT},
    };

    /* qmail, Yahoo and gateways tell the step in words of their own. */
    static const struct {
        const char *words;
        enum smtp_phase phase;
    } told[] = {{"refused to talk to me", SMTP_PHASE_BANNER},
                {"but greeting failed", SMTP_PHASE_BANNER},
                {"but my name was rejected", SMTP_PHASE_EHLO},
                {"but sender was rejected", SMTP_PHASE_MAIL},
                {"does not like recipient", SMTP_PHASE_RCPT},
                {"don't like recipient", SMTP_PHASE_RCPT},
                {"failed on data command", SMTP_PHASE_DATA},
                {"[rcpt_to", SMTP_PHASE_RCPT},
                {"[mail_from", SMTP_PHASE_MAIL},
                {"[data]", SMTP_PHASE_DATA},
                {"[final_data", SMTP_PHASE_EOD},
                {"smtp:rcpt", SMTP_PHASE_RCPT},
                {"smtp:mail", SMTP_PHASE_MAIL},
                {"smtp:data", SMTP_PHASE_DATA},
                {"rcpt to response", SMTP_PHASE_RCPT},
                {"mail from response", SMTP_PHASE_MAIL},
                {"for rcpt to command", SMTP_PHASE_RCPT},
                {"rcpt to generated", SMTP_PHASE_RCPT},
                {"mail from generated", SMTP_PHASE_MAIL},
                {"data generated following", SMTP_PHASE_DATA},
                {"while sending rcpt to", SMTP_PHASE_RCPT},
                {"while sending mail from", SMTP_PHASE_MAIL},
                {"while sending end of data", SMTP_PHASE_EOD},
                {"while sending message body", SMTP_PHASE_EOD},
                {"while sending data command", SMTP_PHASE_DATA}};

    for (size_t i = 0; i < COUNT(told); i++)
        if (ifind(s, told[i].words) >= 0)
            return told[i].phase;
    if (slice_starts(s, S("connect to ")) || ifind(s, ": connect to ") >= 0)
        return SMTP_PHASE_CONNECT;
    /* Gmail numbers the steps of its sessions. */
    ptrdiff_t state = ifind(s, "(state ");
    if (state >= 0) {
        struct slice digits = slice_of(s.p + state + 7, s.n - (size_t)state - 7);
        uint64_t n;
        if (slice_u64(slice_cut(digits, ')', &digits), &n) == 0)
            return n == 9               ? SMTP_PHASE_MAIL
                   : n >= 13 && n <= 14 ? SMTP_PHASE_RCPT
                   : n >= 15 && n <= 18 ? SMTP_PHASE_EOD
                                        : RETURNED_PHASE_UNKNOWN;
    }
    for (size_t l = 0; l < COUNT(leads); l++) {
        struct slice rest = s;
        ptrdiff_t at;
        while ((at = ifind(rest, leads[l])) >= 0) {
            size_t skip = (size_t)at + strlen(leads[l]);
            rest = slice_of(rest.p + skip, rest.n - skip);
            struct slice word = slice_trim(rest);
            if (slice_istarts(word, S("the ")))
                word = slice_of(word.p + 4, word.n - 4);
            while (word.n && (word.p[0] == '(' || word.p[0] == '"'))
                word = slice_of(word.p + 1, word.n - 1);
            for (size_t c = 0; c < COUNT(commands); c++) {
                size_t n = strlen(commands[c].word);
                if (slice_istarts(word, slice_cstr(commands[c].word)) &&
                    (word.n == n || !is_alnum(word.p[n])))
                    return commands[c].phase;
            }
        }
    }
    /* The command itself stands beside the answer: "Sent <<< RCPT TO:<a@example.jp>". */
    return ifind(s, "rcpt to:<") >= 0     ? SMTP_PHASE_RCPT
           : ifind(s, "rcpt to: <") >= 0  ? SMTP_PHASE_RCPT
           : ifind(s, "mail from:<") >= 0 ? SMTP_PHASE_MAIL
                                          : RETURNED_PHASE_UNKNOWN;
}
