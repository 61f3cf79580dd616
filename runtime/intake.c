/* intake.c - see intake.h. */
#include "intake.h"
#include "format/csv.h"
#include "format/mp.h"
#include "format/rank.h"
#include "intake_order.h"

#include <stdio.h>
#include <stdlib.h>

enum { WINDOW = 256 * 1024, WINDOWS_AHEAD = 2, HELD_ROWS = 2000 };

struct window {
    struct spool_wait wait;
    struct intake *in; /* NULL: the intake is gone */
    uint64_t fresh;    /* rows that it waits for */
};

struct asked {
    struct intake *in; /* NULL: the intake is gone */
};

struct intake {
    struct intake_conf conf;
    struct intake_counts counts;
    struct file *file;
    uint64_t offset;
    bool file_ended, ended;
    struct csv csv;
    size_t address_column;
    bool have_columns;
    size_t *order; /* columns that are values, in order of the file */
    size_t norder;
    uint32_t columns;
    struct intake_order *held; /* rows that wait for all to be read; NULL: they keep their order */
    size_t rank_column;
    bool sorted;
    struct arena arena; /* of a row */
    struct buf values, key, names, chunk;
    unsigned windows;    /* not durable yet */
    uint64_t fresh_open; /* taken since the last window began */
    struct window *slots[WINDOWS_AHEAD];
    struct loop_timer timer;
    struct asked *asked; /* the iterator was asked and has not answered */
    bool waiting;
    int status; /* not 0: nothing more is read, and what is on its way to the disk is waited for */
    struct err err;
};

static void step(struct intake *in);

struct intake_counts intake_counts(const struct intake *in)
{
    return in->counts;
}

void intake_say_bad(const struct campaign *c, uint64_t line, const char *why)
{
    bool csv = c->conf->people == CONF_PEOPLE_CSV;
    fprintf(stderr, csv ? "%.*s:%llu: %s\n" : "%.*s: person %llu: %s\n",
            SLICE_FMT(csv ? c->conf->csv_path : c->name), (unsigned long long)line, why);
}

static void finish(struct intake *in, int status)
{
    if (in->ended)
        return;
    in->ended = true;
    in->conf.done(in->conf.data, status, &in->err); /* may free in */
}

/* --- back-pressure: at most two windows are on their way to the disk --- */

static const char *why_refused(int status)
{
    return status == ERR_FULL ? "the disk of the state folder, or the journal's bound, is full"
                              : err_name(status);
}

static void on_window_durable(struct spool_wait *w, int status)
{
    struct window *win = CONTAINER(w, struct window, wait);
    struct intake *in = win->in;
    if (!in) {
        free(win);
        return;
    }
    for (size_t i = 0; i < COUNT(in->slots); i++)
        if (in->slots[i] == win)
            in->slots[i] = NULL;
    if (status)
        in->counts.fresh -= win->fresh;
    if (status && !in->status)
        in->status = err_set(&in->err, status, "its people are not all taken in: %s", why_refused(status));
    free(win);
    in->windows--;
    step(in);
}

static void window_begin(struct intake *in)
{
    for (size_t i = 0; i < COUNT(in->slots); i++) {
        if (in->slots[i])
            continue;
        struct window *win = in->slots[i] = mem_zalloc(sizeof *win);
        win->in = in;
        win->fresh = in->fresh_open;
        in->fresh_open = 0;
        win->wait.fn = on_window_durable;
        in->windows++;
        deliver_when_durable(in->conf.deliver, &win->wait);
        return;
    }
}

static void on_turn(struct loop_timer *t)
{
    step(CONTAINER(t, struct intake, timer));
}

/* --- one row --- */

static void bad_row(struct intake *in, uint64_t line, struct slice address, const char *why)
{
    in->counts.bad++;
    in->conf.bad(in->conf.data, line, address, why);
}

static int take_row(struct intake *in, uint64_t line, struct slice address, uint32_t columns,
                    struct slice values)
{
    struct err e;
    struct addr addr;
    in->counts.rows++;
    arena_reset(&in->arena);
    if (!slice_trim(address).n) {
        bad_row(in, line, address, "no address");
        return 0;
    }
    if (addr_parse(address, &in->arena, &addr, &e)) {
        bad_row(in, line, address, e.text);
        return 0;
    }
    if (content_missing_values(in->conf.campaign->content, columns, values, slice_trim(address), &in->arena,
                               &e)) {
        bad_row(in, line, address, e.text);
        return 0;
    }
    buf_clear(&in->key);
    addr_dup_key(&in->key, &addr);
    struct intake_row row = {.line = line,
                             .address = slice_trim(address),
                             .addr = &addr,
                             .columns = columns,
                             .values = values,
                             .key = buf_slice(&in->key)};
    int r = in->conf.take(in->conf.data, &row);
    if (!r) {
        in->counts.fresh++;
        in->fresh_open++;
    } else if (r == ERR_EXISTS) {
        in->counts.known++;
    } else if (r != ERR_CANCELED) {
        return err_set(&in->err, r, "line %llu cannot be taken in: %s", (unsigned long long)line,
                       why_refused(r));
    }
    return 0;
}

/* --- CSV --- */

/* What a column of the file is called in templates. */
static struct slice template_name(const struct conf_campaign *c, struct slice column)
{
    for (size_t i = 0; i < c->nmap; i++)
        if (slice_eq(c->map[i].column, column))
            return c->map[i].name;
    return column;
}

static int find_rank_column(struct intake *in)
{
    static const char *const usual[] = {"engaged",     "last_engaged", "last_clicked", "last_click",
                                        "last_opened", "last_open",    "engagement",   "score"};
    const struct conf_campaign *c = in->conf.campaign->conf;
    in->held = intake_order_new();
    for (size_t k = 0; k < (c->order.n ? 1 : COUNT(usual)); k++) {
        struct slice wanted = c->order.n ? c->order : slice_cstr(usual[k]);
        for (size_t i = 0; i < in->csv.ncolumns; i++) {
            if (slice_eq(template_name(c, in->csv.columns[i]), wanted)) {
                in->rank_column = i;
                return 0;
            }
        }
    }
    if (c->order.n)
        return err_set(&in->err, ERR_MISSING,
                       "order names the column \"%.*s\", which the header line has not", SLICE_FMT(c->order));
    return err_set(&in->err, ERR_MISSING,
                   "no column says how engaged people are, for order = \"engaged\": call it last_opened "
                   "(a date) or engagement (a number), or say order = { by = \"…\" }");
}

static int find_columns(struct intake *in)
{
    const struct conf_campaign *c = in->conf.campaign->conf;
    int r = csv_header(&in->csv, &in->err);
    if (r)
        return r;
    size_t n = in->csv.ncolumns;
    in->address_column = SIZE_MAX;
    in->order = mem_alloc((n + 1) * sizeof *in->order);
    for (size_t i = 0; i < n; i++) {
        struct slice name = template_name(c, in->csv.columns[i]);
        bool is_address = slice_eq(name, S("email")) || (!c->nmap && api_is_address_column(name)) ||
                          (in->address_column == SIZE_MAX && api_is_address_column(name));
        if (is_address && in->address_column == SIZE_MAX) {
            in->address_column = i;
            continue;
        }
        if (in->norder)
            buf_addc(&in->names, 0x1f);
        buf_adds(&in->names, name);
        in->order[in->norder++] = i;
    }
    for (size_t m = 0; m < c->nmap; m++) {
        bool there = false;
        for (size_t i = 0; i < n; i++)
            there |= slice_eq(c->map[m].column, in->csv.columns[i]);
        if (!there)
            return err_set(&in->err, ERR_INVAL,
                           "map names the column \"%.*s\", which the header line has not",
                           SLICE_FMT(c->map[m].column));
    }
    if (in->address_column == SIZE_MAX)
        return err_set(
            &in->err, ERR_MISSING,
            "no column of the header line is the address: call it email (or メールアドレス), or say map = "
            "{ email = \"…\" }");
    if (c->ordered && (r = find_rank_column(in)))
        return r;
    in->columns = deliver_columns(in->conf.deliver, buf_slice(&in->names));
    in->have_columns = true;
    return 0;
}

static int read_header(struct intake *in)
{
    int r = find_columns(in);
    if (r && r != ERR_AGAIN)
        err_prefix(&in->err, "%.*s: ", SLICE_FMT(in->conf.campaign->conf->csv_path));
    return r;
}

static int csv_row_taken(struct intake *in, const struct csv_row *row)
{
    buf_clear(&in->values);
    mp_put_array(&in->values, (uint32_t)in->norder);
    for (size_t i = 0; i < in->norder; i++)
        mp_put_str(&in->values, row->cells[in->order[i]]);
    if (in->held) {
        struct slice cell = row->cells[in->rank_column];
        int64_t rank = rank_of(cell);
        in->counts.unranked += rank == RANK_NONE && slice_trim(cell).n;
        intake_order_add(
            in->held, rank,
            &(struct intake_held){row->line, row->cells[in->address_column], buf_slice(&in->values)});
        return 0;
    }
    return take_row(in, row->line, row->cells[in->address_column], in->columns, buf_slice(&in->values));
}

static int held_window(struct intake *in)
{
    struct intake_held row;
    for (int i = 0; i < HELD_ROWS; i++) {
        if (!intake_order_next(in->held, &row))
            return ERR_EOF;
        int r = take_row(in, row.line, row.address, in->columns, row.values);
        if (r)
            return r;
    }
    return ERR_AGAIN;
}

static int feed(struct intake *in)
{
    size_t got;
    buf_clear(&in->chunk);
    buf_reserve(&in->chunk, WINDOW);
    int r = file_pread(in->file, in->offset, in->chunk.p, WINDOW, &got, &in->err);
    if (r)
        return r;
    in->offset += got;
    if (got) {
        csv_feed(&in->csv, slice_of(in->chunk.p, got));
    } else {
        in->file_ended = true;
        csv_end(&in->csv);
    }
    return 0;
}

/* One window of the file; ERR_AGAIN: there is more, ERR_EOF: that was all. */
static int csv_window(struct intake *in)
{
    if (in->sorted)
        return held_window(in);
    int r = feed(in);
    while (!r && !in->have_columns) {
        r = read_header(in);
        if (r == ERR_AGAIN)
            r = feed(in);
    }
    while (!r) {
        struct csv_row row;
        struct err e;
        r = csv_next(&in->csv, &row, &e);
        if (r == ERR_SYNTAX) {
            in->counts.rows++;
            bad_row(in, row.line, SLICE_NONE, e.text);
            r = 0;
        } else if (!r) {
            r = csv_row_taken(in, &row);
        } else if (r != ERR_AGAIN && r != ERR_EOF) {
            in->err = e;
        }
    }
    if (r == ERR_EOF && in->held) {
        intake_order_sort(in->held);
        in->sorted = true;
        in->file_ended = false; /* there is more to give */
        r = ERR_AGAIN;
    }
    return r;
}

/* --- the script's iterator --- */

static void on_person(void *data, int status, const struct api_person *p, struct slice error)
{
    struct asked *asked = data;
    struct intake *in = asked->in;
    int r = 0;
    free(asked);
    if (!in)
        return;
    in->asked = NULL;
    if (in->status)
        return; /* it ends when its windows have */
    if (!status) {
        uint32_t columns = deliver_columns(in->conf.deliver, p->columns);
        r = take_row(in, in->counts.rows + 1, p->email, columns, p->values);
    } else if (status == ERR_SYNTAX) {
        in->counts.rows++;
        char text[512];
        snprintf(text, sizeof text, "%.*s", SLICE_FMT(error));
        bad_row(in, in->counts.rows, SLICE_NONE, text);
    } else if (status == ERR_EOF) {
        in->file_ended = true;
    } else {
        r = err_set(&in->err, status, "%.*s", SLICE_FMT(error));
    }
    in->status = r;
    if (!in->waiting)
        return; /* step() is below us on the stack and goes on by itself */
    in->waiting = false;
    loop_timer_start(in->conf.loop, &in->timer, 0, on_turn);
}

static int iterator_window(struct intake *in)
{
    for (int i = 0; i < 500 && !in->file_ended && !in->status; i++) {
        in->asked = mem_alloc(sizeof *in->asked);
        in->asked->in = in;
        api_next_person(in->conf.api, in->conf.index, on_person, in->asked);
        if (in->asked) {
            in->waiting = true;
            return 0; /* on_person goes on */
        }
    }
    return in->status ? in->status : in->file_ended ? ERR_EOF : ERR_AGAIN;
}

/* --- turn by turn --- */

static void step(struct intake *in)
{
    bool iterator = in->conf.campaign->conf->people == CONF_PEOPLE_ITERATOR;
    if (in->ended)
        return;
    if (in->file_ended || in->status) {
        if (!in->windows)
            finish(in, in->status);
        return;
    }
    if (in->asked || loop_timer_active(&in->timer) || in->windows == WINDOWS_AHEAD)
        return;
    int r = iterator ? iterator_window(in) : csv_window(in);
    if (r == ERR_EOF)
        in->file_ended = true;
    else if (r != ERR_AGAIN)
        in->status = r;
    if (in->status && !in->fresh_open) {
        if (!in->windows)
            finish(in, in->status);
        return;
    }
    window_begin(in);
    if (r == ERR_AGAIN && in->windows < WINDOWS_AHEAD)
        loop_timer_start(in->conf.loop, &in->timer, 0, on_turn);
}

struct intake *intake_start(const struct intake_conf *conf)
{
    struct intake *in = mem_zalloc(sizeof *in);
    const struct conf_campaign *c = conf->campaign->conf;
    in->conf = *conf;
    csv_init(&in->csv);
    if (c->people == CONF_PEOPLE_CSV) {
        char *path = mem_dup(c->csv_path.p, c->csv_path.n);
        if (file_open(conf->fs, path, FILE_READ, 0, &in->file, &in->err))
            in->ended = true; /* told from the loop, below */
        free(path);
    }
    if (in->ended) {
        in->ended = false;
        in->conf.done(in->conf.data, in->err.code, &in->err);
        in->ended = true;
        return in;
    }
    loop_timer_start(conf->loop, &in->timer, 0, on_turn);
    return in;
}

void intake_free(struct intake *in)
{
    if (!in)
        return;
    loop_timer_stop(in->conf.loop, &in->timer);
    for (size_t i = 0; i < COUNT(in->slots); i++)
        if (in->slots[i])
            in->slots[i]->in = NULL;
    if (in->asked)
        in->asked->in = NULL;
    file_close(in->file);
    csv_free(&in->csv);
    intake_order_free(in->held);
    free(in->order);
    arena_free(&in->arena);
    buf_free(&in->values);
    buf_free(&in->key);
    buf_free(&in->names);
    buf_free(&in->chunk);
    free(in);
}
