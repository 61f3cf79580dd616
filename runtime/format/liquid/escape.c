/* escape.c - values made safe for the place in which they are printed. */
#include "format/liquid/internal.h"

static const char *entity(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    }
    return NULL;
}

/* The five characters that entity() knows. */
static const bool special[256] = {['&'] = true, ['<'] = true, ['>'] = true, ['"'] = true, ['\''] = true};

/* Escape all but the bytes for which keep says so; runs of plain bytes go in one piece. */
static void escape(struct buf *out, struct slice s, bool (*keep)(struct slice s, size_t at))
{
    size_t from = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (!special[(unsigned char)s.p[i]] || (keep && keep(s, i)))
            continue;
        const char *e = entity(s.p[i]);
        buf_add(out, s.p + from, i - from);
        buf_add(out, e, strlen(e));
        from = i + 1;
    }
    buf_add(out, s.p + from, s.n - from);
}

void escape_html(struct buf *out, struct slice s)
{
    escape(out, s, NULL);
}

static bool letter(char c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

static bool digit(char c)
{
    return c >= '0' && c <= '9';
}

/* &name; and &#123; are entities already. */
static bool is_entity(struct slice s, size_t at)
{
    if (s.p[at] != '&')
        return false;
    size_t i = at + 1, start = i;
    if (i < s.n && s.p[i] == '#') {
        for (start = ++i; i < s.n && digit(s.p[i]); i++)
            ;
    } else
        for (; i < s.n && letter(s.p[i]); i++)
            ;
    return i > start && i < s.n && s.p[i] == ';';
}

void escape_html_once(struct buf *out, struct slice s)
{
    escape(out, s, is_entity);
}

static bool is_ampersand(struct slice s, size_t at)
{
    return s.p[at] == '&';
}

static void percent(struct buf *out, char c)
{
    static const char hex[] = "0123456789ABCDEF";
    char three[3] = {'%', hex[(unsigned char)c >> 4], hex[(unsigned char)c & 15]};
    buf_add(out, three, sizeof three);
}

/* RFC 3986 2.3 */
static bool unreserved(char c)
{
    return letter(c) || digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

void escape_query(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (unreserved(s.p[i]))
            buf_addc(out, s.p[i]);
        else if (s.p[i] == ' ')
            buf_addc(out, '+');
        else
            percent(out, s.p[i]);
}

/* One character of HTML text: our own five entities are read back. */
static char next_char(struct slice s, size_t *at, bool is_html)
{
    static const char marks[] = "&<>\"'";
    if (is_html && s.p[*at] == '&')
        for (const char *m = marks; *m; m++) {
            struct slice e = slice_cstr(entity(*m));
            if (slice_starts(slice_of(s.p + *at, s.n - *at), e)) {
                *at += e.n;
                return *m;
            }
        }
    return s.p[(*at)++];
}

bool escape_is_link(struct slice s)
{
    static const struct slice schemes[] = {{"http:", 5}, {"https:", 6}, {"mailto:", 7}, {"tel:", 4}};
    s = slice_trim(s);
    for (size_t i = 0; i < COUNT(schemes); i++)
        if (slice_istarts(s, schemes[i]))
            return true;
    return false;
}

/* RFC 3986 2.2, and % because the value is a URL that may be encoded already. */
static void add_url(struct buf *out, struct slice s, bool is_html)
{
    s = slice_trim(s);
    for (size_t i = 0; i < s.n;) {
        char c = next_char(s, &i, is_html);
        if (c == '&')
            buf_adds(out, S("&amp;"));
        else if (c == '\'')
            buf_adds(out, S("&#39;"));
        else if (unreserved(c) || (c && strchr(":/?#[]@!$()*+,;=%", c)))
            buf_addc(out, c);
        else
            percent(out, c);
    }
}

int escape_value(struct buf *out, enum esc esc, int flags, bool is_html, struct slice s)
{
    switch (esc) {
    case ESC_NONE:
        buf_adds(out, s);
        return 0;
    case ESC_HTML:
    case ESC_ATTRIBUTE:
        if ((flags & (OUT_DONE | OUT_URL_DONE)) || (is_html && esc == ESC_HTML))
            buf_adds(out, s);
        else /* HTML may carry quotes of its own; its entities stay */
            escape(out, s, is_html ? is_ampersand : NULL);
        return 0;
    case ESC_URL_START:
        if (!escape_is_link(s))
            return ERR_INVAL;
        add_url(out, s, is_html || (flags & OUT_DONE));
        return 0;
    case ESC_URL_PART:
        if (flags & (OUT_DONE | OUT_URL_DONE)) {
            buf_adds(out, s);
            return 0;
        }
        for (size_t i = 0; i < s.n;) {
            char c = next_char(s, &i, is_html);
            if (unreserved(c))
                buf_addc(out, c);
            else
                percent(out, c);
        }
        return 0;
    }
    return 0;
}
