/* compile.h - what the compiler's files share: tokens, the state of a compilation, emitting. */
#ifndef HATO_FORMAT_LIQUID_COMPILE_H
#define HATO_FORMAT_LIQUID_COMPILE_H

#include "base/map.h"
#include "format/liquid/internal.h"

/* --- a document's tokens (lex.c) --- */
enum token { TOK_END, TOK_TEXT, TOK_OUTPUT, TOK_TAG };

/* Over a document, or over the lines of a liquid tag. */
struct reader {
    struct slice s;
    size_t at;
    bool lines;
    bool trim; /* the last tag ended in -%} */
};
struct tok {
    enum token kind;
    struct slice whole;  /* as written */
    struct slice name;   /* of a tag */
    struct slice markup; /* text, or what stands between the braces (behind the name) */
};
/* The next token; ERR_SYNTAX with *why where braces do not close (tok->whole says where). */
int token_read(struct reader *r, struct tok *t, const char **why);
/* The body of a raw or doc tag up to {% endNAME %}; trims as its end says. ERR_SYNTAX: it never ends. */
int token_read_raw(struct reader *r, struct slice name, struct slice *body);

/* --- an expression's tokens (lex.c) --- */
enum lex {
    LEX_END,
    LEX_ID,
    LEX_STRING,
    LEX_NUMBER,
    LEX_COMPARE,
    LEX_DOTS,
    LEX_PIPE,
    LEX_DOT,
    LEX_COLON,
    LEX_COMMA,
    LEX_OPEN,
    LEX_CLOSE,
    LEX_OPEN_SQUARE,
    LEX_CLOSE_SQUARE,
    LEX_DASH,
    LEX_ASSIGN,
    LEX_BAD
};
struct lexer {
    struct slice s;
    size_t at;
    enum lex kind; /* the token we look at */
    struct slice text;
    size_t end_of_last; /* where the token before it ended */
};
void lex_begin(struct lexer *l, struct slice markup);
void lex_next(struct lexer *l);
bool lex_word(struct lexer *l, const char *word); /* take it if it is there */
bool lex_take(struct lexer *l, enum lex kind);

/* --- the compilation --- */
struct vec {
    struct buf b;
    uint32_t n;
};
#define VEC(v, type)          ((type *)(void *)(v).b.p)
#define VEC_PUSH(v, item)     (buf_add(&(v).b, &(item), sizeof(item)), (v).n++)
#define VEC_CUT(v, type, len) ((v).n = (len), (v).b.n = (v).n * sizeof(type))

/* The loop (or partial, outside of loops) that a break would leave, and the HTML states in which it does. */
struct loop_scope {
    struct html_set ends, again;
    struct html_set *outside; /* while inside a capture: the state around it */
};

/* A partial compiled for one way of entering it. */
struct unit {
    struct slice name;
    bool isolated, open, recursive;
    struct html_set enter, leave, interrupts;
    uint32_t fn;
};

struct block {
    bool blank;       /* nothing in it prints */
    struct vec texts; /* where in code its own OP_TEXTs are */
};

struct compiler {
    struct liquid *p;
    const struct liquid_options *o;
    struct err *e;
    struct vec code, consts, syms, outs, loops, calls, choices, args, sources, fns, units;
    struct buf text;
    struct map sym_map;
    struct reader *r;
    uint32_t source;
    struct slice source_text;
    const char *pos; /* where the current tag or output begins */
    struct html_set html;
    struct loop_scope *loop;
    uint32_t depth, max_depth; /* of the value stack */
    uint32_t nesting, tokens;
    bool isolated;
    bool straight;
};

enum {
    NESTING_MOST = 100,
    TOKENS_MOST = 2000000, /* read again for loops, partials and branches */
    CODE_MOST = 1 << 20,
    STACK_MOST = 200,
};

int compile_fail(struct compiler *c, const char *at, int code, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
#define FAIL(c, ...) compile_fail(c, (c)->pos, ERR_SYNTAX, __VA_ARGS__)

uint32_t compile_emit(struct compiler *c, enum op op, uint32_t a, uint32_t b, uint32_t cc, uint32_t d);
void compile_patch(struct compiler *c, uint32_t at, uint32_t target); /* its c becomes target */
uint32_t compile_here(struct compiler *c);
int compile_stack(struct compiler *c, int change); /* the value stack grows or shrinks */
uint32_t compile_const(struct compiler *c, struct liquid_value v);
uint32_t compile_string(struct compiler *c, struct slice s);
uint32_t compile_symbol(struct compiler *c, struct slice name);

/* A place to come back to when something must be compiled again. */
struct mark {
    uint32_t code, outs, loops, calls, choices, args, fns, units;
    size_t reader_at, text;
    bool trim;
};
struct mark compile_mark(const struct compiler *c);
void compile_rewind(struct compiler *c, const struct mark *m);

/* --- expressions (expr.c) --- */
struct expr {
    struct slice text; /* as written */
    bool literal;      /* a constant: value holds it */
    bool path;         /* a variable, perhaps with keys */
    bool plain;        /* all of them constant: nkeys in consts from key on */
    uint32_t sym, key, nkeys;
    struct liquid_value value;
};
/* Code that pushes one value. condition: blank and empty mean themselves, not "". */
int compile_expr(struct compiler *c, struct lexer *l, bool condition, struct expr *x);
/* `a == b and c`: jumps to *otherwise (a chain to patch) when the whole is false (or, negated, true). */
int compile_condition(struct compiler *c, struct slice markup, bool negated, struct vec *otherwise);
/* expression | filters; nothing may follow. Leaves the value on the stack and fills out (esc not yet). */
int compile_filtered(struct compiler *c, struct slice markup, bool prints, struct output *out, bool *raw);
int compile_output(struct compiler *c, struct slice markup);
/* Register a place that prints the value on the stack. */
int compile_place(struct compiler *c, struct output *out, bool raw, uint32_t *index);

/* --- blocks and tags (compile.c, tags.c, loops.c, partials.c) --- */
/* Compile up to a tag named in ends (NULL-ended; NULL for none), which is left in *end. blank becomes false
 * if anything there prints. */
int compile_block(struct compiler *c, const char *const *ends, const char *owner, struct block *b,
                  struct tok *end);
void compile_block_free(struct block *b);
/* The texts of a block that prints nothing else are not printed either. */
void compile_block_silence(struct compiler *c, struct block *b);

struct tag {
    const char *name;
    int (*compile)(struct compiler *c, struct tok *t, bool *blank);
};
extern const struct tag liquid_tags[];
extern const size_t liquid_ntags;
#define TAG(name) int tag_##name(struct compiler *c, struct tok *t, bool *blank)
TAG(assign);
TAG(break);
TAG(capture);
TAG(case);
TAG(comment);
TAG(continue);
TAG(cycle);
TAG(decrement);
TAG(doc);
TAG(echo);
TAG(for);
TAG(if);
TAG(ifchanged);
TAG(include);
TAG(increment);
TAG(inline_comment);
TAG(liquid);
TAG(raw);
TAG(render);
TAG(tablerow);
TAG(unless);

/* A body that may run several times over: where it leaves the HTML elsewhere than it found it, it is compiled
 * again for both. c->html must be what enters; it becomes what leaves the last round. */
int compile_repeated(struct compiler *c, const char *const *ends, const char *owner, struct block *b,
                     struct tok *end, struct loop_scope *scope);
int compile_enter(struct compiler *c); /* one level deeper; c->nesting-- leaves it */
int compile_join(struct compiler *c, struct html_set *set,
                 const struct html_set *more); /* join, with an error */
int compile_text(struct compiler *c, struct block *b, struct slice s);
int lex_expect_end(struct compiler *c, struct lexer *l); /* nothing may follow */
int lex_take_name(struct compiler *c, struct lexer *l, const char *what, struct slice *name);

#endif
