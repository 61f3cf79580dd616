/* dkim_gen.c - signs the message on stdin, CRLF line ends, for foreign verifiers to judge:
 *   dkim_gen DOMAIN TIME SELECTOR KEYFILE [SELECTOR KEYFILE ...] < unsigned > signed
 * The body is handed over in pieces of changing size, as the assembly of a message does. */
#include "base/err.h"
#include "format/dkim.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIGNERS_MAX = 8, PIECES_MAX = 4096 };

static void read_all(FILE *f, struct buf *out)
{
    char room[65536];
    size_t n;

    while ((n = fread(room, 1, sizeof room, f)) > 0)
        buf_add(out, room, n);
}

int main(int argc, char **argv)
{
    struct dkim_identity ids[SIGNERS_MAX];
    struct dkim_key *keys[SIGNERS_MAX] = {0};
    static struct slice pieces[PIECES_MAX];
    struct buf message = {0}, signatures = {0};
    struct dkim_work *work = dkim_work_new();
    struct slice header, body;
    size_t n = 0, npieces = 0;
    uint64_t time_s;
    int code = 1, rc;

    if (argc < 5 || (argc - 3) % 2 || (argc - 3) / 2 > SIGNERS_MAX ||
        slice_u64(slice_cstr(argv[2]), &time_s)) {
        fprintf(stderr, "usage: dkim_gen DOMAIN TIME SELECTOR KEYFILE [SELECTOR KEYFILE ...]\n");
        goto out;
    }
    for (int i = 3; i + 1 < argc; i += 2, n++) {
        struct buf pem = {0};
        struct err e = {0};
        FILE *f = fopen(argv[i + 1], "rb");
        if (!f) {
            perror(argv[i + 1]);
            goto out;
        }
        read_all(f, &pem);
        fclose(f);
        rc = dkim_key_load(buf_slice(&pem), &keys[n], &e);
        buf_free(&pem);
        if (rc) {
            fprintf(stderr, "%s: %s\n", argv[i + 1], e.text);
            goto out;
        }
        ids[n] = (struct dkim_identity){
            .key = keys[n], .domain = slice_cstr(argv[1]), .selector = slice_cstr(argv[i])};
    }
    read_all(stdin, &message);
    ptrdiff_t end = slice_find(buf_slice(&message), S("\r\n\r\n"));
    if (end < 0) {
        fprintf(stderr, "no empty line behind the header\n");
        goto out;
    }
    header = slice_of(message.p, (size_t)end + 2);
    body = slice_of(message.p + end + 4, message.n - (size_t)end - 4);
    for (struct slice rest = body; rest.n; npieces++) {
        size_t take = npieces + 1 == PIECES_MAX ? rest.n : npieces * 7 % 61 + 1;
        take = take < rest.n ? take : rest.n;
        pieces[npieces] = slice_of(rest.p, take);
        rest = slice_of(rest.p + take, rest.n - take);
    }
    if ((rc = dkim_sign(work, ids, n, header, pieces, npieces, (int64_t)time_s, &signatures))) {
        fprintf(stderr, "dkim_sign: %s\n", err_name(rc));
        goto out;
    }
    fwrite(signatures.p, 1, signatures.n, stdout);
    fwrite(message.p, 1, message.n, stdout);
    code = fflush(stdout) ? 1 : 0;
out:
    for (size_t i = 0; i < n; i++)
        dkim_key_free(keys[i]);
    dkim_work_free(work);
    buf_free(&message);
    buf_free(&signatures);
    return code;
}
