/* fuzz_csv.c - rows do not depend on how the bytes are fed, are valid UTF-8, and read back the same when
 * written as plain CSV. The first byte of the input is the size of the pieces. */
#include "format/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_row(struct buf *out, const struct slice *cells, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        INVARIANT(utf8_valid(cells[i]) && cells[i].n <= 3 * CSV_CELL_MAX);
        buf_adds(out, i ? S(",\"") : S("\""));
        for (size_t k = 0; k < cells[i].n; k++) {
            if (cells[i].p[k] == '"')
                buf_addc(out, '"');
            buf_addc(out, cells[i].p[k]);
        }
        buf_addc(out, '"');
    }
    buf_addc(out, '\n');
}

/* All good rows and the header, written as CSV with every cell in quotes; bad rows as they are reported, into
 * bad. */
static void read_all(struct slice in, size_t step, struct buf *good, struct buf *bad)
{
    struct csv c;
    struct csv_row row;
    struct err e = {0};
    uint64_t last_line = 0;
    bool header = false;
    csv_init(&c);
    for (;;) {
        int rc = csv_next(&c, &row, &e);
        if (c.columns && !header)
            write_row(good, c.columns, c.ncolumns);
        header = c.columns;
        if (rc == 0)
            write_row(good, row.cells, row.n);
        if (rc == ERR_AGAIN) {
            size_t take = in.n < step ? in.n : step;
            if (take)
                csv_feed(&c, slice_of(in.p, take));
            else
                csv_end(&c);
            in = slice_of(in.p + take, in.n - take);
        } else if (rc == ERR_SYNTAX || rc == 0) {
            INVARIANT(row.line > last_line);
            last_line = row.line;
            if (rc)
                buf_printf(bad, "%llu %s\n", (unsigned long long)row.line, e.text);
        } else {
            buf_printf(bad, "end %d %s\n", rc, rc == ERR_EOF ? "" : e.text);
            break;
        }
    }
    csv_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    struct buf good = {0}, good2 = {0}, bad = {0}, bad2 = {0};
    struct slice in = slice_of(data + 1, size - 1);
    read_all(in, 1u << 30, &good, &bad);
    read_all(in, data[0] + 1u, &good2, &bad2);
    INVARIANT(slice_eq(buf_slice(&good), buf_slice(&good2)) && slice_eq(buf_slice(&bad), buf_slice(&bad2)));
    if (good.n) {
        struct buf again = {0};
        buf_adds(&again, S("\xef\xbb\xbf"));
        buf_adds(&again, buf_slice(&good));
        buf_clear(&good2);
        buf_clear(&bad2);
        read_all(buf_slice(&again), 1u << 30, &good2, &bad2);
        INVARIANT(slice_eq(buf_slice(&good), buf_slice(&good2)) &&
                  slice_eq(buf_slice(&bad2), S("end -9 \n")));
        buf_free(&again);
    }
    buf_free(&good);
    buf_free(&good2);
    buf_free(&bad);
    buf_free(&bad2);
    return 0;
}
