/* cmd_suppress.c - hato suppress: who gets no mail; added, lifted, listed, decided, taken over from
 * elsewhere. */
#include "cmd.h"
#include "format/text.h"
#include "journal.h"
#include "opts.h"
#include "suppress_csv.h"
#include "suppress_store.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS_AT_ONCE = 1000, OUT_BYTES = 65536 };

struct args {
    const char *state, *scope, *reason, *evidence, *opt_in, *from;
    int64_t for_ms;
    struct opt_list map;
    bool json, on_request, quarantine, help;
};

#define OPT_STATE                                                                                            \
    {                                                                                                        \
        OPT_STRING, "state", "DIR", "the state folder (default " JOURNAL_STATE_DEFAULT ")",                  \
            offsetof(struct args, state)                                                                     \
    }
#define OPT_SCOPE(words)                                                                                     \
    {                                                                                                        \
        OPT_STRING, "scope", "SCOPE", words, offsetof(struct args, scope)                                    \
    }
#define OPT_REASON(words)                                                                                    \
    {                                                                                                        \
        OPT_STRING, "reason", "REASON", words, offsetof(struct args, reason)                                 \
    }
#define OPT_HELP                                                                                             \
    {                                                                                                        \
        OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)                                   \
    }
#define OPT_JSON(words)                                                                                      \
    {                                                                                                        \
        OPT_FLAG, "json", NULL, words, offsetof(struct args, json)                                           \
    }

static const struct opt add_options[] = {
    OPT_SCOPE("all (the default), stream=NAME or list=NAME"),
    OPT_REASON("manual (the default), opt_out, complaint, hard_bounce, soft_bounce"),
    {OPT_DURATION, "for", "DURATION", "it ends after so long (default forever)",
     offsetof(struct args, for_ms)},
    {OPT_STRING, "evidence", "TEXT", "words to keep with it", offsetof(struct args, evidence)},
    OPT_STATE,
    OPT_JSON("one JSON object with counts"),
    OPT_HELP,
    {0},
};

static const struct opt remove_options[] = {
    OPT_SCOPE("all (the default), stream=NAME or list=NAME"),
    {OPT_FLAG, "on-their-request", NULL, "the person asked for mail again: lifts opt-outs and complaints too",
     offsetof(struct args, on_request)},
    {OPT_STRING, "opt-in", "DATE",
     "they confirmed an opt-in then: lifts bounces that are older, and nothing else",
     offsetof(struct args, opt_in)},
    {OPT_STRING, "from", "FILE.csv", "the people are rows of a file; its column opt_in has that date",
     offsetof(struct args, from)},
    {OPT_LIST, "map", "NAME=HEADER", "of that file: the column for email or opt_in",
     offsetof(struct args, map)},
    OPT_STATE,
    OPT_JSON("one JSON object with counts"),
    OPT_HELP,
    {0},
};

static const struct opt list_options[] = {
    {OPT_FLAG, "quarantine", NULL, "who was set aside instead, for somebody to look at",
     offsetof(struct args, quarantine)},
    OPT_SCOPE("of this scope alone"),
    OPT_REASON("for this reason alone"),
    OPT_STATE,
    OPT_JSON("one JSON object a line"),
    OPT_HELP,
    {0},
};

static const struct opt decide_options[] = {
    OPT_STATE,
    OPT_JSON("one JSON object with counts"),
    OPT_HELP,
    {0},
};

static const struct opt import_options[] = {
    {OPT_LIST, "map", "NAME=HEADER", "the column for email, scope, reason, since, expires or evidence",
     offsetof(struct args, map)},
    OPT_SCOPE("where a row has none (default all)"),
    OPT_REASON("where a row has none (default manual)"),
    {OPT_DURATION, "for", "DURATION", "end of rows that have none (default forever)",
     offsetof(struct args, for_ms)},
    OPT_STATE,
    OPT_JSON("one JSON object with counts"),
    OPT_HELP,
    {0},
};

static const struct opt export_options[] = {
    OPT_SCOPE("of this scope alone"), OPT_REASON("for this reason alone"), OPT_STATE, OPT_HELP, {0},
};

static const char usage[] =
    "hato suppress add ADDRESS…       [options]   nobody named gets mail any more\n"
    "hato suppress remove ADDRESS…    [options]   lift it\n"
    "hato suppress list [ADDRESS…]    [options]   who is suppressed, why, since when\n"
    "hato suppress import FILE.csv    [options]   take over a list from elsewhere\n"
    "hato suppress export             [options]   the whole list as CSV, which import reads\n"
    "hato suppress confirm isp=NAME…  [options]   who was set aside there is suppressed after all\n"
    "hato suppress release isp=NAME…  [options]   who was set aside there is free\n\n"
    "The list is STATE/hato.db, SQLite, which any program of SQLite's opens while hato does not run. "
    "Changes\n"
    "go to the hato that runs on the folder, or into the folder at rest, and are on the disk when the "
    "command\n"
    "ends. hato suppress add --help (remove, list …) lists the options of each.";

static const char add_usage[] =
    "hato suppress add ADDRESS… [options]\n\n"
    "Nobody named gets mail any more: in the scope, until the end. Where somebody is suppressed already the\n"
    "weightier of the two stays: opt-outs and complaints, then what lasts longer.";
static const char remove_usage[] =
    "hato suppress remove ADDRESS… [options]\n"
    "hato suppress remove --from FILE.csv [options]\n\n"
    "Lift it, in this scope. Exit code 1 where somebody named was not suppressed there, or only the person "
    "can\n"
    "lift it. With the date of a confirmed opt-in (--opt-in, or the file's column opt_in) only bounces are\n"
    "lifted, and only those that are older: a list of everybody's opt-ins can be given again and again.";
static const char list_usage[] = "hato suppress list [ADDRESS…] [options]\n\n"
                                 "Who is suppressed, why, since when and until when (UTC). Also while hato "
                                 "runs. Hard bounces at an isp that\n"
                                 "suddenly knew nobody are in quarantine instead: mail goes on, a delivery "
                                 "clears them, a bounce on a better\n"
                                 "day suppresses them, and confirm and release decide.";
static const char confirm_usage[] =
    "hato suppress confirm isp=NAME… | ADDRESS… | all [options]\n\n"
    "Who is in quarantine there is suppressed as a hard bounce. Exit code 1 where nobody was.";
static const char release_usage[] =
    "hato suppress release isp=NAME… | ADDRESS… | all [options]\n\n"
    "Who is in quarantine there is free, as if the bounce had not been. Exit code 1 where nobody was.";
static const char import_usage[] =
    "hato suppress import FILE.csv [options]\n\n"
    "Rows as hato.csv reads them, with a header line; the address column is email (or メールアドレス). "
    "Columns\n"
    "scope, reason, since, expires and evidence are used where they are there. A bad row is listed with its\n"
    "line and the others go in.";
static const char export_usage[] = "hato suppress export [options]\n\n"
                                   "CSV in UTF-8 on standard output; times are UTC. Also while hato runs.";

/* --- what all of them read --- */

/* The scope, reason and end that the options give; since: now. */
static int read_defaults(const struct args *a, int64_t now_ms, struct suppression *s, struct err *e)
{
    int rc = 0;
    *s = (struct suppression){.address = SLICE_NONE,
                              .scope = SUPPRESS_ALL,
                              .name = SLICE_NONE,
                              .reason = SUPPRESS_MANUAL,
                              .since_ms = now_ms,
                              .isp = SLICE_NONE,
                              .evidence = slice_cstr(a->evidence)};
    if (a->scope && (rc = suppression_scope_parse(slice_cstr(a->scope), &s->scope, &s->name, e)))
        return err_prefix(e, "--scope: ");
    if (a->reason && (rc = suppression_reason_parse(slice_cstr(a->reason), &s->reason, e))) {
        err_prefix(e, "--reason: ");
        return ERR_INVAL;
    }
    if (a->for_ms <= 0)
        return err_set(e, ERR_INVAL, "--for wants a time to come");
    if (a->for_ms != INT64_MAX)
        s->expires_ms = suppression_expires(now_ms + a->for_ms);
    return 0;
}

static int read_opt_in(struct slice text, int64_t *ms, struct err *e)
{
    int rc = suppress_csv_time(text, "--opt-in", ms, e);
    return rc ? ERR_INVAL : 0;
}

/* Every address before anything is done. */
static int read_addresses(const struct opt_list *words, struct arena *a, struct slice *out, struct err *e)
{
    for (size_t i = 0; i < words->n; i++) {
        struct addr addr;
        struct buf one = {0};
        int rc = addr_parse(slice_cstr(words->v[i]), a, &addr, e);
        if (rc) {
            err_prefix(e, "%s: ", words->v[i]);
            return ERR_INVAL;
        }
        suppression_address(&one, &addr);
        out[i] = arena_copy(a, buf_slice(&one));
        buf_free(&one);
    }
    return 0;
}

static const char *state_of(const struct args *a)
{
    return a->state ? a->state : JOURNAL_STATE_DEFAULT;
}

/* --- add and remove --- */

struct counts {
    uint64_t done, known, missing, refused, bad;
};

static void print_counts(const struct args *a, const char *verb, const struct counts *c, bool has_rows)
{
    struct buf out = {0};
    if (a->json) {
        buf_printf(&out, "{\"%s\":%llu", verb, (unsigned long long)c->done);
        if (verb[0] == 'a')
            buf_printf(&out, ",\"known\":%llu", (unsigned long long)c->known);
        else if (strcmp(verb, "removed") == 0)
            buf_printf(&out, ",\"not_suppressed\":%llu,\"refused\":%llu", (unsigned long long)c->missing,
                       (unsigned long long)c->refused);
        if (has_rows)
            buf_printf(&out, ",\"rejected_rows\":%llu", (unsigned long long)c->bad);
        buf_addc(&out, '}');
    } else {
        text_count(&out, c->done);
        buf_printf(&out, " %s", verb);
        if (c->known) {
            buf_adds(&out, S(", "));
            text_count(&out, c->known);
            buf_adds(&out, S(" known"));
        }
        if (c->bad) {
            buf_adds(&out, S(", "));
            text_count(&out, c->bad);
            buf_adds(&out, c->bad == 1 ? S(" bad row") : S(" bad rows"));
        }
    }
    printf("%.*s\n", SLICE_FMT(buf_slice(&out)));
    buf_free(&out);
}

static void tell_why_not(const struct suppress_change *c)
{
    struct buf scope = {0};
    suppression_scope_text(&scope, c->s.scope, c->s.name);
    if (c->status == ERR_RANGE)
        fprintf(stderr, "hato suppress: %.*s bounced after that opt-in\n", SLICE_FMT(c->s.address));
    else if (c->status == ERR_REFUSED && !suppression_is_the_persons(c->was))
        fprintf(
            stderr,
            "hato suppress: %.*s was suppressed by hand: an opt-in lifts bounces alone; remove it without "
            "--opt-in\n",
            SLICE_FMT(c->s.address));
    else if (c->status == ERR_NOTFOUND)
        fprintf(
            stderr,
            "hato suppress: %.*s is not suppressed with scope %.*s; `hato suppress list %.*s` says where\n",
            SLICE_FMT(c->s.address), SLICE_FMT(buf_slice(&scope)), SLICE_FMT(c->s.address));
    else
        fprintf(stderr,
                "hato suppress: %.*s %s: only the person lifts that; --on-their-request says that they did\n",
                SLICE_FMT(c->s.address), suppression_reason_text(c->was));
    buf_free(&scope);
}

static void count_change(struct counts *n, const struct suppress_change *c)
{
    n->done += c->status == 0;
    n->known += c->status == ERR_EXISTS;
    n->missing += c->status == ERR_NOTFOUND;
    n->refused += c->status == ERR_REFUSED || c->status == ERR_RANGE;
}

static int change(const struct args *a, const struct opt_list *words, bool removes, struct err *e)
{
    struct suppress_store *st = NULL;
    struct suppress_change *v = mem_zalloc((words->n + 1) * sizeof *v);
    struct slice addresses[COUNT(words->v)];
    struct suppression s;
    struct counts n = {0};
    struct arena arena = {0};
    struct buf safe = {0};
    int rc = words->n ? read_addresses(words, &arena, addresses, e)
                      : err_set(e, ERR_INVAL, "needs an address: hato suppress %s taro@example.jp",
                                removes ? "remove" : "add");
    int64_t opt_in_ms = 0;
    if (!rc)
        rc = read_defaults(a, 0, &s, e); /* before a folder is made for nothing */
    if (!rc && a->opt_in)
        rc = read_opt_in(slice_cstr(a->opt_in), &opt_in_ms, e);
    if (!rc)
        rc = suppress_store_open("suppress", state_of(a), &st, e);
    if (!rc)
        rc = read_defaults(a, suppress_store_now_ms(st), &s, e);
    if (rc)
        goto out;
    text_safe(&safe, s.evidence); /* and so UTF-8 */
    s.evidence = buf_slice(&safe);
    for (size_t i = 0; i < words->n; i++) {
        s.address = addresses[i];
        v[i] = (struct suppress_change){.s = s,
                                        .verb = removes ? SUPPRESS_REMOVE : SUPPRESS_ADD,
                                        .on_request = a->on_request,
                                        .opt_in_ms = opt_in_ms};
    }
    rc = suppress_store_apply(st, v, words->n, e);
    for (size_t i = 0; !rc && i < words->n; i++) {
        count_change(&n, &v[i]);
        if (v[i].status && v[i].status != ERR_EXISTS)
            tell_why_not(&v[i]);
    }
    if (!rc)
        print_counts(a, removes ? "removed" : "added", &n, false);
    if (!rc && n.missing + n.refused)
        rc = err_set(e, ERR_NOTFOUND, "not all of them were lifted");
out:
    suppress_store_close(st);
    arena_free(&arena);
    buf_free(&safe);
    free(v);
    return rc;
}

/* --- confirm and release --- */

static int decide(const struct args *a, const struct opt_list *words, bool confirm, struct err *e)
{
    struct suppress_store *st = NULL;
    struct suppress_change *v = mem_zalloc((words->n + 1) * sizeof *v);
    struct arena arena = {0};
    struct counts n = {0};
    const char *verb = confirm ? "confirm" : "release";
    int rc = words->n ? 0
                      : err_set(e, ERR_INVAL,
                                "needs isp=NAME, an address or the word all: hato suppress %s "
                                "isp=gmail",
                                verb);
    for (size_t i = 0; !rc && i < words->n; i++) {
        struct slice rest, word = slice_cut(slice_cstr(words->v[i]), '=', &rest);
        struct opt_list one = {.v = {words->v[i]}, .n = 1};
        v[i] = (struct suppress_change){
            .verb = confirm ? SUPPRESS_CONFIRM : SUPPRESS_RELEASE,
            .s = {.address = SLICE_NONE, .name = SLICE_NONE, .isp = SLICE_NONE, .evidence = SLICE_NONE}};
        if (slice_eq(word, S("isp")) && rest.n)
            v[i].s.isp = rest;
        else if (strcmp(words->v[i], "all") != 0)
            rc = read_addresses(&one, &arena, &v[i].s.address, e);
    }
    if (!rc)
        rc = suppress_store_open("suppress", state_of(a), &st, e);
    if (!rc)
        rc = suppress_store_apply(st, v, words->n, e);
    for (size_t i = 0; !rc && i < words->n; i++) {
        n.done += v[i].touched;
        n.missing += v[i].touched == 0;
        if (!v[i].touched)
            fprintf(stderr, "hato suppress: nobody is in quarantine with %s\n", words->v[i]);
    }
    if (!rc)
        print_counts(a, confirm ? "confirmed" : "released", &n, false);
    if (!rc && n.missing)
        rc = err_set(e, ERR_NOTFOUND, "not all of them were there");
    suppress_store_close(st);
    arena_free(&arena);
    free(v);
    return rc;
}

/* --- import, and remove --from --- */

struct import {
    bool removes, on_request;
    int64_t opt_in_ms; /* where a row has none */
    const char *path;
    struct suppress_store *st;
    struct suppress_change v[ROWS_AT_ONCE];
    size_t n;
    struct arena arena;
    struct counts counts;
};

static int flush(struct import *im, struct err *e)
{
    int rc = im->n ? suppress_store_apply(im->st, im->v, im->n, e) : 0;
    for (size_t i = 0; !rc && i < im->n; i++)
        count_change(&im->counts, &im->v[i]);
    im->n = 0;
    arena_reset(&im->arena);
    return rc;
}

static int on_row(void *data, const struct suppression *s, struct err *e)
{
    struct import *im = data;
    struct suppress_change *c = &im->v[im->n++];
    *c = (struct suppress_change){.s = *s};
    if (im->removes) {
        c->verb = SUPPRESS_REMOVE;
        c->on_request = im->on_request;
        c->opt_in_ms = s->since_ms ? s->since_ms : im->opt_in_ms;
    }
    c->s.address = arena_copy(&im->arena, s->address);
    c->s.name = arena_copy(&im->arena, s->name);
    c->s.evidence = arena_copy(&im->arena, s->evidence);
    return im->n == ROWS_AT_ONCE ? flush(im, e) : 0;
}

static void on_bad(void *data, uint64_t line, const char *why)
{
    struct import *im = data;
    im->counts.bad++;
    fprintf(stderr, "%s:%llu: %s\n", im->path, (unsigned long long)line, why);
}

static int read_file(const struct args *a, const char *path, bool removes, struct err *e)
{
    struct import *im = mem_zalloc(sizeof *im);
    struct suppress_csv_conf conf = {
        .fs = fs_real(), .map = &a->map, .opt_ins = removes, .data = im, .row = on_row, .bad = on_bad};
    struct buf from = {0};
    im->removes = removes;
    im->on_request = a->on_request;
    int rc = read_defaults(a, 0, &conf.otherwise, e);
    if (!rc && a->opt_in)
        rc = read_opt_in(slice_cstr(a->opt_in), &im->opt_in_ms, e);
    if (!rc)
        rc = suppress_store_open("suppress", state_of(a), &im->st, e);
    if (!rc) {
        im->path = conf.path = path;
        conf.now_ms = suppress_store_now_ms(im->st);
        rc = read_defaults(a, conf.now_ms, &conf.otherwise, e);
        buf_adds(&from, S("imported from "));
        text_safe(&from, slice_cstr(conf.path));
        conf.otherwise.evidence = buf_slice(&from);
        if (removes)
            conf.otherwise.since_ms = 0;
    }
    if (!rc)
        rc = suppress_csv_read(&conf, e);
    if (!rc)
        rc = flush(im, e);
    if (!rc)
        print_counts(a, removes ? "removed" : "added", &im->counts, true);
    suppress_store_close(im->st);
    fs_free(conf.fs);
    arena_free(&im->arena);
    buf_free(&from);
    free(im);
    return rc;
}

/* --- list and export --- */

struct listing {
    const struct args *args;
    bool csv;
    enum suppress_scope scope;
    enum suppress_reason reason;
    struct slice name;
    struct buf out;
};

static int print_out(struct listing *l, size_t at_least)
{
    if (l->out.n < at_least)
        return 0;
    bool failed = fwrite(l->out.p, 1, l->out.n, stdout) != l->out.n;
    buf_clear(&l->out);
    return failed ? ERR_IO : 0;
}

static void put_column(struct buf *out, struct slice text, size_t columns)
{
    text_left(out, text, columns);
    buf_adds(out, S("  "));
}

static void put_line(struct buf *out, const struct suppression *s)
{
    struct buf cell = {0};
    text_safe(&cell, s->address);
    put_column(out, buf_slice(&cell), 32);
    buf_clear(&cell);
    suppression_scope_text(&cell, s->scope, s->name);
    struct buf scope = {0};
    text_safe(&scope, buf_slice(&cell));
    put_column(out, buf_slice(&scope), 12);
    buf_free(&scope);
    put_column(out, slice_cstr(suppression_reason_word(s->reason)), 11);
    text_time_plain(out, s->since_ms);
    buf_adds(out, S("  "));
    buf_clear(&cell);
    if (s->reason == SUPPRESS_QUARANTINE && s->expires_ms)
        buf_adds(&cell, S("mail goes on"));
    else if (s->expires_ms)
        text_time_plain(&cell, s->expires_ms);
    else
        buf_adds(&cell, S("forever"));
    put_column(out, buf_slice(&cell), 19);
    text_safe(out, s->evidence);
    if (s->provisional_ms) {
        buf_adds(out, s->evidence.n ? S("; provisional until ") : S("provisional until "));
        text_time_plain(out, s->provisional_ms);
    }
    buf_addc(out, '\n');
    buf_free(&cell);
}

static int on_listed(void *data, const struct suppression *s)
{
    struct listing *l = data;
    if (s->reason == SUPPRESS_QUARANTINE && !l->args->quarantine && l->csv)
        return 0;
    if (l->args->scope && (s->scope != l->scope || !slice_eq(s->name, l->name)))
        return 0;
    if (l->args->reason && s->reason != l->reason)
        return 0;
    if (l->csv) {
        suppress_csv_line(&l->out, s);
    } else if (l->args->json) {
        suppression_json(&l->out, s);
        buf_addc(&l->out, '\n');
    } else {
        put_line(&l->out, s);
    }
    return print_out(l, OUT_BYTES);
}

static int list(const struct args *a, const struct opt_list *words, bool csv, struct err *e)
{
    struct listing l = {.args = a, .csv = csv};
    struct suppression s;
    struct slice addresses[COUNT(words->v)];
    struct arena arena = {0};
    struct suppress_db *db = NULL;
    struct fs *fs = fs_real();
    struct loop *loop = loop_new_real();
    struct fs_stat st;
    int64_t now_ms = loop_wall_ms(loop);
    int rc = read_addresses(words, &arena, addresses, e);
    if (!rc)
        rc = read_defaults(a, now_ms, &s, e);
    if (!rc && fs_stat(fs, state_of(a), &st, NULL))
        rc = err_set(e, ERR_NOTFOUND, "there is no state folder %s here; --state DIR names another",
                     state_of(a));
    if (!rc) {
        l.scope = s.scope;
        l.name = s.name;
        l.reason = s.reason;
        rc = suppress_db_look(fs, state_of(a), &db, e);
    }
    if (csv && !rc)
        suppress_csv_header(&l.out);
    for (size_t i = 0; !rc && i < (words->n ? words->n : 1); i++) {
        struct slice who = words->n ? addresses[i] : SLICE_NONE;
        rc = a->quarantine ? suppress_db_each_quarantined(db, who, now_ms, on_listed, &l, e)
                           : suppress_db_each(db, who, now_ms, on_listed, &l, e);
    }
    if (rc == ERR_NOTFOUND && !db && !fs_stat(fs, state_of(a), &st, NULL)) { /* nobody ever was */
        rc = 0;
        if (csv)
            suppress_csv_header(&l.out);
    }
    if (!rc)
        rc = print_out(&l, 1);
    if (rc == ERR_IO || (!rc && fflush(stdout)))
        rc = err_set(e, ERR_IO, "the output cannot be written");
    suppress_db_close(db);
    buf_free(&l.out);
    arena_free(&arena);
    loop_free(loop);
    fs_free(fs);
    return rc;
}

/* --- all of them --- */

static int run_add(const struct args *a, const struct opt_list *words, struct err *e)
{
    return change(a, words, false, e);
}

static int run_remove(const struct args *a, const struct opt_list *words, struct err *e)
{
    if (a->from && words->n)
        return err_set(e, ERR_INVAL, "takes addresses or --from, not both");
    return a->from ? read_file(a, a->from, true, e) : change(a, words, true, e);
}

static int run_import(const struct args *a, const struct opt_list *words, struct err *e)
{
    if (words->n != 1)
        return err_set(e, ERR_INVAL, "takes one file: hato suppress import FILE.csv");
    return read_file(a, words->v[0], false, e);
}

static int run_confirm(const struct args *a, const struct opt_list *words, struct err *e)
{
    return decide(a, words, true, e);
}

static int run_release(const struct args *a, const struct opt_list *words, struct err *e)
{
    return decide(a, words, false, e);
}

static int run_list(const struct args *a, const struct opt_list *words, struct err *e)
{
    return list(a, words, false, e);
}

static int run_export(const struct args *a, const struct opt_list *words, struct err *e)
{
    return words->n ? err_set(e, ERR_INVAL,
                              "export writes the whole list to standard output; list takes addresses")
                    : list(a, words, true, e);
}

static const struct verb {
    const char *name;
    int (*run)(const struct args *a, const struct opt_list *words, struct err *e);
    const struct opt *options;
    const char *usage;
} verbs[] = {
    {"add", run_add, add_options, add_usage},
    {"remove", run_remove, remove_options, remove_usage},
    {"list", run_list, list_options, list_usage},
    {"import", run_import, import_options, import_usage},
    {"export", run_export, export_options, export_usage},
    {"confirm", run_confirm, decide_options, confirm_usage},
    {"release", run_release, decide_options, release_usage},
};

static const struct verb *find_verb(const char *word)
{
    for (size_t i = 0; i < COUNT(verbs); i++)
        if (strcmp(word, verbs[i].name) == 0)
            return &verbs[i];
    return NULL;
}

int cmd_suppress(int argc, char **argv)
{
    static const struct opt none[] = {{0}};
    struct args args = {.for_ms = INT64_MAX};
    struct opt_list words = {.n = 0};
    struct err e = {0};
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        opts_help(usage, none);
        return EXIT_DONE;
    }
    const struct verb *verb = argc > 1 ? find_verb(argv[1]) : NULL;
    if (!verb) {
        fprintf(
            stderr,
            "hato suppress: add, remove, list, import, export, confirm or release? hato suppress --help says "
            "more\n");
        return EXIT_USAGE;
    }
    int rc = opts_parse(argc - 1, argv + 1, verb->options, &args, &words, &e);
    if (!rc && args.help) {
        opts_help(verb->usage, verb->options);
        return EXIT_DONE;
    }
    if (!rc)
        rc = verb->run(&args, &words, &e);
    if (rc)
        fprintf(stderr, "hato suppress: %s\n", e.text);
    return exit_of(rc);
}
