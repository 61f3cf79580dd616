/* gmime_judge.c - what GMime reads in each mail on stdin (records {mail}), as a record: header values, texts,
 * files, and a field `warning` for everything its parser takes offence at. */
#include "fields.h"

#include <gmime/gmime.h>

static void on_warning(gint64 offset, GMimeParserWarning code, const gchar *item, gpointer user)
{
    struct buf b = {0};
    buf_printf(&b, "%d at %lld: %s", (int)code, (long long)offset, item ? item : "");
    field_write(stdout, "warning", buf_slice(&b));
    buf_free(&b);
}

static void write_mailboxes(const char *prefix, InternetAddressList *list)
{
    char name[32];
    for (int i = 0; list && i < internet_address_list_length(list); i++) {
        InternetAddress *ia = internet_address_list_get_address(list, i);
        snprintf(name, sizeof name, "%s_name", prefix);
        field_write(stdout, name, slice_cstr(internet_address_get_name(ia)));
        if (INTERNET_ADDRESS_IS_MAILBOX(ia))
            field_write(stdout, prefix,
                        slice_cstr(internet_address_mailbox_get_addr(INTERNET_ADDRESS_MAILBOX(ia))));
    }
}

static void write_content(const char *name, GMimePart *part)
{
    GMimeStream *mem = g_mime_stream_mem_new();
    g_mime_data_wrapper_write_to_stream(g_mime_part_get_content(part), mem);
    GByteArray *bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(mem));
    field_write(stdout, name, slice_of(bytes->data, bytes->len));
    g_object_unref(mem);
}

static void write_text(const char *name, GMimePart *part)
{
    char *text = g_mime_text_part_get_text(GMIME_TEXT_PART(part)); /* in UTF-8 */
    field_write(stdout, name, slice_cstr(text));
    g_free(text);
}

static void on_part(GMimeObject *parent, GMimeObject *object, gpointer user)
{
    if (!GMIME_IS_PART(object))
        return;
    GMimePart *part = GMIME_PART(object);
    const char *disposition = g_mime_object_get_disposition(object);
    if (disposition && strcmp(disposition, "attachment") == 0) {
        write_content("file", part);
        field_write(stdout, "filename", slice_cstr(g_mime_part_get_filename(part)));
    } else if (disposition) {
        write_content("inline", part);
        field_write(stdout, "inline_name", slice_cstr(g_mime_part_get_filename(part)));
        field_write(stdout, "content_id", slice_cstr(g_mime_object_get_content_id(object)));
    } else {
        GMimeContentType *type = g_mime_object_get_content_type(object);
        write_text(g_mime_content_type_is_type(type, "text", "html") ? "html" : "text", part);
    }
}

int main(void)
{
    static struct record_in r;
    g_mime_init();
    GMimeParserOptions *options = g_mime_parser_options_new();
    g_mime_parser_options_set_warning_callback(options, on_warning, NULL);
    while (record_read(stdin, &r)) {
        struct slice mail = record_get(&r, "mail");
        GMimeStream *stream = g_mime_stream_mem_new_with_buffer(mail.p, mail.n);
        GMimeParser *parser = g_mime_parser_new_with_stream(stream);
        GMimeMessage *m = g_mime_parser_construct_message(parser, options);
        if (m) {
            GMimeHeaderList *headers = g_mime_object_get_header_list(GMIME_OBJECT(m));
            GMimeHeader *extra = g_mime_header_list_get_header(headers, "X-Extra");
            field_write(stdout, "subject", slice_cstr(g_mime_message_get_subject(m)));
            field_write(stdout, "message_id", slice_cstr(g_mime_message_get_message_id(m)));
            field_write(stdout, "extra", slice_cstr(extra ? g_mime_header_get_value(extra) : ""));
            GDateTime *date = g_mime_message_get_date(m);
            struct buf b = {0};
            buf_printf(&b, "%lld", date ? (long long)g_date_time_to_unix(date) : -1);
            field_write(stdout, "date", buf_slice(&b));
            buf_free(&b);
            write_mailboxes("from", g_mime_message_get_from(m));
            write_mailboxes("to", g_mime_message_get_to(m));
            g_mime_message_foreach(m, on_part, NULL);
            g_object_unref(m);
        } else {
            field_write(stdout, "warning", S("no message"));
        }
        g_object_unref(parser);
        g_object_unref(stream);
        record_end(stdout);
    }
    g_mime_parser_options_free(options);
    arena_free(&r.arena);
    return 0;
}
