/* aftermath.c - see aftermath.h. */
#include "aftermath.h"
#include "base/json.h"
#include "format/addr.h"
#include "format/text.h"

#include <stdlib.h>

enum { MEASURES_MOST = 16, CAMPAIGNS_NAMED = 3 };

/* What an answer put in place, and who else waited for it. */
struct caused {
    const struct measure *m;
    uint64_t id; /* of the message that was answered */
    size_t step;
    struct map others; /* message id → number of its campaign, plus 1 */
};

struct aftermath {
    const struct stories *stories;
    const struct event_names *names;
    struct caused v[MEASURES_MOST];
    size_t n;
    struct arena arena;
};

/* By its number; a breaker counts many, and begins with the last of them. */
static bool is_cause(const struct aftermath *a, const struct chain_step *s, const struct measure *m)
{
    if (m->begin_ms != s->at_ms)
        return false;
    return m->number == s->measure ||
           (!m->cause && slice_eq(slice_cstr(m->isp), event_name(a->names, NAME_ISP, s->isp)));
}

static void find(struct aftermath *a, const struct story *story)
{
    const struct measures *all = rest_measures(stories_rest(a->stories));
    for (size_t i = 0; i < story->c.n; i++) {
        const struct chain_step *s = &story->c.v[i];
        if (s->type != CHAIN_EVENT || s->event == EVENT_ACCEPTED || !s->isp)
            continue;
        for (const struct measure *m = NULL; a->n < MEASURES_MOST && (m = measures_next(all, m));) {
            if (!is_cause(a, s, m))
                continue;
            struct caused *c = &a->v[a->n++];
            *c = (struct caused){.m = m, .id = story->c.id, .step = i};
            map_init(&c->others, (struct hash_key){3, 4}); /* numbers that we gave */
        }
    }
}

/* Whether it is about mail of this campaign and From domain, to an isp and a set of hosts. */
static bool is_about(const struct aftermath *a, const struct measure *m, const struct rec_recipient *r,
                     struct slice isp, struct slice mx)
{
    struct slice what = slice_cstr(m->what);
    if (m->isp[0] && !slice_eq(slice_cstr(m->isp), isp))
        return false;
    switch (m->scope) {
    case ACT_SITE:
        return slice_eq(what, mx);
    case ACT_STREAM:
        return slice_eq(what, event_name(a->names, NAME_DOMAIN, r->domain));
    case ACT_CAMPAIGN:
        return slice_eq(what, event_name(a->names, NAME_CAMPAIGN, r->campaign));
    case ACT_ONE_STREAM:
        return slice_eq(what, event_name(a->names, NAME_STREAM, r->stream));
    case ACT_PATH:
    case ACT_SOURCE:
    case ACT_SCOPES:
        break;
    }
    return true;
}

/* Mail that it may have held up: accepted before it ended and not ended before it began. From which source
 * it would have gone only an attempt shows. */
static void see_recipient(struct aftermath *a, const struct rec_recipient *rec, struct caused *c)
{
    struct slice isp, mx;
    struct addr addr;
    if (rec->id == c->id || (c->m->over_ms && rec->accepted_ms >= c->m->over_ms))
        return;
    arena_reset(&a->arena);
    if (addr_parse(rec->address, &a->arena, &addr, NULL) ||
        !reasons_place(stories_reasons(a->stories), addr.domain_ascii, &isp, &mx) ||
        !is_about(a, c->m, rec, isp, mx))
        return;
    map_put(&c->others, slice_of(&rec->id, sizeof rec->id), (void *)(uintptr_t)(rec->campaign + 1));
}

static void see_event(struct aftermath *a, const struct rec_event *ev, struct caused *c)
{
    bool other_source = ev->source && c->m->source[0] &&
                        !slice_eq(slice_cstr(c->m->source), event_name(a->names, NAME_SOURCE, ev->source));
    if ((rec_event_ends(ev->type) && ev->at_ms <= c->m->begin_ms) ||
        (other_source && ev->at_ms > c->m->begin_ms))
        map_del(&c->others, slice_of(&ev->id, sizeof ev->id));
}

static int on_record(void *data, const struct rec *rec)
{
    struct aftermath *a = data;
    for (size_t i = 0; i < a->n; i++) {
        if (rec->type == REC_RECIPIENT)
            see_recipient(a, &rec->recipient, &a->v[i]);
        else if (rec->type == REC_EVENT)
            see_event(a, &rec->event, &a->v[i]);
    }
    return 0;
}

/* The journal once more: whom a measure slowed is known when it is known which there are. */
static int count_others(struct aftermath *a, struct journal *journal, struct err *e)
{
    struct journal *again = NULL;
    int rc = journal_open("why", journal_state(journal), &again, e);
    if (!rc)
        rc = journal_read(again, on_record, a, e);
    journal_close(again);
    return rc;
}

int aftermath_new(const struct stories *ss, struct journal *journal, struct aftermath **out, struct err *e)
{
    struct aftermath *a = mem_zalloc(sizeof *a);
    size_t at = 0;
    a->stories = ss;
    a->names = journal_names(journal);
    for (const struct story *m; (m = stories_next(ss, &at));)
        find(a, m);
    int rc = a->n ? count_others(a, journal, e) : 0;
    if (rc)
        aftermath_free(a);
    else
        *out = a;
    return rc;
}

void aftermath_free(struct aftermath *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n; i++)
        map_free(&a->v[i].others);
    arena_free(&a->arena);
    free(a);
}

/* --- telling --- */

struct top {
    struct {
        uint32_t campaign;
        uint64_t n;
    } v[CAMPAIGNS_NAMED];
    size_t n;
};

/* The first few campaigns of those who waited. */
static struct top top_of(const struct caused *c)
{
    struct top top = {0};
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&c->others, &at));) {
        uint32_t campaign = (uint32_t)(uintptr_t)e->value - 1;
        size_t i = 0;
        while (i < top.n && top.v[i].campaign != campaign)
            i++;
        if (i == top.n && top.n < CAMPAIGNS_NAMED)
            top.v[top.n++].campaign = campaign;
        if (i < top.n)
            top.v[i].n++;
    }
    return top;
}

static struct slice campaign_name(const struct aftermath *a, uint32_t campaign)
{
    struct slice name = event_name(a->names, NAME_CAMPAIGN, campaign);
    return campaign && name.n ? name : S("hato.send");
}

/* 0: nobody can know. */
static int64_t end_of(const struct measure *m)
{
    return m->over_ms ? m->over_ms : measure_changes_ms(m);
}

static void put_others(const struct aftermath *a, const struct caused *c, struct buf *out)
{
    struct top top = top_of(c);
    if (!c->others.live) {
        buf_adds(out, S("nobody else waited for it"));
        return;
    }
    text_count(out, c->others.live);
    buf_adds(out, c->others.live == 1 ? S(" other message waited for it (")
                                      : S(" other messages waited for it ("));
    for (size_t i = 0; i < top.n; i++) {
        buf_adds(out, i ? S(", ") : SLICE_NONE);
        text_safe(out, campaign_name(a, top.v[i].campaign));
        buf_addc(out, ' ');
        text_count(out, top.v[i].n);
    }
    buf_addc(out, ')');
}

void aftermath_text(const struct aftermath *a, const struct story *m, size_t step, struct buf *out)
{
    for (size_t i = 0; i < a->n; i++) {
        const struct caused *c = &a->v[i];
        if (c->id != m->c.id || c->step != step)
            continue;
        buf_printf(out, "%*sso this began: ", STORY_INDENT, "");
        measure_text(out, c->m);
        buf_printf(out, "\n%*s", STORY_INDENT, "");
        buf_adds(out, c->m->lifted    ? S("it was lifted by hand ")
                      : c->m->over_ms ? S("it ended ")
                                      : S("it is to be lifted "));
        if (end_of(c->m))
            text_time_plain(out, end_of(c->m));
        else
            buf_adds(out, S("by hand, or when answers allow it"));
        buf_adds(out, S("; "));
        put_others(a, c, out);
        buf_addc(out, '\n');
    }
}

void aftermath_json(const struct aftermath *a, const struct story *m, struct buf *out)
{
    struct buf words = {0};
    bool any = false;
    for (size_t i = 0; i < a->n; i++) {
        const struct caused *c = &a->v[i];
        struct top top = top_of(c);
        if (c->id != m->c.id)
            continue;
        buf_adds(out, any ? S(",{\"since\":") : S("{\"since\":"));
        any = true;
        text_time_json(out, c->m->begin_ms);
        buf_clear(&words);
        measure_text(&words, c->m);
        buf_adds(out, S(",\"why\":"));
        json_quote(out, buf_slice(&words));
        buf_adds(out, S(",\"until\":"));
        text_time_json(out, end_of(c->m));
        buf_printf(out, ",\"lifted\":%s,\"slowed\":%zu,\"campaigns\":{", c->m->lifted ? "true" : "false",
                   c->others.live);
        for (size_t k = 0; k < top.n; k++) {
            buf_adds(out, k ? S(",") : SLICE_NONE);
            json_quote(out, campaign_name(a, top.v[k].campaign));
            buf_printf(out, ":%llu", (unsigned long long)top.v[k].n);
        }
        buf_adds(out, S("}}"));
    }
    buf_free(&words);
}
