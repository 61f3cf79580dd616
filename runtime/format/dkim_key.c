/* dkim_key.c - private keys for DKIM and the DNS records of their public halves. */
#include "format/dkim.h"
#include "format/codec.h"
#include "format/rsa_pair.h"

#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sodium.h>
#include <stdlib.h>

enum { RSA_BITS_MIN = 1024, RSA_BITS_GOOD = 2048, RSA_BITS_MAX = 8192, ED25519_BYTES = 32 };

/* Without this OpenSSL would ask on the terminal. */
static int no_password(char *text, int size, int writing, void *arg)
{
    return -1;
}

static EVP_PKEY *read_pem(struct slice text)
{
    BIO *bio = text.n <= INT_MAX ? BIO_new_mem_buf(text.p, (int)text.n) : NULL;
    EVP_PKEY *pkey = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;

    BIO_free(bio);
    return pkey;
}

static EVP_PKEY *read_seed(struct slice text)
{
    struct buf seed = {0};
    EVP_PKEY *pkey = NULL;

    if (codec_unbase64(slice_trim(text), &seed) == 0 && seed.n == ED25519_BYTES)
        pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, (unsigned char *)seed.p, seed.n);
    if (seed.p)
        OPENSSL_cleanse(seed.p, seed.cap);
    buf_free(&seed);
    return pkey;
}

/* OpenSSL reads the key; libsodium signs with it, in less than half the time. */
static unsigned char *ed25519_secret(EVP_PKEY *pkey)
{
    unsigned char seed[ED25519_BYTES], public[crypto_sign_PUBLICKEYBYTES], *secret;
    size_t n = sizeof seed;

    INVARIANT(sodium_init() >= 0 && EVP_PKEY_get_raw_private_key(pkey, seed, &n) == 1 && n == sizeof seed);
    secret = mem_alloc(crypto_sign_SECRETKEYBYTES);
    crypto_sign_seed_keypair(public, secret, seed);
    OPENSSL_cleanse(seed, sizeof seed);
    return secret;
}

int dkim_key_load(struct slice text, struct dkim_key **out, struct err *e)
{
    bool pem = slice_find(text, S("-----BEGIN")) >= 0;
    EVP_PKEY *pkey = pem ? read_pem(text) : read_seed(text);
    struct dkim_key key = {.pkey = pkey};
    int rc = 0;

    if (!pkey) {
        rc = slice_find(text, S("ENCRYPTED")) >= 0
                 ? err_set(e, ERR_UNSUPPORTED,
                           "the private key is encrypted; DKIM keys are read without a password")
             : pem ? err_set(e, ERR_SYNTAX, "no private key in this PEM text")
                   : err_set(e, ERR_SYNTAX, "not a private key: neither PEM nor 32 bytes in base64");
        goto out;
    }
    key.bits = EVP_PKEY_get_bits(pkey);
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
        key.type = DKIM_RSA;
        key.weak = key.bits < RSA_BITS_GOOD;
        if (key.bits < RSA_BITS_MIN || key.bits > RSA_BITS_MAX)
            rc = err_set(e, ERR_UNSUPPORTED, "an RSA key of %d bits; DKIM signs with %d to %d (RFC 8301)",
                         key.bits, RSA_BITS_MIN, RSA_BITS_MAX);
        break;
    case EVP_PKEY_ED25519:
        key.type = DKIM_ED25519;
        key.ed25519 = ed25519_secret(pkey);
        break;
    default:
        rc = err_set(e, ERR_UNSUPPORTED, "DKIM signs with RSA or Ed25519 keys, and this is neither");
    }
    if (rc == 0) {
        key.pair = rsa_pair_key_new(pkey);
        *out = memcpy(mem_alloc(sizeof key), &key, sizeof key);
    }
out:
    if (rc)
        EVP_PKEY_free(pkey);
    ERR_clear_error(); /* a thread's queue of OpenSSL errors is shared with TLS on it */
    return rc;
}

void dkim_key_free(struct dkim_key *key)
{
    if (!key)
        return;
    rsa_pair_key_free(key->pair);
    if (key->ed25519)
        OPENSSL_cleanse(key->ed25519, crypto_sign_SECRETKEYBYTES);
    free(key->ed25519);
    EVP_PKEY_free(key->pkey);
    free(key);
}

int dkim_key_generate(enum dkim_type type, struct buf *pem, struct err *e)
{
    EVP_PKEY *pkey = type == DKIM_RSA ? EVP_RSA_gen(RSA_BITS_GOOD) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    BIO *bio = BIO_new(BIO_s_secmem());
    char *text;
    long n;
    int rc = ERR_IO;

    if (pkey && bio && PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL) == 1 &&
        (n = BIO_get_mem_data(bio, &text)) > 0) {
        buf_add(pem, text, (size_t)n);
        rc = 0;
    }
    if (rc) {
        char why[256];
        ERR_error_string_n(ERR_get_error(), why, sizeof why);
        err_set(e, rc, "no key could be made: %s", why);
    }
    EVP_PKEY_free(pkey);
    BIO_free(bio);
    ERR_clear_error();
    return rc;
}

int dkim_record(const struct dkim_key *key, struct buf *out)
{
    unsigned char *der = NULL, raw[ED25519_BYTES];
    size_t nraw = sizeof raw;
    int nder;

    if (key->type == DKIM_ED25519) {
        /* RFC 8463 4: the bare key, no SubjectPublicKeyInfo around it. */
        if (EVP_PKEY_get_raw_public_key(key->pkey, raw, &nraw) != 1)
            return ERR_INVAL;
        buf_adds(out, S("v=DKIM1; k=ed25519; p="));
        codec_base64(out, slice_of(raw, nraw), 0);
        return 0;
    }
    nder = i2d_PUBKEY(key->pkey, &der);
    if (nder <= 0)
        return ERR_INVAL;
    buf_adds(out, S("v=DKIM1; k=rsa; p="));
    codec_base64(out, slice_of(der, (size_t)nder), 0);
    OPENSSL_free(der);
    return 0;
}

void dkim_record_quoted(struct slice record, struct buf *out)
{
    for (size_t at = 0; at < record.n || at == 0; at += 255) {
        size_t n = record.n - at < 255 ? record.n - at : 255;
        buf_adds(out, at ? S(" \"") : S("\""));
        buf_add(out, record.p + at, n);
        buf_addc(out, '"');
    }
}
