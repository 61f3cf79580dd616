/* addr.c - see addr.h. */
#include "format/addr.h"
#include "format/charset.h"

#include <idn2.h>
#include <stdio.h>
#include <stdlib.h>

/* RFC 5322 3.2.3 atext. */
static const bool is_atext[256] = {
    ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1, ['!'] = 1, ['#' ... '\''] = 1,
    ['*'] = 1,         ['+'] = 1,         ['-'] = 1,         ['/'] = 1, ['='] = 1,
    ['?'] = 1,         ['^' ... '`'] = 1, ['{' ... '~'] = 1,
};

/* A value for an error text: at most some 80 bytes, controls and broken bytes as \xNN, so that a log line or
 * terminal never gets them raw. */
struct shown {
    char text[120];
};
static struct shown show(struct slice s)
{
    struct shown out;
    size_t n = 0;
    while (s.n && n < 80) {
        uint32_t cp = 0;
        int len = utf8_decode(s, &cp);
        if (len < 0 || cp_is_control(cp)) {
            n += (size_t)snprintf(out.text + n, sizeof out.text - n, "\\x%02x", (unsigned char)s.p[0]);
            len = 1;
        } else {
            memcpy(out.text + n, s.p, (size_t)len);
            n += (size_t)len;
        }
        s = slice_of(s.p + len, s.n - (size_t)len);
    }
    snprintf(out.text + n, sizeof out.text - n, "%s", s.n ? "..." : "");
    return out;
}

static struct slice trim_blanks(struct slice s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = slice_of(s.p + 1, s.n - 1);
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Blanks, joiners, marks of direction and the byte order mark: they come along when an address is copied from
 * a web page or a sheet, cannot be seen, and would make another address of it. */
static bool is_invisible(uint32_t cp)
{
    return cp == 0xa0 || cp == 0xad || cp == 0x1680 || cp == 0x180e || (cp >= 0x2000 && cp <= 0x200f) ||
           (cp >= 0x2028 && cp <= 0x202f) || (cp >= 0x205f && cp <= 0x206f) || cp == 0x3000 || cp == 0xfeff ||
           (cp >= 0xfff9 && cp <= 0xfffb) || (cp & 0xfffe) == 0xfffe;
}

/* --- domains --- */

/* Check letters, digits, hyphens and label lengths of an ASCII domain in lower case, `whole` for the text. */
static int check_ldh(struct slice d, struct slice whole, struct err *e)
{
    size_t label = 0, dots = 0;
    bool digits_only = true;
    if (d.n > ADDR_DOMAIN_MAX)
        return err_set(e, ERR_SYNTAX, "domain \"%s\" is longer than %d octets", show(whole).text,
                       ADDR_DOMAIN_MAX);
    for (size_t i = 0; i <= d.n; i++) {
        char c = i < d.n ? d.p[i] : '.';
        if (c == '.') {
            if (label == i)
                return err_set(e, ERR_SYNTAX, "domain \"%s\" %s", show(whole).text,
                               i == 0     ? "starts with a dot"
                               : i == d.n ? "ends with a dot"
                                          : "has two dots in a row");
            if (i - label > ADDR_LABEL_MAX)
                return err_set(e, ERR_SYNTAX, "domain \"%s\" has a label of more than %d octets",
                               show(whole).text, ADDR_LABEL_MAX);
            if (d.p[label] == '-' || d.p[i - 1] == '-')
                return err_set(e, ERR_SYNTAX, "domain \"%s\" has a label that starts or ends with a hyphen",
                               show(whole).text);
            if (i < d.n) {
                dots++;
                digits_only = true;
            }
            label = i + 1;
        } else if (c >= '0' && c <= '9') {
            continue;
        } else if ((c >= 'a' && c <= 'z') || c == '-') {
            digits_only = false;
        } else if (c == ' ') {
            return err_set(e, ERR_SYNTAX, "domain \"%s\" has a space in it", show(whole).text);
        } else {
            return err_set(e, ERR_SYNTAX, "domain \"%s\" has \"%s\" in it", show(whole).text,
                           show(slice_of(&c, 1)).text);
        }
    }
    if (!dots)
        return err_set(e, ERR_SYNTAX, "domain \"%s\" has no dot", show(whole).text);
    if (digits_only)
        return err_set(e, ERR_SYNTAX, "domain \"%s\" ends in a number, which no domain does",
                       show(whole).text);
    return 0;
}

static int fold_idn(struct slice d, struct arena *a, struct slice *out, struct err *e)
{
    /* A label of 63 octets in ASCII can take a few hundred in UTF-8, never this many in all. */
    if (d.n > 4 * 255)
        return err_set(e, ERR_SYNTAX, "domain \"%s\" is too long", show(d).text);
    size_t good = 0;
    while (good < d.n) {
        uint32_t cp = 0;
        int len = utf8_decode(slice_of(d.p + good, d.n - good), &cp);
        if (len < 0 || cp_is_control(cp) || is_invisible(cp))
            return err_set(e, ERR_SYNTAX, "domain \"%s\" has an invisible or broken character at byte %zu",
                           show(d).text, good + 1);
        good += (size_t)len;
    }
    char *ascii = NULL;
    int rc = idn2_to_ascii_8z(arena_copy(a, d).p, &ascii,
                              IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL | IDN2_USE_STD3_ASCII_RULES);
    if (rc != IDN2_OK)
        return err_set(e, ERR_SYNTAX, "domain \"%s\" is no internationalized name: %s", show(d).text,
                       idn2_strerror(rc));
    *out = arena_copy(a, slice_cstr(ascii));
    idn2_free(ascii);
    return 0;
}

static int fold_domain(struct slice d, struct arena *a, struct addr *out, struct err *e)
{
    if (!d.n)
        return err_set(e, ERR_SYNTAX, "nothing stands behind the @");
    if (d.p[0] == '[')
        return err_set(e, ERR_SYNTAX, "domain \"%s\" is an address literal; a name is needed", show(d).text);
    struct slice folded = d;
    if (!ascii_only(d)) {
        int rc = fold_idn(d, a, &folded, e);
        if (rc)
            return rc;
    } else {
        bool upper = false;
        for (size_t i = 0; i < d.n; i++)
            upper |= d.p[i] >= 'A' && d.p[i] <= 'Z';
        if (upper) {
            char *low = arena_alloc(a, d.n);
            for (size_t i = 0; i < d.n; i++)
                low[i] = ascii_lower(d.p[i]);
            folded = slice_of(low, d.n);
        }
    }
    int rc = check_ldh(folded, d, e);
    if (rc)
        return rc;
    out->domain = d;
    out->domain_ascii = folded;
    return 0;
}

/* --- local parts --- */

/* One character of a local part, quoted or not; its length, or a negative code with the reason in e. */
static int check_char(struct slice s, struct slice whole, struct err *e)
{
    uint32_t cp = 0;
    int len = utf8_decode(s, &cp);
    if (len < 0)
        return err_set(e, ERR_SYNTAX, "\"%s\" is not valid UTF-8", show(whole).text);
    if (cp_is_control(cp))
        return err_set(e, ERR_SYNTAX, "\"%s\" has a control character in it", show(whole).text);
    if (cp == 0xff20)
        return err_set(e, ERR_SYNTAX, "\"%s\" has a full-width \xef\xbc\xa0; the ASCII @ is needed",
                       show(whole).text);
    if (is_invisible(cp))
        return err_set(e, ERR_SYNTAX, "\"%s\" has an invisible character (U+%04X) before the @",
                       show(whole).text, (unsigned)cp);
    return len;
}

/* s is what stands between the quotes, still with its backslashes. */
static int unquote_local(struct slice s, struct slice whole, struct arena *a, struct slice *out,
                         struct err *e)
{
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n;) {
        i += s.p[i] == '\\'; /* the closing quote was found by the same rule, so a character follows */
        int len = check_char(slice_of(s.p + i, s.n - i), whole, e);
        if (len < 0)
            return len;
        memcpy(p + n, s.p + i, (size_t)len);
        n += (size_t)len;
        i += (size_t)len;
    }
    *out = slice_of(p, n);
    return 0;
}

/* Index of the quote that closes the string opened at s.p[0], or s.n. */
static size_t closing_quote(struct slice s)
{
    size_t i = 1;
    while (i < s.n && s.p[i] != '"')
        i += s.p[i] == '\\' && i + 1 < s.n ? 2 : 1;
    return i < s.n ? i : s.n;
}

static int check_bare_local(struct slice s, struct slice whole, struct err *e)
{
    for (size_t i = 0; i < s.n;) {
        unsigned char c = (unsigned char)s.p[i];
        if (is_atext[c] || c == '.') {
            i++;
            continue;
        }
        int len = check_char(slice_of(s.p + i, s.n - i), whole, e);
        if (len < 0)
            return len;
        if (c == ' ')
            return err_set(e, ERR_SYNTAX, "\"%s\" has a space in it", show(whole).text);
        if (c == '@')
            return err_set(e, ERR_SYNTAX, "\"%s\" has two @", show(whole).text);
        if (c == '(' || c == ')')
            return err_set(e, ERR_SYNTAX, "\"%s\" has a comment in it, which is not supported",
                           show(whole).text);
        if (c < 0x80)
            return err_set(e, ERR_SYNTAX, "\"%s\" has \"%c\" before the @ outside quotes", show(whole).text,
                           c);
        i += (size_t)len;
    }
    return 0;
}

static bool is_dot_atom(struct slice local)
{
    bool dot = true;
    for (size_t i = 0; i < local.n; i++) {
        unsigned char c = (unsigned char)local.p[i];
        if (c == '.' ? dot : c < 0x80 && !is_atext[c])
            return false;
        dot = c == '.';
    }
    return !dot;
}

/* whole lives in the arena, has no blanks around it. */
static int parse_spec(struct slice whole, struct arena *a, struct addr *out, struct err *e)
{
    struct addr r = {0};
    struct slice domain;
    int rc;
    if (!whole.n)
        return err_set(e, ERR_SYNTAX, "the address is empty");
    if (whole.p[0] == '"') {
        size_t end = closing_quote(whole);
        if (end == whole.n)
            return err_set(e, ERR_SYNTAX, "\"%s\" has a quote that is not closed", show(whole).text);
        if (end + 1 == whole.n || whole.p[end + 1] != '@')
            return err_set(e, ERR_SYNTAX, "\"%s\" has no @ behind the closing quote", show(whole).text);
        rc = unquote_local(slice_of(whole.p + 1, end - 1), whole, a, &r.local, e);
        domain = slice_of(whole.p + end + 2, whole.n - end - 2);
    } else {
        const char *at = memrchr(whole.p, '@', whole.n);
        if (!at) {
            rc = check_bare_local(whole, whole, e); /* a full-width @, a space: say that rather */
            return rc ? rc : err_set(e, ERR_SYNTAX, "no @ in \"%s\"", show(whole).text);
        }
        r.local = slice_of(whole.p, (size_t)(at - whole.p));
        domain = slice_of(at + 1, whole.n - r.local.n - 1);
        rc = check_bare_local(r.local, whole, e);
    }
    if (rc)
        return rc;
    if (!r.local.n)
        return err_set(e, ERR_SYNTAX, "\"%s\" has nothing before the @", show(whole).text);
    if (r.local.n > ADDR_LOCAL_MAX)
        return err_set(e, ERR_SYNTAX, "\"%s\" has more than %d octets before the @", show(whole).text,
                       ADDR_LOCAL_MAX);
    rc = fold_domain(domain, a, &r, e);
    if (rc)
        return rc;
    r.needs_quoting = !is_dot_atom(r.local);
    r.needs_smtputf8 = !ascii_only(r.local);
    *out = r;
    return 0;
}

int addr_parse(struct slice s, struct arena *a, struct addr *out, struct err *e)
{
    return parse_spec(arena_copy(a, trim_blanks(s)), a, out, e);
}

/* --- display names --- */

/* Where the name ends: index of the '<' outside quotes, or s.n. */
static size_t find_angle(struct slice s)
{
    size_t i = 0;
    while (i < s.n && s.p[i] != '<')
        i += s.p[i] == '"' ? closing_quote(slice_of(s.p + i, s.n - i)) + 1 : 1;
    return i < s.n ? i : s.n;
}

/* A phrase (RFC 5322 3.2.5) into plain text: words and quoted strings as they stand, quotes and backslashes
 * off. Dots are let through between words, as everyone writes them. */
static int parse_name(struct slice s, struct slice whole, struct arena *a, struct slice *out, struct err *e)
{
    char *p = arena_alloc(a, s.n + 1);
    size_t n = 0;
    bool quoted = false;
    for (size_t i = 0; i < s.n;) {
        char c = s.p[i];
        if (c == '"') {
            quoted = !quoted;
            i++;
            continue;
        }
        if (quoted && c == '\\' && i + 1 < s.n)
            i++;
        else if (!quoted && (c == '(' || c == ')'))
            return err_set(e, ERR_SYNTAX, "\"%s\" has a comment in it", show(whole).text);
        else if (!quoted && c && strchr("<>[]:;@\\,", c))
            return err_set(e, ERR_SYNTAX, "\"%s\" has \"%c\" in the name", show(whole).text, c);
        uint32_t cp = 0;
        int len = utf8_decode(slice_of(s.p + i, s.n - i), &cp);
        if (len < 0)
            return err_set(e, ERR_SYNTAX, "the name in \"%s\" is not valid UTF-8", show(whole).text);
        if (cp_is_control(cp))
            return err_set(e, ERR_SYNTAX, "the name in \"%s\" has a control character in it",
                           show(whole).text);
        memcpy(p + n, s.p + i, (size_t)len);
        n += (size_t)len;
        i += (size_t)len;
    }
    if (quoted)
        return err_set(e, ERR_SYNTAX, "the name in \"%s\" has a quote that is not closed", show(whole).text);
    if (n > ADDR_NAME_MAX)
        return err_set(e, ERR_SYNTAX, "the name in \"%s\" is longer than %d octets", show(whole).text,
                       ADDR_NAME_MAX);
    *out = trim_blanks(slice_of(p, n));
    return 0;
}

/* s as RFC 5322 3.4 has it. */
static int parse_mailbox(struct slice s, struct arena *a, struct mailbox *out, struct err *e)
{
    struct mailbox r = {.name = SLICE_NONE};
    size_t angle = find_angle(s);
    if (angle == s.n) {
        int rc = parse_spec(s, a, &r.addr, e);
        if (rc)
            return rc;
        *out = r;
        return 0;
    }
    if (s.p[s.n - 1] != '>')
        return err_set(e, ERR_SYNTAX, "\"%s\" does not end with >", show(s).text);
    int rc = parse_name(trim_blanks(slice_of(s.p, angle)), s, a, &r.name, e);
    if (rc)
        return rc;
    rc = parse_spec(slice_of(s.p + angle + 1, s.n - angle - 2), a, &r.addr, e);
    if (rc)
        return rc;
    *out = r;
    return 0;
}

/* Anything, then <address>: the name is what a person wrote or a column held, such as "Yamada, Taro". */
static bool take_name_as_it_is(struct slice s, struct arena *a, struct mailbox *out)
{
    struct mailbox r;
    const char *angle = s.n && s.p[s.n - 1] == '>' ? memrchr(s.p, '<', s.n) : NULL;
    if (!angle || parse_spec(slice_of(angle + 1, (size_t)(s.p + s.n - angle) - 2), a, &r.addr, NULL))
        return false;
    r.name = trim_blanks(slice_of(s.p, (size_t)(angle - s.p)));
    for (size_t i = 0; i < r.name.n;) {
        uint32_t cp;
        int len = utf8_decode(slice_of(r.name.p + i, r.name.n - i), &cp);
        if (len < 0 || cp_is_control(cp))
            return false;
        i += (size_t)len;
    }
    if (r.name.n > ADDR_NAME_MAX)
        return false;
    *out = r;
    return true;
}

int addr_parse_mailbox(struct slice s, struct arena *a, struct mailbox *out, struct err *e)
{
    struct err why;
    s = arena_copy(a, trim_blanks(s));
    int rc = parse_mailbox(s, a, out, &why);
    if (!rc || take_name_as_it_is(s, a, out))
        return 0;
    if (e)
        *e = why;
    return rc;
}

/* --- writing --- */

void addr_dup_key(struct buf *out, const struct addr *a)
{
    buf_reserve(out, a->local.n + 1 + a->domain_ascii.n);
    for (size_t i = 0; i < a->local.n; i++)
        buf_addc(out, ascii_lower(a->local.p[i]));
    buf_addc(out, '@');
    buf_adds(out, a->domain_ascii);
}

/* Dots in odd places are all that keeps the bare form from being a dot-atom. */
static bool can_be_bare(struct slice local)
{
    for (size_t i = 0; i < local.n; i++) {
        unsigned char c = (unsigned char)local.p[i];
        if (c < 0x80 && c != '.' && !is_atext[c])
            return false;
    }
    return true;
}

void addr_smtp(struct buf *out, const struct addr *a, enum addr_form form)
{
    if (!a->needs_quoting || (form == ADDR_RAW && can_be_bare(a->local))) {
        buf_adds(out, a->local);
    } else {
        buf_addc(out, '"');
        for (size_t i = 0; i < a->local.n; i++) {
            if (a->local.p[i] == '"' || a->local.p[i] == '\\')
                buf_addc(out, '\\');
            buf_addc(out, a->local.p[i]);
        }
        buf_addc(out, '"');
    }
    buf_addc(out, '@');
    buf_adds(out, ascii_only(a->domain) ? a->domain : a->domain_ascii);
}
