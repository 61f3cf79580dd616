/* smtp_output.c - see smtp_output.h. */
#include "delivery/smtp_output.h"

enum { RING = SMTP_OUTPUT_EVENTS, CHUNK = 65536 };

struct smtp_event *smtp_output_push(struct smtp_output *o, enum smtp_event_type type,
                                    const struct smtp_mail *mail)
{
    INVARIANT(o->n < RING);
    if (o->n == 0)
        buf_clear(&o->bytes);
    struct smtp_event *ev = &o->v[(o->first + o->n++) % RING];
    *ev = (struct smtp_event){.type = type, .mail = mail, .text = ""};
    return ev;
}

void smtp_output_put(struct smtp_output *o, struct slice bytes)
{
    unsigned last = (o->first + o->n - 1) % RING;
    if (o->n == 0 || o->v[last].type != SMTP_EV_WRITE) {
        last = (unsigned)(smtp_output_push(o, SMTP_EV_WRITE, NULL) - o->v);
        o->at[last] = o->bytes.n;
    }
    buf_adds(&o->bytes, bytes);
    o->v[last].bytes.n += bytes.n;
    o->queued += bytes.n;
}

bool smtp_output_take(struct smtp_output *o, struct smtp_event *ev)
{
    if (!o->n)
        return false;
    *ev = o->v[o->first];
    if (ev->type == SMTP_EV_WRITE)
        ev->bytes.p = o->bytes.p + o->at[o->first];
    o->first = (o->first + 1) % RING;
    o->n--;
    return true;
}

/* --- the body --- */

/* Its owner promised that no line begins with a dot, but not that the last one ends. */
static void put_untouched(struct smtp_output *o, const struct smtp_mail *m)
{
    char last[2] = {'\r', '\n'};
    uint64_t bytes = 0;
    for (size_t i = 0; i < m->nbody; i++) {
        struct slice s = m->body[i];
        bytes += s.n;
        if (s.n)
            last[0] = s.n > 1 ? s.p[s.n - 2] : last[1], last[1] = s.p[s.n - 1];
    }
    if (bytes) {
        smtp_output_push(o, SMTP_EV_WRITE_BODY, m);
        o->queued += bytes;
    }
    if (last[0] != '\r' || last[1] != '\n')
        smtp_output_put(o, S("\r\n"));
    smtp_output_put(o, S(".\r\n"));
}

bool smtp_output_body(struct smtp_output *o, const struct smtp_mail *mail, int64_t now_ms)
{
    o->progress_ms = now_ms;
    if (mail->no_leading_dots) {
        put_untouched(o, mail);
        o->body_end = o->queued;
        return true;
    }
    o->stuffing = mail;
    o->dot = (struct smtp_dot){0};
    o->piece = o->offset = 0;
    return false;
}

bool smtp_output_stuff(struct smtp_output *o)
{
    const struct smtp_mail *m = o->stuffing;
    struct buf chunk = {0};
    bool whole = o->piece == m->nbody;
    if (whole) {
        smtp_dot_end(&o->dot, &chunk);
    } else {
        struct slice s = m->body[o->piece];
        s = slice_of(s.p + o->offset, s.n - o->offset);
        if (s.n > CHUNK)
            s.n = CHUNK;
        smtp_dot_add(&o->dot, s, &chunk);
        o->offset += s.n;
        if (o->offset == m->body[o->piece].n) {
            o->piece++;
            o->offset = 0;
        }
    }
    smtp_output_put(o, buf_slice(&chunk));
    buf_free(&chunk);
    if (whole) {
        o->body_end = o->queued;
        o->stuffing = NULL;
    }
    return whole;
}

bool smtp_output_written(struct smtp_output *o, uint64_t total_bytes, int64_t now_ms)
{
    INVARIANT(total_bytes <= o->queued);
    if (total_bytes <= o->written)
        return false;
    bool left = o->written < o->body_end && total_bytes >= o->body_end;
    o->written = total_bytes;
    o->progress_ms = now_ms;
    return left;
}

bool smtp_output_body_waits(const struct smtp_output *o)
{
    return o->written < o->body_end;
}

bool smtp_output_body_may_have_left(const struct smtp_output *o, bool in_tls)
{
    uint64_t pending = o->queued - o->written, doubt = in_tls ? 64 + pending / 256 : 0;
    return o->written + (doubt < pending ? doubt : pending) >= o->body_end;
}

void smtp_output_free(struct smtp_output *o)
{
    buf_free(&o->bytes);
}
