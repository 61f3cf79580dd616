/* cmd_warmup.c - hato warmup: how far each source has come at each receiver, and setting it by hand. */
#include "cmd.h"
#include "base/map.h"
#include "control.h"
#include "format/text.h"
#include "format/warmup.h"
#include "journal.h"
#include "opts.h"

#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MS = 30000 };

struct args {
    const char *state, *from;
    int64_t day;
    bool json, help;
};

static const struct opt options[] = {
    {OPT_INT, "day", "N", "from now on it is day N of the curve, for SOURCE at ISP",
     offsetof(struct args, day)},
    {OPT_STRING, "from", "DOMAIN", "only of this From domain", offsetof(struct args, from)},
    {OPT_STRING, "state", "DIR", "the state folder (default " JOURNAL_STATE_DEFAULT ")",
     offsetof(struct args, state)},
    {OPT_FLAG, "json", NULL, "one JSON object a line", offsetof(struct args, json)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato warmup [SOURCE [ISP]] [--from DOMAIN] [--state DIR] [--json]\n"
    "hato warmup SOURCE ISP --day N [--from DOMAIN] [--state DIR]\n\n"
    "How far the warm-ups of the script are: for each source, receiver and From domain the day and its "
    "rate,\n"
    "how much of today's quota is used, and when the next step comes if each day is used. Where no hato "
    "runs,\n"
    "what the journal knows. Times are UTC.\n"
    "With --day a person says where it stands, after a move or a bad week; it holds at once and after a\n"
    "restart, and wants a hato that runs. What was sent today stays counted.";

struct view {
    const struct args *args;
    struct slice source, isp, from; /* empty: any */
    json_t *rows;
    bool at_rest;
};

static bool is_wanted(const struct view *v, struct slice source, struct slice isp, struct slice from)
{
    return (!v->source.n || slice_eq(v->source, source)) && (!v->isp.n || slice_eq(v->isp, isp)) &&
           (!v->from.n || slice_ieq(v->from, from));
}

static struct slice member(const json_t *row, const char *name)
{
    return slice_cstr(json_string_value(json_object_get(row, name)));
}

static uint64_t number(const json_t *row, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(row, name));
}

/* --- where none runs --- */

struct rest {
    struct view *view;
    struct journal *journal;
    struct map rows; /* source, isp, from → json_t, borrowed from the view */
    struct buf key;
};

static json_t *rest_row(struct rest *r, uint32_t source, uint32_t isp, uint32_t from)
{
    uint32_t key[] = {source, isp, from};
    return map_get(&r->rows, slice_of(key, sizeof key));
}

static void add_one(json_t *row, const char *name)
{
    json_object_set_new(row, name, json_integer(json_integer_value(json_object_get(row, name)) + 1));
}

static void learn(struct rest *r, const struct rec_warmup *w)
{
    const struct event_names *n = journal_names(r->journal);
    uint32_t key[] = {w->source, w->isp, w->from};
    struct slice source = event_name(n, NAME_SOURCE, w->source), isp = event_name(n, NAME_ISP, w->isp),
                 from = event_name(n, NAME_DOMAIN, w->from);
    if (!source.n || !isp.n || !from.n || !is_wanted(r->view, source, isp, from))
        return;
    struct buf date = {0};
    text_time_plain(&date, w->at_ms);
    json_t *fresh =
        json_pack("{s:s%, s:s%, s:s%, s:I, s:I, s:s, s:I, s:I, s:s%}", "source", source.p, source.n, "isp",
                  isp.p, isp.n, "from", from.p, from.n, "day", (json_int_t)w->position + 1, "rate",
                  (json_int_t)w->rate, "per", w->per_day ? "day" : "hour", "used", (json_int_t)w->used,
                  "delivered", (json_int_t)w->delivered, "last_mail", date.p, (size_t)10);
    json_t *row = rest_row(r, w->source, w->isp, w->from);
    buf_free(&date);
    if (fresh && row) {
        json_object_update(row, fresh);
        json_decref(fresh);
    } else if (fresh) {
        json_array_append_new(r->view->rows, fresh);
        map_put(&r->rows, slice_of(key, sizeof key), fresh);
    }
}

static int on_record(void *data, const struct rec *rec)
{
    struct rest *r = data;
    json_t *row;
    if (rec->type == REC_WARMUP)
        learn(r, &rec->warmup);
    else if (rec->type == REC_BEGIN && rec->begin.from &&
             (row = rest_row(r, rec->begin.source, rec->begin.isp, rec->begin.from)))
        add_one(row, "used");
    else if (rec->type == REC_EVENT && rec->event.type == EVENT_DELIVERED &&
             (row = rest_row(r, rec->event.source, rec->event.isp, rec->event.domain)))
        add_one(row, "delivered");
    return 0;
}

static int look_at_rest(struct view *v, struct err *e)
{
    struct rest r = {.view = v};
    struct hash_key hk;
    int rc = journal_open("warmup", v->args->state, &r.journal, e);
    if (rc)
        return rc;
    v->at_rest = true;
    loop_random_bytes(journal_loop(r.journal), &hk, sizeof hk);
    map_init(&r.rows, hk);
    rc = journal_read(r.journal, on_record, &r, e);
    map_free(&r.rows);
    journal_close(r.journal);
    return rc;
}

/* --- asking and showing --- */

static void on_line(void *data, const json_t *line)
{
    struct view *v = data;
    if (is_wanted(v, member(line, "source"), member(line, "isp"), member(line, "from")))
        json_array_append_new(v->rows, json_deep_copy(line));
}

static void put_rate(struct buf *out, const json_t *row, const char *name)
{
    text_count(out, number(row, name));
    buf_adds(out, slice_eq(member(row, "per"), S("day")) ? S("/d") : S("/h"));
}

/* "2026-07-01T10:00:00.000Z" to the minute. */
static void put_minute(struct buf *out, struct slice time)
{
    if (time.n >= 16)
        buf_printf(out, "%.10s %.5s", time.p, time.p + 11);
}

static void put_next(struct buf *out, const json_t *row)
{
    struct slice next = member(row, "next_step");
    if (next.n) {
        put_rate(out, row, "next_rate");
        buf_adds(out, S(" at the earliest "));
        put_minute(out, next);
    } else {
        buf_adds(out, S("the last step"));
    }
    if (!json_is_true(json_object_get(row, "open"))) {
        buf_adds(out, S("; closed until "));
        put_minute(out, member(row, "next_permit"));
    }
    struct slice why = member(json_object_get(row, "retreat"), "why");
    if (why.n) {
        buf_adds(out, S("; "));
        text_safe(out, why);
    }
}

static void show_rows(const struct view *v, struct buf *out)
{
    size_t n = json_array_size(v->rows);
    if (!n) {
        buf_adds(out, S("nothing is warmed up\n"));
        return;
    }
    if (v->at_rest)
        buf_adds(out, S("hato does not run on this folder; as of the last mail:\n"));
    buf_printf(out, "%-12s  %-16s  %-24s  %4s  %10s  %17s  %s\n", "SOURCE", "RECEIVER", "FROM", "DAY", "RATE",
               "USED", v->at_rest ? "LAST MAIL" : "NEXT");
    for (size_t i = 0; i < n; i++) {
        const json_t *row = json_array_get(v->rows, i);
        struct buf cell = {0};
        text_cell(out, member(row, "source"), 12);
        text_cell(out, member(row, "isp"), 16);
        text_cell(out, member(row, "from"), 24);
        buf_printf(out, "%4llu  ", (unsigned long long)number(row, "day"));
        put_rate(&cell, row, "rate");
        text_right(out, buf_slice(&cell), 10);
        buf_adds(out, S("  "));
        buf_clear(&cell);
        text_count(&cell, number(row, "used"));
        if (!v->at_rest) {
            buf_adds(&cell, S(" of "));
            text_count(&cell, number(row, "quota"));
        }
        text_right(out, buf_slice(&cell), 17);
        buf_adds(out, S("  "));
        if (v->at_rest)
            text_safe(out, member(row, "last_mail"));
        else
            put_next(out, row);
        buf_addc(out, '\n');
        buf_free(&cell);
    }
}

static int show(const struct view *v, struct err *e)
{
    struct buf out = {0};
    if (v->args->json) {
        for (size_t i = 0; i < json_array_size(v->rows); i++) {
            char *text = json_dumps(json_array_get(v->rows, i), JSON_COMPACT | JSON_PRESERVE_ORDER);
            INVARIANT(text);
            buf_adds(&out, slice_cstr(text));
            buf_addc(&out, '\n');
            free(text);
        }
    } else {
        show_rows(v, &out);
    }
    bool failed = fwrite(out.p, 1, out.n, stdout) != out.n || fflush(stdout);
    buf_free(&out);
    return failed ? err_set(e, ERR_IO, "the output cannot be written") : 0;
}

static int look(struct view *v, struct err *e)
{
    struct control_answer a = {.data = v, .line = on_line};
    int r = control_ask(v->args->state, S("{\"command\":\"warmup\"}"), ANSWER_MS, &a, e);
    json_decref(a.last);
    if (r == ERR_NOTFOUND)
        r = look_at_rest(v, e);
    return r ? r : show(v, e);
}

/* --- by hand --- */

static int set(const struct view *v, struct err *e)
{
    struct control_answer a = {0};
    struct control_answer status = {0};
    json_t *request =
        json_pack("{s:s, s:s%, s:s%, s:s%, s:I}", "command", "warmup", "source", v->source.p, v->source.n,
                  "isp", v->isp.p, v->isp.n, "from", v->from.p, v->from.n, "day", (json_int_t)v->args->day);
    char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
    int r = text ? control_ask(v->args->state, slice_cstr(text), ANSWER_MS, &a, e)
                 : err_set(e, ERR_INVAL, "names are UTF-8");
    if (r == ERR_NOTFOUND &&
        control_ask(v->args->state, S("{\"command\":\"status\"}"), ANSWER_MS, &status, NULL) == ERR_NOTFOUND)
        r = err_set(e, ERR_MISSING, "no hato runs on %s; `hato serve` takes it up", v->args->state);
    uint64_t n = number(a.last, "touched");
    if (!r && v->args->json)
        printf("{\"touched\":%llu}\n", (unsigned long long)n);
    else if (!r)
        printf("%s at %s is at day %lld now, for %llu From domain%s\n", v->source.p, v->isp.p,
               (long long)v->args->day, (unsigned long long)n, n == 1 ? "" : "s");
    json_decref(status.last);
    json_decref(a.last);
    json_decref(request);
    free(text);
    return r;
}

int cmd_warmup(int argc, char **argv)
{
    struct args args = {.state = JOURNAL_STATE_DEFAULT};
    struct opt_list words = {.n = 0};
    struct err e = {0};
    int r = opts_parse(argc, argv, options, &args, &words, &e);
    if (!r && args.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    if (!r && words.n > 2)
        r = err_set(&e, ERR_INVAL, "a source and an isp at most: hato warmup mx1 gmail");
    if (!r && args.day && words.n != 2)
        r = err_set(&e, ERR_INVAL, "--day wants to know of which: hato warmup mx1 gmail --day %lld",
                    (long long)args.day);
    if (!r && (args.day < 0 || args.day > WARMUP_DAY_MOST))
        r = err_set(&e, ERR_INVAL, "--day wants a day from 1 to 100,000");
    if (r) {
        fprintf(stderr, "hato warmup: %s\n", e.text);
        return EXIT_USAGE;
    }
    struct view v = {.args = &args,
                     .source = slice_cstr(words.n > 0 ? words.v[0] : ""),
                     .isp = slice_cstr(words.n > 1 ? words.v[1] : ""),
                     .from = slice_cstr(args.from),
                     .rows = json_array()};
    r = args.day ? set(&v, &e) : look(&v, &e);
    json_decref(v.rows);
    if (r)
        fprintf(stderr, "hato warmup: %s\n", e.text);
    return r ? EXIT_FAILED : EXIT_DONE;
}
