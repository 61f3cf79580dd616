/* own_dns.c - preloaded into a program that knows only /etc/resolv.conf: it asks 127.0.0.1:$OWN_DNS_PORT
 * instead. */
#include <dlfcn.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdlib.h>

static uint16_t port; /* kept from the start: Exim empties its environment */

__attribute__((constructor)) static void remember_port(void)
{
    const char *text = getenv("OWN_DNS_PORT");
    port = text ? (uint16_t)atoi(text) : 0;
}

int res_search(const char *name, int class, int type, unsigned char *answer, int size)
{
    int (*real)(const char *, int, int, unsigned char *, int) =
        (int (*)(const char *, int, int, unsigned char *, int))dlsym(RTLD_NEXT, "res_search");
    if (!real || !port || (!(_res.options & RES_INIT) && res_init()))
        return -1;
    _res.nscount = 1;
    _res.nsaddr_list[0] = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    return real(name, class, type, answer, size);
}
