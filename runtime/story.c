/* story.c - see story.h. */
#include "story.h"
#include "delivery/secret.h"
#include "delivery/steer.h"
#include "format/addr.h"
#include "format/verp.h"

#include <stdlib.h>

enum { CAMPAIGNS_MOST = 1 << 20 };

struct stories {
    struct journal *journal;
    bool by_id;
    uint64_t id;
    struct buf key;    /* duplicate key of the address; empty: not asked by it */
    struct map by_ids; /* message id → struct story, in order of appearance */
    struct reasons *reasons;
    struct rest *rest;  /* of these messages */
    uint8_t *campaigns; /* state by number */
    size_t ncampaigns;
    struct arena arena;
    struct buf scratch;
};

/* --- what is asked for --- */

static void set_target(struct stories *ss, const char *word)
{
    struct addr addr;
    struct slice s = slice_trim(slice_cstr(word)), domain, local;
    if (s.n > 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
        s = slice_of(s.p + 1, s.n - 2);
    if (event_message_parse(s, &ss->id) == 0) {
        ss->by_id = true;
        return;
    }
    local = slice_cut(s, '@', &domain);
    const struct secret *secret = journal_secret(ss->journal);
    if (secret && (verp_parse(&secret->verp, local, domain, &ss->id) == 0 ||
                   verp_parse_message_id(&secret->verp, local, domain, &ss->id) == 0)) {
        ss->by_id = true;
        return;
    }
    if (addr_parse(s, &ss->arena, &addr, NULL) == 0)
        addr_dup_key(&ss->key, &addr);
}

struct stories *stories_new(struct journal *journal, const char *word)
{
    struct stories *ss = mem_zalloc(sizeof *ss);
    struct hash_key hk;
    ss->journal = journal;
    ss->reasons = reasons_new();
    ss->rest = rest_new(&(struct rest_conf){.loop = journal_loop(journal), .names = journal_names(journal)});
    loop_random_bytes(journal_loop(journal), &hk, sizeof hk);
    map_init(&ss->by_ids, hk);
    set_target(ss, word);
    return ss;
}

static bool is_wanted(struct stories *ss, uint64_t id, struct slice recipient)
{
    struct addr addr;
    if (ss->by_id)
        return id == ss->id;
    arena_reset(&ss->arena);
    buf_clear(&ss->scratch);
    if (ss->key.n && addr_parse(recipient, &ss->arena, &addr, NULL) == 0) {
        addr_dup_key(&ss->scratch, &addr);
        return slice_eq(buf_slice(&ss->scratch), buf_slice(&ss->key));
    }
    return false;
}

/* --- gathering --- */

struct story *stories_get(const struct stories *ss, uint64_t id)
{
    return map_get(&ss->by_ids, slice_of(&id, sizeof id));
}

struct story *stories_next(const struct stories *ss, size_t *at)
{
    struct map_entry *e = map_next(&ss->by_ids, at);
    return e ? e->value : NULL;
}

const struct rest *stories_rest(const struct stories *ss)
{
    return ss->rest;
}

struct reasons *stories_reasons(const struct stories *ss)
{
    return ss->reasons;
}

static struct story *story_of(struct stories *ss, uint64_t id, struct slice recipient)
{
    struct story *m = stories_get(ss, id);
    if (!m && is_wanted(ss, id, recipient)) {
        m = mem_zalloc(sizeof *m);
        m->c.id = id;
        m->c.recipient = m->m.campaign = SLICE_NONE;
        map_put(&ss->by_ids, slice_of(&id, sizeof id), m);
    }
    return m;
}

static void add_event(struct stories *ss, const struct rec_event *ev)
{
    const struct event_names *names = journal_names(ss->journal);
    struct story *m = story_of(ss, ev->id, ev->recipient);
    if (!m)
        return;
    if (ev->accepted_ms)
        m->m.accepted_ms = ev->accepted_ms;
    m->m.campaign = event_name(names, NAME_CAMPAIGN, ev->campaign);
    m->m.campaign_state =
        ev->campaign < ss->ncampaigns ? (enum rec_campaign_state)ss->campaigns[ev->campaign] : 0;
    standing_event(&m->m.at, ev);
    chain_event(&m->c, ev);
    if (m->nlines == m->caplines) {
        m->caplines = m->caplines ? m->caplines * 2 : 8;
        m->lines = mem_realloc(m->lines, m->caplines * sizeof *m->lines);
    }
    struct story_line *line = &m->lines[m->nlines++];
    *line = (struct story_line){.step = m->c.n - 1, .at_ms = ev->at_ms, .from = m->text.n};
    explain_event(&m->text, ev, names, STORY_INDENT);
    line->to = m->text.n;
    if (m->json.n)
        buf_addc(&m->json, ',');
    event_json(&m->json, ev, names);
}

static void add_recipient(struct stories *ss, const struct rec_recipient *r)
{
    struct rec_event ev;
    struct story *m;
    event_of_recipient(r, &ev);
    add_event(ss, &ev);
    if ((m = stories_get(ss, r->id))) {
        standing_recipient(&m->m.at, r);
        chain_recipient(&m->c, r);
    }
}

static void learn_campaign(struct stories *ss, const struct rec_campaign *c)
{
    if (c->campaign >= CAMPAIGNS_MOST)
        return;
    if (c->campaign >= ss->ncampaigns) {
        size_t n = (size_t)c->campaign + 64;
        ss->campaigns = mem_realloc(ss->campaigns, n);
        memset(ss->campaigns + ss->ncampaigns, 0, n - ss->ncampaigns);
        ss->ncampaigns = n;
    }
    /* A later run reads again for who is new; the others wait for that no more. */
    if (c->state == CAMPAIGN_CONTENT ||
        (c->state == CAMPAIGN_READING && ss->campaigns[c->campaign] > CAMPAIGN_READING))
        return;
    ss->campaigns[c->campaign] = c->state;
    /* Its records came before this one. */
    struct slice name = event_name(journal_names(ss->journal), NAME_CAMPAIGN, c->campaign);
    size_t at = 0;
    for (struct story *m; name.n && (m = stories_next(ss, &at));)
        if (slice_eq(m->m.campaign, name))
            m->m.campaign_state = (enum rec_campaign_state)c->state;
}

static void steered(struct stories *ss, const struct rec_steer *s)
{
    uint64_t id;
    struct story *m;
    if (s->kind == STEER_ID && !event_message_parse(s->name, &id) && (m = stories_get(ss, id)))
        chain_steer(&m->c, s);
}

static int on_record(void *data, const struct rec *rec)
{
    struct stories *ss = data;
    struct story *m;
    reasons_learn(ss->reasons, rec, journal_names(ss->journal));
    switch (rec->type) {
    case REC_RECIPIENT:
        add_recipient(ss, &rec->recipient);
        break;
    case REC_EVENT:
        add_event(ss, &rec->event);
        break;
    case REC_BEGIN:
        if ((m = stories_get(ss, rec->begin.id))) {
            standing_begin(&m->m.at, &rec->begin);
            chain_begin(&m->c, &rec->begin);
        }
        break;
    case REC_CAMPAIGN:
        learn_campaign(ss, &rec->campaign);
        break;
    case REC_STEER:
        steered(ss, &rec->steer);
        break;
    case REC_DUE:
        if ((m = stories_get(ss, rec->due.id))) {
            standing_due(&m->m.at, &rec->due);
            chain_due(&m->c, &rec->due);
        }
        break;
    case REC_NAME:
    case REC_SESSION:
    case REC_KEY:
    case REC_MEASURE:
    case REC_INTERVAL:
    case REC_WARMUP:
    case REC_TALLY:
        break;
    }
    if (rec->type != REC_RECIPIENT || stories_get(ss, rec->recipient.id))
        rest_learn(ss->rest, rec);
    return 0;
}

int stories_read(struct stories *ss, struct err *e)
{
    return journal_read(ss->journal, on_record, ss, e);
}

void stories_free(struct stories *ss)
{
    size_t at = 0;
    if (!ss)
        return;
    for (struct story *m; (m = stories_next(ss, &at));) {
        standing_free(&m->m.at);
        chain_free(&m->c);
        free(m->lines);
        buf_free(&m->text);
        buf_free(&m->json);
        buf_free(&m->live);
        free(m);
    }
    map_free(&ss->by_ids);
    reasons_free(ss->reasons);
    rest_free(ss->rest);
    free(ss->campaigns);
    buf_free(&ss->key);
    buf_free(&ss->scratch);
    arena_free(&ss->arena);
    free(ss);
}
