/* lint.c - see lint.h: what the conf says by itself. Keys, people and addresses are lint_world.c's. */
#include "lint_impl.h"
#include "base/words.h"
#include "format/rule_file.h"
#include "format/text.h"

#include <stdio.h>

void lint_say(const struct lint *l, enum lint_level level, const struct conf_place *place, const char *fmt,
              ...)
{
    struct buf text = {0};
    struct conf_place nowhere = {SLICE_NONE, 0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    l->fn(l->data, &(struct lint_finding){level, place ? *place : nowhere, buf_slice(&text)});
    buf_free(&text);
}

/* --- senders --- */

static void lint_stream(const struct lint *l, const struct conf_stream *s)
{
    if (s->priority == CONF_BULK && !s->unsubscribe_url.n && !s->unsubscribe_mailto.n)
        lint_say(l, LINT_WARNING, &s->place,
                 "stream \"%.*s\" is bulk mail without `unsubscribe`: large receivers refuse such mail",
                 SLICE_FMT(s->name));
    else if (s->priority == CONF_BULK && s->unsubscribe_url.n && !s->one_click)
        lint_say(
            l, LINT_WARNING, &s->place,
            "stream \"%.*s\" has no one_click: large receivers want unsubscribing with one click (RFC 8058)",
            SLICE_FMT(s->name));
    if (!s->bounce.n)
        lint_say(l, LINT_WARNING, &s->place,
                 "stream \"%.*s\" has no `bounce` domain: bounces that come later go to the From address, "
                 "unread by "
                 "hato",
                 SLICE_FMT(s->name));
    if (!s->ndkim)
        lint_say(l, LINT_WARNING, &s->place, "stream \"%.*s\" is not signed: give it `dkim`",
                 SLICE_FMT(s->name));
    for (size_t i = 0; i < s->ndkim; i++)
        for (size_t j = 0; j < i; j++)
            if (slice_ieq(s->dkim[i].domain, s->dkim[j].domain) &&
                slice_ieq(s->dkim[i].selector, s->dkim[j].selector))
                lint_say(l, LINT_ERROR, &s->place,
                         "stream \"%.*s\": dkim[%zu] and dkim[%zu] are the same selector", SLICE_FMT(s->name),
                         j + 1, i + 1);
}

void lint_senders(const struct conf *c, lint_fn *fn, void *data)
{
    struct lint l = {.conf = c, .fn = fn, .data = data};
    for (size_t i = 0; i < c->nstreams; i++)
        lint_stream(&l, &c->streams[i]);
    for (size_t i = 0; i < c->nsources; i++)
        if (slice_find(c->sources[i].ehlo, S(".")) < 0)
            lint_say(&l, LINT_WARNING, &c->sources[i].place,
                     "the EHLO name \"%.*s\" of source %.*s has no dot: it sends to loopback only",
                     SLICE_FMT(c->sources[i].ehlo), SLICE_FMT(c->sources[i].name));
}

/* --- sources, isps --- */

static bool in_pool(const struct conf_pool *p, uint16_t source)
{
    for (size_t i = 0; i < p->nmembers; i++)
        if (p->members[i].source == source)
            return true;
    return false;
}

bool lint_stream_uses(const struct conf *c, const struct conf_stream *s, uint16_t source)
{
    return s->pool == CONF_NONE || in_pool(&c->pools[s->pool], source);
}

static void lint_sources(const struct lint *l)
{
    const struct conf *c = l->conf;
    for (size_t i = 0; i < c->nsources; i++) {
        bool used = false;
        for (size_t j = 0; j < c->nstreams; j++)
            used |= lint_stream_uses(c, &c->streams[j], (uint16_t)i);
        if (!used && c->nstreams)
            lint_say(l, LINT_WARNING, &c->sources[i].place,
                     "source \"%.*s\" is in no stream's pool: nothing leaves by it",
                     SLICE_FMT(c->sources[i].name));
        for (size_t j = 0; j < i; j++)
            if (c->sources[i].address.family && ip_eq(&c->sources[i].address, &c->sources[j].address))
                lint_say(l, LINT_WARNING, &c->sources[i].place,
                         "source \"%.*s\" has the address of \"%.*s\": receivers count both as one",
                         SLICE_FMT(c->sources[i].name), SLICE_FMT(c->sources[j].name));
    }
}

/* What a stream may use must fit what an isp allows, or its mail there waits until it expires. isp: NULL, for
 * those that no table names. */
static void lint_families(const struct lint *l, const struct conf_isp *isp)
{
    const struct conf *c = l->conf;
    for (size_t i = 0; i < c->nstreams; i++) {
        bool fits = false;
        for (size_t j = 0; j < c->nsources && !fits; j++)
            fits =
                lint_stream_uses(c, &c->streams[i], (uint16_t)j) && conf_family_fits(c, isp, &c->sources[j]);
        if (fits)
            continue;
        if (isp)
            lint_say(
                l, LINT_ERROR, &isp->place,
                "isp \"%.*s\" takes %s only, and stream \"%.*s\" has no such source: its mail never leaves",
                SLICE_FMT(isp->name), isp->family == CONF_FAMILY_6 ? "IPv6" : "IPv4",
                SLICE_FMT(c->streams[i].name));
        else
            lint_say(l, LINT_ERROR, &c->streams[i].place,
                     "stream \"%.*s\" has IPv6 sources only: it sends to isps with family = \"both\" or "
                     "\"ipv6\" alone",
                     SLICE_FMT(c->streams[i].name));
    }
}

/* A pattern decides for the name it is, or for one below it, unless another isp's is the same. */
static void lint_patterns(const struct lint *l, const struct conf_isp *isp, uint16_t at, bool of_mx)
{
    const struct conf *c = l->conf;
    const struct slice *v = of_mx ? isp->mx : isp->domains;
    size_t n = of_mx ? isp->nmx : isp->ndomains;
    for (size_t i = 0; i < n; i++) {
        struct slice name = slice_starts(v[i], S("*."))
                                ? slice_cstr(arena_printf(l->arena, "any.%.*s", (int)v[i].n - 2, v[i].p + 2))
                                : v[i];
        uint16_t found = of_mx ? conf_isp_match(c->isps, c->nisps, SLICE_NONE, &name, 1, NULL)
                               : conf_isp_match(c->isps, c->nisps, name, NULL, 0, NULL);
        if (found != at)
            lint_say(
                l, LINT_WARNING, &isp->place,
                "isp \"%.*s\": nothing can match \"%.*s\": isp \"%.*s\" has the same pattern and comes first",
                SLICE_FMT(isp->name), SLICE_FMT(v[i]), SLICE_FMT(c->isps[found].name));
        for (size_t j = 0; j < i; j++)
            if (slice_ieq(v[i], v[j]))
                lint_say(l, LINT_WARNING, &isp->place, "isp \"%.*s\": \"%.*s\" stands twice",
                         SLICE_FMT(isp->name), SLICE_FMT(v[i]));
    }
}

static void lint_isps(const struct lint *l)
{
    lint_families(l, NULL);
    for (size_t i = 0; i < l->conf->nisps; i++) {
        const struct conf_isp *isp = &l->conf->isps[i];
        if (isp->family != CONF_FAMILY_UNSET)
            lint_families(l, isp);
        if (isp->shipped)
            continue;
        lint_patterns(l, isp, (uint16_t)i, true);
        lint_patterns(l, isp, (uint16_t)i, false);
    }
}

/* --- limits --- */

static bool same_pace(const struct pace_rate *a, const struct pace_rate *b)
{
    return !a->quota ||
           (b->quota && (double)b->quota * (double)a->per_ms <= (double)a->quota * (double)b->per_ms);
}

/* Every permit of b is one of a's too, so a never makes anybody wait. */
static bool never_felt(const struct conf_limit *a, const struct conf_limit *b)
{
    return a->by == b->by && same_pace(&a->amounts.rate, &b->amounts.rate) &&
           same_pace(&a->amounts.recipients, &b->amounts.recipients) &&
           same_pace(&a->amounts.new_connections, &b->amounts.new_connections) &&
           (!a->connections || (b->connections && b->connections <= a->connections)) &&
           (!a->per_connection || (b->per_connection && b->per_connection <= a->per_connection));
}

static void lint_limits(const struct lint *l)
{
    const struct conf *c = l->conf;
    for (size_t i = 0; i < c->nlimits; i++)
        for (size_t j = 0; j < c->nlimits; j++)
            if (i != j && never_felt(&c->limits[i], &c->limits[j]) &&
                (i > j || !never_felt(&c->limits[j], &c->limits[i]))) {
                lint_say(l, LINT_WARNING, &c->limits[i].place,
                         "this limit is never felt: the one at %.*s:%d counts by the same and is as tight",
                         SLICE_FMT(c->limits[j].place.file), c->limits[j].place.line);
                break;
            }
}

/* --- rules --- */

static bool isp_is_known(const struct conf *c, struct slice name)
{
    for (size_t i = 0; i < c->nisps; i++)
        if (slice_eq(c->isps[i].name, name) || slice_eq(c->isps[i].provider, name))
            return true;
    return false;
}

static void lint_isp_name(const struct lint *l, const struct conf_place *place, struct slice rule,
                          struct slice name)
{
    struct slice names[256];
    size_t n = 0;
    if (!name.n || isp_is_known(l->conf, name))
        return;
    for (size_t i = 0; i < l->conf->nisps && n < COUNT(names); i++)
        names[n++] = l->conf->isps[i].name;
    struct slice near = words_near(name, names, n);
    lint_say(l, LINT_WARNING, place, "%.*s can never fire: no isp is called \"%.*s\"%s%.*s%s",
             SLICE_FMT(rule), SLICE_FMT(name), near.n ? "; did you mean \"" : "", SLICE_FMT(near),
             near.n ? "\"?" : "");
}

/* "init.lua:12 rule 3" → the place, and "rule 3". */
static struct slice rule_place(struct slice name, struct conf_place *place)
{
    struct slice rest, file = slice_cut(name, ' ', &rest), line;
    uint64_t n = 0;
    size_t colon = file.n;
    while (colon && file.p[colon - 1] != ':')
        colon--;
    line = slice_of(file.p + colon, file.n - colon);
    if (!colon || slice_u64(line, &n))
        return name;
    *place = (struct conf_place){slice_of(file.p, colon - 1), (int)n};
    return rest;
}

static void lint_rules(const struct lint *l)
{
    const struct conf *c = l->conf;
    for (size_t i = 0; i < c->nrules; i++) {
        struct conf_place place = {SLICE_NONE, 0}, before;
        struct slice name = rule_place(c->rules[i].name, &place);
        lint_isp_name(l, &place, name, c->rules[i].isp);
        for (size_t j = 0; j < i; j++)
            if (rule_covers(&c->rules[j], &c->rules[i])) {
                lint_say(l, LINT_WARNING, &place, "%.*s can never fire: %.*s takes all that it would match",
                         SLICE_FMT(name), SLICE_FMT(rule_place(c->rules[j].name, &before)));
                break;
            }
    }
}

/* Of the second pass, and about failures. */
static bool act_covers(const struct act_rule *a, const struct act_rule *b)
{
    if (!a->act.ignore && act_is_about_person(a->act.kind) != act_is_about_person(b->act.kind))
        return false;
    if (a->failures || b->failures)
        return b->failures && !(b->failures & ~a->failures) && (!a->isp.n || slice_eq(a->isp, b->isp));
    return (!a->classes || (b->classes && !(b->classes & ~a->classes))) &&
           (!a->kinds || (b->kinds && !(b->kinds & ~a->kinds)));
}

static void lint_acts(const struct lint *l)
{
    const struct acts *acts = &l->conf->acts;
    for (size_t i = 0; i < acts->nrules; i++) {
        struct conf_place place = {SLICE_NONE, 0}, before;
        struct slice name = rule_place(acts->rules[i].name, &place);
        lint_isp_name(l, &place, name, acts->rules[i].isp);
        for (size_t j = 0; j < i; j++)
            if (act_covers(&acts->rules[j], &acts->rules[i])) {
                lint_say(l, LINT_WARNING, &place,
                         "%.*s can never fire: %.*s is asked before it and knows all its classes",
                         SLICE_FMT(name), SLICE_FMT(rule_place(acts->rules[j].name, &before)));
                break;
            }
    }
}

/* --- time --- */

static void lint_retry(const struct lint *l)
{
    const struct conf *c = l->conf;
    const struct verdict_schedule *s = &c->retry;
    int64_t at = 0;
    char a[32], b[32];
    for (size_t i = 0; i < s->nretry; i++) {
        at += s->retry_ms[i];
        if (at <= s->give_up_ms)
            continue;
        lint_say(l, LINT_WARNING, NULL, "retry: the wait number %zu (%s) ends behind give_up (%s): %s", i + 1,
                 lint_duration(s->retry_ms[i], a), lint_duration(s->give_up_ms, b),
                 i ? "it and those after it are never used" : "nothing is ever tried again");
        break;
    }
    for (size_t i = 0; i < c->ncampaigns; i++) {
        const struct conf_campaign *k = &c->campaigns[i];
        if (k->expire_ms > 0 && k->expire_ms != INT64_MAX && k->expire_ms <= s->retry_ms[0])
            lint_say(l, LINT_WARNING, &k->place,
                     "campaign \"%.*s\" expires after %s, before the first retry (%s): what is put off once "
                     "is lost",
                     SLICE_FMT(k->name), lint_duration(k->expire_ms, a), lint_duration(s->retry_ms[0], b));
    }
}

static void lint_start(const struct lint *l)
{
    const struct conf *c = l->conf;
    char a[32];
    for (size_t i = 0; i < c->ncampaigns; i++) {
        const struct conf_campaign *k = &c->campaigns[i];
        if (k->at_ms && k->late_ms != INT64_MAX && l->now_ms - k->at_ms > k->late_ms)
            lint_say(
                l, LINT_WARNING, &k->place,
                "campaign \"%.*s\": its time is over by more than `late` (%s): it does not start any more",
                SLICE_FMT(k->name), lint_duration(k->late_ms, a));
    }
    if (!c->nstreams)
        lint_say(l, LINT_NOTE, NULL, "the script declares no stream: nothing can be sent");
}

void lint_conf(const struct lint *l)
{
    lint_senders(l->conf, l->fn, l->data);
    lint_sources(l);
    lint_isps(l);
    lint_limits(l);
    lint_rules(l);
    lint_acts(l);
    lint_retry(l);
    lint_start(l);
}
