/* decode.c - see decode.h. */
#include "format/returned/decode.h"
#include "format/charset.h"

#include <errno.h>
#include <iconv.h>

/* --- charsets --- */

/* Valid UTF-8 without control characters but LF and TAB; CR LF and CR become LF. */
static void add_clean(struct buf *out, struct slice s, size_t limit)
{
    while (s.n && out->n < limit) {
        uint32_t cp;
        int n = utf8_decode(s, &cp);

        if (n <= 0) {
            buf_addc(out, '?');
            n = 1;
        } else if (cp == '\r') {
            buf_addc(out, '\n');
            if (s.n > 1 && s.p[1] == '\n')
                n = 2;
        } else if (cp == '\n' || cp == '\t') {
            buf_addc(out, (char)cp);
        } else if (cp_is_control(cp) || cp == 0xa0 || cp == 0x3000) {
            buf_addc(out, ' ');
        } else if (cp != 0xfeff && cp != 0x200b) { /* a byte order mark, a zero width space */
            buf_add(out, s.p, (size_t)n);
        }
        s.p += n;
        s.n -= (size_t)n;
    }
}

/* Convert all of s; a byte that is no character becomes '?'. False: iconv does not know the charset. */
static bool convert(struct slice s, const char *from, size_t limit, struct buf *out, size_t *bad)
{
    iconv_t cd = iconv_open("UTF-8", from);

    if (cd == (iconv_t)-1)
        return false;
    char *in = (char *)s.p;
    size_t left = s.n;
    *bad = 0;
    while (left && out->n < limit) {
        buf_reserve(out, 4096);
        char *to = out->p + out->n;
        size_t room = out->cap - out->n;
        size_t r = iconv(cd, &in, &left, &to, &room);
        out->n = (size_t)(to - out->p);
        if (r != (size_t)-1 || errno == E2BIG)
            continue;
        if (errno == EINVAL)
            break; /* cut inside a character */
        buf_addc(out, '?');
        ++*bad;
        in++;
        left--;
    }
    iconv_close(cd);
    return true;
}

/* ISO-2022-JP into EUC-JP with Microsoft's rows: the two differ in the eighth bit and the escapes, and glibc
 * has the NEC and IBM rows (① ㈱ 髙) for EUC-JP alone. */
static struct slice iso2022jp_to_euc(struct slice s, struct arena *a)
{
    struct buf out = {0};
    enum { ASCII, KANJI, KANA } set = ASCII;

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == 0x1b && i + 2 < s.n) {
            char x = s.p[i + 1], y = s.p[i + 2];
            if (x == '$' && (y == 'B' || y == '@')) {
                set = KANJI;
                i += 2;
                continue;
            }
            if (x == '$' && y == '(' &&
                i + 3 < s.n) { /* JIS X 0212 and others: as kanji, better than noise */
                set = KANJI;
                i += 3;
                continue;
            }
            if (x == '(') {
                set = y == 'I' ? KANA : ASCII;
                i += 2;
                continue;
            }
        }
        if (c == '\n')
            set = ASCII; /* RFC 1468: a line begins in ASCII; text cut in the middle recovers here */
        if (set == KANJI && c >= 0x21 && c < 0x7f) {
            buf_addc(&out, (char)(c | 0x80));
        } else if (set == KANA && c >= 0x21 && c < 0x60) {
            buf_addc(&out, (char)0x8e);
            buf_addc(&out, (char)(c | 0x80));
        } else {
            buf_addc(&out, (char)c);
        }
    }
    struct slice r = arena_copy(a, buf_slice(&out));
    buf_free(&out);
    return r;
}

static bool has_jis_escape(struct slice s)
{
    return slice_find(s, S("\x1b$B")) >= 0 || slice_find(s, S("\x1b$@")) >= 0;
}

/* Bytes that are no UTF-8 and have no name: of the encodings that leave nothing over the one that says kanji
 * with fewest characters; Windows-1252 where none fits. */
static const char *guess(struct slice s)
{
    static const char *const names[] = {"CP932", "EUC-JP-MS"};
    const char *best = "WINDOWS-1252";
    size_t best_n = SIZE_MAX, high = 0;

    if (s.n > 4096)
        s.n = 4096;
    for (size_t i = 0; i < s.n; i++)
        high += (unsigned char)s.p[i] >= 0x80;
    if (high < 8)
        return best; /* a few accents */
    for (size_t i = 0; i < COUNT(names); i++) {
        struct buf b = {0};
        size_t bad = 0;
        if (convert(s, names[i], SIZE_MAX, &b, &bad) && bad == 0 && utf8_count(buf_slice(&b)) < best_n) {
            best = names[i];
            best_n = utf8_count(buf_slice(&b));
        }
        buf_free(&b);
    }
    return best;
}

/* Names that mail uses and iconv does not, or means otherwise. */
static const char *iconv_name(struct slice charset, char room[64])
{
    static const struct {
        const char *said, *is;
    } names[] = {
        {"shift_jis", "CP932"},
        {"shift-jis", "CP932"},
        {"x-sjis", "CP932"},
        {"sjis", "CP932"},
        {"windows-31j", "CP932"},
        {"euc-jp", "EUC-JP-MS"},
        {"x-euc-jp", "EUC-JP-MS"},
        {"gb2312", "GB18030"},
        {"gbk", "GB18030"},
        {"x-gbk", "GB18030"},
        {"gb_2312-80", "GB18030"},
        {"big5", "BIG5-HKSCS"},
        {"ks_c_5601-1987", "CP949"},
        {"euc-kr", "CP949"},
        {"iso-8859-1", "WINDOWS-1252"},
        {"latin1", "WINDOWS-1252"},
        {"unicode-1-1-utf-7", "UTF-7"},
        {"x-unicode-2-0-utf-7", "UTF-7"},
    };

    for (size_t i = 0; i < COUNT(names); i++)
        if (slice_ieq(charset, slice_cstr(names[i].said)))
            return names[i].is;
    if (charset.n == 0 || charset.n >= 60)
        return NULL;
    for (size_t i = 0; i < charset.n; i++) { /* nothing that iconv would take for an option of its own */
        char c = charset.p[i];
        if (!((c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '-' ||
              c == '_' || c == '.' || c == ':'))
            return NULL;
        room[i] = c;
    }
    room[charset.n] = 0;
    return room;
}

struct slice decode_text(struct slice s, struct slice charset, size_t limit, struct arena *a)
{
    struct buf raw = {0}, out = {0};
    char room[64];
    size_t bad = 0;

    if (s.n > limit * 2)
        s.n = limit * 2; /* no encoding takes more than two bytes for one of UTF-8's, but UTF-16 and -7 */
    charset = slice_trim(charset);
    bool jis = slice_istarts(charset, S("iso-2022-jp")) || slice_istarts(charset, S("cp5022"));
    bool eight_bit = !ascii_only(s);
    if (jis || (!eight_bit && has_jis_escape(s))) {
        convert(iso2022jp_to_euc(s, a), "EUC-JP-MS", limit, &raw, &bad);
        s = buf_slice(&raw);
    } else {
        const char *from = iconv_name(charset, room);
        bool is_utf8 = utf8_valid(s) || slice_ieq(charset, S("utf-8"));
        bool sixteen = slice_istarts(charset, S("utf-16")) || slice_istarts(charset, S("ucs-2")) ||
                       slice_istarts(charset, S("utf-32")) || slice_istarts(charset, S("utf-7")) ||
                       slice_istarts(charset, S("unicode-1-1"));
        if (sixteen || (eight_bit && !is_utf8)) {
            if (!from || slice_ieq(charset, S("us-ascii")) || !convert(s, from, limit, &raw, &bad)) {
                buf_clear(&raw);
                if (eight_bit)
                    convert(s, guess(s), limit, &raw, &bad);
                else
                    buf_adds(&raw, s);
            }
            s = buf_slice(&raw);
        }
    }
    add_clean(&out, s, limit);
    struct slice r = arena_copy(a, buf_slice(&out));
    buf_free(&raw);
    buf_free(&out);
    return r;
}

/* --- HTML --- */

static bool is_block(struct slice tag)
{
    static const char *const blocks[] = {"br", "p",  "div", "tr", "li", "h1",  "h2",    "h3",
                                         "h4", "ul", "ol",  "td", "hr", "pre", "table", "blockquote"};
    for (size_t i = 0; i < COUNT(blocks); i++)
        if (slice_ieq(tag, slice_cstr(blocks[i])))
            return true;
    return false;
}

static size_t entity(struct slice s, struct buf *out)
{
    static const struct {
        const char *name;
        const char *is;
    } named[] = {{"lt", "<"},   {"gt", ">"},    {"amp", "&"},   {"quot", "\""}, {"nbsp", " "},
                 {"apos", "'"}, {"rsquo", "'"}, {"lsquo", "'"}, {"ndash", "-"}, {"mdash", "-"}};
    size_t end = 1;

    while (end < s.n && end < 10 && s.p[end] != ';')
        end++;
    if (end >= s.n || s.p[end] != ';')
        return 0;
    struct slice name = slice_of(s.p + 1, end - 1);
    for (size_t i = 0; i < COUNT(named); i++)
        if (slice_eq(name, slice_cstr(named[i].name))) {
            buf_adds(out, slice_cstr(named[i].is));
            return end + 1;
        }
    if (name.n < 2 || name.p[0] != '#')
        return 0;
    uint32_t cp = 0;
    bool hex = ascii_lower(name.p[1]) == 'x';
    for (size_t i = hex ? 2 : 1; i < name.n; i++) {
        char c = ascii_lower(name.p[i]);
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a') + 10
                                                : 99;
        if (digit >= (hex ? 16u : 10u))
            return 0;
        cp = cp * (hex ? 16 : 10) + digit;
        if (cp > 0x10ffff)
            return 0;
    }
    if (cp_is_control(cp) || (cp >= 0xd800 && cp < 0xe000))
        return 0;
    char bytes[4];
    buf_add(out, bytes, utf8_encode(cp, bytes));
    return end + 1;
}

/* Bytes up to and with `</name ...>`; all of s without it. */
static size_t skip_element(struct slice s, struct slice name)
{
    for (size_t i = 0; i + name.n + 2 <= s.n; i++)
        if (s.p[i] == '<' && s.p[i + 1] == '/' && slice_ieq(slice_of(s.p + i + 2, name.n), name))
            return i;
    return s.n;
}

struct slice decode_html(struct slice s, struct arena *a)
{
    struct buf out = {0};
    bool blank = true; /* nothing but blanks since the line began */

    while (s.n) {
        size_t used = 1;
        if (slice_starts(s, S("<!--"))) {
            ptrdiff_t end = slice_find(s, S("-->"));
            used = end < 0 ? s.n : (size_t)end + 3;
        } else if (s.p[0] == '<' && s.n > 1 &&
                   (s.p[1] == '/' || s.p[1] == '!' ||
                    (ascii_lower(s.p[1]) >= 'a' && ascii_lower(s.p[1]) <= 'z'))) {
            size_t from = s.p[1] == '/' ? 2 : 1, to = from;
            while (to < s.n && to < 20 && s.p[to] != '>' && s.p[to] != ' ' && s.p[to] != '/' &&
                   s.p[to] != '\n')
                to++;
            struct slice tag = slice_of(s.p + from, to - from);
            const char *close = memchr(s.p, '>', s.n);
            used = close ? (size_t)(close - s.p) + 1 : s.n;
            /* <kijitora@example.jp> that somebody forgot to escape */
            const char *at = memchr(s.p, '@', used);
            if (at && !memchr(s.p, '=', used) && !memchr(s.p, ' ', used)) {
                buf_add(&out, s.p, used);
                blank = false;
            } else if (is_block(tag)) {
                buf_addc(&out, '\n');
                blank = true;
            } else if (from == 1 && (slice_ieq(tag, S("style")) || slice_ieq(tag, S("script")) ||
                                     slice_ieq(tag, S("title")))) {
                used += skip_element(slice_of(s.p + used, s.n - used), tag);
            }
        } else if (s.p[0] == '&' && (used = entity(s, &out)) > 0) {
            blank = false;
        } else {
            used = 1;
            char c = s.p[0];
            if (c == '\n' || c == '\t' || c == ' ') {
                if (!blank && out.n && out.p[out.n - 1] != ' ')
                    buf_addc(&out, ' ');
            } else {
                buf_addc(&out, c);
                blank = false;
            }
        }
        s.p += used;
        s.n -= used;
    }
    struct slice r = arena_copy(a, buf_slice(&out));
    buf_free(&out);
    return r;
}
