/* metrics.h - what Prometheus asks: one page of counters and gauges over HTTP, on a loopback address.
 *
 * HTTP is libmicrohttpd's, without a thread: hato's loop watches its one descriptor and runs it. */
#ifndef HATO_METRICS_H
#define HATO_METRICS_H

#include "hato.h"

struct metrics;

/* at: "127.0.0.1:9464" or "[::1]:9464". ERR_INVAL: no such address, or one that others reach; ERR_IO: it
 * cannot be listened on. hato is borrowed. */
int metrics_new(struct hato *hato, const char *at, struct metrics **out, struct err *e);
void metrics_free(struct metrics *m); /* NULL is fine */

/* The page, in Prometheus' text format 0.0.4. */
void metrics_page(struct hato *hato, int64_t started_ms, struct buf *out);

#endif
