/* intake.h - reads a campaign's people, from a CSV file or from the script's iterator, and hands on those
 * that are good. A window of rows is in memory, whatever the size of the file.
 *
 * A row is good when its address can be written to, and every value that a template prints is there. A bad
 * row is told with its line and the reason; the others go on. */
#ifndef HATO_INTAKE_H
#define HATO_INTAKE_H

#include "delivery/deliver.h"
#include "lua/api.h"

struct intake;

struct intake_row {
    uint64_t line;        /* in the file; of an iterator, the number of the call */
    struct slice address; /* as written */
    const struct addr *addr;
    uint32_t columns;    /* deliver_columns(); 0 without a deliver */
    struct slice values; /* raw msgpack array */
    struct slice key;    /* duplicate key */
};

struct intake_counts {
    uint64_t rows, fresh, known, bad;
    uint64_t unranked; /* of an order: neither number nor date in the column, they went last */
};

/* "people.csv:3: WHY" or "hello: person 3: WHY", a line for standard error. */
void intake_say_bad(const struct campaign *c, uint64_t line, const char *why);

struct intake_conf {
    struct loop *loop;
    struct fs *fs; /* of the script's files */
    struct deliver *deliver;
    struct campaign *campaign;
    struct api *api;
    uint16_t index; /* of the campaign in the conf */
    void *data;
    /* A good row: 0 taken, ERR_EXISTS known, ERR_CANCELED left out on purpose (not counted); else the intake
     * ends with that error. */
    int (*take)(void *data, const struct intake_row *row);
    void (*bad)(void *data, uint64_t line, struct slice address, const char *why);
    /* status 0: all was read, and what was taken is durable. Else e says why not. */
    void (*done)(void *data, int status, const struct err *e);
};

struct intake *intake_start(const struct intake_conf *conf);
struct intake_counts intake_counts(const struct intake *in);
/* Ends it wherever it is; done is not called. */
void intake_free(struct intake *in);

#endif
