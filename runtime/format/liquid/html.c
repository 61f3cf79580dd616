/* html.c - where in an HTML document a point of the template lies, so that each output knows how to be
 * escaped.
 *
 * A machine over the literal text, after the tokenizer of the HTML standard (13.2.5), as far as places differ
 * for escaping. Branches of a template may leave it in several states at once; they are carried side by side
 * until they meet again, and only a value that would be escaped differently in two of them is refused.
 *
 * Conditional comments of Outlook, <!--[if mso]> ... <![endif]-->, are read as the HTML they hold: mails put
 * links there, and a value cannot end them because > is always escaped. */
#include "format/liquid/internal.h"

enum phase {
    TEXT,
    TAG_OPEN, /* behind < */
    TAG_NAME,
    END_TAG, /* </... up to > */
    IN_TAG,  /* between attributes */
    ATTR_NAME,
    AFTER_NAME, /* white space behind an attribute's name */
    BEFORE_VALUE,
    QUOTED,
    UNQUOTED,
    MARKUP, /* behind <!, up to two dashes */
    COMMENT,
    BOGUS,    /* <! or <? up to > */
    RAW_TEXT, /* script, style and their kind up to their end tag */
    RC_TEXT,  /* title, textarea: text, but no tags in it */
};
enum element { PLAIN, SCRIPT, STYLE, TITLE, TEXTAREA, XMP, IFRAME, NOEMBED, NOFRAMES, PLAINTEXT };
enum attribute { ORDINARY, LINK, CODE };
enum url { URL_EMPTY, URL_SCHEME, URL_BEGUN, URL_CODE };

static const char *const raw_elements[] = {
    [SCRIPT] = "script",     [STYLE] = "style",       [TITLE] = "title",
    [TEXTAREA] = "textarea", [XMP] = "xmp",           [IFRAME] = "iframe",
    [NOEMBED] = "noembed",   [NOFRAMES] = "noframes", [PLAINTEXT] = "plaintext"};
static const char *const link_attributes[] = {
    "href",     "src",      "action", "formaction", "background", "poster",  "cite",
    "data",     "longdesc", "usemap", "codebase",   "classid",    "profile", "icon",
    "manifest", "dynsrc",   "lowsrc", "xlink:href", "srcset",     "ping",    "archive"};

static bool space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool letter(char c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

static void name_clear(struct html_state *h)
{
    h->nname = 0;
    memset(h->name, 0, sizeof h->name);
}

/* Names longer than any that matters are cut: they match none. */
static void name_add(struct html_state *h, char c)
{
    if (h->nname < sizeof h->name)
        h->name[h->nname++] = ascii_lower(c);
}

static bool name_is(const struct html_state *h, const char *name)
{
    return slice_eq(slice_of(h->name, h->nname), slice_cstr(name));
}

static enum element element_named(const struct html_state *h)
{
    for (size_t i = 1; i < COUNT(raw_elements); i++)
        if (name_is(h, raw_elements[i]))
            return (enum element)i;
    return PLAIN;
}

static enum attribute attribute_named(const struct html_state *h)
{
    if ((h->nname > 2 && h->name[0] == 'o' && h->name[1] == 'n') || name_is(h, "style") ||
        name_is(h, "srcdoc"))
        return CODE;
    for (size_t i = 0; i < COUNT(link_attributes); i++)
        if (name_is(h, link_attributes[i]))
            return LINK;
    return ORDINARY;
}

static void begin_value(struct html_state *h, enum phase phase, char quote)
{
    h->phase = (uint8_t)phase;
    h->quote = (uint8_t)quote;
    h->url = URL_EMPTY;
    name_clear(h);
}

/* The end of a value or of a name without one. */
static void end_attribute(struct html_state *h)
{
    h->phase = IN_TAG;
    h->attribute = ORDINARY;
    h->quote = 0;
    h->url = URL_EMPTY;
    name_clear(h);
}

static void end_tag(struct html_state *h)
{
    uint8_t element = h->element;
    memset(h, 0, sizeof *h);
    h->element = element;
    h->phase = element == PLAIN ? TEXT : element == TITLE || element == TEXTAREA ? RC_TEXT : RAW_TEXT;
}

/* A link's literal beginning: a scheme that runs code makes the rest of the value code. */
static void url_char(struct html_state *h, char c)
{
    if (h->attribute != LINK || h->url == URL_BEGUN || h->url == URL_CODE ||
        (h->url == URL_EMPTY && space(c)))
        return;
    h->url = URL_SCHEME;
    if (c == ':') {
        bool code = name_is(h, "javascript") || name_is(h, "vbscript") || name_is(h, "data");
        h->url = code ? URL_CODE : URL_BEGUN;
    } else if (c == '/' || c == '?' || c == '#' || h->nname == sizeof h->name)
        h->url = URL_BEGUN;
    else if (!space(c))
        name_add(h, c);
    if (h->url != URL_SCHEME)
        name_clear(h);
}

/* Inside raw text: is this the end tag of the element? */
static void raw_char(struct html_state *h, char c)
{
    const char *name = raw_elements[h->element];
    size_t n = strlen(name);
    if (h->match == 0 || c == '<')
        h->match = c == '<';
    else if (h->match == 1)
        h->match = c == '/' ? 2 : 0;
    else if (h->match < 2 + n)
        h->match = ascii_lower(c) == name[h->match - 2] ? (uint8_t)(h->match + 1) : 0;
    else if (c == '>' || c == '/' || space(c)) {
        memset(h, 0, sizeof *h);
        h->phase = c == '>' ? TEXT : END_TAG;
    } else
        h->match = 0;
}

static void in_tag(struct html_state *h, char c)
{
    if (c == '>')
        end_tag(h);
    else if (!space(c) && c != '/') {
        name_clear(h);
        name_add(h, c);
        h->phase = ATTR_NAME;
    }
}

static void markup(struct html_state *h, char c)
{
    if (c == '-') {
        if (++h->match == 2) {
            h->phase = COMMENT;
            h->match = 10; /* nothing of the comment was seen */
        }
    } else {
        h->phase = c == '>' ? TEXT : BOGUS;
        h->match = 0;
    }
}

/* match: dashes that were just seen; 10 to 12 while it may still be a conditional comment, [if */
static void comment(struct html_state *h, char c)
{
    if (h->match >= 10) {
        if (c == "[if"[h->match - 10]) {
            if (++h->match == 13) {
                h->phase = BOGUS;
                h->match = 0;
            }
            return;
        }
        h->match = h->match == 10 && c == '>'   ? 2
                   : h->match == 10 && c == '-' ? 1
                                                : 0; /* <!--> ends at once */
        if (h->match == 1)
            return;
    }
    if (c == '>' && h->match >= 2)
        memset(h, 0, sizeof *h);
    else if (c == '-')
        h->match = h->match < 2 ? (uint8_t)(h->match + 1) : 2;
    else
        h->match = 0;
}

static void step(struct html_state *h, char c)
{
    switch ((enum phase)h->phase) {
    case TEXT:
        if (c == '<')
            h->phase = TAG_OPEN;
        break;
    case TAG_OPEN:
        name_clear(h);
        if (letter(c)) {
            h->phase = TAG_NAME;
            name_add(h, c);
        } else
            h->phase = c == '/' ? END_TAG : c == '!' ? MARKUP : c == '?' ? BOGUS : c == '<' ? TAG_OPEN : TEXT;
        break;
    case TAG_NAME:
        if (space(c) || c == '/' || c == '>') {
            h->element = element_named(h);
            name_clear(h);
            h->phase = IN_TAG;
            if (c == '>')
                end_tag(h);
        } else
            name_add(h, c);
        break;
    case END_TAG:
    case BOGUS:
        if (c == '>')
            memset(h, 0, sizeof *h);
        break;
    case IN_TAG:
        in_tag(h, c);
        break;
    case ATTR_NAME:
        if (space(c) || c == '=' || c == '>' || c == '/') {
            h->attribute = (uint8_t)attribute_named(h);
            name_clear(h);
            h->phase = c == '=' ? BEFORE_VALUE : AFTER_NAME;
            if (c == '>' || c == '/') {
                end_attribute(h);
                in_tag(h, c);
            }
        } else
            name_add(h, c);
        break;
    case AFTER_NAME:
        if (c == '=')
            h->phase = BEFORE_VALUE;
        else if (!space(c)) {
            end_attribute(h);
            in_tag(h, c);
        }
        break;
    case BEFORE_VALUE:
        if (c == '"' || c == '\'')
            begin_value(h, QUOTED, c);
        else if (c == '>') {
            end_attribute(h);
            end_tag(h);
        } else if (!space(c))
            begin_value(h, UNQUOTED, 0);
        break;
    case QUOTED:
        if (c == (char)h->quote)
            end_attribute(h);
        else
            url_char(h, c);
        break;
    case UNQUOTED:
        if (c == '>') {
            end_attribute(h);
            end_tag(h);
        } else if (space(c))
            end_attribute(h);
        break;
    case MARKUP:
        markup(h, c);
        break;
    case COMMENT:
        comment(h, c);
        break;
    case RAW_TEXT:
    case RC_TEXT:
        raw_char(h, c);
        break;
    }
}

void html_begin(struct html_set *set)
{
    memset(set, 0, sizeof *set);
    set->n = 1;
}

static bool has(const struct html_set *set, const struct html_state *h)
{
    for (uint32_t i = 0; i < set->n; i++)
        if (!memcmp(&set->s[i], h, sizeof *h))
            return true;
    return false;
}

int html_join(struct html_set *set, const struct html_set *more)
{
    for (uint32_t i = 0; i < more->n; i++) {
        if (has(set, &more->s[i]))
            continue;
        if (set->n == HTML_STATES)
            return ERR_LIMIT;
        set->s[set->n++] = more->s[i];
    }
    return 0;
}

bool html_within(const struct html_set *some, const struct html_set *set)
{
    for (uint32_t i = 0; i < some->n; i++)
        if (!has(set, &some->s[i]))
            return false;
    return true;
}

bool html_is_text(const struct html_set *set)
{
    for (uint32_t i = 0; i < set->n; i++)
        if (set->s[i].phase != TEXT)
            return false;
    return true;
}

/* States that became the same are one. */
static void fold(struct html_set *set)
{
    struct html_set folded = {0};
    for (uint32_t i = 0; i < set->n; i++)
        if (!has(&folded, &set->s[i]))
            folded.s[folded.n++] = set->s[i];
    *set = folded;
}

void html_text(struct html_set *set, struct slice text)
{
    for (uint32_t k = 0; k < set->n; k++) {
        struct html_state *h = &set->s[k];
        for (size_t i = 0; i < text.n; i++) {
            if (h->phase == TEXT) { /* the common case: on to the next tag */
                const char *open = memchr(text.p + i, '<', text.n - i);
                if (!open)
                    break;
                i = (size_t)(open - text.p);
            }
            step(h, text.p[i]);
        }
    }
    if (set->n > 1)
        fold(set);
}

static int place(const struct html_state *h, enum esc *esc, const char **why)
{
    *why = NULL;
    switch ((enum phase)h->phase) {
    case TEXT:
    case RC_TEXT:
        *esc = ESC_HTML;
        if (h->phase == RC_TEXT)
            *esc = ESC_ATTRIBUTE; /* no tags here: what is HTML already must not end the element */
        return 0;
    case QUOTED:
        if (h->attribute == CODE || h->url == URL_CODE) {
            *why = "in an attribute that holds script or style";
            break;
        }
        *esc = h->attribute != LINK ? ESC_ATTRIBUTE : h->url == URL_EMPTY ? ESC_URL_START : ESC_URL_PART;
        return 0;
    case BEFORE_VALUE:
    case UNQUOTED:
        *why = "in an attribute without quotes";
        break;
    case RAW_TEXT:
        *why = h->element == STYLE ? "inside style" : "inside script";
        break;
    case COMMENT:
    case MARKUP:
    case BOGUS:
        *why = "inside an HTML comment";
        break;
    case TAG_OPEN:
    case TAG_NAME:
    case END_TAG:
        *why = "in a tag's name";
        break;
    case IN_TAG:
    case ATTR_NAME:
    case AFTER_NAME:
        *why = "among a tag's attributes";
        break;
    }
    return ERR_SYNTAX;
}

/* What a raw output leaves behind: whatever it prints, it is taken for a piece of what begins there. */
void html_raw(struct html_set *set)
{
    for (uint32_t i = 0; i < set->n; i++) {
        struct html_state *h = &set->s[i];
        if (h->phase == BEFORE_VALUE)
            begin_value(h, UNQUOTED, 0);
        else if (h->phase == IN_TAG || h->phase == AFTER_NAME) {
            end_attribute(h);
            h->phase = ATTR_NAME;
        } else if (h->phase == TAG_OPEN)
            h->phase = TAG_NAME;
        else if (h->phase == QUOTED && h->attribute == LINK) {
            h->url = URL_BEGUN;
            name_clear(h);
        }
    }
    if (set->n > 1)
        fold(set);
}

int html_value(struct html_set *set, enum esc *esc, const char **why)
{
    *esc = ESC_HTML; /* where nothing arrives, nothing is printed */
    *why = NULL;
    for (uint32_t i = 0; i < set->n; i++) {
        struct html_state *h = &set->s[i];
        enum esc here;
        int rc = place(h, &here, why);
        if (rc)
            return rc;
        if (i && here != *esc) {
            *why = "where the branches before it end in different places of the HTML";
            return ERR_SYNTAX;
        }
        *esc = here;
        if (h->phase == QUOTED && h->attribute == LINK) {
            h->url = URL_BEGUN;
            name_clear(h);
        }
    }
    if (set->n > 1)
        fold(set);
    return 0;
}
