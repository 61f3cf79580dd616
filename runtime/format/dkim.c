/* dkim.c - DKIM-Signature fields (RFC 6376).
 *
 * The signed text of a signature is SHA-256 over the chosen header fields followed by the DKIM-Signature
 * field itself with an empty b=. The fields are the same for every identity that names no list of its own:
 * their hash is taken once and its state copied for each signature. The DKIM-Signature field is first written
 * in its canonical form, one space wherever it may fold, and hashed so; folding turns some of those spaces
 * into CRLF SP, which relaxed canonicalisation turns back.
 *
 * Signing is in three steps, so that several signatures can be made together in the second: write each field
 * up to its b= and hash, sign the hashes, write the fields out. */
#include "format/dkim.h"
#include "format/codec.h"
#include "format/rsa_pair.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <sodium.h>
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
    EVP_PKEY_CTX *rsa; /* ready to sign */
};

struct field {
    struct slice name; /* as written, without space behind it */
    struct slice text; /* whole, with CRLF */
    bool used;
};

/* A signature being made: its field up to b=, and the hash that is signed. */
struct pending {
    const struct dkim_identity *id;
    struct buf text;
    unsigned char digest[SHA256_BYTES], signature[SIGNATURE_MAX];
    size_t n; /* of signature; 0: not signed yet */
    int rc;
};

struct dkim_work {
    EVP_MD *sha256;
    EVP_MD_CTX *body, *head, *full;
    struct signer signers[SIGNERS];
    size_t nsigners, next_signer;
    struct field fields[FIELDS_MAX];
    size_t nfields;
    struct buf names; /* h= */
    struct buf text;  /* canonical header */
    struct buf b64;
    struct pending *pending;
    size_t npending, cap_pending; /* those behind npending keep their buffers */
};

struct dkim_work *dkim_work_new(void)
{
    struct dkim_work *w = mem_zalloc(sizeof *w);

    w->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    w->body = EVP_MD_CTX_new();
    w->head = EVP_MD_CTX_new();
    w->full = EVP_MD_CTX_new();
    INVARIANT(w->sha256 && w->body && w->head && w->full);
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
    EVP_MD_free(w->sha256);
    buf_free(&w->names);
    buf_free(&w->text);
    buf_free(&w->b64);
    for (size_t i = 0; i < w->cap_pending; i++)
        buf_free(&w->pending[i].text);
    free(w->pending);
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
    s->rsa = EVP_PKEY_CTX_new_from_pkey(NULL, s->own, NULL);
    INVARIANT(s->rsa && EVP_PKEY_sign_init(s->rsa) == 1 &&
              EVP_PKEY_CTX_set_rsa_padding(s->rsa, RSA_PKCS1_PADDING) == 1 &&
              EVP_PKEY_CTX_set_signature_md(s->rsa, w->sha256) == 1);
    return s;
}

static void sign_alone(struct dkim_work *w, struct pending *p)
{
    const struct dkim_key *key = p->id->key;
    int ok;

    if (key->type == DKIM_RSA) {
        p->n = sizeof p->signature;
        ok = EVP_PKEY_sign(signer_of(w, key)->rsa, p->signature, &p->n, p->digest, SHA256_BYTES) == 1;
        ERR_clear_error();
    } else {
        /* RFC 8463 3: pure Ed25519 over the SHA-256 of the text. */
        p->n = crypto_sign_BYTES;
        ok = crypto_sign_detached(p->signature, NULL, p->digest, SHA256_BYTES, key->ed25519) == 0;
    }
    p->rc = ok ? 0 : ERR_INVAL;
}

static void sign_two(struct pending *a, struct pending *b)
{
    struct pending *const both[2] = {a, b};
    const struct rsa_pair_key *const key[2] = {a->id->key->pair, b->id->key->pair};
    uint8_t digest[2][RSA_PAIR_DIGEST], signature[2][RSA_PAIR_BYTES];

    for (int i = 0; i < 2; i++)
        memcpy(digest[i], both[i]->digest, sizeof digest[i]);
    unsigned made = rsa_pair_sign(key, (const uint8_t(*)[RSA_PAIR_DIGEST])digest, signature);
    for (int i = 0; i < 2; i++)
        if (made & 1u << i) {
            memcpy(both[i]->signature, signature[i], RSA_PAIR_BYTES);
            both[i]->n = RSA_PAIR_BYTES;
        }
}

/* Two by two where that is possible; what has no partner, or did not come out right, alone. */
static void sign_pending(struct dkim_work *w)
{
    struct pending *waiting = NULL;

    for (size_t i = 0; i < w->npending; i++) {
        struct pending *p = &w->pending[i];
        if (!p->id->key->pair)
            continue;
        if (waiting)
            sign_two(waiting, p);
        waiting = waiting ? NULL : p;
    }
    for (size_t i = 0; i < w->npending; i++)
        if (!w->pending[i].n)
            sign_alone(w, &w->pending[i]);
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

static struct pending *pending_add(struct dkim_work *w, const struct dkim_identity *id)
{
    if (w->npending == w->cap_pending) {
        size_t was = w->cap_pending;
        w->cap_pending = was ? 2 * was : 4;
        w->pending = mem_realloc(w->pending, w->cap_pending * sizeof *w->pending);
        for (size_t i = was; i < w->cap_pending; i++)
            w->pending[i].text = (struct buf){0};
    }
    struct pending *p = &w->pending[w->npending++];
    buf_clear(&p->text);
    p->id = id;
    p->n = 0;
    p->rc = 0;
    return p;
}

static void prepare_one(struct dkim_work *w, const struct dkim_identity *id, struct slice names,
                        const unsigned char *bh, int64_t time_s)
{
    struct pending *p = pending_add(w, id);
    struct buf *text = &p->text;

    buf_printf(text, "dkim-signature:v=1; a=%s-sha256; c=relaxed/relaxed; d=%.*s; ",
               id->key->type == DKIM_RSA ? "rsa" : "ed25519", SLICE_FMT(id->domain));
    if (id->auid.n)
        buf_printf(text, "i=%.*s; ", SLICE_FMT(id->auid));
    buf_printf(text, "q=dns/txt; s=%.*s; t=%lld; ", SLICE_FMT(id->selector), (long long)time_s);
    if (id->expire_s)
        buf_printf(text, "x=%lld; ", (long long)(time_s + id->expire_s));
    buf_adds(text, S("h="));
    buf_adds(text, names);
    buf_adds(text, S("; bh="));
    codec_base64(text, slice_of(bh, SHA256_BYTES), 0);
    buf_adds(text, S("; b="));

    INVARIANT(EVP_MD_CTX_copy_ex(w->full, w->head) == 1 && EVP_DigestUpdate(w->full, text->p, text->n) == 1 &&
              EVP_DigestFinal_ex(w->full, p->digest, NULL) == 1);
}

static int prepare(struct dkim_work *w, const struct dkim_message *m)
{
    unsigned char bh[SHA256_BYTES];
    bool head_is_default = false;
    int rc;

    if ((rc = split_header(w, m->header)))
        return rc;
    default_names(w);
    body_hash(w, m->body, m->nbody, bh);
    for (size_t i = 0; i < m->n; i++) {
        const struct dkim_identity *id = &m->ids[i];
        struct slice names = id->headers.n ? id->headers : buf_slice(&w->names);
        if ((rc = m->time_s < 0 ? ERR_INVAL : dkim_identity_check(id, NULL)))
            return rc;
        if (id->headers.n || !head_is_default) {
            if ((rc = hash_header(w, names)))
                return rc;
            head_is_default = !id->headers.n;
        }
        prepare_one(w, id, names, bh, m->time_s);
    }
    return 0;
}

static int write_fields(struct dkim_work *w, size_t at, size_t n, struct buf *out)
{
    size_t start = out->n;

    for (size_t i = at; i < at + n; i++) {
        const struct pending *p = &w->pending[i];
        if (p->rc) {
            out->n = start;
            return p->rc;
        }
        buf_clear(&w->b64);
        codec_base64(&w->b64, slice_of(p->signature, p->n), 0);
        write_folded(out, buf_slice(&p->text), buf_slice(&w->b64));
    }
    return 0;
}

void dkim_sign_all(struct dkim_work *w, struct dkim_message *messages, size_t n)
{
    size_t at = 0;

    w->npending = 0;
    for (size_t i = 0; i < n; i++) {
        size_t before = w->npending;
        messages[i].rc = prepare(w, &messages[i]);
        if (messages[i].rc)
            w->npending = before;
    }
    sign_pending(w);
    for (size_t i = 0; i < n; i++)
        if (!messages[i].rc) {
            messages[i].rc = write_fields(w, at, messages[i].n, messages[i].out);
            at += messages[i].n;
        }
}

int dkim_sign(struct dkim_work *w, const struct dkim_identity *ids, size_t n, struct slice header,
              const struct slice *body, size_t nbody, int64_t time_s, struct buf *out)
{
    struct dkim_message m = {ids, n, header, body, nbody, time_s, out, 0};

    dkim_sign_all(w, &m, 1);
    return m.rc;
}
