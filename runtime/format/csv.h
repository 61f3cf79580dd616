/* csv.h - CSV as offices export it (RFC 4180 and what is found besides), read in a window of bounded size.
 *
 * Line ends CRLF, LF or CR; cells in quotes with line breaks and doubled quotes; UTF-8 with or without BOM,
 * or CP932; comma, or tab or semicolon where the header line has no comma outside quotes; blank lines are
 * passed over; the first line that is not blank names the columns. Text comes out in UTF-8.
 *
 * Bytes in, rows out; no file is opened here:
 *
 *     for (;;) {
 *         int rc = csv_next(&c, &row, &e);
 *         if (rc == ERR_AGAIN)         read some 256 KiB and csv_feed() them, or csv_end() at the file's end
 *         else if (rc == ERR_SYNTAX)   a bad row: row.line, e.text; go on
 *         else if (rc)                 ERR_EOF: done; else the file as a whole cannot be read
 *         else                         row.cells[0 .. row.n - 1]
 *     }
 *
 * A row is good as a whole or bad as a whole. Bad is: a quote in the middle of a cell or text behind a
 * closing one, a quote never closed, more or fewer cells than the header has (one fewer is most often half a
 * row whose line break was not quoted), bytes that are no text in the file's encoding, a NUL, a bound of the
 * list below. Reading goes on with the line behind the bad row's first line, so a quote never closed costs
 * one row.
 *
 * The encoding is the file's, decided once, from 64 KiB at the first bytes that are not ASCII. Each row is
 * held against it: a wrong guess is bad rows, never garbled text. */
#ifndef HATO_FORMAT_CSV_H
#define HATO_FORMAT_CSV_H

#include "base/err.h"
#include "base/mem.h"
#include "format/charset.h"

enum {
    CSV_CELL_MAX = 64 * 1024,  /* bytes in one cell, in the file's encoding */
    CSV_CELL_LINES_MAX = 1000, /* line breaks in one quoted cell */
    CSV_ROW_MAX = 1024 * 1024, /* bytes in one row */
    CSV_COLUMNS_MAX = 1000,
    CSV_GUESS_BYTES = 64 * 1024, /* what the encoding is guessed from */
};

struct csv_row {
    uint64_t line; /* where it starts, from 1; line breaks inside quotes count */
    const struct slice *cells;
    size_t n;
};

struct csv {               /* private but for columns, ncolumns, charset, separator */
    struct slice *columns; /* header names, blanks around them off; an empty or doubled name is let through */
    size_t ncolumns;       /* 0 until the header was read */
    enum charset charset;
    char separator;

    struct buf in;        /* fed and not used up */
    size_t at;            /* start of the next row in `in` */
    uint64_t line;        /* its number */
    size_t lf, cr, quote; /* none of these bytes stands in `in` between `at` and here */
    bool bom_seen, ended, skipping;
    struct slice *cells;
    struct buf text; /* a row converted from CP932 */
    struct buf header_text;
    struct charset_conv conv;
    struct err failed; /* why the whole file cannot be read */
};

void csv_init(struct csv *c);
/* Copies bytes into the window; what csv_next() lent is no longer valid. */
void csv_feed(struct csv *c, struct slice bytes);
void csv_end(struct csv *c); /* no more bytes will come */
/* Reads the header line alone: 0 (columns are set; valid until csv_free), ERR_AGAIN, or why the file cannot
 * be read. csv_next() does it by itself. */
int csv_header(struct csv *c, struct err *e);
/* 0 and a row, valid until the next call on c; ERR_SYNTAX and row->line of a bad row with the reason in e;
 * ERR_AGAIN; ERR_EOF; or why the file cannot be read (ERR_MISSING no header, ERR_INVAL bad header,
 * ERR_UNSUPPORTED UTF-16). e may not be NULL. */
int csv_next(struct csv *c, struct csv_row *row, struct err *e);
void csv_free(struct csv *c);

#endif
