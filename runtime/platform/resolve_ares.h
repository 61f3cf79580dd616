/* resolve_ares.h - one question to one server once, by c-ares. For resolve alone: which server is next and
 * what a failure means is decided there. */
#ifndef HATO_PLATFORM_RESOLVE_ARES_H
#define HATO_PLATFORM_RESOLVE_ARES_H

#include "base/err.h"
#include "platform/loop.h"

enum { RESOLVE_ARES_MAX_SERVERS = 16 };

struct resolve_ares;

/* servers: as in struct resolve_conf. NULL on error. */
struct resolve_ares *resolve_ares_new(struct loop *l, const char *servers, int64_t timeout_ms, struct err *e);
size_t resolve_ares_servers(const struct resolve_ares *a);

/* rc: 0 and the answer's bytes, borrowed for the call; ERR_TIMEOUT; ERR_REFUSED: unreachable; ERR_SYNTAX. */
typedef void resolve_ares_fn(void *arg, int rc, struct slice answer);
/* query: a whole DNS message. UDP, and TCP when the answer was truncated. fn runs exactly once, perhaps
 * inside this call, unless resolve_ares_free() comes first. */
void resolve_ares_ask(struct resolve_ares *a, size_t server, struct slice query, resolve_ares_fn *fn,
                      void *arg);

void resolve_ares_free(struct resolve_ares *a);

#endif
