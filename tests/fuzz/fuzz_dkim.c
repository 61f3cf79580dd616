/* fuzz_dkim.c - canonicalisation says the same of its own output, however the input is cut; signing survives
 * any header and body. */
#include "base/err.h"
#include "format/dkim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_canon(void *arg, const char *p, size_t n)
{
    buf_add(arg, p, n);
}

static void canon_body(struct slice body, size_t piece, struct buf *out)
{
    struct dkim_body b;

    dkim_body_start(&b, on_canon, out);
    for (size_t at = 0; at < body.n; at += piece)
        dkim_body_add(&b, slice_of(body.p + at, body.n - at < piece ? body.n - at : piece));
    dkim_body_end(&b);
}

static void check_body(struct slice body, size_t piece)
{
    struct buf whole = {0}, bytes = {0}, pieces = {0}, again = {0};

    canon_body(body, body.n + 1, &whole);
    canon_body(body, 1, &bytes);
    canon_body(body, piece, &pieces);
    canon_body(buf_slice(&whole), whole.n + 1, &again);
    INVARIANT(slice_eq(buf_slice(&whole), buf_slice(&bytes)));
    INVARIANT(slice_eq(buf_slice(&whole), buf_slice(&pieces)));
    INVARIANT(slice_eq(buf_slice(&whole), buf_slice(&again)));
    buf_free(&whole);
    buf_free(&bytes);
    buf_free(&pieces);
    buf_free(&again);
}

static void check_fields(struct slice header)
{
    struct slice field, name;

    while (header.n && dkim_cut_field(&header, &field, &name) == 0) {
        struct buf once = {0}, twice = {0};
        INVARIANT(name.n > 0 && name.n < field.n);
        INVARIANT(dkim_canon_field(field, &once) == 0);
        INVARIANT(dkim_canon_field(buf_slice(&once), &twice) == 0);
        INVARIANT(slice_eq(buf_slice(&once), buf_slice(&twice)));
        buf_free(&once);
        buf_free(&twice);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dkim_key *key;
    static struct dkim_work *work;
    struct slice input = slice_of(data, size);
    struct slice body = input, header = SLICE_NONE;
    ptrdiff_t end = slice_find(input, S("\r\n\r\n"));
    struct buf out = {0};

    if (!key) {
        INVARIANT(dkim_key_load(S("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="), &key, NULL) == 0);
        work = dkim_work_new();
    }
    if (end >= 0) {
        header = slice_of(input.p, (size_t)end + 2);
        body = slice_of(input.p + end + 4, input.n - (size_t)end - 4);
    }
    check_body(body, size % 37 + 2);
    check_fields(header);
    if (header.n) {
        struct dkim_identity id = {.key = key, .domain = S("example.jp"), .selector = S("s1")};
        if (dkim_sign(work, &id, 1, header, &body, 1, 1, &out) == 0) {
            struct slice rest = buf_slice(&out), field, name;
            INVARIANT(dkim_cut_field(&rest, &field, &name) == 0 && rest.n == 0);
        } else {
            INVARIANT(out.n == 0);
        }
    }
    buf_free(&out);
    return 0;
}
