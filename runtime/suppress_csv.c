/* suppress_csv.c - see suppress_csv.h. */
#include "suppress_csv.h"
#include "format/csv.h"
#include "format/text.h"
#include "format/tz.h"
#include "lua/api.h"

enum { WINDOW = 256 * 1024 };

/* Up to COLUMNS those of suppressions; OPT_IN of the other kind of file. */
enum column {
    EMAIL,
    SCOPE,
    REASON,
    SINCE,
    EXPIRES,
    PROVISIONAL,
    EVENT,
    EVIDENCE,
    COLUMNS,
    OPT_IN = COLUMNS,
    ALL
};
static const char *const names[ALL] = {"email", "scope",    "reason", "since", "expires", "provisional_until",
                                       "event", "evidence", "opt_in"};

struct reading {
    const struct suppress_csv_conf *conf;
    struct csv csv;
    size_t at[ALL];     /* SIZE_MAX: not in the file */
    struct arena arena; /* of a row */
    struct buf address;
};

/* --- columns --- */

static int map_columns(struct reading *r, struct err *e)
{
    const struct opt_list *map = r->conf->map;
    for (size_t m = 0; map && m < map->n; m++) {
        struct slice header, name = slice_cut(slice_cstr(map->v[m]), '=', &header);
        size_t column = 0, i = 0;
        while (column < ALL && !slice_eq(name, slice_cstr(names[column])))
            column++;
        if (column == ALL)
            return err_set(e, ERR_INVAL,
                           "--map wants NAME=HEADER with NAME one of email, scope, reason, since, expires, "
                           "provisional_until, evidence, opt_in; not \"%s\"",
                           map->v[m]);
        while (i < r->csv.ncolumns && !slice_eq(header, r->csv.columns[i]))
            i++;
        if (i == r->csv.ncolumns)
            return err_set(e, ERR_INVAL, "--map names the column \"%.*s\", which the header line has not",
                           SLICE_FMT(header));
        r->at[column] = i;
    }
    return 0;
}

static int find_columns(struct reading *r, struct err *e)
{
    int rc = csv_header(&r->csv, e);
    if (rc)
        return rc;
    for (int c = 0; c < ALL; c++)
        r->at[c] = SIZE_MAX;
    rc = map_columns(r, e);
    for (size_t i = 0; !rc && i < r->csv.ncolumns; i++) {
        for (int c = 0; c < ALL; c++)
            if (r->at[c] == SIZE_MAX && slice_ieq(r->csv.columns[i], slice_cstr(names[c])))
                r->at[c] = i;
        if (r->at[EMAIL] == SIZE_MAX && api_is_address_column(r->csv.columns[i]))
            r->at[EMAIL] = i;
    }
    if (!rc && r->at[EMAIL] == SIZE_MAX)
        rc = err_set(
            e, ERR_MISSING,
            "no column of the header line is the address: call it email (or メールアドレス), or say --map "
            "email=HEADER");
    return rc;
}

/* --- a row --- */

static struct slice cell(const struct reading *r, const struct csv_row *row, enum column c)
{
    return r->at[c] == SIZE_MAX ? SLICE_NONE : slice_trim(row->cells[r->at[c]]);
}

/* text_time()'s form is a wall clock's with T for the blank, milliseconds and Z behind it. */
int suppress_csv_time(struct slice text, const char *name, int64_t *ms, struct err *e)
{
    char plain[20];
    struct tz_wall wall;
    size_t n = text.n < 19 ? text.n : 19;
    int64_t thousandths = 0;
    struct slice rest = slice_of(text.p + n, text.n - n);
    memcpy(plain, text.p, n);
    if (n > 10 && plain[10] == 'T')
        plain[10] = ' ';
    if (slice_ends(rest, S("Z")))
        rest.n--;
    bool ok = !rest.n;
    if (rest.n == 4 && rest.p[0] == '.') {
        uint64_t digits;
        ok = !slice_u64(slice_of(rest.p + 1, 3), &digits);
        thousandths = ok ? (int64_t)digits : 0;
    }
    if (!ok || tz_read_wall(slice_of(plain, n), &wall))
        return err_set(e, ERR_SYNTAX, "%s: \"%.*s\" is no time such as 2026-07-01 10:00:00", name,
                       SLICE_FMT(text));
    *ms = tz_to_utc(NULL, &wall) * 1000 + thousandths;
    return 0;
}

static int read_times(struct reading *r, const struct csv_row *row, struct suppression *s, struct err *e)
{
    const struct {
        enum column column;
        int64_t *ms;
    } times[] = {{SINCE, &s->since_ms}, {EXPIRES, &s->expires_ms}, {PROVISIONAL, &s->provisional_ms}};
    int rc = 0;
    for (size_t i = 0; !rc && i < COUNT(times); i++) {
        struct slice text = cell(r, row, times[i].column);
        if (text.n)
            rc = suppress_csv_time(text, names[times[i].column], times[i].ms, e);
    }
    if (rc)
        return rc;
    s->expires_ms = suppression_expires(s->expires_ms);
    if (s->since_ms > r->conf->now_ms)
        return err_set(e, ERR_RANGE, "since: that is in the future");
    if (s->expires_ms && s->expires_ms <= r->conf->now_ms)
        return err_set(e, ERR_RANGE, "expires: that is past");
    return 0;
}

static int read_row(struct reading *r, const struct csv_row *row, struct suppression *s, struct err *e)
{
    struct addr addr;
    struct slice text = cell(r, row, EMAIL);
    *s = r->conf->otherwise;
    arena_reset(&r->arena);
    if (!text.n)
        return err_set(e, ERR_MISSING, "no address");
    int rc = addr_parse(text, &r->arena, &addr, e);
    if (rc)
        return rc;
    buf_clear(&r->address);
    suppression_address(&r->address, &addr);
    s->address = buf_slice(&r->address);
    if (r->conf->opt_ins) {
        text = cell(r, row, OPT_IN);
        if (r->at[OPT_IN] == SIZE_MAX)
            return 0;
        return text.n ? suppress_csv_time(text, names[OPT_IN], &s->since_ms, e)
                      : err_set(e, ERR_MISSING, "opt_in: no date");
    }
    if ((text = cell(r, row, SCOPE)).n)
        rc = suppression_scope_parse(text, &s->scope, &s->name, e);
    if (!rc && (text = cell(r, row, REASON)).n)
        rc = suppression_reason_parse(text, &s->reason, e);
    if (r->at[EVIDENCE] != SIZE_MAX)
        s->evidence = cell(r, row, EVIDENCE);
    return rc ? rc : read_times(r, row, s, e);
}

/* --- the file --- */

static int take_rows(struct reading *r, struct err *e)
{
    for (;;) {
        struct csv_row row;
        struct suppression s;
        struct err why;
        int rc = csv_next(&r->csv, &row, &why);
        if (rc == ERR_AGAIN || rc == ERR_EOF)
            return rc;
        if (rc && rc != ERR_SYNTAX) {
            *e = why;
            return rc;
        }
        if (!rc)
            rc = read_row(r, &row, &s, &why);
        if (rc)
            r->conf->bad(r->conf->data, row.line, why.text);
        else if ((rc = r->conf->row(r->conf->data, &s, e)))
            return rc;
    }
}

int suppress_csv_read(const struct suppress_csv_conf *conf, struct err *e)
{
    struct reading r = {.conf = conf};
    struct file *f;
    struct buf chunk = {0};
    uint64_t offset = 0;
    bool have_columns = false, ended = false;
    int rc = file_open(conf->fs, conf->path, FILE_READ, 0, &f, e);
    if (rc)
        return rc;
    csv_init(&r.csv);
    buf_reserve(&chunk, WINDOW);
    rc = ERR_AGAIN;
    while (rc == ERR_AGAIN && !ended) {
        size_t got;
        rc = file_pread(f, offset, chunk.p, WINDOW, &got, e);
        if (rc)
            break;
        offset += got;
        ended = !got;
        if (got)
            csv_feed(&r.csv, slice_of(chunk.p, got));
        else
            csv_end(&r.csv);
        if (!have_columns) {
            rc = find_columns(&r, e);
            have_columns = !rc;
            if (rc && rc != ERR_AGAIN)
                err_prefix(e, "%s: ", conf->path);
        }
        if (have_columns)
            rc = take_rows(&r, e);
    }
    file_close(f);
    csv_free(&r.csv);
    arena_free(&r.arena);
    buf_free(&r.address);
    buf_free(&chunk);
    return rc == ERR_EOF ? 0 : rc;
}

/* --- writing --- */

static void put_cell(struct buf *out, enum column c, struct slice text)
{
    bool plain = !memchr(text.p, ',', text.n) && !memchr(text.p, '"', text.n) &&
                 !memchr(text.p, '\n', text.n) && !memchr(text.p, '\r', text.n);
    if (c)
        buf_addc(out, ',');
    if (plain) {
        buf_adds(out, text);
        return;
    }
    buf_addc(out, '"');
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"')
            buf_addc(out, '"');
        buf_addc(out, text.p[i]);
    }
    buf_addc(out, '"');
}

static void put_time(struct buf *out, enum column c, int64_t ms)
{
    struct buf text = {0};
    if (ms)
        text_time(&text, ms);
    put_cell(out, c, buf_slice(&text));
    buf_free(&text);
}

void suppress_csv_header(struct buf *out)
{
    for (int c = 0; c < COLUMNS; c++)
        put_cell(out, (enum column)c, slice_cstr(names[c]));
    buf_adds(out, S("\r\n"));
}

void suppress_csv_line(struct buf *out, const struct suppression *s)
{
    struct buf text = {0};
    put_cell(out, EMAIL, s->address);
    suppression_scope_text(&text, s->scope, s->name);
    put_cell(out, SCOPE, buf_slice(&text));
    put_cell(out, REASON, slice_cstr(suppression_reason_word(s->reason)));
    put_time(out, SINCE, s->since_ms);
    put_time(out, EXPIRES, s->expires_ms);
    put_time(out, PROVISIONAL, s->provisional_ms);
    buf_clear(&text);
    if (s->event)
        buf_printf(&text, "e%llu", (unsigned long long)s->event);
    put_cell(out, EVENT, buf_slice(&text));
    put_cell(out, EVIDENCE, s->evidence);
    buf_adds(out, S("\r\n"));
    buf_free(&text);
}
