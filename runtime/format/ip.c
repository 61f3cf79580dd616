/* ip.c - see ip.h. */
#include "format/ip.h"
#include "base/err.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>

struct ip ip_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
    return (struct ip){4, {a, b, c, d}};
}

int ip_parse(struct slice text, struct ip *out)
{
    char z[IP_TEXT];
    struct ip ip = {0};
    if (!text.n || text.n >= sizeof z || memchr(text.p, 0, text.n))
        return ERR_SYNTAX;
    memcpy(z, text.p, text.n);
    z[text.n] = 0;
    ip.family = memchr(z, ':', text.n) ? 6 : 4;
    if (inet_pton(ip.family == 6 ? AF_INET6 : AF_INET, z, ip.b) != 1)
        return ERR_SYNTAX;
    *out = ip;
    return 0;
}

static int read_port(struct slice text, uint16_t *out)
{
    uint64_t n;
    int r = text.n > 5 ? ERR_SYNTAX : slice_u64(text, &n);
    if (r)
        return r;
    if (n > UINT16_MAX)
        return ERR_RANGE;
    *out = (uint16_t)n;
    return 0;
}

int ip_port_parse(struct slice text, uint16_t default_port, struct ip_port *out)
{
    struct slice host, port;
    bool has_port;
    if (text.n && text.p[0] == '[') {
        struct slice tail;
        host = slice_cut(slice_of(text.p + 1, text.n - 1), ']', &tail);
        if (host.n + 1 == text.n || !memchr(host.p, ':', host.n) || (tail.n && tail.p[0] != ':'))
            return ERR_SYNTAX;
        has_port = tail.n > 0;
        port = has_port ? slice_of(tail.p + 1, tail.n - 1) : SLICE_NONE;
    } else {
        host = slice_cut(text, ':', &port);
        has_port = host.n < text.n;
        if (has_port && memchr(port.p, ':', port.n)) { /* an IPv6 address without brackets has no port */
            host = text;
            has_port = false;
        }
    }
    struct ip_port got = {.port = default_port};
    int r = ip_parse(host, &got.ip);
    if (!r && has_port)
        r = read_port(port, &got.port);
    else if (!r && !default_port)
        r = ERR_MISSING;
    if (!r)
        *out = got;
    return r;
}

struct slice ip_text(const struct ip *ip, char out[IP_TEXT])
{
    if (ip->family == 0)
        memcpy(out, "none", 5);
    else
        inet_ntop(ip->family == 6 ? AF_INET6 : AF_INET, ip->b, out, IP_TEXT);
    return slice_cstr(out);
}

struct slice ip_port_text(const struct ip_port *ip, char out[IP_PORT_TEXT])
{
    char z[IP_TEXT];
    ip_text(&ip->ip, z);
    snprintf(out, IP_PORT_TEXT, ip->ip.family == 6 ? "[%s]:%u" : "%s:%u", z, (unsigned)ip->port);
    return slice_cstr(out);
}

bool ip_eq(const struct ip *a, const struct ip *b)
{
    return a->family == b->family && memcmp(a->b, b->b, a->family == 4 ? 4 : 16) == 0;
}

bool ip_port_eq(const struct ip_port *a, const struct ip_port *b)
{
    return a->port == b->port && ip_eq(&a->ip, &b->ip);
}

static bool all_zero(const uint8_t *p, size_t n)
{
    while (n && !p[n - 1])
        n--;
    return n == 0;
}

bool ip_is_loopback(const struct ip *ip)
{
    return (ip->family == 4 && ip->b[0] == 127) || (ip->family == 6 && all_zero(ip->b, 15) && ip->b[15] == 1);
}

bool ip_is_any(const struct ip *ip)
{
    return (ip->family == 4 && all_zero(ip->b, 4)) || (ip->family == 6 && all_zero(ip->b, 16));
}

socklen_t ip_port_to_sockaddr(const struct ip_port *in, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (in->ip.family == 6) {
        struct sockaddr_in6 *s = (struct sockaddr_in6 *)out;
        s->sin6_family = AF_INET6;
        s->sin6_port = htons(in->port);
        memcpy(&s->sin6_addr, in->ip.b, 16);
        return sizeof *s;
    }
    INVARIANT(in->ip.family == 4);
    struct sockaddr_in *s = (struct sockaddr_in *)out;
    s->sin_family = AF_INET;
    s->sin_port = htons(in->port);
    memcpy(&s->sin_addr, in->ip.b, 4);
    return sizeof *s;
}

int ip_port_from_sockaddr(const struct sockaddr *in, struct ip_port *out)
{
    struct ip_port got = {0};
    if (in->sa_family == AF_INET) {
        const struct sockaddr_in *s = (const struct sockaddr_in *)in;
        got.ip.family = 4;
        memcpy(got.ip.b, &s->sin_addr, 4);
        got.port = ntohs(s->sin_port);
    } else if (in->sa_family == AF_INET6) {
        const struct sockaddr_in6 *s = (const struct sockaddr_in6 *)in;
        got.ip.family = 6;
        memcpy(got.ip.b, &s->sin6_addr, 16);
        got.port = ntohs(s->sin6_port);
    } else {
        return ERR_UNSUPPORTED;
    }
    *out = got;
    return 0;
}
