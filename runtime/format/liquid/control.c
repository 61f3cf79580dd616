/* control.c - loops and partials of a running program. */
#include "format/liquid/machine.h"

#include <stdio.h>

enum { CALLS_MOST = 100 };

int control_push(struct machine *m, enum control_kind kind, struct control **out)
{
    struct control *k = m->spare;
    if (k)
        m->spare = k->outer;
    else if (!(k = render_alloc(&m->vm, sizeof *k)))
        return ERR_LIMIT;
    *k = (struct control){.outer = m->control, .kind = kind, .sp = m->sp};
    m->control = k;
    *out = k;
    return 0;
}

void control_pop(struct machine *m)
{
    struct control *k = m->control;
    m->control = k->outer;
    k->outer = m->spare;
    m->spare = k;
}

/* --- loops --- */

static int64_t list_size(const struct liquid_value *v)
{
    switch ((enum liquid_type)v->type) {
    case LIQUID_ARRAY:
    case LIQUID_MAP:
        return v->n;
    case LIQUID_STRING:
        return v->n > 0; /* a text is one item */
    case LIQUID_RANGE:
        return (int64_t)value_range_count(v->range);
    case LIQUID_NIL:
    case LIQUID_BOOL:
    case LIQUID_INT:
    case LIQUID_FLOAT:
    case LIQUID_BLANK:
    case LIQUID_EMPTY:
    case LIQUID_LOOP:
    case LIQUID_UNSET:
        return 0;
    }
    return 0;
}

static int list_item(struct machine *m, const struct liquid_value *list, int64_t at, struct liquid_value *out)
{
    if (list->type == LIQUID_ARRAY)
        *out = list->items[at];
    else if (list->type == LIQUID_RANGE)
        *out = liquid_int(list->range->first + at);
    else if (list->type == LIQUID_MAP) {
        struct liquid_value *two = render_alloc(&m->vm, 2 * sizeof *two);
        if (!two)
            return ERR_LIMIT;
        two[0] = list->pairs[at].key;
        two[1] = list->pairs[at].value;
        *out = (struct liquid_value){.type = LIQUID_ARRAY, .n = 2, .items = two};
    } else
        *out = *list;
    return 0;
}

/* A limit or offset. tablerow takes any text, and nil as 0; for takes what is an integer, and nil as none. */
static int option(struct machine *m, const struct loop *loop, const struct liquid_value *v, bool *given,
                  int64_t *out)
{
    *given = v->type != LIQUID_NIL || loop->tablerow;
    *out = 0;
    if (v->type == LIQUID_NIL)
        return 0;
    if (loop->tablerow && v->type == LIQUID_STRING)
        *out = value_loose_integer(value_slice(v));
    else if (loop->tablerow && v->type == LIQUID_FLOAT) {
        struct liquid_value whole;
        if (number_round(v->f < 0 ? ROUND_CEIL : ROUND_FLOOR, v, 0, &whole))
            return render_fail(&m->vm, ERR_RANGE, "a number is too large");
        *out = whole.i;
    } else if (value_integer(v, out))
        return render_fail(&m->vm, ERR_INVAL, "limit, offset and cols are integers");
    return 0;
}

static int progress_of(struct machine *m, uint32_t name, struct progress **out)
{
    struct progress *p = m->registers.progress;
    struct liquid_value key = m->vm.prog->consts[name];
    while (p && !value_same(&m->vm.prog->consts[p->name], &key))
        p = p->next;
    if (!p) {
        if (!(p = render_alloc(&m->vm, sizeof *p)))
            return ERR_LIMIT;
        *p = (struct progress){.next = m->registers.progress, .name = name};
        m->registers.progress = p;
    }
    *out = p;
    return 0;
}

/* Bind the item and print what a table needs before it. */
static int show_item(struct machine *m)
{
    struct control *k = m->control;
    char cell[48];
    int rc = list_item(m, &k->list, k->first + k->at * k->step, &m->frame->bound[k->loop->var]);
    if (rc || !k->loop->tablerow)
        return rc;
    int n = snprintf(cell, sizeof cell, "<td class=\"col%lld\">", (long long)k->state->col);
    return machine_print(m, slice_of(cell, (size_t)n));
}

static uint32_t loop_symbol(const struct machine *m, const struct loop *loop)
{
    return loop->tablerow ? m->vm.prog->sym_tablerowloop : m->vm.prog->sym_forloop;
}

/* from and to of the items a loop shows. */
static int segment(struct machine *m, const struct loop *loop, const struct liquid_value *list, int64_t *from,
                   int64_t *length, int64_t *cols)
{
    bool has_limit = false, has_offset = false, has_cols = false;
    int64_t limit = 0, size = list_size(list);
    struct progress *progress = NULL;
    int rc = 0;
    *from = 0;
    if (loop->has_cols)
        rc = option(m, loop, &m->stack[--m->sp], &has_cols, cols);
    if (!rc && loop->has_offset)
        rc = option(m, loop, &m->stack[--m->sp], &has_offset, from);
    if (!rc && loop->has_limit)
        rc = option(m, loop, &m->stack[--m->sp], &has_limit, &limit);
    if (!rc && !loop->tablerow)
        rc = progress_of(m, loop->name, &progress);
    if (rc)
        return rc;
    if (loop->goes_on)
        *from = progress->at;
    if (list->type == LIQUID_STRING)
        *length = size;
    else {
        int64_t start = *from > 0 ? (*from < size ? *from : size) : 0, end = size;
        int64_t last;
        if (has_limit && !__builtin_add_overflow(*from, limit, &last) && last < end)
            end = last;
        *length = end > start ? end - start : 0;
        if (*from < 0)
            *from = 0;
    }
    if (progress)
        progress->at = *from + *length;
    if (list->type == LIQUID_STRING)
        *from = 0;
    if (!has_cols)
        *cols = *length;
    return 0;
}

int control_loop_begin(struct machine *m, const struct loop *loop)
{
    struct liquid_value list = m->stack[m->sp - 1 - loop->has_limit - loop->has_offset - loop->has_cols];
    int64_t from, length, cols = 0;
    struct control *k;
    int rc = segment(m, loop, &list, &from, &length, &cols);
    m->sp--;
    if (rc)
        return rc;
    m->pc = loop->otherwise;
    if (loop->tablerow && !is_true(&list))
        return 0;
    if (loop->tablerow && (rc = machine_print(m, S("<tr class=\"row1\">\n"))))
        return rc;
    if (length == 0)
        return loop->tablerow ? machine_print(m, S("</tr>\n")) : 0;
    if ((rc = control_push(m, LOOP, &k)))
        return rc;
    uint32_t sym = loop_symbol(m, loop);
    const struct liquid_value *outer = &m->frame->bound[sym];
    k->loop = loop;
    k->list = list;
    k->end = length;
    k->step = loop->reversed ? -1 : 1;
    k->first = loop->reversed ? from + length - 1 : from;
    k->saved[0] = m->frame->bound[loop->var];
    k->saved[1] = *outer;
    if (!(k->state = render_alloc(&m->vm, sizeof *k->state)))
        return ERR_LIMIT;
    *k->state =
        (struct liquid_loop){.length = length,
                             .cols = cols,
                             .col = 1,
                             .row = 1,
                             .parent = !loop->tablerow && outer->type == LIQUID_LOOP ? outer->loop : NULL,
                             .name = value_slice(&m->vm.prog->consts[loop->name]),
                             .tablerow = loop->tablerow};
    m->frame->bound[sym] = (struct liquid_value){.type = LIQUID_LOOP, .loop = k->state};
    m->pc = loop->body;
    return show_item(m);
}

int control_loop_end(struct machine *m, bool broken)
{
    struct control *k = m->control;
    const struct loop *loop = k->loop;
    m->frame->bound[loop_symbol(m, loop)] = k->saved[1];
    m->frame->bound[loop->var] = k->saved[0];
    control_pop(m);
    if (!loop->tablerow)
        return 0;
    return machine_print(m, broken ? S("</td></tr>\n") : S("</tr>\n"));
}

int control_loop_next(struct machine *m)
{
    struct control *k = m->control;
    struct liquid_loop *s = k->state;
    char row[48];
    int rc = 0;
    if (k->loop->tablerow)
        rc = machine_print(m, S("</td>"));
    if (rc)
        return rc;
    bool row_ends = s->col == s->cols;
    k->at++;
    if (k->at >= k->end) {
        m->pc = k->loop->after;
        return control_loop_end(m, false);
    }
    if (k->loop->tablerow && row_ends) {
        int n = snprintf(row, sizeof row, "</tr>\n<tr class=\"row%lld\">", (long long)s->row + 1);
        if ((rc = machine_print(m, slice_of(row, (size_t)n))))
            return rc;
    }
    s->index0++;
    s->row += row_ends;
    s->col = row_ends ? 1 : s->col + 1;
    m->pc = k->loop->body;
    return show_item(m);
}

/* --- partials --- */

static const struct choice *choose(struct machine *m, const struct call *call,
                                   const struct liquid_value *name)
{
    const struct choice *choices = &m->vm.prog->choices[call->first];
    if (!call->dynamic)
        return choices;
    for (uint32_t i = 0; name->type == LIQUID_STRING && i < call->nchoices; i++)
        if (slice_eq(choices[i].name, value_slice(name)))
            return &choices[i];
    if (name->type == LIQUID_STRING)
        render_fail(&m->vm, ERR_NOTFOUND, "there is no partial '%.*s'", SLICE_FMT(value_slice(name)));
    else
        render_fail(&m->vm, ERR_INVAL, "include needs the name of a partial");
    return NULL;
}

/* render: each run of the partial has its own variables. */
static int enter_isolated(struct machine *m, const struct liquid_value *item)
{
    struct control *k = m->control;
    const struct call *call = &m->vm.prog->calls[k->call];
    int rc = scope_new(m, &m->frame);
    if (rc)
        return rc;
    m->frame->isolated = true;
    m->registers = (struct registers){0};
    if (k->each) {
        k->state->index0 = k->at;
        m->frame->local[m->vm.prog->sym_forloop] =
            (struct liquid_value){.type = LIQUID_LOOP, .loop = k->state};
    }
    for (uint32_t i = 0; i < call->nargs; i++)
        m->frame->local[m->vm.prog->args[call->arg + i]] = k->bindings[i];
    if (item->type != LIQUID_NIL)
        m->frame->local[k->choice->bind] = *item;
    return 0;
}

static int enter_item(struct machine *m)
{
    struct control *k = m->control;
    struct liquid_value item = k->list;
    int rc = k->each ? list_item(m, &k->list, k->at, &item) : 0;
    if (rc)
        return rc;
    m->pc = k->pc;
    if (m->vm.prog->calls[k->call].isolated)
        return enter_isolated(m, &item);
    m->frame->bound[k->choice->bind] = item;
    return 0;
}

static int save_bindings(struct machine *m, struct control *k, const struct call *call,
                         const struct liquid_value *args)
{
    uint32_t n = call->nargs;
    if (!(k->bindings = render_alloc(&m->vm, (n + 1) * sizeof *k->bindings)))
        return ERR_LIMIT;
    if (call->isolated) {
        if (n)
            memcpy(k->bindings, args, n * sizeof *args);
        return 0;
    }
    k->bindings[n] = m->frame->bound[k->choice->bind];
    for (uint32_t i = 0; i < n; i++) {
        uint32_t sym = m->vm.prog->args[call->arg + i];
        k->bindings[i] = m->frame->bound[sym];
        m->frame->bound[sym] = args[i];
    }
    return 0;
}

int control_call_begin(struct machine *m, uint32_t index)
{
    const struct liquid *p = m->vm.prog;
    const struct call *call = &p->calls[index];
    struct liquid_value *args = &m->stack[m->sp - call->nargs], *value = args - call->has_value;
    const struct choice *choice = choose(m, call, value - 1);
    struct control *k;
    if (!choice)
        return ERR_INVAL;
    struct liquid_value list = liquid_nil();
    if (call->has_value)
        list = *value;
    else if (!call->isolated)
        list = *scope_get(m->frame, choice->same);
    m->sp -= call->nargs + call->has_value + call->dynamic;
    if (m->calls >= CALLS_MOST || m->sp + p->max_stack > m->room)
        return render_fail(&m->vm, ERR_LIMIT, "partials are nested more than %d deep", CALLS_MOST);
    int rc = control_push(m, CALL, &k);
    if (rc)
        return rc;
    m->calls++;
    k->call = index;
    k->back = m->pc;
    k->source = m->vm.source;
    k->frame = m->frame;
    k->registers = m->registers;
    k->choice = choice;
    k->list = list;
    k->pc = p->fns[choice->fn].pc;
    bool is_list = list.type == LIQUID_ARRAY ||
                   (call->isolated && (list.type == LIQUID_MAP || list.type == LIQUID_RANGE));
    k->each = is_list && (call->each || !call->isolated);
    k->end = k->each ? list_size(&list) : 1;
    if (call->isolated && k->each) {
        if (!(k->state = render_alloc(&m->vm, sizeof *k->state)))
            return ERR_LIMIT;
        *k->state = (struct liquid_loop){.length = k->end, .name = choice->name};
    }
    if ((rc = save_bindings(m, k, call, args)))
        return rc;
    m->vm.source = p->fns[choice->fn].source;
    if (k->end > 0)
        return enter_item(m);
    k->at = -1;
    return control_call_next(m);
}

void control_call_leave(struct machine *m)
{
    struct control *k = m->control;
    const struct call *call = &m->vm.prog->calls[k->call];
    m->frame = k->frame;
    if (call->isolated)
        m->registers = k->registers;
    else {
        for (uint32_t i = call->nargs; i-- > 0;)
            m->frame->bound[m->vm.prog->args[call->arg + i]] = k->bindings[i];
        m->frame->bound[k->choice->bind] = k->bindings[call->nargs];
    }
    m->vm.source = k->source;
    m->sp = k->sp;
    m->pc = k->back;
    m->calls--;
    control_pop(m);
}

int control_call_next(struct machine *m)
{
    struct control *k = m->control;
    if (k->each && ++k->at < k->end)
        return enter_item(m);
    control_call_leave(m);
    return 0;
}
