/* compile.c - the compiler's frame: emitting, blocks, and turning what was collected into a program. */
#include "base/words.h"
#include "format/liquid/compile.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* --- errors --- */

void source_where(struct slice text, uint32_t pos, unsigned *line, unsigned *column)
{
    size_t start = 0;
    *line = 1;
    for (size_t i = 0; i < pos && i < text.n; i++)
        if (text.p[i] == '\n') {
            ++*line;
            start = i + 1;
        }
    *column = (unsigned)utf8_count(slice_of(text.p + start, pos > start ? pos - start : 0)) + 1;
}

int compile_fail(struct compiler *c, const char *at, int code, const char *fmt, ...)
{
    char words[400];
    unsigned line, column;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    struct slice text = c->source_text;
    bool inside = at >= text.p && at <= text.p + text.n;
    source_where(text, (uint32_t)((inside ? at : c->pos) - text.p), &line, &column);
    struct slice name = VEC(c->sources, struct source)[c->source].name;
    return err_set(c->e, code, "%.*s:%u:%u: %s", name.n > 100 ? 100 : (int)name.n, name.p, line, column,
                   words);
}

/* --- emitting --- */

uint32_t compile_emit(struct compiler *c, enum op op, uint32_t a, uint32_t b, uint32_t cc, uint32_t d)
{
    struct insn i = {(uint8_t)op, (uint8_t)a, (uint16_t)b, cc, d, (uint32_t)(c->pos - c->source_text.p)};
    return VEC_PUSH(c->code, i);
}

void compile_patch(struct compiler *c, uint32_t at, uint32_t target)
{
    VEC(c->code, struct insn)[at].c = target;
}

uint32_t compile_here(struct compiler *c)
{
    return c->code.n;
}

int compile_stack(struct compiler *c, int change)
{
    c->depth += (uint32_t)change;
    if (c->depth > c->max_depth)
        c->max_depth = c->depth;
    return c->depth > STACK_MOST ? compile_fail(c, c->pos, ERR_LIMIT, "too many values at once") : 0;
}

int compile_enter(struct compiler *c)
{
    if (c->nesting >= NESTING_MOST)
        return compile_fail(c, c->pos, ERR_LIMIT, "nested more than %d deep", NESTING_MOST);
    c->nesting++;
    return 0;
}

uint32_t compile_const(struct compiler *c, struct liquid_value v)
{
    if (v.type == LIQUID_STRING)
        v.s = arena_copy(&c->p->mem, value_slice(&v)).p;
    return VEC_PUSH(c->consts, v);
}

uint32_t compile_string(struct compiler *c, struct slice s)
{
    return compile_const(c, liquid_string(s));
}

uint32_t compile_symbol(struct compiler *c, struct slice name)
{
    uintptr_t known = (uintptr_t)map_get(&c->sym_map, name);
    if (known)
        return (uint32_t)known - 1;
    struct slice own = arena_copy(&c->p->mem, name);
    uint32_t index = VEC_PUSH(c->syms, own);
    map_put(&c->sym_map, name, (void *)(uintptr_t)(index + 1));
    return index;
}

struct mark compile_mark(const struct compiler *c)
{
    return (struct mark){c->code.n, c->outs.n,  c->loops.n, c->calls.n, c->choices.n, c->args.n,
                         c->fns.n,  c->units.n, c->r->at,   c->text.n,  c->r->trim};
}

void compile_rewind(struct compiler *c, const struct mark *m)
{
    VEC_CUT(c->code, struct insn, m->code);
    VEC_CUT(c->outs, struct output, m->outs);
    VEC_CUT(c->loops, struct loop, m->loops);
    VEC_CUT(c->calls, struct call, m->calls);
    VEC_CUT(c->choices, struct choice, m->choices);
    VEC_CUT(c->args, uint32_t, m->args);
    VEC_CUT(c->fns, struct fn, m->fns);
    VEC_CUT(c->units, struct unit, m->units);
    c->r->at = m->reader_at;
    c->r->trim = m->trim;
    c->text.n = m->text;
}

/* --- HTML --- */

int compile_join(struct compiler *c, struct html_set *set, const struct html_set *more)
{
    if (html_join(set, more))
        return FAIL(c, "the branches before this end in too many different places of the HTML");
    return 0;
}

int compile_repeated(struct compiler *c, const char *const *ends, const char *owner, struct block *b,
                     struct tok *end, struct loop_scope *scope)
{
    struct mark m = compile_mark(c);
    struct html_set entry = c->html;
    uint32_t depth = c->depth;
    struct loop_scope *outer = c->loop;
    for (;;) {
        struct loop_scope none = {0};
        if (scope) {
            *scope = none;
            c->loop = scope;
        }
        int rc = compile_block(c, ends, owner, b, end);
        c->loop = outer;
        if (rc || !c->p->html)
            return rc;
        if (scope && (rc = compile_join(c, &c->html, &scope->again)))
            return rc;
        if (html_within(&c->html, &entry))
            return 0;
        if ((rc = compile_join(c, &entry, &c->html)))
            return rc;
        compile_block_free(b);
        compile_rewind(c, &m);
        c->depth = depth;
        c->html = entry;
    }
}

/* --- blocks --- */

int compile_text(struct compiler *c, struct block *b, struct slice s)
{
    if (!s.n)
        return 0;
    if (c->p->html)
        html_text(&c->html, s);
    uint32_t at = compile_emit(c, OP_TEXT, 0, 0, (uint32_t)c->text.n, (uint32_t)s.n);
    buf_adds(&c->text, s);
    VEC_PUSH(b->texts, at);
    for (size_t i = 0; b->blank && i < s.n; i++)
        b->blank = value_is_space(s.p[i]);
    return 0;
}

void compile_block_free(struct block *b)
{
    buf_free(&b->texts.b);
    *b = (struct block){.blank = true};
}

void compile_block_silence(struct compiler *c, struct block *b)
{
    for (uint32_t i = 0; i < b->texts.n; i++)
        VEC(c->code, struct insn)[VEC(b->texts, uint32_t)[i]].op = OP_NOP;
}

static int unknown_tag(struct compiler *c, struct slice name, const char *const *ends, const char *owner)
{
    struct slice names[64];
    size_t n = 0;
    for (; n < liquid_ntags && n < COUNT(names); n++)
        names[n] = slice_cstr(liquid_tags[n].name);
    for (; ends && *ends && n < COUNT(names); n++)
        names[n] = slice_cstr(*ends++);
    struct slice near = words_near(name, names, n);
    if (owner && slice_starts(name, S("end")) && !slice_starts(near, S("end")))
        near = SLICE_NONE;
    if (near.n)
        return FAIL(c, "unknown tag '%.*s'; did you mean '%.*s'?", SLICE_FMT(name), SLICE_FMT(near));
    if (owner && slice_starts(name, S("end")))
        return FAIL(c, "'%.*s' does not close '%s'; 'end%s' does", SLICE_FMT(name), owner, owner);
    return FAIL(c, "unknown tag '%.*s'", SLICE_FMT(name));
}

static bool is_end(const char *const *ends, struct slice name)
{
    for (; ends && *ends; ends++)
        if (slice_eq(name, slice_cstr(*ends)))
            return true;
    return false;
}

static int compile_tag(struct compiler *c, struct tok *t, struct block *b, const char *const *ends,
                       const char *owner)
{
    for (size_t i = 0; i < liquid_ntags; i++) {
        if (!slice_eq(t->name, slice_cstr(liquid_tags[i].name)))
            continue;
        bool blank = false;
        int rc = liquid_tags[i].compile(c, t, &blank);
        b->blank &= blank;
        return rc;
    }
    return unknown_tag(c, t->name, ends, owner);
}

/* The lines of a liquid tag belong to the block in which it stands. */
static int compile_lines(struct compiler *c, struct slice markup, struct block *b);

static int compile_tokens(struct compiler *c, const char *const *ends, const char *owner, struct block *b,
                          struct tok *end)
{
    for (;;) {
        const char *why = "";
        struct tok t;
        int rc = token_read(c->r, &t, &why);
        c->pos = t.whole.p;
        if (rc)
            return FAIL(c, "%s", why);
        if (++c->tokens > TOKENS_MOST || c->code.n > CODE_MOST)
            return compile_fail(c, c->pos, ERR_LIMIT, "the template is too large");
        switch (t.kind) {
        case TOK_END:
            *end = t;
            return 0;
        case TOK_TEXT:
            rc = compile_text(c, b, t.markup);
            break;
        case TOK_OUTPUT:
            b->blank = false;
            rc = compile_output(c, t.markup);
            break;
        case TOK_TAG:
            if (is_end(ends, t.name)) {
                *end = t;
                return 0;
            }
            if (slice_eq(t.name, S("liquid")))
                rc = compile_lines(c, t.markup, b);
            else
                rc = compile_tag(c, &t, b, ends, owner);
            break;
        }
        if (rc)
            return rc;
    }
}

static int compile_lines(struct compiler *c, struct slice markup, struct block *b)
{
    struct reader lines = {.s = markup, .lines = true}, *outer = c->r;
    struct tok end;
    int rc = compile_enter(c);
    if (rc)
        return rc;
    c->r = &lines;
    rc = compile_tokens(c, NULL, NULL, b, &end);
    c->r = outer;
    c->nesting--;
    return rc;
}

int compile_block(struct compiler *c, const char *const *ends, const char *owner, struct block *b,
                  struct tok *end)
{
    const char *opened = c->pos;
    *b = (struct block){.blank = true};
    int rc = compile_enter(c);
    if (rc)
        return rc;
    rc = compile_tokens(c, ends, owner, b, end);
    c->nesting--;
    if (!rc && ends && end->kind == TOK_END)
        rc = compile_fail(c, opened, ERR_SYNTAX, "'%s' is never closed by 'end%s'", owner, owner);
    return rc;
}

/* --- the program --- */

static void *keep(struct liquid *p, struct vec *v)
{
    return memcpy(arena_alloc(&p->mem, v->b.n), v->b.p ? v->b.p : "", v->b.n);
}

static void finish(struct compiler *c)
{
    struct liquid *p = c->p;
    struct source *sources = VEC(c->sources, struct source);
    for (uint32_t i = 0; i < c->outs.n; i++) {
        struct output *o = &VEC(c->outs, struct output)[i];
        o->name = arena_copy(&p->mem, o->name);
    }
    for (uint32_t i = 0; i < c->choices.n; i++) {
        struct choice *ch = &VEC(c->choices, struct choice)[i];
        ch->name = arena_copy(&p->mem, ch->name);
    }
    for (uint32_t i = 0; i < c->sources.n; i++) {
        sources[i].name = arena_copy(&p->mem, sources[i].name);
        sources[i].text = arena_copy(&p->mem, sources[i].text);
    }
    p->text = arena_copy(&p->mem, buf_slice(&c->text)).p;
    p->ncode = c->code.n;
    p->nsyms = c->syms.n;
    p->nouts = c->outs.n;
    p->nfns = c->fns.n;
    p->max_stack = c->max_depth;
    p->straight = c->straight;
    p->code = keep(p, &c->code);
    p->consts = keep(p, &c->consts);
    p->syms = keep(p, &c->syms);
    p->outs = keep(p, &c->outs);
    p->loops = keep(p, &c->loops);
    p->calls = keep(p, &c->calls);
    p->choices = keep(p, &c->choices);
    p->args = keep(p, &c->args);
    p->sources = keep(p, &c->sources);
    p->fns = keep(p, &c->fns);
}

int liquid_compile(struct slice source, const struct liquid_options *o, struct liquid **out, struct err *e)
{
    static const struct liquid_options defaults = {0};
    struct reader r = {.s = source};
    struct source top = {slice_cstr(o && o->name ? o->name : "template"), source};
    struct compiler c = {
        .o = o ? o : &defaults, .e = e, .r = &r, .source_text = source, .pos = source.p, .straight = true};
    struct block b = {0};
    struct tok end;
    if (source.n > UINT32_MAX / 2)
        return err_set(e, ERR_LIMIT, "%.*s: the template is too large", SLICE_FMT(top.name));
    c.p = mem_zalloc(sizeof *c.p);
    c.p->html = c.o->escape == LIQUID_ESCAPE_HTML;
    map_init(&c.sym_map, (struct hash_key){0x6c69717569642121u, 0x73796d626f6c7321u});
    if (c.p->html)
        html_begin(&c.html);
    VEC_PUSH(c.sources, top);
    c.p->sym_forloop = compile_symbol(&c, S("forloop"));
    c.p->sym_tablerowloop = compile_symbol(&c, S("tablerowloop"));
    int rc = compile_block(&c, NULL, NULL, &b, &end);
    compile_emit(&c, OP_END, 0, 0, 0, 0);
    compile_block_free(&b);
    if (!rc)
        finish(&c);
    struct vec *all[] = {&c.code,    &c.consts, &c.syms,    &c.outs, &c.loops, &c.calls,
                         &c.choices, &c.args,   &c.sources, &c.fns,  &c.units};
    for (size_t i = 0; i < COUNT(all); i++)
        buf_free(&all[i]->b);
    buf_free(&c.text);
    map_free(&c.sym_map);
    if (rc)
        liquid_free(c.p);
    else
        *out = c.p;
    return rc;
}

void liquid_free(struct liquid *p)
{
    if (!p)
        return;
    struct arena mem = p->mem;
    arena_free(&mem);
    free(p);
}

size_t liquid_slots(const struct liquid *p)
{
    return p->nsyms;
}

struct slice liquid_slot_name(const struct liquid *p, size_t slot)
{
    INVARIANT(slot < p->nsyms);
    return p->syms[slot];
}
