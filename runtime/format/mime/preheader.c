/* preheader.c - see preheader.h. */
#include "format/mime/preheader.h"
#include "format/charset.h"

/* Inboxes show 40 to 140 characters; text and filler together come to this many. */
enum { PREVIEW_CHARS = 140 };

/* Index behind the tag that starts at s.p[0] == '<', a '>' in a quoted attribute not counting; s.n if
 * unclosed. */
static size_t tag_end(struct slice s)
{
    char quote = 0;
    for (size_t i = 1; i < s.n; i++) {
        char c = s.p[i];
        if (quote)
            quote = c == quote ? 0 : quote;
        else if (c == '"' || c == '\'')
            quote = c;
        else if (c == '>')
            return i + 1;
    }
    return s.n;
}

/* Whether s starts with this opening of a tag and the name ends there. */
static bool is_tag(struct slice s, struct slice opening)
{
    return slice_istarts(s, opening) && s.n > opening.n && strchr(" \t\r\n>/", s.p[opening.n]) &&
           s.p[opening.n];
}

/* Comments are passed over: mail templates keep tags for old Outlooks in them (<!--[if mso]>). */
static size_t body_start(struct slice html)
{
    size_t best = 0;
    for (size_t i = 0; i < html.n;) {
        const char *hit = memchr(html.p + i, '<', html.n - i);
        if (!hit)
            break;
        i = (size_t)(hit - html.p);
        struct slice rest = slice_of(hit, html.n - i);
        if (slice_starts(rest, S("<!--"))) {
            /* From the second hyphen on: <!--> is a whole comment in HTML. */
            ptrdiff_t end = slice_find(slice_of(rest.p + 2, rest.n - 2), S("-->"));
            if (end < 0)
                break;
            i += 2 + (size_t)end + 3;
            continue;
        }
        bool body = is_tag(rest, S("<body"));
        if (!body && !is_tag(rest, S("<html")) && !is_tag(rest, S("</head")) &&
            !is_tag(rest, S("<!doctype"))) {
            i++;
            continue;
        }
        i += tag_end(rest);
        best = i;
        if (body)
            break;
    }
    return best;
}

static void put_escaped(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '&':
            buf_adds(out, S("&amp;"));
            break;
        case '<':
            buf_adds(out, S("&lt;"));
            break;
        case '>':
            buf_adds(out, S("&gt;"));
            break;
        default:
            buf_addc(out, text.p[i]);
        }
    }
}

void preheader_insert(struct buf *out, struct slice html, struct slice preheader)
{
    size_t at = body_start(html);
    buf_reserve(out, html.n + preheader.n + 4096);
    buf_add(out, html.p, at);
    buf_adds(out,
             S("<div style=\"display:none;max-height:0;max-width:0;overflow:hidden;mso-hide:all;opacity:0;"
               "font-size:1px;line-height:1px;color:transparent\">\n"));
    put_escaped(out, preheader);
    /* A blank that inboxes neither collapse nor show as one. */
    for (size_t n = utf8_count(preheader), k = 0; n < PREVIEW_CHARS; n++, k++)
        buf_adds(out, k % 6 == 0 ? S("\n&zwnj;&nbsp;") : S("&zwnj;&nbsp;"));
    buf_adds(out, S("\n</div>"));
    buf_add(out, html.p + at, html.n - at);
}
