/* dmarc.c - see dmarc.h. */
#include "format/dmarc.h"

const char *dmarc_word_name(enum dmarc_word w)
{
    static const char *const names[] = {"absent", "none", "quarantine", "reject"};
    return (unsigned)w < COUNT(names) ? names[w] : "?";
}

/* --- a record --- */

/* "p = reject" → name and value; false: there is no "=". */
static bool cut_tag(struct slice tag, struct slice *name, struct slice *value)
{
    ptrdiff_t at = slice_find(tag, S("="));
    if (at < 0)
        return false;
    *name = slice_trim(slice_of(tag.p, (size_t)at));
    *value = slice_trim(slice_of(tag.p + at + 1, tag.n - (size_t)at - 1));
    return name->n > 0;
}

bool dmarc_is_record(struct slice text)
{
    struct slice rest, name, value;
    return cut_tag(slice_cut(text, ';', &rest), &name, &value) && slice_eq(name, S("v")) &&
           slice_eq(value, S("DMARC1"));
}

static bool read_word(struct slice value, enum dmarc_word *out)
{
    for (int w = DMARC_NONE; w <= DMARC_REJECT; w++)
        if (slice_ieq(value, slice_cstr(dmarc_word_name((enum dmarc_word)w)))) {
            *out = (enum dmarc_word)w;
            return true;
        }
    return false;
}

/* One of two letters; b: the second was given. */
static bool read_letter(struct slice value, char a, char b, bool *is_b)
{
    char c = value.n == 1 ? ascii_lower(value.p[0]) : 0;
    if (c == a || c == b)
        *is_b = c == b;
    return c == a || c == b;
}

/* One report address at least (RFC 9989 4.7: URIs separated by commas). */
static bool read_uris(struct slice value, struct slice *out)
{
    bool good = value.n > 0;
    for (struct slice rest = value; good && rest.n;) {
        struct slice uri = slice_trim(slice_cut(rest, ',', &rest));
        good = slice_istarts(uri, S("mailto:")) ? slice_find(uri, S("@")) > 7
                                                : slice_istarts(uri, S("https://"));
    }
    if (good)
        *out = value;
    return good;
}

static bool read_tag(struct dmarc_record *r, struct slice name, struct slice value)
{
    bool is_b = false;
    if (slice_ieq(name, S("p")))
        return read_word(value, &r->p);
    if (slice_ieq(name, S("sp")))
        return read_word(value, &r->sp);
    if (slice_ieq(name, S("np")))
        return read_word(value, &r->np);
    if (slice_ieq(name, S("adkim")))
        return read_letter(value, 'r', 's', &r->strict_dkim);
    if (slice_ieq(name, S("aspf")))
        return read_letter(value, 'r', 's', &r->strict_spf);
    if (slice_ieq(name, S("t")))
        return read_letter(value, 'n', 'y', &r->test);
    if (slice_ieq(name, S("psd"))) {
        bool known = read_letter(value, 'n', 'y', &is_b);
        r->psd = !known ? 'u' : is_b ? 'y' : 'n';
        return known || slice_ieq(value, S("u"));
    }
    if (slice_ieq(name, S("rua")))
        return read_uris(value, &r->rua);
    if (slice_ieq(name, S("ruf")))
        return read_uris(value, &r->ruf);
    /* RFC 9989 took these away; others are extensions and are passed over. */
    return !slice_ieq(name, S("pct")) && !slice_ieq(name, S("rf")) && !slice_ieq(name, S("ri"));
}

bool dmarc_parse(struct slice text, struct dmarc_record *out)
{
    struct dmarc_record r = {.psd = 'u', .rua = SLICE_NONE, .ruf = SLICE_NONE, .wrong = SLICE_NONE};
    struct slice rest;
    if (!dmarc_is_record(text))
        return false;
    for (slice_cut(text, ';', &rest); rest.n;) {
        struct slice tag = slice_trim(slice_cut(rest, ';', &rest)), name, value;
        bool good = !tag.n || (cut_tag(tag, &name, &value) && read_tag(&r, name, value));
        if (!good && !r.wrong.n)
            r.wrong = tag;
    }
    if (r.p == DMARC_ABSENT && !r.rua.n)
        return false;
    if (r.p == DMARC_ABSENT)
        r.p = DMARC_NONE;
    *out = r;
    return true;
}

void dmarc_pick(const struct slice *texts, size_t n, struct dmarc_seen *out)
{
    size_t found = 0;
    *out = (struct dmarc_seen){0};
    for (size_t i = 0; i < n; i++)
        if (dmarc_is_record(texts[i])) {
            found++;
            out->found = dmarc_parse(texts[i], &out->record);
        }
    out->several = found > 1;
    out->found = found == 1 && out->found;
}

/* --- whose it is --- */

static size_t labels_of(struct slice name)
{
    size_t n = name.n > 0;
    for (size_t i = 0; i < name.n; i++)
        n += name.p[i] == '.';
    return n;
}

static struct slice parent(struct slice name)
{
    struct slice rest;
    slice_cut(name, '.', &rest);
    return rest;
}

size_t dmarc_walk(struct slice domain, struct slice names[DMARC_WALK_MAX])
{
    size_t n = 0;
    if (domain.n && domain.p[domain.n - 1] == '.')
        domain.n--;
    if (domain.n)
        names[n++] = domain;
    struct slice up = parent(domain);
    while (labels_of(up) >= DMARC_WALK_MAX)
        up = parent(up);
    for (; up.n && n < DMARC_WALK_MAX; up = parent(up))
        names[n++] = up;
    return n;
}

/* The tail of domain that is one label longer than name. */
static struct slice child_towards(struct slice domain, struct slice name)
{
    while (labels_of(domain) > labels_of(name) + 1)
        domain = parent(domain);
    return domain;
}

struct slice dmarc_org(struct slice domain, const struct slice *names, const struct dmarc_seen *seen,
                       size_t n)
{
    struct slice org = domain;
    if (org.n && org.p[org.n - 1] == '.')
        org.n--;
    domain = org;
    for (size_t i = 0; i < n; i++) {
        if (!seen[i].found)
            continue;
        if (seen[i].record.psd == 'n')
            return names[i];
        if (seen[i].record.psd == 'y' && i)
            return child_towards(domain, names[i]);
        org = names[i];
    }
    return org;
}

size_t dmarc_policy(struct slice domain, const struct slice *names, const struct dmarc_seen *seen, size_t n,
                    enum dmarc_word *out)
{
    struct slice org = dmarc_org(domain, names, seen, n);
    size_t at = 0;
    if (n && seen[0].found) {
        *out = seen[0].record.p;
        return 0;
    }
    while (at < n && !(seen[at].found && slice_ieq(names[at], org)))
        at++;
    /* Nothing at the organizational domain: the public suffix above it may speak (4.10.1). */
    for (size_t i = 0; at == n && i < n; i++)
        if (seen[i].found && seen[i].record.psd == 'y')
            at = i;
    if (at < n)
        *out = seen[at].record.sp != DMARC_ABSENT ? seen[at].record.sp : seen[at].record.p;
    return at;
}

bool dmarc_aligned(bool strict, struct slice a, struct slice a_org, struct slice b, struct slice b_org)
{
    return slice_ieq(a, b) || (!strict && a_org.n && slice_ieq(a_org, b_org));
}
