/* liquid_golden_test.c - the Liquid language's own golden cases, tests/golden/liquid (MIT, James Prior). */
#include "render.h"
#include "test.h"

/* A case has one result, several that are right, or is invalid: it must fail, wherever. */
static bool as_expected(const json_t *item, int rc, struct slice got)
{
    const json_t *result = json_object_get(item, "result"), *results = json_object_get(item, "results");
    if (json_is_true(json_object_get(item, "invalid")))
        return rc != 0;
    if (rc)
        return false;
    if (result)
        return slice_eq(got, slice_of(json_string_value(result), json_string_length(result)));
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *one = json_array_get(results, i);
        if (slice_eq(got, slice_of(json_string_value(one), json_string_length(one))))
            return true;
    }
    return false;
}

TEST(liquid_passes_the_golden_cases)
{
    struct slice file = test_file("tests/golden/liquid/cases.json");
    json_t *cases = json_loadb(file.p, file.n, 0, NULL);
    size_t bad = 0;
    CHECK_INT(json_array_size(cases), 334);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i), *text = json_object_get(item, "template");
        struct render_options o = {
            .plain = true, .partials = json_object_get(item, "templates"), .now_unix_s = 1700000000};
        struct buf out = {0};
        struct err e = {0};
        int rc = render_template("template", slice_of(json_string_value(text), json_string_length(text)),
                                 json_object_get(item, "data"), &o, &out, &e);
        if (!as_expected(item, rc, buf_slice(&out))) {
            bad++;
            test_fail(__FILE__, __LINE__, "%s:\n  template %s\n  got %s \"%.*s\" %s",
                      json_string_value(json_object_get(item, "name")), json_string_value(text),
                      rc ? "error" : "", SLICE_FMT(buf_slice(&out)), e.text);
        }
        buf_free(&out);
    }
    json_decref(cases);
    CHECK_INT(bad, 0);
}
