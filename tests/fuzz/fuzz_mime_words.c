/* fuzz_mime_words.c - any text that is accepted folds, reads back the same, and breaks none of the promises
 * that mime.h makes about lines; any bytes can be decoded. */
#include "base/err.h"
#include "format/charset.h"
#include "format/mime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lines(struct slice s, bool body)
{
    INVARIANT(ascii_only(s) && !memchr(s.p, 0, s.n) && slice_ends(s, S("\r\n")));
    for (struct slice rest = s; rest.n;) {
        struct slice line = slice_cut(rest, '\n', &rest);
        INVARIANT(line.n && line.n - 1 <= 998 && memchr(line.p, '\r', line.n) == line.p + line.n - 1);
        INVARIANT(line.p[0] != '.');
        INVARIANT(body || (line.n > 1 && slice_trim(line).n));
    }
}

static struct slice trim_spaces(struct slice s)
{
    while (s.n && s.p[0] == ' ')
        s = slice_of(s.p + 1, s.n - 1);
    while (s.n && s.p[s.n - 1] == ' ')
        s.n--;
    return s;
}

static void check_header(struct slice in)
{
    struct buf b = {0}, back = {0};
    if (mime_put_header(&b, S("Subject"), in, NULL) == 0) {
        check_lines(buf_slice(&b), false);
        mime_word_decode(&back, slice_of(b.p + 8, b.n - 8));
        INVARIANT(slice_eq(trim_spaces(buf_slice(&back)), trim_spaces(in)));
    } else {
        INVARIANT(b.n == 0 && utf8_line_prefix(in) < in.n);
    }
    buf_free(&b);
    buf_free(&back);
}

/* The whole input as everything that a message can hold. */
static void check_message(struct slice in)
{
    static const char addr[] = "a..b@example.jp";
    struct arena a = {0};
    struct mime_out o = {0};
    struct mime_header extra = {S("X-Extra"), in};
    struct mime_part parts[] = {{MIME_ATTACHMENT, S("text/csv; charset=utf-8"), in, S(""), in, false},
                                {MIME_INLINE, S("image/png"), in, S("x@y"), in, false}};
    struct mime_message m = {.subject = in,
                             .message_id = S("a@b"),
                             .text = in,
                             .html = in,
                             .preheader = in,
                             .extra = &extra,
                             .nextra = 1,
                             .parts = parts,
                             .nparts = 2,
                             .boundary_seed = in.n};
    INVARIANT(addr_parse_mailbox(slice_cstr(addr), &a, &m.from, NULL) == 0);
    m.to = m.from;
    m.to.name = in.n <= ADDR_NAME_MAX ? in : SLICE_NONE;
    for (int pass = 0; pass < 4; pass++) {
        m.charset = pass % 2 ? MIME_ISO2022JP : MIME_UTF8;
        m.unmappable = (enum mime_unmappable)(in.n % 4);
        m.flowed = pass % 2 && in.n % 3 == 0;
        if (mime_build(&m, &o, NULL) == 0) {
            struct buf body = {0};
            check_lines(buf_slice(&o.head), false);
            for (size_t i = 0; i < o.nbody; i++)
                buf_adds(&body, o.body[i]);
            INVARIANT(body.n == o.body_bytes);
            check_lines(buf_slice(&body), true);
            /* Three multiparts of two parts each: a line before each part and one at the end. */
            size_t boundaries = 0;
            for (struct slice rest = buf_slice(&body); rest.n;)
                boundaries += slice_starts(slice_cut(rest, '\n', &rest), S("--=_"));
            INVARIANT(boundaries == 9);
            buf_free(&body);
        }
        /* Most inputs are no header text: those go through the bodies alone. */
        if (pass == 1)
            m.subject = extra.value = m.to.name = parts[0].filename = parts[1].filename = SLICE_NONE;
    }
    mime_out_free(&o);
    arena_free(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data, size);
    struct buf b = {0};
    mime_word_decode(&b, in);
    INVARIANT(b.n <= 3 * size); /* half-width kana is one byte in ISO-2022-JP */
    check_header(in);
    check_message(in);
    buf_free(&b);
    return 0;
}
