/* cmd_serve.c - hato serve: the daemon. hato reload: have it read its script again.
 *
 * A reload reads the script beside the one that runs, in a Lua state of its own, and checks it against the
 * state folder. If it can take the place, nothing new begins, open transactions end, and delivery starts
 * again from its journal as it would after a restart: one way to start, for everything that a script may
 * change. A script that fails changes nothing, and neither does a transaction that does not end. */
#include "cmd.h"
#include "format/text.h"
#include "journal.h"
#include "metrics.h"
#include "operate.h"
#include "platform/log.h"
#include "run.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BAD_ROWS_SHOWN = 20,
    SWAP_TICK_MS = 20,
    SWAP_DRAIN_MS = 60000,
    SWAP_GOODBYE_MS = 2000,
    RELOAD_ANSWER_MS = 600000,
};

struct args {
    const char *state, *dns, *log, *metrics;
    int64_t smtp_port, drain_ms;
    struct opt_list sets;
    bool help;
};

static const struct opt options[] = {
    {OPT_STRING, "state", "DIR", "journal and control socket (default " JOURNAL_STATE_DEFAULT ")",
     offsetof(struct args, state)},
    {OPT_DURATION, "drain", "DURATION",
     "how long open transactions may take after SIGTERM (default \"30 s\")", offsetof(struct args, drain_ms)},
    {OPT_STRING, "dns", "HOST:PORT", "ask this DNS server instead of the system's",
     offsetof(struct args, dns)},
    {OPT_INT, "smtp-port", "N", "connect to this port instead of 25", offsetof(struct args, smtp_port)},
    {OPT_LIST, "set", "KEY=VALUE", "reaches the script as hato.args", offsetof(struct args, sets)},
    {OPT_STRING, "metrics", "ADDRESS:PORT", "answer Prometheus at /metrics there; a loopback address",
     offsetof(struct args, metrics)},
    {OPT_STRING, "log", "LEVEL", "error, warn, info or debug (default info)", offsetof(struct args, log)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato serve FILE [options]\n\n"
    "Loads the script and delivers what it defines, in the foreground, until it is stopped. SIGTERM and\n"
    "Ctrl-C let open transactions finish; a second one ends at once. SIGHUP, or `hato reload`, reads the\n"
    "script again. Tells systemd when it is ready (Type=notify) and that it lives (WatchdogSec=).";

/* What a reload waits for. */
enum swap { SWAP_NONE, SWAP_READING, SWAP_DRAINING, SWAP_GOODBYE, SWAP_NOW };

struct daemon {
    struct args a;
    struct hato *hato;
    struct run *run;
    struct operate *operate;
    struct metrics *metrics;
    struct log log;
    struct control_call *asker; /* of the reload; NULL: it was a signal */
    enum swap swap;
    int64_t swap_end_ms; /* loop_now_ms() */
    struct loop_timer swap_timer, watchdog;
    int64_t watchdog_ms;
    uint64_t bad_shown;
    bool stopping;
};

/* --- systemd --- */

static void tell_manager(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void tell_manager(const char *fmt, ...)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct buf words = {0};
    va_list ap;
    if (!name || !*name)
        return;
    va_start(ap, fmt);
    buf_vprintf(&words, fmt, ap);
    va_end(ap);
    conn_notify(name, buf_slice(&words)); /* a manager that is not there is no reason to stop */
    buf_free(&words);
}

static void on_watchdog(struct loop_timer *t)
{
    struct daemon *d = CONTAINER(t, struct daemon, watchdog);
    tell_manager("WATCHDOG=1");
    loop_timer_start(hato_loop(d->hato), t, d->watchdog_ms, on_watchdog);
}

/* sd_watchdog_enabled(3): twice in the time that it gives us. */
static void start_watchdog(struct daemon *d)
{
    const char *usec = getenv("WATCHDOG_USEC");
    uint64_t n;
    if (!usec || slice_u64(slice_cstr(usec), &n) || n < 2000 || n / 2000 > INT32_MAX)
        return;
    d->watchdog_ms = (int64_t)(n / 2000);
    on_watchdog(&d->watchdog);
}

/* --- what is said --- */

static void on_notice(void *data, int level, const char *text)
{
    struct daemon *d = data;
    static const enum log_level levels[] = {LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR};
    log_line(&d->log, levels[level], "hato", "%s", text);
}

static void on_print(void *data, struct slice line)
{
    (void)data;
    printf("%.*s\n", SLICE_FMT(line));
    fflush(stdout);
}

static void on_bad_row(void *data, const struct campaign *c, uint64_t line, struct slice address,
                       const char *why)
{
    struct daemon *d = data;
    (void)address;
    if (++d->bad_shown <= BAD_ROWS_SHOWN)
        intake_say_bad(c, line, why);
    else if (d->bad_shown == BAD_ROWS_SHOWN + 1)
        fprintf(stderr, "... more bad rows; `hato run --dry-run` lists them all\n");
}

static void on_intake(void *data, const struct campaign *c, const struct intake_counts *n, int status,
                      const struct err *e)
{
    struct daemon *d = data;
    if (status)
        log_line(&d->log, LOG_LEVEL_ERROR, "intake", "campaign=\"%.*s\" %s", SLICE_FMT(c->name), e->text);
    else
        log_line(&d->log, LOG_LEVEL_INFO, "intake",
                 "campaign=\"%.*s\" known=%" PRIu64 " new=%" PRIu64 " bad_rows=%" PRIu64, SLICE_FMT(c->name),
                 n->known, n->fresh, n->bad);
}

/* --- reload --- */

/* sd_notify(3): a reload begins with its time and ends with READY=1, whatever came of it. */
static void tell_reloading(const struct daemon *d)
{
    tell_manager("RELOADING=1\nMONOTONIC_USEC=%" PRId64, loop_now_ns(hato_loop(d->hato)) / 1000);
}

static void be_ready(const struct daemon *d)
{
    struct deliver_counts c = deliver_counts(hato_deliver(d->hato));
    tell_manager("READY=1\nSTATUS=%zu messages on their way", c.queued);
}

static void swap_answer(struct daemon *d, int status, const char *text)
{
    struct control_call *call = d->asker;
    d->asker = NULL;
    d->swap = SWAP_NONE;
    loop_timer_stop(hato_loop(d->hato), &d->swap_timer);
    if (status)
        log_line(&d->log, LOG_LEVEL_ERROR, "reload", "nothing was changed: %s", text);
    else
        log_line(&d->log, LOG_LEVEL_INFO, "reload", "the script was swapped");
    if (!d->stopping)
        be_ready(d);
    if (call)
        control_end(call, status, status ? slice_cstr(text) : SLICE_NONE);
}

/* Open transactions end first; whoever does not end in time keeps the old script. */
static void on_swap_tick(struct loop_timer *t)
{
    struct daemon *d = CONTAINER(t, struct daemon, swap_timer);
    struct loop *loop = hato_loop(d->hato);
    struct deliver_counts c = deliver_counts(hato_deliver(d->hato));
    bool is_late = loop_now_ms(loop) >= d->swap_end_ms;
    char text[160];
    if (d->swap == SWAP_DRAINING && !c.in_flight) {
        d->swap = SWAP_GOODBYE;
        d->swap_end_ms = loop_now_ms(loop) + SWAP_GOODBYE_MS;
    } else if (d->swap == SWAP_DRAINING && is_late) {
        deliver_undrain(hato_deliver(d->hato));
        hato_next_drop(d->hato);
        snprintf(text, sizeof text, "%zu open transaction%s did not end within a minute; try again",
                 c.in_flight, c.in_flight == 1 ? "" : "s");
        swap_answer(d, ERR_TIMEOUT, text);
        return;
    } else if (d->swap == SWAP_GOODBYE && (!c.connections || is_late)) {
        d->swap = SWAP_NOW;
        loop_stop(loop);
        return;
    }
    loop_timer_start(loop, t, SWAP_TICK_MS, on_swap_tick);
}

static void on_next(void *data, int status, const struct err *e)
{
    struct daemon *d = data;
    if (status) {
        swap_answer(d, status, e->text);
        return;
    }
    d->swap = SWAP_DRAINING;
    d->swap_end_ms = loop_now_ms(hato_loop(d->hato)) + SWAP_DRAIN_MS;
    deliver_drain(hato_deliver(d->hato));
    struct deliver_counts c = deliver_counts(hato_deliver(d->hato));
    if (c.in_flight)
        log_line(&d->log, LOG_LEVEL_INFO, "reload", "open transactions finish in_flight=%zu", c.in_flight);
    on_swap_tick(&d->swap_timer);
}

static void swap_begin(struct daemon *d, struct control_call *call, const struct opt_list *content)
{
    struct err e = {0};
    if (d->stopping || d->swap != SWAP_NONE) {
        const char *why = d->stopping ? "hato is stopping" : "the script is being swapped already";
        if (call)
            control_end(call, ERR_AGAIN, slice_cstr(why));
        return;
    }
    d->asker = call;
    d->swap = SWAP_READING;
    tell_reloading(d);
    if (hato_next(d->hato, content, on_next, d, &e))
        swap_answer(d, e.code, e.text);
}

static void on_reload(void *data, struct control_call *call, const json_t *request)
{
    struct daemon *d = data;
    const json_t *names = json_object_get(request, "content");
    struct opt_list content = {.n = 0};
    for (size_t i = 0; i < json_array_size(names) && i < COUNT(content.v); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (name)
            content.v[content.n++] = name;
    }
    for (size_t i = 0; i < content.n; i++) {
        if (!deliver_campaign(hato_deliver(d->hato), slice_cstr(content.v[i]))) {
            struct buf text = {0};
            buf_printf(&text, "--content %s: there is no such campaign", content.v[i]);
            control_end(call, ERR_MISSING, buf_slice(&text));
            buf_free(&text);
            return;
        }
    }
    swap_begin(d, call, &content);
}

static void on_hangup(int signum, void *data)
{
    static const struct opt_list none;
    (void)signum;
    swap_begin(data, NULL, &none);
}

/* --- the life of a daemon --- */

static void on_stop(int signum, void *data)
{
    struct daemon *d = data;
    if (!d->stopping) {
        log_line(&d->log, LOG_LEVEL_INFO, "hato", "signal=%d open transactions finish", signum);
        tell_manager("STOPPING=1");
    }
    d->stopping = true;
    if (d->swap != SWAP_NONE) {
        hato_next_drop(d->hato);
        swap_answer(d, ERR_CANCELED, "hato is stopping");
    }
    run_stop(d->run);
}

static void say_ready(struct daemon *d)
{
    struct deliver_counts c = deliver_counts(hato_deliver(d->hato));
    log_line(&d->log, LOG_LEVEL_INFO, "hato", "ready state=%s queued=%zu campaigns=%zu", d->a.state, c.queued,
             hato_conf(d->hato)->ncampaigns);
}

static int deliver_until_stopped(struct daemon *d, struct err *e)
{
    for (;;) {
        d->run = run_new(&(struct run_conf){.hato = d->hato,
                                            .wait_ms = INT64_MAX,
                                            .stop_ms = d->a.drain_ms,
                                            .data = d,
                                            .bad_row = on_bad_row,
                                            .intake = on_intake});
        say_ready(d);
        if (d->swap == SWAP_NOW)
            swap_answer(d, 0, "");
        else
            be_ready(d);
        run_loop(d->run, e); /* a campaign that could not be taken in was told by on_intake */
        if (d->swap == SWAP_NOW)
            operate_pause(d->operate);
        run_free(d->run);
        d->run = NULL;
        if (d->swap != SWAP_NOW)
            return 0;
        d->bad_shown = 0;
        int r = hato_swap(d->hato, e);
        if (r)
            return r;
        operate_resume(d->operate);
    }
}

static int serve(struct daemon *d, struct err *e)
{
    struct loop *loop = hato_loop(d->hato);
    struct loop_signal *signals[] = {loop_signal_new(loop, SIGINT, on_stop, d),
                                     loop_signal_new(loop, SIGTERM, on_stop, d),
                                     loop_signal_new(loop, SIGHUP, on_hangup, d)};
    start_watchdog(d);
    int r = deliver_until_stopped(d, e);
    struct deliver_counts c = deliver_counts(hato_deliver(d->hato));
    log_line(&d->log, LOG_LEVEL_INFO, "hato", "stopped queued=%zu in_flight=%zu", c.queued, c.in_flight);
    loop_timer_stop(loop, &d->watchdog);
    loop_timer_stop(loop, &d->swap_timer);
    for (size_t i = 0; i < COUNT(signals); i++)
        loop_signal_free(signals[i]);
    return r;
}

int cmd_serve(int argc, char **argv)
{
    struct daemon d = {.a = {.state = JOURNAL_STATE_DEFAULT, .log = "info", .drain_ms = 30000}};
    struct opt_list files = {.n = 0};
    struct err e = {0};
    int r = opts_parse(argc, argv, options, &d.a, &files, &e);
    if (!r && d.a.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    if (!r && files.n != 1)
        r = err_set(&e, ERR_INVAL, "one script, please: hato serve FILE");
    if (!r && log_level_parse(slice_cstr(d.a.log), &d.log.level))
        r = err_set(&e, ERR_INVAL, "--log wants error, warn, info or debug, not \"%s\"", d.a.log);
    if (!r && (d.a.smtp_port < 0 || d.a.smtp_port > 65535))
        r = err_set(&e, ERR_INVAL, "--smtp-port wants a port, not %lld", (long long)d.a.smtp_port);
    if (r) {
        fprintf(stderr, "hato serve: %s\n", e.text);
        return EXIT_USAGE;
    }
    struct hato_options o = {.script = files.v[0],
                             .state = d.a.state,
                             .dns = d.a.dns,
                             .smtp_port = (uint16_t)d.a.smtp_port,
                             .sets = &d.a.sets,
                             .data = &d,
                             .notice = on_notice,
                             .print = on_print};
    r = hato_new(&o, &d.hato, &e);
    if (!r)
        d.log.loop = hato_loop(d.hato);
    if (!r)
        r = hato_load(d.hato, &e);
    if (!r)
        r = hato_open(d.hato, &e);
    int code = exit_of_script(r);
    if (!r) {
        r = operate_new(
            &(struct operate_conf){.hato = d.hato, .state = d.a.state, .data = &d, .reload = on_reload},
            &d.operate, &e);
        if (!r && d.a.metrics)
            r = metrics_new(d.hato, d.a.metrics, &d.metrics, &e);
        code = r == ERR_INVAL ? EXIT_USAGE : EXIT_FAILED;
        if (!r)
            code = (r = serve(&d, &e)) ? EXIT_FAILED : EXIT_DONE;
    }
    if (r)
        fprintf(stderr, "hato serve: %s\n", e.text);
    metrics_free(d.metrics);
    operate_free(d.operate);
    hato_free(d.hato);
    log_free(&d.log);
    return code;
}

/* --- hato reload --- */

struct reload_args {
    const char *state;
    struct opt_list content;
    bool help;
};

static const struct opt reload_options[] = {
    {OPT_STRING, "state", "DIR", "of the daemon (default " JOURNAL_STATE_DEFAULT ")",
     offsetof(struct reload_args, state)},
    {OPT_LIST, "content", "NAME", "this campaign says something else from now on, on purpose",
     offsetof(struct reload_args, content)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct reload_args, help)},
    {0},
};

static const char reload_usage[] =
    "hato reload [--state DIR] [--content NAME]\n\n"
    "Has the `hato serve` on this state folder read its script again. It takes the place of the old one as "
    "a\n"
    "whole, after open transactions have ended; a script that fails to load changes nothing, is told here "
    "with\n"
    "file and line, and the exit code is 2. Content that a campaign froze stays as it was unless --content\n"
    "names the campaign: what it has not sent yet then says the new.";

static int ask_reload(const struct reload_args *a, struct err *e)
{
    struct control_answer answer = {0};
    json_t *names = json_array();
    for (size_t i = 0; i < a->content.n; i++)
        json_array_append_new(names, json_string(a->content.v[i]));
    json_t *request = json_pack("{s:s, s:o}", "command", "reload", "content", names);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    int r = !text ? err_set(e, ERR_INVAL, "--content wants UTF-8")
                  : control_ask(a->state, slice_cstr(text), RELOAD_ANSWER_MS, &answer, e);
    if (r == ERR_NOTFOUND)
        r = err_set(e, r, "no hato runs on %s", a->state);
    json_decref(request);
    json_decref(answer.last);
    free(text);
    return r;
}

int cmd_reload(int argc, char **argv)
{
    struct reload_args a = {.state = JOURNAL_STATE_DEFAULT};
    struct err e = {0};
    int r = opts_parse(argc, argv, reload_options, &a, NULL, &e);
    if (r) {
        fprintf(stderr, "hato reload: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (a.help) {
        opts_help(reload_usage, reload_options);
        return EXIT_DONE;
    }
    r = ask_reload(&a, &e);
    if (r)
        fprintf(stderr, "hato reload: %s\n", e.text);
    else
        printf("reloaded\n");
    return exit_of(r);
}
