/* published.h - what DNS says about a sender, one line for each thing, and what to publish where it is wrong.
 *
 *   look = published_start(&conf, on_done, me)   asks; on_done is called once, later
 *   published_stop(look)                         before, or in on_done, or after: frees it
 *
 * For each source: PTR and its way back, EHLO name. For each stream: From and bounce domain, SPF of the
 * bounce domain for each of its sources (RFC 7208), DKIM records and the keys on disk, DMARC with alignment
 * (RFC 9989), MTA-STS. Level unknown is for what DNS does not answer now: nobody is judged by it. */
#ifndef HATO_DELIVERY_PUBLISHED_H
#define HATO_DELIVERY_PUBLISHED_H

#include "delivery/conf.h"
#include "platform/resolve.h"

enum published_level { PUBLISHED_OK, PUBLISHED_NOTE, PUBLISHED_WARNING, PUBLISHED_ERROR, PUBLISHED_UNKNOWN };
const char *published_level_name(enum published_level l); /* "ok", "note", "warning", "error", "unknown" */

struct published_line {
    enum published_level level;
    const char *what; /* "ptr", "ehlo", "from", "bounce", "spf", "dkim", "dmarc", "alignment", "mta-sts" */
    uint16_t source, stream; /* whose; CONF_NONE: not about one */
    struct slice name;       /* the DNS name */
    struct slice text;       /* a sentence */
    struct slice publish;    /* as a zone file has it, or what to change; empty: nothing */
};

struct published_conf {
    struct loop *loop;
    struct resolve *resolve;
    const struct conf *conf; /* borrowed until the look ends */
    bool keys_only;          /* DKIM records alone */
};
struct published_look;
typedef void published_done_fn(void *data, const struct published_line *lines, size_t n);
struct published_look *published_start(const struct published_conf *conf, published_done_fn *done,
                                       void *data);
void published_stop(struct published_look *l); /* NULL is fine; lines are gone */

#endif
