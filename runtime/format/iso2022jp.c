/* iso2022jp.c - see iso2022jp.h. */
#include "format/iso2022jp.h"
#include "format/charset.h"

#include <uchar.h>

#include "format/iso2022jp_table.h"

enum { KANA_FIRST = 0xff61, KANA_LAST = 0xff9f, GETA = 0x3013 };

/* --- the table --- */

static bool is_kana(uint32_t cp)
{
    return cp >= KANA_FIRST && cp <= KANA_LAST;
}

/* ASCII that switches nothing. */
static bool is_ascii(uint32_t cp)
{
    return cp < 0x80 && cp != 0x1b && cp != 0x0e && cp != 0x0f;
}

/* Its cell, row and column each + 0x20; 0: none. */
static unsigned cell_of(uint32_t cp)
{
    if (cp >> 6 >= COUNT(JIS_PAGES))
        return 0;
    uint64_t has = JIS_PAGES[cp >> 6].has, bit = (uint64_t)1 << (cp & 63);
    if (!(has & bit))
        return 0;
    return JIS_CODES[JIS_PAGES[cp >> 6].before + __builtin_popcountll(has & (bit - 1))];
}

/* The character of row and column, each from 1 to 94; 0: none. */
static uint32_t cell_char(unsigned row, unsigned column)
{
    unsigned index;
    if (row <= 8)
        index = row - 1;
    else if (row == 13)
        index = 8;
    else if (row >= 16 && row <= 84)
        index = row - 7;
    else if (row >= 89 && row <= 92)
        index = row - 11;
    else
        return 0;
    char16_t c = JIS_ROWS[index][column - 1];
    return c == ' ' ? 0 : c;
}

/* JIS X 0208 itself: rows 13 and 89 to 92 are Windows's. */
static bool is_plain(unsigned cell)
{
    unsigned row = (cell >> 8) - 0x20;
    return cell && row != 13 && row < 89;
}

/* NULL: nothing stands in for it. */
static const char *fold_of(uint32_t cp)
{
    size_t low = 0, high = COUNT(JIS_FOLDS);
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (JIS_FOLDS[mid].cp == cp)
            return JIS_FOLDS[mid].to;
        if (JIS_FOLDS[mid].cp < cp)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

/* --- making text fit --- */

/* Full-width kana and the voiced or half-voiced mark behind it in one; 0: there is no such kana in JIS X
 * 0208. */
static uint32_t with_mark(uint32_t cp, bool half_voiced)
{
    uint32_t base = cp >= 0x30a1 && cp <= 0x30f6 ? cp - 0x60 : cp; /* as hiragana */
    bool h = base >= 0x306f && base <= 0x307b && (base - 0x306f) % 3 == 0;
    if (half_voiced)
        return h ? cp + 2 : 0;
    if (cp == 0x30a6)
        return 0x30f4;
    if (base == 0x309d) /* ゝ */
        return cp + 1;
    bool k_s_t =
        (base >= 0x304b && base <= 0x3061 && base % 2) || base == 0x3064 || base == 0x3066 || base == 0x3068;
    return h || k_s_t || cp == 0x30fd ? cp + 1 : 0;
}

static bool next_char(struct slice *s, uint32_t *cp)
{
    int len = utf8_decode(*s, cp);
    if (len <= 0)
        return false;
    *s = slice_of(s->p + len, s->n - (size_t)len);
    return true;
}

/* If a mark follows that cp takes up, pass over it. */
static uint32_t take_mark(uint32_t cp, struct slice *rest, uint32_t voiced, uint32_t half_voiced)
{
    struct slice behind = *rest;
    uint32_t mark, whole;
    if (!next_char(&behind, &mark) || (mark != voiced && mark != half_voiced))
        return cp;
    whole = with_mark(cp, mark == half_voiced);
    if (!whole)
        return cp;
    *rest = behind;
    return whole;
}

static void put_char(struct buf *out, uint32_t cp)
{
    char c[4];
    buf_add(out, c, utf8_encode(cp, c));
}

static void lose(struct iso2022jp_loss *loss, uint32_t cp)
{
    if (!loss->n++)
        loss->first = cp;
}

/* Full-width, with the mark behind it taken up. */
static void widen(uint32_t cp, struct slice *rest, struct buf *out)
{
    uint32_t wide;
    const char *to = fold_of(cp);
    INVARIANT(to && utf8_decode(slice_cstr(to), &wide) > 0);
    put_char(out, take_mark(wide, rest, 0xff9e, 0xff9f));
}

void iso2022jp_fit(struct slice text, enum iso2022jp_repertoire repertoire, struct buf *out,
                   struct iso2022jp_loss *loss)
{
    bool plain = repertoire == ISO2022JP_PLAIN;
    buf_reserve(out, text.n);
    while (text.n) {
        struct slice at = text;
        uint32_t cp;
        if (!next_char(&text, &cp)) {
            buf_add(out, text.p, 1);
            text = slice_of(text.p + 1, text.n - 1);
            continue;
        }
        cp = take_mark(cp, &text, 0x3099, 0x309a);
        unsigned cell = cell_of(cp);
        if (is_ascii(cp) || is_plain(cell)) {
            put_char(out, cp);
            continue;
        }
        if (!plain && (cell || is_kana(cp))) {
            buf_add(out, at.p, at.n - text.n);
            continue;
        }
        const char *to = plain ? fold_of(cp) : NULL;
        if (to || !cell)
            lose(loss, cp);
        if (to && is_kana(cp))
            widen(cp, &text, out);
        else if (to)
            buf_adds(out, slice_cstr(to));
        else
            put_char(out, cell ? cp : GETA);
    }
}

int iso2022jp_check(struct slice text, const char *what, struct err *e)
{
    struct iso2022jp_loss loss = {0};
    struct buf fitted = {0};
    char c[4];
    iso2022jp_fit(text, ISO2022JP_CP50221, &fitted, &loss);
    buf_free(&fitted);
    if (!loss.n)
        return 0;
    bool shown = !cp_is_control(loss.first);
    return err_set(e, ERR_UNSUPPORTED, "%s has %.*s%sU+%04X, which ISO-2022-JP has not", what,
                   shown ? (int)utf8_encode(loss.first, c) : 0, c, shown ? " " : "", (unsigned)loss.first);
}

/* --- writing --- */

static size_t switch_to(struct iso2022jp *s, int set, char *out)
{
    static const char ESCAPES[][4] = {"\x1b(B", "\x1b$B", "\x1b(I"};
    if ((int)s->set == set)
        return 0;
    s->set = set;
    memcpy(out, ESCAPES[set], 3);
    return 3;
}

size_t iso2022jp_put(struct iso2022jp *s, uint32_t cp, char out[5])
{
    size_t n;
    if (is_ascii(cp)) {
        n = switch_to(s, ISO2022JP_ASCII, out);
        out[n] = (char)cp;
        return n + 1;
    }
    if (is_kana(cp)) {
        n = switch_to(s, ISO2022JP_KANA, out);
        out[n] = (char)(cp - KANA_FIRST + 0x21);
        return n + 1;
    }
    unsigned cell = cell_of(cp);
    if (!cell)
        return 0;
    n = switch_to(s, ISO2022JP_KANJI, out);
    out[n] = (char)(cell >> 8);
    out[n + 1] = (char)(cell & 0xff);
    return n + 2;
}

size_t iso2022jp_end(struct iso2022jp *s, char out[3])
{
    return switch_to(s, ISO2022JP_ASCII, out);
}

int iso2022jp_encode(struct slice text, struct buf *out)
{
    struct iso2022jp s = {ISO2022JP_ASCII};
    size_t before = out->n, n;
    char c[5];
    buf_reserve(out, text.n + text.n / 4 + 8);
    while (text.n) {
        uint32_t cp;
        bool good = next_char(&text, &cp);
        if (!good || !(n = iso2022jp_put(&s, cp, c))) {
            out->n = before;
            return good ? ERR_UNSUPPORTED : ERR_SYNTAX;
        }
        buf_add(out, c, n);
    }
    n = iso2022jp_end(&s, c);
    buf_add(out, c, n);
    return 0;
}

/* --- reading --- */

enum { SET_ASCII, SET_ROMAN, SET_KANA, SET_KANJI, SET_NONE };

/* What the escape sequence at s switches to. */
static int escape_at(struct slice s)
{
    static const struct {
        char text[4];
        int set;
    } escapes[] = {{"\x1b(B", SET_ASCII},
                   {"\x1b(J", SET_ROMAN},
                   {"\x1b(I", SET_KANA},
                   {"\x1b$B", SET_KANJI},
                   {"\x1b$@", SET_KANJI}};
    for (size_t i = 0; i < COUNT(escapes); i++)
        if (slice_starts(s, slice_of(escapes[i].text, 3)))
            return escapes[i].set;
    return SET_NONE;
}

/* The character at s in the given set, and its bytes; 0: there is none. */
static size_t read_char(int set, struct slice s, uint32_t *cp)
{
    unsigned char a = (unsigned char)s.p[0], b = s.n > 1 ? (unsigned char)s.p[1] : 0;
    switch (set) {
    case SET_ASCII:
    case SET_ROMAN:
        *cp = set == SET_ROMAN && a == '\\' ? 0xa5 : set == SET_ROMAN && a == '~' ? 0x203e : a;
        return is_ascii(a);
    case SET_KANA:
        *cp = KANA_FIRST + a - 0x21u;
        return a >= 0x21 && a <= 0x5f;
    default:
        if (a < 0x21 || a > 0x7e || b < 0x21 || b > 0x7e)
            return 0;
        *cp = cell_char(a - 0x20, b - 0x20);
        return *cp ? 2 : 0;
    }
}

int iso2022jp_decode(struct slice in, struct buf *out, size_t *bad_at)
{
    int set = SET_ASCII;
    size_t before = out->n, i = 0;
    while (i < in.n) {
        struct slice rest = slice_of(in.p + i, in.n - i);
        int next = escape_at(rest);
        uint32_t cp;
        if (next != SET_NONE) {
            set = next;
            i += 3;
            continue;
        }
        size_t n = read_char(set, rest, &cp);
        if (!n)
            break;
        put_char(out, cp);
        i += n;
    }
    if (i == in.n && (set == SET_ASCII || set == SET_ROMAN))
        return 0;
    out->n = before;
    *bad_at = i;
    return ERR_SYNTAX;
}
