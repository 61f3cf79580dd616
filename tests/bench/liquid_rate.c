/* liquid_rate.c - how long one render of a compiled template takes, as the assembly of a message does it:
 *   liquid_rate TEMPLATE DATA.json SECONDS RESULT [plain]
 * writes what one render gives to RESULT and prints the microseconds of the mean one. */
#include "platform/file.h"
#include "render.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST_BYTES = 1 << 24, BETWEEN_LOOKS = 256 };

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    struct fs *fs = fs_real();
    struct buf source = {0}, text = {0}, out = {0};
    struct arena kept = {0}, a = {0};
    struct err e = {0};
    struct liquid *program = NULL;
    json_t *data = NULL;
    FILE *result = NULL;
    int code = 1;

    if (argc < 5) {
        fprintf(stderr, "usage: liquid_rate TEMPLATE DATA.json SECONDS RESULT [plain]\n");
        goto out;
    }
    struct liquid_options o = {.name = argv[1], .escape = argc > 5 ? LIQUID_ESCAPE_NONE : LIQUID_ESCAPE_HTML};
    if (fs_read_whole(fs, argv[1], MOST_BYTES, &source, &e) ||
        fs_read_whole(fs, argv[2], MOST_BYTES, &text, &e) ||
        liquid_compile(buf_slice(&source), &o, &program, &e)) {
        fprintf(stderr, "liquid_rate: %s\n", e.text);
        goto out;
    }
    if (!(data = json_loadb(text.p, text.n, 0, NULL)) || !json_is_object(data)) {
        fprintf(stderr, "liquid_rate: %s is no JSON object\n", argv[2]);
        goto out;
    }
    size_t n = liquid_slots(program);
    struct liquid_value *slots = arena_alloc(&kept, (n + 1) * sizeof *slots);
    for (size_t i = 0; i < n; i++) {
        struct slice name = liquid_slot_name(program, i);
        const json_t *value = json_object_getn(data, name.p, name.n);
        slots[i] = value ? render_value(value, &kept) : liquid_nil();
    }
    struct liquid_input in = {.slots = slots, .missing = LIQUID_MISSING_ERROR};
    double seconds = atof(argv[3]), began = now_s(), took = 0;
    uint64_t renders = 0;
    while (took < seconds) {
        for (int i = 0; i < BETWEEN_LOOKS; i++, renders++) {
            buf_clear(&out);
            arena_reset(&a);
            if (liquid_render(program, &in, &a, &out, &e)) {
                fprintf(stderr, "liquid_rate: %s\n", e.text);
                goto out;
            }
        }
        took = now_s() - began;
    }
    if (!(result = fopen(argv[4], "wb")) || fwrite(out.p, 1, out.n, result) != out.n) {
        perror(argv[4]);
        goto out;
    }
    printf("%.4f\n", took * 1e6 / (double)renders);
    code = 0;
out:
    if (result && fclose(result))
        code = 1;
    json_decref(data);
    liquid_free(program);
    arena_free(&kept);
    arena_free(&a);
    buf_free(&source);
    buf_free(&text);
    buf_free(&out);
    fs_free(fs);
    return code;
}
