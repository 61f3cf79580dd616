/* csv.c - see csv.h.
 *
 * A row goes through three steps. Its end is found: a row without quotes by the next line break (memchr, each
 * byte looked at once), one with quotes by following them. Its bytes are checked, and converted if the file
 * is CP932. Then it is split in place, which is where doubled quotes are undone. Nothing in the window is
 * changed before the row is known to be whole, so a bad row can be left at the end of its first line.
 *
 * Quotes, separators and line breaks are found in the raw bytes: in UTF-8 and in CP932 (trail bytes 40 to FC)
 * none of them can be part of another character. */
#include "format/csv.h"

#include <stdlib.h>

void csv_init(struct csv *c)
{
    *c = (struct csv){.separator = ',', .line = 1};
    c->cells = mem_alloc(CSV_COLUMNS_MAX * sizeof c->cells[0]);
}

void csv_feed(struct csv *c, struct slice bytes)
{
    INVARIANT(!c->ended);
    if (c->at) {
        buf_drop_front(&c->in, c->at);
        c->lf = c->lf > c->at ? c->lf - c->at : 0;
        c->cr = c->cr > c->at ? c->cr - c->at : 0;
        c->quote = c->quote > c->at ? c->quote - c->at : 0;
        c->at = 0;
    }
    buf_adds(&c->in, bytes);
}

void csv_end(struct csv *c)
{
    c->ended = true;
}

void csv_free(struct csv *c)
{
    free(c->cells);
    free(c->columns);
    buf_free(&c->in);
    buf_free(&c->text);
    buf_free(&c->header_text);
    charset_conv_close(&c->conv);
    *c = (struct csv){0};
}

/* Index of the next byte ch at or behind c->at, or in.n. *known is where the last search came to. */
static inline size_t next_of(struct csv *c, size_t *known, char ch)
{
    if (*known < c->at)
        *known = c->at;
    if (*known < c->in.n && c->in.p[*known] != ch) {
        const char *hit = memchr(c->in.p + *known, ch, c->in.n - *known);
        *known = hit ? (size_t)(hit - c->in.p) : c->in.n;
    }
    return *known;
}

/* The extent of a row: bytes from c->at to end, the next line starts at next. */
struct extent {
    size_t end, next;
    uint64_t breaks; /* line breaks up to next */
};

/* The line break at i < in.n. ERR_AGAIN: a CR that may be the first half of a CRLF. */
static int line_break(const struct csv *c, size_t i, size_t *next)
{
    if (c->in.p[i] == '\n') {
        *next = i + 1;
        return 0;
    }
    if (i + 1 == c->in.n && !c->ended)
        return ERR_AGAIN;
    *next = i + 1 + (i + 1 < c->in.n && c->in.p[i + 1] == '\n');
    return 0;
}

static uint64_t count_breaks(const char *p, size_t n)
{
    uint64_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += p[i] == '\n' || (p[i] == '\r' && (i + 1 == n || p[i + 1] != '\n'));
    return count;
}

/* The end of the line at c->at, whatever quotes it has. */
static int find_line(struct csv *c, struct extent *x)
{
    size_t lf = next_of(c, &c->lf, '\n'), cr = next_of(c, &c->cr, '\r');
    x->breaks = 1;
    x->end = lf < cr ? lf : cr;
    if (x->end < c->in.n)
        return line_break(c, x->end, &x->next);
    x->next = c->in.n;
    return c->ended ? 0 : ERR_AGAIN;
}

/* Behind a quote at `open`: index behind the one that closes it. */
static int find_closing(const struct csv *c, size_t open, size_t cell, size_t *behind, struct err *e)
{
    const char *p = c->in.p;
    for (size_t i = open + 1;;) {
        const char *hit = i < c->in.n ? memchr(p + i, '"', c->in.n - i) : NULL;
        size_t stop = hit ? (size_t)(hit - p) : c->in.n;
        if (stop - open > CSV_CELL_MAX)
            return err_set(e, ERR_SYNTAX, "the quote that opens cell %zu is not closed within %d KiB", cell,
                           CSV_CELL_MAX / 1024);
        if (hit && stop + 1 < c->in.n && p[stop + 1] == '"') {
            i = stop + 2;
            continue;
        }
        if (stop - open > CSV_CELL_LINES_MAX && count_breaks(p + open, stop - open) > CSV_CELL_LINES_MAX)
            return err_set(e, ERR_SYNTAX, "the quote that opens cell %zu is not closed within %d lines", cell,
                           CSV_CELL_LINES_MAX);
        if (hit && (stop + 1 < c->in.n || c->ended)) {
            *behind = stop + 1;
            return 0;
        }
        return c->ended ? err_set(e, ERR_SYNTAX, "the quote that opens cell %zu is never closed", cell)
                        : ERR_AGAIN;
    }
}

/* The end of a row that has quotes. x has the end of its first line. */
static int find_quoted_row(struct csv *c, struct extent *x, struct err *e)
{
    const char *p = c->in.p;
    size_t i = c->at;
    for (size_t cell = 1; cell <= CSV_COLUMNS_MAX; cell++, i++) {
        if (i < c->in.n && p[i] == '"') {
            int rc = find_closing(c, i, cell, &i, e);
            if (rc)
                return rc;
            if (i < c->in.n && p[i] != c->separator && p[i] != '\n' && p[i] != '\r')
                return err_set(e, ERR_SYNTAX, "text behind the closing quote of cell %zu", cell);
        } else {
            while (i < c->in.n && p[i] != c->separator && p[i] != '\n' && p[i] != '\r') {
                if (p[i] == '"')
                    return err_set(e, ERR_SYNTAX, "a quote in the middle of cell %zu", cell);
                i++;
            }
        }
        if (i - c->at > CSV_ROW_MAX)
            return err_set(e, ERR_SYNTAX, "the row is longer than %d KiB", CSV_ROW_MAX / 1024);
        if (i < c->in.n && p[i] == c->separator)
            continue;
        bool one_line = i == x->end;
        x->end = x->next = i;
        int rc = i < c->in.n ? line_break(c, i, &x->next) : c->ended ? 0 : ERR_AGAIN;
        x->breaks = one_line || rc ? 1 : count_breaks(p + c->at, x->next - c->at);
        return rc;
    }
    return err_set(e, ERR_SYNTAX, "more than %d cells", CSV_COLUMNS_MAX);
}

/* Leave a bad row: go on with the line behind its first one, now or when its end has come. */
static int leave_row(struct csv *c, int rc)
{
    struct extent x;
    if (find_line(c, &x) == 0) {
        c->at = x.next;
        c->line++;
    } else {
        c->skipping = true;
    }
    return rc;
}

/* Throw away the rest of a line that was reported as bad. */
static int skip_line(struct csv *c)
{
    struct extent x;
    int rc = find_line(c, &x);
    if (rc) {
        c->at = x.end; /* in.n, or the CR that may begin a CRLF */
        return rc;
    }
    c->at = x.next;
    c->line++;
    c->skipping = false;
    return 0;
}

/* Decide the encoding from what lies in the window from c->at on. */
static int decide_charset(struct csv *c, struct err *e)
{
    struct slice window = slice_of(c->in.p + c->at, c->in.n - c->at);
    if (window.n < CSV_GUESS_BYTES && !c->ended)
        return ERR_AGAIN;
    if (window.n > CSV_GUESS_BYTES)
        window.n = CSV_GUESS_BYTES;
    enum charset cs = charset_guess(window);
    if (cs == CHARSET_CP932) {
        int rc = charset_conv_open(&c->conv, e);
        if (rc)
            return c->failed = *e, rc;
    }
    c->charset = cs == CHARSET_ASCII ? CHARSET_UTF8 : cs;
    return 0;
}

/* Check a row's bytes against the file's encoding; a row that needs it is converted and the text set to that.
 */
static int to_text(struct csv *c, char **text, size_t *text_n, struct err *e)
{
    struct slice raw = slice_of(*text, *text_n);
    if (memchr(raw.p, 0, raw.n))
        return err_set(e, ERR_SYNTAX, "a NUL byte");
    size_t bad_at = utf8_prefix(raw);
    switch (c->charset) {
    case CHARSET_ASCII:
        INVARIANT(bad_at == raw.n); /* decide_charset() came first */
        return 0;
    case CHARSET_UTF8:
        if (bad_at < raw.n)
            return err_set(e, ERR_SYNTAX, "byte %zu is not valid UTF-8, which the file is in", bad_at + 1);
        return 0;
    case CHARSET_CP932:
        break;
    }
    if (bad_at == raw.n && ascii_only(raw))
        return 0;
    if (charset_looks_utf8(raw))
        return err_set(e, ERR_SYNTAX, "the row is UTF-8, the file CP932 (Shift_JIS)");
    buf_clear(&c->text);
    if (charset_from_cp932(&c->conv, raw, &c->text, &bad_at))
        return err_set(e, ERR_SYNTAX, "byte %zu is not valid CP932 (Shift_JIS), which the file is in",
                       bad_at + 1);
    *text = c->text.p;
    *text_n = c->text.n;
    return 0;
}

/* Cut a whole row into c->cells, in place. */
static int split(struct csv *c, char *p, size_t n, size_t *ncells, struct err *e)
{
    char *end = p + n;
    for (size_t cell = 0; cell < CSV_COLUMNS_MAX; cell++) {
        char *start = p, *stop;
        if (p < end && *p == '"') {
            char *to = ++start;
            for (p = start;;) {
                char *hit = memchr(p, '"', (size_t)(end - p));
                size_t len = (size_t)(hit - p);
                if (to != p)
                    memmove(to, p, len);
                to += len;
                p = hit + 1;
                if (p == end || *p != '"')
                    break;
                *to++ = '"';
                p++;
            }
            stop = to;
        } else {
            char *hit = p < end ? memchr(p, c->separator, (size_t)(end - p)) : NULL;
            stop = p = hit ? hit : end;
        }
        c->cells[cell] = slice_of(start, (size_t)(stop - start));
        if (c->cells[cell].n > CSV_CELL_MAX)
            return err_set(e, ERR_SYNTAX, "cell %zu is longer than %d KiB", cell + 1, CSV_CELL_MAX / 1024);
        if (p == end) {
            *ncells = cell + 1;
            return 0;
        }
        p++; /* the separator */
    }
    return err_set(e, ERR_SYNTAX, "more than %d cells", CSV_COLUMNS_MAX);
}

/* The next row that is not blank, whatever its number of cells. */
static int next_row(struct csv *c, struct csv_row *row, struct err *e)
{
    for (;;) {
        struct extent x;
        if (c->skipping) {
            int rc = skip_line(c);
            if (rc)
                return rc;
        }
        if (c->at == c->in.n)
            return c->ended ? ERR_EOF : ERR_AGAIN;
        *row = (struct csv_row){.line = c->line};
        size_t have = c->in.n - c->at;
        int rc = find_line(c, &x);
        if (next_of(c, &c->quote, '"') < x.end)
            rc = find_quoted_row(c, &x, e);
        if ((rc == ERR_AGAIN && have > CSV_ROW_MAX) || (rc == 0 && x.end - c->at > CSV_ROW_MAX))
            rc = err_set(e, ERR_SYNTAX, "the row is longer than %d KiB", CSV_ROW_MAX / 1024);
        if (rc)
            return rc == ERR_SYNTAX ? leave_row(c, rc) : rc;
        char *p = c->in.p + c->at, *text = p;
        size_t n = x.end - c->at, text_n = n;
        bool blank =
            n == 0 || (n == 1 && *p == 0x1a && c->ended && x.end == c->in.n); /* DOS ended files so */
        if (!blank) {
            if (c->charset == CHARSET_ASCII && !ascii_only(slice_of(p, n)) && (rc = decide_charset(c, e)))
                return rc;
            rc = to_text(c, &text, &text_n, e);
            if (rc == 0)
                rc = split(c, text, text_n, &row->n, e);
            row->cells = c->cells;
        }
        c->at = x.next;
        c->line += x.breaks;
        if (!blank)
            return rc;
    }
}

/* Comma if the header line has one outside quotes; else a tab, else a semicolon if it has those. */
static char find_separator(const struct csv *c)
{
    bool quoted = false, tab = false, semicolon = false, text = false;
    for (size_t i = c->at; i < c->in.n; i++) {
        char ch = c->in.p[i];
        if (ch == '"')
            quoted = !quoted;
        else if (quoted)
            continue;
        else if (ch == ',')
            return ',';
        else if ((ch == '\n' || ch == '\r') && text)
            break;
        tab |= ch == '\t';
        semicolon |= ch == ';';
        text |= ch != '\n' && ch != '\r';
    }
    return tab ? '\t' : semicolon ? ';' : ',';
}

static int fail(struct csv *c, int code, const char *text, struct err *e)
{
    err_set(&c->failed, code, "%s", text);
    *e = c->failed;
    return code;
}

int csv_header(struct csv *c, struct err *e)
{
    if (c->failed.code) {
        *e = c->failed;
        return e->code;
    }
    if (c->columns)
        return 0;
    if (c->in.n < CSV_GUESS_BYTES && !c->ended)
        return ERR_AGAIN;
    if (!c->bom_seen) {
        struct slice in = buf_slice(&c->in);
        if (slice_starts(in, S("\xff\xfe")) || slice_starts(in, S("\xfe\xff")))
            return fail(c, ERR_UNSUPPORTED, "the file is UTF-16; save it as \"CSV UTF-8\"", e);
        if (slice_starts(in, S("\xef\xbb\xbf"))) {
            c->at = 3;
            c->charset = CHARSET_UTF8;
        }
        c->bom_seen = true;
    }
    c->separator = find_separator(c);
    struct csv_row row = {0};
    int rc = next_row(c, &row, e);
    if (rc == ERR_EOF)
        return fail(c, ERR_MISSING, "the file is empty; its first line must name the columns", e);
    if (rc == ERR_SYNTAX) {
        err_prefix(e, "the header line is bad: ");
        c->failed = *e;
        return e->code = c->failed.code = ERR_INVAL;
    }
    if (rc)
        return rc;
    for (size_t i = 0; i < row.n; i++)
        buf_adds(&c->header_text, slice_trim(row.cells[i]));
    c->columns = mem_alloc(row.n * sizeof c->columns[0]);
    c->ncolumns = row.n;
    const char *p = buf_cstr(&c->header_text);
    for (size_t i = 0; i < row.n; i++) {
        c->columns[i] = slice_of(p, slice_trim(row.cells[i]).n);
        p += c->columns[i].n;
    }
    return 0;
}

int csv_next(struct csv *c, struct csv_row *row, struct err *e)
{
    int rc = csv_header(c, e);
    if (rc)
        return rc;
    rc = next_row(c, row, e);
    if (rc == 0 && row->n != c->ncolumns) {
        rc = err_set(e, ERR_SYNTAX, "%zu cell%s where the header has %zu", row->n, row->n == 1 ? "" : "s",
                     c->ncolumns);
        row->n = 0;
    }
    return rc;
}
