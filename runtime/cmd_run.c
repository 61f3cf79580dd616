/* cmd_run.c - hato run: load the script, deliver what it defines, end when nothing falls due soon. */
#include "cmd.h"
#include "delivery/report.h"
#include "delivery/wait.h"
#include "dry_run.h"
#include "format/text.h"
#include "operate.h"
#include "platform/log.h"
#include "progress.h"
#include "run.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ASK_ABOVE = 1000, ROW_BYTES = 25, BAD_ROWS_SHOWN = 20, LIMITS_SHOWN = 5, REDIRECT_LIMIT = 100 };

struct args {
    const char *state, *dns, *redirect, *log;
    int64_t smtp_port, wait_ms, limit;
    struct opt_list sets, only;
    bool json, dry_run, yes, help;
};

static const struct opt options[] = {
    {OPT_STRING, "state", "DIR", "spool, database and control socket (default ./hato-state)",
     offsetof(struct args, state)},
    {OPT_DURATION, "wait", "DURATION",
     "end when nothing falls due within it (default \"10 min\"; 0; forever)", offsetof(struct args, wait_ms)},
    {OPT_FLAG, "dry-run", NULL, "send nothing: count by ISP, list bad rows", offsetof(struct args, dry_run)},
    {OPT_MANY, "only", "ADDRESS…", "send to these alone", offsetof(struct args, only)},
    {OPT_STRING, "redirect", "ADDRESS", "a test: everything goes there, marked as test; leaves no state",
     offsetof(struct args, redirect)},
    {OPT_INT, "limit", "N", "at most so many recipients (with --redirect 100 unless given)",
     offsetof(struct args, limit)},
    {OPT_STRING, "dns", "HOST:PORT", "ask this DNS server instead of the system's",
     offsetof(struct args, dns)},
    {OPT_INT, "smtp-port", "N", "connect to this port instead of 25", offsetof(struct args, smtp_port)},
    {OPT_LIST, "set", "KEY=VALUE", "reaches the script as hato.args", offsetof(struct args, sets)},
    {OPT_STRING, "log", "LEVEL", "error, warn, info or debug (default warn)", offsetof(struct args, log)},
    {OPT_FLAG, "json", NULL, "one object at the end instead of words", offsetof(struct args, json)},
    {OPT_FLAG, "yes", NULL, "do not ask, however many recipients", offsetof(struct args, yes)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato run FILE [options]\n\n"
    "Loads the script and delivers what it defines. What is not delivered when it ends stays in\n"
    "the state folder and goes on at the next run. Ctrl-C lets open transactions finish (10 s).";

struct program {
    struct args a;
    struct hato *hato;
    struct run *run;
    struct operate *operate;
    struct report report;
    struct progress *progress;
    struct log log;
    uint64_t bad_shown, carried;
};

static void before_line(void *data)
{
    struct program *p = data;
    progress_erase(p->progress);
}

static void on_notice(void *data, int level, const char *text)
{
    struct program *p = data;
    static const enum log_level levels[] = {LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR};
    log_line(&p->log, levels[level], "hato", "%s", text);
}

static void on_event(void *data, const struct rec_event *ev)
{
    struct program *p = data;
    struct deliver *d = hato_deliver(p->hato);
    report_event(&p->report, ev, deliver_name(d, NAME_ISP, ev->isp),
                 deliver_name(d, NAME_CAMPAIGN, ev->campaign));
}

static void on_progress(void *data, struct progress_counts *out)
{
    struct program *p = data;
    struct deliver_counts c = deliver_counts(hato_deliver(p->hato));
    *out = (struct progress_counts){.total = c.accepted + p->carried - c.suppressed,
                                    .delivered = c.delivered,
                                    .bounced = c.bounced + c.expired,
                                    .deferred = c.retry,
                                    .reading = run_is_reading(p->run)};
}

static void on_print(void *data, struct slice line)
{
    struct program *p = data;
    progress_erase(p->progress);
    printf("%.*s\n", SLICE_FMT(line));
}

static void on_waiting(void *data, struct slice isp, struct slice campaign, uint64_t n)
{
    struct program *p = data;
    report_waiting(&p->report, isp, campaign, n);
}

static void on_bad_row(void *data, const struct campaign *c, uint64_t line, struct slice address,
                       const char *why)
{
    struct program *p = data;
    progress_erase(p->progress);
    if (++p->bad_shown <= BAD_ROWS_SHOWN || p->a.dry_run)
        intake_say_bad(c, line, why);
    else if (p->bad_shown == BAD_ROWS_SHOWN + 1)
        fprintf(stderr, "... more bad rows; --dry-run lists them all\n");
    (void)address;
}

static void on_intake(void *data, const struct campaign *c, const struct intake_counts *n, int status,
                      const struct err *e)
{
    struct program *p = data;
    report_accepted(&p->report, c->name, n->fresh);
    p->report.known += n->known;
    if (status || p->a.json)
        return;
    progress_erase(p->progress);
    struct buf line = {0};
    buf_adds(&line, c->name);
    buf_adds(&line, S(": "));
    text_count(&line, n->known);
    buf_adds(&line, S(" known, "));
    text_count(&line, n->fresh);
    buf_adds(&line, S(" new"));
    if (n->bad) {
        buf_adds(&line, S(", "));
        text_count(&line, n->bad);
        buf_adds(&line, n->bad == 1 ? S(" bad row") : S(" bad rows"));
    }
    if (n->unranked) {
        buf_adds(&line, S(", "));
        text_count(&line, n->unranked);
        buf_adds(&line, S(" without a number or date to order them by went last"));
    }
    fprintf(stderr, "%.*s\n", SLICE_FMT(buf_slice(&line)));
    buf_free(&line);
    (void)e;
}

static void on_signal(int signum, void *data)
{
    struct program *p = data;
    (void)signum;
    if (p->run)
        run_stop(p->run);
}

/* "408 wait for measure M1 (suspend, nothing goes) by …: 550 …; until 2026-11-22 16:43:57; `hato resume
 * measure=M1` lifts it" */
static void on_measure(void *data, const struct wait_measure *w)
{
    struct buf *out = data;
    if (!w->waiting)
        return;
    text_count(out, w->waiting);
    buf_adds(out, w->waiting == 1 ? S(" waits for ") : S(" wait for "));
    measure_text(out, w->m);
    if (measure_changes_ms(w->m)) {
        buf_adds(out, S("; until "));
        text_time_plain(out, measure_changes_ms(w->m));
    }
    buf_printf(out, "; `hato resume measure=M%u` lifts it\n", w->m->number);
}

static void print_report(struct program *p, int64_t elapsed_ms)
{
    struct deliver_counts c = deliver_counts(hato_deliver(p->hato));
    struct buf text = {0};
    uint64_t counted = p->report.total.accepted;
    p->report.elapsed_ms = elapsed_ms;
    p->report.rejected_rows = run_rejected(p->run);
    p->report.carried = p->carried;
    if (c.accepted > counted) /* by hato.send */
        report_accepted(&p->report, SLICE_NONE, c.accepted - counted);
    deliver_waiting(hato_deliver(p->hato), on_waiting, p);
    if (p->a.json) {
        report_json(&p->report, &text);
        buf_addc(&text, '\n');
    } else {
        report_text(&p->report, &text);
        wait_limits_text(hato_deliver(p->hato), LIMITS_SHOWN, &text);
        wait_measures(hato_deliver(p->hato), on_measure, &text);
    }
    fwrite(text.p, 1, text.n, stdout);
    buf_free(&text);
}

/* How long the loop was away from its sockets: what `--log debug` is asked for when receivers time out. */
static void log_turns(struct program *p)
{
    struct loop_stats s = loop_stats(hato_loop(p->hato));
    log_line(&p->log, LOG_LEVEL_DEBUG, "loop",
             "turns=%" PRIu64 " over_10ms=%" PRIu64 " over_50ms=%" PRIu64 " longest_us=%" PRId64, s.turns,
             s.over_10ms, s.over_50ms, s.longest_ns / 1000);
}

static int deliver_all(struct program *p, struct err *e)
{
    struct loop *loop = hato_loop(p->hato);
    int64_t started_ns = loop_now_ns(loop);
    struct deliver_counts before = deliver_counts(hato_deliver(p->hato));
    struct buf broken = {0};
    struct loop_signal *ints = loop_signal_new(loop, SIGINT, on_signal, p);
    struct loop_signal *terms = loop_signal_new(loop, SIGTERM, on_signal, p);
    p->carried = before.queued + before.delivered + before.bounced + before.expired + before.suppressed -
                 before.accepted;
    p->run = run_new(&(struct run_conf){.hato = p->hato,
                                        .wait_ms = p->a.wait_ms,
                                        .test = p->a.redirect != NULL,
                                        .data = p,
                                        .bad_row = on_bad_row,
                                        .intake = on_intake});
    p->progress = progress_new(loop, !p->a.json, on_progress, p);
    int r = run_loop(p->run, e);
    progress_free(p->progress);
    p->progress = NULL;
    log_turns(p);
    print_report(p, (loop_now_ns(loop) - started_ns) / 1000000);
    if (!r && deliver_is_broken(hato_deliver(p->hato), &broken))
        r = err_set(e, ERR_CANCELED, "%.*s", SLICE_FMT(buf_slice(&broken)));
    buf_free(&broken);
    run_free(p->run);
    p->run = NULL;
    loop_signal_free(ints);
    loop_signal_free(terms);
    return r;
}

/* Over 1,000 people a person at a terminal is asked once: the state is opened, nothing was accepted yet. */
static int ask(struct program *p, struct err *e)
{
    const struct conf *conf = hato_conf(p->hato);
    struct fs_stat st;
    uint64_t bytes = 0;
    char line[16];
    if (p->a.yes || p->a.limit || p->a.only.n || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return 0;
    for (size_t i = 0; i < conf->ncampaigns; i++) {
        char *path = mem_dup(conf->campaigns[i].csv_path.p, conf->campaigns[i].csv_path.n);
        if (conf->campaigns[i].people == CONF_PEOPLE_CSV &&
            !fs_stat(hato_script_fs(p->hato), path, &st, NULL))
            bytes += st.size;
        free(path);
    }
    if (bytes < (uint64_t)ASK_ABOVE * ROW_BYTES)
        return 0;
    fprintf(stderr, "This sends to more than %d people (some %llu KB of addresses). Go on? [y/N] ", ASK_ABOVE,
            (unsigned long long)(bytes / 1024));
    if (!fgets(line, sizeof line, stdin) || (line[0] != 'y' && line[0] != 'Y'))
        return err_set(e, ERR_CANCELED, "not sent");
    return 0;
}

int cmd_run(int argc, char **argv)
{
    struct program p = {.a = {.state = "hato-state", .wait_ms = 600000, .log = "warn"}};
    struct opt_list files = {0};
    struct err e = {0};
    int r = opts_parse(argc, argv, options, &p.a, &files, &e);
    if (!r && p.a.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    if (!r && files.n != 1)
        r = err_set(&e, ERR_INVAL, "one script, please: hato run FILE");
    if (!r && log_level_parse(slice_cstr(p.a.log), &p.log.level))
        r = err_set(&e, ERR_INVAL, "--log wants error, warn, info or debug, not \"%s\"", p.a.log);
    if (!r && (p.a.smtp_port < 0 || p.a.smtp_port > 65535))
        r = err_set(&e, ERR_INVAL, "--smtp-port wants a port, not %lld", (long long)p.a.smtp_port);
    if (!r && p.a.limit < 0)
        r = err_set(&e, ERR_INVAL, "--limit wants a number of recipients, not %lld", (long long)p.a.limit);
    if (r) {
        fprintf(stderr, "hato run: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (p.a.redirect && !p.a.limit)
        p.a.limit = REDIRECT_LIMIT;
    struct hato_options o = {.script = files.v[0],
                             .state = p.a.state,
                             .dns = p.a.dns,
                             .smtp_port = (uint16_t)p.a.smtp_port,
                             .sets = &p.a.sets,
                             .only = &p.a.only,
                             .limit = (uint64_t)p.a.limit,
                             .redirect = p.a.redirect,
                             .memory_state = p.a.dry_run || p.a.redirect,
                             .looks_at_people = p.a.dry_run || p.a.redirect,
                             .sends_nothing = p.a.dry_run,
                             .data = &p,
                             .event = on_event,
                             .notice = on_notice,
                             .print = on_print};
    report_init(&p.report, (struct hash_key){0x7265706f, 0x7274});
    p.log.before = before_line;
    p.log.data = &p;
    int code = EXIT_DONE;
    r = hato_new(&o, &p.hato, &e);
    if (!r)
        p.log.loop = hato_loop(p.hato);
    if (!r)
        r = hato_load(p.hato, &e);
    if (!r)
        r = hato_open(p.hato, &e);
    if (!r && !o.memory_state)
        r = operate_new(&(struct operate_conf){.hato = p.hato, .state = p.a.state}, &p.operate, &e);
    if (r) {
        fprintf(stderr, "hato run: %s\n", e.text);
        code = exit_of_script(r);
    } else if (p.a.dry_run ? dry_run(
                                 &(struct dry_run_conf){
                                     .hato = p.hato, .json = p.a.json, .data = &p, .bad_row = on_bad_row},
                                 &e)
                           : (ask(&p, &e) || deliver_all(&p, &e))) {
        fprintf(stderr, "hato run: %s\n", e.text);
        code = EXIT_FAILED;
    }
    operate_free(p.operate);
    hato_free(p.hato);
    report_free(&p.report);
    log_free(&p.log);
    return code;
}
