/* json.c - see json.h. */
#include "base/json.h"

/* Length of the UTF-8 character (RFC 3629) at p, 0 when there is none. */
static size_t utf8_length(const unsigned char *p, size_t n)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (!len || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* Overlong forms, surrogates, beyond U+10FFFF. */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

void json_quote(struct buf *out, struct slice text)
{
    const unsigned char *p = (const unsigned char *)text.p, *end = p + text.n;
    buf_addc(out, '"');
    while (p < end) {
        const unsigned char *plain = p;
        while (p < end && *p >= 0x20 && *p < 0x7f && *p != '"' && *p != '\\')
            p++;
        if (p > plain)
            buf_add(out, plain, (size_t)(p - plain));
        if (p == end)
            break;
        size_t len = utf8_length(p, (size_t)(end - p));
        if (!len)
            buf_adds(out, S("\xef\xbf\xbd"));
        else if (*p == '"' || *p == '\\')
            buf_printf(out, "\\%c", *p);
        else if (*p == '\n')
            buf_adds(out, S("\\n"));
        else if (*p < 0x20 || *p == 0x7f)
            buf_printf(out, "\\u%04x", *p);
        else
            buf_add(out, p, len);
        p += len ? len : 1;
    }
    buf_addc(out, '"');
}
