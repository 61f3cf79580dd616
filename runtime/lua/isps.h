/* isps.h - the receivers that hato knows by itself: lua/hato/isp/NAME.lua, one a file, linked in.
 *
 *   struct isps known;
 *   isps_load(&arena, &known, &e);
 *   index = conf_isp_match(known.v, known.n, domain, hosts, nhosts, NULL);
 *
 * A file returns the table that hato.isp would be given, and beside it `samples`: names that its patterns are
 * for. It is data: it is run without libraries and without a script, so what reads returned mail can have it
 * too. */
#ifndef HATO_LUA_ISPS_H
#define HATO_LUA_ISPS_H

#include "delivery/conf.h"

/* For the test that no pattern is written for nothing: hosts and domains as they occur. */
struct isps_samples {
    struct slice *mx, *domains;
    size_t nmx, ndomains;
};

struct isps {
    struct conf_isp *v; /* by the names of their files; shipped is set */
    struct isps_samples *samples;
    size_t n;
};

/* All of it lives in a. An error is a mistake in a shipped file, and names it. */
int isps_load(struct arena *a, struct isps *out, struct err *e);

/* Whose mailboxes these are; both may be empty, as what is not known is. data: struct isps *. For
 * returned_reader_isps(). */
struct returned_isp;
void isps_who(void *data, struct slice host, struct slice domain, struct returned_isp *out);
/* Of the isp with this name; empty: none. */
struct slice isps_provider(const struct isps *s, struct slice name);

#endif
