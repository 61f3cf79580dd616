/* cmd_render.c - hato render: a Liquid template with data from a JSON file, or many from one. */
#include "cmd.h"
#include "opts.h"
#include "platform/file.h"
#include "platform/loop.h"
#include "render.h"

#include <stdio.h>
#include <stdlib.h>

enum { FILE_MOST = 64 * 1024 * 1024, FOLDERS_MOST = 8 };

struct render {
    const char *data, *partials, *batch;
    bool plain, strict, help;
};

static const struct opt options[] = {
    {OPT_STRING, "data", "FILE", "a JSON object with the template's values", offsetof(struct render, data)},
    {OPT_STRING, "partials", "DIR", "where include and render find NAME, NAME.liquid or NAME.html",
     offsetof(struct render, partials)},
    {OPT_FLAG, "plain", NULL, "no HTML escaping: for text parts and subjects",
     offsetof(struct render, plain)},
    {OPT_FLAG, "strict", NULL, "a missing value without a default is an error",
     offsetof(struct render, strict)},
    {OPT_STRING, "batch", "FILE",
     "a JSON array of {name, template, data, templates}; prints an array of {name, result} or {name, error}",
     offsetof(struct render, batch)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct render, help)},
    {0},
};

static const char usage[] = "hato render FILE [--data FILE.json] [--partials DIR] [--plain] [--strict]\n"
                            "hato render --batch FILE.json [--plain] [--strict]\n\n"
                            "Renders a Liquid template as a campaign would and prints the result.";

/* --- values --- */

struct liquid_value render_value(const json_t *j, struct arena *a)
{
    struct liquid_value v = liquid_nil();
    switch (json_typeof(j)) {
    case JSON_NULL:
        return v;
    case JSON_TRUE:
    case JSON_FALSE:
        return liquid_bool(json_is_true(j));
    case JSON_INTEGER:
        return liquid_int(json_integer_value(j));
    case JSON_REAL:
        return liquid_float(json_real_value(j));
    case JSON_STRING:
        return liquid_string(slice_of(json_string_value(j), json_string_length(j)));
    case JSON_ARRAY: {
        size_t n = json_array_size(j);
        struct liquid_value *items = arena_alloc(a, n * sizeof *items);
        for (size_t i = 0; i < n; i++)
            items[i] = render_value(json_array_get(j, i), a);
        v = (struct liquid_value){.type = LIQUID_ARRAY, .n = (uint32_t)n, .items = items};
        return v;
    }
    case JSON_OBJECT: {
        size_t n = 0;
        struct liquid_pair *pairs = arena_alloc(a, json_object_size(j) * sizeof *pairs);
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)j, key, value)
        {
            pairs[n].key = liquid_string(slice_cstr(key));
            pairs[n++].value = render_value(value, a);
        }
        v = (struct liquid_value){.type = LIQUID_MAP, .n = (uint32_t)n, .pairs = pairs};
        return v;
    }
    }
    return v;
}

static int resolve(void *arg, struct slice name, struct slice *source)
{
    const json_t *text = json_object_getn(arg, name.p, name.n);
    if (!json_is_string(text))
        return ERR_NOTFOUND;
    *source = slice_of(json_string_value(text), json_string_length(text));
    return 0;
}

int render_template(const char *name, struct slice source, const json_t *data, const struct render_options *o,
                    struct buf *out, struct err *e)
{
    struct arena a = {0};
    struct liquid *program = NULL;
    size_t n = json_object_size(o->partials), i = 0;
    struct slice *names = arena_alloc(&a, (n + 1) * sizeof *names);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)o->partials, key, value)
    {
        names[i++] = slice_cstr(key);
    }
    struct liquid_options how = {.name = name,
                                 .escape = o->plain ? LIQUID_ESCAPE_NONE : LIQUID_ESCAPE_HTML,
                                 .resolve = resolve,
                                 .arg = (void *)o->partials,
                                 .partials = names,
                                 .npartials = n};
    int rc = liquid_compile(source, &how, &program, e);
    if (!rc) {
        struct liquid_value values = data ? render_value(data, &a) : liquid_nil();
        struct liquid_input in = {.data = &values,
                                  .missing = o->strict ? LIQUID_MISSING_ERROR : LIQUID_MISSING_EMPTY,
                                  .now_unix_s = o->now_unix_s};
        rc = liquid_render(program, &in, &a, out, e);
    }
    liquid_free(program);
    arena_free(&a);
    return rc;
}

/* --- files --- */

static int read_json(struct fs *fs, const char *path, json_t **out, struct err *e)
{
    struct buf text = {0};
    json_error_t why;
    int rc = fs_read_whole(fs, path, FILE_MOST, &text, e);
    if (rc)
        return rc;
    *out = json_loadb(text.p ? text.p : "", text.n, JSON_ALLOW_NUL, &why);
    buf_free(&text);
    return *out ? 0 : err_set(e, ERR_SYNTAX, "%s:%d:%d: %s", path, why.line, why.column, why.text);
}

struct folder {
    struct fs *fs;
    const char *dir, *prefix; /* of names: "" or "shared/" */
    int depth;
    json_t *partials;
    struct err *e;
    int rc;
};

static void add_partial(struct folder *f, const char *path, struct slice name, struct slice text)
{
    json_t *s = json_stringn(text.p, text.n);
    size_t cut = slice_ends(name, S(".liquid")) ? 7 : slice_ends(name, S(".html")) ? 5 : 0;
    if (!s || json_object_setn(f->partials, name.p, name.n, s) ||
        json_object_setn(f->partials, name.p, name.n - cut, s))
        f->rc = err_set(f->e, ERR_SYNTAX, "%s is not UTF-8", path);
    json_decref(s);
}

/* Every file is known by its name, and by its name without .liquid or .html; one in a folder as folder/name.
 */
static void on_partial(void *data, const char *name)
{
    struct folder *f = data;
    struct buf path = {0}, known = {0}, text = {0};
    struct fs_stat st = {0};
    if (f->rc || name[0] == '.')
        return;
    buf_printf(&path, "%s/%s", f->dir, name);
    buf_printf(&known, "%s%s", f->prefix, name);
    f->rc = fs_stat(f->fs, buf_cstr(&path), &st, f->e);
    if (!f->rc && st.is_dir && f->depth < FOLDERS_MOST) {
        buf_addc(&known, '/');
        struct folder inner = {f->fs, buf_cstr(&path), buf_cstr(&known), f->depth + 1, f->partials, f->e, 0};
        f->rc = fs_list(f->fs, inner.dir, on_partial, &inner, f->e);
        if (!f->rc)
            f->rc = inner.rc;
    } else if (!f->rc && !st.is_dir) {
        f->rc = fs_read_whole(f->fs, buf_cstr(&path), FILE_MOST, &text, f->e);
        if (!f->rc)
            add_partial(f, buf_cstr(&path), buf_slice(&known), buf_slice(&text));
    }
    buf_free(&path);
    buf_free(&known);
    buf_free(&text);
}

/* --- the command --- */

static int render_one(struct fs *fs, const struct render *args, const char *file, int64_t now_unix_s,
                      struct err *e)
{
    struct buf source = {0}, out = {0};
    json_t *data = NULL, *partials = json_object();
    struct folder folder = {fs, args->partials, "", 0, partials, e, 0};
    int rc = fs_read_whole(fs, file, FILE_MOST, &source, e);
    if (!rc && args->data)
        rc = read_json(fs, args->data, &data, e);
    if (!rc && data && !json_is_object(data))
        rc = err_set(e, ERR_SYNTAX, "%s: the data is a JSON object", args->data);
    if (!rc && args->partials && !(rc = fs_list(fs, args->partials, on_partial, &folder, e)))
        rc = folder.rc;
    if (!rc) {
        struct render_options o = {args->plain, args->strict, partials, now_unix_s};
        rc = render_template(file, buf_slice(&source), data, &o, &out, e);
    }
    if (!rc && fwrite(out.p ? out.p : "", 1, out.n, stdout) != out.n)
        rc = err_set(e, ERR_IO, "the result could not be written");
    json_decref(data);
    json_decref(partials);
    buf_free(&source);
    buf_free(&out);
    return rc;
}

static json_t *batch_result(const json_t *item, const struct render *args, int64_t now_unix_s)
{
    const json_t *name = json_object_get(item, "name"), *text = json_object_get(item, "template");
    const json_t *data = json_object_get(item, "data");
    struct render_options o = {args->plain, args->strict, json_object_get(item, "templates"), now_unix_s};
    struct buf out = {0};
    struct err e = {0};
    json_t *result = json_object(), *value;
    int rc;
    if (!json_is_string(text))
        rc = err_set(&e, ERR_SYNTAX, "the item has no template");
    else
        rc = render_template("template", slice_of(json_string_value(text), json_string_length(text)),
                             json_is_object(data) ? data : NULL, &o, &out, &e);
    if (!rc && !(value = json_stringn(out.p ? out.p : "", out.n)))
        rc = err_set(&e, ERR_SYNTAX, "the result is not UTF-8");
    if (rc)
        value = json_string(e.text);
    json_object_set(result, "name", name ? (json_t *)name : json_null());
    json_object_set_new(result, rc ? "error" : "result", value ? value : json_string(err_name(rc)));
    buf_free(&out);
    return result;
}

static int render_batch(struct fs *fs, const struct render *args, int64_t now_unix_s, struct err *e)
{
    json_t *items = NULL;
    int rc = read_json(fs, args->batch, &items, e);
    if (!rc && !json_is_array(items))
        rc = err_set(e, ERR_SYNTAX, "%s: a batch is a JSON array", args->batch);
    if (!rc) {
        json_t *results = json_array();
        for (size_t i = 0; i < json_array_size(items); i++)
            json_array_append_new(results, batch_result(json_array_get(items, i), args, now_unix_s));
        if (json_dumpf(results, stdout, JSON_INDENT(1)) || putchar('\n') == EOF)
            rc = err_set(e, ERR_IO, "the result could not be written");
        json_decref(results);
    }
    json_decref(items);
    return rc;
}

int cmd_render(int argc, char **argv)
{
    struct render args = {0};
    struct opt_list words = {.n = 0};
    struct err e = {0};
    if (opts_parse(argc, argv, options, &args, &words, &e)) {
        fprintf(stderr, "hato render: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (args.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    if (words.n != (args.batch ? 0 : 1)) {
        fprintf(stderr, "hato render: needs one template, or --batch FILE\n");
        return EXIT_USAGE;
    }
    struct fs *fs = fs_real();
    struct loop *loop = loop_new_real(); /* for the clock */
    int64_t now_unix_s = loop_wall_ms(loop) / 1000;
    int rc = args.batch ? render_batch(fs, &args, now_unix_s, &e)
                        : render_one(fs, &args, words.v[0], now_unix_s, &e);
    loop_free(loop);
    fs_free(fs);
    if (!rc && fflush(stdout))
        rc = err_set(&e, ERR_IO, "the result could not be written");
    if (rc)
        fprintf(stderr, "hato render: %s\n", e.text);
    return rc ? rc == ERR_IO ? EXIT_FAILED : EXIT_USAGE : EXIT_DONE;
}
