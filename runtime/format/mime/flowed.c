/* flowed.c - see flowed.h. */
#include "format/mime/flowed.h"
#include "base/err.h"
#include "format/charset.h"
#include "format/text.h"

enum { WIDTH = 72, JOINER = 0x200d };

static bool needs_stuffing(struct slice line)
{
    return line.n &&
           (strchr(" >.", line.p[0]) || slice_starts(line, S("From ")) || slice_starts(line, S("--=_")));
}

/* Where line should be cut: bytes up to the last place at most WIDTH columns in, or the first one beyond; all
 * of it if it fits, or has none. */
static size_t cut_at(struct slice line)
{
    size_t columns = 0, best = 0;
    uint32_t before = 0;
    bool wide_before = false;
    for (size_t at = 0; at < line.n;) {
        uint32_t cp = 0;
        int len = utf8_decode(slice_of(line.p + at, line.n - at), &cp);
        INVARIANT(len > 0);
        size_t width = text_width(slice_of(line.p + at, (size_t)len));
        bool may = at && width && before != JOINER && (before == ' ' || width == 2 || wide_before);
        /* Some readers (libmime is one) take stuffing away behind a hard end only. */
        may = may && !needs_stuffing(slice_of(line.p + at, line.n - at));
        if (may && !(at == 2 && slice_starts(line, S("--")))) { /* "--" and a blank would be a signature's */
            if (columns > WIDTH)
                return best ? best : at;
            best = at;
        }
        columns += width;
        at += (size_t)len;
        before = cp;
        wide_before = width ? width == 2 : wide_before;
        if (columns > WIDTH && best)
            return best;
    }
    return line.n;
}

void flowed_text(struct buf *out, struct slice text)
{
    while (text.n) {
        struct slice line = slice_cut(text, '\n', &text);
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        if (slice_eq(line, S("-- "))) {
            buf_adds(out, S("-- \r\n"));
            continue;
        }
        while (line.n && line.p[line.n - 1] == ' ')
            line.n--;
        do {
            struct slice piece = slice_of(line.p, cut_at(line));
            line = slice_of(line.p + piece.n, line.n - piece.n);
            if (needs_stuffing(piece))
                buf_addc(out, ' ');
            buf_adds(out, piece);
            buf_adds(out, line.n ? S(" \r\n") : S("\r\n"));
        } while (line.n);
    }
}
