/* value.c - what values are to Liquid: as text, as numbers, equal, in order, looked into. */
#include "format/liquid/internal.h"

#include <stdio.h>

bool value_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0;
}

size_t value_skip_chars(struct slice s, size_t chars)
{
    size_t i = 0;
    while (i < s.n && chars--) {
        i++;
        while (i < s.n && ((unsigned char)s.p[i] & 0xC0) == 0x80)
            i++;
    }
    return i;
}

size_t value_range_count(const struct liquid_range *r)
{
    return r->last < r->first ? 0 : (size_t)((uint64_t)r->last - (uint64_t)r->first) + 1;
}

/* --- text --- */

static int text_of(struct render *vm, struct buf *b, const struct liquid_value *v, bool quoted, int depth);

static void add_quoted(struct buf *b, struct slice s)
{
    buf_addc(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '"' || c == '\\') {
            buf_addc(b, '\\');
            buf_addc(b, c);
        } else if (c == '\n')
            buf_adds(b, S("\\n"));
        else if (c == '\t')
            buf_adds(b, S("\\t"));
        else if (c == '\r')
            buf_adds(b, S("\\r"));
        else
            buf_addc(b, c);
    }
    buf_addc(b, '"');
}

static int items_of(struct render *vm, struct buf *b, const struct liquid_value *v, int depth)
{
    buf_addc(b, v->type == LIQUID_MAP ? '{' : '[');
    for (uint32_t i = 0; i < v->n; i++) {
        int rc = render_charge(vm, 16);
        if (i)
            buf_adds(b, S(", "));
        if (v->type == LIQUID_MAP) {
            if (!rc)
                rc = text_of(vm, b, &v->pairs[i].key, true, depth - 1);
            buf_adds(b, S("=>"));
        }
        if (!rc)
            rc = text_of(vm, b, v->type == LIQUID_MAP ? &v->pairs[i].value : &v->items[i], true, depth - 1);
        if (rc)
            return rc;
    }
    buf_addc(b, v->type == LIQUID_MAP ? '}' : ']');
    return 0;
}

static int text_of(struct render *vm, struct buf *b, const struct liquid_value *v, bool quoted, int depth)
{
    char number[FLOAT_TEXT];
    if (depth <= 0)
        return render_fail(vm, ERR_LIMIT, "a value is nested too deeply to print");
    if (b->n > vm->mem_left)
        return render_fail(vm, ERR_LIMIT, "a value is too large to print");
    switch ((enum liquid_type)v->type) {
    case LIQUID_NIL:
    case LIQUID_UNSET:
        if (quoted)
            buf_adds(b, S("nil"));
        return 0;
    case LIQUID_BLANK:
    case LIQUID_EMPTY:
        return 0;
    case LIQUID_BOOL:
        buf_adds(b, v->b ? S("true") : S("false"));
        return 0;
    case LIQUID_INT:
        buf_add(b, number, (size_t)snprintf(number, sizeof number, "%lld", (long long)v->i));
        return 0;
    case LIQUID_FLOAT:
        buf_add(b, number, float_print(v->f, number));
        return 0;
    case LIQUID_STRING:
        if (quoted)
            add_quoted(b, value_slice(v));
        else
            buf_adds(b, value_slice(v));
        return 0;
    case LIQUID_ARRAY:
    case LIQUID_MAP:
        return items_of(vm, b, v, depth);
    case LIQUID_RANGE:
        buf_printf(b, "%lld..%lld", (long long)v->range->first, (long long)v->range->last);
        return 0;
    case LIQUID_LOOP:
        buf_adds(b, v->loop->tablerow ? S("Liquid::TablerowloopDrop") : S("Liquid::ForloopDrop"));
        return 0;
    }
    return 0;
}

static int finish(struct render *vm, int rc, struct slice *out)
{
    struct liquid_value copy;
    if (!rc)
        rc = render_copy(vm, buf_slice(&vm->scratch), &copy);
    buf_clear(&vm->scratch);
    if (!rc)
        *out = value_slice(&copy);
    return rc;
}

int value_text(struct render *vm, const struct liquid_value *v, struct slice *out)
{
    if (v->type == LIQUID_STRING) {
        *out = value_slice(v);
        return 0;
    }
    if (v->type == LIQUID_NIL) {
        *out = SLICE_NONE;
        return 0;
    }
    return finish(vm, text_of(vm, &vm->scratch, v, false, VALUE_DEPTH), out);
}

static int print_items(struct render *vm, const struct liquid_value *v, int depth)
{
    if (v->type == LIQUID_NIL)
        return 0;
    if (v->type != LIQUID_ARRAY)
        return text_of(vm, &vm->scratch, v, false, VALUE_DEPTH);
    if (depth <= 0)
        return render_fail(vm, ERR_LIMIT, "a value is nested too deeply to print");
    for (uint32_t i = 0; i < v->n; i++) {
        int rc = render_charge(vm, 16);
        if (!rc)
            rc = print_items(vm, &v->items[i], depth - 1);
        if (rc)
            return rc;
    }
    return 0;
}

int value_print(struct render *vm, const struct liquid_value *v, struct slice *out)
{
    if (v->type != LIQUID_ARRAY)
        return value_text(vm, v, out);
    return finish(vm, print_items(vm, v, VALUE_DEPTH), out);
}

/* --- numbers --- */

int64_t value_loose_integer(struct slice s)
{
    size_t i = 0;
    bool minus = false;
    int64_t n = 0;
    while (i < s.n && value_is_space(s.p[i]))
        i++;
    if (i < s.n && (s.p[i] == '-' || s.p[i] == '+'))
        minus = s.p[i++] == '-';
    for (; i < s.n; i++) {
        if (s.p[i] == '_' && i + 1 < s.n && s.p[i + 1] >= '0' && s.p[i + 1] <= '9' && n)
            continue;
        if (s.p[i] < '0' || s.p[i] > '9')
            break;
        int digit = s.p[i] - '0';
        if (__builtin_mul_overflow(n, (int64_t)10, &n) ||
            (minus ? __builtin_sub_overflow(n, (int64_t)digit, &n)
                   : __builtin_add_overflow(n, (int64_t)digit, &n)))
            return minus ? INT64_MIN : INT64_MAX;
    }
    return n;
}

static struct slice strip(struct slice s)
{
    while (s.n && value_is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && value_is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

int value_integer(const struct liquid_value *v, int64_t *out)
{
    if (v->type == LIQUID_INT) {
        *out = v->i;
        return 0;
    }
    if (v->type != LIQUID_STRING)
        return ERR_INVAL;
    struct slice s = strip(value_slice(v));
    size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+');
    if (i == s.n)
        return ERR_INVAL;
    for (; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return ERR_INVAL;
    *out = value_loose_integer(s);
    return 0;
}

struct liquid_value value_number(const struct liquid_value *v)
{
    if (v->type == LIQUID_INT || v->type == LIQUID_FLOAT)
        return (struct liquid_value){.type = v->type, .i = v->i};
    if (v->type != LIQUID_STRING)
        return liquid_int(0);
    struct slice s = strip(value_slice(v));
    size_t i = s.n && s.p[0] == '-', whole, part;
    for (whole = i; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        ;
    if (i > whole && i < s.n && s.p[i] == '.') {
        for (part = ++i; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
            ;
        if (i > part && i == s.n)
            return number_parse(s);
    }
    return liquid_int(value_loose_integer(s));
}

/* --- equality and order --- */

static bool is_number(const struct liquid_value *v)
{
    return v->type == LIQUID_INT || v->type == LIQUID_FLOAT;
}

static bool is_blank(const struct liquid_value *v)
{
    switch ((enum liquid_type)v->type) {
    case LIQUID_NIL:
        return true;
    case LIQUID_BOOL:
        return !v->b;
    case LIQUID_STRING:
        return strip(value_slice(v)).n == 0;
    case LIQUID_ARRAY:
    case LIQUID_MAP:
        return v->n == 0;
    case LIQUID_INT:
    case LIQUID_FLOAT:
    case LIQUID_RANGE:
    case LIQUID_BLANK:
    case LIQUID_EMPTY:
    case LIQUID_LOOP:
    case LIQUID_UNSET:
        return false;
    }
    return false;
}

static bool is_empty(const struct liquid_value *v)
{
    return (v->type == LIQUID_STRING || v->type == LIQUID_ARRAY || v->type == LIQUID_MAP) && v->n == 0;
}

static const struct liquid_value *find_pair(const struct liquid_value *map, struct slice key)
{
    for (uint32_t i = 0; i < map->n; i++)
        if (slice_eq(value_slice(&map->pairs[i].key), key))
            return &map->pairs[i].value;
    return NULL;
}

bool value_equal(const struct liquid_value *a, const struct liquid_value *b, int depth)
{
    if (a->type == LIQUID_BLANK || b->type == LIQUID_BLANK)
        return is_blank(a->type == LIQUID_BLANK ? b : a);
    if (a->type == LIQUID_EMPTY || b->type == LIQUID_EMPTY)
        return is_empty(a->type == LIQUID_EMPTY ? b : a);
    if (is_number(a) && is_number(b))
        return number_compare(a, b) == 0;
    if (a->type != b->type || depth <= 0)
        return false;
    switch ((enum liquid_type)a->type) {
    case LIQUID_BOOL:
        return a->b == b->b;
    case LIQUID_STRING:
        return slice_eq(value_slice(a), value_slice(b));
    case LIQUID_ARRAY:
        for (uint32_t i = 0; a->n == b->n && i < a->n; i++)
            if (!value_equal(&a->items[i], &b->items[i], depth - 1))
                return false;
        return a->n == b->n;
    case LIQUID_MAP:
        for (uint32_t i = 0; a->n == b->n && i < a->n; i++) {
            const struct liquid_value *other = find_pair(b, value_slice(&a->pairs[i].key));
            if (!other || !value_equal(&a->pairs[i].value, other, depth - 1))
                return false;
        }
        return a->n == b->n;
    case LIQUID_RANGE:
        return a->range->first == b->range->first && a->range->last == b->range->last;
    case LIQUID_LOOP:
        return a->loop == b->loop;
    case LIQUID_NIL:
    case LIQUID_UNSET:
    case LIQUID_INT:
    case LIQUID_FLOAT:
    case LIQUID_BLANK:
    case LIQUID_EMPTY:
        return true;
    }
    return false;
}

bool value_same(const struct liquid_value *a, const struct liquid_value *b)
{
    return a->type == b->type && value_equal(a, b, VALUE_DEPTH);
}

int value_order(const struct liquid_value *a, const struct liquid_value *b, int *order)
{
    if (is_number(a) && is_number(b))
        *order = number_compare(a, b);
    else if (a->type == LIQUID_STRING && b->type == LIQUID_STRING)
        *order = slice_cmp(value_slice(a), value_slice(b));
    else if (value_same(a, b))
        *order = 0;
    else
        return ERR_INVAL;
    return 0;
}

static bool contains(struct render *vm, const struct liquid_value *a, const struct liquid_value *b, int *rc)
{
    struct slice needle;
    if (!is_true(a) || !is_true(b))
        return false;
    switch ((enum liquid_type)a->type) {
    case LIQUID_STRING:
        *rc = render_charge(vm, a->n);
        if (!*rc)
            *rc = value_text(vm, b, &needle);
        return !*rc && slice_find(value_slice(a), needle) >= 0;
    case LIQUID_ARRAY:
        *rc = render_charge(vm, (size_t)a->n * 16);
        for (uint32_t i = 0; !*rc && i < a->n; i++)
            if (value_equal(&a->items[i], b, VALUE_DEPTH))
                return true;
        return false;
    case LIQUID_MAP:
        *rc = render_charge(vm, (size_t)a->n * 4);
        return !*rc && b->type == LIQUID_STRING && find_pair(a, value_slice(b));
    case LIQUID_RANGE: {
        struct liquid_value first = liquid_int(a->range->first), last = liquid_int(a->range->last);
        return is_number(b) && number_compare(&first, b) <= 0 && number_compare(b, &last) <= 0;
    }
    case LIQUID_NIL:
    case LIQUID_BOOL:
    case LIQUID_INT:
    case LIQUID_FLOAT:
    case LIQUID_BLANK:
    case LIQUID_EMPTY:
    case LIQUID_LOOP:
    case LIQUID_UNSET:
        return false;
    }
    return false;
}

static const char *kind(const struct liquid_value *v)
{
    return v->type == LIQUID_STRING ? "a string" : "a number";
}

int value_compare(struct render *vm, enum compare op, const struct liquid_value *a,
                  const struct liquid_value *b, bool *out)
{
    int order = 0, rc = 0;
    if (op == CMP_EQ || op == CMP_NE) {
        if ((a->type == LIQUID_ARRAY || a->type == LIQUID_MAP) && (rc = render_charge(vm, (size_t)a->n * 16)))
            return rc;
        *out = value_equal(a, b, VALUE_DEPTH) == (op == CMP_EQ);
        return 0;
    }
    if (op == CMP_CONTAINS) {
        *out = contains(vm, a, b, &rc);
        return rc;
    }
    bool known_a = is_number(a) || a->type == LIQUID_STRING,
         known_b = is_number(b) || b->type == LIQUID_STRING;
    *out = false;
    if (!known_a || !known_b) /* nil and its like are neither smaller nor greater than anything */
        return 0;
    if (value_order(a, b, &order))
        return render_fail(vm, ERR_INVAL, "%s cannot be compared with %s", kind(a), kind(b));
    *out = op == CMP_LT ? order < 0 : op == CMP_LE ? order <= 0 : op == CMP_GT ? order > 0 : order >= 0;
    return 0;
}

/* --- looking inside --- */

static struct liquid_value loop_get(const struct liquid_loop *l, struct slice key)
{
    const struct {
        struct slice name;
        struct liquid_value value;
    } both[] =
        {
            {S("index"), liquid_int(l->index0 + 1)},
            {S("index0"), liquid_int(l->index0)},
            {S("rindex"), liquid_int(l->length - l->index0)},
            {S("rindex0"), liquid_int(l->length - l->index0 - 1)},
            {S("first"), liquid_bool(l->index0 == 0)},
            {S("last"), liquid_bool(l->index0 == l->length - 1)},
            {S("length"), liquid_int(l->length)},
        },
      of_tablerow[] = {
          {S("col"), liquid_int(l->col)},
          {S("col0"), liquid_int(l->col - 1)},
          {S("row"), liquid_int(l->row)},
          {S("col_first"), liquid_bool(l->col == 1)},
          {S("col_last"), liquid_bool(l->col == l->cols)},
      };
    for (size_t i = 0; i < COUNT(both); i++)
        if (slice_eq(both[i].name, key))
            return both[i].value;
    for (size_t i = 0; l->tablerow && i < COUNT(of_tablerow); i++)
        if (slice_eq(of_tablerow[i].name, key))
            return of_tablerow[i].value;
    if (!l->tablerow && slice_eq(key, S("name")))
        return liquid_string(l->name);
    if (!l->tablerow && slice_eq(key, S("parentloop")) && l->parent)
        return (struct liquid_value){.type = LIQUID_LOOP, .loop = l->parent};
    return liquid_nil();
}

static struct liquid_value pair_value(struct render *vm, const struct liquid_pair *pair)
{
    struct liquid_value *two = render_alloc(vm, 2 * sizeof *two);
    if (!two)
        return liquid_nil();
    two[0] = pair->key;
    two[1] = pair->value;
    return (struct liquid_value){.type = LIQUID_ARRAY, .n = 2, .items = two};
}

static struct liquid_value end_of(struct render *vm, const struct liquid_value *v, bool last)
{
    switch ((enum liquid_type)v->type) {
    case LIQUID_ARRAY:
        return v->n ? v->items[last ? v->n - 1 : 0] : liquid_nil();
    case LIQUID_MAP:
        return v->n && !last ? pair_value(vm, &v->pairs[0]) : liquid_nil();
    case LIQUID_RANGE:
        return liquid_int(last ? v->range->last : v->range->first);
    case LIQUID_STRING: {
        struct slice s = value_slice(v);
        if (!s.n)
            return liquid_string(SLICE_NONE);
        size_t at = 0;
        if (last)
            for (at = s.n - 1; at && ((unsigned char)s.p[at] & 0xC0) == 0x80; at--)
                ;
        s = slice_of(s.p + at, s.n - at);
        return liquid_string(slice_of(s.p, value_skip_chars(s, 1)));
    }
    case LIQUID_NIL:
    case LIQUID_BOOL:
    case LIQUID_INT:
    case LIQUID_FLOAT:
    case LIQUID_BLANK:
    case LIQUID_EMPTY:
    case LIQUID_LOOP:
    case LIQUID_UNSET:
        return liquid_nil();
    }
    return liquid_nil();
}

static struct liquid_value command_on(struct render *vm, const struct liquid_value *v, struct slice name)
{
    if (slice_eq(name, S("first")) || slice_eq(name, S("last")))
        return end_of(vm, v, name.p[0] == 'l');
    if (!slice_eq(name, S("size")))
        return liquid_nil();
    if (v->type == LIQUID_STRING)
        return liquid_int((int64_t)utf8_count(value_slice(v)));
    if (v->type == LIQUID_ARRAY || v->type == LIQUID_MAP)
        return liquid_int(v->n);
    if (v->type == LIQUID_RANGE)
        return liquid_int((int64_t)value_range_count(v->range));
    return liquid_nil();
}

struct liquid_value value_get(struct render *vm, const struct liquid_value *v, const struct liquid_value *key,
                              bool command)
{
    if (v->type == LIQUID_MAP && key->type == LIQUID_STRING) {
        vm->steps -= v->n / 16;
        const struct liquid_value *found = find_pair(v, value_slice(key));
        if (found)
            return *found;
    } else if (v->type == LIQUID_ARRAY && key->type == LIQUID_INT) {
        int64_t i = key->i < 0 ? key->i + v->n : key->i;
        return i >= 0 && i < v->n ? v->items[i] : liquid_nil();
    } else if (v->type == LIQUID_LOOP && key->type == LIQUID_STRING)
        return loop_get(v->loop, value_slice(key));
    return command && key->type == LIQUID_STRING ? command_on(vm, v, value_slice(key)) : liquid_nil();
}
