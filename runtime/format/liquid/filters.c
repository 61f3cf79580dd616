/* filters.c - the table of filters, and those on text, numbers and dates. */
#include "format/codec.h"
#include "format/liquid/filters.h"

/* --- helpers --- */

/* What was put together in scratch becomes the result. */
static int from_scratch(struct render *vm, struct liquid_value *out)
{
    int rc = render_copy(vm, buf_slice(&vm->scratch), out);
    buf_clear(&vm->scratch);
    return rc;
}

static int text(struct render *vm, const struct liquid_value *v, struct slice *s)
{
    int rc = value_text(vm, v, s);
    return rc ? rc : render_charge(vm, s->n);
}

static int integer(struct render *vm, const struct liquid_value *v, int64_t *out)
{
    if (value_integer(v, out))
        return render_fail(vm, ERR_INVAL, "invalid integer");
    return 0;
}

static bool space_at(struct slice s, size_t i)
{
    return i < s.n && value_is_space(s.p[i]);
}

/* --- text, one to one --- */

static int by_function(struct render *vm, const struct liquid_value *v, struct liquid_value *out,
                       void (*fn)(struct buf *, struct slice))
{
    struct slice s;
    int rc = text(vm, v, &s);
    if (rc)
        return rc;
    fn(&vm->scratch, s);
    return from_scratch(vm, out);
}

FILTER(upcase)
{
    return by_function(vm, v, out, unicase_upper);
}

FILTER(downcase)
{
    return by_function(vm, v, out, unicase_lower);
}

FILTER(capitalize)
{
    return by_function(vm, v, out, unicase_capital);
}

FILTER(escape)
{
    if (v->type == LIQUID_NIL) {
        *out = liquid_nil();
        return 0;
    }
    return by_function(vm, v, out, escape_html);
}

FILTER(escape_once)
{
    return by_function(vm, v, out, escape_html_once);
}

FILTER(url_encode)
{
    if (v->type == LIQUID_NIL) {
        *out = liquid_nil();
        return 0;
    }
    return by_function(vm, v, out, escape_query);
}

static int hex(char c)
{
    c = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

FILTER(url_decode)
{
    struct slice s;
    if (v->type == LIQUID_NIL) {
        *out = liquid_nil();
        return 0;
    }
    int rc = text(vm, v, &s);
    if (rc)
        return rc;
    for (size_t i = 0; i < s.n; i++) {
        int high = s.p[i] == '%' && i + 2 < s.n ? hex(s.p[i + 1]) : -1,
            low = high >= 0 ? hex(s.p[i + 2]) : -1;
        if (low >= 0) {
            buf_addc(&vm->scratch, (char)(high << 4 | low));
            i += 2;
        } else
            buf_addc(&vm->scratch, s.p[i] == '+' ? ' ' : s.p[i]);
    }
    if (!utf8_valid(buf_slice(&vm->scratch))) {
        buf_clear(&vm->scratch);
        return render_fail(vm, ERR_INVAL, "url_decode: the result is no UTF-8");
    }
    return from_scratch(vm, out);
}

static void swap_marks(struct buf *b, char from, char to)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->p[i] == from)
            b->p[i] = to;
}

static int encode64(struct render *vm, const struct liquid_value *v, struct liquid_value *out, bool url)
{
    struct slice s;
    int rc = text(vm, v, &s);
    if (rc)
        return rc;
    codec_base64(&vm->scratch, s, 0);
    if (url) {
        swap_marks(&vm->scratch, '+', '-');
        swap_marks(&vm->scratch, '/', '_');
    }
    return from_scratch(vm, out);
}

FILTER(base64_encode)
{
    return encode64(vm, v, out, false);
}

FILTER(base64_url_safe_encode)
{
    return encode64(vm, v, out, true);
}

/* RFC 4648 5: the URL form may go without its padding. */
static int decode64(struct render *vm, const struct liquid_value *v, struct liquid_value *out, bool url)
{
    struct slice s;
    struct buf plain = {0};
    int rc = text(vm, v, &s);
    if (rc)
        return rc;
    buf_adds(&plain, s);
    if (url) {
        swap_marks(&plain, '-', '+');
        swap_marks(&plain, '_', '/');
        while (plain.n % 4)
            buf_addc(&plain, '=');
    }
    rc = codec_unbase64(buf_slice(&plain), &vm->scratch);
    buf_free(&plain);
    return rc ? render_fail(vm, ERR_INVAL, "invalid base64") : from_scratch(vm, out);
}

FILTER(base64_decode)
{
    return decode64(vm, v, out, false);
}

FILTER(base64_url_safe_decode)
{
    return decode64(vm, v, out, true);
}

static int strip(struct render *vm, const struct liquid_value *v, struct liquid_value *out, bool left,
                 bool right)
{
    struct slice s;
    int rc = text(vm, v, &s);
    if (rc)
        return rc;
    for (; left && space_at(s, 0); s.n--)
        s.p++;
    while (right && s.n && value_is_space(s.p[s.n - 1]))
        s.n--;
    *out = liquid_string(s);
    out->flags = v->flags & V_HTML; /* less white space is no less HTML */
    return 0;
}

FILTER(strip)
{
    return strip(vm, v, out, true, true);
}

FILTER(lstrip)
{
    return strip(vm, v, out, true, false);
}

FILTER(rstrip)
{
    return strip(vm, v, out, false, true);
}

static int newlines(struct render *vm, const struct liquid_value *v, struct liquid_value *out,
                    struct slice instead)
{
    struct slice s;
    int rc = text(vm, v, &s);
    if (rc)
        return rc;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\n')
            buf_adds(&vm->scratch, instead);
        else if (s.p[i] != '\r' || i + 1 == s.n || s.p[i + 1] != '\n')
            buf_addc(&vm->scratch, s.p[i]);
    return from_scratch(vm, out);
}

FILTER(strip_newlines)
{
    return newlines(vm, v, out, SLICE_NONE);
}

FILTER(newline_to_br)
{
    return newlines(vm, v, out, S("<br />\n"));
}

/* Take away every piece from open to the next close. Without a close the rest stays. */
static void cut_all(struct buf *out, struct slice s, struct slice open, struct slice close)
{
    for (;;) {
        ptrdiff_t from = slice_find(s, open);
        if (from < 0)
            break;
        size_t inside = (size_t)from + open.n;
        ptrdiff_t to = slice_find(slice_of(s.p + inside, s.n - inside), close);
        if (to < 0)
            break;
        buf_add(out, s.p, (size_t)from);
        inside += (size_t)to + close.n;
        s = slice_of(s.p + inside, s.n - inside);
    }
    buf_adds(out, s);
}

FILTER(strip_html)
{
    static const struct slice pieces[][2] = {{{"<script", 7}, {"</script>", 9}},
                                             {{"<!--", 4}, {"-->", 3}},
                                             {{"<style", 6}, {"</style>", 8}},
                                             {{"<", 1}, {">", 1}}};
    struct slice s;
    int rc = text(vm, v, &s);
    for (size_t i = 0; !rc && i < COUNT(pieces); i++) {
        if (slice_find(s, pieces[i][0]) < 0)
            continue;
        cut_all(&vm->scratch, s, pieces[i][0], pieces[i][1]);
        rc = from_scratch(vm, out);
        s = rc ? s : value_slice(out);
    }
    if (!rc)
        *out = liquid_string(s);
    return rc;
}

/* --- text with arguments --- */

static int append(struct render *vm, const struct liquid_value *a, const struct liquid_value *b,
                  struct liquid_value *out)
{
    struct slice x, y;
    int rc = text(vm, a, &x);
    if (!rc)
        rc = text(vm, b, &y);
    if (rc)
        return rc;
    buf_adds(&vm->scratch, x);
    buf_adds(&vm->scratch, y);
    return from_scratch(vm, out);
}

FILTER(append)
{
    return append(vm, &v[0], &v[1], out);
}

FILTER(prepend)
{
    return append(vm, &v[1], &v[0], out);
}

enum which { ALL, FIRST, LAST };

static ptrdiff_t find_last(struct slice s, struct slice what)
{
    for (size_t at = s.n >= what.n ? s.n - what.n + 1 : 0; at > 0; at--)
        if (!memcmp(s.p + at - 1, what.p, what.n))
            return (ptrdiff_t)at - 1;
    return -1;
}

static int replace_all(struct render *vm, struct slice s, struct slice what, struct slice with)
{
    for (;;) {
        /* An empty pattern stands before each character and at the end. */
        ptrdiff_t at = slice_find(s, what);
        if (at < 0)
            break;
        buf_add(&vm->scratch, s.p, (size_t)at);
        buf_adds(&vm->scratch, with);
        s = slice_of(s.p + at + what.n, s.n - (size_t)at - what.n);
        if (!what.n) {
            size_t one = value_skip_chars(s, 1);
            if (!s.n)
                break;
            buf_add(&vm->scratch, s.p, one);
            s = slice_of(s.p + one, s.n - one);
        }
        if (vm->scratch.n > vm->mem_left)
            break; /* and from_scratch() says so */
    }
    buf_adds(&vm->scratch, s);
    return 0;
}

static int replace(struct render *vm, const struct liquid_value *v, const struct liquid_value *instead,
                   enum which which, struct liquid_value *out)
{
    struct slice s, what, with = SLICE_NONE;
    int rc = text(vm, &v[0], &s);
    if (!rc)
        rc = text(vm, &v[1], &what);
    if (!rc && instead)
        rc = text(vm, instead, &with);
    if (rc)
        return rc;
    ptrdiff_t at = which == LAST ? find_last(s, what) : slice_find(s, what);
    if (at < 0) {
        *out = liquid_string(s);
        return 0;
    }
    if (which == ALL)
        replace_all(vm, s, what, with);
    else {
        size_t behind = (size_t)at + what.n;
        buf_add(&vm->scratch, s.p, (size_t)at);
        buf_adds(&vm->scratch, with);
        buf_add(&vm->scratch, s.p + behind, s.n - behind);
    }
    return from_scratch(vm, out);
}

FILTER(replace)
{
    return replace(vm, v, n > 1 ? &v[2] : NULL, ALL, out);
}

FILTER(replace_first)
{
    return replace(vm, v, n > 1 ? &v[2] : NULL, FIRST, out);
}

FILTER(replace_last)
{
    return replace(vm, v, &v[2], LAST, out);
}

FILTER(remove)
{
    return replace(vm, v, NULL, ALL, out);
}

FILTER(remove_first)
{
    return replace(vm, v, NULL, FIRST, out);
}

FILTER(remove_last)
{
    return replace(vm, v, NULL, LAST, out);
}

FILTER(truncate)
{
    struct slice s, end = S("...");
    int64_t length = 50;
    if (v->type == LIQUID_NIL) {
        *out = liquid_nil();
        return 0;
    }
    int rc = text(vm, v, &s);
    if (!rc && n > 0)
        rc = integer(vm, &v[1], &length);
    if (!rc && n > 1)
        rc = text(vm, &v[2], &end);
    if (rc)
        return rc;
    if ((int64_t)utf8_count(s) <= length) {
        *out = liquid_string(s);
        return 0;
    }
    int64_t keep = length - (int64_t)utf8_count(end);
    buf_add(&vm->scratch, s.p, value_skip_chars(s, keep > 0 ? (size_t)keep : 0));
    buf_adds(&vm->scratch, end);
    return from_scratch(vm, out);
}

FILTER(truncatewords)
{
    struct slice s, end = S("...");
    int64_t words = 15;
    if (v->type == LIQUID_NIL) {
        *out = liquid_nil();
        return 0;
    }
    int rc = text(vm, v, &s);
    if (!rc && n > 0)
        rc = integer(vm, &v[1], &words);
    if (!rc && n > 1)
        rc = text(vm, &v[2], &end);
    if (rc)
        return rc;
    size_t i = 0;
    for (int64_t count = 0; count < (words < 1 ? 1 : words); count++) {
        while (space_at(s, i))
            i++;
        size_t from = i;
        while (i < s.n && !space_at(s, i))
            i++;
        if (from < i && count)
            buf_addc(&vm->scratch, ' ');
        buf_add(&vm->scratch, s.p + from, i - from);
        if (i == s.n)
            break;
    }
    if (i == s.n) { /* nothing behind the last word, not even a space */
        buf_clear(&vm->scratch);
        *out = liquid_string(s);
        return 0;
    }
    buf_adds(&vm->scratch, end);
    return from_scratch(vm, out);
}

FILTER(slice)
{
    int64_t at, length = 1;
    int rc = integer(vm, &v[1], &at);
    if (!rc && n > 1 && is_true(&v[2]))
        rc = integer(vm, &v[2], &length);
    struct slice s = SLICE_NONE;
    if (!rc && v->type != LIQUID_ARRAY)
        rc = text(vm, v, &s);
    if (rc)
        return rc;
    int64_t size = v->type == LIQUID_ARRAY ? (int64_t)v->n : (int64_t)utf8_count(s);
    if (at < 0)
        at += size;
    if (at < 0 || at > size || length < 0)
        length = at = 0;
    if (length > size - at)
        length = size - at;
    if (v->type == LIQUID_ARRAY) {
        *out = (struct liquid_value){.type = LIQUID_ARRAY, .n = (uint32_t)length, .items = v->items + at};
        return 0;
    }
    size_t from = value_skip_chars(s, (size_t)at);
    s = slice_of(s.p + from, s.n - from);
    *out = liquid_string(slice_of(s.p, value_skip_chars(s, (size_t)length)));
    return 0;
}

/* --- numbers --- */

static int calculate(struct render *vm, enum math op, const struct liquid_value *v, struct liquid_value *out)
{
    struct liquid_value a = value_number(&v[0]), b = value_number(&v[1]);
    int rc = number_math(op, &a, &b, out);
    if (rc == ERR_INVAL)
        return render_fail(vm, rc, "divided by 0");
    return rc ? render_fail(vm, rc, "the result is too large a number") : 0;
}

FILTER(plus)
{
    return calculate(vm, MATH_ADD, v, out);
}

FILTER(minus)
{
    return calculate(vm, MATH_SUB, v, out);
}

FILTER(times)
{
    return calculate(vm, MATH_MUL, v, out);
}

FILTER(divided_by)
{
    return calculate(vm, MATH_DIV, v, out);
}

FILTER(modulo)
{
    return calculate(vm, MATH_MOD, v, out);
}

FILTER(abs)
{
    struct liquid_value a = value_number(v), zero = liquid_int(0);
    if (number_compare(&a, &zero) >= 0) {
        *out = a;
        return 0;
    }
    if (a.type == LIQUID_FLOAT) {
        *out = liquid_float(-a.f);
        return 0;
    }
    return number_math(MATH_SUB, &zero, &a, out)
               ? render_fail(vm, ERR_RANGE, "the result is too large a number")
               : 0;
}

static int round_by(struct render *vm, enum rounding how, const struct liquid_value *v, int64_t places,
                    struct liquid_value *out)
{
    struct liquid_value a = value_number(v);
    return number_round(how, &a, places, out) ? render_fail(vm, ERR_RANGE, "the result is too large a number")
                                              : 0;
}

FILTER(ceil)
{
    return round_by(vm, ROUND_CEIL, v, 0, out);
}

FILTER(floor)
{
    return round_by(vm, ROUND_FLOOR, v, 0, out);
}

FILTER(round)
{
    struct liquid_value places = liquid_int(0);
    if (n > 0) {
        places = value_number(&v[1]);
        int rc = round_by(vm, ROUND_FLOOR, &places, 0, &places);
        if (rc)
            return rc;
    }
    return round_by(vm, ROUND_HALF_UP, v, places.i, out);
}

FILTER(at_least)
{
    struct liquid_value a = value_number(&v[0]), b = value_number(&v[1]);
    *out = number_compare(&b, &a) > 0 ? b : a;
    return 0;
}

FILTER(at_most)
{
    struct liquid_value a = value_number(&v[0]), b = value_number(&v[1]);
    *out = number_compare(&b, &a) < 0 ? b : a;
    return 0;
}

/* --- the rest --- */

/* v[2], if there, is allow_false. */
FILTER(default)
{
    bool absent = n > 1 && is_true(&v[2]) ? v->type == LIQUID_NIL : !is_true(v);
    bool empty = (v->type == LIQUID_STRING || v->type == LIQUID_ARRAY || v->type == LIQUID_MAP) && v->n == 0;
    *out = !absent && !empty ? v[0] : n > 0 ? v[1] : liquid_string(SLICE_NONE);
    return 0;
}

FILTER(date)
{
    struct slice format;
    struct date_zone zone = {vm->in->now_unix_s, vm->in->offset_at, vm->in->offset_arg};
    int rc = text(vm, &v[1], &format);
    if (rc)
        return rc;
    *out = v[0];
    if (!format.n)
        return 0;
    rc = date_format(v, format, &zone, &vm->scratch, vm->mem_left);
    if (!rc)
        return from_scratch(vm, out);
    buf_clear(&vm->scratch);
    return rc == ERR_LIMIT ? render_fail(vm, rc, "date: the format is too long")
                           : 0; /* what is no date stays */
}

/* `raw` is the compiler's: it marks an output and never runs. */
FILTER(raw)
{
    *out = v[0];
    return 0;
}

#define ROW(filter, min, max, flags)                                                                         \
    {                                                                                                        \
#filter, min, max, flags, filter_##filter                                                            \
    }
const struct filter liquid_filters[] = {
    ROW(abs, 0, 0, F_TOTAL),
    ROW(append, 1, 1, F_TOTAL | F_PRINTS_ARGS),
    ROW(at_least, 1, 1, F_TOTAL),
    ROW(at_most, 1, 1, F_TOTAL),
    ROW(base64_decode, 0, 0, 0),
    ROW(base64_encode, 0, 0, F_TOTAL),
    ROW(base64_url_safe_decode, 0, 0, 0),
    ROW(base64_url_safe_encode, 0, 0, F_TOTAL),
    ROW(capitalize, 0, 0, F_TOTAL),
    ROW(ceil, 0, 0, 0),
    ROW(compact, 0, 1, 0),
    ROW(concat, 1, 1, 0),
    ROW(date, 1, 1, F_TOTAL),
    ROW(default, 0, 2, F_TOTAL),
    ROW(divided_by, 1, 1, 0),
    ROW(downcase, 0, 0, F_TOTAL),
    ROW(escape, 0, 0, F_TOTAL | F_CLEAN),
    ROW(escape_once, 0, 0, F_TOTAL | F_CLEAN),
    ROW(find, 1, 2, 0),
    ROW(find_index, 1, 2, 0),
    ROW(first, 0, 0, 0),
    ROW(floor, 0, 0, 0),
    {"h", 0, 0, F_TOTAL | F_CLEAN, filter_escape},
    ROW(has, 1, 2, 0),
    ROW(join, 0, 1, 0),
    ROW(last, 0, 0, 0),
    ROW(lstrip, 0, 0, F_TOTAL),
    ROW(map, 1, 1, 0),
    ROW(minus, 1, 1, 0),
    ROW(modulo, 1, 1, 0),
    ROW(newline_to_br, 0, 0, F_TOTAL | F_CLEAN),
    ROW(plus, 1, 1, 0),
    ROW(prepend, 1, 1, F_TOTAL | F_PRINTS_ARGS),
    ROW(raw, 0, 0, F_TOTAL),
    ROW(reject, 1, 2, 0),
    ROW(remove, 1, 1, F_TOTAL),
    ROW(remove_first, 1, 1, F_TOTAL),
    ROW(remove_last, 1, 1, F_TOTAL),
    ROW(replace, 1, 2, F_TOTAL),
    ROW(replace_first, 1, 2, F_TOTAL),
    ROW(replace_last, 2, 2, F_TOTAL),
    ROW(reverse, 0, 0, 0),
    ROW(round, 0, 1, 0),
    ROW(rstrip, 0, 0, F_TOTAL),
    ROW(size, 0, 0, F_TOTAL),
    ROW(slice, 1, 2, 0),
    ROW(sort, 0, 1, 0),
    ROW(sort_natural, 0, 1, 0),
    ROW(split, 1, 1, 0),
    ROW(strip, 0, 0, F_TOTAL),
    ROW(strip_html, 0, 0, F_TOTAL),
    ROW(strip_newlines, 0, 0, F_TOTAL),
    ROW(sum, 0, 1, 0),
    ROW(times, 1, 1, 0),
    ROW(truncate, 0, 2, 0),
    ROW(truncatewords, 0, 2, 0),
    ROW(uniq, 0, 1, 0),
    ROW(upcase, 0, 0, F_TOTAL),
    ROW(url_decode, 0, 0, 0),
    ROW(url_encode, 0, 0, F_TOTAL | F_CLEAN),
    ROW(where, 1, 2, 0),
};
const size_t liquid_nfilters = COUNT(liquid_filters);

int filter_index(struct slice name)
{
    for (size_t i = 0; i < liquid_nfilters; i++)
        if (slice_eq(name, slice_cstr(liquid_filters[i].name)))
            return (int)i;
    return -1;
}
