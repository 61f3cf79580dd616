/* ip.h - IP addresses and ports as people write them: 127.0.0.1, 2001:db8::1, 127.0.0.1:25, [::1]:25.
 * Text of IPv6 is RFC 5952's. A struct ip has no bytes beyond its family's, so it can be compared and hashed
 * whole once it was made by a function of this room or started as zero. */
#ifndef HATO_FORMAT_IP_H
#define HATO_FORMAT_IP_H

#include "base/mem.h"

#include <sys/socket.h>

enum { IP_TEXT = 46, IP_PORT_TEXT = 54 }; /* longest text and its NUL */

struct ip {
    uint8_t family; /* 4 or 6; 0 = none */
    uint8_t b[16];  /* network order; 4 or 16 of them count, the rest are 0 */
};
struct ip_port {
    struct ip ip;
    uint16_t port;
};

struct ip ip_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
/* ERR_SYNTAX when it is no address. No zone, no brackets, no prefix length. */
int ip_parse(struct slice text, struct ip *out);
/* "A.B.C.D:PORT" or "[V6]:PORT". Without a port: default_port, and if that is 0 ERR_MISSING. ERR_SYNTAX,
 * ERR_RANGE (a port over 65,535; port 0 may be written). */
int ip_port_parse(struct slice text, uint16_t default_port, struct ip_port *out);
/* Written into out, NUL behind; "none" for family 0. */
struct slice ip_text(const struct ip *ip, char out[IP_TEXT]);
struct slice ip_port_text(const struct ip_port *ip, char out[IP_PORT_TEXT]);

bool ip_eq(const struct ip *a, const struct ip *b);
bool ip_port_eq(const struct ip_port *a, const struct ip_port *b);
bool ip_is_loopback(const struct ip *ip); /* 127.0.0.0/8 and ::1 */
bool ip_is_any(const struct ip *ip);      /* 0.0.0.0 and :: */

/* To and from the system's form. Returns its length; family must be 4 or 6. ERR_UNSUPPORTED for another. */
socklen_t ip_port_to_sockaddr(const struct ip_port *in, struct sockaddr_storage *out);
int ip_port_from_sockaddr(const struct sockaddr *in, struct ip_port *out);

#endif
