/* filters_list.c - filters on lists: order, selection, sums, splitting and joining. */
#include "format/liquid/filters.h"

/* --- items --- */

static int count_flat(struct render *vm, const struct liquid_value *v, size_t *n, bool *flat, int depth)
{
    if (depth <= 0)
        return render_fail(vm, ERR_LIMIT, "a list is nested too deeply");
    for (uint32_t i = 0; i < v->n; i++)
        if (v->items[i].type == LIQUID_ARRAY) {
            *flat = false;
            int rc = count_flat(vm, &v->items[i], n, flat, depth - 1);
            if (rc)
                return rc;
        } else
            ++*n;
    return render_charge(vm, (size_t)v->n * 4);
}

static struct liquid_value *flatten(const struct liquid_value *v, struct liquid_value *to)
{
    for (uint32_t i = 0; i < v->n; i++)
        if (v->items[i].type == LIQUID_ARRAY)
            to = flatten(&v->items[i], to);
        else
            *to++ = v->items[i];
    return to;
}

int filter_items(struct render *vm, const struct liquid_value *v, const struct liquid_value **items,
                 uint32_t *n)
{
    struct liquid_value *list;
    size_t count = 0;
    bool flat = true;
    *items = NULL;
    *n = 0;
    switch ((enum liquid_type)v->type) {
    case LIQUID_NIL:
    case LIQUID_UNSET:
        return 0;
    case LIQUID_ARRAY: {
        int rc = count_flat(vm, v, &count, &flat, VALUE_DEPTH);
        if (rc)
            return rc;
        *items = v->items;
        *n = v->n;
        if (flat)
            return 0;
        break;
    }
    case LIQUID_RANGE:
        count = value_range_count(v->range);
        break;
    case LIQUID_BOOL:
    case LIQUID_INT:
    case LIQUID_FLOAT:
    case LIQUID_STRING:
    case LIQUID_MAP:
    case LIQUID_BLANK:
    case LIQUID_EMPTY:
    case LIQUID_LOOP:
        count = 1;
        break;
    }
    if (count > UINT32_MAX / sizeof *list)
        return render_fail(vm, ERR_LIMIT, "a list is too long");
    if (!(list = render_alloc(vm, count * sizeof *list)))
        return ERR_LIMIT;
    if (v->type == LIQUID_ARRAY)
        flatten(v, list);
    else if (v->type == LIQUID_RANGE)
        for (size_t i = 0; i < count; i++)
            list[i] = liquid_int(v->range->first + (int64_t)i);
    else
        list[0] = *v;
    *items = list;
    *n = (uint32_t)count;
    return render_charge(vm, count * 4);
}

static struct liquid_value array_of(const struct liquid_value *items, uint32_t n)
{
    return (struct liquid_value){.type = LIQUID_ARRAY, .n = n, .items = items};
}

/* item[property] as Ruby has it: a string holds its substrings and characters, an integer its bits. ERR_INVAL
 * for what has no properties at all and ERR_UNSUPPORTED where the filter as a whole comes to nothing. */
static int property_of(struct render *vm, const struct liquid_value *item,
                       const struct liquid_value *property, struct liquid_value *out)
{
    *out = liquid_nil();
    switch ((enum liquid_type)item->type) {
    case LIQUID_MAP:
    case LIQUID_ARRAY:
    case LIQUID_LOOP:
        *out = value_get(vm, item, property, false);
        return 0;
    case LIQUID_STRING:
        if (property->type == LIQUID_STRING) {
            if (slice_find(value_slice(item), value_slice(property)) >= 0)
                *out = *property;
            return render_charge(vm, item->n);
        }
        if (property->type == LIQUID_INT) {
            struct slice s = value_slice(item);
            int64_t at = property->i < 0 ? property->i + (int64_t)utf8_count(s) : property->i;
            size_t from = at < 0 || at > (int64_t)s.n ? s.n : value_skip_chars(s, (size_t)at);
            s = slice_of(s.p + from, s.n - from);
            if (s.n)
                *out = liquid_string(slice_of(s.p, value_skip_chars(s, 1)));
            return render_charge(vm, item->n);
        }
        break;
    case LIQUID_INT:
        if (property->type == LIQUID_INT) {
            int64_t bit = property->i;
            *out = liquid_int(bit < 0 ? 0 : item->i >> (bit > 63 ? 63 : bit) & 1);
            return 0;
        }
        break;
    case LIQUID_NIL:
    case LIQUID_BOOL:
    case LIQUID_FLOAT:
    case LIQUID_RANGE:
    case LIQUID_BLANK:
    case LIQUID_EMPTY:
    case LIQUID_UNSET:
        return ERR_UNSUPPORTED;
    }
    struct slice name;
    int rc = value_text(vm, property, &name);
    return rc ? rc : render_fail(vm, ERR_INVAL, "cannot select the property '%.*s'", SLICE_FMT(name));
}

/* The same for uniq and sort, which look at no property where there is nothing to compare. */
static int key_of(struct render *vm, const struct liquid_value *item, uint32_t count,
                  const struct liquid_value *property, struct liquid_value *out)
{
    if (count < 2 && (item->type == LIQUID_STRING || item->type == LIQUID_INT)) {
        *out = *item;
        return 0;
    }
    return property_of(vm, item, property, out);
}

/* --- selection --- */

enum select { WHERE, REJECT, HAS, FIND, FIND_INDEX };

static int choose(struct render *vm, enum select what, const struct liquid_value *v, int n,
                  struct liquid_value *out)
{
    const struct liquid_value *items;
    uint32_t count, kept = 0;
    int rc = filter_items(vm, v, &items, &count);
    if (rc)
        return rc;
    *out = what == HAS                          ? liquid_bool(false)
           : what == FIND || what == FIND_INDEX ? liquid_nil()
                                                : array_of(NULL, 0);
    if (!count || v[1].type == LIQUID_NIL)
        return 0;
    struct liquid_value *list =
        render_alloc(vm, (what == WHERE || what == REJECT ? count : 0) * sizeof *list);
    if (!list)
        return ERR_LIMIT;
    bool any_value = n < 2 || v[2].type == LIQUID_NIL;
    for (uint32_t i = 0; i < count; i++) {
        struct liquid_value p;
        rc = property_of(vm, &items[i], &v[1], &p);
        if (rc == ERR_UNSUPPORTED) {
            *out = liquid_nil();
            return 0;
        }
        if (rc)
            return rc;
        bool hit = any_value ? is_true(&p) : value_equal(&p, &v[2], VALUE_DEPTH);
        if (what == WHERE || what == REJECT) {
            if (hit == (what == WHERE))
                list[kept++] = items[i];
        } else if (hit) {
            *out = what == HAS ? liquid_bool(true) : what == FIND ? items[i] : liquid_int(i);
            return 0;
        }
    }
    if (what == WHERE || what == REJECT)
        *out = array_of(list, kept);
    return 0;
}

FILTER(where)
{
    return choose(vm, WHERE, v, n, out);
}

FILTER(reject)
{
    return choose(vm, REJECT, v, n, out);
}

FILTER(has)
{
    return choose(vm, HAS, v, n, out);
}

FILTER(find)
{
    return choose(vm, FIND, v, n, out);
}

FILTER(find_index)
{
    return choose(vm, FIND_INDEX, v, n, out);
}

FILTER(compact)
{
    const struct liquid_value *items;
    uint32_t count, kept = 0;
    int rc = filter_items(vm, v, &items, &count);
    if (rc)
        return rc;
    struct liquid_value *list = render_alloc(vm, count * sizeof *list);
    if (!list)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < count; i++) {
        struct liquid_value p = items[i];
        if (n > 0 && v[1].type != LIQUID_NIL && (rc = property_of(vm, &items[i], &v[1], &p))) {
            *out = liquid_nil();
            return rc == ERR_UNSUPPORTED ? 0 : rc;
        }
        if (p.type != LIQUID_NIL)
            list[kept++] = items[i];
    }
    *out = array_of(list, kept);
    return 0;
}

FILTER(uniq)
{
    const struct liquid_value *items;
    uint32_t count, kept = 0;
    int rc = filter_items(vm, v, &items, &count);
    if (rc)
        return rc;
    struct liquid_value *list = render_alloc(vm, 2 * (size_t)count * sizeof *list);
    if (!list)
        return ERR_LIMIT;
    struct liquid_value *keys = list + count;
    for (uint32_t i = 0; i < count; i++) {
        struct liquid_value p = items[i];
        if (n > 0 && v[1].type != LIQUID_NIL && (rc = key_of(vm, &items[i], count, &v[1], &p))) {
            *out = liquid_nil();
            return rc == ERR_UNSUPPORTED ? 0 : rc;
        }
        uint32_t k = 0;
        while (k < kept && !value_same(&keys[k], &p))
            k++;
        if ((rc = render_charge(vm, (size_t)k * 4)))
            return rc;
        if (k == kept) {
            keys[kept] = p;
            list[kept++] = items[i];
        }
    }
    *out = array_of(list, kept);
    return 0;
}

FILTER(map)
{
    const struct liquid_value *items;
    uint32_t count;
    int rc = filter_items(vm, v, &items, &count);
    if (rc)
        return rc;
    struct liquid_value *list = render_alloc(vm, count * sizeof *list);
    if (!list)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < count; i++)
        if ((rc = property_of(vm, &items[i], &v[1], &list[i])) && rc != ERR_UNSUPPORTED)
            return rc;
    *out = array_of(list, count);
    return 0;
}

FILTER(sum)
{
    const struct liquid_value *items;
    uint32_t count;
    int rc = filter_items(vm, v, &items, &count);
    struct liquid_value total = liquid_int(0);
    for (uint32_t i = 0; !rc && i < count; i++) {
        struct liquid_value p = items[i];
        if (n > 0 && v[1].type != LIQUID_NIL) {
            rc = property_of(vm, &items[i], &v[1], &p);
            if (rc == ERR_UNSUPPORTED)
                rc = 0;
        }
        if (rc)
            break;
        if (p.type == LIQUID_ARRAY) { /* what properties hold may be lists */
            struct liquid_value inner;
            if ((rc = filter_sum(vm, &p, 0, &inner)))
                break;
            p = inner;
        }
        p = value_number(&p);
        if (number_math(MATH_ADD, &total, &p, &total))
            rc = render_fail(vm, ERR_RANGE, "the result is too large a number");
    }
    *out = total;
    return rc;
}

/* --- order --- */

struct sorting {
    struct render *vm;
    bool natural;
    int rc;
};

static int order(struct sorting *s, const struct liquid_value *a, const struct liquid_value *b)
{
    int result = 0;
    if (a->type == LIQUID_NIL || b->type == LIQUID_NIL) /* nil comes last */
        return (a->type == LIQUID_NIL) - (b->type == LIQUID_NIL);
    if (!s->natural) {
        if (value_order(a, b, &result) && !s->rc)
            s->rc = render_fail(s->vm, ERR_INVAL, "cannot sort values of different types");
        return result;
    }
    struct slice x, y;
    if (!s->rc)
        s->rc = value_text(s->vm, a, &x);
    if (!s->rc)
        s->rc = value_text(s->vm, b, &y);
    if (s->rc)
        return 0;
    for (size_t i = 0; i < x.n && i < y.n; i++)
        if (ascii_lower(x.p[i]) != ascii_lower(y.p[i]))
            return (unsigned char)ascii_lower(x.p[i]) < (unsigned char)ascii_lower(y.p[i]) ? -1 : 1;
    return (x.n > y.n) - (x.n < y.n);
}

/* Merge sort, stable: pairs of (key, item); tmp has the same room. */
static void merge_sort(struct sorting *s, struct liquid_pair *v, struct liquid_pair *tmp, size_t n)
{
    if (n < 2)
        return;
    size_t half = n / 2, a = 0, b = half;
    merge_sort(s, v, tmp, half);
    merge_sort(s, v + half, tmp, n - half);
    for (size_t i = 0; i < n; i++) {
        bool left = b == n || (a < half && order(s, &v[a].key, &v[b].key) <= 0);
        tmp[i] = left ? v[a++] : v[b++];
    }
    memcpy(v, tmp, n * sizeof *v);
}

static int sort(struct render *vm, const struct liquid_value *v, int n, bool natural,
                struct liquid_value *out)
{
    const struct liquid_value *items;
    uint32_t count;
    int rc = filter_items(vm, v, &items, &count);
    size_t work = count;
    for (size_t m = count; m > 1; m /= 2)
        work += count;
    if (rc || (rc = render_charge(vm, work * 32)))
        return rc;
    struct liquid_pair *pairs = render_alloc(vm, 2 * (size_t)count * sizeof *pairs);
    struct liquid_value *list = pairs ? render_alloc(vm, count * sizeof *list) : NULL;
    if (!list)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < count; i++) {
        pairs[i] = (struct liquid_pair){items[i], items[i]};
        if (n > 0 && v[1].type != LIQUID_NIL && (rc = key_of(vm, &items[i], count, &v[1], &pairs[i].key))) {
            *out = liquid_nil();
            return rc == ERR_UNSUPPORTED ? 0 : rc;
        }
    }
    struct sorting s = {vm, natural, 0};
    merge_sort(&s, pairs, pairs + count, count);
    for (uint32_t i = 0; i < count; i++)
        list[i] = pairs[i].value;
    *out = array_of(list, count);
    return s.rc;
}

FILTER(sort)
{
    return sort(vm, v, n, false, out);
}

FILTER(sort_natural)
{
    return sort(vm, v, n, true, out);
}

FILTER(reverse)
{
    const struct liquid_value *items;
    uint32_t count;
    int rc = filter_items(vm, v, &items, &count);
    if (rc)
        return rc;
    struct liquid_value *list = render_alloc(vm, count * sizeof *list);
    if (!list)
        return ERR_LIMIT;
    for (uint32_t i = 0; i < count; i++)
        list[i] = items[count - 1 - i];
    *out = array_of(list, count);
    return 0;
}

FILTER(concat)
{
    const struct liquid_value *items;
    uint32_t count;
    if (v[1].type != LIQUID_ARRAY)
        return render_fail(vm, ERR_INVAL, "concat needs a list as its argument");
    int rc = filter_items(vm, v, &items, &count);
    if (rc)
        return rc;
    struct liquid_value *list = render_alloc(vm, ((size_t)count + v[1].n) * sizeof *list);
    if (!list)
        return ERR_LIMIT;
    if (count)
        memcpy(list, items, count * sizeof *list);
    if (v[1].n)
        memcpy(list + count, v[1].items, v[1].n * sizeof *list);
    *out = array_of(list, count + v[1].n);
    return 0;
}

/* --- ends, size, text and back --- */

static int command(struct render *vm, const struct liquid_value *v, struct slice name,
                   struct liquid_value *out)
{
    struct liquid_value nothing = *v, key = liquid_string(name);
    if (v->type == LIQUID_MAP && name.p[0] != 'f') { /* a key of that name must not answer */
        *out = name.p[0] == 's' ? liquid_int(v->n) : liquid_nil();
        return 0;
    }
    if (v->type == LIQUID_MAP && v->n) {
        struct liquid_value *two = render_alloc(vm, 2 * sizeof *two);
        if (!two)
            return ERR_LIMIT;
        two[0] = v->pairs[0].key;
        two[1] = v->pairs[0].value;
        *out = array_of(two, 2);
        return 0;
    }
    if (v->type == LIQUID_LOOP)
        nothing = liquid_nil();
    *out = value_get(vm, &nothing, &key, true);
    return 0;
}

FILTER(first)
{
    return command(vm, v, S("first"), out);
}

FILTER(last)
{
    return command(vm, v, S("last"), out);
}

FILTER(size)
{
    int rc = command(vm, v, S("size"), out);
    if (!rc && out->type == LIQUID_NIL)
        *out = liquid_int(0);
    return rc;
}

FILTER(join)
{
    const struct liquid_value *items;
    uint32_t count;
    struct slice glue = S(" "), s;
    int rc = filter_items(vm, v, &items, &count);
    if (!rc && n > 0)
        rc = value_text(vm, &v[1], &glue);
    size_t total = 0;
    struct slice *texts = rc ? NULL : render_alloc(vm, count * sizeof *texts);
    if (!texts)
        return rc ? rc : ERR_LIMIT;
    for (uint32_t i = 0; i < count; i++) {
        if ((rc = value_text(vm, &items[i], &s)))
            return rc;
        texts[i] = s;
        total += s.n + glue.n;
        if (total > vm->mem_left)
            return render_fail(vm, ERR_LIMIT, "a text is too long");
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i)
            buf_adds(&vm->scratch, glue);
        buf_adds(&vm->scratch, texts[i]);
    }
    rc = render_copy(vm, buf_slice(&vm->scratch), out);
    buf_clear(&vm->scratch);
    return rc;
}

static void add_part(struct liquid_value *list, uint32_t *n, const char *p, size_t bytes)
{
    if (list)
        list[*n] = liquid_string(slice_of(p, bytes));
    ++*n;
}

/* The pieces of s, counted, and stored where list is given. */
static uint32_t split(struct slice s, struct slice by, struct liquid_value *list)
{
    uint32_t n = 0;
    if (!by.n) {
        for (size_t i = 0; i < s.n;) {
            size_t one = value_skip_chars(slice_of(s.p + i, s.n - i), 1);
            add_part(list, &n, s.p + i, one);
            i += one;
        }
        return n;
    }
    if (slice_eq(by, S(" "))) { /* a single space means any white space, and none at the ends */
        for (size_t i = 0, from; i < s.n;) {
            while (i < s.n && value_is_space(s.p[i]))
                i++;
            for (from = i; i < s.n && !value_is_space(s.p[i]); i++)
                ;
            if (i > from)
                add_part(list, &n, s.p + from, i - from);
        }
        return n;
    }
    for (;;) {
        ptrdiff_t at = slice_find(s, by);
        add_part(list, &n, s.p, at < 0 ? s.n : (size_t)at);
        if (at < 0)
            return n;
        s = slice_of(s.p + at + by.n, s.n - (size_t)at - by.n);
    }
}

FILTER(split)
{
    struct slice s, by;
    int rc = value_text(vm, &v[0], &s);
    if (!rc)
        rc = value_text(vm, &v[1], &by);
    if (!rc)
        rc = render_charge(vm, 2 * s.n);
    if (rc)
        return rc;
    uint32_t count = split(s, by, NULL);
    struct liquid_value *list = render_alloc(vm, count * sizeof *list);
    if (!list)
        return ERR_LIMIT;
    split(s, by, list);
    while (count && !list[count - 1].n) /* empty pieces at the end are none */
        count--;
    *out = array_of(list, count);
    return 0;
}
