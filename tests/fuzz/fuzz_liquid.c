/* fuzz_liquid.c - any bytes as a template, in both escape modes: it compiles or says why; the walk for
 * missing values and a strict render agree; what HTML mode prints of a value never opens a tag. */
#include "format/liquid.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int resolve(void *arg, struct slice name, struct slice *source)
{
    static const struct {
        struct slice name, text;
    } known[] = {{{"a", 1}, {"<p>{{ a }}{% break %}", 20}},
                 {{"b", 1}, {"{% include 'a' %}{{ x | default: l }}", 37}}};
    for (size_t i = 0; i < COUNT(known); i++)
        if (slice_eq(name, known[i].name)) {
            *source = known[i].text;
            return 0;
        }
    if (slice_eq(name, S("self"))) {
        *source = *(const struct slice *)arg;
        return 0;
    }
    return ERR_NOTFOUND;
}

static void run(struct slice text, enum liquid_escape escape)
{
    static const struct slice names[] = {{"a", 1}, {"b", 1}};
    struct liquid_value items[] = {liquid_int(3), liquid_string(S("<b>")), liquid_nil(), liquid_float(-1.5)};
    struct liquid_value list = {.type = LIQUID_ARRAY, .n = COUNT(items), .items = items};
    struct liquid_pair inner[] = {{liquid_string(S("a")), liquid_bool(false)}, {liquid_string(S("l")), list}};
    struct liquid_value map = {.type = LIQUID_MAP, .n = COUNT(inner), .pairs = inner};
    struct liquid_pair pairs[] = {{liquid_string(S("a")), liquid_string(S("\xe6\x9d\xb1 <\"'&> 2020-01-02"))},
                                  {liquid_string(S("u")), liquid_string(S("https://x/?a=1&b"))},
                                  {liquid_string(S("l")), list},
                                  {liquid_string(S("m")), map}};
    struct liquid_value values = {.type = LIQUID_MAP, .n = COUNT(pairs), .pairs = pairs};
    struct liquid_options o = {
        .escape = escape, .resolve = resolve, .arg = &text, .partials = names, .npartials = COUNT(names)};
    struct liquid_input in = {
        .data = &values, .max_steps = 20000, .max_output = 65536, .now_unix_s = 1700000000};
    struct liquid *p = NULL;
    struct arena a = {0};
    struct buf out = {0};
    struct err e = {0};
    int rc = liquid_compile(text, &o, &p, &e);
    if (rc && !e.text[0])
        abort();
    if (!rc) {
        if (liquid_render(p, &in, &a, &out, &e) == 0 && out.n > 65536)
            abort();
        arena_reset(&a);
        buf_clear(&out);
        int walked = liquid_missing(p, &in, &a, &e);
        in.missing = LIQUID_MISSING_ERROR;
        arena_reset(&a);
        int rendered = liquid_render(p, &in, &a, &out, &e);
        if (walked == ERR_MISSING && rendered == 0) /* what the walk finds missing must not print */
            abort();
        if (rendered == ERR_MISSING && walked == 0)
            abort();
    }
    liquid_free(p);
    buf_free(&out);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    run(text, LIQUID_ESCAPE_NONE);
    run(text, LIQUID_ESCAPE_HTML);
    return 0;
}
