/* render.h - `hato render` without its command line: JSON data to Liquid values, one template to its result.
 */
#ifndef HATO_RENDER_H
#define HATO_RENDER_H

#include "format/liquid.h"

#include <jansson.h>

struct render_options {
    bool plain, strict;
    const json_t *partials; /* an object: name → text; NULL: none */
    int64_t now_unix_s;
};

/* j as a value; strings are borrowed from j. */
struct liquid_value render_value(const json_t *j, struct arena *a);

/* Compile and render; the result is appended to out. data may be NULL. Errors as liquid_compile() and
 * liquid_render(). */
int render_template(const char *name, struct slice source, const json_t *data, const struct render_options *o,
                    struct buf *out, struct err *e);

#endif
