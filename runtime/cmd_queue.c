/* cmd_queue.c - hato queue: what waits, where and why; from the hato that runs, or from its folder at rest.
 */
#include "cmd.h"
#include "base/map.h"
#include "control.h"
#include "delivery/rest.h"
#include "format/text.h"
#include "journal.h"
#include "opts.h"

#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MS = 60000, WATCH_MS = 1000 };

struct args {
    const char *state;
    bool json, watch, measures, help;
};

static const struct opt options[] = {
    {OPT_STRING, "state", "DIR", "the state folder (default " JOURNAL_STATE_DEFAULT ")",
     offsetof(struct args, state)},
    {OPT_FLAG, "watch", NULL, "again every second, until Ctrl-C", offsetof(struct args, watch)},
    {OPT_FLAG, "measures", NULL, "what answers of receivers have put in place: reasons and ends",
     offsetof(struct args, measures)},
    {OPT_FLAG, "json", NULL, "one JSON object a line; the first has the totals", offsetof(struct args, json)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato queue [--state DIR] [--measures] [--watch] [--json]\n\n"
    "What is on its way, by receiver, campaign and stream: how many wait, are in flight, are deferred "
    "(their\n"
    "next try has its time) and are held, and what those that wait wait for. Asks the hato that runs on the\n"
    "state folder; where none runs, the folder itself says what would go on. Times are UTC.";

struct view {
    const struct args *args;
    json_t *rows; /* array of objects */
    json_t *totals;
    bool at_rest;
};

/* --- a folder at rest --- */

struct at_rest {
    struct journal *journal;
    struct rest *rest;
    struct map rows; /* campaign, stream, isp and why → json object, in view->rows */
    struct view *view;
    int64_t now_ms;
};

/* Names and what receivers said: as people may see it, so that it is UTF-8 too. */
static json_t *name_or_null(struct slice s)
{
    struct buf safe = {0};
    text_safe(&safe, s);
    json_t *j = s.n ? json_stringn(safe.p, safe.n) : json_null();
    buf_free(&safe);
    return j;
}

static void add_measures(const struct at_rest *r)
{
    struct buf line = {0};
    for (const struct measure *m = NULL; (m = measures_next(rest_measures(r->rest), m));) {
        if (!measure_holds(m))
            continue;
        buf_clear(&line);
        measure_json(&line, m, 0);
        json_t *row = json_loadb(line.p, line.n, 0, NULL);
        INVARIANT(row);
        json_object_del(row, "waiting"); /* nobody has counted */
        json_array_append_new(r->view->rows, row);
    }
    buf_free(&line);
}

static int on_record(void *data, const struct rec *rec)
{
    struct at_rest *r = data;
    rest_learn(r->rest, rec);
    return 0;
}

static void add_one(json_t *row, const char *name)
{
    json_object_set_new(row, name, json_integer(json_integer_value(json_object_get(row, name)) + 1));
}

static json_t *row_of(struct at_rest *r, const struct rest_message *m)
{
    const struct event_names *n = journal_names(r->journal);
    const uint32_t numbers[3] = {m->campaign, m->stream, rest_isp(m)};
    struct buf key = {0}, stopped = {0};
    buf_add(&key, numbers, sizeof numbers);
    if (!rest_wait(r->rest, m, &key)) {
        buf_adds(&key, S("hato does not run on this folder"));
        if (rest_source_stopped(r->rest, m, &stopped)) {
            buf_adds(&key, S("; "));
            buf_adds(&key, buf_slice(&stopped));
        }
    }
    json_t *row = map_get(&r->rows, buf_slice(&key));
    if (!row) {
        struct slice why = slice_of(key.p + sizeof numbers, key.n - sizeof numbers);
        row = json_pack("{s:o, s:o, s:o, s:i, s:i, s:i, s:i, s:o, s:n}", "isp",
                        name_or_null(event_name(n, NAME_ISP, numbers[2])), "campaign",
                        name_or_null(event_name(n, NAME_CAMPAIGN, m->campaign)), "stream",
                        name_or_null(event_name(n, NAME_STREAM, m->stream)), "waiting", 0, "in_flight", 0,
                        "deferred", 0, "held", 0, "why", name_or_null(why), "until");
        INVARIANT(row);
        json_array_append_new(r->view->rows, row);
        map_put(&r->rows, buf_slice(&key), row);
    }
    buf_free(&key);
    buf_free(&stopped);
    return row;
}

/* One that is paused on its own is held, as where hato runs. */
static const char *state_of(const struct at_rest *r, const struct rest_message *m)
{
    const struct rest_pause *p = rest_paused(r->rest, m);
    if (m->at.state == STANDING_HELD || (p && p->kind == STEER_ID))
        return "held";
    return m->at.due_ms > r->now_ms ? "deferred" : "waiting";
}

static int look_at_rest(struct view *v, struct err *e)
{
    struct at_rest r = {.view = v};
    struct hash_key hk;
    size_t at = 0;
    int rc = journal_open("queue", v->args->state, &r.journal, e);
    if (rc)
        return rc;
    v->at_rest = true;
    r.now_ms = loop_wall_ms(journal_loop(r.journal));
    loop_random_bytes(journal_loop(r.journal), &hk, sizeof hk);
    map_init(&r.rows, hk);
    r.rest =
        rest_new(&(struct rest_conf){.loop = journal_loop(r.journal), .names = journal_names(r.journal)});
    rc = journal_read(r.journal, on_record, &r, e);
    if (!rc && v->args->measures)
        add_measures(&r);
    v->totals = json_pack("{s:i, s:i, s:i, s:i, s:i}", "queued", 0, "waiting", 0, "in_flight", 0, "deferred",
                          0, "held", 0);
    for (const struct rest_message *m; !rc && (m = rest_next(r.rest, &at));) {
        if (!v->args->measures)
            add_one(row_of(&r, m), state_of(&r, m));
        add_one(v->totals, state_of(&r, m));
        add_one(v->totals, "queued");
    }
    map_free(&r.rows);
    rest_free(r.rest);
    journal_close(r.journal);
    return rc;
}

/* --- asking and showing --- */

static void on_line(void *data, const json_t *line)
{
    struct view *v = data;
    json_array_append_new(v->rows, json_deep_copy(line));
}

static int look(struct view *v, struct err *e)
{
    struct control_answer a = {.data = v, .line = on_line};
    v->rows = json_array();
    int r = control_ask(v->args->state ? v->args->state : JOURNAL_STATE_DEFAULT,
                        v->args->measures ? S("{\"command\":\"measures\"}") : S("{\"command\":\"queue\"}"),
                        ANSWER_MS, &a, e);
    v->totals = a.last;
    return r == ERR_NOTFOUND ? look_at_rest(v, e) : r;
}

static struct slice member(const json_t *row, const char *name, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(row, name));
    return slice_cstr(s && *s ? s : otherwise);
}

static uint64_t number(const json_t *row, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(row, name));
}

static void put_number(struct buf *out, uint64_t n, size_t columns)
{
    struct buf text = {0};
    if (n)
        text_count(&text, n);
    else
        buf_addc(&text, '-');
    text_right(out, buf_slice(&text), columns);
    buf_adds(out, S("  "));
    buf_free(&text);
}

static void put_counted(struct buf *out, uint64_t n, const char *what)
{
    text_count(out, n);
    buf_printf(out, " %s", what);
}

static void put_when(struct buf *out, const json_t *row, const char *name)
{
    struct slice when = member(row, name, "");
    if (when.n >= 19) /* to the second, without the T */
        buf_printf(out, "; %s %.10s %.8s", name, when.p, when.p + 11);
}

static void show_rows(const struct view *v, struct buf *out)
{
    size_t n = json_array_size(v->rows);
    put_counted(out, number(v->totals, "queued"), "queued: ");
    put_counted(out, number(v->totals, "waiting"), "waiting, ");
    put_counted(out, number(v->totals, "in_flight"), "in flight, ");
    put_counted(out, number(v->totals, "deferred"), "deferred, ");
    put_counted(out, number(v->totals, "held"), "held");
    if (v->at_rest)
        buf_adds(out, S("; hato does not run on this folder"));
    else
        buf_printf(out, "; %llu connection%s", (unsigned long long)number(v->totals, "connections"),
                   number(v->totals, "connections") == 1 ? "" : "s");
    buf_addc(out, '\n');
    if (!n)
        return;
    buf_printf(out, "\n%-20s  %-18s  %-10s  %9s  %9s  %9s  %7s  %s\n", "RECEIVER", "CAMPAIGN", "STREAM",
               "WAITING", "IN FLIGHT", "DEFERRED", "HELD", "WAITS FOR");
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(v->rows, i);
        text_cell(out, member(row, "isp", "not known yet"), 20);
        text_cell(out, member(row, "campaign", "(hato.send)"), 18);
        text_cell(out, member(row, "stream", "-"), 10);
        put_number(out, number(row, "waiting"), 9);
        put_number(out, number(row, "in_flight"), 9);
        put_number(out, number(row, "deferred"), 9);
        put_number(out, number(row, "held"), 7);
        text_safe(out, member(row, "why", ""));
        put_when(out, row, "until");
        buf_addc(out, '\n');
    }
}

static void show_measures(const struct view *v, struct buf *out)
{
    size_t n = json_array_size(v->rows);
    if (!n)
        buf_adds(out, S("nothing is restricted\n"));
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(v->rows, i);
        static const char *const about[] = {"source", "site", "domain", "stream", "campaign"};
        text_safe(out, member(row, "name", "?"));
        buf_adds(out, S("  "));
        text_safe(out, member(row, "measure", "?"));
        buf_adds(out, S(", "));
        text_safe(out, member(row, "allows", "?"));
        buf_adds(out, S(": "));
        for (size_t k = 0; k < COUNT(about); k++) {
            if (!member(row, about[k], "").n)
                continue;
            buf_printf(out, "%s ", about[k]);
            text_safe(out, member(row, about[k], ""));
        }
        buf_adds(out, S(" at "));
        text_safe(out, member(row, "isp", "every receiver"));
        buf_adds(out, S(": "));
        text_safe(out, member(row, "why", "no reason was given"));
        buf_adds(out, S("; by "));
        text_safe(out, member(row, "rule", "?"));
        put_when(out, row, "since");
        put_when(out, row, "until");
        if (number(row, "waiting"))
            buf_printf(out, "; %llu wait", (unsigned long long)number(row, "waiting"));
        buf_addc(out, '\n');
    }
}

static void put_json(struct buf *out, const json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT | JSON_PRESERVE_ORDER);
    INVARIANT(text);
    buf_adds(out, slice_cstr(text));
    buf_addc(out, '\n');
    free(text);
}

static int show(const struct view *v, struct err *e)
{
    struct buf out = {0};
    if (v->args->watch && !v->args->json)
        buf_adds(&out, S("\033[H\033[2J"));
    if (v->args->json) {
        if (!v->args->measures) {
            json_object_del(v->totals, "ok");
            put_json(&out, v->totals);
        }
        for (size_t i = 0; i < json_array_size(v->rows); i++)
            put_json(&out, json_array_get(v->rows, i));
    } else if (v->args->measures) {
        show_measures(v, &out);
    } else {
        show_rows(v, &out);
    }
    bool failed = fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout);
    buf_free(&out);
    return failed ? err_set(e, ERR_IO, "the output cannot be written") : 0;
}

static void on_timer(struct loop_timer *t)
{
    loop_stop(t->data);
}

static void pause_ms(int64_t ms)
{
    struct loop *loop = loop_new_real();
    struct loop_timer t = {.data = loop};
    loop_timer_start(loop, &t, ms, on_timer);
    loop_run(loop);
    loop_free(loop);
}

int cmd_queue(int argc, char **argv)
{
    struct args args = {0};
    struct err e = {0};
    int r = opts_parse(argc, argv, options, &args, NULL, &e);
    if (r) {
        fprintf(stderr, "hato queue: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (args.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    for (;;) {
        struct view v = {.args = &args};
        r = look(&v, &e);
        if (!r)
            r = show(&v, &e);
        json_decref(v.rows);
        json_decref(v.totals);
        if (r || !args.watch)
            break;
        pause_ms(WATCH_MS);
    }
    if (r)
        fprintf(stderr, "hato queue: %s\n", e.text);
    return r ? EXIT_FAILED : EXIT_DONE;
}
