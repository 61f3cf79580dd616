/* spf.c - see spf.h.
 *
 * A record is read whole before any of it counts: one bad term makes it an error, wherever it stands (RFC
 * 7208 4.6). Macros are checked when the record is read and expanded when their term's turn comes. */
#include "format/spf.h"

enum {
    WHOLE_MAX = 60, /* look-ups that are counted when the limits are put aside */
    NAME_MAX_TEXT = 253,
    TERMS_MAX = 1000,
};

enum kind { ALL, INCLUDE, A, MX, PTR, IP4, IP6, EXISTS, REDIRECT };

struct term {
    enum kind kind;
    enum spf_result result; /* of its qualifier */
    struct slice spec;      /* domain-spec; empty: the domain itself */
    struct ip net;          /* IP4, IP6 */
    int bits4, bits6;
    struct slice text;
};

struct record {
    struct term *v;
    size_t n;
    struct slice redirect; /* its domain-spec; empty: none */
};

struct spf {
    const struct spf_in *in;
    struct arena *a;
    struct ip ip;
    unsigned lookups, voids;
    bool waits;
    struct slice own, term;
    const char *why;
};

const char *spf_result_name(enum spf_result r)
{
    static const char *const names[] = {"none",     "neutral",   "pass",     "fail",
                                        "softfail", "temperror", "permerror"};
    return (unsigned)r < COUNT(names) ? names[r] : "?";
}

static enum spf_result fail(struct spf *s, enum spf_result result, const char *why)
{
    s->why = why;
    return result;
}
#define WRONG(s, ...) fail(s, SPF_PERMERROR, arena_printf((s)->a, __VA_ARGS__))

static bool is_alpha(char c)
{
    return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* --- reading: macros --- */

/* "%{ir.}" at s, behind the "%{": the number of bytes up to and with the brace; 0: it is none. */
static size_t macro_length(struct slice s)
{
    size_t i = 1;
    unsigned n = 0;
    if (!s.n || !memchr("slodipvh", ascii_lower(s.p[0]), 8))
        return 0; /* c, r and t are for explanations alone (7.2) */
    bool digits = i < s.n && is_digit(s.p[i]);
    for (; i < s.n && is_digit(s.p[i]); i++)
        n = n < 1000 ? n * 10 + (unsigned)(s.p[i] - '0') : n;
    if (digits && !n)
        return 0;
    if (i < s.n && ascii_lower(s.p[i]) == 'r')
        i++;
    while (i < s.n && memchr(".-+,/_=", s.p[i], 7))
        i++;
    return i < s.n && s.p[i] == '}' ? i + 1 : 0;
}

/* macro-string (7.1); *end: its last byte closes a macro. */
static bool macros_are_good(struct slice s, bool *end)
{
    *end = false;
    for (size_t i = 0; i < s.n; i++) {
        *end = false;
        if (s.p[i] <= ' ' || s.p[i] > '~')
            return false;
        if (s.p[i] != '%')
            continue;
        if (i + 1 < s.n && memchr("%_-", s.p[i + 1], 3)) {
            i++;
            *end = true;
            continue;
        }
        size_t n = i + 1 < s.n && s.p[i + 1] == '{' ? macro_length(slice_of(s.p + i + 2, s.n - i - 2)) : 0;
        if (!n)
            return false;
        i += n + 1;
        *end = true;
    }
    return true;
}

/* domain-spec (7.1): a macro-string that ends in a macro or in a label that can be a top level. */
static bool spec_is_good(struct slice s)
{
    bool macro, alpha = false;
    if (!s.n || !macros_are_good(s, &macro))
        return false;
    if (macro)
        return true;
    size_t end = s.p[s.n - 1] == '.' ? s.n - 1 : s.n, from = end;
    while (from && s.p[from - 1] != '.')
        from--;
    if (!from || from == end || s.p[from] == '-' || s.p[end - 1] == '-')
        return false;
    for (size_t i = from; i < end; i++) {
        if (!is_alpha(s.p[i]) && !is_digit(s.p[i]) && s.p[i] != '-')
            return false;
        alpha |= !is_digit(s.p[i]);
    }
    return alpha;
}

/* --- reading: terms --- */

/* "/24" at the end of *s: cut off. False: it is there and is no length up to most. */
static bool cut_bits(struct slice *s, const char *slashes, int most, int *out)
{
    size_t i = s->n, nslash = strlen(slashes);
    while (i && is_digit(s->p[i - 1]))
        i--;
    if (i == s->n || i < nslash || memcmp(s->p + i - nslash, slashes, nslash) != 0)
        return true;
    uint64_t bits;
    struct slice digits = slice_of(s->p + i, s->n - i);
    if ((digits.n > 1 && digits.p[0] == '0') || slice_u64(digits, &bits) || bits > (uint64_t)most)
        return false;
    *out = (int)bits;
    s->n = i - nslash;
    return true;
}

static bool read_mechanism(struct term *t, struct slice name, struct slice rest)
{
    static const struct {
        const char *name;
        enum kind kind;
    } kinds[] = {{"all", ALL}, {"include", INCLUDE}, {"a", A},     {"mx", MX},
                 {"ptr", PTR}, {"ip4", IP4},         {"ip6", IP6}, {"exists", EXISTS}};
    size_t k = 0;
    while (k < COUNT(kinds) && !slice_ieq(name, slice_cstr(kinds[k].name)))
        k++;
    if (k == COUNT(kinds))
        return false;
    t->kind = kinds[k].kind;
    t->bits4 = 32;
    t->bits6 = 128;
    t->spec = SLICE_NONE;
    bool colon = rest.n && rest.p[0] == ':';
    switch (t->kind) {
    case ALL:
        return rest.n == 0;
    case A:
    case MX:
        if (!cut_bits(&rest, "//", 128, &t->bits6) || !cut_bits(&rest, "/", 32, &t->bits4))
            return false;
        break;
    case IP4:
    case IP6:
        if (!cut_bits(&rest, "/", t->kind == IP4 ? 32 : 128, t->kind == IP4 ? &t->bits4 : &t->bits6))
            return false;
        return colon && !ip_parse(slice_of(rest.p + 1, rest.n - 1), &t->net) &&
               t->net.family == (t->kind == IP4 ? 4 : 6);
    case INCLUDE:
    case EXISTS:
        if (!colon)
            return false;
        break;
    case PTR:
        break;
    case REDIRECT:
        return false;
    }
    if (!rest.n)
        return true;
    t->spec = slice_of(rest.p + 1, rest.n - 1);
    return colon && spec_is_good(t->spec);
}

static enum spf_result read_modifier(struct spf *s, struct record *r, struct slice name, struct slice value,
                                     unsigned *seen)
{
    bool redirect = slice_ieq(name, S("redirect")), macro;
    if (!redirect && !slice_ieq(name, S("exp"))) /* unknown ones are passed over (6) */
        return macros_are_good(value, &macro) ? SPF_NONE
                                              : WRONG(s, "the value of %.*s= is malformed", SLICE_FMT(name));
    if (*seen & 1u << redirect)
        return WRONG(s, "%.*s= stands twice", SLICE_FMT(name));
    *seen |= 1u << redirect;
    if (!spec_is_good(value))
        return WRONG(s, "%.*s= wants a domain, not \"%.*s\"", SLICE_FMT(name), SLICE_FMT(value));
    if (redirect)
        r->redirect = value;
    return SPF_NONE;
}

static enum spf_result read_term(struct spf *s, struct record *r, struct slice text, unsigned *seen)
{
    static const char qualifiers[] = "+-~?";
    static const enum spf_result results[] = {SPF_PASS, SPF_FAIL, SPF_SOFTFAIL, SPF_NEUTRAL};
    const char *q = memchr(qualifiers, text.p[0], 4);
    struct slice rest = q ? slice_of(text.p + 1, text.n - 1) : text;
    size_t i = 0;
    while (i < rest.n && (is_alpha(rest.p[i]) || (i && (is_digit(rest.p[i]) || memchr("-_.", rest.p[i], 3)))))
        i++;
    struct slice name = slice_of(rest.p, i);
    rest = slice_of(rest.p + i, rest.n - i);
    if (!q && i && rest.n && rest.p[0] == '=')
        return read_modifier(s, r, name, slice_of(rest.p + 1, rest.n - 1), seen);
    if (r->n == TERMS_MAX)
        return WRONG(s, "more than %d terms", TERMS_MAX);
    struct term *t = &r->v[r->n];
    if (!read_mechanism(t, name, rest))
        return WRONG(s, "\"%.*s\" is no term of SPF", SLICE_FMT(text));
    t->result = results[q ? q - qualifiers : 0];
    t->text = text;
    r->n++;
    return SPF_NONE;
}

bool spf_is_record(struct slice text)
{
    return slice_istarts(text, S("v=spf1")) && (text.n == 6 || text.p[6] == ' ');
}

/* SPF_NONE: it is read. */
static enum spf_result read_record(struct spf *s, struct slice text, struct record *out)
{
    struct slice rest = slice_of(text.p + 6, text.n - 6);
    size_t words = 1;
    unsigned seen = 0;
    for (size_t i = 0; i < rest.n; i++)
        words += rest.p[i] == ' ';
    *out = (struct record){.v = arena_zalloc(s->a, (words < TERMS_MAX ? words : TERMS_MAX) * sizeof *out->v),
                           .redirect = SLICE_NONE};
    while (rest.n) {
        struct slice word = slice_cut(rest, ' ', &rest);
        enum spf_result r = word.n ? read_term(s, out, word, &seen) : SPF_NONE;
        if (r != SPF_NONE)
            return r;
    }
    return SPF_NONE;
}

/* --- asking --- */

static enum spf_dns ask(struct spf *s, enum dns_type type, struct slice name, struct spf_answer *out)
{
    *out = (struct spf_answer){0};
    enum spf_dns r = s->in->lookup(s->in->data, type, name, out);
    if (r == SPF_DNS_WAIT)
        s->waits = true;
    s->voids += r == SPF_DNS_VOID;
    return r;
}

static bool too_many_voids(struct spf *s)
{
    return s->voids > SPF_VOIDS_MAX && !s->in->whole;
}

static enum spf_result too_void(struct spf *s)
{
    return WRONG(s, "more than %d look-ups find nothing", SPF_VOIDS_MAX);
}

static bool in_net(const struct ip *ip, const struct ip *net, int bits)
{
    if (ip->family != net->family)
        return false;
    for (int i = 0; bits > 0; i++, bits -= 8) {
        uint8_t mask = bits >= 8 ? 0xff : (uint8_t)(0xff << (8 - bits));
        if ((ip->b[i] ^ net->b[i]) & mask)
            return false;
    }
    return true;
}

static enum dns_type address_type(const struct spf *s)
{
    return s->ip.family == 6 ? DNS_AAAA : DNS_A;
}

static bool name_is_below(struct slice name, struct slice domain)
{
    return slice_ieq(name, domain) || (name.n > domain.n && name.p[name.n - domain.n - 1] == '.' &&
                                       slice_ieq(slice_of(name.p + name.n - domain.n, domain.n), domain));
}

/* A name of the address that leads back to it (5.5): below domain if one is, for %{p} else any. */
static struct slice proven_name(struct spf *s, struct slice domain, bool any)
{
    struct spf_answer names, back;
    char text[IP_TEXT];
    struct slice found = SLICE_NONE;
    if (ask(s, DNS_PTR, arena_copy(s->a, ip_text(&s->ip, text)), &names) != SPF_DNS_OK)
        return SLICE_NONE;
    for (size_t i = 0; i < names.n && i < SPF_HOSTS_MAX; i++) {
        enum spf_dns r = ask(s, address_type(s), names.v[i], &back);
        if (r == SPF_DNS_WAIT)
            return SLICE_NONE;
        for (size_t j = 0; r == SPF_DNS_OK && j < back.n; j++)
            if (ip_eq(&back.ips[j], &s->ip)) {
                bool below = name_is_below(names.v[i], domain);
                if (below || (any && !found.n))
                    found = names.v[i];
            }
    }
    return found;
}

/* --- macros --- */

static void put_dotted(struct buf *out, const struct ip *ip)
{
    for (int i = 0; i < (ip->family == 6 ? 16 : 4); i++)
        if (ip->family == 6)
            buf_printf(out, "%s%x.%x", i ? "." : "", ip->b[i] >> 4, ip->b[i] & 15);
        else
            buf_printf(out, "%s%u", i ? "." : "", ip->b[i]);
}

static struct slice macro_value(struct spf *s, char letter, struct slice domain, struct buf *room)
{
    struct slice host, local = slice_cut(s->in->sender, '@', &host);
    switch (letter) {
    case 's':
        return s->in->sender;
    case 'l':
        return local;
    case 'o':
        return host;
    case 'd':
        return domain;
    case 'i':
        put_dotted(room, &s->ip);
        return buf_slice(room);
    case 'p': {
        struct slice name = proven_name(s, domain, true);
        return name.n ? name : S("unknown");
    }
    case 'v':
        return s->ip.family == 6 ? S("ip6") : S("in-addr");
    default:
        return s->in->helo;
    }
}

/* Split at any of delimiters, turn round, keep the last `keep` (0: all), join by dots (7.3). */
static void put_parts(struct buf *out, struct arena *a, struct slice value, struct slice delimiters,
                      unsigned keep, bool reverse)
{
    struct slice *parts = arena_alloc(a, (value.n + 1) * sizeof *parts);
    size_t n = 0, from = 0;
    for (size_t i = 0; i <= value.n; i++)
        if (i == value.n || memchr(delimiters.p, value.p[i], delimiters.n)) {
            parts[n++] = slice_of(value.p + from, i - from);
            from = i + 1;
        }
    size_t kept = keep && keep < n ? keep : n;
    for (size_t i = n - kept; i < n; i++) {
        if (i > n - kept)
            buf_addc(out, '.');
        buf_adds(out, parts[reverse ? n - 1 - i : i]);
    }
}

static void put_escaped(struct buf *out, struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (is_alpha(s.p[i]) || is_digit(s.p[i]) || memchr("-._~", s.p[i], 4))
            buf_addc(out, s.p[i]);
        else
            buf_printf(out, "%%%02X", (unsigned char)s.p[i]);
}

static void put_macro(struct spf *s, struct slice macro, struct slice domain, struct buf *out)
{
    struct buf room = {0}, value = {0};
    size_t i = 1;
    unsigned keep = 0;
    for (; is_digit(macro.p[i]); i++)
        keep = keep < 1000 ? keep * 10 + (unsigned)(macro.p[i] - '0') : keep;
    bool reverse = ascii_lower(macro.p[i]) == 'r';
    i += reverse;
    struct slice delimiters = slice_of(macro.p + i, macro.n - i - 1);
    put_parts(&value, s->a, macro_value(s, ascii_lower(macro.p[0]), domain, &room),
              delimiters.n ? delimiters : S("."), keep, reverse);
    if (macro.p[0] >= 'A' && macro.p[0] <= 'Z')
        put_escaped(out, buf_slice(&value));
    else
        buf_adds(out, buf_slice(&value));
    buf_free(&room);
    buf_free(&value);
}

static struct slice expand(struct spf *s, struct slice spec, struct slice domain)
{
    struct buf out = {0};
    if (!spec.n)
        return domain;
    for (size_t i = 0; i < spec.n; i++) {
        if (spec.p[i] != '%') {
            buf_addc(&out, spec.p[i]);
        } else if (spec.p[i + 1] != '{') {
            buf_adds(&out, spec.p[i + 1] == '%' ? S("%") : spec.p[i + 1] == '_' ? S(" ") : S("%20"));
            i++;
        } else {
            struct slice rest = slice_of(spec.p + i + 2, spec.n - i - 2);
            size_t n = macro_length(rest);
            put_macro(s, slice_of(rest.p, n), domain, &out);
            i += n + 1;
        }
    }
    if (out.n && out.p[out.n - 1] == '.')
        out.n--;
    struct slice name = arena_copy(s->a, buf_slice(&out));
    buf_free(&out);
    while (name.n > NAME_MAX_TEXT) { /* labels go from the left (7.3) */
        struct slice rest;
        slice_cut(name, '.', &rest);
        name = rest.n ? rest : slice_of(name.p + name.n - NAME_MAX_TEXT, NAME_MAX_TEXT);
    }
    return name;
}

/* --- evaluation --- */

static bool counts(struct spf *s)
{
    return ++s->lookups <= (s->in->whole ? WHOLE_MAX : SPF_LOOKUPS_MAX);
}

/* SPF_PASS: the mechanism matches; SPF_NONE: it does not; else an error. */
static enum spf_result addresses_match(struct spf *s, const struct term *t, struct slice name)
{
    struct spf_answer found;
    switch (ask(s, address_type(s), name, &found)) {
    case SPF_DNS_OK:
        break;
    case SPF_DNS_VOID:
        return too_many_voids(s) ? too_void(s) : SPF_NONE;
    case SPF_DNS_FAILED:
        return fail(s, SPF_TEMPERROR, arena_printf(s->a, "no answer for %.*s", SLICE_FMT(name)));
    case SPF_DNS_WAIT:
        return SPF_NONE;
    }
    for (size_t i = 0; i < found.n; i++)
        if (in_net(&s->ip, &found.ips[i], s->ip.family == 6 ? t->bits6 : t->bits4))
            return SPF_PASS;
    return SPF_NONE;
}

static enum spf_result mx_matches(struct spf *s, const struct term *t, struct slice name)
{
    struct spf_answer hosts;
    switch (ask(s, DNS_MX, name, &hosts)) {
    case SPF_DNS_OK:
        break;
    case SPF_DNS_VOID:
        return too_many_voids(s) ? too_void(s) : SPF_NONE;
    case SPF_DNS_FAILED:
        return fail(s, SPF_TEMPERROR, arena_printf(s->a, "no answer for the MX of %.*s", SLICE_FMT(name)));
    case SPF_DNS_WAIT:
        return SPF_NONE;
    }
    if (hosts.n > SPF_HOSTS_MAX)
        return WRONG(s, "%.*s has more than %d mail hosts", SLICE_FMT(name), SPF_HOSTS_MAX);
    for (size_t i = 0; i < hosts.n && !s->waits; i++) {
        enum spf_result r = addresses_match(s, t, hosts.v[i]);
        if (r != SPF_NONE)
            return r;
    }
    return SPF_NONE;
}

static enum spf_result exists_matches(struct spf *s, struct slice name)
{
    struct spf_answer found;
    switch (ask(s, DNS_A, name, &found)) {
    case SPF_DNS_OK:
        return SPF_PASS;
    case SPF_DNS_VOID:
        return too_many_voids(s) ? too_void(s) : SPF_NONE;
    case SPF_DNS_FAILED:
        return fail(s, SPF_TEMPERROR, arena_printf(s->a, "no answer for %.*s", SLICE_FMT(name)));
    case SPF_DNS_WAIT:
        break;
    }
    return SPF_NONE;
}

static enum spf_result check_host(struct spf *s, struct slice domain, bool top);

static enum spf_result include_matches(struct spf *s, struct slice name)
{
    enum spf_result r = check_host(s, name, false);
    switch (r) {
    case SPF_PASS:
    case SPF_TEMPERROR:
    case SPF_PERMERROR:
        return r;
    case SPF_FAIL:
    case SPF_SOFTFAIL:
    case SPF_NEUTRAL:
        return SPF_NONE;
    case SPF_NONE:
        break;
    }
    if (s->in->whole || s->waits)
        return SPF_NONE;
    return WRONG(s, "include:%.*s: there is no SPF record", SLICE_FMT(name));
}

static enum spf_result matches(struct spf *s, const struct term *t, struct slice domain)
{
    if (t->kind == ALL)
        return SPF_PASS;
    if (t->kind == IP4 || t->kind == IP6)
        return in_net(&s->ip, &t->net, t->kind == IP4 ? t->bits4 : t->bits6) ? SPF_PASS : SPF_NONE;
    if (!counts(s))
        return WRONG(s, "more than %d look-ups", SPF_LOOKUPS_MAX);
    struct slice name = expand(s, t->spec, domain);
    bool proven = t->kind == PTR && !s->waits && proven_name(s, name, false).n;
    if (s->waits)
        return SPF_NONE;
    if (too_many_voids(s))
        return too_void(s);
    switch (t->kind) {
    case A:
        return addresses_match(s, t, name);
    case MX:
        return mx_matches(s, t, name);
    case EXISTS:
        return exists_matches(s, name);
    case INCLUDE:
        return include_matches(s, name);
    case PTR:
        return proven ? SPF_PASS : SPF_NONE;
    case ALL:
    case IP4:
    case IP6:
    case REDIRECT:
        break;
    }
    return SPF_NONE;
}

/* More than one label, none empty or too long. */
static bool is_domain(struct slice name)
{
    size_t label = 0, labels = 1;
    if (name.n && name.p[name.n - 1] == '.')
        name.n--;
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] != '.') {
            label++;
            if (label > 63)
                return false;
            continue;
        }
        if (!label)
            return false;
        label = 0;
        labels++;
    }
    return label && labels > 1 && name.n <= NAME_MAX_TEXT;
}

static enum spf_result find_record(struct spf *s, struct slice domain, struct slice *out)
{
    struct spf_answer texts;
    size_t n = 0;
    if (!is_domain(domain))
        return fail(s, SPF_NONE, arena_printf(s->a, "\"%.*s\" is no domain", SLICE_FMT(domain)));
    unsigned voids = s->voids; /* a domain without a record has a result of its own */
    enum spf_dns r = ask(s, DNS_TXT, domain, &texts);
    s->voids = voids;
    if (r == SPF_DNS_FAILED)
        return fail(s, SPF_TEMPERROR, arena_printf(s->a, "no answer for the TXT of %.*s", SLICE_FMT(domain)));
    for (size_t i = 0; r == SPF_DNS_OK && i < texts.n; i++)
        if (spf_is_record(texts.v[i])) {
            *out = texts.v[i];
            n++;
        }
    if (n > 1)
        return WRONG(s, "%.*s has %zu SPF records where one is allowed", SLICE_FMT(domain), n);
    if (!n)
        return fail(s, SPF_NONE, arena_printf(s->a, "%.*s has no SPF record", SLICE_FMT(domain)));
    return SPF_PASS;
}

static enum spf_result check_host(struct spf *s, struct slice domain, bool top)
{
    struct slice text = SLICE_NONE;
    struct record record;
    enum spf_result r = find_record(s, domain, &text);
    if (r != SPF_PASS)
        return r;
    if (top)
        s->own = text;
    if ((r = read_record(s, text, &record)) != SPF_NONE)
        return r;
    for (size_t i = 0; i < record.n && !s->waits; i++) {
        const struct term *t = &record.v[i];
        r = matches(s, t, domain);
        if (s->waits)
            break;
        if (s->in->whole && t->kind != ALL && r != SPF_PERMERROR)
            continue;
        if (r == SPF_PASS) {
            s->term = t->text;
            s->why = "";
            return t->result;
        }
        if (r != SPF_NONE)
            return r;
    }
    if (s->waits || !record.redirect.n)
        return SPF_NEUTRAL;
    if (!counts(s))
        return WRONG(s, "more than %d look-ups", SPF_LOOKUPS_MAX);
    struct slice to = expand(s, record.redirect, domain);
    if (s->waits)
        return SPF_NEUTRAL;
    r = check_host(s, to, false);
    return r == SPF_NONE && !s->waits ? WRONG(s, "redirect=%.*s: there is no SPF record", SLICE_FMT(to)) : r;
}

int spf_check(const struct spf_in *in, struct arena *a, struct spf_out *out)
{
    struct spf_in with = *in;
    struct spf s = {.in = &with, .a = a, .ip = in->ip, .own = SLICE_NONE, .term = SLICE_NONE, .why = ""};
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (in->ip.family == 6 && !memcmp(in->ip.b, mapped, sizeof mapped))
        s.ip = ip_v4(in->ip.b[12], in->ip.b[13], in->ip.b[14], in->ip.b[15]);
    if (slice_find(with.sender, S("@")) < 0)
        with.sender = slice_cstr(arena_printf(a, "postmaster@%.*s", SLICE_FMT(in->domain)));
    else if (with.sender.p[0] == '@')
        with.sender = slice_cstr(arena_printf(a, "postmaster%.*s", SLICE_FMT(with.sender)));
    enum spf_result r = check_host(&s, in->domain, true);
    if (s.waits)
        return ERR_AGAIN;
    bool says = r == SPF_NONE || r == SPF_TEMPERROR || r == SPF_PERMERROR;
    *out = (struct spf_out){.result = r,
                            .lookups = s.lookups,
                            .voids = s.voids,
                            .record = s.own,
                            .term = says ? SLICE_NONE : s.term,
                            .why = says ? s.why : ""};
    return 0;
}
