/* smtp_data.c - dots doubled and undoubled. */
#include "format/smtp_data.h"

#include "base/err.h"

void smtp_dot_add(struct smtp_dot *d, struct slice in, struct buf *out)
{
    buf_reserve(out, in.n + in.n / 16 + 16);
    for (size_t i = 0; i < in.n; i++) {
        char b = in.p[i];
        if (d->after_cr) {
            buf_addc(out, '\n');
            d->after_cr = d->in_line = false;
            if (b == '\n')
                continue;
        }
        if (b == '\r') {
            buf_addc(out, '\r');
            d->after_cr = true;
        } else if (b == '\n') {
            buf_add(out, "\r\n", 2);
            d->in_line = false;
        } else {
            if (b == '.' && !d->in_line)
                buf_addc(out, '.');
            buf_addc(out, b);
            d->in_line = true;
        }
    }
}

void smtp_dot_end(struct smtp_dot *d, struct buf *out)
{
    if (d->after_cr)
        buf_addc(out, '\n');
    else if (d->in_line)
        buf_add(out, "\r\n", 2);
    buf_add(out, ".\r\n", 3);
    *d = (struct smtp_dot){0};
}

/* What was seen of CR LF . CR LF. The dot is left out as soon as it is seen, and the CR behind it waits. */
enum { LINE_START, IN_LINE, CR, DOT, DOT_CR };

int smtp_undot_next(struct smtp_undot *u, struct slice *in, struct slice *piece)
{
    const char *p = in->p, *end = p + in->n, *from = p;
    int rc = ERR_AGAIN;
    if (u->state == DOT && p < end) {
        from = p + (*p == '\r');
        u->state = *p == '\r' ? DOT_CR : IN_LINE;
        p = from;
    }
    if (u->state == DOT_CR && p < end) {
        if (*p == '\n') {
            u->state = LINE_START;
            *in = slice_of(p + 1, (size_t)(end - p - 1));
            return 0;
        }
        u->state = CR; /* the one that waited, part of the message after all */
        *in = slice_of(p, (size_t)(end - p));
        *piece = S("\r");
        return 1;
    }
    while (p < end) {
        if (u->state == IN_LINE) {
            p = memchr(p, '\r', (size_t)(end - p));
            if (!p) {
                p = end;
                break;
            }
            p++;
            u->state = CR;
        } else if (u->state == CR) {
            u->state = *p == '\n' ? LINE_START : *p == '\r' ? CR : IN_LINE;
            p++;
        } else if (*p == '.') { /* LINE_START */
            u->state = DOT;
            rc = 1;
            break;
        } else {
            u->state = *p == '\r' ? CR : IN_LINE;
            p++;
        }
    }
    *piece = slice_of(from, (size_t)(p - from));
    if (rc == 1)
        p++; /* the dot */
    *in = slice_of(p, (size_t)(end - p));
    if (piece->n)
        return 1;
    return rc == 1 ? smtp_undot_next(u, in, piece) : ERR_AGAIN;
}
