/* expr.c - compiles expressions, conditions, filters and outputs. */
#include "base/words.h"
#include "format/liquid/compile.h"

static int unexpected(struct compiler *c, struct lexer *l, const char *wanted)
{
    const char *at = l->kind == LEX_END ? c->pos : l->text.p;
    if (l->kind == LEX_END)
        return compile_fail(c, at, ERR_SYNTAX, "%s is missing at the end", wanted);
    return compile_fail(c, at, ERR_SYNTAX, "unexpected '%.*s'; %s should stand here", SLICE_FMT(l->text),
                        wanted);
}

int lex_expect_end(struct compiler *c, struct lexer *l)
{
    if (l->kind == LEX_END)
        return 0;
    return compile_fail(c, l->text.p, ERR_SYNTAX, "unexpected '%.*s'", SLICE_FMT(l->text));
}

static int expect(struct compiler *c, struct lexer *l, enum lex kind, const char *wanted)
{
    return lex_take(l, kind) ? 0 : unexpected(c, l, wanted);
}

int lex_take_name(struct compiler *c, struct lexer *l, const char *what, struct slice *name)
{
    if (l->kind != LEX_ID)
        return unexpected(c, l, what);
    *name = l->text;
    lex_next(l);
    return 0;
}

static int parse_number(struct compiler *c, struct slice s, struct liquid_value *v)
{
    if (memchr(s.p, '.', s.n)) {
        *v = number_parse(s);
        return 0;
    }
    *v = liquid_int(value_loose_integer(s));
    if (v->i == INT64_MAX || v->i == INT64_MIN)
        return compile_fail(c, s.p, ERR_SYNTAX, "%.*s is too large a number", SLICE_FMT(s));
    return 0;
}

/* nil, true, blank ...: words that are values unless something is looked up in them. */
static bool word_literal(const struct lexer *l, bool condition, struct liquid_value *v)
{
    struct lexer ahead = *l;
    struct slice s = l->text;
    lex_next(&ahead);
    if (ahead.kind == LEX_DOT || ahead.kind == LEX_OPEN_SQUARE)
        return false;
    if (slice_eq(s, S("nil")) || slice_eq(s, S("null")))
        *v = liquid_nil();
    else if (slice_eq(s, S("true")) || slice_eq(s, S("false")))
        *v = liquid_bool(s.p[0] == 't');
    else if (slice_eq(s, S("blank")) || slice_eq(s, S("empty")))
        *v = condition ? (struct liquid_value){.type = s.p[0] == 'b' ? LIQUID_BLANK : LIQUID_EMPTY}
                       : liquid_string(SLICE_NONE);
    else
        return false;
    return true;
}

static int push_literal(struct compiler *c, struct expr *x, struct liquid_value v)
{
    x->literal = true;
    x->value = v;
    compile_emit(c, OP_CONST, 0, 0, compile_const(c, v), 0);
    return compile_stack(c, 1);
}

static struct slice unquoted(struct slice s)
{
    return slice_of(s.p + 1, s.n - 2);
}

static int add_key(struct compiler *c, struct expr *x, struct liquid_value key)
{
    uint32_t at = compile_const(c, key);
    if (!x->nkeys++)
        x->key = at;
    compile_emit(c, OP_KEY, 0, 0, at, 0);
    return 0;
}

/* .name and [expression], as many as follow. */
static int compile_keys(struct compiler *c, struct lexer *l, struct expr *x)
{
    for (;;) {
        int rc = 0;
        if (lex_take(l, LEX_DOT)) {
            struct slice name = SLICE_NONE;
            if ((rc = lex_take_name(c, l, "a name", &name)))
                return rc;
            struct liquid_value key = liquid_string(name);
            key.flags = V_DOT;
            rc = add_key(c, x, key);
        } else if (lex_take(l, LEX_OPEN_SQUARE)) {
            struct lexer ahead = *l;
            lex_next(&ahead);
            bool constant =
                ahead.kind == LEX_CLOSE_SQUARE && (l->kind == LEX_STRING || l->kind == LEX_NUMBER);
            if (constant) {
                struct liquid_value key = liquid_string(l->kind == LEX_STRING ? unquoted(l->text) : l->text);
                if (l->kind == LEX_NUMBER)
                    rc = parse_number(c, l->text, &key);
                if (!rc)
                    rc = add_key(c, x, key);
                lex_next(l);
            } else {
                struct expr inner;
                x->plain = false;
                rc = compile_expr(c, l, false, &inner);
                compile_emit(c, OP_INDEX, 0, 0, 0, 0);
                if (!rc)
                    rc = compile_stack(c, -1);
            }
            if (!rc)
                rc = expect(c, l, LEX_CLOSE_SQUARE, "]");
        } else
            return 0;
        if (rc)
            return rc;
    }
}

static int compile_path(struct compiler *c, struct lexer *l, struct expr *x)
{
    int rc = 0;
    x->path = x->plain = true;
    if (l->kind == LEX_ID) {
        x->sym = compile_symbol(c, l->text);
        lex_next(l);
    } else {
        lex_next(l); /* [ */
        if (l->kind == LEX_STRING) {
            x->sym = compile_symbol(c, unquoted(l->text));
            lex_next(l);
        } else {
            struct expr inner;
            x->plain = false;
            x->sym = NONE;
            if ((rc = compile_expr(c, l, false, &inner)))
                return rc;
            compile_emit(c, OP_DYNSYM, 0, 0, 0, 0);
        }
        if ((rc = expect(c, l, LEX_CLOSE_SQUARE, "]")))
            return rc;
    }
    if (x->sym != NONE) {
        compile_emit(c, OP_SYM, 0, 0, x->sym, 0);
        if ((rc = compile_stack(c, 1)))
            return rc;
    }
    return compile_keys(c, l, x);
}

static int compile_range(struct compiler *c, struct lexer *l, struct expr *x)
{
    struct expr first, last;
    lex_next(l);
    int rc = compile_expr(c, l, false, &first);
    if (!rc)
        rc = expect(c, l, LEX_DOTS, "..");
    if (!rc)
        rc = compile_expr(c, l, false, &last);
    if (!rc)
        rc = expect(c, l, LEX_CLOSE, ")");
    if (rc)
        return rc;
    if ((first.literal && first.value.type == LIQUID_BOOL) ||
        (last.literal && last.value.type == LIQUID_BOOL))
        return compile_fail(c, first.text.p, ERR_SYNTAX, "a range goes from number to number");
    compile_emit(c, OP_RANGE, first.literal && last.literal, 0, 0, 0);
    return compile_stack(c, -1);
}

int compile_expr(struct compiler *c, struct lexer *l, bool condition, struct expr *x)
{
    const char *from = l->text.p;
    struct liquid_value v;
    int rc = compile_enter(c);
    *x = (struct expr){.sym = NONE};
    if (rc)
        return rc;
    if (l->kind == LEX_ID && word_literal(l, condition, &v)) {
        lex_next(l);
        rc = push_literal(c, x, v);
    } else if (l->kind == LEX_ID || l->kind == LEX_OPEN_SQUARE)
        rc = compile_path(c, l, x);
    else if (l->kind == LEX_STRING) {
        rc = push_literal(c, x, liquid_string(unquoted(l->text)));
        lex_next(l);
    } else if (l->kind == LEX_NUMBER) {
        if (!(rc = parse_number(c, l->text, &v)))
            rc = push_literal(c, x, v);
        lex_next(l);
    } else if (l->kind == LEX_OPEN)
        rc = compile_range(c, l, x);
    else
        rc = unexpected(c, l, "a value");
    x->text = slice_of(from, (size_t)(l->s.p + l->end_of_last - from));
    c->nesting--;
    return rc;
}

/* --- conditions --- */

static enum compare compare_named(struct slice s)
{
    switch (s.p[0]) {
    case '=':
        return CMP_EQ;
    case '!':
        return CMP_NE;
    case '<':
        return s.n == 1 ? CMP_LT : s.p[1] == '=' ? CMP_LE : CMP_NE;
    case '>':
        return s.n == 1 ? CMP_GT : CMP_GE;
    }
    return CMP_CONTAINS;
}

static int compile_comparison(struct compiler *c, struct lexer *l)
{
    struct expr x;
    int rc = compile_expr(c, l, true, &x);
    if (rc || l->kind != LEX_COMPARE)
        return rc;
    enum compare op = compare_named(l->text);
    lex_next(l);
    if ((rc = compile_expr(c, l, true, &x)))
        return rc;
    compile_emit(c, OP_COMPARE, op, 0, 0, 0);
    return compile_stack(c, -1);
}

/* Liquid reads `a and b or c` from the right: a and (b or c). So a false before `and` ends it all as false, a
 * true before `or` as true, and the last comparison decides otherwise. */
int compile_condition(struct compiler *c, struct slice markup, bool negated, struct vec *otherwise)
{
    struct vec body = {0};
    struct lexer l;
    int rc;
    lex_begin(&l, markup);
    for (;;) {
        if ((rc = compile_comparison(c, &l)) || (rc = compile_stack(c, -1)))
            break;
        bool and = lex_word(&l, "and"), or = !and&&lex_word(&l, "or");
        bool on_true = and? false : or ? true : negated; /* which result jumps away */
        uint32_t jump = compile_emit(c, on_true ? OP_JTRUE : OP_JFALSE, 0, 0, 0, 0);
        if (on_true == negated)
            VEC_PUSH(*otherwise, jump);
        else
            VEC_PUSH(body, jump);
        if (!and&&! or) {
            rc = lex_expect_end(c, &l);
            break;
        }
    }
    for (uint32_t i = 0; i < body.n; i++)
        compile_patch(c, VEC(body, uint32_t)[i], compile_here(c));
    buf_free(&body.b);
    return rc;
}

/* --- filters --- */

/* What the filters seen so far mean for an output. */
struct chain {
    int count;
    bool guarded; /* default or size: a missing first value is no fault */
    bool needs_run;
    bool escaped, just_escaped;
    int last;
};

static int compile_arguments(struct compiler *c, struct lexer *l, const struct filter *f, int *nargs,
                             bool *computed, struct expr *last)
{
    bool is_default = !strcmp(f->name, "default"), keyword = false;
    *nargs = 0;
    *computed = false;
    if (!lex_take(l, LEX_COLON))
        return 0;
    do {
        struct lexer ahead = *l;
        struct expr x;
        int rc;
        lex_next(&ahead);
        if (l->kind == LEX_ID && ahead.kind == LEX_COLON) {
            if (!is_default || !slice_eq(l->text, S("allow_false")) || keyword)
                return compile_fail(c, l->text.p, ERR_SYNTAX, "the filter '%s' takes no '%.*s'", f->name,
                                    SLICE_FMT(l->text));
            lex_next(l);
            lex_next(l);
            keyword = true;
            if (*nargs == 0) { /* its place is behind the default itself */
                if ((rc = push_literal(c, &x, liquid_string(SLICE_NONE))))
                    return rc;
                ++*nargs;
            }
        } else if (keyword)
            return compile_fail(c, l->text.p, ERR_SYNTAX, "put the default before allow_false");
        if ((rc = compile_expr(c, l, false, &x)))
            return rc;
        *last = x;
        *computed |= !x.literal || x.value.type == LIQUID_NIL;
        if (++*nargs > f->max || (is_default && !keyword && *nargs > 1))
            return compile_fail(c, x.text.p, ERR_SYNTAX, "the filter '%s' takes %s", f->name,
                                f->max == 0   ? "no argument"
                                : f->max == 1 ? "one argument"
                                              : "two arguments at most");
    } while (lex_take(l, LEX_COMMA));
    return 0;
}

static int unknown_filter(struct compiler *c, struct slice name)
{
    struct slice names[128];
    size_t n = 0;
    for (; n < liquid_nfilters && n < COUNT(names); n++)
        names[n] = slice_cstr(liquid_filters[n].name);
    struct slice near = words_near(name, names, n);
    if (near.n)
        return compile_fail(c, name.p, ERR_SYNTAX, "unknown filter '%.*s'; did you mean '%.*s'?",
                            SLICE_FMT(name), SLICE_FMT(near));
    return compile_fail(c, name.p, ERR_SYNTAX, "unknown filter '%.*s'", SLICE_FMT(name));
}

static void emit_filter(struct compiler *c, int filter, int nargs, uint32_t printed)
{
    compile_emit(c, OP_FILTER, (uint32_t)filter, (uint32_t)nargs, 0, printed);
}

static int compile_filter(struct compiler *c, struct lexer *l, bool prints, struct chain *chain, bool *raw)
{
    struct slice name;
    int nargs, rc = lex_take_name(c, l, "a filter's name", &name);
    bool computed;
    struct expr last = {0};
    if (rc)
        return rc;
    int f = filter_index(name);
    if (f < 0)
        return unknown_filter(c, name);
    if (*raw)
        return compile_fail(c, name.p, ERR_SYNTAX, "'raw' must be the last filter");
    if ((rc = compile_arguments(c, l, &liquid_filters[f], &nargs, &computed, &last)))
        return rc;
    if (nargs < liquid_filters[f].min)
        return compile_fail(c, name.p, ERR_SYNTAX, "the filter '%s' needs %s", liquid_filters[f].name,
                            liquid_filters[f].min == 1 ? "an argument" : "two arguments");
    if (slice_eq(name, S("raw"))) {
        *raw = true;
        return 0;
    }
    if (prints && c->p->html && l->kind == LEX_END && slice_eq(name, S("newline_to_br")) &&
        !chain->just_escaped)
        emit_filter(c, filter_index(chain->escaped ? S("escape_once") : S("escape")), 0, NONE);
    bool prints_argument = prints && (liquid_filters[f].flags & F_PRINTS_ARGS) && last.path;
    emit_filter(c, f, nargs, prints_argument ? compile_string(c, last.text) : NONE);
    chain->just_escaped = liquid_filters[f].run == liquid_filters[filter_index(S("escape"))].run ||
                          slice_eq(name, S("escape_once"));
    chain->escaped |= chain->just_escaped;
    chain->guarded |= slice_eq(name, S("default")) || slice_eq(name, S("size"));
    chain->needs_run |=
        !(liquid_filters[f].flags & F_TOTAL) ||
        (computed && ((liquid_filters[f].flags & F_PRINTS_ARGS) || slice_eq(name, S("default"))));
    chain->count++;
    chain->last = f;
    return compile_stack(c, -nargs);
}

int compile_filtered(struct compiler *c, struct slice markup, bool prints, struct output *out, bool *raw)
{
    struct lexer l;
    struct expr x;
    struct chain chain = {.last = -1};
    lex_begin(&l, markup);
    *out = (struct output){.sym = NONE, .source = c->source};
    *raw = false;
    int rc = compile_expr(c, &l, false, &x);
    if (rc)
        return rc;
    out->name = x.text;
    out->pos = (uint32_t)(c->pos - c->source_text.p);
    if (x.path && x.plain) {
        out->sym = x.sym;
        out->key = x.key;
        out->nkeys = x.nkeys;
    }
    uint32_t head = NONE;
    if (prints && x.path && l.kind == LEX_PIPE)
        head = compile_emit(c, OP_NOP, 0, 0, 0, 0);
    while (!rc && lex_take(&l, LEX_PIPE))
        rc = compile_filter(c, &l, prints, &chain, raw);
    if (!rc)
        rc = lex_expect_end(c, &l);
    if (rc)
        return rc;
    if (head != NONE) {
        VEC(c->code, struct insn)[head].op = OP_HEAD;
        VEC(c->code, struct insn)[head].a = chain.guarded;
    }
    if (chain.guarded)
        out->flags |= OUT_HAS_DEFAULT;
    if (chain.needs_run || (x.path && !x.plain) || (x.literal && x.value.type == LIQUID_NIL))
        out->flags |= OUT_NEEDS_RUN;
    if (!*raw && chain.last >= 0 && (liquid_filters[chain.last].flags & F_CLEAN))
        out->flags |=
            slice_eq(slice_cstr(liquid_filters[chain.last].name), S("url_encode")) ? OUT_URL_DONE : OUT_DONE;
    return 0;
}

int compile_place(struct compiler *c, struct output *out, bool raw, uint32_t *index)
{
    enum esc esc = ESC_NONE;
    if (c->p->html && raw)
        html_raw(&c->html);
    else if (c->p->html) {
        const char *why;
        if (html_value(&c->html, &esc, &why))
            return FAIL(c, "a value cannot be made safe %s; move it, or add '| raw' if it is safe already",
                        why);
    }
    out->esc = (uint8_t)esc;
    *index = VEC_PUSH(c->outs, *out);
    return 0;
}

int compile_output(struct compiler *c, struct slice markup)
{
    struct output out;
    struct lexer l;
    uint32_t index, from = compile_here(c);
    bool raw;
    lex_begin(&l, markup);
    if (l.kind == LEX_END) /* {{ }} prints nothing */
        return 0;
    int rc = compile_filtered(c, markup, true, &out, &raw);
    if (!rc)
        rc = compile_stack(c, -1);
    if (!rc)
        rc = compile_place(c, &out, raw, &index);
    if (rc)
        return rc;
    struct insn *code = VEC(c->code, struct insn);
    bool filtered = compile_here(c) > from + 1 + out.nkeys;
    if ((out.flags & OUT_NEEDS_RUN) || (out.esc == ESC_URL_START && (filtered || out.sym == NONE)))
        c->straight = false;
    for (uint32_t i = from; i < compile_here(c); i++) {
        if (code[i].op == OP_HEAD) {
            code[i].c = index;
            if (!(out.flags & OUT_NEEDS_RUN) && out.esc != ESC_URL_START)
                code[i].d = compile_here(c) + 1;
        }
    }
    if (compile_here(c) == from + 1 && code[from].op == OP_SYM) {
        code[from].op = OP_OUTSYM;
        code[from].d = index;
    } else
        compile_emit(c, OP_OUT, 0, 0, 0, index);
    return 0;
}
