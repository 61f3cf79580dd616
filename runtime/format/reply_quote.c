/* reply_quote.c - see reply_quote.h. */
#include "format/reply_quote.h"
#include "base/err.h"

/* "smtp;", "X-Postfix;": RFC 3464 2.1.2 says which kind of code follows. */
static struct slice without_type(struct slice s)
{
    size_t n = 0;

    while (n < s.n && s.p[n] > ' ' && s.p[n] != ';' && s.p[n] != '.')
        n++;
    if (n == 0 || n == s.n || s.p[n] != ';')
        return s;
    return slice_trim(slice_of(s.p + n + 1, s.n - n - 1));
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* "550" or "550-" at the front of s: its code, else 0. */
static int code_at(struct slice s)
{
    if (s.n < 3 || (s.p[0] != '4' && s.p[0] != '5') || s.p[1] > '5' || !is_digit(s.p[1]) || !is_digit(s.p[2]))
        return 0;
    if (s.n > 3 && s.p[3] != ' ' && s.p[3] != '-' && s.p[3] != '\'' && s.p[3] != '"')
        return 0;
    return (s.p[0] - '0') * 100 + (s.p[1] - '0') * 10 + (s.p[2] - '0');
}

static struct slice behind(struct slice s, size_t n)
{
    return slice_of(s.p + n, s.n - n);
}

/* A refusal is 4 or 5; "RFC 5321 2.3.1" is none. */
static int refusal_read(struct slice s, struct smtp_enhanced *out, size_t *used)
{
    struct smtp_enhanced e;
    int rc = smtp_enhanced_read(s, &e, used);

    if (rc || e.cls == 2)
        return ERR_SYNTAX;
    *out = e;
    return 0;
}

static bool status_at(struct slice s, struct smtp_enhanced *out, size_t *used)
{
    size_t quote = 0;

    while (quote < s.n && strchr(" '\"-<(", s.p[quote]) && s.p[quote])
        quote++;
    if (refusal_read(behind(s, quote), out, used))
        return false;
    *used += quote;
    return true;
}

/* A number in the middle of a sentence is taken for a code only where somebody says it is one, or a status
 * follows it, or its line goes on: "550-". */
static bool is_said(struct slice all, size_t at)
{
    struct slice before = slice_trim(slice_of(all.p, at)), rest = behind(all, at + 3);
    struct smtp_enhanced e;
    size_t used;

    if (!before.n)
        return true;
    if (all.p[at - 1] != ' ' && !strchr("'\"(<:", all.p[at - 1]))
        return false;
    return before.p[before.n - 1] == ':' || slice_ends(before, S("<<<")) || slice_ends(before, S("said")) ||
           slice_ends(before, S(";")) || slice_starts(rest, S("-")) || status_at(rest, &e, &used);
}

static size_t find_code(struct slice s, int *code)
{
    for (size_t at = 0; at + 3 <= s.n; at++)
        if ((at == 0 || !is_digit(s.p[at - 1])) && (*code = code_at(behind(s, at))) != 0 && is_said(s, at))
            return at;
    *code = 0;
    return 0;
}

static bool is_status(struct slice word, const struct smtp_enhanced *want)
{
    struct smtp_enhanced e;
    size_t used;

    return smtp_enhanced_read(word, &e, &used) == 0 && used == word.n && memcmp(&e, want, sizeof e) == 0;
}

/* What is behind the first code. "5.1.1 No such 550-5.1.1 user 550 5.1.1 here" → "5.1.1 No such user here":
 * lines were joined with their codes. many: the first line said that more follow. */
static void add_lines(struct buf *out, struct slice s, const struct reply_quote *q, bool many)
{
    while (s.n) {
        struct slice word = slice_cut(s, ' ', &s);
        bool again = code_at(word) == q->code && (word.n == 3 ? many : word.p[3] == '-');
        if (again) {
            word = word.n > 4 ? behind(word, 4) : slice_cut(s, ' ', &s);
            if (q->has_enhanced && is_status(word, &q->enhanced))
                continue;
        }
        if (word.n) {
            buf_addc(out, ' ');
            buf_adds(out, word);
        }
    }
}

void reply_quote_read(struct slice s, struct buf *room, struct reply_quote *out)
{
    struct buf clean = {0};
    struct reply_quote q = {0};
    size_t at, used;

    smtp_text_clean(s, &clean);
    struct slice text = without_type(buf_slice(&clean));
    at = find_code(text, &q.code);
    buf_clear(room);
    if (q.code) {
        struct slice rest = behind(text, at + 3);
        bool many = slice_starts(rest, S("-"));
        q.has_enhanced = status_at(rest, &q.enhanced, &used);
        buf_printf(room, "%d", q.code);
        add_lines(room, slice_trim(behind(rest, many)), &q, many);
    } else {
        buf_adds(room, text);
    }
    for (size_t i = 0; !q.has_enhanced && i < text.n; i++)
        if (i == 0 || strchr(" (#<'\"", text.p[i - 1]))
            q.has_enhanced = refusal_read(behind(text, i), &q.enhanced, &used) == 0;
    buf_free(&clean);
    q.text = buf_slice(room);
    *out = q;
}
