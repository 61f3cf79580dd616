/* fuzz_dns_server.c - any query to the sink's DNS: what it answers fits, is an answer, and can be read. */
#include "base/err.h"
#include "dns_server.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct buf out = {0};
    struct ip at = ip_v4(127, 0, 0, 1);
    struct dns_zone *z = dns_zone_new(NULL, at);
    INVARIANT(dns_zone_add_text(z, S("a.test"), S("text")) == 0);
    for (int tcp = 0; tcp < 2; tcp++) {
        struct dns_message m;
        buf_clear(&out);
        if (!dns_zone_reply(z, slice_of(data, size), tcp, &out))
            continue;
        INVARIANT(out.n <= (tcp ? 65535 : DNS_EDNS_MAX));
        INVARIANT(dns_parse(buf_slice(&out), &a, &m) == 0 && m.response);
        INVARIANT(memcmp(out.p, data, 2) == 0);
    }
    buf_free(&out);
    arena_free(&a);
    dns_zone_free(z);
    return 0;
}
