/* cmd_events.c - hato events: what happened, from the journal, once or as it comes. */
#include "cmd.h"
#include "base/words.h"
#include "journal.h"
#include "opts.h"

#include <signal.h>
#include <stdio.h>

enum { POLL_MS = 200, FLUSH_BYTES = 1 << 16 };

struct args {
    const char *state, *campaign;
    struct opt_list types;
    int64_t since_ms;
    bool json, follow, help;
};

static const struct opt options[] = {
    {OPT_STRING, "state", "DIR", "the state folder (default " JOURNAL_STATE_DEFAULT ")",
     offsetof(struct args, state)},
    {OPT_FLAG, "json", NULL, "one JSON object a line", offsetof(struct args, json)},
    {OPT_FLAG, "follow", NULL, "go on with what comes, until Ctrl-C", offsetof(struct args, follow)},
    {OPT_MANY, "type", "TYPE...", "only these, such as bounced expired", offsetof(struct args, types)},
    {OPT_STRING, "campaign", "NAME", "only of this campaign", offsetof(struct args, campaign)},
    {OPT_DURATION, "since", "DURATION", "only of the last \"2 h\", \"3 days\" ...",
     offsetof(struct args, since_ms)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato events [--state DIR] [--json] [--follow] [--type TYPE...] [--campaign NAME] [--since DURATION]\n\n"
    "Prints what happened to messages: accepted, delivered, deferred, bounced, expired and so on, oldest\n"
    "first, times in UTC. Reads the journal of a state folder at rest or of a running hato.";

struct run {
    const struct args *args;
    struct journal *journal;
    bool wanted[EVENT_TYPES];
    int64_t from_ms;
    struct buf out;
    struct loop_timer timer;
    struct err err;
    int rc;
};

static int parse_types(const struct opt_list *words, bool wanted[EVENT_TYPES], struct err *e)
{
    struct slice names[EVENT_TYPES - 1];
    for (unsigned t = 1; t < EVENT_TYPES; t++) {
        names[t - 1] = rec_event_name(t);
        wanted[t] = !words->n;
    }
    for (size_t i = 0; i < words->n; i++) {
        unsigned t = 1;
        while (t < EVENT_TYPES && !slice_eq(names[t - 1], slice_cstr(words->v[i])))
            t++;
        if (t < EVENT_TYPES) {
            wanted[t] = true;
            continue;
        }
        struct slice near = words_near(slice_cstr(words->v[i]), names, COUNT(names));
        if (near.n)
            return err_set(e, ERR_INVAL, "no event is called \"%s\"; did you mean %.*s?", words->v[i],
                           SLICE_FMT(near));
        return err_set(e, ERR_INVAL,
                       "no event is called \"%s\"; there are accepted, delivered, deferred, "
                       "bounced, expired, ambiguous, suppressed, cancelled, held and others",
                       words->v[i]);
    }
    return 0;
}

static int flush(struct run *r)
{
    bool failed = r->out.n && (fwrite(r->out.p, 1, r->out.n, stdout) != r->out.n || fflush(stdout));
    buf_clear(&r->out);
    return failed ? err_set(&r->err, ERR_IO, "the output cannot be written") : 0;
}

static int on_record(void *data, const struct rec *rec)
{
    struct run *r = data;
    const struct event_names *names = journal_names(r->journal);
    struct rec_event ev;
    if (rec->type == REC_RECIPIENT)
        event_of_recipient(&rec->recipient, &ev);
    else if (rec->type == REC_EVENT)
        ev = rec->event;
    else
        return 0;
    if (ev.type >= EVENT_TYPES || !r->wanted[ev.type] || ev.at_ms < r->from_ms)
        return 0;
    if (r->args->campaign &&
        !slice_eq(event_name(names, NAME_CAMPAIGN, ev.campaign), slice_cstr(r->args->campaign)))
        return 0;
    if (r->args->json)
        event_json(&r->out, &ev, names);
    else
        event_line(&r->out, &ev, names);
    buf_addc(&r->out, '\n');
    return r->out.n >= FLUSH_BYTES ? flush(r) : 0;
}

static int read_on(struct run *r)
{
    int rc = journal_read(r->journal, on_record, r, &r->err);
    return rc ? rc : flush(r);
}

static void on_poll(struct loop_timer *t)
{
    struct run *r = CONTAINER(t, struct run, timer);
    r->rc = read_on(r);
    if (r->rc)
        loop_stop(journal_loop(r->journal));
    else
        loop_timer_start(journal_loop(r->journal), t, POLL_MS, on_poll);
}

static void on_signal(int signum, void *data)
{
    loop_stop(data);
}

static void follow(struct run *r)
{
    struct loop *loop = journal_loop(r->journal);
    struct loop_signal *signals[] = {loop_signal_new(loop, SIGINT, on_signal, loop),
                                     loop_signal_new(loop, SIGTERM, on_signal, loop)};
    loop_timer_start(loop, &r->timer, POLL_MS, on_poll);
    loop_run(loop);
    loop_timer_stop(loop, &r->timer);
    for (size_t i = 0; i < COUNT(signals); i++)
        loop_signal_free(signals[i]);
}

int cmd_events(int argc, char **argv)
{
    struct args args = {.since_ms = INT64_MAX};
    struct run r = {.args = &args};
    if (opts_parse(argc, argv, options, &args, NULL, &r.err) ||
        (!args.help && parse_types(&args.types, r.wanted, &r.err))) {
        fprintf(stderr, "hato events: %s\n", r.err.text);
        return EXIT_USAGE;
    }
    if (args.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    r.rc = journal_open("events", args.state, &r.journal, &r.err);
    if (!r.rc) {
        if (args.since_ms != INT64_MAX)
            r.from_ms = loop_wall_ms(journal_loop(r.journal)) - args.since_ms;
        r.rc = read_on(&r);
        if (!r.rc && args.follow)
            follow(&r);
    }
    if (r.rc)
        fprintf(stderr, "hato events: %s\n", r.err.text);
    journal_close(r.journal);
    buf_free(&r.out);
    return r.rc ? EXIT_FAILED : EXIT_DONE;
}
