/* fuzz_dns_wire.c - what is read as DNS is written and read again to the same; names have one spelling. */
#include "base/err.h"
#include "format/dns_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_same(const struct dns_record *x, const struct dns_record *y)
{
    INVARIANT(x->section == y->section && x->type == y->type && x->cls == y->cls && x->ttl_s == y->ttl_s);
    INVARIANT(slice_eq(x->name, y->name) && slice_eq(x->target, y->target) && slice_eq(x->text, y->text));
    INVARIANT(x->pref == y->pref && ip_eq(&x->ip, &y->ip) && slice_eq(x->rname, y->rname));
    INVARIANT(x->serial == y->serial && x->minimum_s == y->minimum_s && x->expire_s == y->expire_s);
}

static void check_message(const struct dns_message *m, struct arena *a)
{
    struct dns_message back;
    struct buf b = {0};
    INVARIANT(dns_encode(m, 65535, &b) == 0);
    INVARIANT(dns_parse(buf_slice(&b), a, &back) == 0);
    INVARIANT(back.id == m->id && back.rcode == m->rcode && back.edns == m->edns && back.opcode == m->opcode);
    INVARIANT(back.asks == m->asks && slice_eq(back.qname, m->qname) && back.qtype == m->qtype);
    if (!back.truncated || m->truncated) {
        INVARIANT(back.n == m->n);
        for (size_t i = 0; i < m->n; i++)
            check_same(&m->v[i], &back.v[i]);
    }
    buf_clear(&b);
    INVARIANT(dns_encode(m, DNS_UDP_MAX, &b) == 0 && b.n <= DNS_UDP_MAX);
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct dns_message m;
    struct slice in = slice_of(data, size), once, twice;
    if (dns_parse(in, &a, &m) == 0)
        check_message(&m, &a);
    if (dns_name_fold(in, &a, &once) == 0)
        INVARIANT(dns_name_fold(once, &a, &twice) == 0 && slice_eq(once, twice));
    arena_free(&a);
    return 0;
}
