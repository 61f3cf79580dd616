/* fuzz_spf.c - SPF over records and answers made of the input, and DMARC records. The first line is the
 * domain; each look-up is answered with the next line. Bounds hold, and waiting for an answer changes no
 * result. */
#include "format/dmarc.h"
#include "format/spf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
    struct slice lines[64];
    size_t n, asked, known;
    struct slice answer;
    struct ip ip;
};

static enum spf_dns lookup(void *arg, enum dns_type type, struct slice name, struct spf_answer *out)
{
    struct world *w = arg;
    size_t turn = w->asked++;
    if (turn >= w->known)
        return SPF_DNS_WAIT;
    if (turn >= w->n || !w->lines[turn].n)
        return SPF_DNS_VOID;
    w->answer = w->lines[turn];
    if (w->answer.p[0] == '!')
        return SPF_DNS_FAILED;
    if ((type == DNS_A || type == DNS_AAAA) && ip_parse(w->answer, &w->ip))
        w->ip = ip_v4(192, 0, 2, 1);
    *out = (struct spf_answer){.v = &w->answer, .ips = &w->ip, .n = 1};
    return SPF_DNS_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.n = 0};
    struct slice rest = slice_of(data, size), names[DMARC_WALK_MAX];
    struct dmarc_seen seen[DMARC_WALK_MAX];
    struct arena a = {0};
    struct spf_out out = {0}, again = {0};
    enum dmarc_word word;

    struct slice domain = slice_cut(rest, '\n', &rest);
    while (rest.n && w.n < COUNT(w.lines))
        w.lines[w.n++] = slice_cut(rest, '\n', &rest);
    struct spf_in in = {.ip = ip_v4(192, 0, 2, 1),
                        .domain = domain,
                        .sender = SLICE_NONE,
                        .helo = S("mx.example.test"),
                        .lookup = lookup,
                        .data = &w};
    w.known = 1000;
    INVARIANT(spf_check(&in, &a, &out) == 0);
    INVARIANT(out.lookups <= SPF_LOOKUPS_MAX + 1 && w.asked < 1000);
    size_t questions = w.asked;
    for (w.known = 0, w.asked = 0; spf_check(&in, &a, &again) == ERR_AGAIN; w.asked = 0)
        INVARIANT(++w.known <= questions);
    INVARIANT(again.result == out.result && again.lookups == out.lookups && slice_eq(again.term, out.term));

    size_t n = dmarc_walk(domain, names);
    INVARIANT(n <= DMARC_WALK_MAX);
    for (size_t i = 0; i < n; i++)
        dmarc_pick(&w.lines[i], w.n > i, &seen[i]);
    struct slice org = dmarc_org(domain, names, seen, n);
    INVARIANT(org.n <= domain.n);
    INVARIANT(dmarc_policy(domain, names, seen, n, &word) <= n);
    arena_free(&a);
    return 0;
}
