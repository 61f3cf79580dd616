/* world_impl.h - between world.c and world_load.c alone. */
#ifndef HATO_WORLD_IMPL_H
#define HATO_WORLD_IMPL_H

#include "base/map.h"
#include "world.h"

struct world_host {
    struct world_isp *isp;
    const struct world_mx *mx;
};

struct world_lookup {
    struct map names, domains, addresses, dns; /* → struct world_isp; dns → struct world_dns_entry */
    struct map hosts;                          /* → struct world_host */
    struct world_isp *every;                   /* the one with every_domain, or NULL */
    struct arena *arena;
};

struct world *world_new(void);
void world_isp_defaults(struct world_isp *isp);
/* Lower case, without a final dot, in the world's arena. Empty when too long for a name. */
struct slice world_fold(struct world *w, struct slice name);
/* Once isps and dns are complete. ERR_EXISTS when two want the same domain, host or address. */
int world_index(struct world *w, struct err *e);

#endif
