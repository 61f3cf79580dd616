/* internal.h - what the files of this folder share: the program, its instructions, the machine, values. */
#ifndef HATO_FORMAT_LIQUID_INTERNAL_H
#define HATO_FORMAT_LIQUID_INTERNAL_H

#include "format/charset.h"
#include "format/liquid.h"

/* --- the program --- */
#define NONE UINT32_MAX

enum op {
    OP_NOP,
    OP_END,
    OP_TEXT,    /* c: offset in text pool, d: length */
    OP_CONST,   /* push constant c */
    OP_SYM,     /* push variable c */
    OP_DYNSYM,  /* pop a name, push that variable */
    OP_KEY,     /* top.constant c */
    OP_INDEX,   /* pop a key; top[key] */
    OP_RANGE,   /* pop two, push a range; a: both were literals */
    OP_HEAD,    /* strict: fail if top is missing, unless a; c: output; a walk without output pops it and
                   goes on at d, if that is not 0 */
    OP_FILTER,  /* a: filter, b: arguments; pops those, replaces top; d: NONE, or a constant that names
                   the argument which must not be missing in strict mode */
    OP_OUTSYM,  /* print variable c as output d */
    OP_OUT,     /* pop and print as output d */
    OP_COMPARE, /* a: enum compare; pops two, pushes a bool */
    OP_JUMP,    /* to c */
    OP_JFALSE,  /* pop; to c if false or nil */
    OP_JTRUE,
    OP_ASSIGN,     /* pop into local c */
    OP_CAPTURE,    /* begin; into local c; a: what ends in element text is HTML */
    OP_CAPTURED,   /* end */
    OP_IFCHANGED,  /* begin */
    OP_IFCHANGED2, /* end */
    OP_COUNT,      /* increment (a = 0) or decrement (a = 1) c */
    OP_CYCLE,      /* b items lie on the stack, and a name below if a; c: group constant, d: output */
    OP_CASE,       /* subject on the stack: push matched = false, hits = 0 */
    OP_WHEN,       /* pop; hits += (subject == popped) */
    OP_WHENLOOP,   /* if hits is 0 go to c, else hits -= 1, matched = true */
    OP_CASEELSE,   /* if matched go to c */
    OP_CASEEND,    /* drop subject, matched, hits */
    OP_FOR,        /* c: loop; pops collection, limit, offset (and cols for tablerow) */
    OP_NEXT,       /* c: loop; ends the body */
    OP_BREAK,
    OP_CONTINUE,
    OP_CALL, /* c: call */
    OP_RET,
};

enum compare { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_CONTAINS };

struct insn {
    uint8_t op, a;
    uint16_t b;
    uint32_t c, d;
    uint32_t pos; /* offset in the function's source */
};

/* ESC_HTML is element text: what is HTML already stays as it is; in an attribute its quotes do not. */
enum esc { ESC_NONE, ESC_HTML, ESC_ATTRIBUTE, ESC_URL_START, ESC_URL_PART };
enum out_flag {
    OUT_DONE = 1, /* the last filter escaped; a URL start is still checked */
    OUT_HAS_DEFAULT = 2,
    OUT_NEEDS_RUN = 4, /* what is printed cannot be told from the first value alone */
    OUT_URL_DONE = 8,  /* the last filter was url_encode */
};
/* One place that prints. */
struct output {
    uint32_t sym; /* first value: this variable, or NONE if it is no plain variable */
    uint32_t key, nkeys;
    uint32_t source, pos;
    struct slice name; /* the first value as written */
    uint8_t esc, flags;
};

struct loop {
    uint32_t var, name; /* symbol; constant "item-list" */
    uint32_t body, next, after, otherwise;
    bool tablerow, reversed, has_limit, has_offset, has_cols, goes_on;
};

struct choice {
    struct slice name;
    uint32_t fn, bind, same; /* function; variable that `with` binds; variable named like the partial */
};
struct call {
    uint32_t first, nchoices; /* one choice: the name is a literal */
    uint32_t arg, nargs;      /* symbols in args[]; the values lie on the stack in that order */
    bool dynamic;             /* the name lies on the stack below the rest */
    bool has_value, each, isolated;
};
struct source {
    struct slice name, text;
};
struct fn {
    uint32_t pc, source;
};

struct liquid {
    struct arena mem;
    const struct insn *code;
    const char *text;
    const struct liquid_value *consts;
    const struct slice *syms;
    const struct output *outs;
    const struct loop *loops;
    const struct call *calls;
    const struct choice *choices;
    const uint32_t *args;
    const struct source *sources;
    const struct fn *fns;
    uint32_t ncode, nsyms, nouts, nfns;
    uint32_t max_stack;
    uint32_t sym_forloop, sym_tablerowloop;
    bool straight; /* no control flow: liquid_missing() is a list of outputs */
    bool html;
};

/* Line and column (from 1; in characters) of an offset. */
void source_where(struct slice text, uint32_t pos, unsigned *line, unsigned *column);

/* --- values (value.c) --- */
enum value_flag {
    V_HTML = 1,    /* HTML text already, from a capture */
    V_MISSING = 2, /* empty because what it was made of was missing */
    V_DOT = 4,     /* a key written with a dot: size, first and last work */
};

struct liquid_range {
    int64_t first, last;
};
/* forloop and tablerowloop */
struct liquid_loop {
    int64_t length, index0, cols, col, row;
    const struct liquid_loop *parent;
    struct slice name;
    bool tablerow;
};

enum { VALUE_DEPTH = 64 }; /* nesting that values may have where we recurse */

static inline bool is_true(const struct liquid_value *v)
{
    return !(v->type == LIQUID_NIL || (v->type == LIQUID_BOOL && !v->b));
}
static inline struct slice value_slice(const struct liquid_value *v) /* of a string */
{
    return (struct slice){v->s, v->n};
}
static inline bool is_missing(const struct liquid_value *v)
{
    return v->type == LIQUID_NIL || (v->flags & V_MISSING);
}

struct render;

/* As Liquid prints it inside a string: arrays and maps in their inspected form. Borrowed from v, or in the
 * machine's memory. Negative if a budget ended (the error is set). */
int value_text(struct render *vm, const struct liquid_value *v, struct slice *out);
/* As an output tag prints it: arrays item by item. */
int value_print(struct render *vm, const struct liquid_value *v, struct slice *out);
bool value_equal(const struct liquid_value *a, const struct liquid_value *b, int depth); /* == */
bool value_same(const struct liquid_value *a,
                const struct liquid_value *b); /* equal and of one type (eql?) */
/* ERR_INVAL if the two cannot be ordered; *order is <0, 0, >0. */
int value_order(const struct liquid_value *a, const struct liquid_value *b, int *order);
int value_compare(struct render *vm, enum compare op, const struct liquid_value *a,
                  const struct liquid_value *b, bool *out);
/* v.key or v[key]; nil where there is nothing. command: size, first and last count. */
struct liquid_value value_get(struct render *vm, const struct liquid_value *v, const struct liquid_value *key,
                              bool command);
/* Integer(v) as tags and filters want it: an int, or a string that is one. */
int value_integer(const struct liquid_value *v, int64_t *out);
int64_t value_loose_integer(struct slice s);                    /* String#to_i */
struct liquid_value value_number(const struct liquid_value *v); /* int or float; 0 for what is neither */
size_t value_range_count(const struct liquid_range *r);
bool value_is_space(char c);                           /* what strip takes away */
size_t value_skip_chars(struct slice s, size_t chars); /* bytes that so many characters take, at most s.n */

/* --- numbers (number.c) --- */
enum { FLOAT_TEXT = 40 };
size_t float_print(double f, char out[FLOAT_TEXT]);
enum math { MATH_ADD, MATH_SUB, MATH_MUL, MATH_DIV, MATH_MOD };
/* On int and float operands: exact on ints, decimal otherwise. ERR_RANGE, or ERR_INVAL for division by zero.
 */
int number_math(enum math op, const struct liquid_value *a, const struct liquid_value *b,
                struct liquid_value *out);
int number_compare(const struct liquid_value *a, const struct liquid_value *b); /* <0, 0, >0 */
enum rounding { ROUND_HALF_UP, ROUND_FLOOR, ROUND_CEIL };
int number_round(enum rounding how, const struct liquid_value *a, int64_t places, struct liquid_value *out);
struct liquid_value number_parse(struct slice s); /* "-1.5" to a float; the caller checked the form */

/* --- dates (date.c) --- */
struct date_zone {
    int64_t now_unix_s;
    int (*offset_at)(void *arg, int64_t unix_s);
    void *arg;
};
/* v by format, as Ruby's strftime. ERR_SYNTAX: v is no date. */
int date_format(const struct liquid_value *v, struct slice format, const struct date_zone *zone,
                struct buf *out, size_t most);

/* --- the machine (render.c) --- */
struct render {
    const struct liquid *prog;
    const struct liquid_input *in;
    struct arena *arena;
    struct buf *out;
    struct buf scratch; /* for texts that are put together; empty between instructions */
    struct err *e;
    int64_t steps;
    size_t mem_left, out_max; /* out_max: length out may reach */
    uint32_t pos, source;     /* of what runs now */
    bool strict, dry;
    uint32_t capturing;
};
/* Fails the render at the current place. Returns code. */
int render_fail(struct render *vm, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Memory from the arena against the budget; NULL with the error set when that is used up. */
void *render_alloc(struct render *vm, size_t n);
int render_copy(struct render *vm, struct slice s, struct liquid_value *out);
/* Work proportional to n items. Negative when steps are used up. */
int render_charge(struct render *vm, size_t n);

/* --- filters (filters*.c) --- */
enum filter_flag {
    F_TOTAL = 1, /* never nil and never an error for a value that is not missing */
    F_CLEAN = 2, /* nothing is escaped after it */
    F_PRINTS_ARGS = 4,
};
struct filter {
    const char *name;
    uint8_t min, max; /* arguments beside the input */
    uint8_t flags;
    /* v[0] is the input, v[1..n] the arguments. Negative with the error set. */
    int (*run)(struct render *vm, const struct liquid_value *v, int n, struct liquid_value *out);
};
extern const struct filter liquid_filters[];
extern const size_t liquid_nfilters;
int filter_index(struct slice name); /* index or -1 */
#define FILTER(name)                                                                                         \
    int filter_##name(struct render *vm, const struct liquid_value *v, int n, struct liquid_value *out)
/* The items filters work on: arrays flattened, a map as one item, a range counted out, nil as none. */
int filter_items(struct render *vm, const struct liquid_value *v, const struct liquid_value **items,
                 uint32_t *n);

/* --- HTML (html.c) --- */
struct html_state {
    uint8_t phase, element, attribute, quote, url, match;
    uint8_t nname;
    char name[21];
};
enum { HTML_STATES = 6 };
struct html_set {
    uint32_t n;
    struct html_state s[HTML_STATES];
};
void html_begin(struct html_set *set);
void html_text(struct html_set *set, struct slice text);
/* How an output here must be escaped. ERR_SYNTAX with the reason in *why. Moves the states past the value. */
int html_value(struct html_set *set, enum esc *esc, const char **why);
void html_raw(struct html_set *set);                              /* past an output that is not escaped */
int html_join(struct html_set *set, const struct html_set *more); /* ERR_LIMIT: too many */
bool html_within(const struct html_set *some, const struct html_set *set);
bool html_is_text(const struct html_set *set);

/* --- escaping (escape.c) --- */
void escape_html(struct buf *out, struct slice s);
void escape_html_once(struct buf *out, struct slice s);
void escape_query(struct buf *out, struct slice s); /* url_encode: a space is + */
/* A value as printed at esc. flags: enum out_flag. ERR_INVAL: a URL start that is no link. */
int escape_value(struct buf *out, enum esc esc, int flags, bool is_html, struct slice s);
bool escape_is_link(struct slice s); /* http, https, mailto, tel */

/* --- characters (unicase.c) --- */
void unicase_upper(struct buf *out, struct slice s);
void unicase_lower(struct buf *out, struct slice s);
void unicase_capital(struct buf *out, struct slice s);

#endif
