/* dns_wire.c - DNS messages: the reader, the writer with its name compression, names. */
#include "format/dns_wire.h"

#include "base/err.h"

#include <stdio.h>

enum {
    HEADER_BYTES = 12,
    LABEL_MAX = 63,
    TEXT_NAME_MAX = 4 * DNS_NAME_MAX, /* every byte as \DDD */
    /* What one message may grow to in an arena. Honest answers stay under a few KB; 64 KB of pointers to one
     * long name would become 20 MB. */
    EXPANDED_MAX = 1 << 20,
    SUFFIXES_MAX = 128,
};

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void add16(struct buf *b, uint16_t v)
{
    buf_addc(b, (char)(v >> 8));
    buf_addc(b, (char)v);
}

static void add32(struct buf *b, uint32_t v)
{
    add16(b, (uint16_t)(v >> 16));
    add16(b, (uint16_t)v);
}

/* --- names --- */

static size_t label_text(char *o, const uint8_t *p, size_t n)
{
    char *start = o;
    for (size_t i = 0; i < n; i++) {
        if (p[i] <= 0x20 || p[i] >= 0x7f) {
            *o++ = '\\';
            *o++ = (char)('0' + p[i] / 100);
            *o++ = (char)('0' + p[i] / 10 % 10);
            *o++ = (char)('0' + p[i] % 10);
            continue;
        }
        if (p[i] == '.' || p[i] == '\\')
            *o++ = '\\';
        *o++ = (char)p[i];
    }
    return (size_t)(o - start);
}

/* One byte of a label at s[*i]; moves *i behind it. */
static int label_byte(struct slice s, size_t *i, uint8_t *out)
{
    uint8_t c = (uint8_t)s.p[(*i)++];
    if (c <= 0x20 || c >= 0x7f)
        return ERR_SYNTAX;
    if (c != '\\') {
        *out = c;
        return 0;
    }
    if (*i == s.n)
        return ERR_SYNTAX;
    c = (uint8_t)s.p[*i];
    if (c < '0' || c > '9') {
        if (c <= 0x20 || c >= 0x7f)
            return ERR_SYNTAX;
        (*i)++;
        *out = c;
        return 0;
    }
    if (s.n - *i < 3)
        return ERR_SYNTAX;
    int v = 0;
    for (int k = 0; k < 3; k++) {
        char d = s.p[(*i)++];
        if (d < '0' || d > '9')
            return ERR_SYNTAX;
        v = v * 10 + (d - '0');
    }
    if (v > 255)
        return ERR_SYNTAX;
    *out = (uint8_t)v;
    return 0;
}

int dns_name_wire(struct slice name, uint8_t wire[DNS_NAME_MAX], size_t *n)
{
    if (slice_eq(name, S("."))) {
        wire[0] = 0;
        *n = 1;
        return 0;
    }
    size_t len_at = 0, at = 1, i = 0; /* where this label's length goes, where the next byte goes */
    while (i < name.n) {
        if (name.p[i] == '.') {
            if (at == len_at + 1)
                return ERR_SYNTAX;
            wire[len_at] = (uint8_t)(at - len_at - 1);
            len_at = at++;
            i++;
            if (at > DNS_NAME_MAX)
                return ERR_RANGE;
            continue;
        }
        uint8_t c;
        int rc = label_byte(name, &i, &c);
        if (rc)
            return rc;
        if (at - len_at > LABEL_MAX || at >= DNS_NAME_MAX - 1)
            return ERR_RANGE;
        wire[at++] = c;
    }
    if (at == len_at + 1) { /* nothing behind the last dot, or nothing at all */
        if (len_at == 0)
            return ERR_SYNTAX;
        wire[len_at] = 0;
        *n = at;
        return 0;
    }
    wire[len_at] = (uint8_t)(at - len_at - 1);
    wire[at++] = 0;
    *n = at;
    return 0;
}

/* wire is well-formed and without pointers */
static size_t wire_text(const uint8_t *wire, char out[TEXT_NAME_MAX])
{
    size_t n = 0;
    if (!wire[0])
        out[n++] = '.';
    for (const uint8_t *p = wire; *p; p += *p + 1) {
        if (n)
            out[n++] = '.';
        n += label_text(out + n, p + 1, *p);
    }
    return n;
}

int dns_name_fold(struct slice name, struct arena *a, struct slice *out)
{
    uint8_t wire[DNS_NAME_MAX];
    char text[TEXT_NAME_MAX];
    size_t n;
    int rc = dns_name_wire(name, wire, &n);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++) /* a length is below 'A' */
        wire[i] = (uint8_t)ascii_lower((char)wire[i]);
    *out = arena_copy(a, slice_of(text, wire_text(wire, text)));
    return 0;
}

bool dns_name_is_host(struct slice name)
{
    uint8_t wire[DNS_NAME_MAX];
    size_t n;
    if (dns_name_wire(name, wire, &n) || n == 1)
        return false;
    bool digits = false;
    for (const uint8_t *p = wire; *p; p += *p + 1) {
        digits = true;
        for (size_t i = 1; i <= *p; i++) {
            bool digit = p[i] >= '0' && p[i] <= '9',
                 letter = ascii_lower((char)p[i]) >= 'a' && ascii_lower((char)p[i]) <= 'z';
            if (!digit && !letter && p[i] != '-' && p[i] != '_')
                return false;
            digits = digits && digit;
        }
    }
    return !digits; /* no top-level domain is a number: this would be an address */
}

void dns_reverse_name(struct ip ip, struct buf *out)
{
    if (ip.family == 4) {
        buf_printf(out, "%d.%d.%d.%d.in-addr.arpa", ip.b[3], ip.b[2], ip.b[1], ip.b[0]);
        return;
    }
    for (int i = 15; i >= 0; i--)
        buf_printf(out, "%x.%x.", ip.b[i] & 15, ip.b[i] >> 4);
    buf_adds(out, S("ip6.arpa"));
}

/* --- reading --- */

struct reader {
    const uint8_t *p;
    size_t n, at;
    struct arena *arena;
    size_t expanded;
};

static int keep(struct reader *r, struct slice s, struct slice *out)
{
    r->expanded += s.n;
    if (r->expanded > EXPANDED_MAX)
        return ERR_LIMIT;
    *out = arena_copy(r->arena, s);
    return 0;
}

/* RFC 1035 4.1.4. Each pointer must point in front of the piece that holds it: that also ends every chain. */
static int read_name(struct reader *r, struct slice *out)
{
    char text[TEXT_NAME_MAX];
    size_t n = 0, at = r->at, piece = r->at, wire = 1;
    bool jumped = false;
    for (;;) {
        if (at >= r->n)
            return ERR_SYNTAX;
        uint8_t len = r->p[at];
        if ((len & 0xc0) == 0xc0) {
            if (r->n - at < 2)
                return ERR_SYNTAX;
            size_t to = get16(r->p + at) & 0x3fff;
            if (to >= piece || to < HEADER_BYTES)
                return ERR_SYNTAX;
            if (!jumped)
                r->at = at + 2;
            jumped = true;
            at = piece = to;
            continue;
        }
        if (len > LABEL_MAX)
            return ERR_SYNTAX;
        at++;
        if (!len)
            break;
        wire += len + 1u;
        if (r->n - at < len || wire > DNS_NAME_MAX)
            return ERR_SYNTAX;
        if (n)
            text[n++] = '.';
        n += label_text(text + n, r->p + at, len);
        at += len;
    }
    if (!jumped)
        r->at = at;
    if (!n)
        text[n++] = '.';
    return keep(r, slice_of(text, n), out);
}

/* RFC 2181 8 */
static uint32_t ttl_of(uint32_t v)
{
    return v > DNS_TTL_MAX_S ? 0 : v;
}

static int read_text(struct reader *r, size_t end, struct slice *out)
{
    struct buf b = {0};
    int rc = r->at == end ? ERR_SYNTAX : 0;
    while (!rc && r->at < end) {
        size_t len = r->p[r->at++];
        if (end - r->at < len)
            rc = ERR_SYNTAX;
        else
            buf_add(&b, r->p + r->at, len);
        r->at += len;
    }
    if (!rc)
        rc = keep(r, buf_slice(&b), out);
    buf_free(&b);
    return rc;
}

static int read_soa(struct reader *r, size_t end, struct dns_record *rec)
{
    int rc = read_name(r, &rec->target);
    if (!rc)
        rc = read_name(r, &rec->rname);
    if (rc)
        return rc;
    if (end < r->at || end - r->at != 20)
        return ERR_SYNTAX;
    const uint8_t *p = r->p + r->at;
    rec->serial = get32(p);
    rec->refresh_s = get32(p + 4);
    rec->retry_s = get32(p + 8);
    rec->expire_s = get32(p + 12);
    rec->minimum_s = ttl_of(get32(p + 16));
    r->at += 20;
    return 0;
}

static int read_rdata(struct reader *r, size_t len, struct dns_record *rec)
{
    const uint8_t *p = r->p + r->at;
    size_t end = r->at + len;
    int rc = 0;

    switch (rec->cls == DNS_IN ? rec->type : 0) {
    case DNS_A:
    case DNS_AAAA: {
        size_t want = rec->type == DNS_A ? 4 : 16;
        if (len != want)
            return ERR_SYNTAX;
        rec->ip.family = rec->type == DNS_A ? 4 : 6;
        memcpy(rec->ip.b, p, want);
        r->at = end;
        break;
    }
    case DNS_MX:
        if (len < 3)
            return ERR_SYNTAX;
        rec->pref = get16(p);
        r->at += 2;
        rc = read_name(r, &rec->target);
        break;
    case DNS_CNAME:
    case DNS_NS:
    case DNS_PTR:
        rc = read_name(r, &rec->target);
        break;
    case DNS_TXT:
        rc = read_text(r, end, &rec->text);
        break;
    case DNS_SOA:
        rc = read_soa(r, end, rec);
        break;
    default:
        rc = keep(r, slice_of(p, len), &rec->text);
        r->at = end;
    }
    return rc ? rc : r->at == end ? 0 : ERR_SYNTAX;
}

/* RFC 6891 6.1.3: the class is a size, the TTL is upper rcode bits, version and flags. */
static int take_opt(const struct dns_record *rec, uint32_t ttl, struct dns_message *m)
{
    if (m->edns || !slice_eq(rec->name, S(".")))
        return ERR_SYNTAX;
    m->edns = true;
    m->edns_bytes = rec->cls;
    m->edns_version = (uint8_t)(ttl >> 16);
    m->rcode = (uint16_t)(m->rcode | (ttl >> 24) << 4);
    return 0;
}

static int read_record(struct reader *r, enum dns_section section, struct dns_message *m)
{
    struct dns_record *rec = &m->v[m->n];
    memset(rec, 0, sizeof *rec);
    rec->section = section;
    rec->target = rec->text = rec->rname = SLICE_NONE;
    int rc = read_name(r, &rec->name);
    if (rc)
        return rc;
    if (r->n - r->at < 10)
        return ERR_SYNTAX;
    const uint8_t *p = r->p + r->at;
    rec->type = get16(p);
    rec->cls = get16(p + 2);
    uint32_t ttl = get32(p + 4);
    rec->ttl_s = ttl_of(ttl);
    size_t len = get16(p + 8);
    r->at += 10;
    if (r->n - r->at < len)
        return ERR_SYNTAX;
    if (rec->type == DNS_OPT && section == DNS_ADDITIONAL) {
        r->at += len;
        return take_opt(rec, ttl, m);
    }
    rc = read_rdata(r, len, rec);
    if (!rc)
        m->n++;
    return rc;
}

static int read_question(struct reader *r, struct dns_message *m)
{
    int rc = read_name(r, &m->qname);
    if (rc)
        return rc;
    if (r->n - r->at < 4)
        return ERR_SYNTAX;
    m->asks = true;
    m->qtype = get16(r->p + r->at);
    m->qclass = get16(r->p + r->at + 2);
    r->at += 4;
    return 0;
}

int dns_parse(struct slice bytes, struct arena *a, struct dns_message *out)
{
    struct reader r = {.p = (const uint8_t *)bytes.p, .n = bytes.n, .at = HEADER_BYTES, .arena = a};
    struct dns_message m = {.qname = SLICE_NONE};
    if (bytes.n < HEADER_BYTES)
        return ERR_SYNTAX;
    uint16_t flags = get16(r.p + 2), counts[3] = {get16(r.p + 6), get16(r.p + 8), get16(r.p + 10)};
    m.id = get16(r.p);
    m.response = flags & 0x8000;
    m.opcode = flags >> 11 & 15;
    m.authoritative = flags & 0x0400;
    m.truncated = flags & 0x0200;
    m.recursion_desired = flags & 0x0100;
    m.recursion_available = flags & 0x0080;
    m.authentic = flags & 0x0020;
    m.no_check = flags & 0x0010;
    m.rcode = flags & 15;
    if (get16(r.p + 4) > 1)
        return ERR_UNSUPPORTED;
    int rc = get16(r.p + 4) ? read_question(&r, &m) : 0;
    if (rc)
        return rc;
    /* A record is 11 bytes at least, so a header that promises more is found out before memory is taken. */
    size_t total = (size_t)counts[0] + counts[1] + counts[2];
    if (total > (r.n - r.at) / 11)
        return ERR_SYNTAX;
    m.v = arena_alloc(a, (total ? total : 1) * sizeof *m.v);
    for (int section = DNS_ANSWER; section <= DNS_ADDITIONAL; section++) {
        for (int i = 0; i < counts[section]; i++) {
            rc = read_record(&r, (enum dns_section)section, &m);
            if (rc)
                return rc;
        }
    }
    *out = m;
    return 0;
}

bool dns_negative_ttl(const struct dns_message *m, uint32_t *ttl_s)
{
    for (size_t i = 0; i < m->n; i++) {
        const struct dns_record *r = &m->v[i];
        if (r->section == DNS_AUTHORITY && r->type == DNS_SOA && r->cls == DNS_IN) {
            *ttl_s = r->ttl_s < r->minimum_s ? r->ttl_s : r->minimum_s;
            return true;
        }
    }
    return false;
}

/* --- writing --- */

struct writer {
    struct buf *out;
    size_t start; /* of the message in out */
    uint16_t suffix[SUFFIXES_MAX];
    size_t nsuffix;
};

/* Whether the name at offset at of the message, which we wrote, is the name in wire. */
static bool name_is(const struct writer *w, size_t at, const uint8_t *wire)
{
    const uint8_t *p = (const uint8_t *)w->out->p + w->start;
    for (;;) {
        while ((p[at] & 0xc0) == 0xc0)
            at = get16(p + at) & 0x3fff;
        if (p[at] != wire[0] || memcmp(p + at + 1, wire + 1, wire[0]) != 0)
            return false;
        if (!wire[0])
            return true;
        at += wire[0] + 1u;
        wire += wire[0] + 1;
    }
}

static int write_name(struct writer *w, struct slice name)
{
    uint8_t wire[DNS_NAME_MAX];
    size_t n, known = w->nsuffix; /* this name's own suffixes have no end yet */
    if (dns_name_wire(name, wire, &n))
        return ERR_SYNTAX;
    for (const uint8_t *p = wire; *p; p += *p + 1) {
        size_t here = w->out->n - w->start;
        for (size_t i = 0; i < known; i++) {
            if (name_is(w, w->suffix[i], p)) {
                add16(w->out, (uint16_t)(0xc000 | w->suffix[i]));
                return 0;
            }
        }
        buf_add(w->out, p, (size_t)*p + 1);
        if (w->nsuffix < SUFFIXES_MAX && here < 0x4000)
            w->suffix[w->nsuffix++] = (uint16_t)here;
    }
    buf_addc(w->out, 0);
    return 0;
}

static void write_text(struct writer *w, struct slice text)
{
    do {
        size_t n = text.n < 255 ? text.n : 255;
        buf_addc(w->out, (char)n);
        buf_add(w->out, text.p, n);
        text = slice_of(text.p + n, text.n - n);
    } while (text.n);
}

static int write_rdata(struct writer *w, const struct dns_record *r)
{
    int rc = 0;
    switch (r->cls == DNS_IN ? r->type : 0) {
    case DNS_A:
        buf_add(w->out, r->ip.b, 4);
        break;
    case DNS_AAAA:
        buf_add(w->out, r->ip.b, 16);
        break;
    case DNS_MX:
        add16(w->out, r->pref);
        rc = write_name(w, r->target);
        break;
    case DNS_CNAME:
    case DNS_NS:
    case DNS_PTR:
        rc = write_name(w, r->target);
        break;
    case DNS_TXT:
        write_text(w, r->text);
        break;
    case DNS_SOA:
        rc = write_name(w, r->target);
        if (!rc)
            rc = write_name(w, r->rname);
        add32(w->out, r->serial);
        add32(w->out, r->refresh_s);
        add32(w->out, r->retry_s);
        add32(w->out, r->expire_s);
        add32(w->out, r->minimum_s);
        break;
    default:
        buf_adds(w->out, r->text);
    }
    return rc;
}

static int write_record(struct writer *w, const struct dns_record *r)
{
    int rc = write_name(w, r->name);
    if (rc)
        return rc;
    add16(w->out, r->type);
    add16(w->out, r->cls);
    add32(w->out, r->ttl_s);
    size_t len_at = w->out->n;
    add16(w->out, 0);
    rc = write_rdata(w, r);
    size_t len = w->out->n - len_at - 2;
    if (!rc && len > 0xffff)
        rc = ERR_LIMIT;
    put16((uint8_t *)w->out->p + len_at, (uint16_t)len);
    return rc;
}

static int write_head(struct writer *w, const struct dns_message *m, bool truncated, const uint16_t counts[3])
{
    add16(w->out, m->id);
    add16(w->out, (uint16_t)(m->response << 15 | (m->opcode & 15) << 11 | m->authoritative << 10 |
                             truncated << 9 | m->recursion_desired << 8 | m->recursion_available << 7 |
                             m->authentic << 5 | m->no_check << 4 | (m->rcode & 15)));
    add16(w->out, m->asks);
    for (int i = 0; i < 3; i++)
        add16(w->out, counts[i]);
    if (!m->asks)
        return 0;
    int rc = write_name(w, m->qname);
    add16(w->out, m->qtype);
    add16(w->out, m->qclass);
    return rc;
}

static void write_opt(struct writer *w, const struct dns_message *m)
{
    if (!m->edns)
        return;
    buf_addc(w->out, 0);
    add16(w->out, DNS_OPT);
    add16(w->out, m->edns_bytes);
    add32(w->out, (uint32_t)(m->rcode >> 4 & 255) << 24 | (uint32_t)m->edns_version << 16);
    add16(w->out, 0);
}

int dns_encode(const struct dns_message *m, size_t max_bytes, struct buf *out)
{
    struct writer w = {.out = out, .start = out->n};
    uint16_t counts[3] = {0, 0, 0}, none[3] = {0, 0, m->edns};
    size_t opt_bytes = m->edns ? 11 : 0;
    bool fits = true;

    for (size_t i = 0; i < m->n; i++) {
        fits = fits && counts[m->v[i].section] < 0xfffe;
        counts[m->v[i].section]++;
    }
    counts[DNS_ADDITIONAL] = (uint16_t)(counts[DNS_ADDITIONAL] + m->edns);
    int rc = write_head(&w, m, m->truncated, counts);
    for (size_t i = 0; !rc && fits && i < m->n; i++) {
        rc = write_record(&w, &m->v[i]);
        fits = out->n - w.start + opt_bytes <= max_bytes;
    }
    if (!rc && !fits) {
        out->n = w.start;
        w.nsuffix = 0;
        rc = write_head(&w, m, true, none);
    }
    if (rc)
        out->n = w.start;
    else
        write_opt(&w, m);
    return rc;
}

const char *dns_type_name(uint16_t type, char spare[12])
{
    static const struct {
        uint16_t type;
        const char *name;
    } names[] = {{DNS_A, "A"},   {DNS_NS, "NS"},   {DNS_CNAME, "CNAME"}, {DNS_SOA, "SOA"}, {DNS_PTR, "PTR"},
                 {DNS_MX, "MX"}, {DNS_TXT, "TXT"}, {DNS_AAAA, "AAAA"},   {DNS_OPT, "OPT"}, {DNS_ANY, "ANY"}};
    for (size_t i = 0; i < COUNT(names); i++)
        if (names[i].type == type)
            return names[i].name;
    snprintf(spare, 12, "TYPE%u", type);
    return spare;
}
