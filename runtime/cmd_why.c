/* cmd_why.c - hato why: the chain of what happened to the messages of an address, and what is next. */
#include "cmd.h"
#include "aftermath.h"
#include "base/json.h"
#include "base/words.h"
#include "control.h"
#include "delivery/suppress_db.h"
#include "format/addr.h"
#include "format/text.h"
#include "opts.h"
#include "story.h"

#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MS = 10000, ASKED_MOST = 1000, SHOWN_MS = 1000 };

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

struct run {
    const char *target;
    struct journal *journal;
    struct stories *stories;
    struct aftermath *aftermath;
    bool running;
    int64_t now_ms;
    struct arena arena;
};

/* --- what the hato that runs knows: why it waits now --- */

static void on_live(void *data, const json_t *line)
{
    struct run *r = data;
    const char *why = json_string_value(json_object_get(line, "why"));
    const char *state = json_string_value(json_object_get(line, "state"));
    struct story *m;
    uint64_t id;
    if (event_message_parse(slice_cstr(json_string_value(json_object_get(line, "message"))), &id) ||
        !(m = stories_get(r->stories, id)) || !why || !state || strcmp(state, "waiting"))
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
    for (const struct story *m; n < ASKED_MOST && (m = stories_next(r->stories, &at));) {
        if (m->m.at.state != STANDING_WAITING && m->m.at.state != STANDING_HELD)
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
    buf_adds(out, m->m.at.state == STANDING_HELD ? S("Held: ") : S("Waiting: "));
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

/* None runs: what keeps it back besides that, and how people let it go on. */
static bool put_rest(struct buf *out, const struct run *r, const struct story *m)
{
    const struct rest *rest = stories_rest(r->stories);
    const struct rest_message *x = r->running ? NULL : rest_get(rest, m->c.id);
    struct buf why = {0};
    bool held = x && rest_wait(rest, x, &why);
    if (held) {
        const struct rest_pause *p = rest_paused(rest, x);
        buf_adds(out, S("Waiting: "));
        buf_adds(out, buf_slice(&why));
        buf_adds(out, S(". No hato runs on this folder; `hato resume "));
        if (p) {
            buf_printf(out, "%s=", steer_kind_name(p->kind));
            text_safe(out, p->name);
        } else {
            buf_adds(out, S("measure="));
            measure_name(out, rest_held_by(rest, x)->number);
        }
        buf_adds(out, S("` lets it go on when one does."));
    }
    buf_free(&why);
    return held;
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
    chain_walk(&m->c, stories_reasons(r->stories), journal_names(r->journal), r->now_ms, on_stretch, &t);
    flush_wait(&t);
}

static void put_life(struct run *r, const struct story *m, struct buf *out)
{
    size_t next = 0;
    for (size_t i = 0; i < m->nlines; i++) {
        const struct story_line *line = &m->lines[i];
        for (; next <= line->step; next++)
            put_waits(r, m, next, out);
        buf_adds(out, S("  "));
        text_time_plain(out, line->at_ms);
        buf_adds(out, S("  "));
        buf_add(out, m->text.p + line->from, line->to - line->from);
        buf_addc(out, '\n');
        aftermath_text(r->aftermath, m, line->step, out);
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
    buf_printf(out, ",\"state\":\"%s\",\"next_due\":", standing_name((enum standing_state)m->m.at.state));
    text_time_json(out, m->m.at.state == STANDING_WAITING ? m->m.at.due_ms : 0);
    buf_adds(out, S(",\"explanation\":"));
    json_quote(out, words);
    buf_adds(out, S(",\"waits\":["));
    chain_walk(&m->c, stories_reasons(r->stories), journal_names(r->journal), r->now_ms, on_json_stretch, &t);
    buf_printf(out, "],\"unnamed_ms\":%lld,\"measures\":[", (long long)t.unnamed_ms);
    aftermath_json(r->aftermath, m, out);
    buf_adds(out, S("],\"events\":["));
    buf_adds(out, buf_slice(&m->json));
    buf_adds(out, S("]}\n"));
}

static void put_story(struct run *r, const struct story *m, bool json, struct buf *out)
{
    struct buf words = {0};
    if (m->live.n)
        put_live(&words, m, r->now_ms);
    else if (!put_rest(&words, r, m))
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
    const struct story *first = stories_next(r->stories, &at);
    struct slice who = first ? first->c.recipient : slice_cstr(r->target);
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
    size_t at = 0, none = 0;
    int rc = put_suppressions(r, json, &out, e);
    if (rc)
        return rc;
    if (!stories_next(r->stories, &none) && !out.n)
        return err_set(e, ERR_NOTFOUND,
                       "nothing is known of \"%s\" in %s: no such message was accepted, or its last event is "
                       "older than the time for which events are kept. A row that was rejected is listed "
                       "by `hato run --dry-run`.",
                       r->target, journal_state(r->journal));
    for (const struct story *m; (m = stories_next(r->stories, &at));)
        put_story(r, m, json, &out);
    bool failed = fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout);
    buf_free(&out);
    return failed ? err_set(e, ERR_IO, "the output cannot be written") : 0;
}

static int look(struct run *r, const struct args *args, struct err *e)
{
    r->stories = stories_new(r->journal, r->target);
    say_why(r);
    int rc = stories_read(r->stories, e);
    r->now_ms = loop_wall_ms(journal_loop(r->journal));
    reasons_end(stories_reasons(r->stories), r->now_ms, r->running);
    if (!rc)
        rc = aftermath_new(r->stories, r->journal, &r->aftermath, e);
    if (!rc)
        ask_live(r);
    return rc ? rc : tell(r, args->json, e);
}

int cmd_why(int argc, char **argv)
{
    struct args args = {0};
    struct opt_list words = {.n = 0};
    struct run r = {0};
    struct err e = {0};
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
    r.target = words.v[0];
    rc = journal_open("why", args.state, &r.journal, &e);
    if (!rc)
        rc = look(&r, &args, &e);
    if (rc)
        fprintf(stderr, "hato why: %s\n", e.text);
    aftermath_free(r.aftermath);
    stories_free(r.stories);
    arena_free(&r.arena);
    journal_close(r.journal);
    return rc ? EXIT_FAILED : EXIT_DONE;
}
