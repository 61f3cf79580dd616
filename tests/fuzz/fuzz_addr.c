/* fuzz_addr.c - whatever is accepted as an address can go into a command line, and parses again to the same.
 */
#include "format/addr.h"
#include "format/charset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_written(const struct addr *a, struct arena *arena)
{
    struct buf b = {0}, key = {0}, key2 = {0};
    struct addr back;
    addr_smtp(&b, a, ADDR_QUOTED);
    struct slice s = buf_slice(&b);
    INVARIANT(utf8_line_prefix(s) == s.n);
    INVARIANT(a->local.n > 0 && a->local.n <= ADDR_LOCAL_MAX && a->domain_ascii.n <= ADDR_DOMAIN_MAX);
    INVARIANT(ascii_only(a->domain_ascii) && (a->needs_smtputf8 || ascii_only(s)));
    INVARIANT(addr_parse(s, arena, &back, NULL) == 0);
    addr_dup_key(&key, a);
    addr_dup_key(&key2, &back);
    INVARIANT(slice_eq(buf_slice(&key), buf_slice(&key2)) && slice_eq(a->local, back.local));
    buf_clear(&b);
    addr_smtp(&b, a, ADDR_RAW);
    INVARIANT(addr_parse(buf_slice(&b), arena, &back, NULL) == 0 && slice_eq(a->local, back.local));
    buf_free(&b);
    buf_free(&key);
    buf_free(&key2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct slice in = slice_of(data, size);
    struct mailbox m;
    struct addr a;
    struct err e = {0};
    if (addr_parse(in, &arena, &a, &e) == 0)
        check_written(&a, &arena);
    else
        INVARIANT(e.text[0] && utf8_line_prefix(slice_cstr(e.text)) == strlen(e.text));
    if (addr_parse_mailbox(in, &arena, &m, &e) == 0) {
        INVARIANT(utf8_line_prefix(m.name) == m.name.n && m.name.n <= ADDR_NAME_MAX);
        check_written(&m.addr, &arena);
    }
    arena_free(&arena);
    return 0;
}
