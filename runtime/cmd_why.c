/* cmd_why.c - hato why: the chain of what happened to the messages of an address, and what is next. */
#include "cmd.h"
#include "base/map.h"
#include "base/json.h"
#include "base/words.h"
#include "control.h"
#include "delivery/explain.h"
#include "delivery/suppress_db.h"
#include "format/addr.h"
#include "format/text.h"
#include "format/verp.h"
#include "journal.h"
#include "opts.h"

#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MS = 10000, ASKED_MOST = 1000, INDENT = 23, CAMPAIGNS_MOST = 1 << 20 };

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
    "What happened to each message of a person, from the journal, and what comes next; where a hato runs, "
    "it\n"
    "says what a message waits for. Times are UTC.\n"
    "Besides an address it takes a message's number (m10423), its Message-ID, and the return path\n"
    "(b-...@...) that a bounce was sent to. Exit code 1 where nothing is known.";

struct chain {
    uint64_t id;
    struct slice recipient; /* owned */
    struct explain_message m;
    struct buf text; /* the chain, line by line */
    struct buf json; /* events, with commas between */
    struct buf live; /* what the hato that runs says of it; empty: nothing */
    int64_t live_until_ms;
};

struct run {
    const char *target;
    bool by_id;
    uint64_t id;
    struct slice message_id; /* its left side; empty: not asked by it */
    struct buf key;          /* duplicate key of the address; empty: not asked by it */
    struct journal *journal;
    struct map chains;  /* message id → struct chain, in order of appearance */
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
    if (secret && verp_parse(&secret->verp, local, domain, &r->id) == 0) {
        r->by_id = true;
        return;
    }
    r->message_id = secret ? local : SLICE_NONE;
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
        if (slice_eq(buf_slice(&r->scratch), buf_slice(&r->key)))
            return true;
    }
    /* 26 characters of base32: 128 bits. */
    if (r->message_id.n != 26)
        return false;
    buf_clear(&r->scratch);
    message_id_text(journal_secret(r->journal), id, SLICE_NONE, &r->scratch);
    return slice_ieq(slice_of(r->scratch.p, r->scratch.n - 1), r->message_id);
}

/* --- gathering --- */

static struct chain *known(const struct run *r, uint64_t id)
{
    return map_get(&r->chains, slice_of(&id, sizeof id));
}

static struct chain *chain_of(struct run *r, uint64_t id, struct slice recipient)
{
    struct chain *m = known(r, id);
    if (!m && is_wanted(r, id, recipient)) {
        m = mem_zalloc(sizeof *m);
        m->id = id;
        m->recipient = m->m.campaign = m->m.text = SLICE_NONE;
        map_put(&r->chains, slice_of(&id, sizeof id), m);
    }
    if (m && !m->recipient.n && recipient.n)
        m->recipient = slice_of(mem_dup(recipient.p, recipient.n), recipient.n);
    return m;
}

static void set_text(struct chain *m, struct slice text)
{
    if (m->m.text.n)
        free((char *)m->m.text.p);
    m->m.text = text.n ? slice_of(mem_dup(text.p, text.n), text.n) : SLICE_NONE;
}

static void move_state(struct chain *m, const struct rec_event *ev)
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
    struct chain *m = chain_of(r, ev->id, ev->recipient);
    if (!m)
        return;
    if (ev->accepted_ms)
        m->m.accepted_ms = ev->accepted_ms;
    m->m.campaign = event_name(names, NAME_CAMPAIGN, ev->campaign);
    m->m.campaign_state =
        ev->campaign < r->ncampaigns ? (enum rec_campaign_state)r->campaigns[ev->campaign] : 0;
    move_state(m, ev);
    buf_adds(&m->text, S("  "));
    text_time_plain(&m->text, ev->at_ms);
    buf_adds(&m->text, S("  "));
    explain_event(&m->text, ev, names, INDENT);
    buf_addc(&m->text, '\n');
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
        struct chain *m = e->value;
        if (slice_eq(m->m.campaign, name))
            m->m.campaign_state = (enum rec_campaign_state)c->state;
    }
}

static int on_record(void *data, const struct rec *rec)
{
    struct run *r = data;
    struct rec_event ev;
    struct chain *m;
    switch (rec->type) {
    case REC_RECIPIENT:
        event_of_recipient(&rec->recipient, &ev);
        add_event(r, &ev);
        break;
    case REC_EVENT:
        add_event(r, &rec->event);
        break;
    case REC_BEGIN:
        if ((m = known(r, rec->begin.id))) {
            m->m.state = EXPLAIN_IN_FLIGHT;
            m->m.begun_ms = rec->begin.at_ms;
        }
        break;
    case REC_CAMPAIGN:
        learn_campaign(r, &rec->campaign);
        break;
    case REC_NAME:
    case REC_SESSION:
    case REC_KEY:
    case REC_MEASURE:
    case REC_STEER:
    case REC_DUE:
    case REC_INTERVAL:
    case REC_WARMUP:
        break;
    }
    return 0;
}

/* --- what the hato that runs knows: why it waits now --- */

static void on_live(void *data, const json_t *line)
{
    struct run *r = data;
    const char *why = json_string_value(json_object_get(line, "why"));
    const char *state = json_string_value(json_object_get(line, "state"));
    struct chain *m;
    uint64_t id;
    if (event_message_parse(slice_cstr(json_string_value(json_object_get(line, "message"))), &id) ||
        !(m = known(r, id)) || !why || !state || strcmp(state, "waiting"))
        return;
    m->live_until_ms = (int64_t)json_integer_value(json_object_get(line, "until_ms"));
    buf_clear(&m->live);
    buf_adds(&m->live, slice_cstr(why));
}

/* Where none runs, the journal has said all there is. */
static void ask_live(struct run *r)
{
    struct control_answer answer = {.data = r, .line = on_live};
    struct buf request = {0};
    size_t at = 0, n = 0;
    buf_adds(&request, S("{\"command\":\"wait\",\"ids\":["));
    for (struct map_entry *e; n < ASKED_MOST && (e = map_next(&r->chains, &at));) {
        const struct chain *m = e->value;
        if (m->m.state != EXPLAIN_WAITING && m->m.state != EXPLAIN_HELD)
            continue;
        buf_adds(&request, n++ ? S(",\"") : S("\""));
        event_message_text(&request, m->id);
        buf_addc(&request, '"');
    }
    buf_adds(&request, S("]}"));
    if (n)
        control_ask(journal_state(r->journal), buf_slice(&request), ANSWER_MS, &answer, NULL);
    json_decref(answer.last);
    buf_free(&request);
}

static void put_live(struct buf *out, const struct chain *m, int64_t now_ms)
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

static void put_chain(struct run *r, const struct chain *m, bool json, struct buf *out)
{
    struct buf words = {0};
    int64_t now_ms = loop_wall_ms(journal_loop(r->journal));
    if (m->live.n)
        put_live(&words, m, now_ms);
    else
        explain_message(&words, &m->m, now_ms);
    if (json) {
        buf_adds(out, S("{\"message\":\""));
        event_message_text(out, m->id);
        buf_adds(out, S("\",\"recipient\":"));
        json_quote(out, m->recipient);
        buf_adds(out, S(",\"campaign\":"));
        if (m->m.campaign.n)
            json_quote(out, m->m.campaign);
        else
            buf_adds(out, S("null"));
        buf_printf(out, ",\"state\":\"%s\",\"next_due\":", explain_state_name(m->m.state));
        if (m->m.state == EXPLAIN_WAITING && m->m.due_ms) {
            buf_addc(out, '"');
            text_time(out, m->m.due_ms);
            buf_addc(out, '"');
        } else {
            buf_adds(out, S("null"));
        }
        buf_adds(out, S(",\"explanation\":"));
        json_quote(out, buf_slice(&words));
        buf_adds(out, S(",\"events\":["));
        buf_adds(out, buf_slice(&m->json));
        buf_adds(out, S("]}\n"));
    } else {
        if (out->n)
            buf_addc(out, '\n');
        event_message_text(out, m->id);
        buf_adds(out, S(" to "));
        text_safe(out, m->recipient);
        buf_addc(out, '\n');
        buf_adds(out, buf_slice(&m->text));
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
    struct slice who = first ? ((struct chain *)first->value)->recipient : slice_cstr(r->target);
    int rc = 0;
    if (!addr_parse(who, &r->arena, &addr, NULL)) {
        suppression_address(&address, &addr);
        rc = suppress_db_look(fs, journal_state(r->journal), &db, e);
        if (!rc)
            rc = suppress_db_each(db, buf_slice(&address), loop_wall_ms(journal_loop(r->journal)),
                                  on_suppression, &told, e);
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
        put_chain(r, m->value, json, &out);
    bool failed = fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout);
    buf_free(&out);
    return failed ? err_set(e, ERR_IO, "the output cannot be written") : 0;
}

static void run_free(struct run *r)
{
    size_t at = 0;
    for (struct map_entry *e; (e = map_next(&r->chains, &at));) {
        struct chain *m = e->value;
        set_text(m, SLICE_NONE);
        if (m->recipient.n)
            free((char *)m->recipient.p);
        buf_free(&m->text);
        buf_free(&m->json);
        buf_free(&m->live);
        free(m);
    }
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
    struct run r = {.message_id = SLICE_NONE};
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
        rc = journal_read(r.journal, on_record, &r, &e);
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
