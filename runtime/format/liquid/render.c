/* render.c - the machine that runs a program.
 *
 * Variables are dynamic, as Liquid has them: a name means what the innermost loop or include bound, else what
 * assign and capture set, else the data. Each name is a number, and a frame holds those three values for
 * each, so that a look-up is an index. `render` starts a frame of its own without data.
 *
 * Loops, captures and partials in progress form a chain of control records. break and continue unwind it to
 * the nearest loop, ending captures on the way; a partial of `render` stops them. */
#include "format/liquid/machine.h"

#include <stdio.h>

enum { STEPS_DEFAULT = 1000000, OUTPUT_DEFAULT = 8 * 1024 * 1024, STACK_FOR_CALLS = 1000 };

/* --- failing and memory --- */

int render_fail(struct render *vm, int code, const char *fmt, ...)
{
    char words[360];
    unsigned line, column;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    const struct source *s = &vm->prog->sources[vm->source];
    source_where(s->text, vm->pos, &line, &column);
    return err_set(vm->e, code, "%.*s:%u:%u: %s", s->name.n > 100 ? 100 : (int)s->name.n, s->name.p, line,
                   column, words);
}

void *render_alloc(struct render *vm, size_t n)
{
    if (n > vm->mem_left) {
        render_fail(vm, ERR_LIMIT, "the template needs too much memory");
        return NULL;
    }
    vm->mem_left -= n;
    return arena_alloc(vm->arena, n);
}

int render_copy(struct render *vm, struct slice s, struct liquid_value *out)
{
    if (!s.n) {
        *out = liquid_string(SLICE_NONE);
        return 0;
    }
    char *p = render_alloc(vm, s.n);
    if (!p)
        return ERR_LIMIT;
    memcpy(p, s.p, s.n);
    *out = liquid_string(slice_of(p, s.n));
    return 0;
}

int render_charge(struct render *vm, size_t n)
{
    vm->steps -= (int64_t)(n / 64);
    return vm->steps < 0 ? render_fail(vm, ERR_LIMIT, "the template takes too many steps") : 0;
}

/* --- variables --- */

int scope_new(struct machine *m, struct scope **out)
{
    size_t n = m->vm.prog->nsyms;
    struct scope *f = render_alloc(&m->vm, sizeof *f + 3 * n * sizeof(struct liquid_value));
    if (!f)
        return ERR_LIMIT;
    *f = (struct scope){.bound = f->values, .local = f->values + n, .data = f->values + 2 * n};
    for (size_t i = 0; i < 2 * n; i++)
        f->values[i].type = LIQUID_UNSET;
    memset(f->data, 0, n * sizeof *f->data);
    *out = f;
    return 0;
}

const struct liquid_value *scope_get(const struct scope *f, uint32_t sym)
{
    if (f->bound[sym].type != LIQUID_UNSET)
        return &f->bound[sym];
    return f->local[sym].type != LIQUID_UNSET ? &f->local[sym] : &f->data[sym];
}

static struct liquid_value get_by_name(struct machine *m, const struct liquid_value *name)
{
    const struct liquid *p = m->vm.prog;
    if (name->type != LIQUID_STRING)
        return liquid_nil();
    m->vm.steps -= p->nsyms / 16;
    for (uint32_t i = 0; i < p->nsyms; i++)
        if (slice_eq(p->syms[i], value_slice(name)))
            return *scope_get(m->frame, i);
    if (m->vm.in->data && !m->frame->isolated)
        return value_get(&m->vm, m->vm.in->data, name, false);
    return liquid_nil();
}

/* --- printing --- */

static int missing(struct machine *m, const struct output *o)
{
    m->vm.pos = o->pos;
    m->vm.source = o->source;
    if (!o->name.n)
        return render_fail(&m->vm, ERR_MISSING, "a value is missing");
    return render_fail(&m->vm, ERR_MISSING, "'%.*s' is missing and has no default", SLICE_FMT(o->name));
}

static int no_link(struct machine *m, const struct output *o, struct slice s)
{
    return render_fail(&m->vm, ERR_INVAL,
                       "'%.*s' is no link here: '%.*s' does not begin with http:, https:, mailto: or tel:",
                       SLICE_FMT(o->name), s.n > 60 ? 60 : (int)s.n, s.p);
}

/* In a walk without output nothing is written outside of captures, but every check is made. */
static bool writes(const struct machine *m)
{
    return !m->vm.dry || m->vm.capturing;
}

int machine_print(struct machine *m, struct slice s)
{
    struct buf *out = m->vm.out;
    if (!writes(m))
        return 0;
    if (s.n > m->vm.out_max || out->n > m->vm.out_max - s.n)
        return render_fail(&m->vm, ERR_LIMIT, "the output is too long");
    buf_adds(out, s);
    return 0;
}

static int print(struct machine *m, const struct liquid_value *v, const struct output *o)
{
    struct slice s;
    struct render *vm = &m->vm;
    if (is_missing(v) && vm->strict)
        return missing(m, o);
    bool link = o->esc == ESC_URL_START;
    if (!writes(m) && !link)
        return 0;
    int rc = value_print(vm, v, &s);
    if (rc)
        return rc;
    if (link && !s.n && !vm->strict)
        return 0;
    if (link && !escape_is_link(s))
        return no_link(m, o, s);
    if (o->esc == ESC_NONE || !writes(m))
        return machine_print(m, s);
    if (s.n > vm->out_max || vm->out->n > vm->out_max - s.n)
        return render_fail(vm, ERR_LIMIT, "the output is too long");
    rc = escape_value(vm->out, (enum esc)o->esc, o->flags, v->flags & V_HTML, s);
    INVARIANT(rc == 0); /* only a link can fail, and that was checked */
    return vm->out->n > vm->out_max ? render_fail(vm, ERR_LIMIT, "the output is too long") : 0;
}

/* --- capture --- */

static int push_capture(struct machine *m, enum control_kind kind, uint32_t sym, bool html)
{
    struct control *k;
    int rc = control_push(m, kind, &k);
    if (rc)
        return rc;
    k->sym = sym;
    k->html = html;
    k->from = m->vm.out->n;
    m->vm.capturing++;
    return 0;
}

static int pop_capture(struct machine *m)
{
    struct control *k = m->control;
    struct liquid_value v;
    struct buf *out = m->vm.out;
    int rc = render_copy(&m->vm, slice_of(out->p ? out->p + k->from : "", out->n - k->from), &v);
    if (rc)
        return rc;
    out->n = k->from;
    m->vm.capturing--;
    if (k->kind == CAPTURE) {
        v.flags = k->html ? V_HTML : 0;
        m->frame->local[k->sym] = v;
        control_pop(m);
        return 0;
    }
    control_pop(m);
    if (m->registers.changed.type == LIQUID_STRING && value_equal(&m->registers.changed, &v, 1))
        return 0;
    m->registers.changed = v;
    return machine_print(m, value_slice(&v));
}

/* --- break and continue --- */

static int interrupt(struct machine *m, bool again)
{
    while (m->control) {
        struct control *k = m->control;
        int rc = 0;
        switch (k->kind) {
        case LOOP:
            m->sp = k->sp;
            if (again) {
                m->pc = k->loop->next;
                return 0;
            }
            m->pc = k->loop->after;
            return control_loop_end(m, true);
        case CAPTURE:
        case IFCHANGED:
            rc = pop_capture(m);
            break;
        case CALL:
            if (m->vm.prog->calls[k->call].isolated) {
                m->sp = k->sp;
                return control_call_next(m);
            }
            control_call_leave(m);
            break;
        }
        if (rc)
            return rc;
    }
    m->pc = m->vm.prog->ncode - 1; /* OP_END */
    return 0;
}

/* --- single instructions --- */

static int make_range(struct machine *m, bool literal)
{
    struct liquid_value *v = &m->stack[m->sp - 2];
    int64_t ends[2];
    for (int i = 0; i < 2; i++) {
        if (v[i].type == LIQUID_NIL)
            ends[i] = 0;
        else if (v[i].type == LIQUID_STRING)
            ends[i] = value_loose_integer(value_slice(&v[i]));
        else if (literal && v[i].type == LIQUID_FLOAT) {
            struct liquid_value whole;
            bool negative = v[i].f < 0;
            if (number_round(negative ? ROUND_CEIL : ROUND_FLOOR, &v[i], 0, &whole))
                return render_fail(&m->vm, ERR_RANGE, "the range is too large");
            ends[i] = whole.i;
        } else if (value_integer(&v[i], &ends[i]))
            return render_fail(&m->vm, ERR_INVAL, "a range goes from integer to integer");
    }
    struct liquid_range *r = render_alloc(&m->vm, sizeof *r);
    if (!r)
        return ERR_LIMIT;
    *r = (struct liquid_range){ends[0], ends[1]};
    if (value_range_count(r) > UINT32_MAX)
        return render_fail(&m->vm, ERR_LIMIT, "the range is too large");
    m->sp--;
    m->stack[m->sp - 1] = (struct liquid_value){.type = LIQUID_RANGE, .range = r};
    return 0;
}

static bool is_nothing(const struct liquid_value *v)
{
    return v->type == LIQUID_NIL || ((v->type == LIQUID_STRING || v->type == LIQUID_ARRAY) && v->n == 0);
}

static int run_filter(struct machine *m, const struct insn *i)
{
    const struct filter *f = &liquid_filters[i->a];
    struct liquid_value *v = &m->stack[m->sp - 1 - i->b], result = liquid_nil();
    bool was_missing = is_missing(v);
    if (m->vm.strict && i->d != NONE && is_missing(&v[1]))
        return render_fail(&m->vm, ERR_MISSING, "'%.*s' is missing and has no default",
                           SLICE_FMT(value_slice(&m->vm.prog->consts[i->d])));
    int rc = f->run(&m->vm, v, i->b, &result);
    if (rc)
        return rc;
    /* A filter makes "" of nil; it is still nothing that anybody gave. */
    if (was_missing && is_nothing(&result) && f->run != liquid_filters[m->filter_default].run)
        result.flags |= V_MISSING;
    m->sp -= i->b;
    m->stack[m->sp - 1] = result;
    return 0;
}

static int count(struct machine *m, const struct insn *i)
{
    struct liquid_value *v = &m->frame->data[i->c], one = liquid_int(1), next;
    char text[24];
    if (v->type == LIQUID_NIL)
        *v = liquid_int(0);
    if (v->type != LIQUID_INT)
        return render_fail(&m->vm, ERR_INVAL, "'%.*s' is no integer", SLICE_FMT(m->vm.prog->syms[i->c]));
    if (number_math(i->a ? MATH_SUB : MATH_ADD, v, &one, &next))
        return render_fail(&m->vm, ERR_RANGE, "the number is too large");
    int n = snprintf(text, sizeof text, "%lld", (long long)(i->a ? next.i : v->i));
    *v = next;
    return machine_print(m, slice_of(text, (size_t)n));
}

static int cycle(struct machine *m, const struct insn *i)
{
    struct liquid_value *items = &m->stack[m->sp - i->b];
    struct liquid_value key = i->a ? items[-1] : m->vm.prog->consts[i->c], item = liquid_nil();
    struct cycle *c = m->registers.cycles;
    while (c && !(c->named == i->a && value_same(&c->key, &key)))
        c = c->next;
    if (!c) {
        if (!(c = render_alloc(&m->vm, sizeof *c)))
            return ERR_LIMIT;
        *c = (struct cycle){.next = m->registers.cycles, .key = key, .named = i->a};
        m->registers.cycles = c;
    }
    m->vm.steps -= 1;
    if (c->at < i->b)
        item = items[c->at];
    c->at = c->at + 1 >= i->b ? 0 : c->at + 1;
    m->sp -= (uint32_t)i->b + i->a;
    return print(m, &item, &m->vm.prog->outs[i->d]);
}

static int when(struct machine *m)
{
    struct liquid_value *v = &m->stack[m->sp - 4]; /* subject, matched, hits, candidate */
    bool equal;
    int rc = value_compare(&m->vm, CMP_EQ, &v[0], &v[3], &equal);
    v[2].i += !rc && equal;
    m->sp--;
    return rc;
}

static void push(struct machine *m, struct liquid_value v)
{
    m->stack[m->sp++] = v;
}

static int run(struct machine *m)
{
    const struct liquid *p = m->vm.prog;
    struct render *vm = &m->vm;
    for (;;) {
        const struct insn *i = &p->code[m->pc++];
        struct liquid_value *top = m->stack + m->sp - 1;
        int rc = 0;
        bool yes;
        vm->pos = i->pos;
        if (--vm->steps < 0)
            return render_fail(vm, ERR_LIMIT, "the template takes too many steps");
        switch ((enum op)i->op) {
        case OP_NOP:
            break;
        case OP_END:
            return 0;
        case OP_TEXT:
            rc = machine_print(m, slice_of(p->text + i->c, i->d));
            break;
        case OP_CONST:
            push(m, p->consts[i->c]);
            break;
        case OP_SYM:
            push(m, *scope_get(m->frame, i->c));
            break;
        case OP_DYNSYM:
            *top = get_by_name(m, top);
            break;
        case OP_KEY:
            *top = value_get(vm, top, &p->consts[i->c], p->consts[i->c].flags & V_DOT);
            break;
        case OP_INDEX:
            top[-1] = value_get(vm, top - 1, top, false);
            m->sp--;
            break;
        case OP_RANGE:
            rc = make_range(m, i->a);
            break;
        case OP_HEAD:
            if (vm->strict && !i->a && is_missing(top))
                rc = missing(m, &p->outs[i->c]);
            else if (i->d && !writes(m)) {
                m->sp--;
                m->pc = i->d;
            }
            break;
        case OP_FILTER:
            rc = run_filter(m, i);
            break;
        case OP_OUTSYM:
            rc = print(m, scope_get(m->frame, i->c), &p->outs[i->d]);
            break;
        case OP_OUT:
            rc = print(m, top, &p->outs[i->d]);
            m->sp--;
            break;
        case OP_COMPARE:
            rc = value_compare(vm, (enum compare)i->a, top - 1, top, &yes);
            m->sp--;
            if (!rc)
                top[-1] = liquid_bool(yes);
            break;
        case OP_JUMP:
            m->pc = i->c;
            break;
        case OP_JFALSE:
            m->sp--;
            if (!is_true(top))
                m->pc = i->c;
            break;
        case OP_JTRUE:
            m->sp--;
            if (is_true(top))
                m->pc = i->c;
            break;
        case OP_ASSIGN:
            m->frame->local[i->c] = *top;
            m->sp--;
            break;
        case OP_CAPTURE:
            rc = push_capture(m, CAPTURE, i->c, i->a);
            break;
        case OP_IFCHANGED:
            rc = push_capture(m, IFCHANGED, 0, false);
            break;
        case OP_CAPTURED:
        case OP_IFCHANGED2:
            rc = pop_capture(m);
            break;
        case OP_COUNT:
            rc = count(m, i);
            break;
        case OP_CYCLE:
            rc = cycle(m, i);
            break;
        case OP_CASE:
            push(m, liquid_bool(false));
            push(m, liquid_int(0));
            break;
        case OP_WHEN:
            rc = when(m);
            break;
        case OP_WHENLOOP:
            if (top->i == 0)
                m->pc = i->c;
            else {
                top->i--;
                top[-1].b = true;
            }
            break;
        case OP_CASEELSE:
            if (top[-1].b)
                m->pc = i->c;
            break;
        case OP_CASEEND:
            m->sp -= 3;
            break;
        case OP_FOR:
            rc = control_loop_begin(m, &p->loops[i->c]);
            break;
        case OP_NEXT:
            rc = control_loop_next(m);
            break;
        case OP_BREAK:
        case OP_CONTINUE:
            rc = interrupt(m, i->op == OP_CONTINUE);
            break;
        case OP_CALL:
            rc = control_call_begin(m, i->c);
            break;
        case OP_RET:
            rc = control_call_next(m);
            break;
        }
        if (rc)
            return rc;
    }
}

/* --- the way in --- */

static void fill(struct scope *f, const struct liquid *p, const struct liquid_input *in, struct render *vm)
{
    for (uint32_t i = 0; i < p->nsyms; i++) {
        struct liquid_value key = liquid_string(p->syms[i]);
        if (in->slots)
            f->data[i] = in->slots[i];
        else if (in->data)
            f->data[i] = value_get(vm, in->data, &key, false);
    }
}

static int start(const struct liquid *p, const struct liquid_input *in, struct arena *a, struct buf *out,
                 bool dry, struct err *e)
{
    size_t most = in->max_output ? in->max_output : OUTPUT_DEFAULT;
    struct machine m = {.vm = {.prog = p,
                               .in = in,
                               .arena = a,
                               .out = out,
                               .e = e,
                               .steps = in->max_steps ? in->max_steps : STEPS_DEFAULT,
                               .mem_left = most <= SIZE_MAX / 8 ? most * 8 : SIZE_MAX,
                               .out_max = most <= SIZE_MAX - out->n ? out->n + most : SIZE_MAX,
                               .strict = dry || in->missing == LIQUID_MISSING_ERROR,
                               .dry = dry}};
    m.filter_default = filter_index(S("default"));
    m.room = p->max_stack + (p->nfns ? STACK_FOR_CALLS : 0);
    m.stack = arena_alloc(a, (m.room + 4) * sizeof *m.stack);
    int rc = scope_new(&m, &m.frame);
    if (!rc) {
        fill(m.frame, p, in, &m.vm);
        rc = run(&m);
    }
    buf_free(&m.vm.scratch);
    return rc;
}

int liquid_render(const struct liquid *p, const struct liquid_input *in, struct arena *a, struct buf *out,
                  struct err *e)
{
    return start(p, in, a, out, false, e);
}

/* Without control flow each output stands for itself: look at the first value of each. */
static int check_straight(const struct liquid *p, const struct liquid_input *in, struct arena *a,
                          struct err *e)
{
    struct machine m = {
        .vm = {.prog = p, .in = in, .arena = a, .e = e, .steps = INT64_MAX, .mem_left = SIZE_MAX}};
    for (uint32_t k = 0; k < p->nouts; k++) {
        const struct output *o = &p->outs[k];
        struct liquid_value v;
        if (o->sym == NONE || ((o->flags & OUT_HAS_DEFAULT) && o->esc != ESC_URL_START))
            continue;
        if (in->slots)
            v = in->slots[o->sym];
        else {
            struct liquid_value key = liquid_string(p->syms[o->sym]);
            v = in->data ? value_get(&m.vm, in->data, &key, false) : liquid_nil();
        }
        for (uint32_t i = 0; i < o->nkeys; i++)
            v = value_get(&m.vm, &v, &p->consts[o->key + i], p->consts[o->key + i].flags & V_DOT);
        if (v.type == LIQUID_NIL)
            return missing(&m, o);
        if (o->esc == ESC_URL_START && !(v.type == LIQUID_STRING && escape_is_link(value_slice(&v)))) {
            m.vm.pos = o->pos;
            m.vm.source = o->source;
            return no_link(&m, o, v.type == LIQUID_STRING ? value_slice(&v) : SLICE_NONE);
        }
    }
    return 0;
}

int liquid_missing(const struct liquid *p, const struct liquid_input *in, struct arena *a, struct err *e)
{
    struct buf captured = {0};
    if (p->straight)
        return check_straight(p, in, a, e);
    int rc = start(p, in, a, &captured, true, e);
    buf_free(&captured);
    return rc;
}
