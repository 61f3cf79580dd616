/* opts.c - see opts.h. */
#include "opts.h"
#include "base/words.h"

#include <stdio.h>

static struct slice long_name(const struct opt *o)
{
    struct slice rest;
    return slice_cut(slice_cstr(o->name), '|', &rest);
}

static const struct opt *find(const struct opt *table, struct slice name)
{
    for (const struct opt *o = table; o->kind != OPT_END; o++) {
        struct slice alias, whole = slice_cut(slice_cstr(o->name), '|', &alias);
        if (slice_eq(name, whole) || (alias.n && slice_eq(name, alias)))
            return o;
    }
    return NULL;
}

static int unknown(const struct opt *table, struct slice name, struct err *e)
{
    struct slice names[64];
    size_t n = 0;
    for (const struct opt *o = table; o->kind != OPT_END && n < COUNT(names); o++)
        names[n++] = long_name(o);
    struct slice near = words_near(name, names, n);
    if (near.n)
        return err_set(e, ERR_INVAL, "unknown option --%.*s; did you mean --%.*s?", SLICE_FMT(name),
                       SLICE_FMT(near));
    return err_set(e, ERR_INVAL, "unknown option --%.*s; --help lists them", SLICE_FMT(name));
}

static int list_add(struct opt_list *l, const char *word, const char *what, struct err *e)
{
    if (l->n == COUNT(l->v))
        return err_set(e, ERR_LIMIT, "%s takes at most %zu values", what, COUNT(l->v));
    l->v[l->n++] = word;
    return 0;
}

static int take_value(const struct opt *o, const char *value, void *at, struct err *e)
{
    struct slice name = long_name(o);
    struct slice v = slice_cstr(value);
    switch (o->kind) {
    case OPT_STRING:
        *(const char **)at = value;
        return 0;
    case OPT_INT: {
        bool minus = v.n && v.p[0] == '-';
        uint64_t n;
        if (slice_u64(slice_of(v.p + minus, v.n - minus), &n) || n > INT64_MAX)
            return err_set(e, ERR_INVAL, "--%.*s wants a whole number, not \"%s\"", SLICE_FMT(name), value);
        *(int64_t *)at = minus ? -(int64_t)n : (int64_t)n;
        return 0;
    }
    case OPT_DURATION:
        if (words_duration(v, at))
            return err_set(
                e, ERR_INVAL,
                "--%.*s wants a duration such as \"90 s\", \"10 min\", \"2 h\" or \"forever\", not \"%s\"",
                SLICE_FMT(name), value);
        return 0;
    case OPT_LIST:
    case OPT_MANY:
        return list_add(at, value, o->name, e);
    case OPT_END:
    case OPT_FLAG:
        break;
    }
    return err_set(e, ERR_INVAL, "--%.*s takes no value", SLICE_FMT(name));
}

int opts_parse(int argc, char **argv, const struct opt *table, void *target, struct opt_list *rest,
               struct err *e)
{
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        struct slice word = slice_cstr(argv[i]);
        if (only_words || word.n < 2 || word.p[0] != '-') {
            if (!rest)
                return err_set(e, ERR_INVAL, "unexpected word \"%s\"", argv[i]);
            int r = list_add(rest, argv[i], "the command line", e);
            if (r)
                return r;
            continue;
        }
        if (slice_eq(word, S("--"))) {
            only_words = true;
            continue;
        }
        size_t dashes = word.p[1] == '-' ? 2 : 1;
        struct slice value, name = slice_cut(slice_of(word.p + dashes, word.n - dashes), '=', &value);
        bool inline_value = name.n + dashes < word.n;
        const struct opt *o = find(table, name);
        if (!o)
            return unknown(table, name, e);
        void *at = (char *)target + o->offset;
        if (o->kind == OPT_FLAG) {
            if (inline_value)
                return take_value(o, value.p, at, e);
            *(bool *)at = true;
            continue;
        }
        if (!inline_value && i + 1 >= argc)
            return err_set(e, ERR_MISSING, "--%.*s wants %s", SLICE_FMT(name), o->arg);
        int r = take_value(o, inline_value ? value.p : argv[++i], at, e);
        while (!r && o->kind == OPT_MANY && i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0)
            r = take_value(o, argv[++i], at, e);
        if (r)
            return r;
    }
    return 0;
}

void opts_help(const char *usage, const struct opt *table)
{
    printf("%s\n", usage);
    if (table->kind != OPT_END)
        printf("\nOptions:\n");
    for (const struct opt *o = table; o->kind != OPT_END; o++) {
        char left[64];
        struct slice name = long_name(o);
        snprintf(left, sizeof left, "--%.*s%s%s", SLICE_FMT(name), o->arg ? " " : "", o->arg ? o->arg : "");
        printf("  %-26s %s\n", left, o->help);
    }
}
