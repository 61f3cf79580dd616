/* tags.c - the tags but for loops and partials. A tag is blank when it prints nothing by itself: a block of
 * blank tags and white space alone is not printed at all. */
#include "format/liquid/compile.h"

const struct tag liquid_tags[] = {
    {"#", tag_inline_comment},
    {"assign", tag_assign},
    {"break", tag_break},
    {"capture", tag_capture},
    {"case", tag_case},
    {"comment", tag_comment},
    {"continue", tag_continue},
    {"cycle", tag_cycle},
    {"decrement", tag_decrement},
    {"doc", tag_doc},
    {"echo", tag_echo},
    {"for", tag_for},
    {"if", tag_if},
    {"ifchanged", tag_ifchanged},
    {"include", tag_include},
    {"increment", tag_increment},
    {"raw", tag_raw},
    {"render", tag_render},
    {"tablerow", tag_tablerow},
    {"unless", tag_unless},
};
const size_t liquid_ntags = COUNT(liquid_tags);

/* --- what prints nothing --- */

TAG(inline_comment)
{
    bool line_start = false;
    *blank = true;
    for (size_t i = 0; i < t->markup.n; i++) {
        char ch = t->markup.p[i];
        if (line_start && ch != '#' && !value_is_space(ch))
            return compile_fail(c, t->markup.p + i, ERR_SYNTAX,
                                "each line of a {%% # comment %%} begins with #");
        line_start = ch == '\n' || (line_start && value_is_space(ch));
    }
    return 0;
}

/* What stands inside is not read as Liquid, but comments and raw tags in it must close. */
TAG(comment)
{
    const char *opened = c->pos;
    int depth = 1;
    *blank = true;
    while (depth) {
        struct tok inner;
        const char *why;
        struct slice body;
        size_t before = c->r->at;
        if (token_read(c->r, &inner, &why)) {
            /* Braces that do not close matter to nobody here, as long as they move us on. */
            if (c->r->at == before)
                c->r->at +=
                    inner.whole.n < 2 ? inner.whole.n : (slice_ends(inner.whole, S("}")) ? inner.whole.n : 2);
            if (c->r->at < c->r->s.n)
                continue;
            inner.kind = TOK_END;
        }
        if (inner.kind == TOK_END)
            return compile_fail(c, opened, ERR_SYNTAX, "'comment' is never closed by 'endcomment'");
        if (++c->tokens > TOKENS_MOST)
            return compile_fail(c, opened, ERR_LIMIT, "the template is too large");
        if (inner.kind != TOK_TAG)
            continue;
        if (slice_eq(inner.name, S("comment")))
            depth++;
        else if (slice_eq(inner.name, S("endcomment")))
            depth--;
        else if (slice_eq(inner.name, S("raw")) && !c->r->lines && token_read_raw(c->r, S("raw"), &body))
            return compile_fail(c, inner.whole.p, ERR_SYNTAX, "'raw' is never closed by 'endraw'");
    }
    return 0;
}

static int read_body(struct compiler *c, struct tok *t, struct slice *body)
{
    if (t->markup.n)
        return FAIL(c, "'%.*s' takes nothing behind its name", SLICE_FMT(t->name));
    if (token_read_raw(c->r, t->name, body))
        return FAIL(c, "'%.*s' is never closed by 'end%.*s'", SLICE_FMT(t->name), SLICE_FMT(t->name));
    return 0;
}

TAG(doc)
{
    struct slice body;
    struct reader inner;
    *blank = true;
    int rc = read_body(c, t, &body);
    if (rc)
        return rc;
    inner = (struct reader){.s = body};
    for (;;) {
        struct tok tok;
        const char *why;
        if (token_read(&inner, &tok, &why) || tok.kind == TOK_END)
            return 0;
        if (tok.kind == TOK_TAG && slice_eq(tok.name, S("doc")))
            return compile_fail(c, tok.whole.p, ERR_SYNTAX, "'doc' cannot stand inside 'doc'");
    }
}

TAG(raw)
{
    struct slice body;
    int rc = read_body(c, t, &body);
    if (rc)
        return rc;
    struct block b = {.blank = true};
    rc = compile_text(c, &b, body);
    *blank = body.n == 0;
    compile_block_free(&b);
    return rc;
}

/* --- variables --- */

/* The name that assign and capture set: letters, digits, _ and -. */
static struct slice cut_target(struct slice s, struct slice *rest)
{
    size_t n = 0;
    while (n < s.n && (s.p[n] == '_' || s.p[n] == '-' || (s.p[n] >= '0' && s.p[n] <= '9') ||
                       (ascii_lower(s.p[n]) >= 'a' && ascii_lower(s.p[n]) <= 'z')))
        n++;
    *rest = slice_trim(slice_of(s.p + n, s.n - n));
    return slice_of(s.p, n);
}

TAG(assign)
{
    struct slice rest, name = cut_target(t->markup, &rest);
    struct output ignored;
    bool raw;
    *blank = true;
    c->straight = false;
    if (!name.n || !slice_starts(rest, S("=")))
        return FAIL(c, "assign reads: assign name = value");
    int rc = compile_filtered(c, slice_of(rest.p + 1, rest.n - 1), false, &ignored, &raw);
    if (rc)
        return rc;
    if (raw)
        return FAIL(c, "'raw' marks an output and has no meaning in assign");
    compile_emit(c, OP_ASSIGN, 0, 0, compile_symbol(c, name), 0);
    return compile_stack(c, -1);
}

TAG(capture)
{
    struct slice rest, name = slice_trim(t->markup);
    struct block b = {0};
    struct tok end;
    int rc;
    *blank = true;
    c->straight = false;
    if (name.n > 2 && (name.p[0] == '\'' || name.p[0] == '"') && name.p[name.n - 1] == name.p[0])
        name = slice_of(name.p + 1, name.n - 2);
    name = cut_target(name, &rest);
    if (!name.n || rest.n)
        return FAIL(c, "capture reads: capture name");
    uint32_t begin = compile_emit(c, OP_CAPTURE, 0, 0, compile_symbol(c, name), 0);
    struct html_set around = c->html, *outside = c->loop ? c->loop->outside : NULL;
    if (c->loop && !outside)
        c->loop->outside = &around;
    if (c->p->html)
        html_begin(&c->html);
    static const char *const ends[] = {"endcapture", NULL};
    rc = compile_block(c, ends, "capture", &b, &end);
    VEC(c->code, struct insn)[begin].a = c->p->html && html_is_text(&c->html);
    compile_emit(c, OP_CAPTURED, 0, 0, 0, 0);
    c->html = around;
    if (c->loop)
        c->loop->outside = outside;
    compile_block_free(&b);
    return rc;
}

static int count(struct compiler *c, struct tok *t, bool down)
{
    struct lexer l;
    struct slice name;
    struct output out = {.sym = NONE, .source = c->source, .name = t->markup};
    uint32_t index;
    c->straight = false;
    lex_begin(&l, t->markup);
    int rc = lex_take_name(c, &l, "a variable's name", &name);
    if (!rc)
        rc = lex_expect_end(c, &l);
    if (!rc)
        rc = compile_place(c, &out, false, &index);
    if (!rc)
        compile_emit(c, OP_COUNT, down, 0, compile_symbol(c, name), 0);
    return rc;
}

TAG(increment)
{
    return count(c, t, false);
}

TAG(decrement)
{
    return count(c, t, true);
}

TAG(echo)
{
    return compile_output(c, t->markup);
}

/* A cycle is known by its name, or by its items; items that are variables make it one of its own. */
TAG(cycle)
{
    struct lexer l, ahead;
    struct expr x;
    struct buf key = {0};
    struct output out = {.sym = NONE, .source = c->source, .pos = (uint32_t)(c->pos - c->source_text.p)};
    uint32_t items = 0, index, before = c->depth;
    bool named = false;
    c->straight = false;
    lex_begin(&l, t->markup);
    struct mark m = compile_mark(c);
    int rc = compile_expr(c, &l, false, &x);
    if (!rc && l.kind == LEX_COLON) {
        named = true;
        lex_next(&l);
    } else { /* it was the first item */
        compile_rewind(c, &m);
        c->depth = before;
        lex_begin(&l, t->markup);
    }
    while (!rc && l.kind != LEX_END) {
        if ((rc = compile_expr(c, &l, false, &x)))
            break;
        items++;
        if (x.literal && x.value.type == LIQUID_STRING)
            buf_printf(&key, "'%.*s',", SLICE_FMT(value_slice(&x.value)));
        else if (x.literal)
            buf_printf(&key, "%.*s,", SLICE_FMT(x.text));
        else
            buf_printf(&key, "@%u,", out.pos + (c->source << 20));
        ahead = l;
        if (!lex_take(&l, LEX_COMMA) && l.kind != LEX_END)
            rc = compile_fail(c, ahead.text.p, ERR_SYNTAX, "the items of a cycle are separated by commas");
    }
    if (!rc && !items)
        rc = FAIL(c, "cycle reads: cycle [name:] item, item, ...");
    out.name = t->markup;
    if (!rc)
        rc = compile_place(c, &out, false, &index);
    if (!rc)
        compile_emit(c, OP_CYCLE, named, items, compile_string(c, buf_slice(&key)), index);
    buf_free(&key);
    return rc ? rc : compile_stack(c, -(int)(items + named));
}

/* --- branches --- */

static void patch_all(struct compiler *c, struct vec *jumps)
{
    for (uint32_t i = 0; i < jumps->n; i++)
        compile_patch(c, VEC(*jumps, uint32_t)[i], compile_here(c));
    VEC_CUT(*jumps, uint32_t, 0);
}

static void blocks_finish(struct compiler *c, struct vec *blocks, bool silence)
{
    for (uint32_t i = 0; i < blocks->n; i++) {
        struct block *b = &VEC(*blocks, struct block)[i];
        if (silence)
            compile_block_silence(c, b);
        compile_block_free(b);
    }
    buf_free(&blocks->b);
}

static int conditional(struct compiler *c, struct tok *t, bool *blank, bool negated)
{
    static const char *const if_ends[] = {"elsif", "else", "endif", NULL};
    static const char *const unless_ends[] = {"elsif", "else", "endunless", NULL};
    const char *const *ends = negated ? unless_ends : if_ends;
    struct vec blocks = {0}, leave = {0}, otherwise = {0};
    struct html_set entry = c->html, after = {0};
    struct slice condition = t->markup;
    bool closed = false, tested = true, has_else = false;
    int rc = 0;
    *blank = true;
    c->straight = false;
    while (!rc && !closed) {
        struct block b = {0};
        struct tok end;
        if (tested)
            rc = compile_condition(c, condition, negated && !blocks.n, &otherwise);
        if (!rc)
            rc = compile_block(c, ends, negated ? "unless" : "if", &b, &end);
        *blank &= b.blank;
        VEC_PUSH(blocks, b);
        if (rc || (rc = compile_join(c, &after, &c->html)))
            break;
        c->html = entry;
        closed = slice_starts(end.name, S("end"));
        tested = slice_eq(end.name, S("elsif"));
        has_else |= !closed && !tested;
        condition = end.markup;
        if (!closed) {
            uint32_t jump = compile_emit(c, OP_JUMP, 0, 0, 0, 0);
            VEC_PUSH(leave, jump);
        }
        if (!closed && !tested &&
            slice_starts(condition, S("if "))) /* what else follows `else` was never read */
            rc = FAIL(c, "'else if' tests nothing; write 'elsif'");
        patch_all(c, &otherwise);
    }
    patch_all(c, &leave);
    if (!rc && !has_else)
        rc = compile_join(c, &after, &entry);
    c->html = after;
    blocks_finish(c, &blocks, !rc && *blank);
    buf_free(&leave.b);
    buf_free(&otherwise.b);
    return rc;
}

TAG(if)
{
    return conditional(c, t, blank, false);
}

TAG(unless)
{
    return conditional(c, t, blank, true);
}

static const char *const case_ends[] = {"when", "else", "endcase", NULL};

/* One `when`: every expression that equals the subject prints the body once. */
static int compile_when(struct compiler *c, struct slice markup, struct block *b, struct tok *end)
{
    struct lexer l;
    int n = 0, rc = 0;
    lex_begin(&l, markup);
    do {
        struct expr x;
        if ((rc = compile_expr(c, &l, true, &x)))
            return rc;
        compile_emit(c, OP_WHEN, 0, 0, 0, 0);
        if ((rc = compile_stack(c, -1)))
            return rc;
        n++;
    } while (lex_take(&l, LEX_COMMA) || lex_word(&l, "or"));
    if ((rc = lex_expect_end(c, &l)))
        return rc;
    uint32_t again = compile_emit(c, OP_WHENLOOP, 0, 0, 0, 0);
    rc = n > 1 ? compile_repeated(c, case_ends, "case", b, end, NULL)
               : compile_block(c, case_ends, "case", b, end);
    if (!rc) {
        compile_emit(c, OP_JUMP, 0, 0, again, 0);
        compile_patch(c, again, compile_here(c));
    }
    return rc;
}

static int compile_case_else(struct compiler *c, struct slice markup, struct block *b, struct tok *end)
{
    if (markup.n)
        return FAIL(c, "'else' takes nothing behind its name");
    uint32_t skip = compile_emit(c, OP_CASEELSE, 0, 0, 0, 0);
    int rc = compile_block(c, case_ends, "case", b, end);
    if (!rc)
        compile_patch(c, skip, compile_here(c));
    return rc;
}

/* Whens are tried one after the other and several may print; `else` prints if none before it did. */
TAG(case)
{
    struct vec blocks = {0};
    struct lexer l;
    struct expr x;
    struct tok end;
    struct block ignored = {0};
    *blank = true;
    c->straight = false;
    lex_begin(&l, t->markup);
    int rc = compile_expr(c, &l, false, &x);
    if (!rc)
        rc = lex_expect_end(c, &l);
    if (!rc)
        rc = compile_stack(c, 2);
    if (rc)
        return rc;
    compile_emit(c, OP_CASE, 0, 0, 0, 0);
    struct html_set unmatched = c->html, matched = {0};
    struct mark m = compile_mark(c); /* what stands before the first when is read and forgotten */
    rc = compile_block(c, case_ends, "case", &ignored, &end);
    compile_block_free(&ignored);
    m.reader_at = c->r->at;
    m.trim = c->r->trim;
    compile_rewind(c, &m);
    while (!rc && !slice_eq(end.name, S("endcase"))) {
        struct block b = {0};
        bool is_when = slice_eq(end.name, S("when"));
        c->html = unmatched;
        if (is_when)
            rc = compile_join(c, &c->html, &matched);
        if (!rc)
            rc = is_when ? compile_when(c, end.markup, &b, &end) : compile_case_else(c, end.markup, &b, &end);
        *blank &= b.blank;
        VEC_PUSH(blocks, b);
        if (!rc && is_when)
            rc = compile_join(c, &matched, &c->html);
        else if (!rc)
            unmatched = c->html;
    }
    c->html = unmatched;
    if (!rc)
        rc = compile_join(c, &c->html, &matched);
    compile_emit(c, OP_CASEEND, 0, 0, 0, 0);
    blocks_finish(c, &blocks, !rc && *blank);
    return rc ? rc : compile_stack(c, -3);
}

TAG(ifchanged)
{
    static const char *const ends[] = {"endifchanged", NULL};
    struct html_set entry = c->html;
    struct block b = {0};
    struct tok end;
    c->straight = false;
    if (t->markup.n)
        return FAIL(c, "'ifchanged' takes nothing behind its name");
    compile_emit(c, OP_IFCHANGED, 0, 0, 0, 0);
    int rc = compile_block(c, ends, "ifchanged", &b, &end);
    compile_emit(c, OP_IFCHANGED2, 0, 0, 0, 0);
    *blank = b.blank;
    compile_block_free(&b);
    return rc ? rc : compile_join(c, &c->html, &entry);
}
