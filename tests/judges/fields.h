/* fields.h - how the tests in tests/e2e and the judges talk: a record is fields `NAME LENGTH\n` + bytes +
 * `\n`, and a line with a dot at its end. Bytes may be anything. */
#ifndef HATO_TESTS_JUDGES_FIELDS_H
#define HATO_TESTS_JUDGES_FIELDS_H

#include "base/mem.h"

#include <stdio.h>

enum { FIELDS_MAX = 64 };
struct field_in {
    char name[32];
    struct slice value;
};
struct record_in {
    struct arena arena;
    struct field_in v[FIELDS_MAX];
    size_t n;
};

/* True and a record, valid until the next call; false at the end of input. Ends the process at malformed
 * input. */
bool record_read(FILE *f, struct record_in *r);
/* Empty if it is not there. */
struct slice record_get(const struct record_in *r, const char *name);

void field_write(FILE *f, const char *name, struct slice value);
void record_end(FILE *f);

#endif
