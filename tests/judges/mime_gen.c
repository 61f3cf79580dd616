/* mime_gen.c - builds the mail that each record on stdin describes; writes a record {mail} or {error} for
 * each. */
#include "fields.h"
#include "format/mime.h"

#include <stdlib.h>

static int fill(const struct record_in *r, struct arena *a, struct mime_message *m, struct mime_part parts[2],
                struct mime_header extra[1], struct buf *encoded, struct err *e)
{
    int rc = addr_parse(record_get(r, "from"), a, &m->from.addr, e);
    if (!rc)
        rc = addr_parse(record_get(r, "to"), a, &m->to.addr, e);
    if (rc)
        return rc;
    m->from.name = record_get(r, "from_name");
    m->to.name = record_get(r, "to_name");
    m->subject = record_get(r, "subject");
    m->text = record_get(r, "text");
    m->html = record_get(r, "html");
    m->preheader = record_get(r, "preheader");
    m->list_id = record_get(r, "list_id");
    m->message_id = record_get(r, "message_id");
    m->date_unix_s = atoll(record_get(r, "date").p);
    m->utc_offset_min = atoi(record_get(r, "offset").p);
    m->boundary_seed = strtoull(record_get(r, "seed").p, NULL, 10);
    m->charset = slice_eq(record_get(r, "charset"), S("iso-2022-jp")) ? MIME_ISO2022JP : MIME_UTF8;
    m->flowed = record_get(r, "flowed").n > 0;
    m->extra = extra;
    m->nextra = 1;
    extra[0] = (struct mime_header){S("X-Extra"), record_get(r, "extra")};
    m->parts = parts;
    if (record_get(r, "file").n) {
        mime_encode_attachment(encoded, record_get(r, "file"));
        parts[m->nparts++] = (struct mime_part){.kind = MIME_ATTACHMENT,
                                                .content_type = S("application/pdf"),
                                                .filename = record_get(r, "filename"),
                                                .data = buf_slice(encoded),
                                                .encoded = true};
    }
    if (record_get(r, "inline").n)
        parts[m->nparts++] = (struct mime_part){.kind = MIME_INLINE,
                                                .content_type = S("image/png"),
                                                .filename = record_get(r, "inline_name"),
                                                .content_id = record_get(r, "content_id"),
                                                .data = record_get(r, "inline")};
    return 0;
}

int main(void)
{
    static struct record_in r;
    struct mime_out out = {0};
    struct arena a = {0};
    struct buf encoded = {0}, mail = {0};
    while (record_read(stdin, &r)) {
        struct mime_message m = {0};
        struct mime_part parts[2];
        struct mime_header extra[1];
        struct err e = {0};
        arena_reset(&a);
        buf_clear(&encoded);
        buf_clear(&mail);
        int rc = fill(&r, &a, &m, parts, extra, &encoded, &e);
        if (!rc)
            rc = mime_build(&m, &out, &e);
        if (rc) {
            field_write(stdout, "error", slice_cstr(e.text));
        } else {
            buf_adds(&mail, buf_slice(&out.head));
            buf_adds(&mail, S("\r\n"));
            for (size_t i = 0; i < out.nbody; i++)
                buf_adds(&mail, out.body[i]);
            field_write(stdout, "mail", buf_slice(&mail));
        }
        record_end(stdout);
    }
    mime_out_free(&out);
    arena_free(&a);
    arena_free(&r.arena);
    buf_free(&encoded);
    buf_free(&mail);
    return 0;
}
