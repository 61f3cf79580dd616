/* cmd_top.c - hato top: what is at work now, painted again every second. */
#include "cmd.h"
#include "base/map.h"
#include "base/words.h"
#include "control.h"
#include "format/text.h"
#include "journal.h"
#include "opts.h"
#include "screen.h"

#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_MS = 60000, EVERY_MS = 1000, COLUMNS_MOST = 12, WIDE = 80 };

struct args {
    const char *state, *view;
    bool once, help;
};

static const struct opt options[] = {
    {OPT_STRING, "state", "DIR", "the state folder (default " JOURNAL_STATE_DEFAULT ")",
     offsetof(struct args, state)},
    {OPT_STRING, "view", "VIEW", "isp, path, campaign or source: what it begins with (default isp)",
     offsetof(struct args, view)},
    {OPT_FLAG, "once", NULL, "print one table and end; so it does where there is no terminal",
     offsetof(struct args, once)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct args, help)},
    {0},
};

static const char usage[] =
    "hato top [--state DIR] [--view isp|path|campaign|source] [--once]\n\n"
    "What the hato that runs on the folder does now: a row a receiver, path, campaign or source with what "
    "is\n"
    "queued, in flight, delivered a second, and delivered, deferred and bounced in the last minute; then "
    "what\n"
    "holds it back, and for how long. Keys: i p c s change the view, < > the column it is sorted by, r turns "
    "the\n"
    "order around, arrows and pages scroll, space stops the picture, h helps, q ends.";

static const char *const help_lines[] = {
    "i  receivers        p  paths: a receiver from one source",
    "c  campaigns        s  sources",
    "<  >   the column that it is sorted by",
    "r      the other way around",
    "up down page-up page-down home end   scroll",
    "space  stop the picture, and let it go on",
    "q      end",
    "",
    "QUEUED  on their way: waiting, deferred and held",
    "FLY     being sent now          CONN  connections open / allowed now",
    "/S      delivered a second      OK DEF BNC  in the last minute",
    "HELD BACK BY  the time until the next permit, or until it is lifted; then why",
};

/* --- data --- */

enum view { VIEW_ISP, VIEW_PATH, VIEW_CAMPAIGN, VIEW_SOURCE, VIEWS };
static const char *const view_names[VIEWS] = {"isp", "path", "campaign", "source"};

enum column { COL_NAME, COL_QUEUED, COL_FLY, COL_CONN, COL_RATE, COL_OK, COL_DEF, COL_BNC, COL_WHY, COLS };
static const struct {
    const char *title;
    size_t width;
} columns[COLS] = {{"", 18},  {"QUEUED", 6}, {"FLY", 4}, {"CONN", 5},         {"/S", 6},
                   {"OK", 5}, {"DEF", 5},    {"BNC", 5}, {"HELD BACK BY", 17}};

struct row {
    struct slice name; /* owned; safe to show */
    uint64_t n[COLS];  /* by column, where it is a number */
    uint64_t allowed;
    double per_second;
    int64_t until_ms;
    struct slice why; /* owned; safe to show */
};

struct top {
    const struct args *args;
    enum view view;
    enum column sort;
    bool reverse, frozen, helping;
    size_t scroll;
    struct row *rows;
    size_t nrows, cap;
    struct map by_name;   /* index + 1, while rows are gathered */
    json_t *lines, *last; /* of the last answer */
    struct err err;       /* of the last question */
};

static uint64_t number(const json_t *j, const char *name)
{
    json_int_t v = json_integer_value(json_object_get(j, name));
    return v > 0 ? (uint64_t)v : 0;
}

static struct slice word(const json_t *j, const char *name, const char *otherwise)
{
    const char *s = json_string_value(json_object_get(j, name));
    return slice_cstr(s ? s : otherwise);
}

static void rows_free(struct top *t)
{
    for (size_t i = 0; i < t->nrows; i++) {
        free((char *)t->rows[i].name.p);
        free((char *)t->rows[i].why.p);
    }
    t->nrows = 0;
}

/* What receivers are called and what they say comes from outside: nothing of it may steer the terminal. */
static struct slice own_safe(struct slice s)
{
    struct buf b = {0};
    text_safe(&b, s);
    buf_cstr(&b);
    return slice_of(b.p, b.n);
}

static struct row *row_of(struct top *t, struct slice name)
{
    uintptr_t at = (uintptr_t)map_get(&t->by_name, name);
    if (at)
        return &t->rows[at - 1];
    if (t->nrows == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->rows = mem_realloc(t->rows, t->cap * sizeof *t->rows);
    }
    t->rows[t->nrows] = (struct row){.name = own_safe(name), .why = own_safe(SLICE_NONE)};
    map_put(&t->by_name, name, (void *)(uintptr_t)(t->nrows + 1));
    return &t->rows[t->nrows++];
}

static void set_why(struct row *r, struct slice why, int64_t until_ms)
{
    /* There is little room, and what it says is in the title. */
    if (slice_starts(why, S("its turn: ")))
        why = slice_of(why.p + 10, why.n - 10);
    if (!why.n || (r->why.n && r->until_ms && (!until_ms || until_ms >= r->until_ms)))
        return;
    free((char *)r->why.p);
    r->why = own_safe(why);
    r->until_ms = until_ms;
}

static void add_rates(struct row *r, const json_t *line)
{
    r->n[COL_OK] += number(line, "delivered");
    r->n[COL_DEF] += number(line, "deferred");
    r->n[COL_BNC] += number(line, "bounced");
    r->per_second += json_number_value(json_object_get(line, "per_second"));
}

static void add_mail(struct row *r, const json_t *line)
{
    r->n[COL_QUEUED] += number(line, "waiting") + number(line, "deferred") + number(line, "held");
    r->n[COL_FLY] += number(line, "in_flight");
}

static void add_path(struct row *r, const json_t *line)
{
    add_rates(r, line);
    r->n[COL_CONN] += number(line, "connections");
    r->allowed += number(line, "allowed");
    set_why(r, word(line, "why", ""), (int64_t)number(line, "until_ms"));
}

/* The campaign's name, or the stream's whose hato.send it is. */
static struct row *campaign_row(struct top *t, const json_t *line)
{
    struct buf name = {0};
    struct slice campaign = word(line, "campaign", "");
    buf_adds(&name, campaign.n ? campaign : word(line, "stream", "?"));
    if (!campaign.n)
        buf_adds(&name, S(" (send)"));
    struct row *r = row_of(t, buf_slice(&name));
    buf_free(&name);
    return r;
}

static void add_line(struct top *t, const json_t *line)
{
    struct slice kind = word(line, "row", "mail"), isp = word(line, "isp", "(not known yet)");
    struct buf name = {0};
    if (slice_eq(kind, S("mail"))) {
        if (t->view == VIEW_ISP) {
            struct row *r = row_of(t, isp);
            add_mail(r, line);
            set_why(r, word(line, "why", ""), (int64_t)number(line, "until_ms"));
        } else if (t->view == VIEW_CAMPAIGN) {
            struct row *r = campaign_row(t, line);
            add_mail(r, line);
            set_why(r, word(line, "why", ""), (int64_t)number(line, "until_ms"));
        }
    } else if (slice_eq(kind, S("path"))) {
        switch (t->view) {
        case VIEW_ISP:
            add_path(row_of(t, isp), line);
            break;
        case VIEW_PATH:
            buf_adds(&name, word(line, "source", "?"));
            buf_adds(&name, S(" > "));
            buf_adds(&name, isp);
            add_path(row_of(t, buf_slice(&name)), line);
            break;
        case VIEW_SOURCE:
            add_path(row_of(t, word(line, "source", "?")), line);
            break;
        case VIEW_CAMPAIGN:
        case VIEWS:
            break;
        }
    } else if (t->view == VIEW_CAMPAIGN) {
        add_rates(campaign_row(t, line), line);
    }
    buf_free(&name);
}

static void on_line(void *data, const json_t *line)
{
    struct top *t = data;
    json_array_append_new(t->lines, json_deep_copy(line));
}

/* A question that fails leaves the picture as it was, and says so in it. */
static void ask(struct top *t)
{
    struct control_answer answer = {.data = t, .line = on_line};
    json_t *before = t->lines;
    t->lines = json_array();
    t->err = (struct err){0};
    if (control_ask(t->args->state ? t->args->state : JOURNAL_STATE_DEFAULT, S("{\"command\":\"top\"}"),
                    ANSWER_MS, &answer, &t->err)) {
        if (t->err.code == ERR_NOTFOUND)
            err_set(&t->err, ERR_NOTFOUND, "no hato runs on %s",
                    t->args->state ? t->args->state : JOURNAL_STATE_DEFAULT);
        json_decref(t->lines);
        t->lines = before;
        json_decref(answer.last);
        return;
    }
    json_decref(before);
    json_decref(t->last);
    t->last = answer.last;
}

/* --- order --- */

static double sort_value(const struct row *r, enum column c)
{
    switch (c) {
    case COL_RATE:
        return r->per_second;
    case COL_WHY:
        return (double)r->until_ms;
    default:
        return (double)r->n[c];
    }
}

static int by_column(const void *a, const void *b, void *data)
{
    const struct row *x = a, *y = b;
    const struct top *t = data;
    int sign = t->reverse ? -1 : 1;
    double vx = sort_value(x, t->sort), vy = sort_value(y, t->sort);
    if (t->sort != COL_NAME && vx != vy)
        return vx > vy ? -sign : sign;
    return slice_cmp(x->name, y->name) * (t->sort == COL_NAME ? sign : 1);
}

static void make_rows(struct top *t)
{
    size_t n = json_array_size(t->lines);
    rows_free(t);
    for (size_t i = 0; i < n; i++)
        add_line(t, json_array_get(t->lines, i));
    map_free(&t->by_name);
    if (t->nrows)
        qsort_r(t->rows, t->nrows, sizeof *t->rows, by_column, t);
}

/* --- words --- */

/* At most five columns: 99999, 123k, 1.2M. */
static void put_short(struct buf *out, uint64_t n)
{
    if (n < 100000)
        buf_printf(out, "%llu", (unsigned long long)n);
    else if (n < 10000000)
        buf_printf(out, "%lluk", (unsigned long long)(n / 1000));
    else
        buf_printf(out, "%lluM", (unsigned long long)(n / 1000000));
}

static void put_cell(struct buf *out, const struct top *t, const struct row *r, enum column c, int64_t now_ms)
{
    struct buf text = {0};
    switch (c) {
    case COL_NAME: {
        size_t n = text_fit(r->name, columns[c].width);
        text_left(out, slice_of(r->name.p, n), columns[c].width);
        return;
    }
    case COL_CONN:
        if (t->view != VIEW_CAMPAIGN)
            buf_printf(&text, "%llu/%llu", (unsigned long long)r->n[c], (unsigned long long)r->allowed);
        break;
    case COL_RATE:
        if (r->per_second > 0)
            buf_printf(&text, r->per_second < 1000 ? "%.1f" : "%.0f", r->per_second);
        break;
    case COL_WHY:
        if (r->until_ms > now_ms) {
            words_duration_text(out, (r->until_ms - now_ms + 999) / 1000 * 1000);
            buf_adds(out, S(": "));
        }
        buf_adds(out, r->why);
        return;
    default:
        if (r->n[c])
            put_short(&text, r->n[c]);
        break;
    }
    if (!text.n)
        buf_addc(&text, '-');
    text_right(out, buf_slice(&text), columns[c].width);
    buf_free(&text);
}

static void put_title(struct buf *out, const struct top *t)
{
    static const char *const names[VIEWS] = {"RECEIVER", "SOURCE > RECEIVER", "CAMPAIGN", "SOURCE"};
    for (int c = 0; c < COLS; c++) {
        struct buf text = {0};
        buf_adds(&text, slice_cstr(c == COL_NAME ? names[t->view] : columns[c].title));
        if ((enum column)c == t->sort)
            buf_adds(&text, t->reverse ? S("^") : S("*"));
        if (c)
            buf_addc(out, ' ');
        if (c == COL_NAME || c == COL_WHY)
            text_left(out, buf_slice(&text), c == COL_WHY ? 0 : columns[c].width);
        else
            text_right(out, buf_slice(&text), columns[c].width);
        buf_free(&text);
    }
}

static void put_row(struct buf *out, const struct top *t, const struct row *r)
{
    int64_t now_ms = (int64_t)number(t->last, "now_ms");
    for (int c = 0; c < COLS; c++) {
        if (c)
            buf_addc(out, ' ');
        put_cell(out, t, r, (enum column)c, now_ms);
    }
}

static void put_head(struct buf *out, const struct top *t)
{
    int64_t now_ms = (int64_t)number(t->last, "now_ms"), since = (int64_t)number(t->last, "since_ms");
    buf_adds(out, S("hato "));
    text_safe(out, word(t->last, "version", "?"));
    buf_adds(out, S(", up "));
    words_duration_text(out, (now_ms > since ? now_ms - since : 0) / 1000 * 1000);
    buf_adds(out, S("  "));
    if (now_ms)
        text_time_plain(out, now_ms);
    buf_adds(out, S(" UTC"));
}

static void put_totals(struct buf *out, const struct top *t)
{
    static const char *const names[] = {"queued", "waiting", "in_flight", "deferred", "held", "connections"};
    for (size_t i = 0; i < COUNT(names); i++) {
        struct slice name = slice_cstr(names[i]);
        buf_adds(out, i ? S("  ") : SLICE_NONE);
        text_count(out, number(t->last, names[i]));
        buf_addc(out, ' ');
        buf_adds(out, slice_eq(name, S("in_flight")) ? S("in flight") : name);
    }
}

/* --- on a terminal --- */

static void paint_line(struct screen *s, struct buf *b, enum screen_style style)
{
    screen_line(s, style, buf_slice(b));
    buf_clear(b);
}

static int paint(struct top *t, struct screen *s, struct err *e)
{
    enum { ABOVE = 4, BELOW = 1 };
    size_t wide, high;
    struct buf b = {0};
    screen_size(s, &wide, &high);
    size_t room = high > ABOVE + BELOW ? high - ABOVE - BELOW : 1;
    if (t->scroll + room > t->nrows)
        t->scroll = t->nrows > room ? t->nrows - room : 0;
    screen_begin(s);
    put_head(&b, t);
    if (t->frozen)
        buf_adds(&b, S("  (stopped: space goes on)"));
    paint_line(s, &b, SCREEN_BOLD);
    put_totals(&b, t);
    paint_line(s, &b, SCREEN_PLAIN);
    if (t->err.code) {
        text_safe(&b, slice_cstr(t->err.text));
        paint_line(s, &b, SCREEN_ALARM);
    } else {
        paint_line(s, &b, SCREEN_PLAIN);
    }
    put_title(&b, t);
    paint_line(s, &b, SCREEN_REVERSE);
    for (size_t i = 0; i < room; i++) {
        if (t->helping) {
            if (i < COUNT(help_lines))
                buf_adds(&b, slice_cstr(help_lines[i]));
        } else if (t->scroll + i < t->nrows) {
            put_row(&b, t, &t->rows[t->scroll + i]);
        }
        paint_line(s, &b, SCREEN_PLAIN);
    }
    buf_adds(&b, S("q quit  h help  i isp  p path  c campaign  s source  < > sort  r reverse"));
    paint_line(s, &b, SCREEN_DIM);
    buf_free(&b);
    return screen_end(s, e);
}

/* False: people have seen enough. */
static bool take_key(struct top *t, int key, size_t page)
{
    static const char views[] = "ipcs";
    const char *view = key > 0 && key < 128 ? strchr(views, key) : NULL;
    if (view && key) {
        t->view = (enum view)(view - views);
        t->scroll = 0;
    }
    switch (key) {
    case 'q':
    case SCREEN_QUIT:
        return false;
    case 'h':
    case '?':
        t->helping = !t->helping;
        break;
    case ' ':
        t->frozen = !t->frozen;
        break;
    case 'r':
        t->reverse = !t->reverse;
        break;
    case '<':
    case SCREEN_LEFT:
        t->sort = (enum column)((t->sort + COLS - 1) % COLS);
        break;
    case '>':
    case SCREEN_RIGHT:
        t->sort = (enum column)((t->sort + 1) % COLS);
        break;
    case SCREEN_UP:
        t->scroll -= t->scroll > 0;
        break;
    case SCREEN_DOWN:
        t->scroll++;
        break;
    case SCREEN_PAGE_UP:
        t->scroll -= t->scroll < page ? t->scroll : page;
        break;
    case SCREEN_PAGE_DOWN:
        t->scroll += page;
        break;
    case SCREEN_HOME:
        t->scroll = 0;
        break;
    case SCREEN_END:
        t->scroll = t->nrows;
        break;
    }
    return true;
}

static int watch(struct top *t, struct screen *s, struct err *e)
{
    for (;;) {
        size_t wide, high;
        make_rows(t);
        int r = paint(t, s, e);
        if (r)
            return r;
        int key = screen_key(s, EVERY_MS);
        screen_size(s, &wide, &high);
        if (!take_key(t, key, high > 6 ? high - 6 : 1))
            return 0;
        if (key == SCREEN_NONE && !t->frozen)
            ask(t);
    }
}

/* --- on paper --- */

static int print_once(struct top *t, struct err *e)
{
    struct buf b = {0};
    make_rows(t);
    put_head(&b, t);
    buf_addc(&b, '\n');
    put_totals(&b, t);
    buf_adds(&b, S("\n\n"));
    put_title(&b, t);
    buf_addc(&b, '\n');
    for (size_t i = 0; i < t->nrows; i++) {
        put_row(&b, t, &t->rows[i]);
        buf_addc(&b, '\n');
    }
    bool failed = fwrite(b.p, 1, b.n, stdout) != b.n || fflush(stdout);
    buf_free(&b);
    return failed ? err_set(e, ERR_IO, "the output cannot be written") : 0;
}

static int view_of(const struct args *a, enum view *out, struct err *e)
{
    for (int i = 0; i < VIEWS; i++) {
        if (!a->view || !strcmp(a->view, view_names[i])) {
            *out = (enum view)i;
            return 0;
        }
    }
    return err_set(e, ERR_INVAL, "--view is isp, path, campaign or source, not \"%s\"", a->view);
}

int cmd_top(int argc, char **argv)
{
    struct args args = {0};
    struct top t = {.args = &args, .sort = COL_QUEUED};
    struct screen *screen = NULL;
    struct err e = {0};
    int r = opts_parse(argc, argv, options, &args, NULL, &e);
    if (!r && args.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    if (!r)
        r = view_of(&args, &t.view, &e);
    if (r) {
        fprintf(stderr, "hato top: %s\n", e.text);
        return EXIT_USAGE;
    }
    ask(&t);
    if (t.err.code) {
        e = t.err;
        r = e.code;
    } else if (!args.once && screen_open(&screen, &e) == 0) {
        r = watch(&t, screen, &e);
        screen_close(screen);
    } else {
        r = print_once(&t, &e);
    }
    rows_free(&t);
    free(t.rows);
    json_decref(t.lines);
    json_decref(t.last);
    if (r)
        fprintf(stderr, "hato top: %s\n", e.text);
    return r ? EXIT_FAILED : EXIT_DONE;
}
