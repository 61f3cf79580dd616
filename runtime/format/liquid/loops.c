/* loops.c - for, tablerow, break and continue. */
#include "format/liquid/compile.h"

/* Options may stand in any order; their values go to the stack in ours. */
struct option {
    const char *name;
    bool given;
    struct lexer at;
};

static int skip_expr(struct compiler *c, struct lexer *l)
{
    struct expr x;
    struct mark m = compile_mark(c);
    uint32_t depth = c->depth;
    int rc = compile_expr(c, l, false, &x);
    compile_rewind(c, &m);
    c->depth = depth;
    return rc;
}

static int read_options(struct compiler *c, struct lexer *l, struct loop *loop, struct option *options,
                        size_t n)
{
    while (l->kind != LEX_END) {
        lex_take(l, LEX_COMMA);
        if (!loop->tablerow && lex_word(l, "reversed")) {
            loop->reversed = true;
            continue;
        }
        struct option *o = NULL;
        for (size_t i = 0; i < n; i++)
            if (lex_word(l, options[i].name))
                o = &options[i];
        if (!o)
            return compile_fail(c, l->text.p, ERR_SYNTAX, "unexpected '%.*s'; %s", SLICE_FMT(l->text),
                                loop->tablerow ? "tablerow knows cols, limit and offset"
                                               : "for knows limit, offset and reversed");
        if (!lex_take(l, LEX_COLON))
            return compile_fail(c, l->text.p, ERR_SYNTAX, "'%s' is followed by a colon and a value", o->name);
        o->given = true;
        o->at = *l;
        int rc = skip_expr(c, l);
        if (rc)
            return rc;
    }
    return 0;
}

static int compile_options(struct compiler *c, struct loop *loop, struct option *options, size_t n,
                           int *pushed)
{
    bool *has[] = {&loop->has_limit, &loop->has_offset, &loop->has_cols};
    for (size_t i = 0; i < n; i++) {
        struct expr x;
        if (!options[i].given)
            continue;
        struct lexer l = options[i].at;
        if (i == 1 && !loop->tablerow && lex_word(&l, "continue")) {
            loop->goes_on = true;
            continue;
        }
        *has[i] = true;
        l = options[i].at;
        int rc = compile_expr(c, &l, false, &x);
        if (rc)
            return rc;
        ++*pushed;
    }
    return 0;
}

/* "item-list", by which `offset: continue` knows a loop: as written, without white space outside of quotes.
 */
static uint32_t loop_name(struct compiler *c, struct slice var, struct slice list)
{
    struct buf b = {0};
    char quote = 0;
    buf_adds(&b, var);
    buf_addc(&b, '-');
    for (size_t i = 0; i < list.n; i++) {
        char ch = list.p[i];
        if (quote ? ch == quote : ch == '"' || ch == '\'')
            quote = quote ? 0 : ch;
        if (quote || !value_is_space(ch))
            buf_addc(&b, ch);
    }
    uint32_t at = compile_string(c, buf_slice(&b));
    buf_free(&b);
    return at;
}

static int compile_head(struct compiler *c, struct slice markup, struct loop *loop)
{
    struct option options[] = {{.name = "limit"}, {.name = "offset"}, {.name = "cols"}};
    size_t n = loop->tablerow ? 3 : 2;
    struct lexer l;
    struct slice var;
    struct expr list;
    int pushed = 1;
    lex_begin(&l, markup);
    int rc = lex_take_name(c, &l, "a variable's name", &var);
    if (!rc && !lex_word(&l, "in"))
        rc = FAIL(c, "%s reads: %s item in list", loop->tablerow ? "tablerow" : "for",
                  loop->tablerow ? "tablerow" : "for");
    if (!rc)
        rc = compile_expr(c, &l, false, &list);
    if (!rc)
        rc = read_options(c, &l, loop, options, n);
    if (!rc)
        rc = compile_options(c, loop, options, n, &pushed);
    if (rc)
        return rc;
    loop->var = compile_symbol(c, var);
    loop->name = loop_name(c, var, list.text);
    return compile_stack(c, -pushed);
}

static int compile_loop(struct compiler *c, struct tok *t, bool *blank, bool tablerow)
{
    static const char *const for_ends[] = {"else", "endfor", NULL}, *const row_ends[] = {"endtablerow", NULL};
    struct loop loop = {.tablerow = tablerow};
    struct loop_scope scope = {0};
    struct html_set entry = c->html, after = {0};
    struct block body = {0}, otherwise = {0};
    struct tok end = {0};
    const char *owner = tablerow ? "tablerow" : "for";
    c->straight = false;
    int rc = compile_head(c, t->markup, &loop);
    if (rc)
        return rc;
    uint32_t index = VEC_PUSH(c->loops, loop);
    compile_emit(c, OP_FOR, 0, 0, index, 0);
    loop.body = compile_here(c);
    rc = compile_repeated(c, tablerow ? row_ends : for_ends, owner, &body, &end, &scope);
    loop.next = compile_emit(c, OP_NEXT, 0, 0, index, 0);
    loop.after = compile_emit(c, OP_JUMP, 0, 0, 0, 0);
    loop.otherwise = compile_here(c);
    *blank = body.blank;
    if (!rc)
        rc = compile_join(c, &after, &c->html);
    if (!rc)
        rc = compile_join(c, &after, &scope.ends);
    c->html = entry;
    if (!rc && slice_eq(end.name, S("else"))) {
        rc = compile_block(c, for_ends + 1, owner, &otherwise, &end);
        *blank &= otherwise.blank;
    }
    if (!rc)
        rc = compile_join(c, &after, &c->html);
    c->html = after;
    compile_patch(c, loop.after, compile_here(c));
    VEC(c->loops, struct loop)[index] = loop;
    if (!rc && *blank && !tablerow) {
        compile_block_silence(c, &body);
        compile_block_silence(c, &otherwise);
    }
    compile_block_free(&body);
    compile_block_free(&otherwise);
    return rc;
}

TAG(for)
{
    return compile_loop(c, t, blank, false);
}

TAG(tablerow)
{
    return compile_loop(c, t, blank, true);
}

static int leave(struct compiler *c, struct tok *t, bool again)
{
    c->straight = false;
    if (t->markup.n)
        return FAIL(c, "'%.*s' takes nothing behind its name", SLICE_FMT(t->name));
    if (c->p->html && c->loop) {
        int rc = compile_join(c, again ? &c->loop->again : &c->loop->ends,
                              c->loop->outside ? c->loop->outside : &c->html);
        if (rc)
            return rc;
        c->html.n = 0; /* nothing behind it is reached */
    }
    compile_emit(c, again ? OP_CONTINUE : OP_BREAK, 0, 0, 0, 0);
    return 0;
}

TAG(break)
{
    return leave(c, t, false);
}

TAG(continue)
{
    return leave(c, t, true);
}
