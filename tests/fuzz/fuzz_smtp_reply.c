/* fuzz_smtp_reply.c - any bytes give the same replies whole and byte by byte, within their bounds, with clean
 * text. */
#include "base/err.h"
#include "format/smtp_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void describe(const struct smtp_reply *r, struct buf *out)
{
    struct buf clean = {0};
    struct smtp_ehlo ehlo;

    INVARIANT(r->code >= 200 && r->code <= 599);
    INVARIANT(r->text.n <= SMTP_REPLY_TEXT_MAX && r->nlines >= 1 && r->nlines <= SMTP_REPLY_LINES_MAX);
    smtp_text_clean(r->text, &clean);
    /* Cutting may leave a space at the end, nothing else. */
    INVARIANT(slice_eq(buf_slice(&clean), slice_trim(r->text)));
    for (size_t i = 0; i < r->text.n; i++)
        INVARIANT((unsigned char)r->text.p[i] >= ' ' && r->text.p[i] != 127);
    smtp_ehlo_read(r, &ehlo);
    buf_printf(out, "%d %d %d %d %u.%u.%u %zu %u ", r->code, r->code_mismatch, r->has_enhanced,
               r->enhanced_mismatch, r->enhanced.cls, r->enhanced.subject, r->enhanced.detail, r->nlines,
               ehlo.auth);
    buf_adds(out, r->text);
    buf_free(&clean);
}

/* The return code that ended it goes last. */
static void run(struct slice in, size_t piece, struct buf *out)
{
    struct smtp_reply_parser p = {0};
    const struct smtp_reply *r;
    int rc = ERR_AGAIN;

    for (size_t at = 0; at < in.n && (rc == 0 || rc == ERR_AGAIN); at += piece) {
        struct slice s = slice_of(in.p + at, in.n - at < piece ? in.n - at : piece);
        while ((rc = smtp_reply_next(&p, &s, &r)) == 0)
            describe(r, out);
    }
    buf_printf(out, "%d %d", rc, smtp_reply_begun(&p));
    smtp_reply_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = {0}, bytes = {0};

    run(slice_of(data, size), size + 1, &whole);
    run(slice_of(data, size), 1, &bytes);
    INVARIANT(slice_eq(buf_slice(&whole), buf_slice(&bytes)));
    buf_free(&whole);
    buf_free(&bytes);
    return 0;
}
