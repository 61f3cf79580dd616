/* partials.c - include and render: a partial is compiled once for each place of the HTML in which it is used.
 */
#include "format/liquid/compile.h"

/* Compile name for the HTML states we are in, or find that done. A partial that names itself, directly or
 * over others, must leave the HTML as it found it. */
static int compile_unit(struct compiler *c, struct slice name, bool isolated, uint32_t *index)
{
    struct slice text;
    for (uint32_t i = 0; i < c->units.n; i++) {
        struct unit *u = &VEC(c->units, struct unit)[i];
        if (slice_eq(u->name, name) && u->isolated == isolated && html_within(&u->enter, &c->html) &&
            html_within(&c->html, &u->enter)) {
            u->recursive |= u->open;
            *index = i;
            return 0;
        }
    }
    int rc = c->o->resolve ? c->o->resolve(c->o->arg, name, &text) : ERR_NOTFOUND;
    if (rc == ERR_NOTFOUND)
        return compile_fail(c, name.p, rc, "there is no partial '%.*s'", SLICE_FMT(name));
    if (rc)
        return compile_fail(c, name.p, rc, "the partial '%.*s' cannot be read: %s", SLICE_FMT(name),
                            err_name(rc));
    if (text.n > UINT32_MAX / 2)
        return compile_fail(c, name.p, ERR_LIMIT, "the partial '%.*s' is too large", SLICE_FMT(name));
    if ((rc = compile_enter(c)))
        return rc;
    uint32_t skip = compile_emit(c, OP_JUMP, 0, 0, 0, 0);
    struct source source = {name, text};
    struct unit unit = {.name = name, .isolated = isolated, .open = true, .enter = c->html, .leave = c->html};
    struct compiler outer = *c;
    struct reader r = {.s = text};
    struct loop_scope scope = {0};
    struct block b = {0};
    struct tok end;
    uint32_t source_index = VEC_PUSH(c->sources, source);
    struct fn fn = {compile_here(c), source_index};
    unit.fn = VEC_PUSH(c->fns, fn);
    *index = VEC_PUSH(c->units, unit);
    c->r = &r;
    c->source = source_index;
    c->source_text = text;
    c->pos = text.p;
    c->loop = &scope;
    c->isolated = isolated;
    c->depth = 0;
    rc = compile_block(c, NULL, NULL, &b, &end);
    compile_block_free(&b);
    compile_emit(c, OP_RET, 0, 0, 0, 0);
    struct unit *u = &VEC(c->units, struct unit)[*index];
    u->open = false;
    u->leave = c->html;
    u->interrupts = scope.ends;
    if (!rc)
        rc = compile_join(c, &u->interrupts, &scope.again);
    if (!rc && u->recursive && !html_within(&u->leave, &u->enter))
        rc = FAIL(c, "a partial that uses itself must leave the HTML as it found it");
    c->r = outer.r;
    c->source = outer.source;
    c->source_text = outer.source_text;
    c->pos = outer.pos;
    c->loop = outer.loop;
    c->isolated = outer.isolated;
    c->depth = outer.depth;
    c->html = outer.html;
    c->nesting--;
    compile_patch(c, skip, compile_here(c));
    return rc;
}

/* The name that `with` binds: what follows the last slash. */
static struct slice last_part(struct slice name)
{
    for (size_t i = name.n; i > 0; i--)
        if (name.p[i - 1] == '/')
            return slice_of(name.p + i, name.n - i);
    return name;
}

static int add_choice(struct compiler *c, struct slice name, struct slice alias, bool isolated,
                      struct html_set *leave)
{
    uint32_t unit = 0;
    struct html_set entry = c->html;
    int rc = compile_unit(c, name, isolated, &unit);
    if (rc)
        return rc;
    struct unit *u = &VEC(c->units, struct unit)[unit];
    struct choice choice = {name, u->fn, compile_symbol(c, alias.n ? alias : last_part(name)),
                            compile_symbol(c, name)};
    VEC_PUSH(c->choices, choice);
    c->html = entry;
    if ((rc = compile_join(c, leave, &u->leave)))
        return rc;
    if (isolated) /* a break ends only the partial */
        return compile_join(c, leave, &u->interrupts);
    if (c->p->html && c->loop && u->interrupts.n) {
        const struct html_set *states = c->loop->outside ? c->loop->outside : &u->interrupts;
        if ((rc = compile_join(c, &c->loop->ends, states)))
            return rc;
        return compile_join(c, &c->loop->again, states);
    }
    return 0;
}

/* [with|for value] [as alias] [, name: value]... */
static int compile_arguments(struct compiler *c, struct lexer *l, struct call *call, struct slice *alias,
                             int *pushed, struct vec *args)
{
    int rc = 0;
    struct expr x;
    bool each = false;
    if (lex_word(l, "with") || (each = lex_word(l, "for"))) {
        call->has_value = true;
        call->each = each;
        if ((rc = compile_expr(c, l, false, &x)))
            return rc;
        ++*pushed;
    }
    if (lex_word(l, "as") && (rc = lex_take_name(c, l, "a name", alias)))
        return rc;
    while (l->kind != LEX_END) {
        struct slice name;
        lex_take(l, LEX_COMMA);
        if (l->kind == LEX_END)
            break;
        if ((rc = lex_take_name(c, l, "an argument's name", &name)))
            return rc;
        if (!lex_take(l, LEX_COLON))
            return compile_fail(c, name.p, ERR_SYNTAX, "'%.*s' is followed by a colon and a value",
                                SLICE_FMT(name));
        if ((rc = compile_expr(c, l, false, &x)))
            return rc;
        uint32_t sym = compile_symbol(c, name);
        VEC_PUSH(*args, sym);
        ++*pushed;
    }
    return 0;
}

static int compile_call(struct compiler *c, struct tok *t, bool isolated)
{
    struct call call = {.isolated = isolated};
    struct lexer l;
    struct expr x;
    struct slice name = SLICE_NONE, alias = SLICE_NONE;
    struct vec args = {0};
    struct html_set leave = {0};
    int pushed = 0, rc = 0;
    c->straight = false;
    if (!isolated && c->isolated)
        return FAIL(c, "'include' cannot stand in a partial of 'render'; use 'render'");
    lex_begin(&l, t->markup);
    if (l.kind == LEX_STRING) {
        name = slice_of(l.text.p + 1, l.text.n - 2);
        lex_next(&l);
    } else if (isolated)
        return FAIL(c, "render needs the partial's name in quotes");
    else {
        call.dynamic = true;
        if ((rc = compile_expr(c, &l, false, &x)))
            return rc;
        pushed++;
    }
    rc = compile_arguments(c, &l, &call, &alias, &pushed, &args);
    /* Partials may add choices of their own, so ours are put together at the end, in one row. */
    struct vec choices = {0};
    for (size_t i = 0; !rc && i < (call.dynamic ? c->o->npartials : 1); i++) {
        rc = add_choice(c, call.dynamic ? c->o->partials[i] : name, alias, isolated, &leave);
        if (!rc) {
            struct choice last = VEC(c->choices, struct choice)[c->choices.n - 1];
            VEC_CUT(c->choices, struct choice, c->choices.n - 1);
            VEC_PUSH(choices, last);
        }
    }
    call.first = c->choices.n;
    call.nchoices = choices.n;
    call.arg = c->args.n;
    call.nargs = args.n;
    for (uint32_t i = 0; i < choices.n; i++)
        VEC_PUSH(c->choices, VEC(choices, struct choice)[i]);
    for (uint32_t i = 0; i < args.n; i++)
        VEC_PUSH(c->args, VEC(args, uint32_t)[i]);
    buf_free(&choices.b);
    buf_free(&args.b);
    if (rc)
        return rc;
    if (leave.n)
        c->html = leave;
    compile_emit(c, OP_CALL, 0, 0, VEC_PUSH(c->calls, call), 0);
    return compile_stack(c, -pushed);
}

TAG(include)
{
    return compile_call(c, t, false);
}

TAG(render)
{
    return compile_call(c, t, true);
}
