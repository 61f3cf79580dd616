/* spf_probe.c - evaluates SPF over a made-up DNS, for pyspf to judge. A record on stdin: fields ip, sender,
 * helo and zone; the zone's lines are "TYPE NAME VALUE", where the VALUE of TYPE FAIL is the type that gets
 * no answer. On stdout: result, lookups, why. */
#include "fields.h"
#include "format/spf.h"

#include <stdlib.h>

struct zone {
    struct slice lines;
    struct arena *a;
};

static enum spf_dns lookup(void *data, enum dns_type type, struct slice name, struct spf_answer *out)
{
    const struct zone *z = data;
    char spare[12];
    struct slice wanted = slice_cstr(dns_type_name((uint16_t)type, spare)), rest = z->lines;
    struct slice *v = arena_zalloc(z->a, 200 * sizeof *v);
    struct ip *ips = arena_zalloc(z->a, 200 * sizeof *ips);
    size_t n = 0;
    while (rest.n && n < 200) {
        struct slice line = slice_cut(rest, '\n', &rest), value;
        struct slice kind = slice_cut(line, ' ', &value), owner = slice_cut(value, ' ', &value);
        if (!slice_ieq(owner, name))
            continue;
        if (slice_eq(kind, S("FAIL")) && slice_eq(value, wanted))
            return SPF_DNS_FAILED;
        if (!slice_eq(kind, wanted))
            continue;
        if (type == DNS_A || type == DNS_AAAA)
            ip_parse(value, &ips[n]);
        v[n++] = value;
    }
    *out = (struct spf_answer){.v = v, .ips = ips, .n = n};
    return n ? SPF_DNS_OK : SPF_DNS_VOID;
}

int main(void)
{
    static struct record_in r;
    int code = 0;
    while (!code && record_read(stdin, &r)) {
        struct arena a = {0};
        struct zone zone = {record_get(&r, "zone"), &a};
        struct spf_in in = {.sender = record_get(&r, "sender"),
                            .helo = record_get(&r, "helo"),
                            .lookup = lookup,
                            .data = &zone};
        struct spf_out out;
        char number[16];
        slice_cut(in.sender, '@', &in.domain);
        if (ip_parse(record_get(&r, "ip"), &in.ip) || spf_check(&in, &a, &out)) {
            code = 1;
        } else {
            snprintf(number, sizeof number, "%u", out.lookups);
            field_write(stdout, "result", slice_cstr(spf_result_name(out.result)));
            field_write(stdout, "lookups", slice_cstr(number));
            field_write(stdout, "why", slice_cstr(out.why));
            record_end(stdout);
        }
        arena_free(&a);
    }
    arena_free(&r.arena);
    return code;
}
