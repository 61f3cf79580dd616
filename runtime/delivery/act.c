/* act.c - see act.h. */
#include "delivery/act.h"
#include "base/words.h"

enum { MINUTE_MS = 60000, HOUR_MS = 3600000 };
static const int64_t DAY_MS = 24 * (int64_t)HOUR_MS;

static const char *const kinds[ACT_KINDS] = {[ACT_NONE] = "none",
                                             [ACT_SLOW] = "slow",
                                             [ACT_FEWER] = "fewer",
                                             [ACT_SUSPEND] = "suspend",
                                             [ACT_DEFER] = "defer",
                                             [ACT_RECONNECT] = "reconnect",
                                             [ACT_NEXT_SOURCE] = "next_source",
                                             [ACT_PAUSE] = "pause",
                                             [ACT_SUPPRESS] = "suppress",
                                             [ACT_QUARANTINE] = "quarantine"};
static const char *const scopes[ACT_SCOPES] = {"path", "site", "source", "stream", "campaign", "one stream"};

const char *act_kind_name(enum act_kind k)
{
    return (unsigned)k < ACT_KINDS ? kinds[k] : "?";
}

const char *act_scope_name(enum act_scope s)
{
    return (unsigned)s < ACT_SCOPES ? scopes[s] : "?";
}

struct act act_default(enum act_kind k)
{
    struct act a = {.kind = k, .factor_ppm = ACT_WHOLE, .scope = ACT_PATH};
    switch (k) {
    case ACT_SLOW:
    case ACT_FEWER:
        a.factor_ppm = ACT_WHOLE / 2;
        a.for_ms = 30 * MINUTE_MS;
        a.recover_ms = HOUR_MS;
        break;
    case ACT_SUSPEND:
        a.for_ms = HOUR_MS;
        a.recover_ms = 30 * MINUTE_MS;
        break;
    case ACT_NEXT_SOURCE:
        a.for_ms = 15 * MINUTE_MS;
        break;
    case ACT_DEFER:
        a.for_ms = 30 * MINUTE_MS;
        break;
    case ACT_PAUSE:
        a.for_ms = DAY_MS;
        a.recover_ms = HOUR_MS;
        a.scope = ACT_STREAM;
        a.alert = true;
        break;
    case ACT_SUPPRESS:
    case ACT_QUARANTINE:
        a.for_ms = ACT_FOREVER;
        break;
    case ACT_NONE:
    case ACT_RECONNECT:
    case ACT_KINDS:
        break;
    }
    return a;
}

void act_text(struct buf *out, const struct act *a)
{
    buf_adds(out, a->ignore ? S("ignore") : slice_cstr(act_kind_name(a->kind)));
    if (a->kind == ACT_SLOW || a->kind == ACT_FEWER)
        buf_printf(out, " to %u %%", (a->factor_ppm + 5000) / 10000);
    if (a->for_ms > 0) {
        buf_adds(out, S(" for "));
        words_duration_text(out, a->for_ms);
    }
}

static bool holds(struct slice text, struct slice part)
{
    for (; text.n >= part.n; text = slice_of(text.p + 1, text.n - 1))
        if (slice_istarts(text, part))
            return true;
    return false;
}

static bool fits(const struct act_rule *r, const struct acts_in *in)
{
    if (r->isp.n && !slice_eq(r->isp, in->isp) && !slice_eq(r->isp, in->provider))
        return false;
    if (r->failures && !(r->failures & in->failure))
        return false;
    if (r->of.n && !slice_eq(r->of, slice_cstr(in->name)))
        return false;
    if (r->has.n && !holds(in->text, r->has))
        return false;
    return (!r->classes || r->classes & 1ull << in->cls) && (!r->kinds || r->kinds & 1u << in->kind);
}

static void take(const struct act_rule *r, struct acts_found *out)
{
    bool person = act_is_about_person(r->act.kind);
    if (!act_is_given(&r->act))
        return;
    if ((person || r->act.ignore) && !out->person)
        out->person = r;
    if (!person && !out->path)
        out->path = r;
}

void acts_find(const struct acts *acts, const struct acts_in *in, struct acts_found *out)
{
    *out = (struct acts_found){0};
    if (!acts)
        return;
    if (in->rule >= 0 && (size_t)in->rule < acts->nof_rules)
        take(&acts->of_rules[in->rule], out);
    for (size_t i = 0; i < acts->nrules && !(out->path && out->person); i++)
        if (fits(&acts->rules[i], in))
            take(&acts->rules[i], out);
    for (size_t i = 0; i < acts->nshipped && !out->path; i++)
        if (fits(&acts->shipped[i], in))
            take(&acts->shipped[i], out);
}
