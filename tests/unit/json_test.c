/* json_test.c - strings that any reader of JSON takes. */
#include "base/json.h"
#include "test.h"

TEST(json_strings_escape_what_must_be_and_replace_what_is_no_text)
{
    static const struct {
        struct slice in, want;
    } rows[] = {
        {{"", 0}, {"\"\"", 2}},
        {S("a\"b\\c\n\t\x7f"), S("\"a\\\"b\\\\c\\n\\u0009\\u007f\"")},
        {S("\0"), S("\"\\u0000\"")},
        {S("夏祭り𠮟"), S("\"夏祭り𠮟\"")},
        {S("x\xff\xc0\xafy"), S("\"x\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdy\"")},
        {S("\xed\xa0\x80"), S("\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"")}, /* a surrogate */
        {S("\xe5\xa4"), S("\"\xef\xbf\xbd\xef\xbf\xbd\"")},                 /* cut off */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf b = {0};
        json_quote(&b, rows[i].in);
        CHECK_STR(buf_slice(&b), rows[i].want);
        buf_free(&b);
    }
}
