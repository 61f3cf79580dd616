/* fit.c - see fit.h. */
#include "format/mime/fit.h"
#include "format/charset.h"
#include "format/iso2022jp.h"

#include <stdio.h>

struct fitting {
    enum iso2022jp_repertoire repertoire;
    struct arena *arena;
    struct buf text;
    struct iso2022jp_loss loss;
};

/* What is no text, or no line where one is wanted, stays as it is: who writes it refuses it. */
static void fit(struct fitting *f, struct slice *text, bool line)
{
    if (!text->n || (line ? utf8_line_prefix(*text) : utf8_prefix(*text)) < text->n)
        return;
    bool switches =
        memchr(text->p, 0x1b, text->n) || memchr(text->p, 0x0e, text->n) || memchr(text->p, 0x0f, text->n);
    if (ascii_only(*text) && !switches)
        return;
    buf_clear(&f->text);
    iso2022jp_fit(*text, f->repertoire, &f->text, &f->loss);
    *text = arena_copy(f->arena, buf_slice(&f->text));
}

/* The sentence about the first character that is lost. */
static int refuse(const struct mime_message *m, struct err *e)
{
    const struct {
        const char *what;
        struct slice text;
    } rows[] = {{"the subject", m->subject},
                {"From", m->from.name},
                {"To", m->to.name},
                {"List-Id", m->list_id},
                {"the text", m->text},
                {"the HTML", m->html},
                {"Reply-To", m->reply_to.addr.local.n ? m->reply_to.name : SLICE_NONE},
                {"the preheader", m->preheader}};
    int rc = 0;
    for (size_t i = 0; !rc && i < COUNT(rows); i++)
        rc = iso2022jp_check(rows[i].text, rows[i].what, e);
    for (size_t i = 0; !rc && i < m->nextra; i++) {
        char what[96];
        snprintf(what, sizeof what, "header %.*s", SLICE_FMT(m->extra[i].name));
        rc = iso2022jp_check(m->extra[i].value, what, e);
    }
    INVARIANT(rc);
    return rc;
}

int fit_charset(const struct mime_message *m, struct arena *a, struct mime_message *fitted,
                uint32_t *unmappable, struct err *e)
{
    struct fitting f = {.repertoire =
                            m->unmappable == MIME_UNMAPPABLE_FOLD ? ISO2022JP_PLAIN : ISO2022JP_CP50221,
                        .arena = a};
    *fitted = *m;
    *unmappable = 0;
    if (m->charset == MIME_UTF8)
        return 0;
    struct mime_header *extra = arena_alloc(a, (m->nextra + 1) * sizeof *extra);
    for (size_t i = 0; i < m->nextra; i++) {
        extra[i] = m->extra[i];
        fit(&f, &extra[i].value, true);
    }
    fitted->extra = extra;
    if (m->reply_to.addr.local.n)
        fit(&f, &fitted->reply_to.name, true);
    struct slice *const lines[] = {&fitted->subject, &fitted->from.name, &fitted->to.name, &fitted->list_id};
    struct slice *const texts[] = {&fitted->text, &fitted->html, &fitted->preheader};
    for (size_t i = 0; i < COUNT(lines); i++)
        fit(&f, lines[i], true);
    for (size_t i = 0; i < COUNT(texts); i++)
        fit(&f, texts[i], false);
    buf_free(&f.text);
    *unmappable = f.loss.n;
    if (!f.loss.n)
        return 0;
    switch (m->unmappable) {
    case MIME_UNMAPPABLE_UTF8:
        *fitted = *m;
        fitted->charset = MIME_UTF8;
        break;
    case MIME_UNMAPPABLE_ERROR:
        return refuse(m, e);
    case MIME_UNMAPPABLE_FOLD:
    case MIME_UNMAPPABLE_GETA:
        break;
    }
    return 0;
}
