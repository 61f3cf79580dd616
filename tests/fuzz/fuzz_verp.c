/* fuzz_verp.c - what parses is what we would write, and what we write parses. */
#include "base/err.h"
#include "format/verp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct verp_key key = {3, "fuzz"};
    struct slice domain, local = slice_cut(slice_of(data, size), '@', &domain);
    struct buf made = {0};
    uint64_t id, back;

    if (verp_parse(&key, local, domain, &id) == 0) {
        verp_make(&key, id, domain, &made);
        INVARIANT(slice_ieq(buf_slice(&made), slice_of(data, size)));
    }
    if (size >= sizeof id) {
        struct slice rest;
        memcpy(&id, data, sizeof id);
        domain = slice_of(data + sizeof id, size - sizeof id > 255 ? 255 : size - sizeof id);
        buf_clear(&made);
        verp_make(&key, id, domain, &made);
        local = slice_cut(buf_slice(&made), '@', &rest);
        INVARIANT(local.n <= 64);
        INVARIANT(verp_parse(&key, local, domain, &back) == 0 && back == id);
    }
    buf_free(&made);
    return 0;
}
