/* lex.c - cuts a template into text, outputs and tags, and what stands in their braces into tokens. */
#include "format/liquid/compile.h"

static bool word_char(char c)
{
    return (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

static struct slice sub(struct slice s, size_t from, size_t to)
{
    return slice_of(s.p + from, to > from ? to - from : 0);
}

static struct slice strip_left(struct slice s)
{
    while (s.n && value_is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    return s;
}

static struct slice strip_right(struct slice s)
{
    while (s.n && value_is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* name and the rest of a tag: {% name markup %} without the braces. */
static bool cut_name(struct slice inner, struct tok *t)
{
    inner = strip_left(inner);
    size_t n = 0;
    if (inner.n && inner.p[0] == '#')
        n = 1;
    else
        while (n < inner.n && word_char(inner.p[n]))
            n++;
    t->name = sub(inner, 0, n);
    t->markup = strip_left(sub(inner, n, inner.n));
    return n > 0;
}

/* Where a tag or output that begins at `at` ends, or 0. A single } ends an output too (and is then an error),
 * and {{ ... {% ... %} is one piece: so Liquid has always cut. */
static size_t piece_end(struct slice s, size_t at)
{
    if (s.p[at + 1] == '%') {
        ptrdiff_t close = slice_find(sub(s, at + 2, s.n), S("%}"));
        return close < 0 ? 0 : at + 2 + (size_t)close + 2;
    }
    for (size_t i = at + 2; i < s.n; i++) {
        if (s.p[i] == '}')
            return i + 1 < s.n && s.p[i + 1] == '}' ? i + 2 : i + 1;
        if (s.p[i] == '{' && i + 1 < s.n && s.p[i + 1] == '%') {
            ptrdiff_t close = slice_find(sub(s, i + 2, s.n), S("%}"));
            return close < 0 ? 0 : i + 2 + (size_t)close + 2;
        }
    }
    return 0;
}

static size_t next_open(struct slice s, size_t from)
{
    while (from < s.n) {
        const char *brace = memchr(s.p + from, '{', s.n - from);
        if (!brace)
            return s.n;
        from = (size_t)(brace - s.p);
        if (from + 1 < s.n && (s.p[from + 1] == '{' || s.p[from + 1] == '%'))
            return from;
        from++;
    }
    return s.n;
}

static int read_line(struct reader *r, struct tok *t, const char **why)
{
    while (r->at < r->s.n) {
        struct slice rest, line = slice_cut(sub(r->s, r->at, r->s.n), '\n', &rest);
        r->at = (size_t)(rest.p - r->s.p);
        line = strip_right(strip_left(line));
        if (!line.n)
            continue;
        *t = (struct tok){.kind = TOK_TAG, .whole = line};
        if (cut_name(line, t))
            return 0;
        *why = "this line of a liquid tag begins with no tag";
        return ERR_SYNTAX;
    }
    *t = (struct tok){.kind = TOK_END, .whole = sub(r->s, r->s.n, r->s.n)};
    return 0;
}

int token_read(struct reader *r, struct tok *t, const char **why)
{
    struct slice s = r->s;
    if (r->lines)
        return read_line(r, t, why);
    size_t open = next_open(s, r->at);
    *t = (struct tok){.whole = sub(s, r->at, open)};
    if (open > r->at || open == s.n) {
        t->kind = open > r->at ? TOK_TEXT : TOK_END;
        t->markup = r->trim ? strip_left(t->whole) : t->whole;
        if (open + 2 < s.n && s.p[open + 2] == '-')
            t->markup = strip_right(t->markup);
        r->trim = false;
        r->at = open;
        return 0;
    }
    size_t end = piece_end(s, open);
    bool output = s.p[open + 1] == '{';
    t->kind = output ? TOK_OUTPUT : TOK_TAG;
    t->whole = sub(s, open, end ? end : s.n);
    if (!end || !slice_ends(t->whole, output ? S("}}") : S("%}")) || t->whole.n < 4) {
        *why = output ? "{{ is not closed by }}" : "{% is not closed by %}";
        return ERR_SYNTAX;
    }
    r->at = end;
    size_t from = open + 2, to = end - 2;
    r->trim = s.p[to - 1] == '-';
    if (s.p[from] == '-')
        from++;
    if (to > from && s.p[to - 1] == '-')
        to--;
    t->markup = sub(s, from, to);
    if (!output && !cut_name(t->markup, t)) {
        *why = "{% %} names no tag";
        return ERR_SYNTAX;
    }
    return 0;
}

int token_read_raw(struct reader *r, struct slice name, struct slice *body)
{
    struct slice s = r->s;
    size_t start = r->at;
    for (size_t at = start; !r->lines && at < s.n;) {
        ptrdiff_t open = slice_find(sub(s, at, s.n), S("{%"));
        if (open < 0)
            break;
        size_t i = at + (size_t)open, from = i;
        at = i + 2;
        i += 2;
        if (i < s.n && s.p[i] == '-')
            i++;
        while (i < s.n && value_is_space(s.p[i]))
            i++;
        struct slice rest = sub(s, i, s.n);
        if (!slice_starts(rest, S("end")) || !slice_starts(sub(rest, 3, rest.n), name) ||
            (3 + name.n < rest.n && word_char(rest.p[3 + name.n])))
            continue;
        ptrdiff_t close = slice_find(rest, S("%}"));
        if (close < 0)
            break;
        *body = sub(s, start, from);
        r->at = i + (size_t)close + 2;
        r->trim = s.p[r->at - 3] == '-';
        return 0;
    }
    return ERR_SYNTAX;
}

/* --- inside the braces --- */

void lex_begin(struct lexer *l, struct slice markup)
{
    *l = (struct lexer){.s = markup};
    lex_next(l);
    l->end_of_last = 0;
}

static void found(struct lexer *l, enum lex kind, size_t n)
{
    l->kind = kind;
    l->text = sub(l->s, l->at, l->at + n);
    l->at += n;
}

static size_t number_length(struct slice s)
{
    size_t i = s.p[0] == '-';
    while (i < s.n && digit(s.p[i]))
        i++;
    if (i + 1 < s.n && s.p[i] == '.' && digit(s.p[i + 1]))
        for (i++; i < s.n && digit(s.p[i]); i++)
            ;
    return i;
}

static void lex_mark(struct lexer *l, struct slice rest)
{
    static const struct {
        struct slice text;
        enum lex kind;
    } marks[] = {{{"==", 2}, LEX_COMPARE},     {{"!=", 2}, LEX_COMPARE}, {{"<>", 2}, LEX_COMPARE},
                 {{"<=", 2}, LEX_COMPARE},     {{">=", 2}, LEX_COMPARE}, {{"<", 1}, LEX_COMPARE},
                 {{">", 1}, LEX_COMPARE},      {{"..", 2}, LEX_DOTS},    {{"|", 1}, LEX_PIPE},
                 {{".", 1}, LEX_DOT},          {{":", 1}, LEX_COLON},    {{",", 1}, LEX_COMMA},
                 {{"(", 1}, LEX_OPEN},         {{")", 1}, LEX_CLOSE},    {{"[", 1}, LEX_OPEN_SQUARE},
                 {{"]", 1}, LEX_CLOSE_SQUARE}, {{"-", 1}, LEX_DASH},     {{"=", 1}, LEX_ASSIGN}};
    for (size_t i = 0; i < COUNT(marks); i++)
        if (slice_starts(rest, marks[i].text)) {
            found(l, marks[i].kind, marks[i].text.n);
            return;
        }
    found(l, LEX_BAD, value_skip_chars(rest, 1));
}

void lex_next(struct lexer *l)
{
    l->end_of_last = l->at;
    while (l->at < l->s.n && value_is_space(l->s.p[l->at]))
        l->at++;
    struct slice rest = sub(l->s, l->at, l->s.n);
    if (!rest.n) {
        found(l, LEX_END, 0);
        return;
    }
    char c = rest.p[0];
    if (c == '\'' || c == '"') {
        const char *close = memchr(rest.p + 1, c, rest.n - 1);
        if (!close)
            found(l, LEX_BAD, rest.n);
        else
            found(l, LEX_STRING, (size_t)(close - rest.p) + 1);
    } else if (digit(c) || (c == '-' && rest.n > 1 && digit(rest.p[1])))
        found(l, LEX_NUMBER, number_length(rest));
    else if (word_char(c)) {
        size_t n = 1;
        while (n < rest.n && (word_char(rest.p[n]) || rest.p[n] == '-'))
            n++;
        if (n < rest.n && rest.p[n] == '?')
            n++;
        found(l, LEX_ID, n);
        if (slice_eq(l->text, S("contains")))
            l->kind = LEX_COMPARE;
    } else
        lex_mark(l, rest);
}

bool lex_take(struct lexer *l, enum lex kind)
{
    if (l->kind != kind)
        return false;
    lex_next(l);
    return true;
}

bool lex_word(struct lexer *l, const char *word)
{
    if (l->kind != LEX_ID || !slice_eq(l->text, slice_cstr(word)))
        return false;
    lex_next(l);
    return true;
}
