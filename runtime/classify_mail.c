/* classify_mail.c - see classify_mail.h. */
#include "classify_mail.h"
#include "base/json.h"
#include "cmd.h"
#include "format/rule_file.h"
#include "format/text.h"
#include "lua/isps.h"

#include <stdio.h>

static struct slice phase_text(const struct returned_recipient *to)
{
    return to->phase == RETURNED_PHASE_UNKNOWN ? SLICE_NONE
                                               : slice_cstr(smtp_phase_name((enum smtp_phase)to->phase));
}

/* "name":"value"; an empty value is null. A comma in front of name goes in front. */
static void member(struct buf *out, const char *name, struct slice value)
{
    if (*name == ',')
        buf_addc(out, *name++);
    buf_printf(out, "\"%s\":", name);
    if (value.n)
        json_quote(out, value);
    else
        buf_adds(out, S("null"));
}

void classify_mail_json(const char *file, const struct returned *r, struct buf *out)
{
    buf_printf(out, "{\"file\":");
    json_quote(out, slice_cstr(file));
    buf_printf(out, ",\"format\":\"%s\",\"recipients\":[", returned_format_name(r->format));
    for (size_t i = 0; i < r->nrecipients; i++) {
        const struct returned_recipient *to = &r->recipients[i];
        buf_printf(out, "%s{", i ? "," : "");
        member(out, "recipient", to->address);
        member(out, ",action", slice_cstr(returned_action_name(to->action)));
        member(out, ",status", to->status);
        if (to->code)
            buf_printf(out, ",\"code\":%d", to->code);
        else
            buf_adds(out, S(",\"code\":null"));
        member(out, ",phase", phase_text(to));
        member(out, ",class", slice_cstr(class_name(to->cls)));
        member(out, ",kind", slice_cstr(class_kind_name(to->kind)));
        member(out, ",rule", slice_cstr(to->rule));
        member(out, ",text", to->text);
        buf_addc(out, '}');
    }
    buf_printf(out, "]}");
}

void classify_mail_text(const char *file, const struct returned *r, struct buf *out)
{
    text_safe(out, slice_cstr(file));
    buf_printf(out, ": %s\n",
               r->format == RETURNED_NONE ? "nothing that came back" : returned_format_name(r->format));
    for (size_t i = 0; i < r->nrecipients; i++) {
        const struct returned_recipient *to = &r->recipients[i];
        buf_printf(out, "  ");
        if (to->address.n)
            text_safe(out, to->address);
        else
            buf_printf(out, "(nobody named)");
        if (to->action != ACTION_NONE)
            buf_printf(out, "  %s", returned_action_name(to->action));
        if (to->code)
            buf_printf(out, " %d", to->code);
        if (to->status.n)
            buf_printf(out, " %.*s", SLICE_FMT(to->status));
        buf_printf(out, "  %s", class_name(to->cls));
        if (to->kind != KIND_NONE)
            buf_printf(out, " (%s)", class_kind_name(to->kind));
        buf_printf(out, "  by %s\n", to->rule);
        if (to->text.n) {
            buf_printf(out, "    ");
            text_safe(out, to->text);
            buf_addc(out, '\n');
        }
    }
}

int classify_mails(struct fs *fs, const char *const *files, size_t n, bool json)
{
    struct rules *rules = NULL;
    struct returned_reader *reader = NULL;
    struct returned r = {0};
    struct buf bytes = {0}, out = {0};
    struct err e = {0};
    struct arena names = {0};
    struct isps isps;
    bool failed = false;

    if (isps_load(&names, &isps, &e) || rules_compile_shipped(NULL, 0, &rules, &e) ||
        returned_reader_new(rules, &reader, &e)) {
        fprintf(stderr, "hato classify: %s\n", e.text);
        failed = true;
        goto out;
    }
    returned_reader_isps(reader, isps_who, &isps);
    for (size_t i = 0; i < n; i++) {
        buf_clear(&bytes);
        buf_clear(&out);
        if (fs_read_whole(fs, files[i], RETURNED_BYTES_MAX, &bytes, &e) ||
            returned_read(reader, buf_slice(&bytes), &r, &e)) {
            fprintf(stderr, "hato classify: %s\n", e.text);
            failed = true;
            continue;
        }
        if (json) {
            classify_mail_json(files[i], &r, &out);
            buf_addc(&out, '\n');
        } else {
            classify_mail_text(files[i], &r, &out);
        }
        if (fwrite(out.p, 1, out.n, stdout) != out.n) {
            fprintf(stderr, "hato classify: the output cannot be written\n");
            failed = true;
            break;
        }
    }
out:
    returned_free(&r);
    returned_reader_free(reader);
    rules_free(rules);
    arena_free(&names);
    buf_free(&bytes);
    buf_free(&out);
    return failed ? EXIT_FAILED : EXIT_DONE;
}
