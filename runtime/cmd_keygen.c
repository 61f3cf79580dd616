/* cmd_keygen.c - hato keygen: a DKIM key on disk and the record to publish for it. */
#include "cmd.h"
#include "format/dkim.h"
#include "opts.h"
#include "platform/file.h"

#include <stdio.h>
#include <stdlib.h>

struct keygen {
    bool ed25519, help;
    const char *out;
};

static const struct opt options[] = {
    {OPT_FLAG, "ed25519", NULL, "an Ed25519 key instead of RSA-2048; sign with both, not with this one alone",
     offsetof(struct keygen, ed25519)},
    {OPT_STRING, "out", "FILE", "where the private key goes (default SELECTOR.DOMAIN.pem); never overwrites",
     offsetof(struct keygen, out)},
    {OPT_FLAG, "help|h", NULL, "this text", offsetof(struct keygen, help)},
    {0},
};

static const char usage[] =
    "hato keygen DOMAIN SELECTOR [--ed25519] [--out FILE]\n\n"
    "Makes a DKIM key: writes the private key to a file that only you can read, and prints\n"
    "the TXT record to publish.";

/* The file is whole and durable, or it is not there. */
static int write_key(struct fs *fs, const char *path, struct slice pem, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? mem_dup(path, slash == path ? 1 : (size_t)(slash - path)) : mem_dup(".", 1);
    struct file *f = NULL;
    int rc = file_open(fs, path, FILE_WRITE | FILE_CREATE | FILE_EXCL, 0600, &f, e);

    if (rc)
        goto out;
    if ((rc = file_append(f, pem, e)) == 0 && (rc = file_sync(f, e)) == 0)
        rc = fs_sync_dir(fs, dir, e);
    file_close(f);
    if (rc)
        fs_unlink(fs, path, NULL);
out:
    free(dir);
    return rc;
}

int cmd_keygen(int argc, char **argv)
{
    struct keygen args = {0};
    struct opt_list words = {.n = 0};
    struct buf pem = {0}, record = {0}, path = {0}, zone = {0};
    struct dkim_key *key = NULL;
    struct fs *fs = NULL;
    struct err e = {0};
    int code = EXIT_FAILED;

    if (opts_parse(argc, argv, options, &args, &words, &e)) {
        fprintf(stderr, "hato keygen: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (args.help) {
        opts_help(usage, options);
        return EXIT_DONE;
    }
    if (words.n != 2) {
        fprintf(stderr, "hato keygen: needs a domain and a selector: hato keygen example.jp s1\n");
        return EXIT_USAGE;
    }
    struct dkim_identity id = {.domain = slice_cstr(words.v[0]), .selector = slice_cstr(words.v[1])};
    if (dkim_identity_check(&id, &e)) {
        fprintf(stderr, "hato keygen: %s\n", e.text);
        return EXIT_USAGE;
    }
    if (args.out)
        buf_adds(&path, slice_cstr(args.out));
    else
        buf_printf(&path, "%s.%s.pem", words.v[1], words.v[0]);

    fs = fs_real();
    if (dkim_key_generate(args.ed25519 ? DKIM_ED25519 : DKIM_RSA, &pem, &e) ||
        dkim_key_load(buf_slice(&pem), &key, &e) || write_key(fs, buf_cstr(&path), buf_slice(&pem), &e))
        goto out;
    if (dkim_record(key, &record)) {
        err_set(&e, ERR_INVAL, "the public key of %s could not be written out", buf_cstr(&path));
        goto out;
    }
    dkim_record_quoted(buf_slice(&record), &zone);
    fprintf(stderr,
            "%s key in %s (mode 0600). Publish this record; in a script: selector = \"%s\", key = \"%s\"\n",
            args.ed25519 ? "Ed25519" : "RSA-2048", buf_cstr(&path), words.v[1], buf_cstr(&path));
    printf("%s._domainkey.%s. IN TXT %s\n", words.v[1], words.v[0], buf_cstr(&zone));
    code = EXIT_DONE;
out:
    if (code)
        fprintf(stderr, "hato keygen: %s\n", e.text);
    if (pem.p)
        explicit_bzero(pem.p, pem.cap);
    dkim_key_free(key);
    fs_free(fs);
    buf_free(&pem);
    buf_free(&record);
    buf_free(&path);
    buf_free(&zone);
    return code;
}
