/* dkim.c - DKIM-Signature fields (RFC 6376).
 *
 * The signed text of a signature is SHA-256 over the chosen header fields followed by the DKIM-Signature
 * field itself with an empty b=. The fields are the same for every identity that names no list of its own:
 * their hash is taken once and its state copied for each signature. The DKIM-Signature field is first written
 * in its canonical form, one space wherever it may fold, and hashed so; folding turns some of those spaces
 * into CRLF SP, which relaxed canonicalisation turns back. */
#include "format/dkim.h"
#include "format/codec.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdlib.h>

enum {
    FIELDS_MAX = 1000, /* in one header */
    NAMES_MAX = 2 * FIELDS_MAX,
    LINE_MAX_COL = 76,
    SIGNERS = 16, /* keys a thread keeps ready */
    SIGNATURE_MAX = 1024,
    SHA256_BYTES = 32,
};

static const char *const covered[] = {"from",       "to",       "cc",           "subject",    "date",
                                      "message-id", "reply-to", "mime-version", "feedback-id"};
static const char *const covered_prefix[] = {"content-", "list-"};
static const char *const oversigned[] = {"from", "to", "cc", "subject", "date", "reply-to", "content-type"};

/* OpenSSL guards an RSA key's blinding with a lock, so each thread signs with a copy of its own. */
struct signer {
    EVP_PKEY *of;      /* the shared key: a reference, so its address stays its name */
    EVP_PKEY *own;     /* this thread's copy */
    EVP_PKEY_CTX *rsa; /* ready to sign; NULL for Ed25519 */
};

struct field {
    struct slice name; /* as written, without space behind it */
    struct slice text; /* whole, with CRLF */
    bool used;
};

struct dkim_work {
    EVP_MD *sha256;
    EVP_MD_CTX *body, *head, *full, *ed;
    struct signer signers[SIGNERS];
    size_t nsigners, next_signer;
    struct field fields[FIELDS_MAX];
    size_t nfields;
    struct buf names; /* h= */
    struct buf text;  /* canonical header, then the canonical DKIM-Signature */
    struct buf b64;
};

struct dkim_work *dkim_work_new(void)
{
    struct dkim_work *w = mem_zalloc(sizeof *w);

    w->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    w->body = EVP_MD_CTX_new();
    w->head = EVP_MD_CTX_new();
    w->full = EVP_MD_CTX_new();
    w->ed = EVP_MD_CTX_new();
    INVARIANT(w->sha256 && w->body && w->head && w->full && w->ed);
    return w;
}

static void signer_free(struct signer *s)
{
    EVP_PKEY_CTX_free(s->rsa);
    EVP_PKEY_free(s->own);
    EVP_PKEY_free(s->of);
}

void dkim_work_free(struct dkim_work *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->nsigners; i++)
        signer_free(&w->signers[i]);
    EVP_MD_CTX_free(w->body);
    EVP_MD_CTX_free(w->head);
    EVP_MD_CTX_free(w->full);
    EVP_MD_CTX_free(w->ed);
    EVP_MD_free(w->sha256);
    buf_free(&w->names);
    buf_free(&w->text);
    buf_free(&w->b64);
    free(w);
}

/* --- identities --- */

/* RFC 6376 3.1 and 3.5: dot-separated labels; '_' is what the field uses beyond the letter of it. */
static bool is_domain(struct slice s)
{
    size_t label = 0;

    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_') {
            if (++label > 63)
                return false;
        } else {
            return false;
        }
    }
    return label > 0;
}

/* Names joined by ':', single spaces allowed around it: the text is hashed as it stands, so it must be
 * canonical. */
static bool is_header_list(struct slice s)
{
    bool from = false;
    char before = ':';

    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        bool name = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        if (!name && c != ':' && c != ' ')
            return false;
        if (c == ' ' && (before == ' ' || i == 0 || i + 1 == s.n))
            return false;
        before = c;
    }
    for (struct slice rest = s, name;; from |= slice_ieq(name, S("from"))) {
        bool last = !memchr(rest.p, ':', rest.n);
        name = slice_trim(slice_cut(rest, ':', &rest));
        if (!name.n || memchr(name.p, ' ', name.n))
            return false;
        if (last)
            return from || slice_ieq(name, S("from"));
    }
}

static bool is_auid(struct slice s)
{
    const char *at = memchr(s.p, '@', s.n);

    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 127 || s.p[i] == ';' || s.p[i] == '=')
            return false;
    return at && is_domain(slice_of(at + 1, s.n - (size_t)(at + 1 - s.p)));
}

int dkim_identity_check(const struct dkim_identity *id, struct err *e)
{
    if (!is_domain(id->domain))
        return err_set(e, ERR_INVAL,
                       "\"%.*s\" is not a domain that DKIM can name in d=", SLICE_FMT(id->domain));
    if (!is_domain(id->selector))
        return err_set(e, ERR_INVAL, "\"%.*s\" is not a DKIM selector: letters, digits, '-' and '.'",
                       SLICE_FMT(id->selector));
    if (id->selector.n + sizeof "._domainkey." - 1 + id->domain.n > 253)
        return err_set(e, ERR_INVAL,
                       "selector \"%.*s\" and domain \"%.*s\" together are longer than a DNS name",
                       SLICE_FMT(id->selector), SLICE_FMT(id->domain));
    if (id->auid.n && !is_auid(id->auid))
        return err_set(e, ERR_INVAL, "\"%.*s\" is not an identity for i=: [local]@domain",
                       SLICE_FMT(id->auid));
    if (id->headers.n && !is_header_list(id->headers))
        return err_set(e, ERR_INVAL, "\"%.*s\" is not a list of header names with From in it",
                       SLICE_FMT(id->headers));
    if (id->expire_s < 0)
        return err_set(e, ERR_INVAL, "a signature cannot expire before it is made");
    return 0;
}

/* --- hashing --- */

static void on_body(void *arg, const char *p, size_t n)
{
    INVARIANT(EVP_DigestUpdate(arg, p, n) == 1);
}

static void body_hash(struct dkim_work *w, const struct slice *body, size_t nbody, unsigned char *out)
{
    struct dkim_body canon;

    INVARIANT(EVP_DigestInit_ex(w->body, w->sha256, NULL) == 1);
    dkim_body_start(&canon, on_body, w->body);
    for (size_t i = 0; i < nbody; i++)
        dkim_body_add(&canon, body[i]);
    dkim_body_end(&canon);
    INVARIANT(EVP_DigestFinal_ex(w->body, out, NULL) == 1);
}

static int split_header(struct dkim_work *w, struct slice header)
{
    w->nfields = 0;
    while (header.n) {
        struct field *f = &w->fields[w->nfields];
        int rc;
        if (w->nfields == FIELDS_MAX)
            return ERR_LIMIT;
        if ((rc = dkim_cut_field(&header, &f->text, &f->name)))
            return rc;
        w->nfields++;
    }
    return 0;
}

static bool is_covered(struct slice name)
{
    for (size_t i = 0; i < COUNT(covered); i++)
        if (slice_ieq(name, slice_cstr(covered[i])))
            return true;
    for (size_t i = 0; i < COUNT(covered_prefix); i++)
        if (slice_istarts(name, slice_cstr(covered_prefix[i])))
            return true;
    return false;
}

/* A space behind the colon now and then, where the field may fold. */
static void add_name(struct buf *names, struct slice name, size_t *run)
{
    if (names->n) {
        buf_addc(names, ':');
        (*run)++;
    }
    if (*run + name.n + 1 > 60) {
        buf_addc(names, ' ');
        *run = 0;
    }
    for (size_t i = 0; i < name.n; i++)
        buf_addc(names, ascii_lower(name.p[i]));
    *run += name.n;
}

static void default_names(struct dkim_work *w)
{
    size_t run = 0;

    buf_clear(&w->names);
    for (size_t i = 0; i < w->nfields; i++)
        if (is_covered(w->fields[i].name))
            add_name(&w->names, w->fields[i].name, &run);
    for (size_t i = 0; i < COUNT(oversigned); i++)
        add_name(&w->names, slice_cstr(oversigned[i]), &run);
}

/* RFC 6376 5.4.2: a name listed again takes the next field of that name upwards; one too many takes nothing.
 */
static int hash_header(struct dkim_work *w, struct slice names)
{
    bool from = false;
    int rc;

    buf_clear(&w->text);
    for (size_t i = 0; i < w->nfields; i++)
        w->fields[i].used = false;
    while (names.n) {
        struct slice name = slice_trim(slice_cut(names, ':', &names));
        for (size_t i = w->nfields; i-- > 0;) {
            struct field *f = &w->fields[i];
            if (f->used || f->name.n != name.n || !slice_ieq(f->name, name))
                continue;
            if ((rc = dkim_canon_field(f->text, &w->text)))
                return rc;
            f->used = true;
            from |= slice_ieq(name, S("from"));
            break;
        }
    }
    if (!from)
        return ERR_MISSING;
    INVARIANT(EVP_DigestInit_ex(w->head, w->sha256, NULL) == 1);
    INVARIANT(EVP_DigestUpdate(w->head, w->text.p, w->text.n) == 1);
    return 0;
}

/* --- signing --- */

static struct signer *signer_of(struct dkim_work *w, const struct dkim_key *key)
{
    struct signer *s;

    for (size_t i = 0; i < w->nsigners; i++)
        if (w->signers[i].of == key->pkey)
            return &w->signers[i];
    if (w->nsigners < SIGNERS) {
        s = &w->signers[w->nsigners++];
    } else {
        s = &w->signers[w->next_signer++ % SIGNERS];
        signer_free(s);
    }
    EVP_PKEY_up_ref(key->pkey);
    *s = (struct signer){.of = key->pkey, .own = EVP_PKEY_dup(key->pkey)};
    INVARIANT(s->own);
    if (key->type == DKIM_RSA) {
        s->rsa = EVP_PKEY_CTX_new_from_pkey(NULL, s->own, NULL);
        INVARIANT(s->rsa && EVP_PKEY_sign_init(s->rsa) == 1 &&
                  EVP_PKEY_CTX_set_rsa_padding(s->rsa, RSA_PKCS1_PADDING) == 1 &&
                  EVP_PKEY_CTX_set_signature_md(s->rsa, w->sha256) == 1);
    }
    return s;
}

static int sign_digest(struct dkim_work *w, const struct dkim_key *key, const unsigned char *digest,
                       unsigned char *out, size_t *n)
{
    struct signer *s = signer_of(w, key);
    int ok;

    if (key->type == DKIM_RSA) {
        ok = EVP_PKEY_sign(s->rsa, out, n, digest, SHA256_BYTES);
    } else {
        /* RFC 8463 3: pure Ed25519 over the SHA-256 of the text. */
        EVP_MD_CTX_reset(w->ed);
        ok = EVP_DigestSignInit(w->ed, NULL, NULL, NULL, s->own) == 1
                 ? EVP_DigestSign(w->ed, out, n, digest, SHA256_BYTES)
                 : 0;
    }
    ERR_clear_error();
    return ok == 1 ? 0 : ERR_INVAL;
}

/* text: "dkim-signature:" and the value up to and with "b=". */
static void write_folded(struct buf *out, struct slice text, struct slice b64)
{
    size_t col = sizeof "DKIM-Signature:" - 1;

    buf_reserve(out, text.n + text.n / 8 + b64.n + b64.n / 16 + 64);
    buf_adds(out, S("DKIM-Signature:"));
    text = slice_of(text.p + col, text.n - col);
    while (text.n) {
        struct slice word = slice_cut(text, ' ', &text);
        bool fold = col + 1 + word.n > LINE_MAX_COL;
        buf_adds(out, fold ? S("\r\n ") : S(" "));
        col = fold ? 1 : col + 1;
        buf_adds(out, word);
        col += word.n;
    }
    while (b64.n) {
        size_t take = LINE_MAX_COL - col < b64.n ? LINE_MAX_COL - col : b64.n;
        buf_add(out, b64.p, take);
        b64 = slice_of(b64.p + take, b64.n - take);
        if (b64.n)
            buf_adds(out, S("\r\n "));
        col = 1;
    }
    buf_adds(out, S("\r\n"));
}

static int sign_one(struct dkim_work *w, const struct dkim_identity *id, struct slice names,
                    const unsigned char *bh, int64_t time_s, struct buf *out)
{
    unsigned char digest[SHA256_BYTES], signature[SIGNATURE_MAX];
    size_t n = sizeof signature;
    int rc;

    buf_clear(&w->text);
    buf_printf(&w->text, "dkim-signature:v=1; a=%s-sha256; c=relaxed/relaxed; d=%.*s; ",
               id->key->type == DKIM_RSA ? "rsa" : "ed25519", SLICE_FMT(id->domain));
    if (id->auid.n)
        buf_printf(&w->text, "i=%.*s; ", SLICE_FMT(id->auid));
    buf_printf(&w->text, "q=dns/txt; s=%.*s; t=%lld; ", SLICE_FMT(id->selector), (long long)time_s);
    if (id->expire_s)
        buf_printf(&w->text, "x=%lld; ", (long long)(time_s + id->expire_s));
    buf_adds(&w->text, S("h="));
    buf_adds(&w->text, names);
    buf_adds(&w->text, S("; bh="));
    codec_base64(&w->text, slice_of(bh, SHA256_BYTES), 0);
    buf_adds(&w->text, S("; b="));

    INVARIANT(EVP_MD_CTX_copy_ex(w->full, w->head) == 1 &&
              EVP_DigestUpdate(w->full, w->text.p, w->text.n) == 1 &&
              EVP_DigestFinal_ex(w->full, digest, NULL) == 1);
    if ((rc = sign_digest(w, id->key, digest, signature, &n)))
        return rc;
    buf_clear(&w->b64);
    codec_base64(&w->b64, slice_of(signature, n), 0);
    write_folded(out, buf_slice(&w->text), buf_slice(&w->b64));
    return 0;
}

int dkim_sign(struct dkim_work *w, const struct dkim_identity *ids, size_t n, struct slice header,
              const struct slice *body, size_t nbody, int64_t time_s, struct buf *out)
{
    unsigned char bh[SHA256_BYTES];
    size_t start = out->n;
    bool head_is_default = false;
    int rc;

    if ((rc = split_header(w, header)))
        return rc;
    default_names(w);
    body_hash(w, body, nbody, bh);
    for (size_t i = 0; i < n; i++) {
        const struct dkim_identity *id = &ids[i];
        struct slice names = id->headers.n ? id->headers : buf_slice(&w->names);
        if ((rc = time_s < 0 ? ERR_INVAL : dkim_identity_check(id, NULL)))
            goto out;
        if (id->headers.n || !head_is_default) {
            if ((rc = hash_header(w, names)))
                goto out;
            head_is_default = !id->headers.n;
        }
        if ((rc = sign_one(w, id, names, bh, time_s, out)))
            goto out;
    }
out:
    if (rc)
        out->n = start;
    return rc;
}
