/* published.c - see published.h. The look is one function from answers to lines: it is run again, from the
 * start, whenever answers have come that it had to wait for. */
#include "delivery/published_impl.h"
#include "delivery/facts.h"
#include "format/dkim.h"
#include "format/dkim_published.h"

#include <stdlib.h>

struct published_look {
    struct published_conf conf;
    published_done_fn *done;
    void *data;
    struct facts *facts;
    struct loop_task task;
    struct arena arena;
    struct published_line *lines;
    size_t nlines, cap;
    bool over;
};

const char *published_level_name(enum published_level l)
{
    static const char *const names[] = {"ok", "note", "warning", "error", "unknown"};
    return (unsigned)l < COUNT(names) ? names[l] : "?";
}

struct published_line *published_say(struct published_look *l, enum published_level level,
                                     struct published_about about, struct slice name, const char *fmt, ...)
{
    va_list ap;
    struct buf text = {0};
    if (l->nlines == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 32;
        l->lines = mem_realloc(l->lines, l->cap * sizeof *l->lines);
    }
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    struct published_line *line = &l->lines[l->nlines++];
    *line = (struct published_line){.level = level,
                                    .what = about.what,
                                    .source = about.source,
                                    .stream = about.stream,
                                    .name = arena_copy(&l->arena, name),
                                    .text = arena_copy(&l->arena, buf_slice(&text)),
                                    .publish = SLICE_NONE};
    buf_free(&text);
    return line;
}

const struct fact *published_fact(struct published_look *l, enum dns_type type, struct slice name)
{
    return facts_get(l->facts, type, name);
}

struct facts *published_facts(struct published_look *l)
{
    return l->facts;
}

struct arena *published_arena(struct published_look *l)
{
    return &l->arena;
}

const struct conf *published_conf_of(const struct published_look *l)
{
    return l->conf.conf;
}

void published_unknown(struct published_look *l, struct published_about about, struct slice name,
                       const struct fact *f)
{
    published_say(l, PUBLISHED_UNKNOWN, about, name, "DNS gives no answer for %.*s now (%s)", SLICE_FMT(name),
                  resolve_status_name(f->why));
}

/* --- sources --- */

static bool has_address(struct published_look *l, struct slice name, const struct ip *ip,
                        const struct fact **out)
{
    const struct fact *f = published_fact(l, ip->family == 6 ? DNS_AAAA : DNS_A, name);
    *out = f;
    for (size_t i = 0; f->status == SPF_DNS_OK && i < f->a.n; i++)
        if (ip_eq(&f->a.ips[i], ip))
            return true;
    return false;
}

static struct slice address_record(struct published_look *l, struct slice name, struct slice ip, bool v6)
{
    return slice_cstr(
        arena_printf(&l->arena, "%.*s. IN %s %.*s", SLICE_FMT(name), v6 ? "AAAA" : "A", SLICE_FMT(ip)));
}

static void look_at_ptr(struct published_look *l, uint16_t index, const struct conf_source *s,
                        struct slice ip)
{
    struct published_about about = {"ptr", index, CONF_NONE};
    const struct fact *names = published_fact(l, DNS_PTR, ip), *back = NULL, *unknown = NULL;
    struct buf reverse = {0};
    dns_reverse_name(s->address, &reverse);
    struct slice ptr = arena_copy(&l->arena, buf_slice(&reverse));
    buf_free(&reverse);
    if (names->status == SPF_DNS_FAILED) {
        published_unknown(l, about, ptr, names);
        return;
    }
    if (names->status != SPF_DNS_OK) {
        published_say(l, PUBLISHED_ERROR, about, ptr,
                      "%.*s has no PTR record; large receivers refuse such a source", SLICE_FMT(ip))
            ->publish =
            slice_cstr(arena_printf(&l->arena, "%.*s. IN PTR %.*s.", SLICE_FMT(ptr), SLICE_FMT(s->ehlo)));
        return;
    }
    struct slice proven = SLICE_NONE;
    for (size_t i = 0; i < names->a.n && i < SPF_HOSTS_MAX; i++) {
        if (has_address(l, names->a.v[i], &s->address, &back)) {
            bool is_ehlo = slice_ieq(names->a.v[i], s->ehlo);
            if (!proven.n || is_ehlo)
                proven = names->a.v[i];
        } else if (back->status == SPF_DNS_FAILED) {
            unknown = back;
        }
    }
    if (proven.n) {
        bool same = slice_ieq(proven, s->ehlo);
        published_say(l, same ? PUBLISHED_OK : PUBLISHED_NOTE, about, ptr,
                      "%.*s is %.*s, which leads back%s%.*s", SLICE_FMT(ip), SLICE_FMT(proven),
                      same ? "" : "; its EHLO name is another: ", SLICE_FMT(same ? SLICE_NONE : s->ehlo));
        return;
    }
    if (unknown) {
        published_unknown(l, about, names->a.v[0], unknown);
        return;
    }
    published_say(l, PUBLISHED_ERROR, about, ptr,
                  "%.*s is called %.*s, but that name does not lead back to it", SLICE_FMT(ip),
                  SLICE_FMT(names->a.v[0]))
        ->publish = address_record(l, names->a.v[0], ip, s->address.family == 6);
}

static void look_at_ehlo(struct published_look *l, uint16_t index, const struct conf_source *s,
                         struct slice ip)
{
    struct published_about about = {"ehlo", index, CONF_NONE};
    const struct fact *back;
    if (slice_find(s->ehlo, S(".")) < 0) {
        published_say(l, PUBLISHED_ERROR, about, s->ehlo,
                      "the EHLO name \"%.*s\" has no dot: such a source sends to loopback only",
                      SLICE_FMT(s->ehlo));
        return;
    }
    if (has_address(l, s->ehlo, &s->address, &back)) {
        published_say(l, PUBLISHED_OK, about, s->ehlo, "%.*s is %.*s", SLICE_FMT(s->ehlo), SLICE_FMT(ip));
        return;
    }
    if (back->status == SPF_DNS_FAILED) {
        published_unknown(l, about, s->ehlo, back);
        return;
    }
    published_say(l, PUBLISHED_ERROR, about, s->ehlo, "the EHLO name %.*s %s", SLICE_FMT(s->ehlo),
                  back->status == SPF_DNS_OK ? "has other addresses than this source" : "has no address")
        ->publish = address_record(l, s->ehlo, ip, s->address.family == 6);
}

static void look_at_source(struct published_look *l, uint16_t index)
{
    const struct conf_source *s = &l->conf.conf->sources[index];
    char room[IP_TEXT];
    if (!s->address.family) {
        published_say(
            l, PUBLISHED_NOTE, (struct published_about){"ptr", index, CONF_NONE}, s->ehlo,
            "no source is declared, so its address is not known here: PTR and SPF are not looked at");
        return;
    }
    struct slice ip = arena_copy(&l->arena, ip_text(&s->address, room));
    look_at_ptr(l, index, s, ip);
    look_at_ehlo(l, index, s, ip);
}

/* --- a stream's domains --- */

static void look_at_domain(struct published_look *l, const char *what, uint16_t stream, struct slice domain)
{
    struct published_about about = {what, CONF_NONE, stream};
    const struct fact *mx = published_fact(l, DNS_MX, domain);
    bool bounce = what[0] == 'b';
    if (mx->status == SPF_DNS_WAIT)
        return;
    if (mx->status == SPF_DNS_FAILED) {
        published_unknown(l, about, domain, mx);
        return;
    }
    if (mx->null_mx) {
        published_say(l, bounce ? PUBLISHED_ERROR : PUBLISHED_WARNING, about, domain,
                      "%.*s says that it takes no mail (null MX): %s", SLICE_FMT(domain),
                      bounce ? "bounces cannot come back, and receivers refuse such a sender"
                             : "nobody can answer, and some receivers refuse such a sender");
    } else if (mx->status == SPF_DNS_OK) {
        published_say(l, PUBLISHED_OK, about, domain, "%.*s takes mail at %.*s%s", SLICE_FMT(domain),
                      SLICE_FMT(mx->a.v[0]), mx->a.n > 1 ? " and others" : "");
        return;
    } else if (mx->implicit) {
        published_say(l, PUBLISHED_OK, about, domain, "%.*s has no MX but an address, where its mail goes",
                      SLICE_FMT(domain));
        return;
    } else {
        const struct fact *soa = published_fact(l, DNS_SOA, domain);
        bool exists = soa->status == SPF_DNS_OK;
        published_say(l, exists && !bounce ? PUBLISHED_WARNING : PUBLISHED_ERROR, about, domain,
                      exists ? "%.*s exists, but has neither MX nor address: mail to it has nowhere to go"
                             : "%.*s has neither MX, address nor SOA: receivers refuse a sender whose domain "
                               "does not exist",
                      SLICE_FMT(domain));
    }
    l->lines[l->nlines - 1].publish =
        slice_cstr(arena_printf(&l->arena, "%.*s. IN MX 10 HOST. (the host that takes %s)", SLICE_FMT(domain),
                                bounce ? "bounces" : "its mail"));
}

static void look_at_sts(struct published_look *l, uint16_t stream, struct slice domain)
{
    struct published_about about = {"mta-sts", CONF_NONE, stream};
    struct slice name = slice_cstr(arena_printf(&l->arena, "_mta-sts.%.*s", SLICE_FMT(domain)));
    struct slice host = slice_cstr(arena_printf(&l->arena, "mta-sts.%.*s", SLICE_FMT(domain)));
    const struct fact *txt = published_fact(l, DNS_TXT, name), *a = NULL;
    size_t n = 0, at = 0;
    for (size_t i = 0; txt->status == SPF_DNS_OK && i < txt->a.n; i++)
        if (slice_starts(txt->a.v[i], S("v=STSv1"))) {
            n++;
            at = i;
        }
    if (txt->status == SPF_DNS_FAILED) {
        published_unknown(l, about, name, txt);
        return;
    }
    if (!n) {
        published_say(l, PUBLISHED_OK, about, name,
                      "%.*s has no MTA-STS policy, which only those who send to it would look at",
                      SLICE_FMT(domain));
        return;
    }
    a = published_fact(l, DNS_A, host);
    if (a->status != SPF_DNS_OK)
        a = published_fact(l, DNS_AAAA, host);
    ptrdiff_t id = slice_find(txt->a.v[at], S("id="));
    if (n > 1 || id < 0) {
        published_say(l, PUBLISHED_ERROR, about, name,
                      n > 1 ? "%.*s stands %zu times; then none counts"
                            : "%.*s has no id=: receivers cannot tell a new policy",
                      SLICE_FMT(name), n)
            ->publish =
            slice_cstr(arena_printf(&l->arena, "%.*s. IN TXT \"v=STSv1; id=1\"", SLICE_FMT(name)));
    } else if (a->status == SPF_DNS_FAILED) {
        published_unknown(l, about, host, a);
    } else if (a->status != SPF_DNS_OK) {
        published_say(l, PUBLISHED_ERROR, about, name,
                      "%.*s is there, but %.*s, where its policy would be read, has no address",
                      SLICE_FMT(name), SLICE_FMT(host))
            ->publish = slice_cstr(
            arena_printf(&l->arena, "%.*s. IN A ADDRESS (a web server with the policy)", SLICE_FMT(host)));
    } else {
        published_say(l, PUBLISHED_OK, about, name, "%.*s has a policy at %.*s", SLICE_FMT(domain),
                      SLICE_FMT(host));
    }
}

/* --- keys --- */

static void look_at_key(struct published_look *l, uint16_t stream, const struct conf_dkim *d)
{
    struct published_about about = {"dkim", CONF_NONE, stream};
    struct slice name = slice_cstr(
        arena_printf(&l->arena, "%.*s._domainkey.%.*s", SLICE_FMT(d->selector), SLICE_FMT(d->domain)));
    struct dkim_key *key = NULL;
    struct dkim_look found = {.is = DKIM_PUBLISHED_NO_KEY};
    struct err e;
    size_t records = 0;
    int r = dkim_key_load(d->key_pem, &key, &e);
    INVARIANT(!r); /* a script whose keys cannot be read does not load */
    const struct fact *txt = published_fact(l, DNS_TXT, name);
    for (size_t i = 0; txt->status == SPF_DNS_OK && i < txt->a.n; i++) {
        struct dkim_look look = dkim_published_look(txt->a.v[i], key);
        if (look.is == DKIM_PUBLISHED_NO_KEY)
            continue;
        if (!records++)
            found = look;
    }
    struct published_line *line = NULL;
    if (txt->status == SPF_DNS_FAILED)
        published_unknown(l, about, name, txt);
    else if (records > 1)
        line = published_say(l, PUBLISHED_ERROR, about, name,
                             "%.*s has %zu key records; receivers may take any", SLICE_FMT(name), records);
    else if (found.is == DKIM_PUBLISHED_NO_KEY)
        line = published_say(l, PUBLISHED_ERROR, about, name,
                             "%.*s has no key, so no signature with %.*s can be verified", SLICE_FMT(name),
                             SLICE_FMT(d->key_path));
    else if (found.is == DKIM_PUBLISHED_REVOKED)
        line = published_say(l, PUBLISHED_ERROR, about, name,
                             "%.*s says that this key is revoked (p= is empty)", SLICE_FMT(name));
    else if (found.is == DKIM_PUBLISHED_OTHER)
        line = published_say(l, PUBLISHED_ERROR, about, name, "%.*s is not the key in %.*s", SLICE_FMT(name),
                             SLICE_FMT(d->key_path));
    else if (found.is == DKIM_PUBLISHED_UNFIT)
        line = published_say(l, PUBLISHED_ERROR, about, name, "%.*s forbids SHA-256 or e-mail (h= or s=)",
                             SLICE_FMT(name));
    else if (found.testing)
        line = published_say(l, PUBLISHED_WARNING, about, name,
                             "%.*s is the key, but t=y says that it is a test: signatures count for nothing",
                             SLICE_FMT(name));
    else if (key->weak)
        published_say(l, PUBLISHED_WARNING, about, name,
                      "%.*s is the key, of %d bits; 2048 are wanted (RFC 8301)", SLICE_FMT(name), key->bits);
    else
        published_say(l, PUBLISHED_OK, about, name, "%.*s is the key in %.*s", SLICE_FMT(name),
                      SLICE_FMT(d->key_path));
    if (line) {
        struct buf record = {0}, quoted = {0};
        if (!dkim_record(key, &record))
            dkim_record_quoted(buf_slice(&record), &quoted);
        line->publish = slice_cstr(
            arena_printf(&l->arena, "%.*s. IN TXT %.*s", SLICE_FMT(name), SLICE_FMT(buf_slice(&quoted))));
        buf_free(&record);
        buf_free(&quoted);
    }
    dkim_key_free(key);
}

static void look_at_stream(struct published_look *l, uint16_t index)
{
    const struct conf_stream *s = &l->conf.conf->streams[index];
    struct slice bounce = s->bounce.n ? s->bounce : s->domain;
    if (!l->conf.keys_only) {
        look_at_domain(l, "from", index, s->domain);
        look_at_domain(l, "bounce", index, bounce);
        published_look_at_spf(l, index, bounce);
    }
    for (size_t i = 0; i < s->ndkim; i++)
        look_at_key(l, index, &s->dkim[i]);
    if (l->conf.keys_only)
        return;
    if (!s->ndkim)
        published_say(l, PUBLISHED_ERROR, (struct published_about){"dkim", CONF_NONE, index}, s->domain,
                      "the stream is not signed: give it `dkim`; hato keygen makes a key");
    published_look_at_dmarc(l, index, bounce);
    look_at_sts(l, index, bounce);
}

/* --- the look --- */

static void look(struct published_look *l)
{
    const struct conf *c = l->conf.conf;
    l->nlines = 0;
    for (size_t i = 0; i < c->nsources && !l->conf.keys_only; i++)
        look_at_source(l, (uint16_t)i);
    for (size_t i = 0; i < c->nstreams; i++)
        look_at_stream(l, (uint16_t)i);
    if (facts_waiting(l->facts))
        return;
    l->over = true;
    l->done(l->data, l->lines, l->nlines); /* may free l */
}

static void on_known(void *data)
{
    struct published_look *l = data;
    if (!l->over && !facts_waiting(l->facts))
        look(l);
}

static void on_task(struct loop_task *t)
{
    look(CONTAINER(t, struct published_look, task));
}

struct published_look *published_start(const struct published_conf *conf, published_done_fn *done, void *data)
{
    struct published_look *l = mem_zalloc(sizeof *l);
    *l = (struct published_look){.conf = *conf, .done = done, .data = data};
    l->facts = facts_new(conf->loop, conf->resolve, on_known, l);
    loop_post(conf->loop, &l->task, on_task);
    return l;
}

void published_stop(struct published_look *l)
{
    if (!l)
        return;
    loop_task_cancel(l->conf.loop, &l->task);
    facts_free(l->facts);
    arena_free(&l->arena);
    free(l->lines);
    free(l);
}
