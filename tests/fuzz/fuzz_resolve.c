/* fuzz_resolve.c - whatever servers say, a request ends, once, with a set that keeps its promises. Messages
 * follow each other in the input, two bytes of length before each; the last one is said for ever. */
#include "platform/resolve.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct said {
    const uint8_t *p;
    size_t n;
    int asked, told;
};

static bool answer(void *ctx, struct dns_message *m, struct arena *a)
{
    struct said *s = ctx;
    struct dns_message got;
    size_t len = 0;
    s->asked++;
    if (s->n < 2)
        return false;
    len = (size_t)s->p[0] << 8 | s->p[1];
    if (len > s->n - 2)
        len = s->n - 2;
    if (dns_parse(slice_of(s->p + 2, len), a, &got))
        got = (struct dns_message){.rcode = DNS_SERVFAIL};
    if (len < s->n - 2) {
        s->p += len + 2;
        s->n -= len + 2;
    }
    m->rcode = got.rcode;
    m->v = got.v;
    m->n = got.n;
    return true;
}

static void on_mx(struct resolve_req *q, const struct mx_set *s)
{
    struct said *said = q->data;
    said->told++;
    INVARIANT(s->n <= RESOLVE_MAX_HOSTS);
    INVARIANT((s->n > 0) == (s->status == RESOLVE_OK && s->kind != MX_NULL));
    for (size_t i = 0; i < s->n; i++) {
        INVARIANT(dns_name_is_host(s->hosts[i].name) || s->kind == MX_IMPLICIT);
        INVARIANT(!i || s->hosts[i].pref > s->hosts[i - 1].pref ||
                  (s->hosts[i].pref == s->hosts[i - 1].pref &&
                   slice_cmp(s->hosts[i].name, s->hosts[i - 1].name) > 0));
    }
}

static void on_addr(struct resolve_req *q, const struct addr_set *s)
{
    struct said *said = q->data;
    said->told++;
    INVARIANT((s->n > 0) == (s->status == RESOLVE_OK) && s->n <= RESOLVE_MAX_ADDRS);
    for (size_t i = 0; i < s->n; i++)
        INVARIANT(s->v[i].family == 4 || s->v[i].family == 6);
}

static void on_text(struct resolve_req *q, const struct text_set *s)
{
    struct said *said = q->data;
    said->told++;
    INVARIANT((s->n > 0) == (s->status == RESOLVE_OK));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct said s = {.p = data, .n = size};
    struct loop *l = loop_new_virtual(1, 0);
    struct resolve *r = resolve_new_static(l, answer, &s, 1, 4);
    struct resolve_req q[4] = {{.data = &s}, {.data = &s}, {.data = &s}, {.data = &s}};
    resolve_mx(r, S("a.test"), &q[0], on_mx);
    resolve_addr(r, S("a.test"), RESOLVE_IP4 | RESOLVE_IP6, &q[1], on_addr);
    resolve_txt(r, S("a.test"), &q[2], on_text);
    resolve_ptr(r, (struct ip){.family = 4}, &q[3], on_text);
    loop_run(l);
    INVARIANT(s.told == 4 && s.asked <= 7 * (RESOLVE_MAX_CHAIN + 2));
    resolve_free(r);
    loop_free(l);
    return 0;
}
