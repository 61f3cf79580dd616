/* cmd_run.c - hato run: load the script, deliver what it defines, end when nothing falls due soon. */
#include "cmd.h"
#include "dry_run.h"
#include "run.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ASK_ABOVE = 1000, ROW_BYTES = 25, BAD_ROWS_SHOWN = 20, REDIRECT_LIMIT = 100 };

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
    {OPT_STRING, "redirect", "ADDRESS", "send everything there instead, marked as test",
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
    uint64_t bad_shown;
    int level;
};

static void on_notice(void *data, int level, const char *text)
{
    struct program *p = data;
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if (level >= p->level)
        fprintf(stderr, "level=%s %s\n", names[level], text);
}

static void on_bad_row(void *data, const struct campaign *c, uint64_t line, struct slice address,
                       const char *why)
{
    struct program *p = data;
    if (++p->bad_shown <= BAD_ROWS_SHOWN || p->a.dry_run)
        fprintf(stderr, "%.*s:%llu: %s\n", SLICE_FMT(c->conf->csv_path), (unsigned long long)line, why);
    else if (p->bad_shown == BAD_ROWS_SHOWN + 1)
        fprintf(stderr, "... more bad rows; --dry-run lists them all\n");
    (void)address;
}

static void on_intake(void *data, const struct campaign *c, const struct intake_counts *n, int status,
                      const struct err *e)
{
    struct program *p = data;
    if (status || p->a.json)
        return;
    fprintf(stderr, "%.*s: %llu known, %llu new", SLICE_FMT(c->name), (unsigned long long)n->known,
            (unsigned long long)n->fresh);
    if (n->bad)
        fprintf(stderr, ", %llu bad rows", (unsigned long long)n->bad);
    fprintf(stderr, "\n");
    (void)e;
}

static void on_signal(int signum, void *data)
{
    struct program *p = data;
    (void)signum;
    if (p->run)
        run_stop(p->run);
}

static int deliver_all(struct program *p, struct err *e)
{
    struct deliver_counts c;
    int64_t started_ns = loop_now_ns(hato_loop(p->hato));
    struct loop_signal *ints = loop_signal_new(hato_loop(p->hato), SIGINT, on_signal, p);
    struct loop_signal *terms = loop_signal_new(hato_loop(p->hato), SIGTERM, on_signal, p);
    p->run = run_new(&(struct run_conf){.hato = p->hato,
                                        .wait_ms = p->a.wait_ms,
                                        .only = &p->a.only,
                                        .limit = p->a.limit,
                                        .test = p->a.redirect != NULL,
                                        .data = p,
                                        .bad_row = on_bad_row,
                                        .intake = on_intake});
    int r = run_loop(p->run, e);
    c = deliver_counts(hato_deliver(p->hato));
    double seconds = (double)(loop_now_ns(hato_loop(p->hato)) - started_ns) / 1e9;
    if (p->a.json)
        printf("{\"accepted\":%llu,\"delivered\":%llu,\"bounced\":%llu,\"expired\":%llu,\"suppressed\":0,"
               "\"deferred\":%zu,"
               "\"rejected_rows\":%llu,\"seconds\":%.3f}\n",
               (unsigned long long)c.accepted, (unsigned long long)c.delivered, (unsigned long long)c.bounced,
               (unsigned long long)c.expired, c.queued, (unsigned long long)run_rejected(p->run), seconds);
    else
        printf("accepted %llu, delivered %llu, bounced %llu, expired %llu, deferred %zu, rejected rows %llu, "
               "%.1f s\n",
               (unsigned long long)c.accepted, (unsigned long long)c.delivered, (unsigned long long)c.bounced,
               (unsigned long long)c.expired, c.queued, (unsigned long long)run_rejected(p->run), seconds);
    run_free(p->run);
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

static int level_of(const char *name, int *out)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    for (int i = 0; i < 4; i++) {
        if (slice_eq(slice_cstr(name), slice_cstr(names[i]))) {
            *out = i;
            return 0;
        }
    }
    return ERR_INVAL;
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
    if (!r && level_of(p.a.log, &p.level))
        r = err_set(&e, ERR_INVAL, "--log wants error, warn, info or debug, not \"%s\"", p.a.log);
    if (!r && (p.a.smtp_port < 0 || p.a.smtp_port > 65535))
        r = err_set(&e, ERR_INVAL, "--smtp-port wants a port, not %lld", (long long)p.a.smtp_port);
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
                             .redirect = p.a.redirect,
                             .memory_state = p.a.dry_run,
                             .data = &p,
                             .notice = on_notice};
    int code = EXIT_DONE;
    r = hato_new(&o, &p.hato, &e);
    if (!r)
        r = hato_load(p.hato, &e);
    if (!r)
        r = hato_open(p.hato, &e);
    if (r) {
        fprintf(stderr, "hato run: %s\n", e.text);
        code = r == ERR_INVAL || r == ERR_SYNTAX || r == ERR_MISSING || r == ERR_NOTFOUND ? EXIT_USAGE
                                                                                          : EXIT_FAILED;
    } else if (p.a.dry_run ? dry_run(
                                 &(struct dry_run_conf){
                                     .hato = p.hato, .json = p.a.json, .data = &p, .bad_row = on_bad_row},
                                 &e)
                           : (ask(&p, &e) || deliver_all(&p, &e))) {
        fprintf(stderr, "hato run: %s\n", e.text);
        code = EXIT_FAILED;
    }
    hato_free(p.hato);
    return code;
}
