/* fuzz_iso2022jp.c - any text can be made to fit, is then encoded, and reads back as what it became; any
 * bytes can be read, and what reads well is written again. */
#include "base/err.h"
#include "format/charset.h"
#include "format/iso2022jp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A piece in ISO-2022-JP switches nothing behind it, and neither does any of its lines. */
static void check_lines(struct slice s)
{
    for (struct slice rest = s; rest.n;) {
        struct slice line = slice_cut(rest, '\n', &rest);
        const char *last = line.n ? memrchr(line.p, 0x1b, line.n) : NULL;
        INVARIANT(!last || memcmp(last, "\x1b(B", 3) == 0);
    }
    INVARIANT(ascii_only(s));
}

static void check_text(struct slice in, enum iso2022jp_repertoire repertoire)
{
    struct buf fitted = {0}, again = {0}, wire = {0}, back = {0}, wire_again = {0};
    struct iso2022jp_loss loss = {0}, none = {0};
    size_t bad_at;
    iso2022jp_fit(in, repertoire, &fitted, &loss);
    INVARIANT(loss.n <= in.n && fitted.n <= 20 * in.n);
    if (utf8_valid(in)) {
        iso2022jp_fit(buf_slice(&fitted), repertoire, &again, &none);
        INVARIANT(!none.n && slice_eq(buf_slice(&again), buf_slice(&fitted)));
        INVARIANT(iso2022jp_encode(buf_slice(&fitted), &wire) == 0);
        check_lines(buf_slice(&wire));
        INVARIANT(iso2022jp_decode(buf_slice(&wire), &back, &bad_at) == 0);
        INVARIANT(iso2022jp_encode(buf_slice(&back), &wire_again) == 0);
        INVARIANT(slice_eq(buf_slice(&wire), buf_slice(&wire_again)));
        INVARIANT((iso2022jp_check(in, "it", NULL) == 0) == !loss.n || repertoire == ISO2022JP_PLAIN);
    }
    buf_free(&fitted);
    buf_free(&again);
    buf_free(&wire);
    buf_free(&back);
    buf_free(&wire_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    struct buf text = {0}, wire = {0};
    size_t bad_at = SIZE_MAX;
    check_text(in, ISO2022JP_CP50221);
    check_text(in, ISO2022JP_PLAIN);
    if (iso2022jp_decode(in, &text, &bad_at) == 0) {
        INVARIANT(utf8_valid(buf_slice(&text)));
        if (slice_find(in, S("\x1b(J")) < 0) /* ¥ and ‾ are written in JIS X 0208 */
            INVARIANT(iso2022jp_encode(buf_slice(&text), &wire) == 0);
    } else {
        INVARIANT(bad_at <= size && !text.n);
    }
    buf_free(&text);
    buf_free(&wire);
    return 0;
}
