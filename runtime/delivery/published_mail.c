/* published_mail.c - see published_impl.h: SPF, DMARC and alignment of a stream. */
#include "delivery/published_impl.h"
#include "format/dmarc.h"

/* --- SPF --- */

static bool stream_uses(const struct conf *c, const struct conf_stream *s, uint16_t source)
{
    if (s->pool == CONF_NONE)
        return true;
    const struct conf_pool *p = &c->pools[s->pool];
    for (size_t i = 0; i < p->nmembers; i++)
        if (p->members[i].source == source)
            return true;
    return false;
}

static void put_mechanism(struct buf *out, const struct ip *ip)
{
    char room[IP_TEXT];
    struct slice text = ip_text(ip, room);
    buf_printf(out, " ip%c:%.*s", ip->family == 6 ? '6' : '4', SLICE_FMT(text));
}

/* The record as it should be: what there is with this source in front, or one for all sources of the stream.
 */
static struct slice better_record(struct published_look *l, const struct conf_stream *s, struct slice domain,
                                  struct slice record, const struct ip *add)
{
    const struct conf *c = published_conf_of(l);
    struct buf out = {0};
    buf_printf(&out, "%.*s. IN TXT \"v=spf1", SLICE_FMT(domain));
    for (size_t i = 0; i < c->nsources; i++)
        if (add ? ip_eq(add, &c->sources[i].address)
                : c->sources[i].address.family && stream_uses(c, s, (uint16_t)i))
            put_mechanism(&out, &c->sources[i].address);
    if (record.n > 6)
        buf_adds(&out, slice_of(record.p + 6, record.n - 6));
    else
        buf_adds(&out, S(" -all"));
    buf_addc(&out, '"');
    struct slice text = arena_copy(published_arena(l), buf_slice(&out));
    buf_free(&out);
    return text;
}

static bool evaluate(struct published_look *l, const struct conf_source *source, struct slice domain,
                     bool whole, struct spf_out *out)
{
    struct spf_in in = {.ip = source ? source->address : ip_v4(192, 0, 2, 1),
                        .domain = domain,
                        .sender =
                            slice_cstr(arena_printf(published_arena(l), "bounce@%.*s", SLICE_FMT(domain))),
                        .helo = source ? source->ehlo : domain,
                        .whole = whole,
                        .lookup = facts_spf,
                        .data = published_facts(l)};
    return spf_check(&in, published_arena(l), out) == 0;
}

static void look_at_cost(struct published_look *l, struct published_about about, struct slice domain)
{
    struct spf_out whole;
    if (!evaluate(l, NULL, domain, true, &whole) || whole.result == SPF_TEMPERROR)
        return; /* the sources' own lines say so */
    if (whole.lookups > SPF_LOOKUPS_MAX)
        published_say(l, PUBLISHED_ERROR, about, domain,
                      "the SPF record of %.*s costs %u look-ups, and receivers stop after %d",
                      SLICE_FMT(domain), whole.lookups, SPF_LOOKUPS_MAX)
            ->publish = S("fewer include, a, mx, ptr and exists: put addresses (ip4:, ip6:) in their place");
    else if (whole.voids > SPF_VOIDS_MAX)
        published_say(l, PUBLISHED_ERROR, about, domain,
                      "%u look-ups of the SPF record of %.*s find nothing, and receivers stop after %d",
                      whole.voids, SLICE_FMT(domain), SPF_VOIDS_MAX)
            ->publish = S("take out what names no host any more");
    else
        published_say(l, PUBLISHED_OK, about, domain, "the SPF record of %.*s costs %u of %d look-ups",
                      SLICE_FMT(domain), whole.lookups, SPF_LOOKUPS_MAX);
}

static void look_at_spf_of(struct published_look *l, struct published_about about, struct slice domain)
{
    const struct conf *c = published_conf_of(l);
    const struct conf_stream *s = &c->streams[about.stream];
    const struct conf_source *source = &c->sources[about.source];
    struct spf_out found;
    char room[IP_TEXT];
    if (!evaluate(l, source, domain, false, &found))
        return;
    struct slice ip = ip_text(&source->address, room);
    const char *record = found.term.n ? " by " : "";
    switch (found.result) {
    case SPF_PASS: {
        bool anybody = slice_ieq(found.term, S("all")) || slice_ieq(found.term, S("+all"));
        struct published_line *line =
            published_say(l, anybody ? PUBLISHED_WARNING : PUBLISHED_OK, about, domain,
                          "%.*s may send for %.*s%s%.*s%s", SLICE_FMT(ip), SLICE_FMT(domain), record,
                          SLICE_FMT(found.term), anybody ? ", and so may everybody" : "");
        if (anybody)
            line->publish = better_record(l, s, domain, SLICE_NONE, NULL);
        return;
    }
    case SPF_TEMPERROR:
        published_say(l, PUBLISHED_UNKNOWN, about, domain, "SPF of %.*s cannot be evaluated now: %s",
                      SLICE_FMT(domain), found.why);
        return;
    case SPF_NONE:
        published_say(l, PUBLISHED_ERROR, about, domain, "%s", found.why)->publish =
            better_record(l, s, domain, SLICE_NONE, NULL);
        return;
    case SPF_PERMERROR:
        published_say(l, PUBLISHED_ERROR, about, domain, "the SPF record of %.*s is an error: %s",
                      SLICE_FMT(domain), found.why)
            ->publish = S("a record without that mistake");
        return;
    case SPF_NEUTRAL:
    case SPF_FAIL:
    case SPF_SOFTFAIL:
        break;
    }
    published_say(l, PUBLISHED_ERROR, about, domain, "%.*s may not send for %.*s: %s%s%.*s", SLICE_FMT(ip),
                  SLICE_FMT(domain), spf_result_name(found.result), record, SLICE_FMT(found.term))
        ->publish = better_record(l, s, domain, found.record, &source->address);
}

void published_look_at_spf(struct published_look *l, uint16_t stream, struct slice domain)
{
    const struct conf *c = published_conf_of(l);
    const struct conf_stream *s = &c->streams[stream];
    struct published_about about = {"spf", CONF_NONE, stream};
    const struct fact *txt = published_fact(l, DNS_TXT, domain);
    bool has_record = false, any = false;
    for (size_t i = 0; txt->status == SPF_DNS_OK && i < txt->a.n; i++)
        has_record |= spf_is_record(txt->a.v[i]);
    for (size_t i = 0; i < c->nsources; i++)
        if (c->sources[i].address.family && stream_uses(c, s, (uint16_t)i)) {
            any = true;
            look_at_spf_of(l, (struct published_about){"spf", (uint16_t)i, stream}, domain);
        }
    if (has_record)
        look_at_cost(l, about, domain);
    else if (!any && txt->status == SPF_DNS_VOID)
        published_say(l, PUBLISHED_ERROR, about, domain, "%.*s has no SPF record", SLICE_FMT(domain))
            ->publish = slice_cstr(
            arena_printf(published_arena(l), "%.*s. IN TXT \"v=spf1 ip4:ADDRESS -all\"", SLICE_FMT(domain)));
}

/* --- DMARC --- */

struct walk {
    struct slice names[DMARC_WALK_MAX];
    struct dmarc_seen seen[DMARC_WALK_MAX];
    size_t n;
    struct slice org;
    const struct fact *failed;
    struct slice failed_name;
};

static struct walk walk_of(struct published_look *l, struct slice domain)
{
    struct walk w = {.failed_name = SLICE_NONE};
    bool found = false;
    w.n = dmarc_walk(domain, w.names);
    for (size_t i = 0; i < w.n; i++) {
        struct slice name =
            slice_cstr(arena_printf(published_arena(l), "_dmarc.%.*s", SLICE_FMT(w.names[i])));
        const struct fact *txt = published_fact(l, DNS_TXT, name);
        dmarc_pick(txt->a.v, txt->status == SPF_DNS_OK ? txt->a.n : 0, &w.seen[i]);
        found |= w.seen[i].found;
        /* Silence above a record changes next to nothing, and a top level that speaks is rare. */
        if (txt->status == SPF_DNS_FAILED && !found && slice_find(w.names[i], S(".")) >= 0) {
            w.failed = txt;
            w.failed_name = name;
        }
    }
    w.org = dmarc_org(domain, w.names, w.seen, w.n);
    return w;
}

/* Reports to another organization are sent only where that says so (RFC 9990 4). */
static void look_at_reports(struct published_look *l, struct published_about about, struct slice owner,
                            struct slice owner_org, struct slice uris)
{
    while (uris.n) {
        struct slice uri = slice_trim(slice_cut(uris, ',', &uris)), to, extra;
        slice_cut(uri, '@', &to);
        to = slice_cut(to, '!', &extra);
        if (!slice_istarts(uri, S("mailto:")) || !to.n)
            continue;
        struct walk w = walk_of(l, to);
        if (slice_ieq(w.org, owner_org))
            continue;
        struct slice name = slice_cstr(
            arena_printf(published_arena(l), "%.*s._report._dmarc.%.*s", SLICE_FMT(owner), SLICE_FMT(to)));
        const struct fact *txt = published_fact(l, DNS_TXT, name);
        bool allowed = false;
        for (size_t i = 0; txt->status == SPF_DNS_OK && i < txt->a.n; i++)
            allowed |= dmarc_is_record(txt->a.v[i]);
        if (!allowed && txt->status != SPF_DNS_FAILED)
            published_say(l, PUBLISHED_WARNING, about, name,
                          "reports of %.*s would go to %.*s, which does not say that it takes them",
                          SLICE_FMT(owner), SLICE_FMT(to))
                ->publish =
                slice_cstr(arena_printf(published_arena(l), "%.*s. IN TXT \"v=DMARC1\"", SLICE_FMT(name)));
    }
}

static void look_at_policy(struct published_look *l, struct published_about about, struct slice domain,
                           const struct walk *w)
{
    enum dmarc_word word = DMARC_ABSENT;
    size_t at = dmarc_policy(domain, w->names, w->seen, w->n, &word);
    for (size_t i = 0; i < w->n; i++)
        if (w->seen[i].several)
            published_say(l, PUBLISHED_ERROR, about, w->names[i],
                          "_dmarc.%.*s has more than one record; then none counts", SLICE_FMT(w->names[i]))
                ->publish = S("one record alone");
    if (at == w->n) {
        published_say(l, PUBLISHED_ERROR, about, domain,
                      "%.*s has no DMARC record; large receivers want one of everybody who sends in bulk",
                      SLICE_FMT(domain))
            ->publish = slice_cstr(arena_printf(
            published_arena(l), "_dmarc.%.*s. IN TXT \"v=DMARC1; p=none; rua=mailto:dmarc@%.*s\"",
            SLICE_FMT(domain), SLICE_FMT(domain)));
        return;
    }
    const struct dmarc_record *r = &w->seen[at].record;
    struct slice owner = w->names[at];
    if (r->wrong.n)
        published_say(l, PUBLISHED_WARNING, about, owner,
                      "the DMARC record of %.*s has \"%.*s\", which counts for nothing", SLICE_FMT(owner),
                      SLICE_FMT(r->wrong))
            ->publish =
            slice_cstr(arena_printf(published_arena(l), "_dmarc.%.*s without it", SLICE_FMT(owner)));
    published_say(l, r->rua.n ? PUBLISHED_OK : PUBLISHED_NOTE, about, owner,
                  "the record of %.*s asks for %s%s%s", SLICE_FMT(owner), dmarc_word_name(word),
                  r->test ? ", as a test" : "", r->rua.n ? "" : "; without rua= nobody reports to you");
    look_at_reports(l, about, owner, w->org, r->rua);
}

static void look_at_alignment(struct published_look *l, uint16_t stream, struct slice bounce,
                              const struct walk *w)
{
    struct published_about about = {"alignment", CONF_NONE, stream};
    const struct conf_stream *s = &published_conf_of(l)->streams[stream];
    enum dmarc_word word;
    size_t at = dmarc_policy(s->domain, w->names, w->seen, w->n, &word);
    bool strict_dkim = at < w->n && w->seen[at].record.strict_dkim;
    bool strict_spf = at < w->n && w->seen[at].record.strict_spf;
    struct slice by = SLICE_NONE;
    for (size_t i = 0; i < s->ndkim && !by.n; i++) {
        struct walk d = walk_of(l, s->dkim[i].domain);
        if (dmarc_aligned(strict_dkim, s->domain, w->org, s->dkim[i].domain, d.org))
            by = s->dkim[i].domain;
    }
    struct walk b = walk_of(l, bounce);
    bool by_spf = dmarc_aligned(strict_spf, s->domain, w->org, bounce, b.org);
    if (by.n)
        published_say(l, PUBLISHED_OK, about, s->domain, "%.*s agrees with the signature of %.*s%s%.*s",
                      SLICE_FMT(s->domain), SLICE_FMT(by), by_spf ? " and the return path of " : "",
                      SLICE_FMT(by_spf ? bounce : SLICE_NONE));
    else if (by_spf)
        published_say(
            l, PUBLISHED_WARNING, about, s->domain,
            "%.*s agrees with the return path of %.*s, but with no signature: forwarded mail fails DMARC",
            SLICE_FMT(s->domain), SLICE_FMT(bounce))
            ->publish = slice_cstr(
            arena_printf(published_arena(l), "a key of %.*s, in `dkim` too", SLICE_FMT(s->domain)));
    else
        published_say(
            l, PUBLISHED_ERROR, about, s->domain,
            "%.*s agrees with no signature and not with the return path of %.*s%s: its mail fails DMARC",
            SLICE_FMT(s->domain), SLICE_FMT(bounce), strict_dkim || strict_spf ? " (strict alignment)" : "")
            ->publish = slice_cstr(
            arena_printf(published_arena(l), "a key of %.*s, in `dkim` too", SLICE_FMT(s->domain)));
}

void published_look_at_dmarc(struct published_look *l, uint16_t stream, struct slice bounce)
{
    struct published_about about = {"dmarc", CONF_NONE, stream};
    struct slice domain = published_conf_of(l)->streams[stream].domain;
    struct walk w = walk_of(l, domain);
    if (w.failed) {
        published_unknown(l, about, w.failed_name, w.failed);
        return;
    }
    look_at_policy(l, about, domain, &w);
    look_at_alignment(l, stream, bounce, &w);
}
