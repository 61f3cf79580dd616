/* dry_run.h - `hato run --dry-run`: read the people, find where their mail would go, send nothing. */
#ifndef HATO_DRY_RUN_H
#define HATO_DRY_RUN_H

#include "hato.h"
#include "intake.h"

struct dry_run_conf {
    struct hato *hato; /* loaded and opened, with its state in memory */
    bool json;
    void *data;
    void (*bad_row)(void *data, const struct campaign *c, uint64_t line, struct slice address,
                    const char *why);
};

/* Prints a line for each campaign and ISP: how many, and what DNS says where it says no. */
int dry_run(const struct dry_run_conf *conf, struct err *e);

#endif
