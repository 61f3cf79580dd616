/* fields.c - see fields.h. */
#include "fields.h"

#include <stdlib.h>

static _Noreturn void malformed(const char *line)
{
    fprintf(stderr, "malformed record at: %s\n", line);
    exit(2);
}

bool record_read(FILE *f, struct record_in *r)
{
    char line[128];
    arena_reset(&r->arena);
    r->n = 0;
    for (;;) {
        unsigned long len;
        if (!fgets(line, sizeof line, f)) {
            if (r->n)
                malformed("end of input");
            return false;
        }
        if (strcmp(line, ".\n") == 0)
            return true;
        if (r->n == FIELDS_MAX || sscanf(line, "%31s %lu", r->v[r->n].name, &len) != 2)
            malformed(line);
        char *p = arena_alloc(&r->arena, len + 1);
        if (fread(p, 1, len + 1, f) != len + 1 || p[len] != '\n')
            malformed(line);
        p[len] = 0;
        r->v[r->n++].value = slice_of(p, len);
    }
}

struct slice record_get(const struct record_in *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (strcmp(r->v[i].name, name) == 0)
            return r->v[i].value;
    return SLICE_NONE;
}

void field_write(FILE *f, const char *name, struct slice value)
{
    fprintf(f, "%s %zu\n", name, value.n);
    fwrite(value.p, 1, value.n, f);
    fputc('\n', f);
}

void record_end(FILE *f)
{
    fputs(".\n", f);
}
