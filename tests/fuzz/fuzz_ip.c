/* fuzz_ip.c - what is read as an address and port is written in one form, and that form is read as the same.
 */
#include "base/err.h"
#include "format/ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size), once, twice;
    struct ip_port a, b;
    char first[IP_PORT_TEXT], second[IP_PORT_TEXT];
    if (ip_port_parse(text, size % 2 ? 25 : 0, &a))
        return 0;
    once = ip_port_text(&a, first);
    INVARIANT(ip_port_parse(once, 0, &b) == 0 && ip_port_eq(&a, &b));
    twice = ip_port_text(&b, second);
    INVARIANT(slice_eq(once, twice));
    return 0;
}
