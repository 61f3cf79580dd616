/* dns_serve.c - serves the DNS of a world on 127.0.0.1 for foreign clients to judge:
 *   dns_serve WORLD.lua [NAME TEXT ...]     prints its port, runs until SIGTERM */
#include "dns_server.h"
#include "format/ip.h"

#include <signal.h>
#include <stdio.h>

static void on_term(int signum, void *data)
{
    loop_stop(data);
}

int main(int argc, char **argv)
{
    struct world *world = NULL;
    struct err e = {0};
    struct ip_port listen = {.ip = ip_v4(127, 0, 0, 1)};
    if (argc < 2 || world_load(&world, argv[1], &e)) {
        fprintf(stderr, "dns_serve: %s\n", argc < 2 ? "usage: dns_serve WORLD.lua [NAME TEXT ...]" : e.text);
        return 2;
    }
    struct loop *loop = loop_new_real();
    struct loop_signal *term = loop_signal_new(loop, SIGTERM, on_term, loop);
    struct dns_server *server = dns_server_new(loop, listen, world, listen.ip, &e);
    int rc = server ? 0 : e.code;
    for (int i = 2; !rc && i + 1 < argc; i += 2)
        rc = dns_zone_add_text(dns_server_zone(server), slice_cstr(argv[i]), slice_cstr(argv[i + 1]));
    if (!rc) {
        printf("%d\n", dns_server_at(server).port);
        fflush(stdout);
        loop_run(loop);
    }
    dns_server_free(server);
    loop_signal_free(term);
    loop_free(loop);
    world_free(world);
    return rc ? 2 : 0;
}
