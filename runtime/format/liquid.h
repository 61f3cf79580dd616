/* liquid.h - the Liquid template language: compile once, render many times, escape by place.
 *
 * liquid_compile() turns a template and every partial it names into one immutable program: a flat array of
 * instructions and a pool of constants. Any number of threads may render it at once; a render touches only
 * its own arena and output buffer. Language: Liquid as its reference implementation's strict parser reads it,
 * plus the filter `raw`.
 *
 *     struct liquid *t;
 *     int rc = liquid_compile(source, &(struct liquid_options){.name = "hello.html", .escape =
 * LIQUID_ESCAPE_HTML}, &t, &e); for (size_t i = 0; i < liquid_slots(t); i++)          // once a template
 *         column[i] = find_column(liquid_slot_name(t, i));
 *     ... values[i] = liquid_string(cell[column[i]]) ...    // once a recipient
 *     rc = liquid_render(t, &(struct liquid_input){.slots = values}, &arena, &out, &e);
 *     liquid_free(t);
 *
 * Missing. A value is missing when it is nil: not in the data, or a slot the caller left nil. An empty string
 * is a value; a caller for whom an empty CSV cell means "not known" passes nil for it. Only printing counts:
 * an output whose first value is missing and that has no `default` (or `size`) filter, an output that ends in
 * nil, and a missing argument of `append` or `prepend`. Conditions and loops over a missing value are
 * ordinary Liquid.
 *
 * Escaping (LIQUID_ESCAPE_HTML). The compiler follows the template's HTML and knows where each output stands:
 *   element text, title, textarea, quoted attribute   & < > " ' become entities
 *   href, src, action and their kind, at the start    http, https, mailto or tel, else the render fails; URL
 *                                                     characters stay, others are percent-encoded
 *   the same after literal text                       percent-encoded as a URL component
 *   script, style, on…, unquoted, names, comments     an error at compile time
 * The last filter `raw` opts out; after escape, escape_once, url_encode and newline_to_br (which escapes its
 * input first if nothing did) nothing is escaped again, but a URL's scheme is still checked. Where branches
 * end in different places an output behind them is an error at compile time. What `capture` took is HTML
 * already.
 *
 * Errors read "hello.html:12:8: ..." with line and column (in characters) of the tag or output. */
#ifndef HATO_FORMAT_LIQUID_H
#define HATO_FORMAT_LIQUID_H

#include "base/err.h"
#include "base/mem.h"

enum liquid_type {
    LIQUID_NIL,
    LIQUID_BOOL,
    LIQUID_INT,
    LIQUID_FLOAT, /* finite; printed and calculated in decimal, 0.1 + 0.2 is 0.3 */
    LIQUID_STRING,
    LIQUID_ARRAY,
    LIQUID_MAP,
    /* The engine's own; callers do not make these. */
    LIQUID_RANGE,
    LIQUID_BLANK,
    LIQUID_EMPTY,
    LIQUID_LOOP,
    LIQUID_UNSET,
};

struct liquid_pair;
struct liquid_range;
struct liquid_loop;

struct liquid_value {
    uint8_t type;  /* enum liquid_type */
    uint8_t flags; /* the engine's own; callers leave 0 */
    uint32_t n;    /* bytes of a string, items of an array, pairs of a map */
    union {
        bool b;
        int64_t i;
        double f;
        const char *s;
        const struct liquid_value *items;
        const struct liquid_pair
            *pairs; /* in the order in which loops see them; keys are strings, each once */
        const struct liquid_range *range;
        const struct liquid_loop *loop;
    };
};
struct liquid_pair {
    struct liquid_value key, value;
};

static inline struct liquid_value liquid_nil(void)
{
    return (struct liquid_value){.type = LIQUID_NIL};
}
static inline struct liquid_value liquid_bool(bool b)
{
    return (struct liquid_value){.type = LIQUID_BOOL, .b = b};
}
static inline struct liquid_value liquid_int(int64_t i)
{
    return (struct liquid_value){.type = LIQUID_INT, .i = i};
}
static inline struct liquid_value liquid_float(double f)
{
    return (struct liquid_value){.type = LIQUID_FLOAT, .f = f};
}
/* Borrowed until the render ends; at most 4 GiB. */
static inline struct liquid_value liquid_string(struct slice s)
{
    return (struct liquid_value){.type = LIQUID_STRING, .n = (uint32_t)s.n, .s = s.p};
}

enum liquid_escape { LIQUID_ESCAPE_NONE, LIQUID_ESCAPE_HTML };

struct liquid_options {
    const char *name; /* of the template, for errors; NULL: "template" */
    enum liquid_escape escape;
    /* The text of a partial, borrowed until compile returns: 0, or ERR_NOTFOUND. NULL: there are none. */
    int (*resolve)(void *arg, struct slice name, struct slice *source);
    void *arg;
    /* Names that `include` with a variable name may ask for; others fail the render. */
    const struct slice *partials;
    size_t npartials;
};

struct liquid;

/* Compile source (borrowed until return). *out is owned: liquid_free(). ERR_SYNTAX (template), ERR_NOTFOUND
 * (a partial), ERR_LIMIT (nesting or size), with a sentence in e. */
int liquid_compile(struct slice source, const struct liquid_options *o, struct liquid **out, struct err *e);
void liquid_free(struct liquid *p); /* NULL is fine */

/* The top-level names the program may read, each once, in no meaningful order. Slot i holds name i. */
size_t liquid_slots(const struct liquid *p);
struct slice liquid_slot_name(const struct liquid *p, size_t slot); /* borrowed from p */

enum liquid_missing { LIQUID_MISSING_EMPTY, LIQUID_MISSING_ERROR };

struct liquid_input {
    const struct liquid_value *slots; /* liquid_slots() values, by slot; or NULL and */
    const struct liquid_value *data;  /* a map of everything; NULL: no data. {{ [name] }} with a name that is
                                         known  only at render reads slots by name, or data */
    enum liquid_missing missing;
    int64_t now_unix_s;                          /* what the date filter takes for 'now' and 'today' */
    int (*offset_at)(void *arg, int64_t unix_s); /* seconds east of UTC at that time; NULL: UTC */
    void *offset_arg;
    uint32_t max_steps; /* instructions and work done in filters; 0: 1,000,000 */
    size_t max_output;  /* bytes; 0: 8 MiB. Working memory is held to eight times that */
};

/* Append the result to out. What out got before an error stays in it. ERR_MISSING (strict, a value is
 * missing), ERR_INVAL (a filter or tag cannot take the value), ERR_LIMIT (a budget). */
int liquid_render(const struct liquid *p, const struct liquid_input *in, struct arena *a, struct buf *out,
                  struct err *e);

/* Would this input print a missing value or a link that is none? Walks the program without producing output;
 * in->missing is taken as LIQUID_MISSING_ERROR. 0, ERR_MISSING naming the first, or what liquid_render()
 * would return. A program without control flow costs a look at each slot it prints. */
int liquid_missing(const struct liquid *p, const struct liquid_input *in, struct arena *a, struct err *e);

#endif
