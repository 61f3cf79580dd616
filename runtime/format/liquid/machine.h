/* machine.h - the machine's own state, shared by render.c (instructions) and control.c (loops and calls). */
#ifndef HATO_FORMAT_LIQUID_MACHINE_H
#define HATO_FORMAT_LIQUID_MACHINE_H

#include "format/liquid/internal.h"

struct scope {
    struct liquid_value *bound, *local, *data; /* by symbol; LIQUID_UNSET where the first two say nothing */
    bool isolated;
    struct liquid_value values[];
};

enum control_kind { LOOP, CAPTURE, IFCHANGED, CALL };

struct cycle {
    struct cycle *next;
    struct liquid_value key;
    uint32_t at;
    bool named;
};
/* How far a loop of that name came, for offset: continue. */
struct progress {
    struct progress *next;
    uint32_t name; /* a constant */
    int64_t at;
};

/* What tags remember; a partial of `render` has its own. */
struct registers {
    struct cycle *cycles;
    struct progress *progress;
    struct liquid_value changed; /* what ifchanged saw last */
};

/* One loop, capture or partial in progress. */
struct control {
    struct control *outer;
    enum control_kind kind;
    uint32_t sp; /* of the value stack when it began */
    /* a loop; a partial for each item of a list */
    const struct loop *loop;
    struct liquid_value list;
    int64_t at, end, first, step; /* item index runs from at by step to end */
    struct liquid_loop *state;
    struct liquid_value saved[2]; /* what its variable and forloop were bound to */
    /* a capture */
    size_t from;
    uint32_t sym;
    bool html;
    /* a partial */
    uint32_t call, back, source, pc;
    struct scope *frame; /* of the caller */
    struct registers registers;
    struct liquid_value *bindings; /* for isolated ones: values to give each frame; else those to restore */
    const struct choice *choice;
    bool each;
};

struct machine {
    struct render vm;
    struct scope *frame;
    struct liquid_value *stack;
    uint32_t sp, room, pc;
    struct control *control, *spare; /* spare: done with, to be used again */
    uint32_t calls;
    struct registers registers;
    int filter_default;
};

int scope_new(struct machine *m, struct scope **out);
const struct liquid_value *scope_get(const struct scope *f, uint32_t sym);
int machine_print(struct machine *m, struct slice s);

int control_push(struct machine *m, enum control_kind kind, struct control **out);
void control_pop(struct machine *m);
int control_loop_begin(struct machine *m, const struct loop *loop);
int control_loop_next(struct machine *m);
int control_loop_end(struct machine *m, bool broken); /* and restore what it bound */
int control_call_begin(struct machine *m, uint32_t call);
int control_call_next(struct machine *m);   /* the partial ended: on to the next item, or back */
void control_call_leave(struct machine *m); /* an include is left by break or continue */

#endif
