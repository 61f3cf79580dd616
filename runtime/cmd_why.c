/* cmd_why.c - hato why: the chain of what happened to the messages of an address, and what is next. */
#include "cmd.h"
#include "base/map.h"
#include "base/json.h"
#include "base/words.h"
#include "control.h"
#include "delivery/chain.h"
#include "delivery/explain.h"
#include "delivery/steer.h"
#include "delivery/suppress_db.h"
#include "format/addr.h"
#include "format/text.h"
#include "format/verp.h"
#include "journal.h"
#include "opts.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    ANSWER_MS = 10000,
    ASKED_MOST = 1000,
    INDENT = 23,
    CAMPAIGNS_MOST = 1 << 20,
    SHOWN_MS = 1000,
    MEASURES_MOST = 16,
    CAMPAIGNS_NAMED = 3
};

struct args {
    const char *state;
    bool json, help;
};

static const struct opt options[] = {
    {OPT_STRING, "state", "DIR", "the state folder (default " JOURNAL_STATE_DEFAULT ")",
     offsetof(struct args, state)},
    {OPT_FLAG, "json", NULL, "one JSON object a message, after one a suppression of the person",
     offsetof(struct args, json)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato why ADDRESS or ID [--state DIR] [--json]\n\n"
    "The whole life of each message of a person, from the journal: what happened, what it waited for and "
    "how long,\n"
    "with rule, file and line, which measure an answer caused and whom else that slowed, and what comes "
    "next. "
    "Where\n"
    "a hato runs, it says what a message waits for now. Times are UTC; waits under a second are only in "
    "--json.\n"
    "Besides an address it takes a message's number (m10423), its Message-ID, and the return path\n"
    "(b-...@...) that a bounce was sent to. Exit code 1 where nothing is known.";

/* What is printed of an event, behind the waits before it. */
struct line {
    size_t step;
    int64_t at_ms;
    size_t from, to; /* in text */
};

struct story {
    struct chain c;
    struct explain_message m;
    struct buf text; /* of events */
    struct line *lines;
    size_t nlines, caplines;
    struct buf json; /* events, with commas between */
    struct buf live; /* what the hato that runs says of it; empty: nothing */
    int64_t live_until_ms;
};

/* What an answer put in place, and who else waited for it. */
struct caused {
    struct reasons_measure m;
    uint64_t id; /* of the message that was answered */
    size_t step;
    struct map others; /* message id → number of its campaign, plus 1 */
};

struct run {
    const char *target;
    bool by_id;
    uint64_t id;
    struct buf key; /* duplicate key of the address; empty: not asked by it */
    struct journal *journal;
    struct map chains; /* message id → struct story, in order of appearance */
    struct reasons *reasons;
    bool running;
    int64_t now_ms;
    struct caused caused[MEASURES_MOST];
    size_t ncaused;
    uint8_t *campaigns; /* state by number */
    size_t ncampaigns;
    struct arena arena;
    struct buf scratch;
};

/* --- what is asked for --- */

static void set_target(struct run *r, const char *word)
{
    struct addr addr;
    struct slice s = slice_trim(slice_cstr(word)), domain, local;
    r->target = word;
    if (s.n > 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
        s = slice_of(s.p + 1, s.n - 2);
    if (event_message_parse(s, &r->id) == 0) {
        r->by_id = true;
        return;
    }
    local = slice_cut(s, '@', &domain);
    const struct secret *secret = journal_secret(r->journal);
    if (secret && (verp_parse(&secret->verp, local, domain, &r->id) == 0 ||
                   verp_parse_message_id(&secret->verp, local, domain, &r->id) == 0)) {
        r->by_id = true;
        return;
    }
    if (addr_parse(s, &r->arena, &addr, NULL) == 0)
        addr_dup_key(&r->key, &addr);
}

static bool is_wanted(struct run *r, uint64_t id, struct slice recipient)
{
    struct addr addr;
    if (r->by_id)
        return id == r->id;
    arena_reset(&r->arena);
    buf_clear(&r->scratch);
    if (r->key.n && addr_parse(recipient, &r->arena, &addr, NULL) == 0) {
        addr_dup_key(&r->scratch, &addr);
        return slice_eq(buf_slice(&r->scratch), buf_slice(&r->key));
    }
    return false;
}

/* --- gathering --- */

static struct story *known(const struct run *r, uint64_t id)
{
    return map_get(&r->chains, slice_of(&id, sizeof id));
}

static struct story *story_of(struct run *r, uint64_t id, struct slice recipient)
{
    struct story *m = known(r, id);
    if (!m && is_wanted(r, id, recipient)) {
        m = mem_zalloc(sizeof *m);
        m->c.id = id;
        m->c.recipient = m->m.campaign = m->m.text = SLICE_NONE;
        map_put(&r->chains, slice_of(&id, sizeof id), m);
    }
    return m;
}

static void set_text(struct story *m, struct slice text)
{
    if (m->m.text.n)
        free((char *)m->m.text.p);
    m->m.text = text.n ? slice_of(mem_dup(text.p, text.n), text.n) : SLICE_NONE;
}

static void move_state(struct story *m, const struct rec_event *ev)
{
    struct explain_message *x = &m->m;
    switch ((enum rec_event_type)ev->type) {
    case EVENT_ACCEPTED:
        x->due_ms = ev->next_due_ms;
        return;
    case EVENT_DEFERRED:
    case EVENT_AMBIGUOUS:
        x->state = EXPLAIN_WAITING;
        x->due_ms = ev->next_due_ms;
        break;
    case EVENT_HELD:
        x->state = EXPLAIN_HELD;
        break;
    case EVENT_DELIVERED:
        x->state = EXPLAIN_DELIVERED;
        break;
    case EVENT_BOUNCED:
        x->state = EXPLAIN_BOUNCED;
        break;
    case EVENT_EXPIRED:
        x->state = EXPLAIN_EXPIRED;
        break;
    case EVENT_SUPPRESSED:
        x->state = EXPLAIN_SUPPRESSED;
        break;
    case EVENT_CANCELLED:
        x->state = EXPLAIN_CANCELLED;
        break;
    case EVENT_COMPLAINED:
    case EVENT_OPENED:
    case EVENT_CLICKED:
    case EVENT_UNSUBSCRIBED:
    case EVENT_CONVERTED:
    case EVENT_REPLIED:
    case EVENT_TYPES:
        return;
    }
    x->tried = true;
    x->charged = ev->charged;
    x->attempts = ev->attempt;
    x->last_ms = ev->at_ms;
    x->begun_ms = 0;
    if (class_parse(ev->class_name, &x->cls))
        x->cls = CLASS_UNKNOWN;
    set_text(m, ev->text);
}

static void add_event(struct run *r, const struct rec_event *ev)
{
    const struct event_names *names = journal_names(r->journal);
    struct story *m = story_of(r, ev->id, ev->recipient);
    if (!m)
        return;
    if (ev->accepted_ms)
        m->m.accepted_ms = ev->accepted_ms;
    m->m.campaign = event_name(names, NAME_CAMPAIGN, ev->campaign);
    m->m.campaign_state =
        ev->campaign < r->ncampaigns ? (enum rec_campaign_state)r->campaigns[ev->campaign] : 0;
    move_state(m, ev);
    chain_event(&m->c, ev);
    if (m->nlines == m->caplines) {
        m->caplines = m->caplines ? m->caplines * 2 : 8;
        m->lines = mem_realloc(m->lines, m->caplines * sizeof *m->lines);
    }
    struct line *line = &m->lines[m->nlines++];
    *line = (struct line){.step = m->c.n - 1, .at_ms = ev->at_ms, .from = m->text.n};
    explain_event(&m->text, ev, names, INDENT);
    line->to = m->text.n;
    if (m->json.n)
        buf_addc(&m->json, ',');
    event_json(&m->json, ev, names);
}

static void learn_campaign(struct run *r, const struct rec_campaign *c)
{
    if (c->campaign >= CAMPAIGNS_MOST)
        return;
    if (c->campaign >= r->ncampaigns) {
        size_t n = (size_t)c->campaign + 64;
        r->campaigns = mem_realloc(r->campaigns, n);
        memset(r->campaigns + r->ncampaigns, 0, n - r->ncampaigns);
        r->ncampaigns = n;
    }
    /* A later run reads again for who is new; the others wait for that no more. */
    if (c->state == CAMPAIGN_CONTENT ||
        (c->state == CAMPAIGN_READING && r->campaigns[c->campaign] > CAMPAIGN_READING))
        return;
    r->campaigns[c->campaign] = c->state;
    /* Its records came before this one. */
    struct slice name = event_name(journal_names(r->journal), NAME_CAMPAIGN, c->campaign);
    size_t at = 0;
    for (struct map_entry *e; name.n && (e = map_next(&r->chains, &at));) {
        struct story *m = e->value;
        if (slice_eq(m->m.campaign, name))
            m->m.campaign_state = (enum rec_campaign_state)c->state;
    }
}

static void steered(struct run *r, const struct rec_steer *s)
{
    uint64_t id;
    struct story *m;
    if (s->kind == STEER_ID && !event_message_parse(s->name, &id) && (m = known(r, id)))
        chain_steer(&m->c, s);
}

static int on_record(void *data, const struct rec *rec)
{
    struct run *r = data;
    struct rec_event ev;
    struct story *m;
    reasons_learn(r->reasons, rec, journal_names(r->journal));
    switch (rec->type) {
    case REC_RECIPIENT:
        event_of_recipient(&rec->recipient, &ev);
        add_event(r, &ev);
        if ((m = known(r, rec->recipient.id)))
            chain_recipient(&m->c, &rec->recipient);
        break;
    case REC_EVENT:
        add_event(r, &rec->event);
        break;
    case REC_BEGIN:
        if ((m = known(r, rec->begin.id))) {
            m->m.state = EXPLAIN_IN_FLIGHT;
            m->m.begun_ms = rec->begin.at_ms;
            chain_begin(&m->c, &rec->begin);
        }
        break;
    case REC_CAMPAIGN:
        learn_campaign(r, &rec->campaign);
        break;
    case REC_STEER:
        steered(r, &rec->steer);
        break;
    case REC_DUE:
        if ((m = known(r, rec->due.id))) {
            m->m.due_ms = rec->due.due_ms;
            chain_due(&m->c, &rec->due);
        }
        break;
    case REC_NAME:
    case REC_SESSION:
    case REC_KEY:
    case REC_MEASURE:
    case REC_INTERVAL:
    case REC_WARMUP:
        break;
    default:
        break;
    }
    return 0;
}

/* --- what answers caused --- */

static void find_caused(struct run *r)
{
    const struct event_names *names = journal_names(r->journal);
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&r->chains, &at));) {
        const struct story *m = e->value;
        for (size_t i = 0; i < m->c.n; i++) {
            const struct chain_step *s = &m->c.v[i];
            struct reasons_measure found[4];
            struct reasons_who who;
            if (s->type != CHAIN_EVENT || s->event == EVENT_ACCEPTED || !s->isp)
                continue;
            arena_reset(&r->arena);
            chain_who(&m->c, i, r->reasons, names, &r->arena, &who);
            size_t n = reasons_caused(r->reasons, &who, s->at_ms, found, COUNT(found));
            for (size_t k = 0; k < n && r->ncaused < MEASURES_MOST; k++) {
                struct caused *c = &r->caused[r->ncaused++];
                *c = (struct caused){.m = found[k], .id = m->c.id, .step = i};
                map_init(&c->others, (struct hash_key){3, 4}); /* numbers that we gave */
            }
        }
    }
}

/* Mail that it may have held up: of its isp and stream, accepted before it ended and not ended before it
 * began. From which source it would have gone only an attempt shows. */
static void see_recipient(struct run *r, const struct rec_recipient *rec, struct caused *c)
{
    const struct event_names *names = journal_names(r->journal);
    struct slice isp, mx;
    struct addr addr;
    if (rec->id == c->id || rec->accepted_ms >= c->m.r.end_ms ||
        (c->m.who.stream.n && !slice_eq(c->m.who.stream, event_name(names, NAME_STREAM, rec->stream))))
        return;
    arena_reset(&r->arena);
    if (addr_parse(rec->address, &r->arena, &addr, NULL) ||
        !reasons_place(r->reasons, addr.domain_ascii, &isp, &mx) || !slice_eq(isp, c->m.who.isp))
        return;
    map_put(&c->others, slice_of(&rec->id, sizeof rec->id), (void *)(uintptr_t)(rec->campaign + 1));
}

static void see_event(struct run *r, const struct rec_event *ev, struct caused *c)
{
    const struct event_names *names = journal_names(r->journal);
    bool other_source = ev->source && c->m.who.source.n &&
                        !slice_eq(c->m.who.source, event_name(names, NAME_SOURCE, ev->source));
    if ((rec_event_ends(ev->type) && ev->at_ms <= c->m.r.begin_ms) ||
        (other_source && ev->at_ms > c->m.r.begin_ms))
        map_del(&c->others, slice_of(&ev->id, sizeof ev->id));
}

static int on_record_again(void *data, const struct rec *rec)
{
    struct run *r = data;
    for (size_t i = 0; i < r->ncaused; i++) {
        if (rec->type == REC_RECIPIENT)
            see_recipient(r, &rec->recipient, &r->caused[i]);
        else if (rec->type == REC_EVENT)
            see_event(r, &rec->event, &r->caused[i]);
    }
    return 0;
}

/* The journal once more: whom a measure slowed is known when it is known which there are. */
static int count_others(struct run *r, struct err *e)
{
    struct journal *again = NULL;
    if (!r->ncaused)
        return 0;
    int rc = journal_open("why", journal_state(r->journal), &again, e);
    if (!rc)
        rc = journal_read(again, on_record_again, r, e);
    journal_close(again);
    return rc;
}

static void put_others(struct run *r, const struct caused *c, struct buf *out)
{
    const struct event_names *names = journal_names(r->journal);
    struct {
        uint32_t campaign;
        uint64_t n;
    } top[CAMPAIGNS_NAMED] = {0};
    size_t ntop = 0, at = 0;
    if (!c->others.live) {
        buf_adds(out, S("nobody else waited for it"));
        return;
    }
    text_count(out, c->others.live);
    buf_adds(out, c->others.live == 1 ? S(" other message waited for it (")
                                      : S(" other messages waited for it ("));
    for (struct map_entry *e; (e = map_next(&c->others, &at));) {
        uint32_t campaign = (uint32_t)(uintptr_t)e->value - 1;
        size_t i = 0;
        while (i < ntop && top[i].campaign != campaign)
            i++;
        if (i == ntop && ntop < CAMPAIGNS_NAMED)
            top[ntop++].campaign = campaign;
        if (i < ntop)
            top[i].n++;
    }
    for (size_t i = 0; i < ntop; i++) {
        struct slice name = event_name(names, NAME_CAMPAIGN, top[i].campaign);
        buf_adds(out, i ? S(", ") : SLICE_NONE);
        text_safe(out, top[i].campaign && name.n ? name : S("hato.send"));
        buf_addc(out, ' ');
        text_count(out, top[i].n);
    }
    buf_addc(out, ')');
}

static void put_caused(struct run *r, const struct story *m, size_t step, struct buf *out)
{
    for (size_t i = 0; i < r->ncaused; i++) {
        const struct caused *c = &r->caused[i];
        struct slice why = c->m.r.why;
        if (c->id != m->c.id || c->step != step)
            continue;
        if (slice_starts(why, S("because ")))
            why = slice_of(why.p + 8, why.n - 8);
        buf_printf(out, "%*sso a measure began: ", INDENT, "");
        text_safe(out, why);
        buf_printf(out, "\n%*s", INDENT, "");
        int64_t end = c->m.is_over ? c->m.r.end_ms : c->m.r.until_ms;
        buf_adds(out, c->m.is_over ? S("it was lifted ") : S("it is to be lifted "));
        if (end)
            text_time_plain(out, end);
        else
            buf_adds(out, S("by hand, or when answers allow it"));
        buf_adds(out, S("; "));
        put_others(r, c, out);
        buf_addc(out, '\n');
    }
}

/* --- what the hato that runs knows: why it waits now --- */

static void on_live(void *data, const json_t *line)
{
    struct run *r = data;
    const char *why = json_string_value(json_object_get(line, "why"));
    const char *state = json_string_value(json_object_get(line, "state"));
    struct story *m;
    uint64_t id;
    if (event_message_parse(slice_cstr(json_string_value(json_object_get(line, "message"))), &id) ||
        !(m = known(r, id)) || !why || !state || strcmp(state, "waiting"))
        return;
    m->live_until_ms = (int64_t)json_integer_value(json_object_get(line, "until_ms"));
    buf_clear(&m->live);
    buf_adds(&m->live, slice_cstr(why));
}

/* What it has not written yet; and whether there is one. */
static void say_why(struct run *r)
{
    struct control_answer answer = {.data = r};
    r->running =
        control_ask(journal_state(r->journal), S("{\"command\":\"explain\"}"), ANSWER_MS, &answer, NULL) == 0;
    json_decref(answer.last);
}

/* Where none runs, the journal has said all there is. */
static void ask_live(struct run *r)
{
    struct control_answer answer = {.data = r, .line = on_live};
    struct buf request = {0};
    size_t at = 0, n = 0;
    buf_adds(&request, S("{\"command\":\"wait\",\"ids\":["));
    for (struct map_entry *e; n < ASKED_MOST && (e = map_next(&r->chains, &at));) {
        const struct story *m = e->value;
        if (m->m.state != EXPLAIN_WAITING && m->m.state != EXPLAIN_HELD)
            continue;
        buf_adds(&request, n++ ? S(",\"") : S("\""));
        event_message_text(&request, m->c.id);
        buf_addc(&request, '"');
    }
    buf_adds(&request, S("]}"));
    if (n)
        control_ask(journal_state(r->journal), buf_slice(&request), ANSWER_MS, &answer, NULL);
    json_decref(answer.last);
    buf_free(&request);
}

static void put_live(struct buf *out, const struct story *m, int64_t now_ms)
{
    buf_adds(out, m->m.state == EXPLAIN_HELD ? S("Held: ") : S("Waiting: "));
    text_safe(out, buf_slice(&m->live));
    if (m->live_until_ms) {
        buf_adds(out, S("; until "));
        text_time_plain(out, m->live_until_ms);
    }
    if (m->live_until_ms > now_ms) {
        buf_adds(out, S(", in "));
        words_duration_text(out, m->live_until_ms - now_ms);
    }
    buf_addc(out, '.');
}

/* --- telling --- */

/* The waits before a step: those that last; what a pause of a moment divides is one. */
struct telling {
    struct run *r;
    const struct story *m;
    struct buf *out;
    size_t step; /* whose waits are told */
    struct reason r_pending;
    bool pending, json, first;
    int64_t unnamed_ms;
};

static void flush_wait(struct telling *t)
{
    if (t->pending && t->r_pending.end_ms - t->r_pending.begin_ms >= SHOWN_MS) {
        buf_adds(t->out, S("  "));
        text_time_plain(t->out, t->r_pending.begin_ms);
        buf_adds(t->out, S("  "));
        explain_wait(t->out, &t->r_pending, t->r->now_ms);
        buf_addc(t->out, '\n');
    }
    t->pending = false;
}

static void on_stretch(void *data, size_t step, const struct reason *r)
{
    struct telling *t = data;
    const struct chain *c = &t->m->c;
    /* An attempt that has its end is told by that. */
    bool ends = step < c->n && c->v[step].type == CHAIN_EVENT && c->v[step].at_ms == r->end_ms;
    /* So is the time until a next try. */
    bool said = step > 0 && c->v[step - 1].type == CHAIN_EVENT && c->v[step - 1].next_due_ms;
    if (step != t->step || (ends && r->kind == REASON_ATTEMPT) || (said && r->kind == REASON_TIME))
        return;
    if (t->pending && t->r_pending.kind == r->kind && slice_eq(t->r_pending.why, r->why)) {
        t->r_pending.end_ms = r->end_ms;
        t->r_pending.until_ms = r->until_ms;
        return;
    }
    if (t->pending && r->end_ms - r->begin_ms < SHOWN_MS)
        return;
    flush_wait(t);
    t->r_pending = *r;
    t->pending = true;
}

static void on_json_stretch(void *data, size_t step, const struct reason *r)
{
    struct telling *t = data;
    (void)step;
    if (r->kind == REASON_NONE)
        t->unnamed_ms += r->end_ms - r->begin_ms;
    buf_adds(t->out, t->first ? S("{\"from\":\"") : S(",{\"from\":\""));
    t->first = false;
    text_time(t->out, r->begin_ms);
    buf_adds(t->out, S("\",\"to\":\""));
    text_time(t->out, r->end_ms);
    buf_printf(t->out, "\",\"ms\":%lld,\"kind\":\"%s\",\"why\":", (long long)(r->end_ms - r->begin_ms),
               reason_kind_name(r->kind));
    if (r->kind == REASON_NONE)
        buf_adds(t->out, S("null"));
    else
        json_quote(t->out, r->why);
    buf_addc(t->out, '}');
}

static void put_waits(struct run *r, const struct story *m, size_t step, struct buf *out)
{
    struct telling t = {.r = r, .m = m, .out = out, .step = step};
    chain_walk(&m->c, r->reasons, journal_names(r->journal), r->now_ms, on_stretch, &t);
    flush_wait(&t);
}

static void put_life(struct run *r, const struct story *m, struct buf *out)
{
    size_t next = 0;
    for (size_t i = 0; i < m->nlines; i++) {
        const struct line *line = &m->lines[i];
        for (; next <= line->step; next++)
            put_waits(r, m, next, out);
        buf_adds(out, S("  "));
        text_time_plain(out, line->at_ms);
        buf_adds(out, S("  "));
        buf_add(out, m->text.p + line->from, line->to - line->from);
        buf_addc(out, '\n');
        put_caused(r, m, line->step, out);
    }
    for (; next <= m->c.n; next++)
        put_waits(r, m, next, out);
}

static void put_json(struct run *r, const struct story *m, struct slice words, struct buf *out)
{
    struct telling t = {.r = r, .m = m, .out = out, .first = true};
    buf_adds(out, S("{\"message\":\""));
    event_message_text(out, m->c.id);
    buf_adds(out, S("\",\"recipient\":"));
    json_quote(out, m->c.recipient);
    buf_adds(out, S(",\"campaign\":"));
    if (m->m.campaign.n)
        json_quote(out, m->m.campaign);
    else
        buf_adds(out, S("null"));
    buf_printf(out, ",\"state\":\"%s\",\"next_due\":", explain_state_name(m->m.state));
    text_time_json(out, m->m.state == EXPLAIN_WAITING ? m->m.due_ms : 0);
    buf_adds(out, S(",\"explanation\":"));
    json_quote(out, words);
    buf_adds(out, S(",\"waits\":["));
    chain_walk(&m->c, r->reasons, journal_names(r->journal), r->now_ms, on_json_stretch, &t);
    buf_printf(out, "],\"unnamed_ms\":%lld,\"events\":[", (long long)t.unnamed_ms);
    buf_adds(out, buf_slice(&m->json));
    buf_adds(out, S("]}\n"));
}

static void put_story(struct run *r, const struct story *m, bool json, struct buf *out)
{
    struct buf words = {0};
    if (m->live.n)
        put_live(&words, m, r->now_ms);
    else
        explain_message(&words, &m->m, r->now_ms);
    if (json) {
        put_json(r, m, buf_slice(&words), out);
    } else {
        if (out->n)
            buf_addc(out, '\n');
        event_message_text(out, m->c.id);
        buf_adds(out, S(" to "));
        text_safe(out, m->c.recipient);
        buf_addc(out, '\n');
        put_life(r, m, out);
        buf_adds(out, S("  "));
        buf_adds(out, buf_slice(&words));
        buf_addc(out, '\n');
    }
    buf_free(&words);
}

struct told {
    struct buf *out;
    bool json;
};

static int on_suppression(void *data, const struct suppression *s)
{
    struct told *t = data;
    if (t->json) {
        suppression_json(t->out, s);
    } else {
        text_safe(t->out, s->address);
        buf_adds(t->out, S(" is "));
        suppression_text(t->out, s);
    }
    buf_addc(t->out, '\n');
    return 0;
}

/* What keeps them from mail was told already. */
static int on_set_aside(void *data, const struct suppression *s)
{
    return s->expires_ms ? on_suppression(data, s) : 0;
}

/* What a rule counts that wants more than one failure. */
static int on_counted(void *data, const struct suppress_db_soft *s)
{
    struct told *t = data;
    text_time_plain(t->out, s->at_ms);
    if (slice_eq(s->class_name, SUPPRESS_DB_DELIVERED))
        buf_adds(t->out, S("  delivered: clears what was counted before, once it has held"));
    else
        buf_printf(t->out, "  counted against %.*s: %.*s", SLICE_FMT(s->address), SLICE_FMT(s->class_name));
    buf_addc(t->out, '\n');
    return 0;
}

/* Whether mail goes to this person at all, whatever became of the mails before. */
static int put_suppressions(struct run *r, bool json, struct buf *out, struct err *e)
{
    struct fs *fs = fs_real();
    struct suppress_db *db = NULL;
    struct addr addr;
    struct buf address = {0};
    struct told told = {out, json};
    size_t at = 0;
    struct map_entry *first = map_next(&r->chains, &at);
    struct slice who = first ? ((struct story *)first->value)->c.recipient : slice_cstr(r->target);
    int rc = 0;
    if (!addr_parse(who, &r->arena, &addr, NULL)) {
        suppression_address(&address, &addr);
        rc = suppress_db_look(fs, journal_state(r->journal), &db, e);
        int64_t now_ms = loop_wall_ms(journal_loop(r->journal));
        if (!rc)
            rc = suppress_db_each(db, buf_slice(&address), now_ms, on_suppression, &told, e);
        if (!rc)
            rc = suppress_db_each_quarantined(db, buf_slice(&address), now_ms, on_set_aside, &told, e);
        if (!rc && !json)
            rc = suppress_db_each_soft(db, buf_slice(&address), on_counted, &told, e);
        suppress_db_close(db);
    }
    buf_free(&address);
    fs_free(fs);
    return rc == ERR_NOTFOUND ? 0 : rc; /* no such file: nobody ever was */
}

static int tell(struct run *r, bool json, struct err *e)
{
    struct buf out = {0};
    size_t at = 0;
    int rc = put_suppressions(r, json, &out, e);
    if (rc)
        return rc;
    if (!r->chains.live && !out.n)
        return err_set(e, ERR_NOTFOUND,
                       "nothing is known of \"%s\" in %s: no such message was accepted, or its last event is "
                       "older than the 30 days for which events are kept. A row that was rejected is listed "
                       "by `hato run --dry-run`.",
                       r->target, journal_state(r->journal));
    for (struct map_entry *m; (m = map_next(&r->chains, &at));)
        put_story(r, m->value, json, &out);
    bool failed = fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout);
    buf_free(&out);
    return failed ? err_set(e, ERR_IO, "the output cannot be written") : 0;
}

static void run_free(struct run *r)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&r->chains, &at));) {
        struct story *m = e->value;
        set_text(m, SLICE_NONE);
        chain_free(&m->c);
        free(m->lines);
        buf_free(&m->text);
        buf_free(&m->json);
        buf_free(&m->live);
        free(m);
    }
    for (size_t i = 0; i < r->ncaused; i++)
        map_free(&r->caused[i].others);
    reasons_free(r->reasons);
    map_free(&r->chains);
    free(r->campaigns);
    buf_free(&r->key);
    buf_free(&r->scratch);
    arena_free(&r->arena);
    journal_close(r->journal);
}

int cmd_why(int argc, char **argv)
{
    struct args args = {0};
    struct opt_list words = {.n = 0};
    struct run r = {0};
    struct err e = {0};
    struct hash_key hk;
    int rc = opts_parse(argc, argv, options, &args, &words, &e);
    if (!rc && !args.help && words.n != 1)
        rc = err_set(&e, ERR_INVAL, "needs one address or message: hato why taro@example.jp");
    if (rc) {
        fprintf(stderr, "hato why: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (args.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    rc = journal_open("why", args.state, &r.journal, &e);
    if (!rc) {
        loop_random_bytes(journal_loop(r.journal), &hk, sizeof hk);
        map_init(&r.chains, hk);
        set_target(&r, words.v[0]);
        r.reasons = reasons_new();
        say_why(&r);
        rc = journal_read(r.journal, on_record, &r, &e);
        r.now_ms = loop_wall_ms(journal_loop(r.journal));
        reasons_end(r.reasons, r.now_ms, r.running);
        if (!rc) {
            find_caused(&r);
            rc = count_others(&r, &e);
        }
        if (!rc)
            ask_live(&r);
        if (!rc)
            rc = tell(&r, args.json, &e);
    }
    if (rc)
        fprintf(stderr, "hato why: %s\n", e.text);
    run_free(&r);
    return rc ? EXIT_FAILED : EXIT_DONE;
}
